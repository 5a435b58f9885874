//! The deployed contracts in an EVM inside the test process: EntryPoint v0.6, KernelFactory, Kernel 0.2.1-0.2.4,
//! ECDSAValidator and SessionKeyValidator G1 and G2, replayed from their recorded deployment transactions.
//!
//! Any address can send a transaction (nobody signs), time is set by hand, and a clone is a snapshot.

use std::{path::PathBuf, sync::OnceLock};

use alloy::{
    primitives::{Address, B256, Bytes, FixedBytes, Log, Selector, TxKind, U256, eip191_hash_message, hex, keccak256},
    signers::{SignerSync, local::PrivateKeySigner},
    sol,
    sol_types::{Revert, SolCall, SolError, SolEvent, SolValue},
};
use keyleash::{
    erc4337::v06::{ENTRY_POINT, UserOperation},
    policy::scope::Scope,
    protocol::{
        AccountCall, Call,
        kernel_v2::{
            account::{self, AccountSeed},
            approval::{Approval, ApprovalRequest, EnableData},
            generation::{DETERMINISTIC_DEPLOYER, ECDSA_VALIDATOR, Generation, KERNEL_FACTORY, KernelVersion},
            signature,
        },
    },
    sandbox::contracts,
};
use revm::{
    Context, ExecuteCommitEvm, ExecuteEvm, MainBuilder, MainContext,
    context::{
        TxEnv,
        result::{ExecutionResult, Output},
    },
    database::{CacheDB, EmptyDB},
    primitives::hardfork::SpecId,
    state::{AccountInfo, Bytecode},
};

pub const CHAIN_ID: u64 = 31337;

/// Where the clock of a fresh chain stands (Unix seconds).
pub const NOW: u64 = 1_700_000_000;

/// What every account of the harness starts with: 100 ether, in wei.
pub const FUNDS: U256 = U256::from_limbs([0x6bc7_5e2d_6310_0000, 5, 0, 0]);

/// Runtime code of the deterministic deployer: `CREATE2(value, calldata[32..], salt = calldata[..32])`.
pub(super) const DEPLOYER_CODE: [u8; 69] = hex!(
    "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f58015156039578182fd5b8082525050506014600cf3"
);

/// A paymaster that sponsors everything: answers `(context = "", validationData = 0)` to any call.
const GENEROUS_PAYMASTER_CODE: [u8; 10] = hex!("60406000526060 6000f3");

/// A contract that remembers how it was called: `LOG1` of the calldata, with the value as topic.
const RECORDER_CODE: [u8; 12] = hex!("36600060003734366000a100");

sol! {
    struct PackedOp {
        address sender; uint256 nonce; bytes initCode; bytes callData;
        uint256 callGasLimit; uint256 verificationGasLimit; uint256 preVerificationGas;
        uint256 maxFeePerGas; uint256 maxPriorityFeePerGas; bytes paymasterAndData; bytes signature;
    }

    interface EntryPoint {
        function handleOps(PackedOp[] ops, address beneficiary);
        function getUserOpHash(PackedOp op) returns (bytes32);
        function getNonce(address sender, uint192 key) returns (uint256);
        function depositTo(address account) payable;

        event UserOperationEvent(
            bytes32 indexed userOpHash, address indexed sender, address indexed paymaster,
            uint256 nonce, bool success, uint256 actualGasCost, uint256 actualGasUsed
        );
        event UserOperationRevertReason(
            bytes32 indexed userOpHash, address indexed sender, uint256 nonce, bytes revertReason
        );
        error FailedOp(uint256 opIndex, string reason);
    }

    interface Kernel {
        #[derive(Debug, PartialEq, Eq)]
        struct Execution { uint48 validAfter; uint48 validUntil; address executor; address validator; }

        function validateUserOp(PackedOp op, bytes32 userOpHash, uint256 missingFunds) payable returns (uint256);
        function getExecution(bytes4 selector) returns (Execution);
        function getDefaultValidator() returns (address);
        function getDisabledMode() returns (bytes4);
        function setDefaultValidator(address validator, bytes data);
        function upgradeTo(address implementation);
    }

    interface SessionKeyValidator {
        function sessionData(address key, address account)
            returns (bytes32 merkleRoot, uint48 validAfter, uint48 validUntil, address paymaster, uint256 nonce);
        function nonces(address account) returns (uint128 lastNonce, uint128 invalidNonce);
        function executionStatus(bytes32 id, address account) returns (uint48 validAfter, uint48 runs);
        function invalidateNonce(uint128 nonce);
    }

    interface EcdsaValidator {
        function ecdsaValidatorStorage(address account) returns (address owner);
    }
}

/// One of anvil's well-known keys: an owner, a session key or a stranger of the tests.
#[derive(Clone, Copy)]
pub struct Key(&'static PrivateKeySigner);

impl Key {
    /// Anvil's account `number`, 0 to 3.
    pub fn anvil(number: usize) -> Self {
        const KEYS: [[u8; 32]; 4] = [
            hex!("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"),
            hex!("59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"),
            hex!("5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a"),
            hex!("7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6"),
        ];
        static SIGNERS: OnceLock<[PrivateKeySigner; 4]> = OnceLock::new();
        let signers = SIGNERS.get_or_init(|| KEYS.map(|key| PrivateKeySigner::from_bytes(&key.into()).unwrap()));
        Self(&signers[number])
    }

    pub fn address(&self) -> Address {
        self.0.address()
    }

    /// Signs the hash itself: 65 bytes, v 27 or 28.
    pub fn sign_raw(&self, hash: B256) -> [u8; 65] {
        self.0.sign_hash_sync(&hash).unwrap().as_bytes()
    }

    /// Signs the hash as an EIP-191 message.
    pub fn sign_message(&self, hash: B256) -> [u8; 65] {
        self.sign_raw(eip191_hash_message(hash))
    }
}

/// What a transaction or a call answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub success: bool,
    /// Returned or revert data; empty after an exceptional halt.
    pub output: Bytes,
    pub logs: Vec<Log>,
    /// Gas units.
    pub gas_used: u64,
}

impl Answer {
    /// The output of a call that has to succeed.
    #[track_caller]
    pub fn unwrap(self) -> Bytes {
        assert!(self.success, "the call reverted: {}", describe_revert(&self.output));
        self.output
    }

    /// The text of `Error(string)`, when the call reverted with one.
    pub fn revert_text(&self) -> Option<String> {
        if self.success { None } else { revert_text(&self.output) }
    }
}

/// The text of `Error(string)` in revert data.
pub fn revert_text(data: &[u8]) -> Option<String> {
    Revert::abi_decode(data).ok().map(|r| r.reason)
}

fn describe_revert(data: &Bytes) -> String {
    revert_text(data).unwrap_or_else(|| data.to_string())
}

/// What one UserOperation of a mined bundle did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mined {
    pub user_op_hash: B256,
    /// Whether the account's call went through. An operation can be mined without.
    pub success: bool,
    /// Revert data of the account's call, from `UserOperationRevertReason`.
    pub revert_reason: Option<Bytes>,
    /// Wei.
    pub gas_cost: U256,
    /// Calls that arrived at recorders, in order.
    pub recorded: Vec<Call>,
}

/// What `EntryPoint.handleOps` answered to a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bundle {
    Mined(Vec<Mined>),
    /// The first operation at fault and the EntryPoint's words, `AA23 reverted: …`.
    FailedOp {
        index: usize,
        reason: String,
    },
    /// Any other revert, e.g. the plain `Error` of AA93.
    Reverted(Bytes),
}

impl Bundle {
    /// The `AAxx` code of a refused bundle.
    pub fn aa_code(&self) -> Option<String> {
        let text = self.reason()?;
        text.starts_with("AA").then(|| text.chars().take(4).collect())
    }

    /// Why the bundle was refused, in the EntryPoint's words.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Mined(_) => None,
            Self::FailedOp { reason, .. } => Some(reason.clone()),
            Self::Reverted(data) => revert_text(data),
        }
    }

    /// Whether every operation was mined and every account call went through.
    pub fn all_succeeded(&self) -> bool {
        matches!(self, Self::Mined(ops) if ops.iter().all(|op| op.success))
    }
}

/// What the account answered to `validateUserOp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Validation {
    /// The packed `validationData`, taken apart.
    Answered {
        sig_failed: bool,
        /// Unix seconds, inclusive.
        valid_after: u64,
        /// Unix seconds, inclusive; 0 = never.
        valid_until: u64,
    },
    Reverted(Bytes),
}

/// A chain with the deployed contracts on it.
#[derive(Clone)]
pub struct Deployed {
    db: CacheDB<EmptyDB>,
    /// Unix seconds of the next block.
    pub timestamp: u64,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Recorded {
    name: String,
    #[serde(default)]
    address: Address,
    #[serde(default)]
    deployer: Address,
    #[serde(default)]
    salt: B256,
    #[serde(default)]
    init_code: Bytes,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    to: Address,
    #[serde(default)]
    from: Address,
    #[serde(default)]
    value: U256,
    #[serde(default)]
    data: Bytes,
}

impl Deployed {
    /// A fresh chain with all contracts; `None`, and a `skipped:` line, when the recorded deployments are not beside the project.
    pub fn load() -> Option<Self> {
        static CHAIN: OnceLock<Option<Deployed>> = OnceLock::new();
        CHAIN.get_or_init(Self::replay).clone()
    }

    fn replay() -> Option<Self> {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/chain/deployments.json");
        let Ok(text) = std::fs::read_to_string(&path) else {
            say(&format!("skipped: {} is missing, so there is no deployed bytecode to test against", path.display()));
            return None;
        };
        let mut chain = Self { db: CacheDB::new(EmptyDB::new()), timestamp: NOW };
        chain.set_code(DETERMINISTIC_DEPLOYER, &DEPLOYER_CODE);
        for item in serde_json::from_str::<Vec<Recorded>>(&text).unwrap() {
            if item.kind == "call" {
                chain.fund(item.from, FUNDS);
                chain.transact(item.from, item.to, item.value, item.data).unwrap();
            } else {
                let data = [item.salt.as_slice(), &item.init_code].concat().into();
                chain.transact(DETERMINISTIC_DEPLOYER, item.deployer, U256::ZERO, data).unwrap();
                assert!(!chain.code(item.address).is_empty(), "{} did not land on {}", item.name, item.address);
            }
        }
        Some(chain)
    }

    /// The sandbox's contracts - ours - in the place of the deployed ones.
    pub fn ours() -> Self {
        static CHAIN: OnceLock<Deployed> = OnceLock::new();
        let replay = || {
            let genesis = contracts::genesis(NOW, Address::ZERO).unwrap();
            let mut chain = Self { db: CacheDB::new(EmptyDB::new()), timestamp: NOW };
            for contract in contracts::contracts().unwrap() {
                chain.set_code(contract.address, &contract.runtime);
                for (slot, value) in genesis.storage_slots(contract.address) {
                    chain.set_storage(contract.address, slot.into(), value.into());
                }
            }
            chain
        };
        CHAIN.get_or_init(replay).clone()
    }

    /// Sends a transaction from any address and keeps what it does.
    pub fn transact(&mut self, from: Address, to: Address, value: U256, data: Bytes) -> Answer {
        self.run(from, to, value, data, true)
    }

    /// What a transaction from `from` would do; nothing is kept.
    pub fn call(&mut self, from: Address, to: Address, data: Bytes) -> Answer {
        self.run(from, to, U256::ZERO, data, false)
    }

    /// Reads a getter.
    #[track_caller]
    pub fn view<C: SolCall>(&mut self, to: Address, getter: C) -> C::Return {
        let output = self.call(Address::ZERO, to, getter.abi_encode().into()).unwrap();
        C::abi_decode_returns(&output).unwrap()
    }

    fn run(&mut self, from: Address, to: Address, value: U256, data: Bytes, keep: bool) -> Answer {
        let timestamp = self.timestamp;
        let mut evm = Context::mainnet()
            .with_db(&mut self.db)
            .modify_cfg_chained(|cfg| {
                cfg.set_spec_and_mainnet_gas_params(SpecId::SHANGHAI);
                cfg.chain_id = CHAIN_ID;
                cfg.disable_nonce_check = true;
                cfg.disable_eip3607 = true; // contracts send transactions too
            })
            .modify_block_chained(|block| {
                block.number = U256::ONE;
                block.timestamp = U256::from(timestamp);
                block.gas_limit = u64::MAX;
            })
            .build_mainnet();
        let tx = TxEnv {
            caller: from,
            kind: TxKind::Call(to),
            value,
            data,
            gas_limit: 100_000_000,
            chain_id: Some(CHAIN_ID),
            ..TxEnv::default()
        };
        let result = if keep { evm.transact_commit(tx) } else { evm.transact(tx).map(|r| r.result) };
        match result.expect("the harness sends transactions that a block can hold") {
            ExecutionResult::Success { output, logs, gas, .. } => {
                let output = match output {
                    Output::Call(data) | Output::Create(data, _) => data,
                };
                Answer { success: true, output, logs, gas_used: gas.tx_gas_used() }
            }
            ExecutionResult::Revert { output, gas, .. } => {
                Answer { success: false, output, logs: Vec::new(), gas_used: gas.tx_gas_used() }
            }
            ExecutionResult::Halt { gas, .. } => {
                Answer { success: false, output: Bytes::new(), logs: Vec::new(), gas_used: gas.tx_gas_used() }
            }
        }
    }

    fn change_account(&mut self, address: Address, change: impl FnOnce(&mut AccountInfo)) {
        let mut info = self.db.load_account(address).unwrap().info.clone();
        change(&mut info);
        self.db.insert_account_info(address, info);
    }

    /// Sets the balance, in wei.
    pub fn fund(&mut self, address: Address, wei: U256) {
        self.change_account(address, |info| info.balance = wei);
    }

    pub fn balance(&mut self, address: Address) -> U256 {
        self.db.load_account(address).unwrap().info.balance
    }

    pub fn code(&mut self, address: Address) -> Bytes {
        let info = &self.db.load_account(address).unwrap().info;
        let hash = info.code_hash;
        let code = info.code.clone().or_else(|| self.db.cache.contracts.get(&hash).cloned());
        code.map(|c| c.original_bytes()).unwrap_or_default()
    }

    pub fn set_code(&mut self, address: Address, code: &[u8]) {
        let code = Bytecode::new_legacy(Bytes::copy_from_slice(code));
        self.change_account(address, |info| {
            info.code_hash = code.hash_slow();
            info.code = Some(code);
        });
    }

    pub fn storage(&mut self, address: Address, slot: B256) -> B256 {
        use revm::Database;
        self.db.storage(address, slot.into()).unwrap().into()
    }

    pub fn set_storage(&mut self, address: Address, slot: B256, value: B256) {
        self.db.insert_account_storage(address, slot.into(), value.into()).unwrap();
    }

    // Accounts.

    /// Deploys the account through the factory and gives it [`FUNDS`].
    pub fn deploy_account(&mut self, seed: AccountSeed, kernel: KernelVersion) -> Address {
        let address = seed.address();
        let create = seed.init_code(kernel).slice(20..);
        let created = self.transact(Address::ZERO, KERNEL_FACTORY, U256::ZERO, create).unwrap();
        assert_eq!(Address::abi_decode(&created).unwrap(), address, "the counterfactual address");
        self.fund(address, FUNDS);
        address
    }

    /// A call of an account function that only the EntryPoint or the account itself may make.
    pub fn account_call(&mut self, account: Address, data: Bytes) -> Answer {
        self.transact(ENTRY_POINT, account, U256::ZERO, data)
    }

    /// A paymaster with a deposit that sponsors everything.
    pub fn install_paymaster(&mut self, address: Address) {
        self.set_code(address, &GENEROUS_PAYMASTER_CODE);
        let donor = Address::repeat_byte(0xd0);
        self.fund(donor, FUNDS);
        let deposit = EntryPoint::depositToCall { account: address }.abi_encode().into();
        self.transact(donor, ENTRY_POINT, FUNDS, deposit).unwrap();
    }

    pub fn owner(&mut self, account: Address) -> Address {
        self.view(ECDSA_VALIDATOR, EcdsaValidator::ecdsaValidatorStorageCall { account })
    }

    pub fn execution(&mut self, account: Address, selector: Selector) -> Kernel::Execution {
        self.view(account, Kernel::getExecutionCall { selector })
    }

    pub fn disabled_mode(&mut self, account: Address) -> FixedBytes<4> {
        self.view(account, Kernel::getDisabledModeCall {})
    }

    /// Writes the routing slot of an account function straight into storage.
    pub fn set_execution(&mut self, account: Address, selector: Selector, route: &Kernel::Execution) {
        let slot = execution_slot(selector);
        let window: U256 = U256::from(route.validAfter)
            | U256::from(route.validUntil) << 48
            | U256::from_be_slice(route.executor.as_slice()) << 96;
        self.set_storage(account, slot, window.into());
        let next = U256::from_be_bytes(slot.0) + U256::ONE;
        self.set_storage(account, next.into(), route.validator.into_word());
    }

    /// Writes the disabled mode straight into storage.
    pub fn set_disabled_mode(&mut self, account: Address, mode: u32) {
        let word: U256 = self.storage(account, KERNEL_STORAGE).into();
        let word: U256 = word >> 32 << 32 | U256::from(mode);
        self.set_storage(account, KERNEL_STORAGE, word.into());
    }

    // Session keys.

    /// `(lastNonce, invalidNonce)`.
    pub fn nonces(&mut self, generation: Generation, account: Address) -> (u128, u128) {
        let nonces = self.view(generation.address(), SessionKeyValidator::noncesCall { account });
        (nonces.lastNonce, nonces.invalidNonce)
    }

    pub fn session_data(&mut self, generation: Generation, key: Address, account: Address) -> EnableData {
        let data = self.view(generation.address(), SessionKeyValidator::sessionDataCall { key, account });
        EnableData {
            session_key: key,
            merkle_root: data.merkleRoot,
            valid_after: data.validAfter.to(),
            valid_until: data.validUntil.to(),
            paymaster: data.paymaster,
            nonce: data.nonce.to(),
        }
    }

    /// `(validAfter, runs)` of a permission's run counter.
    pub fn execution_status(
        &mut self,
        generation: Generation,
        account: Address,
        nonce: u128,
        index: u32,
    ) -> (u64, u64) {
        let id = account::execution_status_key(nonce, index);
        let status = self.view(generation.address(), SessionKeyValidator::executionStatusCall { id, account });
        (status.validAfter.to(), status.runs.to())
    }

    /// Writes `nonces(account)` straight into storage.
    pub fn set_nonces(&mut self, generation: Generation, account: Address, last: u128, invalid: u128) {
        let word: U256 = U256::from(last) | U256::from(invalid) << 128;
        self.set_storage(generation.address(), nonces_slot(account), word.into());
    }

    /// Writes `sessionData(key, account)` straight into storage.
    pub fn set_session_data(&mut self, generation: Generation, account: Address, data: &EnableData) {
        let slot = session_data_slot(data.session_key, account);
        let window = U256::from(data.valid_after)
            | U256::from(data.valid_until) << 48
            | U256::from_be_slice(data.paymaster.as_slice()) << 96;
        for (i, word) in [data.merkle_root.into(), window, U256::from(data.nonce)].into_iter().enumerate() {
            let at = U256::from_be_bytes(slot.0) + U256::from(i);
            self.set_storage(generation.address(), at.into(), word.into());
        }
    }

    /// Writes a permission's run counter straight into storage.
    pub fn set_execution_status(
        &mut self,
        generation: Generation,
        account: Address,
        (nonce, index): (u128, u32),
        (valid_after, runs): (u64, u64),
    ) {
        let slot = execution_status_slot(account::execution_status_key(nonce, index), account);
        let word: U256 = U256::from(valid_after) | U256::from(runs) << 48;
        self.set_storage(generation.address(), slot, word.into());
    }

    // UserOperations.

    /// The next nonce of the account in the lane `key`.
    pub fn entry_point_nonce(&mut self, account: Address, key: u64) -> U256 {
        self.view(ENTRY_POINT, EntryPoint::getNonceCall { sender: account, key: alloy::primitives::Uint::from(key) })
    }

    /// An unsigned operation with ample gas at 1 wei a unit.
    pub fn user_op(&mut self, sender: Address, call: &AccountCall) -> UserOperation {
        UserOperation {
            sender,
            nonce: self.entry_point_nonce(sender, 0),
            call_data: call.encode(),
            call_gas_limit: U256::from(3_000_000),
            verification_gas_limit: U256::from(5_000_000),
            pre_verification_gas: U256::from(50_000),
            max_fee_per_gas: U256::ONE,
            max_priority_fee_per_gas: U256::ONE,
            ..UserOperation::default()
        }
    }

    /// `EntryPoint.getUserOpHash`.
    pub fn entry_point_hash(&mut self, op: &UserOperation) -> B256 {
        self.view(ENTRY_POINT, EntryPoint::getUserOpHashCall { op: packed(op) })
    }

    /// Sends a bundle through the EntryPoint and keeps what it does.
    pub fn handle_ops(&mut self, ops: &[UserOperation]) -> Bundle {
        self.bundle(ops, true)
    }

    /// What the EntryPoint would answer to the bundle; nothing is kept.
    pub fn try_ops(&mut self, ops: &[UserOperation]) -> Bundle {
        self.bundle(ops, false)
    }

    fn bundle(&mut self, ops: &[UserOperation], keep: bool) -> Bundle {
        let bundler = Address::repeat_byte(0xb0);
        let call = EntryPoint::handleOpsCall { ops: ops.iter().map(packed).collect(), beneficiary: bundler };
        let answer = self.run(bundler, ENTRY_POINT, U256::ZERO, call.abi_encode().into(), keep);
        if !answer.success {
            return match EntryPoint::FailedOp::abi_decode(&answer.output) {
                Ok(failed) => Bundle::FailedOp { index: failed.opIndex.to(), reason: failed.reason },
                Err(_) => Bundle::Reverted(answer.output),
            };
        }
        let (mut mined, mut recorded, mut revert_reason) = (Vec::new(), Vec::new(), None);
        for log in &answer.logs {
            if log.address != ENTRY_POINT {
                recorded.extend(Self::as_recorded(log));
            } else if let Ok(event) = EntryPoint::UserOperationRevertReason::decode_log(log) {
                revert_reason = Some(event.data.revertReason);
            } else if let Ok(event) = EntryPoint::UserOperationEvent::decode_log(log) {
                mined.push(Mined {
                    user_op_hash: event.userOpHash,
                    success: event.success,
                    revert_reason: revert_reason.take(),
                    gas_cost: event.actualGasCost,
                    recorded: std::mem::take(&mut recorded),
                });
            }
        }
        Bundle::Mined(mined)
    }

    /// Makes the address remember how it is called, see [`Mined::recorded`].
    pub fn install_recorder(&mut self, address: Address) {
        self.set_code(address, &RECORDER_CODE);
    }

    fn as_recorded(log: &Log) -> Option<Call> {
        let [value] = log.topics() else { return None };
        Some(Call { to: log.address, value: (*value).into(), data: log.data.data.clone() })
    }

    /// Asks the account as the EntryPoint does; nothing is kept.
    pub fn validate_user_op(&mut self, op: &UserOperation) -> Validation {
        let call = Kernel::validateUserOpCall {
            op: packed(op),
            userOpHash: op.hash(ENTRY_POINT, CHAIN_ID),
            missingFunds: U256::ZERO,
        };
        let answer = self.call(ENTRY_POINT, op.sender, call.abi_encode().into());
        if !answer.success {
            return Validation::Reverted(answer.output);
        }
        let word = U256::abi_decode(&answer.output).unwrap();
        let uint48 = |shift: usize| ((word >> shift) & U256::from((1u64 << 48) - 1)).to();
        Validation::Answered {
            sig_failed: word & (U256::MAX >> 96) == U256::ONE,
            valid_until: uint48(160),
            valid_after: uint48(208),
        }
    }

    /// Signs as the owner and sends, alone in its bundle.
    pub fn sudo(&mut self, owner: &Key, account: Address, call: &AccountCall) -> Bundle {
        let mut op = self.user_op(account, call);
        sign_as_owner(&mut op, owner);
        self.handle_ops(&[op])
    }
}

/// Mode 0: the owner's signature.
pub fn sign_as_owner(op: &mut UserOperation, owner: &Key) {
    op.signature = signature::sudo(&owner.sign_message(op.hash(ENTRY_POINT, CHAIN_ID)));
}

/// Mode 1 without an approval, mode 2 with one. `proof` is the proof data of the permissions shown.
pub fn sign_as_session_key(op: &mut UserOperation, key: &Key, approval: Option<&Approval>, proof: &[u8]) {
    let session = signature::session(key.address(), &key.sign_message(op.hash(ENTRY_POINT, CHAIN_ID)), proof);
    op.signature = match approval {
        Some(approval) => signature::enable_and_use(approval, &session),
        None => signature::use_enabled(&session),
    };
}

/// What an owner signs so that `key` may use `selector` within `scope`.
pub fn approval_request(
    account: Address,
    kernel: KernelVersion,
    validator: Generation,
    selector: Selector,
    key: Address,
    scope: &Scope,
    nonce: u128,
) -> ApprovalRequest {
    ApprovalRequest {
        chain_id: CHAIN_ID,
        account,
        kernel,
        validator,
        selector,
        executor: Address::ZERO,
        plugin_window: FixedBytes::ZERO,
        enable: EnableData::new(key, scope, nonce, validator),
    }
}

/// The approval with the owner's EIP-712 signature.
pub fn approve(request: ApprovalRequest, owner: &Key) -> Approval {
    let signature = Bytes::copy_from_slice(&owner.sign_raw(request.digest()));
    Approval { request, signature }
}

/// A call of the account to itself or to a contract, without value.
pub fn call_to(to: Address, data: Bytes) -> Call {
    Call { to, value: U256::ZERO, data }
}

fn packed(op: &UserOperation) -> PackedOp {
    PackedOp {
        sender: op.sender,
        nonce: op.nonce,
        initCode: op.init_code.clone(),
        callData: op.call_data.clone(),
        callGasLimit: op.call_gas_limit,
        verificationGasLimit: op.verification_gas_limit,
        preVerificationGas: op.pre_verification_gas,
        maxFeePerGas: op.max_fee_per_gas,
        maxPriorityFeePerGas: op.max_priority_fee_per_gas,
        paymasterAndData: op.paymaster_and_data.clone(),
        signature: op.signature.clone(),
    }
}

/// Where a Kernel account keeps its own state: `defaultValidator20 ‖ lastDisabledTime6 ‖ disabledMode4` in the low 30
/// bytes, and the mapping `execution` in the next slot.
const KERNEL_STORAGE: B256 = B256::new(hex!("439ffe7df606b78489639bc0b827913bd09e1246fa6802968a5b3694c53e0dd9"));

/// Slot of `execution[selector]`: `executor20 ‖ validUntil6 ‖ validAfter6`, then the validator.
fn execution_slot(selector: Selector) -> B256 {
    let mapping = U256::from_be_bytes(KERNEL_STORAGE.0) + U256::ONE;
    keccak256((selector, mapping).abi_encode())
}

/// Slot of `sessionData[key][account]`: root, then `paymaster20 ‖ validUntil6 ‖ validAfter6`, then the nonce.
fn session_data_slot(key: Address, account: Address) -> B256 {
    nested_slot(key.into_word(), account, 1)
}

/// Slot of `executionStatus[id][account]`: `runs6 ‖ validAfter6` in the low 12 bytes.
fn execution_status_slot(id: B256, account: Address) -> B256 {
    nested_slot(id, account, 2)
}

/// Slot of `nonces[account]`: `invalidNonce16 ‖ lastNonce16`.
fn nonces_slot(account: Address) -> B256 {
    keccak256((account, U256::ZERO).abi_encode())
}

fn nested_slot(outer: B256, account: Address, position: u8) -> B256 {
    let inner = keccak256((outer, U256::from(position)).abi_encode());
    keccak256((account, inner).abi_encode())
}

/// A line that stays in sight: cargo hides what print macros write in a test that passes.
pub fn say(line: &str) {
    use std::io::Write as _;
    let _ = std::io::stderr().lock().write_all(format!("\n{line}\n").as_bytes());
}

//! The deployed contracts of Kernel v3 in an EVM inside the test process: EntryPoint v0.7, meta factory, Kernel 3.0-3.3 with their
//! factories, both ECDSA validators, ECDSA signer, call policy 0.0.4, timestamp and rate limit, replayed from their recorded
//! deployment transactions.
//!
//! Any address can send a transaction (nobody signs), time is set by hand, and a clone is a snapshot.

use std::{path::PathBuf, sync::OnceLock};

use alloy::{
    primitives::{
        Address, B256, Bytes, FixedBytes, Log, Selector, U256, address, eip191_hash_message, hex, keccak256,
        map::HashMap,
    },
    signers::{SignerSync, local::PrivateKeySigner},
    sol_types::{SolCall, SolError, SolEvent, SolValue},
};
use keyleash::{
    erc4337::v07::{
        ENTRY_POINT, FailedOp, FailedOpWithRevert, PackedUserOperation, UserOperation, UserOperationEvent,
        UserOperationRevertReason, getNonceCall, handleOpsCall, packed_hash, validateUserOpCall,
    },
    protocol::{
        AccountCall, Call,
        kernel_v2::generation::DETERMINISTIC_DEPLOYER,
        kernel_v3::{
            account::{self, AccountSeed, ExecType, Execution, FactoryRoute, delegation_code},
            approval::{Approval, ApprovalRequest, SelectorData},
            contracts::{ECDSA_SIGNER, KernelVersion, RATE_LIMIT_POLICY, TIMESTAMP_POLICY},
            nonce::{Mode, OperationNonce, PermissionId, ValidationId},
            permission_config::PermissionConfig,
            signature::{CHAIN_FREE_PREFIX, Envelope, MessageSignature, SignedBy, UseSignature, message_digest},
        },
    },
    sandbox::evm::{Chain, Outcome, Request},
};

use super::deployed::{DEPLOYER_CODE, revert_text, say};

/// The chain id of [`DeployedV3::load`].
pub const CHAIN_ID: u64 = 31337;

/// Where the clock of a fresh chain stands (Unix seconds).
pub const NOW: u64 = 1_700_000_000;

/// What every account starts with: 100 ether, in wei.
pub const FUNDS: U256 = U256::from_limbs([0x6bc7_5e2d_6310_0000, 5, 0, 0]);

/// Sends bundles.
pub const BUNDLER: Address = address!("b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0");

/// A contract that remembers how it was called: `LOG1` of the calldata, with the value as topic.
const RECORDER_CODE: [u8; 12] = hex!("36600060003734366000a100");

/// A contract that reverts with the four bytes it is called with first.
const REVERTER_CODE: [u8; 12] = hex!("6004600060003760046000fd");

/// A paymaster that sponsors everything: `validatePaymasterUserOp` answers `(context = "", validationData = 0)`.
const GENEROUS_PAYMASTER_CODE: [u8; 10] = hex!("604060005260606000f3");

/// A key of the tests: an owner, a session key or a stranger.
#[derive(Clone)]
pub struct Key(PrivateKeySigner);

impl Key {
    /// The same number is the same key, in every run.
    pub fn number(number: u64) -> Self {
        Self(PrivateKeySigner::from_bytes(&keccak256(format!("key {number} of the tests"))).unwrap())
    }

    pub fn from_private(key: B256) -> Self {
        Self(PrivateKeySigner::from_bytes(&key).unwrap())
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

/// An account of a chain: where it is, and the code that it was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    pub address: Address,
    /// After an upgrade, the caller's to change.
    pub version: KernelVersion,
    /// An EOA that has delegated itself (EIP-7702).
    pub delegated: bool,
}

impl Account {
    pub fn root(&self) -> ValidationId {
        if self.delegated {
            ValidationId::EIP7702_ROOT
        } else {
            ValidationId::of_validator(self.version.ecdsa_validator())
        }
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
        assert!(self.success, "the call reverted: {}", describe(&self.output));
        self.output
    }
}

impl From<Outcome> for Answer {
    fn from(outcome: Outcome) -> Self {
        let Outcome { success, output, logs, gas_used, .. } = outcome;
        Self { success, output, logs, gas_used }
    }
}

fn describe(data: &Bytes) -> String {
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
    /// Calls that arrived at recorders and were not rolled back, in order.
    pub recorded: Vec<Call>,
    /// Everything the operation logged, the EntryPoint's own events apart.
    pub logs: Vec<Log>,
}

/// What `EntryPoint.handleOps` answered to a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bundle {
    Mined(Vec<Mined>),
    /// The first operation at fault, the EntryPoint's words, and what the account itself answered behind AA23.
    Failed {
        index: usize,
        reason: String,
        inner: Option<Bytes>,
    },
    /// Any other revert, e.g. the plain `Error` of AA93.
    Reverted(Bytes),
}

impl Bundle {
    /// The `AAxx` code of a refused bundle.
    pub fn aa_code(&self) -> Option<String> {
        let text = match self {
            Self::Failed { reason, .. } => reason.clone(),
            Self::Reverted(data) => revert_text(data)?,
            Self::Mined(_) => return None,
        };
        text.starts_with("AA").then(|| text.chars().take(4).collect())
    }

    /// Whether every operation was mined and every account call went through.
    pub fn all_succeeded(&self) -> bool {
        matches!(self, Self::Mined(ops) if ops.iter().all(|op| op.success))
    }

    #[track_caller]
    pub fn assert_succeeded(self) -> Vec<Mined> {
        assert!(self.all_succeeded(), "{self:?}");
        match self {
            Self::Mined(ops) => ops,
            _ => unreachable!(),
        }
    }
}

/// What the account itself answered to `validateUserOp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Validation {
    /// The word, taken apart.
    Answered {
        sig_failed: bool,
        /// Unix seconds, inclusive.
        valid_after: u64,
        /// Unix seconds, inclusive; 2^48-1 = never.
        valid_until: u64,
    },
    Reverted(Bytes),
}

/// What the account answered to `isValidSignature`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signing {
    /// `1626ba7e`.
    Valid,
    /// `ffffffff`.
    Invalid,
    Reverted(Bytes),
}

/// `permissionConfig(id)` of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredPermission {
    pub flag: [u8; 2],
    pub signer: Address,
    /// `flag2 ‖ contract20`.
    pub policies: Vec<FixedBytes<22>>,
}

/// A chain with the deployed contracts on it.
#[derive(Clone)]
pub struct DeployedV3 {
    pub chain: Chain,
}

impl DeployedV3 {
    /// A fresh chain with all contracts; `None`, and a `skipped:` line, when the recorded deployments are not beside the project.
    pub fn load() -> Option<Self> {
        Self::on(CHAIN_ID)
    }

    /// The same with another chain id.
    pub fn on(chain_id: u64) -> Option<Self> {
        static CHAINS: OnceLock<std::sync::Mutex<HashMap<u64, Option<DeployedV3>>>> = OnceLock::new();
        let mut chains = CHAINS.get_or_init(Default::default).lock().unwrap();
        chains.entry(chain_id).or_insert_with(|| Self::replay(chain_id)).clone()
    }

    fn replay(chain_id: u64) -> Option<Self> {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/chain/deployments-v3.json");
        let Ok(text) = std::fs::read_to_string(&path) else {
            say(&format!("skipped: {} is missing, so there is no deployed bytecode to test against", path.display()));
            return None;
        };
        let mut chain = Chain::new(chain_id, NOW);
        chain.set_code(DETERMINISTIC_DEPLOYER, Bytes::from_static(&DEPLOYER_CODE)).unwrap();
        chain.load_deployments(&text).unwrap();
        Some(Self { chain })
    }

    // Transactions, calls, state.

    /// Sends a transaction from any address and keeps what it does.
    pub fn transact(&mut self, from: Address, to: Address, value: U256, data: impl Into<Bytes>) -> Answer {
        let done = self.chain.execute(&Request::to(to, data).from(from).value(value)).unwrap();
        Answer { success: done.success, output: done.output.clone(), logs: done.logs.clone(), gas_used: done.gas_used }
    }

    /// `eth_call` with any sender; nothing is kept.
    pub fn call(&self, from: Address, to: Address, data: impl Into<Bytes>) -> Answer {
        self.chain.call(&Request::to(to, data).from(from)).unwrap().into()
    }

    /// Reads a getter.
    #[track_caller]
    pub fn view<C: SolCall>(&self, to: Address, getter: C) -> C::Return {
        let output = self.call(Address::ZERO, to, getter.abi_encode()).unwrap();
        C::abi_decode_returns(&output).unwrap()
    }

    /// Unix seconds of the next block.
    pub fn time(&self) -> u64 {
        self.chain.time()
    }

    /// Never back before the last block.
    pub fn set_time(&mut self, time: u64) {
        self.chain.set_time(time);
    }

    pub fn chain_id(&self) -> u64 {
        self.chain.chain_id()
    }

    /// Sets the balance, in wei.
    pub fn fund(&mut self, address: Address, wei: U256) {
        self.chain.set_balance(address, wei);
    }

    pub fn set_code(&mut self, address: Address, code: &[u8]) {
        self.chain.set_code(address, Bytes::copy_from_slice(code)).unwrap();
    }

    pub fn storage(&self, address: Address, slot: U256) -> U256 {
        self.chain.storage(address, slot)
    }

    /// Makes the address remember how it is called, see [`Mined::recorded`].
    pub fn install_recorder(&mut self, address: Address) {
        self.set_code(address, &RECORDER_CODE);
    }

    /// Makes every call of the address revert with the first four bytes of its calldata.
    pub fn install_reverter(&mut self, address: Address) {
        self.set_code(address, &REVERTER_CODE);
    }

    /// A paymaster with a deposit that sponsors everything.
    pub fn install_paymaster(&mut self, address: Address) {
        self.set_code(address, &GENEROUS_PAYMASTER_CODE);
        self.deposit(address, FUNDS);
    }

    /// Pays into the EntryPoint for somebody, in wei.
    pub fn deposit(&mut self, account: Address, wei: U256) {
        alloy::sol! { function depositTo(address account) payable; }
        let donor = Address::repeat_byte(0xd0);
        self.fund(donor, wei);
        self.transact(donor, ENTRY_POINT, wei, depositToCall { account }.abi_encode()).unwrap();
    }

    // Accounts.

    /// Deploys the account of an owner through the meta factory and gives it [`FUNDS`].
    pub fn deploy(&mut self, version: KernelVersion, owner: &Key) -> Account {
        self.deploy_seed(&AccountSeed::of_owner(version, owner.address(), U256::ZERO))
    }

    pub fn deploy_seed(&mut self, seed: &AccountSeed) -> Account {
        let deployment = seed.deployment(FactoryRoute::Meta);
        let created = self.transact(BUNDLER, deployment.factory, U256::ZERO, deployment.factory_data).unwrap();
        assert_eq!(Address::abi_decode(&created).unwrap(), seed.address(), "the counterfactual address");
        self.fund(seed.address(), FUNDS);
        Account { address: seed.address(), version: seed.version, delegated: false }
    }

    /// Delegates an EOA to a version's code (EIP-7702; only 3.3 is safe to) and gives it [`FUNDS`]. Storage stays.
    pub fn delegate(&mut self, version: KernelVersion, owner: &Key) -> Account {
        self.set_code(owner.address(), &delegation_code(version.implementation()));
        self.fund(owner.address(), FUNDS);
        Account { address: owner.address(), version, delegated: true }
    }

    pub fn current_nonce(&self, account: Address) -> u32 {
        self.view(account, account::currentNonceCall {})
    }

    pub fn valid_nonce_from(&self, account: Address) -> u32 {
        self.view(account, account::validNonceFromCall {})
    }

    pub fn root_validator(&self, account: Address) -> ValidationId {
        ValidationId(self.view(account, account::rootValidatorCall {}))
    }

    /// Nonce and hook; hook 0 = not installed, 1 = none.
    pub fn validation_config(&self, account: Address, id: ValidationId) -> (u32, Address) {
        let config = self.view(account, account::validationConfigCall { vId: id.0 });
        (config.nonce, config.hook)
    }

    pub fn permission_config(&self, account: Address, id: PermissionId) -> StoredPermission {
        let config = self.view(account, account::permissionConfigCall { pId: id.0 });
        StoredPermission { flag: config.permissionFlag.0, signer: config.signer, policies: config.policyData }
    }

    pub fn is_allowed(&self, account: Address, id: ValidationId, selector: Selector) -> bool {
        self.view(account, account::isAllowedSelectorCall { vId: id.0, selector })
    }

    /// Of a policy: 0 never, 1 live, 2 used up. `None` where it does not answer.
    pub fn status(&self, policy: Address, id: PermissionId, account: Address) -> Option<u8> {
        let answer = self.call(Address::ZERO, policy, account::statusCall { id: id.word(), account }.abi_encode());
        answer.success.then(|| account::statusCall::abi_decode_returns(&answer.output).ok()).flatten()
    }

    /// The session key that the ECDSA signer holds.
    pub fn session_key(&self, id: PermissionId, account: Address) -> Address {
        self.view(ECDSA_SIGNER, account::signerCall { id: id.word(), account })
    }

    /// After and until.
    pub fn window(&self, id: PermissionId, account: Address) -> (u64, u64) {
        let stored = self.view(TIMESTAMP_POLICY, account::timestampPolicyConfigCall { id: id.word(), account });
        (stored.validAfter.to(), stored.validUntil.to())
    }

    /// Interval, count left, next start.
    pub fn rate(&self, id: PermissionId, account: Address) -> (u64, u64, u64) {
        let stored = self.view(RATE_LIMIT_POLICY, account::rateLimitConfigsCall { id: id.word(), account });
        (stored.interval.to(), stored.countLeft.to(), stored.nextStart.to())
    }

    // UserOperations.

    /// The next sequence of the account for the nonce's 24-byte key.
    pub fn sequence(&self, account: Address, nonce: &OperationNonce) -> u64 {
        let key = nonce.key().to();
        let next: U256 = self.view(ENTRY_POINT, getNonceCall { sender: account, key });
        OperationNonce::decode(next).sequence
    }

    /// An unsigned operation with ample gas at 1 wei a unit, its nonce at the next sequence.
    pub fn user_op(&self, account: &Account, nonce: OperationNonce, call: &Execution) -> UserOperation {
        let sequence = self.sequence(account.address, &nonce);
        UserOperation {
            sender: account.address,
            nonce: OperationNonce { sequence, ..nonce }.encode(),
            call_data: call.encode(),
            call_gas_limit: 3_000_000,
            verification_gas_limit: 5_000_000,
            pre_verification_gas: U256::from(50_000),
            max_fee_per_gas: 1,
            max_priority_fee_per_gas: 1,
            ..UserOperation::default()
        }
    }

    pub fn hash(&self, op: &UserOperation) -> B256 {
        op.hash(ENTRY_POINT, self.chain_id())
    }

    /// An operation of the root, signed by its owner.
    pub fn owner_op(&self, owner: &Key, account: &Account, call: &Execution) -> UserOperation {
        let mut op = self.user_op(account, OperationNonce::of_root(account.root().identifier()), call);
        op.signature = owner.sign_message(self.hash(&op)).into();
        op
    }

    /// Signs as the owner and sends, alone in its bundle.
    pub fn sudo(&mut self, owner: &Key, account: &Account, call: &AccountCall) -> Bundle {
        let op = self.owner_op(owner, account, &Execution::plain(call.clone()));
        self.handle_ops(&[op])
    }

    /// A plain transaction of the owner to the account: past the EntryPoint.
    pub fn owner_transaction(&mut self, owner: &Key, account: &Account, call: &AccountCall) -> Answer {
        let data = Execution::plain(call.clone()).encode();
        self.transact(owner.address(), account.address, U256::ZERO, data)
    }

    /// An operation of an enabled permission, signed by its key.
    pub fn use_op(&self, key: &Key, account: &Account, id: PermissionId, call: &Execution) -> UserOperation {
        let mut op = self.user_op(account, OperationNonce::of_permission(Mode::Use, id), call);
        op.signature = UseSignature::plain(&key.sign_message(self.hash(&op))).encode();
        op
    }

    /// An operation that enables its permission first, signed by its key. An approval for every chain makes the whole operation
    /// one for every chain.
    pub fn enable_op(&self, key: &Key, account: &Account, approval: &Approval, call: &Execution) -> UserOperation {
        let request = &approval.request;
        let id = OperationNonce {
            kind: request.validation_id.kind(),
            identifier: request.validation_id.identifier(),
            ..OperationNonce::of_permission(Mode::Enable, PermissionId(FixedBytes::ZERO))
        };
        let mut op = self.user_op(account, id, call);
        let hash = op.hash(ENTRY_POINT, if request.chain_id.is_none() { 0 } else { self.chain_id() });
        let signature = UseSignature::plain(&key.sign_message(hash)).encode();
        let envelope = envelope(approval, signature).encode();
        op.signature = match request.chain_id {
            Some(_) => envelope,
            None => [CHAIN_FREE_PREFIX.as_slice(), &envelope].concat().into(),
        };
        op
    }

    /// Sends a bundle through the EntryPoint and keeps what it does.
    pub fn handle_ops(&mut self, ops: &[UserOperation]) -> Bundle {
        let answer = self.transact(BUNDLER, ENTRY_POINT, U256::ZERO, bundle_call(ops));
        as_bundle(answer)
    }

    /// What the EntryPoint would answer to the bundle; nothing is kept.
    pub fn try_ops(&self, ops: &[UserOperation]) -> Bundle {
        as_bundle(self.call(BUNDLER, ENTRY_POINT, bundle_call(ops)))
    }

    /// The same with one operation in packed form, which need not be one.
    pub fn handle_packed(&mut self, op: &PackedUserOperation) -> Bundle {
        let call = handleOpsCall { ops: vec![op.clone()], beneficiary: BUNDLER }.abi_encode();
        as_bundle(self.transact(BUNDLER, ENTRY_POINT, U256::ZERO, call))
    }

    /// Asks the account as the EntryPoint does; nothing is kept.
    pub fn validate(&self, op: &UserOperation) -> Validation {
        self.validate_packed(&op.packed())
    }

    pub fn validate_packed(&self, op: &PackedUserOperation) -> Validation {
        let call = validateUserOpCall {
            userOp: op.clone(),
            userOpHash: packed_hash(op, ENTRY_POINT, self.chain_id()),
            missingAccountFunds: U256::ZERO,
        };
        let answer = self.call(ENTRY_POINT, op.sender, call.abi_encode());
        if !answer.success {
            return Validation::Reverted(answer.output);
        }
        let word = U256::abi_decode(&answer.output).unwrap();
        let low: U256 = word << 96;
        let uint48 = |shift: usize| ((word >> shift) & U256::from((1u64 << 48) - 1)).to();
        Validation::Answered { sig_failed: low != U256::ZERO, valid_until: uint48(160), valid_after: uint48(208) }
    }

    // Approvals and signatures.

    /// What an owner signs for a key with this scope: for now, with the SDKs' selector data and no hook.
    pub fn approval_request(&self, account: &Account, config: &PermissionConfig) -> ApprovalRequest {
        let id = config.validation_id();
        ApprovalRequest {
            chain_id: Some(self.chain_id()),
            account: account.address,
            kernel: account.version,
            validation_id: id,
            nonce: self.approval_nonce(account, id),
            hook: Address::ZERO,
            enable_data: config.enable_data(),
            hook_data: Bytes::new(),
            selector_data: SelectorData::plain(),
        }
    }

    /// The nonce that an approval of the id must carry now.
    pub fn approval_nonce(&self, account: &Account, id: ValidationId) -> u32 {
        let current = self.current_nonce(account.address);
        let taken = self.validation_config(account.address, id).0 == current;
        current + u32::from(taken && account.version == KernelVersion::V3_3)
    }

    /// Approves, enables and uses at once: a first operation without calls. Answers the approval.
    #[track_caller]
    pub fn grant(&mut self, owner: &Key, key: &Key, account: &Account, config: &PermissionConfig) -> Approval {
        let approval = approve(self.approval_request(account, config), owner);
        let nothing = Execution::plain(AccountCall::ExecuteBatch(Vec::new()));
        let op = self.enable_op(key, account, &approval, &nothing);
        self.handle_ops(&[op]).assert_succeeded();
        approval
    }

    /// Asks the account about a signature, as `caller`.
    pub fn is_valid_signature(&self, caller: Address, account: Address, hash: B256, signature: &Bytes) -> Signing {
        let call = account::isValidSignatureCall { hash, signature: signature.clone() };
        let answer = self.call(caller, account, call.abi_encode());
        match answer.output.get(..4) {
            _ if !answer.success => Signing::Reverted(answer.output),
            Some([0x16, 0x26, 0xba, 0x7e]) => Signing::Valid,
            Some([0xff, 0xff, 0xff, 0xff]) => Signing::Invalid,
            _ => panic!("isValidSignature answered {}", answer.output),
        }
    }

    /// A signature of the account for `hash`, made by one of its keys.
    pub fn sign_for(&self, key: &Key, by: SignedBy, account: &Account, hash: B256) -> Bytes {
        let digest = message_digest(hash, account.address, account.version, Some(self.chain_id()));
        // Over the digest itself: the root of a delegated EOA takes nothing else here (and for operations nothing but EIP-191).
        let signature = key.sign_raw(digest);
        let signature = match by {
            SignedBy::Permission(_) => UseSignature::plain(&signature).encode(),
            SignedBy::Root | SignedBy::Validator(_) => signature.into(),
        };
        MessageSignature { by, chain_free: false, signature }.encode()
    }
}

/// The approval with the owner's EIP-712 signature.
pub fn approve(request: ApprovalRequest, owner: &Key) -> Approval {
    let signature = Bytes::copy_from_slice(&owner.sign_raw(request.digest()));
    Approval { request, signature }
}

/// What the operation of an approval carries.
pub fn envelope(approval: &Approval, use_signature: Bytes) -> Envelope {
    let request = approval.request.clone();
    Envelope {
        hook: request.hook,
        enable_data: request.enable_data,
        hook_data: request.hook_data,
        selector_data: request.selector_data,
        owner_signature: approval.signature.clone(),
        use_signature,
    }
}

/// A call without value.
pub fn call_to(to: Address, data: impl Into<Bytes>) -> Call {
    Call { to, value: U256::ZERO, data: data.into() }
}

/// Calls of the account to itself, in order.
pub fn self_calls(account: &Account, calls: impl IntoIterator<Item = Bytes>) -> AccountCall {
    AccountCall::ExecuteBatch(calls.into_iter().map(|data| call_to(account.address, data)).collect())
}

/// The same in try mode: a call that fails does not stop the others.
pub fn trying(call: AccountCall) -> Execution {
    Execution { exec: ExecType::Try, ..Execution::plain(call) }
}

fn bundle_call(ops: &[UserOperation]) -> Vec<u8> {
    handleOpsCall { ops: ops.iter().map(UserOperation::packed).collect(), beneficiary: BUNDLER }.abi_encode()
}

fn as_bundle(answer: Answer) -> Bundle {
    if !answer.success {
        if let Ok(failed) = FailedOpWithRevert::abi_decode(&answer.output) {
            return Bundle::Failed { index: failed.opIndex.to(), reason: failed.reason, inner: Some(failed.inner) };
        }
        return match FailedOp::abi_decode(&answer.output) {
            Ok(failed) => Bundle::Failed { index: failed.opIndex.to(), reason: failed.reason, inner: None },
            Err(_) => Bundle::Reverted(answer.output),
        };
    }
    let (mut mined, mut logs, mut revert_reason) = (Vec::new(), Vec::<Log>::new(), None);
    for log in answer.logs {
        if log.address != ENTRY_POINT {
            logs.push(log);
        } else if let Ok(event) = UserOperationRevertReason::decode_log(&log) {
            revert_reason = Some(event.data.revertReason);
        } else if let Ok(event) = UserOperationEvent::decode_log(&log) {
            let logs = std::mem::take(&mut logs);
            mined.push(Mined {
                user_op_hash: event.userOpHash,
                success: event.success,
                revert_reason: revert_reason.take(),
                recorded: logs.iter().filter_map(as_recorded).collect(),
                logs,
            });
        }
    }
    Bundle::Mined(mined)
}

/// A recorder's log has one topic, the value, which no event's hash is.
fn as_recorded(log: &Log) -> Option<Call> {
    let [value] = log.topics() else { return None };
    let value = U256::from_be_bytes(value.0);
    (value <= FUNDS).then(|| Call { to: log.address, value, data: log.data.data.clone() })
}

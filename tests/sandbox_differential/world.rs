//! Two chains in one EVM - ours, and one with the recorded bytecode - that get the same transactions and have to show the
//! same: answers, revert texts, events, and the storage that the protocol defines. Only gas may differ.

use std::{path::PathBuf, sync::OnceLock};

use alloy::{
    primitives::{Address, B256, Bytes, Log, Selector, U256, Uint, eip191_hash_message, hex, keccak256},
    signers::{SignerSync, local::PrivateKeySigner},
    sol,
    sol_types::{SolCall, SolError, SolEvent, SolValue},
};
use keyleash::{
    erc4337::v06::{ENTRY_POINT, UserOperation},
    protocol::kernel_v2::{
        account::AccountSeed,
        generation::{DETERMINISTIC_DEPLOYER, ECDSA_VALIDATOR, Generation, KernelVersion},
    },
    sandbox::{
        CHAIN_ID,
        contracts::{self, DEMO_LENDING, DEMO_NFT, DEMO_TOKEN, SPONSOR},
        evm::{Chain, Outcome, Request, Transaction},
    },
};

pub const NOW: u64 = 1_700_000_000;
pub const SKV: Address = Generation::G2.address();
pub const BUNDLER: Address = Address::repeat_byte(0xb0);
pub const ETHER: U256 = U256::from_limbs([1_000_000_000_000_000_000, 0, 0, 0]);

sol! {
    #[derive(Debug, Default)]
    struct PackedOp {
        address sender; uint256 nonce; bytes initCode; bytes callData;
        uint256 callGasLimit; uint256 verificationGasLimit; uint256 preVerificationGas;
        uint256 maxFeePerGas; uint256 maxPriorityFeePerGas; bytes paymasterAndData; bytes signature;
    }
    #[derive(Debug, PartialEq)]
    struct ReturnInfo { uint256 preOpGas; uint256 prefund; bool sigFailed; uint48 validAfter; uint48 validUntil; bytes paymasterContext; }
    #[derive(Debug, PartialEq)]
    struct StakeInfo { uint256 stake; uint256 unstakeDelaySec; }

    interface EntryPoint {
        function handleOps(PackedOp[] ops, address beneficiary);
        function simulateValidation(PackedOp op);
        function simulateHandleOp(PackedOp op, address target, bytes targetCallData);
        function getUserOpHash(PackedOp op) returns (bytes32);
        function getNonce(address sender, uint192 key) returns (uint256);
        function balanceOf(address account) returns (uint256);
        function depositTo(address account) payable;
        function withdrawTo(address to, uint256 amount);
        function incrementNonce(uint192 key);
        function getSenderAddress(bytes initCode);
        function addStake(uint32 delay) payable;
        function unlockStake();
        function withdrawStake(address to);
        function getDepositInfo(address account) returns (uint112, bool, uint112, uint32, uint48);

        error FailedOp(uint256 opIndex, string reason);
        #[derive(Debug, PartialEq)]
        error ValidationResult(ReturnInfo returnInfo, StakeInfo sender, StakeInfo factory, StakeInfo paymaster);
        #[derive(Debug, PartialEq)]
        error ExecutionResult(uint256 preOpGas, uint256 paid, uint48 validAfter, uint48 validUntil, bool targetSuccess, bytes targetResult);

        event UserOperationEvent(
            bytes32 indexed userOpHash, address indexed sender, address indexed paymaster,
            uint256 nonce, bool success, uint256 actualGasCost, uint256 actualGasUsed
        );
    }

    interface Kernel {
        function validateUserOp(PackedOp op, bytes32 userOpHash, uint256 missingFunds) payable returns (uint256);
        function isValidSignature(bytes32 hash, bytes signature) returns (bytes4);
        function validateSignature(bytes32 hash, bytes signature) returns (uint256);
        function getExecution(bytes4 selector) returns (uint48, uint48, address, address validator);
        function getDefaultValidator();
        function getDisabledMode();
        function getLastDisabledTime();
        function eip712Domain();
        function name();
        function version();
        function entryPoint();
        function setDefaultValidator(address validator, bytes data);
        function upgradeTo(address implementation);
        function invalidateNonce(uint128 nonce);
        function validCaller(address caller, bytes data);
        function onERC721Received(address operator, address from, uint256 id, bytes data);
    }

    interface Views {
        function ecdsaValidatorStorage(address account) returns (address);
        function nonces(address account) returns (uint128 lastNonce, uint128 invalidNonce);
        function sessionData(address key, address account)
            returns (bytes32 merkleRoot, uint48 validAfter, uint48 validUntil, address paymaster, uint256 nonce);
        function executionStatus(bytes32 id, address account) returns (uint48 validAfter, uint48 runs);
    }

    interface Demo {
        function mint(address to);
        function transferFrom(address from, address to, uint256 id);
        function transfer(address to, uint256 value);
        function repay(address owner, uint256 amount);
        function open(uint256 collateral, uint256 debt);
        function close();
    }
}

/// One of anvil's well-known keys.
#[derive(Clone)]
pub struct Key(PrivateKeySigner);

impl Key {
    /// Anvil's account `number`, 0 to 5.
    pub fn anvil(number: usize) -> Self {
        const KEYS: [[u8; 32]; 6] = [
            hex!("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"),
            hex!("59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"),
            hex!("5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a"),
            hex!("7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6"),
            hex!("47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a"),
            hex!("8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba"),
        ];
        Self(PrivateKeySigner::from_bytes(&KEYS[number % 6].into()).unwrap())
    }

    pub fn address(&self) -> Address {
        self.0.address()
    }

    pub fn sign_raw(&self, hash: B256) -> [u8; 65] {
        self.0.sign_hash_sync(&hash).unwrap().as_bytes()
    }

    pub fn sign_message(&self, hash: B256) -> [u8; 65] {
        self.sign_raw(eip191_hash_message(hash))
    }
}

/// The sponsor's signer.
pub fn sponsor_key() -> Key {
    Key::anvil(5)
}

/// `sponsor20 ‖ validUntil6 ‖ validAfter6 ‖ signature65` for this operation.
pub fn sponsored(op: &UserOperation, valid_until: u64, valid_after: u64, signer: &Key) -> Bytes {
    let hash = keccak256(
        (
            op.sender,
            op.nonce,
            keccak256(&op.init_code),
            keccak256(&op.call_data),
            keccak256(
                (
                    op.call_gas_limit,
                    op.verification_gas_limit,
                    op.pre_verification_gas,
                    op.max_fee_per_gas,
                    op.max_priority_fee_per_gas,
                )
                    .abi_encode(),
            ),
            U256::from(CHAIN_ID),
            SPONSOR,
            U256::from(valid_until),
            U256::from(valid_after),
        )
            .abi_encode(),
    );
    [SPONSOR.as_slice(), &valid_until.to_be_bytes()[2..], &valid_after.to_be_bytes()[2..], &signer.sign_message(hash)]
        .concat()
        .into()
}

pub fn packed(op: &UserOperation) -> PackedOp {
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

/// An answer with gas taken out.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Done(Bytes),
    FailedOp(u64, String),
    Validated(EntryPoint::ValidationResult),
    Executed(EntryPoint::ExecutionResult),
    Text(String),
    Panic,
    Reverted(Bytes),
}

impl Answer {
    pub fn read(success: bool, output: &Bytes) -> Self {
        if success {
            return Self::Done(output.clone());
        }
        if let Ok(failed) = EntryPoint::FailedOp::abi_decode(output) {
            return Self::FailedOp(failed.opIndex.to(), failed.reason);
        }
        if let Ok(mut result) = EntryPoint::ValidationResult::abi_decode(output) {
            result.returnInfo.preOpGas = U256::ZERO;
            return Self::Validated(result);
        }
        if let Ok(mut result) = EntryPoint::ExecutionResult::abi_decode(output) {
            (result.preOpGas, result.paid) = (U256::ZERO, U256::ZERO);
            return Self::Executed(result);
        }
        if let Ok(text) = alloy::sol_types::Revert::abi_decode(output) {
            return Self::Text(text.reason);
        }
        if output.starts_with(&[0x4e, 0x48, 0x7b, 0x71]) {
            return Self::Panic;
        }
        Self::Reverted(output.clone())
    }

    /// The words of a refusal, if it has any.
    pub fn reason(&self) -> &str {
        match self {
            Self::FailedOp(_, reason) | Self::Text(reason) => reason,
            _ => "",
        }
    }
}

/// What a transaction showed, gas and money that is made of gas left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub answer: Answer,
    pub events: Vec<(Address, Vec<B256>, Bytes)>,
}

impl Seen {
    pub fn of(transaction: &Transaction) -> Self {
        Self {
            answer: Answer::read(transaction.success, &transaction.output),
            events: transaction.logs.iter().map(without_gas).collect(),
        }
    }

    pub fn mined(&self) -> bool {
        matches!(self.answer, Answer::Done(_))
    }

    pub fn reason(&self) -> &str {
        self.answer.reason()
    }

    /// `UserOperationEvent.success` of every operation in the bundle.
    pub fn successes(&self) -> Vec<bool> {
        let signature = EntryPoint::UserOperationEvent::SIGNATURE_HASH;
        let events = self.events.iter().filter(|(_, topics, _)| topics.first() == Some(&signature));
        events.map(|(_, _, data)| data[63] == 1).collect()
    }
}

/// A request in a line.
fn told(request: &Request) -> String {
    let data = &request.data[..request.data.len().min(36)];
    format!("{} from {} to {:?}", hex::encode(data), request.from, request.to)
}

fn without_gas(log: &Log) -> (Address, Vec<B256>, Bytes) {
    let topics = log.data.topics().to_vec();
    let mut data = log.data.data.to_vec();
    let deposited = keccak256("Deposited(address,uint256)");
    if topics.first() == Some(&EntryPoint::UserOperationEvent::SIGNATURE_HASH) {
        data.truncate(64); // nonce, success; then cost and gas
    } else if topics.first() == Some(&deposited) {
        data.clear(); // a deposit holds what operations did not spend
    }
    (log.address, topics, data.into())
}

#[derive(Clone)]
pub struct Worlds {
    pub ours: Chain,
    pub theirs: Chain,
}

impl Worlds {
    /// Both chains, freshly set up; `None`, and a line that says so, when there is no recorded bytecode to compare with.
    pub fn new() -> Option<Self> {
        static WORLDS: OnceLock<Option<Worlds>> = OnceLock::new();
        WORLDS.get_or_init(Self::set_up).clone()
    }

    fn set_up() -> Option<Self> {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/chain/deployments.json");
        let Ok(recorded) = std::fs::read_to_string(&path) else {
            say(&format!("skipped: {} is missing, so there is no deployed bytecode to compare with", path.display()));
            return None;
        };
        let ours = contracts::genesis(NOW, sponsor_key().address()).unwrap();
        let mut theirs = Chain::new(CHAIN_ID, NOW);
        for contract in contracts::contracts().unwrap() {
            let shared = [DETERMINISTIC_DEPLOYER, SPONSOR, DEMO_NFT, DEMO_TOKEN, DEMO_LENDING];
            if shared.contains(&contract.address) {
                theirs.set_code(contract.address, contract.runtime.clone()).unwrap();
            }
        }
        theirs.load_deployments(&recorded).unwrap();
        theirs.set_storage(SPONSOR, U256::ZERO, sponsor_key().address().into_word().into());
        let mut worlds = Self { ours, theirs };
        worlds.theirs.set_balance(BUNDLER, ETHER * U256::from(1_000_000));
        let deposit = EntryPoint::depositToCall { account: SPONSOR }.abi_encode();
        let money = U256::from(1_000_000) * ETHER;
        worlds.theirs.execute(&Request::to(ENTRY_POINT, deposit).from(BUNDLER).value(money)).unwrap();
        // the same block number on both
        while worlds.ours.latest().unwrap().number < worlds.theirs.latest().unwrap().number {
            worlds.ours.mine();
        }
        while worlds.theirs.latest().unwrap().number < worlds.ours.latest().unwrap().number {
            worlds.theirs.mine();
        }
        Some(worlds)
    }

    pub fn set_time(&mut self, time: u64) {
        self.ours.set_time(time);
        self.theirs.set_time(time);
    }

    pub fn set_balance(&mut self, address: Address, wei: U256) {
        self.ours.set_balance(address, wei);
        self.theirs.set_balance(address, wei);
    }

    /// The same transaction on both, which has to show the same.
    #[track_caller]
    pub fn transact(&mut self, request: &Request) -> Seen {
        let ours = Seen::of(self.ours.execute(request).unwrap());
        let theirs = Seen::of(self.theirs.execute(request).unwrap());
        assert_eq!(ours, theirs, "ours (left) and the deployed contracts differ on {}", told(request));
        ours
    }

    /// The same call on both, which has to answer the same.
    #[track_caller]
    pub fn call(&self, request: &Request) -> Answer {
        let read = |outcome: Outcome| Answer::read(outcome.success, &outcome.output);
        let ours = read(self.ours.call(request).unwrap());
        let theirs = read(self.theirs.call(request).unwrap());
        assert_eq!(ours, theirs, "ours (left) and the deployed contracts differ on {}", told(request));
        ours
    }

    /// Simulates each operation, asks the account itself, and then sends the bundle.
    #[track_caller]
    pub fn handle(&mut self, ops: &[UserOperation]) -> Seen {
        for op in ops {
            self.call(&Request::to(ENTRY_POINT, EntryPoint::simulateValidationCall { op: packed(op) }.abi_encode()));
            let asked = Kernel::validateUserOpCall {
                op: packed(op),
                userOpHash: op.hash(ENTRY_POINT, CHAIN_ID),
                missingFunds: U256::ZERO,
            };
            self.call(&Request::to(op.sender, asked.abi_encode()).from(ENTRY_POINT));
        }
        let bundle =
            EntryPoint::handleOpsCall { ops: ops.iter().map(packed).collect(), beneficiary: BUNDLER }.abi_encode();
        let seen = self.transact(&Request::to(ENTRY_POINT, bundle).from(BUNDLER));
        let senders: Vec<Address> = ops.iter().map(|op| op.sender).collect();
        self.compare_state(&senders);
        seen
    }

    /// The storage of validators, accounts and targets slot by slot; nonces; money up to what gas explains.
    #[track_caller]
    pub fn compare_state(&mut self, accounts: &[Address]) {
        for address in [SKV, ECDSA_VALIDATOR, DEMO_NFT, DEMO_TOKEN, DEMO_LENDING].iter().chain(accounts) {
            let ours: Vec<_> = self.ours.storage_slots(*address).collect();
            let theirs: Vec<_> = self.theirs.storage_slots(*address).collect();
            assert_eq!(ours, theirs, "storage of {address}: ours (left) and the deployed contracts differ");
            assert_eq!(self.ours.code(*address).is_empty(), self.theirs.code(*address).is_empty(), "code of {address}");
        }
        for account in accounts {
            for lane in 0..3u8 {
                let sequences = keccak256((*account, U256::ONE).abi_encode());
                let slot = keccak256((U256::from(lane), sequences).abi_encode()).into();
                let next = self.ours.storage(ENTRY_POINT, slot);
                assert_eq!(next, self.theirs.storage(ENTRY_POINT, slot), "nonce {lane} of {account}");
            }
        }
        for payer in accounts.iter().chain([&SPONSOR, &BUNDLER]) {
            self.compare_money(*payer);
        }
    }

    /// Deposits and balances are made of gas where fees are not zero: a small difference is evened out.
    #[track_caller]
    fn compare_money(&mut self, address: Address) {
        const MOST_GAS: u64 = 20_000_000;
        let close = |ours: U256, theirs: U256, what: &str| {
            let difference = ours.abs_diff(theirs);
            assert!(difference <= U256::from(MOST_GAS), "{what} of {address}: {ours} and {theirs}");
        };
        let slot = keccak256((address, U256::ZERO).abi_encode()).into();
        let deposit = U256::from(self.ours.storage(ENTRY_POINT, slot));
        close(deposit & (U256::MAX >> 144), self.theirs.storage(ENTRY_POINT, slot) & (U256::MAX >> 144), "deposit");
        self.theirs.set_storage(ENTRY_POINT, slot, deposit);
        let balance = self.ours.balance(address);
        close(balance, self.theirs.balance(address), "balance");
        self.theirs.set_balance(address, balance);
    }

    /// A getter of ours; the storage behind it has been compared.
    #[track_caller]
    pub fn view<C: SolCall>(&self, to: Address, getter: &C) -> C::Return {
        let answer = self.ours.call(&Request::to(to, getter.abi_encode())).unwrap();
        assert!(answer.success, "{to} did not answer");
        C::abi_decode_returns(&answer.output).unwrap()
    }

    pub fn owner(&self, account: Address) -> Address {
        self.view(ECDSA_VALIDATOR, &Views::ecdsaValidatorStorageCall { account })
    }

    /// `(lastNonce, invalidNonce)`.
    pub fn nonces(&self, account: Address) -> (u128, u128) {
        let nonces = self.view(SKV, &Views::noncesCall { account });
        (nonces.lastNonce, nonces.invalidNonce)
    }

    /// Root and nonce that a key was enabled with.
    pub fn session(&self, key: Address, account: Address) -> (B256, U256) {
        let data = self.view(SKV, &Views::sessionDataCall { key, account });
        (data.merkleRoot, data.nonce)
    }

    /// Whether an account function is routed to the session key validator.
    pub fn routed(&self, account: Address, selector: Selector) -> bool {
        self.view(account, &Kernel::getExecutionCall { selector }).validator == SKV
    }

    pub fn nonce(&self, account: Address, lane: u8) -> U256 {
        self.view(ENTRY_POINT, &EntryPoint::getNonceCall { sender: account, key: Uint::from(lane) })
    }

    /// Deploys the account through the factory and gives it an ether.
    pub fn deploy(&mut self, seed: AccountSeed, kernel: KernelVersion) -> Address {
        let init_code = seed.init_code(kernel);
        let factory = Address::from_slice(&init_code[..20]);
        assert!(self.transact(&Request::to(factory, init_code.slice(20..))).mined());
        self.set_balance(seed.address(), ETHER);
        seed.address()
    }

    /// An unsigned operation with ample gas and no fee.
    pub fn op(&self, sender: Address, lane: u8, call_data: Bytes) -> UserOperation {
        UserOperation {
            sender,
            nonce: self.nonce(sender, lane),
            call_data,
            call_gas_limit: U256::from(2_000_000),
            verification_gas_limit: U256::from(3_000_000),
            pre_verification_gas: U256::from(50_000),
            ..UserOperation::default()
        }
    }

    /// Every getter that tells of the account.
    #[track_caller]
    pub fn compare_getters(&self, account: Address, keys: &[Address], selectors: &[Selector]) {
        let mut asked = vec![
            (SKV, Views::noncesCall { account }.abi_encode()),
            (ECDSA_VALIDATOR, Views::ecdsaValidatorStorageCall { account }.abi_encode()),
        ];
        asked.extend(keys.iter().map(|key| (SKV, Views::sessionDataCall { key: *key, account }.abi_encode())));
        for (nonce, index) in (0..12).map(|i| (1 + i / 3, (i % 3) as u32)) {
            let id = keyleash::protocol::kernel_v2::account::execution_status_key(nonce, index);
            asked.push((SKV, Views::executionStatusCall { id, account }.abi_encode()));
        }
        for lane in 0..3u8 {
            let nonce = EntryPoint::getNonceCall { sender: account, key: Uint::from(lane) };
            asked.push((ENTRY_POINT, nonce.abi_encode()));
        }
        let getters = [
            Kernel::getDefaultValidatorCall {}.abi_encode(),
            Kernel::getDisabledModeCall {}.abi_encode(),
            Kernel::getLastDisabledTimeCall {}.abi_encode(),
            Kernel::eip712DomainCall {}.abi_encode(),
            Kernel::nameCall {}.abi_encode(),
            Kernel::versionCall {}.abi_encode(),
            Kernel::entryPointCall {}.abi_encode(),
        ];
        let routes = selectors.iter().map(|s| Kernel::getExecutionCall { selector: *s }.abi_encode());
        if !self.ours.code(account).is_empty() {
            asked.extend(getters.into_iter().chain(routes).map(|getter| (account, getter)));
        }
        for (to, getter) in asked {
            assert!(matches!(self.call(&Request::to(to, getter)), Answer::Done(_)));
        }
    }
}

/// A line that stays in sight: cargo hides what print macros write in a test that passes.
fn say(line: &str) {
    use std::io::Write as _;
    let _ = std::io::stderr().lock().write_all(format!("\n{line}\n").as_bytes());
}

//! Histories on a chain in this process - on the sandbox's contracts, and on the deployed ones where their recording is at
//! hand - and what a scan makes of them from the chain alone.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use alloy::{
    hex,
    primitives::{Bytes, FixedBytes, U256, keccak256},
    sol,
    sol_types::SolCall,
};
use proptest::{
    prelude::*,
    test_runner::{Config as Runs, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::{
    erc4337::v06::{ENTRY_POINT, UserOperation, UserOperationEvent},
    policy::scope::{ExecutionRule, Operation, Permission},
    protocol::{
        AccountCall, Call as AccountsCall,
        family::{account::Seed, snapshot::SnapshotRequest},
        kernel_v2::{
            account::{AccountSeed, disable_key, enable_key, selector, set_execution},
            approval::{Approval, ApprovalRequest},
            generation::{DETERMINISTIC_DEPLOYER, ECDSA_VALIDATOR},
            signature,
        },
    },
    sandbox::{
        CHAIN_ID,
        evm::{Chain, Request},
        rpc::Service,
    },
    secret::Secret,
    wallet::{
        home::Home,
        rpc::{
            Endpoint,
            in_process::InProcess,
            transport::{Answering, Call, Transport},
        },
        sandbox_profile::NAME,
        state::State,
    },
};

sol! {
    struct Packed {
        address sender; uint256 nonce; bytes initCode; bytes callData; uint256 callGasLimit; uint256 verificationGasLimit;
        uint256 preVerificationGas; uint256 maxFeePerGas; uint256 maxPriorityFeePerGas; bytes paymasterAndData; bytes signature;
    }
    function handleOps(Packed[] ops, address beneficiary);
    function invalidateNonce(uint128 nonce);
    function disable(bytes data);
}

const TIME: u64 = 1_800_000_000;
const BUNDLER: Address = Address::repeat_byte(0xb0);
const STRANGER: Address = Address::repeat_byte(0x57);
const TARGET: Address = Address::repeat_byte(0x71);
const G2: Generation = Generation::G2;
/// Calls the EntryPoint with what follows the first four bytes of its calldata, and reverts when that does.
const FORWARDER: [u8; 62] = hex!(
    "603380600b6000396000f3" "6004360380600460003760006000826000600073" "5FF137D4b0FDCD49DcA30c7CF57E578a026d2789"
    "5af1603157600080fd5b00"
);

// ---- a world ------------------------------------------------------------------------------------------------------------------

struct World {
    wallet: Wallet,
    account: Account,
    owner: Secret,
    /// How often a new nonce lane was used.
    lanes: u64,
    _folder: TempDir,
}

/// A key and what its owner signed for it.
struct Granted {
    key: Secret,
    scope: Scope,
    approval: Approval,
}

fn secret(n: u8) -> Secret {
    Secret::from_bytes(&mut [n; 32]).unwrap()
}

fn sandbox_chain() -> Service {
    Service::new(TIME).unwrap()
}

/// The deployed contracts, where their recording lies beside the project.
fn deployed_chain() -> Option<Service> {
    let recording = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/chain/deployments.json");
    let Ok(text) = std::fs::read_to_string(&recording) else {
        // Past the test harness, which hides what a passing test prints.
        let line = format!("skipped: {} is missing: no deployed bytecode to scan\n", recording.display());
        let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
        return None;
    };
    let mut chain = Chain::new(CHAIN_ID, TIME);
    let deployer = hex!(
        "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f58015156039578182fd5b8082525050506014600cf3"
    );
    chain.set_code(DETERMINISTIC_DEPLOYER, Bytes::copy_from_slice(&deployer)).unwrap();
    chain.load_deployments(&text).unwrap();
    for (address, code) in foreign::foreign_code() {
        chain.set_code(address, code).unwrap();
    }
    Some(Service::on(chain))
}

impl World {
    /// An account that is deployed, on record with its owner's address alone.
    fn new(service: Service) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut wallet = Wallet::init_sandbox(&Home::at(folder.path())).unwrap();
        wallet.sandbox = Some(InProcess::in_memory(service));
        let owner = secret(1);
        let seed = Seed { owner: owner.address(), index: U256::ZERO };
        let account = Account {
            network: NAME.into(),
            chain_id: CHAIN_ID,
            address: AccountSeed::from(seed).address(),
            name: "treasury".into(),
            owner: owner.address(),
            owner_secret: None,
            seed: Some(seed),
            kernel: KernelVersion::V0_2_4.into(),
            created_at: 0,
        };
        wallet.store.write(|w| w.put_account(&account)).unwrap();
        let mut world = Self { wallet, account, owner, lanes: 0, _folder: folder };
        world.chain(|chain| chain.fund(world.account.address, U256::from(10u64.pow(18))));
        let mut deploy = world.op(execute(STRANGER, Bytes::new()));
        deploy.init_code = world.account.init_code().unwrap();
        let deploy = world.by_owner(deploy);
        world.bundle(&[deploy]);
        world
    }

    fn chain<T>(&self, work: impl FnOnce(&mut Service) -> T) -> T {
        self.wallet.sandbox.as_ref().unwrap().with(work).unwrap()
    }

    fn op(&mut self, call_data: Bytes) -> UserOperation {
        self.lanes += 1;
        UserOperation {
            sender: self.account.address,
            nonce: U256::from(self.lanes) << 64,
            call_data,
            call_gas_limit: U256::from(1_000_000),
            verification_gas_limit: U256::from(2_000_000),
            pre_verification_gas: U256::from(50_000),
            max_fee_per_gas: U256::ONE,
            max_priority_fee_per_gas: U256::ONE,
            ..UserOperation::default()
        }
    }

    fn by_owner(&self, op: UserOperation) -> UserOperation {
        let signed = self.owner.sign_message_hash(op.hash(ENTRY_POINT, CHAIN_ID)).unwrap();
        UserOperation { signature: signature::sudo(&signed), ..op }
    }

    fn by_key(&mut self, granted: &Granted, approval: Option<&Approval>) -> UserOperation {
        let op = self.op(execute(TARGET, vec![1, 2, 3, 4]));
        sign(op, granted, approval)
    }

    /// Sends the bundle, which has to be mined.
    fn bundle(&self, ops: &[UserOperation]) -> B256 {
        self.act(Request::to(ENTRY_POINT, handle_ops(ops)).from(BUNDLER))
    }

    fn act(&self, request: Request) -> B256 {
        self.chain(|service| {
            let mined = service.act(&request).unwrap();
            assert!(mined.success, "reverted with {}", mined.output);
            mined.hash
        })
    }

    fn owner_op(&mut self, call_data: Bytes) {
        let op = self.op(call_data);
        let op = self.by_owner(op);
        self.bundle(&[op]);
    }

    /// A transaction of the owner's own.
    fn owner_transaction(&self, call_data: Bytes) -> B256 {
        self.act(Request::to(self.account.address, call_data).from(self.owner.address()))
    }

    fn grant(&self, n: u8, permissions: u32, nonce: u128) -> Granted {
        self.grant_for(n, permissions, nonce, G2, KernelVersion::V0_2_4)
    }

    fn grant_for(&self, n: u8, permissions: u32, nonce: u128, validator: Generation, kernel: KernelVersion) -> Granted {
        let scope = Scope {
            valid_after: 0,
            valid_until: TIME + 1_000_000,
            paymaster: Address::ZERO,
            permissions: (0..permissions).map(permission).collect(),
        };
        let key = secret(n);
        let request = ApprovalRequest {
            chain_id: CHAIN_ID,
            account: self.account.address,
            kernel,
            validator,
            selector: selector::EXECUTE,
            executor: Address::ZERO,
            plugin_window: FixedBytes::ZERO,
            enable: EnableData::new(key.address(), &scope, nonce, validator),
        };
        let signature = Bytes::copy_from_slice(&self.owner.sign_hash(request.digest()).unwrap());
        Granted { key, scope, approval: Approval { request, signature } }
    }

    fn nonces(&self) -> (u128, u128) {
        let picture = block_on(async {
            let services = self.wallet.services(NAME).await.unwrap();
            services.snapshot(&SnapshotRequest::of(self.account.address, &[], None)).await.unwrap()
        });
        let nonces = picture.kernel_v2().nonces(G2);
        (nonces.last, nonces.invalid)
    }

    fn scan(&self) -> Scan {
        self.scan_with(ScanOptions::default())
    }

    fn scan_with(&self, options: ScanOptions) -> Scan {
        block_on(self.wallet.scan("treasury", options, &|_| {})).unwrap()
    }

    /// A scan over a node that is tampered with.
    fn scan_over(&self, node: Tampered) -> Result<Scan> {
        block_on(async {
            let services = Services { node: Node::new(Endpoint::new(node)), ..self.wallet.services(NAME).await? };
            self.wallet.scan_through(&self.account, &services, ScanOptions::default(), &|_| {}).await
        })
    }

    fn mine(&self, blocks: u32) {
        for _ in 0..blocks {
            self.chain(|service| service.advance(1));
        }
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn permission(index: u32) -> Permission {
    Permission {
        index,
        target: TARGET,
        sig: Selector::new([1, 2, 3, 4]),
        value_limit: U256::from(index),
        rules: Vec::new(),
        execution_rule: ExecutionRule::default(),
        operation: Operation::Call,
    }
}

/// Signs for a call of the target, showing the first permission there is.
fn sign(op: UserOperation, granted: &Granted, approval: Option<&Approval>) -> UserOperation {
    let shown = if granted.scope.permissions.is_empty() { signature::Shown::Nothing } else { signature::Shown::One(0) };
    let generation = granted.approval.request.validator;
    let proof = signature::proof_data(&granted.scope.permissions, shown, generation).unwrap();
    let signed = granted.key.sign_message_hash(op.hash(ENTRY_POINT, CHAIN_ID)).unwrap();
    let session = signature::session(granted.key.address(), &signed, &proof);
    let signature = match approval {
        Some(approval) => signature::enable_and_use(approval, &session),
        None => signature::use_enabled(&session),
    };
    UserOperation { signature, ..op }
}

fn handle_ops(ops: &[UserOperation]) -> Vec<u8> {
    let packed = |op: &UserOperation| {
        let op = op.clone();
        Packed {
            sender: op.sender,
            nonce: op.nonce,
            initCode: op.init_code,
            callData: op.call_data,
            callGasLimit: op.call_gas_limit,
            verificationGasLimit: op.verification_gas_limit,
            preVerificationGas: op.pre_verification_gas,
            maxFeePerGas: op.max_fee_per_gas,
            maxPriorityFeePerGas: op.max_priority_fee_per_gas,
            paymasterAndData: op.paymaster_and_data,
            signature: op.signature,
        }
    };
    handleOpsCall { ops: ops.iter().map(packed).collect(), beneficiary: BUNDLER }.abi_encode()
}

fn execute(to: Address, data: impl Into<Bytes>) -> Bytes {
    AccountCall::Execute(AccountsCall { to, value: U256::ZERO, data: data.into() }).encode()
}

fn burn(nonce: u128) -> Bytes {
    let dead = EnableData {
        session_key: Address::repeat_byte(0xde),
        merkle_root: B256::repeat_byte(0xde),
        valid_after: 0,
        valid_until: 1,
        paymaster: Address::ZERO,
        nonce,
    };
    execute(G2.address(), enable_key(&dead.encode()))
}

fn enable(granted: &Granted) -> Bytes {
    let ApprovalRequest { validator, enable, .. } = &granted.approval.request;
    execute(validator.address(), enable_key(&enable.encode()))
}

fn invalidate(nonce: u128) -> Bytes {
    execute(G2.address(), invalidateNonceCall { nonce }.abi_encode())
}

fn invalidate_all() -> Bytes {
    execute(G2.address(), disableCall { data: Bytes::new() }.abi_encode())
}

impl Scan {
    #[track_caller]
    fn key(&self, granted: &Granted) -> &FoundKey {
        let address = granted.key.address();
        self.keys.iter().find(|k| k.session_key == address).unwrap_or_else(|| panic!("no {address} in {self:#?}"))
    }

    fn codes(&self) -> Vec<&str> {
        self.findings.iter().map(|f| f.code).collect()
    }
}

impl FoundKey {
    fn state(&self) -> State {
        self.key.as_ref().unwrap().state
    }

    fn turns(&self) -> Vec<(u128, EnabledBy)> {
        self.turns.iter().map(|t| (t.nonce, t.enabled_by)).collect()
    }
}

// ---- histories ----------------------------------------------------------------------------------------------------------------

/// The story of an account in which a key came to be in every way that leaves a trace.
fn every_way(service: Service) {
    let mut world = World::new(service);
    let account = world.account.address;
    // A holder enables its own key and uses it.
    let holder = world.grant(11, 3, 1);
    for approval in [Some(&holder.approval), None, None] {
        let op = world.by_key(&holder, approval);
        world.bundle(&[op]);
    }
    // The owner enables on chain, in an operation and by a transaction of its own that routes.
    let by_op = world.grant(12, 1, 2);
    world.owner_op(enable(&by_op));
    let by_transaction = world.grant(13, 0, 3);
    let data = by_transaction.approval.request.enable.encode();
    world.owner_transaction(execute(account, set_execution(selector::EXECUTE_BATCH, G2.address(), &data)));
    world.owner_op(burn(4));
    // Two operations in one bundle: one key signs for another's approval, which then signs for itself.
    let helped = world.grant(14, 2, 5);
    let ops = [world.by_key(&holder, Some(&helped.approval)), world.by_key(&helped, None)];
    world.bundle(&ops);
    // A contract in between carries an operation to the EntryPoint.
    let forwarder = world.chain(|service| {
        let request = Request { to: None, data: Bytes::copy_from_slice(&FORWARDER), ..Request::default() };
        service.act(&request).unwrap().created.unwrap()
    });
    let carried = world.grant(15, 1, 6);
    let op = world.by_key(&carried, Some(&carried.approval));
    let wrapped = [&[0xca, 0x11, 0xab, 0x1e][..], &handle_ops(&[op])].concat();
    let through_forwarder = world.act(Request::to(forwarder, wrapped).from(STRANGER));
    world.owner_op(execute(G2.address(), disable_key(by_op.key.address())));

    let scan = world.scan();
    assert_eq!((scan.complete, scan.codes()), (true, vec![]), "{scan:#?}");
    assert_eq!(scan.operations, 10);
    assert_eq!(scan.keys.len(), 5);
    let found = scan.key(&holder);
    assert_eq!((found.turns(), found.uses, found.held), (vec![(1, EnabledBy::Holder)], 4, true));
    assert!(found.first_use.unwrap().block < found.last_use.unwrap().block);
    assert!(found.first_use.unwrap().time.is_some_and(|time| time >= TIME));
    let view = found.key.as_ref().unwrap();
    assert_eq!((view.state, view.discovered, view.partial_root), (State::Active, true, found.merkle_root));
    assert_eq!(view.permissions, holder.scope.permissions[..1], "only the one that was shown");
    assert!(view.sentences.iter().any(|s| s.contains("only what it showed")), "{:?}", view.sentences);
    assert_eq!(view.approvals[0].enable_signature, Some(holder.approval.signature.clone()), "what it would replay");

    let found = scan.key(&by_op);
    assert_eq!((found.turns(), found.uses, found.held), (vec![(2, EnabledBy::Account)], 0, false));
    assert!(!found.state().may_act());
    assert!(found.key.as_ref().unwrap().sentences[0].contains("not known"), "nothing was ever shown");
    let found = scan.key(&by_transaction);
    assert_eq!((found.turns(), found.held), (vec![(3, EnabledBy::Account)], true));
    assert!(
        found.key.as_ref().unwrap().partial_root.is_none()
            && found.key.as_ref().unwrap().sentences[0].contains("everything")
    );
    let found = scan.key(&helped);
    assert_eq!((found.turns(), found.uses), (vec![(5, EnabledBy::Holder)], 1));
    let found = scan.key(&carried);
    assert_eq!((found.turns(), found.uses), (vec![(6, EnabledBy::Holder)], 1));
    assert_eq!(found.last_use.unwrap().transaction_hash, through_forwarder);
    assert!(found.key.as_ref().unwrap().partial_root.is_none(), "one permission, and it was shown");
}

#[test]
fn keys_are_found_in_every_way_they_come_to_be() {
    every_way(sandbox_chain());
}

#[test]
fn keys_are_found_on_the_deployed_contracts() {
    if let Some(chain) = deployed_chain() {
        every_way(chain);
    }
}

#[test]
fn a_second_scan_finds_the_same_and_adds_nothing() {
    let mut world = World::new(sandbox_chain());
    let granted = world.grant(11, 2, 1);
    let op = world.by_key(&granted, Some(&granted.approval));
    world.bundle(&[op]);
    let first = world.scan();
    assert!(!first.keys[0].known);
    let again = world.scan();
    assert!(again.keys[0].known);
    let keys = block_on(world.wallet.keys(Some("treasury"))).unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!(keys[0].key_id, first.keys[0].key.as_ref().unwrap().key_id);
}

#[test]
fn what_a_key_shows_later_completes_its_scope() {
    let mut world = World::new(sandbox_chain());
    let granted = world.grant(11, 2, 1);
    let op = world.by_key(&granted, Some(&granted.approval));
    world.bundle(&[op]);
    assert!(world.scan().keys[0].key.as_ref().unwrap().partial_root.is_some());
    let op = world.op(execute(TARGET, vec![1, 2, 3, 4]));
    let proof = signature::proof_data(&granted.scope.permissions, signature::Shown::One(1), G2).unwrap();
    let signed = granted.key.sign_message_hash(op.hash(ENTRY_POINT, CHAIN_ID)).unwrap();
    let signature = signature::use_enabled(&signature::session(granted.key.address(), &signed, &proof));
    world.bundle(&[UserOperation { signature, ..op }]);
    let scan = world.scan();
    let view = scan.keys[0].key.as_ref().unwrap();
    assert!(view.partial_root.is_none());
    assert_eq!(view.permissions, granted.scope.permissions);
}

#[test]
fn a_key_on_record_is_matched_and_left_as_it_is() {
    let mut world = World::new(sandbox_chain());
    let granted = world.grant(11, 2, 1);
    let key = Key {
        id: "mine".into(),
        label: "mint-bot".into(),
        network: NAME.into(),
        chain_id: CHAIN_ID,
        account: world.account.address,
        owner: world.owner.address(),
        session_key: granted.key.address(),
        secret: None,
        validator: G2.into(),
        scope: granted.scope.clone(),
        partial: None,
        functions: vec![None, None],
        origin: Origin::Granted,
        init_code: None,
        was_deployed: true,
        created_at: 1,
        revoked_at: None,
    };
    let record = ApprovalRecord {
        key_id: key.id.clone(),
        request: granted.approval.request.clone().into(),
        signature: Some(granted.approval.signature.clone()),
        created_at: 1,
    };
    world.wallet.store.write(|w| w.put_key(&key).and_then(|()| w.put_approval(&record))).unwrap();
    let op = world.by_key(&granted, Some(&granted.approval));
    world.bundle(&[op]);
    // The owner signed the same scope once more, elsewhere, for another turn.
    let again = world.grant(11, 2, 2);
    let op = world.by_key(&again, Some(&again.approval));
    world.bundle(&[op]);
    let scan = world.scan();
    assert_eq!((scan.keys.len(), scan.keys[0].known), (1, true));
    assert_eq!(scan.keys[0].turns(), [(1, EnabledBy::Holder), (2, EnabledBy::Holder)]);
    let file = world.wallet.find_key("mint-bot").unwrap();
    assert_eq!(file.key, key);
    let turns: Vec<u128> = file.approvals.iter().map(|a| a.request.kernel_v2().enable.nonce).collect();
    assert_eq!(turns, [1, 2]);
}

#[test]
fn a_turn_that_went_to_another_key_is_a_finding() {
    let mut world = World::new(sandbox_chain());
    let ours = world.grant(11, 1, 1);
    let theirs = world.grant(12, 1, 1);
    let op = world.by_key(&theirs, Some(&theirs.approval));
    world.bundle(&[op]);
    let scan = world.scan();
    let found = scan.keys[0].key.as_ref().unwrap();
    let mut file = world.wallet.find_key(&found.key_id).unwrap();
    file.key.id = "ours".into();
    file.key.label = "mint-bot".into();
    file.key.origin = Origin::Granted;
    file.key.session_key = ours.key.address();
    let record = ApprovalRecord {
        key_id: "ours".into(),
        request: ours.approval.request.clone().into(),
        signature: Some(ours.approval.signature.clone()),
        created_at: 1,
    };
    world.wallet.store.write(|w| w.put_key(&file.key).and_then(|()| w.put_approval(&record))).unwrap();
    let scan = world.scan();
    let finding = scan.findings.iter().find(|f| f.code == "key.turn_taken").unwrap();
    assert!(finding.message.contains("mint-bot") && finding.message.contains(&theirs.key.address().to_string()));
}

#[test]
fn a_found_key_can_be_named_and_stays_found() {
    let mut world = World::new(sandbox_chain());
    let granted = world.grant(11, 1, 1);
    let op = world.by_key(&granted, Some(&granted.approval));
    world.bundle(&[op]);
    let label = world.scan().keys[0].key.as_ref().unwrap().label.clone();
    assert!(label.starts_with("unknown-"), "{label}");
    assert_eq!(world.wallet.name_key(&label, "game server").unwrap().label, "game server");
    assert_eq!(world.wallet.name_key("nobody", "x").unwrap_err().code, "key.unknown");
    assert_eq!(world.wallet.name_key("game server", " \u{202e}").unwrap_err().code, "label.invalid");
    assert_eq!(world.wallet.remove_key("game server").unwrap_err().code, "key.on_chain");
    let scan = world.scan();
    let found = scan.keys[0].key.as_ref().unwrap();
    assert_eq!((found.label.as_str(), found.discovered, found.state), ("game server", true, State::Active));
}

#[test]
fn what_an_owner_does_in_silence_is_said_to_be_unexplained() {
    let mut world = World::new(sandbox_chain());
    let first = world.grant(11, 1, 1);
    let op = world.by_key(&first, Some(&first.approval));
    world.bundle(&[op]);
    let (held, used, lost) = (world.grant(12, 1, 2), world.grant(13, 1, 3), world.grant(14, 1, 4));
    for silent in [&held, &used, &lost] {
        world.owner_transaction(enable(silent));
    }
    let op = world.by_key(&used, None);
    world.bundle(&[op]);
    world.owner_transaction(execute(G2.address(), disable_key(first.key.address())));
    let scan = world.scan();
    assert!(!scan.complete);
    let unexplained: Vec<_> = scan.unexplained.iter().map(|t| (t.first, t.last, t.may_live)).collect();
    assert_eq!(unexplained, [(2, 2, true), (4, 4, true)]);
    let found = scan.key(&used);
    assert_eq!((found.turns(), found.uses, found.state()), (vec![(3, EnabledBy::Unseen)], 1, State::Active));
    assert!(found.key.as_ref().unwrap().partial_root.is_none());
    for code in ["key.gone", "key.unseen", "turns.unexplained"] {
        assert!(scan.codes().contains(&code), "{code} in {:?}", scan.codes());
    }
    // Once every turn is invalidated, nothing of them can act.
    world.owner_op(invalidate_all());
    let scan = world.scan();
    assert!(scan.unexplained.iter().all(|t| !t.may_live) && !scan.unexplained.is_empty());
}

/// `(lastNonce, invalidNonce)` from a block on.
type Counters = Vec<(u64, (u128, u128))>;

#[test]
fn a_node_that_remembers_old_states_tells_where_an_owner_acted_in_silence() {
    let mut world = World::new(sandbox_chain());
    let then: Arc<Mutex<Counters>> = Arc::default();
    let note = |world: &World| {
        let block = world.chain(|service| service.chain().latest().unwrap().number);
        then.lock().unwrap().push((block, world.nonces()));
    };
    let (first, kept, ended) = (world.grant(11, 1, 1), world.grant(12, 1, 2), world.grant(13, 1, 4));
    let op = world.by_key(&first, Some(&first.approval));
    world.bundle(&[op]);
    note(&world);
    world.mine(5);
    for silent in [enable(&kept), burn(3), enable(&ended), invalidate_all()] {
        world.owner_transaction(silent);
        note(&world);
        world.mine(3);
    }
    let last = world.grant(14, 1, 5);
    let op = world.by_key(&last, Some(&last.approval));
    world.bundle(&[op]);
    note(&world);
    world.mine(SETTLED as u32 + 3);
    assert!(!world.scan().complete, "the sandbox forgets");

    let nonces = hex!("7ecebe00");
    let remembers = Tampered::new(&world, move |call, answer| {
        let asks = |field: &str| call.params[0][field].as_str().unwrap_or_default().to_owned();
        if call.method == "eth_call" && answer.is_err() && asks("data").starts_with(&hex::encode_prefixed(nonces)) {
            let at = u64::from_str_radix(call.params[1].as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
            let of_g2 = asks("to").parse::<Address>() == Ok(G2.address());
            let then = then.lock().unwrap();
            let known = then.iter().rev().find(|(block, _)| of_g2 && *block <= at).map(|(_, nonces)| *nonces);
            let (last, invalid) = known.unwrap_or_default();
            let words = [U256::from(last), U256::from(invalid)].map(|word| word.to_be_bytes::<32>());
            *answer = Ok(json!(Bytes::from(words.concat())));
        }
    });
    let check = |scan: &Scan| {
        assert_eq!((scan.complete, scan.codes()), (true, vec![]), "{scan:#?}");
        assert_eq!(scan.keys.len(), 4);
        for (granted, turn) in [(&kept, 2), (&ended, 4)] {
            assert_eq!(scan.key(granted).turns(), [(turn, EnabledBy::Account)]);
            assert!(scan.key(granted).turns[0].at.is_some_and(|at| at.time.is_some()));
        }
        assert_eq!(scan.key(&last).state(), State::Active);
        assert_eq!(scan.key(&kept).state(), State::Revoked);
    };
    check(&world.scan_over(remembers).unwrap());
    check(&world.scan()); // what was found out is kept
}

#[test]
fn transactions_of_ours_are_read_although_they_leave_no_trace() {
    let world = World::new(sandbox_chain());
    let silent = world.grant(12, 1, 1);
    let transaction_hash = world.owner_transaction(enable(&silent));
    let block = world.chain(|service| service.chain().transaction(transaction_hash).unwrap().block_number);
    let mut operation = json!({
        "user_op_hash": transaction_hash, "network": NAME, "account": world.account.address,
        "purpose": { "enable": { "key_ids": [] } },
        "progress": {
            "state": "included", "success": true, "transaction_hash": transaction_hash, "block": block,
            "gas_used": "0x1", "gas_cost": "0x1", "revert_reason": null,
        },
        "created_at": 1,
    });
    operation["user_op"] = serde_json::to_value(UserOperation::default()).unwrap();
    let operation = serde_json::from_value(operation).unwrap();
    world.wallet.store.write(|w| w.put_operation(&operation)).unwrap();
    let scan = world.scan();
    assert_eq!((scan.complete, scan.key(&silent).turns()), (true, vec![(1, EnabledBy::Account)]), "{scan:#?}");
}

#[test]
fn an_invalidation_that_was_not_seen_leaves_doubt() {
    let world = World::new(sandbox_chain());
    world.owner_transaction(invalidate(3));
    let scan = world.scan();
    assert!(!scan.complete);
    assert!(scan.codes().contains(&"turns.invalidated") && scan.unexplained.iter().all(|t| !t.may_live));
}

#[test]
fn an_account_that_is_not_deployed_has_no_history() {
    let world = World::new(sandbox_chain());
    let account = Account { address: STRANGER, name: "later".into(), seed: None, ..world.account.clone() };
    world.wallet.store.write(|w| w.put_account(&account)).unwrap();
    let scan = block_on(world.wallet.scan("later", ScanOptions::default(), &|_| {})).unwrap();
    assert_eq!((scan.complete, scan.codes()), (true, vec!["account.not_deployed"]));
}

#[test]
fn a_scan_that_begins_late_says_what_it_did_not_read() {
    let mut world = World::new(sandbox_chain());
    let (early, late) = (world.grant(11, 1, 1), world.grant(12, 1, 2));
    let op = world.by_key(&early, Some(&early.approval));
    world.bundle(&[op]);
    let from_block = Some(world.chain(|service| service.chain().latest().unwrap().number + 1));
    let ops = [world.by_key(&late, Some(&late.approval)), world.by_key(&early, None)];
    world.bundle(&ops);
    let scan = world.scan_with(ScanOptions { from_block });
    assert!(!scan.complete && scan.codes().contains(&"scan.partial"));
    assert_eq!(scan.key(&late).turns(), [(2, EnabledBy::Holder)]);
    assert_eq!(scan.key(&early).turns(), [(1, EnabledBy::Unseen)]);
    let whole = world.scan();
    assert!(whole.complete, "{:?}", whole.findings);
    assert_eq!(whole.key(&early).turns(), [(1, EnabledBy::Holder)]);
}

// ---- nodes that cut off, and nodes that lie --------------------------------------------------------------------------------------

type Hook = Box<dyn Fn(&Call, &mut std::result::Result<Value, ChainError>) + Send + Sync>;

/// The world's node, with something done to its answers.
struct Tampered {
    inner: InProcess,
    hook: Hook,
}

impl Tampered {
    fn new(
        world: &World,
        hook: impl Fn(&Call, &mut std::result::Result<Value, ChainError>) + Send + Sync + 'static,
    ) -> Self {
        Self { inner: world.wallet.sandbox.clone().unwrap(), hook: Box::new(hook) }
    }
}

impl Transport for Tampered {
    fn origin(&self) -> &str {
        "tampered"
    }

    fn request<'a>(&'a self, calls: &'a [Call]) -> Answering<'a> {
        Box::pin(async move {
            let mut answers = self.inner.request(calls).await;
            for (call, answer) in calls.iter().zip(&mut answers) {
                (self.hook)(call, answer);
            }
            answers
        })
    }
}

fn span(call: &Call) -> (u64, u64) {
    let bound = |name: &str| u64::from_str_radix(&call.params[0][name].as_str().unwrap()[2..], 16).unwrap();
    (bound("fromBlock"), bound("toBlock"))
}

#[test]
fn a_scan_that_was_cut_off_goes_on_where_it_was_and_a_later_one_reads_only_what_is_new() {
    let mut world = World::new(sandbox_chain());
    let mut granted = Vec::new();
    for turn in 1..=12u8 {
        let one = world.grant(20 + turn, 1, u128::from(turn));
        let op = world.by_key(&one, Some(&one.approval));
        world.bundle(&[op]);
        granted.push(one);
    }
    world.mine(SETTLED as u32 + 10);
    // A node that takes a few blocks at a time and then breaks off.
    let asked: Arc<Mutex<Vec<u64>>> = Arc::default();
    let node = |until: u64| {
        let asked = Arc::clone(&asked);
        Tampered::new(&world, move |call, answer| {
            if call.method != "eth_getLogs" {
                return;
            }
            let (from, to) = span(call);
            if to - from >= 4 {
                *answer = Err(ChainError::rpc("tampered", call.purpose, -32005, "block range too large", None));
            } else if to > until {
                *answer = Err(ChainError::Unreachable {
                    endpoint: "tampered".into(),
                    purpose: call.purpose,
                    reason: "cut".into(),
                });
            } else {
                asked.lock().unwrap().push(from);
            }
        })
    };
    assert_eq!(world.scan_over(node(9)).unwrap_err().code, "chain.unreachable");
    let read: BTreeSet<u64> = asked.lock().unwrap().drain(..).collect();
    let scan = world.scan_over(node(u64::MAX)).unwrap();
    assert!(scan.complete && scan.keys.len() == granted.len(), "{scan:#?}");
    let read_then: BTreeSet<u64> = asked.lock().unwrap().drain(..).collect();
    assert!(!read.is_empty() && read.is_disjoint(&read_then), "{read:?} {read_then:?}");
    // The keys of before are still known when only the blocks near the tip are read.
    let again = world.scan_over(node(u64::MAX)).unwrap();
    assert_eq!((again.complete, again.keys.len(), again.from_block), (true, granted.len(), scan.from_block));
    let tip = again.through_block;
    assert!(asked.lock().unwrap().iter().all(|from| *from > tip - SETTLED), "{:?}", asked.lock().unwrap());
}

#[test]
fn a_chain_that_was_replaced_is_read_anew() {
    let mut world = World::new(sandbox_chain());
    let granted = world.grant(11, 1, 1);
    let op = world.by_key(&granted, Some(&granted.approval));
    world.bundle(&[op]);
    world.mine(SETTLED as u32 + 5);
    assert_eq!(world.scan().operations, 2);
    let mut other = World::new(Service::new(TIME + 7).unwrap());
    other.mine(SETTLED as u32 + 5);
    std::mem::swap(&mut world.wallet.sandbox, &mut other.wallet.sandbox);
    world.wallet.clients = Default::default();
    let scan = world.scan();
    assert_eq!(scan.operations, 1, "the operations of the other chain are forgotten");
}

/// One key that its holder enabled, and a node that does something to transactions.
fn with_transactions(tamper: impl Fn(&mut Value) + Send + Sync + 'static) -> (World, Granted, Result<Scan>) {
    let mut world = World::new(sandbox_chain());
    let granted = world.grant(11, 1, 1);
    let op = world.by_key(&granted, Some(&granted.approval));
    world.bundle(&[op]);
    let node = Tampered::new(&world, move |call, answer| {
        if let ("eth_getTransactionByHash", Ok(value)) = (call.method, answer) {
            tamper(value);
        }
    });
    let scan = world.scan_over(node);
    (world, granted, scan)
}

#[test]
fn a_node_that_answers_with_another_transaction_is_not_used() {
    let (.., scan) = with_transactions(|value| value["hash"] = json!(B256::repeat_byte(7)));
    assert_eq!(scan.unwrap_err().code, "chain.mismatch");
    let (.., scan) = with_transactions(|value| value["input"] = json!("0xzz"));
    assert_eq!(scan.unwrap_err().code, "chain.malformed");
}

type Tamper = Box<dyn Fn(&mut Value) + Send + Sync>;

#[test]
fn operations_that_a_transaction_does_not_show_are_unread_and_never_made_up() {
    let decoy = {
        let mut world = World::new(sandbox_chain());
        let framed = world.grant(12, 1, 1);
        world.lanes += 5; // another operation, not the same one under another signature
        let op = world.by_key(&framed, Some(&framed.approval));
        Bytes::from(handle_ops(&[op]))
    };
    let tampers: Vec<Tamper> = vec![
        Box::new(|value| *value = Value::Null),
        Box::new(|value| value["input"] = json!("0x")),
        Box::new(move |value| value["input"] = json!(decoy)),
        Box::new(|value| value["input"] = json!(Bytes::from(vec![0x1f; (4 << 20) + 1]))),
        Box::new(|value| value["blockNumber"] = json!("0x1")),
    ];
    for (i, tamper) in tampers.into_iter().enumerate() {
        let (_, granted, scan) = with_transactions(tamper);
        let scan = scan.unwrap();
        assert!(!scan.complete && scan.codes().contains(&"operations.unread"), "{i}: {:?}", scan.codes());
        assert!(scan.keys.iter().all(|k| k.session_key == granted.key.address()), "{i}: {:#?}", scan.keys);
    }
}

#[test]
fn an_event_that_cannot_be_read_is_said() {
    let mut world = World::new(sandbox_chain());
    let granted = world.grant(11, 1, 1);
    let op = world.by_key(&granted, Some(&granted.approval));
    world.bundle(&[op]);
    let node = Tampered::new(&world, |call, answer| {
        if let ("eth_getLogs", Ok(Value::Array(logs))) = (call.method, answer) {
            for log in logs {
                log["data"] = json!("0x");
            }
        }
    });
    let scan = world.scan_over(node).unwrap();
    assert!(scan.codes().contains(&"operations.unread") && !scan.complete);
}

#[test]
fn a_state_of_before_the_deployment_tells_where_to_begin() {
    let mut world = World::new(sandbox_chain());
    world.mine(40);
    let granted = world.grant(11, 1, 1);
    let op = world.by_key(&granted, Some(&granted.approval));
    world.bundle(&[op]);
    let deployed_at = 1;
    // A node that remembers old states: the account has code from its block on.
    let lowest = Arc::new(AtomicU64::new(u64::MAX));
    let noted = Arc::clone(&lowest);
    let node = Tampered::new(&world, move |call, answer| match call.method {
        "eth_getCode" if call.params[1] != "latest" => {
            let block = u64::from_str_radix(call.params[1].as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
            if answer.is_err() {
                *answer = Ok(json!(if block >= deployed_at { "0x60" } else { "0x" }));
            }
        }
        "eth_getLogs" => {
            noted.fetch_min(span(call).0, Ordering::Relaxed);
        }
        _ => {}
    });
    let scan = world.scan_over(node).unwrap();
    assert_eq!((scan.from_block, lowest.load(Ordering::Relaxed), scan.complete), (1, 1, true));
}

// ---- any history ------------------------------------------------------------------------------------------------------------------

#[derive(Debug, Clone, Copy)]
enum Deed {
    /// A holder enables a new key, with its own signature or another enabled key's.
    HolderEnables {
        permissions: u32,
        helped: bool,
    },
    /// Two of them in one bundle, and a third operation by the first.
    Bundle,
    Use {
        which: usize,
    },
    OwnerEnables {
        routes: bool,
        by_transaction: bool,
    },
    Disable {
        which: usize,
        by_transaction: bool,
    },
    Burn,
    InvalidateAll,
    /// Sets the counter to something between the last invalidation and a little above where it stands.
    InvalidateTo {
        part: u8,
    },
    /// Somebody else enables a key of its own on the same validator, and sends the account something.
    Foreign,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => (0..4u32, any::<bool>()).prop_map(|(permissions, helped)| Deed::HolderEnables { permissions, helped }),
        1 => Just(Deed::Bundle),
        4 => (0..8usize).prop_map(|which| Deed::Use { which }),
        3 => (any::<bool>(), any::<bool>()).prop_map(|(routes, by_transaction)| Deed::OwnerEnables { routes, by_transaction }),
        2 => (0..8usize, any::<bool>()).prop_map(|(which, by_transaction)| Deed::Disable { which, by_transaction }),
        1 => Just(Deed::Burn),
        1 => Just(Deed::InvalidateAll),
        1 => any::<u8>().prop_map(|part| Deed::InvalidateTo { part }),
        1 => Just(Deed::Foreign),
    ]
}

/// A key that was enabled, and whether that left no trace.
struct Enabling {
    granted: Granted,
    silent: bool,
    used: bool,
}

struct Story {
    world: World,
    enabled: Vec<Enabling>,
    /// Whether anything was done that leaves no trace and uses a turn.
    silent: bool,
    /// Whether the owner sent transactions, and whether turns were invalidated by number: the two together leave doubt.
    transactions: bool,
    numbered: bool,
    next_key: u8,
}

impl Story {
    fn next(&mut self, permissions: u32, after: u128) -> Granted {
        self.next_key += 1;
        self.world.grant(self.next_key, permissions, self.world.nonces().0 + 1 + after)
    }

    /// Keys that the chain would let act now.
    fn live(&self) -> Vec<usize> {
        let addresses: Vec<Address> = self.enabled.iter().map(|e| e.granted.key.address()).collect();
        let picture = block_on(async {
            let services = self.world.wallet.services(NAME).await.unwrap();
            services.snapshot(&SnapshotRequest::of(self.world.account.address, &addresses, None)).await.unwrap()
        });
        let picture = picture.kernel_v2();
        let routed = picture.generation(selector::EXECUTE) == Some(G2);
        let lives = |e: &Enabling| {
            let enable = &e.granted.approval.request.enable;
            routed && picture.holds(G2, enable) && enable.nonce > picture.nonces(G2).invalid
        };
        (0..self.enabled.len()).filter(|i| lives(&self.enabled[*i])).collect()
    }

    fn tell(&mut self, deed: Deed) {
        match deed {
            Deed::HolderEnables { permissions, helped } => {
                let granted = self.next(permissions, 0);
                let helper = self.live().last().copied().filter(|_| helped);
                let op = match helper {
                    Some(helper) => {
                        let helper = &mut self.enabled[helper];
                        helper.used = true;
                        self.world.by_key(&helper.granted, Some(&granted.approval))
                    }
                    None => self.world.by_key(&granted, Some(&granted.approval)),
                };
                self.world.bundle(&[op]);
                self.enabled.push(Enabling { granted, silent: false, used: helper.is_none() });
            }
            Deed::Bundle => {
                let (first, second) = (self.next(1, 0), self.next(0, 1));
                let ops = [
                    self.world.by_key(&first, Some(&first.approval)),
                    self.world.by_key(&second, Some(&second.approval)),
                    self.world.by_key(&first, None),
                ];
                self.world.bundle(&ops);
                let enablings = [first, second].map(|granted| Enabling { granted, silent: false, used: true });
                self.enabled.extend(enablings);
            }
            Deed::Use { which } => {
                let live = self.live();
                if live.is_empty() {
                    return;
                }
                let user = &mut self.enabled[live[which % live.len()]];
                user.used = true;
                let op = self.world.by_key(&user.granted, None);
                self.world.bundle(&[op]);
            }
            Deed::OwnerEnables { routes, by_transaction } => {
                let granted = self.next(2, 0);
                let data = granted.approval.request.enable.encode();
                let account = self.world.account.address;
                let set = set_execution(selector::EXECUTE, G2.address(), &data);
                match (routes, by_transaction) {
                    (true, true) => drop(self.world.owner_transaction(execute(account, set))),
                    (true, false) => self.world.owner_op(set),
                    (false, true) => drop(self.world.owner_transaction(enable(&granted))),
                    (false, false) => self.world.owner_op(enable(&granted)),
                }
                let silent = by_transaction && !routes;
                self.silent |= silent;
                self.transactions |= by_transaction;
                self.enabled.push(Enabling { granted, silent, used: false });
            }
            Deed::Disable { which, by_transaction } => {
                if self.enabled.is_empty() {
                    return;
                }
                let ended = &self.enabled[which % self.enabled.len()];
                let call = execute(G2.address(), disable_key(ended.granted.key.address()));
                self.transactions |= by_transaction;
                match by_transaction {
                    true => drop(self.world.owner_transaction(call)),
                    false => self.world.owner_op(call),
                }
            }
            Deed::Burn => {
                let next = self.world.nonces().0 + 1;
                self.world.owner_op(burn(next));
            }
            Deed::InvalidateAll => {
                let (last, invalid) = self.world.nonces();
                if last > invalid {
                    self.world.owner_op(invalidate_all());
                }
            }
            Deed::InvalidateTo { part } => {
                let (last, invalid) = self.world.nonces();
                let to = invalid + 1 + u128::from(part) % (last.saturating_sub(invalid) + 3);
                self.numbered = true;
                self.world.owner_op(invalidate(to));
            }
            Deed::Foreign => {
                let theirs = self.world.grant(250, 0, 1);
                let data = enable_key(&theirs.approval.request.enable.encode());
                let call = |chain: &mut Service| {
                    // Of the stranger's own account: once, then its turn is over. Either way nothing of ours.
                    let _ = chain.act(&Request::to(G2.address(), data).from(STRANGER));
                };
                self.world.chain(call);
            }
        }
    }

    /// From the chain alone: every key that left a trace, and no silence about those that left none.
    fn check(&self) -> std::result::Result<(), TestCaseError> {
        let scan = self.world.scan();
        let (last, invalid) = self.world.nonces();
        for Enabling { granted, silent, used } in &self.enabled {
            let enable = granted.approval.request.enable;
            let found = scan.keys.iter().find(|k| k.session_key == enable.session_key);
            if !silent {
                let turn = found.and_then(|f| f.turns.iter().find(|t| t.nonce == enable.nonce));
                prop_assert!(turn.is_some(), "{enable:?} is missing in {scan:#?}");
            }
            prop_assert!(found.is_some() || !used, "{enable:?} was used, and is missing in {scan:#?}");
            // A key that nobody found is dead, or the scan says that there may be such keys.
            prop_assert!(found.is_some() || !scan.complete || enable.nonce <= invalid, "{enable:?} {last} {scan:#?}");
        }
        for found in scan.keys.iter().filter(|k| k.held) {
            let view = found.key.as_ref().unwrap();
            let fits = |e: &Enabling| e.granted.key.address() == found.session_key && view.partial_root.is_none();
            if let Some(known) = self.enabled.iter().find(|e| fits(e)) {
                prop_assert_eq!(&view.permissions, &known.granted.scope.permissions);
            }
        }
        let live = self.live();
        let held: BTreeSet<Address> = scan.keys.iter().filter(|k| k.held).map(|k| k.session_key).collect();
        for i in live {
            let Enabling { granted, silent, used } = &self.enabled[i];
            prop_assert!(held.contains(&granted.key.address()) || (*silent && !used && !scan.complete), "{scan:#?}");
        }
        let doubt = self.silent || self.transactions && self.numbered;
        prop_assert!(scan.complete || doubt, "all of it left traces, and it is not complete: {scan:#?}");
        Ok(())
    }
}

/// The same histories on every run; `KEYLEASH_PROPERTY_SEED` (0 to 255) and `KEYLEASH_PROPERTY_CASES` search further.
fn any_history(cases: u32, seed: u8, service: impl Fn() -> Service) {
    let chosen = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u32>().unwrap());
    let cases = chosen("KEYLEASH_PROPERTY_CASES").unwrap_or(cases);
    let seed = chosen("KEYLEASH_PROPERTY_SEED").map_or(seed, |seed| seed as u8);
    let runs = Runs { cases, failure_persistence: None, ..Runs::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    TestRunner::new_with_rng(runs, rng)
        .run(&prop::collection::vec(deed(), 1..14), |deeds| {
            let world = World::new(service());
            let mut story =
                Story { world, enabled: Vec::new(), silent: false, transactions: false, numbered: false, next_key: 10 };
            for deed in deeds {
                story.tell(deed);
            }
            story.check()
        })
        .unwrap();
}

#[test]
fn discovery_finds_every_key_of_every_history() {
    any_history(24, 1, sandbox_chain);
}

#[test]
fn discovery_finds_every_key_of_every_history_on_the_deployed_contracts() {
    if let Some(kept) = deployed_chain() {
        any_history(24, 2, || kept.clone());
    }
}

mod foreign;

//! Accounts, keys, plans and results made by hand: one of everything a screen must be able to show.

use alloy::primitives::{Address, B256, Bytes, U256, address};

use super::NOW;
use crate::{
    abi::Function,
    erc4337::v06::UserOperation,
    policy::{
        risk::{Check, Checked, Context, Contracts, Effect as Consequence, Finding, Severity, assess},
        scope::{Operation, Permission, Scope},
        sentence,
    },
    protocol::{
        Call, Step,
        family::Validator,
        family::account::Version,
        kernel_v2::{generation::Generation, history::ledger::EnabledBy},
    },
    tui::message::{EnablePreview, GrantPreview, RevokePreview, SendView},
    wallet::{
        Backend,
        coin::Coin,
        records::model::{self, Extent, OperationState, PaymasterKind, Purpose},
        state::State,
        submit::{
            operation::OperationOutcome,
            printed::PrintedCall,
            routes::{Payer, Price, Route},
        },
        usecase::{
            account::AccountView,
            enable::Enabled,
            grant::{ApprovalView, Granted},
            inspect::Inspection,
            inventory::Difference,
            key::KeyView,
            network::{NetworkView, Probe},
            proof::{Ground, Paused, Proof},
            revoke::Revoked,
            scan::{FoundKey, FoundTurn, Moment, Scan, ScanFinding, ScanProgress},
            secrets::BackendView,
            status::Completed,
        },
    },
};

pub const TREASURY: Address = address!("12A3bC4d5E6f708192a3b4c5d6E7f8091a2b9f3A");
const GAME: Address = address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
const OWNER: Address = address!("70997970C51812dc3A010C7d01b50e0d17dc79C8");
const NFT: Address = address!("5FbDB2315678afecb367f032d93F642f64180aa3");
const SPONSOR: Address = address!("3C44CdDdB6a900fa2b585dd299e03d12FA4293BC");
const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

fn account(name: &str, address: Address, milli_eth: u64) -> AccountView {
    AccountView {
        name: name.to_owned(),
        network: "sepolia".to_owned(),
        chain_id: 11_155_111,
        address,
        owner: OWNER,
        watch_only: false,
        kernel_version: Some(Version::DEFAULT),
        deployed: Some(true),
        balance: Some(U256::from(milli_eth) * U256::from(1_000_000_000_000_000_u64)),
        deposit: Some(U256::ZERO),
        last_nonce: Some("4".into()),
        invalid_nonce: Some("0".into()),
        validator: Some(Validator::DEFAULT),
        paused: Some(false),
        unknown_because: None,
        unknown_code: None,
    }
}

pub fn accounts() -> Vec<AccountView> {
    vec![account("treasury", TREASURY, 420), account("game", GAME, 0), account("arb-ops", OWNER, 12)]
}

fn permission(index: u32, signature: &str) -> Permission {
    Permission {
        index,
        target: NFT,
        sig: Function::parse(signature).unwrap().selector(),
        value_limit: U256::ZERO,
        rules: Vec::new(),
        execution_rule: Default::default(),
        operation: Operation::Call,
    }
}

fn key(id: &str, label: &str, state: State, until: u64, paymaster: Address, signatures: &[&str]) -> KeyView {
    let permissions: Vec<Permission> = (0..).zip(signatures).map(|(i, s)| permission(i, s)).collect();
    let mut sentences: Vec<String> =
        signatures.iter().map(|s| format!("may call {s} on {NFT}, sending no ETH, any number of times")).collect();
    if sentences.is_empty() {
        sentences.push(sentence::everything().to_owned());
    }
    sentences.push(sentence::window(NOW - DAY, until));
    sentences.push(sentence::paymaster(paymaster));
    let session_key = Address::from_slice(&[u8::try_from(id.len() + label.len()).unwrap(); 20]);
    let functions: Vec<Option<Function>> = signatures.iter().map(|s| Function::parse(s).ok()).collect();
    let scope = Scope { valid_after: NOW - DAY, valid_until: until, paymaster, permissions: permissions.clone() };
    let context = Context {
        validator: Validator::DEFAULT,
        kernel: Some(Version::DEFAULT),
        account: TREASURY,
        owner: Some(OWNER),
        session_key: Some(session_key),
        selectors: &[],
        functions: &functions,
        partial: false,
        now: NOW,
        clock: None,
        contracts: &Contracts::new(),
        balance: Some(U256::from(420_000_000_000_000_000_u64)),
        deposit: None,
        key_has_code: Some(false),
        also_on: &[],
        coin: "ETH",
        permuted_execution_rule: false,
    };
    let over = matches!(state, State::Revoked | State::Dead | State::Expired);
    let risks = if over { Vec::new() } else { assess(&scope, &context) };
    KeyView {
        key_id: id.to_owned(),
        label: label.to_owned(),
        session_key,
        account: TREASURY,
        network: "sepolia".to_owned(),
        state,
        state_reason: reason(state),
        nonce: "5".to_owned(),
        valid_after: NOW - DAY,
        valid_until: until,
        paymaster,
        validator: Validator::DEFAULT,
        has_secret: false,
        imported: false,
        discovered: false,
        partial_root: None,
        permissions,
        functions: signatures.iter().map(|s| Some((*s).to_owned())).collect(),
        sentences,
        uses: vec![None; signatures.len()],
        approvals: vec![ApprovalView {
            selector: "execute",
            nonce: "5".to_owned(),
            enable_data: Bytes::new(),
            enable_signature: Some(Bytes::from_static(&[1; 65])),
            digest: B256::repeat_byte(0xab),
            state,
            state_reason: reason(state),
        }],
        alarms: Vec::new(),
        as_of: Some(NOW),
        unread: None,
        risks,
    }
}

fn reason(state: State) -> String {
    match state {
        State::Active => "enabled on chain, until 2026-11-22T17:02:30Z",
        State::Pending => "signed and not used yet; its holder can enable it with the first call",
        State::Revoked => "revoked; nonce 3 cannot be used again unless the owner sets nonces back",
        _ => "a reason",
    }
    .to_owned()
}

pub fn keys() -> Vec<KeyView> {
    let none = Address::ZERO;
    let three = ["swap(uint256 amount)", "deposit(uint256 amount)", "withdraw(uint256 amount)"];
    let mut keys = vec![
        key("k1", "mint-bot", State::Active, NOW + 3 * HOUR + 30, SPONSOR, &["mint(address to)"]),
        key("k2", "rebalancer", State::Active, 0, none, &three),
        key("k3", "watcher", State::Pending, NOW + 6 * DAY + 30, none, &["repay(address asset, uint256 amount)"]),
        key("k4", "old-agent", State::Revoked, NOW + DAY, none, &["mint(address to)"]),
        key("k5", "anything", State::NotYet, NOW + 30 * DAY + 90, SPONSOR, &[]),
        key("k6", "late", State::Expired, NOW - HOUR, SPONSOR, &["mint(address to)"]),
    ];
    keys.push(KeyView { account: GAME, ..key("k7", "arena", State::Active, NOW + DAY + 90, SPONSOR, &["play()"]) });
    keys
}

pub fn grant_preview(findings: Vec<Finding>) -> GrantPreview {
    let view = keys().remove(0);
    GrantPreview {
        account: "treasury".into(),
        network: "sepolia".into(),
        chain_id: 11_155_111,
        address: TREASURY,
        owner: OWNER,
        label: "mint-bot".into(),
        session_key: view.session_key,
        made_here: false,
        sentences: view.sentences,
        warnings: Vec::new(),
        findings,
        checked: checked(),
        digests: vec![("execute", "5".into(), B256::repeat_byte(0x5a))],
    }
}

pub fn checked() -> Checked {
    let check = |holds, words: &str| Check { holds, words: words.to_owned() };
    Checked {
        checks: vec![
            check(Some(true), "contracts named"),
            check(Some(false), "recipients not pinned"),
            check(Some(true), "gas pinned to one paymaster"),
            check(None, "whether the contracts have code was not asked"),
        ],
        arguments_hold: false,
    }
}

pub fn findings() -> Vec<Finding> {
    let finding = |id, severity, message: &str, effect| Finding {
        id,
        severity,
        permission: Some(0),
        message: message.to_owned(),
        advice: "name the contract".to_owned(),
        effect,
    };
    vec![
        finding("R02", Severity::Low, "it can be used any number of times", Consequence::Warn),
        finding("R12", Severity::Critical, "it may call any contract", Consequence::Block("any contract")),
    ]
}

/// The worst comes last, as it may.
pub fn account_findings() -> Vec<Difference> {
    let finding = |code, message: &str| Difference { id: None, code, message: message.to_owned() };
    vec![
        finding("unknown_turns", "nonce 3 was used by something that is not on record"),
        finding(
            "somebody_else_decides",
            "the default validator is 0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC, which is not known here: whoever it obeys can \
             do everything with this account, now, and revoking session keys does not change that; set it back to \
             0xd9AB5096a832b9ce79914329DAEE236f8Eea0390 with the owner's key, and move what the account holds if you cannot",
        ),
    ]
}

pub fn granted() -> Granted {
    let key = keys().remove(2);
    Granted {
        merkle_root: B256::repeat_byte(1),
        validator: Generation::G2.address(),
        approvals: key.approvals.clone(),
        findings: Vec::new(),
        checked: checked(),
        warnings: Vec::new(),
        key,
    }
}

pub fn price() -> Price {
    Price {
        route: Route::Bundler,
        max_cost: U256::from(1_200_000_000_000_000_u64),
        ceiling: U256::from(50_000_000_000_000_000_u64),
        coin: Coin::of(11_155_111),
        payer: Payer::Account,
        fee_source: "eth_gasPrice",
        signing_hash: B256::repeat_byte(0x77),
        replaces: None,
    }
}

pub fn revoke_preview() -> RevokePreview {
    RevokePreview {
        account: "treasury".into(),
        network: "sepolia".into(),
        address: TREASURY,
        steps: vec![Step {
            call: "SessionKeyValidator.disable".into(),
            effect: format!("deletes mint-bot ({NFT}) from the validator; other keys keep working"),
        }],
        also_revokes: Vec::new(),
        warnings: Vec::new(),
        skipped: Vec::new(),
        price: Some(price()),
        calls: Vec::new(),
        further: 0,
    }
}

/// The same, to be sent by a wallet elsewhere.
pub fn printed_preview() -> RevokePreview {
    RevokePreview {
        price: None,
        calls: vec![PrintedCall {
            from: Some(OWNER),
            to: TREASURY,
            value: "0".into(),
            data: Bytes::from(vec![0xab; 100]),
            what: "to be sent by the owner's address",
        }],
        ..revoke_preview()
    }
}

pub fn panic_preview() -> RevokePreview {
    RevokePreview {
        steps: vec![Step {
            call: "Kernel.disableMode(0xffffffff)".into(),
            effect: "stops every session key, active or pending, until you unpause; you, the owner, can still act"
                .into(),
        }],
        warnings: vec![
            "This pauses keys, it does not revoke them. Keys you have not revoked work again once you unpause.".into(),
        ],
        ..revoke_preview()
    }
}

/// The same once more, after something has changed.
pub fn dearer_revoke_preview() -> RevokePreview {
    let mut preview = revoke_preview();
    preview.price = Some(Price { max_cost: U256::from(2_400_000_000_000_000_u64), ..price() });
    preview.steps = vec![Step {
        call: "SessionKeyValidator.disable".into(),
        effect: "deletes mint-bot from the validator, where it is enabled by now".into(),
    }];
    preview
}

pub fn enable_preview() -> EnablePreview {
    EnablePreview {
        account: "treasury".into(),
        network: "sepolia".into(),
        address: TREASURY,
        steps: vec![Step { call: "SessionKeyValidator.enable".into(), effect: "enables watcher (nonce 5)".into() }],
        price: Some(price()),
        skipped: Vec::new(),
        notes: Vec::new(),
        calls: Vec::new(),
    }
}

pub fn enabled() -> Enabled {
    let mut key = keys().remove(2);
    key.state = State::Active;
    key.state_reason = reason(State::Active);
    Enabled { route: Route::Bundler, operation: included(Some(true)), keys: vec![key] }
}

fn included(success: Option<bool>) -> OperationOutcome {
    OperationOutcome {
        user_op_hash: B256::repeat_byte(0x77),
        phase: "included",
        transaction_hash: Some(B256::repeat_byte(0x99)),
        block: Some(6_123_456),
        success,
        gas_used: Some(U256::from(123_456)),
        gas_cost: Some(U256::from(900_000_000_000_000_u64)),
        coin: Coin::of(11_155_111),
        revert_reason: None,
        note: None,
    }
}

fn operation(hash: u8, ago: u64, purpose: Purpose, progress: OperationState) -> model::Operation {
    model::Operation {
        user_op_hash: B256::repeat_byte(hash),
        network: "sepolia".into(),
        account: TREASURY,
        purpose,
        carrier: model::Carrier::UserOp(UserOperation {
            sender: TREASURY,
            nonce: U256::ZERO,
            init_code: Bytes::new(),
            call_data: Bytes::new(),
            call_gas_limit: U256::ZERO,
            verification_gas_limit: U256::ZERO,
            pre_verification_gas: U256::ZERO,
            max_fee_per_gas: U256::ZERO,
            max_priority_fee_per_gas: U256::ZERO,
            paymaster_and_data: Bytes::new(),
            signature: Bytes::new(),
        }),
        progress,
        created_at: NOW - ago,
    }
}

/// One of every way an operation can have gone.
pub fn operations() -> Vec<model::Operation> {
    let done = |success, reason: Option<&str>| OperationState::Included {
        success,
        transaction_hash: B256::repeat_byte(0x99),
        block: 6_123_456,
        gas_used: U256::from(123_456),
        gas_cost: U256::from(900_000_000_000_000_u64),
        revert_reason: reason.map(str::to_owned),
    };
    let by = |id: &str| Purpose::Send { key_id: Some(id.to_owned()) };
    vec![
        operation(1, 60, Purpose::Revoke { key_ids: vec!["k4".into()], extent: Extent::Named }, OperationState::Sent),
        operation(2, HOUR, by("k2"), done(false, Some("not enough collateral"))),
        operation(3, 2 * HOUR, Purpose::Enable { key_ids: vec!["k1".into(), "k2".into()] }, done(true, None)),
        operation(
            4,
            DAY,
            by("k1"),
            OperationState::Refused { message: "AA21 the account cannot pay".into(), ended: false },
        ),
        operation(5, 2 * DAY, Purpose::Send { key_id: None }, OperationState::Signed),
    ]
}

pub const SCANNING: ScanProgress =
    ScanProgress { from_block: 6_000_000, through_block: 6_061_728, to_block: 6_123_456, operations: 41, keys: 2 };

pub fn scan() -> Scan {
    let found = |key: Option<KeyView>, known, uses| FoundKey {
        session_key: key.as_ref().map_or(SPONSOR, |k| k.session_key),
        key,
        known,
        validator: Some(Validator::DEFAULT),
        merkle_root: Some(B256::repeat_byte(1)),
        turns: vec![FoundTurn { nonce: 4, enabled_by: EnabledBy::Holder, at: None, held: true }],
        held: true,
        uses,
        first_use: None,
        last_use: (uses > 0).then_some(Moment {
            block: 6_123_000,
            time: Some(NOW - HOUR),
            transaction_hash: B256::repeat_byte(0x99),
        }),
    };
    Scan {
        account: "treasury".into(),
        address: TREASURY,
        network: "sepolia".into(),
        from_block: 6_000_000,
        through_block: 6_123_456,
        operations: 83,
        keys: vec![
            found(keys().into_iter().next(), true, 12),
            found(Some(KeyView { label: "unknown-1".into(), ..keys().remove(1) }), false, 0),
        ],
        unexplained: Vec::new(),
        complete: false,
        findings: vec![ScanFinding {
            code: "scan.turns",
            message: "nonce 3 has no enabling that could be found".into(),
        }],
        power: None,
        changes: Vec::new(),
    }
}

pub fn followed() -> Completed {
    let revoked = revoked();
    Completed {
        operation: included(Some(true)),
        proof: None,
        proofs: revoked.proofs,
        paused: None,
        not_proven: None,
        revokes: true,
        ends_keys: true,
        remaining: Vec::new(),
    }
}

pub fn networks() -> Vec<NetworkView> {
    let network = |name: &str, chain_id, paymaster: Option<&str>| NetworkView {
        name: name.to_owned(),
        chain_id,
        rpc: format!("https://{name}.example/v2/…"),
        second_rpc: None,
        bundler: Some(format!("https://bundler.example/{name}")),
        paymaster: paymaster.map(str::to_owned),
        paymaster_kind: paymaster.map(|_| PaymasterKind::Erc7677),
    };
    vec![network("arbitrum", 42_161, None), network("sepolia", 11_155_111, Some("https://pay.example/sepolia"))]
}

pub fn probes() -> Vec<Probe> {
    let probe = |what: &str, ok, detail: &str| Probe { what: what.to_owned(), ok, detail: detail.to_owned() };
    vec![
        probe("node, chain id", true, "chain 42161"),
        probe("EntryPoint v0.6", true, "0x5FF137D4b0FDCD49DcA30c7CF57E578a026d2789"),
        probe("bundler", false, "it does not serve EntryPoint v0.6: ask the service for one that does"),
    ]
}

pub fn vault() -> Vec<BackendView> {
    let view = |backend, chosen, state, reason: Option<&str>, secrets| BackendView {
        backend,
        chosen,
        state,
        reason: reason.map(str::to_owned),
        secrets,
    };
    vec![
        view(Backend::Keyring, true, "available", None, 4),
        view(Backend::File, false, "absent", Some("there is no such file yet"), 0),
    ]
}

pub fn panicked() -> Revoked {
    let transaction_hash = B256::repeat_byte(0x99);
    let ground = Ground::default();
    let paused = Paused { block: 6_123_456, transaction_hash, disabled_mode: u32::MAX, ground };
    Revoked { paused: Some(paused), proof: None, proofs: Vec::new(), ends_keys: false, ..revoked() }
}

pub fn revoked() -> Revoked {
    let proof = Proof {
        key_id: "k1".into(),
        block: 6_123_456,
        transaction_hash: B256::repeat_byte(0x99),
        session_data: None,
        last_nonce: "5".into(),
        invalid_nonce: "0".into(),
        replay: "SessionKeyValidator: session key not enabled".into(),
        before: "goes through, but for the session key's own signature (tried: enable it with its first call)".into(),
        before_block: 6_123_450,
        can_return: true,
        attempts: Vec::new(),
        ground: Ground::default(),
    };
    Revoked {
        plan: Vec::new(),
        also_revokes: Vec::new(),
        route: Route::Bundler,
        paused: None,
        ends_keys: true,
        operation: included(Some(true)),
        proof: Some(proof.clone()),
        not_proven: None,
        remaining: Vec::new(),
        proofs: vec![proof],
    }
}

pub fn paused() -> Paused {
    Paused {
        block: 6_123_456,
        transaction_hash: B256::repeat_byte(0x99),
        disabled_mode: u32::MAX,
        ground: Default::default(),
    }
}

/// A key whose private key is here.
pub fn key_of_mine() -> KeyView {
    let mut key = keys().remove(0);
    key.has_secret = true;
    key
}

/// A call as it is reviewed.
pub fn send_view() -> SendView {
    let key = key_of_mine();
    let data = Function::parse("mint(address to)").unwrap();
    SendView {
        account: key.account,
        network: key.network,
        chain_id: 11_155_111,
        calls: vec![Call {
            to: key.permissions[0].target,
            value: U256::ZERO,
            data: data.encode_call(&[key.account.to_string()]).unwrap(),
        }],
        enables: true,
        deploys: false,
        max_cost: U256::from(1_200_000_000_000_000_u64),
        ceiling: U256::from(50_000_000_000_000_000_u64),
        replaces: None,
        paymaster: Some(Address::repeat_byte(0x3c)),
        fee_source: "eth_gasPrice",
        user_op_hash: B256::repeat_byte(0x77),
        findings: Vec::new(),
    }
}

/// An approval from elsewhere; without an owner nobody has signed it.
pub fn inspection(owner: Option<Address>) -> Inspection {
    let key = keys().remove(0);
    Inspection {
        format: "v4".into(),
        family: "kernel-v2",
        verified: Some(owner.is_some()),
        recognised: None,
        account: key.account,
        session_key: Some(key.session_key),
        refuted: owner.is_none(),
        has_secret: true,
        owner,
        chain_id: Some(11_155_111),
        kernel_version: Some(Version::DEFAULT),
        validator: Some(Validator::DEFAULT),
        nonce: Some("5".into()),
        selector: "execute".into(),
        valid_after: 0,
        valid_until: NOW + 86_400,
        paymaster: key.paymaster,
        merkle_root: Some(B256::repeat_byte(1)),
        digest: Some(B256::repeat_byte(0x5a)),
        state: State::Pending,
        state_reason: "signed and not used yet; its holder can enable it with the first call".into(),
        permissions: key.permissions,
        sentences: key.sentences,
        assumptions: vec!["the nonce is 5".into()],
        risks: findings().into_iter().take(1).collect(),
        checked: checked(),
        warnings: Vec::new(),
    }
}

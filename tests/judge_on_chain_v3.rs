//! The judge of Kernel v3 against the deployed bytecode of the four kernels.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests fail loudly and read as specifications"
)]

mod support;

#[allow(dead_code)]
#[path = "support/mutate.rs"]
mod mutate;

use std::collections::{BTreeMap, BTreeSet};

use alloy::{
    hex,
    primitives::{Address, B256, Bytes, FixedBytes, Selector, U256, bytes},
    sol_types::SolCall,
};
use keyleash::{
    erc4337::v07::{ENTRY_POINT, PackedUserOperation, packed_hash, validate_user_op},
    protocol::{
        AccountCall, Call,
        kernel_v3::{
            account::{self, CallType, ExecType, Execution, selector, uninstall_permission},
            approval::{Approval, ApprovalRequest},
            contracts::{
                ECDSA_SIGNER, ECDSA_VALIDATOR, ECDSA_VALIDATOR_3_0, KernelVersion, RATE_LIMIT_POLICY, TIMESTAMP_POLICY,
            },
            judge::{
                self, Authority, CallOutcome, Executed, Facts, InnerCall, Named, PolicyFacts, Signatures, Status,
                Stored, Validated, Validator,
            },
            nonce::{Mode, OperationNonce, PermissionId, ValidationId, ValidationType},
            permission_config::{PermissionConfig, PermissionFlag, Signer},
            policy::{
                Policy, PolicyFlag,
                call::{CallPolicy, CallPolicyVersion, Condition, Entry, Rule},
                rate_limit::RateLimit,
                timestamp::Timestamp,
            },
            signature::{CHAIN_FREE_PREFIX, MessageSignature, SignedBy, message_digest},
        },
    },
};
use mutate::Rng;
use support::deployed_v3::{
    Account, Bundle, DeployedV3, Key, Mined, NOW, Signing, Validation, approve, call_to, envelope, self_calls,
};

/// A chain, and on it an account of each kind: of the four versions, and an EOA delegated to 3.3.
fn accounts() -> Option<(DeployedV3, Key, Vec<Account>)> {
    let mut chain = DeployedV3::load()?;
    let owner = Key::number(0);
    let mut accounts: Vec<Account> = KernelVersion::ALL.into_iter().map(|v| chain.deploy(v, &owner)).collect();
    accounts.push(chain.delegate(KernelVersion::V3_3, &owner));
    Some((chain, owner, accounts))
}

#[test]
fn the_harness_grants_uses_signs_and_revokes_on_every_kernel() {
    let Some((mut chain, owner, accounts)) = accounts() else { return };
    let target = Address::repeat_byte(0x71);
    chain.install_recorder(target);
    let session = Key::number(1);
    let flag = PolicyFlag::default();
    let config = PermissionConfig {
        flag: PermissionFlag::default(),
        signer: Signer::Ecdsa(session.address()),
        policies: vec![
            Policy::Timestamp { flag, window: Timestamp { valid_after: NOW - 5, valid_until: NOW + 100 } },
            Policy::RateLimit { flag, limit: RateLimit { interval: 1, count: 3, start_at: 0 } },
        ],
    };
    let (id, hash) = (config.permission_id(), B256::repeat_byte(7));
    for account in accounts {
        let at = account.address;
        chain.grant(&owner, &session, &account, &config);
        assert_eq!(chain.session_key(id, at), session.address());
        assert_eq!((chain.window(id, at), chain.rate(id, at)), ((NOW - 5, NOW + 100), (1, 2, 1)));
        let call = Call { to: target, value: U256::from(7), data: bytes!("0102") };
        let execution = Execution::plain(AccountCall::Execute(call.clone()));
        let mined = chain.handle_ops(&[chain.use_op(&session, &account, id, &execution)]).assert_succeeded();
        assert_eq!(mined[0].recorded, [call]);
        let signature = chain.sign_for(&session, SignedBy::Permission(id), &account, hash);
        assert_eq!(chain.is_valid_signature(target, at, hash, &signature), Signing::Valid, "{account:?}");
        let root = chain.sign_for(&owner, SignedBy::Root, &account, hash);
        assert_eq!(chain.is_valid_signature(target, at, hash, &root), Signing::Valid, "{account:?}");
        let foreign = chain.sign_for(&session, SignedBy::Root, &account, hash);
        assert_eq!(chain.is_valid_signature(target, at, hash, &foreign), Signing::Invalid);
        let uninstall = uninstall_permission(id.validation_id(), 2, Default::default());
        assert!(chain.sudo(&owner, &account, &self_calls(&account, [uninstall])).all_succeeded());
        assert_eq!(chain.validation_config(at, id.validation_id()).1, Address::ZERO);
        let refused = chain.handle_ops(&[chain.use_op(&session, &account, id, &execution)]);
        assert_eq!(refused.aa_code().as_deref(), Some("AA23"));
        let stop = account::invalidateNonceCall { nonce: chain.current_nonce(at) + 1 };
        let stop = AccountCall::Execute(call_to(at, alloy::sol_types::SolCall::abi_encode(&stop)));
        chain.owner_transaction(&owner, &account, &stop).unwrap();
        assert_eq!(chain.valid_nonce_from(at), chain.current_nonce(at));
    }
}

// ---- random cases ----

/// Recorders, one that reverts with the first bytes of its calldata, and nobody.
const TARGETS: [Address; 4] =
    [Address::repeat_byte(0x71), Address::repeat_byte(0x72), Address::repeat_byte(0xee), Address::ZERO];
const REVERTER: Address = TARGETS[2];
/// Policies that nobody here understands: one that says yes to everything, and one that says no.
const STRANGE: [Address; 2] = [Address::repeat_byte(0x51), Address::repeat_byte(0x52)];
const SELECTORS: [[u8; 4]; 3] = [[0xa9, 0x05, 0x9c, 0xbb], [0; 4], [0x09, 0x5e, 0xa7, 0xb3]];
/// Answers 1 to everything: a hook that is installed already.
const HOOK: Address = Address::repeat_byte(0x40);
const CALLERS: [Address; 2] = [Address::repeat_byte(0xca), Address::repeat_byte(0xcb)];

/// What a case starts from: a chain, an account on it of each kind, and what stands around them.
struct World {
    chain: DeployedV3,
    owner: Key,
    accounts: Vec<Account>,
}

impl World {
    fn load() -> Option<Self> {
        let (mut chain, owner, accounts) = accounts()?;
        chain.install_recorder(TARGETS[0]);
        chain.install_recorder(TARGETS[1]);
        chain.install_reverter(REVERTER);
        let answer = |word: u8| [&[0x60, word, 0x60, 0, 0x52, 0x60, 0x20, 0x60, 0, 0xf3][..]].concat();
        chain.set_code(STRANGE[0], &answer(0));
        chain.set_code(STRANGE[1], &answer(1));
        chain.set_code(HOOK, &answer(1));
        Some(Self { chain, owner, accounts })
    }
}

/// One case while it is made: the generator, the chain it happens on, and what was granted.
struct Case {
    rng: Rng,
    chain: DeployedV3,
    owner: Key,
    account: Account,
    key: Key,
    config: PermissionConfig,
    id: PermissionId,
    /// Whether anything is done that no honest holder does; else only the scope, the state and the calls vary.
    wild: bool,
    told: Vec<String>,
}

fn small_number(rng: &mut Rng) -> U256 {
    *rng.pick(&[U256::ZERO, U256::ONE, U256::from(5), U256::from(6), U256::MAX, U256::ONE << 255])
}

fn rule(rng: &mut Rng) -> Rule {
    let condition = Condition::from_code(rng.below(7) as u8);
    let params = if condition == Condition::OneOf { rng.below(3) } else { 1 };
    let offset = *rng.pick(&[0, 0, 0, 4, 32, 32, 64, 65, 1 << 40, u64::MAX - 36, u64::MAX - 35, u64::MAX]);
    let offset = if offset > 100 && !rng.one_in(6) { 0 } else { offset };
    Rule { condition, offset, params: (0..params).map(|_| small_number(rng).into()).collect() }
}

fn policy(rng: &mut Rng) -> Policy {
    let flag = PolicyFlag(*rng.pick(&[[0, 0], [0, 0], [0, 0], [0, 0], [0, 1], [0, 2], [0x80, 4]]));
    let near = |rng: &mut Rng| NOW + rng.below(3) as u64 * 10 - 10;
    let mut policy = match rng.below(9) {
        0..=4 => {
            let entry = |rng: &mut Rng| Entry {
                call_type: *rng.pick(&[
                    CallType::Call,
                    CallType::Call,
                    CallType::Call,
                    CallType::DelegateCall,
                    CallType::Batch,
                ]),
                target: *rng.pick(&TARGETS),
                selector: Selector::new(*rng.pick(&SELECTORS)),
                value_limit: small_number(rng),
                rules: (0..*rng.pick(&[0, 0, 0, 1, 1, 2])).map(|_| rule(rng)).collect(),
            };
            let mut entries: Vec<Entry> = (0..2 + rng.below(6)).map(|_| entry(rng)).collect();
            if rng.one_in(10) {
                entries.clear();
            }
            if !rng.one_in(20) {
                let mut seen = BTreeSet::new();
                entries.retain(|entry| seen.insert(entry.key()));
            }
            if rng.one_in(30)
                && let Some(rule) = entries.iter_mut().flat_map(|entry| &mut entry.rules).next()
            {
                match rng.below(3) {
                    0 => rule.params.push(B256::ZERO),
                    1 => rule.condition = Condition::SliceEq,
                    _ => rule.condition = Condition::Unknown(8),
                }
            }
            Policy::Call { flag, call: CallPolicy::new(CallPolicyVersion::V0_0_4, entries).unwrap() }
        }
        5 | 6 => {
            let (after, until) = (near(rng), near(rng));
            let (valid_after, valid_until) = (*rng.pick(&[0, 0, after]), *rng.pick(&[0, until]));
            Policy::Timestamp { flag, window: Timestamp { valid_after, valid_until } }
        }
        7 => {
            let start = near(rng);
            let limit = RateLimit {
                interval: *rng.pick(&[0, 10, (1 << 48) - 1]),
                count: rng.below(4) as u64,
                start_at: *rng.pick(&[0, start, (1 << 48) - 1]),
            };
            Policy::RateLimit { flag, limit }
        }
        _ => Policy::Unknown { flag, address: *rng.pick(&STRANGE), data: Bytes::new() },
    };
    if rng.one_in(15) {
        // Longer or shorter than an encoder writes.
        let mut data = policy.data().to_vec();
        data.resize((data.len() + rng.below(40)).saturating_sub(20), 0);
        policy = Policy::new(flag, policy.address(), &data);
    }
    policy
}

impl Case {
    fn new(world: &World, number: u64) -> Self {
        let mut rng = Rng::new(number);
        let key = Key::number(1);
        let mut policies: Vec<Policy> = Vec::new();
        for _ in 0..rng.below(4) {
            let policy = policy(&mut rng);
            if policies.iter().all(|other| other.address() != policy.address()) || rng.one_in(20) {
                policies.push(policy);
            }
        }
        let config = PermissionConfig {
            flag: PermissionFlag(*rng.pick(&[
                [0, 0],
                [0, 0],
                [0, 0],
                [0, 0],
                [0, 0],
                [0, 0],
                [0, 0],
                [0, 0],
                [0, 0],
                [0, 1],
                [0, 2],
                [0x80, 0xfc],
            ])),
            signer: Signer::Ecdsa(key.address()),
            policies,
        };
        let account = *rng.pick(&world.accounts);
        // Owners may sign any id.
        let id = if rng.one_in(5) { PermissionId([7; 4].into()) } else { config.permission_id() };
        let (chain, owner) = (world.chain.clone(), world.owner.clone());
        let wild = rng.one_in(2);
        let mut case = Self { rng, chain, owner, account, key, config, id, wild, told: Vec::new() };
        for _ in 0..*case.rng.pick(&[0, 0, 1, 1, 1, 1, 2, 3, 5]) {
            case.act();
        }
        case
    }

    /// Something that no honest holder does.
    fn odd(&mut self, one_in: usize) -> bool {
        self.rng.one_in(one_in) && self.wild
    }

    /// Which of so many odd things; none of them as a rule.
    fn oddity(&mut self, of: usize) -> usize {
        let which = self.rng.below(of);
        if self.wild { which } else { usize::MAX }
    }

    fn tell(&mut self, what: impl Into<String>) {
        self.told.push(what.into());
    }

    fn request(&mut self) -> ApprovalRequest {
        let mut request = self.chain.approval_request(&self.account, &self.config);
        request.validation_id = self.id.validation_id();
        request.nonce = self.chain.approval_nonce(&self.account, request.validation_id);
        request
    }

    /// Something that the account does, as an operation of its owner would.
    fn act(&mut self) {
        let vid = self.id.validation_id();
        let current = self.chain.current_nonce(self.account.address);
        let items = self.config.policies.len();
        let (name, data): (&str, Vec<u8>) = match self.rng.below(17) {
            14.. | 0..=4 => {
                let approval = approve(self.request(), &self.owner);
                let nothing = Execution::plain(AccountCall::ExecuteBatch(Vec::new()));
                let op = self.chain.enable_op(&self.key, &self.account, &approval, &nothing);
                let call = validate_user_op(&op, self.chain.hash(&op));
                let done = self.chain.transact(ENTRY_POINT, self.account.address, U256::ZERO, call);
                self.tell(format!("enable: {}", done.success));
                return;
            }
            5 => {
                let nonce = current + u32::from(self.rng.one_in(3));
                let call = account::installValidationsCall {
                    vIds: vec![vid.0],
                    configs: vec![account::ValidationConfig { nonce, hook: Address::ZERO }],
                    validationData: vec![self.config.enable_data()],
                    hookData: vec![Bytes::new()],
                };
                ("install", call.abi_encode())
            }
            6 => ("uninstall", uninstall_permission(vid, items, Bytes::from_static(&[0])).to_vec()),
            7 | 8 => {
                let nonce = current + self.rng.below(3) as u32;
                ("invalidateNonce", account::invalidateNonceCall { nonce }.abi_encode())
            }
            9 => {
                let version = *self.rng.pick(&KernelVersion::ALL);
                if self.account.delegated {
                    return;
                }
                self.account.version = version;
                ("upgrade", account::upgradeToCall { implementation: version.implementation() }.abi_encode())
            }
            10 => {
                let module = match self.rng.below(3) {
                    0 => ECDSA_SIGNER,
                    _ => self.config.policies.first().map_or(ECDSA_SIGNER, Policy::address),
                };
                let data = Bytes::copy_from_slice(self.id.word().as_slice());
                let call = call_to(module, account::onUninstallCall { data }.abi_encode());
                ("the module's onUninstall", Execution::plain(AccountCall::Execute(call)).encode().to_vec())
            }
            11 => {
                let execution = self.execution();
                let op = self.chain.use_op(&self.key, &self.account, self.id, &execution);
                let call = validate_user_op(&op, self.chain.hash(&op));
                ("use", call.to_vec())
            }
            12 => {
                let (selector, allow) = (selector::EXECUTE, self.rng.one_in(2));
                ("grantAccess", account::grantAccessCall { vId: vid.0, selector, allow }.abi_encode())
            }
            _ => {
                let validator = self.account.root().validator().unwrap_or(ECDSA_VALIDATOR);
                let call = call_to(validator, account::onUninstallCall { data: Bytes::new() }.abi_encode());
                ("the owner's end", Execution::plain(AccountCall::Execute(call)).encode().to_vec())
            }
        };
        let done = self.chain.transact(ENTRY_POINT, self.account.address, U256::ZERO, data);
        self.tell(format!("{name}: {}", done.success));
    }

    fn call(&mut self) -> Call {
        let rng = &mut self.rng;
        let entries: Vec<&Entry> = self
            .config
            .policies
            .iter()
            .filter_map(|policy| match policy {
                Policy::Call { call, .. } => Some(call.entries()),
                _ => None,
            })
            .flatten()
            .collect();
        let near = (!entries.is_empty() && !rng.one_in(5)).then(|| *rng.pick(&entries));
        let to = near.map_or_else(|| *rng.pick(&TARGETS), |entry| entry.target);
        let to = if rng.one_in(12) { *rng.pick(&TARGETS) } else { to };
        let chosen = near.map_or_else(|| *rng.pick(&SELECTORS), |entry| entry.selector.0);
        let chosen = if rng.one_in(12) { *rng.pick(&SELECTORS) } else { chosen };
        let value = match near {
            _ if !rng.one_in(4) => U256::ZERO,
            Some(entry) if rng.one_in(2) => entry.value_limit,
            Some(entry) if rng.one_in(3) => entry.value_limit.wrapping_add(U256::ONE),
            _ => small_number(rng),
        };
        let mut data = chosen.to_vec();
        for i in 0..rng.below(4) {
            let wanted = near.into_iter().flat_map(|entry| &entry.rules).find(|rule| rule.offset == 32 * i as u64);
            let word = match wanted.and_then(|rule| rule.params.first()) {
                Some(param) if !rng.one_in(4) => *param,
                _ => small_number(rng).into(),
            };
            data.extend_from_slice(word.as_slice());
        }
        match rng.below(12) {
            0 => data.clear(),
            1 => data.truncate(rng.below(data.len())),
            _ => {}
        }
        Call { to, value, data: data.into() }
    }

    fn execution(&mut self) -> Execution {
        let call = match self.rng.below(7) {
            0..=2 => AccountCall::Execute(self.call()),
            3 | 4 => {
                let calls = self.rng.below(4);
                AccountCall::ExecuteBatch((0..calls).map(|_| self.call()).collect())
            }
            5 => {
                let Call { to, data, .. } = self.call();
                AccountCall::ExecuteDelegateCall { to, data }
            }
            _ => {
                let Call { data, .. } = self.call();
                AccountCall::Other(data)
            }
        };
        let call = if matches!(call, AccountCall::Other(_)) && !self.rng.one_in(4) {
            AccountCall::Execute(self.call())
        } else {
            call
        };
        let exec = if self.rng.one_in(5) { ExecType::Try } else { ExecType::Revert };
        Execution { call, exec, hooked: self.rng.one_in(12) }
    }

    /// Bytes that no encoder writes, now and then: pointers and lengths above all.
    fn spoil(&mut self, data: &mut Vec<u8>, one_in: usize) {
        if !self.odd(one_in) || data.is_empty() {
            return;
        }
        for _ in 0..=self.rng.below(2) {
            match self.rng.below(6) {
                0 => data.truncate(self.rng.below(data.len() + 1)),
                1 => data.extend(std::iter::repeat_n(0, self.rng.below(70))),
                2 => {
                    let at = self.rng.below(data.len().max(1));
                    if let Some(byte) = data.get_mut(at) {
                        *byte ^= 1 << self.rng.below(8);
                    }
                }
                // A word where words are, changed a little.
                _ => {
                    let at = 4 + 32 * self.rng.below(data.len() / 32 + 1);
                    let word = *self.rng.pick(&[0u64, 1, 31, 32, 33, 64, 65, 96, 128, 160, u64::MAX]);
                    if let Some(part) = data.get_mut(at..at + 32) {
                        part.copy_from_slice(&U256::from(word).to_be_bytes::<32>());
                        if self.rng.one_in(8) {
                            part.fill(0xff);
                            part[31] = 0xe0;
                        }
                    }
                }
            }
        }
    }

    /// A key's signature, in one of the forms that count or do not.
    fn sign(&mut self, key: &Key, hash: B256) -> Bytes {
        let other = Key::number(9);
        let key = if self.odd(12) { &other } else { key };
        let hash = if self.odd(25) { B256::repeat_byte(1) } else { hash };
        let plain = if self.rng.one_in(3) { key.sign_raw(hash) } else { key.sign_message(hash) };
        let mut signature = plain.to_vec();
        match self.oddity(30) {
            0 => {
                signature.pop();
                signature[32] |= (plain[64] - 27) << 7;
            }
            1 => {
                let order =
                    U256::from_be_bytes(hex!("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"));
                signature[32..64].copy_from_slice(&(order - U256::from_be_slice(&plain[32..64])).to_be_bytes::<32>());
                signature[64] = 55 - plain[64];
            }
            2 => signature[64] -= 27,
            3 => signature.truncate(self.rng.below(70)),
            4 => signature.push(0),
            5 => signature[..32].fill(0),
            6 => signature[..32].fill(0xff),
            7 => signature[32..64].fill(0),
            _ => {}
        }
        signature.into()
    }

    fn with_segments(&mut self, signature: Bytes) -> Vec<u8> {
        let mut out = Vec::new();
        let policies = self.config.policies.len();
        if self.odd(4) {
            let mut positions: Vec<usize> = (0..policies).filter(|_| self.rng.one_in(2)).collect();
            if self.rng.one_in(4) {
                positions.insert(self.rng.below(positions.len() + 1), self.rng.below(policies + 1));
            }
            for position in positions {
                out.push(position as u8);
                let length = self.rng.below(40) as u64;
                let wrong = *self.rng.pick(&[length + 100, u64::MAX, u64::MAX - 9, 1 << 40]);
                out.extend(if self.rng.one_in(12) { wrong } else { length }.to_be_bytes());
                out.extend(std::iter::repeat_n(0xa5, length as usize));
            }
        }
        if !self.odd(25) {
            out.push(0xff);
        }
        out.extend_from_slice(&signature);
        if self.odd(25) {
            out.truncate(self.rng.below(12));
        }
        out
    }

    fn operation(&mut self) -> PackedUserOperation {
        let installed = self.chain.validation_config(self.account.address, self.id.validation_id()).1 != Address::ZERO;
        let enable = installed == self.rng.one_in(8);
        let mode = if enable { Mode::Enable } else { Mode::Use };
        let mut nonce = OperationNonce::of_permission(mode, self.id);
        match self.oddity(20) {
            0 => nonce.mode = Mode::Unknown(2 + self.rng.below(254) as u8),
            1 => nonce.identifier.0[4 + self.rng.below(16)] = 1,
            2 => nonce.lane = 7,
            3 => nonce.kind = ValidationType::Unknown(*self.rng.pick(&[3, 255])),
            4 | 5 => nonce.kind = ValidationType::Root,
            6 => {
                nonce.kind = ValidationType::Validator;
                nonce.identifier =
                    self.rng.pick(&[ECDSA_VALIDATOR, ECDSA_VALIDATOR_3_0, STRANGE[0], Address::repeat_byte(3)]).0;
            }
            7 => nonce.identifier.0[0] ^= 1,
            _ => {}
        }
        let execution = self.execution();
        let mut op = self.chain.user_op(&self.account, nonce, &execution);
        if self.odd(15) {
            let wrong = OperationNonce { sequence: 1 + self.rng.below(2) as u64, ..nonce };
            op.nonce = wrong.encode();
        }
        let mut data = op.call_data.to_vec();
        self.spoil(&mut data, 6);
        op.call_data = data.into();
        let mut op = op.packed();
        if self.odd(25) {
            op.paymasterAndData = vec![0; *self.rng.pick(&[1, 20, 51, 52, 60])].into();
        }
        // For every chain, in one of the ways that count or do not.
        let (prefix, free) = match self.rng.below(12) {
            0 => (true, true),
            1 => (self.odd(2), self.odd(2)),
            _ => (false, false),
        };
        let hash = packed_hash(&op, ENTRY_POINT, if free { 0 } else { self.chain.chain_id() });
        let signer = match nonce.kind {
            ValidationType::Root | ValidationType::Validator => self.owner.clone(),
            _ => self.key.clone(),
        };
        let usage = self.sign(&signer, hash);
        let usage = match nonce.kind {
            ValidationType::Root | ValidationType::Validator => usage.to_vec(),
            _ => self.with_segments(usage),
        };
        let mut signature = usage;
        if nonce.mode == Mode::Enable && !self.odd(40) {
            signature = self.approved(&nonce, free, signature.into());
        }
        if prefix {
            signature.splice(0..0, CHAIN_FREE_PREFIX);
        }
        op.signature = signature.into();
        op
    }

    fn approved(&mut self, nonce: &OperationNonce, free: bool, usage: Bytes) -> Vec<u8> {
        let mut request = self.request();
        if nonce.kind != ValidationType::Permission {
            request.validation_id = nonce.validation_id();
            if nonce.kind == ValidationType::Root && !self.rng.one_in(4) {
                request.validation_id = self.chain.root_validator(self.account.address);
            }
            request.nonce = self.chain.approval_nonce(&self.account, request.validation_id);
        }
        match self.oddity(18) {
            0 => request.nonce += 1,
            1 => request.nonce = request.nonce.saturating_sub(1),
            2 => request.validation_id.0.0[20] = 1,
            3 => request.kernel = *self.rng.pick(&KernelVersion::ALL),
            4 => request.account = Address::repeat_byte(1),
            5 => request.hook = *self.rng.pick(&[HOOK, Address::with_last_byte(1), Address::repeat_byte(0x41)]),
            6 => {
                request.hook = HOOK;
                request.hook_data = vec![0; self.rng.below(3)].into();
            }
            _ => {}
        }
        if free {
            request.chain_id = None;
        }
        match self.rng.below(14) {
            0 | 1 => request.selector_data = selector::EXECUTE.to_vec().into(),
            2 => request.selector_data = self.rng.pick(&SELECTORS).to_vec().into(),
            3 => request.selector_data = selector::EXECUTE_USER_OP.to_vec().into(),
            4 if self.wild => {
                let mut data = request.selector_data.to_vec();
                match self.rng.below(3) {
                    0 => data.truncate(self.rng.below(60)),
                    1 => data[44 + 96] = *self.rng.pick(&[0, 1, 0xfe]),
                    _ => self.spoil(&mut data, 1),
                }
                request.selector_data = data.into();
            }
            _ => {}
        }
        if self.odd(25) {
            let mut data = request.enable_data.to_vec();
            self.spoil(&mut data, 1);
            request.enable_data = data.into();
        }
        let (digest, owner) = (request.digest(), self.owner.clone());
        let signature =
            if self.rng.one_in(2) { owner.sign_raw(digest).to_vec().into() } else { self.sign(&owner, digest) };
        let mut envelope = envelope(&Approval { request, signature }, usage);
        if self.odd(25) {
            envelope.selector_data = selector::EXECUTE.to_vec().into();
        }
        let mut data = envelope.encode().to_vec();
        if self.odd(20) {
            // The words that lead to the values.
            let at = 20 + 32 * self.rng.below(5) + 30 + self.rng.below(2);
            data[at] ^= 1 << self.rng.below(8);
        }
        data
    }

    /// What the chain knows, read from it.
    fn facts(&self, kind: ValidationType, identifier: FixedBytes<20>) -> Facts {
        let (chain, at) = (&self.chain, self.account.address);
        let authority = |validator: Address| match validator {
            ECDSA_VALIDATOR | ECDSA_VALIDATOR_3_0 => {
                Authority::Owner(chain.view(validator, account::ecdsaValidatorStorageCall { account: at }))
            }
            STRANGE_VALIDATOR => Authority::Unknown,
            _ => Authority::Nobody,
        };
        let root_id = chain.root_validator(at);
        let (root_nonce, root_hook) = chain.validation_config(at, root_id);
        let root = Validator {
            authority: match root_id.validator() {
                Some(validator) => authority(validator),
                None if root_id == ValidationId::EIP7702_ROOT => Authority::Itself,
                None => Authority::Unknown,
            },
            nonce: root_nonce,
            hook: root_hook,
        };
        let mut named = Named::default();
        if kind == ValidationType::Validator {
            let id = ValidationId::of_validator(identifier.into());
            (named.nonce, named.hook) = chain.validation_config(at, id);
            named.allowed = self.allowed(id);
            named.authority = Some(authority(identifier.into()));
        } else if kind != ValidationType::Root {
            let [a, b, c, d, ..] = identifier.0;
            let id = PermissionId([a, b, c, d].into());
            (named.nonce, named.hook) = chain.validation_config(at, id.validation_id());
            named.allowed = self.allowed(id.validation_id());
            let stored = chain.permission_config(at, id);
            named.flag = PermissionFlag(stored.flag);
            named.signer = stored.signer;
            named.policies = Named::policies_of(&stored.policies);
            named.session_key = chain.session_key(id, at);
            let policies = [CallPolicyVersion::V0_0_4.address(), TIMESTAMP_POLICY, RATE_LIMIT_POLICY];
            for policy in policies {
                let status = Status::from_code(chain.status(policy, id, at).unwrap()).unwrap();
                let stored = match policy {
                    TIMESTAMP_POLICY => {
                        let (valid_after, valid_until) = chain.window(id, at);
                        Stored::Timestamp(Timestamp { valid_after, valid_until })
                    }
                    RATE_LIMIT_POLICY => {
                        let (interval, count, start_at) = chain.rate(id, at);
                        Stored::RateLimit(RateLimit { interval, count, start_at })
                    }
                    _ => Stored::Nothing,
                };
                named.states.insert(policy, PolicyFacts { status, stored });
            }
        }
        Facts {
            chain_id: chain.chain_id(),
            timestamp: chain.time(),
            account: at,
            kernel: self.account.version,
            root_id,
            root,
            current_nonce: chain.current_nonce(at),
            valid_nonce_from: chain.valid_nonce_from(at),
            named,
            permissive_hooks: [HOOK].into(),
            has_code: TARGETS.into_iter().map(|target| (target, !target.is_zero())).collect(),
            sequence: None,
            is_funded: None,
        }
    }

    fn allowed(&self, id: ValidationId) -> BTreeSet<Selector> {
        let selectors = SELECTORS.map(Selector::new).into_iter().chain([selector::EXECUTE, selector::EXECUTE_USER_OP]);
        selectors.filter(|selector| self.chain.is_allowed(self.account.address, id, *selector)).collect()
    }
}

/// Says nothing that is understood.
const STRANGE_VALIDATOR: Address = STRANGE[0];

/// What the cases came to.
#[derive(Default)]
struct Tally(BTreeMap<String, usize>);

impl Tally {
    fn count(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }
}

fn check_operation(case: &mut Case, tally: &mut Tally) -> Result<(), String> {
    let op = case.operation();
    let nonce = OperationNonce::decode(op.nonce);
    let mut facts = case.facts(nonce.kind, nonce.identifier);
    facts.sequence = Some(case.chain.sequence(case.account.address, &nonce));
    if case.rng.one_in(25) {
        case.chain.fund(case.account.address, U256::from(1000));
        facts.is_funded = Some(op.paymasterAndData.iter().any(|byte| *byte != 0));
    }
    let signatures = Signatures::of_operation(&facts, &op);
    let [a, b, c, d, ..] = nonce.identifier.0;
    let scope = (case.id.0 == [a, b, c, d]).then_some(&case.config);
    let verdict = judge::operation(&facts, scope, &op, &signatures);
    let context = |what: String| {
        Err(format!(
            "{what}\n    ours: {:?}\n    unknown: {:?}\n    acts: {:?}\n    nonce: {nonce:?}\n    {signatures:?}\n    {facts:?}\n    {:?}\n    {op:?}",
            verdict.validation, verdict.unknown, case.told, case.config
        ))
    };
    let chain = case.chain.validate_packed(&op);
    let unsure = !verdict.unknown.is_empty();
    match (&verdict.validation, &chain) {
        (Err(denied), Validation::Reverted(data)) => {
            if !unsure && denied.revert().data() != *data {
                return context(format!("the chain reverts with {data}"));
            }
            tally.count(format!("refused: {}", denied.revert()));
        }
        // A validation that nobody understands may do anything, and what it cannot do is refused for certain.
        (Err(_), Validation::Answered { .. }) => return context(format!("the chain: {chain:?}")),
        (Ok(_), _) if unsure => tally.count("not understood"),
        (Ok(ours), Validation::Answered { sig_failed, valid_after, valid_until }) => {
            // The root of a delegated EOA answers without a window: 0 is no end.
            let no_end = |until: &u64| if *until == 0 { (1 << 48) - 1 } else { *until };
            let (window, valid_until) = ((ours.window.after, ours.window.until), &no_end(valid_until));
            if ours.wrong_signature.is_some() != *sig_failed || window != (*valid_after, *valid_until) {
                return context(format!("the chain: {chain:?}"));
            }
        }
        (Ok(_), Validation::Reverted(_)) => return context(format!("the chain: {chain:?}")),
    }
    let bundle = case.chain.handle_packed(&op);
    match (&verdict.answer, &bundle) {
        (Ok(_), Bundle::Mined(mined)) => {
            tally.count(if unsure { "accepted, not understood" } else { "accepted" });
            if verdict.objections.contains(&judge::Objection::Calldata) {
                tally.count("accepted, and refused by us");
            }
            return check_execution(case, &op, &facts, verdict.validation.as_ref().ok(), &mined[0], tally)
                .or_else(context);
        }
        (Ok(_), _) if unsure => {}
        (Err(denied), refused) if refused.aa_code().is_some() => {
            let (ours, chain) = (denied.chain_error().aa, refused.aa_code().unwrap());
            if !unsure && ours != chain {
                return context(format!("{ours}, and the chain: {refused:?}"));
            }
            tally.count(format!("refused by {chain}"));
        }
        _ => return context(format!("{:?}, and the chain: {bundle:?}", verdict.answer)),
    }
    Ok(())
}

fn check_execution(
    case: &Case,
    op: &PackedUserOperation,
    facts: &Facts,
    validated: Option<&Validated>,
    mined: &Mined,
    tally: &mut Tally,
) -> Result<(), String> {
    let hook = validated.map_or(Address::ZERO, |validated| validated.hook);
    // After the operation: what it sent is gone, and what it set aside for gas is back but for what it cost.
    let mut balance = support::deployed_v3::FUNDS - max_cost(op);
    let outcome = |call: &InnerCall| {
        if call.to == case.account.address {
            return CallOutcome::Unknown;
        }
        if call.value > balance {
            return CallOutcome::Reverts(Bytes::new());
        }
        if call.to == REVERTER {
            let mut data = call.data.to_vec();
            data.resize(4, 0);
            return CallOutcome::Reverts(data.into());
        }
        balance -= call.value;
        CallOutcome::Succeeds
    };
    let ours = judge::execution(facts.kernel, hook, &op.callData, outcome);
    let (success, reason, reached) = match &ours {
        Executed::Unknown => {
            tally.count("run, not predicted");
            return Ok(());
        }
        Executed::Success { ran, swallowed } => {
            let reached =
                ran.iter().enumerate().filter(|(i, call)| !swallowed.contains(i) && TARGETS[..2].contains(&call.to));
            (true, None, reached.count())
        }
        Executed::Reverted(failed) => (false, Some(failed.data()).filter(|data| !data.is_empty()), 0),
    };
    if (success, &reason, reached) != (mined.success, &mined.revert_reason, mined.recorded.len()) {
        return Err(format!("execution: ours {ours:?}, and the chain {mined:?}"));
    }
    tally.count(if success { "run: success" } else { "run: reverted" });
    Ok(())
}

fn max_cost(op: &PackedUserOperation) -> U256 {
    let (verification, call) = op.accountGasLimits.split_at(16);
    (op.preVerificationGas + U256::from_be_slice(verification) + U256::from_be_slice(call))
        * U256::from_be_slice(&op.gasFees[16..])
}

fn check_signature(case: &mut Case, tally: &mut Tally) -> Result<(), String> {
    let hash = B256::repeat_byte(7);
    let (kind, by) = match case.rng.below(10) {
        0 | 1 => (ValidationType::Root, SignedBy::Root),
        2 | 3 => {
            let validator = *case.rng.pick(&[ECDSA_VALIDATOR, ECDSA_VALIDATOR_3_0, Address::repeat_byte(3)]);
            (ValidationType::Validator, SignedBy::Validator(validator))
        }
        _ => (ValidationType::Permission, SignedBy::Permission(case.id)),
    };
    let free = case.rng.one_in(8);
    let chain_free = if case.odd(4) { !free } else { free };
    let chain_id = (!free).then(|| case.chain.chain_id());
    let digest = message_digest(hash, case.account.address, case.account.version, chain_id);
    let signer = if kind == ValidationType::Permission { case.key.clone() } else { case.owner.clone() };
    let signature = case.sign(&signer, digest);
    let signature = if kind == ValidationType::Permission { case.with_segments(signature).into() } else { signature };
    let mut signature = MessageSignature { by, chain_free, signature }.encode().to_vec();
    match case.oddity(12) {
        0 => signature.truncate(case.rng.below(30)),
        1 => signature[0] = *case.rng.pick(&[0, 1, 2, 3, 255]),
        _ => {}
    }
    let read = MessageSignature::decode(&signature, case.account.version);
    let (kind, identifier) = match read.map(|read| read.by) {
        None | Some(SignedBy::Root) => (ValidationType::Root, FixedBytes::ZERO),
        Some(SignedBy::Validator(validator)) => (ValidationType::Validator, validator.0),
        Some(SignedBy::Permission(id)) => (ValidationType::Permission, id.identifier()),
    };
    let facts = case.facts(kind, identifier);
    let caller = *case.rng.pick(&CALLERS);
    let signatures = Signatures::of_message(&facts, hash, &signature);
    let verdict = judge::signing(&facts, Some(&case.config), caller, &signature, &signatures);
    let chain = case.chain.is_valid_signature(caller, case.account.address, hash, &signature.clone().into());
    let unsure = !verdict.unknown.is_empty();
    let agree = match (&verdict.answer, &chain) {
        (Ok(_), _) if unsure => true,
        (Ok(judge::Signing::Valid), Signing::Valid) | (Ok(judge::Signing::Wrong { .. }), Signing::Invalid) => true,
        (Err(denied), Signing::Reverted(data)) => unsure || denied.revert().data() == *data,
        (Err(_), Signing::Invalid) => unsure,
        _ => false,
    };
    if !agree {
        return Err(format!(
            "signature {}\n    ours: {verdict:?}\n    chain: {chain:?}\n    acts: {:?}\n    {facts:?}\n    {:?}",
            Bytes::from(signature),
            case.told,
            case.config
        ));
    }
    tally.count(match &verdict.answer {
        _ if unsure => "signature: not understood".to_string(),
        Ok(judge::Signing::Valid) => "signature: valid".to_string(),
        Ok(judge::Signing::Wrong { .. }) => "signature: wrong".to_string(),
        Err(denied) => format!("signature refused: {}", denied.revert()),
    });
    Ok(())
}

/// Which cases: a fixed number of them, and thousands with `KEYLEASH_LONG=1`. `KEYLEASH_CASE=N` is that one alone, shown whole,
/// and `KEYLEASH_CASE=M..N` those.
fn numbers(short: u64, long: u64) -> std::ops::Range<u64> {
    if let Ok(text) = std::env::var("KEYLEASH_CASE") {
        let number = |text: &str| text.parse::<u64>().expect("KEYLEASH_CASE is N or M..N");
        let (from, to) =
            text.split_once("..").map_or_else(|| (number(&text), number(&text) + 1), |(a, b)| (number(a), number(b)));
        return from..to;
    }
    0..if std::env::var_os("KEYLEASH_LONG").is_some() { long } else { short }
}

fn run(name: &str, numbers: std::ops::Range<u64>, check: impl Fn(&mut Case, &mut Tally) -> Result<(), String>) {
    let Some(world) = World::load() else { return };
    let (mut tally, mut failures) = (Tally::default(), Vec::new());
    for number in numbers.clone() {
        let mut case = Case::new(&world, number);
        let kind = format!("{:?}{}", case.account.version, if case.account.delegated { " delegated" } else { "" });
        if let Err(failure) = check(&mut case, &mut tally) {
            failures.push(format!("case {number} ({kind}): {failure}"));
        }
        tally.count(kind);
    }
    support::deployed::say(&format!("{name}: {} cases: {:?}", numbers.end - numbers.start, tally.0));
    // One case alone is shown whole: `KEYLEASH_CASE=N`.
    let lines = if numbers.end - numbers.start == 1 { usize::MAX } else { 6 };
    let brief = |failure: &String| failure.lines().take(lines).collect::<Vec<_>>().join("\n");
    let shown = failures.iter().take(20).map(brief).collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} of the answers differ:\n{shown}", failures.len());
}

#[test]
fn random_operations_are_answered_as_by_the_deployed_contracts() {
    run("operations", numbers(1500, 30_000), check_operation);
}

#[test]
fn random_signatures_are_answered_as_by_the_deployed_contracts() {
    run("signatures", numbers(700, 10_000), check_signature);
}

//! Tests only: operations and signatures that are nearly right, in states of any kind: no panic, and none takes long. Lengths and
//! pointers in the calldata are the holder's to choose (tests/fuzz_inputs.rs says how the inputs are made).

use std::cell::RefCell;

use alloy::{
    hex,
    primitives::{Address, B256, Bytes, Selector, U256},
};

use super::{
    super::{
        account::{CallType, Execution, selector},
        approval::SelectorData,
        contracts::{ECDSA_SIGNER, KernelVersion},
        nonce::{Mode, OperationNonce, ValidationId},
        permission_config::{PermissionConfig, PermissionFlag, Signer},
        policy::{
            Policy, PolicyFlag,
            call::{CallPolicy, CallPolicyVersion, Condition, Entry, Rule},
            gas::GasPolicy,
            rate_limit::RateLimit,
            signature_caller::SignatureCallers,
            timestamp::Timestamp,
        },
        signature::{CHAIN_FREE_PREFIX, Envelope, MessageSignature, SignedBy, UseSignature},
    },
    *,
};
use crate::{
    erc4337::v07::PackedUserOperation,
    mutate::{Rng, feed, inputs},
    protocol::{AccountCall, Call},
};

/// Longest reason, in characters.
const LONGEST: usize = 400;

const TARGET: Address = Address::repeat_byte(0x71);

fn config() -> PermissionConfig {
    let flag = PolicyFlag::default();
    let word = |n: u64| B256::from(U256::from(n));
    let slice = Rule { condition: Condition::SliceEq, offset: 0, params: vec![word(0), word(1 << 18), B256::ZERO] };
    let equal = Rule { condition: Condition::OneOf, offset: 0, params: vec![word(0), word(5)] };
    let entry =
        |call_type, target, rules| Entry { call_type, target, selector: Selector::ZERO, value_limit: U256::MAX, rules };
    let entries = vec![
        entry(CallType::Call, Address::ZERO, vec![equal; 50]),
        entry(CallType::Call, TARGET, vec![slice; 3]),
        entry(CallType::DelegateCall, Address::ZERO, vec![]),
    ];
    let calls = [CallPolicyVersion::V0_0_5, CallPolicyVersion::V0_0_2]
        .into_iter()
        .filter_map(|version| CallPolicy::new(version, entries.clone()).ok())
        .map(|call| Policy::Call { flag, call });
    let mut policies: Vec<Policy> = calls.collect();
    policies.push(Policy::Gas { flag, gas: GasPolicy { allowed: u128::MAX, ..GasPolicy::default() } });
    policies.push(Policy::RateLimit { flag, limit: RateLimit { interval: 1, count: 2, start_at: 0 } });
    policies.push(Policy::Timestamp { flag, window: Timestamp::default() });
    policies.push(Policy::SignatureCaller { flag, callers: SignatureCallers { allowed: vec![TARGET] } });
    PermissionConfig { flag: PermissionFlag::default(), signer: Signer::Ecdsa(TARGET), policies }
}

fn facts(rng: &mut Rng) -> Facts {
    let config = config();
    let authority = |rng: &mut Rng| {
        *rng.pick(&[Authority::Owner(TARGET), Authority::Itself, Authority::Nobody, Authority::Unknown])
    };
    let hook =
        |rng: &mut Rng| *rng.pick(&[Address::ZERO, Address::with_last_byte(1), Address::with_last_byte(1), TARGET]);
    let number = |rng: &mut Rng| *rng.pick(&[0, 1, 2, u32::MAX]);
    let mut named = Named { nonce: number(rng), hook: hook(rng), ..Named::default() };
    named.allowed = [selector::EXECUTE, selector::EXECUTE_USER_OP].into();
    named.authority = rng.one_in(2).then(|| authority(rng));
    if !rng.one_in(4) {
        named.signer = *rng.pick(&[ECDSA_SIGNER, ECDSA_SIGNER, Address::ZERO, TARGET]);
        named.session_key = *rng.pick(&[TARGET, Address::ZERO]);
        named.policies = config.policies.iter().map(|policy| (policy.flag(), policy.address())).collect();
    }
    for policy in &config.policies {
        let stored = match policy {
            Policy::Gas { gas, .. } => Stored::Gas(*gas),
            Policy::RateLimit { limit, .. } => Stored::RateLimit(*limit),
            _ => Stored::Nothing,
        };
        let status = *rng.pick(&[Status::Live, Status::Live, Status::Never, Status::Deprecated]);
        if !rng.one_in(5) {
            named.states.insert(policy.address(), PolicyFacts { status, stored });
        }
    }
    let mut facts = Facts {
        chain_id: 1,
        timestamp: 1,
        account: TARGET,
        kernel: *rng.pick(&KernelVersion::ALL),
        root_id: ValidationId::of_validator(TARGET),
        root: Validator { authority: authority(rng), nonce: number(rng), hook: hook(rng) },
        current_nonce: number(rng),
        valid_nonce_from: number(rng),
        named,
        permissive_hooks: Default::default(),
        has_code: Default::default(),
        sequence: None,
        is_funded: None,
    };
    if rng.one_in(2) {
        // As it is right before, or right after, the key is enabled.
        let (enabled, hook) = (rng.one_in(2), Address::with_last_byte(1));
        facts.root = Validator { authority: Authority::Owner(TARGET), nonce: 1, hook };
        (facts.current_nonce, facts.valid_nonce_from) = (1, 0);
        let named = &mut facts.named;
        (named.nonce, named.hook) = if enabled { (1, hook) } else { (0, Address::ZERO) };
        (named.signer, named.session_key) =
            if enabled { (ECDSA_SIGNER, TARGET) } else { (Address::ZERO, Address::ZERO) };
        for state in named.states.values_mut() {
            state.status = if enabled { Status::Live } else { Status::Never };
        }
    }
    facts
}

/// A batch whose elements are all the same one, so many times that nothing pays for it.
fn endless(length: U256, data: U256) -> Bytes {
    let words = [U256::from(32), length, U256::ZERO, U256::ZERO, U256::from(96), data];
    let execution = words.map(|word| word.to_be_bytes::<32>()).concat();
    let mut call = selector::EXECUTE.to_vec();
    call.push(1);
    call.resize(36, 0);
    call.extend_from_slice(&U256::from(64).to_be_bytes::<32>());
    call.extend_from_slice(&U256::from(execution.len()).to_be_bytes::<32>());
    call.extend_from_slice(&execution);
    call.into()
}

fn call_data(rng: &mut Rng) -> Bytes {
    let call = Call {
        to: *rng.pick(&[TARGET, Address::ZERO]),
        value: U256::ZERO,
        data: vec![0; 4 + 32 * rng.below(5)].into(),
    };
    match rng.below(6) {
        0 => endless(U256::MAX >> (rng.below(25) * 10), U256::from(rng.below(200))),
        1 => Execution::plain(AccountCall::Execute(call)).encode(),
        2 => Execution::plain(AccountCall::ExecuteDelegateCall { to: call.to, data: call.data }).encode(),
        3 => Execution { hooked: true, ..Execution::plain(AccountCall::Execute(call)) }.encode(),
        _ => Execution::plain(AccountCall::ExecuteBatch(vec![call; rng.below(4)])).encode(),
    }
}

fn changed(rng: &mut Rng, data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    for _ in 0..rng.below(4).saturating_sub(1) {
        let at = rng.below(data.len());
        match rng.below(4) {
            0 => data.truncate(at),
            1 => data.extend(vec![0; rng.below(100)]),
            2 => {
                if let Some(byte) = data.get_mut(at) {
                    *byte = *rng.pick(&[0, 1, 0x20, 0x7f, 0x80, 0xff]);
                }
            }
            _ => {
                let at = *rng.pick(&[4, 20, 0]) + 32 * rng.below(data.len() / 32 + 1);
                let word = *rng.pick(&[U256::ZERO, U256::MAX, U256::from(32), U256::from(1 << 20), U256::ONE << 255]);
                if let Some(part) = data.get_mut(at..at + 32) {
                    part.copy_from_slice(&word.to_be_bytes::<32>());
                }
            }
        }
    }
    data
}

fn signature(rng: &mut Rng, enable: bool) -> Vec<u8> {
    let usage = UseSignature::plain(&[vec![7; 64], vec![27]].concat()).encode();
    let usage = changed(rng, &usage);
    let whole = if enable {
        let envelope = Envelope {
            hook: *rng.pick(&[Address::ZERO, TARGET]),
            enable_data: changed(rng, &config().enable_data()).into(),
            hook_data: Bytes::new(),
            selector_data: changed(rng, &SelectorData::plain()).into(),
            owner_signature: [vec![7; 64], vec![27]].concat().into(),
            use_signature: usage.into(),
        };
        envelope.encode().to_vec()
    } else {
        usage
    };
    let whole = changed(rng, &whole);
    if rng.one_in(8) { [CHAIN_FREE_PREFIX.as_slice(), &whole].concat() } else { whole }
}

fn assert_showable(denied: &Denied) {
    let text = denied.to_string();
    assert!(!text.is_empty() && text.chars().count() <= LONGEST, "{} characters", text.chars().count());
    assert!(denied.chain_error().aa.starts_with("AA"));
    assert!(denied.revert().data().len() <= 164);
}

/// `state | nonce | calldata | paymaster | signature`.
fn case(rng: &mut Rng) -> String {
    let enable = rng.one_in(2);
    let mode = if enable { Mode::Enable } else { Mode::Use };
    let mut nonce = OperationNonce::of_permission(mode, config().permission_id()).encode().to_be_bytes::<32>();
    if rng.one_in(3) {
        nonce[rng.below(2)] = *rng.pick(&[0, 1, 2, 3, 255]);
    }
    let data = call_data(rng);
    let data = if rng.one_in(2) { changed(rng, &data) } else { data.to_vec() };
    let paymaster = vec![0; *rng.pick(&[0, 0, 0, 1, 20, 52])];
    let parts = [nonce.to_vec(), data, paymaster, signature(rng, enable)];
    format!("{}|{}", rng.below(1 << 30), parts.map(hex::encode).join("|"))
}

#[test]
fn operations_of_any_shape_are_judged() {
    let (yes, no) = (RefCell::new(0u32), RefCell::new(0u32));
    let config = config();
    feed("v3 operations", inputs(3_000), case, |text| {
        let parts: Vec<&str> = text.split('|').collect();
        let mut rng = Rng::new(parts[0].parse().unwrap());
        let bytes = |i: usize| Bytes::from(hex::decode(parts[i]).unwrap());
        let facts = facts(&mut rng);
        let op = PackedUserOperation {
            sender: TARGET,
            nonce: U256::from_be_slice(&bytes(1)),
            callData: bytes(2),
            paymasterAndData: bytes(3),
            signature: bytes(4),
            gasFees: B256::repeat_byte(if rng.one_in(9) { 0xff } else { 0 }),
            ..PackedUserOperation::default()
        };
        let signatures = match rng.below(3) {
            0 => Signatures::of_operation(&facts, &op),
            _ => Signatures::right(&facts, TARGET),
        };
        let scope = rng.one_in(2).then_some(&config);
        let verdict = operation(&facts, scope, &op, &signatures);
        match &verdict.answer {
            Ok(_) => *yes.borrow_mut() += 1,
            Err(denied) => {
                *no.borrow_mut() += 1;
                assert_showable(denied);
            }
        }
        let _ = execution(facts.kernel, Address::with_last_byte(1), &op.callData, |_| CallOutcome::Succeeds);
    });
    let (yes, no) = (yes.into_inner(), no.into_inner());
    assert!(yes > 50 && no > 500, "{yes} are taken and {no} refused: the inputs are too wild, or too tame");
}

#[test]
fn signatures_of_any_shape_are_judged() {
    let make = |rng: &mut Rng| {
        let by = [SignedBy::Root, SignedBy::Validator(TARGET), SignedBy::Permission(config().permission_id())];
        let signature = signature(rng, false).into();
        let whole = MessageSignature { by: *rng.pick(&by), chain_free: rng.one_in(4), signature }.encode();
        let whole = if rng.one_in(2) { changed(rng, &whole) } else { whole.to_vec() };
        format!("{}|{}", rng.below(1 << 30), hex::encode(whole))
    };
    let config = config();
    feed("v3 signatures", inputs(3_000), make, |text| {
        let (seed, signature) = text.split_once('|').unwrap();
        let mut rng = Rng::new(seed.parse().unwrap());
        let (facts, signature) = (facts(&mut rng), hex::decode(signature).unwrap());
        let signatures = match rng.below(3) {
            0 => Signatures::of_message(&facts, B256::ZERO, &signature),
            _ => Signatures::right(&facts, TARGET),
        };
        let verdict = signing(&facts, rng.one_in(2).then_some(&config), TARGET, &signature, &signatures);
        if let Err(denied) = &verdict.answer {
            assert_showable(denied);
        }
    });
}

//! Histories as they stand in calldata: read back as they were made, and never a panic on anything else.

use alloy::{
    primitives::{U256, address, keccak256},
    sol,
    sol_types::SolCall,
};
use proptest::prelude::*;

use super::ledger::{Changed, EnabledBy, Gap, Ledger, Mined, OnChain, Point};
use super::*;
use crate::{
    policy::scope::Scope,
    protocol::kernel_v2::{
        account::{AccountSeed, disable_key, enable_key, set_execution},
        approval::{Approval, ApprovalRequest},
        generation::KernelVersion,
        signature,
    },
    secret::Secret,
};

sol! {
    struct Packed {
        address sender; uint256 nonce; bytes initCode; bytes callData; uint256 callGasLimit; uint256 verificationGasLimit;
        uint256 preVerificationGas; uint256 maxFeePerGas; uint256 maxPriorityFeePerGas; bytes paymasterAndData; bytes signature;
    }
    struct Group { Packed[] ops; address aggregator; bytes signature; }
    function handleOps(Packed[] ops, address beneficiary);
    function handleAggregatedOps(Group[] groups, address beneficiary);
    function forward(bytes calls, uint256 more);
    function invalidateNonce(uint128 nonce);
    function disable(bytes data);
    function disableMode(bytes4 mode);
    function setDefaultValidator(address validator, bytes data);
}

const CHAIN: u64 = 31_337;
const ACCOUNT: Address = Address::repeat_byte(0xac);
const STRANGER: Address = Address::repeat_byte(0x57);
const G2: Generation = Generation::G2;

fn packed(op: &UserOperation) -> Packed {
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
}

fn handle_ops(ops: &[UserOperation]) -> Bytes {
    handleOpsCall { ops: ops.iter().map(packed).collect(), beneficiary: STRANGER }.abi_encode().into()
}

fn secret(n: u8) -> Secret {
    Secret::from_bytes(&mut [n; 32]).unwrap()
}

fn permissions(count: u32) -> Vec<Permission> {
    let rule = Rule { offset: U256::from(32), condition: Condition::Lte, param: B256::repeat_byte(7) };
    let one = |index| Permission {
        index,
        target: Address::repeat_byte(0x71),
        sig: Selector::new([1, 2, 3, 4]),
        value_limit: U256::from(index),
        rules: vec![rule.clone(); index as usize],
        execution_rule: ExecutionRule { valid_after: 1, interval: 2, runs: 3 },
        operation: Operation::Call,
    };
    (0..count).map(one).collect()
}

fn scope(count: u32) -> Scope {
    Scope { valid_after: 0, valid_until: 2_000_000_000, paymaster: Address::ZERO, permissions: permissions(count) }
}

fn call(to: Address, data: impl Into<Bytes>) -> Call {
    Call { to, value: U256::ZERO, data: data.into() }
}

fn execute(to: Address, data: impl Into<Bytes>) -> Bytes {
    AccountCall::Execute(call(to, data)).encode()
}

fn approval(holder: Address, scope: &Scope, nonce: u128, generation: Generation) -> Approval {
    let request = ApprovalRequest {
        chain_id: CHAIN,
        account: ACCOUNT,
        kernel: KernelVersion::V0_2_4,
        validator: generation,
        selector: selector::EXECUTE,
        executor: Address::ZERO,
        plugin_window: FixedBytes::ZERO,
        enable: EnableData::new(holder, scope, nonce, generation),
    };
    let signature = Bytes::copy_from_slice(&secret(1).sign_hash(request.digest()).unwrap());
    Approval { request, signature }
}

fn op(call_data: Bytes) -> UserOperation {
    UserOperation { sender: ACCOUNT, call_data, ..UserOperation::default() }
}

fn hash(op: &UserOperation) -> B256 {
    op.hash(ENTRY_POINT, CHAIN)
}

fn by_owner(call_data: Bytes) -> UserOperation {
    let mut op = op(call_data);
    op.signature = signature::sudo(&secret(1).sign_message_hash(hash(&op)).unwrap());
    op
}

fn by_key(key: &Secret, approval: Option<&Approval>, proof: &[u8], call_data: Bytes) -> UserOperation {
    let mut op = op(call_data);
    let session = signature::session(key.address(), &key.sign_message_hash(hash(&op)).unwrap(), proof);
    op.signature = match approval {
        Some(approval) => signature::enable_and_use(approval, &session),
        None => signature::use_enabled(&session),
    };
    op
}

fn mined(op: &UserOperation) -> Mined {
    Mined { user_op_hash: hash(op), success: true, candidates: vec![op.clone()] }
}

fn at(block: u64) -> Point {
    Point { block, transaction: B256::with_last_byte(block as u8), time: None }
}

fn ledger() -> Ledger {
    Ledger::new(ACCOUNT, Some(secret(1).address()))
}

// ---- operations in calldata ---------------------------------------------------------------------------------------------------

#[test]
fn operations_of_an_account_are_read_out_of_a_bundle_in_order() {
    let foreign = UserOperation { sender: STRANGER, ..op(Bytes::from_static(&[9; 40])) };
    let mine = [by_owner(execute(STRANGER, vec![1; 5])), by_owner(execute(STRANGER, vec![2; 70]))];
    let bundle = handle_ops(&[mine[0].clone(), foreign, mine[1].clone()]);
    assert_eq!(operations(&bundle, Some(ENTRY_POINT), ACCOUNT), mine);
}

#[test]
fn operations_are_read_out_of_aggregated_bundles_and_out_of_calls_to_other_contracts() {
    let mine = by_owner(execute(STRANGER, vec![1; 5]));
    let group = |ops| Group { ops, aggregator: STRANGER, signature: Bytes::from_static(&[3; 33]) };
    let groups = vec![group(Vec::new()), group(vec![packed(&mine)])];
    let aggregated: Bytes = handleAggregatedOpsCall { groups, beneficiary: STRANGER }.abi_encode().into();
    let expected = [mine.clone()];
    assert_eq!(operations(&aggregated, Some(ENTRY_POINT), ACCOUNT), expected);
    for inner in [aggregated, handle_ops(std::slice::from_ref(&mine))] {
        let outer: Bytes = forwardCall { calls: inner, more: U256::ZERO }.abi_encode().into();
        assert_eq!(operations(&outer, Some(STRANGER), ACCOUNT), expected);
        assert_eq!(operations(&outer, Some(ENTRY_POINT), ACCOUNT), []);
    }
}

#[test]
fn operations_that_share_their_bytes_do_not_unfold_without_bound() {
    let word = |n: usize| U256::from(n).to_be_bytes::<32>();
    let count = 2_000;
    // Every head points at one operation, whose four byte strings are all the 100,000 bytes behind it.
    let mut data = [HANDLE_OPS.as_slice(), &word(64), &word(0), &word(count)].concat();
    for _ in 0..count {
        data.extend(word(32 * count));
    }
    let mut fields = [0usize; 11].map(word);
    fields[0] = ACCOUNT.into_word().0;
    for field in [2, 3, 9, 10] {
        fields[field] = word(32 * 11);
    }
    data.extend(fields.concat());
    data.extend(word(100_000));
    data.resize(data.len() + 100_000, 1);
    let read = operations(&data.into(), Some(ENTRY_POINT), ACCOUNT);
    assert!((1..10).contains(&read.len()), "{}", read.len());
}

#[test]
fn input_of_an_impossible_size_is_not_read() {
    let mut data = handle_ops(&[by_owner(Bytes::new())]).to_vec();
    data.resize(MAX_INPUT + 1, 0);
    assert_eq!(operations(&data.into(), Some(ENTRY_POINT), ACCOUNT), []);
}

// ---- signatures -----------------------------------------------------------------------------------------------------------------

#[test]
fn the_three_modes_read_back_what_is_encoded() {
    let (key, scope) = (secret(2), scope(3));
    let approval = approval(key.address(), &scope, 5, G2);
    let proof = signature::proof_data(&scope.permissions, signature::Shown::One(1), G2).unwrap();
    let data = execute(STRANGER, vec![1, 2, 3, 4]);
    assert!(matches!(authority(&by_owner(data.clone()).signature), Some(Authority::Owner(s)) if s.len() == 65));
    for with in [None, Some(&approval)] {
        let op = by_key(&key, with, &proof, data.clone());
        let used = match authority(&op.signature).unwrap() {
            Authority::Use(used) => {
                assert!(with.is_none());
                used
            }
            Authority::Enable(carried, used) => {
                assert_eq!((carried.enable, carried.generation), (approval.request.enable, G2));
                assert_eq!(carried.signature.as_ref(), Some(&approval.signature));
                used
            }
            Authority::Owner(_) => panic!("not the owner"),
        };
        assert_eq!((used.session_key, &used.proof), (key.address(), &proof));
        assert!(used.is_signed(hash(&op)) && !used.is_signed(B256::ZERO));
        let shown = shown(&data, &used.proof, G2);
        assert_eq!(shown.iter().map(|s| &s.permission).collect::<Vec<_>>(), [&scope.permissions[1]]);
    }
}

#[test]
fn bytes_behind_the_enable_data_are_ignored_as_the_validator_does_and_leave_no_signature_to_replay() {
    let key = secret(2);
    let approval = approval(key.address(), &scope(1), 5, G2);
    let length = |n: usize| U256::from(n).to_be_bytes::<32>();
    let raw = [
        &[0, 0, 0, 2][..],
        approval.request.validator_data().as_slice(),
        &[0; 20],
        &length(120),
        &approval.request.enable.encode(),
        &[1, 2, 3, 4],
        &length(65),
        &[7; 65],
        &signature::session(key.address(), &[1; 65], &[]),
    ]
    .concat();
    let Some(Authority::Enable(carried, used)) = authority(&raw.into()) else { panic!("mode 2") };
    assert_eq!((carried.enable, carried.signature), (approval.request.enable, None));
    assert_eq!(used.session_key, key.address());
}

#[test]
fn a_signature_with_high_s_counts_because_the_validator_takes_it() {
    let key = secret(2);
    let op = by_key(&key, None, &[], execute(STRANGER, vec![]));
    let Some(Authority::Use(mut used)) = authority(&op.signature) else { panic!("mode 1") };
    let low = Signature::from_raw_array(used.signature.as_ref().try_into().unwrap()).unwrap();
    let order = U256::from_be_bytes(hex!("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"));
    let high = Signature::new(low.r(), order - low.s(), !low.v());
    used.signature = Bytes::copy_from_slice(&high.as_bytes());
    assert!(used.is_signed(hash(&op)));
    let raw = [&used.signature[..64], &[0]].concat();
    used.signature = raw.into();
    assert!(!used.is_signed(hash(&op)), "v 0 is no v");
}

#[test]
fn permissions_of_every_generation_and_function_read_back() {
    for generation in Generation::ALL {
        let scope = scope(5);
        let tree = crate::protocol::kernel_v2::merkle::Tree::new(&scope.permissions, generation);
        for at in 0..5 {
            let proof = signature::proof_data(&scope.permissions, signature::Shown::One(at), generation).unwrap();
            let shown = shown(&execute(STRANGER, vec![]), &proof, generation);
            assert_eq!(shown, [Shown { permission: scope.permissions[at].clone(), proof: tree.proof(at) }]);
        }
        let several = [4, 0, 4];
        let proof = signature::proof_data(&scope.permissions, signature::Shown::Batch(&several), generation).unwrap();
        let batch = AccountCall::ExecuteBatch(vec![]).encode();
        let indices: Vec<u32> = shown(&batch, &proof, generation).iter().map(|s| s.permission.index).collect();
        assert_eq!(indices, [4, 0, 4]);
    }
}

// ---- acts -----------------------------------------------------------------------------------------------------------------------

fn act(data: Bytes) -> Vec<Act> {
    acts(ACCOUNT, &data, true)
}

#[test]
fn every_way_to_give_and_take_by_a_call_is_read() {
    let enable = EnableData::new(secret(2).address(), &scope(1), 7, G2);
    let enabled = |selector| Act::Enable { generation: G2, enable, selector };
    let skv = G2.address();
    let long = [&enable.encode()[..], &[1, 2, 3]].concat();
    assert_eq!(act(execute(skv, enable_key(&long))), [enabled(None)]);
    let set = set_execution(selector::EXECUTE_BATCH, skv, &enable.encode());
    let route = Act::Route { selector: selector::EXECUTE_BATCH, validator: skv, executor: Address::ZERO };
    let both = [route, enabled(Some(selector::EXECUTE_BATCH))];
    assert_eq!(act(set.clone()), both);
    assert_eq!(act(execute(ACCOUNT, set.clone())), both);
    assert_eq!(act(execute(ACCOUNT, execute(ACCOUNT, set))), both);
    assert_eq!(act(execute(skv, disable_key(STRANGER))), [Act::Disable { generation: G2, session_key: STRANGER }]);
    let disable = |data: &[u8]| disableCall { data: Bytes::copy_from_slice(data) }.abi_encode();
    let invalidate = [Act::Invalidate { generation: G2, through: 9 }];
    assert_eq!(act(execute(skv, disable(&9u128.to_be_bytes()))), invalidate);
    assert_eq!(act(execute(skv, invalidateNonceCall { nonce: 9 }.abi_encode())), invalidate);
    for length in [0, 15, 17, 21, 32] {
        assert_eq!(act(execute(skv, disable(&vec![1; length]))), [Act::InvalidateAll { generation: G2 }]);
    }
    let mode = disableModeCall { mode: [0, 0, 0, 3].into() }.abi_encode();
    assert_eq!(act(mode.into()), [Act::DisableMode { mode: 3 }]);
    let default = setDefaultValidatorCall { validator: skv, data: enable.encode().to_vec().into() }.abi_encode();
    assert_eq!(act(default.into()), [enabled(None)]);
    let batch = AccountCall::ExecuteBatch(vec![call(skv, enable_key(&enable.encode())), call(skv, disable(&[]))]);
    assert_eq!(act(batch.encode()), [enabled(None), Act::InvalidateAll { generation: G2 }]);
    assert_eq!(acts(ACCOUNT, &batch.encode(), false), [], "Kernel 0.2.1 does nothing there");
    assert_eq!(act(execute(STRANGER, enable_key(&enable.encode()))), []);
    assert_eq!(act(execute(skv, enable_key(&enable.encode()[..115]))), [], "too short: it reverts");
}

#[test]
fn calls_of_an_account_to_itself_that_share_their_bytes_do_not_unfold_without_bound() {
    let inner = execute(ACCOUNT, vec![0; 50_000]);
    let one = call(ACCOUNT, inner);
    assert_eq!(act(AccountCall::ExecuteBatch(vec![one; 50]).encode()), []);
    let deep = (0..200).fold(disable_key(STRANGER), |data, _| execute(ACCOUNT, data));
    assert_eq!(act(deep), [], "deeper than anybody nests");
}

// ---- the ledger -----------------------------------------------------------------------------------------------------------------

#[test]
fn a_key_that_its_holder_enabled_is_known_with_its_approval_and_its_uses() {
    let (key, scope) = (secret(2), scope(2));
    let given = approval(key.address(), &scope, 1, G2);
    let data = execute(STRANGER, vec![1, 2, 3, 4]);
    let proof = |at| signature::proof_data(&scope.permissions, signature::Shown::One(at), G2).unwrap();
    let mut ledger = ledger();
    ledger.operations(&[mined(&by_key(&key, Some(&given), &proof(1), data.clone()))], true, at(5));
    ledger.operations(&[mined(&by_key(&key, None, &proof(0), data))], true, at(8));
    let [enabled] = ledger.enabled.as_slice() else { panic!("{ledger:?}") };
    assert_eq!((enabled.enable, enabled.by, enabled.held), (given.request.enable, EnabledBy::Holder, true));
    assert_eq!(enabled.approval.as_ref().unwrap().signature, Some(given.signature));
    assert_eq!((enabled.uses.count, enabled.uses.first, enabled.uses.last), (2, Some(at(5)), Some(at(8))));
    assert_eq!(enabled.shown.iter().map(|s| s.permission.index).collect::<Vec<_>>(), [1, 0]);
    let chain =
        OnChain { nonces: [(G2, (1, 0))].into(), sessions: [((G2, key.address()), given.request.enable)].into() };
    assert_eq!(ledger.settle(&chain), ledger::Open::default());
}

#[test]
fn the_key_that_signs_need_not_be_the_key_that_is_enabled() {
    let (first, second) = (secret(2), secret(3));
    let one = approval(first.address(), &scope(0), 1, G2);
    let two = approval(second.address(), &scope(0), 2, G2);
    let data = execute(STRANGER, vec![]);
    let mut ledger = ledger();
    ledger.operations(&[mined(&by_key(&first, Some(&one), &[], data.clone()))], true, at(1));
    ledger.operations(&[mined(&by_key(&first, Some(&two), &[], data))], true, at(2));
    let uses: Vec<u64> = ledger.enabled.iter().map(|e| e.uses.count).collect();
    assert_eq!(uses, [2, 0]);
    assert_eq!(ledger.session_keys().len(), 2);
}

#[test]
fn a_bundle_is_validated_before_its_calls_are_made() {
    let (first, second) = (secret(2), secret(3));
    let one = approval(first.address(), &scope(0), 1, G2);
    let two = approval(second.address(), &scope(0), 2, G2);
    // The owner takes the first key back in the same bundle in which both are enabled.
    let ops = [
        by_owner(execute(G2.address(), disable_key(first.address()))),
        by_key(&first, Some(&one), &[], execute(STRANGER, vec![])),
        by_key(&second, Some(&two), &[], execute(STRANGER, vec![])),
        by_key(&first, None, &[], execute(STRANGER, vec![1])),
    ];
    let mut ledger = ledger();
    ledger.operations(&ops.each_ref().map(mined), true, at(1));
    let all: Vec<_> = ledger.enabled.iter().map(|e| (e.uses.count, e.held)).collect();
    assert_eq!(all, [(2, false), (1, true)]);
}

#[test]
fn a_failed_operation_enables_its_approval_and_makes_no_call() {
    let key = secret(2);
    let given = approval(key.address(), &scope(0), 1, G2);
    let op = by_key(&key, Some(&given), &[], execute(G2.address(), disable_key(key.address())));
    let mut ledger = ledger();
    ledger.operations(&[Mined { success: false, ..mined(&op) }], true, at(1));
    assert!(ledger.enabled[0].held);
}

#[test]
fn an_operation_whose_input_does_not_hold_it_is_counted_as_unread() {
    let op = by_owner(execute(STRANGER, vec![]));
    let mut ledger = ledger();
    ledger.operations(&[Mined { candidates: vec![], ..mined(&op) }], true, at(3));
    assert_eq!((ledger.operations, ledger.unread_count, ledger.unread[0].user_op_hash), (1, 1, Some(hash(&op))));
}

#[test]
fn a_copy_put_into_foreign_calldata_to_mislead_is_not_believed() {
    let (real, framed) = (secret(2), secret(3));
    let data = execute(STRANGER, vec![]);
    let op = by_key(&real, None, &[], data.clone());
    let mut decoy = op.clone();
    // The hash does not cover the signature: a copy can name another key, or the owner.
    let signed = real.sign_message_hash(hash(&op)).unwrap();
    decoy.signature = signature::use_enabled(&signature::session(framed.address(), &signed, &[]));
    let owner = UserOperation { signature: signature::sudo(&signed), ..op.clone() };
    let mut ledger = ledger();
    ledger.operations(&[Mined { candidates: vec![decoy, owner, op.clone()], ..mined(&op) }], false, at(1));
    assert_eq!(ledger.session_keys().into_iter().collect::<Vec<_>>(), [real.address()]);
    assert_eq!(ledger.unread_count, 0);
}

#[test]
fn turns_that_nothing_explains_are_named_until_the_chain_shows_their_keys() {
    let (key, unseen) = (secret(2), secret(3));
    let mut ledger = ledger();
    let enable = EnableData::new(key.address(), &scope(0), 4, G2);
    ledger.operations(&[mined(&by_owner(execute(G2.address(), enable_key(&enable.encode()))))], true, at(1));
    ledger.operations(&[mined(&by_key(&unseen, None, &[], execute(STRANGER, vec![])))], true, at(2));
    let hidden = EnableData::new(unseen.address(), &scope(0), 2, G2);
    let chain = OnChain {
        nonces: [(G2, (6, 0))].into(),
        sessions: [((G2, key.address()), enable), ((G2, unseen.address()), hidden)].into(),
    };
    let gap = |first, last| Gap { generation: G2, first, last };
    assert_eq!(ledger.settle(&chain).gaps, [gap(1, 1), gap(3, 3), gap(5, 6)]);
    let found = ledger.enabled.last().unwrap();
    assert_eq!((found.enable, found.by, found.uses.count), (hidden, EnabledBy::Unseen, 1));
    assert!(ledger.strays.is_empty());
}

#[test]
fn turns_that_were_skipped_by_an_invalidation_are_explained() {
    let mut ledger = ledger();
    ledger.operations(
        &[mined(&by_owner(execute(G2.address(), invalidateNonceCall { nonce: 9 }.abi_encode())))],
        true,
        at(1),
    );
    let chain = OnChain { nonces: [(G2, (9, 9))].into(), ..OnChain::default() };
    // On this generation such a call may also have set the counter back, if it stood higher than anyone saw.
    assert_eq!(ledger.settle(&chain), ledger::Open { numbered: vec![G2], ..ledger::Open::default() });
}

#[test]
fn a_counter_that_something_unseen_set_back_is_said() {
    let (key, again) = (secret(2), secret(3));
    let mut ledger = ledger();
    for (block, key, nonce) in [(1, &key, 1), (2, &key, 2), (3, &again, 2)] {
        let enable = EnableData::new(key.address(), &scope(0), nonce, G2);
        ledger.direct_call(&execute(G2.address(), enable_key(&enable.encode())), at(block));
    }
    let open = ledger.settle(&OnChain { nonces: [(G2, (2, 1))].into(), ..OnChain::default() });
    assert_eq!((open.set_back, open.invalidated), (vec![G2], vec![G2]));
}

#[test]
fn a_burnt_turn_is_explained_and_is_no_key() {
    let dead = EnableData {
        session_key: Address::repeat_byte(0xde),
        merkle_root: B256::repeat_byte(0xde),
        valid_after: 0,
        valid_until: 1,
        paymaster: Address::ZERO,
        nonce: 1,
    };
    let mut ledger = ledger();
    ledger.direct_call(&execute(G2.address(), enable_key(&dead.encode())), at(1));
    assert!(ledger.session_keys().is_empty());
    let chain = OnChain { nonces: [(G2, (1, 0))].into(), ..OnChain::default() };
    assert_eq!(ledger.settle(&chain), ledger::Open::default());
}

#[test]
fn a_key_enabled_before_the_scan_begins_gets_its_permissions_once_the_root_is_known() {
    let (key, scope) = (secret(2), scope(3));
    let proof = signature::proof_data(&scope.permissions, signature::Shown::One(2), Generation::G1).unwrap();
    let mut ledger = ledger();
    ledger.operations(&[mined(&by_key(&key, None, &proof, execute(STRANGER, vec![])))], true, at(2));
    let enable = EnableData::new(key.address(), &scope, 1, Generation::G1);
    let sessions = [((Generation::G1, key.address()), enable)].into();
    ledger.settle(&OnChain { nonces: [(Generation::G1, (1, 0))].into(), sessions });
    let shown: Vec<_> = ledger.enabled[0].shown.iter().map(|s| &s.permission).collect();
    assert_eq!(shown, [&scope.permissions[2]]);
}

#[test]
fn a_permission_that_does_not_belong_to_the_root_is_not_kept() {
    let key = secret(2);
    let given = approval(key.address(), &scope(2), 1, G2);
    let other = scope(4);
    let proof = signature::proof_data(&other.permissions, signature::Shown::One(3), G2).unwrap();
    let mut ledger = ledger();
    let op = by_key(&key, Some(&given), &proof, execute(STRANGER, vec![]));
    ledger.operations(&[mined(&op)], true, at(1));
    assert!(ledger.enabled[0].shown.is_empty());
}

#[test]
fn a_ledger_survives_being_written_down() {
    let (key, scope) = (secret(2), scope(2));
    let given = approval(key.address(), &scope, u128::MAX - 1, G2);
    let proof = signature::proof_data(&scope.permissions, signature::Shown::One(0), G2).unwrap();
    let mut ledger = ledger();
    let mut op = by_key(&key, Some(&given), &proof, execute(STRANGER, vec![]));
    op.init_code = AccountSeed { owner: STRANGER, index: U256::ZERO }.init_code(KernelVersion::V0_2_1);
    let session = signature::session(key.address(), &key.sign_message_hash(hash(&op)).unwrap(), &proof);
    op.signature = signature::enable_and_use(&given, &session);
    ledger.operations(&[mined(&op)], true, at(1));
    ledger.operations(&[Mined { candidates: vec![], ..mined(&op) }], true, at(1));
    ledger.changed(Changed::Upgraded(STRANGER), at(2));
    ledger.operations(&[mined(&by_key(&secret(9), None, &proof, execute(STRANGER, vec![])))], true, at(3));
    assert_eq!(ledger.owners.last(), Some(&STRANGER));
    let text = serde_json::to_string(&ledger).unwrap();
    assert_eq!(serde_json::from_str::<Ledger>(&text).unwrap(), ledger);
}

// ---- whatever the bytes -----------------------------------------------------------------------------------------------------------

fn read_everything(data: &Bytes) {
    for to in [None, Some(ENTRY_POINT), Some(ACCOUNT)] {
        let mut ledger = ledger();
        let ops = operations(data, to, ACCOUNT);
        let mined: Vec<Mined> = ops.iter().map(mined).collect();
        ledger.operations(&mined, to == Some(ENTRY_POINT), at(1));
        ledger.direct_call(data, at(1));
        ledger.settle(&OnChain { nonces: [(G2, (3, 1))].into(), ..OnChain::default() });
    }
    let _ = authority(data);
    for generation in Generation::ALL {
        for function in [selector::EXECUTE, selector::EXECUTE_BATCH, selector::EXECUTE_DELEGATE_CALL] {
            let _ = shown(function.as_slice(), data, generation);
        }
    }
}

/// Well-formed inputs of every kind, to be damaged.
fn specimen(kind: usize) -> Bytes {
    let (key, scope) = (secret(2), scope(3));
    let given = approval(key.address(), &scope, 1, G2);
    let proof = signature::proof_data(&scope.permissions, signature::Shown::Batch(&[0, 2]), G2).unwrap();
    let enable = given.request.enable.encode();
    match kind {
        0 => handle_ops(&[by_key(&key, Some(&given), &proof, AccountCall::ExecuteBatch(vec![]).encode())]),
        1 => handle_ops(&[by_owner(set_execution(selector::EXECUTE, G2.address(), &enable))]),
        2 => execute(ACCOUNT, set_execution(selector::EXECUTE, G2.address(), &enable)),
        3 => AccountCall::ExecuteBatch(vec![call(G2.address(), enable_key(&enable)); 3]).encode(),
        4 => proof,
        _ => by_key(&key, Some(&given), &proof, Bytes::new()).signature,
    }
}

proptest! {
    #[test]
    fn no_input_upsets_the_reading(data in prop::collection::vec(any::<u8>(), 0..600)) {
        read_everything(&data.into());
    }

    #[test]
    fn no_damaged_input_upsets_the_reading(
        kind in 0..6usize,
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 1..6),
        cut in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut data = specimen(kind).to_vec();
        for (at, byte, whole_word) in hits {
            let at = at.index(data.len());
            let end = if whole_word { (at / 32 * 32 + 32).min(data.len()) } else { at + 1 };
            let start = if whole_word { at / 32 * 32 } else { at };
            data[start..end].fill(byte);
        }
        if is_cut {
            data.truncate(cut.index(data.len()));
        }
        read_everything(&data.into());
    }

    #[test]
    fn a_session_operation_reads_back_whatever_it_is(
        generation in prop::sample::select(Generation::ALL.to_vec()),
        count in 1..6u32,
        at_index in any::<prop::sample::Index>(),
        nonce in 1..u128::MAX,
        with_approval in any::<bool>(),
        init_code in prop::collection::vec(any::<u8>(), 0..70),
        embedded in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let (key, scope) = (secret(2), scope(count));
        let given = approval(key.address(), &scope, nonce, generation);
        let position = at_index.index(count as usize);
        let proof = signature::proof_data(&scope.permissions, signature::Shown::One(position), generation).unwrap();
        let data = execute(address!("00000000000000000000000000000000000000aa"), keccak256(&init_code).to_vec());
        let op = UserOperation {
            init_code: init_code.into(),
            ..by_key(&key, with_approval.then_some(&given), &proof, data.clone())
        };
        let bundle = handle_ops(std::slice::from_ref(&op));
        let wrapped: Bytes = [&embedded[..], &bundle].concat().into();
        prop_assert_eq!(operations(&bundle, Some(ENTRY_POINT), ACCOUNT), std::slice::from_ref(&op));
        prop_assert_eq!(operations(&wrapped, Some(STRANGER), ACCOUNT), std::slice::from_ref(&op));
        let (carried, used) = match authority(&op.signature) {
            Some(Authority::Use(used)) => (None, used),
            Some(Authority::Enable(carried, used)) => (Some(carried), used),
            other => return Err(TestCaseError::fail(format!("{other:?}"))),
        };
        prop_assert_eq!(carried.is_some(), with_approval);
        prop_assert!(carried.is_none_or(|c| c.enable == given.request.enable && c.generation == generation));
        let shown = shown(&data, &used.proof, generation);
        prop_assert_eq!(&shown[0].permission.leaf(generation), &scope.permissions[position].leaf(generation));
    }
}

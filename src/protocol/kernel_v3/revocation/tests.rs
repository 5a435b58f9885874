//! What a plan promises, by example. That it holds on the deployed bytecode, `tests/revocation_on_chain_v3.rs` shows.
#![allow(clippy::cloned_ref_to_slice_refs, reason = "a list of one reads as a list")]

use proptest::prelude::*;

use super::{
    book::{ApprovalBook, Choice},
    *,
};
use crate::protocol::{
    ApprovalId,
    kernel_v3::{
        account::ExecType,
        approval::{ApprovalRequest, SelectorData},
        contracts::KernelVersion,
        policy::{Policy, PolicyFlag, timestamp::Timestamp},
        snapshot::{AccountCode, Fallback},
    },
    revocation::{RevocationPlan, RevokeTarget},
};

const OWNER: Address = Address::repeat_byte(1);

fn request(kernel: KernelVersion, key: u8, nonce: u32) -> ApprovalRequest {
    let policy = Policy::Timestamp { flag: PolicyFlag::default(), window: Timestamp::default() };
    let signer = Signer::Ecdsa(Address::repeat_byte(key));
    let config = PermissionConfig { flag: PermissionFlag::default(), signer, policies: vec![policy] };
    ApprovalRequest {
        chain_id: Some(1),
        account: Address::repeat_byte(0xaa),
        kernel,
        validation_id: config.validation_id(),
        nonce,
        hook: Address::ZERO,
        enable_data: config.enable_data(),
        hook_data: Bytes::new(),
        selector_data: SelectorData::plain(),
    }
}

fn planned(
    snapshot: &Snapshot,
    requests: &[ApprovalRequest],
    target: &RevokeTarget,
    choice: Choice,
) -> Result<RevocationPlan, Refusal> {
    let signature = Bytes::from_static(&[0; 65]);
    let approvals = requests.iter().map(|request| (request, Some(&signature)));
    let book = ApprovalBook::new(snapshot.account, OWNER, approvals, snapshot);
    let labels: Vec<(ApprovalId, String)> =
        requests.iter().enumerate().map(|(i, request)| (request.id(), format!("key-{i}"))).collect();
    let names: Vec<(ApprovalId, &str)> = labels.iter().map(|(id, label)| (*id, label.as_str())).collect();
    book.plan(target, &names, choice).map(|(plan, _)| plan)
}

fn these(requests: &[ApprovalRequest]) -> RevokeTarget {
    RevokeTarget::These(requests.iter().map(ApprovalRequest::id).collect())
}

fn calls(plan: &RevocationPlan) -> Vec<&str> {
    plan.steps.iter().map(|step| step.call.as_str()).collect()
}

#[test]
fn an_enabled_key_is_uninstalled_and_its_id_is_used_up_where_an_approval_may_wait() {
    for kernel in KernelVersion::ALL {
        let key = request(kernel, 5, 1);
        let mut snapshot = Snapshot::example(kernel).holding(&key);
        let plan = planned(&snapshot, &[key.clone()], &these(&[key.clone()]), Choice::default()).unwrap();
        assert_eq!(calls(&plan), ["Kernel.uninstallValidation"], "{kernel}");
        let expected = uninstall_permission(key.validation_id, 1, Bytes::new());
        assert_eq!(plan.calls[0].data, expected);
        snapshot.current_nonce = 3;
        let plan = planned(&snapshot, &[key.clone()], &these(&[key]), Choice::default()).unwrap();
        assert_eq!(plan.calls.len(), 3, "{kernel}");
        assert!(plan.warnings[0].contains("another"), "{:?}", plan.warnings);
    }
}

#[test]
fn a_second_approval_of_an_id_at_the_next_nonce_is_ended_with_everything_that_waits() {
    let kernel = KernelVersion::V3_3;
    let first = request(kernel, 5, 1);
    let mut config = first.config().unwrap();
    config.policies.clear();
    let second = ApprovalRequest { nonce: 2, enable_data: config.enable_data(), ..first.clone() };
    let other = request(kernel, 6, 1);
    let mut snapshot = Snapshot::example(kernel);
    snapshot.keys.entry(first.permission_id().unwrap()).or_default().nonce = 1;
    let known = [second.clone(), other.clone()];
    let plan = planned(&snapshot, &known, &these(&[second.clone()]), Choice::default()).unwrap();
    assert_eq!((plan.ends, plan.also_ends), ([second.id()].into(), [other.id()].into()));
    assert!(plan.steps[0].effect.contains("every other approval that waits ends"), "{:?}", plan.steps);
}

#[test]
fn a_stop_is_no_bigger_than_it_has_to_be() {
    for kernel in KernelVersion::ALL {
        let (key, other) = (request(kernel, 5, 1), request(kernel, 6, 1));
        let mut snapshot = Snapshot::example(kernel).holding(&key);
        let plan = planned(&snapshot, &[key.clone(), other.clone()], &RevokeTarget::All, Choice::default()).unwrap();
        let first = if kernel.stops_signing() { "Kernel.invalidateNonce(3)" } else { "Kernel.uninstallValidation" };
        assert_eq!((calls(&plan)[0], plan.ends.len()), (first, 2), "{kernel}");
        assert_eq!(calls(&plan).contains(&"ECDSAValidator.onUninstall"), kernel.stops_signing());
        // What else can act goes with it.
        snapshot.executors.insert(Address::repeat_byte(7), NO_HOOK);
        let fallback = Fallback { hook: NO_HOOK, target: Address::repeat_byte(8), call_type: 0xff };
        snapshot.fallbacks.insert([1, 2, 3, 4].into(), fallback);
        let plan = planned(&snapshot, &[key, other], &RevokeTarget::All, Choice::default()).unwrap();
        for call in ["Kernel.uninstallModule(fallback)", "Kernel.uninstallModule(executor)"] {
            assert!(calls(&plan).contains(&call), "{kernel}: {plan:?}");
        }
    }
}

#[test]
fn what_the_stop_does_to_the_owners_signatures_is_said_where_it_cannot_be_mended() {
    let kernel = KernelVersion::V3_3;
    let mut snapshot = Snapshot::example(kernel);
    let root = snapshot.root.unwrap();
    snapshot.validations.get_mut(&root).unwrap().hook = Address::repeat_byte(9);
    let plan = planned(&snapshot, &[], &RevokeTarget::All, Choice::default()).unwrap();
    assert_eq!((plan.calls.len(), plan.warnings.len()), (1, 1));
    assert!(plan.warnings[0].contains("owner's own signatures"));
    snapshot.code = AccountCode::Delegated(kernel);
    let plan = planned(&snapshot, &[], &RevokeTarget::All, Choice::default()).unwrap();
    assert!(plan.warnings.is_empty(), "a delegated root signs on");
}

#[test]
fn an_approval_of_a_far_nonce_does_not_keep_the_stop_from_being_made() {
    let kernel = KernelVersion::V3_1;
    let (far, near) = (request(kernel, 5, u32::MAX), request(kernel, 6, 1));
    let snapshot = Snapshot::example(kernel);
    let plan = planned(&snapshot, &[far.clone(), near.clone()], &RevokeTarget::All, Choice::default()).unwrap();
    assert_eq!(plan.ends, [near.id()].into());
    assert!(plan.warnings[0].contains("key-0 cannot be ended"), "{:?}", plan.warnings);
    let refused = planned(&snapshot, &[far.clone()], &these(&[far]), Choice::default());
    assert_eq!(refused, Err(Refusal::NoNoncesLeft));
    let far = request(kernel, 5, 1_000);
    let refused = planned(&snapshot, &[far.clone()], &these(&[far]), Choice::default());
    assert_eq!(refused, Err(Refusal::TooFar { nonce: 1_000, last: 1 }));
}

#[test]
fn where_every_nonce_in_reach_is_taken_one_stop_follows_another() {
    let kernel = KernelVersion::V3_2;
    let taken: Vec<ApprovalRequest> = (3..=11).map(|nonce| request(kernel, nonce as u8, nonce)).collect();
    let plan = planned(&Snapshot::example(kernel), &taken, &RevokeTarget::All, Choice::default()).unwrap();
    assert_eq!(plan.ends.len(), taken.len(), "{plan:?}");
    assert!(calls(&plan).len() > 1);
}

#[test]
fn a_batch_that_tries_is_made_only_where_it_is_asked_for() {
    let kernel = KernelVersion::V3_1;
    let waits = request(kernel, 5, 1);
    let snapshot = Snapshot::example(kernel);
    let plan = |exec| planned(&snapshot, &[waits.clone()], &these(&[waits.clone()]), Choice { draw: 0, exec }).unwrap();
    assert_eq!(plan(ExecType::Revert).calls.len(), 2);
    let either = plan(ExecType::Try);
    assert_eq!(either.calls.len(), 3);
    assert_eq!(either.calls[0].data, uninstall_permission(waits.validation_id, 1, Bytes::new()));
}

#[test]
fn a_key_with_a_policy_that_nobody_knows_is_warned_about() {
    let kernel = KernelVersion::V3_1;
    let mut key = request(kernel, 5, 1);
    let mut config = key.config().unwrap();
    let address = Address::repeat_byte(9);
    config.policies.push(Policy::Unknown { flag: PolicyFlag::default(), address, data: Bytes::new() });
    key.enable_data = config.enable_data();
    let snapshot = Snapshot::example(kernel).holding(&key);
    let plan = planned(&snapshot, &[key.clone()], &these(&[key]), Choice::default()).unwrap();
    assert!(plan.warnings.iter().any(|warning| warning.contains("burn gas")), "{:?}", plan.warnings);
}

proptest! {
    #[test]
    fn the_stop_is_drawn_between_two_and_ten_further_and_never_onto_a_known_approval(
        current in 0u32..1_000, ahead in 0u32..20, taken in proptest::collection::btree_set(0u32..1_020, 0..8), draw in any::<u64>(),
    ) {
        let mut snapshot = Snapshot::example(KernelVersion::V3_3);
        (snapshot.current_nonce, snapshot.valid_from) = (current, (current + ahead).saturating_sub(10));
        let nonce = stop_nonce(&snapshot, &taken, draw).unwrap();
        match nonce {
            None => prop_assert!(snapshot.valid_from >= current + STRIDE),
            Some(nonce) => {
                prop_assert!((current + 2..=current + STRIDE).contains(&nonce) && nonce > snapshot.valid_from);
                let free = (current + 2..=current + STRIDE).any(|n| n > snapshot.valid_from && !taken.contains(&n));
                prop_assert!(!free || !taken.contains(&nonce));
            }
        }
    }
}

#[test]
fn at_the_last_nonce_there_is_no_stop() {
    let mut snapshot = Snapshot::example(KernelVersion::V3_3);
    snapshot.current_nonce = u32::MAX;
    assert_eq!(stop_nonce(&snapshot, &BTreeSet::new(), 0), Err(Refusal::NoNoncesLeft));
}

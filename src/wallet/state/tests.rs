use std::collections::BTreeMap;

use alloy::primitives::{Address, Bytes, FixedBytes, Selector, U256, address};

use super::*;
use crate::{
    policy::scope::{ExecutionRule, Operation, Permission, Scope},
    protocol::kernel_v2::{
        account::selector,
        approval::{ApprovalRequest, EnableData},
        generation::{ECDSA_VALIDATOR, Generation, KernelVersion},
        judge::{ExecutionStatus, Window},
        revocation::Nonces,
        snapshot::{self as kernel_v2, Route},
    },
    wallet::records::model::Origin,
};

const NOW: u64 = 1_800_000_000;
const DAY: u64 = 24 * 60 * 60;
const ACCOUNT: Address = address!("B2358b064F5eA10543Cf8034C8576b2E6Bfd3Be3");
const OWNER: Address = address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
const KEY: Address = address!("70997970C51812dc3A010C7d01b50e0d17dc79C8");

fn limited(index: u32, runs: u64) -> Permission {
    Permission {
        index,
        target: ACCOUNT,
        sig: Selector::ZERO,
        value_limit: U256::ZERO,
        rules: Vec::new(),
        execution_rule: ExecutionRule { runs, ..ExecutionRule::default() },
        operation: Operation::Call,
    }
}

/// A key of a week with turn 5 of an account whose last turn is 4: it can be enabled now.
fn key() -> Key {
    Key {
        id: "k1".into(),
        label: "mint-bot".into(),
        network: "local".into(),
        chain_id: 1,
        account: ACCOUNT,
        owner: OWNER,
        session_key: KEY,
        secret: None,
        validator: Generation::G2.into(),
        scope: Scope {
            valid_after: 0,
            valid_until: NOW + 7 * DAY,
            paymaster: Address::ZERO,
            permissions: vec![limited(0, 2), limited(1, 1)],
        },
        partial: None,
        functions: Vec::new(),
        origin: Origin::Granted,
        init_code: None,
        was_deployed: true,
        created_at: 0,
        revoked_at: None,
    }
}

fn approval(key: &Key, nonce: u128) -> ApprovalRecord {
    ApprovalRecord {
        key_id: key.id.clone(),
        request: ApprovalRequest {
            chain_id: 1,
            account: ACCOUNT,
            kernel: KernelVersion::V0_2_4,
            validator: key.validator.generation(),
            selector: selector::EXECUTE,
            executor: Address::ZERO,
            plugin_window: FixedBytes::ZERO,
            enable: EnableData::new(KEY, &key.scope, nonce, key.validator.generation()),
        }
        .into(),
        signature: Some(Bytes::from_static(b"signed")),
        created_at: 0,
    }
}

fn picture() -> Snapshot {
    let route = Route { validator: Generation::G2.address(), executor: Address::ZERO, window: Window::default() };
    kernel_v2::Snapshot {
        block: 100,
        timestamp: NOW,
        deployed: true,
        implementation: Some(KernelVersion::V0_2_4.implementation()),
        kernel: Some(KernelVersion::V0_2_4),
        owner: Some(OWNER),
        default_validator: Some(ECDSA_VALIDATOR),
        known_proxy: true,
        balance: U256::ZERO,
        deposit: U256::ZERO,
        disabled_mode: 0,
        routes: BTreeMap::from([(selector::EXECUTE, route)]),
        nonces: BTreeMap::from([(Generation::G2, Nonces { last: 4, invalid: 1 })]),
        sessions: BTreeMap::new(),
        statuses: BTreeMap::new(),
    }
    .into()
}

fn set_last(picture: &mut Snapshot, last: u128) {
    picture.kernel_v2_mut().nonces.get_mut(&Generation::G2).unwrap().last = last;
}

fn set_invalid(picture: &mut Snapshot, invalid: u128) {
    picture.kernel_v2_mut().nonces.get_mut(&Generation::G2).unwrap().invalid = invalid;
}

/// The chain holds the approval, which was turn 5 and so the last one.
fn enable(picture: &mut Snapshot, approval: &ApprovalRecord) {
    set_last(picture, 5);
    picture.kernel_v2_mut().sessions.insert((Generation::G2, KEY), approval.request.kernel_v2().enable);
}

fn route_to(picture: &mut Snapshot, validator: Address) {
    picture
        .kernel_v2_mut()
        .routes
        .insert(selector::EXECUTE, Route { validator, executor: Address::ZERO, window: Window::default() });
}

fn runs(picture: &mut Snapshot, index: u32, runs: u64) {
    picture.kernel_v2_mut().statuses.insert((Generation::G2, 5, index), ExecutionStatus { valid_after: 0, runs });
}

/// What each test starts from, and may change.
struct Case {
    key: Key,
    approval: ApprovalRecord,
    picture: Snapshot,
}

fn pending() -> Case {
    let key = key();
    Case { approval: approval(&key, 5), key, picture: picture() }
}

fn queue(labels: &[(u128, &str)]) -> Queue {
    let mut queue = Queue::default();
    for (nonce, label) in labels {
        queue.add(&approval(&key(), *nonce).request, (*label).to_owned());
    }
    queue
}

fn active() -> Case {
    let mut case = pending();
    enable(&mut case.picture, &case.approval);
    case
}

fn of(case: &Case) -> KeyStatus {
    let queue = queue(&[(5, "mint-bot")]);
    of_approval(&case.key, &case.approval, Some(&case.picture), &queue)
}

type Change = fn(&mut Case);

fn check(start: fn() -> Case, table: &[(&str, Change, State, &str)]) {
    for (what, change, state, because) in table {
        let mut case = start();
        change(&mut case);
        let standing = of(&case);
        assert_eq!(standing.state, *state, "{what}: {}", standing.reason);
        assert!(standing.reason.contains(because), "{what}: expected {because:?} in {:?}", standing.reason);
    }
}

#[test]
fn an_approval_that_is_not_enabled_is_in_the_state_its_turn_its_owner_and_its_window_say() {
    check(
        pending,
        &[
            ("its turn is next", |_| {}, State::Pending, "its holder can enable it"),
            ("nobody signed it", |c| c.approval.signature = None, State::Draft, "not signed"),
            ("its turn is later", |c| set_last(&mut c.picture, 2), State::Queued, "nonce 5 is queued behind nonce 3"),
            ("its turn went to another", |c| set_last(&mut c.picture, 5), State::Dead, "nonce 5 is already used"),
            ("its turn went to another long ago", |c| set_last(&mut c.picture, 9), State::Dead, "account nonce 9"),
            (
                "its turn was burnt by us",
                |c| {
                    set_last(&mut c.picture, 5);
                    c.key.revoked_at = Some(NOW);
                },
                State::Revoked,
                "revoked; nonce 5 cannot be used again unless",
            ),
            (
                "its turn was invalidated",
                |c| set_invalid(&mut c.picture, 5),
                State::Revoked,
                "through nonce 5 was invalidated",
            ),
            ("a later turn was invalidated", |c| set_invalid(&mut c.picture, 8), State::Revoked, "through nonce 8"),
            ("the owner changed", |c| c.picture.kernel_v2_mut().owner = Some(KEY), State::Stale, "owner is 0x7099"),
            (
                "another validator decides whose signature counts, the earlier owner's too",
                |c| {
                    c.picture.kernel_v2_mut().owner = Some(KEY);
                    c.picture.kernel_v2_mut().kernel = Some(KernelVersion::V0_2_3);
                    c.picture.kernel_v2_mut().default_validator = Some(Address::repeat_byte(0xa1));
                },
                State::Pending,
                "its holder can enable it",
            ),
            (
                "the implementation changed",
                |c| c.picture.kernel_v2_mut().kernel = Some(KernelVersion::V0_2_3),
                State::Stale,
                "signed for Kernel 0.2.4, and the account runs 0.2.3",
            ),
            (
                "it ended before it was used",
                |c| c.picture.kernel_v2_mut().timestamp = NOW + 7 * DAY + 1,
                State::Expired,
                "ended at",
            ),
            ("its last second is now", |c| c.picture.kernel_v2_mut().timestamp = NOW + 7 * DAY, State::Pending, ""),
            ("it never ends", |c| c.approval.request.kernel_v2_mut().enable.valid_until = 0, State::Pending, ""),
            (
                "it starts later",
                |c| c.approval.request.kernel_v2_mut().enable.valid_after = NOW + 1,
                State::NotYet,
                "starts at",
            ),
            ("panic stops enabling", |c| c.picture.kernel_v2_mut().disabled_mode = u32::MAX, State::Paused, "paused"),
            ("panic of bit 1 stops enabling", |c| c.picture.kernel_v2_mut().disabled_mode = 2, State::Paused, "paused"),
            (
                "panic of bit 0 does not stop enabling",
                |c| c.picture.kernel_v2_mut().disabled_mode = 1,
                State::Pending,
                "",
            ),
            (
                "the account routes elsewhere: enabling will bring it back",
                |c| route_to(&mut c.picture, Generation::G3.address()),
                State::Pending,
                "",
            ),
            ("the account is not deployed", |c| c.picture.kernel_v2_mut().owner = None, State::Pending, ""),
        ],
    );
}

#[test]
fn an_enabled_key_is_in_the_state_its_window_its_runs_and_the_accounts_switches_say() {
    check(
        active,
        &[
            ("nothing stands in its way", |_| {}, State::Active, "enabled on chain, until"),
            (
                "it never ends",
                |c| {
                    c.approval.request.kernel_v2_mut().enable.valid_until = 0;
                    enable(&mut c.picture, &c.approval);
                },
                State::Active,
                "never expires",
            ),
            ("later turns were taken", |c| set_last(&mut c.picture, 9), State::Active, ""),
            (
                "less than a day is left",
                |c| c.picture.kernel_v2_mut().timestamp = NOW + 6 * DAY + 1,
                State::Expiring,
                "less than a day",
            ),
            ("exactly a day is left", |c| c.picture.kernel_v2_mut().timestamp = NOW + 6 * DAY, State::Active, ""),
            ("its last second is now", |c| c.picture.kernel_v2_mut().timestamp = NOW + 7 * DAY, State::Expiring, ""),
            ("it ended", |c| c.picture.kernel_v2_mut().timestamp = NOW + 7 * DAY + 1, State::Expired, "ended at"),
            (
                "it starts later",
                |c| {
                    c.approval.request.kernel_v2_mut().enable.valid_after = NOW + 1;
                    enable(&mut c.picture, &c.approval);
                },
                State::NotYet,
                "starts at",
            ),
            (
                "every permission is used up",
                |c| {
                    runs(&mut c.picture, 0, 2);
                    runs(&mut c.picture, 1, 1);
                },
                State::Spent,
                "used up its runs",
            ),
            (
                "one permission is left",
                |c| {
                    runs(&mut c.picture, 0, 1);
                    runs(&mut c.picture, 1, 1);
                },
                State::Active,
                "",
            ),
            (
                "one permission has no limit",
                |c| {
                    c.key.scope.permissions[1].execution_rule.runs = 0;
                    runs(&mut c.picture, 0, 2);
                },
                State::Active,
                "",
            ),
            ("panic", |c| c.picture.kernel_v2_mut().disabled_mode = u32::MAX, State::Paused, "paused"),
            ("panic of bit 0", |c| c.picture.kernel_v2_mut().disabled_mode = 1, State::Paused, "paused"),
            ("panic of bit 1 only stops enabling", |c| c.picture.kernel_v2_mut().disabled_mode = 2, State::Active, ""),
            (
                "the account routes to another validator",
                |c| route_to(&mut c.picture, Generation::G3.address()),
                State::Paused,
                "0x8Df2",
            ),
            ("the account routes nowhere", |c| c.picture.kernel_v2_mut().routes.clear(), State::Paused, "no validator"),
            (
                "everything was invalidated",
                |c| set_invalid(&mut c.picture, 5),
                State::Revoked,
                "through nonce 5 was invalidated",
            ),
            (
                "the owner changed: an enabled key lives on",
                |c| c.picture.kernel_v2_mut().owner = Some(KEY),
                State::Active,
                "",
            ),
            (
                "the key was given another scope",
                |c| c.approval.request.kernel_v2_mut().enable.valid_until += 1,
                State::Dead,
                "replaced",
            ),
            (
                "the owner disabled it elsewhere",
                |c| c.picture.kernel_v2_mut().sessions.clear(),
                State::Dead,
                "revoked elsewhere",
            ),
            (
                "we disabled it",
                |c| {
                    c.picture.kernel_v2_mut().sessions.clear();
                    c.key.revoked_at = Some(NOW);
                },
                State::Revoked,
                "revoked; nonce 5 cannot be used again unless",
            ),
        ],
    );
}

#[test]
fn worse_news_wins_over_better() {
    check(
        active,
        &[
            (
                "expired and paused",
                |c| {
                    c.picture.kernel_v2_mut().timestamp = NOW + 8 * DAY;
                    c.picture.kernel_v2_mut().disabled_mode = u32::MAX;
                },
                State::Expired,
                "",
            ),
            (
                "paused and not started",
                |c| {
                    c.approval.request.kernel_v2_mut().enable.valid_after = NOW + 1;
                    enable(&mut c.picture, &c.approval);
                    c.picture.kernel_v2_mut().disabled_mode = 1;
                },
                State::Paused,
                "",
            ),
            (
                "spent and about to end",
                |c| {
                    c.picture.kernel_v2_mut().timestamp = NOW + 7 * DAY;
                    runs(&mut c.picture, 0, 2);
                    runs(&mut c.picture, 1, 1);
                },
                State::Spent,
                "",
            ),
        ],
    );
}

#[test]
fn a_queued_approval_names_the_one_whose_turn_comes_first() {
    let mut case = pending();
    set_last(&mut case.picture, 2);
    let reason = |labels: &[(u128, &'static str)]| {
        of_approval(&case.key, &case.approval, Some(&case.picture), &queue(labels)).reason
    };
    assert!(reason(&[(3, "first"), (4, "second"), (5, "mint-bot")]).contains("queued behind first (nonce 3)"));
    // The one before it waits too: for a turn that is not on record.
    assert!(
        reason(&[(4, "second"), (5, "mint-bot")]).contains("queued behind nonce 3, which no approval on record has")
    );
}

#[test]
fn without_a_chain_a_signed_approval_is_unknown_and_a_draft_still_a_draft() {
    let Case { key, mut approval, .. } = active();
    assert_eq!(of_approval(&key, &approval, None, &Queue::default()).state, State::Unknown);
    approval.signature = None;
    assert_eq!(of_approval(&key, &approval, None, &Queue::default()).state, State::Draft);
}

#[test]
fn each_generation_has_its_own_turns() {
    let mut case = pending();
    case.picture.kernel_v2_mut().nonces.insert(Generation::G3, Nonces { last: 9, invalid: 9 });
    assert_eq!(of(&case).state, State::Pending);
    case.key.validator = Generation::G3.into();
    case.approval.request.kernel_v2_mut().validator = Generation::G3;
    assert_eq!(of(&case).state, State::Dead);
}

#[test]
fn a_key_is_what_the_most_alive_of_its_approvals_is() {
    let Case { key, approval: first, mut picture } = active();
    let mut second = approval(&key, 6);
    second.request.kernel_v2_mut().selector = selector::EXECUTE_BATCH;
    let state = |approvals: &[ApprovalRecord], picture: &Snapshot| {
        of_key(&key, approvals, Some(picture), &Queue::default()).state
    };
    assert_eq!(state(&[second.clone(), first.clone()], &picture), State::Active);
    picture.kernel_v2_mut().sessions.clear();
    assert_eq!(state(&[first.clone(), second.clone()], &picture), State::Pending);
    set_last(&mut picture, 6);
    assert_eq!(state(&[first, second], &picture), State::Dead);
    assert_eq!(state(&[], &picture), State::Unknown);
}

#[test]
fn every_state_is_one_word_and_says_whether_the_key_may_act() {
    let words = [
        (State::Draft, "draft", false),
        (State::Pending, "pending", true),
        (State::Queued, "queued", true),
        (State::Active, "active", true),
        (State::NotYet, "not-yet", true),
        (State::Expiring, "expiring", true),
        (State::Expired, "expired", false),
        (State::Spent, "spent", true),
        (State::Paused, "paused", true),
        (State::Revoked, "revoked", false),
        (State::Dead, "dead", false),
        (State::Stale, "stale", false),
        (State::Unknown, "unknown", false),
    ];
    for (state, word, may_act) in words {
        assert_eq!((state.word(), state.may_act()), (word, may_act));
        assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{word}\""));
    }
}

#[test]
fn k6_a_revoked_key_can_never_return_only_where_its_nonce_was_invalidated_or_nonces_go_one_way() {
    let mut revoked = key();
    revoked.revoked_at = Some(NOW);
    let mut picture = picture();
    set_last(&mut picture, 5);
    let said =
        |key: &Key, picture: &Snapshot| of_approval(key, &approval(key, 5), Some(picture), &Queue::default()).reason;
    assert!(said(&revoked, &picture).contains("unless the owner sets nonces back"));
    set_invalid(&mut picture, 5);
    assert!(said(&revoked, &picture).contains("can never be used again"));
    let on_g3 = Key { validator: Generation::G3.into(), ..revoked };
    picture.kernel_v2_mut().nonces.insert(Generation::G3, Nonces { last: 5, invalid: 0 });
    assert!(said(&on_g3, &picture).contains("can never be used again"));
}

#[test]
fn k6_a_revoked_key_whose_nonce_is_free_again_is_pending_and_an_alarm() {
    let mut revoked = key();
    let approvals = [approval(&revoked, 5)];
    let queue = Queue::default();
    let picture = picture();
    assert_eq!(alarm(&revoked, &approvals, Some(&picture), &queue), None, "it was never revoked");
    revoked.revoked_at = Some(NOW);
    let standing = of_key(&revoked, &approvals, Some(&picture), &queue);
    assert_eq!(standing.state, State::Pending);
    assert!(standing.reason.contains("revoked and can come back"), "{}", standing.reason);
    let alarm = super::alarm(&revoked, &approvals, Some(&picture), &queue).unwrap();
    assert_eq!((alarm.id, alarm.code), ("R37", "revoked_can_return"));
    let mut over = picture;
    set_last(&mut over, 5);
    assert_eq!(super::alarm(&revoked, &approvals, Some(&over), &queue), None);
}

//! What a snapshot of the account makes of an approval (docs/kernel-v3.md#liveness).
//!
//! A key is revoked when it can neither act nor sign. One that the final stop keeps from acting signs on, on Kernel 3.0-3.2: it is
//! active, and its reason says what is left of it.

use alloy::primitives::Address;

use super::{
    approval::ApprovalRequest,
    contracts::{GAS_POLICY, RATE_LIMIT_POLICY, TIMESTAMP_POLICY},
    liveness::{Later, Never, Outlook, Stale},
    nonce::PermissionId,
    policy::Policy,
    snapshot::{KeyState, Left, Snapshot},
};
use crate::{
    policy::sentence,
    protocol::status::{DRAFT, KeyStatus, State},
};

const DAY: u64 = 24 * 60 * 60;

/// Behind the reason of a key that cannot act, and still signs.
const SIGNS: &str = "it still signs for the account (ERC-1271)";

/// What is known of an approval apart from the chain.
#[derive(Debug, Clone, Copy)]
pub struct KnownApproval<'a> {
    /// Who signed, or is to sign.
    pub owner: Address,
    pub request: &'a ApprovalRequest,
    pub is_signed: bool,
    /// Only the chain told of it: what else was signed for its holder, nobody here knows.
    pub is_discovered: bool,
    /// It was revoked here, with proof.
    pub was_revoked: bool,
}

/// The status of one approval. `snapshot` is `None` where there is no chain to ask.
pub fn status(approval: &KnownApproval<'_>, snapshot: Option<&Snapshot>) -> KeyStatus {
    let KnownApproval { owner, request, is_signed, is_discovered, was_revoked } = *approval;
    let held = snapshot.filter(|snapshot| snapshot.holds(request)).zip(request.permission_id());
    if let Some((snapshot, id)) = held {
        return of_held(snapshot, id);
    }
    let Some(snapshot) = snapshot else {
        return match is_signed || is_discovered {
            true => KeyStatus::new(State::Unknown, "no chain was asked"),
            false => KeyStatus::new(State::Draft, format!("not signed here yet. {DRAFT}")),
        };
    };
    if snapshot.kernel.is_none() {
        let reason = "the account runs something that is not known here: what a key can do there is not known either";
        return KeyStatus::new(State::Unknown, reason);
    }
    let outlook = snapshot.outlook(request, owner);
    let status = match outlook {
        Outlook::Never(never) => over(never, was_revoked),
        _ if !is_signed && is_discovered => KeyStatus::new(
            State::Unknown,
            "the chain does not hold it any more: if an approval of it was signed for now or later, that can be used",
        ),
        _ if !is_signed => KeyStatus::new(State::Draft, format!("not signed here yet. {DRAFT}")),
        Outlook::Stale(stale) => KeyStatus::new(State::Stale, stale_reason(stale, owner, request)),
        Outlook::Later(later) => KeyStatus::new(State::Queued, later_reason(later, request, snapshot)),
        Outlook::Now => waiting(request, snapshot),
    };
    if request.chain_id.is_some() { status } else { of_every_chain(status, outlook) }
}

/// A key that the chain holds, whether or not an approval of it is known.
pub fn of_held(snapshot: &Snapshot, id: PermissionId) -> KeyStatus {
    let key = snapshot.key(id);
    let (acts, signs) = (snapshot.can_act(id), snapshot.can_sign(id));
    let with_signing = |state, reason: String| match signs {
        true => KeyStatus::new(state, format!("{reason}; {SIGNS}")),
        false => KeyStatus::new(state, reason),
    };
    if !acts {
        let (state, reason) = cannot_act(snapshot, &key);
        // What signs is not over, whatever keeps it from acting.
        let state = if signs && state == State::Revoked { State::Active } else { state };
        return with_signing(state, reason);
    }
    if let Some(until) = snapshot.ended(&key) {
        return with_signing(State::Expired, format!("ended at {}", sentence::time(until)));
    }
    if let Some((state, reason)) = left(snapshot, &key) {
        return with_signing(state, reason);
    }
    let until = match key.left(TIMESTAMP_POLICY) {
        Some(Left::Window { until, .. }) if until != 0 => {
            let until_words = sentence::time(until);
            if until.saturating_sub(snapshot.timestamp) < DAY {
                return KeyStatus::new(State::Expiring, format!("ends at {until_words}, in less than a day"));
            }
            format!("until {until_words}")
        }
        _ => "never expires".to_owned(),
    };
    let reason = match key.allowed.values().any(|allowed| *allowed) {
        true => format!("enabled on chain, {until}"),
        false => format!("enabled on chain, {until}; which functions it may call is not known"),
    };
    KeyStatus::new(State::Active, reason)
}

fn cannot_act(snapshot: &Snapshot, key: &KeyState) -> (State, String) {
    if key.nonce < snapshot.valid_from {
        let stopped = format!("the final stop at nonce {} keeps it from acting", snapshot.valid_from);
        return (State::Revoked, stopped);
    }
    if key.flag.refuses_operations() {
        // Nothing took its power: this is all that it was given.
        return (State::Active, "it was never allowed to act".to_owned());
    }
    let off = "the account function that it calls is switched off for it, and can be switched on again";
    (State::Paused, off.to_owned())
}

/// What windows and counters make of a key that the account lets act.
fn left(snapshot: &Snapshot, key: &KeyState) -> Option<(State, String)> {
    let now = snapshot.timestamp;
    if let Some(Left::Window { after, .. }) = key.left(TIMESTAMP_POLICY)
        && now < after
    {
        return Some((State::NotYet, format!("starts at {}", sentence::time(after))));
    }
    match key.left(RATE_LIMIT_POLICY) {
        Some(Left::Turns { left: 0, .. }) => {
            return Some((State::Spent, "it has used up its operations".to_owned()));
        }
        Some(Left::Turns { next, .. }) if now < next => {
            return Some((State::NotYet, format!("its next operation is due at {}", sentence::time(next))));
        }
        _ => {}
    }
    match key.left(GAS_POLICY) {
        Some(Left::Gas { left: 0, .. }) => Some((State::Spent, "it has used up its gas budget".to_owned())),
        _ => None,
    }
}

/// Signed, never enabled, and its holder can do that now.
fn waiting(request: &ApprovalRequest, snapshot: &Snapshot) -> KeyStatus {
    let config = request.config().ok();
    let starts = config.iter().flat_map(|config| &config.policies).find_map(|policy| match policy {
        Policy::Timestamp { flag, window } if !flag.skips_operations() && snapshot.timestamp < window.valid_after => {
            Some(window.valid_after)
        }
        _ => None,
    });
    match starts {
        Some(after) => {
            KeyStatus::new(State::NotYet, format!("signed and not used yet; starts at {}", sentence::time(after)))
        }
        None => KeyStatus::new(State::Pending, "signed and not used yet; its holder can enable it with the first call"),
    }
}

fn stale_reason(stale: Stale, owner: Address, request: &ApprovalRequest) -> String {
    match stale {
        Stale::Version(kernel) => {
            let signed_for = request.kernel;
            format!(
                "it was signed for Kernel {signed_for}, and the account runs {kernel}; it counts again if that is undone"
            )
        }
        Stale::Owner(now) => format!(
            "the account's owner is {now} now; the signature of {owner} does not count, and counts again if that is undone"
        ),
    }
}

fn later_reason(later: Later, request: &ApprovalRequest, snapshot: &Snapshot) -> String {
    let nonce = request.nonce;
    match later {
        Later::Nonce => format!(
            "it was signed for nonce {nonce}, and the account is at {}: it can be enabled once the account is at {nonce}, \
             without the owner signing again",
            snapshot.current_nonce
        ),
        Later::IdTaken => {
            "another key has the same id now: once that is uninstalled, this approval can be enabled".to_owned()
        }
    }
}

/// It is over for good on this chain: by the owner's doing, or on its own.
fn over(never: Never, was_revoked: bool) -> KeyStatus {
    let (state, reason) = match never {
        Never::Invalidated(from) => {
            (State::Revoked, format!("never enabled, and everything with a nonce below {from} was invalidated"))
        }
        Never::IdUsed(nonce) => (
            State::Revoked,
            format!(
                "its id was used at nonce {nonce} and holds nothing now: it was uninstalled, or consumed before its first use"
            ),
        ),
        Never::Overtaken(current) => {
            (State::Dead, format!("the account's nonce is {current} by now, and approvals of an earlier one are over"))
        }
        Never::PolicyUsed(policy) => {
            (State::Dead, format!("its policy {policy} has seen its id before, and takes none twice"))
        }
        Never::Tail => (State::Dead, "bytes stand behind its id, and the account takes no such approval".to_owned()),
        Never::EveryChain(kernel) => {
            (State::Dead, format!("it was signed for every chain, and Kernel {kernel} takes no such approval"))
        }
        Never::CannotInstall(fault) => (State::Dead, format!("it can never be enabled: {fault}")),
        Never::SelectorData => {
            (State::Dead, "it can never be enabled: the account cannot read which function it opens".to_owned())
        }
        Never::RefusesOperations => {
            (State::Dead, "it can never be enabled: its own flag refuses the operation that would do it".to_owned())
        }
        Never::Expired(until) => {
            return KeyStatus::new(State::Expired, format!("never enabled, and ended at {}", sentence::time(until)));
        }
    };
    match was_revoked {
        true => KeyStatus::new(State::Revoked, format!("revoked; {reason}")),
        false => KeyStatus::new(state, reason),
    }
}

/// What is over here is not over elsewhere.
fn of_every_chain(status: KeyStatus, outlook: Outlook) -> KeyStatus {
    let refused_everywhere = matches!(
        outlook,
        Outlook::Never(
            Never::EveryChain(_)
                | Never::Tail
                | Never::CannotInstall(_)
                | Never::SelectorData
                | Never::RefusesOperations
                | Never::Expired(_)
        )
    );
    if refused_everywhere {
        return status;
    }
    let state = if status.state == State::Revoked { State::Dead } else { status.state };
    KeyStatus::new(state, format!("{}; it was signed for every chain, and may be alive on the others", status.reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::kernel_v3::{
        approval::SelectorData,
        contracts::KernelVersion,
        permission_config::{PermissionConfig, PermissionFlag, Signer},
        policy::{PolicyFlag, rate_limit::RateLimit, timestamp::Timestamp},
    };
    use alloy::primitives::Bytes;

    const OWNER: Address = Address::repeat_byte(1);
    const NOW: u64 = 1_700_000_000;

    fn until(valid_after: u64, valid_until: u64) -> Policy {
        Policy::Timestamp { flag: PolicyFlag::default(), window: Timestamp { valid_after, valid_until } }
    }

    fn request(flag: [u8; 2], policies: Vec<Policy>) -> ApprovalRequest {
        let signer = Signer::Ecdsa(Address::repeat_byte(2));
        let config = PermissionConfig { flag: PermissionFlag(flag), signer, policies };
        ApprovalRequest {
            chain_id: Some(1),
            account: Address::repeat_byte(0xaa),
            kernel: KernelVersion::V3_3,
            validation_id: config.validation_id(),
            nonce: 1,
            hook: Address::ZERO,
            enable_data: config.enable_data(),
            hook_data: Bytes::new(),
            selector_data: SelectorData::plain(),
        }
    }

    fn known(request: &ApprovalRequest) -> KnownApproval<'_> {
        KnownApproval { owner: OWNER, request, is_signed: true, is_discovered: false, was_revoked: false }
    }

    fn told(request: &ApprovalRequest, snapshot: &Snapshot) -> KeyStatus {
        status(&known(request), Some(snapshot))
    }

    #[test]
    fn windows_and_counters_of_an_enabled_key_are_told_and_that_it_signs() {
        let turns = |count, start_at| Policy::RateLimit {
            flag: PolicyFlag::default(),
            limit: RateLimit { interval: 5, count, start_at },
        };
        for (policy, state) in [
            (until(0, 0), State::Active),
            (until(0, NOW + DAY), State::Active),
            (until(0, NOW + DAY - 1), State::Expiring),
            (until(0, NOW), State::Expiring),
            (until(0, NOW - 1), State::Expired),
            (until(NOW + 1, 0), State::NotYet),
            (turns(1, 0), State::Active),
            (turns(1, NOW + 1), State::NotYet),
            (turns(0, 0), State::Spent),
        ] {
            let request = request([0, 0], vec![policy.clone()]);
            let told = told(&request, &Snapshot::example(KernelVersion::V3_3).holding(&request));
            assert_eq!(told.state, state, "{policy:?}: {told:?}");
            let over = matches!(state, State::Expired | State::NotYet | State::Spent);
            assert_eq!(told.reason.contains("still signs"), over, "{told:?}");
        }
    }

    #[test]
    fn a_policy_that_is_not_asked_is_no_limit() {
        let flagged =
            Policy::Timestamp { flag: PolicyFlag([0, 1]), window: Timestamp { valid_after: 0, valid_until: NOW - 1 } };
        let request = request([0, 0], vec![flagged]);
        let snapshot = Snapshot::example(KernelVersion::V3_3);
        assert_eq!(told(&request, &snapshot).state, State::Pending);
        assert_eq!(told(&request, &snapshot.holding(&request)).state, State::Active);
    }

    #[test]
    fn a_key_that_can_neither_act_nor_sign_is_revoked_and_one_that_signs_is_not() {
        for (kernel, flag, state) in [
            (KernelVersion::V3_3, [0, 0], State::Revoked),
            (KernelVersion::V3_2, [0, 0], State::Active),
            (KernelVersion::V3_2, [0, 2], State::Revoked),
        ] {
            let request = request(flag, vec![]);
            let mut snapshot = Snapshot::example(kernel).holding(&request);
            (snapshot.current_nonce, snapshot.valid_from) = (4, 4);
            assert_eq!(told(&request, &snapshot).state, state, "{kernel} {flag:?}");
        }
    }

    #[test]
    fn a_key_whose_functions_are_not_all_known_may_act() {
        let request = request([0, 0], vec![]);
        let id = request.permission_id().unwrap();
        let mut snapshot = Snapshot::example(KernelVersion::V3_1).holding(&request);
        snapshot.keys.get_mut(&id).unwrap().allowed.clear();
        assert_eq!(told(&request, &snapshot).state, State::Paused);
        snapshot.keys.get_mut(&id).unwrap().all_selectors = false;
        assert!(snapshot.can_act(id));
        assert_eq!(told(&request, &snapshot).state, State::Active);
    }

    #[test]
    fn what_waits_is_pending_queued_stale_or_over() {
        let snapshot = Snapshot::example(KernelVersion::V3_3);
        let plain = request([0, 0], vec![]);
        let of = |change: &dyn Fn(&mut ApprovalRequest)| {
            let mut other = plain.clone();
            change(&mut other);
            told(&other, &snapshot).state
        };
        assert_eq!(of(&|_| {}), State::Pending);
        assert_eq!(of(&|r| r.nonce = 2), State::Queued);
        assert_eq!(of(&|r| r.kernel = KernelVersion::V3_2), State::Stale);
        assert_eq!(of(&|r| r.validation_id.0.0[20] = 1), State::Dead);
        assert_eq!(of(&|r| r.selector_data = Bytes::from_static(&[1, 2, 3])), State::Dead);
        assert_eq!(told(&request([0, 1], vec![]), &snapshot).state, State::Dead);
        assert_eq!(told(&request([0, 0], vec![until(0, 5), until(0, 5)]), &snapshot).state, State::Dead);
        assert_eq!(told(&request([0, 0], vec![until(0, 5)]), &snapshot).state, State::Expired);
        assert_eq!(told(&request([0, 0], vec![until(NOW + 9, 0)]), &snapshot).state, State::NotYet);
        let further = Snapshot { current_nonce: 2, ..snapshot.clone() };
        assert_eq!(told(&plain, &further).state, State::Dead);
        let invalidated = Snapshot { valid_from: 2, ..further };
        assert_eq!(told(&plain, &invalidated).state, State::Revoked);
    }

    #[test]
    fn a_policy_that_has_seen_the_id_ends_it_and_one_that_nobody_knows_does_not() {
        let stranger = Address::repeat_byte(9);
        let unknown = Policy::Unknown { flag: PolicyFlag::default(), address: stranger, data: Bytes::new() };
        for (policy, state) in [(until(0, 0), State::Dead), (unknown, State::Pending)] {
            let request = request([0, 0], vec![policy.clone()]);
            let mut snapshot = Snapshot::example(KernelVersion::V3_1);
            let id = request.permission_id().unwrap();
            let used = super::super::snapshot::PolicyState { status: Some(2), left: None };
            snapshot.keys.entry(id).or_default().states.insert(policy.address(), used);
            let request = ApprovalRequest { kernel: KernelVersion::V3_1, ..request };
            assert_eq!(told(&request, &snapshot).state, state);
        }
    }

    #[test]
    fn what_was_signed_for_every_chain_is_never_said_to_be_revoked() {
        let every = ApprovalRequest { chain_id: None, ..request([0, 0], vec![]) };
        let mut snapshot = Snapshot::example(KernelVersion::V3_3);
        assert!(told(&every, &snapshot).reason.contains("every chain"));
        (snapshot.current_nonce, snapshot.valid_from) = (4, 4);
        let over = told(&every, &snapshot);
        assert_eq!((over.state, over.reason.contains("alive on the others")), (State::Dead, true));
        let older = ApprovalRequest { kernel: KernelVersion::V3_1, ..every };
        let told = told(&older, &Snapshot::example(KernelVersion::V3_1));
        assert_eq!((told.state, told.reason.contains("alive on the others")), (State::Dead, false));
    }

    #[test]
    fn drafts_and_what_only_the_chain_told_of_are_not_called_pending() {
        let request = request([0, 0], vec![]);
        let snapshot = Snapshot::example(KernelVersion::V3_3);
        let draft = KnownApproval { is_signed: false, ..known(&request) };
        assert_eq!(status(&draft, Some(&snapshot)).state, State::Draft);
        assert_eq!(status(&draft, None).state, State::Draft);
        assert_eq!(status(&known(&request), None).state, State::Unknown);
        let found = KnownApproval { is_discovered: true, ..draft };
        assert_eq!(status(&found, Some(&snapshot)).state, State::Unknown);
        assert_eq!(status(&found, Some(&snapshot.holding(&request))).state, State::Active);
    }

    #[test]
    fn another_root_decides_which_signatures_count() {
        let request = request([0, 0], vec![]);
        let mut snapshot = Snapshot::example(KernelVersion::V3_3);
        let other = KnownApproval { owner: Address::repeat_byte(7), ..known(&request) };
        assert_eq!(status(&other, Some(&snapshot)).state, State::Stale);
        // Of a root that nobody knows, the worst is taken.
        snapshot.root = Some(super::super::nonce::ValidationId::of_validator(Address::repeat_byte(8)));
        assert_eq!(status(&other, Some(&snapshot)).state, State::Pending);
    }
}

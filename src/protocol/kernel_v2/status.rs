//! What a snapshot of the account makes of an approval.

use std::collections::BTreeMap;

use alloy::primitives::Address;

use super::{
    approval::ApprovalRequest,
    generation::{ECDSA_VALIDATOR, Generation},
    revocation::Nonces,
    snapshot::Snapshot,
};
use crate::{
    policy::{scope::Scope, sentence},
    protocol::status::{DRAFT, KeyStatus, State},
};

const DAY: u64 = 24 * 60 * 60;

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
    /// `None` where only a part of the permissions is known.
    pub scope: Option<&'a Scope>,
}

/// Who has which approval nonce of an account, by the approvals on record: who a queued one waits for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Queue(BTreeMap<(Generation, u128), String>);

impl Queue {
    pub fn add(&mut self, request: &ApprovalRequest, label: String) {
        self.0.insert((request.validator, request.enable.nonce), label);
    }

    pub fn label(&self, generation: Generation, nonce: u128) -> Option<&str> {
        self.0.get(&(generation, nonce)).map(String::as_str)
    }
}

/// Whether an approval whose nonce is used could be enabled again. G1 and G2 let the account set its nonces back, but never to
/// what was invalidated.
pub const fn may_return(generation: Generation, nonce: u128, invalid: u128) -> bool {
    generation.sweep_can_rewind() && nonce > invalid
}

/// The status of one approval. `snapshot` is `None` where there is no chain to ask.
pub fn status(approval: &KnownApproval<'_>, snapshot: Option<&Snapshot>, queue: &Queue) -> KeyStatus {
    let held = snapshot.is_some_and(|p| p.holds(approval.request.validator, &approval.request.enable));
    if !approval.is_signed && !held {
        if approval.is_discovered && snapshot.is_none() {
            return KeyStatus::new(State::Unknown, "no chain was asked");
        }
        let over = snapshot.is_some_and(|p| approval.request.enable.nonce <= p.nonces(approval.request.validator).last);
        return match over {
            true => past(approval, snapshot.map(|p| p.nonces(approval.request.validator)).unwrap_or_default()),
            false if approval.is_discovered => KeyStatus::new(
                State::Unknown,
                format!(
                    "the chain does not hold it any more, and its nonce {} is free again: if an approval of it was signed, \
                     that can be used",
                    approval.request.enable.nonce
                ),
            ),
            false => KeyStatus::new(State::Draft, format!("not signed here yet. {DRAFT}")),
        };
    }
    let Some(snapshot) = snapshot else {
        return KeyStatus::new(State::Unknown, "no chain was asked");
    };
    let enable = &approval.request.enable;
    let nonces = snapshot.nonces(approval.request.validator);
    if snapshot.holds(approval.request.validator, enable) {
        if enable.nonce <= nonces.invalid {
            return KeyStatus::new(
                State::Revoked,
                format!("the chain holds it, but every approval through nonce {} was invalidated", nonces.invalid),
            );
        }
        return enabled(approval, snapshot);
    }
    if enable.nonce <= nonces.last.max(nonces.invalid) {
        return past(approval, nonces);
    }
    waiting(approval, snapshot, nonces, queue)
}

/// On chain and not invalidated: what the window, the counters and the account's switches make of it.
fn enabled(approval: &KnownApproval<'_>, snapshot: &Snapshot) -> KeyStatus {
    let enable = &approval.request.enable;
    let now = snapshot.timestamp;
    if let Some(expired) = expired(enable.valid_until, now) {
        return expired;
    }
    if snapshot.disabled_mode & 1 != 0 {
        return KeyStatus::new(State::Paused, "the account is paused; the key works again once it is unpaused");
    }
    match snapshot.route(approval.request.selector) {
        Some(route) if route.validator == approval.request.validator.address() => {}
        Some(route) => {
            return KeyStatus::new(
                State::Paused,
                format!(
                    "the account routes session keys to another validator now ({}); the key works again if that is undone",
                    route.validator
                ),
            );
        }
        None => {
            return KeyStatus::new(
                State::Paused,
                "the account routes session keys to no validator; the key works again if that is undone",
            );
        }
    }
    if now < enable.valid_after {
        return KeyStatus::new(State::NotYet, format!("starts at {}", sentence::time(enable.valid_after)));
    }
    if spent(approval, snapshot) {
        return KeyStatus::new(State::Spent, "every permission has used up its runs");
    }
    if enable.valid_until != 0 && enable.valid_until - now < DAY {
        return KeyStatus::new(
            State::Expiring,
            format!("ends at {}, in less than a day", sentence::time(enable.valid_until)),
        );
    }
    let until = if enable.valid_until == 0 {
        "never expires".to_owned()
    } else {
        format!("until {}", sentence::time(enable.valid_until))
    };
    KeyStatus::new(State::Active, format!("enabled on chain, {until}"))
}

fn expired(valid_until: u64, now: u64) -> Option<KeyStatus> {
    (valid_until != 0 && now > valid_until)
        .then(|| KeyStatus::new(State::Expired, format!("ended at {}", sentence::time(valid_until))))
}

fn spent(approval: &KnownApproval<'_>, snapshot: &Snapshot) -> bool {
    let Some(scope) = approval.scope else { return false };
    let permissions = &scope.permissions;
    !permissions.is_empty()
        && permissions.iter().all(|p| {
            let limit = p.execution_rule.runs;
            limit > 0
                && snapshot
                    .statuses
                    .get(&(approval.request.validator, approval.request.enable.nonce, p.index))
                    .is_some_and(|status| status.runs >= limit)
        })
}

/// Its nonce is used and the chain does not hold it.
fn past(approval: &KnownApproval<'_>, nonces: Nonces) -> KeyStatus {
    let enable = &approval.request.enable;
    if approval.was_revoked {
        let unless = match may_return(approval.request.validator, enable.nonce, nonces.invalid) {
            true => "cannot be used again unless the owner sets nonces back",
            false => "can never be used again",
        };
        KeyStatus::new(State::Revoked, format!("revoked; nonce {} {unless}", enable.nonce))
    } else if enable.nonce > nonces.last {
        // No other approval took its nonce: only the owner's invalidation ended it.
        KeyStatus::new(
            State::Revoked,
            format!("never enabled, and every approval through nonce {} was invalidated", nonces.invalid),
        )
    } else {
        KeyStatus::new(
            State::Dead,
            format!(
                "nonce {} is already used (account nonce {}) and this approval is not enabled: it was revoked elsewhere, \
                 replaced, or lost its nonce to another approval",
                enable.nonce, nonces.last
            ),
        )
    }
}

/// Signed, never enabled, and its nonce may still come.
fn waiting(approval: &KnownApproval<'_>, snapshot: &Snapshot, nonces: Nonces, queue: &Queue) -> KeyStatus {
    let enable = &approval.request.enable;
    // Another default validator decides which signatures count, and may take this one.
    let owner_decides = snapshot.default_validator.is_none_or(|validator| validator == ECDSA_VALIDATOR);
    if let Some(owner) = snapshot.owner.filter(|owner| owner_decides && *owner != approval.owner) {
        return KeyStatus::new(
            State::Stale,
            format!("the account's owner is {owner} now; the signature of {} does not count", approval.owner),
        );
    }
    if let Some(kernel) = snapshot.kernel.filter(|kernel| owner_decides && *kernel != approval.request.kernel) {
        return KeyStatus::new(
            State::Stale,
            format!("it was signed for Kernel {}, and the account runs {kernel}", approval.request.kernel),
        );
    }
    if let Some(expired) = expired(enable.valid_until, snapshot.timestamp) {
        return expired;
    }
    if snapshot.disabled_mode & 2 != 0 {
        return KeyStatus::new(State::Paused, "the account is paused; the approval can be enabled once it is unpaused");
    }
    let next = nonces.last.saturating_add(1);
    if enable.nonce == next && snapshot.timestamp < enable.valid_after {
        return KeyStatus::new(
            State::NotYet,
            format!("signed and not used yet; starts at {}", sentence::time(enable.valid_after)),
        );
    }
    if enable.nonce == next {
        return KeyStatus::new(State::Pending, "signed and not used yet; its holder can enable it with the first call");
    }
    let first = queue.label(approval.request.validator, next).map_or_else(
        || format!("nonce {next}, which no approval on record has"),
        |label| format!("{label} (nonce {next})"),
    );
    KeyStatus::new(
        State::Queued,
        format!("nonce {} is queued behind {first}: enable or revoke that one first", enable.nonce),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k6_only_an_invalidated_nonce_is_over_for_good_where_nonces_can_be_set_back() {
        assert!(may_return(Generation::G1, 3, 0) && may_return(Generation::G2, 3, 2));
        assert!(!may_return(Generation::G2, 3, 3));
        assert!(!may_return(Generation::G3, 3, 0));
    }
}

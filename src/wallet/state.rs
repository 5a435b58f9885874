//! The state of a key (docs/glossary.md#states-of-a-key): one word, and a sentence that says why. Pure, from records and a picture of the account.

use std::collections::BTreeMap;

use alloy::primitives::{Address, Selector, U256};
use serde::Serialize;

use super::{
    model::{ApprovalRecord, Key, Origin},
    proof::may_return,
};
use crate::{
    policy::sentence,
    protocol::kernel_v2::{
        approval::EnableData,
        generation::{Generation, KernelVersion},
        judge::{ExecutionStatus, Window},
        revocation::Nonces,
    },
};

/// What holds for every draft, in the same words wherever one is shown, planned for or taken off the list.
pub const DRAFT: &str = "A draft may have been signed elsewhere, so it can be revoked like a key that is signed";

/// One consistent picture of an account, as of one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    pub block: u64,
    /// Block time, unix seconds.
    pub timestamp: u64,
    pub deployed: bool,
    pub implementation: Option<Address>,
    /// What the account runs, or would be deployed with.
    pub kernel: Option<KernelVersion>,
    pub owner: Option<Address>,
    /// Who decides over what the owner signs; the ECDSAValidator for an owner with a plain key. `None` before deployment.
    pub default_validator: Option<Address>,
    /// Whether the account's own code is the proxy that the known factory makes.
    pub known_proxy: bool,
    /// Wei.
    pub balance: U256,
    /// Wei at the EntryPoint.
    pub deposit: U256,
    pub disabled_mode: u32,
    pub routes: BTreeMap<Selector, Route>,
    pub nonces: BTreeMap<Generation, Nonces>,
    pub sessions: BTreeMap<(Generation, Address), EnableData>,
    pub statuses: BTreeMap<(Generation, u128, u32), ExecutionStatus>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Route {
    pub validator: Address,
    /// Code that runs in the account's name when the function is called; zero for the account's own functions.
    pub executor: Address,
    pub window: Window,
}

impl Picture {
    pub fn nonces(&self, generation: Generation) -> Nonces {
        self.nonces.get(&generation).copied().unwrap_or_default()
    }

    /// Which validator the account sends this function's session operations to; `None` = to none.
    pub fn route(&self, selector: Selector) -> Option<Route> {
        self.routes.get(&selector).copied().filter(|r| !r.validator.is_zero())
    }

    /// Whether the chain holds exactly this approval for its key.
    pub fn holds(&self, generation: Generation, enable: &EnableData) -> bool {
        self.sessions.get(&(generation, enable.session_key)) == Some(enable)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    Draft,
    Pending,
    Queued,
    Active,
    NotYet,
    Expiring,
    Expired,
    Spent,
    Paused,
    Revoked,
    Dead,
    Stale,
    Unknown,
    /// The record does not verify: what it says is not to be relied on.
    Damaged,
}

impl State {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Pending => "pending",
            Self::Queued => "queued",
            Self::Active => "active",
            Self::NotYet => "not-yet",
            Self::Expiring => "expiring",
            Self::Expired => "expired",
            Self::Spent => "spent",
            Self::Paused => "paused",
            Self::Revoked => "revoked",
            Self::Dead => "dead",
            Self::Stale => "stale",
            Self::Unknown => "unknown",
            Self::Damaged => "damaged",
        }
    }

    /// Whether the key can act, or could without the owner doing anything more. Nobody knows it of a damaged record: treat as live.
    pub const fn may_act(self) -> bool {
        matches!(
            self,
            Self::Pending
                | Self::Queued
                | Self::Active
                | Self::NotYet
                | Self::Expiring
                | Self::Paused
                | Self::Spent
                | Self::Damaged
        )
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// A state and the sentence that says why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    pub state: State,
    pub reason: String,
}

/// Of a record that does not verify.
pub fn damaged(why: &str) -> Standing {
    standing(
        State::Damaged,
        format!("the record does not verify: {why}. Treat the key as live; restore the records from a backup"),
    )
}

fn standing(state: State, reason: impl Into<String>) -> Standing {
    Standing { state, reason: reason.into() }
}

/// The label and nonce of every approval of the account on record: who a queued one waits for.
pub type Turns<'a> = BTreeMap<u128, &'a str>;

const DAY: u64 = 24 * 60 * 60;

/// The standing of one approval. `picture` is `None` where there is no chain to ask.
pub fn of_approval(key: &Key, approval: &ApprovalRecord, picture: Option<&Picture>, turns: &Turns<'_>) -> Standing {
    let standing = without_alarm(key, approval, picture, turns);
    match picture.filter(|_| key.revoked_at.is_some()).and_then(|_| can_return(key, approval, &standing)) {
        Some(reason) => Standing { reason: format!("{reason}; {}", standing.reason), ..standing },
        None => standing,
    }
}

/// R37: what was revoked can act again, or be enabled again.
fn can_return(key: &Key, approval: &ApprovalRecord, standing: &Standing) -> Option<String> {
    let may_come = matches!(standing.state, State::Unknown | State::Draft) || standing.state.may_act();
    (key.revoked_at.is_some() && may_come).then(|| {
        format!("it was revoked and can come back: nonce {} was set free again; revoke it again", approval.nonce())
    })
}

/// The alarm about a key that was revoked and can act again; `None` where all is well, or no chain was asked.
pub fn alarm(key: &Key, approvals: &[ApprovalRecord], picture: Option<&Picture>, turns: &Turns<'_>) -> Option<Alarm> {
    let picture = picture?;
    let back = |a: &&ApprovalRecord| can_return(key, a, &without_alarm(key, a, Some(picture), turns)).is_some();
    let approval = approvals.iter().find(back)?;
    Some(Alarm {
        id: "R37",
        code: "revoked_can_return",
        message: format!(
            "R37: {} was revoked and can come back: its nonce {} is free or enabled again (another tool set the nonces back); \
             revoke it again",
            key.label,
            approval.nonce()
        ),
    })
}

/// Something about a key that its owner must look at now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alarm {
    /// Of the rule (docs/risks.md).
    pub id: &'static str,
    pub code: &'static str,
    pub message: String,
}

fn without_alarm(key: &Key, approval: &ApprovalRecord, picture: Option<&Picture>, turns: &Turns<'_>) -> Standing {
    let held = picture.is_some_and(|p| p.holds(key.generation, &approval.request.enable));
    if approval.signature.is_none() && !held {
        if key.origin == Origin::Discovered && picture.is_none() {
            return standing(State::Unknown, "no chain was asked");
        }
        let over = picture.is_some_and(|p| approval.nonce() <= p.nonces(key.generation).last);
        return match over {
            true => past(key, &approval.request.enable, picture.map(|p| p.nonces(key.generation)).unwrap_or_default()),
            false if key.origin == Origin::Discovered => standing(
                State::Unknown,
                format!(
                    "the chain does not hold it any more, and its turn {} is free again: if an approval of it was signed, \
                     that can be used",
                    approval.nonce()
                ),
            ),
            false => standing(State::Draft, format!("not signed here yet. {DRAFT}")),
        };
    }
    let Some(picture) = picture else {
        return standing(State::Unknown, "no chain was asked");
    };
    let enable = &approval.request.enable;
    let nonces = picture.nonces(key.generation);
    if picture.holds(key.generation, enable) {
        if enable.nonce <= nonces.invalid {
            return standing(
                State::Revoked,
                format!("the chain holds it, but every approval up to turn {} was invalidated", nonces.invalid),
            );
        }
        return enabled(key, approval, picture);
    }
    if enable.nonce <= nonces.last.max(nonces.invalid) {
        return past(key, enable, nonces);
    }
    waiting(key, approval, picture, nonces, turns)
}

/// On chain and not invalidated: what the window, the counters and the account's switches make of it.
fn enabled(key: &Key, approval: &ApprovalRecord, picture: &Picture) -> Standing {
    let enable = &approval.request.enable;
    let now = picture.timestamp;
    if let Some(expired) = expired(enable.valid_until, now) {
        return expired;
    }
    if picture.disabled_mode & 1 != 0 {
        return standing(State::Paused, "the account's panic switch is on; the key comes back when it is lifted");
    }
    match picture.route(approval.selector()) {
        Some(route) if route.validator == key.generation.address() => {}
        Some(route) => {
            return standing(
                State::Paused,
                format!(
                    "the account sends session keys to another validator now ({}); the key comes back if that is undone",
                    route.validator
                ),
            );
        }
        None => {
            return standing(
                State::Paused,
                "the account sends session keys to no validator; the key comes back if that is undone",
            );
        }
    }
    if now < enable.valid_after {
        return standing(State::NotYet, format!("starts at {}", sentence::time(enable.valid_after)));
    }
    if spent(key, enable.nonce, picture) {
        return standing(State::Spent, "every permission has used up its runs");
    }
    if enable.valid_until != 0 && enable.valid_until - now < DAY {
        return standing(
            State::Expiring,
            format!("ends at {}, in less than a day", sentence::time(enable.valid_until)),
        );
    }
    let until = if enable.valid_until == 0 {
        "never expires".to_owned()
    } else {
        format!("until {}", sentence::time(enable.valid_until))
    };
    standing(State::Active, format!("enabled on chain, {until}"))
}

fn expired(valid_until: u64, now: u64) -> Option<Standing> {
    (valid_until != 0 && now > valid_until)
        .then(|| standing(State::Expired, format!("ended at {}", sentence::time(valid_until))))
}

fn spent(key: &Key, nonce: u128, picture: &Picture) -> bool {
    let permissions = &key.scope.permissions;
    key.partial.is_none()
        && !permissions.is_empty()
        && permissions.iter().all(|p| {
            let limit = p.execution_rule.runs;
            limit > 0
                && picture.statuses.get(&(key.generation, nonce, p.index)).is_some_and(|status| status.runs >= limit)
        })
}

/// Its turn is over and the chain does not hold it.
fn past(key: &Key, enable: &EnableData, nonces: Nonces) -> Standing {
    if key.revoked_at.is_some() {
        let unless = match may_return(key.generation, enable.nonce, nonces.invalid) {
            true => "cannot be used again unless the owner sets nonces back",
            false => "can never be used again",
        };
        standing(State::Revoked, format!("revoked; nonce {} {unless}", enable.nonce))
    } else if enable.nonce > nonces.last {
        // No other approval took its turn: only the owner's invalidation ended it.
        standing(
            State::Revoked,
            format!("never enabled, and every approval up to turn {} was invalidated", nonces.invalid),
        )
    } else {
        standing(
            State::Dead,
            format!(
                "turn {} is over (the account is at {}) and the chain does not hold this approval: it was taken back \
                 elsewhere, replaced, or its turn went to another",
                enable.nonce, nonces.last
            ),
        )
    }
}

/// Signed, never enabled, and its turn may still come.
fn waiting(key: &Key, approval: &ApprovalRecord, picture: &Picture, nonces: Nonces, turns: &Turns<'_>) -> Standing {
    let enable = &approval.request.enable;
    if let Some(owner) = picture.owner.filter(|owner| *owner != key.owner) {
        return standing(
            State::Stale,
            format!("the account's owner is {owner} now; the signature of {} does not count", key.owner),
        );
    }
    if let Some(kernel) = picture.kernel.filter(|kernel| *kernel != approval.request.kernel) {
        return standing(
            State::Stale,
            format!("it was signed for Kernel {}, and the account runs {kernel}", approval.request.kernel),
        );
    }
    if let Some(expired) = expired(enable.valid_until, picture.timestamp) {
        return expired;
    }
    if picture.disabled_mode & 2 != 0 {
        return standing(
            State::Paused,
            "the account's panic switch is on; the approval can be enabled when it is lifted",
        );
    }
    let next = nonces.last.saturating_add(1);
    if enable.nonce == next && picture.timestamp < enable.valid_after {
        return standing(
            State::NotYet,
            format!("signed and not used yet; starts at {}", sentence::time(enable.valid_after)),
        );
    }
    if enable.nonce == next {
        return standing(State::Pending, "signed and not used yet; its holder can enable it with the first call");
    }
    let first = turns
        .get(&next)
        .map_or_else(|| format!("turn {next}, which nobody on record holds"), |label| format!("{label} (turn {next})"));
    standing(State::Queued, format!("turn {}: waits for {first}; enable that one first, or take it back", enable.nonce))
}

/// The standing of a key with all its approvals: the one that matters most.
pub fn of_key(key: &Key, approvals: &[ApprovalRecord], picture: Option<&Picture>, turns: &Turns<'_>) -> Standing {
    const WEIGHT: [State; 14] = [
        State::Damaged,
        State::Active,
        State::Expiring,
        State::NotYet,
        State::Paused,
        State::Spent,
        State::Pending,
        State::Queued,
        State::Draft,
        State::Unknown,
        State::Expired,
        State::Stale,
        State::Revoked,
        State::Dead,
    ];
    approvals
        .iter()
        .map(|a| of_approval(key, a, picture, turns))
        .min_by_key(|s| WEIGHT.iter().position(|w| *w == s.state))
        .unwrap_or_else(|| standing(State::Unknown, "there is no approval on record"))
}

#[cfg(test)]
mod tests;

//! The state of a key: one word, and a sentence that says why. The words that every family answers in.

use std::fmt;

use serde::Serialize;

/// What holds for every draft, in the same words wherever one is shown, planned for or taken off the list.
pub const DRAFT: &str = "A draft may have been signed elsewhere, so it can be revoked like a key that is signed";

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

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A state and the sentence that says why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyStatus {
    pub state: State,
    pub reason: String,
}

impl KeyStatus {
    pub fn new(state: State, reason: impl Into<String>) -> Self {
        Self { state, reason: reason.into() }
    }

    /// Of several approvals of one key: the one that matters most.
    pub fn of_key(approvals: impl IntoIterator<Item = Self>) -> Self {
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
            .into_iter()
            .min_by_key(|status| WEIGHT.iter().position(|state| *state == status.state))
            .unwrap_or_else(|| Self::new(State::Unknown, "there is no approval on record"))
    }
}

/// The code of the finding that every session key is stopped.
pub const PAUSED: &str = "paused";

/// Something that the owner should know about the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Of the rule (docs/risks.md), where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'static str>,
    pub code: &'static str,
    pub message: String,
}

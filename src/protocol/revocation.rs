//! Revoking, in the words that every family answers in: what an owner asks for, the plan for it, and what must hold afterwards.

use std::collections::BTreeSet;

use alloy::primitives::Address;

use super::{ApprovalId, Call, Step};

/// What an owner asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RevokeTarget {
    /// End these, and leave the others alone as far as that can be done.
    These(BTreeSet<ApprovalId>),
    /// End everything, also what is enabled and not known.
    All,
    /// End everything but these, and unpause the account.
    UnpauseKeeping(BTreeSet<ApprovalId>),
}

/// Calls in their order, what each does, and what they come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationPlan {
    pub calls: Vec<Call>,
    pub steps: Vec<Step>,
    /// Asked for, and ended by this plan.
    pub ends: BTreeSet<ApprovalId>,
    /// Not asked for, and ended all the same.
    pub also_ends: BTreeSet<ApprovalId>,
    /// Asked for, and without power already: nothing is done for them.
    pub over: BTreeSet<ApprovalId>,
    /// What else comes of it, in sentences: what comes alive, what cannot be granted again.
    pub warnings: Vec<String>,
}

/// Why there is no right plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("nonce {nonce} is too far ahead of the account's nonce {last}")]
    TooFar { nonce: u128, last: u128 },
    #[error("the account has no approval nonces left on this validator")]
    NoNoncesLeft,
    /// Only one of them can be enabled, and it is not ours to say which.
    #[error("several approvals share nonce {nonce}, which has to be used first")]
    Contested { nonce: u128, claims: Vec<ApprovalId> },
    #[error("an approval with a lower nonce cannot be enabled without silencing or replacing another key")]
    CannotKeep { claim: ApprovalId },
    #[error("{why}")]
    NotUnderstood { why: String },
}

/// An approval, or what the chain holds for a key, in one state of the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    pub id: ApprovalId,
    /// The session key.
    pub holder: Address,
    /// The contract that holds it, or would.
    pub module: Address,
    /// Why its holder can act, now or later, without the owner doing anything more; `None` where it cannot.
    pub acts: Option<String>,
    /// Its window is over.
    pub ran_out: bool,
}

/// What of a plan that was mined does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unmet {
    /// What should be invalid is not.
    NotInvalid(String),
    StillPaused,
}

/// What the approvals are called: an approval may be on record for several keys.
pub type Names<'a> = [(ApprovalId, &'a str)];

/// What these approvals are called, each name once, in the order of the names.
pub fn labels(names: &Names<'_>, approvals: impl IntoIterator<Item = ApprovalId>) -> Vec<String> {
    let approvals: BTreeSet<ApprovalId> = approvals.into_iter().collect();
    let mut labels: Vec<String> = Vec::new();
    for (_, label) in names.iter().filter(|(id, _)| approvals.contains(id)) {
        if !labels.iter().any(|known| known == label) {
            labels.push((*label).to_owned());
        }
    }
    labels
}

//! The status of a key on record (docs/glossary.md#states-of-a-key): what its family says of its approvals, and the alarm about
//! one that came back.

use serde::Serialize;

use super::records::model::{ApprovalRecord, Key, Origin};
use crate::protocol::family::{
    snapshot::Snapshot,
    status::{self, KnownApproval, Queue},
};
pub use crate::protocol::status::{DRAFT, KeyStatus, State};

/// Of a record that does not verify.
pub fn damaged(why: &str) -> KeyStatus {
    KeyStatus::new(
        State::Damaged,
        format!("the record does not verify: {why}. Treat the key as live; restore the records from a backup"),
    )
}

/// The standing of one approval. `picture` is `None` where there is no chain to ask.
pub fn of_approval(key: &Key, approval: &ApprovalRecord, picture: Option<&Snapshot>, queue: &Queue) -> KeyStatus {
    let standing = of_record(key, approval, picture, queue);
    match picture.filter(|_| key.revoked_at.is_some()).and_then(|_| can_return(key, approval, &standing)) {
        Some(reason) => KeyStatus { reason: format!("{reason}; {}", standing.reason), ..standing },
        None => standing,
    }
}

/// R37: what was revoked can act again, or be enabled again.
fn can_return(key: &Key, approval: &ApprovalRecord, standing: &KeyStatus) -> Option<String> {
    let may_come = matches!(standing.state, State::Unknown | State::Draft) || standing.state.may_act();
    (key.revoked_at.is_some() && may_come).then(|| {
        format!("it was revoked and can come back: nonce {} was set free again; revoke it again", approval.nonce())
    })
}

/// The alarm about a key that was revoked and can act again; `None` where all is well, or no chain was asked.
pub fn alarm(key: &Key, approvals: &[ApprovalRecord], picture: Option<&Snapshot>, queue: &Queue) -> Option<Alarm> {
    let picture = picture?;
    let back = |a: &&ApprovalRecord| can_return(key, a, &of_record(key, a, Some(picture), queue)).is_some();
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

fn of_record(key: &Key, approval: &ApprovalRecord, picture: Option<&Snapshot>, queue: &Queue) -> KeyStatus {
    let known = KnownApproval {
        owner: key.owner,
        request: &approval.request,
        is_signed: approval.signature.is_some(),
        is_discovered: key.origin == Origin::Discovered,
        was_revoked: key.revoked_at.is_some(),
        scope: key.partial.is_none().then_some(&key.scope),
    };
    status::status(&known, picture, queue)
}

/// The status of a key with all its approvals.
pub fn of_key(key: &Key, approvals: &[ApprovalRecord], picture: Option<&Snapshot>, queue: &Queue) -> KeyStatus {
    KeyStatus::of_key(approvals.iter().map(|a| of_approval(key, a, picture, queue)))
}

#[cfg(test)]
mod tests;

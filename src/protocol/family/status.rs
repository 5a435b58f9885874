//! What a family says of approvals on record, by a snapshot of their account.

use alloy::primitives::Address;

use super::{
    account::{Seed, Version},
    approval::ApprovalRequest,
    snapshot::Snapshot,
};
use crate::{
    policy::scope::Scope,
    protocol::{
        kernel_v2::{discrepancy, status as kernel_v2},
        status::{Difference, KeyStatus},
    },
};

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
pub struct Queue {
    pub(super) kernel_v2: kernel_v2::Queue,
}

impl Queue {
    pub fn add(&mut self, request: &ApprovalRequest, label: String) {
        match request {
            ApprovalRequest::KernelV2(request) => self.kernel_v2.add(request, label),
        }
    }
}

/// The status of one approval. `snapshot` is `None` where there is no chain to ask.
pub fn status(approval: &KnownApproval<'_>, snapshot: Option<&Snapshot>, queue: &Queue) -> KeyStatus {
    let KnownApproval { owner, request, is_signed, is_discovered, was_revoked, scope } = *approval;
    match request {
        ApprovalRequest::KernelV2(request) => {
            let known = kernel_v2::KnownApproval { owner, request, is_signed, is_discovered, was_revoked, scope };
            let snapshot = snapshot.map(|Snapshot::KernelV2(snapshot)| snapshot);
            kernel_v2::status(&known, snapshot, &queue.kernel_v2)
        }
    }
}

/// What is on record of an account.
#[derive(Debug, Clone, Copy)]
pub struct OnRecord<'a> {
    pub name: &'a str,
    pub owner: Address,
    pub seed: Option<Seed>,
    pub version: Version,
    pub approvals: &'a [&'a ApprovalRequest],
    /// Whether its history was read: then what used a nonce was looked for.
    pub scanned: bool,
}

fn of_kernel_v2<'a>(
    approvals: &[&'a ApprovalRequest],
) -> Vec<&'a crate::protocol::kernel_v2::approval::ApprovalRequest> {
    approvals.iter().map(|ApprovalRequest::KernelV2(request)| request).collect()
}

/// What the chain says that our records do not, or the other way round.
pub fn differences(on_record: &OnRecord<'_>, snapshot: &Snapshot) -> Vec<Difference> {
    let OnRecord { name, owner, seed, version: Version::KernelV2(kernel), approvals, scanned } = *on_record;
    let Snapshot::KernelV2(snapshot) = snapshot;
    let approvals = of_kernel_v2(approvals);
    let seed = seed.map(Into::into);
    let on_record = discrepancy::OnRecord { name, owner, seed, kernel, approvals: &approvals, scanned };
    discrepancy::differences(&on_record, snapshot)
}

/// What used nonces that no approval on record has, in words; `None` where nothing did.
pub fn unexplained(approvals: &[&ApprovalRequest], snapshot: &Snapshot) -> Option<String> {
    let Snapshot::KernelV2(snapshot) = snapshot;
    discrepancy::unexplained(&of_kernel_v2(approvals), snapshot)
}

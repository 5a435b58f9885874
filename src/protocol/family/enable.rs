//! The owner enables what is signed, on any family.

use alloy::primitives::{Address, Bytes};

use super::{approval::ApprovalRequest, snapshot::Snapshot, status::Queue};
use crate::protocol::{Call, Step, kernel_v2::enable as kernel_v2};

pub use kernel_v2::EnableRefusal;

/// An approval that can be enabled, now or later.
#[derive(Debug, Clone, Copy)]
pub struct Waiting<'a> {
    pub label: &'a str,
    pub request: &'a ApprovalRequest,
    pub signature: Option<&'a Bytes>,
}

/// The calls that enable these approvals, and what each does.
pub fn plan_enable(
    account: Address,
    owner: Address,
    waiting: &[Waiting<'_>],
    queue: &Queue,
    snapshot: &Snapshot,
) -> Result<(Vec<Call>, Vec<Step>), EnableRefusal> {
    let Snapshot::KernelV2(snapshot) = snapshot;
    let waiting: Vec<kernel_v2::Waiting<'_>> = waiting
        .iter()
        .map(|one| {
            let ApprovalRequest::KernelV2(request) = one.request;
            kernel_v2::Waiting { label: one.label, request, signature: one.signature }
        })
        .collect();
    kernel_v2::plan_enable(account, owner, &waiting, &queue.kernel_v2, snapshot)
}

//! The owner enables what is signed, on any family.

use alloy::primitives::{Address, Bytes};

use super::{approval::ApprovalRequest, snapshot::Snapshot, status::Queue};
use crate::protocol::{Call, Step, kernel_v2::enable as kernel_v2, toy};

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
    // What is for another account's family is nothing that this account takes.
    let foreign = |one: &Waiting<'_>| EnableRefusal::Signature(one.label.to_owned());
    let snapshot = match snapshot {
        Snapshot::KernelV2(snapshot) => snapshot,
        Snapshot::Toy(_) => {
            let requests = waiting.iter().map(|one| match one.request {
                ApprovalRequest::Toy(request) => Ok(request),
                ApprovalRequest::KernelV2(_) => Err(foreign(one)),
            });
            return Ok(toy::plan_enable(account, &requests.collect::<Result<Vec<_>, _>>()?));
        }
    };
    let waiting = waiting
        .iter()
        .map(|one| match one.request {
            ApprovalRequest::KernelV2(request) => {
                Ok(kernel_v2::Waiting { label: one.label, request, signature: one.signature })
            }
            ApprovalRequest::Toy(_) => Err(foreign(one)),
        })
        .collect::<Result<Vec<_>, _>>()?;
    kernel_v2::plan_enable(account, owner, &waiting, &queue.kernel_v2, snapshot)
}

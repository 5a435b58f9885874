//! From a scope to the approvals that its owner signs, on any family.

use alloy::primitives::{Address, Bytes, Selector};

use super::{
    Validator,
    account::{AccountFunction, Version},
    approval::ApprovalRequest,
    snapshot::Snapshot,
};
use crate::{
    policy::{risk::Finding, scope::Scope},
    protocol::kernel_v2::grant as kernel_v2,
};

pub use kernel_v2::{NoNonces, OtherKey};

/// For whom an approval is, and what it opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApprovalPlan {
    KernelV2(kernel_v2::ApprovalPlan),
}

/// An approval on record that may have taken a nonce.
pub type Taken<'a> = (&'a ApprovalRequest, Option<&'a Bytes>);

/// The validator that session keys are sent to already, else the default; `Err` is one whose code is not there, or is not the known one.
pub fn choose_validator(exactly: Option<Validator>, snapshot: &Snapshot) -> Result<Validator, Validator> {
    let Snapshot::KernelV2(snapshot) = snapshot;
    let exactly = exactly.map(|Validator::KernelV2(generation)| generation);
    kernel_v2::choose_validator(exactly, snapshot).map(Validator::from).map_err(Validator::from)
}

impl ApprovalPlan {
    /// For the functions that need an approval, of those that are wanted.
    pub fn new(
        place: (u64, Address),
        session_key: Address,
        (validator, version): (Validator, Version),
        wanted: &[AccountFunction],
        snapshot: &Snapshot,
    ) -> Self {
        let (Version::KernelV2(kernel), Snapshot::KernelV2(snapshot)) = (version, snapshot);
        let Validator::KernelV2(generation) = validator;
        let wanted: Vec<Selector> = wanted.iter().map(|function| version.family().selector_of(*function)).collect();
        let selectors = kernel_v2::needed_selectors(&wanted, generation, snapshot);
        Self::KernelV2(kernel_v2::ApprovalPlan::new(place, session_key, (generation, kernel), selectors))
    }

    /// Takes the next nonces: after the account's last one, and after every approval on record that could still take one. Answers
    /// whether they are others than before.
    pub fn take_nonces<'a>(
        &mut self,
        owner: Address,
        taken: impl IntoIterator<Item = Taken<'a>>,
        snapshot: &Snapshot,
    ) -> Result<bool, NoNonces> {
        let (Self::KernelV2(plan), Snapshot::KernelV2(snapshot)) = (self, snapshot);
        let taken = taken.into_iter().map(|(ApprovalRequest::KernelV2(request), signature)| (request, signature));
        plan.take_nonces(owner, taken, snapshot)
    }

    pub const fn validator(&self) -> Validator {
        let Self::KernelV2(plan) = self;
        plan.validator()
    }

    /// Of the account functions that are opened, one for each approval.
    pub fn selectors(&self) -> &[Selector] {
        let Self::KernelV2(plan) = self;
        &plan.selectors
    }

    /// Of the first approval, in decimal.
    pub fn first_nonce(&self) -> String {
        let Self::KernelV2(plan) = self;
        plan.first_nonce().to_string()
    }

    /// What the owner will sign, in order.
    pub fn requests(&self, scope: &Scope) -> Vec<ApprovalRequest> {
        let Self::KernelV2(plan) = self;
        plan.requests(scope).into_iter().map(ApprovalRequest::from).collect()
    }

    /// What the plan relied on that is not as it was.
    pub fn changed(&self, before: &Snapshot, now: &Snapshot) -> Option<&'static str> {
        let (Self::KernelV2(plan), Snapshot::KernelV2(before), Snapshot::KernelV2(now)) = (self, before, now);
        plan.changed(before, now)
    }

    /// R14: run limits are counted for each approval.
    pub fn about_run_limits(&self, scope: &Scope) -> Option<Finding> {
        let Self::KernelV2(plan) = self;
        plan.about_run_limits(scope)
    }

    /// R33, R34, R35: what the grant does to keys that are there already.
    pub fn about_other_keys<'a>(
        &self,
        keys: impl IntoIterator<Item = OtherKey<'a>>,
        snapshot: &Snapshot,
    ) -> Vec<Finding> {
        let (Self::KernelV2(plan), Snapshot::KernelV2(snapshot)) = (self, snapshot);
        plan.about_other_keys(keys, snapshot)
    }
}

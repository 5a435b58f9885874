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
    protocol::{kernel_v2::grant as kernel_v2, toy},
};

pub use kernel_v2::{NoNonces, OtherKey};

/// For whom an approval is, and what it opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApprovalPlan {
    KernelV2(kernel_v2::ApprovalPlan),
    Toy(toy::ApprovalPlan),
}

/// An approval on record that may have taken a nonce.
pub type Taken<'a> = (&'a ApprovalRequest, Option<&'a Bytes>);

/// The validator that session keys are sent to already, else the default; `Err` is one whose code is not there, or is not the known one.
pub fn choose_validator(exactly: Option<Validator>, snapshot: &Snapshot) -> Result<Validator, Validator> {
    let snapshot = match snapshot {
        Snapshot::KernelV2(snapshot) => snapshot,
        Snapshot::Toy(_) => {
            return match exactly {
                None | Some(Validator::Toy(_)) => Ok(Validator::Toy(toy::Keeper)),
                Some(other) => Err(other),
            };
        }
    };
    let exactly = match exactly {
        Some(Validator::KernelV2(generation)) => Some(generation),
        Some(other) => return Err(other),
        None => None,
    };
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
        let (Version::KernelV2(kernel), Validator::KernelV2(generation)) = (version, validator) else {
            return Self::Toy(toy::ApprovalPlan::new(place, session_key));
        };
        // Of an account of another family nothing is known: every function needs an approval.
        let unknown = crate::protocol::kernel_v2::snapshot::Snapshot::default();
        let snapshot = if let Snapshot::KernelV2(snapshot) = snapshot { snapshot } else { &unknown };
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
        match (self, snapshot) {
            (Self::KernelV2(plan), Snapshot::KernelV2(snapshot)) => {
                let taken = taken.into_iter().filter_map(|(request, signature)| match request {
                    ApprovalRequest::KernelV2(request) => Some((request, signature)),
                    ApprovalRequest::Toy(_) => None,
                });
                plan.take_nonces(owner, taken, snapshot)
            }
            (Self::Toy(_), Snapshot::Toy(_)) => Ok(false),
            // Nothing that could ever be enabled.
            _ => Err(NoNonces(0)),
        }
    }

    pub const fn validator(&self) -> Validator {
        match self {
            Self::KernelV2(plan) => plan.validator(),
            Self::Toy(_) => Validator::Toy(toy::Keeper),
        }
    }

    /// Of the account functions that are opened, one for each approval.
    pub fn selectors(&self) -> &[Selector] {
        match self {
            Self::KernelV2(plan) => &plan.selectors,
            Self::Toy(_) => &toy::OPENED,
        }
    }

    /// Of the first approval, in decimal.
    pub fn first_nonce(&self) -> String {
        match self {
            Self::KernelV2(plan) => plan.first_nonce().to_string(),
            Self::Toy(_) => "none".to_owned(),
        }
    }

    /// What the owner will sign, in order.
    pub fn requests(&self, scope: &Scope) -> Vec<ApprovalRequest> {
        match self {
            Self::KernelV2(plan) => plan.requests(scope).into_iter().map(ApprovalRequest::from).collect(),
            Self::Toy(plan) => vec![ApprovalRequest::Toy(plan.request(scope))],
        }
    }

    /// What the plan relied on that is not as it was.
    pub fn changed(&self, before: &Snapshot, now: &Snapshot) -> Option<&'static str> {
        match (self, before, now) {
            (Self::KernelV2(plan), Snapshot::KernelV2(before), Snapshot::KernelV2(now)) => plan.changed(before, now),
            (Self::Toy(_), Snapshot::Toy(before), Snapshot::Toy(now)) => {
                (before.owner != now.owner).then_some("the owner")
            }
            _ => Some("the family of the account"),
        }
    }

    /// R14: run limits are counted for each approval.
    pub fn about_run_limits(&self, scope: &Scope) -> Option<Finding> {
        match self {
            Self::KernelV2(plan) => plan.about_run_limits(scope),
            Self::Toy(_) => toy::about_run_limits(scope),
        }
    }

    /// R33, R34, R35: what the grant does to keys that are there already.
    pub fn about_other_keys<'a>(
        &self,
        keys: impl IntoIterator<Item = OtherKey<'a>>,
        snapshot: &Snapshot,
    ) -> Vec<Finding> {
        match (self, snapshot) {
            (Self::KernelV2(plan), Snapshot::KernelV2(snapshot)) => plan.about_other_keys(keys, snapshot),
            (Self::KernelV2(plan), _) => plan.about_other_keys(keys, &Default::default()),
            (Self::Toy(plan), _) => plan.about_other_keys(keys),
        }
    }
}

//! What an enabling that the history shows makes of a key: its scope as far as it was shown, and the approval behind it.

use alloy::primitives::{Address, B256, Bytes};

use super::{
    Shown,
    ledger::{Enabled, Ledger},
};
use crate::{
    policy::scope::{Permission, Scope},
    protocol::family::Validator,
    protocol::kernel_v2::{account::selector, approval::ApprovalRequest, generation::KernelVersion, merkle::Tree},
};

/// Most former owners whose signature is tried on an approval.
pub const OWNERS: usize = 64;

/// What the history shows of a scope, in whole or in part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Learned {
    pub permissions: Vec<Permission>,
    /// The siblings that prove each permission, in their order; `None` where the permissions are the whole scope.
    pub proofs: Option<Vec<Vec<B256>>>,
}

impl Enabled {
    /// Whether it gives the key just this scope. `root`: of the whole scope, where only a part of it is known.
    pub fn gives(&self, validator: Validator, session_key: Address, scope: &Scope, root: Option<B256>) -> bool {
        let enable = &self.enable;
        validator == self.generation.into()
            && session_key == enable.session_key
            && (scope.valid_after, scope.valid_until) == (enable.valid_after, enable.valid_until)
            && scope.paymaster == enable.paymaster
            && root.unwrap_or_else(|| Tree::new(&scope.permissions, self.generation).root()) == enable.merkle_root
    }
}

/// Adds the permissions that were shown to a scope that is known in part; `None` when there is nothing new.
pub fn learn(
    validator: Validator,
    root: B256,
    known: impl IntoIterator<Item = Shown>,
    history: &[&Enabled],
) -> Option<Learned> {
    let mut all: Vec<Shown> = known.into_iter().collect();
    let before = all.len();
    for shown in history.iter().flat_map(|e| &e.shown) {
        if !all.iter().any(|s| s.permission == shown.permission) {
            all.push(shown.clone());
        }
    }
    if all.len() == before {
        return None;
    }
    all.sort_by_key(|s| s.permission.index);
    let (permissions, proofs): (Vec<_>, Vec<_>) = all.into_iter().map(|s| (s.permission, s.proof)).unzip();
    let whole = validator.permissions_fit(&permissions, None, root);
    Some(Learned { permissions, proofs: (!whole).then_some(proofs) })
}

impl Ledger {
    /// The approval behind an enabling, with the owner's signature where it was shown and verifies: which version of the account
    /// and which of its owners it was signed for is tried out.
    pub fn signed_approval(
        &self,
        (chain_id, account): (u64, Address),
        owner: Address,
        present: KernelVersion,
        enabled: &Enabled,
    ) -> (ApprovalRequest, Option<Bytes>) {
        let carried = enabled.approval.as_ref();
        let request = |kernel| ApprovalRequest {
            chain_id,
            account,
            kernel,
            validator: enabled.generation,
            selector: enabled.selector.unwrap_or(selector::EXECUTE),
            executor: carried.map(|c| c.executor).unwrap_or_default(),
            plugin_window: carried.map(|c| c.plugin_window).unwrap_or_default(),
            enable: enabled.enable,
        };
        if let Some(signature) = carried.and_then(|c| c.signature.as_ref()) {
            let versions = [present].into_iter().chain(KernelVersion::ALL);
            let owners = || [owner].into_iter().chain(self.owners.iter().copied().take(OWNERS));
            for request in versions.map(request) {
                if owners().any(|owner| request.is_signed_by(owner, signature)) {
                    return (request, Some(signature.clone()));
                }
            }
        }
        (request(present), None)
    }
}

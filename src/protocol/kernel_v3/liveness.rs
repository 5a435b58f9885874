//! Whether a key can act or sign, and whether an approval that was not used can still be, from state alone
//! (docs/kernel-v3.md#liveness). What is not understood counts as the worst case.

use alloy::primitives::Address;

use super::{
    approval::ApprovalRequest,
    contracts::KernelVersion,
    nonce::{PermissionId, ValidationType},
    permission_config::{ConfigFault, PermissionConfig},
    policy::Policy,
    snapshot::{KeyState, Left, Snapshot, is_known_policy},
};

/// What becomes of an approval that the chain does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlook {
    /// Its holder can enable it with the next operation.
    Now,
    /// It comes alive without another signature.
    Later(Later),
    /// It was signed for another state of the account, and counts again when that is undone.
    Stale(Stale),
    /// It is over for good on this chain.
    Never(Never),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Later {
    /// When the account's nonce becomes its nonce, and stays alive until it is raised further.
    Nonce,
    /// When the key that has the same id now is uninstalled.
    IdTaken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stale {
    Version(KernelVersion),
    /// The owner now.
    Owner(Address),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Never {
    /// The owner invalidated everything with a lower nonce than this.
    Invalidated(u32),
    /// The account's nonce is further now.
    Overtaken(u32),
    /// Its id was installed at this nonce, which is not below its own.
    IdUsed(u32),
    /// This policy has seen the id, and takes none twice.
    PolicyUsed(Address),
    /// Bytes that are not zero stand behind its id.
    Tail,
    /// For every chain, which this version does not know.
    EveryChain(KernelVersion),
    CannotInstall(ConfigFault),
    SelectorData,
    /// Its own flag refuses the operation that would enable it.
    RefusesOperations,
    /// Its window ended: unix seconds.
    Expired(u64),
}

impl Outlook {
    /// Whether anything may still come of it.
    pub const fn may_come(self) -> bool {
        !matches!(self, Self::Never(_))
    }
}

impl Snapshot {
    /// Whether a key can make the account do something. Its policies' counters and windows are not looked at.
    pub fn can_act(&self, id: PermissionId) -> bool {
        let key = self.key(id);
        key.is_installed()
            && key.nonce >= self.valid_from
            && !key.flag.refuses_operations()
            && (key.allowed.values().any(|allowed| *allowed) || !key.all_selectors)
    }

    /// Whether it signs for the account (ERC-1271): its window, its counters and the functions it is allowed do not matter.
    pub fn can_sign(&self, id: PermissionId) -> bool {
        let key = self.key(id);
        let stopped = self.kernel.is_some_and(KernelVersion::stops_signing) && key.nonce < self.valid_from;
        key.is_installed() && !key.flag.refuses_signatures() && !stopped
    }

    /// Whether a key that the chain holds can do anything at all.
    pub fn has_power(&self, id: PermissionId) -> bool {
        self.can_act(id) && self.ended(&self.key(id)).is_none() || self.can_sign(id)
    }

    /// When the window for its operations ended, unix seconds.
    pub fn ended(&self, key: &KeyState) -> Option<u64> {
        match key.left(super::contracts::TIMESTAMP_POLICY) {
            Some(Left::Window { until, .. }) if until != 0 && until < self.timestamp => Some(until),
            _ => None,
        }
    }

    /// What becomes of an approval that the chain does not hold. `approver` is who signed it, or is to.
    pub fn outlook(&self, request: &ApprovalRequest, approver: Address) -> Outlook {
        if let Some(never) = self.never(request) {
            return Outlook::Never(never);
        }
        if let Some(kernel) = self.kernel.filter(|kernel| *kernel != request.kernel) {
            return Outlook::Stale(Stale::Version(kernel));
        }
        // Another root decides which signatures count, and may take this one.
        if let Some(owner) = self.owner().filter(|owner| *owner != approver) {
            return Outlook::Stale(Stale::Owner(owner));
        }
        let Some(id) = request.permission_id() else { return Outlook::Now };
        if self.key(id).is_installed() {
            return Outlook::Later(Later::IdTaken);
        }
        if request.nonce > self.approval_nonce(id) { Outlook::Later(Later::Nonce) } else { Outlook::Now }
    }

    fn never(&self, request: &ApprovalRequest) -> Option<Never> {
        if request.nonce < self.valid_from {
            return Some(Never::Invalidated(self.valid_from));
        }
        if request.nonce < self.current_nonce {
            return Some(Never::Overtaken(self.current_nonce));
        }
        if let Some(kernel) = self.kernel.filter(|k| request.chain_id.is_none() && !k.has_chain_free_signatures()) {
            // Of another version the account may still be made.
            return (kernel == request.kernel).then_some(Never::EveryChain(kernel));
        }
        let id = match request.permission_id() {
            Some(id) => id,
            None if request.validation_id.kind() == ValidationType::Permission => return Some(Never::Tail),
            // A validator's: not understood.
            None => return None,
        };
        let key = self.key(id);
        // A nonce of zero is an id that was never installed: approvals carry one at least.
        if key.nonce >= request.nonce {
            return Some(Never::IdUsed(key.nonce));
        }
        if request.selector().is_refused() {
            return Some(Never::SelectorData);
        }
        // Read by its contracts in a form that is not understood here: it may be anything.
        let config = request.config().ok()?;
        self.config_never(&key, &config)
    }

    fn config_never(&self, key: &KeyState, config: &PermissionConfig) -> Option<Never> {
        let seen = |policy: &&Policy| {
            let status = key.states.get(&policy.address()).and_then(|state| state.status);
            is_known_policy(policy.address()) && status.unwrap_or_default() != 0
        };
        if let Some(policy) = config.policies.iter().find(seen) {
            return Some(Never::PolicyUsed(policy.address()));
        }
        if let Some(fault) = config.install_faults().into_iter().next() {
            return Some(Never::CannotInstall(fault));
        }
        if config.flag.refuses_operations() {
            return Some(Never::RefusesOperations);
        }
        config.policies.iter().find_map(|policy| match policy {
            Policy::Timestamp { flag, window } if !flag.skips_operations() => {
                let until = window.valid_until;
                (until != 0 && until < self.timestamp).then_some(Never::Expired(until))
            }
            _ => None,
        })
    }
}

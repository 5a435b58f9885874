//! From a scope to the approvals that its owner signs: for which validator and account functions, and with which nonces.

use alloy::primitives::{Address, Bytes, FixedBytes, Selector};

use super::{
    account::selector,
    approval::{ApprovalRequest, EnableData},
    generation::{Generation, KernelVersion},
    snapshot::Snapshot,
};
use crate::{
    policy::{
        risk::{Effect, Finding, Severity},
        scope::Scope,
    },
    protocol::{family::Validator, power::NotTheSame},
};

/// For whom an approval is, and what it opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalPlan {
    chain_id: u64,
    account: Address,
    session_key: Address,
    generation: Generation,
    kernel: KernelVersion,
    /// One approval for each, with consecutive nonces.
    pub selectors: Vec<Selector>,
    /// The nonce of the first; where it was taken meanwhile, the next one is signed.
    first_nonce: u128,
}

/// An approval on record that may have taken a nonce.
pub type Taken<'a> = (&'a ApprovalRequest, Option<&'a Bytes>);

/// Another key of the account on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtherKey<'a> {
    pub label: &'a str,
    pub session_key: Address,
    pub validator: Validator,
}

/// Approval nonces end at 2^128 - 1. What a node says of them may be a lie, and what is signed for such a one can never be enabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nonce: the account's approval nonces are used up (the next would be {0}): no approval can be enabled")]
pub struct NoNonces(pub u128);

/// The validator that session keys are routed to already, else G2; `Err` is one whose code is not there, or is not the known one.
pub fn choose_validator(exactly: Option<Generation>, snapshot: &Snapshot) -> Result<Generation, Generation> {
    let routed = || snapshot.generation(selector::EXECUTE);
    let generation = exactly.or_else(routed).unwrap_or(Generation::DEFAULT);
    if snapshot.has_validator(generation) { Ok(generation) } else { Err(generation) }
}

/// The first function always needs an approval (it enables the key); others only while the account does not route them.
pub fn needed_selectors(wanted: &[Selector], generation: Generation, snapshot: &Snapshot) -> Vec<Selector> {
    let routed = |s: &Selector| snapshot.route(*s).is_some_and(|r| r.validator == generation.address());
    let missing: Vec<Selector> = wanted.iter().copied().filter(|s| !routed(s)).collect();
    if missing.is_empty() { wanted.iter().copied().take(1).collect() } else { missing }
}

impl ApprovalPlan {
    pub fn new(
        (chain_id, account): (u64, Address),
        session_key: Address,
        (generation, kernel): (Generation, KernelVersion),
        selectors: Vec<Selector>,
    ) -> Self {
        Self { chain_id, account, session_key, generation, kernel, selectors, first_nonce: 0 }
    }

    /// Takes the next nonces: after the account's last one, and after every approval on record that could still take one. Answers
    /// whether they are others than before.
    pub fn take_nonces<'a>(
        &mut self,
        owner: Address,
        taken: impl IntoIterator<Item = Taken<'a>>,
        snapshot: &Snapshot,
    ) -> Result<bool, NoNonces> {
        let nonces = snapshot.nonces(self.generation);
        let reserved = taken
            .into_iter()
            .filter(|(r, _)| r.validator == self.generation && r.kernel == self.kernel && r.chain_id == self.chain_id)
            .filter(|(r, signature)| signature.is_none_or(|s| r.is_signed_by(owner, s)))
            .map(|(request, _)| request.enable.nonce)
            .max();
        let next = nonces.last.max(nonces.invalid).max(reserved.unwrap_or(0)).saturating_add(1);
        next.checked_add(self.selectors.len() as u128).ok_or(NoNonces(next))?;
        Ok(std::mem::replace(&mut self.first_nonce, next) != next)
    }

    pub const fn validator(&self) -> Validator {
        Validator::KernelV2(self.generation)
    }

    pub const fn first_nonce(&self) -> u128 {
        self.first_nonce
    }

    /// What the owner will sign, in order.
    pub fn requests(&self, scope: &Scope) -> Vec<ApprovalRequest> {
        let enable = EnableData::new(self.session_key, scope, self.first_nonce, self.generation);
        (self.first_nonce..=u128::MAX)
            .zip(&self.selectors)
            .map(|(nonce, selector)| ApprovalRequest {
                chain_id: self.chain_id,
                account: self.account,
                kernel: self.kernel,
                validator: self.generation,
                selector: *selector,
                executor: Address::ZERO,
                plugin_window: FixedBytes::ZERO,
                enable: EnableData { nonce, ..enable },
            })
            .collect()
    }

    /// What the plan relied on that is not as it was.
    pub fn changed(&self, before: &Snapshot, now: &Snapshot) -> Option<&'static str> {
        let changed = [
            ("the owner", now.owner != before.owner),
            ("the default validator", now.default_validator != before.default_validator),
            ("the implementation", now.implementation != before.implementation),
            ("the Kernel version", now.kernel != before.kernel),
            ("the account's nonce", now.nonces(self.generation) != before.nonces(self.generation)),
            ("where session keys are routed", now.routes != before.routes),
        ];
        changed.into_iter().find(|(_, changed)| *changed).map(|(what, _)| what)
    }

    /// R14: run limits are counted for each approval.
    pub fn about_run_limits(&self, scope: &Scope) -> Option<Finding> {
        let limited = scope.permissions.iter().any(|p| !p.execution_rule.is_none());
        (self.selectors.len() > 1 && limited).then(|| Finding {
            id: "R14",
            severity: Severity::High,
            permission: None,
            message: "run limits and intervals are counted anew for each approval, and these account functions need one each: \
                      the key could use every limit once per function"
                .into(),
            advice: "ask for one account function (executeBatch covers single calls too)".into(),
            effect: Effect::Refuse,
        })
    }

    /// R33, R34, R35: what the grant does to keys that are there already.
    pub fn about_other_keys<'a>(
        &self,
        keys: impl IntoIterator<Item = OtherKey<'a>>,
        snapshot: &Snapshot,
    ) -> Vec<Finding> {
        let keys: Vec<OtherKey<'_>> = keys.into_iter().collect();
        let generation = self.generation;
        let mut findings = Vec::new();
        let warn = |id, severity, message: String, advice: &str| Finding {
            id,
            severity,
            permission: None,
            message,
            advice: advice.to_owned(),
            effect: Effect::Warn,
        };
        for name in &self.selectors {
            let Some(other) = snapshot.route(*name).filter(|r| r.validator != generation.address()) else { continue };
            let silenced: Vec<&str> =
                keys.iter().filter(|k| k.validator.address() == other.validator).map(|k| k.label).collect();
            let who = if silenced.is_empty() { "every key on it".to_owned() } else { silenced.join(", ") };
            findings.push(warn(
                "R33",
                Severity::High,
                format!(
                    "{} goes to validator {} now; the first use of this key sends it to {generation} and silences {who}",
                    selector::name(*name).unwrap_or("a function"),
                    other.validator
                ),
                "grant on the validator the account uses already (validator = \"auto\")",
            ));
        }
        if let Some(same) = keys.iter().find(|k| k.session_key == self.session_key && k.validator == self.validator()) {
            findings.push(warn(
                "R34",
                Severity::Medium,
                format!(
                    "the key has an approval already ({}); once this one is enabled it replaces that scope",
                    same.label
                ),
                "revoke the old one, or use a fresh key",
            ));
        }
        let surplus: Vec<&str> = snapshot
            .routes
            .iter()
            .filter(|(s, r)| r.validator == generation.address() && !self.selectors.contains(s))
            .filter_map(|(s, _)| selector::name(*s))
            .filter(|name| *name != "execute")
            .collect();
        if !surplus.is_empty() {
            findings.push(warn(
                "R35",
                Severity::Low,
                format!(
                    "the account has opened {} for session keys: this key may use it too, within its permissions",
                    surplus.join(", ")
                ),
                "nothing to do if the permissions are right",
            ));
        }
        findings
    }
}

impl Snapshot {
    /// The version that an approval of this owner must name; an error when the account is not the owner's any more (R26, R28).
    pub fn version_for(&self, owner: Address) -> Result<KernelVersion, NotTheSame> {
        match self.owner {
            Some(now) if self.deployed && now != owner => return Err(NotTheSame::Owner(now)),
            None if self.deployed => return Err(NotTheSame::NoOwner),
            _ => {}
        }
        self.kernel.ok_or(NotTheSame::Implementation(self.implementation.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonces_that_are_used_up_are_refused_and_not_signed() {
        let (generation, kernel) = (Generation::G2, KernelVersion::V0_2_4);
        let plan = |functions: usize, last: u128| {
            let mut snapshot = Snapshot::default();
            snapshot.nonces.entry(generation).or_default().last = last;
            let selectors = vec![selector::EXECUTE; functions];
            let mut plan = ApprovalPlan::new((1, Address::ZERO), Address::ZERO, (generation, kernel), selectors);
            plan.take_nonces(Address::ZERO, [], &snapshot)
        };
        assert!(plan(1, u128::MAX).is_err());
        assert!(plan(2, u128::MAX - 2).is_err());
        assert_eq!(plan(2, u128::MAX - 3), Ok(true));
    }
}

//! One call ends a key, but an approval that is not enabled cannot be taken back: it is enabled as nothing first.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::{Address, B256};
use serde::{Deserialize, Serialize};

use super::{ApprovalRequest, Snapshot, allowCall, disallowCall, own, stopCall};
use crate::{
    erc4337::v06::ENTRY_POINT,
    protocol::{
        ApprovalId,
        power::{Control, Remaining},
        probe::Probe,
        revocation::{Holding, RevocationPlan, RevokeTarget, Unmet},
        status::Difference,
    },
};

/// What the account holds for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    pub key: Address,
    pub digest: B256,
}

#[derive(Debug, Clone)]
pub struct ApprovalBook {
    account: Address,
    known: BTreeMap<ApprovalId, Address>,
    snapshot: Snapshot,
}

impl ApprovalBook {
    pub fn new(account: Address, approvals: impl IntoIterator<Item = ApprovalRequest>, snapshot: &Snapshot) -> Self {
        let known = approvals.into_iter().map(|a| (ApprovalId(a.digest()), a.session_key)).collect();
        Self { account, known, snapshot: snapshot.clone() }
    }

    fn holding(&self, id: ApprovalId, holder: Address) -> Holding {
        let held = self.snapshot.keys.get(&holder) == Some(&id.0);
        let acts = held.then(|| "the account holds it".to_owned());
        Holding { id, holder, module: self.account, acts, ran_out: false }
    }

    pub fn holdings(&self) -> Vec<Holding> {
        let known = self.known.iter().map(|(id, key)| self.holding(*id, *key));
        known.chain(self.unexplained()).collect()
    }

    pub fn unexplained(&self) -> Vec<Holding> {
        let held = self.snapshot.keys.iter().map(|(key, digest)| (ApprovalId(*digest), *key));
        held.filter(|(id, _)| !self.known.contains_key(id)).map(|(id, key)| self.holding(id, key)).collect()
    }

    pub fn subject(&self, id: ApprovalId) -> Option<Subject> {
        let holding = self.unexplained().into_iter().find(|h| h.id == id)?;
        Some(Subject { key: holding.holder, digest: id.0 })
    }

    pub fn plan(&self, target: &RevokeTarget) -> (RevocationPlan, Expected) {
        let holdings = self.holdings();
        let wanted = |h: &Holding| match target {
            RevokeTarget::These(ids) => ids.contains(&h.id),
            RevokeTarget::All => true,
            RevokeTarget::UnpauseKeeping(ids) => !ids.contains(&h.id),
        };
        let gone: BTreeSet<Address> = holdings.iter().filter(|h| wanted(h)).map(|h| h.holder).collect();
        let also = holdings.iter().filter(|h| !wanted(h) && gone.contains(&h.holder)).map(|h| h.id).collect();
        let ends = holdings.iter().filter(|h| wanted(h)).map(|h| h.id).collect();
        let disallow = |key: &Address| {
            own(self.account, &disallowCall { key: *key }, format!("disallow({key})"), "ends the key".into())
        };
        let unpause = matches!(target, RevokeTarget::UnpauseKeeping(_));
        let go_on = unpause
            .then(|| own(self.account, &stopCall { stopped: false }, "stop(false)".into(), "lets keys act".into()));
        let (calls, steps) = gone.iter().map(disallow).chain(go_on).unzip();
        let plan = RevocationPlan { calls, steps, ends, also_ends: also, over: BTreeSet::new() };
        (plan, Expected { gone, unpause })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    gone: BTreeSet<Address>,
    unpause: bool,
}

impl Expected {
    pub fn unmet(&self, snapshot: &Snapshot) -> Option<Unmet> {
        if self.unpause && snapshot.stopped {
            return Some(Unmet::StillPaused);
        }
        let still = self.gone.iter().find(|key| snapshot.keys.contains_key(*key))?;
        Some(Unmet::NotInvalid(format!("the account still holds {still}")))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    key: Address,
    digest: B256,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Before {
    pub block: u64,
    pub held: bool,
}

impl Subject {
    pub fn of(request: &ApprovalRequest) -> Self {
        Self { key: request.session_key, digest: request.digest() }
    }

    pub const fn of_address(key: Address) -> Self {
        Self { key, digest: B256::ZERO }
    }

    pub fn probes(&self, account: Address) -> Vec<Probe> {
        let (call, step) = own(
            account,
            &allowCall { key: self.key, digest: self.digest },
            format!("allow({})", self.key),
            "enables the key".into(),
        );
        let (would, data) = (step.effect, call.data);
        vec![Probe { name: "enable it", would, uses: false, from: ENTRY_POINT, to: account, data }]
    }

    pub fn held(&self, snapshot: &Snapshot) -> Option<Entry> {
        snapshot.keys.get(&self.key).map(|digest| Entry { key: self.key, digest: *digest })
    }

    pub fn before(&self, snapshot: &Snapshot) -> Before {
        Before { block: snapshot.block, held: self.still_stands(snapshot).is_some() }
    }

    pub fn treat_as_live(&self, snapshot: &mut Snapshot) {
        snapshot.keys.insert(self.key, self.digest);
    }

    pub fn still_stands(&self, snapshot: &Snapshot) -> Option<String> {
        snapshot.keys.contains_key(&self.key).then(|| "the account still holds the key".to_owned())
    }
}

pub fn foreign_power(owner: Address, snapshot: &Snapshot) -> (Control, Vec<Remaining>) {
    let control = if snapshot.owner.is_none_or(|now| now == owner) { Control::Ours } else { Control::Foreign };
    (control, Vec::new())
}

pub fn differences(owner: Address, snapshot: &Snapshot) -> Vec<Difference> {
    let now = snapshot.owner.filter(|now| *now != owner);
    let differs = now.map(|now| Difference { id: None, code: "owner", message: format!("the owner is {now} now") });
    differs.into_iter().collect()
}

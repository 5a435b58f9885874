//! What ends keys of a family, and how that is proven.

use alloy::primitives::{Address, Bytes};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Family, approval::ApprovalRequest, snapshot::Snapshot};
use crate::{
    policy::scope::Scope,
    protocol::{
        ApprovalId, Call, Step,
        kernel_v2::{
            account as kernel_v2_account,
            approval::EnableData,
            power, probe as kernel_v2,
            revocation::{self, book},
        },
        power::{Control, Remaining},
        probe::{Probe, Waited},
        revocation::{Holding, Names, Refusal, RevocationPlan, RevokeTarget, Unmet},
    },
};

/// Every approval on record of an account, and whatever else the chain holds for a key that is known.
#[derive(Debug, Clone)]
pub enum ApprovalBook {
    KernelV2(book::ApprovalBook),
}

/// What must hold once a plan is mined, and what the plan relies on until then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// A pause, or what ends no key: nothing.
    Nothing,
    KernelV2(book::Expected),
}

impl ApprovalBook {
    pub fn new<'a>(
        account: Address,
        owner: Address,
        approvals: impl IntoIterator<Item = (&'a ApprovalRequest, Option<&'a Bytes>)>,
        snapshot: &Snapshot,
    ) -> Self {
        let Snapshot::KernelV2(snapshot) = snapshot;
        let approvals =
            approvals.into_iter().map(|(ApprovalRequest::KernelV2(request), signature)| (request, signature));
        Self::KernelV2(book::ApprovalBook::new(account, owner, approvals, snapshot))
    }

    pub fn holdings(&self) -> Vec<Holding> {
        let Self::KernelV2(book) = self;
        book.holdings().collect()
    }

    /// What the chain holds for a known key, and no approval on record explains.
    pub fn unexplained(&self) -> Vec<Holding> {
        let Self::KernelV2(book) = self;
        book.unexplained().collect()
    }

    /// What of an unexplained holding is tried before and after.
    pub fn subject(&self, id: ApprovalId, scope: Option<&Scope>) -> Option<Subject> {
        let Self::KernelV2(book) = self;
        book.subject(id, scope).map(Subject::KernelV2)
    }

    /// The smallest plan that does what is asked for, in calls and in words.
    pub fn plan(&self, target: &RevokeTarget, names: &Names<'_>) -> Result<(RevocationPlan, Expected), Refusal> {
        let Self::KernelV2(book) = self;
        book.plan(target, names).map(|(plan, expected)| (plan, Expected::KernelV2(expected)))
    }
}

impl Expected {
    /// What no key's own proof shows.
    pub fn unmet(&self, snapshot: &Snapshot) -> Option<Unmet> {
        match (self, snapshot) {
            (Self::Nothing, _) => None,
            (Self::KernelV2(expected), Snapshot::KernelV2(snapshot)) => expected.unmet(snapshot),
        }
    }

    /// Whether the account's nonces moved since the plan was made.
    pub fn raced(&self, snapshot: &Snapshot) -> bool {
        match (self, snapshot) {
            (Self::Nothing, _) => false,
            (Self::KernelV2(expected), Snapshot::KernelV2(snapshot)) => expected.raced(snapshot),
        }
    }
}

/// What is tried: an approval on record, or what the chain holds and nobody here has the approval of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    KernelV2(kernel_v2::Subject),
}

/// What the state said of a subject before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    KernelV2(kernel_v2::Before),
}

impl Before {
    pub const fn block(&self) -> u64 {
        let Self::KernelV2(before) = self;
        before.block
    }

    /// Whether exactly this approval was enabled.
    pub const fn held(&self) -> bool {
        let Self::KernelV2(before) = self;
        before.held
    }
}

/// What the chain says of a key, as a proof keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    pub session_data: Option<Held>,
    pub last_nonce: String,
    pub invalid_nonce: String,
}

/// What the chain holds for a key. Written as its family does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    KernelV2(EnableData),
}

impl Serialize for Held {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::KernelV2(held) => held.serialize(s),
        }
    }
}

impl<'de> Deserialize<'de> for Held {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        EnableData::deserialize(d).map(Self::KernelV2)
    }
}

impl Subject {
    pub fn of(request: &ApprovalRequest, signature: Option<&Bytes>, scope: Option<&Scope>) -> Self {
        let ApprovalRequest::KernelV2(request) = request;
        Self::KernelV2(kernel_v2::Subject::of(request, signature, scope))
    }

    /// A key that is known by its address only, and that the chain is said to hold nothing for: one wherever it could be held.
    pub fn of_address(session_key: Address, snapshot: &Snapshot) -> Vec<Self> {
        let Snapshot::KernelV2(snapshot) = snapshot;
        let on = |generation| kernel_v2::Subject::of_address(generation, session_key, snapshot);
        snapshot.nonces.keys().copied().map(on).map(Self::KernelV2).collect()
    }

    /// Everything that its holder can try.
    pub fn probes(&self, account: Address, chain_id: u64, coin: &str) -> Vec<Probe> {
        let Self::KernelV2(subject) = self;
        subject.probes(account, chain_id, coin)
    }

    pub fn before(&self, snapshot: &Snapshot) -> Before {
        let (Self::KernelV2(subject), Snapshot::KernelV2(snapshot)) = (self, snapshot);
        Before::KernelV2(subject.before(snapshot))
    }

    /// Whether a probe that passes tells that this approval is alive.
    pub fn is_tested_by(&self, probe: &Probe, snapshot: &Snapshot) -> bool {
        let (Self::KernelV2(subject), Snapshot::KernelV2(snapshot)) = (self, snapshot);
        subject.is_tested_by(probe, snapshot)
    }

    /// The snapshot with the worse of two answers: the probe passed although the state says that the approval is over.
    pub fn treat_as_live(&self, probe_uses: bool, snapshot: &mut Snapshot) {
        let (Self::KernelV2(subject), Snapshot::KernelV2(snapshot)) = (self, snapshot);
        subject.treat_as_live(probe_uses, snapshot);
    }

    /// What of it the state still has; `None` where it is over.
    pub fn still_stands(&self, snapshot: &Snapshot) -> Option<String> {
        let (Self::KernelV2(subject), Snapshot::KernelV2(snapshot)) = (self, snapshot);
        subject.still_stands(snapshot)
    }

    /// Whether it could be enabled again if the owner did something more.
    pub fn may_return(&self, snapshot: &Snapshot) -> bool {
        let (Self::KernelV2(subject), Snapshot::KernelV2(snapshot)) = (self, snapshot);
        subject.may_return(snapshot)
    }

    /// It could not be enabled before either, but would have been later; now it is over.
    pub fn waited(&self, before: &Before) -> Option<Waited> {
        let (Self::KernelV2(subject), Before::KernelV2(before)) = (self, before);
        subject.waited(before)
    }

    pub fn evidence(&self, snapshot: &Snapshot) -> Evidence {
        let (Self::KernelV2(subject), Snapshot::KernelV2(snapshot)) = (self, snapshot);
        let kernel_v2::Evidence { session_data, last_nonce, invalid_nonce } = subject.evidence(snapshot);
        Evidence { session_data: session_data.map(Held::KernelV2), last_nonce, invalid_nonce }
    }
}

/// Whose an account is, and what can act for it beside its owner and its session keys, worst first.
pub fn foreign_power(account: Address, owner: Address, snapshot: &Snapshot) -> (Control, Vec<Remaining>) {
    let Snapshot::KernelV2(snapshot) = snapshot;
    power::foreign_power(account, owner, snapshot)
}

/// The calls that give an account back to its owner, as far as its owner can make them, and what each does.
pub fn way_back(account: Address, owner: Address, snapshot: &Snapshot) -> Vec<(Call, Step)> {
    let Snapshot::KernelV2(snapshot) = snapshot;
    power::way_back(account, owner, snapshot)
}

impl Family {
    /// The call that stops every session key at once, until it is undone, and what it does. The owner can still act.
    pub fn pause(self, account: Address) -> (Call, Step) {
        match self {
            Self::KernelV2 => {
                let effect =
                    "stops every session key, active or pending, until you unpause; you, the owner, can still act";
                let step = Step { call: "Kernel.disableMode(0xffffffff)".into(), effect: effect.into() };
                (revocation::panic(account), step)
            }
        }
    }

    /// Whether a call of the account is one that its session keys are enabled and revoked with, or that gives it back to its owner.
    pub fn rules_keys(self, account: Address, call: &Call) -> bool {
        match self {
            Self::KernelV2 => kernel_v2_account::rules_keys(account, call),
        }
    }
}

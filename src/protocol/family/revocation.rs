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
        toy,
    },
};

/// Every approval on record of an account, and whatever else the chain holds for a key that is known.
#[derive(Debug, Clone)]
pub enum ApprovalBook {
    KernelV2(book::ApprovalBook),
    Toy(toy::ApprovalBook),
}

/// What must hold once a plan is mined, and what the plan relies on until then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// A pause, or what ends no key: nothing.
    Nothing,
    KernelV2(book::Expected),
    Toy(toy::Expected),
}

impl ApprovalBook {
    pub fn new<'a>(
        account: Address,
        owner: Address,
        approvals: impl IntoIterator<Item = (&'a ApprovalRequest, Option<&'a Bytes>)>,
        snapshot: &Snapshot,
    ) -> Self {
        let snapshot = match snapshot {
            Snapshot::KernelV2(snapshot) => snapshot,
            Snapshot::Toy(snapshot) => {
                let approvals = approvals.into_iter().filter_map(|(request, _)| match request {
                    ApprovalRequest::Toy(request) => Some(request.clone()),
                    ApprovalRequest::KernelV2(_) => None,
                });
                return Self::Toy(toy::ApprovalBook::new(account, approvals, snapshot));
            }
        };
        let approvals = approvals.into_iter().filter_map(|(request, signature)| match request {
            ApprovalRequest::KernelV2(request) => Some((request, signature)),
            ApprovalRequest::Toy(_) => None,
        });
        Self::KernelV2(book::ApprovalBook::new(account, owner, approvals, snapshot))
    }

    pub fn holdings(&self) -> Vec<Holding> {
        match self {
            Self::KernelV2(book) => book.holdings().collect(),
            Self::Toy(book) => book.holdings(),
        }
    }

    /// What the chain holds for a known key, and no approval on record explains.
    pub fn unexplained(&self) -> Vec<Holding> {
        match self {
            Self::KernelV2(book) => book.unexplained().collect(),
            Self::Toy(book) => book.unexplained(),
        }
    }

    /// What of an unexplained holding is tried before and after.
    pub fn subject(&self, id: ApprovalId, scope: Option<&Scope>) -> Option<Subject> {
        match self {
            Self::KernelV2(book) => book.subject(id, scope).map(Subject::KernelV2),
            Self::Toy(book) => book.subject(id).map(Subject::Toy),
        }
    }

    /// The smallest plan that does what is asked for, in calls and in words.
    pub fn plan(&self, target: &RevokeTarget, names: &Names<'_>) -> Result<(RevocationPlan, Expected), Refusal> {
        match self {
            Self::KernelV2(book) => {
                book.plan(target, names).map(|(plan, expected)| (plan, Expected::KernelV2(expected)))
            }
            Self::Toy(book) => {
                let (plan, expected) = book.plan(target);
                Ok((plan, Expected::Toy(expected)))
            }
        }
    }
}

impl Expected {
    /// What no key's own proof shows.
    pub fn unmet(&self, snapshot: &Snapshot) -> Option<Unmet> {
        match (self, snapshot) {
            (Self::Nothing, _) => None,
            (Self::KernelV2(expected), Snapshot::KernelV2(snapshot)) => expected.unmet(snapshot),
            (Self::Toy(expected), Snapshot::Toy(snapshot)) => expected.unmet(snapshot),
            _ => Some(Unmet::NotInvalid("the account is of another family now".into())),
        }
    }

    /// Whether the account's nonces moved since the plan was made.
    pub fn raced(&self, snapshot: &Snapshot) -> bool {
        match (self, snapshot) {
            (Self::Nothing, _) => false,
            (Self::KernelV2(expected), Snapshot::KernelV2(snapshot)) => expected.raced(snapshot),
            (Self::Toy(_), Snapshot::Toy(_)) => false,
            _ => true,
        }
    }
}

/// What is tried: an approval on record, or what the chain holds and nobody here has the approval of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    KernelV2(kernel_v2::Subject),
    Toy(toy::Subject),
}

/// What the state said of a subject before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    KernelV2(kernel_v2::Before),
    Toy(toy::Before),
}

impl Before {
    pub const fn block(&self) -> u64 {
        match self {
            Self::KernelV2(before) => before.block,
            Self::Toy(before) => before.block,
        }
    }

    /// Whether exactly this approval was enabled.
    pub const fn held(&self) -> bool {
        match self {
            Self::KernelV2(before) => before.held,
            Self::Toy(before) => before.held,
        }
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
    Toy(toy::Entry),
}

impl Serialize for Held {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::KernelV2(held) => held.serialize(s),
            Self::Toy(held) => held.serialize(s),
        }
    }
}

impl<'de> Deserialize<'de> for Held {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Any {
            KernelV2(EnableData),
            Toy(toy::Entry),
        }
        Any::deserialize(d).map(|any| match any {
            Any::KernelV2(held) => Self::KernelV2(held),
            Any::Toy(held) => Self::Toy(held),
        })
    }
}

impl Subject {
    pub fn of(request: &ApprovalRequest, signature: Option<&Bytes>, scope: Option<&Scope>) -> Self {
        match request {
            ApprovalRequest::KernelV2(request) => Self::KernelV2(kernel_v2::Subject::of(request, signature, scope)),
            ApprovalRequest::Toy(request) => Self::Toy(toy::Subject::of(request)),
        }
    }

    /// A key that is known by its address only, and that the chain is said to hold nothing for: one wherever it could be held.
    pub fn of_address(session_key: Address, snapshot: &Snapshot) -> Vec<Self> {
        let snapshot = match snapshot {
            Snapshot::KernelV2(snapshot) => snapshot,
            Snapshot::Toy(_) => return vec![Self::Toy(toy::Subject::of_address(session_key))],
        };
        let on = |generation| kernel_v2::Subject::of_address(generation, session_key, snapshot);
        snapshot.nonces.keys().copied().map(on).map(Self::KernelV2).collect()
    }

    /// Everything that its holder can try.
    pub fn probes(&self, account: Address, chain_id: u64, coin: &str) -> Vec<Probe> {
        match self {
            Self::KernelV2(subject) => subject.probes(account, chain_id, coin),
            Self::Toy(subject) => subject.probes(account),
        }
    }

    pub fn before(&self, snapshot: &Snapshot) -> Before {
        match (self, snapshot) {
            (Self::KernelV2(subject), Snapshot::KernelV2(snapshot)) => Before::KernelV2(subject.before(snapshot)),
            (Self::Toy(subject), Snapshot::Toy(snapshot)) => Before::Toy(subject.before(snapshot)),
            // As if it had been enabled: then more has to be shown afterwards.
            (_, snapshot) => Before::Toy(toy::Before { block: snapshot.block(), held: true }),
        }
    }

    /// Whether a probe that passes tells that this approval is alive.
    pub fn is_tested_by(&self, probe: &Probe, snapshot: &Snapshot) -> bool {
        match (self, snapshot) {
            (Self::KernelV2(subject), Snapshot::KernelV2(snapshot)) => subject.is_tested_by(probe, snapshot),
            (Self::Toy(_), Snapshot::Toy(_)) => true,
            _ => true,
        }
    }

    /// The snapshot with the worse of two answers: the probe passed although the state says that the approval is over.
    pub fn treat_as_live(&self, probe_uses: bool, snapshot: &mut Snapshot) {
        match (self, snapshot) {
            (Self::KernelV2(subject), Snapshot::KernelV2(snapshot)) => subject.treat_as_live(probe_uses, snapshot),
            (Self::Toy(subject), Snapshot::Toy(snapshot)) => subject.treat_as_live(snapshot),
            _ => {}
        }
    }

    /// What of it the state still has; `None` where it is over.
    pub fn still_stands(&self, snapshot: &Snapshot) -> Option<String> {
        match (self, snapshot) {
            (Self::KernelV2(subject), Snapshot::KernelV2(snapshot)) => subject.still_stands(snapshot),
            (Self::Toy(subject), Snapshot::Toy(snapshot)) => subject.still_stands(snapshot),
            _ => Some("the account is of another family now".to_owned()),
        }
    }

    /// Whether it could be enabled again if the owner did something more.
    pub fn may_return(&self, snapshot: &Snapshot) -> bool {
        match (self, snapshot) {
            (Self::KernelV2(subject), Snapshot::KernelV2(snapshot)) => subject.may_return(snapshot),
            (Self::Toy(_), Snapshot::Toy(_)) => true,
            _ => true,
        }
    }

    /// It could not be enabled before either, but would have been later; now it is over.
    pub fn waited(&self, before: &Before) -> Option<Waited> {
        match (self, before) {
            (Self::KernelV2(subject), Before::KernelV2(before)) => subject.waited(before),
            // Nothing waits where there are no turns.
            _ => None,
        }
    }

    pub fn evidence(&self, snapshot: &Snapshot) -> Evidence {
        let none = || "none".to_owned();
        match (self, snapshot) {
            (Self::KernelV2(subject), Snapshot::KernelV2(snapshot)) => {
                let kernel_v2::Evidence { session_data, last_nonce, invalid_nonce } = subject.evidence(snapshot);
                Evidence { session_data: session_data.map(Held::KernelV2), last_nonce, invalid_nonce }
            }
            (Self::Toy(subject), Snapshot::Toy(snapshot)) => Evidence {
                session_data: subject.held(snapshot).map(Held::Toy),
                last_nonce: none(),
                invalid_nonce: none(),
            },
            _ => Evidence { session_data: None, last_nonce: none(), invalid_nonce: none() },
        }
    }
}

/// Whose an account is, and what can act for it beside its owner and its session keys, worst first.
pub fn foreign_power(account: Address, owner: Address, snapshot: &Snapshot) -> (Control, Vec<Remaining>) {
    match snapshot {
        Snapshot::KernelV2(snapshot) => power::foreign_power(account, owner, snapshot),
        Snapshot::Toy(snapshot) => toy::foreign_power(owner, snapshot),
    }
}

/// The calls that give an account back to its owner, as far as its owner can make them, and what each does.
pub fn way_back(account: Address, owner: Address, snapshot: &Snapshot) -> Vec<(Call, Step)> {
    match snapshot {
        Snapshot::KernelV2(snapshot) => power::way_back(account, owner, snapshot),
        Snapshot::Toy(_) => Vec::new(),
    }
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
            Self::Toy => toy::pause(account),
        }
    }

    /// Whether a call of the account is one that its session keys are enabled and revoked with, or that gives it back to its owner.
    pub fn rules_keys(self, account: Address, call: &Call) -> bool {
        match self {
            Self::KernelV2 => kernel_v2_account::rules_keys(account, call),
            Self::Toy => toy::rules_keys(account, call),
        }
    }
}

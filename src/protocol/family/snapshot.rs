//! One consistent picture of an account at one block, of any family: what is asked of the chain for it, and what the answers mean.

use std::collections::BTreeSet;

use alloy::primitives::{Address, Selector, U256};

use super::{Family, Validator, account::Version, approval::ApprovalRequest};
use crate::{
    policy::scope::Scope,
    protocol::{
        kernel_v2::{
            account::selector,
            generation::Generation,
            revocation::SESSION_MODES,
            snapshot::{self as kernel_v2, mode_queries, read_mode},
        },
        power::NotTheSame,
        query::{Answers, Moment, Query, Unread},
        toy,
    },
};

/// What is to be known of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotRequest {
    KernelV2(kernel_v2::SnapshotRequest),
    Toy(toy::SnapshotRequest),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Snapshot {
    KernelV2(kernel_v2::Snapshot),
    Toy(toy::Snapshot),
}

impl SnapshotRequest {
    /// Of an account, with what it holds for these session keys. `planned`: what it would be deployed with.
    pub fn of(account: Address, session_keys: &[Address], planned: Option<Version>) -> Self {
        let planned = match planned {
            Some(Version::Toy(_)) => return Self::Toy(toy::SnapshotRequest::of(account, session_keys)),
            Some(Version::KernelV2(version)) => Some(version),
            // The family of what nobody has looked at.
            None => None,
        };
        Self::KernelV2(kernel_v2::SnapshotRequest::of(account, session_keys, planned))
    }

    /// On the sandbox the contracts are ours: they behave like the deployed ones without being the same code.
    #[must_use]
    pub fn on_own_chain(self, own_chain: bool) -> Self {
        match self {
            Self::KernelV2(request) => Self::KernelV2(request.on_own_chain(own_chain)),
            Self::Toy(request) => Self::Toy(request),
        }
    }

    /// With functions beside the known ones that the account's history opened.
    #[must_use]
    pub fn with_routes(self, opened: &BTreeSet<Selector>) -> Self {
        match self {
            Self::KernelV2(request) => Self::KernelV2(request.with_routes(opened)),
            Self::Toy(request) => Self::Toy(request),
        }
    }

    /// The same with everything that a snapshot has something of: what one node holds, another is asked for as well.
    #[must_use]
    pub fn with_all_of(&self, snapshot: &Snapshot) -> Self {
        match (self, snapshot) {
            (Self::KernelV2(request), Snapshot::KernelV2(snapshot)) => Self::KernelV2(request.with_all_of(snapshot)),
            (Self::Toy(request), Snapshot::Toy(snapshot)) => Self::Toy(request.with_all_of(snapshot)),
            _ => self.clone(),
        }
    }

    pub fn queries(&self) -> Vec<Query> {
        match self {
            Self::KernelV2(request) => request.queries(),
            Self::Toy(request) => request.queries(),
        }
    }

    /// What the answers to [`Self::queries`] say.
    pub fn read<E>(&self, at: Moment, answers: Answers<'_, E>) -> Result<Snapshot, Unread<E>> {
        match self {
            Self::KernelV2(request) => request.read(at, answers).map(Snapshot::KernelV2),
            Self::Toy(request) => request.read(at, answers).map(Snapshot::Toy),
        }
    }

    /// A second way to read what a claim stands on: from storage, which another part of a node answers than views.
    pub fn storage_queries(&self) -> Vec<Query> {
        match self {
            Self::KernelV2(request) => request.storage_queries(),
            Self::Toy(request) => request.storage_queries(),
        }
    }

    /// The snapshot with what the answers to [`Self::storage_queries`] say.
    pub fn read_storage<E>(&self, told: &Snapshot, answers: Answers<'_, E>) -> Result<Snapshot, Unread<E>> {
        match (self, told) {
            (Self::KernelV2(request), Snapshot::KernelV2(told)) => {
                request.read_storage(told, answers).map(Snapshot::KernelV2)
            }
            // It was storage that was read the first time.
            (Self::Toy(_), Snapshot::Toy(told)) => Ok(Snapshot::Toy(told.clone())),
            _ => Err(Unread::Malformed { what: "the account", expected: "one of the same family" }),
        }
    }
}

/// The account's approval nonces, where keys would be enabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountNonces {
    /// Where session keys are sent; `None` where to none yet.
    pub validator: Option<Validator>,
    /// The newest that was used, in decimal.
    pub last: String,
    /// Everything through it is invalid, in decimal.
    pub invalid: String,
}

impl Snapshot {
    pub const fn family(&self) -> Family {
        match self {
            Self::KernelV2(_) => Family::KernelV2,
            Self::Toy(_) => Family::Toy,
        }
    }

    pub const fn block(&self) -> u64 {
        match self {
            Self::KernelV2(snapshot) => snapshot.block,
            Self::Toy(snapshot) => snapshot.block,
        }
    }

    /// Block time, unix seconds.
    pub const fn timestamp(&self) -> u64 {
        match self {
            Self::KernelV2(snapshot) => snapshot.timestamp,
            Self::Toy(snapshot) => snapshot.timestamp,
        }
    }

    /// Counts as of an earlier block, where the other one of two pictures is of that.
    pub fn no_later_than(&mut self, block: u64) {
        match self {
            Self::KernelV2(snapshot) => {
                snapshot.block = snapshot.block.min(block);
            }
            Self::Toy(snapshot) => {
                snapshot.block = snapshot.block.min(block);
            }
        }
    }

    pub const fn deployed(&self) -> bool {
        match self {
            Self::KernelV2(snapshot) => snapshot.deployed,
            Self::Toy(snapshot) => snapshot.deployed,
        }
    }

    /// What the account runs, or would be deployed with; `None` for what is not known.
    pub fn version(&self) -> Option<Version> {
        match self {
            Self::KernelV2(snapshot) => snapshot.kernel.map(Version::from),
            Self::Toy(snapshot) => snapshot.deployed.then_some(Version::Toy(toy::Version)),
        }
    }

    pub const fn owner(&self) -> Option<Address> {
        match self {
            Self::KernelV2(snapshot) => snapshot.owner,
            Self::Toy(snapshot) => snapshot.owner,
        }
    }

    /// Wei.
    pub const fn balance(&self) -> U256 {
        match self {
            Self::KernelV2(snapshot) => snapshot.balance,
            Self::Toy(snapshot) => snapshot.balance,
        }
    }

    /// Wei at the EntryPoint.
    pub const fn deposit(&self) -> U256 {
        match self {
            Self::KernelV2(snapshot) => snapshot.deposit,
            Self::Toy(snapshot) => snapshot.deposit,
        }
    }

    /// Wei that a holder of a key could spend as gas.
    pub fn spendable(&self) -> U256 {
        self.balance().saturating_add(self.deposit())
    }

    /// Whether the account refuses session keys, or some of what they can do, until it is unpaused.
    pub const fn pauses_keys(&self) -> bool {
        match self {
            Self::KernelV2(snapshot) => snapshot.pauses_keys(),
            Self::Toy(snapshot) => snapshot.stopped,
        }
    }

    pub fn nonces(&self) -> AccountNonces {
        let snapshot = match self {
            Self::KernelV2(snapshot) => snapshot,
            Self::Toy(_) => {
                let none = || "none".to_owned();
                return AccountNonces { validator: Some(Validator::Toy(toy::Keeper)), last: none(), invalid: none() };
            }
        };
        let generation = snapshot.generation(selector::EXECUTE);
        let nonces = snapshot.nonces(generation.unwrap_or(Generation::DEFAULT));
        AccountNonces {
            validator: generation.map(Validator::from),
            last: nonces.last.to_string(),
            invalid: nonces.invalid.to_string(),
        }
    }

    /// Functions of the account that were asked about.
    pub fn functions(&self) -> BTreeSet<Selector> {
        match self {
            Self::KernelV2(snapshot) => snapshot.routes.keys().copied().collect(),
            Self::Toy(_) => toy::OPENED.into(),
        }
    }

    /// Whether the chain holds exactly this approval for its key.
    pub fn holds(&self, request: &ApprovalRequest) -> bool {
        match (self, request) {
            (Self::KernelV2(snapshot), ApprovalRequest::KernelV2(request)) => {
                snapshot.holds(request.validator, &request.enable)
            }
            (Self::Toy(snapshot), ApprovalRequest::Toy(request)) => snapshot.holds(request),
            _ => true,
        }
    }

    /// How often a permission was used under an approval, where the chain counts it and was asked.
    pub fn uses(&self, request: &ApprovalRequest, index: u32) -> Option<u64> {
        let (Self::KernelV2(snapshot), ApprovalRequest::KernelV2(request)) = (self, request) else { return None };
        snapshot.uses(request.validator, request.enable.nonce, index)
    }

    /// The version that an approval of this owner must name; an error when the account is not the owner's any more (R26, R28).
    pub fn version_for(&self, owner: Address) -> Result<Version, NotTheSame> {
        match self {
            Self::KernelV2(snapshot) => snapshot.version_for(owner).map(Version::from),
            Self::Toy(snapshot) => snapshot.check_owner(owner).map(|()| Version::Toy(toy::Version)),
        }
    }

    /// Where two readings of the same block are not alike, in words.
    pub fn contradicts(&self, other: &Self) -> Option<String> {
        match (self, other) {
            (Self::KernelV2(one), Self::KernelV2(other)) => one.contradicts(other),
            (Self::Toy(one), Self::Toy(other)) => (one != other).then(|| "the account".to_owned()),
            _ => Some("the family of the account".to_owned()),
        }
    }

    /// What two pictures of an account at one block say differently, in words.
    pub fn differences(&self, theirs: &Self) -> Vec<String> {
        match (self, theirs) {
            (Self::KernelV2(one), Self::KernelV2(theirs)) => one.differences(theirs),
            (Self::Toy(one), Self::Toy(theirs)) => {
                (one != theirs).then(|| "the account".to_owned()).into_iter().collect()
            }
            _ => vec!["the family of the account".to_owned()],
        }
    }

    /// With the keys that another picture has enabled and this one does not: deleting what is not there does no harm.
    pub fn add_keys_of(&mut self, theirs: &Self) {
        match (self, theirs) {
            (Self::KernelV2(one), Self::KernelV2(theirs)) => {
                for (place, enable) in &theirs.sessions {
                    one.sessions.entry(*place).or_insert(*enable);
                }
            }
            (Self::Toy(one), Self::Toy(theirs)) => one.add_keys_of(theirs),
            _ => {}
        }
    }
}

impl From<kernel_v2::Snapshot> for Snapshot {
    fn from(snapshot: kernel_v2::Snapshot) -> Self {
        Self::KernelV2(snapshot)
    }
}

#[cfg(test)]
impl Snapshot {
    pub const fn kernel_v2(&self) -> &kernel_v2::Snapshot {
        let Self::KernelV2(snapshot) = self else { panic!("of another family") };
        snapshot
    }

    pub const fn kernel_v2_mut(&mut self) -> &mut kernel_v2::Snapshot {
        let Self::KernelV2(snapshot) = self else { panic!("of another family") };
        snapshot
    }
}

/// The run counters of one approval's permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Counters {
    KernelV2(kernel_v2::Counters),
    /// Nothing is counted.
    Toy,
}

impl Counters {
    pub fn of(account: Address, request: &ApprovalRequest, scope: &Scope) -> Self {
        let ApprovalRequest::KernelV2(request) = request else { return Self::Toy };
        let counters = kernel_v2::Counters::of(account, request.validator, scope, request.enable.nonce);
        Self::KernelV2(counters)
    }

    /// None where nothing is counted.
    pub fn queries(&self) -> Vec<Query> {
        match self {
            Self::KernelV2(counters) => counters.queries(),
            Self::Toy => Vec::new(),
        }
    }

    /// Adds what the answers to [`Self::queries`] say.
    pub fn read_into<E>(&self, snapshot: &mut Snapshot, answers: Answers<'_, E>) -> Result<(), Unread<E>> {
        match (self, snapshot) {
            (Self::KernelV2(counters), Snapshot::KernelV2(snapshot)) => counters.read_into(snapshot, answers),
            (Self::Toy, _) => Ok(()),
            _ => Err(Unread::Malformed { what: "the account", expected: "one of the same family" }),
        }
    }
}

/// Whether an account refuses session keys, in the account's own word for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause(pub u32);

impl Pause {
    /// Whether it stops every session key, enabled ones and approvals that would be enabled.
    pub const fn stops_every_key(self) -> bool {
        self.0 & SESSION_MODES == SESSION_MODES
    }
}

impl std::fmt::Display for Pause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

impl Family {
    /// What a pause alone rests on.
    pub fn pause_queries(self, account: Address) -> Vec<Query> {
        match self {
            Self::KernelV2 => mode_queries(account),
            Self::Toy => toy::pause_queries(account),
        }
    }

    /// What the answers to [`Self::pause_queries`] say.
    pub fn read_pause<E>(self, answers: Answers<'_, E>) -> Result<Pause, Unread<E>> {
        match self {
            Self::KernelV2 => read_mode(answers).map(Pause),
            Self::Toy => toy::read_pause(answers).map(|stopped| Pause(if stopped { u32::MAX } else { 0 })),
        }
    }
}

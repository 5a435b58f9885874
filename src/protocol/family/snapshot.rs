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
    },
};

/// What is to be known of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotRequest {
    KernelV2(kernel_v2::SnapshotRequest),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Snapshot {
    KernelV2(kernel_v2::Snapshot),
}

impl SnapshotRequest {
    /// Of an account, with what it holds for these session keys. `planned`: what it would be deployed with.
    pub fn of(account: Address, session_keys: &[Address], planned: Option<Version>) -> Self {
        let planned = planned.map(|Version::KernelV2(version)| version);
        Self::KernelV2(kernel_v2::SnapshotRequest::of(account, session_keys, planned))
    }

    /// On the sandbox the contracts are ours: they behave like the deployed ones without being the same code.
    #[must_use]
    pub fn on_own_chain(self, own_chain: bool) -> Self {
        let Self::KernelV2(request) = self;
        Self::KernelV2(request.on_own_chain(own_chain))
    }

    /// With functions beside the known ones that the account's history opened.
    #[must_use]
    pub fn with_routes(self, opened: &BTreeSet<Selector>) -> Self {
        let Self::KernelV2(request) = self;
        Self::KernelV2(request.with_routes(opened))
    }

    /// The same with everything that a snapshot has something of: what one node holds, another is asked for as well.
    #[must_use]
    pub fn with_all_of(&self, snapshot: &Snapshot) -> Self {
        let (Self::KernelV2(request), Snapshot::KernelV2(snapshot)) = (self, snapshot);
        Self::KernelV2(request.with_all_of(snapshot))
    }

    pub fn queries(&self) -> Vec<Query> {
        let Self::KernelV2(request) = self;
        request.queries()
    }

    /// What the answers to [`Self::queries`] say.
    pub fn read<E>(&self, at: Moment, answers: Answers<'_, E>) -> Result<Snapshot, Unread<E>> {
        let Self::KernelV2(request) = self;
        request.read(at, answers).map(Snapshot::KernelV2)
    }

    /// A second way to read what a claim stands on: from storage, which another part of a node answers than views.
    pub fn storage_queries(&self) -> Vec<Query> {
        let Self::KernelV2(request) = self;
        request.storage_queries()
    }

    /// The snapshot with what the answers to [`Self::storage_queries`] say.
    pub fn read_storage<E>(&self, told: &Snapshot, answers: Answers<'_, E>) -> Result<Snapshot, Unread<E>> {
        let (Self::KernelV2(request), Snapshot::KernelV2(told)) = (self, told);
        request.read_storage(told, answers).map(Snapshot::KernelV2)
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
        }
    }

    pub const fn block(&self) -> u64 {
        let Self::KernelV2(snapshot) = self;
        snapshot.block
    }

    /// Block time, unix seconds.
    pub const fn timestamp(&self) -> u64 {
        let Self::KernelV2(snapshot) = self;
        snapshot.timestamp
    }

    /// Counts as of an earlier block, where the other one of two pictures is of that.
    pub fn no_later_than(&mut self, block: u64) {
        let Self::KernelV2(snapshot) = self;
        snapshot.block = snapshot.block.min(block);
    }

    pub const fn deployed(&self) -> bool {
        let Self::KernelV2(snapshot) = self;
        snapshot.deployed
    }

    /// What the account runs, or would be deployed with; `None` for what is not known.
    pub fn version(&self) -> Option<Version> {
        let Self::KernelV2(snapshot) = self;
        snapshot.kernel.map(Version::from)
    }

    pub const fn owner(&self) -> Option<Address> {
        let Self::KernelV2(snapshot) = self;
        snapshot.owner
    }

    /// Wei.
    pub const fn balance(&self) -> U256 {
        let Self::KernelV2(snapshot) = self;
        snapshot.balance
    }

    /// Wei at the EntryPoint.
    pub const fn deposit(&self) -> U256 {
        let Self::KernelV2(snapshot) = self;
        snapshot.deposit
    }

    /// Wei that a holder of a key could spend as gas.
    pub fn spendable(&self) -> U256 {
        self.balance().saturating_add(self.deposit())
    }

    /// Whether the account refuses session keys, or some of what they can do, until it is unpaused.
    pub const fn pauses_keys(&self) -> bool {
        let Self::KernelV2(snapshot) = self;
        snapshot.pauses_keys()
    }

    pub fn nonces(&self) -> AccountNonces {
        let Self::KernelV2(snapshot) = self;
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
        let Self::KernelV2(snapshot) = self;
        snapshot.routes.keys().copied().collect()
    }

    /// Whether the chain holds exactly this approval for its key.
    pub fn holds(&self, request: &ApprovalRequest) -> bool {
        let (Self::KernelV2(snapshot), ApprovalRequest::KernelV2(request)) = (self, request);
        snapshot.holds(request.validator, &request.enable)
    }

    /// How often a permission was used under an approval, where the chain counts it and was asked.
    pub fn uses(&self, request: &ApprovalRequest, index: u32) -> Option<u64> {
        let (Self::KernelV2(snapshot), ApprovalRequest::KernelV2(request)) = (self, request);
        snapshot.uses(request.validator, request.enable.nonce, index)
    }

    /// The version that an approval of this owner must name; an error when the account is not the owner's any more (R26, R28).
    pub fn version_for(&self, owner: Address) -> Result<Version, NotTheSame> {
        let Self::KernelV2(snapshot) = self;
        snapshot.version_for(owner).map(Version::from)
    }

    /// Where two readings of the same block are not alike, in words.
    pub fn contradicts(&self, other: &Self) -> Option<String> {
        let (Self::KernelV2(one), Self::KernelV2(other)) = (self, other);
        one.contradicts(other)
    }

    /// What two pictures of an account at one block say differently, in words.
    pub fn differences(&self, theirs: &Self) -> Vec<String> {
        let (Self::KernelV2(one), Self::KernelV2(theirs)) = (self, theirs);
        one.differences(theirs)
    }

    /// With the keys that another picture has enabled and this one does not: deleting what is not there does no harm.
    pub fn add_keys_of(&mut self, theirs: &Self) {
        let (Self::KernelV2(one), Self::KernelV2(theirs)) = (self, theirs);
        for (place, enable) in &theirs.sessions {
            one.sessions.entry(*place).or_insert(*enable);
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
        let Self::KernelV2(snapshot) = self;
        snapshot
    }

    pub const fn kernel_v2_mut(&mut self) -> &mut kernel_v2::Snapshot {
        let Self::KernelV2(snapshot) = self;
        snapshot
    }
}

/// The run counters of one approval's permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Counters {
    KernelV2(kernel_v2::Counters),
}

impl Counters {
    pub fn of(account: Address, request: &ApprovalRequest, scope: &Scope) -> Self {
        let ApprovalRequest::KernelV2(request) = request;
        let counters = kernel_v2::Counters::of(account, request.validator, scope, request.enable.nonce);
        Self::KernelV2(counters)
    }

    /// None where nothing is counted.
    pub fn queries(&self) -> Vec<Query> {
        let Self::KernelV2(counters) = self;
        counters.queries()
    }

    /// Adds what the answers to [`Self::queries`] say.
    pub fn read_into<E>(&self, snapshot: &mut Snapshot, answers: Answers<'_, E>) -> Result<(), Unread<E>> {
        let (Self::KernelV2(counters), Snapshot::KernelV2(snapshot)) = (self, snapshot);
        counters.read_into(snapshot, answers)
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
        }
    }

    /// What the answers to [`Self::pause_queries`] say.
    pub fn read_pause<E>(self, answers: Answers<'_, E>) -> Result<Pause, Unread<E>> {
        match self {
            Self::KernelV2 => read_mode(answers).map(Pause),
        }
    }
}

//! The account at one block, read from its storage.

use std::collections::{BTreeMap, BTreeSet};

use alloy::{
    primitives::{Address, B256, U256, keccak256},
    sol,
    sol_types::SolValue,
};

use super::ApprovalRequest;
use crate::{
    erc4337::v06::ENTRY_POINT,
    protocol::{
        power::NotTheSame,
        query::{Answers, Moment, Query, Unread},
    },
};

sol! {
    function balanceOf(address account) returns (uint256);
}

fn slot(at: u8) -> B256 {
    B256::with_last_byte(at)
}

fn entry(key: Address) -> B256 {
    keccak256((key, slot(2)).abi_encode())
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRequest {
    account: Address,
    keys: BTreeSet<Address>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub block: u64,
    pub timestamp: u64,
    pub deployed: bool,
    pub owner: Option<Address>,
    pub balance: U256,
    pub deposit: U256,
    pub stopped: bool,
    /// What it holds for a key: the digest of its approval.
    pub keys: BTreeMap<Address, B256>,
}

impl SnapshotRequest {
    pub fn of(account: Address, keys: &[Address]) -> Self {
        Self { account, keys: keys.iter().copied().collect() }
    }

    pub fn with_all_of(&self, snapshot: &Snapshot) -> Self {
        Self { account: self.account, keys: self.keys.iter().chain(snapshot.keys.keys()).copied().collect() }
    }

    pub fn queries(&self) -> Vec<Query> {
        let account = self.account;
        let mut queries = vec![
            Query::code("the account", account),
            Query::balance("the balance", account),
            Query::call("the deposit", ENTRY_POINT, &balanceOfCall { account }),
            Query::storage("the owner", account, slot(0)),
            Query::storage("the stop", account, slot(1)),
        ];
        queries.extend(self.keys.iter().map(|key| Query::storage("a key", account, entry(*key))));
        queries
    }

    /// Everything is from storage the first time.
    pub const fn storage_queries(&self) -> Vec<Query> {
        Vec::new()
    }

    pub fn read<E>(&self, at: Moment, mut answers: Answers<'_, E>) -> Result<Snapshot, Unread<E>> {
        let deployed = answers.code_hash()?.is_some();
        let balance = answers.number()?;
        let deposit = answers.required::<balanceOfCall>()?;
        let owner = Address::from_word(answers.number()?.into());
        let stopped = !answers.number()?.is_zero();
        let mut keys = BTreeMap::new();
        for key in &self.keys {
            let digest = B256::from(answers.number()?);
            if !digest.is_zero() {
                keys.insert(*key, digest);
            }
        }
        let Moment { block, timestamp } = at;
        let owner = deployed.then_some(owner);
        Ok(Snapshot { block, timestamp, deployed, owner, balance, deposit, stopped, keys })
    }
}

impl Snapshot {
    pub fn holds(&self, request: &ApprovalRequest) -> bool {
        self.keys.get(&request.session_key) == Some(&request.digest())
    }

    pub fn check_owner(&self, owner: Address) -> Result<(), NotTheSame> {
        match self.owner {
            Some(now) if now != owner => Err(NotTheSame::Owner(now)),
            _ => Ok(()),
        }
    }

    pub fn add_keys_of(&mut self, theirs: &Self) {
        for (key, digest) in &theirs.keys {
            self.keys.entry(*key).or_insert(*digest);
        }
    }
}

pub fn pause_queries(account: Address) -> Vec<Query> {
    vec![Query::storage("the stop", account, slot(1))]
}

pub fn read_pause<E>(mut answers: Answers<'_, E>) -> Result<bool, Unread<E>> {
    Ok(!answers.number()?.is_zero())
}

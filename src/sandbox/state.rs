//! What the accounts of the chain hold, in a form that revm reads and a file keeps.

use std::{collections::BTreeMap, convert::Infallible};

use alloy::primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, map::AddressMap};
use revm::{
    DatabaseCommit, DatabaseRef,
    state::{Account as ChangedAccount, AccountInfo, Bytecode},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// One account.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Account {
    pub nonce: u64,
    /// Wei.
    pub balance: U256,
    #[serde(default, skip_serializing_if = "Bytecode::is_empty", with = "code")]
    pub code: Bytecode,
    /// Of `code`; not written down, so that no file can claim another.
    #[serde(skip)]
    code_hash: B256,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub storage: BTreeMap<U256, U256>,
}

impl Account {
    fn code_hash(&self) -> B256 {
        if self.code.is_empty() { KECCAK256_EMPTY } else { self.code_hash }
    }

    pub fn set_code(&mut self, code: Bytecode) {
        self.code_hash = code.hash_slow();
        self.code = code;
    }

    pub fn set_storage(&mut self, slot: U256, value: U256) {
        if value.is_zero() {
            self.storage.remove(&slot);
        } else {
            self.storage.insert(slot, value);
        }
    }

    fn info(&self) -> AccountInfo {
        AccountInfo {
            balance: self.balance,
            nonce: self.nonce,
            code_hash: self.code_hash(),
            code: Some(self.code.clone()),
            ..AccountInfo::default()
        }
    }
}

/// All accounts, in the order of their addresses.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct State {
    accounts: BTreeMap<Address, Account>,
}

impl State {
    pub fn account(&self, address: Address) -> Option<&Account> {
        self.accounts.get(&address)
    }

    pub fn account_mut(&mut self, address: Address) -> &mut Account {
        self.accounts.entry(address).or_default()
    }

    /// Computes the code hashes, which a file does not hold.
    pub fn rehash(&mut self) {
        for account in self.accounts.values_mut() {
            account.code_hash = account.code.hash_slow();
        }
    }
}

impl DatabaseCommit for State {
    fn commit(&mut self, changes: AddressMap<ChangedAccount>) {
        for (address, changed) in changes {
            if !changed.is_touched() {
                continue;
            }
            if changed.is_selfdestructed() || changed.is_empty() {
                self.accounts.remove(&address);
                continue;
            }
            let account = self.accounts.entry(address).or_default();
            if changed.is_created() {
                account.storage.clear();
            }
            account.nonce = changed.info.nonce;
            account.balance = changed.info.balance;
            if let Some(code) = changed.info.code
                && changed.info.code_hash != account.code_hash()
            {
                account.code = code;
                account.code_hash = changed.info.code_hash;
            }
            for (slot, value) in changed.storage {
                account.set_storage(slot, value.present_value());
            }
        }
    }
}

/// The state as one block sees it, with the hashes of those before.
pub(super) struct View<'a> {
    pub state: &'a State,
    pub block_hash: &'a dyn Fn(u64) -> B256,
}

impl DatabaseRef for View<'_> {
    type Error = Infallible;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, Infallible> {
        Ok(self.state.account(address).map(Account::info))
    }

    /// Not asked for: every account carries its code.
    fn code_by_hash_ref(&self, hash: B256) -> Result<Bytecode, Infallible> {
        let account = self.state.accounts.values().find(|account| account.code_hash() == hash);
        Ok(account.map(|account| account.code.clone()).unwrap_or_default())
    }

    fn storage_ref(&self, address: Address, slot: U256) -> Result<U256, Infallible> {
        let account = self.state.account(address);
        Ok(account.and_then(|account| account.storage.get(&slot)).copied().unwrap_or_default())
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, Infallible> {
        Ok((self.block_hash)(number))
    }
}

/// Code as hex.
mod code {
    use super::{Bytecode, Bytes, Deserialize, Deserializer, Error, Serialize, Serializer};

    pub fn serialize<S: Serializer>(code: &Bytecode, s: S) -> Result<S::Ok, S::Error> {
        code.original_bytes().serialize(s)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Bytecode, D::Error> {
        Bytecode::new_raw_checked(Bytes::deserialize(d)?).map_err(D::Error::custom)
    }
}

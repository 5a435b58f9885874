//! What is known of accounts and keys, and the order in which they are shown. Sorted and counted when something was read,
//! so that a frame costs what is in sight, however many keys there are.

use std::collections::{BTreeMap, HashMap};

use alloy::primitives::Address;

use super::{
    attention::{Attention, attention},
    format,
    key_words::{may_call, over},
    widget::sheet::Row,
};
use crate::{
    sandbox::CHAIN_ID,
    wallet::{
        coin::Coin,
        error::Error,
        state::State,
        usecase::{
            account::AccountView,
            control::SOMEBODY_ELSE,
            inventory::{Difference, PAUSED},
            key::KeyView,
        },
    },
};

/// Network and address: what an account is told apart by.
pub type AccountId = (String, Address);

/// An account in the list: ours, or one that only keys we hold are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRow {
    pub name: String,
    pub network: String,
    pub address: Address,
    /// Missing when the account is someone else's.
    pub view: Option<AccountView>,
    /// What the owner should know about it, as it was read last.
    pub findings: Vec<Difference>,
    /// When it was read last, local unix seconds.
    pub read_at: Option<u64>,
    /// Since when it could not be read, local unix seconds.
    pub silent_since: Option<u64>,
}

impl AccountRow {
    fn new(name: String, network: String, address: Address, view: Option<AccountView>) -> Self {
        Self { name, network, address, view, findings: Vec::new(), read_at: None, silent_since: None }
    }

    pub fn id(&self) -> AccountId {
        (self.network.clone(), self.address)
    }

    /// That someone else can decide for the account or act for it, if so: it comes before all other findings.
    pub fn critical(&self) -> impl Iterator<Item = &Difference> {
        self.findings.iter().filter(|f| f.code == SOMEBODY_ELSE)
    }

    /// Why it is not known how things stand now.
    pub fn silence(&self) -> Option<String> {
        let why = self.view.as_ref()?.unknown_because.as_ref()?;
        let since = self.silent_since.map_or_else(String::new, |at| format!(" since {}", format::clock(at)));
        Some(format!("{} does not answer{since}: {why}", self.network))
    }

    /// Findings and silence as rows, what matters most first.
    pub fn notes(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = self.critical().map(|f| Row::Bad(f.message.clone())).collect();
        rows.extend(self.silence().map(Row::Caution));
        // The panic has its own words on every screen.
        let others = self.findings.iter().filter(|f| f.code != SOMEBODY_ELSE && f.code != PAUSED);
        rows.extend(others.map(|f| Row::Caution(f.message.clone())));
        rows
    }
}

/// What to tell about the keys of one account without looking at each of them again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountKeys {
    /// Places in [`Data::keys`], what needs a look first.
    pub keys: Vec<usize>,
    /// How many keys need attention. They come first.
    pub looks: usize,
    /// Whether one of them is urgent; missing when none needs a look.
    pub worst: Option<bool>,
    /// Chain time of the latest reading, unix seconds.
    pub as_of: Option<u64>,
}

#[derive(Debug, Default)]
pub struct Data {
    pub loaded: bool,
    pub accounts: Vec<AccountRow>,
    pub keys: Vec<KeyView>,
    /// Chain time minus local time when it was last read, in seconds, by network.
    offsets: BTreeMap<String, i64>,
    /// Operations that were sent and have no result on record.
    pub in_flight: usize,
    /// Everything here is play.
    pub sandbox: bool,
    /// One for each account.
    account_keys: Vec<AccountKeys>,
    /// What the filter looks at, one for each key, in lower case.
    search: Vec<String>,
    places: HashMap<String, usize>,
    /// Changes whenever accounts or keys do.
    pub version: u64,
}

impl Data {
    /// The coin of a network, as far as an account on it tells the chain.
    pub fn coin_of(&self, network: &str) -> Coin {
        let chain = self.accounts.iter().filter(|a| a.network == network).find_map(|a| a.view.as_ref());
        match chain {
            Some(view) => Coin::of(view.chain_id),
            None if self.sandbox => Coin::of(CHAIN_ID),
            None => Coin::unlisted(),
        }
    }

    pub fn keys_of<'a>(&'a self, account: &AccountRow) -> impl Iterator<Item = &'a KeyView> {
        let at = self.accounts.iter().position(|a| a.address == account.address && a.network == account.network);
        let account_keys = at.and_then(|at| self.account_keys.get(at));
        account_keys.into_iter().flat_map(|s| &s.keys).filter_map(|i| self.keys.get(*i))
    }

    /// The keys of the account at this place of the list, counted and sorted.
    pub fn account_keys_at(&self, account: usize) -> Option<&AccountKeys> {
        self.account_keys.get(account)
    }

    pub fn account_keys_of(&self, account: &AccountRow) -> Option<&AccountKeys> {
        let at = self.accounts.iter().position(|a| a.address == account.address && a.network == account.network)?;
        self.account_keys.get(at)
    }

    pub fn key(&self, id: &str) -> Option<&KeyView> {
        self.places.get(id).and_then(|at| self.keys.get(*at))
    }

    pub fn account(&self, (network, address): &AccountId) -> Option<&AccountRow> {
        self.accounts.iter().find(|a| a.address == *address && a.network == *network)
    }

    pub fn account_of(&self, key: &KeyView) -> Option<&AccountRow> {
        self.accounts.iter().find(|a| a.address == key.account && a.network == key.network)
    }

    /// Whether the filter lets the key at this place through; `wanted` is in lower case.
    pub fn matches(&self, key: usize, wanted: &str) -> bool {
        self.search.get(key).is_some_and(|text| text.contains(wanted))
    }

    /// The chain's time now, as far as it can be told without asking again.
    pub fn chain_time(&self, network: &str, now: u64) -> u64 {
        now.saturating_add_signed(self.offsets.get(network).copied().unwrap_or(0))
    }

    /// Takes the records in. What a chain said before stays until it says something else.
    pub fn load(&mut self, accounts: Vec<AccountView>, keys: Vec<KeyView>) {
        let known = std::mem::take(&mut self.accounts);
        self.loaded = true;
        for view in accounts {
            let before = known.iter().find(|a| a.address == view.address && a.network == view.network);
            let same = |v: &AccountView| v.name == view.name && v.watch_only == view.watch_only;
            let view = before.and_then(|a| a.view.clone()).filter(same).unwrap_or(view);
            let row = AccountRow::new(view.name.clone(), view.network.clone(), view.address, Some(view));
            self.accounts.push(match before {
                Some(before) => AccountRow {
                    findings: before.findings.clone(),
                    read_at: before.read_at,
                    silent_since: before.silent_since,
                    ..row
                },
                None => row,
            });
        }
        let mut known: HashMap<String, KeyView> =
            std::mem::take(&mut self.keys).into_iter().map(|k| (k.key_id.clone(), k)).collect();
        for key in keys {
            let before = known.remove(&key.key_id).filter(|k| k.approvals.len() == key.approvals.len());
            let key = before.unwrap_or(key);
            if self.account_of(&key).is_none() {
                let name = format::short_address(key.account);
                self.accounts.push(AccountRow::new(name, key.network.clone(), key.account, None));
            }
            self.keys.push(key);
        }
        self.put_in_order();
    }

    /// An account and its keys as its chain has them now. Where the chain could not be asked, what it said before stays, and
    /// says since when it may be old.
    pub fn account_read(&mut self, view: AccountView, keys: Vec<KeyView>, findings: Vec<Difference>, now: u64) {
        if let Some(row) = self.accounts.iter_mut().find(|a| a.address == view.address && a.network == view.network) {
            match (&view.unknown_because, &mut row.view) {
                (Some(_), Some(before)) if before.deployed.is_some() => {
                    before.unknown_because.clone_from(&view.unknown_because);
                    before.unknown_code.clone_from(&view.unknown_code);
                }
                _ => row.view = Some(view.clone()),
            }
            if view.unknown_because.is_some() {
                row.silent_since = row.silent_since.or(Some(now));
            } else {
                (row.findings, row.read_at, row.silent_since) = (findings, Some(now), None);
            }
        }
        self.merge(keys, now);
    }

    /// A network has not answered: what is shown of its accounts may be old from now on.
    pub fn not_answered(&mut self, network: &str, why: &Error, now: u64) {
        for row in self.accounts.iter_mut().filter(|a| a.network == network) {
            row.silent_since = row.silent_since.or(Some(now));
            if let Some(view) = &mut row.view {
                view.unknown_because = Some(why.message.clone());
                view.unknown_code = Some(why.code.clone());
            }
        }
    }

    pub fn merge(&mut self, keys: Vec<KeyView>, now: u64) {
        for key in keys {
            if let Some(as_of) = key.as_of {
                let offset = i64::try_from(as_of).unwrap_or(i64::MAX).saturating_sub_unsigned(now);
                self.offsets.insert(key.network.clone(), offset);
            }
            let place = self.places.get(&key.key_id).copied();
            match place.and_then(|at| self.keys.get_mut(at)) {
                // What its chain said before stays, beside why it says nothing now.
                Some(old) if key.unread.is_some() && old.as_of.is_some() => old.unread = key.unread,
                Some(old) => *old = key,
                None => {
                    self.places.insert(key.key_id.clone(), self.keys.len());
                    self.keys.push(key);
                }
            }
        }
        self.put_in_order();
    }

    /// Sorts and counts anew.
    fn put_in_order(&mut self) {
        self.version = self.version.wrapping_add(1);
        self.places = self.keys.iter().enumerate().map(|(i, k)| (k.key_id.clone(), i)).collect();
        self.search = self.keys.iter().map(searched).collect();
        let owner_of: HashMap<(&str, Address), usize> =
            self.accounts.iter().enumerate().map(|(i, a)| ((a.network.as_str(), a.address), i)).collect();
        let mut account_keys = vec![AccountKeys::default(); self.accounts.len()];
        let mut urgency = Vec::with_capacity(self.keys.len());
        for (i, key) in self.keys.iter().enumerate() {
            let look = attention(key);
            urgency.push(rank(key, look.as_ref()));
            let at = owner_of.get(&(key.network.as_str(), key.account));
            let Some(account_keys) = at.and_then(|at| account_keys.get_mut(*at)) else { continue };
            account_keys.keys.push(i);
            account_keys.as_of = account_keys.as_of.max(key.as_of);
            if let Some(look) = look {
                account_keys.looks += 1;
                account_keys.worst = account_keys.worst.max(Some(look.urgent));
            }
        }
        for (row, account_keys) in self.accounts.iter().zip(&mut account_keys) {
            if row.critical().next().is_some() {
                account_keys.worst = Some(true);
            }
            let end = |i: usize| self.keys.get(i).map(|k| if k.valid_until == 0 { u64::MAX } else { k.valid_until });
            account_keys.keys.sort_by_key(|i| (urgency.get(*i).copied(), end(*i)));
        }
        // Accounts that someone else controls come first, then those where a key needs attention; the others keep the order of the records.
        let mut rows: Vec<(AccountRow, AccountKeys)> =
            std::mem::take(&mut self.accounts).into_iter().zip(account_keys).collect();
        rows.sort_by_key(|(row, account_keys)| {
            std::cmp::Reverse((row.critical().next().is_some(), account_keys.worst))
        });
        (self.accounts, self.account_keys) = rows.into_iter().unzip();
    }
}

/// What needs a look comes first, what is over comes last.
const fn rank(key: &KeyView, look: Option<&Attention>) -> u8 {
    match (key.state, look) {
        (_, Some(look)) if look.urgent => 0,
        (_, Some(_)) => 1,
        (State::Unknown, _) => 2,
        (state, None) if state.may_act() => 3,
        (state, None) if over(state) => 5,
        (_, None) => 4,
    }
}

fn searched(key: &KeyView) -> String {
    format!("{} {} {} {}", key.label, key.state.word(), key.session_key, may_call(key)).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::tests::fixtures;

    fn data() -> Data {
        let mut data = Data::default();
        data.load(fixtures::accounts(), fixtures::keys());
        data
    }

    #[test]
    fn what_needs_a_look_comes_first_and_what_is_over_last() {
        let data = data();
        let treasury = data.accounts.first().unwrap();
        let labels: Vec<&str> = data.keys_of(treasury).map(|k| k.label.as_str()).collect();
        assert_eq!(labels, ["watcher", "anything", "rebalancer", "mint-bot", "late", "old-agent"]);
        let account_keys = data.account_keys_at(0).unwrap();
        assert_eq!((account_keys.looks, account_keys.worst), (3, Some(true)));
        assert_eq!(data.account_keys_at(2), Some(&AccountKeys::default()));
    }

    #[test]
    fn a_key_is_found_by_label_state_address_and_function() {
        let data = data();
        let found = |wanted: &str| (0..data.keys.len()).filter(|i| data.matches(*i, wanted)).count();
        assert_eq!(found("mint"), 3, "mint-bot, and what else may mint");
        assert_eq!(found("pending"), 1);
        assert_eq!(found("0x0a0a"), data.keys.iter().filter(|k| k.session_key.as_slice()[0] == 10).count());
    }

    #[test]
    fn what_is_read_again_takes_its_old_place() {
        let mut data = data();
        let mut key = fixtures::keys().remove(2);
        key.state = State::Revoked;
        data.merge(vec![key], 0);
        assert_eq!(data.keys.len(), fixtures::keys().len());
        assert_eq!(data.key("k3").unwrap().state, State::Revoked);
        assert_eq!(data.account_keys_at(0).unwrap().looks, 2);
    }
}

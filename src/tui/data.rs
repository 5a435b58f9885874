//! What is known of accounts and keys, and the order in which they are shown. Sorted and counted when something was read,
//! so that a frame costs what is in sight, however many keys there are.

use std::collections::{BTreeMap, HashMap};

use alloy::primitives::Address;

use super::{
    attention::{Attention, attention},
    screen::home::{may_call, over},
};
use crate::wallet::{account::AccountView, key::KeyView, state::State};

/// An account in the list: ours, or one that only keys we hold are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRow {
    pub name: String,
    pub network: String,
    pub address: Address,
    /// Missing when the account is somebody else's.
    pub view: Option<AccountView>,
}

/// What to tell about the keys of one account without looking at each of them again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shelf {
    /// Places in [`Data::keys`], what needs a look first.
    pub keys: Vec<usize>,
    /// How many keys need a look. They come first.
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
    shelves: Vec<Shelf>,
    /// What the filter looks at, one for each key, in lower case.
    search: Vec<String>,
    places: HashMap<String, usize>,
    /// Changes whenever accounts or keys do.
    pub version: u64,
}

impl Data {
    pub fn keys_of<'a>(&'a self, account: &AccountRow) -> impl Iterator<Item = &'a KeyView> {
        let at = self.accounts.iter().position(|a| a.address == account.address && a.network == account.network);
        let shelf = at.and_then(|at| self.shelves.get(at));
        shelf.into_iter().flat_map(|s| &s.keys).filter_map(|i| self.keys.get(*i))
    }

    /// The keys of the account at this place of the list, counted and sorted.
    pub fn shelf(&self, account: usize) -> Option<&Shelf> {
        self.shelves.get(account)
    }

    pub fn shelf_of(&self, account: &AccountRow) -> Option<&Shelf> {
        let at = self.accounts.iter().position(|a| a.address == account.address && a.network == account.network)?;
        self.shelves.get(at)
    }

    pub fn key(&self, id: &str) -> Option<&KeyView> {
        self.places.get(id).and_then(|at| self.keys.get(*at))
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
            self.accounts.push(AccountRow {
                name: view.name.clone(),
                network: view.network.clone(),
                address: view.address,
                view: Some(view),
            });
        }
        let mut known: HashMap<String, KeyView> =
            std::mem::take(&mut self.keys).into_iter().map(|k| (k.key_id.clone(), k)).collect();
        for key in keys {
            let before = known.remove(&key.key_id).filter(|k| k.approvals.len() == key.approvals.len());
            let key = before.unwrap_or(key);
            if self.account_of(&key).is_none() {
                self.accounts.push(AccountRow {
                    name: super::format::short_address(key.account),
                    network: key.network.clone(),
                    address: key.account,
                    view: None,
                });
            }
            self.keys.push(key);
        }
        self.put_in_order();
    }

    /// An account and its keys as its chain has them now.
    pub fn account_read(&mut self, view: AccountView, keys: Vec<KeyView>, now: u64) {
        if let Some(row) = self.accounts.iter_mut().find(|a| a.address == view.address && a.network == view.network) {
            row.view = Some(view);
        }
        self.merge(keys, now);
    }

    pub fn merge(&mut self, keys: Vec<KeyView>, now: u64) {
        for key in keys {
            if let Some(as_of) = key.as_of {
                let offset = i64::try_from(as_of).unwrap_or(i64::MAX).saturating_sub_unsigned(now);
                self.offsets.insert(key.network.clone(), offset);
            }
            let place = self.places.get(&key.key_id).copied();
            match place.and_then(|at| self.keys.get_mut(at)) {
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
        let mut shelves = vec![Shelf::default(); self.accounts.len()];
        let mut urgency = Vec::with_capacity(self.keys.len());
        for (i, key) in self.keys.iter().enumerate() {
            let look = attention(key);
            urgency.push(rank(key, look.as_ref()));
            let at = owner_of.get(&(key.network.as_str(), key.account));
            let Some(shelf) = at.and_then(|at| shelves.get_mut(*at)) else { continue };
            shelf.keys.push(i);
            shelf.as_of = shelf.as_of.max(key.as_of);
            if let Some(look) = look {
                shelf.looks += 1;
                shelf.worst = shelf.worst.max(Some(look.urgent));
            }
        }
        for shelf in &mut shelves {
            let end = |i: usize| self.keys.get(i).map(|k| if k.valid_until == 0 { u64::MAX } else { k.valid_until });
            shelf.keys.sort_by_key(|i| (urgency.get(*i).copied(), end(*i)));
        }
        // Accounts where something needs a look come first; the others stay as they are on record.
        let mut rows: Vec<(AccountRow, Shelf)> = std::mem::take(&mut self.accounts).into_iter().zip(shelves).collect();
        rows.sort_by_key(|(_, shelf)| std::cmp::Reverse(shelf.worst));
        (self.accounts, self.shelves) = rows.into_iter().unzip();
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
    use crate::tui::tests::made_up;

    fn data() -> Data {
        let mut data = Data::default();
        data.load(made_up::accounts(), made_up::keys());
        data
    }

    #[test]
    fn what_needs_a_look_comes_first_and_what_is_over_last() {
        let data = data();
        let treasury = data.accounts.first().unwrap();
        let labels: Vec<&str> = data.keys_of(treasury).map(|k| k.label.as_str()).collect();
        assert_eq!(labels, ["watcher", "anything", "rebalancer", "mint-bot", "late", "old-agent"]);
        let shelf = data.shelf(0).unwrap();
        assert_eq!((shelf.looks, shelf.worst), (3, Some(true)));
        assert_eq!(data.shelf(2), Some(&Shelf::default()));
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
        let mut key = made_up::keys().remove(2);
        key.state = State::Revoked;
        data.merge(vec![key], 0);
        assert_eq!(data.keys.len(), made_up::keys().len());
        assert_eq!(data.key("k3").unwrap().state, State::Revoked);
        assert_eq!(data.shelf(0).unwrap().looks, 2);
    }
}

//! The one answer to whether a key can be revoked or enabled from here, and why not.

use super::data::{AccountRow, Data};
use crate::wallet::{
    state::State as KeyState,
    usecase::{account::AccountView, key::KeyView},
};

/// Why nothing can be done with a key that is not there.
pub const GONE: &str = "this key is no longer on record";

/// Why these keys cannot be revoked from here, if they cannot.
pub fn why_not_revoke(keys: &[&KeyView], data: &Data) -> Option<String> {
    if keys.is_empty() {
        return Some("select a key to revoke first".into());
    }
    if let Some(foreign) = keys.iter().find(|k| k.imported || own(k, data).is_none()) {
        return Some(format!("{}: only the account's owner can revoke it", foreign.label));
    }
    let over = |k: &KeyView| matches!(k.state, KeyState::Revoked | KeyState::Dead);
    match keys {
        [only] if over(only) => Some(format!("{} is {} already: {}", only.label, only.state, only.state_reason)),
        several if several.iter().all(|k| over(k)) => Some("all of these keys are revoked or dead already".into()),
        _ => None,
    }
}

/// Why nothing can be revoked for this account, not even by calls that are sent from elsewhere.
pub fn why_not_revoke_all(account: Option<&AccountRow>) -> Option<String> {
    match account.map(|a| (a, a.view.as_ref())) {
        None => Some("no account yet; press m to add one".into()),
        Some((row, None)) => Some(format!("{} is someone else's account; only its owner can do that", row.name)),
        Some((_, Some(_))) => None,
    }
}

/// Why the owner can sign nothing for this account from here, if so.
pub fn why_no_owner(account: Option<&AccountRow>) -> Option<String> {
    let watched = || account.and_then(|a| a.view.as_ref()).filter(|v| v.watch_only);
    let watch_only =
        |v: &AccountView| format!("{} is watch-only: nothing can be signed without its owner's key", v.name);
    why_not_revoke_all(account).or_else(|| watched().map(watch_only))
}

/// Why these keys cannot be enabled from here, if they cannot.
pub fn why_not_enable(keys: &[&KeyView], data: &Data) -> Option<String> {
    let first = keys.first()?;
    let account = data.account_of(first);
    if first.imported || account.is_none_or(|a| a.view.is_none()) {
        return Some(format!("{}: its holder enables it with its first use", first.label));
    }
    let can = |k: &&&KeyView| matches!(k.state, KeyState::Pending | KeyState::Queued | KeyState::NotYet);
    let other = keys.iter().find(|k| !can(k))?;
    Some(format!("{} is {}: {}", other.label, other.state, other.state_reason))
}

/// Why there is nothing to look through, if so.
pub fn why_not_scan(account: Option<&AccountRow>) -> Option<String> {
    match account {
        None => Some("no account yet; press m to add one".into()),
        Some(row) if row.view.is_none() => {
            Some(format!("{} is not in your list; press m to add it as watch-only", row.name))
        }
        Some(_) => None,
    }
}

/// The account of the key, where it is ours.
pub fn own<'a>(key: &KeyView, data: &'a Data) -> Option<&'a AccountView> {
    data.account_of(key).and_then(|a| a.view.as_ref())
}

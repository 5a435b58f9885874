//! An account with all its keys, from one consistent picture at one block, and where the chain and our records disagree.
//!
//! A disagreement is told and nothing is overwritten: which of the two is right is for the owner to say.

use crate::protocol::kernel_v2::snapshot::Snapshot;
use std::collections::BTreeSet;

use serde::Serialize;

use super::{
    account::{AccountView, seen},
    control::{Power, SOMEBODY_ELSE},
    key::KeyView,
};
use crate::protocol::kernel_v2::{account::AccountSeed, generation::Generation, revocation::SESSION_MODES};
use crate::wallet::{
    Wallet,
    error::Result,
    records::model::{Account, ApprovalRecord, Key},
    state::Alarm,
};

/// An account as it stands, at one block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inventory {
    pub account: AccountView,
    pub keys: Vec<KeyView>,
    pub findings: Vec<Difference>,
    /// What can decide over the account or act for it; missing where its chain could not be asked.
    pub power: Option<Power>,
}

/// Something that the owner should know about the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Of the rule (docs/risks.md), where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'static str>,
    pub code: &'static str,
    pub message: String,
}

impl From<&Alarm> for Difference {
    fn from(alarm: &Alarm) -> Self {
        Self { id: Some(alarm.id), code: alarm.code, message: alarm.message.clone() }
    }
}

/// The code of the finding that every session key is stopped.
pub const PAUSED: &str = "paused";

/// Most turns that are compared one by one.
const MAX_TURNS: u128 = 10_000;

impl Wallet {
    /// Two round trips where the node takes batches. A chain that cannot be asked leaves the states unknown, and says why.
    pub async fn inventory(&self, account: &str) -> Result<Inventory> {
        let account = self.find_account(account)?;
        let known = self.known_keys(&account)?;
        let reach = self.reach(&account)?;
        let picture = match self.services_of(&account.network, account.chain_id).await {
            Ok(services) => services.snapshot(&account.wanted(&known).with_routes(&reach.opened)).await,
            Err(error) => Err(error),
        };
        let power = picture.as_ref().ok().map(|picture| Power::of(&account, picture, reach));
        let keys = self.store.read(|r| r.keys_of(&account.network, account.address, false))?;
        let approvals = self.store.read(|r| r.approvals_of(&account.network, account.address))?;
        let scanned = self.store.read(|r| r.scan::<serde_json::Value>(&account.network, account.address))?.is_some();
        let conflicts = self.conflicts(&account, &keys)?;
        let mut keys = self.views_in(&keys, &account.network, account.address, picture.as_ref().ok())?;
        if let Err(error) = &picture {
            for key in &mut keys {
                key.not_read(error);
            }
        }
        let mut findings: Vec<Difference> = about_power(power.as_ref()).collect();
        findings.extend(conflicts);
        findings.extend(keys.iter().flat_map(|key| &key.alarms).map(Difference::from));
        findings.extend(picture.iter().flat_map(|p| differences(&account, &approvals, scanned, p)));
        Ok(Inventory { keys, findings, power, account: seen(&account, picture.as_ref()) })
    }
}

impl Wallet {
    /// Where our records of one account, under its several network names, do not agree. Told; nothing is renamed.
    fn conflicts(&self, account: &Account, keys: &[Key]) -> Result<Vec<Difference>> {
        self.store.read(|r| {
            let mut found = Vec::new();
            if account.seed.is_some_and(|seed| AccountSeed::from(seed).address() != account.address) {
                let message = "the record of the account is damaged: the owner and index it was made with give another address";
                found.push(Difference { id: None, code: "account_damaged", message: message.to_owned() });
            }
            for other in r.names_of(&account.network, account.address)? {
                if other.owner != account.owner {
                    let message = format!(
                        "it is on record as {} on {} too, with the owner {}, and here with {}: approvals of the one who is not \
                         the owner on chain do not count",
                        other.name, other.network, other.owner, account.owner
                    );
                    found.push(Difference { id: None, code: "owner_conflict", message });
                }
            }
            let mut told: Vec<&str> = Vec::new();
            for key in keys {
                let Some(other) = r.shares_approval(&key.id)?.filter(|_| !told.contains(&key.id.as_str())) else { continue };
                told.extend(keys.iter().map(|k| k.id.as_str()).filter(|id| *id == other.id));
                let message = format!(
                    "{} ({}) and {} ({}) have the very same approval: whoever holds the key can act once, and revoking either \
                     ends both",
                    key.label, key.id, other.label, other.id
                );
                found.push(Difference { id: None, code: "same_approval", message });
            }
            Ok(found)
        })
    }
}

/// R36, first of all. Owner and implementation are told as differences from the records too.
fn about_power(power: Option<&Power>) -> impl Iterator<Item = Difference> {
    let foreign = power.map(|p| p.foreign.clone()).unwrap_or_default();
    foreign.into_iter().map(|f| Difference {
        id: Some("R36"),
        code: SOMEBODY_ELSE,
        message: format!("somebody else may decide over this account: {} {}: {}", f.what, f.address, f.why),
    })
}

/// What the chain says that our records do not, or the other way round.
pub(in crate::wallet) fn differences(
    account: &Account,
    approvals: &[ApprovalRecord],
    scanned: bool,
    picture: &Snapshot,
) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut say = |code, message: String| found.push(Difference { id: None, code, message });
    if let Some(owner) = picture.owner.filter(|owner| picture.deployed && *owner != account.owner) {
        say(
            "owner_changed",
            format!(
                "the owner is {owner} on chain and {} on record: approvals of the latter do not count now",
                account.owner
            ),
        );
    }
    if let Some(seed) = account.seed.filter(|seed| !picture.deployed && seed.owner != account.owner) {
        say(
            "account_damaged",
            format!(
                "the record of the account is damaged: it names the owner {}, and the account will be deployed with {}",
                account.owner, seed.owner
            ),
        );
    }
    match picture.kernel {
        Some(kernel) if kernel != account.kernel => say(
            "kernel_changed",
            format!(
                "it runs Kernel {kernel}, and {} is on record: approvals for the latter do not count now",
                account.kernel
            ),
        ),
        None => say(
            "kernel_unknown",
            format!(
                "it runs {}, which is no Kernel version that is known here",
                picture.implementation.unwrap_or_default()
            ),
        ),
        Some(_) => {}
    }
    match picture.disabled_mode & SESSION_MODES {
        0 => {}
        SESSION_MODES => say(PAUSED, "the account is paused: no session key can act until it is unpaused".into()),
        0b01 => say(
            "half_paused",
            "enabled keys are stopped, but approvals that were never used can still be enabled".into(),
        ),
        _ => say("half_paused", "approvals cannot be enabled, but enabled keys can still act".into()),
    }
    for ((generation, key), held) in &picture.sessions {
        let nonces = picture.nonces(*generation);
        if held.nonce <= nonces.invalid {
            continue;
        }
        if !approvals.iter().any(|a| a.request.validator == *generation && a.request.enable == *held) {
            say(
                "foreign_scope",
                format!("the chain holds a scope for {key} (nonce {}) that is not on record", held.nonce),
            );
        }
        if held.nonce > nonces.last {
            say(
                "rewound",
                format!(
                    "another tool set the nonces back to {}: nonce {} and others can be used again; \
                     revoking all ends that",
                    nonces.last, held.nonce
                ),
            );
        }
    }
    if !scanned {
        for generation in Generation::ALL {
            let turns = strange_turns(generation, approvals, picture);
            if !turns.is_empty() {
                say(
                    "unknown_turns",
                    format!(
                        "{} used by something that is not on record; `keyleash key scan {}` looks for it",
                        in_words(&turns),
                        account.name
                    ),
                );
            }
        }
    }
    found
}

/// Turns that were used, were not invalidated, and belong to no approval on record.
pub(in crate::wallet) fn strange_turns(
    generation: Generation,
    approvals: &[ApprovalRecord],
    picture: &Snapshot,
) -> Vec<u128> {
    let nonces = picture.nonces(generation);
    let ours: BTreeSet<u128> =
        approvals.iter().filter(|a| a.request.validator == generation).map(ApprovalRecord::nonce).collect();
    let first = nonces.invalid.saturating_add(1).max(nonces.last.saturating_sub(MAX_TURNS));
    (first..=nonces.last).filter(|turn| !ours.contains(turn)).collect()
}

fn in_words(turns: &[u128]) -> String {
    const SHOWN: usize = 5;
    let listed: Vec<String> = turns.iter().take(SHOWN).map(u128::to_string).collect();
    match turns.len() {
        1 => format!("nonce {} was", listed.join(", ")),
        n if n <= SHOWN => format!("nonces {} were", listed.join(", ")),
        n => format!("nonces {} and {} more were", listed.join(", "), n - SHOWN),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use alloy::primitives::{Address, B256, FixedBytes, U256};

    use super::*;
    use crate::protocol::kernel_v2::{
        account::selector,
        approval::{ApprovalRequest, EnableData},
        generation::{ECDSA_VALIDATOR, KernelVersion},
        revocation::Nonces,
    };

    const OWNER: Address = Address::repeat_byte(1);
    const KEY: Address = Address::repeat_byte(2);

    fn account() -> Account {
        Account {
            network: "local".into(),
            chain_id: 31_337,
            address: Address::repeat_byte(3),
            name: "treasury".into(),
            owner: OWNER,
            owner_secret: None,
            seed: None,
            kernel: KernelVersion::V0_2_4,
            created_at: 0,
        }
    }

    fn enable(nonce: u128) -> EnableData {
        EnableData {
            session_key: KEY,
            merkle_root: B256::ZERO,
            valid_after: 0,
            valid_until: 0,
            paymaster: Address::ZERO,
            nonce,
        }
    }

    fn approval(nonce: u128) -> ApprovalRecord {
        let request = ApprovalRequest {
            chain_id: 31_337,
            account: account().address,
            kernel: KernelVersion::V0_2_4,
            validator: Generation::G2,
            selector: selector::EXECUTE,
            executor: Address::ZERO,
            plugin_window: FixedBytes::ZERO,
            enable: enable(nonce),
        };
        ApprovalRecord { key_id: "k".into(), request, signature: None, created_at: 0 }
    }

    fn picture(last: u128, invalid: u128) -> Snapshot {
        Snapshot {
            block: 1,
            timestamp: 1,
            deployed: true,
            implementation: None,
            kernel: Some(KernelVersion::V0_2_4),
            owner: Some(OWNER),
            default_validator: Some(ECDSA_VALIDATOR),
            known_proxy: true,
            balance: U256::ZERO,
            deposit: U256::ZERO,
            disabled_mode: 0,
            routes: BTreeMap::new(),
            nonces: BTreeMap::from([(Generation::G2, Nonces { last, invalid })]),
            sessions: BTreeMap::new(),
            statuses: BTreeMap::new(),
        }
    }

    fn codes(approvals: &[ApprovalRecord], picture: &Snapshot) -> Vec<&'static str> {
        differences(&account(), approvals, false, picture).into_iter().map(|d| d.code).collect()
    }

    #[test]
    fn nothing_is_said_where_chain_and_records_agree() {
        let mut picture = picture(2, 0);
        picture.sessions.insert((Generation::G2, KEY), enable(2));
        assert!(codes(&[approval(1), approval(2)], &picture).is_empty());
    }

    #[test]
    fn another_owner_and_another_kernel_are_told() {
        let mut picture = picture(0, 0);
        picture.owner = Some(KEY);
        picture.kernel = Some(KernelVersion::V0_2_2);
        assert_eq!(codes(&[], &picture), ["owner_changed", "kernel_changed"]);
        picture.kernel = None;
        assert_eq!(codes(&[], &picture), ["owner_changed", "kernel_unknown"]);
    }

    #[test]
    fn turns_that_nobody_on_record_used_are_told_until_they_are_scanned_or_invalidated() {
        assert_eq!(codes(&[approval(2)], &picture(3, 0)), ["unknown_turns"]);
        assert!(codes(&[approval(2)], &picture(3, 3)).is_empty());
        assert!(differences(&account(), &[approval(2)], true, &picture(3, 0)).is_empty());
        let far = differences(&account(), &[], false, &picture(u128::MAX, 0));
        assert!(far[0].message.contains("more were used"), "{far:?}");
    }

    #[test]
    fn a_scope_that_is_not_on_record_and_a_rewind_are_told() {
        let mut picture = picture(1, 1);
        picture.sessions.insert((Generation::G2, KEY), enable(4));
        assert_eq!(codes(&[], &picture), ["foreign_scope", "rewound"]);
        assert_eq!(codes(&[approval(4)], &picture), ["rewound"]);
        picture.nonces.insert(Generation::G2, Nonces { last: 4, invalid: 4 });
        assert!(codes(&[], &picture).is_empty(), "what is invalidated is of no interest");
    }

    #[test]
    fn a_panic_and_half_of_one_are_told_apart() {
        let mut picture = picture(0, 0);
        for (mode, code) in [(u32::MAX, "paused"), (1, "half_paused"), (2, "half_paused"), (3, "paused")] {
            picture.disabled_mode = mode;
            assert_eq!(codes(&[], &picture), [code]);
        }
        picture.disabled_mode = 4;
        assert!(codes(&[], &picture).is_empty());
    }
}

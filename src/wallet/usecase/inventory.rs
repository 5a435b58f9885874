//! An account with all its keys, from one consistent picture at one block, and where the chain and our records disagree.
//!
//! A disagreement is told and nothing is overwritten: which of the two is right is for the owner to say.

use serde::Serialize;

use super::{
    account::{AccountView, seen},
    control::{Power, SOMEBODY_ELSE},
    key::KeyView,
};
pub use crate::protocol::status::{Difference, PAUSED};
use crate::{
    protocol::family::status::differences,
    wallet::{
        Wallet,
        error::Result,
        records::model::{Account, Key},
        state::Alarm,
    },
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

impl From<&Alarm> for Difference {
    fn from(alarm: &Alarm) -> Self {
        Self { id: Some(alarm.id), code: alarm.code, message: alarm.message.clone() }
    }
}

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
        let signed: Vec<_> = approvals.iter().map(|approval| &approval.request).collect();
        let on_record = account.on_record(&signed, scanned);
        findings.extend(picture.iter().flat_map(|picture| differences(&on_record, picture)));
        Ok(Inventory { keys, findings, power, account: seen(&account, picture.as_ref()) })
    }
}

impl Wallet {
    /// Where our records of one account, under its several network names, do not agree. Told; nothing is renamed.
    fn conflicts(&self, account: &Account, keys: &[Key]) -> Result<Vec<Difference>> {
        self.store.read(|r| {
            let mut found = Vec::new();
            if account.seed.is_some_and(|seed| account.kernel.address_of(seed) != account.address) {
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

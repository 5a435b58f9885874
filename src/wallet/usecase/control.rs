//! Who decides over an account, and what can act for it, beside its owner and its session keys (R36).
//!
//! Session keys are only one way to act for an account: its default validator decides over everything that "the owner" signs,
//! and any function can be routed to any validator and executor. Whatever of that is not understood counts as somebody else's.
//! The routes of the account's own functions are read from its state each time. Those of other functions are known from its
//! history ([`scan`](super::scan)), which is read up to some block: what was not read yet is not nothing.

use std::collections::BTreeSet;

use alloy::primitives::Selector;
use serde::Serialize;

use super::scan::{self, Kept};
pub use crate::protocol::power::{Control, Remaining};
use crate::{
    policy::risk::{Effect, Finding, Severity},
    protocol::{
        family::{revocation::foreign_power, snapshot::Snapshot},
        power::in_words,
    },
    wallet::{Wallet, error::Result, records::model::Account, rpc::services::Services},
};

/// The code of R36 in findings about an account.
pub const SOMEBODY_ELSE: &str = "somebody_else_decides";

/// How far the account's history was read for the functions that it routed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Reach {
    /// Missing when it was never read.
    pub from_block: Option<u64>,
    pub through_block: Option<u64>,
    /// Whether it was read from the account's deployment on.
    pub whole: bool,
    /// Every function that was ever routed.
    #[serde(skip)]
    pub opened: BTreeSet<Selector>,
    /// The block in which foreign code first ran on the account's storage: it may have routed functions that nothing tells of.
    pub foreign_code: Option<u64>,
}

/// What can decide over an account or act for it, as of one block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Power {
    pub control: Control,
    /// The state that this was read from.
    pub block: u64,
    /// Not understood, worst first.
    pub foreign: Vec<Remaining>,
    pub history: Reach,
}

impl Power {
    /// From one picture of the account, which has the routes of what its history opened.
    pub fn of(account: &Account, picture: &Snapshot, history: Reach) -> Self {
        let (control, mut foreign) = foreign_power(account.address, account.owner, picture);
        if let Some(block) = history.foreign_code {
            foreign.push(Remaining {
                what: "foreign code".into(),
                address: account.address,
                why: format!(
                    "code that is not the account's own ran on its storage (first in block {block}: a delegatecall, an executor, or \
                     another implementation): it may have opened functions that cannot be listed"
                ),
            });
        }
        let control = if control == Control::Ours && !foreign.is_empty() { Control::Shared } else { control };
        Self { control, block: picture.block(), foreign, history }
    }

    /// What the sentence about other functions rests on; `None` when they were all read, up to the state that was looked at.
    pub fn not_read(&self) -> Option<String> {
        match (self.history.whole, self.history.through_block) {
            (true, Some(_)) => None,
            (false, Some(_)) => Some(format!(
                "functions that the account routed before block {} were not read",
                self.history.from_block.unwrap_or_default()
            )),
            (_, None) => Some(
                "which other functions the account ever routed was not read yet; `keyleash key scan` reads it"
                    .to_owned(),
            ),
        }
    }

    /// R36, for a grant.
    pub fn finding(&self) -> Option<Finding> {
        (!self.foreign.is_empty()).then(|| Finding {
            id: "R36",
            severity: Severity::Critical,
            permission: None,
            message: format!("somebody else may decide over this account: {}", in_words(&self.foreign)),
            advice: "take the account back first: `keyleash revoke ACCOUNT --reclaim`".into(),
            effect: Effect::Block("somebody else may decide over this account"),
        })
    }
}

impl Wallet {
    /// How far the account's history is known here, from what scans kept.
    pub(in crate::wallet) fn reach(&self, account: &Account) -> Result<Reach> {
        let kept = self.store.read(|r| r.scan::<serde_json::Value>(&account.network, account.address))?;
        Ok(kept.and_then(scan::readable).map(Kept::into_reach).unwrap_or_default())
    }

    /// What can act for the account now, as far as its history was read.
    pub(in crate::wallet) async fn power(&self, account: &Account, services: &Services) -> Result<Power> {
        let history = self.reach(account)?;
        let picture = services.snapshot(&account.wanted(&[]).with_routes(&history.opened)).await?;
        Ok(Power::of(account, &picture, history))
    }

    /// The same by the account's name, for a front end that found nothing to revoke.
    pub async fn foreign_power(&self, account: &str) -> Result<Vec<Remaining>> {
        let account = self.find_account(account)?;
        let services = self.services_of(&account.network, account.chain_id).await?;
        Ok(self.power(&account, &services).await?.foreign)
    }
}

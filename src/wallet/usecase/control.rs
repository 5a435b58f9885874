//! Who decides over an account, and what can act for it, beside its owner and its session keys (R36).
//!
//! Session keys are only one way to act for an account: its default validator decides over everything that "the owner" signs,
//! and any function can be routed to any validator and executor. Whatever of that is not understood counts as somebody else's.
//! The routes of the account's own functions are read from its state each time. Those of other functions are known from its
//! history ([`scan`](super::scan)), which is read up to some block: what was not read yet is not nothing.

use crate::protocol::kernel_v2::snapshot::{Route, Snapshot};
use std::collections::BTreeSet;

use alloy::primitives::{Address, Selector};
use serde::Serialize;

use super::scan::{self, Kept};
use crate::wallet::rpc::services::Services;
use crate::wallet::{Wallet, error::Result, records::model::Account};
use crate::{
    policy::risk::{Effect, Finding, Severity},
    protocol::kernel_v2::{
        account::{self, Call, selector},
        generation::{ECDSA_VALIDATOR, Generation},
    },
};

/// The code of R36 in findings about an account.
pub const SOMEBODY_ELSE: &str = "somebody_else_decides";

/// Whose an account is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Control {
    /// The owner on record decides, and nothing else is known that could.
    Ours,
    /// Something that is not understood can decide or act as well.
    Shared,
    /// The owner on record decides no more.
    Foreign,
}

/// Something that can act for an account, or decide over it, and is not understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remaining {
    /// In few words: `default validator`, `route of execute`, `key mint-bot`.
    pub what: String,
    pub address: Address,
    pub why: String,
}

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
        let (control, mut foreign) = foreign_power(account, picture);
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
        Self { control, block: picture.block, foreign, history }
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

/// `default validator 0x…: why; route of execute …`.
pub fn in_words(remaining: &[Remaining]) -> String {
    let words: Vec<String> = remaining.iter().map(|r| format!("{} {}: {}", r.what, r.address, r.why)).collect();
    words.join("; ")
}

/// `default validator 0x…, route of execute 0x…`.
pub fn in_brief(remaining: &[Remaining]) -> String {
    let words: Vec<String> = remaining.iter().map(|r| format!("{} {}", r.what, r.address)).collect();
    words.join(", ")
}

fn foreign_power(account: &Account, picture: &Snapshot) -> (Control, Vec<Remaining>) {
    if !picture.deployed {
        return (Control::Ours, Vec::new());
    }
    let mut foreign = Vec::new();
    let mut add = |what: String, address: Address, why: String| foreign.push(Remaining { what, address, why });
    let mut control = Control::Ours;
    match picture.owner {
        Some(owner) if owner == account.owner => {}
        owner => {
            control = Control::Foreign;
            let owner = owner.unwrap_or_default();
            add(
                "owner".into(),
                owner,
                format!("the owner on record, {}, is not the account's owner any more", account.owner),
            );
        }
    }
    if let Some(validator) = picture.default_validator.filter(|v| *v != ECDSA_VALIDATOR) {
        add(
            "default validator".into(),
            validator,
            "it decides over the account instead of the ECDSAValidator: whoever it accepts can do everything, and it can refuse \
             the owner"
                .into(),
        );
    }
    if !picture.known_proxy {
        add(
            "code".into(),
            account.address,
            "the account's own code is not the proxy that the Kernel factory makes".into(),
        );
    }
    if picture.kernel.is_none() {
        let implementation = picture.implementation.unwrap_or_default();
        add("implementation".into(), implementation, "it is no Kernel version that is known here".into());
    }
    for (function, route) in &picture.routes {
        let Some((address, why)) = foreign_route(account, picture, route) else { continue };
        add(format!("route of {}", selector::described(*function)), address, why);
    }
    (control, foreign)
}

fn foreign_route(account: &Account, picture: &Snapshot, route: &Route) -> Option<(Address, String)> {
    if !route.executor.is_zero() {
        let why = "code of this executor runs in the account's name when the function is called".to_owned();
        return Some((route.executor, why));
    }
    let known = route.validator.is_zero()
        || Generation::from_address(route.validator).is_some_and(|g| picture.has_validator(g))
        || route.validator == ECDSA_VALIDATOR && picture.owner == Some(account.owner);
    (!known).then(|| {
        let until = match route.window.until {
            0 => String::new(),
            until => format!(" (until {})", crate::policy::sentence::time(until)),
        };
        (route.validator, format!("whoever this validator accepts can use the function{until}"))
    })
}

/// The calls that give an account back to its owner, as far as its owner can make them, and what each does.
pub(in crate::wallet) fn way_back(account: &Account, picture: &Snapshot) -> Vec<(Call, String, String)> {
    let to_itself = |data| Call { to: account.address, value: alloy::primitives::U256::ZERO, data };
    let mut calls = Vec::new();
    if let Some(validator) = picture.default_validator.filter(|v| *v != ECDSA_VALIDATOR) {
        calls.push((
            to_itself(account::restore_default_validator(account.owner)),
            "Kernel.setDefaultValidator(ECDSAValidator, owner)".to_owned(),
            format!("the owner's signature decides again, not {validator}"),
        ));
    }
    for (function, route) in &picture.routes {
        if foreign_route(account, picture, route).is_some() {
            let name = selector::described(*function);
            calls.push((
                to_itself(account::close_route(*function, account.owner)),
                format!("Kernel.setExecution({name}, no executor, ECDSAValidator)"),
                format!("closes {name} to everybody but the owner: {} cannot use it any more", route.validator),
            ));
        }
    }
    calls
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

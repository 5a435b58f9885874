//! The owner enables what is signed, in its order, so that queued approvals need not wait for another agent.

use crate::protocol::kernel_v2::snapshot::Snapshot;
use std::collections::BTreeMap;

use alloy::primitives::{Bytes, U256};
use serde::Serialize;

use super::key::KeyFile;
use crate::protocol::kernel_v2::{
    account::{AccountCall, Call, enable_key, set_execution},
    signature,
};
use crate::wallet::rpc::services::Services;
use crate::wallet::{
    Wallet,
    error::{Error, Result},
    records::model::{Account, ApprovalRecord, Purpose},
    state::{self, State},
    submit::{
        operation::{OperationOutcome, Prepared},
        signer::sign_operation,
    },
};

/// One step of a plan, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    pub call: String,
    pub effect: String,
}

pub struct EnablePlan {
    pub account: Account,
    pub steps: Vec<Step>,
    pub prepared: Prepared,
    /// What the owner should know besides, such as a second node that gave no answer.
    pub notes: Vec<String>,
    files: Vec<KeyFile>,
    services: Services,
}

/// What enabling came to, read back from the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Enabled {
    #[serde(flatten)]
    pub operation: OperationOutcome,
    pub keys: Vec<super::key::KeyView>,
}

impl EnablePlan {
    pub(in crate::wallet) fn purpose(&self) -> Purpose {
        Purpose::Enable { key_ids: self.files.iter().map(|f| f.key.id.clone()).collect() }
    }
}

impl Wallet {
    /// The calls that enable the approvals of these keys (all of one account) in the order of their turns.
    pub async fn plan_enable(&self, wanted: &[String], max_cost: Option<U256>) -> Result<EnablePlan> {
        let files = wanted.iter().map(|w| self.find_key(w)).collect::<Result<Vec<_>>>()?;
        let first = files.first().ok_or_else(|| Error::usage("enable.nothing", "name at least one key"))?;
        let elsewhere = |f: &&KeyFile| {
            let (one, other) = (&first.key, &f.key);
            let same = self.store.read(|r| r.is_one_account(&one.network, &other.network, one.account))?;
            Ok::<_, Error>(one.account != other.account || !same)
        };
        if let Some(other) =
            files.iter().find_map(|f| elsewhere(&f).map(|other| other.then_some(f)).transpose()).transpose()?
        {
            return Err(Error::usage(
                "enable.accounts",
                format!("{} and {} belong to different accounts", first.key.label, other.key.label),
            )
            .hint("enable the keys of one account at a time"));
        }
        let account = self.store.read(|r| r.account(&first.key.network, first.key.account))?.ok_or_else(|| {
            Error::failed("enable.not_owner", format!("the account of {} is not yours on record", first.key.label))
                .hint("only the owner can enable a key; its holder enables it with the first call")
        })?;
        let services = self.services_of(&account.network, account.chain_id).await?;
        let picture = self.picture_for(&first.key).await?;
        let keys: Vec<_> = files.iter().map(|file| file.key.session_key).collect();
        let second = services.nodes_agree(&account.wanted(&keys), &picture).await?;
        let (calls, steps) = self.enable_calls(&account, &files, &picture)?;
        let account_call = owner_call(calls, picture.kernel.is_some_and(|k| k.has_batch()))?;
        let wanted = self.owner_wanted(&account, &picture, &services, account_call.encode(), max_cost)?;
        let prepared = services.prepare(&wanted).await?;
        Ok(EnablePlan { account, steps, prepared, notes: second.into_iter().collect(), files, services })
    }

    /// From a picture of the account to the calls and what each does.
    pub(in crate::wallet) fn enable_calls(
        &self,
        account: &Account,
        files: &[KeyFile],
        picture: &Snapshot,
    ) -> Result<(Vec<Call>, Vec<Step>)> {
        let mut pending: BTreeMap<u128, (&KeyFile, &ApprovalRecord)> = BTreeMap::new();
        for file in files {
            let turns = self.turns(&account.network, account.address, file.key.generation)?;
            let turns: state::Turns<'_> = turns.iter().map(|(n, l)| (*n, l.as_str())).collect();
            for approval in &file.approvals {
                if picture.holds(file.key.generation, &approval.request.enable) {
                    continue;
                }
                let standing = state::of_approval(&file.key, approval, Some(picture), &turns);
                match standing.state {
                    State::Pending | State::Queued | State::NotYet => {
                        if let Some((other, _)) = pending.insert(approval.nonce(), (file, approval)) {
                            let (one, two) = (&other.key, &file.key);
                            let message = if one.generation == two.generation {
                                format!("{} and {} have the same nonce {}", one.label, two.label, approval.nonce())
                            } else {
                                format!("{} and {} are on different validators", one.label, two.label)
                            };
                            return Err(Error::failed("enable.together", message).hint("name one of them"));
                        }
                    }
                    _ => {
                        return Err(Error::failed(
                            "enable.state",
                            format!("{} is {}: {}", file.key.label, standing.state, standing.reason),
                        ));
                    }
                }
            }
        }
        let Some((_, (first, _))) = pending.first_key_value() else {
            return Err(Error::failed("enable.nothing", "these keys are enabled already"));
        };
        let generation = first.key.generation;
        let turns = self.turns(&account.network, account.address, generation)?;
        let mut next = picture.nonces(generation).last.saturating_add(1);
        let mut routed: Vec<_> = picture
            .routes
            .iter()
            .filter(|(_, r)| r.validator == generation.address())
            .map(|(selector, _)| *selector)
            .collect();
        let mut calls = Vec::new();
        let mut steps = Vec::new();
        for (nonce, (file, approval)) in &pending {
            if let Some(who) = turns.get(&next).filter(|_| *nonce != next) {
                return Err(Error::failed(
                    "enable.order",
                    format!("{} has nonce {nonce}, and nonce {next} ({who}) has to be used first", file.key.label),
                )
                .hint("enable that key too, or take it back first"));
            }
            if *nonce != next {
                return Err(Error::failed(
                    "enable.order",
                    format!(
                        "{} has nonce {nonce}, and no approval on record has nonce {next}, which has to be used first",
                        file.key.label
                    ),
                )
                .hint("revoke the key and grant it again: `keyleash revoke` consumes the nonces in between"));
            }
            let signature = approval.signature.as_ref().map(Bytes::as_ref).unwrap_or_default();
            if file.key.generation != generation {
                let message = format!("{} and {} are on different validators", first.key.label, file.key.label);
                return Err(Error::failed("enable.together", message).hint("name one of them"));
            }
            if !approval.request.is_signed_by(account.owner, signature) {
                return Err(Error::failed(
                    "enable.signature",
                    format!("the approval of {} does not verify", file.key.label),
                ));
            }
            let enable_data = approval.request.enable.encode();
            let replaces = match picture.sessions.contains_key(&(generation, file.key.session_key)) {
                true => ", which replaces the scope the key has now",
                false => "",
            };
            let name = crate::protocol::kernel_v2::account::selector::name(approval.selector()).unwrap_or("a function");
            if routed.contains(&approval.selector()) {
                calls.push(Call { to: generation.address(), value: U256::ZERO, data: enable_key(&enable_data) });
                steps.push(Step {
                    call: "SessionKeyValidator.enable".into(),
                    effect: format!("enables {} (nonce {nonce}){replaces}", file.key.label),
                });
            } else {
                let data = set_execution(approval.selector(), generation.address(), &enable_data);
                calls.push(Call { to: account.address, value: U256::ZERO, data });
                routed.push(approval.selector());
                let opens = match picture.route(approval.selector()) {
                    Some(other) => format!(
                        "sends {name} to validator {generation}, which silences the session keys on {},",
                        other.validator
                    ),
                    None => format!("opens {name} for session keys"),
                };
                let effect = format!("{opens} and enables {} (nonce {nonce}){replaces}", file.key.label);
                steps.push(Step { call: "setExecution".into(), effect });
            }
            next = next.saturating_add(1);
        }
        Ok((calls, steps))
    }

    pub async fn execute_enable(&self, plan: EnablePlan, wait: bool) -> Result<Enabled> {
        let signature = sign_operation(self.owner_signer(&plan.account)?.as_ref(), plan.prepared.user_op_hash).await?;
        let purpose = plan.purpose();
        let operation =
            self.execute_operation(&plan.services, plan.prepared, purpose, signature::sudo(&signature), wait).await?;
        let mut keys = Vec::with_capacity(plan.files.len());
        for file in &plan.files {
            let picture = self.picture_for(&file.key).await?;
            keys.push(self.key_view(&file.key, Some(&picture))?);
        }
        Ok(Enabled { operation, keys })
    }
}

/// One call as `execute`, several as `executeBatch` where the kernel has it.
pub(in crate::wallet) fn owner_call(mut calls: Vec<Call>, has_batch: bool) -> Result<AccountCall> {
    match (calls.len(), calls.pop()) {
        (1, Some(only)) => Ok(AccountCall::Execute(only)),
        (_, Some(last)) if has_batch => {
            calls.push(last);
            Ok(AccountCall::ExecuteBatch(calls))
        }
        (_, Some(_)) => Err(Error::failed("account.no_batch", "this account's Kernel has no batches")
            .hint("name one key at a time, or upgrade the account")),
        (_, None) => Err(Error::failed("operation.empty", "there is nothing to do")),
    }
}

//! The owner enables what is signed, in its order, so that queued approvals need not wait for another agent.

use alloy::primitives::U256;
use serde::Serialize;

use super::key::KeyFile;
use crate::{
    protocol::{
        AccountCall, Call, Step,
        family::{
            enable::{EnableRefusal, Waiting, plan_enable},
            snapshot::Snapshot,
        },
    },
    wallet::{
        Wallet,
        error::{Error, Result},
        records::model::{Account, Purpose},
        rpc::services::Services,
        state::{self, State},
        submit::{
            operation::OperationOutcome,
            printed::{PrintedCall, printed},
            progress::Progress,
            routes::{OwnerCall, Price, Route, RoutePreference, SkippedRoute, Submission, Urgency},
        },
    },
};

/// What an owner asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnableIntent {
    /// By id, label or address; all of one account.
    pub keys: Vec<String>,
    pub route: RoutePreference,
    /// Most wei that the operation or transaction may cost.
    pub max_cost: Option<U256>,
}

pub struct EnablePlan {
    pub account: Account,
    pub steps: Vec<Step>,
    /// Routes that were tried first.
    pub skipped: Vec<SkippedRoute>,
    /// What the owner should know besides, such as a second node that gave no answer.
    pub notes: Vec<String>,
    /// Missing when the calls are only printed.
    submission: Option<Submission>,
    account_call: AccountCall,
    deployed: bool,
    files: Vec<KeyFile>,
    services: Services,
}

/// What enabling came to, read back from the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Enabled {
    #[serde(rename = "way")]
    pub route: Route,
    #[serde(flatten)]
    pub operation: OperationOutcome,
    pub keys: Vec<super::key::KeyView>,
}

/// What enabling goes through, in this order, as it is told while it runs.
pub const PHASES: [&str; 3] = ["signing", "sending", "waiting for a block"];

impl EnablePlan {
    /// What it costs and who pays; `None` when the calls are only printed.
    pub fn price(&self) -> Option<Price> {
        self.submission.as_ref().map(Submission::price)
    }

    pub fn submission(&self) -> Option<&Submission> {
        self.submission.as_ref()
    }

    /// The calls for somebody else to send, in this order.
    pub fn printed(&self) -> Result<Vec<PrintedCall>> {
        printed(&self.account, self.deployed, std::slice::from_ref(&self.account_call))
    }

    pub(in crate::wallet) fn purpose(&self) -> Purpose {
        Purpose::Enable { key_ids: self.files.iter().map(|f| f.key.id.clone()).collect() }
    }
}

impl Wallet {
    /// The calls that enable the approvals of these keys in the order of their nonces, by the first route that works.
    pub async fn plan_enable(&self, intent: EnableIntent) -> Result<EnablePlan> {
        let files = intent.keys.iter().map(|w| self.find_key(w)).collect::<Result<Vec<_>>>()?;
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
        let account_call = one_operation(calls, picture.version().is_some_and(|k| k.has_batch()))?;
        let call = OwnerCall {
            account: &account,
            deployed: picture.deployed(),
            account_call: &account_call,
            max_cost: intent.max_cost,
            urgency: Urgency::Usual,
        };
        let (submission, skipped) = self.submission_of(&services, &call, intent.route).await?;
        Ok(EnablePlan {
            account,
            steps,
            skipped,
            notes: second.into_iter().collect(),
            submission,
            account_call,
            deployed: picture.deployed(),
            files,
            services,
        })
    }

    /// From a picture of the account to the calls and what each does.
    pub(in crate::wallet) fn enable_calls(
        &self,
        account: &Account,
        files: &[KeyFile],
        picture: &Snapshot,
    ) -> Result<(Vec<Call>, Vec<Step>)> {
        let queue = self.queue(&account.network, account.address)?;
        let mut waiting = Vec::new();
        for file in files {
            for approval in &file.approvals {
                let request = &approval.request;
                if picture.holds(request) {
                    continue;
                }
                let standing = state::of_approval(&file.key, approval, Some(picture), &queue);
                if !matches!(standing.state, State::Pending | State::Queued | State::NotYet) {
                    let message = format!("{} is {}: {}", file.key.label, standing.state, standing.reason);
                    return Err(Error::failed("enable.state", message));
                }
                waiting.push(Waiting { label: &file.key.label, request, signature: approval.signature.as_ref() });
            }
        }
        if waiting.is_empty() {
            return Err(Error::failed("enable.nothing", "these keys are enabled already"));
        }
        plan_enable(account.address, account.owner, &waiting, &queue, picture).map_err(|refusal| refused(&refusal))
    }

    /// Signs and sends the plan, and says which of [`PHASES`] it is in.
    pub async fn execute_enable(&self, mut plan: EnablePlan, progress: &dyn Progress) -> Result<Enabled> {
        let Some(submission) = plan.submission.take() else {
            return Err(Error::usage("enable.print", "this plan is only printed; nothing can be sent"));
        };
        let route = submission.price().route;
        let purpose = plan.purpose();
        let operation = self.submit(&plan.services, &plan.account, submission, purpose, progress).await?;
        let mut keys = Vec::with_capacity(plan.files.len());
        for file in &plan.files {
            let picture = self.picture_for(&file.key).await?;
            keys.push(self.key_view(&file.key, Some(&picture))?);
        }
        Ok(Enabled { route, operation, keys })
    }
}

fn refused(refusal: &EnableRefusal) -> Error {
    let message = refusal.to_string();
    match refusal {
        EnableRefusal::SameNonce(..) | EnableRefusal::Validators(..) => {
            Error::failed("enable.together", message).hint("name one of them")
        }
        EnableRefusal::Order { .. } => {
            Error::failed("enable.order", message).hint("enable that key too, or revoke it first")
        }
        EnableRefusal::Gap { .. } => Error::failed("enable.order", message)
            .hint("revoke the key and grant it again: `keyleash revoke` consumes the nonces in between"),
        EnableRefusal::Signature(_) => Error::failed("enable.signature", message),
    }
}

/// One call as `execute`, several as `executeBatch` where the kernel has it.
pub(in crate::wallet) fn one_operation(mut calls: Vec<Call>, has_batch: bool) -> Result<AccountCall> {
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

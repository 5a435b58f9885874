//! What became of an operation on record, and what is proven when it was to end keys.

use std::time::Duration;

use alloy::primitives::{Address, B256};
use serde::Serialize;

use super::{
    proof::{Paused, Proof, Watched, planned_at},
    revoke::{Outcome, Remaining, Verdict},
};
use crate::wallet::{
    Wallet,
    error::{Error, Result},
    records::model::{Operation, OperationState, Purpose},
    rpc::services::Services,
    submit::{follow::outcome, operation::OperationOutcome},
};

/// A completed operation, with the proofs when it was a revocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Completed {
    #[serde(flatten)]
    pub operation: OperationOutcome,
    pub proof: Option<Proof>,
    pub proofs: Vec<Proof>,
    /// After a pause: that it is on.
    pub paused: Option<Paused>,
    #[serde(skip)]
    pub not_proven: Option<Error>,
    /// Whether it was a revocation or a pause at all.
    #[serde(skip)]
    pub revokes: bool,
    /// Whether it was to end keys that are known here.
    #[serde(skip)]
    pub ends_keys: bool,
    /// What can still act for the account, as after a revocation that is followed at once.
    pub remaining: Vec<Remaining>,
}

impl Completed {
    fn outcome(&self) -> Outcome<'_> {
        Outcome {
            operation: &self.operation,
            ends_keys: self.ends_keys,
            proofs: &self.proofs,
            paused: self.paused.is_some(),
            not_proven: self.not_proven.is_some(),
            remaining: &self.remaining,
        }
    }

    /// What a revocation came to, by the rule that holds for one that is followed at once; missing for other operations.
    pub fn verdict(&self) -> Option<Verdict> {
        self.revokes.then(|| self.outcome().verdict())
    }

    /// The verdict in one line.
    pub fn in_words(&self) -> String {
        self.outcome().in_words()
    }
}

impl Wallet {
    /// Looks an operation on record up again, waiting up to `patience` for it.
    pub async fn status(&self, user_op_hash: B256, patience: Duration) -> Result<Completed> {
        let record = self.store.read(|r| r.operation(user_op_hash))?.ok_or_else(|| {
            Error::usage("operation.unknown", format!("no operation {user_op_hash} was made here"))
                .hint("give the hash that `keyleash send`, `enable` or `revoke` printed")
        })?;
        let services = self.services(&record.network).await?;
        let purpose = record.purpose.clone();
        let (account, made_at) = (record.account, record.created_at);
        let operation = match record.progress {
            OperationState::Included { .. } | OperationState::Refused { ended: true, .. } => {
                outcome(&record, services.coin())
            }
            // Nobody promised to mine it: it is looked up, not waited for.
            OperationState::Refused { ended: false, .. } => {
                self.look_up(&services, record).await.map(|r| outcome(&r, services.coin()))?
            }
            OperationState::Signed | OperationState::Sent => self.follow(&services, record, patience).await?,
        };
        self.with_proofs(&services, account, &purpose, made_at, operation, None).await
    }

    /// What an operation came to; when it took keys back, whether that is proven. Without controls that were taken before it was
    /// sent, the chain is asked for its state before.
    pub(in crate::wallet) async fn with_proofs(
        &self,
        services: &Services,
        account: Address,
        purpose: &Purpose,
        made_at: u64,
        operation: OperationOutcome,
        watched: Option<Watched>,
    ) -> Result<Completed> {
        let mut completed = Completed {
            operation,
            proof: None,
            proofs: Vec::new(),
            paused: None,
            not_proven: None,
            revokes: matches!(purpose, Purpose::Revoke { .. } | Purpose::Panic | Purpose::Reclaim),
            ends_keys: matches!(purpose, Purpose::Revoke { key_ids, .. } if !key_ids.is_empty()),
            remaining: Vec::new(),
        };
        if completed.operation.success != Some(true) {
            return Ok(completed);
        }
        let Some(account) = self.store.read(|r| r.account(&services.name, account))? else { return Ok(completed) };
        let block = completed.operation.block.unwrap_or_default();
        match purpose {
            Purpose::Revoke { key_ids, .. } => {
                completed.remaining = self.what_remains_of(&account, services, purpose, made_at, block).await?;
                completed.proofs = self.stored_proofs(key_ids, &completed.operation)?;
                if !key_ids.is_empty() && completed.proofs.len() == key_ids.len() {
                    // A proof says what held then; whoever asks wants to know what holds now.
                    let again = self.read_again(&account, services, key_ids, &mut completed.proofs).await;
                    completed.not_proven = again.unwrap_or_else(Some);
                    completed.proof = completed.proofs.first().cloned();
                    return Ok(completed);
                }
                let planned = watched.as_ref().and_then(planned_at);
                let mined = match self.mined(services, account.address, &completed.operation, planned).await {
                    Ok(mined) => mined,
                    Err(error) => {
                        completed.not_proven = Some(error);
                        return Ok(completed);
                    }
                };
                let watched = match watched {
                    Some(watched) => Ok(watched),
                    None => self.watched_before(&account, services, key_ids, mined.block).await,
                };
                match watched {
                    Ok(watched) => {
                        (completed.proofs, completed.not_proven) =
                            self.prove_all(&account, services, &watched, &mined).await;
                    }
                    Err(error) => completed.not_proven = Some(no_earlier_state(&error)),
                }
                if completed.not_proven.is_none() {
                    completed.not_proven = unproven(key_ids, &completed.proofs);
                }
                completed.proof = completed.proofs.first().cloned();
            }
            Purpose::Panic => {
                completed.remaining = self.what_remains_of(&account, services, purpose, made_at, block).await?;
                let paused = match self.mined(services, account.address, &completed.operation, None).await {
                    Ok(mined) => self.prove_paused(&account, services, &mined).await,
                    Err(error) => Err(error),
                };
                match paused {
                    Ok(paused) => {
                        completed.not_proven = self.still_paused(&account, services, &paused).await;
                        completed.paused = Some(paused);
                    }
                    Err(error) => completed.not_proven = Some(error),
                }
            }
            Purpose::Reclaim => {
                completed.remaining = self.what_remains_of(&account, services, purpose, made_at, block).await?;
            }
            Purpose::Send { .. } | Purpose::Enable { .. } => {}
        }
        Ok(completed)
    }

    /// What was proven before about the keys that an operation ended.
    fn stored_proofs(&self, key_ids: &[String], operation: &OperationOutcome) -> Result<Vec<Proof>> {
        let mut proofs = Vec::with_capacity(key_ids.len());
        for id in key_ids {
            let of_key: Vec<Proof> = self.store.read(|r| r.proofs(id))?;
            proofs.extend(of_key.into_iter().rev().find(|p| Some(p.transaction_hash) == operation.transaction_hash));
        }
        Ok(proofs)
    }

    /// Operations on record, newest first.
    pub fn operations(&self, limit: u32) -> Result<Vec<Operation>> {
        self.store.read(|r| r.operations(limit))
    }
}

/// Keys that an operation was to end, and that nothing is proven of.
fn unproven(key_ids: &[String], proofs: &[Proof]) -> Option<Error> {
    let missing: Vec<&str> =
        key_ids.iter().filter(|id| !proofs.iter().any(|p| p.key_id == **id)).map(String::as_str).collect();
    let what = match (key_ids.is_empty(), missing.as_slice()) {
        (true, _) => "what it was to end is not on record".to_owned(),
        (false, []) => return None,
        (false, ids) => format!("No proof for {}: it was already unusable before this operation.", ids.join(", ")),
    };
    let error = Error::failed("revoke.not_proven", format!("it was mined, but {what}"));
    Some(error.hint("run revoke again: it says whether anything is left"))
}

fn no_earlier_state(error: &Error) -> Error {
    Error::failed(
        "revoke.not_proven",
        format!("it was mined, but what the keys could do before is not known any more: {}", error.message),
    )
    .hint("a node that keeps the state of that block can prove it; `keyleash key show KEY` says what holds now")
}

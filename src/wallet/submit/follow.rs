//! What became of an operation: followed until it is in a block, or found again later.
//!
//! That something was mined is not the bundler's word alone: the node's receipt must hold the EntryPoint's event.

use std::time::Duration;

use alloy::{
    primitives::{B256, aliases::U192},
    sol_types::SolEvent,
};
use tokio::time::sleep;

use super::{operation::OperationOutcome, transaction::Landed};
use crate::{
    erc4337::v06::{ENTRY_POINT, UserOperation, UserOperationEvent},
    protocol::query::LogQuery,
    wallet::{
        Wallet,
        coin::Coin,
        error::{Class, Error, Kind, Result},
        records::model::{Carrier, Operation, OperationState, SignedTransaction},
        rpc::{At, Followed, Outcome, Rhythm, bundler::Included, node::Receipt, outcome_in, services::Services},
    },
};

/// How long the node may take to have what the bundler calls mined, in milliseconds before each try: nodes behind one load
/// balancer are seconds apart.
const NODE_FOLLOWS: [u64; 5] = [0, 300, 700, 1500, 2500];
/// Blocks in which a mined operation is looked for when the bundler does not know it: a week where one takes 12 seconds.
const LOOK_BACK: u64 = 50_000;
/// Most answers that such a search waits for.
const LOOKS: usize = 20;
/// What is true of every operation that was signed and is in no block.
pub const STILL_ALIVE: &str = "it is signed; it can still be mined until its nonce is used";

/// What became of an operation whose result is not on record.
pub(super) enum Fate {
    /// Its nonce is free: it can still be mined.
    Open,
    Mined(OperationState),
    /// Something else used its nonce.
    Ended,
    /// Its nonce is used, and it cannot be told by what.
    Unknown,
}

impl Wallet {
    pub(in crate::wallet) async fn follow(
        &self,
        services: &Services,
        mut record: Operation,
        patience: Duration,
    ) -> Result<OperationOutcome> {
        let reached = match &record.carrier {
            Carrier::UserOp(user_op) => {
                let bundler = services.bundler_or_say()?;
                match bundler.follow(record.user_op_hash, patience, Rhythm::default()).await? {
                    Followed::Pending => None,
                    Followed::Included(included) => match services.confirmed(&included, user_op).await? {
                        Some(progress) => Some(progress),
                        None => return Ok(unconfirmed(&record, &included, services)),
                    },
                }
            }
            Carrier::Transaction(sent) => match services.follow_transaction(sent, patience).await? {
                Landed::Waiting => None,
                Landed::Displaced => Some(OperationState::Refused {
                    message: format!("another transaction of {} took its nonce {}", sent.from, sent.nonce),
                    ended: true,
                }),
                Landed::In(receipt) => Some(services.transaction_progress(sent, &receipt).await),
            },
        };
        if let Some(reached) = reached {
            record.progress = reached;
            self.store.note(|w| w.put_operation(&record))?;
        }
        Ok(outcome(&record, services.coin()))
    }

    /// What became of an operation that was refused, written down when it is known.
    pub(in crate::wallet) async fn look_up(&self, services: &Services, mut record: Operation) -> Result<Operation> {
        let reached = match &record.carrier {
            Carrier::UserOp(user_op) => match self.fate(services, &record, user_op).await? {
                Fate::Open | Fate::Unknown => None,
                Fate::Mined(progress) => Some(progress),
                Fate::Ended => {
                    Some(OperationState::Refused { message: "something else used its nonce".into(), ended: true })
                }
            },
            Carrier::Transaction(sent) => match services.follow_transaction(sent, Duration::ZERO).await? {
                Landed::Waiting | Landed::Displaced => None,
                Landed::In(receipt) => Some(services.transaction_progress(sent, &receipt).await),
            },
        };
        if let Some(reached) = reached {
            record.progress = reached;
            self.store.note(|w| w.put_operation(&record))?;
        }
        Ok(record)
    }

    /// What became of an operation, by its nonce and the EntryPoint's event.
    pub(super) async fn fate(&self, services: &Services, record: &Operation, user_op: &UserOperation) -> Result<Fate> {
        let key = U192::from(user_op.nonce >> 64);
        let next = services.node.entry_point_nonce(user_op.sender, key, At::Latest).await?;
        if next <= user_op.nonce {
            return Ok(Fate::Open);
        }
        if let Some(progress) = services.mined(record.user_op_hash, user_op).await? {
            return Ok(Fate::Mined(progress));
        }
        let by_another = |other: &Operation| {
            let same_nonce = matches!(&other.carrier, Carrier::UserOp(op) if op.sender == user_op.sender && op.nonce == user_op.nonce);
            other.user_op_hash != record.user_op_hash
                && other.network == record.network
                && same_nonce
                && matches!(other.progress, OperationState::Included { .. })
        };
        // Nonces of key 0 are everybody's: that this one is used says nothing while all blocks since were looked through.
        let ended = self.operations(1000)?.iter().any(by_another)
            || (key.is_zero() && services.all_looked_through_since(record.created_at).await?);
        Ok(if ended { Fate::Ended } else { Fate::Unknown })
    }
}

impl Services {
    /// What a bundler calls mined, as the node has it. `None` while the node does not have the transaction.
    async fn confirmed(&self, included: &Included, user_op: &UserOperation) -> Result<Option<OperationState>> {
        let mut without_block = None;
        for pause in NODE_FOLLOWS {
            sleep(Duration::from_millis(pause)).await;
            match self.node.receipt(included.transaction_hash).await {
                Ok(Some(receipt)) => match self.in_its_block(&receipt, included.user_op_hash).await {
                    Ok(()) => return self.agreed(included, user_op, &receipt).map(Some),
                    Err(error) => without_block = Some(error),
                },
                Ok(None) => {}
                Err(error) if error.is_passing() => {}
                Err(error) => return Err(error.into()),
            }
        }
        without_block.map_or(Ok(None), Err)
    }

    /// Whether the block that a receipt names is that block. Behind a load balancer the next machine may not have it yet.
    pub(in crate::wallet) async fn in_its_block(&self, receipt: &Receipt, followed_by: B256) -> Result<()> {
        let (number, hash) = (receipt.block_number, receipt.block_hash);
        let message = match self.node.blocks(&[number]).await?.first().copied().flatten() {
            Some(block) if block.hash == hash => return Ok(()),
            Some(block) => {
                format!("the block {number} with the hash {hash}, and block {number} has the hash {}", block.hash)
            }
            None => format!("the block {number}, and has no such block"),
        };
        let node = self.node.endpoint().origin();
        let transaction = receipt.transaction_hash;
        let message = format!("{node} contradicts itself: its receipt of transaction {transaction} names {message}");
        Err(Error::new(Class::Chain, "chain.contradiction", message).of(Kind::Contradiction).hint(format!(
            "it may be mined all the same: look with `keyleash status {followed_by}` through another node"
        )))
    }

    fn agreed(&self, included: &Included, user_op: &UserOperation, receipt: &Receipt) -> Result<OperationState> {
        let bundler = self.bundler_or_say()?.endpoint().origin();
        let disagree = |what: &str| {
            let (hash, transaction) = (included.user_op_hash, included.transaction_hash);
            let words = if included.outcome.success { "succeeded" } else { "failed" };
            let node = self.node.endpoint().origin();
            let message = format!(
                "the bundler {bundler} says that operation {hash} {words} in transaction {transaction}, and the node {node} says \
                 that {what}"
            );
            Error::new(Class::Chain, "chain.mismatch", message)
                .hint(format!("one of them is wrong: look with `keyleash status {hash}` through another endpoint"))
        };
        let Some(mut outcome) = outcome_in(&receipt.logs, ENTRY_POINT, included.user_op_hash) else {
            return Err(disagree("there is no event of that operation in it"));
        };
        if !receipt.success {
            return Err(disagree("this transaction was reverted"));
        }
        if outcome.sender != user_op.sender || outcome.nonce != user_op.nonce {
            return Err(disagree("the event is of another account or nonce"));
        }
        if outcome.success != included.outcome.success {
            return Err(disagree(if outcome.success { "it succeeded" } else { "it failed" }));
        }
        if outcome.revert.is_none() {
            outcome.revert.clone_from(&included.outcome.revert);
        }
        Ok(progress(&outcome, receipt.transaction_hash, receipt.block_number))
    }

    /// The result of an operation whose nonce is used: by the bundler's receipt, else by the event in recent blocks.
    async fn mined(&self, hash: B256, user_op: &UserOperation) -> Result<Option<OperationState>> {
        if let Ok(Some(included)) = self.bundler_or_say()?.receipt(hash).await
            && let Some(progress) = self.confirmed(&included, user_op).await?
        {
            return Ok(Some(progress));
        }
        let query =
            LogQuery { address: Some(ENTRY_POINT), topics: vec![vec![UserOperationEvent::SIGNATURE_HASH], vec![hash]] };
        let newest = self.node.latest_block().await?.number;
        let mut from = newest.saturating_sub(LOOK_BACK);
        for _ in 0..LOOKS {
            let chunk = self.node.logs(std::slice::from_ref(&query), from, newest).await?;
            if let Some(outcome) = outcome_in(&chunk.logs, ENTRY_POINT, hash)
                && let Some(log) = chunk.logs.first()
            {
                return Ok(Some(progress(&outcome, log.transaction_hash, log.block_number)));
            }
            if chunk.through >= newest {
                break;
            }
            from = chunk.through.saturating_add(1);
        }
        Ok(None)
    }

    /// Whether the blocks in which an operation is looked for go back to this time, in unix seconds.
    async fn all_looked_through_since(&self, time: u64) -> Result<bool> {
        let newest = self.node.latest_block().await?.number;
        let first = newest.saturating_sub(LOOK_BACK);
        Ok(first == 0 || self.node.block(first).await?.timestamp < time)
    }

    /// A mined transaction, and what became of the UserOperation it brought along.
    async fn transaction_progress(&self, sent: &SignedTransaction, receipt: &Receipt) -> OperationState {
        let carried = sent.carries.map(|hash| outcome_in(&receipt.logs, ENTRY_POINT, hash));
        let success = receipt.success && carried.as_ref().is_none_or(|o| o.as_ref().is_some_and(|o| o.success));
        let revert_reason = match (success, carried.flatten().and_then(|o| o.revert)) {
            (true, _) => None,
            (false, Some(revert)) => Some(revert.to_string()),
            (false, None) => {
                let at = At::Block(receipt.block_number);
                let told = self.revert_reason(sent.from, sent.to, sent.data.clone(), at).await;
                Some(told.unwrap_or_else(|| "no reason given".to_owned()))
            }
        };
        OperationState::Included {
            success,
            transaction_hash: receipt.transaction_hash,
            block: receipt.block_number,
            gas_used: receipt.gas_used,
            gas_cost: receipt.gas_used.saturating_mul(receipt.gas_price),
            revert_reason,
        }
    }
}

fn progress(outcome: &Outcome, transaction_hash: B256, block: u64) -> OperationState {
    OperationState::Included {
        success: outcome.success,
        transaction_hash,
        block,
        gas_used: outcome.gas_used,
        gas_cost: outcome.gas_cost,
        revert_reason: (!outcome.success)
            .then(|| outcome.revert.as_ref().map_or_else(|| "no reason given".to_owned(), ToString::to_string)),
    }
}

/// What the bundler says and the node does not know: not mined, as far as is known.
fn unconfirmed(record: &Operation, included: &Included, services: &Services) -> OperationOutcome {
    let words = if included.outcome.success { "succeeded" } else { "failed" };
    let note = format!(
        "the bundler says that it {words} in transaction {}, block {}; the node {} does not have it yet",
        included.transaction_hash,
        included.block_number,
        services.node.endpoint().origin()
    );
    OperationOutcome { note: Some(note), ..outcome(record, services.coin()) }
}

pub(in crate::wallet) fn outcome(record: &Operation, coin: Coin) -> OperationOutcome {
    let mut out = OperationOutcome {
        user_op_hash: record.user_op_hash,
        phase: "sent",
        transaction_hash: None,
        block: None,
        success: None,
        gas_used: None,
        gas_cost: None,
        coin,
        revert_reason: None,
        note: None,
    };
    match &record.progress {
        OperationState::Signed | OperationState::Sent => {}
        OperationState::Refused { message, ended } => {
            out.phase = "refused";
            out.revert_reason = Some(match ended {
                true => message.clone(),
                false => format!("{}. All the same {STILL_ALIVE}", message.trim_end_matches('.')),
            });
        }
        OperationState::Included { success, transaction_hash, block, gas_used, gas_cost, revert_reason } => {
            out.phase = "included";
            out.transaction_hash = Some(*transaction_hash);
            out.block = Some(*block);
            out.success = Some(*success);
            out.gas_used = Some(*gas_used);
            out.gas_cost = Some(*gas_cost);
            out.revert_reason.clone_from(revert_reason);
        }
    }
    out
}

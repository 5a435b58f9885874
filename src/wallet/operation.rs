//! The one way every UserOperation goes: build, price, sponsor, sign, write down, send, follow.
//!
//! An operation is on record before it leaves: after a crash its hash is known, and `status` finds it again.

use std::time::Duration;

use alloy::primitives::{Address, B256, Bytes, U256, aliases::U192};
use serde::Serialize;

use super::{
    Wallet,
    chain::{
        At, ChainError, FeeCeiling, Followed, Market, Outcome, Rhythm, buffered, node::Receipt, outcome_in, quote,
    },
    elsewhere::Completed,
    error::{Class, Error, Result},
    model::{Carrier, Operation, Progress, Purpose},
    network::Services,
    now,
    proof::{Proof, Watched},
    transaction::{Landed, SignedTransaction},
};
use crate::kernel::{faults::Fault, generation::ENTRY_POINT, signature::DUMMY_SIGNATURE, user_op::UserOperation};

/// How long a sent operation is followed before the wait is left to `status`.
const PATIENCE: Duration = Duration::from_secs(90);

/// Hears which phase an operation is in, for people who wait.
pub type Tell<'a> = dyn Fn(&'static str) + Sync + 'a;

/// Who pays for the gas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pay {
    /// The account, from its deposit and balance.
    Account,
    /// The network's paymaster service; with an address, exactly this paymaster.
    Sponsor { expected: Option<Address> },
}

/// An operation before its gas, fees and signature.
pub(super) struct Wanted<'a> {
    pub sender: Address,
    pub init_code: Bytes,
    pub call_data: Bytes,
    /// Upper 192 bits of the nonce.
    pub nonce_key: U192,
    pub pay: Pay,
    /// Most wei the operation may cost; the default ceiling otherwise.
    pub max_cost: Option<U256>,
    /// Takes power away: offers more than the usual fee, so that nobody whose power it is overtakes it.
    pub urgent: bool,
    /// Puts a 65-byte signature into the form the account reads.
    pub assemble: &'a (dyn Fn(&[u8; 65]) -> Bytes + Sync),
}

/// An operation that is complete but for its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// Carries a dummy signature of the true length.
    pub user_op: UserOperation,
    pub user_op_hash: B256,
    /// Most wei it can cost, whoever pays.
    pub max_cost: U256,
    /// Most wei that any operation was allowed to cost here.
    pub ceiling: U256,
    /// The paymaster that pays; the account itself when missing.
    pub paymaster: Option<Address>,
    /// The method that named the fees.
    pub fee_source: &'static str,
}

/// What became of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OperationOutcome {
    pub user_op_hash: B256,
    /// `sent`, `included`, or `refused`.
    pub phase: &'static str,
    pub transaction_hash: Option<B256>,
    pub block: Option<u64>,
    /// `None` while it is not known.
    pub success: Option<bool>,
    #[serde(serialize_with = "decimal")]
    pub gas_used: Option<U256>,
    /// Wei.
    #[serde(serialize_with = "decimal")]
    pub gas_cost: Option<U256>,
    pub revert_reason: Option<String>,
}

fn decimal<S: serde::Serializer>(value: &Option<U256>, s: S) -> std::result::Result<S::Ok, S::Error> {
    match value {
        Some(value) => s.collect_str(value),
        None => s.serialize_none(),
    }
}

impl Services {
    fn bundler_or_say(&self) -> Result<&super::chain::Bundler> {
        self.bundler.as_ref().ok_or_else(|| {
            Error::usage(
                "network.no_bundler",
                format!("network {} has no bundler, so nothing can be sent on it", self.name),
            )
            .hint("remove the network and add it again with --bundler URL")
        })
    }

    /// Completes an operation up to its signature. Nothing is signed or sent.
    pub(super) async fn prepare(&self, wanted: &Wanted<'_>) -> Result<Prepared> {
        let bundler = self.bundler_or_say()?;
        bundler.check().await?;
        let market = Market::read(&self.node).await?;
        let mut ceiling = FeeCeiling::from_market(&market);
        if let Some(max_cost) = wanted.max_cost {
            ceiling = ceiling.with_max_cost(max_cost);
        }
        let quote = quote(&self.node, bundler, Some(ceiling)).await?;
        let mut user_op = UserOperation {
            sender: wanted.sender,
            nonce: self.node.entry_point_nonce(wanted.sender, wanted.nonce_key, At::Latest).await?,
            init_code: wanted.init_code.clone(),
            call_data: wanted.call_data.clone(),
            signature: (wanted.assemble)(&DUMMY_SIGNATURE),
            ..UserOperation::default()
        };
        let fees = if wanted.urgent { quote.fees.raised(&ceiling) } else { quote.fees };
        fees.apply(&mut user_op);
        let mut finished = false;
        let mut expected = None;
        if let Pay::Sponsor { expected: wanted_paymaster } = wanted.pay {
            let service = self.paymaster.as_ref().ok_or_else(|| {
                Error::usage("network.no_paymaster", format!("network {} has no paymaster service", self.name))
            })?;
            let stub = service.stub(&user_op).await?;
            if let Some(required) = wanted_paymaster.filter(|required| *required != stub.paymaster()) {
                return Err(Error::new(
                    Class::Denied,
                    "denied.paymaster",
                    format!("gas must be paid by {required}, and the network's service offers {}", stub.paymaster()),
                )
                .hint("nothing was sent; use the paymaster service that the key is bound to"));
            }
            expected = wanted_paymaster.or(Some(stub.paymaster()));
            stub.apply(&mut user_op, expected, &ceiling)?;
            finished = stub.gas.is_some();
        }
        if !finished {
            let estimate = bundler.estimate(&user_op).await.map_err(refused)?;
            buffered(bundler.endpoint().origin(), &estimate, &ceiling)?.apply(&mut user_op);
            if let (Pay::Sponsor { .. }, Some(service)) = (wanted.pay, &self.paymaster) {
                service.sponsor(&user_op).await?.apply(&mut user_op, expected, &ceiling)?;
            }
        }
        ceiling.check(bundler.endpoint().origin(), &user_op)?;
        if wanted.pay == Pay::Account {
            self.can_pay(&user_op).await?;
        }
        Ok(Prepared {
            user_op_hash: user_op.hash(ENTRY_POINT, self.network.chain_id),
            max_cost: user_op.max_cost(),
            ceiling: ceiling.max_cost,
            paymaster: user_op.paymaster(),
            fee_source: quote.source,
            user_op,
        })
    }

    /// An operation that was prepared earlier, checked against today's ceiling and the account's money.
    pub(super) async fn recheck(&self, user_op: UserOperation) -> Result<Prepared> {
        let bundler = self.bundler_or_say()?;
        bundler.check().await?;
        let ceiling = FeeCeiling::from_market(&Market::read(&self.node).await?);
        ceiling.check("the file", &user_op)?;
        if user_op.paymaster_and_data.is_empty() {
            self.can_pay(&user_op).await?;
        }
        Ok(Prepared {
            user_op_hash: user_op.hash(ENTRY_POINT, self.network.chain_id),
            max_cost: user_op.max_cost(),
            ceiling: ceiling.max_cost,
            paymaster: user_op.paymaster(),
            fee_source: "the file",
            user_op,
        })
    }

    /// Stops an operation that the EntryPoint would refuse for lack of money (AA21).
    async fn can_pay(&self, user_op: &UserOperation) -> Result<()> {
        let balance = self.node.balance(user_op.sender, At::Latest).await?;
        let deposit = self.node.deposit(user_op.sender, At::Latest).await?;
        let needed = user_op.max_cost();
        if balance.saturating_add(deposit) < needed {
            return Err(Error::failed(
                "funds.insufficient",
                format!(
                    "the account {} must be able to pay {needed} wei for gas, and has {balance} wei and {deposit} wei deposited",
                    user_op.sender
                ),
            )
            .hint("send ETH to the account, or use a network with a paymaster"));
        }
        Ok(())
    }
}

impl Wallet {
    /// Signs, writes down, sends, and follows the operation until it is in a block (or not, with `wait` false).
    pub(super) async fn execute_operation(
        &self,
        services: &Services,
        prepared: Prepared,
        purpose: Purpose,
        signature: Bytes,
        wait: bool,
    ) -> Result<OperationOutcome> {
        self.execute_operation_telling(services, prepared, purpose, signature, wait, &|_| {}).await
    }

    /// The same, and says whether it is sending or waiting.
    pub(super) async fn execute_operation_telling(
        &self,
        services: &Services,
        prepared: Prepared,
        purpose: Purpose,
        signature: Bytes,
        wait: bool,
        tell: &Tell<'_>,
    ) -> Result<OperationOutcome> {
        if self.for_one_command {
            self.vault.lock();
        }
        tell("sending");
        let bundler = services.bundler_or_say()?;
        let user_op = UserOperation { signature, ..prepared.user_op };
        let record = Operation {
            user_op_hash: prepared.user_op_hash,
            network: services.name.clone(),
            account: user_op.sender,
            purpose,
            carrier: Carrier::UserOp(user_op.clone()),
            progress: Progress::Signed,
            created_at: now(),
        };
        self.store.write(|w| w.put_operation(&record))?;
        let sent = bundler.send(&user_op).await;
        self.after_sending(services, record, sent, wait, tell).await
    }

    /// The same for a transaction of the owner's own.
    pub(super) async fn execute_transaction(
        &self,
        services: &Services,
        account: Address,
        signed: SignedTransaction,
        purpose: Purpose,
        tell: &Tell<'_>,
    ) -> Result<OperationOutcome> {
        if self.for_one_command {
            self.vault.lock();
        }
        tell("sending");
        let raw = signed.raw.clone();
        let record = Operation {
            user_op_hash: signed.hash,
            network: services.name.clone(),
            account,
            purpose,
            carrier: Carrier::Transaction(signed),
            progress: Progress::Signed,
            created_at: now(),
        };
        self.store.write(|w| w.put_operation(&record))?;
        let sent = services.node.send_raw(&raw).await;
        self.after_sending(services, record, sent, true, tell).await
    }

    async fn after_sending(
        &self,
        services: &Services,
        mut record: Operation,
        sent: std::result::Result<B256, ChainError>,
        wait: bool,
        tell: &Tell<'_>,
    ) -> Result<OperationOutcome> {
        match sent {
            Ok(_) => record.progress = Progress::Sent,
            Err(error) if error.leaves_doubt() => {
                let error = Error::from(error);
                let hash = record.user_op_hash;
                return Err(Error {
                    hint: format!("it may have been taken: look with `keyleash status {hash}`"),
                    ..error
                });
            }
            Err(error) => {
                record.progress = Progress::Refused { message: error.to_string() };
                self.store.write(|w| w.put_operation(&record))?;
                return Err(refused(error));
            }
        }
        self.store.write(|w| w.put_operation(&record))?;
        if !wait {
            return Ok(outcome(&record));
        }
        tell("waiting for a block");
        let hash = record.user_op_hash;
        // It is sent: whoever waits for it must be able to find it again.
        self.follow(services, record, PATIENCE).await.map_err(|error| match error.hint.is_empty() {
            true => error.hint(format!("it was sent: look with `keyleash status {hash}`")),
            false => error,
        })
    }

    /// Looks an operation on record up again, waiting up to `patience` for it.
    pub async fn status(&self, user_op_hash: B256, patience: Duration) -> Result<Completed> {
        let record = self.store.read(|r| r.operation(user_op_hash))?.ok_or_else(|| {
            Error::usage("operation.unknown", format!("no operation {user_op_hash} was made here"))
                .hint("give the hash that `keyleash send`, `enable` or `revoke` printed")
        })?;
        let services = self.services(&record.network).await?;
        let purpose = record.purpose.clone();
        let account = record.account;
        let operation = match record.progress {
            Progress::Included { .. } => outcome(&record),
            _ => self.follow(&services, record, patience).await?,
        };
        self.with_proofs(&services, account, &purpose, operation, None).await
    }

    /// What an operation came to; when it took keys back, whether that is proven. Without controls that were taken before it was
    /// sent, the chain is asked for its state before.
    pub(super) async fn with_proofs(
        &self,
        services: &Services,
        account: Address,
        purpose: &Purpose,
        operation: OperationOutcome,
        watched: Option<Watched>,
    ) -> Result<Completed> {
        let mut completed = Completed { operation, proof: None, proofs: Vec::new(), paused: None, not_proven: None };
        if completed.operation.success != Some(true) {
            return Ok(completed);
        }
        let Some(account) = self.store.read(|r| r.account(&services.name, account))? else { return Ok(completed) };
        match purpose {
            Purpose::Revoke { key_ids } => {
                completed.proofs = self.stored_proofs(key_ids, &completed.operation)?;
                if !key_ids.is_empty() && completed.proofs.len() == key_ids.len() {
                    completed.proof = completed.proofs.first().cloned();
                    return Ok(completed);
                }
                let block = completed.operation.block.unwrap_or_default();
                let watched = match watched {
                    Some(watched) => Ok(watched),
                    None => self.watched_before(&account, services, key_ids, block).await,
                };
                match watched {
                    Ok(watched) => {
                        (completed.proofs, completed.not_proven) =
                            self.prove_all(&account, services, &watched, &completed.operation).await;
                    }
                    Err(error) => completed.not_proven = Some(no_earlier_state(&error)),
                }
                if completed.not_proven.is_none() {
                    completed.not_proven = unproven(key_ids, &completed.proofs);
                }
                completed.proof = completed.proofs.first().cloned();
            }
            Purpose::Panic => match self.prove_paused(&account, services, &completed.operation).await {
                Ok(paused) => completed.paused = Some(paused),
                Err(error) => completed.not_proven = Some(error),
            },
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

    async fn follow(&self, services: &Services, mut record: Operation, patience: Duration) -> Result<OperationOutcome> {
        let reached = match &record.carrier {
            Carrier::UserOp(_) => {
                let bundler = services.bundler_or_say()?;
                match bundler.follow(record.user_op_hash, patience, Rhythm::default()).await? {
                    Followed::Pending => None,
                    Followed::Included(included) => {
                        Some(progress(&included.outcome, included.transaction_hash, included.block_number))
                    }
                }
            }
            Carrier::Transaction(sent) => match services.follow_transaction(sent, patience).await? {
                Landed::Waiting => None,
                Landed::Displaced => Some(Progress::Refused {
                    message: format!("another transaction of {} took its nonce {}", sent.from, sent.nonce),
                }),
                Landed::In(receipt) => Some(services.transaction_progress(sent, &receipt).await),
            },
        };
        if let Some(reached) = reached {
            record.progress = reached;
            self.store.write(|w| w.put_operation(&record))?;
        }
        Ok(outcome(&record))
    }

    /// The newest transaction of this owner on record that has no result yet.
    /// The account that it is for, and the transaction.
    pub(super) fn waiting_transaction(
        &self,
        network: &str,
        account: Address,
        owner: Address,
    ) -> Result<Option<(Address, SignedTransaction)>> {
        let waits = |o: Operation| match (o.carrier, o.progress) {
            (Carrier::Transaction(sent), Progress::Signed | Progress::Sent) => {
                (sent.from == owner).then_some((o.account, sent))
            }
            _ => None,
        };
        Ok(self.store.read(|r| r.operations_beside(network, account, 100))?.into_iter().find_map(waits))
    }
}

impl Services {
    /// A mined transaction, and what became of the UserOperation it brought along.
    async fn transaction_progress(&self, sent: &SignedTransaction, receipt: &Receipt) -> Progress {
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
        Progress::Included {
            success,
            transaction_hash: receipt.transaction_hash,
            block: receipt.block_number,
            gas_used: receipt.gas_used,
            gas_cost: receipt.gas_used.saturating_mul(receipt.gas_price),
            revert_reason,
        }
    }
}

fn progress(outcome: &Outcome, transaction_hash: B256, block: u64) -> Progress {
    Progress::Included {
        success: outcome.success,
        transaction_hash,
        block,
        gas_used: outcome.gas_used,
        gas_cost: outcome.gas_cost,
        revert_reason: (!outcome.success)
            .then(|| outcome.revert.as_ref().map_or_else(|| "no reason given".to_owned(), ToString::to_string)),
    }
}

fn outcome(record: &Operation) -> OperationOutcome {
    let mut out = OperationOutcome {
        user_op_hash: record.user_op_hash,
        phase: "sent",
        transaction_hash: None,
        block: None,
        success: None,
        gas_used: None,
        gas_cost: None,
        revert_reason: None,
    };
    match &record.progress {
        Progress::Signed | Progress::Sent => {}
        Progress::Refused { message } => {
            out.phase = "refused";
            out.revert_reason = Some(message.clone());
        }
        Progress::Included { success, transaction_hash, block, gas_used, gas_cost, revert_reason } => {
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

/// Keys that an operation was to end, and that nothing is proven of.
fn unproven(key_ids: &[String], proofs: &[Proof]) -> Option<Error> {
    let missing: Vec<&str> =
        key_ids.iter().filter(|id| !proofs.iter().any(|p| p.key_id == **id)).map(String::as_str).collect();
    let what = match (key_ids.is_empty(), missing.as_slice()) {
        (true, _) => "what it was to end is not on record".to_owned(),
        (false, []) => return None,
        (false, ids) => format!("nothing is proven of {}: it had no power before, or ended earlier", ids.join(", ")),
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

/// A bundler's refusal in our terms: by the key's scope, by the called contract, or by the service.
pub(super) fn refused(error: ChainError) -> Error {
    let Some(fault) = error.fault() else { return error.into() };
    match (&fault, fault.denial()) {
        (_, Some(code)) => {
            Error::new(Class::Denied, code, format!("the bundler refused: {fault}")).hint(fault.advice())
        }
        (Fault::CallReverts(revert), None) => {
            Error::failed("call.reverts", format!("the call itself would fail: {revert}")).hint("nothing was sent")
        }
        (_, None) => error.into(),
    }
}

/// A random 192-bit nonce key: an agent cannot block the owner's operation by using its nonce first (protocol.md 6).
pub(super) fn random_nonce_key() -> Result<U192> {
    let mut bytes = [0u8; 24];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::failed("random.none", format!("the operating system gave no random bytes: {e}")))?;
    Ok(U192::from_be_bytes(bytes))
}

//! The one way every UserOperation goes: build, price, sponsor, sign, write down, send, follow.
//!
//! An operation is on record before it leaves: after a crash its hash is known, and `status` finds it again.
//!
//! What is signed can be mined until its nonce is used, whatever a bundler said of it. So the same call again looks for what
//! became of the one before, and takes its nonce while that is free: of the two only one can be mined. That something was
//! mined is not the bundler's word alone: the node's receipt must hold the EntryPoint's event.

use std::time::Duration;

use alloy::{
    primitives::{Address, B256, Bytes, U256, aliases::U192},
    sol_types::SolEvent,
};
use serde::Serialize;
use tokio::time::sleep;

use super::{progress::Progress, refused, transaction::Landed};
use crate::{
    erc4337::{
        faults::Fault,
        v06::{ENTRY_POINT, UserOperation, UserOperationEvent, handle_ops},
    },
    protocol::{DUMMY_SIGNATURE, query::LogQuery},
    wallet::{
        Wallet,
        coin::{Coin, Limit},
        error::{Class, Error, Kind, Result},
        now,
        records::model::{Carrier, Operation, OperationState, Purpose, SignedTransaction},
        rpc::{
            At, CallRequest, ChainError, DEAR_GAS, FeeCeiling, Followed, Market, Outcome, Rhythm, buffered,
            bundler::{Bundler, Included},
            check_data, first_nonce,
            node::{Purse, Receipt},
            outcome_in, quote,
            services::Services,
        },
        usecase::{
            offline_signing::Completed,
            proof::{Proof, Watched, planned_at},
        },
    },
};

/// How long a sent operation is followed before the wait is left to `status`.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long the node may take to have what the bundler calls mined, in milliseconds before each try: nodes behind one load
/// balancer are seconds apart.
const NODE_FOLLOWS: [u64; 5] = [0, 300, 700, 1500, 2500];
/// Blocks in which a mined operation is looked for when the bundler does not know it: a week where one takes 12 seconds.
const LOOK_BACK: u64 = 50_000;
/// Most answers that such a search waits for.
const LOOKS: usize = 20;
/// What is true of every operation that was signed and is in no block.
pub const STILL_ALIVE: &str = "it is signed; it can still be mined until its nonce is used";

/// Who pays for the gas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pay {
    /// The account, from its deposit and balance.
    Account,
    /// The network's paymaster service; with an address, exactly this paymaster.
    Sponsor { expected: Option<Address> },
}

/// An operation before its gas, fees and signature.
pub(in crate::wallet) struct OperationRequest<'a> {
    pub sender: Address,
    pub init_code: Bytes,
    pub call_data: Bytes,
    /// Upper 192 bits of the nonce: zero, which session keys share, or a fresh one that nobody has used.
    pub nonce_key: U192,
    /// One that does the same and has no result yet, whose nonce is taken: only one of the two can be mined.
    pub instead_of: Option<Earlier>,
    pub pay: Pay,
    /// Most wei the operation may cost, as typed; the chain's cap otherwise.
    pub max_cost: Option<U256>,
    /// Takes power away: offers more than the usual fee, so that nobody whose power it is overtakes it.
    pub urgent: bool,
    /// Puts a 65-byte signature into the form the account reads.
    pub assemble: &'a (dyn Fn(&[u8; 65]) -> Bytes + Sync),
}

/// An operation that was signed before, and may still be mined.
#[derive(Debug, Clone)]
pub(in crate::wallet) struct Earlier {
    pub hash: B256,
    pub user_op: UserOperation,
}

/// What became of an operation whose result is not on record.
enum Fate {
    /// Its nonce is free: it can still be mined.
    Open,
    Mined(OperationState),
    /// Something else used its nonce.
    Ended,
    /// Its nonce is used, and it cannot be told by what.
    Unknown,
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
    /// What the costs are counted in.
    pub coin: Coin,
    /// The paymaster that pays; the account itself when missing.
    pub paymaster: Option<Address>,
    /// The method that named the fees.
    pub fee_source: &'static str,
    /// One that does the same, has no result yet, and cannot be mined once this one is.
    pub replaces: Option<B256>,
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
    /// What the cost is counted in.
    pub coin: Coin,
    pub revert_reason: Option<String>,
    /// What the bundler says and the node does not confirm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl OperationOutcome {
    /// It was sent, and there is no result yet.
    pub fn is_waiting(&self) -> bool {
        self.phase == "sent"
    }

    /// It was refused before it could be mined.
    pub fn is_refused(&self) -> bool {
        self.phase == "refused"
    }
}

fn decimal<S: serde::Serializer>(value: &Option<U256>, s: S) -> std::result::Result<S::Ok, S::Error> {
    match value {
        Some(value) => s.collect_str(value),
        None => s.serialize_none(),
    }
}

impl Services {
    fn bundler_or_say(&self) -> Result<&crate::wallet::rpc::Bundler> {
        self.bundler.as_ref().ok_or_else(|| {
            Error::usage(
                "network.no_bundler",
                format!("network {} has no bundler, so nothing can be sent on it", self.name),
            )
            .hint("remove the network and add it again with --bundler URL")
        })
    }

    /// The coin of this chain.
    pub(in crate::wallet) fn coin(&self) -> Coin {
        Coin::of(self.network.chain_id)
    }

    /// The most that one operation may cost here.
    pub(in crate::wallet) fn limit(&self, typed: Option<U256>) -> Limit {
        Limit::new(self.coin(), typed)
    }

    /// Completes an operation up to its signature. Nothing is signed or sent.
    pub(in crate::wallet) async fn prepare(&self, wanted: &OperationRequest<'_>) -> Result<Prepared> {
        let bundler = self.bundler_or_say()?;
        bundler.check().await?;
        let market = match wanted.urgent {
            true => Market::read_for_the_brake(&self.node).await?,
            false => Market::read(&self.node).await?,
        };
        let ceiling = FeeCeiling::new(&market, self.limit(wanted.max_cost));
        let quote = quote(&self.node, bundler, &market).await?;
        let purse = match self.node.purse(wanted.sender, wanted.nonce_key, At::Latest).await {
            Ok(purse) => Some(purse),
            // What takes power away needs nobody to tell it its nonce, and the bundler sees whether it can be paid.
            Err(_) if wanted.urgent => None,
            Err(error) => return Err(error.into()),
        };
        let mut user_op = UserOperation {
            sender: wanted.sender,
            nonce: self.nonce_of(wanted, purse.as_ref())?,
            init_code: wanted.init_code.clone(),
            call_data: wanted.call_data.clone(),
            signature: (wanted.assemble)(&DUMMY_SIGNATURE),
            ..UserOperation::default()
        };
        quote.fees.apply(&mut user_op);
        if let Err(error) = ceiling.check_fees(&quote.proposer, &quote.fees) {
            return Err(self.too_high_a_price(bundler, wanted, user_op, error).await);
        }
        let mut fees = if wanted.urgent { quote.fees.raised(&ceiling) } else { quote.fees };
        if let Some(earlier) = &wanted.instead_of {
            fees = fees.replacing(&earlier.user_op, &ceiling);
        }
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
            self.is_a_contract(stub.paymaster()).await?;
            expected = wanted_paymaster.or(Some(stub.paymaster()));
            stub.apply(&mut user_op, expected, &ceiling)?;
            finished = stub.gas.is_some();
            if finished {
                // The service's own figure decides whether the call can run at all, so somebody else is asked as well.
                let estimate = bundler.estimate(&user_op).await.map_err(refused)?;
                stub.check_call_gas(&estimate)?;
            }
        }
        if !finished {
            let estimate = bundler.estimate(&user_op).await.map_err(refused)?;
            buffered(bundler.endpoint().origin(), &estimate, &ceiling)?.apply(&mut user_op);
            if let (Pay::Sponsor { .. }, Some(service)) = (wanted.pay, &self.paymaster) {
                let promise = service.sponsor(&user_op).await?;
                promise.check_call_gas(&estimate)?;
                promise.apply(&mut user_op, expected, &ceiling)?;
            }
        }
        if wanted.urgent && wanted.pay == Pay::Account && ceiling.check_total(user_op.max_cost()).is_err() {
            // What is offered on top, so as not to be overtaken, must not be what the limit stops.
            quote.fees.apply(&mut user_op);
        }
        ceiling.check(bundler.endpoint().origin(), &user_op)?;
        if wanted.pay == Pay::Account {
            let affordable = purse.map_or(Ok(()), |purse| self.can_pay(&user_op, &purse));
            if let Err(error) = affordable
                && !(wanted.urgent && self.is_paid(&user_op).await)
            {
                return Err(error);
            }
        }
        let replaces = wanted.instead_of.as_ref().map(|earlier| earlier.hash);
        Ok(self.prepared(user_op, &ceiling, quote.source, replaces))
    }

    fn prepared(
        &self,
        user_op: UserOperation,
        ceiling: &FeeCeiling,
        fee_source: &'static str,
        replaces: Option<B256>,
    ) -> Prepared {
        Prepared {
            user_op_hash: user_op.hash(ENTRY_POINT, self.network.chain_id),
            max_cost: user_op.max_cost(),
            ceiling: ceiling.limit.wei(),
            coin: self.coin(),
            paymaster: user_op.paymaster(),
            fee_source,
            replaces,
            user_op,
        }
    }

    /// `purse`: what the node says of the account's money and nonce, where it could be asked.
    fn nonce_of(&self, wanted: &OperationRequest<'_>, purse: Option<&Purse>) -> Result<U256> {
        let first = first_nonce(wanted.nonce_key);
        match (&wanted.instead_of, purse) {
            (Some(earlier), _) => Ok(earlier.user_op.nonce),
            (None, None) => Ok(first),
            (None, Some(purse)) if wanted.nonce_key.is_zero() => {
                Ok(self.node.nonce_of_key(wanted.nonce_key, purse.nonce)?)
            }
            (None, Some(purse)) => match self.node.nonce_of_fresh_key(wanted.nonce_key, purse.nonce) {
                // There is only one right answer, and what takes power away needs nobody to tell it.
                Err(_) if wanted.urgent => Ok(first),
                answer => Ok(answer?),
            },
        }
    }

    /// The refusal of a price, with the `--max-cost` that would let the operation pass.
    async fn too_high_a_price(
        &self,
        bundler: &Bundler,
        wanted: &OperationRequest<'_>,
        mut user_op: UserOperation,
        error: ChainError,
    ) -> Error {
        let price = user_op.max_fee_per_gas;
        let cost = match bundler.estimate(&user_op).await {
            Ok(estimate) => {
                estimate.apply(&mut user_op);
                if wanted.pay != Pay::Account {
                    // With a paymaster, three times the gas of verification is set aside.
                    user_op.paymaster_and_data = Bytes::from_static(&[0xff; 20]);
                }
                user_op.max_cost()
            }
            Err(_) => U256::from(DEAR_GAS).saturating_mul(price),
        };
        let enough = self.coin().max_cost_that_allows(cost);
        Error::from(error).hint(format!(
            "in all it could cost {}; if you mean to pay that, say so on the command line: --max-cost {enough}",
            self.coin().amount(cost)
        ))
    }

    /// Nobody who has no code can pay for an operation.
    async fn is_a_contract(&self, paymaster: Address) -> Result<()> {
        match self.node.code(paymaster, At::Latest).await?.is_empty() {
            false => Ok(()),
            true => Err(Error::new(
                Class::Chain,
                "paymaster.no_code",
                format!("the paymaster service names {paymaster} as paymaster, and the node finds no code there"),
            )
            .hint("nothing was signed; use another paymaster service, or none")),
        }
    }

    /// An operation that was prepared earlier, checked against today's ceiling and the account's money.
    pub(in crate::wallet) async fn recheck(&self, user_op: UserOperation, max_cost: Option<U256>) -> Result<Prepared> {
        let bundler = self.bundler_or_say()?;
        bundler.check().await?;
        let ceiling = FeeCeiling::new(&Market::read_for_the_brake(&self.node).await?, self.limit(max_cost));
        ceiling.check("the file", &user_op).map_err(|error| match error {
            error @ ChainError::AboveCeiling { .. } => Error::from(error).hint(format!(
                "if you mean to pay that, say so: --max-cost {}",
                self.coin().max_cost_that_allows(user_op.max_cost())
            )),
            error => error.into(),
        })?;
        match user_op.paymaster() {
            Some(paymaster) => {
                check_data("the file", user_op.sender, &user_op.paymaster_and_data)?;
                self.is_a_contract(paymaster).await?;
            }
            None => self.can_pay(&user_op, &self.node.purse(user_op.sender, U192::ZERO, At::Latest).await?)?,
        }
        Ok(self.prepared(user_op, &ceiling, "the file", None))
    }

    /// A balance is one answer of the node. What takes power away is not stopped by it where the EntryPoint itself, asked of the
    /// same node, gets as far as to the signature that is missing still.
    async fn is_paid(&self, user_op: &UserOperation) -> bool {
        let request = CallRequest::new(ENTRY_POINT, handle_ops(user_op, user_op.sender));
        match self.node.call("EntryPoint.handleOps", &request, At::Latest).await {
            Ok(_) => true,
            Err(error) => matches!(error.fault(), Some(Fault::SignatureRefused)),
        }
    }

    /// Stops an operation that the EntryPoint would refuse for lack of money (AA21).
    fn can_pay(&self, user_op: &UserOperation, purse: &Purse) -> Result<()> {
        let Purse { balance, deposit, .. } = *purse;
        let needed = user_op.max_cost();
        if balance.saturating_add(deposit) < needed {
            return Err(Error::failed(
                "funds.insufficient",
                format!(
                    "the account {} must be able to pay {} for gas, and has {} and {} deposited",
                    user_op.sender,
                    self.coin().amount(needed),
                    self.coin().amount(balance),
                    self.coin().amount(deposit)
                ),
            )
            .hint(format!("send {} to the account, or use a network with a paymaster", self.coin().symbol())));
        }
        Ok(())
    }
}

impl Wallet {
    /// Writes down, sends, and follows a signed operation until it is in a block (or not, with `wait` false).
    pub(in crate::wallet) async fn execute_operation(
        &self,
        services: &Services,
        prepared: Prepared,
        purpose: Purpose,
        signature: Bytes,
        wait: bool,
        progress: &dyn Progress,
    ) -> Result<OperationOutcome> {
        if self.for_one_command {
            self.vault.lock();
        }
        progress.phase("sending");
        let bundler = services.bundler_or_say()?;
        let user_op = UserOperation { signature, ..prepared.user_op };
        let record = Operation {
            user_op_hash: prepared.user_op_hash,
            network: services.name.clone(),
            account: user_op.sender,
            purpose,
            carrier: Carrier::UserOp(user_op.clone()),
            progress: OperationState::Signed,
            created_at: now(),
        };
        self.write_before_sending(&record)?;
        let sent = bundler.send(&user_op).await;
        self.after_sending(services, record, sent, wait, progress).await
    }

    /// The same for a transaction of the owner's own.
    pub(in crate::wallet) async fn execute_transaction(
        &self,
        services: &Services,
        account: Address,
        signed: SignedTransaction,
        purpose: Purpose,
        progress: &dyn Progress,
    ) -> Result<OperationOutcome> {
        if self.for_one_command {
            self.vault.lock();
        }
        progress.phase("sending");
        let raw = signed.raw.clone();
        let record = Operation {
            user_op_hash: signed.hash,
            network: services.name.clone(),
            account,
            purpose,
            carrier: Carrier::Transaction(signed),
            progress: OperationState::Signed,
            created_at: now(),
        };
        self.write_before_sending(&record)?;
        let sent = services.node.send_raw(&raw).await;
        self.after_sending(services, record, sent, true, progress).await
    }

    /// What is signed is on record before it leaves. Only taking power away goes on without.
    fn write_before_sending(&self, record: &Operation) -> Result<()> {
        match record.purpose {
            Purpose::Revoke { .. } | Purpose::Panic | Purpose::Reclaim => self.store.note(|w| w.put_operation(record)),
            Purpose::Send { .. } | Purpose::Enable { .. } => self.store.write(|w| w.put_operation(record)),
        }
    }

    async fn after_sending(
        &self,
        services: &Services,
        mut record: Operation,
        sent: std::result::Result<B256, ChainError>,
        wait: bool,
        progress: &dyn Progress,
    ) -> Result<OperationOutcome> {
        match sent {
            Ok(_) => record.progress = OperationState::Sent,
            Err(error) if error.leaves_doubt() => {
                let error = Error::from(error);
                let hash = record.user_op_hash;
                return Err(Error {
                    hint: format!("it may have been taken: look with `keyleash status {hash}`"),
                    ..error
                });
            }
            Err(error) => {
                record.progress = OperationState::Refused { message: error.to_string(), ended: false };
                self.store.note(|w| w.put_operation(&record))?;
                let hash = record.user_op_hash;
                let error = refused(error);
                return Err(Error {
                    message: format!("{}. All the same {STILL_ALIVE}", error.message.trim_end_matches('.')),
                    hint: format!(
                        "look with `keyleash status {hash}`; the same call again takes the same nonce, so that only one of them \
                         can be mined"
                    ),
                    ..error
                });
            }
        }
        self.store.note(|w| w.put_operation(&record))?;
        if !wait {
            return Ok(outcome(&record, services.coin()));
        }
        progress.phase("waiting for a block");
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

    async fn follow(&self, services: &Services, mut record: Operation, patience: Duration) -> Result<OperationOutcome> {
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
    async fn look_up(&self, services: &Services, mut record: Operation) -> Result<Operation> {
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

    /// An operation on record that does the same and can still be mined, for its nonce to be taken. One that was mined after all
    /// is written down and told, once: whoever tries again because of an error must not pay twice.
    pub(in crate::wallet) async fn earlier_of_the_same(
        &self,
        services: &Services,
        sender: Address,
        call_data: &Bytes,
    ) -> Result<Option<Earlier>> {
        for mut record in self.operations(1000)? {
            let Carrier::UserOp(user_op) = &record.carrier else { continue };
            let same = record.network == services.name && user_op.sender == sender && user_op.call_data == *call_data;
            let open = !matches!(
                record.progress,
                OperationState::Included { .. } | OperationState::Refused { ended: true, .. }
            );
            if !same || !open {
                continue;
            }
            let user_op = user_op.clone();
            let hash = record.user_op_hash;
            let (progress, told) = match self.fate(services, &record, &user_op).await? {
                Fate::Open => return Ok(Some(Earlier { hash, user_op })),
                Fate::Ended => {
                    (OperationState::Refused { message: "something else used its nonce".into(), ended: true }, None)
                }
                Fate::Mined(progress) => {
                    let place = match &progress {
                        OperationState::Included { transaction_hash, block, success: true, .. } => {
                            format!("was mined in transaction {transaction_hash}, block {block}")
                        }
                        OperationState::Included { transaction_hash, .. } => {
                            format!("was mined in transaction {transaction_hash}, and its call failed")
                        }
                        _ => "has a result".to_owned(),
                    };
                    (
                        progress,
                        Some(("send.mined_before", format!("the same call was signed before, and {place}: {hash}"))),
                    )
                }
                Fate::Unknown => {
                    let message = "its nonce is used, and the operation was not found in recent blocks".to_owned();
                    let told = format!("the same call was signed before as {hash}; {message}: it may have been done");
                    (OperationState::Refused { message, ended: true }, Some(("send.maybe_done", told)))
                }
            };
            record.progress = progress;
            self.store.write(|w| w.put_operation(&record))?;
            if let Some((code, message)) = told {
                return Err(Error::failed(code, message)
                    .hint("nothing was sent now; send it again if it is to be done once more"));
            }
        }
        Ok(None)
    }

    /// What became of an operation, by its nonce and the EntryPoint's event.
    async fn fate(&self, services: &Services, record: &Operation, user_op: &UserOperation) -> Result<Fate> {
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

    /// The newest transaction of this owner on record that has no result yet.
    /// The account that it is for, and the transaction.
    pub(in crate::wallet) fn waiting_transaction(
        &self,
        network: &str,
        account: Address,
        owner: Address,
    ) -> Result<Option<(Address, SignedTransaction)>> {
        let waits = |o: Operation| match (o.carrier, o.progress) {
            (Carrier::Transaction(sent), OperationState::Signed | OperationState::Sent) => {
                (sent.from == owner).then_some((o.account, sent))
            }
            _ => None,
        };
        Ok(self.store.read(|r| r.operations_beside(network, account, 100))?.into_iter().find_map(waits))
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

fn outcome(record: &Operation, coin: Coin) -> OperationOutcome {
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

/// A random 192-bit nonce key: an agent cannot block the owner's operation by using its nonce first (docs/kernel-v2.md#revoking).
pub(in crate::wallet) fn random_nonce_key() -> Result<U192> {
    let mut bytes = [0u8; 24];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::failed("random.none", format!("the operating system gave no random bytes: {e}")))?;
    Ok(U192::from_be_bytes(bytes))
}

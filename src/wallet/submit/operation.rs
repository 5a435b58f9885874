//! A UserOperation up to its signature: built, priced, sponsored, and held under the limits of its owner and its chain.

use alloy::primitives::{Address, B256, Bytes, U256, aliases::U192};
use serde::Serialize;

use super::{earlier::Earlier, refused};
use crate::{
    erc4337::{
        faults::Fault,
        v06::{ENTRY_POINT, UserOperation, handle_ops},
    },
    protocol::DUMMY_SIGNATURE,
    wallet::{
        coin::{Coin, Limit},
        error::{Class, Error, Result},
        rpc::{
            At, CallRequest, ChainError, DEAR_GAS, FeeCeiling, Market, buffered, bundler::Bundler, check_data,
            first_nonce, node::Purse, quote, services::Services,
        },
    },
};

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
    pub(super) fn bundler_or_say(&self) -> Result<&Bundler> {
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

/// A random 192-bit nonce key: an agent cannot block the owner's operation by using its nonce first (docs/kernel-v2.md#revoking).
pub(in crate::wallet) fn random_nonce_key() -> Result<U192> {
    let mut bytes = [0u8; 24];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::failed("random.none", format!("the operating system gave no random bytes: {e}")))?;
    Ok(U192::from_be_bytes(bytes))
}

//! A transaction that the owner's own address sends: how an account is reached without any bundler (docs/kernel-v2.md#revoking).
//!
//! Like a UserOperation it is on record before it leaves. One that is stuck is replaced: same nonce, higher fee.

use std::time::Duration;

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope, TxLegacy},
    eips::{Encodable2718, eip2930::AccessList},
    primitives::{Address, B256, Bytes, TxKind, U256, keccak256},
};
use tokio::time::{Instant, sleep};

use super::{
    refused,
    signer::{Keyholder, sign_transaction},
};
use crate::{
    erc4337::faults::Fault,
    wallet::{
        coin::Coin,
        error::{Error, Result},
        records::model::SignedTransaction,
        rpc::{At, CallRequest, ChainError, FeeCeiling, Fees, Market, node::Receipt, services::Services},
    },
};

/// Percent added to a gas estimate: state may have moved by the time it is included. What is not used is not paid.
const GAS_BUFFER: u64 = 25;
/// Percent that a replacement must offer more, by the rules of every node.
const REPLACEMENT: u128 = 13;
const FIRST_LOOK: Duration = Duration::from_millis(200);
/// How often a receipt is asked for once the owner's nonce has passed it.
const LATE_RECEIPTS: u32 = 4;
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// A transaction before its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedTransaction {
    pub chain_id: u64,
    pub from: Address,
    pub nonce: u64,
    pub to: Address,
    pub data: Bytes,
    /// Gas units.
    pub gas_limit: u64,
    pub(in crate::wallet) fees: Fees,
    /// The chain has EIP-1559 fees.
    pub dynamic_fees: bool,
    /// Wei: most that any transaction was allowed to cost here.
    pub ceiling: U256,
    /// What the costs are counted in.
    pub coin: Coin,
    /// It takes the place of this one, which is stuck.
    pub replaces: Option<B256>,
}

/// A call by an owner's address, before its gas, fees and nonce.
pub(in crate::wallet) struct TransactionRequest {
    pub from: Address,
    pub to: Address,
    pub data: Bytes,
    /// Gas units; asked of the node where they are not known.
    pub gas: Option<u64>,
    pub max_cost: Option<U256>,
    /// Takes power away: one answer of a node about prices or money does not stop it, and it offers more than the usual fee.
    pub urgent: bool,
}

/// An earlier transaction of the owner that has no result yet.
pub(in crate::wallet) enum Waiting {
    /// It is for the same, so the new one takes its place.
    Replaced(SignedTransaction),
    /// It is for something else, so the new one comes after it.
    Before(SignedTransaction),
}

/// What became of a transaction.
pub(in crate::wallet) enum Landed {
    Waiting,
    /// Another transaction of the owner took its nonce.
    Displaced,
    In(Box<Receipt>),
}

impl PreparedTransaction {
    /// Most wei it can cost. On rollups the fee for data comes on top; it cannot be bounded by a transaction.
    pub fn max_cost(&self) -> U256 {
        U256::from(self.gas_limit).saturating_mul(U256::from(self.fees.max_fee_per_gas))
    }

    /// What the owner signs.
    pub fn signing_hash(&self) -> B256 {
        match self.dynamic_fees {
            true => self.eip1559().signature_hash(),
            false => self.legacy().signature_hash(),
        }
    }

    pub(in crate::wallet) async fn sign(&self, owner: &dyn Keyholder) -> Result<SignedTransaction> {
        let envelope: TxEnvelope = match self.dynamic_fees {
            true => {
                let mut transaction = self.eip1559();
                let signature = sign_transaction(owner, self.from, &mut transaction).await?;
                transaction.into_signed(signature).into()
            }
            false => {
                let mut transaction = self.legacy();
                let signature = sign_transaction(owner, self.from, &mut transaction).await?;
                transaction.into_signed(signature).into()
            }
        };
        let raw = Bytes::from(envelope.encoded_2718());
        Ok(SignedTransaction {
            hash: keccak256(&raw),
            from: self.from,
            nonce: self.nonce,
            to: self.to,
            data: self.data.clone(),
            max_fee_per_gas: U256::from(self.fees.max_fee_per_gas),
            max_priority_fee_per_gas: U256::from(self.fees.max_priority_fee_per_gas),
            raw,
            carries: None,
        })
    }

    fn eip1559(&self) -> TxEip1559 {
        TxEip1559 {
            chain_id: self.chain_id,
            nonce: self.nonce,
            gas_limit: self.gas_limit,
            max_fee_per_gas: self.fees.max_fee_per_gas,
            max_priority_fee_per_gas: self.fees.max_priority_fee_per_gas,
            to: TxKind::Call(self.to),
            value: U256::ZERO,
            access_list: AccessList::default(),
            input: self.data.clone(),
        }
    }

    fn legacy(&self) -> TxLegacy {
        TxLegacy {
            chain_id: Some(self.chain_id),
            nonce: self.nonce,
            gas_price: self.fees.max_fee_per_gas,
            gas_limit: self.gas_limit,
            to: TxKind::Call(self.to),
            value: U256::ZERO,
            input: self.data.clone(),
        }
    }
}

impl Services {
    /// Completes a call by an owner's address up to its signature. `waiting` is an earlier transaction of the owner that has no
    /// result yet.
    pub(in crate::wallet) async fn prepare_transaction(
        &self,
        wanted: TransactionRequest,
        waiting: Option<Waiting>,
    ) -> Result<PreparedTransaction> {
        let TransactionRequest { from, to, data, gas, max_cost, urgent } = wanted;
        let market = match urgent {
            true => Market::read_for_the_brake(&self.node).await?,
            false => Market::read(&self.node).await?,
        };
        let ceiling = FeeCeiling::new(&market, self.limit(max_cost));
        let usual = Fees::from_market(&market);
        // Without EIP-1559 the price is paid in full, so there is no room for a base fee that may double.
        let mut fees = if urgent && market.dynamic { usual.raised(&ceiling) } else { usual };
        let stuck = match &waiting {
            Some(Waiting::Replaced(stuck)) => Some(stuck),
            Some(Waiting::Before(_)) | None => None,
        };
        let request = CallRequest { from: Some(from), ..CallRequest::new(to, data.clone()) };
        let gas = match gas {
            Some(gas) => gas,
            None => self.node.estimate_gas(&request).await.map_err(refused)?,
        };
        let gas_limit = gas.saturating_add(gas.saturating_mul(GAS_BUFFER) / 100);
        let cost = |fees: Fees| U256::from(gas_limit).saturating_mul(U256::from(fees.max_fee_per_gas));
        if ceiling.check_total(cost(fees)).is_err() {
            // What is offered on top, so as not to wait, must not be what the limit stops.
            fees = usual;
        }
        if let Some(stuck) = stuck {
            let above = |fee: U256| {
                let fee: u128 = fee.saturating_to();
                fee.saturating_add(fee.saturating_mul(REPLACEMENT) / 100).saturating_add(1)
            };
            fees.max_fee_per_gas = fees.max_fee_per_gas.max(above(stuck.max_fee_per_gas));
            fees.max_priority_fee_per_gas = fees.max_priority_fee_per_gas.max(above(stuck.max_priority_fee_per_gas));
        }
        let nonce = match &waiting {
            Some(Waiting::Replaced(stuck)) => stuck.nonce,
            Some(Waiting::Before(first)) => {
                self.node.nonce(from, At::Pending).await?.max(first.nonce.saturating_add(1))
            }
            None => self.node.nonce(from, At::Pending).await?,
        };
        let prepared = PreparedTransaction {
            chain_id: self.network.chain_id,
            from,
            nonce,
            to,
            data,
            gas_limit,
            fees,
            dynamic_fees: market.dynamic,
            ceiling: ceiling.limit.wei(),
            coin: self.coin(),
            replaces: stuck.map(|s| s.hash),
        };
        // A replacement must offer more than what it replaces, which may be above what blocks cost now: the total decides.
        if stuck.is_none() {
            ceiling.check_fees(self.node.endpoint().origin(), &prepared.fees)?;
        }
        ceiling.check_total(prepared.max_cost())?;
        self.owner_can_pay(&prepared, urgent).await?;
        Ok(prepared)
    }

    async fn owner_can_pay(&self, prepared: &PreparedTransaction, urgent: bool) -> Result<()> {
        let balance = self.node.balance(prepared.from, At::Latest).await?;
        let needed = prepared.max_cost();
        let request = CallRequest { from: Some(prepared.from), ..CallRequest::new(prepared.to, prepared.data.clone()) };
        let price = U256::from(prepared.fees.max_fee_per_gas);
        // A balance is one answer of the node: alone it does not stop what takes power away.
        if balance < needed && !(urgent && self.node.could_pay(&request, prepared.gas_limit, price).await) {
            return Err(Error::failed(
                "funds.owner",
                format!(
                    "the owner {} must be able to pay {} for gas, and has {}",
                    prepared.from,
                    prepared.coin.amount(needed),
                    prepared.coin.amount(balance)
                ),
            )
            .hint(format!("send {} to the owner's address, or go through a bundler", prepared.coin.symbol())));
        }
        Ok(())
    }

    /// Looks for a transaction until it is in a block, or `patience` is over.
    pub(in crate::wallet) async fn follow_transaction(
        &self,
        sent: &SignedTransaction,
        patience: Duration,
    ) -> Result<Landed> {
        let end = Instant::now() + patience;
        let mut pause = FIRST_LOOK;
        let mut passed_by = 0;
        loop {
            match self.look(sent).await {
                Ok(Landed::Waiting) => passed_by = 0,
                // Behind a load balancer the nonce may be known before the receipt.
                Ok(Landed::Displaced) if passed_by < LATE_RECEIPTS => passed_by += 1,
                Ok(Landed::In(receipt)) => match self.in_its_block(&receipt, sent.hash).await {
                    Ok(()) => return Ok(Landed::In(receipt)),
                    Err(_) if passed_by < LATE_RECEIPTS => passed_by += 1,
                    Err(error) => return Err(error),
                },
                Ok(landed) => return Ok(landed),
                Err(error) if error.is_passing() => {}
                Err(error) => return Err(error.into()),
            }
            if Instant::now() + pause > end {
                return Ok(Landed::Waiting);
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn look(&self, sent: &SignedTransaction) -> std::result::Result<Landed, ChainError> {
        if let Some(receipt) = self.node.receipt(sent.hash).await? {
            return Ok(Landed::In(Box::new(receipt)));
        }
        let next = self.node.nonce(sent.from, At::Latest).await?;
        Ok(if next > sent.nonce { Landed::Displaced } else { Landed::Waiting })
    }

    /// Why a call reverts, asked of the state at a block; `None` when it does not say.
    pub(in crate::wallet) async fn revert_reason(
        &self,
        from: Address,
        to: Address,
        data: Bytes,
        at: At,
    ) -> Option<String> {
        let request = CallRequest { from: Some(from), ..CallRequest::new(to, data) };
        match self.node.call("the reverted call", &request, at).await.err()?.fault()? {
            Fault::CallReverts(revert) => Some(revert.to_string()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy::{consensus::transaction::SignerRecoverable, eips::Decodable2718, signers::local::PrivateKeySigner};

    use super::*;

    #[tokio::test]
    async fn a_transaction_is_by_its_sender_or_it_is_not_made() {
        let [sender, other] = [7u8, 8].map(|byte| PrivateKeySigner::from_slice(&[byte; 32]).unwrap());
        for dynamic_fees in [true, false] {
            let prepared = PreparedTransaction {
                chain_id: 1,
                from: sender.signs_as(),
                nonce: 3,
                to: Address::repeat_byte(4),
                data: Bytes::from_static(&[5]),
                gas_limit: 21_000,
                fees: Fees { max_fee_per_gas: 2, max_priority_fee_per_gas: 1 },
                dynamic_fees,
                ceiling: U256::ZERO,
                coin: Coin::of(1),
                replaces: None,
            };
            let signed = prepared.sign(&sender).await.unwrap();
            let envelope = TxEnvelope::decode_2718(&mut signed.raw.as_ref()).unwrap();
            assert_eq!(envelope.recover_signer().unwrap(), signed.from);
            assert_eq!(prepared.sign(&other).await.unwrap_err().code, "vault.address");
        }
    }
}

//! Transactions and their receipts: read, compared with what was asked for, and sent.

use alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use serde_json::json;

use super::{At, Node, maybe, refusals::none_if_not_there};
use crate::{
    erc4337::faults::Fault,
    protocol::query::Log,
    wallet::rpc::{
        answer::Answer,
        transport::{Call, ChainError},
    },
};

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    pub transaction_hash: B256,
    pub block_number: u64,
    pub block_hash: B256,
    pub success: bool,
    /// Gas units.
    pub gas_used: U256,
    /// Wei per gas unit; zero where a node does not say.
    pub gas_price: U256,
    pub logs: Vec<Log>,
}

impl Receipt {
    fn read(answer: &Answer<'_>) -> Result<Self, ChainError> {
        Ok(Self {
            transaction_hash: answer.field("transactionHash")?.hash()?,
            block_number: answer.field("blockNumber")?.u64()?,
            block_hash: answer.field("blockHash")?.hash()?,
            success: answer.field("status")?.truth()?,
            gas_used: answer.field("gasUsed")?.number()?,
            gas_price: answer.optional("effectiveGasPrice").map_or(Ok(U256::ZERO), |price| price.number())?,
            // Some nodes say null where there are none.
            logs: answer.optional("logs").map_or_else(|| Ok(Vec::new()), |logs| Log::read_list(&logs))?,
        })
    }
}

/// A transaction as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    pub hash: B256,
    pub from: Address,
    /// None when it creates a contract.
    pub to: Option<Address>,
    /// Wei.
    pub value: U256,
    pub input: Bytes,
    /// None while it waits.
    pub block_number: Option<u64>,
}

impl Transaction {
    fn read(answer: &Answer<'_>) -> Result<Self, ChainError> {
        Ok(Self {
            hash: answer.field("hash")?.hash()?,
            from: answer.field("from")?.address()?,
            to: answer.optional("to").map(|to| to.address()).transpose()?,
            value: answer.field("value")?.number()?,
            input: answer.optional("input").map_or_else(|| answer.field("data"), Ok)?.bytes()?,
            block_number: answer.optional("blockNumber").map(|number| number.u64()).transpose()?,
        })
    }
}

impl Node {
    pub async fn receipt(&self, hash: B256) -> Result<Option<Receipt>, ChainError> {
        let call = Call::read("eth_getTransactionReceipt", json!([hash]));
        let receipt = none_if_not_there(self.one(call, |answer| maybe(answer, Receipt::read)).await)?;
        self.same_hash("the transaction of a receipt", hash, receipt.as_ref().map(|r| r.transaction_hash))?;
        Ok(receipt)
    }

    pub async fn transaction(&self, hash: B256) -> Result<Option<Transaction>, ChainError> {
        let call = Call::read("eth_getTransactionByHash", json!([hash]));
        let transaction = none_if_not_there(self.one(call, |answer| maybe(answer, Transaction::read)).await)?;
        self.same_hash("the transaction asked for", hash, transaction.as_ref().map(|t| t.hash))?;
        Ok(transaction)
    }

    /// Several transactions, in order.
    pub async fn transactions(&self, hashes: &[B256]) -> Result<Vec<Option<Transaction>>, ChainError> {
        let calls: Vec<_> = hashes.iter().map(|hash| Call::read("eth_getTransactionByHash", json!([hash]))).collect();
        let found = self.each(&calls, |answer| maybe(answer, Transaction::read)).await;
        let found = found.into_iter().map(none_if_not_there).collect::<Result<Vec<_>, _>>()?;
        for (ours, theirs) in hashes.iter().zip(&found) {
            self.same_hash("the transaction asked for", *ours, theirs.as_ref().map(|t| t.hash))?;
        }
        Ok(found)
    }

    /// All transactions of a block.
    pub async fn transactions_in(&self, block: u64) -> Result<Vec<Transaction>, ChainError> {
        /// Far above what any chain puts into one block.
        const MOST: usize = 100_000;
        let call = Call::read("eth_getBlockByNumber", json!([At::Block(block).tag(), true]));
        let read = |answer: &Answer<'_>| {
            let transactions: Result<Vec<_>, _> =
                answer.field("transactions")?.list(MOST)?.iter().map(Transaction::read).collect();
            Ok((answer.field("number")?.u64()?, transactions?))
        };
        let (number, transactions) = self.one(call, read).await?;
        self.same_block(block, number)?;
        Ok(transactions)
    }

    fn same_hash(&self, what: &'static str, ours: B256, theirs: Option<B256>) -> Result<(), ChainError> {
        match theirs {
            Some(theirs) if theirs != ours => Err(ChainError::mismatch(self.endpoint.origin(), what, ours, theirs)),
            _ => Ok(()),
        }
    }

    /// Sends a signed transaction once and answers its hash. A transaction that is already there counts as sent; one
    /// that may have got lost is looked for.
    pub async fn send_raw(&self, signed: &Bytes) -> Result<B256, ChainError> {
        let hash = keccak256(signed);
        let sent = self.one(Call::once("eth_sendRawTransaction", json!([signed])), |answer| answer.hash()).await;
        match sent {
            Ok(theirs) => {
                self.same_hash("the hash of the transaction sent", hash, Some(theirs))?;
                Ok(hash)
            }
            Err(error) => {
                let waiting = matches!(error.fault(), Some(Fault::AlreadyWaiting(_)));
                if (waiting || error.leaves_doubt()) && matches!(self.transaction(hash).await, Ok(Some(_))) {
                    return Ok(hash);
                }
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::tests::{ACCOUNT, OWNER, node, saying},
        *,
    };
    use crate::wallet::rpc::stub_server::unknown_method;

    #[tokio::test]
    async fn another_transaction_than_asked_for_is_refused() {
        let other = json!({ "hash": B256::ZERO, "from": OWNER, "to": null, "value": "0x0", "input": "0x" });
        let error = saying(other).transaction(B256::repeat_byte(1)).await.unwrap_err();
        assert!(matches!(error, ChainError::Mismatch { .. }), "{error}");
        assert_eq!(saying(json!(null)).transaction(B256::ZERO).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_transaction_that_is_there_already_counts_as_sent() {
        let signed = Bytes::from_static(&[1, 2, 3]);
        let hash = keccak256(&signed);
        let node = node(move |method, _| match method {
            "eth_sendRawTransaction" => Err((-32000, "already known".into())),
            _ => Ok(json!({ "hash": hash, "from": OWNER, "to": ACCOUNT, "value": "0x0", "input": "0x" })),
        });
        assert_eq!(node.send_raw(&signed).await.unwrap(), hash);
        let error = saying(json!(B256::ZERO)).send_raw(&signed).await.unwrap_err();
        assert!(matches!(error, ChainError::Mismatch { .. }), "{error}");
    }

    #[tokio::test]
    async fn what_is_not_there_may_be_told_as_an_error() {
        for words in ["transaction not found", "not found", "unknown transaction"] {
            let node = node(move |_, _| Err((-32000, words.into())));
            assert_eq!(node.receipt(B256::ZERO).await.unwrap(), None, "{words}");
            assert_eq!(node.transaction(B256::ZERO).await.unwrap(), None, "{words}");
        }
        assert!(node(|_, _| unknown_method()).receipt(B256::ZERO).await.is_err());
    }
}

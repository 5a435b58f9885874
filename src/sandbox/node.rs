//! The node's half of the JSON-RPC: `eth_*`.

use alloy::{
    consensus::{Transaction as _, TxEnvelope},
    eips::Decodable2718,
    primitives::{Address, B256, Bloom, Bytes, TxKind, U64, U256, logs_bloom},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    evm::{BASE_FEE, BLOCK_GAS_LIMIT, Block, Chain, Outcome, Request, SignedTransaction, Transaction},
    rpc::{Params, RpcFault, RpcResult, SERVER_ERROR},
};

/// Wei per gas unit that a transaction offers on top of the base fee.
pub(super) const PRIORITY_FEE: u64 = 100_000_000;
pub(super) const GAS_PRICE: u64 = BASE_FEE + PRIORITY_FEE;

/// Most blocks that one `eth_feeHistory` tells of.
const FEE_HISTORY: u64 = 1024;

/// A number as JSON-RPC writes it.
pub(super) fn quantity(value: u64) -> Value {
    json!(U64::from(value))
}

fn quantity128(value: u128) -> Value {
    json!(U256::from(value))
}

pub(super) fn newest(chain: &Chain) -> u64 {
    chain.latest().map_or(0, |block| block.number)
}

// Blocks and state

/// The block number that a tag stands for; `null` and everything live is the newest.
fn block_number(chain: &Chain, tag: &Value) -> Result<u64, RpcFault> {
    let unknown = || RpcFault::invalid(format!("invalid block: {tag}"));
    match tag {
        Value::Null => Ok(newest(chain)),
        Value::Object(by) => match (by.get("blockNumber"), by.get("blockHash")) {
            (Some(number), _) => block_number(chain, number),
            (None, Some(hash)) => {
                let hash: B256 = serde_json::from_value(hash.clone()).map_err(|_| unknown())?;
                let block = chain.block_by_hash(hash);
                block.map(|block| block.number).ok_or_else(|| RpcFault::new(SERVER_ERROR, "unknown block"))
            }
            (None, None) => Err(unknown()),
        },
        Value::String(tag) => match tag.as_str() {
            "latest" | "pending" | "safe" | "finalized" => Ok(newest(chain)),
            "earliest" => Ok(0),
            number => number.parse::<U64>().map(|number| number.to()).map_err(|_| unknown()),
        },
        _ => Err(unknown()),
    }
}

/// Refuses to tell of a state that is not kept: one before a block in which something happened.
fn check_state(chain: &Chain, params: &Params<'_>, position: usize) -> Result<(), RpcFault> {
    let number = block_number(chain, params.0.get(position).unwrap_or(&Value::Null))?;
    let newest = newest(chain);
    if number > newest {
        return Err(RpcFault::new(SERVER_ERROR, format!("unknown block {number}, the newest is {newest}")));
    }
    if chain.transactions(number.saturating_add(1), newest).next().is_some() {
        let message = format!("the sandbox keeps only the newest state, not that of block {number}");
        return Err(RpcFault::new(SERVER_ERROR, message));
    }
    Ok(())
}

pub(super) fn block_by_number(chain: &Chain, params: &Params<'_>) -> RpcResult {
    let number = block_number(chain, params.0.get(0).unwrap_or(&Value::Null))?;
    let whole = params.read::<Option<bool>>(1, "flag")?.unwrap_or_default();
    Ok(chain.block(number).map_or(Value::Null, |block| block_json(chain, block, whole)))
}

pub(super) fn block_by_hash(chain: &Chain, params: &Params<'_>) -> RpcResult {
    let whole = params.read::<Option<bool>>(1, "flag")?.unwrap_or_default();
    Ok(chain.block_by_hash(params.hash(0)?).map_or(Value::Null, |block| block_json(chain, block, whole)))
}

fn block_json(chain: &Chain, block: &Block, whole: bool) -> Value {
    let all = chain.transactions(block.number, block.number);
    let bloom = logs_bloom(all.flat_map(|transaction| &transaction.logs));
    let transactions: Vec<Value> = block
        .transactions
        .iter()
        .filter_map(|hash| {
            if whole {
                chain.transaction(*hash).map(|transaction| transaction_json(chain, transaction))
            } else {
                Some(json!(hash))
            }
        })
        .collect();
    json!({
        "number": quantity(block.number),
        "hash": block.hash,
        "parentHash": block.parent_hash,
        "timestamp": quantity(block.timestamp),
        "gasLimit": quantity(BLOCK_GAS_LIMIT),
        "gasUsed": quantity(block.gas_used),
        "baseFeePerGas": quantity(BASE_FEE),
        "transactions": transactions,
        "logsBloom": bloom,
        "miner": Address::ZERO,
        "difficulty": "0x0",
        "extraData": "0x",
        "nonce": "0x0000000000000000",
        "mixHash": B256::ZERO,
        "sha3Uncles": B256::ZERO,
        "stateRoot": B256::ZERO,
        "transactionsRoot": B256::ZERO,
        "receiptsRoot": B256::ZERO,
        "size": "0x0",
        "uncles": [],
    })
}

pub(super) fn balance(chain: &Chain, params: &Params<'_>) -> RpcResult {
    check_state(chain, params, 1)?;
    Ok(json!(chain.balance(params.address(0)?)))
}

pub(super) fn code(chain: &Chain, params: &Params<'_>) -> RpcResult {
    check_state(chain, params, 1)?;
    Ok(json!(chain.code(params.address(0)?)))
}

pub(super) fn storage(chain: &Chain, params: &Params<'_>) -> RpcResult {
    check_state(chain, params, 2)?;
    let slot: U256 = params.read(1, "slot")?;
    Ok(json!(B256::from(chain.storage(params.address(0)?, slot))))
}

pub(super) fn transaction_count(chain: &Chain, params: &Params<'_>) -> RpcResult {
    check_state(chain, params, 1)?;
    Ok(quantity(chain.nonce(params.address(0)?)))
}

// Calls

#[derive(Deserialize)]
struct CallParams {
    #[serde(default)]
    from: Address,
    to: Option<Address>,
    #[serde(default)]
    value: U256,
    #[serde(alias = "input", default)]
    data: Bytes,
    gas: Option<U64>,
}

fn request(params: &Params<'_>) -> Result<Request, RpcFault> {
    let call: CallParams = params.read(0, "call")?;
    let gas_limit = call.gas.map(|gas| gas.to::<u64>().min(BLOCK_GAS_LIMIT));
    Ok(Request { from: call.from, to: call.to, value: call.value, data: call.data, gas_limit })
}

fn answered(outcome: Outcome) -> Result<Outcome, RpcFault> {
    if outcome.success { Ok(outcome) } else { Err(RpcFault::reverted(&outcome.output)) }
}

pub(super) fn call(chain: &Chain, params: &Params<'_>) -> RpcResult {
    check_state(chain, params, 1)?;
    Ok(json!(answered(chain.call(&request(params)?)?)?.output))
}

/// The least gas limit with which the call goes through: refunds and the gas held back from inner calls make it more than
/// what is used in the end.
pub(super) fn estimate_gas(chain: &Chain, params: &Params<'_>) -> RpcResult {
    check_state(chain, params, 1)?;
    let request = request(params)?;
    let with = |gas: u64| chain.call(&Request { gas_limit: Some(gas), ..request.clone() });
    let most = request.gas_limit.unwrap_or(BLOCK_GAS_LIMIT);
    let used = answered(with(most)?)?.gas_used;
    let (mut too_little, mut enough) = (used.saturating_sub(1), most);
    while enough - too_little > 1 + enough / 64 {
        // near what was used first, then halfway
        let middle = if too_little < used { used } else { too_little + (enough - too_little) / 2 };
        match with(middle) {
            Ok(outcome) if outcome.success => enough = middle,
            _ => too_little = middle,
        }
    }
    Ok(quantity(enough))
}

// Fees: they never move

pub(super) fn fee_history(chain: &Chain, params: &Params<'_>) -> RpcResult {
    let count: U64 = params.read(0, "block count")?;
    let last = block_number(chain, params.0.get(1).unwrap_or(&Value::Null))?.min(newest(chain));
    let percentiles: Vec<f64> = params.read::<Option<_>>(2, "percentiles")?.unwrap_or_default();
    let blocks = count.to::<u64>().clamp(1, FEE_HISTORY).min(last + 1);
    let base_fees: Vec<Value> = (0..=blocks).map(|_| quantity(BASE_FEE)).collect();
    let rewards: Vec<Vec<Value>> =
        (0..blocks).map(|_| percentiles.iter().map(|_| quantity(PRIORITY_FEE)).collect()).collect();
    Ok(json!({
        "oldestBlock": quantity(last + 1 - blocks),
        "baseFeePerGas": base_fees,
        "gasUsedRatio": vec![0.5; usize::try_from(blocks).unwrap_or_default()],
        "reward": rewards,
    }))
}

// Transactions

pub(super) fn send_raw_transaction(chain: &mut Chain, params: &Params<'_>) -> RpcResult {
    let raw: Bytes = params.read(0, "transaction")?;
    let malformed = |error: String| RpcFault::invalid(format!("the transaction cannot be read: {error}"));
    let envelope = TxEnvelope::decode_2718_exact(&raw).map_err(|error| malformed(error.to_string()))?;
    if let Some(theirs) = envelope.chain_id().filter(|id| *id != chain.chain_id()) {
        return Err(RpcFault::new(
            SERVER_ERROR,
            format!("the transaction is for chain {theirs}, this is {}", chain.chain_id()),
        ));
    }
    if envelope.chain_id().is_none() {
        return Err(RpcFault::new(SERVER_ERROR, "only replay-protected (EIP-155) transactions are taken"));
    }
    if envelope.is_eip4844() || envelope.is_eip7702() {
        return Err(RpcFault::new(SERVER_ERROR, "the sandbox takes no blobs and no delegations"));
    }
    let signature = envelope.signature();
    if signature.normalize_s().is_some() {
        return Err(malformed("its signature has a high s (EIP-2)".into()));
    }
    let from = signature
        .recover_address_from_prehash(&envelope.signature_hash())
        .map_err(|error| malformed(error.to_string()))?;
    let signed = SignedTransaction {
        hash: *envelope.tx_hash(),
        request: Request {
            from,
            to: match envelope.kind() {
                TxKind::Call(to) => Some(to),
                TxKind::Create => None,
            },
            value: envelope.value(),
            data: envelope.input().clone(),
            gas_limit: Some(envelope.gas_limit()),
        },
        nonce: envelope.nonce(),
        max_fee_per_gas: envelope.max_fee_per_gas(),
        max_priority_fee_per_gas: envelope.max_priority_fee_per_gas().unwrap_or(envelope.max_fee_per_gas()),
    };
    Ok(json!(chain.send(&signed)?.hash))
}

pub(super) fn transaction(chain: &Chain, params: &Params<'_>) -> RpcResult {
    let found = chain.transaction(params.hash(0)?);
    Ok(found.map_or(Value::Null, |transaction| transaction_json(chain, transaction)))
}

fn block_hash(chain: &Chain, transaction: &Transaction) -> B256 {
    chain.block(transaction.block_number).map(|block| block.hash).unwrap_or_default()
}

fn transaction_json(chain: &Chain, transaction: &Transaction) -> Value {
    json!({
        "hash": transaction.hash,
        "blockHash": block_hash(chain, transaction),
        "blockNumber": quantity(transaction.block_number),
        "transactionIndex": "0x0",
        "from": transaction.from,
        "to": transaction.to,
        "nonce": quantity(transaction.nonce),
        "value": transaction.value,
        "input": transaction.data,
        "gas": quantity(transaction.gas_limit),
        "gasPrice": quantity128(transaction.gas_price),
        "chainId": quantity(chain.chain_id()),
        "type": "0x0",
        "v": "0x0",
        "r": "0x0",
        "s": "0x0",
    })
}

pub(super) fn receipt(chain: &Chain, params: &Params<'_>) -> RpcResult {
    let found = chain.transaction(params.hash(0)?);
    Ok(found.map_or(Value::Null, |transaction| receipt_json(chain, transaction)))
}

pub(super) fn receipt_json(chain: &Chain, transaction: &Transaction) -> Value {
    let bloom: Bloom = logs_bloom(&transaction.logs);
    json!({
        "transactionHash": transaction.hash,
        "transactionIndex": "0x0",
        "blockHash": block_hash(chain, transaction),
        "blockNumber": quantity(transaction.block_number),
        "from": transaction.from,
        "to": transaction.to,
        "contractAddress": transaction.created,
        "gasUsed": quantity(transaction.gas_used),
        "cumulativeGasUsed": quantity(transaction.gas_used),
        "effectiveGasPrice": quantity128(transaction.gas_price),
        "status": if transaction.success { "0x1" } else { "0x0" },
        "logs": log_jsons(chain, transaction),
        "logsBloom": bloom,
        "type": "0x0",
    })
}

/// The transaction's logs with where they are.
pub(super) fn log_jsons(chain: &Chain, transaction: &Transaction) -> Vec<Value> {
    let block_hash = block_hash(chain, transaction);
    let numbered = transaction.logs.iter().zip(0u64..);
    numbered
        .map(|(log, index)| {
            json!({
                "address": log.address,
                "topics": log.data.topics(),
                "data": log.data.data,
                "blockNumber": quantity(transaction.block_number),
                "blockHash": block_hash,
                "transactionHash": transaction.hash,
                "transactionIndex": "0x0",
                "logIndex": quantity(index),
                "removed": false,
            })
        })
        .collect()
}

// Logs

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogFilter {
    #[serde(default)]
    from_block: Value,
    #[serde(default)]
    to_block: Value,
    block_hash: Option<B256>,
    #[serde(default)]
    address: OneOrMany<Address>,
    #[serde(default)]
    topics: Vec<OneOrMany<B256>>,
}

/// `null` and an empty list stand for anything.
#[derive(Deserialize, Default)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
    #[default]
    Any,
}

impl<T: PartialEq> OneOrMany<T> {
    fn fits(&self, value: Option<&T>) -> bool {
        match self {
            Self::Any => true,
            Self::One(wanted) => value == Some(wanted),
            Self::Many(wanted) => wanted.is_empty() || value.is_some_and(|value| wanted.contains(value)),
        }
    }
}

pub(super) fn logs(chain: &Chain, params: &Params<'_>) -> RpcResult {
    let filter: LogFilter = params.read(0, "filter")?;
    let (from, to) = match filter.block_hash {
        Some(hash) => {
            let block = chain.block_by_hash(hash).ok_or_else(|| RpcFault::new(SERVER_ERROR, "unknown block"))?;
            (block.number, block.number)
        }
        None => (block_number(chain, &filter.from_block)?, block_number(chain, &filter.to_block)?),
    };
    let mut found = Vec::new();
    for transaction in chain.transactions(from, to) {
        for (log, json) in transaction.logs.iter().zip(log_jsons(chain, transaction)) {
            let topics = log.data.topics();
            let fits = filter.topics.iter().enumerate().all(|(i, wanted)| wanted.fits(topics.get(i)));
            if fits && filter.address.fits(Some(&log.address)) {
                found.push(json);
            }
        }
    }
    Ok(found.into())
}

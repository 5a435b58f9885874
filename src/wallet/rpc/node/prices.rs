//! What a node says about prices.

use serde_json::{Value, json};

use super::{Block, Node, latest_block_call, read_block, refusals::refuses_a_parameter};
use crate::wallet::rpc::{
    answer::Answer,
    transport::{Call, ChainError},
};

/// Prices of recent blocks, oldest first; wei per gas unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeeHistory {
    /// One more than the blocks asked for: the last is the next block's.
    pub base_fees: Vec<u128>,
    /// A row for each block, a column for each percentile asked for; empty rows for empty blocks.
    pub rewards: Vec<Vec<u128>>,
    /// Whether each block had transactions. Shorter where the node does not say.
    pub used: Vec<bool>,
}

/// What a node says about prices, asked at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prices {
    /// The newest block, with its own base fee.
    pub block: Block,
    pub history: Option<FeeHistory>,
    /// `eth_maxPriorityFeePerGas`, wei per gas unit.
    pub priority: Option<u128>,
    /// `eth_gasPrice`, wei per gas unit.
    pub gas_price: Option<u128>,
}

impl Node {
    /// The newest block, the prices of the last `blocks` blocks with the priority fees at these percentiles, and what the
    /// node recommends. Only the block must be there: nodes know different ones of the other three.
    pub async fn prices(&self, blocks: u16, percentiles: &[u8]) -> Result<Prices, ChainError> {
        let history_of = |count: Value| Call::read("eth_feeHistory", json!([count, "latest", percentiles]));
        let calls = [
            latest_block_call(),
            history_of(json!(format!("0x{blocks:x}"))),
            Call::read("eth_maxPriorityFeePerGas", json!([])),
            Call::read("eth_gasPrice", json!([])),
        ];
        let mut answers = self.ask(&calls).await.into_iter();
        let mut next = || answers.next().unwrap_or(Ok(Value::Null));
        let [block, mut history, priority, gas_price] = [next(), next(), next(), next()];
        let block = read_block(&self.answer("the latest block", &block?))?;
        // The first nodes that had it took the count as a number.
        if history.as_ref().is_err_and(refuses_a_parameter) {
            history = self.ask(&[history_of(json!(blocks))]).await.pop().unwrap_or(Ok(Value::Null));
        }
        let number = |purpose, value: Result<Value, ChainError>| self.answer(purpose, &value.ok()?).u128().ok();
        Ok(Prices {
            block,
            history: history.ok().and_then(|value| read_history(&self.answer("eth_feeHistory", &value)).ok()),
            priority: number("eth_maxPriorityFeePerGas", priority),
            gas_price: number("eth_gasPrice", gas_price),
        })
    }
}

fn read_history(answer: &Answer<'_>) -> Result<FeeHistory, ChainError> {
    let prices = |list: Vec<Answer<'_>>| list.iter().map(Answer::u128).collect::<Result<Vec<_>, _>>();
    let rewards = match answer.optional("reward") {
        Some(rows) => rows.list(1025)?.iter().map(|row| prices(row.list(100)?)).collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    let used = match answer.optional("gasUsedRatio") {
        Some(ratios) => ratios.list(1025)?.iter().map(|r| r.value().as_f64().is_some_and(|part| part > 0.0)).collect(),
        None => Vec::new(),
    };
    Ok(FeeHistory { base_fees: prices(answer.field("baseFeePerGas")?.list(1025)?)?, rewards, used })
}

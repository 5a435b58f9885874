//! What an operation may cost: prices proposed by a bundler or read from the node, all held under a ceiling of ours.
//!
//! Bundlers and paymasters propose, we decide: a session key's operation can spend the account's ETH as gas, so no
//! proposal is taken because it was made.

use alloy::primitives::U256;
use serde_json::{Value, json};

use super::{
    answer::Answer,
    bundler::{Bundler, GasEstimate},
    node::{FeeHistory, Node},
    transport::{Call, ChainError},
};
use crate::kernel::user_op::UserOperation;

/// A fee is refused above this many times the node's own (base fee plus what recent blocks paid as priority fee). The
/// base fee can at most grow by an eighth a block, so this is room for 13 blocks of nothing but rises.
pub const CEILING_FACTOR: u128 = 5;
/// Wei per gas unit that is always allowed, whatever the node says: on quiet chains a bundler's own minimum is far above
/// the base fee.
pub const CEILING_FLOOR: u128 = 2_000_000_000;
/// Gas units that the default cost ceiling allows for at the highest fee. The dearest honest operation of a wallet
/// (deploy, enable and execute, with a paymaster) counts about 1.2 million.
pub const CEILING_COST_GAS: u64 = 2_000_000;
/// Gas units. Validating with a session key takes 31-326 thousand (protocol.md 5).
pub const MAX_VERIFICATION_GAS: u64 = 5_000_000;
/// Gas units for the inner call.
pub const MAX_CALL_GAS: u64 = 15_000_000;
/// Gas units. Rollups charge for data here: with a base fee of 0.01 gwei that can be millions.
pub const MAX_PRE_VERIFICATION_GAS: u64 = 50_000_000;

/// What is added to an estimate, in percent. The dummy signature fails a little earlier than a real one succeeds, and
/// storage may have changed by the time of inclusion; unused limits of these two cost nothing.
const VERIFICATION_BUFFER: u64 = 25;
const CALL_BUFFER: u64 = 20;
/// Paid in full, so small: it covers the zero bytes of the dummy signature, and a rollup's data price on the move.
const PRE_VERIFICATION_BUFFER: u64 = 5;

/// Blocks of fee history looked at.
const HISTORY: u16 = 10;
/// Percentiles of the priority fees paid in them: what is usual, and what is high.
const PERCENTILES: [u8; 2] = [50, 90];

/// What a chain's own blocks say about prices. Wei per gas unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Market {
    /// Of the next block.
    pub base_fee: u128,
    pub usual_priority: u128,
    pub high_priority: u128,
}

impl Market {
    /// Reads the node's recent blocks; on chains without EIP-1559 the node's gas price stands for the base fee.
    pub async fn read(node: &Node) -> Result<Self, ChainError> {
        match node.fee_history(HISTORY, &PERCENTILES).await {
            Ok(history) => Ok(Self::from_history(&history)),
            // Methods that are not there are refused in many ways.
            Err(
                error @ (ChainError::Rpc(_)
                | ChainError::Malformed { .. }
                | ChainError::HttpStatus { status: 400..=428 | 430..=499 | 500 | 501, .. }),
            ) => {
                let base_fee = node.gas_price().await.map_err(|_| error)?;
                Ok(Self { base_fee, usual_priority: 0, high_priority: 0 })
            }
            Err(error) => Err(error),
        }
    }

    pub fn from_history(history: &FeeHistory) -> Self {
        // The median over the blocks: one stuffed block does not move it.
        let middle = |column: usize| {
            let mut fees: Vec<u128> = history.rewards.iter().filter_map(|row| row.get(column).copied()).collect();
            fees.sort_unstable();
            fees.get(fees.len() / 2).copied().unwrap_or_default()
        };
        Self {
            base_fee: history.base_fees.last().copied().unwrap_or_default(),
            usual_priority: middle(0),
            high_priority: middle(1),
        }
    }
}

/// Above this, nothing is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeeCeiling {
    /// Wei per gas unit.
    pub max_fee_per_gas: u128,
    /// Wei per gas unit: what goes to the bundler whatever the base fee is.
    pub max_priority_fee_per_gas: u128,
    /// Gas units, each.
    pub max_call_gas: u64,
    pub max_verification_gas: u64,
    pub max_pre_verification_gas: u64,
    /// Wei, for the whole operation: the most whoever pays for the gas can lose.
    pub max_cost: U256,
}

impl FeeCeiling {
    /// The ceiling when nobody sets one: [`CEILING_FACTOR`] times the node's own prices plus [`CEILING_FLOOR`].
    pub fn from_market(market: &Market) -> Self {
        let max_fee_per_gas = market
            .base_fee
            .saturating_add(market.high_priority)
            .saturating_mul(CEILING_FACTOR)
            .saturating_add(CEILING_FLOOR);
        Self {
            max_fee_per_gas,
            max_priority_fee_per_gas: market.high_priority.saturating_mul(CEILING_FACTOR).saturating_add(CEILING_FLOOR),
            max_call_gas: MAX_CALL_GAS,
            max_verification_gas: MAX_VERIFICATION_GAS,
            max_pre_verification_gas: MAX_PRE_VERIFICATION_GAS,
            max_cost: U256::from(max_fee_per_gas).saturating_mul(U256::from(CEILING_COST_GAS)),
        }
    }

    /// The same with another bound for the whole operation, in wei.
    pub fn with_max_cost(mut self, max_cost: U256) -> Self {
        self.max_cost = max_cost;
        self
    }

    /// Refuses fees above the ceiling, in the name of who proposed them.
    pub fn check_fees(&self, proposer: &str, fees: &Fees) -> Result<(), ChainError> {
        let ceiling = U256::from(self.max_fee_per_gas);
        bounded(proposer, "maxFeePerGas (wei)", U256::from(fees.max_fee_per_gas), ceiling)?;
        let priority = U256::from(self.max_priority_fee_per_gas);
        bounded(proposer, "maxPriorityFeePerGas (wei)", U256::from(fees.max_priority_fee_per_gas), priority)
    }

    /// Refuses absurd gas, in the name of who proposed it.
    pub fn check_gas(&self, proposer: &str, gas: &GasEstimate) -> Result<(), ChainError> {
        let limit = |what, proposed, ceiling: u64| bounded(proposer, what, proposed, U256::from(ceiling));
        limit("callGasLimit (gas)", gas.call_gas_limit, self.max_call_gas)?;
        limit("verificationGasLimit (gas)", gas.verification_gas_limit, self.max_verification_gas)?;
        limit("preVerificationGas (gas)", gas.pre_verification_gas, self.max_pre_verification_gas)
    }

    /// The last check before signing: every part, and the most the whole operation can cost.
    pub fn check(&self, proposer: &str, operation: &UserOperation) -> Result<(), ChainError> {
        let ceiling = U256::from(self.max_fee_per_gas);
        bounded(proposer, "maxFeePerGas (wei)", operation.max_fee_per_gas, ceiling)?;
        let priority = U256::from(self.max_priority_fee_per_gas);
        bounded(proposer, "maxPriorityFeePerGas (wei)", operation.max_priority_fee_per_gas, priority)?;
        let gas = GasEstimate {
            pre_verification_gas: operation.pre_verification_gas,
            verification_gas_limit: operation.verification_gas_limit,
            call_gas_limit: operation.call_gas_limit,
        };
        self.check_gas(proposer, &gas)?;
        bounded(proposer, "a total cost (wei)", operation.max_cost(), self.max_cost)
    }
}

fn bounded(endpoint: &str, what: &'static str, proposed: U256, ceiling: U256) -> Result<(), ChainError> {
    if proposed <= ceiling {
        return Ok(());
    }
    Err(ChainError::AboveCeiling { endpoint: endpoint.into(), what, proposed, ceiling })
}

/// Wei per gas unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fees {
    pub max_fee_per_gas: u128,
    pub max_priority_fee_per_gas: u128,
}

impl Fees {
    /// From the node alone: the base fee may double before the operation is included.
    pub fn from_market(market: &Market) -> Self {
        Self::over(market, market.usual_priority)
    }

    /// For a chain without EIP-1559, where the whole price is paid: the node's own and a quarter.
    pub fn flat(market: &Market) -> Self {
        let price = market.base_fee.saturating_add(market.usual_priority);
        let price = price.saturating_add(price / 4);
        Self { max_fee_per_gas: price, max_priority_fee_per_gas: price }
    }

    /// Half as much again, under the ceiling: for what must not be overtaken or wait.
    pub fn raised(self, ceiling: &FeeCeiling) -> Self {
        let more = |fee: u128, ceiling: u128| fee.saturating_add(fee / 2).min(ceiling.max(fee));
        Self {
            max_fee_per_gas: more(self.max_fee_per_gas, ceiling.max_fee_per_gas),
            max_priority_fee_per_gas: more(self.max_priority_fee_per_gas, ceiling.max_priority_fee_per_gas),
        }
    }

    fn over(market: &Market, priority: u128) -> Self {
        Self {
            max_fee_per_gas: market.base_fee.saturating_mul(2).saturating_add(priority),
            max_priority_fee_per_gas: priority,
        }
    }

    pub fn apply(&self, operation: &mut UserOperation) {
        operation.max_fee_per_gas = U256::from(self.max_fee_per_gas);
        operation.max_priority_fee_per_gas = U256::from(self.max_priority_fee_per_gas);
    }
}

/// Fees to use, who they come from, and the ceiling they were held under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    pub fees: Fees,
    /// The method that proposed them.
    pub source: &'static str,
    pub market: Market,
    pub ceiling: FeeCeiling,
}

/// [`quote_in`] with the market as it is now.
#[cfg(test)]
pub async fn quote(node: &Node, bundler: &Bundler, ceiling: Option<FeeCeiling>) -> Result<Quote, ChainError> {
    let market = Market::read(node).await?;
    quote_in(&market, node, bundler, ceiling).await
}

/// Asks the bundler for its price, where it has one, and takes the node's otherwise. Without a ceiling, the default one applies.
pub async fn quote_in(
    market: &Market,
    node: &Node,
    bundler: &Bundler,
    ceiling: Option<FeeCeiling>,
) -> Result<Quote, ChainError> {
    let market = *market;
    let ceiling = ceiling.unwrap_or_else(|| FeeCeiling::from_market(&market));
    let (fees, source, proposer) = match proposal(bundler, &market).await? {
        Some((fees, source)) => (fees, source, bundler.endpoint().origin()),
        None => (Fees::from_market(&market), "eth_feeHistory", node.endpoint().origin()),
    };
    ceiling.check_fees(proposer, &fees)?;
    Ok(Quote { fees, source, market, ceiling })
}

/// What the bundler wants to be paid, by the first of the three methods that it knows.
async fn proposal(bundler: &Bundler, market: &Market) -> Result<Option<(Fees, &'static str)>, ChainError> {
    const METHODS: [&str; 3] =
        ["pimlico_getUserOperationGasPrice", "zd_getUserOperationGasPrice", "rundler_maxPriorityFeePerGas"];
    let calls = METHODS.map(|method| Call::read(method, json!([])));
    let mut together = bundler.endpoint().together(&calls).await.map(Vec::into_iter);
    for (method, call) in METHODS.into_iter().zip(calls) {
        // Where each question is a request, the first that is answered is the last that is asked.
        let answer = match &mut together {
            Some(answers) => answers.next().unwrap_or(Ok(Value::Null)),
            None => bundler.endpoint().call(call).await,
        };
        let value = match answer {
            Ok(Value::Null) => continue,
            Ok(value) => value,
            // Unknown methods are refused in many ways; being unreachable is something else.
            Err(ChainError::Rpc(_) | ChainError::HttpStatus { .. } | ChainError::Malformed { .. }) => continue,
            Err(error) => return Err(error),
        };
        let answer = Answer::new(bundler.endpoint().origin(), method, &value);
        let fees = match method {
            "rundler_maxPriorityFeePerGas" => Fees::over(market, answer.u128()?),
            _ => tiered(&answer, market)?,
        };
        return Ok(Some((fees, method)));
    }
    Ok(None)
}

/// The `standard` tier of `{slow, standard, fast}`; never below what the next block asks for.
fn tiered(answer: &Answer<'_>, market: &Market) -> Result<Fees, ChainError> {
    let tier = answer.field("standard")?;
    let max_priority_fee_per_gas = tier.field("maxPriorityFeePerGas")?.u128()?;
    let asked = tier.field("maxFeePerGas")?.u128()?;
    if asked < max_priority_fee_per_gas {
        return Err(tier.field("maxFeePerGas")?.should_be("at least maxPriorityFeePerGas"));
    }
    let max_fee_per_gas = asked.max(market.base_fee.saturating_add(max_priority_fee_per_gas));
    Ok(Fees { max_fee_per_gas, max_priority_fee_per_gas })
}

/// An estimate with its buffers, held under the ceiling before and after.
pub fn buffered(proposer: &str, estimate: &GasEstimate, ceiling: &FeeCeiling) -> Result<GasEstimate, ChainError> {
    // First the bare estimate: an absurd one is the proposer's doing, not the buffer's.
    ceiling.check_gas(proposer, estimate)?;
    let more = |gas: U256, percent: u64| gas.saturating_add(gas.saturating_mul(U256::from(percent)) / U256::from(100));
    Ok(GasEstimate {
        pre_verification_gas: more(estimate.pre_verification_gas, PRE_VERIFICATION_BUFFER),
        verification_gas_limit: more(estimate.verification_gas_limit, VERIFICATION_BUFFER)
            .min(U256::from(ceiling.max_verification_gas)),
        call_gas_limit: more(estimate.call_gas_limit, CALL_BUFFER).min(U256::from(ceiling.max_call_gas)),
    })
}

impl GasEstimate {
    pub fn apply(&self, operation: &mut UserOperation) {
        operation.pre_verification_gas = self.pre_verification_gas;
        operation.verification_gas_limit = self.verification_gas_limit;
        operation.call_gas_limit = self.call_gas_limit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kernel::generation::ENTRY_POINT,
        wallet::chain::stub_server::{Canned, canned, unknown_method},
    };

    const GWEI: u128 = 1_000_000_000;

    /// Base fee 1 gwei, usual priority fee 0.1 gwei, high 0.5 gwei.
    fn node() -> Node {
        Node::new(canned(|method, _| match method {
            "eth_feeHistory" => Ok(json!({
                "oldestBlock": "0x1",
                "baseFeePerGas": ["0x3b9aca00", "0x3b9aca00", "0x3b9aca00"],
                "reward": [["0x5f5e100", "0x1dcd6500"], ["0x5f5e100", "0x1dcd6500"]],
                "gasUsedRatio": [0.5, 0.5],
            })),
            _ => unknown_method(),
        }))
    }

    fn bundler(answer: impl FnMut(&str, &Value) -> Canned + Send + 'static) -> Bundler {
        Bundler::new(canned(answer), ENTRY_POINT, 31337)
    }

    fn proposing(known: &'static str, answer: Value) -> Bundler {
        bundler(move |method, _| if method == known { Ok(answer.clone()) } else { unknown_method() })
    }

    fn tiers(max: u128, priority: u128) -> Value {
        let tier = json!({ "maxFeePerGas": format!("0x{max:x}"), "maxPriorityFeePerGas": format!("0x{priority:x}") });
        json!({ "slow": tier, "standard": tier, "fast": tier })
    }

    #[tokio::test]
    async fn the_bundlers_price_is_taken_where_it_has_one() {
        for method in ["pimlico_getUserOperationGasPrice", "zd_getUserOperationGasPrice"] {
            let quote = quote(&node(), &proposing(method, tiers(3 * GWEI, GWEI)), None).await.unwrap();
            assert_eq!(quote.fees, Fees { max_fee_per_gas: 3 * GWEI, max_priority_fee_per_gas: GWEI });
            assert_eq!(quote.source, method);
        }
        let rundler = proposing("rundler_maxPriorityFeePerGas", json!("0x3b9aca00"));
        let quote = quote(&node(), &rundler, None).await.unwrap();
        assert_eq!(quote.fees, Fees { max_fee_per_gas: 3 * GWEI, max_priority_fee_per_gas: GWEI });
    }

    #[tokio::test]
    async fn without_a_bundlers_price_the_nodes_blocks_decide() {
        let quote = quote(&node(), &bundler(|_, _| unknown_method()), None).await.unwrap();
        assert_eq!(quote.fees, Fees { max_fee_per_gas: 2 * GWEI + GWEI / 10, max_priority_fee_per_gas: GWEI / 10 });
        assert_eq!(quote.source, "eth_feeHistory");
    }

    #[tokio::test]
    async fn a_chain_without_fee_history_has_a_gas_price() {
        let node = Node::new(canned(|method, _| match method {
            "eth_gasPrice" => Ok(json!("0x3b9aca00")),
            _ => unknown_method(),
        }));
        let quote = quote(&node, &bundler(|_, _| unknown_method()), None).await.unwrap();
        assert_eq!(quote.fees.max_fee_per_gas, 2 * GWEI);
    }

    #[tokio::test]
    async fn an_absurd_price_is_refused_by_name() {
        // The ceiling is 5 x (1 + 0.5) + 2 = 9.5 gwei.
        let ceiling = 9_500_000_000;
        let just = proposing("pimlico_getUserOperationGasPrice", tiers(ceiling, GWEI));
        assert_eq!(quote(&node(), &just, None).await.unwrap().ceiling.max_fee_per_gas, ceiling);
        for (method, answer) in [
            ("pimlico_getUserOperationGasPrice", tiers(ceiling + 1, GWEI)),
            ("zd_getUserOperationGasPrice", tiers(u128::MAX, u128::MAX)),
            ("rundler_maxPriorityFeePerGas", json!(format!("0x{:x}", 40 * GWEI))),
        ] {
            let error = quote(&node(), &proposing(method, answer), None).await.unwrap_err();
            assert!(matches!(error, ChainError::AboveCeiling { .. }), "{error}");
            assert!(error.to_string().starts_with("stub proposes maxFeePerGas"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_callers_ceiling_counts_instead_of_the_default() {
        let ceiling =
            FeeCeiling { max_fee_per_gas: GWEI, ..FeeCeiling::from_market(&Market::read(&node()).await.unwrap()) };
        let bundler = proposing("pimlico_getUserOperationGasPrice", tiers(3 * GWEI, GWEI));
        let error = quote(&node(), &bundler, Some(ceiling)).await.unwrap_err();
        assert!(matches!(error, ChainError::AboveCeiling { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_price_that_makes_no_sense_is_malformed() {
        for answer in [json!({}), json!({ "standard": 7 }), tiers(1, 2), json!({ "standard": { "maxFeePerGas": "x" } })]
        {
            let error = quote(&node(), &proposing("pimlico_getUserOperationGasPrice", answer), None).await.unwrap_err();
            assert!(matches!(error, ChainError::Malformed { .. }), "{error}");
        }
    }

    #[test]
    fn one_stuffed_block_does_not_lift_the_ceiling() {
        let quiet = vec![1, 2];
        let history = FeeHistory { base_fees: vec![10, 11], rewards: vec![quiet.clone(), vec![9, 10_000], quiet] };
        let market = Market::from_history(&history);
        assert_eq!(market, Market { base_fee: 11, usual_priority: 1, high_priority: 2 });
        let empty = Market::from_history(&FeeHistory { base_fees: vec![], rewards: vec![] });
        assert_eq!(empty, Market { base_fee: 0, usual_priority: 0, high_priority: 0 });
    }

    fn ceiling() -> FeeCeiling {
        FeeCeiling::from_market(&Market { base_fee: GWEI, usual_priority: 0, high_priority: 0 })
    }

    fn gas(pre_verification: u64, verification: u64, call: u64) -> GasEstimate {
        GasEstimate {
            pre_verification_gas: U256::from(pre_verification),
            verification_gas_limit: U256::from(verification),
            call_gas_limit: U256::from(call),
        }
    }

    #[test]
    fn an_estimate_gets_its_buffers_within_the_ceiling() {
        assert_eq!(buffered("b", &gas(100, 100, 100), &ceiling()).unwrap(), gas(105, 125, 120));
        let full = gas(100, MAX_VERIFICATION_GAS, MAX_CALL_GAS);
        assert_eq!(buffered("b", &full, &ceiling()).unwrap(), gas(105, MAX_VERIFICATION_GAS, MAX_CALL_GAS));
    }

    #[test]
    fn absurd_gas_is_refused_by_name() {
        let huge = GasEstimate { call_gas_limit: U256::MAX, ..gas(1, 1, 1) };
        for absurd in [
            gas(MAX_PRE_VERIFICATION_GAS + 1, 1, 1),
            gas(1, MAX_VERIFICATION_GAS + 1, 1),
            gas(1, 1, MAX_CALL_GAS + 1),
            huge,
        ] {
            let error = buffered("https://bundler.example", &absurd, &ceiling()).unwrap_err();
            assert!(error.to_string().starts_with("https://bundler.example proposes"), "{error}");
        }
    }

    #[test]
    fn the_whole_cost_is_bounded_too() {
        let mut operation = UserOperation::default();
        gas(50_000, 400_000, 100_000).apply(&mut operation);
        Fees { max_fee_per_gas: GWEI, max_priority_fee_per_gas: GWEI }.apply(&mut operation);
        ceiling().check("p", &operation).unwrap();
        let tight = ceiling().with_max_cost(operation.max_cost() - U256::ONE);
        assert!(matches!(tight.check("p", &operation), Err(ChainError::AboveCeiling { .. })));
        operation.max_fee_per_gas = U256::MAX;
        assert!(ceiling().check("p", &operation).is_err());
    }
}

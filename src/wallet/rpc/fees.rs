//! What an operation may cost: prices proposed by a bundler or read from the node, all held under two limits of ours.
//!
//! Bundlers and paymasters propose, we decide: a session key's operation can spend the account's coins as gas, so no
//! proposal is taken because it was made.
//!
//! **Per gas** at most [`PRICE_FACTOR`] (3) times `2 x base fee + tip`. The base fee is the newest block's own; twice of it is
//! what wallets offer, room for six blocks of nothing but rises. The tip is what recent blocks with transactions paid. Empty
//! blocks say nothing about tips, and blocks of nothing but a chain's own transactions (OP) show zeros: there the node's
//! recommendation counts (`eth_maxPriorityFeePerGas`, or `eth_gasPrice` above the base fee). Three times: bundlers ask a tenth
//! to a half more than wallets pay, and prices move while a person reads. A fee history whose base fee is not the block's is
//! refused: the node contradicts itself.
//!
//! **In total** at most the chain's cap ([`crate::wallet::coin`]). The first limit is made of what the node says and does not
//! hold when it lies; this one does. A typed `--max-cost` takes the place of both: it says how much may be lost.
//!
//! Whoever takes power away must not be stopped by a node that lies about prices: see [`Market::read_for_the_brake`].

use alloy::primitives::{U256, utils::format_units};
use serde_json::{Value, json};

use super::{
    answer::Answer,
    bundler::{Bundler, GasEstimate},
    node::{FeeHistory, Node, Prices},
    transport::{Call, ChainError},
};
use crate::{
    erc4337::v06::UserOperation,
    wallet::coin::{Limit, TooDear},
};

/// A fee is refused above this many times what a wallet would offer.
pub const PRICE_FACTOR: u128 = 3;
/// Gas units that an operation is taken to need when nobody can estimate it. The dearest honest operation of a wallet
/// (deploy, enable and execute, with a paymaster) counts about 1.2 million.
pub const DEAR_GAS: u64 = 2_000_000;
/// Gas units. Validating with a session key takes 31-326 thousand (docs/kernel-v2.md#signatures).
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
/// How far the base fees of a block and of the fee history may be apart: a factor, for blocks between the two answers (six
/// rises of an eighth double it), and wei, for chains where it is next to nothing.
const APART_FACTOR: u128 = 2;
const APART_WEI: u128 = 1_000_000;

/// What a chain's own blocks say about prices. Wei per gas unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Market {
    /// Of the newest block; zero on chains without EIP-1559, where the price is all tip.
    pub base_fee: u128,
    pub usual_priority: u128,
    pub high_priority: u128,
    /// The chain has EIP-1559 fees.
    pub dynamic: bool,
}

impl Market {
    /// Reads the node's newest block, its fee history, and what it recommends. One round trip.
    pub async fn read(node: &Node) -> Result<Self, ChainError> {
        let prices = node.prices(HISTORY, &PERCENTILES).await?;
        let origin = node.endpoint().origin();
        if let (Some(ours), Some(theirs)) = (prices.block.base_fee, told_base_fee(&prices))
            && far_apart(ours, theirs)
        {
            let what = "the base fee of the newest block (wei), in eth_feeHistory and in the block itself";
            return Err(ChainError::mismatch(origin, what, ours, theirs));
        }
        Self::from_prices(&prices, origin)
    }

    /// The same for what takes power away: it must not be stopped by a lie about prices. Of the three that know the base fee
    /// (block, fee history, `eth_gasPrice`) the middle one counts, so that one lie moves nothing; the cap bounds the rest.
    pub async fn read_for_the_brake(node: &Node) -> Result<Self, ChainError> {
        let mut prices = node.prices(HISTORY, &PERCENTILES).await?;
        if let Some(own) = prices.block.base_fee {
            let mut witnesses: Vec<u128> =
                [Some(own), told_base_fee(&prices), prices.gas_price].into_iter().flatten().collect();
            witnesses.sort_unstable();
            prices.block.base_fee = witnesses.get(witnesses.len() / 2).copied();
            if told_base_fee(&prices).is_some_and(|theirs| far_apart(own, theirs)) {
                prices.history = None;
            }
        }
        Self::from_prices(&prices, node.endpoint().origin())
    }

    fn from_prices(prices: &Prices, origin: &str) -> Result<Self, ChainError> {
        let Some(base_fee) = prices.block.base_fee else {
            let price = prices.gas_price.ok_or_else(|| {
                ChainError::malformed(origin, "eth_gasPrice", "result", "a price: the blocks have no base fee")
            })?;
            return Ok(Self { base_fee: 0, usual_priority: price, high_priority: price, dynamic: false });
        };
        let recommended =
            || prices.priority.or(prices.gas_price.map(|price| price.saturating_sub(base_fee))).unwrap_or_default();
        let [usual, high] = prices.history.as_ref().and_then(tips).unwrap_or_else(|| [recommended(), recommended()]);
        Ok(Self { base_fee, usual_priority: usual, high_priority: high.max(usual), dynamic: true })
    }
}

/// The fee history's word for the newest block's base fee: its last is the next block's. Zero says nothing, as on nodes that
/// fill the field in.
fn told_base_fee(prices: &Prices) -> Option<u128> {
    let fees = &prices.history.as_ref()?.base_fees;
    let newest = fees.len().saturating_sub(2);
    fees.get(newest).copied().filter(|fee| *fee > 0)
}

fn far_apart(a: u128, b: u128) -> bool {
    a.max(b) > a.min(b).saturating_mul(APART_FACTOR).saturating_add(APART_WEI)
}

/// What blocks with transactions paid as tip: usual and high, each the median over the blocks, which one stuffed block does
/// not move. `None` when no block says anything.
fn tips(history: &FeeHistory) -> Option<[u128; 2]> {
    let told = |(i, row): (usize, &Vec<u128>)| {
        let used = history.used.get(i).copied().unwrap_or(true);
        (used && row.iter().any(|tip| *tip > 0)).then(|| row.clone())
    };
    let rows: Vec<Vec<u128>> = history.rewards.iter().enumerate().filter_map(told).collect();
    let middle = |column: usize| {
        let mut fees: Vec<u128> = rows.iter().filter_map(|row| row.get(column).copied()).collect();
        fees.sort_unstable();
        fees.get(fees.len() / 2).copied()
    };
    Some([middle(0)?, middle(1)?])
}

/// Above this, nothing is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeeCeiling {
    /// Wei per gas unit.
    pub max_fee_per_gas: u128,
    /// Gas units, each.
    pub max_call_gas: u64,
    pub max_verification_gas: u64,
    pub max_pre_verification_gas: u64,
    /// For the whole operation: the most whoever pays for the gas can lose.
    pub limit: Limit,
}

impl FeeCeiling {
    /// [`PRICE_FACTOR`] times what a wallet would offer, and the limit in total. With a typed limit only that one holds.
    pub fn new(market: &Market, limit: Limit) -> Self {
        let offer = market.base_fee.saturating_mul(2).saturating_add(market.high_priority);
        Self {
            max_fee_per_gas: match limit.typed {
                Some(_) => u128::MAX,
                None => offer.saturating_mul(PRICE_FACTOR),
            },
            max_call_gas: MAX_CALL_GAS,
            max_verification_gas: MAX_VERIFICATION_GAS,
            max_pre_verification_gas: MAX_PRE_VERIFICATION_GAS,
            limit,
        }
    }

    /// Refuses fees above the ceiling, in the name of who proposed them.
    pub fn check_fees(&self, proposer: &str, fees: &Fees) -> Result<(), ChainError> {
        self.check_price(proposer, "maxFeePerGas", U256::from(fees.max_fee_per_gas))?;
        self.check_price(proposer, "maxPriorityFeePerGas", U256::from(fees.max_priority_fee_per_gas))
    }

    fn check_price(&self, proposer: &str, what: &'static str, proposed: U256) -> Result<(), ChainError> {
        const WHY: &str = "3 x (2 x the newest block's base fee + the tip in recent blocks). Nothing was signed";
        let ceiling = U256::from(self.max_fee_per_gas);
        bounded(proposer, what, proposed, ceiling, gwei, WHY)
    }

    /// Refuses absurd gas, in the name of who proposed it.
    pub fn check_gas(&self, proposer: &str, gas: &GasEstimate) -> Result<(), ChainError> {
        const WHY: &str = "no operation of a wallet needs so much. Use another endpoint";
        let units = |gas: U256| format!("{gas} gas");
        let limit = |what, proposed, ceiling: u64| bounded(proposer, what, proposed, U256::from(ceiling), units, WHY);
        limit("callGasLimit", gas.call_gas_limit, self.max_call_gas)?;
        limit("verificationGasLimit", gas.verification_gas_limit, self.max_verification_gas)?;
        limit("preVerificationGas", gas.pre_verification_gas, self.max_pre_verification_gas)
    }

    /// The most that something can cost, in wei.
    pub fn check_total(&self, cost: U256) -> Result<(), ChainError> {
        match cost <= self.limit.wei() {
            true => Ok(()),
            false => Err(ChainError::TooDear(Box::new(TooDear { cost, limit: self.limit }))),
        }
    }

    /// The last check before signing: every part, and the most the whole operation can cost.
    pub fn check(&self, proposer: &str, operation: &UserOperation) -> Result<(), ChainError> {
        self.check_price(proposer, "maxFeePerGas", operation.max_fee_per_gas)?;
        self.check_price(proposer, "maxPriorityFeePerGas", operation.max_priority_fee_per_gas)?;
        let gas = GasEstimate {
            pre_verification_gas: operation.pre_verification_gas,
            verification_gas_limit: operation.verification_gas_limit,
            call_gas_limit: operation.call_gas_limit,
        };
        self.check_gas(proposer, &gas)?;
        self.check_total(operation.max_cost())
    }
}

/// A price per gas unit, readable and exact.
fn gwei(price: U256) -> String {
    let full = format_units(price, "gwei").unwrap_or_else(|_| price.to_string());
    let short = if full.contains('.') { full.trim_end_matches('0').trim_end_matches('.') } else { &full };
    format!("{short} gwei ({price} wei)")
}

fn bounded(
    endpoint: &str,
    what: &'static str,
    proposed: U256,
    ceiling: U256,
    words: impl Fn(U256) -> String,
    why: &'static str,
) -> Result<(), ChainError> {
    if proposed <= ceiling {
        return Ok(());
    }
    Err(ChainError::AboveCeiling {
        endpoint: endpoint.into(),
        what,
        proposed: words(proposed),
        ceiling: words(ceiling),
        why,
    })
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
        if market.dynamic { Self::over(market, market.usual_priority) } else { Self::flat(market) }
    }

    /// For a chain without EIP-1559, where the whole price is paid: the node's own and a quarter.
    pub fn flat(market: &Market) -> Self {
        let price = market.usual_priority.saturating_add(market.usual_priority / 4);
        Self { max_fee_per_gas: price, max_priority_fee_per_gas: price }
    }

    /// Half as much again, under the ceiling: for what must not be overtaken or wait.
    pub fn raised(self, ceiling: &FeeCeiling) -> Self {
        let more = |fee: u128, ceiling: u128| fee.saturating_add(fee / 2).min(ceiling.max(fee));
        Self {
            max_fee_per_gas: more(self.max_fee_per_gas, ceiling.max_fee_per_gas),
            max_priority_fee_per_gas: more(self.max_priority_fee_per_gas, ceiling.max_fee_per_gas),
        }
    }

    /// At least what a bundler asks of an operation that takes another's place (a tenth more, and rounding), under the ceiling.
    pub fn replacing(self, earlier: &UserOperation, ceiling: &FeeCeiling) -> Self {
        let above = |own: u128, earlier: U256| {
            let earlier: u128 = earlier.saturating_to();
            let asked = earlier.saturating_add(earlier.saturating_mul(13) / 100).saturating_add(1);
            own.max(asked.min(ceiling.max_fee_per_gas))
        };
        Self {
            max_fee_per_gas: above(self.max_fee_per_gas, earlier.max_fee_per_gas),
            max_priority_fee_per_gas: above(self.max_priority_fee_per_gas, earlier.max_priority_fee_per_gas),
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

/// Fees to use, and who they come from. They are held under no ceiling yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    pub fees: Fees,
    /// The method that proposed them.
    pub source: &'static str,
    /// The endpoint that proposed them.
    pub proposer: String,
}

/// Asks the bundler for its price, where it has one; the node's blocks decide otherwise.
pub async fn quote(node: &Node, bundler: &Bundler, market: &Market) -> Result<Quote, ChainError> {
    let (fees, source, proposer) = match proposal(bundler, market).await? {
        Some((fees, source)) => (fees, source, bundler.endpoint().origin()),
        None => (Fees::from_market(market), "eth_feeHistory", node.endpoint().origin()),
    };
    Ok(Quote { fees, source, proposer: proposer.to_owned() })
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
    use alloy::primitives::B256;

    use super::*;
    use crate::{
        erc4337::v06::ENTRY_POINT,
        wallet::{
            coin::Coin,
            rpc::stub_server::{Canned, canned, unknown_method},
        },
    };

    const GWEI: u128 = 1_000_000_000;

    /// A block of base fee 1 gwei, usual priority fee 0.1 gwei, high 0.5 gwei.
    fn node() -> Node {
        node_saying(GWEI, GWEI, &[[GWEI / 10, GWEI / 2]; 2], &[0.5, 0.5], None)
    }

    fn hex(number: u128) -> Value {
        json!(format!("0x{number:x}"))
    }

    fn node_saying(block: u128, history: u128, rewards: &[[u128; 2]], used: &[f64], recommended: Option<u128>) -> Node {
        let rewards: Vec<Vec<Value>> = rewards.iter().map(|row| row.map(hex).to_vec()).collect();
        let base_fees = vec![hex(history); rewards.len() + 1];
        let used = used.to_vec();
        Node::new(canned(move |method, _| match (method, recommended) {
            ("eth_getBlockByNumber", _) => Ok(json!({
                "number": "0x9", "hash": B256::repeat_byte(9), "timestamp": "0x1", "baseFeePerGas": hex(block),
            })),
            ("eth_feeHistory", _) => Ok(json!({
                "oldestBlock": "0x1", "baseFeePerGas": base_fees, "reward": rewards, "gasUsedRatio": used,
            })),
            ("eth_maxPriorityFeePerGas", Some(tip)) => Ok(hex(tip)),
            ("eth_gasPrice", Some(tip)) => Ok(hex(block.saturating_add(tip))),
            _ => unknown_method(),
        }))
    }

    fn no_limit_typed() -> Limit {
        Limit::new(Coin::of(1), None)
    }

    /// A quote that passed the ceiling of its market.
    async fn priced(node: &Node, bundler: &Bundler) -> Result<(Quote, FeeCeiling), ChainError> {
        let market = Market::read(node).await?;
        let ceiling = FeeCeiling::new(&market, no_limit_typed());
        let quote = quote(node, bundler, &market).await?;
        ceiling.check_fees(&quote.proposer, &quote.fees)?;
        Ok((quote, ceiling))
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
            let (quote, _) = priced(&node(), &proposing(method, tiers(3 * GWEI, GWEI))).await.unwrap();
            assert_eq!(quote.fees, Fees { max_fee_per_gas: 3 * GWEI, max_priority_fee_per_gas: GWEI });
            assert_eq!(quote.source, method);
        }
        let rundler = proposing("rundler_maxPriorityFeePerGas", json!("0x3b9aca00"));
        let (quote, _) = priced(&node(), &rundler).await.unwrap();
        assert_eq!(quote.fees, Fees { max_fee_per_gas: 3 * GWEI, max_priority_fee_per_gas: GWEI });
    }

    #[tokio::test]
    async fn without_a_bundlers_price_the_nodes_blocks_decide() {
        let (quote, _) = priced(&node(), &bundler(|_, _| unknown_method())).await.unwrap();
        assert_eq!(quote.fees, Fees { max_fee_per_gas: 2 * GWEI + GWEI / 10, max_priority_fee_per_gas: GWEI / 10 });
        assert_eq!(quote.source, "eth_feeHistory");
    }

    #[tokio::test]
    async fn a_chain_without_base_fees_has_a_gas_price_which_is_paid_in_full() {
        let node = Node::new(canned(|method, _| match method {
            "eth_getBlockByNumber" => Ok(json!({ "number": "0x9", "hash": B256::ZERO, "timestamp": "0x1" })),
            "eth_gasPrice" => Ok(hex(GWEI)),
            _ => unknown_method(),
        }));
        let (quote, ceiling) = priced(&node, &bundler(|_, _| unknown_method())).await.unwrap();
        assert_eq!(quote.fees.max_fee_per_gas, GWEI + GWEI / 4);
        assert_eq!(ceiling.max_fee_per_gas, 3 * GWEI);
    }

    #[tokio::test]
    async fn an_absurd_price_is_refused_by_name() {
        // The ceiling is 3 x (2 x 1 + 0.5) = 7.5 gwei.
        let ceiling = 7_500_000_000;
        let just = proposing("pimlico_getUserOperationGasPrice", tiers(ceiling, GWEI));
        assert_eq!(priced(&node(), &just).await.unwrap().1.max_fee_per_gas, ceiling);
        for (method, answer) in [
            ("pimlico_getUserOperationGasPrice", tiers(ceiling + 1, GWEI)),
            ("zd_getUserOperationGasPrice", tiers(u128::MAX, u128::MAX)),
            ("rundler_maxPriorityFeePerGas", json!(format!("0x{:x}", 40 * GWEI))),
        ] {
            let error = priced(&node(), &proposing(method, answer)).await.unwrap_err();
            assert!(matches!(error, ChainError::AboveCeiling { .. }), "{error}");
            assert!(error.to_string().starts_with("stub proposes maxFeePerGas"), "{error}");
            assert!(error.to_string().contains("7.5 gwei (7500000000 wei)"), "{error}");
        }
    }

    #[tokio::test]
    async fn k08_empty_blocks_are_no_evidence_and_the_nodes_recommendation_counts() {
        // Public case 09: base fee 15 wei, ten empty blocks, a chain-wide minimum tip that only the node's own words tell.
        let quiet = node_saying(15, 15, &[[0, 0]; 10], &[0.0; 10], Some(30 * GWEI));
        let market = Market::read(&quiet).await.unwrap();
        assert_eq!((market.base_fee, market.high_priority), (15, 30 * GWEI));
        let fair = proposing("pimlico_getUserOperationGasPrice", tiers(31 * GWEI, 30 * GWEI));
        priced(&quiet, &fair).await.unwrap();
        let greedy = proposing("pimlico_getUserOperationGasPrice", tiers(3100 * GWEI, 3000 * GWEI));
        assert!(matches!(priced(&quiet, &greedy).await, Err(ChainError::AboveCeiling { .. })));
        // One block with transactions is evidence, also among empty ones.
        let mut rewards = [[0, 0]; 10];
        rewards[3] = [GWEI, 2 * GWEI];
        let mut used = [0.0; 10];
        used[3] = 0.4;
        let market = Market::read(&node_saying(15, 15, &rewards, &used, Some(30 * GWEI))).await.unwrap();
        assert_eq!((market.usual_priority, market.high_priority), (GWEI, 2 * GWEI));
        // Zeros in blocks that hold only the chain's own transactions say as little.
        let market = Market::read(&node_saying(15, 15, &[[0, 0]; 3], &[0.1; 3], Some(7))).await.unwrap();
        assert_eq!(market.high_priority, 7);
    }

    #[tokio::test]
    async fn k08_a_fee_history_that_is_not_the_blocks_is_refused() {
        let lies = [(GWEI, 1), (1, GWEI), (GWEI, 3 * GWEI), (GWEI, u128::MAX)];
        for (block, history) in lies {
            let node = node_saying(block, history, &[[GWEI, GWEI]; 2], &[0.5, 0.5], Some(GWEI));
            let error = Market::read(&node).await.unwrap_err();
            assert!(matches!(error, ChainError::Mismatch { .. }), "{block} {history}: {error}");
            // The brake goes on, on what the others say.
            let market = Market::read_for_the_brake(&node).await.unwrap();
            assert!(market.base_fee <= 2 * GWEI, "{block} {history}: {market:?}");
        }
        for (block, history) in [(GWEI, GWEI), (GWEI, GWEI * 9 / 8), (15, 0), (7, 500_000), (GWEI, 0)] {
            let node = node_saying(block, history, &[[GWEI, GWEI]; 2], &[0.5, 0.5], Some(GWEI));
            assert_eq!(Market::read(&node).await.unwrap().base_fee, block);
        }
    }

    #[tokio::test]
    async fn k08_a_lie_about_tips_is_stopped_by_the_cap_and_only_a_typed_amount_lifts_it() {
        // As it was done: base fee 1 wei, rewards of 6,000 gwei, preVerificationGas 1,000,000: 6.76 ETH went in one operation.
        let lying = node_saying(1, 1, &[[6000 * GWEI, 6000 * GWEI]; 10], &[0.5; 10], Some(6000 * GWEI));
        let market = Market::read(&lying).await.unwrap();
        let ceiling = FeeCeiling::new(&market, no_limit_typed());
        let mut operation = UserOperation::default();
        gas(1_000_000, 90_000, 36_000).apply(&mut operation);
        Fees::from_market(&market).apply(&mut operation);
        let Err(ChainError::TooDear(dear)) = ceiling.check("stub", &operation) else { panic!("it was not refused") };
        assert_eq!((dear.code(), dear.cost), ("limit.cap", operation.max_cost()));
        let typed = |wei| FeeCeiling::new(&market, Limit::new(Coin::of(1), Some(wei)));
        typed(operation.max_cost()).check("stub", &operation).unwrap();
        let short = typed(operation.max_cost() - U256::ONE).check("stub", &operation).unwrap_err();
        assert!(matches!(short, ChainError::TooDear(dear) if dear.code() == "limit.max_cost"));
    }

    #[tokio::test]
    async fn k08_a_typed_limit_is_the_only_one() {
        let market = Market::read(&node()).await.unwrap();
        let ceiling = FeeCeiling::new(&market, Limit::new(Coin::of(1), Some(U256::from(GWEI))));
        ceiling.check_fees("p", &Fees { max_fee_per_gas: 900 * GWEI, max_priority_fee_per_gas: GWEI }).unwrap();
        assert!(ceiling.check_total(U256::from(GWEI + 1)).is_err());
    }

    #[tokio::test]
    async fn a_price_that_makes_no_sense_is_malformed() {
        for answer in [json!({}), json!({ "standard": 7 }), tiers(1, 2), json!({ "standard": { "maxFeePerGas": "x" } })]
        {
            let error = priced(&node(), &proposing("pimlico_getUserOperationGasPrice", answer)).await.unwrap_err();
            assert!(matches!(error, ChainError::Malformed { .. }), "{error}");
        }
    }

    #[test]
    fn one_stuffed_block_does_not_lift_the_ceiling() {
        let quiet = vec![1, 2];
        let rewards = vec![quiet.clone(), vec![9, 10_000], quiet];
        let history = FeeHistory { base_fees: vec![10, 11], rewards, used: vec![true; 3] };
        assert_eq!(tips(&history), Some([1, 2]));
        assert_eq!(tips(&FeeHistory { base_fees: vec![], rewards: vec![], used: vec![] }), None);
    }

    fn ceiling() -> FeeCeiling {
        let market = Market { base_fee: GWEI, usual_priority: 0, high_priority: 0, dynamic: true };
        FeeCeiling::new(&market, no_limit_typed())
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
        let tight = FeeCeiling { limit: Limit::new(Coin::of(1), Some(operation.max_cost() - U256::ONE)), ..ceiling() };
        assert!(matches!(tight.check("p", &operation), Err(ChainError::TooDear(_))));
        operation.max_fee_per_gas = U256::MAX;
        assert!(ceiling().check("p", &operation).is_err());
    }
}

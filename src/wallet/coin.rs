//! The native coin of each chain: its name, and the most that one operation may cost in it.
//!
//! The figures are those of [`known_chains`]. An operation of a wallet counts at most some 1.2 million gas (deploy, enable and
//! execute, with a sponsor), so the cap of 0.05 ETH is reached at a price of 40 gwei, ten times and more what the chains
//! of ETH ask on a usual day; a lie about prices can cost no more than that. Where the coin is another one, the cap is a
//! figure of like worth, rounded: 0.2 BNB, 150 xDAI, 500 POL, 6 AVAX. On a chain that is not listed nothing is known of the
//! coin's worth: 0.05 of it. Whoever means more says so with `--max-cost`.
//!
//! The names of coins are a list of our own because amounts rest on them: alloy-chains says nothing of decimals, and names no coin for
//! a third of its chains, Gnosis and Avalanche among them. Where it names one, a test compares.

use alloy::primitives::U256;
use serde::{Serialize, Serializer};

use super::Wallet;
use crate::policy::sentence::{self, AmountError};

/// Wei: the cap on a chain that is not listed, 0.05 of its coin.
const CAP: u64 = 50_000_000_000_000_000;
/// What the coin of a chain is called that is not listed.
const UNLISTED: &str = "native coin";

/// A chain whose coin is known. It has 18 decimals: amounts are shown with as many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownChain {
    pub id: u64,
    /// Of the native coin.
    pub symbol: &'static str,
    /// Wei: the most that one operation may cost unless somebody says otherwise.
    pub cap: U256,
}

/// `thousandths` of the coin are the cap.
const fn known(id: u64, symbol: &'static str, thousandths: u128) -> KnownChain {
    let wei = thousandths * 1_000_000_000_000_000;
    KnownChain { id, symbol, cap: U256::from_limbs([wei as u64, (wei >> 64) as u64, 0, 0]) }
}

/// Which chains are known, and the caps on them.
#[rustfmt::skip]
pub const fn known_chains() -> &'static [KnownChain] {
    const CHAINS: &[KnownChain] = &[
        known(1, "ETH", 50), // Ethereum
        known(10, "ETH", 50), // Optimism
        known(56, "BNB", 200), // BNB Smart Chain
        known(100, "xDAI", 150_000), // Gnosis
        known(137, "POL", 500_000), // Polygon
        known(204, "BNB", 200), // opBNB
        known(8_453, "ETH", 50), // Base
        known(42_161, "ETH", 50), // Arbitrum One
        known(42_170, "ETH", 50), // Arbitrum Nova
        known(43_114, "AVAX", 6_000), // Avalanche
        known(59_144, "ETH", 50), // Linea
        known(81_457, "ETH", 50), // Blast
        known(534_352, "ETH", 50), // Scroll
        known(7_777_777, "ETH", 50), // Zora
        known(11_155_111, "ETH", 50), // Sepolia
        known(84_532, "ETH", 50), // Base Sepolia
        known(421_614, "ETH", 50), // Arbitrum Sepolia
        known(11_155_420, "ETH", 50), // OP Sepolia
        known(80_001, "MATIC", 500_000), // Mumbai
        known(80_002, "POL", 500_000), // Amoy
        known(5, "ETH", 50), // Goerli
        known(31_337, "ETH", 50), // a local development chain
        known(1_801_812_332, "ETH", 50), // the sandbox
    ];
    CHAINS
}

/// A chain's native coin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coin {
    symbol: &'static str,
    listed: bool,
    /// Wei: the most that one operation may cost unless somebody says otherwise.
    pub cap: U256,
}

impl Coin {
    pub fn of(chain_id: u64) -> Self {
        known_chains().iter().find(|c| c.id == chain_id).map_or_else(Self::unlisted, |chain| Self {
            symbol: chain.symbol,
            listed: true,
            cap: chain.cap,
        })
    }

    /// Of a chain that is not listed, or not known.
    pub fn unlisted() -> Self {
        Self { symbol: UNLISTED, listed: false, cap: U256::from(CAP) }
    }

    /// `ETH`, `POL`; `native coin` where nothing is known.
    pub const fn symbol(self) -> &'static str {
        self.symbol
    }

    /// In the coin, and exactly: `0.1 POL (100000000000000000 wei)`.
    pub fn amount(self, wei: U256) -> String {
        sentence::amount(wei, self.symbol)
    }

    /// The word for a whole coin in what people write; where the coin is not known, `eth` stands for 10^18 wei.
    pub fn unit(self) -> String {
        if self.listed { self.symbol.to_ascii_lowercase() } else { "eth".to_owned() }
    }

    /// Reads wei, `5 gwei`, or coins such as `0.1 pol`. Another coin's name is refused.
    pub fn parse(self, text: &str) -> Result<U256, AmountError> {
        sentence::parse_amount_of(text, &self.unit())
    }

    /// What `--max-cost` takes to let something of this cost pass, with room for a price that moves until then: a quarter
    /// more, rounded up to two digits.
    pub fn max_cost_that_allows(self, wei: U256) -> String {
        let ten = U256::from(10);
        let roomy = wei.saturating_add(wei / U256::from(4));
        let mut step = U256::ONE;
        while roomy / step >= U256::from(100) {
            step = step.saturating_mul(ten);
        }
        let rounded =
            (roomy / step).saturating_add(U256::from(u8::from(!(roomy % step).is_zero()))).saturating_mul(step);
        match self.listed {
            true => format!("{}{}", sentence::coins(rounded), self.unit()),
            false => rounded.to_string(),
        }
    }
}

impl Wallet {
    /// The coin of an account's chain, to read amounts by; that the account is not on record, the command says itself.
    pub fn coin_of_account(&self, account: &str) -> Coin {
        self.find_account(account).map_or_else(|_| Coin::unlisted(), |a| Coin::of(a.chain_id))
    }

    /// The same for a key.
    pub fn coin_of_key(&self, key: &str) -> Coin {
        self.find_key(key).map_or_else(|_| Coin::unlisted(), |file| Coin::of(file.key.chain_id))
    }
}

impl Serialize for Coin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.symbol)
    }
}

/// The most that one operation may cost, and who set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    pub coin: Coin,
    /// Wei: what somebody typed for this one operation (`--max-cost`). It takes the place of the cap and of the limit per gas.
    pub typed: Option<U256>,
}

impl Limit {
    pub const fn new(coin: Coin, typed: Option<U256>) -> Self {
        Self { coin, typed }
    }

    /// Wei.
    pub fn wei(self) -> U256 {
        self.typed.unwrap_or(self.coin.cap)
    }
}

/// Something that could cost more than its [`Limit`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this could cost {}, and {} is {}", limit.coin.amount(*cost), match limit.typed { Some(_) => "your --max-cost", None => "the most that one operation may cost on this chain" }, limit.coin.amount(limit.wei()))]
pub struct TooDear {
    /// Wei: the most it can cost.
    pub cost: U256,
    pub limit: Limit,
}

impl TooDear {
    pub const fn code(&self) -> &'static str {
        match self.limit.typed {
            Some(_) => "limit.max_cost",
            None => "limit.cap",
        }
    }

    pub fn hint(&self) -> String {
        let enough = self.limit.coin.max_cost_that_allows(self.cost);
        format!("nothing was signed; if you mean to pay that, say so on the command line: --max-cost {enough}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETHER: u128 = 1_000_000_000_000_000_000;

    #[test]
    fn a09_every_listed_chain_has_a_coin_and_a_cap() {
        for chain in known_chains() {
            assert!(
                !chain.symbol.is_empty() && chain.symbol.chars().all(|c| c.is_ascii_alphanumeric()),
                "{}",
                chain.id
            );
            assert!(chain.cap >= U256::from(CAP), "{}", chain.id);
            if chain.symbol == "ETH" {
                assert_eq!(chain.cap, U256::from(ETHER / 20), "{}", chain.id);
            }
        }
        let mut ids: Vec<u64> = known_chains().iter().map(|c| c.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), known_chains().len(), "no chain twice");
        assert!(ids.contains(&crate::sandbox::CHAIN_ID));
    }

    #[test]
    fn where_others_name_the_coin_they_name_it_as_we_do() {
        let named = known_chains().iter().filter_map(|chain| {
            let theirs = alloy_chains::NamedChain::try_from(chain.id).ok()?.native_currency_symbol()?;
            Some((chain.id, chain.symbol, theirs))
        });
        let named: Vec<_> = named.collect();
        assert!(named.len() > 12, "{named:?}");
        assert!(named.iter().all(|(_, ours, theirs)| ours == theirs), "{named:?}");
    }

    #[test]
    fn a09_amounts_carry_the_coin_of_their_chain_or_nobodys() {
        let tenth = U256::from(ETHER / 10);
        assert_eq!(Coin::of(1).amount(tenth), "0.1 ETH (100000000000000000 wei)");
        assert_eq!(Coin::of(137).amount(tenth), "0.1 POL (100000000000000000 wei)");
        assert_eq!(Coin::of(987_654).amount(tenth), "0.1 native coin (100000000000000000 wei)");
    }

    #[test]
    fn a09_the_name_of_another_coin_is_no_unit() {
        assert_eq!(Coin::of(137).parse("0.1 POL"), Ok(U256::from(ETHER / 10)));
        assert_eq!(Coin::of(137).parse("5 gwei"), Ok(U256::from(5_000_000_000_u64)));
        let refused = Coin::of(137).parse("0.1 eth").unwrap_err();
        assert!(refused.to_string().contains("`wei`, `gwei` and `pol`"), "{refused}");
        assert!(Coin::of(1).parse("0.1 pol").is_err());
        // Nothing is known of this one: `eth` is what people write for 10^18 there.
        assert_eq!(Coin::of(987_654).parse("0.1eth"), Ok(U256::from(ETHER / 10)));
    }

    #[test]
    fn k08_what_is_named_for_max_cost_would_pass() {
        for (chain, cost) in [(1, 6_760_000_000_000_000_000_u128), (137, 50 * ETHER + 1), (987_654, 7), (1, 999)] {
            let coin = Coin::of(chain);
            let named = coin.max_cost_that_allows(U256::from(cost));
            let read = coin.parse(&named).unwrap();
            assert!(read >= U256::from(cost), "{named}");
            assert!(read <= U256::from(cost) * U256::from(2), "{named}");
        }
        assert_eq!(Coin::of(1).max_cost_that_allows(U256::from(6_760_000_000_000_000_000_u128)), "8.5eth");
        let error = TooDear { cost: U256::from(ETHER), limit: Limit::new(Coin::of(1), None) };
        assert_eq!(
            error.to_string(),
            "this could cost 1 ETH (1000000000000000000 wei), and the most that one operation may cost on this chain is 0.05 ETH (50000000000000000 wei)"
        );
        assert!(error.hint().contains("--max-cost 1.3eth"), "{}", error.hint());
    }
}

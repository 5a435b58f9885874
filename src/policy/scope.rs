//! What a session key may do, in no family's encoding: which contract, which function, which words in its arguments, how often,
//! until when, and who pays for gas.

use alloy::primitives::{Address, B256, Selector, U256};
use serde::{Deserialize, Serialize};

/// Largest value of the contract's `uint48` fields (seconds and counts): 2^48 - 1.
pub const MAX_UINT48: u64 = (1 << 48) - 1;

/// Target that means "any contract" on validator generations G2 and G3. On G1 it is the literal zero address.
pub const ANY_TARGET: Address = Address::ZERO;

/// How a word of the call is compared with a rule's `param`: both as unsigned 256-bit numbers.
///
/// Called `ParamCondition` in Solidity and `ParamOperator` in the SDK.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    #[serde(alias = "EQUAL")]
    Eq,
    #[serde(alias = "GREATER_THAN")]
    Gt,
    #[serde(alias = "LESS_THAN")]
    Lt,
    #[serde(alias = "GREATER_THAN_OR_EQUAL")]
    Gte,
    #[serde(alias = "LESS_THAN_OR_EQUAL")]
    Lte,
    #[serde(alias = "NOT_EQUAL")]
    Ne,
}

impl Condition {
    pub const ALL: [Self; 6] = [Self::Eq, Self::Gt, Self::Lt, Self::Gte, Self::Lte, Self::Ne];

    /// The enum value on chain, 0 to 5.
    pub const fn code(self) -> u8 {
        match self {
            Self::Eq => 0,
            Self::Gt => 1,
            Self::Lt => 2,
            Self::Gte => 3,
            Self::Lte => 4,
            Self::Ne => 5,
        }
    }

    /// The condition with this enum value on chain, if there is one.
    pub fn from_code(code: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|c| u64::from(c.code()) == code)
    }

    /// Reads `eq`, `gte`, … as well as the SDK's `EQUAL`, `GREATER_THAN_OR_EQUAL`, …, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "eq" | "equal" => Self::Eq,
            "gt" | "greater_than" => Self::Gt,
            "lt" | "less_than" => Self::Lt,
            "gte" | "greater_than_or_equal" => Self::Gte,
            "lte" | "less_than_or_equal" => Self::Lte,
            "ne" | "not_equal" => Self::Ne,
            _ => return None,
        })
    }

    /// The short name used in policy files: `eq ne gt gte lt lte`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Gt => "gt",
            Self::Lt => "lt",
            Self::Gte => "gte",
            Self::Lte => "lte",
            Self::Ne => "ne",
        }
    }

    /// Whether `word` (from the call) satisfies this condition against `param`, as the contract compares them.
    pub fn holds(self, word: U256, param: U256) -> bool {
        match self {
            Self::Eq => word == param,
            Self::Gt => word > param,
            Self::Lt => word < param,
            Self::Gte => word >= param,
            Self::Lte => word <= param,
            Self::Ne => word != param,
        }
    }
}

/// A condition on one 32-byte word of the inner call's arguments.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rule {
    /// Bytes from the end of the function selector to the word: the word compared starts at `4 + offset` of the call data.
    #[serde(with = "super::scope::decimal")]
    pub offset: U256,
    pub condition: Condition,
    pub param: B256,
}

/// How often and from when a permission may be used. All zero: no limit.
///
/// The word order on chain is `validAfter, interval, runs`. SDK 4.7.8 and 5.5.4 encode another order (docs/kernel-v2.md#run-limits).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionRule {
    /// Unix seconds of the first use; 0 = at once.
    pub valid_after: u64,
    /// Seconds between uses on the schedule; 0 = none. Needs `valid_after != 0`.
    pub interval: u64,
    /// Number of uses; 0 = no limit. Counted in validation, so a use whose inner call reverts counts too.
    pub runs: u64,
}

impl ExecutionRule {
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

/// Which account function a permission is for: only `executeDelegateCall` reads it, and it needs [`Operation::DelegateCall`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    #[default]
    Call,
    DelegateCall,
}

impl Operation {
    pub const fn code(self) -> u8 {
        match self {
            Self::Call => 0,
            Self::DelegateCall => 1,
        }
    }

    pub fn from_code(code: u64) -> Option<Self> {
        match code {
            0 => Some(Self::Call),
            1 => Some(Self::DelegateCall),
            _ => None,
        }
    }
}

/// What a session key may call: one leaf of the tree whose root the owner signs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Permission {
    /// Position in the list. Two permissions with one index share a run counter.
    pub index: u32,
    pub target: Address,
    /// Function selector of the inner call; `0x00000000` also stands for four zero bytes of data.
    pub sig: Selector,
    /// Most wei a single call may carry (inclusive, not cumulative).
    #[serde(with = "super::scope::decimal")]
    pub value_limit: U256,
    /// Checked in order; the first that fails decides the reason.
    pub rules: Vec<Rule>,
    #[serde(default)]
    pub execution_rule: ExecutionRule,
    #[serde(default)]
    pub operation: Operation,
}

/// What an owner signs for one session key, apart from who and where: the window, the paymaster and the permissions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scope {
    /// Unix seconds; 0 = at once.
    pub valid_after: u64,
    /// Unix seconds, inclusive; 0 = never expires.
    pub valid_until: u64,
    /// Zero address: none required. Address 1: "some paymaster" (enforced on no deployed validator). Else exactly this one.
    pub paymaster: Address,
    /// Empty means that *everything* is allowed (root 0).
    pub permissions: Vec<Permission>,
}

/// Paymaster value that asks for "some paymaster" (docs/kernel-v2.md#validator-generations). No deployed validator enforces it.
pub const ANY_PAYMASTER: Address = {
    let mut bytes = [0u8; 20];
    bytes[19] = 1;
    Address::new(bytes)
};

/// 256-bit numbers as decimal strings in JSON, reading numbers and `0x` hex as well.
pub mod decimal {
    use alloy::primitives::U256;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(value: &U256, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(value)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<U256, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Number {
            Small(u64),
            Text(String),
        }
        match Number::deserialize(d)? {
            Number::Small(n) => Ok(U256::from(n)),
            Number::Text(t) => t.parse().map_err(|_| D::Error::custom("not an unsigned 256-bit number")),
        }
    }
}

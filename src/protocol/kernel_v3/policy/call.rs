//! Which calls a key may make (docs/kernel-v3.md#call-policy). Looked up by call type, contract and function, then by call type and
//! function for any contract; what is not found is refused.

use std::fmt;

use alloy::{
    primitives::{Address, B256, Bytes, Selector, U256, address},
    sol,
    sol_types::SolValue,
};
use serde::{Deserialize, Serialize};

use super::super::{account::CallType, canonical::Cursor};

/// Target that means "any contract", from 0.0.2 on.
pub const ANY_TARGET: Address = Address::ZERO;

/// A deployed call policy. Told by its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CallPolicyVersion {
    #[serde(rename = "0.0.1")]
    V0_0_1,
    #[serde(rename = "0.0.2")]
    V0_0_2,
    #[serde(rename = "0.0.3")]
    V0_0_3,
    #[serde(rename = "0.0.4")]
    V0_0_4,
    #[serde(rename = "0.0.5")]
    V0_0_5,
}

impl CallPolicyVersion {
    pub const ALL: [Self; 5] = [Self::V0_0_1, Self::V0_0_2, Self::V0_0_3, Self::V0_0_4, Self::V0_0_5];

    /// The only one that keeps the storage rules of ERC-4337. It reads delegatecalls, as 0.0.3 and 0.0.5 do.
    pub const DEFAULT: Self = Self::V0_0_4;

    pub const fn address(self) -> Address {
        match self {
            Self::V0_0_1 => address!("e4Fec84B7B002273ecC86baa65a831ddB92d30a8"),
            Self::V0_0_2 => address!("67Fa43ca2D689beA4d10b9F2C96828828A2Ab275"),
            Self::V0_0_3 => address!("B3CB5f502250360335614df1421f2AAbE98CE503"),
            Self::V0_0_4 => address!("9a52283276A0ec8740DF50bF01B28A80D880eaf2"),
            Self::V0_0_5 => address!("85770b902D1e503D5f5141d9eaC16d0d08eEaDd2"),
        }
    }

    pub fn from_address(address: Address) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.address() == address)
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.as_str() == text)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V0_0_1 => "0.0.1",
            Self::V0_0_2 => "0.0.2",
            Self::V0_0_3 => "0.0.3",
            Self::V0_0_4 => "0.0.4",
            Self::V0_0_5 => "0.0.5",
        }
    }

    /// Whether an entry without a target is for any contract.
    pub const fn has_any_target(self) -> bool {
        !matches!(self, Self::V0_0_1)
    }

    /// Whether a call without data, a plain transfer, can match an entry of selector zero.
    pub const fn allows_empty_calls(self) -> bool {
        !matches!(self, Self::V0_0_1)
    }

    /// Whether a delegatecall is read as one. The older two take the first word of its data for a value.
    pub const fn reads_delegate_calls(self) -> bool {
        matches!(self, Self::V0_0_3 | Self::V0_0_4 | Self::V0_0_5)
    }

    /// Whether a rule has a list of words to compare with, not one.
    pub const fn has_param_lists(self) -> bool {
        !matches!(self, Self::V0_0_1)
    }

    /// Whether its storage is the account's own, as strict bundlers demand.
    pub const fn keeps_storage_rules(self) -> bool {
        matches!(self, Self::V0_0_4)
    }

    /// The last condition that its install takes.
    const fn last_condition(self) -> u8 {
        match self {
            Self::V0_0_1 => 5,
            Self::V0_0_2 | Self::V0_0_3 | Self::V0_0_4 => 6,
            Self::V0_0_5 => 7,
        }
    }
}

impl fmt::Display for CallPolicyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a word of the call is compared with a rule's params: as unsigned 256-bit numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Condition {
    Eq,
    Gt,
    Lt,
    Gte,
    Lte,
    Ne,
    /// One of the params; none of an empty list.
    OneOf,
    /// Version 0.0.5: params are start, length and hash of a slice of the bytes that the word points to.
    SliceEq,
    /// Refused at install.
    Unknown(u8),
}

impl Condition {
    pub const KNOWN: [Self; 8] =
        [Self::Eq, Self::Gt, Self::Lt, Self::Gte, Self::Lte, Self::Ne, Self::OneOf, Self::SliceEq];

    /// The enum value on chain.
    pub const fn code(self) -> u8 {
        match self {
            Self::Eq => 0,
            Self::Gt => 1,
            Self::Lt => 2,
            Self::Gte => 3,
            Self::Lte => 4,
            Self::Ne => 5,
            Self::OneOf => 6,
            Self::SliceEq => 7,
            Self::Unknown(code) => code,
        }
    }

    pub fn from_code(code: u8) -> Self {
        Self::KNOWN.into_iter().find(|condition| condition.code() == code).unwrap_or(Self::Unknown(code))
    }
}

/// A condition on one 32-byte word of the inner call's arguments.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rule {
    pub condition: Condition,
    /// Bytes from the end of the function selector to the word: the word compared starts at `4 + offset` of the call data.
    pub offset: u64,
    pub params: Vec<B256>,
}

/// What a key may call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Only [`CallType::Call`] and [`CallType::DelegateCall`] are ever looked up.
    pub call_type: CallType,
    pub target: Address,
    /// Zero: without data, or with data that begins with four zero bytes.
    pub selector: Selector,
    /// Most wei a single call may carry (inclusive, not cumulative).
    pub value_limit: U256,
    /// All have to hold; the first that fails decides the reason.
    pub rules: Vec<Rule>,
}

impl Entry {
    /// What the policy looks it up by.
    pub fn key(&self) -> (CallType, Address, Selector) {
        (self.call_type, self.target, self.selector)
    }
}

/// The entries of a call policy, as its version can say them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CallPolicy {
    version: CallPolicyVersion,
    entries: Vec<Entry>,
}

/// Version 0.0.1 has one word a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("entry {entry}, rule {rule} has {params} words to compare with; a rule of call policy 0.0.1 has exactly one")]
pub struct NotOneParam {
    /// From 1.
    pub entry: usize,
    /// From 1.
    pub rule: usize,
    pub params: usize,
}

/// Why the install of a call policy reverts. Positions count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallFault {
    #[error("entries {} and {} are for the same call (`duplicate permissionHash`)", first + 1, second + 1)]
    Duplicate { first: usize, second: usize },
    #[error("entry {}, rule {}: version {version} has no condition {code}", entry + 1, rule + 1)]
    Condition { entry: usize, rule: usize, code: u8, version: CallPolicyVersion },
    #[error("entry {}, rule {} has {params} words to compare with, and only \"one of\" may have other than one", entry + 1, rule + 1)]
    Params { entry: usize, rule: usize, params: usize },
    #[error("entry {}, rule {} has {params} words; the comparison of a slice has three", entry + 1, rule + 1)]
    SliceParams { entry: usize, rule: usize, params: usize },
}

sol! {
    struct SolRule { uint8 condition; uint64 offset; bytes32[] params; }
    struct SolEntry { bytes1 callType; address target; bytes4 selector; uint256 valueLimit; SolRule[] rules; }
    struct SolFirstRule { uint8 condition; uint64 offset; bytes32 param; }
    struct SolFirstEntry { bytes1 callType; address target; bytes4 selector; uint256 valueLimit; SolFirstRule[] rules; }
}

impl CallPolicy {
    pub fn new(version: CallPolicyVersion, entries: Vec<Entry>) -> Result<Self, NotOneParam> {
        if !version.has_param_lists() {
            for (entry, rules) in entries.iter().map(|entry| &entry.rules).enumerate() {
                if let Some((rule, other)) = rules.iter().enumerate().find(|(_, rule)| rule.params.len() != 1) {
                    let params = other.params.len();
                    return Err(NotOneParam { entry: entry + 1, rule: rule + 1, params });
                }
            }
        }
        Ok(Self { version, entries })
    }

    pub const fn version(&self) -> CallPolicyVersion {
        self.version
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// `abi.encode` of the list of entries.
    pub fn encode(&self) -> Bytes {
        if self.version.has_param_lists() {
            let rule = |rule: &Rule| SolRule {
                condition: rule.condition.code(),
                offset: rule.offset,
                params: rule.params.clone(),
            };
            let entry = |entry: &Entry| SolEntry {
                callType: [entry.call_type.code()].into(),
                target: entry.target,
                selector: entry.selector,
                valueLimit: entry.value_limit,
                rules: entry.rules.iter().map(rule).collect(),
            };
            self.entries.iter().map(entry).collect::<Vec<_>>().abi_encode().into()
        } else {
            let rule = |rule: &Rule| SolFirstRule {
                condition: rule.condition.code(),
                offset: rule.offset,
                // Exactly one: see `new`.
                param: rule.params.first().copied().unwrap_or_default(),
            };
            let entry = |entry: &Entry| SolFirstEntry {
                callType: [entry.call_type.code()].into(),
                target: entry.target,
                selector: entry.selector,
                valueLimit: entry.value_limit,
                rules: entry.rules.iter().map(rule).collect(),
            };
            self.entries.iter().map(entry).collect::<Vec<_>>().abi_encode().into()
        }
    }

    pub fn decode(version: CallPolicyVersion, data: &[u8]) -> Option<Self> {
        let entries = Cursor::whole(data, |cursor| {
            cursor.offset(32)?;
            cursor.list_of_dynamic(|cursor| read_entry(cursor, version))
        })?;
        Some(Self { version, entries })
    }

    /// Whether the contract finds as many entries in the data as it names, in whatever form. It follows the pointer to the list
    /// without looking where it leads, and missing words are zero: so much else is an empty list, which allows nothing.
    pub(super) fn has_entries(data: &[u8]) -> bool {
        let Some((length, start)) = Self::list(data) else { return true };
        length.is_zero() || length.saturating_mul(U256::from(32)).saturating_add(start) <= U256::from(data.len())
    }

    /// Whether the contract finds an empty list in the data, which allows nothing: in whatever form.
    pub fn is_empty_list(data: &[u8]) -> bool {
        Self::list(data).is_none_or(|(length, _)| length.is_zero())
    }

    /// The length of the list and where it begins; `None` where the pointer leads beyond everything.
    fn list(data: &[u8]) -> Option<(U256, U256)> {
        let word =
            |at: usize| at.checked_add(32).and_then(|end| data.get(at..end)).map_or(U256::ZERO, U256::from_be_slice);
        let list = usize::try_from(word(0)).ok()?;
        Some((word(list), U256::from(list).saturating_add(U256::from(32))))
    }

    /// Why its install would revert: per entry in order, as the contract goes through them. The first is the one it reports.
    pub fn install_faults(&self) -> Vec<CallFault> {
        let mut faults = Vec::new();
        let mut seen = std::collections::HashMap::new();
        for (entry, Entry { rules, .. }) in self.entries.iter().enumerate() {
            let key = self.entries.get(entry).map(Entry::key);
            if let Some(first) = seen.get(&key) {
                faults.push(CallFault::Duplicate { first: *first, second: entry });
            } else {
                seen.insert(key, entry);
            }
            faults.extend(rules.iter().enumerate().filter_map(|(i, rule)| self.rule_fault(entry, i, rule)));
        }
        faults
    }

    fn rule_fault(&self, entry: usize, rule: usize, of: &Rule) -> Option<CallFault> {
        let (version, params, code) = (self.version, of.params.len(), of.condition.code());
        if code > version.last_condition() {
            return Some(CallFault::Condition { entry, rule, code, version });
        }
        match of.condition {
            Condition::SliceEq if params != 3 => Some(CallFault::SliceParams { entry, rule, params }),
            Condition::SliceEq | Condition::OneOf => None,
            _ if params != 1 => Some(CallFault::Params { entry, rule, params }),
            _ => None,
        }
    }
}

fn read_entry(cursor: &mut Cursor<'_>, version: CallPolicyVersion) -> Option<Entry> {
    let [call_type] = cursor.fixed()?;
    let target = cursor.address()?;
    let selector = Selector::new(cursor.fixed()?);
    let value_limit = cursor.uint()?;
    cursor.offset(160)?;
    let rules = match version.has_param_lists() {
        true => cursor.list_of_dynamic(|cursor| {
            let (condition, offset) = (Condition::from_code(cursor.number()?), cursor.number()?);
            cursor.offset(96)?;
            Some(Rule { condition, offset, params: cursor.list(Cursor::word)? })
        })?,
        false => cursor.list(|cursor| {
            let (condition, offset) = (Condition::from_code(cursor.number()?), cursor.number()?);
            Some(Rule { condition, offset, params: vec![cursor.word()?] })
        })?,
    };
    Some(Entry { call_type: CallType::from_code(call_type), target, selector, value_limit, rules })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(selector: [u8; 4], rules: Vec<Rule>) -> Entry {
        let (call_type, target) = (CallType::Call, Address::repeat_byte(1));
        Entry { call_type, target, selector: selector.into(), value_limit: U256::from(7), rules }
    }

    fn rule(condition: Condition, params: usize) -> Rule {
        Rule { condition, offset: 32, params: vec![B256::repeat_byte(5); params] }
    }

    #[test]
    fn entries_read_back_in_each_version() {
        let rules = vec![rule(Condition::Eq, 1), rule(Condition::Ne, 1)];
        for version in CallPolicyVersion::ALL {
            for entries in
                [vec![], vec![entry([1; 4], vec![])], vec![entry([1; 4], rules.clone()), entry([2; 4], vec![])]]
            {
                let policy = CallPolicy::new(version, entries).unwrap();
                assert_eq!(CallPolicy::decode(version, &policy.encode()), Some(policy));
            }
        }
        let many = CallPolicy::new(CallPolicyVersion::V0_0_4, vec![entry([1; 4], vec![rule(Condition::OneOf, 3)])]);
        let many = many.unwrap();
        assert_eq!(CallPolicy::decode(CallPolicyVersion::V0_0_4, &many.encode()), Some(many.clone()));
        assert_eq!(CallPolicy::decode(CallPolicyVersion::V0_0_1, &many.encode()), None);
        assert_eq!(
            CallPolicy::new(CallPolicyVersion::V0_0_1, many.entries),
            Err(NotOneParam { entry: 1, rule: 1, params: 3 })
        );
    }

    #[test]
    fn what_the_install_refuses_is_named_in_its_order() {
        let faults = |version, entries| CallPolicy::new(version, entries).unwrap().install_faults();
        let (v4, v5) = (CallPolicyVersion::V0_0_4, CallPolicyVersion::V0_0_5);
        let entries = vec![
            entry([1; 4], vec![rule(Condition::Eq, 2), rule(Condition::OneOf, 0), rule(Condition::SliceEq, 3)]),
            entry([2; 4], vec![]),
            entry([1; 4], vec![rule(Condition::Lt, 0)]),
        ];
        assert_eq!(
            faults(v4, entries.clone()),
            [
                CallFault::Params { entry: 0, rule: 0, params: 2 },
                CallFault::Condition { entry: 0, rule: 2, code: 7, version: v4 },
                CallFault::Duplicate { first: 0, second: 2 },
                CallFault::Params { entry: 2, rule: 0, params: 0 },
            ]
        );
        assert_eq!(faults(v5, entries).len(), 3);
        let slice = vec![entry([1; 4], vec![rule(Condition::SliceEq, 2), rule(Condition::Unknown(8), 1)])];
        assert_eq!(
            faults(v5, slice),
            [
                CallFault::SliceParams { entry: 0, rule: 0, params: 2 },
                CallFault::Condition { entry: 0, rule: 1, code: 8, version: v5 },
            ]
        );
        let first = vec![entry([1; 4], vec![rule(Condition::OneOf, 1)])];
        let v1 = CallPolicyVersion::V0_0_1;
        assert_eq!(faults(v1, first), [CallFault::Condition { entry: 0, rule: 0, code: 6, version: v1 }]);
    }
}

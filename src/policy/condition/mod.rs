//! Conditions on the arguments of a call, compiled to the words the validator compares (docs/kernel-v2.md#conditions-on-arguments).
//!
//! A rule is `(offset, condition, param)` on an unsigned 32-byte word. That says what a person means only for arguments
//! that stand in the fixed part of the call as a single word, and ordering only for unsigned numbers. Everything else is
//! refused here with the reason and the sound way out.

mod range;
mod read_back;

use std::collections::BTreeMap;

use alloy::primitives::{B256, U256};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use range::WordRange;
pub use read_back::{ReadBack, WordReason, read_back};

use super::scope::{Condition, Rule};
use crate::{
    abi::{AbiType, Function, Param, ValueError, parse_word},
    text::clean,
};

/// Most conditions on one permission. Each costs gas in validation, and so many are a mistake.
pub const MAX_CONDITIONS: usize = 64;
/// Longest path of an argument, in bytes.
const MAX_PATH_LEN: usize = 512;
/// Bytes of call data that no chain carries in one call: a rule behind it can never be met.
const MAX_OFFSET: u64 = u32::MAX as u64;

/// A condition as a person states it: an argument, a comparison, a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArgCondition {
    /// Name, position (from 0), or a path into tuples and fixed arrays: `to`, `1`, `order.amount`, `ids[2]`, `0.1`.
    #[serde(deserialize_with = "scalar")]
    pub arg: String,
    pub op: Condition,
    /// A value of the argument's type: decimal or `0x` hex, an address, `true`, `0x` bytes.
    #[serde(deserialize_with = "scalar")]
    pub value: String,
}

/// A condition on a raw word, for what argument conditions cannot say.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WordCondition {
    /// Bytes from the end of the selector to the word.
    #[serde(with = "crate::policy::scope::decimal")]
    pub offset: U256,
    pub op: Condition,
    /// 32 bytes of `0x` hex, or a decimal number.
    #[serde(deserialize_with = "scalar")]
    pub value: String,
}

/// Reads text, a whole number or a bool as the text a person would have quoted.
fn scalar<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a whole number, true, false or quoted text (quote numbers above 2^63)")]
    enum Scalar {
        Text(String),
        Bool(bool),
        Unsigned(u64),
        Signed(i64),
    }
    Ok(match Scalar::deserialize(deserializer)? {
        Scalar::Text(text) => text,
        Scalar::Bool(value) => value.to_string(),
        Scalar::Unsigned(number) => number.to_string(),
        Scalar::Signed(number) => number.to_string(),
    })
}

/// Why a condition cannot be enforced as it is stated.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConditionError {
    #[error("{function} has no argument `{arg}`; it has {available}")]
    NoSuchArgument { function: String, arg: String, available: String },
    #[error("`{arg}` names more than one argument of {function}; use its position, counted from 0")]
    AmbiguousArgument { function: String, arg: String },
    #[error(
        "`{arg}` is not a path to an argument: expected a name or position, then `.member` or `[index]`, as in `order.amount`, `ids[2]`, `0.1`"
    )]
    BadPath { arg: String },
    #[error("`{arg}` looks for `{part}` inside {ty}, which has no parts")]
    NoParts { arg: String, part: String, ty: String },
    #[error(
        "`{arg}` is a {ty} of {words} words, and a condition compares one; state one for each part, as in `{example}`"
    )]
    SeveralWords { arg: String, ty: String, words: usize, example: String },
    #[error(
        "`{arg}` ({ty}) has no fixed place in the call: the word that is compared holds an offset that the caller chooses, not the value. If the position is known, use a raw word rule on it together with one that fixes the offset; otherwise let the key call a guard contract that checks the value"
    )]
    Dynamic { arg: String, ty: String },
    #[error(
        "`{arg}` is {ty}, which the chain would compare as an unsigned number, so a negative value counts as a huge one; only `eq` and `ne` are sound, not `{}`", .op.name()
    )]
    SignedOrdering { arg: String, ty: String, op: Condition },
    #[error("`{arg}` is {ty}, which has no order that means anything; use `eq` or `ne`, not `{}`", .op.name())]
    Unordered { arg: String, ty: String, op: Condition },
    #[error("the value for `{arg}` ({ty}): {source}")]
    Value { arg: String, ty: String, source: Box<ValueError> },
    #[error(
        "nothing can meet the conditions on `{arg}` ({ty}) together: {conditions}; the key could never call the function"
    )]
    Contradiction { arg: String, ty: String, conditions: String },
    #[error("{found} conditions on one permission; at most {MAX_CONDITIONS} are possible")]
    TooMany { found: usize },
    #[error(
        "the word at byte {offset} of the arguments is past what any call can hold, so the key could never call the function; offsets count bytes, not words"
    )]
    OffsetTooLarge { offset: U256 },
    #[error(
        "the value `{value}` for the word at byte {offset} is not a word: expected `0x` and exactly 64 hex digits (so that the padding is certain), or a decimal number from 0 to 2^256 - 1"
    )]
    BadWord { offset: U256, value: String },
    #[error("nothing can meet the rules on the word at byte {offset} together; the key could never call the function")]
    WordContradiction { offset: U256 },
}

/// What is allowed but says less than it seems to.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConditionWarning {
    #[error("`{arg} {} {value}` holds for every {ty}, so it limits nothing", .op.name())]
    AlwaysHolds { arg: String, ty: String, op: Condition, value: String },
    #[error("`{arg} {} {value}` follows from the other conditions on `{arg}` and can be left out", .op.name())]
    Redundant { arg: String, op: Condition, value: String },
    #[error("the rule on the word at byte {offset} of the arguments: {reason}")]
    Word { offset: U256, reason: WordReason },
}

/// Rules for the chain, in the order the conditions were stated, and what to tell the owner about them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compiled {
    pub rules: Vec<Rule>,
    pub warnings: Vec<ConditionWarning>,
}

/// Compiles argument conditions for a function. Several conditions on one argument make a range.
pub fn compile(function: &Function, conditions: &[ArgCondition]) -> Result<Compiled, ConditionError> {
    if conditions.len() > MAX_CONDITIONS {
        return Err(ConditionError::TooMany { found: conditions.len() });
    }
    let placed: Vec<Placed<'_>> =
        conditions.iter().map(|condition| place(function, condition)).collect::<Result<_, _>>()?;
    for (at, one) in placed.iter().enumerate() {
        let is_first = placed.iter().take(at).all(|earlier| earlier.word_index != one.word_index);
        if is_first && range_of(&placed, one, None).is_empty() {
            return Err(contradiction(&placed, one));
        }
    }
    let warnings = placed.iter().enumerate().filter_map(|(at, one)| idle(&placed, at, one)).collect();
    Ok(Compiled { rules: placed.iter().map(Placed::rule).collect(), warnings })
}

/// Validates raw word rules. They are taken as they are stated; only what can never be met is refused.
pub fn compile_words(function: Option<&Function>, conditions: &[WordCondition]) -> Result<Compiled, ConditionError> {
    if conditions.len() > MAX_CONDITIONS {
        return Err(ConditionError::TooMany { found: conditions.len() });
    }
    let mut compiled = Compiled::default();
    for WordCondition { offset, op, value } in conditions {
        let offset = *offset;
        if offset > U256::from(MAX_OFFSET) {
            return Err(ConditionError::OffsetTooLarge { offset });
        }
        let param = word_value(value).ok_or_else(|| ConditionError::BadWord { offset, value: clean(value, 90) })?;
        compiled.rules.push(Rule { offset, condition: *op, param });
    }
    if let Some(offset) = contradictory_word(&compiled.rules) {
        return Err(ConditionError::WordContradiction { offset });
    }
    compiled.warnings = read_back(function, &compiled.rules)
        .into_iter()
        .filter_map(|rule| match rule {
            ReadBack::Word { offset, reason, .. } if reason.is_unsound() => {
                Some(ConditionWarning::Word { offset, reason })
            }
            _ => None,
        })
        .collect();
    Ok(compiled)
}

/// The offset of a word on which no value meets all rules: such a permission can never be used.
pub fn contradictory_word(rules: &[Rule]) -> Option<U256> {
    let mut by_word: BTreeMap<U256, Vec<(Condition, B256)>> = BTreeMap::new();
    for rule in rules {
        by_word.entry(rule.offset).or_default().push((rule.condition, rule.param));
    }
    by_word.into_iter().find(|(_, rules)| WordRange::of(U256::MAX, rules.iter().copied()).is_empty()).map(|(o, _)| o)
}

/// The comparisons that mean on chain what they say, for a type: all for unsigned numbers, equality for other single
/// words, none where the call has no single word for the value.
pub fn operators(ty: &AbiType) -> &'static [Condition] {
    match ty {
        AbiType::Uint(_) => &Condition::ALL,
        _ if ty.is_word() => &[Condition::Eq, Condition::Ne],
        _ => &[],
    }
}

fn word_value(text: &str) -> Option<B256> {
    let text = text.trim();
    if let Some(digits) = text.strip_prefix("0x") {
        let exact = digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        return exact.then(|| U256::from_str_radix(digits, 16).ok().map(B256::from)).flatten();
    }
    let decimal = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    decimal.then(|| U256::from_str_radix(text, 10).ok().map(B256::from)).flatten()
}

/// A condition whose argument has been found in the call.
struct Placed<'a> {
    stated: &'a ArgCondition,
    ty: &'a AbiType,
    word_index: usize,
    param: B256,
}

impl Placed<'_> {
    fn rule(&self) -> Rule {
        let offset = U256::from(self.word_index) * U256::from(32);
        Rule { offset, condition: self.stated.op, param: self.param }
    }

    fn arg(&self) -> String {
        clean(&self.stated.arg, 80)
    }
}

fn place<'a>(function: &'a Function, stated: &'a ArgCondition) -> Result<Placed<'a>, ConditionError> {
    let (word_index, ty) = locate(function, &stated.arg)?;
    let arg = || clean(&stated.arg, 80);
    if let AbiType::FixedArray(..) | AbiType::Tuple(_) = ty {
        let example = first_word_path(arg(), ty);
        return Err(ConditionError::SeveralWords { arg: arg(), ty: ty.to_string(), words: ty.head_words(), example });
    }
    if !operators(ty).contains(&stated.op) {
        return Err(match ty {
            AbiType::Int(_) => ConditionError::SignedOrdering { arg: arg(), ty: ty.canonical(), op: stated.op },
            _ => ConditionError::Unordered { arg: arg(), ty: ty.canonical(), op: stated.op },
        });
    }
    let param = parse_word(ty, &stated.value)
        .ok_or_else(|| ConditionError::Dynamic { arg: arg(), ty: ty.to_string() })?
        .map_err(|e| ConditionError::Value { arg: arg(), ty: ty.canonical(), source: Box::new(e) })?;
    Ok(Placed { stated, ty, word_index, param })
}

/// Finds the argument a path names: the index of its word in the fixed part of the call, and its type.
fn locate<'a>(function: &'a Function, path: &str) -> Result<(usize, &'a AbiType), ConditionError> {
    let parts = split_path(path).ok_or_else(|| ConditionError::BadPath { arg: clean(path, 80) })?;
    let arg = || clean(path, 80);
    let mut parts = parts.into_iter();
    let first = match parts.next() {
        Some(Part::Member(first)) => first,
        _ => return Err(ConditionError::BadPath { arg: arg() }),
    };
    let (mut word_index, mut ty) = member(function, path, function.inputs(), first)?;
    let mut walked = clean(first, 80);
    for part in parts {
        if ty.is_dynamic() {
            return Err(ConditionError::Dynamic { arg: walked, ty: ty.to_string() });
        }
        let (words_before, inner) = match (ty, part) {
            (AbiType::Tuple(members), Part::Member(name)) => member(function, path, members, name)?,
            (AbiType::FixedArray(item, len), Part::Index(text) | Part::Member(text)) => {
                let index = position(text).filter(|index| index < len).ok_or_else(|| {
                    no_such(function, path, format!("`{walked}[0]` to `{walked}[{}]`", len.saturating_sub(1)))
                })?;
                (index.saturating_mul(item.head_words()), item.as_ref())
            }
            (_, part) => {
                return Err(ConditionError::NoParts { arg: arg(), part: part.to_string(), ty: ty.to_string() });
            }
        };
        walked = format!("{walked}{}", part.joined());
        word_index = word_index.saturating_add(words_before);
        ty = inner;
    }
    if ty.is_dynamic() {
        return Err(ConditionError::Dynamic { arg: arg(), ty: ty.to_string() });
    }
    Ok((word_index, ty))
}

/// Finds a parameter by name or position, and the words its siblings take before it.
fn member<'a>(
    function: &Function,
    path: &str,
    params: &'a [Param],
    wanted: &str,
) -> Result<(usize, &'a AbiType), ConditionError> {
    let mut named = params.iter().enumerate().filter(|(_, p)| !p.name.is_empty() && p.name == wanted);
    let index = match (named.next(), named.next()) {
        (Some(_), Some(_)) => {
            return Err(ConditionError::AmbiguousArgument { function: function.to_string(), arg: clean(path, 80) });
        }
        (Some((index, _)), None) => Some(index),
        _ => position(wanted),
    };
    let found = index.and_then(|index| Some((index, params.get(index)?)));
    let (index, param) = found.ok_or_else(|| no_such(function, path, describe(params)))?;
    let words_before = params.iter().take(index).map(|p| p.ty.head_words()).sum();
    Ok((words_before, &param.ty))
}

fn no_such(function: &Function, path: &str, available: String) -> ConditionError {
    ConditionError::NoSuchArgument { function: function.to_string(), arg: clean(path, 80), available }
}

fn describe(params: &[Param]) -> String {
    const SHOWN: usize = 16;
    if params.is_empty() {
        return "none".to_owned();
    }
    let mut words: Vec<String> = params
        .iter()
        .take(SHOWN)
        .enumerate()
        .map(|(position, param)| match param.name.as_str() {
            "" => format!("{position} ({})", param.ty.canonical()),
            name => format!("{position} = `{name}` ({})", param.ty.canonical()),
        })
        .collect();
    if params.len() > SHOWN {
        words.push(format!("{} more", params.len() - SHOWN));
    }
    words.join(", ")
}

fn position(text: &str) -> Option<usize> {
    let plain = text == "0" || !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

#[derive(Clone, Copy)]
enum Part<'a> {
    Member(&'a str),
    Index(&'a str),
}

impl Part<'_> {
    fn joined(self) -> String {
        match self {
            Self::Member(name) => format!(".{}", clean(name, 80)),
            Self::Index(index) => format!("[{}]", clean(index, 20)),
        }
    }
}

impl std::fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Member(name) => write!(f, "{}", clean(name, 80)),
            Self::Index(index) => write!(f, "[{}]", clean(index, 20)),
        }
    }
}

/// `order.ids[2]` into its parts. `None` when it is not a path.
fn split_path(path: &str) -> Option<Vec<Part<'_>>> {
    if path.len() > MAX_PATH_LEN {
        return None;
    }
    let mut parts = Vec::new();
    for dotted in path.trim().split('.') {
        let (name, mut indexes) = dotted.split_at(dotted.find('[').unwrap_or(dotted.len()));
        if name.is_empty() || name.contains(char::is_whitespace) {
            return None;
        }
        parts.push(Part::Member(name));
        while !indexes.is_empty() {
            let (index, rest) = indexes.strip_prefix('[')?.split_once(']')?;
            position(index)?;
            parts.push(Part::Index(index));
            indexes = rest;
        }
    }
    Some(parts)
}

/// The path of the first word inside a tuple or array, as an example.
fn first_word_path(path: String, ty: &AbiType) -> String {
    match ty {
        AbiType::FixedArray(item, _) => first_word_path(format!("{path}[0]"), item),
        AbiType::Tuple(members) => match members.first() {
            Some(Param { name, ty }) if !name.is_empty() => first_word_path(format!("{path}.{name}"), ty),
            Some(Param { ty, .. }) => first_word_path(format!("{path}.0"), ty),
            None => path,
        },
        _ => path,
    }
}

/// The words that meet all conditions on this one's word, leaving out the condition at `except`.
fn range_of(placed: &[Placed<'_>], one: &Placed<'_>, except: Option<usize>) -> WordRange {
    let others = placed.iter().enumerate().filter(|(at, p)| p.word_index == one.word_index && Some(*at) != except);
    WordRange::of(largest(one.ty), others.map(|(_, p)| (p.stated.op, p.param)))
}

/// The largest word a clean value of this type can be.
fn largest(ty: &AbiType) -> U256 {
    match ty {
        AbiType::Bool => U256::ONE,
        AbiType::Address => crate::abi::max_uint(160),
        AbiType::Uint(bits) => crate::abi::max_uint(*bits),
        _ => U256::MAX,
    }
}

fn contradiction(placed: &[Placed<'_>], one: &Placed<'_>) -> ConditionError {
    let same = placed.iter().filter(|p| p.word_index == one.word_index);
    let conditions = same.map(|p| format!("{} {}", p.stated.op.name(), clean(&p.stated.value, 80)));
    ConditionError::Contradiction {
        arg: one.arg(),
        ty: one.ty.canonical(),
        conditions: conditions.collect::<Vec<_>>().join(" and "),
    }
}

/// The warning for a condition that changes nothing.
fn idle(placed: &[Placed<'_>], at: usize, one: &Placed<'_>) -> Option<ConditionWarning> {
    let (op, param) = (one.stated.op, one.param);
    let value = || clean(&one.stated.value, 80);
    if WordRange::of(largest(one.ty), []).implies(op, param) {
        return Some(ConditionWarning::AlwaysHolds { arg: one.arg(), ty: one.ty.canonical(), op, value: value() });
    }
    // Of two equal conditions only the second is idle, or both would be called superfluous.
    let repeated_later =
        placed.iter().skip(at + 1).any(|p| (p.word_index, p.stated.op, p.param) == (one.word_index, op, param));
    let implied = !repeated_later && range_of(placed, one, Some(at)).implies(op, param);
    implied.then(|| ConditionWarning::Redundant { arg: one.arg(), op, value: value() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SWAP: &str = "swap((address tokenIn, uint24 fee, int8 tick, bytes4[2] ids) p, uint256[] path, uint256 min, uint8 mode, uint256)";

    fn compiled(conditions: &[(&str, Condition, &str)]) -> Result<Compiled, ConditionError> {
        let function = Function::parse(SWAP).unwrap();
        let conditions: Vec<ArgCondition> = conditions
            .iter()
            .map(|(arg, op, value)| ArgCondition { arg: (*arg).into(), op: *op, value: (*value).into() })
            .collect();
        compile(&function, &conditions)
    }

    fn refused(arg: &str, op: Condition, value: &str) -> String {
        compiled(&[(arg, op, value)]).unwrap_err().to_string()
    }

    #[test]
    fn a_path_finds_the_word_behind_tuples_arrays_and_dynamic_heads() {
        for (path, offset) in [
            ("p.fee", 32),
            ("0.1", 32),
            ("p.ids[1]", 128),
            ("p.ids.1", 128),
            ("0.3[0]", 96),
            ("min", 192),
            ("2", 192),
            ("mode", 224),
            ("4", 256),
        ] {
            let value = if path.contains("ids") || path.contains('[') { "0x12345678" } else { "5" };
            let compiled = compiled(&[(path, Condition::Eq, value)]).unwrap();
            assert_eq!(compiled.rules[0].offset, U256::from(offset), "{path}");
        }
    }

    #[test]
    fn what_cannot_be_found_is_answered_with_what_there_is() {
        let missing = refused("amount", Condition::Eq, "1");
        assert!(missing.contains("has no argument `amount`"), "{missing}");
        assert!(missing.ends_with("2 = `min` (uint256), 3 = `mode` (uint8), 4 (uint256)"), "{missing}");
        assert!(refused("p.ids[2]", Condition::Eq, "1").contains("it has `p.ids[0]` to `p.ids[1]`"));
        assert!(refused("min.x", Condition::Eq, "1").contains("uint256, which has no parts"));
        for path in ["", ".", "p..fee", "[0]", "p.[0]", "p.ids[", "p.ids[x]", "p.ids[01]", "p .fee"] {
            assert!(refused(path, Condition::Eq, "1").contains("is not a path"), "{path}");
        }
        let twins = Function::parse("f(uint8 a, uint8 a)").unwrap();
        let stated = ArgCondition { arg: "a".into(), op: Condition::Eq, value: "1".into() };
        assert!(matches!(compile(&twins, &[stated]), Err(ConditionError::AmbiguousArgument { .. })));
    }

    #[test]
    fn a_dynamic_argument_is_refused_with_the_way_out() {
        for path in ["path", "path[0]", "1"] {
            let error = refused(path, Condition::Eq, "1");
            assert!(error.contains("(uint256[]) has no fixed place in the call"), "{error}");
            assert!(error.contains("raw word rule") && error.contains("guard contract"), "{error}");
        }
    }

    #[test]
    fn several_words_are_refused_with_an_example_of_one() {
        let error = refused("p", Condition::Eq, "1");
        assert!(error.contains("of 5 words") && error.ends_with("as in `p.tokenIn`"), "{error}");
        assert!(refused("p.ids", Condition::Eq, "1").ends_with("as in `p.ids[0]`"));
    }

    #[test]
    fn ordering_is_only_for_unsigned_numbers() {
        assert!(refused("p.tick", Condition::Lt, "5").contains("a negative value counts as a huge one"));
        assert!(refused("p.tokenIn", Condition::Gte, "0x00").contains("has no order that means anything"));
        assert!(refused("p.ids[0]", Condition::Gt, "0x12345678").contains("use `eq` or `ne`, not `gt`"));
        assert!(compiled(&[("p.tick", Condition::Eq, "-5")]).is_ok());
    }

    #[test]
    fn a_range_is_two_conditions_in_the_order_they_were_stated() {
        let range = compiled(&[("min", Condition::Lte, "20"), ("min", Condition::Gte, "10")]).unwrap();
        assert_eq!(range.rules.iter().map(|r| r.condition).collect::<Vec<_>>(), [Condition::Lte, Condition::Gte]);
        assert_eq!(range.warnings, []);
    }

    #[test]
    fn conditions_that_nothing_can_meet_are_refused() {
        for conditions in [
            &[("min", Condition::Gt, "20"), ("mode", Condition::Eq, "1"), ("min", Condition::Lt, "21")][..],
            &[("mode", Condition::Gt, "255")],
            &[("mode", Condition::Lt, "0")],
            &[("mode", Condition::Eq, "1"), ("3", Condition::Eq, "2")],
            &[("p.tick", Condition::Eq, "-1"), ("p.tick", Condition::Ne, "-1")],
        ] {
            assert!(matches!(compiled(conditions), Err(ConditionError::Contradiction { .. })), "{conditions:?}");
        }
        let error = compiled(&[("min", Condition::Gt, "20"), ("min", Condition::Lt, "7")]).unwrap_err();
        assert!(error.to_string().contains("`min` (uint256) together: gt 20 and lt 7;"), "{error}");
        let flag = Function::parse("f(bool on)").unwrap();
        let neither =
            ["true", "false"].map(|value| ArgCondition { arg: "on".into(), op: Condition::Ne, value: value.into() });
        assert!(matches!(compile(&flag, &neither), Err(ConditionError::Contradiction { .. })));
    }

    #[test]
    fn conditions_that_limit_nothing_are_warned_about_and_kept() {
        let idle = compiled(&[("mode", Condition::Lte, "255"), ("min", Condition::Gte, "0")]).unwrap();
        assert_eq!(idle.rules.len(), 2);
        assert_eq!(
            idle.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "`mode lte 255` holds for every uint8, so it limits nothing",
                "`min gte 0` holds for every uint256, so it limits nothing"
            ]
        );
        let implied = compiled(&[("min", Condition::Lte, "20"), ("min", Condition::Lte, "30")]).unwrap();
        assert_eq!(implied.warnings.len(), 1);
        assert!(implied.warnings[0].to_string().starts_with("`min lte 30` follows from the other conditions"));
        let twice = compiled(&[("min", Condition::Eq, "20"), ("min", Condition::Eq, "0x14")]).unwrap();
        assert_eq!(twice.warnings.len(), 1);
    }

    #[test]
    fn too_many_conditions_are_refused() {
        let many = vec![("min", Condition::Ne, "1"); MAX_CONDITIONS + 1];
        assert!(matches!(compiled(&many), Err(ConditionError::TooMany { .. })));
    }

    fn words(rules: &[(U256, Condition, &str)]) -> Result<Compiled, ConditionError> {
        let function = Function::parse(SWAP).unwrap();
        let rules: Vec<WordCondition> = rules
            .iter()
            .map(|(offset, op, value)| WordCondition { offset: *offset, op: *op, value: (*value).into() })
            .collect();
        compile_words(Some(&function), &rules)
    }

    #[test]
    fn a_raw_word_is_a_whole_word_or_a_decimal_number() {
        let at = U256::from(160);
        let full = format!("0x{}", "ab".repeat(32));
        assert_eq!(words(&[(at, Condition::Eq, &full)]).unwrap().rules[0].param, B256::repeat_byte(0xab));
        assert_eq!(words(&[(at, Condition::Eq, "256")]).unwrap().rules[0].param, B256::from(U256::from(256)));
        for value in ["0x12345678", "", "0x", "-1", "1.5", "true", &"9".repeat(79)] {
            assert!(matches!(words(&[(at, Condition::Eq, value)]), Err(ConditionError::BadWord { .. })), "{value}");
        }
    }

    #[test]
    fn a_raw_word_that_no_call_can_hold_or_meet_is_refused() {
        let beyond = U256::MAX - U256::from(35);
        assert!(matches!(words(&[(beyond, Condition::Ne, "0")]), Err(ConditionError::OffsetTooLarge { .. })));
        let at = U256::from(160);
        assert!(matches!(
            words(&[(at, Condition::Gt, "5"), (at, Condition::Lt, "6")]),
            Err(ConditionError::WordContradiction { .. })
        ));
    }

    #[test]
    fn a_raw_word_that_says_little_is_warned_about() {
        let warned = |offset: u64| words(&[(U256::from(offset), Condition::Eq, "1")]).unwrap().warnings.len();
        // The last two: between words, and in dynamic data whose place nothing fixes.
        assert_eq!([64, 192, 256, 255, 288].map(warned), [0, 0, 0, 1, 1]);
    }

    #[test]
    fn conditions_are_read_from_toml_and_json_quoted_or_not() {
        let toml: ArgCondition = toml::from_str("arg = 1\nop = \"LESS_THAN_OR_EQUAL\"\nvalue = 1000").unwrap();
        assert_eq!(toml, ArgCondition { arg: "1".into(), op: Condition::Lte, value: "1000".into() });
        let json: ArgCondition = serde_json::from_str(r#"{"arg": "on", "op": "eq", "value": true}"#).unwrap();
        assert_eq!(json, ArgCondition { arg: "on".into(), op: Condition::Eq, value: "true".into() });
        let error = serde_json::from_str::<ArgCondition>(r#"{"arg": 0, "op": "eq", "value": 1e18}"#).unwrap_err();
        assert!(error.to_string().starts_with("expected a whole number"), "{error}");
        assert!(serde_json::from_str::<ArgCondition>(r#"{"arg": 0, "op": "eq", "value": 1, "values": 1}"#).is_err());
        let word: WordCondition = toml::from_str("offset = 64\nop = \"eq\"\nvalue = 7").unwrap();
        assert_eq!(word, WordCondition { offset: U256::from(64), op: Condition::Eq, value: "7".into() });
    }
}

//! Rules of a scope back into conditions on arguments, where that is what the chain compares, and why not elsewhere.

use alloy::primitives::{B256, U256};
use thiserror::Error;

use super::operators;
use crate::{
    abi::{AbiType, Function, HeadWord, format_word},
    policy::scope::{Condition, Rule},
};

/// One rule, as an argument condition where it soundly is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadBack {
    Argument {
        /// As [`super::ArgCondition::arg`] takes it.
        path: String,
        ty: AbiType,
        condition: Condition,
        /// As [`super::ArgCondition::value`] takes it.
        value: String,
    },
    Word {
        offset: U256,
        condition: Condition,
        param: B256,
        reason: WordReason,
    },
}

/// Why a rule is not a condition on an argument.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WordReason {
    #[error("the function is not known, so the words have no names")]
    UnknownFunction,
    #[error("it begins between two words of the call")]
    BetweenWords,
    #[error("it is behind the arguments, where a properly encoded call has nothing")]
    BehindArguments,
    #[error(
        "it is behind the fixed part of the call, and no rule fixes where the data of a dynamic argument stands, so the caller decides what is compared"
    )]
    LooseTail,
    #[error("it is inside the data of a dynamic argument, whose place another rule fixes")]
    FixedTail,
    #[error("it is past what any call can hold, so it can never be met")]
    OutOfReach,
    #[error(
        "`{path}` is {ty}: this word holds the offset of its data, which the caller chooses, and says nothing about the value"
    )]
    DynamicHead { path: String, ty: String },
    #[error("it fixes where the data of `{path}` ({ty}) stands, so that rules on words behind it can mean something")]
    FixesPlace { path: String, ty: String },
    #[error("`{path}` is {ty}, and the value is not padded as a call pads it: {effect}")]
    WrongPadding { path: String, ty: String, effect: &'static str },
    #[error("`{path}` is {ty}, and the limit is no value of that type: {effect}")]
    OutOfRange { path: String, ty: String, effect: &'static str },
    #[error("`{path}` is {ty}, which the chain orders as unsigned words, so negative values count as huge ones")]
    SignedOrdering { path: String, ty: String },
    #[error("`{path}` is {ty}, for which more and less mean nothing; the chain orders the words as numbers")]
    Unordered { path: String, ty: String },
}

impl WordReason {
    /// Whether the rule cannot mean what its author meant (R15), rather than just lack a name.
    pub fn is_unsound(&self) -> bool {
        !matches!(self, Self::UnknownFunction | Self::FixedTail | Self::FixesPlace { .. })
    }
}

/// Reads rules against the function they are for. Total: a rule that is no sound argument condition stays a word.
pub fn read_back(function: Option<&Function>, rules: &[Rule]) -> Vec<ReadBack> {
    let call = function.map(|f| Call::new(f, rules));
    rules.iter().map(|rule| read_rule(call.as_ref(), rule)).collect()
}

/// What the rules are held against.
struct Call<'f> {
    head: Vec<HeadWord<'f>>,
    /// The first byte of dynamic data whose place the rules fix.
    fixed_tail: Option<U256>,
}

impl<'f> Call<'f> {
    fn new(function: &'f Function, rules: &[Rule]) -> Self {
        let head = function.head();
        let places = rules.iter().filter(|rule| {
            let word = word_index(rule.offset).and_then(|index| head.get(index));
            word.is_some_and(|word| !word.ty.is_word()) && fixes_place(&head, rule.condition, rule.param)
        });
        let fixed_tail = places.map(|rule| U256::from_be_bytes(rule.param.0)).min();
        Self { head, fixed_tail }
    }
}

/// Whether a rule on the head word of a dynamic argument pins an offset that an encoder could have written.
fn fixes_place(head: &[HeadWord<'_>], condition: Condition, param: B256) -> bool {
    let place = U256::from_be_bytes(param.0);
    condition == Condition::Eq
        && place >= U256::from(head.len().saturating_mul(32))
        && place <= U256::from(super::MAX_OFFSET)
        && place.byte(0).is_multiple_of(32)
}

/// The index of the word that begins at this byte, if one does.
fn word_index(offset: U256) -> Option<usize> {
    let (index, byte) = offset.div_rem(U256::from(32));
    byte.is_zero().then(|| usize::try_from(index).ok()).flatten()
}

fn read_rule(call: Option<&Call<'_>>, rule: &Rule) -> ReadBack {
    let Rule { offset, condition, param } = *rule;
    let found = find_word(call, offset).and_then(|(call, word)| {
        let value = value_of(call, word, condition, param)?;
        Ok(ReadBack::Argument { path: word.path.clone(), ty: word.ty.clone(), condition, value })
    });
    found.unwrap_or_else(|reason| ReadBack::Word { offset, condition, param, reason })
}

fn find_word<'a, 'f>(call: Option<&'a Call<'f>>, offset: U256) -> Result<(&'a Call<'f>, &'a HeadWord<'f>), WordReason> {
    if offset > U256::from(super::MAX_OFFSET) {
        return Err(WordReason::OutOfReach);
    }
    let index = word_index(offset).ok_or(WordReason::BetweenWords)?;
    let call = call.ok_or(WordReason::UnknownFunction)?;
    if let Some(word) = call.head.get(index) {
        return Ok((call, word));
    }
    Err(match call.fixed_tail {
        _ if call.head.iter().all(|word| word.ty.is_word()) => WordReason::BehindArguments,
        Some(tail) if tail <= offset => WordReason::FixedTail,
        _ => WordReason::LooseTail,
    })
}

/// The text of the value compared, if the comparison is sound for the type.
fn value_of(call: &Call<'_>, word: &HeadWord<'_>, condition: Condition, param: B256) -> Result<String, WordReason> {
    let (path, ty) = (word.path.clone(), word.ty.to_string());
    if !word.ty.is_word() {
        return Err(match fixes_place(&call.head, condition, param) {
            true => WordReason::FixesPlace { path, ty },
            false => WordReason::DynamicHead { path, ty },
        });
    }
    if !operators(word.ty).contains(&condition) {
        return Err(match word.ty {
            AbiType::Int(_) => WordReason::SignedOrdering { path, ty },
            _ => WordReason::Unordered { path, ty },
        });
    }
    format_word(word.ty, param).ok_or_else(|| {
        // The word is past or between all clean values of the type, so the outcome does not depend on the argument.
        let effect = match condition {
            Condition::Eq | Condition::Gt | Condition::Gte => "no properly encoded call meets it",
            Condition::Ne | Condition::Lt | Condition::Lte => {
                "every properly encoded call meets it, so it limits nothing"
            }
        };
        match word.ty {
            AbiType::FixedBytes(_) | AbiType::Function => WordReason::WrongPadding { path, ty, effect },
            _ => WordReason::OutOfRange { path, ty, effect },
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(function: &str, offset: u64, condition: Condition, param: B256) -> Option<WordReason> {
        let function = Function::parse(function).unwrap();
        let rule = Rule { offset: U256::from(offset), condition, param };
        match read_back(Some(&function), &[rule]).pop() {
            Some(ReadBack::Word { reason, .. }) => Some(reason),
            _ => None,
        }
    }

    #[test]
    fn a_head_word_with_a_clean_value_is_an_argument() {
        let function = Function::parse("f((address token, uint8[2] parts) order, bytes)").unwrap();
        let rule = Rule { offset: U256::from(64), condition: Condition::Lt, param: B256::with_last_byte(7) };
        let expected = ReadBack::Argument {
            path: "order.parts[1]".into(),
            ty: AbiType::Uint(8),
            condition: Condition::Lt,
            value: "7".into(),
        };
        assert_eq!(read_back(Some(&function), &[rule]), [expected]);
    }

    #[test]
    fn the_left_padded_bytes4_of_the_sdk_is_found_out() {
        let sdk = B256::left_padding_from(&[0x12, 0x34, 0x56, 0x78]);
        let found = reason("f(bytes4 id)", 0, Condition::Eq, sdk).unwrap();
        assert_eq!(
            found.to_string(),
            "`id` is bytes4, and the value is not padded as a call pads it: no properly encoded call meets it"
        );
        assert!(found.is_unsound());
    }

    #[test]
    fn a_value_condition_on_a_dynamic_argument_is_found_out() {
        let found = reason("f(uint256[] ids)", 0, Condition::Eq, B256::with_last_byte(3));
        assert!(matches!(found, Some(WordReason::DynamicHead { .. })));
    }

    #[test]
    fn words_that_are_no_argument_say_why() {
        let one = B256::with_last_byte(1);
        let f = "f(int8 a, address b, string c)";
        assert!(matches!(reason(f, 0, Condition::Lt, one), Some(WordReason::SignedOrdering { .. })));
        assert!(matches!(reason(f, 32, Condition::Gte, one), Some(WordReason::Unordered { .. })));
        assert!(matches!(reason(f, 32, Condition::Ne, B256::repeat_byte(1)), Some(WordReason::OutOfRange { .. })));
        assert_eq!(reason(f, 33, Condition::Eq, one), Some(WordReason::BetweenWords));
        assert_eq!(reason(f, 96, Condition::Eq, one), Some(WordReason::LooseTail));
        assert_eq!(reason("f(uint8 a)", 32, Condition::Eq, one), Some(WordReason::BehindArguments));
        assert_eq!(reason(f, 1 << 40, Condition::Eq, one), Some(WordReason::OutOfReach));
        assert_eq!(reason(f, 0, Condition::Eq, one), None);
    }

    #[test]
    fn a_word_in_dynamic_data_counts_when_another_rule_fixes_its_place() {
        let function = Function::parse("f(uint256 a, bytes data)").unwrap();
        let rule = |offset: u64, param: u64| Rule {
            offset: U256::from(offset),
            condition: Condition::Eq,
            param: B256::from(U256::from(param)),
        };
        let reasons = |rules: &[Rule]| -> Vec<WordReason> {
            let read = read_back(Some(&function), rules).into_iter();
            read.filter_map(|r| if let ReadBack::Word { reason, .. } = r { Some(reason) } else { None }).collect()
        };
        let fixed = reasons(&[rule(32, 64), rule(96, 7)]);
        assert!(matches!(fixed.as_slice(), [WordReason::FixesPlace { .. }, WordReason::FixedTail]), "{fixed:?}");
        assert!(fixed.iter().all(|r| !r.is_unsound()));
        // The place must be one where data can stand, and before the word.
        for rules in [[rule(32, 0), rule(96, 7)], [rule(32, 65), rule(96, 7)], [rule(32, 128), rule(96, 7)]] {
            assert_eq!(reasons(&rules).last(), Some(&WordReason::LooseTail), "{rules:?}");
        }
    }
}

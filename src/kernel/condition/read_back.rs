//! Rules of a scope back into conditions on arguments, where that is what the chain compares, and why not elsewhere.

use alloy::primitives::{B256, U256};
use thiserror::Error;

use crate::kernel::{
    abi::{AbiType, Function, HeadWord, format_word},
    permission::{Condition, Rule},
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
    #[error("it begins between two words of the fixed part of the call")]
    BetweenWords,
    #[error(
        "it is behind the fixed part of the call, where the caller decides what stands: contents of dynamic arguments, or nothing"
    )]
    BehindHead,
    #[error("it is past what any call can hold, so it can never be met")]
    OutOfReach,
    #[error(
        "`{path}` is {ty}: this word holds the offset of its data, which the caller chooses, and says nothing about the value"
    )]
    DynamicHead { path: String, ty: String },
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
        !matches!(self, Self::UnknownFunction)
    }
}

/// Reads rules against the function they are for. Total: a rule that is no sound argument condition stays a word.
pub fn read_back(function: Option<&Function>, rules: &[Rule]) -> Vec<ReadBack> {
    let head = function.map(Function::head);
    rules.iter().map(|rule| read_rule(head.as_deref(), rule)).collect()
}

fn read_rule(head: Option<&[HeadWord<'_>]>, rule: &Rule) -> ReadBack {
    let Rule { offset, condition, param } = *rule;
    match find_word(head, offset).and_then(|word| Ok((word, value_of(word, condition, param)?))) {
        Ok((word, value)) => ReadBack::Argument { path: word.path.clone(), ty: word.ty.clone(), condition, value },
        Err(reason) => ReadBack::Word { offset, condition, param, reason },
    }
}

fn find_word<'a, 'f>(head: Option<&'a [HeadWord<'f>]>, offset: U256) -> Result<&'a HeadWord<'f>, WordReason> {
    if offset > U256::from(super::MAX_OFFSET) {
        return Err(WordReason::OutOfReach);
    }
    let head = head.ok_or(WordReason::UnknownFunction)?;
    let (index, byte) = offset.div_rem(U256::from(32));
    let word = usize::try_from(index).ok().and_then(|index| head.get(index)).ok_or(WordReason::BehindHead)?;
    if byte.is_zero() { Ok(word) } else { Err(WordReason::BetweenWords) }
}

/// The text of the value compared, if the comparison is sound for the type.
fn value_of(word: &HeadWord<'_>, condition: Condition, param: B256) -> Result<String, WordReason> {
    let (path, ty) = (|| word.path.clone(), || word.ty.canonical());
    if !word.ty.is_word() {
        return Err(WordReason::DynamicHead { path: path(), ty: word.ty.to_string() });
    }
    let ordering = !matches!(condition, Condition::Eq | Condition::Ne);
    match word.ty {
        AbiType::Uint(_) => {}
        AbiType::Int(_) if ordering => return Err(WordReason::SignedOrdering { path: path(), ty: ty() }),
        _ if ordering => return Err(WordReason::Unordered { path: path(), ty: ty() }),
        _ => {}
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
            AbiType::FixedBytes(_) | AbiType::Function => WordReason::WrongPadding { path: path(), ty: ty(), effect },
            _ => WordReason::OutOfRange { path: path(), ty: ty(), effect },
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
        assert_eq!(reason(f, 96, Condition::Eq, one), Some(WordReason::BehindHead));
        assert_eq!(reason(f, 1 << 40, Condition::Eq, one), Some(WordReason::OutOfReach));
        assert_eq!(reason(f, 0, Condition::Eq, one), None);
    }
}

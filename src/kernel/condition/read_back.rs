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
        ty: String,
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
        Ok((word, value)) => ReadBack::Argument { path: word.path.clone(), ty: word.ty.canonical(), condition, value },
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

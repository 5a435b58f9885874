//! From a function and textual arguments to calldata, and from calldata to arguments a person can read.

use alloy::{
    dyn_abi::{DynSolType, DynSolValue},
    primitives::{Bytes, Selector, hex},
};
use thiserror::Error;

use super::{
    AbiType, Function, param_label, value,
    value::{ValueError, format_word},
};
use crate::kernel::text::clean;

/// Longest calldata that is decoded for display, in bytes: the limit bundlers put on a whole operation.
pub const MAX_CALLDATA_LEN: usize = 128 * 1024;
/// Characters of one decoded argument that are shown.
const SHOWN: usize = 512;

/// Why a call could not be encoded or decoded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CallError {
    #[error("{function} takes {expected} arguments, but {found} are given; give one value for each")]
    Count { function: String, expected: usize, found: usize },
    #[error("argument `{argument}` of {function}: {source}")]
    Argument { function: String, argument: String, source: Box<ValueError> },
    #[error("the call data is {len} bytes long, and at most {MAX_CALLDATA_LEN} are decoded")]
    TooLong { len: usize },
    #[error("the call data begins with {found}, but {function} has the selector {expected}; it is another function")]
    Selector { function: String, expected: Selector, found: String },
    #[error("the call data does not hold the arguments of {function}; show it as plain bytes")]
    Malformed { function: String },
}

/// A call in words, for previews.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodedCall {
    pub arguments: Vec<DecodedArgument>,
    /// Whether the bytes are what an ABI encoder writes for these arguments. If not, a contract may read them
    /// differently, and a rule compares words that are not what is shown.
    pub canonical: bool,
}

/// One argument of a decoded call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodedArgument {
    /// Its name, or its position when it has none.
    pub name: String,
    pub ty: String,
    /// Bounded in length and free of control characters.
    pub value: String,
}

impl Function {
    /// Selector and arguments. Each argument is a text: numbers, addresses, `0x` bytes, `[a, b]`, `(a, b)`.
    pub fn encode_call<S: AsRef<str>>(&self, arguments: &[S]) -> Result<Bytes, CallError> {
        if arguments.len() != self.inputs().len() {
            let (expected, found) = (self.inputs().len(), arguments.len());
            return Err(CallError::Count { function: self.to_string(), expected, found });
        }
        let values = self.inputs().iter().zip(arguments).enumerate().map(|(position, (input, text))| {
            value::parse_value(&input.ty, text.as_ref()).map_err(|e| CallError::Argument {
                function: self.to_string(),
                argument: param_label("", self.inputs(), position),
                source: Box::new(e),
            })
        });
        let values = DynSolValue::Tuple(values.collect::<Result<_, _>>()?);
        Ok([self.selector().as_slice(), &values.abi_encode_params()].concat().into())
    }

    /// The arguments of a call of this function, for display.
    pub fn decode_call(&self, data: &[u8]) -> Result<DecodedCall, CallError> {
        if data.len() > MAX_CALLDATA_LEN {
            return Err(CallError::TooLong { len: data.len() });
        }
        let (selector, arguments) = data.split_at_checked(4).unwrap_or((data, &[]));
        if selector != self.selector().as_slice() {
            let (expected, found) = (self.selector(), hex::encode_prefixed(selector));
            return Err(CallError::Selector { function: self.to_string(), expected, found });
        }
        let types = self.inputs().iter().map(|p| dyn_type(&p.ty)).collect();
        let malformed = || CallError::Malformed { function: self.to_string() };
        let values = match DynSolType::Tuple(types).abi_decode_params(arguments) {
            Ok(DynSolValue::Tuple(values)) if values.len() == self.inputs().len() => values,
            _ => return Err(malformed()),
        };
        let decoded = self.inputs().iter().zip(&values).enumerate().map(|(position, (input, value))| {
            let mut text = String::new();
            write_value(&mut text, &input.ty, value);
            DecodedArgument {
                name: param_label("", self.inputs(), position),
                ty: input.ty.to_string(),
                value: clean(&text, SHOWN),
            }
        });
        let arguments_in_words = decoded.collect();
        let padded = self.inputs().iter().zip(&values).all(|(input, value)| is_clean(&input.ty, value));
        // Overlaps, gaps and surplus bytes show as a difference from what an encoder writes. Overlaps, gaps and surplus bytes all show as a difference from what an encoder writes.
        let canonical = padded && DynSolValue::Tuple(values).abi_encode_params() == arguments;
        Ok(DecodedCall { arguments: arguments_in_words, canonical })
    }
}

fn dyn_type(ty: &AbiType) -> DynSolType {
    match ty {
        AbiType::Address => DynSolType::Address,
        AbiType::Bool => DynSolType::Bool,
        AbiType::Uint(bits) => DynSolType::Uint(*bits),
        AbiType::Int(bits) => DynSolType::Int(*bits),
        AbiType::FixedBytes(len) => DynSolType::FixedBytes(*len),
        AbiType::Function => DynSolType::FixedBytes(24),
        AbiType::Bytes => DynSolType::Bytes,
        AbiType::String => DynSolType::String,
        AbiType::Array(item) => DynSolType::Array(Box::new(dyn_type(item))),
        AbiType::FixedArray(item, len) => DynSolType::FixedArray(Box::new(dyn_type(item)), *len),
        AbiType::Tuple(members) => DynSolType::Tuple(members.iter().map(|m| dyn_type(&m.ty)).collect()),
    }
}

/// Whether every word is padded as an ABI encoder pads it.
fn is_clean(ty: &AbiType, value: &DynSolValue) -> bool {
    match (ty, value) {
        (AbiType::Bytes | AbiType::String, _) => true,
        (AbiType::Array(item), DynSolValue::Array(values))
        | (AbiType::FixedArray(item, _), DynSolValue::FixedArray(values)) => values.iter().all(|v| is_clean(item, v)),
        (AbiType::Tuple(members), DynSolValue::Tuple(values)) => {
            members.iter().zip(values).all(|(m, v)| is_clean(&m.ty, v))
        }
        _ => value.as_word().is_some_and(|word| format_word(ty, word).is_some()),
    }
}

/// Writes a value in the form [`Function::encode_call`] reads, as far as it will be shown.
fn write_value(out: &mut String, ty: &AbiType, value: &DynSolValue) {
    match (ty, value) {
        (AbiType::Bytes, DynSolValue::Bytes(bytes)) => write_bytes(out, bytes),
        (AbiType::String, DynSolValue::String(text)) => write_string(out, text),
        (AbiType::Array(item), DynSolValue::Array(values))
        | (AbiType::FixedArray(item, _), DynSolValue::FixedArray(values)) => {
            write_list(out, ('[', ']'), values.iter().map(|v| (item.as_ref(), v)));
        }
        (AbiType::Tuple(members), DynSolValue::Tuple(values)) => {
            write_list(out, ('(', ')'), members.iter().map(|m| &m.ty).zip(values));
        }
        _ => {
            let word = value.as_word().unwrap_or_default();
            let dirty = || format!("{word} (not a clean {})", ty.canonical());
            out.push_str(&format_word(ty, word).unwrap_or_else(dirty));
        }
    }
}

fn write_bytes(out: &mut String, bytes: &[u8]) {
    const WHOLE: usize = 132;
    match bytes.get(..WHOLE) {
        Some(start) if bytes.len() > WHOLE => {
            out.push_str(&format!("{}… ({} bytes)", hex::encode_prefixed(start), bytes.len()));
        }
        _ => out.push_str(&hex::encode_prefixed(bytes)),
    }
}

fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars().take(SHOWN) {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

fn write_list<'a>(
    out: &mut String,
    (open, close): (char, char),
    items: impl Iterator<Item = (&'a AbiType, &'a DynSolValue)>,
) {
    out.push(open);
    for (i, (ty, item)) in items.enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        if out.len() > SHOWN * 4 {
            // Nothing from here on will be shown.
            return;
        }
        write_value(out, ty, item);
    }
    out.push(close);
}

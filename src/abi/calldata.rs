//! From a function and textual arguments to calldata, and from calldata to arguments a person can read.

use alloy::{
    dyn_abi::DynSolValue,
    primitives::{B256, Bytes, Selector, U256, hex},
};
use thiserror::Error;

use super::{
    AbiType, Function, param_label,
    value::{self, ValueError, format_word},
};
use crate::text::clean;

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
        let values = Reader::new(arguments)
            .sequence(self.inputs().iter().map(|p| &p.ty), 0)
            .ok_or_else(|| CallError::Malformed { function: self.to_string() })?;
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
        // Overlaps, gaps and surplus bytes all show as a difference from what an encoder writes.
        let canonical = padded && DynSolValue::Tuple(values).abi_encode_params() == arguments;
        Ok(DecodedCall { arguments: arguments_in_words, canonical })
    }
}

/// Reads arguments the way contracts do: wherever the offsets point, and words as they are.
///
/// Each word of the data may be read about once. Lists that point back into each other, by which a short call could
/// unfold to more values than memory holds, are not decoded.
struct Reader<'a> {
    data: &'a [u8],
    words_left: usize,
}

impl<'a> Reader<'a> {
    fn new(data: &'a [u8]) -> Self {
        Self { data, words_left: data.len().div_ceil(32) }
    }

    fn spend(&mut self, words: usize) -> Option<()> {
        self.words_left = self.words_left.checked_sub(words)?;
        Some(())
    }

    fn word(&self, at: usize) -> Option<B256> {
        self.data.get(at..at.checked_add(32)?).map(B256::from_slice)
    }

    fn length(&self, at: usize) -> Option<usize> {
        usize::try_from(U256::from_be_bytes(self.word(at)?.0)).ok()
    }

    /// Values whose heads stand one behind the other; offsets among them count from `start`.
    fn sequence<'t>(&mut self, types: impl Iterator<Item = &'t AbiType>, start: usize) -> Option<Vec<DynSolValue>> {
        let mut values = Vec::new();
        let mut at = start;
        for ty in types {
            let place = if ty.is_dynamic() { start.checked_add(self.length(at)?)? } else { at };
            values.push(self.value(ty, place)?);
            at = at.checked_add(ty.head_words().checked_mul(32)?)?;
        }
        Some(values)
    }

    fn value(&mut self, ty: &AbiType, at: usize) -> Option<DynSolValue> {
        Some(match ty {
            AbiType::Bytes | AbiType::String => {
                let len = self.length(at)?;
                self.spend(len.div_ceil(32).checked_add(1)?)?;
                let start = at.checked_add(32)?;
                DynSolValue::Bytes(self.data.get(start..start.checked_add(len)?)?.to_vec())
            }
            AbiType::Array(item) => {
                self.spend(1)?;
                let len = self.length(at)?;
                let items = std::iter::repeat_n(item.as_ref(), len);
                DynSolValue::Array(self.sequence(items, at.checked_add(32)?)?)
            }
            AbiType::FixedArray(item, len) => {
                DynSolValue::FixedArray(self.sequence(std::iter::repeat_n(item.as_ref(), *len), at)?)
            }
            AbiType::Tuple(members) => DynSolValue::Tuple(self.sequence(members.iter().map(|m| &m.ty), at)?),
            _ => {
                self.spend(1)?;
                // The word with its padding, whatever the type.
                DynSolValue::FixedBytes(self.word(at)?, 32)
            }
        })
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
        (AbiType::String, DynSolValue::Bytes(text)) => write_string(out, &String::from_utf8_lossy(text)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::address;
    use alloy::sol_types::SolCall;

    mod typed {
        alloy::sol! {
            struct Order { address maker; uint64[2] amounts; bytes data; }
            function fill(Order order, string[] notes, bytes4 kind, int16 delta, bool partially);
        }
    }

    fn fill() -> Function {
        Function::parse(
            "fill((address maker, uint64[2] amounts, bytes data) order, string[] notes, bytes4 kind, int16 delta, bool partially)",
        )
        .unwrap()
    }

    const ARGUMENTS: [&str; 5] = [
        "(0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed, [1, 2], 0xabcdef)",
        r#"[hello, "a, b"]"#,
        "0x12345678",
        "-2",
        "true",
    ];

    #[test]
    fn text_arguments_encode_as_the_compiled_types_do() {
        let typed = typed::fillCall {
            order: typed::Order {
                maker: address!("5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"),
                amounts: [1, 2],
                data: Bytes::from_static(&[0xab, 0xcd, 0xef]),
            },
            notes: vec!["hello".into(), "a, b".into()],
            kind: [0x12, 0x34, 0x56, 0x78].into(),
            delta: -2,
            partially: true,
        };
        assert_eq!(fill().encode_call(&ARGUMENTS).unwrap(), typed.abi_encode());
    }

    #[test]
    fn a_call_is_decoded_with_names_types_and_values() {
        let data = fill().encode_call(&ARGUMENTS).unwrap();
        let decoded = fill().decode_call(&data).unwrap();
        assert!(decoded.canonical);
        let shown: Vec<String> =
            decoded.arguments.iter().map(|a| format!("{} {} = {}", a.ty, a.name, a.value)).collect();
        assert_eq!(
            shown,
            [
                "(address maker, uint64[2] amounts, bytes data) order = (0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed, [1, 2], 0xabcdef)",
                r#"string[] notes = ["hello", "a, b"]"#,
                "bytes4 kind = 0x12345678",
                "int16 delta = -2",
                "bool partially = true",
            ]
        );
    }

    #[test]
    fn a_function_without_arguments_is_its_selector() {
        let function = Function::parse("deposit()").unwrap();
        let data = function.encode_call::<&str>(&[]).unwrap();
        assert_eq!(data.as_ref(), function.selector().as_slice());
        assert_eq!(function.decode_call(&data), Ok(DecodedCall { arguments: vec![], canonical: true }));
    }

    #[test]
    fn a_wrong_argument_is_named() {
        let transfer = Function::parse("transfer(address to, uint256)").unwrap();
        let to = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
        assert_eq!(
            transfer.encode_call(&[to, "1.5"]).unwrap_err().to_string(),
            "argument `1` of transfer(address to, uint256): `1.5` has a fraction, but uint256 counts whole units; \
             write the amount in the token's smallest unit"
        );
        assert!(matches!(transfer.encode_call(&[to]), Err(CallError::Count { expected: 2, found: 1, .. })));
    }

    #[test]
    fn bytes_that_are_another_call_or_none_are_not_decoded() {
        let transfer = Function::parse("transfer(address to, uint256 amount)").unwrap();
        let data = fill().encode_call(&ARGUMENTS).unwrap();
        assert!(matches!(transfer.decode_call(&data), Err(CallError::Selector { .. })));
        assert!(matches!(transfer.decode_call(&[]), Err(CallError::Selector { .. })));
        assert!(matches!(transfer.decode_call(transfer.selector().as_slice()), Err(CallError::Malformed { .. })));
        assert!(matches!(transfer.decode_call(&vec![0; MAX_CALLDATA_LEN + 1]), Err(CallError::TooLong { .. })));
    }

    #[test]
    fn surplus_bytes_and_dirty_padding_are_not_canonical() {
        let function = Function::parse("f(uint8 a, string b)").unwrap();
        let clean = function.encode_call(&["1", "x\u{1b}[31m\n"]).unwrap().to_vec();
        let decoded = function.decode_call(&clean).unwrap();
        assert!(decoded.canonical);
        assert_eq!(decoded.arguments[1].value, "\"x [31m \"");

        let surplus = [clean.as_slice(), &[0; 32]].concat();
        assert!(!function.decode_call(&surplus).unwrap().canonical);

        let mut dirty = clean;
        dirty[4..36].copy_from_slice(&U256::from(0x101).to_be_bytes::<32>());
        let decoded = function.decode_call(&dirty).unwrap();
        assert!(!decoded.canonical);
        assert!(decoded.arguments[0].value.ends_with("(not a clean uint8)"));
    }

    #[test]
    fn a_bomb_of_nested_lists_is_refused_without_work() {
        let function = Function::parse("f(uint256[][][][][][][] a)").unwrap();
        // Seven lists of a hundred, each a hundred times the next one: 10^14 numbers in 23 kB.
        let mut data = function.selector().to_vec();
        data.extend(U256::from(32).to_be_bytes::<32>());
        for _ in 0..7 {
            data.extend(U256::from(100).to_be_bytes::<32>());
            data.extend(U256::from(3200).to_be_bytes::<32>().repeat(100));
        }
        assert!(matches!(function.decode_call(&data), Err(CallError::Malformed { .. })));
    }
}

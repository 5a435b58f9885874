//! Values as people write them, for each ABI type, and back. Strict: what could be read in two ways is refused.

use alloy::{
    dyn_abi::DynSolValue,
    primitives::{Address, B256, I256, U256, hex},
};
use thiserror::Error;

use super::{AbiType, MAX_DEPTH};
use crate::text::clean;

/// Longest text of one argument, in bytes.
pub const MAX_VALUE_LEN: usize = 128 * 1024;
/// Most elements of an array.
pub const MAX_ELEMENTS: usize = 4096;
/// Characters of a foreign value that an error repeats.
const SHOWN: usize = 90;

/// Why a text is no value of an ABI type.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ValueError {
    #[error("`{0}` is not an address: expected `0x` and 40 hex digits")]
    NotAnAddress(String),
    #[error(
        "the capital letters of address `{0}` do not match its checksum (EIP-55), so a character is probably wrong; copy it again from its source, or write it all in lower case if you have checked every digit"
    )]
    BadChecksum(String),
    #[error("`{0}` is not a bool: expected `true` or `false`")]
    NotABool(String),
    #[error("`{text}` is not {ty}: expected a whole number, decimal or `0x` hex")]
    NotANumber { ty: String, text: String },
    #[error("`{text}` has a fraction, but {ty} counts whole units; write the amount in the token's smallest unit")]
    Fraction { ty: String, text: String },
    #[error(
        "`{text}` has a unit, but a function argument is a plain number whose unit the contract decides; write the amount in the smallest unit, as in `1000000` for 1 USDC (6 decimals)"
    )]
    Unit { ty: String, text: String },
    #[error("`{text}` is negative, but {ty} is unsigned: expected 0 or more")]
    Negative { ty: String, text: String },
    #[error("`{text}` does not fit {ty}: expected {min} to {max}")]
    OutOfRange { ty: String, text: String, min: String, max: String },
    #[error("`{text}` is not {ty}: expected `0x` and an even number of hex digits")]
    NotHex { ty: String, text: String },
    #[error("`{text}` has {found} bytes, but {ty} needs exactly {expected}; write all of them")]
    ByteCount { ty: String, text: String, expected: usize, found: usize },
    #[error("`{text}` is not {ty}: expected {expected}")]
    Brackets { ty: String, text: String, expected: &'static str },
    #[error("{ty} needs {expected} values, but {found} are given")]
    Count { ty: String, expected: usize, found: usize },
    #[error("a quote, bracket or parenthesis in `{0}` is not closed; quote text that contains them, as in `[\"a)\"]`")]
    Unbalanced(String),
    #[error("an element of {ty} is empty; write `\"\"` for an empty string")]
    EmptyElement { ty: String },
    #[error("the value of {ty} is {len} bytes long, and at most {MAX_VALUE_LEN} are read")]
    TooLong { ty: String, len: usize },
    #[error("{ty} has more than {MAX_ELEMENTS} elements")]
    TooMany { ty: String },
    #[error("the value is nested more than {MAX_DEPTH} deep")]
    TooDeep,
}

/// Reads an address: `0x` and 40 hex digits; with capitals mixed in, they must be the EIP-55 checksum.
pub fn parse_address(text: &str) -> Result<Address, ValueError> {
    let shown = || clean(text, SHOWN);
    let digits = text.trim().strip_prefix("0x").filter(|d| d.len() == 40);
    let bytes: [u8; 20] = digits
        .and_then(|d| hex::decode(d).ok())
        .and_then(|b| b.try_into().ok())
        .ok_or_else(|| ValueError::NotAnAddress(shown()))?;
    let address = Address::from(bytes);
    let letters = || digits.into_iter().flat_map(str::chars).filter(char::is_ascii_alphabetic);
    let one_case = letters().all(|c| c.is_ascii_lowercase()) || letters().all(|c| c.is_ascii_uppercase());
    if one_case || address.to_checksum(None).get(2..) == digits {
        Ok(address)
    } else {
        Err(ValueError::BadChecksum(shown()))
    }
}

/// The 32-byte word that stands for `text` in a call. `None` for types that are not one word.
pub fn parse_word(ty: &AbiType, text: &str) -> Option<Result<B256, ValueError>> {
    let text = text.trim();
    Some(match ty {
        AbiType::Address => parse_address(text).map(|a| a.into_word()),
        AbiType::Bool => match text {
            "true" => Ok(B256::with_last_byte(1)),
            "false" => Ok(B256::ZERO),
            _ => Err(ValueError::NotABool(clean(text, SHOWN))),
        },
        AbiType::Uint(bits) => parse_uint(ty, *bits, text).map(B256::from),
        AbiType::Int(bits) => parse_int(ty, *bits, text).map(B256::from),
        AbiType::FixedBytes(len) => parse_fixed_bytes(ty, *len, text),
        AbiType::Function => parse_fixed_bytes(ty, 24, text),
        _ => return None,
    })
}

/// The value a word stands for, in the form [`parse_word`] reads. `None` when the padding is not what an ABI encoder
/// writes for this type, or the type is not one word.
pub fn format_word(ty: &AbiType, word: B256) -> Option<String> {
    let number = U256::from_be_bytes(word.0);
    match ty {
        AbiType::Address => word.starts_with(&[0; 12]).then(|| Address::from_word(word).to_checksum(None)),
        AbiType::Bool if number.is_zero() => Some("false".to_owned()),
        AbiType::Bool if number == U256::ONE => Some("true".to_owned()),
        AbiType::Uint(bits) => (number <= max_uint(*bits)).then(|| number.to_string()),
        AbiType::Int(bits) => {
            let value = I256::from_raw(number);
            let (min, max) = int_range(*bits);
            (min <= value && value <= max).then(|| value.to_string())
        }
        AbiType::FixedBytes(len) => format_fixed_bytes(*len, word),
        AbiType::Function => format_fixed_bytes(24, word),
        _ => None,
    }
}

fn format_fixed_bytes(len: usize, word: B256) -> Option<String> {
    let (value, padding) = word.split_at_checked(len)?;
    padding.iter().all(|b| *b == 0).then(|| hex::encode_prefixed(value))
}

/// Largest value of `uintN`.
pub(crate) fn max_uint(bits: usize) -> U256 {
    U256::MAX >> 256usize.saturating_sub(bits)
}

fn int_range(bits: usize) -> (I256, I256) {
    let max = I256::from_raw(max_uint(bits.saturating_sub(1)));
    // -max - 1, which is the bitwise complement and cannot overflow.
    (!max, max)
}

fn parse_uint(ty: &AbiType, bits: usize, text: &str) -> Result<U256, ValueError> {
    let max = max_uint(bits);
    match parse_number(ty, text)? {
        Number { negative: true, .. } => Err(ValueError::Negative { ty: ty.canonical(), text: clean(text, SHOWN) }),
        Number { magnitude: Some(value), .. } if value <= max => Ok(value),
        _ => Err(out_of_range(ty, text, "0".to_owned(), max.to_string())),
    }
}

fn parse_int(ty: &AbiType, bits: usize, text: &str) -> Result<U256, ValueError> {
    let (min, max) = int_range(bits);
    let Number { negative, magnitude } = parse_number(ty, text)?;
    let value = magnitude.and_then(|m| match negative {
        // The most negative value has no positive counterpart, so compare magnitudes.
        true => (m <= min.unsigned_abs()).then(|| m.wrapping_neg()),
        false => (m <= max.into_raw()).then_some(m),
    });
    value.ok_or_else(|| out_of_range(ty, text, min.to_string(), max.to_string()))
}

fn out_of_range(ty: &AbiType, text: &str, min: String, max: String) -> ValueError {
    ValueError::OutOfRange { ty: ty.canonical(), text: clean(text, SHOWN), min, max }
}

/// A whole number; `magnitude` is `None` when it exceeds 256 bits.
struct Number {
    negative: bool,
    magnitude: Option<U256>,
}

fn parse_number(ty: &AbiType, text: &str) -> Result<Number, ValueError> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (radix, digits) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => (16, hex),
        None => (10, digits),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(why_not_a_number(ty, text));
    }
    Ok(Number { negative, magnitude: U256::from_str_radix(digits, u64::from(radix)).ok() })
}

/// Tells apart what people write instead of a whole number.
fn why_not_a_number(ty: &AbiType, text: &str) -> ValueError {
    let (ty, shown) = (ty.canonical(), clean(text, SHOWN));
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let number = unsigned.trim_end_matches(|c: char| c.is_ascii_alphabetic()).trim_end();
    let is_number = !unsigned.to_ascii_lowercase().starts_with("0x")
        && number.starts_with(|c: char| c.is_ascii_digit())
        && number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match is_number {
        true if number.len() != unsigned.len() => ValueError::Unit { ty, text: shown },
        true if number.contains('.') => ValueError::Fraction { ty, text: shown },
        _ => ValueError::NotANumber { ty, text: shown },
    }
}

fn parse_hex(ty: &AbiType, text: &str) -> Result<Vec<u8>, ValueError> {
    let digits = text.strip_prefix("0x").filter(|d| !d.starts_with("0x"));
    digits
        .and_then(|d| hex::decode(d).ok())
        .ok_or_else(|| ValueError::NotHex { ty: ty.canonical(), text: clean(text, SHOWN) })
}

fn parse_fixed_bytes(ty: &AbiType, len: usize, text: &str) -> Result<B256, ValueError> {
    let bytes = parse_hex(ty, text)?;
    if bytes.len() != len {
        let (text, found) = (clean(text, SHOWN), bytes.len());
        return Err(ValueError::ByteCount { ty: ty.canonical(), text, expected: len, found });
    }
    Ok(B256::right_padding_from(&bytes))
}

/// Reads a value of any type. Arrays are `[a, b]`, tuples `(a, b)`; strings inside them may be quoted.
pub(super) fn parse_value(ty: &AbiType, text: &str) -> Result<DynSolValue, ValueError> {
    if text.len() > MAX_VALUE_LEN {
        return Err(ValueError::TooLong { ty: ty.canonical(), len: text.len() });
    }
    match ty {
        // A string that stands alone is taken as it is: the shell has already removed its quotes.
        AbiType::String => Ok(DynSolValue::String(text.to_owned())),
        _ => parse_nested(ty, text, 0),
    }
}

fn parse_nested(ty: &AbiType, text: &str, depth: usize) -> Result<DynSolValue, ValueError> {
    if depth > MAX_DEPTH {
        return Err(ValueError::TooDeep);
    }
    let text = text.trim();
    let items = |item: &AbiType, parts: &[&str]| -> Result<Vec<DynSolValue>, ValueError> {
        parts.iter().map(|part| parse_nested(item, part, depth + 1)).collect()
    };
    let count = |expected: usize, found: usize| match expected == found {
        true => Ok(()),
        false => Err(ValueError::Count { ty: ty.canonical(), expected, found }),
    };
    match ty {
        AbiType::Bytes => parse_hex(ty, text).map(DynSolValue::Bytes),
        AbiType::String => parse_quoted(ty, text).map(DynSolValue::String),
        AbiType::Array(item) => {
            Ok(DynSolValue::Array(items(item, &elements(ty, text, '[', ']', "a list as in `[a, b]`")?)?))
        }
        AbiType::FixedArray(item, len) => {
            let parts = elements(ty, text, '[', ']', "a list as in `[a, b]`")?;
            count(*len, parts.len())?;
            Ok(DynSolValue::FixedArray(items(item, &parts)?))
        }
        AbiType::Tuple(members) => {
            let parts = elements(ty, text, '(', ')', "values in parentheses as in `(a, b)`")?;
            count(members.len(), parts.len())?;
            let values = members.iter().zip(parts).map(|(m, part)| parse_nested(&m.ty, part, depth + 1));
            Ok(DynSolValue::Tuple(values.collect::<Result<_, _>>()?))
        }
        _ => {
            let not_a_word = || ValueError::NotANumber { ty: ty.canonical(), text: clean(text, SHOWN) };
            let word = parse_word(ty, text).ok_or_else(not_a_word)??;
            Ok(word_value(ty, word).ok_or_else(not_a_word)?)
        }
    }
}

/// The value alloy encodes as exactly this word.
fn word_value(ty: &AbiType, word: B256) -> Option<DynSolValue> {
    Some(match ty {
        AbiType::Address => DynSolValue::Address(Address::from_word(word)),
        AbiType::Bool => DynSolValue::Bool(!word.is_zero()),
        AbiType::Uint(bits) => DynSolValue::Uint(U256::from_be_bytes(word.0), *bits),
        AbiType::Int(bits) => DynSolValue::Int(I256::from_raw(U256::from_be_bytes(word.0)), *bits),
        AbiType::FixedBytes(len) => DynSolValue::FixedBytes(word, *len),
        AbiType::Function => DynSolValue::FixedBytes(word, 24),
        _ => return None,
    })
}

/// An element that is a string: quoted with `\"` and `\\` inside, or bare.
fn parse_quoted(ty: &AbiType, text: &str) -> Result<String, ValueError> {
    let Some(quoted) = text.strip_prefix('"') else {
        return if text.is_empty() {
            Err(ValueError::EmptyElement { ty: ty.canonical() })
        } else {
            Ok(text.to_owned())
        };
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' if chars.as_str().is_empty() => return Ok(value),
            '"' => break,
            '\\' => value.extend(chars.next()),
            c => value.push(c),
        }
    }
    Err(ValueError::Unbalanced(clean(text, SHOWN)))
}

/// The elements between the outer brackets, split at the commas that belong to them.
fn elements<'a>(
    ty: &AbiType,
    text: &'a str,
    open: char,
    close: char,
    expected: &'static str,
) -> Result<Vec<&'a str>, ValueError> {
    let inner = text.strip_prefix(open).and_then(|t| t.strip_suffix(close)).ok_or_else(|| ValueError::Brackets {
        ty: ty.to_string(),
        text: clean(text, SHOWN),
        expected,
    })?;
    if inner.trim().is_empty() {
        return Ok(Vec::new());
    }
    let mut parts = Vec::new();
    let mut rest = inner;
    loop {
        let end = element_end(rest).ok_or_else(|| ValueError::Unbalanced(clean(text, SHOWN)))?;
        let (part, behind) = rest.split_at_checked(end).unwrap_or((rest, ""));
        if part.trim().is_empty() {
            return Err(ValueError::EmptyElement { ty: ty.canonical() });
        }
        parts.push(part.trim());
        if parts.len() > MAX_ELEMENTS {
            return Err(ValueError::TooMany { ty: ty.canonical() });
        }
        match behind.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Ok(parts),
        }
    }
}

/// Where the first element ends: at a comma outside brackets and quotes, or at the end of the text.
fn element_end(text: &str) -> Option<usize> {
    let mut open = 0usize;
    let mut quoted = false;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '[' | '(' => open += 1,
            ']' | ')' => open = open.checked_sub(1)?,
            ',' if open == 0 => return Some(at),
            _ => {}
        }
    }
    (open == 0 && !quoted).then_some(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECKSUMMED: &str = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";

    fn refused(ty: AbiType, text: &str) -> ValueError {
        parse_value(&ty, text).unwrap_err()
    }

    #[test]
    fn a_mixed_case_address_must_have_its_checksum() {
        let address = parse_address(CHECKSUMMED).unwrap();
        assert_eq!(parse_address(&CHECKSUMMED.to_lowercase()), Ok(address));
        assert_eq!(parse_address(&CHECKSUMMED.to_uppercase().replace("0X", "0x")), Ok(address));
        let typo = CHECKSUMMED.replace("aAeb", "aaeb");
        assert_eq!(parse_address(&typo), Err(ValueError::BadChecksum(typo.clone())));
        for text in ["", "0x", "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "vitalik.eth", &format!("{CHECKSUMMED}0")] {
            assert!(matches!(parse_address(text), Err(ValueError::NotAnAddress(_))), "{text}");
        }
    }

    #[test]
    fn numbers_are_checked_against_their_type() {
        assert!(parse_value(&AbiType::Uint(8), "255").is_ok());
        assert!(matches!(refused(AbiType::Uint(8), "256"), ValueError::OutOfRange { .. }));
        assert!(matches!(refused(AbiType::Uint(256), "-1"), ValueError::Negative { .. }));
        assert!(matches!(refused(AbiType::Uint(256), &format!("1{}", "0".repeat(78))), ValueError::OutOfRange { .. }));
        assert!(parse_value(&AbiType::Int(8), "-128").is_ok());
        assert!(matches!(refused(AbiType::Int(8), "-129"), ValueError::OutOfRange { .. }));
        assert!(matches!(refused(AbiType::Int(8), "128"), ValueError::OutOfRange { .. }));
        let lowest = I256::MIN.to_string();
        assert_eq!(parse_value(&AbiType::Int(256), &lowest), Ok(DynSolValue::Int(I256::MIN, 256)));
        assert!(matches!(refused(AbiType::Int(256), &U256::MAX.to_string()), ValueError::OutOfRange { .. }));
    }

    #[test]
    fn a_plain_argument_takes_no_fraction_and_no_unit() {
        assert!(matches!(refused(AbiType::Uint(256), "1.5"), ValueError::Fraction { .. }));
        assert!(matches!(refused(AbiType::Uint(256), "1 ether"), ValueError::Unit { .. }));
        assert!(matches!(refused(AbiType::Uint(256), "1.5eth"), ValueError::Unit { .. }));
        for text in ["", "0x", "ten", "1_000", "1,000", "+1", "--1", "0x0x1", "１"] {
            assert!(matches!(refused(AbiType::Uint(256), text), ValueError::NotANumber { .. }), "{text}");
        }
    }

    #[test]
    fn fixed_bytes_need_their_exact_length() {
        let word = parse_word(&AbiType::FixedBytes(4), "0x12345678").unwrap().unwrap();
        assert_eq!(word, B256::right_padding_from(&[0x12, 0x34, 0x56, 0x78]));
        for text in ["0x123456", "0x1234567890"] {
            assert!(matches!(refused(AbiType::FixedBytes(4), text), ValueError::ByteCount { expected: 4, .. }));
        }
        for text in ["12345678", "0x1234567", "0xzz345678", "0x0x12345678"] {
            assert!(matches!(refused(AbiType::FixedBytes(4), text), ValueError::NotHex { .. }), "{text}");
        }
    }

    #[test]
    fn a_bool_is_true_or_false() {
        assert_eq!(parse_value(&AbiType::Bool, "true"), Ok(DynSolValue::Bool(true)));
        for text in ["1", "yes", "True", ""] {
            assert!(matches!(refused(AbiType::Bool, text), ValueError::NotABool(_)), "{text}");
        }
    }

    #[test]
    fn lists_and_tuples_are_split_where_a_person_would_split_them() {
        let strings = AbiType::Array(Box::new(AbiType::String));
        let list =
            |items: &[&str]| Ok(DynSolValue::Array(items.iter().map(|s| DynSolValue::String((*s).into())).collect()));
        assert_eq!(parse_value(&strings, "[]"), list(&[]));
        assert_eq!(parse_value(&strings, r#"[a b, "c, d", "", "\"]\\"]"#), list(&["a b", "c, d", "", "\"]\\"]));
        assert!(matches!(refused(strings.clone(), "[a,,b]"), ValueError::EmptyElement { .. }));
        assert!(matches!(refused(strings.clone(), "[a,]"), ValueError::EmptyElement { .. }));
        assert!(matches!(refused(strings.clone(), "[\"a]"), ValueError::Unbalanced(_)));
        assert!(matches!(refused(strings.clone(), "[a)]"), ValueError::Unbalanced(_)));
        assert!(matches!(refused(strings, "a, b"), ValueError::Brackets { .. }));
        let pairs = AbiType::FixedArray(Box::new(AbiType::Uint(8)), 2);
        assert!(matches!(refused(pairs, "[1, 2, 3]"), ValueError::Count { expected: 2, found: 3, .. }));
    }

    #[test]
    fn a_string_that_stands_alone_is_taken_as_it_is() {
        let text = " [\"not a list\", ";
        assert_eq!(parse_value(&AbiType::String, text), Ok(DynSolValue::String(text.into())));
    }

    #[test]
    fn long_values_and_lists_are_refused() {
        assert!(matches!(refused(AbiType::String, &"a".repeat(MAX_VALUE_LEN + 1)), ValueError::TooLong { .. }));
        let many = format!("[{}]", vec!["1"; MAX_ELEMENTS + 1].join(","));
        assert!(matches!(refused(AbiType::Array(Box::new(AbiType::Uint(8))), &many), ValueError::TooMany { .. }));
    }
}

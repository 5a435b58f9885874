//! Reading untrusted JSON so that every complaint names its field, and so that a private key in it is never copied:
//! text stays a slice of the input, which its owner wipes.

use alloy::{
    hex,
    primitives::{Address, B256, Bytes, Selector, U256},
};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use zeroize::Zeroizing;

use super::TextError;
use crate::policy::scope::MAX_UINT48;

/// Text longer than this (an address) is never repeated in an error: it could be a private key in the wrong field.
const MAX_REPEATED: usize = 42;

/// Largest integer that a JSON number carries without loss in JavaScript: 2^53 - 1.
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

pub enum Json<'a> {
    Null,
    Bool(bool),
    Unsigned(u64),
    /// Negative, fractional or above 2^64 - 1.
    OtherNumber(f64),
    Text(Text<'a>),
    List(Vec<Json<'a>>),
    /// Members in order, duplicates included.
    Object(Vec<(Text<'a>, Json<'a>)>),
}

/// A string of the input; `Unescaped` when it held escapes and had to be copied.
pub enum Text<'a> {
    Verbatim(&'a str),
    Unescaped(Zeroizing<String>),
}

impl Text<'_> {
    fn as_str(&self) -> &str {
        match self {
            Self::Verbatim(text) => text,
            Self::Unescaped(text) => text,
        }
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("text")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text::Verbatim(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text::Unescaped(Zeroizing::new(text.to_owned())))
    }
}

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_str(TextVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::OtherNumber(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json<'de>, E> {
        // `1.9e9` and `0.0` are integers all the same; above 2^53 digits may already be lost.
        if value.fract() == 0.0 && (0.0..=MAX_SAFE_INTEGER as f64).contains(&value) {
            return Ok(Json::Unsigned(value as u64));
        }
        Ok(Json::OtherNumber(value))
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<Json<'de>, E> {
        TextVisitor.visit_borrowed_str(text).map(Json::Text)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Json<'de>, E> {
        TextVisitor.visit_str(text).map(Json::Text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Json::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Json::Object(members))
    }
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(JsonVisitor)
    }
}

/// A value and where it was found, like `sessionKeyData.permissions[2].rules[0].param`.
pub struct Node<'v, 'a> {
    pub path: String,
    value: &'v Json<'a>,
}

impl<'v, 'a> Node<'v, 'a> {
    pub fn root(value: &'v Json<'a>) -> Self {
        Self { path: String::new(), value }
    }

    pub fn value(&self) -> &'v Json<'a> {
        self.value
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// A member; `None` when it is missing or null. Of duplicates the last counts, as in JavaScript.
    pub fn get(&self, key: &str) -> Option<Self> {
        let Json::Object(members) = self.value else { return None };
        let (_, value) = members.iter().rev().find(|(name, _)| name.as_str() == key)?;
        (!matches!(value, Json::Null)).then(|| Self { path: self.path_of(key), value })
    }

    /// A member that has to be an object.
    pub fn object(&self, key: &str) -> Result<Self, TextError> {
        let node = self.require(key, "an object")?;
        node.check_object()?;
        Ok(node)
    }

    pub fn check_object(&self) -> Result<(), TextError> {
        match self.value {
            Json::Object(_) => Ok(()),
            _ => Err(self.wrong("an object", "copy the approval again from the program that wrote it")),
        }
    }

    pub fn require(&self, key: &str, expected: &'static str) -> Result<Self, TextError> {
        self.get(key).ok_or_else(|| TextError::Field {
            path: self.path_of(key),
            expected,
            found: "nothing".to_owned(),
            advice: "without it this is no approval of ZeroDev's SDK 4 or 5: compare it with what that program wrote",
        })
    }

    /// The items of a list of at most `limit`.
    pub fn items(&self, limit: usize, expected: &'static str) -> Result<Vec<Self>, TextError> {
        match self.value {
            Json::List(items) if items.len() <= limit => Ok(items
                .iter()
                .enumerate()
                .map(|(i, value)| Self { path: format!("{}[{i}]", self.path), value })
                .collect()),
            Json::List(_) => Err(self.wrong(expected, "split it over several session keys")),
            _ => Err(self.wrong(expected, "copy the approval again from the program that wrote it")),
        }
    }

    pub fn is_true(&self) -> bool {
        matches!(self.value, Json::Bool(true))
    }

    pub fn text(&self) -> Option<&str> {
        match self.value {
            Json::Text(text) => Some(text.as_str()),
            _ => None,
        }
    }

    /// The complaint that this value is not what was expected.
    pub fn wrong(&self, expected: &'static str, advice: &'static str) -> TextError {
        let path = if self.path.is_empty() { "the approval".to_owned() } else { self.path.clone() };
        TextError::Field { path, expected, found: describe(self.value), advice }
    }

    /// A whole number: a JSON number, or decimal or `0x` text. `None` for anything else.
    fn number(&self) -> Option<U256> {
        match self.value {
            Json::Unsigned(n) => Some(U256::from(*n)),
            Json::Text(text) => {
                let text = text.as_str();
                let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |digits| (digits, 16));
                // from_str_radix skips underscores and takes an empty text for zero.
                if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
                    return None;
                }
                U256::from_str_radix(digits, u64::from(radix)).ok()
            }
            _ => None,
        }
    }

    pub fn uint256(&self) -> Result<U256, TextError> {
        self.number().ok_or_else(|| {
            self.wrong("a whole number from 0 to 2^256 - 1", "write numbers above 2^53 as decimal text, without loss")
        })
    }

    pub fn uint128(&self) -> Result<u128, TextError> {
        self.number().and_then(|n| u128::try_from(n).ok()).ok_or_else(|| {
            self.wrong(
                "a whole number from 0 to 2^128 - 1",
                "the contract has 128 bits here, so nobody can have signed this",
            )
        })
    }

    pub fn uint64(&self) -> Result<u64, TextError> {
        self.number().and_then(|n| u64::try_from(n).ok()).ok_or_else(|| {
            self.wrong(
                "a whole number from 0 to 2^64 - 1",
                "the contract has 64 bits here, so nobody can have signed this",
            )
        })
    }

    pub fn uint48(&self) -> Result<u64, TextError> {
        self.number().and_then(|n| u64::try_from(n).ok()).filter(|n| *n <= MAX_UINT48).ok_or_else(|| {
            self.wrong(
                "a whole number from 0 to 2^48 - 1",
                "the contract has 48 bits here, so nobody can have signed this",
            )
        })
    }

    pub fn uint32(&self) -> Result<u32, TextError> {
        self.number().and_then(|n| u32::try_from(n).ok()).ok_or_else(|| {
            self.wrong(
                "a whole number from 0 to 2^32 - 1",
                "the contract has 32 bits here, so nobody can have signed this",
            )
        })
    }

    /// An enum value by its number on chain (also as text) or by name.
    pub fn choice<T>(
        &self,
        by_code: impl Fn(u64) -> Option<T>,
        by_name: impl Fn(&str) -> Option<T>,
        expected: &'static str,
    ) -> Result<T, TextError> {
        self.number()
            .and_then(|n| u64::try_from(n).ok())
            .and_then(by_code)
            .or_else(|| self.text().and_then(by_name))
            .ok_or_else(|| self.wrong(expected, "the contract knows no other"))
    }

    /// `0x` and an even number of hex digits, at most `limit` bytes.
    fn hex(&self, limit: usize) -> Option<Vec<u8>> {
        let digits = self.text()?.strip_prefix("0x").filter(|digits| digits.len() <= 2 * limit)?;
        hex::decode(digits).ok()
    }

    pub fn bytes(&self, limit: usize, expected: &'static str) -> Result<Bytes, TextError> {
        self.hex(limit)
            .map(Bytes::from)
            .ok_or_else(|| self.wrong(expected, "copy the approval again: it may be cut off"))
    }

    /// 20 bytes in lower, upper or EIP-55 case. Mixed case with a wrong checksum is a typing error.
    pub fn address(&self) -> Result<Address, TextError> {
        let bytes = self.hex(20).filter(|bytes| bytes.len() == 20).ok_or_else(|| {
            self.wrong("an address: 0x and 40 hex digits", "copy the address again from where it came from")
        })?;
        let address = Address::from_slice(&bytes);
        let text = self.text().unwrap_or_default();
        let mixed =
            text.bytes().skip(2).any(|b| b.is_ascii_lowercase()) && text.bytes().any(|b| b.is_ascii_uppercase());
        if mixed && address.to_checksum(None) != text {
            return Err(self.wrong(
                "an address whose upper and lower case fit its checksum (EIP-55)",
                "a digit is wrong: compare it with the original",
            ));
        }
        Ok(address)
    }

    pub fn selector(&self) -> Result<Selector, TextError> {
        let bytes = self.hex(4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
        bytes.map(Selector::new).ok_or_else(|| {
            self.wrong("a function selector: 0x and 8 hex digits", "take the first four bytes of the call data")
        })
    }

    pub fn word(&self) -> Result<B256, TextError> {
        let bytes = self.hex(32).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        bytes.map(B256::new).ok_or_else(|| {
            self.wrong(
                "a 32-byte word: 0x and 64 hex digits",
                "the contract compares whole words, so nobody can have signed this",
            )
        })
    }
}

/// A value in a few words, safe to show: short text without control or bidi characters, long text by its length only.
fn describe(value: &Json<'_>) -> String {
    match value {
        Json::Null => "null".to_owned(),
        Json::Bool(value) => value.to_string(),
        Json::Unsigned(n) => n.to_string(),
        Json::OtherNumber(n) => n.to_string(),
        Json::Text(text) => {
            let text = text.as_str();
            if text.len() > MAX_REPEATED {
                format!("text of {} characters", text.chars().count())
            } else {
                let shown: String =
                    text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect();
                format!("\"{shown}\"")
            }
        }
        Json::List(items) => format!("a list of {}", items.len()),
        Json::Object(members) => format!("an object with {} members", members.len()),
    }
}

//! Reading untrusted answers field by field: every miss names the endpoint, the call, the field and what it should be.

use alloy::primitives::{Address, B256, Bytes, U256};
use serde_json::Value;

use super::transport::ChainError;

/// A part of an answer, and where it stands.
#[derive(Debug, Clone)]
pub struct Answer<'a> {
    endpoint: &'a str,
    purpose: &'static str,
    field: String,
    value: &'a Value,
}

impl<'a> Answer<'a> {
    pub fn new(endpoint: &'a str, purpose: &'static str, value: &'a Value) -> Self {
        Self { endpoint, purpose, field: "result".into(), value }
    }

    /// The error for this part.
    pub fn should_be(&self, expected: &'static str) -> ChainError {
        ChainError::malformed(self.endpoint, self.purpose, self.field.clone(), expected)
    }

    /// A field that must be there.
    pub fn field(&self, name: &'static str) -> Result<Self, ChainError> {
        self.optional(name).ok_or_else(|| self.step(name, self.value).should_be("present"))
    }

    /// A field that may be missing or null.
    pub fn optional(&self, name: &'static str) -> Option<Self> {
        self.value.get(name).filter(|value| !value.is_null()).map(|value| self.step(name, value))
    }

    fn step(&self, name: &str, value: &'a Value) -> Self {
        let field = if self.field == "result" { name.to_owned() } else { format!("{}.{name}", self.field) };
        Self { endpoint: self.endpoint, purpose: self.purpose, field, value }
    }

    /// The items of a list of at most `max`.
    pub fn list(&self, max: usize) -> Result<Vec<Self>, ChainError> {
        let items = self.value.as_array().ok_or_else(|| self.should_be("a list"))?;
        if items.len() > max {
            return Err(self.should_be("a shorter list"));
        }
        Ok(items.iter().enumerate().map(|(i, item)| self.step(&format!("[{i}]"), item)).collect())
    }

    /// A number, as `0x` hex, as decimal text, or as a JSON number: bundlers use all three.
    pub fn number(&self) -> Result<U256, ChainError> {
        let number = match self.value {
            Value::Number(number) => number.as_u64().map(U256::from),
            Value::String(text) => match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
                // Some nodes answer zero as "0x".
                Some("") => Some(U256::ZERO),
                Some(digits) => U256::from_str_radix(digits, 16).ok(),
                None if text.is_empty() => None,
                None => U256::from_str_radix(text, 10).ok(),
            },
            _ => None,
        };
        number.ok_or_else(|| self.should_be("a number of at most 256 bits"))
    }

    pub fn u64(&self) -> Result<u64, ChainError> {
        u64::try_from(self.number()?).map_err(|_| self.should_be("a number below 2^64"))
    }

    pub fn u128(&self) -> Result<u128, ChainError> {
        u128::try_from(self.number()?).map_err(|_| self.should_be("a number below 2^128"))
    }

    pub fn text(&self) -> Result<&'a str, ChainError> {
        self.value.as_str().ok_or_else(|| self.should_be("text"))
    }

    pub fn bytes(&self) -> Result<Bytes, ChainError> {
        self.text()?
            .strip_prefix("0x")
            .and_then(|digits| alloy::hex::decode(digits).ok())
            .map(Bytes::from)
            .ok_or_else(|| self.should_be("0x hex bytes"))
    }

    /// Code: bytes, and "0x0" for none with some nodes.
    pub fn code(&self) -> Result<Bytes, ChainError> {
        if self.value.as_str() == Some("0x0") { Ok(Bytes::new()) } else { self.bytes() }
    }

    pub fn address(&self) -> Result<Address, ChainError> {
        Address::try_from(self.bytes()?.as_ref()).map_err(|_| self.should_be("a 20-byte address"))
    }

    pub fn hash(&self) -> Result<B256, ChainError> {
        B256::try_from(self.bytes()?.as_ref()).map_err(|_| self.should_be("a 32-byte hash"))
    }

    /// A truth value, also as the number 0 or 1.
    pub fn truth(&self) -> Result<bool, ChainError> {
        match self.value {
            Value::Bool(truth) => Ok(*truth),
            Value::String(text) if text == "true" => Ok(true),
            Value::String(text) if text == "false" => Ok(false),
            _ => match self.number()? {
                number if number.is_zero() => Ok(false),
                number if number == U256::ONE => Ok(true),
                _ => Err(self.should_be("true or false")),
            },
        }
    }

    pub fn value(&self) -> &'a Value {
        self.value
    }
}

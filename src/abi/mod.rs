//! Contract functions as the ABI describes them: read from a signature or a JSON ABI, looked up, encoded and decoded.
//!
//! Everything read here comes from outside (a paste, a file, an explorer), so it is bounded in size, depth and count,
//! and the selector is always computed from the types, never taken from the source.
//!
//! Values are encoded by alloy; types and their reading are our own, because conditions need in one place what alloy's types keep apart: the word
//! that each argument stands in, the names inside tuples, and how much an array multiplies out to.

mod calldata;
mod json;
mod signature;
mod value;

use std::fmt;

use alloy::primitives::{Selector, keccak256};
use thiserror::Error;

pub use calldata::{CallError, DecodedArgument, DecodedCall};
pub use json::{Interface, KNOWN_INTERFACES, known_functions};
pub(crate) use value::max_uint;
pub use value::{ValueError, format_word, parse_address, parse_word};

/// Longest signature that is read, in bytes.
pub const MAX_SIGNATURE_LEN: usize = 4096;
/// Deepest nesting of tuples and arrays in a type.
pub const MAX_DEPTH: usize = 8;
/// Most parameters of a function, and most members of a tuple.
pub const MAX_PARAMS: usize = 128;
/// Most elementary values that the fixed part of a function's arguments may hold, arrays multiplied out.
pub const MAX_WEIGHT: usize = 1024;
/// Longest name of a function or parameter, in bytes.
const MAX_NAME_LEN: usize = 128;

/// Why a description of a function could not be read or looked up.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AbiError {
    #[error("{what} is {len} bytes long, and at most {max} are read; give only the part that is needed")]
    TooLong { what: &'static str, len: usize, max: usize },
    #[error("`{text}` describes {what}, not a function; a session key can only be limited to functions")]
    NotAFunction { text: String, what: &'static str },
    #[error(
        "`{0}` is not a function name: expected letters, digits, `_` or `$`, as in `transfer(address to, uint256 amount)`"
    )]
    BadName(String),
    #[error("expected {expected} but found {found} in the signature `{signature}`")]
    Syntax { signature: String, expected: &'static str, found: String },
    #[error("`{name}` is not an ABI type{hint}")]
    UnknownType { name: String, hint: &'static str },
    #[error("an array of length {0} is not possible: expected 1 to {MAX_WEIGHT}")]
    ArrayLength(String),
    #[error("a tuple without members is not possible; name its types, as in `(address token, uint256 amount)`")]
    EmptyTuple,
    #[error("types are nested more than {MAX_DEPTH} deep; this function can only be described by raw word rules")]
    TooDeep,
    #[error("more than {max} {what}; this is not a description of a usable function")]
    TooMany { what: &'static str, max: usize },
    #[error("the JSON ABI cannot be read: {0}; expected an array of functions, or an object with an `abi` array")]
    Json(String),
    #[error("there is no function in this ABI; expected entries of type `function`")]
    NoFunctions,
    #[error("there is no function `{wanted}` in this ABI; it has {}", list(available))]
    NotFound { wanted: String, available: Vec<String> },
    #[error("`{name}` is overloaded; say which one is meant by its full signature: {}", list(signatures))]
    Overloaded { name: String, signatures: Vec<String> },
    #[error("there is no known interface `{0}`; known are {list}, or give a JSON file or a full signature", list = list(&KNOWN_INTERFACES))]
    UnknownInterface(String),
}

/// Up to a dozen names, in words.
fn list<S: AsRef<str>>(names: &[S]) -> String {
    const SHOWN: usize = 12;
    let mut text = names.iter().take(SHOWN).map(|n| format!("`{}`", n.as_ref())).collect::<Vec<_>>().join(", ");
    if names.is_empty() {
        text.push_str("none");
    } else if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}

/// A type of the contract ABI, with the names of tuple members kept for paths and display.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AbiType {
    Address,
    Bool,
    /// Bits, 8 to 256.
    Uint(usize),
    /// Bits, 8 to 256; two's complement.
    Int(usize),
    /// Bytes, 1 to 32; padded on the right.
    FixedBytes(usize),
    /// An address and a selector: 24 bytes, padded on the right.
    Function,
    Bytes,
    String,
    Array(Box<Self>),
    FixedArray(Box<Self>, usize),
    Tuple(Vec<Param>),
}

impl AbiType {
    /// Whether the head holds an offset to the value instead of the value.
    pub fn is_dynamic(&self) -> bool {
        match self {
            Self::Bytes | Self::String | Self::Array(_) => true,
            Self::FixedArray(item, _) => item.is_dynamic(),
            Self::Tuple(members) => members.iter().any(|m| m.ty.is_dynamic()),
            _ => false,
        }
    }

    /// Whether the value is a single word: not an array, not a tuple, not dynamic.
    pub fn is_word(&self) -> bool {
        matches!(self, Self::Address | Self::Bool | Self::Uint(_) | Self::Int(_) | Self::FixedBytes(_) | Self::Function)
    }

    /// 32-byte words this type takes in the head of an encoding.
    pub fn head_words(&self) -> usize {
        match self {
            _ if self.is_dynamic() => 1,
            Self::FixedArray(item, len) => item.head_words().saturating_mul(*len),
            Self::Tuple(members) => members.iter().fold(0, |sum, m| sum.saturating_add(m.ty.head_words())),
            _ => 1,
        }
    }

    /// Elementary values in it, fixed arrays multiplied out and dynamic ones counted once.
    fn weight(&self) -> usize {
        match self {
            Self::Array(item) => item.weight(),
            Self::FixedArray(item, len) => item.weight().saturating_mul(*len),
            Self::Tuple(members) => weight(members),
            _ => 1,
        }
    }

    fn depth(&self) -> usize {
        match self {
            Self::Array(item) | Self::FixedArray(item, _) => 1 + item.depth(),
            Self::Tuple(members) => 1 + members.iter().map(|m| m.ty.depth()).max().unwrap_or(0),
            _ => 0,
        }
    }

    /// Writes the type as it stands in a signature, with or without the names of tuple members.
    fn write(&self, out: &mut impl fmt::Write, named: bool) -> fmt::Result {
        match self {
            Self::Address => out.write_str("address"),
            Self::Bool => out.write_str("bool"),
            Self::Uint(bits) => write!(out, "uint{bits}"),
            Self::Int(bits) => write!(out, "int{bits}"),
            Self::FixedBytes(len) => write!(out, "bytes{len}"),
            Self::Function => out.write_str("function"),
            Self::Bytes => out.write_str("bytes"),
            Self::String => out.write_str("string"),
            Self::Array(item) => {
                item.write(out, named)?;
                out.write_str("[]")
            }
            Self::FixedArray(item, len) => {
                item.write(out, named)?;
                write!(out, "[{len}]")
            }
            Self::Tuple(members) => write_params(members, out, named),
        }
    }

    /// The type as it is hashed into a selector.
    pub fn canonical(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = self.write(&mut text, false);
        text
    }
}

/// The type with the names of its members, as a person would write it.
impl fmt::Display for AbiType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, true)
    }
}

fn weight(params: &[Param]) -> usize {
    params.iter().fold(0, |sum, p| sum.saturating_add(p.ty.weight()))
}

fn write_params(params: &[Param], out: &mut impl fmt::Write, named: bool) -> fmt::Result {
    out.write_str("(")?;
    for (i, param) in params.iter().enumerate() {
        if i > 0 {
            out.write_str(if named { ", " } else { "," })?;
        }
        param.ty.write(out, named)?;
        if named && !param.name.is_empty() {
            write!(out, " {}", param.name)?;
        }
    }
    out.write_str(")")
}

/// A parameter of a function or a member of a tuple.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Param {
    /// An identifier, or empty. Names that are no identifiers are dropped: the argument is then known by its position.
    pub name: String,
    pub ty: AbiType,
}

impl Param {
    fn new(name: &str, ty: AbiType) -> Self {
        let name = if is_identifier(name) { name.to_owned() } else { String::new() };
        Self { name, ty }
    }
}

/// Names in Solidity and Vyper are ASCII; anything else in a name can only mislead.
fn is_identifier(name: &str) -> bool {
    name.len() <= MAX_NAME_LEN
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '$')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'$')
}

/// A contract function: its name, its inputs, and the selector that follows from them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Function {
    name: String,
    inputs: Vec<Param>,
    signature: String,
    selector: Selector,
}

impl Function {
    fn new(name: &str, inputs: Vec<Param>) -> Result<Self, AbiError> {
        if !is_identifier(name) {
            return Err(AbiError::BadName(super::text::clean(name, 64)));
        }
        if weight(&inputs) > MAX_WEIGHT {
            return Err(AbiError::TooMany { what: "values in the arguments", max: MAX_WEIGHT });
        }
        let mut signature = name.to_owned();
        // Writing to a String does not fail.
        let _ = write_params(&inputs, &mut signature, false);
        let [a, b, c, d, ..] = keccak256(&signature).0;
        let selector = Selector::new([a, b, c, d]);
        Ok(Self { name: name.to_owned(), inputs, signature, selector })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn inputs(&self) -> &[Param] {
        &self.inputs
    }

    /// The canonical signature, whose hash gives the selector: `transfer(address,uint256)`.
    pub fn signature(&self) -> &str {
        &self.signature
    }

    pub fn selector(&self) -> Selector {
        self.selector
    }

    /// Bytes of the fixed part of the arguments: where the tails of dynamic arguments begin.
    pub fn head_len(&self) -> usize {
        self.inputs.iter().map(|p| p.ty.head_words()).sum::<usize>() * 32
    }

    /// The words of the fixed part of the arguments, in order.
    pub fn head(&self) -> Vec<HeadWord<'_>> {
        let mut words = Vec::new();
        for (position, param) in self.inputs.iter().enumerate() {
            collect_head(&param_label("", &self.inputs, position), &param.ty, &mut words);
        }
        words
    }
}

/// The function with the names of its parameters: `transfer(address to, uint256 amount)`.
impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        write_params(&self.inputs, f, true)
    }
}

/// One 32-byte word of the fixed part of a call's arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadWord<'a> {
    /// How a condition names it: `to`, `order.amount`, `ids[2]`, or by position where there is no unique name.
    pub path: String,
    /// An elementary type, or a dynamic one whose offset stands here.
    pub ty: &'a AbiType,
}

fn collect_head<'a>(path: &str, ty: &'a AbiType, words: &mut Vec<HeadWord<'a>>) {
    match ty {
        AbiType::Tuple(members) if !ty.is_dynamic() => {
            for (position, member) in members.iter().enumerate() {
                collect_head(&param_label(&format!("{path}."), members, position), &member.ty, words);
            }
        }
        AbiType::FixedArray(item, len) if !ty.is_dynamic() => {
            for position in 0..*len {
                collect_head(&format!("{path}[{position}]"), item, words);
            }
        }
        _ => words.push(HeadWord { path: path.to_owned(), ty }),
    }
}

/// The name of a parameter among its siblings, or its position when it has no name of its own.
fn param_label(prefix: &str, siblings: &[Param], position: usize) -> String {
    match siblings.get(position) {
        Some(p) if !p.name.is_empty() && siblings.iter().filter(|s| s.name == p.name).count() == 1 => {
            format!("{prefix}{}", p.name)
        }
        _ => format!("{prefix}{position}"),
    }
}

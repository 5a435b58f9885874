//! Serialized approvals as text, whatever family they are of: base64 of JSON, read so that every complaint names its field and a
//! private key in it is never copied. With the key in it, such a text is a bearer secret: it is wiped after use.

mod json;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use zeroize::{Zeroize, Zeroizing};

pub use json::{Json, Node};

use crate::secret::{Secret, SecretError};

/// Most bytes of text that are read: room for 10,000 permissions.
pub const MAX_TEXT: usize = 8 << 20;
/// JSON values in one text, a bound on the memory that reading takes.
const MAX_VALUES: usize = 1_000_000;

/// Why a text is not read. Names the field, and never repeats a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    #[error(
        "the text has {length} bytes; a serialized approval has at most {MAX_TEXT}: check that this is the right file"
    )]
    TooLong { length: usize },
    #[error("there is no serialized approval here, only white space: check that the whole text was copied")]
    Empty,
    #[error("expected base64 or JSON, found a foreign character at byte {position}: copy the approval again")]
    NotBase64 { position: usize },
    #[error("the approval is cut off after {length} bytes: copy the whole text")]
    CutOff { length: usize },
    #[error(
        "the approval is not JSON inside (line {line}, column {column}): copy it again from the program that wrote it"
    )]
    NotJson { line: usize, column: usize },
    #[error(
        "the approval has more than {MAX_VALUES} values; none of a usable size does: check that this is the right file"
    )]
    TooManyValues,
    #[error("{path}: expected {expected}, found {found}; {advice}")]
    Field { path: String, expected: &'static str, found: String, advice: &'static str },
    #[error("{path}: {source}; ask the owner for the key again, or read the approval without it")]
    Secret { path: &'static str, source: SecretError },
}

/// Reads base64 (standard or url-safe, with or without padding) or its JSON, white space and quotes around it ignored. The caller
/// wipes `text`.
pub fn read<T, E: From<TextError>>(text: &str, read: impl FnOnce(&Node<'_, '_>) -> Result<T, E>) -> Result<T, E> {
    if text.len() > MAX_TEXT {
        return Err(TextError::TooLong { length: text.len() }.into());
    }
    let text = text.trim().trim_matches(['"', '\'', '`']).trim();
    if text.is_empty() {
        return Err(TextError::Empty.into());
    }
    if text.starts_with(['{', '[']) {
        return read_json(text.as_bytes(), read);
    }
    read_json(&decode_base64(text)?, read)
}

fn read_json<T, E: From<TextError>>(bytes: &[u8], read: impl FnOnce(&Node<'_, '_>) -> Result<T, E>) -> Result<T, E> {
    if bytes.iter().filter(|b| matches!(b, b',' | b'[' | b'{')).count() > MAX_VALUES {
        return Err(TextError::TooManyValues.into());
    }
    let json: Json<'_> = serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        serde_json::error::Category::Eof => TextError::CutOff { length: bytes.len() },
        _ => TextError::NotJson { line: error.line(), column: error.column() },
    })?;
    read(&Node::root(&json))
}

/// A private key that travels with its approval.
pub fn read_secret(root: &Node<'_, '_>, key: &'static str) -> Result<Option<Secret>, TextError> {
    let Some(field) = root.get(key) else { return Ok(None) };
    let text = field.text().ok_or(TextError::Secret { path: key, source: SecretError::NotHex })?;
    Secret::from_hex(text).map(Some).map_err(|source| TextError::Secret { path: key, source })
}

/// Base64 as people pass it around, also broken into lines. The result is wiped when dropped.
fn decode_base64(text: &str) -> Result<Zeroizing<Vec<u8>>, TextError> {
    const ENGINE: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::RequireNone),
    );
    let mut digits = Zeroizing::new(Vec::with_capacity(text.len()));
    for (position, byte) in text.trim_end_matches('=').bytes().enumerate() {
        match byte {
            b'-' => digits.push(b'+'),
            b'_' => digits.push(b'/'),
            b'+' | b'/' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => digits.push(byte),
            _ if byte.is_ascii_whitespace() => {}
            _ => return Err(TextError::NotBase64 { position }),
        }
    }
    let mut bytes = Zeroizing::new(vec![0; digits.len() / 4 * 3 + 3]);
    // All characters are of the alphabet: what is left to go wrong is an end in the middle of a byte.
    let length = ENGINE.decode_slice(&digits, &mut bytes).map_err(|_| TextError::CutOff { length: digits.len() })?;
    bytes.truncate(length);
    Ok(bytes)
}

/// Made at its final size, so that no smaller copy of the key is left behind by growing.
pub fn join_with_secret(before: &str, member: &str, secret: Option<&Secret>, after: &str) -> Zeroizing<String> {
    let digits = secret.map(Secret::to_hex);
    let digits = digits.as_ref().map(|digits| digits.as_str());
    let parts = match digits {
        Some(digits) => [before, ",\"", member, "\":\"", digits, "\"", after],
        None => [before, after, "", "", "", "", ""],
    };
    let mut text = Zeroizing::new(String::with_capacity(parts.iter().map(|part| part.len()).sum()));
    for part in parts {
        text.push_str(part);
    }
    text
}

/// The text as it is handed out.
pub fn encode_base64(json: &str) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new(vec![0u8; json.len().div_ceil(3) * 4]);
    // The buffer has the exact size of the result, and base64 is ASCII: neither step can fail.
    if STANDARD.encode_slice(json, &mut bytes).is_err() {
        bytes.zeroize();
    }
    Zeroizing::new(String::from_utf8(std::mem::take(&mut *bytes)).unwrap_or_default())
}

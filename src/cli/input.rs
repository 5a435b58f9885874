//! Files that arguments name, and standard input.

use std::{io::Read, path::Path};

use alloy::primitives::Bytes;

use crate::wallet::{
    error::{Error, Result},
    home::read_bounded,
};

/// Largest approval, batch or draft, in bytes.
pub const MAX_INPUT: u64 = 8 << 20;

/// The text of a file; `-` is standard input.
pub fn text(file: &str) -> Result<String> {
    if file != "-" {
        return read_bounded(Path::new(file), MAX_INPUT);
    }
    let mut text = String::new();
    std::io::stdin()
        .take(MAX_INPUT + 1)
        .read_to_string(&mut text)
        .map_err(|e| Error::failed("file.io", format!("standard input cannot be read as text: {e}")))?;
    if text.len() as u64 > MAX_INPUT {
        return Err(Error::usage("file.too_large", format!("standard input is larger than {MAX_INPUT} bytes")));
    }
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    Ok(text)
}

/// A signature that was made elsewhere.
pub fn signature(file: &Path) -> Result<Bytes> {
    let text = read_bounded(file, 4096)?;
    let digits = text.trim().trim_matches('"');
    digits.parse().map_err(|_| {
        Error::usage("signature.unreadable", format!("{}: expected a signature as hex, 65 or 64 bytes", file.display()))
    })
}

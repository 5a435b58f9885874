//! What is said of a key in a word or two, wherever it is listed.

use alloy::primitives::Selector;

use super::format;
use crate::wallet::{state::State as KeyState, usecase::key::KeyView};

/// Whether nothing more can come of the key.
pub const fn over(state: KeyState) -> bool {
    matches!(state, KeyState::Expired | KeyState::Revoked | KeyState::Dead | KeyState::Stale)
}

/// What the key may call, in a few letters.
pub fn may_call(key: &KeyView) -> String {
    match key.permissions.as_slice() {
        [] if key.partial_root.is_some() => "unknown".to_owned(),
        [] => "EVERYTHING".to_owned(),
        [only] => match key.functions.first() {
            Some(Some(signature)) => format::clean(&short_signature(signature)),
            _ if only.sig == Selector::ZERO => "0x00000000".to_owned(),
            _ => only.sig.to_string(),
        },
        several => format!("{} functions", several.len()),
    }
}

/// `mint(address)` of `mint(address to)`, without what it returns.
fn short_signature(signature: &str) -> String {
    let name = signature.split('(').next().unwrap_or(signature).trim_start_matches("function ");
    let arguments = signature.split_once('(').map_or("", |(_, rest)| rest);
    let count = if arguments.starts_with(')') { "()" } else { "(…)" };
    format!("{name}{count}")
}

//! Who decides over an account, and what can act for it, beside its owner and its session keys (R36): the words that every family
//! answers in.

use alloy::primitives::Address;
use serde::Serialize;

/// Whose an account is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Control {
    /// The owner on record decides, and nothing else is known that could.
    Ours,
    /// Something that is not understood can decide or act as well.
    Shared,
    /// The owner on record decides no more.
    Foreign,
}

/// Something that can act for an account, or decide over it, and is not understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remaining {
    /// In few words: `default validator`, `route of execute`, `key mint-bot`.
    pub what: String,
    pub address: Address,
    pub why: String,
}

/// `default validator 0x…: why; route of execute …`.
pub fn in_words(remaining: &[Remaining]) -> String {
    let words: Vec<String> = remaining.iter().map(|r| format!("{} {}: {}", r.what, r.address, r.why)).collect();
    words.join("; ")
}

/// `default validator 0x…, route of execute 0x…`.
pub fn in_brief(remaining: &[Remaining]) -> String {
    let words: Vec<String> = remaining.iter().map(|r| format!("{} {}", r.what, r.address)).collect();
    words.join(", ")
}

/// Why an account on chain is not the one on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTheSame {
    /// Its owner is another one.
    Owner(Address),
    /// No plain key owns it: its default validator is another one.
    NoOwner,
    /// It runs what is not known here.
    Implementation(Address),
}

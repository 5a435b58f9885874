//! What an owner asks for and what it means, in no contract's words: conditions on arguments, sentences, findings.

pub mod condition;
pub mod risk;
pub mod scope;
pub mod sentence;

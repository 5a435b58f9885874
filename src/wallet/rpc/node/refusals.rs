//! What the words of an endpoint's error are about: nodes say the same in many ways.

use serde_json::Value;

use crate::wallet::rpc::transport::{ChainError, RpcError};

pub(super) fn is_block_missing(answer: &Result<Value, ChainError>) -> bool {
    let Err(ChainError::Rpc(error)) = answer else { return false };
    let text = error.message.to_ascii_lowercase();
    ["header not found", "unknown block", "block not found", "header for hash not found", "could not find block"]
        .iter()
        .any(|words| text.contains(words))
}

/// What is not there (yet) is null with most endpoints, and an error with some.
pub fn none_if_not_there<T>(answer: Result<Option<T>, ChainError>) -> Result<Option<T>, ChainError> {
    match answer {
        Err(ChainError::Rpc(error)) if says_not_there(&error) => Ok(None),
        other => other,
    }
}

fn says_not_there(error: &RpcError) -> bool {
    let text = error.message.to_ascii_lowercase();
    // "method not found" is about the question.
    let not_there = ["not found", "not exist", "unknown transaction", "unknown user", "unknown block", "no such"];
    !text.contains("method")
        && !text.contains("revert")
        && (not_there.iter().any(|words| text.contains(words)) || text.contains("missing/invalid userophash"))
}

/// Whether an endpoint may have refused a call for an optional parameter that it does not know.
pub(super) fn refuses_a_parameter(error: &ChainError) -> bool {
    match error {
        ChainError::Rpc(error) => {
            let text = error.message.to_ascii_lowercase();
            let about =
                ["argument", "param", "pending", "block tag", "cannot unmarshal", "hex string", "invalid request"];
            !text.contains("revert") && (error.code == -32602 || about.iter().any(|words| text.contains(words)))
        }
        ChainError::HttpStatus { status, .. } => matches!(status, 400 | 422 | 500),
        _ => false,
    }
}

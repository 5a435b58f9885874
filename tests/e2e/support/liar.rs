//! A node that lies: a proxy in front of the real one, which hears each request and each true answer and may put its own in
//! the place. One JSON-RPC call of a batch is one request here, so a lie reaches batched and single calls alike.

use alloy::primitives::hex;
use serde_json::{Value, json};

use super::rpc::{self, RpcError};

/// What a node answers to one call.
pub type Answer = Result<Value, RpcError>;

pub struct Liar {
    /// `http://127.0.0.1:PORT`
    pub url: String,
}

impl Liar {
    /// Asks the node at `node_url`, and answers what `lie` makes of its answer: `lie(method, params, true_answer)`.
    ///
    /// It answers until this process ends. A lie that is told once, or from a moment on, keeps its own count or switch.
    pub fn start(node_url: &str, lie: impl Fn(&str, &Value, Answer) -> Answer + Send + Sync + 'static) -> Self {
        let node = node_url.to_owned();
        let url = rpc::serve(move |method, params| {
            let truth = rpc::call(&node, method, params.clone());
            lie(method, params, truth)
        });
        Self { url }
    }
}

/// Whether this is an `eth_call` of the function `selector` (`noncesCall::SELECTOR`): how a lie about one view is aimed.
pub fn is_call_of(method: &str, params: &Value, selector: [u8; 4]) -> bool {
    let call = &params[0];
    let data = call["input"].as_str().or_else(|| call["data"].as_str()).unwrap_or_default();
    method == "eth_call" && data.starts_with(&hex::encode_prefixed(selector))
}

/// The answer of a view function: what it returns, ABI-encoded (`noncesCall::abi_encode_returns`, `(1, 2).abi_encode()`).
pub fn returns(encoded: impl AsRef<[u8]>) -> Answer {
    Ok(json!(hex::encode_prefixed(encoded)))
}

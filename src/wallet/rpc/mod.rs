//! The clients of a chain: node, bundler and paymaster, over one JSON-RPC transport (docs/kernel-v2.md#bundlers-and-paymasters).
//!
//! ```text
//!   fees ──┬─ node ──────┐
//!          ├─ bundler ───┼─ answer ── transport ─┬─ http        a live endpoint
//!          └─ paymaster ─┘                       └─ in_process  the sandbox
//! ```
//! Nothing an endpoint says is believed because it said it: every answer is read field by field (`answer`), bounded in
//! size, compared with what we can compute ourselves, and every price is held under a ceiling (`fees`).
//! The address of an endpoint often carries an API key; only its scheme, host and port are ever shown.
//!
//! Our own client, because alloy's HTTP transport reads answers of any size, repeats addresses with their keys in its errors, and has no place for
//! the sandbox in this process.

pub mod address;
pub mod aggregate;
pub mod answer;
pub mod bundler;
pub mod facts;
pub mod fees;
pub mod http;
pub mod in_process;
pub mod node;
pub mod paymaster;
pub mod services;
pub mod transport;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod stub_server;

pub use bundler::{Bundler, Followed, Outcome, Rhythm, outcome_in};
pub use fees::{DEAR_GAS, FeeCeiling, Fees, Market, buffered, quote};
pub use http::Http;
pub use node::{At, CallRequest, Node, first_nonce};
pub use paymaster::{Paymaster, check_data};
pub use transport::{ChainError, Endpoint};

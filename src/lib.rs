//! keyleash: view, grant and revoke the session keys of ZeroDev Kernel smart accounts.
//!
//! ```text
//!  main ── cli ──┐
//!       └─ tui ──┴── wallet ── protocol, policy, erc4337, abi
//!                      ├── usecase  plan, preview, execute, proof
//!                      ├── submit   priced, signed, sent, followed
//!                      ├── records  SQLite
//!                      ├── vault    secrets: the OS keyring, sealed files
//!                      └── rpc      node, bundler, paymaster: over HTTP, or the sandbox in this process
//! ```
//! [`protocol`] and what stands beside it are pure. [`wallet`] is the shared core: each use-case is plan, preview, execute, proof. Front ends
//! call it, and use the protocol's words; its vault, its database and its RPC clients are private.
#![forbid(unsafe_code)]

pub mod abi;
pub mod cli;
pub mod erc4337;
#[cfg(test)]
#[path = "../tests/support/mutate.rs"]
mod mutate;
pub mod policy;
pub mod protocol;
pub mod sandbox;
pub mod secret;
pub mod text;
#[cfg(feature = "tui")]
pub mod tui;
pub mod wallet;

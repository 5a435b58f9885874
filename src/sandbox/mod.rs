//! A chain inside the process: the sandbox network on which everything works offline and without funds.
//!
//! - [`evm`]: blocks, accounts, transactions and time, over revm
//! - [`contracts`]: what is on the chain at genesis, at the addresses of the live contracts (`assets/sandbox/`)
//! - [`rpc`]: the JSON-RPC of a node, a bundler and a paymaster, answered from that chain
//!
//! A library without I/O, threads or a clock of its own: whoever holds a [`evm::Chain`] says what time it is and keeps it.

mod bundler;
pub mod contracts;
pub mod evm;
mod node;
mod paymaster;
pub mod rpc;
mod state;

/// The sandbox's chain id: "keyl" in ASCII. Registered for no network, so that what is signed here counts nowhere else.
pub const CHAIN_ID: u64 = 0x6b65_796c;

//! The families of session keys, pure: no I/O, no clock, no randomness, no async.

use alloy::{
    hex,
    primitives::{Address, B256, Bytes, U256},
};
use serde::Serialize;

pub mod family;
pub mod kernel_v2;
pub mod power;
pub mod probe;
pub mod query;
pub mod revocation;
pub mod status;

/// Which approval: the digest that its owner signs. Of one that only the chain shows, the hash of what the chain holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApprovalId(pub B256);

/// A call that an account makes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Call {
    pub to: Address,
    /// Wei.
    pub value: U256,
    pub data: Bytes,
}

/// One step of a plan, in words: the contract function that is called, and what that does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    pub call: String,
    pub effect: String,
}

/// A 65-byte signature for gas estimation. Well-formed, so that recovery yields some address and the real cost shows.
pub const DUMMY_SIGNATURE: [u8; 65] = hex!(
    "fffffffffffffffffffffffffffffff0000000000000000000000000000000007aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1c"
);

//! The families of session keys, pure: no I/O, no clock, no randomness, no async.

use alloy::primitives::B256;

pub mod family;
pub mod kernel_v2;
pub mod query;
pub mod status;

/// Which approval: the digest that its owner signs. Of one that only the chain shows, the hash of what the chain holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApprovalId(pub B256);

//! Allows everything, operations and signatures. It has no state: it may stand in a permission several times, and in a permission
//! that was revoked and approved again.

use alloy::primitives::Bytes;

pub(super) fn encode() -> Bytes {
    Bytes::new()
}

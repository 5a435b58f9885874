//! What a policy sees of an operation: the calldata it is called with, and slices of it that lead wherever pointers lead.
//!
//! A call policy follows the pointers of `execute` without looking where they lead (docs/kernel-v3.md#calls). What lies around the
//! account's calldata - the operation's other fields - is part of what it reads, and behind the end there are zeros.

use alloy::{
    primitives::{B256, Bytes, U256},
    sol_types::SolValue,
};

use crate::erc4337::v07::PackedUserOperation;

/// Where `checkUserOpPolicy(bytes32 id, PackedUserOperation op)` begins its operation: selector, id, offset.
const OP: usize = 4 + 32 + 32;

/// The calldata of `checkUserOpPolicy`.
pub(super) struct PolicyCall {
    bytes: Vec<u8>,
    /// Where the account's calldata begins, and how long it is.
    call_data: Slice,
}

/// Where something begins and how long it says it is, modulo 2^256, and not held against anything.
#[derive(Clone, Copy)]
pub(super) struct Slice {
    pub start: U256,
    pub length: U256,
}

impl Slice {
    /// Behind the first `count` bytes; `None` where it is shorter.
    pub fn skip(self, count: u64) -> Option<Self> {
        let count = U256::from(count);
        Some(Self { start: self.start.wrapping_add(count), length: self.length.checked_sub(count)? })
    }
}

impl PolicyCall {
    /// `segment` stands in the place of the signature.
    pub fn new(id: B256, op: &PackedUserOperation, segment: &[u8]) -> Self {
        let op = PackedUserOperation { signature: Bytes::copy_from_slice(segment), ..op.clone() };
        let mut bytes = vec![0; 4];
        bytes.extend_from_slice(id.as_slice());
        bytes.extend_from_slice(&U256::from(64).to_be_bytes::<32>());
        // Without the offset of its own that stands in front.
        bytes.extend_from_slice(op.abi_encode().get(32..).unwrap_or_default());
        let mut call = Self { bytes, call_data: Slice { start: U256::ZERO, length: U256::ZERO } };
        let op_at = U256::from(OP);
        let length_at = op_at.wrapping_add(call.word(op_at.wrapping_add(U256::from(3 * 32))));
        call.call_data = Slice { start: length_at.wrapping_add(U256::from(32)), length: call.word(length_at) };
        call
    }

    pub fn call_data(&self) -> Slice {
        self.call_data
    }

    pub fn size(&self) -> U256 {
        U256::from(self.bytes.len())
    }

    /// `calldataload`.
    pub fn word(&self, at: U256) -> U256 {
        U256::from_be_bytes(self.array::<32>(at))
    }

    /// So many bytes from there on, zeros behind the end.
    pub fn array<const N: usize>(&self, at: U256) -> [u8; N] {
        let mut out = [0; N];
        let Ok(at) = usize::try_from(at) else { return out };
        for (to, from) in out.iter_mut().zip(self.bytes.get(at..).unwrap_or_default()) {
            *to = *from;
        }
        out
    }

    /// `calldatacopy`. The caller bounds the length.
    pub fn copy(&self, at: U256, length: usize) -> Vec<u8> {
        let from = usize::try_from(at).ok().and_then(|at| self.bytes.get(at..)).unwrap_or_default();
        let mut out: Vec<u8> = from.iter().take(length).copied().collect();
        out.resize(length, 0);
        out
    }
}

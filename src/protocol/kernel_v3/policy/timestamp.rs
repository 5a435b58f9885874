//! A window for operations. Signatures are not bound by it, not even after its end.

use alloy::{
    primitives::{Bytes, aliases::U48},
    sol_types::SolValue,
};

use super::super::canonical::Cursor;
use crate::policy::scope::MAX_UINT48;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Timestamp {
    /// Unix seconds, inclusive; 0 = at once.
    pub valid_after: u64,
    /// Unix seconds, inclusive; 0 = never expires.
    pub valid_until: u64,
}

impl Timestamp {
    /// `abi.encode(uint48, uint48)`; of each number the low 48 bits.
    pub fn encode(&self) -> Bytes {
        let number = |n: u64| U48::from(n & MAX_UINT48);
        (number(self.valid_after), number(self.valid_until)).abi_encode().into()
    }

    pub fn decode(data: &[u8]) -> Option<Self> {
        Cursor::whole(data, Self::read)
    }

    fn read(cursor: &mut Cursor<'_>) -> Option<Self> {
        let mut number = || cursor.number::<u64>().filter(|n| *n <= MAX_UINT48);
        Some(Self { valid_after: number()?, valid_until: number()? })
    }

    /// Whether the contract takes the data, whatever stands behind it.
    pub(super) fn is_readable(data: &[u8]) -> bool {
        Self::read(&mut Cursor::new(data)).is_some()
    }
}

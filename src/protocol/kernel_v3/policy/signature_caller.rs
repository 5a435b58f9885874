//! Who may ask for a signature of the account (ERC-1271). It allows every operation, and with an empty list no signature.

use alloy::{
    primitives::{Address, Bytes, U256},
    sol_types::SolValue,
};

use super::super::canonical::Cursor;

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct SignatureCallers {
    /// `msg.sender` of `isValidSignature`.
    pub allowed: Vec<Address>,
}

impl SignatureCallers {
    /// `abi.encode(address[])`.
    pub fn encode(&self) -> Bytes {
        self.allowed.abi_encode().into()
    }

    pub fn decode(data: &[u8]) -> Option<Self> {
        Cursor::whole(data, |cursor| {
            cursor.offset(32)?;
            Some(Self { allowed: cursor.list(Cursor::address)? })
        })
    }

    /// Whether the contract takes the data: as its decoder does, which follows the pointer wherever it leads within the data.
    pub(super) fn is_readable(data: &[u8]) -> bool {
        let word = |at: usize| at.checked_add(32).and_then(|end| data.get(at..end)).map(U256::from_be_slice);
        let read = || {
            let pointer: usize = word(0)?.try_into().ok()?;
            let length: usize = word(pointer)?.try_into().ok()?;
            let start = pointer.checked_add(32)?;
            let end = start.checked_add(length.checked_mul(32)?)?;
            let items = data.get(start..end)?;
            let clean = |item: &[u8]| item.iter().take(12).all(|byte| *byte == 0);
            items.chunks_exact(32).all(clean).then_some(())
        };
        read().is_some()
    }
}

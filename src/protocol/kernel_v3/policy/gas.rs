//! A budget for gas, subtracted at its maximum by every operation, also when a paymaster pays.

use alloy::{
    primitives::{Address, Bytes},
    sol_types::SolValue,
};

use super::super::canonical::Cursor;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct GasPolicy {
    /// Wei in all: (preVerificationGas + verificationGasLimit + callGasLimit) x maxFeePerGas of each operation. 0 = no operation
    /// that costs anything ever passes.
    pub allowed: u128,
    /// Without it `allowed_paymaster` is not looked at.
    pub enforce_paymaster: bool,
    /// The zero address enforces nothing.
    pub allowed_paymaster: Address,
}

impl GasPolicy {
    /// `abi.encode(uint128, bool, address)`.
    pub fn encode(&self) -> Bytes {
        (self.allowed, self.enforce_paymaster, self.allowed_paymaster).abi_encode().into()
    }

    pub fn decode(data: &[u8]) -> Option<Self> {
        Cursor::whole(data, Self::read)
    }

    fn read(cursor: &mut Cursor<'_>) -> Option<Self> {
        Some(Self {
            allowed: cursor.number()?,
            enforce_paymaster: cursor.bool()?,
            allowed_paymaster: cursor.address()?,
        })
    }

    /// Whether the contract takes the data, whatever stands behind it.
    pub(super) fn is_readable(data: &[u8]) -> bool {
        Self::read(&mut Cursor::new(data)).is_some()
    }

    /// The paymaster that has to be used, where one has to be.
    pub fn required_paymaster(&self) -> Option<Address> {
        (self.enforce_paymaster && !self.allowed_paymaster.is_zero()).then_some(self.allowed_paymaster)
    }
}

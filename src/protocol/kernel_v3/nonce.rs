//! The nonce of a UserOperation, which says who validates it and how (docs/kernel-v3.md#operation-nonce), and the ids of those who
//! can: 21 bytes of a validation, 4 of a permission.

use std::{fmt, str::FromStr};

use alloy::primitives::{Address, B256, FixedBytes, U256, keccak256};
use serde::{Deserialize, Serialize};

/// A permission's name: the first four bytes of the hash of its scope, where its owner did not choose others.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PermissionId(pub FixedBytes<4>);

impl PermissionId {
    /// `02 ‖ id ‖ 16 zero bytes`.
    pub fn validation_id(self) -> ValidationId {
        ValidationId::new(ValidationType::Permission, self.identifier())
    }

    /// The id and 16 zero bytes, as it stands in an operation's nonce.
    pub fn identifier(self) -> FixedBytes<20> {
        self.0.concat_const::<16, 20>(FixedBytes::ZERO)
    }

    /// The id as policies and signers are asked with it: `id ‖ 28 zero bytes`.
    pub fn word(self) -> B256 {
        self.0.concat_const::<28, 32>(FixedBytes::ZERO)
    }
}

/// Who validates: a type and 20 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ValidationId(pub FixedBytes<21>);

impl ValidationId {
    /// The root of an EOA that has delegated itself (EIP-7702): its own key.
    pub const EIP7702_ROOT: Self = Self(FixedBytes::ZERO);

    pub fn new(kind: ValidationType, identifier: FixedBytes<20>) -> Self {
        Self(FixedBytes([kind.code()]).concat_const::<20, 21>(identifier))
    }

    /// `01 ‖ validator20`.
    pub fn of_validator(validator: Address) -> Self {
        Self::new(ValidationType::Validator, validator.0)
    }

    pub fn kind(self) -> ValidationType {
        let [kind, ..] = self.0.0;
        ValidationType::from_code(kind)
    }

    pub fn identifier(self) -> FixedBytes<20> {
        let [_, identifier @ ..] = self.0.0;
        identifier.into()
    }

    /// The permission's id. `None` for another type, and for one whose other 16 bytes are not zero: a lookup by it is the same
    /// permission, an approval of it is refused.
    pub fn permission(self) -> Option<PermissionId> {
        let [_, a, b, c, d, rest @ ..] = self.0.0;
        let is_plain = self.kind() == ValidationType::Permission && rest == [0; 16];
        is_plain.then_some(PermissionId(FixedBytes([a, b, c, d])))
    }

    /// The validator's address.
    pub fn validator(self) -> Option<Address> {
        (self.kind() == ValidationType::Validator).then(|| Address(self.identifier()))
    }
}

/// What a validation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ValidationType {
    /// Whatever the account's root is; the identifier is not read.
    Root,
    Validator,
    Permission,
    Unknown(u8),
}

impl ValidationType {
    pub const fn code(self) -> u8 {
        match self {
            Self::Root => 0,
            Self::Validator => 1,
            Self::Permission => 2,
            Self::Unknown(code) => code,
        }
    }

    pub const fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Root,
            1 => Self::Validator,
            2 => Self::Permission,
            code => Self::Unknown(code),
        }
    }
}

/// Whether an operation enables its key first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mode {
    Use,
    Enable,
    /// The account takes any other byte for [`Self::Use`].
    Unknown(u8),
}

impl Mode {
    pub const fn code(self) -> u8 {
        match self {
            Self::Use => 0,
            Self::Enable => 1,
            Self::Unknown(code) => code,
        }
    }

    pub const fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Use,
            1 => Self::Enable,
            code => Self::Unknown(code),
        }
    }
}

/// `mode1 ‖ type1 ‖ identifier20 ‖ lane2 ‖ sequence8`. All but the sequence is the key: each key has a sequence of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OperationNonce {
    pub mode: Mode,
    pub kind: ValidationType,
    pub identifier: FixedBytes<20>,
    /// Operations in different lanes need not wait for each other.
    pub lane: u16,
    pub sequence: u64,
}

impl OperationNonce {
    /// Of a permission, in lane 0 at sequence 0.
    pub fn of_permission(mode: Mode, id: PermissionId) -> Self {
        Self { mode, kind: ValidationType::Permission, identifier: id.identifier(), lane: 0, sequence: 0 }
    }

    /// Of the root, in lane 0 at sequence 0. The account does not read the identifier; the SDKs write the validator's address.
    pub fn of_root(identifier: FixedBytes<20>) -> Self {
        Self { mode: Mode::Use, kind: ValidationType::Root, identifier, lane: 0, sequence: 0 }
    }

    pub fn encode(&self) -> U256 {
        let mut bytes = [0; 32];
        let parts = [self.mode.code(), self.kind.code()]
            .into_iter()
            .chain(self.identifier)
            .chain(self.lane.to_be_bytes())
            .chain(self.sequence.to_be_bytes());
        for (byte, part) in bytes.iter_mut().zip(parts) {
            *byte = part;
        }
        U256::from_be_bytes(bytes)
    }

    pub fn decode(nonce: U256) -> Self {
        let [mode, kind, rest @ ..] = nonce.to_be_bytes::<32>();
        let (identifier, tail) = rest.split_at(20);
        let number = |bytes: &[u8]| bytes.iter().fold(0u64, |n, byte| n << 8 | u64::from(*byte));
        let (lane, sequence) = tail.split_at(2);
        Self {
            mode: Mode::from_code(mode),
            kind: ValidationType::from_code(kind),
            identifier: FixedBytes::from_slice(identifier),
            lane: number(lane) as u16,
            sequence: number(sequence),
        }
    }

    /// What `EntryPoint.getNonce(sender, key)` is asked with.
    pub fn key(&self) -> U256 {
        self.encode() >> 64
    }

    /// Who validates. Of a permission's identifier the account reads four bytes only.
    pub fn validation_id(&self) -> ValidationId {
        ValidationId::new(self.kind, self.identifier)
    }

    /// The permission that the account looks up, whatever the other 16 bytes of the identifier are.
    pub fn permission(&self) -> Option<PermissionId> {
        let [a, b, c, d, ..] = self.identifier.0;
        (self.kind == ValidationType::Permission).then_some(PermissionId(FixedBytes([a, b, c, d])))
    }
}

/// The lane that the SDKs take for a name: the first two bytes of its hash.
pub fn lane_of_name(name: &str) -> u16 {
    let [high, low, ..] = keccak256(name).0;
    u16::from_be_bytes([high, low])
}

macro_rules! shown_in_hex {
    ($($name:ident),*) => { $(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = alloy::hex::FromHexError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )* };
}

shown_in_hex!(PermissionId, ValidationId);

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::fixed_bytes;

    #[test]
    fn any_nonce_reads_back() {
        for nonce in [U256::ZERO, U256::MAX, U256::from_be_bytes(keccak256("nonce").0)] {
            assert_eq!(OperationNonce::decode(nonce).encode(), nonce);
        }
    }

    #[test]
    fn an_id_with_a_tail_is_looked_up_as_the_permission_and_is_none_to_approve() {
        let id = PermissionId(fixed_bytes!("11223344"));
        let plain = OperationNonce::of_permission(Mode::Enable, id);
        assert_eq!(plain.validation_id().permission(), Some(id));
        let mut tailed = plain;
        tailed.identifier.0[19] = 1;
        assert_eq!((tailed.permission(), tailed.validation_id().permission()), (Some(id), None));
        assert_ne!(tailed.key(), plain.key());
        assert_eq!(OperationNonce::of_root(FixedBytes::ZERO).permission(), None);
    }

    #[test]
    fn ids_are_shown_as_they_are_read() {
        let id = PermissionId(fixed_bytes!("0a0b0c0d"));
        assert_eq!((id.to_string().as_str(), id.to_string().parse()), ("0x0a0b0c0d", Ok(id)));
        assert_eq!(id.validation_id().to_string(), "0x020a0b0c0d00000000000000000000000000000000");
        assert_eq!(serde_json::to_value(id).unwrap(), "0x0a0b0c0d");
        let root = ValidationId::of_validator(Address::repeat_byte(7));
        assert_eq!((root.validator(), root.permission()), (Some(Address::repeat_byte(7)), None));
    }
}

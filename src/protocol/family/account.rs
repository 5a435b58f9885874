//! An account of any family: which version of the contract it runs, how it is made, and which of its functions a key is opened for.

use std::fmt;

use alloy::primitives::{Address, Bytes, Selector, U256};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::Family;
use crate::protocol::kernel_v2::{
    account::{AccountSeed, selector},
    generation::{ECDSA_VALIDATOR, Generation, KERNEL_FACTORY, KernelVersion},
};

/// A released implementation of the account. Stored and shown by its name, as in `0.2.4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    KernelV2(KernelVersion),
}

impl Version {
    /// What a new account is made with unless its owner says otherwise.
    pub const DEFAULT: Self = Self::KernelV2(KernelVersion::DEFAULT);

    pub fn all() -> impl Iterator<Item = Self> {
        KernelVersion::ALL.into_iter().map(Self::KernelV2)
    }

    /// `None`: this version of keyleash knows no such version.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|version| version.name() == name)
    }

    pub fn of_implementation(address: Address) -> Option<Self> {
        Self::all().find(|version| version.implementation() == address)
    }

    /// Of the account that an initCode makes.
    pub fn of_init_code(init_code: &[u8]) -> Option<Self> {
        AccountSeed::from_init_code(init_code).and_then(|(_, implementation)| Self::of_implementation(implementation))
    }

    pub const fn family(self) -> Family {
        match self {
            Self::KernelV2(_) => Family::KernelV2,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::KernelV2(version) => version.as_str(),
        }
    }

    pub const fn implementation(self) -> Address {
        match self {
            Self::KernelV2(version) => version.implementation(),
        }
    }

    /// Whether several calls can be made in one operation.
    pub const fn has_batch(self) -> bool {
        match self {
            Self::KernelV2(version) => version.has_batch(),
        }
    }

    /// Whether delegatecalls are made at all.
    pub const fn has_delegate_call(self) -> bool {
        match self {
            Self::KernelV2(version) => version.has_delegate_call(),
        }
    }

    /// Whether a session key can be held to its scope on it.
    pub const fn is_safe_for_session_keys(self) -> bool {
        match self {
            Self::KernelV2(version) => version.is_safe_for_session_keys(),
        }
    }

    /// Where an account made from this seed lives, on every chain.
    pub fn address_of(self, seed: Seed) -> Address {
        match self {
            Self::KernelV2(_) => AccountSeed::from(seed).address(),
        }
    }

    /// `factory ‖ its call`, for the first operation of an account made from this seed.
    pub fn init_code(self, seed: Seed) -> Bytes {
        match self {
            Self::KernelV2(version) => AccountSeed::from(seed).init_code(version),
        }
    }

    /// How the account there came to be, if the factory made it for this owner: the SDKs count indices from 0.
    pub fn seed_of(self, address: Address, owner: Address) -> Option<Seed> {
        const TRIED: u64 = 64;
        let seeds = (0..TRIED).map(|index| Seed { owner, index: U256::from(index) });
        seeds.into_iter().find(|seed| self.address_of(*seed) == address)
    }
}

impl From<KernelVersion> for Version {
    fn from(version: KernelVersion) -> Self {
        Self::KernelV2(version)
    }
}

#[cfg(test)]
impl Version {
    pub const fn kernel_v2(self) -> KernelVersion {
        let Self::KernelV2(version) = self;
        version
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let name = String::deserialize(d)?;
        Self::named(&name).ok_or_else(|| D::Error::custom("no version of an account that is known"))
    }
}

/// What an account is made from: its owner, and a number that tells the owner's accounts apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed {
    pub owner: Address,
    pub index: U256,
}

impl From<Seed> for AccountSeed {
    fn from(seed: Seed) -> Self {
        Self { owner: seed.owner, index: seed.index }
    }
}

/// A function of the account that a key can be opened for, as policies name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AccountFunction {
    Execute,
    ExecuteBatch,
    ExecuteDelegateCall,
}

impl AccountFunction {
    pub const ALL: [Self; 3] = [Self::Execute, Self::ExecuteBatch, Self::ExecuteDelegateCall];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Execute => "execute",
            Self::ExecuteBatch => "executeBatch",
            Self::ExecuteDelegateCall => "executeDelegateCall",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|function| function.name() == name)
    }
}

impl Family {
    pub const fn selector_of(self, function: AccountFunction) -> Selector {
        match (self, function) {
            (Self::KernelV2, AccountFunction::Execute) => selector::EXECUTE,
            (Self::KernelV2, AccountFunction::ExecuteBatch) => selector::EXECUTE_BATCH,
            (Self::KernelV2, AccountFunction::ExecuteDelegateCall) => selector::EXECUTE_DELEGATE_CALL,
        }
    }

    /// `None`: another function than policies name.
    pub fn function_of(self, selector: Selector) -> Option<AccountFunction> {
        AccountFunction::ALL.into_iter().find(|function| self.selector_of(*function) == selector)
    }

    /// The contracts that a network needs for session keys of this family, with what they are called.
    pub fn contracts(self) -> Vec<(&'static str, Address)> {
        match self {
            Self::KernelV2 => vec![
                ("KernelFactory", KERNEL_FACTORY),
                ("ECDSAValidator", ECDSA_VALIDATOR),
                ("SessionKeyValidator G2", Generation::G2.address()),
                ("Kernel 0.2.4", KernelVersion::V0_2_4.implementation()),
            ],
        }
    }
}

/// What a contract is to every account of a family, where it is a part of one: no key should be allowed to call it.
pub fn part_of_accounts(address: Address) -> Option<String> {
    match address {
        ECDSA_VALIDATOR => return Some("the validator that holds the account's owner".into()),
        KERNEL_FACTORY => return Some("the account factory".into()),
        _ => {}
    }
    let validator = Generation::from_address(address).map(|g| format!("the session key validator {g}"));
    let implementation = || Version::of_implementation(address).map(|v| format!("the implementation of Kernel {v}"));
    validator.or_else(implementation)
}

//! Which family of session keys something is of, and what each answers: the seam. Above it, only the discovery of keys matches on the
//! family.
//!
//! The large words (an approval, a snapshot, a subject of a proof …) are enums with one variant a family; their methods ask it.

pub mod account;
pub mod approval;
pub mod blob;
pub mod enable;
pub mod envelope;
pub mod grant;
pub mod recognised;
pub mod revocation;
pub mod snapshot;
pub mod status;

use std::fmt;

use alloy::primitives::{Address, B256, Bytes};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{
    AccountCall,
    kernel_v2::{
        generation::Generation,
        merkle::{Tree, verify},
        signature,
    },
};
use crate::{erc4337::v06::UserOperation, policy::scope::Permission};

/// Stored and shown by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    KernelV2,
}

impl Family {
    pub const ALL: [Self; 1] = [Self::KernelV2];

    pub const fn name(self) -> &'static str {
        match self {
            Self::KernelV2 => "kernel-v2",
        }
    }

    /// `None`: this version knows no such family.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.name() == name)
    }

    /// Of the account that makes this operation: that of EntryPoint v0.6, the only one that is sent to.
    pub const fn of(_: &UserOperation) -> Self {
        Self::KernelV2
    }

    /// The calldata of an operation of the account.
    pub fn encode(self, call: &AccountCall) -> Bytes {
        match self {
            Self::KernelV2 => call.encode(),
        }
    }

    /// What the calldata of an operation calls. What is not well-formed stays [`AccountCall::Other`].
    pub fn decode(self, call_data: &[u8]) -> AccountCall {
        match self {
            Self::KernelV2 => AccountCall::decode(call_data),
        }
    }

    /// The signature of an operation, made of the owner's over its hash.
    pub fn owner_envelope(self) -> &'static (dyn Fn(&[u8; 65]) -> Bytes + Sync) {
        match self {
            Self::KernelV2 => &signature::sudo,
        }
    }
}

/// The contract that enforces a session key's scope, where a family has several builds of it. Stored and shown by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Validator {
    KernelV2(Generation),
}

impl Validator {
    /// What is granted on where an account uses none yet.
    pub const DEFAULT: Self = Self::KernelV2(Generation::DEFAULT);

    pub const fn family(self) -> Family {
        match self {
            Self::KernelV2(_) => Family::KernelV2,
        }
    }

    pub const fn address(self) -> Address {
        match self {
            Self::KernelV2(generation) => generation.address(),
        }
    }

    /// `G2`, or its address.
    pub fn named(name: &str) -> Option<Self> {
        let generation = Generation::ALL.into_iter().find(|generation| generation.to_string() == name);
        let of_address = || name.parse().ok().and_then(Generation::from_address);
        generation.or_else(of_address).map(Self::KernelV2)
    }

    /// Whether a permission may leave the contract open.
    pub const fn has_any_target(self) -> bool {
        match self {
            Self::KernelV2(generation) => generation.has_any_target(),
        }
    }

    /// Whether it tells delegatecalls from calls.
    pub const fn knows_operation(self) -> bool {
        match self {
            Self::KernelV2(generation) => generation.knows_operation(),
        }
    }

    /// Whether a call without data, a plain transfer, can match a permission.
    pub const fn allows_empty_calls(self) -> bool {
        match self {
            Self::KernelV2(generation) => generation.allows_empty_calls(),
        }
    }
}

impl Validator {
    /// Whether these permissions rebuild the root that was signed; with `proofs`, of some of them, whether each belongs to it.
    pub fn permissions_fit(self, permissions: &[Permission], proofs: Option<&[Vec<B256>]>, root: B256) -> bool {
        let Self::KernelV2(generation) = self;
        match proofs {
            None => Tree::new(permissions, generation).root() == root,
            Some(proofs) => {
                proofs.len() == permissions.len()
                    && permissions.iter().zip(proofs).all(|(p, proof)| verify(root, p.leaf(generation), proof))
            }
        }
    }
}

#[cfg(test)]
impl Validator {
    pub const fn generation(self) -> Generation {
        let Self::KernelV2(generation) = self;
        generation
    }
}

impl From<Generation> for Validator {
    fn from(generation: Generation) -> Self {
        Self::KernelV2(generation)
    }
}

impl fmt::Display for Validator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KernelV2(generation) => generation.fmt(f),
        }
    }
}

impl Serialize for Validator {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Validator {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let name = String::deserialize(d)?;
        Self::named(&name).ok_or_else(|| D::Error::custom("no validator that is known"))
    }
}

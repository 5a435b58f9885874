//! Which family of session keys something is of, and what each answers: the only file that matches on the family.

use alloy::primitives::Bytes;

use super::{AccountCall, kernel_v2::signature};
use crate::erc4337::v06::UserOperation;

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

    /// Of the account that makes this operation, by the EntryPoint that it is for.
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

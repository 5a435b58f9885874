//! The known contracts, and what each deployed generation of them can and cannot do (docs/kernel-v2.md#validator-generations).

use alloy::primitives::{Address, B256, address, b256};
use serde::{Deserialize, Serialize};

use crate::protocol::family::Family;

pub const KERNEL_FACTORY: Address = address!("5de4839a76cf55d0c90e2061ef4386d962E15ae3");
pub const ECDSA_VALIDATOR: Address = address!("d9AB5096a832b9ce79914329DAEE236f8Eea0390");
pub const DETERMINISTIC_DEPLOYER: Address = address!("4e59b44847b379578588920ca78fbf26c0b4956c");

/// A deployed SessionKeyValidator. Read from its address and code hash, never assumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Generation {
    G1,
    G2,
    G3,
}

impl Generation {
    pub const ALL: [Self; 3] = [Self::G1, Self::G2, Self::G3];

    /// What is granted on where the account routes to none yet.
    pub const DEFAULT: Self = Self::G2;

    pub const fn family(self) -> Family {
        Family::KernelV2
    }

    pub const fn address(self) -> Address {
        match self {
            Self::G1 => address!("B8E3c4bEaACAd06f6092793012DA4a8cB23D6123"),
            Self::G2 => address!("5C06CE2b673fD5E6e56076e40DD46aB67f5a72A5"),
            Self::G3 => address!("8Df2bf61F849676f00C6883743E077d391da1dDA"),
        }
    }

    /// keccak256 of the runtime code.
    pub const fn code_hash(self) -> B256 {
        match self {
            Self::G1 => b256!("8a96fa99ce21eb900e1143d057c126976857c9e47dac34a6434cead666ebba0b"),
            Self::G2 => b256!("2bfdb84fd9a7596e10f491e06bbf5f8b0a7d948834a4047687923604efb8be56"),
            Self::G3 => b256!("6b4cb7b9776eaf2d406c71260210c28b1d37283a9f2a3508b97e944adea69211"),
        }
    }

    pub fn from_address(address: Address) -> Option<Self> {
        Self::ALL.into_iter().find(|g| g.address() == address)
    }

    /// Whether target `0x0` stands for any contract. On G1 it is the literal zero address.
    pub const fn has_any_target(self) -> bool {
        !matches!(self, Self::G1)
    }

    /// Whether the leaf has the `operation` field and the validator knows `executeDelegateCall`.
    pub const fn knows_operation(self) -> bool {
        !matches!(self, Self::G1)
    }

    /// Whether a call without data matches a permission of selector zero; the others read four bytes that are not there.
    pub const fn allows_empty_calls(self) -> bool {
        matches!(self, Self::G3)
    }

    /// Whether `disable(16 bytes n)` with `n < lastNonce` rewinds `lastNonce` and revives used approvals.
    pub const fn sweep_can_rewind(self) -> bool {
        !matches!(self, Self::G3)
    }
}

impl std::fmt::Display for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::G1 => "G1",
            Self::G2 => "G2",
            Self::G3 => "G3",
        })
    }
}

/// A released Kernel 2.x implementation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum KernelVersion {
    #[serde(rename = "0.2.1")]
    V0_2_1,
    #[serde(rename = "0.2.2")]
    V0_2_2,
    #[serde(rename = "0.2.3")]
    V0_2_3,
    #[serde(rename = "0.2.4")]
    V0_2_4,
}

impl KernelVersion {
    pub const ALL: [Self; 4] = [Self::V0_2_1, Self::V0_2_2, Self::V0_2_3, Self::V0_2_4];

    pub const fn family(self) -> Family {
        Family::KernelV2
    }

    /// What a new account is deployed with unless the owner says otherwise.
    pub const DEFAULT: Self = Self::V0_2_4;

    pub const fn implementation(self) -> Address {
        match self {
            Self::V0_2_1 => address!("f048AD83CB2dfd6037A43902a2A5Be04e53cd2Eb"),
            Self::V0_2_2 => address!("0DA6a956B9488eD4dd761E59f52FDc6c8068E6B5"),
            Self::V0_2_3 => address!("D3F582F6B4814E989Ee8E96bc3175320B5A540ab"),
            Self::V0_2_4 => address!("d3082872F8B06073A021b4602e022d5A070d7cfC"),
        }
    }

    pub fn from_implementation(address: Address) -> Option<Self> {
        Self::ALL.into_iter().find(|v| v.implementation() == address)
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|v| v.as_str() == text)
    }

    /// The version in the EIP-712 domain that the deployed code checks.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V0_2_1 => "0.2.1",
            Self::V0_2_2 => "0.2.2",
            Self::V0_2_3 => "0.2.3",
            Self::V0_2_4 => "0.2.4",
        }
    }

    /// 0.2.1 accepts `executeBatch` and does nothing.
    pub const fn has_batch(self) -> bool {
        !matches!(self, Self::V0_2_1)
    }

    /// Whether `executeDelegateCall` does anything; on older kernels the operation is mined with success and nothing happens.
    pub const fn has_delegate_call(self) -> bool {
        matches!(self, Self::V0_2_3 | Self::V0_2_4)
    }

    /// On 0.2.1 `execute(op = 1)` really delegatecalls while no validator checks it there: no key is safe.
    pub const fn is_safe_for_session_keys(self) -> bool {
        !matches!(self, Self::V0_2_1)
    }
}

impl std::fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

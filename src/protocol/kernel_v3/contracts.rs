//! The known contracts, and what each released Kernel 3.x can and cannot do (docs/kernel-v3.md#contracts).

use alloy::primitives::{Address, B256, address, b256};
use serde::{Deserialize, Serialize};

/// Deploys accounts through the factory of a version, and is staked at the EntryPoint.
pub const META_FACTORY: Address = address!("d703aaE79538628d27099B8c4f621bE4CCd142d5");
/// The owner as root: one secp256k1 key. Kernel 3.1 and later.
pub const ECDSA_VALIDATOR: Address = address!("845ADb2C711129d4f3966735eD98a9F09fC4cE57");
/// The same for Kernel 3.0, whose hooks have another interface.
pub const ECDSA_VALIDATOR_3_0: Address = address!("8104e3Ad430EA6d354d013A6789fDFc71E671c43");
/// Its owner signs several chains' approvals at once: read, and as a root not supported (docs/kernel-v3.md#multi-chain-approvals).
pub const MULTI_CHAIN_ECDSA_VALIDATOR: Address = address!("5C97aA67Ba578E3c54ec5942A7563Ea9130E4f5F");
/// A session key that is one secp256k1 key.
pub const ECDSA_SIGNER: Address = address!("6A6F069E2a08c2468e7724Ab3250CdBFBA14D4FF");
pub const GAS_POLICY: Address = address!("aeFC5AbC67FfD258abD0A3E54f65E70326F84b23");
pub const SUDO_POLICY: Address = address!("67b436caD8a6D025DF6C82C5BB43fbF11fC5B9B7");
pub const TIMESTAMP_POLICY: Address = address!("B9f8f524bE6EcD8C945b1b87f9ae5C192FdCE20F");
pub const RATE_LIMIT_POLICY: Address = address!("f63d4139B25c836334edD76641356c6b74C86873");
pub const SIGNATURE_CALLER_POLICY: Address = address!("F6A936c88D97E6fad13b98d2FD731Ff17eeD591d");
/// Counts anew in every window. Not in public data: known by name, never taken for a limit.
pub const RATE_LIMIT_WITH_RESET_POLICY: Address = address!("6A06358E6b283921DECEAbe7e8A3741d506ccA9B");
/// A hook that lets the EntryPoint alone through; SDKs set it for other account functions on Kernel 3.0.
pub const ONLY_ENTRY_POINT_HOOK: Address = address!("b230f0A1C7C95fa11001647383c8C7a8F316b900");
/// Deploys contracts in a delegatecall.
pub const CREATE_CALL: Address = address!("9b35Af71d77eaf8d7e40252370304687390A1A52");

/// What is recognised and not supported: shown by its name, judged as a contract that nobody knows.
const NAMED: [(Address, &str); 12] = [
    (address!("8AA55d4BfAE101609078681A69B5bc3181516612"), "WebAuthn signer 0.0.1 (vulnerable)"),
    (address!("58625164e306242c7613223bDeb68fbe11300606"), "WebAuthn signer 0.0.2 (vulnerable)"),
    (address!("615d8641B6Ce9406DE7c3C01f57c552Ab3A96f83"), "WebAuthn signer 0.0.3 (vulnerable)"),
    (address!("65DEeC8fEe717dc044D0CFD63cCf55F02cCaC2b3"), "WebAuthn signer 0.0.4"),
    (RATE_LIMIT_WITH_RESET_POLICY, "rate limit with reset"),
    (MULTI_CHAIN_ECDSA_VALIDATOR, "multi-chain ECDSA validator"),
    (address!("56Bf68A3Eb0b95A4EC0880E5F39Cf45CF58dAe70"), "multi-chain WebAuthn validator (old)"),
    (address!("F98365FAD8403C340b1D5F017b2EBdaE641104ff"), "multi-chain WebAuthn validator"),
    (address!("eD89244160CfE273800B58b1B534031699dFeEEE"), "weighted ECDSA validator"),
    (address!("E264dCCc54e4b6906c0D1Fee11D4326c06D33c80"), "Kernel 0.3.3 beta"),
    (address!("E30c76Dc9eCF1c19F6Fec070674E1b4eFfE069FA"), "factory of Kernel 0.3.3 beta"),
    (address!("03EB97959433D55748839D27C93330Cb85F31A93"), "migration from Kernel v2 to v3"),
];

/// The name of a contract that is known and not supported.
pub fn unsupported_name(address: Address) -> Option<&'static str> {
    NAMED.iter().find(|(known, _)| *known == address).map(|(_, name)| *name)
}

/// A released Kernel 3.x implementation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum KernelVersion {
    #[serde(rename = "0.3.0")]
    V3_0,
    #[serde(rename = "0.3.1")]
    V3_1,
    #[serde(rename = "0.3.2")]
    V3_2,
    #[serde(rename = "0.3.3")]
    V3_3,
}

impl KernelVersion {
    pub const ALL: [Self; 4] = [Self::V3_0, Self::V3_1, Self::V3_2, Self::V3_3];

    pub const fn implementation(self) -> Address {
        match self {
            Self::V3_0 => address!("94F097E1ebEB4ecA3AAE54cabb08905B239A7D27"),
            Self::V3_1 => address!("BAC849bB641841b44E965fB01A4Bf5F074f84b4D"),
            Self::V3_2 => address!("D830D15D3dc0C269F3dBAa0F3e8626d33CFdaBe1"),
            Self::V3_3 => address!("d6CEDDe84be40893d153Be9d467CD6aD37875b28"),
        }
    }

    /// Deploys accounts of this version: it is part of their addresses.
    pub const fn factory(self) -> Address {
        match self {
            Self::V3_0 => address!("6723b44Abeec4E71eBE3232BD5B455805baDD22f"),
            Self::V3_1 => address!("aac5D4240AF87249B3f71BC8E4A2cae074A3E419"),
            Self::V3_2 => address!("7a1dBAB750f12a90EB1B60D2Ae3aD17D4D81EfFe"),
            Self::V3_3 => address!("2577507b78c2008Ff367261CB6285d44ba5eF2E9"),
        }
    }

    /// keccak256 of the proxy creation code, which names the implementation.
    pub const fn init_code_hash(self) -> B256 {
        match self {
            Self::V3_0 => b256!("6fe6e6ea30eddce942b9618033ab8429f9ddac594053bec8a6744fffc71976e2"),
            Self::V3_1 => b256!("85d96aa1c9a65886d094915d76ccae85f14027a02c1647dde659f869460f03e6"),
            Self::V3_2 => b256!("c7c48c9dd12de68b8a4689b6f8c8c07b61d4d6fa4ddecdd86a6980d045fa67eb"),
            Self::V3_3 => b256!("c452397f1e7518f8cea0566ac057e243bb1643f6298aba8eec8cdee78ee3b3dd"),
        }
    }

    /// The validator of an account whose root is one secp256k1 key.
    pub const fn ecdsa_validator(self) -> Address {
        match self {
            Self::V3_0 => ECDSA_VALIDATOR_3_0,
            Self::V3_1 | Self::V3_2 | Self::V3_3 => ECDSA_VALIDATOR,
        }
    }

    /// The version in the EIP-712 domain that the deployed code checks.
    pub const fn domain_version(self) -> &'static str {
        match self {
            Self::V3_0 => "0.3.0-beta",
            Self::V3_1 => "0.3.1",
            Self::V3_2 => "0.3.2",
            Self::V3_3 => "0.3.3",
        }
    }

    /// As its makers call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V3_0 => "0.3.0",
            Self::V3_1 => "0.3.1",
            Self::V3_2 => "0.3.2",
            Self::V3_3 => "0.3.3",
        }
    }

    pub fn from_implementation(address: Address) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.implementation() == address)
    }

    pub fn from_factory(address: Address) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.factory() == address)
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.as_str() == text)
    }

    pub fn from_domain_version(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.domain_version() == text)
    }

    /// Whether `initialize` takes calls that the new account makes to itself, keys among them.
    pub const fn has_init_config(self) -> bool {
        !matches!(self, Self::V3_0)
    }

    /// Whether an EOA may delegate to it (EIP-7702). Delegated to an older one, any stranger can take the account over.
    pub const fn is_safe_to_delegate(self) -> bool {
        matches!(self, Self::V3_3)
    }

    /// Whether a signature may be for every chain at once (docs/kernel-v3.md#chain-free-signatures).
    pub const fn has_chain_free_signatures(self) -> bool {
        matches!(self, Self::V3_2 | Self::V3_3)
    }

    /// Whether `invalidateNonce` also ends what a key signs for the account (ERC-1271).
    pub const fn stops_signing(self) -> bool {
        matches!(self, Self::V3_3)
    }
}

impl std::fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::{hex, primitives::keccak256};

    #[test]
    fn a_proxy_names_its_implementation() {
        for version in KernelVersion::ALL {
            let code = [
                &hex!("603d3d8160223d3973")[..],
                version.implementation().as_slice(),
                &hex!(
                    "60095155f3363d3d373d3d363d7f360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc545af43d6000803e6038573d6000fd5b3d6000f3"
                ),
            ]
            .concat();
            assert_eq!(keccak256(code), version.init_code_hash(), "{version}");
        }
    }

    #[test]
    fn a_version_is_found_by_each_of_its_names() {
        for version in KernelVersion::ALL {
            assert_eq!(KernelVersion::parse(&version.to_string()), Some(version));
            assert_eq!(KernelVersion::from_domain_version(version.domain_version()), Some(version));
            assert_eq!(KernelVersion::from_implementation(version.implementation()), Some(version));
            assert_eq!(KernelVersion::from_factory(version.factory()), Some(version));
            assert_eq!(serde_json::to_value(version).unwrap(), version.to_string());
        }
        assert_eq!(unsupported_name(RATE_LIMIT_WITH_RESET_POLICY), Some("rate limit with reset"));
        assert_eq!(unsupported_name(RATE_LIMIT_POLICY), None);
    }
}

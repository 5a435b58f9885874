//! What a permission is: who signs, under which policies (docs/kernel-v3.md#permission-id-and-enable-data).

use alloy::{
    primitives::{Address, B256, Bytes, address, keccak256},
    sol_types::SolValue,
};

use super::{
    account::installations,
    canonical::bytes_list,
    contracts::{ECDSA_SIGNER, unsupported_name},
    nonce::{PermissionId, ValidationId},
    policy::{InstallFault, Policy, split_element},
};

/// Most policies of one permission.
pub const MAX_POLICIES: usize = 253;

/// What the permission refuses. The same bits on a policy mean the opposite: that it is not asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct PermissionFlag(pub [u8; 2]);

impl PermissionFlag {
    /// No operation passes.
    pub const fn refuses_operations(self) -> bool {
        let [_, low] = self.0;
        low & 1 != 0
    }

    /// No signature of the account (ERC-1271) passes.
    pub const fn refuses_signatures(self) -> bool {
        let [_, low] = self.0;
        low & 2 != 0
    }
}

/// Who holds the session key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Signer {
    /// One secp256k1 key.
    Ecdsa(Address),
    /// A passkey, or a signer contract that is not known.
    Unknown { address: Address, data: Bytes },
}

impl Signer {
    /// What a signer contract installed with this data is.
    pub fn new(address: Address, data: &[u8]) -> Self {
        match Address::try_from(data) {
            Ok(key) if address == ECDSA_SIGNER => Self::Ecdsa(key),
            _ => Self::Unknown { address, data: Bytes::copy_from_slice(data) },
        }
    }

    /// The contract that checks its signatures.
    pub const fn address(&self) -> Address {
        match self {
            Self::Ecdsa(_) => ECDSA_SIGNER,
            Self::Unknown { address, .. } => *address,
        }
    }

    pub fn data(&self) -> Bytes {
        match self {
            Self::Ecdsa(key) => Bytes::copy_from_slice(key.as_slice()),
            Self::Unknown { data, .. } => data.clone(),
        }
    }

    /// The session key's address.
    pub const fn key(&self) -> Option<Address> {
        match self {
            Self::Ecdsa(key) => Some(*key),
            Self::Unknown { .. } => None,
        }
    }

    /// The key that its contract holds once it is installed: the ECDSA signer takes the first 20 bytes of whatever data.
    pub fn held_key(&self) -> Option<Address> {
        match self {
            Self::Ecdsa(key) => Some(*key),
            Self::Unknown { address: ECDSA_SIGNER, data } => data.get(..20).map(Address::from_slice),
            Self::Unknown { .. } => None,
        }
    }

    /// The name of a signer contract that is known and not supported.
    pub fn unsupported_name(&self) -> Option<&'static str> {
        unsupported_name(self.address())
    }
}

/// A permission's whole scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermissionConfig {
    pub flag: PermissionFlag,
    pub signer: Signer,
    /// In the order they are asked. Another order is another permission.
    pub policies: Vec<Policy>,
}

/// Why enable data is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnableDataError {
    #[error("the enable data is not `abi.encode(bytes[])` as an encoder writes it")]
    NotCanonical,
    #[error("the enable data has no element for the signer")]
    Empty,
    #[error("element {} of the enable data is too short for a flag and a contract", .0 + 1)]
    Element(usize),
    #[error("the enable data has {0} policies, more than {MAX_POLICIES}")]
    TooManyPolicies(usize),
}

/// Why enabling would revert, whatever the state of the account. Positions count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigFault {
    #[error("policy {}: {fault}", policy + 1)]
    Install { policy: usize, fault: InstallFault },
    #[error("policies {} and {} are the same contract, which is installed once for an id", first + 1, second + 1)]
    SameContract { first: usize, second: usize },
    #[error("the signer's contract wants an address of 20 bytes, and its data has {length}")]
    SignerData { length: usize },
}

impl PermissionConfig {
    /// A permission of nobody that refuses everything: installed under an id and uninstalled again, it uses the id up.
    pub const fn powerless() -> Self {
        const NOBODY: Address = address!("000000000000000000000000000000000000dEaD");
        Self { flag: PermissionFlag([0, 3]), signer: Signer::Ecdsa(NOBODY), policies: Vec::new() }
    }

    /// `abi.encode` of the elements of the policies.
    pub fn policies_id(&self) -> Bytes {
        self.elements().abi_encode().into()
    }

    /// `abi.encode(bytes contract20 ‖ data)`, without the flag.
    pub fn signer_id(&self) -> Bytes {
        Bytes::from([self.signer.address().as_slice(), &self.signer.data()].concat()).abi_encode().into()
    }

    /// The name that the SDKs give it. Its owner may sign another.
    pub fn permission_id(&self) -> PermissionId {
        let flag = Bytes::copy_from_slice(&self.flag.0);
        let [a, b, c, d, ..] = keccak256(vec![self.policies_id(), flag, self.signer_id()].abi_encode()).0;
        PermissionId([a, b, c, d].into())
    }

    /// Under the id that its hash gives it.
    pub fn validation_id(&self) -> ValidationId {
        self.permission_id().validation_id()
    }

    /// `abi.encode` of the elements of the policies, then the signer's: what is signed, and what installs it.
    pub fn enable_data(&self) -> Bytes {
        let signer = [&self.flag.0[..], self.signer.address().as_slice(), &self.signer.data()].concat();
        let mut elements = self.elements();
        elements.push(signer.into());
        elements.abi_encode().into()
    }

    pub fn enable_data_hash(&self) -> B256 {
        keccak256(self.enable_data())
    }

    /// Reads enable data. What is read writes the same bytes again.
    pub fn decode(enable_data: &[u8]) -> Result<Self, EnableDataError> {
        let elements = bytes_list(enable_data).ok_or(EnableDataError::NotCanonical)?;
        let (signer, policies) = elements.split_last().ok_or(EnableDataError::Empty)?;
        if policies.len() > MAX_POLICIES {
            return Err(EnableDataError::TooManyPolicies(policies.len()));
        }
        let policies = policies
            .iter()
            .enumerate()
            .map(|(i, element)| Policy::from_element(element).ok_or(EnableDataError::Element(i)))
            .collect::<Result<Vec<_>, _>>()?;
        let (flag, address, data) = split_element(signer).ok_or(EnableDataError::Element(policies.len()))?;
        Ok(Self { flag: PermissionFlag(flag), signer: Signer::new(address, data), policies })
    }

    /// Why enabling it would revert, in the order the account installs: policies, then the signer.
    pub fn install_faults(&self) -> Vec<ConfigFault> {
        let mut faults = Vec::new();
        for (policy, one) in self.policies.iter().enumerate() {
            let same = |other: &Policy| other.address() == one.address();
            let is_stateless = one.address() == super::contracts::SUDO_POLICY || one.name().is_none();
            if let Some(first) = self.policies.iter().take(policy).position(same).filter(|_| !is_stateless) {
                faults.push(ConfigFault::SameContract { first, second: policy });
            }
            let of_data = one.install_faults().into_iter();
            faults.extend(of_data.map(|fault| ConfigFault::Install { policy, fault }));
        }
        if let Signer::Unknown { address: ECDSA_SIGNER, data } = &self.signer {
            faults.push(ConfigFault::SignerData { length: data.len() });
        }
        faults
    }

    fn elements(&self) -> Vec<Bytes> {
        self.policies.iter().map(Policy::element).collect()
    }
}

/// The permissions that calls of a new account to itself install: no approval of these exists.
pub fn preinstalled(init_config: &[Bytes]) -> Vec<(ValidationId, Bytes)> {
    let installed = init_config.iter().filter_map(|call| installations(call)).flatten();
    installed.map(|one| (one.id, one.data)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::kernel_v3::{
        contracts::SUDO_POLICY,
        policy::{PolicyFlag, timestamp::Timestamp},
    };

    fn config() -> PermissionConfig {
        let flag = PolicyFlag::default();
        PermissionConfig {
            flag: PermissionFlag([0, 2]),
            signer: Signer::Ecdsa(Address::repeat_byte(1)),
            policies: vec![
                Policy::Timestamp { flag, window: Timestamp { valid_after: 1, valid_until: 2 } },
                Policy::Sudo { flag },
                Policy::Unknown { flag, address: Address::repeat_byte(2), data: vec![1, 2, 3].into() },
                Policy::Sudo { flag },
            ],
        }
    }

    #[test]
    fn enable_data_reads_back_what_it_encodes() {
        assert_eq!(PermissionConfig::decode(&config().enable_data()), Ok(config()));
        assert!(config().flag.refuses_signatures() && !config().flag.refuses_operations());
    }

    #[test]
    fn enable_data_in_another_form_is_refused_with_a_reason() {
        let data = config().enable_data();
        assert_eq!(PermissionConfig::decode(&data[..data.len() - 1]), Err(EnableDataError::NotCanonical));
        assert_eq!(PermissionConfig::decode(&[]), Err(EnableDataError::NotCanonical));
        let none: Vec<Bytes> = Vec::new();
        assert_eq!(PermissionConfig::decode(&none.abi_encode()), Err(EnableDataError::Empty));
        let short = vec![Bytes::from_static(&[0; 22]), Bytes::from_static(&[0; 21]), Bytes::from_static(&[0; 22])];
        assert_eq!(PermissionConfig::decode(&short.abi_encode()), Err(EnableDataError::Element(1)));
        let many = vec![Bytes::from_static(&[0; 22]); MAX_POLICIES + 2];
        assert_eq!(
            PermissionConfig::decode(&many.abi_encode()),
            Err(EnableDataError::TooManyPolicies(MAX_POLICIES + 1))
        );
    }

    #[test]
    fn the_powerless_one_refuses_everything() {
        let powerless = PermissionConfig::powerless();
        assert!(powerless.flag.refuses_operations() && powerless.flag.refuses_signatures());
        assert_eq!(powerless.install_faults(), []);
        let element = [&[0, 3][..], ECDSA_SIGNER.as_slice(), &[0; 18], &[0xde, 0xad]].concat();
        assert_eq!(powerless.enable_data()[..], vec![Bytes::from(element)].abi_encode());
    }

    #[test]
    fn order_flag_and_signer_are_part_of_the_id() {
        let mut other = config();
        other.policies.swap(0, 1);
        let flagged = PermissionConfig { flag: PermissionFlag([0, 0]), ..config() };
        let signed = PermissionConfig { signer: Signer::Ecdsa(Address::repeat_byte(3)), ..config() };
        for other in [other, flagged, signed] {
            assert_ne!(other.permission_id(), config().permission_id());
        }
    }

    #[test]
    fn one_contract_twice_is_a_fault_but_for_sudo() {
        assert_eq!(config().install_faults(), []);
        let mut twice = config();
        twice.policies.push(Policy::Timestamp { flag: PolicyFlag::default(), window: Timestamp::default() });
        assert_eq!(twice.install_faults(), [ConfigFault::SameContract { first: 0, second: 4 }]);
        twice.signer = Signer::new(ECDSA_SIGNER, &[1; 19]);
        assert_eq!(twice.install_faults().last(), Some(&ConfigFault::SignerData { length: 19 }));
        assert_eq!(twice.policies[1].address(), SUDO_POLICY);
    }
}

//! The policies of a permission: contracts that are each asked about every operation and every signature (docs/kernel-v3.md#policies).
//!
//! A policy stands in the approval as `flag2 ‖ contract20 ‖ data`. What is not understood (another contract, or data that is not
//! in the form an encoder writes) is kept verbatim: it is never taken for a limit, and never left out.

use alloy::primitives::{Address, Bytes};

use super::contracts::{
    GAS_POLICY, RATE_LIMIT_POLICY, SIGNATURE_CALLER_POLICY, SUDO_POLICY, TIMESTAMP_POLICY, unsupported_name,
};

pub mod call;
pub mod gas;
pub mod rate_limit;
pub mod signature_caller;
pub mod sudo;
pub mod timestamp;

use call::{CallPolicy, CallPolicyVersion};
use gas::GasPolicy;
use rate_limit::RateLimit;
use signature_caller::SignatureCallers;
use timestamp::Timestamp;

/// Bytes of an element before its data: flag and contract.
pub(super) const ELEMENT_HEAD: usize = 22;

/// When a policy is **not** asked. The same bits on a permission mean the opposite: that it refuses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct PolicyFlag(pub [u8; 2]);

impl PolicyFlag {
    /// The limit is off: the policy is not asked about operations.
    pub const fn skips_operations(self) -> bool {
        let [_, low] = self.0;
        low & 1 != 0
    }

    /// The policy is not asked about signatures (ERC-1271).
    pub const fn skips_signatures(self) -> bool {
        let [_, low] = self.0;
        low & 2 != 0
    }

    pub fn is_zero(self) -> bool {
        self == Self::default()
    }
}

/// One policy of a permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Policy {
    Call {
        flag: PolicyFlag,
        call: CallPolicy,
    },
    Gas {
        flag: PolicyFlag,
        gas: GasPolicy,
    },
    RateLimit {
        flag: PolicyFlag,
        limit: RateLimit,
    },
    SignatureCaller {
        flag: PolicyFlag,
        callers: SignatureCallers,
    },
    /// Allows everything.
    Sudo {
        flag: PolicyFlag,
    },
    Timestamp {
        flag: PolicyFlag,
        window: Timestamp,
    },
    /// Not understood: counts as allowing everything.
    Unknown {
        flag: PolicyFlag,
        address: Address,
        data: Bytes,
    },
}

impl Policy {
    pub const fn flag(&self) -> PolicyFlag {
        match self {
            Self::Call { flag, .. }
            | Self::Gas { flag, .. }
            | Self::RateLimit { flag, .. }
            | Self::SignatureCaller { flag, .. }
            | Self::Sudo { flag }
            | Self::Timestamp { flag, .. }
            | Self::Unknown { flag, .. } => *flag,
        }
    }

    /// The contract that is asked.
    pub const fn address(&self) -> Address {
        match self {
            Self::Call { call, .. } => call.version().address(),
            Self::Gas { .. } => GAS_POLICY,
            Self::RateLimit { .. } => RATE_LIMIT_POLICY,
            Self::SignatureCaller { .. } => SIGNATURE_CALLER_POLICY,
            Self::Sudo { .. } => SUDO_POLICY,
            Self::Timestamp { .. } => TIMESTAMP_POLICY,
            Self::Unknown { address, .. } => *address,
        }
    }

    /// What the contract is installed with.
    pub fn data(&self) -> Bytes {
        match self {
            Self::Call { call, .. } => call.encode(),
            Self::Gas { gas, .. } => gas.encode(),
            Self::RateLimit { limit, .. } => limit.encode(),
            Self::SignatureCaller { callers, .. } => callers.encode(),
            Self::Sudo { .. } => sudo::encode(),
            Self::Timestamp { window, .. } => window.encode(),
            Self::Unknown { data, .. } => data.clone(),
        }
    }

    /// The name of a policy that is known and not supported.
    pub fn unsupported_name(&self) -> Option<&'static str> {
        unsupported_name(self.address())
    }

    /// `flag2 ‖ contract20 ‖ data`.
    pub fn element(&self) -> Bytes {
        [&self.flag().0[..], self.address().as_slice(), &self.data()].concat().into()
    }

    /// Reads an element; `None` only where it is too short for a flag and a contract.
    pub fn from_element(element: &[u8]) -> Option<Self> {
        let (flag, address, data) = split_element(element)?;
        Some(Self::new(PolicyFlag(flag), address, data))
    }

    /// What a contract installed with this data is. Exactly what [`Self::data`] writes again is understood.
    pub fn new(flag: PolicyFlag, address: Address, data: &[u8]) -> Self {
        let read = || {
            Some(match address {
                GAS_POLICY => Self::Gas { flag, gas: GasPolicy::decode(data)? },
                RATE_LIMIT_POLICY => Self::RateLimit { flag, limit: RateLimit::decode(data)? },
                SIGNATURE_CALLER_POLICY => Self::SignatureCaller { flag, callers: SignatureCallers::decode(data)? },
                SUDO_POLICY if data.is_empty() => Self::Sudo { flag },
                TIMESTAMP_POLICY => Self::Timestamp { flag, window: Timestamp::decode(data)? },
                _ => Self::Call { flag, call: CallPolicy::decode(CallPolicyVersion::from_address(address)?, data)? },
            })
        };
        read().filter(|policy| policy.data()[..] == *data).unwrap_or_else(|| Self::Unknown {
            flag,
            address,
            data: Bytes::copy_from_slice(data),
        })
    }

    /// What it is called, whether or not it is understood; `None` for a contract that nobody here knows.
    pub fn name(&self) -> Option<&'static str> {
        Some(match self.address() {
            GAS_POLICY => "gas",
            RATE_LIMIT_POLICY => "rate limit",
            SIGNATURE_CALLER_POLICY => "signature caller",
            SUDO_POLICY => "sudo",
            TIMESTAMP_POLICY => "timestamp",
            address if CallPolicyVersion::from_address(address).is_some() => "call",
            address => return unsupported_name(address),
        })
    }

    /// Why its contract would refuse to be installed, in the order it looks; empty for a contract that is not known.
    pub fn install_faults(&self) -> Vec<InstallFault> {
        let unreadable = |readable: bool| if readable { Vec::new() } else { vec![InstallFault::Unreadable] };
        match self {
            Self::Call { call, .. } => call.install_faults().into_iter().map(InstallFault::Call).collect(),
            Self::Gas { .. } | Self::RateLimit { .. } | Self::SignatureCaller { .. } => Vec::new(),
            Self::Sudo { .. } | Self::Timestamp { .. } => Vec::new(),
            Self::Unknown { address, data, .. } => match *address {
                GAS_POLICY => unreadable(GasPolicy::is_readable(data)),
                RATE_LIMIT_POLICY => unreadable(RateLimit::is_readable(data)),
                SIGNATURE_CALLER_POLICY => unreadable(SignatureCallers::is_readable(data)),
                TIMESTAMP_POLICY => unreadable(Timestamp::is_readable(data)),
                // What stands in the entries is not told here: it is not in the form that an encoder writes.
                _ if CallPolicyVersion::from_address(*address).is_some() => unreadable(CallPolicy::has_entries(data)),
                _ => Vec::new(),
            },
        }
    }
}

/// Why a policy contract refuses its data. The enabling operation then reverts, and nothing of the permission is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InstallFault {
    #[error("the policy's contract cannot read its data")]
    Unreadable,
    #[error("{0}")]
    Call(call::CallFault),
}

/// Flag, contract and data of an element.
pub(super) fn split_element(element: &[u8]) -> Option<([u8; 2], Address, &[u8])> {
    let (head, data) = element.split_at_checked(ELEMENT_HEAD)?;
    let (flag, address) = head.split_at(2);
    Some((flag.try_into().ok()?, Address::from_slice(address), data))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::kernel_v3::contracts::RATE_LIMIT_WITH_RESET_POLICY;
    use alloy::primitives::U256;

    #[test]
    fn an_element_reads_back_whatever_is_in_it() {
        for address in [
            GAS_POLICY,
            RATE_LIMIT_POLICY,
            SIGNATURE_CALLER_POLICY,
            SUDO_POLICY,
            TIMESTAMP_POLICY,
            CallPolicyVersion::V0_0_4.address(),
            RATE_LIMIT_WITH_RESET_POLICY,
            Address::repeat_byte(9),
        ] {
            for data in [vec![], vec![0; 18], vec![0; 64], vec![0; 65], vec![0xff; 96], vec![0; 96]] {
                let element = [&[0x80, 0x03][..], address.as_slice(), &data].concat();
                let policy = Policy::from_element(&element).unwrap();
                assert_eq!(policy.element()[..], element, "{policy:?}");
                assert_eq!((policy.address(), policy.flag().0), (address, [0x80, 0x03]));
            }
        }
        assert_eq!(Policy::from_element(&[0; 21]), None);
    }

    #[test]
    fn only_the_two_low_bits_of_a_flag_count() {
        assert!(!PolicyFlag([0xff, 0xfc]).skips_operations() && !PolicyFlag([0xff, 0xfc]).skips_signatures());
        assert!(PolicyFlag([0, 1]).skips_operations() && !PolicyFlag([0, 1]).skips_signatures());
        assert!(PolicyFlag([0x80, 2]).skips_signatures());
    }

    #[test]
    fn data_that_a_contract_cannot_read_is_a_fault_and_surplus_is_none() {
        let faults = |address, data: &[u8]| Policy::new(PolicyFlag::default(), address, data).install_faults();
        for (address, enough) in [(TIMESTAMP_POLICY, 64), (RATE_LIMIT_POLICY, 18), (GAS_POLICY, 96)] {
            assert_eq!(faults(address, &vec![0; enough - 1]), [InstallFault::Unreadable], "{address}");
            assert_eq!(faults(address, &vec![0; enough]), [], "{address}");
            assert_eq!(faults(address, &vec![0; enough + 1]), [], "{address}");
        }
        assert_eq!(faults(TIMESTAMP_POLICY, &[0xff; 64]), [InstallFault::Unreadable]);
        assert_eq!(faults(GAS_POLICY, &[[0; 32], [2; 32], [0; 32]].concat()), [InstallFault::Unreadable]);
        assert_eq!(faults(SIGNATURE_CALLER_POLICY, &[0; 64]), []);
        assert_eq!(faults(SIGNATURE_CALLER_POLICY, &[0; 31]), [InstallFault::Unreadable]);
        assert_eq!(faults(SUDO_POLICY, &[1, 2, 3]), []);
        // Empty lists, and one that names an entry it does not have.
        let words = |words: &[u64]| words.iter().flat_map(|n| U256::from(*n).to_be_bytes::<32>()).collect::<Vec<_>>();
        let call = CallPolicyVersion::V0_0_4.address();
        for data in [vec![], vec![0; 31], vec![0; 32], words(&[32, 0]), words(&[u64::MAX, 0])] {
            assert_eq!(faults(call, &data), [], "{data:?}");
        }
        assert_eq!(faults(call, &words(&[32, 1])), [InstallFault::Unreadable]);
        assert_eq!(faults(call, &words(&[32, u64::MAX])), [InstallFault::Unreadable]);
    }
}

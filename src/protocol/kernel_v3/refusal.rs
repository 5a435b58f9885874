//! What the account, its policies and its signer revert with (docs/kernel-v3.md#refusals).

use std::fmt;

use alloy::{hex, primitives::U256};

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident $selector:literal,)*) => {
        /// A custom error by its name, as the contracts declare it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Refusal {
            $($(#[$doc])* $name,)*
            /// `PolicyFailed(uint256)`: the policy at this position, from 0, says no.
            PolicyFailed(usize),
        }

        impl Refusal {
            const PLAIN: &'static [(Self, [u8; 4])] = &[$((Self::$name, hex!($selector)),)*];

            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                    Self::PolicyFailed(_) => "PolicyFailed",
                }
            }
        }
    };
}

refusals! {
    /// The owner did not sign this approval: with this nonce, version, chain, account, id, hook and data.
    EnableNotApproved "c48cf8ee",
    /// Installed at a nonce that was invalidated, or at the present one already.
    InvalidNonce "756688fe",
    /// Not installed, or not allowed to call the account function.
    InvalidValidator "682a6e7c",
    /// Kernel 3.3: no such validation type.
    InvalidValidationType "c389d236",
    /// The permission's flag refuses operations.
    PermissionNotAlllowedForUserOp "14b9743f",
    /// The permission's flag refuses signatures.
    PermissionNotAlllowedForSignature "5b710579",
    /// No 0xff in front of the signer's signature.
    SignerPrefixNotPresent "b32eeb69",
    /// A policy's segment comes too late.
    PolicySignatureOrderError "0ec17b9e",
    /// Not a signature at all, of another length or out of range.
    InvalidSignature "8baa579f",
    /// Uninstalled with another number of items than it has policies and signer.
    PermissionDataLengthMismatch "09ee6468",
    /// More than ten above the present nonce.
    NonceInvalidationError "e60fd647",
    RootValidatorCannotBeRemoved "98015ee8",
    /// With a hook, calldata has to begin with `executeUserOp`.
    OnlyExecuteUserOp "dbbb044b",
    InvalidSelector "7352d91c",
    /// Call policy: no entry for the call.
    InvalidCallData "1c49f4d1",
    /// Call policy 0.0.5: no entry for the call.
    CallViolatesTargetRule "007e472e",
    /// Call policy: more value than the entry allows.
    CallViolatesValueRule "7b5812d4",
    /// Call policy: a rule does not hold.
    CallViolatesParamRule "59d52e40",
    /// Call policy 0.0.5: the slice is longer than the argument.
    ParamTooShort "1b31e23a",
    InvalidCallType "39d2eb55",
    RateLimited "3f7b7a68",
    ExecutionReverted "f21e646b",
    InitializeError "90fcc612",
    NotApprovedFactory "c88357cc",
}

impl Refusal {
    const POLICY_FAILED: [u8; 4] = hex!("3e4983f6");

    /// Reads revert data. `None`: no data, a text, or an error of somebody else.
    pub fn decode(data: &[u8]) -> Option<Self> {
        let (selector, arguments) = data.split_first_chunk::<4>()?;
        if *selector == Self::POLICY_FAILED {
            let position = U256::from_be_slice(arguments.get(..32)?);
            return usize::try_from(position).ok().map(Self::PolicyFailed);
        }
        Self::PLAIN.iter().find(|(_, known)| known == selector).map(|(refusal, _)| *refusal)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PolicyFailed(position) => write!(f, "PolicyFailed({position})"),
            other => f.write_str(other.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::keccak256;

    #[test]
    fn a_selector_is_that_of_the_name() {
        for (refusal, selector) in Refusal::PLAIN {
            assert_eq!(keccak256(format!("{}()", refusal.name()))[..4], *selector, "{refusal}");
            assert_eq!(Refusal::decode(selector), Some(*refusal));
        }
        let failed = [&keccak256("PolicyFailed(uint256)")[..4], &U256::from(3).to_be_bytes::<32>()].concat();
        assert_eq!(Refusal::decode(&failed), Some(Refusal::PolicyFailed(3)));
        assert_eq!(Refusal::PolicyFailed(3).to_string(), "PolicyFailed(3)");
        assert_eq!(Refusal::decode(&failed[..35]), None);
        assert_eq!((Refusal::decode(&[]), Refusal::decode(&hex!("deadbeef"))), (None, None));
    }
}

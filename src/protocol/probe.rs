//! What a proof of revocation stands on: attempts to use what a key's holder has, tried before and after. None is ever sent.

use std::fmt;

use alloy::primitives::{Address, Bytes};

use crate::erc4337::faults::{Fault, KernelV3Error, Revert};

/// One attempt, as an `eth_call`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What is tried: `enable it with its first call`.
    pub name: &'static str,
    /// What it would do.
    pub would: String,
    /// As an enabled key; otherwise with the approval.
    pub uses: bool,
    pub from: Address,
    pub to: Address,
    pub data: Bytes,
}

/// What the chain answers to an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeResult {
    /// Only the session key's own signature was missing.
    Passes,
    /// The approval nonce is over, or the key is not enabled.
    Dead(Fault),
    /// It got as far as the scope, the window or the paymaster.
    Scope(Fault),
    /// No text: the account is paused, nothing is routed, the node did not answer, or something else.
    Silent,
}

impl ProbeResult {
    /// Of an attempt that was refused with this fault, where a reason was given.
    pub fn refused(fault: Option<Fault>) -> Self {
        if let Some(Fault::CallReverts(Revert::KernelV3(error)) | Fault::ValidationError(error)) = fault {
            return Self::named(error);
        }
        let Some(Fault::CallReverts(Revert::Text(text))) = fault else { return Self::Silent };
        let fault = Fault::from_entry_point(&format!("AA23 reverted: {text}"));
        match fault {
            Fault::ApprovalNonce | Fault::NotEnabled => Self::Dead(fault),
            Fault::TargetMismatch
            | Fault::ValueLimitExceeded
            | Fault::PermissionFailed
            | Fault::PaymasterMismatch
            | Fault::PaymasterNotSet
            | Fault::RunsExceeded
            | Fault::InvalidExecutionRule
            | Fault::OperationMismatch => Self::Scope(fault),
            _ => Self::Silent,
        }
    }

    /// Of an attempt that an account of the second family refused by name.
    fn named(error: KernelV3Error) -> Self {
        let fault = Fault::ValidationError(error);
        match error {
            KernelV3Error::InvalidNonce | KernelV3Error::EnableNotApproved | KernelV3Error::InvalidValidator => {
                Self::Dead(fault)
            }
            KernelV3Error::PolicyFailed(_)
            | KernelV3Error::InvalidCallData
            | KernelV3Error::CallViolatesParamRule
            | KernelV3Error::CallViolatesValueRule
            | KernelV3Error::CallViolatesTargetRule
            | KernelV3Error::ParamTooShort
            | KernelV3Error::RateLimited
            | KernelV3Error::InvalidCallType
            | KernelV3Error::NotAllowedForUserOp
            | KernelV3Error::NotAllowedForSignature => Self::Scope(fault),
            _ => Self::Silent,
        }
    }

    pub fn is_alive(&self) -> bool {
        matches!(self, Self::Passes | Self::Scope(_))
    }
}

impl fmt::Display for ProbeResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passes => {
                f.write_str("goes through, but for the session key's own signature, which only its holder can make")
            }
            Self::Dead(Fault::ValidationError(error)) => write!(f, "{error}"),
            Self::Dead(Fault::ApprovalNonce) => f.write_str("SessionKeyValidator: invalid nonce"),
            Self::Dead(_) => f.write_str("SessionKeyValidator: session key not enabled"),
            Self::Scope(fault) => write!(f, "{fault}"),
            Self::Silent => f.write_str("refused without a reason"),
        }
    }
}

/// An attempt that could not have passed before, and would have later: what ended it is the proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waited {
    pub attempt: String,
    pub before: String,
    pub after: String,
}

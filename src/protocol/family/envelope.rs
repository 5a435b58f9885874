//! How a session key's signature becomes an operation's, on any family, and whether the chain would run the call at all.

use alloy::primitives::{Address, Bytes};

use super::{account::Version, approval::ApprovalRequest, snapshot::Snapshot};
use crate::{
    abi::Function,
    policy::scope::Scope,
    protocol::{AccountCall, kernel_v2::envelope as kernel_v2},
};

pub use crate::protocol::kernel_v2::judge::Accepted;

/// What a session key has: its scope, and the approvals that its owner signed.
#[derive(Debug, Clone, Copy)]
pub struct Credentials<'a> {
    pub session_key: Address,
    /// Who signed.
    pub owner: Address,
    pub scope: &'a Scope,
    /// Of the permissions, where they are known.
    pub functions: &'a [Option<Function>],
}

/// How a session signature is put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Envelope {
    KernelV2(kernel_v2::Envelope),
}

/// The chain would run the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    pub envelope: Envelope,
    pub accepted: Accepted,
}

/// Why a call is not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// None of the approvals is signed.
    NotSigned,
    /// An approval is not what its owner signed.
    Damaged,
    /// It was signed by an earlier owner.
    Owner { now: Address, signed: Address },
    /// It was signed for another implementation.
    Implementation { now: Version, signed: Version },
    /// The account runs what is not known here.
    UnknownImplementation,
    /// The permission to show is not in the scope.
    NoProof,
    /// A rule says no: where, and what it expected and found.
    Denied { code: &'static str, message: String },
}

impl Envelope {
    pub fn assemble(&self, session_signature: &[u8; 65]) -> Bytes {
        let Self::KernelV2(envelope) = self;
        envelope.assemble(session_signature)
    }

    /// The operation enables the key as well.
    pub const fn enables(&self) -> bool {
        let Self::KernelV2(envelope) = self;
        envelope.enables()
    }
}

impl Credentials<'_> {
    /// Asks the judge with each approval; the first acceptance wins, else the most telling refusal.
    pub fn judge<'a>(
        &self,
        approvals: impl IntoIterator<Item = (&'a ApprovalRequest, Option<&'a Bytes>)>,
        snapshot: &Snapshot,
        paymaster_and_data: &Bytes,
        call: &AccountCall,
    ) -> Result<Judgement, Refused> {
        let Snapshot::KernelV2(snapshot) = snapshot;
        let approvals =
            approvals.into_iter().map(|(ApprovalRequest::KernelV2(request), signature)| (request, signature));
        kernel_v2::judge(self, approvals, snapshot, paymaster_and_data, call)
            .map(|(envelope, accepted)| Judgement { envelope: Envelope::KernelV2(envelope), accepted })
    }
}

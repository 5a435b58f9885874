//! Serialized approvals of any family, in and out.

use alloy::primitives::{Address, Bytes, U256};
use zeroize::Zeroizing;

use super::{
    account::{Seed, Version},
    approval::ApprovalRequest,
    snapshot::Snapshot,
};
use crate::{
    policy::scope::Scope,
    protocol::{
        Format,
        kernel_v2::{
            approval::Approval,
            blob::{self as kernel_v2, Hints},
        },
    },
    secret::Secret,
};

pub use kernel_v2::{BlobError, PermissionApproval, PermissionEntry, RecoverError, WriteError};

/// The family of what is recognised and not managed.
pub const RECOGNISED: &str = "kernel-v3";

/// A serialized approval. It may leave out what is needed to use it: see [`Blob::find`].
pub enum Blob {
    KernelV2(Box<kernel_v2::Blob>),
}

/// What may be tried besides what a blob says.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Keys that it may be for; not asked where the blob carries its own.
    pub session_keys: &'a [Address],
    /// The account's owner, where somebody knows.
    pub owner: Option<Address>,
    /// Chains to try in any case, first.
    pub chain_ids: &'a [u64],
    /// Chains to try as far as a search stays short.
    pub other_chain_ids: &'a [u64],
    /// The account on the only chain that is tried.
    pub snapshot: Option<&'a Snapshot>,
}

/// A serialized approval made whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    pub request: ApprovalRequest,
    pub signature: Bytes,
    /// Whose signature it is. May be an earlier owner: compare with the chain.
    pub owner: Address,
    /// What the blob did not say and how it was found, in sentences.
    pub assumptions: Vec<String>,
}

/// Reads a text that an SDK or keyleash wrote.
pub fn read(text: &str) -> Result<Blob, BlobError> {
    kernel_v2::read(text).map(|blob| Blob::KernelV2(Box::new(blob)))
}

impl Blob {
    const fn inner(&self) -> &kernel_v2::Blob {
        let Self::KernelV2(blob) = self;
        blob
    }

    pub const fn family(&self) -> super::Family {
        match self {
            Self::KernelV2(_) => super::Family::KernelV2,
        }
    }

    pub const fn format(&self) -> Format {
        self.inner().format
    }

    pub const fn account(&self) -> Address {
        self.inner().account
    }

    pub const fn scope(&self) -> &Scope {
        &self.inner().scope
    }

    /// The account function that it opens.
    pub const fn selector(&self) -> alloy::primitives::Selector {
        self.inner().selector
    }

    /// The session key, when it travels with its approval.
    pub const fn secret(&self) -> Option<&Secret> {
        self.inner().secret.as_ref()
    }

    /// Factory and call; `None` when the account existed already.
    pub const fn init_code(&self) -> Option<&Bytes> {
        self.inner().init_code.as_ref()
    }

    /// The version that its initCode deploys, where that is known.
    pub fn version(&self) -> Option<Version> {
        self.inner().seed().and_then(|(_, implementation)| Version::of_implementation(implementation))
    }

    /// What a reader should know about an approval that was read all the same.
    pub fn warnings(&self) -> Vec<String> {
        self.inner().warnings.iter().map(ToString::to_string).collect()
    }

    /// Finds out what the text leaves out, trying likely answers until the owner's signature verifies.
    pub fn find(&self, known: &Known<'_>) -> Result<Recovered, RecoverError> {
        let Self::KernelV2(blob) = self;
        let Known { session_keys, owner, chain_ids, other_chain_ids, snapshot } = *known;
        let snapshot = snapshot.map(|Snapshot::KernelV2(snapshot)| snapshot);
        let found = blob.find(&Hints { session_keys, owner, chain_ids, other_chain_ids, snapshot })?;
        let Approval { request, signature } = found.approval;
        Ok(Recovered { request: request.into(), signature, owner: found.owner, assumptions: found.assumptions })
    }
}

/// The text that an SDK of this format would write. `init_code` is `None` once the account exists. With `secret` it is a bearer secret.
pub fn write(
    (request, signature): (&ApprovalRequest, &Bytes),
    scope: &Scope,
    init_code: Option<&Bytes>,
    format: Format,
    secret: Option<&Secret>,
) -> Result<Zeroizing<String>, WriteError> {
    let ApprovalRequest::KernelV2(request) = request;
    let approval = Approval { request: request.clone(), signature: signature.clone() };
    kernel_v2::write(&approval, scope, init_code, format, secret)
}

/// An initCode for a format that wants one although the account has code: any of the owner's will do, the address is taken as it is given.
pub fn stand_in(request: &ApprovalRequest, owner: Address) -> Bytes {
    request.version().init_code(Seed { owner, index: U256::ZERO })
}

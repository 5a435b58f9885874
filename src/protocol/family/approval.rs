//! An approval of any family: all that its owner's signature covers.

use alloy::primitives::{Address, B256, Bytes, Selector};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Family, Validator, account::Version};
use crate::{
    policy::scope::Scope,
    protocol::{ApprovalId, kernel_v2::approval as kernel_v2},
};

/// What an owner signs, or has signed. Stored as its family writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApprovalRequest {
    KernelV2(kernel_v2::ApprovalRequest),
}

/// What stands beside an approval on record, and must be what was signed.
#[derive(Debug, Clone, Copy)]
pub struct Recorded<'a> {
    pub account: Address,
    pub chain_id: u64,
    pub validator: Validator,
    pub session_key: Address,
    pub scope: &'a Scope,
    /// Of a scope that is known in part: the fingerprint of the whole, and the proof of each permission that is known.
    pub partial: Option<(B256, &'a [Vec<B256>])>,
}

/// What an approval itself says of its key, whatever its permissions are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Unix seconds; 0 = at once.
    pub valid_after: u64,
    /// Unix seconds, inclusive; 0 = never expires.
    pub valid_until: u64,
    pub paymaster: Address,
}

impl ApprovalRequest {
    pub const fn family(&self) -> Family {
        match self {
            Self::KernelV2(_) => Family::KernelV2,
        }
    }

    /// The digest that is signed.
    pub fn digest(&self) -> B256 {
        match self {
            Self::KernelV2(request) => request.digest(),
        }
    }

    pub fn id(&self) -> ApprovalId {
        ApprovalId(self.digest())
    }

    /// The same as EIP-712 typed data in JSON (`eth_signTypedData_v4`).
    pub fn typed_data(&self) -> serde_json::Value {
        match self {
            Self::KernelV2(request) => request.typed_data(),
        }
    }

    /// Whether the account would take `signature` as `owner`'s.
    pub fn is_signed_by(&self, owner: Address, signature: &[u8]) -> bool {
        match self {
            Self::KernelV2(request) => request.is_signed_by(owner, signature),
        }
    }

    /// Who signed, in the usual form; `None` when the signature is malformed.
    pub fn recover_owner(&self, signature: &[u8]) -> Option<Address> {
        match self {
            Self::KernelV2(request) => request.recover_owner(signature),
        }
    }

    pub const fn chain_id(&self) -> u64 {
        match self {
            Self::KernelV2(request) => request.chain_id,
        }
    }

    pub const fn account(&self) -> Address {
        match self {
            Self::KernelV2(request) => request.account,
        }
    }

    /// The version of the account that it was signed for.
    pub const fn version(&self) -> Version {
        match self {
            Self::KernelV2(request) => Version::KernelV2(request.kernel),
        }
    }

    pub const fn validator(&self) -> Validator {
        match self {
            Self::KernelV2(request) => Validator::KernelV2(request.validator),
        }
    }

    pub const fn session_key(&self) -> Address {
        match self {
            Self::KernelV2(request) => request.enable.session_key,
        }
    }

    /// The account function that it opens.
    pub const fn selector(&self) -> Selector {
        match self {
            Self::KernelV2(request) => request.selector,
        }
    }

    /// The account function that it opens, by its name.
    pub fn opens(&self) -> &'static str {
        self.family().function_of(self.selector()).map_or("another function", |function| function.name())
    }

    /// The approval nonce, in decimal.
    pub fn nonce(&self) -> String {
        match self {
            Self::KernelV2(request) => request.enable.nonce.to_string(),
        }
    }

    /// What stands for the whole scope in it.
    pub const fn fingerprint(&self) -> B256 {
        match self {
            Self::KernelV2(request) => request.enable.merkle_root,
        }
    }

    pub const fn terms(&self) -> Terms {
        match self {
            Self::KernelV2(request) => {
                let enable = &request.enable;
                Terms { valid_after: enable.valid_after, valid_until: enable.valid_until, paymaster: enable.paymaster }
            }
        }
    }

    /// What the account is told when the key is enabled.
    pub fn enable_data(&self) -> Bytes {
        match self {
            Self::KernelV2(request) => Bytes::copy_from_slice(&request.enable.encode()),
        }
    }

    /// What on record is not what was signed; `None` when all of it is.
    pub fn differs_from(&self, recorded: &Recorded<'_>) -> Option<&'static str> {
        let scope = recorded.scope;
        let of_record =
            Terms { valid_after: scope.valid_after, valid_until: scope.valid_until, paymaster: scope.paymaster };
        let signed = self.terms();
        let (root, proofs) = recorded.partial.unzip();
        let fits = root.is_none_or(|root| root == self.fingerprint())
            && recorded.validator.permissions_fit(&scope.permissions, proofs, self.fingerprint());
        let differs = [
            ("the account", self.account() != recorded.account),
            ("the chain id", self.chain_id() != recorded.chain_id),
            ("the validator", self.validator() != recorded.validator),
            ("the session key", self.session_key() != recorded.session_key),
            ("the window", Terms { paymaster: signed.paymaster, ..of_record } != signed),
            ("the paymaster", of_record.paymaster != signed.paymaster),
            ("the list of permissions", !fits),
        ];
        differs.into_iter().find(|(_, differs)| *differs).map(|(what, _)| what)
    }
}

impl From<kernel_v2::ApprovalRequest> for ApprovalRequest {
    fn from(request: kernel_v2::ApprovalRequest) -> Self {
        Self::KernelV2(request)
    }
}

#[cfg(test)]
impl ApprovalRequest {
    pub const fn kernel_v2(&self) -> &kernel_v2::ApprovalRequest {
        let Self::KernelV2(request) = self;
        request
    }

    pub const fn kernel_v2_mut(&mut self) -> &mut kernel_v2::ApprovalRequest {
        let Self::KernelV2(request) = self;
        request
    }
}

impl Serialize for ApprovalRequest {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::KernelV2(request) => request.serialize(s),
        }
    }
}

impl<'de> Deserialize<'de> for ApprovalRequest {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        kernel_v2::ApprovalRequest::deserialize(d).map(Self::KernelV2)
    }
}

//! The owner's off-chain signature that gives a session key its power (docs/kernel-v3.md#approvals).

mod search;
mod selector_data;

use alloy::{
    dyn_abi::Eip712Domain,
    primitives::{Address, B256, Bytes, U256, b256, eip191_hash_message, keccak256},
};
use serde::{Deserialize, Serialize};

pub use search::{Found, Search, SignedAs, TooMany};
pub use selector_data::{Module, SelectorData};

use super::{
    account::domain,
    contracts::KernelVersion,
    nonce::{PermissionId, ValidationId},
    permission_config::{EnableDataError, PermissionConfig},
    signature::recover,
};
use crate::protocol::ApprovalId;

/// `Enable(bytes21 validationId,uint32 nonce,address hook,bytes validatorData,bytes hookData,bytes selectorData)`.
const TYPE_HASH: B256 = b256!("b17ab1224aca0d4255ef8161acaf2ac121b8faa32a4b2258c912cc5f8308c505");

/// Everything an approval's signature covers. `chain_id`, `account` and `kernel` are its EIP-712 domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalRequest {
    /// `None`: for every chain (docs/kernel-v3.md#chain-free-signatures).
    pub chain_id: Option<u64>,
    pub account: Address,
    /// The *deployed* implementation's version. Of another one the approval is not dead, only stale.
    pub kernel: KernelVersion,
    pub validation_id: ValidationId,
    /// The account's `currentNonce`, and on 3.3 one more where the id was installed at it.
    pub nonce: u32,
    /// Asked before and after each operation of the key; the zero address: none.
    pub hook: Address,
    /// What installs it, verbatim: see [`PermissionConfig`].
    pub enable_data: Bytes,
    pub hook_data: Bytes,
    /// Which account function it opens, and what it installs for it: see [`SelectorData`].
    pub selector_data: Bytes,
}

/// What is hashed of a request whatever its nonce, chain and version: so a search hashes the scope once.
struct Parts {
    id: [u8; 32],
    hook: B256,
    hashes: [B256; 3],
}

impl ApprovalRequest {
    /// `{name: "Kernel", version, chainId, verifyingContract: account}`.
    pub fn domain(&self) -> Eip712Domain {
        domain(self.account, self.kernel, self.chain_id)
    }

    pub fn struct_hash(&self) -> B256 {
        self.parts().struct_hash(self.nonce)
    }

    fn parts(&self) -> Parts {
        let mut id = [0; 32];
        for (byte, part) in id.iter_mut().zip(self.validation_id.0) {
            *byte = part;
        }
        let hashes = [&self.enable_data, &self.hook_data, &self.selector_data].map(keccak256);
        Parts { id, hook: self.hook.into_word(), hashes }
    }

    pub fn id(&self) -> ApprovalId {
        ApprovalId(self.digest())
    }

    /// The EIP-712 digest the owner signs.
    pub fn digest(&self) -> B256 {
        digest(&self.domain(), self.struct_hash())
    }

    /// The same as EIP-712 typed data in JSON, for a wallet elsewhere (`eth_signTypedData_v4`).
    pub fn typed_data(&self) -> serde_json::Value {
        serde_json::json!({
            "types": {
                "EIP712Domain": [
                    { "name": "name", "type": "string" }, { "name": "version", "type": "string" },
                    { "name": "chainId", "type": "uint256" }, { "name": "verifyingContract", "type": "address" },
                ],
                "Enable": [
                    { "name": "validationId", "type": "bytes21" }, { "name": "nonce", "type": "uint32" },
                    { "name": "hook", "type": "address" }, { "name": "validatorData", "type": "bytes" },
                    { "name": "hookData", "type": "bytes" }, { "name": "selectorData", "type": "bytes" },
                ],
            },
            "primaryType": "Enable",
            "domain": {
                "name": "Kernel", "version": self.kernel.domain_version(),
                "chainId": self.chain_id.unwrap_or_default(), "verifyingContract": self.account,
            },
            "message": {
                "validationId": self.validation_id, "nonce": self.nonce, "hook": self.hook,
                "validatorData": self.enable_data, "hookData": self.hook_data, "selectorData": self.selector_data,
            },
        })
    }

    /// What it installs, read from the bytes that were signed.
    pub fn config(&self) -> Result<PermissionConfig, EnableDataError> {
        PermissionConfig::decode(&self.enable_data)
    }

    pub fn selector(&self) -> SelectorData {
        SelectorData::decode(&self.selector_data)
    }

    /// The permission it is for, where it is for one and names it plainly.
    pub fn permission_id(&self) -> Option<PermissionId> {
        self.validation_id.permission()
    }

    /// Whether the account would take `signature` as `owner`'s: over the digest itself, or as an EIP-191 message of it.
    pub fn is_signed_by(&self, owner: Address, signature: &[u8]) -> bool {
        signers(self.digest(), signature).into_iter().any(|(_, signer)| signer == owner)
    }

    /// Who signed the digest (as EIP-712, the usual form); `None` when the signature is malformed.
    pub fn recover_owner(&self, signature: &[u8]) -> Option<Address> {
        recover(self.digest(), signature)
    }
}

impl Parts {
    fn struct_hash(&self, nonce: u32) -> B256 {
        let [scope, hook_data, selector_data] = &self.hashes;
        let nonce = U256::from(nonce).to_be_bytes::<32>();
        keccak256(
            [&TYPE_HASH[..], &self.id, &nonce, &self.hook[..], &scope[..], &hook_data[..], &selector_data[..]].concat(),
        )
    }
}

fn digest(domain: &Eip712Domain, struct_hash: B256) -> B256 {
    keccak256([&[0x19, 0x01][..], domain.separator().as_slice(), struct_hash.as_slice()].concat())
}

/// Whose signature it is, in each way that the account would check it.
fn signers(digest: B256, signature: &[u8]) -> Vec<(SignedAs, Address)> {
    let forms = [(SignedAs::TypedData, digest), (SignedAs::Message, eip191_hash_message(digest))];
    forms.into_iter().filter_map(|(form, hash)| Some((form, recover(hash, signature)?))).collect()
}

/// A signed approval: what a holder needs to enable the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    pub request: ApprovalRequest,
    /// 65 or 64 bytes of one owner; of another root, whatever its validator reads.
    pub signature: Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::{primitives::bytes, sol, sol_types::SolStruct};

    sol! {
        struct Enable {
            bytes21 validationId; uint32 nonce; address hook; bytes validatorData; bytes hookData; bytes selectorData;
        }
    }

    pub(super) fn request() -> ApprovalRequest {
        ApprovalRequest {
            chain_id: Some(10),
            account: Address::repeat_byte(1),
            kernel: KernelVersion::V3_1,
            validation_id: PermissionId([1, 2, 3, 4].into()).validation_id(),
            nonce: 7,
            hook: Address::repeat_byte(2),
            enable_data: bytes!("0102"),
            hook_data: bytes!("03"),
            selector_data: bytes!("e9ae5c53"),
        }
    }

    #[test]
    fn the_digest_is_that_of_the_typed_data() {
        for chain_id in [Some(10), None] {
            let request = ApprovalRequest { chain_id, ..request() };
            let message = Enable {
                validationId: request.validation_id.0,
                nonce: request.nonce,
                hook: request.hook,
                validatorData: request.enable_data.clone(),
                hookData: request.hook_data.clone(),
                selectorData: request.selector_data.clone(),
            };
            assert_eq!(message.eip712_signing_hash(&request.domain()), request.digest());
            let typed: alloy::dyn_abi::TypedData = serde_json::from_value(request.typed_data()).unwrap();
            assert_eq!(typed.eip712_signing_hash().unwrap(), request.digest());
        }
    }

    #[test]
    fn everything_that_is_signed_is_part_of_the_id() {
        let of = |change: fn(&mut ApprovalRequest)| {
            let mut other = request();
            change(&mut other);
            other.id()
        };
        let others = [
            of(|r| r.chain_id = None),
            of(|r| r.account = Address::ZERO),
            of(|r| r.kernel = KernelVersion::V3_0),
            of(|r| r.validation_id.0.0[20] = 1),
            of(|r| r.nonce = 8),
            of(|r| r.hook = Address::ZERO),
            of(|r| r.enable_data = Bytes::new()),
            of(|r| r.hook_data = Bytes::new()),
            of(|r| r.selector_data = Bytes::new()),
        ];
        assert!(others.iter().all(|id| *id != request().id()));
    }

    #[test]
    fn a_stored_approval_reads_back() {
        let approval = Approval { request: request(), signature: bytes!("0a") };
        let stored = serde_json::to_string(&approval).unwrap();
        assert_eq!(serde_json::from_str::<Approval>(&stored).unwrap(), approval);
    }
}

//! The owner's off-chain signature that gives a session key its power (docs/kernel-v2.md#enabling).

use crate::{
    policy::scope::{MAX_UINT48, Scope},
    protocol::{ApprovalId, signature::recover},
};
use alloy::{
    dyn_abi::Eip712Domain,
    primitives::{Address, B256, Bytes, FixedBytes, Selector, U256, eip191_hash_message, keccak256},
    sol,
    sol_types::{SolStruct, eip712_domain},
};
use serde::{Deserialize, Serialize};

use super::{
    generation::{Generation, KernelVersion},
    merkle::Tree,
};

/// Bytes of encoded enable data.
pub const ENABLE_DATA_LEN: usize = 116;

/// What the validator stores when a key is enabled: who, the fingerprint of its scope, when, who pays, and its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnableData {
    pub session_key: Address,
    /// Root of the permission tree; zero = everything is allowed.
    pub merkle_root: B256,
    /// Unix seconds; 0 = at once.
    pub valid_after: u64,
    /// Unix seconds, inclusive; 0 = never expires.
    pub valid_until: u64,
    pub paymaster: Address,
    /// Must be `lastNonce + 1` of the account at the moment it is enabled.
    pub nonce: u128,
}

impl EnableData {
    pub fn new(session_key: Address, scope: &Scope, nonce: u128, generation: Generation) -> Self {
        Self {
            session_key,
            merkle_root: Tree::new(&scope.permissions, generation).root(),
            valid_after: scope.valid_after,
            valid_until: scope.valid_until,
            paymaster: scope.paymaster,
            nonce,
        }
    }

    /// Of what a validator holds and no approval on record explains: nobody here knows what was signed.
    pub fn held_id(&self, generation: Generation) -> ApprovalId {
        ApprovalId(keccak256([generation.address().as_slice(), &self.encode()].concat()))
    }

    /// Whether both give the same power; the turn alone may differ.
    pub fn allows_the_same(&self, other: &Self) -> bool {
        Self { nonce: other.nonce, ..*self } == *other
    }

    /// `sessionKey20 ‖ root32 ‖ validAfter6 ‖ validUntil6 ‖ paymaster20 ‖ nonce32`.
    pub fn encode(&self) -> [u8; ENABLE_DATA_LEN] {
        let mut out = [0; ENABLE_DATA_LEN];
        out[..20].copy_from_slice(self.session_key.as_slice());
        out[20..52].copy_from_slice(self.merkle_root.as_slice());
        out[52..58].copy_from_slice(&uint48_be(self.valid_after));
        out[58..64].copy_from_slice(&uint48_be(self.valid_until));
        out[64..84].copy_from_slice(self.paymaster.as_slice());
        out[84..].copy_from_slice(&U256::from(self.nonce).to_be_bytes::<32>());
        out
    }

    /// Reads encoded enable data; `None` for any other length or a nonce above 2^128 - 1, which no account can reach.
    #[allow(clippy::indexing_slicing, reason = "constant places in an array of that length")]
    pub fn decode(data: &[u8]) -> Option<Self> {
        let data: &[u8; ENABLE_DATA_LEN] = data.try_into().ok()?;
        let uint48 = |at: usize| data[at..at + 6].iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
        Some(Self {
            session_key: Address::from_slice(&data[..20]),
            merkle_root: B256::from_slice(&data[20..52]),
            valid_after: uint48(52),
            valid_until: uint48(58),
            paymaster: Address::from_slice(&data[64..84]),
            nonce: U256::from_be_slice(&data[84..]).try_into().ok()?,
        })
    }
}

fn uint48_be(value: u64) -> [u8; 6] {
    let [_, _, bytes @ ..] = (value & MAX_UINT48).to_be_bytes();
    bytes
}

sol! {
    struct ValidatorApproved { bytes4 sig; uint256 validatorData; address executor; bytes enableData; }
}

/// Everything an approval's signature covers. `chain_id`, `account` and `kernel` are its EIP-712 domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalRequest {
    pub chain_id: u64,
    pub account: Address,
    /// The *deployed* implementation's version, or that in initCode when undeployed. SDK 4.7.8 signs "0.2.1" for 0.2.3 and
    /// 0.2.4, which the chain refuses.
    pub kernel: KernelVersion,
    pub validator: Generation,
    /// The one account function this approval opens.
    pub selector: Selector,
    pub executor: Address,
    /// The 12 bytes before the validator address, zero in every approval of ours. The contract reads them as
    /// `validAfter6 ‖ validUntil6` of the routing slot, which all keys of the selector share; the SDKs write them the other way round.
    pub plugin_window: FixedBytes<12>,
    pub enable: EnableData,
}

impl ApprovalRequest {
    /// `{name: "Kernel", version, chainId, verifyingContract: account}`.
    pub fn domain(&self) -> Eip712Domain {
        eip712_domain! {
            name: "Kernel",
            version: self.kernel.as_str(),
            chain_id: self.chain_id,
            verifying_contract: self.account,
        }
    }

    /// `pluginWindow12 ‖ validator20`, as a word.
    pub fn validator_data(&self) -> B256 {
        let mut word = self.validator.address().into_word();
        for (byte, window) in word.iter_mut().zip(self.plugin_window) {
            *byte = window;
        }
        word
    }

    fn message(&self) -> ValidatorApproved {
        ValidatorApproved {
            sig: self.selector,
            validatorData: self.validator_data().into(),
            executor: self.executor,
            enableData: Bytes::copy_from_slice(&self.enable.encode()),
        }
    }

    pub fn struct_hash(&self) -> B256 {
        self.message().eip712_hash_struct()
    }

    pub fn id(&self) -> ApprovalId {
        ApprovalId(self.digest())
    }

    /// The EIP-712 digest the owner signs.
    pub fn digest(&self) -> B256 {
        self.message().eip712_signing_hash(&self.domain())
    }

    /// The same as EIP-712 typed data in JSON, for a wallet elsewhere (`eth_signTypedData_v4`).
    pub fn typed_data(&self) -> serde_json::Value {
        serde_json::json!({
            "types": {
                "EIP712Domain": [
                    { "name": "name", "type": "string" }, { "name": "version", "type": "string" },
                    { "name": "chainId", "type": "uint256" }, { "name": "verifyingContract", "type": "address" },
                ],
                "ValidatorApproved": [
                    { "name": "sig", "type": "bytes4" }, { "name": "validatorData", "type": "uint256" },
                    { "name": "executor", "type": "address" }, { "name": "enableData", "type": "bytes" },
                ],
            },
            "primaryType": "ValidatorApproved",
            "domain": {
                "name": "Kernel", "version": self.kernel.as_str(),
                "chainId": self.chain_id, "verifyingContract": self.account,
            },
            "message": {
                "sig": self.selector,
                "validatorData": U256::from_be_bytes(self.validator_data().0).to_string(),
                "executor": self.executor,
                "enableData": Bytes::copy_from_slice(&self.enable.encode()),
            },
        })
    }

    /// Whether the account would take `signature` as `owner`'s: over the digest itself, or as an EIP-191 message of it.
    pub fn is_signed_by(&self, owner: Address, signature: &[u8]) -> bool {
        let digest = self.digest();
        [digest, eip191_hash_message(digest)].into_iter().any(|hash| recover(hash, signature) == Some(owner))
    }

    /// Who signed the digest (as EIP-712, the usual form); `None` when the signature is malformed.
    pub fn recover_owner(&self, signature: &[u8]) -> Option<Address> {
        recover(self.digest(), signature)
    }
}

/// A signed approval: what a holder needs to enable the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    pub request: ApprovalRequest,
    /// 65 bytes when an account is to accept it.
    pub signature: Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enable_data() -> EnableData {
        EnableData {
            session_key: Address::repeat_byte(0x11),
            merkle_root: B256::repeat_byte(0x22),
            valid_after: 1,
            valid_until: MAX_UINT48,
            paymaster: Address::repeat_byte(0x33),
            nonce: u128::MAX,
        }
    }

    #[test]
    fn enable_data_reads_back_what_it_encodes() {
        assert_eq!(EnableData::decode(&enable_data().encode()), Some(enable_data()));
    }

    #[test]
    fn enable_data_of_another_length_or_with_an_unreachable_nonce_is_refused() {
        let mut data = enable_data().encode();
        assert_eq!(EnableData::decode(&data[..115]), None);
        data[84] = 1;
        assert_eq!(EnableData::decode(&data), None);
    }
}

//! The seam to whatever signs for a person: today a key from the vault. A hardware or cloud signer of alloy is another
//! implementation, chosen where an account's owner is looked up; no use-case names one.
//!
//! What is asked for says what it is - a message, typed data, a transaction - so that a device can show it. None signs a bare hash: devices refuse to.
//! What comes back is by whom it was asked of, or it goes nowhere: a device may hold another key than its address says.

use alloy::{
    consensus::SignableTransaction,
    dyn_abi::TypedData,
    network::TxSigner,
    primitives::{Address, B256, Signature, eip191_hash_message},
    signers::Signer,
};
use serde_json::Value;

use crate::wallet::error::{Class, Error, Result};

/// Whoever signs as one address.
pub(in crate::wallet) trait Keyholder: Signer + TxSigner<Signature> + Send + Sync {
    fn signs_as(&self) -> Address;
}

impl<T: Signer + TxSigner<Signature> + Send + Sync> Keyholder for T {
    fn signs_as(&self) -> Address {
        Signer::address(self)
    }
}

/// A UserOperation: its hash as an EIP-191 message. `r ‖ s ‖ v`, v 27 or 28, s in the lower half, as the account wants it.
pub(in crate::wallet) async fn sign_operation(keyholder: &dyn Keyholder, user_op_hash: B256) -> Result<[u8; 65]> {
    let signed = keyholder.sign_message(user_op_hash.as_slice()).await;
    Ok(signed_by(keyholder.signs_as(), eip191_hash_message(user_op_hash), signed)?.as_bytes())
}

/// An approval: EIP-712 typed data, in its JSON form. The signature is of the same shape.
pub(in crate::wallet) async fn sign_typed_data(keyholder: &dyn Keyholder, typed_data: Value) -> Result<[u8; 65]> {
    let no_typed_data =
        |why: String| Error::new(Class::Vault, "vault.sign", format!("what is to be signed is no typed data: {why}"));
    let typed_data: TypedData = serde_json::from_value(typed_data).map_err(|e| no_typed_data(e.to_string()))?;
    let digest = typed_data.eip712_signing_hash().map_err(|e| no_typed_data(e.to_string()))?;
    let signed = keyholder.sign_dynamic_typed_data(&typed_data).await;
    Ok(signed_by(keyholder.signs_as(), digest, signed)?.as_bytes())
}

/// A transaction, which is by whoever signed it: another signature than `sender`'s would send it from somebody else's account.
pub(in crate::wallet) async fn sign_transaction(
    keyholder: &dyn Keyholder,
    sender: Address,
    transaction: &mut dyn SignableTransaction<Signature>,
) -> Result<Signature> {
    let signed = keyholder.sign_transaction(transaction).await;
    signed_by(sender, transaction.signature_hash(), signed)
}

/// The signature with s in the lower half, which accounts and nodes want, when it is by this address.
fn signed_by(expected: Address, hash: B256, signed: alloy::signers::Result<Signature>) -> Result<Signature> {
    let signature = signed.map_err(|e| refused(&e))?.normalized_s();
    let found = signature.recover_address_from_prehash(&hash).ok();
    if found == Some(expected) {
        return Ok(signature);
    }
    let found = found.map_or_else(|| "nobody".to_owned(), |address| address.to_string());
    let message = format!("a signature by {expected} was asked for, and this one is by {found}; it is not used");
    Err(Error::new(Class::Vault, "vault.address", message))
}

fn refused(error: &alloy::signers::Error) -> Error {
    Error::new(Class::Vault, "vault.sign", format!("the key could not sign: {error}"))
}

#[cfg(test)]
mod tests {
    use alloy::{
        consensus::TxLegacy,
        primitives::ChainId,
        signers::{UnsupportedSignerOperation, local::PrivateKeySigner},
    };
    use serde_json::json;

    use super::*;
    use crate::secret::Secret;

    /// What a device does: it shows what it signs, so it signs no bare hash; and its s may be in the upper half.
    struct Device {
        key: PrivateKeySigner,
        /// What it calls itself.
        says: Address,
    }

    fn upper_half(signature: Signature) -> Signature {
        const ORDER: alloy::primitives::U256 =
            alloy::uint!(0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141_U256);
        Signature::new(signature.r(), ORDER - signature.s(), !signature.v())
    }

    #[async_trait::async_trait]
    impl Signer for Device {
        async fn sign_hash(&self, _: &B256) -> alloy::signers::Result<Signature> {
            Err(alloy::signers::Error::UnsupportedOperation(UnsupportedSignerOperation::SignHash))
        }

        async fn sign_message(&self, message: &[u8]) -> alloy::signers::Result<Signature> {
            self.key.sign_message(message).await.map(upper_half)
        }

        async fn sign_dynamic_typed_data(&self, payload: &TypedData) -> alloy::signers::Result<Signature> {
            self.key.sign_dynamic_typed_data(payload).await.map(upper_half)
        }

        fn address(&self) -> Address {
            self.says
        }

        fn chain_id(&self) -> Option<ChainId> {
            None
        }

        fn set_chain_id(&mut self, _: Option<ChainId>) {}
    }

    #[async_trait::async_trait]
    impl TxSigner<Signature> for Device {
        fn address(&self) -> Address {
            self.says
        }

        async fn sign_transaction(
            &self,
            transaction: &mut dyn SignableTransaction<Signature>,
        ) -> alloy::signers::Result<Signature> {
            self.key.sign_transaction(transaction).await.map(upper_half)
        }
    }

    fn typed_note() -> Value {
        json!({
            "types": { "EIP712Domain": [{ "name": "name", "type": "string" }], "Note": [{ "name": "text", "type": "string" }] },
            "primaryType": "Note", "domain": { "name": "keyleash" }, "message": { "text": "a note" },
        })
    }

    #[tokio::test]
    async fn a_signature_by_another_key_than_was_asked_is_not_used() {
        let says = Address::repeat_byte(0x11);
        let other = PrivateKeySigner::from_slice(&[8u8; 32]).unwrap();
        let by = Signer::address(&other).to_string();
        let device = Device { key: other.clone(), says };
        let mut transaction = TxLegacy { chain_id: Some(1), gas_limit: 21_000, ..TxLegacy::default() };
        for error in [
            sign_operation(&device, B256::repeat_byte(9)).await.unwrap_err(),
            sign_typed_data(&device, typed_note()).await.unwrap_err(),
            sign_transaction(&device, says, &mut transaction).await.unwrap_err(),
            // It says who it is, and that is not who sends.
            sign_transaction(&other, says, &mut transaction).await.unwrap_err(),
        ] {
            assert_eq!((error.code.as_str(), error.class), ("vault.address", Class::Vault), "{error:?}");
            assert!(error.message.contains(&says.to_string()) && error.message.contains(&by), "{error:?}");
        }
    }

    #[tokio::test]
    async fn a_key_of_the_vault_and_a_device_that_signs_no_bare_hash_sign_the_same() {
        let key = [7u8; 32];
        let secret = Secret::from_bytes(&mut key.clone()).unwrap();
        let device = Device { key: PrivateKeySigner::from_slice(&key).unwrap(), says: secret.address() };
        let typed = typed_note();
        let digest = serde_json::from_value::<TypedData>(typed.clone()).unwrap().eip712_signing_hash().unwrap();
        let hash = B256::repeat_byte(9);
        for keyholder in [&secret as &dyn Keyholder, &device] {
            assert_eq!(keyholder.signs_as(), secret.address());
            let signed = sign_operation(keyholder, hash).await.unwrap();
            assert_eq!(signed, secret.sign_hash(eip191_hash_message(hash)).unwrap());
            let signed = sign_typed_data(keyholder, typed.clone()).await.unwrap();
            assert_eq!(signed, secret.sign_hash(digest).unwrap());
            let mut transaction = TxLegacy { chain_id: Some(1), gas_limit: 21_000, ..TxLegacy::default() };
            let signed = sign_transaction(keyholder, secret.address(), &mut transaction).await.unwrap();
            assert_eq!(signed.recover_address_from_prehash(&transaction.signature_hash()).unwrap(), secret.address());
        }
        let error = sign_typed_data(&secret, json!({ "primaryType": "Note" })).await.unwrap_err();
        assert_eq!(error.code, "vault.sign");
    }
}

//! The seam to whatever signs for a person: today a key from the vault. A hardware or cloud signer is another
//! implementation, chosen where an account's owner is looked up; no use-case names one.

use alloy::primitives::{Address, B256};

use crate::secret::Secret;
use crate::wallet::error::{Class, Error, Result};

/// Signs as one address. Signatures are `r ‖ s ‖ v`, 65 bytes, v 27 or 28.
pub(in crate::wallet) trait Signer {
    fn address(&self) -> Address;

    /// Over a 32-byte hash as it is: approvals (EIP-712 digests).
    fn sign_hash(&self, hash: B256) -> Result<[u8; 65]>;

    /// Over a 32-byte hash as an EIP-191 message: UserOperations.
    fn sign_message_hash(&self, hash: B256) -> Result<[u8; 65]>;
}

impl Signer for Secret {
    fn address(&self) -> Address {
        Secret::address(self)
    }

    fn sign_hash(&self, hash: B256) -> Result<[u8; 65]> {
        Secret::sign_hash(self, hash).map_err(|e| refused(&e))
    }

    fn sign_message_hash(&self, hash: B256) -> Result<[u8; 65]> {
        Secret::sign_message_hash(self, hash).map_err(|e| refused(&e))
    }
}

fn refused(error: &alloy::signers::Error) -> Error {
    Error::new(Class::Vault, "vault.sign", format!("the key could not sign: {error}"))
}

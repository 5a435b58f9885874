//! The one type that holds a private key: move-only, wiped on drop, without Debug, Clone, Display or Serialize.

use alloy::{
    consensus::SignableTransaction,
    network::TxSigner,
    primitives::{Address, B256, ChainId, Signature, eip191_hash_message},
    signers::{Signer, SignerSync, local::PrivateKeySigner},
};
use async_trait::async_trait;
use zeroize::{Zeroize, Zeroizing};

/// A secp256k1 private key of 32 bytes, known to be valid.
pub struct Secret {
    bytes: Box<Zeroizing<[u8; 32]>>,
    /// Computed once: it is asked for often, and costs as much as a signature.
    address: Address,
}

/// Why text or bytes are not a private key. Never says what they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error("a private key is 64 hexadecimal digits, with or without 0x; this is something else")]
    NotHex,
    #[error("these 32 bytes are not a secp256k1 private key (zero, or above the curve order)")]
    OutOfRange,
    #[error("the operating system gave no random bytes: {0}")]
    NoRandomness(getrandom::Error),
}

impl Secret {
    /// A fresh key from the operating system's random source.
    pub fn random() -> Result<Self, SecretError> {
        loop {
            let mut bytes = Box::new(Zeroizing::new([0u8; 32]));
            getrandom::fill(bytes.as_mut_slice()).map_err(SecretError::NoRandomness)?;
            // All but 2^-128 of the draws are valid keys; the loop is for the rest.
            if let Some(address) = address_of(&bytes) {
                return Ok(Self { bytes, address });
            }
        }
    }

    /// Takes the bytes over and wipes the source.
    pub fn from_bytes(source: &mut [u8; 32]) -> Result<Self, SecretError> {
        let mut bytes = Box::new(Zeroizing::new([0u8; 32]));
        bytes.copy_from_slice(source);
        source.zeroize();
        let address = address_of(&bytes).ok_or(SecretError::OutOfRange)?;
        Ok(Self { bytes, address })
    }

    /// Reads 64 hex digits, with or without `0x`, white space around them ignored. The caller wipes `text`.
    pub fn from_hex(text: &str) -> Result<Self, SecretError> {
        let text = text.trim();
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let mut bytes = Zeroizing::new([0u8; 32]);
        alloy::hex::decode_to_slice(digits, bytes.as_mut_slice()).map_err(|_| SecretError::NotHex)?;
        Self::from_bytes(&mut bytes)
    }

    /// `0x` and 64 hex digits, in a buffer that is wiped when dropped. Only for a vault or a file the owner asked for.
    pub fn to_hex(&self) -> Zeroizing<String> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = Zeroizing::new(String::with_capacity(66));
        text.push_str("0x");
        for byte in self.bytes.iter() {
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from(DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'?')));
            }
        }
        text
    }

    /// The raw bytes, for encryption by a vault.
    pub fn expose(&self) -> &[u8; 32] {
        &self.bytes
    }

    pub fn address(&self) -> Address {
        self.address
    }

    /// Signs a 32-byte hash as it is (EIP-712 digests): `r ‖ s ‖ v`, v 27 or 28, s in the lower half.
    pub fn sign_hash(&self, hash: B256) -> Result<[u8; 65], alloy::signers::Error> {
        self.signature(&hash).map(|s| s.as_bytes())
    }

    /// Signs a 32-byte hash as an EIP-191 personal message.
    pub fn sign_message_hash(&self, hash: B256) -> Result<[u8; 65], alloy::signers::Error> {
        self.sign_hash(eip191_hash_message(hash))
    }

    fn signature(&self, hash: &B256) -> alloy::signers::Result<Signature> {
        self.with_signer(|signer| signer.sign_hash_sync(hash))
    }

    /// Builds a signer for one use. It wipes itself on drop, and is never stored: a moved signer leaves copies behind
    /// (a scan of the memory found four).
    fn with_signer<T>(&self, use_it: impl FnOnce(&PrivateKeySigner) -> T) -> T {
        match on_wiped_stack(|| PrivateKeySigner::from_slice(self.bytes.as_slice()).map(|signer| use_it(&signer))) {
            Ok(result) => result,
            // Checked when the Secret was made.
            Err(_) => unreachable!("a Secret holds a valid key"),
        }
    }
}

/// Everything else that alloy's traits offer comes down to the hash. Nothing waits, so no signer outlives a call.
#[async_trait]
impl Signer for Secret {
    async fn sign_hash(&self, hash: &B256) -> alloy::signers::Result<Signature> {
        self.signature(hash)
    }

    fn address(&self) -> Address {
        self.address
    }

    /// Transactions come with theirs.
    fn chain_id(&self) -> Option<ChainId> {
        None
    }

    fn set_chain_id(&mut self, _: Option<ChainId>) {}
}

#[async_trait]
impl TxSigner<Signature> for Secret {
    fn address(&self) -> Address {
        self.address
    }

    async fn sign_transaction(
        &self,
        transaction: &mut dyn SignableTransaction<Signature>,
    ) -> alloy::signers::Result<Signature> {
        self.signature(&transaction.signature_hash())
    }
}

/// `None`: the bytes are no private key.
fn address_of(bytes: &[u8; 32]) -> Option<Address> {
    on_wiped_stack(|| PrivateKeySigner::from_slice(bytes.as_slice()).ok().map(|signer| signer.address()))
}

/// Runs what handles a key, then overwrites the stack it ran on: a signer wipes itself when dropped, but not the places it
/// was moved from while it was built, and those stay readable until something else happens to need the stack so deeply.
#[inline(never)]
fn on_wiped_stack<T>(job: impl FnOnce() -> T) -> T {
    /// Deeper than signing reaches, in bytes; the end-to-end tests scan for what is left.
    const DEPTH: usize = 64 * 1024;
    #[inline(never)]
    fn run<T>(job: impl FnOnce() -> T) -> T {
        job()
    }
    #[inline(never)]
    #[allow(clippy::large_stack_arrays, reason = "as deep as what is to be wiped")]
    fn wipe() {
        let mut stack = [0u8; DEPTH];
        stack.zeroize();
        std::hint::black_box(&stack);
    }
    let result = run(job);
    wipe();
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::address;

    const ANVIL_0: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

    #[test]
    fn hex_is_read_with_and_without_prefix_and_written_back() {
        for text in [ANVIL_0, &ANVIL_0[2..], &format!(" {ANVIL_0}\n")] {
            let secret = Secret::from_hex(text).unwrap();
            assert_eq!(secret.address(), address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266"));
            assert_eq!(secret.to_hex().as_str(), ANVIL_0);
        }
    }

    #[test]
    fn what_is_not_a_key_is_refused_without_repeating_it() {
        for bad in ["", "0x", "0x12", "zz", &"0".repeat(64), &"f".repeat(64), &"f".repeat(66)] {
            let error = Secret::from_hex(bad).err().unwrap().to_string();
            assert!(bad.len() < 4 || !error.contains(bad));
        }
    }

    #[test]
    fn two_fresh_keys_differ() {
        assert_ne!(Secret::random().unwrap().address(), Secret::random().unwrap().address());
    }
}

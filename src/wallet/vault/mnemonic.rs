//! From a mnemonic to a key: BIP-39 (English, no extra passphrase), then BIP-32.
//!
//! Done here and not by alloy's builder, because that one leaves the words, the entropy and the seed in memory, and quotes the
//! words in its errors. Everything here lies in buffers that are wiped.

use alloy::signers::{
    k256::{
        NonZeroScalar, PublicKey, Scalar,
        elliptic_curve::{PrimeField, sec1::ToEncodedPoint},
    },
    local::coins_bip39::{English, Wordlist},
};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};
use zeroize::{Zeroize, Zeroizing};

use crate::secret::Secret;

/// Added to a child number to derive from the private key rather than from the public one.
pub const HARDENED: u32 = 1 << 31;

/// The key of the mnemonic at `path`; `None` if the text is not a mnemonic.
pub fn key(text: &str, path: &[u32]) -> Option<Secret> {
    let phrase = normalized(text);
    if !is_mnemonic(&phrase) {
        return None;
    }
    let mut seed = Zeroizing::new([0u8; 64]);
    pbkdf2::pbkdf2_hmac::<Sha512>(phrase.as_bytes(), b"mnemonic", 2048, seed.as_mut_slice());
    let mut node = Node::master(&seed)?;
    for child in path {
        node.derive(*child)?;
    }
    Secret::from_bytes(&mut node.key).ok()
}

/// Lower case, one space between words.
fn normalized(text: &str) -> Zeroizing<String> {
    let mut phrase = Zeroizing::new(String::with_capacity(text.len()));
    for word in text.split_whitespace() {
        if !phrase.is_empty() {
            phrase.push(' ');
        }
        // Only ASCII: other letters are in no English list, and may grow in lower case.
        phrase.extend(word.chars().map(|c| c.to_ascii_lowercase()));
    }
    phrase
}

/// Each word stands for 11 bits; behind the entropy come its checksum bits, one for every 32.
fn is_mnemonic(phrase: &str) -> bool {
    let count = phrase.split(' ').count();
    if ![12, 15, 18, 21, 24].contains(&count) {
        return false;
    }
    let list = English::get_all();
    let mut bits = Zeroizing::new([0u8; 33]);
    for (at, word) in phrase.split(' ').enumerate() {
        let Ok(index) = list.binary_search(&word) else { return false };
        for bit in (0..11).filter(|bit| index >> (10 - bit) & 1 == 1) {
            let position = at * 11 + bit;
            if let Some(byte) = bits.get_mut(position / 8) {
                *byte |= 0x80 >> (position % 8);
            }
        }
    }
    let checksum_bits = count / 3;
    let (entropy, rest) = bits.split_at(checksum_bits * 4);
    let hash = Sha256::digest(entropy);
    let unused = 8 - checksum_bits;
    matches!((rest.first(), hash.first()), (Some(found), Some(expected)) if found >> unused == expected >> unused)
}

/// A BIP-32 extended private key.
struct Node {
    key: Zeroizing<[u8; 32]>,
    chain_code: Zeroizing<[u8; 32]>,
}

impl Node {
    fn master(seed: &[u8; 64]) -> Option<Self> {
        let mut node = Self { key: Zeroizing::new([0; 32]), chain_code: Zeroizing::new([0; 32]) };
        let mac = Hmac::<Sha512>::new_from_slice(b"Bitcoin seed").ok()?;
        let left = node.split(mac.chain_update(seed));
        node.key.copy_from_slice(left.as_slice());
        scalar(&node.key).map(|_| node)
    }

    /// Becomes its own child. `None` for one number in 2^127, which BIP-32 says to skip.
    fn derive(&mut self, child: u32) -> Option<()> {
        let mut mac = Hmac::<Sha512>::new_from_slice(self.chain_code.as_slice()).ok()?;
        let parent = scalar(&self.key)?;
        if child & HARDENED != 0 {
            mac.update(&[0]);
            mac.update(self.key.as_slice());
        } else {
            mac.update(PublicKey::from_secret_scalar(&parent).to_encoded_point(true).as_bytes());
        }
        let left = self.split(mac.chain_update(child.to_be_bytes()));
        let sum = Zeroizing::new(**scalar(&left)? + **parent);
        let mut bytes = sum.to_repr();
        self.key.copy_from_slice(&bytes);
        bytes.as_mut_slice().zeroize();
        scalar(&self.key).map(|_| ())
    }

    /// The right half of an HMAC is the new chain code; the left half is returned.
    fn split(&mut self, mac: Hmac<Sha512>) -> Zeroizing<[u8; 32]> {
        let mut both = mac.finalize().into_bytes();
        let (left, right) = both.split_at(32);
        let mut half = Zeroizing::new([0u8; 32]);
        half.copy_from_slice(left);
        self.chain_code.copy_from_slice(right);
        both.as_mut_slice().zeroize();
        half
    }
}

/// A number between 0 and the curve order, both excluded.
fn scalar(bytes: &[u8; 32]) -> Option<Zeroizing<NonZeroScalar>> {
    let scalar = Option::<Scalar>::from(Scalar::from_repr((*bytes).into()))?;
    Option::from(NonZeroScalar::new(scalar)).map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use alloy::signers::local::{MnemonicBuilder, PrivateKeySigner};

    use super::*;

    const ANVIL: &str = "test test test test test test test test test test test junk";

    fn theirs(phrase: &str, path: &str) -> PrivateKeySigner {
        MnemonicBuilder::<English>::from_phrase(phrase).derivation_path(path).unwrap().build().unwrap()
    }

    #[test]
    fn keys_are_those_that_other_wallets_derive() {
        let hard = |n: u32| n | HARDENED;
        let paths: [(&str, &[u32]); 4] = [
            ("m/44'/60'/0'/0/0", &[hard(44), hard(60), hard(0), 0, 0]),
            ("m/44'/60'/0'/0/7", &[hard(44), hard(60), hard(0), 0, 7]),
            ("m/44'/60'/5'/0/0", &[hard(44), hard(60), hard(5), 0, 0]),
            ("m/0/2147483647/1'", &[0, HARDENED - 1, hard(1)]),
        ];
        for (seed, bytes) in [16usize, 20, 24, 28, 32].into_iter().cycle().take(20).enumerate() {
            let entropy: Vec<u8> = (0..bytes).map(|i| Sha256::digest([seed as u8, i as u8])[0]).collect();
            let entropy = alloy::signers::local::coins_bip39::Entropy::from_slice(&entropy).unwrap();
            let phrase = alloy::signers::local::coins_bip39::Mnemonic::<English>::new_from_entropy(entropy).to_phrase();
            for (text, path) in paths {
                assert_eq!(key(&phrase, path).unwrap().address(), theirs(&phrase, text).address(), "{phrase} {text}");
            }
        }
        let first = key(&format!("  {}\n", ANVIL.to_uppercase().replace(' ', "\t ")), paths[0].1).unwrap();
        assert_eq!(first.address().to_string(), "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
    }

    #[test]
    fn what_is_not_a_mnemonic_is_refused() {
        let other_words = ANVIL.replace("junk", "test");
        let unknown = ANVIL.replace("junk", "jjunk");
        for bad in
            ["", "test", &ANVIL[5..], &other_words, &unknown, &format!("{ANVIL} test test test"), &"é ".repeat(12)]
        {
            assert!(key(bad, &[0]).is_none(), "{bad}");
        }
        // With 12 words, one ending in 16 fits by chance.
        let fitting = English::get_all().iter().filter(|word| is_mnemonic(&ANVIL.replace("junk", word))).count();
        assert_eq!(fitting, 128);
    }
}

//! The Ethereum keystore, version 3 ("Web3 Secret Storage"): one private key sealed with a passphrase, as JSON.
//!
//! Ours are written with scrypt N=2^17 r=8 p=1 (128 MiB for a moment) and open in geth and `cast wallet`. Those of others
//! are read with scrypt or PBKDF2, within limits: the file chooses how much memory and time opening it takes, so what it
//! asks for is judged before any of it is spent.
//!
//! Our own, because `eth-keystore` spends whatever a file asks for, wipes neither the derived key nor the private one, and writes
//! files in place.

use aes::cipher::{KeyIvInit, StreamCipher};
use alloy::{
    hex,
    primitives::{Address, Keccak256},
};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::secret::Secret;

/// The longest file that is looked at, in bytes. A keystore has about 500.
pub const MAX_FILE: u64 = 64 * 1024;

/// scrypt needs `128 * r * (N + p)` bytes: 256 MiB for N=2^18 r=8, the most that geth, Parity and others write, and what
/// goes with it.
const MAX_SCRYPT_MEMORY: u64 = 257 * 1024 * 1024;
/// scrypt's time grows with `N * r * p`. geth's standard is 2^21, about a second; twice that is accepted.
const MAX_SCRYPT_WORK: u64 = 1 << 22;
const MAX_SCRYPT_PARALLEL: u64 = 16;
/// PBKDF2 iterations: about a second. geth and others write 262,144.
const MAX_PBKDF2_ROUNDS: u64 = 1_000_000;
const MAX_SALT: usize = 256;

/// Why a keystore does not open. Never repeats the content of the file: it may be something else, and secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeystoreError {
    #[error("it is not a version 3 keystore: {0}")]
    Malformed(String),
    #[error("{0}")]
    Unsupported(String),
    #[error("{0}")]
    Hostile(String),
    #[error("the passphrase does not fit, or the file was changed")]
    MacMismatch,
    #[error("what is sealed in it is not a secp256k1 private key")]
    NotAKey,
    #[error("it names the address {named}, but holds the key of {found}")]
    AddressMismatch { named: Address, found: Address },
    #[error("the operating system gave no random bytes: {0}")]
    NoRandomness(getrandom::Error),
}

/// scrypt's cost for files we write.
#[derive(Clone, Copy)]
pub struct Cost {
    pub log_n: u8,
}

impl Cost {
    /// N=2^17 r=8 p=1.
    pub const STANDARD: Self = Self { log_n: 17 };
    /// For tests and play keys, which would otherwise spend their time in scrypt. Protects nothing.
    pub const CHEAP: Self = Self { log_n: 4 };
}

#[derive(Serialize, Deserialize)]
struct File {
    version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    // Some early wallets wrote a capital letter.
    #[serde(alias = "Crypto")]
    crypto: Crypto,
}

#[derive(Serialize, Deserialize)]
struct Crypto {
    cipher: String,
    cipherparams: CipherParams,
    ciphertext: String,
    #[serde(flatten)]
    kdf: Kdf,
    mac: String,
}

#[derive(Serialize, Deserialize)]
struct CipherParams {
    iv: String,
}

/// How a passphrase becomes 32 bytes: the `kdf` and `kdfparams` of a keystore.
#[derive(Serialize, Deserialize)]
pub struct Kdf {
    kdf: String,
    kdfparams: KdfParams,
}

#[derive(Serialize, Deserialize)]
struct KdfParams {
    dklen: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    r: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    p: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    c: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prf: Option<String>,
    salt: String,
}

/// What a `Kdf` asks for, once it was found bearable.
enum Derivation {
    Scrypt(scrypt::Params),
    Pbkdf2 { rounds: u32 },
}

impl Kdf {
    /// Sealed at the cost of tests and play keys.
    pub fn is_cheap(&self) -> bool {
        self.kdf == "scrypt" && self.kdfparams.n.is_some_and(|n| n <= 1 << Cost::CHEAP.log_n)
    }

    /// scrypt with a fresh salt.
    pub fn fresh(cost: Cost) -> Result<Self, KeystoreError> {
        let mut salt = [0u8; 32];
        getrandom::fill(&mut salt).map_err(KeystoreError::NoRandomness)?;
        Ok(Self {
            kdf: "scrypt".into(),
            kdfparams: KdfParams {
                dklen: 32,
                n: Some(1 << cost.log_n),
                r: Some(8),
                p: Some(1),
                c: None,
                prf: None,
                salt: hex::encode(salt),
            },
        })
    }

    /// Refuses parameters that would eat the machine, then spends what the rest ask for.
    pub fn derive(&self, passphrase: &str) -> Result<Zeroizing<[u8; 32]>, KeystoreError> {
        let derivation = self.bearable()?;
        let salt = self.salt()?;
        let mut key = Zeroizing::new([0u8; 32]);
        match derivation {
            Derivation::Scrypt(params) => scrypt::scrypt(passphrase.as_bytes(), &salt, &params, key.as_mut_slice())
                .map_err(|_| KeystoreError::Hostile("scrypt refuses its parameters".into()))?,
            Derivation::Pbkdf2 { rounds } => {
                pbkdf2::pbkdf2_hmac::<Sha256>(passphrase.as_bytes(), &salt, rounds, key.as_mut_slice());
            }
        }
        Ok(key)
    }

    fn salt(&self) -> Result<Vec<u8>, KeystoreError> {
        let salt = hex::decode(&self.kdfparams.salt).map_err(|_| malformed("kdfparams.salt is not hexadecimal"))?;
        match salt.len() {
            1..=MAX_SALT => Ok(salt),
            len => Err(KeystoreError::Hostile(format!("its salt has {len} bytes; 1 to {MAX_SALT} are accepted"))),
        }
    }

    fn bearable(&self) -> Result<Derivation, KeystoreError> {
        let params = &self.kdfparams;
        if params.dklen != 32 {
            return Err(KeystoreError::Hostile(format!(
                "it asks for a derived key of {} bytes; 32 expected",
                params.dklen
            )));
        }
        match self.kdf.as_str() {
            "scrypt" => {
                let missing = || malformed("kdfparams has no n, r or p");
                let n = params.n.ok_or_else(missing)?;
                let r = params.r.ok_or_else(missing)?;
                let p = params.p.ok_or_else(missing)?;
                bearable_scrypt(n, r, p).map(Derivation::Scrypt)
            }
            "pbkdf2" => {
                if params.prf.as_deref() != Some("hmac-sha256") {
                    return Err(KeystoreError::Unsupported(
                        "its PBKDF2 does not use hmac-sha256, the only one defined".into(),
                    ));
                }
                let c = params.c.ok_or_else(|| malformed("kdfparams has no c"))?;
                match u32::try_from(c) {
                    Ok(rounds) if (1..=MAX_PBKDF2_ROUNDS).contains(&c) => Ok(Derivation::Pbkdf2 { rounds }),
                    _ => Err(KeystoreError::Hostile(format!(
                        "it asks for {c} PBKDF2 rounds; 1 to {MAX_PBKDF2_ROUNDS} are accepted"
                    ))),
                }
            }
            _ => Err(KeystoreError::Unsupported("its key derivation is neither scrypt nor pbkdf2".into())),
        }
    }
}

fn bearable_scrypt(n: u64, r: u64, p: u64) -> Result<scrypt::Params, KeystoreError> {
    let hostile = |why: String| Err(KeystoreError::Hostile(why));
    if !n.is_power_of_two() || n < 2 {
        return hostile(format!("scrypt n={n} is not a power of two above 1"));
    }
    if r == 0 || !(1..=MAX_SCRYPT_PARALLEL).contains(&p) {
        return hostile(format!("scrypt r={r} p={p}: r must not be 0, p must be 1 to {MAX_SCRYPT_PARALLEL}"));
    }
    let memory = n.checked_add(p).and_then(|blocks| blocks.checked_mul(r)).and_then(|blocks| blocks.checked_mul(128));
    if memory.is_none_or(|bytes| bytes > MAX_SCRYPT_MEMORY) {
        return hostile(format!(
            "scrypt n={n} r={r} p={p} would take more than {} MiB of memory; it is not tried",
            MAX_SCRYPT_MEMORY >> 20
        ));
    }
    // No overflow: n * r is bounded by the memory, p by its own limit.
    if n * r * p > MAX_SCRYPT_WORK {
        return hostile(format!(
            "scrypt n={n} r={r} p={p} is {} times the work of a usual keystore, and at most twice that is done; it is not tried",
            (n * r * p) >> 21
        ));
    }
    let refused = || KeystoreError::Hostile(format!("scrypt refuses n={n} r={r} p={p}"));
    let log_n = u8::try_from(n.trailing_zeros()).map_err(|_| refused())?;
    let r = u32::try_from(r).map_err(|_| refused())?;
    let p = u32::try_from(p).map_err(|_| refused())?;
    scrypt::Params::new(log_n, r, p).map_err(|_| refused())
}

/// Seals `secret`. `uuid` goes into the file as its id.
pub fn seal(secret: &Secret, passphrase: &str, uuid: String, cost: Cost) -> Result<Vec<u8>, KeystoreError> {
    let kdf = Kdf::fresh(cost)?;
    let key = kdf.derive(passphrase)?;
    let mut iv = [0u8; 16];
    getrandom::fill(&mut iv).map_err(KeystoreError::NoRandomness)?;
    // Copied and encrypted in place: a copy passed by value would stay behind on the stack.
    let mut text = Zeroizing::new([0u8; 32]);
    text.copy_from_slice(secret.expose());
    apply_cipher(&key, &iv, text.as_mut_slice())?;
    let file = File {
        version: 3,
        id: Some(uuid),
        address: Some(hex::encode(secret.address())),
        crypto: Crypto {
            cipher: "aes-128-ctr".into(),
            cipherparams: CipherParams { iv: hex::encode(iv) },
            ciphertext: hex::encode(text.as_slice()),
            mac: hex::encode(mac(&key, text.as_slice())),
            kdf,
        },
    };
    serde_json::to_vec_pretty(&file).map_err(|e| KeystoreError::Malformed(e.to_string()))
}

/// A keystore that is worth asking a passphrase for: every part is there and bearable.
pub struct Keystore {
    iv: [u8; 16],
    ciphertext: Vec<u8>,
    mac: [u8; 32],
    kdf: Kdf,
    /// Not proven by anything until the keystore is opened.
    pub address: Option<Address>,
}

/// Reads a keystore, ours or another's, without opening it.
pub fn parse(json: &[u8]) -> Result<Keystore, KeystoreError> {
    // Windows editors put a byte order mark before a text.
    let json = json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json);
    // serde's own message may quote the content, which may be a bare private key: only the place is told.
    let file: File = serde_json::from_slice(json).map_err(|e| {
        let what = if e.is_data() { "a part is missing or has the wrong type" } else { "it is not whole JSON" };
        malformed(&format!("{what} (line {}, column {})", e.line(), e.column()))
    })?;
    if file.version != 3 {
        return Err(KeystoreError::Unsupported(format!(
            "it is a keystore of version {}; version 3 expected",
            file.version
        )));
    }
    let crypto = file.crypto;
    if crypto.cipher != "aes-128-ctr" {
        return Err(KeystoreError::Unsupported("its cipher is not aes-128-ctr, the only one defined".into()));
    }
    crypto.kdf.bearable()?;
    crypto.kdf.salt()?;
    let ciphertext = hex::decode(&crypto.ciphertext).map_err(|_| malformed("ciphertext is not hexadecimal"))?;
    // Some wallets dropped leading zero bytes of the key.
    if !(1..=32).contains(&ciphertext.len()) {
        return Err(malformed("ciphertext is not 1 to 32 bytes long"));
    }
    let address = match file.address.as_deref() {
        None | Some("") => None,
        Some(text) => Some(Address::from(exactly::<20>(text, "address")?)),
    };
    Ok(Keystore {
        iv: exactly(&crypto.cipherparams.iv, "cipherparams.iv")?,
        mac: exactly(&crypto.mac, "mac")?,
        ciphertext,
        kdf: crypto.kdf,
        address,
    })
}

impl Keystore {
    pub fn open(&self, passphrase: &str) -> Result<Secret, KeystoreError> {
        let key = self.kdf.derive(passphrase)?;
        if mac(&key, &self.ciphertext) != self.mac {
            return Err(KeystoreError::MacMismatch);
        }
        let mut bytes = Zeroizing::new([0u8; 32]);
        let (_, text) = bytes.split_at_mut(32 - self.ciphertext.len());
        text.copy_from_slice(&self.ciphertext);
        apply_cipher(&key, &self.iv, text)?;
        let secret = Secret::from_bytes(&mut bytes).map_err(|_| KeystoreError::NotAKey)?;
        match self.address {
            Some(named) if named != secret.address() => {
                Err(KeystoreError::AddressMismatch { named, found: secret.address() })
            }
            _ => Ok(secret),
        }
    }
}

/// keccak256 over the second half of the derived key and the ciphertext.
fn mac(key: &[u8; 32], ciphertext: &[u8]) -> [u8; 32] {
    let (_, second) = key.split_at(16);
    let mut hash = Keccak256::new();
    hash.update(second);
    hash.update(ciphertext);
    hash.finalize().0
}

/// AES-128 in counter mode under the first half of the derived key; its own inverse.
fn apply_cipher(key: &[u8; 32], iv: &[u8; 16], text: &mut [u8]) -> Result<(), KeystoreError> {
    let (first, _) = key.split_at(16);
    let mut cipher = ctr::Ctr128BE::<aes::Aes128>::new_from_slices(first, iv)
        .map_err(|_| malformed("key or iv has a wrong length"))?;
    cipher.apply_keystream(text);
    Ok(())
}

fn exactly<const N: usize>(text: &str, what: &str) -> Result<[u8; N], KeystoreError> {
    hex::decode_to_array(text).map_err(|_| malformed(&format!("{what} is not {N} bytes in hexadecimal")))
}

fn malformed(why: &str) -> KeystoreError {
    KeystoreError::Malformed(why.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k21_what_usual_wallets_write_is_within_the_limits_and_little_more() {
        for (n, r, p) in [(262_144, 8, 1), (262_144, 1, 8), (131_072, 8, 1), (8_192, 8, 1), (4_096, 8, 6)] {
            assert!(bearable_scrypt(n, r, p).is_ok(), "n={n} r={r} p={p}");
        }
        for (n, r, p) in [(262_144, 8, 3), (524_288, 8, 1), (1 << 20, 1, 8), (2, 1 << 20, 1)] {
            assert!(matches!(bearable_scrypt(n, r, p), Err(KeystoreError::Hostile(_))), "n={n} r={r} p={p}");
        }
    }
}

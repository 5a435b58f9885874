//! The sealed-file backend: one keystore a secret, `<id>.json`, all of one vault under one passphrase.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use alloy::{
    hex,
    primitives::{Address, Keccak256},
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    SecretId, VaultError,
    keystore::{self, Cost, Kdf, Keystore, KeystoreError},
    passphrase::{PassphraseSource, Question},
    private_files::{FolderLock, PrivateFolder},
};
use crate::secret::Secret;

/// Proves a passphrase right or wrong without opening a secret, so that two passphrases never get mixed in one vault
/// and a damaged file is not taken for a typing error. Holds nothing secret.
const CHECK_FILE: &str = "passphrase-check.json";
const CHECK_DOMAIN: &[u8] = b"keyleash passphrase check";
/// How often a person may answer.
const TRIES: usize = 3;

pub struct SealedFiles {
    source: PassphraseSource,
    cost: Cost,
    /// The passphrase, once it was proven right, until it is locked or the process ends.
    known: Mutex<Option<Zeroizing<String>>>,
    /// Whether the passphrase of a new vault was a short one. Short ones are questioned, not refused: a script may have chosen.
    short: AtomicBool,
}

/// Characters below which a new passphrase is questioned.
const SHORT: usize = 12;

/// Whether what is here was sealed for tests or as play keys.
pub fn is_cheap(folder: &PrivateFolder) -> bool {
    let check = folder.read(CHECK_FILE, keystore::MAX_FILE).ok().flatten();
    check
        .and_then(|json| serde_json::from_slice::<PassphraseCheck>(&json).ok())
        .is_some_and(|check| check.kdf.is_cheap())
}

#[derive(Serialize, Deserialize)]
struct PassphraseCheck {
    #[serde(flatten)]
    kdf: Kdf,
    check: String,
}

impl SealedFiles {
    pub fn new(source: PassphraseSource) -> Self {
        Self { source, cost: Cost::STANDARD, known: Mutex::new(None), short: AtomicBool::new(false) }
    }

    /// For tests and play keys: sealing costs nothing, and protects nothing.
    pub fn cheap(source: PassphraseSource) -> Self {
        Self { source, cost: Cost::CHEAP, known: Mutex::new(None), short: AtomicBool::new(false) }
    }

    /// Makes sure that the passphrase is known and is the one of this vault; a new vault gets one. Called before the
    /// folder is locked, because a person may take long to answer.
    pub fn unlock(&self, folder: &PrivateFolder) -> Result<(), VaultError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_some() {
            return Ok(());
        }
        if self.is_new(folder)? {
            let chosen = self.source.choose()?;
            self.prove(folder, &chosen)?;
            let protects = self.cost.log_n > Cost::CHEAP.log_n;
            self.short.store(protects && chosen.chars().count() < SHORT, Ordering::Relaxed);
            *known = Some(chosen);
            return Ok(());
        }
        let (passphrase, ()) = self.ask_until_right(folder, |passphrase| self.prove(folder, passphrase))?;
        *known = Some(passphrase);
        Ok(())
    }

    /// Wipes the passphrase; it is asked for again when it is needed.
    pub fn lock(&self) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Needs [`unlock`](Self::unlock) first.
    pub fn write(
        &self,
        folder: &PrivateFolder,
        lock: &FolderLock,
        id: &SecretId,
        secret: &Secret,
    ) -> Result<(), VaultError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let passphrase = known.as_ref().ok_or_else(|| VaultError::NoPassphrase("the vault is locked".into()))?;
        let json = keystore::seal(secret, passphrase, id.as_uuid(), self.cost).map_err(|e| in_file(folder, id, e))?;
        folder.replace(lock, &file_name(id), &json)
    }

    pub fn read(&self, folder: &PrivateFolder, id: &SecretId) -> Result<Secret, VaultError> {
        let sealed = self.sealed(folder, id)?;
        let open = |passphrase: &str| {
            sealed.open(passphrase).map_err(|error| match error {
                KeystoreError::MacMismatch => self.mismatch(folder, id, passphrase),
                other => in_file(folder, id, other),
            })
        };
        // Held while a person is asked and while scrypt runs: nobody wants two prompts, or 256 MiB.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(passphrase) = known.as_ref() {
            return open(passphrase);
        }
        // That the file opens proves the passphrase, so scrypt runs once only.
        let (passphrase, secret) = self.ask_until_right(folder, open)?;
        *known = Some(passphrase);
        Ok(secret)
    }

    pub fn remove(&self, folder: &PrivateFolder, lock: &FolderLock, id: &SecretId) -> Result<(), VaultError> {
        folder.remove(lock, &file_name(id))
    }

    pub fn chosen_is_short(&self) -> bool {
        self.short.load(Ordering::Relaxed)
    }

    /// Whether reading a secret would ask for the passphrase first.
    pub fn is_locked(&self) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Ids of the sealed files that are there, whatever the index says.
    pub fn ids(&self, folder: &PrivateFolder) -> Result<Vec<SecretId>, VaultError> {
        Ok(folder.names()?.iter().filter_map(|name| name.strip_suffix(".json")?.parse().ok()).collect())
    }

    /// The address a sealed file claims; only opening it proves that. `None` when there is no such file.
    pub fn claimed_address(&self, folder: &PrivateFolder, id: &SecretId) -> Result<Option<Address>, VaultError> {
        match self.sealed(folder, id) {
            Ok(sealed) => {
                let unnamed = || VaultError::damaged(&folder.join(&file_name(id)), "it names no address, as ours do");
                sealed.address.map(Some).ok_or_else(unnamed)
            }
            Err(VaultError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn sealed(&self, folder: &PrivateFolder, id: &SecretId) -> Result<Keystore, VaultError> {
        let name = file_name(id);
        let missing = || VaultError::Missing { id: *id, place: folder.join(&name).display().to_string() };
        let json = folder.read(&name, keystore::MAX_FILE)?.ok_or_else(missing)?;
        keystore::parse(&json).map_err(|e| in_file(folder, id, e))
    }

    /// Asks for the passphrase until `attempt` does not find it wrong; a person has a few tries.
    fn ask_until_right<T>(
        &self,
        folder: &PrivateFolder,
        attempt: impl Fn(&str) -> Result<T, VaultError>,
    ) -> Result<(Zeroizing<String>, T), VaultError> {
        let mut question = Question::Unlock;
        for _ in 0..TRIES {
            let passphrase = self.source.ask(question)?;
            match attempt(&passphrase) {
                Err(VaultError::WrongPassphrase { .. }) if self.source.can_be_asked_again() => {
                    question = Question::UnlockAgain;
                }
                outcome => return outcome.map(|value| (passphrase, value)),
            }
        }
        Err(VaultError::WrongPassphrase { what: folder.path().to_owned() })
    }

    /// No passphrase was ever chosen here.
    fn is_new(&self, folder: &PrivateFolder) -> Result<bool, VaultError> {
        Ok(folder.read(CHECK_FILE, keystore::MAX_FILE)?.is_none() && self.ids(folder)?.is_empty())
    }

    /// Before something is sealed: the passphrase must be the one everything else here is sealed with.
    fn prove(&self, folder: &PrivateFolder, passphrase: &str) -> Result<(), VaultError> {
        let fits = match self.fits_check(folder, passphrase)? {
            Some(fits) => fits,
            None => {
                let lock = folder.lock()?;
                // Another process may have made it while we waited.
                match self.fits_check(folder, passphrase)? {
                    Some(fits) => fits,
                    None => {
                        // The check file is new or was lost. If it was lost, a sealed file vouches for the passphrase.
                        if let Some(id) = self.ids(folder)?.first() {
                            self.sealed(folder, id)?.open(passphrase).map_err(|e| in_file(folder, id, e))?;
                        }
                        self.write_check(folder, &lock, passphrase)?;
                        true
                    }
                }
            }
        };
        if fits { Ok(()) } else { Err(VaultError::WrongPassphrase { what: folder.path().to_owned() }) }
    }

    /// A sealed file did not take the passphrase: whose fault is it?
    fn mismatch(&self, folder: &PrivateFolder, id: &SecretId, passphrase: &str) -> VaultError {
        let file = folder.join(&file_name(id));
        match self.fits_check(folder, passphrase) {
            Ok(Some(true)) => VaultError::damaged(
                &file,
                "the passphrase is right, but the content does not match its checksum; put the file back from a backup",
            ),
            Ok(Some(false)) => VaultError::WrongPassphrase { what: folder.path().to_owned() },
            Ok(None) | Err(_) => VaultError::WrongPassphraseOrChanged { file },
        }
    }

    /// `None` when there is no check file.
    fn fits_check(&self, folder: &PrivateFolder, passphrase: &str) -> Result<Option<bool>, VaultError> {
        let Some(json) = folder.read(CHECK_FILE, keystore::MAX_FILE)? else { return Ok(None) };
        let path = folder.join(CHECK_FILE);
        let advice = "it holds no secret: delete it, and it is made again";
        let check: PassphraseCheck =
            serde_json::from_slice(&json).map_err(|e| VaultError::damaged(&path, format!("{e}; {advice}")))?;
        let key = check.kdf.derive(passphrase).map_err(|e| VaultError::damaged(&path, format!("{e}; {advice}")))?;
        Ok(Some(check.check == check_value(&key)))
    }

    fn write_check(&self, folder: &PrivateFolder, lock: &FolderLock, passphrase: &str) -> Result<(), VaultError> {
        let path = folder.join(CHECK_FILE);
        let failed = |e: KeystoreError| VaultError::from_keystore(path.clone(), e);
        let kdf = Kdf::fresh(self.cost).map_err(failed)?;
        let check = check_value(&*kdf.derive(passphrase).map_err(failed)?);
        let json = serde_json::to_vec_pretty(&PassphraseCheck { kdf, check })
            .map_err(|e| VaultError::damaged(&path, e.to_string()))?;
        folder.replace(lock, CHECK_FILE, &json)
    }
}

fn file_name(id: &SecretId) -> String {
    format!("{id}.json")
}

fn in_file(folder: &PrivateFolder, id: &SecretId, error: KeystoreError) -> VaultError {
    VaultError::from_keystore(folder.join(&file_name(id)), error)
}

/// Not the MAC of a keystore, and of no use to open one: the derived key has a salt of its own.
fn check_value(key: &[u8; 32]) -> String {
    let mut hash = Keccak256::new();
    hash.update(CHECK_DOMAIN);
    hash.update(key);
    hex::encode(hash.finalize())
}

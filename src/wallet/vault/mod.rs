//! Where secrets are. The rest of the wallet knows them by id and address, and asks for one at the moment of signing.
//!
//! ```text
//!   Vault ── index.json      ids, addresses, labels, backends; listing unlocks nothing
//!     │
//!     ├── sealed files       <id>.json, Ethereum keystore V3, one passphrase for all of them
//!     └── OS keyring         one entry a secret
//! ```
//! Calls block: scrypt takes a second, a person or a keyring takes as long as it likes. On a runtime of several threads its
//! other tasks go on meanwhile.

mod error;
#[cfg(test)]
mod fuzz;
pub mod hygiene;
pub mod import;
mod index;
mod keyring;
mod keystore;
mod mnemonic;
mod passphrase;
mod private_files;
mod sealed;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod upkeep;

use std::{fmt, path::Path, str::FromStr};

use alloy::hex;
use serde::{Deserialize, Serialize};
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::{secret::Secret, text::clean};
pub use error::VaultError;
use index::Index;
pub use index::{Entry, Step};
use keyring::Keyring;
pub use passphrase::{AskPassphrase, PassphraseSource, Question};
use private_files::{FolderLock, PrivateFolder};
use sealed::SealedFiles;

/// Does what blocks, and lets no task of the runtime that calls it wait for it.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// The longest label, in characters.
const MAX_LABEL: usize = 80;

/// Names a secret in records. Random, and says nothing about it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretId([u8; 16]);

impl SecretId {
    pub fn random() -> Result<Self, VaultError> {
        let mut bytes = [0u8; 16];
        getrandom::fill(&mut bytes).map_err(VaultError::NoRandomness)?;
        Ok(Self(bytes))
    }

    /// The same 128 bits in the notation keystores use.
    fn as_uuid(&self) -> String {
        let mut text = self.to_string();
        for dash in [20, 16, 12, 8] {
            text.insert(dash, '-');
        }
        text
    }
}

impl fmt::Display for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretId({self})")
    }
}

/// Not 32 lowercase hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id of a secret is 32 lowercase hexadecimal digits; `keyleash vault ls` shows them")]
pub struct NotAnId;

impl FromStr for SecretId {
    type Err = NotAnId;

    /// One spelling only, because ids are file names.
    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let id = Self(hex::decode_to_array(text).map_err(|_| NotAnId)?);
        if id.to_string() == text { Ok(id) } else { Err(NotAnId) }
    }
}

impl TryFrom<String> for SecretId {
    type Error = NotAnId;

    fn try_from(text: String) -> Result<Self, NotAnId> {
        text.parse()
    }
}

impl From<SecretId> for String {
    fn from(id: SecretId) -> Self {
        id.to_string()
    }
}

/// What can hold secrets. Chosen at `init` and recorded; never switched silently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// The keyring of the operating system.
    Keyring,
    /// Files sealed with a passphrase.
    File,
}

impl Backend {
    fn other(self) -> Self {
        match self {
            Self::Keyring => Self::File,
            Self::File => Self::Keyring,
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keyring => "keyring",
            Self::File => "file",
        })
    }
}

/// Whether a backend would give a secret now, found out without asking anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    Available,
    /// Somebody will be asked for a passphrase first.
    Locked,
    /// There is none; why, in words.
    Absent {
        why: String,
    },
    /// It is there, but does not answer.
    Frozen,
}

/// Whether the vault under `data` was made for play keys: its passphrase check is sealed at a cost that protects nothing.
pub fn is_of_play_keys(data: &Path) -> bool {
    sealed::is_cheap(&PrivateFolder::new(data.join("vault")))
}

/// All secrets of one installation.
pub struct Vault {
    folder: PrivateFolder,
    /// Where new secrets go.
    backend: Backend,
    sealed: SealedFiles,
    keyring: Keyring,
}

impl Vault {
    /// The vault under the data folder `data`. Touches no file, asks nothing.
    pub fn open(data: &Path, backend: Backend, passphrase: PassphraseSource) -> Self {
        Self {
            folder: PrivateFolder::new(data.join("vault")),
            backend,
            sealed: SealedFiles::new(passphrase),
            keyring: Keyring::new(Box::new(|| {})),
        }
    }

    /// The vault of a sandbox home: sealed files under a passphrase that everybody knows, so that nobody is asked, sealed
    /// cheaply and without waiting for the disk. Never for keys of a live network.
    pub fn of_play_keys(data: &Path) -> Self {
        struct Known;
        impl AskPassphrase for Known {
            fn ask(&self, _: Question) -> Result<zeroize::Zeroizing<String>, VaultError> {
                Ok(zeroize::Zeroizing::new("sandbox".to_owned()))
            }
        }
        let mut vault = Self::open(data, Backend::File, PassphraseSource::StandardInput);
        vault.folder = PrivateFolder::of_play_keys(data.join("vault"));
        vault.sealed = SealedFiles::cheap(PassphraseSource::Prompt(Box::new(Known)));
        vault
    }

    /// `tell` is called when the keyring takes longer than a moment, to show "waiting for your keyring".
    pub fn on_waiting(&mut self, tell: impl Fn() + Send + Sync + 'static) {
        self.keyring = Keyring::new(Box::new(tell));
    }

    /// Stores a secret under an id that is not in use. Once this returns, it was written and read back.
    pub fn put(&self, id: &SecretId, secret: &Secret, label: &str) -> Result<(), VaultError> {
        blocking(|| {
            self.make_ready(self.backend)?;
            let lock = self.folder.lock()?;
            let mut index = Index::load(&self.folder)?;
            if index.find(id).is_some() {
                return Err(VaultError::AlreadyThere { id: *id });
            }
            let entry = Entry {
                id: *id,
                address: secret.address(),
                label: clean(label, MAX_LABEL),
                backend: self.backend,
                step: Step::Writing,
            };
            index.add(entry.clone());
            index.save(&self.folder, &lock)?;
            let written = self.write(self.backend, &lock, &entry, secret);
            match &written {
                Ok(()) => index.set(id, self.backend, Step::Stored),
                Err(error) if self.take_back(error, self.backend, &lock, id) => index.forget(id),
                Err(_) => {}
            }
            index.save(&self.folder, &lock)?;
            written
        })
    }

    /// The secret itself, whose address is the recorded one.
    pub fn get(&self, id: &SecretId) -> Result<Secret, VaultError> {
        blocking(|| {
            let entry = self.entry(id)?;
            let secret = match self.read(entry.backend, id) {
                // Moved between our two looks?
                Err(VaultError::Missing { .. }) => self.read(self.entry(id)?.backend, id)?,
                other => other?,
            };
            if secret.address() != entry.address {
                return Err(VaultError::AddressMismatch { id: *id, recorded: entry.address, found: secret.address() });
            }
            Ok(secret)
        })
    }

    /// Destroys a secret for good.
    pub fn remove(&self, id: &SecretId) -> Result<(), VaultError> {
        blocking(|| {
            let lock = self.folder.lock()?;
            let mut index = Index::load(&self.folder)?;
            let backend = self.settled(&index, id)?.backend;
            index.set(id, backend, Step::Removing);
            index.save(&self.folder, &lock)?;
            let deleted = self.delete(backend, &lock, id);
            match &deleted {
                Ok(()) => index.forget(id),
                Err(error) if error.is_refusal() => index.set(id, backend, Step::Stored),
                Err(_) => {}
            }
            index.save(&self.folder, &lock)?;
            deleted
        })
    }

    /// Every secret, without unlocking any.
    pub fn list(&self) -> Result<Vec<Entry>, VaultError> {
        Ok(Index::load(&self.folder)?.into_entries())
    }

    /// Where new secrets go.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Whether a backend would answer now. Opens no dialog, asks for nothing; takes three seconds at the most.
    pub fn status(&self, of: Backend) -> Status {
        blocking(|| match of {
            Backend::Keyring => self.keyring.status(),
            Backend::File if self.sealed.is_locked() => Status::Locked,
            Backend::File => Status::Available,
        })
    }

    /// Removes what a killed process left half written, where nobody is at work.
    pub fn clear_leftovers(&self) {
        self.folder.clear_leftovers();
    }

    /// Whether a passphrase was chosen in this process that can be guessed.
    pub fn passphrase_is_short(&self) -> bool {
        self.sealed.chosen_is_short()
    }

    /// Forgets what was asked for to open secrets.
    pub fn lock(&self) {
        self.sealed.lock();
    }

    fn entry(&self, id: &SecretId) -> Result<Entry, VaultError> {
        Index::load(&self.folder)?.find(id).cloned().ok_or(VaultError::NotFound { id: *id })
    }

    /// The entry of a secret that no cut-off operation left in between.
    fn settled(&self, index: &Index, id: &SecretId) -> Result<Entry, VaultError> {
        match index.find(id) {
            None => Err(VaultError::NotFound { id: *id }),
            Some(entry) if entry.step == Step::Stored => Ok(entry.clone()),
            Some(_) => Err(VaultError::Unsettled { id: *id }),
        }
    }

    /// Before anything is locked or written: gets the passphrase, or makes sure that a keyring answers.
    fn make_ready(&self, backend: Backend) -> Result<(), VaultError> {
        match backend {
            Backend::Keyring => self.keyring.require(),
            Backend::File => self.sealed.unlock(&self.folder),
        }
    }

    /// Writes, reads back and compares.
    fn write(&self, to: Backend, lock: &FolderLock, entry: &Entry, secret: &Secret) -> Result<(), VaultError> {
        match to {
            Backend::Keyring => self.keyring.write(&entry.id, secret, &entry.label)?,
            Backend::File => self.sealed.write(&self.folder, lock, &entry.id, secret)?,
        }
        match self.read(to, &entry.id) {
            Ok(copy) if copy.expose() == secret.expose() => Ok(()),
            Err(frozen @ VaultError::KeyringFrozen { .. }) => Err(frozen),
            _ => Err(VaultError::CopyDiffers { id: entry.id, to }),
        }
    }

    /// Whether nothing is left of a failed write. Not tried when the keyring hangs: that would take as long again.
    fn take_back(&self, failed: &VaultError, from: Backend, lock: &FolderLock, id: &SecretId) -> bool {
        match failed {
            VaultError::KeyringFrozen { .. } => false,
            refused if refused.is_refusal() => true,
            _ => self.delete(from, lock, id).is_ok(),
        }
    }

    fn read(&self, from: Backend, id: &SecretId) -> Result<Secret, VaultError> {
        match from {
            Backend::Keyring => {
                self.keyring.read(id)?.ok_or_else(|| VaultError::Missing { id: *id, place: "your keyring".into() })
            }
            Backend::File => self.sealed.read(&self.folder, id),
        }
    }

    fn delete(&self, from: Backend, lock: &FolderLock, id: &SecretId) -> Result<(), VaultError> {
        match from {
            Backend::Keyring => self.keyring.remove(id),
            Backend::File => self.sealed.remove(&self.folder, lock, id),
        }
    }
}

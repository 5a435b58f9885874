//! Where secrets are. The rest of the wallet knows them by id and address, and asks for one at the moment of signing.
//!
//! ```text
//!   Vault ── index.json      ids, addresses, labels, backends; listing unlocks nothing
//!     │
//!     ├── sealed files       <id>.json, Ethereum keystore V3, one passphrase for all of them
//!     └── OS keyring         one entry a secret
//! ```
//! Calls block: scrypt takes a second, a person or a keyring takes as long as it likes. Front ends with an event loop
//! call from a thread of their own.

pub mod hygiene;
pub mod import;
mod index;
mod keystore;
mod passphrase;
mod private_files;
mod sealed;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use alloy::{hex, primitives::Address};
use serde::{Deserialize, Serialize};

use crate::{kernel::text::clean, secret::Secret};
use index::Index;
pub use index::{Entry, Step};
use keystore::KeystoreError;
pub use passphrase::{AskPassphrase, PassphraseSource, Question};
use private_files::{FolderLock, PrivateFolder, read_bounded};
use sealed::SealedFiles;

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
    File,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "file",
        })
    }
}

/// Why the vault did not do what was asked. Every message says what to do next; none repeats a secret.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error("there is no secret with the id {id} in this vault; `keyleash vault ls` shows those that are there")]
    NotFound { id: SecretId },
    #[error("there is a secret with the id {id} already; it was left alone, store the new one under a fresh id")]
    AlreadyThere { id: SecretId },
    #[error(
        "the secret {id} should be in {place}, but is not there; put it back from a backup, or run `keyleash vault check`"
    )]
    Missing { id: SecretId, place: String },
    #[error(
        "the secret {id} has the address {found}, but {recorded} is recorded for it; it is not used. Somebody changed the \
         vault: run `keyleash vault check`, and put it back from a backup"
    )]
    AddressMismatch { id: SecretId, recorded: Address, found: Address },
    #[error("wrong passphrase for {}; nothing was changed, try again", what.display())]
    WrongPassphrase { what: PathBuf },
    #[error(
        "{} does not open: either the passphrase is wrong, or the file was changed after it was sealed; try the passphrase \
         again, then a backup of the file", file.display()
    )]
    WrongPassphraseOrChanged { file: PathBuf },
    #[error(
        "no passphrase: {0}; run keyleash on a terminal, or name a file with --passphrase-file (`-` for standard input)"
    )]
    NoPassphrase(String),
    #[error("an empty passphrase protects nothing; give one that has at least one character")]
    EmptyPassphrase,
    #[error("the two passphrases differ; nothing was stored, try again")]
    PassphrasesDiffer,
    #[error("cancelled; nothing was changed")]
    Cancelled,
    #[error("{} is damaged: {why}", file.display())]
    Damaged { file: PathBuf, why: String },
    #[error(
        "{} asks for too much: {why}. No wallet writes such a file; get the keystore from where it was made, or import the \
         key another way", file.display()
    )]
    Hostile { file: PathBuf, why: String },
    #[error("{} cannot be read: {why}; export the key again as a version 3 keystore, or import it another way", file.display())]
    Unsupported { file: PathBuf, why: String },
    #[error("could not {doing} {}: {source}; check who may write there and whether the disk is full", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("{what} cannot be used: {why}")]
    Import { what: String, why: &'static str },
    #[error("another keyleash has held {} for too long; let it finish or end it, then try again", path.display())]
    Busy { path: PathBuf },
    #[error("the operating system gave no random bytes: {0}; nothing was stored")]
    NoRandomness(getrandom::Error),
}

impl VaultError {
    /// For scripts: what kind of trouble it is.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } | Self::Missing { .. } => "missing",
            Self::AlreadyThere { .. } => "exists",
            Self::AddressMismatch { .. } => "address",
            Self::WrongPassphrase { .. } | Self::WrongPassphraseOrChanged { .. } => "wrong_passphrase",
            Self::NoPassphrase(_) | Self::EmptyPassphrase | Self::PassphrasesDiffer => "passphrase",
            Self::Cancelled => "cancelled",
            Self::Damaged { .. } => "damaged",
            Self::Hostile { .. } => "hostile",
            Self::Unsupported { .. } => "unsupported",
            Self::Io { .. } => "io",
            Self::Import { .. } => "import",
            Self::Busy { .. } => "busy",
            Self::NoRandomness(_) => "no_randomness",
        }
    }

    fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), source }
    }

    fn damaged(file: &Path, why: impl Into<String>) -> Self {
        Self::Damaged { file: file.to_owned(), why: why.into() }
    }

    fn from_keystore(file: PathBuf, error: KeystoreError) -> Self {
        match error {
            KeystoreError::Hostile(why) => Self::Hostile { file, why },
            KeystoreError::Unsupported(why) => Self::Unsupported { file, why },
            KeystoreError::MacMismatch => Self::WrongPassphraseOrChanged { file },
            KeystoreError::NoRandomness(e) => Self::NoRandomness(e),
            KeystoreError::Malformed(_) | KeystoreError::NotAKey | KeystoreError::AddressMismatch { .. } => {
                Self::Damaged { file, why: format!("{error}; put it back from a backup") }
            }
        }
    }
}

/// Whether a backend would give a secret now, found out without asking anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Available,
    /// It will ask for a passphrase first.
    Locked,
}

/// All secrets of one installation.
pub struct Vault {
    folder: PrivateFolder,
    /// Where new secrets go.
    backend: Backend,
    sealed: SealedFiles,
}

impl Vault {
    /// The vault under the data folder `data`. Touches no file, asks nothing.
    pub fn open(data: &Path, backend: Backend, passphrase: PassphraseSource) -> Self {
        Self { folder: PrivateFolder::new(data.join("vault")), backend, sealed: SealedFiles::new(passphrase) }
    }

    /// Sealed files at hardly any cost, under the passphrase `test`.
    #[cfg(test)]
    pub fn for_tests(data: &Path) -> Self {
        struct Answer;
        impl AskPassphrase for Answer {
            fn ask(&self, _: Question) -> Result<zeroize::Zeroizing<String>, VaultError> {
                Ok(zeroize::Zeroizing::new("test".to_owned()))
            }
        }
        let mut vault = Self::open(data, Backend::File, PassphraseSource::Prompt(Box::new(Answer)));
        vault.sealed = SealedFiles::cheap(PassphraseSource::Prompt(Box::new(Answer)));
        vault
    }

    /// Stores a secret under an id that is not in use. Once this returns it is on the disk.
    pub fn put(&self, id: &SecretId, secret: &Secret, label: &str) -> Result<(), VaultError> {
        self.unlock()?;
        let lock = self.folder.lock()?;
        let mut index = Index::load(&self.folder)?;
        if index.find(id).is_some() {
            return Err(VaultError::AlreadyThere { id: *id });
        }
        index.add(Entry {
            id: *id,
            address: secret.address(),
            label: clean(label, MAX_LABEL),
            backend: self.backend,
            step: Step::Writing,
        });
        index.save(&self.folder, &lock)?;
        let written = self.write(self.backend, &lock, id, secret);
        match (&written, index.find_mut(id)) {
            (Ok(()), Some(entry)) => entry.step = Step::Stored,
            _ => index.forget(id),
        }
        index.save(&self.folder, &lock)?;
        written
    }

    /// The secret itself, whose address is the recorded one.
    pub fn get(&self, id: &SecretId) -> Result<Secret, VaultError> {
        let index = Index::load(&self.folder)?;
        let entry = index.find(id).ok_or(VaultError::NotFound { id: *id })?;
        let secret = self.read(entry.backend, id)?;
        if secret.address() != entry.address {
            return Err(VaultError::AddressMismatch { id: *id, recorded: entry.address, found: secret.address() });
        }
        Ok(secret)
    }

    /// Whether the index knows the id. Unlocks nothing.
    pub fn contains(&self, id: &SecretId) -> Result<bool, VaultError> {
        Ok(Index::load(&self.folder)?.find(id).is_some())
    }

    /// Destroys a secret for good.
    pub fn remove(&self, id: &SecretId) -> Result<(), VaultError> {
        let lock = self.folder.lock()?;
        let mut index = Index::load(&self.folder)?;
        let entry = index.find_mut(id).ok_or(VaultError::NotFound { id: *id })?;
        let backend = entry.backend;
        entry.step = Step::Removing;
        index.save(&self.folder, &lock)?;
        self.delete(backend, &lock, id)?;
        index.forget(id);
        index.save(&self.folder, &lock)
    }

    /// Every secret, without unlocking any.
    pub fn list(&self) -> Result<Vec<Entry>, VaultError> {
        Ok(Index::load(&self.folder)?.into_entries())
    }

    /// Where new secrets go.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Whether the chosen backend would answer now. Asks nobody for anything.
    pub fn status(&self) -> Status {
        match self.backend {
            Backend::File if self.sealed.is_locked() => Status::Locked,
            Backend::File => Status::Available,
        }
    }

    /// Gets the passphrase, if new secrets need one, before anything is locked or written.
    fn unlock(&self) -> Result<(), VaultError> {
        match self.backend {
            Backend::File => self.sealed.unlock(&self.folder),
        }
    }

    fn write(&self, to: Backend, lock: &FolderLock, id: &SecretId, secret: &Secret) -> Result<(), VaultError> {
        match to {
            Backend::File => self.sealed.write(&self.folder, lock, id, secret),
        }
    }

    fn read(&self, from: Backend, id: &SecretId) -> Result<Secret, VaultError> {
        match from {
            Backend::File => self.sealed.read(&self.folder, id),
        }
    }

    fn delete(&self, from: Backend, lock: &FolderLock, id: &SecretId) -> Result<(), VaultError> {
        match from {
            Backend::File => self.sealed.remove(&self.folder, lock, id),
        }
    }
}

/// Opens a version 3 keystore of any origin, such as an owner key that is being imported.
pub fn open_keystore(file: &Path, passphrase: &PassphraseSource) -> Result<Secret, VaultError> {
    // A file that cannot be opened is refused before anybody types a passphrase.
    let json = read_bounded(file, keystore::MAX_FILE)?;
    let sealed = keystore::parse(&json).map_err(|e| VaultError::from_keystore(file.to_owned(), e))?;
    let passphrase = passphrase.ask(Question::Import)?;
    sealed.open(&passphrase).map_err(|e| VaultError::from_keystore(file.to_owned(), e))
}

#[cfg(test)]
mod tests;

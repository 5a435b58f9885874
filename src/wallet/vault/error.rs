//! Why the vault did not do what was asked.

use std::{
    io,
    path::{Path, PathBuf},
};

use alloy::primitives::Address;

use super::{Backend, SecretId, keystore::KeystoreError};

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
    #[error(
        "there is no keyring to ask ({why}). Start one (GNOME Keyring, KWallet, or KeePassXC with its Secret Service) and start \
         keyleash again; or keep secrets in sealed files instead: `--vault file` at `keyleash init`. Nothing was stored"
    )]
    KeyringAbsent { why: String },
    #[error(
        "your keyring is locked, and was not unlocked; unlock it (log in to your desktop, or open it in your keyring manager), then try again"
    )]
    KeyringLocked,
    #[error(
        "your keyring was asked to unlock, and that was dismissed; nothing was changed, try again when you want to allow it"
    )]
    KeyringDenied,
    #[error(
        "your keyring has not answered for {seconds} s; it hangs, or is waiting for something. Restart it, then try again; \
         `keyleash vault check` puts right what was cut off"
    )]
    KeyringFrozen { seconds: u64 },
    #[error("your keyring failed: {why}; if it was restarted, start keyleash again, then run `keyleash vault check`")]
    KeyringFailed { why: String },
    #[error(
        "what your keyring holds for the secret {id} is not a private key; it is not used. Put it back from a backup"
    )]
    NotAKey { id: SecretId },
    #[error(
        "what was written to the {to} vault for {id} does not read back as it was written; it was taken out again, try again"
    )]
    CopyDiffers { id: SecretId, to: Backend },
    #[error("{} was written by a newer keyleash (schema {schema}); use that one. Nothing was changed", file.display())]
    Newer { file: PathBuf, schema: u32 },
    #[error(
        "an earlier operation on the secret {id} was cut off; run `keyleash vault check` first, it puts that right"
    )]
    Unsettled { id: SecretId },
    #[error("{what} cannot be used: {why}")]
    Import { what: String, why: &'static str },
    #[error("{} cannot be trusted with secrets: {why}; remove it, or make it yours (chown) and close it (chmod 700)", path.display())]
    NotOurs { path: PathBuf, why: &'static str },
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
            Self::Damaged { .. } | Self::NotAKey { .. } => "damaged",
            Self::Hostile { .. } => "hostile",
            Self::Unsupported { .. } | Self::Newer { .. } => "unsupported",
            Self::Io { .. } => "io",
            Self::Import { .. } => "import",
            Self::Busy { .. } => "busy",
            Self::NotOurs { .. } => "not_ours",
            Self::NoRandomness(_) => "no_randomness",
            Self::KeyringAbsent { .. } => "absent",
            Self::KeyringLocked => "locked",
            Self::KeyringDenied => "denied",
            Self::KeyringFrozen { .. } => "frozen",
            Self::KeyringFailed { .. } => "keyring",
            Self::CopyDiffers { .. } => "copy",
            Self::Unsettled { .. } => "unsettled",
        }
    }

    /// Whether the backend did not even begin.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::KeyringAbsent { .. } | Self::KeyringLocked | Self::KeyringDenied)
    }

    pub(super) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), source }
    }

    pub(super) fn damaged(file: &Path, why: impl Into<String>) -> Self {
        Self::Damaged { file: file.to_owned(), why: why.into() }
    }

    pub(super) fn from_keystore(file: PathBuf, error: KeystoreError) -> Self {
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

//! The keyring of the operating system: Secret Service on Linux, Keychain on macOS, Credential Manager on Windows.
//!
//! One entry a secret: service `keyleash`, account = the id, the key as hex text (KWallet takes text only). Every call runs
//! on a thread of its own, because it may block for ever; what a keyring error says of the secret is never passed on.

use std::{
    collections::HashMap,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use keyring_core::{Entry, Error};
use zeroize::Zeroizing;

use super::{SecretId, Status, VaultError};
use crate::{secret::Secret, text::clean};

const SERVICE: &str = "keyleash";
/// After this long the front end is told that we wait.
const POLITE: Duration = Duration::from_secs(1);
/// After this long we look whether the keyring is alive. With [`PROBE`] it stays well below 10 s until a clear answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a sign of life may take. The bus may have to start the keyring first.
const PROBE: Duration = Duration::from_secs(3);
/// How long a person may take to type a password into the keyring's own dialog.
const PERSON: Duration = Duration::from_secs(120);

pub struct Keyring {
    /// Told once for each call that takes longer than a moment.
    waiting: Box<dyn Fn() + Send + Sync>,
}

impl Keyring {
    pub fn new(waiting: Box<dyn Fn() + Send + Sync>) -> Self {
        Self { waiting }
    }

    pub fn write(&self, id: &SecretId, secret: &Secret, label: &str) -> Result<(), VaultError> {
        let text = secret.to_hex();
        let title = format!("keyleash: {label} ({})", secret.address());
        self.ask(*id, move |id| entry(id, &title)?.set_password(&text).map_err(translate))
    }

    /// `None` when the keyring has no such entry.
    pub fn read(&self, id: &SecretId) -> Result<Option<Secret>, VaultError> {
        let bytes = self.ask(*id, |id| match entry(id, SERVICE)?.get_secret() {
            Ok(bytes) => Ok(Some(Zeroizing::new(bytes))),
            Err(Error::NoEntry) => Ok(None),
            Err(error) => Err(translate(error)),
        })?;
        let Some(bytes) = bytes else { return Ok(None) };
        let text = std::str::from_utf8(&bytes).map_err(|_| VaultError::NotAKey { id: *id })?;
        Secret::from_hex(text).map(Some).map_err(|_| VaultError::NotAKey { id: *id })
    }

    /// An entry that is not there is as good as removed.
    pub fn remove(&self, id: &SecretId) -> Result<(), VaultError> {
        self.ask(*id, |id| match entry(id, SERVICE)?.delete_credential() {
            Ok(()) | Err(Error::NoEntry) => Ok(()),
            Err(error) => Err(translate(error)),
        })
    }

    /// Found out without a dialog. On macOS and Windows a locked keyring cannot be told from an open one.
    pub fn status(&self) -> Status {
        answer_of("keyring probe", look)
            .map_or(Status::Frozen, |answer| answer.recv_timeout(PROBE).unwrap_or(Status::Frozen))
    }

    fn is_alive(&self) -> bool {
        matches!(self.status(), Status::Available | Status::Locked)
    }

    /// Fails at once when there is no point in asking for anything.
    pub fn require(&self) -> Result<(), VaultError> {
        match self.status() {
            Status::Available | Status::Locked => Ok(()),
            Status::Absent { why } => Err(VaultError::KeyringAbsent { why }),
            Status::Frozen => Err(VaultError::KeyringFrozen { seconds: PROBE.as_secs() }),
        }
    }

    /// Runs `job` on its own thread and waits: for the keyring a few seconds, for a person longer.
    fn ask<T: Send + 'static>(
        &self,
        id: SecretId,
        job: impl FnOnce(&SecretId) -> Result<T, VaultError> + Send + 'static,
    ) -> Result<T, VaultError> {
        let begun = Instant::now();
        let answer = answer_of("keyring", move || job(&id))?;
        match answer.recv_timeout(POLITE) {
            Ok(result) => return result,
            Err(_) => (self.waiting)(),
        }
        loop {
            match answer.recv_timeout(PATIENCE - POLITE) {
                Ok(result) => return result,
                // Alive: its dialog is open, and a person is to unlock it or to allow this.
                Err(RecvTimeoutError::Timeout) if begun.elapsed() < PERSON && self.is_alive() => {}
                Err(_) => return Err(VaultError::KeyringFrozen { seconds: begun.elapsed().as_secs() }),
            }
        }
    }
}

/// Where the result of `job`, run on a thread of its own, will arrive. A result nobody waits for any more is dropped there,
/// which wipes it.
fn answer_of<T: Send + 'static>(
    name: &str,
    job: impl FnOnce() -> T + Send + 'static,
) -> Result<mpsc::Receiver<T>, VaultError> {
    let (tell, answer) = mpsc::sync_channel(1);
    thread::Builder::new()
        .name(name.into())
        .spawn(move || tell.send(job()))
        .map_err(|e| VaultError::KeyringFailed { why: format!("no thread could be started to ask it ({e})") })?;
    Ok(answer)
}

fn entry(id: &SecretId, title: &str) -> Result<Entry, VaultError> {
    if let Err(error) = keyring::Entry::store_status() {
        return Err(VaultError::KeyringAbsent { why: describe(error) });
    }
    let account = id.to_string();
    // Only the Secret Service has a title beside service and account.
    if cfg!(all(unix, not(target_os = "macos"))) {
        Entry::new_with_modifiers(SERVICE, &account, &HashMap::from([("label", title)])).map_err(translate)
    } else {
        Entry::new(SERVICE, &account).map_err(translate)
    }
}

fn translate(error: Error) -> VaultError {
    match &error {
        Error::NoStorageAccess(cause) if was_dismissed(cause.as_ref()) => VaultError::KeyringDenied,
        Error::NoStorageAccess(_) => VaultError::KeyringLocked,
        _ => VaultError::KeyringFailed { why: describe(&error) },
    }
}

/// What happened, without what the keyring holds: some errors carry it.
fn describe(error: &Error) -> String {
    match error {
        Error::PlatformFailure(cause) | Error::NoStorageAccess(cause) => in_words(cause.as_ref()),
        Error::BadEncoding(_) | Error::BadDataFormat(..) => "its entry for this secret cannot be read".into(),
        Error::Ambiguous(_) => "it has several entries for this secret".into(),
        Error::TooLong(..) => "it does not take an entry as long as ours".into(),
        _ => "it does not do what was asked".into(),
    }
}

/// zbus has no better names for the two common reasons than their texts.
fn in_words(cause: &(dyn std::error::Error + 'static)) -> String {
    let text = cause.to_string();
    if text.contains("org.freedesktop.DBus.Error.ServiceUnknown") {
        "no program on your session bus keeps secrets".into()
    } else if text.contains("Failed to connect to address") || text.contains("dbus session") {
        "there is no session bus here".into()
    } else {
        clean(&text, 200)
    }
}

#[cfg(all(unix, not(target_os = "macos")))]
fn was_dismissed(cause: &(dyn std::error::Error + 'static)) -> bool {
    matches!(cause.downcast_ref(), Some(secret_service::Error::Prompt))
}

#[cfg(not(all(unix, not(target_os = "macos"))))]
fn was_dismissed(_: &(dyn std::error::Error + 'static)) -> bool {
    false
}

/// Connects and asks whether the default collection is locked, which opens no dialog.
#[cfg(all(unix, not(target_os = "macos")))]
fn look() -> Status {
    use secret_service::{EncryptionType, Error, blocking::SecretService};
    let locked = || SecretService::connect(EncryptionType::Plain)?.get_default_collection()?.is_locked();
    match locked() {
        Ok(false) => Status::Available,
        Ok(true) => Status::Locked,
        Err(Error::NoResult) => {
            Status::Absent { why: "it has no default keyring yet; make one in your keyring manager".into() }
        }
        Err(error) => Status::Absent { why: in_words(&error) },
    }
}

#[cfg(not(all(unix, not(target_os = "macos"))))]
fn look() -> Status {
    match keyring::Entry::store_status() {
        Ok(()) => Status::Available,
        Err(error) => Status::Absent { why: describe(error) },
    }
}

//! Where things are kept, and the config file that a person may edit.
//!
//! | what | where (Linux defaults) |
//! |---|---|
//! | `config.toml`: vault backend, networks | `~/.config/keyleash` |
//! | `records.db`, `vault/` | `~/.local/share/keyleash` |
//! | of a sandbox: `sandbox.json`, and `sandbox.making` until it is whole | `~/.local/share/keyleash/sandbox` |
//!
//! `--home DIR` or `KEYLEASH_HOME` puts both under one folder. Files are 0600, folders 0700, replaced atomically.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    error::{Error, Result},
    files::{self, Outlives},
    records::model::Network,
    vault::Backend,
};
use crate::text::clean;

/// Largest config file that is read, in bytes.
const MAX_CONFIG: u64 = 1 << 20;
/// Most characters of a parser's own words, which repeat what the file says.
const SHOWN: usize = 300;

/// The folders of one installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    config: PathBuf,
    data: PathBuf,
}

impl Home {
    /// Everything under one folder.
    pub fn at(folder: &Path) -> Self {
        Self { config: folder.to_path_buf(), data: folder.to_path_buf() }
    }

    /// The platform's folders for this user.
    pub fn of_user() -> Result<Self> {
        let dirs = directories::ProjectDirs::from("", "", "keyleash").ok_or_else(|| {
            Error::failed("home.none", "this user has no home folder to keep records in")
                .hint("name a folder with --home DIR")
        })?;
        Ok(Self { config: dirs.config_dir().to_path_buf(), data: dirs.data_dir().to_path_buf() })
    }

    /// The folder of this user's sandbox home: apart from the real one, so that the two never mix.
    pub fn sandbox_of_user() -> Result<Self> {
        Ok(Self::at(&Self::of_user()?.data.join("sandbox")))
    }

    pub fn config_file(&self) -> PathBuf {
        self.config.join("config.toml")
    }

    pub fn records_file(&self) -> PathBuf {
        self.data.join("records.db")
    }

    /// The folder whose `vault/` holds sealed secrets.
    pub fn data(&self) -> &Path {
        &self.data
    }

    pub fn config_folder(&self) -> &Path {
        &self.config
    }

    pub fn is_initialized(&self) -> bool {
        self.config_file().exists()
    }

    pub fn create_folders(&self) -> Result<()> {
        for folder in [&self.config, &self.data] {
            files::make_folder(folder).map_err(|e| io_error("create the folder", folder, &e))?;
        }
        Ok(())
    }

    /// Looks at what is there before anything in it is believed. What belongs to somebody else is refused: its config could name
    /// any node. What is ours and open to others is closed. Answers what was found, in sentences.
    #[cfg(unix)]
    pub(super) fn check(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let folders: &[&PathBuf] = if self.config == self.data { &[&self.config] } else { &[&self.config, &self.data] };
        for folder in folders {
            found.extend(close_to_others(folder, true)?);
        }
        for file in [self.config_file(), self.records_file()] {
            found.extend(close_to_others(&file, false)?);
        }
        // A link is judged by the vault, whenever a secret is wanted: what needs none goes on.
        let vault = self.vault_folder();
        if fs::symlink_metadata(&vault).is_ok_and(|facts| facts.is_dir()) {
            found.extend(close_to_others(&vault, true).unwrap_or_else(|error| Some(error.message)));
        }
        Ok(found)
    }

    #[cfg(not(unix))]
    pub(super) fn check(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Removes what a process that was killed left half written, in our own folders: only files that have the names we give
    /// them, and none that may still be worked on. The config is written under its lock; the rest must be old.
    pub(super) fn remove_leftovers(&self) {
        let found = |folder: &Path, of: &str| -> Vec<fs::DirEntry> {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            entries.filter(|e| e.file_name().to_str().and_then(files::becomes) == Some(of)).collect()
        };
        // Nothing depends on these files; what cannot be removed is there the next time.
        let of_config = found(&self.config, "config.toml");
        if !of_config.is_empty()
            && let Ok(lock) = files::open(&self.config.join(".lock"))
            && lock.try_lock().is_ok()
        {
            for entry in &of_config {
                drop(fs::remove_file(entry.path()));
            }
        }
        for entry in found(&self.data, "sandbox.json") {
            let written = entry.metadata().ok().and_then(|facts| facts.modified().ok());
            if written.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > LEFTOVER) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Removes what a sandbox home holds, so that it can be made anew. Refused on any other home.
    pub fn clear_sandbox(&self) -> Result<()> {
        let half_made = !self.is_initialized() && self.making_file().exists();
        if !half_made && !self.load_config()?.sandbox {
            return Err(Error::usage("sandbox.only", "this profile is for live networks; it is never thrown away"));
        }
        self.remove_play_data()?;
        // These last: while one of them is there, a second try finds a sandbox to clear.
        remove_if_there(&self.config_file())?;
        remove_if_there(&self.making_file())
    }

    /// While this file is there and no config is, a sandbox is being made, or was when its process was killed.
    fn making_file(&self) -> PathBuf {
        self.data.join("sandbox.making")
    }

    /// Begins a sandbox home. It is one only from [`finish_sandbox`](Self::finish_sandbox) on; what a killed process left is
    /// cleared away first. While the answer lives, no other process begins one here.
    pub(super) fn begin_sandbox(&self) -> Result<fs::File> {
        let making = self.making_file();
        // Play data says that it is: whatever else is here is somebody's, and no sandbox begins on top of it.
        let left_over = making.exists();
        if !left_over && let Some(found) = [self.records_file(), self.vault_folder()].iter().find(|path| path.exists())
        {
            return Err(Error::failed(
                "home.exists",
                format!(
                    "{} is there, without a config that says what it belongs to; nothing was changed",
                    found.display()
                ),
            )
            .hint("name another folder with --home"));
        }
        self.create_folders()?;
        let lock = files::open(&making).map_err(|e| io_error("open", &making, &e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(Error::failed(
                    "home.busy",
                    format!("another keyleash is making a sandbox in {} now", self.data.display()),
                )
                .hint("wait until it is done"));
            }
            Err(fs::TryLockError::Error(e)) => return Err(io_error("lock", &making, &e)),
        }
        // The other process was done before this one had the lock.
        if self.is_initialized() {
            return Err(exists(self));
        }
        if left_over {
            self.remove_play_data()?;
        }
        Ok(lock)
    }

    /// Makes a whole sandbox out of one that was begun: now there is a home.
    pub(super) fn finish_sandbox(&self, config: toml_edit::Table) -> Result<()> {
        self.edit_config(|document| {
            if document.contains_key("vault") {
                return Err(exists(self));
            }
            document.extend(config);
            Ok(())
        })?;
        remove_if_there(&self.making_file())
    }

    /// Clears away what is left of a sandbox whose making was cut off, so that no live home begins with play keys.
    pub(super) fn clear_half_made_sandbox(&self) -> Result<()> {
        if self.is_initialized() || !self.making_file().exists() {
            return Ok(());
        }
        let _lock = self.begin_sandbox()?;
        remove_if_there(&self.making_file())
    }

    fn vault_folder(&self) -> PathBuf {
        self.data.join("vault")
    }

    fn remove_play_data(&self) -> Result<()> {
        let records = self.records_file();
        let beside = |suffix: &str| records.with_file_name(format!("records.db{suffix}"));
        let vault = self.vault_folder();
        if vault.exists() {
            fs::remove_dir_all(&vault).map_err(|e| io_error("remove", &vault, &e))?;
        }
        let files = [beside("-wal"), beside("-shm"), records.clone(), self.data.join("sandbox.json")];
        files.iter().try_for_each(|file| remove_if_there(file))
    }

    pub fn load_config(&self) -> Result<Config> {
        let path = self.config_file();
        let text = read_bounded(&path, MAX_CONFIG)?;
        toml::from_str(&text).map_err(|e| {
            Error::failed(
                "config.invalid",
                format!("{} cannot be read: {}", at_line(&path, &text, e.span()), clean(e.message(), SHOWN)),
            )
            .hint("correct the file in an editor")
        })
    }

    /// Changes the config under a lock, so that two processes do not overwrite each other. Comments and order are kept.
    pub fn edit_config(&self, change: impl FnOnce(&mut toml_edit::DocumentMut) -> Result<()>) -> Result<()> {
        let lock_path = self.config.join(".lock");
        let lock = files::open(&lock_path).map_err(|e| io_error("open", &lock_path, &e))?;
        lock.lock().map_err(|e| io_error("lock", &lock_path, &e))?;
        let path = self.config_file();
        let text = if path.exists() { read_bounded(&path, MAX_CONFIG)? } else { String::new() };
        let mut document: toml_edit::DocumentMut = text.parse().map_err(|e: toml_edit::TomlError| {
            Error::failed(
                "config.invalid",
                format!("{} cannot be read: {}", at_line(&path, &text, e.span()), clean(e.message(), SHOWN)),
            )
            .hint("correct the file in an editor")
        })?;
        change(&mut document)?;
        replace(&path, document.to_string().as_bytes())
    }
}

/// There is a home already.
pub(super) fn exists(home: &Home) -> Error {
    Error::failed("home.exists", format!("{} is set up already", home.config_folder().display()))
        .hint("nothing was changed; use it, or name another folder with --home")
}

fn remove_if_there(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(io_error("remove", file, &e)),
        _ => Ok(()),
    }
}

/// `config.toml, line 3`.
fn at_line(path: &Path, text: &str, span: Option<std::ops::Range<usize>>) -> String {
    let line = span.and_then(|s| text.get(..s.start)).map(|before| before.matches('\n').count() + 1);
    line.map_or_else(|| path.display().to_string(), |line| format!("{}, line {line}", path.display()))
}

/// The config file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where secrets are kept; chosen at `init`.
    pub vault: Backend,
    /// A closed home on the sandbox, with play keys.
    #[serde(default)]
    pub sandbox: bool,
    #[serde(default)]
    pub network: BTreeMap<String, Network>,
}

/// After so long a temporary file belongs to no process any more.
const LEFTOVER: std::time::Duration = std::time::Duration::from_secs(60 * 60);

/// Others may add to such a folder, but not take away what is not theirs.
#[cfg(unix)]
const STICKY: u32 = 0o1000;

/// Refuses what another user put there, and closes what is ours and open to others. `None`: it is as it should be.
#[cfg(unix)]
fn close_to_others(path: &Path, folder: bool) -> Result<Option<String>> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let refused = |why: &str| {
        Err(Error::failed("home.not_ours", format!("{} {why}; nothing in this profile is used", path.display()))
            .hint("make it yours (chown), or name another folder with --home"))
    };
    let me = rustix::process::geteuid().as_raw();
    let link = match fs::symlink_metadata(path) {
        Ok(facts) => facts,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io_error("look at", path, &e)),
    };
    if link.uid() != me {
        return refused("belongs to another user");
    }
    // A link of one's own, to a disk of one's own, is fine; one to somebody else's file is not.
    let facts = fs::metadata(path).map_err(|e| io_error("look at", path, &e))?;
    if facts.uid() != me {
        return refused("is a link to what belongs to another user");
    }
    if facts.is_dir() != folder || !(folder || facts.is_file()) {
        return refused(if folder { "is not a folder" } else { "is not a regular file" });
    }
    // Others may look into a folder, which may be one of the person's own with more in it: the files are closed. In a folder
    // that they may write into, they can put files of theirs in the place of ours.
    let (mode, unwanted) = (facts.mode() & 0o7777, if folder { 0o022 } else { 0o077 });
    if mode & unwanted == 0 {
        return Ok(None);
    }
    let could = if mode & 0o022 == 0 { "could be read by others" } else { "could be changed by others" };
    let advice = if mode & 0o022 == 0 { "" } else { ": look at its networks and keys before you rely on them" };
    if mode & STICKY != 0 {
        return Ok(Some(format!(
            "{} is a folder that all share (mode {mode:o}); use one of your own{advice}",
            path.display()
        )));
    }
    Ok(Some(match fs::set_permissions(path, fs::Permissions::from_mode(mode & !unwanted)) {
        Ok(()) => format!("{} {could} (mode {mode:o}); it is closed now{advice}", path.display()),
        Err(e) => format!("{} {could} (mode {mode:o}), and cannot be closed: {e}{advice}", path.display()),
    }))
}

/// Reads a text file that must not be larger than `limit` bytes. A byte order mark in front is not part of the text. A pipe
/// that nobody writes into, or a device, is refused rather than waited for.
pub fn read_bounded(path: &Path, limit: u64) -> Result<String> {
    use io::Read;
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        files::open_input(path)?.take(limit + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|e| io_error("read", path, &e))?;
    if bytes.len() as u64 > limit {
        return Err(Error::usage(
            "file.too_large",
            format!("{} is larger than the {limit} bytes that are accepted here", path.display()),
        ));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::usage("file.not_text", format!("{} is not UTF-8 text", path.display())))?;
    Ok(text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_owned))
}

/// Writes a file that must not be there yet: whole or not at all, and never over what came into its place meanwhile. Mode 0600.
pub fn create(path: &Path, content: &[u8]) -> Result<()> {
    files::create(path, content).map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => {
            Error::usage("file.exists", format!("{} exists already; it was left alone", path.display()))
                .hint("name another file")
        }
        _ => io_error("write", path, &e),
    })
}

/// Replaces a file as a whole: a crash leaves the old or the new one, a power cut too. Mode 0600.
pub fn replace(path: &Path, content: &[u8]) -> Result<()> {
    files::replace(path, content, Outlives::PowerCut).map_err(|e| io_error("write", path, &e))
}

pub fn io_error(what: &str, path: &Path, error: &io::Error) -> Error {
    Error::failed("file.io", format!("could not {what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests;

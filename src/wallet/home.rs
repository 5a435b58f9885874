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
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    error::{Error, Result},
    model::Network,
    vault::Backend,
};
use crate::kernel::text::clean;

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
            private_folder(folder).map_err(|e| io_error("create the folder", folder, &e))?;
        }
        Ok(())
    }

    /// Removes what a sandbox home holds, so that it can be made anew. Refused on any other home.
    pub fn clear_sandbox(&self) -> Result<()> {
        let half_made = !self.is_initialized() && self.making_file().exists();
        if !half_made && !self.load_config()?.sandbox {
            return Err(Error::usage("sandbox.only", "this home is for live networks; it is never thrown away"));
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
        let lock = private_file(&making).map_err(|e| io_error("open", &making, &e))?;
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
        let lock = private_file(&lock_path).map_err(|e| io_error("open", &lock_path, &e))?;
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

/// Reads a text file that must not be larger than `limit` bytes.
pub fn read_bounded(path: &Path, limit: u64) -> Result<String> {
    use io::Read;
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        fs::File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|e| io_error("read", path, &e))?;
    if bytes.len() as u64 > limit {
        return Err(Error::usage(
            "file.too_large",
            format!("{} is larger than the {limit} bytes that are accepted here", path.display()),
        ));
    }
    String::from_utf8(bytes).map_err(|_| Error::usage("file.not_text", format!("{} is not UTF-8 text", path.display())))
}

/// Replaces a file as a whole: a crash leaves the old or the new one, a power cut too. Mode 0600.
pub fn replace(path: &Path, content: &[u8]) -> Result<()> {
    put_in_place(path, content, true)
}

/// The same for play data, which a power cut may take: nobody waits for the disk.
pub fn replace_play(path: &Path, content: &[u8]) -> Result<()> {
    put_in_place(path, content, false)
}

fn put_in_place(path: &Path, content: &[u8], synced: bool) -> Result<()> {
    let work = || -> io::Result<()> {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = folder.join(format!(".{name}.{}.tmp", random_name()?));
        let written = (|| {
            let mut file = private_options().create_new(true).open(&temporary)?;
            file.write_all(content)?;
            if synced {
                file.sync_all()?;
            }
            fs::rename(&temporary, path)
        })();
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written?;
        if synced { fs::File::open(folder)?.sync_all() } else { Ok(()) }
    };
    work().map_err(|e| io_error("write", path, &e))
}

/// Opens or creates a file that only its owner can read.
pub fn private_file(path: &Path) -> io::Result<fs::File> {
    private_options().create(true).truncate(false).open(path)
}

fn private_options() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options
}

/// Nobody who shares the folder can guess it and put a file or link of theirs in the way.
fn random_name() -> io::Result<String> {
    let mut bytes = [0u8; 8];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(alloy::hex::encode(bytes))
}

fn private_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(path)
}

pub fn io_error(what: &str, path: &Path, error: &io::Error) -> Error {
    Error::failed("file.io", format!("could not {what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests;

//! Where things are kept, and the config file that a person may edit.
//!
//! | what | where (Linux defaults) |
//! |---|---|
//! | `config.toml`: vault backend, networks | `~/.config/keyleash` |
//! | `records.db`, `vault/` | `~/.local/share/keyleash` |
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

/// Largest config file that is read, in bytes.
const MAX_CONFIG: u64 = 1 << 20;

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
        if !self.load_config()?.sandbox {
            return Err(Error::usage("sandbox.only", "this home is for live networks; it is never thrown away"));
        }
        let records = self.records_file();
        let beside = |suffix: &str| records.with_file_name(format!("records.db{suffix}"));
        // The config goes last: while it is there, a second try finds a sandbox to clear.
        let files =
            [records.clone(), beside("-wal"), beside("-shm"), self.data.join("sandbox.json"), self.config_file()];
        let vault = self.data.join("vault");
        if vault.exists() {
            fs::remove_dir_all(&vault).map_err(|e| io_error("remove", &vault, &e))?;
        }
        for file in files.iter().filter(|f| f.exists()) {
            fs::remove_file(file).map_err(|e| io_error("remove", file, &e))?;
        }
        Ok(())
    }

    pub fn load_config(&self) -> Result<Config> {
        let path = self.config_file();
        let text = read_bounded(&path, MAX_CONFIG)?;
        toml::from_str(&text).map_err(|e| {
            Error::failed(
                "config.invalid",
                format!("{} cannot be read: {}", at_line(&path, &text, e.span()), e.message()),
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
                format!("{} cannot be read: {}", at_line(&path, &text, e.span()), e.message()),
            )
            .hint("correct the file in an editor")
        })?;
        change(&mut document)?;
        replace(&path, document.to_string().as_bytes())
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

/// Replaces a file as a whole: a crash leaves the old or the new one. Mode 0600.
pub fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let work = || -> io::Result<()> {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = folder.join(format!(".{name}.{}.tmp", random_name()?));
        let written = (|| {
            let mut file = private_options().create_new(true).open(&temporary)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&temporary, path)
        })();
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written?;
        fs::File::open(folder)?.sync_all()
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

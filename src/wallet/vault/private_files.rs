//! The folder of the vault: one writer at a time, each file replaced as a whole or not at all, also when the process is killed in
//! between (`wallet::files`).

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::VaultError;
use crate::wallet::files::{self, Outlives};

const LOCK: &str = "lock";
/// What earlier versions called their temporary files, before 16 hexadecimal digits.
const EARLIER_PREFIX: &str = ".new-";
/// How long others may hold the vault before we give up. Whoever seals a key holds it while scrypt runs, which takes
/// seconds where processors are busy; a dozen that are started at once wait for each other, and whoever comes last must not take
/// that for a lock that is never given back.
const LOCK_PATIENCE: Duration = Duration::from_secs(60);

/// The folder of the vault, 0700.
pub struct PrivateFolder {
    path: PathBuf,
    outlives: Outlives,
}

/// While this lives, no other process changes the vault.
pub struct FolderLock {
    _file: File,
}

impl PrivateFolder {
    /// Touches nothing; the folder is made when something is first written.
    pub fn new(path: PathBuf) -> Self {
        Self { path, outlives: Outlives::PowerCut }
    }

    /// For play keys: the system writes them to the disk when it likes.
    pub fn of_play_keys(path: PathBuf) -> Self {
        Self { path, outlives: Outlives::Process }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The folder may be a link, to a disk of one's own. What it leads to must be ours, and not for others to write into.
    #[cfg(unix)]
    fn check_ours(&self) -> Result<(), VaultError> {
        use std::os::unix::fs::MetadataExt;
        let ours = |facts: &fs::Metadata| facts.uid() == rustix::process::geteuid().as_raw();
        let refuse = |why| Err(VaultError::NotOurs { path: self.path.clone(), why });
        match fs::symlink_metadata(&self.path) {
            Ok(link) if !ours(&link) => return refuse("it belongs to another user: no secret is read or kept there"),
            Ok(link) if !link.is_symlink() => return Ok(()),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(VaultError::io("read", &self.path, e)),
        }
        let target = fs::metadata(&self.path).map_err(|e| VaultError::io("read", &self.path, e))?;
        if !ours(&target) || target.mode() & 0o022 != 0 {
            return refuse(
                "it is a link to a folder of another user, or one that others write into: no secret is read or kept there",
            );
        }
        Ok(())
    }

    #[cfg(not(unix))]
    fn check_ours(&self) -> Result<(), VaultError> {
        Ok(())
    }

    /// Waits for other processes, makes the folder if need be, and removes what a killed process left half written.
    pub fn lock(&self) -> Result<FolderLock, VaultError> {
        self.check_ours()?;
        self.make()?;
        let path = self.join(LOCK);
        let file = files::open(&path).map_err(|e| VaultError::io("open", &path, e))?;
        let deadline = Instant::now() + LOCK_PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(TryLockError::WouldBlock) => return Err(VaultError::Busy { path }),
                Err(TryLockError::Error(e)) => return Err(VaultError::io("lock", &path, e)),
            }
        }
        self.remove_leftovers();
        Ok(FolderLock { _file: file })
    }

    /// Replaces the file `name` as a whole. The lock argument proves that nobody else is writing.
    pub fn replace(&self, _lock: &FolderLock, name: &str, content: &[u8]) -> Result<(), VaultError> {
        let target = self.join(name);
        files::replace(&target, content, self.outlives).map_err(|e| VaultError::io("write", &target, e))
    }

    /// Gives the file `from` the name `to`, which is lost if it was there.
    pub fn rename(&self, _lock: &FolderLock, from: &str, to: &str) -> Result<(), VaultError> {
        let path = self.join(from);
        fs::rename(&path, self.join(to)).map_err(|e| VaultError::io("rename", &path, e))?;
        self.sync()
    }

    /// Removes the file `name`; one that is not there is as good as removed.
    pub fn remove(&self, _lock: &FolderLock, name: &str) -> Result<(), VaultError> {
        let path = self.join(name);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(VaultError::io("remove", &path, e)),
            _ => self.sync(),
        }
    }

    /// Reads the file `name`, `None` if it is not there.
    pub fn read(&self, name: &str, max: u64) -> Result<Option<Vec<u8>>, VaultError> {
        self.check_ours()?;
        match read_bounded(&self.join(name), max) {
            Err(VaultError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    /// Names of the files that are there, leftovers of killed processes not counted.
    pub fn names(&self) -> Result<Vec<String>, VaultError> {
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(VaultError::io("list", &self.path, e)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| VaultError::io("list", &self.path, e))?;
            names.extend(entry.file_name().into_string().ok().filter(|name| !is_leftover(name)));
        }
        names.sort();
        Ok(names)
    }

    fn make(&self) -> Result<(), VaultError> {
        files::make_folder(&self.path).map_err(|e| VaultError::io("make", &self.path, e))?;
        // It may have been there before, or the umask may be odd.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode =
                fs::metadata(&self.path).map_err(|e| VaultError::io("read", &self.path, e))?.permissions().mode();
            if mode & 0o777 != 0o700 {
                fs::set_permissions(&self.path, fs::Permissions::from_mode(0o700))
                    .map_err(|e| VaultError::io("close to other users", &self.path, e))?;
            }
        }
        Ok(())
    }

    /// Only called under the lock: nobody is writing, so a temporary file has no owner any more. It never became a
    /// secret's only copy, because the rename is what makes it count.
    fn remove_leftovers(&self) {
        let Ok(entries) = fs::read_dir(&self.path) else { return };
        for entry in entries.flatten() {
            if entry.file_name().to_str().is_some_and(is_leftover) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// At the start: removes leftovers where there are any and nobody is at work. Never waits, never makes anything.
    pub fn clear_leftovers(&self) {
        let Ok(entries) = fs::read_dir(&self.path) else { return };
        if !entries.flatten().any(|entry| entry.file_name().to_str().is_some_and(is_leftover))
            || self.check_ours().is_err()
        {
            return;
        }
        if let Ok(lock) = files::open(&self.join(LOCK))
            && lock.try_lock().is_ok()
        {
            self.remove_leftovers();
        }
    }

    fn sync(&self) -> Result<(), VaultError> {
        files::sync_folder(&self.path, self.outlives).map_err(|e| VaultError::io("sync", &self.path, e))
    }
}

/// A file that did not come to be what it was to be.
fn is_leftover(name: &str) -> bool {
    let hex = |digits: &str| digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    files::becomes(name).is_some() || name.strip_prefix(EARLIER_PREFIX).is_some_and(hex)
}

/// Reads a whole regular file of at most `max` bytes.
pub fn read_bounded(path: &Path, max: u64) -> Result<Vec<u8>, VaultError> {
    let failed = |e| VaultError::io("read", path, e);
    // Asked before opening: opening a pipe would wait for a writer.
    let facts = fs::metadata(path).map_err(failed)?;
    if !facts.is_file() {
        return Err(VaultError::damaged(path, "it is not a regular file"));
    }
    let too_long = || VaultError::damaged(path, format!("it is longer than {max} bytes, which no such file is"));
    if facts.len() > max {
        return Err(too_long());
    }
    let mut content = Vec::with_capacity(usize::try_from(facts.len()).unwrap_or(0).saturating_add(1));
    File::open(path).map_err(failed)?.take(max + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > max { Err(too_long()) } else { Ok(content) }
}

//! Files that only their owner may read, replaced as a whole or not at all, also when the process is killed in between.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use alloy::hex;

use super::VaultError;

const LOCK: &str = "lock";
const TEMP_PREFIX: &str = ".new-";
/// How long others may hold the vault before we give up. Whoever seals a key holds it while scrypt runs, which takes
/// seconds where processors are busy; a dozen that are started at once wait for each other, and whoever comes last must not take
/// that for a lock that is never given back.
const LOCK_PATIENCE: Duration = Duration::from_secs(60);

/// The folder of the vault, 0700.
pub struct PrivateFolder {
    path: PathBuf,
    /// Whether what was written has to survive a power cut too, and not only the end of this process.
    synced: bool,
}

/// While this lives, no other process changes the vault.
pub struct FolderLock {
    _file: File,
}

impl PrivateFolder {
    /// Touches nothing; the folder is made when something is first written.
    pub fn new(path: PathBuf) -> Self {
        Self { path, synced: true }
    }

    /// For play keys: the system writes them to the disk when it likes.
    pub fn of_play_keys(path: PathBuf) -> Self {
        Self { path, synced: false }
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
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        private(&mut options);
        let file = options.open(&path).map_err(|e| VaultError::io("open", &path, e))?;
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
        let mut random = [0u8; 8];
        getrandom::fill(&mut random).map_err(VaultError::NoRandomness)?;
        let temp = self.join(&format!("{TEMP_PREFIX}{}", hex::encode(random)));
        let target = self.join(name);
        let written = write_new(&temp, content, self.synced)
            .map_err(|e| VaultError::io("write", &temp, e))
            .and_then(|()| fs::rename(&temp, &target).map_err(|e| VaultError::io("replace", &target, e)));
        if written.is_err() {
            // What could not be written whole is of no use; the first error is the one to tell.
            let _ = fs::remove_file(&temp);
        }
        written?;
        self.sync()
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
            names.extend(entry.file_name().into_string().ok().filter(|name| !name.starts_with(TEMP_PREFIX)));
        }
        names.sort();
        Ok(names)
    }

    fn make(&self) -> Result<(), VaultError> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&self.path).map_err(|e| VaultError::io("make", &self.path, e))?;
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
            if is_leftover(&entry) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// At the start: removes leftovers where there are any and nobody is at work. Never waits, never makes anything.
    pub fn clear_leftovers(&self) {
        let Ok(entries) = fs::read_dir(&self.path) else { return };
        if !entries.flatten().any(|entry| is_leftover(&entry)) || self.check_ours().is_err() {
            return;
        }
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        private(&mut options);
        if let Ok(lock) = options.open(self.join(LOCK))
            && lock.try_lock().is_ok()
        {
            self.remove_leftovers();
        }
    }

    /// A rename or removal is on the disk only when the folder is.
    fn sync(&self) -> Result<(), VaultError> {
        if !self.synced {
            return Ok(());
        }
        #[cfg(unix)]
        File::open(&self.path)
            .and_then(|folder| folder.sync_all())
            .map_err(|e| VaultError::io("sync", &self.path, e))?;
        Ok(())
    }
}

/// Named as [`PrivateFolder::replace`] names what it writes.
fn is_leftover(entry: &fs::DirEntry) -> bool {
    let hex = |digits: &str| digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    entry.file_name().to_str().and_then(|name| name.strip_prefix(TEMP_PREFIX)).is_some_and(hex)
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

/// Opens a file that a person named, to read it. A pipe that nobody writes into would keep us waiting for ever, and so would a
/// terminal: of those, only the ones that were opened for us are read (`<(command)` in a shell, standard input).
pub fn open_input(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    let ours = ["/dev/fd", "/proc/self/fd", "/dev/stdin"].iter().any(|place| path.starts_with(place));
    if ours {
        return File::open(path);
    }
    let file = options.open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        let what = "it is not a regular file; give a file, or `-` for standard input";
        Err(io::Error::new(io::ErrorKind::InvalidInput, what))
    }
}

fn write_new(path: &Path, content: &[u8], synced: bool) -> io::Result<()> {
    let mut options = File::options();
    options.write(true).create_new(true);
    private(&mut options);
    let mut file = options.open(path)?;
    file.write_all(content)?;
    if synced { file.sync_all() } else { Ok(()) }
}

/// 0600 from the first moment. On Windows the folder of the user's profile is what keeps others out.
fn private(options: &mut fs::OpenOptions) {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    #[cfg(not(unix))]
    let _ = options;
}

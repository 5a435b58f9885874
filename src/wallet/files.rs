//! Files that only their owner may read, written whole or not at all. A process that is killed leaves the old file or the new
//! one, and perhaps a temporary one beside it, which whoever opens the folder next removes.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use tempfile::{Builder, NamedTempFile};

/// What a file that was written must outlive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outlives {
    PowerCut,
    /// For play data: nobody waits for the disk.
    Process,
}

/// Random bytes in the name of a temporary file; written as twice as many digits.
const RANDOM: usize = 8;

/// Replaces a file as a whole. Mode 0600, whatever the old one had.
pub(super) fn replace(path: &Path, content: &[u8], outlives: Outlives) -> io::Result<()> {
    let written = temporary(path, content, outlives)?;
    written.persist(path).map_err(|e| e.error)?;
    sync_folder(folder_of(path), outlives)
}

/// Writes a file that must not be there yet, and never over what came into its place meanwhile. Mode 0600.
pub(super) fn create(path: &Path, content: &[u8]) -> io::Result<()> {
    match create_unnamed(path, content) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {}
        done => return done,
    }
    let written = temporary(path, content, Outlives::PowerCut)?;
    match written.persist_noclobber(path) {
        // Some file systems cannot. Then the name is reserved first.
        Err(e) if e.error.kind() != io::ErrorKind::AlreadyExists && !path.exists() => {
            drop(private().create_new(true).open(path)?);
            e.file.persist(path)
        }
        done => done,
    }
    .map_err(|e| e.error)?;
    sync_folder(folder_of(path), Outlives::PowerCut)
}

/// The same with a file that has no name until it is whole: whatever ends this process, nothing of it is left.
#[cfg(target_os = "linux")]
fn create_unnamed(path: &Path, content: &[u8]) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    use rustix::fs::{AtFlags, CWD, Mode, OFlags};
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(CWD, folder_of(path), flags, Mode::RUSR | Mode::WUSR)?);
    file.write_all(content)?;
    file.sync_all()?;
    let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::linkat(CWD, unnamed, CWD, path, AtFlags::SYMLINK_FOLLOW)?;
    sync_folder(folder_of(path), Outlives::PowerCut)
}

#[cfg(not(target_os = "linux"))]
fn create_unnamed(_: &Path, _: &[u8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// `.name.<16 hex digits>.tmp` beside the file that it will be; removed when it does not become one.
fn temporary(path: &Path, content: &[u8], outlives: Outlives) -> io::Result<NamedTempFile> {
    // Nobody who shares the folder can guess it and put a file or link of theirs in the way.
    let mut random = [0u8; RANDOM];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let file = Builder::new()
        .prefix(&format!(".{name}.{}", alloy::hex::encode(random)))
        .suffix(".tmp")
        .rand_bytes(0)
        .tempfile_in(folder_of(path))?;
    file.as_file().write_all(content)?;
    if outlives == Outlives::PowerCut {
        file.as_file().sync_all()?;
    }
    Ok(file)
}

/// Which file a temporary file of ours was to become, by its name.
pub(super) fn becomes(name: &str) -> Option<&str> {
    let (rest, random) = name.strip_prefix('.')?.strip_suffix(".tmp")?.rsplit_once('.')?;
    let is_random =
        random.len() == 2 * RANDOM && random.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    is_random.then_some(rest)
}

/// A new name, or one less, is on the disk only when the folder is.
pub(super) fn sync_folder(folder: &Path, outlives: Outlives) -> io::Result<()> {
    // Elsewhere a folder cannot be opened.
    if cfg!(unix) && outlives == Outlives::PowerCut { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// Opens or creates a file that only its owner can read, to read and write it, or to lock it.
pub(super) fn open(path: &Path) -> io::Result<File> {
    private().create(true).truncate(false).open(path)
}

/// Makes a folder, and those above it, for its owner alone.
pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Opens a file that a person named, to read it. A pipe that nobody writes into would keep us waiting for ever, and so would a
/// terminal: of those, only the ones that were opened for us are read (`<(command)` in a shell, standard input).
pub(super) fn open_input(path: &Path) -> io::Result<File> {
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

/// 0600 from the first moment. On Windows the folder of the user's profile is what keeps others out.
fn private() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_file_is_known_by_its_name_and_nothing_else_is() {
        assert_eq!(becomes(".config.toml.0123456789abcdef.tmp"), Some("config.toml"));
        assert_eq!(becomes(".index.json.0123456789abcdef.tmp"), Some("index.json"));
        for other in [
            "config.toml.0123456789abcdef.tmp",
            ".config.toml.0123456789abcde.tmp",
            ".config.toml.0123456789ABCDEF.tmp",
            ".config.toml.0123456789abcdef0.tmp",
            ".0123456789abcdef.tmp",
            ".config.toml.tmp",
            ".config.toml.0123456789abcdef",
        ] {
            assert_eq!(becomes(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_written_first_has_the_name_that_the_next_start_looks_for() {
        let folder = tempfile::tempdir().unwrap();
        for outlives in [Outlives::PowerCut, Outlives::Process] {
            let written = temporary(&folder.path().join("out"), b"half", outlives).unwrap();
            assert_eq!(becomes(written.path().file_name().unwrap().to_str().unwrap()), Some("out"));
            assert_eq!(fs::read(written.path()).unwrap(), b"half");
            drop(written);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "what comes to nothing is removed");
    }

    /// Where files without a name, or renames that spare, are not to be had.
    #[test]
    fn a_new_file_is_private_and_never_takes_the_place_of_another_with_a_temporary_name_either() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        temporary(&path, b"first", Outlives::PowerCut).unwrap().persist_noclobber(&path).unwrap();
        let refused = temporary(&path, b"second", Outlives::PowerCut).unwrap().persist_noclobber(&path).unwrap_err();
        assert_eq!(refused.error.kind(), io::ErrorKind::AlreadyExists);
        drop(refused);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}

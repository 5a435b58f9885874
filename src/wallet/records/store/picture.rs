//! The records as they are, read without writing a byte: for a profile that cannot be written to.
//!
//! SQLite opens a database with a write-ahead log only where it can also write beside it; told that the file is immutable it
//! leaves out what stands in the log alone. So both files are read here, whole commits of the log are put over the pages, and
//! SQLite gets the result as memory of its own.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use rusqlite::Connection;

/// More than any records come to: a few kilobytes a key.
const MAX_BYTES: u64 = 512 << 20;
/// How often the log may change under us before we give up.
const TRIES: usize = 8;
const LOG_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// A connection to a copy of the records in memory.
pub(super) fn open(path: &Path) -> Result<Connection, String> {
    let image = image(path).map_err(|e| e.to_string())?;
    let open = || -> rusqlite::Result<Connection> {
        let mut connection = Connection::open_in_memory()?;
        connection.deserialize_read_exact("main", image.as_slice(), image.len(), false)?;
        Ok(connection)
    };
    open().map_err(|e| e.to_string())
}

fn image(path: &Path) -> io::Result<Vec<u8>> {
    let mut beside = path.as_os_str().to_owned();
    beside.push("-wal");
    let log = PathBuf::from(beside);
    for _ in 0..TRIES {
        let before = read_if_there(&log)?;
        let pages = read_if_there(path)?;
        // What is copied from the log into the file meanwhile stays in the log: the same pages twice.
        if read_if_there(&log)? == before {
            return Ok(with_log(pages, &before));
        }
    }
    Err(io::Error::other("another program writes to the records all the time"))
}

fn read_if_there(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(bytes),
        file => file?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?,
    };
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("the records are larger than 512 MiB"));
    }
    Ok(bytes)
}

/// The pages with every whole commit of the log put over them.
fn with_log(mut pages: Vec<u8>, log: &[u8]) -> Vec<u8> {
    for (number, page, size) in committed(log).unwrap_or_default() {
        let start = (number as usize).saturating_sub(1).saturating_mul(page.len());
        let end = start.saturating_add(page.len());
        if end as u64 > MAX_BYTES {
            continue;
        }
        if pages.len() < end {
            pages.resize(end, 0);
        }
        if let Some(place) = pages.get_mut(start..end) {
            place.copy_from_slice(page);
        }
        if let Some(size) = size {
            pages.resize((size as usize).saturating_mul(page.len()).min(pages.len()), 0);
        }
    }
    // In memory there is no log: the two bytes that say so.
    if let Some(versions) = pages.get_mut(18..20) {
        versions.fill(1);
    }
    pages
}

/// A page of the log: its number, its content, and after a commit how many pages there are.
type Logged<'a> = (u32, &'a [u8], Option<u32>);

/// The pages of whole commits in their order. The log ends where salt or checksum do not go on (sqlite.org/fileformat.html).
fn committed(log: &[u8]) -> Option<Vec<Logged<'_>>> {
    let header = log.get(..LOG_HEADER)?;
    let big_endian = match word(header, 0)? {
        0x377f_0682 => false,
        0x377f_0683 => true,
        _ => return None,
    };
    let page_size = word(header, 8)? as usize;
    let mut sum = checksum((0, 0), header.get(..24)?, big_endian);
    if sum != (word(header, 24)?, word(header, 28)?)
        || !page_size.is_power_of_two()
        || !(512..=65_536).contains(&page_size)
    {
        return None;
    }
    let mut pages = Vec::new();
    let mut whole = 0;
    for frame in log.get(LOG_HEADER..)?.chunks_exact(FRAME_HEADER + page_size) {
        let (about, page) = frame.split_at(FRAME_HEADER);
        sum = checksum(checksum(sum, about.get(..8)?, big_endian), page, big_endian);
        if about.get(8..16)? != header.get(16..24)? || sum != (word(about, 16)?, word(about, 20)?) {
            break;
        }
        let size = Some(word(about, 4)?).filter(|size| *size != 0);
        pages.push((word(about, 0)?, page, size));
        if size.is_some() {
            whole = pages.len();
        }
    }
    pages.truncate(whole);
    Some(pages)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

fn checksum(so_far: (u32, u32), bytes: &[u8], big_endian: bool) -> (u32, u32) {
    let number = |part: &[u8]| {
        let part = part.try_into().unwrap_or_default();
        if big_endian { u32::from_be_bytes(part) } else { u32::from_le_bytes(part) }
    };
    bytes.chunks_exact(8).fold(so_far, |(a, b), pair| {
        let (first, second) = pair.split_at(4);
        let a = a.wrapping_add(number(first)).wrapping_add(b);
        (a, b.wrapping_add(number(second)).wrapping_add(a))
    })
}

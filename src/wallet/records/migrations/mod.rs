//! How the records came to be what they are: one file a version, in the order in which they are run. What ran on somebody's
//! disk once is history: a file here is never changed, and speaks of no type that may change.

#[path = "0001_records.rs"]
mod m0001_records;
#[path = "0002_scans.rs"]
mod m0002_scans;
#[path = "0003_chains.rs"]
mod m0003_chains;
#[path = "0004_families.rs"]
mod m0004_families;

use rusqlite::{Connection, Transaction, TransactionBehavior};

/// One step to the next version.
type Migration = fn(&Transaction<'_>) -> rusqlite::Result<()>;

/// The version that this keyleash reads and writes, in `PRAGMA user_version`; 0 is an empty file.
const VERSION: i64 = 4;

/// The n-th makes version n out of the one before.
const ALL: [Migration; VERSION as usize] = [m0001_records::up, m0002_scans::up, m0003_chains::up, m0004_families::up];

/// Brings the records to [`VERSION`], as one transaction: whoever else opens them meanwhile waits, and a process that is killed
/// leaves them as they were.
pub(super) fn run(connection: &mut Connection) -> rusqlite::Result<()> {
    through(connection, &ALL)
}

fn through(connection: &mut Connection, steps: &[Migration]) -> rusqlite::Result<()> {
    let known = i64::try_from(steps.len()).unwrap_or(i64::MAX);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version == known {
        return Ok(());
    }
    let Some(rest) = usize::try_from(version).ok().and_then(|version| steps.get(version..)) else {
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_SCHEMA),
            Some(format!("the records were written by a newer keyleash (schema {version}, this one knows {known})")),
        ));
    };
    for step in rest {
        step(&transaction)?;
    }
    transaction.pragma_update(None, "user_version", known)?;
    transaction.commit()
}

#[cfg(test)]
pub(super) use tests::up_to;
#[cfg(test)]
pub(super) const COUNT: usize = ALL.len();

#[cfg(test)]
mod tests;

//! Records, in SQLite: accounts, keys, approvals, agents, operations, proofs. Never a secret.
//!
//! WAL with synchronous=FULL, so that what was reported survives a crash (a sandbox's records need not survive a power cut); writers take their turn with BEGIN IMMEDIATE,
//! so that two processes never plan the same nonce. Rows hold a record as JSON beside the columns that are searched.

mod picture;

use std::{
    path::Path,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use alloy::primitives::{Address, B256};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    error::{Class, Error, Result},
    model::{Account, Agent, ApprovalRecord, Key, Operation},
    notices::Notices,
};
use crate::kernel::text::clean;

/// Version of the schema below, in `PRAGMA user_version`.
const SCHEMA_VERSION: i64 = 2;

const SCHEMA: &str = "
CREATE TABLE account (
    network TEXT NOT NULL, address BLOB NOT NULL, name TEXT NOT NULL, hidden INTEGER NOT NULL DEFAULT 0,
    record TEXT NOT NULL, PRIMARY KEY (network, address)) STRICT;
CREATE UNIQUE INDEX account_name ON account (name) WHERE hidden = 0;
CREATE TABLE key (
    id TEXT PRIMARY KEY, network TEXT NOT NULL, account BLOB NOT NULL, session_key BLOB NOT NULL, label TEXT NOT NULL,
    hidden INTEGER NOT NULL DEFAULT 0, record TEXT NOT NULL) STRICT;
CREATE INDEX key_account ON key (network, account);
CREATE TABLE approval (
    id INTEGER PRIMARY KEY, key_id TEXT NOT NULL REFERENCES key (id), digest BLOB NOT NULL UNIQUE,
    record TEXT NOT NULL) STRICT;
CREATE INDEX approval_key ON approval (key_id);
CREATE TABLE agent (label TEXT PRIMARY KEY, address BLOB NOT NULL UNIQUE, record TEXT NOT NULL) STRICT;
CREATE TABLE operation (
    user_op_hash BLOB PRIMARY KEY, network TEXT NOT NULL, account BLOB NOT NULL, created_at INTEGER NOT NULL,
    record TEXT NOT NULL) STRICT;
CREATE TABLE proof (
    id INTEGER PRIMARY KEY, key_id TEXT NOT NULL REFERENCES key (id), created_at INTEGER NOT NULL,
    record TEXT NOT NULL) STRICT;
";

/// How far an account's history was read, and what it came to. New in version 2.
const SCAN: &str = "
CREATE TABLE scan (
    network TEXT NOT NULL, account BLOB NOT NULL, record TEXT NOT NULL, PRIMARY KEY (network, account)) STRICT;
";

/// The open record file.
pub struct Store {
    connection: Mutex<Connection>,
    /// Why nothing can be written: then `connection` is to a copy in memory.
    read_only: Option<String>,
    notices: Notices,
}

impl Store {
    /// Opens the records at `path`, making or upgrading them as needed. The file must exist already, with its permissions.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, "FULL")
    }

    /// The records of a sandbox home: they survive the end of this process at any moment, and nobody waits for the disk.
    pub fn open_play(path: &Path) -> Result<Self> {
        Self::open_with(path, "OFF")
    }

    fn open_with(path: &Path, synchronous: &str) -> Result<Self> {
        let open = || -> rusqlite::Result<Connection> {
            let mut connection = Connection::open(path)?;
            connection.busy_timeout(Duration::from_secs(10))?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", synchronous)?;
            connection.pragma_update(None, "foreign_keys", true)?;
            migrate(&mut connection)?;
            Ok(connection)
        };
        let notices = Notices::default();
        let error = match open() {
            Ok(connection) => return Ok(Self { connection: Mutex::new(connection), read_only: None, notices }),
            Err(error) => error,
        };
        let failed = || database(&error).hint(format!("the records are in {}", path.display()));
        // Whoever takes power away must get on without writing anything down.
        if !is_about_writing(&error) || !path.exists() {
            return Err(failed());
        }
        let mut connection = picture::open(path).map_err(|_| failed())?;
        migrate(&mut connection).map_err(|_| failed())?;
        let read_only = Some(format!("the records in {} cannot be written ({error})", path.display()));
        Ok(Self { connection: Mutex::new(connection), read_only, notices })
    }

    /// What is to be said about the records.
    pub fn notices(&self) -> Notices {
        self.notices.clone()
    }

    /// For what must be written down before anything else happens: a grant, an import, a new key.
    pub fn require_writable(&self) -> Result<()> {
        match &self.read_only {
            None => Ok(()),
            Some(why) => Err(not_writable(why)),
        }
    }

    /// Writes down what happens in any case, such as how a revocation went: where that cannot be done, it is said, and
    /// things go on. What was written is there for the rest of this process even where it cannot be kept.
    pub fn note(&self, work: impl FnOnce(&Write<'_>) -> Result<()>) -> Result<()> {
        let why = match (self.write_anyway(work), &self.read_only) {
            (Ok(()), None) => return Ok(()),
            (Ok(()), Some(why)) => why.clone(),
            (Err(error), _) if is_not_written(&error) => error.message,
            (Err(error), _) => return Err(error),
        };
        self.notices.add("records.not_written", format!("{why}: nothing of this is written down"));
        Ok(())
    }

    /// Runs `work` as one write that other processes see whole or not at all. Nothing is kept when it fails.
    pub fn write<T>(&self, work: impl FnOnce(&Write<'_>) -> Result<T>) -> Result<T> {
        self.require_writable()?;
        self.write_anyway(work)
    }

    fn write_anyway<T>(&self, work: impl FnOnce(&Write<'_>) -> Result<T>) -> Result<T> {
        let mut connection = self.lock();
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(|e| database(&e))?;
        let write = Write { transaction };
        let out = work(&write)?;
        write.transaction.commit().map_err(|e| database(&e))?;
        Ok(out)
    }

    /// Reads a consistent picture: no other process's write happens in between.
    pub fn read<T>(&self, work: impl FnOnce(&Read<'_>) -> Result<T>) -> Result<T> {
        let mut connection = self.lock();
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Deferred).map_err(|e| database(&e))?;
        work(&Read { connection: &transaction })
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic while the lock was held rolled its transaction back; the connection is good.
        self.connection.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    match version {
        0 | 1 => {
            if version == 0 {
                transaction.execute_batch(SCHEMA)?;
            }
            transaction.execute_batch(SCAN)?;
            transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
            transaction.commit()
        }
        SCHEMA_VERSION => Ok(()),
        newer => Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_SCHEMA),
            Some(format!(
                "the records were written by a newer keyleash (schema {newer}, this one knows {SCHEMA_VERSION})"
            )),
        )),
    }
}

/// Queries over one consistent picture.
pub struct Read<'a> {
    connection: &'a Connection,
}

impl Read<'_> {
    pub fn accounts(&self) -> Result<Vec<Account>> {
        self.many("SELECT record, 'account ' || name FROM account WHERE hidden = 0 ORDER BY name", params![])
    }

    /// Those taken off the list too.
    pub fn all_accounts(&self) -> Result<Vec<Account>> {
        self.many("SELECT record, 'account ' || name FROM account ORDER BY name", params![])
    }

    pub fn account_by_name(&self, name: &str) -> Result<Option<Account>> {
        self.one("SELECT record, 'account ' || name FROM account WHERE hidden = 0 AND name = ?1", params![name])
    }

    /// Hidden accounts too: their approvals stay on record.
    pub fn account(&self, network: &str, address: Address) -> Result<Option<Account>> {
        self.one(
            "SELECT record, 'account ' || name FROM account WHERE network = ?1 AND address = ?2",
            params![network, address.as_slice()],
        )
    }

    pub fn is_hidden(&self, network: &str, address: Address) -> Result<bool> {
        let hidden: Option<i64> = self
            .connection
            .query_row(
                "SELECT hidden FROM account WHERE network = ?1 AND address = ?2",
                params![network, address.as_slice()],
                |row| row.get(0),
            )
            .optional()
            .map_err(|e| database(&e))?;
        Ok(hidden == Some(1))
    }

    pub fn keys(&self) -> Result<Vec<Key>> {
        self.many("SELECT record, 'key ' || id FROM key WHERE hidden = 0 ORDER BY rowid", params![])
    }

    /// Keys whose session key is on more than one record.
    pub fn keys_on_several_records(&self) -> Result<Vec<Key>> {
        self.many(
            "SELECT record, 'key ' || id FROM key WHERE hidden = 0 AND session_key IN
             (SELECT session_key FROM key WHERE hidden = 0 GROUP BY session_key HAVING COUNT(*) > 1) ORDER BY rowid",
            params![],
        )
    }

    /// Keys of one account, those removed from lists included when `all`.
    pub fn keys_of(&self, network: &str, account: Address, all: bool) -> Result<Vec<Key>> {
        self.many(
            "SELECT record, 'key ' || id FROM key WHERE network = ?1 AND account = ?2 AND (hidden = 0 OR ?3) ORDER BY rowid",
            params![network, account.as_slice(), all],
        )
    }

    pub fn is_key_hidden(&self, id: &str) -> Result<bool> {
        let hidden: Option<i64> = self
            .connection
            .query_row("SELECT hidden FROM key WHERE id = ?1", params![id], |row| row.get(0))
            .optional()
            .map_err(|e| database(&e))?;
        Ok(hidden == Some(1))
    }

    pub fn key(&self, id: &str) -> Result<Option<Key>> {
        self.one("SELECT record, 'key ' || id FROM key WHERE id = ?1", params![id])
    }

    pub fn approvals(&self, key_id: &str) -> Result<Vec<ApprovalRecord>> {
        self.many(
            "SELECT record, 'approval of key ' || key_id FROM approval WHERE key_id = ?1 ORDER BY id",
            params![key_id],
        )
    }

    pub fn approval_by_digest(&self, digest: B256) -> Result<Option<ApprovalRecord>> {
        self.one(
            "SELECT record, 'approval of key ' || key_id FROM approval WHERE digest = ?1",
            params![digest.as_slice()],
        )
    }

    /// Every approval signed for an account, keys off the lists included, and every draft that was not removed.
    pub fn approvals_of(&self, network: &str, account: Address) -> Result<Vec<ApprovalRecord>> {
        self.many(
            "SELECT approval.record, 'approval of key ' || key.id FROM approval JOIN key ON key.id = approval.key_id
             WHERE key.network = ?1 AND key.account = ?2
             AND (key.hidden = 0 OR json_extract(approval.record, '$.signature') IS NOT NULL) ORDER BY approval.id",
            params![network, account.as_slice()],
        )
    }

    pub fn agents(&self) -> Result<Vec<Agent>> {
        self.many("SELECT record, 'agent ' || label FROM agent ORDER BY label", params![])
    }

    pub fn agent_by_label(&self, label: &str) -> Result<Option<Agent>> {
        self.one("SELECT record, 'agent ' || label FROM agent WHERE label = ?1", params![label])
    }

    pub fn agent_by_address(&self, address: Address) -> Result<Option<Agent>> {
        self.one("SELECT record, 'agent ' || label FROM agent WHERE address = ?1", params![address.as_slice()])
    }

    pub fn operation(&self, user_op_hash: B256) -> Result<Option<Operation>> {
        self.one(
            "SELECT record, 'operation 0x' || lower(hex(user_op_hash)) FROM operation WHERE user_op_hash = ?1",
            params![user_op_hash.as_slice()],
        )
    }

    /// Newest first.
    pub fn operations(&self, limit: u32) -> Result<Vec<Operation>> {
        self.many("SELECT record, 'operation 0x' || lower(hex(user_op_hash)) FROM operation ORDER BY created_at DESC, rowid DESC LIMIT ?1", params![limit])
    }

    pub fn proofs<T: DeserializeOwned>(&self, key_id: &str) -> Result<Vec<T>> {
        self.many("SELECT record, 'proof of key ' || key_id FROM proof WHERE key_id = ?1 ORDER BY id", params![key_id])
    }

    /// What the last scan of an account kept.
    pub fn scan<T: DeserializeOwned>(&self, network: &str, account: Address) -> Result<Option<T>> {
        self.one(
            "SELECT record, 'scan of 0x' || lower(hex(account)) FROM scan WHERE network = ?1 AND account = ?2",
            params![network, account.as_slice()],
        )
    }

    fn many<T: DeserializeOwned>(&self, sql: &str, params: impl rusqlite::Params) -> Result<Vec<T>> {
        let rows = || -> rusqlite::Result<Vec<(String, String)>> {
            self.connection.prepare_cached(sql)?.query_map(params, named_record)?.collect()
        };
        rows().map_err(|e| database(&e))?.iter().map(|(text, name)| parse(text, name)).collect()
    }

    fn one<T: DeserializeOwned>(&self, sql: &str, params: impl rusqlite::Params) -> Result<Option<T>> {
        let row = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut s| s.query_row(params, named_record).optional())
            .map_err(|e| database(&e))?;
        row.map(|(text, name)| parse(&text, &name)).transpose()
    }
}

/// One write under way; it reads its own changes.
pub struct Write<'a> {
    transaction: Transaction<'a>,
}

impl Write<'_> {
    pub fn read(&self) -> Read<'_> {
        Read { connection: &self.transaction }
    }

    /// Adds the account, or brings a hidden one back.
    pub fn put_account(&self, account: &Account) -> Result<()> {
        self.run(
            "INSERT INTO account (network, address, name, record) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (network, address) DO UPDATE SET name = ?3, record = ?4, hidden = 0",
            params![account.network, account.address.as_slice(), account.name, json(account)?],
        )
    }

    pub fn hide_account(&self, network: &str, address: Address) -> Result<()> {
        self.run(
            "UPDATE account SET hidden = 1 WHERE network = ?1 AND address = ?2",
            params![network, address.as_slice()],
        )
    }

    pub fn put_key(&self, key: &Key) -> Result<()> {
        self.run(
            "INSERT INTO key (id, network, account, session_key, label, record) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (id) DO UPDATE SET label = ?5, record = ?6",
            params![key.id, key.network, key.account.as_slice(), key.session_key.as_slice(), key.label, json(key)?],
        )
    }

    /// Puts a key (back) on the lists, with its record as it is now.
    pub fn show_key(&self, key: &Key) -> Result<()> {
        self.put_key(key)?;
        self.run("UPDATE key SET hidden = 0 WHERE id = ?1", params![key.id])
    }

    /// Takes a key off the lists. Its approvals stay on record.
    pub fn hide_key(&self, id: &str) -> Result<()> {
        self.run("UPDATE key SET hidden = 1 WHERE id = ?1", params![id])
    }

    /// Adds the approval, or the signature to one that waits for it.
    pub fn put_approval(&self, approval: &ApprovalRecord) -> Result<()> {
        self.run(
            "INSERT INTO approval (key_id, digest, record) VALUES (?1, ?2, ?3)
             ON CONFLICT (digest) DO UPDATE SET record = ?3",
            params![approval.key_id, approval.digest().as_slice(), json(approval)?],
        )
    }

    pub fn put_agent(&self, agent: &Agent) -> Result<()> {
        self.run(
            "INSERT INTO agent (label, address, record) VALUES (?1, ?2, ?3)",
            params![agent.label, agent.address.as_slice(), json(agent)?],
        )
    }

    pub fn put_operation(&self, operation: &Operation) -> Result<()> {
        self.run(
            "INSERT INTO operation (user_op_hash, network, account, created_at, record) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (user_op_hash) DO UPDATE SET record = ?5",
            params![
                operation.user_op_hash.as_slice(),
                operation.network,
                operation.account.as_slice(),
                i64::try_from(operation.created_at).unwrap_or(i64::MAX),
                json(operation)?
            ],
        )
    }

    pub fn put_proof(&self, key_id: &str, created_at: u64, proof: &impl Serialize) -> Result<()> {
        self.run(
            "INSERT INTO proof (key_id, created_at, record) VALUES (?1, ?2, ?3)",
            params![key_id, i64::try_from(created_at).unwrap_or(i64::MAX), json(proof)?],
        )
    }

    pub fn put_scan(&self, network: &str, account: Address, scan: &impl Serialize) -> Result<()> {
        self.run(
            "INSERT INTO scan (network, account, record) VALUES (?1, ?2, ?3)
             ON CONFLICT (network, account) DO UPDATE SET record = ?3",
            params![network, account.as_slice(), json(scan)?],
        )
    }

    fn run(&self, sql: &str, params: impl rusqlite::Params) -> Result<()> {
        self.transaction.prepare_cached(sql).and_then(|mut s| s.execute(params)).map(|_| ()).map_err(|e| database(&e))
    }
}

fn json(record: &impl Serialize) -> Result<String> {
    serde_json::to_string(record)
        .map_err(|e| Error::failed("records.write", format!("a record could not be written as JSON: {e}")))
}

/// A record, and what to call it when it cannot be read. Every query answers both.
fn named_record(row: &rusqlite::Row<'_>) -> rusqlite::Result<(String, String)> {
    Ok((row.get(0)?, row.get(1)?))
}

fn parse<T: DeserializeOwned>(text: &str, name: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| {
        Error::failed("records.damaged", format!("the record of {} cannot be read: {e}", clean(name, 80)))
            .hint("the record file was changed by another program or a newer keyleash; restore it from a backup")
    })
}

fn database(error: &rusqlite::Error) -> Error {
    let code = match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::ConstraintViolation) => "records.exists",
        Some(rusqlite::ErrorCode::DatabaseBusy) => "records.busy",
        Some(rusqlite::ErrorCode::DiskFull) => "records.disk_full",
        Some(rusqlite::ErrorCode::ReadOnly | rusqlite::ErrorCode::PermissionDenied) => "records.read_only",
        Some(rusqlite::ErrorCode::SystemIoFailure) => "records.io",
        _ => "records.failed",
    };
    Error::new(Class::Failed, code, format!("the records could not be used: {error}"))
}

fn not_writable(why: &str) -> Error {
    Error::failed("records.read_only", format!("{why}; nothing was done"))
        .hint("make room on the disk, or make the profile writable for you; revoking works all the same")
}

/// Whether opening failed because something would have had to be written, and not because of what is there.
fn is_about_writing(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{CannotOpen, DiskFull, PermissionDenied, ReadOnly, SystemIoFailure};
    matches!(error.sqlite_error_code(), Some(CannotOpen | DiskFull | PermissionDenied | ReadOnly | SystemIoFailure))
}

fn is_not_written(error: &Error) -> bool {
    matches!(error.code.as_str(), "records.read_only" | "records.disk_full" | "records.io" | "records.busy")
}

#[cfg(test)]
mod tests;

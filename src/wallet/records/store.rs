//! Records, in SQLite: accounts, keys, approvals, agents, operations, proofs. Never a secret.
//!
//! WAL with synchronous=FULL, so that what was reported survives a crash (a sandbox's records need not survive a power cut); writers take their turn with BEGIN IMMEDIATE,
//! so that two processes never plan the same nonce. Rows hold a record as JSON beside the columns that are searched.
//!
//! An account is (chain, address), and a network name is a way to reach its chain: whoever asks by a name gets what was recorded
//! under every name of that chain.
//!
//! Accounts, keys and approvals say which family of session keys they are of. One of a family that this version does not know is
//! left as it is: lists leave it out and say so, and whoever asks for it, or for all of an account, is refused.

mod picture;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use alloy::primitives::{Address, B256};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    migrations,
    model::{Account, Agent, ApprovalRecord, Key, Operation},
    notices::Notices,
};
use crate::{
    protocol::family::Family,
    text::clean,
    wallet::error::{Error, Kind, Result},
};

/// Chain ids that many local chains have: which of them is meant is told by the hash of its block 0.
pub const fn is_shared_id(chain_id: u64) -> bool {
    matches!(chain_id, 31_337 | 1_337)
}

/// Whether a row (`?1` = network name, `?2` = chain id, `?3` = hash of block 0) is of this chain. A hash that was never asked for fits
/// every chain of the id: an approval for one is good on the others too, so it is better planned with than overlooked.
macro_rules! of_chain {
    ($table:literal) => {
        concat!(
            "(",
            $table,
            ".chain_id = ?2 AND (?3 IS NULL OR ",
            $table,
            ".genesis IS NULL OR ",
            $table,
            ".genesis = ?3) OR ",
            $table,
            ".network = ?1 AND (?2 IS NULL OR ",
            $table,
            ".chain_id IS NULL))"
        )
    };
}

/// A chain as rows are searched by it.
struct Chain {
    network: String,
    id: Option<i64>,
    genesis: Option<Vec<u8>>,
}

impl Chain {
    fn fits(&self, other: &Self) -> bool {
        self.id.is_some()
            && self.id == other.id
            && (self.genesis.is_none() || other.genesis.is_none() || self.genesis == other.genesis)
    }
}

/// The open record file.
pub struct Store {
    connection: Mutex<Connection>,
    /// Why nothing can be written: then `connection` is to a copy in memory.
    read_only: Option<String>,
    notices: Notices,
    /// The chain id that each network name is configured with.
    networks: RwLock<BTreeMap<String, u64>>,
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
            migrations::run(&mut connection)?;
            Ok(connection)
        };
        let notices = Notices::default();
        let error = match open() {
            Ok(connection) => {
                return Ok(Self {
                    connection: Mutex::new(connection),
                    read_only: None,
                    notices,
                    networks: RwLock::default(),
                });
            }
            Err(error) => error,
        };
        let failed = || database(&error).hint(format!("the records are in {}", path.display()));
        // Whoever takes power away must get on without writing anything down.
        if !is_about_writing(&error) || !path.exists() {
            return Err(failed());
        }
        let mut connection = picture::open(path).map_err(|_| failed())?;
        migrations::run(&mut connection).map_err(|_| failed())?;
        let read_only = Some(format!("the records in {} cannot be written ({error})", path.display()));
        Ok(Self { connection: Mutex::new(connection), read_only, notices, networks: RwLock::default() })
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

    /// Says which chain each network name stands for now.
    pub fn set_networks(&self, networks: BTreeMap<String, u64>) {
        *self.networks.write().unwrap_or_else(PoisonError::into_inner) = networks;
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
        let networks = self.networks.read().unwrap_or_else(PoisonError::into_inner);
        let write = Write { transaction, networks: &networks, notices: &self.notices };
        let out = work(&write)?;
        write.transaction.commit().map_err(|e| database(&e))?;
        Ok(out)
    }

    /// Reads a consistent picture: no other process's write happens in between.
    pub fn read<T>(&self, work: impl FnOnce(&Read<'_>) -> Result<T>) -> Result<T> {
        let mut connection = self.lock();
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Deferred).map_err(|e| database(&e))?;
        let networks = self.networks.read().unwrap_or_else(PoisonError::into_inner);
        work(&Read { connection: &transaction, networks: &networks, notices: &self.notices })
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic while the lock was held rolled its transaction back; the connection is good.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Queries over one consistent picture.
pub struct Read<'a> {
    connection: &'a Connection,
    networks: &'a BTreeMap<String, u64>,
    notices: &'a Notices,
}

impl Read<'_> {
    pub fn accounts(&self) -> Result<Vec<Account>> {
        self.listed("SELECT record, 'account ' || name FROM account WHERE hidden = 0 ORDER BY name", params![])
    }

    /// Those taken off the list too.
    pub fn all_accounts(&self) -> Result<Vec<Account>> {
        self.listed("SELECT record, 'account ' || name FROM account ORDER BY name", params![])
    }

    pub fn account_by_name(&self, name: &str) -> Result<Option<Account>> {
        self.one("SELECT record, 'account ' || name FROM account WHERE hidden = 0 AND name = ?1", params![name])
    }

    /// By any network name of its chain. Hidden accounts too: their approvals stay on record. Where several are on record, one
    /// that is on the list, and of those the one recorded under this very name.
    pub fn account(&self, network: &str, address: Address) -> Result<Option<Account>> {
        Ok(self.names_of(network, address)?.into_iter().next())
    }

    /// Every record of one account, one for each network name that it was recorded under; in the order of [`Read::account`].
    pub fn names_of(&self, network: &str, address: Address) -> Result<Vec<Account>> {
        let Chain { network, id, genesis } = self.chain(network, address)?;
        self.many(
            concat!(
                "SELECT record, 'account ' || name FROM account WHERE address = ?4 AND ",
                of_chain!("account"),
                " ORDER BY hidden, network <> ?1, rowid"
            ),
            params![network, id, genesis, address.as_slice()],
        )
    }

    /// The account recorded under this very network name, and whether it is off the list.
    pub fn account_under(&self, network: &str, address: Address) -> Result<Option<(Account, bool)>> {
        let account = self.one(
            "SELECT record, 'account ' || name FROM account WHERE network = ?1 AND address = ?2",
            params![network, address.as_slice()],
        )?;
        let hidden: Option<i64> = self
            .connection
            .query_row(
                "SELECT hidden FROM account WHERE network = ?1 AND address = ?2",
                params![network, address.as_slice()],
                |row| row.get(0),
            )
            .optional()
            .map_err(|e| database(&e))?;
        Ok(account.zip(hidden).map(|(account, hidden)| (account, hidden == 1)))
    }

    /// Whether what is on record under two network names for an address is one account.
    pub fn is_one_account(&self, one: &str, other: &str, address: Address) -> Result<bool> {
        Ok(one == other || self.chain(one, address)?.fits(&self.chain(other, address)?))
    }

    /// The hash of block 0 of the chain behind a network name, where it was asked for.
    pub fn genesis(&self, network: &str, chain_id: u64) -> Result<Option<B256>> {
        let hash = self.genesis_of(network, i64::try_from(chain_id).ok())?;
        Ok(hash.and_then(|hash| B256::try_from(hash.as_slice()).ok()))
    }

    fn genesis_of(&self, network: &str, chain_id: Option<i64>) -> Result<Option<Vec<u8>>> {
        self.connection
            .prepare_cached("SELECT genesis FROM network_chain WHERE network = ?1 AND chain_id = ?2")
            .and_then(|mut s| s.query_row(params![network, chain_id], |row| row.get(0)).optional())
            .map_err(|e| database(&e))
    }

    /// The chain that a network name stands for, for what is recorded of an address: the configured one, or, where everything
    /// under that name is of another (the config was edited, or the name given anew), that.
    fn chain(&self, network: &str, address: Address) -> Result<Chain> {
        type Row = (Option<i64>, Option<Vec<u8>>);
        let chain = |id, genesis| Chain { network: network.to_owned(), id, genesis };
        let rows = || -> rusqlite::Result<Vec<Row>> {
            self.connection
                .prepare_cached(
                    "SELECT chain_id, genesis FROM account WHERE network = ?1 AND address = ?2 UNION
                     SELECT chain_id, genesis FROM key WHERE network = ?1 AND account = ?2",
                )?
                .query_map(params![network, address.as_slice()], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        };
        let recorded: Vec<Chain> = rows()
            .map_err(|e| database(&e))?
            .into_iter()
            .filter(|(id, _)| id.is_some())
            .map(|(id, genesis)| chain(id, genesis))
            .collect();
        let configured = match self.networks.get(network).and_then(|id| i64::try_from(*id).ok()) {
            Some(id) => Some(chain(Some(id), self.genesis_of(network, Some(id))?)),
            None => None,
        };
        Ok(match configured {
            Some(configured) if recorded.is_empty() || recorded.iter().any(|r| r.fits(&configured)) => configured,
            // The one whose hash of block 0 is known says more.
            configured => recorded
                .into_iter()
                .max_by_key(|r| r.genesis.is_some())
                .or(configured)
                .unwrap_or_else(|| chain(None, None)),
        })
    }

    pub fn keys(&self) -> Result<Vec<Key>> {
        self.listed("SELECT record, 'key ' || id FROM key WHERE hidden = 0 ORDER BY rowid", params![])
    }

    /// Keys whose session key is on more than one record.
    pub fn keys_on_several_records(&self) -> Result<Vec<Key>> {
        self.listed(
            "SELECT record, 'key ' || id FROM key WHERE hidden = 0 AND session_key IN
             (SELECT session_key FROM key WHERE hidden = 0 GROUP BY session_key HAVING COUNT(*) > 1) ORDER BY rowid",
            params![],
        )
    }

    /// Keys of one account, those removed from lists included when `all`.
    pub fn keys_of(&self, network: &str, account: Address, all: bool) -> Result<Vec<Key>> {
        let Chain { network, id, genesis } = self.chain(network, account)?;
        self.many(
            concat!(
                "SELECT record, 'key ' || id FROM key WHERE account = ?4 AND ",
                of_chain!("key"),
                " AND (hidden = 0 OR ?5) ORDER BY rowid"
            ),
            params![network, id, genesis, account.as_slice(), all],
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
            "SELECT record, 'approval of key ' || key_id FROM approval WHERE key_id = ?1 OR also_key_id = ?1 ORDER BY id",
            params![key_id],
        )
    }

    /// The other key that an earlier version recorded this key's approval for as well.
    pub fn shares_approval(&self, key_id: &str) -> Result<Option<Key>> {
        self.one(
            "SELECT other.record, 'key ' || other.id FROM approval
             JOIN key other ON other.id = iif(approval.key_id = ?1, approval.also_key_id, approval.key_id)
             WHERE approval.also_key_id IS NOT NULL AND ?1 IN (approval.key_id, approval.also_key_id)",
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
        let Chain { network, id, genesis } = self.chain(network, account)?;
        self.many(
            concat!(
                "SELECT approval.record, 'approval of key ' || key.id FROM approval JOIN key ON key.id = approval.key_id
                 WHERE key.account = ?4 AND ", of_chain!("key"),
                " AND (key.hidden = 0 OR json_extract(approval.record, '$.signature') IS NOT NULL) ORDER BY approval.id"
            ),
            params![network, id, genesis, account.as_slice()],
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

    /// Those of one account, newest first.
    pub fn operations_of(&self, network: &str, account: Address, limit: u32) -> Result<Vec<Operation>> {
        let Chain { network, id, genesis } = self.chain(network, account)?;
        self.many(
            concat!(
                "SELECT record, 'operation 0x' || lower(hex(user_op_hash)) FROM operation WHERE account = ?4 AND ",
                of_chain!("operation"),
                " ORDER BY created_at DESC, rowid DESC LIMIT ?5"
            ),
            params![network, id, genesis, account.as_slice(), limit],
        )
    }

    /// Those of every account on the chain of one, newest first: an owner's transactions stand in one line there.
    pub fn operations_beside(&self, network: &str, account: Address, limit: u32) -> Result<Vec<Operation>> {
        let Chain { network, id, genesis } = self.chain(network, account)?;
        self.many(
            concat!(
                "SELECT record, 'operation 0x' || lower(hex(user_op_hash)) FROM operation WHERE ",
                of_chain!("operation"),
                " ORDER BY created_at DESC, rowid DESC LIMIT ?4"
            ),
            params![network, id, genesis, limit],
        )
    }

    pub fn proofs<T: DeserializeOwned>(&self, key_id: &str) -> Result<Vec<T>> {
        self.many("SELECT record, 'proof of key ' || key_id FROM proof WHERE key_id = ?1 ORDER BY id", params![key_id])
    }

    /// What the last scan of an account kept.
    pub fn scan<T: DeserializeOwned>(&self, network: &str, account: Address) -> Result<Option<T>> {
        let Chain { network, id, genesis } = self.chain(network, account)?;
        self.one(
            concat!(
                "SELECT record, 'scan of 0x' || lower(hex(account)) FROM scan WHERE account = ?4 AND ",
                of_chain!("scan"),
                " ORDER BY network <> ?1 LIMIT 1"
            ),
            params![network, id, genesis, account.as_slice()],
        )
    }

    /// Refuses where the records hold more than this version understands: for what is decided by what is *not* on record.
    pub fn require_every_family_known(&self) -> Result<()> {
        let sql = "SELECT record, 'account ' || name FROM account UNION ALL SELECT record, 'key ' || id FROM key
                   UNION ALL SELECT record, 'approval of key ' || key_id FROM approval";
        self.rows(sql, params![])?.iter().try_for_each(|(text, name)| require_known_family(text, name))
    }

    /// For lists: what is of an unknown family is left out, and that is said.
    fn listed<T: DeserializeOwned>(&self, sql: &str, params: impl rusqlite::Params) -> Result<Vec<T>> {
        let mut listed = Vec::new();
        for (text, name) in self.rows(sql, params)? {
            match require_known_family(&text, &name) {
                Ok(()) => listed.push(parse(&text, &name)?),
                Err(unknown) => self.notices.add("records.family", unknown.message),
            }
        }
        Ok(listed)
    }

    fn many<T: DeserializeOwned>(&self, sql: &str, params: impl rusqlite::Params) -> Result<Vec<T>> {
        self.rows(sql, params)?.iter().map(|(text, name)| parse_known(text, name)).collect()
    }

    fn rows(&self, sql: &str, params: impl rusqlite::Params) -> Result<Vec<(String, String)>> {
        let rows = || -> rusqlite::Result<Vec<(String, String)>> {
            self.connection.prepare_cached(sql)?.query_map(params, named_record)?.collect()
        };
        rows().map_err(|e| database(&e))
    }

    fn one<T: DeserializeOwned>(&self, sql: &str, params: impl rusqlite::Params) -> Result<Option<T>> {
        let row = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut s| s.query_row(params, named_record).optional())
            .map_err(|e| database(&e))?;
        row.map(|(text, name)| parse_known(&text, &name)).transpose()
    }
}

/// One write under way; it reads its own changes.
pub struct Write<'a> {
    transaction: Transaction<'a>,
    networks: &'a BTreeMap<String, u64>,
    notices: &'a Notices,
}

impl Write<'_> {
    pub fn read(&self) -> Read<'_> {
        Read { connection: &self.transaction, networks: self.networks, notices: self.notices }
    }

    /// Adds the account, or brings a hidden one back.
    pub fn put_account(&self, account: &Account) -> Result<()> {
        self.require_not_foreign(
            "SELECT record, 'account ' || name FROM account WHERE network = ?1 AND address = ?2",
            params![account.network, account.address.as_slice()],
        )?;
        let chain_id = i64::try_from(account.chain_id).ok();
        let genesis = self.read().genesis_of(&account.network, chain_id)?;
        self.run(
            "INSERT INTO account (network, address, name, record, chain_id, genesis) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (network, address) DO UPDATE SET name = ?3, record = ?4, hidden = 0, chain_id = ?5, genesis = ?6",
            params![account.network, account.address.as_slice(), account.name, tagged(account)?, chain_id, genesis],
        )
    }

    pub fn hide_account(&self, network: &str, address: Address) -> Result<()> {
        self.run(
            "UPDATE account SET hidden = 1 WHERE network = ?1 AND address = ?2",
            params![network, address.as_slice()],
        )
    }

    pub fn put_key(&self, key: &Key) -> Result<()> {
        self.require_not_foreign("SELECT record, 'key ' || id FROM key WHERE id = ?1", params![key.id])?;
        let chain_id = i64::try_from(key.chain_id).ok();
        let genesis = self.read().genesis_of(&key.network, chain_id)?;
        self.run(
            "INSERT INTO key (id, network, account, session_key, label, record, chain_id, genesis)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (id) DO UPDATE SET label = ?5, record = ?6",
            params![
                key.id,
                key.network,
                key.account.as_slice(),
                key.session_key.as_slice(),
                key.label,
                tagged(key)?,
                chain_id,
                genesis
            ],
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

    /// Adds the approval, or the signature to one that waits for it. One that is another key's is refused: two keys with one
    /// approval would live and end together.
    pub fn put_approval(&self, approval: &ApprovalRecord) -> Result<()> {
        let digest = approval.digest();
        self.require_not_foreign(
            "SELECT record, 'approval of key ' || key_id FROM approval WHERE digest = ?1",
            params![digest.as_slice()],
        )?;
        let written = self.changed(
            "INSERT INTO approval (key_id, digest, record) VALUES (?1, ?2, ?3)
             ON CONFLICT (digest) DO UPDATE SET record = ?3 WHERE ?1 IN (key_id, also_key_id)",
            params![approval.key_id, digest.as_slice(), tagged(approval)?],
        )?;
        if written > 0 {
            return Ok(());
        }
        let other = self.read().one::<Key>(
            "SELECT key.record, 'key ' || key.id FROM approval JOIN key ON key.id = approval.key_id WHERE digest = ?1",
            params![digest.as_slice()],
        )?;
        let who =
            other.map_or_else(|| "another key".to_owned(), |key| format!("{} ({})", clean(&key.label, 64), key.id));
        Err(Error::failed(
            "records.same_approval",
            format!("the approval {digest} is on record already, as that of {who}"),
        )
        .hint("use that key; or ask for another scope, window or session key"))
    }

    /// Writes down which chain a network name stands for, also for what was recorded under it before that was asked.
    pub fn put_genesis(&self, network: &str, chain_id: u64, genesis: B256) -> Result<()> {
        let Ok(id) = i64::try_from(chain_id) else { return Ok(()) };
        self.run(
            "INSERT INTO network_chain (network, chain_id, genesis) VALUES (?1, ?2, ?3)
             ON CONFLICT (network) DO UPDATE SET chain_id = ?2, genesis = ?3",
            params![network, id, genesis.as_slice()],
        )?;
        for sql in [
            "UPDATE account SET genesis = ?3 WHERE network = ?1 AND chain_id = ?2 AND genesis IS NULL",
            "UPDATE key SET genesis = ?3 WHERE network = ?1 AND chain_id = ?2 AND genesis IS NULL",
            "UPDATE operation SET genesis = ?3 WHERE network = ?1 AND chain_id = ?2 AND genesis IS NULL",
            "UPDATE scan SET genesis = ?3 WHERE network = ?1 AND chain_id = ?2 AND genesis IS NULL",
        ] {
            self.run(sql, params![network, id, genesis.as_slice()])?;
        }
        Ok(())
    }

    /// A network name that is given up may stand for another chain later. What was recorded under it stays with its chain.
    pub fn forget_network(&self, network: &str) -> Result<()> {
        self.run("DELETE FROM network_chain WHERE network = ?1", params![network])
    }

    pub fn put_agent(&self, agent: &Agent) -> Result<()> {
        self.run(
            "INSERT INTO agent (label, address, record) VALUES (?1, ?2, ?3)",
            params![agent.label, agent.address.as_slice(), json(agent)?],
        )
    }

    pub fn put_operation(&self, operation: &Operation) -> Result<()> {
        let Chain { id, genesis, .. } = self.read().chain(&operation.network, operation.account)?;
        self.run(
            "INSERT INTO operation (user_op_hash, network, account, created_at, record, chain_id, genesis)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (user_op_hash) DO UPDATE SET record = ?5",
            params![
                operation.user_op_hash.as_slice(),
                operation.network,
                operation.account.as_slice(),
                i64::try_from(operation.created_at).unwrap_or(i64::MAX),
                json(operation)?,
                id,
                genesis
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
        let Chain { network, id, genesis } = self.read().chain(network, account)?;
        // One account has one history, whichever name it was read under last.
        self.run(
            concat!("DELETE FROM scan WHERE account = ?4 AND ", of_chain!("scan")),
            params![network, id, genesis, account.as_slice()],
        )?;
        self.run(
            "INSERT INTO scan (network, account, record, chain_id, genesis) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (network, account) DO UPDATE SET record = ?3, chain_id = ?4, genesis = ?5",
            params![network, account.as_slice(), json(scan)?, id, genesis],
        )
    }

    /// What a newer version wrote is never written over. What cannot be read at all may be.
    fn require_not_foreign(&self, sql: &str, params: impl rusqlite::Params) -> Result<()> {
        self.read().rows(sql, params)?.iter().try_for_each(|(text, name)| require_known_family(text, name))
    }

    fn run(&self, sql: &str, params: impl rusqlite::Params) -> Result<()> {
        self.changed(sql, params).map(|_| ())
    }

    fn changed(&self, sql: &str, params: impl rusqlite::Params) -> Result<usize> {
        self.transaction.prepare_cached(sql).and_then(|mut s| s.execute(params)).map_err(|e| database(&e))
    }
}

fn json(record: &impl Serialize) -> Result<String> {
    serde_json::to_string(record)
        .map_err(|e| Error::failed("records.write", format!("a record could not be written as JSON: {e}")))
}

/// What is of one family or another.
trait OfFamily: Serialize {
    fn family(&self) -> Family;
}

impl OfFamily for Account {
    fn family(&self) -> Family {
        Self::family(self)
    }
}

impl OfFamily for Key {
    fn family(&self) -> Family {
        Self::family(self)
    }
}

impl OfFamily for ApprovalRecord {
    fn family(&self) -> Family {
        self.request.family()
    }
}

/// A record as it is stored: its family, then what it is.
fn tagged(record: &impl OfFamily) -> Result<String> {
    #[derive(Serialize)]
    struct Tagged<'a, T> {
        family: &'static str,
        #[serde(flatten)]
        record: &'a T,
    }
    json(&Tagged { family: record.family().name(), record })
}

/// The family that a record says it is of, whatever else is in it. Those that say none are of the first one, or of no family.
fn family_of(text: &str) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Tag<'a> {
        #[serde(default, borrow)]
        family: Option<Cow<'a, str>>,
    }
    // Where `tagged` writes it, the rest need not be looked through.
    if let Some((family, _)) = text.strip_prefix(r#"{"family":""#).and_then(|rest| rest.split_once('"'))
        && Family::named(family).is_some()
    {
        return Some(Cow::Borrowed(family));
    }
    serde_json::from_str::<Tag<'_>>(text).ok()?.family
}

fn require_known_family(text: &str, name: &str) -> Result<()> {
    match family_of(text) {
        Some(family) if Family::named(&family).is_none() => Err(Error::failed(
            "records.family",
            format!(
                "the record of {} is of the family {}, which this keyleash does not know; it is left as it is",
                clean(name, 80),
                clean(&family, 40)
            ),
        )
        .hint("use the newer keyleash that wrote it")),
        _ => Ok(()),
    }
}

/// A record, and what to call it when it cannot be read. Every query answers both.
fn named_record(row: &rusqlite::Row<'_>) -> rusqlite::Result<(String, String)> {
    Ok((row.get(0)?, row.get(1)?))
}

fn parse_known<T: DeserializeOwned>(text: &str, name: &str) -> Result<T> {
    require_known_family(text, name)?;
    parse(text, name)
}

fn parse<T: DeserializeOwned>(text: &str, name: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| {
        Error::failed("records.damaged", format!("the record of {} cannot be read: {e}", clean(name, 80)))
            .hint("the record file was changed by another program or a newer keyleash; restore it from a backup")
    })
}

fn database(error: &rusqlite::Error) -> Error {
    let (code, kind) = match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::ConstraintViolation) => ("records.exists", Kind::Other),
        Some(rusqlite::ErrorCode::DatabaseBusy) => ("records.busy", Kind::Unwritable),
        Some(rusqlite::ErrorCode::DiskFull) => ("records.disk_full", Kind::Unwritable),
        Some(rusqlite::ErrorCode::ReadOnly | rusqlite::ErrorCode::PermissionDenied) => {
            ("records.read_only", Kind::Unwritable)
        }
        Some(rusqlite::ErrorCode::SystemIoFailure) => ("records.io", Kind::Unwritable),
        _ => ("records.failed", Kind::Other),
    };
    Error::failed(code, format!("the records could not be used: {error}")).of(kind)
}

fn not_writable(why: &str) -> Error {
    Error::failed("records.read_only", format!("{why}; nothing was done"))
        .of(Kind::Unwritable)
        .hint("make room on the disk, or make the profile writable for you; revoking works all the same")
}

/// Whether opening failed because something would have had to be written, and not because of what is there.
fn is_about_writing(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{CannotOpen, DiskFull, PermissionDenied, ReadOnly, SystemIoFailure};
    matches!(error.sqlite_error_code(), Some(CannotOpen | DiskFull | PermissionDenied | ReadOnly | SystemIoFailure))
}

fn is_not_written(error: &Error) -> bool {
    error.kind == Kind::Unwritable
}

#[cfg(test)]
mod tests;

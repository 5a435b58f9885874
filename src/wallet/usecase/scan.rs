//! Discovery: the session keys of an account recovered from the chain alone (docs/kernel-v2.md#finding-keys-on-chain).
//!
//! ```text
//!  logs ── transactions ── kernel_v2::history ── Ledger ─┬─ picture of the account ── what is left open
//!   in chunks, resumed       read and checked         └─ records: matched, else taken in as discovered
//! ```
//! What was read is kept up to [`SETTLED`] blocks behind the tip, with the hash of the last block: a scan that was cut off goes
//! on there, and a later one reads only what is new. The blocks near the tip are read again each time.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::{Address, B256, Selector};
use serde::{Deserialize, Serialize};

use super::{
    control::{Power, Reach, SOMEBODY_ELSE},
    key::KeyView,
};
pub use crate::protocol::kernel_v2::history::report::{ScanFinding, UnexplainedTurns};
use crate::{
    policy::scope::Scope,
    protocol::{
        family::{Validator, account::Version, approval::ApprovalRequest, snapshot::Snapshot},
        kernel_v2::{
            approval::EnableData,
            generation::{Generation, KernelVersion},
            history::{
                Act, Shown, acts,
                events::log_queries,
                found::{self, OWNERS},
                ledger::{Changed, Enabled, EnabledBy, Ledger, OnChain, Open, Point, Uses},
                report::Told,
            },
            revocation::Nonces,
            snapshot::{self as kernel_v2, nonces_queries, read_nonces_of},
        },
        query::Log,
    },
    wallet::{
        Wallet,
        error::{Error, Result},
        now,
        records::model::{Account, ApprovalRecord, Key, OperationState, Origin, PartialScope},
        rpc::{At, ChainError, Node, services::Services},
        short_id,
    },
};

/// Blocks behind the tip that are taken as settled: reorganizations of live chains are far shorter.
const SETTLED: u64 = 64;
/// Transactions and blocks asked for together.
const TOGETHER: usize = 500;
/// Chunks without anything in them after which progress is kept all the same.
const QUIET_CHUNKS: u32 = 16;
/// How often a picture is taken again because keys turned up while it was taken.
const PICTURES: usize = 5;
/// Most turns whose transaction is looked for in old states. Each takes some 25 reads.
const LOOKUPS: usize = 32;
/// Most operations on record that are looked through.
const OPERATIONS: u32 = 100_000;

/// What a scan may be told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScanOptions {
    /// Begin here, whatever was read before. Without it: where the last scan ended, else where the account was deployed.
    pub from_block: Option<u64>,
}

/// How far a scan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ScanProgress {
    pub from_block: u64,
    /// Read up to here.
    pub through_block: u64,
    pub to_block: u64,
    /// Operations of the account so far, those of earlier scans included.
    pub operations: u64,
    pub keys: usize,
}

/// Called after each chunk.
pub type TellProgress<'a> = dyn Fn(&ScanProgress) + Send + Sync + 'a;

/// When and where a key was used, or enabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Moment {
    pub block: u64,
    /// Block time, unix seconds.
    pub time: Option<u64>,
    pub transaction_hash: B256,
}

impl From<Point> for Moment {
    fn from(point: Point) -> Self {
        Self { block: point.block, time: point.time, transaction_hash: point.transaction }
    }
}

/// A key as the history of the account shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FoundKey {
    pub session_key: Address,
    /// As it is on record now. Missing for a key that was used and that the chain holds no more, when nothing tells its scope.
    #[serde(skip)]
    pub key: Option<KeyView>,
    /// Whether it was on record before this scan.
    pub known: bool,
    pub validator: Option<Validator>,
    /// Zero allows everything.
    pub merkle_root: Option<B256>,
    /// Each turn it took, in order, and how.
    pub turns: Vec<FoundTurn>,
    /// Whether the chain holds it now.
    pub held: bool,
    /// Operations it signed that were mined.
    pub uses: u64,
    pub first_use: Option<Moment>,
    pub last_use: Option<Moment>,
}

/// One enabling of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FoundTurn {
    #[serde(serialize_with = "as_text")]
    pub nonce: u128,
    pub enabled_by: EnabledBy,
    pub at: Option<Moment>,
    pub held: bool,
}

fn as_text<S: serde::Serializer>(value: &u128, s: S) -> std::result::Result<S::Ok, S::Error> {
    s.collect_str(value)
}

/// Something else that happened to the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccountChange {
    pub at: Moment,
    pub what: Changed,
}

/// What a scan came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Scan {
    pub account: String,
    pub address: Address,
    pub network: String,
    pub from_block: u64,
    pub through_block: u64,
    /// Operations of the account that were mined.
    pub operations: u64,
    pub keys: Vec<FoundKey>,
    pub unexplained: Vec<UnexplainedTurns>,
    /// False: unknown keys may exist. The findings say why.
    pub complete: bool,
    pub findings: Vec<ScanFinding>,
    pub changes: Vec<AccountChange>,
    /// What else can act for the account; missing before it is deployed.
    pub power: Option<Power>,
}

/// What this version of the reader knows to look for. What an earlier one kept is read anew: it passed over routes that other
/// plugins opened.
const READER: u32 = 2;

impl Scan {
    /// Why unknown keys may exist. Foreign power over the account is told by itself ([`Power::foreign`]).
    pub(in crate::wallet) fn doubts(&self) -> impl Iterator<Item = &str> {
        const DOUBTS: [&str; 6] = [
            "scan.partial",
            "turns.unexplained",
            "turns.set_back",
            "turns.numbered",
            "turns.invalidated",
            "operations.unread",
        ];
        let doubts = self.findings.iter().filter(|f| !self.complete && DOUBTS.contains(&f.code));
        doubts.map(|f| f.message.as_str())
    }
}

/// What is kept between scans.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::wallet) struct Kept {
    #[serde(default)]
    reader: u32,
    from: u64,
    /// Everything up to this block is in the ledger.
    through: u64,
    through_hash: B256,
    /// Whether `from` is not after the account's deployment.
    whole: bool,
    ledger: Ledger,
    /// What the blocks near the tip showed. They are read again the next time, and the functions that they opened are looked
    /// at until then: one that a reorganization took back does no harm, its route is read from the state.
    #[serde(default)]
    near_tip: Option<NearTip>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct NearTip {
    through: u64,
    opened: BTreeSet<Selector>,
    foreign_code: Option<u64>,
}

/// What was kept, unless an earlier reader did.
pub(in crate::wallet) fn readable(kept: serde_json::Value) -> Option<Kept> {
    serde_json::from_value::<Kept>(kept).ok().filter(|kept| kept.reader == READER)
}

impl Kept {
    pub(in crate::wallet) fn into_reach(self) -> Reach {
        let mut reach = reach(&self.ledger, self.from, self.through, self.whole);
        if let Some(near_tip) = self.near_tip {
            reach.through_block = reach.through_block.max(Some(near_tip.through));
            reach.opened.extend(near_tip.opened);
            reach.foreign_code = reach.foreign_code.or(near_tip.foreign_code);
        }
        reach
    }
}

fn reach(ledger: &Ledger, from: u64, through: u64, whole: bool) -> Reach {
    Reach {
        from_block: Some(from),
        through_block: Some(through),
        whole,
        opened: ledger.opened.clone(),
        foreign_code: ledger.foreign_code.map(|point| point.block),
    }
}

impl Wallet {
    /// Recovers the account's keys from the chain, and takes those into the records that are not there yet.
    pub async fn scan(&self, wanted: &str, options: ScanOptions, tell: &TellProgress<'_>) -> Result<Scan> {
        let account = self.find_account(wanted)?;
        let services = self.services_of(&account.network, account.chain_id).await?;
        self.scan_through(&account, &services, options, tell).await
    }

    pub(in crate::wallet) async fn scan_through(
        &self,
        account: &Account,
        services: &Services,
        options: ScanOptions,
        tell: &TellProgress<'_>,
    ) -> Result<Scan> {
        let reader = Reader {
            node: &services.node,
            chain_id: account.chain_id,
            account: account.address,
            ours: self.transactions_of(account)?,
        };
        let tip = services.node.latest_block().await?;
        if services.node.code(account.address, At::Latest).await?.is_empty() {
            return Ok(not_deployed(account, tip.number));
        }
        let mut kept = self.begin(account, &reader, options, tip.number).await?;
        let told = |from, through, to, ledger: &Ledger| {
            let keys = ledger.session_keys().len();
            tell(&ScanProgress {
                from_block: from,
                through_block: through,
                to_block: to,
                operations: ledger.operations,
                keys,
            });
        };

        let settled = tip.number.saturating_sub(SETTLED);
        let mut next = kept.next;
        let mut quiet = 0;
        while next <= settled {
            let chunk = reader.chunk(&mut kept.ledger, next, settled).await?;
            next = chunk.through + 1;
            quiet = if chunk.empty { quiet + 1 } else { 0 };
            if quiet % QUIET_CHUNKS == 0 || next > settled {
                self.keep_scan(account, services, &kept, chunk.through).await?;
            }
            told(kept.from, chunk.through, tip.number, &kept.ledger);
        }

        let mut ledger = kept.ledger.clone();
        let mut to = tip.number;
        let (mut rounds, mut searched) = (0, false);
        let seen = loop {
            while next <= to {
                let chunk = reader.chunk(&mut ledger, next, to).await?;
                next = chunk.through + 1;
                told(kept.from, chunk.through, to, &ledger);
            }
            let mut asked = ledger.session_keys();
            asked.extend(self.known_keys(account)?);
            let keys: Vec<Address> = asked.iter().copied().collect();
            let seen = services.snapshot(&account.wanted(&keys).with_routes(&ledger.opened)).await?;
            let Snapshot::KernelV2(picture) = &seen;
            to = to.max(picture.block);
            while next <= to {
                next = reader.chunk(&mut ledger, next, to).await?.through + 1;
            }
            rounds += 1;
            let routes_read = ledger.opened.iter().all(|function| picture.routes.contains_key(function));
            if !(ledger.session_keys().is_subset(&asked) && routes_read) && rounds < PICTURES {
                continue;
            }
            if !searched {
                searched = true;
                let silent = reader.silent(&ledger, &on_chain(picture), (kept.from, picture.block)).await?;
                let (old, new): (Vec<Silent>, Vec<Silent>) = silent.into_iter().partition(|s| s.at.block <= settled);
                if !old.is_empty() {
                    add_silent(&mut kept.ledger, &old);
                    self.keep_scan(account, services, &kept, settled.max(kept.next.saturating_sub(1))).await?;
                }
                add_silent(&mut ledger, &old);
                add_silent(&mut ledger, &new);
                if !ledger.session_keys().is_subset(&asked) {
                    continue;
                }
            }
            break seen;
        };
        let Snapshot::KernelV2(picture) = &seen;

        self.keep_near_tip(account, services, &kept, &ledger, to).await?;
        let open = ledger.settle(&on_chain(picture));
        reader.add_times(&mut ledger).await?;
        let doubtful = !open.numbered.is_empty() && reader.owners_sent_transactions(&ledger).await?;
        let joined = self.join(account, picture, &ledger)?;
        self.report(
            account,
            &seen,
            &ledger,
            &open,
            joined,
            Extent { from: kept.from, whole: kept.whole, through: to, silent: doubtful },
        )
    }

    /// The transactions in which operations on record were mined with success.
    fn transactions_of(&self, account: &Account) -> Result<BTreeMap<u64, BTreeSet<B256>>> {
        let mut ours: BTreeMap<u64, BTreeSet<B256>> = BTreeMap::new();
        for operation in self.store.read(|r| r.operations_of(&account.network, account.address, OPERATIONS))? {
            if let OperationState::Included { success: true, transaction_hash, block, .. } = operation.progress {
                ours.entry(block).or_default().insert(transaction_hash);
            }
        }
        Ok(ours)
    }

    /// Where to begin, and what was read before.
    async fn begin(&self, account: &Account, reader: &Reader<'_>, options: ScanOptions, tip: u64) -> Result<Beginning> {
        let kept =
            self.store.read(|r| r.scan::<serde_json::Value>(&account.network, account.address))?.and_then(readable);
        // What a look at the last blocks kept is not the whole story: that is read from the account's beginning.
        let begins = |k: &Kept| options.from_block.map_or(k.whole, |from| from == k.from);
        let fits = |k: &Kept| begins(k) && k.through <= tip;
        if let Some(kept) = kept.filter(fits) {
            let same = reader.node.blocks(&[kept.through]).await?;
            if same.first().copied().flatten().is_some_and(|block| block.hash == kept.through_hash) {
                let Kept { from, through, whole, ledger, .. } = kept;
                return Ok(Beginning { from, next: through + 1, whole, ledger });
            }
        }
        let first = reader.first_block(tip).await?;
        let from = options.from_block.unwrap_or(first);
        let ledger = Ledger::new(account.address, Some(account.owner));
        Ok(Beginning { from, next: from, whole: from <= first, ledger })
    }

    async fn keep_scan(&self, account: &Account, services: &Services, so_far: &Beginning, through: u64) -> Result<()> {
        // A node that does not have the block it has just given logs of: nothing to resume from, nothing lost.
        let Some(Some(block)) = services.node.blocks(&[through]).await?.pop() else { return Ok(()) };
        let Beginning { from, whole, ledger, .. } = so_far;
        let kept = Kept {
            reader: READER,
            from: *from,
            through,
            through_hash: block.hash,
            whole: *whole,
            ledger: ledger.clone(),
            near_tip: None,
        };
        self.store.note(|w| {
            // A look at the last blocks does not replace the whole story.
            let before = w.read().scan::<serde_json::Value>(&account.network, account.address)?.and_then(readable);
            match before.is_some_and(|before| before.whole) && !whole {
                true => Ok(()),
                false => w.put_scan(&account.network, account.address, &kept),
            }
        })
    }
}

impl Wallet {
    /// Remembers what the blocks that are not settled yet have shown.
    async fn keep_near_tip(
        &self,
        account: &Account,
        services: &Services,
        so_far: &Beginning,
        ledger: &Ledger,
        through: u64,
    ) -> Result<()> {
        let read = || self.store.read(|r| r.scan::<serde_json::Value>(&account.network, account.address));
        if read()?.and_then(readable).is_none() {
            // Nothing was settled yet: the next scan begins where this one did.
            let Some(before) = so_far.from.checked_sub(1) else { return Ok(()) };
            self.keep_scan(account, services, so_far, before).await?;
        }
        let near_tip = NearTip {
            through,
            opened: ledger.opened.clone(),
            foreign_code: ledger.foreign_code.map(|point| point.block),
        };
        // What was read is worth no less where it cannot be remembered: a revocation goes on a full disk too.
        self.store.note(|w| {
            let kept = w.read().scan::<serde_json::Value>(&account.network, account.address)?.and_then(readable);
            match kept.filter(|kept| kept.from == so_far.from || kept.whole) {
                Some(kept) => w.put_scan(&account.network, account.address, &Kept { near_tip: Some(near_tip), ..kept }),
                None => Ok(()),
            }
        })
    }
}

fn add_silent(ledger: &mut Ledger, silent: &[Silent]) {
    for Silent { generation, invalid, acts, at } in silent {
        ledger.add_silent(acts, *generation, *invalid, *at);
    }
}

fn on_chain(picture: &kernel_v2::Snapshot) -> OnChain {
    OnChain {
        nonces: picture.nonces.iter().map(|(g, n)| (*g, (n.last, n.invalid))).collect(),
        sessions: picture.sessions.clone(),
    }
}

/// What a scan covered, and whether more may have happened.
struct Extent {
    from: u64,
    /// Whether that is all of the account's life.
    whole: bool,
    through: u64,
    /// Whether calls may have been made that leave no trace.
    silent: bool,
}

/// Where a scan begins.
struct Beginning {
    /// The first block that was ever read into the ledger.
    from: u64,
    next: u64,
    /// Whether that is all of the account's life.
    whole: bool,
    ledger: Ledger,
}

/// Reads stretches of the chain into a ledger.
struct Reader<'a> {
    node: &'a Node,
    chain_id: u64,
    account: Address,
    /// Transactions of ours that were mined, by block: an owner's own may leave no trace on the chain.
    ours: BTreeMap<u64, BTreeSet<B256>>,
}

/// A transaction of the owner's that left no trace but in the validator's counters.
struct Silent {
    generation: Generation,
    /// The validator's `invalidNonce` after it.
    invalid: u128,
    acts: Vec<Act>,
    at: Point,
}

struct Chunk {
    through: u64,
    empty: bool,
}

type Read<T> = std::result::Result<T, ChainError>;

impl Reader<'_> {
    /// Reads from block `from` on, as far towards `to` as the node answers at once.
    async fn chunk(&self, ledger: &mut Ledger, from: u64, to: u64) -> Read<Chunk> {
        let found = self.node.logs(&log_queries(self.account), from, to).await?;
        let mut groups: Vec<(u64, B256, &[Log])> = found
            .logs
            .chunk_by(|a, b| a.transaction_hash == b.transaction_hash)
            .filter_map(|logs| logs.first().map(|log| (log.block_number, log.transaction_hash, logs)))
            .collect();
        let logged: BTreeSet<B256> = groups.iter().map(|(_, hash, _)| *hash).collect();
        for (block, hashes) in self.ours.range(from..=found.through) {
            let silent = hashes.iter().filter(|hash| !logged.contains(*hash));
            groups.extend(silent.map(|hash| (*block, *hash, &[][..])));
        }
        groups.sort_by_key(|(block, ..)| *block);
        for together in groups.chunks(TOGETHER) {
            let hashes: Vec<B256> = together.iter().map(|(_, hash, _)| *hash).collect();
            let transactions = self.node.transactions(&hashes).await?;
            for ((block, hash, logs), transaction) in together.iter().zip(transactions) {
                let at = Point { block: *block, transaction: *hash, time: None };
                // A transaction that is not there, or stands elsewhere than its logs, explains nothing.
                let transaction = transaction.filter(|t| t.block_number == Some(at.block));
                let (input, to) = transaction.map(|t| (t.input, t.to)).unwrap_or_default();
                ledger.transaction(at, logs, &input, to, self.chain_id);
            }
        }
        Ok(Chunk { through: found.through, empty: groups.is_empty() })
    }

    /// The block in which the account got its code, where the node still knows; else the first of the chain. `tip`: a block at
    /// which it has code.
    async fn first_block(&self, tip: u64) -> Read<u64> {
        let (mut low, mut high) = (0, tip);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.node.code(self.account, At::Block(middle)).await {
                Ok(code) if code.is_empty() => low = middle + 1,
                Ok(_) => high = middle,
                // Most nodes forget old states.
                Err(ChainError::Rpc(_)) => return Ok(0),
                Err(error) => return Err(error),
            }
        }
        Ok(low)
    }

    /// Transactions that left no trace, looked for on account of what is unexplained: where a counter of the validator moved,
    /// the owner's call is in that block. Needs a node that remembers old states; finds nothing on any other.
    async fn silent(&self, ledger: &Ledger, chain: &OnChain, blocks: (u64, u64)) -> Read<Vec<Silent>> {
        let (open, kernel) = (ledger.clone().settle(chain), ledger.kernel);
        let mut found = Vec::new();
        let mut lookups = LOOKUPS;
        for gap in &open.gaps {
            let mut turn = gap.first;
            while turn <= gap.last && lookups > 0 {
                lookups -= 1;
                let reached = |nonces: &Nonces| nonces.last >= turn;
                let Some(silent) = self.moved(gap.generation, reached, blocks, kernel).await? else { break };
                let used = silent.acts.iter().filter_map(|act| match act {
                    Act::Enable { generation, enable, .. } if *generation == gap.generation => Some(enable.nonce),
                    _ => None,
                });
                turn = used.max().unwrap_or(turn).max(turn).saturating_add(1);
                found.push(silent);
            }
        }
        for generation in &open.invalidated {
            let goal = chain.nonces.get(generation).map_or(0, |(_, invalid)| *invalid);
            let reached = |nonces: &Nonces| nonces.invalid >= goal;
            found.extend(self.moved(*generation, reached, blocks, kernel).await?);
        }
        Ok(found)
    }

    /// What the account was called to do in the first block at which the validator's counters are as wanted.
    async fn moved(
        &self,
        generation: Generation,
        wanted: impl Fn(&Nonces) -> bool,
        (from, to): (u64, u64),
        kernel: Option<KernelVersion>,
    ) -> Read<Option<Silent>> {
        let (mut low, mut high) = (from, to);
        let Some(mut there) = self.nonces_at(generation, to).await?.filter(&wanted) else { return Ok(None) };
        while low < high {
            let middle = low + (high - low) / 2;
            match self.nonces_at(generation, middle).await? {
                Some(nonces) if wanted(&nonces) => (high, there) = (middle, nonces),
                Some(_) => low = middle + 1,
                None => return Ok(None),
            }
        }
        let Ok(transactions) = self.node.transactions_in(high).await else { return Ok(None) };
        let has_batch = kernel.is_none_or(KernelVersion::has_batch);
        for called in transactions.iter().filter(|t| t.to == Some(self.account)) {
            let acts = acts(self.account, &called.input, has_batch);
            // A stranger may call the account as well, in vain.
            if !acts.is_empty() && self.node.receipt(called.hash).await?.is_some_and(|receipt| receipt.success) {
                let at = Point { block: high, transaction: called.hash, time: None };
                return Ok(Some(Silent { generation, invalid: there.invalid, acts, at }));
            }
        }
        Ok(None)
    }

    /// The validator's counters at an old block; `None` where the node does not remember.
    async fn nonces_at(&self, generation: Generation, block: u64) -> Read<Option<Nonces>> {
        let queries = nonces_queries(generation, self.account);
        match self.node.ask_for(&queries, At::Block(block), read_nonces_of).await {
            Ok(nonces) => Ok(Some(nonces)),
            Err(ChainError::Rpc(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether an owner ever sent a transaction of its own: only those can be without a trace.
    async fn owners_sent_transactions(&self, ledger: &Ledger) -> Read<bool> {
        for owner in ledger.owners.iter().take(OWNERS) {
            if self.node.nonce(*owner, At::Latest).await? > 0 {
                return Ok(true);
            }
        }
        Ok(ledger.owners.len() > OWNERS)
    }

    async fn add_times(&self, ledger: &mut Ledger) -> Read<()> {
        let wanted: Vec<u64> = ledger.blocks_without_time().into_iter().collect();
        let mut times = BTreeMap::new();
        for together in wanted.chunks(TOGETHER) {
            let blocks = self.node.blocks(together).await?;
            times.extend(blocks.into_iter().flatten().map(|block| (block.number, block.timestamp)));
        }
        ledger.set_times(&times);
        Ok(())
    }
}

fn not_deployed(account: &Account, block: u64) -> Scan {
    Scan {
        account: account.name.clone(),
        address: account.address,
        network: account.network.clone(),
        from_block: block,
        through_block: block,
        operations: 0,
        keys: Vec::new(),
        unexplained: Vec::new(),
        complete: true,
        findings: vec![ScanFinding {
            code: "account.not_deployed",
            message: "the account is not deployed: no key was ever enabled. Approvals that were signed and never used leave no trace"
                .into(),
        }],
        changes: Vec::new(),
        power: None,
    }
}

// ---- the records ----------------------------------------------------------------------------------------------------------------

/// A key on record, with what the history has of it.
struct Joined {
    key: Key,
    was_known: bool,
    /// Positions in [`Ledger::enabled`].
    enabled: Vec<usize>,
}

/// The keys, and what is to be said about how they came to be on record.
type Join = (Vec<Joined>, Vec<ScanFinding>);

impl Wallet {
    /// Matches what was enabled with the records, and takes in what is not there. Nothing that a person recorded is changed.
    fn join(&self, account: &Account, picture: &kernel_v2::Snapshot, ledger: &Ledger) -> Result<Join> {
        let place = (account.chain_id, account.address);
        let Version::KernelV2(recorded) = account.kernel;
        let present = picture.kernel.unwrap_or(recorded);
        let mut join = None;
        // A scan reads on where nothing can be written down: what else can act must be known all the same.
        self.store.note(|w| {
            let mut keys = w.read().keys_of(&account.network, account.address, true)?;
            let mut approvals = w.read().approvals_of(&account.network, account.address)?;
            let before = keys.len();
            let mut of_key: BTreeMap<String, Vec<usize>> = BTreeMap::new();
            let mut findings = Vec::new();
            for (position, enabled) in ledger.enabled.iter().enumerate().filter(|(_, e)| !e.is_burn()) {
                let recorded = approvals.iter_mut().find(
                    |ApprovalRecord { request: ApprovalRequest::KernelV2(request), .. }| {
                        request.validator == enabled.generation && request.enable == enabled.enable
                    },
                );
                let id = match recorded {
                    Some(approval) => {
                        let signed = ledger.signed_approval(place, account.owner, present, enabled);
                        if approval.signature.is_none() && signed.0.digest() == approval.digest() {
                            approval.signature = signed.1;
                            w.put_approval(approval)?;
                        }
                        approval.key_id.clone()
                    }
                    None => {
                        let key = match keys.iter().find(|k| {
                            enabled.gives(
                                k.validator,
                                k.session_key,
                                &k.scope,
                                k.partial.as_ref().map(|p| p.merkle_root),
                            )
                        }) {
                            Some(key) => key.clone(),
                            None => {
                                let key = discovered(account, enabled, &keys)?;
                                w.put_key(&key)?;
                                keys.push(key.clone());
                                key
                            }
                        };
                        let (request, signature) = ledger.signed_approval(place, account.owner, present, enabled);
                        let request = request.into();
                        let approval = ApprovalRecord { key_id: key.id.clone(), request, signature, created_at: now() };
                        if w.read().approval_by_digest(approval.digest())?.is_none() {
                            w.put_approval(&approval)?;
                        }
                        approvals.push(approval);
                        key.id
                    }
                };
                of_key.entry(id).or_default().push(position);
            }
            let mut joined = Vec::new();
            for (place, mut key) in keys.into_iter().enumerate() {
                let Some(enabled) = of_key.remove(&key.id) else { continue };
                let history: Vec<&Enabled> = enabled.iter().filter_map(|at| ledger.enabled.get(*at)).collect();
                if key.partial.is_some() && learn(&mut key, &history) {
                    w.put_key(&key)?;
                }
                if history.iter().any(|e| e.held) && w.read().is_key_hidden(&key.id)? {
                    w.show_key(&key)?;
                    let message = format!("{} was off the lists, and the chain holds it: it is back", key.label);
                    findings.push(ScanFinding { code: "key.hidden", message });
                }
                joined.push(Joined { key, was_known: place < before, enabled });
            }
            join = Some((joined, findings));
            Ok(())
        })?;
        join.ok_or_else(|| Error::failed("scan.records", "what was found could not be joined with the records"))
    }
}

/// Puts the permissions that were shown into a scope that is known in part. Answers whether there was anything new.
fn learn(key: &mut Key, history: &[&Enabled]) -> bool {
    let Some(partial) = &key.partial else { return false };
    let known = key.scope.permissions.iter().zip(&partial.proofs);
    let known = known.map(|(permission, proof)| Shown { permission: permission.clone(), proof: proof.clone() });
    let merkle_root = partial.merkle_root;
    let Some(learned) = found::learn(key.validator, merkle_root, known, history) else { return false };
    key.partial = learned.proofs.map(|proofs| PartialScope { merkle_root, proofs });
    key.functions = learned.permissions.iter().map(|_| None).collect();
    key.scope.permissions = learned.permissions;
    true
}

/// A key for the records that only the chain knew.
fn discovered(account: &Account, enabled: &Enabled, others: &[Key]) -> Result<Key> {
    let EnableData { session_key, merkle_root, valid_after, valid_until, paymaster, .. } = enabled.enable;
    let name = format!("unknown-{}", alloy::hex::encode(session_key.get(..4).unwrap_or_default()));
    let taken = |label: &str| others.iter().any(|k| k.label == label);
    let numbered = (2..=others.len() + 2).map(|n| format!("{name}-{n}"));
    let label = [name.clone()].into_iter().chain(numbered).find(|label| !taken(label)).unwrap_or(name);
    let mut key = Key {
        id: short_id()?,
        label,
        network: account.network.clone(),
        chain_id: account.chain_id,
        account: account.address,
        owner: account.owner,
        session_key,
        secret: None,
        validator: enabled.generation.into(),
        scope: Scope { valid_after, valid_until, paymaster, permissions: Vec::new() },
        partial: (!merkle_root.is_zero()).then(|| PartialScope { merkle_root, proofs: Vec::new() }),
        functions: Vec::new(),
        origin: Origin::Discovered,
        init_code: account.init_code(),
        was_deployed: true,
        created_at: now(),
        revoked_at: None,
    };
    learn(&mut key, &[enabled]);
    Ok(key)
}

// ---- what is said -----------------------------------------------------------------------------------------------------------------

impl Wallet {
    fn report(
        &self,
        account: &Account,
        picture: &Snapshot,
        ledger: &Ledger,
        open: &Open,
        (joined, mut findings): Join,
        Extent { from, whole, through, silent }: Extent,
    ) -> Result<Scan> {
        let mut keys = Vec::with_capacity(joined.len() + ledger.strays.len());
        let on_record: Vec<Key> = joined.iter().map(|j| j.key.clone()).collect();
        let views = self.views_in(&on_record, &account.network, account.address, Some(picture))?;
        for (Joined { key, was_known, enabled }, view) in joined.iter().zip(views) {
            let history: Vec<&Enabled> = enabled.iter().filter_map(|at| ledger.enabled.get(*at)).collect();
            let uses = together(history.iter().map(|e| e.uses));
            let label = &key.label;
            for turn in history.iter().filter(|e| e.by == EnabledBy::Unseen) {
                let message = format!(
                    "{label} ({}) is enabled on chain with nonce {}, and nothing that was read enabled it: the owner did, by a \
                     transaction of its own",
                    key.session_key, turn.enable.nonce
                );
                findings.push(ScanFinding { code: "key.unseen", message });
            }
            keys.push(FoundKey {
                session_key: key.session_key,
                key: Some(view),
                known: *was_known,
                validator: Some(key.validator),
                merkle_root: history.first().map(|e| e.enable.merkle_root),
                turns: history.iter().map(|e| found_turn(e)).collect(),
                held: history.iter().any(|e| e.held),
                uses: uses.count,
                first_use: uses.first.map(Moment::from),
                last_use: uses.last.map(Moment::from),
            });
        }
        for stray in &ledger.strays {
            let message = format!(
                "{} was used {} times, and what enabled it was not found; the chain does not hold it now",
                stray.session_key, stray.uses.count
            );
            findings.push(ScanFinding { code: "key.stray", message });
            keys.push(FoundKey {
                session_key: stray.session_key,
                key: None,
                known: false,
                validator: None,
                merkle_root: None,
                turns: Vec::new(),
                held: false,
                uses: stray.uses.count,
                first_use: stray.uses.first.map(Moment::from),
                last_use: stray.uses.last.map(Moment::from),
            });
        }
        let power = Power::of(account, picture, reach(ledger, from, through, whole));
        let mut complete = whole;
        for foreign in &power.foreign {
            complete = false;
            let message = format!("{} {}: {}", foreign.what, foreign.address, foreign.why);
            findings.push(ScanFinding { code: SOMEBODY_ELSE, message });
        }
        if !whole {
            findings.push(ScanFinding {
                code: "scan.partial",
                message: format!("what happened before block {from} was not read: unknown keys may exist"),
            });
        }
        let Snapshot::KernelV2(on_kernel_v2) = picture;
        let Told { unexplained, findings: told, complete: explained } =
            ledger.told(open, &on_chain(on_kernel_v2), silent);
        complete &= explained;
        findings.extend(told);
        findings.extend(self.lost_turns(account, on_kernel_v2, ledger)?);
        Ok(Scan {
            account: account.name.clone(),
            address: account.address,
            network: account.network.clone(),
            from_block: from,
            through_block: through,
            operations: ledger.operations,
            keys,
            unexplained,
            complete,
            findings,
            changes: ledger.changes.iter().map(|c| AccountChange { at: c.at.into(), what: c.what.clone() }).collect(),
            power: Some(power),
        })
    }

    /// Approvals on record whose turn went to another key: they can never be enabled, unless the turns are set back.
    fn lost_turns(
        &self,
        account: &Account,
        picture: &kernel_v2::Snapshot,
        ledger: &Ledger,
    ) -> Result<Vec<ScanFinding>> {
        let keys = self.store.read(|r| r.keys_of(&account.network, account.address, false))?;
        let mut findings = Vec::new();
        for key in keys.iter().filter(|k| k.origin != Origin::Discovered && k.revoked_at.is_none()) {
            for approval in self.store.read(|r| r.approvals(&key.id))? {
                let ApprovalRequest::KernelV2(request) = &approval.request;
                if let Some(other) = ledger.took_nonce_of(request, &on_chain(picture)) {
                    let message = format!(
                        "nonce {} of {} was used by {other}: the approval on record cannot be enabled any more",
                        approval.nonce(),
                        key.label
                    );
                    findings.push(ScanFinding { code: "key.turn_taken", message });
                }
            }
        }
        Ok(findings)
    }
}

fn found_turn(enabled: &Enabled) -> FoundTurn {
    FoundTurn {
        nonce: enabled.enable.nonce,
        enabled_by: enabled.by,
        at: enabled.at.map(Moment::from),
        held: enabled.held,
    }
}

/// The uses under several turns of one key.
fn together(uses: impl Iterator<Item = Uses>) -> Uses {
    let mut sum = Uses::default();
    for each in uses {
        sum.count += each.count;
        sum.first = [sum.first, each.first].into_iter().flatten().min_by_key(|p| p.block);
        sum.last = [sum.last, each.last].into_iter().flatten().max_by_key(|p| p.block);
    }
    sum
}

#[cfg(test)]
mod tests;

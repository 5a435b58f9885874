//! What a whole history comes to: which keys were enabled, by whom, when they were used, what ended them - and which turns
//! remain that nothing explains (docs/kernel-v2.md#finding-keys-on-chain).
//!
//! The ledger follows the validators' counters as the chain did. Where a step does not fit - a turn was taken, or the counter
//! was set, by something that left no trace - it says so: an owner's own transaction leaves none unless it routes.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::{Address, B256, Bytes, Selector};
use serde::{Deserialize, Serialize};

use super::{Act, Authority, Carried, SessionUse, Shown, acts, authority, opened, owner_candidates, shown};
use crate::{
    erc4337::v06::UserOperation,
    protocol::kernel_v2::{
        account::AccountSeed,
        approval::EnableData,
        generation::{Generation, KernelVersion},
        merkle::verify,
    },
};

/// Most enablings, and most keys seen without one, that are kept. No account comes near; a hostile node might.
const MAX_KEPT: usize = 20_000;
/// Most permissions kept of one key.
const MAX_SHOWN: usize = 4_096;
/// Most things that could not be read that are named one by one.
const MAX_NAMED: usize = 100;
/// Seconds. A window that ended in the first days of 1970 belongs to no key: it burns a turn.
const LONG_AGO: u64 = 86_400;

/// Where on the chain something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    pub block: u64,
    pub transaction: B256,
    /// Block time, unix seconds, where it was asked for.
    pub time: Option<u64>,
}

/// How a key came to be enabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EnabledBy {
    /// By its holder, who showed the owner's approval.
    Holder,
    /// By a call of the account itself: the owner, or a key that may make such calls.
    Account,
    /// The chain holds it, and nothing that was read enabled it.
    Unseen,
}

/// How often and when a key signed an operation that was mined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uses {
    pub count: u64,
    pub first: Option<Point>,
    pub last: Option<Point>,
}

impl Uses {
    fn add(&mut self, at: Point) {
        self.count += 1;
        self.first.get_or_insert(at);
        self.last = Some(at);
    }
}

/// One enabling of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enabled {
    pub generation: Generation,
    pub enable: EnableData,
    /// The account function that was opened along with it.
    pub selector: Option<Selector>,
    pub by: EnabledBy,
    /// The approval, where its holder showed it.
    pub approval: Option<Carried>,
    pub at: Option<Point>,
    /// Whether the validator holds it: as far as the history tells, and after [`Ledger::settle`] as the chain says.
    pub held: bool,
    pub uses: Uses,
    /// In the order in which they were first shown; each belongs to the root.
    pub shown: Vec<Shown>,
}

impl Enabled {
    /// A turn spent on a key that never could act.
    pub fn is_burn(&self) -> bool {
        (1..LONG_AGO).contains(&self.enable.valid_until)
    }
}

/// A key that signed operations although nothing that was read enabled it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stray {
    pub session_key: Address,
    pub uses: Uses,
    shown: Vec<(Generation, Shown)>,
}

/// Turns of a validator that nothing explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    pub generation: Generation,
    pub first: u128,
    pub last: u128,
}

/// Something that was mined and could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unread {
    pub at: Point,
    /// The operation; missing for a transaction that is none.
    pub user_op_hash: Option<B256>,
}

/// Something else that matters for keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub at: Point,
    pub what: Changed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Changed {
    Deployed,
    /// A new implementation.
    Upgraded(Address),
    /// A new owner at the ECDSAValidator.
    Owner(Address),
    /// Another default validator.
    DefaultValidator(Address),
    /// The bitmask of refused signature modes.
    Modes(u32),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counter {
    last: u128,
    invalid: u128,
    /// The highest value `last` ever had: after a rewind, keys live above it.
    highest: u128,
    /// It stood lower than it should have: something unseen set it back.
    set_back: bool,
    /// It was set to a number that a call named, which may have been lower than where it stood if that was not seen.
    numbered: bool,
}

/// An operation that was mined, as the EntryPoint logged it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mined {
    pub user_op_hash: B256,
    /// Whether the calls took effect. An approval that it carried did in any case.
    pub success: bool,
    /// Every operation in the transaction's input that has this hash: they differ in the signature alone.
    pub candidates: Vec<UserOperation>,
}

/// What the validator holds and has counted, read at one block.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OnChain {
    /// `(lastNonce, invalidNonce)`.
    pub nonces: BTreeMap<Generation, (u128, u128)>,
    pub sessions: BTreeMap<(Generation, Address), EnableData>,
}

/// What is left open when history and chain are laid side by side.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Open {
    pub gaps: Vec<Gap>,
    /// Validators whose counter was set back by something unseen: keys of higher turns may live.
    pub set_back: Vec<Generation>,
    /// Validators whose counter was set to a number by a call that was read. If turns were used before that nobody saw, keys
    /// of higher turns may live.
    pub numbered: Vec<Generation>,
    /// Validators with an invalidation that nothing explains. It may have set the counter back.
    pub invalidated: Vec<Generation>,
    /// Positions in [`Ledger::enabled`]: the history has them alive, the chain does not.
    pub gone: Vec<usize>,
}

/// The account's session keys over time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    pub(super) account: Address,
    pub kernel: Option<KernelVersion>,
    /// Everyone who owned the account, as far as is known.
    pub owners: Vec<Address>,
    /// Operations of the account, read or not.
    pub operations: u64,
    pub enabled: Vec<Enabled>,
    pub strays: Vec<Stray>,
    pub changes: Vec<Change>,
    /// The first of them.
    pub unread: Vec<Unread>,
    pub unread_count: u64,
    routes: Vec<(Selector, Address)>,
    /// Every account function that was ever routed, to whichever validator or executor: where to is for the chain to say.
    #[serde(default)]
    pub opened: BTreeSet<Selector>,
    /// Where foreign code first ran on the account's own storage, and how often it did: such code can route functions, and
    /// nothing tells which.
    #[serde(default)]
    pub foreign_code: Option<Point>,
    #[serde(default)]
    pub foreign_code_count: u64,
    counters: BTreeMap<Generation, Counter>,
    gaps: Vec<Gap>,
}

impl Ledger {
    /// `owner`: the present one, where it is known.
    pub fn new(account: Address, owner: Option<Address>) -> Self {
        Self {
            account,
            kernel: None,
            owners: owner.into_iter().collect(),
            operations: 0,
            enabled: Vec::new(),
            strays: Vec::new(),
            changes: Vec::new(),
            unread: Vec::new(),
            unread_count: 0,
            routes: Vec::new(),
            opened: BTreeSet::new(),
            foreign_code: None,
            foreign_code_count: 0,
            counters: BTreeMap::new(),
            gaps: Vec::new(),
        }
    }

    /// The account's operations in one transaction, in order. `direct`: the transaction called the EntryPoint itself; else
    /// the input may hold copies that were put there to mislead, and the signature decides.
    pub fn operations(&mut self, mined: &[Mined], direct: bool, at: Point) {
        let mut ran = Vec::with_capacity(mined.len());
        // A bundle is validated as a whole before any of its calls is made.
        for each in mined {
            self.operations += 1;
            match self.pick(each, direct) {
                Some((op, authority)) => {
                    self.validated(op, &authority, at);
                    ran.push((op, each.success));
                }
                None => {
                    // Perhaps another plugin's. The route holds all the same, and so do the calls.
                    for op in &each.candidates {
                        self.routed_by(op, at);
                    }
                    ran.extend(each.candidates.first().map(|op| (op, each.success)));
                    self.cannot_read(at, Some(each.user_op_hash));
                }
            }
        }
        for (op, _) in ran.into_iter().filter(|(_, success)| *success) {
            self.acted(&op.call_data, at);
        }
    }

    /// A transaction of the owner's to the account itself that is known to have succeeded.
    pub fn direct_call(&mut self, call_data: &[u8], at: Point) {
        self.acted(call_data, at);
    }

    /// The route that an operation in mode 2 makes.
    fn routed_by(&mut self, op: &UserOperation, at: Point) {
        let selector = op.call_data.get(..4).map(Selector::from_slice);
        if let (Some(selector), Some((validator, executor))) = (selector, opened(&op.signature)) {
            self.routed(selector, validator, executor, at);
        }
    }

    fn ran_foreign_code(&mut self, at: Point) {
        self.foreign_code.get_or_insert(at);
        self.foreign_code_count += 1;
    }

    /// What `ExecutionChanged` says: it is so, whether or not its call could be read.
    pub fn routed(&mut self, selector: Selector, validator: Address, executor: Address, at: Point) {
        if self.opened.len() < MAX_KEPT {
            self.opened.insert(selector);
        }
        if !executor.is_zero() {
            self.ran_foreign_code(at);
        }
        match self.routes.iter_mut().find(|(s, _)| *s == selector) {
            Some((_, known)) => *known = validator,
            None => self.routes.push((selector, validator)),
        }
    }

    /// Whether the last that is known of this function is that it goes to this validator.
    pub fn is_routed(&self, selector: Selector, validator: Address) -> bool {
        self.routes.contains(&(selector, validator))
    }

    pub fn cannot_read(&mut self, at: Point, user_op_hash: Option<B256>) {
        self.unread_count += 1;
        if self.unread.len() < MAX_NAMED {
            self.unread.push(Unread { at, user_op_hash });
        }
    }

    pub fn changed(&mut self, what: Changed, at: Point) {
        match what {
            Changed::Upgraded(to) => {
                self.kernel = KernelVersion::from_implementation(to);
                if self.kernel.is_none() {
                    self.ran_foreign_code(at);
                }
            }
            Changed::Owner(owner) => self.owned_by(owner),
            _ => {}
        }
        if self.changes.len() < MAX_KEPT {
            self.changes.push(Change { at, what });
        }
    }

    pub fn owned_by(&mut self, owner: Address) {
        if !self.owners.contains(&owner) && self.owners.len() < MAX_KEPT {
            self.owners.push(owner);
        }
    }

    /// Every address that was ever a session key here.
    pub fn session_keys(&self) -> BTreeSet<Address> {
        let enabled = self.enabled.iter().filter(|e| !e.is_burn()).map(|e| e.enable.session_key);
        enabled.chain(self.strays.iter().map(|s| s.session_key)).collect()
    }

    /// The operation that ran, among those that have its hash.
    fn pick<'a>(&self, mined: &'a Mined, direct: bool) -> Option<(&'a UserOperation, Authority)> {
        mined.candidates.iter().find_map(|op| {
            let authority = authority(&op.signature)?;
            let signed = match &authority {
                Authority::Use(used) | Authority::Enable(_, used) => used.is_signed(mined.user_op_hash),
                Authority::Owner(signature) => {
                    let signers = owner_candidates(signature, mined.user_op_hash);
                    direct || signers.into_iter().flatten().any(|signer| self.owners.contains(&signer))
                }
            };
            signed.then_some((op, authority))
        })
    }

    fn validated(&mut self, op: &UserOperation, authority: &Authority, at: Point) {
        if let Some((seed, implementation)) = AccountSeed::from_init_code(&op.init_code) {
            self.owned_by(seed.owner);
            self.kernel = KernelVersion::from_implementation(implementation);
            if self.kernel.is_none() {
                self.ran_foreign_code(at);
            }
        }
        let selector = op.call_data.get(..4).map(Selector::from_slice);
        match authority {
            Authority::Owner(_) => {}
            Authority::Use(used) => self.used(used, selector, &op.call_data, at),
            Authority::Enable(carried, used) => {
                self.routed_by(op, at);
                self.enable(Enabled {
                    generation: carried.generation,
                    enable: carried.enable,
                    selector,
                    by: EnabledBy::Holder,
                    approval: Some(carried.clone()),
                    at: Some(at),
                    held: true,
                    uses: Uses::default(),
                    shown: Vec::new(),
                });
                self.used(used, selector, &op.call_data, at);
            }
        }
    }

    fn acted(&mut self, call_data: &[u8], at: Point) {
        let has_batch = self.kernel.is_none_or(KernelVersion::has_batch);
        for act in acts(self.account, call_data, has_batch) {
            match act {
                Act::Route { selector, validator, executor } => self.routed(selector, validator, executor, at),
                Act::ForeignCode => self.ran_foreign_code(at),
                Act::Enable { generation, enable, selector } => self.enable(Enabled {
                    generation,
                    enable,
                    selector,
                    by: EnabledBy::Account,
                    approval: None,
                    at: Some(at),
                    held: true,
                    uses: Uses::default(),
                    shown: Vec::new(),
                }),
                Act::Disable { generation, session_key } => self.let_go(generation, session_key),
                Act::Invalidate { generation, through } => {
                    self.invalidate(generation, through);
                    self.counters.entry(generation).or_default().numbered |= generation.sweep_can_rewind();
                }
                Act::InvalidateAll { generation } => {
                    let through = self.counters.get(&generation).copied().unwrap_or_default().last;
                    self.invalidate(generation, through);
                }
                Act::DisableMode { mode } => self.changed(Changed::Modes(mode), at),
            }
        }
    }

    fn enable(&mut self, enabled: Enabled) {
        let (generation, nonce) = (enabled.generation, enabled.enable.nonce);
        let counter = self.counters.entry(generation).or_default();
        let next = counter.last.saturating_add(1);
        if nonce > next && self.gaps.len() < MAX_KEPT {
            self.gaps.push(Gap { generation, first: next, last: nonce - 1 });
        }
        counter.set_back |= nonce < next;
        counter.last = nonce;
        counter.highest = counter.highest.max(nonce);
        self.let_go(generation, enabled.enable.session_key);
        if self.enabled.len() < MAX_KEPT {
            self.enabled.push(enabled);
        }
    }

    fn let_go(&mut self, generation: Generation, session_key: Address) {
        let same = |e: &&mut Enabled| e.generation == generation && e.enable.session_key == session_key;
        for ended in self.enabled.iter_mut().filter(same) {
            ended.held = false;
        }
    }

    fn invalidate(&mut self, generation: Generation, through: u128) {
        let counter = self.counters.entry(generation).or_default();
        counter.invalid = counter.invalid.max(through);
        counter.last = if generation.sweep_can_rewind() { through } else { counter.last.max(through) };
        counter.highest = counter.highest.max(through);
    }

    /// Notes that a key signed, with what it showed, for the enabling it signed under.
    fn used(&mut self, used: &SessionUse, selector: Option<Selector>, call_data: &Bytes, at: Point) {
        let routed = self.routes.iter().find(|(s, _)| Some(*s) == selector).map(|(_, validator)| *validator);
        let generation = routed.and_then(Generation::from_address);
        let under = |e: &&mut Enabled| {
            e.held && e.enable.session_key == used.session_key && generation.is_none_or(|g| g == e.generation)
        };
        if let Some(enabled) = self.enabled.iter_mut().rev().find(under) {
            enabled.uses.add(at);
            let root = enabled.enable.merkle_root;
            for shown in shown(call_data, &used.proof, enabled.generation) {
                note_shown(&mut enabled.shown, shown, root, enabled.generation);
            }
            return;
        }
        let stray = match self.strays.iter_mut().position(|s| s.session_key == used.session_key) {
            Some(known) => self.strays.get_mut(known),
            None if self.strays.len() < MAX_KEPT => {
                self.strays.push(Stray { session_key: used.session_key, uses: Uses::default(), shown: Vec::new() });
                self.strays.last_mut()
            }
            None => None,
        };
        let Some(stray) = stray else { return };
        stray.uses.add(at);
        // Two layouts there are; which one it was, the root will tell.
        for generation in generation.map_or_else(|| vec![Generation::G1, Generation::G2], |g| vec![g]) {
            for shown in shown(call_data, &used.proof, generation) {
                if stray.shown.len() < MAX_SHOWN && !stray.shown.iter().any(|(g, s)| *g == generation && *s == shown) {
                    stray.shown.push((generation, shown));
                }
            }
        }
    }

    /// Lays the history beside what the chain holds, which decides. Keys that the chain holds and nothing enabled are added.
    pub fn settle(&mut self, chain: &OnChain) -> Open {
        let mut open = Open::default();
        for (position, enabled) in self.enabled.iter_mut().enumerate() {
            let on_chain = chain.sessions.get(&(enabled.generation, enabled.enable.session_key));
            let held = on_chain == Some(&enabled.enable);
            if enabled.held && !held && !enabled.is_burn() {
                open.gone.push(position);
            }
            enabled.held = held;
        }
        for ((generation, _), enable) in &chain.sessions {
            if !self.knows(*generation, enable) {
                let unseen = self.unseen(*generation, *enable);
                self.enabled.push(unseen);
            }
        }
        let known: BTreeSet<(Generation, u128)> = self.enabled.iter().map(|e| (e.generation, e.enable.nonce)).collect();
        let mut gaps = self.gaps.clone();
        for (generation, (last, invalid)) in &chain.nonces {
            let counter = self.counters.get(generation).copied().unwrap_or_default();
            if counter.last < *last {
                gaps.push(Gap { generation: *generation, first: counter.last.saturating_add(1), last: *last });
            }
            if counter.set_back || counter.last > *last {
                open.set_back.push(*generation);
            }
            if counter.numbered {
                open.numbered.push(*generation);
            }
            if counter.invalid != *invalid {
                open.invalidated.push(*generation);
            }
        }
        open.gaps = gaps.into_iter().flat_map(|gap| without(gap, &known)).collect();
        open
    }

    fn knows(&self, generation: Generation, enable: &EnableData) -> bool {
        self.enabled.iter().any(|e| e.generation == generation && e.enable == *enable)
    }

    fn unseen(&mut self, generation: Generation, enable: EnableData) -> Enabled {
        let mut enabled = Enabled {
            generation,
            enable,
            selector: None,
            by: EnabledBy::Unseen,
            approval: None,
            at: None,
            held: true,
            uses: Uses::default(),
            shown: Vec::new(),
        };
        if let Some(place) = self.strays.iter().position(|s| s.session_key == enable.session_key) {
            let stray = self.strays.swap_remove(place);
            enabled.uses = stray.uses;
            for (layout, shown) in stray.shown {
                if layout.knows_operation() == generation.knows_operation() {
                    note_shown(&mut enabled.shown, shown, enable.merkle_root, generation);
                }
            }
        }
        enabled
    }

    /// Adds what a transaction did that left no trace and was looked for afterwards, on account of a gap. `invalid`: the
    /// validator's `invalidNonce` after it. The counters stay as they were followed: the turns are explained all the same.
    pub fn add_silent(&mut self, acts: &[Act], generation: Generation, invalid: u128, at: Point) {
        for act in acts {
            match act {
                Act::Enable { generation, enable, .. } if self.knows(*generation, enable) => {}
                Act::Enable { generation, enable, selector } => {
                    let unseen = self.unseen(*generation, *enable);
                    let (by, at, selector) = (EnabledBy::Account, Some(at), *selector);
                    self.enabled.push(Enabled { by, at, selector, held: false, ..unseen });
                }
                Act::Invalidate { generation: of, through } => {
                    let counter = self.counters.entry(*of).or_default();
                    counter.invalid = counter.invalid.max(*through);
                    counter.numbered |= of.sweep_can_rewind();
                }
                Act::InvalidateAll { generation: of } if *of == generation => {
                    let counter = self.counters.entry(generation).or_default();
                    counter.invalid = counter.invalid.max(invalid);
                }
                _ => {}
            }
        }
    }

    /// Fills in block times that were not known.
    pub fn set_times(&mut self, times: &BTreeMap<u64, u64>) {
        let set = |point: &mut Option<Point>| {
            if let Some(point) = point {
                point.time = point.time.or_else(|| times.get(&point.block).copied());
            }
        };
        for enabled in &mut self.enabled {
            set(&mut enabled.at);
            set(&mut enabled.uses.first);
            set(&mut enabled.uses.last);
        }
        for stray in &mut self.strays {
            set(&mut stray.uses.first);
            set(&mut stray.uses.last);
        }
    }

    /// The blocks whose time is wanted.
    pub fn blocks_without_time(&self) -> BTreeSet<u64> {
        let enabled = self.enabled.iter().filter(|e| !e.is_burn()).flat_map(|e| [e.at, e.uses.first, e.uses.last]);
        let strays = self.strays.iter().flat_map(|s| [s.uses.first, s.uses.last]);
        enabled.chain(strays).flatten().filter(|p| p.time.is_none()).map(|p| p.block).collect()
    }
}

/// Keeps a permission once, if it belongs to the root.
fn note_shown(all: &mut Vec<Shown>, shown: Shown, root: B256, generation: Generation) {
    if all.len() < MAX_SHOWN
        && !all.iter().any(|known| known.permission == shown.permission)
        && verify(root, shown.permission.leaf(generation), &shown.proof)
    {
        all.push(shown);
    }
}

/// What is left of a gap when the turns that are known are taken out.
fn without(gap: Gap, known: &BTreeSet<(Generation, u128)>) -> Vec<Gap> {
    let mut left = Vec::new();
    let mut first = gap.first;
    for (_, nonce) in known.range((gap.generation, gap.first)..=(gap.generation, gap.last)) {
        if *nonce > first {
            left.push(Gap { first, last: nonce - 1, ..gap });
        }
        first = nonce.saturating_add(1);
    }
    if first <= gap.last {
        left.push(Gap { first, ..gap });
    }
    left
}

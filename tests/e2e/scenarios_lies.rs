//! A node that lies in one kind of answer - the first time it is asked, the second, or always - before every command that spends
//! or claims. What the binary then says is compared with the truth, read from the chain past the liar.
//!
//! * told once: it is caught (the command does not say that it is done), or harmless (nothing that it says is false);
//! * told always: it is caught where another answer of the same node contradicts it, else the sentence names the node. That
//!   holds as well for a lie told once to a command that asks only once: it heard nothing else;
//! * nothing is signed that costs more than the cap;
//! * the brake is never refused: where a key can act, something that stops it is sent.
//!
//! `known_failing.txt` lists the pairs that do not hold yet, each with what it is about. A pair that fails and is not listed fails the test; a listed one that holds is named, to be taken off the list.
//! CI runs a fixed part; `tests/run --long` (KEYLEASH_LONG=1) runs all, and writes the table to target/tmp/lies.md.

mod forgeries;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use alloy::{
    consensus::{Transaction, TxEnvelope},
    eips::Decodable2718,
    primitives::{Address, B256, Bytes, U256, keccak256},
    sol,
    sol_types::{SolCall, SolValue},
};
use keyleash::{
    erc4337::v06::UserOperation,
    protocol::{
        AccountCall, Call,
        kernel_v2::{
            blob::{self, Search},
            generation::{Generation, KernelVersion},
            signature::Mode,
        },
    },
};
use serde_json::{Value, json};

use self::forgeries::{Ask, Known, LIES, Lie};
use super::scenarios_revoke::{OWNERS_SEND, self_bundled};
use crate::support::{
    World,
    account::{Grant, TestAccount, session_key},
    chain::{CHAIN_ID, ETHER, countCall, noncesCall, parse},
    here,
    keyleash::{ACCOUNT, Keyleash, text},
    liar::{Answer, Liar},
    policy::{may_call, policy},
    world,
};

sol! {
    function setDefaultValidator(address validator, bytes data);
    function disableMode(bytes4 mode);
    function getDisabledMode() returns (bytes4);
}

/// Most that anything may cost on a chain that src/wallet/coin.rs does not list (Part 6, 5).
const CAP: u128 = ETHER / 20;
/// Far above what is right here (a base fee of 1 gwei at most, tips of 1 gwei), far below what the lies offer.
const CAP_PER_GAS: u128 = 30_000_000_000;
/// No command may take longer, whatever it is told.
const PATIENCE: Duration = Duration::from_secs(150);

/// A validator that takes every operation, and every caller.
const OBEDIENT: &str = "0x60003560e01c639ea9bd591460005260206000f3";

/// How often a lie is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    First,
    Second,
    Always,
}

impl Told {
    const fn word(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Second => "second",
            Self::Always => "always",
        }
    }
}

/// What the account is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Scene {
    /// One key enabled, one approval never used.
    Open,
    /// The same, paused.
    Paused,
    /// The same, and a default validator that obeys anybody.
    Rogue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Says what is so.
    View,
    Grant,
    /// Makes calls, as a key or as the owner; each calls `tick()` once.
    Send,
    Enable,
    Brake,
    Pause,
    Unpause,
}

struct Command {
    name: &'static str,
    scene: Scene,
    kind: Kind,
    /// Words for the binary; `{…}` is filled in.
    words: &'static [&'static str],
    /// Keys that must be powerless when it says that it is done.
    ends: &'static [Which],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Active,
    Pending,
}

const TICK: [&str; 4] = ["--to", "{board}", "--call", "tick()"];

const fn command(
    name: &'static str,
    scene: Scene,
    kind: Kind,
    words: &'static [&'static str],
    ends: &'static [Which],
) -> Command {
    Command { name, scene, kind, words, ends }
}

const BOTH: &[Which] = &[Which::Active, Which::Pending];

/// Views first, and what changes the account last: an account serves until it is changed.
const COMMANDS: &[Command] = &[
    command("key ls", Scene::Open, Kind::View, &["key", "ls", ACCOUNT], &[]),
    command("key show ACTIVE", Scene::Open, Kind::View, &["key", "show", "active"], &[]),
    command("key show PENDING", Scene::Open, Kind::View, &["key", "show", "pending"], &[]),
    command("account show", Scene::Open, Kind::View, &["account", "show", ACCOUNT], &[]),
    command("key scan", Scene::Open, Kind::View, &["key", "scan", ACCOUNT], &[]),
    command("inspect", Scene::Open, Kind::View, &["inspect", "{approval}", "--rpc", "{node}"], &[]),
    command("status", Scene::Open, Kind::View, &["status", "{sent}"], &[]),
    command("grant", Scene::Open, Kind::Grant, &GRANT, &[]),
    command("send", Scene::Open, Kind::Send, &["send", "active", TICK[0], TICK[1], TICK[2], TICK[3]], &[]),
    command(
        "send --as-owner",
        Scene::Open,
        Kind::Send,
        &["send", "--as-owner", ACCOUNT, TICK[0], TICK[1], TICK[2], TICK[3]],
        &[],
    ),
    command("revoke --panic", Scene::Open, Kind::Pause, &["revoke", ACCOUNT, "--panic"], BOTH),
    command(
        "revoke --panic by owner",
        Scene::Open,
        Kind::Pause,
        &["revoke", ACCOUNT, "--panic", "--via", "owner"],
        BOTH,
    ),
    command("key enable", Scene::Open, Kind::Enable, &["key", "enable", "pending"], &[]),
    command("key enable by owner", Scene::Open, Kind::Enable, &["key", "enable", "pending", "--via", "owner"], &[]),
    command("revoke ACTIVE", Scene::Open, Kind::Brake, &["revoke", ACCOUNT, "active"], &[Which::Active]),
    command("revoke PENDING", Scene::Open, Kind::Brake, &["revoke", ACCOUNT, "pending"], &[Which::Pending]),
    command("revoke --all", Scene::Open, Kind::Brake, &["revoke", ACCOUNT, "--all"], BOTH),
    command("revoke --all by owner", Scene::Open, Kind::Brake, &["revoke", ACCOUNT, "--all", "--via", "owner"], BOTH),
    command("paused: key ls", Scene::Paused, Kind::View, &["key", "ls", ACCOUNT], &[]),
    command("paused: account show", Scene::Paused, Kind::View, &["account", "show", ACCOUNT], &[]),
    command("revoke --lift-panic", Scene::Paused, Kind::Unpause, &["revoke", ACCOUNT, "--lift-panic"], BOTH),
    command("rogue: account show", Scene::Rogue, Kind::View, &["account", "show", ACCOUNT], &[]),
    command("rogue: grant", Scene::Rogue, Kind::Grant, &GRANT, &[]),
    command("rogue: revoke --all", Scene::Rogue, Kind::Brake, &["revoke", ACCOUNT, "--all"], BOTH),
];

const GRANT: [&str; 8] = ["grant", ACCOUNT, "--policy", "{policy}", "--agent", "{agent}", "--out", "{out}"];

/// What the liar has been told to do, and what it did.
#[derive(Default)]
struct Orders {
    lie: Option<(&'static Lie, Told)>,
    memory: Option<Value>,
    /// Answers that the lie is about.
    asked: u32,
    /// Answers that were forged.
    forged: u32,
    /// Questions that were answered with a lie, and those that were answered truly: method, and what it was asked about.
    lied_about: BTreeSet<String>,
    told_truly: BTreeSet<String>,
    /// UserOperations and transactions that were handed in.
    sent: Vec<Spent>,
}

/// The most that something that was handed in may cost, in wei.
#[derive(Debug, Clone)]
struct Spent {
    cost: U256,
    per_gas: u128,
}

/// An account with its keys, and an owner's profile that reaches the chain through a liar.
struct Fixture {
    scene: Scene,
    account: TestAccount,
    owner: Keyleash,
    node: Liar,
    bundler: Liar,
    orders: Arc<Mutex<Orders>>,
    /// The approval file of the pending key.
    approval: String,
    sent: String,
    keys: [Grant; 2],
    /// What the validator holds of the account, slot by slot: put back after each command that changed it.
    held: Vec<(B256, Value)>,
    /// What views say while nobody lies, until the account changes.
    truths: BTreeMap<&'static str, (i32, Value)>,
}

/// What became of a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// The command did not say that it is done, and said nothing false.
    Caught,
    Harmless,
    /// It said something false, nothing that it heard contradicts it, and it names the node.
    Named,
    /// What is wrong, in words.
    Fails(String),
    /// The lie was never told: the command does not ask.
    NotAsked,
}

struct Run {
    exit: i32,
    envelope: Value,
    stderr: String,
    forged: u32,
    /// No question that was answered with a lie was answered truly as well.
    unopposed: bool,
    sent: Vec<Spent>,
}

impl Fixture {
    fn new(world: &World, scene: Scene) -> Self {
        let early_block = world.chain.rpc("eth_getBlockByNumber", json!(["latest", false]));
        let account = TestAccount::deployed(world, KernelVersion::V0_2_4);
        let known: Arc<Mutex<Option<Known>>> = Arc::default();
        let orders: Arc<Mutex<Orders>> = Arc::default();
        let through = |url: &str| {
            let (known, orders) = (Arc::clone(&known), Arc::clone(&orders));
            Liar::start(url, move |method, params, truth| answer(&known, &orders, method, params, truth))
        };
        let (node, bundler) = (through(&world.chain.url), through(&world.bundler.url));
        let owner = Keyleash::bare();
        owner.ok(&["init", "--vault", "file"]);
        let chain_id = CHAIN_ID.to_string();
        owner.ok(&["network", "add", "local", "--chain-id", &chain_id, "--rpc", &node.url, "--bundler", &bundler.url]);
        owner.adopt(world, &account);

        let board = world.chain.targets.board;
        let active = owner.grant(&policy("active", &may_call(board, "tick()")));
        let active = owner.holder(&account, text(&active, "key_id"));
        let tick = owner.ok(&["send", "active", "--to", &board.to_string(), "--call", "tick()"]);
        let agent = session_key();
        let may_tick = policy("pending", &may_call(board, "tick()"));
        let (_, approval) = owner.grant_agent(&may_tick, &agent.address().to_string());
        let blob = blob::read(&fs::read_to_string(&approval).expect("the approval")).expect("our own approval");
        let search = Search {
            owner: Some(account.owner().address()),
            session_key: Some(agent.address()),
            ..Search::on_chains(vec![CHAIN_ID])
        };
        let recovered = blob.recover(&search).expect("our own approval").approval;
        let pending = Grant { approval: recovered, permissions: blob.scope.permissions, key: agent };
        *known.lock().expect("what is known") =
            Some(Known { account: account.address, pending: pending.approval.request.enable, early_block });
        let mut this = Self {
            scene,
            account,
            node,
            bundler,
            orders,
            approval,
            sent: text(&tick, "user_op_hash").to_owned(),
            keys: [active, pending],
            held: Vec::new(),
            truths: BTreeMap::new(),
            owner,
        };
        this.held = this.slots(world);
        match scene {
            Scene::Open => {}
            Scene::Paused => this.as_owner(world, disableModeCall { mode: [0xff; 4].into() }.abi_encode()),
            Scene::Rogue => {
                let obedient = Address::from_word(keccak256("obedient"));
                world.chain.rpc("anvil_setCode", json!([obedient, OBEDIENT]));
                let call = setDefaultValidatorCall { validator: obedient, data: Bytes::new() };
                this.as_owner(world, call.abi_encode());
            }
        }
        this
    }

    /// A call of the account to itself, sent by the owner's address past the liar.
    fn as_owner(&self, world: &World, data: Vec<u8>) {
        let call = AccountCall::Execute(Call { to: self.account.address, value: U256::ZERO, data: data.into() });
        world.chain.send_as(self.account.owner().address(), self.account.address, U256::ZERO, call.encode());
    }

    /// The validator's storage about the account: its nonces, and four words for each key. Where the mappings are is found by
    /// what must be there.
    fn slots(&self, world: &World) -> Vec<(B256, Value)> {
        let validator = Generation::G2.address();
        let read = |slot: B256| world.chain.rpc("eth_getStorageAt", json!([validator, slot, "latest"]));
        let at = |address: Address, base: B256| keccak256((address, base).abi_encode());
        let account = self.account.address;
        let root = self.keys[0].approval.request.enable.merkle_root;
        let places = || (0u64..16).map(|n| B256::from(U256::from(n)));
        let nonces = places().map(|n| at(account, n)).find(|slot| parse::<U256>(read(*slot)) == U256::ONE);
        let key = |key: &Grant, place| at(account, at(key.key.address(), place));
        let sessions = places().find(|place| read(key(&self.keys[0], *place)) == json!(root));
        let (nonces, sessions) = (nonces.expect("the nonces"), sessions.expect("the session data"));
        let words = self.keys.iter().flat_map(|k| {
            let first: U256 = key(k, sessions).into();
            (0u64..4).map(move |n| B256::from(first + U256::from(n)))
        });
        std::iter::once(nonces).chain(words).map(|slot| (slot, read(slot))).collect()
    }

    /// Makes the account what it was. The profile is a copy each time.
    fn restore(&mut self, world: &World) {
        for (slot, value) in &self.held {
            world.chain.rpc("anvil_setStorageAt", json!([Generation::G2.address(), slot, value]));
        }
        let mode = if self.scene == Scene::Paused { [0xff; 4] } else { [0; 4] };
        if world.chain.view(self.account.address, &getDisabledModeCall {}) != mode {
            self.as_owner(world, disableModeCall { mode: mode.into() }.abi_encode());
        }
        world.chain.fund(self.account.address, 10 * ETHER);
        // What was paid under one lie about prices must not be in the true fee history of the next.
        world.chain.rpc("anvil_mine", json!(["0xc"]));
        self.truths.clear();
    }

    /// Runs a command on a copy of the profile, with the liar under these orders.
    fn run(&self, world: &World, command: &Command, lie: Option<(&'static Lie, Told)>) -> Run {
        let copy = Keyleash::bare();
        copy_folder(&self.owner.path("home"), &copy.path("home"));
        let may_tick = policy("new", &may_call(world.chain.targets.board, "tick()"));
        let filled = [
            ("{board}", world.chain.targets.board.to_string()),
            ("{approval}", self.approval.clone()),
            ("{node}", self.node.url.clone()),
            ("{sent}", self.sent.clone()),
            ("{policy}", copy.file("policy.toml", &may_tick)),
            ("{agent}", new_agent().to_string()),
            ("{out}", copy.new_path("approval")),
        ];
        let word = |word: &&str| {
            filled.iter().find(|(name, _)| name == word).map_or_else(|| (*word).to_owned(), |(_, v)| v.clone())
        };
        let words: Vec<String> = command.words.iter().map(word).collect();
        *self.orders.lock().expect("orders") = Orders { lie, ..Orders::default() };
        let mut child = copy.command(&words).spawn().expect("keyleash starts");
        let end = Instant::now() + PATIENCE;
        while child.try_wait().expect("a child of ours").is_none() && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
        let hung = child.try_wait().expect("a child of ours").is_none();
        if hung {
            child.kill().expect("killed");
        }
        let output = child.wait_with_output().expect("its output");
        let orders = std::mem::take(&mut *self.orders.lock().expect("orders"));
        Run {
            exit: if hung { -2 } else { output.status.code().unwrap_or(-1) },
            envelope: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            forged: orders.forged,
            unopposed: orders.lied_about.is_disjoint(&orders.told_truly),
            sent: orders.sent,
        }
    }

    fn key(&self, which: Which) -> &Grant {
        &self.keys[usize::from(which == Which::Pending)]
    }

    /// Whether a holder could act for the account now, past every bundler.
    fn can_act(&self, world: &World, which: Which) -> bool {
        [Mode::Enable, Mode::Use]
            .into_iter()
            .any(|mode| self_bundled(world, &self.account, self.key(which), mode).is_none())
    }

    fn ticks(&self, world: &World) -> U256 {
        world.chain.view(world.chain.targets.board, &countCall { account: self.account.address })
    }

    /// One command under one lie: what is wrong with it, or how it held.
    fn try_pair(&mut self, world: &World, command: &Command, lie: &'static Lie, told: Told) -> (Verdict, bool) {
        let ticks = self.ticks(world);
        if command.kind == Kind::View && !self.truths.contains_key(command.name) {
            let truth = self.run(world, command, None);
            self.truths.insert(command.name, (truth.exit, truth.envelope));
        }
        let run = self.run(world, command, Some((lie, told)));
        let changed = !run.sent.is_empty();
        if run.forged == 0 {
            return (Verdict::NotAsked, changed);
        }
        (self.judged(world, command, lie, told, &run, ticks), changed)
    }

    fn judged(&self, world: &World, command: &Command, lie: &Lie, told: Told, run: &Run, ticks: U256) -> Verdict {
        if run.exit == -2 {
            return Verdict::Fails(format!("HANGS for {} s", PATIENCE.as_secs()));
        }
        if !run.envelope.is_object() {
            let last = run.stderr.lines().last().unwrap_or_default();
            return Verdict::Fails(format!("NO JSON, exit {}: {last}", run.exit));
        }
        if let Some(dear) = run.sent.iter().find(|s| s.cost > U256::from(CAP) || s.per_gas > CAP_PER_GAS) {
            return Verdict::Fails(format!("ABOVE THE CAP: {} wei, {} wei a gas unit", dear.cost, dear.per_gas));
        }
        let can_act: Vec<Which> = command.ends.iter().copied().filter(|k| self.can_act(world, *k)).collect();
        let is_brake = matches!(command.kind, Kind::Brake | Kind::Pause);
        // The cap is the user's own limit, and says which --max-cost would pass.
        let by_limit = run.exit == 8 && said(run).contains("--max-cost");
        if is_brake && run.exit != 0 && !by_limit && run.sent.is_empty() && !can_act.is_empty() {
            return Verdict::Fails(format!("BRAKE REFUSED: {}", said(run)));
        }
        let mut falsehoods = self.falsehoods(world, command, run, &can_act);
        let sent = u64::from(self.ticks(world) != ticks);
        if matches!(command.kind, Kind::Send) {
            falsehoods.extend(false_about_sending(world, run, sent));
        }
        if falsehoods.is_empty() {
            return if run.exit == 0 { Verdict::Harmless } else { Verdict::Caught };
        }
        let heard_only_the_lie = told == Told::Always || run.unopposed;
        let node = |url: &str| url.trim_start_matches("http://").to_owned();
        let everything = format!("{} {}", run.envelope, run.stderr);
        let named = [&self.node.url, &self.bundler.url].iter().any(|url| everything.contains(&node(url)));
        if heard_only_the_lie && !lie.contradicted && named {
            return Verdict::Named;
        }
        // A view asks each thing once: what contradicts a lie there are other questions, which cost requests.
        if heard_only_the_lie && command.kind == Kind::View && named {
            return Verdict::Named;
        }
        Verdict::Fails(format!("FALSE: {}", falsehoods.join("; ")))
    }

    /// What the answer says that is not so.
    fn falsehoods(&self, world: &World, command: &Command, run: &Run, can_act: &[Which]) -> Vec<String> {
        let data = &run.envelope["data"];
        let mut found = Vec::new();
        match command.kind {
            Kind::View => {
                let (exit, truth) = &self.truths[command.name];
                if self.scene == Scene::Rogue && run.exit == 0 {
                    let rogue = data["findings"].to_string().contains("default validator");
                    if !rogue {
                        found.push("a foreign default validator is not told".into());
                    }
                }
                // A scan that says of itself that it is not complete makes no claim.
                let open = data["complete"] == false && truth["data"]["complete"] == true;
                if !open && (run.exit == 0 || *exit == run.exit) {
                    differences("data", &truth["data"], data, &mut found);
                }
            }
            Kind::Grant if run.exit == 0 => {
                if self.scene == Scene::Rogue {
                    found.push("granted, and a foreign default validator decides over the account".into());
                }
                let expected = (json!("3"), json!("queued"), json!(Generation::G2.address().to_string()));
                let got = (data["nonce"].clone(), data["state"].clone(), data["validator"].clone());
                if got != expected {
                    found.push(format!("granted {got:?}, and right is {expected:?}"));
                }
            }
            Kind::Brake | Kind::Unpause | Kind::Pause => {
                if !can_act.is_empty() && (run.exit == 0 || run.exit == 7) {
                    found.push(format!("done, and {can_act:?} can act"));
                }
                if run.exit == 0 && self.scene == Scene::Rogue {
                    found.push("done, and a foreign default validator decides over the account".into());
                }
                let nothing = matches!(text_of(run, "code").as_str(), "revoke.nothing" | "revoke.not_paused");
                if nothing && (!can_act.is_empty() || command.kind == Kind::Unpause) {
                    found.push(format!("nothing to do: {}", said(run)));
                }
                found.extend(self.false_proofs(world, data));
            }
            Kind::Enable if run.exit == 0 && self.last_nonce(world) != 2 => found.push("enabled, and it is not".into()),
            Kind::Grant | Kind::Send | Kind::Enable => {}
        }
        let nothing_sent = said(run).contains("nothing was sent") || said(run).contains("Nothing was sent");
        if nothing_sent && !run.sent.is_empty() {
            found.push("nothing was sent, and something was".into());
        }
        found
    }

    fn last_nonce(&self, world: &World) -> u128 {
        self.account.last_nonce(world, Generation::G2)
    }

    /// Proofs that name another state than there is, or a block that is not there.
    fn false_proofs(&self, world: &World, data: &Value) -> Vec<String> {
        let mut found = Vec::new();
        let nonces = world.chain.view(Generation::G2.address(), &noncesCall { account: self.account.address });
        let newest: U256 = parse(world.chain.rpc("eth_blockNumber", json!([])));
        for proof in data["proofs"].as_array().into_iter().flatten() {
            let key = proof["key_id"].as_str().unwrap_or_default();
            for (field, truth) in [("last_nonce", nonces.lastNonce), ("invalid_nonce", nonces.invalidNonce)] {
                if proof[field] != json!(truth.to_string()) {
                    found.push(format!("proof of {key}: {field} {} is {truth}", proof[field]));
                }
            }
            found.extend(false_place(world, proof, newest).map(|what| format!("proof of {key}: {what}")));
        }
        if data["paused"].is_object() {
            let mode = world.chain.view(self.account.address, &getDisabledModeCall {});
            if mode != [0xff; 4] {
                found.push(format!("paused, and the account's mode is {mode}"));
            }
            found.extend(false_place(world, &data["paused"], newest).map(|what| format!("pause: {what}")));
        }
        found
    }
}

/// A block that is not there, or a transaction that is not in the chain.
fn false_place(world: &World, claim: &Value, newest: U256) -> Option<String> {
    if claim["block"].as_u64().is_some_and(|block| U256::from(block) > newest) {
        return Some(format!("block {} is not there", claim["block"]));
    }
    let hash = claim["transaction_hash"].as_str()?;
    let receipt = world.chain.rpc("eth_getTransactionReceipt", json!([hash]));
    receipt.is_null().then(|| format!("transaction {hash} is not there"))
}

/// What is claimed of an operation, beside what the chain has of it.
fn false_about_sending(world: &World, run: &Run, ticked: u64) -> Vec<String> {
    let data = &run.envelope["data"];
    let mut found = Vec::new();
    match (data["success"].as_bool(), ticked) {
        (Some(true), 0) => found.push("success, and nothing was called".into()),
        (Some(false), 1..) => found.push("no success, and it was called".into()),
        _ => {}
    }
    if run.exit == 0 && ticked == 0 {
        found.push("done, and nothing was called".into());
    }
    if run.exit == 0 {
        let Some(receipt) =
            data["transaction_hash"].as_str().map(|h| world.chain.rpc("eth_getTransactionReceipt", json!([h])))
        else {
            return found;
        };
        if receipt.is_null() {
            found.push(format!("transaction {} is not there", data["transaction_hash"]));
        } else {
            let block: U256 = parse(receipt["blockNumber"].clone());
            if data["block"].as_u64().map(U256::from) != Some(block) {
                found.push(format!("block {} is {block}", data["block"]));
            }
            let cost = cost_of(&receipt, data["user_op_hash"].as_str().unwrap_or_default());
            if cost.is_some_and(|cost| data["gas_cost"] != json!(cost.to_string())) {
                found.push(format!("gas cost {} is {}", data["gas_cost"], cost.unwrap_or_default()));
            }
        }
    }
    found
}

/// `actualGasCost` of the operation's own event: the third word of its data.
fn cost_of(receipt: &Value, user_op_hash: &str) -> Option<U256> {
    let log = receipt["logs"].as_array()?.iter().find(|log| log["topics"][1] == user_op_hash)?;
    let data: Bytes = log["data"].as_str()?.parse().ok()?;
    Some(U256::from_be_slice(data.get(64..96)?))
}

fn said(run: &Run) -> String {
    format!("{} {}", text_of(run, "message"), text_of(run, "hint"))
}

fn text_of(run: &Run, field: &str) -> String {
    run.envelope["errors"][0][field].as_str().unwrap_or_default().to_owned()
}

/// Fields that an answer under a lie has other than the true answer. What it leaves open is no claim.
fn differences(path: &str, truth: &Value, told: &Value, found: &mut Vec<String>) {
    // When it was asked; and sentences about what another field says in one word.
    const PASSING: [&str; 5] = ["as_of", "through_block", "from_block", "unknown_because", "state_reason"];
    match (truth, told) {
        (_, Value::Null) => {}
        (_, Value::String(word)) if word == "unknown" || word == "damaged" => {}
        (Value::Object(a), Value::Object(b)) => {
            for (name, value) in b.iter().filter(|(name, _)| !PASSING.contains(&name.as_str())) {
                differences(&format!("{path}.{name}"), a.get(name).unwrap_or(&Value::Null), value, found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (n, (a, b)) in a.iter().zip(b).enumerate() {
                differences(&format!("{path}[{n}]"), a, b, found);
            }
        }
        (a, b) if a == b => {}
        (a, b) => {
            let short = |v: &Value| v.to_string().chars().take(60).collect::<String>();
            found.push(format!("{path} {} is {}", short(b), short(a)));
        }
    }
}

/// One answer of the liar: the truth, unless its orders say otherwise. What is handed in is noted.
fn answer(known: &Mutex<Option<Known>>, orders: &Mutex<Orders>, method: &str, params: &Value, truth: Answer) -> Answer {
    let known = known.lock().expect("what is known");
    let mut orders = orders.lock().expect("orders");
    orders.sent.extend(handed_in(method, params));
    let (Some(known), Some((lie, told))) = (known.as_ref(), orders.lie) else { return truth };
    let mut memory = orders.memory.take();
    let forged = (lie.forge)(&Ask { method, params, truth: &truth, known }, &mut memory);
    orders.memory = memory;
    let Some(forged) = forged else { return truth };
    orders.asked += 1;
    let tell = match told {
        Told::First => orders.asked == 1,
        Told::Second => orders.asked == 2,
        Told::Always => true,
    };
    // Whatever block it was asked at.
    let question =
        format!("{method} {} {}", params[0], if method == "eth_getStorageAt" { &params[1] } else { &Value::Null });
    if !tell || forged == truth {
        orders.told_truly.insert(question);
        return truth;
    }
    orders.forged += 1;
    orders.lied_about.insert(question);
    forged
}

fn handed_in(method: &str, params: &Value) -> Option<Spent> {
    match method {
        "eth_sendUserOperation" => {
            let op: UserOperation = serde_json::from_value(params[0].clone()).ok()?;
            Some(Spent { cost: op.max_cost(), per_gas: op.max_fee_per_gas.saturating_to() })
        }
        "eth_sendRawTransaction" => {
            let raw: Bytes = params[0].as_str()?.parse().ok()?;
            let transaction = TxEnvelope::decode_2718(&mut raw.as_ref()).ok()?;
            let per_gas = transaction.max_fee_per_gas();
            let cost = U256::from(transaction.gas_limit()) * U256::from(per_gas);
            Some(Spent { cost, per_gas })
        }
        _ => None,
    }
}

fn new_agent() -> Address {
    session_key().address()
}

/// A folder with all that is in it, modes included.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    fs::set_permissions(to, fs::metadata(from).expect("a folder").permissions()).expect("its mode");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a file");
        }
    }
}

/// A pair as the list and the table name it.
fn name(command: &Command, lie: &Lie, told: Told) -> String {
    format!("{} | {} | {}", command.name, lie.name, told.word())
}

/// Pairs that do not hold yet, and the rows they are about.
fn known_failing() -> BTreeMap<String, String> {
    let list = fs::read_to_string(here("scenarios_lies/known_failing.txt")).expect("the list");
    let lines = list.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (row, pair) = line.split_once(" | ").unwrap_or_else(|| panic!("no row in: {line}"));
            (pair.trim().to_owned(), row.trim().to_owned())
        })
        .collect()
}

fn is_long() -> bool {
    std::env::var_os("KEYLEASH_LONG").is_some_and(|value| value == "1")
}

/// KEYLEASH_LIES picks pairs: words that a pair contains, or with a `!` before them that it does not.
fn is_wanted(pair: &str, only: &str) -> bool {
    only.strip_prefix('!').map_or_else(|| pair.contains(only), |not| !pair.contains(not))
}

/// Whether a pair is in the part that CI runs: the same ones each time, spread over commands and lies.
fn in_ci(command: usize, lie: usize, told: Told) -> bool {
    let told_in_ci = if lie.is_multiple_of(2) { Told::Always } else { Told::First };
    told == told_in_ci && (command * 7 + lie).is_multiple_of(19)
}

#[test]
fn no_lie_of_a_node_becomes_a_claim_a_payment_or_a_refused_brake() {
    let Some(world) = world() else { return };
    let (long, only) = (is_long(), std::env::var("KEYLEASH_LIES").unwrap_or_default());
    let known = known_failing();
    let mut spare: BTreeMap<Scene, Fixture> = BTreeMap::new();
    let (mut rows, mut counts) = (Vec::new(), BTreeMap::<&str, u32>::new());
    let (mut new, mut mended) = (Vec::new(), Vec::new());
    for (c, command) in COMMANDS.iter().enumerate() {
        for (l, lie) in LIES.iter().enumerate() {
            let mut never_asked = false;
            for told in [Told::Always, Told::First, Told::Second] {
                let pair = name(command, lie, told);
                if (!long && !in_ci(c, l, told)) || !is_wanted(&pair, &only) || never_asked {
                    continue;
                }
                // Owners are shared between tests, and their transactions go one after the other.
                let _turn = OWNERS_SEND.lock();
                let mut fixture = spare.remove(&command.scene).unwrap_or_else(|| Fixture::new(world, command.scene));
                let started = Instant::now();
                let (verdict, changed) = fixture.try_pair(world, command, lie, told);
                let took = started.elapsed();
                if verdict == Verdict::NotAsked {
                    // Then it is not told once either.
                    never_asked = told == Told::Always;
                }
                if changed {
                    fixture.restore(world);
                }
                spare.insert(command.scene, fixture);
                let word = match &verdict {
                    Verdict::NotAsked => continue,
                    Verdict::Caught => "caught",
                    Verdict::Harmless => "harmless",
                    Verdict::Named => "names the node",
                    Verdict::Fails(_) => "FAILS",
                };
                *counts.entry(word).or_default() += 1;
                let what = if let Verdict::Fails(what) = &verdict { what.clone() } else { String::new() };
                rows.push(format!("| {pair} | {word} | {} |", what.replace('|', "/")));
                println!("{:>6} ms {pair}: {word} {what}", took.as_millis());
                match (&verdict, known.get(&pair)) {
                    (Verdict::Fails(what), None) => new.push(format!("{} | {pair}    # {what}", lie.row)),
                    (Verdict::Fails(_), Some(_)) | (_, None) => {}
                    (_, Some(row)) => mended.push(format!("{row} | {pair}")),
                }
            }
        }
    }
    let mut table = "| command | lie | told | verdict | what |\n|---|---|---|---|---|\n".to_owned();
    rows.iter().for_each(|row| writeln!(table, "{row}").expect("a row"));
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("lies.md");
    fs::write(&path, &table).expect("the table");
    fs::write(path.with_file_name("lies-new.txt"), new.join("\n")).expect("what is new");
    println!("{table}\n{} pairs, {counts:?}; the table is in {}", rows.len(), path.display());
    if !mended.is_empty() {
        println!("these hold now; take them off known_failing.txt:\n{}", mended.join("\n"));
    }
    assert!(new.is_empty(), "{} pairs fail:\n{}", new.len(), new.join("\n"));
}

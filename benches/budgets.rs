//! What keyleash takes, beside its budgets (design.md 6): `cargo bench --bench budgets`. Medians over repeats; never a test, for
//! a slow machine is no fault.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "a benchmark fails loudly, and prints"
)]

use std::{
    env, fs,
    hint::black_box,
    io::{Read, Write},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use alloy::primitives::{Address, B256, Bytes, FixedBytes, U256, keccak256};
use keyleash::{
    kernel::{
        account::{AccountSeed, Call, selector},
        approval::{Approval, ApprovalRequest, EnableData},
        blob,
        generation::{Generation, KernelVersion},
        permission::{Condition, ExecutionRule, Operation, Permission, Rule, Scope},
    },
    sandbox::{CHAIN_ID, rpc::Service},
    secret::Secret,
    wallet::{
        Wallet,
        home::Home,
        playground::DEMO,
        send::{Actor, SendIntent},
    },
};
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

/// The binary that is measured.
const KEYLEASH: &str = env!("CARGO_BIN_EXE_keyleash");
/// This program runs itself with this argument and a number of permissions, for what has to be cold.
const COLD: &str = "--cold-approval";

fn main() {
    let arguments: Vec<String> = env::args().collect();
    if let [_, flag, permissions] = arguments.as_slice()
        && flag == COLD
    {
        let text = approval(permissions.parse().expect("a number of permissions"));
        assert!(!black_box(text).is_empty());
        return;
    }
    println!("{:<62} {:>12} {:>10}", "", "measured", "budget");
    kernel();
    sandbox();
    binary();
    screen();
}

fn kernel() {
    let scope = scope(10_000);
    let tree = median(15, || {
        let enable = EnableData::new(Address::repeat_byte(7), black_box(&scope), 1, Generation::G2);
        black_box(enable.encode());
    });
    row("tree and enable data, 10,000 permissions", tree, Some(20));
    let myself = env::current_exe().expect("the path of this program");
    for (permissions, budget) in [("1", 15), ("1000", 30)] {
        let cold = median(15, || run(Command::new(&myself).args([COLD, permissions])));
        row(&format!("create, sign, serialize in a process of its own, {permissions}"), cold, Some(budget));
    }
}

fn sandbox() {
    let genesis = median(15, || {
        black_box(Service::new(1_800_000_000).expect("a fresh sandbox"));
    });
    row("a fresh sandbox chain", genesis, None);
    let plain = median(7, || in_new_home(&["init", "--vault", "file"]));
    let seeded = median(7, || in_new_home(&["init", "--sandbox"]));
    row("init", plain, None);
    row("init --sandbox, with example accounts and keys", seeded, None);
    row("  what the sandbox adds to a first run", seeded.saturating_sub(plain), Some(50));
    row("one UserOperation on the sandbox, from plan to receipt", one_operation(), Some(20));
}

fn binary() {
    row("--version", median(25, || run(Command::new(KEYLEASH).arg("--version"))), Some(10));
    row("demo", median(5, || run(Command::new(KEYLEASH).args(["demo", "--json"]))), Some(3000));
    let megabytes = fs::metadata(KEYLEASH).expect("the binary").len() as f64 / 1e6;
    line("the binary", &format!("{megabytes:.1} MB"), "15 MB", megabytes > 15.0);
}

/// The terminal front end, in a terminal of 80x24.
fn screen() {
    let empty = tempfile::tempdir().expect("a temporary folder");
    let first = median(15, || {
        let start = Screen::open(&empty.path().join("none"));
        start.close();
    });
    row("first frame in a terminal, and gone again", first, Some(30));

    let folder = tempfile::tempdir().expect("a temporary folder");
    let home = folder.path().join("home");
    run(Command::new(KEYLEASH).arg("--home").arg(&home).args(["--json", "init", "--sandbox"]));
    let mut open = Screen::open(&home);
    open.settle("treasury");
    let (before, written) = (open.processor_time(), open.written());
    thread::sleep(IDLE);
    let busy = (open.processor_time() - before).as_secs_f64() / IDLE.as_secs_f64() * 100.0;
    let written = open.written() - written;
    line("idle for 10 s: processor", &format!("{busy:.1} %"), "0.0 %", busy > 0.0);
    line("idle for 10 s: written to the terminal", &format!("{written} bytes"), "0 bytes", written > 0);
    open.close();

    fill(&home, 500);
    let mut open = Screen::open(&home);
    open.settle("505");
    let mebibytes = open.resident() as f64 / 1024.0;
    line("resident memory, 500 keys", &format!("{mebibytes:.1} MiB"), "25 MiB", mebibytes > 25.0);
    open.close();

    fill(&home, 10_000);
    let mut open = Screen::open(&home);
    open.settle("10005");
    open.press("jl");
    let stroke = median(25, || open.press("j"));
    row("10,000 keys: a keystroke, until its frame is on the terminal", stroke, Some(4));
    open.close();
}

/// How long nothing is done.
const IDLE: Duration = Duration::from_secs(10);

/// The program on a terminal of its own.
struct Screen {
    child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    keyboard: Box<dyn Write + Send>,
    /// What it writes, as it comes.
    output: mpsc::Receiver<Vec<u8>>,
    seen: vt100::Parser,
    written: usize,
}

impl Screen {
    /// Returns when the first frame is there.
    fn open(home: &Path) -> Self {
        let size = PtySize { rows: 24, cols: 80, pixel_width: 0, pixel_height: 0 };
        let pty = native_pty_system().openpty(size).expect("a pseudo-terminal");
        let mut command = CommandBuilder::new(KEYLEASH);
        command.env("TERM", "xterm-256color");
        command.env("KEYLEASH_HOME", home);
        let mut reader = pty.master.try_clone_reader().expect("the terminal's output");
        let keyboard = pty.master.take_writer().expect("the terminal's keyboard");
        let (tell, output) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if tell.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        let child = pty.slave.spawn_command(command).expect("the program starts");
        let seen = vt100::Parser::new(24, 80, 0);
        let mut open = Self { child, master: pty.master, keyboard, output, seen, written: 0 };
        open.wait_for("keyleash");
        open
    }

    fn take(&mut self, patience: Duration) -> bool {
        let Ok(bytes) = self.output.recv_timeout(patience) else { return false };
        self.written += bytes.len();
        self.seen.process(&bytes);
        true
    }

    fn wait_for(&mut self, what: &str) {
        while !self.seen.screen().contents().contains(what) {
            let more = self.take(Duration::from_secs(120));
            assert!(more, "never saw {what} in:\n{}", self.seen.screen().contents());
        }
    }

    /// Waits until this is on the screen and nothing is written any more.
    fn settle(&mut self, what: &str) {
        self.wait_for(what);
        while self.take(Duration::from_secs(4)) {}
    }

    /// Returns when what a key changes is on the terminal.
    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("the keyboard");
        assert!(self.take(Duration::from_secs(30)), "nothing came of {keys}");
        while self.take(Duration::ZERO) {}
    }

    fn written(&mut self) -> usize {
        while self.take(Duration::ZERO) {}
        self.written
    }

    fn status(&self, file: &str) -> String {
        let process = self.child.process_id().expect("a process");
        fs::read_to_string(format!("/proc/{process}/{file}")).expect("what Linux says of the process")
    }

    /// Used so far, in ticks of 10 ms.
    fn processor_time(&self) -> Duration {
        let text = self.status("stat");
        let fields: Vec<&str> = text.rsplit(") ").next().expect("fields").split(' ').collect();
        let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().expect("ticks")).sum();
        Duration::from_millis(ticks * 10)
    }

    /// KiB.
    fn resident(&self) -> u64 {
        let text = self.status("status");
        let line = text.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number of KiB")
    }

    fn close(mut self) {
        self.keyboard.write_all(b"\x03").expect("the keyboard");
        self.child.wait().expect("an end");
        drop(self.master);
    }
}

/// Copies the example key `mint-bot` until its account has so many keys `k00000`, each with an approval and a turn of its own.
fn fill(home: &Path, keys: u32) {
    let mut records = rusqlite::Connection::open(home.join("records.db")).expect("the records");
    let records = records.transaction().expect("a transaction");
    let read = "SELECT key.id, key.network, key.account, key.record, approval.record FROM key JOIN approval ON key_id = key.id \
                WHERE label = 'mint-bot'";
    let (id, network, account, key, approval): (String, String, Vec<u8>, String, String) = records
        .query_row(read, [], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?)))
        .expect("the example key");
    for n in 0..keys {
        let session_key = Address::left_padding_from(&(n + 1).to_be_bytes());
        let new_id = format!("{n:08x}");
        let mut key: serde_json::Value = serde_json::from_str(&key).expect("a record");
        key["id"] = new_id.clone().into();
        key["label"] = format!("k{n:05}").into();
        key["session_key"] = session_key.to_string().into();
        let mut approval: serde_json::Value = serde_json::from_str(&approval.replace(&id, &new_id)).expect("a record");
        approval["request"]["enable"]["nonce"] = (n + 100).into();
        let inserted = records.execute(
            "INSERT OR IGNORE INTO key (id, network, account, session_key, label, record) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            rusqlite::params![new_id, network, account, session_key.as_slice(), format!("k{n:05}"), key.to_string()],
        );
        if inserted.expect("a key") == 1 {
            let digest = keccak256(n.to_be_bytes());
            let values = rusqlite::params![new_id, digest.as_slice(), approval.to_string()];
            records
                .execute("INSERT INTO approval (key_id, digest, record) VALUES (?1, ?2, ?3)", values)
                .expect("an approval");
        }
    }
    records.commit().expect("the records");
}

/// A session key mints on an account that is deployed.
fn one_operation() -> Duration {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let wallet = Wallet::init_sandbox(&Home::at(&folder.path().join("home"))).expect("a sandbox");
    runtime.block_on(wallet.seed_sandbox()).expect("example accounts and keys");
    let treasury = runtime.block_on(wallet.account("treasury")).expect("the example account").address;
    let mint: Vec<u8> = [&keccak256("mint(address)")[..4], treasury.into_word().as_slice()].concat();
    median(15, || {
        let call = Call { to: DEMO.nft, value: U256::ZERO, data: mint.clone().into() };
        let actor = Actor::Key("mint-bot".into());
        let outcome = runtime.block_on(async {
            let plan = wallet.plan_send(SendIntent { actor, calls: vec![call], batch: false, max_cost: None }).await?;
            wallet.execute_send(plan, true).await
        });
        assert_eq!(outcome.expect("sent").success, Some(true));
    })
}

/// What `grant` does once the owner's key is unlocked: key, scope, tree, digest, signature, text.
fn approval(permissions: u32) -> String {
    let owner = Secret::from_bytes(&mut [1; 32]).expect("a private key");
    let session_key = Secret::random().expect("a private key").address();
    let scope = scope(permissions);
    let seed = AccountSeed { owner: owner.address(), index: U256::ZERO };
    let request = ApprovalRequest {
        chain_id: CHAIN_ID,
        account: seed.address(),
        kernel: KernelVersion::DEFAULT,
        validator: Generation::G2,
        selector: selector::EXECUTE,
        executor: Address::ZERO,
        plugin_window: FixedBytes::ZERO,
        enable: EnableData::new(session_key, &scope, 1, Generation::G2),
    };
    let signature = owner.sign_hash(request.digest()).expect("a signature");
    let approval = Approval { request, signature: Bytes::copy_from_slice(&signature) };
    let init_code = seed.init_code(KernelVersion::DEFAULT);
    blob::write(&approval, &scope, Some(&init_code), blob::Format::V4, None).expect("an approval").to_string()
}

/// As many permissions, each for a contract of its own and with two conditions.
fn scope(permissions: u32) -> Scope {
    let rule = |offset: u64, condition| Rule { offset: U256::from(offset), condition, param: B256::repeat_byte(3) };
    let permission = |index: u32| Permission {
        index,
        target: Address::left_padding_from(&(index + 1).to_be_bytes()),
        sig: [0xa9, 0x05, 0x9c, 0xbb].into(),
        value_limit: U256::ZERO,
        rules: vec![rule(0, Condition::Eq), rule(32, Condition::Lte)],
        execution_rule: ExecutionRule::default(),
        operation: Operation::Call,
    };
    Scope {
        valid_after: 0,
        valid_until: 1_900_000_000,
        paymaster: Address::ZERO,
        permissions: (0..permissions).map(permission).collect(),
    }
}

fn in_new_home(arguments: &[&str]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let home: &Path = &folder.path().join("home");
    run(Command::new(KEYLEASH).arg("--home").arg(home).args(["--json", "--yes"]).args(arguments));
}

fn run(command: &mut Command) {
    let quiet = command.env_remove("KEYLEASH_HOME").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = quiet.status().expect("the program starts");
    assert!(status.success(), "{status}");
}

/// The middle of so many times, after one that does not count.
fn median(repeats: usize, mut work: impl FnMut()) -> Duration {
    work();
    let mut times: Vec<Duration> = (0..repeats)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[repeats / 2]
}

fn row(what: &str, took: Duration, budget_ms: Option<u64>) {
    let beside = budget_ms.map_or_else(String::new, |ms| format!("{ms} ms"));
    let over = budget_ms.is_some_and(|ms| took > Duration::from_millis(ms));
    line(what, &format!("{:.2} ms", took.as_secs_f64() * 1000.0), &beside, over);
}

fn line(what: &str, measured: &str, budget: &str, over: bool) {
    println!("{what:<62} {measured:>12} {budget:>10}{}", if over { "  over" } else { "" });
}

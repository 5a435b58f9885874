//! What keyleash takes, beside its budgets (README.md#what-it-takes): `cargo bench --bench budgets`. Medians over repeats; never a test, for
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
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use alloy::{
    primitives::{Address, B256, Bytes, FixedBytes, U256, keccak256},
    sol,
    sol_types::SolCall,
};
use keyleash::{
    erc4337::v06::{ENTRY_POINT, UserOperation},
    policy::scope::{Condition, ExecutionRule, Operation, Permission, Rule, Scope},
    protocol::{
        AccountCall, Call,
        kernel_v2::{
            account::{AccountSeed, selector},
            approval::{Approval, ApprovalRequest, EnableData},
            blob,
            generation::{Generation, KernelVersion},
            signature,
        },
    },
    sandbox::{CHAIN_ID, evm::Request, rpc::Service},
    secret::Secret,
    wallet::{
        Backend, PassphraseSource, Wallet,
        home::Home,
        sandbox_profile::DEMO,
        usecase::{
            scan::ScanOptions,
            send::{Actor, SendIntent},
        },
    },
};
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use serde_json::{Value, json};

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
    over_a_node();
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
    open.press("l");
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
            wallet.execute_send(plan, true, &()).await
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
    blob::write(&approval, &scope, Some(&init_code), keyleash::protocol::Format::V4, None)
        .expect("an approval")
        .to_string()
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

// ---- a node that is 50 ms away ------------------------------------------------------------------------------------------------

/// How far away the node is.
const AWAY: Duration = Duration::from_millis(50);
const BUNDLER: Address = Address::repeat_byte(0xb0);

sol! {
    struct PackedOperation {
        address sender; uint256 nonce; bytes initCode; bytes callData; uint256 callGasLimit; uint256 verificationGasLimit;
        uint256 preVerificationGas; uint256 maxFeePerGas; uint256 maxPriorityFeePerGas; bytes paymasterAndData; bytes signature;
    }
    function handleOps(PackedOperation[] ops, address beneficiary);
}

/// One account with 500 keys and 10,000 operations: found on the chain, then shown.
fn over_a_node() {
    const KEYS: u32 = 500;
    const OPERATIONS: u32 = 10_000;
    let (service, account) = busy_account(KEYS, OPERATIONS);
    let node = DistantNode::start(service);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let home = Home::at(folder.path());
    Wallet::init(&home, Backend::File).expect("a home");
    let config = home.config_folder().join("config.toml");
    let kept = fs::read_to_string(&config).expect("the config");
    // A live home refuses the sandbox's chain id when it is asked to add it; a person may still write it down.
    let network = format!("{kept}\n[network.local]\nchain_id = {CHAIN_ID}\nrpc = \"{}\"\n", node.url);
    fs::write(&config, network).expect("the config");
    let wallet = Wallet::open(home, PassphraseSource::StandardInput).expect("the home");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(wallet.add_account("busy", "local", account, None)).expect("the account");

    let before = node.requests();
    let start = Instant::now();
    let scan = runtime.block_on(wallet.scan("busy", ScanOptions::default(), &|_| {})).expect("a scan");
    let took = start.elapsed();
    assert_eq!((scan.operations, scan.keys.len(), scan.complete), (u64::from(OPERATIONS), KEYS as usize, true));
    let requests = node.requests() - before;
    row(&format!("a scan of 10,000 operations, node 50 ms away ({requests} requests)"), took, None);
    let start = Instant::now();
    runtime.block_on(wallet.scan("busy", ScanOptions::default(), &|_| {})).expect("a scan");
    row("  the next scan", start.elapsed(), None);

    let before = node.requests();
    let mut shown = 0;
    let time = median(5, || shown = runtime.block_on(wallet.keys(Some("busy"))).expect("keys").len());
    assert_eq!(shown, KEYS as usize);
    let requests = (node.requests() - before) / 6;
    row(&format!("500 keys with their state, node 50 ms away ({requests} requests)"), time, None);
}

/// An account whose keys were enabled by their holders and then used in turn, one operation a transaction.
fn busy_account(keys: u32, operations: u32) -> (Service, Address) {
    let mut service = Service::new(1_800_000_000).expect("a fresh sandbox");
    let owner = Secret::from_bytes(&mut [1; 32]).expect("a private key");
    let seed = AccountSeed { owner: owner.address(), index: U256::ZERO };
    let account = seed.address();
    service.fund(account, U256::from(10u64.pow(18)));
    let holders: Vec<Secret> = (0..keys).map(|_| Secret::random().expect("a private key")).collect();
    let target = Address::left_padding_from(&1u32.to_be_bytes());
    for number in 0..operations {
        let (turn, first) = (number % keys, number < keys);
        let holder = &holders[turn as usize];
        let scope = scope_of_one(target);
        let enable = EnableData::new(holder.address(), &scope, u128::from(turn) + 1, Generation::G2);
        let call = AccountCall::Execute(Call { to: target, value: U256::ZERO, data: vec![1, 2, 3, 4].into() });
        let mut op = UserOperation {
            sender: account,
            nonce: U256::from(number + 1) << 64,
            call_data: call.encode(),
            call_gas_limit: U256::from(100_000),
            verification_gas_limit: U256::from(1_000_000),
            pre_verification_gas: U256::from(50_000),
            max_fee_per_gas: U256::ONE,
            max_priority_fee_per_gas: U256::ONE,
            ..UserOperation::default()
        };
        if number == 0 {
            op.init_code = seed.init_code(KernelVersion::DEFAULT);
        }
        let signed = holder.sign_message_hash(op.hash(ENTRY_POINT, CHAIN_ID)).expect("a signature");
        let proof =
            signature::proof_data(&scope.permissions, signature::Shown::One(0), Generation::G2).expect("a proof");
        let session = signature::session(holder.address(), &signed, &proof);
        op.signature = match first {
            true => signature::enable_and_use(&approval_of(&owner, account, enable), &session),
            false => signature::use_enabled(&session),
        };
        let mined = service.act(&Request::to(ENTRY_POINT, handle_ops(op)).from(BUNDLER)).expect("a transaction");
        assert!(mined.success, "{}", mined.output);
    }
    (service, account)
}

fn approval_of(owner: &Secret, account: Address, enable: EnableData) -> Approval {
    let request = ApprovalRequest {
        chain_id: CHAIN_ID,
        account,
        kernel: KernelVersion::DEFAULT,
        validator: Generation::G2,
        selector: selector::EXECUTE,
        executor: Address::ZERO,
        plugin_window: FixedBytes::ZERO,
        enable,
    };
    let signature = Bytes::copy_from_slice(&owner.sign_hash(request.digest()).expect("a signature"));
    Approval { request, signature }
}

fn scope_of_one(target: Address) -> Scope {
    let permission =
        Permission { target, sig: [1, 2, 3, 4].into(), rules: Vec::new(), ..scope(1).permissions.remove(0) };
    Scope { permissions: vec![permission], ..scope(0) }
}

fn handle_ops(op: UserOperation) -> Vec<u8> {
    let packed = PackedOperation {
        sender: op.sender,
        nonce: op.nonce,
        initCode: op.init_code,
        callData: op.call_data,
        callGasLimit: op.call_gas_limit,
        verificationGasLimit: op.verification_gas_limit,
        preVerificationGas: op.pre_verification_gas,
        maxFeePerGas: op.max_fee_per_gas,
        maxPriorityFeePerGas: op.max_priority_fee_per_gas,
        paymasterAndData: op.paymaster_and_data,
        signature: op.signature,
    };
    handleOpsCall { ops: vec![packed], beneficiary: BUNDLER }.abi_encode()
}

/// A sandbox behind HTTP on this machine, which takes its time over each request and answers several at once.
struct DistantNode {
    url: String,
    requests: Arc<AtomicUsize>,
}

impl DistantNode {
    fn start(service: Service) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("the port"));
        let requests = Arc::new(AtomicUsize::new(0));
        let (service, counted) = (Arc::new(Mutex::new(service)), Arc::clone(&requests));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (service, counted) = (Arc::clone(&service), Arc::clone(&counted));
                thread::spawn(move || serve(stream, &service, &counted));
            }
        });
        Self { url, requests }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

fn serve(stream: TcpStream, service: &Mutex<Service>, requests: &AtomicUsize) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        requests.fetch_add(1, Ordering::Relaxed);
        thread::sleep(AWAY);
        let body: Value = serde_json::from_slice(&body).ok()?;
        let answer = {
            let mut service = service.lock().expect("the sandbox");
            let mut one = |call: &Value| {
                let answered = service.answer(call["method"].as_str().unwrap_or_default(), &call["params"]);
                match answered {
                    Ok(result) => json!({ "jsonrpc": "2.0", "id": call["id"], "result": result }),
                    Err(fault) => {
                        let error = json!({ "code": fault.code, "message": fault.message, "data": fault.data });
                        json!({ "jsonrpc": "2.0", "id": call["id"], "error": error })
                    }
                }
            };
            match body.as_array() {
                Some(calls) => calls.iter().map(&mut one).collect(),
                None => one(&body),
            }
        };
        let text = answer.to_string();
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", text.len());
        let stream = reader.get_mut();
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(text.as_bytes())).ok()?;
    }
}

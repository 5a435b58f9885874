//! What keyleash takes, beside its budgets: `cargo bench`. Medians over repeats; never a test, for a slow machine is no fault.

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
    path::Path,
    process::{Command, Stdio},
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
    println!("{:<58} {:>10} {:>10}", "", "median", "budget");
    kernel();
    sandbox();
    binary();
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
    let megabytes = fs::metadata(KEYLEASH).expect("the binary").len() / 1_000_000;
    println!("{:<58} {:>7} MB {:>7} MB", "the binary", megabytes, 15);
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
    let milliseconds = took.as_secs_f64() * 1000.0;
    let beside = budget_ms.map_or_else(String::new, |ms| format!("{ms} ms"));
    let over = if budget_ms.is_some_and(|ms| took > Duration::from_millis(ms)) { "  over" } else { "" };
    println!("{what:<58} {milliseconds:>7.2} ms {beside:>10}{over}");
}

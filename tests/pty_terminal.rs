//! The terminal in bad moments: a panic on any thread, and a passphrase that is asked for on the screen.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests fail loudly and read as specifications"
)]
#![cfg(all(target_os = "linux", feature = "tui"))]

#[path = "support/terminal.rs"]
mod terminal;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use alloy::primitives::U256;
use keyleash::{
    protocol::kernel_v2::generation::DETERMINISTIC_DEPLOYER,
    sandbox::{
        contracts::contracts,
        evm::Chain,
        rpc::{RpcFault, Service},
    },
    tui::terminal::Guard,
};
use ratatui::widgets::Paragraph;
use serde_json::{Value, json};
use tempfile::TempDir;
use terminal::{Session, contains, last};

/// Tells this program, run once more in a terminal, which thread shall panic.
const PANICS: &str = "KEYLEASH_TEST_PANICS";

/// Runs this very test in a terminal of its own, as the program that panics there.
fn panicking(thread: &str) -> Session {
    let myself = std::env::current_exe().unwrap();
    let words = [myself.to_str().unwrap(), "--exact", "a_program_that_panics", "--nocapture"];
    Session::run(&words, &[(PANICS, thread)], tempfile::tempdir().unwrap())
}

/// Not a test by itself: what the tests below run in a terminal.
#[test]
fn a_program_that_panics() {
    let Ok(thread) = std::env::var(PANICS) else { return };
    let mut guard = Guard::enter().unwrap();
    let mut draw = |text: &str| {
        guard.terminal.draw(|frame| frame.render_widget(Paragraph::new(text), frame.area())).unwrap();
    };
    draw("up and running");
    let mut key = [0];
    std::io::stdin().read_exact(&mut key).unwrap();
    if thread == "drawing" {
        panic!("the drawing thread fell over");
    }
    let job = std::thread::spawn(|| panic!("a job fell over"));
    assert!(job.join().is_err());
    draw("the job has failed");
    std::io::stdin().read_exact(&mut key).unwrap();
}

#[test]
fn a_panic_of_the_thread_that_draws_gives_the_terminal_back_before_it_is_reported() {
    let mut session = panicking("drawing");
    session.wait_for("up and running");
    session.keys("x");
    session.wait_for_raw("the drawing thread fell over");
    let raw = session.raw();
    assert!(last(&raw, b"\x1b[?1049l") < last(&raw, b"the drawing thread fell over"));
    assert_eq!(session.end(), 101, "as Rust ends after a panic");
}

#[test]
fn a_panic_of_a_job_neither_ends_the_program_nor_writes_over_the_screen() {
    let mut session = panicking("job");
    session.wait_for("up and running");
    session.keys("x");
    session.wait_for("the job has failed");
    assert!(!contains(&session.raw(), b"a job fell over"));
    session.keys("q");
    assert_eq!(session.end(), 0);
}

/// A node and bundler on a local socket, with the contracts of live networks. What is deployed there is not ours to ship.
struct Network {
    url: String,
    service: Arc<Mutex<Service>>,
}

impl Network {
    /// `None`, and a line that says so, where the bytecode is not at hand.
    fn start() -> Option<Self> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/chain/deployments.json");
        let Ok(recorded) = std::fs::read_to_string(path) else {
            let line = format!("\nskipped: {path} is missing, so there is no network for the passphrase's test\n");
            let _ = std::io::stderr().lock().write_all(line.as_bytes());
            return None;
        };
        let mut chain = Chain::new(31_337, unix_now());
        let deployer = contracts().unwrap().iter().find(|contract| contract.address == DETERMINISTIC_DEPLOYER).unwrap();
        chain.set_code(deployer.address, deployer.runtime.clone()).unwrap();
        chain.load_deployments(&recorded).unwrap();
        let service = Arc::new(Mutex::new(Service::on(chain)));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answering = Arc::clone(&service);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let service = Arc::clone(&answering);
                // A client that hangs up is none of our business.
                std::thread::spawn(move || drop(answer(stream, &service)));
            }
        });
        Some(Self { url, service })
    }
}

/// One HTTP request with a JSON-RPC call, or several, in it.
fn answer(mut stream: TcpStream, service: &Mutex<Service>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line)? > 2 {
        if let Some(number) = line.to_lowercase().strip_prefix("content-length:") {
            length = number.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut service = service.lock().unwrap();
    service.tick(unix_now());
    let mut one = |call: &Value| match service.answer(call["method"].as_str().unwrap(), &call["params"]) {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": call["id"], "result": result }),
        Err(RpcFault { code, message, data }) => {
            json!({ "jsonrpc": "2.0", "id": call["id"], "error": { "code": code, "message": message, "data": data } })
        }
    };
    let answer = match serde_json::from_slice(&body)? {
        Value::Array(calls) => calls.iter().map(one).collect(),
        call => one(&call),
    };
    let answer = answer.to_string();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length:";
    write!(stream, "{head} {}\r\n\r\n{answer}", answer.len())
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

const PASSPHRASE: &str = "correct horse battery";

/// A home for a live network: an account with some ETH and a key that was never used, everything sealed with the passphrase.
fn sealed_home(network: &Network) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let passphrase = file("passphrase", PASSPHRASE);
    let policy = file(
        "policy.toml",
        "label = \"mint-bot\"\nvalid_until = \"1h\"\npaymaster = \"unrestricted\"\n\n[[permission]]\n\
         target = \"0x4379a78287415741517070c0Df99c92BeE095915\"\nfunction = \"mint(address to)\"\n",
    );
    let keyleash = |words: &[&str]| -> Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyleash"));
        command.env("KEYLEASH_HOME", folder.path().join("home")).args(["--json", "--yes"]).args(words);
        let done = command.args(["--passphrase-file", &passphrase]).stdin(Stdio::null()).output().unwrap();
        assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stdout));
        serde_json::from_slice::<Value>(&done.stdout).unwrap()["data"].take()
    };
    keyleash(&["init", "--vault", "file"]);
    keyleash(&["network", "add", "local", "--chain-id", "31337", "--rpc", &network.url, "--bundler", &network.url]);
    let account = keyleash(&["account", "new", "treasury", "--owner-new"]);
    let address = account["address"].as_str().unwrap().parse().unwrap();
    network.service.lock().unwrap().fund(address, U256::from(10).pow(U256::from(18)));
    keyleash(&["grant", "treasury", "--policy", &policy, "--new-key"]);
    folder
}

#[test]
fn a_passphrase_is_asked_for_on_the_screen_again_when_it_was_wrong_and_is_never_shown() {
    let Some(network) = Network::start() else { return };
    let home = sealed_home(&network);
    let mut session = Session::run(&[env!("CARGO_BIN_EXE_keyleash")], &[], home);
    session.wait_for("mint-bot    pending");
    session.keys("l\r");
    session.wait_for("mint-bot is pending");
    session.keys("x");
    session.wait_for("y to revoke");
    // A press that comes too soon is not taken.
    std::thread::sleep(Duration::from_millis(1_000));
    session.keys("y");
    session.wait_for("Passphrase of the vault");
    session.keys("not this one\r");
    session.wait_for("Wrong passphrase");
    session.keys(PASSPHRASE);
    session.wait_for(&"•".repeat(PASSPHRASE.len()));
    session.keys("\r");
    session.wait_for("mint-bot is revoked, and that is proven");
    assert!(!contains(&session.raw(), b"not this one") && !contains(&session.raw(), PASSPHRASE.as_bytes()));
    session.keys("q");
    assert_eq!(session.end(), 0);
}

#[test]
fn a_passphrase_that_is_not_given_stops_what_wanted_it() {
    let Some(network) = Network::start() else { return };
    let sent = |network: &Network| network.service.lock().unwrap().chain().transactions(0, u64::MAX).count();
    let home = sealed_home(&network);
    let before = sent(&network);
    let mut session = Session::run(&[env!("CARGO_BIN_EXE_keyleash")], &[], home);
    session.wait_for("mint-bot    pending");
    session.keys("l\r");
    session.wait_for("mint-bot is pending");
    session.keys("x");
    session.wait_for("y to revoke");
    std::thread::sleep(Duration::from_millis(1_000));
    session.keys("y");
    session.wait_for("Passphrase of the vault");
    session.keys("\x1b");
    session.wait_for("cancelled");
    assert_eq!(sent(&network), before, "nothing was sent");
    session.keys("\x03");
    assert_eq!(session.end(), 0);
}

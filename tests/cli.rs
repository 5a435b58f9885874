//! The program as a script meets it, without any chain: exit codes, the JSON envelope, what is written and what is never printed.
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

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Parts of a node's address that must never be printed.
const SECRETS: [&str; 3] = ["hunter2hunter2", "PATHKEY0123456789", "QUERYKEY0123456789"];
/// anvil's well-known account 0, an owner in the vectors.
const OWNER_KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const OWNER: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
const OTHER: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
const ESCAPES: &str = "a\u{1b}[31mb\u{202e}c\u{9b}d";

/// A home of its own; most tests never write a secret to it.
struct Home {
    folder: TempDir,
}

#[derive(Debug)]
struct Outcome {
    command: String,
    exit: i32,
    stdout: String,
    stderr: String,
}

/// An address nobody answers at.
fn nobody() -> String {
    static PORT: OnceLock<u16> = OnceLock::new();
    let port = PORT.get_or_init(|| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port());
    secret_url(*port)
}

fn secret_url(port: u16) -> String {
    format!("http://user:{}@127.0.0.1:{port}/v2/{}?apikey={}", SECRETS[0], SECRETS[1], SECRETS[2])
}

/// A node that answers every question with chain id 1.
fn other_chain() -> String {
    static PORT: OnceLock<u16> = OnceLock::new();
    let port = PORT.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(answer_chain_id(stream))));
        port
    });
    secret_url(*port)
}

fn answer_chain_id(mut stream: TcpStream) -> std::io::Result<()> {
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
    let request: Value = serde_json::from_slice(&body)?;
    let answer = json!({ "jsonrpc": "2.0", "id": request["id"], "result": "0x1" }).to_string();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length:";
    write!(stream, "{head} {}\r\n\r\n{answer}", answer.len())
}

impl Home {
    fn bare() -> Self {
        let home = Self { folder: tempfile::Builder::new().prefix("keyleash-cli-").tempdir().unwrap() };
        home.file("passphrase", "correct horse battery staple\n");
        home
    }

    /// Set up, with one network whose node is of another chain: nothing is believed that it says.
    fn new() -> Self {
        Self::with_node(&other_chain())
    }

    fn with_node(url: &str) -> Self {
        let home = Self::bare();
        home.ok(&["init", "--vault", "file"]);
        home.ok(&["network", "add", "local", "--chain-id", "31337", "--rpc", url, "--bundler", url]);
        home
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// A file beside the home.
    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn run(&self, args: &[&str]) -> Outcome {
        self.run_with_input(args, "")
    }

    fn run_with_input(&self, args: &[&str], input: impl AsRef<[u8]>) -> Outcome {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyleash"));
        command.args(["--home", self.path().to_str().unwrap()]).args(args);
        // Nothing of the machine: no keyring, no proxy, no home of the person who runs the tests.
        command.env_clear().env("HOME", self.folder.path());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A program that does not read its input has ended already.
        let _ = child.stdin.take().unwrap().write_all(input.as_ref());
        let output = child.wait_with_output().unwrap();
        let outcome = Outcome {
            command: args.join(" "),
            exit: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        outcome.is_clean();
        outcome
    }

    /// Runs with `--json`; the data of a success.
    fn ok(&self, args: &[&str]) -> Value {
        let outcome = self.run(&with_json(args));
        let envelope = outcome.envelope();
        assert_eq!((outcome.exit, &envelope["success"]), (0, &json!(true)), "{outcome:?}");
        assert_eq!(envelope["errors"], json!([]), "{outcome:?}");
        envelope["data"].clone()
    }

    /// Runs with `--json`; the error of a failure.
    fn fails(&self, args: &[&str], exit: i32, code: &str) -> Value {
        let outcome = self.run(&with_json(args));
        let envelope = outcome.envelope();
        assert_eq!((outcome.exit, &envelope["success"]), (exit, &json!(false)), "{outcome:?}");
        let error = envelope["errors"][0].clone();
        assert_eq!(error["code"], code, "{outcome:?}");
        error
    }

    /// With the passphrase of the tests.
    fn with_passphrase<'a>(&self, args: &[&'a str], passphrase: &'a str) -> Vec<&'a str> {
        args.iter().copied().chain(["--passphrase-file", passphrase]).collect()
    }

    fn passphrase(&self) -> String {
        self.folder.path().join("passphrase").to_str().unwrap().to_owned()
    }

    /// Every file of the home, with its content.
    fn content(&self) -> Vec<(PathBuf, Vec<u8>)> {
        fn walk(folder: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
            for entry in fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, files);
                } else {
                    files.push((path.clone(), fs::read(path).unwrap()));
                }
            }
        }
        let mut files = Vec::new();
        walk(&self.path(), &mut files);
        files.sort();
        files
    }
}

fn with_json<'a>(args: &[&'a str]) -> Vec<&'a str> {
    args.iter().copied().chain(["--json"]).collect()
}

impl Outcome {
    /// Holds for every run: no part of a secret address, no character that could deceive a terminal.
    fn is_clean(&self) {
        for (stream, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            for secret in SECRETS.iter().chain([&OWNER_KEY, &&OWNER_KEY[2..]]) {
                assert!(!text.contains(secret), "`{}` printed a secret on {stream}: {text}", self.command);
            }
            let unsafe_ones = text.chars().find(|c| keyleash::text::is_unsafe(*c) && !matches!(c, '\n' | '\t'));
            assert_eq!(unsafe_ones, None, "`{}` on {stream}: {text:?}", self.command);
        }
    }

    /// Standard output, which must be exactly one envelope.
    fn envelope(&self) -> Value {
        assert_eq!(self.stdout.matches('\n').count(), 1, "one line: {self:?}");
        let envelope: Value = serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:?}"));
        let fields: Vec<&String> = envelope.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["data", "errors", "nodes", "schema_version", "success", "warnings"], "{self:?}");
        assert_eq!(envelope["schema_version"], 1);
        for error in envelope["errors"].as_array().unwrap() {
            assert!(["code", "message", "hint"].iter().all(|f| error[*f].is_string()), "{self:?}");
        }
        for warning in envelope["warnings"].as_array().unwrap() {
            assert!(["code", "message"].iter().all(|f| warning[*f].is_string()), "{self:?}");
        }
        envelope
    }
}

/// The names that scripts rely on.
fn has(data: &Value, names: &str) {
    for name in names.split(' ') {
        assert!(data.get(name).is_some(), "`{name}` is missing in {data}");
    }
}

fn vectors(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(file);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

// --- the frame ---------------------------------------------------------------------------------------------------------------

#[test]
fn without_a_command_and_without_a_terminal_it_says_so_in_one_line() {
    let outcome = Home::bare().run(&[]);
    assert_eq!(outcome.exit, 2);
    assert_eq!(outcome.stdout, "");
    assert!(outcome.stderr.trim_end().lines().count() == 1 && outcome.stderr.contains("--help"), "{outcome:?}");
    Home::bare().fails(&[], 2, "usage.no_command");
}

#[test]
fn usage_errors_are_an_envelope_too_and_name_what_is_missing() {
    let home = Home::bare();
    for (args, named) in [
        (vec!["network", "add", "x"], "--chain-id"),
        (vec!["grant", "treasury", "--new-key"], "--policy"),
        (vec!["revoke", "treasury"], "KEYS"),
        (vec!["network", "add", "x", "--chain-id", "ten", "--rpc", "http://x"], "ten"),
        (vec!["frobnicate"], "frobnicate"),
        (vec!["status", "0x12"], "0x12"),
        (vec!["send", "k", "--to", OTHER, "--call", "a()", "--data", "0x"], "--data"),
        (vec!["key", "export", "k", "--format", "v6", "--out", "x"], "v6"),
    ] {
        let error = home.fails(&args, 2, "usage");
        assert!(error["message"].as_str().unwrap().contains(named), "{args:?}: {error}");
        let plain = home.run(&args);
        assert!(plain.exit == 2 && plain.stdout.is_empty() && plain.stderr.contains(named), "{plain:?}");
    }
}

#[test]
fn help_version_completions_and_man_page_need_no_home() {
    let home = Home::bare();
    for (args, contains) in [
        (vec!["--version"], env!("CARGO_PKG_VERSION")),
        (vec!["--help"], "inspect"),
        (vec!["grant", "--help"], "--policy"),
        (vec!["completions", "bash"], "keyleash"),
        (vec!["completions", "zsh"], "#compdef keyleash"),
        (vec!["completions", "fish"], "complete -c keyleash"),
        (vec!["man"], ".TH keyleash 1"),
    ] {
        let outcome = home.run(&args);
        assert!(outcome.exit == 0 && outcome.stdout.contains(contains) && outcome.stderr.is_empty(), "{outcome:?}");
    }
    assert!(home.ok(&["man"])["man"].as_str().unwrap().contains(".TH"));
    assert!(home.content().is_empty(), "nothing is written");
}

#[test]
fn without_a_home_every_command_says_how_to_get_one() {
    let home = Home::bare();
    for args in [
        vec!["network", "ls"],
        vec!["account", "ls"],
        vec!["key", "ls"],
        vec!["agent", "new", "bot"],
        vec!["send", "k", "--to", OTHER],
        vec!["revoke", "a", "k"],
    ] {
        let error = home.fails(&args, 1, "home.none");
        assert!(error["hint"].as_str().unwrap().contains("keyleash init"), "{error}");
    }
    assert!(home.content().is_empty(), "nothing is written");
}

#[test]
fn init_sets_a_home_up_once() {
    let home = Home::bare();
    let data = home.ok(&["init", "--vault", "file"]);
    assert_eq!(data["vault"], "file");
    assert_eq!(data["home"], home.path().to_str().unwrap());
    let before = home.content();
    home.fails(&["init", "--vault", "file"], 1, "home.exists");
    assert_eq!(home.content(), before);
}

#[test]
fn a_config_that_cannot_be_read_stops_everything_and_names_the_line() {
    let home = Home::new();
    fs::write(home.path().join("config.toml"), "vault = \"file\"\nvalut = 3\n").unwrap();
    let error = home.fails(&["network", "ls"], 1, "config.invalid");
    assert!(error["message"].as_str().unwrap().contains("line 2"), "{error}");
}

// --- networks ----------------------------------------------------------------------------------------------------------------

#[test]
fn networks_are_added_listed_shown_and_removed_without_their_keys_in_sight() {
    let home = Home::new();
    let url = nobody();
    let added = home.ok(&[
        "network",
        "add",
        "paid",
        "--chain-id",
        "1",
        "--rpc",
        &url,
        "--bundler",
        &url,
        "--paymaster",
        &url,
        "--paymaster-kind",
        "pimlico",
        "--paymaster-context",
        "{\"sponsorshipPolicyId\":\"sp_x\"}",
    ]);
    assert_eq!(
        (&added["name"], &added["chain_id"], &added["paymaster_kind"]),
        (&json!("paid"), &json!(1), &json!("pimlico"))
    );
    for field in ["rpc", "bundler", "paymaster"] {
        assert!(added[field].as_str().unwrap().starts_with("http://127.0.0.1:"), "{added}");
    }
    let config = fs::read_to_string(home.path().join("config.toml")).unwrap();
    assert!(config.contains(&url), "the address itself is kept");

    let listed = home.ok(&["network", "ls"]);
    assert_eq!(listed.as_array().unwrap().iter().map(|n| n["name"].clone()).collect::<Vec<_>>(), ["local", "paid"]);
    assert_eq!(home.ok(&["network", "show", "paid"]), added);
    home.run(&["network", "ls", "--verbose"]);
    home.run(&["network", "show", "paid", "--verbose"]);
    home.fails(&["network", "add", "paid", "--chain-id", "1", "--rpc", &url], 1, "network.exists");

    assert_eq!(home.ok(&["network", "rm", "paid"]), json!({ "removed": "paid" }));
    home.fails(&["network", "show", "paid"], 2, "network.unknown");
    home.fails(&["network", "rm", "paid"], 2, "network.unknown");
}

#[test]
fn zerodevs_one_address_fills_in_all_three() {
    let home = Home::new();
    let added =
        home.ok(&["network", "add", "z", "--chain-id", "137", "--zerodev", "b5486fa4-e3d9-450b-8428-646e757c10f6"]);
    assert_eq!(added["paymaster_kind"], "zerodev");
    assert!(added["rpc"] == added["bundler"] && added["rpc"] == added["paymaster"]);
    assert!(!added.to_string().contains("b5486fa4"), "{added}");
    home.fails(&["network", "add", "y", "--chain-id", "137", "--zerodev", "../x"], 2, "network.zerodev");
}

#[test]
fn a_network_that_makes_no_sense_is_refused_and_its_address_is_not_repeated() {
    let home = Home::new();
    let before = home.content();
    let add = |name: &str, more: &[&str], code: &str| {
        let mut args = vec!["network", "add", name, "--chain-id", "1"];
        args.extend(more);
        home.fails(&args, 2, code);
        home.run(&args);
    };
    let (ftp, no_host) = (format!("ftp://x/{}", SECRETS[1]), format!("//{}", SECRETS[1]));
    add("x", &["--rpc", &ftp], "network.url");
    add("x", &["--rpc", &no_host], "network.url");
    add("x", &["--rpc", "http://127.0.0.1:1", "--paymaster", &ftp], "network.url");
    add("x", &["--rpc", "http://127.0.0.1:1", "--paymaster-kind", "erc7677"], "network.paymaster");
    add("-x", &["--rpc", "http://127.0.0.1:1"], "usage");
    add("a b", &["--rpc", "http://127.0.0.1:1"], "name.invalid");
    add(ESCAPES, &["--rpc", "http://127.0.0.1:1"], "name.invalid");
    assert_eq!(home.content(), before);
}

#[test]
fn a_node_that_does_not_answer_is_exit_code_4_and_keeps_its_key() {
    let home = Home::with_node(&nobody());
    let outcome = home.run(&["network", "check", "local", "--json"]);
    assert_eq!((outcome.exit, &outcome.envelope()["errors"][0]["code"]), (4, &json!("network.check")), "{outcome:?}");
    assert_eq!(outcome.envelope()["data"]["ok"], false);
    let outcome = home.run(&["network", "check", "local", "--verbose"]);
    assert!(outcome.exit == 4 && outcome.stdout.contains("127.0.0.1"), "{outcome:?}");
    let file = home.file("approval", vectors("serialization.json")["v4"][1]["serialized"].as_str().unwrap());
    let outcome = home.run(&["inspect", &file, "--agent", OTHER, "--rpc", &nobody(), "--json"]);
    assert_eq!(outcome.exit, 4, "{outcome:?}");
}

#[test]
fn a_node_of_another_chain_is_not_believed() {
    let home = Home::new();
    home.ok(&["account", "new", "treasury", "--owner-address", OWNER]);
    let account = home.ok(&["account", "show", "treasury"]);
    assert_eq!((&account["deployed"], &account["balance"]), (&Value::Null, &Value::Null));
    let reason = account["unknown_because"].as_str().unwrap();
    assert!(reason.contains("31337") && reason.contains("127.0.0.1"), "{reason}");
    home.fails(&["account", "add", "other", "--address", OTHER], 4, "chain.wrong_chain");
}

// --- accounts ----------------------------------------------------------------------------------------------------------------

#[test]
fn a_watch_only_account_is_at_the_address_of_the_vectors_without_any_chain() {
    let home = Home::new();
    for case in vectors("init_code.json")["cases"].as_array().unwrap().iter().take(2) {
        let (id, owner) = (case["id"].as_str().unwrap(), case["owner"].as_str().unwrap());
        let data =
            home.ok(&["account", "new", id, "--owner-address", owner, "--index", case["index"].as_str().unwrap()]);
        has(&data, "name network address owner kernel_version deployed balance last_nonce invalid_nonce");
        assert_eq!((&data["address"], &data["owner"]), (&case["counterfactualAddress"], &case["owner"]));
        assert_eq!(
            (&data["name"], &data["network"], &data["kernel_version"]),
            (&json!(id), &json!("local"), &json!("0.2.4"))
        );
        assert_eq!(
            (&data["watch_only"], &data["deployed"], &data["balance"]),
            (&json!(true), &Value::Null, &Value::Null)
        );
    }
    let listed = home.ok(&["account", "ls"]);
    assert_eq!(listed.as_array().unwrap().len(), 2);
    let name = listed[0]["name"].as_str().unwrap();
    assert_eq!(home.ok(&["account", "show", name])["address"], listed[0]["address"]);
    assert_eq!(home.ok(&["account", "show", listed[0]["address"].as_str().unwrap()])["name"], name);

    home.fails(&["account", "new", name, "--owner-address", OTHER], 1, "account.exists");
    home.fails(&["network", "rm", "local"], 1, "network.in_use");
    home.ok(&["account", "rm", name]);
    assert_eq!(home.ok(&["account", "ls"]).as_array().unwrap().len(), 1);
    home.fails(&["account", "show", name], 2, "account.unknown");
}

#[test]
fn an_account_is_refused_before_anything_is_written_when_its_owner_is_not_clear() {
    let home = Home::new();
    let before = home.content();
    let key = home.file("owner.key", OWNER_KEY);
    let wrong = OWNER.replace("f39F", "F39F");
    for (args, exit, code) in [
        (vec!["--owner-address", wrong.as_str()], 2, "argument.address"),
        (vec!["--owner-address", "0x0000000000000000000000000000000000000000"], 2, "account.owner"),
        (vec!["--owner-address", OWNER, "--owner-key-file", key.as_str()], 2, "account.owner"),
        (vec!["--owner-new", "--owner-address", OWNER], 2, "account.owner"),
        (vec![], 2, "account.owner"),
        (vec!["--owner-address", OWNER, "--kernel", "0.2.1"], 2, "account.kernel"),
        (vec!["--owner-address", OWNER, "--kernel", "3.1"], 2, "account.kernel"),
        (vec!["--owner-address", OWNER, "--network", "nowhere"], 2, "network.unknown"),
        (vec!["--owner-key-file", "/does/not/exist"], 5, "vault.io"),
    ] {
        let all: Vec<&str> = ["account", "new", "treasury"].into_iter().chain(args).collect();
        home.fails(&all, exit, code);
    }
    home.fails(&["account", "new", ESCAPES, "--owner-address", OWNER], 2, "name.invalid");
    home.fails(&["account", "add", "x", "--address", &wrong], 2, "argument.address");
    home.fails(&["account", "add", "x", "--address", OWNER], 4, "chain.wrong_chain");
    let accounts = home.ok(&["account", "ls"]);
    assert_eq!(accounts, json!([]));
    let secrets =
        |files: &[(PathBuf, Vec<u8>)]| files.iter().filter(|(p, _)| p.starts_with(home.path().join("vault"))).count();
    assert_eq!(secrets(&home.content()), secrets(&before));
}

#[test]
fn owners_and_agents_live_in_the_vault_and_a_wrong_passphrase_writes_nothing() {
    let home = Home::new();
    let (passphrase, key) = (home.passphrase(), home.file("owner.key", OWNER_KEY));
    let account =
        home.ok(&home.with_passphrase(&["account", "new", "treasury", "--owner-key-file", &key], &passphrase));
    assert_eq!((&account["owner"], &account["watch_only"]), (&json!(OWNER), &json!(false)));
    let agent = home.ok(&home.with_passphrase(&["agent", "new", "mint-bot"], &passphrase));
    has(&agent, "label address");
    assert_eq!(agent["label"], "mint-bot");
    assert_eq!(home.ok(&["agent", "ls"]), json!([agent]));

    let before = home.content();
    let wrong = home.file("wrong", "another passphrase\n");
    for args in [vec!["agent", "new", "second"], vec!["account", "new", "other", "--owner-new"]] {
        home.fails(&home.with_passphrase(&args, &wrong), 5, "vault.wrong_passphrase");
    }
    home.fails(&home.with_passphrase(&["agent", "new", "mint-bot"], &passphrase), 1, "agent.exists");
    home.fails(&home.with_passphrase(&["agent", "new", ESCAPES], &passphrase), 2, "label.invalid");
    home.fails(&home.with_passphrase(&["agent", "new", &"x".repeat(65)], &passphrase), 2, "label.invalid");
    let secrets = |files: Vec<(PathBuf, Vec<u8>)>| -> Vec<_> {
        files.into_iter().filter(|(path, _)| path.starts_with(home.path().join("vault"))).collect()
    };
    assert_eq!(secrets(home.content()), secrets(before));
    assert_eq!(home.ok(&["agent", "ls"]).as_array().unwrap().len(), 1);
    assert_eq!(home.ok(&["account", "ls"]).as_array().unwrap().len(), 1);
    // The key is nowhere in clear.
    for (path, content) in home.content() {
        let text = String::from_utf8_lossy(&content);
        assert!(!text.contains(&OWNER_KEY[2..]), "{}", path.display());
    }

    // Two that need the owner's key, without a chain to ask: nothing is signed.
    let policy = home.file("policy.toml", POLICY);
    home.fails(
        &home.with_passphrase(&["grant", "treasury", "--policy", &policy, "--agent", OTHER], &passphrase),
        4,
        "chain.wrong_chain",
    );
    assert_eq!(home.ok(&["key", "ls"]), json!([]));
    let report = home.run(&["doctor"]);
    assert!(report.exit == 0 && report.stdout.contains("\"secrets\": 2"), "{report:?}");
}

// --- policies and approvals that are not usable ------------------------------------------------------------------------------

const POLICY: &str = "valid_until = \"24h\"\npaymaster = \"unrestricted\"\n[[permission]]\n\
                      target = \"0x5FbDB2315678afecb367f032d93F642f64180aa3\"\nfunction = \"mint(address to)\"\n";

#[test]
fn a_bad_policy_names_the_file_and_the_field_and_nothing_is_signed() {
    let home = Home::new();
    home.ok(&["account", "new", "treasury", "--owner-address", OWNER]);
    let grant = |content: &str, code: &str, named: &str| {
        let file = home.file("policy.toml", content);
        let error = home.fails(&["grant", "treasury", "--policy", &file, "--agent", OTHER], 2, code);
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("policy.toml") && message.contains(named), "{error}");
        error
    };
    grant(&POLICY.replace("24h", "1800000000000"), "policy.field", "valid_until: ");
    grant(&POLICY.replace("0x5Fb", "0x5fb"), "policy.field", "permission[0].target: ");
    let error = grant(&POLICY.replace("paymaster", "paymastre"), "policy.unknown_field", "paymastre");
    assert!(error["hint"].as_str().unwrap().contains("\"paymaster\""), "{error}");
    grant(&POLICY.replace("[[permission]]", "everything = true\n[[permission]]"), "policy.everything", "everything");
    grant("valid_until = \"1h\"\npaymaster = \"unrestricted\"\n", "policy.empty", "permission");
    grant(&POLICY.replace("mint(address to)", "mint"), "policy.field", "permission[0].function: ");
    grant(&POLICY.replace("function", "abi = \"erc20\"\nfunction"), "policy.field", "permission[0].function: ");
    grant(
        &format!("label = {ESCAPES:?}\n{POLICY}")
            .replace("\\u{1b}", "\\u001b")
            .replace("\\u{202e}", "\\u202e")
            .replace("\\u{9b}", "\\u009b"),
        "label.invalid",
        "label: ",
    );
    grant("valid_until = \n", "policy.syntax", "line 1");
    grant(&"#".repeat(10 << 20), "file.too_large", "larger");
    let missing = ["grant", "treasury", "--policy", "/does/not/exist", "--agent", OTHER];
    home.fails(&missing, 1, "file.io");
    let file = home.file("policy.toml", POLICY);
    home.fails(&["grant", "treasury", "--policy", &file], 2, "grant.holder");
    home.fails(&["grant", "treasury", "--policy", &file, "--agent", "0x12"], 2, "argument.address");
    home.fails(&["grant", "nobody", "--policy", &file, "--agent", OTHER], 2, "account.unknown");
    home.fails(&["grant", "treasury", "--policy", &file, "--agent", OTHER, "--accept", "R12"], 2, "grant.accept");
    home.fails(&["grant", "treasury", "--policy", &file, "--agent", OTHER, "--label", ESCAPES], 2, "label.invalid");
    assert_eq!(home.ok(&["key", "ls"]), json!([]));
}

/// What `inspect` answers for approvals in both formats.
const INSPECTED: &str = "format account session_key has_secret owner chain_id kernel_version validator nonce state permissions sentences assumptions family verified";

#[test]
fn approvals_of_both_sdks_are_read_without_a_home() {
    let home = Home::bare();
    let file = vectors("serialization.json");
    let carries_key = |case: &&Value| case["input"]["withPrivateKey"] == true;
    for format in ["v4", "v5"] {
        // Without a chain the owner of a deployed account is not known.
        let offline = |case: &&Value| case["chainId"] == 1 && case["input"]["deployed"] != true && carries_key(case);
        let case = file[format].as_array().unwrap().iter().find(offline).unwrap();
        let path = home.file("approval", case["serialized"].as_str().unwrap());
        let data = home.ok(&["inspect", &path]);
        has(&data, INSPECTED);
        assert_eq!((&data["format"], &data["account"]), (&json!(format), &case["input"]["account"]));
        assert_eq!(
            (&data["has_secret"], &data["chain_id"], &data["state"]),
            (&json!(true), &json!(1), &json!("unknown"))
        );
        assert!(data["owner"].is_string() && data["nonce"].is_string() && data["session_key"].is_string(), "{data}");
        assert!(!data["sentences"].as_array().unwrap().is_empty());
        let secret = case["input"]["sessionPrivateKey"].as_str().unwrap();
        for outcome in [home.run(&["inspect", &path]), home.run(&["inspect", &path, "--json", "--verbose"])] {
            assert!(!outcome.stdout.contains(&secret[2..]) && !outcome.stderr.contains(&secret[2..]), "{outcome:?}");
        }
        let warnings = home.run(&["inspect", &path, "--json"]).envelope()["warnings"].to_string();
        assert!(warnings.contains("carries the session key"), "{warnings}");

        let piped = home.run_with_input(&["inspect", "-", "--json"], case["serialized"].as_str().unwrap());
        assert_eq!(piped.envelope()["data"], data);
        let as_json = home.run_with_input(&["inspect", "-", "--json"], case["json"].as_str().unwrap());
        assert_eq!(as_json.envelope()["data"], data);
    }
    assert!(home.content().is_empty(), "nothing is written");
}

#[test]
fn an_approval_that_does_not_say_for_whom_says_what_to_give() {
    let home = Home::bare();
    let file = vectors("serialization.json");
    let case = file["v4"].as_array().unwrap().iter().find(|c| c["id"] == "ser4-01").unwrap();
    let path = home.file("approval", case["serialized"].as_str().unwrap());
    let outcome = home.run(&["inspect", &path, "--json"]);
    let envelope = outcome.envelope();
    assert_eq!(
        (outcome.exit, &envelope["data"]["owner"], &envelope["data"]["session_key"]),
        (1, &Value::Null, &Value::Null)
    );
    // A12: what could not be verified is no success.
    assert_eq!(
        (&envelope["data"]["verified"], &envelope["errors"][0]["code"]),
        (&Value::Null, &json!("approval.unverified"))
    );
    assert!(envelope.to_string().contains("--agent"), "{envelope}");
    has(&envelope["data"], INSPECTED);

    let secret = keyleash::secret::Secret::from_hex(case["input"]["sessionPrivateKey"].as_str().unwrap()).unwrap();
    let data = home.ok(&["inspect", &path, "--agent", &secret.address().to_string()]);
    assert_eq!(data["session_key"], json!(secret.address().to_string()));
    assert_eq!((&data["chain_id"], &data["has_secret"]), (&json!(1), &json!(false)));
    assert_eq!((&data["verified"], &data["family"]), (&json!(true), &json!("kernel-v2")));
}

#[test]
fn a11_an_approval_of_kernel_v3_is_shown_verified_and_not_imported() {
    let home = Home::new();
    let file = vectors("kernel_v3_serialization.json");
    let case = file["cases"]
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["callPermissions"] != json!(0) && c["rootKind"] == "ecdsa" && c["permissionId"].is_string())
        .unwrap();
    let path = home.file("approval", case["json"].as_str().unwrap());
    let outcome = home.run(&["inspect", &path, "--json"]);
    let envelope = outcome.envelope();
    assert_eq!((outcome.exit, &envelope["errors"][0]["code"]), (1, &json!("approval.unverified")));
    let data = &envelope["data"];
    has(data, INSPECTED);
    assert_eq!((&data["family"], &data["verified"]), (&json!("kernel-v3"), &Value::Null));
    assert_eq!((&data["account"], &data["kernel_version"]), (&case["account"], &case["kernelVersion"]));
    assert_eq!((&data["policies"], &data["permission_id"]), (&case["policies"], &case["permissionId"]));
    assert_eq!(data["permissions"].as_array().map(Vec::len), case["callPermissions"].as_u64().map(|n| n as usize));
    let said = format!("{}{}", home.run(&["inspect", &path]).stdout, home.run(&["inspect", &path]).stderr);
    assert!(said.contains("Kernel v3") && said.contains("NOT VERIFIED") && said.contains("session key"), "{said}");
    for wrong in ["damaged", "cut off", "ask its owner", "incomplete"] {
        assert!(!said.contains(wrong), "{said}");
    }
    let message = home.fails(&["agent", "import", &path], 2, "approval.family").to_string();
    assert!(message.contains("Kernel v3") && message.contains("inspect"), "{message}");
    // With its key in it, on a chain that is known: who signed it is found.
    let with_key = file["cases"].as_array().unwrap().iter().find(|c| c["privateKeyIncluded"] == json!(true)).unwrap();
    let path = home.file("with-key", with_key["json"].as_str().unwrap());
    let data = home.ok(&["inspect", &path]);
    assert_eq!((&data["verified"], &data["owner"]), (&json!(true), &with_key["owner"]));
    assert_eq!((&data["chain_id"], &data["nonce"]), (&json!(10), &json!("2")));
    assert_eq!((&data["state"], &data["permission_id"]), (&json!("unknown"), &with_key["permissionId"]));
    assert!(data["risks"].as_array().unwrap().iter().any(|r| r["id"] == "V03" || r["id"] == "V01"), "{data}");
}

#[test]
fn a_text_that_is_no_approval_is_refused_with_the_place() {
    let home = Home::bare();
    let whole = vectors("serialization.json")["v4"][0]["serialized"].as_str().unwrap().to_owned();
    let cut = whole.get(..whole.len() / 2).unwrap();
    for (content, named) in [
        (cut.as_bytes(), "cut off"),
        (b"" as &[u8], "only white space"),
        (b"<html>not found</html>", "foreign character at byte 0"),
        (b"{\"selector\": 1}", "accountAddress"),
        (b"{}", "accountAddress"),
        (b"[]", ""),
    ] {
        let path = home.file("approval", content);
        let error = home.fails(&["inspect", &path], 2, "approval.unreadable");
        assert!(error["message"].as_str().unwrap().contains(named), "{error}");
    }
    let large = home.file("large", vec![b'A'; 10 << 20]);
    home.fails(&["inspect", &large], 2, "file.too_large");
    let piped = home.run_with_input(&["inspect", "-", "--json"], vec![b'A'; 10 << 20]);
    assert_eq!((piped.exit, &piped.envelope()["errors"][0]["code"]), (2, &json!("file.too_large")));
    let binary = home.file("binary", [0xff, 0xfe, 0x00]);
    home.fails(&["inspect", &binary], 2, "file.not_text");
    home.fails(&["inspect", "/does/not/exist"], 1, "file.io");
    home.fails(&["inspect", &large, "--network", "local"], 2, "file.too_large");
    home.fails(&["inspect", &home.file("approval", &whole), "--network", "local"], 2, "home.none");
    home.fails(&["inspect", &home.file("approval", &whole), "--agent", "0x1"], 2, "argument.address");
}

// --- keys --------------------------------------------------------------------------------------------------------------------

#[test]
fn what_is_not_there_is_said_to_be_not_there() {
    let home = Home::new();
    assert_eq!(home.ok(&["key", "ls"]), json!([]));
    assert_eq!(home.ok(&["account", "ls"]), json!([]));
    assert_eq!(home.ok(&["agent", "ls"]), json!([]));
    home.fails(&["key", "show", "mint-bot"], 2, "key.unknown");
    home.fails(&["key", "export", "mint-bot", "--out", "x"], 2, "key.unknown");
    home.fails(&["key", "rm", "mint-bot", "--yes"], 2, "key.unknown");
    home.fails(&["key", "rm", "mint-bot"], 2, "confirm.needed");
    home.fails(&["key", "enable", "mint-bot"], 2, "key.unknown");
    home.fails(&["key", "ls", "treasury"], 2, "account.unknown");
    home.fails(&["send", "mint-bot", "--to", OTHER], 2, "key.unknown");
    home.fails(&["send", "--as-owner", "treasury", "--to", OTHER], 2, "account.unknown");
    home.fails(&["revoke", "treasury", "mint-bot"], 2, "account.unknown");
    home.fails(&["status", &format!("0x{}", "00".repeat(32))], 2, "operation.unknown");
}

#[test]
fn a_call_that_makes_no_sense_is_refused_with_its_argument() {
    let home = Home::new();
    for (args, code, named) in [
        (vec!["--to", "0x12"], "argument.address", "--to"),
        (vec!["--to", OTHER, "--value", "1 usdc"], "argument.amount", "--value"),
        (vec!["--to", OTHER, "--max-cost", "1.5"], "argument.amount", "--max-cost"),
        (vec!["--to", OTHER, "--call", "mint"], "argument.call", "--call"),
        (vec!["--to", OTHER, "--call", "mint(uint8)", "--arg", "256"], "argument.arg", "--call"),
        (vec!["--to", OTHER, "--call", "mint(uint8)"], "argument.arg", "--call"),
        (vec!["--to", OTHER, "--data", "0x123"], "argument.data", "--data"),
        (vec![], "usage", "--to"),
    ] {
        let all: Vec<&str> = ["send", "mint-bot"].into_iter().chain(args).collect();
        let error = home.fails(&all, 2, code);
        assert!(error["message"].as_str().unwrap().contains(named), "{error}");
    }
    let batch = |content: &str, named: &str| {
        let file = home.file("batch.json", content);
        let outcome = home.run(&["send", "mint-bot", "--batch", &file, "--json"]);
        assert!(outcome.exit == 2 && outcome.stdout.contains(named), "{outcome:?}");
    };
    batch("{}", "JSON list");
    batch("[{\"to\": \"0x12\"}]", "[0].to");
    batch(&format!("[{{\"to\": \"{OTHER}\", \"valeu\": 1}}]"), "valeu");
    batch(&format!("[{{\"to\": \"{OTHER}\", \"value\": \"x\"}}]"), "[0].value");
    batch(&format!("[{}]", vec![format!("{{\"to\": \"{OTHER}\"}}"); 257].join(",")), "256");
}

// --- what foreign text may do --------------------------------------------------------------------------------------------------

#[test]
fn escapes_in_arguments_never_reach_the_terminal() {
    let home = Home::new();
    for args in [
        vec![ESCAPES],
        vec!["key", "show", ESCAPES],
        vec!["account", "show", ESCAPES],
        vec!["network", "show", ESCAPES],
        vec!["inspect", ESCAPES],
        vec!["agent", "new", ESCAPES],
        vec!["send", "k", "--to", ESCAPES],
        vec!["send", "k", "--to", OTHER, "--call", ESCAPES],
        vec!["send", "k", "--to", OTHER, "--value", ESCAPES],
        vec!["status", ESCAPES],
        vec!["revoke", ESCAPES, ESCAPES],
        vec!["account", "new", "x", "--owner-address", ESCAPES],
        vec!["account", "new", "x", "--kernel", ESCAPES, "--owner-new"],
        vec!["account", "ls", "--network", ESCAPES],
    ] {
        // What every run must keep is checked where it runs.
        home.run(&args);
        home.run(&with_json(&args)).envelope();
    }
}

#[test]
fn doctor_reports_without_secrets_or_paths_of_addresses() {
    let bare = Home::bare();
    assert_eq!(bare.ok(&["doctor"])["initialized"], false);
    let home = Home::new();
    let data = home.ok(&["doctor"]);
    has(&data, "version os arch initialized vault networks secrets operations_in_flight");
    assert_eq!(
        (&data["vault"], &data["secrets"], &data["operations_in_flight"]),
        (&json!("file"), &json!(0), &json!(0))
    );
    let rpc = data["networks"][0]["rpc"].as_str().unwrap();
    assert!(rpc.starts_with("http://127.0.0.1:") && !rpc.contains("v2") && !rpc.contains('@'), "{rpc}");
}

#[test]
fn a7_a_node_that_is_down_is_a_warning_with_its_cause_wherever_states_are_listed() {
    let home = Home::with_node(&nobody());
    home.ok(&["account", "new", "watched", "--owner-address", OTHER]);
    for command in [&["account", "ls"][..], &["account", "show", "watched"]] {
        let outcome = home.run(&with_json(command));
        let envelope = outcome.envelope();
        assert_eq!(outcome.exit, 0, "{outcome:?}");
        let warning = &envelope["warnings"][0];
        assert!(warning["code"].as_str().is_some_and(|code| code.starts_with("chain.")), "{outcome:?}");
        let message = warning["message"].as_str().unwrap();
        assert!(message.contains("local") && message.contains("127.0.0.1"), "the cause in full: {message}");
        assert!(SECRETS.iter().all(|secret| !outcome.stdout.contains(secret)), "{outcome:?}");
        let plain = home.run(command);
        assert!(plain.stderr.contains(message), "{plain:?}");
    }
}

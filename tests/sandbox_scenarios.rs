//! The life of session keys on the sandbox, through the binary, as a person or a script would have it: what tests/e2e proves on
//! deployed bytecode with a real node and bundler, here on a machine that has only Rust.
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
    collections::BTreeSet,
    fmt::Display,
    fs,
    path::PathBuf,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use alloy::{primitives::Address, sol, sol_types::SolCall};
use keyleash::{
    sandbox::{evm::Request, rpc::Service},
    wallet::sandbox_profile::DEMO,
};
use serde_json::{Value, json};
use tempfile::TempDir;

sol! {
    function balanceOf(address owner) returns (uint256);
}

/// Any contract and any person that nobody has heard of.
const STRANGER: Address = Address::repeat_byte(0x57);

// ---- a home on the sandbox -------------------------------------------------------------------------------------------------

struct Sandbox {
    folder: TempDir,
}

#[derive(Debug)]
struct Outcome {
    exit: i32,
    envelope: Value,
    stderr: String,
}

impl Sandbox {
    /// Set up, with its example accounts and keys.
    fn new() -> Self {
        let this = Self::bare();
        this.ok(&["init", "--sandbox"]);
        this
    }

    /// Not set up yet.
    fn bare() -> Self {
        Self { folder: tempfile::Builder::new().prefix("keyleash-sandbox-").tempdir().expect("a temporary folder") }
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, content).expect("a file in the temporary folder");
        path.to_str().expect("a UTF-8 path").to_owned()
    }

    fn new_path(&self, name: &str) -> String {
        let free = (0..100).map(|n| self.folder.path().join(format!("{name}-{n}"))).find(|p| !p.exists());
        free.expect("a free name").to_str().expect("a UTF-8 path").to_owned()
    }

    fn command<S: AsRef<str>>(&self, args: &[S]) -> Command {
        let mut command = binary();
        command.arg("--home").arg(self.home()).args(["--json", "--yes"]).args(args.iter().map(AsRef::as_ref));
        command
    }

    #[track_caller]
    fn run<S: AsRef<str>>(&self, args: &[S]) -> Outcome {
        Outcome::read(&self.command(args).output().expect("keyleash starts"))
    }

    /// What has to work: `data`.
    #[track_caller]
    fn ok<S: AsRef<str>>(&self, args: &[S]) -> Value {
        self.run(args).exits(0).envelope["data"].take()
    }

    /// What has to be refused: the message.
    #[track_caller]
    fn refused<S: AsRef<str>>(&self, args: &[S], exit: i32, code: &str) -> String {
        let outcome = self.run(args).exits(exit);
        assert_eq!(outcome.code(), code, "{outcome:#?}");
        outcome.envelope["errors"][0]["message"].as_str().expect("a message").to_owned()
    }

    /// A new account whose gas the sponsor pays: its address.
    fn account(&self, name: &str, kernel: &str, deployed: bool) -> Address {
        let made = self.ok(&["account", "new", name, "--owner-new", "--kernel", kernel]);
        assert_eq!(made["deployed"], false, "{made}");
        if deployed {
            let nft = DEMO.nft.to_string();
            self.ok(&[
                "send",
                "--as-owner",
                name,
                "--to",
                &nft,
                "--call",
                "mint(address)",
                "--arg",
                &STRANGER.to_string(),
            ]);
            assert_eq!(self.ok(&["account", "show", name])["deployed"], true);
        }
        text(&made, "address").parse().expect("an address")
    }

    /// Grants a new key what the policy says.
    #[track_caller]
    fn grant(&self, account: &str, policy: &str) -> Value {
        let policy = self.file("policy.toml", policy);
        self.ok(&["grant", account, "--policy", &policy, "--new-key"])
    }

    #[track_caller]
    fn key(&self, account: &str, policy: &str) -> String {
        text(&self.grant(account, policy), "key_id").to_owned()
    }

    #[track_caller]
    fn state(&self, key: &str) -> String {
        text(&self.ok(&["key", "show", key]), "state").to_owned()
    }

    /// How many NFTs somebody has, read from the chain that the home keeps.
    fn minted(&self, owner: Address) -> u64 {
        let kept = fs::read_to_string(self.home().join("data/sandbox.json"))
            .or_else(|_| fs::read_to_string(self.home().join("sandbox.json")))
            .expect("the kept sandbox");
        let (_, chain) = kept.split_once('\n').expect("the revision, and the chain");
        let service = Service::from_json(chain).expect("a readable sandbox");
        let request = Request::to(DEMO.nft, balanceOfCall { owner }.abi_encode());
        let answer = service.chain().call(&request).expect("an answer");
        balanceOfCall::abi_decode_returns(&answer.output).expect("a number").to()
    }
}

fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyleash"));
    command.env_remove("KEYLEASH_HOME").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Outcome {
    #[track_caller]
    fn read(output: &Output) -> Self {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let envelope: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
            panic!("not one JSON object ({e}): {}\n{stderr}", String::from_utf8_lossy(&output.stdout))
        });
        Self { exit: output.status.code().unwrap_or(-1), envelope, stderr }
    }

    #[track_caller]
    fn exits(self, code: i32) -> Self {
        assert_eq!(self.exit, code, "{self:#?}\n{}", self.stderr);
        assert_eq!(self.envelope["success"], code == 0, "{self:#?}");
        self
    }

    fn code(&self) -> &str {
        self.envelope["errors"][0]["code"].as_str().unwrap_or_default()
    }

    fn says_sandbox(&self) -> bool {
        self.envelope["warnings"].as_array().is_some_and(|warnings| {
            warnings
                .iter()
                .any(|w| w["code"] == "sandbox" && w["message"].as_str().is_some_and(|m| m.contains("SANDBOX")))
        })
    }
}

#[track_caller]
fn text<'a>(data: &'a Value, field: &str) -> &'a str {
    data[field].as_str().unwrap_or_else(|| panic!("no text in `{field}` of {data}"))
}

// ---- policies and calls ----------------------------------------------------------------------------------------------------

const WEEK: &str = "valid_until = \"7d\"\npaymaster = \"unrestricted\"\n";

fn policy(label: &str, head: &str, permissions: &str) -> String {
    format!("label = \"{label}\"\n{head}\n{permissions}")
}

fn may_call(target: Address, function: &str) -> String {
    format!("[[permission]]\ntarget = \"{target}\"\nfunction = \"{function}\"\n")
}

fn when(argument: &str, operator: &str, value: impl Display) -> String {
    format!("[[permission.when]]\narg = \"{argument}\"\nop = \"{operator}\"\nvalue = \"{value}\"\n")
}

/// An app session: mint, to one receiver.
fn may_mint(to: Address) -> String {
    may_call(DEMO.nft, "mint(address to)") + &when("to", "eq", to)
}

fn mint_policy(label: &str, to: Address) -> String {
    policy(label, WEEK, &may_mint(to))
}

fn send(key: &str, to: Address, function: &str, arguments: &[&dyn Display]) -> Vec<String> {
    let mut words = ["send", key, "--to", &to.to_string(), "--call", function].map(String::from).to_vec();
    words.extend(arguments.iter().flat_map(|a| ["--arg".to_owned(), a.to_string()]));
    words
}

fn mint(key: &str, to: Address) -> Vec<String> {
    send(key, DEMO.nft, "mint(address)", &[&to])
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs()
}

// ---- from a grant to a revoke ----------------------------------------------------------------------------------------------

/// A key of the owner's and a key of an agent's, single calls and batches, until one of them is taken back.
fn two_keys_live_and_one_is_revoked(kernel: &str, deployed: bool) {
    let sandbox = Sandbox::new();
    let account = sandbox.account("mine", kernel, deployed);

    let granted = sandbox.grant("mine", &mint_policy("minter", account));
    assert_eq!((text(&granted, "state"), text(&granted, "nonce")), ("pending", "1"));
    let minter = text(&granted, "key_id");
    let before = sandbox.minted(account);
    for time in 1..=2 {
        let sent = sandbox.ok(&mint(minter, account));
        assert_eq!(sent["success"], true, "{sent}");
        assert_eq!(sandbox.minted(account), before + time);
        assert_eq!(sandbox.state(minter), "active");
    }
    let shown = sandbox.ok(&["account", "show", "mine"]);
    assert_eq!((shown["deployed"].as_bool(), text(&shown, "kernel_version")), (Some(true), kernel));

    // The agent makes its key; the owner sees no more of it than its address, and the approval carries no secret.
    let made = sandbox.ok(&["agent", "new", "batcher"]);
    let agent = text(&made, "address");
    let rules = sandbox
        .file("batch.toml", &policy("batcher", &format!("selector = \"executeBatch\"\n{WEEK}"), &may_mint(account)));
    let out = sandbox.new_path("approval");
    let granted = sandbox.ok(&["grant", "mine", "--policy", &rules, "--agent", agent, "--out", &out]);
    assert_eq!((text(&granted, "state"), text(&granted, "nonce")), ("pending", "2"));
    let read = sandbox.ok(&["inspect", &out]);
    assert_eq!((read["has_secret"].as_bool(), text(&read, "state")), (Some(false), "pending"), "{read}");
    let one = json!({ "to": DEMO.nft, "call": "mint(address)", "args": [account] });
    let batch = sandbox.file("batch.json", &json!([one, one]).to_string());
    let batch = ["send", agent, "--batch", &batch];
    assert_eq!(sandbox.ok(&batch)["success"], true);
    assert_eq!(sandbox.minted(account), before + 4);

    // An active key is taken back, and can do nothing.
    let revoked = sandbox.ok(&["revoke", "mine", minter]);
    assert_proven(&revoked, minter, "session key not enabled");
    assert_eq!(sandbox.state(minter), "revoked");
    sandbox.refused(&mint(minter, account), 3, "denied.not_enabled");
    assert_eq!(sandbox.ok(&batch)["success"], true, "the other key lives on");
    assert_eq!(sandbox.minted(account), before + 6);
}

/// Every member of a proof, and that its replay is the refusal the key's own approval gets now.
#[track_caller]
fn assert_proven(revoked: &Value, key: &str, refusal: &str) {
    assert_eq!(revoked["success"], true, "{revoked}");
    assert!(text(revoked, "user_op_hash").starts_with("0x"), "{revoked}");
    let plan = revoked["plan"].as_array().expect("a plan");
    assert!(!plan.is_empty() && plan.iter().all(|s| s["call"].is_string() && s["effect"].is_string()), "{revoked}");
    assert!(revoked["also_revokes"].is_array(), "{revoked}");
    let proof = &revoked["proof"];
    assert_eq!(text(proof, "key_id"), key);
    assert!(proof["block"].as_u64().is_some_and(|block| block > 0), "{proof}");
    assert_eq!(proof.get("session_data"), Some(&Value::Null), "the validator holds nothing: {proof}");
    for field in ["last_nonce", "invalid_nonce"] {
        assert!(text(proof, field).parse::<u128>().is_ok(), "{proof}");
    }
    assert!(text(proof, "replay").contains(refusal), "{proof}");
}

#[test]
fn kernel_0_2_4_not_yet_deployed() {
    two_keys_live_and_one_is_revoked("0.2.4", false);
}

#[test]
fn kernel_0_2_4_deployed() {
    two_keys_live_and_one_is_revoked("0.2.4", true);
}

#[test]
fn kernel_0_2_2_not_yet_deployed() {
    two_keys_live_and_one_is_revoked("0.2.2", false);
}

#[test]
fn kernel_0_2_2_deployed() {
    two_keys_live_and_one_is_revoked("0.2.2", true);
}

/// Taking back what was never used burns its turn; the approval behind it lives on.
fn a_pending_key_is_revoked(deployed: bool) {
    let sandbox = Sandbox::new();
    let account = sandbox.account("mine", "0.2.4", deployed);
    let [first, second] = ["first", "second"].map(|label| sandbox.key("mine", &mint_policy(label, account)));
    let looked_at = sandbox.ok(&["revoke", "mine", &first, "--dry-run"]);
    assert!(looked_at["plan"].as_array().is_some_and(|plan| plan.len() == 1), "{looked_at}");
    assert_eq!(sandbox.state(&first), "pending", "only looked at");

    let revoked = sandbox.ok(&["revoke", "mine", &first]);
    assert_proven(&revoked, &first, "invalid nonce");
    assert_eq!(text(&revoked["proof"], "last_nonce"), "1");
    assert_eq!([sandbox.state(&first), sandbox.state(&second)], ["revoked", "pending"]);
    let outcome = sandbox.run(&mint(&first, account)).exits(3);
    assert!(outcome.code().starts_with("denied."), "{outcome:#?}");
    let message = sandbox.refused(&["revoke", "mine", &first], 1, "revoke.nothing");
    assert!(message.contains("revoked already"), "{message}");
    assert_eq!(sandbox.ok(&mint(&second, account))["success"], true);
    assert_eq!(sandbox.minted(account), 1);
}

#[test]
fn a_pending_key_of_a_deployed_account_is_revoked() {
    a_pending_key_is_revoked(true);
}

#[test]
fn a_pending_key_of_an_undeployed_account_is_revoked_in_the_operation_that_deploys() {
    a_pending_key_is_revoked(false);
}

#[test]
fn a_second_approval_waits_for_the_first() {
    let sandbox = Sandbox::new();
    let account = sandbox.account("mine", "0.2.4", false);
    let [first, second] = ["first", "second"].map(|label| sandbox.key("mine", &mint_policy(label, account)));
    let shown = sandbox.ok(&["key", "show", &second]);
    assert_eq!((text(&shown, "state"), text(&shown, "nonce")), ("queued", "2"));
    assert!(text(&shown, "state_reason").contains("first"), "it says for whom: {shown}");
    sandbox.refused(&mint(&second, account), 3, "denied.nonce");
    sandbox.ok(&mint(&first, account));
    assert_eq!(sandbox.state(&second), "pending");
    sandbox.ok(&mint(&second, account));
    assert_eq!(sandbox.minted(account), 2);
}

#[test]
fn the_owner_enables_what_is_signed_without_waiting_for_an_agent() {
    let sandbox = Sandbox::new();
    let account = sandbox.account("mine", "0.2.4", false);
    let [first, second] = ["first", "second"].map(|label| sandbox.key("mine", &mint_policy(label, account)));
    let enabled = sandbox.ok(&["key", "enable", &second, &first]); // in any order
    assert_eq!(enabled["success"], true, "{enabled}");
    assert_eq!([sandbox.state(&first), sandbox.state(&second)], ["active", "active"]);
    sandbox.ok(&mint(&second, account));
    assert_eq!(sandbox.minted(account), 1);
}

#[test]
fn a_policy_for_two_account_functions_gives_two_approvals_in_a_row() {
    let sandbox = Sandbox::new();
    let account = sandbox.account("mine", "0.2.4", true);
    let head = format!("selector = [\"execute\", \"executeBatch\"]\n{WEEK}");
    let granted = sandbox.grant("mine", &policy("both", &head, &may_mint(account)));
    let approvals = granted["approvals"].as_array().expect("a list of approvals");
    let told: Vec<_> = approvals.iter().map(|a| (text(a, "selector"), text(a, "nonce"))).collect();
    assert_eq!(told, [("execute", "1"), ("executeBatch", "2")]);
    let key = text(&granted, "key_id");
    let batch = json!([{ "to": DEMO.nft, "call": "mint(address)", "args": [account] }]);
    let batch = sandbox.file("batch.json", &batch.to_string());
    assert_eq!(sandbox.ok(&mint(key, account))["success"], true);
    assert_eq!(sandbox.ok(&["send", key, "--batch", &batch])["success"], true);
    assert_eq!(sandbox.minted(account), 2);
}

#[test]
fn an_owner_sends_without_any_session_key_and_deploys_the_account_by_it() {
    let sandbox = Sandbox::new();
    let account = sandbox.account("mine", "0.2.4", false);
    let (nft, to) = (DEMO.nft.to_string(), account.to_string());
    let words = ["send", "--as-owner", "mine", "--to", &nft, "--call", "mint(address)", "--arg", &to];
    let planned = sandbox.ok(&[&words[..], &["--dry-run"]].concat());
    assert_eq!(planned["deploys"], true, "{planned}");
    assert_eq!(sandbox.minted(account), 0, "only looked at");
    let sent = sandbox.ok(&words);
    assert_eq!(sent["success"], true, "{sent}");
    assert_eq!(sandbox.ok(&["account", "show", "mine"])["deployed"], true);
    assert_eq!(sandbox.minted(account), 1);
}

#[test]
fn an_operation_is_followed_by_its_hash() {
    let sandbox = Sandbox::new();
    let account = sandbox.account("mine", "0.2.4", false);
    let key = sandbox.key("mine", &mint_policy("minter", account));
    let mut unwatched = mint(&key, account);
    unwatched.push("--no-wait".into());
    let sent = sandbox.ok(&unwatched);
    let found = sandbox.ok(&["status", text(&sent, "user_op_hash")]);
    assert_eq!(found["user_op_hash"], sent["user_op_hash"]);
    assert_eq!(found["success"], true, "{found}");
    assert!(text(&found, "transaction_hash").starts_with("0x") && found["revert_reason"].is_null(), "{found}");
    assert_eq!(sandbox.state(&key), "active");
    let nobody_knows = alloy::primitives::B256::repeat_byte(9).to_string();
    sandbox.refused(&["status", &nobody_knows], 2, "operation.unknown");
}

// ---- broken rules ----------------------------------------------------------------------------------------------------------

#[test]
fn every_broken_rule_is_refused_with_its_reason_and_nothing_is_sent() {
    let sandbox = Sandbox::new();
    let account = sandbox.account("mine", "0.2.4", true);
    let scope = may_mint(account)
        + &may_call(DEMO.token, "mint(address to, uint256 value)")
        + &when("value", "gte", 10)
        + &when("value", "lte", 1000);
    let key = sandbox.key("mine", &policy("narrow", WEEK, &scope));
    let with_value = [mint(&key, account), vec!["--value".into(), "1 wei".into()]].concat();
    let nothing = ["send", &key, "--to", &DEMO.nft.to_string()].map(String::from).to_vec();
    let [nft, token, me, stranger] = [DEMO.nft, DEMO.token, account, STRANGER].map(|a| a.to_string());
    let amount = |value: u64| send(&key, DEMO.token, "mint(address,uint256)", &[&account, &value]);
    let oversteps: [(&str, Vec<String>, &str, Vec<&str>); 7] = [
        ("another contract", send(&key, DEMO.lending, "close()", &[]), "denied.target", vec![&nft]),
        ("another function", send(&key, DEMO.nft, "burn(uint256)", &[&1]), "denied.selector", vec![]),
        ("no data", nothing, "denied.selector", vec![]),
        ("money along with the call", with_value, "denied.value", vec!["1 wei"]),
        ("another receiver", mint(&key, STRANGER), "denied.rule", vec!["to", &me, &stranger]),
        ("below the range", amount(9), "denied.rule", vec!["value", "10", "9"]),
        ("above the range", amount(1001), "denied.rule", vec!["value", "1000", "1001"]),
    ];
    for (what, words, code, names) in oversteps {
        let message = sandbox.refused(&words, 3, code);
        for name in names {
            assert!(message.contains(name), "{what}: expected `{name}` in: {message}");
        }
    }
    let batch = json!([{ "to": token, "call": "mint(address,uint256)", "args": [account, 10] }]);
    let batch = sandbox.file("batch.json", &batch.to_string());
    sandbox.refused(&["send", &key, "--batch", &batch], 3, "denied.selector");
    assert_eq!(sandbox.state(&key), "pending", "nothing was sent");

    // What is inside passes, so the refusals above were about the rules.
    assert_eq!(sandbox.ok(&amount(10))["success"], true);
    assert_eq!(sandbox.ok(&amount(1000))["success"], true);
    assert_eq!(sandbox.ok(&mint(&key, account))["success"], true);
}

#[test]
fn a_call_of_a_batch_that_oversteps_stops_the_batch() {
    let sandbox = Sandbox::new();
    let account = sandbox.account("mine", "0.2.4", true);
    let key =
        sandbox.key("mine", &policy("batcher", &format!("selector = \"executeBatch\"\n{WEEK}"), &may_mint(account)));
    let one = |to| json!({ "to": DEMO.nft, "call": "mint(address)", "args": [to] });
    let batch = sandbox.file("batch.json", &json!([one(account), one(STRANGER)]).to_string());
    let message = sandbox.refused(&["send", &key, "--batch", &batch], 3, "denied.rule");
    assert!(message.contains("call 2") && message.contains(&STRANGER.to_string()), "{message}");
    assert_eq!(sandbox.minted(account), 0);
}

#[test]
fn a_key_ends_when_the_sandbox_says_so() {
    let sandbox = Sandbox::new();
    let account = sandbox.account("mine", "0.2.4", true);
    let head = "valid_until = \"1h\"\npaymaster = \"unrestricted\"\n";
    let key = sandbox.key("mine", &policy("hourly", head, &may_mint(account)));
    assert_eq!(sandbox.ok(&mint(&key, account))["success"], true);
    let before = sandbox.ok(&["key", "show", &key])["as_of"].as_u64().expect("unix seconds");
    let time = sandbox.ok(&["sandbox", "time", "+2h"])["time"].as_u64().expect("unix seconds");
    assert!(time >= before + 2 * 60 * 60, "{before} and {time}");
    sandbox.refused(&mint(&key, account), 3, "denied.expired");
    assert_eq!(sandbox.state(&key), "expired");

    // A key that is given now begins and ends by the sandbox's time.
    let key = sandbox.key("mine", &policy("next", head, &may_mint(account)));
    assert_eq!(sandbox.ok(&mint(&key, account))["success"], true);
    assert_eq!(sandbox.minted(account), 2);
}

#[test]
fn a_key_that_is_not_valid_yet_becomes_so() {
    let sandbox = Sandbox::new();
    let account = sandbox.account("mine", "0.2.4", true);
    let head = format!("valid_after = {}\nvalid_until = \"1h\"\npaymaster = \"unrestricted\"\n", unix_now() + 1800);
    let key = sandbox.key("mine", &policy("later", &head, &may_mint(account)));
    sandbox.refused(&mint(&key, account), 3, "denied.not_yet");
    assert_eq!(sandbox.state(&key), "not-yet");
    // The owner can enable it early; it stays useless until its time.
    sandbox.ok(&["key", "enable", &key]);
    sandbox.refused(&mint(&key, account), 3, "denied.not_yet");
    sandbox.ok(&["sandbox", "time", "+31m"]);
    assert_eq!(sandbox.ok(&mint(&key, account))["success"], true);
}

#[test]
fn run_limits_count_every_use() {
    let sandbox = Sandbox::new();
    let account = sandbox.account("mine", "0.2.4", true);
    let scope = may_call(DEMO.nft, "mint(address to)") + "limit = { runs = 2 }\n";
    let key = sandbox.key("mine", &policy("twice", WEEK, &scope));
    for _ in 0..2 {
        assert_eq!(sandbox.ok(&mint(&key, account))["success"], true);
    }
    sandbox.refused(&mint(&key, account), 3, "denied.runs");
    assert_eq!(sandbox.state(&key), "spent");
    assert_eq!(sandbox.minted(account), 2);
}

#[test]
fn an_interval_keeps_uses_apart_and_runs_come_before_it() {
    let sandbox = Sandbox::new();
    let account = sandbox.account("mine", "0.2.4", true);
    let scope = may_call(DEMO.nft, "mint(address to)") + "limit = { start = \"now\", every = \"1h\", runs = 2 }\n";
    let key = sandbox.key("mine", &policy("hourly", WEEK, &scope));
    assert_eq!(sandbox.ok(&mint(&key, account))["success"], true);
    sandbox.refused(&mint(&key, account), 3, "denied.interval");
    sandbox.ok(&["sandbox", "time", "+61m"]);
    assert_eq!(sandbox.ok(&mint(&key, account))["success"], true);
    // Too early and used up at once: the chain looks at the runs first.
    sandbox.refused(&mint(&key, account), 3, "denied.runs");
    assert_eq!(sandbox.minted(account), 2);
}

#[test]
fn a_pinned_paymaster_is_the_only_one() {
    let sandbox = Sandbox::new();
    let account = sandbox.account("mine", "0.2.4", true);
    let pinned = |to: Address| format!("valid_until = \"7d\"\npaymaster = \"{to}\"\n");
    let sponsored = sandbox.key("mine", &policy("sponsored", &pinned(DEMO.sponsor), &may_mint(account)));
    assert_eq!(sandbox.ok(&mint(&sponsored, account))["success"], true);
    let other = sandbox.key("mine", &policy("elsewhere", &pinned(STRANGER), &may_mint(account)));
    let message = sandbox.refused(&mint(&other, account), 3, "denied.paymaster");
    assert!(message.contains(&STRANGER.to_string()) && message.contains(&DEMO.sponsor.to_string()), "{message}");
    assert_eq!((sandbox.state(&other).as_str(), sandbox.minted(account)), ("pending", 1));
}

#[test]
fn a_call_that_would_revert_is_found_out_before_it_is_sent() {
    let sandbox = Sandbox::new();
    sandbox.account("mine", "0.2.4", true);
    let key = sandbox.key("mine", &policy("watcher", WEEK, &may_call(DEMO.lending, "closeIfAtRisk()")));
    // The guard stands in the target: a healthy position is not closed.
    let message = sandbox.refused(&send(&key, DEMO.lending, "closeIfAtRisk()", &[]), 1, "call.reverts");
    assert!(message.contains("position is healthy"), "{message}");
    assert_eq!(sandbox.state(&key), "pending", "nothing was sent");
}

// ---- approvals as files ----------------------------------------------------------------------------------------------------

#[test]
fn a_call_that_sends_more_than_the_account_has_says_what_is_missing() {
    let sandbox = Sandbox::new();
    let too_much = [json!({ "to": STRANGER, "value": "1eth" }), json!({ "to": STRANGER, "value": "1 eth" })];
    let batch = sandbox.file("batch.json", &json!(too_much).to_string());
    let to = STRANGER.to_string();
    for arguments in [vec!["--to", &to, "--value", "2eth"], vec!["--batch", &batch]] {
        let refused = sandbox.run(&[vec!["send", "--as-owner", "treasury"], arguments].concat()).exits(1);
        assert_eq!(refused.code(), "funds.insufficient", "{refused:#?}");
        let error = &refused.envelope["errors"][0];
        let (message, hint) = (error["message"].as_str().unwrap(), error["hint"].as_str().unwrap());
        assert!(message.contains("sends 2 ETH") && message.contains("has 1.5 ETH"), "{message}");
        assert!(hint.starts_with("0.5 ETH"), "{hint}");
    }
}

#[test]
fn a_preview_tells_functions_and_arguments() {
    let sandbox = Sandbox::new();
    let treasury = sandbox.ok(&["account", "show", "treasury"]);
    let to = treasury["address"].as_str().unwrap();
    let plan = sandbox.ok(&[mint("mint-bot", to.parse().unwrap()), vec!["--dry-run".into()]].concat());
    assert_eq!(plan["calls"], json!([format!("calls {}: mint(to = {to}), with 0 ETH", DEMO.nft)]));
}

#[test]
fn a_second_key_of_the_same_name_is_given_with_a_word_on_how_to_tell_them_apart() {
    let sandbox = Sandbox::new();
    let first = text(&sandbox.ok(&["key", "show", "event-bot"]), "key_id").to_owned();
    let policy = sandbox.file("policy.toml", &mint_policy("event-bot", STRANGER));
    let granted = sandbox.run(&["grant", "treasury", "--policy", &policy, "--new-key"]).exits(0);
    let warnings = granted.envelope["warnings"].to_string();
    assert!(warnings.contains("another key is called event-bot already") && warnings.contains(&first), "{warnings}");
    sandbox.refused(&["key", "show", "event-bot"], 2, "key.ambiguous");
}

#[test]
fn an_exported_approval_says_what_it_allows_in_both_formats() {
    let sandbox = Sandbox::new();
    let account = sandbox.account("mine", "0.2.4", false);
    let owner = text(&sandbox.ok(&["account", "show", "mine"]), "owner").to_owned();
    let granted = sandbox.grant("mine", &mint_policy("minter", account));
    let key = text(&granted, "key_id");
    let session_key = text(&granted, "session_key");
    let nowhere = Sandbox::bare();
    for format in ["v4", "v5"] {
        let out = sandbox.new_path("export");
        sandbox.ok(&["key", "export", key, "--out", &out, "--format", format, "--with-secret"]);
        let read = sandbox.ok(&["inspect", &out]);
        assert_eq!(text(&read, "format"), format);
        assert_eq!(text(&read, "account"), account.to_string());
        assert_eq!((text(&read, "session_key"), text(&read, "owner")), (session_key, owner.as_str()), "{read}");
        assert_eq!((read["has_secret"].as_bool(), text(&read, "state")), (Some(true), "pending"), "{read}");
        assert_eq!(text(&read, "nonce"), "1");
        // The text carries no ABI: what it allows is told by contract, selector and words.
        let sentences = read["sentences"].to_string().to_lowercase();
        for part in [DEMO.nft, account].map(alloy::hex::encode) {
            assert!(sentences.contains(&part), "{read}");
        }
        assert_eq!(read["permissions"][0]["target"], DEMO.nft.to_string());

        // Without a home nobody can be asked whether it still can be used.
        let outcome = nowhere.run(&["inspect", &out]).exits(0);
        assert_eq!(text(&outcome.envelope["data"], "state"), "unknown");
        assert!(!outcome.says_sandbox(), "nothing of a sandbox in it: {outcome:#?}");
    }
    let out = sandbox.new_path("export");
    sandbox.ok(&["key", "export", key, "--out", &out]);
    sandbox.ok(&["revoke", "mine", key]);
    assert_eq!(text(&sandbox.ok(&["inspect", &out, "--agent", session_key]), "state"), "dead");
}

// ---- processes -------------------------------------------------------------------------------------------------------------

#[test]
fn processes_that_grant_at_once_never_share_a_nonce() {
    let sandbox = Sandbox::new();
    let account = sandbox.account("mine", "0.2.4", false);
    let nonces: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = (0..3)
            .map(|n| {
                let sandbox = &sandbox;
                let file = sandbox.file(&format!("policy-{n}.toml"), &mint_policy(&format!("bot-{n}"), account));
                scope.spawn(move || {
                    // Losing a race is said, and nothing was signed: a script tries again.
                    for _ in 0..20 {
                        let outcome = sandbox.run(&["grant", "mine", "--policy", &file, "--new-key"]);
                        if outcome.exit == 0 {
                            return text(&outcome.envelope["data"], "nonce").to_owned();
                        }
                        assert_eq!(outcome.code(), "grant.stale", "{outcome:#?}");
                    }
                    panic!("bot-{n} lost every race");
                })
            })
            .collect();
        workers.into_iter().map(|w| w.join().expect("a grant")).collect()
    });
    let different: BTreeSet<&str> = nonces.iter().map(String::as_str).collect();
    assert_eq!(different, BTreeSet::from(["1", "2", "3"]));
    assert_eq!(sandbox.ok(&["key", "ls", "mine"]).as_array().map(Vec::len), Some(3));
}

#[test]
fn a_grant_that_is_killed_loses_no_approval_and_shares_no_nonce() {
    let sandbox = Sandbox::new();
    let account = sandbox.account("mine", "0.2.4", false);
    let file = sandbox.file("policy.toml", &mint_policy("bot", account));
    let args = ["grant", "mine", "--policy", &file, "--new-key"];
    let mut told = 0;
    for round in 0..8u64 {
        let mut child = sandbox.command(&args).spawn().expect("keyleash starts");
        thread::sleep(Duration::from_millis(round * round * 10));
        child.kill().expect("SIGKILL");
        let output = child.wait_with_output().expect("it ended");
        // What was reported before the end has to be on record.
        told += usize::from(serde_json::from_slice::<Value>(&output.stdout).is_ok_and(|e| e["success"] == true));
    }
    let last = sandbox.ok(&args);
    let keys = sandbox.ok(&["key", "ls", "mine"]);
    let keys = keys.as_array().expect("a list");
    let nonces: BTreeSet<u64> = keys.iter().map(|k| text(k, "nonce").parse().expect("a number")).collect();
    assert_eq!(nonces.len(), keys.len(), "no nonce twice: {keys:?}");
    assert!(keys.len() > told, "{told} grants were reported, and one more at the end");
    assert_eq!(nonces.last().map(u64::to_string).as_deref(), Some(text(&last, "nonce")));
    assert_eq!(nonces.last().copied(), Some(keys.len() as u64), "and none left out");
}

// ---- what only a sandbox can do, and what it never does --------------------------------------------------------------------

#[test]
fn a_new_sandbox_has_keys_in_different_states() {
    let sandbox = Sandbox::new();
    let keys = sandbox.ok(&["key", "ls"]);
    let states: BTreeSet<&str> = keys.as_array().expect("a list").iter().map(|k| text(k, "state")).collect();
    assert_eq!(states, BTreeSet::from(["active", "pending", "queued", "revoked"]));
    let deployed: BTreeSet<bool> = sandbox
        .ok(&["account", "ls"])
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|a| a["deployed"].as_bool())
        .collect();
    assert_eq!(deployed, BTreeSet::from([false, true]));
    assert_eq!(sandbox.ok(&["network", "check", "sandbox"])["ok"], true);
    sandbox.refused(&["init", "--sandbox"], 1, "home.exists");
}

/// Killed anywhere on its way: there is a whole sandbox or none, and the next try makes one.
#[test]
fn a_sandbox_whose_making_is_killed_is_made_anew() {
    // What the program has done by then; the last is there only when all is done.
    for step in ["sandbox.making", "records.db", "vault/index.json", "sandbox.json", "config.toml"] {
        let sandbox = Sandbox::bare();
        let mut making = sandbox.command(&["init", "--sandbox"]);
        let mut child = making.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("keyleash starts");
        while !sandbox.home().join(step).exists() && child.try_wait().expect("a child").is_none() {
            thread::sleep(Duration::from_millis(1));
        }
        let _ = child.kill();
        child.wait().expect("an end");
        if !sandbox.home().join("config.toml").exists() {
            assert_eq!(sandbox.run(&["key", "ls"]).exits(1).code(), "home.none");
            sandbox.ok(&["init", "--sandbox"]);
        }
        assert_eq!(sandbox.ok(&["key", "ls"]).as_array().expect("a list").len(), 6, "killed at {step}");
    }
}

#[test]
fn a_panic_stops_every_key_and_lifting_it_ends_all_but_the_kept_one() {
    let sandbox = Sandbox::new();
    let treasury = text(&sandbox.ok(&["account", "show", "treasury"]), "address").parse().expect("an address");
    let mint_bot = || sandbox.run(&mint("mint-bot", treasury));
    mint_bot().exits(0);
    let stopped = sandbox.ok(&["revoke", "treasury", "--panic"]);
    assert_eq!(stopped["paused"]["disabled_mode"], u32::MAX, "{stopped}");
    assert_eq!([sandbox.state("mint-bot"), sandbox.state("watcher")], ["paused", "paused"]);
    mint_bot().exits(3);

    let lifted = sandbox.ok(&["revoke", "treasury", "--lift-panic", "--keep", "mint-bot"]);
    assert_eq!(lifted["proofs"].as_array().map(Vec::len), Some(3), "{lifted}");
    mint_bot().exits(0);
    for ended in ["rebalancer", "watcher", "event-bot"] {
        assert_eq!(sandbox.state(ended), "revoked");
    }
    let all = sandbox.ok(&["revoke", "treasury", "--all"]);
    // A sweep leaves the data where it is, under a turn that does not count any more.
    assert!(text(&all["proof"], "replay").contains("session key not enabled"), "{all}");
    assert_eq!(sandbox.state("mint-bot"), "revoked");
    // The proof stays with the key.
    assert_eq!(sandbox.ok(&["key", "show", "mint-bot"])["proofs"][0], all["proof"]);
    sandbox.refused(&["revoke", "treasury", "--all"], 1, "revoke.nothing");
}

#[test]
fn a_reset_begins_anew() {
    let sandbox = Sandbox::new();
    let account = sandbox.account("mine", "0.2.4", true);
    let key = sandbox.key("mine", &mint_policy("minter", account));
    sandbox.ok(&mint(&key, account));
    let treasury = sandbox.ok(&["account", "show", "treasury"]);
    sandbox.ok(&["sandbox", "time", "+30d"]);

    assert_eq!(sandbox.ok(&["sandbox", "reset"])["reset"], true);
    assert_eq!(sandbox.minted(account), 0);
    assert_eq!(sandbox.run(&["account", "show", "mine"]).exit, 2, "it is forgotten");
    assert_eq!(sandbox.run(&["key", "show", &key]).exit, 2, "it is forgotten");
    let anew = sandbox.ok(&["account", "show", "treasury"]);
    assert_ne!(anew["owner"], treasury["owner"], "owners are fresh random keys");
    let as_of = sandbox.ok(&["key", "show", "mint-bot"])["as_of"].as_u64().expect("unix seconds");
    assert!(as_of.abs_diff(unix_now()) < 600, "its time is today again: {as_of}");
}

#[test]
fn a_reset_is_not_done_unasked() {
    let sandbox = Sandbox::new();
    let output = binary().arg("--home").arg(sandbox.home()).args(["--json", "sandbox", "reset"]).output();
    let outcome = Outcome::read(&output.expect("keyleash starts")).exits(2);
    assert_eq!(outcome.code(), "confirm.needed");
    assert_eq!(sandbox.state("mint-bot"), "active");
}

#[test]
fn a_sandbox_knows_no_live_network_and_a_live_home_no_sandbox() {
    let sandbox = Sandbox::new();
    let add = |chain: &'static str| ["network", "add", "live", "--chain-id", chain, "--rpc", "http://127.0.0.1:9"];
    sandbox.refused(&add("1"), 1, "sandbox.closed");
    assert_eq!(sandbox.ok(&["network", "ls"]).as_array().map(Vec::len), Some(1));

    let live = Sandbox::bare();
    assert!(!live.run(&["init", "--vault", "file"]).exits(0).says_sandbox());
    live.refused(&["sandbox", "time", "+1h"], 2, "sandbox.only");
    live.refused(&["sandbox", "reset"], 2, "sandbox.only");
    live.refused(&["init", "--sandbox"], 1, "home.exists");
    let chain_id = keyleash::sandbox::CHAIN_ID.to_string();
    live.refused(
        &["network", "add", "play", "--chain-id", &chain_id, "--rpc", "http://127.0.0.1:9"],
        2,
        "network.chain_id",
    );
    live.refused(&["network", "add", "play", "--chain-id", "1", "--rpc", "sandbox:"], 2, "network.url");
    live.ok(&add("1"));
    assert!(!live.run(&["network", "ls"]).exits(0).says_sandbox());
}

#[test]
fn a_sandbox_always_says_that_it_is_one() {
    let sandbox = Sandbox::bare();
    let chains: [&[&str]; 10] = [
        &["init", "--sandbox"],
        &["account", "ls"],
        &["key", "ls"],
        &["key", "show", "mint-bot"],
        &["network", "ls"],
        &["vault", "ls"],
        &["agent", "ls"],
        &["doctor"],
        &["sandbox", "time", "+1m"],
        &["sandbox", "reset"],
    ];
    for words in chains {
        let outcome = sandbox.run(words).exits(0);
        assert!(outcome.says_sandbox(), "{words:?}: {outcome:#?}");
    }
    let refused = sandbox.run(&mint("mint-bot", STRANGER)).exits(3);
    assert!(refused.says_sandbox(), "also when it fails: {refused:#?}");
    // In plain text as well, apart from the result.
    for words in [["key", "ls"], ["account", "ls"]] {
        let output = binary().arg("--home").arg(sandbox.home()).args(words).output().expect("keyleash starts");
        assert!(output.status.success() && String::from_utf8_lossy(&output.stderr).contains("SANDBOX"), "{output:?}");
    }
}

// ---- the demo --------------------------------------------------------------------------------------------------------------

/// What each step of the story is refused with, if it is.
#[track_caller]
fn assert_whole_story(output: &Output) {
    let outcome = Outcome::read(output).exits(0);
    assert!(outcome.says_sandbox(), "{outcome:#?}");
    let steps = outcome.envelope["data"]["steps"].as_array().expect("the steps");
    assert!(steps.iter().all(|s| s["title"].is_string() && s["lines"].is_array()), "{outcome:#?}");
    let refused: Vec<Option<&str>> = steps.iter().map(|s| s["refused"].as_str()).collect();
    let (denied, fine) = (Some, None);
    assert_eq!(
        refused,
        [
            fine, // an owner and an account
            fine, // an agent's key
            fine, // an approval
            fine, // its first use
            fine, // inside the scope
            denied("denied.target"),
            denied("denied.selector"),
            denied("denied.rule"),
            denied("denied.value"),
            denied("denied.not_enabled"), // a batch
            fine,                         // with an approval of its own
            fine,                         // a key for one hour
            fine,                         // two hours pass
            denied("denied.expired"),
            fine, // an active key is taken back
            denied("denied.not_enabled"),
            fine, // a key that was never used
            fine, // is taken back
            denied("denied.not_enabled"),
        ],
        "{outcome:#?}"
    );
}

#[test]
fn the_demo_tells_the_whole_story_and_leaves_nothing() {
    let folder = Sandbox::bare();
    let output = binary().args(["demo", "--json"]).env("TMPDIR", folder.folder.path()).output();
    assert_whole_story(&output.expect("keyleash starts"));
    assert_eq!(fs::read_dir(folder.folder.path()).expect("the folder").count(), 0, "its own folder is gone");
}

#[test]
fn the_demo_is_readable_without_json() {
    let output = binary().arg("demo").output().expect("keyleash starts");
    let (said, talk) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{talk}");
    for part in [" 1. ", "19. ", "[refused: denied.target]", "[refused: denied.expired]", "proof: "] {
        assert!(said.contains(part), "expected `{part}` in:\n{said}");
    }
    assert!(talk.contains("SANDBOX"), "{talk}");
}

#[test]
fn the_demo_needs_no_network() {
    let possible = |flag: &&str| {
        let quiet = Command::new("unshare").args([flag, "true"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        quiet.is_ok_and(|status| status.success())
    };
    let Some(flag) = ["-n", "-rn"].into_iter().find(|flag| possible(flag)) else {
        say("skipped: the network cannot be cut off here (unshare)");
        return;
    };
    let output = Command::new("unshare")
        .args([flag, env!("CARGO_BIN_EXE_keyleash"), "demo", "--json"])
        .env_remove("KEYLEASH_HOME")
        .stdin(Stdio::null())
        .output();
    assert_whole_story(&output.expect("unshare starts"));
}

/// A line that stays in sight: cargo hides what print macros write in a test that passes.
fn say(line: &str) {
    use std::io::Write as _;
    let _ = std::io::stderr().lock().write_all(format!("\n{line}\n").as_bytes());
}

// ---- keys that only the chain knows ------------------------------------------------------------------------------------------

#[test]
fn another_home_recovers_keys_from_the_chain_names_them_and_takes_them_back() {
    /// anvil's well-known account 0.
    const OWNER_KEY: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
    let sandbox = Sandbox::new();
    let owner = sandbox.file("owner.key", OWNER_KEY);
    let made = sandbox.ok(&["account", "new", "mine", "--owner-key-file", &owner]);
    let account: Address = text(&made, "address").parse().expect("an address");
    let minter = sandbox.key("mine", &mint_policy("minter", account));
    let two = policy("two", WEEK, &(may_mint(account) + &may_call(DEMO.token, "mint(address to, uint256 amount)")));
    let two = sandbox.key("mine", &two);
    sandbox.ok(&mint(&minter, account));
    sandbox.ok(&mint(&minter, account));
    sandbox.ok(&mint(&two, account));
    assert_eq!(
        sandbox.ok(&["key", "scan", "mine"])["keys"].as_array().map(Vec::len),
        Some(2),
        "both are on record here"
    );

    // A home that knows the chain and the owner, and none of the keys.
    let other = Sandbox::new();
    let kept = |of: &Sandbox| {
        let places = ["data/sandbox.json", "sandbox.json"].map(|name| of.home().join(name));
        places.into_iter().find(|place| place.exists()).expect("the kept sandbox")
    };
    fs::copy(kept(&sandbox), kept(&other)).expect("the same chain");
    let owner = other.file("owner.key", OWNER_KEY);
    let added = ["account", "add", "found", "--address", &account.to_string(), "--owner-key-file", &owner];
    other.ok(&added);
    let scan = other.ok(&["key", "scan", "found"]);
    assert_eq!((scan["complete"].as_bool(), scan["operations"].as_u64()), (Some(true), Some(3)), "{scan}");
    let keys = scan["keys"].as_array().expect("keys");
    assert_eq!(keys.len(), 2);
    for (key, (uses, scope_known)) in keys.iter().zip([(2, true), (1, false)]) {
        assert_eq!((key["uses"].as_u64(), key["known"].as_bool()), (Some(uses), Some(false)), "{key}");
        assert_eq!((text(key, "state"), key["scope_known"].as_bool()), ("active", Some(scope_known)), "{key}");
        assert!(text(key, "label").starts_with("unknown-") && key["last_use"]["time"].is_u64(), "{key}");
        assert_eq!(key["turns"][0]["enabled_by"], "holder");
    }
    let id = text(&keys[0], "key_id");
    assert_eq!(text(&other.ok(&["key", "name", id, "mint bot"]), "label"), "mint bot");
    assert_eq!(text(&other.ok(&["key", "show", "mint bot"]), "key_id"), id);
    other.refused(&["key", "rm", "mint bot"], 1, "key.on_chain");

    let revoked = other.ok(&["revoke", "found", "mint bot"]);
    assert_proven(&revoked, id, "session key not enabled");
    let scan = other.ok(&["key", "scan", "found"]);
    let states: Vec<&str> = scan["keys"].as_array().expect("keys").iter().map(|k| text(k, "state")).collect();
    assert_eq!((states, scan["complete"].as_bool()), (vec!["revoked", "active"], Some(true)));
    // Also one whose scope is known only in part.
    let id = text(&keys[1], "key_id");
    assert_proven(&other.ok(&["revoke", "found", id]), id, "session key not enabled");
}

//! Records that an earlier keyleash made open, list and revoke for ever: tests/fixtures/home-2026-11-22, and the chain it belongs to.
//!
//! [`makes_the_home_of_22_november`] made it, once, with the binary of that day. Its chain is replayed from signed transactions on a
//! fresh node, so that the keys have the states that they had.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use alloy::{
    primitives::{Address, U256},
    sol_types::SolCall,
};
use keyleash::{
    protocol::kernel_v2::{
        blob,
        generation::{ECDSA_VALIDATOR, Generation, KernelVersion},
        signature::{Mode, Shown},
    },
    secret::Secret,
};
use serde_json::{Value, json};

use crate::support::{
    World,
    account::{TestAccount, permission, scope},
    bundler::Bundler,
    chain::{BUNDLER_UTILITY, Chain, DEPLOYER, ETHER, development_signer, parse, tickCall},
    keyleash::{Keyleash, text},
    operation::{execute, sign_as_session, unsigned},
    paymaster::PaymasterService,
    policy::{may_call, policy_with},
    world,
};

/// Where it is checked in.
fn fixture() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/home-2026-11-22")
}

fn number(value: &Value) -> u64 {
    parse::<U256>(value.clone()).to()
}

/// What happened on a chain after `first`, so that it can happen again on another.
fn recorded(chain: &Chain, first: u64, start: &Value) -> Value {
    let last = number(&chain.rpc("eth_blockNumber", json!([])));
    let utility = development_signer(BUNDLER_UTILITY).address();
    let blocks: Vec<Value> = (first + 1..=last)
        .map(|n| {
            let block = chain.rpc("eth_getBlockByNumber", json!([U256::from(n), true]));
            let transactions = block["transactions"].as_array().expect("transactions");
            let raw: Vec<Value> = transactions
                .iter()
                .filter(|t| parse::<Address>(t["from"].clone()) != utility)
                .map(|t| chain.rpc("debug_getRawTransaction", json!([t["hash"]])))
                .collect();
            json!({ "timestamp": number(&block["timestamp"]), "base_fee": block["baseFeePerGas"], "transactions": raw })
        })
        .collect();
    json!({ "start": start, "blocks": blocks })
}

/// The chain of the fixture, on a fresh node.
pub fn replayed() -> Chain {
    let record: Value =
        serde_json::from_slice(&fs::read(fixture().join("chain.json")).expect("chain.json")).expect("JSON");
    let chain = Chain::with_deployments(record["start"]["timestamp"].as_u64());
    for (address, account) in record["start"]["accounts"].as_object().expect("accounts") {
        chain.rpc("anvil_setNonce", json!([address, account["nonce"]]));
        chain.rpc("anvil_setBalance", json!([address, account["balance"]]));
    }
    chain.rpc("evm_setAutomine", json!([false]));
    for block in record["blocks"].as_array().expect("blocks") {
        chain.rpc("evm_setNextBlockTimestamp", json!([block["timestamp"]]));
        chain.rpc("anvil_setNextBlockBaseFeePerGas", json!([block["base_fee"]]));
        let hashes: Vec<Value> = block["transactions"]
            .as_array()
            .expect("transactions")
            .iter()
            .map(|raw| chain.rpc("eth_sendRawTransaction", json!([raw])))
            .collect();
        chain.mine();
        for hash in hashes {
            let receipt = chain.rpc("eth_getTransactionReceipt", json!([hash]));
            assert_eq!(receipt["status"], "0x1", "a transaction of {} failed: {receipt}", block["timestamp"]);
        }
    }
    chain.rpc("evm_setAutomine", json!([true]));
    chain
}

/// A copy of the fixture's home, on that chain.
pub fn home_on(chain: &Chain) -> Keyleash {
    let home = Keyleash::bare();
    copy(&fixture().join("home"), &home.path("home"));
    let network = |name: &str| format!("[network.{name}]\nchain_id = 31337\nrpc = \"{}\"\n", chain.url);
    let config = format!("vault = \"file\"\n\n{}\n{}", network("local"), network("main2"));
    fs::write(home.path("home/config.toml"), config).expect("config.toml");
    home
}

/// What each key of the fixture is, by label: with what it would be called on its own chain.
const STATES: [(&str, &str); 18] = [
    ("active", "active"),
    ("not-yet", "not-yet"),
    ("expiring", "expiring"),
    ("expired", "expired"),
    ("revoked", "revoked"),
    ("dead", "dead"),
    ("unknown-89b97eb6", "active"),
    ("pending", "pending"),
    ("queued", "queued"),
    ("draft", "draft"),
    ("imported", "queued"),
    ("twin", "pending"),
    ("same", "pending"),
    ("stale", "stale"),
    ("first use deploys", "pending"),
    ("paused", "paused"),
    ("hidden", "pending"),
    ("spent", "spent"),
];

#[test]
fn records_of_22_november_open_and_every_key_has_its_state() {
    if world().is_none() {
        return;
    }
    let chain = replayed();
    let home = home_on(&chain);
    let keys = home.ok(&["key", "ls"]);
    let keys = keys.as_array().expect("keys");
    assert_eq!(keys.len(), 19, "{keys:#?}");
    for (label, state) in STATES {
        let shown = home.ok(&["key", "show", label]);
        assert_eq!(text(&shown, "state"), state, "{label}: {shown}");
        let listed = keys.iter().find(|k| k["label"] == label).unwrap_or_else(|| panic!("no {label} in the list"));
        assert_eq!(listed["key_id"], shown["key_id"], "{label}");
        assert!(!shown["sentences"].as_array().expect("sentences").is_empty(), "{label}");
    }
    for account in ["treasury", "treasury-again", "second", "second-again", "handed-over", "fresh", "stopped"] {
        let shown = home.ok(&["account", "show", account]);
        assert_eq!(shown["deployed"], account != "fresh", "{account}: {shown}");
    }
    assert_eq!(home.ok(&["account", "ls"]).as_array().map(Vec::len), Some(7), "`gone` stays off the list");
    assert_eq!(home.ok(&["agent", "ls"]).as_array().map(Vec::len), Some(1));
}

#[test]
fn records_of_22_november_revoke() {
    if world().is_none() {
        return;
    }
    let chain = replayed();
    let home = home_on(&chain);
    for (account, keys) in
        [("treasury", &["active", "pending", "queued", "not-yet", "spent"][..]), ("second", &["same"])]
    {
        let revoked = home.ok(&["revoke", account, "--all", "--via", "owner"]);
        assert_eq!(revoked["success"], true, "{revoked}");
        for key in keys {
            assert_eq!(text(&home.ok(&["key", "show", key]), "state"), "revoked", "{key}");
        }
    }
}

/// Run once, with the binary of the day: `cargo test --test e2e makes_the_home -- --ignored`.
#[test]
#[ignore = "made the fixture once; the records of today's binary are not those of 22 November"]
fn makes_the_home_of_22_november() {
    let mut chain = Chain::with_deployments(None);
    let first = number(&chain.rpc("eth_blockNumber", json!([])));
    let mut accounts = serde_json::Map::new();
    for position in 0..10 {
        let address = development_signer(position).address();
        let nonce = chain.rpc("eth_getTransactionCount", json!([address, "latest"]));
        accounts.insert(address.to_string(), json!({ "nonce": nonce, "balance": U256::from(10_000 * ETHER) }));
    }
    let start = chain.now() - first;
    chain.deploy_targets();
    chain.deploy_paymaster();
    let bundler = Bundler::start(&chain);
    let paymaster = PaymasterService::start(&chain, &bundler);
    let world = &World { chain, bundler, paymaster };
    let board = world.chain.targets.board;

    let home = Keyleash::bare();
    home.ok(&["init", "--vault", "file"]);
    for name in ["local", "main2"] {
        let (rpc, bundler) = (&world.chain.url, &world.bundler.url);
        home.ok(&["network", "add", name, "--chain-id", "31337", "--rpc", rpc, "--bundler", bundler]);
    }
    let treasury = TestAccount::deployed(world, KernelVersion::V0_2_4);
    let fresh = TestAccount::counterfactual(world, KernelVersion::V0_2_3);
    let paused = TestAccount::deployed(world, KernelVersion::V0_2_2);
    let handed_over = TestAccount::deployed(world, KernelVersion::V0_2_3);
    let second = TestAccount::deployed(world, KernelVersion::V0_2_4);
    let gone = TestAccount::deployed(world, KernelVersion::V0_2_4);
    for account in [&treasury, &fresh, &paused, &handed_over, &second, &gone] {
        accounts.insert(account.address.to_string(), json!({ "nonce": "0x0", "balance": U256::from(10 * ETHER) }));
    }
    let adopt = |name: &str, network: &str, account: &TestAccount| {
        let key = home.file("owner.key", account.owner_key());
        let address = account.address.to_string();
        home.ok(&["account", "add", name, "--network", network, "--address", &address, "--owner-key-file", &key]);
    };
    let grant = |account: &str, policy: &str, more: &[&str]| {
        let policy = home.file("policy.toml", policy);
        let holder: &[&str] = if more.contains(&"--agent") { &[] } else { &["--new-key"] };
        let data = home.ok(&[&["grant", account, "--policy", &policy], holder, more].concat());
        text(&data, "key_id").to_owned()
    };
    let tick = may_call(board, "tick()");
    let until =
        |label: &str, window: &str| policy_with(label, &format!("{window}\npaymaster = \"unrestricted\""), &tick);
    let to = board.to_string();
    let used = |key: &str| {
        home.ok(&["send", key, "--to", &to, "--call", "tick()"]);
    };

    adopt("treasury", "local", &treasury);
    let month = |label: &str| until(label, "valid_until = \"30d\"");
    // In the order of their nonces, 1 to 12.
    used(&grant("treasury", &month("active"), &[]));
    used(&grant(
        "treasury",
        &policy_with(
            "spent",
            "valid_until = \"30d\"\npaymaster = \"unrestricted\"",
            &(tick.clone() + "limit = { runs = 1 }\n"),
        ),
        &[],
    ));
    home.ok(&[
        "key",
        "enable",
        &grant("treasury", &until("not-yet", "valid_after = \"2027-01-01T00:00:00Z\"\nvalid_until = \"30d\""), &[]),
    ]);
    home.ok(&["key", "enable", &grant("treasury", &until("expiring", "valid_until = \"12h\""), &[])]);
    home.ok(&["key", "enable", &grant("treasury", &until("expired", "valid_until = \"1h\""), &[])]);
    let revoked = grant("treasury", &month("revoked"), &[]);
    used(&revoked);
    home.ok(&["revoke", "treasury", &revoked]);
    let dead = grant("treasury", &month("dead"), &[]);
    used(&dead);
    let address = text(&home.ok(&["key", "show", &dead]), "session_key").parse::<Address>().expect("an address");
    let (g2, disabled) = (Generation::G2.address().to_string(), address.to_string());
    home.ok(&["send", "--as-owner", "treasury", "--to", &g2, "--call", "disable(bytes)", "--arg", &disabled]);
    // Made by another tool, and enabled by its holder.
    let foreign = treasury.grant(world, scope(vec![permission(board, tickCall::SELECTOR)]));
    let mut op = unsigned(world, &treasury, &execute(board, &tickCall {}));
    sign_as_session(&mut op, &foreign, Mode::Enable, Shown::One(0));
    world.chain.handle_op((&op).into());
    home.ok(&["key", "scan", "treasury"]);
    grant("treasury", &month("pending"), &[]);
    grant(
        "treasury",
        &policy_with(
            "queued",
            "selector = [\"execute\", \"executeBatch\"]\nvalid_until = \"30d\"\npaymaster = \"unrestricted\"",
            &tick,
        ),
        &[],
    );
    let out = home.new_path("draft");
    grant("treasury", &month("draft"), &["--unsigned", "--out", &out]);
    let wanted = scope(vec![permission(board, tickCall::SELECTOR)]);
    let imported = treasury.grant_with(world, wanted.clone(), |request| request.enable.nonce = 13);
    let secret = Secret::from_bytes(&mut imported.key.to_bytes().0).expect("a private key");
    let approval = blob::write(&imported.approval, &wanted, None, keyleash::protocol::Format::V4, Some(&secret))
        .expect("an approval");
    let file = home.file("approval", &approval);
    home.ok(&["agent", "import", &file, "--network", "local", "--label", "imported"]);
    let removed = grant("treasury", &month("removed draft"), &["--unsigned", "--out", &home.new_path("draft")]);
    home.ok(&["key", "rm", &removed]);

    // The same account under another name of the same chain: this keyleash took the nonces from the start.
    adopt("treasury-again", "main2", &treasury);
    grant("treasury-again", &month("twin"), &[]);
    let agent = text(&home.ok(&["agent", "new", "helper"]), "address").to_owned();
    adopt("second", "local", &second);
    adopt("second-again", "main2", &second);
    let fixed = until("same", "valid_after = 0\nvalid_until = \"2027-06-01T00:00:00Z\"");
    grant("second", &fixed, &["--agent", &agent]);
    grant("second-again", &fixed, &["--agent", &agent, "--label", "same again"]);
    adopt("handed-over", "local", &handed_over);
    grant("handed-over", &month("stale"), &[]);
    let heir = development_signer(DEPLOYER).address().to_string();
    let ecdsa = ECDSA_VALIDATOR.to_string();
    home.ok(&["send", "--as-owner", "handed-over", "--to", &ecdsa, "--call", "enable(bytes)", "--arg", &heir]);

    home.ok(&[
        "account",
        "new",
        "fresh",
        "--network",
        "local",
        "--owner-key-file",
        &home.file("owner.key", fresh.owner_key()),
        "--kernel",
        "0.2.3",
        "--index",
        &fresh.seed.index.to_string(),
    ]);
    grant("fresh", &month("first use deploys"), &[]);
    adopt("stopped", "local", &paused);
    used(&grant("stopped", &month("paused"), &[]));
    home.ok(&["revoke", "stopped", "--panic"]);
    adopt("gone", "local", &gone);
    grant("gone", &month("hidden"), &[]);
    home.ok(&["account", "rm", "gone"]);

    world.chain.rpc("evm_increaseTime", json!([7_200]));
    world.chain.mine();
    let keys = home.ok(&["key", "ls"]);
    let shown: Vec<String> =
        keys.as_array().expect("keys").iter().map(|k| format!("{}: {}", text(k, "label"), text(k, "state"))).collect();
    println!("{}", shown.join("\n"));

    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("home-2026-11-22");
    let _ = fs::remove_dir_all(&out);
    fs::create_dir_all(&out).expect("a folder");
    copy(&home.path("home"), &out.join("home"));
    let start = json!({ "timestamp": start, "accounts": accounts });
    let chain = recorded(&world.chain, first, &start);
    fs::write(out.join("chain.json"), serde_json::to_string_pretty(&chain).expect("JSON") + "\n").expect("chain.json");
    println!("{}", out.display());
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        match entry.file_type().expect("a type").is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => {
                let copied = to.join(entry.file_name());
                fs::copy(entry.path(), &copied).expect("a copy");
                fs::set_permissions(copied, fs::Permissions::from_mode(0o600)).expect("permissions");
            }
        }
    }
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).expect("permissions");
}

//! Owners whose key is elsewhere: what they must sign goes out in a file, any wallet signs it, and only their signature is taken.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
};

use alloy::primitives::U256;
use keyleash::protocol::kernel_v2::generation::{Generation, KernelVersion};
use serde_json::{Value, json};

use crate::support::{
    World,
    account::TestAccount,
    chain::{countCall, development_key},
    keyleash::{ACCOUNT, Keyleash, Outcome, send, text},
    liar::Liar,
    policy::{may_call, policy},
    rpc::RpcError,
    sdk::Sdk,
    world,
};

/// A home that knows the owner's address only.
struct Watcher {
    home: Keyleash,
    account: TestAccount,
}

impl Watcher {
    /// `None` when viem, the wallet elsewhere, is not installed.
    fn new(world: &World) -> Option<Self> {
        Self::at(world, Keyleash::new(world))
    }

    fn at(world: &World, home: Keyleash) -> Option<Self> {
        let account = TestAccount::counterfactual(world, KernelVersion::DEFAULT);
        let (owner, index) = (account.owner().address().to_string(), account.seed.index.to_string());
        let data = home.ok(&["account", "new", ACCOUNT, "--owner-address", &owner, "--index", &index]);
        assert_eq!((text(&data, "address"), &data["watch_only"]), (account.address.to_string().as_str(), &json!(true)));
        Sdk::V4.is_there().then_some(Self { home, account })
    }

    /// What viem signs with this key.
    fn signed(&self, world: &World, key: &str, mut request: Value) -> String {
        let command = if request.get("typedData").is_some() { "signTypedData" } else { "signMessage" };
        request["key"] = json!(format!("0x{key}"));
        let signature = Sdk::V4.run(world, command, request).unwrap_or_else(|e| panic!("{command}: {e}"));
        signature.as_str().expect("a signature").to_owned()
    }

    /// Drafts a grant for a new key; its file and the data of the answer.
    fn draft(&self, policy: &str) -> (String, Value) {
        let (policy, out) = (self.home.file("policy.toml", policy), self.home.new_path("draft"));
        let data = self.home.ok(&["grant", ACCOUNT, "--policy", &policy, "--new-key", "--unsigned", "--out", &out]);
        (out, data)
    }

    /// A grant that the owner signs elsewhere; the id of the key.
    fn grant(&self, world: &World, policy: &str) -> String {
        let (draft, data) = self.draft(policy);
        let typed = read(&draft);
        let signature = self.signed(world, self.account.owner_key(), json!({ "typedData": typed }));
        let file = self.home.file("signature", &signature);
        self.home.ok(&["grant", "--complete", &draft, "--signature-file", &file]);
        text(&data, "key_id").to_owned()
    }

    /// An operation that the owner signs elsewhere.
    fn complete(&self, world: &World, command: &[&str]) -> Value {
        self.completed(world, command).exits(0).data().clone()
    }

    fn completed(&self, world: &World, command: &[&str]) -> Outcome {
        let out = self.home.new_path("operation");
        let written = self.home.ok(&[command, &["--unsigned", "--out", &out]].concat());
        let message = read(&out)["message"].take();
        assert_eq!(message, written["message"]);
        let signature = self.signed(world, self.account.owner_key(), json!({ "message": message }));
        let file = self.home.file("signature", &signature);
        self.home.run(&["complete", &out, "--signature-file", &file])
    }
}

fn read(file: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(file).expect("the file")).expect("JSON in the file")
}

/// The same signature with something about it changed.
fn spoilt(signature: &str) -> Vec<(&'static str, String)> {
    let digits = signature.trim_start_matches("0x");
    let (rs, v) = digits.split_at(128);
    let other = if v == "1b" { "1c" } else { "1b" };
    vec![
        ("63 bytes", format!("0x{}", &rs[..126])),
        ("66 bytes", format!("0x{digits}00")),
        ("a v that no wallet writes", format!("0x{rs}1d")),
        ("the other v", format!("0x{rs}{other}")),
        ("no hex", "0xzz".to_owned()),
        ("empty", String::new()),
    ]
}

#[test]
fn a_grant_is_signed_by_a_wallet_elsewhere_and_used() {
    let Some(world) = world() else { return };
    let Some(watcher) = Watcher::new(world) else { return };
    let Watcher { home, account } = &watcher;
    let board = world.chain.targets.board;
    let (draft, data) = watcher.draft(&policy("ticker", &may_call(board, "tick()")));
    let key = text(&data, "key_id");
    assert_eq!(text(&data, "state"), "draft");
    let tick = send(key, board, "tick()", &[]);
    home.refused(&tick, 3, "denied.not_enabled");
    assert_ne!(
        home.run(&["key", "export", key, "--out", &home.new_path("export")]).exit,
        0,
        "there is nothing to export"
    );

    let typed = json!({ "typedData": read(&draft) });
    let right = watcher.signed(world, account.owner_key(), typed.clone());
    let mut wrong = spoilt(&right);
    wrong.push(("somebody else's", watcher.signed(world, development_key(0), typed)));
    wrong.push(("of something else", watcher.signed(world, account.owner_key(), json!({ "message": "0x00" }))));
    for (what, signature) in wrong {
        let file = home.file("signature", &signature);
        let outcome = home.run(&["grant", "--complete", &draft, "--signature-file", &file]).exits(2);
        let said = format!("{} {}", outcome.message(), outcome.hint());
        let owner = account.owner().address().to_string();
        assert!(
            said.contains(&owner)
                || said.contains("65 or 64 bytes")
                || said.contains("65 bytes")
                || said.contains("its last byte v is 29"),
            "{what}: {said}"
        );
        assert_eq!(text(&home.ok(&["key", "show", key]), "state"), "draft", "{what}: nothing was written");
    }

    let file = home.file("signature", &format!("{right}\n"));
    let completed = home.ok(&["grant", "--complete", &draft, "--signature-file", &file]);
    assert_eq!(text(&completed, "enable_signature"), right);
    assert_eq!(text(&home.ok(&["key", "show", key]), "state"), "pending");
    assert_eq!(home.ok(&tick)["success"], true);
    assert_eq!(world.chain.view(board, &countCall { account: account.address }), U256::ONE);
    assert_eq!(account.last_nonce(world, Generation::G2), 1);
}

#[test]
fn the_owners_operations_are_signed_by_a_wallet_elsewhere() {
    let Some(world) = world() else { return };
    let Some(watcher) = Watcher::new(world) else { return };
    let Watcher { home, account } = &watcher;
    let board = world.chain.targets.board;
    let to = board.to_string();
    let ticked = || world.chain.view(board, &countCall { account: account.address });

    // Without the key nothing is signed here, and the way out is named.
    let as_owner = ["send", "--as-owner", ACCOUNT, "--to", &to, "--call", "tick()"];
    let outcome = home.run(&as_owner).exits(5);
    assert_eq!(outcome.error_code(), "vault.watch_only");
    assert!(outcome.hint().contains("--unsigned"), "{outcome:#?}");

    // Deploys the account and calls.
    let sent = watcher.complete(world, &as_owner);
    assert_eq!((&sent["success"], ticked()), (&json!(true), U256::ONE), "{sent}");

    let used = watcher.grant(world, &policy("used", &may_call(board, "tick()")));
    let unused = watcher.grant(world, &policy("unused", &may_call(board, "tick()")));
    let enabled = watcher.complete(world, &["key", "enable", &used]);
    assert_eq!(enabled["success"], true, "{enabled}");
    let tick = send(&used, board, "tick()", &[]);
    assert_eq!((&home.ok(&tick)["success"], ticked()), (&json!(true), U256::from(2)));

    let revoked = watcher.complete(world, &["revoke", ACCOUNT, &used, &unused]);
    assert_eq!(revoked["success"], true, "{revoked}");
    let proofs = revoked["proofs"].as_array().expect("proofs");
    assert_eq!(proofs.len(), 2, "{revoked}");
    assert!(proofs.iter().all(|proof| !text(proof, "replay").is_empty()), "{revoked}");
    for key in [&used, &unused] {
        assert_eq!(text(&home.ok(&["key", "show", key]), "state"), "revoked");
    }
    home.refused(&tick, 3, "denied.not_enabled");
    assert_eq!(ticked(), U256::from(2));
}

/// The file says that all were to end, so what cannot be known of the account's history is named, as `revoke --all` would.
#[test]
fn a_revocation_of_all_keys_that_is_signed_elsewhere_claims_no_more_than_one_signed_here() {
    let Some(world) = world() else { return };
    static NO_LOGS: AtomicBool = AtomicBool::new(false);
    let node = Liar::start(&world.chain.url, |method, _, truth| match method {
        "eth_getLogs" if NO_LOGS.load(Ordering::SeqCst) => Err(RpcError::new(-32601, "no such method")),
        _ => truth,
    });
    let Some(watcher) = Watcher::at(world, Keyleash::through_node(world, &node.url, &[])) else { return };
    let board = world.chain.targets.board;
    let key = watcher.grant(world, &policy("bot", &may_call(board, "tick()")));
    watcher.home.ok(&send(&key, board, "tick()", &[]));

    NO_LOGS.store(true, Ordering::SeqCst);
    let revoked = watcher.completed(world, &["revoke", ACCOUNT, "--all"]).exits(7);
    assert_eq!(revoked.error_code(), "revoke.remaining", "{revoked:#?}");
    assert_eq!(revoked.data()["proofs"].as_array().map(Vec::len), Some(1), "{revoked:#?}");
    assert_eq!(revoked.data()["remaining"][0]["what"], "history", "{revoked:#?}");
}

#[test]
fn an_operation_is_sent_only_with_the_owners_signature_over_it() {
    let Some(world) = world() else { return };
    let Some(watcher) = Watcher::new(world) else { return };
    let Watcher { home, account } = &watcher;
    let board = world.chain.targets.board;
    let (to, out) = (board.to_string(), home.new_path("operation"));
    home.ok(&["send", "--as-owner", ACCOUNT, "--to", &to, "--call", "tick()", "--unsigned", "--out", &out]);
    let operation = read(&out);
    let message = json!({ "message": operation["message"] });
    let right = watcher.signed(world, account.owner_key(), message.clone());

    let mut wrong = spoilt(&right);
    wrong.push(("somebody else's", watcher.signed(world, development_key(0), message)));
    for (what, signature) in wrong {
        let file = home.file("signature", &signature);
        let outcome = home.run(&["complete", &out, "--signature-file", &file]).exits(2);
        let said = format!("{} {}", outcome.message(), outcome.hint());
        let owner = account.owner().address().to_string();
        let named = [owner.as_str(), "65 bytes", "65 or 64 bytes", "its last byte v is 29"]
            .iter()
            .any(|why| said.contains(why));
        assert!(named, "{what}: {said}");
    }

    // The right signature, over an operation that was changed since.
    let file = home.file("signature", &right);
    let changes = [
        ("another call", "callData", json!("0x51945447")),
        ("a higher price", "maxFeePerGas", json!("0xffffffffff")),
        ("another account", "sender", json!(board)),
    ];
    for (what, field, value) in changes {
        let mut changed = operation.clone();
        assert!(!changed["user_op"][field].is_null(), "{operation}");
        changed["user_op"][field] = value;
        let changed = home.file("changed", &changed.to_string());
        let outcome = home.run(&["complete", &changed, "--signature-file", &file]).exits(2);
        assert!(outcome.error_code().starts_with("operation."), "{what}: {outcome:#?}");
    }
    assert!(!account.is_deployed(world), "nothing was sent");
    assert_eq!(home.ok(&["complete", &out, "--signature-file", &file])["success"], true);
    assert_ne!(home.run(&["complete", &out, "--signature-file", &file]).exit, 0, "an operation is sent once");
    assert_eq!(world.chain.view(board, &countCall { account: account.address }), U256::ONE);
}

//! What a proof stands on: a node that contradicts itself, invents a receipt or is contradicted by a second node gets no claim out
//! of us, and the revocation is sent all the same; a key that comes back after it was proven revoked is an alarm.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use alloy::sol_types::{SolCall, SolValue};
use keyleash::{
    erc4337::v06::ENTRY_POINT,
    protocol::kernel_v2::{
        generation::{Generation, KernelVersion},
        signature::{Mode, Shown},
    },
};
use serde_json::{Value, json};

use crate::support::{
    World,
    account::{Grant, TestAccount},
    chain::{handleOpsCall, noncesCall, sessionDataCall, tickCall},
    keyleash::{ACCOUNT, Keyleash, send, text},
    liar::{Answer, Liar, is_call_of, returns},
    operation::{execute, sign_as_session, unsigned},
    policy::{may_call, policy},
    world,
};

/// Which lie is told now; 0 is the truth.
type Lie = Arc<AtomicUsize>;

/// An account whose owner reaches the chain through a node that tells `lie(number, method, params, truth)`.
fn owner_through(world: &World, lie: fn(usize, &str, &Value, Answer) -> Answer) -> (Keyleash, TestAccount, Lie, Liar) {
    let told = Lie::default();
    let now = Arc::clone(&told);
    let liar = Liar::start(&world.chain.url, move |method, params, truth| match now.load(Ordering::SeqCst) {
        0 => truth,
        number => lie(number, method, params, truth),
    });
    let account = TestAccount::deployed(world, KernelVersion::V0_2_4);
    let owner = Keyleash::through_node(world, &liar.url, &[]);
    owner.adopt(world, &account);
    (owner, account, told, liar)
}

fn granted(world: &World, owner: &Keyleash, account: &TestAccount, label: &str) -> (String, Grant) {
    let answer = owner.grant(&policy(label, &may_call(world.chain.targets.board, "tick()")));
    let id = text(&answer, "key_id").to_owned();
    let grant = owner.holder(account, &id);
    (id, grant)
}

fn used(owner: &Keyleash, world: &World, key: &str) {
    owner.ok(&send(key, world.chain.targets.board, "tick()", &[]));
}

/// Whether the holder can act with anything it has, past every bundler, on the true chain.
fn acts(world: &World, account: &TestAccount, grant: &Grant) -> bool {
    [Mode::Enable, Mode::Use].into_iter().any(|mode| {
        let mut op = unsigned(world, account, &execute(world.chain.targets.board, &tickCall {}));
        sign_as_session(&mut op, grant, mode, Shown::One(0));
        let call = handleOpsCall { ops: vec![(&op).into()], beneficiary: alloy::primitives::Address::repeat_byte(1) };
        world.chain.try_call(ENTRY_POINT, call.abi_encode().into()).is_ok()
    })
}

fn hidden(number: usize, method: &str, params: &Value, truth: Answer) -> Answer {
    match number {
        1 if is_call_of(method, params, sessionDataCall::SELECTOR) => returns([0; 160]),
        2 if is_call_of(method, params, noncesCall::SELECTOR) => returns((50u64, 50u64).abi_encode()),
        _ => truth,
    }
}

#[test]
fn k4_a_node_that_hides_an_enabled_key_gets_no_claim_and_the_key_is_revoked_all_the_same() {
    let Some(world) = world() else { return };
    let (owner, account, lie, _liar) = owner_through(world, hidden);
    let (id, grant) = granted(world, &owner, &account, "bot");
    used(&owner, world, &id);
    lie.store(1, Ordering::SeqCst);
    let outcome = owner.run(&["revoke", ACCOUNT, "bot"]).exits(4);
    assert_eq!(outcome.error_code(), "chain.contradiction", "{outcome:#?}");
    assert!(outcome.message().contains("bot") && outcome.message().contains("http://127.0.0.1"), "{outcome:#?}");
    assert_eq!(outcome.data()["proofs"], json!([]), "{outcome:#?}");
    assert!(!acts(world, &account, &grant), "the brake went on");
}

#[test]
fn k4_a_node_that_calls_every_nonce_over_gets_no_claim_and_pending_keys_are_revoked_all_the_same() {
    let Some(world) = world() else { return };
    let (owner, account, lie, _liar) = owner_through(world, hidden);
    let (_, grant) = granted(world, &owner, &account, "bot");
    lie.store(2, Ordering::SeqCst);
    for what in [&["revoke", ACCOUNT, "bot", "--dry-run"][..], &["revoke", ACCOUNT, "--all", "--dry-run"][..]] {
        let planned = owner.ok(what);
        assert!(planned["notes"].to_string().contains("contradicts itself"), "{planned}");
        assert!(planned["plan"].as_array().is_some_and(|plan| !plan.is_empty()), "{planned}");
    }
    assert!(acts(world, &account, &grant));
    owner.refused(&["revoke", ACCOUNT, "bot"], 4, "chain.contradiction");
    assert!(!acts(world, &account, &grant), "the brake went on");
    // Once the node tells the truth, that nothing is left is a claim that is made.
    lie.store(0, Ordering::SeqCst);
    owner.refused(&["revoke", ACCOUNT, "bot"], 1, "revoke.nothing");
}

fn invented(number: usize, method: &str, _: &Value, truth: Answer) -> Answer {
    let mut receipt = truth?;
    if method != "eth_getTransactionReceipt" || receipt.is_null() {
        return Ok(receipt);
    }
    match number {
        1 => return Ok(Value::Null),
        2 => receipt["logs"] = json!([]),
        3 => receipt["blockNumber"] = json!("0x1"),
        _ => receipt["blockHash"] = json!(alloy::primitives::B256::repeat_byte(7)),
    }
    Ok(receipt)
}

#[test]
fn k5_the_receipt_and_its_event_are_the_nodes_own_after_the_plan_and_in_the_block_it_has() {
    let Some(world) = world() else { return };
    let (owner, account, lie, liar) = owner_through(world, invented);
    let lies = [
        (1, 4, "revoke.waiting", "not in a block yet"),
        (2, 4, "chain.mismatch", "one of them is wrong"),
        (3, 4, "chain.contradiction", "contradicts itself"),
        (4, 4, "chain.contradiction", "has the hash"),
    ];
    for (number, exit, code, says) in lies {
        let label = format!("bot-{number}");
        granted(world, &owner, &account, &label);
        lie.store(number, Ordering::SeqCst);
        let outcome = owner.run(&["revoke", ACCOUNT, &label, "--via", "bundler"]).exits(exit);
        assert_eq!(outcome.error_code(), code, "{outcome:#?}");
        let said = format!("{} {}", outcome.message(), outcome.hint());
        assert!(said.contains(says), "{outcome:#?}");
        assert!(outcome.data()["proofs"].as_array().is_none_or(Vec::is_empty), "{outcome:#?}");
        lie.store(0, Ordering::SeqCst);
        // Named by the hint where the node contradicted the bundler before anything was proven.
        let hinted = said.split("keyleash status ").nth(1).and_then(|rest| rest.get(..66)).map(str::to_owned);
        let hash = outcome.data()["user_op_hash"].as_str().map(str::to_owned).or(hinted).expect("a hash");
        let proof = owner.ok(&["status", &hash])["proof"].take();
        let block = world
            .chain
            .rpc("eth_getBlockByNumber", json!([format!("0x{:x}", proof["block"].as_u64().unwrap()), false]));
        assert_eq!(proof["block_hash"], block["hash"], "{proof}");
        assert_eq!(text(&proof, "node"), liar.url, "{proof}");
        assert_eq!(text(&proof, "tag"), "latest", "{proof}");
        assert!(proof["before_block"].as_u64() < proof["receipt_block"].as_u64(), "{proof}");
        assert!(proof["receipt_block"].as_u64() <= proof["block"].as_u64(), "{proof}");
        let (_, told) = owner.tell(&["status", &hash]);
        assert!(told.contains(&format!("as told by {}", liar.url)) && told.contains("not final until block"), "{told}");
    }
}

#[test]
fn k6_a_revoked_key_whose_nonce_is_free_again_is_an_alarm_everywhere() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::V0_2_4);
    let owner = Keyleash::new(world);
    owner.adopt(world, &account);
    let (one, _) = granted(world, &owner, &account, "one");
    let (two, grant) = granted(world, &owner, &account, "two");
    used(&owner, world, &one);
    used(&owner, world, &two);
    let revoked = owner.ok(&["revoke", ACCOUNT, "two"]);
    let hash = text(&revoked, "user_op_hash").to_owned();
    let shown = owner.ok(&["key", "show", "two"]);
    assert_eq!((text(&shown, "state"), &shown["alarms"]), ("revoked", &json!([])), "{shown}");
    assert!(text(&shown, "state_reason").contains("unless the owner sets nonces back"), "{shown}");
    assert_eq!(owner.ok(&["status", &hash])["proof"]["can_return"], true);

    let validator = Generation::G2.address().to_string();
    owner.ok(&["send", "--as-owner", ACCOUNT, "--to", &validator, "--call", "invalidateNonce(uint128)", "--arg", "1"]);
    assert!(acts(world, &account, &grant), "another tool set the nonces back");
    let shown = owner.ok(&["key", "show", "two"]);
    assert_eq!((text(&shown, "state"), text(&shown["alarms"][0], "id")), ("pending", "R37"), "{shown}");
    assert!(text(&shown, "state_reason").contains("revoke it again"), "{shown}");
    let listed = owner.ok(&["key", "ls", ACCOUNT]);
    assert!(listed.to_string().contains("revoked_can_return"), "{listed}");
    let findings = owner.ok(&["account", "show", ACCOUNT])["findings"].take();
    let alarm = findings.as_array().expect("findings").iter().find(|f| f["code"] == "revoked_can_return");
    assert_eq!(alarm.map(|alarm| text(alarm, "id")), Some("R37"), "{findings}");
    let outcome = owner.run(&["status", &hash]).exits(1);
    assert_eq!(outcome.error_code(), "revoke.can_return", "{outcome:#?}");
    assert_eq!(outcome.data()["proofs"].as_array().map(Vec::len), Some(1), "what was proven then is still told");

    // Owners are shared between tests: one that has sent a transaction of its own may have enabled something without a trace.
    let again = owner.run(&["revoke", ACCOUNT, "--all"]);
    assert!(matches!(again.exit, 0 | 7), "{again:#?}");
    assert!(!acts(world, &account, &grant), "{again:#?}");
    assert_eq!(owner.ok(&["key", "show", "two"])["alarms"], json!([]));
}

#[test]
fn second_rpc_that_says_otherwise_stops_grants_and_payments_but_never_a_revocation() {
    let Some(world) = world() else { return };
    let lie = Lie::default();
    let now = Arc::clone(&lie);
    let second = Liar::start(&world.chain.url, move |method, params, truth| {
        hidden(now.load(Ordering::SeqCst), method, params, truth)
    });
    let account = TestAccount::deployed(world, KernelVersion::V0_2_4);
    let owner = Keyleash::through_node(world, &world.chain.url, &["--second-rpc", &second.url]);
    owner.adopt(world, &account);
    let (_, first) = granted(world, &owner, &account, "first");
    let revoked = owner.ok(&["revoke", ACCOUNT, "first"]);
    assert_eq!(revoked["proof"]["second_node"], json!({ "node": second.url, "agrees": true }), "{revoked}");
    assert!(!acts(world, &account, &first));
    let (id, grant) = granted(world, &owner, &account, "bot");
    used(&owner, world, &id);

    lie.store(2, Ordering::SeqCst);
    let file = owner.file("policy.toml", &policy("another", &may_call(world.chain.targets.board, "tick()")));
    let message = owner.refused(&["grant", ACCOUNT, "--policy", &file, "--new-key"], 1, "chain.disagreement");
    for said in [&world.chain.url, &second.url, "the nonces on G2"] {
        assert!(message.contains(said), "{message}");
    }
    owner.refused(&send(&id, world.chain.targets.board, "tick()", &[]), 1, "chain.disagreement");
    let board = world.chain.targets.board.to_string();
    owner.refused(&["send", "--as-owner", ACCOUNT, "--to", &board, "--call", "tick()"], 1, "chain.disagreement");
    for claim in [&["account", "show", ACCOUNT][..], &["key", "show", &id], &["key", "ls", ACCOUNT]] {
        owner.refused(claim, 1, "chain.disagreement");
    }
    let message = owner.refused(&["revoke", ACCOUNT, "bot"], 1, "chain.disagreement");
    assert!(message.starts_with("not proven: ") && message.contains("disagree about"), "{message}");
    assert!(!acts(world, &account, &grant), "the brake went on");
}

#[test]
fn second_rpc_that_does_not_answer_is_said_and_stops_nothing() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::V0_2_4);
    let owner = Keyleash::through_node(world, &world.chain.url, &["--second-rpc", "http://127.0.0.1:9"]);
    owner.adopt(world, &account);
    let (_, grant) = granted(world, &owner, &account, "bot");
    let revoked = owner.ok(&["revoke", ACCOUNT, "bot"]);
    assert_eq!(revoked["proof"]["second_node"]["agrees"], false, "{revoked}");
    assert!(!acts(world, &account, &grant));
    let checked = owner.run(&["network", "check", "local"]).exits(4);
    assert!(checked.data().to_string().contains("second node"), "{checked:#?}");
}

#[test]
fn second_rpc_must_be_another_node() {
    let owner = Keyleash::bare();
    owner.ok(&["init", "--vault", "file"]);
    let url = "http://127.0.0.1:9";
    let add = ["network", "add", "local", "--chain-id", "5", "--rpc", url, "--second-rpc", url];
    owner.refused(&add, 2, "network.second_rpc");
}

#[test]
fn a14_what_was_tried_what_it_would_have_done_and_who_paid_is_said() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::V0_2_4);
    let owner = Keyleash::sponsored(world, "erc7677");
    owner.adopt(world, &account);
    granted(world, &owner, &account, "bot");
    let (exit, told) = owner.tell(&["revoke", ACCOUNT, "bot"]);
    assert_eq!(exit, 0, "{told}");
    let board = world.chain.targets.board.to_string();
    for said in ["paid by the sponsor", "tried to enable it with its first call", &board, "invalid nonce"] {
        assert!(told.contains(said), "no {said:?} in: {told}");
    }
    assert!(!told.contains("was missing"), "{told}");
}

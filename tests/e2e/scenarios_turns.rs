//! Nonces: approvals that wait for others, taking back what was never used, and what a crash or a second process may not break.

use std::{collections::BTreeSet, thread, time::Duration};

use alloy::primitives::U256;
use keyleash::{
    erc4337::v06::{ENTRY_POINT, UserOperation},
    protocol::kernel_v2::{
        generation::{Generation, KernelVersion},
        signature::{Mode, Shown},
    },
};
use serde_json::Value;

use super::scenarios_revoke::{OWNERS_SEND, self_bundled};
use crate::support::{
    World,
    account::TestAccount,
    chain::{CHAIN_ID, countCall, parse, tickCall},
    keyleash::{ACCOUNT, Keyleash, Outcome, send, text},
    operation::{execute, sign_as_session, unsigned},
    policy::{may_call, policy},
    proxy::Proxy,
    wait_for, world,
};

fn ticked(world: &World, account: &TestAccount) -> U256 {
    world.chain.view(world.chain.targets.board, &countCall { account: account.address })
}

/// An owner with an account and two approvals, with nonces 1 and 2: their ids.
fn two_grants(world: &World, account: &TestAccount) -> (Keyleash, [String; 2]) {
    two_grants_by(Keyleash::new(world), world, account)
}

/// The same without any bundler.
fn two_grants_without_a_bundler(world: &World, account: &TestAccount) -> (Keyleash, [String; 2]) {
    two_grants_by(Keyleash::without_bundler(world), world, account)
}

fn two_grants_by(owner: Keyleash, world: &World, account: &TestAccount) -> (Keyleash, [String; 2]) {
    owner.adopt(world, account);
    let ids = ["first", "second"].map(|label| {
        let granted = owner.grant(&policy(label, &may_call(world.chain.targets.board, "tick()")));
        text(&granted, "key_id").to_owned()
    });
    (owner, ids)
}

fn state(owner: &Keyleash, key: &str) -> String {
    text(&owner.ok(&["key", "show", key]), "state").to_owned()
}

#[test]
fn a_second_approval_waits_for_the_first() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::DEFAULT);
    let (owner, [first, second]) = two_grants(world, &account);
    let tick = |key: &str| send(key, world.chain.targets.board, "tick()", &[]);

    let shown = owner.ok(&["key", "show", &second]);
    assert_eq!((text(&shown, "state"), text(&shown, "nonce")), ("queued", "2"));
    assert!(text(&shown, "state_reason").contains("first"), "it says for whom: {shown}");
    owner.refused(&tick(&second), 3, "denied.nonce");
    let holder = owner.holder(&account, &second);
    let mut op = unsigned(world, &account, &execute(world.chain.targets.board, &tickCall {}));
    sign_as_session(&mut op, &holder, Mode::Enable, Shown::One(0));
    let refusal = world.bundler.send(&op).expect_err("an approval before its turn");
    assert!(refusal.message.contains("SessionKeyValidator: invalid nonce"), "{refusal}");

    owner.ok(&tick(&first));
    assert_eq!(state(&owner, &second), "pending");
    owner.ok(&tick(&second));
    assert_eq!(ticked(world, &account), U256::from(2));
}

#[test]
fn the_owner_enables_what_is_signed_without_waiting_for_an_agent() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::DEFAULT);
    let (owner, [first, second]) = two_grants(world, &account);
    owner.ok(&["key", "enable", &second, &first]); // in any order
    assert_eq!([state(&owner, &first), state(&owner, &second)], ["active", "active"]);
    assert_eq!(account.last_nonce(world, Generation::G2), 2);
    owner.ok(&send(&second, world.chain.targets.board, "tick()", &[]));
    assert_eq!(ticked(world, &account), U256::ONE);
}

#[track_caller]
fn both_enabled(world: &World, account: &TestAccount, owner: &Keyleash, keys: &[String; 2]) {
    assert_eq!(account.last_nonce(world, Generation::G2), 2);
    for key in keys {
        assert_eq!(state(owner, key), "active");
        assert_eq!(self_bundled(world, account, &owner.holder(account, key), Mode::Use), None, "{key} can act");
    }
}

#[test]
fn without_a_bundler_the_owner_enables_by_its_own_transaction_and_pays_for_it() {
    let Some(world) = world() else { return };
    let _turn = OWNERS_SEND.lock();
    let account = TestAccount::deployed(world, KernelVersion::DEFAULT);
    let (owner, [first, second]) = two_grants_without_a_bundler(world, &account);
    let said = owner.refused(&["key", "enable", &first, "--via", "bundler"], 2, "network.no_bundler");
    assert!(!said.contains("key is not here"), "{said}");
    owner.refused(&["key", "enable", &second], 1, "enable.order");
    let planned = owner.ok(&["key", "enable", &second, &first, "--dry-run"]);
    assert_eq!((text(&planned, "way"), account.last_nonce(world, Generation::G2)), ("owner", 0), "{planned}");

    let of_account = world.chain.balance(account.address);
    let enabled = owner.ok(&["key", "enable", &second, &first]); // in any order
    assert_eq!((text(&enabled, "way"), &enabled["success"]), ("owner", &Value::Bool(true)), "{enabled}");
    assert_eq!(world.chain.balance(account.address), of_account, "the account paid");
    both_enabled(world, &account, &owner, &[first, second]);
}

#[test]
fn without_a_bundler_the_owner_deploys_and_enables_in_one_operation() {
    let Some(world) = world() else { return };
    let _turn = OWNERS_SEND.lock();
    for kernel in [KernelVersion::V0_2_2, KernelVersion::V0_2_4] {
        for words in [&[][..], &["--via", "owner"], &["--via", "handle-ops"]] {
            let account = TestAccount::counterfactual(world, kernel);
            let (owner, keys) = two_grants_without_a_bundler(world, &account);
            let enabled = owner.ok(&[&["key", "enable", &keys[0], &keys[1]], words].concat());
            assert_eq!((text(&enabled, "way"), &enabled["success"]), ("handle-ops", &Value::Bool(true)), "{enabled}");
            both_enabled(world, &account, &owner, &keys);
        }
    }
}

#[test]
fn printed_calls_enable_for_an_owner_who_sends_from_elsewhere() {
    let Some(world) = world() else { return };
    let _turn = OWNERS_SEND.lock();
    for account in [
        TestAccount::deployed(world, KernelVersion::DEFAULT),
        TestAccount::counterfactual(world, KernelVersion::DEFAULT),
    ] {
        let (owner, keys) = two_grants_without_a_bundler(world, &account);
        let printed = owner.ok(&["key", "enable", &keys[0], &keys[1], "--print"]);
        assert_eq!(account.last_nonce(world, Generation::G2), 0, "nothing is sent");
        for call in printed["calls"].as_array().expect("calls") {
            let from = call["from"].as_str().map_or(account.owner().address(), |a| a.parse().expect("an address"));
            world.chain.send_as(from, parse(call["to"].clone()), U256::ZERO, parse(call["data"].clone()));
        }
        both_enabled(world, &account, &owner, &keys);
    }
}

/// Revoking a key that was never used burns its turn; the next key lives on.
fn a_pending_key_is_revoked(account: &TestAccount, world: &World) {
    let (owner, [first, second]) = two_grants(world, account);
    let holder = owner.holder(account, &first);
    let revoked = owner.ok(&["revoke", ACCOUNT, &first]);
    assert_eq!(revoked["success"], true, "{revoked}");
    assert!(text(&revoked["proof"], "replay").contains("invalid nonce"), "{revoked}");
    assert_eq!(text(&revoked["proof"], "last_nonce"), "1");
    assert_eq!([state(&owner, &first), state(&owner, &second)], ["revoked", "pending"]);

    let outcome = owner.run(&send(&first, world.chain.targets.board, "tick()", &[])).exits(3);
    assert!(outcome.error_code().starts_with("denied."), "{outcome:#?}");
    let mut op = unsigned(world, account, &execute(world.chain.targets.board, &tickCall {}));
    sign_as_session(&mut op, &holder, Mode::Enable, Shown::One(0));
    let refusal = world.bundler.send(&op).expect_err("a burnt approval");
    assert!(refusal.message.contains("SessionKeyValidator: invalid nonce"), "{refusal}");

    owner.ok(&send(&second, world.chain.targets.board, "tick()", &[]));
    assert_eq!(ticked(world, account), U256::ONE);
}

#[test]
fn a_pending_key_of_a_deployed_account_is_revoked() {
    let Some(world) = world() else { return };
    a_pending_key_is_revoked(&TestAccount::deployed(world, KernelVersion::V0_2_3), world);
}

#[test]
fn a_pending_key_of_an_undeployed_account_is_revoked_in_the_operation_that_deploys() {
    let Some(world) = world() else { return };
    let account = TestAccount::counterfactual(world, KernelVersion::DEFAULT);
    a_pending_key_is_revoked(&account, world);
}

#[test]
fn a_revoke_can_be_looked_at_first() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::DEFAULT);
    let (owner, [first, _]) = two_grants(world, &account);
    let planned = owner.ok(&["revoke", ACCOUNT, &first, "--dry-run"]);
    let plan = planned["plan"].as_array().expect("a plan");
    assert!(!plan.is_empty() && plan.iter().all(|step| step["effect"].is_string()), "{planned}");
    assert_eq!(state(&owner, &first), "pending");
    assert_eq!(account.last_nonce(world, Generation::G2), 0);
}

#[test]
fn processes_that_grant_at_once_never_share_a_nonce() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::DEFAULT);
    let owner = Keyleash::new(world);
    owner.adopt(world, &account);
    let nonces: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|n| {
                let owner = &owner;
                let rules = policy(&format!("bot-{n}"), &may_call(world.chain.targets.board, "tick()"));
                scope.spawn(move || {
                    let file = owner.file(&format!("policy-{n}.toml"), &rules);
                    text(&owner.ok(&["grant", ACCOUNT, "--policy", &file, "--new-key"]), "nonce").to_owned()
                })
            })
            .collect();
        workers.into_iter().map(|w| w.join().expect("a grant")).collect()
    });
    let different: BTreeSet<&str> = nonces.iter().map(String::as_str).collect();
    assert_eq!(different, BTreeSet::from(["1", "2", "3", "4"]));
    assert_eq!(owner.ok(&["key", "ls", ACCOUNT]).as_array().map(Vec::len), Some(4));
}

#[test]
fn a_grant_that_is_killed_loses_no_approval_and_shares_no_nonce() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::DEFAULT);
    let owner = Keyleash::new(world);
    owner.adopt(world, &account);
    let file = owner.file("policy.toml", &policy("bot", &may_call(world.chain.targets.board, "tick()")));
    let args = ["grant", ACCOUNT, "--policy", &file, "--new-key"];
    let mut told = 0;
    for round in 0..8u64 {
        let mut child = owner.command(&args).spawn().expect("keyleash starts");
        thread::sleep(Duration::from_millis(round * round * 40));
        child.kill().expect("SIGKILL");
        let output = child.wait_with_output().expect("it ended");
        // What was reported before the end has to be on record.
        if serde_json::from_slice::<Value>(&output.stdout).is_ok_and(|envelope| envelope["success"] == true) {
            told += 1;
        }
    }
    let last = owner.ok(&args);
    let keys = owner.ok(&["key", "ls", ACCOUNT]);
    let keys = keys.as_array().expect("a list");
    let nonces: BTreeSet<u64> = keys.iter().map(|k| text(k, "nonce").parse().expect("a number")).collect();
    assert_eq!(nonces.len(), keys.len(), "no nonce twice: {keys:?}");
    assert!(keys.len() > told, "{told} grants were reported, and one more at the end");
    assert_eq!(nonces.last().map(u64::to_string).as_deref(), Some(text(&last, "nonce")));
    assert_eq!(nonces.last().copied(), Some(keys.len() as u64), "and none left out");
}

#[test]
fn an_operation_is_found_again_when_the_process_was_killed_before_it_could_report() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::DEFAULT);
    // The bundler takes the operation, and its answer comes too late.
    let slow = Proxy::start(world, |request| {
        let answer = request.on();
        if request.method == "eth_sendUserOperation" {
            thread::sleep(Duration::from_secs(20));
        }
        answer
    });
    let owner = Keyleash::with_network(world, &slow.url, None);
    owner.adopt(world, &account);
    let board = world.chain.targets.board;
    let granted = owner.grant(&policy("bot", &may_call(board, "tick()")));
    let args = send(text(&granted, "key_id"), board, "tick()", &[]);
    let mut child = owner.command(&args).spawn().expect("keyleash starts");
    let sent = wait_for(60, || slow.heard("eth_sendUserOperation").pop()).expect("the operation was sent");
    child.kill().expect("SIGKILL");
    child.wait().expect("it ended");

    let op: UserOperation = parse(sent[0].clone());
    let hash = op.hash(ENTRY_POINT, CHAIN_ID);
    assert!(world.bundler.succeeded(hash));
    let found = owner.ok(&["status", &hash.to_string()]);
    assert_eq!((found["success"].as_bool(), text(&found, "user_op_hash")), (Some(true), hash.to_string().as_str()));
    assert_eq!(state(&owner, text(&granted, "key_id")), "active");
    assert_eq!(ticked(world, &account), U256::ONE);
}

#[test]
fn an_operation_that_never_arrived_is_not_reported_as_done() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::DEFAULT);
    // Signed and written down, but the bundler never sees it.
    let deaf = Proxy::start(world, |request| {
        if request.method == "eth_sendUserOperation" {
            thread::sleep(Duration::from_secs(20));
            return Err(crate::support::rpc::RpcError::new(-32000, "too late"));
        }
        request.on()
    });
    let owner = Keyleash::with_network(world, &deaf.url, None);
    owner.adopt(world, &account);
    let board = world.chain.targets.board;
    let granted = owner.grant(&policy("bot", &may_call(board, "tick()")));
    let args = send(text(&granted, "key_id"), board, "tick()", &[]);
    let mut child = owner.command(&args).spawn().expect("keyleash starts");
    let sent = wait_for(60, || deaf.heard("eth_sendUserOperation").pop()).expect("the operation was signed");
    child.kill().expect("SIGKILL");
    child.wait().expect("it ended");

    let op: UserOperation = parse(sent[0].clone());
    let hash = op.hash(ENTRY_POINT, CHAIN_ID).to_string();
    let output = owner.command(&["status", &hash, "--no-wait"]).output().expect("keyleash starts");
    let outcome = Outcome::read(&["status", &hash], &output);
    assert_ne!(outcome.data()["success"], true, "{outcome:#?}");
    assert_eq!(state(&owner, text(&granted, "key_id")), "pending");
}

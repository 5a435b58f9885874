//! Taking power back, on every kernel and by every way: afterwards each key that was to end is tried with everything its holder
//! has, past every bundler, and each key that was to live still works.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use alloy::{
    primitives::{Address, U256},
    sol_types::SolCall,
};
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
    account::{Grant, TestAccount, permission, scope},
    chain::{ETHER, handleOpsCall, parse, tickCall},
    keyleash::{ACCOUNT, Keyleash, send, text},
    liar::Liar,
    operation::{execute, sign_as_session, unsigned},
    policy::{may_call, policy},
    proxy::Proxy,
    rpc::RpcError,
    wait_for, world,
};

/// Owners are development accounts that several tests share; transactions of one address go one after the other.
pub(crate) static OWNERS_SEND: Mutex<()> = Mutex::new(());

/// A bundler's address where nobody listens.
const NOBODY: &str = "http://127.0.0.1:9";

/// What the EntryPoint answers when the holder bundles its own operation: `None` = it would be mined.
pub(crate) fn self_bundled(world: &World, account: &TestAccount, grant: &Grant, mode: Mode) -> Option<String> {
    let mut op = unsigned(world, account, &execute(world.chain.targets.board, &tickCall {}));
    sign_as_session(&mut op, grant, mode, Shown::One(0));
    let call = handleOpsCall { ops: vec![(&op).into()], beneficiary: Address::repeat_byte(1) };
    world.chain.try_call(ENTRY_POINT, call.abi_encode().into()).err().map(|e| e.to_string())
}

/// Nothing that the holder has is any good, with or without a bundler.
#[track_caller]
fn assert_powerless(world: &World, account: &TestAccount, grant: &Grant) {
    for mode in [Mode::Enable, Mode::Use] {
        let refusal = self_bundled(world, account, grant, mode);
        assert!(refusal.is_some(), "{mode:?} goes through");
        let mut op = unsigned(world, account, &execute(world.chain.targets.board, &tickCall {}));
        sign_as_session(&mut op, grant, mode, Shown::One(0));
        assert!(world.bundler.send(&op).is_err(), "{mode:?} is taken by the bundler");
    }
}

#[track_caller]
fn assert_works(world: &World, account: &TestAccount, grant: &Grant) {
    let tries = [Mode::Enable, Mode::Use].map(|mode| self_bundled(world, account, grant, mode));
    assert!(tries.iter().any(Option::is_none), "{tries:?}");
}

#[track_caller]
fn assert_proven(revoked: &Value) {
    let proofs = revoked["proofs"].as_array().expect("proofs");
    assert!(!proofs.is_empty(), "{revoked}");
    for proof in proofs {
        let (before, after) = (text(proof, "before"), text(proof, "replay"));
        assert!(!before.contains("not enabled"), "{proof}");
        assert!(after.contains("invalid nonce") || after.contains("session key not enabled"), "{proof}");
    }
}

fn owner_of(world: &World, account: &TestAccount) -> Keyleash {
    let owner = Keyleash::new(world);
    owner.adopt(world, account);
    owner
}

/// A key with a label, granted here; and all that its holder gets.
fn granted(world: &World, owner: &Keyleash, account: &TestAccount, label: &str) -> (String, Grant) {
    let answer = owner.grant(&policy(label, &may_call(world.chain.targets.board, "tick()")));
    let id = text(&answer, "key_id").to_owned();
    let grant = owner.holder(account, &id);
    (id, grant)
}

fn used(owner: &Keyleash, world: &World, key: &str) {
    owner.ok(&send(key, world.chain.targets.board, "tick()", &[]));
}

#[test]
fn the_owner_needs_no_bundler_on_any_kernel() {
    let Some(world) = world() else { return };
    let _turn = OWNERS_SEND.lock();
    for kernel in [KernelVersion::V0_2_1, KernelVersion::V0_2_2, KernelVersion::V0_2_3, KernelVersion::V0_2_4] {
        let account = TestAccount::deployed(world, kernel);
        let permission = permission(world.chain.targets.board, tickCall::SELECTOR);
        let grants = [1u128, 2].map(|turn| {
            account.grant_with(world, scope(vec![permission.clone()]), |request| request.enable.nonce = turn)
        });
        // Enabled by their holders, past every bundler. Nobody here has them on record.
        for grant in &grants {
            let mut op = unsigned(world, &account, &execute(world.chain.targets.board, &tickCall {}));
            sign_as_session(&mut op, grant, Mode::Enable, Shown::One(0));
            world.chain.handle_op((&op).into());
        }
        let owner = owner_of(world, &account);
        let address = grants[0].key.address().to_string();
        let revoked = owner.ok(&["revoke", ACCOUNT, &address, "--via", "owner"]);
        assert_eq!(text(&revoked, "way"), "owner");
        assert_proven(&revoked);
        assert_powerless(world, &account, &grants[0]);
        assert_works(world, &account, &grants[1]);
        // The other one is known to nobody; a sweep ends it all the same.
        let swept = owner.ok(&["revoke", ACCOUNT, "--all", "--via", "owner"]);
        assert_eq!(swept["success"], true, "{kernel}: {swept}");
        assert_powerless(world, &account, &grants[1]);
        owner.refused(&["revoke", ACCOUNT, "--all", "--via", "owner"], 1, "revoke.nothing");
    }
}

#[test]
fn everything_ends_at_once_active_or_pending_and_twice_is_said() {
    let Some(world) = world() else { return };
    for kernel in [KernelVersion::V0_2_2, KernelVersion::V0_2_4] {
        let account = TestAccount::deployed(world, kernel);
        let owner = owner_of(world, &account);
        let keys = ["active", "pending", "queued"].map(|label| granted(world, &owner, &account, label));
        used(&owner, world, &keys[0].0);
        let revoked = owner.ok(&["revoke", ACCOUNT, "--all"]);
        assert_proven(&revoked);
        assert_eq!(revoked["proofs"].as_array().map(Vec::len), Some(3), "{revoked}");
        for (id, grant) in &keys {
            assert_powerless(world, &account, grant);
            assert_eq!(text(&owner.ok(&["key", "show", id]), "state"), "revoked");
        }
        let message = owner.refused(&["revoke", ACCOUNT, "--all"], 1, "revoke.nothing");
        assert!(message.contains("no session key"), "{message}");
        // And a new key works as ever.
        let (id, _) = granted(world, &owner, &account, "after");
        used(&owner, world, &id);
    }
}

#[test]
fn of_three_that_wait_the_middle_one_is_taken_back_and_the_others_work() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::V0_2_3);
    let owner = owner_of(world, &account);
    let keys = ["first", "second", "third"].map(|label| granted(world, &owner, &account, label));
    let revoked = owner.ok(&["revoke", ACCOUNT, "second"]);
    assert_eq!(revoked["also_revokes"], json!([]), "{revoked}");
    assert_proven(&revoked);
    assert_powerless(world, &account, &keys[1].1);
    used(&owner, world, &keys[0].0);
    used(&owner, world, &keys[2].0);
}

#[test]
fn after_a_rewind_by_another_tool_what_comes_back_is_ended_for_good() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::V0_2_4);
    let owner = owner_of(world, &account);
    let keys = ["one", "two", "three"].map(|label| granted(world, &owner, &account, label));
    for (id, _) in &keys {
        used(&owner, world, id);
    }
    owner.ok(&["revoke", ACCOUNT, "two"]);
    // Another tool sweeps to a number from yesterday: turns 2 and 3 can be used again.
    let validator = Generation::G2.address().to_string();
    owner.ok(&["send", "--as-owner", ACCOUNT, "--to", &validator, "--call", "invalidateNonce(uint128)", "--arg", "1"]);
    assert_works(world, &account, &keys[1].1);
    // An owner that never sent a transaction of its own cannot have enabled anything without a trace; this one did.
    {
        let _turn = OWNERS_SEND.lock();
        let address = account.owner().address();
        world.chain.send_as(address, address, U256::ZERO, alloy::primitives::Bytes::new());
    }
    // Every key that is known is proven to have ended. That no other was enabled before the nonces were set back, by a
    // transaction that left no trace, cannot be known: it is named, and is not success.
    let outcome = owner.run(&["revoke", ACCOUNT, "--all"]).exits(7);
    assert_proven(outcome.data());
    let remaining = outcome.data()["remaining"].as_array().expect("a list");
    assert!(remaining.iter().all(|r| r["what"] == "history"), "{outcome:#?}");
    for (_, grant) in &keys {
        assert_powerless(world, &account, grant);
    }
}

#[test]
fn whoever_looks_a_revocation_of_all_keys_up_is_told_what_remains_as_it_was_itself() {
    let Some(world) = world() else { return };
    static NO_LOGS: AtomicBool = AtomicBool::new(false);
    let node = Liar::start(&world.chain.url, |method, _, truth| match method {
        "eth_getLogs" if NO_LOGS.load(Ordering::SeqCst) => Err(RpcError::new(-32601, "no such method")),
        _ => truth,
    });
    let account = TestAccount::deployed(world, KernelVersion::V0_2_4);
    let owner = Keyleash::through_node(world, &node.url, &[]);
    owner.adopt(world, &account);
    granted(world, &owner, &account, "bot");

    NO_LOGS.store(true, Ordering::SeqCst);
    let outcome = owner.run(&["revoke", ACCOUNT, "--all"]).exits(7);
    assert_proven(outcome.data());
    assert_eq!(outcome.data()["remaining"][0]["what"], "history", "{outcome:#?}");
    let hash = text(outcome.data(), "user_op_hash");
    let looked_up = owner.run(&["status", hash]).exits(7);
    assert_eq!(looked_up.data()["remaining"], outcome.data()["remaining"], "{looked_up:#?}");
    assert_proven(looked_up.data());

    // Once the history can be read there is no doubt left, and a key that was granted since is not one that it was to end.
    NO_LOGS.store(false, Ordering::SeqCst);
    // Records keep time in seconds.
    thread::sleep(Duration::from_millis(1100));
    granted(world, &owner, &account, "later");
    assert_eq!(owner.ok(&["status", hash])["remaining"], json!([]));
}

#[test]
fn a_panic_stops_all_with_the_bundler_down_and_lifting_it_ends_all_but_what_is_kept() {
    let Some(world) = world() else { return };
    let _turn = OWNERS_SEND.lock();
    let account = TestAccount::deployed(world, KernelVersion::V0_2_4);
    static DOWN: AtomicBool = AtomicBool::new(false);
    let proxy = Proxy::start(world, |request| match DOWN.load(Ordering::SeqCst) {
        true => Err(crate::support::rpc::RpcError::new(-32000, "out of order")),
        false => request.on(),
    });
    let owner = Keyleash::with_network(world, &proxy.url, None);
    owner.adopt(world, &account);
    let keys = ["kept", "active", "pending"].map(|label| granted(world, &owner, &account, label));
    used(&owner, world, &keys[0].0);
    used(&owner, world, &keys[1].0);

    DOWN.store(true, Ordering::SeqCst);
    let stopped = owner.ok(&["revoke", ACCOUNT, "--panic"]);
    assert_eq!(text(&stopped, "way"), "owner");
    assert_eq!(stopped["paused"]["disabled_mode"], u32::MAX, "{stopped}");
    for (id, grant) in &keys {
        assert_powerless(world, &account, grant);
        assert_eq!(text(&owner.ok(&["key", "show", id]), "state"), "paused");
    }
    let lifted = owner.ok(&["revoke", ACCOUNT, "--lift-panic", "--keep", "kept"]);
    assert_proven(&lifted);
    assert_works(world, &account, &keys[0].1);
    assert_powerless(world, &account, &keys[1].1);
    assert_powerless(world, &account, &keys[2].1);
    owner.refused(&["revoke", ACCOUNT, "--lift-panic"], 1, "revoke.not_paused");
}

#[test]
fn the_next_way_is_taken_when_one_fails_and_the_reason_is_shown() {
    let Some(world) = world() else { return };
    let _turn = OWNERS_SEND.lock();
    // The account has nothing to pay the bundler with.
    let poor = TestAccount::deployed(world, KernelVersion::V0_2_3);
    let owner = owner_of(world, &poor);
    let (_, grant) = granted(world, &owner, &poor, "pending");
    world.chain.fund(poor.address, 0);
    let planned = owner.ok(&["revoke", ACCOUNT, "pending", "--dry-run"]);
    assert_eq!(text(&planned, "way"), "owner");
    assert_eq!(text(&planned["passed_over"][0], "way"), "bundler", "{planned}");
    assert!(text(&planned["passed_over"][0], "reason").contains("cannot pay"), "{planned}");
    assert_proven(&owner.ok(&["revoke", ACCOUNT, "pending"]));
    world.chain.fund(poor.address, ETHER);
    assert_powerless(world, &poor, &grant);

    // The bundler answers everything but does not take the operation.
    let account = TestAccount::deployed(world, KernelVersion::V0_2_4);
    let proxy = Proxy::start(world, |request| match request.method {
        "eth_sendUserOperation" => Err(crate::support::rpc::RpcError::new(-32504, "paused by its operator")),
        _ => request.on(),
    });
    let owner = Keyleash::with_network(world, &proxy.url, None);
    owner.adopt(world, &account);
    let (_, grant) = granted(world, &owner, &account, "pending");
    let outcome = owner.run(&["revoke", ACCOUNT, "pending"]).exits(0);
    assert_eq!(text(outcome.data(), "way"), "owner");
    let warnings = outcome.envelope["warnings"].to_string();
    assert!(warnings.contains("revoke.next_way") && warnings.contains("throttles"), "{warnings}");
    assert_powerless(world, &account, &grant);
}

#[test]
fn without_a_bundler_the_owner_brings_the_operation_of_an_undeployed_account_itself() {
    let Some(world) = world() else { return };
    let _turn = OWNERS_SEND.lock();
    for kernel in [KernelVersion::V0_2_2, KernelVersion::V0_2_4] {
        let account = TestAccount::counterfactual(world, kernel);
        let owner = Keyleash::with_network(world, NOBODY, None);
        owner.adopt(world, &account);
        let keys = ["first", "second"].map(|label| granted(world, &owner, &account, label));
        let revoked = owner.ok(&["revoke", ACCOUNT, "--all"]);
        assert_eq!(text(&revoked, "way"), "handle-ops");
        assert_proven(&revoked);
        assert!(account.is_deployed(world), "deployed and burnt in one operation");
        for (_, grant) in &keys {
            assert_powerless(world, &account, grant);
        }
    }
}

#[test]
fn printed_calls_do_it_for_an_owner_who_sends_from_elsewhere() {
    let Some(world) = world() else { return };
    let _turn = OWNERS_SEND.lock();
    let account = TestAccount::counterfactual(world, KernelVersion::V0_2_4);
    let owner = owner_of(world, &account);
    let keys = ["first", "second"].map(|label| granted(world, &owner, &account, label));
    let printed = owner.ok(&["revoke", ACCOUNT, "--all", "--print"]);
    for call in printed["calls"].as_array().expect("calls") {
        let from = call["from"].as_str().map_or(account.owner().address(), |a| a.parse().expect("an address"));
        world.chain.send_as(from, parse(call["to"].clone()), U256::ZERO, parse(call["data"].clone()));
    }
    for (_, grant) in &keys {
        assert_powerless(world, &account, grant);
    }
}

#[test]
fn a_racing_agent_gets_no_rewind_and_the_next_plan_ends_it() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::V0_2_4);
    let racers: &'static Mutex<Vec<Grant>> = Box::leak(Box::new(Mutex::new(Vec::new())));
    let address = account.address;
    let racing = TestAccount::same_as(&account);
    let proxy = Proxy::start(world, move |request| {
        if request.method == "eth_sendUserOperation" {
            // Between plan and block the agent enables both of its approvals.
            for grant in racers.lock().expect("the racers").drain(..) {
                let mut op = unsigned(world, &racing, &execute(world.chain.targets.board, &tickCall {}));
                sign_as_session(&mut op, &grant, Mode::Enable, Shown::One(0));
                world.chain.handle_op((&op).into());
            }
        }
        request.on()
    });
    let owner = Keyleash::with_network(world, &proxy.url, None);
    owner.adopt(world, &account);
    let keys = ["one", "two", "three"].map(|label| granted(world, &owner, &account, label));
    *racers.lock().expect("the racers") = keys[..2].iter().map(|(id, _)| owner.holder(&account, id)).collect();

    let outcome = owner.run(&["revoke", ACCOUNT, "--all", "--via", "bundler"]).exits(6);
    assert_eq!(outcome.error_code(), "revoke.raced", "{outcome:#?}");
    assert_eq!(outcome.data()["proofs"], json!([]), "{outcome:#?}");
    assert_eq!(account.last_nonce(world, Generation::G2), 2, "no rewind of {address}");
    let state = |id: &str| text(&owner.ok(&["key", "show", id]), "state").to_owned();
    assert_eq!(
        [state("one"), state("two"), state("three")],
        ["active", "active", "pending"],
        "nothing is called revoked"
    );

    assert_proven(&owner.ok(&["revoke", ACCOUNT, "--all"]));
    for (_, grant) in &keys {
        assert_powerless(world, &account, grant);
    }
}

#[test]
fn an_agent_that_uses_up_the_common_nonce_does_not_stand_in_the_way() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::V0_2_4);
    let racers: &'static Mutex<Vec<Grant>> = Box::leak(Box::new(Mutex::new(Vec::new())));
    let racing = TestAccount::same_as(&account);
    let proxy = Proxy::start(world, move |request| {
        if request.method == "eth_sendUserOperation" {
            for grant in racers.lock().expect("the racers").iter() {
                let mut op = unsigned(world, &racing, &execute(world.chain.targets.board, &tickCall {}));
                sign_as_session(&mut op, grant, Mode::Use, Shown::One(0));
                world.chain.handle_op((&op).into());
            }
        }
        request.on()
    });
    let owner = Keyleash::with_network(world, &proxy.url, None);
    owner.adopt(world, &account);
    let (id, grant) = granted(world, &owner, &account, "busy");
    used(&owner, world, &id);
    racers.lock().expect("the racers").push(owner.holder(&account, &id));
    assert_proven(&owner.ok(&["revoke", ACCOUNT, "busy", "--via", "bundler"]));
    racers.lock().expect("the racers").clear();
    assert_powerless(world, &account, &grant);
}

#[test]
fn a_key_that_only_the_chain_knows_is_found_and_taken_back() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::V0_2_4);
    let grant = account.grant(world, scope(vec![permission(world.chain.targets.board, tickCall::SELECTOR)]));
    let mut op = unsigned(world, &account, &execute(world.chain.targets.board, &tickCall {}));
    sign_as_session(&mut op, &grant, Mode::Enable, Shown::One(0));
    world.chain.handle_op((&op).into());

    let owner = owner_of(world, &account);
    let findings = owner.ok(&["account", "show", ACCOUNT])["findings"].to_string();
    assert!(findings.contains("unknown_turns"), "{findings}");
    owner.ok(&["key", "scan", ACCOUNT]);
    let keys = owner.ok(&["key", "ls", ACCOUNT]);
    let found = keys.as_array().and_then(|k| k.first()).expect("one key");
    assert_eq!(parse::<Address>(found["session_key"].clone()), grant.key.address(), "{found}");
    assert_proven(&owner.ok(&["revoke", ACCOUNT, text(found, "key_id")]));
    assert_powerless(world, &account, &grant);
}

#[test]
fn a_transaction_that_is_stuck_is_replaced_by_a_dearer_one() {
    let Some(_) = world() else { return };
    let _turn = OWNERS_SEND.lock();
    // A world of its own, because it stops making blocks for a while.
    let world = World::start();
    let account = TestAccount::deployed(&world, KernelVersion::V0_2_4);
    let owner = Keyleash::with_network(&world, NOBODY, None);
    owner.adopt(&world, &account);
    let (_, grant) = granted(&world, &owner, &account, "pending");
    world.chain.rpc("evm_setAutomine", json!([false]));
    let mut stuck = owner.command(&["revoke", ACCOUNT, "pending"]).spawn().expect("keyleash starts");
    let sent = wait_for(30, || {
        let waiting = world.chain.rpc("txpool_status", json!([]))["pending"].clone();
        (parse::<U256>(waiting) == U256::ONE).then_some(())
    });
    assert!(sent.is_some(), "nothing was sent");
    stuck.kill().expect("killed");
    stuck.wait().expect("gone");
    let waiting = || world.chain.rpc("txpool_content", json!([]))["pending"].to_string();
    let first = waiting();

    let planned = owner.ok(&["revoke", ACCOUNT, "pending", "--dry-run"]);
    assert!(planned["replaces"].is_string(), "{planned}");
    let again = owner.command(&["revoke", ACCOUNT, "pending"]).spawn().expect("keyleash starts");
    let replaced = wait_for(60, || (waiting() != first).then_some(()));
    assert!(replaced.is_some(), "nothing took its place");
    assert_eq!(
        parse::<U256>(world.chain.rpc("txpool_status", json!([]))["pending"].clone()),
        U256::ONE,
        "one of the two"
    );
    world.chain.rpc("evm_setAutomine", json!([true]));
    world.chain.mine();
    let output = again.wait_with_output().expect("an end");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(self_bundled(&world, &account, &grant, Mode::Enable).is_some());
}

#[test]
fn a_key_that_nobody_knows_is_answered_honestly() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::V0_2_4);
    let owner = owner_of(world, &account);
    let stranger = Address::repeat_byte(0x51).to_string();
    let outcome = owner.run(&["revoke", ACCOUNT, &stranger]).exits(1);
    assert_eq!(outcome.error_code(), "revoke.nothing");
    assert!(outcome.hint().contains("--pause"), "{outcome:#?}");
}

#[test]
fn an_owner_who_is_not_the_owner_any_more_is_stopped_before_anything_is_sent() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::V0_2_4);
    let owner = owner_of(world, &account);
    let (_, grant) = granted(world, &owner, &account, "pending");
    let ecdsa = keyleash::protocol::kernel_v2::generation::ECDSA_VALIDATOR.to_string();
    let other = Address::repeat_byte(0x52).to_string();
    owner.ok(&["send", "--as-owner", ACCOUNT, "--to", &ecdsa, "--call", "enable(bytes)", "--arg", &other]);
    owner.refused(&["revoke", ACCOUNT, "pending"], 1, "account.owner_changed");
    assert_powerless(world, &account, &grant);
    assert_eq!(text(&owner.ok(&["key", "show", "pending"]), "state"), "stale");
}

//! Every way a key can overstep its scope: refused by our judge before anything leaves the machine, and - with the operation
//! built here from `keyleash::protocol::kernel_v2`, for there is no bypass in the product - by the bundler, for the same reason.

use std::{
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use alloy::{
    primitives::{Address, Bytes, U256},
    sol_types::SolCall,
};
use keyleash::protocol::{
    AccountCall, Call,
    kernel_v2::{
        generation::{Generation, KernelVersion},
        signature::{Mode, Shown},
    },
};

use crate::support::{
    World,
    account::{Grant, TestAccount},
    chain::{ETHER, balanceOfCall, boomCall, countCall, mintCall, payCall, tickCall, transferCall},
    keyleash::{Keyleash, send, send_data, text},
    operation::{execute, inner, sign_as_session, unsigned},
    paymaster::PaymasterService,
    policy::{may_call, may_mint, policy, policy_with, when},
    rpc::RpcError,
    world,
};

/// What the bundler says to this call by this key.
fn bundler_says(
    world: &World,
    account: &TestAccount,
    holder: &Grant,
    mode: Mode,
    shown: usize,
    call: Call,
) -> RpcError {
    bundler_says_with(world, account, holder, mode, shown, call, Bytes::new())
}

fn bundler_says_with(
    world: &World,
    account: &TestAccount,
    holder: &Grant,
    mode: Mode,
    shown: usize,
    call: Call,
    paymaster_and_data: Bytes,
) -> RpcError {
    let mut op = unsigned(world, account, &AccountCall::Execute(call));
    op.paymaster_and_data = paymaster_and_data;
    sign_as_session(&mut op, holder, mode, Shown::One(shown));
    match world.bundler.send(&op) {
        Err(refusal) => refusal,
        Ok(hash) => panic!("the bundler took {hash}"),
    }
}

#[track_caller]
fn assert_reason(refusal: &RpcError, code: i64, text: Option<&str>) {
    assert_eq!(refusal.code, code, "{refusal}");
    match text {
        Some(text) => assert!(refusal.message.contains(text), "expected `{text}`: {refusal}"),
        None => assert!(!refusal.message.contains("SessionKeyValidator"), "expected no text: {refusal}"),
    }
}

fn wall_clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs()
}

/// Sleeps until the wall clock and the chain are past this moment (unix seconds).
fn wait_until_after(world: &World, moment: u64) {
    while wall_clock() <= moment {
        thread::sleep(Duration::from_millis(200));
    }
    world.chain.mine();
}

struct Overstep {
    what: &'static str,
    call: Call,
    /// `errors[0].code` of `send`.
    code: &'static str,
    /// What the message has to name.
    names: Vec<String>,
    /// Position of the permission shown to the chain.
    shown: usize,
    /// The contract's text; `None` where it gives none.
    text: Option<&'static str>,
}

#[test]
fn every_broken_rule_has_the_same_reason_here_and_at_the_bundler() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::DEFAULT);
    let targets = world.chain.targets;
    let friend = Address::repeat_byte(0xf1);
    let stranger = Address::repeat_byte(0x57);
    let owner = Keyleash::new(world);
    owner.adopt(world, &account);

    let scope = [
        may_mint(targets.nft, account.address),
        may_call(targets.token, "transfer(address to, uint256 amount)"),
        when("to", "eq", friend),
        when("amount", "gte", 10),
        when("amount", "lte", 1000),
        may_call(targets.board, "pay()"),
        "value_limit = \"1 eth\"\n".to_owned(),
        may_call(
            targets.board,
            "post((address token, uint256 amount) order, uint256[2] ids, bytes4 tag, int256 delta, bool flag)",
        ),
        when("order.amount", "lt", 100),
        when("ids[1]", "eq", 7),
        when("tag", "eq", "0xc0ffee00"),
        when("delta", "eq", -5),
        when("flag", "eq", true),
    ];
    let granted = owner.grant(&policy("narrow", &scope.concat()));
    let key = text(&granted, "key_id");
    let holder = owner.holder(&account, key);

    let verification = Some("SessionKeyValidator: permission verification failed");
    let transfer = |to, amount: u64| inner(targets.token, &transferCall { to, amount: U256::from(amount) });
    let post = |amount: u64, id: u64, tag: u32, delta: i64, flag: bool| {
        // token, amount, ids, tag, delta, flag: all static, so they lie one after another.
        let selector = &alloy::primitives::keccak256("post((address,uint256),uint256[2],bytes4,int256,bool)")[..4];
        let mut tag_word = [0; 32];
        tag_word[..4].copy_from_slice(&tag.to_be_bytes());
        let words = [
            U256::ZERO,
            U256::from(amount),
            U256::ZERO,
            U256::from(id),
            U256::from_be_bytes(tag_word),
            alloy::primitives::I256::try_from(delta).expect("a small number").into_raw(),
            U256::from(u64::from(flag)),
        ];
        let words: Vec<u8> = words.iter().flat_map(U256::to_be_bytes::<32>).collect();
        Call { to: targets.board, value: U256::ZERO, data: [selector, words.as_slice()].concat().into() }
    };
    let rule = |what, call, shown, names: Vec<String>| Overstep {
        what,
        call,
        code: "denied.rule",
        names,
        shown,
        text: verification,
    };
    let pay = |wei: u128| Call { value: U256::from(wei), ..inner(targets.board, &payCall {}) };
    let mint_bytes = mintCall { to: account.address }.abi_encode();

    let oversteps = [
        Overstep {
            what: "another contract",
            call: inner(targets.reverter, &boomCall {}),
            code: "denied.target",
            names: vec![targets.reverter.to_string()],
            shown: 0,
            text: Some("SessionKeyValidator: target mismatch"),
        },
        Overstep {
            what: "another function",
            call: inner(targets.nft, &balanceOfCall { account: account.address }),
            code: "denied.selector",
            names: vec![],
            shown: 0,
            text: verification,
        },
        Overstep {
            what: "too much money",
            call: pay(2 * ETHER),
            code: "denied.value",
            names: vec![],
            shown: 2,
            text: Some("SessionKeyValidator: value limit exceeded"),
        },
        Overstep {
            what: "no data at all",
            call: Call { to: targets.nft, value: U256::ZERO, data: Bytes::new() },
            code: "denied.selector",
            names: vec![],
            shown: 0,
            text: None,
        },
        Overstep {
            what: "an argument cut off",
            call: Call { to: targets.nft, value: U256::ZERO, data: mint_bytes[..20].to_vec().into() },
            code: "denied.rule",
            names: vec!["to".into()],
            shown: 0,
            text: None,
        },
        rule(
            "minting to a stranger",
            inner(targets.nft, &mintCall { to: stranger }),
            0,
            vec!["to".into(), account.address.to_string(), stranger.to_string()],
        ),
        rule("a stranger as recipient", transfer(stranger, 10), 1, vec!["to".into(), stranger.to_string()]),
        rule("one below the range", transfer(friend, 9), 1, vec!["amount".into(), "10".into(), "9".into()]),
        rule("one above the range", transfer(friend, 1001), 1, vec!["amount".into(), "1000".into(), "1001".into()]),
        rule("a field of a tuple", post(100, 7, 0xc0ff_ee00, -5, true), 3, vec!["order.amount".into()]),
        rule("an element of an array", post(99, 8, 0xc0ff_ee00, -5, true), 3, vec!["ids[1]".into()]),
        rule("a bytes4", post(99, 7, 0xc0ff_ee01, -5, true), 3, vec!["tag".into()]),
        rule("a negative number", post(99, 7, 0xc0ff_ee00, -6, true), 3, vec!["delta".into()]),
        rule("a flag", post(99, 7, 0xc0ff_ee00, -5, false), 3, vec!["flag".into()]),
    ];
    for Overstep { what, call, code, names, shown, text } in oversteps {
        let message = owner.refused(&send_data(key, &call), 3, code);
        for name in names {
            assert!(message.contains(&name), "{what}: expected `{name}` in: {message}");
        }
        let refusal = bundler_says(world, &account, &holder, Mode::Enable, shown, call);
        assert_reason(&refusal, -32500, text);
    }
    assert_eq!(account.last_nonce(world, Generation::G2), 0, "nothing was sent");

    // And what is inside the scope passes, so the refusals above were about the rules.
    for call in [pay(ETHER), post(99, 7, 0xc0ff_ee00, -5, true)] {
        assert_eq!(owner.ok(&send_data(key, &call))["success"], true);
    }
    assert_eq!(world.chain.view(targets.board, &countCall { account: account.address }), U256::from(2));
}

#[test]
fn a_function_of_the_account_that_was_not_approved_is_refused() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::DEFAULT);
    let owner = Keyleash::new(world);
    owner.adopt(world, &account);
    let board = world.chain.targets.board;
    let granted = owner.grant(&policy("single", &may_call(board, "tick()")));
    let key = text(&granted, "key_id");
    let holder = owner.holder(&account, key);
    let batch = owner.file("batch.json", &serde_json::json!([{ "to": board, "call": "tick()" }]).to_string());
    owner.refused(&["send", key, "--batch", &batch], 3, "denied.selector");

    let call = AccountCall::ExecuteBatch(vec![inner(board, &tickCall {})]);
    let mut op = unsigned(world, &account, &call);
    sign_as_session(&mut op, &holder, Mode::Enable, Shown::Batch(&[0]));
    assert_reason(&world.bundler.send(&op).expect_err("batch with an approval for execute"), -32507, None);
}

#[test]
fn a_key_expires_in_real_seconds() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::DEFAULT);
    let owner = Keyleash::new(world);
    owner.adopt(world, &account);
    let board = world.chain.targets.board;
    let head = "valid_after = \"now\"\nvalid_until = \"30s\"\npaymaster = \"unrestricted\"\n";
    let granted = owner.grant(&policy_with("short", head, &may_call(board, "tick()")));
    let key = text(&granted, "key_id");
    let tick = send(key, board, "tick()", &[]);
    assert_eq!(owner.ok(&tick)["success"], true);

    let shown = owner.ok(&["key", "show", key]);
    wait_until_after(world, shown["valid_until"].as_u64().expect("unix seconds"));
    owner.refused(&tick, 3, "denied.expired");
    assert_eq!(text(&owner.ok(&["key", "show", key]), "state"), "expired");
    let holder = owner.holder(&account, key);
    let refusal = bundler_says(world, &account, &holder, Mode::Use, 0, inner(board, &tickCall {}));
    assert_reason(&refusal, -32503, Some("expires too soon"));
}

#[test]
fn a_key_that_is_not_valid_yet_becomes_so_in_real_seconds() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::DEFAULT);
    let owner = Keyleash::new(world);
    owner.adopt(world, &account);
    let board = world.chain.targets.board;
    let start = wall_clock() + 40;
    let head = format!("valid_after = {start}\nvalid_until = \"1h\"\npaymaster = \"unrestricted\"\n");
    let granted = owner.grant(&policy_with("later", &head, &may_call(board, "tick()")));
    let key = text(&granted, "key_id");
    let holder = owner.holder(&account, key);
    let tick = send(key, board, "tick()", &[]);

    owner.refused(&tick, 3, "denied.not_yet");
    assert_eq!(text(&owner.ok(&["key", "show", key]), "state"), "not-yet");
    let refusal = bundler_says(world, &account, &holder, Mode::Enable, 0, inner(board, &tickCall {}));
    assert_reason(&refusal, -32503, Some("not valid yet"));

    // The owner can enable it early; it stays useless until its time.
    owner.ok(&["key", "enable", key]);
    assert_eq!(text(&owner.ok(&["key", "show", key]), "state"), "not-yet");
    owner.refused(&tick, 3, "denied.not_yet");

    wait_until_after(world, start);
    assert_eq!(owner.ok(&tick)["success"], true);
}

#[test]
fn run_limits_count_uses_and_a_failing_use_counts() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::DEFAULT);
    let owner = Keyleash::new(world);
    owner.adopt(world, &account);
    let targets = world.chain.targets;
    let scope = may_call(targets.board, "tick()")
        + "limit = { runs = 2 }\n"
        + &may_call(targets.reverter, "boom()")
        + "limit = { runs = 1 }\n";
    let granted = owner.grant(&policy("counted", &scope));
    let key = text(&granted, "key_id");
    let holder = owner.holder(&account, key);
    let tick = send(key, targets.board, "tick()", &[]);
    for _ in 0..2 {
        assert_eq!(owner.ok(&tick)["success"], true);
    }
    owner.refused(&tick, 3, "denied.runs");
    let refusal = bundler_says(world, &account, &holder, Mode::Use, 0, inner(targets.board, &tickCall {}));
    assert_reason(&refusal, -32500, Some("SessionKeyValidator: runs exceeded"));

    // A use whose inner call reverts is mined, and counted.
    let mut op = unsigned(world, &account, &execute(targets.reverter, &boomCall {}));
    sign_as_session(&mut op, &holder, Mode::Use, Shown::One(1));
    assert!(!world.bundler.run(&op).unwrap_or_else(|e| panic!("{e}")));
    owner.refused(&send(key, targets.reverter, "boom()", &[]), 3, "denied.runs");
    assert_eq!(text(&owner.ok(&["key", "show", key]), "state"), "spent");
}

#[test]
fn an_interval_keeps_uses_apart() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::DEFAULT);
    let owner = Keyleash::new(world);
    owner.adopt(world, &account);
    let board = world.chain.targets.board;
    let scope = may_call(board, "tick()") + "limit = { start = \"now\", every = \"1h\", runs = 5 }\n";
    let granted = owner.grant(&policy("hourly", &scope));
    let key = text(&granted, "key_id");
    let holder = owner.holder(&account, key);
    let tick = send(key, board, "tick()", &[]);
    assert_eq!(owner.ok(&tick)["success"], true);
    owner.refused(&tick, 3, "denied.interval");
    let refusal = bundler_says(world, &account, &holder, Mode::Use, 0, inner(board, &tickCall {}));
    assert_reason(&refusal, -32503, Some("not valid yet"));
}

#[test]
fn a_key_without_paymaster_works_with_and_without_a_sponsor() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::DEFAULT);
    let paying = Keyleash::new(world);
    paying.adopt(world, &account);
    let board = world.chain.targets.board;
    let granted = paying.grant(&policy("free", &may_call(board, "tick()")));
    let key = text(&granted, "key_id");
    let tick = send(key, board, "tick()", &[]);
    let before = world.chain.balance(account.address);
    assert_eq!(paying.ok(&tick)["success"], true);
    assert!(world.chain.balance(account.address) < before, "the account paid");

    // The same key held where a sponsor pays, in each dialect.
    let approval = paying.file("approval", &paying.exported(key, "v4"));
    for kind in ["erc7677", "pimlico", "zerodev"] {
        let sponsored = Keyleash::sponsored(world, kind);
        sponsored.ok(&["agent", "import", &approval]);
        let address = text(&granted, "session_key");
        let before = world.chain.balance(account.address);
        let sent = sponsored.ok(&send(address, board, "tick()", &[]));
        assert_eq!(sent["success"], true, "{kind}: {sent}");
        assert_eq!(world.chain.balance(account.address), before, "{kind}: the paymaster paid");
    }
}

#[test]
fn any_sponsor_asks_for_some_paymaster_and_twenty_zero_bytes_are_one() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::DEFAULT);
    let head = "valid_after = \"now\"\nvalid_until = \"7d\"\npaymaster = \"any-sponsor\"\n";
    let board = world.chain.targets.board;
    let owner = Keyleash::new(world);
    owner.adopt(world, &account);
    let policy = policy_with("sponsored", head, &may_call(board, "tick()"));
    let granted = owner.grant(&policy);
    let key = text(&granted, "key_id");
    let holder = owner.holder(&account, key);

    owner.refused(&send(key, board, "tick()", &[]), 3, "denied.paymaster");
    let refusal = bundler_says(world, &account, &holder, Mode::Enable, 0, inner(board, &tickCall {}));
    assert_reason(&refusal, -32500, Some("SessionKeyValidator: paymaster not set"));

    let sponsored = Keyleash::sponsored(world, "erc7677");
    let approval = owner.file("approval", &owner.exported(key, "v4"));
    sponsored.ok(&["agent", "import", &approval]);
    let sent = sponsored.ok(&send(text(&granted, "session_key"), board, "tick()", &[]));
    assert_eq!(sent["success"], true, "{sent}");

    // Why risk R06 exists: the zero address passes for a sponsor, and the account pays. Bundlers refuse it, the chain does not.
    let before = world.chain.balance(account.address);
    let mut op = unsigned(world, &account, &execute(board, &tickCall {}));
    op.paymaster_and_data = Bytes::from(Address::ZERO.to_vec());
    sign_as_session(&mut op, &holder, Mode::Use, Shown::One(0));
    world.chain.handle_op((&op).into());
    assert!(world.chain.balance(account.address) < before);
    assert_eq!(world.chain.view(board, &countCall { account: account.address }), U256::from(2));
}

#[test]
fn a_pinned_paymaster_is_the_only_one() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::DEFAULT);
    let board = world.chain.targets.board;
    let head = format!("valid_after = \"now\"\nvalid_until = \"7d\"\npaymaster = \"{}\"\n", world.chain.paymaster);
    let owner = Keyleash::sponsored(world, "erc7677");
    owner.adopt(world, &account);
    let granted = owner.grant(&policy_with("pinned", &head, &may_call(board, "tick()")));
    let key = text(&granted, "key_id");
    let holder = owner.holder(&account, key);
    let session_key = text(&granted, "session_key");
    let approval = owner.file("approval", &owner.exported(key, "v4"));
    let tick = send(session_key, board, "tick()", &[]);

    // None at all.
    let alone = Keyleash::new(world);
    alone.ok(&["agent", "import", &approval]);
    alone.refused(&tick, 3, "denied.paymaster");
    let refusal = bundler_says(world, &account, &holder, Mode::Enable, 0, inner(board, &tickCall {}));
    assert_reason(&refusal, -32500, None);

    // Another one, which would pay.
    let other = world.chain.deploy_verifying_paymaster();
    let service = PaymasterService::start_for(other, &world.chain, &world.bundler);
    let elsewhere = Keyleash::with_network(world, &world.bundler.url, Some((&service.url, "erc7677")));
    elsewhere.ok(&["agent", "import", &approval]);
    let message = elsewhere.refused(&tick, 3, "denied.paymaster");
    assert!(message.contains(&other.to_string()) && message.contains(&world.chain.paymaster.to_string()), "{message}");
    let data = [other.as_slice(), &[0; 64]].concat().into();
    let refusal = bundler_says_with(world, &account, &holder, Mode::Enable, 0, inner(board, &tickCall {}), data);
    assert_reason(&refusal, -32500, Some("SessionKeyValidator: paymaster mismatch"));

    // The right one.
    let before = world.chain.balance(account.address);
    assert_eq!(owner.ok(&tick)["success"], true);
    assert_eq!(world.chain.balance(account.address), before);
    assert!(!world.paymaster.heard("pm_getPaymasterData", account.address).is_empty());
}

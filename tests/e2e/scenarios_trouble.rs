//! Bad input and bad company: what is malformed is refused with its name and the fix, and nothing is written or signed; a
//! bundler that lies is caught; what was mined and failed is not called done.

use alloy::primitives::{Address, U256};
use alloy::sol_types::SolCall;
use keyleash::{
    protocol::kernel_v2::{
        blob,
        generation::{Generation, KernelVersion},
    },
    secret::Secret,
};
use serde_json::{Value, json};

use crate::support::{
    World,
    account::{TestAccount, permission, scope},
    chain::{CHAIN_ID, ETHER, tickCall},
    keyleash::{ACCOUNT, Keyleash, send, text},
    policy::{may_call, policy, policy_with},
    proxy::Proxy,
    world,
};

/// An owner with an account, ready to grant.
fn owner(world: &World) -> (Keyleash, TestAccount) {
    let account = TestAccount::deployed(world, KernelVersion::DEFAULT);
    let owner = Keyleash::new(world);
    owner.adopt(world, &account);
    (owner, account)
}

/// The address with the case of one letter changed.
fn with_wrong_checksum(address: Address) -> String {
    let mut text = address.to_string().into_bytes();
    let letter = text.iter().rposition(u8::is_ascii_alphabetic).expect("a letter in the address");
    text[letter] ^= 0x20;
    String::from_utf8(text).expect("ASCII")
}

#[test]
fn a_policy_that_is_wrong_is_refused_with_its_field_and_signs_nothing() {
    let Some(world) = world() else { return };
    let (owner, _account) = owner(world);
    let board = world.chain.targets.board;
    let tick = may_call(board, "tick()");
    let wrong_checksum = with_wrong_checksum(board);
    let long = "x".repeat(500);
    let cases: [(&str, String, &[&str]); 9] = [
        (
            "wrong checksum",
            policy("a", &format!("[[permission]]\ntarget = \"{wrong_checksum}\"\nfunction = \"tick()\"\n")),
            &["target"],
        ),
        ("unknown key", policy("a", &(tick.clone() + "value_limt = \"1\"\n")), &["value_limt", "value_limit"]),
        (
            "milliseconds",
            policy_with("a", "valid_after = 0\nvalid_until = 1893456000000\npaymaster = \"unrestricted\"\n", &tick),
            &["valid_until"],
        ),
        ("overlong label", policy(&long, &tick), &["label"]),
        ("label with escapes", policy("a\\u001b[2Jb", &tick), &["label"]),
        ("no permission", policy("a", ""), &["permission"]),
        ("no end", policy_with("a", "paymaster = \"unrestricted\"\n", &tick), &["valid_until"]),
        ("no word about gas", policy_with("a", "valid_until = \"1h\"\n", &tick), &["paymaster"]),
        ("not TOML", "label = ".to_owned(), &[]),
    ];
    for (what, policy, names) in cases {
        let file = owner.file("policy.toml", &policy);
        let outcome = owner.run(&["grant", ACCOUNT, "--policy", &file, "--new-key"]).exits(2);
        let said = format!("{} {}", outcome.message(), outcome.hint());
        for name in names {
            assert!(said.contains(name), "{what}: expected `{name}` in: {said}");
        }
        assert!(!said.contains('\u{1b}'), "{what}: control characters come back");
        assert!(said.len() < 2000, "{what}: the message is of a readable length");
    }
    assert_eq!(owner.ok(&["key", "ls", ACCOUNT]), json!([]), "nothing was written");
    assert_eq!(text(&owner.grant(&policy("fine", &tick)), "nonce"), "1", "no nonce was used up");
}

#[test]
fn an_approval_file_that_is_wrong_is_refused() {
    let Some(world) = world() else { return };
    let (owner, account) = owner(world);
    let granted = owner.grant(&policy("bot", &may_call(world.chain.targets.board, "tick()")));
    let whole = owner.exported(text(&granted, "key_id"), "v4");
    let holder = owner.holder(&account, text(&granted, "key_id"));
    let secret = alloy::hex::encode(holder.key.to_bytes());
    let cases = [
        ("empty", String::new()),
        ("cut off", whole.trim()[..whole.trim().len() / 2].to_owned()),
        ("no base64", "~~~ not an approval ~~~".to_owned()),
        ("ten megabytes", "A".repeat(10 << 20)),
    ];
    let agent = Keyleash::new(world);
    for (what, content) in cases {
        let file = agent.file("approval", &content);
        for command in [&["inspect", file.as_str()][..], &["agent", "import", file.as_str()][..]] {
            let outcome = agent.run(command);
            assert_eq!(outcome.exit, 2, "{what}: {outcome:#?}");
            assert!(!outcome.message().is_empty() && outcome.message().len() < 2000, "{what}");
            assert!(
                !outcome.envelope.to_string().contains(&secret) && !outcome.stderr.contains(&secret),
                "{what}: a secret shows"
            );
        }
    }
    assert_eq!(agent.ok(&["agent", "ls"]), json!([]), "nothing was kept");
}

#[test]
fn an_approval_of_another_chain_is_not_taken_in() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::DEFAULT);
    let wanted = scope(vec![permission(world.chain.targets.board, tickCall::SELECTOR)]);
    let taken_in = |chain_id| {
        let grant = account.grant_with(world, wanted.clone(), |request| request.chain_id = chain_id);
        let secret = Secret::from_bytes(&mut grant.key.to_bytes().0).expect("a private key");
        let blob = blob::write(&grant.approval, &wanted, None, keyleash::protocol::Format::V4, Some(&secret))
            .expect("an approval");
        let agent = Keyleash::new(world);
        let outcome = agent.run(&["agent", "import", &agent.file("approval", &blob)]);
        (outcome, agent.ok(&["key", "ls"]).as_array().map(Vec::len))
    };
    let (here, kept) = taken_in(CHAIN_ID);
    assert_eq!((here.exit, kept), (0, Some(1)), "{here:#?}");
    let (elsewhere, kept) = taken_in(1);
    assert_eq!((elsewhere.exit, kept), (1, Some(0)), "{elsewhere:#?}");
    assert!(elsewhere.message().contains(&CHAIN_ID.to_string()), "{elsewhere:#?}");
}

#[test]
fn a_network_with_another_chain_id_stops_everything() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::DEFAULT);
    let owner = Keyleash::bare();
    owner.ok(&["init", "--vault", "file"]);
    let (node, bundler) = (&world.chain.url, &world.bundler.url);
    owner.ok(&["network", "add", "wrong", "--chain-id", "1", "--rpc", node, "--bundler", bundler]);
    let checked = owner.run(&["network", "check", "wrong"]).exits(4);
    assert!(checked.data()["probes"].to_string().contains(&CHAIN_ID.to_string()), "{checked:#?}");
    let key = owner.file("owner.key", account.owner_key());
    let address = account.address.to_string();
    let add = ["account", "add", ACCOUNT, "--network", "wrong", "--address", &address, "--owner-key-file", &key];
    let message = owner.refused(&add, 4, "chain.wrong_chain");
    assert!(message.contains(&CHAIN_ID.to_string()), "{message}");
}

#[test]
fn a_wrong_checksum_on_the_command_line_is_refused() {
    let Some(world) = world() else { return };
    let (owner, account) = owner(world);
    let address = with_wrong_checksum(account.address);
    let outcome = owner.run(&["account", "add", "other", "--address", &address]).exits(2);
    assert!(outcome.message().contains("checksum") || outcome.hint().contains("checksum"), "{outcome:#?}");
}

/// Sends through a bundler that answers one method with something else.
fn sending_through(world: &World, method: &'static str, lie: fn(Value) -> Value) -> (Keyleash, Proxy, Vec<String>) {
    let account = TestAccount::deployed(world, KernelVersion::DEFAULT);
    let proxy = Proxy::start(world, move |request| {
        let answer = request.on()?;
        Ok(if request.method == method { lie(answer) } else { answer })
    });
    let owner = Keyleash::with_network(world, &proxy.url, None);
    owner.adopt(world, &account);
    let board = world.chain.targets.board;
    let granted = owner.grant(&policy("bot", &may_call(board, "tick()")));
    let tick = send(text(&granted, "key_id"), board, "tick()", &[]);
    (owner, proxy, tick)
}

#[test]
fn a_bundler_that_asks_absurd_fees_gets_nothing() {
    let Some(world) = world() else { return };
    let (owner, proxy, tick) = sending_through(world, "pimlico_getUserOperationGasPrice", |mut answer| {
        let price = U256::from(ETHER);
        for speed in ["slow", "standard", "fast"] {
            answer[speed] = json!({ "maxFeePerGas": price, "maxPriorityFeePerGas": price });
        }
        answer
    });
    let message = owner.refused(&tick, 4, "chain.above_ceiling");
    assert!(message.contains("maxFeePerGas"), "{message}");
    assert!(proxy.heard("eth_sendUserOperation").is_empty(), "nothing was sent");
}

#[test]
fn a_bundler_that_asks_absurd_gas_gets_nothing() {
    let Some(world) = world() else { return };
    let (owner, proxy, tick) = sending_through(world, "eth_estimateUserOperationGas", |mut answer| {
        answer["preVerificationGas"] = json!("0xffffffffffff");
        answer
    });
    let message = owner.refused(&tick, 4, "chain.above_ceiling");
    assert!(message.contains("preVerificationGas"), "{message}");
    assert!(proxy.heard("eth_sendUserOperation").is_empty(), "nothing was sent");
}

#[test]
fn a_bundler_that_reports_another_hash_is_caught() {
    let Some(world) = world() else { return };
    let (owner, _proxy, tick) =
        sending_through(world, "eth_sendUserOperation", |_| json!(alloy::primitives::B256::repeat_byte(0xab)));
    let outcome = owner.run(&tick).exits(4);
    assert!(outcome.message().contains("hash"), "{outcome:#?}");
}

#[test]
fn what_is_mined_and_fails_is_not_called_done() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::DEFAULT);
    // A real estimate would refuse a call that reverts; this one does not look.
    let proxy = Proxy::start(world, |request| {
        if request.method == "eth_estimateUserOperationGas" {
            return Ok(
                json!({ "preVerificationGas": "0x186a0", "verificationGasLimit": "0x7a120", "callGasLimit": "0x30d40" }),
            );
        }
        request.on()
    });
    let owner = Keyleash::with_network(world, &proxy.url, None);
    owner.adopt(world, &account);
    let reverter = world.chain.targets.reverter;
    let granted = owner.grant(&policy("clumsy", &may_call(reverter, "boom()")));
    let outcome = owner.run(&send(text(&granted, "key_id"), reverter, "boom()", &[])).exits(6);
    assert_eq!(outcome.data()["success"], false, "{outcome:#?}");
    assert!(text(outcome.data(), "revert_reason").contains("boom"), "{outcome:#?}");
    assert_eq!(account.last_nonce(world, Generation::G2), 1, "the failing operation enabled the key all the same");
    assert_eq!(text(&owner.ok(&["key", "show", text(&granted, "key_id")]), "state"), "active");
}

#[test]
fn a_call_that_would_revert_is_found_out_before_it_is_sent() {
    let Some(world) = world() else { return };
    let (owner, account) = owner(world);
    let reverter = world.chain.targets.reverter;
    let granted = owner.grant(&policy("clumsy", &may_call(reverter, "boom()")));
    let boom = send(text(&granted, "key_id"), reverter, "boom()", &[]);
    assert!(owner.refused(&boom, 1, "call.reverts").contains("boom"));
    assert_eq!(account.last_nonce(world, Generation::G2), 0, "nothing was sent");
}

#[test]
fn dangerous_scopes_are_refused_without_their_phrase() {
    let Some(world) = world() else { return };
    let (owner, account) = owner(world);
    let everything = "everything = true\nvalid_until = \"1h\"\npaymaster = \"unrestricted\"\n";
    let cases = [
        ("R01", policy_with("all", everything, "")),
        ("R02", policy("self", &may_call(account.address, "disableMode(bytes4)"))),
        ("R02", policy("validator", &may_call(Generation::G2.address(), "disable(bytes)"))),
        ("R12", policy("delegate", &(may_call(world.chain.targets.mark, "mark()") + "operation = \"delegatecall\"\n"))),
        ("R03", policy("any", "[[permission]]\ntarget = \"any\"\nfunction = \"transferOwnership(address)\"\n")),
    ];
    for (id, policy) in cases {
        let file = owner.file("policy.toml", &policy);
        let outcome = owner.run(&["grant", ACCOUNT, "--policy", &file, "--new-key"]);
        assert_eq!((outcome.exit, outcome.error_code()), (1, format!("risk.{id}").as_str()), "{outcome:#?}");
    }
    assert_eq!(owner.ok(&["key", "ls", ACCOUNT]), json!([]));
}

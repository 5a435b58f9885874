//! Whose keys are shown and ended: an account is (chain, address) whatever its network is called, records are verified before they
//! are shown, and a label says which key is meant.

use std::{collections::BTreeSet, thread};

use keyleash::protocol::kernel_v2::generation::{Generation, KernelVersion};
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use crate::support::{
    World,
    account::{TestAccount, session_key},
    keyleash::{ACCOUNT, Keyleash, send, text},
    policy::{may_call, may_mint, policy, policy_with},
    world,
};

/// A home in which the account is `treasury` on `local` and `again` on `main2`, two names of the same chain.
fn under_two_names(world: &World, account: &TestAccount) -> Keyleash {
    let owner = Keyleash::bare();
    owner.ok(&["init", "--vault", "file"]);
    let key = owner.file("owner.key", account.owner_key());
    let address = account.address.to_string();
    for (network, name) in [("local", ACCOUNT), ("main2", "again")] {
        let (rpc, bundler) = (&world.chain.url, &world.bundler.url);
        owner.ok(&["network", "add", network, "--chain-id", "31337", "--rpc", rpc, "--bundler", bundler]);
        owner.ok(&["account", "add", name, "--network", network, "--address", &address, "--owner-key-file", &key]);
    }
    owner
}

fn state(owner: &Keyleash, key: &str) -> String {
    text(&owner.ok(&["key", "show", key]), "state").to_owned()
}

#[test]
fn k3_an_account_under_two_network_names_is_granted_for_and_revoked_as_one() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::DEFAULT);
    let owner = under_two_names(world, &account);
    let board = world.chain.targets.board;
    let agent = text(&owner.ok(&["agent", "new", "helper"]), "address").to_owned();
    let fixed = "valid_after = 0\nvalid_until = \"2099-01-01T00:00:00Z\"\npaymaster = \"unrestricted\"\n";
    let file = owner.file("policy.toml", &policy_with("bot", fixed, &may_call(board, "tick()")));
    let grant =
        |name: &str, label: &str| owner.ok(&["grant", name, "--policy", &file, "--agent", &agent, "--label", label]);
    // The same agent and the same scope under both names: each has its own nonce, so that no two have one digest.
    let granted = [grant(ACCOUNT, "one"), grant("again", "two"), grant(ACCOUNT, "three")];
    assert_eq!(granted.each_ref().map(|g| text(g, "nonce")), ["1", "2", "3"]);
    let digests: BTreeSet<&str> = granted.iter().map(|g| text(g, "digest")).collect();
    assert_eq!(digests.len(), 3);
    for name in [ACCOUNT, "again"] {
        let keys = owner.ok(&["key", "ls", name]);
        let states: Vec<_> = keys.as_array().expect("keys").iter().map(|k| text(k, "state")).collect();
        assert_eq!(states, ["pending", "queued", "queued"], "{name}");
        let shown = owner.ok(&["account", "show", name]);
        assert_eq!(
            (shown["keys"].as_array().map(Vec::len), &shown["findings"]),
            (Some(3), &json!([])),
            "{name}: {shown}"
        );
    }
    owner.ok(&send("one", board, "tick()", &[]));
    assert_eq!(state(&owner, "one"), "active");

    // Off the list under one name, it is the same account under the other.
    owner.ok(&["account", "rm", ACCOUNT]);
    let revoked = owner.ok(&["revoke", "again", "--all"]);
    assert_eq!(revoked["success"], true, "{revoked}");
    for key in ["one", "two", "three"] {
        assert_eq!(state(&owner, key), "revoked", "{key}");
    }
    assert_eq!(account.last_nonce(world, Generation::G2), 3);
    owner.refused(&["revoke", "again", "--all"], 1, "revoke.nothing");
}

#[test]
fn k3_what_an_earlier_version_recorded_for_two_keys_is_named_and_ends_as_one() {
    if world().is_none() {
        return;
    }
    let chain = crate::scenarios_records::replayed();
    let home = crate::scenarios_records::home_on(&chain);
    for account in ["second", "second-again"] {
        let shown = home.ok(&["account", "show", account]);
        assert!(shown["findings"].to_string().contains("same_approval"), "{account}: {shown}");
        assert_eq!(shown["keys"].as_array().map(Vec::len), Some(2), "{account}");
    }
    assert_eq!([state(&home, "same"), state(&home, "same again")], ["pending", "pending"]);
    let revoked = home.ok(&["revoke", "second-again", "same again", "--via", "owner"]);
    assert_eq!(revoked["success"], true, "{revoked}");
    assert_eq!(revoked["also_revokes"], json!(["same"]), "{revoked}");
    // It is one approval, so it is proven for both.
    assert_eq!([state(&home, "same again"), state(&home, "same")], ["revoked", "revoked"]);

    // `pending` and `twin` wait for one nonce: whichever is enabled, the other is over. Everything ends under either name.
    let target = home.ok(&["key", "show", "active"])["permissions"][0]["target"].as_str().map(str::parse);
    let file =
        home.file("policy.toml", &policy("next", &may_call(target.expect("a target").expect("an address"), "tick()")));
    let granted = home.ok(&["grant", "treasury-again", "--policy", &file, "--new-key"]);
    assert_eq!(text(&granted, "nonce"), "14", "after the approvals of both names, the imported one (13) too");
    home.ok(&["revoke", "treasury-again", "--all", "--via", "owner"]);
    for key in ["active", "pending", "queued", "twin", "next", "imported"] {
        assert_eq!(state(&home, key), "revoked", "{key}");
    }
}

/// Changes a record as another program would: `path` in the JSON of a row.
fn edit(home: &Keyleash, table: &str, key_id: &str, path: &str, value: &str) {
    let column = if table == "key" { "id" } else { "key_id" };
    let sql = format!("UPDATE {table} SET record = json_set(record, ?1, json(?2)) WHERE {column} = ?3");
    let changed = Connection::open(home.path("home/records.db"))
        .expect("the records")
        .execute(&sql, params![path, value, key_id]);
    assert_eq!(changed.expect("an edit"), 1);
}

#[test]
fn k13_a_record_that_was_edited_is_never_shown_as_the_truth() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::DEFAULT);
    let owner = Keyleash::new(world);
    owner.adopt(world, &account);
    let targets = world.chain.targets;
    let scope = may_mint(targets.nft, account.address) + &may_call(targets.board, "tick()");
    let edits = [
        ("target", "key", "$.scope.permissions[0].target", format!("\"{}\"", targets.token)),
        ("second permission", "key", "$.scope.permissions[1].sig", "\"0x12345678\"".to_owned()),
        ("window", "key", "$.scope.validUntil", "0".to_owned()),
        ("paymaster", "key", "$.scope.paymaster", format!("\"{}\"", world.chain.paymaster)),
        ("owner", "key", "$.owner", format!("\"{}\"", targets.nft)),
        ("signature", "approval", "$.signature", format!("\"0x{}1b\"", "11".repeat(64))),
    ];
    for (what, table, path, value) in &edits {
        let granted = owner.grant(&policy(&format!("edited {what}"), &scope));
        let id = text(&granted, "key_id");
        edit(&owner, table, id, path, value);
        let is_damaged = |key: &Value| {
            assert_eq!(text(key, "state"), "damaged", "{what}: {key}");
            assert!(text(key, "state_reason").contains("does not verify"), "{what}: {key}");
            assert_eq!((&key["permissions"], &key["scope_known"]), (&json!([]), &json!(false)), "{what}: {key}");
        };
        is_damaged(&owner.ok(&["key", "show", id]));
        let of = |keys: &Value| keys.as_array().and_then(|k| k.iter().find(|k| k["key_id"] == id).cloned());
        is_damaged(&of(&owner.ok(&["key", "ls", ACCOUNT])).expect("in the list"));
        is_damaged(&of(&owner.ok(&["account", "show", ACCOUNT])["keys"]).expect("in the account"));
        let (_, said) = owner.tell(&["key", "show", id]);
        assert!(said.contains("damaged") && !said.contains("· may call"), "{what}: {said}");
    }
    // What was not touched is shown as ever.
    let granted = owner.grant(&policy("untouched", &scope));
    assert_eq!(state(&owner, text(&granted, "key_id")), "queued");
}

#[test]
fn k16_a_label_that_cannot_be_read_or_typed_is_refused_wherever_one_is_given() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::DEFAULT);
    let owner = Keyleash::new(world);
    owner.adopt(world, &account);
    let tick = may_call(world.chain.targets.board, "tick()");
    let granted = owner.grant(&policy("mint-bot", &tick));
    let (id, address) = (text(&granted, "key_id"), text(&granted, "session_key"));
    let file = owner.file("policy.toml", &policy("bot", &tick));
    let approval = owner.new_path("approval");
    owner.ok(&["key", "export", id, "--out", &approval]);
    for bad in ["--all", "-h", "bot\u{3164}", "\u{2800}", "m\u{456}nt-bot", "bo\u{301}t", id, address] {
        let label = format!("--label={bad}");
        owner.refused(&["grant", ACCOUNT, "--policy", &file, "--new-key", &label], 2, "label.invalid");
        owner.refused(&["key", "name", id, "--", bad], 2, "label.invalid");
        owner.refused(&["agent", "new", "--", bad], 2, "label.invalid");
        let account = owner.run(&["account", "new", "--owner-new", "--", bad]);
        assert_eq!(account.exit, 2, "{bad:?}: {account:#?}");
        let policy = owner.file("bad.toml", &policy(bad, &tick));
        owner.refused(&["grant", ACCOUNT, "--policy", &policy, "--new-key"], 2, "label.invalid");
    }
    owner.refused(
        &["grant", ACCOUNT, "--policy", &file, "--new-key", "--label", "mint\u{2013}bot"],
        2,
        "label.look_alike",
    );
    assert_eq!(owner.ok(&["key", "ls"]).as_array().map(Vec::len), Some(1), "nothing was written");

    // On record already, such a label goes on working; and an id means that key, whatever another one is called.
    let other = text(&owner.grant(&policy("other", &tick)), "key_id").to_owned();
    edit(&owner, "key", &other, "$.label", &format!("\"{id}\""));
    assert_eq!(owner.ok(&["key", "show", id])["label"], "mint-bot");
    let planned = owner.ok(&["revoke", ACCOUNT, id, "--dry-run"]);
    assert!(planned["plan"].to_string().contains("mint-bot"), "{planned}");
    edit(&owner, "key", &other, "$.label", "\"--all\"");
    assert_eq!(owner.ok(&["key", "show", "--", "--all"])["key_id"], other.as_str());
}

#[test]
fn k19_grants_at_once_all_succeed_each_with_its_own_nonce() {
    const AT_ONCE: usize = 12;
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::DEFAULT);
    let owner = Keyleash::new(world);
    owner.adopt(world, &account);
    let file = owner.file("policy.toml", &policy("bot", &may_call(world.chain.targets.board, "tick()")));
    let granted: Vec<Value> = thread::scope(|scope| {
        // For agents: nothing but the nonce is to be waited for, where sealing new keys one after the other takes its time.
        let grant = |agent: String| owner.ok(&["grant", ACCOUNT, "--policy", &file, "--agent", &agent]);
        let agents = (0..AT_ONCE).map(|_| session_key().address().to_string());
        let workers: Vec<_> = agents.map(|agent| scope.spawn(move || grant(agent))).collect();
        workers.into_iter().map(|w| w.join().expect("a grant")).collect()
    });
    let nonces: BTreeSet<usize> = granted.iter().map(|g| text(g, "nonce").parse().expect("a number")).collect();
    assert_eq!(nonces, (1..=AT_ONCE).collect());
    for one in &granted {
        let shown = owner.ok(&["key", "show", text(one, "key_id")]);
        assert_eq!(shown["approvals"][0]["digest"], one["digest"], "what was reported is what was signed");
        assert_ne!(text(&shown, "state"), "damaged", "{shown}");
    }
}

#[test]
fn grants_at_once_that_each_make_a_key_wait_for_the_vault_and_all_succeed() {
    const AT_ONCE: usize = 12;
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::DEFAULT);
    let owner = Keyleash::new(world);
    owner.adopt(world, &account);
    let file = owner.file("policy.toml", &policy("bot", &may_call(world.chain.targets.board, "tick()")));
    let granted: Vec<Value> = thread::scope(|scope| {
        let grant = || owner.ok(&["grant", ACCOUNT, "--policy", &file, "--new-key"]);
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(grant)).collect();
        workers.into_iter().map(|w| w.join().expect("a grant")).collect()
    });
    let of = |field: &str| granted.iter().map(|g| text(g, field).to_owned()).collect::<BTreeSet<String>>();
    assert_eq!(of("nonce"), (1..=AT_ONCE).map(|n| n.to_string()).collect());
    assert_eq!(of("session_key").len(), AT_ONCE);
    owner.ok(&["vault", "check"]);
    // Each holds the key that its approval is for: an export refuses to pair it with another.
    for key in &of("key_id") {
        owner.ok(&["key", "export", key, "--out", &owner.new_path("export"), "--with-secret"]);
    }
}

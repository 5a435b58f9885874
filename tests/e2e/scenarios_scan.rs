//! Keys that only the chain knows, recovered from a real node after a real bundler carried them.

use alloy::{
    primitives::{Address, U256},
    sol_types::SolCall,
};
use keyleash::protocol::{
    AccountCall, Call,
    kernel_v2::{
        account::{enable_key, selector, set_execution},
        generation::{Generation, KernelVersion},
        signature::{Mode, Shown},
    },
};
use serde_json::Value;

use crate::support::{
    World,
    account::{Grant, TestAccount, permission, scope},
    chain::mintCall,
    keyleash::{ACCOUNT, Keyleash, text},
    operation::{execute, sign_as_session, unsigned},
    world,
};

/// The owner's own transaction to its account.
fn owner_transaction(world: &World, account: &TestAccount, to: Address, data: impl Into<alloy::primitives::Bytes>) {
    let call = AccountCall::Execute(Call { to, value: U256::ZERO, data: data.into() });
    world.chain.send_as(account.owner().address(), account.address, U256::ZERO, call.encode());
}

fn mints(world: &World, account: &TestAccount, grant: &Grant, mode: Mode) {
    let nft = world.chain.targets.nft;
    let mut op = unsigned(world, account, &execute(nft, &mintCall { to: account.address }));
    sign_as_session(&mut op, grant, mode, Shown::One(0));
    assert!(world.bundler.run(&op).unwrap_or_else(|e| panic!("{mode:?}: {e}")));
}

#[track_caller]
fn found<'a>(scan: &'a Value, grant: &Grant) -> &'a Value {
    let address = grant.key.address().to_string();
    let keys = scan["keys"].as_array().expect("keys");
    keys.iter().find(|k| k["session_key"] == address).unwrap_or_else(|| panic!("no {address} in {scan:#}"))
}

#[test]
fn keys_of_an_account_are_recovered_from_the_chain_named_and_taken_back() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::V0_2_2);
    let nft = world.chain.targets.nft;
    let grant = || account.grant(world, scope(vec![permission(nft, mintCall::SELECTOR)]));
    let holder = grant();
    for mode in [Mode::Enable, Mode::Use, Mode::Use] {
        mints(world, &account, &holder, mode);
    }
    let routed = grant();
    let enable = routed.approval.request.enable.encode();
    let validator = Generation::G2.address();
    owner_transaction(world, &account, account.address, set_execution(selector::EXECUTE_BATCH, validator, &enable));

    let home = Keyleash::new(world);
    home.adopt(world, &account);
    let scan = home.ok(&["key", "scan", ACCOUNT]);
    assert_eq!((scan["complete"].as_bool(), scan["operations"].as_u64()), (Some(true), Some(3)), "{scan:#}");
    assert!(scan["from_block"].as_u64().is_some_and(|from| from > 0), "from the deployment on: {scan:#}");
    let key = found(&scan, &holder);
    assert_eq!(
        (key["uses"].as_u64(), key["scope_known"].as_bool(), text(key, "state")),
        (Some(3), Some(true), "active")
    );
    assert_eq!(text(&found(&scan, &routed)["turns"][0], "enabled_by"), "account");

    // What an owner does in silence is found where the validator's counter moved: this node remembers old states.
    let silent = grant();
    owner_transaction(world, &account, validator, enable_key(&silent.approval.request.enable.encode()));
    let scan = home.ok(&["key", "scan", ACCOUNT]);
    let key = found(&scan, &silent);
    assert_eq!(
        (scan["complete"].as_bool(), key["held"].as_bool(), key["uses"].as_u64()),
        (Some(true), Some(true), Some(0))
    );
    assert!(text(&key["turns"][0], "enabled_by") == "account" && key["turns"][0]["at"]["time"].is_u64(), "{scan:#}");
    mints(world, &account, &silent, Mode::Use);

    let id = text(found(&scan, &holder), "key_id");
    home.ok(&["key", "name", id, "the old bot"]);
    let revoked = home.ok(&["revoke", ACCOUNT, "the old bot"]);
    assert_eq!(revoked["success"], true, "{revoked}");
    for (mode, reason) in [(Mode::Use, "session key not enabled"), (Mode::Enable, "invalid nonce")] {
        let mut op = unsigned(world, &account, &execute(nft, &mintCall { to: account.address }));
        sign_as_session(&mut op, &holder, mode, Shown::One(0));
        let refusal = world.bundler.send(&op).expect_err("a revoked key");
        assert!(refusal.message.contains(reason), "{mode:?}: {refusal}");
    }
    mints(world, &account, &silent, Mode::Use);
}

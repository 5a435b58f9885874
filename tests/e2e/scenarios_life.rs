//! From an owner's key to a call made by a session key and back to a key that can do nothing: every Kernel, deployed or not,
//! keys made by the owner and by an agent, single calls and batches.

use alloy::{
    dyn_abi::TypedData,
    primitives::{Address, U256},
    signers::{SignerSync, local::PrivateKeySigner},
    sol_types::SolCall,
};
use keyleash::protocol::kernel_v2::{
    generation::{Generation, KernelVersion},
    signature::{Mode, Shown},
};
use serde_json::{Value, json};

use crate::support::{
    World,
    account::{TestAccount, session_key},
    chain::{balanceOfCall, countCall, mintCall, parse, tickCall},
    keyleash::{ACCOUNT, Keyleash, send, text},
    operation::{execute, sign_as_session, unsigned},
    policy::{WEEK, may_call, may_mint, policy, policy_with},
    world,
};

fn minted(world: &World, account: &TestAccount) -> U256 {
    world.chain.view(world.chain.targets.nft, &balanceOfCall { account: account.address })
}

fn ticked(world: &World, account: &TestAccount) -> U256 {
    world.chain.view(world.chain.targets.board, &countCall { account: account.address })
}

/// The whole life of two keys on one account.
fn two_keys_live_and_one_is_revoked(kernel: KernelVersion, deployed: bool) {
    let Some(world) = world() else { return };
    let account = match deployed {
        true => TestAccount::deployed(world, kernel),
        false => TestAccount::counterfactual(world, kernel),
    };
    let nft = world.chain.targets.nft;
    let owner = Keyleash::new(world);
    let data = owner.adopt(world, &account);
    assert_eq!((text(&data, "kernel_version"), data["deployed"].as_bool()), (kernel.as_str(), Some(deployed)));

    // A key made by the owner. Its first use deploys (when need be), enables and mints; its second only mints.
    let granted = owner.grant(&policy("mint-bot", &may_mint(nft, account.address)));
    assert_eq!((text(&granted, "state"), text(&granted, "nonce")), ("pending", "1"));
    let minter = text(&granted, "key_id");
    let mint = send(minter, nft, "mint(address)", &[&account.address]);
    for time in 1..=2 {
        let sent = owner.ok(&mint);
        assert_eq!(sent["success"], true, "{sent}");
        assert_eq!(minted(world, &account), U256::from(time));
        assert_eq!(text(&owner.ok(&["key", "show", minter]), "state"), "active");
    }

    // A key made by an agent, for batches: the approval travels in a file without a secret.
    let agent = Keyleash::new(world);
    let made = agent.ok(&["agent", "new", "batcher"]);
    let address = text(&made, "address");
    let batches = format!("selector = \"executeBatch\"\n{}", WEEK);
    let scope = may_mint(nft, account.address) + &may_call(world.chain.targets.board, "tick()");
    let (granted, approval) = owner.grant_agent(&policy_with("batch-bot", &batches, &scope), address);
    assert_eq!((text(&granted, "state"), text(&granted, "nonce")), ("pending", "2"));
    agent.ok(&["agent", "import", &approval]);
    let batch = json!([
        { "to": nft, "call": "mint(address)", "args": [account.address] },
        { "to": world.chain.targets.board, "data": alloy::hex::encode_prefixed(tickCall {}.abi_encode()) },
    ]);
    let batch = agent.file("batch.json", &batch.to_string());
    let sent = agent.ok(&["send", address, "--batch", &batch]);
    assert_eq!(sent["success"], true, "{sent}");
    assert_eq!((minted(world, &account), ticked(world, &account)), (U256::from(3), U256::ONE));

    // Back to a key that can do nothing: refused by us, and by the bundler in both modes.
    let holder = owner.holder(&account, minter);
    let revoked = owner.ok(&["revoke", ACCOUNT, minter]);
    assert_eq!(revoked["success"], true, "{revoked}");
    assert!(text(&revoked["proof"], "replay").contains("session key not enabled"), "{revoked}");
    assert_eq!(text(&owner.ok(&["key", "show", minter]), "state"), "revoked");
    owner.refused(&mint, 3, "denied.not_enabled");
    for (mode, reason) in [(Mode::Use, "session key not enabled"), (Mode::Enable, "invalid nonce")] {
        let mut op = unsigned(world, &account, &execute(nft, &mintCall { to: account.address }));
        sign_as_session(&mut op, &holder, mode, Shown::One(0));
        let refusal = world.bundler.send(&op).expect_err("a revoked key");
        assert!(refusal.message.contains(reason), "{mode:?}: {refusal}");
    }

    // The other key lives on.
    assert_eq!(agent.ok(&["send", address, "--batch", &batch])["success"], true);
    assert_eq!((minted(world, &account), ticked(world, &account)), (U256::from(4), U256::from(2)));
    assert_eq!(account.last_nonce(world, Generation::G2), 2);
}

#[test]
fn kernel_0_2_2_deployed() {
    two_keys_live_and_one_is_revoked(KernelVersion::V0_2_2, true);
}

#[test]
fn kernel_0_2_2_not_yet_deployed() {
    two_keys_live_and_one_is_revoked(KernelVersion::V0_2_2, false);
}

#[test]
fn kernel_0_2_3_deployed() {
    two_keys_live_and_one_is_revoked(KernelVersion::V0_2_3, true);
}

#[test]
fn kernel_0_2_3_not_yet_deployed() {
    two_keys_live_and_one_is_revoked(KernelVersion::V0_2_3, false);
}

#[test]
fn kernel_0_2_4_deployed() {
    two_keys_live_and_one_is_revoked(KernelVersion::V0_2_4, true);
}

#[test]
fn kernel_0_2_4_not_yet_deployed() {
    two_keys_live_and_one_is_revoked(KernelVersion::V0_2_4, false);
}

#[test]
fn an_owner_sends_without_any_session_key_and_deploys_the_account_by_it() {
    let Some(world) = world() else { return };
    let account = TestAccount::counterfactual(world, KernelVersion::DEFAULT);
    let owner = Keyleash::new(world);
    owner.adopt(world, &account);
    let board = world.chain.targets.board.to_string();
    let sent = owner.ok(&["send", "--as-owner", ACCOUNT, "--to", &board, "--call", "pay()", "--value", "0.5eth"]);
    assert_eq!(sent["success"], true, "{sent}");
    assert!(account.is_deployed(world));
    assert_eq!(ticked(world, &account), U256::ONE);
}

#[test]
fn a_dry_run_sends_nothing() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::DEFAULT);
    let owner = Keyleash::new(world);
    owner.adopt(world, &account);
    let granted = owner.grant(&policy("ticker", &may_call(world.chain.targets.board, "tick()")));
    let key = text(&granted, "key_id");
    let mut tick = send(key, world.chain.targets.board, "tick()", &[]);
    tick.push("--dry-run".into());
    owner.ok(&tick);
    assert_eq!(ticked(world, &account), U256::ZERO);
    assert_eq!(text(&owner.ok(&["key", "show", key]), "state"), "pending");
}

#[test]
fn a_policy_for_two_account_functions_gives_two_approvals_with_consecutive_nonces() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::DEFAULT);
    let owner = Keyleash::new(world);
    owner.adopt(world, &account);
    let head = format!("selector = [\"execute\", \"executeBatch\"]\n{}", WEEK);
    let granted = owner.grant(&policy_with("both", &head, &may_call(world.chain.targets.board, "tick()")));
    let approvals = granted["approvals"].as_array().expect("a list of approvals");
    let told: Vec<_> = approvals.iter().map(|a| (text(a, "selector"), text(a, "nonce"))).collect();
    assert_eq!(told, [("execute", "1"), ("executeBatch", "2")]);

    let key = text(&granted, "key_id");
    let board = world.chain.targets.board;
    let batch = owner.file("batch.json", &json!([{ "to": board, "call": "tick()" }]).to_string());
    assert_eq!(owner.ok(&send(key, board, "tick()", &[]))["success"], true);
    assert_eq!(owner.ok(&["send", key, "--batch", &batch])["success"], true);
    assert_eq!(ticked(world, &account), U256::from(2));
}

#[test]
fn the_permission_json_of_the_mission_document_is_a_policy() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::DEFAULT);
    let nft = world.chain.targets.nft;
    let owner = Keyleash::new(world);
    owner.adopt(world, &account);
    let rules = json!({
        "validAfter": 0, "validUntil": 0, "paymaster": Address::ZERO,
        "permissions": [{
            "target": nft, "valueLimit": 0, "functionName": "mint",
            "abi": [{ "type": "function", "name": "mint", "inputs": [{ "name": "to", "type": "address" }],
                      "outputs": [], "stateMutability": "nonpayable" }],
            "args": [{ "operator": "EQUAL", "value": account.address }],
        }],
    });
    let granted = owner.grant(&rules.to_string());
    let key = text(&granted, "key_id");
    owner.refused(&send(key, nft, "mint(address)", &[&Address::repeat_byte(1)]), 3, "denied.rule");
    assert_eq!(owner.ok(&send(key, nft, "mint(address)", &[&account.address]))["success"], true);
}

#[test]
fn an_owner_who_signs_elsewhere_grants_too() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::DEFAULT);
    let board = world.chain.targets.board;
    let watcher = Keyleash::new(world);
    watcher.ok(&["account", "add", ACCOUNT, "--address", &account.address.to_string()]);
    let rules = watcher.file("policy.toml", &policy("ticker", &may_call(board, "tick()")));
    let out = watcher.path("to-sign.json").display().to_string();
    let draft = watcher.ok(&["grant", ACCOUNT, "--policy", &rules, "--new-key", "--unsigned", "--out", &out]);
    let key = text(&draft, "key_id");
    assert_eq!(text(&watcher.ok(&["key", "show", key]), "state"), "draft");

    // What a wallet elsewhere would do with the file: EIP-712, by eth_signTypedData_v4.
    let file: Value = serde_json::from_slice(&std::fs::read(&out).expect("the file")).expect("JSON");
    let typed: TypedData = parse(file.clone());
    let digest = typed.eip712_signing_hash().expect("a digest");
    assert_eq!(text(&draft, "digest"), digest.to_string());
    let sign = |signer: PrivateKeySigner| {
        alloy::hex::encode_prefixed(signer.sign_hash_sync(&digest).expect("signed").as_bytes())
    };
    let complete = |signature: &str| {
        let file = watcher.file("signature", signature);
        watcher.run(&["grant", "--complete", &out, "--signature-file", &file])
    };
    assert_ne!(complete(&sign(session_key())).exit, 0, "somebody else's signature");
    complete(&sign(account.owner())).exits(0);
    assert_eq!(text(&watcher.ok(&["key", "show", key]), "state"), "pending");
    assert_eq!(watcher.ok(&send(key, board, "tick()", &[]))["success"], true);
    assert_eq!(ticked(world, &account), U256::ONE);
}

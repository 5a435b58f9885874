//! The harness proves itself: operations built from `keyleash::protocol::kernel_v2` and approvals made by the SDKs run on the real parts.

use std::time::{SystemTime, UNIX_EPOCH};

use alloy::{
    primitives::{Address, U256},
    sol_types::SolCall,
};
use keyleash::protocol::kernel_v2::{
    generation::{Generation, KernelVersion},
    signature::{Mode, Shown},
};
use serde_json::{Value, json};

use crate::support::{
    World,
    account::{TestAccount, permission, scope, session_key},
    chain::{balanceOfCall, mintCall, parse, tickCall},
    operation::{execute, sign_as_owner, sign_as_session, unsigned},
    sdk::Sdk,
    world,
};

/// How many tokens of the test NFT an account has.
fn minted(world: &World, account: &TestAccount) -> U256 {
    world.chain.view(world.chain.targets.nft, &balanceOfCall { account: account.address })
}

fn a_session_key_mints_in_its_first_operation(world: &World, account: &TestAccount) {
    let nft = world.chain.targets.nft;
    let grant = account.grant(world, scope(vec![permission(nft, mintCall::SELECTOR)]));
    let call = execute(nft, &mintCall { to: account.address });

    let mut op = unsigned(world, account, &call);
    sign_as_session(&mut op, &grant, Mode::Enable, Shown::One(0));
    assert!(world.bundler.run(&op).unwrap_or_else(|e| panic!("enable and use: {e}")));
    assert_eq!(minted(world, account), U256::ONE);
    assert_eq!(account.last_nonce(world, Generation::G2), 1);

    let mut op = unsigned(world, account, &call);
    sign_as_session(&mut op, &grant, Mode::Use, Shown::One(0));
    assert!(world.bundler.run(&op).unwrap_or_else(|e| panic!("use: {e}")));
    assert_eq!(minted(world, account), U256::from(2));
}

#[test]
fn a_session_key_deploys_a_0_2_4_account_and_mints_in_one_operation() {
    let Some(world) = world() else { return };
    let account = TestAccount::counterfactual(world, KernelVersion::V0_2_4);
    a_session_key_mints_in_its_first_operation(world, &account);
}

#[test]
fn a_session_key_mints_on_a_deployed_0_2_2_account() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::V0_2_2);
    a_session_key_mints_in_its_first_operation(world, &account);
}

#[test]
fn the_chain_keeps_the_time_of_the_wall_clock() {
    let Some(world) = world() else { return };
    for _ in 0..5 {
        world.chain.mine();
    }
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs();
    assert!(world.chain.now().abs_diff(wall) <= 3, "chain {}, wall {wall}", world.chain.now());
}

#[test]
fn the_bundler_gives_the_reason_of_the_contract() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::V0_2_4);
    let grant = account.grant(world, scope(vec![permission(world.chain.targets.nft, mintCall::SELECTOR)]));
    let mut op = unsigned(world, &account, &execute(world.chain.targets.board, &tickCall {}));
    sign_as_session(&mut op, &grant, Mode::Enable, Shown::One(0));
    let refusal = world.bundler.send(&op).expect_err("a call to another contract");
    assert_eq!(refusal.code, -32500, "{refusal}");
    assert!(refusal.message.contains("SessionKeyValidator: target mismatch"), "{refusal}");
}

#[test]
fn the_paymaster_service_pays_for_the_owner() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::V0_2_3);
    let before = world.chain.balance(account.address);
    let mut op = unsigned(world, &account, &execute(world.chain.targets.board, &tickCall {}));
    for method in ["pm_getPaymasterStubData", "pm_getPaymasterData"] {
        let answer = crate::support::rpc::call(&world.paymaster.url, method, json!([op, op.sender, "0x7a69", {}]));
        op.paymaster_and_data = parse(answer.expect("sponsored")["paymasterAndData"].clone());
    }
    sign_as_owner(&mut op, &account);
    assert!(world.bundler.run(&op).unwrap_or_else(|e| panic!("sponsored: {e}")));
    assert_eq!(world.chain.balance(account.address), before);
}

/// The approval of one SDK, used by the same SDK, twice: it enables, then it uses.
fn an_sdk_made_approval_works(sdk: Sdk, kernel: KernelVersion, with_secret: bool) {
    let Some(world) = world() else { return };
    if !sdk.is_there() {
        return;
    }
    let account = TestAccount::counterfactual(world, kernel);
    let nft = world.chain.targets.nft;
    let key = session_key();
    let secret = format!("0x{}", alloy::hex::encode(key.to_bytes()));
    let mut request = json!({
        "ownerKey": format!("0x{}", account.owner_key()),
        "index": account.seed.index.to_string(),
        "kernelVersion": kernel.as_str(),
        "validator": Generation::G2.address(),
        "sessionKeyData": {
            "validAfter": 0, "validUntil": 0,
            "permissions": [{
                "target": nft, "valueLimit": "0", "functionName": "mint",
                "abi": [{ "type": "function", "name": "mint", "inputs": [{ "name": "to", "type": "address" }],
                          "outputs": [], "stateMutability": "nonpayable" }],
                "args": [{ "operator": 0, "value": account.address }],
            }],
        },
    });
    request[if with_secret { "sessionKey" } else { "sessionAddress" }] =
        if with_secret { json!(secret) } else { json!(key.address()) };
    let approval = sdk.run(world, "approve", request).unwrap_or_else(|e| panic!("approve: {e}"));
    assert_eq!(parse::<Address>(approval["account"].clone()), account.address, "the SDK's counterfactual address");

    for time in 1..=2 {
        let call = mintCall { to: account.address }.abi_encode();
        let mut request = json!({
            "serialized": approval["serialized"],
            "kernelVersion": kernel.as_str(),
            "validator": Generation::G2.address(),
            "calls": [{ "to": nft, "value": "0", "data": alloy::primitives::Bytes::from(call) }],
        });
        if !with_secret {
            request["sessionKey"] = json!(secret);
        }
        let sent = sdk.run(world, "send", request).unwrap_or_else(|e| panic!("send {time}: {e}"));
        assert_eq!(sent["success"], Value::Bool(true), "{sent}");
        assert_eq!(minted(world, &account), U256::from(time));
    }
}

#[test]
fn sdk_v4_uses_its_own_approval_with_the_key_inside() {
    an_sdk_made_approval_works(Sdk::V4, KernelVersion::V0_2_2, true);
}

#[test]
fn sdk_v4_uses_its_own_approval_of_an_agents_key() {
    an_sdk_made_approval_works(Sdk::V4, KernelVersion::V0_2_2, false);
}

#[test]
fn sdk_v5_uses_its_own_approval_with_the_key_inside() {
    an_sdk_made_approval_works(Sdk::V5, KernelVersion::V0_2_4, true);
}

#[test]
fn sdk_v5_uses_its_own_approval_of_an_agents_key() {
    an_sdk_made_approval_works(Sdk::V5, KernelVersion::V0_2_3, false);
}

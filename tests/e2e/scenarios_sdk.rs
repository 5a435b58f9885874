//! Approvals between us and the published SDKs, both ways, through the bundler.

use alloy::{
    primitives::{Address, Bytes, U256},
    sol_types::SolCall,
};
use keyleash::protocol::kernel_v2::generation::{Generation, KernelVersion};
use serde_json::{Value, json};

use crate::support::{
    World,
    account::{TestAccount, session_key},
    chain::{balanceOfCall, countCall, mintCall, parse, tickCall},
    keyleash::{Keyleash, send, text},
    policy::{may_call, may_mint, policy},
    sdk::Sdk,
    world,
};

fn minted(world: &World, account: &TestAccount) -> U256 {
    world.chain.view(world.chain.targets.nft, &balanceOfCall { account: account.address })
}

/// The SDK makes this call with this serialized approval.
fn sdk_sends(
    world: &World,
    sdk: Sdk,
    kernel: KernelVersion,
    serialized: &str,
    to: Address,
    call: &impl SolCall,
) -> Result<Value, String> {
    let request = json!({
        "serialized": serialized.trim(),
        "kernelVersion": kernel.as_str(),
        "validator": Generation::G2.address(),
        "calls": [{ "to": to, "value": "0", "data": Bytes::from(call.abi_encode()) }],
    });
    sdk.run(world, "send", request)
}

/// We grant and export, the SDK deploys (when need be), enables and uses; then uses again; and cannot do more than we said.
fn an_approval_of_ours_is_used_by(sdk: Sdk, kernel: KernelVersion, deployed: bool) {
    let Some(world) = world() else { return };
    if !sdk.is_there() {
        return;
    }
    let account = match deployed {
        true => TestAccount::deployed(world, kernel),
        false => TestAccount::counterfactual(world, kernel),
    };
    let nft = world.chain.targets.nft;
    let owner = Keyleash::new(world);
    owner.adopt(world, &account);
    let granted = owner.grant(&policy("for-the-sdk", &may_mint(nft, account.address)));
    let format = if sdk == Sdk::V4 { "v4" } else { "v5" };
    let serialized = owner.exported(text(&granted, "key_id"), format);
    for time in 1..=2 {
        let sent = sdk_sends(world, sdk, kernel, &serialized, nft, &mintCall { to: account.address })
            .unwrap_or_else(|e| panic!("use {time}: {e}"));
        assert_eq!(sent["success"], true, "{sent}");
        assert_eq!(minted(world, &account), U256::from(time));
    }
    sdk_sends(world, sdk, kernel, &serialized, nft, &mintCall { to: Address::repeat_byte(9) })
        .expect_err("a mint to somebody else");
    assert_eq!(text(&owner.ok(&["key", "show", text(&granted, "key_id")]), "state"), "active");
}

#[test]
fn an_approval_of_ours_is_used_by_sdk_v4_on_an_account_it_deploys() {
    an_approval_of_ours_is_used_by(Sdk::V4, KernelVersion::V0_2_2, false);
}

#[test]
fn an_approval_of_ours_is_used_by_sdk_v4_on_kernel_0_2_4() {
    an_approval_of_ours_is_used_by(Sdk::V4, KernelVersion::V0_2_4, true);
}

#[test]
fn an_approval_of_ours_is_used_by_sdk_v5_on_an_account_it_deploys() {
    an_approval_of_ours_is_used_by(Sdk::V5, KernelVersion::V0_2_4, false);
}

#[test]
fn an_approval_of_ours_is_used_by_sdk_v5_on_kernel_0_2_3() {
    an_approval_of_ours_is_used_by(Sdk::V5, KernelVersion::V0_2_3, true);
}

/// The SDKs write the three words of a limit in another order than they name them; our export makes them emit what was signed.
fn a_run_limit_of_ours_means_the_same_to(sdk: Sdk) {
    let Some(world) = world() else { return };
    if !sdk.is_there() {
        return;
    }
    let kernel = KernelVersion::DEFAULT;
    let account = TestAccount::deployed(world, kernel);
    let board = world.chain.targets.board;
    let owner = Keyleash::new(world);
    owner.adopt(world, &account);
    let granted = owner.grant(&policy("twice", &(may_call(board, "tick()") + "limit = { runs = 2 }\n")));
    let format = if sdk == Sdk::V4 { "v4" } else { "v5" };
    let serialized = owner.exported(text(&granted, "key_id"), format);
    for _ in 0..2 {
        let sent = sdk_sends(world, sdk, kernel, &serialized, board, &tickCall {}).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(sent["success"], true, "{sent}");
    }
    let refusal = sdk_sends(world, sdk, kernel, &serialized, board, &tickCall {}).expect_err("a third run");
    assert!(refusal.contains("runs exceeded"), "{refusal}");
}

#[test]
fn a_run_limit_of_ours_means_the_same_to_sdk_v4() {
    a_run_limit_of_ours_means_the_same_to(Sdk::V4);
}

#[test]
fn a_run_limit_of_ours_means_the_same_to_sdk_v5() {
    a_run_limit_of_ours_means_the_same_to(Sdk::V5);
}

/// The SDK makes an approval for a key of ours or of its own; we inspect, import, judge and use it.
fn an_approval_made_by_an_sdk_is_ours_to_use(sdk: Sdk, kernel: KernelVersion, with_secret: bool) {
    let Some(world) = world() else { return };
    if !sdk.is_there() {
        return;
    }
    let account = TestAccount::counterfactual(world, kernel);
    let nft = world.chain.targets.nft;
    let agent = Keyleash::new(world);
    let mut request = json!({
        "ownerKey": format!("0x{}", account.owner_key()),
        "index": account.seed.index.to_string(),
        "kernelVersion": kernel.as_str(),
        "validator": Generation::G2.address(),
        "sessionKeyData": {
            "validAfter": 0, "validUntil": 4_000_000_000u64,
            "permissions": [
                { "target": nft, "valueLimit": "0", "functionName": "mint",
                  "abi": [{ "type": "function", "name": "mint", "inputs": [{ "name": "to", "type": "address" }],
                            "outputs": [], "stateMutability": "nonpayable" }],
                  "args": [{ "operator": 0, "value": account.address }] },
                { "target": world.chain.targets.board, "valueLimit": "0", "sig": Bytes::from(tickCall::SELECTOR) },
            ],
        },
    });
    let key = if with_secret {
        let key = session_key();
        request["sessionKey"] = json!(alloy::hex::encode_prefixed(key.to_bytes()));
        key.address().to_string()
    } else {
        let made = agent.ok(&["agent", "new", "sdk-made"]);
        request["sessionAddress"] = made["address"].clone();
        text(&made, "address").to_owned()
    };
    let approval = sdk.run(world, "approve", request).unwrap_or_else(|e| panic!("approve: {e}"));
    let file = agent.file("approval", text(&approval, "serialized"));

    let inspected = agent.ok(&["inspect", &file]);
    assert_eq!(text(&inspected, "format"), if sdk == Sdk::V4 { "v4" } else { "v5" });
    assert_eq!(parse::<Address>(inspected["owner"].clone()), account.owner().address());
    assert_eq!((inspected["has_secret"].as_bool(), text(&inspected, "state")), (Some(with_secret), "pending"));
    assert_eq!(inspected["permissions"].as_array().map(Vec::len), Some(2));
    if with_secret {
        assert_eq!(text(&inspected, "session_key"), key);
    }

    agent.ok(&["agent", "import", &file]);
    agent.refused(&send(&key, nft, "mint(address)", &[&Address::repeat_byte(9)]), 3, "denied.rule");
    assert_eq!(agent.ok(&send(&key, nft, "mint(address)", &[&account.address]))["success"], true);
    assert_eq!(minted(world, &account), U256::ONE);
    assert_eq!(text(&agent.ok(&["inspect", &file]), "state"), "active");
    let board = world.chain.targets.board;
    assert_eq!(agent.ok(&send(&key, board, "tick()", &[]))["success"], true);
    assert_eq!(world.chain.view(board, &countCall { account: account.address }), U256::ONE);
}

#[test]
fn an_approval_made_by_sdk_v4_with_its_key_is_ours_to_use() {
    an_approval_made_by_an_sdk_is_ours_to_use(Sdk::V4, KernelVersion::V0_2_2, true);
}

#[test]
fn an_approval_made_by_sdk_v4_for_our_key_is_ours_to_use() {
    an_approval_made_by_an_sdk_is_ours_to_use(Sdk::V4, KernelVersion::V0_2_2, false);
}

#[test]
fn an_approval_made_by_sdk_v5_with_its_key_is_ours_to_use() {
    an_approval_made_by_an_sdk_is_ours_to_use(Sdk::V5, KernelVersion::V0_2_4, true);
}

#[test]
fn an_approval_made_by_sdk_v5_for_our_key_is_ours_to_use() {
    an_approval_made_by_an_sdk_is_ours_to_use(Sdk::V5, KernelVersion::V0_2_3, false);
}

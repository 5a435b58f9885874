//! Power over an account beside its session keys (R36): another default validator, functions routed to foreign validators and
//! executors, with and without an event. While any of it is there, nothing claims that nobody else can act.

use alloy::{
    primitives::{Address, Bytes, Selector, U256, aliases::U48},
    signers::SignerSync,
    sol_types::SolCall,
};
use keyleash::{
    erc4337::v06::{ENTRY_POINT, UserOperation},
    protocol::{
        AccountCall, Call,
        kernel_v2::{
            account::{selector, setDefaultValidatorCall, setExecutionCall},
            approval::ApprovalRequest,
            generation::{ECDSA_VALIDATOR, Generation, KernelVersion},
        },
    },
};
use serde_json::{Value, json};

use crate::support::{
    World,
    account::{TestAccount, permission, scope, session_key},
    chain::{CHAIN_ID, DEPLOYER, development_signer, parse, tickCall},
    keyleash::{ACCOUNT, Keyleash, send, text},
    operation::{execute, sign_as_owner, unsigned},
    policy::{may_call, policy},
    world,
};

/// A contract that answers every call with a word of zeros: as a validator, it accepts everybody.
fn accepts_everybody(world: &World) -> Address {
    // 600a600c600039600a6000f3 returns the ten bytes behind it: PUSH1 0 PUSH1 0 MSTORE PUSH1 32 PUSH1 0 RETURN.
    let code: Bytes = "0x600a600c600039600a6000f360006000526020 6000f3".replace(' ', "").parse().expect("code");
    let from = development_signer(DEPLOYER).address();
    let receipt = world.chain.transact(json!({ "from": from, "data": code, "gas": "0x30d40" }));
    parse(receipt["contractAddress"].clone())
}

/// The owner's account does this to itself.
fn by_the_owner(world: &World, account: &TestAccount, data: Vec<u8>) {
    let call = AccountCall::Execute(Call { to: account.address, value: U256::ZERO, data: data.into() });
    let mut op = unsigned(world, account, &call);
    sign_as_owner(&mut op, account);
    assert!(world.bundler.run(&op).expect("the owner's operation"));
}

/// An operation with a signature of nobody's, in this mode, that the attacker bundles itself: whether the account takes it.
fn junk_goes_through(world: &World, account: &TestAccount, mode: u8, call: &AccountCall) -> bool {
    let mut op = unsigned(world, account, call);
    op.signature = [&[0, 0, 0, mode][..], &[0x11; 85]].concat().into();
    is_taken(world, &op)
}

fn is_taken(world: &World, op: &UserOperation) -> bool {
    let bundle = crate::support::chain::handleOpsCall { ops: vec![op.into()], beneficiary: Address::repeat_byte(1) };
    world.chain.try_call(ENTRY_POINT, bundle.abi_encode().into()).is_ok()
}

fn set_execution(function: Selector, executor: Address, validator: Address) -> Vec<u8> {
    setExecutionCall {
        selector: function,
        executor,
        validator,
        validUntil: U48::ZERO,
        validAfter: U48::ZERO,
        enableData: Bytes::from_static(&[0x22; 20]),
    }
    .abi_encode()
}

fn tick(world: &World) -> AccountCall {
    execute(world.chain.targets.board, &tickCall {})
}

/// An owner with one key that was used.
fn owner_with_a_key(world: &World, account: &TestAccount) -> (Keyleash, String) {
    let owner = Keyleash::new(world);
    owner.adopt(world, account);
    let granted = owner.grant(&policy("bot", &may_call(world.chain.targets.board, "tick()")));
    let id = text(&granted, "key_id").to_owned();
    owner.ok(&send(&id, world.chain.targets.board, "tick()", &[]));
    (owner, id)
}

#[track_caller]
fn names(remaining: &Value, what: &str, address: Address) {
    let entries = remaining.as_array().unwrap_or_else(|| panic!("no list: {remaining}"));
    assert!(
        entries.iter().any(|r| r["what"].as_str() == Some(what) && parse::<Address>(r["address"].clone()) == address),
        "{what} {address} is not in {remaining}"
    );
}

/// Exit 7: done, but this can still act.
#[track_caller]
fn done_but(owner: &Keyleash, arguments: &[&str], what: &str, address: Address) -> Value {
    let outcome = owner.run(arguments).exits(7);
    assert_eq!(outcome.error_code(), "revoke.remaining", "{outcome:#?}");
    assert!(outcome.message().contains(&address.to_string()), "{outcome:#?}");
    names(&outcome.data()["remaining"], what, address);
    outcome.data().clone()
}

#[track_caller]
fn refuses_grants(world: &World, owner: &Keyleash) {
    let policy = owner.file("again.toml", &policy("again", &may_call(world.chain.targets.board, "tick()")));
    owner.refused(&["grant", ACCOUNT, "--policy", &policy, "--new-key"], 1, "risk.R36");
}

#[test]
fn k1_a_replaced_default_validator_is_seen_everywhere_and_can_be_undone() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::V0_2_4);
    let (owner, key) = owner_with_a_key(world, &account);
    let anybody = accepts_everybody(world);
    by_the_owner(
        world,
        &account,
        setDefaultValidatorCall { defaultValidator: anybody, data: Bytes::from_static(&[0x22; 20]) }.abi_encode(),
    );
    assert!(junk_goes_through(world, &account, 0, &tick(world)), "the attack itself");

    let shown = owner.ok(&["account", "show", ACCOUNT]);
    assert_eq!(shown["findings"][0]["code"], "somebody_else_decides", "{shown}");
    assert_eq!(shown["control"], "shared", "{shown}");
    let scan = owner.ok(&["key", "scan", ACCOUNT]);
    assert_eq!(scan["complete"], false, "{scan}");
    refuses_grants(world, &owner);
    done_but(&owner, &["revoke", ACCOUNT, &key], "default validator", anybody);
    done_but(&owner, &["revoke", ACCOUNT, "--all"], "default validator", anybody);
    done_but(&owner, &["revoke", ACCOUNT, "--pause"], "default validator", anybody);
    done_but(&owner, &["revoke", ACCOUNT, "--unpause"], "default validator", anybody);

    owner.ok(&["revoke", ACCOUNT, "--reclaim"]);
    assert!(!junk_goes_through(world, &account, 0, &tick(world)));
    let shown = owner.ok(&["account", "show", ACCOUNT]);
    assert_eq!((&shown["control"], &shown["findings"]), (&json!("ours"), &json!([])), "{shown}");
}

#[test]
fn k2_execute_routed_to_a_foreign_validator_is_named_and_closed() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::V0_2_3);
    let (owner, _) = owner_with_a_key(world, &account);
    let anybody = accepts_everybody(world);
    by_the_owner(world, &account, set_execution(selector::EXECUTE, Address::ZERO, anybody));
    assert!(junk_goes_through(world, &account, 1, &tick(world)), "the attack itself");

    refuses_grants(world, &owner);
    // The validator takes the key's own signature as well: that key is not stopped either.
    let outcome = owner.run(&["revoke", ACCOUNT, "--all"]).exits(1);
    assert_eq!(outcome.error_code(), "revoke.not_proven", "{outcome:#?}");
    names(&outcome.data()["remaining"], "route of execute", anybody);
    owner.ok(&["revoke", ACCOUNT, "--reclaim", "--via", "owner"]);
    assert!(!junk_goes_through(world, &account, 1, &tick(world)));
    assert_eq!(owner.ok(&["account", "show", ACCOUNT])["control"], "ours");
}

#[test]
fn k2_another_function_is_known_once_the_history_was_read() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::V0_2_4);
    let (owner, _) = owner_with_a_key(world, &account);
    let (anybody, executor) = (accepts_everybody(world), accepts_everybody(world));
    let function = Selector::new([0xde, 0xad, 0xbe, 0xef]);
    by_the_owner(world, &account, set_execution(function, executor, anybody));
    let deadbeef = AccountCall::Other(Bytes::from_static(&[0xde, 0xad, 0xbe, 0xef]));
    assert!(junk_goes_through(world, &account, 1, &deadbeef), "the attack itself");

    // Not read yet is not none.
    let shown = owner.ok(&["account", "show", ACCOUNT]);
    assert_eq!(shown["power"]["history"]["through_block"], Value::Null, "{shown}");
    let data = done_but(&owner, &["revoke", ACCOUNT, "--all"], "route of function 0xdeadbeef", executor);
    assert!(data["proofs"].as_array().is_some_and(|proofs| !proofs.is_empty()), "{data}");
    // The route is closed. What the executor may have written into the account's storage before, nothing tells.
    done_but(&owner, &["revoke", ACCOUNT, "--reclaim"], "foreign code", account.address);
    assert!(!junk_goes_through(world, &account, 1, &deadbeef));
}

/// An operation in mode 2 routes its function and logs nothing.
#[test]
fn k2_a_route_that_an_operation_made_without_an_event_is_found() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::V0_2_4);
    let (owner, _) = owner_with_a_key(world, &account);
    let anybody = accepts_everybody(world);
    // A function of the account that only the EntryPoint may call, for a validator that takes anything.
    let call = AccountCall::Other(keyleash::protocol::kernel_v2::account::disable_mode(0));
    let enable = account.grant(world, scope(vec![permission(account.address, tickCall::SELECTOR)])).approval;
    let request = ApprovalRequest { selector: call.selector().expect("a selector"), ..enable.request };
    let mut op = unsigned(world, &account, &call);
    op.signature = foreign_enable(&account, &request, anybody);
    assert!(is_taken(world, &op), "the attack itself");
    world.chain.handle_op((&op).into());
    assert!(junk_goes_through(world, &account, 1, &call), "the route holds");

    done_but(&owner, &["revoke", ACCOUNT, "--all"], "route of disableMode", anybody);
    let scan = owner.ok(&["key", "scan", ACCOUNT]);
    assert_eq!(scan["complete"], false, "{scan}");
    owner.ok(&["revoke", ACCOUNT, "--reclaim"]);
    assert!(!junk_goes_through(world, &account, 1, &call));
}

/// Mode 2 with another plugin: the owner's signature over what it enables there.
fn foreign_enable(account: &TestAccount, request: &ApprovalRequest, validator: Address) -> Bytes {
    use alloy::{primitives::keccak256, sol_types::SolValue};
    let data = [0x22u8; 20];
    let validator_data = U256::from_be_slice(&[&[0u8; 12][..], validator.as_slice()].concat());
    let type_hash = keccak256("ValidatorApproved(bytes4 sig,uint256 validatorData,address executor,bytes enableData)");
    let selector: [u8; 32] = {
        let mut word = [0u8; 32];
        word[..4].copy_from_slice(request.selector.as_slice());
        word
    };
    let message = keccak256(
        (type_hash, alloy::primitives::B256::from(selector), validator_data, Address::ZERO, keccak256(data))
            .abi_encode(),
    );
    let domain = keccak256(
        (
            keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
            keccak256("Kernel"),
            keccak256(account.kernel.as_str()),
            U256::from(CHAIN_ID),
            account.address,
        )
            .abi_encode(),
    );
    let digest = keccak256([&[0x19, 0x01][..], domain.as_slice(), message.as_slice()].concat());
    let signature = account.owner().sign_hash_sync(&digest).expect("a signature").as_bytes();
    let length = |n: usize| U256::from(n).to_be_bytes::<32>();
    [
        &[0, 0, 0, 2][..],
        &[0; 12],
        validator.as_slice(),
        Address::ZERO.as_slice(),
        &length(data.len()),
        &data,
        &length(signature.len()),
        &signature,
        &[0x33; 85],
    ]
    .concat()
    .into()
}

#[test]
fn k7b_a_second_approval_of_the_same_holder_is_named_and_is_not_success() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::V0_2_4);
    let owner = Keyleash::new(world);
    owner.adopt(world, &account);
    let agent = session_key().address();
    let ids = ["first", "second"].map(|label| {
        let (answer, _) =
            owner.grant_agent(&policy(label, &may_call(world.chain.targets.board, "tick()")), &agent.to_string());
        text(&answer, "key_id").to_owned()
    });
    done_but(&owner, &["revoke", ACCOUNT, &ids[0]], "key second", agent);
    // Named by its address, all that the holder has ends.
    owner.ok(&["revoke", ACCOUNT, &agent.to_string()]);
}

#[test]
fn a_route_that_is_understood_is_no_finding() {
    let Some(world) = world() else { return };
    let account = TestAccount::deployed(world, KernelVersion::V0_2_4);
    let (owner, key) = owner_with_a_key(world, &account);
    by_the_owner(world, &account, set_execution_of_owner(&account));
    let shown = owner.ok(&["account", "show", ACCOUNT]);
    assert_eq!((&shown["control"], &shown["findings"]), (&json!("ours"), &json!([])), "{shown}");
    owner.ok(&["revoke", ACCOUNT, &key]);
    owner.ok(&["key", "scan", ACCOUNT]);
    assert_eq!(account.last_nonce(world, Generation::G2), 1);
}

fn set_execution_of_owner(account: &TestAccount) -> Vec<u8> {
    setExecutionCall {
        selector: selector::EXECUTE_BATCH,
        executor: Address::ZERO,
        validator: ECDSA_VALIDATOR,
        validUntil: U48::ZERO,
        validAfter: U48::ZERO,
        enableData: account.owner().address().to_vec().into(),
    }
    .abi_encode()
}

//! The golden vectors of Kernel v3: what the published SDKs encode, byte for byte, where it is what the chain reads.
//!
//! They lie beside the project (`../shared/vectors-v3`). `KEYLEASH_VECTORS_V3=DIR` runs the same tests on another folder with files
//! of the same schema; a file that is missing is skipped with a line that says so.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests fail loudly and read as specifications"
)]

use std::{io::Write, path::PathBuf};

use alloy::{
    hex,
    primitives::{Address, B256, Bytes, Selector, U256, eip191_hash_message},
    sol_types::SolCall,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use keyleash::{
    erc4337::v07::{ENTRY_POINT, PackedUserOperation, UserOperation},
    protocol::{
        AccountCall, Call, DUMMY_SIGNATURE,
        kernel_v3::{
            account::{
                self, AccountSeed, CallType, Creation, ExecType, Execution, FactoryRoute, Installation,
                install_validation, uninstall_permission,
            },
            approval::{Approval, ApprovalRequest, Found, Search, SelectorData, SignedAs},
            blob::{self, Blob, RecoverError, Recovered, Warning, WriteError},
            contracts::{
                CREATE_CALL, ECDSA_SIGNER, GAS_POLICY, KernelVersion, MULTI_CHAIN_ECDSA_VALIDATOR, RATE_LIMIT_POLICY,
                SIGNATURE_CALLER_POLICY, SUDO_POLICY, TIMESTAMP_POLICY, unsupported_name,
            },
            multi_chain::{self, MultiChainSignature},
            nonce::{Mode, OperationNonce, PermissionId, ValidationId, ValidationType, lane_of_name},
            permission_config::{PermissionConfig, PermissionFlag, Signer, preinstalled},
            policy::{
                Policy, PolicyFlag,
                call::{CallPolicy, CallPolicyVersion, Condition, Entry, Rule},
                gas::GasPolicy,
                rate_limit::RateLimit,
                signature_caller::SignatureCallers,
                timestamp::Timestamp,
            },
            signature::{Envelope, MessageSignature, SignedBy, UseSignature, message_digest, of_undeployed, recover},
        },
    },
    secret::Secret,
};
use serde_json::Value;

// ---- reading the files ----

/// The parsed file, or `None` and a line on the terminal where it is missing.
fn load(name: &str) -> Option<Value> {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/vectors-v3");
    let path = std::env::var_os("KEYLEASH_VECTORS_V3").map_or_else(|| PathBuf::from(own), PathBuf::from).join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            // Not eprintln!, which the test harness would swallow. One write, so that lines of other threads stay whole.
            let line = format!("\nskipped: {} is not there\n", path.display());
            let _ = std::io::stderr().write_all(line.as_bytes());
            None
        }
        Err(e) => panic!("{}: {e}", path.display()),
    }
}

/// A test that looks for something the public files have must have met it; other files need not have it.
fn must_occur(times: usize, what: &str) {
    assert!(times > 0 || std::env::var_os("KEYLEASH_VECTORS_V3").is_some(), "no case with {what}");
}

fn cases<'a>(file: &'a Value, key: &str) -> &'a [Value] {
    let cases = file[key].as_array().map(Vec::as_slice).unwrap_or_default();
    must_occur(cases.len(), key);
    cases
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not text: {value}"))
}

fn bytes(value: &Value) -> Bytes {
    hex::decode(text(value)).unwrap_or_else(|e| panic!("{e}: {value}")).into()
}

fn bytes_or_none(value: &Value) -> Bytes {
    if value.is_null() { Bytes::new() } else { bytes(value) }
}

fn word(value: &Value) -> B256 {
    B256::from_slice(&bytes(value))
}

fn address(value: &Value) -> Address {
    Address::from_slice(&bytes(value))
}

fn address_or_zero(value: &Value) -> Address {
    if value.is_null() { Address::ZERO } else { address(value) }
}

/// A decimal string or a number; missing = 0.
fn number(value: &Value) -> U256 {
    match value {
        Value::Null => U256::ZERO,
        Value::Number(n) => U256::from(n.as_u64().expect("unsigned")),
        other => text(other).parse().expect("decimal"),
    }
}

fn small(value: &Value) -> u64 {
    number(value).to()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn id(case: &Value) -> String {
    format!("{} {}", case["id"].as_str().unwrap_or_default(), case["note"].as_str().unwrap_or_default())
}

fn version(input: &Value) -> KernelVersion {
    KernelVersion::parse(text(&input["kernelVersion"])).expect("a kernel version")
}

fn permission_id(value: &Value) -> PermissionId {
    text(value).parse().expect("a permission id")
}

fn validation_id(value: &Value) -> ValidationId {
    text(value).parse().expect("a validation id")
}

fn flag(value: &Value) -> [u8; 2] {
    if value.is_null() { [0, 0] } else { bytes(value)[..].try_into().expect("two bytes") }
}

fn rule(value: &Value) -> Rule {
    let params = match &value["params"] {
        Value::Array(words) => words.iter().map(word).collect(),
        one => vec![word(one)],
    };
    let condition = Condition::from_code(small(&value["condition"]).try_into().expect("a byte"));
    Rule { condition, offset: small(&value["offset"]), params }
}

fn entry(value: &Value) -> Entry {
    Entry {
        call_type: CallType::from_code(bytes_or_none(&value["callType"]).first().copied().unwrap_or_default()),
        target: address(&value["target"]),
        selector: bytes_or_none(&value["selector"]).get(..4).map_or(Selector::ZERO, Selector::from_slice),
        value_limit: number(&value["valueLimit"]),
        rules: list(&value["rules"]).iter().map(rule).collect(),
    }
}

/// What a policy's contract and data are, by the arguments that the SDK got.
fn contract_and_data(input: &Value) -> (Address, Bytes) {
    let given = |standard: Address| match &input["policyAddress"] {
        Value::Null => standard,
        other => address(other),
    };
    match text(&input["type"]) {
        "sudo" => (given(SUDO_POLICY), Bytes::new()),
        "timestamp" => {
            let window =
                Timestamp { valid_after: small(&input["validAfter"]), valid_until: small(&input["validUntil"]) };
            (given(TIMESTAMP_POLICY), window.encode())
        }
        "rate-limit" => {
            let limit = RateLimit {
                interval: small(&input["interval"]),
                count: small(&input["count"]),
                start_at: small(&input["startAt"]),
            };
            let address = given(RATE_LIMIT_POLICY);
            // The one with reset has no start.
            let length = if address == RATE_LIMIT_POLICY { 18 } else { 12 };
            (address, limit.encode().slice(..length))
        }
        "gas" => {
            let gas = GasPolicy {
                allowed: number(&input["allowed"]).to(),
                enforce_paymaster: input["enforcePaymaster"] == true,
                allowed_paymaster: address_or_zero(&input["allowedPaymaster"]),
            };
            (given(GAS_POLICY), gas.encode())
        }
        "signature-caller" => {
            let callers = SignatureCallers { allowed: list(&input["allowedCallers"]).iter().map(address).collect() };
            (given(SIGNATURE_CALLER_POLICY), callers.encode())
        }
        "call" => {
            let version = CallPolicyVersion::parse(text(&input["policyVersion"])).expect("a version");
            let address = given(version.address());
            // The SDK knows version 0.0.1 by its address alone, and writes lists for any other.
            let is_first = address == CallPolicyVersion::V0_0_1.address();
            let form = if is_first { CallPolicyVersion::V0_0_1 } else { CallPolicyVersion::V0_0_4 };
            let entries = list(&input["permissions"]).iter().map(entry).collect();
            (address, CallPolicy::new(form, entries).expect("entries that the form can say").encode())
        }
        other => panic!("policy {other}"),
    }
}

fn policy(input: &Value) -> Policy {
    let (address, data) = contract_and_data(input);
    Policy::new(PolicyFlag(flag(&input["policyFlag"])), address, &data)
}

fn signer(input: &Value) -> Signer {
    if input["type"] == "ecdsa" {
        let contract = match &input["signerContractAddress"] {
            Value::Null => ECDSA_SIGNER,
            other => address(other),
        };
        return Signer::new(contract, address(&input["address"]).as_slice());
    }
    unreachable!("passkeys are taken from the case")
}

/// The permission that a case is about.
fn config(input: &Value) -> PermissionConfig {
    PermissionConfig {
        flag: PermissionFlag(flag(&input["flag"])),
        signer: signer(&input["signer"]),
        policies: list(&input["policies"]).iter().map(policy).collect(),
    }
}

/// The account that a case is about; `None` with EIP-7702, where it is the owner.
fn seed(input: &Value) -> Option<AccountSeed> {
    let (version, index) = (version(input), number(&input["index"]));
    match text(&input["rootKind"]) {
        "ecdsa" => Some(AccountSeed::of_owner(version, address(&input["owner"]), index)),
        "multi-chain-ecdsa" => {
            let root = ValidationId::of_validator(MULTI_CHAIN_ECDSA_VALIDATOR);
            Some(AccountSeed::of_root(version, root, bytes(&input["owner"]), index))
        }
        "permission" => {
            let config = config(input);
            Some(AccountSeed::of_root(version, config.validation_id(), config.enable_data(), index))
        }
        "eip7702" => None,
        other => panic!("root {other}"),
    }
}

fn account_of(input: &Value) -> Address {
    seed(input).map_or_else(|| address(&input["owner"]), |seed| seed.address())
}

// ---- accounts ----

#[test]
fn accounts_are_where_the_factory_puts_them() {
    let Some(file) = load("addresses.json") else { return };
    let (mut preinstalled_keys, mut delegated) = (0, 0);
    for case in cases(&file, "cases") {
        let input = &case["input"];
        let Some(mut seed) = seed(input) else {
            delegated += 1;
            assert_eq!(account_of(input), address(&case["address"]), "{}", id(case));
            assert_eq!(version(input).implementation(), address(&case["delegation"]), "{}", id(case));
            assert!(version(input).is_safe_to_delegate(), "{}", id(case));
            let code = bytes(&case["codeWhenDelegated"]);
            assert_eq!(account::delegation_code(version(input).implementation()), code, "{}", id(case));
            assert_eq!(account::delegate_of(&code), Some(version(input).implementation()), "{}", id(case));
            assert_eq!(account::delegate_of(&code[..22]), None, "{}", id(case));
            continue;
        };
        seed.hook = address_or_zero(&input["hook"]["address"]);
        seed.hook_data = bytes_or_none(&input["hook"]["data"]);
        let calls = list(&input["initConfig"]).iter().map(bytes).collect();
        let seed = seed.with_init_config(calls).expect("a version with initConfig");
        let version = version(input);
        assert_eq!(seed.root, validation_id(&case["rootValidatorId"]), "{}", id(case));
        assert_eq!(seed.validator_data, bytes(&case["rootValidatorData"]), "{}", id(case));
        assert_eq!(seed.initialize_call(), bytes(&case["initData"]), "{}", id(case));
        assert_eq!(B256::from(seed.index), word(&case["index32"]), "{}", id(case));
        assert_eq!(seed.salt(), word(&case["salt"]), "{}", id(case));
        assert_eq!(version.implementation(), address(&case["implementation"]), "{}", id(case));
        assert_eq!(version.factory(), address(&case["factory"]), "{}", id(case));
        assert_eq!(version.init_code_hash(), word(&case["initCodeHash"]), "{}", id(case));
        assert_eq!(seed.address(), address(&case["address"]), "{}", id(case));
        let route = if input["useMetaFactory"] == false { FactoryRoute::Direct } else { FactoryRoute::Meta };
        let deployment = seed.deployment(route);
        assert_eq!(deployment.factory, address(&case["entryPointFactory"]), "{}", id(case));
        assert_eq!(deployment.factory_data, bytes(&case["factoryData"]), "{}", id(case));
        assert_eq!(deployment.init_code(), bytes(&case["initCode"]), "{}", id(case));
        for code in [bytes(&case["factoryData"]), bytes(&case["initCode"])] {
            let creation = Creation::read(&code).unwrap_or_else(|| panic!("{}", id(case)));
            assert_eq!(creation.route, route, "{}", id(case));
            assert_eq!(creation.seed_of(seed.address()), Some(&seed), "{}", id(case));
        }
        let owner = (input["rootKind"] != "permission").then(|| address(&input["owner"]));
        assert_eq!(seed.owner(), owner, "{}", id(case));
        let known = &case["permissionInInitConfig"];
        if !known.is_null() {
            preinstalled_keys += 1;
            let found = preinstalled(seed.init_config());
            let [(validation, data)] = &found[..] else { panic!("{}: {found:?}", id(case)) };
            let config = PermissionConfig::decode(data).expect("enable data");
            assert_eq!(config.validation_id(), *validation, "{}", id(case));
            assert_eq!(*validation, permission_id(&known["permissionId"]).validation_id(), "{}", id(case));
            // What the SDK writes there: installed at nonce 1, and `execute` granted by a delegatecall to 3.3.
            let installed = Installation {
                id: *validation,
                nonce: 1,
                hook: Address::ZERO,
                data: data.clone(),
                hook_data: Bytes::new(),
            };
            let grant = AccountCall::ExecuteDelegateCall {
                to: KernelVersion::V3_3.implementation(),
                data: account::grant_access(*validation, account::selector::EXECUTE, true),
            };
            let calls = [install_validation(&installed), Execution::plain(grant).encode()];
            assert_eq!(seed.init_config(), calls, "{}", id(case));
        }
    }
    must_occur(preinstalled_keys, "a key in initConfig");
    must_occur(delegated, "EIP-7702");
    for case in cases(&file, "malformed") {
        let version = KernelVersion::parse(case["id"].as_str().unwrap().trim_start_matches("eip7702-")).unwrap();
        assert!(!version.is_safe_to_delegate(), "{}", id(case));
    }
}

// ---- operations ----

#[test]
fn nonces_say_who_validates() {
    let Some(file) = load("nonces.json") else { return };
    let mut names = 0;
    for case in cases(&file, "cases") {
        let input = &case["input"];
        if let Some(name) = input["string"].as_str() {
            names += 1;
            assert_eq!(u64::from(lane_of_name(name)), small(&case["nonceKey"]), "{}", id(case));
            continue;
        }
        let kind = text(&input["kind"]);
        let mode = if kind.ends_with("enable") { Mode::Enable } else { Mode::Use };
        let mut nonce = if input["permissionId"].is_null() {
            let mut nonce = OperationNonce::of_root(address(&case["identifier"]).0);
            let is_root = kind.contains("root");
            nonce.kind = if is_root { ValidationType::Root } else { ValidationType::Validator };
            nonce.mode = mode;
            nonce
        } else {
            OperationNonce::of_permission(mode, permission_id(&input["permissionId"]))
        };
        nonce.lane = small(&input["nonceKey"]).try_into().unwrap();
        nonce.sequence = small(&input["sequence"]);
        assert_eq!([nonce.mode.code()], bytes(&case["mode"])[..], "{}", id(case));
        assert_eq!([nonce.kind.code()], bytes(&case["type"])[..], "{}", id(case));
        assert_eq!(nonce.identifier, address(&case["identifier"]).0, "{}", id(case));
        assert_eq!(nonce.key().to_be_bytes::<32>()[8..], bytes(&case["key"])[..], "{}", id(case));
        assert_eq!(nonce.key(), number(&case["keyDecimal"]), "{}", id(case));
        assert_eq!(B256::from(nonce.encode()), word(&case["nonce"]), "{}", id(case));
        assert_eq!(OperationNonce::decode(number(&case["nonceDecimal"])), nonce, "{}", id(case));
    }
    must_occur(names, "a lane with a name");
    for case in cases(&file, "malformed") {
        assert!(u16::try_from(small(&case["input"]["nonceKey"])).is_err(), "{}", id(case));
    }
}

fn calls(input: &Value) -> Vec<Call> {
    let call = |call: &Value| Call {
        to: address(&call["to"]),
        value: number(&call["value"]),
        data: bytes_or_none(&call["data"]),
    };
    list(&input["calls"]).iter().map(call).collect()
}

fn account_call(input: &Value) -> AccountCall {
    let calls = calls(input);
    match (input["callType"].as_str(), &calls[..]) {
        (Some("delegatecall"), [Call { to, data, .. }]) => {
            AccountCall::ExecuteDelegateCall { to: *to, data: data.clone() }
        }
        (_, [call]) => AccountCall::Execute(call.clone()),
        _ => AccountCall::ExecuteBatch(calls),
    }
}

#[test]
fn calldata_is_what_the_sdk_encodes() {
    let Some(file) = load("execute_calldata.json") else { return };
    for case in cases(&file, "cases") {
        let input = &case["input"];
        let data = bytes(&case["callData"]);
        let account = address_or_zero(&input["account"]);
        let mut execution = Execution {
            call: account_call(input),
            exec: if input["execType"] == "try" { ExecType::Try } else { ExecType::Revert },
            hooked: input["hookPrefix"] == true,
        };
        match &execution.call {
            // The SDK sends one call of the account to itself bare, and drops its value.
            AccountCall::Execute(call) if !account.is_zero() && call.to == account => {
                execution = Execution::plain(AccountCall::Other(call.data.clone()));
            }
            // The code to deploy, wrapped by the SDK: the calldata alone says what is called.
            AccountCall::ExecuteBatch(calls) if calls.is_empty() => {
                execution = Execution::decode(&data);
                let AccountCall::ExecuteDelegateCall { to, data } = &execution.call else { panic!("{}", id(case)) };
                assert_eq!(*to, CREATE_CALL, "{}", id(case));
                assert!(hex::encode(data).contains(&hex::encode(bytes(&input["bytecode"]))), "{}", id(case));
            }
            _ => {}
        }
        assert_eq!(execution.encode(), data, "{}", id(case));
        assert_eq!(Execution::decode(&data).encode(), data, "{}", id(case));
        // A delegatecall has no value to read back.
        assert_eq!(Execution::decode(&data), execution, "{}", id(case));
        if !case["execMode"].is_null() {
            let from = if execution.hooked { 8 } else { 4 };
            assert_eq!(data[from..from + 32], bytes(&case["execMode"])[..], "{}", id(case));
        }
    }
}

fn packed(value: &Value) -> PackedUserOperation {
    PackedUserOperation {
        sender: address(&value["sender"]),
        nonce: word(&value["nonce"]).into(),
        initCode: bytes(&value["initCode"]),
        callData: bytes(&value["callData"]),
        accountGasLimits: word(&value["accountGasLimits"]),
        preVerificationGas: word(&value["preVerificationGas"]).into(),
        gasFees: word(&value["gasFees"]),
        paymasterAndData: bytes(&value["paymasterAndData"]),
        signature: bytes(&value["signature"]),
    }
}

/// Reads the RPC form, and checks everything that can be made of it.
fn operation(case: &Value, chain_id: u64) -> UserOperation {
    let op: UserOperation =
        serde_json::from_value(case["userOp"].clone()).unwrap_or_else(|e| panic!("{}: {e}", id(case)));
    assert_eq!(op.packed(), packed(&case["packed"]), "{}", id(case));
    assert_eq!(UserOperation::try_from(op.packed()).as_ref(), Ok(&op), "{}", id(case));
    let again: UserOperation = serde_json::from_value(serde_json::to_value(&op).unwrap()).unwrap();
    assert_eq!(again, op, "{}", id(case));
    assert_eq!(op.hash(ENTRY_POINT, chain_id), word(&case["userOpHash"]), "{}", id(case));
    op
}

#[test]
fn operations_hash_as_the_entry_point_hashes_them() {
    let Some(file) = load("userop_hashes.json") else { return };
    assert_eq!(address(&file["entryPoint"]), ENTRY_POINT);
    for case in cases(&file, "cases") {
        operation(case, small(&case["chainId"]));
    }
}

// ---- permissions ----

#[test]
fn policies_encode_as_they_are_installed() {
    let Some(file) = load("policies.json") else { return };
    let mut unknown = 0;
    for case in cases(&file, "cases") {
        let input = &case["input"];
        let policy = policy(input);
        let info = [&policy.flag().0[..], policy.address().as_slice()].concat();
        assert_eq!(policy.address(), address(&case["policyAddress"]), "{}", id(case));
        assert_eq!(policy.flag().0, flag(&case["flag"]), "{}", id(case));
        assert_eq!(info, bytes(&case["info"])[..], "{}", id(case));
        assert_eq!(policy.data(), bytes(&case["data"]), "{}", id(case));
        let element = [info, policy.data().to_vec()].concat();
        assert_eq!(Policy::from_element(&element), Some(policy.clone()), "{}", id(case));
        // A contract at another address is not understood, whatever the SDK was told it is.
        let is_standard =
            input["policyAddress"].is_null() || policy.name().is_some() && unsupported_name(policy.address()).is_none();
        assert_eq!(!matches!(policy, Policy::Unknown { .. }), is_standard, "{}", id(case));
        unknown += usize::from(!is_standard);
    }
    must_occur(unknown, "a policy at another address");
}

#[test]
fn entries_of_a_call_policy_encode_as_the_sdk_makes_them() {
    let Some(file) = load("call_permissions.json") else { return };
    let mut left_out = 0;
    for case in cases(&file, "cases") {
        let (input, result) = (&case["input"], &case["result"]);
        // Errors of the SDK, and hex that it made of nothing. Conditions from an ABI come with granting.
        if !result["error"].is_null() || result["invalidHex"] == true || result["data"].is_null() {
            left_out += 1;
            continue;
        }
        let version = CallPolicyVersion::parse(text(&input["policyVersion"])).expect("a version");
        let mut entry = entry(result_with_target(result, input).as_ref());
        entry.value_limit = number(&result["valueLimit"]);
        let call = CallPolicy::new(version, vec![entry]).expect("one entry");
        assert_eq!(call.encode(), bytes(&result["data"]), "{}", id(case));
        assert_eq!(CallPolicy::decode(version, &call.encode()), Some(call), "{}", id(case));
    }
    must_occur(left_out, "an error of the SDK");
}

fn result_with_target(result: &Value, input: &Value) -> Box<Value> {
    let mut result = result.clone();
    result["target"] = input["target"].clone();
    Box::new(result)
}

#[test]
fn a_permission_has_the_id_and_the_enable_data_that_the_sdk_gives_it() {
    let Some(file) = load("permission_ids.json") else { return };
    for case in cases(&file, "cases") {
        let input = &case["input"];
        let config = PermissionConfig {
            flag: PermissionFlag(flag(&input["flag"])),
            signer: Signer::new(address(&case["signerContract"]), &bytes(&case["signerData"])),
            policies: list(&input["policies"]).iter().map(policy).collect(),
        };
        if input["signer"]["type"] == "ecdsa" {
            assert_eq!(config.signer, signer(&input["signer"]), "{}", id(case));
        }
        let is_standard = config.signer.address() == ECDSA_SIGNER;
        assert_eq!(config.signer.key().is_some(), is_standard, "{}", id(case));
        let is_passkey = input["signer"]["type"] == "webauthn";
        assert_eq!(config.signer.unsupported_name().is_some(), is_passkey, "{}", id(case));
        assert_eq!(config.policies_id(), bytes(&case["policiesId"]), "{}", id(case));
        assert_eq!(config.signer_id(), bytes(&case["signerId"]), "{}", id(case));
        assert_eq!(config.permission_id(), permission_id(&case["permissionId"]), "{}", id(case));
        if !case["validationId"].is_null() {
            assert_eq!(config.validation_id(), validation_id(&case["validationId"]), "{}", id(case));
        }
        assert_eq!(config.enable_data(), bytes(&case["enableData"]), "{}", id(case));
        assert_eq!(PermissionConfig::decode(&config.enable_data()), Ok(config), "{}", id(case));
    }
}

// ---- approvals ----

/// The ten well-known keys of anvil; nothing else signs here.
fn key(value: &Value) -> Secret {
    const KEYS: [&str; 10] = [
        "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
        "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
        "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
        "7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
        "47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a",
        "8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba",
        "92db14e403b83dfe3df233f83dfa3a0d7096f21ca9b0d6d6b8d88b2b4ec1564e",
        "4bbbf85ce3377467afe5d46f804f221813b2bb87f24d81f60f1fcdbf7cbf4356",
        "dbda1821b80551c9d65939329250298aa3472ba22feea921c0cf5d620ea67b97",
        "2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6",
    ];
    Secret::from_hex(KEYS[small(value) as usize]).expect("a key")
}

/// What the owner signs in a case, of the long form of `selectorData`.
fn request(input: &Value) -> ApprovalRequest {
    let config = config(input);
    let is_deployed = input["deployed"] == true;
    ApprovalRequest {
        chain_id: Some(small(&input["chainId"])),
        account: account_of(input),
        kernel: version(input),
        validation_id: config.validation_id(),
        // The SDK takes 1 where it reads nothing or 0.
        nonce: if is_deployed { (small(&input["currentNonce"]) as u32).max(1) } else { 1 },
        hook: address_or_zero(&input["hook"]["address"]),
        enable_data: config.enable_data(),
        hook_data: bytes_or_none(&input["hook"]["data"]),
        selector_data: SelectorData::plain(),
    }
}

/// Looks for what was signed, as if nothing but the scope were known.
fn search(asked: &ApprovalRequest, signature: &[u8], owner: Address) -> Vec<Found> {
    let unknown = ApprovalRequest { chain_id: None, kernel: KernelVersion::V3_0, nonce: 0, ..asked.clone() };
    let around = asked.nonce.saturating_sub(1)..=asked.nonce.saturating_add(1);
    let chains = [5, 7].into_iter().chain(asked.chain_id).collect();
    let search = Search { nonces: around, ..Search::on_chains(chains, owner) };
    unknown.candidates(signature, &search).expect("few candidates")
}

#[test]
fn approvals_are_what_the_owner_signs() {
    let Some(file) = load("enable.json") else { return };
    let (mut actions, mut hooks) = (0, 0);
    for case in cases(&file, "cases") {
        let input = &case["input"];
        let mut request = request(input);
        let action = &input["action"];
        if action.is_null() {
            assert_eq!(request.selector(), SelectorData::Plain, "{}", id(case));
        } else {
            actions += 1;
            // What was signed is what counts: the SDK drops the hook it was given, and on 3.0 sets one of its own.
            request.selector_data = bytes(&case["selectorData"]);
            if let SelectorData::Installs(module) = request.selector() {
                assert_eq!(module.selector.as_slice(), &bytes(&action["selector"])[..], "{}", id(case));
                assert_eq!(module.target, address(&action["address"]), "{}", id(case));
                assert_eq!(module.call_type, CallType::DelegateCall, "{}", id(case));
                assert_eq!(SelectorData::long(&module), request.selector_data, "{}", id(case));
            } else {
                assert!(request.selector().is_plain(), "{}", id(case));
                assert_eq!(bytes(&action["selector"])[..], account::selector::EXECUTE[..], "{}", id(case));
                assert!(address(&action["address"]).is_zero(), "{}", id(case));
            }
        }
        hooks += usize::from(!request.hook.is_zero());
        assert_eq!(request.account, address(&case["account"]), "{}", id(case));
        assert_eq!(request.kernel.domain_version(), text(&case["domain"]["version"]), "{}", id(case));
        assert_eq!(u64::from(request.nonce), small(&case["nonce"]), "{}", id(case));
        assert_eq!(request.permission_id(), Some(permission_id(&case["permissionId"])), "{}", id(case));
        assert_eq!(request.validation_id, validation_id(&case["validationId"]), "{}", id(case));
        assert_eq!(request.hook, address(&case["hookAddress"]), "{}", id(case));
        assert_eq!(request.hook_data, bytes(&case["hookData"]), "{}", id(case));
        assert_eq!(request.enable_data, bytes(&case["validatorData"]), "{}", id(case));
        assert_eq!(request.selector_data, bytes(&case["selectorData"]), "{}", id(case));
        assert_eq!(request.struct_hash(), word(&case["structHash"]), "{}", id(case));
        assert_eq!(request.domain().separator(), word(&case["domainSeparator"]), "{}", id(case));
        assert_eq!(request.digest(), word(&case["digest"]), "{}", id(case));
        assert_eq!(request.id().0, word(&case["digest"]), "{}", id(case));
        assert_eq!(request.config(), Ok(config(input)), "{}", id(case));

        let (owner, signature) = (address(&input["owner"]), bytes(&case["enableSignature"]));
        let signed = key(&input["ownerKeyIndex"]).sign_hash(request.digest()).unwrap();
        assert_eq!(signature[..], signed, "{}", id(case));
        assert_eq!(request.recover_owner(&signature), Some(owner), "{}", id(case));
        assert!(request.is_signed_by(owner, &signature), "{}", id(case));
        let message = key(&input["ownerKeyIndex"]).sign_message_hash(request.digest()).unwrap();
        assert!(request.is_signed_by(owner, &message), "{}", id(case));
        let found = search(&request, &signature, owner);
        assert_eq!(found, [Found { request: request.clone(), signed_as: SignedAs::TypedData }], "{}", id(case));
        let approval = Approval { request, signature };
        let stored = serde_json::to_string(&approval).unwrap();
        assert_eq!(serde_json::from_str::<Approval>(&stored).unwrap(), approval, "{}", id(case));
    }
    must_occur(actions, "another account function");
    must_occur(hooks, "a hook");
}

#[test]
fn one_signature_for_several_chains_is_found_on_each() {
    let Some(file) = load("multichain.json") else { return };
    for case in cases(&file, "cases") {
        let (owner, approvals) = (address(&case["owner"]), list(&case["approvals"]));
        let requests: Vec<ApprovalRequest> = approvals.iter().map(|a| request(&a["input"])).collect();
        let digests: Vec<B256> = requests.iter().map(ApprovalRequest::digest).collect();
        let root = multi_chain::root(&digests);
        assert_eq!(root, word(&case["merkleRoot"]), "{}", id(case));
        let signature = key(&case["ownerKeyIndex"]).sign_message_hash(root).unwrap();
        assert_eq!(bytes(&case["ownerSignature"])[..], signature, "{}", id(case));
        for (i, approval) in approvals.iter().enumerate() {
            let request = &requests[i];
            assert_eq!(request.account, address(&approval["account"]), "{}", id(case));
            assert_eq!(request.permission_id(), Some(permission_id(&approval["permissionId"])), "{}", id(case));
            assert_eq!(digests[i], word(&approval["digest"]), "{} [{i}]", id(case));
            let proof: Vec<B256> = list(&approval["proof"]).iter().map(word).collect();
            assert_eq!(multi_chain::proof(&digests, i), proof, "{} [{i}]", id(case));
            let written = bytes(&approval["enableSignature"]);
            let several = MultiChainSignature { signature, root, proof };
            assert_eq!(several.encode(), written, "{} [{i}]", id(case));
            assert_eq!(MultiChainSignature::decode(&written), Some(several.clone()), "{} [{i}]", id(case));
            assert!(several.is_signed_by(owner, digests[i]), "{} [{i}]", id(case));
            assert!(!several.is_signed_by(owner, B256::repeat_byte(1)), "{} [{i}]", id(case));
            let found = Found { request: request.clone(), signed_as: SignedAs::MultiChain };
            assert_eq!(search(request, &written, owner), [found], "{} [{i}]", id(case));
        }
    }
}

#[test]
fn operations_are_signed_as_the_sdk_signs_them() {
    let Some(file) = load("userops.json") else { return };
    assert_eq!(bytes(&file["dummyEcdsaSignature"])[..], DUMMY_SIGNATURE);
    for case in cases(&file, "cases") {
        let input = &case["input"];
        let op = operation(case, small(&input["chainId"]));
        let hash = eip191_hash_message(word(&case["userOpHash"]));
        assert_eq!(hash, word(&case["ethSignedMessageHash"]), "{}", id(case));
        let hooked = !input["hook"].is_null();
        let call = Execution { call: account_call(input), exec: ExecType::Revert, hooked };
        assert_eq!(Execution::decode(&op.call_data), call, "{}", id(case));
        let nonce = OperationNonce::decode(op.nonce);
        let stub = bytes(&case["stubSignature"]);
        assert_eq!(op.sender, account_of(input), "{}", id(case));
        if case["mode"] == "root" {
            assert_eq!((nonce.mode, nonce.kind), (Mode::Use, ValidationType::Root), "{}", id(case));
            assert_eq!(stub[..], DUMMY_SIGNATURE, "{}", id(case));
            assert_eq!(recover(hash, &op.signature), Some(address(&input["owner"])), "{}", id(case));
            continue;
        }
        let (config, session) = (config(input), bytes(&case["sessionSignature"]));
        assert_eq!(nonce.permission(), Some(config.permission_id()), "{}", id(case));
        assert_eq!(recover(hash, &session), Some(address(&input["signer"]["address"])), "{}", id(case));
        assert_eq!(key(&input["signer"]["key"]).sign_message_hash(word(&case["userOpHash"])).unwrap(), session[..]);
        let used = UseSignature::plain(&session);
        assert_eq!(used.encode(), bytes(&case["useSignature"]), "{}", id(case));
        if case["mode"] == "use" {
            assert_eq!(nonce.mode, Mode::Use, "{}", id(case));
            assert_eq!(op.signature, used.encode(), "{}", id(case));
            assert_eq!(UseSignature::decode(&op.signature, config.policies.len()), Ok(used), "{}", id(case));
            assert_eq!(stub, UseSignature::dummy().encode(), "{}", id(case));
            continue;
        }
        assert_eq!(nonce.mode, Mode::Enable, "{}", id(case));
        let envelope = Envelope::decode(&op.signature).expect("an envelope");
        assert!(envelope.is_canonical(&op.signature), "{}", id(case));
        assert_eq!(envelope.use_signature, used.encode(), "{}", id(case));
        assert_eq!(envelope.owner_signature, bytes(&case["enableSignature"]), "{}", id(case));
        assert_eq!(envelope.with_dummy().encode(), stub, "{}", id(case));
        let request = request(input);
        assert_eq!(u64::from(request.nonce), small(&case["enableNonce"]), "{}", id(case));
        assert_eq!(envelope.enable_data, request.enable_data, "{}", id(case));
        assert_eq!(envelope.enable_data, bytes(&case["enableData"]), "{}", id(case));
        assert_eq!(envelope.selector_data, bytes(&case["selectorData"]), "{}", id(case));
        assert_eq!((envelope.hook, &envelope.hook_data), (request.hook, &request.hook_data), "{}", id(case));
        assert_eq!(request.selector_data, envelope.selector_data, "{}", id(case));
        assert_eq!(request.digest(), word(&case["enableDigest"]), "{}", id(case));
        assert!(request.is_signed_by(address(&input["owner"]), &envelope.owner_signature), "{}", id(case));
    }
}

#[test]
fn the_account_signs_in_its_own_domain() {
    let Some(file) = load("erc1271.json") else { return };
    let mut undeployed = 0;
    for case in cases(&file, "cases") {
        let input = &case["input"];
        let (account, version, chain) = (account_of(input), version(input), small(&input["chainId"]));
        assert_eq!(account, address(&case["account"]), "{}", id(case));
        let digest = message_digest(word(&case["hash"]), account, version, Some(chain));
        assert_eq!(digest, word(&case["wrappedHash"]), "{}", id(case));
        let signature = bytes(&case["signature"]);
        let read = MessageSignature::decode(&signature, version).expect("a signature");
        assert_eq!(read.encode(), signature, "{}", id(case));
        assert!(!read.chain_free, "{}", id(case));
        let (signed, signer) = match case["mode"].as_str() {
            Some("permission") => {
                let config = config(input);
                assert_eq!(read.by, SignedBy::Permission(config.permission_id()), "{}", id(case));
                let used = UseSignature::decode(&read.signature, config.policies.len()).expect("a signature");
                assert_eq!(used.segments, [], "{}", id(case));
                (used.signature, address(&input["signer"]["address"]))
            }
            _ => {
                let validator = seed(input).and_then(|seed| seed.root.validator());
                assert_eq!(read.by, validator.map_or(SignedBy::Root, SignedBy::Validator), "{}", id(case));
                (read.signature, address(&input["owner"]))
            }
        };
        assert_eq!([bytes(&case["prefix"]).as_ref(), &signed].concat(), signature[..], "{}", id(case));
        let message = recover(eip191_hash_message(digest), &signed);
        assert!([message, recover(digest, &signed)].contains(&Some(signer)), "{}", id(case));
        if !case["erc6492"].is_null() {
            undeployed += 1;
            let deployment = seed(input).expect("a factory").deployment(FactoryRoute::Meta);
            assert_eq!(of_undeployed(&signature, &deployment), bytes(&case["erc6492"]), "{}", id(case));
        }
    }
    must_occur(undeployed, "an undeployed account");
}

// ---- taking power away ----

#[test]
fn calls_that_revoke_are_what_the_sdk_makes() {
    let Some(file) = load("revoke.json") else { return };
    for case in cases(&file, "cases") {
        let (input, account) = (&case["input"], address(&case["account"]));
        let data = bytes(&case["callData"]);
        let call = |data: Bytes| Call { to: account, value: U256::ZERO, data };
        match text(&case["action"]) {
            "uninstallPlugin" => {
                let config = config(input);
                assert_eq!(config.enable_data(), bytes(&case["deinitData"]), "{}", id(case));
                let uninstall = account::uninstallValidationCall {
                    vId: config.validation_id().0,
                    deinitData: config.enable_data(),
                    hookDeinitData: bytes(&case["hookDeinitData"]),
                };
                let inner = call(uninstall.abi_encode().into());
                assert_eq!(inner.data, bytes(&case["call"]["data"]), "{}", id(case));
                let execution = Execution::plain(AccountCall::Execute(inner));
                assert_eq!(execution.encode(), data, "{}", id(case));
                // Ours has as many items, with nothing in them.
                let ours = uninstall_permission(config.validation_id(), config.policies.len(), Bytes::new());
                let ours = account::uninstallValidationCall::abi_decode(&ours).unwrap();
                assert_eq!(ours.vId, config.validation_id().0, "{}", id(case));
                let items = <Vec<Bytes> as alloy::sol_types::SolValue>::abi_decode(&ours.deinitData).unwrap();
                assert_eq!(items, vec![Bytes::new(); config.policies.len() + 1], "{}", id(case));
            }
            "invalidateNonce" => {
                let nonce = small(&case["nonce"]).try_into().unwrap();
                let bare = account::invalidate_nonce(nonce);
                assert_eq!(bare, data, "{}", id(case));
                assert_eq!(Execution::decode(&data), Execution::plain(AccountCall::Other(bare)), "{}", id(case));
            }
            "changeSudoValidator" => {
                let change = account::changeRootValidatorCall {
                    vId: ValidationId::of_validator(address(&input["newRoot"])).0,
                    hook: Address::ZERO,
                    validatorData: bytes(&input["newOwner"]),
                    hookData: Bytes::new(),
                };
                let change: Bytes = change.abi_encode().into();
                // Kernel 3.0 borrows the function from 3.1, in a delegatecall.
                let execution = match version(input) {
                    KernelVersion::V3_0 => {
                        AccountCall::ExecuteDelegateCall { to: KernelVersion::V3_1.implementation(), data: change }
                    }
                    _ => AccountCall::Other(change),
                };
                assert_eq!(Execution::plain(execution).encode(), data, "{}", id(case));
            }
            "upgradeKernel" => {
                assert_eq!(account::upgrade_to(version(input)), data, "{}", id(case));
            }
            other => panic!("action {other}"),
        }
    }
}

// ---- serialized approvals ----

/// The account that a blob's initCode creates: that of the input, with whatever calls to itself the text names.
fn assert_creates(blob: &Blob, input: &Value, what: &str) {
    let Some(seed) = seed(input) else {
        assert!(blob.init_code.is_empty() && blob.creation.is_none(), "{what}");
        return;
    };
    let created = blob.seed().unwrap_or_else(|| panic!("{what}"));
    let expected = seed.with_init_config(created.init_config().to_vec()).expect("a version with initConfig");
    assert_eq!(*created, expected, "{what}");
    assert_eq!(created.address(), blob.account, "{what}");
    let route = blob.creation.as_ref().map(|creation| creation.route);
    let direct = input["useMetaFactory"] == false;
    assert_eq!(route, Some(if direct { FactoryRoute::Direct } else { FactoryRoute::Meta }), "{what}");
}

/// What the owner signed in a case, by its bytes: where the scope was made from an ABI, the input does not tell it.
fn signed(case: &Value) -> (ApprovalRequest, PermissionConfig) {
    let enable_data = bytes(&case["enableData"]);
    let config = PermissionConfig::decode(&enable_data).unwrap_or_else(|e| panic!("{}: {e}", id(case)));
    let validation_id = permission_id(&case["permissionId"]).validation_id();
    (ApprovalRequest { enable_data, validation_id, ..request(&case["input"]) }, config)
}

/// Reads a text, and finds what was signed by trying.
fn recovered(blob: &Blob, input: &Value) -> Result<Vec<Recovered>, RecoverError> {
    let nonce = request(input).nonce;
    let search = blob::Search {
        chain_ids: vec![5, small(&input["chainId"])],
        nonces: nonce.saturating_sub(1)..=nonce,
        owner: None,
        session_key: Some(address(&input["signer"]["address"])),
        most: usize::MAX,
    };
    blob.recover(&search)
}

#[test]
fn serialized_approvals_are_read_and_what_they_leave_out_is_found() {
    let Some(file) = load("serialization.json") else { return };
    let (mut preinstalled_keys, mut authorizations, mut secrets) = (0, 0, 0);
    for case in cases(&file, "cases") {
        let (input, what) = (&case["input"], id(case));
        let blob = blob::read(text(&case["serialized"])).unwrap_or_else(|e| panic!("{what}: {e}"));
        let json = blob::read(text(&case["json"])).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!((json.account, &json.policies), (blob.account, &blob.policies), "{what}");
        let session = address(&input["signer"]["address"]);
        assert_eq!(blob.account, address(&case["account"]), "{what}");
        let (request, config) = signed(case);
        assert_eq!(blob.config(session), config, "{what}");
        assert_eq!(blob.config(session).enable_data(), request.enable_data, "{what}");
        assert_eq!(blob.written_id, Some(permission_id(&case["permissionId"])), "{what}");
        assert_eq!(blob.written_id, Some(blob.config(session).permission_id()), "{what}");
        let secret = (input["privateKeyIncluded"] == true).then_some(session);
        assert_eq!(blob.secret.as_ref().map(|secret| secret.address()), secret, "{what}");
        secrets += usize::from(secret.is_some());
        assert_creates(&blob, input, &what);
        if let Some(auth) = &blob.eip7702_auth {
            authorizations += 1;
            assert_eq!(auth.address, KernelVersion::V3_3.implementation(), "{what}");
            let warned = blob.warnings.iter().any(|w| matches!(w, Warning::Authorization { .. }));
            assert!(warned, "{what}: {:?}", blob.warnings);
        }
        if input["preInstalled"] == true {
            preinstalled_keys += 1;
            assert!(blob.pre_installed && blob.signature.is_none(), "{what}");
            let refused = RecoverError::PreInstalled { account: blob.account };
            assert_eq!(recovered(&blob, input), Err(refused), "{what}");
            let found = preinstalled(blob.seed().expect("a seed").init_config());
            assert_eq!(found, [(request.validation_id, request.enable_data)], "{what}");
            continue;
        }
        let found = recovered(&blob, input).unwrap_or_else(|e| panic!("{what}: {e}"));
        let [one] = &found[..] else { panic!("{what}: {found:?}") };
        assert_eq!(one.approval.request, request, "{what}");
        assert_eq!(one.owner, address(&input["owner"]), "{what}");
        assert_eq!((one.other_id, one.chosen_id, one.signed_as), (None, false, SignedAs::TypedData), "{what}");
        assert_eq!(one.approval.request.config().as_ref(), Ok(&one.config), "{what}");
    }
    must_occur(preinstalled_keys, "a key that was installed at creation");
    must_occur(authorizations, "an authorization");
    must_occur(secrets, "a private key");
}

/// A text's JSON without what the SDK leaves in it of an ABI, and without the case of its digits.
fn without_abi(json: &str) -> Value {
    let mut json: Value = serde_json::from_str(&json.to_ascii_lowercase()).expect("JSON");
    let policies = json["permissionparams"]["policies"].as_array_mut().expect("policies");
    for entry in policies.iter_mut().filter_map(|p| p["policyparams"]["permissions"].as_array_mut()).flatten() {
        for key in ["abi", "functionname", "args"] {
            entry.as_object_mut().expect("an entry").remove(key);
        }
    }
    json
}

#[test]
fn approvals_are_serialized_as_the_sdk_serializes_them() {
    let Some(file) = load("serialization.json") else { return };
    let (mut exact, mut alike) = (0, 0);
    for case in cases(&file, "cases").iter().filter(|case| case["input"]["preInstalled"] != true) {
        let (input, what) = (&case["input"], id(case));
        let blob = blob::read(text(&case["serialized"])).unwrap_or_else(|e| panic!("{what}: {e}"));
        let found = recovered(&blob, input).unwrap_or_else(|e| panic!("{what}: {e}"));
        let approval = &found[0].approval;
        let written =
            blob::write(approval, &blob.init_code, blob.secret.as_ref(), blob.eip7702_auth.as_ref()).expect("a text");
        let own = STANDARD.decode(written.as_bytes()).expect("base64");
        let own = String::from_utf8(own).expect("UTF-8");
        // Members of a permission stand in the order that the caller gave: all else is the same text.
        if list(&input["policies"]).iter().any(|policy| policy["type"] == "call") {
            alike += 1;
            assert_eq!(without_abi(&own), without_abi(text(&case["json"])), "{what}");
        } else {
            exact += 1;
            assert_eq!(own, text(&case["json"]), "{what}");
            assert_eq!(*written, text(&case["serialized"]), "{what}");
        }
        let again = blob::read(&written).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(recovered(&again, input).as_ref(), Ok(&found), "{what}");
    }
    must_occur(exact, "a permission without a call policy");
    must_occur(alike, "a call policy");
}

#[test]
fn what_does_not_survive_the_sdk_is_found_or_refused() {
    let Some(file) = load("serialization.json") else { return };
    let mut seen = Vec::new();
    for case in cases(&file, "traps") {
        let (input, what) = (&case["input"], id(case));
        let kind = case["id"].as_str().unwrap().trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('-');
        let blob = blob::read(text(&case["serialized"])).unwrap_or_else(|e| panic!("{what}: {e}"));
        match kind {
            // The text does not name them: nothing is shown as approved.
            "hook-lost" | "signer-contract-lost" => {
                let error = recovered(&blob, input).unwrap_err();
                assert!(matches!(error, RecoverError::NotSigned { .. }), "{what}: {error}");
            }
            _ => {
                // The flag too, which the text does not name.
                let found = recovered(&blob, input).unwrap_or_else(|e| panic!("{what}: {e}"));
                let [one] = &found[..] else { panic!("{what}: {found:?}") };
                let (request, config) = signed(case);
                assert_eq!(one.approval.request, ApprovalRequest { account: blob.account, ..request }, "{what}");
                assert_eq!(one.config, config, "{what}");
                let written = blob::write(&one.approval, &blob.init_code, None, None);
                let is_lost = matches!(written, Err(WriteError::Flag(flag)) if flag == one.config.flag);
                assert_eq!((written.is_err(), is_lost), (kind == "flag-lost", kind == "flag-lost"), "{what}");
                let created = blob.seed().expect("a seed");
                assert_eq!(!created.init_config().is_empty(), kind == "initconfig", "{what}");
            }
        }
        if let Some(tampered) = case["tampered"]["serialized"].as_str() {
            let blob = blob::read(tampered).unwrap_or_else(|e| panic!("{what}: {e}"));
            match (kind, recovered(&blob, input)) {
                ("tampered-permission-id", Ok(found)) => {
                    assert_eq!(found[0].other_id, blob.written_id, "{what}");
                    assert_eq!(found[0].approval.request, request(input), "{what}");
                }
                ("tampered-policy", Err(RecoverError::NotSigned { .. })) => {
                    assert_ne!(blob.config(address(&input["signer"]["address"])), config(input), "{what}");
                }
                (_, other) => panic!("{what}: {other:?}"),
            }
        }
        seen.push(kind.to_owned());
    }
    for kind in ["flag-lost", "hook-lost", "signer-contract-lost", "initconfig", "tampered-permission-id"] {
        must_occur(seen.iter().filter(|seen| *seen == kind).count(), kind);
    }
}

#[test]
fn bad_serialized_approvals_are_refused_and_odd_ones_read() {
    let Some(file) = load("serialization.json") else { return };
    for case in cases(&file, "malformed") {
        let read = blob::read(text(&case["serialized"]));
        // The SDK builds an object of the last two, without an approval or of a policy of no version.
        let sdk_reads = case["result"]["ok"] == true;
        let reads = match case["id"].as_str().unwrap() {
            "no-enable-signature" | "call-policy-without-version-and-address" => !sdk_reads,
            // The SDK cannot read the initCode; what is signed does not depend on it.
            "init-code-foreign" => !sdk_reads,
            _ => sdk_reads,
        };
        assert_eq!(read.is_ok(), reads, "{}: {:?}", id(case), read.err());
        if let Ok(blob) = read {
            let account = &case["result"]["address"];
            assert!(account.is_null() || blob.account == address(account), "{}", id(case));
        }
    }
}

#[test]
fn approvals_of_older_writers_are_read() {
    let Some(file) = load("serialization_old.json") else { return };
    for case in cases(&file, "cases") {
        let what = id(case);
        let (session, owner) = (address(&case["sessionKey"]), address(&case["owner"]));
        for text in [text(&case["serialized"]), text(&case["json"])] {
            let blob = blob::read(text).unwrap_or_else(|e| panic!("{what}: {e}"));
            let config = blob.config(session);
            assert_eq!(blob.account, address(&case["account"]), "{what}");
            assert_eq!(config.enable_data(), bytes(&case["enableData"]), "{what}");
            assert_eq!(config.permission_id(), permission_id(&case["permissionId"]), "{what}");
            assert_eq!(blob.written_id, None, "{what}");
            assert_eq!((blob.owner(), blob.deploys()), (Some(owner), Some(version(case))), "{what}");
            let chain_id = small(&case["chainId"]);
            let search =
                blob::Search { session_key: Some(session), nonces: 1..=2, ..blob::Search::on_chains(vec![chain_id]) };
            let found = blob.recover(&search).unwrap_or_else(|e| panic!("{what}: {e}"));
            let [one] = &found[..] else { panic!("{what}: {found:?}") };
            let request = &one.approval.request;
            assert_eq!((request.chain_id, request.kernel, request.nonce), (Some(chain_id), version(case), 1), "{what}");
            assert!(request.selector().is_plain(), "{what}");
        }
    }
}

#[test]
fn approvals_for_several_chains_are_read_from_their_texts() {
    let Some(file) = load("multichain.json") else { return };
    for case in cases(&file, "cases") {
        for approval in list(&case["approvals"]) {
            let (input, what) = (&approval["input"], id(case));
            let blob = blob::read(text(&approval["serialized"])).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!(blob.signature, Some(bytes(&approval["enableSignature"])), "{what}");
            let found = recovered(&blob, input).unwrap_or_else(|e| panic!("{what}: {e}"));
            let [one] = &found[..] else { panic!("{what}: {found:?}") };
            assert_eq!((&one.approval.request, one.signed_as), (&request(input), SignedAs::MultiChain), "{what}");
        }
    }
}

/// A text with one policy, as a holder might write it by hand.
fn text_with_policy(policy: &Value) -> String {
    let account = Address::repeat_byte(1);
    serde_json::json!({
        "permissionParams": { "policies": [{ "policyParams": policy }] },
        "action": { "selector": "0xe9ae5c53", "address": Address::ZERO },
        "accountParams": { "initCode": "0x", "accountAddress": account },
        "enableSignature": Bytes::from_static(&[1; 65]),
    })
    .to_string()
}

#[test]
fn bad_policies_are_refused_when_they_are_read_or_named_before_they_are_installed() {
    let Some(file) = load("policies.json") else { return };
    let (mut refused, mut named) = (0, 0);
    for case in cases(&file, "malformed") {
        let read = blob::read(&text_with_policy(&case["input"]));
        match case["id"].as_str().unwrap() {
            // The SDK encodes them, and the chain installs them: they mean less than their writer thought.
            "gas-enforce-without-allowed" | "gas-allowed-paymaster-only" | "call-doc-operation-key"
            // It compares addresses as text.
            | "rate-limit-lowercase-standard-address" | "rate-limit-checksummed-reset-address"
            // A start where there is none is not encoded.
            | "rate-limit-reset-start-at" => {
                let blob = read.unwrap_or_else(|e| panic!("{}: {e}", id(case)));
                assert_eq!(blob.policies[0].install_faults(), [], "{}", id(case));
            }
            // The SDK encodes them, and the chain refuses them.
            "call-v4-equal-two-params" | "call-condition-8" | "call-slice-on-v4" => {
                named += 1;
                let blob = read.unwrap_or_else(|e| panic!("{}: {e}", id(case)));
                assert_eq!(blob.policies[0].data(), bytes(&case["result"]["data"]), "{}", id(case));
                assert!(!blob.policies[0].install_faults().is_empty(), "{}", id(case));
            }
            _ => {
                refused += 1;
                let error = read.err().unwrap_or_else(|| panic!("{} is read", id(case))).to_string();
                assert!(error.starts_with("permissionParams.policies[0].policyParams"), "{}: {error}", id(case));
            }
        }
    }
    must_occur(refused, "a policy that nobody can sign");
    must_occur(named, "a policy that the chain refuses");
}

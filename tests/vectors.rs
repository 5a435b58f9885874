//! The golden vectors: what the published SDKs and the deployed bytecode produced for the same input, byte for byte.
//!
//! Where an SDK disagrees with the chain we follow the chain, and a test of its own says so. `KEYLEASH_VECTORS=DIR` runs the same
//! tests on another folder with files of the same schema; a file that is missing there is skipped with a line that says so.
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

use std::{collections::BTreeMap, io::Write, path::PathBuf};

use alloy::{
    hex,
    primitives::{Address, B256, Bytes, FixedBytes, Selector, U256, eip191_hash_message, keccak256},
    sol_types::SolCall,
};
use keyleash::{
    erc4337::v06::{ENTRY_POINT, UserOperation},
    policy::scope::{Condition, ExecutionRule, Operation, Permission, Rule, Scope},
    protocol::{
        AccountCall, DUMMY_SIGNATURE, Format,
        kernel_v2::{
            account::{self, AccountSeed},
            approval::{Approval, ApprovalRequest, EnableData},
            blob::{self, Search},
            generation::{ECDSA_VALIDATOR, Generation, KERNEL_FACTORY, KernelVersion},
            judge::{self, Facts, Key, Path, Routing, Window},
            merkle::{self, Tree},
            signature::{self, Shown},
        },
    },
    secret::Secret,
};
use serde_json::{Value, json};

// ---- reading the files ----

/// The parsed file, or `None` (and a line on the terminal) when a folder given by the environment does not have it.
fn load(name: &str) -> Option<Value> {
    let given = std::env::var_os("KEYLEASH_VECTORS");
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");
    let path = given.clone().map_or_else(|| PathBuf::from(own), PathBuf::from).join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()))),
        Err(e) if given.is_some() && e.kind() == std::io::ErrorKind::NotFound => {
            // Not eprintln!, which the test harness would swallow. One write, so that lines of other threads stay whole.
            let line = format!("\nskipped: {} is not there\n", path.display());
            let _ = std::io::stderr().write_all(line.as_bytes());
            None
        }
        Err(e) => panic!("{}: {e}", path.display()),
    }
}

/// A test that looks for something our own files have must have met it; other files need not have it.
fn must_occur(times: usize, what: &str) {
    assert!(times > 0 || std::env::var_os("KEYLEASH_VECTORS").is_some(), "no case with {what}");
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

fn word(value: &Value) -> B256 {
    B256::from_slice(&bytes(value))
}

fn address(value: &Value) -> Address {
    Address::from_slice(&bytes(value))
}

fn sig(value: &Value) -> Selector {
    Selector::from_slice(&bytes(value))
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

fn secret(value: &Value) -> Secret {
    Secret::from_hex(text(value)).expect("a private key")
}

fn id(case: &Value) -> String {
    format!("{} {}", case["id"].as_str().unwrap_or_default(), case["note"].as_str().unwrap_or_default())
}

/// Which contract words the three names of an executionRule stand for.
#[derive(Clone, Copy)]
enum Words {
    /// As the names say, and as the contract's struct has them.
    AsNamed,
    /// As both SDKs encode them: interval, runs, validAfter in the places of validAfter, interval, runs.
    AsTheSdkEncodes,
}

fn permission(value: &Value, position: usize, words: Words) -> Permission {
    let rule = &value["executionRule"];
    let [after, interval, runs] = ["validAfter", "interval", "runs"].map(|key| small(&rule[key]));
    Permission {
        index: position as u32,
        target: address(&value["target"]),
        sig: if value["sig"].is_null() { Selector::ZERO } else { sig(&value["sig"]) },
        value_limit: number(&value["valueLimit"]),
        rules: value["rules"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|rule| Rule {
                offset: number(&rule["offset"]),
                condition: Condition::from_code(small(&rule["condition"])).expect("a condition"),
                param: word(&rule["param"]),
            })
            .collect(),
        execution_rule: match words {
            Words::AsNamed => ExecutionRule { valid_after: after, interval, runs },
            Words::AsTheSdkEncodes => ExecutionRule { valid_after: interval, interval: runs, runs: after },
        },
        operation: Operation::from_code(small(&value["operation"])).expect("an operation"),
    }
}

fn permissions(value: &Value, words: Words) -> Vec<Permission> {
    value.as_array().into_iter().flatten().enumerate().map(|(i, p)| permission(p, i, words)).collect()
}

fn scope(data: &Value, words: Words) -> Scope {
    Scope {
        valid_after: small(&data["validAfter"]),
        valid_until: small(&data["validUntil"]),
        paymaster: if data["paymaster"].is_null() { Address::ZERO } else { address(&data["paymaster"]) },
        permissions: permissions(&data["permissions"], words),
    }
}

/// `validUntil6 ‖ validAfter6`, the SDKs' order.
fn sdk_window(until: &Value, after: &Value) -> FixedBytes<12> {
    let half = |value: &Value| small(value).to_be_bytes()[2..].to_vec();
    FixedBytes::from_slice(&[half(until), half(after)].concat())
}

// ---- permissions ----

#[test]
fn permissions_encode_hash_and_prove_as_the_sdk_signs_them() {
    let Some(file) = load("permissions.json") else { return };
    for case in cases(&file, "cases") {
        let permissions = permissions(&case["normalized"], Words::AsTheSdkEncodes);
        let tree = Tree::new(&permissions, Generation::G2);
        assert_eq!(tree.root(), word(&case["root"]), "{}", id(case));
        for (i, permission) in permissions.iter().enumerate() {
            assert_eq!(permission.encode(Generation::G2), bytes(&case["encoded"][i]), "{} [{i}]", id(case));
            assert_eq!(permission.encode(Generation::G3), bytes(&case["encoded"][i]), "{} [{i}]", id(case));
            assert_eq!(permission.leaf(Generation::G2), word(&case["leaves"][i]), "{} [{i}]", id(case));
            let proof: Vec<B256> = case["proofs"][i].as_array().expect("a proof").iter().map(word).collect();
            assert_eq!(tree.proof(i), proof, "{} [{i}]", id(case));
            assert!(merkle::verify(tree.root(), permission.leaf(Generation::G2), &proof), "{} [{i}]", id(case));
        }
    }
}

#[test]
fn an_execution_rule_is_hashed_in_the_order_of_the_contract_not_of_the_sdk() {
    let Some(file) = load("permissions.json") else { return };
    let mut different = 0;
    for case in cases(&file, "cases") {
        let permissions = permissions(&case["normalized"], Words::AsNamed);
        let root = Tree::new(&permissions, Generation::G2).root();
        let Some(solidity) = case.get("solidityOrder") else {
            assert_eq!(root, word(&case["root"]), "{}", id(case));
            continue;
        };
        different += 1;
        assert_eq!(root, word(&solidity["root"]), "{}", id(case));
        assert_ne!(root, word(&case["root"]), "{}", id(case));
        for (i, permission) in permissions.iter().enumerate() {
            assert_eq!(permission.leaf(Generation::G2), word(&solidity["leaves"][i]), "{} [{i}]", id(case));
        }
    }
    must_occur(different, "an executionRule");
}

#[test]
fn defaults_of_missing_members_are_those_of_the_sdk() {
    let Some(file) = load("permissions.json") else { return };
    for case in cases(&file, "cases") {
        let normalized = permissions(&case["normalized"], Words::AsTheSdkEncodes);
        assert_eq!(permissions(&case["input"], Words::AsTheSdkEncodes), normalized, "{}", id(case));
        // The SDK numbers permissions by position, whatever index came with them; a serialized approval has that index.
        assert_eq!(
            read_scope(&json!({ "permissions": case["normalized"] })).unwrap().permissions,
            normalized,
            "{}",
            id(case)
        );
    }
}

/// The scope that a v4 approval with this sessionKeyData is read as.
fn read_scope(session_key_data: &Value) -> Result<Scope, String> {
    let blob = json!({
        "selector": "0x51945447",
        "sessionKeyData": session_key_data,
        "enableSignature": format!("0x{}", "11".repeat(65)),
        "accountAddress": Address::ZERO,
    });
    blob::read(&blob.to_string()).map(|blob| blob.scope).map_err(|error| error.to_string())
}

#[test]
fn what_the_contract_cannot_decode_is_refused_also_where_the_sdk_lets_it_through() {
    let Some(file) = load("permissions.json") else { return };
    let mut let_through = Vec::new();
    for case in cases(&file, "malformed") {
        let read = read_scope(&json!({ "permissions": case["input"] }));
        if text(&case["note"]).contains("as decimal string") {
            // Not malformed: what every serialized approval has.
            let leaf = read.unwrap().permissions[0].leaf(Generation::G2);
            assert_eq!(leaf, word(&case["result"]["leaves"][0]), "{}", id(case));
            continue;
        }
        let error = read.expect_err(&id(case));
        assert!(error.starts_with("sessionKeyData.permissions[0]."), "{}: {error}", id(case));
        if case["result"].get("error").is_none() {
            let_through.push(error);
        }
    }
    let names = |field: &str| let_through.iter().any(|error| error.contains(field));
    for field in ["interval", "condition", "operation", "target"] {
        must_occur(usize::from(names(field)), field);
    }
}

// ---- enable data ----

#[test]
fn enable_data_and_its_call_are_those_of_the_sdk() {
    let Some(file) = load("enable_data.json") else { return };
    for case in cases(&file, "cases") {
        let input = &case["input"];
        let nonce: u128 = number(&input["onChainLastNonce"]).to::<u128>() + 1;
        assert_eq!(U256::from(nonce), number(&case["nonceUsed"]));
        let session_key = secret(&input["sessionPrivateKey"]).address();
        assert_eq!(session_key, address(&input["sessionKeyAddress"]));
        let scope = scope(&input["sessionKeyData"], Words::AsTheSdkEncodes);
        let enable = EnableData::new(session_key, &scope, nonce, Generation::G2);
        assert_eq!(enable.merkle_root, word(&case["merkleRoot"]), "{}", id(case));
        assert_eq!(enable.encode()[..], bytes(&case["enableData"]), "{}", id(case));
        assert_eq!(EnableData::decode(&bytes(&case["enableData"])), Some(enable), "{}", id(case));
        assert_eq!(account::enable_key(&enable.encode()), bytes(&case["encodeEnable"]), "{}", id(case));
    }
}

#[test]
fn disable_calls_are_those_of_the_sdk() {
    let Some(file) = load("enable_data.json") else { return };
    for case in cases(&file, "disable") {
        let input = bytes(&case["input"]);
        let expected = bytes(&case["encodeDisable"]);
        assert_eq!(account::disableCall { data: input.clone() }.abi_encode(), expected);
        if input.len() == 20 {
            assert_eq!(account::disable_key(Address::from_slice(&input)), expected);
        }
    }
}

#[test]
fn times_above_48_bits_and_short_paymasters_are_refused() {
    let Some(file) = load("enable_data.json") else { return };
    for case in cases(&file, "malformed") {
        let error = read_scope(&case["input"]).expect_err(&id(case));
        assert!(error.starts_with("sessionKeyData."), "{}: {error}", id(case));
    }
}

// ---- approvals ----

fn approval_request(case: &Value, kernel: KernelVersion) -> ApprovalRequest {
    let input = &case["input"];
    let scope = scope(&input["sessionKeyData"], Words::AsTheSdkEncodes);
    let nonce = number(&input["onChainLastNonce"]).to::<u128>() + 1;
    let validator = Generation::from_address(address(&input["validatorAddress"])).expect("a known validator");
    ApprovalRequest {
        chain_id: small(&case["chainId"]),
        account: address(&input["kernel"]),
        kernel,
        validator,
        selector: sig(&input["selector"]),
        executor: address(&input["executor"]),
        plugin_window: sdk_window(&input["validUntil"], &input["validAfter"]),
        enable: EnableData::new(secret(&input["sessionPrivateKey"]).address(), &scope, nonce, validator),
    }
}

#[test]
fn an_approval_has_the_same_digest_and_signature_for_every_kernel_version() {
    let Some(file) = load("approve_executor.json") else { return };
    for case in cases(&file, "cases") {
        let owner = secret(&case["input"]["ownerPrivateKey"]);
        for kernel in KernelVersion::ALL {
            let expected = &case["byVersion"][kernel.as_str()];
            let request = approval_request(case, kernel);
            let what = format!("{} on {kernel}", id(case));
            assert_eq!(request.enable.encode()[..], bytes(&case["enableData"]), "{what}");
            assert_eq!(request.validator_data(), word(&case["validatorData"]), "{what}");
            assert_eq!(request.domain().separator(), word(&expected["domainSeparator"]), "{what}");
            assert_eq!(request.struct_hash(), word(&expected["structHash"]), "{what}");
            assert_eq!(request.digest(), word(&expected["digest"]), "{what}");
            let signature = owner.sign_hash(request.digest()).unwrap();
            assert_eq!(signature[..], bytes(&expected["signature"]), "{what}");
            assert_eq!(request.recover_owner(&signature), Some(owner.address()), "{what}");
            assert!(request.is_signed_by(owner.address(), &signature), "{what}");
        }
    }
}

#[test]
fn typed_data_for_a_wallet_elsewhere_has_the_digest_of_the_approval() {
    let Some(file) = load("approve_executor.json") else { return };
    for case in cases(&file, "cases") {
        let request = approval_request(case, KernelVersion::V0_2_4);
        let typed: alloy::dyn_abi::TypedData = serde_json::from_value(request.typed_data()).unwrap();
        assert_eq!(typed.eip712_signing_hash().unwrap(), request.digest(), "{}", id(case));
    }
}

#[test]
fn the_domain_version_is_the_deployed_kernels_where_the_sdk_signs_another() {
    let Some(file) = load("approve_executor.json") else { return };
    let mut wrong = 0;
    for case in cases(&file, "cases") {
        let owner = address(&case["input"]["owner"]);
        let signature = bytes(&case["sdk"]["signature"]);
        let signed = KernelVersion::parse(text(&case["sdk"]["domainVersion"])).unwrap();
        assert!(approval_request(case, signed).is_signed_by(owner, &signature), "{}", id(case));
        let required = case["kernelVersionActuallyRequired"].as_str().and_then(KernelVersion::parse);
        if let Some(required) = required.filter(|required| *required != signed) {
            assert_eq!(case["sdkVersionCorrect"], json!(false), "{}", id(case));
            assert!(!approval_request(case, required).is_signed_by(owner, &signature), "{}", id(case));
            wrong += 1;
        }
    }
    must_occur(wrong, "the wrong domain version");
}

// ---- accounts ----

#[test]
fn an_account_has_the_same_address_and_init_code() {
    let Some(file) = load("init_code.json") else { return };
    assert_eq!(address(&file["factory"]), KERNEL_FACTORY);
    assert_eq!(address(&file["ecdsaValidator"]), ECDSA_VALIDATOR);
    for case in cases(&file, "cases") {
        let seed = AccountSeed { owner: address(&case["owner"]), index: number(&case["index"]) };
        assert_eq!(seed.initialize_call(), bytes(&case["initializeCallData"]), "{}", id(case));
        assert_eq!(seed.salt(), word(&case["salt"]), "{}", id(case));
        assert_eq!(seed.address(), address(&case["counterfactualAddress"]), "{}", id(case));
        for (version, expected) in case["initCode"].as_object().expect("an object") {
            let kernel = KernelVersion::parse(version).expect("a known version");
            assert_eq!(kernel.implementation(), address(&file["implementations"][version]));
            assert_eq!(seed.init_code(kernel), bytes(expected), "{} {version}", id(case));
            let read = AccountSeed::from_init_code(&bytes(expected));
            assert_eq!(read, Some((seed, kernel.implementation())), "{} {version}", id(case));
        }
    }
}

// ---- UserOperations ----

fn user_op(value: &Value) -> UserOperation {
    serde_json::from_value(value.clone()).expect("a UserOperation")
}

#[test]
fn a_user_operation_hashes_as_in_the_entry_point() {
    let Some(file) = load("userops.json") else { return };
    for (i, case) in cases(&file, "hashes").iter().enumerate() {
        let hash = user_op(&case["userOp"]).hash(address(&case["entryPoint"]), small(&case["chainId"]));
        assert_eq!(hash, word(&case["userOpHash"]), "hashes[{i}]");
    }
    for case in cases(&file, "cases") {
        let hash = user_op(&case["userOp"]).hash(ENTRY_POINT, small(&case["chainId"]));
        assert_eq!(hash, word(&case["userOpHash"]), "{}", id(case));
        assert_eq!(eip191_hash_message(hash), word(&case["ethSignedMessageHash"]), "{}", id(case));
    }
}

#[test]
fn a_user_operation_is_written_as_the_eleven_hex_fields_it_was_read_from() {
    let Some(file) = load("userops.json") else { return };
    for case in cases(&file, "cases").iter().chain(cases(&file, "hashes")) {
        let lower = |value: &Value| -> BTreeMap<String, String> {
            let members = value.as_object().expect("an object").iter();
            members.map(|(key, value)| (key.clone(), text(value).to_ascii_lowercase())).collect()
        };
        let written = serde_json::to_value(user_op(&case["userOp"])).unwrap();
        assert_eq!(lower(&written), lower(&case["userOp"]), "{}", id(case));
    }
}

fn shown_positions(matched: &Value) -> Vec<usize> {
    match matched {
        Value::Array(items) => items.iter().map(|i| small(i) as usize).collect(),
        Value::Number(_) => vec![small(matched) as usize],
        _ => Vec::new(),
    }
}

fn shown<'a>(matched: &Value, positions: &'a [usize]) -> Shown<'a> {
    match (matched, positions) {
        (Value::Array(_), positions) => Shown::Batch(positions),
        (_, [only]) => Shown::One(*only),
        _ => Shown::Nothing,
    }
}

/// A case of `userops.json`: its approval for the kernel it runs on, and the validator's part of the signature.
struct Signed {
    owner: Secret,
    session: Secret,
    approval: Approval,
    proof_data: Bytes,
    hash: B256,
}

impl Signed {
    fn new(case: &Value) -> Self {
        let input = &case["input"];
        let (owner, session) = (secret(&input["ownerPrivateKey"]), secret(&input["sessionPrivateKey"]));
        let scope = scope(&input["sessionKeyData"], Words::AsTheSdkEncodes);
        let validator = Generation::from_address(address(&input["validatorAddress"])).expect("a known validator");
        let request = ApprovalRequest {
            chain_id: small(&case["chainId"]),
            account: address(&input["account"]),
            kernel: KernelVersion::parse(text(&case["kernelVersion"])).expect("a known version"),
            validator,
            selector: sig(&input["selector"]),
            executor: address(&input["executor"]),
            plugin_window: sdk_window(&input["enableValidUntil"], &input["enableValidAfter"]),
            enable: EnableData::new(session.address(), &scope, number(&input["nonceForEnable"]).to(), validator),
        };
        let signature = owner.sign_hash(request.digest()).unwrap();
        let positions = shown_positions(&case["matchedPermission"]);
        let shown = shown(&case["matchedPermission"], &positions);
        Self {
            owner,
            session,
            approval: Approval { request, signature: Bytes::copy_from_slice(&signature) },
            proof_data: signature::proof_data(&scope.permissions, shown, validator).expect("positions exist"),
            hash: word(&case["userOpHash"]),
        }
    }

    fn session_part(&self, signature: &[u8; 65]) -> Bytes {
        signature::session(self.session.address(), signature, &self.proof_data)
    }
}

#[test]
fn approvals_of_user_operations_are_signed_for_the_deployed_kernel() {
    let Some(file) = load("userops.json") else { return };
    let mut refused = 0;
    for case in cases(&file, "cases") {
        let signed = Signed::new(case);
        let request = &signed.approval.request;
        assert_eq!(request.enable.merkle_root, word(&case["merkleRoot"]), "{}", id(case));
        assert_eq!(request.enable.encode()[..], bytes(&case["enableData"]), "{}", id(case));
        assert_eq!(request.digest(), word(&case["enableDigest"]), "{}", id(case));
        assert_eq!(signed.approval.signature, bytes(&case["enableSignature"]), "{}", id(case));
        // What the SDK signed counts exactly when the chain took it.
        let by_sdk = bytes(&case["sdkChosenEnableSignature"]);
        let chain_refused = case["onchain"]["mode2WithSdkChosenDomain"]["authorizerFailed"] == json!(true);
        assert_eq!(request.is_signed_by(signed.owner.address(), &by_sdk), !chain_refused, "{}", id(case));
        refused += usize::from(chain_refused);
    }
    must_occur(refused, "an approval that the chain refuses");
}

#[test]
fn signatures_of_all_three_modes_and_their_dummies_are_those_the_chain_took() {
    let Some(file) = load("userops.json") else { return };
    for case in cases(&file, "cases") {
        let signed = Signed::new(case);
        let expected = &case["signatures"];
        let by_session = signed.session.sign_message_hash(signed.hash).unwrap();
        assert_eq!(by_session[..], bytes(&case["sessionKeySignature"]), "{}", id(case));
        assert_eq!(signed.proof_data, bytes(&case["permissionProofData"]), "{}", id(case));
        let session = signed.session_part(&by_session);
        assert_eq!(session, bytes(&case["validatorSignature"]), "{}", id(case));
        assert_eq!(signature::use_enabled(&session), bytes(&expected["mode1"]), "{}", id(case));
        assert_eq!(signature::enable_and_use(&signed.approval, &session), bytes(&expected["mode2"]), "{}", id(case));
        let by_owner = signed.owner.sign_message_hash(signed.hash).unwrap();
        assert_eq!(signature::sudo(&by_owner), bytes(&expected["mode0OwnerEcdsa"]), "{}", id(case));

        let dummy = signed.session_part(&DUMMY_SIGNATURE);
        assert_eq!(dummy, bytes(&expected["validatorDummy"]), "{}", id(case));
        assert_eq!(signature::use_enabled(&dummy), bytes(&expected["mode1Dummy"]), "{}", id(case));
        assert_eq!(signature::sudo(&DUMMY_SIGNATURE), bytes(&expected["mode0OwnerDummy"]), "{}", id(case));
        let unsigned = Approval {
            request: ApprovalRequest { plugin_window: FixedBytes::ZERO, ..signed.approval.request.clone() },
            signature: Bytes::copy_from_slice(&DUMMY_SIGNATURE),
        };
        assert_eq!(signature::enable_and_use(&unsigned, &dummy), bytes(&expected["mode2Dummy"]), "{}", id(case));
        for mode in ["mode2", "mode1AfterMode2", "mode0OwnerEcdsa"] {
            assert_eq!(case["onchain"][mode]["reverted"], json!(false), "{} {mode}", id(case));
            assert_eq!(case["onchain"][mode]["authorizerFailed"], json!(false), "{} {mode}", id(case));
        }
    }
}

// ---- which permissions for which call ----

#[test]
fn proofs_of_the_permissions_the_sdk_chooses_are_the_same_bytes() {
    let Some(file) = load("matching.json") else { return };
    for case in cases(&file, "cases") {
        let Some(expected) = case.get("proofData") else { continue };
        let permissions = permissions(&case["permissions"], Words::AsTheSdkEncodes);
        let (_, positions) = sdk_choice(case);
        let shown = match text(&case["result"]["kind"]) {
            "batch" => Shown::Batch(&positions),
            "single" => Shown::One(positions[0]),
            _ => Shown::Nothing,
        };
        assert_eq!(signature::proof_data(&permissions, shown, Generation::G2), Some(bytes(expected)), "{}", id(case));
    }
}

#[test]
fn account_calldata_is_read_and_written_back() {
    let Some(file) = load("matching.json") else { return };
    let mut known = 0;
    for case in cases(&file, "cases") {
        let data = bytes(&case["callData"]);
        let call = AccountCall::decode(&data);
        assert_eq!(call.selector(), data.get(..4).map(Selector::from_slice), "{}", id(case));
        if matches!(call, AccountCall::Other(_)) {
            assert_eq!(call.encode(), data, "{}", id(case));
            continue;
        }
        known += 1;
        // The 4th argument of execute, which validation does not read, is the only thing that is not kept.
        let mut expected = data.to_vec();
        if matches!(call, AccountCall::Execute(_)) {
            expected[4 + 127] = 0;
        }
        assert_eq!(call.encode(), expected, "{}", id(case));
    }
    must_occur(known, "a known account call");
}

/// `(kind, positions)` of what the SDK shows.
fn sdk_choice(case: &Value) -> (&str, Vec<usize>) {
    let result = &case["result"];
    let positions = match text(&result["kind"]) {
        "single" => shown_positions(&result["index"]),
        "batch" => shown_positions(&result["indices"]),
        _ => Vec::new(),
    };
    (text(&result["kind"]), positions)
}

/// The judge's answer for the SDK's choice and its own, with a key that is enabled and routed.
fn judged(case: &Value, timestamp: u64) -> (bool, bool) {
    let scope = Scope {
        valid_after: 0,
        valid_until: 0,
        paymaster: Address::ZERO,
        permissions: permissions(&case["permissions"], Words::AsTheSdkEncodes),
    };
    let call = AccountCall::decode(&bytes(&case["callData"]));
    let key = Key {
        generation: Generation::G2,
        scope: &scope,
        approval_nonce: 1,
        selector: call.selector().unwrap_or_default(),
    };
    let facts = Facts {
        timestamp,
        last_nonce: 1,
        invalid_nonce: 0,
        enabled: true,
        routing: Routing::Here,
        plugin_window: Window::default(),
        execution_status: BTreeMap::new(),
        disabled_mode: 0,
        paymaster_and_data: Bytes::new(),
    };
    let (_, positions) = sdk_choice(case);
    let shown = judge::judge(&key, Path::Use, &facts, &call, &positions).is_ok();
    (shown, judge::find(&key, Path::Use, &facts, &call).is_ok())
}

#[test]
fn the_judge_answers_as_the_validator_did_for_the_choice_of_the_sdk() {
    let Some(file) = load("matching.json") else { return };
    let mut accepted = 0;
    for case in cases(&file, "cases") {
        let Some(on_chain) = case["onchainValidatorAcceptsSdkChoice"].as_object() else { continue };
        let took_it = on_chain["reverted"] == json!(false) && on_chain["authorizerFailed"] == json!(false);
        // The validator says when its answer holds and leaves the clock to the EntryPoint, so judge from then on.
        let valid_after = on_chain.get("validAfter").map_or(0, small);
        let (shown, found) = judged(case, valid_after.max(1));
        assert_eq!(shown, took_it, "{}", id(case));
        if took_it {
            assert!(found, "{}", id(case));
            accepted += 1;
        }
    }
    must_occur(accepted, "an accepted choice");
}

// ---- serialized approvals ----

/// Both formats with the list they are in.
fn serialized(file: &Value) -> impl Iterator<Item = (Format, &Value)> {
    let of = |format, key| cases(file, key).iter().map(move |case| (format, case));
    of(Format::V4, "v4").chain(of(Format::V5, "v5"))
}

fn read(case: &Value) -> blob::Blob {
    blob::read(text(&case["serialized"])).unwrap_or_else(|error| panic!("{}: {error}", id(case)))
}

fn recover(case: &Value, chain_ids: Vec<u64>) -> blob::Recovered {
    let input = &case["input"];
    let last_nonce = number(&input["onChainLastNonce"]).to::<u128>();
    let search = Search {
        owner: Some(secret(&input["ownerPrivateKey"]).address()),
        session_key: Some(secret(&input["sessionPrivateKey"]).address()),
        nonces: last_nonce.saturating_sub(5)..=last_nonce.saturating_add(5),
        ..Search::on_chains(chain_ids)
    };
    read(case).recover(&search).unwrap_or_else(|error| panic!("{}: {error}", id(case)))
}

fn write(case: &Value, format: Format) -> String {
    let blob = read(case);
    let approval = recover(case, vec![small(&case["chainId"])]).approval;
    blob::write(&approval, &blob.scope, blob.init_code.as_ref(), format, blob.secret.as_ref()).unwrap().to_string()
}

#[test]
fn every_serialized_approval_is_read_as_the_sdk_reads_its_own() {
    let Some(file) = load("serialization.json") else { return };
    for (format, case) in serialized(&file) {
        let (blob, input) = (read(case), &case["input"]);
        assert_eq!(blob.format, format, "{}", id(case));
        assert_eq!(blob.account, address(&input["account"]), "{}", id(case));
        let decoded = &case["decoded"];
        let (selector, executor, window) = match format {
            Format::V4 => (&decoded["selector"], &decoded["executor"], decoded),
            Format::V5 => (&decoded["action"]["selector"], &decoded["action"]["address"], &decoded["validityData"]),
        };
        assert_eq!((blob.selector, blob.executor), (sig(selector), address(executor)), "{}", id(case));
        assert_eq!(blob.plugin_window, sdk_window(&window["validUntil"], &window["validAfter"]), "{}", id(case));
        let session = secret(&input["sessionPrivateKey"]).address();
        let carried = (input["withPrivateKey"] == json!(true)).then_some(session);
        assert_eq!(blob.secret.as_ref().map(Secret::address), carried, "{}", id(case));
        assert_eq!(blob.init_code.is_none(), input["deployed"] == json!(true), "{}", id(case));
        if blob.init_code.is_some() {
            assert_eq!(blob.seed().unwrap().0.owner, secret(&input["ownerPrivateKey"]).address(), "{}", id(case));
        }
        // 5.5.4 fails on some of its own approvals; ours does not.
        if let Some(enable_data) = case["afterDeserialize"].get("enableData") {
            let nonce = number(&input["onChainLastNonce"]).to::<u128>() + 1;
            let enable = EnableData::new(session, &blob.scope, nonce, Generation::G2);
            assert_eq!(enable.encode()[..], bytes(enable_data), "{}", id(case));
        }
        // The JSON itself is as good as its base64.
        assert_eq!(blob::read(text(&case["json"])).ok().unwrap().scope, blob.scope, "{}", id(case));
    }
}

#[test]
fn a_blob_with_an_execution_rule_says_that_the_sdk_permutes_it() {
    let Some(file) = load("serialization.json") else { return };
    let mut permuted = 0;
    for (_, case) in serialized(&file) {
        let data = ["sessionKeyData", "sessionKeyParams"].map(|key| &case["decoded"][key]["permissions"]);
        let rules = data.into_iter().filter_map(Value::as_array).flatten().map(|p| &p["executionRule"]);
        let differs = rules.into_iter().any(|r| r["validAfter"] != r["interval"] || r["interval"] != r["runs"]);
        assert_eq!(read(case).execution_rule_permuted, differs, "{}", id(case));
        permuted += usize::from(differs);
    }
    must_occur(permuted, "an executionRule");
}

#[test]
fn nonce_chain_validator_and_kernel_of_every_serialized_approval_are_recovered() {
    let Some(file) = load("serialization.json") else { return };
    for (format, case) in serialized(&file) {
        let recovered = recover(case, vec![31337, 1, 137, small(&case["chainId"])]);
        let request = &recovered.approval.request;
        assert_eq!(request.chain_id, small(&case["chainId"]), "{}", id(case));
        assert_eq!(
            U256::from(request.enable.nonce),
            number(&case["input"]["onChainLastNonce"]) + U256::ONE,
            "{}",
            id(case)
        );
        match format {
            Format::V4 => assert_eq!(request.validator, Generation::G2, "{}", id(case)),
            Format::V5 => assert_eq!(request.kernel.as_str(), text(&case["kernelVersion"]), "{}", id(case)),
        }
        assert_eq!(recovered.owner, secret(&case["input"]["ownerPrivateKey"]).address(), "{}", id(case));
    }
}

/// The JSON of a vector with what our writing normalizes undone: order of members, digits' case, members of no meaning.
fn as_we_write(value: &Value, parent: &str) -> String {
    let order: &[&str] = match parent {
        "v4" => &[
            "selector",
            "executor",
            "validUntil",
            "validAfter",
            "sessionKeyData",
            "enableSignature",
            "sessionPrivateKey",
            "initCode",
            "accountAddress",
        ],
        "v5" => &["sessionKeyParams", "action", "validityData", "accountParams", "enableSignature", "privateKey"],
        "sessionKeyData" | "sessionKeyParams" => &["validUntil", "validAfter", "paymaster", "permissions"],
        "permissions" => &["sig", "rules", "target", "valueLimit", "operation", "index", "executionRule"],
        "rules" => &["param", "offset", "condition"],
        "executionRule" => &["validAfter", "interval", "runs"],
        "action" => &["selector", "address"],
        "validityData" => &["validAfter", "validUntil"],
        "accountParams" => &["initCode", "accountAddress"],
        _ => &[],
    };
    match value {
        Value::Object(members) => {
            let member = |key: &&str| {
                let value = match (*key, members.get(*key)) {
                    ("permissions", None) => "[]".to_owned(),
                    ("param", Some(param)) => param.to_string().to_ascii_lowercase(),
                    (key, Some(value)) => as_we_write(value, key),
                    (_, None) => return None,
                };
                Some(format!("\"{key}\":{value}"))
            };
            format!("{{{}}}", order.iter().filter_map(member).collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(|item| as_we_write(item, parent)).collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

fn decode(text: &str) -> String {
    use base64::Engine;
    String::from_utf8(base64::engine::general_purpose::STANDARD.decode(text).unwrap()).unwrap()
}

#[test]
fn every_serialized_approval_is_written_back_byte_for_byte_but_for_the_differences_named_below() {
    let Some(file) = load("serialization.json") else { return };
    let mut identical = 0;
    for (format, case) in serialized(&file) {
        let parent = if format == Format::V4 { "v4" } else { "v5" };
        let json: Value = serde_json::from_str(text(&case["json"])).unwrap();
        let written = write(case, format);
        assert_eq!(decode(&written), as_we_write(&json, parent), "{}", id(case));
        if decode(&written) == text(&case["json"]) {
            assert_eq!(written, text(&case["serialized"]), "{}", id(case));
            identical += 1;
        }
    }
    must_occur(identical, "byte-identical text");
}

#[test]
fn difference_the_order_of_members_follows_the_sdk_function_not_the_caller() {
    let Some(file) = load("serialization.json") else { return };
    // {target, sig, …} and {permissions, paymaster} come from how the caller wrote them.
    let mut by_callers = 0;
    for (format, case) in serialized(&file) {
        let (ours, theirs) = (decode(&write(case, format)), text(&case["json"]));
        by_callers += usize::from(theirs.contains(r#"{"target""#) && theirs.contains(r#"],"paymaster""#));
        assert!(!ours.contains(r#"{"target""#) && !ours.contains(r#"],"paymaster""#), "{}", id(case));
    }
    must_occur(by_callers, "an order of the caller");
}

#[test]
fn difference_words_are_written_in_lower_case() {
    let Some(file) = load("serialization.json") else { return };
    let mut mixed = 0;
    for (format, case) in serialized(&file) {
        let ours = decode(&write(case, format));
        for part in text(&case["json"]).split(r#""param":""#).skip(1) {
            let param = &part[..66];
            assert!(ours.contains(&format!(r#""param":"{}""#, param.to_ascii_lowercase())), "{}", id(case));
            mixed += usize::from(param != param.to_ascii_lowercase());
        }
    }
    must_occur(mixed, "a word in mixed case");
}

#[test]
fn difference_missing_permissions_are_written_as_an_empty_list() {
    let Some(file) = load("serialization.json") else { return };
    let without = serialized(&file).filter(|(_, case)| !text(&case["json"]).contains(r#""permissions""#));
    let times = without
        .inspect(|(format, case)| {
            assert!(decode(&write(case, *format)).contains(r#","permissions":[]}"#), "{}", id(case))
        })
        .count();
    must_occur(times, "no permissions");
}

#[test]
fn difference_abi_members_that_the_sdk_cannot_always_read_back_are_left_out() {
    let Some(file) = load("serialization.json") else { return };
    let mut times = 0;
    for (format, case) in serialized(&file).filter(|(_, case)| text(&case["json"]).contains(r#""abi":["#)) {
        let ours = decode(&write(case, format));
        assert!(
            !["abi", "functionName", "args"].iter().any(|key| ours.contains(&format!("\"{key}\""))),
            "{}",
            id(case)
        );
        assert_eq!(blob::read(&ours).ok().unwrap().scope, read(case).scope, "{}", id(case));
        times += 1;
    }
    must_occur(times, "an ABI");
}

#[test]
fn a_serialized_approval_can_change_its_form_without_loss() {
    let Some(file) = load("serialization.json") else { return };
    for (format, case) in serialized(&file) {
        let other = if format == Format::V4 { Format::V5 } else { Format::V4 };
        let (before, after) = (read(case), blob::read(&write(case, other)).ok().unwrap());
        assert_eq!(after.format, other);
        assert_eq!(after.scope, before.scope, "{}", id(case));
        assert_eq!(
            (after.account, after.init_code, after.signature),
            (before.account, before.init_code, before.signature)
        );
        assert_eq!(after.secret.map(|s| s.address()), before.secret.map(|s| s.address()));
    }
}

#[test]
fn execution_status_is_kept_under_the_hash_of_two_words_of_different_width() {
    // No SDK computes this; the width (32 and 4 bytes) is the contract's, see docs/kernel-v2.md#run-limits.
    let expected = keccak256([&U256::from(7).to_be_bytes::<32>()[..], &3u32.to_be_bytes()].concat());
    assert_eq!(account::execution_status_key(7, 3), expected);
}

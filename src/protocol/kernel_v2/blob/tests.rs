use alloy::primitives::{B256, address, fixed_bytes};
use base64::{Engine, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    policy::scope::ANY_TARGET,
    protocol::kernel_v2::{
        account::selector,
        approval::ApprovalRequest,
        generation::{Generation, KernelVersion},
    },
};

// anvil's well-known accounts 0 (owner) and 1 (session key).
const OWNER: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const SESSION: &str = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
const NFT: Address = address!("23092e6f77ba2441251fA02747332E92BBcB683C");

fn owner() -> Secret {
    Secret::from_hex(OWNER).unwrap()
}

fn session() -> Secret {
    Secret::from_hex(SESSION).unwrap()
}

fn seed() -> AccountSeed {
    AccountSeed { owner: owner().address(), index: U256::from(7) }
}

fn transfer_once_an_hour() -> Permission {
    Permission {
        index: 0,
        target: NFT,
        sig: Selector::new([0xa9, 0x05, 0x9c, 0xbb]),
        value_limit: U256::from(5),
        rules: vec![Rule { offset: U256::from(32), condition: Condition::Lte, param: B256::with_last_byte(9) }],
        execution_rule: ExecutionRule { valid_after: 1_700_000_000, interval: 3600, runs: 4 },
        operation: Operation::Call,
    }
}

fn scope() -> Scope {
    Scope {
        valid_after: 1,
        valid_until: 2_000_000_000,
        paymaster: Address::ZERO,
        permissions: vec![transfer_once_an_hour()],
    }
}

fn approve(scope: &Scope, request: impl FnOnce(&mut ApprovalRequest)) -> Approval {
    let mut request = {
        let mut unsigned = ApprovalRequest {
            chain_id: 11_155_111,
            account: seed().address(),
            kernel: KernelVersion::V0_2_4,
            validator: Generation::G2,
            selector: selector::EXECUTE,
            executor: Address::ZERO,
            plugin_window: FixedBytes::ZERO,
            enable: EnableData::new(session().address(), scope, 3, Generation::G2),
        };
        request(&mut unsigned);
        unsigned
    };
    request.enable = EnableData::new(session().address(), scope, request.enable.nonce, request.validator);
    let signature = owner().sign_hash(request.digest()).unwrap();
    Approval { request, signature: Bytes::copy_from_slice(&signature) }
}

fn init_code() -> Bytes {
    seed().init_code(KernelVersion::V0_2_4)
}

fn json_of(text: &str) -> Value {
    serde_json::from_slice(&STANDARD.decode(text).unwrap()).unwrap()
}

/// The JSON of a v4 approval with everything in it, to be spoilt by tests.
fn v4_json() -> Value {
    let approval = approve(&scope(), |_| {});
    json_of(&write(&approval, &scope(), Some(&init_code()), Format::V4, Some(&session())).unwrap())
}

fn v5_json() -> Value {
    let approval = approve(&scope(), |_| {});
    json_of(&write(&approval, &scope(), Some(&init_code()), Format::V5, Some(&session())).unwrap())
}

fn error_of(json: &Value) -> BlobError {
    read(&json.to_string()).err().expect("refused")
}

/// Spoils one field of a v4 approval and gives the complaint.
fn complaint(pointer: &str, value: Value) -> String {
    let mut json = v4_json();
    *json.pointer_mut(pointer).unwrap() = value;
    error_of(&json).to_string()
}

#[test]
fn what_is_written_is_read_back_in_both_forms() {
    for format in [Format::V4, Format::V5] {
        let approval = approve(&scope(), |_| {});
        let text = write(&approval, &scope(), Some(&init_code()), format, Some(&session())).unwrap();
        let blob = read(&text).ok().unwrap();
        assert_eq!(blob.format, format);
        assert_eq!(blob.account, approval.request.account);
        assert_eq!(blob.selector, selector::EXECUTE);
        assert_eq!(blob.scope, scope());
        assert_eq!(blob.init_code, Some(init_code()));
        assert_eq!(blob.signature, approval.signature);
        assert_eq!(blob.secret.unwrap().address(), session().address());
    }
}

#[test]
fn an_execution_rule_is_written_under_the_names_that_make_the_sdk_emit_our_words() {
    // The SDK encodes interval, runs, validAfter; the chain reads validAfter, interval, runs.
    let rule = &v4_json()["sessionKeyData"]["permissions"][0]["executionRule"];
    assert_eq!(*rule, json!({"validAfter": 4, "interval": 1_700_000_000u64, "runs": 3600}));
}

#[test]
fn an_execution_rule_is_read_as_the_chain_reads_it_with_a_warning() {
    let mut json = v4_json();
    json["sessionKeyData"]["permissions"][0]["executionRule"] = json!({"validAfter": 0, "interval": 0, "runs": 2});
    let blob = read(&json.to_string()).ok().unwrap();
    assert_eq!(blob.scope.permissions[0].execution_rule, ExecutionRule { valid_after: 0, interval: 2, runs: 0 });
    assert!(blob.execution_rule_permuted);
    let warning = blob.warnings.iter().find(|w| matches!(w, Warning::ExecutionRuleOrder { .. })).unwrap().to_string();
    assert!(
        warning.starts_with(
            "sessionKeyData.permissions[0].executionRule: the JSON says validAfter 0, interval 0, runs 2;"
        )
    );
    assert!(warning.ends_with("the chain reads validAfter 0, interval 2, runs 0"));
}

#[test]
fn no_execution_rule_means_no_warning() {
    let mut json = v4_json();
    json["sessionKeyData"]["permissions"][0].as_object_mut().unwrap().remove("executionRule");
    let blob = read(&json.to_string()).ok().unwrap();
    assert!(!blob.execution_rule_permuted);
    assert_eq!(blob.warnings, []);
}

#[test]
fn missing_members_default_as_in_the_sdk() {
    let mut json = v4_json();
    for key in ["executor", "validUntil", "validAfter", "sessionPrivateKey", "initCode"] {
        json.as_object_mut().unwrap().remove(key);
    }
    json["sessionKeyData"] = json!({"permissions": [{"target": NFT}, {"target": ANY_TARGET, "valueLimit": null}]});
    let blob = read(&json.to_string()).ok().unwrap();
    let permission = |index, target| Permission {
        index,
        target,
        sig: Selector::ZERO,
        value_limit: U256::ZERO,
        rules: vec![],
        execution_rule: ExecutionRule::default(),
        operation: Operation::Call,
    };
    assert_eq!(blob.scope.permissions, [permission(0, NFT), permission(1, ANY_TARGET)]);
    assert_eq!((blob.scope.valid_after, blob.scope.valid_until, blob.scope.paymaster), (0, 0, Address::ZERO));
    assert_eq!((blob.executor, blob.init_code), (Address::ZERO, None));
    assert!(blob.secret.is_none());
}

#[test]
fn numbers_are_read_as_numbers_decimal_or_hex_text_and_enums_by_either_name() {
    let mut json = v4_json();
    json["sessionKeyData"]["validUntil"] = json!("0x77359400");
    json["sessionKeyData"]["validAfter"] = json!("1");
    json["validUntil"] = json!(0.0);
    let permission = &mut json["sessionKeyData"]["permissions"][0];
    permission["valueLimit"] = json!(5);
    permission["operation"] = json!("Call");
    permission["rules"][0] =
        json!({"condition": "LESS_THAN_OR_EQUAL", "offset": "0x20", "param": B256::with_last_byte(9)});
    permission["somethingNew"] = json!([{"deep": [1, -2, 1.5e300, true, null, "\u{202e}"]}]);
    assert_eq!(read(&json.to_string()).ok().unwrap().scope, scope());
    json["sessionKeyData"]["permissions"][0]["rules"][0]["condition"] = json!("lte");
    assert_eq!(read(&json.to_string()).ok().unwrap().scope, scope());
}

#[test]
fn base64_is_read_url_safe_unpadded_quoted_and_broken_into_lines() {
    let text = STANDARD.encode(v4_json().to_string());
    let url_safe = text.replace('+', "-").replace('/', "_");
    let lines = text.as_bytes().chunks(76).map(|l| std::str::from_utf8(l).unwrap()).collect::<Vec<_>>().join("\r\n");
    for variant in [&text, &url_safe, text.trim_end_matches('='), &format!("\n \"{text}\"\t"), &format!("'{lines}'")] {
        assert_eq!(read(variant).ok().unwrap().scope, scope());
    }
}

#[test]
fn text_that_is_too_long_empty_or_foreign_is_refused() {
    assert_eq!(read(&"A".repeat(10_000_000)).err(), Some(TextError::TooLong { length: 10_000_000 }.into()));
    for empty in ["", " \n", "\"\"", "=="] {
        assert!(
            matches!(read(empty).err(), Some(BlobError::Text(TextError::Empty | TextError::CutOff { length: 0 }))),
            "{empty:?}"
        );
    }
    assert_eq!(read("eyJh*").err(), Some(TextError::NotBase64 { position: 4 }.into()));
    assert!(matches!(read("AAAA").err(), Some(BlobError::Text(TextError::NotJson { .. }))));
    assert_eq!(
        read(&STANDARD.encode("[]")).err().unwrap().to_string(),
        "the approval: expected an object, found a list of 0; copy the approval again from the program that wrote it"
    );
    assert_eq!(read(&format!("{{\"a\":[{}0]}}", "0,".repeat(1_000_000))).err(), Some(TextError::TooManyValues.into()));
    assert!(matches!(
        read(&format!("{{\"a\":{}", "[".repeat(500_000))).err(),
        Some(BlobError::Text(TextError::NotJson { .. }))
    ));
}

#[test]
fn an_approval_cut_off_anywhere_is_refused() {
    let text = STANDARD.encode(v4_json().to_string());
    for end in (1..text.trim_end_matches('=').len() - 2).step_by(7) {
        assert!(matches!(read(&text[..end]).err(), Some(BlobError::Text(TextError::CutOff { .. }))), "cut at {end}");
    }
}

#[test]
fn a_complaint_names_the_field_what_was_expected_and_what_was_found() {
    assert_eq!(
        complaint("/sessionKeyData/permissions/0/rules/0/param", json!("0x1234")),
        "sessionKeyData.permissions[0].rules[0].param: expected a 32-byte word: 0x and 64 hex digits, found \"0x1234\"; the \
         contract compares whole words, so nobody can have signed this"
    );
    for (pointer, value, says) in [
        ("/selector", json!("0x519454"), "selector: expected a function selector"),
        ("/executor", json!(7), "executor: expected an address: 0x and 40 hex digits, found 7"),
        (
            "/enableSignature",
            json!("0x12"),
            "enableSignature: expected the owner's signature: 0x and 130 hex digits, found \"0x12\"",
        ),
        ("/initCode", json!("0xzz"), "initCode: expected initCode"),
        ("/sessionKeyData", json!([]), "sessionKeyData: expected an object, found a list of 0"),
        (
            "/sessionKeyData/validUntil",
            json!(1u64 << 48),
            "sessionKeyData.validUntil: expected a whole number from 0 to 2^48 - 1, found 281474976710656",
        ),
        (
            "/sessionKeyData/validAfter",
            json!(-1),
            "sessionKeyData.validAfter: expected a whole number from 0 to 2^48 - 1, found -1",
        ),
        (
            "/sessionKeyData/permissions",
            json!({}),
            "sessionKeyData.permissions: expected a list of at most 10000 permissions",
        ),
        ("/sessionKeyData/permissions/0", json!(null), "sessionKeyData.permissions[0]: expected an object, found null"),
        ("/sessionKeyData/permissions/0/index", json!(1u64 << 32), "sessionKeyData.permissions[0].index: expected"),
        (
            "/sessionKeyData/permissions/0/valueLimit",
            json!(1e30),
            "sessionKeyData.permissions[0].valueLimit: expected a whole number",
        ),
        ("/sessionKeyData/permissions/0/valueLimit", json!("1_000"), "found \"1_000\""),
        ("/sessionKeyData/permissions/0/valueLimit", json!(""), "found \"\""),
        (
            "/sessionKeyData/permissions/0/operation",
            json!(2),
            "sessionKeyData.permissions[0].operation: expected an operation: 0 (Call) or 1 (DelegateCall), found 2",
        ),
        (
            "/sessionKeyData/permissions/0/rules/0/condition",
            json!(6),
            "sessionKeyData.permissions[0].rules[0].condition: expected a condition",
        ),
        ("/sessionKeyData/permissions/0/rules/0/condition", json!("LIKE\u{7}\u{202e}"), "found \"LIKE??\""),
        (
            "/sessionKeyData/permissions/0/rules/0/offset",
            json!(1.5),
            "sessionKeyData.permissions[0].rules[0].offset: expected a whole number from 0 to 2^256 - 1, found 1.5",
        ),
        (
            "/sessionKeyData/permissions/0/executionRule/runs",
            Value::Null,
            "sessionKeyData.permissions[0].executionRule.runs: expected a whole number from 0 to 2^48 - 1, found nothing",
        ),
    ] {
        let complaint = complaint(pointer, value);
        assert!(complaint.contains(says), "{complaint}");
    }
}

#[test]
fn a_v5_complaint_names_the_v5_field() {
    let mut json = v5_json();
    json["accountParams"]["accountAddress"] = json!("0x12");
    assert!(error_of(&json).to_string().starts_with("accountParams.accountAddress: expected an address"));
    json["accountParams"] = Value::Null;
    assert!(error_of(&json).to_string().starts_with("accountParams: expected an object, found nothing"));
}

#[test]
fn mixed_case_with_a_wrong_checksum_is_refused_and_other_cases_are_read() {
    let checksum = NFT.to_checksum(None);
    let mut wrong = checksum.clone().into_bytes();
    let at = wrong.iter().rposition(u8::is_ascii_uppercase).unwrap();
    wrong[at] = wrong[at].to_ascii_lowercase();
    let pointer = "/sessionKeyData/permissions/0/target";
    let complaint = complaint(pointer, json!(String::from_utf8(wrong).unwrap()));
    assert!(
        complaint.starts_with("sessionKeyData.permissions[0].target: expected an address whose upper and lower case")
    );
    for good in [checksum.to_ascii_lowercase(), format!("0x{}", checksum[2..].to_ascii_uppercase()), checksum] {
        let mut json = v4_json();
        *json.pointer_mut(pointer).unwrap() = json!(good);
        assert_eq!(read(&json.to_string()).ok().unwrap().scope, scope(), "{good}");
    }
}

#[test]
fn a_private_key_is_never_repeated_wherever_it_stands() {
    for pointer in [
        "/selector",
        "/executor",
        "/sessionKeyData",
        "/accountAddress",
        "/enableSignature",
        "/sessionKeyData/validUntil",
    ] {
        let complaint = complaint(pointer, json!(SESSION));
        assert!(!complaint.contains(&SESSION[2..12]), "{complaint}");
    }
    for bad in [json!(SESSION[..64]), json!(format!("{SESSION}00")), json!([SESSION]), json!(12)] {
        let complaint = complaint("/sessionPrivateKey", bad);
        assert!(complaint.starts_with("sessionPrivateKey: a private key is 64 hexadecimal digits"), "{complaint}");
        assert!(!complaint.contains(&SESSION[2..12]));
    }
}

#[test]
fn ten_thousand_permissions_of_256_rules_are_the_most_that_is_read() {
    let mut json = v4_json();
    json["sessionKeyData"]["permissions"] = json!(vec![json!({ "target": NFT }); MAX_PERMISSIONS]);
    assert_eq!(read(&json.to_string()).ok().unwrap().scope.permissions.len(), MAX_PERMISSIONS);
    json["sessionKeyData"]["permissions"].as_array_mut().unwrap().push(json!({ "target": NFT }));
    let complaint = error_of(&json).to_string();
    assert!(complaint.starts_with(
        "sessionKeyData.permissions: expected a list of at most 10000 permissions, found a list of 10001"
    ));
    let rule = json!({"offset": 0, "condition": 0, "param": B256::ZERO});
    json["sessionKeyData"]["permissions"] = json!([{ "target": NFT, "rules": vec![rule.clone(); MAX_RULES] }]);
    assert_eq!(read(&json.to_string()).ok().unwrap().scope.permissions[0].rules.len(), MAX_RULES);
    json["sessionKeyData"]["permissions"][0]["rules"].as_array_mut().unwrap().push(rule);
    assert!(
        error_of(&json)
            .to_string()
            .starts_with("sessionKeyData.permissions[0].rules: expected a list of at most 256 rules")
    );
}

#[test]
fn two_permissions_with_one_index_are_refused() {
    let mut json = v4_json();
    let mut second = json["sessionKeyData"]["permissions"][0].clone();
    json["sessionKeyData"]["permissions"].as_array_mut().unwrap().push(second.take());
    assert_eq!(
        error_of(&json),
        BlobError::DuplicateIndex {
            path: "sessionKeyData.permissions[1]".into(),
            index: 0,
            first: "sessionKeyData.permissions[0]".into()
        }
    );
}

#[test]
fn an_index_that_is_not_the_position_is_kept_with_a_warning() {
    let mut json = v4_json();
    json["sessionKeyData"]["permissions"][0]["index"] = json!(5);
    let blob = read(&json.to_string()).ok().unwrap();
    assert_eq!(blob.scope.permissions[0].index, 5);
    assert!(
        blob.warnings.contains(&Warning::IndexNotPosition { path: "sessionKeyData.permissions[0]".into(), index: 5 })
    );
}

#[test]
fn a_time_in_milliseconds_is_kept_as_signed_with_a_warning() {
    let mut json = v4_json();
    json["sessionKeyData"]["validUntil"] = json!(1_900_000_000_000u64);
    let blob = read(&json.to_string()).ok().unwrap();
    assert_eq!(blob.scope.valid_until, 1_900_000_000_000);
    let expected = Warning::Milliseconds { path: "sessionKeyData.validUntil".into(), value: 1_900_000_000_000 };
    assert!(blob.warnings.contains(&expected));
}

#[test]
fn an_approval_without_permissions_warns_that_everything_is_allowed() {
    for permissions in [json!([]), Value::Null] {
        let mut json = v4_json();
        json["sessionKeyData"]["permissions"] = permissions;
        assert_eq!(read(&json.to_string()).ok().unwrap().warnings, [Warning::EverythingAllowed]);
    }
}

#[test]
fn a_plugin_window_keeps_the_order_of_the_sdk_in_both_forms() {
    let window = fixed_bytes!("000070000000000000000001");
    for format in [Format::V4, Format::V5] {
        let approval = approve(&scope(), |request| request.plugin_window = window);
        let text = write(&approval, &scope(), None, format, None).unwrap();
        let json = json_of(&text);
        let times = if format == Format::V4 { &json } else { &json["validityData"] };
        assert_eq!((&times["validUntil"], &times["validAfter"]), (&json!(0x7000_0000u64), &json!(1)));
        let blob = read(&text).ok().unwrap();
        assert_eq!(blob.plugin_window, window);
        assert!(blob.warnings.contains(&Warning::PluginWindow { window }));
    }
}

#[test]
fn a_missing_account_address_follows_from_the_init_code() {
    let mut json = v4_json();
    json.as_object_mut().unwrap().remove("accountAddress");
    let blob = read(&json.to_string()).ok().unwrap();
    assert_eq!(blob.account, seed().address());
    assert!(blob.warnings.contains(&Warning::AccountFromInitCode { account: seed().address() }));
    json["initCode"] = json!("0x");
    assert!(error_of(&json).to_string().starts_with("accountAddress: expected the account's address"));
}

#[test]
fn only_what_was_signed_is_written() {
    let approval = approve(&scope(), |_| {});
    let wider = Scope { permissions: vec![], ..scope() };
    let session_key = session().address();
    assert_eq!(write(&approval, &wider, None, Format::V4, None).err(), Some(WriteError::OtherScope { session_key }));
    assert_eq!(
        write(&approval, &scope(), None, Format::V4, Some(&owner())).err(),
        Some(WriteError::OtherKey { expected: session_key, found: owner().address() })
    );
    let mut renumbered = scope();
    renumbered.permissions[0].index = 1;
    let approval = approve(&renumbered, |_| {});
    assert_eq!(
        write(&approval, &renumbered, None, Format::V4, None).err(),
        Some(WriteError::IndexNotPosition { position: 0, index: 1 })
    );
    let approval = approve(&scope(), |_| {});
    assert_eq!(
        write(&approval, &scope(), Some(&Bytes::from(vec![1; 30])), Format::V5, None).err(),
        Some(WriteError::ForeignFactory)
    );
}

#[test]
fn a_deployed_account_is_written_without_init_code() {
    let approval = approve(&scope(), |_| {});
    let v4 = json_of(&write(&approval, &scope(), None, Format::V4, None).unwrap());
    let v5 = json_of(&write(&approval, &scope(), None, Format::V5, None).unwrap());
    assert_eq!((&v4["initCode"], &v5["accountParams"]["initCode"]), (&json!("0x"), &json!("0x")));
    assert_eq!((v4.get("sessionPrivateKey"), v5.get("privateKey")), (None, None));
}

#[test]
fn recovery_finds_nonce_chain_validator_and_kernel() {
    for (kernel, validator, nonce, chain_id, format) in [
        (KernelVersion::V0_2_4, Generation::G2, 1, 11_155_111, Format::V4),
        (KernelVersion::V0_2_3, Generation::G3, 64, 137, Format::V5),
        (KernelVersion::V0_2_2, Generation::G1, 9, 137, Format::V4),
    ] {
        let approval = approve(&scope(), |request| {
            (request.kernel, request.validator) = (kernel, validator);
            (request.enable.nonce, request.chain_id) = (nonce, chain_id);
        });
        let text = write(&approval, &scope(), Some(&init_code()), format, Some(&session())).unwrap();
        let recovered = read(&text).ok().unwrap().recover(&Search::on_chains(vec![11_155_111, 137])).unwrap();
        assert_eq!(recovered.approval, approval);
        assert_eq!(recovered.owner, owner().address());
        assert!(recovered.approval.request.is_signed_by(recovered.owner, &recovered.approval.signature));
        assert!(recovered.assumptions[0].contains(&format!(
            "chain ({chain_id}), validator ({validator}), kernel version ({kernel}) and nonce ({nonce})"
        )));
    }
}

#[test]
fn an_approval_signed_as_a_personal_message_is_recovered_too() {
    let mut approval = approve(&scope(), |_| {});
    approval.signature = Bytes::copy_from_slice(&owner().sign_message_hash(approval.request.digest()).unwrap());
    let text = write(&approval, &scope(), Some(&init_code()), Format::V4, Some(&session())).unwrap();
    assert_eq!(read(&text).ok().unwrap().recover(&Search::on_chains(vec![11_155_111])).unwrap().approval, approval);
}

#[test]
fn recovery_needs_an_owner_and_a_session_key() {
    let approval = approve(&scope(), |_| {});
    let blob = read(&write(&approval, &scope(), None, Format::V4, None).unwrap()).ok().unwrap();
    let mut search = Search::on_chains(vec![11_155_111]);
    assert_eq!(blob.recover(&search), Err(RecoverError::SessionKeyUnknown));
    search.session_key = Some(session().address());
    assert_eq!(blob.recover(&search), Err(RecoverError::OwnerUnknown { account: seed().address() }));
    search.owner = Some(owner().address());
    let recovered = blob.recover(&search).unwrap();
    assert_eq!(recovered.approval, approval);
    assert!(recovered.assumptions[2].contains("carries no private key"));
}

#[test]
fn an_owner_is_not_taken_from_an_init_code_that_leads_to_another_account() {
    let approval = approve(&scope(), |request| request.account = NFT);
    let text = write(&approval, &scope(), Some(&init_code()), Format::V4, Some(&session())).unwrap();
    let found = read(&text).ok().unwrap().recover(&Search::on_chains(vec![11_155_111]));
    assert_eq!(found, Err(RecoverError::OwnerUnknown { account: NFT }));
}

#[test]
fn a_signature_of_the_owner_at_creation_is_told_from_that_of_the_owner_now() {
    let approval = approve(&scope(), |_| {});
    let text = write(&approval, &scope(), Some(&init_code()), Format::V4, Some(&session())).unwrap();
    let search = Search { owner: Some(NFT), ..Search::on_chains(vec![11_155_111]) };
    let recovered = read(&text).ok().unwrap().recover(&search).unwrap();
    assert_eq!(recovered.owner, owner().address());
    assert!(recovered.assumptions[1].contains("if the owner was changed"));
}

#[test]
fn a_changed_scope_or_another_key_recovers_nothing() {
    let search = Search { nonces: 1..=4, ..Search::on_chains(vec![11_155_111]) };
    let mut json = v4_json();
    json["sessionKeyData"]["permissions"][0]["valueLimit"] = json!("6");
    let found = read(&json.to_string()).ok().unwrap().recover(&search);
    assert!(matches!(found, Err(RecoverError::NotSigned { tries: 48, first_nonce: 1, last_nonce: 4, .. })));
    let other = Search { session_key: Some(NFT), ..search };
    assert!(matches!(
        read(&v4_json().to_string()).ok().unwrap().recover(&other),
        Err(RecoverError::OtherSessionKey { .. })
    ));
}

#[test]
fn a_search_without_end_is_refused_before_it_starts() {
    let blob = read(&v4_json().to_string()).ok().unwrap();
    let search = Search { nonces: 0..=u128::MAX, ..Search::on_chains(vec![1; 1000]) };
    assert!(matches!(blob.recover(&search), Err(RecoverError::TooMany { .. })));
    #[allow(clippy::reversed_empty_ranges)]
    let search = Search { nonces: 5..=1, ..Search::on_chains(vec![1]) };
    assert!(matches!(blob.recover(&search), Err(RecoverError::NotSigned { .. })));
}

fn any_uint48() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(MAX_UINT48), 0..=MAX_UINT48]
}

fn any_address() -> impl Strategy<Value = Address> {
    prop_oneof![Just(Address::ZERO), any::<[u8; 20]>().prop_map(Address::new)]
}

fn any_u256() -> impl Strategy<Value = U256> {
    prop_oneof![any::<u64>().prop_map(U256::from), any::<[u8; 32]>().prop_map(U256::from_be_bytes)]
}

fn any_rule() -> impl Strategy<Value = Rule> {
    (any_u256(), 0..6u64, any::<[u8; 32]>()).prop_map(|(offset, condition, param)| Rule {
        offset,
        condition: Condition::from_code(condition).unwrap(),
        param: B256::new(param),
    })
}

fn any_permission() -> impl Strategy<Value = Permission> {
    let times = (any_uint48(), any_uint48(), any_uint48());
    let rules = proptest::collection::vec(any_rule(), 0..4);
    (any_address(), any::<[u8; 4]>(), any_u256(), rules, times, any::<bool>()).prop_map(
        |(target, sig, value_limit, rules, (valid_after, interval, runs), delegate)| Permission {
            index: 0,
            target,
            sig: Selector::new(sig),
            value_limit,
            rules,
            execution_rule: ExecutionRule { valid_after, interval, runs },
            operation: if delegate { Operation::DelegateCall } else { Operation::Call },
        },
    )
}

fn any_scope() -> impl Strategy<Value = Scope> {
    let permissions = proptest::collection::vec(any_permission(), 0..5);
    (any_uint48(), any_uint48(), any_address(), permissions).prop_map(
        |(valid_after, valid_until, paymaster, mut permissions)| {
            for (i, permission) in permissions.iter_mut().enumerate() {
                permission.index = i as u32;
            }
            Scope { valid_after, valid_until, paymaster, permissions }
        },
    )
}

proptest! {
    #[test]
    fn any_scope_survives_both_forms(scope in any_scope(), v5: bool, window: [u8; 12], deployed: bool) {
        let format = if v5 { Format::V5 } else { Format::V4 };
        let approval = approve(&scope, |request| request.plugin_window = FixedBytes::new(window));
        let code = (!deployed).then(init_code);
        let text = write(&approval, &scope, code.as_ref(), format, Some(&session())).unwrap();
        let blob = read(&text).ok().unwrap();
        prop_assert_eq!(&blob.scope, &scope);
        prop_assert_eq!(&blob.init_code, &code);
        prop_assert_eq!(blob.plugin_window, approval.request.plugin_window);
        prop_assert_eq!(&blob.signature, &approval.signature);
    }

    #[test]
    fn reading_never_panics_on_any_text(text in "\\PC{0,200}", bytes: Vec<u8>) {
        let _ = read(&text);
        let _ = read(&format!("{{{text}}}"));
        let _ = read(&STANDARD.encode(&bytes));
    }

    #[test]
    fn reading_never_panics_on_a_spoilt_approval(
        v5: bool, at: prop::sample::Index, cut: prop::sample::Index, with in "[\\x00-\\x7f]{0,6}",
    ) {
        let json = if v5 { v5_json() } else { v4_json() }.to_string();
        let (at, cut) = (at.index(json.len()), cut.index(8));
        let spoilt = format!("{}{with}{}", &json[..at], json.get(at + cut..).unwrap_or_default());
        let _ = read(&spoilt);
        let _ = read(&STANDARD.encode(&spoilt));
    }

    #[test]
    fn no_complaint_repeats_the_key(at: prop::sample::Index, with in "[\"{}\\[\\],:0-9a-z]{0,3}") {
        let json = v4_json().to_string();
        let at = at.index(json.len());
        let spoilt = format!("{}{with}{}", &json[..at], &json[at..]);
        if let Err(error) = read(&spoilt) {
            prop_assert!(!error.to_string().contains(&SESSION[10..20]));
        }
    }
}

// --- other shapes, other families -------------------------------------------------------------------------------------------

/// Forms that older versions of SDK 5 wrote for the same contracts.
fn older_shapes() -> [(&'static str, Value); 3] {
    let v5 = v5_json();
    let with_factory = json!({
        "accountAddress": v5["accountParams"]["accountAddress"],
        "initCode": init_code(),
    });
    let executor = json!({ "executor": v5["action"]["address"], "selector": v5["action"]["selector"] });
    let mut left_in = v5.clone();
    left_in["accountParams"] = with_factory.clone();
    let early = json!({
        "sessionKeyParams": v5["sessionKeyParams"], "executorData": executor, "validityData": v5["validityData"],
        "accountParams": with_factory, "enableSignature": v5["enableSignature"], "privateKey": v5["privateKey"],
    });
    let mut deeper = executor;
    deeper["validAfter"] = json!(0);
    deeper["validUntil"] = json!(0);
    let alpha = json!({
        "sessionKeyParams": { "sessionKeyData": v5["sessionKeyParams"], "executorData": deeper },
        "initCode": init_code(), "enableSignature": v5["enableSignature"], "privateKey": v5["privateKey"],
    });
    [("the factory left in", left_in), ("early 5.x", early), ("alpha", alpha)]
}

#[test]
fn case06_older_shapes_are_read_and_lead_to_the_same_account_and_owner() {
    let today = read(&v5_json().to_string()).ok().unwrap();
    for (what, json) in older_shapes() {
        let blob = read(&json.to_string()).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!((blob.account, &blob.scope), (today.account, &today.scope), "{what}");
        assert_eq!((&blob.init_code, blob.selector), (&today.init_code, today.selector), "{what}");
        let found = blob.recover(&Search::on_chains(vec![11_155_111])).unwrap();
        assert_eq!(found.owner, owner().address(), "{what}");
    }
}

#[test]
fn case08_the_signature_of_another_validator_is_named_and_neither_cut_off_nor_verified() {
    let mut json = v5_json();
    json["enableSignature"] = json!(format!("0x{}", "ab".repeat(480)));
    let blob = read(&json.to_string()).ok().unwrap();
    assert_eq!(blob.scope, scope(), "what it allows is shown");
    let said: String = blob.warnings.iter().map(ToString::to_string).collect();
    assert!(said.contains("480 bytes") && said.contains("passkey") && !said.contains("cut off"), "{said}");
    let refused = blob.recover(&Search::on_chains(vec![11_155_111])).unwrap_err();
    assert!(matches!(refused, RecoverError::OtherValidator { length: 480, .. }), "{refused}");
}

#[test]
fn case26_a_signature_in_a_form_that_the_account_refuses_is_kept_in_the_one_it_takes() {
    let mut json = v5_json();
    let usual = read(&json.to_string()).ok().unwrap().signature;
    let ledger = [&usual[..64], &[usual[64] - 27]].concat();
    json["enableSignature"] = json!(Bytes::from(ledger));
    let blob = read(&json.to_string()).ok().unwrap();
    assert_eq!(blob.signature, usual);
    assert!(blob.warnings.contains(&Warning::SignatureForm));
}

#[test]
fn a11_other_documents_are_named_for_what_they_are() {
    for (json, named) in [
        (json!({ "crypto": {}, "version": 3 }), "keystore"),
        (json!({ "keyleash_operation": 1 }), "keyleash complete"),
        (json!({ "primaryType": "X", "domain": {} }), "EIP-712"),
        (json!({ "sender": "0x", "callData": "0x" }), "UserOperation"),
        (json!([{ "type": "function" }]), "ABI"),
    ] {
        let said = error_of(&json).to_string();
        assert!(said.contains(named) && !said.contains("ask its owner"), "{said}");
    }
}

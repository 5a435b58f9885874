use alloy::primitives::b256;
use serde_json::{Value, json};

use super::*;
use crate::protocol::kernel_v3::{
    approval::{Approval, ApprovalRequest, SelectorData},
    contracts::ECDSA_SIGNER,
    permission_config::EnableDataError,
};

// anvil's well-known accounts 0 (owner) and 1 (session key).
const OWNER: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const SESSION: &str = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";

fn owner() -> Secret {
    Secret::from_hex(OWNER).unwrap()
}

fn json() -> Value {
    json!({
        "permissionParams": { "policies": [{ "policyParams": { "type": "sudo" } }] },
        "action": { "selector": "0xe9ae5c53", "address": Address::ZERO },
        "validityData": { "validAfter": 0, "validUntil": 0 },
        "accountParams": { "initCode": "0x", "accountAddress": owner().address() },
        "enableSignature": Bytes::from_static(&[1; 65]),
        "privateKey": SESSION,
    })
}

/// What the SDK would have had signed for a blob.
fn request(blob: &Blob) -> ApprovalRequest {
    let config = blob.config(blob.session_key(None).unwrap());
    ApprovalRequest {
        chain_id: Some(1),
        account: blob.account,
        kernel: KernelVersion::V3_3,
        validation_id: config.validation_id(),
        nonce: 1,
        hook: Address::ZERO,
        enable_data: config.enable_data(),
        hook_data: Bytes::new(),
        selector_data: SelectorData::plain(),
    }
}

/// The one error of a text with this change.
fn error(change: impl FnOnce(&mut Value)) -> String {
    let mut json = json();
    change(&mut json);
    read(&json.to_string()).err().expect("refused").to_string()
}

#[test]
fn a_complaint_names_its_field_and_no_secret() {
    for (change, named) in [
        (
            (|json| json["accountParams"]["accountAddress"] = json!(SESSION)) as fn(&mut Value),
            "accountParams.accountAddress",
        ),
        (
            |json| json["permissionParams"]["policies"][0]["policyParams"]["type"] = json!("moon"),
            "permissionParams.policies[0].policyParams.type",
        ),
        (
            |json| {
                json["permissionParams"]["policies"] = json!(vec![json!({ "policyParams": { "type": "sudo" } }); 254])
            },
            "permissionParams.policies",
        ),
        (|json| json["permissionParams"]["permissionId"] = json!("0x01"), "permissionParams.permissionId"),
        (|json| json["action"]["selector"] = json!(SESSION), "action.selector"),
        (|json| json["enableSignature"] = json!("0x00"), "enableSignature"),
        (|json| json["enableSignature"] = Value::Null, "enableSignature"),
        (|json| json["privateKey"] = json!(format!("{SESSION}00")), "privateKey"),
        (
            |json| json["eip7702Auth"] = json!({ "nonce": 1, "address": Address::ZERO, "chainId": 1, "yParity": 2 }),
            "eip7702Auth.yParity",
        ),
        (
            |json| json["accountParams"]["initCode"] = json!(format!("0x{}", "00".repeat(MAX_INIT_CODE + 1))),
            "accountParams.initCode",
        ),
    ] {
        let said = error(change);
        assert!(said.starts_with(named), "{named}: {said}");
        assert!(!said.contains(&SESSION[2..]), "{said}");
    }
}

#[test]
fn an_authorization_is_checked_against_the_account() {
    let authorization =
        Authorization { chain_id: alloy::primitives::U256::ZERO, address: Address::repeat_byte(7), nonce: 3 };
    let signature = owner().sign_hash(authorization.signature_hash()).unwrap();
    let with = |account: Address| {
        let mut json = json();
        json["accountParams"]["accountAddress"] = json!(account);
        json["eip7702Auth"] = json!({
            "address": authorization.address, "chainId": 0, "nonce": 3, "v": "27", "yParity": signature[64] - 27,
            "r": Bytes::copy_from_slice(&signature[..32]), "s": Bytes::copy_from_slice(&signature[32..64]),
        });
        read(&json.to_string()).unwrap()
    };
    let own = with(owner().address());
    assert!(
        matches!(own.warnings.as_slice(), [Warning::Authorization { chain, nonce: 3, .. }] if chain == "every chain")
    );
    assert_eq!(own.eip7702_auth.map(|auth| auth.nonce), Some(3));
    let account = Address::repeat_byte(9);
    assert_eq!(with(account).warnings, [Warning::ForeignAuthorization { account }]);
}

#[test]
fn what_is_not_signed_is_said() {
    let mut json = json();
    json["validityData"]["validUntil"] = json!(1_900_000_000);
    json["accountParams"]["initCode"] = json!("0x12345678");
    json["permissionParams"]["policies"][0]["policyParams"] =
        json!({ "type": "timestamp", "validUntil": 1_900_000_000_000_u64 });
    let path = "permissionParams.policies[0].policyParams.validUntil".to_owned();
    let warnings = read(&json.to_string()).unwrap().warnings;
    assert_eq!(
        warnings,
        [
            Warning::ForeignInitCode,
            Warning::ValidityNotSigned,
            Warning::Milliseconds { path, value: 1_900_000_000_000 },
        ]
    );
}

#[test]
fn an_id_that_the_owner_chose_is_found_in_the_text() {
    let mut blob = read(&json().to_string()).unwrap();
    let key = blob.session_key(None).unwrap();
    let chosen = PermissionId([1, 2, 3, 4].into());
    let request = ApprovalRequest { validation_id: chosen.validation_id(), ..request(&blob) };
    blob.signature = Some(Bytes::copy_from_slice(&owner().sign_hash(request.digest()).unwrap()));
    let search = Search { nonces: 1..=2, ..Search::on_chains(vec![1]) };
    assert!(matches!(blob.recover(&search), Err(RecoverError::NotSigned { .. })));
    blob.written_id = Some(chosen);
    let found = blob.recover(&search).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((&found[0].approval.request, found[0].chosen_id, found[0].other_id), (&request, true, None));
    let other = Address::repeat_byte(3);
    let error = blob.recover(&Search { session_key: Some(other), ..search }).unwrap_err();
    assert_eq!(error, RecoverError::OtherSessionKey { expected: other, found: key });
    assert_eq!(chosen.word(), b256!("0102030400000000000000000000000000000000000000000000000000000000"));
}

#[test]
fn what_the_text_cannot_hold_is_not_written() {
    let blob = read(&json().to_string()).unwrap();
    let key = blob.session_key(None).unwrap();
    let own = request(&blob);
    let written = |request: ApprovalRequest, secret: Option<&Secret>| {
        let approval = Approval { request, signature: blob.signature.clone().unwrap() };
        write(&approval, &[], secret, None).map(|text| read(&text).unwrap())
    };
    let again = written(own.clone(), blob.secret.as_ref()).unwrap();
    assert_eq!((again.config(key), again.session_key(None)), (blob.config(key), Ok(key)));
    assert!(written(own.clone(), None).unwrap().secret.is_none());
    let with = |change: fn(&mut ApprovalRequest)| {
        let mut other = own.clone();
        change(&mut other);
        written(other, None).err()
    };
    let config = blob.config(key);
    let signed_by = |signer| PermissionConfig { signer, ..config.clone() }.enable_data();
    let passkey = Signer::new(ECDSA_SIGNER, &[1; 19]);
    let foreign = ApprovalRequest { enable_data: signed_by(passkey), ..own.clone() };
    assert_eq!(written(foreign, None).err(), Some(WriteError::Signer(ECDSA_SIGNER)));
    let flagged = PermissionConfig { flag: PermissionFlag([0, 2]), ..config.clone() }.enable_data();
    let flagged = ApprovalRequest { enable_data: flagged, ..own.clone() };
    assert_eq!(written(flagged, None).err(), Some(WriteError::Flag(PermissionFlag([0, 2]))));
    let address = Address::repeat_byte(4);
    let unknown = Policy::Unknown { flag: Default::default(), address, data: Bytes::from_static(&[1]) };
    let unknown = PermissionConfig { policies: vec![unknown], ..config }.enable_data();
    let unknown = ApprovalRequest { enable_data: unknown, ..own.clone() };
    assert_eq!(written(unknown, None).err(), Some(WriteError::Policy(0)));
    assert_eq!(with(|r| r.enable_data = Bytes::new()), Some(WriteError::EnableData(EnableDataError::NotCanonical)));
    assert_eq!(with(|r| r.hook = Address::repeat_byte(1)), Some(WriteError::Hook(Address::repeat_byte(1))));
    assert_eq!(with(|r| r.chain_id = None), Some(WriteError::EveryChain));
    assert_eq!(with(|r| r.validation_id.0.0[20] = 1), Some(WriteError::NoPermission));
    let short = |r: &mut ApprovalRequest| r.selector_data = Bytes::copy_from_slice(selector::EXECUTE.as_slice());
    assert_eq!(with(short), Some(WriteError::SelectorData));
    let wrong = WriteError::OtherKey { expected: key, found: owner().address() };
    assert_eq!(written(own.clone(), Some(&owner())).err(), Some(wrong));
    let seed = AccountSeed::of_owner(KernelVersion::V3_1, owner().address(), alloy::primitives::U256::ZERO);
    let approval = Approval { request: own, signature: Bytes::new() };
    let whole = seed.deployment(super::super::account::FactoryRoute::Meta).init_code();
    assert_eq!(write(&approval, &whole, None, None).err(), Some(WriteError::Factory));
}

//! Results as JSON for scripts (recorded by tests/json_contract): addresses EIP-55, wei and 256-bit numbers as decimal strings, bytes as hex.

use serde_json::{Value, json};

use crate::{
    policy::{
        risk::{Effect, Finding},
        scope::Permission,
    },
    protocol::family::blob::PermissionEntry,
    wallet::{
        submit::operation::OperationOutcome,
        usecase::{grant::Granted, inspect::Inspection, key::KeyView},
    },
};

pub fn findings(findings: &[Finding]) -> Value {
    findings
        .iter()
        .map(|f| {
            let (effect, phrase) = match f.effect {
                Effect::Warn => ("warn", None),
                Effect::Block(phrase) => ("block", Some(phrase)),
                Effect::Refuse => ("refuse", None),
            };
            json!({
                "id": f.id, "severity": f.severity, "permission": f.permission, "message": f.message,
                "advice": f.advice, "effect": effect, "phrase": phrase,
            })
        })
        .collect()
}

fn permissions(permissions: &[Permission]) -> Value {
    permissions
        .iter()
        .map(|p| {
            json!({
                "index": p.index,
                "target": p.target.to_string(),
                "sig": p.sig,
                "valueLimit": p.value_limit.to_string(),
                "rules": p.rules.iter().map(|r| json!({
                    "offset": r.offset.to_string(), "condition": r.condition.name(), "param": r.param,
                })).collect::<Vec<_>>(),
                "executionRule": p.execution_rule,
                "operation": p.operation.code(),
            })
        })
        .collect()
}

pub fn key(key: &KeyView) -> Value {
    json!({
        "key_id": key.key_id, "label": key.label, "session_key": key.session_key.to_string(),
        "account": key.account.to_string(), "network": key.network, "state": key.state, "state_reason": key.state_reason,
        "nonce": key.nonce, "valid_after": key.valid_after, "valid_until": key.valid_until,
        "paymaster": key.paymaster.to_string(), "validator": key.validator.address().to_string(),
        "generation": key.validator, "has_secret": key.has_secret, "imported": key.imported,
        "discovered": key.discovered, "scope_known": key.partial_root.is_none(),
        "permissions": permissions(&key.permissions), "sentences": key.sentences, "approvals": key.approvals,
        "alarms": key.alarms, "as_of": key.as_of, "risks": findings(&key.risks),
        "unknown_because": key.unread.as_ref().map(|e| &e.message),
    })
}

pub fn granted(granted: &Granted) -> Value {
    let mut data = key(&granted.key);
    let first = granted.approvals.first();
    data["state"] = json!(first.map(|a| a.state));
    data["state_reason"] = json!(first.map(|a| a.state_reason.clone()));
    data["nonce"] = json!(first.map(|a| a.nonce.clone()));
    data["merkle_root"] = json!(granted.merkle_root);
    data["enable_data"] = json!(first.map(|a| a.enable_data.clone()));
    data["enable_signature"] = json!(first.and_then(|a| a.enable_signature.clone()));
    data["digest"] = json!(first.map(|a| a.digest));
    data["validator"] = json!(granted.validator.to_string());
    data["approvals"] = json!(granted.approvals);
    data["risks"] = findings(&granted.findings);
    data["checks"] = json!(granted.checked.checks);
    data
}

pub fn inspection(found: &Inspection) -> Value {
    let mut data = json!({
        "format": found.format,
        "family": found.family,
        "verified": found.verified,
        "account": found.account.to_string(),
        "session_key": found.session_key.map(|a| a.to_string()),
        "has_secret": found.has_secret,
        "owner": found.owner.map(|a| a.to_string()),
        "chain_id": found.chain_id,
        "kernel_version": found.kernel_version,
        "validator": found.validator.map(|g| g.address().to_string()),
        "generation": found.validator,
        "nonce": found.nonce,
        "selector": found.selector,
        "valid_after": found.valid_after,
        "valid_until": found.valid_until,
        "paymaster": found.paymaster.to_string(),
        "merkle_root": found.merkle_root,
        "digest": found.digest,
        "state": found.state,
        "state_reason": found.state_reason,
        "permissions": permissions(&found.permissions),
        "sentences": found.sentences,
        "assumptions": found.assumptions,
        "risks": findings(&found.risks),
        "checks": found.checked.checks,
        "permission_id": null,
        "policies": null,
    });
    if let Some(v3) = &found.kernel_v3 {
        data["kernel_version"] = json!(v3.version);
        data["permission_id"] = json!(v3.permission_id);
        data["policies"] = json!(v3.policies);
        data["permissions"] = v3.permissions.iter().map(entry_of_kernel_v3).collect();
        data["pre_installed"] = json!(v3.pre_installed);
        data["paymaster"] = Value::Null;
    }
    data
}

fn entry_of_kernel_v3(entry: &PermissionEntry) -> Value {
    json!({
        "target": entry.target.to_string(), "sig": entry.selector, "valueLimit": entry.value_limit.to_string(),
        "callType": if entry.delegatecall { "delegatecall" } else { "call" }, "rules": entry.rules,
    })
}

pub fn operation(outcome: &OperationOutcome) -> Value {
    serde_json::to_value(outcome).unwrap_or_default()
}

//! What a key may do.

use serde_json::{Value, json};

use crate::policy::scope::Permission;

pub fn json(permissions: &[Permission]) -> Value {
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

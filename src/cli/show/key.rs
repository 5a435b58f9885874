//! A session key on record.

use serde_json::{Value, json};

use super::{finding, scope};
use crate::{cli::output::table, policy::sentence, wallet::usecase::key::KeyView};

pub fn text(key: &KeyView) -> String {
    let mut lines = vec![
        format!("{} ({}) – {}", key.label, key.key_id, key.state),
        format!("  {}", key.state_reason),
        format!(
            "  session key {}{}",
            key.session_key,
            if key.has_secret { " (private key in your vault)" } else { "" }
        ),
        format!("  account     {} on {}", key.account, key.network),
        format!("  validator   {} {}, nonce {}", key.validator, key.validator.address(), key.nonce),
    ];
    lines.extend(key.alarms.iter().map(|alarm| format!("  ! {}", alarm.message)));
    lines.extend(key.sentences.iter().map(|s| format!("  · {s}")));
    lines.extend(finding::lines(&key.risks));
    for approval in &key.approvals {
        lines.push(format!(
            "  approval for {} (nonce {}): {}, {}",
            approval.selector, approval.nonce, approval.state, approval.state_reason
        ));
    }
    match key.as_of {
        Some(time) => lines.push(format!("  as of {}", sentence::time(time))),
        None => lines.push("  the chain could not be read".into()),
    }
    lines.join("\n")
}

pub fn list(keys: &[KeyView]) -> String {
    if keys.is_empty() {
        return "No session key on record. Grant one: keyleash grant ACCOUNT --policy FILE --new-key".into();
    }
    let rows: Vec<Vec<String>> = keys
        .iter()
        .map(|k| {
            let until = if k.valid_until == 0 { "never ends".to_owned() } else { sentence::time(k.valid_until) };
            vec![
                k.key_id.clone(),
                k.label.clone(),
                k.state.to_string(),
                until,
                finding::ids(&k.risks),
                k.session_key.to_string(),
                k.state_reason.clone(),
            ]
        })
        .collect();
    table(&["id", "label", "state", "until", "risks", "session key", "why"], &rows)
}

pub fn json(key: &KeyView) -> Value {
    json!({
        "key_id": key.key_id, "label": key.label, "session_key": key.session_key.to_string(),
        "account": key.account.to_string(), "network": key.network, "state": key.state, "state_reason": key.state_reason,
        "nonce": key.nonce, "valid_after": key.valid_after, "valid_until": key.valid_until,
        "paymaster": key.paymaster.to_string(), "validator": key.validator.address().to_string(),
        "generation": key.validator, "has_secret": key.has_secret, "imported": key.imported,
        "discovered": key.discovered, "scope_known": key.partial_root.is_none(),
        "permissions": scope::json(&key.permissions), "sentences": key.sentences, "approvals": key.approvals,
        "alarms": key.alarms, "as_of": key.as_of, "risks": finding::json(&key.risks),
        "unknown_because": key.unread.as_ref().map(|e| &e.message),
    })
}

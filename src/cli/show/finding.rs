//! Risk findings of a scope, and the checks behind them.

use serde_json::{Value, json};

use crate::policy::risk::{Checked, Effect, Finding, Severity};

pub fn lines(findings: &[Finding]) -> Vec<String> {
    findings
        .iter()
        .map(|f| {
            let mark = match f.effect {
                Effect::Warn => "!",
                Effect::Block(_) | Effect::Refuse => "!!",
            };
            let at = f.permission.map_or(String::new(), |p| format!("permission {}: ", p + 1));
            format!("  {mark} {} {at}{}\n      → {}", f.id, f.message, f.advice)
        })
        .collect()
}

/// One line for each outcome.
pub fn checks(checked: &Checked) -> Vec<String> {
    let line = |outcome: Option<bool>, words: &str| {
        let which: Vec<&str> = checked.checks.iter().filter(|c| c.holds == outcome).map(|c| c.words.as_str()).collect();
        (!which.is_empty()).then(|| format!("  {words}: {}", which.join("; ")))
    };
    let lines = [line(Some(true), "checked"), line(Some(false), "checked, does not hold"), line(None, "not checked")];
    lines.into_iter().flatten().collect()
}

/// `!! R05 R13`: how severe the worst is, and the ids of all that are high or critical.
pub fn ids(findings: &[Finding]) -> String {
    let mut ids: Vec<&str> = Vec::new();
    for finding in findings.iter().filter(|f| f.severity >= Severity::High) {
        if !ids.contains(&finding.id) {
            ids.push(finding.id);
        }
    }
    match findings.iter().map(|f| f.severity).max() {
        Some(Severity::Critical) => format!("!! {}", ids.join(" ")),
        Some(Severity::High) => format!("! {}", ids.join(" ")),
        _ => "-".to_owned(),
    }
}

pub fn json(findings: &[Finding]) -> Value {
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

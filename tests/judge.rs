//! The judge against the chain: the recorded corpus of what the deployed contracts answered.
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

use std::{collections::BTreeMap, path::PathBuf};

use alloy::primitives::{Address, Bytes, Selector, U256};
use keyleash::{
    policy::scope::{Condition, ExecutionRule, Operation, Permission, Rule, Scope},
    protocol::{
        AccountCall, Call,
        kernel_v2::{
            account::selector,
            generation::Generation,
            judge::{self, ExecutionStatus, Facts, Key, Path, Routing, Window},
        },
    },
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Corpus {
    cases: Vec<Case>,
}

/// One case of `judge.json`.
#[derive(Deserialize)]
struct Case {
    id: String,
    generation: Generation,
    selector: String,
    mode: u8,
    permissions: Vec<CasePermission>,
    session: CaseSession,
    facts: CaseFacts,
    call: CaseCall,
    chosen: Vec<usize>,
    #[serde(flatten)]
    answer: Answer,
    aa_code: String,
    validation: CaseWindow,
    any_accepts: bool,
    accepting: Vec<Vec<usize>>,
    #[serde(default)]
    accepting_truncated: bool,
    per_permission: Vec<CaseSingle>,
}

#[derive(Deserialize)]
struct Answer {
    outcome: String,
    kind: String,
    revert_text: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CasePermission {
    index: u32,
    target: Address,
    sig: Selector,
    value_limit: U256,
    rules: Vec<CaseRule>,
    execution_rule: ExecutionRule,
    operation: u64,
}

#[derive(Deserialize)]
struct CaseRule {
    offset: U256,
    condition: u64,
    param: alloy::primitives::B256,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CaseSession {
    valid_after: u64,
    valid_until: u64,
    paymaster: Address,
}

#[derive(Deserialize)]
struct CaseFacts {
    block_timestamp: u64,
    #[serde(rename = "paymasterAndData")]
    paymaster_and_data: Bytes,
    #[serde(deserialize_with = "decimal")]
    last_nonce: u128,
    #[serde(deserialize_with = "decimal")]
    invalid_nonce: u128,
    #[serde(deserialize_with = "decimal")]
    approval_nonce: u128,
    enabled: bool,
    routed: bool,
    routed_to: Option<Generation>,
    plugin_window: CasePluginWindow,
    execution_status: Vec<CaseStatus>,
    disabled_mode: alloy::primitives::FixedBytes<4>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CasePluginWindow {
    valid_after: u64,
    valid_until: u64,
}

/// The window in the account's answer, when it gave one.
#[derive(Deserialize)]
struct CaseWindow {
    valid_after: Option<u64>,
    valid_until: Option<u64>,
}

#[derive(Deserialize)]
struct CaseStatus {
    permission_index: u32,
    valid_after: u64,
    runs_used: u64,
}

#[derive(Deserialize)]
struct CaseCall {
    #[serde(default)]
    calls: Vec<CaseInner>,
    raw: Option<Bytes>,
}

#[derive(Deserialize)]
struct CaseInner {
    to: Address,
    value: U256,
    data: Bytes,
}

#[derive(Deserialize)]
struct CaseSingle {
    index: usize,
    call: Option<usize>,
    #[serde(flatten)]
    answer: Answer,
}

fn decimal<'de, D: serde::Deserializer<'de>>(d: D) -> Result<u128, D::Error> {
    String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
}

impl Case {
    fn scope(&self) -> Scope {
        Scope {
            valid_after: self.session.valid_after,
            valid_until: self.session.valid_until,
            paymaster: self.session.paymaster,
            permissions: self.permissions.iter().map(CasePermission::read).collect(),
        }
    }

    fn path(&self) -> Path {
        if self.mode == 1 { Path::Use } else { Path::Enable }
    }

    fn facts(&self) -> Facts {
        let facts = &self.facts;
        let status =
            |s: &CaseStatus| (s.permission_index, ExecutionStatus { valid_after: s.valid_after, runs: s.runs_used });
        Facts {
            timestamp: facts.block_timestamp,
            last_nonce: facts.last_nonce,
            invalid_nonce: facts.invalid_nonce,
            enabled: facts.enabled,
            routing: match (facts.routed, facts.routed_to) {
                (true, _) => Routing::Here,
                (false, None) => Routing::Nowhere,
                (false, Some(_)) => Routing::Elsewhere,
            },
            plugin_window: Window { after: facts.plugin_window.valid_after, until: facts.plugin_window.valid_until },
            execution_status: facts.execution_status.iter().map(status).collect::<BTreeMap<_, _>>(),
            disabled_mode: u32::from_be_bytes(facts.disabled_mode.0),
            paymaster_and_data: facts.paymaster_and_data.clone(),
        }
    }

    fn call(&self) -> AccountCall {
        if let Some(raw) = &self.call.raw {
            return AccountCall::decode(raw);
        }
        self.call_of(self.call.calls.iter().map(CaseInner::read).collect())
    }

    /// The account function of the case with these inner calls.
    fn call_of(&self, mut calls: Vec<Call>) -> AccountCall {
        match self.selector.as_str() {
            "execute" => AccountCall::Execute(calls.remove(0)),
            "executeBatch" => AccountCall::ExecuteBatch(calls),
            "executeDelegateCall" => {
                let Call { to, data, .. } = calls.remove(0);
                AccountCall::ExecuteDelegateCall { to, data }
            }
            other => panic!("{}: selector {other}", self.id),
        }
    }
}

impl CasePermission {
    fn read(&self) -> Permission {
        Permission {
            index: self.index,
            target: self.target,
            sig: self.sig,
            value_limit: self.value_limit,
            rules: self
                .rules
                .iter()
                .map(|r| Rule {
                    offset: r.offset,
                    condition: Condition::from_code(r.condition).unwrap(),
                    param: r.param,
                })
                .collect(),
            execution_rule: self.execution_rule,
            operation: Operation::from_code(self.operation).unwrap(),
        }
    }
}

impl CaseInner {
    fn read(&self) -> Call {
        Call { to: self.to, value: self.value, data: self.data.clone() }
    }
}

/// Verdict and reason in the corpus's words: outcome, kind, revert text.
fn in_words(verdict: &Result<judge::Accepted, judge::Denied>) -> (&'static str, &'static str, Option<String>) {
    match verdict {
        Ok(_) => ("accept", "ok", None),
        Err(denied) => {
            let answer = denied.reason.on_chain();
            let kind = match answer.code {
                "AA22" => "time",
                "AA23" => "revert",
                "AA24" => "sig_failed",
                other => other,
            };
            ("reject", kind, answer.text.map(|t| format!("SessionKeyValidator: {t}")))
        }
    }
}

fn corpus() -> Vec<Case> {
    let folder = std::env::var_os("KEYLEASH_VECTORS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors"), PathBuf::from);
    let path = folder.join("judge.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str::<Corpus>(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display())).cases
}

/// Runs `check` on every case; it answers what is wrong with each.
fn every_case(mut check: impl FnMut(&Case, &Key<'_>, &Facts, &AccountCall) -> Vec<String>) {
    let cases = corpus();
    let mut wrong = Vec::new();
    for case in &cases {
        let (scope, facts, call) = (case.scope(), case.facts(), case.call());
        let key = Key {
            generation: case.generation,
            scope: &scope,
            approval_nonce: case.facts.approval_nonce,
            selector: call.selector().unwrap_or_default(),
        };
        wrong.extend(check(case, &key, &facts, &call).into_iter().map(|w| format!("{}: {w}", case.id)));
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(!cases.is_empty());
}

#[test]
fn every_recorded_operation_is_judged_as_the_chain_answered_it() {
    every_case(|case, key, facts, call| {
        let verdict = judge::judge(key, case.path(), facts, call, &case.chosen);
        let mut wrong = Vec::new();
        let code = verdict.as_ref().map_or_else(|d| d.reason.on_chain().code, |_| "none");
        if code != case.aa_code {
            wrong.push(format!("chain {} {:?}, judge {verdict:?}", case.aa_code, case.answer.revert_text));
        } else if code != "AA93" {
            let expected = (case.answer.outcome.as_str(), case.answer.kind.as_str(), case.answer.revert_text.clone());
            if in_words(&verdict) != expected {
                wrong.push(format!("chain {expected:?}, judge {verdict:?}"));
            }
        }
        if let Ok(accepted) = verdict {
            let window = (Some(accepted.window.after), Some(accepted.window.until));
            if window != (case.validation.valid_after, case.validation.valid_until) {
                wrong.push(format!("chain's window {:?}, judge's {window:?}", case.validation.valid_until));
            }
        }
        wrong
    });
}

#[test]
fn every_permission_by_itself_is_judged_as_the_chain_answered_it() {
    every_case(|case, key, facts, call| {
        if case.aa_code == "AA93" {
            return Vec::new(); // these answers are the account's, which the EntryPoint never asked
        }
        let single = |single: &CaseSingle| {
            let call = match single.call {
                Some(i) => case.call_of(vec![case.call.calls[i].read()]),
                None => call.clone(),
            };
            let verdict = judge::judge(key, case.path(), facts, &call, &[single.index]);
            let expected =
                (single.answer.outcome.as_str(), single.answer.kind.as_str(), single.answer.revert_text.clone());
            (in_words(&verdict) != expected).then(|| {
                format!("permission {} call {:?}: chain {expected:?}, judge {verdict:?}", single.index, single.call)
            })
        };
        case.per_permission.iter().filter_map(single).collect()
    });
}

#[test]
fn the_judge_finds_a_choice_the_chain_accepts_whenever_there_is_one() {
    every_case(|case, key, facts, call| {
        let found = judge::find(key, case.path(), facts, call);
        if found.is_ok() != case.any_accepts {
            return vec![format!("chain accepts some choice: {}, judge {found:?}", case.any_accepts)];
        }
        match found {
            Ok(accepted) if !case.accepting.contains(&accepted.shown) && !case.accepting_truncated => {
                vec![format!("chain accepts {:?}, judge {:?}", case.accepting, accepted.shown)]
            }
            _ => Vec::new(),
        }
    });
}

#[test]
fn a_refusal_of_every_choice_names_the_reason_the_chain_gives_for_that_permission() {
    every_case(|case, key, facts, call| {
        let Err(denied) = judge::find(key, case.path(), facts, call) else { return Vec::new() };
        let Some(permission) = denied.permission else { return Vec::new() };
        let on_batch = call.selector() == Some(selector::EXECUTE_BATCH);
        let answered = case
            .per_permission
            .iter()
            .find(|s| s.index == permission && s.call == denied.call.filter(|_| on_batch))
            .filter(|s| s.answer.outcome == "reject"); // else the calls of a batch used up each other's runs
        let answered =
            answered.map(|s| (s.answer.outcome.as_str(), s.answer.kind.as_str(), s.answer.revert_text.clone()));
        let claimed = in_words(&Err(denied));
        answered
            .filter(|a| *a != claimed)
            .map(|a| vec![format!("permission {permission}: chain {a:?}, judge {claimed:?}")])
            .unwrap_or_default()
    });
}

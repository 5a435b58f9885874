//! Results as plain text for people.

use std::path::Path;

use super::output::table;
use crate::{
    abi::Function,
    policy::{
        risk::{Checked, Effect, Finding, Severity},
        sentence,
    },
    protocol::{Step, family::blob::PermissionApproval},
    wallet::{
        Wallet,
        coin::Coin,
        demo::Scene,
        error::Result,
        state::{DRAFT, State},
        submit::{
            operation::{OperationOutcome, Prepared},
            printed::PrintedCall,
            routes::{Price, Route, SkippedRoute},
        },
        usecase::{
            account::AccountView,
            enable::EnablePlan,
            grant::{GrantPlan, Granted},
            inspect::Inspection,
            inventory::Inventory,
            key::KeyView,
            network::{NetworkView, Probe},
            offline_signing::UnsignedOperation,
            proof::{Paused, Proof},
            revoke::{RevokePlan, Revoked},
            secrets::{BackendView, SecretFinding, SecretView},
            send::SendPlan,
        },
    },
};

pub fn backends(backends: &[BackendView]) -> String {
    let rows: Vec<Vec<String>> = backends
        .iter()
        .map(|b| {
            vec![
                format!("{}{}", b.backend, if b.chosen { " (new secrets go here)" } else { "" }),
                b.state.to_owned(),
                b.secrets.to_string(),
                b.reason.clone().unwrap_or_default(),
            ]
        })
        .collect();
    table(&["backend", "state", "secrets", "why"], &rows)
}

pub fn secrets(secrets: &[SecretView]) -> String {
    if secrets.is_empty() {
        return "The vault is empty.".into();
    }
    let rows: Vec<Vec<String>> = secrets
        .iter()
        .map(|s| {
            let used_by = if s.used_by.is_empty() { "nothing on record".to_owned() } else { s.used_by.join(", ") };
            let unsettled = if s.settled { "" } else { " (cut off: run `keyleash vault check`)" };
            vec![s.id.to_string(), s.label.clone(), s.address.to_string(), format!("{}{unsettled}", s.backend), used_by]
        })
        .collect();
    table(&["id", "label", "address", "kept in", "used by"], &rows)
}

pub fn findings_of_vault(findings: &[SecretFinding]) -> String {
    if findings.is_empty() {
        return "The vault is empty.".into();
    }
    let rows: Vec<Vec<String>> = findings
        .iter()
        .map(|f| vec![if f.problem { "NO" } else { "ok" }.to_owned(), f.id.to_string(), f.message.clone()])
        .collect();
    table(&["", "id", "found"], &rows)
}

pub fn networks(networks: &[NetworkView]) -> String {
    if networks.is_empty() {
        return "No network yet. Add one: keyleash network add NAME --chain-id N --rpc URL --bundler URL".into();
    }
    let dash = || "–".to_owned();
    let rows: Vec<Vec<String>> = networks
        .iter()
        .map(|n| {
            vec![
                n.name.clone(),
                n.chain_id.to_string(),
                match &n.second_rpc {
                    Some(second) => format!("{} + {second}", n.rpc),
                    None => n.rpc.clone(),
                },
                n.bundler.clone().unwrap_or_else(dash),
                n.paymaster.clone().unwrap_or_else(dash),
            ]
        })
        .collect();
    table(&["name", "chain", "node", "bundler", "paymaster"], &rows)
}

pub fn probes(probes: &[Probe]) -> String {
    let rows: Vec<Vec<String>> = probes
        .iter()
        .map(|p| vec![if p.ok { "ok" } else { "NO" }.to_owned(), p.what.clone(), p.detail.clone()])
        .collect();
    table(&["", "what", "answer"], &rows)
}

pub fn account(account: &AccountView) -> String {
    let mut lines = vec![
        format!("{} on {} (chain {})", account.name, account.network, account.chain_id),
        format!("  address    {}", account.address),
        format!(
            "  owner      {}{}",
            account.owner,
            if account.watch_only { " (watch-only: the key is not here)" } else { "" }
        ),
        format!(
            "  kernel     {}{}",
            account.kernel_version.map_or_else(|| "unknown".into(), |k| k.to_string()),
            match account.deployed {
                Some(true) => "",
                Some(false) => " (not deployed yet: its first operation deploys it)",
                None => "",
            }
        ),
    ];
    match &account.unknown_because {
        Some(reason) => lines.push(format!("  the chain could not be asked: {reason}")),
        None => {
            let coin = Coin::of(account.chain_id);
            let wei = |v: Option<alloy::primitives::U256>| coin.amount(v.unwrap_or_default());
            lines.push(format!("  balance    {}, deposit {}", wei(account.balance), wei(account.deposit)));
            lines.push(format!(
                "  nonces     last {}, invalidated through {}",
                account.last_nonce.as_deref().unwrap_or("0"),
                account.invalid_nonce.as_deref().unwrap_or("0")
            ));
            if account.paused == Some(true) {
                lines.push("  PAUSED     session keys are switched off".into());
            }
        }
    }
    lines.join("\n")
}

/// The account, what needs a look, and its keys.
pub fn inventory(inventory: &Inventory) -> String {
    let mut lines = vec![account(&inventory.account)];
    lines.extend(inventory.findings.iter().map(|f| format!("  ! {}", f.message)));
    if let Some(power) = &inventory.power {
        lines.push(match (power.not_read(), power.history.through_block) {
            (None, Some(through)) => {
                format!("  history    read from deployment to block {through}, state of block {}", power.block)
            }
            (not_read, _) => format!("  history    {}", not_read.unwrap_or_default()),
        });
    }
    if !inventory.keys.is_empty() {
        lines.push(keys(&inventory.keys));
    }
    lines.join("\n")
}

pub fn accounts(accounts: &[AccountView]) -> String {
    if accounts.is_empty() {
        return "No account yet. Make one: keyleash account new NAME --owner-new".into();
    }
    let rows: Vec<Vec<String>> = accounts
        .iter()
        .map(|a| {
            vec![
                a.name.clone(),
                a.network.clone(),
                a.address.to_string(),
                a.kernel_version.map_or_else(|| "?".into(), |k| k.to_string()),
                match a.deployed {
                    Some(true) => "deployed".into(),
                    Some(false) => "not yet".into(),
                    None => "unknown".into(),
                },
                a.balance.map_or_else(
                    || "?".into(),
                    |b| format!("{} {}", sentence::coins(b), Coin::of(a.chain_id).symbol()),
                ),
            ]
        })
        .collect();
    table(&["name", "network", "address", "kernel", "state", "balance"], &rows)
}

fn findings(findings: &[Finding]) -> Vec<String> {
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

/// What was looked at, in a line for each outcome.
fn checks(checked: &Checked) -> Vec<String> {
    let line = |outcome: Option<bool>, words: &str| {
        let which: Vec<&str> = checked.checks.iter().filter(|c| c.holds == outcome).map(|c| c.words.as_str()).collect();
        (!which.is_empty()).then(|| format!("  {words}: {}", which.join("; ")))
    };
    let lines = [line(Some(true), "checked"), line(Some(false), "checked, and not so"), line(None, "not checked")];
    lines.into_iter().flatten().collect()
}

/// `!! R05 R13`: how grave the worst is, and the ids of what is grave.
fn risk_ids(risks: &[Finding]) -> String {
    let mut ids: Vec<&str> = Vec::new();
    for finding in risks.iter().filter(|f| f.severity >= Severity::High) {
        if !ids.contains(&finding.id) {
            ids.push(finding.id);
        }
    }
    match risks.iter().map(|f| f.severity).max() {
        Some(Severity::Critical) => format!("!! {}", ids.join(" ")),
        Some(Severity::High) => format!("! {}", ids.join(" ")),
        _ => "-".to_owned(),
    }
}

pub fn grant_plan(plan: &GrantPlan) -> String {
    let mut lines = vec![format!(
        "{} on {} ({}) lets {} act:",
        plan.account.name, plan.account.network, plan.account.address, plan.session_key
    )];
    lines.extend(plan.sentences.iter().map(|s| format!("  · {s}")));
    lines.extend(findings(&plan.findings));
    lines.extend(checks(&plan.checked));
    for approval in plan.to_sign() {
        lines.push(format!("  digest {} (nonce {})", approval.digest, approval.nonce));
    }
    lines.push("Signing sends nothing and costs nothing.".into());
    lines.join("\n")
}

pub fn granted(granted: &Granted, out: Option<&Path>, approvals: &[String]) -> String {
    let key = &granted.key;
    let state = granted.approvals.first().map_or_else(String::new, |a| format!("{}: {}", a.state, a.state_reason));
    let mut lines = vec![format!("{} ({}) for {} is signed, {state}", key.label, key.key_id, key.session_key)];
    match (out, approvals) {
        (Some(out), _) => {
            lines.push(format!("The approval is in {}; hand it to whoever holds the key.", out.display()))
        }
        (None, []) => {}
        (None, texts) => {
            lines.push("For whoever holds the key:".into());
            lines.extend(texts.iter().cloned());
        }
    }
    lines.join("\n")
}

/// What taking a key off the list is about.
pub fn removal(key: &KeyView) -> String {
    let draft = if key.state == State::Draft { format!("\n  ! {DRAFT}") } else { String::new() };
    format!(
        "Takes {} ({}) off the list: {} for {} on {}. Nothing is sent.{draft}",
        key.label, key.key_id, key.session_key, key.account, key.network
    )
}

pub fn keys(keys: &[KeyView]) -> String {
    if keys.is_empty() {
        return "No session key on record. Give one: keyleash grant ACCOUNT --policy FILE --new-key".into();
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
                risk_ids(&k.risks),
                k.session_key.to_string(),
                k.state_reason.clone(),
            ]
        })
        .collect();
    table(&["id", "label", "state", "until", "risks", "session key", "why"], &rows)
}

pub fn key(key: &KeyView) -> String {
    let mut lines = vec![
        format!("{} ({}) – {}", key.label, key.key_id, key.state),
        format!("  {}", key.state_reason),
        format!(
            "  session key {}{}",
            key.session_key,
            if key.has_secret { " (its private half is in your vault)" } else { "" }
        ),
        format!("  account     {} on {}", key.account, key.network),
        format!("  validator   {} {}, nonce {}", key.validator, key.validator.address(), key.nonce),
    ];
    lines.extend(key.alarms.iter().map(|alarm| format!("  ! {}", alarm.message)));
    lines.extend(key.sentences.iter().map(|s| format!("  · {s}")));
    lines.extend(findings(&key.risks));
    for approval in &key.approvals {
        lines.push(format!(
            "  approval for {} (nonce {}): {}, {}",
            approval.selector, approval.nonce, approval.state, approval.state_reason
        ));
    }
    match key.as_of {
        Some(time) => lines.push(format!("  as of {}", sentence::time(time))),
        None => lines.push("  the chain could not be asked".into()),
    }
    lines.join("\n")
}

fn kernel_v3(found: &Inspection, v3: &PermissionApproval) -> String {
    let unknown = || "unknown".to_owned();
    let key = found.session_key.map_or_else(|| "not in the text".to_owned(), |a| a.to_string());
    let mut lines = vec![
        format!("NOT VERIFIED: approval of a Kernel v3 account, {} – recognised, not managed yet", found.account),
        format!("  session key {key}{}", if found.has_secret { " (its private half is in the text)" } else { "" }),
        format!("  owner       {}, as the text says", found.owner.map_or_else(unknown, |a| a.to_string())),
        format!(
            "  kernel {}, permission {}, opens {}; policies: {}",
            v3.version.clone().unwrap_or_else(unknown),
            v3.permission_id.map_or_else(unknown, |id| id.to_string()),
            found.selector,
            if v3.policies.is_empty() { "none".to_owned() } else { v3.policies.join(", ") }
        ),
    ];
    lines.extend(found.sentences.iter().map(|s| format!("  · {s}")));
    lines.join("\n")
}

pub fn inspection(found: &Inspection) -> String {
    if let Some(v3) = &found.kernel_v3 {
        return kernel_v3(found, v3);
    }
    let unknown = || "unknown".to_owned();
    let mut lines = vec![
        format!(
            "{}Approval of format {} for {} – {}",
            if found.verified == Some(true) { "" } else { "NOT VERIFIED: " },
            found.format,
            found.account,
            found.state
        ),
        format!("  {}", found.state_reason),
        format!(
            "  session key {}{}",
            found.session_key.map_or_else(unknown, |a| a.to_string()),
            if found.has_secret { " (its private half is in the text)" } else { "" }
        ),
        format!("  signed by   {}", found.owner.map_or_else(|| "not verified".into(), |a| a.to_string())),
        format!(
            "  chain {}, kernel {}, validator {}, nonce {}, opens {}",
            found.chain_id.map_or_else(unknown, |c| c.to_string()),
            found.kernel_version.map_or_else(unknown, |k| k.to_string()),
            found.validator.map_or_else(unknown, |g| g.to_string()),
            found.nonce.clone().unwrap_or_else(unknown),
            found.selector
        ),
    ];
    lines.extend(found.sentences.iter().map(|s| format!("  · {s}")));
    lines.extend(findings(&found.risks));
    lines.extend(checks(&found.checked));
    lines.extend(found.assumptions.iter().map(|a| format!("  assumed: {a}")));
    lines.join("\n")
}

fn price(prepared: &Prepared) -> String {
    let who = prepared.paymaster.map_or_else(|| "the account".to_owned(), |p| format!("paymaster {p}"));
    format!(
        "It can cost at most {} (ceiling {}), paid by {who}; fees from {}.",
        prepared.coin.amount(prepared.max_cost),
        prepared.coin.amount(prepared.ceiling),
        prepared.fee_source
    )
}

fn steps(steps: &[Step]) -> Vec<String> {
    steps.iter().map(|s| format!("  · {} – {}", s.effect, s.call)).collect()
}

/// What enabling does, by which route, and what it can cost; or the calls to send from elsewhere.
pub fn enable_plan(plan: &EnablePlan) -> Result<String> {
    let mut lines = steps(&plan.steps);
    lines.extend(plan.skipped.iter().map(skipped));
    match plan.price() {
        Some(price) => lines.extend(route_and_price(&price, 0)),
        None => lines.extend(printed(&plan.printed()?)),
    }
    Ok(lines.join("\n"))
}

/// What a revocation does, by which route, and what it can cost; or the calls to send from elsewhere.
pub fn revoke_plan(plan: &RevokePlan) -> Result<String> {
    let mut lines = steps(&plan.steps);
    for other in &plan.also_revokes {
        lines.push(format!("  ! {other} cannot act any more after this either"));
    }
    for remaining in &plan.remaining {
        lines.push(format!("  ! not stopped by this: {} {}: {}", remaining.what, remaining.address, remaining.why));
    }
    lines.extend(plan.skipped.iter().map(skipped));
    match plan.price() {
        Some(price) => lines.extend(route_and_price(&price, plan.further)),
        None => lines.extend(printed(&plan.printed()?)),
    }
    Ok(lines.join("\n"))
}

fn printed(calls: &[PrintedCall]) -> Vec<String> {
    let mut lines = vec!["To be sent from elsewhere, in this order:".to_owned()];
    for call in calls {
        let from = call.from.map_or_else(|| "anybody".to_owned(), |a| a.to_string());
        lines.push(format!(
            "  from {from}\n    to {}, value {}\n    data {}\n    ({})",
            call.to, call.value, call.data, call.what
        ));
    }
    lines
}

fn skipped(skipped: &SkippedRoute) -> String {
    format!("  (not {}: {})", skipped.route.words(), skipped.reason)
}

fn route_and_price(price: &Price, further: usize) -> Vec<String> {
    let mut lines = vec![
        format!("Sent {}.", price.route.words()),
        format!(
            "It can cost at most {} (ceiling {}), paid by {}; fees from {}.",
            price.coin.amount(price.max_cost),
            price.coin.amount(price.ceiling),
            price.payer,
            price.fee_source
        ),
    ];
    lines.extend(
        price
            .replaces
            .map(|hash| format!("It takes the place of your waiting transaction {hash}: that one will not happen.")),
    );
    if further > 0 {
        lines.push(format!(
            "This Kernel has no batches: {further} more follow one after the other, each at most twice that."
        ));
    }
    lines
}

/// `functions`: those that the person named besides the key's own.
pub fn send_plan(plan: &SendPlan, functions: &[Function]) -> String {
    let mut lines = vec![format!("From {} on {}:", plan.account, plan.network)];
    lines.extend(plan.calls_in_words(functions).iter().map(|call| format!("  · {call}")));
    if plan.deploys {
        lines.push("  · deploys the account first".into());
    }
    if plan.enables {
        lines.push("  · enables the key in the same operation".into());
    }
    lines.extend(plan.prepared.replaces.map(|earlier| {
        format!(
            "  · takes the nonce of {earlier}, which does the same and has no result yet: only one of the two can be mined"
        )
    }));
    lines.extend(findings(&plan.findings));
    lines.push(price(&plan.prepared));
    lines.join("\n")
}

pub fn operation(outcome: &OperationOutcome) -> String {
    let hash = outcome.user_op_hash;
    match (outcome.success, outcome.transaction_hash) {
        (Some(true), Some(transaction)) => format!(
            "Done: operation {hash}\n  in transaction {transaction}, block {}, gas paid {}",
            outcome.block.unwrap_or_default(),
            outcome.coin.amount(outcome.gas_cost.unwrap_or_default())
        ),
        (Some(false), Some(transaction)) => format!(
            "Mined but FAILED: operation {hash}\n  in transaction {transaction}: {}",
            outcome.revert_reason.as_deref().unwrap_or("no reason given")
        ),
        _ => {
            let note = outcome.note.as_ref().map(|note| format!("\n  {note}")).unwrap_or_default();
            format!("Sent, not in a block yet: {hash}{note}\n  follow it with: keyleash status {hash}")
        }
    }
}

/// What a file that was signed elsewhere would do.
pub fn unsigned(operation: &UnsignedOperation) -> String {
    let mut lines = vec![format!("From {} on {}:", operation.user_op.sender, operation.network)];
    let coin = Coin::of(operation.chain_id);
    lines.extend(Wallet::unsigned_calls(operation, coin).iter().map(|call| format!("  · {call}")));
    lines.push(format!("It can cost at most {}.", coin.amount(operation.user_op.max_cost())));
    lines.join("\n")
}

pub fn scene(step: usize, scene: &Scene) -> String {
    let mark = match &scene.refused {
        Some(code) => format!("  [refused: {code}]"),
        None => String::new(),
    };
    let lines: String = scene.lines.iter().map(|l| format!("\n     {l}")).collect();
    format!("{step:>2}. {}{mark}{lines}", scene.title)
}

pub fn proof(proof: &Proof) -> String {
    let unless = match proof.can_return {
        true => "cannot be used again unless the owner sets nonces back",
        false => "can never be used again",
    };
    let hash = proof.ground.block_hash.map_or_else(String::new, |hash| format!(" ({hash})"));
    let mut lines = vec![
        format!("Proven at block {}{hash}: the approval of key {} {unless}", proof.block, proof.key_id),
        format!("  {}", proof.ground.words(proof.block)),
    ];
    if proof.attempts.is_empty() {
        lines.push(format!("  replayed, it is refused with \"{}\"", proof.replay));
        lines.push(format!("  before, at block {}: {}", proof.before_block, proof.before));
    }
    for tried in &proof.attempts {
        lines.push(format!("  tried to {}, which {}", tried.attempt, tried.would));
        lines.push(format!("    before, at block {}: {}", proof.before_block, tried.before));
        lines.push(format!("    after, at block {}: {}", proof.block, tried.after));
    }
    lines.join("\n")
}

pub fn paused(paused: &Paused) -> String {
    format!(
        "Proven at block {}: the account answers mode {:#010x}; no session key can act until you unpause\n  {}",
        paused.block,
        paused.disabled_mode,
        paused.ground.words(paused.block)
    )
}

/// An operation of the owner, and by which route it went.
pub fn sent(outcome: &OperationOutcome, route: Route) -> String {
    let operation = operation(outcome);
    match outcome.gas_cost {
        Some(_) => format!("{operation}\n  sent {}", route.words_with_payer()),
        None => operation,
    }
}

pub fn revoked(revoked: &Revoked) -> String {
    let mut lines = vec![sent(&revoked.operation, revoked.route)];
    for proof in &revoked.proofs {
        lines.push(self::proof(proof));
    }
    lines.extend(revoked.paused.as_ref().map(paused));
    if revoked.proofs.is_empty() && revoked.paused.is_none() && !revoked.plan.is_empty() && revoked.ends_keys {
        lines.push("NOT PROVEN: treat the key as still active.".into());
    }
    lines.join("\n")
}

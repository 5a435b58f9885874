use clap::Args;
use serde_json::{Value, json};

use crate::{
    cli::{
        args::address,
        context::{Context, Done, done},
        input, show,
    },
    protocol::family::recognised::Recognised,
    wallet::{
        error::{Error, Result},
        usecase::{
            inspect::{InspectOptions, Inspection, inspect, texts},
            network::{clear_text, in_the_clear, origin},
        },
    },
};

/// What a serialized approval allows, and who signed it; needs no profile
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The file, `-` = standard input
    file: String,
    /// A node to ask whether it can still be used
    #[arg(long, value_name = "URL")]
    rpc: Option<String>,
    /// The session key's address, if it is not in the file
    #[arg(long, value_name = "ADDRESS")]
    agent: Option<String>,
    /// The account's owner, if neither the file nor a node tells
    #[arg(long, value_name = "ADDRESS")]
    owner: Option<String>,
}

impl InspectArgs {
    pub async fn run(self, context: &mut Context) -> Result<Done> {
        let text = input::text(&self.file)?;
        let options = InspectOptions {
            session_key: self.agent.as_deref().map(|a| address("--agent", a)).transpose()?,
            owner: self.owner.as_deref().map(|a| address("--owner", a)).transpose()?,
            rpc: self.rpc,
            network: context.global.network.clone(),
        };
        if let Some(host) = options.rpc.as_deref().and_then(in_the_clear) {
            context.output.warn("network.http", &clear_text(&host));
        }
        let has_profile = context.global.profile()?.is_initialized();
        if !has_profile && options.network.is_some() {
            return Err(Error::usage("home.none", "--network needs a profile that knows it").hint("use --rpc URL"));
        }
        let wallet = if has_profile { Some(context.open()?) } else { None };
        if let Some(node) = options.rpc.as_deref().and_then(origin) {
            context.output.asks(&node);
        }
        let mut inspections = Vec::new();
        for one in texts(&text) {
            let found = match &wallet {
                Some(wallet) => wallet.inspect(one, &options).await?,
                None => inspect(one, &options).await?,
            };
            for warning in &found.warnings {
                context.output.warn("approval", warning);
            }
            inspections.push(found);
        }
        let text = inspections.iter().map(text_of).collect::<Vec<_>>().join("\n\n");
        let mut all: Vec<Value> = inspections.iter().map(json).collect();
        let mut data = if all.is_empty() { Value::Null } else { all.remove(0) };
        if !all.is_empty() {
            data["further"] = json!(all);
        }
        match inspections.iter().find_map(Inspection::unverified) {
            Some(error) => context.failed_report(data, &text, error),
            None => done(data, text),
        }
    }
}

fn text_of(found: &Inspection) -> String {
    let unknown = || "unknown".to_owned();
    let sentences = found.sentences.iter().map(|s| format!("  · {s}"));
    if let Some(recognised) = &found.recognised {
        return of_recognised(found, recognised);
    }
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
            if found.has_secret { " (private key in the text)" } else { "" }
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
    lines.extend(sentences);
    lines.extend(show::finding::lines(&found.risks));
    lines.extend(show::finding::checks(&found.checked));
    lines.extend(found.assumptions.iter().map(|a| format!("  assumed: {a}")));
    lines.join("\n")
}

fn of_recognised(found: &Inspection, recognised: &Recognised) -> String {
    let unknown = || "unknown".to_owned();
    let signed_by = match (found.verified, found.owner) {
        (Some(true), Some(owner)) => owner.to_string(),
        (_, Some(owner)) => format!("not verified (the text names {owner})"),
        (_, None) => "not verified".to_owned(),
    };
    let chain = match (recognised.signed, found.chain_id) {
        (Some(_), None) => "every chain".to_owned(),
        (_, chain) => chain.map_or_else(unknown, |id| id.to_string()),
    };
    let policies = if recognised.policies.is_empty() { "none".to_owned() } else { recognised.policies.join(", ") };
    let mut lines = vec![
        format!(
            "{}Approval of a Kernel v3 account, {} – {}",
            if found.verified == Some(true) { "" } else { "NOT VERIFIED: " },
            found.account,
            found.state
        ),
        format!("  {}", found.state_reason),
        format!(
            "  session key {}{}",
            found.session_key.map_or_else(unknown, |a| a.to_string()),
            if found.has_secret { " (private key in the text)" } else { "" }
        ),
        format!("  signed by   {signed_by}"),
        format!(
            "  chain {chain}, kernel {}, permission {}, nonce {}, opens {}; policies: {policies}",
            recognised.version.clone().unwrap_or_else(unknown),
            recognised.permission_id.clone().unwrap_or_else(unknown),
            found.nonce.clone().unwrap_or_else(unknown),
            found.selector,
        ),
    ];
    lines.extend(found.sentences.iter().map(|s| format!("  · {s}")));
    lines.extend(show::finding::lines(&found.risks));
    lines.extend(found.assumptions.iter().map(|a| format!("  assumed: {a}")));
    lines.join("\n")
}

fn json(found: &Inspection) -> Value {
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
        "permissions": show::scope::json(&found.permissions),
        "sentences": found.sentences,
        "assumptions": found.assumptions,
        "risks": show::finding::json(&found.risks),
        "checks": found.checked.checks,
        "permission_id": null,
        "policies": null,
    });
    if let Some(recognised) = &found.recognised {
        data["kernel_version"] = json!(recognised.version);
        data["permission_id"] = json!(recognised.permission_id);
        data["policies"] = json!(recognised.policies);
        let permissions = recognised.calls.iter().map(|entry| {
            json!({
                "target": entry.target.to_string(), "sig": entry.selector, "valueLimit": entry.value_limit.to_string(),
                "callType": if entry.delegatecall { "delegatecall" } else { "call" }, "rules": entry.rules,
            })
        });
        data["permissions"] = permissions.collect();
        data["pre_installed"] = json!(recognised.pre_installed);
        data["paymaster"] = Value::Null;
    }
    data
}

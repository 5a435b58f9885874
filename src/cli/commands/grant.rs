use std::path::{Path, PathBuf};

use alloy::primitives::B256;
use clap::Args;
use serde_json::{Value, json};

use crate::{
    cli::{
        args::{FormatChoice, address},
        context::{Context, Done, done},
        input,
        output::to_pretty_json,
        show,
    },
    protocol::Format,
    wallet::{
        Wallet,
        error::{Error, Result},
        home::{create, read_bounded},
        policy::Policy,
        usecase::grant::{Accepted, GrantIntent, GrantPlan, Granted, Holder, check_findings},
    },
};

/// Sign an approval for a session key; sends nothing and costs nothing
#[derive(Debug, Args)]
pub struct GrantArgs {
    /// The account that grants
    #[arg(required_unless_present = "complete")]
    account: Option<String>,
    /// The policy file (TOML or JSON)
    #[arg(long, value_name = "FILE", required_unless_present = "complete")]
    policy: Option<PathBuf>,
    /// Address of a key that somebody else holds
    #[arg(long, value_name = "ADDRESS", conflicts_with = "new_key")]
    agent: Option<String>,
    /// Make a key, to be handed over
    #[arg(long)]
    new_key: bool,
    /// What to call the key
    #[arg(long)]
    label: Option<String>,
    /// Accept a blocking finding by its phrase, for example R12="…"
    #[arg(long, value_name = "ID=PHRASE")]
    accept: Vec<String>,
    /// Write the approval to this file (mode 0600)
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[arg(long, value_name = "FORMAT", default_value = "v4")]
    format: FormatChoice,
    /// Put the key's private half into the file too: whoever reads it can act
    #[arg(long, requires = "out")]
    with_secret: bool,
    /// Write what the owner must sign elsewhere (EIP-712 JSON)
    #[arg(long, requires = "out", conflicts_with = "with_secret")]
    unsigned: bool,
    /// Take the signature for a file that --unsigned wrote
    #[arg(long, value_name = "FILE", requires = "signature_file", conflicts_with_all = ["policy", "agent", "new_key", "unsigned"])]
    complete: Option<PathBuf>,
    /// The owner's signature, 65 bytes as hex
    #[arg(long, value_name = "FILE")]
    signature_file: Option<PathBuf>,
}

impl GrantArgs {
    pub async fn run(self, context: &mut Context) -> Result<Done> {
        let wallet = context.open()?;
        if let Some(file) = &self.complete {
            return complete(&wallet, file, self.signature_file.as_deref()).await;
        }
        let (Some(account), Some(policy_file)) = (self.account.clone(), self.policy.as_deref()) else {
            return Err(Error::usage("usage", "grant needs an account and --policy FILE"));
        };
        let holder = self.holder()?;
        if let Some(out) = &self.out {
            check_out(out)?;
        }
        let accepted = accepted(&self.accept)?;
        let policy = Policy::read(wallet.coin_of_account(&account), policy_file)?;
        let plan = wallet.plan_grant(GrantIntent { account, policy, holder, label: self.label.clone() }).await?;
        context.known = json!({ "risks": show::finding::json(&plan.findings), "checks": plan.checked.checks });
        for warning in &plan.resolved.warnings {
            context.output.warn("policy", warning);
        }
        context.output.review(&plan_text(&plan));
        check_findings(&plan.findings, &accepted)?;
        if self.unsigned {
            return write_draft(&wallet, plan, &accepted, self.out.as_deref(), context);
        }
        self.sign(&wallet, plan, &accepted, context).await
    }

    fn holder(&self) -> Result<Holder> {
        match (&self.agent, self.new_key) {
            (Some(agent), false) => Ok(Holder::Agent(address("--agent", agent)?)),
            (None, true) => Ok(Holder::NewKey),
            _ => Err(Error::usage("grant.holder", "missing key holder")
                .hint("pass --agent ADDRESS for a key made elsewhere, or --new-key")),
        }
    }

    async fn sign(self, wallet: &Wallet, plan: GrantPlan, accepted: &Accepted, context: &mut Context) -> Result<Done> {
        if let Some(out) = self.out.as_deref().filter(|_| self.with_secret) {
            let message = format!("{} will contain the private key: whoever reads it can act", out.display());
            context.output.warn("grant.bearer", &message);
        }
        context.confirm("Sign this approval?")?;
        let granted = wallet.execute_grant(plan, accepted).await?;
        let mut data = json(&granted);
        let mut texts = Vec::new();
        match &self.out {
            Some(out) => {
                wallet.export_key(&granted.key.key_id, self.format.into(), self.with_secret, out).await?;
            }
            None => {
                texts = wallet.approval_texts(&granted.key.key_id, self.format.into()).await?;
                data["approval"] = json!(texts.first());
                data["further_approvals"] = json!(texts.get(1..).unwrap_or_default());
            }
        }
        let text = text(&granted, self.out.as_deref(), &texts);
        done(data, text)
    }
}

/// Before anything is signed: the approval can be written there afterwards.
fn check_out(out: &Path) -> Result<()> {
    if out.exists() {
        return Err(Error::usage("file.exists", format!("{} already exists; nothing was signed", out.display()))
            .hint("choose another file"));
    }
    match out.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
        Some(folder) => {
            let message = format!("there is no folder {}; nothing was signed", folder.display());
            Err(Error::usage("file.no_folder", message).hint("create it, or choose a file in another folder"))
        }
        None => Ok(()),
    }
}

fn accepted(arguments: &[String]) -> Result<Accepted> {
    arguments
        .iter()
        .map(|argument| {
            argument.split_once('=').map(|(id, phrase)| (id.to_owned(), phrase.to_owned())).ok_or_else(|| {
                Error::usage("grant.accept", "--accept: expected ID=PHRASE, for example --accept \"R12=…\"")
            })
        })
        .collect()
}

/// What the owner signs elsewhere, as a file for a wallet.
fn write_draft(
    wallet: &Wallet,
    plan: GrantPlan,
    accepted: &Accepted,
    out: Option<&Path>,
    context: &mut Context,
) -> Result<Done> {
    let to_sign = plan.to_sign();
    let [typed] = to_sign.as_slice() else {
        return Err(Error::usage("grant.unsigned", "this policy needs several signatures, and --unsigned writes one")
            .hint("grant one account function at a time: selector = \"execute\""));
    };
    context.confirm("Save this draft?")?;
    let granted = wallet.draft_grant(plan, accepted)?;
    let digest = granted.approvals.first().map(|a| a.digest).unwrap_or_default();
    // The typed data itself, so that a wallet takes the file as it is, with what we need to know it again beside it.
    let mut file = typed.typed_data.clone();
    file["keyleash"] = json!({ "draft": 1, "key_id": granted.key.key_id, "digest": digest });
    if let Some(out) = out {
        create(out, to_pretty_json(&file)?.as_bytes())?;
    }
    let text = format!(
        "Draft {} written. Sign the EIP-712 message in the file with the owner's wallet (eth_signTypedData_v4), then:\n\
         keyleash grant --complete FILE --signature-file SIGNATURE",
        granted.key.key_id
    );
    done(json(&granted), text)
}

async fn complete(wallet: &Wallet, file: &Path, signature_file: Option<&Path>) -> Result<Done> {
    let draft: Value = serde_json::from_str(&read_bounded(file, input::MAX_INPUT)?)
        .map_err(|e| Error::usage("grant.draft", format!("{} is not a keyleash draft: {e}", file.display())))?;
    let digest: B256 = draft
        .get("keyleash")
        .and_then(|k| k.get("digest"))
        .and_then(Value::as_str)
        .and_then(|d| d.parse().ok())
        .ok_or_else(|| Error::usage("grant.draft", format!("{}: `keyleash.digest` is missing", file.display())))?;
    let path = signature_file.ok_or_else(|| Error::usage("usage", "--signature-file is missing"))?;
    let signature = input::signature(path)?;
    let (key, approval) = wallet.complete_grant(digest, &signature).await?;
    let mut data = show::key::json(&key);
    data["enable_signature"] = json!(approval.enable_signature);
    data["digest"] = json!(approval.digest);
    data["approval"] = json!(wallet.approval_texts(&key.key_id, Format::V4).await?.first());
    let text = format!("{} is signed. Export it with: keyleash key export {} --out FILE", key.label, key.key_id);
    done(data, text)
}

fn plan_text(plan: &GrantPlan) -> String {
    let mut lines = vec![format!(
        "{} on {} ({}) lets {} act:",
        plan.account.name, plan.account.network, plan.account.address, plan.session_key
    )];
    lines.extend(plan.sentences.iter().map(|s| format!("  · {s}")));
    lines.extend(show::finding::lines(&plan.findings));
    lines.extend(show::finding::checks(&plan.checked));
    for approval in plan.to_sign() {
        lines.push(format!("  digest {} (nonce {})", approval.digest, approval.nonce));
    }
    lines.push("Signing sends nothing and costs nothing.".into());
    lines.join("\n")
}

fn text(granted: &Granted, out: Option<&Path>, approvals: &[String]) -> String {
    let key = &granted.key;
    let state = granted.approvals.first().map_or_else(String::new, |a| format!("{}: {}", a.state, a.state_reason));
    let mut lines = vec![format!("{} ({}) for {} is signed, {state}", key.label, key.key_id, key.session_key)];
    match (out, approvals) {
        (Some(out), _) => lines.push(format!("The approval is in {}; give it to the key holder.", out.display())),
        (None, []) => {}
        (None, texts) => {
            lines.push("For the key holder:".into());
            lines.extend(texts.iter().cloned());
        }
    }
    lines.join("\n")
}

fn json(granted: &Granted) -> Value {
    let mut data = show::key::json(&granted.key);
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
    data["risks"] = show::finding::json(&granted.findings);
    data["checks"] = json!(granted.checked.checks);
    data
}

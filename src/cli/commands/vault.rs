use clap::Subcommand;
use serde_json::json;

use crate::{
    cli::{
        args::VaultKind,
        context::{Context, Done, done},
        output::table,
    },
    wallet::{
        Backend, Wallet,
        error::{Class, Error, Result},
        usecase::secrets::{BackendView, SecretFinding, SecretView},
    },
};

/// Manage stored private keys (never prints them)
#[derive(Debug, Subcommand)]
pub enum VaultCommand {
    /// Which backends would answer now
    Status,
    /// Ids, addresses and labels; nothing is unlocked
    Ls,
    /// Move secrets to the other backend: written, read back, compared, then deleted
    Mv {
        /// Ids, addresses or labels
        #[arg(required = true)]
        secrets: Vec<String>,
        #[arg(long, value_name = "BACKEND")]
        to: VaultKind,
    },
    /// Destroy a secret for good
    Rm {
        /// Id, address or label
        secret: String,
        /// Also when an account, key or agent on record needs it
        #[arg(long)]
        even_if_used: bool,
    },
    /// Look at every secret, and put right what was cut off
    Check,
}

impl VaultCommand {
    pub async fn run(self, context: &mut Context) -> Result<Done> {
        let wallet = context.open()?;
        match self {
            Self::Status => {
                let backends = wallet.vault_status()?;
                done(&backends, backends_text(&backends))
            }
            Self::Ls => {
                let secrets = wallet.secrets()?;
                done(&secrets, list(&secrets))
            }
            Self::Mv { secrets, to } => mv(&wallet, &secrets, to.into(), context),
            Self::Rm { secret, even_if_used } => {
                let found = wallet.find_secret(&secret)?;
                context.confirm(&format!("Permanently delete the secret {} ({})?", found.label, found.address))?;
                wallet.remove_secret(&found.id, even_if_used)?;
                done(json!({ "removed": found.id }), format!("{} is deleted.", found.label))
            }
            Self::Check => check(&wallet, context),
        }
    }
}

fn mv(wallet: &Wallet, secrets: &[String], to: Backend, context: &mut Context) -> Result<Done> {
    let found = secrets.iter().map(|s| wallet.find_secret(s)).collect::<Result<Vec<_>>>()?;
    let rows: Vec<_> = found.iter().map(|s| format!("  {} {} ({})", s.id, s.label, s.address)).collect();
    context.output.review(&rows.join("\n"));
    context.confirm(&format!("Move {} to the {to}?", counted(found.len(), "secret")))?;
    let mut moved = Vec::new();
    for secret in found.iter().filter(|s| s.backend != to) {
        wallet.move_secret(&secret.id, to)?;
        moved.push(secret.id);
        context.known = json!({ "moved": moved, "to": to });
    }
    let text = format!("{} moved to the {to}.", counted(moved.len(), "secret"));
    done(json!({ "moved": moved, "to": to }), text)
}

fn check(wallet: &Wallet, context: &mut Context) -> Result<Done> {
    let findings = wallet.check_secrets()?;
    let data = json!({ "findings": findings });
    match findings.iter().filter(|f| f.problem).count() {
        0 => done(data, findings_text(&findings)),
        problems => {
            let message = format!("{} with a problem", counted(problems, "secret"));
            context.failed_report(data, &findings_text(&findings), Error::new(Class::Vault, "vault.check", message))
        }
    }
}

fn counted(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn backends_text(backends: &[BackendView]) -> String {
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

fn list(secrets: &[SecretView]) -> String {
    if secrets.is_empty() {
        return "The vault is empty.".into();
    }
    let rows: Vec<Vec<String>> = secrets
        .iter()
        .map(|s| {
            let used_by = if s.used_by.is_empty() { "nothing on record".to_owned() } else { s.used_by.join(", ") };
            let unsettled = if s.settled { "" } else { " (interrupted: run `keyleash vault check`)" };
            vec![s.id.to_string(), s.label.clone(), s.address.to_string(), format!("{}{unsettled}", s.backend), used_by]
        })
        .collect();
    table(&["id", "label", "address", "kept in", "used by"], &rows)
}

fn findings_text(findings: &[SecretFinding]) -> String {
    if findings.is_empty() {
        return "The vault is empty.".into();
    }
    let rows: Vec<Vec<String>> = findings
        .iter()
        .map(|f| vec![if f.problem { "NO" } else { "ok" }.to_owned(), f.id.to_string(), f.message.clone()])
        .collect();
    table(&["", "id", "found"], &rows)
}

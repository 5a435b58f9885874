use clap::Args;
use serde_json::json;

use crate::{
    cli::{
        context::{Context, Done, done},
        output::to_pretty_json,
    },
    wallet::error::Result,
};

/// A redacted report of this installation
#[derive(Debug, Args)]
pub struct DoctorArgs {}

impl DoctorArgs {
    pub async fn run(self, context: &mut Context) -> Result<Done> {
        let home = context.global.profile()?;
        let mut report = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "os": std::env::consts::OS,
            "arch": std::env::consts::ARCH,
            "initialized": home.is_initialized(),
        });
        if home.is_initialized() {
            let wallet = context.open()?;
            report["vault"] = json!(home.load_config()?.vault);
            report["networks"] = json!(wallet.networks());
            report["secrets"] = json!(wallet.secrets()?.len());
            report["backends"] = json!(wallet.vault_status()?);
            report["operations_in_flight"] = json!(wallet.in_flight()?);
        }
        let text = to_pretty_json(&report)?;
        done(report, text)
    }
}

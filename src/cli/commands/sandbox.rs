use clap::Subcommand;
use serde_json::json;

use crate::{
    cli::context::{Context, Done, done},
    policy::sentence,
    wallet::{
        Wallet,
        error::{Error, Result},
    },
};

/// Only on a sandbox profile
#[derive(Debug, Subcommand)]
pub enum SandboxCommand {
    /// A fresh chain, and the example account and keys anew
    Reset,
    /// Move the sandbox's time ahead, for example +1h
    Time {
        #[arg(value_name = "+DURATION")]
        ahead: String,
    },
}

impl SandboxCommand {
    pub async fn run(self, context: &mut Context) -> Result<Done> {
        let wallet = context.open()?;
        let controls = wallet.controls()?;
        match self {
            Self::Time { ahead } => {
                let seconds = sentence::parse_duration(ahead.trim_start_matches('+'))
                    .map_err(|e| Error::usage("argument.duration", format!("+DURATION: {e}")))?;
                let now = controls.advance(seconds)?;
                done(json!({ "time": now }), format!("Sandbox time is now {}.", sentence::time(now)))
            }
            Self::Reset => {
                context.confirm("Delete the sandbox's chain, accounts and keys, and start over?")?;
                let home = wallet.home().clone();
                drop(wallet);
                home.clear_sandbox()?;
                Wallet::init_sandbox(&home)?.seed_sandbox().await?;
                done(json!({ "reset": true }), "The sandbox was reset.")
            }
        }
    }
}

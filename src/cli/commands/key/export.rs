use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::{
    cli::{
        args::FormatChoice,
        context::{Context, Done, done},
    },
    wallet::error::Result,
};

/// Write its approvals to a file
#[derive(Debug, Args)]
pub struct KeyExportArgs {
    key: String,
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[arg(long, value_name = "FORMAT", default_value = "v4")]
    format: FormatChoice,
    /// Put the private half into the file too: whoever reads it can act
    #[arg(long)]
    with_secret: bool,
}

impl KeyExportArgs {
    pub async fn run(self, context: &mut Context) -> Result<Done> {
        let Self { key, out, format, with_secret } = self;
        let wallet = context.open()?;
        if with_secret {
            let message = format!("{} will contain the private key: whoever reads it can act", out.display());
            context.output.warn("key.bearer", &message);
            context.confirm("Write the private key to this file?")?;
        }
        wallet.export_key(&key, format.into(), with_secret, &out).await?;
        done(json!({ "written": out }), format!("Written to {}.", out.display()))
    }
}

use clap::Args;
use serde_json::json;

use crate::{
    cli::{
        chain_warnings::{compare_nodes, warn_of_unread_keys},
        context::{Context, Done, done},
        show,
    },
    wallet::error::Result,
};

/// Show one: id, label or address
#[derive(Debug, Args)]
pub struct KeyShowArgs {
    key: String,
}

impl KeyShowArgs {
    pub async fn run(self, context: &mut Context) -> Result<Done> {
        let wallet = context.open()?;
        let view = wallet.key(&self.key).await?;
        warn_of_unread_keys(std::slice::from_ref(&view), &mut context.output);
        let proofs = wallet.proofs(&view.key_id)?;
        let mut data = show::key::json(&view);
        data["proofs"] = json!(proofs);
        context.known = data.clone();
        compare_nodes(&wallet, [(view.network.clone(), view.account)], &mut context.output).await?;
        let shown = std::iter::once(show::key::text(&view)).chain(proofs.iter().map(show::proof::text));
        done(data, shown.collect::<Vec<_>>().join("\n"))
    }
}

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

/// List keys with their state
#[derive(Debug, Args)]
pub struct KeyLsArgs {
    account: Option<String>,
}

impl KeyLsArgs {
    pub async fn run(self, context: &mut Context) -> Result<Done> {
        let wallet = context.open()?;
        let keys = wallet.keys(self.account.as_deref()).await?;
        warn_of_unread_keys(&keys, &mut context.output);
        let data = json!(keys.iter().map(show::key::json).collect::<Vec<_>>());
        context.known = data.clone();
        let accounts = keys.iter().map(|key| (key.network.clone(), key.account));
        compare_nodes(&wallet, accounts, &mut context.output).await?;
        done(data, show::key::list(&keys))
    }
}

use clap::Args;
use serde_json::json;

use crate::{
    cli::context::{Context, Done, done},
    wallet::error::Result,
};

/// Remove one from the list; its approvals stay on record
#[derive(Debug, Args)]
pub struct AccountRmArgs {
    account: String,
}

impl AccountRmArgs {
    pub async fn run(self, context: &mut Context) -> Result<Done> {
        let Self { account } = self;
        context.open()?.remove_account(&account)?;
        let text = format!("{account} is removed from the list; its approvals and its owner's key are kept.");
        done(json!({ "removed": account }), text)
    }
}

use clap::Args;

use crate::{
    cli::{
        chain_warnings::warn_of_unread_accounts,
        context::{Context, Done, done},
        output::table,
    },
    policy::sentence,
    wallet::{coin::Coin, error::Result, usecase::account::AccountView},
};

/// List accounts
#[derive(Debug, Args)]
pub struct AccountLsArgs {}

impl AccountLsArgs {
    pub async fn run(self, context: &mut Context) -> Result<Done> {
        let accounts = context.open()?.accounts().await?;
        warn_of_unread_accounts(&accounts, &mut context.output);
        done(&accounts, list(&accounts))
    }
}

fn list(accounts: &[AccountView]) -> String {
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

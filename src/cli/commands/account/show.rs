use clap::Args;
use serde_json::json;

use crate::{
    cli::{
        chain_warnings::{compare_nodes, warn_of_unread_accounts},
        context::{Context, Done, done},
        output::to_json,
        show,
    },
    wallet::{error::Result, usecase::inventory::Inventory},
};

/// Show one
#[derive(Debug, Args)]
pub struct AccountShowArgs {
    account: String,
}

impl AccountShowArgs {
    pub async fn run(self, context: &mut Context) -> Result<Done> {
        let wallet = context.open()?;
        let found = wallet.inventory(&self.account).await?;
        warn_of_unread_accounts(std::slice::from_ref(&found.account), &mut context.output);
        let mut data = to_json(&found.account)?;
        data["findings"] = json!(found.findings);
        data["power"] = json!(found.power);
        data["control"] = json!(found.power.as_ref().map(|p| p.control));
        data["keys"] = found.keys.iter().map(show::key::json).collect();
        context.known = data.clone();
        compare_nodes(&wallet, [(found.account.network.clone(), found.account.address)], &mut context.output).await?;
        done(data, text(&found))
    }
}

/// The account, what needs a look, and its keys.
fn text(inventory: &Inventory) -> String {
    let mut lines = vec![super::text(&inventory.account)];
    lines.extend(inventory.findings.iter().map(|f| format!("  ! {}", f.message)));
    if let Some(power) = &inventory.power {
        lines.push(match (power.not_read(), power.history.through_block) {
            (None, Some(through)) => {
                format!("  history    read from deployment to block {through}, state of block {}", power.block)
            }
            (not_read, _) => format!("  history    {}", not_read.unwrap_or_default()),
        });
    }
    if !inventory.keys.is_empty() {
        lines.push(show::key::list(&inventory.keys));
    }
    lines.join("\n")
}

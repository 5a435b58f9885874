use alloy::primitives::U256;
use clap::Args;

use super::{owner::OwnerArgs, text};
use crate::{
    cli::{
        chain_warnings::warn_of_unread_accounts,
        context::{Context, Done, done},
    },
    wallet::error::{Error, Result},
};

/// A new account at its counterfactual address; nothing is sent
#[derive(Debug, Args)]
pub struct AccountNewArgs {
    name: String,
    #[command(flatten)]
    owner: OwnerArgs,
    /// Kernel version it will be deployed with
    #[arg(long, value_name = "VERSION", default_value = "0.2.4")]
    kernel: String,
    /// Tells the owner's accounts apart
    #[arg(long, value_name = "N", default_value = "0")]
    index: U256,
}

impl AccountNewArgs {
    pub async fn run(self, context: &mut Context) -> Result<Done> {
        let wallet = context.open()?;
        let network = wallet.default_network(context.global.network.as_deref())?;
        let source = self.owner.source(&context.global)?.ok_or_else(|| {
            Error::usage("account.owner", "missing owner")
                .hint("pass --owner-new, --owner-key-file, --owner-keystore, --owner-mnemonic-file or --owner-address")
        })?;
        let view = wallet.new_account(&self.name, &network, source, Some(&self.kernel), self.index).await?;
        warn_of_unread_accounts(std::slice::from_ref(&view), &mut context.output);
        done(&view, text(&view))
    }
}

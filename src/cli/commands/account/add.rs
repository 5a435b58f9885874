use clap::Args;

use super::{owner::OwnerArgs, text};
use crate::{
    cli::{
        args::address,
        context::{Context, Done, done},
    },
    wallet::error::Result,
};

/// An account that exists; its owner and version are read from the chain
#[derive(Debug, Args)]
pub struct AccountAddArgs {
    name: String,
    #[arg(long, value_name = "ADDRESS")]
    address: String,
    #[command(flatten)]
    owner: OwnerArgs,
}

impl AccountAddArgs {
    pub async fn run(self, context: &mut Context) -> Result<Done> {
        let wallet = context.open()?;
        let network = wallet.default_network(context.global.network.as_deref())?;
        let source = self.owner.source(&context.global)?;
        let view = wallet.add_account(&self.name, &network, address("--address", &self.address)?, source).await?;
        done(&view, text(&view))
    }
}

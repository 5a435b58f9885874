use std::time::Duration;

use alloy::primitives::B256;
use clap::Args;

use crate::{
    cli::{
        context::{Context, Done},
        outcome::followed,
    },
    wallet::error::Result,
};

/// Follow a UserOperation again
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Its hash, as `send` printed it
    hash: B256,
}

impl StatusArgs {
    pub async fn run(self, context: &mut Context) -> Result<Done> {
        let completed = context.open()?.status(self.hash, Duration::from_secs(20)).await?;
        followed(completed, context)
    }
}

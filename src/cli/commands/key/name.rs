use clap::Args;

use crate::{
    cli::{
        context::{Context, Done, done},
        show,
    },
    wallet::error::Result,
};

/// Give a key another label
#[derive(Debug, Args)]
pub struct KeyNameArgs {
    /// Id, label or address
    key: String,
    label: String,
}

impl KeyNameArgs {
    pub async fn run(self, context: &mut Context) -> Result<Done> {
        let Self { key, label } = self;
        let view = context.open()?.name_key(&key, &label)?;
        let text = format!("{key} is now called {}.", view.label);
        done(show::key::json(&view), text)
    }
}

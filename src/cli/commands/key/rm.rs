use clap::Args;
use serde_json::json;

use crate::{
    cli::context::{Context, Done, done},
    wallet::{
        error::Result,
        state::{DRAFT, State},
        usecase::key::KeyView,
    },
};

/// Remove a draft or an imported key
#[derive(Debug, Args)]
pub struct KeyRmArgs {
    key: String,
}

impl KeyRmArgs {
    pub async fn run(self, context: &mut Context) -> Result<Done> {
        let Self { key } = self;
        let wallet = context.open()?;
        let mut recorded = wallet.recorded_keys()?;
        recorded.retain(|k| k.key_id == key || k.label == key);
        for found in &recorded {
            context.output.review(&plan_text(found));
        }
        context.confirm("Remove this key from the list?")?;
        wallet.remove_key(&key)?;
        let draft = recorded.iter().any(|k| k.state == State::Draft);
        let draft = if draft { format!(" {DRAFT}, by its id or its address.") } else { String::new() };
        let text = format!("{key} is removed from the list.{draft}");
        done(json!({ "removed": key }), text)
    }
}

fn plan_text(key: &KeyView) -> String {
    let draft = if key.state == State::Draft { format!("\n  ! {DRAFT}") } else { String::new() };
    format!(
        "Removes {} ({}) from the list: {} for {} on {}. Nothing is sent.{draft}",
        key.label, key.key_id, key.session_key, key.account, key.network
    )
}

use clap::{Args, CommandFactory};
use serde_json::json;

use crate::{
    cli::{
        args::Cli,
        context::{Context, Done, done},
    },
    wallet::error::Result,
};

/// Completions for a shell
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    shell: clap_complete::Shell,
}

impl CompletionsArgs {
    pub async fn run(self, _context: &mut Context) -> Result<Done> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "keyleash", &mut script);
        let script = String::from_utf8_lossy(&script);
        done(json!({ "script": script }), script)
    }
}

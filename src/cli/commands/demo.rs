use clap::Args;
use serde_json::json;

use crate::{
    cli::{
        context::{Context, Done, done},
        output::print,
    },
    wallet::{
        demo::{Scene, story},
        error::Result,
    },
};

/// The whole story on a sandbox of its own, unattended
#[derive(Debug, Args)]
pub struct DemoArgs {}

impl DemoArgs {
    pub async fn run(self, context: &mut Context) -> Result<Done> {
        let json = context.output.is_json();
        context.warn_of_sandbox();
        let mut step = 0;
        let scenes = story(&mut |scene| {
            step += 1;
            if !json {
                // Printed as it happens; a reader that has gone away is no failure.
                let _ = print(&text(step, scene));
            }
        })
        .await?;
        let text = format!("\nDone: {} steps, offline.\nNext: keyleash init --sandbox, then keyleash", scenes.len());
        done(json!({ "steps": scenes }), text)
    }
}

fn text(step: usize, scene: &Scene) -> String {
    let mark = match &scene.refused {
        Some(code) => format!("  [refused: {code}]"),
        None => String::new(),
    };
    let lines: String = scene.lines.iter().map(|l| format!("\n     {l}")).collect();
    format!("{step:>2}. {}{mark}{lines}", scene.title)
}

use clap::Args;
use serde_json::json;

use crate::{
    cli::{
        args::amount,
        context::{Context, Done, done},
        offline_signing::{self, UnsignedArgs},
        outcome::finished,
        show,
    },
    wallet::{
        coin::Coin,
        error::Result,
        usecase::enable::{EnablePlan, Enabled},
    },
};

/// The owner enables approvals on chain now, in their order
#[derive(Debug, Args)]
pub struct KeyEnableArgs {
    #[arg(required = true)]
    keys: Vec<String>,
    /// Most the operation may cost
    #[arg(long, value_name = "AMOUNT")]
    max_cost: Option<String>,
    /// Show the plan and stop
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    unsigned: UnsignedArgs,
}

impl KeyEnableArgs {
    pub async fn run(self, context: &mut Context) -> Result<Done> {
        let wallet = context.open()?;
        let coin = self.keys.first().map_or_else(Coin::unlisted, |key| wallet.coin_of_key(key));
        let max_cost = amount(coin, "--max-cost", self.max_cost.as_deref())?;
        let plan = wallet.plan_enable(&self.keys, max_cost).await?;
        let preview = json!({
            "plan": plan.steps, "max_cost": plan.prepared.max_cost.to_string(),
            "cap": plan.prepared.ceiling.to_string(), "coin": plan.prepared.coin,
        });
        context.known = preview.clone();
        let text = plan_text(&plan);
        if self.dry_run {
            return done(preview, text);
        }
        context.output.review(&text);
        if let Some(out) = self.unsigned.file() {
            return offline_signing::write(&wallet.unsigned_enable(&plan), out);
        }
        context.output.detail(|| show::operation::before_signing(&plan.prepared))?;
        for note in &plan.notes {
            context.output.warn("enable.note", note);
        }
        context.confirm("Enable now?")?;
        let enabled = wallet.execute_enable(plan, true).await?;
        let mut data = show::operation::json(&enabled.operation)?;
        data["keys"] = enabled.keys.iter().map(show::key::json).collect();
        finished(&enabled.operation, data, outcome_text(&enabled), context)
    }
}

fn plan_text(plan: &EnablePlan) -> String {
    let mut lines = show::plan::steps(&plan.steps);
    lines.push(show::operation::price(&plan.prepared));
    lines.join("\n")
}

fn outcome_text(enabled: &Enabled) -> String {
    format!("{}\n{}", show::operation::text(&enabled.operation), show::key::list(&enabled.keys))
}

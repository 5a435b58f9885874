use clap::Args;
use serde_json::{Value, json};

use crate::{
    cli::{
        args::amount,
        context::{Context, Done, done},
        offline_signing::{self, UnsignedArgs},
        outcome::finished,
        route::RouteArgs,
        show,
    },
    wallet::{
        coin::Coin,
        error::{Class, Error, Result},
        submit::routes::Submission,
        usecase::enable::{EnableIntent, EnablePlan, Enabled},
    },
};

/// The owner enables approvals on chain now, in their order
#[derive(Debug, Args)]
pub struct KeyEnableArgs {
    #[arg(required = true)]
    keys: Vec<String>,
    #[command(flatten)]
    route: RouteArgs,
    /// Most the operation or transaction may cost
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
        let intent = EnableIntent { keys: self.keys, route: self.route.preference(), max_cost };
        let plan = wallet.plan_enable(intent).await?;
        let preview = preview(&plan)?;
        context.known = preview.clone();
        let text = plan_text(&plan)?;
        if self.dry_run || self.route.print {
            return done(preview, text);
        }
        context.output.review(&text);
        if let Some(out) = self.unsigned.file() {
            return offline_signing::write(&wallet.unsigned_enable(&plan)?, out);
        }
        if let Some(prepared) = plan.submission().and_then(Submission::for_bundler) {
            context.output.detail(|| show::operation::before_signing(prepared))?;
        }
        for note in &plan.notes {
            context.output.warn("enable.note", note);
        }
        context.confirm("Enable now?")?;
        let enabled = wallet.execute_enable(plan, &()).await?;
        let mut data = show::operation::json(&enabled.operation)?;
        data["way"] = json!(enabled.route);
        data["keys"] = enabled.keys.iter().map(show::key::json).collect();
        if enabled.operation.is_waiting() {
            let hash = enabled.operation.user_op_hash;
            let message = "it was sent, and is not in a block yet: the keys are not enabled";
            let error = Error::new(Class::Chain, "enable.waiting", message).hint(format!(
                "follow it with `keyleash status {hash}`; if it is stuck, run enable again with --via owner"
            ));
            return context.failed(data, error);
        }
        finished(&enabled.operation, data, outcome_text(&enabled), context)
    }
}

fn preview(plan: &EnablePlan) -> Result<Value> {
    let price = plan.price();
    let mut preview = json!({
        "plan": plan.steps, "passed_over": plan.skipped, "way": price.as_ref().map(|p| p.route),
        "max_cost": price.as_ref().map(|p| p.max_cost.to_string()),
        "cap": price.as_ref().map(|p| p.ceiling.to_string()), "coin": price.as_ref().map(|p| p.coin),
        "replaces": price.as_ref().and_then(|p| p.replaces), "notes": plan.notes,
    });
    if price.is_none() {
        preview["calls"] = json!(plan.printed()?);
    }
    Ok(preview)
}

/// What enabling does, by which route, and what it can cost; or the calls for somebody else to send.
fn plan_text(plan: &EnablePlan) -> Result<String> {
    let mut lines = show::plan::steps(&plan.steps);
    lines.extend(plan.skipped.iter().map(show::plan::skipped));
    match plan.price() {
        Some(price) => lines.extend(show::plan::route_and_price(&price, 0)),
        None => lines.extend(show::plan::printed(&plan.printed()?)),
    }
    Ok(lines.join("\n"))
}

fn outcome_text(enabled: &Enabled) -> String {
    format!("{}\n{}", show::plan::sent(&enabled.operation, enabled.route), show::key::list(&enabled.keys))
}

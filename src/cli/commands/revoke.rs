//! Plan, preview, send on the first route that works, proof.

use clap::Args;
use serde_json::{Value, json};

use crate::{
    cli::{
        args::amount,
        context::{Context, Done, done},
        offline_signing::{self, UnsignedArgs},
        outcome::{finished, unsuccessful},
        route::RouteArgs,
        show,
    },
    protocol::power::in_brief,
    wallet::{
        Wallet,
        error::{Class, Error, Kind, Result},
        submit::routes::{Route, RoutePreference, Submission},
        usecase::revoke::{RevokeAction, RevokeIntent, RevokePlan, Revoked},
    },
};

/// Revoke keys: plan, preview, execute, proof
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct RevokeArgs {
    account: String,
    /// Keys: id, label or address
    #[arg(required_unless_present_any = ["all", "panic", "lift_panic", "reclaim"])]
    keys: Vec<String>,
    /// Revoke every enabled key of the account, also those not on record, and every approval on record
    #[arg(long, conflicts_with = "keys")]
    all: bool,
    /// Pause every key at once, until you unpause; needs little more than a node
    #[arg(long, visible_alias = "pause", conflicts_with_all = ["keys", "all"])]
    panic: bool,
    /// Unpause, and revoke every key that would work again
    #[arg(long, visible_alias = "unpause", conflicts_with_all = ["keys", "all", "panic"])]
    lift_panic: bool,
    /// Give the account back to its owner: restore the default validator, close functions that are routed elsewhere
    #[arg(long, conflicts_with_all = ["keys", "all", "panic", "lift_panic"])]
    reclaim: bool,
    /// With --unpause: a key that is to work again; may be given several times
    #[arg(long, value_name = "KEY", requires = "lift_panic")]
    keep: Vec<String>,
    #[command(flatten)]
    route: RouteArgs,
    /// Most one operation or transaction may cost
    #[arg(long, value_name = "AMOUNT")]
    max_cost: Option<String>,
    /// Show the plan and stop
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    unsigned: UnsignedArgs,
}

impl RevokeArgs {
    pub async fn run(self, context: &mut Context) -> Result<Done> {
        let wallet = context.open()?;
        let mut intent = RevokeIntent {
            account: self.account.clone(),
            action: self.action()?,
            route: self.route.preference(),
            max_cost: amount(wallet.coin_of_account(&self.account), "--max-cost", self.max_cost.as_deref())?,
        };
        let mut first_failure: Option<Error> = None;
        loop {
            let plan = match wallet.plan_revoke(intent.clone()).await {
                // The first attempt may have done it all after all: its failure is what there is to report.
                Err(error) if error.kind == Kind::NothingToRevoke => match first_failure {
                    Some(first) => return Err(first),
                    None => return nothing_to_revoke(&wallet, &self.account, error, context).await,
                },
                // No call of the owner's takes it back: what it is stands in `data`.
                Err(error) if error.class == Class::Remaining => {
                    let foreign = wallet.foreign_power(&self.account).await.unwrap_or_default();
                    return context.failed(json!({ "remaining": foreign }), error);
                }
                plan => plan?,
            };
            let preview = preview(&plan)?;
            context.known = preview.clone();
            let text = plan_text(&plan)?;
            if self.dry_run || self.route.print {
                return done(preview, text);
            }
            context.output.review(&text);
            if let Some(out) = self.unsigned.file() {
                return offline_signing::write(&wallet.unsigned_revoke(&plan)?, out);
            }
            if let Some(prepared) = plan.submission().and_then(Submission::for_bundler) {
                context.output.detail(|| show::operation::before_signing(prepared))?;
            }
            for warning in &plan.warnings {
                context.output.warn("revoke.warning", warning);
            }
            context.confirm(question(&intent.action))?;
            // An unpause that a bundler still holds could end a later pause; everything else does no harm when it is done twice.
            let can_go_on = intent.route == RoutePreference::Auto
                && by_bundler(&plan)
                && plan.account.owner_secret.is_some()
                && !matches!(intent.action, RevokeAction::LiftPanic { .. });
            match wallet.execute_revoke(plan, &()).await {
                Ok(revoked) => return report(revoked, context),
                Err(error) if can_go_on && error.class == Class::Chain => {
                    let message = format!("{}; falling back to the owner's own transaction", error.message);
                    context.output.warn("revoke.next_way", &message);
                    intent.route = RoutePreference::Owner;
                    first_failure = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn action(&self) -> Result<RevokeAction> {
        let chosen = [!self.keys.is_empty(), self.all, self.panic, self.lift_panic, self.reclaim];
        if chosen.iter().filter(|c| **c).count() != 1 {
            return Err(Error::usage("usage", "name keys, or pass one of --all, --pause, --unpause and --reclaim"));
        }
        Ok(match chosen {
            [_, true, ..] => RevokeAction::All,
            [_, _, true, ..] => RevokeAction::Panic,
            [_, _, _, true, _] => RevokeAction::LiftPanic { keep: self.keep.clone() },
            [.., true] => RevokeAction::Reclaim,
            _ => RevokeAction::Keys(self.keys.clone()),
        })
    }
}

/// No key is left to revoke. Whether nothing can act is another question.
async fn nothing_to_revoke(wallet: &Wallet, account: &str, error: Error, context: &mut Context) -> Result<Done> {
    match wallet.foreign_power(account).await {
        Ok(foreign) if !foreign.is_empty() => {
            let message = format!("{}; but {} can still act", error.message, in_brief(&foreign));
            let error = Error::new(Class::Remaining, "revoke.remaining", message).hint(format!(
                "reclaim the account with `keyleash revoke {account} --reclaim`; name other approvals to revoke them"
            ));
            context.failed(json!({ "remaining": foreign }), error)
        }
        // Reading it was an extra: a failure of that is not the answer.
        _ => Err(error),
    }
}

fn by_bundler(plan: &RevokePlan) -> bool {
    plan.price().is_some_and(|price| matches!(price.route, Route::Sponsor | Route::Bundler))
}

const fn question(action: &RevokeAction) -> &'static str {
    match action {
        RevokeAction::Keys(_) => "Revoke now?",
        RevokeAction::All => "Revoke every key of this account now?",
        RevokeAction::Panic => "Pause every key of this account now?",
        RevokeAction::LiftPanic { .. } => "Unpause the account now?",
        RevokeAction::Reclaim => "Reclaim the account now?",
    }
}

fn preview(plan: &RevokePlan) -> Result<Value> {
    let price = plan.price();
    let mut preview = json!({
        "plan": plan.steps, "also_revokes": plan.also_revokes, "passed_over": plan.skipped,
        "way": price.as_ref().map(|p| p.route), "max_cost": price.as_ref().map(|p| p.max_cost.to_string()),
        "cap": price.as_ref().map(|p| p.ceiling.to_string()), "coin": price.as_ref().map(|p| p.coin),
        "replaces": price.as_ref().and_then(|p| p.replaces),
        "further_operations": plan.further, "notes": plan.warnings, "remaining": plan.remaining,
    });
    if price.is_none() {
        preview["calls"] = json!(plan.printed()?);
    }
    Ok(preview)
}

/// What a revocation does, by which route, and what it can cost; or the calls for somebody else to send.
fn plan_text(plan: &RevokePlan) -> Result<String> {
    let mut lines = show::plan::steps(&plan.steps);
    lines.extend(plan.also_revokes.iter().map(|other| format!("  ! also revokes {other}")));
    for remaining in &plan.remaining {
        lines.push(format!("  ! not stopped by this: {} {}: {}", remaining.what, remaining.address, remaining.why));
    }
    lines.extend(plan.skipped.iter().map(show::plan::skipped));
    match plan.price() {
        Some(price) => lines.extend(show::plan::route_and_price(&price, plan.further)),
        None => lines.extend(show::plan::printed(&plan.printed()?)),
    }
    Ok(lines.join("\n"))
}

fn text(revoked: &Revoked) -> String {
    let mut lines = vec![show::plan::sent(&revoked.operation, revoked.route)];
    lines.extend(revoked.proofs.iter().map(show::proof::text));
    lines.extend(revoked.paused.as_ref().map(show::proof::paused));
    if revoked.proofs.is_empty() && revoked.paused.is_none() && !revoked.plan.is_empty() && revoked.ends_keys {
        lines.push("NOT PROVEN: treat the key as still active.".into());
    }
    lines.join("\n")
}

fn report(mut revoked: Revoked, context: &mut Context) -> Result<Done> {
    let mut data = show::operation::json(&revoked.operation)?;
    data["plan"] = json!(revoked.plan);
    data["also_revokes"] = json!(revoked.also_revokes);
    data["way"] = json!(revoked.route);
    data["proof"] = json!(revoked.proof);
    data["proofs"] = json!(revoked.proofs);
    data["paused"] = json!(revoked.paused);
    data["remaining"] = json!(revoked.remaining);
    let (verdict, words) = (revoked.verdict(), revoked.in_words());
    if let Some(error) = revoked.not_proven.take() {
        return context.failed(data, error);
    }
    if revoked.operation.phase == "sent" {
        let hash = revoked.operation.user_op_hash;
        let message = "the revocation was sent, but is not in a block yet: treat the key as still active";
        let error = Error::new(Class::Chain, "revoke.waiting", message).hint(format!(
            "follow and prove it with `keyleash status {hash}`; if it is stuck, run revoke again with --via owner"
        ));
        return context.failed(data, error);
    }
    let text = format!("{words}\n{}", text(&revoked));
    if let Some(error) = unsuccessful(verdict, &words) {
        context.output.review(&text);
        return context.failed(data, error);
    }
    finished(&revoked.operation, data, text, context)
}

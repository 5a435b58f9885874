//! `keyleash revoke`: plan, preview, send by the first route that works, proof.

use serde_json::{Value, json};

use super::{
    Done, Partial, amount,
    args::{Global, RevokeArgs, ViaChoice},
    done, finished, open,
    output::Output,
    render, show, unsigned_json, write_unsigned,
};
use crate::{
    protocol::power::in_brief,
    wallet::{
        Wallet,
        error::{Class, Error, Kind, Result},
        submit::routes::{Route, RoutePreference, Submission},
        usecase::revoke::{RevokeAction, RevokeIntent, RevokePlan, Revoked, Verdict},
    },
};

pub async fn revoke(global: &Global, args: RevokeArgs, output: &mut Output, partial: &mut Partial) -> Result<Done> {
    let wallet = open(global, output)?;
    let mut intent = RevokeIntent {
        account: args.account.clone(),
        action: action(&args)?,
        route: preference(args.print, args.via),
        max_cost: amount(wallet.coin_of_account(&args.account), "--max-cost", args.max_cost.as_deref())?,
    };
    let mut trouble: Option<Error> = None;
    loop {
        let plan = match wallet.plan_revoke(intent.clone()).await {
            // What was sent before may have done it all: the trouble with that is what there is to tell.
            Err(error) if error.kind == Kind::NothingToRevoke => match trouble {
                Some(first) => return Err(first),
                None => return Err(nothing(&wallet, &args, error, partial).await),
            },
            plan => plan?,
        };
        let preview = preview(&plan)?;
        *partial = preview.clone();
        let text = show::revoke_plan(&plan)?;
        if args.dry_run || args.print {
            return done(preview, text);
        }
        output.review(&text);
        if let Some(out) = &args.out {
            return write_unsigned(&wallet.unsigned_revoke(&plan)?, out);
        }
        if let Some(prepared) = plan.submission().and_then(Submission::for_bundler) {
            output.detail(|| unsigned_json(prepared));
        }
        for warning in &plan.warnings {
            output.warn("revoke.warning", warning);
        }
        output.confirm(question(&intent.action), global.yes)?;
        // An unpausing that a bundler still holds could end a later pause; everything else does no harm when it is done twice.
        let can_go_on = intent.route == RoutePreference::Auto
            && by_bundler(&plan)
            && plan.account.owner_secret.is_some()
            && !matches!(intent.action, RevokeAction::LiftPanic { .. });
        match wallet.execute_revoke(plan, &()).await {
            Ok(revoked) => return report(revoked, output, partial),
            Err(error) if can_go_on && error.class == Class::Chain => {
                let message = format!("{}; going on with the owner's own transaction", error.message);
                output.warn("revoke.next_way", &message);
                intent.route = RoutePreference::Owner;
                trouble = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
}

/// No key is left to revoke. Whether nothing can act is another question.
async fn nothing(wallet: &Wallet, args: &RevokeArgs, error: Error, partial: &mut Partial) -> Error {
    match wallet.foreign_power(&args.account).await {
        Ok(foreign) if !foreign.is_empty() => {
            *partial = json!({ "remaining": foreign });
            let message = format!("{}; but {} can still act", error.message, in_brief(&foreign));
            remains(message, &args.account)
        }
        // What could not be read was not asked for.
        _ => error,
    }
}

fn remains(message: String, account: &str) -> Error {
    Error::new(Class::Remaining, "revoke.remaining", message).hint(format!(
        "take the account back with `keyleash revoke {account} --reclaim`; name other approvals to revoke them"
    ))
}

fn action(args: &RevokeArgs) -> Result<RevokeAction> {
    let chosen = [!args.keys.is_empty(), args.all, args.panic, args.lift_panic, args.reclaim];
    if chosen.iter().filter(|c| **c).count() != 1 {
        return Err(Error::usage("usage", "name keys, or say one of --all, --pause, --unpause and --reclaim"));
    }
    Ok(match chosen {
        [_, true, ..] => RevokeAction::All,
        [_, _, true, ..] => RevokeAction::Panic,
        [_, _, _, true, _] => RevokeAction::LiftPanic { keep: args.keep.clone() },
        [.., true] => RevokeAction::Reclaim,
        _ => RevokeAction::Keys(args.keys.clone()),
    })
}

pub const fn preference(print: bool, via: ViaChoice) -> RoutePreference {
    match (print, via) {
        (true, _) => RoutePreference::Print,
        (_, ViaChoice::Auto) => RoutePreference::Auto,
        (_, ViaChoice::Bundler) => RoutePreference::Bundler,
        (_, ViaChoice::Owner) => RoutePreference::Owner,
        (_, ViaChoice::HandleOps) => RoutePreference::HandleOps,
    }
}

fn by_bundler(plan: &RevokePlan) -> bool {
    plan.price().is_some_and(|price| matches!(price.route, Route::Sponsor | Route::Bundler))
}

const fn question(action: &RevokeAction) -> &'static str {
    match action {
        RevokeAction::Keys(_) => "Revoke now?",
        RevokeAction::All => "End every key of this account now?",
        RevokeAction::Panic => "Stop every key of this account now?",
        RevokeAction::LiftPanic { .. } => "Unpause the account now?",
        RevokeAction::Reclaim => "Take the account back now?",
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

/// What keeps a revocation that was mined from being a success, by its verdict.
pub fn failure(verdict: Verdict, words: &str) -> Option<Error> {
    match verdict {
        Verdict::Remaining => Some(
            Error::new(Class::Remaining, "revoke.remaining", words)
                .hint("see `data.remaining`; `keyleash revoke ACCOUNT --reclaim` takes the account back from what is not a session key"),
        ),
        Verdict::NotProven => {
            Some(Error::failed("revoke.not_proven", format!("it was mined, but {words}")).hint("run it again"))
        }
        Verdict::Proven | Verdict::Done | Verdict::Waiting | Verdict::Failed => None,
    }
}

fn report(mut revoked: Revoked, output: &mut Output, partial: &mut Partial) -> Result<Done> {
    let mut data = render::operation(&revoked.operation);
    data["plan"] = json!(revoked.plan);
    data["also_revokes"] = json!(revoked.also_revokes);
    data["way"] = json!(revoked.route);
    data["proof"] = json!(revoked.proof);
    data["proofs"] = json!(revoked.proofs);
    data["paused"] = json!(revoked.paused);
    data["remaining"] = json!(revoked.remaining);
    let (verdict, words) = (revoked.verdict(), revoked.in_words());
    if let Some(error) = revoked.not_proven.take() {
        *partial = data;
        return Err(error);
    }
    if revoked.operation.phase == "sent" {
        *partial = data;
        let hash = revoked.operation.user_op_hash;
        return Err(Error::new(
            Class::Chain,
            "revoke.waiting",
            "the revocation was sent, and is not in a block yet: treat the key as still active",
        )
        .hint(format!(
            "follow and prove it with `keyleash status {hash}`; if it is stuck, run revoke again with --via owner"
        )));
    }
    let text = format!("{words}\n{}", show::revoked(&revoked));
    if let Some(error) = failure(verdict, &words) {
        output.review(&text);
        *partial = data;
        return Err(error);
    }
    finished(&revoked.operation, data, text, partial)
}

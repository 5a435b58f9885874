//! Revoking: one key, several, all of an account; and pausing all at once, or unpausing.
//! The plan in words, the most it can cost, a fresh confirmation, progress, and the proof. A plan that went stale while it was
//! read is made again and shown with what changed.

use ratatui::{Frame, layout::Rect};

use super::{
    Copyable, Cx, Heading, Next, Opened, Screen, View,
    review::Review,
    rows::{changed_rows, cost_rows, operation_rows, printed_rows, skipped_rows},
    stages::{Moved, Stage, Stages, Words},
};
use crate::{
    tui::{
        data::{AccountId, AccountRow, Data},
        jobs::Jobs,
        keymap::{Command, Place},
        keys::{GONE, own, why_not_revoke, why_not_revoke_all},
        message::{Effect, JobId, Report, RevokePreview},
        widget::sheet::Row,
    },
    wallet::{
        coin::Coin,
        error::{Class, Kind},
        state::State as KeyState,
        submit::routes::{Route, RoutePreference},
        usecase::{
            account::AccountView,
            key::KeyView,
            revoke::{PHASES, RevokeAction, RevokeIntent, Revoked, Verdict},
        },
    },
};

#[derive(Debug)]
pub struct State {
    pub account: String,
    action: RevokeAction,
    route: RoutePreference,
    /// The owner's key is not here: the calls are for the owner's wallet to send.
    elsewhere: bool,
    /// The keys by name: "mint-bot", "3 keys".
    what: String,
    stages: Stages,
    /// What was confirmed, in case it turns out to be stale.
    shown: Option<Box<RevokePreview>>,
}

/// For one key or several.
pub fn open(keys: Vec<String>, cx: &mut Cx<'_>) -> Opened {
    let keys: Vec<&KeyView> = keys.iter().filter_map(|id| cx.data.key(id)).collect();
    if let Some(why) = why_not_revoke(&keys, cx.data) {
        return Err(why);
    }
    // What is over already would only make the plan fail.
    let over = |k: &KeyView| matches!(k.state, KeyState::Revoked | KeyState::Dead);
    let keys: Vec<&&KeyView> = keys.iter().filter(|k| !over(k)).collect();
    let account = keys.first().and_then(|k| own(k, cx.data)).ok_or(GONE)?;
    let what = match keys.as_slice() {
        [only] => only.label.clone(),
        several => format!("{} keys", several.len()),
    };
    Ok(start(account, RevokeAction::Keys(keys.iter().map(|k| k.key_id.clone()).collect()), what, cx))
}

/// For all keys of an account: revoked, paused, or unpaused.
pub fn open_all(account: Option<AccountId>, action: RevokeAction, cx: &mut Cx<'_>) -> Opened {
    let account = account.and_then(|id| cx.data.account(&id));
    if let Some(why) = why_not_revoke_all(account) {
        return Err(why);
    }
    let view = account.and_then(|a| a.view.as_ref()).ok_or("no account yet; press m to add one")?;
    Ok(start(view, action, format!("all session keys of {}", view.name), cx))
}

fn start(account: &AccountView, action: RevokeAction, what: String, cx: &mut Cx<'_>) -> Box<dyn Screen> {
    let elsewhere = account.watch_only;
    let route = if elsewhere { RoutePreference::Print } else { RoutePreference::Auto };
    let account = account.name.clone();
    let intent = RevokeIntent { account: account.clone(), action: action.clone(), route, max_cost: None };
    let words = Words::sent(title(&action, &what), &PHASES);
    let stages = Stages::plan(words, format!("planning for {what}"), cx, |job| Effect::PlanRevoke { job, intent });
    Box::new(State { account, action, route, elsewhere, what, stages, shown: None })
}

impl State {
    /// Asks for another plan, and waits for it.
    fn plan_again(&mut self, cx: &mut Cx<'_>) {
        let (account, action) = (self.account.clone(), self.action.clone());
        let intent = RevokeIntent { account, action, route: self.route, max_cost: None };
        let name = format!("planning for {}", self.what);
        self.stages.plan_again(name, cx, |job| Effect::PlanRevoke { job, intent });
    }

    /// Whether the calls can be had, to be sent from elsewhere, instead of sending them from here.
    fn can_print(&self) -> bool {
        self.route != RoutePreference::Print && matches!(self.stages.stage, Stage::Review { .. } | Stage::Failed(..))
    }

    fn was_by_bundler(&self) -> bool {
        let route = self.shown.as_ref().and_then(|p| p.price.as_ref()).map(|p| p.route);
        let lifts = matches!(self.action, RevokeAction::LiftPanic { .. });
        self.route == RoutePreference::Auto && !lifts && matches!(route, Some(Route::Sponsor | Route::Bundler))
    }
}

impl Screen for State {
    fn places(&self) -> Vec<Place> {
        let mut places = self.stages.places();
        if self.can_print() {
            places.insert(0, Place::Sendable);
        }
        places
    }

    fn command(&mut self, command: Command, cx: &mut Cx<'_>) -> Next {
        if command == Command::Print && self.can_print() {
            self.stages.leave(cx.jobs, cx.effects);
            self.route = RoutePreference::Print;
            self.plan_again(cx);
            return Next::Stay;
        }
        match self.stages.command(command, cx) {
            Moved::Stay => Next::Stay,
            Moved::Undone | Moved::Back => Next::Back,
            Moved::Confirmed(_) => {
                let name = doing(&self.action, &self.what);
                self.stages.run(name, true, cx, |job, plan| Effect::SendRevoke { job, plan });
                Next::Stay
            }
        }
    }

    fn copyable(&self, _: &Data) -> Option<Copyable> {
        let text = self.stages.outcome()?;
        Some(Copyable { what: "this proof".into(), file: "revocation".into(), text })
    }

    fn resized(&mut self, _: &mut Cx<'_>) {
        self.stages.resized();
    }

    fn drawn(&mut self, cx: &mut Cx<'_>) {
        self.stages.drawn(cx);
    }

    fn report(&mut self, job: JobId, report: &Report, cx: &mut Cx<'_>) -> bool {
        if !self.stages.waits_for(job) {
            return false;
        }
        *cx.notice = None;
        let sending = self.stages.is_running();
        match report {
            Report::RevokePlanned(preview) if preview.price.is_none() => {
                // Nobody signs it here, so nothing of it is kept.
                cx.effects.push(Effect::Forget { plan: job });
                let mut rows = critical_rows(&self.account, cx.data);
                rows.extend(step_rows(&title(&self.action, &self.what), preview));
                rows.push(Row::Blank);
                rows.extend(printed_rows(&preview.calls, self.elsewhere));
                rows.push(Row::Caution(
                    "the key stays active until these are in a block; press r on home to refresh".into(),
                ));
                self.stages.go(Stage::Done(rows));
            }
            Report::RevokePlanned(preview) => {
                let mut rows = Vec::new();
                if let (Some(before), Some(why)) = (&self.shown, self.stages.take_stale()) {
                    rows.extend(changed_rows(
                        &why,
                        preview.price.as_ref().map_or_else(Coin::unlisted, |p| p.coin),
                        before.gist(),
                        preview.gist(),
                    ));
                }
                rows.extend(critical_rows(&self.account, cx.data));
                rows.extend(plan_rows(&title(&self.action, &self.what), preview));
                self.shown = Some(preview.clone());
                self.stages.review(job, Review::new(verb(&self.action), rows, &[]));
            }
            Report::Revoked(revoked) => {
                // Somebody was faster, and the whole of it was reverted.
                if let Some(raced) = revoked.not_proven.as_ref().filter(|e| e.kind == Kind::Raced) {
                    self.stages.went_stale(raced);
                    self.plan_again(cx);
                    return true;
                }
                self.stages.go(Stage::Done(result_rows(&self.action, &self.what, revoked, cx.data)));
            }
            Report::Failed(error) if self.stages.is_stale(error) => {
                self.stages.went_stale(error);
                self.plan_again(cx);
            }
            // The next route, where the bundler fails. Should it still do its part: revoking twice is revoking. Unpausing is
            // not tried again: one that lands late could undo a later pause.
            Report::Failed(error) if sending && error.class == Class::Chain && self.was_by_bundler() => {
                self.stages.went_stale(error);
                self.route = RoutePreference::Owner;
                self.plan_again(cx);
            }
            Report::Failed(error) => {
                let what = format!("{}: not done", title(&self.action, &self.what));
                self.stages.go(Stage::Failed(what, error.clone()));
            }
            _ => return false,
        }
        true
    }

    fn leave(&mut self, jobs: &mut Jobs, effects: &mut Vec<Effect>) {
        self.stages.leave(jobs, effects);
    }

    fn heading(&self, view: &View<'_>) -> Heading {
        Heading::named(view, &self.account)
    }

    fn render(&self, view: &View<'_>, frame: &mut Frame<'_>, area: Rect) {
        self.stages.render(view, frame, area);
    }
}

fn title(action: &RevokeAction, what: &str) -> String {
    match action {
        RevokeAction::Keys(_) | RevokeAction::All => format!("Revoke {what}"),
        RevokeAction::Panic => format!("Pause {what}"),
        RevokeAction::LiftPanic { .. } => format!("Unpause {what}"),
        RevokeAction::Reclaim => format!("Reclaim {what}"),
    }
}

fn doing(action: &RevokeAction, what: &str) -> String {
    match action {
        RevokeAction::Keys(_) | RevokeAction::All => format!("revoking {what}"),
        RevokeAction::Panic => format!("pausing {what}"),
        RevokeAction::LiftPanic { .. } => format!("unpausing {what}"),
        RevokeAction::Reclaim => format!("reclaiming {what}"),
    }
}

/// What the confirming key does.
fn verb(action: &RevokeAction) -> &'static str {
    match action {
        RevokeAction::Keys(_) | RevokeAction::All => "revoke",
        RevokeAction::Panic => "pause them all",
        RevokeAction::LiftPanic { .. } => "unpause",
        RevokeAction::Reclaim => "reclaim it",
    }
}

/// That someone else can act for the account: revoking keys does not change that.
fn critical_rows(account: &str, data: &Data) -> Vec<Row> {
    let row = data.accounts.iter().find(|a| a.name == account);
    let mut rows: Vec<Row> =
        row.into_iter().flat_map(AccountRow::critical).map(|f| Row::Bad(f.message.clone())).collect();
    if !rows.is_empty() {
        rows.push(Row::Blank);
    }
    rows
}

fn step_rows(title: &str, preview: &RevokePreview) -> Vec<Row> {
    let mut rows = vec![
        Row::Head(title.to_owned()),
        Row::Fact("account", format!("{} {}", preview.account, preview.address)),
        Row::Fact("network", preview.network.clone()),
        Row::Blank,
        Row::Head("What is sent".into()),
    ];
    for step in &preview.steps {
        rows.push(Row::Item(step.effect.clone()));
        rows.push(Row::Note(step.call.clone()));
    }
    for other in &preview.also_revokes {
        rows.push(Row::Bad(format!("{other} will no longer be able to act either")));
    }
    rows.extend(preview.warnings.iter().map(|w| Row::Caution(w.clone())));
    rows
}

fn plan_rows(title: &str, preview: &RevokePreview) -> Vec<Row> {
    let mut rows = step_rows(title, preview);
    rows.push(Row::Blank);
    if let Some(price) = &preview.price {
        rows.extend(cost_rows(price));
    }
    if preview.further > 0 {
        rows.push(Row::Caution(format!(
            "this Kernel version cannot batch calls: {} more operation(s) follow, each costing at most 2x this amount",
            preview.further
        )));
    }
    rows.extend(skipped_rows(&preview.skipped));
    rows
}

fn result_rows(action: &RevokeAction, what: &str, revoked: &Revoked, data: &Data) -> Vec<Row> {
    let operation = &revoked.operation;
    let mut rows = Vec::new();
    let are = match action {
        RevokeAction::Keys(keys) if keys.len() == 1 => "is",
        _ => "are",
    };
    let (done, not) = match action {
        RevokeAction::Keys(_) | RevokeAction::All => {
            (format!("{what} {are} revoked"), format!("{what} {are} NOT revoked"))
        }
        RevokeAction::Panic => (format!("{what} {are} paused"), format!("{what} {are} NOT paused")),
        RevokeAction::LiftPanic { .. } => (format!("{what} {are} unpaused"), format!("{what} {are} NOT unpaused")),
        RevokeAction::Reclaim => (format!("{what} is reclaimed"), format!("{what} is NOT reclaimed")),
    };
    let verdict = revoked.verdict();
    rows.push(Row::Head(match verdict {
        Verdict::Proven => format!("{done}, and that is proven"),
        Verdict::Done => done,
        Verdict::Remaining => format!("{done}, and that is proven; something else can still act"),
        Verdict::NotProven => format!("{what}: mined, but NOT PROVEN: treat as still active"),
        Verdict::Failed if operation.is_refused() => format!("{not}: it was refused and can no longer be mined"),
        Verdict::Failed => format!("{not}: the operation failed"),
        Verdict::Waiting => format!("{what}: sent, and not in a block yet"),
    }));
    for left in &revoked.remaining {
        rows.push(Row::Bad(format!("can still act: {} {}: {}", left.what, left.address, left.why)));
    }
    rows.push(Row::Blank);
    for proof in &revoked.proofs {
        if revoked.proofs.len() > 1 {
            rows.push(Row::Text(data.key(&proof.key_id).map_or_else(|| proof.key_id.clone(), |k| k.label.clone())));
        }
        if !proof.before.is_empty() {
            let before = format!("replayed before, at block {}: {}", proof.before_block, proof.before);
            rows.push(Row::Item(before));
        }
        rows.push(Row::Good(format!("replayed after, at block {}: refused, \"{}\"", proof.block, proof.replay)));
    }
    if let Some(paused) = &revoked.paused {
        let mode = format!("read back at block {}: the account refuses every session key", paused.block);
        rows.push(Row::Good(mode));
        rows.push(Row::Note(format!("disabled mode {:#010x}", paused.disabled_mode)));
        rows.push(Row::Caution(
            "this pauses keys, it does not revoke them: ! on home unpauses, and revokes the keys you do not keep"
                .into(),
        ));
    }
    if let Some(why) = &revoked.not_proven {
        rows.push(Row::Bad(why.message.clone()));
        if !why.hint.is_empty() {
            rows.push(Row::Advice(why.hint.clone()));
        }
    }
    if matches!(verdict, Verdict::NotProven | Verdict::Waiting | Verdict::Failed) {
        let advice = match action {
            RevokeAction::Keys(keys) if keys.len() == 1 => "treat this key as still active and retry the revocation",
            RevokeAction::Keys(_) | RevokeAction::All => "treat these keys as still active and retry the revocation",
            RevokeAction::Panic | RevokeAction::LiftPanic { .. } | RevokeAction::Reclaim => {
                "treat the keys as still active and retry"
            }
        };
        rows.push(Row::Bad(advice.into()));
    }
    if let Some(reason) = &operation.revert_reason {
        rows.push(Row::Bad(format!("reason: {reason}")));
    }
    rows.push(Row::Blank);
    rows.extend(operation_rows(operation));
    rows
}

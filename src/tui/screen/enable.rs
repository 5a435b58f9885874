//! Enabling what is signed, in its order, so that a queued approval need not wait for another agent's first use.

use ratatui::{Frame, layout::Rect};

use super::{
    Copyable, Cx, Heading, Next, Opened, Screen, View,
    review::Review,
    rows::{changed_rows, cost_rows, operation_rows, printed_rows, skipped_rows},
    stages::{Moved, Stage, Stages, Words},
};
use crate::{
    tui::{
        data::Data,
        jobs::Jobs,
        keymap::{Command, Place},
        keys::{GONE, own, why_not_enable},
        message::{Effect, EnablePreview, JobId, Report},
        widget::sheet::Row,
    },
    wallet::{
        coin::Coin,
        state::State as KeyState,
        submit::routes::RoutePreference,
        usecase::{
            enable::{EnableIntent, Enabled, PHASES},
            key::KeyView,
        },
    },
};

#[derive(Debug)]
pub struct State {
    pub account: String,
    keys: Vec<String>,
    what: String,
    route: RoutePreference,
    /// The owner's key is not here: the calls are for the owner's wallet to send.
    elsewhere: bool,
    stages: Stages,
    /// What was confirmed, in case it turns out to be stale.
    shown: Option<Box<EnablePreview>>,
}

/// The keys whose nonces come before that of a key that is queued: it cannot be enabled without them.
fn waits_for<'a>(key: &KeyView, data: &'a Data) -> Vec<&'a KeyView> {
    let nonce = |k: &KeyView| k.nonce.parse::<u128>().ok();
    let Some(account) = data.account_of(key).filter(|_| key.state == KeyState::Queued) else { return Vec::new() };
    let before = |k: &&KeyView| {
        k.validator == key.validator
            && matches!(k.state, KeyState::Pending | KeyState::Queued)
            && nonce(k).zip(nonce(key)).is_some_and(|(one, other)| one < other)
    };
    data.keys_of(account).filter(before).collect()
}

pub fn open(keys: Vec<String>, cx: &mut Cx<'_>) -> Opened {
    let keys: Vec<&KeyView> = keys.iter().filter_map(|id| cx.data.key(id)).collect();
    if let Some(why) = why_not_enable(&keys, cx.data) {
        return Err(why);
    }
    let account = keys.first().and_then(|k| own(k, cx.data)).ok_or(GONE)?;
    let elsewhere = account.watch_only;
    let route = if elsewhere { RoutePreference::Print } else { RoutePreference::Auto };
    let account = account.name.clone();
    let before = keys.first().filter(|_| keys.len() == 1).map(|key| waits_for(key, cx.data)).unwrap_or_default();
    let what = match (keys.as_slice(), before.len()) {
        ([only], 0) => only.label.clone(),
        ([only], n) => format!("{} and {n} queued before it", only.label),
        (several, _) => format!("{} keys", several.len()),
    };
    let keys: Vec<String> = before.iter().chain(&keys).map(|k| k.key_id.clone()).collect();
    let words = Words::sent(format!("Enable {what}"), &PHASES);
    let intent = EnableIntent { keys: keys.clone(), route, max_cost: None };
    let stages =
        Stages::plan(words, format!("planning to enable {what}"), cx, |job| Effect::PlanEnable { job, intent });
    Ok(Box::new(State { account, keys, what, route, elsewhere, stages, shown: None }))
}

impl State {
    /// Asks for another plan, and waits for it.
    fn plan_again(&mut self, cx: &mut Cx<'_>) {
        let intent = EnableIntent { keys: self.keys.clone(), route: self.route, max_cost: None };
        let name = format!("planning to enable {}", self.what);
        self.stages.plan_again(name, cx, |job| Effect::PlanEnable { job, intent });
    }

    /// Whether the calls can be had, to be sent from elsewhere, instead of sending them from here.
    fn can_print(&self) -> bool {
        self.route != RoutePreference::Print && matches!(self.stages.stage, Stage::Review { .. } | Stage::Failed(..))
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
                let name = format!("enabling {}", self.what);
                self.stages.run(name, true, cx, |job, plan| Effect::SendEnable { job, plan });
                Next::Stay
            }
        }
    }

    fn copyable(&self, _: &Data) -> Option<Copyable> {
        let text = self.stages.outcome()?;
        Some(Copyable { what: "this result".into(), file: "enabled".into(), text })
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
        match report {
            Report::EnablePlanned(preview) if preview.price.is_none() => {
                // Nobody signs it here, so nothing of it is kept.
                cx.effects.push(Effect::Forget { plan: job });
                let mut rows = step_rows(&self.what, preview);
                rows.push(Row::Blank);
                rows.extend(printed_rows(&preview.calls, self.elsewhere));
                rows.push(Row::Dim("once these are in a block, press r on home to refresh".into()));
                self.stages.go(Stage::Done(rows));
            }
            Report::EnablePlanned(preview) => {
                let mut rows = Vec::new();
                if let (Some(before), Some(why)) = (&self.shown, self.stages.take_stale()) {
                    let coin = preview.price.as_ref().map_or_else(Coin::unlisted, |p| p.coin);
                    rows.extend(changed_rows(&why, coin, before.gist(), preview.gist()));
                }
                rows.extend(plan_rows(&self.what, preview));
                self.shown = Some(preview.clone());
                self.stages.review(job, Review::new("enable", rows, &[]));
            }
            Report::Enabled(enabled) => self.stages.go(Stage::Done(result_rows(&self.what, enabled))),
            Report::Failed(error) if self.stages.is_stale(error) => {
                self.stages.went_stale(error);
                self.plan_again(cx);
            }
            Report::Failed(error) => {
                self.stages.go(Stage::Failed(format!("{} was not enabled", self.what), error.clone()));
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

fn step_rows(what: &str, preview: &EnablePreview) -> Vec<Row> {
    let mut rows = vec![
        Row::Head(format!("Enable {what} on chain now")),
        Row::Fact("account", format!("{} {}", preview.account, preview.address)),
        Row::Fact("network", preview.network.clone()),
        Row::Dim("Usually not needed: a key is enabled by its first use.".into()),
        Row::Blank,
        Row::Head("What is sent".into()),
    ];
    for step in &preview.steps {
        rows.push(Row::Item(step.effect.clone()));
        rows.push(Row::Note(step.call.clone()));
    }
    rows.extend(preview.notes.iter().map(|note| Row::Caution(note.clone())));
    rows
}

fn plan_rows(what: &str, preview: &EnablePreview) -> Vec<Row> {
    let mut rows = step_rows(what, preview);
    rows.push(Row::Blank);
    rows.extend(preview.price.iter().flat_map(cost_rows));
    rows.extend(skipped_rows(&preview.skipped));
    rows
}

fn result_rows(what: &str, enabled: &Enabled) -> Vec<Row> {
    let operation = &enabled.operation;
    let mut rows = vec![Row::Head(match operation.success {
        Some(true) => format!("{what}: done"),
        Some(false) => format!("{what}: NOT enabled, the operation failed"),
        None => format!("{what}: sent, and not in a block yet"),
    })];
    for key in &enabled.keys {
        let text = format!("{} is {}: {}", key.label, key.state, key.state_reason);
        let enabled = matches!(key.state, KeyState::Active | KeyState::Expiring | KeyState::NotYet);
        rows.push(if enabled { Row::Good(text) } else { Row::Caution(text) });
    }
    if let Some(reason) = &operation.revert_reason {
        rows.push(Row::Bad(format!("reason: {reason}")));
    }
    rows.push(Row::Blank);
    rows.extend(operation_rows(operation));
    rows
}

//! From an answered form to a signed approval: the plan, its review, the signature, and exporting it. The wizard and the form for
//! a policy file are each a [`GrantForm`], and a screen as [`Granting`].

use ratatui::{Frame, layout::Rect};

use super::{
    Cx, Heading, Next, Screen, View,
    handover::Handover,
    review::{self, Review},
    stages::{Moved, Stage, Stages, Words},
};
use crate::{
    tui::{
        form::Field,
        jobs::Jobs,
        keymap::{Command, Place},
        message::{Effect, GrantPreview, GrantRequest, JobId, PolicySource, Report},
        widget::sheet::Row,
    },
    wallet::{error::Error, state::State, usecase::grant::Granted},
};

/// A form that asks what is to be granted.
pub trait GrantForm {
    fn places(&self) -> Vec<Place>;

    fn field(&mut self) -> Option<&mut Field>;

    fn command(&mut self, command: Command, cx: &mut Cx<'_>) -> Answered;

    fn edited(&mut self, cx: &mut Cx<'_>);

    /// Hears of jobs of its own.
    fn report(&mut self, _: JobId, _: &Report, _: &mut Cx<'_>) -> bool {
        false
    }

    /// What was asked for cannot be granted; the form is shown again, with everything that was typed.
    fn failed(&mut self, error: Error);

    fn leave(&mut self, _: &mut Jobs, _: &mut Vec<Effect>) {}

    fn heading(&self, view: &View<'_>) -> Heading;

    fn render(&self, view: &View<'_>, frame: &mut Frame<'_>, area: Rect);
}

/// What the form made of a command.
pub enum Answered {
    Go(Next),
    /// All of it is answered.
    Grant(GrantRequest),
}

/// The form, and what follows it once it is answered.
#[derive(Debug)]
pub struct Granting<F> {
    form: F,
    flow: Option<GrantFlow>,
}

impl<F> Granting<F> {
    pub const fn new(form: F) -> Self {
        Self { form, flow: None }
    }
}

impl<F: GrantForm> Screen for Granting<F> {
    fn places(&self) -> Vec<Place> {
        self.flow.as_ref().map_or_else(|| self.form.places(), GrantFlow::places)
    }

    fn field(&mut self) -> Option<&mut Field> {
        match &mut self.flow {
            Some(flow) => flow.field(),
            None => self.form.field(),
        }
    }

    fn command(&mut self, command: Command, cx: &mut Cx<'_>) -> Next {
        let Some(flow) = &mut self.flow else {
            return match self.form.command(command, cx) {
                Answered::Go(next) => next,
                Answered::Grant(request) => {
                    self.flow = Some(GrantFlow::start(request, cx));
                    Next::Stay
                }
            };
        };
        match flow.command(command, cx) {
            Moved::Back => return Next::Back,
            Moved::Undone => self.flow = None,
            Moved::Stay | Moved::Confirmed(_) => {}
        }
        Next::Stay
    }

    fn edited(&mut self, cx: &mut Cx<'_>) {
        match &mut self.flow {
            Some(flow) => flow.edited(),
            None => self.form.edited(cx),
        }
    }

    fn resized(&mut self, _: &mut Cx<'_>) {
        if let Some(flow) = &mut self.flow {
            flow.stages.resized();
        }
    }

    fn drawn(&mut self, cx: &mut Cx<'_>) {
        if let Some(flow) = &mut self.flow {
            flow.stages.drawn(cx);
        }
    }

    fn report(&mut self, job: JobId, report: &Report, cx: &mut Cx<'_>) -> bool {
        if self.form.report(job, report, cx) {
            return true;
        }
        let Some(flow) = &mut self.flow else { return false };
        let (mine, failed) = flow.report(job, report, cx);
        if let Some(error) = failed {
            self.form.failed(error);
            self.flow = None;
        }
        mine
    }

    fn leave(&mut self, jobs: &mut Jobs, effects: &mut Vec<Effect>) {
        self.form.leave(jobs, effects);
        if let Some(flow) = &self.flow {
            flow.stages.leave(jobs, effects);
        }
    }

    fn heading(&self, view: &View<'_>) -> Heading {
        self.form.heading(view)
    }

    fn render(&self, view: &View<'_>, frame: &mut Frame<'_>, area: Rect) {
        match &self.flow {
            Some(flow) => flow.render(view, frame, area),
            None => self.form.render(view, frame, area),
        }
    }
}

#[derive(Debug)]
struct GrantFlow {
    request: GrantRequest,
    stages: Stages,
    /// What was signed is handed over.
    signed: Option<Box<Handover>>,
}

/// What a plan is called while it is made.
const PLANNING: &str = "preparing the approval";

impl GrantFlow {
    fn start(request: GrantRequest, cx: &mut Cx<'_>) -> Self {
        let words = Words {
            planning: vec![
                Row::Head("Preparing the approval".into()),
                Row::Text("Reading the account from its chain…".into()),
                Row::Dim("Nothing is signed yet. Esc goes back.".into()),
            ],
            running: vec![Row::Head("Signing…".into())],
            meanwhile: "Esc goes back; this continues, and the key will be in the list.",
            ..Words::default()
        };
        let wanted = request.clone();
        let stages = Stages::plan(words, PLANNING, cx, |job| Effect::PlanGrant { job, request: wanted });
        Self { request, stages, signed: None }
    }

    fn places(&self) -> Vec<Place> {
        self.signed.as_ref().map_or_else(|| self.stages.places(), |signed| signed.places())
    }

    fn field(&mut self) -> Option<&mut Field> {
        match &mut self.signed {
            Some(signed) => signed.field(),
            None => self.stages.field(),
        }
    }

    fn edited(&mut self) {
        if let Some(signed) = &mut self.signed {
            signed.edited();
        }
    }

    fn command(&mut self, command: Command, cx: &mut Cx<'_>) -> Moved {
        if let Some(signed) = &mut self.signed {
            return match signed.command(command, cx) {
                Next::Back => Moved::Back,
                _ => Moved::Stay,
            };
        }
        match self.stages.command(command, cx) {
            Moved::Undone => {
                self.stages.leave(cx.jobs, cx.effects);
                Moved::Undone
            }
            Moved::Confirmed(accepted) => {
                let sign = |job, plan| Effect::SignGrant { job, plan, accepted };
                self.stages.run("signing the approval", false, cx, sign);
                Moved::Stay
            }
            moved => moved,
        }
    }

    /// Answers whether the report was for it, and the failure that the form should show.
    fn report(&mut self, job: JobId, report: &Report, cx: &mut Cx<'_>) -> (bool, Option<Error>) {
        if let Some(signed) = &mut self.signed {
            return (signed.report(job, report, cx), None);
        }
        if !self.stages.waits_for(job) {
            return (false, None);
        }
        *cx.notice = None;
        match report {
            Report::GrantPlanned(preview) => {
                let step = match self.request.policy {
                    PolicySource::Made(_) => "Step 6 of 6 · ",
                    PolicySource::File(_) => "",
                };
                let rows = plan_rows(step, preview, self.stages.take_stale().map(|why| why.message));
                self.stages.review(job, Review::new("sign", rows, &preview.findings));
            }
            Report::Granted(granted) => {
                let rows = result_rows(granted);
                self.stages.go(Stage::Done(rows.clone()));
                self.signed = Some(Box::new(Handover::new(&granted.key, rows)));
            }
            // Shown again as it is now, with what changed.
            Report::Failed(error) if self.stages.is_stale(error) => {
                self.stages.went_stale(error);
                let request = self.request.clone();
                self.stages.plan_again(PLANNING, cx, |job| Effect::PlanGrant { job, request });
            }
            Report::Failed(error) => return (true, Some(error.clone())),
            _ => return (false, None),
        }
        (true, None)
    }

    fn render(&self, view: &View<'_>, frame: &mut Frame<'_>, area: Rect) {
        match &self.signed {
            Some(signed) => signed.render(view, frame, area),
            None => self.stages.render(view, frame, area),
        }
    }
}

fn plan_rows(step: &str, preview: &GrantPreview, changed: Option<String>) -> Vec<Row> {
    let held = if preview.made_here { " (created when you sign)" } else { "" };
    let mut rows = vec![
        Row::Head(format!("{step}Grant {} this scope?", preview.label)),
        Row::Dim("Signing sends nothing and costs nothing; the key's first use does.".into()),
    ];
    if let Some(changed) = changed {
        rows.push(Row::Bad(format!("this is a new plan: {changed}")));
    }
    rows.extend([
        Row::Fact("account", format!("{} {}", preview.account, preview.address)),
        Row::Fact("network", format!("{} (chain {})", preview.network, preview.chain_id)),
        Row::Fact("session key", format!("{}{held}", preview.session_key)),
        Row::Fact("signed by", format!("the owner {}", preview.owner)),
        Row::Blank,
        Row::Head("What it may do".into()),
    ]);
    rows.extend(preview.sentences.iter().map(|s| Row::Item(s.clone())));
    rows.push(Row::Blank);
    if !preview.findings.is_empty() || !preview.warnings.is_empty() {
        rows.push(Row::Head("What could go wrong".into()));
        rows.extend(review::findings(&preview.findings));
        rows.extend(preview.warnings.iter().map(|w| Row::Caution(w.clone())));
        rows.push(Row::Blank);
    }
    rows.push(Row::Head("What was checked".into()));
    rows.extend(review::checked(&preview.checked));
    rows.push(Row::Blank);
    rows.push(Row::Head("What is signed (EIP-712 digest)".into()));
    for (function, nonce, digest) in &preview.digests {
        rows.push(Row::Text(format!("nonce {nonce}, enables {function}")));
        rows.push(Row::Note(digest.to_string()));
    }
    rows
}

fn result_rows(granted: &Granted) -> Vec<Row> {
    let key = &granted.key;
    let mut rows = vec![Row::Head(format!("{} is signed", key.label))];
    rows.extend(granted.approvals.iter().map(|a| {
        let text = format!("{}: {}", a.state, a.state_reason);
        if a.state == State::Queued { Row::Caution(text) } else { Row::Good(text) }
    }));
    rows.push(Row::Item("give the approval to the key's holder; its first use enables it on chain".into()));
    rows.push(Row::Item("until then, revoking it only consumes its nonce".into()));
    rows
}

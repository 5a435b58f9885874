//! What everything that is signed, sent or removed goes through on the screen: planning, the review, the way to the chain, what
//! came of it. The screens that use it say in words what each stage is about.

use ratatui::{Frame, layout::Rect};

use super::{
    Cx, View,
    review::{Answer, Review},
    rows::failure_rows,
};
use crate::{
    tui::{
        form::Field,
        jobs::Jobs,
        keymap::{Command, Place},
        message::{Effect, JobId, Notice},
        widget::sheet::{self, Row, Scroll},
    },
    wallet::{
        error::{Error, Kind},
        usecase::grant::Accepted,
    },
};

#[derive(Debug)]
pub enum Stage {
    Planning(JobId),
    Review {
        /// Missing where what is reviewed needs no plan.
        plan: Option<JobId>,
        review: Box<Review>,
    },
    Running(JobId),
    Done(Vec<Row>),
    /// What did not come about, and why.
    Failed(String, Error),
}

/// What is said while a job is waited for.
#[derive(Debug, Default)]
pub struct Words {
    pub planning: Vec<Row>,
    /// Once it was confirmed: what is done, and what the job goes through, in this order.
    pub running: Vec<Row>,
    pub phases: &'static [&'static str],
    /// What leaving it means then.
    pub meanwhile: &'static str,
    /// Whether what it came to can be copied.
    pub copyable: bool,
}

impl Words {
    /// For what is sent: "Revoke mint-bot".
    pub fn sent(title: String, phases: &'static [&'static str]) -> Self {
        Self {
            planning: vec![
                Row::Head(title.clone()),
                Row::Text("Planning the calls and their maximum cost…".into()),
                Row::Dim("Nothing is signed or sent yet. Esc goes back.".into()),
            ],
            running: vec![Row::Head(title)],
            phases,
            meanwhile: SENT,
            copyable: true,
        }
    }
}

/// What leaving the screen means once something was sent.
pub const SENT: &str = "Esc goes back; this continues, and is picked up again after a restart.";

/// What became of a command.
#[derive(Debug, PartialEq, Eq)]
pub enum Moved {
    Stay,
    /// Back before anything was confirmed.
    Undone,
    /// Back from what is under way, or over.
    Back,
    /// What was reviewed is confirmed: [`Stages::run`] does it.
    Confirmed(Accepted),
}

#[derive(Debug)]
pub struct Stages {
    pub stage: Stage,
    words: Words,
    scroll: Scroll,
    /// What was confirmed did not come about, for this reason; the present plan replaces it.
    stale: Option<Error>,
}

impl Stages {
    /// Asks for a plan, and waits for it.
    pub fn plan(words: Words, name: impl Into<String>, cx: &mut Cx<'_>, effect: impl FnOnce(JobId) -> Effect) -> Self {
        let job = cx.jobs.start(name, false);
        cx.effects.push(effect(job));
        Self { stage: Stage::Planning(job), words, scroll: Scroll::default(), stale: None }
    }

    /// For what needs no plan: nothing of it leaves this machine.
    pub fn unplanned(words: Words, verb: &'static str, rows: Vec<Row>) -> Self {
        let review = Box::new(Review::new(verb, rows, &[]));
        let stage = Stage::Review { plan: None, review };
        Self { stage, words, scroll: Scroll::default(), stale: None }
    }

    /// Asks for another plan in place of the one there was.
    pub fn plan_again(&mut self, name: impl Into<String>, cx: &mut Cx<'_>, effect: impl FnOnce(JobId) -> Effect) {
        let job = cx.jobs.start(name, false);
        cx.effects.push(effect(job));
        self.go(Stage::Planning(job));
    }

    /// The plan is there, and is shown.
    pub fn review(&mut self, plan: JobId, review: Review) {
        self.go(Stage::Review { plan: Some(plan), review: Box::new(review) });
    }

    /// Does what was confirmed. Something leaves this machine, or records change here.
    pub fn run(
        &mut self,
        name: impl Into<String>,
        sends: bool,
        cx: &mut Cx<'_>,
        effect: impl FnOnce(JobId, JobId) -> Effect,
    ) {
        let Stage::Review { plan: Some(plan), .. } = self.stage else { return };
        let job = if sends { cx.jobs.start(name, true) } else { cx.jobs.start_change(name) };
        cx.effects.push(effect(job, plan));
        self.go(Stage::Running(job));
    }

    /// What was confirmed did not come about, and a new plan is to say so.
    pub fn went_stale(&mut self, why: &Error) {
        self.stale = Some(why.clone());
    }

    /// Why the present plan replaces another one, if it does. Said once.
    pub fn take_stale(&mut self) -> Option<Error> {
        self.stale.take()
    }

    pub const fn is_running(&self) -> bool {
        matches!(self.stage, Stage::Running(_))
    }

    /// Whether what was confirmed did not hold any more, so that nothing was done and a new plan can be made.
    pub fn is_stale(&self, error: &Error) -> bool {
        self.is_running() && error.kind == Kind::Stale
    }

    pub fn places(&self) -> Vec<Place> {
        match &self.stage {
            Stage::Review { review, .. } => review.places(),
            Stage::Done(_) if self.words.copyable => vec![Place::Outcome, Place::Copyable, Place::Sheet],
            Stage::Done(_) | Stage::Failed(..) => vec![Place::Outcome, Place::Sheet],
            Stage::Planning(_) | Stage::Running(_) => vec![Place::Sheet],
        }
    }

    pub fn field(&mut self) -> Option<&mut Field> {
        match &mut self.stage {
            Stage::Review { review, .. } => review.field(),
            _ => None,
        }
    }

    /// Whether the job is what this waits for.
    pub fn waits_for(&self, job: JobId) -> bool {
        matches!(self.stage, Stage::Planning(waiting) | Stage::Running(waiting) if waiting == job)
    }

    pub fn go(&mut self, stage: Stage) {
        self.stage = stage;
        self.scroll = Scroll::default();
    }

    pub fn command(&mut self, command: Command, cx: &mut Cx<'_>) -> Moved {
        match &mut self.stage {
            Stage::Review { review, .. } => match review.command(command, cx) {
                Answer::Nothing => Moved::Stay,
                Answer::Back => Moved::Undone,
                Answer::NotYet(why) => {
                    *cx.notice = Some(Notice::trouble(why));
                    Moved::Stay
                }
                Answer::Confirmed(accepted) => Moved::Confirmed(accepted),
            },
            Stage::Planning(_) if command == Command::Back => Moved::Undone,
            _ if command == Command::Back => Moved::Back,
            _ => {
                let lines = sheet::lay_out(&self.rows(""), sheet::columns(cx.body), cx.theme).len();
                self.scroll.command(command, lines, usize::from(cx.body.height));
                Moved::Stay
            }
        }
    }

    pub fn resized(&mut self) {
        if let Stage::Review { review, .. } = &mut self.stage {
            review.resized();
        }
    }

    pub fn drawn(&mut self, cx: &Cx<'_>) {
        if let Stage::Review { review, .. } = &mut self.stage {
            review.drawn(cx);
        }
    }

    /// It is given up: a plan is not wanted any more, and what was sent goes on.
    pub fn leave(&self, jobs: &mut Jobs, effects: &mut Vec<Effect>) {
        match &self.stage {
            Stage::Planning(job) => jobs.cancel(*job, effects),
            Stage::Review { plan: Some(plan), .. } => effects.push(Effect::Forget { plan: *plan }),
            Stage::Review { plan: None, .. } | Stage::Running(_) | Stage::Done(_) | Stage::Failed(..) => {}
        }
    }

    fn rows(&self, phase: &str) -> Vec<Row> {
        match &self.stage {
            Stage::Planning(_) => self.words.planning.clone(),
            Stage::Running(_) => {
                let mut rows = self.words.running.clone();
                let now = self.words.phases.iter().position(|p| *p == phase);
                for (i, name) in self.words.phases.iter().enumerate() {
                    rows.push(match now {
                        Some(now) if i < now => Row::Good((*name).to_owned()),
                        Some(now) if i == now => Row::Item(format!("{name}…")),
                        _ => Row::Note((*name).to_owned()),
                    });
                }
                rows.extend((!self.words.phases.is_empty()).then_some(Row::Blank));
                rows.push(Row::Dim(self.words.meanwhile.into()));
                rows
            }
            Stage::Done(done) => done.clone(),
            Stage::Failed(what, error) => failure_rows(what, error),
            Stage::Review { .. } => Vec::new(),
        }
    }

    /// What it came to, as text without its layout: for the clipboard, or a file.
    pub fn outcome(&self) -> Option<String> {
        match &self.stage {
            Stage::Done(rows) => Some(sheet::text(rows)),
            _ => None,
        }
    }

    pub fn render(&self, view: &View<'_>, frame: &mut Frame<'_>, area: Rect) {
        if let Stage::Review { review, .. } = &self.stage {
            review.render(frame, area, view.theme);
            return;
        }
        let phase = match self.stage {
            Stage::Running(job) => view.jobs.get(job).map_or("", |j| j.phase),
            _ => "",
        };
        sheet::render_rows(frame, area, &self.rows(phase), self.scroll, view.theme);
    }
}

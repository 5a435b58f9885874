//! What everything that is signed and sent goes through on the screen: planning, the review, the way to the chain, what came
//! of it. The screens that use it say in words what each stage is about.

use ratatui::{Frame, layout::Rect};

use super::{
    Cx, View,
    review::{Answer, Review},
    rows::failure_rows,
};
use crate::{
    tui::{
        jobs::Jobs,
        keymap::{Command, Place},
        message::{Effect, JobId, Notice},
        widget::sheet::{self, Row, Scroll},
    },
    wallet::{error::Error, grant::Accepted},
};

#[derive(Debug)]
pub enum Stage {
    Planning(JobId),
    Review {
        plan: JobId,
        review: Box<Review>,
    },
    Sending(JobId),
    Done(Vec<Row>),
    /// What did not come about, and why.
    Failed(String, Error),
}

/// What became of a command.
#[derive(Debug, PartialEq, Eq)]
pub enum Moved {
    Stay,
    Back,
    /// The plan of this job was confirmed.
    Confirmed(JobId, Accepted),
}

#[derive(Debug)]
pub struct Stages {
    pub stage: Stage,
    /// What it is about: "Revoke mint-bot".
    title: String,
    /// What a job goes through once it was confirmed, in this order.
    phases: &'static [&'static str],
    scroll: Scroll,
}

impl Stages {
    pub fn planning(title: impl Into<String>, phases: &'static [&'static str], job: JobId) -> Self {
        Self { stage: Stage::Planning(job), title: title.into(), phases, scroll: Scroll(0) }
    }

    pub fn places(&self) -> Vec<Place> {
        match &self.stage {
            Stage::Review { review, .. } => review.places(),
            Stage::Done(_) => vec![Place::Outcome, Place::Copyable, Place::Sheet],
            Stage::Failed(..) => vec![Place::Outcome, Place::Sheet],
            Stage::Planning(_) | Stage::Sending(_) => vec![Place::Sheet],
        }
    }

    /// Whether the job is what this waits for.
    pub fn waits_for(&self, job: JobId) -> bool {
        matches!(self.stage, Stage::Planning(waiting) | Stage::Sending(waiting) if waiting == job)
    }

    pub fn go(&mut self, stage: Stage) {
        self.stage = stage;
        self.scroll = Scroll::default();
    }

    pub fn command(&mut self, command: Command, cx: &mut Cx<'_>) -> Moved {
        if let Stage::Review { plan, review } = &mut self.stage {
            return match review.command(command, cx) {
                Answer::Nothing => Moved::Stay,
                Answer::Back => Moved::Back,
                Answer::NotYet(why) => {
                    *cx.notice = Some(Notice::trouble(why));
                    Moved::Stay
                }
                Answer::Confirmed(accepted) => Moved::Confirmed(*plan, accepted),
            };
        }
        if command == Command::Back {
            return Moved::Back;
        }
        let lines = sheet::lay_out(&self.rows(""), sheet::columns(cx.body), cx.theme).len();
        self.scroll.command(command, lines, usize::from(cx.body.height));
        Moved::Stay
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

    /// The screen is closed: a plan is not wanted any more, and what was sent goes on.
    pub fn leave(&mut self, jobs: &mut Jobs, effects: &mut Vec<Effect>) {
        match &self.stage {
            Stage::Planning(job) => jobs.cancel(*job, effects),
            Stage::Review { plan, .. } => effects.push(Effect::Forget { plan: *plan }),
            Stage::Sending(_) | Stage::Done(_) | Stage::Failed(..) => {}
        }
    }

    fn rows(&self, phase: &str) -> Vec<Row> {
        let mut rows = vec![Row::Head(self.title.clone())];
        match &self.stage {
            Stage::Planning(_) => {
                rows.push(Row::Text("Working out what has to be sent, and the most it can cost…".into()));
                rows.push(Row::Dim("Nothing is signed or sent yet. Esc goes back.".into()));
            }
            Stage::Sending(_) => {
                let now = self.phases.iter().position(|p| *p == phase);
                for (i, name) in self.phases.iter().enumerate() {
                    rows.push(match now {
                        Some(now) if i < now => Row::Good((*name).to_owned()),
                        Some(now) if i == now => Row::Item(format!("{name}…")),
                        _ => Row::Note((*name).to_owned()),
                    });
                }
                rows.push(Row::Blank);
                rows.push(Row::Dim("Esc goes back; this goes on, and is found again after a restart.".into()));
            }
            Stage::Done(done) => rows.clone_from(done),
            Stage::Failed(what, error) => rows = failure_rows(what, error),
            Stage::Review { .. } => {}
        }
        rows
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
            Stage::Sending(job) => view.jobs.get(job).map_or("", |j| j.phase),
            _ => "",
        };
        sheet::render_rows(frame, area, &self.rows(phase), self.scroll, view.theme);
    }
}

/// Whether what was confirmed does not hold any more, so that nothing was done and a new plan can be made.
pub fn is_stale(error: &Error) -> bool {
    error.code.rsplit('.').next() == Some("stale")
}

//! From an answered form to a signed approval: the plan, its review, the signature, and handing it over. Both ways of
//! giving a key - the wizard and a policy file - go this one way.

use ratatui::{Frame, layout::Rect};

use super::{
    Cx, View,
    handover::Handover,
    review::{self, Answer, Review},
};
use crate::{
    tui::{
        form::Field,
        jobs::Jobs,
        keymap::{Command, Place},
        message::{Effect, GrantPreview, GrantRequest, JobId, Notice, PolicySource, Report},
        widget::sheet::{self, Row, Scroll},
    },
    wallet::{error::Error, grant::Granted, state::State},
};

#[derive(Debug)]
enum Step {
    Planning(JobId),
    Review { plan: JobId, review: Review },
    Signing(JobId),
    Done(Box<Handover>),
}

#[derive(Debug)]
pub struct Granting {
    request: GrantRequest,
    step: Step,
    scroll: Scroll,
    /// Why the plan that was shown before does not hold any more.
    changed: Option<String>,
}

/// What the form behind it should do.
#[derive(Debug)]
pub enum Next {
    Stay,
    /// Back to the form, with what was typed.
    Form,
    /// It is over.
    Leave,
}

impl Granting {
    pub fn start(request: GrantRequest, cx: &mut Cx<'_>) -> Self {
        let job = cx.jobs.start("working out the approval", false);
        cx.effects.push(Effect::PlanGrant { job, request: request.clone() });
        Self { request, step: Step::Planning(job), scroll: Scroll::default(), changed: None }
    }

    pub fn places(&self) -> Vec<Place> {
        match &self.step {
            Step::Review { review, .. } => review.places(),
            Step::Done(deliver) => deliver.places(),
            Step::Planning(_) | Step::Signing(_) => vec![Place::Sheet],
        }
    }

    pub fn field(&mut self) -> Option<&mut Field> {
        match &mut self.step {
            Step::Review { review, .. } => review.field(),
            Step::Done(deliver) => deliver.field(),
            Step::Planning(_) | Step::Signing(_) => None,
        }
    }

    pub fn edited(&mut self) {
        if let Step::Done(deliver) = &mut self.step {
            deliver.edited();
        }
    }

    pub fn command(&mut self, command: Command, cx: &mut Cx<'_>) -> Next {
        match &mut self.step {
            Step::Review { plan, review } => match review.command(command, cx) {
                Answer::Nothing => {}
                Answer::Back => {
                    cx.effects.push(Effect::Forget { plan: *plan });
                    return Next::Form;
                }
                Answer::NotYet(why) => *cx.notice = Some(Notice::trouble(why)),
                Answer::Confirmed(accepted) => {
                    let job = cx.jobs.start_change("signing the approval");
                    cx.effects.push(Effect::SignGrant { job, plan: *plan, accepted });
                    self.step = Step::Signing(job);
                }
            },
            Step::Planning(job) if command == Command::Back => {
                cx.jobs.cancel(*job, cx.effects);
                return Next::Form;
            }
            Step::Signing(_) if command == Command::Back => return Next::Leave,
            Step::Done(deliver) => {
                if matches!(deliver.command(command, cx), super::Next::Back) {
                    return Next::Leave;
                }
            }
            Step::Planning(_) | Step::Signing(_) => {
                let lines = sheet::lay_out(&self.rows(), sheet::columns(cx.body), cx.theme).len();
                self.scroll.command(command, lines, usize::from(cx.body.height));
            }
        }
        Next::Stay
    }

    pub fn resized(&mut self) {
        if let Step::Review { review, .. } = &mut self.step {
            review.resized();
        }
    }

    pub fn drawn(&mut self, cx: &Cx<'_>) {
        if let Step::Review { review, .. } = &mut self.step {
            review.drawn(cx);
        }
    }

    /// Answers whether the report was for it, and the failure that the form should show.
    pub fn report(&mut self, job: JobId, report: &Report, cx: &mut Cx<'_>) -> (bool, Option<Error>) {
        if let Step::Done(deliver) = &mut self.step {
            return (deliver.report(job, report, cx), None);
        }
        let signing = matches!(self.step, Step::Signing(waiting) if waiting == job);
        if !signing && !matches!(self.step, Step::Planning(waiting) if waiting == job) {
            return (false, None);
        }
        *cx.notice = None;
        self.scroll = Scroll::default();
        match report {
            Report::GrantPlanned(preview) => {
                let step = match self.request.policy {
                    PolicySource::Made(_) => "Step 6 of 6 · ",
                    PolicySource::File(_) => "",
                };
                let rows = plan_rows(step, preview, self.changed.take());
                self.step = Step::Review { plan: job, review: Review::new("sign", rows, &preview.findings) };
            }
            Report::Granted(granted) => {
                let key = &granted.key;
                self.step = Step::Done(Box::new(Handover::new(key, result_rows(granted))));
            }
            // Shown again as it is now, with what changed.
            Report::Failed(error) if signing && error.code == "grant.stale" => {
                let again = Self::start(self.request.clone(), cx);
                *self = Self { changed: Some(error.message.clone()), ..again };
            }
            Report::Failed(error) => return (true, Some(error.clone())),
            _ => return (false, None),
        }
        (true, None)
    }

    pub fn leave(&mut self, jobs: &mut Jobs, effects: &mut Vec<Effect>) {
        match &self.step {
            Step::Planning(job) => jobs.cancel(*job, effects),
            Step::Review { plan, .. } => effects.push(Effect::Forget { plan: *plan }),
            Step::Signing(_) | Step::Done(_) => {}
        }
    }

    fn rows(&self) -> Vec<Row> {
        match &self.step {
            Step::Planning(_) => vec![
                Row::Head("Working out the approval".into()),
                Row::Text("Reading the account from its chain…".into()),
                Row::Dim("Nothing is signed yet. Esc goes back.".into()),
            ],
            Step::Signing(_) => vec![
                Row::Head("Signing…".into()),
                Row::Dim("Esc goes back; this goes on, and the key is on the list then.".into()),
            ],
            Step::Review { .. } | Step::Done(_) => Vec::new(),
        }
    }

    pub fn render(&self, view: &View<'_>, frame: &mut Frame<'_>, area: Rect) {
        match &self.step {
            Step::Review { review, .. } => review.render(frame, area, view.theme),
            Step::Done(deliver) => deliver.render(view, frame, area),
            Step::Planning(_) | Step::Signing(_) => {
                sheet::render_rows(frame, area, &self.rows(), self.scroll, view.theme);
            }
        }
    }
}

fn plan_rows(step: &str, preview: &GrantPreview, changed: Option<String>) -> Vec<Row> {
    let held = if preview.made_here { " (made here, when you sign)" } else { "" };
    let mut rows = vec![
        Row::Head(format!("{step}give {} this power?", preview.label)),
        Row::Dim("Signing sends nothing and costs nothing: the first use of the key does.".into()),
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
    for (function, turn, digest) in &preview.digests {
        rows.push(Row::Text(format!("turn {turn} (nonce), opens {function}")));
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
    rows.push(Row::Item(
        "hand the approval to whoever uses the key; the first call with it enables it on chain".into(),
    ));
    rows.push(Row::Item("until then, taking it back only burns its turn".into()));
    rows
}

//! Taking a key back: the plan in words, the most it can cost, a fresh confirmation, progress, and the proof.

use ratatui::{Frame, layout::Rect};

use super::{
    Screen,
    review::{Answer, Review},
};
use crate::{
    kernel::sentence,
    tui::{
        app::{Cx, JobId, Model, Next, Notice, Report},
        effects::{Effect, RevokePreview},
        keymap::{Command, Place},
        widget::sheet::{self, Row, Scroll},
    },
    wallet::{
        error::Error,
        key::KeyView,
        revoke::{PHASES, Revoked},
        state::State as KeyState,
    },
};

#[derive(Debug)]
enum Step {
    Planning(JobId),
    Review { plan: JobId, review: Review },
    Sending(JobId),
    Done(Vec<Row>),
    Failed(Error),
}

#[derive(Debug)]
pub struct State {
    pub account: String,
    label: String,
    step: Step,
    scroll: Scroll,
}

impl State {
    /// The screen, or a word on why there is nothing to revoke.
    pub fn open(key: &KeyView, cx: &mut Cx<'_>) -> Next {
        let account = cx.data.account_of(key).and_then(|a| a.view.as_ref());
        let why_not = match account {
            None => Some(format!("{}: only the account's owner can take it back", key.label)),
            _ if key.imported => Some(format!("{}: only the account's owner can take it back", key.label)),
            Some(view) if view.watch_only => {
                Some(format!("{} is watch-only: its owner's key is not here, so nothing can be signed", view.name))
            }
            _ if key.state == KeyState::Revoked || key.state == KeyState::Dead || key.state == KeyState::Draft => {
                Some(format!("{} is {} already: {}", key.label, key.state, key.state_reason))
            }
            Some(_) => None,
        };
        let (Some(account), None) = (account, &why_not) else {
            *cx.notice = why_not.map(Notice::trouble);
            return Next::Stay;
        };
        let account = account.name.clone();
        let job = cx.jobs.start(format!("planning to revoke {}", key.label), false);
        cx.effects.push(Effect::PlanRevoke { job, account: account.clone(), keys: vec![key.key_id.clone()] });
        let label = key.label.clone();
        Next::Open(Box::new(Screen::Revoke(Self { account, label, step: Step::Planning(job), scroll: Scroll(0) })))
    }

    pub fn places(&self) -> Vec<Place> {
        match &self.step {
            Step::Review { review, .. } => review.places(),
            Step::Done(_) | Step::Failed(_) => vec![Place::Outcome, Place::Sheet],
            Step::Planning(_) | Step::Sending(_) => vec![Place::Sheet],
        }
    }

    pub fn command(&mut self, command: Command, cx: &mut Cx<'_>) -> Next {
        if let Step::Review { plan, review } = &mut self.step {
            match review.command(command, cx) {
                Answer::Nothing => {}
                Answer::Back => return Next::Back,
                Answer::NotYet(why) => *cx.notice = Some(Notice::trouble(why)),
                Answer::Confirmed(_) => {
                    let job = cx.jobs.start(format!("revoking {}", self.label), true);
                    cx.effects.push(Effect::SendRevoke { job, plan: *plan });
                    self.step = Step::Sending(job);
                }
            }
            return Next::Stay;
        }
        if command == Command::Back {
            return Next::Back;
        }
        let lines = sheet::lay_out(&self.rows(""), columns(cx.body), cx.theme).len();
        self.scroll.command(command, lines, usize::from(cx.body.height));
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

    pub fn report(&mut self, job: JobId, report: &Report, cx: &mut Cx<'_>) -> bool {
        let mine = matches!(self.step, Step::Planning(waiting) | Step::Sending(waiting) if waiting == job);
        if !mine {
            return false;
        }
        *cx.notice = None;
        self.scroll = Scroll::default();
        self.step = match report {
            Report::RevokePlanned(preview) => {
                Step::Review { plan: job, review: Review::new("revoke", plan_rows(&self.label, preview), &[]) }
            }
            Report::Revoked(revoked) => Step::Done(result_rows(&self.label, revoked)),
            Report::Failed(error) => Step::Failed(error.clone()),
            _ => return false,
        };
        true
    }

    pub fn leave(&mut self, effects: &mut Vec<Effect>) {
        match &self.step {
            Step::Planning(job) => effects.push(Effect::Cancel { job: *job }),
            Step::Review { plan, .. } => effects.push(Effect::Forget { plan: *plan }),
            Step::Sending(_) | Step::Done(_) | Step::Failed(_) => {}
        }
    }

    fn rows(&self, phase: &str) -> Vec<Row> {
        match &self.step {
            Step::Planning(_) => vec![
                Row::Head(format!("Revoke {}", self.label)),
                Row::Text("Working out what has to be sent, and the most it can cost…".into()),
                Row::Dim("Nothing is signed or sent yet. Esc goes back.".into()),
            ],
            Step::Sending(_) => {
                let mut rows = vec![Row::Head(format!("Revoking {}", self.label))];
                let now = PHASES.iter().position(|p| *p == phase);
                for (i, name) in PHASES.iter().enumerate() {
                    rows.push(match now {
                        Some(now) if i < now => Row::Good((*name).to_owned()),
                        Some(now) if i == now => Row::Item(format!("{name}…")),
                        _ => Row::Note((*name).to_owned()),
                    });
                }
                rows.push(Row::Blank);
                rows.push(Row::Dim("Esc goes back; this goes on, and is found again after a restart.".into()));
                rows
            }
            Step::Done(rows) => rows.clone(),
            Step::Failed(error) => failure_rows(&format!("{} was not revoked", self.label), error),
            Step::Review { .. } => Vec::new(),
        }
    }

    pub fn render(&self, model: &Model, frame: &mut Frame<'_>, area: Rect) {
        if let Step::Review { review, .. } = &self.step {
            review.render(frame, area, model.theme);
            return;
        }
        let phase = match self.step {
            Step::Sending(job) => model.jobs.get(job).map_or("", |j| j.phase),
            _ => "",
        };
        let lines = sheet::lay_out(&self.rows(phase), columns(area), model.theme);
        let inner = Rect { x: area.x + 1.min(area.width), width: area.width.saturating_sub(1), ..area };
        sheet::render(frame, inner, lines, self.scroll, model.theme);
    }
}

fn columns(area: Rect) -> usize {
    usize::from(area.width).saturating_sub(3)
}

/// What failed, and the way out.
pub fn failure_rows(what: &str, error: &Error) -> Vec<Row> {
    let mut rows = vec![Row::Head(what.to_owned()), Row::Bad(error.message.clone())];
    if !error.hint.is_empty() {
        rows.push(Row::Way(error.hint.clone()));
    }
    rows.push(Row::Blank);
    rows.push(Row::Dim(format!("({})", error.code)));
    rows
}

fn plan_rows(label: &str, preview: &RevokePreview) -> Vec<Row> {
    let mut rows = vec![
        Row::Head(format!("Revoke {label}")),
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
        rows.push(Row::Bad(format!("{other} cannot act any more after this either")));
    }
    rows.push(Row::Blank);
    rows.push(Row::Head("What it costs".into()));
    let price = &preview.price;
    rows.push(Row::Item(format!("at most {}", sentence::amount(price.max_cost, "ETH"))));
    rows.push(Row::Item(format!("paid by {}", price.payer)));
    rows.push(Row::Note(format!(
        "fees from {}; nothing here may cost more than {}",
        price.fee_source,
        sentence::amount(price.ceiling, "ETH")
    )));
    rows.push(Row::Blank);
    rows.push(Row::Head("What is signed".into()));
    rows.push(Row::Text("the operation with the hash".into()));
    rows.push(Row::Note(price.signing_hash.to_string()));
    rows
}

fn result_rows(label: &str, revoked: &Revoked) -> Vec<Row> {
    let operation = &revoked.operation;
    let mut rows = Vec::new();
    match (operation.success, revoked.proofs.as_slice()) {
        (Some(true), [_, ..]) => rows.push(Row::Head(format!("{label} is revoked, and that is proven"))),
        (Some(true), []) => rows.push(Row::Head(format!("{label}: mined, but NOT PROVEN"))),
        (Some(false), _) => rows.push(Row::Head(format!("{label} is NOT revoked: the operation failed"))),
        (None, _) => rows.push(Row::Head(format!("{label}: sent, and not in a block yet"))),
    }
    rows.push(Row::Blank);
    for proof in &revoked.proofs {
        rows.push(Row::Good(format!("read back at block {}: the key can do nothing any more", proof.block)));
        rows.push(Row::Good(format!("its own approval, tried again, is refused: \"{}\"", proof.replay)));
    }
    if revoked.proofs.is_empty() {
        rows.push(Row::Bad("treat the key as alive, and revoke again".into()));
    }
    if let Some(reason) = &operation.revert_reason {
        rows.push(Row::Bad(format!("reason: {reason}")));
    }
    rows.push(Row::Blank);
    if let Some(cost) = operation.gas_cost {
        rows.push(Row::Fact("gas paid", sentence::amount(cost, "ETH")));
    }
    rows.push(Row::Text("operation".into()));
    rows.push(Row::Note(operation.user_op_hash.to_string()));
    if let Some(transaction) = operation.transaction_hash {
        rows.push(Row::Text("transaction".into()));
        rows.push(Row::Note(transaction.to_string()));
    }
    rows
}

//! Activity: what is under way now, and the operations that were sent, each with what became of it.

use alloy::primitives::B256;
use ratatui::{Frame, layout::Rect, style::Style, text::Line, widgets::Paragraph};

use super::{Copyable, Cx, Heading, Next, Screen, View};
use crate::{
    tui::{
        data::Data,
        format,
        jobs::Job,
        keymap::{Command, Place},
        message::{Effect, JobId, Notice, Report},
        theme::Theme,
        widget::{
            list::moved,
            sheet::{self, Row, Scroll},
        },
    },
    wallet::{
        coin::Coin,
        error::Error,
        records::model::{Operation, OperationState, Purpose},
        submit::follow::STILL_ALIVE,
        usecase::{revoke::Verdict, status::Completed},
    },
};

/// One operation that is looked at.
#[derive(Debug)]
struct LookedAt {
    operation: B256,
    asking: Option<JobId>,
    answer: Option<Result<Box<Completed>, Error>>,
    scroll: Scroll,
}

#[derive(Debug, Default)]
pub struct State {
    /// Newest first.
    operations: Vec<Operation>,
    reading: Option<JobId>,
    /// Jobs come first in the list, then operations.
    chosen: usize,
    opened: Option<LookedAt>,
}

pub fn open(cx: &mut Cx<'_>) -> Box<dyn Screen> {
    let mut state = State::default();
    state.read(cx);
    Box::new(state)
}

impl State {
    fn read(&mut self, cx: &mut Cx<'_>) {
        let job = cx.jobs.start("reading the operations", false);
        self.reading = Some(job);
        cx.effects.push(Effect::Operations { job });
    }

    fn operation(&self, hash: B256) -> Option<&Operation> {
        self.operations.iter().find(|o| o.user_op_hash == hash)
    }

    fn in_operation(&mut self, command: Command, cx: &mut Cx<'_>) {
        match command {
            Command::Back => self.opened = None,
            Command::Refresh => self.ask(cx),
            command => {
                let lines = sheet::lay_out(&self.rows(cx.data), sheet::columns(cx.body), cx.theme).len();
                if let Some(opened) = &mut self.opened {
                    opened.scroll.command(command, lines, usize::from(cx.body.height));
                }
            }
        }
    }

    /// Asks the chain what became of the operation that is looked at.
    fn ask(&mut self, cx: &mut Cx<'_>) {
        let Some(opened) = self.opened.as_mut().filter(|o| o.asking.is_none()) else { return };
        let job = cx.jobs.start("checking the operation's result", false);
        opened.asking = Some(job);
        cx.effects.push(Effect::Follow { job, operation: opened.operation });
    }

    fn rows(&self, data: &Data) -> Vec<Row> {
        let Some(opened) = &self.opened else { return Vec::new() };
        let Some(operation) = self.operation(opened.operation) else {
            return vec![Row::Bad("this operation is no longer on record".into())];
        };
        let account = data.accounts.iter().find(|a| a.address == operation.account && a.network == operation.network);
        let name = account.map_or_else(|| "an account".to_owned(), |a| a.name.clone());
        let mut rows = vec![
            Row::Head(what(operation, data)),
            Row::Fact("account", format!("{name} {}", operation.account)),
            Row::Fact("network", operation.network.clone()),
            Row::Fact("signed", format!("{} (this machine's clock)", format::full_date(operation.created_at))),
            Row::Blank,
            Row::Head("Result".into()),
        ];
        rows.extend(phases(&operation.progress, data.coin_of(&operation.network)));
        match &opened.answer {
            None if opened.asking.is_some() => rows.push(Row::Dim("checking…".into())),
            None => {}
            Some(Err(error)) => {
                rows.push(Row::Caution(error.message.clone()));
                if !error.hint.is_empty() {
                    rows.push(Row::Advice(error.hint.clone()));
                }
            }
            Some(Ok(completed)) => rows.extend(answer_rows(completed, &operation.purpose)),
        }
        rows.push(Row::Blank);
        rows.push(Row::Text("operation (UserOperation hash)".into()));
        rows.push(Row::Note(operation.user_op_hash.to_string()));
        if let OperationState::Included { transaction_hash, .. } = &operation.progress {
            rows.push(Row::Text("transaction".into()));
            rows.push(Row::Note(transaction_hash.to_string()));
        }
        rows
    }
}

impl Screen for State {
    fn places(&self) -> Vec<Place> {
        match self.opened {
            None => vec![Place::Activity, Place::List],
            Some(_) => vec![Place::Operation, Place::Copyable, Place::Sheet],
        }
    }

    fn command(&mut self, command: Command, cx: &mut Cx<'_>) -> Next {
        if self.opened.is_some() {
            self.in_operation(command, cx);
            return Next::Stay;
        }
        let jobs: Vec<Job> = shown_jobs(&cx.jobs.list, self.reading).cloned().collect();
        let count = jobs.len() + self.operations.len();
        let at = self.chosen.min(count.saturating_sub(1));
        match command {
            Command::Back => return Next::Back,
            Command::Refresh => self.read(cx),
            Command::Open => match (jobs.get(at), at.checked_sub(jobs.len()).and_then(|i| self.operations.get(i))) {
                (Some(job), _) => {
                    let what = if job.sends { "it cannot be cancelled" } else { "d stops it" };
                    *cx.notice = Some(Notice::say(format!("{} is under way; {what}", job.name)));
                }
                (None, Some(operation)) => {
                    let (operation, waits) = (operation.user_op_hash, waits(&operation.progress));
                    self.opened = Some(LookedAt { operation, asking: None, answer: None, scroll: Scroll::default() });
                    if waits {
                        self.ask(cx);
                    }
                }
                (None, None) => {}
            },
            Command::Stop => match jobs.get(at) {
                Some(job) if job.sends => {
                    *cx.notice = Some(Notice::trouble("something was or may have been sent; it cannot be cancelled"));
                }
                Some(job) => {
                    cx.jobs.cancel(job.id, cx.effects);
                    *cx.notice = Some(Notice::say(format!("stopped: {}", job.name)));
                }
                None => {
                    *cx.notice = Some(Notice::say(
                        "a sent operation cannot be cancelled; only jobs that send nothing can be stopped",
                    ))
                }
            },
            command => {
                let page = usize::from(cx.body.height).saturating_sub(2).max(1);
                self.chosen = moved(command, at, count, page);
            }
        }
        Next::Stay
    }

    fn copyable(&self, _: &Data) -> Option<Copyable> {
        let hash = self.opened.as_ref()?.operation;
        Some(Copyable { what: "the operation's hash".into(), file: "operation".into(), text: hash.to_string() })
    }

    fn report(&mut self, job: JobId, report: &Report, cx: &mut Cx<'_>) -> bool {
        if self.reading == Some(job) {
            self.reading = None;
            return match report {
                Report::Operations(operations) => {
                    self.operations.clone_from(operations);
                    true
                }
                _ => false,
            };
        }
        let Some(opened) = self.opened.as_mut().filter(|o| o.asking == Some(job)) else { return false };
        opened.asking = None;
        opened.answer = match report {
            Report::Followed(completed) => Some(Ok(completed.clone())),
            Report::Failed(error) => Some(Err(error.clone())),
            _ => return false,
        };
        // What it came to is on record now.
        self.read(cx);
        true
    }

    fn heading(&self, _: &View<'_>) -> Heading {
        Heading::titled("activity")
    }

    fn remark(&self, view: &View<'_>) -> (String, Style) {
        let text = match view.data.in_flight {
            0 => String::new(),
            1 => "1 operation has no result yet: ↵ on it checks again".to_owned(),
            n => format!("{n} operations have no result yet: ↵ on one checks again"),
        };
        (text, view.theme.caution())
    }

    fn render(&self, view: &View<'_>, frame: &mut Frame<'_>, area: Rect) {
        let theme = view.theme;
        if let Some(opened) = &self.opened {
            sheet::render_rows(frame, area, &self.rows(view.data), opened.scroll, theme);
            return;
        }
        let wide = columns(area);
        let jobs: Vec<&Job> = shown_jobs(&view.jobs.list, self.reading).collect();
        let count = jobs.len() + self.operations.len();
        let at = self.chosen.min(count.saturating_sub(1));
        let height = usize::from(area.height).saturating_sub(1);
        let top = (at + 1).saturating_sub(height.max(1));
        let mut lines = vec![Line::styled(format!("   {}", cells("when", "what", "result", wide)), theme.dim())];
        for i in top..count.min(top + height) {
            let chosen = i == at;
            let (text, tone) = match (jobs.get(i), i.checked_sub(jobs.len()).and_then(|i| self.operations.get(i))) {
                (Some(job), _) => {
                    let phase = if job.phase.is_empty() { "under way" } else { job.phase };
                    (cells("now", &format::clean(&job.name), phase, wide), theme.accent())
                }
                (None, Some(operation)) => {
                    let (word, tone) = word(&operation.progress, theme);
                    let what = what(operation, view.data);
                    (cells(&format::date(operation.created_at), &what, word, wide), tone)
                }
                (None, None) => continue,
            };
            let style = if chosen { theme.selected() } else { tone };
            lines.push(Line::styled(format!(" {} {text}", if chosen { "▸" } else { " " }), style));
        }
        if count == 0 {
            let text = if self.reading.is_some() { "reading…" } else { "nothing sent yet" };
            lines.push(Line::styled(format!("   {text}"), theme.dim()));
        }
        frame.render_widget(Paragraph::new(lines), area);
    }
}

/// Without the one that reads this very list.
fn shown_jobs(jobs: &[Job], reading: Option<JobId>) -> impl Iterator<Item = &Job> {
    jobs.iter().filter(move |j| Some(j.id) != reading && !j.quiet)
}

const fn waits(progress: &OperationState) -> bool {
    matches!(progress, OperationState::Signed | OperationState::Sent)
}

fn columns(area: Rect) -> usize {
    usize::from(area.width).saturating_sub(4)
}

fn cells(when: &str, what: &str, came_to: &str, columns: usize) -> String {
    const WHEN: usize = 20;
    const END: usize = 20;
    // On a narrow screen the date gives way.
    if columns < 60 {
        return format!("{} {}", format::fit(what, columns.saturating_sub(END + 1)), format::fit(came_to, END));
    }
    let room = columns.saturating_sub(WHEN + END + 2);
    format!("{} {} {}", format::fit(when, WHEN), format::fit(what, room), format::fit(came_to, END))
}

fn word(progress: &OperationState, theme: Theme) -> (&'static str, Style) {
    match progress {
        OperationState::Signed => ("signed", theme.caution()),
        OperationState::Sent => ("sent", theme.caution()),
        OperationState::Included { success: true, .. } => ("done", theme.plain()),
        OperationState::Included { success: false, .. } => ("failed", theme.bad()),
        OperationState::Refused { .. } => ("refused", theme.dim()),
    }
}

/// `revoke mint-bot`, `call by rebalancer`.
fn what(operation: &Operation, data: &Data) -> String {
    let label = |id: &String| data.key(id).map_or_else(|| format!("key {id}"), |k| format::clean(&k.label));
    let names = |ids: &[String]| match ids {
        [] => "all keys".to_owned(),
        [only] => label(only),
        several => format!("{} keys", several.len()),
    };
    match &operation.purpose {
        Purpose::Send { key_id: Some(id) } => format!("call by {}", label(id)),
        Purpose::Send { key_id: None } => "call by the owner".to_owned(),
        Purpose::Enable { key_ids } => format!("enable {}", names(key_ids)),
        Purpose::Revoke { key_ids, .. } => format!("revoke {}", names(key_ids)),
        Purpose::Panic => "pause all keys".to_owned(),
        Purpose::Reclaim => "reclaim the account".to_owned(),
    }
}

/// How far it got, and what that means.
fn phases(progress: &OperationState, coin: Coin) -> Vec<Row> {
    let signed = Row::Good("signed, and recorded before anything was sent".into());
    match progress {
        OperationState::Signed => vec![
            signed,
            Row::Caution(
                "unknown whether the bundler accepted it: the connection was lost, or it did not answer".into(),
            ),
            Row::Note("it may still be mined: treat it as sent until the chain says otherwise".into()),
        ],
        OperationState::Sent => vec![
            signed,
            Row::Good("sent: accepted by the bundler".into()),
            Row::Caution("not in a block yet as far as is known; r checks again".into()),
        ],
        OperationState::Refused { message, ended } => vec![
            signed,
            Row::Bad(format!("refused by the bundler: {message}")),
            match ended {
                true => Row::Note("its nonce is used, so it can never be mined".into()),
                false => Row::Caution(format!("even so, {STILL_ALIVE}; r checks again")),
            },
        ],
        OperationState::Included { success, block, gas_cost, revert_reason, .. } => {
            let mut rows = vec![signed, Row::Good("sent".into()), Row::Good(format!("in block {block}"))];
            rows.push(match (success, revert_reason) {
                (true, _) => Row::Good("done: the call succeeded".into()),
                (false, Some(reason)) => Row::Bad(format!("the call failed: {reason}")),
                (false, None) => Row::Bad("the call failed without a reason".into()),
            });
            if !success {
                rows.push(Row::Note("nothing changed, but the gas was paid".into()));
            }
            rows.push(Row::Fact("gas paid", coin.amount(*gas_cost)));
            rows
        }
    }
}

/// What the chain said just now.
fn answer_rows(completed: &Completed, purpose: &Purpose) -> Vec<Row> {
    let mut rows = Vec::new();
    rows.push(match completed.operation.success {
        Some(true) => Row::Good("checked again: it is in a block, and succeeded".into()),
        Some(false) => Row::Bad("checked again: it is in a block, and failed".into()),
        None => Row::Caution("checked again: it is not in a block yet".into()),
    });
    match completed.verdict() {
        Some(Verdict::Proven | Verdict::Done) => rows.push(Row::Good(completed.in_words())),
        Some(_) => rows.push(Row::Bad(completed.in_words())),
        None => {}
    }
    if let Some(paused) = &completed.paused {
        rows.push(Row::Good(format!("read back at block {}: the account refuses every session key", paused.block)));
    }
    if matches!(purpose, Purpose::Revoke { .. } | Purpose::Panic) {
        rows.extend(completed.proofs.iter().map(|proof| {
            Row::Good(format!("proven at block {}: its approval is refused with \"{}\"", proof.block, proof.replay))
        }));
        if let Some(error) = &completed.not_proven {
            rows.push(Row::Bad(format!("NOT PROVEN: {}", error.message)));
        }
    }
    rows
}

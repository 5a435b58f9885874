//! Looking for keys that nobody here knows: an account's history is read from its chain, and what was found is listed. Nothing
//! is signed or sent.

use ratatui::{Frame, layout::Rect};

use super::{Copyable, Cx, Heading, Next, Opened, Screen, View, rows::failure_rows};
use crate::{
    tui::{
        data::{AccountId, Data},
        format,
        keymap::{Command, Place},
        keys::why_not_scan,
        message::{Effect, JobId, Report},
        widget::sheet::{self, Row, Scroll},
    },
    wallet::{
        error::Error,
        usecase::scan::{FoundKey, Scan, ScanProgress},
    },
};

#[derive(Debug)]
enum Step {
    Reading(JobId, Option<ScanProgress>),
    Done(Box<Scan>),
    Failed(Error),
}

#[derive(Debug)]
pub struct State {
    pub account: String,
    step: Step,
    scroll: Scroll,
}

pub fn open(account: Option<AccountId>, cx: &mut Cx<'_>) -> Opened {
    let account = account.and_then(|id| cx.data.account(&id));
    if let Some(why) = why_not_scan(account) {
        return Err(why);
    }
    let account = account.map(|a| a.name.clone()).ok_or("no account yet; press m to add one")?;
    let name = format!("scanning {account}");
    // One that goes on since its screen was left is looked at again, not begun anew.
    let job = cx.jobs.named(&name).unwrap_or_else(|| {
        let job = cx.jobs.start_change(name);
        cx.effects.push(Effect::Scan { job, account: account.clone() });
        job
    });
    Ok(Box::new(State { account, step: Step::Reading(job, None), scroll: Scroll::default() }))
}

impl State {
    fn rows(&self) -> Vec<Row> {
        match &self.step {
            Step::Reading(_, progress) => {
                let mut rows = vec![
                    Row::Head(format!("Scanning for session keys of {}", self.account)),
                    Row::Text("The chain has no list of keys; they are recovered from the account's history.".into()),
                ];
                rows.push(match progress {
                    None => Row::Item("finding the start of the history…".into()),
                    Some(p) => Row::Item(format!(
                        "block {} of {} ({} %), {} operations, {} keys so far",
                        p.through_block,
                        p.to_block,
                        percent(p),
                        p.operations,
                        p.keys
                    )),
                });
                rows.push(Row::Dim(
                    "Nothing is sent. Esc goes back and this continues; t shows it, and d stops it there.".into(),
                ));
                rows
            }
            Step::Done(scan) => result_rows(scan),
            Step::Failed(error) => failure_rows("The history could not be read completely", error),
        }
    }
}

impl Screen for State {
    fn places(&self) -> Vec<Place> {
        match self.step {
            Step::Done(_) => vec![Place::Outcome, Place::Copyable, Place::Sheet],
            Step::Failed(_) => vec![Place::Outcome, Place::Sheet],
            Step::Reading(..) => vec![Place::Sheet],
        }
    }

    fn command(&mut self, command: Command, cx: &mut Cx<'_>) -> Next {
        if command == Command::Back {
            return Next::Back;
        }
        let lines = sheet::lay_out(&self.rows(), sheet::columns(cx.body), cx.theme).len();
        self.scroll.command(command, lines, usize::from(cx.body.height));
        Next::Stay
    }

    fn copyable(&self, _: &Data) -> Option<Copyable> {
        let Step::Done(scan) = &self.step else { return None };
        let text = sheet::text(&result_rows(scan));
        Some(Copyable { what: "what was found".into(), file: "scan".into(), text })
    }

    fn report(&mut self, job: JobId, report: &Report, _: &mut Cx<'_>) -> bool {
        let Step::Reading(waiting, progress) = &mut self.step else { return false };
        if *waiting != job {
            return false;
        }
        match report {
            Report::Scanning(now) => *progress = Some(*now),
            Report::Scanned(scan) => self.step = Step::Done(scan.clone()),
            Report::Failed(error) => self.step = Step::Failed(error.clone()),
            _ => return false,
        }
        true
    }

    fn heading(&self, view: &View<'_>) -> Heading {
        Heading::named(view, &self.account)
    }

    fn render(&self, view: &View<'_>, frame: &mut Frame<'_>, area: Rect) {
        sheet::render_rows(frame, area, &self.rows(), self.scroll, view.theme);
    }
}

fn percent(progress: &ScanProgress) -> u64 {
    let all = progress.to_block.saturating_sub(progress.from_block).saturating_add(1);
    let read = progress.through_block.saturating_sub(progress.from_block).saturating_add(1);
    read.min(all).saturating_mul(100) / all.max(1)
}

fn result_rows(scan: &Scan) -> Vec<Row> {
    let new = scan.keys.iter().filter(|k| !k.known).count();
    let mut rows = vec![Row::Head(match (scan.keys.len(), new) {
        (0, _) => format!("{}: no session key was ever enabled", scan.account),
        (1, 0) => format!("{}: 1 key, already in your list", scan.account),
        (all, 0) => format!("{}: {all} keys, all already in your list", scan.account),
        (1, _) => format!("{}: 1 key, new here", scan.account),
        (all, new) => format!("{}: {all} keys, {new} of them new here", scan.account),
    })];
    rows.push(if scan.complete {
        Row::Good("every nonce is accounted for: these are all the keys ever enabled".into())
    } else {
        Row::Bad("some nonces are not accounted for: there may be unknown keys".into())
    });
    rows.extend(scan.findings.iter().map(|f| Row::Caution(f.message.clone())));
    rows.push(Row::Dim(format!(
        "blocks {} to {}, {} operations of the account",
        scan.from_block, scan.through_block, scan.operations
    )));
    rows.push(Row::Blank);
    for key in &scan.keys {
        rows.extend(key_rows(key));
    }
    if new > 0 {
        rows.push(Row::Advice("new keys are now listed on home: inspect or revoke them".into()));
    }
    rows
}

fn key_rows(found: &FoundKey) -> Vec<Row> {
    let label = found.key.as_ref().map_or_else(|| "no longer on chain".to_owned(), |k| k.label.clone());
    let state = found.key.as_ref().map_or_else(String::new, |k| format!(", {}", k.state));
    let turns: Vec<String> = found.turns.iter().map(|t| t.nonce.to_string()).collect();
    let turns = match turns.as_slice() {
        [] => String::new(),
        [only] => format!(", nonce {only}"),
        several => format!(", nonces {}", several.join(", ")),
    };
    let used = match (&found.last_use, found.uses) {
        (Some(last), uses) => {
            let when = last.time.map_or_else(|| format!("in block {}", last.block), format::full_date);
            let times = if uses == 1 { "once".to_owned() } else { format!("{uses} times") };
            format!("used {times}, last {when}")
        }
        (None, _) => "never used".to_owned(),
    };
    let text = format!("{label}{state}{turns}: {used}");
    let row = if found.known { Row::Item(text) } else { Row::Caution(format!("NEW {text}")) };
    vec![row, Row::Note(found.session_key.to_string())]
}

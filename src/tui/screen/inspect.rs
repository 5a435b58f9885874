//! One key: what it may do in sentences, its state and why, when, who pays, and - when asked - the words the chain compares.

use ratatui::{Frame, layout::Rect};

use super::{Cx, Destination, Heading, Next, Screen, View, Watched, review, rows::raw_rows};
use crate::{
    policy::sentence,
    protocol::Format,
    tui::{
        attention::{attention, pays_gas},
        data::{AccountRow, Data},
        format,
        key_words::over,
        keymap::{Command, Place},
        keys::{GONE, why_not_enable, why_not_revoke},
        message::{Effect, JobId, Notice, Report},
        widget::sheet::{self, Row, Scroll},
    },
    wallet::{
        error::Error,
        state::{DRAFT, State as KeyState},
        usecase::key::KeyView,
    },
};

#[derive(Debug)]
pub struct State {
    key_id: String,
    raw: bool,
    scroll: Scroll,
    reading: Option<JobId>,
    failed: Option<Error>,
    /// The serialized approvals, where they were asked for.
    text: Vec<String>,
    reading_text: Option<JobId>,
}

pub fn open(key: String, cx: &mut Cx<'_>) -> Box<dyn Screen> {
    let mut state = State {
        key_id: key,
        raw: false,
        scroll: Scroll::default(),
        reading: None,
        failed: None,
        text: Vec::new(),
        reading_text: None,
    };
    state.read(cx);
    Box::new(state)
}

impl State {
    fn read(&mut self, cx: &mut Cx<'_>) {
        if self.reading.is_none() {
            let job = cx.jobs.start("reading the key", false);
            self.reading = Some(job);
            cx.effects.push(Effect::ReadKeys { job, keys: vec![self.key_id.clone()] });
        }
    }

    /// The approval, without the private key.
    fn text(&mut self, cx: &mut Cx<'_>) {
        if !self.text.is_empty() {
            self.text.clear();
        } else if self.reading_text.is_none() {
            let job = cx.jobs.start("reading the approval", false);
            cx.effects.push(Effect::ReadApproval { job, key: self.key_id.clone(), format: Format::V4 });
            self.reading_text = Some(job);
        }
    }

    fn rows(&self, data: &Data, now: u64) -> Vec<Row> {
        let Some(key) = data.key(&self.key_id) else {
            return vec![Row::Bad(GONE.into())];
        };
        let mut rows =
            vec![Row::Head(format!("{} is {}", key.label, key.state)), Row::Text(capital(&key.state_reason))];
        if let Some(error) = &self.failed {
            rows.push(Row::Caution(format!("refresh failed: {}", error.message)));
        }
        if let Some(error) = key.unread.as_ref().filter(|_| self.failed.is_none() && key.as_of.is_some()) {
            rows.push(Row::Caution(format!(
                "this may be out of date: {} has not answered since: {}",
                key.network, error.message
            )));
        }
        rows.extend(
            data.account_of(key).into_iter().flat_map(AccountRow::critical).map(|f| Row::Bad(f.message.clone())),
        );
        if let Some(look) = attention(key) {
            let text = format!("this key {}", look.words);
            rows.push(if look.urgent { Row::Bad(text) } else { Row::Caution(text) });
        }
        if !key.risks.is_empty() {
            rows.push(Row::Blank);
            rows.push(Row::Head("What could go wrong".into()));
            rows.extend(review::findings(&key.risks));
        }
        rows.push(Row::Blank);
        rows.push(Row::Head("What it may do".into()));
        // The last two sentences are about the window and the gas; they have their own headings below.
        let calls = key.sentences.len().saturating_sub(2);
        for (i, sentence) in key.sentences.iter().take(calls).enumerate() {
            rows.push(Row::Item(sentence.clone()));
            if let (Some(Some(uses)), Some(permission)) = (key.uses.get(i), key.permissions.get(i)) {
                rows.push(Row::Note(format!("used {uses} of {} times", permission.execution_rule.runs)));
            }
        }
        rows.push(Row::Blank);
        rows.push(Row::Head("When".into()));
        rows.extend(key.sentences.iter().skip(calls).take(1).map(|s| Row::Item(s.clone())));
        if let Some(left) = relative(key, data.chain_time(&key.network, now)) {
            rows.push(Row::Item(left));
        }
        rows.push(Row::Head("Gas payer (paymaster)".into()));
        rows.extend(
            key.sentences
                .iter()
                .skip(calls + 1)
                .map(|s| if pays_gas(key) { Row::Caution(s.clone()) } else { Row::Item(s.clone()) }),
        );
        rows.push(Row::Head("Who can revoke it".into()));
        rows.push(Row::Item(undo(key, data)));
        rows.push(Row::Blank);
        rows.extend(facts(key));
        for text in &self.text {
            rows.push(Row::Blank);
            rows.push(Row::Head("The approval, without the private key".into()));
            rows.push(Row::Text(text.clone()));
        }
        if self.raw {
            rows.push(Row::Blank);
            rows.extend(raw_rows(&key.permissions, key.partial_root));
        }
        rows
    }
}

impl Screen for State {
    fn places(&self) -> Vec<Place> {
        vec![Place::Inspect, Place::Sheet]
    }

    fn command(&mut self, command: Command, cx: &mut Cx<'_>) -> Next {
        match command {
            Command::Back => return Next::Back,
            Command::Raw => {
                self.raw = !self.raw;
                self.scroll = Scroll::default();
            }
            Command::Refresh => self.read(cx),
            Command::Revoke => return Next::Open(Destination::Revoke { keys: vec![self.key_id.clone()] }),
            Command::Enable => return Next::Open(Destination::Enable { keys: vec![self.key_id.clone()] }),
            Command::Send => return Next::Open(Destination::SendAsKey { key: self.key_id.clone() }),
            Command::Export => return Next::Open(Destination::Export { key: self.key_id.clone() }),
            Command::Copy => {
                if let Some(key) = cx.data.key(&self.key_id) {
                    cx.effects.push(Effect::Copy { text: key.session_key.to_string() });
                    let text = format!("copied {}, if your terminal allows it", key.session_key);
                    *cx.notice = Some(Notice::say(text));
                }
            }
            Command::Text => self.text(cx),
            command => {
                let lines = sheet::lay_out(&self.rows(cx.data, cx.now), sheet::columns(cx.body), cx.theme).len();
                self.scroll.command(command, lines, usize::from(cx.body.height));
            }
        }
        Next::Stay
    }

    fn why_not(&self, command: Command, data: &Data) -> Option<String> {
        let key = data.key(&self.key_id)?;
        match command {
            Command::Revoke => why_not_revoke(&[key], data),
            Command::Enable => why_not_enable(&[key], data),
            _ => None,
        }
    }

    fn report(&mut self, job: JobId, report: &Report, _: &mut Cx<'_>) -> bool {
        if self.reading_text == Some(job) {
            self.reading_text = None;
            if let Report::ApprovalText(texts) = report {
                self.text.clone_from(texts);
                self.scroll = Scroll(usize::MAX / 2);
            }
            return !matches!(report, Report::Failed(_));
        }
        if self.reading != Some(job) {
            return false;
        }
        self.reading = None;
        self.failed = match report {
            Report::Failed(error) => Some(error.clone()),
            _ => None,
        };
        true
    }

    fn watched(&self, data: &Data) -> Option<Watched> {
        let account = data.key(&self.key_id).and_then(|k| data.account_of(k)).map(AccountRow::id);
        Some(Watched { key: account.as_ref().map(|_| self.key_id.clone()), account })
    }

    fn heading(&self, view: &View<'_>) -> Heading {
        Heading::of_key(view, &self.key_id)
    }

    fn render(&self, view: &View<'_>, frame: &mut Frame<'_>, area: Rect) {
        let lines = sheet::lay_out(&self.rows(view.data, view.now), sheet::columns(area), view.theme);
        let inner = Rect { x: area.x + 1.min(area.width), width: area.width.saturating_sub(1), ..area };
        sheet::render(frame, inner, lines, self.scroll, view.theme);
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

/// The window against the chain's time now.
fn relative(key: &KeyView, now: u64) -> Option<String> {
    if key.valid_after > now {
        return Some(format!("starts in {}", sentence::rough_duration(key.valid_after - now)));
    }
    match key.valid_until {
        0 => None,
        end if end < now => Some(format!("ended {} ago", sentence::rough_duration(now - end))),
        end => Some(format!("ends in {}", sentence::rough_duration(end - now))),
    }
}

fn undo(key: &KeyView, data: &Data) -> String {
    match (key.imported, data.account_of(key).and_then(|a| a.view.as_ref())) {
        (_, _) if over(key.state) => "nothing is left to revoke".into(),
        (true, _) | (_, None) => "only the account's owner, who is someone else".into(),
        (_, Some(view)) if view.watch_only => {
            format!("the owner {}, whose key is not here", format::short_address(view.owner))
        }
        (_, Some(_)) if key.state == KeyState::Draft => format!("you, at any time: x revokes it. {DRAFT}"),
        (_, Some(_)) => "you, at any time: x revokes it".into(),
    }
}

fn facts(key: &KeyView) -> Vec<Row> {
    let held = if key.has_secret { " (private key in your vault)" } else { " (held by someone else)" };
    let mut rows = vec![
        Row::Fact("session key", format!("{}{held}", key.session_key)),
        Row::Fact("account", format!("{} on {}", key.account, key.network)),
        Row::Fact("validator", format!("{} {}", key.validator, key.validator.address())),
        Row::Fact("record", key.key_id.clone()),
    ];
    for approval in &key.approvals {
        rows.push(Row::Fact(
            "approval",
            format!("enables {} with nonce {}: {}", approval.selector, approval.nonce, approval.state),
        ));
        rows.push(Row::Note(format!("digest {}", approval.digest)));
    }
    rows.push(match key.as_of {
        Some(time) => Row::Fact("as of", format!("{} (chain time)", format::full_date(time))),
        None => Row::Fact("as of", "not read from its chain yet".into()),
    });
    rows
}

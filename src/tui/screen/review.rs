//! The one path that every signature and every send passes: everything is shown, read to its end, and confirmed by a fresh
//! press of a key that opens nothing.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::Paragraph,
};

use super::Cx;
use crate::{
    policy::risk::{Checked, Effect as Consequence, Finding},
    tui::{
        form::Field,
        format,
        input::Moment,
        keymap::{Command, Place},
        theme::Theme,
        widget::sheet::{self, Row, Scroll},
    },
    wallet::usecase::grant::Accepted,
};

/// How long, in milliseconds, the confirming key must have been left alone: a held key repeats sooner than this, and what
/// was typed ahead arrives at once.
pub const QUIET: u64 = 700;

/// What has to be done before it can be confirmed.
const SCROLL: &str = "▼ more below: scroll to the end to continue";
const TYPE_FIRST: &str = "press Tab and type the phrase to continue";
const TYPE_IT: &str = "type it word for word, then ↵";

/// A phrase that must be typed, word for word, to accept a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Phrase {
    id: &'static str,
    wanted: &'static str,
    field: Field,
}

impl Phrase {
    fn is_typed(&self) -> bool {
        self.field.text().trim() == self.wanted
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    rows: Vec<Row>,
    /// What `y` does: "sign", "revoke".
    verb: &'static str,
    phrases: Vec<Phrase>,
    typing: Option<usize>,
    /// Why it can never be confirmed.
    refused: Option<String>,
    scroll: Scroll,
    read_to_end: bool,
    /// When this was first drawn.
    drawn: Option<Moment>,
    /// The latest press of the confirming key.
    pressed: Option<Moment>,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Nothing,
    Back,
    NotYet(String),
    Confirmed(Accepted),
}

impl Review {
    pub fn new(verb: &'static str, rows: Vec<Row>, findings: &[Finding]) -> Self {
        let mut phrases: Vec<Phrase> = Vec::new();
        let mut refused = None;
        for finding in findings {
            match finding.effect {
                Consequence::Warn => {}
                Consequence::Block(wanted) if phrases.iter().any(|p| p.id == finding.id && p.wanted == wanted) => {}
                Consequence::Block(wanted) => {
                    phrases.push(Phrase { id: finding.id, wanted, field: Field::default() });
                }
                Consequence::Refuse => {
                    refused = Some(format!("{}: keyleash never signs this; Esc goes back", finding.id))
                }
            }
        }
        Self {
            rows,
            verb,
            phrases,
            typing: None,
            refused,
            scroll: Scroll::default(),
            read_to_end: false,
            drawn: None,
            pressed: None,
        }
    }

    pub fn places(&self) -> Vec<Place> {
        match (self.typing, self.phrases.is_empty()) {
            (Some(_), _) => vec![Place::Phrase],
            (None, true) => vec![Place::Review, Place::Sheet],
            (None, false) => vec![Place::Review, Place::Blocked, Place::Sheet],
        }
    }

    pub fn field(&mut self) -> Option<&mut Field> {
        let typing = self.typing?;
        self.phrases.get_mut(typing).map(|p| &mut p.field)
    }

    pub fn command(&mut self, command: Command, cx: &Cx<'_>) -> Answer {
        if let Some(typing) = self.typing {
            self.typing = match command {
                Command::Next => Some((typing + 1) % self.phrases.len().max(1)),
                Command::Open => {
                    (typing + 1..self.phrases.len()).find(|i| self.phrases.get(*i).is_some_and(|p| !p.is_typed()))
                }
                _ => None,
            };
            // What was typed last may still be arriving.
            self.drawn = None;
            return Answer::Nothing;
        }
        match command {
            Command::Back => Answer::Back,
            Command::Confirm => self.confirm(cx.at),
            Command::Phrase => {
                self.typing = self.phrases.iter().position(|p| !p.is_typed()).or(Some(0));
                Answer::Nothing
            }
            command => {
                let sheet = self.parts(cx.body).0;
                self.scroll.command(command, self.lines(sheet, cx.theme).len(), usize::from(sheet.height));
                Answer::Nothing
            }
        }
    }

    fn confirm(&mut self, at: Moment) -> Answer {
        let held = self.pressed.replace(at).is_some_and(|before| at.since(before) < QUIET);
        let not_yet = |why: &str| Answer::NotYet(why.to_owned());
        if let Some(why) = &self.refused {
            return Answer::NotYet(why.clone());
        }
        if held || self.drawn.is_none_or(|drawn| at.since(drawn) < QUIET) {
            return not_yet("too soon after it was shown: read it, then press y once");
        }
        if !self.read_to_end {
            return not_yet("more below: scroll to the end first");
        }
        if let Some(missing) = self.phrases.iter().find(|p| !p.is_typed()) {
            return Answer::NotYet(format!("{} requires its phrase: press Tab and type it", missing.id));
        }
        let accepted = self.phrases.iter().map(|p| (p.id.to_owned(), p.wanted.to_owned())).collect();
        Answer::Confirmed(accepted)
    }

    /// It has been seen, as far as it was in sight.
    pub fn drawn(&mut self, cx: &Cx<'_>) {
        let sheet = self.parts(cx.body).0;
        self.drawn.get_or_insert(cx.at);
        self.read_to_end |= self.scroll.at_end(self.lines(sheet, cx.theme).len(), usize::from(sheet.height));
    }

    /// It must be seen again before anything is confirmed.
    pub fn resized(&mut self) {
        self.drawn = None;
    }

    fn lines(&self, sheet: Rect, theme: Theme) -> Vec<Line<'static>> {
        sheet::lay_out(&self.rows, usize::from(sheet.width).saturating_sub(2), theme)
    }

    fn question(&self) -> String {
        format!("y to {}, Esc to go back", self.verb)
    }

    /// Lines for the question, or for what has to be done first, whichever is said: the room does not change with it.
    fn asking(&self, columns: u16) -> u16 {
        let question = self.question();
        let said = [self.refused.as_deref().unwrap_or_default(), TYPE_IT, SCROLL, TYPE_FIRST, &question];
        let lines = said.map(|text| format::wrap(text, columns.into()).len()).into_iter().max().unwrap_or(1);
        u16::try_from(lines).unwrap_or(1)
    }

    /// The text, and beneath it the question.
    fn parts(&self, area: Rect) -> (Rect, Rect) {
        let x = area.x + 1.min(area.width);
        let width = area.width.saturating_sub(1);
        let foot = (if self.phrases.is_empty() { 0 } else { 2 } + self.asking(width)).min(area.height);
        (
            Rect { x, width, height: area.height - foot, ..area },
            Rect { x, width, y: area.y + area.height - foot, height: foot },
        )
    }

    pub fn render(&self, frame: &mut Frame<'_>, area: Rect, theme: Theme) {
        let (text, foot) = self.parts(area);
        let lines = self.lines(text, theme);
        let at_end = self.read_to_end || self.scroll.at_end(lines.len(), usize::from(text.height));
        sheet::render(frame, text, lines, self.scroll, theme);
        let (ask, style) = match &self.refused {
            Some(why) => (why.clone(), theme.bad()),
            None if self.typing.is_some() => (TYPE_IT.to_owned(), theme.accent()),
            None if !at_end => (SCROLL.to_owned(), theme.caution()),
            None if self.phrases.iter().any(|p| !p.is_typed()) => (TYPE_FIRST.to_owned(), theme.caution()),
            None => (self.question(), theme.accent().patch(theme.head())),
        };
        let height = self.asking(foot.width).min(foot.height);
        self.phrase(frame, Rect { height: foot.height - height, ..foot }, theme);
        let lines = format::wrap(&ask, foot.width.into()).into_iter().map(|line| Line::styled(line, style));
        let last = Rect { y: foot.bottom().saturating_sub(height), height, ..foot };
        frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), last);
    }

    /// The phrase that is being typed, or the first that is missing.
    fn phrase(&self, frame: &mut Frame<'_>, foot: Rect, theme: Theme) {
        let at = self.typing.or_else(|| self.phrases.iter().position(|p| !p.is_typed())).unwrap_or(0);
        let Some(phrase) = self.phrases.get(at).filter(|_| foot.height == 2) else { return };
        let state = if phrase.is_typed() { "✓ accepted" } else { "type" };
        let heading = format!("{} ({} of {}), {state}: {}", phrase.id, at + 1, self.phrases.len(), phrase.wanted);
        let columns = usize::from(foot.width);
        frame.render_widget(Span::styled(format::cut(&heading, columns), theme.caution()), Rect { height: 1, ..foot });
        let (before, behind) = phrase.field.parts();
        let room = columns.saturating_sub(4);
        let skip = format::width(&before).saturating_sub(room);
        let before: String = before.chars().skip(skip).collect();
        let row = Rect { y: foot.y + 1, height: 1, ..foot };
        let style = if self.typing.is_some() { theme.plain() } else { theme.dim() };
        frame.render_widget(Line::styled(format::cut(&format!("> {before}{behind}"), columns), style), row);
        if self.typing.is_some() {
            let x = row.x + 2 + u16::try_from(format::width(&before)).unwrap_or(0);
            frame.set_cursor_position((x.min(row.right().saturating_sub(1)), row.y));
        }
    }
}

/// The findings as rows, the gravest first.
pub fn findings(findings: &[Finding]) -> Vec<Row> {
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|f| (matches!(f.effect, Consequence::Warn), std::cmp::Reverse(f.severity)));
    let mut rows = Vec::new();
    for finding in sorted {
        let at = finding.permission.map_or(String::new(), |p| format!("permission {}: ", p + 1));
        let text = format!("{} ({})", format::clean(&format!("{at}{}", finding.message)), finding.id);
        rows.push(match finding.effect {
            Consequence::Warn => Row::Caution(text),
            Consequence::Block(_) | Consequence::Refuse => Row::Bad(text),
        });
        rows.push(Row::Advice(finding.advice.clone()));
    }
    rows
}

/// What was looked at. Nothing is green while an argument that decides over assets is free or a function is not known.
pub fn checked(checked: &Checked) -> Vec<Row> {
    let row = |check: &crate::policy::risk::Check| match check.holds {
        Some(true) if checked.arguments_hold => Row::Good(check.words.clone()),
        Some(true) => Row::Item(check.words.clone()),
        Some(false) => Row::Caution(check.words.clone()),
        None => Row::Dim(format!("? {}", check.words)),
    };
    checked.checks.iter().map(row).collect()
}

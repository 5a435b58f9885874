//! The palette: every command of the present screen, found by a few letters of its name. A command that is not available now
//! says why. Read from the table that binds the keys.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::{Block, Clear, Paragraph},
};

use crate::tui::{
    form::Field,
    format,
    keymap::{self, Binding, Command, Place},
    theme::Theme,
};

/// Widest that the list of commands is drawn, in columns.
const WIDEST: u16 = 64;

/// One command, and why it cannot be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    shown: &'static str,
    what: &'static str,
    about: &'static str,
    command: Command,
    why_not: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    entries: Vec<Entry>,
    wanted: Field,
    chosen: usize,
}

/// What became of a command to the palette.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Picked {
    Stay,
    Close,
    Do(Command),
    /// It is not available now.
    NotNow(String),
}

impl State {
    /// What there is to do in these places.
    pub fn new(places: &[Place], why_not: impl Fn(Command) -> Option<String>) -> Self {
        let entry = |b: &'static Binding| Entry {
            shown: b.shown,
            what: b.what,
            about: b.at_length(),
            command: b.command,
            why_not: match b.command {
                // Enter chooses here, and Enter must not sign.
                Command::Confirm => Some("confirm with its own key, in the review".to_owned()),
                command => why_not(command),
            },
        };
        let offered =
            keymap::offered(places).into_iter().filter(|b| !matches!(b.command, Command::Palette | Command::Back));
        Self { entries: offered.map(entry).collect(), ..Self::default() }
    }

    pub fn field(&mut self) -> &mut Field {
        &mut self.wanted
    }

    /// The text has changed: the first that matches is chosen.
    pub fn edited(&mut self) {
        self.chosen = 0;
    }

    fn matching(&self) -> Vec<&Entry> {
        let wanted = self.wanted.text().to_lowercase();
        let words: Vec<&str> = wanted.split_whitespace().collect();
        let has = |e: &Entry, w: &str| e.what.contains(w) || e.about.contains(w) || e.shown == w;
        self.entries.iter().filter(|e| words.iter().all(|w| has(e, w))).collect()
    }

    pub fn command(&mut self, command: Command) -> Picked {
        const PAGE: usize = 8;
        let matching = self.matching();
        let last = matching.len().saturating_sub(1);
        let at = self.chosen.min(last);
        match command {
            Command::Back => return Picked::Close,
            Command::Open => {
                return match matching.get(at) {
                    None => Picked::Stay,
                    Some(Entry { why_not: Some(why), .. }) => Picked::NotNow(why.clone()),
                    Some(entry) => Picked::Do(entry.command),
                };
            }
            Command::Up => self.chosen = at.saturating_sub(1),
            Command::Down => self.chosen = (at + 1).min(last),
            Command::PageUp => self.chosen = at.saturating_sub(PAGE),
            Command::PageDown => self.chosen = (at + PAGE).min(last),
            _ => {}
        }
        Picked::Stay
    }

    pub fn render(&self, frame: &mut Frame<'_>, body: Rect, theme: Theme) {
        let matching = self.matching();
        let width = body.width.min(WIDEST);
        let wanted = u16::try_from(self.entries.len().saturating_add(3)).unwrap_or(u16::MAX);
        let height = wanted.min(body.height);
        let area = Rect { x: body.x + (body.width - width) / 2, y: body.y, width, height };
        let block = Block::bordered().title(" Commands ").border_style(theme.accent());
        let inner = block.inner(area);
        let columns = usize::from(inner.width);
        frame.render_widget(Clear, area);
        frame.render_widget(block, area);
        let (before, behind) = self.wanted.parts();
        let mut lines = vec![Line::raw(format::cut(&format!(": {before}{behind}"), columns))];
        let room = usize::from(inner.height).saturating_sub(1);
        let chosen = self.chosen.min(matching.len().saturating_sub(1));
        let top = (chosen + 1).saturating_sub(room);
        for (i, entry) in matching.iter().enumerate().skip(top).take(room) {
            lines.push(line(entry, i == chosen, columns, theme));
        }
        if matching.is_empty() {
            lines.push(Line::styled("  no matching command", theme.dim()));
        }
        frame.render_widget(Paragraph::new(lines), inner);
        let x = inner.x + 2 + u16::try_from(format::width(&before)).unwrap_or(u16::MAX).min(inner.width);
        if inner.height > 0 && inner.width > 0 {
            frame.set_cursor_position((x.min(inner.right() - 1), inner.y));
        }
    }
}

fn line(entry: &Entry, chosen: bool, columns: usize, theme: Theme) -> Line<'static> {
    let mark = if chosen { "▸ " } else { "  " };
    let what = if entry.why_not.is_some() { entry.what } else { entry.about };
    let name = format!("{mark}{} {what}", format::fit(entry.shown, 6));
    let style = match (chosen, entry.why_not.is_some()) {
        (true, _) => theme.selected(),
        (false, true) => theme.dim(),
        (false, false) => theme.plain(),
    };
    match &entry.why_not {
        None => Line::styled(format::fit(&name, columns), style),
        Some(why) => {
            let why = format!("  {}", format::clean(why));
            let room = columns.saturating_sub(format::width(&name));
            Line::from(vec![Span::styled(name, style), Span::styled(format::fit(&why, room), style.patch(theme.dim()))])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(why_not: impl Fn(Command) -> Option<String>) -> State {
        State::new(&[Place::Home, Place::Program, Place::Always], why_not)
    }

    #[test]
    fn a_few_letters_find_a_command() {
        let mut palette = home(|_| None);
        palette.field().paste("revoke all");
        palette.edited();
        assert_eq!(palette.command(Command::Open), Picked::Do(Command::RevokeAll));
    }

    #[test]
    fn a_command_that_is_not_available_says_why() {
        let mut palette = home(|c| (c == Command::Grant).then(|| "watch-only".to_owned()));
        palette.field().paste("new session");
        assert_eq!(palette.command(Command::Open), Picked::NotNow("watch-only".into()));
    }

    #[test]
    fn what_confirms_is_never_done_from_here() {
        let mut palette = State::new(&[Place::Review, Place::Program], |_| None);
        palette.field().paste("confirm");
        assert!(matches!(palette.command(Command::Open), Picked::NotNow(_)));
    }
}

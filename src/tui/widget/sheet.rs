//! A text to be read: rows of plain language, wrapped to the width there is, scrolled when they do not fit.

use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
    widgets::Paragraph,
};

use crate::tui::{format, keymap::Command, theme::Theme};

/// One row before it is laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    Head(String),
    Text(String),
    /// Secondary: technical terms, what to do next.
    Dim(String),
    /// More about the row before.
    Note(String),
    /// What to do about the row before.
    Advice(String),
    Item(String),
    /// What went well, or is proven.
    Good(String),
    /// What should be looked at.
    Caution(String),
    /// What must not be overlooked.
    Bad(String),
    Fact(&'static str, String),
    Blank,
}

/// Columns before the value of a fact.
const FACT: usize = 14;

/// The rows as lines of at most `columns`.
pub fn lay_out(rows: &[Row], columns: usize, theme: Theme) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for row in rows {
        let (lead, text, style) = match row {
            Row::Head(text) => ("", text, theme.head()),
            Row::Text(text) => ("", text, theme.plain()),
            Row::Dim(text) => ("", text, theme.dim()),
            Row::Note(text) => ("    ", text, theme.dim()),
            Row::Advice(text) => ("    → ", text, theme.plain()),
            Row::Item(text) => ("  · ", text, theme.plain()),
            Row::Good(text) => ("  ✓ ", text, theme.good()),
            Row::Caution(text) => ("  ! ", text, theme.caution()),
            Row::Bad(text) => (" !! ", text, theme.bad()),
            Row::Fact(label, text) => {
                fact(&mut lines, label, text, columns, theme);
                continue;
            }
            Row::Blank => {
                lines.push(Line::default());
                continue;
            }
        };
        hang(&mut lines, lead, style, text, style, columns);
    }
    lines
}

/// The rows as plain text, for a file or the clipboard: nothing is cut or wrapped.
pub fn text(rows: &[Row]) -> String {
    let mut out = String::new();
    for row in rows {
        match row {
            Row::Head(text) | Row::Text(text) | Row::Dim(text) => out.push_str(text),
            Row::Note(text) | Row::Advice(text) => out.push_str(&format!("  {text}")),
            Row::Item(text) | Row::Good(text) => out.push_str(&format!("- {text}")),
            Row::Caution(text) | Row::Bad(text) => out.push_str(&format!("! {text}")),
            Row::Fact(label, text) => out.push_str(&format!("{label}: {text}")),
            Row::Blank => {}
        }
        out.push('\n');
    }
    out.lines().map(|line| format::clean(line) + "\n").collect()
}

fn fact(lines: &mut Vec<Line<'static>>, label: &str, text: &str, columns: usize, theme: Theme) {
    let label = format!("  {}", format::fit(label, FACT.saturating_sub(2)));
    hang(lines, &label, theme.dim(), text, theme.plain(), columns);
}

/// The text behind its lead, further lines beneath the first one's text.
fn hang(lines: &mut Vec<Line<'static>>, lead: &str, lead_style: Style, text: &str, style: Style, columns: usize) {
    // On a very narrow screen the text gets the room.
    let lead = if columns > 2 * format::width(lead) { lead } else { "" };
    let indent = format::width(lead);
    let text = format::clean(text);
    for (i, piece) in format::wrap(&text, columns.saturating_sub(indent)).into_iter().enumerate() {
        let lead = if i == 0 { lead.to_owned() } else { " ".repeat(indent) };
        lines.push(Line::from(vec![Span::styled(lead, lead_style), Span::styled(piece, style)]));
    }
}

/// How far a sheet is scrolled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scroll(pub usize);

impl Scroll {
    /// Moves within `lines`, of which `height` can be seen. Answers whether the command was one that scrolls.
    pub fn command(&mut self, command: Command, lines: usize, height: usize) -> bool {
        let last = lines.saturating_sub(height);
        let page = height.saturating_sub(1).max(1);
        self.0 = match command {
            Command::Up => self.0.min(last).saturating_sub(1),
            Command::Down => self.0 + 1,
            Command::PageUp => self.0.min(last).saturating_sub(page),
            Command::PageDown => self.0 + page,
            Command::First => 0,
            Command::Last => last,
            _ => return false,
        }
        .min(last);
        true
    }

    /// Whether the end can be seen.
    pub const fn at_end(self, lines: usize, height: usize) -> bool {
        height > 0 && self.0 + height >= lines
    }
}

/// Columns for text: a margin on the left, and the mark for more on the right.
pub fn columns(area: Rect) -> usize {
    usize::from(area.width).saturating_sub(3)
}

/// Lays rows out with a margin on the left, and draws them.
pub fn render_rows(frame: &mut Frame<'_>, area: Rect, rows: &[Row], scroll: Scroll, theme: Theme) {
    let inner = Rect { x: area.x + 1.min(area.width), width: area.width.saturating_sub(1), ..area };
    render(frame, inner, lay_out(rows, columns(area), theme), scroll, theme);
}

/// Draws the part that can be seen; a mark in the last column says where there is more.
pub fn render(frame: &mut Frame<'_>, area: Rect, lines: Vec<Line<'static>>, scroll: Scroll, theme: Theme) {
    let height = usize::from(area.height);
    let total = lines.len();
    let top = scroll.0.min(total.saturating_sub(height));
    let shown: Vec<Line<'static>> = lines.into_iter().skip(top).take(height).collect();
    frame.render_widget(Paragraph::new(shown), area);
    let column = Rect { x: area.right().saturating_sub(1), width: area.width.min(1), height: 1, ..area };
    if top > 0 {
        frame.render_widget(Span::styled("▲", theme.accent()), column);
    }
    if top + height < total && area.height > 0 {
        frame.render_widget(Span::styled("▼", theme.accent()), Rect { y: area.bottom().saturating_sub(1), ..column });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_lines_hang_under_the_first() {
        let theme = Theme { colour: false };
        let lines = lay_out(&[Row::Item("may call mint on any".into())], 16, theme);
        let text: Vec<String> = lines.iter().map(ToString::to_string).collect();
        assert_eq!(text, ["  · may call", "    mint on any"]);
    }

    #[test]
    fn the_end_is_reached_by_scrolling_and_not_before() {
        let mut scroll = Scroll::default();
        assert!(!scroll.at_end(30, 10));
        scroll.command(Command::PageDown, 30, 10);
        assert!(!scroll.at_end(30, 10));
        scroll.command(Command::Last, 30, 10);
        assert!(scroll.at_end(30, 10));
        scroll.command(Command::Down, 30, 10);
        assert_eq!(scroll, Scroll(20));
        assert!(!scroll.at_end(30, 0));
    }
}

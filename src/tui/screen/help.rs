//! Help: every key there is, from the table that binds them.

use ratatui::{Frame, layout::Rect};

use crate::tui::{
    keymap::{Command, Place, TABLE},
    theme::Theme,
    widget::sheet::{self, Row, Scroll},
};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct State(Scroll);

impl State {
    /// Scrolls, or answers that help should close.
    pub fn command(&mut self, command: Command, body: Rect, theme: Theme) -> bool {
        let lines = sheet::lay_out(&rows(), sheet::columns(body), theme).len();
        self.0.command(command, lines, usize::from(body.height))
    }

    pub fn render(&self, frame: &mut Frame<'_>, area: Rect, theme: Theme) {
        sheet::render_rows(frame, area, &rows(), self.0, theme);
    }
}

fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for place in Place::ALL {
        rows.push(Row::Head(place.title().to_owned()));
        for binding in TABLE.iter().filter(|b| b.place == place) {
            rows.push(Row::Fact(binding.shown, binding.at_length().to_owned()));
        }
        rows.push(Row::Blank);
    }
    rows
}

//! A toy: a list of two rows.

use ratatui::{Frame, layout::Rect, text::Line, widgets::Paragraph};

use super::{Cx, Heading, Next, Screen, View};
use crate::tui::{
    format,
    keymap::{Command, Place},
    message::Notice,
    widget::list::moved,
};

const ROWS: [&str; 2] = ["a ball", "a kite"];

#[derive(Debug, Default)]
struct State {
    at: usize,
}

pub fn open(_: &mut Cx<'_>) -> Box<dyn Screen> {
    Box::new(State::default())
}

impl Screen for State {
    fn places(&self) -> Vec<Place> {
        vec![Place::Menu]
    }

    fn command(&mut self, command: Command, cx: &mut Cx<'_>) -> Next {
        match command {
            Command::Back => return Next::Back,
            Command::Open => *cx.notice = ROWS.get(self.at).map(|row| Notice::say(format!("you play with {row}"))),
            command => self.at = moved(command, self.at, ROWS.len(), ROWS.len()),
        }
        Next::Stay
    }

    fn heading(&self, _: &View<'_>) -> Heading {
        Heading::titled("toys")
    }

    fn render(&self, view: &View<'_>, frame: &mut Frame<'_>, area: Rect) {
        let columns = usize::from(area.width);
        let line = |(i, row): (usize, &&str)| {
            let (lead, style) = if i == self.at { ("▸", view.theme.selected()) } else { (" ", view.theme.plain()) };
            Line::styled(format::fit(&format!("{lead} {row}"), columns), style)
        };
        frame.render_widget(Paragraph::new(ROWS.iter().enumerate().map(line).collect::<Vec<_>>()), area);
    }
}

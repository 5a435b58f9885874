//! Handing over the approval of a key that is on record.

use ratatui::{Frame, layout::Rect};

use super::{Cx, Heading, Next, Opened, Screen, View, handover::Handover};
use crate::tui::{
    form::Field,
    keymap::{Command, Place},
    keys::GONE,
    message::{JobId, Report},
    widget::sheet::Row,
};

#[derive(Debug)]
pub struct State {
    key: String,
    handover: Handover,
}

pub fn open(key: String, cx: &mut Cx<'_>) -> Opened {
    let view = cx.data.key(&key).ok_or(GONE)?;
    let heading = vec![
        Row::Head(format!("Export the approval of {}", view.label)),
        Row::Dim("It says what the key may do, signed by the account's owner.".into()),
    ];
    let handover = Handover::new(view, heading);
    Ok(Box::new(State { key, handover }))
}

impl Screen for State {
    fn places(&self) -> Vec<Place> {
        self.handover.places()
    }

    fn field(&mut self) -> Option<&mut Field> {
        self.handover.field()
    }

    fn command(&mut self, command: Command, cx: &mut Cx<'_>) -> Next {
        self.handover.command(command, cx)
    }

    fn edited(&mut self, _: &mut Cx<'_>) {
        self.handover.edited();
    }

    fn report(&mut self, job: JobId, report: &Report, cx: &mut Cx<'_>) -> bool {
        self.handover.report(job, report, cx)
    }

    fn heading(&self, view: &View<'_>) -> Heading {
        Heading::of_key(view, &self.key)
    }

    fn render(&self, view: &View<'_>, frame: &mut Frame<'_>, area: Rect) {
        self.handover.render(view, frame, area);
    }
}

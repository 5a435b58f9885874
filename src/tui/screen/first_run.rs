//! The first run: there is no home yet. One Enter makes a sandbox; nothing is asked that a newcomer cannot know.

use ratatui::{Frame, layout::Rect, text::Line, widgets::Paragraph};

use crate::{
    tui::{
        app::{Cx, JobId, Model, Next, Report},
        effects::Effect,
        format,
        keymap::Command,
        widget::sheet::{self, Row, Scroll},
    },
    wallet::error::Error,
};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Choice {
    #[default]
    Sandbox,
    Live,
    Quit,
}

impl Choice {
    const ALL: [Self; 3] = [Self::Sandbox, Self::Live, Self::Quit];

    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Sandbox => ("Try it in the sandbox", "a chain inside this program: no network, no money"),
            Self::Live => ("Use a live network", "says which commands set that up"),
            Self::Quit => ("Quit", "nothing has been written"),
        }
    }
}

#[derive(Debug, Default)]
pub struct State {
    choice: Choice,
    making: Option<JobId>,
    failed: Option<Error>,
    live: bool,
}

impl State {
    pub fn command(&mut self, command: Command, cx: &mut Cx<'_>) -> Next {
        let at = Choice::ALL.iter().position(|c| *c == self.choice).unwrap_or(0);
        match command {
            Command::Up => self.choice = Choice::ALL.get(at.saturating_sub(1)).copied().unwrap_or_default(),
            Command::Down => self.choice = Choice::ALL.get(at + 1).copied().unwrap_or(self.choice),
            Command::Back => self.live = false,
            Command::Open if self.making.is_none() => match self.choice {
                Choice::Sandbox => {
                    let job = cx.jobs.start("making the sandbox", false);
                    self.making = Some(job);
                    self.failed = None;
                    cx.effects.push(Effect::InitSandbox { job });
                }
                Choice::Live => self.live = true,
                Choice::Quit => cx.effects.push(Effect::Quit),
            },
            _ => {}
        }
        Next::Stay
    }

    pub fn report(&mut self, job: JobId, report: &Report) -> bool {
        if self.making != Some(job) {
            return false;
        }
        self.making = None;
        if let Report::Failed(error) = report {
            self.failed = Some(error.clone());
        }
        true
    }

    pub fn render(&self, model: &Model, frame: &mut Frame<'_>, area: Rect) {
        let theme = model.theme;
        let columns = usize::from(area.width).saturating_sub(6).min(72);
        let x = area.x + (area.width.saturating_sub(u16::try_from(columns).unwrap_or(0))) / 2;
        let area = Rect { x, width: u16::try_from(columns).unwrap_or(0), ..area };
        let mut lines = Vec::new();
        if area.height > 14 {
            lines.push(Line::default());
        }
        let opening = [
            Row::Head("See, give and take back session keys".into()),
            Row::Text(
                "A session key is a key for an app or a bot that can do only what you allow with your smart account, \
                 for as long as you allow it."
                    .into(),
            ),
            Row::Blank,
        ];
        lines.extend(sheet::lay_out(&opening, columns, theme));
        if area.height > 14 {
            let folder = format!("There is no keyleash home in {} yet.", model.folder);
            lines.extend(sheet::lay_out(&[Row::Dim(folder), Row::Blank], columns, theme));
        }
        for choice in Choice::ALL {
            let (name, what) = choice.words();
            let mark = if choice == self.choice { "▸" } else { " " };
            let style = if choice == self.choice { theme.selected() } else { theme.plain() };
            lines.push(Line::styled(format::fit(&format!(" {mark} {name}"), columns), style));
            let what = sheet::lay_out(&[Row::Dim(format!("   {what}"))], columns, theme);
            if area.height > 12 {
                lines.extend(what.into_iter().map(|l| Line::styled(format!("   {l}"), theme.dim())));
            }
        }
        lines.push(Line::default());
        lines.extend(sheet::lay_out(&self.remarks(), columns, theme));
        if lines.len() > usize::from(area.height) && (self.failed.is_some() || self.live) {
            // What was asked for last matters most on a small screen.
            let remarks = sheet::lay_out(&self.remarks(), columns, theme);
            sheet::render(frame, area, remarks, Scroll::default(), theme);
            return;
        }
        frame.render_widget(Paragraph::new(lines), area);
    }

    fn remarks(&self) -> Vec<Row> {
        if let Some(error) = &self.failed {
            let mut rows = vec![Row::Bad(error.message.clone())];
            if !error.hint.is_empty() {
                rows.push(Row::Way(error.hint.clone()));
            }
            return rows;
        }
        if self.live {
            return vec![
                Row::Text("Leave with q, then:".into()),
                Row::Item("keyleash init".into()),
                Row::Item("keyleash network add NAME --chain-id N --rpc URL --bundler URL".into()),
                Row::Item("keyleash account new NAME --owner-new".into()),
                Row::Dim("and start keyleash again.".into()),
            ];
        }
        Vec::new()
    }
}

//! The first run: there is no home yet. One Enter makes a sandbox; nothing is asked that a newcomer cannot know.

use ratatui::{Frame, layout::Rect, text::Line, widgets::Paragraph};

use super::{Cx, Next, Screen, View};
use crate::{
    tui::{
        format,
        keymap::{Command, Place},
        message::{Effect, JobId, Report},
        widget::sheet::{self, Row, Scroll},
    },
    wallet::{Backend, error::Error},
};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Choice {
    #[default]
    Sandbox,
    Live,
    Quit,
    /// Secrets of a live home in the operating system's keyring.
    Keyring,
    /// The same in files sealed with a passphrase.
    File,
}

impl Choice {
    const FIRST: [Self; 3] = [Self::Sandbox, Self::Live, Self::Quit];
    const VAULT: [Self; 2] = [Self::Keyring, Self::File];

    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Sandbox => ("Try it in the sandbox", "a chain inside this program: no network, no real money"),
            Self::Live => ("Use a live network", "with your own accounts; asks where to store keys"),
            Self::Quit => ("Quit", "nothing has been written"),
            Self::Keyring => ("In the system's keyring", "unlocked with your login, where there is one"),
            Self::File => ("In files sealed with a passphrase", "you are asked for it when you sign"),
        }
    }
}

#[derive(Debug, Default)]
pub struct State {
    choice: Choice,
    making: Option<JobId>,
    failed: Option<Error>,
}

impl State {
    /// What there is to choose from now.
    const fn choices(&self) -> &'static [Choice] {
        match self.choice {
            Choice::Sandbox | Choice::Live | Choice::Quit => &Choice::FIRST,
            Choice::Keyring | Choice::File => &Choice::VAULT,
        }
    }

    fn choose(&mut self, cx: &mut Cx<'_>) {
        self.failed = None;
        let vault = match self.choice {
            Choice::Live => {
                self.choice = Choice::Keyring;
                return;
            }
            Choice::Quit => {
                cx.effects.push(Effect::Quit);
                return;
            }
            Choice::Sandbox => None,
            Choice::Keyring => Some(Backend::Keyring),
            Choice::File => Some(Backend::File),
        };
        let name = if vault.is_some() { "creating the profile" } else { "creating the sandbox" };
        let job = cx.jobs.start_change(name);
        self.making = Some(job);
        cx.effects.push(match vault {
            Some(vault) => Effect::InitHome { job, vault },
            None => Effect::InitSandbox { job },
        });
    }

    fn remarks(&self) -> Vec<Row> {
        let Some(error) = &self.failed else { return Vec::new() };
        let mut rows = vec![Row::Bad(error.message.clone())];
        if !error.hint.is_empty() {
            rows.push(Row::Advice(error.hint.clone()));
        }
        rows
    }
}

impl Screen for State {
    fn places(&self) -> Vec<Place> {
        vec![Place::FirstRun]
    }

    fn command(&mut self, command: Command, cx: &mut Cx<'_>) -> Next {
        let choices = self.choices();
        let at = choices.iter().position(|c| *c == self.choice).unwrap_or(0);
        match command {
            Command::Up => self.choice = choices.get(at.saturating_sub(1)).copied().unwrap_or_default(),
            Command::Down => self.choice = choices.get(at + 1).copied().unwrap_or(self.choice),
            Command::Back if matches!(self.choice, Choice::Keyring | Choice::File) => {
                self.choice = Choice::Live;
                self.failed = None;
            }
            Command::Open if self.making.is_none() => self.choose(cx),
            _ => {}
        }
        Next::Stay
    }

    fn report(&mut self, job: JobId, report: &Report, _: &mut Cx<'_>) -> bool {
        if self.making != Some(job) {
            return false;
        }
        self.making = None;
        if let Report::Failed(error) = report {
            self.failed = Some(error.clone());
        }
        true
    }

    fn render(&self, view: &View<'_>, frame: &mut Frame<'_>, area: Rect) {
        let theme = view.theme;
        let columns = usize::from(area.width).saturating_sub(6).min(72);
        let x = area.x + (area.width.saturating_sub(u16::try_from(columns).unwrap_or(0))) / 2;
        let area = Rect { x, width: u16::try_from(columns).unwrap_or(0), ..area };
        let mut lines = Vec::new();
        if area.height > 14 {
            lines.push(Line::default());
        }
        let opening = [
            Row::Head("View, grant and revoke session keys".into()),
            Row::Text(
                "A session key lets an app or a bot act for your smart account: only what you allow, and only for as \
                 long as you allow it."
                    .into(),
            ),
            Row::Blank,
        ];
        lines.extend(sheet::lay_out(&opening, columns, theme));
        if area.height > 14 {
            let folder = format!("There is no keyleash profile in {} yet.", view.folder);
            lines.extend(sheet::lay_out(&[Row::Dim(folder), Row::Blank], columns, theme));
        }
        if matches!(self.choice, Choice::Keyring | Choice::File) {
            lines.extend(sheet::lay_out(&[Row::Head("Where should owners' keys be stored?".into())], columns, theme));
        }
        for choice in self.choices() {
            let (name, what) = choice.words();
            let mark = if *choice == self.choice { "▸" } else { " " };
            let style = if *choice == self.choice { theme.selected() } else { theme.plain() };
            lines.push(Line::styled(format::fit(&format!(" {mark} {name}"), columns), style));
            let what = sheet::lay_out(&[Row::Dim(format!("   {what}"))], columns, theme);
            if area.height > 12 {
                lines.extend(what.into_iter().map(|l| Line::styled(format!("   {l}"), theme.dim())));
            }
        }
        lines.push(Line::default());
        lines.extend(sheet::lay_out(&self.remarks(), columns, theme));
        if lines.len() > usize::from(area.height) && self.failed.is_some() {
            // What was asked for last matters most on a small screen.
            let remarks = sheet::lay_out(&self.remarks(), columns, theme);
            sheet::render(frame, area, remarks, Scroll::default(), theme);
            return;
        }
        frame.render_widget(Paragraph::new(lines), area);
    }
}

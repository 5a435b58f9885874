//! The agent's side: keys made here for others' accounts. The private half stays in the vault; the address is given away.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::{Cx, Heading, Next, Route, Screen, View};
use crate::{
    tui::{
        form::{
            Field,
            page::{Did, Form, Row as Entry},
        },
        format,
        jobs::Jobs,
        keymap::{Command, Place},
        message::{Effect, JobId, Notice, Report},
        widget::sheet::{self, Row, Scroll},
    },
    wallet::{policy::check_label, usecase::agent::AgentView},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    Label,
    Go,
}

#[derive(Debug)]
pub struct State {
    agents: Option<Vec<AgentView>>,
    networks: Vec<String>,
    at: usize,
    reading: Option<JobId>,
    /// The form for a new key.
    naming: Option<Form<Ask>>,
    making: Option<JobId>,
}

pub fn open(cx: &mut Cx<'_>) -> Box<dyn Screen> {
    let mut state = State { agents: None, networks: Vec::new(), at: 0, reading: None, naming: None, making: None };
    state.read(cx);
    Box::new(state)
}

impl State {
    fn read(&mut self, cx: &mut Cx<'_>) {
        let job = cx.jobs.start("reading the keys made here", false);
        cx.effects.push(Effect::ReadAgents { job });
        self.reading = Some(job);
    }

    fn chosen(&self) -> Option<&AgentView> {
        self.agents.as_ref()?.get(self.at)
    }

    fn make(&mut self, cx: &mut Cx<'_>) {
        let Some(form) = &mut self.naming else { return };
        if self.making.is_some() {
            return;
        }
        match check_label("the name", &form.text(Ask::Label)) {
            Ok(label) => {
                let job = cx.jobs.start_change("making a key");
                cx.effects.push(Effect::NewAgent { job, label });
                self.making = Some(job);
            }
            Err(error) => form.refuse(Ask::Label, error.message),
        }
    }
}

impl Screen for State {
    fn places(&self) -> Vec<Place> {
        self.naming.as_ref().map_or_else(|| vec![Place::Agents], Form::places)
    }

    fn field(&mut self) -> Option<&mut Field> {
        self.naming.as_mut()?.field()
    }

    fn command(&mut self, command: Command, cx: &mut Cx<'_>) -> Next {
        if let Some(form) = &mut self.naming {
            if command == Command::Back {
                self.naming = None;
                return Next::Stay;
            }
            if let Did::Pressed(_) = form.command(command) {
                self.make(cx);
            }
            return Next::Stay;
        }
        let last = self.agents.as_ref().map_or(0, Vec::len).saturating_sub(1);
        match command {
            Command::Back => return Next::Back,
            Command::Up => self.at = self.at.saturating_sub(1),
            Command::Down => self.at = (self.at + 1).min(last),
            Command::Grant => {
                self.naming = Some(Form::new(vec![
                    Entry::text(Ask::Label, "call it", "", "my-bot", "a name for your eyes only"),
                    Entry::button(Ask::Go, "Make the key"),
                ]));
            }
            Command::Copy => match self.chosen() {
                Some(agent) => {
                    cx.effects.push(Effect::Copy { text: agent.address.to_string() });
                    *cx.notice = Some(Notice::say(format!("{} sent to the terminal's clipboard", agent.address)));
                }
                None => *cx.notice = Some(Notice::trouble("there is no key yet: n makes one")),
            },
            Command::Approval => {
                return Next::Open(Route::Approval { networks: self.networks.clone() });
            }
            _ => {}
        }
        Next::Stay
    }

    fn edited(&mut self, _: &mut Cx<'_>) {
        if let Some(form) = &mut self.naming {
            form.edited();
        }
    }

    fn report(&mut self, job: JobId, report: &Report, cx: &mut Cx<'_>) -> bool {
        if self.reading == Some(job) {
            self.reading = None;
            if let Report::Agents { agents, networks } = report {
                self.agents = Some(agents.clone());
                self.networks.clone_from(networks);
                self.at = self.at.min(agents.len().saturating_sub(1));
                return true;
            }
            return false;
        }
        if self.making != Some(job) {
            return false;
        }
        self.making = None;
        match report {
            Report::AgentMade(agent) => {
                self.naming = None;
                let text = format!("{} is made: y copies its address, for the account's owner", agent.label);
                *cx.notice = Some(Notice::say(text));
                let agents = self.agents.get_or_insert_default();
                self.at = agents.len();
                agents.push((**agent).clone());
            }
            Report::Failed(error) => match &mut self.naming {
                Some(form) => form.refuse(Ask::Label, error.message.clone()),
                None => *cx.notice = Some(Notice::failure(error)),
            },
            _ => return false,
        }
        true
    }

    fn leave(&mut self, jobs: &mut Jobs, effects: &mut Vec<Effect>) {
        if let Some(job) = self.reading {
            jobs.cancel(job, effects);
        }
    }

    fn heading(&self, _: &View<'_>) -> Heading {
        Heading::titled("keys made here")
    }

    fn render(&self, view: &View<'_>, frame: &mut Frame<'_>, area: Rect) {
        let theme = view.theme;
        let columns = sheet::columns(area);
        let heading = [
            Row::Head("Keys made here for others' accounts".into()),
            Row::Dim("The private half stays in your vault. Give the address to the account's owner, and take in the approval that comes back.".into()),
            Row::Blank,
        ];
        let mut lines = sheet::lay_out(&heading, columns, theme);
        if let Some(form) = &self.naming {
            form.render(frame, area, lines, Vec::new(), theme);
            return;
        }
        let agents = self.agents.as_deref().unwrap_or_default();
        if agents.is_empty() {
            let text = if self.agents.is_some() { "none yet: n makes one" } else { "reading…" };
            lines.push(Line::styled(format!("  {text}"), theme.dim()));
        }
        let head = lines.len();
        let name = agents
            .iter()
            .map(|a| format::width(&a.label))
            .max()
            .unwrap_or(0)
            .clamp(4, columns.saturating_sub(48).max(4));
        for (i, agent) in agents.iter().enumerate() {
            let chosen = i == self.at;
            let used = view.data.keys.iter().filter(|k| k.session_key == agent.address).count();
            let approvals = match used {
                0 => "no approval yet".to_owned(),
                1 => "1 approval".to_owned(),
                n => format!("{n} approvals"),
            };
            let text = format!("{}  {}", format::fit(&format::clean(&agent.label), name), agent.address);
            let style = if chosen { theme.selected() } else { theme.plain() };
            lines.push(Line::from(vec![
                Span::raw(if chosen { "▸ " } else { "  " }),
                Span::styled(text, style),
                Span::styled(format!("  {approvals}"), theme.dim()),
            ]));
        }
        let height = usize::from(area.height);
        let top = (head + self.at + 1).saturating_sub(height);
        let inner = Rect { x: area.x + 1.min(area.width), width: area.width.saturating_sub(1), ..area };
        sheet::render(frame, inner, lines, Scroll(top), theme);
    }
}

//! The agent's side: session keys held for other people's accounts. The private key stays in the vault; its address goes to the owner.

use super::{
    Cx, Destination, Next, Screen, View,
    list_forms::{Act, Heard, ListForms, Listing, Request},
};
use crate::{
    tui::{
        data::Data,
        form::page::{Form, Row as Entry},
        format,
        keymap::{Command, Place},
        message::{Effect, JobId, Notice, Report},
        widget::sheet::Row,
    },
    wallet::{policy::check_label, usecase::agent::AgentView},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    Label,
    Go,
}

#[derive(Debug, Default)]
pub struct Agents {
    agents: Vec<AgentView>,
    networks: Vec<String>,
    at: usize,
    reading: Option<JobId>,
    unreadable: bool,
}

pub fn open(cx: &mut Cx<'_>) -> Box<dyn Screen> {
    let job = cx.jobs.start("reading the keys you hold", false);
    cx.effects.push(Effect::ReadAgents { job });
    Box::new(ListForms::new(Agents { reading: Some(job), ..Agents::default() }))
}

impl Listing for Agents {
    type Line = Ask;
    type Answer = ();

    const TITLE: &'static str = "keys you hold";
    const PLACE: Place = Place::Agents;

    fn count(&self, _: &Data) -> usize {
        self.agents.len()
    }

    fn chosen(&self, _: &Data) -> usize {
        self.at
    }

    fn choose(&mut self, at: usize, _: &Data) {
        self.at = at.min(self.agents.len().saturating_sub(1));
    }

    fn empty(&self) -> &'static str {
        match (self.reading, self.unreadable) {
            (Some(_), _) => "reading…",
            (None, true) => "the list could not be read",
            (None, false) => "none yet; press n to create one",
        }
    }

    fn intro(&self) -> Vec<Row> {
        vec![
            Row::Head("Session keys you hold for other people's accounts".into()),
            Row::Dim(
                "The private key stays in your vault. Give the address to the account's owner, and import the approval \
                 they send back."
                    .into(),
            ),
            Row::Blank,
        ]
    }

    fn line(&self, at: usize, columns: usize, view: &View<'_>) -> String {
        let Some(agent) = self.agents.get(at) else { return String::new() };
        let widest = self.agents.iter().map(|a| format::width(&a.label)).max().unwrap_or(0);
        let name = widest.clamp(4, columns.saturating_sub(49).max(4));
        let approvals = match view.data.keys.iter().filter(|k| k.session_key == agent.address).count() {
            0 => "no approval yet".to_owned(),
            1 => "1 approval".to_owned(),
            n => format!("{n} approvals"),
        };
        format!("{}  {}  {approvals}", format::fit(&format::clean(&agent.label), name), agent.address)
    }

    fn command(&mut self, command: Command, cx: &mut Cx<'_>) -> Act<Ask, ()> {
        match command {
            Command::Add => {
                return Act::Form(Form::new(vec![
                    Entry::text(Ask::Label, "label", "", "my-bot", "a local name"),
                    Entry::button(Ask::Go, "Create the key"),
                ]));
            }
            Command::Copy => match self.agents.get(self.at) {
                Some(agent) => {
                    cx.effects.push(Effect::Copy { text: agent.address.to_string() });
                    *cx.notice = Some(Notice::say(format!("copied {}, if your terminal allows it", agent.address)));
                }
                None => *cx.notice = Some(Notice::trouble("no key yet; press n to create one")),
            },
            Command::Approval => {
                return Act::Go(Next::Open(Destination::Approval { networks: self.networks.clone() }));
            }
            _ => return Act::NotMine,
        }
        Act::Stay
    }

    fn report(&mut self, job: JobId, report: &Report, cx: &mut Cx<'_>) -> Heard<Ask, ()> {
        if let Report::AgentMade(agent) = report {
            self.agents.push((**agent).clone());
            self.at = self.agents.len().saturating_sub(1);
            return Heard::NotMine;
        }
        if self.reading.take_if(|reading| *reading == job).is_none() {
            return Heard::NotMine;
        }
        self.unreadable = matches!(report, Report::Failed(_));
        let Report::Agents { agents, networks } = report else { return Heard::NotMine };
        self.agents.clone_from(agents);
        self.networks.clone_from(networks);
        self.choose(self.at, cx.data);
        Heard::Taken
    }

    fn reading(&self) -> Option<JobId> {
        self.reading
    }

    fn form_heading(&self) -> Vec<Row> {
        self.intro()
    }

    fn check(form: &Form<Ask>, line: Ask) -> Result<(), String> {
        match line {
            Ask::Label => check_label("the label", &form.text(Ask::Label)).map(|_| ()).map_err(|e| e.message),
            Ask::Go => Ok(()),
        }
    }

    fn request(form: &Form<Ask>) -> Option<Request> {
        let label = check_label("the label", &form.text(Ask::Label)).ok()?;
        let effect = Box::new(|job| Effect::NewAgent { job, label });
        Some(Request { name: "creating a key".into(), effect })
    }

    fn adding(&self) -> Vec<Row> {
        vec![
            Row::Head("Creating the key…".into()),
            Row::Dim("Nothing is sent. Esc returns to the list; this continues.".into()),
        ]
    }

    fn added(&mut self, report: &Report, cx: &mut Cx<'_>) -> bool {
        let Report::AgentMade(agent) = report else { return false };
        let text = format!("{} created; y copies its address for the account's owner", agent.label);
        *cx.notice = Some(Notice::say(text));
        true
    }
}

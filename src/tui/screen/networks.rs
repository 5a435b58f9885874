//! Networks: which chains are known and through what they are reached, a check of all of it, and the form for another one.

use ratatui::layout::Rect;

use super::{
    Cx, Screen, View,
    list_forms::{Act, Heard, ListForms, Listing, Removal, Request},
    rows::failure_rows,
};
use crate::{
    tui::{
        data::Data,
        form::page::{Form, Row as Asked},
        format,
        keymap::{Command, Place},
        message::{Effect, JobId, NetworkRequest, Notice, Reached, Report},
        widget::sheet::Row,
    },
    wallet::{
        error::Error,
        records::{label::check_name, model::PaymasterKind},
        usecase::network::{NetworkView, Probe},
    },
};

/// The lines of the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    Name,
    Chain,
    Kind,
    Project,
    Rpc,
    Bundler,
    Paymaster,
    PaymasterKind,
    Go,
}

/// What the answers of the choices mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Urls,
    Project,
    Asked(PaymasterKind),
}

const PAYMASTERS: [PaymasterKind; 3] = [PaymasterKind::Erc7677, PaymasterKind::Pimlico, PaymasterKind::Zerodev];

/// What a check found out.
#[derive(Debug)]
enum Checked {
    Waiting(JobId),
    Found(Vec<Probe>),
    Failed(Error),
}

impl Checked {
    fn waits_for(&self, job: JobId) -> bool {
        matches!(self, Self::Waiting(waiting) if *waiting == job)
    }
}

#[derive(Debug, Default)]
pub struct Networks {
    networks: Vec<NetworkView>,
    reading: Option<JobId>,
    unreadable: bool,
    chosen: usize,
    /// The network to choose once it is on the list.
    wanted: Option<String>,
    /// Of which network, and what.
    checked: Option<(String, Checked)>,
}

pub fn open(cx: &mut Cx<'_>) -> Box<dyn Screen> {
    let mut networks = Networks::default();
    networks.read(cx);
    Box::new(ListForms::new(networks))
}

impl Networks {
    fn read(&mut self, cx: &mut Cx<'_>) {
        let job = cx.jobs.start("reading the networks", false);
        self.reading = Some(job);
        cx.effects.push(Effect::Networks { job });
    }

    fn check_it(&mut self, name: String, cx: &mut Cx<'_>) {
        let job = cx.jobs.start(format!("checking {name}"), false);
        cx.effects.push(Effect::CheckNetwork { job, name: name.clone() });
        self.checked = Some((name, Checked::Waiting(job)));
    }

    fn network(&self) -> Option<&NetworkView> {
        self.networks.get(self.chosen)
    }

    fn facts_of(&self, network: &NetworkView) -> Vec<Row> {
        let mut rows = vec![
            Row::Head(format!("{} (chain {})", network.name, network.chain_id)),
            Row::Fact("node", network.rpc.clone()),
        ];
        rows.extend(network.second_rpc.clone().map(|second| Row::Fact("second node", second)));
        let none = || "none: no UserOperation can be sent".to_owned();
        rows.push(Row::Fact("bundler", network.bundler.clone().unwrap_or_else(none)));
        rows.push(Row::Fact(
            "paymaster",
            match (&network.paymaster, network.paymaster_kind) {
                (Some(url), Some(kind)) => format!("{url} ({})", kind.name()),
                (Some(url), None) => url.clone(),
                (None, _) => "none: accounts pay their own gas".to_owned(),
            },
        ));
        rows.push(Row::Blank);
        match self.checked.as_ref().filter(|(name, _)| *name == network.name).map(|(_, checked)| checked) {
            None => rows.push(Row::Dim("press c to check every endpoint".into())),
            Some(Checked::Waiting(_)) => rows.push(Row::Dim("checking…".into())),
            Some(Checked::Found(probes)) => rows.extend(probes.iter().map(|p| {
                let line = format!("{}: {}", p.what, p.detail);
                if p.ok { Row::Good(line) } else { Row::Bad(line) }
            })),
            Some(Checked::Failed(error)) => rows.extend(failure_rows("The check failed", error)),
        }
        rows
    }
}

impl Listing for Networks {
    type Line = Entry;
    type Answer = Answer;

    const TITLE: &'static str = "networks";
    const PLACE: Place = Place::Networks;

    fn count(&self, _: &Data) -> usize {
        self.networks.len()
    }

    fn chosen(&self, _: &Data) -> usize {
        self.chosen
    }

    fn choose(&mut self, at: usize, _: &Data) {
        self.chosen = at.min(self.networks.len().saturating_sub(1));
    }

    fn empty(&self) -> &'static str {
        match (self.reading, self.unreadable) {
            (Some(_), _) => "reading…",
            (None, true) => "the list could not be read",
            (None, false) => "none yet; press n to add one",
        }
    }

    fn column_heads(&self, columns: usize) -> Option<String> {
        Some(cells(columns, ["network", "chain", "node"]))
    }

    fn line(&self, at: usize, columns: usize, _: &View<'_>) -> String {
        let Some(network) = self.networks.get(at) else { return String::new() };
        let (name, node) = (format::clean(&network.name), format::clean(&network.rpc));
        cells(columns, [&name, &network.chain_id.to_string(), &node])
    }

    fn facts(&self, _: &Data) -> Vec<Row> {
        self.network().map(|n| self.facts_of(n)).unwrap_or_default()
    }

    /// The list keeps a few lines; what is known of the chosen one gets the rest.
    fn split(&self, area: Rect, _: usize, _: &Data) -> (Rect, Rect) {
        let wanted = u16::try_from(self.networks.len().max(1) + 1).unwrap_or(u16::MAX);
        let height = wanted.min((area.height / 3).max(3)).min(area.height);
        (
            Rect { height, ..area },
            Rect { y: area.y + height + 1, height: (area.height - height).saturating_sub(1), ..area },
        )
    }

    fn command(&mut self, command: Command, cx: &mut Cx<'_>) -> Act<Entry, Answer> {
        match command {
            Command::Add if cx.data.sandbox => {
                *cx.notice =
                    Some(Notice::trouble("this profile is a sandbox; create a live one with `keyleash --home DIR`"));
                Act::Stay
            }
            Command::Add => Act::Form(form()),
            Command::Check => match self.network().map(|n| n.name.clone()) {
                Some(name) => {
                    self.check_it(name, cx);
                    Act::Look
                }
                None => Act::Stay,
            },
            _ => Act::NotMine,
        }
    }

    fn report(&mut self, job: JobId, report: &Report, cx: &mut Cx<'_>) -> Heard<Entry, Answer> {
        if matches!(report, Report::NetworkAdded(_) | Report::NetworkRemoved(_)) {
            self.read(cx);
            return Heard::NotMine;
        }
        if self.reading.take_if(|reading| *reading == job).is_some() {
            self.unreadable = matches!(report, Report::Failed(_));
            let Report::Networks(networks) = report else { return Heard::NotMine };
            self.networks.clone_from(networks);
            self.choose(self.chosen, cx.data);
            let wanted = self.wanted.take().and_then(|name| networks.iter().position(|n| n.name == name));
            return match wanted {
                Some(at) => {
                    self.chosen = at;
                    Heard::Look
                }
                None => Heard::Taken,
            };
        }
        match &mut self.checked {
            Some((_, checked)) if checked.waits_for(job) => {
                *checked = match report {
                    Report::Checked(probes) => Checked::Found(probes.clone()),
                    Report::Failed(error) => Checked::Failed(error.clone()),
                    _ => return Heard::NotMine,
                };
                Heard::Taken
            }
            _ => Heard::NotMine,
        }
    }

    fn reading(&self) -> Option<JobId> {
        self.reading
    }

    fn form_heading(&self) -> Vec<Row> {
        vec![Row::Head("Add a network".into())]
    }

    fn fit(form: &mut Form<Entry, Answer>) {
        fit(form);
    }

    fn check(form: &Form<Entry, Answer>, line: Entry) -> Result<(), String> {
        check(form, line)
    }

    fn request(form: &Form<Entry, Answer>) -> Option<Request> {
        let request = request(form)?;
        Some(Request {
            name: format!("adding {}", request.name),
            effect: Box::new(|job| Effect::AddNetwork { job, request }),
        })
    }

    fn adding(&self) -> Vec<Row> {
        vec![Row::Head("Adding the network…".into())]
    }

    fn added(&mut self, report: &Report, cx: &mut Cx<'_>) -> bool {
        let Report::NetworkAdded(name) = report else { return false };
        self.wanted = Some(name.clone());
        // What was typed is tried at once.
        self.check_it(name.clone(), cx);
        true
    }

    fn removal(&self, _: &mut Cx<'_>) -> Option<Removal> {
        let network = self.network()?;
        let name = network.name.clone();
        Some(Removal {
            review: vec![
                Row::Head(format!("Remove the network {name}?")),
                Row::Fact("chain", network.chain_id.to_string()),
                Row::Fact("node", network.rpc.clone()),
                Row::Blank,
                Row::Item("not possible while accounts or keys in your lists use it".into()),
                Row::Item("its URLs are deleted, with the API keys in them".into()),
            ],
            verb: "remove it",
            running: vec![Row::Head(format!("Removing {name}…"))],
            done: vec![Row::Head(format!("{name} removed"))],
            failed: format!("{name} was not removed"),
            request: Request {
                name: format!("removing {name}"),
                effect: Box::new(|job| Effect::RemoveNetwork { job, name }),
            },
        })
    }
}

fn cells(columns: usize, [name, chain, node]: [&str; 3]) -> String {
    let wide = columns.saturating_sub(18 + 14 + 3);
    format!("{} {} {}", format::fit(name, 17), format::fit(chain, 13), format::fit(node, wide))
}

fn form() -> Form<Entry, Answer> {
    let mut form = Form::new(vec![
        Asked::text(Entry::Name, "name", "", "sepolia", "a local name: letters, digits, - and _"),
        Asked::text(Entry::Chain, "chain id", "", "11155111", "every endpoint is checked against it"),
        Asked::choice(
            Entry::Kind,
            "endpoints",
            [("your own URLs", Answer::Urls), ("a ZeroDev project", Answer::Project)],
            "a ZeroDev project is node, bundler and paymaster in one",
        ),
        Asked::text(Entry::Project, "project id", "", "", "from the ZeroDev dashboard"),
        Asked::text(Entry::Rpc, "node", "", "https://…", "JSON-RPC URL of the chain"),
        Asked::text(Entry::Bundler, "bundler", "", "https://…", "sends UserOperations; empty = none"),
        Asked::text(Entry::Paymaster, "paymaster", "", "https://…", "sponsors gas; empty = none"),
        Asked::choice(
            Entry::PaymasterKind,
            "paymaster API",
            PAYMASTERS.map(|kind| (kind.name(), Answer::Asked(kind))),
            "erc7677 is the standard",
        ),
        Asked::button(Entry::Go, "Add and check"),
    ]);
    fit(&mut form);
    form
}

/// What is asked depends on what was answered.
fn fit(form: &mut Form<Entry, Answer>) {
    let zerodev = form.is(Entry::Kind, &Answer::Project);
    form.show(Entry::Project, zerodev);
    for line in [Entry::Rpc, Entry::Bundler, Entry::Paymaster, Entry::PaymasterKind] {
        form.show(line, !zerodev);
    }
    form.settle();
}

fn check(form: &Form<Entry, Answer>, line: Entry) -> Result<(), String> {
    let text = form.text(line);
    let url = |text: &str| match text.starts_with("https://") || text.starts_with("http://") {
        true => Ok(()),
        false => Err("expected a URL that begins with https:// or http://".to_owned()),
    };
    match line {
        Entry::Name if text.is_empty() => Err("enter a name".into()),
        Entry::Name => check_name("the network's name", &text).map_err(|e| e.message),
        Entry::Chain => match text.parse::<u64>() {
            Ok(1..) => Ok(()),
            _ => Err("expected a chain id, for example 1 or 11155111".into()),
        },
        Entry::Project if text.is_empty() => Err("enter the project id".into()),
        Entry::Rpc => url(&text),
        Entry::Bundler | Entry::Paymaster if !text.is_empty() => url(&text),
        _ => Ok(()),
    }
}

/// What a form without anything wrong asks for.
fn request(form: &Form<Entry, Answer>) -> Option<NetworkRequest> {
    let given = |line| Some(form.text(line)).filter(|t| !t.is_empty());
    let reached = if form.is(Entry::Kind, &Answer::Project) {
        Reached::Zerodev(form.text(Entry::Project))
    } else {
        let kind = match form.chosen(Entry::PaymasterKind) {
            Some(Answer::Asked(kind)) => *kind,
            _ => PaymasterKind::Erc7677,
        };
        Reached::Urls {
            rpc: form.text(Entry::Rpc),
            bundler: given(Entry::Bundler),
            paymaster: given(Entry::Paymaster).map(|url| (url, kind)),
        }
    };
    Some(NetworkRequest { name: form.text(Entry::Name), chain_id: form.text(Entry::Chain).parse().ok()?, reached })
}

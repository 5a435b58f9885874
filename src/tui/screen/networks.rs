//! Networks: which chains are known and through what they are reached, a check of all of it, and the form for another one.

use ratatui::{Frame, layout::Rect, text::Line, widgets::Paragraph};

use super::{
    Cx, Heading, Next, Screen, View,
    rows::failure_rows,
    stages::{Moved, Stages},
};
use crate::{
    tui::{
        form::{
            Field,
            page::{Did, Form, Row as Asked},
        },
        format,
        keymap::{Command, Place},
        message::{Effect, JobId, NetworkRequest, Notice, Reached, Report},
        widget::{
            list::moved,
            sheet::{self, Row, Scroll},
        },
    },
    wallet::{
        error::Error,
        records::{label::check_name, model::PaymasterKind},
        usecase::network::{NetworkView, Probe},
    },
};

/// The lines of the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
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
enum Answer {
    Urls,
    Project,
    Asked(PaymasterKind),
}

const PAYMASTERS: [PaymasterKind; 3] = [PaymasterKind::Erc7677, PaymasterKind::Pimlico, PaymasterKind::Zerodev];

#[derive(Debug, Default)]
enum Step {
    #[default]
    List,
    /// The chosen network, with what a check found, on the whole screen.
    Look(Scroll),
    Form(Box<Form<Entry, Answer>>, Option<Error>),
    Adding(Box<Form<Entry, Answer>>, JobId),
    /// Forgetting how this network is reached.
    Removing(String, Box<Stages>),
}

/// What a check found out.
#[derive(Debug)]
enum Checked {
    Waiting(JobId),
    Found(Vec<Probe>),
    Failed(Error),
}

#[derive(Debug, Default)]
pub struct State {
    networks: Vec<NetworkView>,
    reading: Option<JobId>,
    chosen: usize,
    /// The network to choose once it is on the list.
    wanted: Option<String>,
    /// Of which network, and what.
    checked: Option<(String, Checked)>,
    step: Step,
}

pub fn open(cx: &mut Cx<'_>) -> Box<dyn Screen> {
    let mut state = State::default();
    state.read(cx);
    Box::new(state)
}

impl State {
    fn read(&mut self, cx: &mut Cx<'_>) {
        let job = cx.jobs.start("reading the networks", false);
        self.reading = Some(job);
        cx.effects.push(Effect::Networks { job });
    }

    fn network(&self) -> Option<&NetworkView> {
        self.networks.get(self.chosen.min(self.networks.len().saturating_sub(1)))
    }

    fn in_list(&mut self, command: Command, cx: &mut Cx<'_>) -> Next {
        match command {
            Command::Back => return Next::Back,
            Command::Add if cx.data.sandbox => {
                *cx.notice = Some(Notice::trouble(
                    "this home is a sandbox and knows no live network: `keyleash --home DIR` makes a live one",
                ));
            }
            Command::Add => self.step = Step::Form(Box::new(form()), None),
            Command::Check => {
                if let Some(name) = self.network().map(|n| n.name.clone()) {
                    let job = cx.jobs.start(format!("checking {name}"), false);
                    cx.effects.push(Effect::CheckNetwork { job, name: name.clone() });
                    self.checked = Some((name, Checked::Waiting(job)));
                    self.step = Step::Look(Scroll::default());
                }
            }
            Command::Open if self.network().is_some() => self.step = Step::Look(Scroll::default()),
            Command::Remove => {
                if let Some(network) = self.network() {
                    let rows = vec![
                        Row::Head(format!("Forget how {} is reached?", network.name)),
                        Row::Fact("chain", network.chain_id.to_string()),
                        Row::Fact("node", network.rpc.clone()),
                        Row::Blank,
                        Row::Item("refused while accounts or keys on your lists are on it".into()),
                        Row::Item("its addresses are forgotten, with the service keys that are in them".into()),
                    ];
                    let stages = Box::new(Stages::unplanned("forget it", rows));
                    self.step = Step::Removing(network.name.clone(), stages);
                }
            }
            command => {
                let page = usize::from(cx.body.height).saturating_sub(1).max(1);
                self.chosen = moved(command, self.chosen, self.networks.len(), page);
            }
        }
        Next::Stay
    }

    /// A network whose form was left while it was being added: the view says so, and the list has it.
    fn added_meanwhile(&mut self, report: &Report, cx: &mut Cx<'_>) -> bool {
        if matches!(report, Report::NetworkAdded(_)) {
            self.read(cx);
        }
        false
    }

    fn list(&self, view: &View<'_>, frame: &mut Frame<'_>, area: Rect) {
        let theme = view.theme;
        let columns = usize::from(area.width).saturating_sub(2);
        let chosen = self.chosen.min(self.networks.len().saturating_sub(1));
        // The list keeps a few lines; what is known of the chosen one gets the rest.
        let wanted = u16::try_from(self.networks.len().max(1) + 1).unwrap_or(u16::MAX);
        let height = wanted.min((area.height / 3).max(3)).min(area.height);
        let list = Rect { height, ..area };
        let below = Rect { y: area.y + height + 1, height: (area.height - height).saturating_sub(1), ..area };
        let room = usize::from(height).saturating_sub(1);
        let top = (chosen + 1).saturating_sub(room.max(1));
        let cells = |name: &str, chain: &str, node: &str| {
            let wide = columns.saturating_sub(18 + 14 + 3);
            format!("{} {} {}", format::fit(name, 17), format::fit(chain, 13), format::fit(node, wide))
        };
        let mut lines = vec![Line::styled(format!("   {}", cells("network", "chain", "node")), theme.dim())];
        for (i, network) in self.networks.iter().enumerate().skip(top).take(room) {
            let (mark, style) = if i == chosen { ("▸", theme.selected()) } else { (" ", theme.plain()) };
            let row = cells(&format::clean(&network.name), &network.chain_id.to_string(), &format::clean(&network.rpc));
            lines.push(Line::styled(format!(" {mark} {row}"), style));
        }
        if self.networks.is_empty() {
            let why = if self.reading.is_some() { "reading…" } else { "none yet: n adds one" };
            lines.push(Line::styled(format!("   {why}"), theme.dim()));
        }
        frame.render_widget(Paragraph::new(lines), list);
        if let Some(network) = self.network() {
            sheet::render_rows(frame, below, &self.facts(network), Scroll::default(), theme);
        }
    }

    fn facts(&self, network: &NetworkView) -> Vec<Row> {
        let mut rows = vec![
            Row::Head(format!("{} (chain {})", network.name, network.chain_id)),
            Row::Fact("node", network.rpc.clone()),
        ];
        rows.extend(network.second_rpc.clone().map(|second| Row::Fact("second node", second)));
        let none = || "none: nothing can be sent".to_owned();
        rows.push(Row::Fact("bundler", network.bundler.clone().unwrap_or_else(none)));
        rows.push(Row::Fact(
            "sponsor",
            match (&network.paymaster, network.paymaster_kind) {
                (Some(url), Some(kind)) => format!("{url} (paymaster, {})", kind.name()),
                (Some(url), None) => format!("{url} (paymaster)"),
                (None, _) => "none: accounts pay their own gas".to_owned(),
            },
        ));
        rows.push(Row::Blank);
        match self.checked.as_ref().filter(|(name, _)| *name == network.name).map(|(_, checked)| checked) {
            None => rows.push(Row::Dim("c checks that all of it answers, and is the right chain".into())),
            Some(Checked::Waiting(_)) => rows.push(Row::Dim("checking…".into())),
            Some(Checked::Found(probes)) => rows.extend(probes.iter().map(|p| {
                let line = format!("{}: {}", p.what, p.detail);
                if p.ok { Row::Good(line) } else { Row::Bad(line) }
            })),
            Some(Checked::Failed(error)) => rows.extend(failure_rows("The check broke off", error)),
        }
        rows
    }
}

impl Screen for State {
    fn places(&self) -> Vec<Place> {
        match &self.step {
            Step::List => vec![Place::Networks, Place::List],
            Step::Look(_) => vec![Place::Networks, Place::Sheet],
            Step::Form(form, _) => form.places(),
            Step::Adding(..) => vec![Place::Sheet],
            Step::Removing(_, stages) => stages.places(),
        }
    }

    fn field(&mut self) -> Option<&mut Field> {
        match &mut self.step {
            Step::Form(form, _) => form.field(),
            _ => None,
        }
    }

    fn command(&mut self, command: Command, cx: &mut Cx<'_>) -> Next {
        let rows = self.network().map(|n| self.facts(n)).unwrap_or_default();
        match &mut self.step {
            Step::List => return self.in_list(command, cx),
            Step::Look(_) if command == Command::Back => self.step = Step::List,
            Step::Look(scroll) => {
                if !scroll_by(scroll, command, &rows, cx) {
                    return self.in_list(command, cx);
                }
            }
            Step::Form(form, failed) => match form.command(command) {
                _ if command == Command::Back => self.step = Step::List,
                // Goes on from any line, as the button at the end does.
                Did::Nothing if command != Command::PageDown => {}
                Did::Left(line) => form.mark(line, check(form, line).err()),
                Did::Turned(_) => fit(form),
                Did::Pressed(_) | Did::Nothing => {
                    *failed = None;
                    if let Some(request) = submit(form) {
                        let job = cx.jobs.start_change(format!("adding {}", request.name));
                        cx.effects.push(Effect::AddNetwork { job, request });
                        let form = std::mem::replace(form, Box::new(Form::new(Vec::new())));
                        self.step = Step::Adding(form, job);
                    }
                }
            },
            // It goes on, and the list is read again when it has ended.
            Step::Adding(..) if command == Command::Back => self.step = Step::List,
            Step::Adding(..) => {}
            Step::Removing(name, stages) => match stages.command(command, cx) {
                Moved::Stay => {}
                Moved::Undone | Moved::Back => self.step = Step::List,
                Moved::Confirmed(_) => {
                    let job = cx.jobs.start_change(format!("forgetting {name}"));
                    self.reading = Some(job);
                    cx.effects.push(Effect::RemoveNetwork { job, name: name.clone() });
                    self.step = Step::List;
                }
            },
        }
        Next::Stay
    }

    fn edited(&mut self, _: &mut Cx<'_>) {
        if let Step::Form(form, _) = &mut self.step {
            form.edited();
        }
    }

    fn resized(&mut self, _: &mut Cx<'_>) {
        if let Step::Removing(_, stages) = &mut self.step {
            stages.resized();
        }
    }

    fn drawn(&mut self, cx: &mut Cx<'_>) {
        if let Step::Removing(_, stages) = &mut self.step {
            stages.drawn(cx);
        }
    }

    fn report(&mut self, job: JobId, report: &Report, cx: &mut Cx<'_>) -> bool {
        if self.reading == Some(job) {
            self.reading = None;
            return match report {
                Report::Networks(networks) => {
                    self.networks.clone_from(networks);
                    let wanted = self.wanted.take().and_then(|name| networks.iter().position(|n| n.name == name));
                    if let Some(at) = wanted {
                        (self.chosen, self.step) = (at, Step::Look(Scroll::default()));
                    }
                    true
                }
                _ => false,
            };
        }
        if let Some((_, checked @ Checked::Waiting(_))) = &mut self.checked
            && matches!(checked, Checked::Waiting(waiting) if *waiting == job)
        {
            *checked = match report {
                Report::Checked(probes) => Checked::Found(probes.clone()),
                Report::Failed(error) => Checked::Failed(error.clone()),
                _ => return false,
            };
            return true;
        }
        let Step::Adding(form, waiting) = &mut self.step else { return self.added_meanwhile(report, cx) };
        if *waiting != job {
            return self.added_meanwhile(report, cx);
        }
        match report {
            Report::NetworkAdded(name) => {
                self.step = Step::List;
                self.read(cx);
                self.wanted = Some(name.clone());
                // What was typed is tried at once.
                let job = cx.jobs.start(format!("checking {name}"), false);
                cx.effects.push(Effect::CheckNetwork { job, name: name.clone() });
                self.checked = Some((name.clone(), Checked::Waiting(job)));
            }
            Report::Failed(error) => {
                let form = std::mem::replace(form, Box::new(Form::new(Vec::new())));
                self.step = Step::Form(form, Some(error.clone()));
            }
            _ => return false,
        }
        true
    }

    fn heading(&self, _: &View<'_>) -> Heading {
        Heading::titled("networks")
    }

    fn render(&self, view: &View<'_>, frame: &mut Frame<'_>, area: Rect) {
        let theme = view.theme;
        match &self.step {
            Step::List => self.list(view, frame, area),
            Step::Look(scroll) => {
                let rows = self.network().map(|n| self.facts(n)).unwrap_or_default();
                sheet::render_rows(frame, area, &rows, *scroll, theme);
            }
            Step::Form(form, failed) => {
                let columns = sheet::columns(area);
                let failed = failed.iter().flat_map(|e| failure_rows("That did not work", e)).collect::<Vec<_>>();
                let foot = sheet::lay_out(&failed, columns, theme);
                let head = sheet::lay_out(&[Row::Head("Add a network".into())], columns, theme);
                form.render(frame, area, head, foot, theme);
            }
            Step::Adding(..) => {
                sheet::render_rows(frame, area, &[Row::Head("Adding the network…".into())], Scroll::default(), theme)
            }
            Step::Removing(_, stages) => stages.render(view, frame, area),
        }
    }
}

/// Scrolls, if the command does that.
fn scroll_by(scroll: &mut Scroll, command: Command, rows: &[Row], cx: &Cx<'_>) -> bool {
    let lines = sheet::lay_out(rows, sheet::columns(cx.body), cx.theme).len();
    scroll.command(command, lines, usize::from(cx.body.height))
}

fn form() -> Form<Entry, Answer> {
    let mut form = Form::new(vec![
        Asked::text(Entry::Name, "name", "", "sepolia", "for your eyes: letters, digits, - and _"),
        Asked::text(Entry::Chain, "chain number", "", "11155111", "the chain id; every answer is checked against it"),
        Asked::choice(
            Entry::Kind,
            "reached through",
            [("addresses of your own", Answer::Urls), ("a ZeroDev project", Answer::Project)],
            "a ZeroDev project is node, bundler and sponsor in one",
        ),
        Asked::text(Entry::Project, "project id", "", "", "as ZeroDev's dashboard shows it"),
        Asked::text(Entry::Rpc, "node", "", "https://…", "the chain's JSON-RPC address"),
        Asked::text(Entry::Bundler, "bundler", "", "https://…", "what sends operations; empty = none, only looking"),
        Asked::text(Entry::Paymaster, "sponsor", "", "https://…", "a paymaster that pays gas for you; empty = none"),
        Asked::choice(
            Entry::PaymasterKind,
            "sponsor's kind",
            PAYMASTERS.map(|kind| (kind.name(), Answer::Asked(kind))),
            "which way it is asked: erc7677 is the standard",
        ),
        Asked::button(Entry::Go, "Add it, and check it"),
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
    if form.get(line).is_none_or(|r| r.hidden) {
        return Ok(());
    }
    let text = form.text(line);
    let url = |text: &str| match text.starts_with("https://") || text.starts_with("http://") {
        true => Ok(()),
        false => Err("expected an address that begins with https:// or http://".to_owned()),
    };
    match line {
        Entry::Name if text.is_empty() => Err("give it a name".into()),
        Entry::Name => check_name("the network's name", &text).map_err(|e| e.message),
        Entry::Chain => match text.parse::<u64>() {
            Ok(1..) => Ok(()),
            _ => Err("expected the chain's number, for example 1 or 11155111".into()),
        },
        Entry::Project if text.is_empty() => Err("give the project's id".into()),
        Entry::Rpc => url(&text),
        Entry::Bundler | Entry::Paymaster if !text.is_empty() => url(&text),
        _ => Ok(()),
    }
}

/// What the form asks for, or nothing while something is wrong with it: then that is said where it is.
fn submit(form: &mut Form<Entry, Answer>) -> Option<NetworkRequest> {
    let lines: Vec<Entry> = form.rows.iter().filter(|r| !r.hidden).map(|r| r.key).collect();
    for line in lines {
        if let Err(why) = check(form, line) {
            form.refuse(line, why);
            return None;
        }
    }
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

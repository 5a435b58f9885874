//! Settings: what this home is, where its secrets are kept, and how it looks.

use ratatui::{Frame, layout::Rect};

use super::{Cx, Destination, Heading, Next, Screen, View};
use crate::{
    tui::{
        keymap::{Command, Place},
        message::{Effect, JobId, Report},
        widget::sheet::{self, Row, Scroll},
    },
    wallet::{error::Error, usecase::secrets::BackendView},
};

#[derive(Debug, Default)]
pub struct State {
    reading: Option<JobId>,
    vault: Option<Result<Vec<BackendView>, Error>>,
    networks: Vec<String>,
    asking: Option<JobId>,
    scroll: Scroll,
}

pub fn open(cx: &mut Cx<'_>) -> Box<dyn Screen> {
    let vault = cx.jobs.start("checking the vault", false);
    cx.effects.push(Effect::VaultStatus { job: vault });
    let networks = cx.jobs.start("reading the networks", false);
    cx.effects.push(Effect::Networks { job: networks });
    Box::new(State { reading: Some(vault), asking: Some(networks), ..State::default() })
}

impl State {
    fn rows(&self, view: &View<'_>) -> Vec<Row> {
        let mut rows = vec![
            Row::Head("This profile".into()),
            Row::Fact("folder", view.folder.to_owned()),
            Row::Fact("version", format!("keyleash {}", env!("CARGO_PKG_VERSION"))),
        ];
        if view.data.sandbox {
            rows.push(Row::Fact(
                "sandbox",
                "a chain inside this program: no network, throwaway keys, no real money".into(),
            ));
        }
        let networks = if self.networks.is_empty() { "none yet".to_owned() } else { self.networks.join(", ") };
        rows.push(Row::Fact("networks", networks));
        rows.push(Row::Fact("accounts", view.data.accounts.len().to_string()));
        rows.push(Row::Fact("keys", view.data.keys.len().to_string()));
        rows.push(Row::Blank);
        rows.push(Row::Head("Where secrets are kept (vault)".into()));
        match &self.vault {
            None => rows.push(Row::Dim("checking…".into())),
            Some(Err(error)) => rows.push(Row::Bad(error.message.clone())),
            Some(Ok(_)) if view.data.sandbox => {
                rows.push(Row::Item("throwaway keys in the sandbox's own folder".into()))
            }
            Some(Ok(backends)) => rows.extend(backends.iter().map(backend)),
        }
        rows.push(Row::Blank);
        rows.push(Row::Head("Appearance".into()));
        let colour = if view.theme.colour { "on" } else { "off" };
        rows.push(Row::Fact("colour", format!("{colour}; c changes it for this session")));
        rows.push(Row::Dim("NO_COLOR=1, or --color never, turns it off at start".into()));
        rows
    }
}

impl Screen for State {
    fn places(&self) -> Vec<Place> {
        vec![Place::Settings, Place::Sheet]
    }

    fn command(&mut self, command: Command, cx: &mut Cx<'_>) -> Next {
        match command {
            Command::Back => return Next::Back,
            Command::Networks => return Next::Open(Destination::Networks),
            Command::Accounts => return Next::Open(Destination::Accounts),
            // The rows fit on every screen that is large enough for more than one line, but for the folder's name.
            command => {
                self.scroll.command(command, usize::from(cx.body.height) * 2, usize::from(cx.body.height));
            }
        }
        Next::Stay
    }

    fn report(&mut self, job: JobId, report: &Report, _: &mut Cx<'_>) -> bool {
        match report {
            Report::Vault(vault) if self.reading == Some(job) => self.vault = Some(Ok(vault.clone())),
            Report::Failed(error) if self.reading == Some(job) => self.vault = Some(Err(error.clone())),
            Report::Networks(networks) if self.asking == Some(job) => {
                self.networks = networks.iter().map(|n| format!("{} (chain {})", n.name, n.chain_id)).collect();
            }
            _ => return false,
        }
        true
    }

    fn heading(&self, _: &View<'_>) -> Heading {
        Heading::titled("settings")
    }

    fn render(&self, view: &View<'_>, frame: &mut Frame<'_>, area: Rect) {
        sheet::render_rows(frame, area, &self.rows(view), self.scroll, view.theme);
    }
}

fn backend(view: &BackendView) -> Row {
    let name = match view.backend {
        crate::wallet::Backend::Keyring => "the system's keyring",
        crate::wallet::Backend::File => "files sealed with a passphrase",
    };
    let chosen = if view.chosen { ", used for new secrets" } else { "" };
    let reason = view.reason.as_ref().map_or_else(String::new, |why| format!(": {why}"));
    let secrets = if view.secrets == 1 { "1 secret".to_owned() } else { format!("{} secrets", view.secrets) };
    let text = format!("{name}: {secrets}, {}{chosen}{reason}", view.state);
    if view.chosen && !view.can_answer() { Row::Bad(text) } else { Row::Item(text) }
}

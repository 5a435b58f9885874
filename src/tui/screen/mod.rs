//! The screens: one file each with its state, what keys do to it, and how it is drawn.

pub mod accounts;
pub mod activity;
pub mod agents;
pub mod approval;
pub mod deliver;
pub mod enable;
pub mod first_run;
pub mod grant;
mod granting;
pub mod help;
pub mod home;
pub mod inspect;
pub mod networks;
pub mod palette;
pub mod review;
pub mod revoke;
pub mod scan;
pub mod send;
pub mod settings;
pub mod stages;
pub mod wizard;

use ratatui::{Frame, layout::Rect, style::Style};

use crate::policy::sentence;

use super::{
    app::{Cx, Model, Next},
    data::{AccountRow, Data},
    form::Field,
    format,
    jobs::Jobs,
    keymap::{Command, Place},
    message::{Effect, JobId, Report},
};
use crate::wallet::coin::Coin;

pub enum Screen {
    FirstRun(first_run::State),
    Home(home::State),
    Inspect(inspect::State),
    Grant(Box<grant::State>),
    Wizard(Box<wizard::State>),
    Deliver(Box<deliver::State>),
    Send(Box<send::State>),
    Agents(Box<agents::State>),
    Approval(Box<approval::State>),
    Revoke(revoke::State),
    Enable(enable::State),
    Accounts(accounts::State),
    Networks(networks::State),
    Activity(activity::State),
    Settings(settings::State),
    Scan(Box<scan::State>),
}

/// Something that may be wanted elsewhere. Never a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copyable {
    /// "the address of mint-bot".
    pub what: String,
    /// What a file of it is called, without number and extension.
    pub file: String,
    pub text: String,
}

/// What the first line says about where one is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heading {
    /// Account, network, short address, balance: as many as fit.
    pub place: [String; 4],
    pub as_of: Option<String>,
}

impl Screen {
    /// Where keys have their meaning, the innermost first.
    pub fn places(&self) -> Vec<Place> {
        match self {
            Self::FirstRun(_) => vec![Place::FirstRun],
            Self::Home(state) => state.places(),
            Self::Inspect(_) => vec![Place::Inspect, Place::Sheet],
            Self::Grant(state) => state.places(),
            Self::Wizard(state) => state.places(),
            Self::Deliver(state) => state.places(),
            Self::Send(state) => state.places(),
            Self::Agents(state) => state.places(),
            Self::Approval(state) => state.places(),
            Self::Revoke(state) => state.places(),
            Self::Enable(state) => state.places(),
            Self::Accounts(state) => state.places(),
            Self::Networks(state) => state.places(),
            Self::Activity(state) => state.places(),
            Self::Settings(_) => vec![Place::Settings, Place::Sheet],
            Self::Scan(state) => state.places(),
        }
    }

    /// Whether printable keys are text now.
    pub fn is_typing(&self) -> bool {
        self.places().iter().any(|p| matches!(p, Place::Filter | Place::Form | Place::Phrase))
    }

    /// The field that takes text now.
    pub fn field(&mut self) -> Option<&mut Field> {
        match self {
            Self::Home(state) => state.field(),
            Self::Grant(state) => state.field(),
            Self::Wizard(state) => state.field(),
            Self::Deliver(state) => state.field(),
            Self::Send(state) => state.field(),
            Self::Agents(state) => state.field(),
            Self::Approval(state) => state.field(),
            Self::Accounts(state) => state.field(),
            Self::Networks(state) => state.field(),
            Self::FirstRun(_)
            | Self::Inspect(_)
            | Self::Revoke(_)
            | Self::Enable(_)
            | Self::Activity(_)
            | Self::Settings(_)
            | Self::Scan(_) => None,
        }
    }

    pub fn command(&mut self, command: Command, cx: &mut Cx<'_>) -> Next {
        match self {
            Self::FirstRun(state) => state.command(command, cx),
            Self::Home(state) => state.command(command, cx),
            Self::Inspect(state) => state.command(command, cx),
            Self::Grant(state) => state.command(command, cx),
            Self::Wizard(state) => state.command(command, cx),
            Self::Deliver(state) => state.command(command, cx),
            Self::Send(state) => state.command(command, cx),
            Self::Agents(state) => state.command(command, cx),
            Self::Approval(state) => state.command(command, cx),
            Self::Revoke(state) => state.command(command, cx),
            Self::Enable(state) => state.command(command, cx),
            Self::Accounts(state) => state.command(command, cx),
            Self::Networks(state) => state.command(command, cx),
            Self::Activity(state) => state.command(command, cx),
            Self::Settings(state) => state.command(command, cx),
            Self::Scan(state) => state.command(command, cx),
        }
    }

    /// Why a command of this screen cannot be done now.
    pub fn why_not(&self, command: Command, data: &Data) -> Option<String> {
        match self {
            Self::Home(state) => state.why_not(command, data),
            Self::Inspect(state) => state.why_not(command, data),
            _ => None,
        }
    }

    /// What can be copied here, or written to a file.
    pub fn copyable(&self, model: &Model) -> Option<Copyable> {
        match self {
            Self::Home(state) => state.copyable(&model.data),
            Self::Revoke(state) => state.copyable(),
            Self::Enable(state) => state.copyable(),
            Self::Activity(state) => state.copyable(),
            Self::Scan(state) => state.copyable(),
            _ => None,
        }
    }

    /// The text in the field has changed.
    pub fn edited(&mut self, cx: &mut Cx<'_>) {
        match self {
            Self::Home(state) => state.settle(cx),
            Self::Grant(state) => state.edited(),
            Self::Wizard(state) => state.edited(cx),
            Self::Deliver(state) => state.edited(),
            Self::Send(state) => state.edited(),
            Self::Agents(state) => state.edited(),
            Self::Approval(state) => state.edited(),
            Self::Accounts(state) => state.edited(),
            Self::Networks(state) => state.edited(),
            _ => {}
        }
    }

    /// What was seen was laid out otherwise.
    pub fn resized(&mut self, cx: &mut Cx<'_>) {
        match self {
            Self::Grant(state) => state.resized(),
            Self::Wizard(state) => state.resized(),
            Self::Send(state) => state.resized(),
            Self::Deliver(_) | Self::Agents(_) | Self::Approval(_) => {}
            Self::Revoke(state) => state.resized(),
            Self::Enable(state) => state.resized(),
            Self::Accounts(state) => state.resized(),
            Self::Networks(state) => state.resized(),
            _ => self.settle(cx),
        }
    }

    /// The data or the size has changed.
    pub fn settle(&mut self, cx: &mut Cx<'_>) {
        match self {
            Self::Home(state) => state.settle(cx),
            Self::Accounts(state) => state.settle(cx),
            _ => {}
        }
    }

    /// A frame with this screen's present state has been seen.
    pub fn drawn(&mut self, cx: &mut Cx<'_>) {
        match self {
            Self::Grant(state) => state.drawn(cx),
            Self::Wizard(state) => state.drawn(cx),
            Self::Send(state) => state.drawn(cx),
            Self::Revoke(state) => state.drawn(cx),
            Self::Enable(state) => state.drawn(cx),
            Self::Accounts(state) => state.drawn(cx),
            Self::Networks(state) => state.drawn(cx),
            _ => {}
        }
    }

    /// A job has ended; answers whether it was this screen's.
    pub fn report(&mut self, job: JobId, report: &mut Report, cx: &mut Cx<'_>) -> bool {
        match self {
            Self::FirstRun(state) => state.report(job, report),
            Self::Home(_) => false,
            Self::Inspect(state) => state.report(job, report),
            Self::Grant(state) => state.report(job, report, cx),
            Self::Wizard(state) => state.report(job, report, cx),
            Self::Deliver(state) => state.report(job, report, cx),
            Self::Send(state) => state.report(job, report, cx),
            Self::Agents(state) => state.report(job, report, cx),
            Self::Approval(state) => state.report(job, report, cx),
            Self::Revoke(state) => state.report(job, report, cx),
            Self::Enable(state) => state.report(job, report, cx),
            Self::Accounts(state) => state.report(job, report, cx),
            Self::Networks(state) => state.report(job, report, cx),
            Self::Activity(state) => state.report(job, report, cx),
            Self::Settings(state) => state.report(job, report),
            Self::Scan(state) => state.report(job, report),
        }
    }

    /// The screen is closed: what it holds elsewhere is given up.
    pub fn leave(&mut self, jobs: &mut Jobs, effects: &mut Vec<Effect>) {
        match self {
            Self::Grant(state) => state.leave(jobs, effects),
            Self::Wizard(state) => state.leave(jobs, effects),
            Self::Send(state) => state.leave(jobs, effects),
            Self::Agents(state) => state.leave(jobs, effects),
            Self::Approval(state) => state.leave(jobs, effects),
            Self::Revoke(state) => state.leave(jobs, effects),
            Self::Enable(state) => state.leave(jobs, effects),
            _ => {}
        }
    }

    pub fn heading(&self, model: &Model) -> Heading {
        match self {
            Self::FirstRun(_) => Heading::default(),
            Self::Home(state) => state.account(&model.data).map(|a| heading(model, a)).unwrap_or_default(),
            Self::Inspect(state) => {
                let key = model.data.key(&state.key_id);
                key.and_then(|k| model.data.account_of(k)).map(|a| heading(model, a)).unwrap_or_default()
            }
            Self::Grant(state) => state.account(&model.data).map(|a| heading(model, a)).unwrap_or_default(),
            Self::Wizard(state) => state.account(&model.data).map(|a| heading(model, a)).unwrap_or_default(),
            Self::Send(state) => state.account_row(&model.data).map(|a| heading(model, a)).unwrap_or_default(),
            Self::Agents(_) => Heading { place: ["keys made here", "", "", ""].map(str::to_owned), as_of: None },
            Self::Approval(_) => Heading { place: ["an approval", "", "", ""].map(str::to_owned), as_of: None },
            Self::Deliver(state) => {
                let key = model.data.key(&state.key_id);
                key.and_then(|k| model.data.account_of(k)).map(|a| heading(model, a)).unwrap_or_default()
            }
            Self::Revoke(state) => named(model, &state.account),
            Self::Enable(state) => named(model, &state.account),
            Self::Scan(state) => named(model, &state.account),
            Self::Accounts(_) => titled("accounts"),
            Self::Networks(_) => titled("networks"),
            Self::Activity(_) => titled("activity"),
            Self::Settings(_) => titled("settings"),
        }
    }

    /// What the line above the footer says when nothing else is going on.
    pub fn remark(&self, model: &Model) -> (String, Style) {
        match self {
            Self::Home(state) => state.remark(model),
            Self::Activity(state) => state.remark(model),
            _ => (String::new(), model.theme.plain()),
        }
    }

    pub fn render(&self, model: &Model, frame: &mut Frame<'_>, area: Rect) {
        match self {
            Self::FirstRun(state) => state.render(model, frame, area),
            Self::Home(state) => state.render(model, frame, area),
            Self::Inspect(state) => state.render(model, frame, area),
            Self::Grant(state) => state.render(model, frame, area),
            Self::Wizard(state) => state.render(model, frame, area),
            Self::Deliver(state) => state.render(model, frame, area),
            Self::Send(state) => state.render(model, frame, area),
            Self::Agents(state) => state.render(model, frame, area),
            Self::Approval(state) => state.render(model, frame, area),
            Self::Revoke(state) => state.render(model, frame, area),
            Self::Enable(state) => state.render(model, frame, area),
            Self::Accounts(state) => state.render(model, frame, area),
            Self::Networks(state) => state.render(model, frame, area),
            Self::Activity(state) => state.render(model, frame, area),
            Self::Settings(state) => state.render(model, frame, area),
            Self::Scan(state) => state.render(model, frame, area),
        }
    }
}

fn titled(place: &str) -> Heading {
    Heading { place: [place.to_owned(), String::new(), String::new(), String::new()], as_of: None }
}

fn named(model: &Model, account: &str) -> Heading {
    let account = model.data.accounts.iter().find(|a| a.name == account);
    account.map(|a| heading(model, a)).unwrap_or_default()
}

fn heading(model: &Model, account: &AccountRow) -> Heading {
    let view = account.view.as_ref();
    let address = view.map(|v| format::short_address(v.address)).unwrap_or_default();
    let balance = view
        .and_then(|v| v.balance.map(|b| format!("{} {}", format::short_coins(b), Coin::of(v.chain_id).symbol())))
        .unwrap_or_default();
    let as_of = model.data.shelf_of(account).and_then(|s| s.as_of);
    Heading {
        place: [account.name.clone(), account.network.clone(), address, balance],
        as_of: as_of.map(|time| {
            let age = model.age(account).map(|age| format!(", {} ago", sentence::rough_duration(age)));
            format!("{}{}", format::clock(time), age.unwrap_or_default())
        }),
    }
}

//! The screens: one file each with its state, what keys do to it, and how it is drawn.

pub mod agents;
pub mod approval;
pub mod deliver;
pub mod first_run;
pub mod grant;
mod granting;
pub mod help;
pub mod home;
pub mod inspect;
pub mod review;
pub mod revoke;
pub mod send;
pub mod wizard;

use ratatui::{Frame, layout::Rect, style::Style};

use super::{
    app::{AccountRow, Cx, JobId, Model, Next, Report},
    effects::Effect,
    form::Field,
    format,
    keymap::{Command, Place},
};

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
        }
    }

    /// Whether printable keys are text now.
    pub fn is_typing(&self) -> bool {
        self.places().iter().any(|p| matches!(p, Place::Filter | Place::Form | Place::Phrase))
    }

    /// The field that takes text now.
    pub fn field(&mut self) -> Option<&mut Field> {
        match self {
            Self::FirstRun(_) | Self::Inspect(_) => None,
            Self::Home(state) => state.field(),
            Self::Grant(state) => state.field(),
            Self::Wizard(state) => state.field(),
            Self::Deliver(state) => state.field(),
            Self::Send(state) => state.field(),
            Self::Agents(state) => state.field(),
            Self::Approval(state) => state.field(),
            Self::Revoke(_) => None,
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
            Self::FirstRun(_) | Self::Inspect(_) | Self::Revoke(_) => {}
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
            Self::FirstRun(_) | Self::Home(_) | Self::Inspect(_) => self.settle(cx),
        }
    }

    /// The data or the size has changed.
    pub fn settle(&mut self, cx: &mut Cx<'_>) {
        if let Self::Home(state) = self {
            state.settle(cx);
        }
    }

    /// A frame with this screen's present state has been seen.
    pub fn drawn(&mut self, cx: &mut Cx<'_>) {
        match self {
            Self::Grant(state) => state.drawn(cx),
            Self::Wizard(state) => state.drawn(cx),
            Self::Send(state) => state.drawn(cx),
            Self::Revoke(state) => state.drawn(cx),
            Self::FirstRun(_)
            | Self::Home(_)
            | Self::Inspect(_)
            | Self::Deliver(_)
            | Self::Agents(_)
            | Self::Approval(_) => {}
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
        }
    }

    /// The screen is closed: what it holds elsewhere is given up.
    pub fn leave(&mut self, effects: &mut Vec<Effect>) {
        match self {
            Self::Grant(state) => state.leave(effects),
            Self::Wizard(state) => state.leave(effects),
            Self::Send(state) => state.leave(effects),
            Self::Agents(state) => state.leave(effects),
            Self::Approval(state) => state.leave(effects),
            Self::Revoke(state) => state.leave(effects),
            Self::FirstRun(_) | Self::Home(_) | Self::Inspect(_) | Self::Deliver(_) => {}
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
            Self::Revoke(state) => {
                let account = model.data.accounts.iter().find(|a| a.name == state.account);
                account.map(|a| heading(model, a)).unwrap_or_default()
            }
        }
    }

    /// What the line above the footer says when nothing else is going on.
    pub fn remark(&self, model: &Model) -> (String, Style) {
        match self {
            Self::Home(state) => state.remark(model),
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
        }
    }
}

fn heading(model: &Model, account: &AccountRow) -> Heading {
    let view = account.view.as_ref();
    let address = view.map(|v| format::short_address(v.address)).unwrap_or_default();
    let balance = view.and_then(|v| v.balance).map(|b| format!("{} ETH", format::short_coins(b))).unwrap_or_default();
    let as_of = model.data.keys_of(account).filter_map(|k| k.as_of).max();
    Heading {
        place: [account.name.clone(), account.network.clone(), address, balance],
        as_of: as_of.map(format::clock),
    }
}

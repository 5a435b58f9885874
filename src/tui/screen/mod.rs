//! The screens: one file each with its state, what keys do to it, and how it is drawn.
//!
//! A new screen is its file, with an `open`, and its line in `routes.rs` (and Rust's `mod` line here). No screen knows another:
//! it says where to go, as a [`Destination`]. What several of them need is beside them: `review.rs`, `stages.rs`, `list_forms.rs`,
//! `grant_flow.rs`, `handover.rs`, `rows.rs`.

mod accounts;
mod activity;
mod agents;
mod approval;
mod enable;
mod export;
mod first_run;
mod grant_flow;
mod grant_from_file;
mod handover;
pub mod help;
mod home;
mod inspect;
mod list_forms;
mod networks;
pub mod palette;
pub mod review;
mod revoke;
pub mod routes;
mod rows;
mod scan;
mod send;
mod settings;
mod stages;
mod wizard;

use ratatui::{Frame, layout::Rect, style::Style};

pub use self::routes::Destination;
use super::{
    data::{AccountId, AccountRow, Data},
    follow::Follow,
    form::Field,
    format,
    input::Moment,
    jobs::Jobs,
    keymap::{Command, Place},
    message::{Effect, JobId, Notice, Report},
    theme::Theme,
};
use crate::{policy::sentence, wallet::coin::Coin};

/// What there is to be shown.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub data: &'a Data,
    pub jobs: &'a Jobs,
    pub follow: &'a Follow,
    pub theme: Theme,
    /// Local clock, unix seconds.
    pub now: u64,
    /// Where the home is.
    pub folder: &'a str,
}

impl View<'_> {
    /// How long ago what is shown of the account was certain, where that is worth saying: local seconds.
    fn age(&self, account: &AccountRow) -> Option<u64> {
        let certain = account.read_at.max(self.follow.holds_at(&account.network, account.address))?;
        Some(self.now.saturating_sub(certain)).filter(|age| *age >= 60)
    }
}

/// What a screen may see and do while it changes.
pub struct Cx<'a> {
    pub data: &'a Data,
    pub jobs: &'a mut Jobs,
    pub notice: &'a mut Option<Notice>,
    pub effects: &'a mut Vec<Effect>,
    pub body: Rect,
    pub theme: Theme,
    pub now: u64,
    pub at: Moment,
}

/// Where a screen wants to go.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    Stay,
    Back,
    Open(Destination),
}

/// A screen that was opened, or a word on why it cannot be.
pub type Opened = Result<Box<dyn Screen>, String>;

/// Something that may be wanted elsewhere. Never a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copyable {
    /// "the address of mint-bot".
    pub what: String,
    /// What a file of it is called, without number and extension.
    pub file: String,
    pub text: String,
}

/// What is looked at, and should be as of now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    pub account: Option<AccountId>,
    /// The key whose page it is.
    pub key: Option<String>,
}

/// One screen: what keys do to it, and how it is drawn. All else has a default.
pub trait Screen {
    fn command(&mut self, command: Command, cx: &mut Cx<'_>) -> Next;

    fn render(&self, view: &View<'_>, frame: &mut Frame<'_>, area: Rect);

    /// Where keys have their meaning, the innermost first.
    fn places(&self) -> Vec<Place> {
        vec![Place::Sheet]
    }

    /// The field that takes text now.
    fn field(&mut self) -> Option<&mut Field> {
        None
    }

    /// The text in the field has changed.
    fn edited(&mut self, _: &mut Cx<'_>) {}

    /// A job has ended, or tells how far it is; answers whether it was this screen's.
    fn report(&mut self, _: JobId, _: &Report, _: &mut Cx<'_>) -> bool {
        false
    }

    /// The data or the size has changed.
    fn settle(&mut self, _: &mut Cx<'_>) {}

    /// What was seen was laid out otherwise, or covered.
    fn resized(&mut self, cx: &mut Cx<'_>) {
        self.settle(cx);
    }

    /// A frame with this screen's present state has been seen.
    fn drawn(&mut self, _: &mut Cx<'_>) {}

    /// The screen is closed: what it holds elsewhere is given up.
    fn leave(&mut self, _: &mut Jobs, _: &mut Vec<Effect>) {}

    /// Why a command of this screen cannot be done now.
    fn why_not(&self, _: Command, _: &Data) -> Option<String> {
        None
    }

    /// What can be copied here, or written to a file.
    fn copyable(&self, _: &Data) -> Option<Copyable> {
        None
    }

    /// What is read again when its chain moves on.
    fn watched(&self, _: &Data) -> Option<Watched> {
        None
    }

    /// Whether a paste is to be held by the loop instead of coming here: it may be a secret.
    fn holds_paste(&self) -> bool {
        false
    }

    /// So many characters were pasted, and are held.
    fn held(&mut self, _: usize) {}

    fn heading(&self, _: &View<'_>) -> Heading {
        Heading::default()
    }

    /// What the line above the footer says when nothing else is going on.
    fn remark(&self, view: &View<'_>) -> (String, Style) {
        (String::new(), view.theme.plain())
    }
}

/// Whether printable keys are text now.
pub fn is_typing(screen: &dyn Screen) -> bool {
    screen.places().iter().any(|p| matches!(p, Place::Filter | Place::Form | Place::Phrase))
}

/// What the first line says about where one is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heading {
    /// Account, network, short address, balance: as many as fit.
    pub place: [String; 4],
    pub as_of: Option<String>,
}

impl Heading {
    fn titled(place: &str) -> Self {
        Self { place: [place.to_owned(), String::new(), String::new(), String::new()], as_of: None }
    }

    fn named(view: &View<'_>, account: &str) -> Self {
        Self::of(view, view.data.accounts.iter().find(|a| a.name == account))
    }

    fn of_key(view: &View<'_>, key: &str) -> Self {
        Self::of(view, view.data.key(key).and_then(|k| view.data.account_of(k)))
    }

    fn of(view: &View<'_>, account: Option<&AccountRow>) -> Self {
        let Some(account) = account else { return Self::default() };
        let known = account.view.as_ref();
        let address = known.map(|v| format::short_address(v.address)).unwrap_or_default();
        let balance = known
            .and_then(|v| v.balance.map(|b| format!("{} {}", format::short_coins(b), Coin::of(v.chain_id).symbol())))
            .unwrap_or_default();
        let as_of = view.data.account_keys_of(account).and_then(|s| s.as_of);
        Self {
            place: [account.name.clone(), account.network.clone(), address, balance],
            as_of: as_of.map(|time| {
                let age = view.age(account).map(|age| format!(", {} ago", sentence::rough_duration(age)));
                format!("{}{}", format::clock(time), age.unwrap_or_default())
            }),
        }
    }
}

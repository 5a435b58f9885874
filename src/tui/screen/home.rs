//! Home: accounts and their keys, and what needs a look first.
//!
//! ```text
//! ┌ Accounts ──────┐┌ Session keys ── 7 ──────────────────────────────────────┐
//! │▸ treasury   7 !││  label       state    until   may call           gas  ! │
//! │  game       2  ││▸ mint-bot    active   3 h     mint(address)      spon   │
//! └────────────────┘└─────────────────────────────────────────────────────────┘
//! ```

use std::collections::BTreeSet;

use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
    widgets::{Block, Paragraph},
};

use super::{Copyable, Cx, Destination, Heading, Next, Screen, View, Watched};
use crate::{
    policy::sentence,
    tui::{
        attention::{attention, pays_gas},
        data::{AccountId, AccountRow, Data},
        form::Field,
        format,
        key_words::{may_call, over},
        keymap::{Command, Place},
        keys::{why_no_owner, why_not_enable, why_not_revoke, why_not_revoke_all, why_not_scan},
        message::Notice,
        theme::Theme,
        widget::{list::moved, sheet},
    },
    wallet::usecase::{key::KeyView, revoke::RevokeAction},
};

/// Wide enough for both panes.
const BOTH_PANES: u16 = 56;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pane {
    #[default]
    Accounts,
    Keys,
}

/// The order of the keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Order {
    /// What needs a look first.
    #[default]
    Urgency,
    Ends,
    Name,
}

impl Order {
    const fn next(self) -> Self {
        match self {
            Self::Urgency => Self::Ends,
            Self::Ends => Self::Name,
            Self::Name => Self::Urgency,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Urgency => "needs attention",
            Self::Ends => "by expiry",
            Self::Name => "by name",
        }
    }
}

/// The keys that are listed: places in the data of one version, for one question.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Listed {
    version: u64,
    account: usize,
    filter: String,
    order: Order,
    keys: Vec<usize>,
}

#[derive(Debug, Default)]
pub struct State {
    pub pane: Pane,
    /// Network and address of the chosen account.
    account: Option<AccountId>,
    key: Option<String>,
    top_account: usize,
    top_key: usize,
    filter: Field,
    filtering: bool,
    order: Order,
    /// Keys of the chosen account, by id: what is done next is done to all of them.
    marked: BTreeSet<String>,
    listed: Listed,
}

impl State {
    pub fn account<'a>(&self, data: &'a Data) -> Option<&'a AccountRow> {
        data.accounts.get(self.account_at(data))
    }

    fn account_id(&self, data: &Data) -> Option<AccountId> {
        self.account(data).map(AccountRow::id)
    }

    fn account_at(&self, data: &Data) -> usize {
        let chosen = self.account.as_ref();
        chosen
            .and_then(|(network, address)| {
                data.accounts.iter().position(|a| a.address == *address && a.network == *network)
            })
            .unwrap_or(0)
    }

    /// The keys of the chosen account that the filter lets through, as places in the data.
    fn list(&self, data: &Data) -> Listed {
        let (account, filter) = (self.account_at(data), self.filter.text().to_lowercase());
        let keys = data.account_keys_at(account).map(|s| s.keys.as_slice()).unwrap_or_default();
        let mut keys: Vec<usize> =
            keys.iter().copied().filter(|i| filter.is_empty() || data.matches(*i, &filter)).collect();
        let key = |i: usize| data.keys.get(i);
        match self.order {
            Order::Urgency => {}
            Order::Ends => keys.sort_by_key(|i| {
                key(*i).map(|k| (over(k.state), if k.valid_until == 0 { u64::MAX } else { k.valid_until }))
            }),
            Order::Name => keys.sort_by_key(|i| key(*i).map(|k| k.label.to_lowercase())),
        }
        Listed { version: data.version, account, filter, order: self.order, keys }
    }

    fn key_at(&self, data: &Data) -> usize {
        let Some(id) = &self.key else { return 0 };
        self.listed.keys.iter().position(|i| data.keys.get(*i).is_some_and(|k| k.key_id == *id)).unwrap_or(0)
    }

    fn key<'a>(&self, data: &'a Data) -> Option<&'a KeyView> {
        data.keys.get(*self.listed.keys.get(self.key_at(data))?)
    }

    /// What is done is done to these: what is marked, else what is chosen.
    fn wanted<'a>(&self, data: &'a Data) -> Vec<&'a KeyView> {
        if self.marked.is_empty() {
            return if self.pane == Pane::Keys { self.key(data).into_iter().collect() } else { Vec::new() };
        }
        self.marked.iter().filter_map(|id| data.key(id)).collect()
    }

    fn act(&mut self, command: Command, cx: &mut Cx<'_>) -> Next {
        match command {
            Command::Back if self.filtering || !self.filter.is_empty() => {
                self.filter.clear();
                self.filtering = false;
            }
            Command::Back => self.marked.clear(),
            Command::Open if self.filtering => self.filtering = false,
            Command::Filter => {
                self.filtering = true;
                self.pane = Pane::Keys;
            }
            Command::Left => self.pane = Pane::Accounts,
            Command::Right => self.pane = Pane::Keys,
            Command::Next | Command::Previous => {
                self.pane = if self.pane == Pane::Accounts { Pane::Keys } else { Pane::Accounts };
            }
            Command::Up | Command::Down | Command::PageUp | Command::PageDown | Command::First | Command::Last => {
                self.go(command, cx);
            }
            Command::Mark => self.mark(cx),
            Command::Order => {
                self.order = self.order.next();
                *cx.notice = Some(Notice::say(format!("sort: {}", self.order.words())));
            }
            Command::Open => return self.open(cx),
            Command::Grant => return Next::Open(Destination::Wizard { account: self.account_id(cx.data) }),
            Command::Revoke => return self.revoke(cx),
            Command::Enable => return self.enable(cx),
            Command::RevokeAll => {
                return Next::Open(Destination::RevokeAll {
                    account: self.account_id(cx.data),
                    action: RevokeAction::All,
                });
            }
            Command::Pause => {
                let paused = self.account(cx.data).and_then(|a| a.view.as_ref()).and_then(|v| v.paused) == Some(true);
                // What is marked is kept when everything else that would come back is ended.
                let keep: Vec<String> = self.marked.iter().cloned().collect();
                let action = if paused { RevokeAction::LiftPanic { keep } } else { RevokeAction::Panic };
                return Next::Open(Destination::RevokeAll { account: self.account_id(cx.data), action });
            }
            Command::Scan => return Next::Open(Destination::Scan { account: self.account_id(cx.data) }),
            Command::Accounts => return Next::Open(Destination::Accounts),
            Command::Networks => return Next::Open(Destination::Networks),
            Command::Activity => return Next::Open(Destination::Activity),
            Command::Settings => return Next::Open(Destination::Settings),
            Command::Send => return self.send(cx.data),
            Command::Agents => return Next::Open(Destination::Agents),
            Command::Approval => {
                let mut networks: Vec<String> = cx.data.accounts.iter().map(|a| a.network.clone()).collect();
                networks.sort_unstable();
                networks.dedup();
                return Next::Open(Destination::Approval { networks });
            }
            _ => {}
        }
        Next::Stay
    }

    fn go(&mut self, command: Command, cx: &Cx<'_>) {
        let page = rows(cx.body).saturating_sub(2).max(1);
        match self.pane {
            Pane::Accounts => {
                let to = moved(command, self.account_at(cx.data), cx.data.accounts.len(), page);
                let account = cx.data.accounts.get(to).map(AccountRow::id);
                if account != self.account {
                    self.account = account;
                    self.key = None;
                    self.top_key = 0;
                    self.marked.clear();
                }
            }
            Pane::Keys => {
                let to = moved(command, self.key_at(cx.data), self.listed.keys.len(), page);
                let key = self.listed.keys.get(to).and_then(|i| cx.data.keys.get(*i));
                self.key = key.map(|k| k.key_id.clone());
            }
        }
    }

    /// Marks the chosen key, or not any more, and goes on to the next.
    fn mark(&mut self, cx: &mut Cx<'_>) {
        let Some(id) = self.key(cx.data).filter(|_| self.pane == Pane::Keys).map(|k| k.key_id.clone()) else {
            *cx.notice = Some(Notice::say("press → for the session keys; Space marks the selected one"));
            return;
        };
        if !self.marked.remove(&id) {
            self.marked.insert(id);
        }
        self.go(Command::Down, cx);
    }

    fn open(&mut self, cx: &mut Cx<'_>) -> Next {
        if self.pane == Pane::Accounts {
            self.pane = Pane::Keys;
            return Next::Stay;
        }
        match self.key(cx.data) {
            Some(key) => Next::Open(Destination::Inspect { key: key.key_id.clone() }),
            None => {
                *cx.notice = Some(Notice::say("no session key yet; press n to grant one"));
                Next::Stay
            }
        }
    }

    /// As the key that is chosen, or - among the accounts - as the owner.
    fn send(&self, data: &Data) -> Next {
        let key = self.key(data).filter(|_| self.pane == Pane::Keys).map(|k| k.key_id.clone());
        let as_key = key.map(|key| Destination::SendAsKey { key });
        let owner = || self.account_id(data).map(|account| Destination::SendAsOwner { account });
        as_key.or_else(owner).map_or(Next::Stay, Next::Open)
    }

    fn revoke(&mut self, cx: &mut Cx<'_>) -> Next {
        let wanted = self.wanted(cx.data);
        if wanted.is_empty() {
            *cx.notice = Some(Notice::trouble("select a key to revoke first: press → for the session keys"));
            return Next::Stay;
        }
        let keys = wanted.iter().map(|k| k.key_id.clone()).collect();
        if why_not_revoke(&wanted, cx.data).is_none() {
            self.marked.clear();
        }
        Next::Open(Destination::Revoke { keys })
    }

    fn enable(&self, cx: &mut Cx<'_>) -> Next {
        let wanted = self.wanted(cx.data);
        if wanted.is_empty() {
            *cx.notice = Some(Notice::trouble("select a key to enable first: press → for the session keys"));
            return Next::Stay;
        }
        Next::Open(Destination::Enable { keys: wanted.iter().map(|k| k.key_id.clone()).collect() })
    }

    /// What needs a look about the chosen account, in full as far as half of the screen has room; the account's page has all.
    fn notes(&self, data: &Data, area: Rect, theme: Theme) -> Vec<Line<'static>> {
        let rows = self.account(data).map(AccountRow::notes).unwrap_or_default();
        let mut lines = sheet::lay_out(&rows, sheet::columns(area), theme);
        let most = usize::from(area.height / 2);
        if lines.len() > most {
            lines.truncate(most.saturating_sub(1));
            lines.push(Line::styled("    … press m for all of it", theme.dim()));
        }
        lines
    }

    fn accounts(&self, view: &View<'_>, frame: &mut Frame<'_>, area: Rect) {
        let theme = view.theme;
        let focused = self.pane == Pane::Accounts;
        let block = Block::bordered().title(" Accounts ").border_style(theme.border(focused));
        let inner = block.inner(area);
        frame.render_widget(block, area);
        let chosen = self.account_at(view.data);
        let columns = usize::from(inner.width);
        let shown = view.data.accounts.iter().enumerate().skip(self.top_account).take(usize::from(inner.height));
        let lines: Vec<Line<'_>> = shown
            .map(|(i, account)| {
                let (count, worst) = view.data.account_keys_at(i).map_or((0, None), |s| (s.keys.len(), s.worst));
                let tail = format!(" {count:>3} {:<2}", marks(worst));
                let name = format::fit(&format::clean(&account.name), columns.saturating_sub(2 + tail.len()));
                let style = choice_style(theme, i == chosen, focused);
                let lead = if i == chosen { "▸ " } else { "  " };
                Line::styled(format::fit(&format!("{lead}{name}{tail}"), columns), style)
            })
            .collect();
        frame.render_widget(Paragraph::new(lines), inner);
    }

    fn key_list(&self, view: &View<'_>, frame: &mut Frame<'_>, area: Rect) {
        let theme = view.theme;
        let focused = self.pane == Pane::Keys;
        let keys = &self.listed.keys;
        let order =
            if self.order == Order::Urgency { String::new() } else { format!("── {} ", self.order.words()) };
        let title = format!(" Session keys ── {} {order}", keys.len());
        let block = Block::bordered().title(title).border_style(theme.border(focused));
        let inner = block.inner(area);
        frame.render_widget(block, area);
        let columns = Columns::of(usize::from(inner.width));
        let mut lines = vec![Line::styled(columns.heading(), theme.dim())];
        let chosen = self.key_at(view.data);
        let height = usize::from(inner.height).saturating_sub(1);
        for (i, key) in keys.iter().enumerate().skip(self.top_key).take(height) {
            let Some(key) = view.data.keys.get(*key) else { continue };
            let style = choice_style(theme, i == chosen, focused);
            let lead = match (i == chosen, self.marked.contains(&key.key_id)) {
                (true, true) => "▸●",
                (true, false) => "▸ ",
                (false, true) => " ●",
                (false, false) => "  ",
            };
            lines.push(columns.row(key, view, lead, style));
        }
        if keys.is_empty() && view.data.loaded {
            let text =
                if self.filter.is_empty() { "no session key yet; press n to grant one" } else { "no key matches" };
            lines.push(Line::styled(format!("  {text}"), theme.dim()));
        }
        frame.render_widget(Paragraph::new(lines), inner);
    }
}

impl Screen for State {
    fn places(&self) -> Vec<Place> {
        if self.filtering { vec![Place::Filter] } else { vec![Place::Home, Place::Copyable] }
    }

    fn field(&mut self) -> Option<&mut Field> {
        self.filtering.then_some(&mut self.filter)
    }

    fn command(&mut self, command: Command, cx: &mut Cx<'_>) -> Next {
        // What is listed may have changed since it was looked up. From the first key on, this very account is chosen.
        self.settle(cx);
        if self.account.is_none() {
            self.account = self.account(cx.data).map(AccountRow::id);
        }
        let next = self.act(command, cx);
        self.settle(cx);
        next
    }

    fn why_not(&self, command: Command, data: &Data) -> Option<String> {
        let account = self.account(data);
        match command {
            Command::Grant => why_no_owner(account),
            Command::Revoke => why_not_revoke(&self.wanted(data), data),
            Command::Enable => match self.wanted(data).as_slice() {
                [] => Some("select a pending key first".into()),
                keys => why_not_enable(keys, data),
            },
            Command::Pause | Command::RevokeAll => why_not_revoke_all(account),
            Command::Scan => why_not_scan(account),
            Command::Mark | Command::Open if self.pane == Pane::Keys && self.key(data).is_none() => {
                Some("no session key here".into())
            }
            Command::Copy | Command::Save => self.copyable(data).is_none().then(|| "no key here".into()),
            _ => None,
        }
    }

    fn copyable(&self, data: &Data) -> Option<Copyable> {
        let (name, address) = match self.pane {
            Pane::Accounts => self.account(data).map(|a| (a.name.clone(), a.address))?,
            Pane::Keys => self.key(data).map(|k| (k.label.clone(), k.session_key))?,
        };
        let what = format!("the address of {}", format::clean(&name));
        Some(Copyable { what, file: "address".into(), text: address.to_string() })
    }

    fn edited(&mut self, cx: &mut Cx<'_>) {
        self.settle(cx);
    }

    fn settle(&mut self, cx: &mut Cx<'_>) {
        let data = cx.data;
        let same = self.listed.version == data.version
            && self.listed.account == self.account_at(data)
            && self.listed.order == self.order
            && self.listed.filter == self.filter.text().to_lowercase();
        if !same {
            self.listed = self.list(data);
            self.marked.retain(|id| data.key(id).is_some());
        }
        if self.pane == Pane::Keys {
            // From now on this very key is chosen, wherever the list puts it.
            self.key = self.key(data).map(|k| k.key_id.clone()).or_else(|| self.key.take());
        }
        let notes = self.notes(data, cx.body, cx.theme).len();
        let height = rows(cx.body).saturating_sub(notes);
        let in_sight = |top: usize, at: usize, height: usize| top.clamp((at + 1).saturating_sub(height.max(1)), at);
        self.top_account = in_sight(self.top_account, self.account_at(data), height);
        // With the heading of the columns there is one row less.
        self.top_key = in_sight(self.top_key, self.key_at(data), height.saturating_sub(1));
    }

    fn watched(&self, data: &Data) -> Option<Watched> {
        Some(Watched { account: self.account(data).map(AccountRow::id), key: None })
    }

    fn heading(&self, view: &View<'_>) -> Heading {
        Heading::of(view, self.account(view.data))
    }

    fn remark(&self, view: &View<'_>) -> (String, Style) {
        let theme = view.theme;
        if !self.marked.is_empty() && !self.filtering {
            let paused = self.account(view.data).and_then(|a| a.view.as_ref()).and_then(|v| v.paused) == Some(true);
            let lift = if paused { ", ! unpauses and keeps them" } else { "" };
            return (format!("{} marked: x revokes them{lift}, Esc unmarks", self.marked.len()), theme.accent());
        }
        if self.filtering || !self.filter.is_empty() {
            return (format!("filter \"{}\": Esc clears it", self.filter.text()), theme.caution());
        }
        let Some(account) = self.account(view.data) else {
            let text = if view.data.loaded { "" } else { "reading the records…" };
            return (text.to_owned(), theme.dim());
        };
        if account.critical().next().is_some() {
            return (format!("someone else can act for {}: see above", account.name), theme.bad());
        }
        if account.view.as_ref().is_some_and(|v| v.paused == Some(true)) {
            return ("paused, no session key can act: ! unpauses".into(), theme.bad());
        }
        let account_keys = view.data.account_keys_of(account);
        let (looks, urgent) = account_keys.map_or((0, false), |s| (s.looks, s.worst == Some(true)));
        let first = account_keys.and_then(|s| s.keys.first()).and_then(|i| view.data.keys.get(*i));
        match (looks, first.and_then(|key| attention(key).map(|look| (key, look)))) {
            (1.., Some((key, look))) => {
                let count = if looks == 1 {
                    "1 key needs attention".to_owned()
                } else {
                    format!("{looks} keys need attention")
                };
                let style = if urgent { theme.bad() } else { theme.caution() };
                (format!("{count}: {} {}", key.label, look.words), style)
            }
            _ if view.data.in_flight == 1 => ("1 operation has no result yet: t shows it".to_owned(), theme.caution()),
            _ if view.data.in_flight > 1 => {
                let count = view.data.in_flight;
                (format!("{count} operations have no result yet: t shows them"), theme.caution())
            }
            _ => (String::new(), theme.plain()),
        }
    }

    fn render(&self, view: &View<'_>, frame: &mut Frame<'_>, area: Rect) {
        if view.data.loaded && view.data.accounts.is_empty() {
            empty(view, frame, area);
            return;
        }
        let theme = view.theme;
        let notes = self.notes(view.data, area, theme);
        let below = u16::try_from(notes.len()).unwrap_or(0);
        let lower = Rect { y: area.bottom().saturating_sub(below), height: below, ..area };
        frame.render_widget(Paragraph::new(notes), Rect { x: lower.x + 1, width: lower.width - 1, ..lower });
        let area = Rect { height: area.height - below, ..area };
        if area.width < BOTH_PANES {
            match self.pane {
                Pane::Accounts => self.accounts(view, frame, area),
                Pane::Keys => self.key_list(view, frame, area),
            }
            return;
        }
        let left = (area.width / 5).clamp(20, 30);
        self.accounts(view, frame, Rect { width: left, ..area });
        self.key_list(view, frame, Rect { x: area.x + left, width: area.width - left, ..area });
    }
}

/// Rows that a list has between its borders.
fn rows(body: Rect) -> usize {
    usize::from(body.height.saturating_sub(2))
}

fn choice_style(theme: Theme, chosen: bool, focused: bool) -> Style {
    match (chosen, focused) {
        (true, true) => theme.selected(),
        (true, false) => theme.selected_elsewhere(),
        (false, _) => theme.plain(),
    }
}

const fn marks(urgent: Option<bool>) -> &'static str {
    match urgent {
        Some(true) => "!!",
        Some(false) => "!",
        None => "",
    }
}

/// Widths of the key list's columns; 0 leaves one out.
struct Columns {
    label: usize,
    state: usize,
    until: usize,
    call: usize,
    gas: usize,
}

impl Columns {
    fn of(width: usize) -> Self {
        // Two for the mark on the left, three for the one on the right.
        let fixed = 2 + 3 + 9 + 7;
        let room = width.saturating_sub(fixed);
        if width < 46 {
            return Self { label: room, state: 9, until: 7, call: 0, gas: 0 };
        }
        let label = (room / 3).clamp(10, 24);
        let gas = 8;
        Self { label, state: 9, until: 7, call: room.saturating_sub(label + gas), gas }
    }

    fn line(&self, lead: &str, cells: [&str; 6]) -> String {
        let [label, state, until, call, gas, mark] = cells;
        let cell = |text: &str, width: usize| {
            if width == 0 { String::new() } else { format!("{} ", format::fit(text, width - 1)) }
        };
        format!(
            "{lead}{}{}{}{}{}{mark:>2} ",
            cell(label, self.label),
            cell(state, self.state),
            cell(until, self.until),
            cell(call, self.call),
            cell(gas, self.gas)
        )
    }

    fn heading(&self) -> String {
        self.line("  ", ["label", "state", "until", "may call", "gas by", "!"])
    }

    fn row(&self, key: &KeyView, view: &View<'_>, lead: &str, style: Style) -> Line<'static> {
        let theme = view.theme;
        let now = view.data.chain_time(&key.network, view.now);
        let label = format::clean(&key.label);
        let gas = if over(key.state) {
            "–"
        } else if pays_gas(key) {
            "you"
        } else {
            "sponsor"
        };
        let mark = marks(attention(key).map(|a| a.urgent));
        let text = self.line(lead, [&label, key.state.word(), &until(key, now), &may_call(key), gas, mark]);
        if lead.starts_with('▸') || !over(key.state) {
            return Line::from(vec![Span::styled(text, style)]);
        }
        Line::styled(text, style.patch(theme.dim()))
    }
}

/// How long the key can still be used: `3 h`, `never` ends, or a dash where that is over.
fn until(key: &KeyView, now: u64) -> String {
    match key.valid_until {
        _ if over(key.state) => "–".to_owned(),
        0 => "never".to_owned(),
        end if end < now => "ended".to_owned(),
        end => sentence::rough_duration(end - now),
    }
}

/// A home without accounts says what to do.
fn empty(view: &View<'_>, frame: &mut Frame<'_>, area: Rect) {
    let theme = view.theme;
    let way = |key: &'static str, what: &'static str| {
        Line::from(vec![Span::styled(format!("    {key}  "), theme.accent()), Span::raw(what)])
    };
    let lines = vec![
        Line::default(),
        Line::styled("  No account yet.", theme.head()),
        Line::default(),
        way("w", "networks: add the network your account is on"),
        way("m", "accounts: create one, or add an existing one"),
    ];
    frame.render_widget(Paragraph::new(lines), area);
}

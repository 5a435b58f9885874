//! Home: accounts and their keys, and what needs a look first.
//!
//! ```text
//! ┌ Accounts ──────┐┌ Session keys ── 7 ──────────────────────────────────────┐
//! │▸ treasury   7 !││  label       state    until   may call           gas  ! │
//! │  game       2  ││▸ mint-bot    active   3 h     mint(address)      spon   │
//! └────────────────┘└─────────────────────────────────────────────────────────┘
//! ```

use alloy::primitives::{Address, Selector};
use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
    widgets::{Block, Paragraph},
};

use super::{agents, approval, inspect, revoke, send, wizard};
use crate::{
    kernel::sentence,
    tui::{
        app::{AccountRow, Cx, Data, Model, Next, Notice},
        attention::{attention, pays_gas},
        form::Field,
        format,
        keymap::{Command, Place},
        screen::Screen,
        theme::Theme,
    },
    wallet::{key::KeyView, state::State as KeyState},
};

/// Wide enough for both panes.
const BOTH_PANES: u16 = 56;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pane {
    #[default]
    Accounts,
    Keys,
}

#[derive(Debug, Default)]
pub struct State {
    pub pane: Pane,
    /// Network and address of the chosen account.
    account: Option<(String, Address)>,
    key: Option<String>,
    top_account: usize,
    top_key: usize,
    filter: Field,
    filtering: bool,
}

impl State {
    pub fn places(&self) -> Vec<Place> {
        if self.filtering { vec![Place::Filter] } else { vec![Place::Home] }
    }

    pub fn field(&mut self) -> Option<&mut Field> {
        self.filtering.then_some(&mut self.filter)
    }

    pub fn account<'a>(&self, data: &'a Data) -> Option<&'a AccountRow> {
        data.accounts.get(self.account_at(data))
    }

    fn account_at(&self, data: &Data) -> usize {
        let chosen = self.account.as_ref();
        chosen
            .and_then(|(network, address)| {
                data.accounts.iter().position(|a| a.address == *address && a.network == *network)
            })
            .unwrap_or(0)
    }

    /// The keys of the chosen account that the filter lets through.
    fn keys<'a>(&self, data: &'a Data) -> Vec<&'a KeyView> {
        let wanted = self.filter.text().to_lowercase();
        let passes = |key: &&KeyView| {
            wanted.is_empty()
                || key.label.to_lowercase().contains(&wanted)
                || key.state.word().contains(&wanted)
                || key.session_key.to_string().to_lowercase().contains(&wanted)
                || may_call(key).to_lowercase().contains(&wanted)
        };
        self.account(data).map(|a| data.keys_of(a).filter(passes).collect()).unwrap_or_default()
    }

    fn key_at(&self, keys: &[&KeyView]) -> usize {
        self.key.as_ref().and_then(|id| keys.iter().position(|k| k.key_id == *id)).unwrap_or(0)
    }

    fn key<'a>(&self, data: &'a Data) -> Option<&'a KeyView> {
        let keys = self.keys(data);
        keys.get(self.key_at(&keys)).copied()
    }

    pub fn command(&mut self, command: Command, cx: &mut Cx<'_>) -> Next {
        match command {
            Command::Back if self.filtering || !self.filter.is_empty() => {
                self.filter.clear();
                self.filtering = false;
            }
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
                self.go(command, cx)
            }
            Command::Open => return self.open(cx),
            Command::Grant => return self.grant(cx),
            Command::Revoke => return self.revoke(cx),
            Command::Send => return self.send(cx),
            Command::Agents => return Next::Open(Box::new(Screen::Agents(Box::new(agents::State::open(cx))))),
            Command::Approval => {
                let mut networks: Vec<String> = cx.data.accounts.iter().map(|a| a.network.clone()).collect();
                networks.sort_unstable();
                networks.dedup();
                return Next::Open(Box::new(Screen::Approval(Box::new(approval::State::open(networks)))));
            }
            _ => {}
        }
        self.settle(cx);
        Next::Stay
    }

    fn go(&mut self, command: Command, cx: &Cx<'_>) {
        let page = rows(cx.body).saturating_sub(1).max(1);
        let moved = |at: usize, len: usize| {
            let last = len.saturating_sub(1);
            match command {
                Command::Up => at.saturating_sub(1),
                Command::Down => at + 1,
                Command::PageUp => at.saturating_sub(page),
                Command::PageDown => at + page,
                Command::Last => last,
                _ => 0,
            }
            .min(last)
        };
        match self.pane {
            Pane::Accounts => {
                let to = moved(self.account_at(cx.data), cx.data.accounts.len());
                self.account = cx.data.accounts.get(to).map(|a| (a.network.clone(), a.address));
                self.key = None;
                self.top_key = 0;
            }
            Pane::Keys => {
                let keys = self.keys(cx.data);
                let to = moved(self.key_at(&keys), keys.len());
                self.key = keys.get(to).map(|k| k.key_id.clone());
            }
        }
    }

    /// Keeps what is chosen in sight.
    pub fn settle(&mut self, cx: &Cx<'_>) {
        let height = rows(cx.body);
        let in_sight = |top: usize, at: usize| top.clamp(at.saturating_sub(height.saturating_sub(1)), at);
        self.top_account = in_sight(self.top_account, self.account_at(cx.data));
        let keys = self.keys(cx.data);
        self.top_key = in_sight(self.top_key, self.key_at(&keys));
        // With the heading of the columns there is one row less.
        if self.key_at(&keys) + 1 >= self.top_key + height {
            self.top_key = (self.key_at(&keys) + 2).saturating_sub(height);
        }
    }

    fn open(&mut self, cx: &mut Cx<'_>) -> Next {
        if self.pane == Pane::Accounts {
            self.pane = Pane::Keys;
            return Next::Stay;
        }
        match self.key(cx.data) {
            Some(key) => Next::Open(Box::new(Screen::Inspect(inspect::State::open(&key.key_id, cx)))),
            None => {
                *cx.notice = Some(Notice::say("there is no session key here yet: n gives one"));
                Next::Stay
            }
        }
    }

    fn grant(&self, cx: &mut Cx<'_>) -> Next {
        match wizard::State::open(self.account(cx.data), cx.data) {
            Ok(state) => Next::Open(Box::new(Screen::Wizard(Box::new(state)))),
            Err(why) => {
                *cx.notice = Some(Notice::trouble(why));
                Next::Stay
            }
        }
    }

    /// As the key that is chosen, or - among the accounts - as the owner.
    fn send(&self, cx: &mut Cx<'_>) -> Next {
        if self.pane == Pane::Keys
            && let Some(key) = self.key(cx.data)
        {
            return send::State::as_key(key, cx);
        }
        match self.account(cx.data) {
            Some(account) => send::State::as_owner(account, cx),
            None => Next::Stay,
        }
    }

    fn revoke(&self, cx: &mut Cx<'_>) -> Next {
        let key = (self.pane == Pane::Keys).then(|| self.key(cx.data)).flatten();
        match key {
            Some(key) => revoke::State::open(key, cx),
            None => {
                *cx.notice = Some(Notice::trouble("choose the key to revoke first: → goes to the session keys"));
                Next::Stay
            }
        }
    }

    /// What needs a look first.
    pub fn remark(&self, model: &Model) -> (String, Style) {
        let theme = model.theme;
        if self.filtering || !self.filter.is_empty() {
            return (format!("only keys with \"{}\": Esc shows all", self.filter.text()), theme.caution());
        }
        let Some(account) = self.account(&model.data) else {
            let text = if model.data.loaded { "" } else { "reading the records…" };
            return (text.to_owned(), theme.dim());
        };
        if let Some(why) = account.view.as_ref().and_then(|v| v.unknown_because.as_ref()) {
            return (format!("no chain to ask: {why}"), theme.caution());
        }
        if account.view.as_ref().is_some_and(|v| v.paused == Some(true)) {
            return ("session keys of this account are switched off (panic)".into(), theme.bad());
        }
        let mut looks: Vec<_> =
            model.data.keys_of(account).filter_map(|k| attention(k).map(|a| (!a.urgent, k, a))).collect();
        looks.sort_by_key(|(calm, ..)| *calm);
        match looks.as_slice() {
            [] if model.data.in_flight > 0 => {
                (format!("{} operation(s) sent, no result yet", model.data.in_flight), theme.caution())
            }
            [] => (String::new(), theme.plain()),
            [(calm, key, look), ..] => {
                let count = match looks.len() {
                    1 => "1 key needs a look".to_owned(),
                    n => format!("{n} keys need a look"),
                };
                let style = if *calm { theme.caution() } else { theme.bad() };
                (format!("{count}: {} {}", key.label, look.words), style)
            }
        }
    }

    pub fn render(&self, model: &Model, frame: &mut Frame<'_>, area: Rect) {
        if model.data.loaded && model.data.accounts.is_empty() {
            empty(model, frame, area);
            return;
        }
        if area.width < BOTH_PANES {
            match self.pane {
                Pane::Accounts => self.accounts(model, frame, area),
                Pane::Keys => self.key_list(model, frame, area),
            }
            return;
        }
        let left = (area.width / 5).clamp(20, 30);
        self.accounts(model, frame, Rect { width: left, ..area });
        self.key_list(model, frame, Rect { x: area.x + left, width: area.width - left, ..area });
    }

    fn accounts(&self, model: &Model, frame: &mut Frame<'_>, area: Rect) {
        let theme = model.theme;
        let focused = self.pane == Pane::Accounts;
        let block = Block::bordered().title(" Accounts ").border_style(theme.border(focused));
        let inner = block.inner(area);
        frame.render_widget(block, area);
        let chosen = self.account_at(&model.data);
        let columns = usize::from(inner.width);
        let shown = model.data.accounts.iter().enumerate().skip(self.top_account).take(usize::from(inner.height));
        let lines: Vec<Line<'_>> = shown
            .map(|(i, account)| {
                let keys: Vec<_> = model.data.keys_of(account).collect();
                let mark = keys.iter().filter_map(|k| attention(k)).map(|a| a.urgent).max();
                let tail = format!(" {:>3} {:<2}", keys.len(), marks(mark));
                let name = format::fit(&format::clean(&account.name), columns.saturating_sub(2 + tail.len()));
                let style = choice_style(theme, i == chosen, focused);
                let lead = if i == chosen { "▸ " } else { "  " };
                Line::styled(format::fit(&format!("{lead}{name}{tail}"), columns), style)
            })
            .collect();
        frame.render_widget(Paragraph::new(lines), inner);
    }

    fn key_list(&self, model: &Model, frame: &mut Frame<'_>, area: Rect) {
        let theme = model.theme;
        let focused = self.pane == Pane::Keys;
        let keys = self.keys(&model.data);
        let block =
            Block::bordered().title(format!(" Session keys ── {} ", keys.len())).border_style(theme.border(focused));
        let inner = block.inner(area);
        frame.render_widget(block, area);
        let columns = Columns::of(usize::from(inner.width));
        let mut lines = vec![Line::styled(columns.heading(), theme.dim())];
        let chosen = self.key_at(&keys);
        let height = usize::from(inner.height).saturating_sub(1);
        for (i, key) in keys.iter().enumerate().skip(self.top_key).take(height) {
            let style = choice_style(theme, i == chosen, focused);
            lines.push(columns.row(key, model, i == chosen, style));
        }
        if keys.is_empty() && model.data.loaded {
            let text = if self.filter.is_empty() { "no session key yet: n gives one" } else { "no key matches" };
            lines.push(Line::styled(format!("  {text}"), theme.dim()));
        }
        frame.render_widget(Paragraph::new(lines), inner);
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

    fn row(&self, key: &KeyView, model: &Model, chosen: bool, style: Style) -> Line<'static> {
        let theme = model.theme;
        let now = model.data.chain_time(&key.network, model.now);
        let label = format::clean(&key.label);
        let gas = if over(key.state) {
            "–"
        } else if pays_gas(key) {
            "you"
        } else {
            "sponsor"
        };
        let mark = marks(attention(key).map(|a| a.urgent));
        let lead = if chosen { "▸ " } else { "  " };
        let text = self.line(lead, [&label, key.state.word(), &until(key, now), &may_call(key), gas, mark]);
        if chosen || !over(key.state) {
            return Line::from(vec![Span::styled(text, style)]);
        }
        Line::styled(text, style.patch(theme.dim()))
    }
}

/// Whether nothing more can come of the key.
pub const fn over(state: KeyState) -> bool {
    matches!(state, KeyState::Expired | KeyState::Revoked | KeyState::Dead | KeyState::Stale)
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

/// What the key may call, in a few letters.
pub fn may_call(key: &KeyView) -> String {
    match key.permissions.as_slice() {
        [] => "EVERYTHING".to_owned(),
        [only] => match key.functions.first() {
            Some(Some(signature)) => format::clean(&short_signature(signature)),
            _ if only.sig == Selector::ZERO => "0x00000000".to_owned(),
            _ => only.sig.to_string(),
        },
        several => format!("{} functions", several.len()),
    }
}

/// `mint(address)` of `mint(address to)`, without what it returns.
fn short_signature(signature: &str) -> String {
    let name = signature.split('(').next().unwrap_or(signature).trim_start_matches("function ");
    let arguments = signature.split_once('(').map_or("", |(_, rest)| rest);
    let count = if arguments.starts_with(')') { "()" } else { "(…)" };
    format!("{name}{count}")
}

/// A home without accounts says what to do.
fn empty(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let theme = model.theme;
    let lines = vec![
        Line::default(),
        Line::styled("  No account yet.", theme.head()),
        Line::default(),
        Line::raw("  Leave with q, then make one, or add one that exists:"),
        Line::styled("    keyleash account new NAME --owner-new", theme.accent()),
        Line::styled("    keyleash account add NAME --address 0x…", theme.accent()),
    ];
    frame.render_widget(Paragraph::new(lines), area);
}

//! Accounts: the list, the form for a new or an existing one, and taking one off the list.

use alloy::primitives::{Address, U256};
use ratatui::{Frame, layout::Rect, text::Line, widgets::Paragraph};

use super::{
    Cx, Heading, Next, Screen, View,
    rows::failure_rows,
    stages::{Moved, Stages},
};
use crate::{
    abi::parse_address,
    tui::{
        data::{AccountId, AccountRow, Data},
        form::{
            Field,
            page::{Did, Form, Row as Asked},
        },
        format,
        keymap::{Command, Place},
        message::{AccountRequest, Effect, JobId, Notice, OwnerFrom, Report},
        theme::Theme,
        widget::{
            list::moved,
            sheet::{self, Row, Scroll},
        },
    },
    wallet::{coin::Coin, error::Error, records::label::check_name, usecase::account::AccountView},
};

/// The lines of the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Kind,
    Name,
    Network,
    Address,
    Owner,
    File,
    OwnerAddress,
    Index,
    Go,
}

/// What the answers of the choices mean.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    New,
    Existing,
    Network(String),
    Owner(Owner),
}

/// Where the owner's key may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Fresh,
    KeyFile,
    Keystore,
    PhraseFile,
    Nobody,
}

impl Owner {
    const OF_NEW: [Self; 5] = [Self::Fresh, Self::KeyFile, Self::Keystore, Self::PhraseFile, Self::Nobody];
    /// An account that exists has an owner.
    const OF_EXISTING: [Self; 4] = [Self::Nobody, Self::KeyFile, Self::Keystore, Self::PhraseFile];

    const fn words(self) -> &'static str {
        match self {
            Self::Fresh => "make a new key",
            Self::KeyFile => "a key in a file",
            Self::Keystore => "a keystore file",
            Self::PhraseFile => "a recovery phrase in a file",
            Self::Nobody => "not here: only watch",
        }
    }

    const fn is_in_file(self) -> bool {
        matches!(self, Self::KeyFile | Self::Keystore | Self::PhraseFile)
    }
}

fn owners(of: &[Owner]) -> impl Iterator<Item = (&'static str, Answer)> {
    of.iter().map(|owner| (owner.words(), Answer::Owner(*owner)))
}

#[derive(Debug, Default)]
enum Step {
    #[default]
    List,
    Form(Box<Form<Entry, Answer>>, Option<Error>),
    Adding(Box<Form<Entry, Answer>>, JobId),
    /// Taking this account off the list.
    Removing(String, Box<Stages>),
}

#[derive(Debug, Default)]
pub struct State {
    chosen: Option<AccountId>,
    step: Step,
    /// Waits for the networks before the form opens.
    asking: Option<JobId>,
}

pub fn open(_: &mut Cx<'_>) -> Box<dyn Screen> {
    Box::new(State::default())
}

impl State {
    fn at(&self, data: &Data) -> usize {
        let Some((network, address)) = &self.chosen else { return 0 };
        data.accounts.iter().position(|a| a.network == *network && a.address == *address).unwrap_or(0)
    }

    fn in_list(&mut self, command: Command, cx: &mut Cx<'_>) -> Next {
        match command {
            Command::Back => return Next::Back,
            Command::Add => {
                // The form offers the networks there are.
                let job = cx.jobs.start("reading the networks", false);
                self.asking = Some(job);
                cx.effects.push(Effect::Networks { job });
            }
            Command::Remove => match cx.data.accounts.get(self.at(cx.data)).map(|a| a.view.as_ref()) {
                Some(Some(view)) => {
                    let stages = Stages::unplanned("take it off the list", removal_rows(view));
                    self.step = Step::Removing(view.name.clone(), Box::new(stages));
                }
                Some(None) => {
                    *cx.notice =
                        Some(Notice::trouble("this one is here because of keys you hold; it is not on your list"));
                }
                None => {}
            },
            command => {
                let page = usize::from(cx.body.height).saturating_sub(1).max(1);
                let to = moved(command, self.at(cx.data), cx.data.accounts.len(), page);
                self.chosen = cx.data.accounts.get(to).map(AccountRow::id);
            }
        }
        Next::Stay
    }

    fn list(&self, view: &View<'_>, frame: &mut Frame<'_>, area: Rect) {
        let theme = view.theme;
        let accounts = &view.data.accounts;
        let columns = usize::from(area.width).saturating_sub(2);
        let at = self.at(view.data);
        let facts = accounts.get(at).map(facts).unwrap_or_default();
        // What matters is read in full; the list gives way, and keeps what is chosen in sight.
        let wanted = sheet::lay_out(&facts, sheet::columns(area), theme).len().max(9);
        let detail = area.height.saturating_sub(4).min(u16::try_from(wanted).unwrap_or(u16::MAX));
        let (list, below) = (
            Rect { height: area.height - detail, ..area },
            Rect { y: area.y + area.height - detail, height: detail, ..area },
        );
        let height = usize::from(list.height).saturating_sub(1);
        let top = (at + 1).saturating_sub(height.max(1));
        let cells = |name: &str, network: &str, address: &str, keys: &str, owner: &str| {
            let wide = columns.saturating_sub(16 + 12 + 14 + 7);
            format!(
                "{} {} {} {} {}",
                format::fit(name, 15),
                format::fit(network, 11),
                format::fit(address, 13),
                format::fit(keys, 6),
                format::fit(owner, wide.saturating_sub(3))
            )
        };
        let mut lines =
            vec![Line::styled(format!("   {}", cells("account", "network", "address", "keys", "owner")), theme.dim())];
        for (i, account) in accounts.iter().enumerate().skip(top).take(height) {
            let keys = view.data.shelf(i).map_or(0, |s| s.keys.len());
            let owner = match &account.view {
                None => "somebody else",
                Some(view) if view.watch_only => "watch-only",
                Some(_) => "you",
            };
            let (mark, style) = if i == at { ("▸", theme.selected()) } else { (" ", theme.plain()) };
            let address = format::short_address(account.address);
            let row = cells(
                &format::clean(&account.name),
                &format::clean(&account.network),
                &address,
                &keys.to_string(),
                owner,
            );
            lines.push(Line::styled(format!(" {mark} {row}"), style));
        }
        if accounts.is_empty() {
            lines.push(Line::styled("   none yet: n makes one, or adds one that exists", theme.dim()));
        }
        frame.render_widget(Paragraph::new(lines), list);
        if !facts.is_empty() {
            sheet::render_rows(frame, below, &facts, Scroll::default(), theme);
        }
    }
}

impl Screen for State {
    fn places(&self) -> Vec<Place> {
        match &self.step {
            Step::List => vec![Place::Accounts, Place::List],
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
        match &mut self.step {
            Step::List => return self.in_list(command, cx),
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
                        cx.effects.push(Effect::AddAccount { job, request });
                        let form = std::mem::replace(form, Box::new(Form::new(Vec::new())));
                        self.step = Step::Adding(form, job);
                    }
                }
            },
            // It goes on: the account may be on record already, and what it comes to belongs to the view.
            Step::Adding(..) if command == Command::Back => self.step = Step::List,
            Step::Adding(..) => {}
            Step::Removing(name, stages) => match stages.command(command, cx) {
                Moved::Stay => {}
                Moved::Undone | Moved::Back => self.step = Step::List,
                Moved::Confirmed(_) => {
                    let job = cx.jobs.start_change(format!("taking {name} off the list"));
                    cx.effects.push(Effect::RemoveAccount { job, name: name.clone() });
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

    fn settle(&mut self, cx: &mut Cx<'_>) {
        let at = self.at(cx.data);
        self.chosen = cx.data.accounts.get(at).map(AccountRow::id);
    }

    fn drawn(&mut self, cx: &mut Cx<'_>) {
        if let Step::Removing(_, stages) = &mut self.step {
            stages.drawn(cx);
        }
    }

    fn report(&mut self, job: JobId, report: &Report, cx: &mut Cx<'_>) -> bool {
        if self.asking == Some(job) {
            self.asking = None;
            match report {
                Report::Networks(networks) if networks.is_empty() => {
                    *cx.notice = Some(Notice::trouble("there is no network yet: Esc, then w adds one"));
                }
                Report::Networks(networks) if matches!(self.step, Step::List) => {
                    let names: Vec<&str> = networks.iter().map(|n| n.name.as_str()).collect();
                    self.step = Step::Form(Box::new(form(&names)), None);
                }
                _ => return false,
            }
            return true;
        }
        let Step::Adding(form, waiting) = &mut self.step else { return false };
        if *waiting != job {
            return false;
        }
        match report {
            Report::AccountAdded(view) => {
                self.chosen = Some((view.network.clone(), view.address));
                self.step = Step::List;
            }
            Report::Failed(error) => {
                // Back to the form, with everything that was typed.
                let form = std::mem::replace(form, Box::new(Form::new(Vec::new())));
                self.step = Step::Form(form, Some(error.clone()));
            }
            _ => return false,
        }
        true
    }

    fn heading(&self, _: &View<'_>) -> Heading {
        Heading::titled("accounts")
    }

    fn render(&self, view: &View<'_>, frame: &mut Frame<'_>, area: Rect) {
        let theme = view.theme;
        match &self.step {
            Step::List => self.list(view, frame, area),
            Step::Form(form, failed) => {
                let columns = sheet::columns(area);
                let failed = failed.iter().flat_map(|e| failure_rows("That did not work", e)).collect::<Vec<_>>();
                let foot = sheet::lay_out(&failed, columns, theme);
                form.render(frame, area, heading(columns, theme), foot, theme);
            }
            Step::Adding(..) => {
                let rows = [
                    Row::Head("Adding the account".into()),
                    Row::Text("Taking the owner's key in, and reading the account from its chain…".into()),
                    Row::Dim("Nothing is sent. Esc goes back to the list; this goes on.".into()),
                ];
                sheet::render_rows(frame, area, &rows, Scroll::default(), theme);
            }
            Step::Removing(_, stages) => stages.render(view, frame, area),
        }
    }
}

/// What needs a look, then what it is.
fn facts(row: &AccountRow) -> Vec<Row> {
    let Some(view) = &row.view else { return row.notes() };
    let mut rows: Vec<Row> = row.notes();
    let symbol = Coin::of(view.chain_id).symbol();
    let coins = |wei: Option<U256>| wei.map(|w| format!("{} {symbol}", format::short_coins(w)));
    let kernel = view.kernel_version.map_or_else(|| "not known".to_owned(), |v| format!("Kernel {v}"));
    let deployed = match view.deployed {
        Some(true) => "has code on chain",
        Some(false) => "no code yet: the first operation deploys it",
        None => "not read yet",
    };
    rows.extend([
        Row::Fact("address", view.address.to_string()),
        Row::Fact("owner", view.owner.to_string()),
        Row::Fact("version", format!("{kernel}, {deployed}")),
    ]);
    if let Some(balance) = coins(view.balance) {
        let deposit = coins(view.deposit.filter(|d| !d.is_zero()));
        let deposit = deposit.map_or_else(String::new, |d| format!(", and {d} prepaid for gas (EntryPoint deposit)"));
        rows.push(Row::Fact("balance", format!("{balance}{deposit}")));
    }
    if view.paused == Some(true) {
        rows.push(Row::Bad("panic is on: no session key of this account can act".into()));
    }
    rows
}

fn removal_rows(view: &AccountView) -> Vec<Row> {
    let mut rows = vec![
        Row::Head(format!("Take {} off the list?", view.name)),
        Row::Fact("account", view.address.to_string()),
        Row::Fact("network", view.network.clone()),
        Row::Blank,
        Row::Item("nothing is sent: the account and its keys on chain stay as they are".into()),
        Row::Item("its approvals stay on record; adding the account again brings them back".into()),
    ];
    if !view.watch_only {
        rows.push(Row::Item("its owner's key stays in your vault".into()));
    }
    rows
}

fn heading(columns: usize, theme: Theme) -> Vec<Line<'static>> {
    let rows = [Row::Head("Add an account".into()), Row::Dim("This sends nothing and costs nothing.".into())];
    sheet::lay_out(&rows, columns, theme)
}

fn form(networks: &[&str]) -> Form<Entry, Answer> {
    let mut form = Form::new(vec![
        Asked::choice(
            Entry::Kind,
            "account",
            [("a new one", Answer::New), ("one that exists", Answer::Existing)],
            "a new one has its address at once, and code with its first operation",
        ),
        Asked::text(Entry::Name, "name", "", "treasury", "for your eyes: letters, digits, - and _"),
        Asked::choice(
            Entry::Network,
            "network",
            networks.iter().map(|name| (*name, Answer::Network((*name).to_owned()))),
            "the chain it is on",
        ),
        Asked::text(Entry::Address, "address", "", "0x…", "of the account itself; its owner is read from the chain"),
        Asked::choice(
            Entry::Owner,
            "owner's key",
            owners(&Owner::OF_NEW),
            "what signs for the account; it is kept in your vault",
        ),
        Asked::text(Entry::File, "file", "", "~/owner.key", "what is in the file is never shown"),
        Asked::text(
            Entry::OwnerAddress,
            "owner's address",
            "",
            "0x…",
            "whose account it is; nothing can be signed here",
        ),
        Asked::text(Entry::Index, "number", "", "0", "tells the accounts of one owner apart (index)"),
        Asked::button(Entry::Go, "Add it"),
    ]);
    fit(&mut form);
    form
}

/// What is asked depends on what was answered.
fn fit(form: &mut Form<Entry, Answer>) {
    let exists = form.is(Entry::Kind, &Answer::Existing);
    form.offer(Entry::Owner, if exists { owners(&Owner::OF_EXISTING) } else { owners(&Owner::OF_NEW) });
    let owner = owner(form);
    form.show(Entry::Address, exists);
    form.show(Entry::File, owner.is_in_file());
    form.show(Entry::OwnerAddress, !exists && owner == Owner::Nobody);
    form.show(Entry::Index, !exists);
    form.settle();
}

fn owner(form: &Form<Entry, Answer>) -> Owner {
    match form.chosen(Entry::Owner) {
        Some(Answer::Owner(owner)) => *owner,
        _ => Owner::Nobody,
    }
}

fn check(form: &Form<Entry, Answer>, line: Entry) -> Result<(), String> {
    let text = form.text(line);
    if form.get(line).is_none_or(|r| r.hidden) {
        return Ok(());
    }
    match line {
        Entry::Name if text.is_empty() => Err("give it a name".into()),
        Entry::Name => check_name("the account's name", &text).map_err(|e| e.message),
        Entry::Address | Entry::OwnerAddress => address(&text).map(|_| ()),
        Entry::File if text.is_empty() => Err("name the file".into()),
        Entry::Index => index(&text).map(|_| ()),
        _ => Ok(()),
    }
}

fn index(text: &str) -> Result<U256, String> {
    if text.is_empty() {
        return Ok(U256::ZERO);
    }
    text.parse().map_err(|_| "expected a whole number; most owners have only number 0".to_owned())
}

/// What the form asks for, or nothing while something is wrong with it: then that is said where it is.
fn submit(form: &mut Form<Entry, Answer>) -> Option<AccountRequest> {
    let lines: Vec<Entry> = form.rows.iter().filter(|r| !r.hidden).map(|r| r.key).collect();
    for line in lines {
        if let Err(why) = check(form, line) {
            form.refuse(line, why);
            return None;
        }
    }
    let exists = form.is(Entry::Kind, &Answer::Existing);
    let file = form.text(Entry::File);
    let owner = match owner(form) {
        Owner::Fresh => OwnerFrom::Fresh,
        Owner::KeyFile => OwnerFrom::KeyFile(file),
        Owner::Keystore => OwnerFrom::Keystore(file),
        Owner::PhraseFile => OwnerFrom::PhraseFile(file),
        Owner::Nobody => OwnerFrom::Nobody(address(&form.text(Entry::OwnerAddress)).ok().filter(|_| !exists)),
    };
    let network = match form.chosen(Entry::Network) {
        Some(Answer::Network(name)) => name.clone(),
        _ => String::new(),
    };
    Some(AccountRequest {
        name: form.text(Entry::Name),
        network,
        address: address(&form.text(Entry::Address)).ok().filter(|_| exists),
        owner,
        index: index(&form.text(Entry::Index)).unwrap_or_default(),
    })
}

fn address(text: &str) -> Result<Address, String> {
    let address = parse_address(text).map_err(|e| e.to_string())?;
    if address.is_zero() { Err("the zero address is nobody's".into()) } else { Ok(address) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_words_ask_for_the_same() {
        for kind in [Answer::New, Answer::Existing] {
            for owner in Owner::OF_NEW {
                let asked_for = |reworded: bool| {
                    let mut form = form(&["sepolia", "base"]);
                    let settle = |form: &mut Form<Entry, Answer>| {
                        if reworded {
                            form.reword();
                        }
                        fit(form);
                    };
                    settle(&mut form);
                    form.choose(Entry::Kind, &kind);
                    settle(&mut form);
                    form.choose(Entry::Owner, &Answer::Owner(owner));
                    form.choose(Entry::Network, &Answer::Network("base".into()));
                    settle(&mut form);
                    form.fill(Entry::Name, "vault");
                    form.fill(Entry::File, "owner.key");
                    for line in [Entry::Address, Entry::OwnerAddress] {
                        form.fill(line, "0x70997970C51812dc3A010C7d01b50e0d17dc79C8");
                    }
                    submit(&mut form)
                };
                let plain = asked_for(false).expect("all of it is filled in");
                assert_eq!(plain.network, "base");
                assert_eq!(plain.address.is_some(), kind == Answer::Existing);
                assert_eq!(Some(plain), asked_for(true));
            }
        }
    }
}

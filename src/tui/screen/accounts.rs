//! Accounts: the list, the form for a new or an existing one, and taking one off the list.

use alloy::primitives::{Address, U256};
use ratatui::layout::Rect;

use super::{
    Cx, Screen, View,
    list_forms::{Act, Heard, ListForms, Listing, Removal, Request},
};
use crate::{
    abi::parse_address,
    tui::{
        data::{AccountId, AccountRow, Data},
        form::page::{Form, Row as Asked},
        format,
        keymap::{Command, Place},
        message::{AccountRequest, Effect, JobId, Notice, OwnerFrom, Report},
        widget::sheet::Row,
    },
    wallet::{coin::Coin, records::label::check_name, usecase::account::AccountView},
};

/// The lines of the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
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
pub enum Answer {
    New,
    Existing,
    Network(String),
    Owner(Owner),
}

/// Where the owner's key may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
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
            Self::Fresh => "generate a new key",
            Self::KeyFile => "from a key file",
            Self::Keystore => "from a keystore file",
            Self::PhraseFile => "from a recovery phrase file",
            Self::Nobody => "none (watch-only)",
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
pub struct Accounts {
    chosen: Option<AccountId>,
    /// Waits for the networks before the form opens.
    asking: Option<JobId>,
}

pub fn open(_: &mut Cx<'_>) -> Box<dyn Screen> {
    Box::new(ListForms::new(Accounts::default()))
}

impl Accounts {
    fn row<'a>(&self, data: &'a Data) -> Option<&'a AccountRow> {
        data.accounts.get(self.chosen(data))
    }
}

impl Listing for Accounts {
    type Line = Entry;
    type Answer = Answer;

    const TITLE: &'static str = "accounts";
    const PLACE: Place = Place::Accounts;

    fn count(&self, data: &Data) -> usize {
        data.accounts.len()
    }

    fn chosen(&self, data: &Data) -> usize {
        let chosen = self.chosen.as_ref();
        chosen.and_then(|id| data.accounts.iter().position(|a| a.id() == *id)).unwrap_or(0)
    }

    fn choose(&mut self, at: usize, data: &Data) {
        self.chosen = data.accounts.get(at).map(AccountRow::id);
    }

    fn empty(&self) -> &'static str {
        "no account yet; press n to create or add one"
    }

    fn column_heads(&self, columns: usize) -> Option<String> {
        Some(cells(columns, ["account", "network", "address", "keys", "owner"]))
    }

    fn line(&self, at: usize, columns: usize, view: &View<'_>) -> String {
        let Some(account) = view.data.accounts.get(at) else { return String::new() };
        let keys = view.data.account_keys_at(at).map_or(0, |s| s.keys.len()).to_string();
        let owner = match &account.view {
            None => "someone else",
            Some(view) if view.watch_only => "watch-only",
            Some(_) => "you",
        };
        let (name, network) = (format::clean(&account.name), format::clean(&account.network));
        cells(columns, [&name, &network, &format::short_address(account.address), &keys, owner])
    }

    fn facts(&self, data: &Data) -> Vec<Row> {
        self.row(data).map(facts).unwrap_or_default()
    }

    /// What matters is read in full; the list gives way, and keeps what is chosen in sight.
    fn split(&self, area: Rect, facts: usize, _: &Data) -> (Rect, Rect) {
        let detail = area.height.saturating_sub(4).min(u16::try_from(facts.max(9)).unwrap_or(u16::MAX));
        (
            Rect { height: area.height - detail, ..area },
            Rect { y: area.y + area.height - detail, height: detail, ..area },
        )
    }

    fn command(&mut self, command: Command, cx: &mut Cx<'_>) -> Act<Entry, Answer> {
        if command != Command::Add {
            return Act::NotMine;
        }
        // The form offers the networks there are.
        let job = cx.jobs.start("reading the networks", false);
        self.asking = Some(job);
        cx.effects.push(Effect::Networks { job });
        Act::Stay
    }

    fn report(&mut self, job: JobId, report: &Report, cx: &mut Cx<'_>) -> Heard<Entry, Answer> {
        if self.asking.take_if(|asking| *asking == job).is_none() {
            return Heard::NotMine;
        }
        match report {
            Report::Networks(networks) if networks.is_empty() => {
                *cx.notice = Some(Notice::trouble("no network yet; press Esc, then w to add one"));
                Heard::Taken
            }
            Report::Networks(networks) => {
                let names: Vec<&str> = networks.iter().map(|n| n.name.as_str()).collect();
                Heard::Form(form(&names))
            }
            _ => Heard::NotMine,
        }
    }

    fn form_heading(&self) -> Vec<Row> {
        vec![Row::Head("Add an account".into()), Row::Dim("This sends nothing and costs nothing.".into())]
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
            effect: Box::new(|job| Effect::AddAccount { job, request }),
        })
    }

    fn adding(&self) -> Vec<Row> {
        vec![
            Row::Head("Adding the account".into()),
            Row::Text("Importing the owner's key and reading the account from its chain…".into()),
            Row::Dim("Nothing is sent. Esc returns to the list; this continues.".into()),
        ]
    }

    fn added(&mut self, report: &Report, _: &mut Cx<'_>) -> bool {
        let Report::AccountAdded(view) = report else { return false };
        self.chosen = Some((view.network.clone(), view.address));
        true
    }

    fn removal(&self, cx: &mut Cx<'_>) -> Option<Removal> {
        let Some(view) = &self.row(cx.data)?.view else {
            let why = "shown because you hold keys for it; it is not in your list";
            *cx.notice = Some(Notice::trouble(why));
            return None;
        };
        let name = view.name.clone();
        Some(Removal {
            review: removal_rows(view),
            verb: "remove it from the list",
            running: vec![Row::Head(format!("Removing {name}…"))],
            done: vec![
                Row::Head(format!("{name} removed from the list")),
                Row::Item("its approvals stay on record, and return when you add the account again".into()),
            ],
            failed: format!("{name} was not removed"),
            request: Request {
                name: format!("removing {name}"),
                effect: Box::new(|job| Effect::RemoveAccount { job, name }),
            },
        })
    }
}

fn cells(columns: usize, [name, network, address, keys, owner]: [&str; 5]) -> String {
    let wide = columns.saturating_sub(16 + 12 + 14 + 7 + 3);
    format!(
        "{} {} {} {} {}",
        format::fit(name, 15),
        format::fit(network, 11),
        format::fit(address, 13),
        format::fit(keys, 6),
        format::fit(owner, wide)
    )
}

/// What needs a look, then what it is.
fn facts(row: &AccountRow) -> Vec<Row> {
    let Some(view) = &row.view else { return row.notes() };
    let mut rows: Vec<Row> = row.notes();
    let symbol = Coin::of(view.chain_id).symbol();
    let coins = |wei: Option<U256>| wei.map(|w| format!("{} {symbol}", format::short_coins(w)));
    let kernel = view.kernel_version.map_or_else(|| "unknown version".to_owned(), |v| format!("Kernel {v}"));
    let deployed = match view.deployed {
        Some(true) => "deployed",
        Some(false) => "not deployed yet; its first operation deploys it",
        None => "not read yet",
    };
    rows.extend([
        Row::Fact("address", view.address.to_string()),
        Row::Fact("owner", view.owner.to_string()),
        Row::Fact("version", format!("{kernel}, {deployed}")),
    ]);
    if let Some(balance) = coins(view.balance) {
        let deposit = coins(view.deposit.filter(|d| !d.is_zero()));
        let deposit = deposit.map_or_else(String::new, |d| format!(", plus {d} EntryPoint deposit"));
        rows.push(Row::Fact("balance", format!("{balance}{deposit}")));
    }
    if view.paused == Some(true) {
        rows.push(Row::Bad("paused: no session key of this account can act".into()));
    }
    rows
}

fn removal_rows(view: &AccountView) -> Vec<Row> {
    let mut rows = vec![
        Row::Head(format!("Remove {} from the list?", view.name)),
        Row::Fact("account", view.address.to_string()),
        Row::Fact("network", view.network.clone()),
        Row::Blank,
        Row::Item("nothing is sent; the account and its keys stay as they are on chain".into()),
        Row::Item("its approvals stay on record, and return when you add the account again".into()),
    ];
    if !view.watch_only {
        rows.push(Row::Item("its owner's key stays in your vault".into()));
    }
    rows
}

fn form(networks: &[&str]) -> Form<Entry, Answer> {
    let mut form = Form::new(vec![
        Asked::choice(
            Entry::Kind,
            "account",
            [("new", Answer::New), ("existing", Answer::Existing)],
            "a new account has its address at once and is deployed by its first operation",
        ),
        Asked::text(Entry::Name, "name", "", "treasury", "a local name: letters, digits, - and _"),
        Asked::choice(
            Entry::Network,
            "network",
            networks.iter().map(|name| (*name, Answer::Network((*name).to_owned()))),
            "the network it is on",
        ),
        Asked::text(Entry::Address, "address", "", "0x…", "of the account itself; its owner is read from the chain"),
        Asked::choice(Entry::Owner, "owner's key", owners(&Owner::OF_NEW), "signs for the account; kept in your vault"),
        Asked::text(Entry::File, "file", "", "~/owner.key", "its contents are never shown"),
        Asked::text(
            Entry::OwnerAddress,
            "owner's address",
            "",
            "0x…",
            "the account's owner; nothing can be signed here",
        ),
        Asked::text(Entry::Index, "index", "", "0", "distinguishes several accounts of one owner"),
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
    match line {
        Entry::Name if text.is_empty() => Err("enter a name".into()),
        Entry::Name => check_name("the account's name", &text).map_err(|e| e.message),
        Entry::Address | Entry::OwnerAddress => address(&text).map(|_| ()),
        Entry::File if text.is_empty() => Err("enter a file name".into()),
        Entry::Index => index(&text).map(|_| ()),
        _ => Ok(()),
    }
}

fn index(text: &str) -> Result<U256, String> {
    if text.is_empty() {
        return Ok(U256::ZERO);
    }
    text.parse().map_err(|_| "expected a whole number; most owners only use 0".to_owned())
}

/// What a form without anything wrong asks for.
fn request(form: &Form<Entry, Answer>) -> Option<AccountRequest> {
    let exists = form.is(Entry::Kind, &Answer::Existing);
    let file = form.text(Entry::File);
    let owner = match owner(form) {
        Owner::Fresh => OwnerFrom::Fresh,
        Owner::KeyFile => OwnerFrom::KeyFile(file),
        Owner::Keystore => OwnerFrom::Keystore(file),
        Owner::PhraseFile => OwnerFrom::PhraseFile(file),
        Owner::Nobody => OwnerFrom::Nobody(address(&form.text(Entry::OwnerAddress)).ok().filter(|_| !exists)),
    };
    let Some(Answer::Network(network)) = form.chosen(Entry::Network) else { return None };
    Some(AccountRequest {
        name: form.text(Entry::Name),
        network: network.clone(),
        address: address(&form.text(Entry::Address)).ok().filter(|_| exists),
        owner,
        index: index(&form.text(Entry::Index)).unwrap_or_default(),
    })
}

fn address(text: &str) -> Result<Address, String> {
    let address = parse_address(text).map_err(|e| e.to_string())?;
    if address.is_zero() { Err("the zero address cannot be used".into()) } else { Ok(address) }
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
                    request(&form)
                };
                let plain = asked_for(false).expect("all of it is filled in");
                assert_eq!(plain.network, "base");
                assert_eq!(plain.address.is_some(), kind == Answer::Existing);
                assert_eq!(Some(plain), asked_for(true));
            }
        }
    }
}

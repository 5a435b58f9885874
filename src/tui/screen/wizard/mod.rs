//! Granting a key, step by step: who uses it, what it may call, with which arguments, how often, for how long, who pays.
//!
//! ```text
//!  Step 3 of 6 · limits on the arguments of mint(address to)
//!  ▸ to        ‹ is ›  0x12a3…9F3A
//!              address: an address; "me" is this account
//!    [ Next ]
//! ```
//! Going back keeps what was typed. The answers end as a [`Policy`](crate::wallet::policy::Policy), as a policy file does.

mod answers;
mod templates;
#[cfg(test)]
mod tests;

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use self::{
    answers::{Answer, Answers, Ask, Giver, Page, PermissionForm},
    templates::Start,
};
use super::{
    Cx, Destination, Heading, Next, Opened, View,
    grant_flow::{Answered, GrantForm, Granting},
    rows::failure_rows,
};
use crate::{
    protocol::family::Validator,
    tui::{
        data::{AccountId, AccountRow, Data},
        form::{Field, page::FormEvent},
        format,
        jobs::Jobs,
        keymap::{Command, Place},
        message::{Effect, GrantRequest, JobId, PolicySource, Report},
        theme::Theme,
        widget::sheet::{self, Row},
    },
    wallet::{coin::Coin, error::Error},
};

#[derive(Debug)]
struct Wizard {
    account: String,
    network: String,
    givers: Vec<Giver>,
    sandbox: bool,
    /// What is chosen in the menu at the start.
    start: usize,
    /// The form, and for which start it was filled.
    answers: Option<(Start, Answers)>,
    /// Missing while the menu is shown.
    page: Option<Page>,
    failed: Option<Error>,
    /// The ABI file that is being read, for which permission.
    reading: Option<(JobId, usize, String)>,
}

/// The wizard for an account, or a word on why there can be none.
pub fn open(account: Option<AccountId>, cx: &mut Cx<'_>) -> Opened {
    let data = cx.data;
    let account =
        account.and_then(|id| data.account(&id)).ok_or("no account yet; create one with `keyleash account new`")?;
    let view = account.view.as_ref().ok_or("this account is someone else's; only its owner can grant keys")?;
    if view.watch_only {
        return Err(format!("{} is watch-only: use `keyleash grant --unsigned` and sign elsewhere", view.name));
    }
    let own = data.accounts.iter().filter_map(|a| a.view.as_ref()).filter(|v| !v.watch_only);
    let givers = own.map(|v| Giver { name: v.name.clone(), address: v.address, coin: Coin::of(v.chain_id) }).collect();
    Ok(Box::new(Granting::new(Wizard {
        account: view.name.clone(),
        network: view.network.clone(),
        givers,
        sandbox: data.sandbox,
        start: 0,
        answers: None,
        page: None,
        failed: None,
        reading: None,
    })))
}

impl Wizard {
    fn account<'a>(&self, data: &'a Data) -> Option<&'a AccountRow> {
        let name = self.answers.as_ref().and_then(|(_, a)| a.giver()).map_or(&self.account, |g| &g.name);
        data.accounts.iter().find(|a| a.name == *name && a.view.is_some())
    }

    fn form(&self) -> Option<&crate::tui::form::page::Form<Ask, Answer>> {
        let (_, answers) = self.answers.as_ref()?;
        answers.form(self.page?)
    }

    fn in_menu(&mut self, command: Command, cx: &Cx<'_>) -> Next {
        let count = Start::ALL.len();
        match command {
            Command::Back => return Next::Back,
            Command::Up => self.start = (self.start + count - 1) % count,
            Command::Down => self.start = (self.start + 1) % count,
            Command::Open => {
                let start = Start::ALL.get(self.start).copied().unwrap_or(Start::Blank);
                if start == Start::File {
                    return Next::Open(Destination::GrantFromFile {
                        account: self.account(cx.data).map(AccountRow::id),
                    });
                }
                // Chosen again, the form is as it was left.
                if self.answers.as_ref().is_none_or(|(before, _)| *before != start) {
                    let giver = self.givers.iter().position(|g| g.name == self.account).unwrap_or(0);
                    let mut answers = Answers::new(self.givers.clone(), giver, self.sandbox);
                    start.fill(&mut answers);
                    self.answers = Some((start, answers));
                }
                self.go(Page::Who, cx);
            }
            _ => {}
        }
        Next::Stay
    }

    fn go(&mut self, page: Page, cx: &Cx<'_>) {
        self.failed = None;
        self.page = Some(page);
        let now = cx.data.chain_time(&self.network, cx.now);
        if let Some((_, answers)) = &mut self.answers {
            if let Page::Arguments(i) = page
                && let Some(permission) = answers.permissions.get_mut(i)
            {
                permission.build_arguments();
            }
            answers.settle(page, now);
            if let Some(form) = answers.form_mut(page) {
                form.focus_first();
            }
        }
    }

    /// What is asked for, once the last page is answered.
    fn on_page(&mut self, page: Page, command: Command, cx: &mut Cx<'_>) -> Option<GrantRequest> {
        let now = cx.data.chain_time(&self.network, cx.now);
        let (_, answers) = self.answers.as_mut()?;
        if command == Command::Back {
            let pages = answers.pages();
            let before =
                pages.iter().position(|p| *p == page).and_then(|at| at.checked_sub(1)).and_then(|at| pages.get(at));
            match before {
                Some(before) => self.go(*before, cx),
                None => self.page = None,
            }
            return None;
        }
        match answers.form_mut(page)?.command(command) {
            FormEvent::Nothing => {}
            FormEvent::Turned(_) => answers.settle(page, now),
            FormEvent::Left(left) => {
                let wrong = answers.check(page, left, now).err();
                if let Some(form) = answers.form_mut(page) {
                    form.mark(left, wrong);
                }
                answers.settle(page, now);
                if left == Ask::AbiFile {
                    self.read_file(page, cx);
                }
            }
            FormEvent::Pressed(Ask::Add) => {
                if self.passes(page, now) {
                    self.add_permission(page, cx);
                }
            }
            FormEvent::Pressed(Ask::Remove) => self.remove_permission(page, cx),
            FormEvent::Pressed(_) => {
                if let Page::Function(_) = page
                    && self.read_file(page, cx)
                {
                    return None;
                }
                if self.passes(page, now) {
                    return self.go_on(page, now, cx);
                }
            }
        }
        None
    }

    /// Whether the page can be left; else the cursor is at what is wrong.
    fn passes(&mut self, page: Page, now: u64) -> bool {
        let Some((_, answers)) = &mut self.answers else { return false };
        match answers.check_page(page, now) {
            Ok(()) => true,
            Err(wrong) => {
                if let Some(form) = answers.form_mut(page) {
                    form.refuse(wrong.ask, wrong.why);
                }
                false
            }
        }
    }

    fn go_on(&mut self, page: Page, now: u64, cx: &Cx<'_>) -> Option<GrantRequest> {
        let (_, answers) = self.answers.as_mut()?;
        let pages = answers.pages();
        let next = pages.iter().position(|p| *p == page).and_then(|at| pages.get(at + 1)).copied();
        if let Some(next) = next {
            self.go(next, cx);
            return None;
        }
        self.failed = None;
        let (holder, policy) = match (answers.holder(), answers.policy(now)) {
            (Ok(holder), Ok(policy)) => (holder, policy),
            (_, Err(wrong)) => {
                self.go(wrong.page, cx);
                if let Some(form) = self.answers.as_mut().and_then(|(_, a)| a.form_mut(wrong.page)) {
                    form.refuse(wrong.ask, wrong.why);
                }
                return None;
            }
            (Err(why), Ok(_)) => {
                self.go(Page::Who, cx);
                if let Some(form) = self.answers.as_mut().and_then(|(_, a)| a.form_mut(Page::Who)) {
                    form.refuse(Ask::Agent, why);
                }
                return None;
            }
        };
        Some(GrantRequest {
            account: answers.giver().map(|g| g.name.clone()).unwrap_or_default(),
            policy: PolicySource::Made(Box::new(policy)),
            holder,
            label: answers.label(),
        })
    }

    fn add_permission(&mut self, page: Page, cx: &Cx<'_>) {
        let (Page::Limits(at), Some((_, answers))) = (page, &mut self.answers) else { return };
        answers.permissions.insert(at + 1, PermissionForm::new(self.sandbox));
        self.go(Page::Function(at + 1), cx);
    }

    fn remove_permission(&mut self, page: Page, cx: &Cx<'_>) {
        let (Page::Limits(at), Some((_, answers))) = (page, &mut self.answers) else { return };
        if answers.permissions.len() > 1 && at < answers.permissions.len() {
            answers.permissions.remove(at);
            self.go(Page::Limits(at.saturating_sub(1)), cx);
        }
    }

    /// Reads the ABI file that is named, if it has not been read. Answers whether it does.
    fn read_file(&mut self, page: Page, cx: &mut Cx<'_>) -> bool {
        let (Page::Function(at), Some((_, answers))) = (page, &self.answers) else { return false };
        let Some(file) = answers.permissions.get(at).and_then(|p| p.unread_file()) else { return false };
        let job = cx.jobs.start("reading the ABI", false);
        cx.effects.push(Effect::ReadAbi { job, file: file.clone() });
        self.reading = Some((job, at, file));
        true
    }

    fn menu(&self, frame: &mut Frame<'_>, area: Rect, columns: usize, theme: Theme) {
        let rows = [
            Row::Head("Grant a session key".into()),
            Row::Text(format!("A key that may act for {}, only within the scope you set.", self.account)),
            Row::Dim("Granting sends nothing and costs nothing.".into()),
            Row::Blank,
            Row::Text("What is it for?".into()),
        ];
        let mut lines = sheet::lay_out(&rows, columns, theme);
        for (i, start) in Start::ALL.iter().enumerate() {
            let (name, what) = start.words();
            let chosen = i == self.start;
            let style = if chosen { theme.selected() } else { theme.plain() };
            lines.push(Line::from(vec![
                Span::raw(if chosen { "▸ " } else { "  " }),
                Span::styled(format::cut(name, columns.saturating_sub(2)), style),
            ]));
            if area.height > 14 || chosen {
                let pieces = format::wrap(what, columns.saturating_sub(4));
                lines.extend(pieces.into_iter().map(|p| Line::styled(format!("    {p}"), theme.dim())));
            }
        }
        let inner = Rect { x: area.x + 1.min(area.width), width: area.width.saturating_sub(1), ..area };
        sheet::render(frame, inner, lines, sheet::Scroll::default(), theme);
    }

    /// The validator that a key of the account will be for: what the account routes to already, else the newest.
    fn validator(&self, data: &Data) -> Validator {
        let view = self.account(data).and_then(|a| a.view.as_ref());
        view.and_then(|v| v.validator).unwrap_or(Validator::DEFAULT)
    }

    /// What the answers say so far, or what went wrong.
    fn footing(&self, page: Page, answers: &Answers, now: u64, validator: Validator) -> Vec<Row> {
        if let Some(error) = &self.failed {
            let mut rows = vec![Row::Blank];
            rows.extend(failure_rows("That did not work", error));
            return rows;
        }
        if !matches!(page, Page::Limits(_)) {
            return Vec::new();
        }
        let sentences = match answers.sentences(now, validator) {
            Ok(sentences) => sentences,
            Err(why) => return vec![Row::Blank, Row::Bad(why)],
        };
        let mut rows = vec![Row::Blank];
        rows.extend((!sentences.is_empty()).then(|| Row::Dim("So far, the key".into())));
        rows.extend(sentences.into_iter().map(Row::Item));
        rows
    }
}

impl GrantForm for Wizard {
    fn places(&self) -> Vec<Place> {
        self.form().map_or_else(|| vec![Place::Menu], |form| form.places())
    }

    fn field(&mut self) -> Option<&mut Field> {
        let page = self.page?;
        self.answers.as_mut()?.1.form_mut(page)?.field()
    }

    fn command(&mut self, command: Command, cx: &mut Cx<'_>) -> Answered {
        let Some(page) = self.page else { return Answered::Go(self.in_menu(command, cx)) };
        self.on_page(page, command, cx).map_or(Answered::Go(Next::Stay), Answered::Grant)
    }

    fn edited(&mut self, cx: &mut Cx<'_>) {
        let (Some(page), Some((_, answers))) = (self.page, &mut self.answers) else { return };
        if let Some(form) = answers.form_mut(page) {
            form.edited();
        }
        answers.settle(page, cx.data.chain_time(&self.network, cx.now));
    }

    fn report(&mut self, job: JobId, report: &Report, _: &mut Cx<'_>) -> bool {
        let Some((_, at, file)) = self.reading.take_if(|(waiting, ..)| *waiting == job) else { return false };
        let Some((_, answers)) = &mut self.answers else { return true };
        match (report, answers.permissions.get_mut(at)) {
            (Report::Abi(interface), Some(permission)) => permission.take_file(file, (**interface).clone()),
            (Report::Failed(error), Some(permission)) => {
                permission.function.mark(Ask::AbiFile, Some(error.message.clone()));
            }
            _ => {}
        }
        true
    }

    fn failed(&mut self, error: Error) {
        self.failed = Some(error);
    }

    fn leave(&mut self, jobs: &mut Jobs, effects: &mut Vec<Effect>) {
        if let Some((job, ..)) = &self.reading {
            jobs.cancel(*job, effects);
        }
    }

    fn heading(&self, view: &View<'_>) -> Heading {
        Heading::of(view, self.account(view.data))
    }

    fn render(&self, view: &View<'_>, frame: &mut Frame<'_>, area: Rect) {
        let columns = sheet::columns(area);
        match (self.page, &self.answers) {
            (Some(page), Some((_, answers))) => {
                let now = view.data.chain_time(&self.network, view.now);
                let heading = sheet::lay_out(&heading(page, answers), columns, view.theme);
                let footing =
                    sheet::lay_out(&self.footing(page, answers, now, self.validator(view.data)), columns, view.theme);
                if let Some(form) = answers.form(page) {
                    form.render(frame, area, heading, footing, view.theme);
                }
            }
            _ => self.menu(frame, area, columns, view.theme),
        }
    }
}

fn heading(page: Page, answers: &Answers) -> Vec<Row> {
    let several = answers.permissions.len() > 1;
    let which = |i: usize| match several {
        true => format!(" (permission {} of {})", i + 1, answers.permissions.len()),
        false => String::new(),
    };
    let of_function = |i: usize| {
        let function = answers.permissions.get(i).and_then(|p| p.chosen_function().ok());
        function.map_or_else(String::new, |f| format!(" of {}", f.signature()))
    };
    let (step, what, more) = match page {
        Page::Who => (1, "who will use this key".to_owned(), "Granting sends nothing and costs nothing.".to_owned()),
        Page::Function(i) => (
            2,
            format!("what it may call{}", which(i)),
            "One function of one contract; more can be added later.".to_owned(),
        ),
        Page::Arguments(i) => {
            let none = answers
                .permissions
                .get(i)
                .and_then(|p| p.chosen_function().ok())
                .is_some_and(|f| f.inputs().is_empty());
            let more = if none {
                "The function takes no arguments: there is nothing to limit here.".to_owned()
            } else {
                format!("Limits on the arguments{}; a second condition makes a range.", of_function(i))
            };
            (3, format!("with which arguments{}", which(i)), more)
        }
        Page::Limits(i) => (4, format!("limits{}", which(i)), format!("For each call{}.", of_function(i))),
        Page::Window => (5, "for how long, and who pays".to_owned(), "Times are chain time, in UTC.".to_owned()),
    };
    vec![Row::Head(format!("Step {step} of 6 · {what}")), Row::Dim(more), Row::Blank]
}

//! Granting a key from a policy file: a short form, and then the steps of the wizard's end.

use ratatui::{Frame, layout::Rect};

use super::{
    Cx, Heading, Next, Opened, View,
    grant_flow::{Answered, GrantForm, Granting},
    rows::failure_rows,
};
use crate::{
    abi::parse_address,
    tui::{
        data::{AccountId, AccountRow, Data},
        form::{
            Field,
            page::{Form, FormEvent, Row as Entry},
        },
        keymap::{Command, Place},
        message::{GrantRequest, PolicySource},
        widget::sheet::{self, Row},
    },
    wallet::{error::Error, policy::check_label, usecase::grant::Holder},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    Account,
    Policy,
    Holder,
    Agent,
    Label,
    Go,
}

/// What the answers of the choices mean.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Account(String),
    Agent,
    NewKey,
}

#[derive(Debug)]
struct FromFile {
    form: Form<Ask, Answer>,
    failed: Option<Error>,
}

/// The form for an account, or a word on why there can be none.
pub fn open(account: Option<AccountId>, cx: &mut Cx<'_>) -> Opened {
    let data = cx.data;
    let account =
        account.and_then(|id| data.account(&id)).ok_or("no account yet; create one with `keyleash account new`")?;
    let own = data.accounts.iter().filter_map(|a| a.view.as_ref()).filter(|v| !v.watch_only);
    let accounts = own.map(|v| (v.name.clone(), Answer::Account(v.name.clone())));
    let mut form = Form::new(vec![
        Entry::choice(Ask::Account, "for account", accounts, "the account the key may act for")
            .chosen(&Answer::Account(account.name.clone())),
        Entry::text(
            Ask::Policy,
            "policy file",
            "",
            "~/policy.toml",
            "a .toml or .json file with what the key may do; ~/ works",
        ),
        Entry::choice(
            Ask::Holder,
            "used by",
            [("an app or bot with its own address", Answer::Agent), ("a new key that you hand over", Answer::NewKey)],
            "with its own address, the private key never leaves its holder",
        ),
        Entry::text(Ask::Agent, "its address", "", "0x…", "of the key's holder (the agent)"),
        Entry::text(Ask::Label, "label", "", "the policy's label", "a local name"),
        Entry::button(Ask::Go, "Review"),
    ]);
    form.focus_on(Ask::Policy);
    Ok(Box::new(Granting::new(FromFile { form, failed: None })))
}

impl FromFile {
    fn account<'a>(&self, data: &'a Data) -> Option<&'a AccountRow> {
        let name = self.account_name()?;
        data.accounts.iter().find(|a| a.name == name && a.view.is_some())
    }

    fn account_name(&self) -> Option<&str> {
        match self.form.chosen(Ask::Account) {
            Some(Answer::Account(name)) => Some(name),
            _ => None,
        }
    }

    fn check(&self, ask: Ask) -> Result<(), String> {
        match ask {
            Ask::Policy if self.form.text(Ask::Policy).is_empty() => Err("enter the policy file".into()),
            Ask::Agent => self.holder().map(|_| ()),
            Ask::Label => match self.form.text(Ask::Label).as_str() {
                "" => Ok(()),
                label => check_label("label", label).map(|_| ()).map_err(|e| e.message),
            },
            _ => Ok(()),
        }
    }

    fn holder(&self) -> Result<Holder, String> {
        if self.form.is(Ask::Holder, &Answer::NewKey) {
            return Ok(Holder::NewKey);
        }
        match parse_address(&self.form.text(Ask::Agent)) {
            Ok(address) if address.is_zero() => Err("the zero address cannot hold a key".into()),
            parsed => parsed.map(Holder::Agent).map_err(|e| e.to_string()),
        }
    }

    /// What is asked for, or the cursor is at what is wrong.
    fn submit(&mut self) -> Option<GrantRequest> {
        self.failed = None;
        for ask in [Ask::Policy, Ask::Agent, Ask::Label] {
            if let Err(why) = self.check(ask) {
                self.form.refuse(ask, why);
                return None;
            }
        }
        let label = self.form.text(Ask::Label);
        Some(GrantRequest {
            account: self.account_name()?.to_owned(),
            policy: PolicySource::File(self.form.text(Ask::Policy)),
            holder: self.holder().ok()?,
            label: (!label.is_empty()).then_some(label),
        })
    }
}

impl GrantForm for FromFile {
    fn places(&self) -> Vec<Place> {
        self.form.places()
    }

    fn field(&mut self) -> Option<&mut Field> {
        self.form.field()
    }

    fn command(&mut self, command: Command, _: &mut Cx<'_>) -> Answered {
        if command == Command::Back {
            return Answered::Go(Next::Back);
        }
        match self.form.command(command) {
            FormEvent::Pressed(_) => {
                if let Some(request) = self.submit() {
                    return Answered::Grant(request);
                }
            }
            FormEvent::Left(ask) => {
                let wrong = self.check(ask).err();
                self.form.mark(ask, wrong);
            }
            FormEvent::Turned(_) => {
                self.form.show(Ask::Agent, self.form.is(Ask::Holder, &Answer::Agent));
                self.form.settle();
            }
            FormEvent::Nothing => {}
        }
        Answered::Go(Next::Stay)
    }

    fn edited(&mut self, _: &mut Cx<'_>) {
        self.form.edited();
    }

    fn failed(&mut self, error: Error) {
        self.failed = Some(error);
    }

    fn heading(&self, view: &View<'_>) -> Heading {
        Heading::of(view, self.account(view.data))
    }

    fn render(&self, view: &View<'_>, frame: &mut Frame<'_>, area: Rect) {
        let columns = sheet::columns(area);
        let heading = [
            Row::Head("Grant a session key from a policy file".into()),
            Row::Dim("Granting sends nothing and costs nothing.".into()),
            Row::Blank,
        ];
        let footing = match &self.failed {
            Some(error) => {
                let mut rows = vec![Row::Blank];
                rows.extend(failure_rows("That did not work", error));
                rows
            }
            None => Vec::new(),
        };
        let heading = sheet::lay_out(&heading, columns, view.theme);
        self.form.render(frame, area, heading, sheet::lay_out(&footing, columns, view.theme), view.theme);
    }
}

//! Granting a key from a policy file: a short form, and then the steps of the wizard's end.

use ratatui::{Frame, layout::Rect};

use super::{
    Cx, Heading, Next, Opened, Screen, View,
    grant_flow::{self, GrantFlow},
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
        jobs::Jobs,
        keymap::{Command, Place},
        message::{Effect, GrantRequest, JobId, PolicySource, Report},
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
pub struct State {
    form: Form<Ask, Answer>,
    failed: Option<Error>,
    granting: Option<GrantFlow>,
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
    Ok(Box::new(State { form, failed: None, granting: None }))
}

impl State {
    pub fn account<'a>(&self, data: &'a Data) -> Option<&'a AccountRow> {
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

    fn submit(&mut self, cx: &mut Cx<'_>) {
        self.failed = None;
        for ask in [Ask::Policy, Ask::Agent, Ask::Label] {
            if let Err(why) = self.check(ask) {
                self.form.refuse(ask, why);
                return;
            }
        }
        let (Some(account), Ok(holder)) = (self.account_name().map(str::to_owned), self.holder()) else { return };
        let label = self.form.text(Ask::Label);
        let request = GrantRequest {
            account,
            policy: PolicySource::File(self.form.text(Ask::Policy)),
            holder,
            label: (!label.is_empty()).then_some(label),
        };
        self.granting = Some(GrantFlow::start(request, cx));
    }
}

impl Screen for State {
    fn places(&self) -> Vec<Place> {
        self.granting.as_ref().map_or_else(|| self.form.places(), GrantFlow::places)
    }

    fn field(&mut self) -> Option<&mut Field> {
        match &mut self.granting {
            Some(granting) => granting.field(),
            None => self.form.field(),
        }
    }

    fn command(&mut self, command: Command, cx: &mut Cx<'_>) -> Next {
        if let Some(granting) = &mut self.granting {
            match granting.command(command, cx) {
                grant_flow::Next::Stay => {}
                grant_flow::Next::Form => self.granting = None,
                grant_flow::Next::Leave => return Next::Back,
            }
            return Next::Stay;
        }
        if command == Command::Back {
            return Next::Back;
        }
        match self.form.command(command) {
            FormEvent::Pressed(_) => self.submit(cx),
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
        Next::Stay
    }

    fn edited(&mut self, _: &mut Cx<'_>) {
        match &mut self.granting {
            Some(granting) => granting.edited(),
            None => self.form.edited(),
        }
    }

    fn resized(&mut self, _: &mut Cx<'_>) {
        if let Some(granting) = &mut self.granting {
            granting.resized();
        }
    }

    fn drawn(&mut self, cx: &mut Cx<'_>) {
        if let Some(granting) = &mut self.granting {
            granting.drawn(cx);
        }
    }

    fn report(&mut self, job: JobId, report: &Report, cx: &mut Cx<'_>) -> bool {
        let Some(granting) = &mut self.granting else { return false };
        let (mine, failed) = granting.report(job, report, cx);
        if let Some(error) = failed {
            // Back to the form, with everything that was typed.
            self.failed = Some(error);
            self.granting = None;
        }
        mine
    }

    fn leave(&mut self, jobs: &mut Jobs, effects: &mut Vec<Effect>) {
        if let Some(granting) = &self.granting {
            granting.leave(jobs, effects);
        }
    }

    fn heading(&self, view: &View<'_>) -> Heading {
        Heading::of(view, self.account(view.data))
    }

    fn render(&self, view: &View<'_>, frame: &mut Frame<'_>, area: Rect) {
        if let Some(granting) = &self.granting {
            granting.render(view, frame, area);
            return;
        }
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

//! Giving a key from a policy file: a short form, the review, the signature, and what the other side does next.

use alloy::primitives::Address;
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::{
    review::{self, Answer, Review},
    revoke::failure_rows,
};
use crate::{
    tui::{
        app::{AccountRow, Cx, Data, JobId, Model, Next, Notice, Report},
        effects::{Effect, GrantPreview, GrantRequest},
        form::Field,
        format,
        keymap::{Command, Place},
        theme::Theme,
        widget::sheet::{self, Row, Scroll},
    },
    wallet::{
        error::Error,
        grant::{Granted, Holder},
        policy::check_label,
    },
};

/// The lines of the form, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Account,
    Policy,
    Holder,
    Agent,
    Label,
    Go,
}

#[derive(Debug)]
enum Step {
    Form,
    Planning(JobId),
    Review { plan: JobId, review: Review },
    Signing(JobId),
    Done(Vec<Row>),
}

#[derive(Debug)]
pub struct State {
    /// Own accounts, and which of them.
    accounts: Vec<String>,
    account: usize,
    policy: Field,
    new_key: bool,
    agent: Field,
    label: Field,
    at: Entry,
    /// What is wrong with a line that was left.
    wrong: Option<(Entry, String)>,
    failed: Option<Error>,
    step: Step,
    scroll: Scroll,
}

impl State {
    /// The form for an account, or a word on why there can be none.
    pub fn open(account: Option<&AccountRow>, data: &Data) -> Result<Self, String> {
        let account = account.ok_or("there is no account yet: `keyleash account new` makes one")?;
        let view = account.view.as_ref().ok_or("this account is somebody else's: only its owner can give keys")?;
        if view.watch_only {
            return Err(format!("{} is watch-only: use `keyleash grant --unsigned` and sign elsewhere", view.name));
        }
        let own = data.accounts.iter().filter_map(|a| a.view.as_ref()).filter(|v| !v.watch_only);
        let accounts: Vec<String> = own.map(|v| v.name.clone()).collect();
        Ok(Self {
            account: accounts.iter().position(|name| *name == view.name).unwrap_or(0),
            accounts,
            policy: Field::default(),
            new_key: false,
            agent: Field::default(),
            label: Field::default(),
            at: Entry::Policy,
            wrong: None,
            failed: None,
            step: Step::Form,
            scroll: Scroll::default(),
        })
    }

    pub fn account<'a>(&self, data: &'a Data) -> Option<&'a AccountRow> {
        let name = self.accounts.get(self.account)?;
        data.accounts.iter().find(|a| a.name == *name && a.view.is_some())
    }

    pub fn places(&self) -> Vec<Place> {
        match &self.step {
            Step::Form if matches!(self.at, Entry::Account | Entry::Holder) => vec![Place::Choice, Place::Form],
            Step::Form => vec![Place::Form],
            Step::Review { review, .. } => review.places(),
            Step::Done(_) => vec![Place::Outcome, Place::Sheet],
            Step::Planning(_) | Step::Signing(_) => vec![Place::Sheet],
        }
    }

    pub fn field(&mut self) -> Option<&mut Field> {
        match (&mut self.step, self.at) {
            (Step::Review { review, .. }, _) => review.field(),
            (Step::Form, Entry::Policy) => Some(&mut self.policy),
            (Step::Form, Entry::Agent) => Some(&mut self.agent),
            (Step::Form, Entry::Label) => Some(&mut self.label),
            _ => None,
        }
    }

    pub fn edited(&mut self) {
        self.wrong = None;
    }

    pub fn command(&mut self, command: Command, cx: &mut Cx<'_>) -> Next {
        match &mut self.step {
            Step::Form => return self.in_form(command, cx),
            Step::Review { plan, review } => match review.command(command, cx) {
                Answer::Nothing => {}
                Answer::Back => {
                    cx.effects.push(Effect::Forget { plan: *plan });
                    self.step = Step::Form;
                }
                Answer::NotYet(why) => *cx.notice = Some(Notice::trouble(why)),
                Answer::Confirmed(accepted) => {
                    let job = cx.jobs.start("signing the approval", false);
                    cx.effects.push(Effect::SignGrant { job, plan: *plan, accepted });
                    self.step = Step::Signing(job);
                }
            },
            Step::Planning(job) if command == Command::Back => {
                cx.effects.push(Effect::Cancel { job: *job });
                self.step = Step::Form;
            }
            Step::Signing(_) | Step::Done(_) if command == Command::Back => return Next::Back,
            Step::Planning(_) | Step::Signing(_) | Step::Done(_) => {
                let lines = sheet::lay_out(&self.rows(), columns(cx.body), cx.theme).len();
                self.scroll.command(command, lines, usize::from(cx.body.height));
            }
        }
        Next::Stay
    }

    fn in_form(&mut self, command: Command, cx: &mut Cx<'_>) -> Next {
        match command {
            Command::Back => return Next::Back,
            Command::Left | Command::Right if self.at == Entry::Holder => self.new_key = !self.new_key,
            Command::Left | Command::Right if self.at == Entry::Account => {
                let count = self.accounts.len().max(1);
                let step = if command == Command::Right { 1 } else { count - 1 };
                self.account = (self.account + step) % count;
            }
            Command::Open if self.at == Entry::Go => self.submit(cx),
            Command::Open | Command::Next | Command::Down => self.go(true),
            Command::Previous | Command::Up => self.go(false),
            _ => {}
        }
        Next::Stay
    }

    fn entries(&self) -> Vec<Entry> {
        let all = [Entry::Account, Entry::Policy, Entry::Holder, Entry::Agent, Entry::Label, Entry::Go];
        all.into_iter().filter(|e| *e != Entry::Agent || !self.new_key).collect()
    }

    /// A line is checked when it is left; what is wrong is said, and nobody is held there.
    fn go(&mut self, forward: bool) {
        self.wrong = self.check(self.at).err().map(|why| (self.at, why));
        let entries = self.entries();
        let at = entries.iter().position(|e| *e == self.at).unwrap_or(0);
        let to = if forward { (at + 1) % entries.len().max(1) } else { at.checked_sub(1).unwrap_or(entries.len() - 1) };
        self.at = entries.get(to).copied().unwrap_or(self.at);
    }

    fn check(&self, entry: Entry) -> Result<(), String> {
        match entry {
            Entry::Policy if self.policy.text().trim().is_empty() => Err("name the policy file".into()),
            Entry::Agent if !self.new_key => self.agent_address().map(|_| ()),
            Entry::Label if !self.label.is_empty() => {
                check_label("label", &self.label.text()).map(|_| ()).map_err(|e| e.message)
            }
            _ => Ok(()),
        }
    }

    fn agent_address(&self) -> Result<Address, String> {
        let text = self.agent.text();
        let text = text.trim();
        let wrong = || "expected an address: 0x and 40 hex digits".to_owned();
        let address: Address = text.parse().map_err(|_| wrong())?;
        let mixed = text.chars().any(|c| c.is_ascii_uppercase()) && text.chars().any(|c| c.is_ascii_lowercase());
        // `0x` itself is lower case, so look behind it.
        let digits = text.get(2..).unwrap_or(text);
        let cased =
            mixed && digits.chars().any(|c| c.is_ascii_uppercase()) && digits.chars().any(|c| c.is_ascii_lowercase());
        if cased && Address::parse_checksummed(text, None).is_err() {
            return Err("the checksum of this address is wrong: one of its letters was changed".into());
        }
        if address.is_zero() { Err("the zero address cannot hold a key".into()) } else { Ok(address) }
    }

    fn submit(&mut self, cx: &mut Cx<'_>) {
        self.failed = None;
        for entry in self.entries() {
            if let Err(why) = self.check(entry) {
                self.wrong = Some((entry, why));
                self.at = entry;
                return;
            }
        }
        let holder = match self.agent_address() {
            _ if self.new_key => Holder::NewKey,
            Ok(address) => Holder::Agent(address),
            Err(_) => return,
        };
        let Some(account) = self.accounts.get(self.account).cloned() else { return };
        let label = self.label.text();
        let request = GrantRequest {
            account,
            policy: self.policy.text().trim().to_owned(),
            holder,
            label: (!label.trim().is_empty()).then(|| label.trim().to_owned()),
        };
        let job = cx.jobs.start("working out the approval", false);
        cx.effects.push(Effect::PlanGrant { job, request });
        self.step = Step::Planning(job);
    }

    pub fn resized(&mut self) {
        if let Step::Review { review, .. } = &mut self.step {
            review.resized();
        }
    }

    pub fn drawn(&mut self, cx: &Cx<'_>) {
        if let Step::Review { review, .. } = &mut self.step {
            review.drawn(cx);
        }
    }

    pub fn report(&mut self, job: JobId, report: &Report, cx: &mut Cx<'_>) -> bool {
        if !matches!(self.step, Step::Planning(waiting) | Step::Signing(waiting) if waiting == job) {
            return false;
        }
        *cx.notice = None;
        self.scroll = Scroll::default();
        self.step = match report {
            Report::GrantPlanned(preview) => {
                Step::Review { plan: job, review: Review::new("sign", plan_rows(preview), &preview.findings) }
            }
            Report::Granted(granted) => Step::Done(result_rows(granted)),
            Report::Failed(error) => {
                // Back to the form, with everything that was typed.
                self.failed = Some(error.clone());
                Step::Form
            }
            _ => return false,
        };
        true
    }

    pub fn leave(&mut self, effects: &mut Vec<Effect>) {
        match &self.step {
            Step::Planning(job) => effects.push(Effect::Cancel { job: *job }),
            Step::Review { plan, .. } => effects.push(Effect::Forget { plan: *plan }),
            Step::Form | Step::Signing(_) | Step::Done(_) => {}
        }
    }

    fn rows(&self) -> Vec<Row> {
        match &self.step {
            Step::Planning(_) => vec![
                Row::Head("Working out the approval".into()),
                Row::Text("Reading the policy file, and the account from its chain…".into()),
                Row::Dim("Nothing is signed yet. Esc goes back.".into()),
            ],
            Step::Signing(_) => vec![Row::Head("Signing…".into())],
            Step::Done(rows) => rows.clone(),
            Step::Form | Step::Review { .. } => Vec::new(),
        }
    }

    pub fn render(&self, model: &Model, frame: &mut Frame<'_>, area: Rect) {
        match &self.step {
            Step::Review { review, .. } => review.render(frame, area, model.theme),
            Step::Form => self.form(frame, area, model.theme),
            Step::Planning(_) | Step::Signing(_) | Step::Done(_) => {
                let lines = sheet::lay_out(&self.rows(), columns(area), model.theme);
                let inner = Rect { x: area.x + 1.min(area.width), width: area.width.saturating_sub(1), ..area };
                sheet::render(frame, inner, lines, self.scroll, model.theme);
            }
        }
    }

    fn form(&self, frame: &mut Frame<'_>, area: Rect, theme: Theme) {
        let columns = columns(area);
        let mut lines = sheet::lay_out(
            &[Row::Head("Give a session key".into()), Row::Dim("Signing sends nothing and costs nothing.".into())],
            columns,
            theme,
        );
        lines.push(Line::default());
        let mut chosen = 0;
        let mut cursor = None;
        for entry in self.entries() {
            if entry == self.at {
                chosen = lines.len();
            }
            let (line, column) = self.entry(entry, columns, theme);
            if let Some(column) = column {
                cursor = Some((column, lines.len()));
            }
            lines.push(line);
            // On a small screen only the line that is edited explains itself.
            if area.height > 15 || entry == self.at || self.wrong.as_ref().is_some_and(|(wrong, _)| *wrong == entry) {
                lines.push(self.hint(entry, columns, theme));
            }
        }
        if let Some(error) = &self.failed {
            lines.extend(sheet::lay_out(&failure_rows("That did not work", error), columns, theme));
        }
        let height = usize::from(area.height);
        // The chosen line and its hint stay in sight.
        let top = if self.failed.is_some() && self.at == Entry::Go {
            lines.len().saturating_sub(height)
        } else {
            (chosen + 2).saturating_sub(height)
        };
        let inner = Rect { x: area.x + 1.min(area.width), width: area.width.saturating_sub(1), ..area };
        sheet::render(frame, inner, lines, Scroll(top), theme);
        if let Some((column, line)) = cursor
            && let (Ok(x), Ok(y)) = (u16::try_from(column), u16::try_from(line.saturating_sub(top)))
            && y < inner.height
        {
            frame.set_cursor_position(((inner.x + x).min(inner.right().saturating_sub(1)), inner.y + y));
        }
    }

    /// One line of the form, and the cursor's column when it takes text now.
    fn entry(&self, entry: Entry, columns: usize, theme: Theme) -> (Line<'static>, Option<usize>) {
        const NAME: usize = 16;
        let here = entry == self.at;
        let mark = if here { "▸ " } else { "  " };
        let style = if here { theme.selected() } else { theme.plain() };
        if entry == Entry::Go {
            return (Line::from(vec![Span::raw(mark), Span::styled(" Review it ", style)]), None);
        }
        let room = columns.saturating_sub(NAME + 2);
        let (name, value) = match entry {
            Entry::Account => ("account", self.accounts.get(self.account).cloned().unwrap_or_default()),
            Entry::Policy => ("policy file", self.policy.text()),
            Entry::Holder => {
                ("held by", if self.new_key { "a key made here" } else { "an app or bot with an address" }.to_owned())
            }
            Entry::Agent => ("its address", self.agent.text()),
            Entry::Label => ("label", self.label.text()),
            Entry::Go => ("", String::new()),
        };
        let name =
            Span::styled(format!("{mark}{}", format::fit(name, NAME)), if here { theme.head() } else { theme.dim() });
        let field = match entry {
            Entry::Policy => Some(&self.policy),
            Entry::Agent => Some(&self.agent),
            Entry::Label => Some(&self.label),
            _ => None,
        };
        match field.filter(|_| here) {
            Some(field) => {
                let (before, behind) = field.parts();
                // The end of a long text matters most while it is typed.
                let skip = format::width(&before).saturating_sub(room.saturating_sub(1));
                let before: String = before.chars().skip(skip).collect();
                let column = NAME + 2 + format::width(&before);
                (Line::from(vec![name, Span::raw(format::cut(&format!("{before}{behind}"), room))]), Some(column))
            }
            None if here => {
                let value = format!("‹ {} ›", format::clean(&value));
                (Line::from(vec![name, Span::styled(format::cut(&value, room), theme.selected())]), None)
            }
            None => (Line::from(vec![name, Span::raw(format::cut(&format::clean(&value), room))]), None),
        }
    }

    fn hint(&self, entry: Entry, columns: usize, theme: Theme) -> Line<'static> {
        let (text, style) = match &self.wrong {
            Some((wrong, why)) if *wrong == entry => (why.as_str(), theme.bad()),
            _ => (
                match entry {
                    Entry::Account => "whose account the key may act for",
                    Entry::Policy => "a .toml file that says what the key may do (~/ is your home)",
                    Entry::Holder => "a key held elsewhere never has to leave its owner",
                    Entry::Agent => "0x…, from whoever will use the key",
                    Entry::Label => "for your eyes; empty takes the policy's",
                    Entry::Go => "",
                },
                theme.dim(),
            ),
        };
        Line::styled(format!("    {}", format::cut(text, columns.saturating_sub(4))), style)
    }
}

fn columns(area: Rect) -> usize {
    usize::from(area.width).saturating_sub(3)
}

fn plan_rows(preview: &GrantPreview) -> Vec<Row> {
    let held = if preview.made_here { " (made here, when you sign)" } else { "" };
    let mut rows = vec![
        Row::Head(format!("Give {} this power?", preview.label)),
        Row::Fact("account", format!("{} {}", preview.account, preview.address)),
        Row::Fact("network", format!("{} (chain {})", preview.network, preview.chain_id)),
        Row::Fact("session key", format!("{}{held}", preview.session_key)),
        Row::Fact("signed by", format!("the owner {}", preview.owner)),
        Row::Blank,
        Row::Head("What it may do".into()),
    ];
    rows.extend(preview.sentences.iter().map(|s| Row::Item(s.clone())));
    rows.push(Row::Blank);
    if preview.findings.is_empty() && preview.warnings.is_empty() {
        rows.push(Row::Good("nothing was found that could go wrong with this scope".into()));
    } else {
        rows.push(Row::Head("What could go wrong".into()));
        rows.extend(review::findings(&preview.findings));
        rows.extend(preview.warnings.iter().map(|w| Row::Caution(w.clone())));
    }
    rows.push(Row::Blank);
    rows.push(Row::Head("What is signed (EIP-712 digest)".into()));
    for (function, turn, digest) in &preview.digests {
        rows.push(Row::Text(format!("turn {turn} (nonce), opens {function}")));
        rows.push(Row::Note(digest.to_string()));
    }
    rows.push(Row::Dim("Signing sends nothing and costs nothing: the first use of the key does.".into()));
    rows
}

fn result_rows(granted: &Granted) -> Vec<Row> {
    let key = &granted.key;
    let mut rows = vec![Row::Head(format!("{} is signed", key.label))];
    for approval in &granted.approvals {
        rows.push(Row::Good(format!("{}: {}", approval.state, approval.state_reason)));
    }
    rows.push(Row::Blank);
    rows.push(Row::Head("What happens next".into()));
    rows.push(Row::Item("write the approval to a file, and hand it to whoever holds the key:".into()));
    let secret = if key.has_secret { " --with-secret" } else { "" };
    rows.push(Row::Note(format!("keyleash key export {} --out FILE{secret}", key.key_id)));
    if key.has_secret {
        rows.push(Row::Caution("with --with-secret the file is the key: whoever reads it can act".into()));
    }
    rows.push(Row::Item("its first use enables it on chain; until then revoking it just burns its turn".into()));
    rows.push(Row::Blank);
    rows.push(Row::Fact("session key", key.session_key.to_string()));
    rows.push(Row::Fact("record", key.key_id.clone()));
    rows
}

//! Acting: as a session key, with a form made from what it may do and the judge's verdict while typing; or as the owner.

use std::sync::Arc;

use alloy::primitives::{Address, Bytes, U256};
use ratatui::{Frame, layout::Rect};

use super::{
    Cx, Heading, Next, Opened, Screen, View,
    review::{self, Review},
    rows::failure_rows,
    stages::{Moved, SENT, Stage, Stages, Words},
};
use crate::{
    abi::{Function, parse_address},
    policy::{
        condition::{ReadBack, read_back},
        scope::{ANY_TARGET, Condition, Permission},
        sentence,
    },
    protocol::Call,
    tui::{
        data::{AccountId, AccountRow, Data},
        form::{
            Field,
            page::{Form, FormEvent, Row as Entry},
        },
        format,
        jobs::Jobs,
        keymap::{Command, Place},
        keys::GONE,
        message::{Effect, JobId, Report, SendView},
        widget::sheet::{self, Row},
    },
    wallet::{
        coin::Coin,
        error::Error,
        submit::operation::OperationOutcome,
        usecase::send::{Actor, Judging, PHASES, SendIntent, Verdict},
    },
};

/// Most arguments that get a line of their own.
const MOST_ARGUMENTS: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    Permission,
    To,
    Signature,
    Argument(usize),
    Data,
    Value,
    Go,
}

enum Step {
    /// What the key may do now is being read, or could not be.
    Reading(Box<Stages>),
    Form,
    /// The form is answered: its call is planned, reviewed and sent.
    Call(Box<Stages>),
}

pub struct State {
    actor: Actor,
    /// Who acts, in words.
    who: String,
    pub account: Address,
    pub network: String,
    coin: Coin,
    /// What the key may do; empty for the owner.
    permissions: Vec<Permission>,
    functions: Vec<Option<Function>>,
    /// The function that the argument lines are for.
    function: Option<Function>,
    /// A permission is chosen by its place among those of the key.
    form: Form<Ask, usize>,
    judging: Option<Arc<Judging>>,
    verdict: Option<Result<Verdict, String>>,
    failed: Option<Error>,
    step: Step,
}

/// As a session key whose private key is here.
pub fn open_as_key(key: String, cx: &mut Cx<'_>) -> Opened {
    let key = cx.data.key(&key).ok_or(GONE)?;
    if !key.has_secret {
        return Err(format!("{} is held by someone else: its private key is not here", key.label));
    }
    let functions = key.functions.iter().map(|f| f.as_deref().and_then(|f| Function::parse(f).ok())).collect();
    let (id, who) = (key.key_id.clone(), format!("the session key {}", key.label));
    let words = Words {
        planning: vec![
            Row::Head(format!("Send as {who}")),
            Row::Text("Reading from the chain what the key may do now…".into()),
        ],
        ..Words::default()
    };
    let name = format!("reading what {} may do now", key.label);
    let stages = Stages::plan(words, name, cx, |job| Effect::ReadJudging { job, key: id });
    let mut state = State {
        actor: Actor::Key(key.key_id.clone()),
        who,
        account: key.account,
        network: key.network.clone(),
        coin: cx.data.coin_of(&key.network),
        permissions: key.permissions.clone(),
        functions,
        function: None,
        form: Form::new(Vec::new()),
        judging: None,
        verdict: None,
        failed: None,
        step: Step::Reading(Box::new(stages)),
    };
    state.build(0);
    Ok(Box::new(state))
}

/// As the owner of an account.
pub fn open_as_owner(account: AccountId, cx: &mut Cx<'_>) -> Opened {
    let account = cx.data.account(&account).ok_or("this account is no longer in the list")?;
    let Some(view) = account.view.as_ref().filter(|v| !v.watch_only) else {
        return Err(format!("{}: its owner's key is not here", account.name));
    };
    let mut state = State {
        actor: Actor::Owner(view.name.clone()),
        who: format!("the owner of {}", view.name),
        account: view.address,
        network: view.network.clone(),
        coin: Coin::of(view.chain_id),
        permissions: Vec::new(),
        functions: Vec::new(),
        function: None,
        form: Form::new(Vec::new()),
        judging: None,
        verdict: None,
        failed: None,
        step: Step::Form,
    };
    state.build(0);
    Ok(Box::new(state))
}

impl State {
    /// The form for one of the key's permissions, or the free form of an owner.
    fn build(&mut self, chosen: usize) {
        let permission = self.permissions.get(chosen);
        let mut rows = Vec::new();
        if self.permissions.len() > 1 {
            let options = self.permissions.iter().zip(&self.functions).map(|(p, f)| name_of(p, f.as_ref())).zip(0..);
            let hint = "what this key may call; ←→ for the others";
            rows.push(Entry::choice(Ask::Permission, "what", options, hint).chosen(&chosen));
        }
        let target = permission.map(|p| p.target).filter(|t| *t != ANY_TARGET);
        let to = target.map(|t| t.to_string()).unwrap_or_default();
        let to_hint = if target.is_some() {
            "the contract that the key may call"
        } else {
            "the contract, or the recipient of the coins"
        };
        let to_name = if permission.is_some() { "contract" } else { "to" };
        rows.push(Entry::text(Ask::To, to_name, &to, "0x…", to_hint));
        self.function = match permission {
            Some(_) => self.functions.get(chosen).cloned().flatten(),
            None => None,
        };
        if permission.is_none() {
            let hint = "the function's signature; empty = only send coins";
            rows.push(Entry::text(Ask::Signature, "function", "", "transfer(address to, uint256 amount)", hint));
        } else if self.function.is_none() {
            rows.push(Entry::text(
                Ask::Data,
                "calldata",
                "",
                "0x…",
                "the function is unknown here: the full calldata as hex",
            ));
        }
        rows.extend(argument_rows(self.function.as_ref(), permission));
        let limit = permission.map_or_else(
            || format!("0.1 {}, 5 gwei, or wei", self.coin.unit()),
            |p| {
                let limit = sentence::value_limit(p.value_limit, self.coin.symbol());
                format!("{limit} (0.1 {}, 5 gwei, or wei)", self.coin.unit())
            },
        );
        rows.push(Entry::text(Ask::Value, &format!("{} to send", self.coin.symbol()), "0", "0", &limit));
        rows.push(Entry::button(Ask::Go, "Review"));
        self.form = Form::new(rows);
        self.judge();
    }

    /// An owner's function has changed: its arguments get lines.
    fn rebuild_arguments(&mut self) {
        if !self.permissions.is_empty() || self.form.get(Ask::Signature).is_none() {
            return;
        }
        let function = Function::parse(&self.form.text(Ask::Signature)).ok();
        if function == self.function {
            return;
        }
        self.form.rows.retain(|r| !matches!(r.key, Ask::Argument(_)));
        let at = self.form.rows.iter().position(|r| r.key == Ask::Value).unwrap_or(self.form.rows.len());
        let rows = argument_rows(function.as_ref(), None);
        self.form.rows.splice(at..at, rows);
        self.function = function;
        self.form.settle();
    }

    fn call(&self) -> Result<Call, (Ask, String)> {
        let to = match self.form.text(Ask::To).as_str() {
            "" => return Err((Ask::To, "enter an address".into())),
            text => parse_address(text).map_err(|e| (Ask::To, e.to_string()))?,
        };
        let value = match self.form.text(Ask::Value).as_str() {
            "" => U256::ZERO,
            text => self.coin.parse(text).map_err(|e| (Ask::Value, e.to_string()))?,
        };
        Ok(Call { to, value, data: self.data()? })
    }

    fn data(&self) -> Result<Bytes, (Ask, String)> {
        if self.form.get(Ask::Data).is_some() {
            let text = self.form.text(Ask::Data);
            return text.parse().map_err(|_| (Ask::Data, "expected 0x and an even number of hex digits".into()));
        }
        let Some(function) = &self.function else {
            return match self.form.text(Ask::Signature).as_str() {
                "" => Ok(Bytes::new()),
                text => Err((Ask::Signature, Function::parse(text).err().map_or_else(String::new, |e| e.to_string()))),
            };
        };
        let mut arguments = Vec::new();
        for (i, input) in function.inputs().iter().enumerate() {
            let text = self.form.text(Ask::Argument(i));
            // An empty text is a value of its own kind; anything else must be said.
            if text.is_empty() && input.ty.canonical() != "string" {
                return Err((
                    Ask::Argument(i),
                    format!("enter a value of type {}", format::clean(&input.ty.to_string())),
                ));
            }
            let me = text == "me" && input.ty.canonical() == "address";
            arguments.push(if me { self.account.to_string() } else { text });
        }
        function.encode_call(&arguments).map_err(|e| (Ask::Argument(culprit(function, &arguments)), e.to_string()))
    }

    /// The judge's word on what is filled in now.
    fn judge(&mut self) {
        self.verdict = match (&self.judging, self.call()) {
            (Some(judging), Ok(call)) => Some(judging.verdict(call).map_err(|e| e.message)),
            _ => None,
        };
    }

    fn in_form(&mut self, command: Command, cx: &mut Cx<'_>) -> Next {
        if command == Command::Back {
            return Next::Back;
        }
        match self.form.command(command) {
            FormEvent::Turned(Ask::Permission) => self.build(self.form.chosen(Ask::Permission).copied().unwrap_or(0)),
            FormEvent::Left(left) => {
                let wrong = self.call().err().filter(|(ask, _)| *ask == left).map(|(_, why)| why);
                self.form.mark(left, wrong);
            }
            FormEvent::Pressed(_) => self.submit(cx),
            FormEvent::Turned(_) | FormEvent::Nothing => {}
        }
        Next::Stay
    }

    fn submit(&mut self, cx: &mut Cx<'_>) {
        self.failed = None;
        let call = match self.call() {
            Ok(call) => call,
            Err((ask, why)) => return self.form.refuse(ask, why),
        };
        let batch = matches!(self.verdict, Some(Ok(Verdict { batch: true, .. })));
        let intent = SendIntent { actor: self.actor.clone(), calls: vec![call], batch, max_cost: None };
        let words = Words {
            planning: vec![
                Row::Head(format!("Send as {}", self.who)),
                Row::Text("Simulating, and computing the maximum cost…".into()),
                Row::Dim("Nothing is signed or sent yet. Esc goes back.".into()),
            ],
            running: vec![Row::Head(format!("Sending as {}", self.who))],
            phases: &PHASES,
            meanwhile: SENT,
            copyable: false,
        };
        let stages = Stages::plan(words, "preparing the operation", cx, |job| Effect::PlanSend { job, intent });
        self.step = Step::Call(Box::new(stages));
    }

    pub fn account_row<'a>(&self, data: &'a Data) -> Option<&'a AccountRow> {
        data.accounts.iter().find(|a| a.address == self.account && a.network == self.network)
    }

    fn stages(&mut self) -> Option<&mut Stages> {
        match &mut self.step {
            Step::Reading(stages) | Step::Call(stages) => Some(stages),
            Step::Form => None,
        }
    }

    /// The verdict, or what went wrong, beneath the form.
    fn word(&self) -> Vec<Row> {
        let mut rows = vec![Row::Blank];
        match (&self.failed, &self.verdict) {
            (Some(error), _) => rows.extend(failure_rows("Failed; nothing was sent", error)),
            (None, Some(Ok(verdict))) => {
                rows.push(Row::Good("allowed: the chain would accept this call from the key".into()));
                if verdict.enables {
                    rows.push(Row::Item("first use of the key: it is enabled in the same operation".into()));
                }
                if verdict.deploys {
                    rows.push(Row::Item("the account is deployed in the same operation".into()));
                }
            }
            (None, Some(Err(why))) => rows.push(Row::Bad(format!("not allowed: {why}"))),
            (None, None) if self.judging.is_some() => {
                rows.push(Row::Dim("fill in the form to see whether the call is allowed".into()));
            }
            (None, None) => {}
        }
        rows
    }
}

impl Screen for State {
    fn places(&self) -> Vec<Place> {
        match &self.step {
            Step::Form => self.form.places(),
            Step::Reading(stages) | Step::Call(stages) => stages.places(),
        }
    }

    fn field(&mut self) -> Option<&mut Field> {
        match &mut self.step {
            Step::Form => self.form.field(),
            Step::Reading(stages) | Step::Call(stages) => stages.field(),
        }
    }

    fn command(&mut self, command: Command, cx: &mut Cx<'_>) -> Next {
        match &mut self.step {
            Step::Form => return self.in_form(command, cx),
            Step::Reading(stages) => {
                if stages.command(command, cx) != Moved::Stay {
                    return Next::Back;
                }
            }
            Step::Call(stages) => match stages.command(command, cx) {
                Moved::Stay => {}
                Moved::Undone => {
                    stages.leave(cx.jobs, cx.effects);
                    self.step = Step::Form;
                }
                Moved::Back => return Next::Back,
                Moved::Confirmed(_) => {
                    let name = format!("sending as {}", self.who);
                    stages.run(name, true, cx, |job, plan| Effect::SendCall { job, plan });
                }
            },
        }
        Next::Stay
    }

    fn edited(&mut self, _: &mut Cx<'_>) {
        if matches!(self.step, Step::Form) {
            self.form.edited();
            self.rebuild_arguments();
            self.judge();
        }
    }

    fn resized(&mut self, _: &mut Cx<'_>) {
        if let Some(stages) = self.stages() {
            stages.resized();
        }
    }

    fn drawn(&mut self, cx: &mut Cx<'_>) {
        if let Some(stages) = self.stages() {
            stages.drawn(cx);
        }
    }

    fn report(&mut self, job: JobId, report: &Report, cx: &mut Cx<'_>) -> bool {
        if self.stages().is_none_or(|stages| !stages.waits_for(job)) {
            return false;
        }
        *cx.notice = None;
        match (report, &mut self.step) {
            (Report::Judging(judging), _) => {
                self.judging.clone_from(judging);
                self.judge();
                self.step = Step::Form;
            }
            (Report::SendPlanned(call), Step::Call(stages)) => {
                let rows = plan_rows(&self.who, self.function.as_ref(), call);
                stages.review(job, Review::new("send", rows, &[]));
            }
            (Report::Sent(outcome), Step::Call(stages)) => stages.go(Stage::Done(result_rows(outcome))),
            // Back to the form, with everything that was typed.
            (Report::Failed(error), Step::Call(stages)) if !stages.is_running() => {
                self.failed = Some(error.clone());
                self.step = Step::Form;
            }
            (Report::Failed(error), Step::Reading(stages)) => {
                stages.go(Stage::Failed("What the key may do could not be read".into(), error.clone()));
            }
            (Report::Failed(error), Step::Call(stages)) => {
                stages.go(Stage::Failed("Sending did not complete".into(), error.clone()));
            }
            _ => return false,
        }
        true
    }

    fn leave(&mut self, jobs: &mut Jobs, effects: &mut Vec<Effect>) {
        if let Some(stages) = self.stages() {
            stages.leave(jobs, effects);
        }
    }

    fn heading(&self, view: &View<'_>) -> Heading {
        Heading::of(view, self.account_row(view.data))
    }

    fn render(&self, view: &View<'_>, frame: &mut Frame<'_>, area: Rect) {
        let theme = view.theme;
        match &self.step {
            Step::Reading(stages) | Step::Call(stages) => stages.render(view, frame, area),
            Step::Form => {
                let columns = sheet::columns(area);
                let heading = [
                    Row::Head(format!("Send as {}", self.who)),
                    Row::Dim("Nothing is signed or sent before you have reviewed it.".into()),
                    Row::Blank,
                ];
                let heading = sheet::lay_out(&heading, columns, theme);
                self.form.render(frame, area, heading, sheet::lay_out(&self.word(), columns, theme), theme);
            }
        }
    }
}

fn name_of(permission: &Permission, function: Option<&Function>) -> String {
    function.map_or_else(|| permission.sig.to_string(), |f| f.signature().to_owned())
}

/// Which argument cannot be encoded: each is tried by itself.
fn culprit(function: &Function, arguments: &[String]) -> usize {
    let fails = |ty: String, text: &String| {
        Function::parse(&format!("one({ty})")).is_ok_and(|one| one.encode_call(std::slice::from_ref(text)).is_err())
    };
    function.inputs().iter().zip(arguments).position(|(input, text)| fails(input.ty.canonical(), text)).unwrap_or(0)
}

/// A line for each argument, filled in where only one value is allowed.
fn argument_rows(function: Option<&Function>, permission: Option<&Permission>) -> Vec<Entry<Ask, usize>> {
    let Some(function) = function else { return Vec::new() };
    let readings = permission.map(|p| read_back(Some(function), &p.rules)).unwrap_or_default();
    let mut rows = Vec::new();
    for (i, input) in function.inputs().iter().take(MOST_ARGUMENTS).enumerate() {
        let name = if input.name.is_empty() { i.to_string() } else { input.name.clone() };
        let label = if input.name.is_empty() { format!("argument {}", i + 1) } else { name.clone() };
        let mut only = "";
        let mut limits = Vec::new();
        for reading in &readings {
            let ReadBack::Argument { path, condition, value, .. } = reading else { continue };
            let inside = path.strip_prefix(&name).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
            if inside {
                limits.push(sentence::condition(reading));
            }
            if *path == name && *condition == Condition::Eq {
                only = value;
            }
        }
        let ty = format::clean(&input.ty.to_string());
        let hint = if limits.is_empty() { ty.clone() } else { format!("{ty}: {}", limits.join(" and ")) };
        let example = match ty.as_str() {
            "address" => "0x…, or me",
            "bool" => "true or false",
            _ if ty.ends_with(']') => "[a, b]",
            _ if ty.starts_with("uint") || ty.starts_with("int") => "a whole number",
            _ if ty.starts_with('(') => "(a, b)",
            _ => "0x…, or text",
        };
        rows.push(Entry::text(Ask::Argument(i), &label, only, example, &hint));
    }
    rows
}

fn plan_rows(who: &str, function: Option<&Function>, view: &SendView) -> Vec<Row> {
    let coin = Coin::of(view.chain_id);
    let mut rows = vec![
        Row::Head(format!("Send this as {who}?")),
        Row::Fact("account", view.account.to_string()),
        Row::Fact("network", format!("{} (chain {})", view.network, view.chain_id)),
        Row::Blank,
        Row::Head("Calls".into()),
    ];
    for call in &view.calls {
        let value = match call.value.is_zero() {
            true => format!("no {}", coin.symbol()),
            false => coin.amount(call.value),
        };
        match function.and_then(|f| f.decode_call(&call.data).ok().map(|d| (f, d))) {
            Some((function, decoded)) => {
                rows.push(Row::Item(format!("calls {} on {}, sending {value}", function.signature(), call.to)));
                for argument in decoded.arguments {
                    rows.push(Row::Note(format!("{} = {}", argument.name, argument.value)));
                }
                if !decoded.canonical {
                    rows.push(Row::Bad("non-standard ABI encoding: a contract may decode it differently".into()));
                }
            }
            None if call.data.is_empty() => rows.push(Row::Item(format!("sends {value} to {}", call.to))),
            None => {
                rows.push(Row::Item(format!("calls {}, sending {value} and these bytes:", call.to)));
                rows.push(Row::Note(call.data.to_string()));
            }
        }
    }
    if view.enables {
        rows.push(Row::Item("enables the key on chain: this is its first use".into()));
    }
    if view.deploys {
        rows.push(Row::Item("deploys the account".into()));
    }
    rows.extend(view.replaces.map(|earlier| {
        Row::Caution(format!(
            "reuses the nonce of {earlier}, which does the same and is still pending: only one of the two can be mined"
        ))
    }));
    rows.extend(review::findings(&view.findings));
    rows.push(Row::Blank);
    rows.push(Row::Head("What it costs".into()));
    rows.push(Row::Item(format!("at most {}", coin.amount(view.max_cost))));
    rows.push(Row::Item(match view.paymaster {
        Some(paymaster) => format!("paid by the paymaster {paymaster}"),
        None => "paid by the account".to_owned(),
    }));
    rows.push(Row::Note(format!("fees from {}; cost ceiling {}", view.fee_source, coin.amount(view.ceiling))));
    rows.push(Row::Blank);
    rows.push(Row::Head("To be signed".into()));
    rows.push(Row::Text("UserOperation hash".into()));
    rows.push(Row::Note(view.user_op_hash.to_string()));
    rows
}

fn result_rows(outcome: &OperationOutcome) -> Vec<Row> {
    let at = outcome.block.map_or_else(String::new, |b| format!(" at block {b}"));
    let mut rows = vec![match outcome.success {
        Some(true) => Row::Head("Done".into()),
        Some(false) => Row::Head("Mined, but the call failed".into()),
        None => Row::Head("Sent, and not in a block yet".into()),
    }];
    match outcome.success {
        Some(true) => rows.push(Row::Good(format!("the call succeeded{at}"))),
        Some(false) => {
            let reason = outcome.revert_reason.as_deref().unwrap_or("no reason given");
            rows.push(Row::Bad(format!("reason: {reason}")));
            rows.push(Row::Advice("the gas is spent, and so is one run of a limited key".into()));
        }
        None if outcome.note.is_some() => rows.extend(outcome.note.iter().map(|note| Row::Caution(note.clone()))),
        None => rows.push(Row::Caution("it is picked up at the next start, or with `keyleash status`".into())),
    }
    rows.push(Row::Blank);
    if let Some(cost) = outcome.gas_cost {
        rows.push(Row::Fact("gas paid", outcome.coin.amount(cost)));
    }
    rows.push(Row::Text("operation".into()));
    rows.push(Row::Note(outcome.user_op_hash.to_string()));
    if let Some(transaction) = outcome.transaction_hash {
        rows.push(Row::Text("transaction".into()));
        rows.push(Row::Note(transaction.to_string()));
    }
    rows
}

//! What the wizard asks, page by page, and the [`Policy`] that the answers make. Pure: nothing here draws or asks a chain.

use alloy::primitives::{Address, U256};

use crate::{
    abi::{AbiType, Function, Interface, KNOWN_INTERFACES, parse_address},
    policy::{
        condition::{ArgCondition, WordCondition, compile, compile_words, contradictory_word},
        scope::{ANY_PAYMASTER, ANY_TARGET, Condition, Operation},
        sentence::{self, TimeError, parse_duration, parse_time},
    },
    protocol::family::{Validator, account::AccountFunction},
    tui::{
        form::page::{Cell, Choice, Control, Form, Row},
        format,
    },
    wallet::{
        coin::Coin,
        policy::{End, Limit, Policy, PolicyPermission, Start, ValidatorChoice, check_label},
        sandbox_profile::DEMO,
        usecase::grant::Holder,
    },
};

/// Most conditions on one argument that the form offers.
const MOST_CONDITIONS: usize = 6;

/// A question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    Account,
    Holder,
    Agent,
    Label,
    Contract,
    Target,
    Source,
    Signature,
    AbiFile,
    Function,
    /// A condition on a word of the arguments: which word, and which condition on it.
    Arg(usize, usize),
    /// A condition on any word.
    Raw(usize),
    Value,
    Runs,
    Every,
    Add,
    Remove,
    Ends,
    After,
    Until,
    Starts,
    From,
    Gas,
    Sponsor,
    Calls,
    Next,
}

/// What the answers of the choices mean.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Giver(Giver),
    Agent,
    NewKey,
    /// A contract that is known, or another.
    Contract(Option<&'static Known>),
    From(Source),
    Function(Box<Function>),
    /// A condition; none leaves anything.
    If(Option<Condition>),
    Ends(Ending),
    AtOnce,
    AtDate,
    Gas(Gas),
    OneCall,
    SeveralCalls,
}

/// A page of the form; the number says of which permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    Who,
    Function(usize),
    Arguments(usize),
    Limits(usize),
    Window,
}

/// An answer that will not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    pub page: Page,
    pub ask: Ask,
    pub why: String,
}

/// A contract that is offered by name.
#[derive(Debug, PartialEq, Eq)]
pub struct Known {
    name: &'static str,
    address: Address,
    signatures: &'static [&'static str],
}

const DEMO_CONTRACTS: [Known; 3] = [
    Known { name: "the sandbox's NFT", address: DEMO.nft, signatures: &["mint(address to)"] },
    Known {
        name: "the sandbox's dollar (a token)",
        address: DEMO.token,
        signatures: &[
            "transfer(address to, uint256 amount)",
            "approve(address spender, uint256 amount)",
            "mint(address to, uint256 amount)",
        ],
    },
    Known {
        name: "the sandbox's lending market",
        address: DEMO.lending,
        signatures: &[
            "repay(address owner, uint256 amount)",
            "closeIfAtRisk()",
            "open(uint256 collateral, uint256 debt)",
        ],
    },
];

/// Where the function comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The functions of a contract that is known.
    Own,
    Signature,
    Standard(&'static str),
    File,
}

impl Source {
    fn words(self) -> String {
        match self {
            Self::Own => "one of its functions".into(),
            Self::Signature => "a signature you enter".into(),
            Self::Standard(name) => format!("a standard: {}", name.to_uppercase().replace("ERC", "ERC-")),
            Self::File => "an ABI file".into(),
        }
    }
}

/// The answers about one permission.
#[derive(Debug, Clone)]
pub struct PermissionForm {
    pub function: Form<Ask, Answer>,
    pub arguments: Form<Ask, Answer>,
    pub limits: Form<Ask, Answer>,
    /// The ABI file that was read, and its name.
    file: Option<(String, Interface)>,
    /// The function that the argument lines are for.
    built_for: Option<Function>,
    sandbox: bool,
}

impl PermissionForm {
    pub fn new(sandbox: bool) -> Self {
        let known: &'static [Known] = if sandbox { &DEMO_CONTRACTS } else { &[] };
        let contracts = known.iter().map(|k| (k.name, Answer::Contract(Some(k))));
        let contracts = contracts.chain([("another contract", Answer::Contract(None))]);
        let mut form = Self {
            function: Form::new(vec![
                Row::choice(Ask::Contract, "contract", contracts, "←→ for the others"),
                Row::text(
                    Ask::Target,
                    if sandbox { "its address" } else { "contract" },
                    "",
                    "0x…",
                    "the one contract the key may call. \"any\" would allow every contract",
                ),
                Row::new(
                    Ask::Source,
                    "function",
                    Control::Cells(vec![Cell::Choice(Choice::default())]),
                    "where its signature comes from; ←→ for the others",
                ),
                Row::text(
                    Ask::Signature,
                    "signature",
                    "",
                    "transfer(address to, uint256 amount)",
                    "paste it in full, with argument types; names help",
                ),
                Row::text(Ask::AbiFile, "ABI file", "", "~/MyContract.json", "a JSON ABI, or a build artifact"),
                Row::new(Ask::Function, "which one", Control::List(Choice::default()), ""),
                Row::button(Ask::Next, "Next"),
            ]),
            arguments: Form::new(Vec::new()),
            limits: Form::new(vec![
                Row::text(
                    Ask::Value,
                    "max value",
                    "0",
                    "0",
                    "the most each call may send (value limit): 0, 0.1 eth, 5 gwei, or wei",
                ),
                Row::text(Ask::Runs, "max calls", "", "unlimited", "3 = three calls in total; empty = unlimited"),
                Row::text(Ask::Every, "min interval", "", "none", "time between calls: 1h, 30m, 1d; empty = none"),
                Row::button(Ask::Next, "Next"),
                Row::button(Ask::Add, "Add another permission"),
                Row::button(Ask::Remove, "Remove this permission"),
            ]),
            file: None,
            built_for: None,
            sandbox,
        };
        form.settle_function();
        form
    }

    fn known(&self) -> Option<&'static Known> {
        match self.function.chosen(Ask::Contract) {
            Some(Answer::Contract(known)) => *known,
            _ => None,
        }
    }

    fn sources(&self) -> Vec<Source> {
        let own = self.known().map(|_| Source::Own);
        let standards = KNOWN_INTERFACES.iter().map(|name| Source::Standard(name));
        own.into_iter().chain([Source::Signature]).chain(standards).chain([Source::File]).collect()
    }

    fn source(&self) -> Source {
        match self.function.chosen(Ask::Source) {
            Some(Answer::From(source)) => *source,
            _ => Source::Signature,
        }
    }

    fn interface(&self) -> Result<Interface, String> {
        match self.source() {
            Source::Own => {
                let signatures = self.known().map(|k| k.signatures).unwrap_or_default();
                let json = serde_json::to_string(signatures).map_err(|e| e.to_string())?;
                Interface::from_json(&json).map_err(|e| e.to_string())
            }
            Source::Standard(name) => Interface::known(name).map_err(|e| e.to_string()),
            Source::File => match &self.file {
                Some((name, interface)) if *name == self.function.text(Ask::AbiFile) => Ok(interface.clone()),
                _ => Err("press ↵ on the ABI file to read it".into()),
            },
            Source::Signature => Err("there is only the signature".into()),
        }
    }

    /// Whether an ABI file is named that has not been read.
    pub fn unread_file(&self) -> Option<String> {
        let name = self.function.text(Ask::AbiFile);
        (self.source() == Source::File && !name.is_empty() && self.interface().is_err()).then_some(name)
    }

    /// The ABI file has been read.
    pub fn take_file(&mut self, name: String, interface: Interface) {
        self.file = Some((name, interface));
        self.settle_function();
        self.function.focus_on(Ask::Function);
    }

    /// Shows the lines that the answers so far ask for.
    pub fn settle_function(&mut self) {
        let known = self.known().is_some();
        self.function.offer(Ask::Source, self.sources().into_iter().map(|s| (s.words(), Answer::From(s))));
        self.function.show(Ask::Contract, self.sandbox);
        self.function.show(Ask::Target, !known);
        let source = self.source();
        self.function.show(Ask::Signature, source == Source::Signature);
        self.function.show(Ask::AbiFile, source == Source::File);
        let functions = self.interface().map(|i| i.functions().to_vec()).unwrap_or_default();
        self.function.show(Ask::Function, !functions.is_empty());
        let offered = functions.into_iter().map(|f| (f.to_string(), Answer::Function(Box::new(f))));
        self.function.offer(Ask::Function, offered);
        self.function.settle();
    }

    pub fn target(&self) -> Result<Address, String> {
        if let Some(known) = self.known() {
            return Ok(known.address);
        }
        match self.function.text(Ask::Target).as_str() {
            "" => Err("which contract may it call?".into()),
            "any" => Ok(ANY_TARGET),
            text => match parse_address(text) {
                Ok(address) if address.is_zero() => {
                    Err("the zero address stands for any contract; say \"any\" if you mean that".into())
                }
                parsed => parsed.map_err(|e| e.to_string()),
            },
        }
    }

    pub fn chosen_function(&self) -> Result<Function, (Ask, String)> {
        match self.source() {
            Source::Signature => {
                let text = self.function.text(Ask::Signature);
                if text.is_empty() {
                    return Err((Ask::Signature, "which function may it call?".into()));
                }
                Function::parse(&text).map_err(|e| (Ask::Signature, e.to_string()))
            }
            Source::File if self.function.text(Ask::AbiFile).is_empty() => {
                Err((Ask::AbiFile, "enter a file name".into()))
            }
            source => {
                let row = if source == Source::File { Ask::AbiFile } else { Ask::Source };
                // Of an interface that is there; the list keeps those of the one before until it is looked at again.
                self.interface().map_err(|why| (row, why))?;
                match self.function.chosen(Ask::Function) {
                    Some(Answer::Function(function)) => Ok((**function).clone()),
                    _ => Err((Ask::Function, "choose a function".into())),
                }
            }
        }
    }

    /// Lines for the arguments of the function; what was typed stays while it is the same function.
    pub fn build_arguments(&mut self) {
        let Ok(function) = self.chosen_function() else { return };
        if self.built_for.as_ref() != Some(&function) {
            let mut rows: Vec<Row<Ask, Answer>> = Vec::new();
            for (i, word) in function.head().iter().enumerate() {
                rows.push(condition_row(Ask::Arg(i, 0), &name_of(&word.path), word.ty));
            }
            rows.push(raw_row(0));
            rows.push(Row::button(Ask::Next, "Next"));
            self.arguments = Form::new(rows);
            self.built_for = Some(function);
        }
        self.settle_arguments();
    }

    /// After each condition there is a line for one more, so that a range needs no further key.
    pub fn settle_arguments(&mut self) {
        let Some(function) = self.built_for.clone() else { return };
        let focus = self.arguments.focus();
        for row in &mut self.arguments.rows {
            let asked = matches!(row.key, Ask::Arg(..) | Ask::Raw(_));
            row.open = if asked && comparison(row.control.choice()).is_none() { 1 } else { usize::MAX };
        }
        for (i, word) in function.head().iter().enumerate() {
            let is_here = |row: &Row<Ask, Answer>| matches!(row.key, Ask::Arg(at, _) if at == i);
            let Some(first) = self.arguments.rows.iter().position(is_here) else { continue };
            let count = self.arguments.rows.iter().filter(|r| is_here(r)).count();
            // One value, and no other: there is nothing to add.
            let can_go_on = |r: &Row<Ask, Answer>| r.open > 1 && comparison(r.control.choice()) != Some(Condition::Eq);
            if self.arguments.rows.get(first + count - 1).is_some_and(can_go_on) && count < MOST_CONDITIONS {
                let mut row = condition_row(Ask::Arg(i, count), "and", word.ty);
                "one more condition, for a range".clone_into(&mut row.hint);
                self.arguments.rows.insert(first + count, row);
            }
        }
        let raws = self.arguments.rows.iter().filter(|r| matches!(r.key, Ask::Raw(_))).count();
        let last = self.arguments.rows.iter().rposition(|r| matches!(r.key, Ask::Raw(_))).unwrap_or(0);
        if self.arguments.rows.get(last).is_some_and(|r| r.open > 1) && raws < MOST_CONDITIONS {
            self.arguments.rows.insert(last + 1, raw_row(raws));
        }
        if let (Some(focus), false) = (focus, self.arguments.focus() == focus) {
            self.arguments.focus_on(focus);
        }
        self.arguments.settle();
    }

    /// The conditions of the lines that are set. An empty value is for its own line to complain about.
    fn conditions(&self, me: Address, only: Option<usize>) -> Result<Vec<ArgCondition>, (Ask, String)> {
        let Some(function) = &self.built_for else { return Ok(Vec::new()) };
        let head = function.head();
        let mut conditions = Vec::new();
        for row in &self.arguments.rows {
            let Ask::Arg(i, _) = row.key else { continue };
            let Some(word) = head.get(i).filter(|_| only.is_none_or(|only| only == i)) else { continue };
            let Some(op) = comparison(self.arguments.choice_of(row.key)) else { continue };
            let value = self.arguments.text(row.key);
            if value.is_empty() && word.ty.is_word() {
                return Err((row.key, "what is it compared with?".into()));
            }
            let value = if value == "me" && *word.ty == AbiType::Address { me.to_string() } else { value };
            conditions.push(ArgCondition { arg: word.path.clone(), op, value });
        }
        Ok(conditions)
    }

    fn words(&self) -> Result<Vec<WordCondition>, (Ask, String)> {
        let mut words = Vec::new();
        for row in &self.arguments.rows {
            let (Ask::Raw(_), Some(op)) = (row.key, comparison(self.arguments.choice_of(row.key))) else { continue };
            let texts = self.arguments.texts(row.key);
            let [offset, value] = texts.as_slice() else { continue };
            let offset: U256 = offset.parse::<u64>().map(U256::from).map_err(|_| {
                (row.key, "at which byte of the arguments does the word begin? 0, 32, 64, …".to_owned())
            })?;
            words.push(WordCondition { offset, op, value: value.clone() });
        }
        Ok(words)
    }

    fn check_arguments(&self, me: Address) -> Result<(), (Ask, String)> {
        let Some(function) = &self.built_for else { return Ok(()) };
        let words = self.words()?;
        for (i, _) in function.head().iter().enumerate() {
            self.check_word(i, me).map_err(|why| (Ask::Arg(i, 0), why))?;
        }
        let when = self.conditions(me, None)?;
        let mut rules = compile(function, &when).map_err(|e| (Ask::Next, plain(&e.to_string())))?.rules;
        rules.extend(compile_words(Some(function), &words).map_err(|e| (Ask::Raw(0), e.to_string()))?.rules);
        match contradictory_word(&rules) {
            None => Ok(()),
            Some(offset) => Err((
                Ask::Raw(0),
                format!(
                    "nothing can meet the conditions on the word at byte {offset} together: the key could never be used"
                ),
            )),
        }
    }

    /// The conditions on one word, by themselves.
    fn check_word(&self, i: usize, me: Address) -> Result<(), String> {
        let Some(function) = &self.built_for else { return Ok(()) };
        let conditions = self.conditions(me, Some(i)).map_err(|(_, why)| why)?;
        compile(function, &conditions).map(|_| ()).map_err(|e| plain(&e.to_string()))
    }

    fn limit(&self) -> Result<Limit, (Ask, String)> {
        let runs = self.limits.text(Ask::Runs);
        let every = self.limits.text(Ask::Every);
        let runs = match runs.as_str() {
            "" => None,
            text => match text.parse::<u64>() {
                Ok(0) => return Err((Ask::Runs, "0 would mean unlimited; leave it empty if you mean that".into())),
                Ok(runs) => Some(runs),
                Err(_) => return Err((Ask::Runs, "expected a whole number, as in 3".into())),
            },
        };
        let every = match every.as_str() {
            "" => None,
            text => match parse_duration(text) {
                Ok(0) => None,
                Ok(seconds) => Some(seconds),
                Err(e) => return Err((Ask::Every, e.to_string())),
            },
        };
        Ok(Limit { start: None, every, runs })
    }

    fn value(&self, coin: Coin) -> Result<U256, String> {
        match self.limits.text(Ask::Value).as_str() {
            "" => Ok(U256::ZERO),
            text => coin.parse(text).map_err(|e| e.to_string()),
        }
    }

    pub fn permission(&self, me: Address, coin: Coin, at: usize) -> Result<PolicyPermission, Wrong> {
        let wrong = |page: fn(usize) -> Page| move |(ask, why)| Wrong { page: page(at), ask, why };
        let target = self.target().map_err(|why| (Ask::Target, why)).map_err(wrong(Page::Function))?;
        let function = self.chosen_function().map_err(wrong(Page::Function))?;
        self.check_arguments(me).map_err(wrong(Page::Arguments))?;
        Ok(PolicyPermission {
            target,
            function: Some(function),
            value_limit: self.value(coin).map_err(|why| (Ask::Value, why)).map_err(wrong(Page::Limits))?,
            operation: Operation::Call,
            limit: self.limit().map_err(wrong(Page::Limits))?,
            when: self.conditions(me, None).map_err(wrong(Page::Arguments))?,
            words: self.words().map_err(wrong(Page::Arguments))?,
        })
    }

    /// Sets a condition, as a template does.
    pub fn limit_argument(&mut self, word: usize, nth: usize, op: Condition, value: &str) {
        let (key, wanted) = (Ask::Arg(word, nth), Answer::If(Some(op)));
        self.arguments.choose(key, &wanted);
        if self.arguments.is(key, &wanted) {
            self.arguments.fill(key, value);
            self.settle_arguments();
        }
    }

    /// Chooses a contract that is known, as a template does. Answers whether it is offered.
    pub fn choose_contract(&mut self, address: Address) -> bool {
        let known = DEMO_CONTRACTS.iter().find(|k| k.address == address);
        self.function.choose(Ask::Contract, &Answer::Contract(known));
        self.settle_function();
        self.known().is_some_and(|k| k.address == address)
    }

    /// Chooses one of the functions that are offered.
    pub fn choose_function(&mut self, signature: &str) {
        if let Ok(function) = Function::parse(signature) {
            self.function.choose(Ask::Function, &Answer::Function(Box::new(function)));
        }
    }
}

/// Words and comparisons, "anything" first.
const NUMBERS: [(&str, Option<Condition>); 7] = [
    ("anything", None),
    ("is", Some(Condition::Eq)),
    ("is not", Some(Condition::Ne)),
    ("at least", Some(Condition::Gte)),
    ("at most", Some(Condition::Lte)),
    ("more than", Some(Condition::Gt)),
    ("less than", Some(Condition::Lt)),
];

/// The compiler's reasons name comparisons as policy files do; here they read as in the form.
fn plain(reason: &str) -> String {
    NUMBERS.iter().filter_map(|(words, op)| Some((words, (*op)?.name()))).fold(
        reason.to_owned(),
        |text, (words, name)| {
            text.replace(&format!(" {name} "), &format!(" {words} "))
                .replace(&format!("`{name}`"), &format!("\"{words}\""))
        },
    )
}

fn comparison(choice: Option<&Choice<Answer>>) -> Option<Condition> {
    match choice?.value() {
        Some(Answer::If(op)) => *op,
        _ => None,
    }
}

/// Signed numbers offer every comparison too: the compiler says why only equality is sound.
fn comparisons(ty: &AbiType) -> Choice<Answer> {
    let number = matches!(ty, AbiType::Uint(_) | AbiType::Int(_));
    let offered = |op: Option<Condition>| number || matches!(op, None | Some(Condition::Eq | Condition::Ne));
    Choice::new(NUMBERS.into_iter().filter(|(_, op)| offered(*op)).map(|(words, op)| (words, Answer::If(op))))
}

/// How a word is called: arguments without a name are counted from 1, as people do.
fn name_of(path: &str) -> String {
    path.parse::<usize>().map_or_else(|_| path.to_owned(), |position| format!("argument {}", position + 1))
}

fn condition_row(key: Ask, label: &str, ty: &AbiType) -> Row<Ask, Answer> {
    let example = match ty {
        AbiType::Address => "0x…, or me",
        AbiType::Bool => "true or false",
        AbiType::FixedBytes(_) | AbiType::Function => "0x…",
        _ => "a whole number",
    };
    let what = match ty {
        AbiType::Address => "an address; \"me\" is this account",
        AbiType::Bool => "true or false",
        AbiType::Uint(_) => "a whole number, in the smallest unit (wei, or the token's)",
        AbiType::Int(_) => "a whole number that may be negative: only \"is\" and \"is not\" are sound",
        AbiType::FixedBytes(_) | AbiType::Function => "0x and all its bytes",
        _ => "dynamic length, so a condition cannot check its value: leave it at \"anything\"",
    };
    let cells = vec![Cell::Choice(comparisons(ty)), Cell::text("", example)];
    Row {
        open: 1,
        ..Row::new(key, label, Control::Cells(cells), &format!("{}: {what}", format::clean(&ty.to_string())))
    }
}

fn raw_row(n: usize) -> Row<Ask, Answer> {
    let comparisons = NUMBERS.map(|(words, op)| (op.map_or("not used", |_| words), Answer::If(op)));
    let cells = vec![
        Cell::Choice(Choice::new(comparisons)),
        Cell::Text { field: crate::tui::form::Field::default(), example: "at byte".into(), room: 8 },
        Cell::text("", "0x and 64 digits, or a number"),
    ];
    let label = if n == 0 { "raw word" } else { "and" };
    let hint = "for experts, where the ABI cannot express it: compares the 32 bytes at this offset of the arguments";
    Row { open: 1, ..Row::new(Ask::Raw(n), label, Control::Cells(cells), hint) }
}

/// An account that can grant keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Giver {
    pub name: String,
    pub address: Address,
    /// Of its chain.
    pub coin: Coin,
}

/// Everything that was answered so far.
#[derive(Debug, Clone)]
pub struct Answers {
    pub givers: Vec<Giver>,
    pub who: Form<Ask, Answer>,
    pub permissions: Vec<PermissionForm>,
    pub window: Form<Ask, Answer>,
    pub sandbox: bool,
}

/// When a key ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    After,
    At,
    Never,
}

/// Answers to "who pays", in their order. On the sandbox its sponsor comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gas {
    Sandbox,
    Exactly,
    AnySponsor,
    Anyone,
}

impl Answers {
    pub fn new(givers: Vec<Giver>, giver: usize, sandbox: bool) -> Self {
        let named = givers.iter().map(|g| (g.name.clone(), Answer::Giver(g.clone())));
        let first = givers.get(giver).cloned().map(Answer::Giver);
        let holder = if sandbox { Answer::NewKey } else { Answer::Agent };
        let gas = [Gas::Exactly, Gas::AnySponsor, Gas::Anyone];
        let gas = sandbox.then_some(Gas::Sandbox).into_iter().chain(gas).map(|g| (gas_words(g), Answer::Gas(g)));
        let mut answers = Self {
            who: Form::new(vec![
                Row::choice(Ask::Account, "for account", named, "the key may act for this account, within limits"),
                Row::choice(
                    Ask::Holder,
                    "used by",
                    [
                        ("an app or bot with its own address", Answer::Agent),
                        ("a new key that you hand over", Answer::NewKey),
                    ],
                    "with its own address, the private key never leaves its holder",
                )
                .chosen(&holder),
                Row::text(Ask::Agent, "its address", "", "0x…", "of the key's holder (the agent)"),
                Row::text(Ask::Label, "label", "", "mint-bot", "a local name"),
                Row::button(Ask::Next, "Next"),
            ]),
            permissions: vec![PermissionForm::new(sandbox)],
            window: Form::new(vec![
                Row::choice(
                    Ask::Ends,
                    "expires",
                    [
                        ("after some time", Answer::Ends(Ending::After)),
                        ("at a date", Answer::Ends(Ending::At)),
                        ("never", Answer::Ends(Ending::Never)),
                    ],
                    "a key that never expires must be revoked by hand",
                ),
                Row::text(Ask::After, "after", "24h", "24h", ""),
                Row::text(Ask::Until, "on", "", "2026-12-24 18:00", ""),
                Row::choice(
                    Ask::Starts,
                    "starts",
                    [("immediately", Answer::AtOnce), ("at a date", Answer::AtDate)],
                    "",
                ),
                Row::text(Ask::From, "on", "", "2026-12-01 08:00", ""),
                Row::choice(Ask::Gas, "gas payer", gas, ""),
                Row::text(Ask::Sponsor, "its address", "", "0x…", "the paymaster's contract"),
                Row::choice(
                    Ask::Calls,
                    "calls",
                    [("one at a time", Answer::OneCall), ("one or several at once", Answer::SeveralCalls)],
                    "batches need executeBatch, which is enabled for the whole account",
                ),
                Row::button(Ask::Next, "Review"),
            ]),
            givers,
            sandbox,
        };
        if let Some(first) = first {
            answers.who.choose(Ask::Account, &first);
        }
        answers.settle(Page::Who, 0);
        answers.settle(Page::Window, 0);
        answers
    }

    fn payer(&self) -> Gas {
        match self.window.chosen(Ask::Gas) {
            Some(Answer::Gas(gas)) => *gas,
            _ => Gas::Exactly,
        }
    }

    fn ending(&self) -> Ending {
        match self.window.chosen(Ask::Ends) {
            Some(Answer::Ends(ending)) => *ending,
            _ => Ending::After,
        }
    }

    pub fn giver(&self) -> Option<&Giver> {
        match self.who.chosen(Ask::Account) {
            Some(Answer::Giver(giver)) => Some(giver),
            _ => None,
        }
    }

    fn coin(&self) -> Coin {
        self.giver().map_or_else(Coin::unlisted, |g| g.coin)
    }

    fn me(&self) -> Address {
        self.giver().map(|g| g.address).unwrap_or_default()
    }

    pub fn form(&self, page: Page) -> Option<&Form<Ask, Answer>> {
        match page {
            Page::Who => Some(&self.who),
            Page::Function(i) => self.permissions.get(i).map(|p| &p.function),
            Page::Arguments(i) => self.permissions.get(i).map(|p| &p.arguments),
            Page::Limits(i) => self.permissions.get(i).map(|p| &p.limits),
            Page::Window => Some(&self.window),
        }
    }

    pub fn form_mut(&mut self, page: Page) -> Option<&mut Form<Ask, Answer>> {
        match page {
            Page::Who => Some(&mut self.who),
            Page::Function(i) => self.permissions.get_mut(i).map(|p| &mut p.function),
            Page::Arguments(i) => self.permissions.get_mut(i).map(|p| &mut p.arguments),
            Page::Limits(i) => self.permissions.get_mut(i).map(|p| &mut p.limits),
            Page::Window => Some(&mut self.window),
        }
    }

    /// Shows what the answers so far ask for. `now` is the chain's time, unix seconds.
    pub fn settle(&mut self, page: Page, now: u64) {
        match page {
            Page::Who => {
                self.who.show(Ask::Account, self.givers.len() > 1);
                let made_here = self.who.is(Ask::Holder, &Answer::NewKey);
                self.who.show(Ask::Agent, !made_here);
                let hint = if made_here {
                    "its private key goes into your vault, and to its holder in a file"
                } else {
                    "the private key never leaves its holder"
                };
                self.who.hint(Ask::Holder, hint);
                self.who.settle();
            }
            Page::Function(i) => {
                if let Some(permission) = self.permissions.get_mut(i) {
                    permission.settle_function();
                }
            }
            Page::Arguments(i) => {
                if let Some(permission) = self.permissions.get_mut(i) {
                    permission.settle_arguments();
                }
            }
            Page::Limits(i) => {
                let several = self.permissions.len() > 1;
                if let Some(permission) = self.permissions.get_mut(i) {
                    permission.limits.show(Ask::Remove, several);
                    permission.limits.settle();
                }
            }
            Page::Window => self.settle_window(now),
        }
    }

    fn settle_window(&mut self, now: u64) {
        let ending = self.ending();
        self.window.show(Ask::After, ending == Ending::After);
        self.window.show(Ask::Until, ending == Ending::At);
        let later = self.window.is(Ask::Starts, &Answer::AtDate);
        self.window.show(Ask::From, later);
        let payer = self.payer();
        self.window.show(Ask::Sponsor, payer == Gas::Exactly);
        self.window.hint(
            Ask::Ends,
            if ending == Ending::Never {
                "it must be revoked by hand when no longer needed"
            } else {
                "afterwards the chain refuses it; nothing has to be done"
            },
        );
        let starts = self.start().map_or(now, |s| if let Start::At(t) = s { t.max(now) } else { now });
        let ends = match parse_duration(&self.window.text(Ask::After)) {
            Ok(seconds) if later => {
                format!("expires {}, counted from its start", format::full_date(starts.saturating_add(seconds)))
            }
            Ok(seconds) => format!("expires {}, if signed now", format::full_date(starts.saturating_add(seconds))),
            Err(_) => "24h, 7d, 90m, 1d 12h".into(),
        };
        self.window.hint(Ask::After, ends);
        for ask in [Ask::Until, Ask::From] {
            let hint = match moment(&self.window.text(ask)) {
                Ok(t) if t > now => format!("{}: in {}", format::full_date(t), sentence::rough_duration(t - now)),
                Ok(t) => format!("{}: in the past", format::full_date(t)),
                Err(_) => "day and time in UTC, as in 2026-12-24 18:00".into(),
            };
            self.window.hint(ask, hint);
        }
        self.window.hint(
            Ask::Gas,
            match payer {
                Gas::Sandbox => "the sandbox's paymaster pays; the key cannot spend your coins on gas",
                Gas::Exactly => "only this paymaster may pay; the key cannot spend your coins on gas",
                Gas::AnySponsor => "any paymaster: not really enforced on chain, so your coins are at risk",
                Gas::Anyone => "the key can spend your coins on gas",
            },
        );
        self.window.settle();
    }

    fn start(&self) -> Result<Start, String> {
        match self.window.is(Ask::Starts, &Answer::AtDate) {
            true => moment(&self.window.text(Ask::From)).map(Start::At),
            false => Ok(Start::At(0)),
        }
    }

    fn end(&self, now: u64) -> Result<End, (Ask, String)> {
        match self.ending() {
            Ending::After => match parse_duration(&self.window.text(Ask::After)) {
                Ok(0) => Err((Ask::After, "the key would expire at once; enter a longer time".into())),
                Ok(seconds) => Ok(End::After(seconds)),
                Err(e) => Err((Ask::After, e.to_string())),
            },
            Ending::At => match moment(&self.window.text(Ask::Until)) {
                Ok(t) if t <= now => Err((Ask::Until, "this is in the past".into())),
                Ok(t) => Ok(End::At(t)),
                Err(why) => Err((Ask::Until, why)),
            },
            Ending::Never => Ok(End::Never),
        }
    }

    fn paymaster(&self) -> Result<Address, String> {
        match self.payer() {
            Gas::Sandbox => Ok(DEMO.sponsor),
            Gas::AnySponsor => Ok(ANY_PAYMASTER),
            Gas::Anyone => Ok(Address::ZERO),
            Gas::Exactly => match self.window.text(Ask::Sponsor).as_str() {
                "" => Err("enter the paymaster, or choose another gas payer above".into()),
                text => match parse_address(text) {
                    Ok(a) if a.is_zero() || a == ANY_PAYMASTER => {
                        Err("this address means \"anyone\" or \"any paymaster\": choose that above if you mean it"
                            .into())
                    }
                    parsed => parsed.map_err(|e| e.to_string()),
                },
            },
        }
    }

    pub fn holder(&self) -> Result<Holder, String> {
        if self.who.is(Ask::Holder, &Answer::NewKey) {
            return Ok(Holder::NewKey);
        }
        match self.who.text(Ask::Agent).as_str() {
            "" => Err("enter the address of the app's or bot's key".into()),
            text => match parse_address(text) {
                Ok(a) if a.is_zero() => Err("the zero address cannot hold a key".into()),
                parsed => parsed.map(Holder::Agent).map_err(|e| e.to_string()),
            },
        }
    }

    pub fn label(&self) -> Option<String> {
        Some(self.who.text(Ask::Label)).filter(|l| !l.is_empty())
    }

    /// What is wrong with one answer.
    pub fn check(&self, page: Page, ask: Ask, now: u64) -> Result<(), String> {
        let at = |i: usize| self.permissions.get(i).ok_or_else(|| "this permission no longer exists".to_owned());
        let here = |found: (Ask, String)| if found.0 == ask { Err(found.1) } else { Ok(()) };
        match (page, ask) {
            (Page::Who, Ask::Agent) => self.holder().map(|_| ()),
            (Page::Who, Ask::Label) => match self.label() {
                None => Ok(()),
                Some(label) => check_label("label", &label).map(|_| ()).map_err(|e| e.message),
            },
            (Page::Function(i), Ask::Target) => at(i)?.target().map(|_| ()),
            (Page::Function(i), Ask::Signature | Ask::AbiFile | Ask::Function | Ask::Source) => {
                at(i)?.chosen_function().map(|_| ()).or_else(here)
            }
            (Page::Arguments(i), Ask::Arg(word, _)) => {
                let permission = at(i)?;
                // A value that is missing is said at its own line.
                match permission.conditions(self.me(), Some(word)) {
                    Err(found) => here(found),
                    Ok(_) => permission.check_word(word, self.me()),
                }
            }
            (Page::Arguments(i), Ask::Raw(_)) => match at(i)?.words() {
                Err(found) => here(found),
                Ok(words) => compile_words(at(i)?.built_for.as_ref(), &words).map(|_| ()).map_err(|e| e.to_string()),
            },
            (Page::Arguments(i), Ask::Next) => at(i)?.check_arguments(self.me()).or_else(here),
            (Page::Limits(i), Ask::Value) => at(i)?.value(self.coin()).map(|_| ()),
            (Page::Limits(i), Ask::Runs | Ask::Every) => at(i)?.limit().map(|_| ()).or_else(here),
            (Page::Window, Ask::After | Ask::Until) => self.end(now).map(|_| ()).or_else(here),
            (Page::Window, Ask::From) => self.start().map(|_| ()),
            (Page::Window, Ask::Sponsor) => self.paymaster().map(|_| ()),
            _ => Ok(()),
        }
    }

    /// The first answer of a page that will not do.
    pub fn check_page(&self, page: Page, now: u64) -> Result<(), Wrong> {
        let rows = self.form(page).map(|f| f.rows.as_slice()).unwrap_or_default();
        for row in rows.iter().filter(|r| !r.hidden) {
            self.check(page, row.key, now).map_err(|why| Wrong { page, ask: row.key, why })?;
        }
        Ok(())
    }

    /// The pages in their order.
    pub fn pages(&self) -> Vec<Page> {
        let each = (0..self.permissions.len()).flat_map(|i| [Page::Function(i), Page::Arguments(i), Page::Limits(i)]);
        std::iter::once(Page::Who).chain(each).chain([Page::Window]).collect()
    }

    /// What the answers ask for.
    pub fn policy(&self, now: u64) -> Result<Policy, Wrong> {
        for page in self.pages() {
            self.check_page(page, now)?;
        }
        let window = |(ask, why)| Wrong { page: Page::Window, ask, why };
        let mut functions = vec![AccountFunction::Execute];
        if self.window.is(Ask::Calls, &Answer::SeveralCalls) {
            functions.push(AccountFunction::ExecuteBatch);
        }
        Ok(Policy {
            label: self.label(),
            valid_after: self.start().map_err(|why| window((Ask::From, why)))?,
            valid_until: self.end(now).map_err(window)?,
            paymaster: self.paymaster().map_err(|why| window((Ask::Sponsor, why)))?,
            functions,
            validator: ValidatorChoice::Auto,
            everything: false,
            permissions: self.permissions()?,
        })
    }

    fn permissions(&self) -> Result<Vec<PolicyPermission>, Wrong> {
        self.permissions.iter().enumerate().map(|(i, p)| p.permission(self.me(), self.coin(), i)).collect()
    }

    /// The permissions that are answered so far, in sentences. `validator`: the one that the account sends session
    /// keys to, which decides what they mean.
    pub fn sentences(&self, now: u64, validator: Validator) -> Result<Vec<String>, String> {
        let permission = |(i, p): (usize, &PermissionForm)| p.permission(self.me(), self.coin(), i).ok();
        let done: Vec<PolicyPermission> = self.permissions.iter().enumerate().filter_map(permission).collect();
        if done.is_empty() {
            return Ok(Vec::new());
        }
        let policy = Policy {
            label: None,
            valid_after: Start::At(0),
            valid_until: End::Never,
            paymaster: Address::ZERO,
            functions: vec![AccountFunction::Execute],
            validator: ValidatorChoice::Auto,
            everything: false,
            permissions: done,
        };
        let resolved = policy.resolve(now, validator).map_err(|e| e.message)?;
        let setting = sentence::Setting { validator, symbol: self.coin().symbol() };
        let of = resolved.scope.permissions.iter().zip(&policy.permissions);
        Ok(of.map(|(p, asked)| sentence::permission(p, asked.function.as_ref(), setting)).collect())
    }
}

const fn gas_words(gas: Gas) -> &'static str {
    match gas {
        Gas::Sandbox => "the sandbox's paymaster",
        Gas::Exactly => "one paymaster",
        Gas::AnySponsor => "any paymaster",
        Gas::Anyone => "anyone, your account too",
    }
}

/// A point in time as a person writes it: `2026-12-24`, `2026-12-24 18:00` (both UTC), RFC 3339, or unix seconds.
fn moment(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let day_and_time = text.replacen(' ', "T", 1);
    let tries = [
        text.to_owned(),
        format!("{day_and_time}T00:00:00Z"),
        format!("{day_and_time}:00Z"),
        format!("{day_and_time}Z"),
    ];
    match tries.iter().find_map(|t| parse_time(t).ok()) {
        Some(0) => Err("expected a time after 1970".into()),
        Some(t) => Ok(t),
        None => Err(match parse_time(text) {
            Err(TimeError::NotATime(_) | TimeError::Empty) | Ok(_) => {
                "expected a day and a time in UTC, as in 2026-12-24 18:00".into()
            }
            Err(e) => e.to_string(),
        }),
    }
}

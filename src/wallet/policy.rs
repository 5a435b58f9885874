//! What an owner asks for: a policy file (TOML or JSON), the permission JSON of ZeroDev's documentation, or a form. All end in [`Policy`],
//! which becomes the chain's [`Scope`] once the moment ("now") and the validator generation are known.

use std::path::Path;

use alloy::primitives::{Address, Selector, U256};
use serde_json::{Map, Value};

use super::{
    coin::Coin,
    error::{Error, Result},
    home::read_bounded,
    records::label,
};
use crate::{
    abi::{Function, Interface, parse_address},
    policy::{
        condition::{ArgCondition, ConditionError, WordCondition, compile, compile_words, contradictory_word},
        scope::{ANY_PAYMASTER, ANY_TARGET, Condition, ExecutionRule, MAX_UINT48, Operation, Permission, Scope},
        sentence::{TimeError, parse_duration, parse_time},
    },
    protocol::family::{Validator, account::AccountFunction},
    text::clean,
};

/// Largest policy file, in bytes.
const MAX_POLICY: u64 = 4 << 20;
/// Most permissions in a policy: more than any tree an owner could read, and still instant to hash.
const MAX_PERMISSIONS: usize = 10_000;

/// A moment that may be relative to the signing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// From the chain's time at signing.
    Now,
    /// Unix seconds; 0 = at once.
    At(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Seconds after the start.
    After(u64),
    /// Unix seconds.
    At(u64),
    Never,
}

/// Which validator the approval is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValidatorChoice {
    /// What the account routes to already, else G2.
    Auto,
    Exactly(Validator),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub label: Option<String>,
    pub valid_after: Start,
    pub valid_until: End,
    /// Zero: unrestricted. Address 1: "any sponsor".
    pub paymaster: Address,
    /// Account functions the key shall use, without repeats.
    pub functions: Vec<AccountFunction>,
    pub validator: ValidatorChoice,
    /// Said in so many words that the key may do everything.
    pub everything: bool,
    pub permissions: Vec<PolicyPermission>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyPermission {
    /// Zero: any contract.
    pub target: Address,
    /// `None`: plain transfers of coins (no function; selector zero).
    pub function: Option<Function>,
    /// Wei per call.
    pub value_limit: U256,
    pub operation: Operation,
    pub limit: Limit,
    pub when: Vec<ArgCondition>,
    pub words: Vec<WordCondition>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limit {
    pub start: Option<Start>,
    /// Seconds.
    pub every: Option<u64>,
    pub runs: Option<u64>,
}

/// A policy made concrete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    pub scope: Scope,
    /// Full signature of each permission's function, in their order.
    pub functions: Vec<Option<String>>,
    /// What is allowed but worth a look (for example a condition that always holds).
    pub warnings: Vec<String>,
}

impl Policy {
    /// Reads a policy. `read_file` answers the text of an ABI file the policy names.
    pub fn parse(text: &str, read_file: &dyn Fn(&str) -> Result<String>) -> Result<Self> {
        Self::parse_in(Coin::unlisted(), text, read_file)
    }

    /// The same where the chain's coin is known: amounts may be written in it, and in no other.
    pub fn parse_in(coin: Coin, text: &str, read_file: &dyn Fn(&str) -> Result<String>) -> Result<Self> {
        let value = parse_document(text)?;
        let root = Node { path: String::new(), value: &value, coin };
        let table = root.table()?;
        let says = |names: &[&str]| names.iter().any(|name| table.map.contains_key(*name));
        // `permissions` alone may be a slip for `permission`: the rest of the file tells which shape it is.
        let own = ["valid_after", "valid_until", "permission", "selector", "validator"];
        if says(&["validUntil", "validAfter", "permissions"]) && !says(&own) {
            mission_policy(&table)
        } else {
            file_policy(&table, read_file)
        }
    }

    /// Reads a policy file; ABI files are named relative to it.
    pub fn read(coin: Coin, file: &Path) -> Result<Self> {
        let text = read_bounded(file, MAX_POLICY)?;
        let folder = file.parent().unwrap_or(Path::new("."));
        Self::parse_in(coin, &text, &|name| read_bounded(&folder.join(name), MAX_POLICY))
            .map_err(|e| Error { message: format!("{}: {}", file.display(), e.message), ..e })
    }

    /// The scope the chain will hold, for a moment (unix seconds) and a validator.
    pub fn resolve(&self, now: u64, validator: Validator) -> Result<Resolved> {
        let valid_after = resolve_start(self.valid_after, now);
        let valid_until = match self.valid_until {
            End::Never => 0,
            End::At(t) => t,
            End::After(seconds) => valid_after.max(if valid_after == 0 { now } else { 0 }).saturating_add(seconds),
        };
        if valid_until == 0 && self.valid_until != End::Never {
            return Err(Error::usage(
                "policy.window",
                "valid_until: it comes out as 0, which would mean that the key never expires",
            ));
        }
        check_window(valid_after, valid_until, now)?;
        let mut warnings = Vec::new();
        let mut functions = Vec::with_capacity(self.permissions.len());
        let mut permissions = Vec::with_capacity(self.permissions.len());
        for (i, wanted) in self.permissions.iter().enumerate() {
            let at = |e: &dyn std::fmt::Display, code: &str| Error::usage(code, format!("permission {}: {e}", i + 1));
            let mut rules = Vec::new();
            if let Some(function) = &wanted.function {
                let compiled = compile(function, &wanted.when).map_err(|e| at(&e, "policy.condition"))?;
                warnings.extend(compiled.warnings.iter().map(|w| format!("permission {}: {w}", i + 1)));
                rules.extend(compiled.rules);
            }
            let words = compile_words(wanted.function.as_ref(), &wanted.words).map_err(|e| at(&e, "policy.word"))?;
            warnings.extend(words.warnings.iter().map(|w| format!("permission {}: {w}", i + 1)));
            rules.extend(words.rules);
            // Each list was checked by itself; together they may still leave a word without any value.
            if let Some(offset) = contradictory_word(&rules) {
                return Err(at(&ConditionError::WordContradiction { offset }, "policy.condition"));
            }
            if wanted.target == ANY_TARGET && !validator.has_any_target() {
                return Err(at(
                    &"target \"any\" does not exist on validator G1: there 0x0 matches only the zero address itself",
                    "risk.R30",
                )
                .hint("name the contract, or grant on G2 (validator = \"G2\")"));
            }
            permissions.push(Permission {
                index: u32::try_from(i).map_err(|_| at(&"too many permissions", "policy.permission"))?,
                target: wanted.target,
                sig: wanted.function.as_ref().map_or(Selector::ZERO, Function::selector),
                value_limit: wanted.value_limit,
                rules,
                execution_rule: resolve_limit(wanted.limit, now).map_err(|e| at(&e, "policy.limit"))?,
                operation: wanted.operation,
            });
            functions.push(wanted.function.as_ref().map(ToString::to_string));
        }
        let scope = Scope { valid_after, valid_until, paymaster: self.paymaster, permissions };
        Ok(Resolved { scope, functions, warnings })
    }
}

fn resolve_start(start: Start, now: u64) -> u64 {
    match start {
        Start::Now => now,
        Start::At(t) => t,
    }
}

fn check_window(after: u64, until: u64, now: u64) -> Result<()> {
    let field = |name: &str, message: String| Err(Error::usage("policy.window", format!("{name}: {message}")));
    if after > MAX_UINT48 || until > MAX_UINT48 {
        return field("valid_until", "a time above 2^48-1 seconds does not fit in the contract".into());
    }
    if until != 0 && until < after {
        return field("valid_until", format!("it ends at {until}, before it starts at {after} (unix seconds)"));
    }
    if until != 0 && until < now {
        return field("valid_until", format!("it ended at {until}, and it is {now} now (unix seconds)"));
    }
    Ok(())
}

fn resolve_limit(limit: Limit, now: u64) -> std::result::Result<ExecutionRule, String> {
    let interval = limit.every.unwrap_or(0);
    let start = limit.start.or((interval > 0).then_some(Start::Now));
    let rule = ExecutionRule {
        valid_after: start.map_or(0, |s| resolve_start(s, now)),
        interval,
        runs: limit.runs.unwrap_or(0),
    };
    if rule.interval > 0 && rule.valid_after == 0 {
        return Err("limit.start: an interval needs a start; say start = \"now\" or a time after 1970".into());
    }
    if [rule.valid_after, rule.interval, rule.runs].iter().any(|v| *v > MAX_UINT48) {
        return Err("limit: a number above 2^48-1 does not fit in the contract".into());
    }
    Ok(rule)
}

/// A label that is safe to show and to type.
pub fn check_label(field: &str, label: &str) -> Result<String> {
    label::check(field, label)
}

fn parse_document(text: &str) -> Result<Value> {
    let trimmed = text.trim_start();
    if trimmed.starts_with('{') {
        serde_json::from_str(text).map_err(|e| {
            Error::usage("policy.syntax", format!("the policy is not valid JSON: {}", clean(&e.to_string(), 200)))
        })
    } else {
        toml::from_str(text).map_err(|e| {
            let line = e.span().map_or(String::new(), |s| {
                format!(" (line {})", text.get(..s.start).unwrap_or_default().matches('\n').count() + 1)
            });
            Error::usage("policy.syntax", format!("the policy is not valid TOML{line}: {}", clean(e.message(), 200)))
        })
    }
}

// --- the policy file (docs/policy.md) -----------------------------------------------------------------------------------------

fn file_policy(table: &Table<'_>, read_file: &dyn Fn(&str) -> Result<String>) -> Result<Policy> {
    table.only(&[
        "label",
        "valid_after",
        "valid_until",
        "paymaster",
        "selector",
        "validator",
        "everything",
        "permission",
    ])?;
    let permissions = match table.get("permission") {
        None => Vec::new(),
        Some(list) => {
            list.list()?.iter().map(|node| file_permission(&node.table()?, read_file)).collect::<Result<Vec<_>>>()?
        }
    };
    let policy = Policy {
        label: table.get("label").map(|n| check_label(&n.path, n.text()?)).transpose()?,
        valid_after: table.get("valid_after").map_or(Ok(Start::At(0)), |n| n.start())?,
        valid_until: table
            .need("valid_until", "when the key ends: a duration such as \"24h\", a time, or \"never\"")?
            .end()?,
        paymaster: paymaster(
            &table.need("paymaster", "who must pay for gas: an address, \"any-sponsor\", or \"unrestricted\"")?,
        )?,
        functions: table.get("selector").map_or(Ok(vec![AccountFunction::Execute]), |n| account_functions(&n))?,
        validator: table.get("validator").map_or(Ok(ValidatorChoice::Auto), |n| validator(&n))?,
        everything: table.get("everything").map_or(Ok(false), |n| n.boolean())?,
        permissions,
    };
    check_permissions(&policy)?;
    Ok(policy)
}

fn check_permissions(policy: &Policy) -> Result<()> {
    if policy.permissions.is_empty() && !policy.everything {
        return Err(Error::usage(
            "policy.empty",
            "permission: the list is missing or empty, and an approval without permissions allows everything",
        )
        .hint("add at least one [[permission]], or say everything = true if you really mean it"));
    }
    if !policy.permissions.is_empty() && policy.everything {
        return Err(Error::usage("policy.everything", "everything: it contradicts the permissions that are listed")
            .hint("remove everything = true, or the permissions"));
    }
    if policy.permissions.len() > MAX_PERMISSIONS {
        return Err(Error::usage("policy.permission", format!("permission: more than {MAX_PERMISSIONS} entries")));
    }
    Ok(())
}

fn file_permission(table: &Table<'_>, read_file: &dyn Fn(&str) -> Result<String>) -> Result<PolicyPermission> {
    table.only(&["target", "function", "abi", "value_limit", "operation", "limit", "when", "word"])?;
    let target = target(&table.need("target", "a contract's address, or \"any\"")?)?;
    let when = table.get("when").map_or(Ok(Vec::new()), |n| n.list())?;
    let when = when.iter().map(|n| file_condition(&n.table()?)).collect::<Result<Vec<_>>>()?;
    let words = table.get("word").map_or(Ok(Vec::new()), |n| n.list())?;
    let words = words.iter().map(|n| file_word(&n.table()?)).collect::<Result<Vec<_>>>()?;
    Ok(PolicyPermission {
        target,
        function: Some(file_function(table, read_file)?),
        value_limit: table.get("value_limit").map_or(Ok(U256::ZERO), |n| n.amount())?,
        operation: table.get("operation").map_or(Ok(Operation::Call), |n| match n.text()? {
            "call" => Ok(Operation::Call),
            "delegatecall" => Ok(Operation::DelegateCall),
            _ => Err(n.error(&format!("expected \"call\" or \"delegatecall\", found {}", n.shown()))),
        })?,
        limit: table.get("limit").map_or(Ok(Limit::default()), |n| file_limit(&n.table()?))?,
        when,
        words,
    })
}

fn file_function(table: &Table<'_>, read_file: &dyn Fn(&str) -> Result<String>) -> Result<Function> {
    let node = table
        .need("function", "a full signature such as \"transfer(address to, uint256 amount)\", or a name with abi")?;
    let wanted = node.text()?;
    let Some(abi) = table.get("abi") else {
        return Function::parse(wanted).map_err(|e| node.error(&e.to_string()));
    };
    let source = abi.text()?;
    let interface = match Interface::known(source) {
        Ok(known) => known,
        Err(_) if source.contains(['.', '/', '\\']) => {
            Interface::from_json(&read_file(source)?).map_err(|e| abi.error(&e.to_string()))?
        }
        Err(e) => return Err(abi.error(&format!("{e}; or name a JSON file"))),
    };
    interface.function(wanted).cloned().map_err(|e| node.error(&e.to_string()))
}

fn file_limit(table: &Table<'_>) -> Result<Limit> {
    table.only(&["start", "every", "runs"])?;
    Ok(Limit {
        start: table.get("start").map(|n| n.start()).transpose()?,
        every: table.get("every").map(|n| n.duration()).transpose()?,
        runs: table
            .get("runs")
            .map(|n| match n.integer()? {
                0 => Err(n.error("0 would mean without limit; leave runs out if you mean that")),
                runs => Ok(runs),
            })
            .transpose()?,
    })
}

fn file_condition(table: &Table<'_>) -> Result<ArgCondition> {
    table.only(&["arg", "op", "value"])?;
    Ok(ArgCondition {
        arg: table.need("arg", "the argument's name or position")?.scalar()?,
        op: operator(&table.need("op", "eq, ne, gt, gte, lt or lte")?)?,
        value: table.need("value", "what the argument is compared with")?.scalar()?,
    })
}

fn file_word(table: &Table<'_>) -> Result<WordCondition> {
    table.only(&["offset", "op", "value"])?;
    let offset = table.need("offset", "bytes from the end of the selector to the word")?;
    Ok(WordCondition {
        offset: offset.scalar()?.parse().map_err(|_| offset.error("expected a number of bytes"))?,
        op: operator(&table.need("op", "eq, ne, gt, gte, lt or lte")?)?,
        value: table.need("value", "a 32-byte word in hex, or a number")?.scalar()?,
    })
}

fn operator(node: &Node<'_>) -> Result<Condition> {
    let parsed = match node.value {
        Value::Number(n) => n.as_u64().and_then(Condition::from_code),
        Value::String(text) => Condition::parse(text.strip_prefix("ParamOperator.").unwrap_or(text)),
        _ => None,
    };
    parsed.ok_or_else(|| node.error(&format!("expected eq, ne, gt, gte, lt or lte, found {}", node.shown())))
}

fn target(node: &Node<'_>) -> Result<Address> {
    match node.text()? {
        "any" => Ok(ANY_TARGET),
        text => {
            let address = parse_address(text).map_err(|e| node.error(&e.to_string()))?;
            if address.is_zero() {
                return Err(
                    node.error("the zero address stands for any contract on G2 and G3; say \"any\" if you mean that")
                );
            }
            Ok(address)
        }
    }
}

fn paymaster(node: &Node<'_>) -> Result<Address> {
    match node.text()? {
        "any-sponsor" => Ok(ANY_PAYMASTER),
        "unrestricted" => Ok(Address::ZERO),
        text => {
            let address = parse_address(text)
                .map_err(|e| node.error(&format!("{e}; expected an address, \"any-sponsor\" or \"unrestricted\"")))?;
            if address.is_zero() || address == ANY_PAYMASTER {
                return Err(node.error("say \"unrestricted\" for address(0), or \"any-sponsor\" for address(1)"));
            }
            Ok(address)
        }
    }
}

fn account_functions(node: &Node<'_>) -> Result<Vec<AccountFunction>> {
    let nodes = if node.value.is_array() { node.list()? } else { vec![node.clone()] };
    let mut out: Vec<AccountFunction> = Vec::new();
    for node in nodes {
        let function = AccountFunction::named(node.text()?).ok_or_else(|| {
            node.error(&format!("expected execute, executeBatch or executeDelegateCall, found {}", node.shown()))
        })?;
        if !out.contains(&function) {
            out.push(function);
        }
    }
    if out.is_empty() {
        return Err(node.error("name at least one account function"));
    }
    Ok(out)
}

fn validator(node: &Node<'_>) -> Result<ValidatorChoice> {
    let text = node.text()?;
    let expected = "expected \"auto\", \"G1\", \"G2\", \"G3\", or the address of one of these validators";
    match text {
        "auto" => Ok(ValidatorChoice::Auto),
        _ => Validator::named(text).map(ValidatorChoice::Exactly).ok_or_else(|| node.error(expected)),
    }
}

// --- the permission JSON of ZeroDev's documentation (docs.zerodev.app, session keys) ------------------------------------------------------------------------------

fn mission_policy(table: &Table<'_>) -> Result<Policy> {
    table.only(&["label", "validAfter", "validUntil", "paymaster", "everything", "permissions"])?;
    let permissions = match table.get("permissions") {
        None => Vec::new(),
        Some(list) => list.list()?.iter().map(|n| mission_permission(&n.table()?)).collect::<Result<Vec<_>>>()?,
    };
    let policy = Policy {
        label: table.get("label").map(|n| check_label(&n.path, n.text()?)).transpose()?,
        valid_after: Start::At(table.get("validAfter").map_or(Ok(0), |n| n.time())?),
        valid_until: match table.get("validUntil").map_or(Ok(0), |n| n.time())? {
            0 => End::Never,
            t => End::At(t),
        },
        paymaster: table.get("paymaster").map_or(Ok(Address::ZERO), |n| {
            let text = n.text()?;
            parse_address(text).map_err(|e| n.error(&e.to_string()))
        })?,
        functions: vec![AccountFunction::Execute],
        validator: ValidatorChoice::Auto,
        everything: table.get("everything").map_or(Ok(false), |n| n.boolean())?,
        permissions,
    };
    check_permissions(&policy)?;
    Ok(policy)
}

fn mission_permission(table: &Table<'_>) -> Result<PolicyPermission> {
    table.only(&["target", "valueLimit", "abi", "functionName", "args", "operation"])?;
    let target_node = table.need("target", "a contract's address")?;
    let target = parse_address(target_node.text()?).map_err(|e| target_node.error(&e.to_string()))?;
    let function = match (table.get("abi"), table.get("functionName")) {
        (None, None) => None,
        (Some(abi), Some(name)) => {
            let interface = Interface::from_json(&abi.value.to_string()).map_err(|e| abi.error(&e.to_string()))?;
            Some(interface.function(name.text()?).cloned().map_err(|e| name.error(&e.to_string()))?)
        }
        (Some(node), None) => return Err(node.error("functionName is missing beside it")),
        (None, Some(name)) => Some(
            Function::parse(name.text()?)
                .map_err(|e| name.error(&format!("without abi, a full signature is needed: {e}")))?,
        ),
    };
    let mut when = Vec::new();
    for (position, arg) in table.get("args").map_or(Ok(Vec::new()), |n| n.list())?.iter().enumerate() {
        if arg.value.is_null() {
            continue;
        }
        let pair = arg.table()?;
        pair.only(&["operator", "value"])?;
        when.push(ArgCondition {
            arg: position.to_string(),
            op: operator(&pair.need("operator", "EQUAL, GREATER_THAN, … or 0 to 5")?)?,
            value: pair.need("value", "what the argument is compared with")?.scalar()?,
        });
    }
    if let (false, None, Some(args)) = (when.is_empty(), &function, table.get("args")) {
        return Err(args.error("conditions need abi and functionName"));
    }
    Ok(PolicyPermission {
        target,
        function,
        value_limit: table.get("valueLimit").map_or(Ok(U256::ZERO), |n| n.amount())?,
        operation: table.get("operation").map_or(Ok(Operation::Call), |n| {
            match (n.value.as_u64(), n.value.as_str()) {
                (Some(code), _) => Operation::from_code(code),
                (_, Some(text)) => match text.to_ascii_lowercase().trim_start_matches("operation.") {
                    "call" | "0" => Some(Operation::Call),
                    "delegatecall" | "1" => Some(Operation::DelegateCall),
                    _ => None,
                },
                _ => None,
            }
            .ok_or_else(|| n.error("expected 0 (call) or 1 (delegatecall)"))
        })?,
        limit: Limit::default(),
        when,
        words: Vec::new(),
    })
}

// --- reading values with the path of their field ---------------------------------------------------------------------------

/// How the TOML reader names its own dates when it hands them over as a table.
const TOML_DATE: &str = "$__toml_private_datetime";

/// A value and where it stands, for errors that name the field.
#[derive(Clone)]
struct Node<'a> {
    path: String,
    value: &'a Value,
    /// What amounts are counted in.
    coin: Coin,
}

struct Table<'a> {
    path: String,
    map: &'a Map<String, Value>,
    coin: Coin,
}

impl<'a> Node<'a> {
    fn error(&self, message: &str) -> Error {
        let field = if self.path.is_empty() { "the policy" } else { &self.path };
        Error::usage("policy.field", format!("{field}: {message}"))
    }

    /// The value as found, shortened and safe to print.
    fn shown(&self) -> String {
        clean(&self.value.to_string(), 60)
    }

    fn table(&self) -> Result<Table<'a>> {
        match self.value {
            Value::Object(map) => Ok(Table { path: self.path.clone(), map, coin: self.coin }),
            _ => Err(self.error(&format!("expected a table of named fields, found {}", self.shown()))),
        }
    }

    fn list(&self) -> Result<Vec<Self>> {
        match self.value {
            Value::Array(items) if items.len() > MAX_PERMISSIONS => {
                Err(self.error(&format!("more than {MAX_PERMISSIONS} entries")))
            }
            Value::Array(items) => Ok(items
                .iter()
                .enumerate()
                .map(|(i, value)| Node { path: format!("{}[{i}]", self.path), value, coin: self.coin })
                .collect()),
            _ => Err(self.error(&format!("expected a list, found {}", self.shown()))),
        }
    }

    fn text(&self) -> Result<&'a str> {
        self.value.as_str().ok_or_else(|| self.error(&format!("expected text in quotes, found {}", self.shown())))
    }

    /// Text, a whole number or a boolean, as text. JSON numbers beyond 64 bits would have lost digits: they must be quoted.
    fn scalar(&self) -> Result<String> {
        match self.value {
            Value::String(text) => Ok(text.clone()),
            Value::Bool(b) => Ok(b.to_string()),
            Value::Number(n) if n.is_u64() || n.is_i64() => Ok(n.to_string()),
            Value::Number(_) => {
                Err(self
                    .error("a number with a fraction or beyond 64 bits must be written in quotes, as a whole number"))
            }
            _ => Err(self.error(&format!("expected a value, found {}", self.shown()))),
        }
    }

    fn boolean(&self) -> Result<bool> {
        self.value.as_bool().ok_or_else(|| self.error(&format!("expected true or false, found {}", self.shown())))
    }

    fn integer(&self) -> Result<u64> {
        let parsed = match self.value {
            Value::Number(n) => n.as_u64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        parsed.ok_or_else(|| self.error(&format!("expected a whole number from 0 on, found {}", self.shown())))
    }

    fn amount(&self) -> Result<U256> {
        self.coin.parse(&self.scalar()?).map_err(|e| self.error(&e.to_string()))
    }

    fn duration(&self) -> Result<u64> {
        parse_duration(&self.scalar()?).map_err(|e| self.error(&e.to_string()))
    }

    /// Unix seconds from a number, RFC 3339 text, or TOML's own date.
    fn time(&self) -> Result<u64> {
        let text = match self.value {
            Value::Object(map) => match map.get(TOML_DATE).and_then(Value::as_str) {
                Some(date) => date.to_owned(),
                None => return Err(self.error(&format!("expected a time, found {}", self.shown()))),
            },
            _ => self.scalar()?,
        };
        parse_time(&text).map_err(|e| self.error(&e.to_string()))
    }

    fn start(&self) -> Result<Start> {
        match self.value.as_str() {
            Some("now") => Ok(Start::Now),
            _ => self.time().map(Start::At),
        }
    }

    fn end(&self) -> Result<End> {
        match self.value.as_str() {
            Some("never") => return Ok(End::Never),
            Some(text) => match (parse_duration(text), parse_time(text)) {
                (Ok(0), _) => return Err(self.error("the key would end as it begins; give it a longer time")),
                (Ok(seconds), _) => return Ok(End::After(seconds)),
                (Err(_), Err(TimeError::NotATime(_))) => {
                    return Err(self.error(&format!(
                        "expected a duration such as \"24h\", a time, or \"never\", found {}",
                        self.shown()
                    )));
                }
                _ => {}
            },
            None => {}
        }
        match self.time()? {
            0 => Err(self.error("0 would mean that the key never expires; say \"never\" if you mean that")),
            t => Ok(End::At(t)),
        }
    }
}

impl<'a> Table<'a> {
    fn get(&self, name: &str) -> Option<Node<'a>> {
        self.map.get(name).map(|value| Node { path: self.join(name), value, coin: self.coin })
    }

    fn need(&self, name: &str, what: &str) -> Result<Node<'a>> {
        self.get(name).ok_or_else(|| Error::usage("policy.field", format!("{} is missing: {what}", self.join(name))))
    }

    fn join(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Refuses fields that would otherwise be ignored, naming the one that was probably meant.
    fn only(&self, known: &[&str]) -> Result<()> {
        let Some(unknown) = self.map.keys().find(|k| !known.contains(&k.as_str())) else { return Ok(()) };
        let shown = clean(unknown, 40);
        let nearest = known.iter().min_by_key(|k| strsim::levenshtein(&shown, k)).copied().unwrap_or_default();
        Err(Error::usage("policy.unknown_field", format!("{}: there is no such field", self.join(&shown)))
            .hint(format!("did you mean {nearest:?}? known here: {}", known.join(", "))))
    }
}

#[cfg(test)]
mod tests;

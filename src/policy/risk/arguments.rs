//! R03, R04, R08-R11: what a permission lets its holder put into the arguments, on a named contract and on any.

use alloy::primitives::{Address, U256};

use super::{
    Context, Effect, Finding, Severity,
    known::{self, Kind, Known, Place},
};
use crate::{
    abi::{AbiType, Function},
    policy::{
        condition::WordRange,
        scope::{ANY_TARGET, Condition, Permission},
    },
};

/// A permission with what is known of its function.
pub(super) struct Reading<'a> {
    pub position: usize,
    pub permission: &'a Permission,
    /// As the policy or a known interface names it.
    pub function: Option<&'a Function>,
    pub known: Option<&'static Known>,
    pub any_target: bool,
}

impl<'a> Reading<'a> {
    pub(super) fn new(position: usize, permission: &'a Permission, context: &Context<'a>) -> Self {
        let known = known::function(permission.sig);
        let stated = context.functions.get(position).and_then(Option::as_ref);
        // A name that does not belong to the selector says nothing about it.
        let function = stated.filter(|f| f.selector() == permission.sig).or(known.map(|k| &k.function));
        let any_target = permission.target == ANY_TARGET && context.validator.has_any_target();
        Self { position, permission, function, known, any_target }
    }

    /// How the function is called in sentences.
    pub(super) fn name(&self) -> String {
        self.function.map_or_else(|| self.permission.sig.to_string(), |f| f.name().to_owned())
    }

    pub(super) fn is(&self, kind: Kind) -> bool {
        self.known.is_some_and(|k| k.kind == kind)
    }

    /// The words of one argument that pass all conditions on it.
    fn range(&self, offset: u64) -> WordRange {
        let offset = U256::from(offset);
        let rules = self.permission.rules.iter().filter(|rule| rule.offset == offset);
        WordRange::of(U256::MAX, rules.map(|rule| (rule.condition, rule.param)))
    }

    /// Exactly one value passes (or none does).
    fn is_pinned(&self, place: &Place) -> bool {
        self.range(place.offset).ends().is_none_or(|(low, high)| low == high)
    }

    fn is_pinned_to(&self, place: &Place, address: Address) -> bool {
        let wanted = U256::from_be_bytes(address.into_word().0);
        self.range(place.offset).ends() == Some((wanted, wanted))
    }

    fn is_limited(&self, place: &Place) -> bool {
        self.range(place.offset).ends().is_none_or(|(_, high)| !means_unlimited(high))
    }

    /// Recipients and spenders that the holder chooses.
    pub(super) fn free_recipients(&self) -> Vec<&'static str> {
        let known = self.known.map(|k| &k.to).into_iter().flatten();
        known.filter(|place| !self.is_pinned(place)).map(|place| place.name.as_str()).collect()
    }

    /// The same for a function that is only known by its signature: addresses whose name says so.
    fn free_by_name(&self) -> Vec<String> {
        let Some(function) = self.function.filter(|_| self.known.is_none()) else { return Vec::new() };
        known::words(function)
            .filter(|(name, _, ty)| **ty == AbiType::Address && known::names_a_recipient(name))
            .map(|(name, offset, _)| Place { name, offset })
            .filter(|place| !self.is_pinned(place))
            .map(|place| place.name)
            .collect()
    }

    fn free_amounts(&self) -> bool {
        self.known.is_some_and(|k| k.unlimited || k.amount.iter().any(|place| !self.is_limited(place)))
    }

    /// Whose assets are moved is the holder's choice.
    fn free_from(&self, account: Address) -> Option<&'static Place> {
        self.known.and_then(|k| k.from.as_ref()).filter(|place| !self.is_pinned_to(place, account))
    }

    /// Can turn an operator on.
    fn allows_operator(&self) -> bool {
        let place = self.known.and_then(|k| k.allowed.as_ref());
        place.is_none_or(|place| !self.is_pinned_to(place, Address::ZERO))
    }

    /// It moves assets, or lets somebody move them.
    pub(super) fn is_asset_call(&self) -> bool {
        use Kind::{Allowance, Mint, Operator, Swap, Transfer};
        self.known.is_some_and(|k| matches!(k.kind, Transfer | Allowance | Operator | Mint | Swap))
            || self.function.is_some_and(|f| {
                self.known.is_none()
                    && known::words(f).any(|(name, _, ty)| *ty == AbiType::Address && known::names_a_recipient(&name))
            })
    }

    /// What is free in an asset call, by name.
    pub(super) fn free_arguments(&self, account: Address) -> Free {
        let recipients: Vec<String> =
            self.free_recipients().into_iter().map(str::to_owned).chain(self.free_by_name()).collect();
        Free {
            recipients,
            from: self.free_from(account).is_some(),
            amount: self.is_asset_call() && self.free_amounts(),
            carried: self.carries(),
        }
    }

    /// Calls, routes or orders inside the arguments, in words.
    fn carries(&self) -> Option<String> {
        if let Some(name) = known::contract(self.permission.target).filter(|_| !self.any_target) {
            return (!self.is(Kind::View)).then(|| format!("{name} does whatever the holder's data says"));
        }
        match self.known {
            Some(known) => known.carries.as_ref().map(|what| format!("it carries {what}")),
            None => self
                .function
                .filter(|f| known::by_name(f.name()) == Some(Kind::Carrier))
                .filter(|f| f.inputs().iter().any(|p| carries_bytes(&p.ty)))
                .map(|_| "it carries calls or routes inside its arguments".to_owned()),
        }
    }

    fn is_privileged(&self) -> bool {
        self.is(Kind::Privileged)
            || self.known.is_none() && self.function.is_some_and(|f| known::by_name(f.name()) == Some(Kind::Privileged))
    }

    fn is_privileged_on_any(&self) -> bool {
        let named = self.function.and_then(|f| known::by_name(f.name()));
        self.known.is_some_and(|k| k.privileged_on_any)
            || self.known.is_none() && matches!(named, Some(Kind::Privileged))
            || self.known.is_none()
                && self.function.is_some_and(|f| {
                    let name = f.name().to_lowercase();
                    name.starts_with("execute") || name.starts_with("multicall")
                })
    }

    fn has_conditions(&self) -> bool {
        !self.permission.rules.is_empty()
    }
}

/// What the holder of a key may choose in an asset call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Free {
    pub recipients: Vec<String>,
    pub from: bool,
    pub amount: bool,
    pub carried: Option<String>,
}

/// A bound that tokens and interfaces use for "no bound": the largest value of a type that amounts are kept in.
fn means_unlimited(high: U256) -> bool {
    let all_ones = (high & high.wrapping_add(U256::ONE)).is_zero();
    high >= U256::from(u128::MAX) || all_ones && high.bit_len() >= 96
}

fn carries_bytes(ty: &AbiType) -> bool {
    match ty {
        AbiType::Bytes => true,
        AbiType::Array(item) | AbiType::FixedArray(item, _) => carries_bytes(item),
        AbiType::Tuple(members) => members.iter().any(|m| carries_bytes(&m.ty)),
        _ => false,
    }
}

fn quoted<S: AsRef<str>>(names: &[S]) -> String {
    names.iter().map(|n| format!("`{}`", n.as_ref())).collect::<Vec<_>>().join(" and ")
}

pub(super) fn assess(reading: &Reading<'_>, context: &Context<'_>, findings: &mut Vec<Finding>) {
    let mut add = |id, severity, message: String, advice: String, effect| {
        findings.push(Finding { id, severity, permission: Some(reading.position), message, advice, effect });
    };
    let name = reading.name();
    if reading.is(Kind::View) {
        add(
            "R16",
            Severity::Low,
            format!("{name} only reads: as a permission it allows nothing but spending gas"),
            "leave it out; anybody may read without a key".into(),
            Effect::Warn,
        );
        return;
    }
    privilege(reading, &name, &mut add);

    let free = reading.free_recipients();
    let asset = reading.known.filter(|k| matches!(k.kind, Kind::Transfer | Kind::Allowance | Kind::Operator));
    let wholesale = reading.any_target && asset.is_some() && !free.is_empty();
    if let Some(known) = asset.filter(|_| wholesale) {
        add(
            "R04",
            Severity::High,
            format!(
                "{} on any contract reaches every token the account holds, and the recipient is free",
                known.function.signature()
            ),
            "name the token, or pin the recipient or spender with eq".into(),
            Effect::Block("every token this account holds"),
        );
    }
    if let Some(known) = reading.known {
        lasting_power(reading, known, &name, free.is_empty(), &mut add);
        if !free.is_empty() && !wholesale && known.kind != Kind::Swap {
            free_recipient(reading, known, &name, &free, context, &mut add);
        }
        if known.kind == Kind::Swap && !free.is_empty() {
            add(
                "R11",
                Severity::High,
                format!(
                    "{name}: {} is free, so the holder may let anybody receive the result of a swap",
                    quoted(&free)
                ),
                format!("pin {} to the account with eq", quoted(&free)),
                Effect::Warn,
            );
        }
        if let Some(from) = reading.free_from(context.account) {
            add(
                "R10",
                Severity::High,
                format!(
                    "{name}: `{}` is not pinned to the account, so the holder may use every allowance that others gave the \
                     account",
                    from.name
                ),
                format!("pin `{}` to {} with eq", from.name, context.account),
                Effect::Warn,
            );
        }
    }
    let by_name = reading.free_by_name();
    if !by_name.is_empty() {
        add(
            "R09",
            Severity::Medium,
            format!("{name}: {} is free, and by its name it says who receives or may spend", quoted(&by_name)),
            format!("pin {} with eq", quoted(&by_name)),
            Effect::Warn,
        );
    }
    if let Some(carries) = reading.carries() {
        let conditions =
            if reading.has_conditions() { "; the conditions on other arguments do not reach into it" } else { "" };
        add(
            "R11",
            Severity::High,
            format!("{name}: {carries}: what is inside is not limited{conditions}"),
            "let the key call the inner function itself, or a guard contract that checks what is inside".into(),
            Effect::Warn,
        );
    }
}

type Add<'a> = dyn FnMut(&'static str, Severity, String, String, Effect) + 'a;

/// R03: functions that administer a contract.
fn privilege(reading: &Reading<'_>, name: &str, add: &mut Add<'_>) {
    if reading.any_target && reading.is_privileged_on_any() {
        add(
            "R03",
            Severity::Critical,
            "this function on any contract includes the account, its validators and everything it administers".into(),
            "name the contract".into(),
            Effect::Block("any contract includes my own account"),
        );
    } else if reading.any_target {
        add(
            "R03",
            Severity::High,
            format!(
                "any contract that has {name} may be called, those deployed later included; a selector is four bytes, so \
                 other functions may share it"
            ),
            "name the contract".into(),
            Effect::Warn,
        );
    } else if reading.is_privileged() {
        add(
            "R03",
            Severity::High,
            format!("{name} administers the contract: whoever may call it there decides over its owner, roles or code"),
            "leave it out, or pin every argument with eq".into(),
            Effect::Warn,
        );
    }
}

/// R08: allowances and operators, which outlive the key.
fn lasting_power(reading: &Reading<'_>, known: &Known, name: &str, spender_pinned: bool, add: &mut Add<'_>) {
    if !spender_pinned {
        return;
    }
    match known.kind {
        Kind::Allowance if reading.free_amounts() => add(
            "R08",
            Severity::High,
            format!("{name}: the amount is not limited, and an allowance outlives the key that gave it"),
            "limit the amount with lte".into(),
            Effect::Warn,
        ),
        Kind::Allowance if known.adds_up && reading.permission.execution_rule.runs == 0 => add(
            "R08",
            Severity::High,
            format!("{name}: the amount is limited for each call, and calls add up: an allowance without an end"),
            "limit the runs, or let the key use approve".into(),
            Effect::Warn,
        ),
        Kind::Operator if reading.allows_operator() => add(
            "R08",
            Severity::High,
            format!(
                "{name}: the operator may move everything of this contract that the account holds, and outlives the key"
            ),
            "let the key approve single tokens or amounts instead".into(),
            Effect::Warn,
        ),
        _ => {}
    }
}

/// R09: somebody else may receive or spend.
fn free_recipient(
    reading: &Reading<'_>,
    known: &Known,
    name: &str,
    free: &[&str],
    context: &Context<'_>,
    add: &mut Add<'_>,
) {
    let permission = reading.permission;
    let amounts = match (known.amount.is_empty() && !known.unlimited, reading.free_amounts()) {
        (true, _) => "",
        (_, true) => ", and the amount is not limited",
        (_, false) if permission.execution_rule.runs == 0 => {
            "; the amount is limited for each call only, and the number of calls is not"
        }
        (_, false) => "; only amount and runs are limited",
    };
    let held = context.contracts.get(&permission.target).and_then(|c| c.held).filter(|_| !reading.any_target);
    let (severity, what, effect) = match (known.kind, held) {
        (Kind::Mint, _) => (Severity::Medium, "whom it mints to", Effect::Warn),
        (Kind::Operator, Some(held)) if !held.is_zero() && reading.allows_operator() => {
            (Severity::High, "who may move everything", Effect::Block(ANYBODY))
        }
        (Kind::Operator, _) => (Severity::High, "who may move everything", Effect::Warn),
        (Kind::Allowance, Some(held)) if !held.is_zero() => (Severity::High, "who may spend", Effect::Block(ANYBODY)),
        (Kind::Allowance, _) => (Severity::High, "who may spend", Effect::Warn),
        (_, Some(held)) if !held.is_zero() => (Severity::High, "who receives", Effect::Block(ANYBODY)),
        _ => (Severity::High, "who receives", Effect::Warn),
    };
    let at_risk = match held {
        Some(held) if known.kind != Kind::Mint => {
            format!(" (the account holds {held} of its smallest units now)")
        }
        _ => String::new(),
    };
    add(
        "R09",
        severity,
        format!("{name}: {} is free, so the holder decides {what}{amounts}{at_risk}", quoted(free)),
        format!("pin {} with eq", quoted(free)),
        effect,
    );
}

/// What the owner types for tokens that are there today.
const ANYBODY: &str = "anybody may get these tokens";

/// Whether the only conditions on a word exclude single values: everything else passes.
pub(super) fn only_excludes(conditions: &[(Condition, alloy::primitives::B256)], range: &WordRange) -> bool {
    !conditions.is_empty()
        && conditions.iter().all(|(condition, _)| *condition == Condition::Ne)
        && range.ends().is_some_and(|(low, high)| low != high)
}

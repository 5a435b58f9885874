//! R15, R16: conditions that do not mean what they say, hold always or never, and permissions that others make void.

use std::collections::{BTreeMap, HashMap};

use alloy::primitives::{B256, Selector, U256};

use super::{
    Context, Effect, Finding, Severity,
    arguments::{Reading, only_excludes},
};
use crate::{
    abi::AbiType,
    policy::{
        condition::{ReadBack, WordRange, read_back},
        scope::{Condition, Permission, Scope},
        sentence,
    },
};

/// Permissions on one function that are compared each with each. More of them are said not to be compared.
const COMPARED: usize = 64;

/// The conditions on each word, by the byte where it begins.
type Words = BTreeMap<U256, Vec<(Condition, B256)>>;

fn words(permission: &Permission) -> Words {
    let mut words = Words::new();
    for rule in &permission.rules {
        words.entry(rule.offset).or_default().push((rule.condition, rule.param));
    }
    words
}

/// R15 and the part of R16 that is about one permission.
pub(super) fn assess(reading: &Reading<'_>, findings: &mut Vec<Finding>) {
    let mut add = |id, message: String, advice: &str| {
        findings.push(Finding {
            id,
            severity: Severity::Medium,
            permission: Some(reading.position),
            message,
            advice: advice.into(),
            effect: Effect::Warn,
        });
    };
    let read = read_back(reading.function, &reading.permission.rules);
    let mut unsound = Vec::new();
    for rule in &read {
        if let ReadBack::Word { offset, reason, .. } = rule
            && reason.is_unsound()
        {
            unsound.push(*offset);
            add(
                "R15",
                format!("a condition does not mean what it seems to say: {reason}"),
                "state it anew by argument name, or use a word condition that you have checked",
            );
        }
    }
    let rule = reading.permission.execution_rule;
    if rule.interval > 0 && rule.valid_after == 0 {
        add(
            "R16",
            "it has an interval without a start: the contract refuses every use".into(),
            "give the limit a start, or leave the interval out",
        );
    }
    let types: HashMap<U256, (String, AbiType)> = reading
        .function
        .map(|f| super::known::words(f).map(|(name, at, ty)| (U256::from(at), (name, ty.clone()))).collect())
        .unwrap_or_default();
    for (offset, conditions) in words(reading.permission) {
        if unsound.contains(&offset) {
            continue;
        }
        let ty = types.get(&offset).map(|(_, ty)| ty);
        let what =
            types.get(&offset).map_or_else(|| format!("the word at byte {offset}"), |(name, _)| format!("`{name}`"));
        let range = WordRange::of(largest(ty), conditions.iter().copied());
        if range.is_empty() {
            add(
                "R16",
                format!("no value of {what} meets all conditions on it: the permission can never be used"),
                "correct the conditions, or leave the permission out",
            );
            continue;
        }
        let whole = WordRange::of(largest(ty), []);
        if let Some((condition, param)) = conditions.iter().find(|(c, p)| whole.implies(*c, *p)) {
            add(
                "R16",
                format!(
                    "the condition that {what} {} {} always holds: it limits nothing",
                    condition.name(),
                    U256::from_be_bytes(param.0)
                ),
                "state the limit that was meant, or leave the condition out",
            );
        } else if only_excludes(&conditions, &range) {
            add(
                "R16",
                format!("{what} is only protected by \"not equal\": every other value passes"),
                "say what is allowed (eq, or a range) instead of what is not",
            );
        }
    }
}

/// The largest word that a properly encoded value of a type is.
fn largest(ty: Option<&AbiType>) -> U256 {
    let bits = match ty {
        Some(AbiType::Address) => 160,
        Some(AbiType::Bool) => 1,
        Some(AbiType::Uint(bits)) => *bits,
        _ => 256,
    };
    if bits >= 256 { U256::MAX } else { (U256::ONE << bits) - U256::ONE }
}

/// The part of R16 that is about several permissions: one that repeats another, or allows nothing beyond it.
pub(super) fn compare(scope: &Scope, context: &Context<'_>, findings: &mut Vec<Finding>) {
    let mut groups: BTreeMap<(Selector, u8), Vec<usize>> = BTreeMap::new();
    for (position, permission) in scope.permissions.iter().enumerate() {
        groups.entry((permission.sig, permission.operation.code())).or_default().push(position);
    }
    let mut say = |permission, message| {
        findings.push(Finding {
            id: "R16",
            severity: Severity::Medium,
            permission,
            message,
            advice: "leave out the wider one, or the one that is void".into(),
            effect: Effect::Warn,
        });
    };
    for group in groups.values().filter(|group| group.len() > 1) {
        if group.len() > COMPARED {
            let first = group.first().map_or(0, |p| p + 1);
            let message = format!(
                "{} permissions are about the same function (the first is permission {first}): they were not compared, and \
                 one may make the limits of another void",
                group.len()
            );
            say(None, message);
            continue;
        }
        let each: Vec<(usize, &Permission, Words)> = group
            .iter()
            .filter_map(|p| Some((*p, scope.permissions.get(*p)?)))
            .map(|(p, q)| (p, q, words(q)))
            .collect();
        for (at, one) in each.iter().enumerate() {
            let wider = each.iter().enumerate().find(|(other_at, other)| {
                *other_at != at
                    && covers(other, one, context)
                    // Of two that say the same, the later one is the repetition.
                    && (*other_at < at || !covers(one, other, context))
            });
            let Some((_, (by, other, _))) = wider else { continue };
            let (position, permission, _) = one;
            let void = if permission.execution_rule.is_none() {
                "its limits do not bind".to_owned()
            } else if other.execution_rule.is_none() {
                "neither its limits nor its runs bind".to_owned()
            } else {
                "its runs come on top".to_owned()
            };
            say(Some(*position), format!("it allows nothing that permission {} does not: {void}", by + 1));
        }
    }
}

/// Whether every call that `one` allows passes `other` too, as often.
fn covers(other: &(usize, &Permission, Words), one: &(usize, &Permission, Words), context: &Context<'_>) -> bool {
    let (_, wide, wide_words) = other;
    let (_, narrow, narrow_words) = one;
    let any = wide.target.is_zero() && context.validator.has_any_target();
    (wide.target == narrow.target || any)
        && wide.value_limit >= narrow.value_limit
        && (wide.execution_rule.is_none() || wide.execution_rule == narrow.execution_rule)
        && wide_words.iter().all(|(offset, conditions)| {
            let Some(within) = narrow_words.get(offset) else { return false };
            let range = WordRange::of(U256::MAX, within.iter().copied());
            !range.is_empty() && conditions.iter().all(|(condition, param)| range.implies(*condition, *param))
        })
}

/// Windows that never open.
pub(super) fn window(scope: &Scope, now: u64, findings: &mut Vec<Finding>) {
    let message = if scope.valid_until == 0 {
        return;
    } else if scope.valid_after > scope.valid_until {
        format!(
            "the key starts at {}, after its end at {}: it can never be used",
            sentence::time(scope.valid_after),
            sentence::time(scope.valid_until)
        )
    } else if scope.valid_until < now {
        format!(
            "the key ended at {}, before the chain's time {}",
            sentence::time(scope.valid_until),
            sentence::time(now)
        )
    } else {
        return;
    };
    findings.push(Finding {
        id: "R16",
        severity: Severity::Medium,
        permission: None,
        message,
        advice: "correct valid_after and valid_until".into(),
        effect: Effect::Warn,
    });
}

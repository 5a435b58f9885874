//! What a permission allows, in sentences: as the chain reads it, policy by policy.

use alloy::primitives::{B256, Selector, U256};

use super::{
    account::CallType,
    approval::{Module, SelectorData},
    permission_config::{PermissionConfig, Signer},
    policy::{
        Policy, PolicyFlag,
        call::{ANY_TARGET, CallPolicy, CallPolicyVersion, Condition, Entry, Rule},
        gas::GasPolicy,
        rate_limit::RateLimit,
        timestamp::Timestamp,
    },
};
use crate::{
    abi::{Function, known_functions},
    policy::{
        condition::read_back,
        scope::{Condition as Comparison, Rule as WordRule},
        sentence::{condition, duration, time, value_limit},
    },
};

/// Words of a rule that are shown.
const SHOWN: usize = 4;

/// The whole scope: calls, window, rate, gas, signing. `coin`: what the native coin is called.
pub fn sentences(config: &PermissionConfig, coin: &str) -> Vec<String> {
    let mut said: Vec<String> = config.policies.iter().flat_map(|policy| of_policy(policy, coin)).collect();
    if !config.flag.refuses_operations() && !config.policies.iter().any(limits_calls) {
        said.insert(0, "may do everything that the owner can: no policy limits its calls".to_owned());
    }
    if !config
        .policies
        .iter()
        .any(|policy| matches!(policy, Policy::Timestamp { flag, window } if !flag.skips_operations() && window.valid_until != 0))
    {
        said.push("never expires".to_owned());
    }
    if config.flag.refuses_operations() {
        said.push("makes no operations at all (permission flag 0x0001)".to_owned());
    }
    said.push(signing(config));
    if let Signer::Unknown { address, .. } = &config.signer {
        let name = config.signer.unsupported_name().unwrap_or("a signer that is not known here");
        said.push(format!("whoever signs for it is told by {name} ({address})"));
    }
    said
}

/// Whether a policy says which calls are made. What is not understood never counts as a limit.
pub fn limits_calls(policy: &Policy) -> bool {
    matches!(policy, Policy::Call { flag, .. } if !flag.skips_operations())
}

/// Whether the key can sign messages for the account (ERC-1271), and for whom.
fn signing(config: &PermissionConfig) -> String {
    if config.flag.refuses_signatures() {
        return "signs no messages for the account (permission flag 0x0002)".to_owned();
    }
    let callers = config.policies.iter().find_map(|policy| match policy {
        Policy::SignatureCaller { flag, callers } if !flag.skips_signatures() => Some(&callers.allowed),
        _ => None,
    });
    match callers.map(Vec::as_slice) {
        None => "signs any message for the account (ERC-1271): token permits and orders need no operation".to_owned(),
        Some([]) => "signs no messages for the account (ERC-1271)".to_owned(),
        Some([one]) => format!("signs messages for the account (ERC-1271) that {one} asks for"),
        Some(several) => {
            format!("signs messages for the account (ERC-1271) that one of {} addresses asks for", several.len())
        }
    }
}

fn of_policy(policy: &Policy, coin: &str) -> Vec<String> {
    let mut said = match policy {
        Policy::Call { call, .. } => calls(call, coin),
        Policy::Gas { gas, .. } => vec![of_gas(gas, coin)],
        Policy::RateLimit { limit, .. } => vec![of_rate(limit)],
        // Said once for the whole permission.
        Policy::SignatureCaller { .. } => Vec::new(),
        Policy::Sudo { .. } => vec!["everything is allowed (sudo policy)".to_owned()],
        Policy::Timestamp { window, .. } => of_window(window),
        Policy::Unknown { address, .. } => {
            let name = policy.unsupported_name().map_or_else(String::new, |name| format!(" ({name})"));
            vec![format!("and what the policy {address}{name} allows, which is not known here: it counts as no limit")]
        }
    };
    said.extend(flagged(policy.flag()));
    said
}

fn flagged(flag: PolicyFlag) -> Option<String> {
    let skips = match (flag.skips_operations(), flag.skips_signatures()) {
        (true, true) => "for operations and for signatures",
        (true, false) => "for operations",
        (false, true) => "for signatures",
        (false, false) => return None,
    };
    Some(format!("… but the flag of that policy switches it off {skips}"))
}

fn calls(policy: &CallPolicy, coin: &str) -> Vec<String> {
    match policy.entries() {
        [] => vec!["no call at all: its call policy is empty".to_owned()],
        entries => entries.iter().map(|entry| of_entry(entry, policy.version(), coin)).collect(),
    }
}

/// The function that an entry is for, where a known interface has it.
fn function_of(selector: Selector) -> Option<Function> {
    known_functions(selector).into_iter().next().map(|(_, function)| function)
}

fn of_entry(entry: &Entry, version: CallPolicyVersion, coin: &str) -> String {
    let function = function_of(entry.selector);
    let called = match (entry.selector.is_zero(), &function) {
        (true, _) if version.allows_empty_calls() => {
            "nothing (a plain transfer, or data that begins with four zero bytes)".to_owned()
        }
        (true, _) => "selector 0x00000000 (four zero bytes of data)".to_owned(),
        (false, Some(function)) => function.to_string(),
        (false, None) => format!("the function with selector {}", entry.selector),
    };
    let on = match entry.target {
        ANY_TARGET if version.has_any_target() => "any contract".to_owned(),
        ANY_TARGET => "the zero address (on this version it does not mean any contract)".to_owned(),
        target => target.to_string(),
    };
    let mut said = match entry.call_type {
        CallType::Call => format!("may call {called} on {on}"),
        CallType::DelegateCall => format!(
            "may run {called} of {on} inside the account (delegatecall: that code can do anything the account can)"
        ),
        CallType::Batch | CallType::Unknown(_) => {
            format!("names {called} on {on} with a call type that is never looked up")
        }
    };
    if !entry.rules.is_empty() {
        said.push_str(" when ");
        said.push_str(&rules(function.as_ref(), &entry.rules));
    }
    said.push_str("; ");
    said.push_str(&value_limit(entry.value_limit, coin));
    said
}

/// Rules joined by "and", arguments by name where that is sound.
fn rules(function: Option<&Function>, rules: &[Rule]) -> String {
    let compared: Vec<Option<WordRule>> = rules.iter().map(word_rule).collect();
    let known: Vec<WordRule> = compared.iter().flatten().cloned().collect();
    let mut read = read_back(function, &known).into_iter();
    let words = rules.iter().zip(&compared).map(|(rule, compared)| match compared {
        Some(_) => read.next().map_or_else(String::new, |read| condition(&read)),
        None => other_condition(rule),
    });
    words.collect::<Vec<_>>().join(" and ")
}

/// A rule that compares one word with one other; `None` for the rest.
fn word_rule(rule: &Rule) -> Option<WordRule> {
    let comparison = match rule.condition {
        Condition::Eq => Comparison::Eq,
        Condition::Gt => Comparison::Gt,
        Condition::Lt => Comparison::Lt,
        Condition::Gte => Comparison::Gte,
        Condition::Lte => Comparison::Lte,
        Condition::Ne => Comparison::Ne,
        Condition::OneOf | Condition::SliceEq | Condition::Unknown(_) => return None,
    };
    let [param] = rule.params.as_slice() else { return None };
    Some(WordRule { offset: U256::from(rule.offset), condition: comparison, param: *param })
}

fn other_condition(rule: &Rule) -> String {
    let place = format!("the word at byte {} of the arguments", rule.offset);
    match (rule.condition, rule.params.as_slice()) {
        (Condition::OneOf, []) => format!("{place} is one of no values, which never holds"),
        (Condition::OneOf, values) => {
            let shown: Vec<String> = values.iter().take(SHOWN).map(B256::to_string).collect();
            let more = values.len().saturating_sub(SHOWN);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("{place} is one of {}{more}", shown.join(", "))
        }
        (Condition::SliceEq, [start, length, hash]) => format!(
            "{place} points to bytes whose {} from {} hash to {hash}",
            U256::from_be_bytes(length.0),
            U256::from_be_bytes(start.0)
        ),
        (other, values) => {
            format!(
                "{place} meets condition {} with {} values, which is refused when it is installed",
                other.code(),
                values.len()
            )
        }
    }
}

fn of_gas(gas: &GasPolicy, coin: &str) -> String {
    let payer = match (gas.required_paymaster(), gas.enforce_paymaster) {
        (Some(paymaster), _) => format!("only while paymaster {paymaster} pays"),
        (None, true) => "whoever pays: it asks for a paymaster and names none, which enforces nothing".to_owned(),
        (None, false) if !gas.allowed_paymaster.is_zero() => {
            format!("whoever pays: it names paymaster {} and does not enforce it", gas.allowed_paymaster)
        }
        (None, false) => "whoever pays".to_owned(),
    };
    match gas.allowed {
        0 => "no operation that costs anything: its gas budget is 0".to_owned(),
        u128::MAX => format!("gas without a limit, {payer}"),
        allowed => format!(
            "gas of at most {} in all, counted at the most that each operation could cost, {payer}",
            crate::policy::sentence::amount(U256::from(allowed), coin)
        ),
    }
}

fn of_rate(limit: &RateLimit) -> String {
    match (limit.count, limit.interval) {
        (0, _) => "no operation at all: its rate limit counts 0".to_owned(),
        (count, 0) => format!("at most {}", operations(count)),
        (count, interval) => {
            let from = match limit.start_at {
                0 => "; slots of the past were never used, so all of them can be used at once".to_owned(),
                start => format!(", from {}", time(start)),
            };
            format!("at most {}, one every {}{from}", operations(count), duration(interval))
        }
    }
}

fn operations(count: u64) -> String {
    if count == 1 { "1 operation".to_owned() } else { format!("{count} operations in all") }
}

fn of_window(window: &Timestamp) -> Vec<String> {
    let from = (window.valid_after != 0).then(|| format!("operations from {}", time(window.valid_after)));
    let until = (window.valid_until != 0).then(|| {
        format!("operations until {}; what it signs as messages does not end with that", time(window.valid_until))
    });
    from.into_iter().chain(until).collect()
}

/// What an approval opens and installs beside the key; `None` where it is plain.
pub fn opens(selector_data: &SelectorData) -> Option<String> {
    let direct = |selector: &Selector| {
        format!(
            "the key may call function {selector} of the account itself, where no call policy is asked; with one it can make no operation"
        )
    };
    match selector_data {
        SelectorData::Plain => None,
        SelectorData::Opens(selector) => Some(direct(selector)),
        SelectorData::Installs(Module { selector, target, .. }) if target.is_zero() => Some(direct(selector)),
        SelectorData::Installs(Module { selector, target, .. }) => Some(format!(
            "its first use installs module {target} for function {selector} of the account, which stays when the key is revoked"
        )),
        SelectorData::Unreadable(_) => {
            Some("what it installs beside the key cannot be read: it counts as the worst".to_owned())
        }
    }
}

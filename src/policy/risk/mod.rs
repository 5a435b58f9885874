//! What can go wrong with a scope, as data: which rule of docs/risks.md, how bad, what it means here, and the way out.
//!
//! Pure: what only a chain or our records know (balances, code, other accounts) is passed in as [`Context`]; what is not
//! known is not guessed. Drafts, keys on record and keys that were found on a chain are all assessed by [`assess`].
//!
//! | where | rules |
//! |---|---|
//! | here | R01, R02, R05-R07, R12, R13, R27, R29-R32 |
//! | [`arguments`] | R03, R04, R08-R11: what the holder may put into a call |
//! | [`words`] | R15, R16: conditions that say something else, everything or nothing |
//! | [`repetition`] | R14: how often |
//! | [`checked`] | what was looked at, and held |
//! | protocol, the family's grant.rs | R33-R35: what a grant does to keys that are there; R14 over several approvals |

mod arguments;
mod checked;
pub mod known;
mod repetition;
mod words;

use std::collections::BTreeMap;

use alloy::primitives::{Address, Selector, U256};
use serde::Serialize;

use super::{
    scope::{ANY_PAYMASTER, ANY_TARGET, Operation, Scope},
    sentence,
};
use crate::{
    abi::Function,
    erc4337::v06::ENTRY_POINT,
    protocol::family::{
        Validator,
        account::{AccountFunction, Version, part_of_accounts},
    },
};
use arguments::Reading;
pub use checked::{Check, Checked, checked};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Low,
    Medium,
    High,
    Critical,
}

/// What a finding does to a grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "kind", content = "phrase")]
pub enum Effect {
    /// Shown.
    Warn,
    /// Not signed unless the owner types this phrase.
    Block(&'static str),
    /// Not signed.
    Refuse,
}

/// One thing that can go wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Id in docs/risks.md.
    pub id: &'static str,
    pub severity: Severity,
    /// Position of the permission it is about, from 0.
    pub permission: Option<usize>,
    pub message: String,
    /// The way out.
    pub advice: String,
    pub effect: Effect,
}

/// A rule of docs/risks.md, in the few words that fit behind "this key".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    pub id: &'static str,
    pub words: &'static str,
}

/// The rules about a key, or that an account's finding (`permission: None`) is told by.
pub const RULES: &[Rule] = &[
    Rule { id: "R01", words: "may do everything" },
    Rule { id: "R02", words: "may take the account over" },
    Rule { id: "R03", words: "may administer contracts" },
    Rule { id: "R04", words: "reaches every token of the account" },
    Rule { id: "R05", words: "can spend the account's coins as gas" },
    Rule { id: "R06", words: "can spend the account's coins as gas" },
    Rule { id: "R07", words: "can spend the account's tokens as gas" },
    Rule { id: "R08", words: "can leave an allowance behind" },
    Rule { id: "R09", words: "may choose who receives" },
    Rule { id: "R10", words: "may use allowances of others" },
    Rule { id: "R11", words: "carries calls that nothing limits" },
    Rule { id: "R12", words: "may run foreign code as the account" },
    Rule { id: "R13", words: "lasts too long" },
    Rule { id: "R14", words: "may act any number of times" },
    Rule { id: "R15", words: "has a condition that does not mean what it says" },
    Rule { id: "R16", words: "has conditions that limit nothing" },
    Rule { id: "R27", words: "shares its key" },
    Rule { id: "R29", words: "calls an address without code" },
    Rule { id: "R30", words: "asks for what its validator or Kernel cannot do" },
    Rule { id: "R31", words: "was judged by a clock that is off" },
    Rule { id: "R32", words: "was written with its run limits in another order" },
    Rule { id: "R33", words: "silences other keys" },
    Rule { id: "R34", words: "replaces another scope" },
    Rule { id: "R35", words: "may use more account functions" },
    Rule { id: "R36", words: "acts for an account that somebody else may decide over" },
    Rule { id: "R37", words: "was revoked and can come back" },
];

/// What a rule says, in a few words.
pub fn words_of(id: &str) -> Option<&'static str> {
    RULES.iter().find(|rule| rule.id == id).map(|rule| rule.words)
}

/// What a chain said about a contract that a scope names; `None` where it was not asked or did not answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContractFacts {
    pub has_code: Option<bool>,
    /// Tokens that the account holds there, in their smallest unit.
    pub held: Option<U256>,
    /// What the account allows paymasters to take of these tokens.
    pub allowances: Vec<(Address, U256)>,
}

/// Contracts by address.
pub type Contracts = BTreeMap<Address, ContractFacts>;

/// This computer's time, to hold against the chain's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// Unix seconds.
    pub local: u64,
    /// Blocks come only when somebody sends something, so an old one says nothing (chains for development).
    pub blocks_on_demand: bool,
}

/// Where a scope is to hold.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    pub validator: Validator,
    pub kernel: Option<Version>,
    pub account: Address,
    pub owner: Option<Address>,
    /// Missing where an approval does not say for which key it is.
    pub session_key: Option<Address>,
    /// Account functions the approval opens.
    pub selectors: &'a [Selector],
    /// Of each permission, where known.
    pub functions: &'a [Option<Function>],
    /// Only a part of the scope is known: what a key showed on chain. What is not known counts as the worst case.
    pub partial: bool,
    /// Unix seconds, the chain's where one was asked.
    pub now: u64,
    /// Where a chain was asked for its time just now.
    pub clock: Option<Clock>,
    /// Contracts that the scope names, and its paymaster.
    pub contracts: &'a Contracts,
    /// Wei on the account and wei deposited for it at the EntryPoint, where a chain was asked.
    pub balance: Option<U256>,
    pub deposit: Option<U256>,
    /// Whether the session key's address has code; a contract cannot sign for a session key.
    pub key_has_code: Option<bool>,
    /// Other accounts on record (as the owner knows them) that the same key may act for.
    pub also_on: &'a [String],
    /// What the native coin is called.
    pub coin: &'a str,
    /// The scope was read from an SDK's blob, whose executionRule names do not mean what the chain reads.
    pub permuted_execution_rule: bool,
}

impl Context<'_> {
    fn opens(&self, function: AccountFunction) -> bool {
        self.selectors.contains(&self.validator.family().selector_of(function))
    }
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// All findings of the rules that are known so far, worst first, then in the order of the permissions.
pub fn assess(scope: &Scope, context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    whole_key(scope, context, &mut findings);
    gas(scope, context, &mut findings);
    clock(context, &mut findings);
    words::window(scope, context.now, &mut findings);
    let readings = readings(scope, context);
    for reading in &readings {
        one_permission(reading, context, &mut findings);
        arguments::assess(reading, context, &mut findings);
        words::assess(reading, &mut findings);
    }
    words::compare(scope, context, &mut findings);
    repetition::assess(scope, &readings, context, &mut findings);
    without_code(scope, &readings, context, &mut findings);
    findings.sort_by_key(|f| (std::cmp::Reverse(f.severity), f.permission, f.id));
    findings
}

fn readings<'a>(scope: &'a Scope, context: &Context<'a>) -> Vec<Reading<'a>> {
    scope.permissions.iter().enumerate().map(|(i, p)| Reading::new(i, p, context)).collect()
}

/// R29 for a target or sponsor without code, at the first permission that names it.
fn without_code(scope: &Scope, readings: &[Reading<'_>], context: &Context<'_>, findings: &mut Vec<Finding>) {
    let absent = |address: Address| context.contracts.get(&address).is_some_and(|c| c.has_code == Some(false));
    let mut said = std::collections::BTreeSet::new();
    let calls = readings.iter().filter(|r| !r.any_target && !r.permission.sig.is_zero());
    for reading in calls.filter(|r| absent(r.permission.target)) {
        if said.insert(reading.permission.target) {
            findings.push(no_code(Some(reading.position), reading.permission.target));
        }
    }
    if absent(scope.paymaster) && scope.paymaster != ANY_PAYMASTER && !scope.paymaster.is_zero() {
        findings.push(Finding {
            id: "R29",
            severity: Severity::Medium,
            permission: None,
            message: format!(
                "the paymaster {} has no code on this chain, so no operation of the key can be paid for",
                scope.paymaster
            ),
            advice: "check the address and the network".into(),
            effect: Effect::Warn,
        });
    }
}

/// R29: a call with data to an address that has no code.
pub fn no_code(permission: Option<usize>, to: Address) -> Finding {
    Finding {
        id: "R29",
        severity: Severity::Medium,
        permission,
        message: format!("{to} has no code on this chain: a call to it succeeds, does nothing and costs gas"),
        advice: "check the address and the network; whoever deploys code there later decides what the call does".into(),
        effect: Effect::Warn,
    }
}

/// R31: by whose time a window is read. The chain decides; a node that is behind makes a window of the past.
fn clock(context: &Context<'_>, findings: &mut Vec<Finding>) {
    let Some(clock) = context.clock else { return };
    let chain = context.now;
    let (behind, ahead) = (clock.local.saturating_sub(chain), chain.saturating_sub(clock.local));
    let off = behind.max(ahead);
    if off <= MINUTE || clock.blocks_on_demand && behind > 0 {
        return;
    }
    let by = sentence::rough_duration(off);
    let message = if behind > 0 {
        format!(
            "the node's newest block is {by} older than this computer's time: the node is behind, or the clock is off. The              key's window is counted from the block's time, {}",
            sentence::time(chain)
        )
    } else {
        format!("the node's newest block is {by} ahead of this computer's time: one of the two clocks is off")
    };
    findings.push(Finding {
        id: "R31",
        severity: Severity::Medium,
        permission: None,
        message,
        advice: "check this computer's clock and whether the node is in sync; ask another node".into(),
        effect: if off > HOUR && !clock.blocks_on_demand {
            Effect::Block("the chain's clock is right")
        } else {
            Effect::Warn
        },
    });
}

fn whole_key(scope: &Scope, context: &Context<'_>, findings: &mut Vec<Finding>) {
    let mut add = |id, severity, message: String, advice: &str, effect| {
        findings.push(Finding { id, severity, permission: None, message, advice: advice.into(), effect });
    };
    if context.partial {
        let known = match scope.permissions.len() {
            0 => "none of what it may call is known".to_owned(),
            1 => "only one permission is known".to_owned(),
            n => format!("only {n} permissions are known"),
        };
        add(
            "R01",
            Severity::Critical,
            format!(
                "{known}, from what the key showed on chain: the rest counts as the worst case, that it may do everything"
            ),
            "ask its holder for the whole scope, or revoke it",
            Effect::Warn,
        );
    } else if scope.permissions.is_empty() {
        let long = scope.valid_until == 0 || scope.valid_until.saturating_sub(context.now) > DAY;
        add(
            "R01",
            Severity::Critical,
            "this key may do everything the owner may: move all assets, change the owner".into(),
            if long {
                "list permissions; a key without any may last at most 24 hours"
            } else {
                "list permissions instead"
            },
            if long { Effect::Refuse } else { Effect::Block("this key can do everything") },
        );
    }
    if scope.valid_until == 0 {
        add(
            "R13",
            Severity::High,
            "the key never expires".into(),
            "give it an end, for example valid_until = \"7d\"",
            Effect::Warn,
        );
    } else if scope.valid_until.saturating_sub(context.now) > 30 * DAY {
        let left = sentence::rough_duration(scope.valid_until.saturating_sub(context.now));
        add(
            "R13",
            Severity::High,
            format!("the key lasts for {left}, more than 30 days"),
            "give it an earlier end",
            Effect::Warn,
        );
    }
    if context.session_key.is_some() && context.owner == context.session_key {
        add(
            "R27",
            Severity::Medium,
            "the session key is the owner's own key".into(),
            "use a fresh key",
            Effect::Refuse,
        );
    }
    if context.session_key == Some(Address::ZERO) {
        add(
            "R27",
            Severity::Medium,
            "the session key is the zero address, which nobody can sign for".into(),
            "use a fresh key",
            Effect::Refuse,
        );
    }
    if context.key_has_code == Some(true) {
        add(
            "R27",
            Severity::Medium,
            "the session key's address has code: a contract cannot sign as a session key".into(),
            "use the address of a plain key",
            Effect::Refuse,
        );
    }
    if !context.also_on.is_empty() {
        add(
            "R27",
            Severity::Medium,
            format!("the same key may act for {} too: losing it loses both", context.also_on.join(", ")),
            "use one key for one account",
            Effect::Warn,
        );
    }
    let opens_delegate = context.opens(AccountFunction::ExecuteDelegateCall);
    if opens_delegate && !context.validator.knows_operation() {
        add(
            "R30",
            Severity::Medium,
            format!("validator {} does not know executeDelegateCall: every use would be refused", context.validator),
            "leave executeDelegateCall out, or grant on G2",
            Effect::Refuse,
        );
    }
    match context.kernel {
        Some(kernel) if !kernel.is_safe_for_session_keys() => add(
            "R30",
            Severity::Critical,
            format!("on Kernel {kernel} any session key can delegatecall, and so take the account over"),
            "upgrade the account to Kernel 0.2.4 first",
            Effect::Refuse,
        ),
        Some(kernel) if opens_delegate && !kernel.has_delegate_call() => add(
            "R30",
            Severity::Medium,
            format!("on Kernel {kernel} executeDelegateCall is mined with success and does nothing"),
            "leave executeDelegateCall out, or upgrade the account to Kernel 0.2.3 or later",
            Effect::Refuse,
        ),
        _ => {}
    }
    if context.permuted_execution_rule {
        add(
            "R32",
            Severity::High,
            "the SDK that wrote this approval puts the run limits in another order than the contract reads: what is shown \
             here is what the chain enforces, not what the SDK's user typed"
                .into(),
            "check start, interval and runs of each permission; grant anew if they are not what was meant",
            Effect::Warn,
        );
    }
}

/// R07: tokens that a paymaster may take from the account for gas, as far as the scope names both.
fn token_gas(scope: &Scope, context: &Context<'_>, findings: &mut Vec<Finding>) {
    let unrestricted = scope.paymaster.is_zero() || scope.paymaster == ANY_PAYMASTER;
    let mut paid = Vec::new();
    for (token, facts) in context.contracts {
        for (paymaster, amount) in &facts.allowances {
            let may_pay = if unrestricted {
                known::token_paymasters().contains(paymaster)
            } else {
                *paymaster == scope.paymaster
            };
            if may_pay && !amount.is_zero() {
                paid.push(format!("{amount} of the smallest units of {token} to {paymaster}"));
            }
        }
    }
    if !paid.is_empty() {
        findings.push(Finding {
            id: "R07",
            severity: Severity::Medium,
            permission: None,
            message: format!(
                "the account allows a paymaster to take tokens for gas, and no limit of the key holds for gas: {}",
                paid.join("; ")
            ),
            advice: "set that allowance to zero, or pin a paymaster that takes no tokens".into(),
            effect: Effect::Warn,
        });
    }
}

fn gas(scope: &Scope, context: &Context<'_>, findings: &mut Vec<Finding>) {
    token_gas(scope, context, findings);
    if scope.paymaster != Address::ZERO && scope.paymaster != ANY_PAYMASTER {
        return;
    }
    let at_risk = match (context.balance, context.deposit) {
        (Some(balance), deposit) => {
            format!("now {}", sentence::amount(balance.saturating_add(deposit.unwrap_or_default()), context.coin))
        }
        _ => "how much is not known without a chain".into(),
    };
    let advice = "name one trusted paymaster, or keep little on the account";
    let (id, message) = if scope.paymaster == ANY_PAYMASTER {
        (
            "R06",
            format!(
                "\"any sponsor\" protects nothing: no deployed validator enforces it (20 zero bytes pass), so the holder can \
                 spend all {} of the account as gas, whatever the value limit says ({at_risk})",
                context.coin
            ),
        )
    } else {
        (
            "R05",
            format!(
                "whoever holds this key can spend all {} of the account as gas, whatever the value limit says ({at_risk})",
                context.coin
            ),
        )
    };
    findings.push(Finding {
        id,
        severity: Severity::Critical,
        permission: None,
        message,
        advice: advice.into(),
        effect: Effect::Warn,
    });
}

fn one_permission(reading: &Reading<'_>, context: &Context<'_>, findings: &mut Vec<Finding>) {
    let permission = reading.permission;
    let mut add = |id, severity, message: String, advice: &str, effect| {
        let permission = Some(reading.position);
        findings.push(Finding { id, severity, permission, message, advice: advice.into(), effect });
    };
    if let Some(what) = privileged_target(permission.target, context).filter(|_| !reading.any_target) {
        add(
            "R02",
            Severity::Critical,
            format!("the target is {what}: a key that may call it can take the account over"),
            "leave this contract out",
            Effect::Block("this key can take over the account"),
        );
    }
    if permission.target == ANY_TARGET && !context.validator.has_any_target() {
        add(
            "R30",
            Severity::Medium,
            "on validator G1 target 0x0 is the zero address itself, not \"any contract\"".into(),
            "name the contract, or grant on G2",
            Effect::Refuse,
        );
    }
    if permission.operation == Operation::DelegateCall && !context.validator.knows_operation() {
        add(
            "R30",
            Severity::Medium,
            format!(
                "validator {} does not know delegatecall: the chain would hold this permission as one for ordinary calls",
                context.validator
            ),
            "use an ordinary call, or grant on G2",
            Effect::Refuse,
        );
    }
    if permission.operation == Operation::DelegateCall {
        add(
            "R12",
            Severity::Critical,
            "a delegatecall runs the target's code as the account itself: it can replace the owner".into(),
            "use an ordinary call",
            Effect::Block("delegatecall can replace the owner"),
        );
    }
}

fn privileged_target(target: Address, context: &Context<'_>) -> Option<String> {
    Some(match target {
        t if t == context.account => "the account itself".into(),
        ENTRY_POINT => "the EntryPoint".into(),
        t => return part_of_accounts(t),
    })
}

#[cfg(test)]
mod tests;

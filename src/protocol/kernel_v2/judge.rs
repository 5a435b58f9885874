//! Would the chain accept this call from this session key, and if not, which rule says no?
//!
//! [`judge`] answers as `EntryPoint.handleOps` would for permissions that are shown in a given choice, in the order in which
//! the deployed contracts check (docs/kernel-v2.md#order-of-checks), so the reason is theirs too. [`find`] makes the choice.
//! Signatures and proofs are taken as right: they are ours to make. What only the chain knows comes in as [`Facts`].
//!
//! `executeBatch` walks its calls one by one; run counters and schedules move inside one batch.

use std::collections::BTreeMap;

use alloy::primitives::{Address, B256, Bytes, Selector, U256};
use serde::{Deserialize, Serialize};

use super::{account::selector, generation::Generation};
use crate::{
    policy::{
        scope::{ANY_PAYMASTER, ANY_TARGET, Condition, MAX_UINT48, Operation, Permission, Scope},
        sentence,
    },
    protocol::{AccountCall, Call},
};

/// The session key being judged, as its approval describes it.
#[derive(Debug, Clone, Copy)]
pub struct Key<'a> {
    pub generation: Generation,
    pub scope: &'a Scope,
    /// The nonce in the approval's enable data.
    pub approval_nonce: u128,
    /// The account function the approval opens; only read in [`Path::Enable`].
    pub selector: Selector,
}

/// How the operation will be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// Mode 1: the key is enabled on chain.
    Use,
    /// Mode 2: the operation carries the approval and enables the key.
    Enable,
}

/// Where the account sends session-key operations of the call's selector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Routing {
    /// The slot is empty: no approval ever opened this function.
    Nowhere,
    /// To the validator this key was approved for.
    Here,
    /// To another validator, which does not know this key.
    Elsewhere,
}

/// A time window in unix seconds, both ends inclusive; `until` 0 = no end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    pub after: u64,
    pub until: u64,
}

impl Window {
    fn intersect(self, other: Self) -> Self {
        Self { after: self.after.max(other.after), until: end(self.until).min(end(other.until)) }
    }
}

fn end(until: u64) -> u64 {
    if until == 0 { MAX_UINT48 } else { until }
}

/// What a permission has been used for so far (`executionStatus` on chain, per approval nonce and permission index).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionStatus {
    /// Where the schedule stands, unix seconds; 0 = never used.
    pub valid_after: u64,
    pub runs: u64,
}

/// What the chain knows at the moment of the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Block time, unix seconds.
    pub timestamp: u64,
    pub last_nonce: u128,
    pub invalid_nonce: u128,
    /// Whether `sessionData(key, account)` holds this very approval.
    pub enabled: bool,
    /// For the selector of the call.
    pub routing: Routing,
    /// Mode 1: the window of the routing slot. Mode 2: the 12 bytes the approval carries.
    pub plugin_window: Window,
    /// By `Permission.index`; missing = never used.
    pub execution_status: BTreeMap<u32, ExecutionStatus>,
    /// The account's disabled mode, a bit mask; all ones is the panic state.
    pub disabled_mode: u32,
    /// As it will be in the UserOperation.
    pub paymaster_and_data: Bytes,
}

/// The chain would run the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Positions of the permissions to show, one an inner call; empty for a key without permissions.
    pub shown: Vec<usize>,
    /// When the answer holds, unix seconds; `until` is 2^48-1 for "never expires".
    pub window: Window,
}

/// The chain would refuse the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    pub reason: Reason,
    /// Which inner call, counted from 0, when the reason is about one.
    pub call: Option<usize>,
    /// Which permission (position in the list) was held against it.
    pub permission: Option<usize>,
}

/// Why the chain refuses. Amounts in wei, times in unix seconds, data in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// paymasterAndData of 1 to 19 bytes: the EntryPoint does not get to the account.
    PaymasterDataTooShort {
        bytes: usize,
    },
    /// The owner has switched session keys off for the whole account.
    Paused,
    /// Account calldata shorter than a selector.
    CalldataTooShort {
        bytes: usize,
    },
    /// Account calldata that the account cannot read as the function it names. (Where only the data of a single call ends past
    /// the calldata, the validator may look at the words behind it and pass; the account reverts on it all the same.)
    CalldataMalformed,
    /// The approval was signed for turn `approval`; the account is at turn `next`.
    NotItsTurn {
        approval: u128,
        next: Option<u128>,
    },
    /// The approval opens another account function than the one called.
    OtherFunctionApproved {
        approved: Selector,
        called: Selector,
    },
    /// The account routes this function to no session key validator.
    NotRouted,
    /// The account routes this function to another validator.
    RoutedElsewhere,
    /// The chain does not hold this approval (never enabled, disabled, or replaced), or its nonce was invalidated.
    NotEnabled,
    /// "Some paymaster" is required and there is none.
    PaymasterMissing,
    PaymasterMismatch {
        expected: Address,
        actual: Option<Address>,
    },
    /// A scoped key may use only execute, executeBatch and, where the validator knows it, executeDelegateCall.
    AccountFunction {
        called: Selector,
    },
    /// Fewer permissions are shown than the batch has calls.
    NothingShown,
    /// A position that the scope does not have.
    NoSuchPermission,
    Target {
        expected: Address,
        actual: Address,
    },
    Value {
        limit: U256,
        actual: U256,
    },
    /// executeDelegateCall needs a permission for delegatecall.
    Operation,
    /// The inner call has fewer than four bytes of data.
    DataTooShort {
        bytes: usize,
    },
    Selector {
        expected: Selector,
        actual: Selector,
    },
    /// A rule says no. `rule` is its position in the permission.
    Rule {
        rule: usize,
        offset: U256,
        condition: Condition,
        expected: B256,
        actual: B256,
    },
    /// A rule looks past the end of the data.
    RuleBeyondData {
        rule: usize,
        offset: U256,
        bytes: usize,
    },
    /// An interval without a start.
    InvalidExecutionRule,
    /// The schedule ran past the largest time the contract can hold.
    ScheduleOverflow,
    RunsUsedUp {
        runs: u64,
    },
    NotYet {
        valid_after: u64,
        now: u64,
        interval: bool,
    },
    Expired {
        valid_until: u64,
        now: u64,
    },
}

/// How the chain shows a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainAnswer {
    /// AA22, AA23, AA24 or AA93.
    pub code: &'static str,
    /// The text behind `SessionKeyValidator: `, where the contract gives one.
    pub text: Option<&'static str>,
}

impl Reason {
    /// What a bundler reports for this refusal.
    pub fn on_chain(&self) -> ChainAnswer {
        let (code, text) = match self {
            Self::PaymasterDataTooShort { .. } => ("AA93", None),
            Self::Paused
            | Self::CalldataTooShort { .. }
            | Self::CalldataMalformed
            | Self::NotRouted
            | Self::NothingShown
            | Self::NoSuchPermission
            | Self::PaymasterMismatch { actual: None, .. }
            | Self::DataTooShort { .. }
            | Self::RuleBeyondData { .. }
            | Self::ScheduleOverflow
            | Self::NotItsTurn { next: None, .. } => ("AA23", None),
            Self::NotItsTurn { .. } => ("AA23", Some("invalid nonce")),
            Self::RoutedElsewhere | Self::NotEnabled => ("AA23", Some("session key not enabled")),
            Self::PaymasterMissing => ("AA23", Some("paymaster not set")),
            Self::PaymasterMismatch { .. } => ("AA23", Some("paymaster mismatch")),
            Self::OtherFunctionApproved { .. } | Self::AccountFunction { .. } => ("AA24", None),
            Self::Target { .. } => ("AA23", Some("target mismatch")),
            Self::Value { .. } => ("AA23", Some("value limit exceeded")),
            Self::Operation => ("AA23", Some("operation mismatch")),
            Self::Selector { .. } | Self::Rule { .. } => ("AA23", Some("permission verification failed")),
            Self::InvalidExecutionRule => ("AA23", Some("invalid execution rule")),
            Self::RunsUsedUp { .. } => ("AA23", Some("runs exceeded")),
            Self::NotYet { .. } | Self::Expired { .. } => ("AA22", None),
        };
        ChainAnswer { code, text }
    }

    /// The code that scripts see (docs/errors.md).
    pub fn code(&self) -> &'static str {
        match self {
            Self::PaymasterDataTooShort { .. } | Self::PaymasterMissing | Self::PaymasterMismatch { .. } => {
                "denied.paymaster"
            }
            Self::Paused | Self::NotRouted | Self::RoutedElsewhere | Self::NotEnabled => "denied.not_enabled",
            Self::NotItsTurn { .. } => "denied.nonce",
            Self::CalldataTooShort { .. }
            | Self::CalldataMalformed
            | Self::OtherFunctionApproved { .. }
            | Self::AccountFunction { .. }
            | Self::DataTooShort { .. }
            | Self::Selector { .. } => "denied.selector",
            Self::NothingShown | Self::NoSuchPermission | Self::Target { .. } => "denied.target",
            Self::Value { .. } => "denied.value",
            Self::Operation => "denied.operation",
            Self::Rule { .. } | Self::RuleBeyondData { .. } => "denied.rule",
            Self::InvalidExecutionRule | Self::ScheduleOverflow | Self::NotYet { interval: true, .. } => {
                "denied.interval"
            }
            Self::RunsUsedUp { .. } => "denied.runs",
            Self::NotYet { .. } => "denied.not_yet",
            Self::Expired { .. } => "denied.expired",
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::PaymasterDataTooShort { bytes } => {
                write!(f, "paymasterAndData has {bytes} bytes; it must be empty or begin with an address")
            }
            Self::Paused => f.write_str("session keys are paused on this account (the owner's panic switch is on)"),
            Self::CalldataTooShort { bytes } => write!(f, "the account call has {bytes} bytes and names no function"),
            Self::CalldataMalformed => f.write_str("the account call cannot be read as the function it names"),
            Self::NotItsTurn { approval, next: Some(next) } if approval < next => {
                write!(
                    f,
                    "nonce {approval} is already used: the account's next nonce is {next}, so this approval can never be enabled"
                )
            }
            Self::NotItsTurn { approval, next: Some(next) } => {
                write!(f, "this approval has nonce {approval}, and nonce {next} has to be used first")
            }
            Self::NotItsTurn { next: None, .. } => {
                f.write_str("the account can enable no approval any more (its nonce is at the end)")
            }
            Self::OtherFunctionApproved { approved, called } => write!(
                f,
                "the approval opens {} and this is {}",
                account_function(*approved),
                account_function(*called)
            ),
            Self::NotRouted => f.write_str("the account sends this function to no session key validator yet"),
            Self::RoutedElsewhere => {
                f.write_str("the account sends this function to another validator, which does not know this key")
            }
            Self::NotEnabled => {
                f.write_str("this approval is not enabled on chain: never enabled, revoked, or replaced")
            }
            Self::PaymasterMissing => f.write_str("some paymaster must pay for the gas, and there is none"),
            Self::PaymasterMismatch { expected, actual: Some(actual) } => {
                write!(f, "gas must be paid by {expected}, and would be paid by {actual}")
            }
            Self::PaymasterMismatch { expected, actual: None } => {
                write!(f, "gas must be paid by {expected}, and would be paid by the account")
            }
            Self::AccountFunction { called } => {
                write!(f, "a key with permissions may not use {} of the account", account_function(*called))
            }
            Self::NothingShown => f.write_str("no permission allows this call"),
            Self::NoSuchPermission => f.write_str("the scope has no such permission"),
            Self::Target { expected, actual } => write!(f, "the contract must be {expected}, and is {actual}"),
            Self::Value { limit, actual } => {
                write!(f, "at most {limit} wei may go with the call, and it carries {actual} wei")
            }
            Self::Operation => f.write_str("it allows an ordinary call, and this is a delegatecall"),
            Self::DataTooShort { bytes } => {
                write!(f, "the call has {bytes} bytes of data and names no function; the contract needs four at least")
            }
            Self::Selector { expected, actual } => write!(f, "the function must be {expected}, and is {actual}"),
            Self::Rule { expected, actual, condition, .. } => {
                write!(f, "expected {} {expected}, found {actual}", condition.name())
            }
            Self::RuleBeyondData { offset, bytes, .. } => {
                write!(f, "the condition looks at byte {offset} of the arguments, beyond the {bytes} bytes of the call")
            }
            Self::InvalidExecutionRule => f.write_str("it has an interval without a start, so it can never be used"),
            Self::ScheduleOverflow => f.write_str("its schedule has run past the largest time there is"),
            Self::RunsUsedUp { runs } => write!(f, "all {runs} runs are used up"),
            Self::NotYet { valid_after, now, interval: true } => {
                write!(f, "the next run is at {}, and it is {} now", sentence::time(*valid_after), sentence::time(*now))
            }
            Self::NotYet { valid_after, now, .. } => {
                write!(f, "the key starts at {}, and it is {} now", sentence::time(*valid_after), sentence::time(*now))
            }
            Self::Expired { valid_until, now } => {
                write!(f, "the key ended at {}, and it is {} now", sentence::time(*valid_until), sentence::time(*now))
            }
        }
    }
}

fn account_function(called: Selector) -> String {
    selector::name(called).map_or_else(|| called.to_string(), str::to_owned)
}

/// The chain's answer when exactly `shown` permissions (positions, one an inner call) come with the operation.
pub fn judge(
    key: &Key<'_>,
    path: Path,
    facts: &Facts,
    call: &AccountCall,
    shown: &[usize],
) -> Result<Accepted, Denied> {
    let session = before_permissions(key, path, facts, call)?;
    let scoped = match scoped_call(key, call)? {
        None => {
            check_approved(key, path, call)?;
            return within(session, facts.timestamp, None).map(|window| Accepted { shown: Vec::new(), window });
        }
        Some(scoped) => scoped,
    };
    let mut counters = Counters::new(facts);
    let mut window = session;
    let mut on_schedule = None;
    for (i, inner) in scoped.calls.iter().enumerate() {
        let deny = |reason, permission| Denied { reason, call: Some(i), permission };
        let position = *shown.get(i).ok_or_else(|| deny(Reason::NothingShown, None))?;
        let permission =
            key.scope.permissions.get(position).ok_or_else(|| deny(Reason::NoSuchPermission, Some(position)))?;
        check_call(key.generation, permission, inner, scoped.delegate)
            .and_then(|()| counters.use_once(permission))
            .map(|after| {
                if after > window.after {
                    on_schedule = (permission.execution_rule.interval > 0).then_some((i, position));
                    window.after = after;
                }
            })
            .map_err(|reason| deny(reason, Some(position)))?;
    }
    check_approved(key, path, call)?;
    let window = within(window, facts.timestamp, on_schedule)?;
    Ok(Accepted { shown: shown.to_vec(), window })
}

/// The choice of permissions that makes the chain accept the call, if there is one; else the refusal of the permission
/// that got furthest (target, selector, operation, value, rules, runs, window).
pub fn find(key: &Key<'_>, path: Path, facts: &Facts, call: &AccountCall) -> Result<Accepted, Denied> {
    before_permissions(key, path, facts, call)?;
    check_approved(key, path, call)?;
    let Some(scoped) = scoped_call(key, call)? else {
        return judge(key, path, facts, call, &[]);
    };
    let mut candidates = Vec::with_capacity(scoped.calls.len());
    for (i, inner) in scoped.calls.iter().enumerate() {
        let alone = alone(inner, scoped.delegate);
        let (accepting, denials): (Vec<usize>, Vec<Denied>) = try_each(key, path, facts, &alone);
        if accepting.is_empty() {
            return Err(closest(key, &scoped, inner, denials)
                .map(|d| Denied { call: Some(i), ..d })
                .unwrap_or(Denied { reason: Reason::NothingShown, call: Some(i), permission: None }));
        }
        candidates.push(accepting);
    }
    match assign(key, facts, &candidates) {
        Some(shown) => judge(key, path, facts, call, &shown),
        // Each call passes alone, but they use up each other's runs: show what the first choice runs into.
        None => {
            let first: Vec<usize> = candidates.iter().filter_map(|c| c.first().copied()).collect();
            judge(key, path, facts, call, &first)
        }
    }
}

/// Everything the account and the validator check before they look at a permission. Answers the window so far.
fn before_permissions(key: &Key<'_>, path: Path, facts: &Facts, call: &AccountCall) -> Result<Window, Denied> {
    let deny = |reason| Err(Denied { reason, call: None, permission: None });
    let paymaster_bytes = facts.paymaster_and_data.len();
    if (1..20).contains(&paymaster_bytes) {
        return deny(Reason::PaymasterDataTooShort { bytes: paymaster_bytes });
    }
    let mode_bit = match path {
        Path::Use => 1,
        Path::Enable => 2,
    };
    if facts.disabled_mode & mode_bit != 0 {
        return deny(Reason::Paused);
    }
    if call.selector().is_none() {
        return deny(Reason::CalldataTooShort { bytes: call.encode().len() });
    }
    match path {
        Path::Enable => {
            let next = facts.last_nonce.checked_add(1);
            if next != Some(key.approval_nonce) {
                return deny(Reason::NotItsTurn { approval: key.approval_nonce, next });
            }
        }
        Path::Use => match facts.routing {
            Routing::Nowhere => return deny(Reason::NotRouted),
            Routing::Elsewhere => return deny(Reason::RoutedElsewhere),
            Routing::Here if !facts.enabled => return deny(Reason::NotEnabled),
            Routing::Here => {}
        },
    }
    if key.approval_nonce <= facts.invalid_nonce {
        return deny(Reason::NotEnabled);
    }
    check_paymaster(key.scope.paymaster, &facts.paymaster_and_data).map_err(|reason| Denied {
        reason,
        call: None,
        permission: None,
    })?;
    let session = Window { after: key.scope.valid_after, until: key.scope.valid_until };
    Ok(session.intersect(facts.plugin_window))
}

/// The owner's signature covers the account function. The chain answers a wrong signature only after all permission checks.
fn check_approved(key: &Key<'_>, path: Path, call: &AccountCall) -> Result<(), Denied> {
    match call.selector() {
        Some(called) if path == Path::Enable && called != key.selector => {
            let reason = Reason::OtherFunctionApproved { approved: key.selector, called };
            Err(Denied { reason, call: None, permission: None })
        }
        _ => Ok(()),
    }
}

fn check_paymaster(required: Address, paymaster_and_data: &[u8]) -> Result<(), Reason> {
    let actual = paymaster_and_data.get(..20).map(Address::from_slice);
    match required {
        Address::ZERO => Ok(()),
        // Any 20 bytes will do, zeros included (docs/kernel-v2.md#validator-generations).
        ANY_PAYMASTER if actual.is_none() => Err(Reason::PaymasterMissing),
        ANY_PAYMASTER => Ok(()),
        expected if actual == Some(expected) => Ok(()),
        expected => Err(Reason::PaymasterMismatch { expected, actual }),
    }
}

/// The inner calls that permissions are checked against.
struct ScopedCall {
    calls: Vec<Call>,
    delegate: bool,
}

/// `None` for a key without permissions, which may do anything.
fn scoped_call(key: &Key<'_>, call: &AccountCall) -> Result<Option<ScopedCall>, Denied> {
    if key.scope.permissions.is_empty() {
        return Ok(None);
    }
    let delegate = match call {
        AccountCall::Execute(_) | AccountCall::ExecuteBatch(_) => false,
        AccountCall::ExecuteDelegateCall { .. } if key.generation.knows_operation() => true,
        AccountCall::ExecuteDelegateCall { .. } | AccountCall::Other(_) => {
            let called = call.selector().unwrap_or_default();
            let readable = !matches!(called, selector::EXECUTE | selector::EXECUTE_BATCH)
                && (called != selector::EXECUTE_DELEGATE_CALL || !key.generation.knows_operation());
            let reason = if readable { Reason::AccountFunction { called } } else { Reason::CalldataMalformed };
            return Err(Denied { reason, call: None, permission: None });
        }
    };
    Ok(Some(ScopedCall { calls: call.calls(), delegate }))
}

fn check_call(generation: Generation, permission: &Permission, call: &Call, delegate: bool) -> Result<(), Reason> {
    let any_target = generation.has_any_target() && permission.target == ANY_TARGET;
    if !any_target && permission.target != call.to {
        return Err(Reason::Target { expected: permission.target, actual: call.to });
    }
    if delegate {
        if permission.operation != Operation::DelegateCall {
            return Err(Reason::Operation);
        }
    } else if call.value > permission.value_limit {
        return Err(Reason::Value { limit: permission.value_limit, actual: call.value });
    }
    check_data(generation, permission, &call.data)
}

fn check_data(generation: Generation, permission: &Permission, data: &[u8]) -> Result<(), Reason> {
    if generation == Generation::G3 && data.is_empty() && permission.sig.is_zero() {
        return Ok(());
    }
    let Some(actual) = data.get(..4).map(Selector::from_slice) else {
        return Err(Reason::DataTooShort { bytes: data.len() });
    };
    if actual != permission.sig {
        return Err(Reason::Selector { expected: permission.sig, actual });
    }
    for (i, rule) in permission.rules.iter().enumerate() {
        let word = word_at(data, rule.offset).ok_or(Reason::RuleBeyondData {
            rule: i,
            offset: rule.offset,
            bytes: data.len(),
        })?;
        if !rule.condition.holds(word.into(), rule.param.into()) {
            return Err(Reason::Rule {
                rule: i,
                offset: rule.offset,
                condition: rule.condition,
                expected: rule.param,
                actual: word,
            });
        }
    }
    Ok(())
}

/// The 32 bytes at `4 + offset` of the call data.
pub fn word_at(data: &[u8], offset: U256) -> Option<B256> {
    let start = usize::try_from(offset).ok()?.checked_add(4)?;
    data.get(start..start.checked_add(32)?).map(B256::from_slice)
}

/// Run counters and schedules as they move while an operation is validated.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Counters(BTreeMap<u32, (u64, u64)>);

impl Counters {
    fn new(facts: &Facts) -> Self {
        Self(facts.execution_status.iter().map(|(i, s)| (*i, (s.valid_after, s.runs))).collect())
    }

    /// Counts one use and answers from when (unix seconds) the permission allows it; 0 = any time.
    fn use_once(&mut self, permission: &Permission) -> Result<u64, Reason> {
        let rule = permission.execution_rule;
        if rule.is_none() {
            return Ok(0);
        }
        let (schedule, runs) = self.0.entry(permission.index).or_default();
        let mut after = rule.valid_after;
        if rule.interval > 0 {
            if rule.valid_after == 0 {
                return Err(Reason::InvalidExecutionRule);
            }
            if *schedule > 0 {
                after = schedule
                    .checked_add(rule.interval)
                    .filter(|next| *next <= MAX_UINT48)
                    .ok_or(Reason::ScheduleOverflow)?;
            }
            *schedule = after;
        }
        if rule.runs > 0 {
            if *runs >= rule.runs {
                return Err(Reason::RunsUsedUp { runs: rule.runs });
            }
            *runs += 1;
        }
        Ok(after)
    }
}

fn within(window: Window, now: u64, on_schedule: Option<(usize, usize)>) -> Result<Window, Denied> {
    let (call, permission) = on_schedule.unzip();
    if now < window.after {
        let reason = Reason::NotYet { valid_after: window.after, now, interval: on_schedule.is_some() };
        return Err(Denied { reason, call, permission });
    }
    if now > end(window.until) {
        return Err(Denied {
            reason: Reason::Expired { valid_until: window.until, now },
            call: None,
            permission: None,
        });
    }
    Ok(window)
}

/// One inner call of a batch, by itself, as an operation that is checked in the same way.
fn alone(call: &Call, delegate: bool) -> AccountCall {
    if delegate {
        AccountCall::ExecuteDelegateCall { to: call.to, data: call.data.clone() }
    } else {
        AccountCall::Execute(call.clone())
    }
}

fn try_each(key: &Key<'_>, path: Path, facts: &Facts, alone: &AccountCall) -> (Vec<usize>, Vec<Denied>) {
    let key = Key { selector: alone.selector().unwrap_or(key.selector), ..*key };
    let mut accepting = Vec::new();
    let mut denials = Vec::new();
    for position in 0..key.scope.permissions.len() {
        match judge(&key, path, facts, alone, &[position]) {
            Ok(_) => accepting.push(position),
            Err(denied) => denials.push(Denied { permission: Some(position), ..denied }),
        }
    }
    (accepting, denials)
}

/// The refusal by the permission that comes closest to the call.
fn closest(key: &Key<'_>, scoped: &ScopedCall, call: &Call, denials: Vec<Denied>) -> Option<Denied> {
    let mut best: Option<((u8, usize), Denied)> = None;
    for denied in denials {
        let Some(permission) = denied.permission.and_then(|p| key.scope.permissions.get(p)) else { continue };
        let reach = reach(key.generation, permission, call, scoped.delegate);
        if best.as_ref().is_none_or(|(furthest, _)| reach > *furthest) {
            best = Some((reach, denied));
        }
    }
    best.map(|(_, denied)| denied)
}

/// How far a permission goes along with a call, in the order people think of it; then the number of rules that hold.
fn reach(generation: Generation, permission: &Permission, call: &Call, delegate: bool) -> (u8, usize) {
    let any_target = generation.has_any_target() && permission.target == ANY_TARGET;
    let steps = [
        any_target || permission.target == call.to,
        call.data.get(..4) == Some(permission.sig.as_slice()) || (call.data.is_empty() && permission.sig.is_zero()),
        !delegate || permission.operation == Operation::DelegateCall,
        delegate || call.value <= permission.value_limit,
        check_data(generation, permission, &call.data).is_ok(),
    ];
    let passed = steps.iter().take_while(|ok| **ok).count() as u8;
    let rules = permission
        .rules
        .iter()
        .take_while(|r| word_at(&call.data, r.offset).is_some_and(|w| r.condition.holds(w.into(), r.param.into())))
        .count();
    (passed, rules)
}

/// Steps the search for an assignment may take before it gives up; far beyond any batch that fits in a block.
const ASSIGN_STEPS: usize = 100_000;

/// Whether two permissions have one index, and with it one counter. We never sign such a scope, but others did.
fn shares_counters(permissions: &[Permission]) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    !permissions.iter().all(|p| seen.insert(p.index))
}

/// A permission for every call such that run limits and schedules allow all of them together.
fn assign(key: &Key<'_>, facts: &Facts, candidates: &[Vec<usize>]) -> Option<Vec<usize>> {
    let unlimited = |position: &usize| key.scope.permissions.get(*position).is_some_and(|p| p.execution_rule.is_none());
    // A permission without limits is always as good as any other, so only calls without one need a search.
    let mut shown: Vec<Option<usize>> = candidates.iter().map(|c| c.iter().copied().find(unlimited)).collect();
    let mut open: Vec<usize> = (0..candidates.len()).filter(|i| shown.get(*i) == Some(&None)).collect();
    // The hardest calls first, but where permissions share a counter the order of use matters.
    if !shares_counters(&key.scope.permissions) {
        open.sort_by_key(|i| candidates.get(*i).map_or(0, Vec::len));
    }

    // Depth-first over the open calls; a stack of (depth, counters, choices) keeps it off the call stack.
    let mut seen = std::collections::BTreeSet::new();
    let mut stack = vec![(Counters::new(facts), Vec::<usize>::new())];
    let mut steps = 0;
    while let Some((counters, chosen)) = stack.pop() {
        let Some(call) = open.get(chosen.len()) else {
            for (call, position) in open.iter().zip(chosen) {
                if let Some(slot) = shown.get_mut(*call) {
                    *slot = Some(position);
                }
            }
            return shown.into_iter().collect();
        };
        steps += 1;
        if steps > ASSIGN_STEPS || !seen.insert((chosen.len(), counters.clone())) {
            continue;
        }
        for position in candidates.get(*call).into_iter().flatten().rev() {
            let Some(permission) = key.scope.permissions.get(*position) else { continue };
            let mut next = counters.clone();
            if next.use_once(permission).is_ok_and(|after| after <= facts.timestamp) {
                stack.push((next, chosen.iter().copied().chain([*position]).collect()));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::scope::ExecutionRule;

    const NOW: u64 = 1_700_000_000;

    fn permission(index: u32, target: Address, valid_after: u64) -> Permission {
        Permission {
            index,
            target,
            sig: Selector::new([1, 2, 3, 4]),
            value_limit: U256::ZERO,
            rules: Vec::new(),
            execution_rule: ExecutionRule { valid_after, interval: 5, runs: 0 },
            operation: Operation::Call,
        }
    }

    #[test]
    fn permissions_that_share_a_counter_are_chosen_in_the_order_of_use() {
        let target = Address::repeat_byte(0x72);
        // Starting with the late permission leaves no room for the early one on the shared schedule.
        let permissions = vec![permission(0, target, NOW - 5), permission(0, ANY_TARGET, 1)];
        let scope = Scope { valid_after: 0, valid_until: 0, paymaster: Address::ZERO, permissions };
        let key = Key { generation: Generation::G2, scope: &scope, approval_nonce: 1, selector: selector::EXECUTE };
        let facts = Facts {
            timestamp: NOW,
            last_nonce: 1,
            invalid_nonce: 0,
            enabled: true,
            routing: Routing::Here,
            plugin_window: Window::default(),
            execution_status: BTreeMap::new(),
            disabled_mode: 0,
            paymaster_and_data: Bytes::new(),
        };
        let inner = |to| Call { to, value: U256::ZERO, data: vec![1, 2, 3, 4].into() };
        let call = AccountCall::ExecuteBatch(vec![inner(target), inner(ANY_TARGET), inner(ANY_TARGET)]);
        let found = find(&key, Path::Use, &facts, &call).map(|accepted| accepted.shown);
        assert_eq!(found, Ok(vec![1, 1, 1]));
    }
}

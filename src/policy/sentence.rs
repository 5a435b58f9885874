//! Scopes, amounts, times and windows as plain English, and back.
//!
//! The sentences say what the deployed contracts do, not what field names promise (docs/kernel-v2.md#permissions).

use alloy::primitives::{Address, B256, Selector, U256, utils::format_units};
use jiff::{SignedDuration, civil};
use thiserror::Error;

use super::{
    condition::{ReadBack, read_back},
    scope::{ANY_PAYMASTER, ANY_TARGET, Condition, ExecutionRule, MAX_UINT48, Operation, Permission, Rule, Scope},
};
use crate::{
    abi::{DecodedCall, Function, format_word, known_functions},
    protocol::{Call, family::Validator},
    text::clean,
};

/// What the words depend on besides the scope itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting<'a> {
    /// The validator the scope is for: it decides what target `0x0` and `operation` mean.
    pub validator: Validator,
    /// The chain's native coin, as in `ETH`.
    pub symbol: &'a str,
}

// --- amounts -----------------------------------------------------------------------------------------------------

/// Why a text is no amount of the native coin.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AmountError {
    #[error("the amount is empty; write wei as in `1000`, or `0.1 {0}`, `5 gwei`")]
    Empty(String),
    #[error("`{text}` is not an amount; write wei as in `1000`, or `0.1 {coin}`, `5 gwei`")]
    NotAnAmount { text: String, coin: String },
    #[error("`{0}` is negative; an amount is 0 or more")]
    Negative(String),
    #[error("`{text}` has the unit `{unit}`, which is not known; units are `wei`, `gwei` and `{coin}`")]
    Unit { text: String, unit: String, coin: String },
    #[error("`{text}` is a part of a wei: a number of {unit} can have at most {decimals} decimals")]
    TooPrecise { text: String, unit: String, decimals: usize },
    #[error("`{0}` is more wei than a call can carry (2^256 - 1)")]
    TooLarge(String),
}

/// Reads an amount of the native coin into wei: `123` (wei), `5 gwei`, `0.1 eth`, with or without the space.
pub fn parse_amount(text: &str) -> Result<U256, AmountError> {
    parse_amount_of(text, "eth")
}

/// The same where a whole coin is called otherwise: `coin` is its symbol in small letters. Another coin's name is refused.
pub fn parse_amount_of(text: &str, coin: &str) -> Result<U256, AmountError> {
    let trimmed = text.trim();
    let shown = || clean(trimmed, 60);
    if trimmed.is_empty() {
        return Err(AmountError::Empty(coin.to_owned()));
    }
    if trimmed.starts_with('-') {
        return Err(AmountError::Negative(shown()));
    }
    let number_len = trimmed.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
    let (number, unit) = trimmed.split_at_checked(number_len).unwrap_or((trimmed, ""));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') || trimmed.starts_with("0x") {
        return Err(AmountError::NotAnAmount { text: shown(), coin: coin.to_owned() });
    }
    let (unit, decimals) = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "wei" => ("wei", 0),
        "gwei" => ("gwei", 9),
        "ether" if coin == "eth" => (coin, 18),
        unit if unit == coin => (coin, 18),
        other => return Err(AmountError::Unit { text: shown(), unit: clean(other, 20), coin: coin.to_owned() }),
    };
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > decimals {
        return Err(AmountError::TooPrecise { text: shown(), unit: unit.to_owned(), decimals });
    }
    // All digits, with the point moved behind the last decimal of a wei.
    U256::from_str_radix(&format!("{whole}{fraction:0<decimals$}"), 10).map_err(|_| AmountError::TooLarge(shown()))
}

/// An amount of wei, in the coin and exactly: `0.1 ETH (100000000000000000 wei)`; small ones in wei only.
pub fn amount(wei: U256, symbol: &str) -> String {
    let symbol = clean(symbol, 16);
    // Below a millionth of a coin the decimals are harder to read than the wei.
    if wei.is_zero() {
        format!("0 {symbol}")
    } else if wei < U256::from(1_000_000_000_000_u64) {
        format!("{wei} wei")
    } else {
        format!("{} {symbol} ({wei} wei)", coins(wei))
    }
}

/// Wei as a decimal number of coins (18 decimals), without trailing zeros.
pub fn coins(wei: U256) -> String {
    let full = format_units(wei, 18).unwrap_or_else(|_| wei.to_string());
    match full.contains('.') {
        true => full.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => full,
    }
}

// --- durations and times -----------------------------------------------------------------------------------------

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Above this a number of "seconds" is taken for milliseconds: it is the year 5138.
const LIKELY_MILLISECONDS: u64 = 100_000_000_000;
/// 9999-12-31T23:59:59Z, the last second RFC 3339 can write.
const LAST_RFC3339_SECOND: u64 = 253_402_300_799;
const EPOCH: civil::DateTime = civil::date(1970, 1, 1).at(0, 0, 0, 0);

/// Why a text is no length of time.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DurationError {
    #[error("the duration is empty; write for example `90s`, `15m`, `24h`, `7d` or `1d 12h`")]
    Empty,
    #[error("`{0}` has no unit; write `{0}s` for seconds, or use m, h, d, w")]
    NoUnit(String),
    #[error("`{text}` has the unit `{unit}`, which is not known; units are s, m (minutes), h, d and w")]
    Unit { text: String, unit: String },
    #[error("`{0}` has a fraction; write it in the next smaller unit, as `90m` for an hour and a half")]
    Fraction(String),
    #[error("`{0}` is not a duration; write for example `90s`, `15m`, `24h`, `7d` or `1d 12h`")]
    NotADuration(String),
    #[error("`{0}` is longer than the chain can count (2^48 - 1 seconds)")]
    TooLong(String),
}

/// Reads a length of time into seconds: `24h`, `7d`, `1d 12h`, `90 s`. A unit must be given.
pub fn parse_duration(text: &str) -> Result<u64, DurationError> {
    let trimmed = text.trim();
    let shown = || clean(trimmed, 40);
    if trimmed.is_empty() {
        return Err(DurationError::Empty);
    }
    let mut seconds = 0u64;
    let mut rest = trimmed;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, behind) = rest.split_at_checked(digits).unwrap_or((rest, ""));
        if number.is_empty() {
            return Err(DurationError::NotADuration(shown()));
        }
        let behind = behind.trim_start();
        if behind.starts_with(['.', ',']) {
            return Err(DurationError::Fraction(shown()));
        }
        let letters = behind.find(|c: char| !c.is_alphabetic()).unwrap_or(behind.len());
        let (unit, next) = behind.split_at_checked(letters).unwrap_or((behind, ""));
        let scale = match unit {
            "" => return Err(DurationError::NoUnit(shown())),
            "s" | "sec" | "second" | "seconds" => 1,
            "m" | "min" | "minute" | "minutes" => MINUTE,
            "h" | "hour" | "hours" => HOUR,
            "d" | "day" | "days" => DAY,
            "w" | "week" | "weeks" => 7 * DAY,
            _ => return Err(DurationError::Unit { text: shown(), unit: clean(unit, 20) }),
        };
        let part = number.parse::<u64>().ok().and_then(|n| n.checked_mul(scale));
        seconds = part
            .and_then(|p| p.checked_add(seconds))
            .filter(|total| *total <= MAX_UINT48)
            .ok_or_else(|| DurationError::TooLong(shown()))?;
        rest = next.trim_start();
    }
    Ok(seconds)
}

/// A length of time, exactly: `3 h`, `1 d 12 h`, `45 s`.
pub fn duration(seconds: u64) -> String {
    let parts =
        [(seconds / DAY, "d"), (seconds % DAY / HOUR, "h"), (seconds % HOUR / MINUTE, "min"), (seconds % MINUTE, "s")];
    let words: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n} {unit}")).collect();
    if words.is_empty() { "0 s".to_owned() } else { words.join(" ") }
}

/// A length of time in its largest unit, rounded down, for tables: `3 h`, `6 d`.
pub fn rough_duration(seconds: u64) -> String {
    match seconds {
        DAY.. => format!("{} d", seconds / DAY),
        HOUR.. => format!("{} h", seconds / HOUR),
        MINUTE.. => format!("{} min", seconds / MINUTE),
        _ => format!("{seconds} s"),
    }
}

/// Why a text is no point in time.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TimeError {
    #[error("the time is empty; write unix seconds, or RFC 3339 as in `2026-11-22T10:00:00Z`")]
    Empty,
    #[error("{0} looks like milliseconds, but the chain counts seconds; write {seconds}", seconds = .0 / 1000)]
    Milliseconds(u64),
    #[error("`{0}` is beyond what the chain can hold (2^48 - 1 seconds)")]
    TooLarge(String),
    #[error("`{0}` is not a time; write unix seconds, or RFC 3339 as in `2026-11-22T10:00:00Z` or `…+02:00`")]
    NotATime(String),
    #[error("`{0}` has a fraction of a second; the chain counts whole seconds")]
    Fraction(String),
    #[error("`{0}` is before 1970, which the chain cannot express")]
    TooEarly(String),
}

/// Reads a point in time into unix seconds: a number, or RFC 3339 with `Z` or an offset.
pub fn parse_time(text: &str) -> Result<u64, TimeError> {
    let trimmed = text.trim();
    let shown = || clean(trimmed, 40);
    if trimmed.is_empty() {
        return Err(TimeError::Empty);
    }
    if trimmed.bytes().all(|b| b.is_ascii_digit()) {
        let seconds: u64 = trimmed.parse().map_err(|_| TimeError::TooLarge(shown()))?;
        return if seconds <= LIKELY_MILLISECONDS {
            Ok(seconds)
        } else if seconds <= MAX_UINT48 {
            Err(TimeError::Milliseconds(seconds))
        } else {
            Err(TimeError::TooLarge(shown()))
        };
    }
    if !trimmed.is_ascii() {
        return Err(TimeError::NotATime(shown()));
    }
    let (date_time, offset) = split_offset(trimmed).ok_or_else(|| TimeError::NotATime(shown()))?;
    if date_time.contains('.') {
        return Err(TimeError::Fraction(shown()));
    }
    let date_time = date_and_time(date_time).ok_or_else(|| TimeError::NotATime(shown()))?;
    let seconds = date_time.duration_since(EPOCH).as_secs().saturating_sub(offset);
    u64::try_from(seconds).map_err(|_| TimeError::TooEarly(shown()))
}

/// What RFC 3339 has before the offset: no digit less, and none of the other forms that ISO 8601 knows.
fn date_and_time(text: &str) -> Option<civil::DateTime> {
    const SHAPE: &str = "0000-00-00T00:00:00";
    let fits = |(byte, shape): (u8, u8)| match shape {
        b'0' => byte.is_ascii_digit(),
        b'T' => matches!(byte, b'T' | b' '),
        other => byte == other,
    };
    (text.len() == SHAPE.len() && text.bytes().zip(SHAPE.bytes()).all(fits)).then(|| text.parse().ok()).flatten()
}

/// Takes `Z` or `+hh:mm` off the end: what is before it, and the seconds it is ahead of UTC.
fn split_offset(text: &str) -> Option<(&str, i64)> {
    const DATE_TIME_LEN: usize = "2026-11-22T10:00:00".len();
    if let Some(date_time) = text.strip_suffix(['Z', 'z']) {
        return (date_time.len() >= DATE_TIME_LEN).then_some((date_time, 0));
    }
    let (date_time, offset) = text.split_at_checked(text.len().checked_sub("+00:00".len())?)?;
    let (sign, clock) = match offset.split_at_checked(1)? {
        ("+", clock) => (1, clock),
        ("-", clock) => (-1, clock),
        _ => return None,
    };
    let (hours, minutes) = clock.split_once(':')?;
    let two_digits = |text: &str, max: i64| {
        let plain = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| text.parse::<i64>().ok()).flatten().filter(|n| *n <= max)
    };
    let seconds = two_digits(hours, 23)? * 3600 + two_digits(minutes, 59)? * 60;
    (date_time.len() >= DATE_TIME_LEN).then_some((date_time, sign * seconds))
}

/// A point in time in UTC: `2026-11-22T10:00:00Z`.
pub fn time(unix_seconds: u64) -> String {
    if unix_seconds > LAST_RFC3339_SECOND {
        return format!("unix second {unix_seconds} (after the year 9999)");
    }
    format!("{}Z", EPOCH.saturating_add(SignedDuration::from_secs(unix_seconds.cast_signed())))
}

// --- scopes ------------------------------------------------------------------------------------------------------

/// A whole scope, a sentence each: what may be called, when, and who pays. `function_of` names the functions that are known.
pub fn scope(
    scope: &Scope,
    setting: Setting<'_>,
    mut function_of: impl FnMut(&Permission) -> Option<Function>,
) -> Vec<String> {
    let mut sentences: Vec<String> =
        scope.permissions.iter().map(|p| permission(p, function_of(p).as_ref(), setting)).collect();
    if sentences.is_empty() {
        sentences.push(everything().to_owned());
    }
    sentences.push(window(scope.valid_after, scope.valid_until));
    sentences.push(paymaster(scope.paymaster));
    sentences
}

/// What a scope without permissions (root 0) means.
pub const fn everything() -> &'static str {
    "may do everything: there is no permission list, so every call of any contract with any amount is allowed, as if the key were the owner"
}

/// One permission: function, target, conditions, value and run limits, as the validator reads them.
///
/// `function` is used only if its selector is the permission's.
pub fn permission(permission: &Permission, function: Option<&Function>, setting: Setting<'_>) -> String {
    let function = function.filter(|f| f.selector() == permission.sig);
    let on = target(permission.target, setting.validator);
    let called = match function {
        Some(function) => function.to_string(),
        None => unnamed_function(permission.sig, setting.validator),
    };
    let mut sentence = match permission.operation {
        Operation::DelegateCall if setting.validator.knows_operation() => {
            format!(
                "may run {called} of {on} inside the account (delegatecall: that code can do anything the account can, and the amount limit is not checked), or call it"
            )
        }
        _ => format!("may call {called} on {on}"),
    };
    if !permission.rules.is_empty() {
        sentence.push_str(" when ");
        sentence.push_str(&conditions(function, permission));
    }
    sentence.push_str("; ");
    sentence.push_str(&value_limit(permission.value_limit, setting.symbol));
    if let Some(limit) = execution_rule(permission.execution_rule) {
        sentence.push_str("; ");
        sentence.push_str(&limit);
    }
    sentence
}

/// The rules of a permission joined by "and", arguments by name where that is sound.
pub fn conditions(function: Option<&Function>, permission: &Permission) -> String {
    let words: Vec<String> = read_back(function, &permission.rules).iter().map(condition).collect();
    words.join(" and ")
}

/// One condition: `amount is at most 1000000`, or the raw word the chain compares.
pub fn condition(rule: &ReadBack) -> String {
    match rule {
        ReadBack::Argument { path, condition, value, .. } => format!("{path} is {} {value}", comparison(*condition)),
        ReadBack::Word { offset, condition, param, .. } => {
            format!("{} is {} {param}", word_at(*offset), comparison(*condition))
        }
    }
}

/// A comparison in words, to stand between "is" or "must be" and a value.
pub const fn comparison(condition: Condition) -> &'static str {
    match condition {
        Condition::Eq => "exactly",
        Condition::Ne => "anything but",
        Condition::Gt => "more than",
        Condition::Gte => "at least",
        Condition::Lt => "less than",
        Condition::Lte => "at most",
    }
}

/// Why a call breaks a rule: `amount must be at most 1000000, but is 5000000`. `actual` is the word in the call.
pub fn broken_rule(function: Option<&Function>, rule: &Rule, actual: B256) -> String {
    let (what, limit, actual) = match read_back(function, std::slice::from_ref(rule)).pop() {
        Some(ReadBack::Argument { path, ty, value, .. }) => {
            (path, value, format_word(&ty, actual).unwrap_or_else(|| actual.to_string()))
        }
        _ => (word_at(rule.offset), rule.param.to_string(), actual.to_string()),
    };
    format!("{what} must be {} {limit}, but is {actual}", comparison(rule.condition))
}

fn word_at(offset: U256) -> String {
    format!("the word at byte {offset} of the arguments")
}

fn target(target: Address, validator: Validator) -> String {
    match target {
        ANY_TARGET if validator.has_any_target() => "any contract".to_owned(),
        ANY_TARGET => format!("the zero address {target} (on this validator it does not mean any contract)"),
        target => target.to_checksum(None),
    }
}

fn unnamed_function(selector: Selector, validator: Validator) -> String {
    match (selector == Selector::ZERO, validator.allows_empty_calls()) {
        (false, _) => format!("the function with selector {selector}"),
        (true, true) => {
            format!("nothing (a plain transfer, whose conditions are not checked) or selector {selector}")
        }
        (true, _) => format!("selector {selector} (four zero bytes of data; a transfer without data is impossible)"),
    }
}

/// How much of the native coin a single call may carry.
pub fn value_limit(limit: U256, symbol: &str) -> String {
    match limit {
        U256::ZERO => format!("no {} with the call", clean(symbol, 16)),
        U256::MAX => format!("any amount of {} with each call", clean(symbol, 16)),
        limit => format!("at most {} with each call", amount(limit, symbol)),
    }
}

/// The run limits, in the order the contract reads them (not the SDK's). `None` when there are none.
pub fn execution_rule(rule: ExecutionRule) -> Option<String> {
    if rule.is_none() {
        return None;
    }
    if rule.interval > 0 && rule.valid_after == 0 {
        return Some("never, because the chain refuses an interval without a start time".to_owned());
    }
    let runs = match rule.runs {
        0 => None,
        1 => Some("at most once".to_owned()),
        runs => Some(format!("at most {runs} times")),
    };
    let schedule = match (rule.interval, rule.valid_after) {
        (0, 0) => None,
        (0, start) => Some(format!("not before {}", time(start))),
        (interval, start) if start.saturating_add(interval) > MAX_UINT48 => {
            Some(format!("only once, from {}, because the next turn is later than the chain can count", time(start)))
        }
        (interval, start) => {
            Some(format!("once {} from {}, missed turns can be caught up", each(interval), time(start)))
        }
    };
    Some([runs, schedule].into_iter().flatten().collect::<Vec<_>>().join(", "))
}

fn each(interval: u64) -> String {
    match interval {
        1 => "a second".to_owned(),
        MINUTE => "a minute".to_owned(),
        HOUR => "an hour".to_owned(),
        DAY => "a day".to_owned(),
        _ => format!("every {}", duration(interval)),
    }
}

/// The window of a key; both ends are inclusive unix seconds, 0 after = at once, 0 until = never expires.
pub fn window(valid_after: u64, valid_until: u64) -> String {
    match (valid_after, valid_until) {
        (0, 0) => "works at once and never expires".to_owned(),
        (0, until) => format!("works at once, until {}", time(until)),
        (after, 0) => format!("works from {} and never expires", time(after)),
        (after, until) if until < after => {
            format!("never works: it would end ({}) before it begins ({})", time(until), time(after))
        }
        (after, until) => format!("works from {} until {}", time(after), time(until)),
    }
}

/// Who pays the gas of this key's operations.
pub fn paymaster(paymaster: Address) -> String {
    match paymaster {
        Address::ZERO => {
            "gas is paid by the account, unless a paymaster volunteers: the key can spend the account's coins as gas".to_owned()
        }
        ANY_PAYMASTER => {
            "gas is meant to be paid by some paymaster, but no deployed validator enforces that: the key can spend the account's coins as gas".to_owned()
        }
        exact => format!("gas is paid by paymaster {exact}, and the key works with no other"),
    }
}

// --- calls -------------------------------------------------------------------------------------------------------

/// What a call does. `functions` are those that a signed scope or a person names; where none of them fits, the known interfaces
/// are asked, and the sentence says whose function it is then.
pub fn call(call: &Call, functions: &[Function], symbol: &str) -> String {
    let Call { to, value, data } = call;
    let value = amount(*value, symbol);
    let Some(selector) = data.first_chunk::<4>().map(Selector::from) else {
        return match data.len() {
            0 => format!("sends {value} to {to}, and calls no function"),
            bytes => format!("sends {value} to {to} with {bytes} bytes of data, which name no function"),
        };
    };
    let read = |function: &Function| function.decode_call(data).map(|decoded| arguments(function, &decoded));
    let named = functions.iter().filter(|f| f.selector() == selector).map(read).find_map(Result::ok);
    let guessed = || {
        let guess = |(interface, f): (&str, Function)| Some(format!("{} (as in {interface})", read(&f).ok()?));
        known_functions(selector).into_iter().find_map(guess)
    };
    match named.or_else(guessed) {
        Some(function) => format!("calls {to}: {function}, with {value}"),
        None => {
            format!(
                "calls {to}: {selector}, a function that is not known here, with {value} and {} bytes of data",
                data.len()
            )
        }
    }
}

/// `transfer(to = 0x…, amount = 5)`.
fn arguments(function: &Function, decoded: &DecodedCall) -> String {
    let shown: Vec<String> = decoded.arguments.iter().map(|a| format!("{} = {}", a.name, a.value)).collect();
    let odd = if decoded.canonical { "" } else { " (oddly encoded: the contract may read it differently)" };
    format!("{}({}){odd}", clean(function.name(), 64), shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::condition::{ArgCondition, compile};
    use crate::protocol::kernel_v2::generation::Generation;
    use alloy::primitives::address;

    const TOKEN: Address = address!("5FbDB2315678afecb367f032d93F642f64180aa3");
    const FRIEND: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
    const ON_G2: Setting<'_> = Setting { validator: Validator::KernelV2(Generation::G2), symbol: "ETH" };

    fn transfer() -> Function {
        Function::parse("transfer(address to, uint256 amount)").unwrap()
    }

    fn calling(data: impl Into<alloy::primitives::Bytes>, wei: u64) -> Call {
        Call { to: TOKEN, value: U256::from(wei), data: data.into() }
    }

    #[test]
    fn a_call_is_told_by_its_function_and_arguments() {
        let mint = Function::parse("mint(address to)").unwrap();
        let data = mint.encode_call(&[FRIEND]).unwrap();
        assert_eq!(
            call(&calling(data, 5), std::slice::from_ref(&mint), "ETH"),
            format!("calls {TOKEN}: mint(to = {FRIEND}), with 5 wei")
        );
    }

    #[test]
    fn a_function_that_nobody_named_is_read_by_the_known_interfaces_and_said_to_be_so() {
        let data = transfer().encode_call(&[FRIEND, "5"]).unwrap();
        let told = call(&calling(data.clone(), 0), &[], "ETH");
        assert!(told.contains(&format!("transfer(to = {FRIEND}, amount = 5) (as in erc20)")), "{told}");
        let surplus = [data.as_ref(), &[1]].concat();
        assert!(call(&calling(surplus, 0), &[transfer()], "ETH").contains("oddly encoded"));
    }

    #[test]
    fn a_call_that_names_no_known_function_is_told_as_it_is() {
        for (data, expected) in [
            (vec![], format!("sends 5 wei to {TOKEN}, and calls no function")),
            (vec![1, 2], format!("sends 5 wei to {TOKEN} with 2 bytes of data, which name no function")),
            (
                vec![0xde, 0xad, 0xbe, 0xef, 1],
                format!("calls {TOKEN}: 0xdeadbeef, a function that is not known here, with 5 wei and 5 bytes of data"),
            ),
        ] {
            assert_eq!(call(&calling(data, 5), &[transfer()], "ETH"), expected);
        }
    }

    fn limited_transfer() -> Permission {
        let conditions = [("to", Condition::Eq, FRIEND), ("amount", Condition::Lte, "1000000")]
            .map(|(arg, op, value)| ArgCondition { arg: arg.into(), op, value: value.into() });
        Permission {
            index: 0,
            target: TOKEN,
            sig: transfer().selector(),
            value_limit: U256::ZERO,
            rules: compile(&transfer(), &conditions).unwrap().rules,
            execution_rule: ExecutionRule { valid_after: 1_767_225_600, interval: 3600, runs: 24 },
            operation: Operation::Call,
        }
    }

    #[test]
    fn a_permission_is_one_sentence_with_every_limit_in_it() {
        assert_eq!(
            permission(&limited_transfer(), Some(&transfer()), ON_G2),
            "may call transfer(address to, uint256 amount) on 0x5FbDB2315678afecb367f032d93F642f64180aa3 \
             when to is exactly 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 and amount is at most 1000000; \
             no ETH with the call; at most 24 times, once an hour from 2026-01-01T00:00:00Z, missed turns can be caught up"
        );
    }

    #[test]
    fn a_function_with_another_selector_does_not_lend_its_names() {
        let other = Function::parse("approve(address spender, uint256 amount)").unwrap();
        let sentence = permission(&limited_transfer(), Some(&other), ON_G2);
        assert!(sentence.starts_with("may call the function with selector 0xa9059cbb on "), "{sentence}");
        assert!(sentence.contains("the word at byte 32 of the arguments is at most 0x"), "{sentence}");
        assert!(!sentence.contains("spender"), "{sentence}");
    }

    #[test]
    fn the_zero_target_is_any_contract_except_on_the_first_generation() {
        let any = Permission { target: ANY_TARGET, ..limited_transfer() };
        assert!(permission(&any, None, ON_G2).contains(" on any contract "));
        let on_g1 = Setting { validator: Generation::G1.into(), ..ON_G2 };
        let sentence = permission(&any, None, on_g1);
        assert!(sentence.contains("on the zero address 0x0000000000000000000000000000000000000000"), "{sentence}");
    }

    #[test]
    fn a_delegatecall_is_said_where_the_validator_knows_it() {
        let delegate = Permission { operation: Operation::DelegateCall, ..limited_transfer() };
        assert!(permission(&delegate, None, ON_G2).contains("inside the account (delegatecall"));
        let on_g1 = Setting { validator: Generation::G1.into(), ..ON_G2 };
        assert!(!permission(&delegate, None, on_g1).contains("delegatecall"));
    }

    #[test]
    fn empty_calls_are_possible_only_on_the_third_generation() {
        let plain = Permission { sig: Selector::ZERO, rules: vec![], ..limited_transfer() };
        assert!(permission(&plain, None, ON_G2).contains("a transfer without data is impossible"));
        let on_g3 = Setting { validator: Generation::G3.into(), ..ON_G2 };
        assert!(permission(&plain, None, on_g3).contains("a plain transfer"));
    }

    #[test]
    fn a_scope_without_permissions_says_that_everything_is_allowed() {
        let all = Scope { valid_after: 0, valid_until: 0, paymaster: Address::ZERO, permissions: vec![] };
        let sentences = scope(&all, ON_G2, |_| None);
        assert_eq!(sentences[0], everything());
        assert_eq!(sentences[1], "works at once and never expires");
        assert!(sentences[2].contains("the key can spend the account's coins as gas"));
    }

    #[test]
    fn only_an_exact_paymaster_is_said_to_pay() {
        assert!(paymaster(TOKEN).starts_with("gas is paid by paymaster 0x5FbDB2315678afecb367f032d93F642f64180aa3"));
        assert!(paymaster(ANY_PAYMASTER).contains("no deployed validator enforces that"));
    }

    #[test]
    fn run_limits_are_said_as_the_contract_reads_them() {
        let words = |valid_after, interval, runs| execution_rule(ExecutionRule { valid_after, interval, runs });
        assert_eq!(words(0, 0, 0), None);
        assert_eq!(words(0, 0, 1).as_deref(), Some("at most once"));
        assert_eq!(words(3600, 0, 0).as_deref(), Some("not before 1970-01-01T01:00:00Z"));
        assert_eq!(
            words(0, 60, 5).as_deref(),
            Some("never, because the chain refuses an interval without a start time")
        );
        // What the SDK's {interval: 3600, runs: 2, validAfter: now} becomes on chain (docs/kernel-v2.md#run-limits).
        assert_eq!(
            words(3600, 2, 1_767_225_600).as_deref(),
            Some("at most 1767225600 times, once every 2 s from 1970-01-01T01:00:00Z, missed turns can be caught up")
        );
        assert!(words(1, MAX_UINT48, 0).unwrap().starts_with("only once, from"));
    }

    #[test]
    fn a_broken_rule_names_the_argument_the_limit_and_what_was_sent() {
        let rule = &limited_transfer().rules[1];
        let actual = B256::from(U256::from(5_000_000));
        assert_eq!(broken_rule(Some(&transfer()), rule, actual), "amount must be at most 1000000, but is 5000000");
        assert!(broken_rule(None, rule, actual).starts_with("the word at byte 32 of the arguments must be at most 0x"));
    }

    #[test]
    fn windows_say_when_they_can_never_be_met() {
        assert_eq!(window(0, 3600), "works at once, until 1970-01-01T01:00:00Z");
        assert_eq!(window(3600, 0), "works from 1970-01-01T01:00:00Z and never expires");
        assert!(window(3600, 60).starts_with("never works"));
    }

    #[test]
    fn amounts_are_read_in_wei_gwei_and_eth() {
        let wei = |text| parse_amount(text).unwrap();
        assert_eq!(wei("0"), U256::ZERO);
        assert_eq!(wei("123"), U256::from(123));
        assert_eq!(wei("123 wei"), U256::from(123));
        assert_eq!(wei("5 gwei"), U256::from(5_000_000_000_u64));
        assert_eq!(wei("0.1 eth"), U256::from(100_000_000_000_000_000_u64));
        assert_eq!(wei("1.5eth"), U256::from(1_500_000_000_000_000_000_u64));
        assert_eq!(wei("1.50 Ether"), wei("1.5eth"));
        assert_eq!(wei("0.000000000000000001 eth"), U256::ONE);
    }

    #[test]
    fn an_amount_that_is_not_one_is_refused_with_the_reason() {
        let refused = |text| parse_amount(text).unwrap_err();
        assert_eq!(refused(" "), AmountError::Empty("eth".into()));
        assert!(matches!(refused("1.5"), AmountError::TooPrecise { unit, decimals: 0, .. } if unit == "wei"));
        assert!(matches!(refused("0.0000000001 gwei"), AmountError::TooPrecise { .. }));
        assert!(matches!(refused("-1"), AmountError::Negative(_)));
        assert!(matches!(refused("1 usdc"), AmountError::Unit { .. }));
        assert!(matches!(refused("eth"), AmountError::NotAnAmount { .. }));
        assert!(matches!(refused("1,5 eth"), AmountError::Unit { .. }));
        assert!(matches!(refused("1.2.3 eth"), AmountError::NotAnAmount { .. }));
        assert!(matches!(refused("0x10"), AmountError::NotAnAmount { .. }));
        assert!(matches!(refused(&format!("{} eth", U256::MAX)), AmountError::TooLarge(_)));
    }

    #[test]
    fn amounts_are_written_in_the_coin_and_exactly() {
        assert_eq!(amount(U256::from(100_000_000_000_000_000_u64), "ETH"), "0.1 ETH (100000000000000000 wei)");
        assert_eq!(amount(U256::from(10).pow(U256::from(20)), "ETH"), "100 ETH (100000000000000000000 wei)");
        assert_eq!(amount(U256::from(7), "ETH"), "7 wei");
        assert_eq!(amount(U256::ZERO, "xDAI"), "0 xDAI");
        assert_eq!(value_limit(U256::MAX, "E\u{202e}TH"), "any amount of E TH with each call");
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("24h"), Ok(86_400));
        assert_eq!(parse_duration("1d 12h"), Ok(129_600));
        assert_eq!(parse_duration("2w"), Ok(1_209_600));
        assert_eq!(parse_duration("90 s"), Ok(90));
        assert_eq!(parse_duration("3600"), Err(DurationError::NoUnit("3600".into())));
        assert!(matches!(parse_duration("1.5h"), Err(DurationError::Fraction(_))));
        assert!(matches!(parse_duration("1y"), Err(DurationError::Unit { .. })));
        assert!(matches!(parse_duration("soon"), Err(DurationError::NotADuration(_))));
        assert!(matches!(parse_duration("9999999999w"), Err(DurationError::TooLong(_))));
        assert_eq!(duration(90_061), "1 d 1 h 1 min 1 s");
        assert_eq!(rough_duration(6 * 86_400 + 5), "6 d");
    }

    #[test]
    fn times_are_seconds_or_rfc_3339_and_never_milliseconds() {
        assert_eq!(parse_time("1767225600"), Ok(1_767_225_600));
        assert_eq!(parse_time("2026-01-01T00:00:00Z"), Ok(1_767_225_600));
        assert_eq!(parse_time("2026-01-01T02:00:00+02:00"), Ok(1_767_225_600));
        assert_eq!(parse_time("2025-12-31T19:30:00-04:30"), Ok(1_767_225_600));
        let error = parse_time("1767225600000").unwrap_err();
        assert_eq!(
            error.to_string(),
            "1767225600000 looks like milliseconds, but the chain counts seconds; write 1767225600"
        );
        assert!(matches!(parse_time("99999999999999999999"), Err(TimeError::TooLarge(_))));
        assert!(matches!(parse_time("2026-01-01T00:00:00.5Z"), Err(TimeError::Fraction(_))));
        assert!(matches!(parse_time("1970-01-01T00:00:00+01:00"), Err(TimeError::TooEarly(_))));
        // Without an offset nobody knows which clock is meant.
        assert!(matches!(parse_time("2026-01-01T00:00:00"), Err(TimeError::NotATime(_))));
        assert!(matches!(parse_time("2026-02-30T00:00:00Z"), Err(TimeError::NotATime(_))));
        assert!(matches!(parse_time("tomorrow"), Err(TimeError::NotATime(_))));
        assert_eq!(time(MAX_UINT48), "unix second 281474976710655 (after the year 9999)");
    }
}

//! `policyParams` of a serialized approval, encoded as the SDK encodes them.

use alloy::primitives::{Address, B256, Bytes, Selector, U256};

use super::Warning;
use crate::{
    policy::scope::MAX_UINT48,
    protocol::{
        kernel_v3::{
            account::CallType,
            contracts::{
                GAS_POLICY, RATE_LIMIT_POLICY, RATE_LIMIT_WITH_RESET_POLICY, SIGNATURE_CALLER_POLICY, SUDO_POLICY,
                TIMESTAMP_POLICY,
            },
            policy::{
                Policy, PolicyFlag,
                call::{CallPolicy, CallPolicyVersion, Condition, Entry, Rule},
                gas::GasPolicy,
                rate_limit::RateLimit,
                signature_caller::SignatureCallers,
                timestamp::Timestamp,
            },
        },
        serialized::{Node, TextError},
    },
};

const MAX_ENTRIES: usize = 10_000;
/// Rules of one entry.
const MAX_RULES: usize = 256;
/// Words of one rule, and addresses of one list.
const MAX_ITEMS: usize = 10_000;
/// Unix seconds in the year 5138. Later times are milliseconds taken for seconds.
const LATEST_PLAUSIBLE: u64 = 100_000_000_000;

pub(super) fn read(node: &Node<'_, '_>, warnings: &mut Vec<Warning>) -> Result<Policy, TextError> {
    const KIND: &str = "a policy type: call, gas, rate-limit, signature-caller, sudo or timestamp";
    let kind = node.require("type", KIND)?;
    let flag = match node.get("policyFlag") {
        Some(field) => PolicyFlag(two_bytes(&field)?),
        None => PolicyFlag::default(),
    };
    let address_or = |standard: Address| node.get("policyAddress").map_or(Ok(standard), |field| field.address());
    let (address, data) = match kind.text() {
        Some("sudo") => (address_or(SUDO_POLICY)?, Bytes::new()),
        Some("timestamp") => (address_or(TIMESTAMP_POLICY)?, read_timestamp(node, warnings)?.encode()),
        Some("rate-limit") => read_rate_limit(node)?,
        Some("gas") => (address_or(GAS_POLICY)?, read_gas(node)?.encode()),
        Some("signature-caller") => (address_or(SIGNATURE_CALLER_POLICY)?, read_callers(node)?.encode()),
        Some("call") => read_call(node)?,
        _ => return Err(kind.wrong(KIND, "what it allows is not known here: read it with the program that wrote it")),
    };
    // Another contract of that type is not understood, whatever the text calls it.
    Ok(Policy::new(flag, address, &data))
}

fn two_bytes(field: &Node<'_, '_>) -> Result<[u8; 2], TextError> {
    const EXPECTED: &str = "a flag: 0x and 4 hex digits";
    let bytes = field.bytes(2, EXPECTED)?;
    let advice = "the contract has two bytes here, so nobody can have signed this";
    bytes[..].try_into().map_err(|_| field.wrong(EXPECTED, advice))
}

fn uint48_or_zero(node: &Node<'_, '_>, key: &str) -> Result<u64, TextError> {
    node.get(key).map_or(Ok(0), |field| field.uint48())
}

fn read_timestamp(node: &Node<'_, '_>, warnings: &mut Vec<Warning>) -> Result<Timestamp, TextError> {
    let mut time = |key: &str| {
        let Some(field) = node.get(key) else { return Ok(0) };
        let value = field.uint48()?;
        // The largest value of all is how "never" is written by some.
        if value > LATEST_PLAUSIBLE && value != MAX_UINT48 {
            warnings.push(Warning::Milliseconds { path: field.path.clone(), value });
        }
        Ok::<_, TextError>(value)
    };
    Ok(Timestamp { valid_after: time("validAfter")?, valid_until: time("validUntil")? })
}

fn read_rate_limit(node: &Node<'_, '_>) -> Result<(Address, Bytes), TextError> {
    const COUNT: &str = "a number of operations: from 0 to 2^48 - 1";
    let count = node.require("count", COUNT)?.uint48()?;
    let limit =
        RateLimit { interval: uint48_or_zero(node, "interval")?, count, start_at: uint48_or_zero(node, "startAt")? };
    let data = limit.encode();
    let Some(field) = node.get("policyAddress") else { return Ok((RATE_LIMIT_POLICY, data)) };
    match field.address()? {
        RATE_LIMIT_POLICY => Ok((RATE_LIMIT_POLICY, data)),
        // It has no start.
        RATE_LIMIT_WITH_RESET_POLICY => Ok((RATE_LIMIT_WITH_RESET_POLICY, data.slice(..12))),
        _ => Err(field.wrong(
            "the address of a rate limit policy",
            "the SDK writes no other, and how another contract is told its limit is not known",
        )),
    }
}

fn read_gas(node: &Node<'_, '_>) -> Result<GasPolicy, TextError> {
    Ok(GasPolicy {
        allowed: node.get("allowed").map_or(Ok(0), |field| field.uint128())?,
        enforce_paymaster: node.get("enforcePaymaster").is_some_and(|flag| flag.is_true()),
        allowed_paymaster: node.get("allowedPaymaster").map_or(Ok(Address::ZERO), |field| field.address())?,
    })
}

fn read_callers(node: &Node<'_, '_>) -> Result<SignatureCallers, TextError> {
    let items = match node.get("allowedCallers") {
        Some(list) => list.items(MAX_ITEMS, "a list of at most 10000 addresses")?,
        None => Vec::new(),
    };
    Ok(SignatureCallers { allowed: items.iter().map(|item| item.address()).collect::<Result<_, _>>()? })
}

/// Today's texts name the version, and the address where it is not the version's; older ones the address alone.
fn read_call(node: &Node<'_, '_>) -> Result<(Address, Bytes), TextError> {
    const VERSION: &str = "a version of the call policy: 0.0.1 to 0.0.5";
    const ADVICE: &str = "without it, what the key may call cannot be told: ask the owner for the approval again";
    let version = match node.get("policyVersion") {
        Some(field) => {
            let version = field.text().and_then(CallPolicyVersion::parse);
            Some(version.ok_or_else(|| field.wrong(VERSION, ADVICE))?)
        }
        None => None,
    };
    let address = match (node.get("policyAddress"), version) {
        (Some(field), _) => field.address()?,
        (None, Some(version)) => version.address(),
        (None, None) => node.require("policyVersion", VERSION)?.address()?,
    };
    // The SDK knows the first version by its address alone, and only as it writes it: for any other text it writes lists.
    let first = CallPolicyVersion::V0_0_1.address().to_checksum(None);
    let is_first = match node.get("policyAddress") {
        Some(field) => field.text() == Some(&first),
        None => version == Some(CallPolicyVersion::V0_0_1),
    };
    let form = if is_first { CallPolicyVersion::V0_0_1 } else { CallPolicyVersion::DEFAULT };
    let entries = match node.get("permissions") {
        Some(list) => list.items(MAX_ENTRIES, "a list of at most 10000 permissions")?,
        None => Vec::new(),
    };
    let entries = entries.iter().map(|entry| read_entry(entry, form)).collect::<Result<Vec<_>, _>>()?;
    let policy = CallPolicy::new(form, entries).map_err(|error| {
        let advice = "copy the approval again from the program that wrote it";
        TextError::Field { path: node.path.clone(), expected: "one word a rule", found: error.to_string(), advice }
    })?;
    Ok((address, policy.encode()))
}

fn read_entry(node: &Node<'_, '_>, form: CallPolicyVersion) -> Result<Entry, TextError> {
    const CALL_TYPE: &str = "a call type: 0x00, 0x01 or 0xff";
    node.check_object()?;
    let rules = match node.get("rules") {
        Some(list) => list.items(MAX_RULES, "a list of at most 256 rules")?,
        None => Vec::new(),
    };
    Ok(Entry {
        call_type: match node.get("callType") {
            Some(field) => {
                let bytes = field.bytes(1, CALL_TYPE)?;
                let wrong = || field.wrong(CALL_TYPE, "the contract has one byte here");
                CallType::from_code(*bytes.first().ok_or_else(wrong)?)
            }
            None => CallType::Call,
        },
        target: node.require("target", "the contract's address, or the zero address for any")?.address()?,
        selector: node.get("selector").map_or(Ok(Selector::ZERO), |field| field.selector())?,
        value_limit: node.get("valueLimit").map_or(Ok(U256::ZERO), |field| field.uint256())?,
        rules: rules.iter().map(|rule| read_rule(rule, form)).collect::<Result<_, _>>()?,
    })
}

fn read_rule(node: &Node<'_, '_>, form: CallPolicyVersion) -> Result<Rule, TextError> {
    const CONDITION: &str = "a condition: a number from 0 to 255";
    const PARAMS: &str = "the words to compare with";
    node.check_object()?;
    let code = |code: u64| u8::try_from(code).ok();
    // The first SDKs called it `param`.
    let params = match node.get("param") {
        Some(early) if node.get("params").is_none() => early,
        _ => node.require("params", PARAMS)?,
    };
    let params: Vec<B256> = if form.has_param_lists() {
        let words = params.items(MAX_ITEMS, "a list of at most 10000 words")?;
        words.iter().map(|word| word.word()).collect::<Result<_, _>>()?
    } else {
        vec![params.word()?]
    };
    Ok(Rule {
        condition: Condition::from_code(node.require("condition", CONDITION)?.choice(code, |_| None, CONDITION)?),
        offset: node.require("offset", "the word's offset in bytes")?.uint64()?,
        params,
    })
}

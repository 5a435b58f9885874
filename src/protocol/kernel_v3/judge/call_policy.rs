//! Whether a call policy lets an operation pass: each of its versions as its bytecode reads the calldata.

use std::{cell::Cell, collections::HashMap};

use alloy::primitives::{Address, B256, Selector, U256, keccak256};

use super::{
    super::{
        account::{CallType, selector},
        policy::call::{ANY_TARGET, CallPolicy, CallPolicyVersion, Condition, Entry, Rule},
    },
    answer::{NotFound, Reason},
    calldata::{PolicyCall, Slice},
};

/// Gas units that a check may take, counted low: what needs more runs out of gas on any chain. Lengths in the calldata are the
/// holder's to choose, so nothing else bounds the work.
const GAS: u64 = 1 << 26;
/// Least gas for a call of a batch, for a rule, and for 32 bytes that are hashed.
const GAS_OF_CALL: u64 = 1000;
const GAS_OF_RULE: u64 = 100;
const GAS_OF_WORD: u64 = 6;

/// A call as the policy reads it.
struct Called {
    position: usize,
    target: Address,
    value: U256,
    data: Slice,
}

pub(super) fn check(policy: &CallPolicy, call: &PolicyCall) -> Result<(), Reason> {
    let call_data = call.call_data();
    let called = Selector::new(call.array(call_data.start));
    let short = call_data.length < U256::from(4);
    if short || called != selector::EXECUTE {
        return Err(Reason::NotExecute { called: (!short).then_some(called) });
    }
    let needed = 36;
    if call_data.length < U256::from(needed) {
        return Err(Reason::CalldataTooShort { bytes: call_data.length.saturating_to(), needed });
    }
    let [kind] = call.array(call_data.start.wrapping_add(U256::from(4)));
    let arguments = call_data.start.wrapping_add(U256::from(needed));
    let start = arguments.wrapping_add(call.word(arguments));
    let execution = Slice { start, length: call.word(start.wrapping_sub(U256::from(32))) };
    let entries = Entries::new(policy);
    match CallType::from_code(kind) {
        CallType::Call => {
            let called = single(call, execution).ok_or(Reason::CallUnreadable { call: None })?;
            entries.check(call, CallType::Call, &called)
        }
        CallType::DelegateCall if policy.version().reads_delegate_calls() => {
            let data = execution.skip(20).ok_or(Reason::CallUnreadable { call: None })?;
            let target = Address::new(call.array(execution.start));
            entries.check(call, CallType::DelegateCall, &Called { position: 0, target, value: U256::ZERO, data })
        }
        CallType::DelegateCall => {
            let called = single(call, execution).ok_or(Reason::CallUnreadable { call: None })?;
            entries.check(call, CallType::DelegateCall, &called)
        }
        CallType::Batch => batch(call, execution, &entries),
        CallType::Unknown(code) => Err(Reason::CallType { code }),
    }
}

/// `target20 ‖ value32 ‖ data`.
fn single(call: &PolicyCall, execution: Slice) -> Option<Called> {
    let data = execution.skip(52)?;
    let target = Address::new(call.array(execution.start));
    let value = call.word(execution.start.wrapping_add(U256::from(20)));
    Some(Called { position: 0, target, value, data })
}

/// `abi.encode((address,uint256,bytes)[])`: whatever the lengths around it say, elements have to lie within the calldata.
fn batch(call: &PolicyCall, execution: Slice, entries: &Entries<'_>) -> Result<(), Reason> {
    let list = execution.start.wrapping_add(call.word(execution.start));
    let (length, base) = (call.word(list), list.wrapping_add(U256::from(32)));
    for position in 0..length.saturating_to::<u64>() {
        entries.spend(GAS_OF_CALL)?;
        let unreadable = Reason::CallUnreadable { call: Some(position as usize) };
        let called = element(call, base, position).ok_or(unreadable)?;
        entries.check(call, CallType::Call, &called)?;
    }
    Ok(())
}

fn element(call: &PolicyCall, base: U256, position: u64) -> Option<Called> {
    let tail = |base: U256, pointer: U256, least: u64| {
        // Signed, as the compiler compares: `pointer < size - base - (least - 1)`.
        let room = call.size().wrapping_sub(base).wrapping_sub(U256::from(least.checked_sub(1)?));
        less(pointer, room).then(|| base.wrapping_add(pointer))
    };
    let head = base.wrapping_add(U256::from(position).wrapping_mul(U256::from(32)));
    let at = tail(base, call.word(head), 96)?;
    let word = |i: u64| call.word(at.wrapping_add(U256::from(32 * i)));
    let target = B256::from(word(0));
    let address = Address::from_word(target);
    if address.into_word() != target {
        return None;
    }
    let data_at = tail(at, word(2), 32)?;
    let length = call.word(data_at);
    let start = data_at.wrapping_add(U256::from(32));
    if length > U256::from(u64::MAX) || less(call.size().wrapping_sub(length), start) {
        return None;
    }
    Some(Called { position: position as usize, target: address, value: word(1), data: Slice { start, length } })
}

/// `a < b` of signed 256-bit numbers.
fn less(a: U256, b: U256) -> bool {
    let flipped = |n: U256| n ^ (U256::ONE << 255);
    flipped(a) < flipped(b)
}

/// The entries, by what they are looked up with. The install refuses two of one key.
struct Entries<'a> {
    version: CallPolicyVersion,
    by_key: HashMap<(CallType, Address, Selector), (usize, &'a Entry)>,
    gas: Cell<u64>,
}

impl<'a> Entries<'a> {
    fn new(policy: &'a CallPolicy) -> Self {
        let by_key = policy.entries().iter().enumerate().map(|(i, entry)| (entry.key(), (i, entry))).collect();
        Self { version: policy.version(), by_key, gas: Cell::new(GAS) }
    }

    fn spend(&self, gas: u64) -> Result<(), Reason> {
        self.gas.set(self.gas.get().checked_sub(gas).ok_or(Reason::OutOfGas)?);
        Ok(())
    }

    fn check(&self, call: &PolicyCall, kind: CallType, called: &Called) -> Result<(), Reason> {
        let position = called.position;
        let selector = if called.data.length.is_zero() && self.version.allows_empty_calls() {
            selector::NONE
        } else if called.data.length < U256::from(4) {
            return Err(Reason::CallUnreadable { call: Some(position) });
        } else {
            Selector::new(call.array(called.data.start))
        };
        let exact = self.by_key.get(&(kind, called.target, selector));
        let any = || self.by_key.get(&(kind, ANY_TARGET, selector)).filter(|_| self.version.has_any_target());
        let Some((index, entry)) = exact.or_else(any) else {
            let words = match self.version {
                CallPolicyVersion::V0_0_1 => NotFound::NoWords,
                CallPolicyVersion::V0_0_5 => NotFound::Target,
                _ => NotFound::CallData,
            };
            return Err(Reason::CallNotAllowed { call: position, target: called.target, selector, words });
        };
        if called.value > entry.value_limit {
            let (limit, actual) = (entry.value_limit, called.value);
            return Err(Reason::Value { call: position, entry: *index, limit, actual });
        }
        for (i, rule) in entry.rules.iter().enumerate() {
            self.spend(GAS_OF_RULE)?;
            self.check_rule(call, called, (*index, i), rule)?;
        }
        Ok(())
    }

    fn check_rule(
        &self,
        call: &PolicyCall,
        called: &Called,
        (entry, i): (usize, usize),
        rule: &Rule,
    ) -> Result<(), Reason> {
        let (position, offset, data) = (called.position, rule.offset, called.data);
        if offset.checked_add(36).is_none() {
            return Err(Reason::RuleOffset { call: position, entry, rule: i, offset });
        }
        if data.length < U256::from(offset) + U256::from(36) {
            return Err(Reason::RuleBeyondData { call: position, entry, rule: i, offset, bytes: data.length });
        }
        let arguments = data.start.wrapping_add(U256::from(4));
        let word = call.word(arguments.wrapping_add(U256::from(offset)));
        let first = rule.params.first().map(|param| U256::from_be_bytes(param.0));
        let compare = |holds: fn(&U256, &U256) -> bool| first.is_some_and(|param| holds(&word, &param));
        let holds = match rule.condition {
            Condition::Eq => compare(U256::eq),
            Condition::Gt => compare(U256::gt),
            Condition::Lt => compare(U256::lt),
            Condition::Gte => compare(U256::ge),
            Condition::Lte => compare(U256::le),
            Condition::Ne => compare(U256::ne),
            Condition::OneOf => rule.params.contains(&B256::from(word)),
            Condition::SliceEq => {
                let [start, length, hash] = rule.params.as_slice() else {
                    return Err(Reason::CallUnreadable { call: Some(position) }); // no install lets it through
                };
                let (start, length) = (U256::from_be_bytes(start.0), U256::from_be_bytes(length.0));
                let Some(needed) = start.checked_add(length) else {
                    return Err(Reason::RuleOffset { call: position, entry, rule: i, offset });
                };
                let at = arguments.wrapping_add(word);
                let actual = call.word(at);
                if actual < needed {
                    return Err(Reason::SliceTooShort { call: position, entry, rule: i, needed, actual });
                }
                self.spend(length.saturating_to::<u64>().div_ceil(32).saturating_mul(GAS_OF_WORD))?;
                let bytes = call.copy(at.wrapping_add(U256::from(32)).wrapping_add(start), length.saturating_to());
                keccak256(bytes) == *hash
            }
            Condition::Unknown(_) => false, // no install lets it through
        };
        if holds {
            return Ok(());
        }
        let (condition, expected, actual) = (rule.condition, rule.params.clone(), B256::from(word));
        Err(Reason::Rule { call: position, entry, rule: i, offset, condition, expected, actual })
    }
}

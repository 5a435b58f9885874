//! A call that a permission allows, made up: what a proof of revocation tries before and after. It is never sent.

use std::collections::BTreeSet;

use alloy::primitives::{Address, B256, Bytes, Selector, U256};

use super::{
    account::{CallType, ExecType, Execution, selector},
    permission_config::PermissionConfig,
    policy::{
        Policy,
        call::{ANY_TARGET, CallPolicy, Condition, Entry, Rule},
    },
};
use crate::{
    erc4337::v07::Paymaster,
    protocol::{AccountCall, Call},
};

/// Bytes of arguments; a rule further out gets no witness.
const MAX_ARGUMENTS: usize = 16 * 1024;

/// Where an entry is for any contract.
const SOMEWHERE: Address = Address::repeat_byte(0x11);

/// An operation's calldata, and who pays for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    pub call_data: Bytes,
    pub paymaster: Option<Paymaster>,
    /// Whether it makes any call. An empty batch passes every call policy.
    pub calls: bool,
}

/// An operation that passes the permission's policies by their scope, through the function that the key was approved for. `None`
/// where there is none, or where a policy is not understood: then a refusal says nothing about the key.
pub fn witness(config: &PermissionConfig, function: Selector, has_hook: bool) -> Option<Witness> {
    if config.flag.refuses_operations() {
        return None;
    }
    let asked: Vec<&Policy> = config.policies.iter().filter(|policy| !policy.flag().skips_operations()).collect();
    let calls: Vec<&CallPolicy> = asked
        .iter()
        .filter_map(|policy| match policy {
            Policy::Call { call, .. } => Some(call),
            _ => None,
        })
        .collect();
    let mut paymaster = None;
    for policy in &asked {
        match policy {
            Policy::Unknown { .. } => return None,
            Policy::Gas { gas, .. } => match (gas.required_paymaster(), &paymaster) {
                (Some(required), Some(other)) if required != *other => return None,
                (Some(required), _) => paymaster = Some(required),
                (None, _) => {}
            },
            _ => {}
        }
    }
    let (call_data, makes_calls) = call_data(&calls, function, has_hook)?;
    let paymaster = paymaster.map(|address| Paymaster { address, ..Paymaster::default() });
    Some(Witness { call_data, paymaster, calls: makes_calls })
}

fn call_data(calls: &[&CallPolicy], function: Selector, has_hook: bool) -> Option<(Bytes, bool)> {
    let executes = [selector::EXECUTE, selector::EXECUTE_USER_OP].contains(&function);
    // A call policy reads nothing but `execute`, and a hook wants something in front of it.
    let hooked = has_hook || function == selector::EXECUTE_USER_OP;
    if (hooked || !executes) && !calls.is_empty() {
        return None;
    }
    if !executes {
        let words = [function.as_slice(), &[0; 64]].concat();
        let prefix = if has_hook { selector::EXECUTE_USER_OP.as_slice() } else { &[] };
        return Some(([prefix, &words].concat().into(), true));
    }
    let call = allowed(calls);
    let makes_calls = call.is_some();
    let call = call.unwrap_or_else(|| AccountCall::ExecuteBatch(Vec::new()));
    Some((Execution { call, exec: ExecType::Revert, hooked }.encode(), makes_calls))
}

/// A call that every one of these policies allows: found among the entries of the first.
fn allowed(policies: &[&CallPolicy]) -> Option<AccountCall> {
    let Some(first) = policies.first() else {
        return Some(AccountCall::Execute(Call { to: SOMEWHERE, value: U256::ZERO, data: Bytes::new() }));
    };
    let candidates = first.entries().iter().filter_map(|entry| made_of(first, entry));
    let passes = |call: &AccountCall| policies.iter().all(|policy| allows(policy, call));
    candidates.into_iter().find(passes)
}

/// Arguments that satisfy every rule of an entry, found by trying the words that stand in the rules and their neighbours.
fn made_of(policy: &CallPolicy, entry: &Entry) -> Option<AccountCall> {
    let mut data =
        if entry.selector == selector::NONE && entry.rules.is_empty() && policy.version().allows_empty_calls() {
            Vec::new()
        } else {
            entry.selector.to_vec()
        };
    let offsets: BTreeSet<u64> = entry.rules.iter().map(|rule| rule.offset).collect();
    for offset in offsets {
        let at = usize::try_from(offset).ok().filter(|at| *at <= MAX_ARGUMENTS)?.checked_add(4)?;
        if data.len() < at + 32 {
            data.resize(at + 32, 0);
        }
        let here = || entry.rules.iter().filter(|rule| rule.offset == offset);
        let params = here().flat_map(|rule| &rule.params).map(|param| U256::from_be_bytes(param.0));
        let around = |p: U256| [p, p.saturating_add(U256::ONE), p.saturating_sub(U256::ONE)];
        let candidates = params.flat_map(around).chain([U256::ZERO, U256::MAX]);
        let word = candidates.into_iter().find(|word| here().all(|rule| holds(rule, *word)))?;
        data.get_mut(at..at + 32)?.copy_from_slice(&word.to_be_bytes::<32>());
    }
    let to = if entry.target == ANY_TARGET { SOMEWHERE } else { entry.target };
    match entry.call_type {
        CallType::Call => Some(AccountCall::Execute(Call { to, value: U256::ZERO, data: data.into() })),
        CallType::DelegateCall if policy.version().reads_delegate_calls() => {
            Some(AccountCall::ExecuteDelegateCall { to, data: data.into() })
        }
        _ => None,
    }
}

/// Whether a condition holds of a word; of a slice nothing is claimed.
fn holds(rule: &Rule, word: U256) -> bool {
    let params: Vec<U256> = rule.params.iter().map(|param| U256::from_be_bytes(param.0)).collect();
    let Some(first) = params.first() else { return false };
    match rule.condition {
        Condition::Eq => word == *first,
        Condition::Gt => word > *first,
        Condition::Lt => word < *first,
        Condition::Gte => word >= *first,
        Condition::Lte => word <= *first,
        Condition::Ne => word != *first,
        Condition::OneOf => params.contains(&word),
        Condition::SliceEq | Condition::Unknown(_) => false,
    }
}

/// Whether a policy lets a call without value through: by the exact entry, else by that for any contract.
fn allows(policy: &CallPolicy, call: &AccountCall) -> bool {
    let (kind, to, data) = match call {
        AccountCall::Execute(call) => (CallType::Call, call.to, &call.data),
        AccountCall::ExecuteDelegateCall { to, data } if policy.version().reads_delegate_calls() => {
            (CallType::DelegateCall, *to, data)
        }
        _ => return false,
    };
    let function = match data.get(..4) {
        Some(function) => Selector::from_slice(function),
        None if data.is_empty() && policy.version().allows_empty_calls() => selector::NONE,
        None => return false,
    };
    let entry = |target: Address| policy.entries().iter().find(|entry| entry.key() == (kind, target, function));
    let any = || entry(ANY_TARGET).filter(|_| policy.version().has_any_target());
    let Some(entry) = entry(to).or_else(any) else { return false };
    entry.rules.iter().all(|rule| {
        let at = usize::try_from(rule.offset).unwrap_or(usize::MAX).saturating_add(4);
        let word = data.get(at..at.saturating_add(32)).map(B256::from_slice);
        word.is_some_and(|word| holds(rule, word.into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::kernel_v3::{
        permission_config::{PermissionFlag, Signer},
        policy::{PolicyFlag, call::CallPolicyVersion, gas::GasPolicy},
    };

    const TARGET: Address = Address::repeat_byte(7);

    fn entry(target: Address, rules: Vec<(u64, Condition, Vec<u64>)>) -> Entry {
        let word = |n: u64| B256::from(U256::from(n));
        let rule = |(offset, condition, params): (u64, Condition, Vec<u64>)| Rule {
            offset,
            condition,
            params: params.into_iter().map(word).collect(),
        };
        let rules = rules.into_iter().map(rule).collect();
        let (call_type, value_limit) = (CallType::Call, U256::ZERO);
        Entry { call_type, target, selector: [1, 2, 3, 4].into(), value_limit, rules }
    }

    fn config(entries: Vec<Entry>) -> PermissionConfig {
        let call = CallPolicy::new(CallPolicyVersion::V0_0_4, entries).unwrap();
        let policies = vec![Policy::Call { flag: PolicyFlag::default(), call }];
        PermissionConfig { flag: PermissionFlag::default(), signer: Signer::Ecdsa(TARGET), policies }
    }

    fn call(config: &PermissionConfig) -> AccountCall {
        Execution::decode(&witness(config, selector::EXECUTE, false).unwrap().call_data).call
    }

    #[test]
    fn ranges_lists_and_fixed_arguments_are_met() {
        use Condition::{Eq, Gt, Lt, Ne, OneOf};
        let rules =
            vec![(0, Eq, vec![9]), (64, Gt, vec![5]), (64, Lt, vec![8]), (64, Ne, vec![6]), (96, OneOf, vec![3, 4])];
        let AccountCall::Execute(call) = call(&config(vec![entry(TARGET, rules)])) else { panic!("one call") };
        let words: Vec<U256> = call.data[4..].chunks(32).map(U256::from_be_slice).collect();
        assert_eq!((call.to, words), (TARGET, vec![9, 0, 7, 3].into_iter().map(U256::from).collect()));
    }

    #[test]
    fn an_exact_entry_hides_the_one_for_any_contract() {
        // What the wildcard would allow is refused for a contract that has an entry of its own.
        let impossible = vec![(0, Condition::OneOf, vec![])];
        let open = config(vec![entry(TARGET, impossible.clone()), entry(ANY_TARGET, vec![])]);
        let AccountCall::Execute(made) = call(&open) else { panic!("one call") };
        assert_eq!(made.to, SOMEWHERE);
        let hidden = config(vec![entry(SOMEWHERE, impossible), entry(ANY_TARGET, vec![])]);
        assert_eq!(call(&hidden), AccountCall::ExecuteBatch(vec![]));
    }

    #[test]
    fn what_cannot_pass_or_is_not_understood_has_no_witness() {
        let any = config(vec![entry(TARGET, vec![])]);
        assert_eq!(witness(&any, selector::EXECUTE, true), None, "a hook and a call policy never pass");
        assert_eq!(witness(&any, [0x1f, 0x1b, 0x92, 0xe3].into(), false), None);
        let mut unknown = any.clone();
        let flag = PolicyFlag::default();
        unknown.policies.push(Policy::Unknown { flag, address: TARGET, data: Bytes::new() });
        assert_eq!(witness(&unknown, selector::EXECUTE, false), None);
        let refusing = PermissionConfig { flag: PermissionFlag([0, 1]), ..any.clone() };
        assert_eq!(witness(&refusing, selector::EXECUTE, false), None);
        let gas = GasPolicy { allowed: 1, enforce_paymaster: true, allowed_paymaster: TARGET };
        let mut pinned = any;
        pinned.policies.push(Policy::Gas { flag, gas });
        assert_eq!(witness(&pinned, selector::EXECUTE, false).unwrap().paymaster.unwrap().address, TARGET);
    }
}

//! A call that a scope allows, made up: what a proof of revocation tries before and after. It is never sent.

use std::collections::BTreeSet;

use alloy::primitives::{Address, B256, Bytes, Selector, U256};

use super::{
    account::selector,
    generation::Generation,
    signature::{Shown, proof_data},
};
use crate::{
    policy::scope::{ANY_PAYMASTER, ExecutionRule, Operation, Permission, Scope},
    protocol::{AccountCall, Call},
};

/// Bytes of arguments; a rule further out gets no witness.
const MAX_ARGUMENTS: usize = 16 * 1024;

/// An operation's calldata, the permission shown for it with its proof, and its paymaster field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    pub call_data: Bytes,
    pub proof: Bytes,
    pub paymaster_and_data: Bytes,
}

/// A call through one account function that the scope allows. Where none can be made up, or the scope is not known, a call with
/// a permission that is not in it: the chain gets as far as the proof when the key is enabled, and no further than that
/// otherwise.
pub fn witness(scope: &Scope, function: Selector, generation: Generation) -> Witness {
    let wanted = if function == selector::EXECUTE_DELEGATE_CALL { Operation::DelegateCall } else { Operation::Call };
    let allowed = scope.permissions.iter().enumerate().filter(|(_, p)| p.operation == wanted).find_map(|(i, p)| {
        let shown = if function == selector::EXECUTE_BATCH { Shown::Batch(&[i]) } else { Shown::One(i) };
        Some((allowed_call(p)?, proof_data(&scope.permissions, shown, generation)?))
    });
    let (call, proof) = allowed.unwrap_or_else(|| foreign_call(function, generation));
    let account_call = match function {
        selector::EXECUTE_BATCH => AccountCall::ExecuteBatch(vec![call]),
        selector::EXECUTE_DELEGATE_CALL => AccountCall::ExecuteDelegateCall { to: call.to, data: call.data },
        _ => AccountCall::Execute(call),
    };
    let paymaster_and_data = match scope.paymaster {
        Address::ZERO => Bytes::new(),
        ANY_PAYMASTER => Bytes::copy_from_slice(Address::repeat_byte(0x11).as_slice()),
        exactly => Bytes::copy_from_slice(exactly.as_slice()),
    };
    Witness { call_data: account_call.encode(), proof, paymaster_and_data }
}

fn foreign_call(function: Selector, generation: Generation) -> (Call, Bytes) {
    let delegates = function == selector::EXECUTE_DELEGATE_CALL;
    let permission = Permission {
        index: 0,
        target: Address::repeat_byte(0x11),
        sig: Selector::ZERO,
        value_limit: U256::ZERO,
        rules: Vec::new(),
        execution_rule: ExecutionRule::default(),
        operation: if delegates { Operation::DelegateCall } else { Operation::Call },
    };
    let proof = match function {
        selector::EXECUTE_BATCH => Permission::encode_batch_with_proofs(&[&permission], &[Vec::new()], generation),
        _ => permission.encode_with_proof(&[], generation),
    };
    let call = Call { to: permission.target, value: U256::ZERO, data: permission.sig.to_vec().into() };
    (call, proof.into())
}

/// Arguments that satisfy every rule of a permission, found by trying the words that stand in the rules and their neighbours.
fn allowed_call(permission: &Permission) -> Option<Call> {
    let mut data = permission.sig.to_vec();
    let offsets: BTreeSet<U256> = permission.rules.iter().map(|r| r.offset).collect();
    for offset in offsets {
        let at = usize::try_from(offset).ok().filter(|at| *at <= MAX_ARGUMENTS)?.checked_add(4)?;
        if data.len() < at + 32 {
            data.resize(at + 32, 0);
        }
        let here = || permission.rules.iter().filter(|r| r.offset == offset);
        let params: Vec<U256> = here().map(|r| U256::from_be_bytes(r.param.0)).collect();
        let around = |p: &U256| [*p, p.saturating_add(U256::ONE), p.saturating_sub(U256::ONE)];
        let candidates = params.iter().flat_map(around).chain([U256::ZERO, U256::MAX]);
        let fits = |word: &U256| here().all(|r| r.condition.holds(*word, U256::from_be_bytes(r.param.0)));
        let word = candidates.into_iter().find(fits)?;
        data.get_mut(at..at + 32)?.copy_from_slice(&word.to_be_bytes::<32>());
    }
    // Rules that overlap may have spoilt each other's words.
    let holds = permission.rules.iter().all(|r| {
        let at = usize::try_from(r.offset).unwrap_or(usize::MAX).saturating_add(4);
        let word = data.get(at..at.saturating_add(32)).map(B256::from_slice);
        word.is_some_and(|w| r.condition.holds(w.into(), r.param.into()))
    });
    let target = if permission.target.is_zero() { Address::repeat_byte(0x11) } else { permission.target };
    holds.then(|| Call { to: target, value: U256::ZERO, data: data.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::scope::{Condition, Rule};

    fn scope(rules: Vec<(u64, Condition, u64)>) -> Scope {
        let rules = rules
            .into_iter()
            .map(|(offset, condition, param)| Rule {
                offset: U256::from(offset),
                condition,
                param: U256::from(param).into(),
            })
            .collect();
        let permission = Permission {
            index: 0,
            target: Address::repeat_byte(7),
            sig: [1, 2, 3, 4].into(),
            value_limit: U256::ZERO,
            rules,
            execution_rule: ExecutionRule::default(),
            operation: Operation::Call,
        };
        Scope { valid_after: 0, valid_until: 0, paymaster: Address::ZERO, permissions: vec![permission] }
    }

    fn words(scope: &Scope) -> Option<Vec<U256>> {
        let call_data = witness(scope, selector::EXECUTE, Generation::G2).call_data;
        let calls = AccountCall::decode(&call_data).calls();
        let data = &calls.first()?.data;
        Some(data.get(4..)?.chunks(32).map(U256::from_be_slice).collect())
    }

    #[test]
    fn a_range_and_a_fixed_argument_are_met() {
        use Condition::{Eq, Gt, Lt, Ne};
        let scope = scope(vec![(0, Eq, 9), (64, Gt, 5), (64, Lt, 8), (64, Ne, 6)]);
        assert_eq!(words(&scope).unwrap(), [9, 0, 7].map(U256::from));
    }

    #[test]
    fn what_cannot_be_met_gets_a_call_with_a_foreign_permission() {
        let impossible = scope(vec![(0, Condition::Eq, 1), (0, Condition::Eq, 2)]);
        let made = witness(&impossible, selector::EXECUTE, Generation::G2);
        let calls = AccountCall::decode(&made.call_data).calls();
        assert_eq!((calls[0].to, calls[0].data.len()), (Address::repeat_byte(0x11), 4));
        assert!(!made.proof.is_empty());
    }
}

//! A permission as SessionKeyValidator hashes it (`abi.encode(Permission)`), field for field and in its order.

use alloy::{
    primitives::{B256, U256, keccak256},
    sol,
    sol_types::SolValue,
};

use super::generation::Generation;
use crate::policy::scope::{MAX_UINT48, Permission};

sol! {
    struct SolRule { uint256 offset; uint8 condition; bytes32 param; }
    struct SolExecutionRule { uint48 validAfter; uint48 interval; uint48 runs; }
    struct SolPermissionG1 {
        uint32 index; address target; bytes4 sig; uint256 valueLimit;
        SolRule[] rules; SolExecutionRule executionRule;
    }
    struct SolPermissionG2 {
        uint32 index; address target; bytes4 sig; uint256 valueLimit;
        SolRule[] rules; SolExecutionRule executionRule; uint8 operation;
    }
}

impl Permission {
    /// `abi.encode(permission)` as the validator of this generation hashes and decodes it (G1 has no `operation`).
    pub fn encode(&self, generation: Generation) -> Vec<u8> {
        let mut encoded = Vec::new();
        self.encode_into(generation, &mut encoded);
        encoded
    }

    /// The same behind what is there, word by word: a tree of ten thousand is made of nothing else.
    pub(super) fn encode_into(&self, generation: Generation, out: &mut Vec<u8>) {
        /// Words of the head before the operation: index, target, sig, valueLimit, where the rules begin, and the three of the run limit.
        const HEAD: u64 = 8;
        let has_operation = generation.knows_operation();
        let mut word = |word: [u8; 32]| out.extend_from_slice(&word);
        let number = |n: u64| U256::from(n).to_be_bytes::<32>();
        word(number(32));
        word(number(u64::from(self.index)));
        word(self.target.into_word().0);
        word(right_padded(&self.sig.0));
        word(self.value_limit.to_be_bytes());
        word(number(32 * (HEAD + u64::from(has_operation))));
        word(number(self.execution_rule.valid_after & MAX_UINT48));
        word(number(self.execution_rule.interval & MAX_UINT48));
        word(number(self.execution_rule.runs & MAX_UINT48));
        if has_operation {
            word(number(u64::from(self.operation.code())));
        }
        word(number(self.rules.len() as u64));
        for rule in &self.rules {
            word(rule.offset.to_be_bytes());
            word(number(u64::from(rule.condition.code())));
            word(rule.param.0);
        }
    }

    /// The leaf of the permission tree: `keccak256(abi.encode(permission))`.
    pub fn leaf(&self, generation: Generation) -> B256 {
        keccak256(self.encode(generation))
    }

    /// `abi.encode(Permission, bytes32[])`: what the validator reads behind the session signature of `execute`.
    pub(super) fn encode_with_proof(&self, proof: &[B256], generation: Generation) -> Vec<u8> {
        match generation {
            Generation::G1 => (self.to_sol_g1(), proof.to_vec()).abi_encode_params(),
            Generation::G2 | Generation::G3 => (self.to_sol_g2(), proof.to_vec()).abi_encode_params(),
        }
    }

    /// `abi.encode(Permission[], bytes32[][])`: the same for `executeBatch`, one permission and proof a call.
    pub(super) fn encode_batch_with_proofs(
        permissions: &[&Self],
        proofs: &[Vec<B256>],
        generation: Generation,
    ) -> Vec<u8> {
        let proofs = proofs.to_vec();
        match generation {
            Generation::G1 => {
                (permissions.iter().map(|p| p.to_sol_g1()).collect::<Vec<_>>(), proofs).abi_encode_params()
            }
            Generation::G2 | Generation::G3 => {
                (permissions.iter().map(|p| p.to_sol_g2()).collect::<Vec<_>>(), proofs).abi_encode_params()
            }
        }
    }

    fn sol_rules(&self) -> Vec<SolRule> {
        self.rules.iter().map(|r| SolRule { offset: r.offset, condition: r.condition.code(), param: r.param }).collect()
    }

    fn sol_execution_rule(&self) -> SolExecutionRule {
        use alloy::primitives::aliases::U48;
        let word = |v: u64| U48::from(v & MAX_UINT48);
        SolExecutionRule {
            validAfter: word(self.execution_rule.valid_after),
            interval: word(self.execution_rule.interval),
            runs: word(self.execution_rule.runs),
        }
    }

    fn to_sol_g1(&self) -> SolPermissionG1 {
        SolPermissionG1 {
            index: self.index,
            target: self.target,
            sig: self.sig,
            valueLimit: self.value_limit,
            rules: self.sol_rules(),
            executionRule: self.sol_execution_rule(),
        }
    }

    fn to_sol_g2(&self) -> SolPermissionG2 {
        SolPermissionG2 {
            index: self.index,
            target: self.target,
            sig: self.sig,
            valueLimit: self.value_limit,
            rules: self.sol_rules(),
            executionRule: self.sol_execution_rule(),
            operation: self.operation.code(),
        }
    }
}

fn right_padded(bytes: &[u8; 4]) -> [u8; 32] {
    let mut word = [0; 32];
    for (place, byte) in word.iter_mut().zip(bytes) {
        *place = *byte;
    }
    word
}

#[cfg(test)]
mod encoding {
    use alloy::primitives::Address;
    use proptest::prelude::*;

    use super::*;
    use crate::policy::scope::{Condition, ExecutionRule, Operation, Rule};

    prop_compose! {
        fn any_rule()(offset in any::<[u8; 32]>(), condition in 0..6usize, param in any::<[u8; 32]>()) -> Rule {
            Rule { offset: U256::from_be_bytes(offset), condition: Condition::ALL[condition], param: param.into() }
        }
    }

    prop_compose! {
        fn any_permission()(
            index in any::<u32>(),
            target in any::<[u8; 20]>(),
            sig in any::<[u8; 4]>(),
            value in any::<[u8; 32]>(),
            rules in prop::collection::vec(any_rule(), 0..5),
            limit in any::<[u64; 3]>(),
            delegates in any::<bool>(),
        ) -> Permission {
            let [valid_after, interval, runs] = limit;
            Permission {
                index,
                target: Address::from(target),
                sig: sig.into(),
                value_limit: U256::from_be_bytes(value),
                rules,
                execution_rule: ExecutionRule { valid_after, interval, runs },
                operation: if delegates { Operation::DelegateCall } else { Operation::Call },
            }
        }
    }

    proptest! {
        #[test]
        fn the_words_are_those_of_the_abi(permission in any_permission()) {
            prop_assert_eq!(permission.encode(Generation::G1), permission.to_sol_g1().abi_encode());
            prop_assert_eq!(permission.encode(Generation::G2), permission.to_sol_g2().abi_encode());
            prop_assert_eq!(permission.encode(Generation::G3), permission.to_sol_g2().abi_encode());
        }
    }
}

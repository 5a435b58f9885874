//! A permission as SessionKeyValidator hashes it (`abi.encode(Permission)`), field for field and in its order.

use alloy::{
    primitives::{B256, keccak256},
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
        match generation {
            Generation::G1 => self.to_sol_g1().abi_encode(),
            Generation::G2 | Generation::G3 => self.to_sol_g2().abi_encode(),
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

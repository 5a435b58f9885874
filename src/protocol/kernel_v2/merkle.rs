//! The permission tree: leaves in input order, pairs sorted, an odd node promoted unchanged.

use alloy::primitives::{B256, keccak256};

use super::generation::Generation;
use crate::policy::scope::Permission;

/// All layers of a permission tree, leaves first.
#[derive(Debug, Clone)]
pub struct Tree {
    layers: Vec<Vec<B256>>,
}

impl Tree {
    /// The tree of a permission list. A single leaf is duplicated, as the SDKs do and every signed approval assumes.
    pub fn new(permissions: &[Permission], generation: Generation) -> Self {
        let mut encoded = Vec::new();
        let leaf = |permission: &Permission| {
            encoded.clear();
            permission.encode_into(generation, &mut encoded);
            keccak256(&encoded)
        };
        Self::from_leaves(permissions.iter().map(leaf).collect())
    }

    pub fn from_leaves(mut leaves: Vec<B256>) -> Self {
        if let [only] = leaves[..] {
            leaves.push(only);
        }
        let mut layers = vec![leaves];
        while let Some(below) = layers.last().filter(|l| l.len() > 1) {
            let above = below
                .chunks(2)
                .map(|pair| match *pair {
                    [a, b] => hash_pair(a, b),
                    [odd] => odd,
                    _ => B256::ZERO, // chunks(2) yields one or two
                })
                .collect();
            layers.push(above);
        }
        Self { layers }
    }

    /// Zero for an empty list, which the validator reads as "everything is allowed".
    pub fn root(&self) -> B256 {
        self.layers.last().and_then(|l| l.first()).copied().unwrap_or(B256::ZERO)
    }

    /// Siblings from the leaf at `position` up to the root; empty when there is no such leaf.
    pub fn proof(&self, position: usize) -> Vec<B256> {
        let mut index = position;
        let mut proof = Vec::new();
        if self.layers.first().is_none_or(|leaves| position >= leaves.len()) {
            return proof;
        }
        for layer in &self.layers {
            if let Some(sibling) = layer.get(index ^ 1) {
                proof.push(*sibling);
            }
            index /= 2;
        }
        proof
    }
}

/// Whether `leaf` and `proof` hash up to `root`, as the validator's MerkleProof library does it.
pub fn verify(root: B256, leaf: B256, proof: &[B256]) -> bool {
    proof.iter().fold(leaf, |node, sibling| hash_pair(node, *sibling)) == root
}

fn hash_pair(a: B256, b: B256) -> B256 {
    let (low, high) = if a <= b { (a, b) } else { (b, a) };
    let mut pair = [0; 64];
    let (first, second) = pair.split_at_mut(32);
    first.copy_from_slice(low.as_slice());
    second.copy_from_slice(high.as_slice());
    keccak256(pair)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_has_the_zero_root_that_allows_everything() {
        assert_eq!(Tree::from_leaves(Vec::new()).root(), B256::ZERO);
    }

    #[test]
    fn a_position_past_the_leaves_has_no_proof() {
        let tree = Tree::from_leaves((0..4u8).map(|i| keccak256([i])).collect());
        assert!(tree.proof(4).is_empty());
        assert!(tree.proof(5).is_empty());
        assert!(tree.proof(usize::MAX).is_empty());
    }

    #[test]
    fn a_single_leaf_is_its_own_sibling() {
        let leaf = B256::repeat_byte(7);
        let tree = Tree::from_leaves(vec![leaf]);
        assert_eq!(tree.proof(0), vec![leaf]);
        assert!(verify(tree.root(), leaf, &tree.proof(0)));
    }

    #[test]
    fn every_leaf_of_every_size_proves_itself_and_no_other() {
        for size in 1..40u8 {
            let leaves: Vec<B256> = (0..size).map(|i| keccak256([i])).collect();
            let tree = Tree::from_leaves(leaves.clone());
            for (i, leaf) in leaves.iter().enumerate() {
                assert!(verify(tree.root(), *leaf, &tree.proof(i)), "leaf {i} of {size}");
                assert!(!verify(tree.root(), keccak256(b"other"), &tree.proof(i)));
            }
        }
    }
}

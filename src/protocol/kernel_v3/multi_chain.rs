//! One owner's signature for approvals on several chains (docs/kernel-v3.md#multi-chain-approvals): a tree of their digests.

use alloy::{
    primitives::{Address, B256, Bytes, eip191_hash_message, keccak256},
    sol_types::SolValue,
};

use super::{canonical::Cursor, signature::recover};

/// `signature65 ‖ root32 ‖ abi.encode(bytes32[] proof)`: what stands in the place of the owner's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MultiChainSignature {
    /// The owner's, over the root as an EIP-191 message: the same on every chain.
    pub signature: [u8; 65],
    pub root: B256,
    pub proof: Vec<B256>,
}

impl MultiChainSignature {
    pub fn encode(&self) -> Bytes {
        [&self.signature[..], self.root.as_slice(), &self.proof.abi_encode()].concat().into()
    }

    pub fn decode(data: &[u8]) -> Option<Self> {
        let (signature, rest) = data.split_first_chunk::<65>()?;
        let (root, proof) = rest.split_first_chunk::<32>()?;
        let proof = Cursor::whole(proof, |cursor| {
            cursor.offset(32)?;
            cursor.list(Cursor::word)
        })?;
        Some(Self { signature: *signature, root: B256::from(*root), proof })
    }

    /// Whether the owner signed a tree that has this digest as a leaf.
    pub fn is_signed_by(&self, owner: Address, digest: B256) -> bool {
        let root = self.proof.iter().fold(digest, |node, sibling| pair(node, *sibling));
        root == self.root && recover(eip191_hash_message(root), &self.signature) == Some(owner)
    }
}

/// The root of a tree of digests: pairs sorted, an odd one moves up unchanged; of a single digest, itself.
pub fn root(digests: &[B256]) -> B256 {
    let mut level = digests.to_vec();
    while level.len() > 1 {
        level = level_above(&level);
    }
    level.first().copied().unwrap_or_default()
}

/// The siblings from a digest up to the root.
pub fn proof(digests: &[B256], mut position: usize) -> Vec<B256> {
    let (mut level, mut proof) = (digests.to_vec(), Vec::new());
    while level.len() > 1 {
        proof.extend(level.get(position ^ 1));
        position /= 2;
        level = level_above(&level);
    }
    proof
}

fn level_above(level: &[B256]) -> Vec<B256> {
    let above = level.chunks(2).map(|nodes| match nodes {
        [left, right] => pair(*left, *right),
        _ => nodes.first().copied().unwrap_or_default(),
    });
    above.collect()
}

fn pair(one: B256, other: B256) -> B256 {
    keccak256([one.min(other).as_slice(), one.max(other).as_slice()].concat())
}

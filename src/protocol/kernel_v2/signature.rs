//! What goes into a UserOperation's `signature`, by mode (docs/kernel-v2.md#signatures): 0 the owner, 1 an enabled key, 2 enable and use.

use alloy::primitives::{Address, B256, Bytes, U256};

use super::{approval::Approval, generation::Generation, merkle::Tree};
use crate::policy::scope::Permission;

/// Which validator judges the operation: the first four bytes of the signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The owner, through the account's default validator.
    Sudo,
    /// A session key that is enabled on chain.
    Use,
    /// A session key enabled by this very operation.
    Enable,
}

/// Mode 0: the owner's signature over the UserOperation hash (EIP-191).
pub fn sudo(owner_signature: &[u8; 65]) -> Bytes {
    [&[0, 0, 0, 0][..], owner_signature].concat().into()
}

/// Which permissions a session key shows for its calls, with their proofs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown<'a> {
    /// A key without permissions (root 0) shows nothing.
    Nothing,
    /// For `execute` and `executeDelegateCall`: the position of the permission.
    One(usize),
    /// For `executeBatch`: one position a call, in order.
    Batch(&'a [usize]),
}

/// The bytes behind the session signature; `None` when a position is not in the list.
pub fn proof_data(permissions: &[Permission], shown: Shown<'_>, generation: Generation) -> Option<Bytes> {
    let tree = Tree::new(permissions, generation);
    let bytes = match shown {
        Shown::Nothing => Vec::new(),
        Shown::One(i) => permissions.get(i)?.encode_with_proof(&tree.proof(i), generation),
        Shown::Batch(positions) => {
            let chosen = positions.iter().map(|i| permissions.get(*i)).collect::<Option<Vec<_>>>()?;
            let proofs: Vec<Vec<B256>> = positions.iter().map(|i| tree.proof(*i)).collect();
            Permission::encode_batch_with_proofs(&chosen, &proofs, generation)
        }
    };
    Some(bytes.into())
}

/// What the session key validator itself reads: `sessionKey20 ‖ sig65 ‖ proofData`.
pub fn session(session_key: Address, signature: &[u8; 65], proof_data: &[u8]) -> Bytes {
    [session_key.as_slice(), signature, proof_data].concat().into()
}

/// Mode 1: a key whose approval is already on chain.
pub fn use_enabled(session: &[u8]) -> Bytes {
    [&[0, 0, 0, 1][..], session].concat().into()
}

/// Mode 2: carries the approval, then the same as mode 1.
pub fn enable_and_use(approval: &Approval, session: &[u8]) -> Bytes {
    let length = |n: usize| U256::from(n).to_be_bytes::<32>();
    let enable_data = approval.request.enable.encode();
    [
        &[0, 0, 0, 2][..],
        approval.request.validator_data().as_slice(),
        approval.request.executor.as_slice(),
        &length(enable_data.len()),
        &enable_data,
        &length(approval.signature.len()),
        &approval.signature,
        session,
    ]
    .concat()
    .into()
}

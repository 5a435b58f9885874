//! What goes into a UserOperation's `signature`, by mode (docs/kernel-v2.md#signatures): 0 the owner, 1 an enabled key, 2 enable and use.

use alloy::{
    hex,
    primitives::{Address, B256, Bytes, U256},
};

use super::{approval::Approval, generation::Generation, merkle::Tree};
use crate::policy::scope::Permission;

/// Half of the order of secp256k1, rounded down: the account takes no `s` above it.
const HALF_ORDER: U256 = U256::from_be_bytes(hex!("7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0"));
const ORDER: U256 = U256::from_be_bytes(hex!("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"));

/// Why bytes are not a signature of one secp256k1 key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("expected 65 bytes (r, s, v), or the 64 bytes of EIP-2098, found {0}")]
    Length(usize),
    #[error("its last byte v is {0}; expected 27 or 28, or 0 or 1 as some hardware wallets answer")]
    Recovery(u8),
    #[error("its r or s is zero, or not below the order of the curve")]
    OutOfRange,
}

/// A signature as wallets hand it out, in the one form that the account takes: 65 bytes, v 27 or 28, s in the lower half.
///
/// Ledger devices answer v = 0 or 1; some libraries the 64 bytes of EIP-2098, whose highest bit is v. With s in the upper half
/// the same signature is `(r, n - s)` with the other v: it recovers to the same key. Who signed is for the caller to check.
pub fn normalized(signature: &[u8]) -> Result<[u8; 65], SignatureError> {
    let (mut words, v) = match *signature {
        [ref words @ .., v] if words.len() == 64 => {
            let v = match v {
                0 | 1 => v,
                27 | 28 => v - 27,
                other => return Err(SignatureError::Recovery(other)),
            };
            (words.to_vec(), v)
        }
        ref words if words.len() == 64 => {
            let mut words = words.to_vec();
            let odd = words.get_mut(32).map_or(0, |byte| {
                let odd = *byte >> 7;
                *byte &= 0x7f;
                odd
            });
            (words, odd)
        }
        _ => return Err(SignatureError::Length(signature.len())),
    };
    let (r, s) = words.split_at_mut(32);
    let (r_value, mut s_value) = (U256::from_be_slice(r), U256::from_be_slice(s));
    if [r_value, s_value].iter().any(|word| word.is_zero() || *word >= ORDER) {
        return Err(SignatureError::OutOfRange);
    }
    let mut v = v;
    if s_value > HALF_ORDER {
        s_value = ORDER - s_value;
        v ^= 1;
    }
    s.copy_from_slice(&s_value.to_be_bytes::<32>());
    let mut out = [0; 65];
    for (to, from) in out.iter_mut().zip(words.into_iter().chain([v + 27])) {
        *to = from;
    }
    Ok(out)
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{protocol::kernel_v2::approval::recover, secret::Secret};

    fn signed() -> (B256, [u8; 65], Address) {
        let secret = Secret::from_hex("0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80").unwrap();
        // One digest for each parity of v.
        let digest = B256::repeat_byte(0x42);
        (digest, secret.sign_hash(digest).unwrap(), secret.address())
    }

    fn compact(signature: &[u8; 65]) -> Vec<u8> {
        let mut out = signature[..64].to_vec();
        out[32] |= (signature[64] - 27) << 7;
        out
    }

    #[test]
    fn case26_every_shape_of_one_signature_becomes_the_form_the_account_takes() {
        let secret = Secret::from_hex("0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80").unwrap();
        for byte in 0..16 {
            let digest = B256::repeat_byte(byte);
            let plain = secret.sign_hash(digest).unwrap();
            let mut ledger = plain;
            ledger[64] -= 27;
            let mut high = plain;
            high[32..64].copy_from_slice(&(ORDER - U256::from_be_slice(&plain[32..64])).to_be_bytes::<32>());
            high[64] = 55 - high[64];
            for shape in [plain.to_vec(), ledger.to_vec(), compact(&plain), high.to_vec()] {
                assert_eq!(normalized(&shape), Ok(plain));
            }
            assert_eq!(recover(digest, &plain), Some(secret.address()));
        }
    }

    #[test]
    fn case26_anything_else_is_refused_with_its_reason() {
        let (_, plain, _) = signed();
        for v in [2, 26, 29, 35, 255] {
            let mut other = plain;
            other[64] = v;
            assert_eq!(normalized(&other), Err(SignatureError::Recovery(v)));
        }
        for length in [0, 1, 63, 66, 480] {
            assert_eq!(normalized(&vec![1; length]), Err(SignatureError::Length(length)));
        }
        assert_eq!(normalized(&[0; 65]), Err(SignatureError::OutOfRange));
        let mut beyond = plain;
        beyond[32..64].copy_from_slice(&ORDER.to_be_bytes::<32>());
        assert_eq!(normalized(&beyond), Err(SignatureError::OutOfRange));
    }
}

//! Signatures of secp256k1 keys, as wallets hand them out and as accounts take them.

use alloy::{
    hex,
    primitives::{Address, B256, Signature, U256},
};

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

/// The signer of `hash`, under the rule that accounts apply: exactly 65 bytes, v 27 or 28, s in the lower half of the curve order.
pub fn recover(hash: B256, signature: &[u8]) -> Option<Address> {
    let signature: &[u8; 65] = signature.try_into().ok()?;
    if !matches!(signature[64], 27 | 28) {
        return None;
    }
    let signature = Signature::from_raw_array(signature).ok()?;
    if signature.normalize_s().is_some() {
        return None;
    }
    signature.recover_address_from_prehash(&hash).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

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

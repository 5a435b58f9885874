//! What goes into a UserOperation's `signature`, and into a signature of the account (docs/kernel-v3.md#signatures).

use alloy::{
    primitives::{Address, B256, Bytes, FixedBytes, Signature, U256, b256},
    sol,
    sol_types::{SolStruct, SolValue},
};

use super::{account::domain, contracts::KernelVersion, nonce::PermissionId};
use crate::{erc4337::v07::Deployment, protocol::DUMMY_SIGNATURE};

/// In front of a whole signature, on versions that know it: hashes are taken with chain id 0
/// (docs/kernel-v3.md#chain-free-signatures).
pub const CHAIN_FREE_PREFIX: B256 = b256!("0555ad2729e8da1777a4e5020806f8bf7601c3db6bfe402f410a34958363a95a");

/// In front of the signer's own signature.
const SIGNER_PREFIX: u8 = 0xff;

/// Behind a signature of an account that is not deployed yet (ERC-6492).
const UNDEPLOYED_SUFFIX: B256 = b256!("6492649264926492649264926492649264926492649264926492649264926492");

const ORDER: U256 =
    U256::from_be_bytes(alloy::hex!("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"));

sol! {
    struct Kernel { bytes32 hash; }
}

/// The signer of `hash`, under the rule of the ECDSA contracts: 65 bytes with v 27 or 28, or the 64 of EIP-2098; `s` in either
/// half. `None` is what they revert for (`InvalidSignature`).
pub fn recover(hash: B256, signature: &[u8]) -> Option<Address> {
    let signature = match signature {
        [.., 27 | 28] if signature.len() == 65 => Signature::from_raw(signature).ok()?,
        _ if signature.len() == 64 => Signature::from_erc2098(signature),
        _ => return None,
    };
    if [signature.r(), signature.s()].iter().any(|number| number.is_zero() || *number >= ORDER) {
        return None;
    }
    signature.recover_address_from_prehash(&hash).ok()
}

/// What a policy is shown, in front of the signer's signature. None of the policies that are understood reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Position of the policy.
    pub policy: u8,
    pub data: Bytes,
}

/// The signature of a permission: `segments ‖ ff ‖ signature`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UseSignature {
    /// Ascending; policies may be left out.
    pub segments: Vec<Segment>,
    pub signature: Bytes,
}

/// Why the signature of a permission is not read: what the account reverts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UseFault {
    #[error("it ends before the signer's signature (`Panic(50)`)")]
    Ends,
    #[error("a policy's segment is cut off")]
    CutOff,
    #[error("the segment of policy {0} comes too late (`PolicySignatureOrderError`)")]
    Order(u8),
    #[error("0xff is not where the signer's signature begins (`SignerPrefixNotPresent`)")]
    NoPrefix,
}

impl UseSignature {
    /// Without segments, as the SDKs write it.
    pub fn plain(signature: &[u8]) -> Self {
        Self { segments: Vec::new(), signature: Bytes::copy_from_slice(signature) }
    }

    /// For the estimation of gas: 66 bytes.
    pub fn dummy() -> Self {
        Self::plain(&DUMMY_SIGNATURE)
    }

    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(1 + self.signature.len());
        for segment in &self.segments {
            out.push(segment.policy);
            out.extend((segment.data.len() as u64).to_be_bytes());
            out.extend(&segment.data);
        }
        out.push(SIGNER_PREFIX);
        out.extend(&self.signature);
        out.into()
    }

    /// Reads it as the account does for a permission with so many policies. Policies before a fault were asked already.
    pub fn decode(data: &[u8], policies: usize) -> Result<Self, UseFault> {
        let (mut rest, mut segments) = (data, Vec::new());
        for policy in 0..policies {
            let next = *rest.first().ok_or(UseFault::Ends)?;
            if usize::from(next) < policy {
                return Err(UseFault::Order(next));
            }
            if usize::from(next) > policy {
                continue;
            }
            let (length, behind) =
                rest.get(1..).and_then(|rest| rest.split_first_chunk::<8>()).ok_or(UseFault::CutOff)?;
            let length = usize::try_from(u64::from_be_bytes(*length)).map_err(|_| UseFault::CutOff)?;
            let (data, behind) = behind.split_at_checked(length).ok_or(UseFault::CutOff)?;
            segments.push(Segment { policy: next, data: Bytes::copy_from_slice(data) });
            rest = behind;
        }
        match rest.split_first() {
            None => Err(UseFault::Ends),
            Some((&SIGNER_PREFIX, signature)) => Ok(Self { segments, signature: Bytes::copy_from_slice(signature) }),
            Some(_) => Err(UseFault::NoPrefix),
        }
    }
}

/// The signature of an operation that enables its key first:
/// `hook20 ‖ abi.encode(enableData, hookData, selectorData, ownerSignature, useSignature)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    pub hook: Address,
    pub enable_data: Bytes,
    pub hook_data: Bytes,
    pub selector_data: Bytes,
    pub owner_signature: Bytes,
    pub use_signature: Bytes,
}

/// Bytes of the hook, before the values.
const HOOK: usize = 20;

/// An envelope as the account reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadEnvelope {
    pub envelope: Envelope,
    /// What is wrong with the use signature: the account looks for it after it has taken the approval.
    pub use_fault: Option<EnvelopeFault>,
}

/// Why a value of an envelope is not read: what the account reverts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeFault {
    #[error("a value is not within the signature")]
    Outside,
    #[error("a value has more than 2^64 bytes (`Panic(65)`)")]
    TooLong,
}

impl Envelope {
    pub fn encode(&self) -> Bytes {
        let values = (
            self.enable_data.clone(),
            self.hook_data.clone(),
            self.selector_data.clone(),
            self.owner_signature.clone(),
            self.use_signature.clone(),
        );
        [self.hook.as_slice(), &values.abi_encode_params()].concat().into()
    }

    /// Reads it as the account does; `None` where the account reverts over it, sooner or later.
    pub fn decode(signature: &[u8]) -> Option<Self> {
        Self::read(signature).ok().filter(|read| read.use_fault.is_none()).map(|read| read.envelope)
    }

    /// Reads it as the account does: each of the five words leads to a length and that many bytes behind it, anywhere in the
    /// signature; words that are missing are 0.
    pub fn read(signature: &[u8]) -> Result<ReadEnvelope, EnvelopeFault> {
        let (hook, _) = signature.split_at_checked(HOOK).ok_or(EnvelopeFault::Outside)?;
        let padded = signature.len().checked_next_multiple_of(32).ok_or(EnvelopeFault::Outside)?;
        // At most one copy of the whole: it is as long as an operation may be.
        let mut bytes = signature.to_vec();
        bytes.resize(padded.max(HOOK + 5 * 32), 0);
        let bytes = Bytes::from(bytes);
        let word = |at: usize| bytes.get(at..at.checked_add(32)?).map(U256::from_be_slice);
        let place = |i: usize| {
            let offset = usize::try_from(word(HOOK + 32 * i)?).ok()?;
            let length_at = HOOK.checked_add(offset)?;
            Some((length_at.checked_add(32)?, word(length_at)?))
        };
        let value = |i: usize| {
            let (start, length) = place(i).ok_or(EnvelopeFault::Outside)?;
            let length = u64::try_from(length).map_err(|_| EnvelopeFault::TooLong)?;
            let end = usize::try_from(length).ok().and_then(|length| start.checked_add(length));
            let end = end.filter(|end| *end <= padded).ok_or(EnvelopeFault::Outside)?;
            Ok(bytes.slice(start..end))
        };
        let (enable_data, hook_data, selector_data, owner_signature) = (value(0)?, value(1)?, value(2)?, value(3)?);
        let use_signature = value(4);
        let use_fault = use_signature.as_ref().err().copied();
        let (hook, use_signature) = (Address::from_slice(hook), use_signature.unwrap_or_default());
        let envelope = Self { hook, enable_data, hook_data, selector_data, owner_signature, use_signature };
        Ok(ReadEnvelope { envelope, use_fault })
    }

    /// Whether these are the bytes that an encoder writes for it.
    pub fn is_canonical(&self, signature: &[u8]) -> bool {
        self.encode()[..] == *signature
    }

    /// The same with a placeholder for the session key's signature, for the estimation of gas.
    pub fn with_dummy(&self) -> Self {
        Self { use_signature: UseSignature::dummy().encode(), ..self.clone() }
    }
}

/// Whether an operation's signature is for every chain, and what is behind the prefix that says so.
pub fn split_chain_free(signature: &[u8], kernel: KernelVersion) -> (bool, &[u8]) {
    let behind = signature.strip_prefix(CHAIN_FREE_PREFIX.as_slice());
    behind.filter(|_| kernel.has_chain_free_signatures()).map_or((false, signature), |rest| (true, rest))
}

/// Who signs for the account (ERC-1271).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignedBy {
    /// The root of an account that has delegated itself, or any root.
    Root,
    Validator(Address),
    Permission(PermissionId),
}

/// A signature of the account: who, and what that one's contract reads. Of a permission, `segments ‖ ff ‖ signature`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageSignature {
    pub by: SignedBy,
    /// Over a hash with chain id 0.
    pub chain_free: bool,
    pub signature: Bytes,
}

impl MessageSignature {
    pub fn encode(&self) -> Bytes {
        let head = match self.by {
            SignedBy::Root => vec![0],
            SignedBy::Validator(validator) => [&[1], validator.as_slice()].concat(),
            SignedBy::Permission(id) => [&[2], id.0.as_slice()].concat(),
        };
        let prefix = if self.chain_free { CHAIN_FREE_PREFIX.as_slice() } else { &[] };
        [&head, prefix, &self.signature].concat().into()
    }

    /// Reads it as the account does: a head that is too short is read with zeros behind. `None`: no such type, or nothing there.
    pub fn decode(data: &[u8], kernel: KernelVersion) -> Option<Self> {
        let (kind, rest) = data.split_first()?;
        let (by, rest) = match kind {
            0 => (SignedBy::Root, rest),
            1 => {
                let (head, rest) = zero_padded::<20>(rest);
                (SignedBy::Validator(Address::from(head)), rest)
            }
            2 => {
                let (head, rest) = zero_padded::<4>(rest);
                (SignedBy::Permission(PermissionId(FixedBytes(head))), rest)
            }
            _ => return None,
        };
        let (chain_free, signature) = split_chain_free(rest, kernel);
        Some(Self { by, chain_free, signature: Bytes::copy_from_slice(signature) })
    }
}

fn zero_padded<const N: usize>(data: &[u8]) -> ([u8; N], &[u8]) {
    let mut head = [0; N];
    for (to, from) in head.iter_mut().zip(data) {
        *to = *from;
    }
    (head, data.get(N..).unwrap_or_default())
}

/// What is signed where somebody asks the account for a signature of `hash`: EIP-712 `Kernel(bytes32 hash)` in its domain.
pub fn message_digest(hash: B256, account: Address, kernel: KernelVersion, chain_id: Option<u64>) -> B256 {
    Kernel { hash }.eip712_signing_hash(&domain(account, kernel, chain_id))
}

/// A signature of an account that is not deployed yet (ERC-6492).
pub fn of_undeployed(signature: &[u8], deployment: &Deployment) -> Bytes {
    let values =
        (deployment.factory, deployment.factory_data.clone(), Bytes::copy_from_slice(signature)).abi_encode_params();
    [&values[..], UNDEPLOYED_SUFFIX.as_slice()].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use alloy::primitives::bytes;

    fn secret() -> Secret {
        Secret::from_hex("0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80").unwrap()
    }

    #[test]
    fn a_signature_counts_in_the_forms_that_the_contracts_take() {
        for byte in 0..16 {
            let hash = B256::repeat_byte(byte);
            let plain = secret().sign_hash(hash).unwrap();
            let mut high = plain;
            high[32..64].copy_from_slice(&(ORDER - U256::from_be_slice(&plain[32..64])).to_be_bytes::<32>());
            high[64] = 55 - high[64];
            let mut compact = plain[..64].to_vec();
            compact[32] |= (plain[64] - 27) << 7;
            for form in [&plain[..], &high, &compact] {
                assert_eq!(recover(hash, form), Some(secret().address()));
            }
            let mut ledger = plain;
            ledger[64] -= 27;
            assert_eq!(recover(hash, &ledger), None);
            assert_eq!(recover(hash, &plain[..63]), None);
            assert_eq!(recover(hash, &[&plain[..], &[27]].concat()), None);
        }
        assert_eq!(recover(B256::ZERO, &[[0; 32].as_slice(), &[1; 32], &[27]].concat()), None);
        let order = ORDER.to_be_bytes::<32>();
        assert_eq!(recover(B256::ZERO, &[[1; 32].as_slice(), &order, &[27]].concat()), None);
        assert_eq!(recover(B256::ZERO, &[]), None);
    }

    #[test]
    fn segments_are_cut_in_the_order_of_the_policies() {
        let segment = |policy| Segment { policy, data: vec![policy; 3].into() };
        let signature = UseSignature { segments: vec![segment(0), segment(2)], signature: bytes!("aabb") };
        let data = signature.encode();
        assert_eq!(UseSignature::decode(&data, 3), Ok(signature.clone()));
        // One more than there are policies, one behind a later one, and what is left out.
        assert_eq!(UseSignature::decode(&data, 2), Err(UseFault::NoPrefix));
        let wrong = UseSignature { segments: vec![segment(1), segment(0)], ..signature.clone() };
        assert_eq!(UseSignature::decode(&wrong.encode(), 2), Err(UseFault::NoPrefix));
        assert_eq!(UseSignature::decode(&wrong.encode(), 3), Err(UseFault::Order(0)));
        assert_eq!(UseSignature::decode(&data[..5], 3), Err(UseFault::CutOff));
        assert_eq!(UseSignature::decode(&data[..11], 3), Err(UseFault::CutOff));
        assert_eq!(UseSignature::decode(&data[..12], 3), Err(UseFault::Ends));
        assert_eq!(UseSignature::decode(&[], 0), Err(UseFault::Ends));
        assert_eq!(UseSignature::decode(&[0xff], 9), Ok(UseSignature::plain(&[])));
        let mut long = data.to_vec();
        long[1] = 0xff;
        assert_eq!(UseSignature::decode(&long, 3), Err(UseFault::CutOff));
        assert_eq!(UseSignature::dummy().encode().len(), 66);
    }

    #[test]
    fn an_envelope_reads_back_and_is_read_wherever_its_words_lead() {
        let envelope = Envelope {
            hook: Address::repeat_byte(1),
            enable_data: vec![2; 33].into(),
            hook_data: Bytes::new(),
            selector_data: bytes!("e9ae5c53"),
            owner_signature: vec![3; 65].into(),
            use_signature: vec![4; 66].into(),
        };
        let data = envelope.encode();
        assert_eq!(Envelope::decode(&data).as_ref(), Some(&envelope));
        assert!(envelope.is_canonical(&data));
        // The hook data may share the bytes of another value.
        let mut shared = data.to_vec();
        shared.copy_within(20..52, 52);
        let read = Envelope::decode(&shared).unwrap();
        assert_eq!(read, Envelope { hook_data: envelope.enable_data.clone(), ..envelope.clone() });
        assert!(!read.is_canonical(&shared));
        for at in [20, 52, 84, 116, 148] {
            let mut beyond = data.to_vec();
            beyond[at] = 1;
            assert_eq!(Envelope::decode(&beyond), None, "word at {at}");
            // The last one is looked for when all else is done.
            let late = Envelope::read(&beyond).map(|read| read.use_fault);
            let expected = if at == 148 { Ok(Some(EnvelopeFault::Outside)) } else { Err(EnvelopeFault::Outside) };
            assert_eq!(late, expected, "word at {at}");
        }
        let mut long = data.to_vec();
        long[20 + 5 * 32] = 1;
        assert_eq!(Envelope::read(&long), Err(EnvelopeFault::TooLong));
        assert_eq!(Envelope::decode(&[0; 19]), None);
        let empty = Envelope::decode(&[0; 60]).unwrap();
        assert_eq!((empty.owner_signature.len(), empty.use_signature.len()), (0, 0));
        assert_eq!(Envelope::decode(&[&[0xff][..], &[7; 65]].concat()), None);
        assert_eq!(envelope.with_dummy().encode().len(), data.len());
    }

    #[test]
    fn a_signature_of_the_account_says_whose_it_is() {
        let id = PermissionId([1, 2, 3, 4].into());
        for by in [SignedBy::Root, SignedBy::Validator(Address::repeat_byte(5)), SignedBy::Permission(id)] {
            for chain_free in [false, true] {
                let signature = MessageSignature { by, chain_free, signature: bytes!("ff0102") };
                assert_eq!(MessageSignature::decode(&signature.encode(), KernelVersion::V3_2), Some(signature.clone()));
                let read = MessageSignature::decode(&signature.encode(), KernelVersion::V3_1).unwrap();
                assert!(!read.chain_free);
            }
        }
        let short = MessageSignature::decode(&[2], KernelVersion::V3_3).unwrap();
        assert_eq!((short.by, short.signature.len()), (SignedBy::Permission(PermissionId(FixedBytes::ZERO)), 0));
        assert_eq!(MessageSignature::decode(&[3, 1], KernelVersion::V3_3), None);
        assert_eq!(MessageSignature::decode(&[], KernelVersion::V3_3), None);
    }
}

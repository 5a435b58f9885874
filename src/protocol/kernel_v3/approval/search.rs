//! Finding out what an approval was signed for: chain, version and nonce are in no serialized approval.
//!
//! The owner's signature covers them all, so a candidate is right when the signature recovers to the owner. Recovery yields *some*
//! address for every candidate: without knowing the owner nothing can be told.

use std::ops::RangeInclusive;

use alloy::primitives::Address;

use super::{ApprovalRequest, KernelVersion, digest, domain, signers};
use crate::protocol::kernel_v3::multi_chain::MultiChainSignature;

/// Most candidates of one search. Each costs two signature recoveries, a fraction of a millisecond.
const MAX_TRIES: usize = 50_000;

/// Where to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// `None`: an approval for every chain, which only some versions know.
    pub chain_ids: Vec<Option<u64>>,
    pub kernels: Vec<KernelVersion>,
    pub nonces: RangeInclusive<u32>,
    /// Of the root; of several chains at once the same.
    pub owner: Address,
}

impl Search {
    /// On these chains and on every chain at once, all versions, nonces 1 to 16.
    pub fn on_chains(chain_ids: Vec<u64>, owner: Address) -> Self {
        let chain_ids = chain_ids.into_iter().map(Some).chain([None]).collect();
        Self { chain_ids, kernels: KernelVersion::ALL.to_vec(), nonces: 1..=16, owner }
    }
}

/// How the owner signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignedAs {
    /// The EIP-712 digest, as wallets do.
    TypedData,
    /// An EIP-191 message of the digest.
    Message,
    /// One signature for several chains: the digest is a leaf of a tree.
    MultiChain,
}

/// A candidate that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub request: ApprovalRequest,
    pub signed_as: SignedAs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the search has {tries} candidates, more than {MAX_TRIES}: give fewer chains or a smaller range of nonces")]
pub struct TooMany {
    pub tries: usize,
}

impl ApprovalRequest {
    /// All that the owner may have signed: `self` with each chain, version and nonce for which the signature is the owner's.
    /// Several may fit, and none is chosen.
    pub fn candidates(&self, signature: &[u8], search: &Search) -> Result<Vec<Found>, TooMany> {
        let settings: Vec<(Option<u64>, KernelVersion)> = search
            .chain_ids
            .iter()
            .flat_map(|chain_id| search.kernels.iter().map(|kernel| (*chain_id, *kernel)))
            .filter(|(chain_id, kernel)| chain_id.is_some() || kernel.has_chain_free_signatures())
            .collect();
        let (first, last) = (u64::from(*search.nonces.start()), u64::from(*search.nonces.end()));
        let nonces = usize::try_from((last + 1).saturating_sub(first)).unwrap_or(usize::MAX);
        let tries = settings.len().saturating_mul(nonces);
        if tries > MAX_TRIES {
            return Err(TooMany { tries });
        }
        let several = MultiChainSignature::decode(signature);
        let parts = self.parts();
        let mut found = Vec::new();
        for (chain_id, kernel) in settings {
            let domain = domain(self.account, kernel, chain_id);
            for nonce in search.nonces.clone() {
                let digest = digest(&domain, parts.struct_hash(nonce));
                let signed_as = match &several {
                    Some(several) => several.is_signed_by(search.owner, digest).then_some(SignedAs::MultiChain),
                    None => {
                        let by_owner = signers(digest, signature).into_iter().find(|(_, who)| *who == search.owner);
                        by_owner.map(|(form, _)| form)
                    }
                };
                if let Some(signed_as) = signed_as {
                    found.push(Found { request: Self { chain_id, kernel, nonce, ..self.clone() }, signed_as });
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{protocol::kernel_v3::approval::tests::request, secret::Secret};

    fn owner() -> Secret {
        Secret::from_hex("0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80").unwrap()
    }

    #[test]
    fn the_candidate_that_was_signed_is_found_and_no_other() {
        for (chain_id, kernel) in [(Some(10), KernelVersion::V3_0), (None, KernelVersion::V3_2)] {
            let signed = ApprovalRequest { chain_id, kernel, nonce: 5, ..request() };
            let asked = ApprovalRequest { nonce: 0, kernel: KernelVersion::V3_1, ..signed.clone() };
            let search = Search::on_chains(vec![1, 10], owner().address());
            let raw = owner().sign_hash(signed.digest()).unwrap();
            let message = owner().sign_message_hash(signed.digest()).unwrap();
            for (signature, signed_as) in [(raw, SignedAs::TypedData), (message, SignedAs::Message)] {
                let found = asked.candidates(&signature, &search).unwrap();
                assert_eq!(found, [Found { request: signed.clone(), signed_as }]);
            }
            let other = Search { owner: Address::repeat_byte(9), ..search.clone() };
            assert_eq!(asked.candidates(&raw, &other), Ok(vec![]));
            let earlier = Search { nonces: 1..=4, ..search };
            assert_eq!(asked.candidates(&raw, &earlier), Ok(vec![]));
        }
    }

    #[test]
    fn versions_that_know_no_chain_free_approval_are_not_tried() {
        let signed = ApprovalRequest { chain_id: None, kernel: KernelVersion::V3_1, ..request() };
        let signature = owner().sign_hash(signed.digest()).unwrap();
        assert_eq!(signed.candidates(&signature, &Search::on_chains(vec![1], owner().address())), Ok(vec![]));
    }

    #[test]
    fn a_search_that_would_take_too_long_is_refused() {
        let search = Search { nonces: 0..=u32::MAX, ..Search::on_chains(vec![1], owner().address()) };
        assert!(request().candidates(&[0; 65], &search).is_err());
    }
}

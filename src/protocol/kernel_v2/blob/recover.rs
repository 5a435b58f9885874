//! Finding out what a serialized approval leaves out: nonce, chain, validator and kernel version.
//!
//! The owner's signature covers all of them, so a candidate is right when the signature recovers to the owner. Recovery yields
//! *some* address for every candidate: without knowing the owner nothing can be told.

use std::ops::RangeInclusive;

use alloy::primitives::{Address, eip191_hash_message};

use super::Blob;
use crate::protocol::{
    Format,
    kernel_v2::{
        account::AccountSeed,
        approval::{Approval, ApprovalRequest, EnableData, recover},
        generation::{Generation, KernelVersion},
    },
};

/// Most candidates of one search. Each costs two signature recoveries, a fraction of a millisecond.
const MAX_TRIES: usize = 50_000;

/// How far above the first nonce the first round of the search goes.
const USUAL_NONCES: u128 = 4;

/// Where to look. Likelier candidates first in each list: they are tried first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    pub chain_ids: Vec<u64>,
    /// Empty: all, the one the format's SDK defaults to first.
    pub validators: Vec<Generation>,
    /// Empty: all, the one that initCode deploys first.
    pub kernels: Vec<KernelVersion>,
    pub nonces: RangeInclusive<u128>,
    /// The account's owner as read from the chain. Without it the owner named in the initCode is taken.
    pub owner: Option<Address>,
    /// Address of the session key; needed when the blob does not carry its private key.
    pub session_key: Option<Address>,
}

impl Search {
    /// All validators and kernels, nonces 1 to 64.
    pub fn on_chains(chain_ids: Vec<u64>) -> Self {
        Self { chain_ids, validators: Vec::new(), kernels: Vec::new(), nonces: 1..=64, owner: None, session_key: None }
    }
}

/// A serialized approval made whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    pub approval: Approval,
    /// Whose signature it is. May be an earlier owner: compare with the chain.
    pub owner: Address,
    /// What the blob did not say and how it was found, in sentences.
    pub assumptions: Vec<String>,
}

/// Why nothing was recovered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    #[error(
        "who owns account {account} is not known: the approval has no initCode that leads to this address; give the owner, or a node to read it from"
    )]
    OwnerUnknown { account: Address },
    #[error("the approval does not say for which session key it is: give the key's address, or its private key")]
    SessionKeyUnknown,
    #[error(
        "the private key in the approval belongs to {found}, not to session key {expected}: one of the two is the wrong file"
    )]
    OtherSessionKey { expected: Address, found: Address },
    #[error("the search has {tries} candidates, more than {MAX_TRIES}: give fewer chains or a smaller range of nonces")]
    TooMany { tries: usize },
    #[error(
        "the signature has {length} bytes, and that of an owner with one secp256k1 key has 65: another validator decides over account \
         {account}, such as a passkey (WebAuthn) or several owners, and its signatures cannot be checked here"
    )]
    OtherValidator { account: Address, length: usize },
    #[error(
        "no owner of account {account} signed this approval with any of the {tries} candidates (chains {chain_ids:?}, nonces {first_nonce} \
         to {last_nonce}): give the right chain, session key or nonces"
    )]
    NotSigned { account: Address, tries: usize, chain_ids: Vec<u64>, first_nonce: u128, last_nonce: u128 },
}

impl Blob {
    /// Tries candidates, likelier ones first, until the signature is the owner's.
    pub fn recover(&self, search: &Search) -> Result<Recovered, RecoverError> {
        if self.signature.len() != 65 {
            return Err(RecoverError::OtherValidator { account: self.account, length: self.signature.len() });
        }
        let session_key = self.session_key(search.session_key)?;
        let from_init_code = self.seed();
        let owners: Vec<Address> = search.owner.into_iter().chain(from_init_code.map(|(seed, _)| seed.owner)).collect();
        if owners.is_empty() {
            return Err(RecoverError::OwnerUnknown { account: self.account });
        }
        let deploys = from_init_code.and_then(|(_, implementation)| KernelVersion::from_implementation(implementation));
        let settings = self.settings(search, deploys);
        let (first_nonce, last_nonce) = (*search.nonces.start(), *search.nonces.end());
        let nonces = last_nonce.checked_sub(first_nonce).map_or(0, |n| n.saturating_add(1));
        let tries = settings.len().saturating_mul(usize::try_from(nonces).unwrap_or(usize::MAX));
        if tries > MAX_TRIES {
            return Err(RecoverError::TooMany { tries });
        }
        // The root is the costly part and depends on the generation only; the nonce is filled in below.
        let templates = Generation::ALL.map(|g| (g, EnableData::new(session_key, &self.scope, 0, g)));
        // Most accounts have had few keys: low nonces with every setting before high ones with any.
        let high = first_nonce.saturating_add(USUAL_NONCES);
        for nonces in [first_nonce..=last_nonce.min(high), high.saturating_add(1)..=last_nonce] {
            for &(chain_id, validator, kernel) in &settings {
                let Some((_, template)) = templates.iter().find(|(g, _)| *g == validator) else { continue };
                for nonce in nonces.clone() {
                    let request = ApprovalRequest {
                        chain_id,
                        account: self.account,
                        kernel,
                        validator,
                        selector: self.selector,
                        executor: self.executor,
                        plugin_window: self.plugin_window,
                        enable: EnableData { nonce, ..*template },
                    };
                    if let Some(owner) = signer_among(&owners, &request, &self.signature) {
                        let assumptions = assumptions(&request, owner, search, self.secret.is_some());
                        let approval = Approval { request, signature: self.signature.clone() };
                        return Ok(Recovered { approval, owner, assumptions });
                    }
                }
            }
        }
        Err(RecoverError::NotSigned {
            account: self.account,
            tries,
            chain_ids: search.chain_ids.clone(),
            first_nonce,
            last_nonce,
        })
    }

    fn session_key(&self, expected: Option<Address>) -> Result<Address, RecoverError> {
        match (self.secret.as_ref().map(|secret| secret.address()), expected) {
            (Some(found), Some(expected)) if found != expected => {
                Err(RecoverError::OtherSessionKey { expected, found })
            }
            (Some(key), _) | (None, Some(key)) => Ok(key),
            (None, None) => Err(RecoverError::SessionKeyUnknown),
        }
    }

    /// The account's seed and the implementation it is deployed with, if the initCode leads to this very account.
    pub fn seed(&self) -> Option<(AccountSeed, Address)> {
        let init_code = self.init_code.as_ref()?;
        AccountSeed::from_init_code(init_code).filter(|(seed, _)| seed.address() == self.account)
    }

    /// Chain, validator and kernel, the combinations of likely ones first.
    fn settings(&self, search: &Search, deploys: Option<KernelVersion>) -> Vec<(u64, Generation, KernelVersion)> {
        let validators = or_default(&search.validators, || match self.format {
            Format::V4 => vec![Generation::G2, Generation::G1, Generation::G3],
            Format::V5 => vec![Generation::G3, Generation::G2, Generation::G1],
        });
        let kernels = or_default(&search.kernels, || {
            let rest = KernelVersion::ALL.into_iter().rev().filter(|v| Some(*v) != deploys);
            deploys.into_iter().chain(rest).collect()
        });
        let mut ranked = Vec::new();
        for (i, chain_id) in search.chain_ids.iter().enumerate() {
            for (j, validator) in validators.iter().enumerate() {
                for (k, kernel) in kernels.iter().enumerate() {
                    ranked.push((i + j + k, (*chain_id, *validator, *kernel)));
                }
            }
        }
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, setting)| setting).collect()
    }
}

fn or_default<T: Copy>(given: &[T], default: impl FnOnce() -> Vec<T>) -> Vec<T> {
    if given.is_empty() { default() } else { given.to_vec() }
}

/// As [`ApprovalRequest::is_signed_by`], for several owners at the price of one.
fn signer_among(owners: &[Address], request: &ApprovalRequest, signature: &[u8]) -> Option<Address> {
    let digest = request.digest();
    [digest, eip191_hash_message(digest)]
        .into_iter()
        .filter_map(|hash| recover(hash, signature))
        .find(|signer| owners.contains(signer))
}

fn assumptions(request: &ApprovalRequest, owner: Address, search: &Search, has_secret: bool) -> Vec<String> {
    let mut sentences = vec![format!(
        "The approval does not name its chain ({}), validator ({}), kernel version ({}) and nonce ({}); with these, and no other \
         candidate before them, the signature is the owner's.",
        request.chain_id, request.validator, request.kernel, request.enable.nonce
    )];
    sentences.push(match search.owner {
        Some(given) if given == owner => format!("The owner is {owner}, as was given."),
        Some(given) => format!(
            "It was signed by {owner}, the owner in the initCode, and not by {given}: if the owner was changed, the account refuses it."
        ),
        None => format!(
            "The owner is {owner}, who is named in the initCode that leads to this account; a later change of owner is not visible there."
        ),
    });
    if !has_secret {
        sentences.push(format!(
            "The approval carries no private key; that it is for session key {} was given, and the signature agrees.",
            request.enable.session_key
        ));
    }
    sentences
}

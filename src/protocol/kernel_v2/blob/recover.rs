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
        approval::{Approval, ApprovalRequest, EnableData},
        generation::{Generation, KernelVersion},
        snapshot::Snapshot,
    },
    signature::recover,
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

/// What may be tried besides what a blob says.
#[derive(Debug, Clone, Copy)]
pub struct Hints<'a> {
    /// Keys that it may be for; not asked where the blob carries its own.
    pub session_keys: &'a [Address],
    /// The account's owner, where somebody knows.
    pub owner: Option<Address>,
    /// Chains to try in any case, first.
    pub chain_ids: &'a [u64],
    /// Chains to try as far as a search stays short.
    pub other_chain_ids: &'a [u64],
    /// The account on the only chain that is tried.
    pub snapshot: Option<&'a Snapshot>,
}

/// How many chains to try and how far to count where nothing tells chain and nonce: a search with the wrong key must end within
/// a second or two.
fn worth_trying(own_chains: usize, chains: usize, session_keys: usize) -> (usize, u128) {
    /// Candidates in all; each costs two signature recoveries.
    const TRIES: usize = 4_000;
    const FEWEST_NONCES: usize = 4;
    let each_chain = Generation::ALL.len() * KernelVersion::ALL.len() * session_keys.max(1);
    let affordable = TRIES / (each_chain * FEWEST_NONCES);
    let chains = chains.min(affordable.max(own_chains).max(1));
    (chains, (TRIES / (each_chain * chains.max(1))).clamp(FEWEST_NONCES, 64) as u128)
}

impl Hints<'_> {
    /// What a key must be known for: whether there is any to try.
    pub fn has_a_key(&self, blob: &Blob) -> bool {
        blob.secret.is_some() || !self.session_keys.is_empty()
    }

    fn search(&self) -> Search {
        let chain_ids = self.chain_ids.iter().chain(self.other_chain_ids).copied().collect();
        let mut search = Search { owner: self.owner, ..Search::on_chains(chain_ids) };
        match self.snapshot {
            Some(seen) => {
                search.owner = seen.owner.or(self.owner);
                search.kernels = seen.kernel.into_iter().collect();
                let last = Generation::ALL.iter().map(|g| seen.nonces(*g).last).max().unwrap_or(0);
                search.nonces = 1..=last.saturating_add(64).min(1024);
            }
            None => {
                let (chains, nonces) =
                    worth_trying(self.chain_ids.len(), search.chain_ids.len(), self.session_keys.len());
                search.chain_ids.truncate(chains);
                search.nonces = 1..=nonces;
            }
        }
        search
    }
}

impl Blob {
    /// Finds out what the text leaves out, trying likely answers until the owner's signature verifies; of several refusals, the first.
    pub fn find(&self, hints: &Hints<'_>) -> Result<Recovered, RecoverError> {
        let session_keys: Vec<Option<Address>> = match &self.secret {
            Some(_) => vec![None],
            None => hints.session_keys.iter().copied().map(Some).collect(),
        };
        let mut search = hints.search();
        let mut first_error = None;
        for attempt in 0..2 {
            for session_key in &session_keys {
                search.session_key = *session_key;
                match self.recover(&search) {
                    Ok(found) => return Ok(found),
                    Err(error) => {
                        first_error.get_or_insert(error);
                    }
                }
            }
            // The account may have been upgraded since: try the versions it does not run.
            if attempt == 0 && !search.kernels.is_empty() {
                search.kernels = Vec::new();
            } else {
                break;
            }
        }
        Err(first_error.unwrap_or(RecoverError::SessionKeyUnknown))
    }

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

#[cfg(test)]
mod tests {
    use super::worth_trying;

    #[test]
    fn a_search_without_a_chain_to_ask_is_bounded_whatever_the_home_holds() {
        let settings = 12;
        for keys in [1, 2, 20, 80] {
            let (chains, nonces) = worth_trying(0, 22, keys);
            assert!(chains * keys * settings * usize::try_from(nonces).unwrap() <= 4_000, "{keys} keys");
        }
        assert_eq!(worth_trying(1, 1, 1), (1, 64), "one chain: as far as ever");
        assert_eq!(worth_trying(0, 22, 1), (22, 15), "no home: every known chain");
        assert_eq!(worth_trying(2, 24, 500), (2, 4), "the home's own chains in any case");
    }
}

//! Finding out what a serialized approval leaves out: chain, version, nonce and flag.

use std::ops::RangeInclusive;

use alloy::primitives::{Address, Bytes};

use super::Blob;
use crate::protocol::kernel_v3::{
    account::{CallType, selector},
    approval::{self, Approval, ApprovalRequest, Found, Module, SelectorData, SignedAs, TooMany},
    contracts::{KernelVersion, ONLY_ENTRY_POINT_HOOK},
    nonce::PermissionId,
    permission_config::{PermissionConfig, PermissionFlag, Signer},
};

/// Where to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// Besides these, approvals for every chain at once are tried.
    pub chain_ids: Vec<u64>,
    pub nonces: RangeInclusive<u32>,
    /// The account's owner as read from the chain. Without it the owner named in the initCode is taken; with EIP-7702, the account.
    pub owner: Option<Address>,
    /// Address of the session key; needed when the text does not carry its private key.
    pub session_key: Option<Address>,
    /// Most candidates in all, over every form that the text may mean.
    pub most: usize,
}

impl Search {
    /// Nonces 1 to 16.
    pub fn on_chains(chain_ids: Vec<u64>) -> Self {
        Self { chain_ids, nonces: 1..=16, owner: None, session_key: None, most: usize::MAX }
    }
}

/// A serialized approval made whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    pub approval: Approval,
    /// What was signed; see also [`ApprovalRequest::config`].
    pub config: PermissionConfig,
    pub signed_as: SignedAs,
    /// Whose signature it is. May be an earlier owner: compare with the chain.
    pub owner: Address,
    /// The id in the text, where another one was signed.
    pub other_id: Option<PermissionId>,
    /// Whether the id that was signed is not the one that scope and key give: its owner chose it.
    pub chosen_id: bool,
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
    #[error("the key was installed when account {account} was created: there is no approval to check")]
    PreInstalled { account: Address },
    #[error("{0}")]
    TooMany(#[from] TooMany),
    #[error(
        "no owner's signature was found among the {tried} likeliest candidates: give the session key, and a node of the right chain"
    )]
    GaveUp { tried: usize },
    #[error(
        "no owner of account {account} signed this approval as it is written, for chain {} or for every chain, with nonces \
         {first_nonce} to {last_nonce}: scope, id or key were changed, or it was signed with a hook or for another signer contract, \
         which the text does not name",
        chain_ids.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
    )]
    NotSigned { account: Address, chain_ids: Vec<u64>, first_nonce: u32, last_nonce: u32 },
}

impl Search {
    /// Of one form and one owner.
    fn candidates(&self) -> usize {
        let nonces = self.nonces.end().saturating_sub(*self.nonces.start()).saturating_add(1);
        let settings = (self.chain_ids.len() + 1).saturating_mul(KernelVersion::ALL.len());
        settings.saturating_mul(usize::try_from(nonces).unwrap_or(usize::MAX))
    }
}

impl Blob {
    /// Everything that the owner may have signed and that this text may mean; in practice one. Likelier forms are tried first, and
    /// the first that fits ends the search.
    pub fn recover(&self, search: &Search) -> Result<Vec<Recovered>, RecoverError> {
        let Some(signature) = &self.signature else {
            return Err(RecoverError::PreInstalled { account: self.account });
        };
        let session_key = self.session_key(search.session_key)?;
        let owners = self.owners(search.owner);
        if owners.is_empty() {
            return Err(RecoverError::OwnerUnknown { account: self.account });
        }
        let mut tried = 0_usize;
        for (config, id) in self.configs(session_key) {
            for selector_data in self.selector_data() {
                if tried >= search.most {
                    return Err(RecoverError::GaveUp { tried });
                }
                tried = tried.saturating_add(search.candidates().saturating_mul(owners.len()));
                let request = ApprovalRequest {
                    chain_id: None,
                    account: self.account,
                    kernel: self.deploys().unwrap_or(KernelVersion::V3_3),
                    validation_id: id.validation_id(),
                    nonce: 0,
                    hook: Address::ZERO,
                    enable_data: config.enable_data(),
                    hook_data: Bytes::new(),
                    selector_data,
                };
                let found = candidates(&request, signature, search, &owners)?;
                if !found.is_empty() {
                    return Ok(self.recovered(found, &config, id));
                }
            }
        }
        Err(RecoverError::NotSigned {
            account: self.account,
            chain_ids: search.chain_ids.clone(),
            first_nonce: *search.nonces.start(),
            last_nonce: *search.nonces.end(),
        })
    }

    /// The session key's address, from its private key or as given.
    pub fn session_key(&self, expected: Option<Address>) -> Result<Address, RecoverError> {
        match (self.secret.as_ref().map(|secret| secret.address()), expected) {
            (Some(found), Some(expected)) if found != expected => {
                Err(RecoverError::OtherSessionKey { expected, found })
            }
            (Some(key), _) | (None, Some(key)) => Ok(key),
            (None, None) => Err(RecoverError::SessionKeyUnknown),
        }
    }

    fn owners(&self, given: Option<Address>) -> Vec<Address> {
        // Without initCode the account is its own owner (EIP-7702), or it existed already.
        let delegated = self.init_code.is_empty().then_some(self.account);
        let mut owners: Vec<Address> = given.into_iter().chain(self.owner()).chain(delegated).collect();
        owners.dedup();
        owners
    }

    /// Scope and id: the SDK's reader loses the flag, and takes any id that is written.
    fn configs(&self, session_key: Address) -> Vec<(PermissionConfig, PermissionId)> {
        const FLAGS: [[u8; 2]; 4] = [[0, 0], [0, 2], [0, 1], [0, 3]];
        let config = |flag| PermissionConfig {
            flag: PermissionFlag(flag),
            signer: Signer::Ecdsa(session_key),
            policies: self.policies.clone(),
        };
        let configs = FLAGS.map(config).map(|config| (config.permission_id(), config));
        // An id that is none of these was chosen, or changed.
        let is_own = |id: &PermissionId| configs.iter().any(|(own, _)| own == id);
        let written = self.written_id.filter(|id| !is_own(id));
        let own = configs.iter().map(|(id, config)| (config.clone(), *id));
        let chosen = written.into_iter().flat_map(|id| configs.iter().map(move |(_, config)| (config.clone(), id)));
        own.chain(chosen).collect()
    }

    /// The forms that SDKs sign for what is written, the usual one first.
    fn selector_data(&self) -> Vec<Bytes> {
        let long = |hook: Address| {
            SelectorData::long(&Module {
                selector: self.selector,
                target: self.module,
                hook,
                call_type: CallType::DelegateCall,
                init_data: Bytes::new(),
                hook_data: Bytes::from_static(&[0, 0]),
            })
        };
        let mut forms = vec![long(Address::ZERO)];
        // Kernel 3.0 gets a hook of the SDK's own for a module; the hook that is written is not the one that is signed by it.
        if !self.module.is_zero() || self.selector != selector::EXECUTE {
            forms.push(long(ONLY_ENTRY_POINT_HOOK));
        }
        forms.extend(self.module_hook.map(long));
        if self.module.is_zero() {
            forms.push(Bytes::copy_from_slice(self.selector.as_slice()));
        }
        forms
    }

    fn recovered(&self, found: Vec<(Address, Found)>, config: &PermissionConfig, id: PermissionId) -> Vec<Recovered> {
        let signature = self.signature.clone().unwrap_or_default();
        let whole = |(owner, found): (Address, Found)| Recovered {
            approval: Approval { request: found.request, signature: signature.clone() },
            config: config.clone(),
            signed_as: found.signed_as,
            owner,
            other_id: self.written_id.filter(|written| *written != id),
            chosen_id: id != config.permission_id(),
        };
        found.into_iter().map(whole).collect()
    }
}

fn candidates(
    request: &ApprovalRequest,
    signature: &[u8],
    search: &Search,
    owners: &[Address],
) -> Result<Vec<(Address, Found)>, TooMany> {
    let mut found = Vec::new();
    for owner in owners {
        let on_chains = approval::Search::on_chains(search.chain_ids.clone(), *owner);
        let wanted = approval::Search { nonces: search.nonces.clone(), ..on_chains };
        found.extend(request.candidates(signature, &wanted)?.into_iter().map(|one| (*owner, one)));
    }
    Ok(found)
}

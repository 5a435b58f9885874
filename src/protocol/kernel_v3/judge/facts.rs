//! What the judge is told: the state of the chain, and who made the signatures.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::{Address, B256, Bytes, FixedBytes, Selector, eip191_hash_message};

use super::super::{
    approval::ApprovalRequest,
    contracts::KernelVersion,
    nonce::{Mode, OperationNonce, ValidationId, ValidationType},
    permission_config::{PermissionConfig, PermissionFlag},
    policy::{PolicyFlag, gas::GasPolicy, rate_limit::RateLimit, timestamp::Timestamp},
    signature::{
        Envelope, MessageSignature, ReadEnvelope, SignedBy, UseSignature, message_digest, recover, split_chain_free,
    },
};
use crate::erc4337::v07::{ENTRY_POINT, PackedUserOperation, packed_hash};

/// What the chain knows at the moment of the operation. Of an account that is not deployed: as its first operation finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub chain_id: u64,
    /// Block time, unix seconds.
    pub timestamp: u64,
    pub account: Address,
    /// The code that runs now.
    pub kernel: KernelVersion,
    pub root_id: ValidationId,
    pub root: Validator,
    pub current_nonce: u32,
    pub valid_nonce_from: u32,
    /// What the operation or the signature names, where it is not the root.
    pub named: Named,
    /// Hooks that say they are installed already and let everything through. Any other is not understood.
    pub permissive_hooks: BTreeSet<Address>,
    /// Whether there is code, of addresses that the judgement may ask about.
    pub has_code: BTreeMap<Address, bool>,
    /// The EntryPoint's next sequence for the nonce's key. `None`: it will be right.
    pub sequence: Option<u64>,
    /// Whether the deposit of whoever pays is enough. `None`: it will be.
    pub is_funded: Option<bool>,
}

/// Who validates without policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validator {
    pub authority: Authority,
    pub nonce: u32,
    /// 0: not installed; 1: none.
    pub hook: Address,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authority {
    /// An ECDSA validator, and the key it holds for the account.
    Owner(Address),
    /// The account's own key (EIP-7702).
    Itself,
    /// No code there, or a contract that is no validator.
    Nobody,
    /// Not understood.
    Unknown,
}

/// The validation that the operation or the signature names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// `validationConfig`: nonce, and hook (0 = not installed, 1 = none).
    pub nonce: u32,
    pub hook: Address,
    /// Of those that matter here.
    pub allowed: BTreeSet<Selector>,
    /// Type 1: whose validator it is.
    pub authority: Option<Authority>,
    /// Type 2: `permissionConfig`.
    pub flag: PermissionFlag,
    /// 0: none.
    pub signer: Address,
    /// In the order they are asked.
    pub policies: Vec<(PolicyFlag, Address)>,
    /// What the ECDSA signer holds for the id; 0: none.
    pub session_key: Address,
    /// What each policy contract holds for the id. Missing: not asked, counts as never used when it is installed and as live when it is
    /// used.
    pub states: BTreeMap<Address, PolicyFacts>,
}

/// What a policy contract holds for an id and an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyFacts {
    pub status: Status,
    pub stored: Stored,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Never,
    Live,
    /// Uninstalled: never to be installed again.
    Deprecated,
}

impl Status {
    /// What `status` answers.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Never),
            1 => Some(Self::Live),
            2 => Some(Self::Deprecated),
            _ => None,
        }
    }
}

/// What is left, as the policy's getter tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    Gas(GasPolicy),
    RateLimit(RateLimit),
    Timestamp(Timestamp),
    /// It has no getter, or was not asked.
    Nothing,
}

/// Who made a signature, as far as the chain sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// Well-formed, over a hash that the chain checks.
    By(Address),
    /// Well-formed, by this key but for every chain, in a signature that does not say so.
    OtherHash(Address),
    /// Not 65 bytes with v 27 or 28, nor 64, or numbers out of range: the contracts revert.
    Malformed,
}

impl Signature {
    /// Whose signature it is. Any key signs some hash, so without `expected` in sight the first form tells.
    fn read(signature: &[u8], hash: B256, other: B256, forms: Forms, expected: Address) -> Self {
        let Some(plain) = recover(hash, signature) else { return Self::Malformed };
        let in_form = |hash: B256| {
            let raw = (forms != Forms::Message).then_some(hash);
            let message = (forms != Forms::Raw).then(|| eip191_hash_message(hash));
            raw.into_iter().chain(message).any(|hash| recover(hash, signature) == Some(expected))
        };
        if in_form(hash) {
            Self::By(expected)
        } else if in_form(other) {
            Self::OtherHash(expected)
        } else {
            // Never the expected key: it signed in a form that does not count here.
            Self::By(if plain == expected { Address::ZERO } else { plain })
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Forms {
    Both,
    Raw,
    Message,
}

/// The signatures of an operation or a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signatures {
    /// The owner's, of an approval; not read where there is none.
    pub approval: Signature,
    /// Over the operation, or the message.
    pub usage: Signature,
}

impl Signatures {
    /// Of the right keys: what we are about to sign.
    pub fn right(facts: &Facts, key: Address) -> Self {
        Self { approval: Signature::By(facts.owner()), usage: Signature::By(key) }
    }

    /// Read from the operation's own bytes.
    pub fn of_operation(facts: &Facts, op: &PackedUserOperation) -> Self {
        let nonce = OperationNonce::decode(op.nonce);
        let (chain_free, signature) = split_chain_free(&op.signature, facts.kernel);
        let hash_on = |free: bool| packed_hash(op, ENTRY_POINT, if free { 0 } else { facts.chain_id });
        let mut usage = Bytes::copy_from_slice(signature);
        let mut approval = Signature::Malformed;
        let mut key = facts.named.session_key;
        if nonce.mode == Mode::Enable {
            let Ok(ReadEnvelope { envelope, .. }) = Envelope::read(signature) else {
                return Self { approval, usage: Signature::Malformed };
            };
            let digest = |free: bool| facts.approval_request(&nonce, &envelope, free).digest();
            let forms = if facts.root.authority == Authority::Itself { Forms::Raw } else { Forms::Both };
            approval = Signature::read(
                &envelope.owner_signature,
                digest(chain_free),
                digest(!chain_free),
                forms,
                facts.owner(),
            );
            let installed = PermissionConfig::decode(&envelope.enable_data).ok();
            key = installed.and_then(|config| config.signer.held_key()).unwrap_or(key);
            usage = envelope.use_signature;
        }
        let (expected, forms) = match nonce.kind {
            ValidationType::Root if facts.root.authority == Authority::Itself => (facts.account, Forms::Message),
            ValidationType::Root => (facts.owner(), Forms::Both),
            ValidationType::Validator => (facts.validator_owner(), Forms::Both),
            ValidationType::Permission | ValidationType::Unknown(_) => {
                usage = behind_prefix(&usage);
                (key, Forms::Both)
            }
        };
        let usage = Signature::read(&usage, hash_on(chain_free), hash_on(!chain_free), forms, expected);
        Self { approval, usage }
    }

    /// Read from a signature of the account for `hash`.
    pub fn of_message(facts: &Facts, hash: B256, signature: &[u8]) -> Self {
        let none = Self { approval: Signature::Malformed, usage: Signature::Malformed };
        let Some(signature) = MessageSignature::decode(signature, facts.kernel) else { return none };
        let digest = |free: bool| {
            message_digest(hash, facts.account, facts.kernel, if free { None } else { Some(facts.chain_id) })
        };
        let (bytes, expected, forms) = match signature.by {
            SignedBy::Root if facts.root.authority == Authority::Itself => {
                (signature.signature, facts.account, Forms::Raw)
            }
            SignedBy::Root => (signature.signature, facts.owner(), Forms::Both),
            SignedBy::Validator(_) => (signature.signature, facts.validator_owner(), Forms::Both),
            // Only what stands right behind 0xff is ever looked at.
            SignedBy::Permission(_) => (
                signature.signature.get(1..).map(Bytes::copy_from_slice).unwrap_or_default(),
                facts.named.session_key,
                Forms::Both,
            ),
        };
        let free = signature.chain_free;
        Self { usage: Signature::read(&bytes, digest(free), digest(!free), forms, expected), ..none }
    }
}

/// The signer's signature, behind whatever segments there are. What is not read is no signature.
fn behind_prefix(signature: &[u8]) -> Bytes {
    // The number of policies does not matter to what stands behind them: segments end where none begins.
    UseSignature::decode(signature, usize::from(u8::MAX)).map(|read| read.signature).unwrap_or_default()
}

impl Facts {
    /// The key that decides for the root; zero where that is not one key.
    pub fn owner(&self) -> Address {
        match self.root.authority {
            Authority::Owner(owner) => owner,
            Authority::Itself => self.account,
            Authority::Nobody | Authority::Unknown => Address::ZERO,
        }
    }

    fn validator_owner(&self) -> Address {
        match self.named.authority {
            Some(Authority::Owner(owner)) => owner,
            _ => Address::ZERO,
        }
    }

    /// `validationConfig.nonce` of whom an operation of this type names. Nothing is ever installed under a type that does not exist.
    pub(super) fn held_nonce(&self, kind: ValidationType) -> u32 {
        match kind {
            ValidationType::Root => self.root.nonce,
            ValidationType::Validator | ValidationType::Permission => self.named.nonce,
            ValidationType::Unknown(_) => 0,
        }
    }

    /// The nonce that an approval must carry now.
    pub(super) fn approval_nonce(&self, kind: ValidationType) -> u32 {
        let taken = self.held_nonce(kind) == self.current_nonce && self.kernel == KernelVersion::V3_3;
        self.current_nonce.wrapping_add(u32::from(taken))
    }

    /// What the owner must have signed for an operation that enables: as the account builds it.
    pub(super) fn approval_request(&self, nonce: &OperationNonce, envelope: &Envelope, free: bool) -> ApprovalRequest {
        let id = match (nonce.permission(), nonce.kind) {
            (Some(permission), _) => permission.validation_id(),
            (None, ValidationType::Root) => self.root_id,
            (None, _) => nonce.validation_id(),
        };
        ApprovalRequest {
            chain_id: (!free).then_some(self.chain_id),
            account: self.account,
            kernel: self.kernel,
            validation_id: id,
            nonce: self.approval_nonce(nonce.kind),
            hook: envelope.hook,
            enable_data: envelope.enable_data.clone(),
            hook_data: envelope.hook_data.clone(),
            selector_data: envelope.selector_data.clone(),
        }
    }
}

/// "No hook", as the account stores it.
pub(super) const NO_HOOK: Address = Address::with_last_byte(1);

impl Named {
    /// From what `permissionConfig` answers.
    pub fn policies_of(stored: &[FixedBytes<22>]) -> Vec<(PolicyFlag, Address)> {
        let read = |element: &FixedBytes<22>| {
            let [a, b, address @ ..] = element.0;
            (PolicyFlag([a, b]), Address::from(address))
        };
        stored.iter().map(read).collect()
    }
}

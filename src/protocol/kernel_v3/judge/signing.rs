//! Would the account call this signature its own (ERC-1271)?

use alloy::primitives::{Address, Bytes};

use super::{
    super::{
        contracts::{ECDSA_SIGNER, KernelVersion},
        permission_config::PermissionConfig,
        signature::{MessageSignature, SignedBy},
    },
    answer::{At, Denied, Reason},
    facts::{Authority, Facts, Signature, Signatures},
    operation::{Objection, Unknown, check_prefix, cut_segment, installed},
    policy::check_signature,
};

/// What `isValidSignature` answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    /// `1626ba7e`.
    Valid,
    /// `ffffffff`: everything but the signature is right.
    Wrong { expected: Address, by: Signature },
}

/// The judgement of a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningVerdict {
    pub answer: Result<Signing, Denied>,
    pub objections: Vec<Objection>,
    pub unknown: Vec<Unknown>,
}

/// Judges a signature of the account that `caller` asks about. `scope` is what is known of an enabled permission.
pub fn signing(
    facts: &Facts,
    scope: Option<&PermissionConfig>,
    caller: Address,
    signature: &[u8],
    signatures: &Signatures,
) -> SigningVerdict {
    let (mut objections, mut unknown) = (Vec::new(), Vec::new());
    let answer = judge(facts, scope, caller, signature, signatures.usage, &mut objections, &mut unknown);
    SigningVerdict { answer, objections, unknown }
}

fn judge(
    facts: &Facts,
    scope: Option<&PermissionConfig>,
    caller: Address,
    signature: &[u8],
    usage: Signature,
    objections: &mut Vec<Objection>,
    unknown: &mut Vec<Unknown>,
) -> Result<Signing, Denied> {
    let account = |reason| Denied::new(At::Account, reason);
    // Nothing at all is read as type 0, the root.
    let nothing = MessageSignature { by: SignedBy::Root, chain_free: false, signature: Bytes::new() };
    let read = if signature.is_empty() { Some(nothing) } else { MessageSignature::decode(signature, facts.kernel) };
    let Some(message) = read else {
        return Err(account(Reason::NoSuchHead { kind: signature.first().copied().unwrap_or_default() }));
    };
    if message.chain_free {
        objections.push(Objection::ChainFree);
    }
    let (nonce, hook) = match message.by {
        SignedBy::Root => (facts.root.nonce, facts.root.hook),
        SignedBy::Validator(_) | SignedBy::Permission(_) => (facts.named.nonce, facts.named.hook),
    };
    // An EOA that has delegated itself is nowhere installed.
    let is_itself = message.by == SignedBy::Root && facts.root.authority == Authority::Itself;
    if !is_itself {
        if hook.is_zero() {
            return Err(account(Reason::NotInstalled));
        }
        if facts.kernel == KernelVersion::V3_3 && nonce < facts.valid_nonce_from {
            return Err(account(Reason::Stopped { nonce, valid_from: facts.valid_nonce_from }));
        }
    }
    if signature.is_empty() {
        return Err(account(Reason::NoSignature { delegated: is_itself }));
    }
    let (authority, what) = match message.by {
        SignedBy::Root => (facts.root.authority, Unknown::Root),
        SignedBy::Validator(_) => (facts.named.authority.unwrap_or(Authority::Unknown), Unknown::Validator),
        SignedBy::Permission(_) => {
            check_permission(facts, scope, caller, &message.signature, unknown)?;
            match facts.named.signer {
                ECDSA_SIGNER => (Authority::Owner(facts.named.session_key), Unknown::Validator),
                Address::ZERO => return Err(account(Reason::UnknownPermission)),
                other => (Authority::Unknown, Unknown::Signer(other)),
            }
        }
    };
    let expected = match authority {
        Authority::Owner(owner) => owner,
        Authority::Itself => facts.account,
        Authority::Nobody => return Err(account(Reason::NotAValidator { identifier: Address::ZERO })),
        Authority::Unknown => {
            unknown.push(what);
            return Ok(Signing::Valid);
        }
    };
    match usage {
        Signature::Malformed => Err(Denied::new(At::Signer, Reason::MalformedSignature)),
        Signature::By(key) if key == expected && !expected.is_zero() => Ok(Signing::Valid),
        by => Ok(Signing::Wrong { expected, by }),
    }
}

fn check_permission(
    facts: &Facts,
    scope: Option<&PermissionConfig>,
    caller: Address,
    signature: &[u8],
    unknown: &mut Vec<Unknown>,
) -> Result<(), Denied> {
    let account = |reason| Denied::new(At::Account, reason);
    if facts.named.flag.refuses_signatures() {
        return Err(account(Reason::RefusesSignatures));
    }
    let mut rest = signature;
    for (position, policy) in installed(&facts.named, None, scope).iter().enumerate() {
        cut_segment(&mut rest, position).map_err(account)?;
        if policy.flag.skips_signatures() {
            continue;
        }
        let denied = |reason| Denied::new(At::Policy(position), reason);
        if check_signature(policy, caller).map_err(denied)? {
            unknown.push(Unknown::Policy { position, address: policy.address });
        }
    }
    // The whole signature again: a part for a policy stands in the way of the prefix.
    check_prefix(signature).map_err(account)
}

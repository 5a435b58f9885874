//! An operation that enables its key first: whether the approval counts, and whether everything it installs can be.

use alloy::primitives::Address;

use super::{
    super::{
        account::CallType,
        approval::SelectorData,
        contracts::{ECDSA_SIGNER, KernelVersion},
        nonce::{OperationNonce, ValidationType},
        permission_config::{EnableDataError, PermissionConfig},
        policy::Policy,
        signature::Envelope,
    },
    answer::{At, Denied, Reason},
    facts::{Authority, Facts, NO_HOOK, Named, PolicyFacts, Signature, Signatures, Status, Stored},
    operation::{Enabled, Unknown},
    policy::{has_status, install},
};

/// The state that an approval leaves for the operation it came with.
pub(super) struct Installing {
    pub named: Named,
    /// `None`: enable data that is not understood.
    pub scope: Option<PermissionConfig>,
    pub enabled: Enabled,
}

pub(super) fn enable(
    facts: &Facts,
    nonce: &OperationNonce,
    envelope: &Envelope,
    signatures: &Signatures,
    unknown: &mut Vec<Unknown>,
) -> Result<Installing, Denied> {
    let account = |reason| Err(Denied::new(At::Account, reason));
    let approval = |reason| Err(Denied::new(At::Approval, reason));
    let signed_nonce = facts.approval_nonce(nonce.kind);
    match (facts.root.authority, signatures.approval) {
        (Authority::Unknown, _) => unknown.push(Unknown::Root),
        (Authority::Nobody, _) => return account(Reason::NotAValidator { identifier: Address::ZERO }),
        (Authority::Owner(_) | Authority::Itself, Signature::Malformed) => return approval(Reason::MalformedApproval),
        (Authority::Owner(_) | Authority::Itself, by) => {
            let expected = facts.owner();
            if by != Signature::By(expected) {
                return approval(Reason::NotApproved { expected, by, nonce: signed_nonce });
            }
        }
    }
    if facts.kernel != KernelVersion::V3_3 && facts.held_nonce(nonce.kind) == facts.current_nonce {
        return account(Reason::NonceTaken { nonce: facts.current_nonce });
    }
    let hook = if envelope.hook.is_zero() { NO_HOOK } else { envelope.hook };
    if hook != NO_HOOK {
        if facts.permissive_hooks.contains(&hook) {
            let needs_data = matches!(facts.kernel, KernelVersion::V3_0 | KernelVersion::V3_1);
            if needs_data && envelope.hook_data.is_empty() {
                return Err(Denied::new(At::Hook, Reason::HookDataMissing));
            }
        } else {
            unknown.push(Unknown::Hook(hook));
        }
    }
    if let ValidationType::Unknown(kind) = nonce.kind {
        return account(Reason::ValidationType { kind });
    }
    let mut named = Named { nonce: signed_nonce, hook, ..facts.named.clone() };
    let mut scope = None;
    if nonce.kind == ValidationType::Permission {
        match PermissionConfig::decode(&envelope.enable_data) {
            Ok(config) => {
                install_permission(&mut named, &config, unknown)?;
                scope = Some(config);
            }
            Err(EnableDataError::Empty | EnableDataError::TooManyPolicies(_)) => return account(Reason::PolicyCount),
            Err(_) => {
                // The account may read it all the same, and install anything.
                unknown.push(Unknown::EnableData);
                named.policies = Vec::new();
                named.flag = Default::default();
            }
        }
    } else {
        unknown.push(Unknown::Validator);
    }
    open_selector(facts, &envelope.selector_data, unknown)?;
    if let Some(selector) = SelectorData::decode(&envelope.selector_data).selector() {
        named.allowed.insert(selector);
    }
    let enabled = Enabled { nonce: signed_nonce, hook, current_nonce: signed_nonce };
    Ok(Installing { named, scope, enabled })
}

fn install_permission(named: &mut Named, config: &PermissionConfig, unknown: &mut Vec<Unknown>) -> Result<(), Denied> {
    let at = |position, reason| Denied::new(At::Install(position), reason);
    for (position, policy) in config.policies.iter().enumerate() {
        let address = policy.address();
        if policy.name().is_none() || is_named_only(policy) {
            unknown.push(Unknown::Policy { position, address });
            continue;
        }
        let seen = named.states.get(&address).map_or(Status::Never, |state| state.status);
        if has_status(address) && seen != Status::Never {
            return Err(at(position, Reason::SeenBefore { status: seen }));
        }
        install(policy).map_err(|reason| at(position, reason))?;
        named.states.insert(address, PolicyFacts { status: Status::Live, stored: Stored::Nothing });
    }
    named.flag = config.flag;
    named.policies = config.policies.iter().map(|policy| (policy.flag(), policy.address())).collect();
    named.signer = config.signer.address();
    let at_signer = |reason| Err(Denied::new(At::Signer, reason));
    if config.signer.address() != ECDSA_SIGNER {
        unknown.push(Unknown::Signer(config.signer.address()));
        return Ok(());
    }
    if !named.session_key.is_zero() {
        return at_signer(Reason::KeyStillHeld { key: named.session_key });
    }
    let Some(key) = config.signer.held_key() else { return at_signer(Reason::InstallDataUnreadable) };
    named.session_key = key;
    Ok(())
}

/// Known by name, and not by what it does.
fn is_named_only(policy: &Policy) -> bool {
    super::super::contracts::unsupported_name(policy.address()).is_some()
}

fn open_selector(facts: &Facts, data: &[u8], unknown: &mut Vec<Unknown>) -> Result<(), Denied> {
    let refuse = |reason| Err(Denied::new(At::Account, reason));
    match SelectorData::decode(data) {
        SelectorData::Plain | SelectorData::Opens(_) => Ok(()),
        SelectorData::Installs(module) => {
            match module.call_type {
                CallType::DelegateCall => {}
                CallType::Call => match facts.has_code.get(&module.target) {
                    Some(false) => return refuse(Reason::SelectorTargetWithoutCode { target: module.target }),
                    Some(true) | None => unknown.push(Unknown::Module(module.target)),
                },
                other => return refuse(Reason::SelectorDataCallType { code: Some(other.code()) }),
            }
            if !module.hook.is_zero() && module.hook != NO_HOOK {
                unknown.push(Unknown::Hook(module.hook));
            }
            Ok(())
        }
        unreadable @ SelectorData::Unreadable(_) if unreadable.is_refused() => {
            refuse(Reason::SelectorDataLength { bytes: data.len(), kernel: facts.kernel })
        }
        SelectorData::Unreadable(_) => {
            unknown.push(Unknown::SelectorData);
            Ok(())
        }
    }
}

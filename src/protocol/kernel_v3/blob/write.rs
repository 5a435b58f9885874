//! Writing an approval as the SDK would have serialized it, so that the SDK's reader makes of it exactly what was signed.

use alloy::{
    eips::eip7702::SignedAuthorization,
    primitives::{Address, Bytes, Selector, U256},
};
use zeroize::Zeroizing;

use crate::{
    protocol::{
        kernel_v3::{
            account::{CallType, Creation, selector},
            approval::{Approval, Module, SelectorData},
            contracts::RATE_LIMIT_WITH_RESET_POLICY,
            permission_config::{EnableDataError, PermissionFlag, Signer},
            policy::{
                Policy, PolicyFlag,
                call::{CallPolicy, Entry, Rule},
                rate_limit::RateLimit,
            },
        },
        serialized::{encode_base64, join_with_secret},
    },
    secret::Secret,
};

/// Why an approval cannot be written so that the SDK enables what was signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    #[error("{0}, and the text holds the scope in words: it cannot be written")]
    EnableData(#[from] EnableDataError),
    #[error("the permission has flag {}, which the text cannot hold: the SDK would enable it without, and fail", Bytes::copy_from_slice(&.0.0))]
    Flag(PermissionFlag),
    #[error("the approval is for signer contract {0}, which the text cannot hold")]
    Signer(Address),
    #[error("the approval has hook {0}, which the text cannot hold")]
    Hook(Address),
    #[error("policy {} is one that the text cannot hold", .0 + 1)]
    Policy(usize),
    #[error("the approval is for every chain, and the SDK cannot use such a one")]
    EveryChain,
    #[error("the approval is for no permission, or for an id with more than four bytes")]
    NoPermission,
    #[error("the approval opens its account function in a form that the SDK would not sign")]
    SelectorData,
    #[error(
        "the private key belongs to {found}, the approval to session key {expected}: write it without the key, or with that one"
    )]
    OtherKey { expected: Address, found: Address },
    #[error("the initCode has its factory in front, which today's reader does not take: give the factory's call alone")]
    Factory,
}

/// Writes the approval. `factory_data` creates the account, and is empty with EIP-7702. With `secret`, the text is a bearer secret; it
/// is wiped when dropped.
pub fn write(
    approval: &Approval,
    factory_data: &[u8],
    secret: Option<&Secret>,
    eip7702_auth: Option<&SignedAuthorization>,
) -> Result<Zeroizing<String>, WriteError> {
    let request = &approval.request;
    let config = request.config()?;
    let Signer::Ecdsa(session_key) = config.signer else {
        return Err(WriteError::Signer(config.signer.address()));
    };
    if let Some(found) = secret.map(Secret::address).filter(|found| *found != session_key) {
        return Err(WriteError::OtherKey { expected: session_key, found });
    }
    if config.flag != PermissionFlag::default() {
        return Err(WriteError::Flag(config.flag));
    }
    if !request.hook.is_zero() {
        return Err(WriteError::Hook(request.hook));
    }
    if request.chain_id.is_none() {
        return Err(WriteError::EveryChain);
    }
    let id = request.permission_id().ok_or(WriteError::NoPermission)?;
    let (selector, module) = action(request.selector(), &request.selector_data)?;
    let policies = config
        .policies
        .iter()
        .enumerate()
        .map(|(i, policy)| write_policy(policy).ok_or(WriteError::Policy(i)))
        .collect::<Result<Vec<_>, _>>()?;
    let before = format!(
        r#"{{"permissionParams":{{"policies":[{}],"permissionId":"{id}"}},"action":{{"selector":"{selector}","address":"{module}"}},"validityData":{{"validAfter":0,"validUntil":0}},"accountParams":{{"initCode":"0x{}","accountAddress":"{}"}},"enableSignature":"{}""#,
        policies.join(","),
        factory_data_digits(factory_data)?,
        request.account,
        approval.signature,
    );
    let authorization = eip7702_auth.map(write_authorization).unwrap_or_default();
    let after = format!(r#"{authorization},"isPreInstalled":false}}"#);
    Ok(encode_base64(&join_with_secret(&before, "privateKey", secret, &after)))
}

/// What the SDK's reader makes long again: a function, and the module it is routed to.
fn action(read: SelectorData, signed: &Bytes) -> Result<(Selector, Address), WriteError> {
    let (selector, target) = match read {
        SelectorData::Plain => (selector::EXECUTE, Address::ZERO),
        SelectorData::Installs(module) => (module.selector, module.target),
        SelectorData::Opens(_) | SelectorData::Unreadable(_) => return Err(WriteError::SelectorData),
    };
    let again = SelectorData::long(&Module {
        selector,
        target,
        hook: Address::ZERO,
        call_type: CallType::DelegateCall,
        init_data: Bytes::new(),
        hook_data: Bytes::from_static(&[0, 0]),
    });
    if again == *signed { Ok((selector, target)) } else { Err(WriteError::SelectorData) }
}

fn write_policy(policy: &Policy) -> Option<String> {
    let head = |kind: &str, address: Address, flag: PolicyFlag| {
        let flag = Bytes::copy_from_slice(&flag.0);
        format!(r#""type":"{kind}","policyAddress":"{address}","policyFlag":"{flag}""#)
    };
    let of = |kind: &str| head(kind, policy.address(), policy.flag());
    let params = match policy {
        Policy::Sudo { .. } => of("sudo"),
        // The one type that has no data, at another address.
        Policy::Unknown { data, .. } if data.is_empty() => of("sudo"),
        Policy::Timestamp { window, .. } => {
            format!(r#"{},"validAfter":{},"validUntil":{}"#, of("timestamp"), window.valid_after, window.valid_until)
        }
        Policy::Gas { gas, .. } => format!(
            r#"{},"allowed":"{}","enforcePaymaster":{},"allowedPaymaster":"{}""#,
            of("gas"),
            gas.allowed,
            gas.enforce_paymaster,
            gas.allowed_paymaster
        ),
        Policy::RateLimit { limit, .. } => write_rate_limit(&of("rate-limit"), *limit),
        Policy::Unknown { flag, address: RATE_LIMIT_WITH_RESET_POLICY, data } if data.len() == 12 => {
            let limit = RateLimit::decode(&[data, &[0; 6][..]].concat())?;
            // The SDK compares this address as text, in small letters.
            let checksum = RATE_LIMIT_WITH_RESET_POLICY.to_checksum(None);
            let head = head("rate-limit", RATE_LIMIT_WITH_RESET_POLICY, *flag);
            write_rate_limit(&head.replace(&checksum, &checksum.to_ascii_lowercase()), limit)
        }
        Policy::SignatureCaller { callers, .. } => {
            let callers: Vec<String> = callers.allowed.iter().map(|caller| format!("\"{caller}\"")).collect();
            format!(r#"{},"allowedCallers":[{}]"#, of("signature-caller"), callers.join(","))
        }
        Policy::Call { flag, call } => write_call(*flag, call),
        Policy::Unknown { .. } => return None,
    };
    Some(format!(r#"{{"policyParams":{{{params}}}}}"#))
}

fn write_rate_limit(head: &str, limit: RateLimit) -> String {
    let RateLimit { interval, count, start_at } = limit;
    format!(r#"{head},"interval":{interval},"count":{count},"startAt":{start_at}"#)
}

fn write_call(flag: PolicyFlag, call: &CallPolicy) -> String {
    let lists = call.version().has_param_lists();
    let entries: Vec<String> = call.entries().iter().map(|entry| write_entry(entry, lists)).collect();
    format!(
        r#""type":"call","policyVersion":"{}","policyFlag":"{}","permissions":[{}]"#,
        call.version(),
        Bytes::copy_from_slice(&flag.0),
        entries.join(",")
    )
}

fn write_entry(entry: &Entry, lists: bool) -> String {
    let rules: Vec<String> = entry.rules.iter().map(|rule| write_rule(rule, lists)).collect();
    format!(
        r#"{{"target":"{}","callType":"{}","selector":"{}","valueLimit":"{}","rules":[{}]}}"#,
        entry.target,
        Bytes::copy_from_slice(&[entry.call_type.code()]),
        entry.selector,
        entry.value_limit,
        rules.join(",")
    )
}

fn write_rule(rule: &Rule, lists: bool) -> String {
    let words: Vec<String> = rule.params.iter().map(|word| format!("\"{word}\"")).collect();
    let words = words.join(",");
    let params = if lists { format!("[{words}]") } else { words };
    // A JSON number where JavaScript reads it without loss, else decimal text.
    let offset = if rule.offset < 1 << 53 { rule.offset.to_string() } else { format!("\"{}\"", rule.offset) };
    format!(r#"{{"params":{params},"offset":{offset},"condition":{}}}"#, rule.condition.code())
}

fn write_authorization(auth: &SignedAuthorization) -> String {
    let word = |number: U256| Bytes::copy_from_slice(&number.to_be_bytes::<32>());
    format!(
        r#","eip7702Auth":{{"address":"{}","chainId":{},"nonce":{},"r":"{}","s":"{}","v":"{}","yParity":{}}}"#,
        auth.address,
        auth.chain_id,
        auth.nonce,
        word(auth.r()),
        word(auth.s()),
        27 + u64::from(auth.y_parity()),
        auth.y_parity()
    )
}

/// Hex digits of the factory's call, with the mixed case that the SDK leaves in it: validator and owner keep their EIP-55 form.
fn factory_data_digits(data: &[u8]) -> Result<String, WriteError> {
    let mut digits = alloy::hex::encode(data);
    let Some(creation) = Creation::read(data) else { return Ok(digits) };
    let Some(seed) = creation.seeds.first() else { return Ok(digits) };
    // A text with the factory in front is not read by today's SDK.
    if seed.deployment(creation.route).factory_data[..] != *data {
        return Err(WriteError::Factory);
    }
    for address in seed.root.validator().into_iter().chain(seed.owner()) {
        let checksum = address.to_checksum(None);
        let checksum = checksum.trim_start_matches("0x");
        if let Some(at) = digits.find(&checksum.to_ascii_lowercase()) {
            digits.replace_range(at..at + checksum.len(), checksum);
        }
    }
    Ok(digits)
}

//! Serialized approvals of the ZeroDev SDKs, in and out: what an owner hands to whoever holds the session key (docs/kernel-v2.md#serialized-approvals).
//!
//! A blob is base64 of JSON. With the private key in it, it is a bearer secret: the text that held it is wiped after use.
//! What [`Blob`] says is what the *chain* reads. Both SDKs encode the three words of an `executionRule` in another order than
//! they name them in JSON, so names are permuted on the way in and on the way out.

mod foreign;
mod recover;

use std::collections::HashMap;

use alloy::primitives::{Address, Bytes, FixedBytes, Selector, U256};
use zeroize::Zeroizing;

pub use foreign::{PermissionApproval, PermissionEntry};
pub use recover::{Hints, RecoverError, Recovered, Search};

use super::{
    account::AccountSeed,
    approval::{Approval, EnableData},
    generation::KERNEL_FACTORY,
};
use crate::{
    policy::scope::{Condition, ExecutionRule, MAX_UINT48, Operation, Permission, Rule, Scope},
    protocol::{
        Format,
        serialized::{self, Node, TextError, encode_base64, join_with_secret, read_secret},
        signature::normalized,
    },
    secret::Secret,
};

pub const MAX_PERMISSIONS: usize = 10_000;
/// Rules of one permission.
pub const MAX_RULES: usize = 256;
/// Bytes of initCode; that of the known factory has 312.
const MAX_INIT_CODE: usize = 16 << 10;
/// Bytes of an owner's signature; that of a passkey has some hundreds, that of a dozen owners some more.
const MAX_SIGNATURE: usize = 16 << 10;
/// Unix seconds in the year 5138. Later times are milliseconds taken for seconds.
const LATEST_PLAUSIBLE: u64 = 100_000_000_000;

/// A serialized approval. It names neither nonce, chain, validator nor kernel version: see [`Blob::recover`].
pub struct Blob {
    pub format: Format,
    pub account: Address,
    /// The account function the approval opens.
    pub selector: Selector,
    pub executor: Address,
    /// `validUntil6 ‖ validAfter6`, as the SDKs put them before the validator's address. The contract reads them the other way round.
    pub plugin_window: FixedBytes<12>,
    /// As the contract reads it.
    pub scope: Scope,
    /// Factory and call; `None` when the account existed already.
    pub init_code: Option<Bytes>,
    /// The owner's, 65 bytes.
    pub signature: Bytes,
    /// The session key, when it travels with its approval.
    pub secret: Option<Secret>,
    /// Whether some `executionRule` means something else on chain than its names in the JSON say.
    pub execution_rule_permuted: bool,
    pub warnings: Vec<Warning>,
}

/// Why a serialized approval is not read. Names the field, and never repeats a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    #[error(transparent)]
    Text(#[from] TextError),
    #[error(
        "{path}: index {index} was used already by {first}; permissions with one index share a run counter, so ask the owner \
         for an approval with distinct ones"
    )]
    DuplicateIndex { path: String, index: u32, first: String },
    #[error("this is not a session key approval: {what}")]
    Foreign { what: &'static str },
    #[error("{0}")]
    Recognised(Box<PermissionApproval>),
}

/// What a reader should know about an approval that was read all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    #[error(
        "{path}: the JSON says validAfter {0}, interval {1}, runs {2}; the SDK that wrote it encodes these in another order, and the \
         chain reads validAfter {after}, interval {interval}, runs {runs}",
        written[0], written[1], written[2], after = on_chain.valid_after, interval = on_chain.interval, runs = on_chain.runs
    )]
    ExecutionRuleOrder {
        path: String,
        /// validAfter, interval, runs as named in the JSON.
        written: [u64; 3],
        on_chain: ExecutionRule,
    },
    #[error("{path}: {value} counts seconds on chain, and is later than the year 5000; it looks like milliseconds")]
    Milliseconds { path: String, value: u64 },
    #[error(
        "the approval carries a window of its own for the account function ({0}); the contract reads it as validAfter and \
         validUntil in the opposite order of the SDK, and every key of that function shares it",
        window
    )]
    PluginWindow { window: FixedBytes<12> },
    #[error(
        "{path}: index {index} is not the position in the list; the SDKs renumber permissions, and their proofs then fail"
    )]
    IndexNotPosition { path: String, index: u32 },
    #[error("the approval has no permissions, and on chain that allows everything")]
    EverythingAllowed,
    #[error("accountAddress is missing; {account} follows from the initCode")]
    AccountFromInitCode { account: Address },
    #[error("the initCode is not of the known factory, so who owns the account cannot be read from it")]
    ForeignInitCode,
    #[error(
        "the owner's signature is written with v 0 or 1, as 64 bytes (EIP-2098), or with s in the upper half: the account refuses \
         that form; here the same signature is used with v 27 or 28"
    )]
    SignatureForm,
    #[error(
        "the owner's signature has {length} bytes: it is not that of one secp256k1 key (65 bytes), but of another validator, such as \
         a passkey (WebAuthn) or several owners. Who signed cannot be checked here"
    )]
    OtherValidator { length: usize },
}

/// Why an approval cannot be written as an SDK would write it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    #[error(
        "the scope is not the one that was signed for session key {session_key}: write it with the scope the approval was made from"
    )]
    OtherScope { session_key: Address },
    #[error(
        "the private key belongs to {found}, the approval to session key {expected}: write it without the key, or with that one"
    )]
    OtherKey { expected: Address, found: Address },
    #[error(
        "permission {position} has index {index}; the SDKs renumber permissions by position, and its proof would fail: sign a scope with index = position"
    )]
    IndexNotPosition { position: usize, index: u32 },
    #[error(
        "form v5 leaves the factory out, so it cannot express an initCode of another factory than {KERNEL_FACTORY}: use v4"
    )]
    ForeignFactory,
}

/// Reads a serialized approval: base64 (standard or url-safe, with or without padding) or its JSON, white space and quotes around it
/// ignored. Any order of members, unknown members ignored, defaults as in the SDKs. The caller wipes `text`.
pub fn read(text: &str) -> Result<Blob, BlobError> {
    serialized::read(text, read_root)
}

fn read_root(root: &Node<'_, '_>) -> Result<Blob, BlobError> {
    if let Some(what) = foreign::named(root) {
        return Err(BlobError::Foreign { what });
    }
    root.check_object()?;
    if root.get("permissionParams").is_some() {
        return Err(BlobError::Recognised(Box::new(foreign::read(root)?)));
    }
    match root.get("sessionKeyParams") {
        Some(params) if params.get("sessionKeyData").is_some() => read_alpha(root, &params),
        Some(params) => read_v5(root, &params),
        None => read_v4(root),
    }
}

fn read_v4(root: &Node<'_, '_>) -> Result<Blob, BlobError> {
    let mut warnings = Vec::new();
    let init_code = read_init_code(root, &[])?;
    Ok(Blob {
        format: Format::V4,
        account: read_account(root, init_code.as_ref(), &mut warnings)?,
        selector: root.require("selector", "a function selector: 0x and 8 hex digits")?.selector()?,
        executor: address_or_zero(root, "executor")?,
        plugin_window: read_plugin_window(root, &mut warnings)?,
        execution_rule_permuted: false,
        scope: read_scope(&root.object("sessionKeyData")?, &mut warnings)?,
        init_code,
        signature: read_signature(root, &mut warnings)?,
        secret: read_secret(root, "sessionPrivateKey")?,
        warnings,
    }
    .note_execution_rules())
}

/// 5.x. Early ones call `action` `executorData`, and leave the factory in `initCode`.
fn read_v5(root: &Node<'_, '_>, params: &Node<'_, '_>) -> Result<Blob, BlobError> {
    let action = match root.get("executorData") {
        Some(early) if root.get("action").is_none() => early,
        _ => root.object("action")?,
    };
    let account_params = root.object("accountParams")?;
    let window = root.get("validityData");
    read_five(root, params, &action, &account_params, window.as_ref())
}

/// What came before 5.0: scope and executor one level deeper, the account only in its `initCode`.
fn read_alpha(root: &Node<'_, '_>, params: &Node<'_, '_>) -> Result<Blob, BlobError> {
    let action = params.object("executorData")?;
    read_five(root, &params.object("sessionKeyData")?, &action, root, Some(&action))
}

fn read_five(
    root: &Node<'_, '_>,
    scope: &Node<'_, '_>,
    action: &Node<'_, '_>,
    account: &Node<'_, '_>,
    window: Option<&Node<'_, '_>>,
) -> Result<Blob, BlobError> {
    let mut warnings = Vec::new();
    scope.check_object()?;
    let executor = if action.get("executor").is_some() { "executor" } else { "address" };
    let init_code = read_init_code(account, KERNEL_FACTORY.as_slice())?;
    Ok(Blob {
        format: Format::V5,
        account: read_account(account, init_code.as_ref(), &mut warnings)?,
        selector: action.require("selector", "a function selector: 0x and 8 hex digits")?.selector()?,
        executor: address_or_zero(action, executor)?,
        plugin_window: match window {
            Some(window) => read_plugin_window(window, &mut warnings)?,
            None => FixedBytes::ZERO,
        },
        execution_rule_permuted: false,
        scope: read_scope(scope, &mut warnings)?,
        init_code,
        signature: read_signature(root, &mut warnings)?,
        secret: read_secret(root, "privateKey")?,
        warnings,
    }
    .note_execution_rules())
}

impl Blob {
    fn note_execution_rules(mut self) -> Self {
        self.execution_rule_permuted = self.warnings.iter().any(|w| matches!(w, Warning::ExecutionRuleOrder { .. }));
        self
    }
}

fn address_or_zero(node: &Node<'_, '_>, key: &str) -> Result<Address, TextError> {
    node.get(key).map_or(Ok(Address::ZERO), |node| node.address())
}

fn uint48_or_zero(node: &Node<'_, '_>, key: &str) -> Result<u64, TextError> {
    node.get(key).map_or(Ok(0), |node| node.uint48())
}

/// A time in Unix seconds, 0 when missing.
fn read_time(node: &Node<'_, '_>, key: &str, warnings: &mut Vec<Warning>) -> Result<u64, TextError> {
    let Some(field) = node.get(key) else { return Ok(0) };
    let value = field.uint48()?;
    warn_milliseconds(&field.path, value, warnings);
    Ok(value)
}

fn warn_milliseconds(path: &str, value: u64, warnings: &mut Vec<Warning>) {
    // The largest value of all is how "never" is written by some.
    if value > LATEST_PLAUSIBLE && value != MAX_UINT48 {
        warnings.push(Warning::Milliseconds { path: path.to_owned(), value });
    }
}

fn read_plugin_window(node: &Node<'_, '_>, warnings: &mut Vec<Warning>) -> Result<FixedBytes<12>, TextError> {
    let [_, _, until @ ..] = uint48_or_zero(node, "validUntil")?.to_be_bytes();
    let [_, _, after @ ..] = uint48_or_zero(node, "validAfter")?.to_be_bytes();
    let window = FixedBytes::<6>::new(until).concat_const::<6, 12>(FixedBytes::new(after));
    if !window.is_zero() {
        warnings.push(Warning::PluginWindow { window });
    }
    Ok(window)
}

/// `factory` is put before the call in forms that leave it out, unless this text has not left it out.
fn read_init_code(node: &Node<'_, '_>, factory: &[u8]) -> Result<Option<Bytes>, TextError> {
    let Some(field) = node.get("initCode") else { return Ok(None) };
    let code = field.bytes(MAX_INIT_CODE, "initCode: 0x and hex digits, only 0x when the account exists")?;
    if AccountSeed::from_init_code(&code).is_some() {
        return Ok(Some(code));
    }
    Ok((!code.is_empty()).then(|| [factory, &code].concat().into()))
}

fn read_account(
    node: &Node<'_, '_>,
    init_code: Option<&Bytes>,
    warnings: &mut Vec<Warning>,
) -> Result<Address, TextError> {
    let seed = init_code.and_then(|code| AccountSeed::from_init_code(code));
    if init_code.is_some() && seed.is_none() {
        warnings.push(Warning::ForeignInitCode);
    }
    match (node.get("accountAddress"), seed) {
        (None, Some((seed, _))) => {
            let account = seed.address();
            warnings.push(Warning::AccountFromInitCode { account });
            Ok(account)
        }
        _ => node.require("accountAddress", "the account's address: 0x and 40 hex digits")?.address(),
    }
}

/// One key's signature in the form the account takes. A longer one is another validator's, and is kept as it is.
fn read_signature(root: &Node<'_, '_>, warnings: &mut Vec<Warning>) -> Result<Bytes, TextError> {
    const EXPECTED: &str = "the owner's signature: 0x and 130 hex digits";
    let field = root.require("enableSignature", EXPECTED)?;
    let signature = field.bytes(MAX_SIGNATURE, EXPECTED)?;
    match (signature.len(), normalized(&signature)) {
        (0..64, _) => Err(field.wrong(EXPECTED, "the text is cut off: copy the whole approval")),
        (_, Ok(usual)) if usual[..] == signature[..] => Ok(signature),
        (_, Ok(usual)) => {
            warnings.push(Warning::SignatureForm);
            Ok(Bytes::copy_from_slice(&usual))
        }
        (64 | 65, Err(_)) => Ok(signature),
        (length, Err(_)) => {
            warnings.push(Warning::OtherValidator { length });
            Ok(signature)
        }
    }
}

fn read_scope(node: &Node<'_, '_>, warnings: &mut Vec<Warning>) -> Result<Scope, BlobError> {
    let items = match node.get("permissions") {
        Some(list) => list.items(MAX_PERMISSIONS, "a list of at most 10000 permissions")?,
        None => Vec::new(),
    };
    if items.is_empty() {
        warnings.push(Warning::EverythingAllowed);
    }
    let mut permissions = Vec::with_capacity(items.len());
    let mut positions = HashMap::with_capacity(items.len());
    for (position, item) in items.iter().enumerate() {
        let permission = read_permission(item, position as u32, warnings)?;
        if let Some(first) = positions.insert(permission.index, position) {
            return Err(BlobError::DuplicateIndex {
                path: item.path.clone(),
                index: permission.index,
                first: items.get(first).map_or_else(String::new, |first| first.path.clone()),
            });
        }
        if permission.index as usize != position {
            warnings.push(Warning::IndexNotPosition { path: item.path.clone(), index: permission.index });
        }
        permissions.push(permission);
    }
    Ok(Scope {
        valid_after: read_time(node, "validAfter", warnings)?,
        valid_until: read_time(node, "validUntil", warnings)?,
        paymaster: address_or_zero(node, "paymaster")?,
        permissions,
    })
}

fn read_permission(node: &Node<'_, '_>, position: u32, warnings: &mut Vec<Warning>) -> Result<Permission, TextError> {
    node.check_object()?;
    let rules = match node.get("rules") {
        Some(list) => list.items(MAX_RULES, "a list of at most 256 rules")?,
        None => Vec::new(),
    };
    Ok(Permission {
        index: node.get("index").map_or(Ok(position), |field| field.uint32())?,
        target: node.require("target", "the contract's address, or the zero address for any")?.address()?,
        sig: node.get("sig").map_or(Ok(Selector::ZERO), |field| field.selector())?,
        value_limit: node.get("valueLimit").map_or(Ok(U256::ZERO), |field| field.uint256())?,
        rules: rules.iter().map(read_rule).collect::<Result<_, _>>()?,
        execution_rule: match node.get("executionRule") {
            Some(field) => read_execution_rule(&field, warnings)?,
            None => ExecutionRule::default(),
        },
        operation: match node.get("operation") {
            Some(field) => field.choice(
                Operation::from_code,
                |name| match name.to_ascii_lowercase().as_str() {
                    "call" => Some(Operation::Call),
                    "delegatecall" => Some(Operation::DelegateCall),
                    _ => None,
                },
                "an operation: 0 (Call) or 1 (DelegateCall)",
            )?,
            None => Operation::default(),
        },
    })
}

fn read_rule(node: &Node<'_, '_>) -> Result<Rule, TextError> {
    const CONDITION: &str =
        "a condition: 0 to 5, or EQUAL, GREATER_THAN, LESS_THAN, GREATER_THAN_OR_EQUAL, LESS_THAN_OR_EQUAL, NOT_EQUAL";
    node.check_object()?;
    Ok(Rule {
        offset: node.require("offset", "the word's offset in bytes")?.uint256()?,
        condition: node.require("condition", CONDITION)?.choice(Condition::from_code, Condition::parse, CONDITION)?,
        param: node.require("param", "a 32-byte word: 0x and 64 hex digits")?.word()?,
    })
}

/// The SDKs encode `interval, runs, validAfter` where the contract reads `validAfter, interval, runs`.
fn read_execution_rule(node: &Node<'_, '_>, warnings: &mut Vec<Warning>) -> Result<ExecutionRule, TextError> {
    node.check_object()?;
    let word = |key| node.require(key, "a whole number from 0 to 2^48 - 1")?.uint48();
    let written = [word("validAfter")?, word("interval")?, word("runs")?];
    let [json_after, json_interval, json_runs] = written;
    let on_chain = ExecutionRule { valid_after: json_interval, interval: json_runs, runs: json_after };
    if written != [on_chain.valid_after, on_chain.interval, on_chain.runs] {
        warnings.push(Warning::ExecutionRuleOrder { path: node.path.clone(), written, on_chain });
    }
    warn_milliseconds(&format!("{}.interval", node.path), on_chain.valid_after, warnings);
    Ok(on_chain)
}

/// Writes the approval as the SDK would have serialized it, so that the SDK enables exactly what was signed.
///
/// `scope` is what the approval was made from, and `init_code` (factory and call) is `None` once the account exists. With
/// `secret`, the text is a bearer secret; it is wiped when dropped.
pub fn write(
    approval: &Approval,
    scope: &Scope,
    init_code: Option<&Bytes>,
    format: Format,
    secret: Option<&Secret>,
) -> Result<Zeroizing<String>, WriteError> {
    let request = &approval.request;
    let session_key = request.enable.session_key;
    if EnableData::new(session_key, scope, request.enable.nonce, request.validator) != request.enable {
        return Err(WriteError::OtherScope { session_key });
    }
    if let Some(found) = secret.map(Secret::address).filter(|found| *found != session_key) {
        return Err(WriteError::OtherKey { expected: session_key, found });
    }
    if let Some((position, permission)) =
        scope.permissions.iter().enumerate().find(|(position, permission)| permission.index as usize != *position)
    {
        return Err(WriteError::IndexNotPosition { position, index: permission.index });
    }
    if format == Format::V5 && init_code.is_some_and(|code| !code.starts_with(KERNEL_FACTORY.as_slice())) {
        return Err(WriteError::ForeignFactory);
    }
    let (before, after) = match format {
        Format::V4 => v4_around_secret(approval, scope, init_code),
        Format::V5 => v5_around_secret(approval, scope, init_code),
    };
    let member = match format {
        Format::V4 => "sessionPrivateKey",
        Format::V5 => "privateKey",
    };
    Ok(encode_base64(&join_with_secret(&before, member, secret, &after)))
}

fn v4_around_secret(approval: &Approval, scope: &Scope, init_code: Option<&Bytes>) -> (String, String) {
    let request = &approval.request;
    let [until, after] = plugin_times(request.plugin_window);
    let before = format!(
        r#"{{"selector":"{}","executor":"{}","validUntil":{until},"validAfter":{after},"sessionKeyData":{},"enableSignature":"{}""#,
        request.selector,
        request.executor,
        write_scope(scope),
        approval.signature,
    );
    let init_code = init_code.map_or_else(String::new, |code| init_code_digits(code));
    (before, format!(r#","initCode":"0x{init_code}","accountAddress":"{}"}}"#, request.account))
}

fn v5_around_secret(approval: &Approval, scope: &Scope, init_code: Option<&Bytes>) -> (String, String) {
    let request = &approval.request;
    let [until, after] = plugin_times(request.plugin_window);
    let init_code = init_code.map_or_else(String::new, |code| init_code_digits(code));
    let before = format!(
        r#"{{"sessionKeyParams":{},"action":{{"selector":"{}","address":"{}"}},"validityData":{{"validAfter":{after},"validUntil":{until}}},"accountParams":{{"initCode":"0x{}","accountAddress":"{}"}},"enableSignature":"{}""#,
        write_scope(scope),
        request.selector,
        request.executor,
        init_code.get(40..).unwrap_or_default(),
        request.account,
        approval.signature,
    );
    (before, "}".to_owned())
}

/// Hex digits of an initCode, with the mixed case that the SDKs leave in it: factory and owner keep their EIP-55 form.
fn init_code_digits(code: &[u8]) -> String {
    let mut digits = alloy::hex::encode(code);
    let mut keep_checksum = |address: Address| {
        let checksum = address.to_checksum(None);
        let checksum = checksum.trim_start_matches("0x");
        if let Some(at) = digits.find(&checksum.to_ascii_lowercase()) {
            digits.replace_range(at..at + checksum.len(), checksum);
        }
    };
    if let Some((seed, _)) = AccountSeed::from_init_code(code) {
        keep_checksum(KERNEL_FACTORY);
        keep_checksum(seed.owner);
    }
    digits
}

/// validUntil and validAfter, as the SDKs name the halves.
fn plugin_times(window: FixedBytes<12>) -> [u64; 2] {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
    let (until, after) = window.split_at(6);
    [number(until), number(after)]
}

fn write_scope(scope: &Scope) -> String {
    let permissions: Vec<String> = scope.permissions.iter().map(write_permission).collect();
    format!(
        r#"{{"validUntil":{},"validAfter":{},"paymaster":"{}","permissions":[{}]}}"#,
        scope.valid_until,
        scope.valid_after,
        scope.paymaster,
        permissions.join(","),
    )
}

/// Members in the order of the SDKs' own `getPermissionFromABI`.
fn write_permission(permission: &Permission) -> String {
    let rules: Vec<String> = permission
        .rules
        .iter()
        .map(|rule| {
            let Rule { offset, condition, param } = rule;
            format!(r#"{{"param":"{param}","offset":{},"condition":{}}}"#, write_offset(*offset), condition.code())
        })
        .collect();
    let ExecutionRule { valid_after, interval, runs } = permission.execution_rule;
    format!(
        r#"{{"sig":"{}","rules":[{}],"target":"{}","valueLimit":"{}","operation":{},"index":{},"executionRule":{{"validAfter":{runs},"interval":{valid_after},"runs":{interval}}}}}"#,
        permission.sig,
        rules.join(","),
        permission.target,
        permission.value_limit,
        permission.operation.code(),
        permission.index,
    )
}

/// A JSON number where JavaScript reads it without loss, else decimal text.
fn write_offset(offset: U256) -> String {
    if offset >> 53 == U256::ZERO { offset.to_string() } else { format!("\"{offset}\"") }
}

#[cfg(test)]
mod tests;

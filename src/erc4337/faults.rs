//! From the answer of a bundler or the EntryPoint to what happened and what to do about it (docs/kernel-v2.md#what-an-answer-means).
//!
//! Bundlers agree on little: the ERC-4337 code says the class, the `AAxx` text of the EntryPoint says the step, and
//! the validator's own text says the rule. All three are read here, from untrusted text of any length.

use std::fmt;

use alloy::{
    primitives::{Bytes, Selector, U256, hex},
    sol_types::SolValue,
};
use serde_json::Value;

use crate::text::is_unsafe;

/// JSON-RPC and ERC-4337 error codes.
pub mod code {
    /// JSON-RPC: the method does not exist.
    pub const METHOD_NOT_FOUND: i64 = -32601;
    /// JSON-RPC: the parameters are not what the method takes. Bundlers use it for fees and gas below their floor too.
    pub const INVALID_PARAMS: i64 = -32602;
    /// ERC-4337: the EntryPoint's `simulateValidation` refused the operation.
    pub const REJECTED_BY_ENTRY_POINT: i64 = -32500;
    /// ERC-4337: the paymaster's validation refused it.
    pub const REJECTED_BY_PAYMASTER: i64 = -32501;
    /// ERC-4337: validation used a forbidden opcode or storage slot.
    pub const OPCODE_RULE: i64 = -32502;
    /// ERC-4337: outside the time window, or too close to its end.
    pub const OUT_OF_TIME: i64 = -32503;
    /// ERC-4337: an entity of the operation is throttled or banned.
    pub const THROTTLED: i64 = -32504;
    /// ERC-4337: an entity's stake or unstake delay is too small.
    pub const UNSTAKED: i64 = -32505;
    /// ERC-4337: the bundler does not know the signature aggregator.
    pub const AGGREGATOR: i64 = -32506;
    /// ERC-4337: the signature of the account or the paymaster does not hold.
    pub const SIGNATURE: i64 = -32507;
    /// ERC-4337: the paymaster's deposit does not cover the operation.
    pub const PAYMASTER_DEPOSIT: i64 = -32508;
    /// ERC-4337: the call itself reverts (from estimation).
    pub const EXECUTION_REVERTED: i64 = -32521;
}

/// How much outside text is searched for a cause, in bytes.
const SEARCHED: usize = 8 * 1024;
/// How much outside text is kept for display, in characters.
const SHOWN: usize = 200;
/// How much revert data is looked at, in bytes.
const REVERT_DATA: usize = 4 * 1024;

/// Outside text made safe to show: no control, bidirectional or invisible characters, at most `max` characters.
pub fn printable(text: &str, max: usize) -> String {
    let mut kept = text.chars().filter(|c| !is_unsafe(*c));
    let mut shown: String = kept.by_ref().take(max).collect();
    if kept.next().is_some() {
        shown.push('…');
    }
    shown
}

/// What a reverting call gave back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revert {
    /// No data: `revert()`, a failed `require` without text, an invalid opcode or no gas left.
    Empty,
    /// `Error(string)`, made safe to show.
    Text(String),
    /// `Panic(uint256)` of the compiler, with its code.
    Panic(u8),
    /// A custom error of Kernel or its validators.
    Kernel(KernelError),
    /// EntryPoint `FailedOp(uint256,string)`: position in the bundle and the text.
    FailedOp(u64, String),
    /// A custom error of Kernel v3 or one of its policies, signers and validators.
    KernelV3(KernelV3Error),
    /// EntryPoint v0.7 `FailedOpWithRevert(uint256,string,bytes)`: position in the bundle, the text, and what the account or its
    /// paymaster reverted with.
    FailedOpWithRevert(u64, String, Box<Revert>),
    /// A custom error that is not ours.
    Custom(Selector),
    /// Data too short to hold a selector, or not what its selector promises.
    Unreadable,
}

/// The custom errors of Kernel 0.2.1-0.2.4 and of the validators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelError {
    /// `NotAuthorizedCaller()`: only the EntryPoint or the owner may make this call; `executeBatch` called by the account itself.
    NotAuthorizedCaller,
    /// `NotImplemented()`: a validator refuses a direct caller that is not the owner.
    NotImplemented,
    /// `DeprecatedOperation()`: `execute` with operation 1 on Kernel 0.2.2 and later.
    DeprecatedOperation,
    /// `DisabledMode()`: panic is on.
    DisabledMode,
    /// `AlreadyInitialized()`.
    AlreadyInitialized,
}

impl KernelError {
    const ALL: [(Self, [u8; 4]); 5] = [
        (Self::NotAuthorizedCaller, hex!("7046c88d")),
        (Self::NotImplemented, hex!("d6234725")),
        (Self::DeprecatedOperation, hex!("67ce7759")),
        (Self::DisabledMode, hex!("fc2f51c5")),
        (Self::AlreadyInitialized, hex!("0dc149f0")),
    ];

    pub fn from_selector(selector: [u8; 4]) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, s)| *s == selector).map(|(error, _)| error)
    }
}

/// The custom errors of Kernel 3.0-3.3, its policies and its signers (docs/kernel-v3.md#errors).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelV3Error {
    InvalidNonce,
    EnableNotApproved,
    /// Not installed, or the function is not allowed.
    InvalidValidator,
    /// The policy at this position said no.
    PolicyFailed(u64),
    SignerPrefixNotPresent,
    PolicySignatureOrder,
    NotAllowedForUserOp,
    NotAllowedForSignature,
    PermissionDataLengthMismatch,
    NonceInvalidation,
    RootValidatorCannotBeRemoved,
    OnlyExecuteUserOp,
    InvalidCallData,
    CallViolatesParamRule,
    CallViolatesValueRule,
    CallViolatesTargetRule,
    ParamTooShort,
    RateLimited,
    InvalidCallType,
    ExecutionReverted,
    Initialize,
    NotApprovedFactory,
    InvalidSelector,
    /// Kernel 3.3: the nonce names no known type of validation.
    InvalidValidationType,
    InvalidSignature,
    /// `AlreadyInitialized(address)`: the validator or signer knows the account already.
    AlreadyInitialized,
}

impl KernelV3Error {
    const ALL: [(Self, [u8; 4], &'static str); 26] = [
        (Self::InvalidNonce, hex!("756688fe"), "InvalidNonce"),
        (Self::EnableNotApproved, hex!("c48cf8ee"), "EnableNotApproved"),
        (Self::InvalidValidator, hex!("682a6e7c"), "InvalidValidator"),
        (Self::PolicyFailed(0), hex!("3e4983f6"), "PolicyFailed"),
        (Self::SignerPrefixNotPresent, hex!("b32eeb69"), "SignerPrefixNotPresent"),
        (Self::PolicySignatureOrder, hex!("0ec17b9e"), "PolicySignatureOrderError"),
        (Self::NotAllowedForUserOp, hex!("14b9743f"), "PermissionNotAlllowedForUserOp"),
        (Self::NotAllowedForSignature, hex!("5b710579"), "PermissionNotAlllowedForSignature"),
        (Self::PermissionDataLengthMismatch, hex!("09ee6468"), "PermissionDataLengthMismatch"),
        (Self::NonceInvalidation, hex!("e60fd647"), "NonceInvalidationError"),
        (Self::RootValidatorCannotBeRemoved, hex!("98015ee8"), "RootValidatorCannotBeRemoved"),
        (Self::OnlyExecuteUserOp, hex!("dbbb044b"), "OnlyExecuteUserOp"),
        (Self::InvalidCallData, hex!("1c49f4d1"), "InvalidCallData"),
        (Self::CallViolatesParamRule, hex!("59d52e40"), "CallViolatesParamRule"),
        (Self::CallViolatesValueRule, hex!("7b5812d4"), "CallViolatesValueRule"),
        (Self::CallViolatesTargetRule, hex!("007e472e"), "CallViolatesTargetRule"),
        (Self::ParamTooShort, hex!("1b31e23a"), "ParamTooShort"),
        (Self::RateLimited, hex!("3f7b7a68"), "RateLimited"),
        (Self::InvalidCallType, hex!("39d2eb55"), "InvalidCallType"),
        (Self::ExecutionReverted, hex!("f21e646b"), "ExecutionReverted"),
        (Self::Initialize, hex!("90fcc612"), "InitializeError"),
        (Self::NotApprovedFactory, hex!("c88357cc"), "NotApprovedFactory"),
        (Self::InvalidSelector, hex!("7352d91c"), "InvalidSelector"),
        (Self::InvalidValidationType, hex!("c389d236"), "InvalidValidationType"),
        (Self::InvalidSignature, hex!("8baa579f"), "InvalidSignature"),
        (Self::AlreadyInitialized, hex!("93360fbf"), "AlreadyInitialized"),
    ];

    /// Reads revert data.
    pub fn decode(data: &[u8]) -> Option<Self> {
        let (selector, body) = data.split_first_chunk::<4>()?;
        let (error, ..) = Self::ALL.into_iter().find(|(_, known, _)| known == selector)?;
        match error {
            Self::PolicyFailed(_) => {
                let policy = U256::from_be_slice(body.get(..32)?);
                u64::try_from(policy).ok().map(Self::PolicyFailed)
            }
            other => Some(other),
        }
    }

    /// As its contract calls it.
    pub fn name(self) -> &'static str {
        let same = |other: Self| std::mem::discriminant(&other) == std::mem::discriminant(&self);
        Self::ALL.into_iter().find(|(error, ..)| same(*error)).map_or("", |(_, _, name)| name)
    }

    const fn meaning(self) -> &'static str {
        match self {
            Self::InvalidNonce => "the account has gone past what this key or approval was installed or signed for",
            Self::EnableNotApproved => "the owner's signature does not fit the account as it is now",
            Self::InvalidValidator => "the key is not installed, or the function is not allowed to it",
            Self::PolicyFailed(_) => "a policy said no",
            Self::SignerPrefixNotPresent | Self::PolicySignatureOrder => {
                "the signature is not put together as the account reads it"
            }
            Self::NotAllowedForUserOp => "the key may not act at all",
            Self::NotAllowedForSignature => "the key may not sign for the account",
            Self::PermissionDataLengthMismatch => "the key has another number of policies, or is not installed",
            Self::NonceInvalidation => "the nonce is too far ahead",
            Self::RootValidatorCannotBeRemoved => "it is the root",
            Self::OnlyExecuteUserOp => "executeUserOp has to stand in front for a hook",
            Self::InvalidCallData | Self::CallViolatesTargetRule => "the key may not make this call",
            Self::CallViolatesParamRule | Self::ParamTooShort => "an argument is not what the key's rule wants",
            Self::CallViolatesValueRule => "the call sends more coins than the key may send",
            Self::RateLimited => "the key has used up its operations",
            Self::InvalidCallType => "the key may not call in this way",
            Self::ExecutionReverted => "the account's call reverts",
            Self::Initialize => "the account cannot be set up like this",
            Self::NotApprovedFactory => "the factory is not approved",
            Self::InvalidSelector => "the account has no such function",
            Self::InvalidValidationType => "the nonce names no type of validation that the account knows",
            Self::InvalidSignature => "the signature is malformed",
            Self::AlreadyInitialized => "it knows the account already",
        }
    }
}

impl fmt::Display for KernelV3Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PolicyFailed(policy) => {
                write!(f, "PolicyFailed({policy}): policy {} said no", policy.saturating_add(1))
            }
            other => write!(f, "{}: {}", other.name(), other.meaning()),
        }
    }
}

impl Revert {
    const ERROR: [u8; 4] = hex!("08c379a0");
    const PANIC: [u8; 4] = hex!("4e487b71");
    const FAILED_OP: [u8; 4] = hex!("220266b6");
    const FAILED_OP_WITH_REVERT: [u8; 4] = hex!("65c8fd4d");

    /// Reads revert data; never fails, whatever the bytes.
    pub fn decode(data: &[u8]) -> Self {
        let data = data.get(..REVERT_DATA).unwrap_or(data);
        if data.is_empty() {
            return Self::Empty;
        }
        let Some((selector, body)) = data.split_first_chunk::<4>() else { return Self::Unreadable };
        match *selector {
            Self::ERROR => string_at(body, 0).map_or(Self::Unreadable, |text| Self::Text(printable(&text, SHOWN))),
            Self::PANIC => U256::abi_decode(body)
                .ok()
                .and_then(|number| u8::try_from(number).ok())
                .map_or(Self::Unreadable, Self::Panic),
            Self::FAILED_OP => {
                let index = body.get(..32).and_then(|word| u64::try_from(U256::from_be_slice(word)).ok());
                match (index, string_at(body, 1)) {
                    (Some(index), Some(text)) => Self::FailedOp(index, printable(&text, SHOWN)),
                    _ => Self::Unreadable,
                }
            }
            Self::FAILED_OP_WITH_REVERT => {
                let index = body.get(..32).and_then(|word| u64::try_from(U256::from_be_slice(word)).ok());
                match (index, string_at(body, 1), bytes_at(body, 2)) {
                    // What stands inside is the account's own: never another answer of the EntryPoint.
                    (Some(index), Some(text), Some(inner)) if !is_failed_op(inner) => {
                        Self::FailedOpWithRevert(index, printable(&text, SHOWN), Box::new(Self::decode(inner)))
                    }
                    (Some(index), Some(text), Some(_)) => {
                        Self::FailedOpWithRevert(index, printable(&text, SHOWN), Box::new(Self::Unreadable))
                    }
                    _ => Self::Unreadable,
                }
            }
            other => match (KernelError::from_selector(other), KernelV3Error::decode(data)) {
                (Some(error), _) => Self::Kernel(error),
                (None, Some(error)) => Self::KernelV3(error),
                (None, None) => Self::Custom(Selector::from(other)),
            },
        }
    }
}

/// Whether the data is the EntryPoint's own refusal.
fn is_failed_op(data: &[u8]) -> bool {
    [Revert::FAILED_OP, Revert::FAILED_OP_WITH_REVERT].iter().any(|selector| data.starts_with(selector))
}

/// The string whose offset stands in the head word `word`; cut short when the data is.
fn string_at(body: &[u8], word: usize) -> Option<String> {
    bytes_at(body, word).map(|text| String::from_utf8_lossy(text).into_owned())
}

/// The same, of bytes.
fn bytes_at(body: &[u8], word: usize) -> Option<&[u8]> {
    let number = |at: usize| -> Option<usize> {
        let bytes = body.get(at..at.checked_add(32)?)?;
        usize::try_from(U256::from_be_slice(bytes)).ok()
    };
    let start = number(word * 32)?;
    let length = number(start)?;
    let bytes = body.get(start.checked_add(32)?..)?;
    Some(bytes.get(..length).unwrap_or(bytes))
}

impl fmt::Display for Revert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no reason given"),
            Self::Text(text) if text.is_empty() => f.write_str("an empty reason"),
            Self::Text(text) => write!(f, "\"{text}\""),
            Self::Panic(code) => write!(f, "panic 0x{code:02x} ({})", panic_meaning(*code)),
            Self::Kernel(error) => write!(f, "{error}"),
            Self::FailedOp(index, text) => write!(f, "EntryPoint refused operation {index}: \"{text}\""),
            Self::KernelV3(error) => write!(f, "{error}"),
            Self::FailedOpWithRevert(index, text, inner) => {
                write!(f, "EntryPoint refused operation {index}: \"{text}\", {inner}")
            }
            Self::Custom(selector) => write!(f, "custom error {selector} of the contract"),
            Self::Unreadable => f.write_str("a reason that cannot be read"),
        }
    }
}

impl fmt::Display for KernelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAuthorizedCaller => "NotAuthorizedCaller (only the EntryPoint or the owner may make this call)",
            Self::NotImplemented => "NotImplemented (the validator does not take this call from this caller)",
            Self::DeprecatedOperation => "DeprecatedOperation (execute cannot delegatecall on this Kernel)",
            Self::DisabledMode => "DisabledMode (session keys are paused on this account)",
            Self::AlreadyInitialized => "AlreadyInitialized",
        })
    }
}

/// The panic codes of Solidity.
fn panic_meaning(code: u8) -> &'static str {
    match code {
        0x01 => "failed assertion",
        0x11 => "number overflow",
        0x12 => "division by zero",
        0x21 => "value outside an enum",
        0x22 => "broken storage encoding",
        0x31 => "pop of an empty array",
        0x32 => "array index out of bounds",
        0x41 => "too much memory",
        0x51 => "call of an unset function",
        _ => "unknown code",
    }
}

/// The revert data inside the `data` of a JSON-RPC error: hex text, or an object that holds it under one of the
/// names nodes and bundlers use.
pub fn revert_data(data: &Value) -> Option<Bytes> {
    const NAMES: [&str; 5] = ["revertData", "revert_data", "data", "reason", "originalError"];
    fn within(data: &Value, depth: u8) -> Option<Bytes> {
        match data {
            Value::String(text) => first_hex(text),
            Value::Object(fields) if depth > 0 => {
                NAMES.into_iter().find_map(|name| within(fields.get(name)?, depth - 1))
            }
            _ => None,
        }
    }
    within(data, 3)
}

/// The first run of `0x` hex digits in a text, as bytes; an odd last digit is left out.
fn first_hex(text: &str) -> Option<Bytes> {
    let (_, rest) = text.split_once("0x")?;
    let digits = rest.bytes().take(2 * REVERT_DATA).take_while(u8::is_ascii_hexdigit).count();
    hex::decode(rest.get(..digits & !1)?).ok().map(Bytes::from)
}

/// Why an operation was refused or failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// No permission shown names this target.
    TargetMismatch,
    /// More wei than the permission's limit per call.
    ValueLimitExceeded,
    /// Wrong function, or a condition on an argument does not hold: the validator says the same for both.
    PermissionFailed,
    /// The operation's paymaster is not the one the key is bound to.
    PaymasterMismatch,
    /// The key is bound to some paymaster and the operation has none.
    PaymasterNotSet,
    /// The run limit is used up.
    RunsExceeded,
    /// An interval without a start: the permission can never be used.
    InvalidExecutionRule,
    /// A permission for a plain call was shown for a delegatecall.
    OperationMismatch,
    /// The key is not enabled: revoked, never enabled, or enabled on another validator.
    NotEnabled,
    /// The approval's nonce is not `lastNonce + 1`: used, overtaken, burnt, or not its turn yet.
    ApprovalNonce,
    /// The account's validation reverted without text, or ran out of gas: many causes look alike.
    ValidationSilent,
    /// The account's validation reverted with a text that is not the validator's.
    ValidationReverted(String),
    /// The validation of a Kernel v3 account reverted with an error of its own.
    ValidationError(KernelV3Error),
    /// AA10: initCode is given but the account exists.
    AccountExists,
    /// AA13: the factory call failed or ran out of gas.
    DeploymentFailed,
    /// AA14 and AA15: the factory deploys another address, or nothing.
    DeploymentMismatch,
    /// AA20: no account at the sender's address, and no initCode.
    NotDeployed,
    /// AA21: neither deposit nor balance covers the prefund. A signature mode above 2 shows as this too.
    NoPrefund,
    /// The window has ended, or ends too soon for a bundler.
    Expired,
    /// The window has not begun.
    NotYetValid,
    /// AA22: outside the window, the side is not told.
    OutsideWindow,
    /// AA24: the session key's or owner's signature, the proof, or the approval does not hold.
    SignatureRefused,
    /// AA25: the operation's nonce was used by another operation.
    NonceUsed,
    /// AA30-AA34, -32501, -32508: what the paymaster side refused.
    Paymaster(PaymasterFault),
    /// AA40 and AA41: verificationGasLimit is too low.
    VerificationGas,
    /// AA50 and AA51: the paymaster's postOp failed, or the prefund did not cover the gas.
    PostOp,
    /// AA93: paymasterAndData of 1-19 bytes.
    PaymasterDataTooShort,
    /// AA94 and AA95: a gas value out of range, or the bundle ran out of gas.
    GasValues,
    /// AA90-AA92, AA96: the bundler called the EntryPoint wrongly, or named an unknown aggregator.
    BundlerMistake,
    /// -32502: validation touched what the rules forbid.
    OpcodeRule,
    /// -32504: throttled or banned.
    Throttled,
    /// -32505: the factory or paymaster has no stake.
    Unstaked,
    /// -32506.
    UnknownAggregator,
    /// The call reverts: nothing forbids making it, but the contract refuses.
    CallReverts(Revert),
    /// The proposed fees are below what the bundler takes.
    FeesTooLow(String),
    /// preVerificationGas is below what the bundler takes.
    PreVerificationGasTooLow(String),
    /// The same operation, or one with the same nonce, is waiting there already.
    AlreadyWaiting(String),
    /// The sender of a plain transaction cannot pay for it.
    InsufficientFunds,
    /// The method is not offered.
    NoSuchMethod,
    /// Anything else, with the code and the text made safe to show.
    Other { code: i64, message: String },
}

/// What the paymaster side refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaymasterFault {
    /// AA30.
    NotDeployed,
    /// AA31, -32508.
    DepositTooLow,
    /// AA32: its own window has ended or not begun.
    OutsideWindow,
    /// AA33, with its text when it has one; -32501.
    Reverted(String),
    /// AA34.
    SignatureRefused,
}

/// Kernel 0.2.4, when the owner's signature over an approval cannot be read; older versions say nothing (run on the bytecode).
const OWNER_SIGNATURE_TEXT: &str = "Kernel::_validateSignature: failed to validate signature";

/// The validator's texts, after `SessionKeyValidator: `.
const VALIDATOR_TEXTS: [(&str, Fault); 10] = [
    ("target mismatch", Fault::TargetMismatch),
    ("value limit exceeded", Fault::ValueLimitExceeded),
    ("permission verification failed", Fault::PermissionFailed),
    ("paymaster mismatch", Fault::PaymasterMismatch),
    ("paymaster not set", Fault::PaymasterNotSet),
    ("runs exceeded", Fault::RunsExceeded),
    ("invalid execution rule", Fault::InvalidExecutionRule),
    ("operation mismatch", Fault::OperationMismatch),
    ("session key not enabled", Fault::NotEnabled),
    ("invalid nonce", Fault::ApprovalNonce),
];

impl Fault {
    /// Reads a JSON-RPC error. The code decides what the text can mean: an inner call may revert with any text,
    /// also with one that looks like the EntryPoint's.
    pub fn from_answer(rpc_code: i64, message: &str, data: Option<&Value>) -> Self {
        let message = head(message);
        match rpc_code {
            code::EXECUTION_REVERTED => Self::CallReverts(reverted_call(message, data)),
            code::OUT_OF_TIME => time_fault(message),
            // Some bundlers give this code to everything that they refuse.
            code::METHOD_NOT_FOUND => {
                entry_point_fault(message).or_else(|| refusal_in_words(message)).unwrap_or(Self::NoSuchMethod)
            }
            _ => entry_point_fault(message)
                .or_else(|| {
                    data.and_then(|d| entry_point_fault(head(d.as_str().or_else(|| d.get("reason")?.as_str())?)))
                })
                .or_else(|| refusal_in_words(message))
                .unwrap_or_else(|| by_code(rpc_code, message, data)),
        }
    }

    /// Reads the text of the EntryPoint's `FailedOp`.
    pub fn from_entry_point(text: &str) -> Self {
        let text = head(text);
        entry_point_fault(text).unwrap_or_else(|| Self::ValidationReverted(printable(text, SHOWN)))
    }

    /// Reads the revert of a call to the EntryPoint (`handleOps`, `simulateValidation`) or of an inner call.
    pub fn from_revert(data: &[u8]) -> Self {
        match Revert::decode(data) {
            Revert::FailedOp(_, text) => Self::from_entry_point(&text),
            Revert::FailedOpWithRevert(_, text, inner) => match (Self::from_entry_point(&text), *inner) {
                (Self::ValidationSilent, Revert::KernelV3(error)) => Self::ValidationError(error),
                (Self::ValidationSilent, Revert::Text(text)) => Self::ValidationReverted(text),
                (fault, _) => fault,
            },
            other => Self::CallReverts(other),
        }
    }

    /// The word that scripts see for a refusal by the key's own scope (docs/errors.md); `None` for everything else.
    pub fn denial(&self) -> Option<&'static str> {
        Some(match self {
            Self::TargetMismatch => "denied.target",
            Self::ValueLimitExceeded => "denied.value",
            Self::PermissionFailed => "denied.rule",
            Self::PaymasterMismatch | Self::PaymasterNotSet => "denied.paymaster",
            Self::RunsExceeded => "denied.runs",
            Self::InvalidExecutionRule => "denied.interval",
            Self::OperationMismatch => "denied.operation",
            Self::NotEnabled => "denied.not_enabled",
            Self::ApprovalNonce => "denied.nonce",
            Self::Expired => "denied.expired",
            Self::NotYetValid => "denied.not_yet",
            Self::ValidationError(error) => match error {
                KernelV3Error::InvalidCallData | KernelV3Error::CallViolatesTargetRule => "denied.target",
                KernelV3Error::CallViolatesParamRule | KernelV3Error::ParamTooShort => "denied.rule",
                KernelV3Error::CallViolatesValueRule => "denied.value",
                KernelV3Error::InvalidCallType => "denied.operation",
                KernelV3Error::RateLimited => "denied.runs",
                KernelV3Error::InvalidNonce | KernelV3Error::EnableNotApproved => "denied.nonce",
                KernelV3Error::InvalidValidator => "denied.not_enabled",
                _ => return None,
            },
            _ => return None,
        })
    }

    /// Whether the same operation may pass when it is sent again later, unchanged.
    pub fn may_pass_later(&self) -> bool {
        matches!(
            self,
            Self::NotYetValid | Self::Throttled | Self::NoPrefund | Self::Paymaster(PaymasterFault::DepositTooLow)
        )
    }

    /// What to do next, in a sentence.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::TargetMismatch => {
                "Call one of the contracts this key was approved for, or ask the owner for a wider approval."
            }
            Self::ValueLimitExceeded => "Send fewer coins with the call: the limit is per call and inclusive.",
            Self::PermissionFailed => "Compare function and arguments with the key's conditions.",
            Self::PaymasterMismatch => "Use exactly the paymaster this key is bound to.",
            Self::PaymasterNotSet => "Let a paymaster pay for the gas: this key may not use the account's coins.",
            Self::RunsExceeded => "The key has used up its runs; ask the owner for a new approval.",
            Self::InvalidExecutionRule => {
                "The approval has an interval without a start and can never be used; ask the owner for a new one."
            }
            Self::OperationMismatch => "Use a plain call: this permission does not allow a delegatecall.",
            Self::NotEnabled => {
                "The key was revoked or never enabled on the validator the account uses now; enable it with its approval, or ask for a new one."
            }
            Self::ApprovalNonce => {
                "This approval's turn has passed or has not come yet: look at the key's state; a used or burnt approval needs a new one."
            }
            Self::ValidationSilent => {
                "Look for: selector not approved, empty call data, the exact paymaster missing, a condition past the end of the data, session keys paused, a malformed signature, or too little verification gas."
            }
            Self::ValidationReverted(_) => {
                "Check that the account is a Kernel 2.x account and that its validator is a known one."
            }
            Self::ValidationError(_) => {
                "Look at the key's state and scope: the account names the check that it did not pass."
            }
            Self::AccountExists => "Read the account again and leave initCode out: someone has deployed it.",
            Self::DeploymentFailed => {
                "Check the initCode: the factory must allow the implementation, and verificationGasLimit must cover the deployment."
            }
            Self::DeploymentMismatch => {
                "The initCode belongs to another account; rebuild it from the owner and the index."
            }
            Self::NotDeployed => "Add the account's initCode to its first operation.",
            Self::NoPrefund => {
                "Send coins to the account, or use a paymaster; a malformed signature mode can look like this too."
            }
            Self::Expired => "The window has ended or ends within seconds; ask the owner for a new approval.",
            Self::NotYetValid => "Wait until the window begins; check for milliseconds where seconds are meant.",
            Self::OutsideWindow => "Compare the key's window with the time of the latest block.",
            Self::SignatureRefused => {
                "Check that key, permission, proof and approval belong together, and that owner and implementation have not changed since the approval."
            }
            Self::NonceUsed => "Another operation used this nonce; fetch a new one, or use a fresh nonce key.",
            Self::Paymaster(PaymasterFault::NotDeployed) => {
                "There is no contract at the paymaster's address; check the network."
            }
            Self::Paymaster(PaymasterFault::DepositTooLow) => {
                "The paymaster is out of funds; tell its operator, or use another."
            }
            Self::Paymaster(PaymasterFault::OutsideWindow) => {
                "The sponsorship is too old; ask the paymaster again and send at once."
            }
            Self::Paymaster(PaymasterFault::Reverted(_)) => {
                "The paymaster does not sponsor this operation; check its policy and context."
            }
            Self::Paymaster(PaymasterFault::SignatureRefused) => {
                "The operation was changed after the paymaster signed it; ask the paymaster again."
            }
            Self::VerificationGas => "Raise verificationGasLimit.",
            Self::PostOp => "The paymaster failed after the call; check allowances and balances it relies on.",
            Self::PaymasterDataTooShort => "paymasterAndData must be empty or begin with a 20-byte address.",
            Self::GasValues => "Lower the gas values: one is out of range.",
            Self::BundlerMistake => "Use another bundler.",
            Self::OpcodeRule => {
                "Validation broke the bundler's storage rules; deploy the account with an operation of its own, or use another bundler."
            }
            Self::Throttled => "Wait, or use another bundler.",
            Self::Unstaked => {
                "The factory or paymaster has no stake here; deploy the account first, or use another bundler."
            }
            Self::UnknownAggregator => "Use another bundler.",
            Self::CallReverts(Revert::Kernel(KernelError::NotAuthorizedCaller)) => {
                "Send it as the owner or through the EntryPoint; executeBatch cannot be called by the account itself."
            }
            Self::CallReverts(Revert::Kernel(KernelError::DisabledMode)) => "Lift the panic first.",
            Self::CallReverts(Revert::Text(text)) if text == "SessionKeyValidator: invalid nonce" => {
                "The validator's nonce is not what this call needs: nothing was enabled since the last revocation, or another enabling came first."
            }
            Self::CallReverts(_) => "The contract refuses this call; check arguments, balances and allowances.",
            Self::FeesTooLow(_) => "Fetch the fees again and send with the new ones.",
            Self::PreVerificationGasTooLow(_) => "Estimate the gas again.",
            Self::AlreadyWaiting(_) => "Follow the operation that is waiting, or replace it with higher fees.",
            Self::InsufficientFunds => "Send coins to the address that signs the transaction.",
            Self::NoSuchMethod => {
                "This endpoint does not offer the method; check that the URL is a bundler's or paymaster's."
            }
            Self::Other { .. } => "See the text; nothing more is known about it.",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fixed = match self {
            Self::TargetMismatch => "the key may not call this contract",
            Self::ValueLimitExceeded => "the call sends more coins than the key may send",
            Self::PermissionFailed => "the key may not call this function with these arguments",
            Self::PaymasterMismatch => "the key may only be used with another paymaster",
            Self::PaymasterNotSet => "the key may only be used with a paymaster",
            Self::RunsExceeded => "the key has used up its runs",
            Self::InvalidExecutionRule => "the permission has an interval without a start",
            Self::OperationMismatch => "the permission does not allow a delegatecall",
            Self::NotEnabled => "the key is not enabled",
            Self::ApprovalNonce => "it is not this approval's turn",
            Self::ValidationSilent => "the account refused the operation without giving a reason (AA23)",
            Self::ValidationReverted(text) => return write!(f, "the account refused the operation: \"{text}\""),
            Self::ValidationError(error) => return write!(f, "the account refused the operation: {error}"),
            Self::AccountExists => "the account is deployed already (AA10)",
            Self::DeploymentFailed => "deploying the account failed (AA13)",
            Self::DeploymentMismatch => "the initCode deploys another account (AA14, AA15)",
            Self::NotDeployed => "the account is not deployed (AA20)",
            Self::NoPrefund => "the account cannot pay for the gas (AA21)",
            Self::Expired => "the key has expired, or will within seconds",
            Self::NotYetValid => "the key is not valid yet",
            Self::OutsideWindow => "the operation is outside its time window (AA22)",
            Self::SignatureRefused => "a signature, proof or approval does not hold (AA24, or AA23 on Kernel 0.2.4)",
            Self::NonceUsed => "the operation's nonce is used (AA25)",
            Self::Paymaster(PaymasterFault::NotDeployed) => "there is no paymaster at this address (AA30)",
            Self::Paymaster(PaymasterFault::DepositTooLow) => "the paymaster's deposit is too low (AA31)",
            Self::Paymaster(PaymasterFault::OutsideWindow) => "the paymaster's promise has expired or not begun (AA32)",
            Self::Paymaster(PaymasterFault::Reverted(text)) if text.is_empty() => {
                "the paymaster refused the operation (AA33)"
            }
            Self::Paymaster(PaymasterFault::Reverted(text)) => {
                return write!(f, "the paymaster refused the operation: \"{text}\"");
            }
            Self::Paymaster(PaymasterFault::SignatureRefused) => "the paymaster's signature does not hold (AA34)",
            Self::VerificationGas => "verificationGasLimit is too low (AA40, AA41)",
            Self::PostOp => "the paymaster failed after the call (AA50, AA51)",
            Self::PaymasterDataTooShort => "paymasterAndData is too short to name a paymaster (AA93)",
            Self::GasValues => "a gas value is out of range (AA94, AA95)",
            Self::BundlerMistake => "the bundler called the EntryPoint wrongly (AA90-AA92, AA96)",
            Self::OpcodeRule => "validation breaks the bundler's opcode or storage rules",
            Self::Throttled => "the bundler throttles or bans this account, factory or paymaster",
            Self::Unstaked => "the factory or paymaster has too little stake for this bundler",
            Self::UnknownAggregator => "the bundler does not know the signature aggregator",
            Self::CallReverts(revert) => return write!(f, "the call reverts: {revert}"),
            Self::FeesTooLow(text) => return write!(f, "the fees are too low for the bundler: \"{text}\""),
            Self::PreVerificationGasTooLow(text) => {
                return write!(f, "preVerificationGas is too low for the bundler: \"{text}\"");
            }
            Self::AlreadyWaiting(text) => return write!(f, "an operation like this is waiting already: \"{text}\""),
            Self::InsufficientFunds => "the sender cannot pay for the transaction",
            Self::NoSuchMethod => "the endpoint does not offer this method",
            Self::Other { code, message } => return write!(f, "error {code}: \"{message}\""),
        };
        f.write_str(fixed)
    }
}

/// The part of an outside text that is searched.
fn head(text: &str) -> &str {
    let mut end = text.len().min(SEARCHED);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// Revert data stands in `data` with some bundlers, in the text with others.
fn reverted_call(message: &str, data: Option<&Value>) -> Revert {
    let words = || {
        let (_, reason) = message.rsplit_once("reason:").or_else(|| message.rsplit_once("reverted:"))?;
        let reason = printable(reason.trim(), SHOWN);
        (!reason.is_empty()).then_some(Revert::Text(reason))
    };
    match data.and_then(revert_data).or_else(|| first_hex(message)) {
        Some(bytes) => Revert::decode(&bytes),
        None => words().unwrap_or(Revert::Empty),
    }
}

fn time_fault(message: &str) -> Fault {
    let text = message.to_ascii_lowercase();
    if text.contains("aa32") || text.contains("paymaster") {
        Fault::Paymaster(PaymasterFault::OutsideWindow)
    } else if text.contains("not valid yet") || text.contains("not due yet") {
        Fault::NotYetValid
    } else if text.contains("expire") {
        // "AA22 expired or not due" names both sides.
        if text.contains("or not due") { Fault::OutsideWindow } else { Fault::Expired }
    } else {
        Fault::OutsideWindow
    }
}

/// The first `AAxx` in a text and what follows it.
fn entry_point_fault(text: &str) -> Option<Fault> {
    let (number, rest) = text.match_indices("AA").find_map(|(at, _)| {
        let starts_word = !text.get(..at)?.ends_with(|c: char| c.is_ascii_alphanumeric());
        let digits = text.get(at + 2..at + 4)?;
        let rest = text.get(at + 4..)?;
        let ends_word = !rest.starts_with(|c: char| c.is_ascii_alphanumeric());
        (starts_word && ends_word).then_some(())?;
        Some((digits.parse::<u8>().ok()?, rest))
    })?;
    Some(match number {
        10 => Fault::AccountExists,
        13 => Fault::DeploymentFailed,
        14 | 15 => Fault::DeploymentMismatch,
        20 => Fault::NotDeployed,
        21 => Fault::NoPrefund,
        22 => Fault::OutsideWindow,
        23 => validation_fault(rest),
        24 => Fault::SignatureRefused,
        25 => Fault::NonceUsed,
        30 => Fault::Paymaster(PaymasterFault::NotDeployed),
        31 => Fault::Paymaster(PaymasterFault::DepositTooLow),
        32 => Fault::Paymaster(PaymasterFault::OutsideWindow),
        33 => Fault::Paymaster(PaymasterFault::Reverted(reason_after_reverted(rest))),
        34 => Fault::Paymaster(PaymasterFault::SignatureRefused),
        26 | 40 | 41 => Fault::VerificationGas,
        50 | 51 => Fault::PostOp,
        90 | 91 | 92 | 96 => Fault::BundlerMistake,
        93 => Fault::PaymasterDataTooShort,
        94 | 95 => Fault::GasValues,
        _ => return None,
    })
}

/// What follows `AA23 `: the validator's text, another text, or none.
fn validation_fault(rest: &str) -> Fault {
    // Bundlers put an account's custom error behind the EntryPoint's words: `AA23 reverted 0x…`.
    let custom = rest.trim_start().strip_prefix("reverted").and_then(|rest| rest.trim_start().strip_prefix("0x"));
    if let Some(error) = custom.and_then(|_| KernelV3Error::decode(&first_hex(rest)?)) {
        return Fault::ValidationError(error);
    }
    let reason = reason_after_reverted(rest);
    if reason.is_empty() {
        return Fault::ValidationSilent;
    }
    if reason == OWNER_SIGNATURE_TEXT {
        return Fault::SignatureRefused;
    }
    reason
        .strip_prefix("SessionKeyValidator: ")
        .and_then(|text| VALIDATOR_TEXTS.into_iter().find(|(known, _)| text.starts_with(known)))
        .map_or(Fault::ValidationReverted(reason), |(_, fault)| fault)
}

/// The text after `reverted:`, made safe; empty for `reverted (or OOG)`.
fn reason_after_reverted(rest: &str) -> String {
    let reason = rest.trim_start().strip_prefix("reverted:").unwrap_or_default();
    printable(reason.trim().trim_end_matches(['"', ')']), SHOWN)
}

/// Refusals that bundlers and nodes only put in words.
fn refusal_in_words(message: &str) -> Option<Fault> {
    let text = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let shown = || printable(message, SHOWN);
    if says(&["maxfeepergas must be at least", "maxpriorityfeepergas must be at least", "fee too low", "underpriced"]) {
        return Some(if text.contains("replacement") {
            Fault::AlreadyWaiting(shown())
        } else {
            Fault::FeesTooLow(shown())
        });
    }
    if text.contains("preverificationgas") && says(&["not enough", "too low", "must be at least", "below"]) {
        return Some(Fault::PreVerificationGasTooLow(shown()));
    }
    if says(&["already known", "already in mempool", "already in the mempool"]) {
        return Some(Fault::AlreadyWaiting(shown()));
    }
    if text.contains("insufficient funds") {
        return Some(Fault::InsufficientFunds);
    }
    None
}

/// When no text says more than the code does.
fn by_code(rpc_code: i64, message: &str, data: Option<&Value>) -> Fault {
    // Nodes answer a reverting eth_call or eth_estimateGas with code 3, or -32000 and the word.
    let node_revert =
        rpc_code == 3 || (rpc_code == -32000 && message.to_ascii_lowercase().contains("execution reverted"));
    match rpc_code {
        _ if node_revert => data
            .and_then(revert_data)
            .map_or_else(|| Fault::CallReverts(reverted_call(message, None)), |bytes| Fault::from_revert(&bytes)),
        code::REJECTED_BY_ENTRY_POINT => Fault::ValidationReverted(printable(message, SHOWN)),
        code::REJECTED_BY_PAYMASTER => Fault::Paymaster(PaymasterFault::Reverted(printable(message, SHOWN))),
        code::OPCODE_RULE => Fault::OpcodeRule,
        code::THROTTLED => Fault::Throttled,
        code::UNSTAKED => Fault::Unstaked,
        code::AGGREGATOR => Fault::UnknownAggregator,
        code::SIGNATURE => Fault::SignatureRefused,
        code::PAYMASTER_DEPOSIT => Fault::Paymaster(PaymasterFault::DepositTooLow),
        _ => Fault::Other { code: rpc_code, message: printable(message, SHOWN) },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Recorded {
        label: String,
        method: String,
        outcome: String,
        response: Response,
    }

    #[derive(Deserialize)]
    struct Response {
        error: Option<Answered>,
    }

    #[derive(Deserialize)]
    struct Answered {
        code: i64,
        message: String,
        data: Option<Value>,
    }

    fn recorded_errors() -> Vec<(Recorded, Fault)> {
        let all: Vec<Recorded> = serde_json::from_str(include_str!("../../tests/rpc/catalog.json")).unwrap();
        assert_eq!(all.len(), 576);
        all.into_iter()
            .filter(|pair| pair.outcome == "error")
            .map(|pair| {
                let error = pair.response.error.as_ref().unwrap();
                let fault = Fault::from_answer(error.code, &error.message, error.data.as_ref());
                (pair, fault)
            })
            .collect()
    }

    /// What each recorded case is about, told by its label and not by its answer. A case sent with a signature that
    /// only fails at the end is a `SignatureRefused`.
    fn cause_of(label: &str, method: &str) -> Option<Fault> {
        let text = |text: &str| Fault::CallReverts(Revert::Text(text.into()));
        let estimating = method == "eth_estimateUserOperationGas";
        Some(match label {
            "raw-wrong-target" | "h.batch-second-call-violates" => Fault::TargetMismatch,
            "raw-value-exceeded" | "h.native-after" => Fault::ValueLimitExceeded,
            "raw-wrong-function" => Fault::PermissionFailed,
            _ if label.starts_with("raw-param-") => Fault::PermissionFailed,
            "runs-exceeded" | "e.runs2-3" | "e.runs2-reapproved-3" | "e.failing-exec-2" | "e.sdk{validAfter:2}-3" => {
                Fault::RunsExceeded
            }
            "e.sdk{runs:2}-1" | "e.interval-without-validAfter" => Fault::InvalidExecutionRule,
            "session-pm-any-none" => Fault::PaymasterNotSet,
            "session-pm-required-wrong" => Fault::PaymasterMismatch,
            // The validator reads an address from too short data: no text.
            "session-pm-required-none" | "sdk-paymaster-missing" => Fault::ValidationSilent,
            "h.after-disableMode"
            | "h.batch-mode1-not-approved"
            | "h.native-transfer-empty-data"
            | "h.rule-offset-past-calldata"
            | "h.session-key-calls-kernel-selector"
            | "s4.enable-after-max"
            | "s4.enable-nonce0-after-max" => Fault::ValidationSilent,
            "raw-unknown-key"
            | "after-revoke-20"
            | "after-revoke-all"
            | "after-revoke-16-A(n<N)"
            | "after-revoke-16-B(n=N)" => Fault::NotEnabled,
            "c.A(n=1)" | "c.B(n=2)" | "c.C-after-5" | "d.live-dead" | "rw.safe.A-use" | "s1.K3-dead" | "s1.K3-use"
            | "s2.A" | "s2.B" | "s3.A" => Fault::NotEnabled,
            _ if label.ends_with("-use-after-revoke") || label.ends_with(".use-after-disable-empty") => {
                Fault::NotEnabled
            }
            "a.K1-replay-enable"
            | "a.K2-enable-later"
            | "a.K2-enable-same-nonce"
            | "c.pend3"
            | "c.pend4"
            | "d.p2-dead"
            | "d.pending-enable-after-burn"
            | "h.batch-mode2-with-execute-approval"
            | "rw.safe.A-replay"
            | "s1.K1-replay"
            | "s1.K3-replay-dead"
            | "s3.A-replay"
            | "s3.pending"
            | "s5.enable-with-nonce-0" => Fault::ApprovalNonce,
            _ if label.ends_with("-replay-after-revoke") || label.ends_with("(same nonce as K3)") => {
                Fault::ApprovalNonce
            }
            "expired-session" | "session-expired" | "g.sdk{validAfter:t-10} via toKernelPluginManager" => {
                Fault::Expired
            }
            "session-not-yet-valid"
            | "e.rule-validAfter-future"
            | "e.burst-5(t+50)"
            | "h.validAfter-in-milliseconds" => Fault::NotYetValid,
            // The SDKs write validUntil where the contract reads validAfter.
            _ if label.starts_with("g.") && !estimating => Fault::NotYetValid,
            "raw-wrong-signer"
            | "raw-forged-permission"
            | "a.sdk-second"
            | "after-revoke"
            | "sdk-after-revoke-20"
            | "op4-batch"
            | "h.batch-mode2-under-execute-approval(fresh)" => Fault::SignatureRefused,
            "h.mode-3" => Fault::NoPrefund,
            "raw-inner-call-reverts2" if estimating => text("ERC20: insufficient"),
            "e.failing-exec-1(runs=1)" if estimating => text("Box: always fails"),
            _ if estimating
                && (["revoke-", "c.", "a.owner", "d.enable", "s4."].iter().any(|start| label.starts_with(start))
                    || label == "rw.safe.disable-empty-twice") =>
            {
                text("SessionKeyValidator: invalid nonce")
            }
            _ => return None,
        })
    }

    #[test]
    fn a_refusal_of_the_entry_point_is_read_under_any_code() {
        let fault = |message| Fault::from_answer(code::METHOD_NOT_FOUND, message, None);
        assert_eq!(fault("AA21 didn't pay prefund"), Fault::NoPrefund);
        assert_eq!(fault("AA25 invalid account nonce"), Fault::NonceUsed);
        assert_eq!(fault("the method eth_foo does not exist"), Fault::NoSuchMethod);
    }

    #[test]
    fn kernel_0_2_4_says_in_a_text_that_the_owners_signature_does_not_hold() {
        let text = "AA23 reverted: Kernel::_validateSignature: failed to validate signature";
        assert_eq!(Fault::from_entry_point(text), Fault::SignatureRefused);
        let answer = format!("UserOperation reverted during simulation with reason: {text}");
        assert_eq!(Fault::from_answer(code::REJECTED_BY_ENTRY_POINT, &answer, None), Fault::SignatureRefused);
    }

    #[test]
    fn every_recorded_error_is_the_fault_its_label_says() {
        let errors = recorded_errors();
        assert_eq!(errors.len(), 151);
        for (pair, fault) in errors {
            let cause = cause_of(&pair.label, &pair.method);
            assert_eq!(cause.as_ref(), Some(&fault), "{} {}", pair.method, pair.label);
        }
    }

    #[test]
    fn every_code_of_the_entry_point_is_known() {
        use PaymasterFault as P;
        for (text, fault) in [
            ("AA10 sender already constructed", Fault::AccountExists),
            ("AA13 initCode failed or OOG", Fault::DeploymentFailed),
            ("AA14 initCode must return sender", Fault::DeploymentMismatch),
            ("AA15 initCode must create sender", Fault::DeploymentMismatch),
            ("AA20 account not deployed", Fault::NotDeployed),
            ("AA21 didn't pay prefund", Fault::NoPrefund),
            ("AA22 expired or not due", Fault::OutsideWindow),
            ("AA23 reverted (or OOG)", Fault::ValidationSilent),
            ("AA23 reverted: boom", Fault::ValidationReverted("boom".into())),
            ("AA23 reverted: SessionKeyValidator: operation mismatch", Fault::OperationMismatch),
            ("AA24 signature error", Fault::SignatureRefused),
            ("AA25 invalid account nonce", Fault::NonceUsed),
            ("AA30 paymaster not deployed", Fault::Paymaster(P::NotDeployed)),
            ("AA31 paymaster deposit too low", Fault::Paymaster(P::DepositTooLow)),
            ("AA32 paymaster expired or not due", Fault::Paymaster(P::OutsideWindow)),
            ("AA33 reverted: no policy", Fault::Paymaster(P::Reverted("no policy".into()))),
            ("AA33 reverted (or OOG)", Fault::Paymaster(P::Reverted(String::new()))),
            ("AA34 signature error", Fault::Paymaster(P::SignatureRefused)),
            ("AA40 over verificationGasLimit", Fault::VerificationGas),
            ("AA41 too little verificationGas", Fault::VerificationGas),
            ("AA50 postOp revert", Fault::PostOp),
            ("AA51 prefund below actualGasCost", Fault::PostOp),
            ("AA93 invalid paymasterAndData", Fault::PaymasterDataTooShort),
            ("AA94 gas values overflow", Fault::GasValues),
            ("AA95 out of gas", Fault::GasValues),
            ("AA96 invalid aggregator", Fault::BundlerMistake),
        ] {
            assert_eq!(Fault::from_entry_point(text), fault, "{text}");
            let wrapped = format!("UserOperation reverted during simulation with reason: {text}");
            assert_eq!(Fault::from_answer(code::REJECTED_BY_ENTRY_POINT, &wrapped, None), fault, "{wrapped}");
        }
    }

    #[test]
    fn a_code_says_the_class_when_the_text_says_nothing() {
        for (rpc_code, fault) in [
            (code::OPCODE_RULE, Fault::OpcodeRule),
            (code::OUT_OF_TIME, Fault::OutsideWindow),
            (code::THROTTLED, Fault::Throttled),
            (code::UNSTAKED, Fault::Unstaked),
            (code::AGGREGATOR, Fault::UnknownAggregator),
            (code::SIGNATURE, Fault::SignatureRefused),
            (code::PAYMASTER_DEPOSIT, Fault::Paymaster(PaymasterFault::DepositTooLow)),
            (code::METHOD_NOT_FOUND, Fault::NoSuchMethod),
            (code::REJECTED_BY_PAYMASTER, Fault::Paymaster(PaymasterFault::Reverted("no".into()))),
            (-1, Fault::Other { code: -1, message: "no".into() }),
        ] {
            assert_eq!(Fault::from_answer(rpc_code, "no", None), fault);
        }
    }

    #[test]
    fn a_contract_cannot_pass_its_revert_off_as_the_entry_points_answer() {
        let fault = Fault::from_answer(code::EXECUTION_REVERTED, "reverted with reason: AA24 signature error", None);
        assert_eq!(fault, Fault::CallReverts(Revert::Text("AA24 signature error".into())));
        // ... nor does an AA in the middle of a word or number count.
        let fault = Fault::from_answer(-32000, "call 0xAA24 to BAA23", None);
        assert!(matches!(fault, Fault::Other { .. }), "{fault:?}");
    }

    #[test]
    fn revert_data_is_found_wherever_it_is_put() {
        let data = "0x7046c88d";
        let expected = Fault::CallReverts(Revert::Kernel(KernelError::NotAuthorizedCaller));
        for place in [
            serde_json::json!(data),
            serde_json::json!({ "revertData": data }),
            serde_json::json!({ "originalError": { "data": data } }),
            serde_json::json!(format!("Reverted {data}")),
        ] {
            let fault = Fault::from_answer(code::EXECUTION_REVERTED, "execution reverted", Some(&place));
            assert_eq!(fault, expected, "{place}");
            assert_eq!(Fault::from_answer(3, "execution reverted", Some(&place)), expected, "{place}");
        }
    }

    #[test]
    fn custom_errors_and_panics_have_names() {
        assert_eq!(Revert::decode(&hex!("67ce7759")), Revert::Kernel(KernelError::DeprecatedOperation));
        assert_eq!(Revert::decode(&hex!("d6234725")), Revert::Kernel(KernelError::NotImplemented));
        assert_eq!(Revert::decode(&hex!("deadbeef")), Revert::Custom(Selector::new(hex!("deadbeef"))));
        let panic = [&hex!("4e487b71")[..], &U256::from(0x11).to_be_bytes::<32>()].concat();
        assert_eq!(Revert::decode(&panic), Revert::Panic(0x11));
        assert_eq!(Revert::decode(&[]), Revert::Empty);
        assert_eq!(Revert::decode(&[1, 2]), Revert::Unreadable);
        for (error, selector) in KernelError::ALL {
            let name = format!("{error}").split_whitespace().next().unwrap().to_owned() + "()";
            assert_eq!(alloy::primitives::keccak256(name)[..4], selector);
        }
    }

    #[test]
    fn failed_op_is_read_from_the_revert_of_handle_ops() {
        let body = (U256::from(3), "AA25 invalid account nonce".to_owned()).abi_encode_params();
        let data = [&Revert::FAILED_OP[..], &body].concat();
        assert_eq!(Revert::decode(&data), Revert::FailedOp(3, "AA25 invalid account nonce".into()));
        assert_eq!(Fault::from_revert(&data), Fault::NonceUsed);
    }

    #[test]
    fn errors_of_kernel_v3_are_known_by_their_selectors() {
        for (error, selector, name) in KernelV3Error::ALL {
            let arguments = match error {
                KernelV3Error::PolicyFailed(_) => "(uint256)",
                KernelV3Error::AlreadyInitialized => "(address)",
                _ => "()",
            };
            assert_eq!(alloy::primitives::keccak256(format!("{name}{arguments}"))[..4], selector, "{name}");
            assert_eq!(error.name(), name);
        }
        let failed = [&hex!("3e4983f6")[..], &U256::from(2).to_be_bytes::<32>()].concat();
        assert_eq!(KernelV3Error::decode(&failed), Some(KernelV3Error::PolicyFailed(2)));
        assert_eq!(KernelV3Error::decode(&failed[..35]), None);
    }

    #[test]
    fn what_an_account_says_behind_aa23_is_read_from_revert_and_text() {
        let with = |inner: &[u8]| {
            let body = (U256::ZERO, "AA23 reverted".to_owned(), Bytes::copy_from_slice(inner)).abi_encode_params();
            Fault::from_revert(&[&Revert::FAILED_OP_WITH_REVERT[..], &body].concat())
        };
        let nonce = Fault::ValidationError(KernelV3Error::InvalidNonce);
        assert_eq!(with(&hex!("756688fe")), nonce);
        assert_eq!(with(&[]), Fault::ValidationSilent);
        // What an account reverts with is never taken for the EntryPoint's own word.
        let forged = (U256::ZERO, "AA24 signature error".to_owned()).abi_encode_params();
        assert_eq!(with(&[&Revert::FAILED_OP[..], &forged].concat()), Fault::ValidationSilent);
        let text = "UserOperation reverted during simulation with reason: AA23 reverted 0x756688fe";
        assert_eq!(Fault::from_answer(-32500, text, None), nonce);
        let silent = "UserOperation reverted with reason: AA23 reverted 0x";
        assert_eq!(Fault::from_answer(-32500, silent, None), Fault::ValidationSilent);
        assert_eq!(nonce.denial(), Some("denied.nonce"));
    }

    #[test]
    fn bundlers_words_about_fees_and_doubles_are_understood() {
        let low = "maxFeePerGas must be at least 5 (current maxFeePerGas: 1)";
        assert_eq!(Fault::from_answer(code::INVALID_PARAMS, low, None), Fault::FeesTooLow(low.into()));
        let gas = "preVerificationGas is not enough, required: 60000, got: 1";
        assert_eq!(Fault::from_answer(-32602, gas, None), Fault::PreVerificationGasTooLow(gas.into()));
        assert_eq!(Fault::from_answer(-32000, "already known", None), Fault::AlreadyWaiting("already known".into()));
        let funds = "insufficient funds for gas * price + value";
        assert_eq!(Fault::from_answer(-32000, funds, None), Fault::InsufficientFunds);
    }

    #[test]
    fn only_refusals_by_the_keys_scope_are_denials() {
        assert_eq!(Fault::RunsExceeded.denial(), Some("denied.runs"));
        assert_eq!(Fault::NotEnabled.denial(), Some("denied.not_enabled"));
        for fault in
            [Fault::NoPrefund, Fault::SignatureRefused, Fault::ValidationSilent, Fault::CallReverts(Revert::Empty)]
        {
            assert_eq!(fault.denial(), None, "{fault:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_upset_the_reader(data in proptest::collection::vec(any::<u8>(), 0..300), head in 0usize..4) {
            let selector = [Revert::ERROR, Revert::PANIC, Revert::FAILED_OP, [0; 4]][head];
            let data = [&selector[..], &data].concat();
            prop_assert!(Revert::decode(&data).to_string().chars().count() < SHOWN + 100);
        }

        #[test]
        fn no_text_upsets_the_reader(rpc_code in -32700i64..10, text in "(AA[0-9]{2}|reverted: ?|0x[0-9a-f]{0,70}|\\PC|\\pC|\u{202e}| ){0,40}") {
            let fault = Fault::from_answer(rpc_code, &text, Some(&Value::String(text.clone())));
            let shown = format!("{fault} {}", fault.advice());
            prop_assert!(!shown.chars().any(is_unsafe));
        }

        #[test]
        fn shown_text_is_short_and_honest(text in "\\PC{0,40}(\u{202e}|\u{1b}\\[2J|\n|\u{200b}){0,3}\\PC{0,40}", max in 0usize..50) {
            let shown = printable(&text, max);
            prop_assert!(shown.chars().count() <= max + 1);
            prop_assert!(!shown.chars().any(is_unsafe));
        }
    }
}

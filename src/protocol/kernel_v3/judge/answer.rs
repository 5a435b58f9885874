//! A refusal: who says no, why, and the bytes that the chain says it with.

use std::fmt;

use alloy::{
    primitives::{Address, B256, Bytes, Selector, U256},
    sol,
    sol_types::{Panic, Revert as RevertText, SolError},
};

use super::{
    super::{contracts::KernelVersion, policy::call::Condition, signature::EnvelopeFault},
    Status,
};

sol! {
    error InvalidNonce();
    error InvalidSelectorData();
    error PolicyDataTooLarge();
    error EnableNotApproved();
    error InvalidValidator();
    error InvalidValidationType();
    error PolicyFailed(uint256 position);
    error SignerPrefixNotPresent();
    error PolicySignatureOrderError();
    error PermissionNotAlllowedForUserOp();
    error PermissionNotAlllowedForSignature();
    error OnlyExecuteUserOp();
    error NotSupportedCallType();
    error InvalidSignature();
    error InvalidCallType();
    error InvalidCallData();
    error CallViolatesTargetRule();
    error CallViolatesValueRule();
    error CallViolatesParamRule();
    error ParamTooShort();
    error InvalidSelector();
    error ExecutionReverted();
}

/// The chain would refuse. Positions count from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    pub at: At,
    pub reason: Reason,
}

/// Who says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    EntryPoint,
    /// The account itself.
    Account,
    /// While the approval is taken: before anything of the operation is looked at.
    Approval,
    /// While a policy is installed.
    Install(usize),
    /// The policy at this position.
    Policy(usize),
    /// Whoever checks the signature: the signer's or the root's contract.
    Signer,
    Hook,
}

/// Why. Amounts in wei, times in unix seconds, data in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    // The EntryPoint.
    PaymasterDataTooShort {
        bytes: usize,
    },
    GasOverflow,
    Unfunded,
    WrongSequence {
        expected: u64,
        actual: u64,
    },
    WrongSignature {
        expected: Address,
        by: super::Signature,
    },
    NotYet {
        valid_after: u64,
        now: u64,
    },
    Expired {
        valid_until: u64,
        now: u64,
    },

    // The account.
    ValidationType {
        kind: u8,
    },
    /// Of a signature of the account.
    NoSuchHead {
        kind: u8,
    },
    /// Nothing at all where a signature of the account should be.
    NoSignature {
        delegated: bool,
    },
    NotAValidator {
        identifier: Address,
    },
    UnknownPermission,
    RefusesOperations,
    RefusesSignatures,
    SignatureEnds,
    SegmentCutOff,
    SegmentOrder {
        expected: usize,
        actual: u8,
    },
    NoSignerPrefix,
    MalformedSignature,
    /// `nonce < validNonceFrom`: ended by a final stop.
    Stopped {
        nonce: u32,
        valid_from: u32,
    },
    /// Never installed, or uninstalled.
    NotInstalled,
    SelectorNotAllowed {
        selector: Selector,
    },
    NotExecuteUserOp {
        actual: Selector,
    },
    CalldataTooShort {
        bytes: usize,
        needed: usize,
    },

    // Enabling.
    Envelope {
        fault: EnvelopeFault,
    },
    NotApproved {
        expected: Address,
        by: super::Signature,
        nonce: u32,
    },
    MalformedApproval,
    /// Installed, or uninstalled, at this very nonce.
    NonceTaken {
        nonce: u32,
    },
    HookDataMissing,
    SelectorDataLength {
        bytes: usize,
        kernel: KernelVersion,
    },
    /// No element for the signer, or more policies than an index has.
    PolicyCount,
    SelectorDataCallType {
        code: Option<u8>,
    },
    SelectorTargetWithoutCode {
        target: Address,
    },
    /// The policy has seen this id before, and takes none twice.
    SeenBefore {
        status: Status,
    },
    /// The signer still holds a key for this id.
    KeyStillHeld {
        key: Address,
    },
    InstallDataUnreadable,
    DuplicateEntries {
        first: usize,
        second: usize,
    },
    UnknownCondition {
        entry: usize,
        rule: usize,
        code: u8,
    },
    RuleParams {
        entry: usize,
        rule: usize,
        params: usize,
        slices: bool,
    },
    SliceParams {
        entry: usize,
        rule: usize,
        params: usize,
    },

    // Policies.
    /// The account uninstalled the policy by itself.
    PolicyNotLive {
        status: Status,
    },
    /// A call policy lets nothing but `execute` pass.
    NotExecute {
        called: Option<Selector>,
    },
    CallType {
        code: u8,
    },
    CallUnreadable {
        call: Option<usize>,
    },
    /// More calls, rules or bytes than any transaction's gas pays for.
    OutOfGas,
    /// No entry for this call. Version 0.0.1 says so without words, 0.0.5 in its own.
    CallNotAllowed {
        call: usize,
        target: Address,
        selector: Selector,
        words: NotFound,
    },
    Value {
        call: usize,
        entry: usize,
        limit: U256,
        actual: U256,
    },
    Rule {
        call: usize,
        entry: usize,
        rule: usize,
        offset: u64,
        condition: Condition,
        expected: Vec<B256>,
        actual: B256,
    },
    RuleBeyondData {
        call: usize,
        entry: usize,
        rule: usize,
        offset: u64,
        bytes: U256,
    },
    RuleOffset {
        call: usize,
        entry: usize,
        rule: usize,
        offset: u64,
    },
    SliceTooShort {
        call: usize,
        entry: usize,
        rule: usize,
        needed: U256,
        actual: U256,
    },
    GasBudget {
        left: u128,
        needed: u128,
    },
    PaymasterMissing {
        expected: Address,
    },
    Paymaster {
        expected: Address,
        actual: Address,
    },
    RateUsedUp,
    ScheduleOverflow {
        start: u64,
        interval: u64,
    },
    Caller {
        actual: Address,
    },
}

/// How a call policy says that it has no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotFound {
    NoWords,
    CallData,
    Target,
}

/// How the chain shows a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainError {
    /// AA22, AA23 …; `None` where a signature is asked about.
    pub aa: &'static str,
    /// What the account answered; behind AA23 only.
    pub revert: Option<Revert>,
}

/// Revert data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revert {
    Empty,
    /// A custom error without arguments.
    Named {
        name: &'static str,
        selector: [u8; 4],
    },
    PolicyFailed(usize),
    Panic(u8),
    Text(&'static str),
}

impl Revert {
    pub(super) fn named<E: SolError>() -> Self {
        let name = E::SIGNATURE.split('(').next().unwrap_or(E::SIGNATURE);
        Self::Named { name, selector: E::SELECTOR }
    }

    /// The bytes.
    pub fn data(&self) -> Bytes {
        match self {
            Self::Empty => Bytes::new(),
            Self::Named { selector, .. } => Bytes::copy_from_slice(selector),
            Self::PolicyFailed(position) => PolicyFailed { position: U256::from(*position) }.abi_encode().into(),
            Self::Panic(code) => Panic { code: U256::from(*code) }.abi_encode().into(),
            Self::Text(text) => RevertText::from(*text).abi_encode().into(),
        }
    }
}

impl fmt::Display for Revert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no data"),
            Self::Named { name, .. } => f.write_str(name),
            Self::PolicyFailed(position) => write!(f, "PolicyFailed({position})"),
            Self::Panic(code) => write!(f, "Panic({code})"),
            Self::Text(text) => write!(f, "Error({text})"),
        }
    }
}

/// Of array bounds.
const OUT_OF_BOUNDS: Revert = Revert::Panic(0x32);
const OVERFLOW: Revert = Revert::Panic(0x11);

impl Denied {
    pub(super) const fn new(at: At, reason: Reason) -> Self {
        Self { at, reason }
    }

    /// What a bundler reports for it.
    pub fn chain_error(&self) -> ChainError {
        let aa = match self.reason {
            Reason::PaymasterDataTooShort { .. } => "AA93",
            Reason::GasOverflow => "AA94",
            Reason::Unfunded if self.at == At::Account => "AA21",
            Reason::Unfunded => "AA31",
            Reason::WrongSequence { .. } => "AA25",
            Reason::WrongSignature { .. } => "AA24",
            Reason::NotYet { .. } | Reason::Expired { .. } => "AA22",
            _ => return ChainError { aa: "AA23", revert: Some(self.revert()) },
        };
        ChainError { aa, revert: None }
    }

    /// What the account reverts with. Empty also for what is no revert of the account.
    pub fn revert(&self) -> Revert {
        let failed = || match self.at {
            At::Policy(position) => Revert::PolicyFailed(position),
            _ => Revert::Empty,
        };
        match &self.reason {
            Reason::ValidationType { .. } => Revert::named::<InvalidValidationType>(),
            Reason::RefusesOperations => Revert::named::<PermissionNotAlllowedForUserOp>(),
            Reason::RefusesSignatures => Revert::named::<PermissionNotAlllowedForSignature>(),
            Reason::SignatureEnds | Reason::HookDataMissing | Reason::SelectorDataCallType { code: None } => {
                OUT_OF_BOUNDS
            }
            // Room for more bytes than there are numbers.
            Reason::NoSignature { delegated: true } | Reason::Envelope { fault: EnvelopeFault::TooLong } => {
                Revert::Panic(0x41)
            }
            Reason::SegmentOrder { .. } => Revert::named::<PolicySignatureOrderError>(),
            Reason::NoSignerPrefix => Revert::named::<SignerPrefixNotPresent>(),
            Reason::MalformedSignature | Reason::MalformedApproval => Revert::named::<InvalidSignature>(),
            Reason::Stopped { .. } | Reason::NonceTaken { .. } => Revert::named::<InvalidNonce>(),
            Reason::NotInstalled | Reason::SelectorNotAllowed { .. } => Revert::named::<InvalidValidator>(),
            Reason::NotExecuteUserOp { .. } => Revert::named::<OnlyExecuteUserOp>(),
            Reason::NotApproved { .. } => Revert::named::<EnableNotApproved>(),
            Reason::SelectorDataLength { bytes, kernel: KernelVersion::V3_3 } if *bytes >= 4 => {
                Revert::named::<InvalidSelectorData>()
            }
            Reason::PolicyCount => Revert::named::<PolicyDataTooLarge>(),
            Reason::SelectorDataLength { bytes, .. } if *bytes >= 4 => Revert::Text("Invalid selectorData"),
            Reason::SelectorDataCallType { code: Some(_) } => Revert::named::<NotSupportedCallType>(),
            Reason::DuplicateEntries { .. } => Revert::Text("duplicate permissionHash"),
            Reason::RuleParams { slices: false, .. } => Revert::Text("only OneOf condition can have multiple params"),
            Reason::RuleParams { slices: true, .. } => {
                Revert::Text("only OneOf and SubstrEqual condition can have multiple params")
            }
            Reason::SliceParams { .. } => Revert::Text("substr equal condition must have 3 params"),
            Reason::CallType { .. } => Revert::named::<InvalidCallType>(),
            Reason::CallNotAllowed { words: NotFound::CallData, .. } => Revert::named::<InvalidCallData>(),
            Reason::CallNotAllowed { words: NotFound::Target, .. } => Revert::named::<CallViolatesTargetRule>(),
            Reason::Value { .. } => Revert::named::<CallViolatesValueRule>(),
            Reason::Rule { .. } => Revert::named::<CallViolatesParamRule>(),
            Reason::SliceTooShort { .. } => Revert::named::<ParamTooShort>(),
            Reason::RuleOffset { .. } | Reason::ScheduleOverflow { .. } => OVERFLOW,
            Reason::GasBudget { .. } | Reason::Paymaster { .. } | Reason::RateUsedUp | Reason::Caller { .. } => {
                failed()
            }
            Reason::PaymasterDataTooShort { .. }
            | Reason::GasOverflow
            | Reason::Unfunded
            | Reason::WrongSequence { .. }
            | Reason::WrongSignature { .. }
            | Reason::NotYet { .. }
            | Reason::Expired { .. }
            | Reason::NoSuchHead { .. }
            | Reason::NoSignature { delegated: false }
            | Reason::NotAValidator { .. }
            | Reason::UnknownPermission
            | Reason::SegmentCutOff
            | Reason::CalldataTooShort { .. }
            | Reason::Envelope { fault: EnvelopeFault::Outside }
            | Reason::SelectorDataLength { .. }
            | Reason::SelectorTargetWithoutCode { .. }
            | Reason::SeenBefore { .. }
            | Reason::KeyStillHeld { .. }
            | Reason::InstallDataUnreadable
            | Reason::UnknownCondition { .. }
            | Reason::PolicyNotLive { .. }
            | Reason::NotExecute { .. }
            | Reason::CallUnreadable { .. }
            | Reason::OutOfGas
            | Reason::CallNotAllowed { words: NotFound::NoWords, .. }
            | Reason::RuleBeyondData { .. }
            | Reason::PaymasterMissing { .. } => Revert::Empty,
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            At::Install(position) => write!(f, "policy {}, when it is installed: {}", position + 1, self.reason),
            At::Policy(position) => write!(f, "policy {}: {}", position + 1, self.reason),
            At::EntryPoint | At::Account | At::Approval | At::Signer | At::Hook => self.reason.fmt(f),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PaymasterDataTooShort { bytes } => {
                write!(f, "paymasterAndData has {bytes} bytes; it must be empty or have 52")
            }
            Self::GasOverflow => f.write_str("a gas limit or a fee is beyond 120 bits"),
            Self::Unfunded => f.write_str("whoever pays for the gas has too little at the EntryPoint"),
            Self::WrongSequence { expected, actual } => {
                write!(f, "the operation has sequence {actual} in its lane, and the next one is {expected}")
            }
            Self::WrongSignature { expected, by } => write!(f, "the operation must be signed by {expected}, and {by}"),
            Self::NotYet { valid_after, now } => write!(f, "it is allowed from {valid_after} on, and it is {now}"),
            Self::Expired { valid_until, now } => write!(f, "it was allowed until {valid_until}, and it is {now}"),
            Self::ValidationType { kind } => write!(f, "there is no validation of type {kind}"),
            Self::NoSuchHead { kind } => write!(f, "no signature of the account begins with {kind:#04x}"),
            Self::NoSignature { .. } => f.write_str("there is no signature"),
            Self::NotAValidator { identifier } => write!(f, "{identifier} is no validator"),
            Self::UnknownPermission => f.write_str("the account has no key of this id: never enabled, or uninstalled"),
            Self::RefusesOperations => f.write_str("the key is for signatures only"),
            Self::RefusesSignatures => f.write_str("the key is not for signatures"),
            Self::SignatureEnds => f.write_str("the signature ends before the key's own begins"),
            Self::SegmentCutOff => f.write_str("the signature's part for a policy is cut off"),
            Self::SegmentOrder { expected, actual } => {
                write!(
                    f,
                    "the signature has a part for policy {} where one for policy {} or later must be",
                    usize::from(*actual) + 1,
                    expected + 1
                )
            }
            Self::NoSignerPrefix => f.write_str("0xff is not where the key's signature begins"),
            Self::MalformedSignature => f.write_str("the signature is malformed"),
            Self::Stopped { nonce, valid_from } => {
                write!(f, "a final stop ended it: it has nonce {nonce}, and only {valid_from} and later count")
            }
            Self::NotInstalled => f.write_str("the account does not have it: never enabled, or uninstalled"),
            Self::SelectorNotAllowed { selector } => write!(f, "the key may not call {selector} of the account"),
            Self::NotExecuteUserOp { actual } => {
                write!(f, "with a hook the account call must begin with executeUserOp, and begins with {actual}")
            }
            Self::CalldataTooShort { bytes, needed } => {
                write!(f, "the account call has {bytes} bytes, fewer than {needed}")
            }
            Self::Envelope { fault } => write!(f, "the approval in the signature cannot be read: {fault}"),
            Self::NotApproved { expected, by, nonce } => write!(
                f,
                "{expected} must have approved just this, here, for this version and nonce {nonce}; the approval {by}"
            ),
            Self::MalformedApproval => f.write_str("the owner's signature is malformed"),
            Self::NonceTaken { nonce } => {
                write!(
                    f,
                    "the key was enabled or uninstalled at nonce {nonce}, so it needs an approval with a later one"
                )
            }
            Self::HookDataMissing => f.write_str("the hook needs data"),
            Self::PolicyCount => f.write_str("the enable data has no signer, or too many policies"),
            Self::SelectorDataLength { bytes, .. } => {
                write!(f, "the selector data has {bytes} bytes; it must have 4, or 44 and more")
            }
            Self::SelectorDataCallType { code: Some(code) } => write!(f, "the selector data has call type {code:#04x}"),
            Self::SelectorDataCallType { code: None } => f.write_str("the selector data has no call type"),
            Self::SelectorTargetWithoutCode { target } => write!(f, "{target} is to be installed, and has no code"),
            Self::SeenBefore { status: Status::Live } => f.write_str("it holds this id already"),
            Self::SeenBefore { .. } => f.write_str("it has had this id before, and takes none twice"),
            Self::KeyStillHeld { key } => write!(f, "the signer still holds {key} for this id"),
            Self::InstallDataUnreadable => f.write_str("its contract cannot read its data"),
            Self::DuplicateEntries { first, second } => {
                write!(f, "entries {} and {} are for the same call", first + 1, second + 1)
            }
            Self::UnknownCondition { entry, rule, code } => {
                write!(f, "entry {}, rule {}: there is no condition {code}", entry + 1, rule + 1)
            }
            Self::RuleParams { entry, rule, params, .. } => {
                write!(f, "entry {}, rule {} has {params} words to compare with", entry + 1, rule + 1)
            }
            Self::SliceParams { entry, rule, params } => {
                write!(f, "entry {}, rule {} has {params} words, and a slice has three", entry + 1, rule + 1)
            }
            Self::PolicyNotLive { .. } => f.write_str("it does not hold this id any more"),
            Self::NotExecute { called: Some(called) } => {
                write!(f, "the account may be called only by execute, and {called} is called")
            }
            Self::NotExecute { called: None } => f.write_str("the account call is too short"),
            Self::CallType { code } => write!(f, "there is no call type {code:#04x}"),
            Self::CallUnreadable { call: Some(call) } => write!(f, "call {} cannot be read", call + 1),
            Self::OutOfGas => f.write_str("the calls are more than any gas pays for"),
            Self::CallUnreadable { call: None } => f.write_str("the calls cannot be read"),
            Self::CallNotAllowed { target, selector, .. } => {
                write!(f, "{selector} of {target} is not among the calls allowed")
            }
            Self::Value { limit, actual, .. } => write!(f, "at most {limit} wei may be sent, and {actual} are"),
            Self::Rule { entry, rule, offset, expected, actual, .. } => {
                write!(f, "entry {}, rule {}: the word at {offset} is {actual}", entry + 1, rule + 1)?;
                match expected.as_slice() {
                    [one] => write!(f, ", held against {one}"),
                    many => write!(f, ", held against {} words", many.len()),
                }
            }
            Self::RuleBeyondData { entry, rule, offset, bytes, .. } => {
                write!(f, "entry {}, rule {} reads at {offset}, past the {bytes} bytes of data", entry + 1, rule + 1)
            }
            Self::RuleOffset { entry, rule, offset, .. } => {
                write!(f, "entry {}, rule {} reads at {offset}, where nothing can be", entry + 1, rule + 1)
            }
            Self::SliceTooShort { entry, rule, needed, actual, .. } => {
                write!(f, "entry {}, rule {} needs {needed} bytes, and there are {actual}", entry + 1, rule + 1)
            }
            Self::GasBudget { left, needed } => {
                write!(f, "{left} wei are left for gas, and the operation may take {needed}")
            }
            Self::PaymasterMissing { expected } => {
                write!(f, "gas must be paid by {expected}, and would be paid by the account")
            }
            Self::Paymaster { expected, actual } => {
                write!(f, "gas must be paid by {expected}, and would be paid by {actual}")
            }
            Self::RateUsedUp => f.write_str("no operations are left"),
            Self::ScheduleOverflow { start, interval } => {
                write!(f, "the next turn after {start} and {interval} seconds is beyond what can be counted")
            }
            Self::Caller { actual } => write!(f, "{actual} may not ask for signatures"),
        }
    }
}

impl fmt::Display for super::Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::By(key) => write!(f, "was signed by {key} or over something else"),
            Self::OtherHash(_) => f.write_str("was signed for other chains than it says"),
            Self::Malformed => f.write_str("is malformed"),
        }
    }
}

//! Would the EntryPoint take this operation?

use std::fmt;

use alloy::primitives::{Address, Selector, U256};

use super::{
    super::{
        account::{Execution, selector},
        contracts::{ECDSA_SIGNER, KernelVersion},
        nonce::{Mode, OperationNonce, PermissionId, ValidationType},
        permission_config::PermissionConfig,
        signature::{Envelope, EnvelopeFault, split_chain_free},
    },
    answer::{At, Denied, Reason},
    enabling::{Installing, enable},
    facts::{Authority, Facts, NO_HOOK, Named, Signature, Signatures},
    policy::{Installed, check_operation},
};
use crate::{
    erc4337::v07::{PackedUserOperation, halves},
    policy::scope::MAX_UINT48,
    protocol::AccountCall,
};

/// A time window in unix seconds, both ends inclusive; `until` 2^48-1 = no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub after: u64,
    pub until: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self { after: 0, until: MAX_UINT48 }
    }
}

impl Window {
    fn intersect(self, other: Self) -> Self {
        Self { after: self.after.max(other.after), until: self.until.min(other.until) }
    }
}

/// An end as policies store it, where 0 is none.
pub(super) fn end(until: u64) -> u64 {
    if until == 0 { MAX_UINT48 } else { until }
}

/// What a policy has left after the operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    Gas { policy: usize, wei: u128 },
    Rate { policy: usize, count: u64, next_start: u64 },
}

/// What an operation that enables its key leaves of nonces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enabled {
    pub nonce: u32,
    pub hook: Address,
    /// Raised on 3.3 where the id was installed at it before: every other approval that waits is then dead.
    pub current_nonce: u32,
}

/// The account took the operation. Its signature may be wrong all the same, which the EntryPoint looks at later.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validated {
    /// Well-formed, and not the right one.
    pub wrong_signature: Option<Denied>,
    pub window: Window,
    pub left: Vec<Left>,
    pub enabled: Option<Enabled>,
    /// Asked before and after the calls are made; 1: none. 0 is the root of a delegated EOA, which has none to ask.
    pub hook: Address,
}

/// What the chain takes and no honest tool writes: we refuse it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Objection {
    /// Valid on every chain.
    ChainFree,
    /// `execute` in a form that no encoder writes: what runs may not be what it looks like.
    Calldata,
    Envelope,
    /// Neither "use" nor "enable".
    Mode(u8),
    /// The 16 bytes behind the permission's id are not zero.
    IdentifierTail,
    /// The signature shows something to a policy, and none reads it.
    Segments,
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ChainFree => f.write_str("the signature is valid on every chain"),
            Self::Calldata => f.write_str("the account call is not in the form that an encoder writes"),
            Self::Envelope => f.write_str("the signature is not in the form that an encoder writes"),
            Self::Mode(mode) => write!(f, "the nonce has mode {mode:#04x}"),
            Self::IdentifierTail => f.write_str("the nonce has something behind the key's id"),
            Self::Segments => f.write_str("the signature has parts for policies, which no policy reads"),
        }
    }
}

/// What is not understood, and counted as a yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    Root,
    Validator,
    Signer(Address),
    Policy {
        position: usize,
        address: Address,
    },
    Hook(Address),
    /// Installed for an account function.
    Module(Address),
    EnableData,
    SelectorData,
}

/// The judgement of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What the account itself answers to `validateUserOp`, whatever the EntryPoint says.
    pub validation: Result<Validated, Denied>,
    /// What `handleOps` answers.
    pub answer: Result<Validated, Denied>,
    /// Beside a yes: why we refuse all the same.
    pub objections: Vec<Objection>,
    /// Where there is any, a yes is "as far as we know", and a no may come with other words.
    pub unknown: Vec<Unknown>,
}

impl Verdict {
    /// Whether the chain takes it for certain, and so do we.
    pub fn is_plain_yes(&self) -> bool {
        self.answer.is_ok() && self.objections.is_empty() && self.unknown.is_empty()
    }
}

/// Judges an operation. `scope` is what is known of an enabled permission; of one that the operation enables, the operation tells.
pub fn operation(
    facts: &Facts,
    scope: Option<&PermissionConfig>,
    op: &PackedUserOperation,
    signatures: &Signatures,
) -> Verdict {
    let mut judging = Judging { facts, op, signatures, scope, objections: Vec::new(), unknown: Vec::new() };
    let validation = judging.validate();
    let answer = judging.entry_point(&validation);
    let Judging { mut objections, unknown, .. } = judging;
    objections.sort_unstable();
    objections.dedup();
    Verdict { validation, answer, objections, unknown }
}

struct Judging<'a> {
    facts: &'a Facts,
    op: &'a PackedUserOperation,
    signatures: &'a Signatures,
    scope: Option<&'a PermissionConfig>,
    objections: Vec<Objection>,
    unknown: Vec<Unknown>,
}

impl Judging<'_> {
    /// The EntryPoint's checks around the account's, in its order.
    fn entry_point(&self, validation: &Result<Validated, Denied>) -> Result<Validated, Denied> {
        let deny = |at, reason| Err(Denied::new(at, reason));
        let paymaster = &self.op.paymasterAndData;
        if (1..52).contains(&paymaster.len()) {
            return deny(At::EntryPoint, Reason::PaymasterDataTooShort { bytes: paymaster.len() });
        }
        if self.gas_overflows() {
            return deny(At::EntryPoint, Reason::GasOverflow);
        }
        let validated = validation.clone()?;
        let sponsored = paymaster.get(..20).is_some_and(|address| address.iter().any(|byte| *byte != 0));
        let unfunded = self.facts.is_funded == Some(false);
        if unfunded && !sponsored {
            return deny(At::Account, Reason::Unfunded);
        }
        let actual = OperationNonce::decode(self.op.nonce).sequence;
        if let Some(expected) = self.facts.sequence.filter(|expected| *expected != actual) {
            return deny(At::EntryPoint, Reason::WrongSequence { expected, actual });
        }
        if unfunded {
            return deny(At::EntryPoint, Reason::Unfunded);
        }
        if let Some(denied) = &validated.wrong_signature {
            return Err(denied.clone());
        }
        let (Window { after, until }, now) = (validated.window, self.facts.timestamp);
        if now < after {
            return deny(At::EntryPoint, Reason::NotYet { valid_after: after, now });
        }
        if now > until {
            return deny(At::EntryPoint, Reason::Expired { valid_until: until, now });
        }
        Ok(validated)
    }

    fn gas_overflows(&self) -> bool {
        let op = self.op;
        let (verification, call) = halves(op.accountGasLimits);
        let (priority, max) = halves(op.gasFees);
        let limits = op.paymasterAndData.get(20..52).map(alloy::primitives::B256::from_slice).map(halves);
        let (a, b) = limits.unwrap_or_default();
        let numbers = [verification, call, priority, max, a, b];
        op.preVerificationGas >> 120 != U256::ZERO || numbers.iter().any(|number| number >> 120 != 0)
    }

    /// `validateUserOp`.
    fn validate(&mut self) -> Result<Validated, Denied> {
        let (facts, op) = (self.facts, self.op);
        let nonce = OperationNonce::decode(op.nonce);
        let (chain_free, mut signature) = split_chain_free(&op.signature, facts.kernel);
        self.object(&nonce, chain_free);
        let mut installing = None;
        let read;
        if nonce.mode == Mode::Enable {
            let unreadable = |fault| {
                // Where the older ones make room for it, 3.3 holds it against the end.
                let fault = if facts.kernel == KernelVersion::V3_3 { EnvelopeFault::Outside } else { fault };
                Denied::new(At::Account, Reason::Envelope { fault })
            };
            read = Envelope::read(signature).map_err(unreadable)?;
            if !read.envelope.is_canonical(signature) {
                self.objections.push(Objection::Envelope);
            }
            installing = Some(enable(facts, &nonce, &read.envelope, self.signatures, &mut self.unknown)?);
            if let Some(fault) = read.use_fault {
                return Err(unreadable(fault));
            }
            signature = &read.envelope.use_signature;
        }
        if let (ValidationType::Unknown(kind), KernelVersion::V3_3) = (nonce.kind, facts.kernel) {
            return Err(Denied::new(At::Account, Reason::ValidationType { kind }));
        }
        let enabled = installing.as_ref().map(|installing| installing.enabled);
        let named = installing.as_ref().map_or(&facts.named, |installing| &installing.named);
        let mut validated = Validated { enabled, ..Validated::default() };
        match nonce.kind {
            ValidationType::Root => {
                validated.wrong_signature = self.check_signature(facts.root.authority, Unknown::Root)?;
                let hook = facts.root.hook;
                validated.hook = hook;
                if facts.root.authority != Authority::Itself && !hook.is_zero() && hook != NO_HOOK {
                    self.check_hooked()?;
                }
                return Ok(validated);
            }
            ValidationType::Validator => {
                let authority = named.authority.unwrap_or(Authority::Unknown);
                validated.wrong_signature = self.check_signature(authority, Unknown::Validator)?;
            }
            ValidationType::Permission | ValidationType::Unknown(_) => {
                self.check_permission(&nonce, named, installing.as_ref(), signature, &mut validated)?;
            }
        }
        let (held, hook) = match nonce.kind {
            ValidationType::Unknown(_) => (facts.held_nonce(nonce.kind), Address::ZERO),
            _ => (named.nonce, named.hook),
        };
        validated.hook = hook;
        self.check_installed(named, held, hook)?;
        Ok(validated)
    }

    fn object(&mut self, nonce: &OperationNonce, chain_free: bool) {
        if chain_free {
            self.objections.push(Objection::ChainFree);
        }
        if let Mode::Unknown(mode) = nonce.mode {
            self.objections.push(Objection::Mode(mode));
        }
        if nonce.permission().is_some_and(|id| id.identifier() != nonce.identifier) {
            self.objections.push(Objection::IdentifierTail);
        }
        let call = &self.op.callData;
        let execute = call.strip_prefix(selector::EXECUTE_USER_OP.as_slice()).unwrap_or(call);
        let is_read = !matches!(Execution::decode(call).call, AccountCall::Other(_));
        if execute.starts_with(selector::EXECUTE.as_slice()) && !is_read {
            self.objections.push(Objection::Calldata);
        }
    }

    /// A validator's own answer: a malformed signature reverts, a wrong one comes out at the end.
    fn check_signature(&mut self, authority: Authority, what: Unknown) -> Result<Option<Denied>, Denied> {
        let expected = match authority {
            Authority::Owner(owner) => owner,
            Authority::Itself => self.facts.account,
            Authority::Nobody => {
                let identifier = Address::from(OperationNonce::decode(self.op.nonce).identifier);
                return Err(Denied::new(At::Account, Reason::NotAValidator { identifier }));
            }
            Authority::Unknown => {
                self.unknown.push(what);
                return Ok(None);
            }
        };
        self.check_key(expected)
    }

    fn check_key(&self, expected: Address) -> Result<Option<Denied>, Denied> {
        match self.signatures.usage {
            Signature::Malformed => Err(Denied::new(At::Signer, Reason::MalformedSignature)),
            // A signer without a key takes no signature.
            Signature::By(key) if key == expected && !expected.is_zero() => Ok(None),
            by => Ok(Some(Denied::new(At::Signer, Reason::WrongSignature { expected, by }))),
        }
    }

    fn check_permission(
        &mut self,
        nonce: &OperationNonce,
        named: &Named,
        installing: Option<&Installing>,
        signature: &[u8],
        validated: &mut Validated,
    ) -> Result<(), Denied> {
        let account = |reason| Denied::new(At::Account, reason);
        if named.flag.refuses_operations() {
            return Err(account(Reason::RefusesOperations));
        }
        let [a, b, c, d, ..] = nonce.identifier.0;
        let id = PermissionId([a, b, c, d].into());
        let policies = installed(named, installing, self.scope);
        let mut rest = signature;
        for (position, policy) in policies.iter().enumerate() {
            let segment = cut_segment(&mut rest, position).map_err(account)?;
            if segment.is_some() {
                self.objections.push(Objection::Segments);
            }
            if policy.flag.skips_operations() {
                continue;
            }
            let yes = check_operation(policy, position, id, self.op, segment.unwrap_or_default())
                .map_err(|reason| Denied::new(At::Policy(position), reason))?;
            if yes.unknown {
                self.unknown.push(Unknown::Policy { position, address: policy.address });
            }
            validated.window = validated.window.intersect(yes.window);
            validated.left.extend(yes.left);
        }
        check_prefix(rest).map_err(account)?;
        match named.signer {
            Address::ZERO => return Err(account(Reason::UnknownPermission)),
            ECDSA_SIGNER => validated.wrong_signature = self.check_key(named.session_key)?,
            other => self.unknown.push(Unknown::Signer(other)),
        }
        Ok(())
    }

    /// Nonce, hook and selector of a validation that is not the root.
    fn check_installed(&self, named: &Named, held: u32, hook: Address) -> Result<(), Denied> {
        let deny = |reason| Err(Denied::new(At::Account, reason));
        let valid_from = self.facts.valid_nonce_from;
        if held < valid_from {
            return deny(Reason::Stopped { nonce: held, valid_from });
        }
        if hook.is_zero() {
            return deny(Reason::NotInstalled);
        }
        let hooked = hook != NO_HOOK;
        let (from, needed) = if hooked { (4, 8) } else { (0, 4) };
        let bytes = self.op.callData.len();
        let Some(called) = self.op.callData.get(from..needed).map(Selector::from_slice) else {
            return deny(Reason::CalldataTooShort { bytes, needed });
        };
        if !named.allowed.contains(&called) {
            return deny(Reason::SelectorNotAllowed { selector: called });
        }
        if hooked { self.check_hooked() } else { Ok(()) }
    }

    fn check_hooked(&self) -> Result<(), Denied> {
        let deny = |reason| Err(Denied::new(At::Account, reason));
        match self.op.callData.get(..4).map(Selector::from_slice) {
            None => deny(Reason::CalldataTooShort { bytes: self.op.callData.len(), needed: 4 }),
            Some(selector::EXECUTE_USER_OP) => Ok(()),
            Some(actual) => deny(Reason::NotExecuteUserOp { actual }),
        }
    }
}

/// The policies of a permission: those that the operation installed, or those that stand on chain.
pub(super) fn installed(
    named: &Named,
    installing: Option<&Installing>,
    scope: Option<&PermissionConfig>,
) -> Vec<Installed> {
    if let Some(scope) = installing.and_then(|installing| installing.scope.as_ref()) {
        return scope.policies.iter().map(Installed::fresh).collect();
    }
    let of_scope = |position: usize| scope.and_then(|scope| scope.policies.get(position));
    let read = |(position, (flag, address)): (usize, &(_, Address))| {
        Installed::read(*flag, *address, of_scope(position), named.states.get(address))
    };
    named.policies.iter().enumerate().map(read).collect()
}

/// Cuts off what the signature shows to the policy at this position, where it shows it anything.
pub(super) fn cut_segment<'a>(rest: &mut &'a [u8], position: usize) -> Result<Option<&'a [u8]>, Reason> {
    let (&next, behind) = rest.split_first().ok_or(Reason::SignatureEnds)?;
    if usize::from(next) < position {
        return Err(Reason::SegmentOrder { expected: position, actual: next });
    }
    if usize::from(next) > position {
        return Ok(None);
    }
    let (length, behind) = behind.split_first_chunk::<8>().ok_or(Reason::SegmentCutOff)?;
    let length = usize::try_from(u64::from_be_bytes(*length)).map_err(|_| Reason::SegmentCutOff)?;
    let (segment, behind) = behind.split_at_checked(length).ok_or(Reason::SegmentCutOff)?;
    *rest = behind;
    Ok(Some(segment))
}

/// 0xff, and then the signer's signature.
pub(super) fn check_prefix(signature: &[u8]) -> Result<(), Reason> {
    match signature.first() {
        None => Err(Reason::SignatureEnds),
        Some(0xff) => Ok(()),
        Some(_) => Err(Reason::NoSignerPrefix),
    }
}

//! How a session key's signature becomes an operation's: which approval, which mode, which permission is shown - and whether the
//! chain would run the call at all.

use alloy::primitives::{Address, B256, Bytes, U256};

use super::{
    approval::{Approval, ApprovalRequest},
    judge::{self, Accepted, Denied, Path, Reason, Window},
    signature::{self, Shown},
    snapshot::Snapshot,
};
use crate::{
    abi::{Function, format_word},
    policy::{
        condition::{ReadBack, read_back},
        sentence,
    },
    protocol::{
        AccountCall,
        family::envelope::{Credentials, Refused},
    },
};

/// How a session signature is put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    session_key: Address,
    /// Mode 2 carries the approval.
    approval: Option<Approval>,
    proof: Bytes,
}

impl Envelope {
    pub fn assemble(&self, session_signature: &[u8; 65]) -> Bytes {
        let session = signature::session(self.session_key, session_signature, &self.proof);
        match &self.approval {
            None => signature::use_enabled(&session),
            Some(approval) => signature::enable_and_use(approval, &session),
        }
    }

    /// The operation enables the key as well.
    pub const fn enables(&self) -> bool {
        self.approval.is_some()
    }
}

/// Asks the judge with each approval; the first acceptance wins, else the most telling refusal.
pub fn judge<'a>(
    has: &Credentials<'_>,
    approvals: impl IntoIterator<Item = (&'a ApprovalRequest, Option<&'a Bytes>)>,
    snapshot: &Snapshot,
    paymaster_and_data: &Bytes,
    call: &AccountCall,
) -> Result<(Envelope, Accepted), Refused> {
    let called = call.selector().unwrap_or_default();
    let mut refusal: Option<(u8, Denied)> = None;
    for (request, signature) in approvals {
        let Some(signature) = signature else { continue };
        if !request.is_signed_by(has.owner, signature) {
            return Err(Refused::Damaged);
        }
        let (generation, enable) = (request.validator, &request.enable);
        let here = snapshot.route(called).is_some_and(|r| r.validator == generation.address());
        // An approval whose nonce is over can only be used as an enabled key - or, when the chain does not hold it, not at all.
        let over = enable.nonce <= snapshot.nonces(generation).last;
        let cannot_open = over && request.selector != called;
        let path =
            if cannot_open || here && (over || snapshot.holds(generation, enable)) { Path::Use } else { Path::Enable };
        if path == Path::Enable {
            has.counts(request, snapshot)?;
        }
        let window = own_window(request);
        let facts = snapshot.facts(generation, enable, path, window, called, paymaster_and_data.clone());
        let key = judge::Key { generation, scope: has.scope, approval_nonce: enable.nonce, selector: request.selector };
        match judge::find(&key, path, &facts, call) {
            Ok(accepted) => {
                let approval =
                    (path == Path::Enable).then(|| Approval { request: request.clone(), signature: signature.clone() });
                let envelope = Envelope {
                    session_key: has.session_key,
                    approval,
                    proof: has.proof(request, call, &accepted).ok_or(Refused::NoProof)?,
                };
                return Ok((envelope, accepted));
            }
            Err(denied) => {
                let weight = u8::from(denied.permission.is_some() || denied.call.is_some());
                if refusal.as_ref().is_none_or(|(w, _)| weight > *w) {
                    refusal = Some((weight, denied));
                }
            }
        }
    }
    Err(refusal.map_or(Refused::NotSigned, |(_, denied)| Refused::Denied {
        code: denied.reason.code(),
        message: has.denial(&denied),
    }))
}

impl Credentials<'_> {
    /// Whether the signature counts in the account's present state.
    fn counts(&self, request: &ApprovalRequest, snapshot: &Snapshot) -> Result<(), Refused> {
        if let Some(now) = snapshot.owner.filter(|owner| snapshot.deployed && *owner != self.owner) {
            return Err(Refused::Owner { now, signed: self.owner });
        }
        match snapshot.kernel {
            Some(kernel) if kernel == request.kernel => Ok(()),
            Some(now) => Err(Refused::Implementation { now: now.into(), signed: request.kernel.into() }),
            None => Err(Refused::UnknownImplementation),
        }
    }

    fn proof(&self, request: &ApprovalRequest, call: &AccountCall, accepted: &Accepted) -> Option<Bytes> {
        let shown = match (call, accepted.shown.as_slice()) {
            (_, []) if self.scope.permissions.is_empty() => Shown::Nothing,
            (AccountCall::ExecuteBatch(_), positions) => Shown::Batch(positions),
            (_, [one]) => Shown::One(*one),
            _ => Shown::Nothing,
        };
        signature::proof_data(&self.scope.permissions, shown, request.validator)
    }

    /// The judge's refusal in words: which permission, which argument, what was expected and what was found.
    pub fn denial(&self, denied: &Denied) -> String {
        let function = denied.permission.and_then(|p| self.functions.get(p)).and_then(Option::as_ref);
        let mut place = String::new();
        if let Some(call) = denied.call.filter(|_| denied.permission.is_some()) {
            place = format!("call {}, ", call + 1);
        }
        if let Some(permission) = denied.permission {
            place.push_str(&format!("permission {}", permission + 1));
            if let Some(function) = function {
                place.push_str(&format!(" ({})", function.signature()));
            }
            place.push_str(": ");
        }
        let message = match &denied.reason {
            Reason::Rule { rule, .. } | Reason::RuleBeyondData { rule, .. } => {
                let permission = denied.permission.and_then(|p| self.scope.permissions.get(p));
                let readings = permission.map(|p| read_back(function, &p.rules)).unwrap_or_default();
                let reading = readings.get(*rule);
                let condition = reading.map_or_else(|| format!("condition {}", rule + 1), sentence::condition);
                match (&denied.reason, reading) {
                    (Reason::Rule { actual, offset, .. }, Some(ReadBack::Argument { .. })) => {
                        format!("expected that {condition}, found {}", typed_word(function, *offset, *actual))
                    }
                    (reason, _) => format!("expected that {condition}: {reason}"),
                }
            }
            reason => reason.to_string(),
        };
        format!("{place}{message}")
    }
}

/// A word of the call as a value of the argument that stands there.
fn typed_word(function: Option<&Function>, offset: U256, word: B256) -> String {
    let head = function.map(Function::head).unwrap_or_default();
    let at = usize::try_from(offset / U256::from(32)).ok();
    at.and_then(|i| head.get(i)).and_then(|w| format_word(w.ty, word)).unwrap_or_else(|| word.to_string())
}

/// The approval's own 12 bytes as the contract reads them: `validAfter6 ‖ validUntil6`.
fn own_window(request: &ApprovalRequest) -> Window {
    let number = |range: std::ops::Range<usize>| {
        request.plugin_window.get(range).unwrap_or_default().iter().fold(0u64, |n, b| n << 8 | u64::from(*b))
    };
    Window { after: number(0..6), until: number(6..12) }
}

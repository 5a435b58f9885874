//! What an owner signs, and what a key can do with it.

use alloy::{
    primitives::{Address, B256, Bytes, keccak256},
    sol_types::SolValue,
};
use serde::{Deserialize, Serialize};

use super::{Keeper, Snapshot, allowCall, decode, fingerprint, own};
use crate::{
    policy::{
        risk::{Effect, Finding, Severity},
        scope::Scope,
    },
    protocol::{
        AccountCall, Call, Step,
        family::{
            Validator,
            envelope::{Accepted, Credentials, Refused},
            grant::OtherKey,
        },
        kernel_v2::judge::Window,
        signature::recover,
        status::{KeyStatus, State},
    },
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalRequest {
    pub chain_id: u64,
    pub account: Address,
    pub session_key: Address,
    pub fingerprint: B256,
    pub valid_after: u64,
    pub valid_until: u64,
    pub paymaster: Address,
}

impl ApprovalRequest {
    pub fn digest(&self) -> B256 {
        let place = (self.chain_id, self.account, self.session_key);
        keccak256((place, self.fingerprint, (self.valid_after, self.valid_until, self.paymaster)).abi_encode())
    }

    pub fn typed_data(&self) -> serde_json::Value {
        serde_json::json!({ "digest": self.digest() })
    }

    pub fn recover_owner(&self, signature: &[u8]) -> Option<Address> {
        recover(self.digest(), signature)
    }

    pub fn is_signed_by(&self, owner: Address, signature: &[u8]) -> bool {
        self.recover_owner(signature) == Some(owner)
    }

    pub fn enable_data(&self) -> Bytes {
        Bytes::copy_from_slice(self.digest().as_slice())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalPlan {
    place: (u64, Address),
    session_key: Address,
}

impl ApprovalPlan {
    pub const fn new(place: (u64, Address), session_key: Address) -> Self {
        Self { place, session_key }
    }

    pub fn request(&self, scope: &Scope) -> ApprovalRequest {
        let (chain_id, account) = self.place;
        ApprovalRequest {
            chain_id,
            account,
            session_key: self.session_key,
            fingerprint: fingerprint(&scope.permissions),
            valid_after: scope.valid_after,
            valid_until: scope.valid_until,
            paymaster: scope.paymaster,
        }
    }

    /// A key has one entry: the newer one replaces it.
    pub fn about_other_keys<'a>(&self, keys: impl IntoIterator<Item = OtherKey<'a>>) -> Vec<Finding> {
        let same = keys.into_iter().filter(|key| key.session_key == self.session_key);
        same.filter(|key| key.validator == Validator::Toy(Keeper))
            .map(|key| Finding {
                id: "R34",
                severity: Severity::Medium,
                permission: None,
                message: format!("the key has an approval already ({}); this one replaces it", key.label),
                advice: "use a fresh key".into(),
                effect: Effect::Warn,
            })
            .collect()
    }
}

/// Runs are not counted: a limit would not hold.
pub fn about_run_limits(scope: &Scope) -> Option<Finding> {
    scope.permissions.iter().any(|p| !p.execution_rule.is_none()).then(|| Finding {
        id: "R14",
        severity: Severity::High,
        permission: None,
        message: "this account does not count runs".into(),
        advice: "leave the limit out".into(),
        effect: Effect::Refuse,
    })
}

pub fn plan_enable(account: Address, requests: &[&ApprovalRequest]) -> (Vec<Call>, Vec<Step>) {
    let enable = |request: &&ApprovalRequest| {
        let call = allowCall { key: request.session_key, digest: request.digest() };
        own(account, &call, format!("allow({})", request.session_key), "enables the key".into())
    };
    requests.iter().map(enable).unzip()
}

pub fn status(request: &ApprovalRequest, is_signed: bool, snapshot: Option<&Snapshot>) -> KeyStatus {
    let Some(snapshot) = snapshot else {
        return KeyStatus::new(State::Unknown, "there is no chain to ask");
    };
    let held = snapshot.holds(request);
    let over = request.valid_until != 0 && snapshot.timestamp > request.valid_until;
    let (state, reason) = match () {
        () if over => (State::Expired, "its window is over"),
        () if held && snapshot.stopped => (State::Paused, "the account is stopped"),
        () if held => (State::Active, "the account holds it"),
        () if is_signed => (State::Pending, "its owner signed it"),
        () => (State::Draft, "its owner has not signed it"),
    };
    KeyStatus::new(state, reason)
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    session_key: Address,
    approval: Option<Bytes>,
}

impl Envelope {
    pub fn assemble(&self, session_signature: &[u8; 65]) -> Bytes {
        let approval = self.approval.as_ref().map(|a| a.as_ref()).unwrap_or_default();
        [self.session_key.as_slice(), session_signature, approval].concat().into()
    }

    pub const fn enables(&self) -> bool {
        self.approval.is_some()
    }
}

pub fn judge<'a>(
    has: &Credentials<'_>,
    approvals: impl IntoIterator<Item = (&'a ApprovalRequest, Option<&'a Bytes>)>,
    snapshot: &Snapshot,
    call: &AccountCall,
) -> Result<(Envelope, Accepted), Refused> {
    let mut signed = approvals.into_iter().filter_map(|(request, signature)| Some((request, signature?)));
    let (request, signature) = signed.next().ok_or(Refused::NotSigned)?;
    if !request.is_signed_by(has.owner, signature) {
        return Err(Refused::Damaged);
    }
    let now = snapshot.owner.unwrap_or(has.owner);
    if now != has.owner {
        return Err(Refused::Owner { now, signed: has.owner });
    }
    let denied = |message: &str| Refused::Denied { code: "toy.denied", message: message.to_owned() };
    let AccountCall::Execute(inner) = decode(&super::encode(call)) else {
        return Err(denied("only single calls"));
    };
    let fits = |p: &crate::policy::scope::Permission| {
        p.target == inner.to
            && inner.data.starts_with(p.sig.as_slice())
            && inner.value <= p.value_limit
            && p.rules.is_empty()
    };
    let at = has.scope.permissions.iter().position(fits).ok_or_else(|| denied("no permission allows it"))?;
    if snapshot.stopped {
        return Err(denied("the account is stopped"));
    }
    let window = Window { after: request.valid_after, until: request.valid_until };
    let approval = (!snapshot.holds(request)).then(|| signature.clone());
    Ok((Envelope { session_key: has.session_key, approval }, Accepted { shown: vec![at], window }))
}

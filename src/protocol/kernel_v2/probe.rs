//! Everything that the holder of an approval can try, and what the account's state says of it.

use alloy::primitives::{Address, B256, Bytes, Selector};

use super::{
    account::{enable_key, selector},
    approval::{Approval, ApprovalRequest, EnableData},
    generation::Generation,
    signature,
    snapshot::Snapshot,
    status::may_return,
    witness::witness,
};
use crate::{
    erc4337::v06::{ENTRY_POINT, UserOperation, validate_user_op},
    policy::scope::Scope,
    protocol::{
        AccountCall, DUMMY_SIGNATURE,
        family::Family,
        probe::{Probe, Waited},
    },
};

/// What is tried: an approval on record, or what a validator holds and nobody here has the approval of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    pub generation: Generation,
    pub enable: EnableData,
    function: Selector,
    /// The whole approval, where its signature is known.
    signed: Option<Approval>,
    /// Missing when nobody here knows what it allows.
    scope: Option<Scope>,
}

/// What the state said of a subject before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Before {
    pub block: u64,
    pub last_nonce: u128,
    pub held: bool,
}

/// What the validator says of a key's address, as a proof keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    pub session_data: Option<EnableData>,
    pub last_nonce: String,
    pub invalid_nonce: String,
}

impl Subject {
    pub fn of(request: &ApprovalRequest, signature: Option<&Bytes>, scope: Option<&Scope>) -> Self {
        let signed = signature.map(|s| Approval { request: request.clone(), signature: s.clone() });
        Self {
            generation: request.validator,
            enable: request.enable,
            function: request.selector,
            signed,
            scope: scope.cloned(),
        }
    }

    pub fn held(generation: Generation, enable: EnableData, scope: Option<&Scope>) -> Self {
        Self { generation, enable, function: selector::EXECUTE, signed: None, scope: scope.cloned() }
    }

    /// A key that is known by its address only, and that the validator is said to hold nothing for.
    pub fn of_address(generation: Generation, session_key: Address, snapshot: &Snapshot) -> Self {
        let enable = EnableData {
            session_key,
            merkle_root: B256::ZERO,
            valid_after: 0,
            valid_until: 0,
            paymaster: Address::ZERO,
            nonce: snapshot.nonces(generation).last,
        };
        Self::held(generation, enable, None)
    }

    pub const fn session_key(&self) -> Address {
        self.enable.session_key
    }

    /// Enabling it with the approval, and using it, through the account as an operation does; and both asked of the validator
    /// itself, for when the account lets nobody through or routes elsewhere.
    pub fn probes(&self, account: Address, chain_id: u64, coin: &str) -> Vec<Probe> {
        let enable = &self.enable;
        let everything = Scope { valid_after: 0, valid_until: 0, paymaster: enable.paymaster, permissions: Vec::new() };
        let made = witness(self.scope.as_ref().unwrap_or(&everything), self.function, self.generation);
        let session = signature::session(enable.session_key, &DUMMY_SIGNATURE, &made.proof);
        let validation = |signature: Bytes| {
            let user_op = UserOperation {
                sender: account,
                call_data: made.call_data.clone(),
                paymaster_and_data: made.paymaster_and_data.clone(),
                signature,
                ..UserOperation::default()
            };
            validate_user_op(&user_op, user_op.hash(ENTRY_POINT, chain_id))
        };
        let validator = self.generation.address();
        let call = AccountCall::decode(&made.call_data).in_words(Family::KernelV2, &[], coin).join("; ");
        let mut probes = Vec::new();
        if let Some(approval) = &self.signed {
            probes.push(Probe {
                name: "enable it with its first call",
                would: format!("enables the key and {call}"),
                uses: false,
                from: ENTRY_POINT,
                to: account,
                data: validation(signature::enable_and_use(approval, &session)),
            });
        }
        probes.push(Probe {
            name: "use it as an enabled key",
            would: call.clone(),
            uses: true,
            from: ENTRY_POINT,
            to: account,
            data: validation(signature::use_enabled(&session)),
        });
        probes.push(Probe {
            name: "enable it, asked of the validator itself",
            would: "enables the key".to_owned(),
            uses: false,
            from: account,
            to: validator,
            data: enable_key(&enable.encode()),
        });
        probes.push(Probe {
            name: "use it as an enabled key, asked of the validator itself",
            would: call,
            uses: true,
            from: account,
            to: validator,
            data: validation(session),
        });
        probes
    }

    pub fn before(&self, snapshot: &Snapshot) -> Before {
        Before {
            block: snapshot.block,
            last_nonce: snapshot.nonces(self.generation).last,
            held: snapshot.holds(self.generation, &self.enable),
        }
    }

    /// Whether a probe that passes tells that this approval is alive. Where another approval of the key is enabled, using the key
    /// is no test of this one; and what the account answers to a use is its present validator's word, whichever that is.
    pub fn is_tested_by(&self, probe: &Probe, snapshot: &Snapshot) -> bool {
        let held = snapshot.sessions.get(&(self.generation, self.enable.session_key));
        let other_is_enabled = held.is_some_and(|held| *held != self.enable);
        !probe.uses || !other_is_enabled && probe.to == self.generation.address()
    }

    /// The snapshot with the worse of two answers: the probe passed although the state says that the approval is over.
    pub fn treat_as_live(&self, probe_uses: bool, snapshot: &mut Snapshot) {
        let below = self.enable.nonce.saturating_sub(1);
        let nonces = snapshot.nonces.entry(self.generation).or_default();
        nonces.invalid = nonces.invalid.min(below);
        if probe_uses {
            snapshot.sessions.insert((self.generation, self.enable.session_key), self.enable);
        } else {
            nonces.last = nonces.last.min(below);
        }
    }

    /// What of it the state still has; `None` where it is over.
    pub fn still_stands(&self, snapshot: &Snapshot) -> Option<String> {
        let nonces = snapshot.nonces(self.generation);
        if snapshot.holds(self.generation, &self.enable) && self.enable.nonce > nonces.invalid {
            return Some("the validator still holds the key".into());
        }
        (self.enable.nonce > nonces.last).then(|| format!("nonce {} can still be enabled", self.enable.nonce))
    }

    /// Whether it could be enabled again if the owner set the nonces back.
    pub fn may_return(&self, snapshot: &Snapshot) -> bool {
        may_return(self.generation, self.enable.nonce, snapshot.nonces(self.generation).invalid)
    }

    /// It could not be enabled before either, but its nonce would have come. Now the nonce is over.
    pub fn waited(&self, before: &Before) -> Option<Waited> {
        let nonce = self.enable.nonce;
        (!before.held && nonce > before.last_nonce.saturating_add(1)).then(|| Waited {
            attempt: format!("enable it once nonce {nonce} comes up"),
            before: format!(
                "queued behind nonce {} (the account was at {})",
                nonce.saturating_sub(1),
                before.last_nonce
            ),
            after: "SessionKeyValidator: invalid nonce".to_owned(),
        })
    }

    pub fn evidence(&self, snapshot: &Snapshot) -> Evidence {
        let nonces = snapshot.nonces(self.generation);
        Evidence {
            session_data: snapshot.sessions.get(&(self.generation, self.enable.session_key)).copied(),
            last_nonce: nonces.last.to_string(),
            invalid_nonce: nonces.invalid.to_string(),
        }
    }
}

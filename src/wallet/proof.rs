//! Proof that a key has lost its power: the same attempts, before and after.
//!
//! What counts is a change (protocol.md 6): an attempt that would have passed but for our missing session signature (or got as
//! far as the key's own scope) and is now refused because the turn is over or the key is not enabled. A refusal alone proves
//! nothing: AA24 is what any wrong signature gets.

use alloy::primitives::{Address, B256, Bytes};
use serde::{Deserialize, Serialize};

use super::{
    Wallet,
    chain::{At, CallRequest, ChainError},
    error::{Error, Result},
    model::{Account, ApprovalRecord},
    network::Services,
    now,
    operation::OperationOutcome,
    state::Picture,
};
use crate::kernel::{
    account::{enable_key, validate_user_op},
    approval::{Approval, EnableData},
    faults::{Fault, Revert},
    generation::{ENTRY_POINT, Generation},
    permission::Scope,
    revocation::SESSION_MODES,
    signature::{self, DUMMY_SIGNATURE},
    user_op::UserOperation,
    witness::witness,
};

/// Evidence that a key can do nothing any more, read from the chain after the fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    pub key_id: String,
    pub block: u64,
    pub transaction_hash: B256,
    /// What the validator stores for the key's address: nothing after `disable`. A sweep leaves it there, under a turn that is
    /// invalid.
    pub session_data: Option<EnableData>,
    pub last_nonce: String,
    pub invalid_nonce: String,
    /// The refusals that the key's own approvals get now.
    pub replay: String,
    /// What the same attempts were answered before.
    #[serde(default)]
    pub before: String,
    #[serde(default)]
    pub before_block: u64,
}

/// Evidence that the panic is on: no session key can act, whatever it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    pub block: u64,
    pub transaction_hash: B256,
    /// As the account answers it.
    pub disabled_mode: u32,
}

/// A key that is taken back.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// Its id on record, or its address when it is known by that only.
    pub id: String,
    pub label: String,
    pub generation: Generation,
    pub session_key: Address,
    /// Missing when nobody here knows what it may do.
    pub scope: Option<Scope>,
    /// The approvals this ends.
    pub ends: Vec<ApprovalRecord>,
    /// What the validator held for it, and nobody here has the approval of.
    pub foreign: Option<EnableData>,
}

/// What the chain answers to an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    /// Only the session key's own signature was missing.
    Passes,
    /// The turn is over, or the key is not enabled.
    Dead(Fault),
    /// It got as far as the scope, the window or the paymaster.
    Scope(Fault),
    /// No text: the panic is on, nothing is routed, the node did not answer, or something else.
    Silent,
}

impl Answer {
    fn read(answer: std::result::Result<Bytes, ChainError>) -> Self {
        let error = match answer {
            Ok(_) => return Self::Passes,
            Err(error) => error,
        };
        let Some(Fault::CallReverts(Revert::Text(text))) = error.fault() else { return Self::Silent };
        let fault = Fault::from_entry_point(&format!("AA23 reverted: {text}"));
        match fault {
            Fault::ApprovalNonce | Fault::NotEnabled => Self::Dead(fault),
            Fault::TargetMismatch
            | Fault::ValueLimitExceeded
            | Fault::PermissionFailed
            | Fault::PaymasterMismatch
            | Fault::PaymasterNotSet
            | Fault::RunsExceeded
            | Fault::InvalidExecutionRule
            | Fault::OperationMismatch => Self::Scope(fault),
            _ => Self::Silent,
        }
    }

    fn is_alive(&self) -> bool {
        matches!(self, Self::Passes | Self::Scope(_))
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Passes => f.write_str("only the session key's own signature was missing"),
            Self::Dead(Fault::ApprovalNonce) => f.write_str("SessionKeyValidator: invalid nonce"),
            Self::Dead(_) => f.write_str("SessionKeyValidator: session key not enabled"),
            Self::Scope(fault) => write!(f, "{fault}"),
            Self::Silent => f.write_str("refused without a reason"),
        }
    }
}

/// An attempt to use what a key's holder has.
struct Attempt {
    name: &'static str,
    /// As an enabled key; otherwise with the approval.
    uses: bool,
    request: CallRequest,
}

/// What the attempts with one approval were answered while the key had its power, and what the turns were.
#[derive(Debug, Clone)]
pub(super) struct Control {
    block: u64,
    last_nonce: u128,
    held: bool,
    answers: Vec<Answer>,
}

/// Keys that are about to end, each with a control for each of its approvals.
pub(super) type Watched = Vec<(Target, Vec<Control>)>;

const NEEDS: &str = "treat the key as alive, and run revoke again";

impl Target {
    /// The approvals that are tried, as enable data and signed approval.
    fn tried(&self) -> Vec<(EnableData, Option<&ApprovalRecord>)> {
        let known = self.ends.iter().map(|a| (a.request.enable, Some(a)));
        known.chain(self.foreign.iter().map(|f| (*f, None))).collect()
    }

    fn all_attempts(&self, account: &Account) -> Vec<Vec<Attempt>> {
        self.tried().into_iter().map(|(enable, approval)| self.attempts(account, &enable, approval)).collect()
    }

    /// Everything the holder has: enabling it with the approval, and using it, through the account as an operation does; and
    /// both asked of the validator itself, for when the account lets nobody through or routes elsewhere.
    fn attempts(&self, account: &Account, enable: &EnableData, approval: Option<&ApprovalRecord>) -> Vec<Attempt> {
        let everything = Scope { valid_after: 0, valid_until: 0, paymaster: enable.paymaster, permissions: Vec::new() };
        let function = approval.map_or(crate::kernel::account::selector::EXECUTE, ApprovalRecord::selector);
        let made = witness(self.scope.as_ref().unwrap_or(&everything), function, self.generation);
        let session = signature::session(enable.session_key, &DUMMY_SIGNATURE, &made.proof);
        let validation = |signature: Bytes, from: Address, to: Address| {
            let user_op = UserOperation {
                sender: account.address,
                call_data: made.call_data.clone(),
                paymaster_and_data: made.paymaster_and_data.clone(),
                signature,
                ..UserOperation::default()
            };
            let hash = user_op.hash(ENTRY_POINT, account.chain_id);
            CallRequest { from: Some(from), ..CallRequest::new(to, validate_user_op(&user_op, hash)) }
        };
        let validator = self.generation.address();
        let mut attempts = Vec::new();
        if let Some((record, signed)) = approval.and_then(|a| Some((a, a.signature.clone()?))) {
            let approval = Approval { request: record.request.clone(), signature: signed };
            let request = validation(signature::enable_and_use(&approval, &session), ENTRY_POINT, account.address);
            attempts.push(Attempt { name: "enabling it", uses: false, request });
        }
        let request = validation(signature::use_enabled(&session), ENTRY_POINT, account.address);
        attempts.push(Attempt { name: "using it", uses: true, request });
        let enabling =
            CallRequest { from: Some(account.address), ..CallRequest::new(validator, enable_key(&enable.encode())) };
        attempts.push(Attempt { name: "enabling it, asked of the validator", uses: false, request: enabling });
        let request = validation(session, account.address, validator);
        attempts.push(Attempt { name: "using it, asked of the validator", uses: true, request });
        attempts
    }
}

impl Services {
    /// All attempts in one go. One that is not answered proves nothing, either way.
    async fn answers(&self, attempts: &[Vec<Attempt>], at: At) -> Vec<Vec<Answer>> {
        let requests: Vec<CallRequest> = attempts.iter().flatten().map(|a| a.request.clone()).collect();
        let mut answers = self.node.call_each("a replay", &requests, at).await.into_iter().map(Answer::read);
        attempts.iter().map(|list| list.iter().map(|_| answers.next().unwrap_or(Answer::Silent)).collect()).collect()
    }

    /// Tries each approval of each target while it should still have its power.
    pub(super) async fn watch(&self, account: &Account, targets: Vec<Target>, picture: &Picture) -> Watched {
        let attempts: Vec<Vec<Attempt>> = targets.iter().flat_map(|t| t.all_attempts(account)).collect();
        let mut answers = self.answers(&attempts, At::Block(picture.block)).await.into_iter();
        let mut watched = Vec::with_capacity(targets.len());
        for target in targets {
            let control = |(enable, _): (EnableData, Option<&ApprovalRecord>)| Control {
                block: picture.block,
                last_nonce: picture.nonces(target.generation).last,
                held: picture.holds(target.generation, &enable),
                answers: answers.next().unwrap_or_default(),
            };
            let controls = target.tried().into_iter().map(control).collect();
            watched.push((target, controls));
        }
        watched
    }
}

impl Wallet {
    /// What was proven about a key on record, in the order in which it was.
    pub fn proofs(&self, key: &str) -> Result<Vec<Proof>> {
        let id = self.find_key(key)?.key.id;
        self.store.read(|r| r.proofs(&id))
    }

    /// These keys with controls from a picture taken before they end.
    pub(super) async fn watch(
        &self,
        account: &Account,
        services: &Services,
        key_ids: &[String],
        picture: &Picture,
    ) -> Result<Watched> {
        Ok(services.watch(account, self.targets_of(account, key_ids, picture)?, picture).await)
    }

    /// The same at the block before the one that took them back, for an operation that is found again. Nodes that keep no
    /// earlier state cannot tell.
    pub(super) async fn watched_before(
        &self,
        account: &Account,
        services: &Services,
        key_ids: &[String],
        block: u64,
    ) -> Result<Watched> {
        let mut keys = self.known_keys(account)?;
        // A key that is known by its address only.
        keys.extend(key_ids.iter().filter_map(|id| id.parse::<Address>().ok()));
        let before = block.saturating_sub(1);
        let picture = services.picture_at(account.address, &keys, Some(account.kernel), before).await?;
        self.watch(account, services, key_ids, &picture).await
    }

    /// Proves every key of a mined revocation, and only then calls it revoked on record. Answers what was proven, and the
    /// first reason why something was not.
    pub(super) async fn prove_all(
        &self,
        account: &Account,
        services: &Services,
        watched: &Watched,
        operation: &OperationOutcome,
    ) -> (Vec<Proof>, Option<Error>) {
        let mut proofs = Vec::with_capacity(watched.len());
        let mut not_proven = None;
        let keys: Vec<Address> = watched.iter().map(|(t, _)| t.session_key).collect();
        let block = operation.block.unwrap_or_default();
        let picture = match services.picture_from(account.address, &keys, Some(account.kernel), block).await {
            Ok(picture) => picture,
            Err(error) => {
                let message = format!("it was mined, but could not be read back: {}", error.message);
                return (proofs, Some(Error { message, ..error }));
            }
        };
        let attempts: Vec<Vec<Attempt>> = watched.iter().flat_map(|(t, _)| t.all_attempts(account)).collect();
        let mut answers = services.answers(&attempts, At::Block(picture.block)).await.into_iter();
        for (target, controls) in watched {
            let after: Vec<Vec<Answer>> = answers.by_ref().take(target.tried().len()).collect();
            let proven = prove(account, target, controls, &after, &picture, operation).and_then(|proof| {
                self.store.note(|w| {
                    if let Some(mut key) = w.read().key(&target.id)? {
                        key.revoked_at = Some(now());
                        w.put_key(&key)?;
                        w.put_proof(&key.id, now(), &proof)?;
                    }
                    Ok(())
                })?;
                Ok(proof)
            });
            match proven {
                Ok(proof) => proofs.push(proof),
                Err(error) => {
                    not_proven.get_or_insert(error);
                }
            }
        }
        (proofs, not_proven)
    }

    /// Reads back that the panic is on, and nothing else: that must work when little else does.
    pub(super) async fn prove_paused(
        &self,
        account: &Account,
        services: &Services,
        operation: &OperationOutcome,
    ) -> Result<Paused> {
        let block = operation.block.unwrap_or_default();
        let disabled_mode = services.node.disabled_mode(account.address, At::Block(block)).await.map_err(|error| {
            let error = Error::from(error);
            Error { message: format!("the panic was mined, but could not be read back: {}", error.message), ..error }
        })?;
        if disabled_mode & SESSION_MODES != SESSION_MODES {
            return Err(Error::failed(
                "revoke.not_proven",
                format!("the panic was mined, but the account answers mode {disabled_mode:#010x}"),
            )
            .hint("treat every key as alive, and try again"));
        }
        Ok(Paused { block, transaction_hash: operation.transaction_hash.unwrap_or_default(), disabled_mode })
    }
}

/// Compares what the validator holds, and answers to the attempts, with what it did before.
fn prove(
    account: &Account,
    target: &Target,
    controls: &[Control],
    answers_now: &[Vec<Answer>],
    picture: &Picture,
    operation: &OperationOutcome,
) -> Result<Proof> {
    let not_proven = |what: String| {
        Error::failed("revoke.not_proven", format!("the revocation of {} was mined, but {what}", target.label))
            .hint(NEEDS)
    };
    let nonces = picture.nonces(target.generation);
    let tried = target.tried();
    if tried.is_empty() || tried.len() != controls.len() {
        return Err(not_proven("there was no approval of it to try before and after".into()));
    }
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for (((enable, approval), control), answers) in tried.into_iter().zip(controls).zip(answers_now) {
        if picture.holds(target.generation, &enable) && enable.nonce > nonces.invalid {
            return Err(not_proven("the validator still holds the key".into()));
        }
        if enable.nonce > nonces.last {
            return Err(not_proven(format!("turn {} can still be enabled", enable.nonce)));
        }
        let attempts = target.attempts(account, &enable, approval);
        let mut changed = false;
        for ((attempt, old), new) in attempts.iter().zip(&control.answers).zip(answers) {
            // Where another approval of the key is enabled, using the key is no test of this one.
            if !old.is_alive() || attempt.uses && !control.held {
                continue;
            }
            if !matches!(new, Answer::Dead(_)) {
                return Err(not_proven(format!("{} is answered: {new}", attempt.name)));
            }
            changed = true;
            before.push(format!("{old} ({})", attempt.name));
            after.push(format!("{new} ({})", attempt.name));
        }
        let was_waiting = !control.held && enable.nonce > control.last_nonce.saturating_add(1);
        if !changed && was_waiting {
            // It could not be enabled before either, but its turn would have come. Now the turn is over.
            before.push(format!("its turn {} was to come (the account was at {})", enable.nonce, control.last_nonce));
            after.push(format!("SessionKeyValidator: invalid nonce (turn {} is over)", enable.nonce));
            changed = true;
        }
        if !changed {
            return Err(not_proven(format!(
                "nothing that was tried before it (at block {}) would have passed, so a refusal now proves nothing",
                control.block
            )));
        }
    }
    Ok(Proof {
        key_id: target.id.clone(),
        block: picture.block,
        transaction_hash: operation.transaction_hash.unwrap_or_default(),
        session_data: picture.sessions.get(&(target.generation, target.session_key)).copied(),
        last_nonce: nonces.last.to_string(),
        invalid_nonce: nonces.invalid.to_string(),
        replay: after.join("; "),
        before: before.join("; "),
        before_block: controls.iter().map(|c| c.block).min().unwrap_or_default(),
    })
}

//! Taking power back: `disable` for an enabled key, a burnt nonce for one that is signed but was never used - and the proof.
//!
//! `disable` of a key that was never enabled succeeds and does nothing (protocol.md 6), so it is never used for one.
//! No nonce sweep is ever sent from here.

use alloy::primitives::{Address, B256, Bytes, U256};
use serde::{Deserialize, Serialize};

use super::{
    Wallet,
    chain::{At, CallRequest},
    enable::{Step, owner_call},
    error::{Class, Error, Result},
    key::KeyFile,
    model::{Account, ApprovalRecord, Purpose},
    network::Services,
    now,
    operation::{OperationOutcome, Prepared, Tell},
    state::Picture,
};
use crate::kernel::{
    account::{AccountCall, Call, disable_key, enable_key, selector},
    approval::{Approval, EnableData},
    faults::Fault,
    generation::ENTRY_POINT,
    signature::{self, DUMMY_SIGNATURE},
    user_op::UserOperation,
};

/// What a revocation goes through, in this order, as it is told while it runs.
pub const PHASES: [&str; 4] = ["signing", "sending", "waiting for a block", "proving"];

pub struct RevokePlan {
    pub account: Account,
    pub steps: Vec<Step>,
    /// Other keys that cannot act any more when this is done.
    pub also_revokes: Vec<String>,
    /// What stays possible for the holders of these keys.
    pub warnings: Vec<String>,
    pub prepared: Prepared,
    targets: Vec<Target>,
    services: Services,
}

/// A key that is taken back.
pub(super) struct Target {
    pub file: KeyFile,
    /// The approvals this ends.
    pub ends: Vec<ApprovalRecord>,
}

impl RevokePlan {
    pub(super) fn purpose(&self) -> Purpose {
        Purpose::Revoke { key_ids: self.targets.iter().map(|t| t.file.key.id.clone()).collect() }
    }
}

/// Evidence that a key can do nothing any more, read from the chain after the fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    pub key_id: String,
    pub block: u64,
    pub transaction_hash: B256,
    /// What the validator holds for the key: nothing.
    pub session_data: Option<EnableData>,
    pub last_nonce: String,
    pub invalid_nonce: String,
    /// The refusal that the key's own approval gets now.
    pub replay: String,
}

/// What a revocation came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Revoked {
    pub plan: Vec<Step>,
    pub also_revokes: Vec<String>,
    #[serde(flatten)]
    pub operation: OperationOutcome,
    /// Of the key that was named first; `proofs` has all.
    pub proof: Option<Proof>,
    pub proofs: Vec<Proof>,
    /// Why a key that was to end is not proven to have ended. It counts as alive.
    #[serde(skip)]
    pub not_proven: Option<Error>,
}

/// What a burn is called in a plan.
const BURN: &str = "SessionKeyValidator.enable(a key nobody has)";
/// Most calls in one revocation: more would not fit into a block.
const MAX_GAP: usize = 64;

impl Wallet {
    /// The calls that end these keys, and nothing else.
    pub async fn plan_revoke(&self, account: &str, wanted: &[String], max_cost: Option<U256>) -> Result<RevokePlan> {
        let account = self.find_account(account)?;
        let mut files = Vec::with_capacity(wanted.len());
        for name in wanted {
            for file in self.find_keys_of(&account, name)? {
                if !files.iter().any(|f: &KeyFile| f.key.id == file.key.id) {
                    files.push(file);
                }
            }
        }
        let services = self.services_of(&account.network, account.chain_id).await?;
        let known = self.known_keys(&account)?;
        let picture = services.picture(account.address, &known, Some(account.kernel)).await?;
        super::grant::same_account(&account, &picture)?;
        let (calls, steps, targets) = self.revoke_calls(&account, files, &picture)?;
        let warnings = self.still_alive(&account, &targets, &picture)?;
        let also_revokes = self.same_turns(&account, &targets, &picture)?;
        let account_call = owner_call(calls, picture.kernel.is_some_and(|k| k.has_batch()))?;
        let wanted = self.owner_wanted(&account, &picture, &services, account_call.encode(), max_cost)?;
        let prepared = services.prepare(&wanted).await?;
        Ok(RevokePlan { account, steps, also_revokes, warnings, prepared, targets, services })
    }

    /// From a picture of the account to the calls, what each does, and the keys they end.
    pub(super) fn revoke_calls(
        &self,
        account: &Account,
        files: Vec<KeyFile>,
        picture: &Picture,
    ) -> Result<(Vec<Call>, Vec<Step>, Vec<Target>)> {
        let mut burns = std::collections::BTreeMap::new();
        let mut disables = Vec::new();
        let mut targets = Vec::new();
        for file in files {
            let generation = file.key.generation;
            let nonces = picture.nonces(generation);
            let mut ends = Vec::new();
            for approval in &file.approvals {
                let enable = &approval.request.enable;
                if picture.holds(generation, enable) && enable.nonce > nonces.invalid {
                    disables.push((generation, enable.session_key, file.key.label.clone()));
                    ends.push(approval.clone());
                } else if enable.nonce > nonces.last {
                    burns.insert((generation, enable.nonce), file.key.label.clone());
                    ends.push(approval.clone());
                }
            }
            if ends.is_empty() {
                let standing = self.key_view(&file.key, Some(picture))?;
                return Err(Error::failed(
                    "revoke.nothing",
                    format!("{} is {} already: {}", file.key.label, standing.state, standing.state_reason),
                )
                .hint("there is nothing to take back; nothing was sent"));
            }
            targets.push(Target { file, ends });
        }
        let mut calls = Vec::new();
        let mut steps = Vec::new();
        let mut next = std::collections::BTreeMap::new();
        for ((generation, nonce), label) in &burns {
            let turn = next.entry(*generation).or_insert_with(|| picture.nonces(*generation).last.saturating_add(1));
            while *turn < *nonce {
                let turns = self.turns(&account.network, account.address, *generation)?;
                if let Some(who) = turns.get(turn) {
                    return Err(Error::failed(
                        "revoke.order",
                        format!("{label} has turn {nonce}; it can only be burnt after turn {turn} ({who})"),
                    )
                    .hint(format!(
                        "take {who} back in the same command, or enable it first with `keyleash key enable`"
                    )));
                }
                if calls.len() >= MAX_GAP {
                    return Err(Error::failed(
                        "revoke.gap",
                        format!("{label} has turn {nonce}, too far ahead of the account's {turn}"),
                    ));
                }
                calls.push(Call { to: generation.address(), value: U256::ZERO, data: burn(*turn) });
                steps.push(Step {
                    call: BURN.into(),
                    effect: format!(
                        "burns turn {turn}, which nobody on record holds, because it stands before turn {nonce}"
                    ),
                });
                *turn = turn.saturating_add(1);
            }
            calls.push(Call { to: generation.address(), value: U256::ZERO, data: burn(*nonce) });
            steps.push(Step {
                call: BURN.into(),
                effect: format!("burns turn {nonce}, because {label} was never used: its approval can never be enabled; other keys live on"),
            });
            *turn = turn.saturating_add(1);
        }
        for (generation, key, label) in disables {
            calls.push(Call { to: generation.address(), value: U256::ZERO, data: disable_key(key) });
            steps.push(Step {
                call: "SessionKeyValidator.disable".into(),
                effect: format!("deletes {label} ({key}) from the validator; other keys live on"),
            });
        }
        Ok((calls, steps, targets))
    }

    /// Other keys whose approval has a turn that this plan burns.
    fn same_turns(&self, account: &Account, targets: &[Target], picture: &Picture) -> Result<Vec<String>> {
        let mut labels = Vec::new();
        for key in self.store.read(|r| r.keys_of(&account.network, account.address, false))? {
            if targets.iter().any(|t| t.file.key.id == key.id) {
                continue;
            }
            let last = picture.nonces(key.generation).last;
            let burnt = |nonce: u128| {
                nonce > last
                    && targets
                        .iter()
                        .any(|t| t.file.key.generation == key.generation && t.ends.iter().any(|a| a.nonce() == nonce))
            };
            if self.store.read(|r| r.approvals(&key.id))?.iter().any(|a| burnt(a.nonce())) {
                labels.push(key.label);
            }
        }
        Ok(labels)
    }

    /// Other approvals of the same session keys that this plan leaves alone.
    fn still_alive(&self, account: &Account, targets: &[Target], picture: &Picture) -> Result<Vec<String>> {
        let keys = self.store.read(|r| r.keys_of(&account.network, account.address, false))?;
        let mut warnings = Vec::new();
        for key in keys.iter().filter(|k| !targets.iter().any(|t| t.file.key.id == k.id)) {
            let Some(target) = targets.iter().find(|t| t.file.key.session_key == key.session_key) else { continue };
            let view = self.key_view(key, Some(picture))?;
            if view.state.may_act() {
                warnings.push(format!(
                    "the holder of {} has another approval, {} ({}, {}), which lives on; revoke that too, or name the key by its address",
                    target.file.key.label, view.label, view.key_id, view.state
                ));
            }
        }
        Ok(warnings)
    }

    /// Sends the plan and proves it. Mined is not revoked: what counts is what the chain answers afterwards.
    pub async fn execute_revoke(&self, plan: RevokePlan) -> Result<Revoked> {
        self.execute_revoke_telling(plan, &|_| {}).await
    }

    /// The same, and says which of [`PHASES`] it is in.
    pub async fn execute_revoke_telling(&self, plan: RevokePlan, tell: &Tell<'_>) -> Result<Revoked> {
        tell("signing");
        let signature = self.owner_signer(&plan.account)?.sign_message_hash(plan.prepared.user_op_hash)?;
        let purpose = plan.purpose();
        let operation = self
            .execute_operation_telling(&plan.services, plan.prepared, purpose, signature::sudo(&signature), true, tell)
            .await?;
        let mut revoked = Revoked {
            plan: plan.steps,
            also_revokes: plan.also_revokes,
            operation,
            proof: None,
            proofs: Vec::new(),
            not_proven: None,
        };
        if revoked.operation.success == Some(true) {
            tell("proving");
            let proven = self.prove_all(&plan.account, &plan.services, &plan.targets, &revoked.operation).await;
            (revoked.proofs, revoked.not_proven) = proven;
            revoked.proof = revoked.proofs.first().cloned();
        }
        Ok(revoked)
    }

    /// Proves every key of a mined revocation, and only then calls it revoked on record. Answers what was proven, and the
    /// first reason why something was not.
    pub(super) async fn prove_all(
        &self,
        account: &Account,
        services: &Services,
        targets: &[Target],
        operation: &OperationOutcome,
    ) -> (Vec<Proof>, Option<Error>) {
        let transaction_hash = operation.transaction_hash.unwrap_or_default();
        let mut proofs = Vec::with_capacity(targets.len());
        let mut not_proven = None;
        for target in targets {
            let proven = self.prove(account, services, target, transaction_hash).await.and_then(|proof| {
                let mut key = target.file.key.clone();
                key.revoked_at = Some(now());
                self.store.write(|w| {
                    w.put_key(&key)?;
                    w.put_proof(&key.id, now(), &proof)
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

    /// Reads back what the validator holds, and replays the key's own approval.
    async fn prove(
        &self,
        account: &Account,
        services: &Services,
        target: &Target,
        transaction_hash: B256,
    ) -> Result<Proof> {
        let key = &target.file.key;
        let not_proven = |what: String| {
            Error::failed("revoke.not_proven", format!("the revocation of {} was mined, but {what}", key.label))
                .hint("treat the key as alive, and run revoke again")
        };
        let picture = services.picture(account.address, &[key.session_key], Some(account.kernel)).await?;
        let nonces = picture.nonces(key.generation);
        let mut replay = String::new();
        for approval in &target.ends {
            let enable = &approval.request.enable;
            if picture.holds(key.generation, enable) && enable.nonce > nonces.invalid {
                return Err(not_proven("the validator still holds the key".into()));
            }
            if enable.nonce > nonces.last.max(nonces.invalid) {
                return Err(not_proven(format!("turn {} can still be enabled", enable.nonce)));
            }
            if approval.signature.is_none() {
                replay = format!("never signed here; turn {} is over", enable.nonce);
                continue;
            }
            // Another approval of the same key may live on: then using the key is no test of this one.
            let used_up = !picture.sessions.contains_key(&(key.generation, key.session_key));
            let mut refusals = Vec::new();
            for (attempt, answer) in services.replay(approval, picture.block, used_up).await? {
                match answer {
                    Fault::ApprovalNonce => refusals.push(format!("SessionKeyValidator: invalid nonce ({attempt})")),
                    Fault::NotEnabled => {
                        refusals.push(format!("SessionKeyValidator: session key not enabled ({attempt})"))
                    }
                    other => return Err(not_proven(format!("replaying its approval answers: {other}"))),
                }
            }
            replay = refusals.join("; ");
        }
        if replay.is_empty() {
            return Err(not_proven("there was no approval of it to replay".into()));
        }
        Ok(Proof {
            key_id: key.id.clone(),
            block: picture.block,
            transaction_hash,
            session_data: picture.sessions.get(&(key.generation, key.session_key)).copied(),
            last_nonce: nonces.last.to_string(),
            invalid_nonce: nonces.invalid.to_string(),
            replay,
        })
    }
}

/// `enable` of a key nobody has, with a scope that allows nothing and ended in 1970: uses the nonce up.
fn burn(nonce: u128) -> Bytes {
    let dead = EnableData {
        session_key: Address::repeat_byte(0xde),
        merkle_root: B256::repeat_byte(0xde),
        valid_after: 0,
        valid_until: 1,
        paymaster: Address::ZERO,
        nonce,
    };
    enable_key(&dead.encode())
}

impl Services {
    /// What the account answers to the approval's own holder now: as an enabling operation, and as one of an enabled key.
    async fn replay(
        &self,
        approval: &ApprovalRecord,
        block: u64,
        as_enabled: bool,
    ) -> Result<Vec<(&'static str, Fault)>> {
        let request = &approval.request;
        let session = signature::session(request.enable.session_key, &DUMMY_SIGNATURE, &[]);
        let signed = Approval { request: request.clone(), signature: approval.signature.clone().unwrap_or_default() };
        let call_data = match request.selector {
            selector::EXECUTE_BATCH => AccountCall::ExecuteBatch(vec![Call::default()]),
            selector::EXECUTE_DELEGATE_CALL => {
                AccountCall::ExecuteDelegateCall { to: Address::ZERO, data: Bytes::new() }
            }
            _ => AccountCall::Execute(Call::default()),
        }
        .encode();
        let mut answers = Vec::new();
        let mut modes = vec![("enabling it", signature::enable_and_use(&signed, &session))];
        // Without a route there is nothing that an enabled key could go through.
        let picture = self.picture(request.account, &[], None).await?;
        if as_enabled && picture.route(request.selector).is_some() {
            modes.push(("using it", signature::use_enabled(&session)));
        }
        for (attempt, signature) in modes {
            let user_op = UserOperation {
                sender: request.account,
                call_data: call_data.clone(),
                signature,
                ..UserOperation::default()
            };
            let hash = user_op.hash(ENTRY_POINT, request.chain_id);
            let call = CallRequest {
                from: Some(ENTRY_POINT),
                ..CallRequest::new(request.account, crate::kernel::account::validate_user_op(&user_op, hash))
            };
            match self.node.call("Kernel.validateUserOp", &call, At::Block(block)).await {
                Ok(_) => answers.push((attempt, Fault::SignatureRefused)),
                Err(error) => answers.push((
                    attempt,
                    reverted_validation(&error).ok_or_else(|| {
                        Error::new(
                            Class::Chain,
                            "chain.replay",
                            format!("the replay of the approval was not answered: {error}"),
                        )
                    })?,
                )),
            }
        }
        Ok(answers)
    }
}

/// The validator's text in a reverted call of the account's own validation.
fn reverted_validation(error: &super::chain::ChainError) -> Option<Fault> {
    use crate::kernel::faults::Revert;
    match error.fault()? {
        Fault::CallReverts(Revert::Text(text)) => Some(Fault::from_entry_point(&format!("AA23 reverted: {text}"))),
        Fault::CallReverts(_) => Some(Fault::ValidationSilent),
        other => Some(other),
    }
}

//! Proof that a key has lost its power: the same attempts, before and after.
//!
//! What counts is a change (docs/kernel-v2.md#revoking): an attempt that would have passed but for our missing session signature (or got as
//! far as the key's own scope) and is now refused because the turn is over or the key is not enabled. A refusal alone proves
//! nothing: AA24 is what any wrong signature gets.
//!
//! What a proof stands on is the node's own word, and said so: the transaction's receipt, with the EntryPoint's event for the
//! operation in it, in a block after the plan's; the block that everything was read at, with its hash; and how final that is.

use std::time::Duration;

use alloy::primitives::{Address, B256};
use serde::{Deserialize, Serialize};

use super::second_node::{Replays, SecondNode, SecondView};
use crate::{
    erc4337::v06::ENTRY_POINT,
    protocol::{
        family::{
            revocation::{Before, Evidence, Held, Subject},
            snapshot::Snapshot,
        },
        probe::{Probe, ProbeResult, Waited},
    },
    wallet::{
        Wallet,
        coin::Coin,
        error::{Class, Error, Kind, Result},
        now,
        records::model::{Account, Carrier},
        rpc::{At, CallRequest, outcome_in, services::Services},
        submit::operation::OperationOutcome,
    },
};

/// Evidence that a key can do nothing any more, read from the chain after the fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    pub key_id: String,
    pub block: u64,
    pub transaction_hash: B256,
    /// What the validator stores for the key's address: nothing after `disable`. An invalidation leaves it there, under a nonce
    /// that is invalid.
    pub session_data: Option<Held>,
    pub last_nonce: String,
    pub invalid_nonce: String,
    /// The refusals that the key's own approvals get now.
    pub replay: String,
    /// What the same attempts were answered before.
    #[serde(default)]
    pub before: String,
    #[serde(default)]
    pub before_block: u64,
    /// The validator would take the approval again if the owner set its nonces back.
    #[serde(default = "yes")]
    pub can_return: bool,
    /// What was tried, with its answers before and after.
    #[serde(default)]
    pub attempts: Vec<Tried>,
    #[serde(flatten)]
    pub ground: Ground,
}

/// Of a proof that does not say: the cautious answer.
const fn yes() -> bool {
    true
}

/// One attempt to use what a key's holder has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    pub attempt: String,
    /// What it would have done.
    pub would: String,
    pub before: String,
    pub after: String,
}

/// What a proof stands on. A proof of an earlier version of keyleash has nothing of it on record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ground {
    /// Of the block that the proof was read at.
    pub block_hash: Option<B256>,
    /// Who told it: scheme, host and port of the node.
    pub node: String,
    /// How firm that block is; `None` where the node does not say.
    pub tag: Option<BlockTag>,
    /// The block of the transaction, by its receipt.
    pub receipt_block: Option<u64>,
    pub second_node: Option<SecondNode>,
}

/// How firm a block is, in the words of JSON-RPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlockTag {
    Latest,
    Safe,
    Finalized,
}

impl Ground {
    /// Who told the proof at `block`, and how final it is.
    pub fn words(&self, block: u64) -> String {
        if self.node.is_empty() {
            return "which node told it is not on record".to_owned();
        }
        let firm = match self.tag {
            Some(BlockTag::Finalized) => "final".to_owned(),
            Some(BlockTag::Safe) => format!("safe, and not final until block {block} is finalized"),
            Some(BlockTag::Latest) => format!("not final until block {block} is finalized"),
            None => "this node does not say which blocks are final".to_owned(),
        };
        let second = self.second_node.as_ref().map_or_else(String::new, |second| format!("; {second}"));
        format!("as told by {}; {firm}{second}", self.node)
    }
}

/// Evidence that the panic is on: no session key can act, whatever it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    pub block: u64,
    pub transaction_hash: B256,
    /// As the account answers it.
    pub disabled_mode: u32,
    #[serde(flatten)]
    pub ground: Ground,
}

/// A mined transaction, as the node itself tells it.
#[derive(Debug, Clone, Copy)]
pub(in crate::wallet) struct Mined {
    pub block: u64,
    block_hash: B256,
    transaction: B256,
}

/// A key that is revoked.
#[derive(Debug, Clone)]
pub(in crate::wallet) struct Target {
    /// Its id on record, or its address when it is known by that only.
    pub id: String,
    pub label: String,
    pub session_key: Address,
    /// What of it ends.
    pub subjects: Vec<Subject>,
}

/// An approval that was judged over, and goes through all the same.
struct Alive {
    label: String,
    subject: Subject,
    uses: bool,
    tried: &'static str,
    result: ProbeResult,
}

/// What the probes with one approval were answered while the key had its power, and what the state said of it.
#[derive(Debug, Clone)]
pub(in crate::wallet) struct Control {
    before: Before,
    results: Vec<ProbeResult>,
}

/// Keys that are about to end, each with a control for each of its approvals.
pub(in crate::wallet) type Watched = Vec<(Target, Vec<Control>)>;

/// The block that the controls were taken at.
pub(in crate::wallet) fn planned_at(watched: &Watched) -> Option<u64> {
    watched.iter().flat_map(|(_, controls)| controls.iter().map(|c| c.before.block())).max()
}

const NEEDS: &str = "treat the key as still active, and run revoke again";

/// How often a receipt is asked for: behind a load balancer the next machine may lag.
const LOOKS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(400);

impl Target {
    fn probes(&self, account: &Account) -> Vec<Vec<Probe>> {
        let coin = Coin::of(account.chain_id);
        self.subjects.iter().map(|s| s.probes(account.address, account.chain_id, coin.symbol())).collect()
    }
}

/// Probes of several approvals with what each was answered.
pub(in crate::wallet) fn all_probes<'a>(
    account: &Account,
    targets: impl Iterator<Item = &'a Target>,
) -> Vec<Vec<Probe>> {
    targets.flat_map(|target| target.probes(account)).collect()
}

impl Services {
    /// All probes in one go. One that is not answered proves nothing, either way.
    pub(in crate::wallet) async fn try_all(&self, probes: &[Vec<Probe>], at: At) -> Vec<Vec<ProbeResult>> {
        let request = |p: &Probe| CallRequest { from: Some(p.from), ..CallRequest::new(p.to, p.data.clone()) };
        let requests: Vec<CallRequest> = probes.iter().flatten().map(request).collect();
        let answers = self.node.call_each("a replay", &requests, at).await;
        let mut results = answers.into_iter().map(|answer| match answer {
            Ok(_) => ProbeResult::Passes,
            Err(error) => ProbeResult::refused(error.fault()),
        });
        probes.iter().map(|list| list.iter().map(|_| results.next().unwrap_or(ProbeResult::Silent)).collect()).collect()
    }

    /// Tries each approval of each target while it should still have its power.
    pub(in crate::wallet) async fn watch(
        &self,
        account: &Account,
        targets: Vec<Target>,
        picture: &Snapshot,
    ) -> Watched {
        let probes = all_probes(account, targets.iter());
        let mut results = self.try_all(&probes, At::Block(picture.block())).await.into_iter();
        let mut watched = Vec::with_capacity(targets.len());
        for target in targets {
            let control = |subject: &Subject| Control {
                before: subject.before(picture),
                results: results.next().unwrap_or_default(),
            };
            let controls = target.subjects.iter().map(control).collect();
            watched.push((target, controls));
        }
        watched
    }

    /// Tries what a picture says is over. One read is no evidence that a key is dead: what goes through all the same is.
    async fn alive_though_over(&self, account: &Account, over: &[Target], picture: &Snapshot) -> Vec<Alive> {
        let probes = all_probes(account, over.iter());
        let results = self.try_all(&probes, At::Block(picture.block())).await;
        let tried = over.iter().flat_map(|target| target.subjects.iter().map(move |subject| (target, subject)));
        let mut alive = Vec::new();
        for ((target, subject), (probes, results)) in tried.zip(probes.iter().zip(results)) {
            for (probe, result) in probes.iter().zip(results) {
                if result.is_alive() && subject.is_tested_by(probe, picture) {
                    alive.push(Alive {
                        label: target.label.clone(),
                        subject: subject.clone(),
                        uses: probe.uses,
                        tried: probe.name,
                        result,
                    });
                }
            }
        }
        alive
    }

    /// Before a plan: what is judged over is tried as well. Where the node contradicts itself, the worse of its answers goes into
    /// the picture, so that a revocation ends it; and no claim is made of what it says.
    pub(in crate::wallet) async fn try_over(
        &self,
        account: &Account,
        over: &[Target],
        picture: &mut Snapshot,
    ) -> Option<Error> {
        let alive = self.alive_though_over(account, over, picture).await;
        let contradiction = self.contradiction(&alive)?;
        for Alive { subject, uses, .. } in &alive {
            subject.treat_as_live(*uses, picture);
        }
        Some(contradiction)
    }

    /// After a revocation: what needed nothing before is tried once more in the state that it left.
    pub(in crate::wallet) async fn still_over(&self, account: &Account, over: &[Target], block: u64) -> Option<Error> {
        if over.is_empty() {
            return None;
        }
        let keys: Vec<Address> = over.iter().map(|t| t.session_key).collect();
        match self.snapshot_from(&account.wanted(&keys), block).await {
            Ok(picture) => self.contradiction(&self.alive_though_over(account, over, &picture).await),
            Err(error) => {
                let message = format!("it was mined, but could not be read back: {}", error.message);
                Some(Error { message, ..error })
            }
        }
    }

    fn contradiction(&self, alive: &[Alive]) -> Option<Error> {
        let Alive { label, tried, result, .. } = alive.first()?;
        let message = format!(
            "not proven: {} contradicts itself about {label}: by what it reads from the validator the key is over, and an \
             attempt to {tried} {result}",
            self.origin()
        );
        let hint = "treat the key as still active; ask another node (`network add` with another --rpc), and until then stop every \
                    key with `keyleash revoke ACCOUNT --panic`";
        Some(Error::new(Class::Chain, "chain.contradiction", message).of(Kind::Contradiction).hint(hint))
    }

    /// What a proof that was read at `block` stands on. Asked last: a chain that was rewritten meanwhile shows now.
    async fn ground(&self, mined: &Mined, block: u64) -> Result<Ground> {
        let blocks = self.node.blocks(&[mined.block, block]).await?;
        let [Some(of_receipt), Some(of_proof)] = blocks.as_slice() else {
            let message = format!("{} does not have block {block}, of which it told", self.origin());
            return Err(Error::new(Class::Chain, "chain.contradiction", message).of(Kind::Contradiction).hint(NEEDS));
        };
        if of_receipt.hash != mined.block_hash {
            let message = format!(
                "not proven: by its receipt the transaction is in block {} with the hash {}, and by {} that block has the hash {}",
                mined.block,
                mined.block_hash,
                self.origin(),
                of_receipt.hash
            );
            return Err(Error::new(Class::Chain, "chain.contradiction", message)
                .of(Kind::Contradiction)
                .hint("the chain was rewritten meanwhile, or the node is wrong: follow it with `keyleash status`"));
        }
        Ok(Ground {
            block_hash: Some(of_proof.hash),
            node: self.origin(),
            tag: self.firmness(block).await,
            receipt_block: Some(mined.block),
            second_node: None,
        })
    }

    /// How firm a block is now; `None` where the node knows no such tags.
    async fn firmness(&self, block: u64) -> Option<BlockTag> {
        let heads = self.node.heads().await;
        match (heads.finalized, heads.safe) {
            (None, None) => None,
            (Some(finalized), _) if finalized >= block => Some(BlockTag::Finalized),
            (_, Some(safe)) if safe >= block => Some(BlockTag::Safe),
            _ => Some(BlockTag::Latest),
        }
    }
}

impl Wallet {
    /// What was proven about a key on record, in the order in which it was.
    pub fn proofs(&self, key: &str) -> Result<Vec<Proof>> {
        let id = self.find_key(key)?.key.id;
        self.store.read(|r| r.proofs(&id))
    }

    /// These keys with controls from a picture taken before they end.
    pub(in crate::wallet) async fn watch(
        &self,
        account: &Account,
        services: &Services,
        key_ids: &[String],
        picture: &Snapshot,
    ) -> Result<Watched> {
        Ok(services.watch(account, self.targets_of(account, key_ids, picture)?, picture).await)
    }

    /// The same at the block before the one that took them back, for an operation that is found again. Nodes that keep no
    /// earlier state cannot tell.
    pub(in crate::wallet) async fn watched_before(
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
        let picture = services.snapshot_at(&account.wanted(&keys), before).await?;
        self.watch(account, services, key_ids, &picture).await
    }

    /// The transaction of an operation as the node itself tells it, not as the bundler does: in a block after `planned`, and
    /// with the EntryPoint's event that says that the operation went through.
    pub(in crate::wallet) async fn mined(
        &self,
        services: &Services,
        account: Address,
        operation: &OperationOutcome,
        planned: Option<u64>,
    ) -> Result<Mined> {
        let node = services.origin();
        let not_proven = |what: String| Error::failed("revoke.not_proven", format!("not proven: {what}")).hint(NEEDS);
        let Some(transaction) = operation.transaction_hash else {
            return Err(not_proven("the operation is in no transaction".into()));
        };
        let mut receipt = None;
        for look in 0..LOOKS {
            if look > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            receipt = services.node.receipt(transaction).await?;
            if receipt.is_some() {
                break;
            }
        }
        let Some(receipt) = receipt else {
            let what = format!("{node} knows no transaction {transaction}, in which the operation is said to be");
            return Err(not_proven(what));
        };
        let record = self.store.read(|r| r.operation(operation.user_op_hash))?;
        let carried = match record.map(|record| record.carrier) {
            Some(Carrier::UserOp(_)) => Some(operation.user_op_hash),
            Some(Carrier::Transaction(sent)) => sent.carries,
            None => Some(operation.user_op_hash).filter(|hash| *hash != transaction),
        };
        match carried.map(|hash| outcome_in(&receipt.logs, ENTRY_POINT, hash)) {
            Some(None) => {
                return Err(not_proven(format!(
                    "by {node} the transaction {transaction} has no event of the EntryPoint for our operation"
                )));
            }
            Some(Some(outcome)) if !outcome.success || outcome.sender != account => {
                return Err(not_proven(format!("by {node} the operation in {transaction} did not go through")));
            }
            Some(Some(_)) => {}
            None if !receipt.success => {
                return Err(not_proven(format!("by {node} the transaction {transaction} failed")));
            }
            None => {}
        }
        if let Some(planned) = planned.filter(|planned| receipt.block_number <= *planned) {
            let message = format!(
                "not proven: {node} says that the transaction {transaction} is in block {}, and it was planned at block {planned}",
                receipt.block_number
            );
            return Err(Error::new(Class::Chain, "chain.contradiction", message).of(Kind::Contradiction).hint(NEEDS));
        }
        Ok(Mined { block: receipt.block_number, block_hash: receipt.block_hash, transaction })
    }

    /// Proves every key of a mined revocation, and only then calls it revoked on record. Answers what was proven, and the
    /// first reason why something was not.
    pub(in crate::wallet) async fn prove_all(
        &self,
        account: &Account,
        services: &Services,
        watched: &Watched,
        mined: &Mined,
    ) -> (Vec<Proof>, Option<Error>) {
        match self.proven(account, services, watched, mined).await {
            Ok(proven) => proven,
            Err(error) => (Vec::new(), Some(error)),
        }
    }

    async fn proven(
        &self,
        account: &Account,
        services: &Services,
        watched: &Watched,
        mined: &Mined,
    ) -> Result<(Vec<Proof>, Option<Error>)> {
        let unread = |error: Error| {
            let message = format!("it was mined, but could not be read back: {}", error.message);
            Error { message, ..error }
        };
        let keys: Vec<Address> = watched.iter().map(|(t, _)| t.session_key).collect();
        let picture = services.snapshot_from(&account.wanted(&keys), mined.block).await.map_err(unread)?;
        if let Some(contradiction) = services.contradiction_in(&account.wanted(&keys), &picture).await {
            return Err(Error { message: format!("not proven: {}", contradiction.message), ..contradiction });
        }
        let probes = all_probes(account, watched.iter().map(|(target, _)| target));
        let results = services.try_all(&probes, At::Block(picture.block())).await;
        let replays = Replays { probes: &probes, results: &results };
        let second = services.second_view(&account.wanted(&keys), &picture, mined.block, Some(replays)).await;
        let mut ground = match services.ground(mined, picture.block()).await {
            Ok(ground) => ground,
            Err(error) if error.kind == Kind::Contradiction => return Err(error),
            Err(error) => return Err(unread(error)),
        };
        match second {
            SecondView::None => {}
            SecondView::Said(second) => ground.second_node = Some(second),
            SecondView::Differs(disagreement) => return Err(disagreement.error("not proven")),
        }
        let mut proofs = Vec::with_capacity(watched.len());
        let mut not_proven = None;
        let mut results = results.into_iter();
        for (target, controls) in watched {
            let after: Vec<Vec<ProbeResult>> = results.by_ref().take(target.subjects.len()).collect();
            let proven = prove(account, target, controls, &after, &picture, mined, &ground).and_then(|proof| {
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
        Ok((proofs, not_proven))
    }

    /// Reads a proof of before once more: whether the keys are still without power, in the chain that the proof was read from.
    /// The proofs learn how firm their block is by now. Answers why they do not hold any more.
    pub(in crate::wallet) async fn read_again(
        &self,
        account: &Account,
        services: &Services,
        key_ids: &[String],
        proofs: &mut [Proof],
    ) -> Result<Option<Error>> {
        let block = proofs.iter().map(|p| p.block).max().unwrap_or_default();
        let unread = |error: Error| Error {
            message: format!("proven at block {block}, and what holds now could not be read: {}", error.message),
            ..error
        };
        let mut keys = self.known_keys(account)?;
        keys.extend(key_ids.iter().filter_map(|id| id.parse::<Address>().ok()));
        let picture = services.snapshot_from(&account.wanted(&keys), block).await.map_err(unread)?;
        if let SecondView::Differs(disagreement) = services.second_view(&account.wanted(&keys), &picture, 0, None).await
        {
            return Ok(Some(disagreement.error("not proven any more")));
        }
        for proof in proofs.iter_mut() {
            let now = services.node.block(proof.block).await.map_err(|error| unread(error.into()))?;
            if proof.ground.block_hash.is_some_and(|hash| hash != now.hash) {
                let message = format!(
                    "not proven any more: the proof was read at block {} with the hash {}, and by {} that block has the hash {} now",
                    proof.block,
                    proof.ground.block_hash.unwrap_or_default(),
                    services.origin(),
                    now.hash
                );
                return Ok(Some(
                    Error::failed("revoke.not_proven", message)
                        .hint("the chain was rewritten: run revoke again, it says whether anything is left"),
                ));
            }
            proof.ground.tag = services.firmness(proof.block).await;
        }
        let back = self.targets_of(account, key_ids, &picture)?;
        if !back.is_empty() {
            let labels: Vec<&str> = back.iter().map(|target| target.label.as_str()).collect();
            let labels = labels.join(", ");
            let message = format!(
                "R37: {labels} was proven revoked at block {block}, and can act again: by block {} its approval is enabled or its \
                 nonce is free (the nonces were set back)",
                picture.block()
            );
            return Ok(Some(Error::failed("revoke.can_return", message).hint(format!("revoke again: {labels}"))));
        }
        let over = self.over_of(account, key_ids, &picture)?;
        Ok(services.contradiction(&services.alive_though_over(account, &over, &picture).await))
    }

    /// Whether a pause that was proven is still on.
    pub(in crate::wallet) async fn still_paused(
        &self,
        account: &Account,
        services: &Services,
        paused: &Paused,
    ) -> Option<Error> {
        match services.pause(account.family(), account.address, At::Latest).await {
            Ok(pause) if pause.stops_every_key() => None,
            Ok(pause) => {
                let block = paused.block;
                let message =
                    format!("it was paused at block {block}, and is not any more: the account answers mode {pause}");
                Some(
                    Error::failed("revoke.unpaused", message)
                        .hint("keys that were not ended can act: see `keyleash key ls`"),
                )
            }
            Err(error) => Some(error),
        }
    }

    /// Reads back that the panic is on, and nothing else: that must work when little else does.
    pub(in crate::wallet) async fn prove_paused(
        &self,
        account: &Account,
        services: &Services,
        mined: &Mined,
    ) -> Result<Paused> {
        let block = mined.block;
        let unread = |error: Error| Error {
            message: format!("the pause was mined, but could not be read back: {}", error.message),
            ..error
        };
        let pause = services.pause(account.family(), account.address, At::Block(block)).await.map_err(unread)?;
        if !pause.stops_every_key() {
            return Err(Error::failed(
                "revoke.not_proven",
                format!("the pause was mined, but the account answers mode {pause}"),
            )
            .hint("treat every key as still active, and try again"));
        }
        let second_node = services.second_pause((account.family(), account.address), pause, block).await?;
        let ground = Ground { second_node, ..services.ground(mined, block).await.map_err(unread)? };
        Ok(Paused { block, transaction_hash: mined.transaction, disabled_mode: pause.0, ground })
    }
}

/// Compares what the state says, and what the probes are answered, with what it was before.
fn prove(
    account: &Account,
    target: &Target,
    controls: &[Control],
    results_now: &[Vec<ProbeResult>],
    picture: &Snapshot,
    mined: &Mined,
    ground: &Ground,
) -> Result<Proof> {
    let not_proven = |what: String| {
        Error::failed("revoke.not_proven", format!("the revocation of {} was mined, but {what}", target.label))
            .hint(NEEDS)
    };
    let Some(Evidence { session_data, last_nonce, invalid_nonce }) =
        target.subjects.first().map(|subject| subject.evidence(picture))
    else {
        return Err(not_proven("there was no approval of it to try before and after".into()));
    };
    if target.subjects.len() != controls.len() {
        return Err(not_proven("there was no approval of it to try before and after".into()));
    }
    let mut tries = Vec::new();
    let mut can_return = false;
    for (((subject, probes), control), results) in
        target.subjects.iter().zip(target.probes(account)).zip(controls).zip(results_now)
    {
        if let Some(what) = subject.still_stands(picture) {
            return Err(not_proven(what));
        }
        can_return |= subject.may_return(picture);
        let mut changed = false;
        for ((probe, old), new) in probes.iter().zip(&control.results).zip(results) {
            // Where another approval of the key is enabled, using the key is no test of this one.
            if !old.is_alive() || probe.uses && !control.before.held() {
                continue;
            }
            if !matches!(new, ProbeResult::Dead(_)) {
                return Err(not_proven(format!("an attempt to {} is answered: {new}", probe.name)));
            }
            changed = true;
            tries.push(Tried {
                attempt: probe.name.into(),
                would: probe.would.clone(),
                before: old.to_string(),
                after: format!("{REFUSED}{new}"),
            });
        }
        match subject.waited(&control.before) {
            Some(Waited { attempt, before, after }) if !changed => tries.push(Tried {
                attempt,
                would: "enables the key".into(),
                before,
                after: format!("{REFUSED}{after}"),
            }),
            None if !changed => {
                return Err(not_proven(format!(
                    "nothing that was tried before it (at block {}) would have passed, so a refusal now proves nothing",
                    control.before.block()
                )));
            }
            _ => {}
        }
    }
    let after = |tried: &Tried| tried.after.strip_prefix(REFUSED).unwrap_or(&tried.after).to_owned();
    Ok(Proof {
        key_id: target.id.clone(),
        block: picture.block(),
        transaction_hash: mined.transaction,
        session_data,
        last_nonce,
        invalid_nonce,
        replay: grouped(tries.iter().map(|tried| (after(tried), tried.attempt.as_str()))),
        before: grouped(tries.iter().map(|tried| (tried.before.clone(), tried.attempt.as_str()))),
        before_block: controls.iter().map(|c| c.before.block()).min().unwrap_or_default(),
        can_return,
        attempts: tries,
        ground: ground.clone(),
    })
}

const REFUSED: &str = "refused: ";

/// Each answer once, with everything that it was given to.
fn grouped<'a>(answers: impl Iterator<Item = (String, &'a str)>) -> String {
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    for (answer, attempt) in answers {
        match groups.iter_mut().find(|(known, _)| *known == answer) {
            Some((_, attempts)) if attempts.contains(&attempt) => {}
            Some((_, attempts)) => attempts.push(attempt),
            None => groups.push((answer, vec![attempt])),
        }
    }
    let groups: Vec<String> =
        groups.iter().map(|(answer, attempts)| format!("{answer} (tried: {})", attempts.join("; "))).collect();
    groups.join("; ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use alloy::primitives::U256;

    use super::*;
    use crate::{
        erc4337::faults::Fault,
        protocol::kernel_v2::{
            approval::EnableData,
            generation::{ECDSA_VALIDATOR, Generation, KernelVersion},
            probe as kernel_v2,
            revocation::Nonces,
            snapshot,
        },
    };

    type Case = (Target, Vec<Control>, Vec<Vec<ProbeResult>>, Snapshot);

    /// As the keyleash of 22 November wrote it.
    const OLD: &str = r#"{"key_id":"k","block":7,"transaction_hash":"0x0000000000000000000000000000000000000000000000000000000000000001",
        "session_data":null,"last_nonce":"1","invalid_nonce":"0","replay":"SessionKeyValidator: invalid nonce"}"#;

    #[test]
    fn k5_a_proof_of_an_earlier_version_is_read_and_claims_no_more_than_it_has() {
        let proof: Proof = serde_json::from_str(OLD).unwrap();
        assert!(proof.can_return);
        assert_eq!(proof.ground, Ground::default());
        assert_eq!(proof.ground.words(7), "which node told it is not on record");
        let again: Proof = serde_json::from_str(&serde_json::to_string(&proof).unwrap()).unwrap();
        assert_eq!(again, proof);
    }

    #[test]
    fn k5_a_proof_with_what_the_validator_still_stores_is_read_back_as_it_was_written() {
        let enable = EnableData {
            session_key: Address::repeat_byte(2),
            merkle_root: B256::repeat_byte(1),
            valid_after: 0,
            valid_until: 0,
            paymaster: Address::ZERO,
            nonce: u128::MAX,
        };
        let proof = Proof { session_data: Some(Held::KernelV2(enable)), ..serde_json::from_str(OLD).unwrap() };
        let again: Proof = serde_json::from_str(&serde_json::to_string(&proof).unwrap()).unwrap();
        assert_eq!(again, proof);
    }

    #[test]
    fn k5_a_proof_says_who_told_it_and_when_it_is_final() {
        let ground = |tag| Ground { node: "http://127.0.0.1:8545".into(), tag, ..Ground::default() };
        let words = |tag| ground(tag).words(111);
        assert_eq!(words(Some(BlockTag::Finalized)), "as told by http://127.0.0.1:8545; final");
        let latest = "as told by http://127.0.0.1:8545; not final until block 111 is finalized";
        assert_eq!(words(Some(BlockTag::Latest)), latest);
        assert!(words(Some(BlockTag::Safe)).contains("safe, and not final until block 111"));
        assert!(words(None).contains("does not say"));
    }

    #[test]
    fn a14_an_answer_is_said_once_with_everything_that_got_it() {
        let answers = [("yes", "enable it"), ("yes", "use it"), ("no", "enable it"), ("yes", "use it")];
        let answers = answers.map(|(answer, tried)| (answer.to_owned(), tried));
        assert_eq!(grouped(answers.into_iter()), "yes (tried: enable it; use it); no (tried: enable it)");
    }

    /// A key that was enabled on turn 2, and one that waited for it; both over by now.
    fn ended(held: bool) -> Case {
        let enable = EnableData {
            session_key: Address::repeat_byte(2),
            merkle_root: B256::repeat_byte(1),
            valid_after: 0,
            valid_until: 0,
            paymaster: Address::ZERO,
            nonce: 2,
        };
        let target = Target {
            id: "k".into(),
            label: "bot".into(),
            session_key: enable.session_key,
            subjects: vec![Subject::KernelV2(kernel_v2::Subject::held(Generation::G2, enable, None))],
        };
        // Without the approval three things can be tried: using it, enabling it, using it as the validator is asked.
        let over = || ProbeResult::Dead(Fault::ApprovalNonce);
        let before = match held {
            true => vec![ProbeResult::Passes, over(), ProbeResult::Passes],
            false => vec![over(), ProbeResult::Passes, over()],
        };
        let was = kernel_v2::Before { block: 6, last_nonce: if held { 2 } else { 1 }, held };
        let control = Control { before: Before::KernelV2(was), results: before };
        let picture = snapshot::Snapshot {
            block: 7,
            timestamp: 1_000,
            deployed: true,
            implementation: Some(KernelVersion::V0_2_4.implementation()),
            kernel: Some(KernelVersion::V0_2_4),
            owner: Some(Address::repeat_byte(1)),
            default_validator: Some(ECDSA_VALIDATOR),
            known_proxy: true,
            balance: U256::ZERO,
            deposit: U256::ZERO,
            disabled_mode: 0,
            routes: BTreeMap::new(),
            nonces: [(Generation::G2, Nonces { last: 2, invalid: 0 })].into(),
            sessions: BTreeMap::new(),
            statuses: BTreeMap::new(),
        };
        (target, vec![control], vec![vec![over(), over(), over()]], picture.into())
    }

    fn proven((target, controls, answers, picture): &Case) -> Result<Proof> {
        let account = Account {
            network: "local".into(),
            chain_id: 31_337,
            address: Address::repeat_byte(3),
            name: "treasury".into(),
            owner: Address::repeat_byte(1),
            owner_secret: None,
            seed: None,
            kernel: KernelVersion::V0_2_4.into(),
            created_at: 0,
        };
        let mined = Mined { block: 7, block_hash: B256::ZERO, transaction: B256::ZERO };
        prove(&account, target, controls, answers, picture, &mined, &Ground::default())
    }

    #[test]
    fn a_proof_needs_a_change_and_refuses_whatever_still_stands() {
        for held in [true, false] {
            let case = ended(held);
            assert!(proven(&case).is_ok(), "{:?}", proven(&case));
            let refused = |what: &str, change: &dyn Fn(&mut Case)| {
                let mut case = ended(held);
                change(&mut case);
                let error = proven(&case).unwrap_err();
                assert!(error.code == "revoke.not_proven" && error.message.contains(what), "{held}: {error:?}");
            };
            let nonces = |last| [(Generation::G2, Nonces { last, invalid: 0 })].into();
            refused("nonce 2 can still be enabled", &|case| case.3.kernel_v2_mut().nonces = nonces(1));
            refused("still holds the key", &|case| {
                let Subject::KernelV2(subject) = &case.0.subjects[0];
                let enable = subject.enable;
                case.3.kernel_v2_mut().sessions.insert((Generation::G2, enable.session_key), enable);
            });
            // Whatever would have passed before has to be refused for the turn, or because the key is not enabled.
            let alive = usize::from(!held);
            for answer in [ProbeResult::Passes, ProbeResult::Silent, ProbeResult::Scope(Fault::TargetMismatch)] {
                refused("is answered", &move |case| case.2[0][alive] = answer.clone());
            }
            refused("proves nothing", &|case| case.1[0].results = case.2[0].clone());
        }
    }
}

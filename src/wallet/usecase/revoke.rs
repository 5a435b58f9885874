//! Revoking: the plan in words, the route it is sent by, and the proof.
//!
//! What is right is decided by the account's family (`protocol`), from one snapshot of the account. Here the account's records
//! become what that needs, and its answer becomes calls that are priced, sent, followed and proven. Mined is not revoked.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::{Address, U256};
use serde::Serialize;

use super::{
    control::{Power, Reach},
    enable::one_operation,
    key::KeyFile,
    proof::{Mined, Paused, Proof, Target, Watched},
    scan::ScanOptions,
    second_node::SecondView,
};
pub use crate::protocol::power::Remaining;
use crate::{
    protocol::{
        AccountCall, ApprovalId, Call, Step,
        family::{
            revocation::{ApprovalBook, Expected, Subject, way_back},
            snapshot::Snapshot,
            status::unexplained,
        },
        revocation::{Holding, Refusal, RevokeTarget, Unmet, labels},
    },
    wallet::{
        Wallet,
        error::{Class, Error, Kind, Result},
        records::model::{Account, ApprovalRecord, Extent, Origin, Purpose},
        rpc::{At, services::Services},
        state::{DRAFT, State},
        submit::{
            operation::OperationOutcome,
            printed::{PrintedCall, printed},
            progress::Progress,
            routes::{OwnerCall, Price, Route, RoutePreference, SkippedRoute, Submission, Urgency},
        },
    },
};

/// What a revocation goes through, in this order, as it is told while it runs.
pub const PHASES: [&str; 5] = ["signing", "sending", "waiting for a block", "proving", LOOKING];
/// What else can act; for everything at once that means reading the account's history.
const LOOKING: &str = "looking for what can still act";

/// What an owner wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RevokeAction {
    /// End these keys: by id, label or address.
    Keys(Vec<String>),
    /// End every key of the account, also those that nobody here knows.
    All,
    /// Pause every key at once, until it is unpaused. Ends none.
    Panic,
    /// Unpause, and revoke everything that would work again, but for these keys.
    LiftPanic { keep: Vec<String> },
    /// Give the account back to its owner: the default validator, and functions that are routed elsewhere. Revokes no key.
    Reclaim,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokeIntent {
    pub account: String,
    pub action: RevokeAction,
    pub route: RoutePreference,
    /// Most wei that one operation or transaction may cost.
    pub max_cost: Option<U256>,
}

impl RevokeIntent {
    pub fn keys(account: &str, keys: &[String]) -> Self {
        Self {
            account: account.to_owned(),
            action: RevokeAction::Keys(keys.to_vec()),
            route: RoutePreference::Auto,
            max_cost: None,
        }
    }
}

/// A revocation that is ready to be signed.
pub struct RevokePlan {
    pub account: Account,
    pub steps: Vec<Step>,
    /// Other keys that cannot act any more when this is done.
    pub also_revokes: Vec<String>,
    /// What can act for the account now and is not stopped by this plan.
    pub remaining: Vec<Remaining>,
    /// What stays possible, and what needed nothing.
    pub warnings: Vec<String>,
    /// Routes that were tried first.
    pub skipped: Vec<SkippedRoute>,
    /// Kernel 0.2.1 has no batches: how many more operations follow the first, each priced like it.
    pub further: usize,
    /// Missing when the calls are only printed.
    submission: Option<Submission>,
    max_cost: Option<U256>,
    purpose: Purpose,
    calls: Vec<Call>,
    has_batch: bool,
    deployed: bool,
    watched: Watched,
    expected: Expected,
    /// What the claim afterwards is about.
    claim: Claimed,
    doubt: Doubt,
    services: Services,
}

/// Which keys must not be able to act once a plan is done.
enum Claimed {
    /// Whatever these session keys hold.
    Holders(BTreeSet<Address>),
    /// Every key but these, which the owner chose to keep.
    AllBut(BTreeSet<String>),
    /// None: keys are paused, or not touched.
    NoKey,
}

/// What a plan relies on besides its calls, and what speaks against it.
#[derive(Default)]
struct Doubt {
    /// The block that the plan was made at.
    planned_at: Option<u64>,
    /// What was judged over, and needs nothing: it is tried all the same, before and after.
    over: Vec<Target>,
    /// The node contradicted itself: it is sent all the same, and nothing is claimed.
    contradiction: Option<Error>,
}

/// What a revocation is planned from.
#[derive(Clone)]
struct Ending {
    account: Account,
    services: Services,
    /// The session keys that are known.
    addresses: Vec<Address>,
    history: Reach,
    picture: Snapshot,
    /// The node contradicts itself about the picture.
    contradiction: Option<Error>,
}

/// What a revocation came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Revoked {
    pub plan: Vec<Step>,
    pub also_revokes: Vec<String>,
    #[serde(rename = "way")]
    pub route: Route,
    /// The last one that was sent.
    #[serde(flatten)]
    pub operation: OperationOutcome,
    /// Of the key that was named first; `proofs` has all.
    pub proof: Option<Proof>,
    pub proofs: Vec<Proof>,
    /// After a pause: that it is on.
    pub paused: Option<Paused>,
    /// Whether it was to end keys that are known here. Revoking unknown ones, and unpausing, end none of those.
    #[serde(skip)]
    pub ends_keys: bool,
    /// Why what was to end is not proven to have ended. It counts as active.
    #[serde(skip)]
    pub not_proven: Option<Error>,
    /// What can still act for the account, other than the keys that the owner chose to keep.
    pub remaining: Vec<Remaining>,
}

/// What a revocation came to, in one word: screen, notice and command line say the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Everything that was to end is proven to have ended, and nothing else can act.
    Proven,
    /// Done as asked: no key that is known was to end, so there was nothing to prove.
    Done,
    /// Everything that was to end is proven to have ended, and something else can still act: `remaining`.
    Remaining,
    /// Mined, and not proven: the keys count as active.
    NotProven,
    /// Sent, and not in a block yet: the keys are active.
    Waiting,
    /// Refused, or mined without effect.
    Failed,
}

/// What a verdict is made of, whether the revocation was followed to its end at once or later.
pub(in crate::wallet) struct Outcome<'a> {
    pub operation: &'a OperationOutcome,
    pub ends_keys: bool,
    pub proofs: &'a [Proof],
    pub paused: bool,
    pub not_proven: bool,
    pub remaining: &'a [Remaining],
}

impl Outcome<'_> {
    pub fn verdict(&self) -> Verdict {
        let shown = !self.proofs.is_empty() || self.paused;
        match self.operation.success {
            None if self.operation.phase == "sent" => Verdict::Waiting,
            Some(true) if self.not_proven || self.ends_keys && !shown => Verdict::NotProven,
            Some(true) if !self.remaining.is_empty() => Verdict::Remaining,
            Some(true) if !shown => Verdict::Done,
            Some(true) => Verdict::Proven,
            _ => Verdict::Failed,
        }
    }

    /// The verdict in one line.
    pub fn in_words(&self) -> String {
        match self.verdict() {
            Verdict::Proven if self.paused => {
                "paused, and that is proven: no session key can act until you unpause".into()
            }
            Verdict::Proven => "revoked, and that is proven".into(),
            Verdict::Done => "done; no key that is known here was to end, so there was nothing to prove".into(),
            Verdict::Remaining => {
                let what = |r: &Remaining| format!("{} {} ({})", r.what, r.address, r.why);
                let what: Vec<String> = self.remaining.iter().map(what).collect();
                format!("done; something else can still act: {}", what.join("; "))
            }
            Verdict::NotProven => "not proven: treat it as still active".into(),
            Verdict::Waiting => "sent, and not in a block yet: treat it as still active".into(),
            Verdict::Failed if self.operation.phase == "refused" => {
                "refused, so nothing was changed: treat it as still active".into()
            }
            Verdict::Failed => "it failed, so nothing was changed: treat it as still active".into(),
        }
    }
}

impl Revoked {
    fn outcome(&self) -> Outcome<'_> {
        Outcome {
            operation: &self.operation,
            ends_keys: self.ends_keys,
            proofs: &self.proofs,
            paused: self.paused.is_some(),
            not_proven: self.not_proven.is_some(),
            remaining: &self.remaining,
        }
    }

    pub fn verdict(&self) -> Verdict {
        self.outcome().verdict()
    }

    /// The verdict in one line: the same for notice, screen and command line.
    pub fn in_words(&self) -> String {
        self.outcome().in_words()
    }
}

impl RevokePlan {
    /// What it costs and who pays; `None` when the calls are only printed.
    pub fn price(&self) -> Option<Price> {
        self.submission.as_ref().map(Submission::price)
    }

    pub fn submission(&self) -> Option<&Submission> {
        self.submission.as_ref()
    }

    pub fn is_panic(&self) -> bool {
        self.purpose == Purpose::Panic
    }

    pub(in crate::wallet) fn purpose(&self) -> Purpose {
        self.purpose.clone()
    }

    /// The calls for somebody else to send, in this order.
    pub fn printed(&self) -> Result<Vec<PrintedCall>> {
        printed(&self.account, self.deployed, &self.operations()?)
    }

    /// The account calls, one for each operation.
    fn operations(&self) -> Result<Vec<AccountCall>> {
        account_calls(self.calls.clone(), self.has_batch)
    }
}

/// A plan before it is priced.
pub(in crate::wallet) struct Drafted {
    pub calls: Vec<Call>,
    pub steps: Vec<Step>,
    pub also_revokes: Vec<String>,
    needs_nothing: Vec<String>,
    targets: Vec<Target>,
    expected: Expected,
    /// Ids of the keys that the owner chose to keep.
    kept: BTreeSet<String>,
}

/// All in one where the kernel has batches; otherwise one after the other.
fn account_calls(calls: Vec<Call>, has_batch: bool) -> Result<Vec<AccountCall>> {
    match has_batch {
        true => Ok(vec![one_operation(calls, true)?]),
        false => Ok(calls.into_iter().map(AccountCall::Execute).collect()),
    }
}

/// Who an approval belongs to. One approval may be on record under two labels.
struct Claimant {
    approval: ApprovalId,
    key_id: String,
    label: String,
    /// Taken off the lists: found by its id and address, not by its label.
    hidden: bool,
    /// Missing for what only the validator holds.
    record: Option<ApprovalRecord>,
}

/// What the planner sees, and the account's records beside it.
struct Records {
    files: Vec<KeyFile>,
    claimants: Vec<Claimant>,
    book: ApprovalBook,
    holdings: BTreeMap<ApprovalId, Holding>,
}

impl Records {
    fn held(&self) -> impl Iterator<Item = (&Claimant, &Holding)> {
        self.claimants.iter().filter_map(|who| Some((who, self.holdings.get(&who.approval)?)))
    }

    fn names(&self) -> Vec<(ApprovalId, &str)> {
        self.claimants.iter().map(|who| (who.approval, who.label.as_str())).collect()
    }

    fn labels(&self, approvals: impl IntoIterator<Item = ApprovalId>) -> Vec<String> {
        labels(&self.names(), approvals)
    }

    fn ids(&self, approvals: &BTreeSet<ApprovalId>) -> BTreeSet<String> {
        self.claimants.iter().filter(|who| approvals.contains(&who.approval)).map(|who| who.key_id.clone()).collect()
    }

    /// Those of these approvals that have no power, and did not just run out.
    fn over(&self, asked: &BTreeSet<ApprovalId>) -> BTreeSet<ApprovalId> {
        let over = |held: &&Holding| held.acts.is_none() && !held.ran_out;
        self.holdings.values().filter(|held| asked.contains(&held.id)).filter(over).map(|held| held.id).collect()
    }

    /// The approvals of keys by id, label or address. An address that no record names counts when the validator holds it.
    fn named(&self, wanted: &str) -> BTreeSet<ApprovalId> {
        self.claimants_named(wanted).map(|who| who.approval).collect()
    }

    fn claimants_named(&self, wanted: &str) -> impl Iterator<Item = &Claimant> {
        let address: Option<Address> = wanted.parse().ok();
        let by = |test: &dyn Fn(&Claimant, &Holding) -> bool| -> Vec<&Claimant> {
            self.held().filter(|(who, held)| test(who, held)).map(|(who, _)| who).collect()
        };
        let of_address = by(&|_, held| Some(held.holder) == address);
        // An id means that key, whatever another one is called.
        let of_id = by(&|who, _| who.key_id == wanted);
        let found = match (of_id.is_empty(), of_address.is_empty()) {
            (false, _) => of_id,
            (true, false) => of_address,
            (true, true) => by(&|who, _| who.label == wanted && !who.hidden),
        };
        found.into_iter()
    }

    /// What ends with the keys that were named because it is the same approval, on record for another key as well.
    fn same_approval(&self, action: &RevokeAction, ends: &BTreeSet<ApprovalId>) -> Vec<String> {
        let RevokeAction::Keys(names) = action else { return Vec::new() };
        let named: BTreeSet<&str> =
            names.iter().flat_map(|name| self.claimants_named(name)).map(|who| who.key_id.as_str()).collect();
        let others = self.claimants.iter().filter(|who| ends.contains(&who.approval));
        others.filter(|who| !named.contains(who.key_id.as_str())).map(|who| who.label.clone()).collect()
    }
}

impl Wallet {
    /// The calls that do what is wanted, and nothing else, by the first route that works.
    pub async fn plan_revoke(&self, intent: RevokeIntent) -> Result<RevokePlan> {
        let account = self.find_account(&intent.account)?;
        let services = self.services_of(&account.network, account.chain_id).await?;
        match &intent.action {
            RevokeAction::Panic => Box::pin(self.plan_panic(account, services, &intent)).await,
            RevokeAction::Reclaim => Box::pin(self.plan_reclaim(account, services, &intent)).await,
            _ => Box::pin(self.plan_ending(account, services, &intent)).await,
        }
    }

    /// Reads only whether the account is there, the sender's nonce, and fees: it must work when little else does.
    async fn plan_panic(&self, account: Account, services: Services, intent: &RevokeIntent) -> Result<RevokePlan> {
        let (code, newest) =
            tokio::join!(services.node.code(account.address, At::Latest), services.node.latest_block());
        let deployed = !code?.is_empty();
        // An old node is named; it does not stop the brake.
        let newest = newest.ok();
        let planned_at = newest.map(|block| block.number);
        let (pause, step) = account.family().pause(account.address);
        let calls = vec![pause];
        let account_call = one_operation(calls.clone(), true)?;
        let call = OwnerCall {
            account: &account,
            deployed,
            account_call: &account_call,
            max_cost: intent.max_cost,
            urgency: Urgency::AheadOfAll,
        };
        let (submission, skipped) = self.submission_of(&services, &call, intent.route).await?;
        Ok(RevokePlan {
            steps: vec![step],
            also_revokes: Vec::new(),
            // Its state is not read here: that must work when little else does. It is looked at afterwards.
            remaining: Vec::new(),
            warnings: [
                "This pauses keys, it does not revoke them. Keys you have not revoked work again once you unpause."
                    .into(),
            ]
            .into_iter()
            .chain(newest.and_then(|block| services.about_the_time(block.timestamp)))
            .collect(),
            skipped,
            further: 0,
            submission,
            max_cost: intent.max_cost,
            purpose: Purpose::Panic,
            calls,
            has_batch: true,
            deployed,
            watched: Vec::new(),
            expected: Expected::Nothing,
            claim: Claimed::NoKey,
            doubt: Doubt { planned_at, ..Doubt::default() },
            account,
            services,
        })
    }

    /// The way back for an account that somebody else can decide over. It needs an owner who is heard: the plan is simulated.
    async fn plan_reclaim(&self, account: Account, services: Services, intent: &RevokeIntent) -> Result<RevokePlan> {
        // What the history opened is to be closed too: it is read first, as far as that can be done.
        let unread = Box::pin(self.scan_through(&account, &services, ScanOptions::default(), &|_| {})).await.err();
        let history = self.reach(&account)?;
        let picture = services.snapshot(&account.wanted(&[]).with_routes(&history.opened)).await?;
        let kernel = super::grant::same_account(&account, &picture)?;
        let power = Power::of(&account, &picture, history);
        let back = way_back(account.address, account.owner, &picture);
        if back.is_empty() {
            let error = match power.foreign.as_slice() {
                [] => Error::failed("revoke.nothing", format!("nothing but its owner decides over {}", account.name))
                    .of(Kind::NothingToRevoke),
                foreign => Error::new(
                    Class::Remaining,
                    "revoke.remaining",
                    format!("no call of the owner's takes this back: {}", crate::protocol::power::in_words(foreign)),
                ),
            };
            return Err(error.hint("nothing was sent"));
        }
        let (calls, steps): (Vec<Call>, Vec<Step>) = back.into_iter().unzip();
        let operations = account_calls(calls.clone(), kernel.has_batch())?;
        let first = operations.first().ok_or_else(|| Error::failed("operation.empty", "there is nothing to do"))?;
        let call = OwnerCall {
            account: &account,
            deployed: picture.deployed(),
            account_call: first,
            max_cost: intent.max_cost,
            urgency: Urgency::AheadOfAll,
        };
        let (submission, skipped) = self.submission_of(&services, &call, intent.route).await?;
        Ok(RevokePlan {
            steps,
            also_revokes: Vec::new(),
            remaining: Vec::new(),
            warnings: unread
                .map(|e| format!("the account's history could not be read: {}", e.message))
                .or(power.not_read())
                .into_iter()
                .collect(),
            skipped,
            further: operations.len().saturating_sub(1),
            submission,
            max_cost: intent.max_cost,
            purpose: Purpose::Reclaim,
            calls,
            has_batch: kernel.has_batch(),
            deployed: picture.deployed(),
            watched: Vec::new(),
            expected: Expected::Nothing,
            claim: Claimed::NoKey,
            doubt: Doubt { planned_at: Some(picture.block()), ..Doubt::default() },
            account,
            services,
        })
    }

    async fn plan_ending(&self, account: Account, services: Services, intent: &RevokeIntent) -> Result<RevokePlan> {
        let mut addresses = self.known_keys(&account)?;
        if let RevokeAction::Keys(wanted) = &intent.action {
            addresses.extend(wanted.iter().filter_map(|w| w.parse::<Address>().ok()));
        }
        addresses.sort_unstable();
        addresses.dedup();
        let history = self.reach(&account)?;
        let wanted = account.wanted(&addresses).with_routes(&history.opened);
        let picture = services.snapshot_for_the_brake(&wanted).await?;
        let mut ending = Ending { account, services, addresses, history, picture, contradiction: None };
        let refused = match Box::pin(self.plan_to_end(ending.clone(), intent)).await {
            Err(error) => error,
            plan => return plan,
        };
        // That nothing is left to do, or that the chain refuses what is to be done, rests on one reading, and on the block that the
        // node calls its newest.
        let Some(stored) = ending.services.stored(&wanted, &ending.picture, At::Latest).await else {
            return Err(refused);
        };
        ending.contradiction = ending.services.contradicted_by(&ending.picture, &stored);
        if ending.contradiction.is_none() {
            return Err(refused);
        }
        ending.picture = stored;
        Box::pin(self.plan_to_end(ending, intent)).await
    }

    async fn plan_to_end(&self, ending: Ending, intent: &RevokeIntent) -> Result<RevokePlan> {
        let Ending { account, services, addresses, history, mut picture, contradiction } = ending;
        // One answer of a node, that the owner or the code is another one, is no reason to stand still: who is not heard learns it
        // when the revocation is simulated.
        let (kernel, mistaken) = match super::grant::same_account(&account, &picture) {
            Ok(kernel) => (kernel, None),
            Err(error) => (account.kernel, Some(error)),
        };
        let (mut doubt, mut remarks) =
            self.doubted(&account, &services, &intent.action, &addresses, &mut picture).await?;
        if let Some(contradiction) = contradiction {
            remarks.push(contradiction.message.clone());
            doubt.contradiction = Some(contradiction);
        }
        let power = Power::of(&account, &picture, history);
        let drafted = self.drafted(&account, &intent.action, &picture)?;
        let operations = account_calls(drafted.calls.clone(), kernel.has_batch())?;
        let first = operations.first().ok_or_else(|| Error::failed("operation.empty", "there is nothing to do"))?;
        let watched = match intent.route {
            // Nothing is sent from here, so nothing is proven.
            RoutePreference::Print => drafted.targets.into_iter().map(|target| (target, Vec::new())).collect(),
            _ => services.watch(&account, drafted.targets, &picture).await,
        };
        let call = OwnerCall {
            account: &account,
            deployed: picture.deployed(),
            account_call: first,
            max_cost: intent.max_cost,
            urgency: Urgency::TakesAway,
        };
        let found = self.submission_of(&services, &call, intent.route).await;
        let (submission, skipped) = found.map_err(|error| mistaken.unwrap_or(error))?;
        let claim = claimed(&intent.action, &watched, &drafted.kept);
        let mut remaining = power.foreign.clone();
        if let Claimed::Holders(_) = claim {
            let ended: Vec<&str> = watched.iter().map(|(t, _)| t.id.as_str()).collect();
            remaining.extend(self.can_act(&account, &claim, &ended, &picture)?);
        }
        let mut warnings = remarks;
        warnings.extend(self.still_alive(&account, &watched, &picture)?);
        if let RevokeAction::Keys(_) = intent.action {
            warnings.extend(power.not_read());
        }
        warnings.extend(drafted.needs_nothing);
        warnings.extend(self.unknown_to_us(&account, &intent.action, &picture)?);
        warnings.extend(services.about_the_time(picture.timestamp()));
        Ok(RevokePlan {
            steps: drafted.steps,
            also_revokes: drafted.also_revokes,
            remaining,
            warnings,
            skipped,
            further: operations.len().saturating_sub(1),
            submission,
            max_cost: intent.max_cost,
            purpose: Purpose::Revoke {
                key_ids: watched.iter().map(|(t, _)| t.id.clone()).collect(),
                extent: match &claim {
                    Claimed::AllBut(kept) => Extent::AllBut(kept.clone()),
                    Claimed::Holders(_) | Claimed::NoKey => Extent::Named,
                },
            },
            calls: drafted.calls,
            has_batch: kernel.has_batch(),
            deployed: picture.deployed(),
            expected: drafted.expected,
            watched,
            claim,
            doubt,
            account,
            services,
        })
    }

    /// Before a plan is made, or nothing is found to be done: what is judged over is tried, and the second node is asked. Where
    /// either says otherwise, the worse goes into the picture, so that a revocation ends it. Answers remarks as well. That
    /// nothing is left to be done is a claim, and is not made where they disagree.
    async fn doubted(
        &self,
        account: &Account,
        services: &Services,
        action: &RevokeAction,
        addresses: &[Address],
        picture: &mut Snapshot,
    ) -> Result<(Doubt, Vec<String>)> {
        let over = self.judged_over(account, action, picture)?;
        let second = services.second_view(&account.wanted(addresses), picture, 0, None).await;
        let planned_at = Some(picture.block());
        let contradiction = services.try_over(account, &over, picture).await;
        let mut remarks: Vec<String> = contradiction.iter().map(|error| error.message.clone()).collect();
        match second {
            SecondView::None => {}
            SecondView::Said(second) if second.agrees => {}
            SecondView::Said(second) => remarks.push(second.to_string()),
            SecondView::Differs(disagreement) => {
                remarks.push(format!("not proven: {}", disagreement.words()));
                picture.add_keys_of(&disagreement.theirs);
                match self.drafted(account, action, picture) {
                    Err(error) if error.kind == Kind::NothingToRevoke => {
                        let block = picture.block();
                        *picture = disagreement.theirs.clone();
                        picture.no_later_than(block);
                        let nothing =
                            self.drafted(account, action, picture).is_err_and(|e| e.kind == Kind::NothingToRevoke);
                        if nothing {
                            return Err(disagreement.error(&error.message));
                        }
                    }
                    _ => {}
                }
            }
        }
        Ok((Doubt { planned_at, over, contradiction }, remarks))
    }

    /// What is asked about and has no power by a picture, as what is to be tried. What ran out is left alone: the validator does
    /// not look at the clock, the EntryPoint does.
    fn judged_over(&self, account: &Account, action: &RevokeAction, picture: &Snapshot) -> Result<Vec<Target>> {
        let records = self.records(account, picture)?;
        let asked: BTreeSet<ApprovalId> = match action {
            RevokeAction::Keys(keys) => keys.iter().flat_map(|key| records.named(key)).collect(),
            _ => records.holdings.keys().copied().collect(),
        };
        let mut over = targets(&records, &records.over(&asked));
        if let RevokeAction::Keys(keys) = action {
            // Known by its address only, and the validators are said to hold nothing for it.
            for session_key in
                keys.iter().filter(|key| records.named(key).is_empty()).filter_map(|key| key.parse().ok())
            {
                over.extend(Subject::of_address(session_key, picture).into_iter().map(|subject| Target {
                    id: Address::to_string(&session_key),
                    label: Address::to_string(&session_key),
                    session_key,
                    subjects: vec![subject],
                }));
            }
        }
        Ok(over)
    }

    /// What of these keys has no power by a picture, as what is to be tried.
    pub(in crate::wallet) fn over_of(
        &self,
        account: &Account,
        key_ids: &[String],
        picture: &Snapshot,
    ) -> Result<Vec<Target>> {
        let records = self.records(account, picture)?;
        let of_keys = records.claimants.iter().filter(|who| key_ids.contains(&who.key_id));
        let of_keys = of_keys.map(|who| who.approval).collect();
        Ok(targets(&records, &records.over(&of_keys)))
    }

    /// From records and a picture of the account to the calls, what each does, and what ends.
    pub(in crate::wallet) fn drafted(
        &self,
        account: &Account,
        action: &RevokeAction,
        picture: &Snapshot,
    ) -> Result<Drafted> {
        let records = self.records(account, picture)?;
        let target = self.target(account, &records, action, picture)?;
        let (plan, expected) =
            records.book.plan(&target, &records.names()).map_err(|refusal| refused_plan(&records, &refusal))?;
        if plan.calls.is_empty() {
            return Err(self.nothing_to_do(account, &records, &plan.over, picture)?);
        }
        let mut also_revokes = records.labels(plan.also_ends.iter().copied());
        also_revokes.extend(records.same_approval(action, &plan.ends));
        let needs_nothing = match action {
            RevokeAction::Keys(_) => {
                let mut said = self.drafts(&records, &plan.ends, picture)?;
                said.extend(self.needs_nothing(&records, &plan.over, picture)?);
                said
            }
            _ => Vec::new(),
        };
        Ok(Drafted {
            also_revokes,
            needs_nothing,
            targets: targets(&records, &plan.ends),
            expected,
            kept: match &target {
                RevokeTarget::UnpauseKeeping(kept) => records.ids(kept),
                RevokeTarget::These(_) | RevokeTarget::All => BTreeSet::new(),
            },
            calls: plan.calls,
            steps: plan.steps,
        })
    }

    /// Every approval on record, removed ones too, and whatever else the validators hold for a key that is known.
    fn records(&self, account: &Account, picture: &Snapshot) -> Result<Records> {
        let (files, shown) = self.store.read(|r| {
            let files = r
                .keys_of(&account.network, account.address, true)?
                .into_iter()
                .map(|key| Ok(KeyFile { approvals: r.approvals(&key.id)?, key }))
                .collect::<Result<Vec<_>>>()?;
            let shown: BTreeSet<String> =
                r.keys_of(&account.network, account.address, false)?.into_iter().map(|k| k.id).collect();
            Ok((files, shown))
        })?;
        let approvals = files.iter().flat_map(|file| &file.approvals);
        let approvals = approvals.map(|approval| (&approval.request, approval.signature.as_ref()));
        let book = ApprovalBook::new(account.address, account.owner, approvals, picture);
        let mut claimants = Vec::new();
        for file in &files {
            claimants.extend(file.approvals.iter().map(|approval| Claimant {
                approval: approval.request.id(),
                key_id: file.key.id.clone(),
                label: file.key.label.clone(),
                hidden: !shown.contains(&file.key.id),
                record: Some(approval.clone()),
            }));
        }
        for Holding { id, holder, .. } in book.unexplained() {
            let known = files.iter().find(|file| file.key.session_key == holder);
            claimants.push(Claimant {
                approval: id,
                key_id: known.map_or_else(|| holder.to_string(), |f| f.key.id.clone()),
                label: known.map_or_else(|| holder.to_string(), |f| f.key.label.clone()),
                hidden: false,
                record: None,
            });
        }
        let holdings = book.holdings().into_iter().map(|holding| (holding.id, holding)).collect();
        Ok(Records { files, claimants, book, holdings })
    }

    fn target(
        &self,
        account: &Account,
        records: &Records,
        action: &RevokeAction,
        picture: &Snapshot,
    ) -> Result<RevokeTarget> {
        let named = |keys: &[String]| -> Result<BTreeSet<ApprovalId>> {
            let mut claims = BTreeSet::new();
            for key in keys {
                let of_key = records.named(key);
                if of_key.is_empty() {
                    return Err(self.unknown_key(account, key));
                }
                // One label may be several keys'; an address means all that it has.
                let ids: BTreeSet<String> = records.claimants_named(key).map(|who| who.key_id.clone()).collect();
                if ids.len() > 1 && key.parse::<Address>().is_err() {
                    let ids: Vec<String> = ids.into_iter().collect();
                    return Err(Error::usage("key.ambiguous", format!("{key} is the name of {} keys", ids.len()))
                        .hint(format!("name one by its id: {}", ids.join(", "))));
                }
                claims.extend(of_key);
            }
            Ok(claims)
        };
        match action {
            RevokeAction::Keys(keys) => Ok(RevokeTarget::These(named(keys)?)),
            RevokeAction::LiftPanic { .. } if !picture.pauses_keys() => {
                Err(Error::failed("revoke.not_paused", format!("{} is not paused", account.name))
                    .hint("nothing was sent"))
            }
            RevokeAction::LiftPanic { keep } => Ok(RevokeTarget::UnpauseKeeping(named(keep)?)),
            RevokeAction::All | RevokeAction::Panic | RevokeAction::Reclaim => Ok(RevokeTarget::All),
        }
    }

    /// Told by its address only, and the validator holds nothing for it: honest about what that means.
    fn unknown_key(&self, account: &Account, wanted: &str) -> Error {
        if wanted.parse::<Address>().is_ok() {
            return Error::failed(
                "revoke.nothing",
                format!("{wanted} is not enabled on {}, and no approval of it is on record", account.name),
            )
            .of(Kind::NothingToRevoke)
            .hint(
                "an approval of it that was never used can only be ended by consuming its nonce, which is not known here: \
                 `--pause` stops it, and `keyleash inspect` takes the approval if you can get it",
            );
        }
        match self.find_key(wanted) {
            Ok(file) => Error::usage("key.unknown", format!("{} is not a key of {}", file.key.label, account.name)),
            Err(error) => error,
        }
    }

    /// There is nothing to take back: why, for what was asked for.
    fn nothing_to_do(
        &self,
        account: &Account,
        records: &Records,
        over: &BTreeSet<ApprovalId>,
        picture: &Snapshot,
    ) -> Result<Error> {
        let mut said = Vec::new();
        for file in self.files_of(records, over) {
            let view = self.key_view(&file.key, Some(picture))?;
            said.push(format!("{} is {} already: {}", view.label, view.state, view.state_reason));
        }
        let message = match said.as_slice() {
            [one] => one.clone(),
            _ => format!("no session key of {} can act, now or later", account.name),
        };
        Ok(Error::failed("revoke.nothing", message)
            .of(Kind::NothingToRevoke)
            .hint("there is nothing to revoke; nothing was sent"))
    }

    /// Drafts that the plan ends: why something is sent for what nobody here has signed.
    fn drafts(&self, records: &Records, ends: &BTreeSet<ApprovalId>, picture: &Snapshot) -> Result<Vec<String>> {
        let mut said = Vec::new();
        for file in self.files_of(records, ends) {
            let view = self.key_view(&file.key, Some(picture))?;
            if view.state == State::Draft {
                said.push(format!("{}: {DRAFT}", view.label));
            }
        }
        Ok(said)
    }

    /// Keys that were named although they have no power.
    fn needs_nothing(&self, records: &Records, over: &BTreeSet<ApprovalId>, picture: &Snapshot) -> Result<Vec<String>> {
        let mut said = Vec::new();
        for file in self.files_of(records, over) {
            let view = self.key_view(&file.key, Some(picture))?;
            if !view.state.may_act() {
                said.push(format!("{} is {} already and needs nothing: {}", view.label, view.state, view.state_reason));
            }
        }
        Ok(said)
    }

    fn files_of<'a>(&self, records: &'a Records, approvals: &BTreeSet<ApprovalId>) -> Vec<&'a KeyFile> {
        let on_record =
            records.claimants.iter().filter(|who| who.record.is_some() && approvals.contains(&who.approval));
        let ids: BTreeSet<&str> = on_record.map(|who| who.key_id.as_str()).collect();
        records.files.iter().filter(|file| ids.contains(file.key.id.as_str())).collect()
    }

    /// What a plan for everything cannot reach, or would bring back, because it is not on record.
    fn unknown_to_us(&self, account: &Account, action: &RevokeAction, picture: &Snapshot) -> Result<Vec<String>> {
        let Some(kept) = (match action {
            RevokeAction::Keys(_) | RevokeAction::Panic | RevokeAction::Reclaim => None,
            RevokeAction::All => Some(0),
            RevokeAction::LiftPanic { keep } => Some(keep.len()),
        }) else {
            return Ok(Vec::new());
        };
        let mut said = vec![
            "an approval that was signed elsewhere and never used is not known here, and is not ended: only a pause stops it"
                .to_owned(),
        ];
        if kept > 0 {
            let approvals = self.store.read(|r| r.approvals_of(&account.network, account.address))?;
            let signed: Vec<_> = approvals.iter().map(|approval| &approval.request).collect();
            if let Some(nonces) = unexplained(&signed, picture) {
                said.push(format!(
                    "what used nonce {nonces} is not on record; if it is a key, it works again as well: look with \
                     `keyleash key scan {}` first, or unpause without --keep",
                    account.name
                ));
            }
        }
        Ok(said)
    }

    /// Other approvals of the same session keys that this plan leaves alone.
    fn still_alive(&self, account: &Account, watched: &Watched, picture: &Snapshot) -> Result<Vec<String>> {
        let keys = self.store.read(|r| r.keys_of(&account.network, account.address, false))?;
        let mut warnings = Vec::new();
        for key in keys.iter().filter(|k| !watched.iter().any(|(t, _)| t.id == k.id)) {
            let Some(target) = watched.iter().map(|(t, _)| t).find(|t| t.session_key == key.session_key) else {
                continue;
            };
            let view = self.key_view(key, Some(picture))?;
            if view.state.may_act() {
                warnings.push(format!(
                    "the holder of {} has another approval, {} ({}, {}), which lives on; revoke that too, or name the key by its address",
                    target.label, view.label, view.key_id, view.state
                ));
            }
        }
        Ok(warnings)
    }

    /// These keys of an account as what is to be proven: what of theirs has power in a picture taken before they end.
    pub(in crate::wallet) fn targets_of(
        &self,
        account: &Account,
        key_ids: &[String],
        picture: &Snapshot,
    ) -> Result<Vec<Target>> {
        let records = self.records(account, picture)?;
        let acting = records.held().filter(|(who, held)| key_ids.contains(&who.key_id) && held.acts.is_some());
        let ends = acting.map(|(who, _)| who.approval).collect();
        Ok(targets(&records, &ends))
    }

    /// Sends the plan and proves it, and says which of [`PHASES`] it is in. Mined is not revoked: what counts is what the chain
    /// answers afterwards.
    pub async fn execute_revoke(&self, mut plan: RevokePlan, progress: &dyn Progress) -> Result<Revoked> {
        let Some(submission) = plan.submission.take() else {
            return Err(Error::usage("revoke.print", "this plan is only printed; nothing can be sent"));
        };
        let route = submission.price().route;
        let (operation, cut_off) = Box::pin(self.send_all(&plan, submission, progress)).await?;
        let mut revoked = Revoked {
            plan: plan.steps.clone(),
            also_revokes: plan.also_revokes.clone(),
            route,
            operation,
            proof: None,
            proofs: Vec::new(),
            paused: None,
            ends_keys: !plan.watched.is_empty(),
            not_proven: None,
            remaining: Vec::new(),
        };
        match revoked.operation.success {
            Some(true) => {
                progress.phase("proving");
                Box::pin(self.prove_plan(&plan, &mut revoked)).await;
                progress.phase(LOOKING);
                let block = revoked.operation.block.unwrap_or_default();
                revoked.remaining = self.what_remains(&plan.account, &plan.services, &plan.claim, block).await;
            }
            Some(false) if plan.has_batch && raced(&plan.account, &plan.services, &plan.expected).await => {
                let message =
                    "the approval nonce changed before this was mined; the whole batch reverted and nothing changed";
                revoked.not_proven = Some(Error::new(Class::Reverted, "revoke.raced", message).of(Kind::Raced).hint(
                    "run it again: it is planned anew. If that happens again, pause everything with --pause first: \
                     --unpause then revokes the keys, and no agent can come before it",
                ));
            }
            _ => {}
        }
        if cut_off.is_some() {
            revoked.not_proven = cut_off;
        }
        Ok(revoked)
    }

    /// One operation; on Kernel 0.2.1, which has no batches, one after the other. Answers the last one that was sent, and why
    /// it did not get to the end when something was mined before.
    async fn send_all(
        &self,
        plan: &RevokePlan,
        first: Submission,
        progress: &dyn Progress,
    ) -> Result<(OperationOutcome, Option<Error>)> {
        let operations = plan.operations()?;
        let (route, most) = (first.price().route, first.price().max_cost);
        let (services, account) = (&plan.services, &plan.account);
        let mut last = self.submit(services, account, first, plan.purpose.clone(), progress).await?;
        for (mined, next) in operations.iter().enumerate().skip(1) {
            let cut_off = |why: String| {
                let message = format!("{mined} of {} operations were mined, and no more: {why}", operations.len());
                Error::new(Class::Chain, "revoke.cut_off", message).hint("run it again: what is done is not done twice")
            };
            if last.success != Some(true) {
                // The one before this was the last that went through.
                let done = mined.saturating_sub(1);
                return Ok((last, (done > 0).then(|| cut_off("the next one failed, or is not in a block yet".into()))));
            }
            // None dearer than twice what was shown or the cap, and none on another route.
            let twice = most.saturating_mul(U256::from(2)).min(services.coin().cap.max(most));
            let max_cost = plan.max_cost.unwrap_or(twice);
            let call = OwnerCall {
                account,
                deployed: true,
                account_call: next,
                max_cost: Some(max_cost),
                urgency: Urgency::TakesAway,
            };
            let sent = match self.by_first_route(services, &call, same_route(route)).await {
                Ok((next, _)) if next.price().route == route => {
                    self.submit(services, account, next, plan.purpose.clone(), progress).await
                }
                Ok((next, _)) => {
                    let other = next.price().route.words();
                    Err(Error::failed("revoke.way", format!("it could only go {other}, which was not agreed to")))
                }
                Err(error) => Err(error),
            };
            match sent {
                Ok(outcome) => last = outcome,
                Err(error) => return Ok((last, Some(cut_off(error.message)))),
            }
        }
        Ok((last, None))
    }

    /// What can act for the account after something was mined, as far as it can be read. What cannot be read is named too.
    async fn what_remains(
        &self,
        account: &Account,
        services: &Services,
        claim: &Claimed,
        block: u64,
    ) -> Vec<Remaining> {
        let mut remaining = Vec::new();
        let unread = |what: &str, error: &Error| Remaining {
            what: what.to_owned(),
            address: account.address,
            why: format!("what else can act could not be read: {}", error.message),
        };
        if let Claimed::AllBut(_) = claim {
            match Box::pin(self.scan_through(account, services, ScanOptions::default(), &|_| {})).await {
                Ok(scan) => remaining.extend(scan.doubts().map(|why| Remaining {
                    what: "history".into(),
                    address: account.address,
                    why: why.to_owned(),
                })),
                Err(error) => remaining.push(unread("history", &error)),
            }
        }
        match self.can_act_now(account, services, claim, block).await {
            Ok(acting) => remaining.splice(..0, acting).for_each(drop),
            Err(error) => remaining.push(unread("account", &error)),
        }
        remaining
    }

    /// The same for an operation that is found again: its record, made at `made_at`, says what it was to end.
    pub(in crate::wallet) async fn what_remains_of(
        &self,
        account: &Account,
        services: &Services,
        purpose: &Purpose,
        made_at: u64,
        block: u64,
    ) -> Result<Vec<Remaining>> {
        let claim = match purpose {
            Purpose::Revoke { extent: Extent::AllBut(kept), .. } => {
                // A key that was granted afterwards was never to end.
                let keys = self.store.read(|r| r.keys_of(&account.network, account.address, true))?;
                let later = keys.into_iter().filter(|k| k.origin == Origin::Granted && k.created_at > made_at);
                Claimed::AllBut(kept.iter().cloned().chain(later.map(|key| key.id)).collect())
            }
            Purpose::Revoke { key_ids, extent: Extent::Named } => {
                let mut holders: BTreeSet<Address> = key_ids.iter().filter_map(|id| id.parse().ok()).collect();
                for id in key_ids {
                    holders.extend(self.store.read(|r| r.key(id))?.map(|key| key.session_key));
                }
                Claimed::Holders(holders)
            }
            Purpose::Panic | Purpose::Reclaim | Purpose::Send { .. } | Purpose::Enable { .. } => Claimed::NoKey,
        };
        Ok(self.what_remains(account, services, &claim, block).await)
    }

    async fn can_act_now(
        &self,
        account: &Account,
        services: &Services,
        claim: &Claimed,
        block: u64,
    ) -> Result<Vec<Remaining>> {
        let history = self.reach(account)?;
        let mut keys = self.known_keys(account)?;
        if let Claimed::Holders(holders) = claim {
            keys.extend(holders);
        }
        let picture = services.snapshot_from(&account.wanted(&keys).with_routes(&history.opened), block).await?;
        let mut remaining = Power::of(account, &picture, history).foreign;
        remaining.extend(self.can_act(account, claim, &[], &picture)?);
        Ok(remaining)
    }

    /// Keys that must not be able to act by a claim, and can in this picture. `ended`: ids of keys that a plan ends.
    fn can_act(
        &self,
        account: &Account,
        claim: &Claimed,
        ended: &[&str],
        picture: &Snapshot,
    ) -> Result<Vec<Remaining>> {
        let records = self.records(account, picture)?;
        let mut remaining: Vec<Remaining> = Vec::new();
        for (who, held) in records.held() {
            let meant = match claim {
                Claimed::Holders(holders) => holders.contains(&held.holder),
                Claimed::AllBut(kept) => !kept.contains(&who.key_id),
                Claimed::NoKey => false,
            };
            let Some(why) = held.acts.clone().filter(|_| meant && !ended.contains(&who.key_id.as_str())) else {
                continue;
            };
            let entry = Remaining { what: format!("key {}", who.label), address: held.holder, why };
            if !remaining.contains(&entry) {
                remaining.push(entry);
            }
        }
        Ok(remaining)
    }

    async fn prove_plan(&self, plan: &RevokePlan, revoked: &mut Revoked) {
        let (account, services) = (&plan.account, &plan.services);
        let mined = match self.mined(services, account.address, &revoked.operation, plan.doubt.planned_at).await {
            Ok(mined) => mined,
            Err(error) => {
                revoked.not_proven = Some(error);
                return;
            }
        };
        if plan.purpose == Purpose::Reclaim {
            return;
        }
        if plan.purpose == Purpose::Panic {
            match self.prove_paused(account, services, &mined).await {
                Ok(paused) => revoked.paused = Some(paused),
                Err(error) => revoked.not_proven = Some(error),
            }
            return;
        }
        // What such a node says afterwards is worth no more than what it said before.
        if let Some(contradiction) = &plan.doubt.contradiction {
            revoked.not_proven = Some(contradiction.clone());
            return;
        }
        (revoked.proofs, revoked.not_proven) = self.prove_all(account, services, &plan.watched, &mined).await;
        revoked.proof = revoked.proofs.first().cloned();
        if revoked.not_proven.is_none() {
            let read_back = read_back(account, services, &plan.expected, &mined).await;
            revoked.not_proven = read_back.unwrap_or_else(Some);
        }
        if revoked.not_proven.is_none() {
            revoked.not_proven = services.still_over(account, &plan.doubt.over, mined.block).await;
        }
    }
}

/// What no key's own proof shows.
async fn read_back(
    account: &Account,
    services: &Services,
    expected: &Expected,
    mined: &Mined,
) -> Result<Option<Error>> {
    let picture = services.snapshot_from(&account.wanted(&[]), mined.block).await?;
    match expected.unmet(&picture) {
        None => {}
        Some(Unmet::NotInvalid(what)) => {
            let error = Error::failed("revoke.not_proven", format!("it was mined, but {what}"));
            return Ok(Some(error.hint("treat the keys as still active, and run it again")));
        }
        Some(Unmet::StillPaused) => {
            return Ok(Some(Error::failed("revoke.not_lifted", "it was mined, but the account is still paused")));
        }
    }
    // Where keys are proven, the second node was asked with them.
    match services.second_view(&account.wanted(&[]), &picture, mined.block, None).await {
        SecondView::Differs(disagreement) => Ok(Some(disagreement.error("not proven"))),
        SecondView::None | SecondView::Said(_) => Ok(None),
    }
}

fn claimed(action: &RevokeAction, watched: &Watched, kept: &BTreeSet<String>) -> Claimed {
    match action {
        RevokeAction::Keys(_) => Claimed::Holders(watched.iter().map(|(target, _)| target.session_key).collect()),
        RevokeAction::All | RevokeAction::LiftPanic { .. } => Claimed::AllBut(kept.clone()),
        RevokeAction::Panic | RevokeAction::Reclaim => Claimed::NoKey,
    }
}

const fn same_route(route: Route) -> RoutePreference {
    match route {
        Route::Sponsor | Route::Bundler => RoutePreference::Bundler,
        Route::Owner => RoutePreference::Owner,
        Route::HandleOps => RoutePreference::HandleOps,
    }
}

/// Whether the account's approval nonces have moved since the plan was made.
async fn raced(account: &Account, services: &Services, expected: &Expected) -> bool {
    services.snapshot(&account.wanted(&[])).await.is_ok_and(|now| expected.raced(&now))
}

/// What ends, as keys: each, on each module, with the approvals that end.
fn targets(records: &Records, ends: &BTreeSet<ApprovalId>) -> Vec<Target> {
    let mut targets: Vec<(Address, Target)> = Vec::new();
    for (who, held) in records.held().filter(|(who, _)| ends.contains(&who.approval)) {
        let of_key = |file: &&KeyFile| who.record.is_some() && file.key.id == who.key_id;
        let file = records.files.iter().find(of_key).filter(|file| file.key.partial.is_none());
        let scope = file.map(|file| &file.key.scope);
        let subject = match &who.record {
            Some(record) => Some(Subject::of(&record.request, record.signature.as_ref(), scope)),
            None => records.book.subject(who.approval, scope),
        };
        match targets.iter_mut().find(|(module, target)| target.id == who.key_id && *module == held.module) {
            Some((_, target)) => target.subjects.extend(subject),
            None => {
                let (id, label) = (who.key_id.clone(), who.label.clone());
                let subjects = subject.into_iter().collect();
                targets.push((held.module, Target { id, label, session_key: held.holder, subjects }));
            }
        }
    }
    targets.into_iter().map(|(_, target)| target).collect()
}

fn refused_plan(records: &Records, refusal: &Refusal) -> Error {
    match refusal {
        Refusal::TooFar { .. } => Error::failed("revoke.gap", refusal.to_string())
            .hint("each nonce in between has to be consumed; revoke the earlier keys first, in several steps. `--pause` stops every key at once"),
        Refusal::NoNoncesLeft => Error::failed("revoke.no_turns", refusal.to_string())
            .hint("no approval can ever be enabled on it again; enabled keys can be revoked one by one"),
        Refusal::Contested { nonce, claims } => {
            let labels = records.labels(claims.iter().copied()).join(", ");
            Error::failed("revoke.order", format!("{refusal}: {labels} all have nonce {nonce}"))
                .hint("only one of them can be enabled: enable it with `keyleash key enable`, or revoke them in the same command")
        }
        Refusal::NotUnderstood { .. } => Error::failed("revoke.not_understood", refusal.to_string())
            .hint("nothing was sent; look at the account with the software that upgraded it"),
        Refusal::CannotKeep { claim } => {
            let who = records.labels([*claim]).join(", ");
            Error::failed("revoke.order", format!("{who} has a lower nonce; {refusal}"))
                .hint(format!("revoke {who} in the same command"))
        }
    }
}

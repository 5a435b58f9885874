//! What is known of the approvals of an account in one state, and the plan of a revocation in words.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::{Address, Bytes, Selector, keccak256};

use super::{MAX_RAISE, Move, Play, stop_nonce};
use crate::protocol::{
    ApprovalId, Call, Step,
    kernel_v3::{
        account::ExecType,
        approval::ApprovalRequest,
        contracts::{ECDSA_SIGNER, KernelVersion},
        liveness::{Later, Never, Outlook},
        nonce::{PermissionId, ValidationId},
        probe::Subject,
        snapshot::{KeyState, NO_HOOK, Snapshot, is_known_policy},
    },
    revocation::{Holding, Names, Refusal, RevocationPlan, RevokeTarget, Unmet, labels},
};

/// Every approval on record, and whatever else the account holds for a key that is known.
#[derive(Debug, Clone)]
pub struct ApprovalBook {
    snapshot: Snapshot,
    /// Who signed what is on record, and owns the account as far as it is known.
    owner: Address,
    claims: Vec<Claim>,
    /// What no approval on record explains.
    unexplained: Vec<ApprovalId>,
}

/// An approval, or a key that the account holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub id: ApprovalId,
    /// `None` where the approval does not name its permission plainly, or is for something else.
    pub key: Option<PermissionId>,
    /// `None`: only the chain tells of it.
    pub request: Option<ApprovalRequest>,
    /// Who signed it, or is to.
    pub approver: Address,
    pub is_signed: bool,
    /// The account holds exactly this for the key.
    pub held: bool,
    /// The session key, or the contract that checks its signatures.
    pub holder: Address,
    pub module: Address,
}

/// How the calls of a plan are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Choice {
    /// A random number: which of its nonces the final stop takes, and the id that the account's nonce is raised with.
    pub draw: u64,
    /// [`ExecType::Try`]: each key is ended whether or not it is enabled by then. Such a batch succeeds whatever fails in it, so that
    /// only who follows it up may choose it.
    pub exec: ExecType,
}

/// What must hold once a plan is mined, and what the plan relies on until then.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// When it was planned: the account's nonces, and what each key was installed at, if it is installed.
    nonces: (u32, u32),
    keys: BTreeMap<PermissionId, (u32, bool)>,
    /// Afterwards.
    valid_from: u32,
    current: u32,
    uninstalled: BTreeSet<PermissionId>,
    consumed: BTreeMap<PermissionId, u32>,
    closed: BTreeSet<Selector>,
    removed: BTreeSet<Address>,
    validators: BTreeSet<Address>,
    /// The root's validator, and what it must be installed at at least so that its owner signs.
    signs: Option<(Address, u32)>,
}

impl ApprovalBook {
    pub fn new<'a>(
        account: Address,
        owner: Address,
        approvals: impl IntoIterator<Item = (&'a ApprovalRequest, Option<&'a Bytes>)>,
        snapshot: &Snapshot,
    ) -> Self {
        let mut claims: Vec<Claim> = Vec::new();
        for (request, signature) in approvals {
            let is_signed = signature.is_some();
            match claims.iter_mut().find(|known| known.id == request.id()) {
                // Signed on one record is signed.
                Some(known) => known.is_signed |= is_signed,
                None => claims.push(claim(owner, request, is_signed, snapshot)),
            }
        }
        let mut unexplained = Vec::new();
        for (key, state) in &snapshot.keys {
            let explained = claims.iter().any(|claim| claim.held && claim.key == Some(*key));
            if explained || !state.is_installed() {
                continue;
            }
            let id = held_id(account, *key, state);
            unexplained.push(id);
            claims.push(Claim {
                id,
                key: Some(*key),
                request: None,
                approver: owner,
                is_signed: true,
                held: true,
                holder: state.session_key.filter(|_| state.signer == ECDSA_SIGNER).unwrap_or(state.signer),
                module: state.signer,
            });
        }
        Self { snapshot: snapshot.clone(), owner, claims, unexplained }
    }

    pub fn claims(&self) -> &[Claim] {
        &self.claims
    }

    fn claim(&self, id: ApprovalId) -> Option<&Claim> {
        self.claims.iter().find(|claim| claim.id == id)
    }

    pub fn holdings(&self) -> impl Iterator<Item = Holding> {
        self.claims.iter().map(|claim| self.holding(claim))
    }

    /// What the account holds for a known key, and no approval on record explains.
    pub fn unexplained(&self) -> impl Iterator<Item = Holding> {
        self.unexplained.iter().filter_map(|id| self.claim(*id)).map(|claim| self.holding(claim))
    }

    /// What of an unexplained holding is tried before and after.
    pub fn subject(&self, id: ApprovalId) -> Option<Subject> {
        let key = self.claim(id)?.key?;
        Some(Subject::held(key, &self.snapshot))
    }

    fn holding(&self, claim: &Claim) -> Holding {
        let snapshot = &self.snapshot;
        let nonce = claim.request.as_ref().map(|request| request.nonce);
        let words = |what: &str| nonce.map_or_else(|| what.to_owned(), |nonce| format!("{what} (nonce {nonce})"));
        let acts = match claim.power(snapshot) {
            Power::None => None,
            Power::Enabled => Some(words(match claim.key.is_some_and(|key| snapshot.can_act(key)) {
                true => "its holder's key is enabled",
                false => "its holder's key cannot act, and still signs for the account",
            })),
            Power::Waits if claim.is_signed => Some(words("an approval of its holder can still be enabled")),
            Power::Waits => {
                Some(words("a draft of its holder's may have been signed elsewhere, and could then be enabled"))
            }
        };
        let ran_out = match (claim.held, claim.key, &claim.request) {
            (true, Some(key), _) => snapshot.ended(&snapshot.key(key)).is_some(),
            (_, _, Some(request)) => {
                matches!(snapshot.outlook(request, claim.approver), Outlook::Never(Never::Expired(_)))
            }
            _ => false,
        };
        Holding { id: claim.id, holder: claim.holder, module: claim.module, acts, ran_out }
    }

    /// The smallest plan that does what is asked for, in calls and in words.
    pub fn plan(
        &self,
        target: &RevokeTarget,
        names: &Names<'_>,
        choice: Choice,
    ) -> Result<(RevocationPlan, Expected), Refusal> {
        if self.snapshot.kernel.is_none() {
            let why = "the account runs something that is not known here, so that no call is sure to end a key";
            return Err(Refusal::NotUnderstood { why: why.to_owned() });
        }
        let every: BTreeSet<ApprovalId> = self.claims.iter().map(|claim| claim.id).collect();
        let (wanted, play, restores) = match target {
            RevokeTarget::These(wanted) => (wanted.clone(), self.these(wanted, choice)?, None),
            RevokeTarget::UnpauseKeeping(kept) if !kept.is_empty() => {
                let wanted: BTreeSet<ApprovalId> = &every - kept;
                let play = self.these(&wanted, choice)?;
                (wanted, play, None)
            }
            RevokeTarget::All | RevokeTarget::UnpauseKeeping(_) => {
                let (play, restores) = self.all(choice)?;
                (every, play, Some(restores))
            }
        };
        let mut plan = RevocationPlan {
            calls: Vec::new(),
            steps: Vec::new(),
            ends: BTreeSet::new(),
            also_ends: BTreeSet::new(),
            over: BTreeSet::new(),
            warnings: Vec::new(),
        };
        let mut alive = BTreeSet::new();
        for claim in &self.claims {
            let before = claim.power(&self.snapshot) != Power::None;
            let after = claim.power(&play.after) != Power::None;
            match (wanted.contains(&claim.id), before, after) {
                (true, false, _) => plan.over.insert(claim.id),
                (true, true, false) => plan.ends.insert(claim.id),
                (true, true, true) => alive.insert(claim.id),
                (false, true, false) => plan.also_ends.insert(claim.id),
                (false, ..) => false,
            };
        }
        plan.warnings = self.warnings(&play, &wanted, &alive, restores, names);
        for step in &play.moves {
            let calls = step.calls(self.snapshot.account);
            plan.steps.extend(self.steps(step, &plan, names, calls.len()));
            plan.calls.extend(calls);
        }
        let expected = self.expected(&play);
        Ok((plan, expected))
    }

    /// Ends these, and as few others as can be.
    fn these(&self, wanted: &BTreeSet<ApprovalId>, choice: Choice) -> Result<Play, Refusal> {
        let mut play = Play::new(&self.snapshot);
        let wanted: Vec<&Claim> = self.claims.iter().filter(|claim| wanted.contains(&claim.id)).collect();
        let with_power = |play: &Play| -> Vec<&Claim> {
            wanted.iter().copied().filter(|claim| claim.power(&play.after) != Power::None).collect()
        };
        if choice.exec == ExecType::Try {
            for claim in with_power(&play) {
                let Some(id) = claim.key else { continue };
                self.either(id, claim, &mut play);
            }
        }
        for id in with_power(&play).into_iter().filter(|claim| claim.held).filter_map(|claim| claim.key) {
            let key = play.after.key(id);
            play.uninstall(id);
            // An approval of the same id may wait for this: of another scope, or of one without any policy.
            if key.nonce < play.after.current_nonce {
                play.consume(id);
            }
        }
        // What can be consumed without raising the nonce comes first: raising it ends every other approval that waits.
        loop {
            let next = with_power(&play).into_iter().filter_map(|claim| {
                let (id, nonce) = (claim.key?, claim.request.as_ref()?.nonce);
                let at = play.after.install_nonce(id);
                (at == nonce && !play.after.key(id).is_installed()).then_some((at, id))
            });
            let Some((_, id)) = next.min() else { break };
            play.consume(id);
        }
        let later = with_power(&play).into_iter().filter_map(|claim| claim.request.as_ref().map(|r| r.nonce));
        if let Some(last) = later.max() {
            self.raise_past(last, &wanted, &mut play, choice.draw)?;
        }
        Ok(play)
    }

    /// Ends a key whether it is enabled by then or not: for a batch whose calls may fail.
    fn either(&self, id: PermissionId, claim: &Claim, play: &mut Play) {
        let key = play.after.key(id);
        match key.is_installed() {
            true => play.uninstall(id),
            false => {
                let config = claim.request.as_ref().and_then(|request| request.config().ok());
                let has_hook = claim.request.as_ref().is_some_and(|r| !r.hook.is_zero() && r.hook != NO_HOOK);
                let policies = config.map_or(0, |config| config.policies.len());
                play.make(Move::Uninstall { id, policies, has_hook });
            }
        }
        // Installed at the current nonce it could only be consumed at the next, which would end the approvals of others.
        let at = play.after.install_nonce(id);
        let waits =
            |claim: &&Claim| claim.key == Some(id) && claim.request.as_ref().is_some_and(|request| request.nonce == at);
        if at == play.after.current_nonce || self.claims.iter().any(|claim| waits(&claim)) {
            play.consume(id);
        }
    }

    /// Raises the account's nonce past this one, to one that no approval on record has.
    fn raise_past(&self, last: u32, wanted: &[&Claim], play: &mut Play, draw: u64) -> Result<(), Refusal> {
        let current = play.after.current_nonce;
        let too_far = || Refusal::TooFar { nonce: u128::from(last), last: u128::from(current) };
        let kept = |nonce: &u32| {
            let waits = |claim: &&Claim| claim.request.as_ref().is_some_and(|request| request.nonce == *nonce);
            self.claims.iter().filter(|claim| !wanted.contains(claim)).any(|claim| waits(&claim))
        };
        let first = last.checked_add(1).ok_or(Refusal::NoNoncesLeft)?;
        let to = (first..=first.saturating_add(MAX_RAISE)).find(|nonce| !kept(nonce)).ok_or_else(too_far)?;
        if to.saturating_sub(current) > MAX_RAISE {
            return Err(too_far());
        }
        let with = self.nobodys(draw);
        play.make(Move::Raise { with, from: play.after.install_nonce(with), to });
        Ok(())
    }

    /// An id that nobody has: of the number drawn, which cannot be known in advance.
    fn nobodys(&self, draw: u64) -> PermissionId {
        let known = |id: &PermissionId| {
            self.snapshot.keys.contains_key(id) || self.claims.iter().any(|claim| claim.key == Some(*id))
        };
        let id = |salt: u32| {
            let [a, b, c, d, ..] = keccak256([&draw.to_be_bytes()[..], &salt.to_be_bytes()].concat()).0;
            PermissionId([a, b, c, d].into())
        };
        (0..=u32::MAX).map(id).find(|id| !known(id)).unwrap_or_else(|| id(0))
    }

    /// The final stop, and everything that it leaves.
    fn all(&self, choice: Choice) -> Result<(Play, Restores), Refusal> {
        let mut play = Play::new(&self.snapshot);
        let kernel = self.snapshot.kernel;
        // On a version whose stop also ends signatures there is nothing left to take away; of the others, each signs on.
        if !kernel.is_some_and(KernelVersion::stops_signing) {
            let ids: Vec<PermissionId> = self.snapshot.keys.keys().copied().collect();
            for id in ids {
                play.uninstall(id);
            }
        }
        for (id, held) in self.snapshot.validations.clone() {
            let Some(validator) = id.validator().filter(|_| Some(id) != self.snapshot.root) else { continue };
            if !held.hook.is_zero() {
                play.make(Move::RemoveValidator { validator });
            }
        }
        for (selector, fallback) in self.snapshot.fallbacks.clone() {
            play.make(Move::CloseFallback { selector, target: fallback.target });
        }
        for executor in self.snapshot.executors.clone().into_keys() {
            play.make(Move::RemoveExecutor { executor });
        }
        let nonces: BTreeSet<u32> =
            self.claims.iter().filter_map(|claim| claim.request.as_ref().map(|request| request.nonce)).collect();
        // Approvals of a later nonce would wait for it still: as many strides as get past them, as far as a plan goes.
        let limit = self.snapshot.current_nonce.saturating_add(MAX_RAISE);
        while let Some(nonce) = stop_nonce(&play.after, &nonces, choice.draw)? {
            play.make(Move::Stop { nonce });
            let waits_on = nonces.contains(&nonce) || nonces.iter().any(|later| *later > nonce && *later <= limit);
            if !waits_on {
                break;
            }
        }
        let restores = self.restore_signing(&mut play);
        Ok((play, restores))
    }

    /// On 3.3 the stop also ends what the owner signs for the account, of a root that is a validator.
    fn restore_signing(&self, play: &mut Play) -> Restores {
        let snapshot = &self.snapshot;
        if !snapshot.kernel.is_some_and(KernelVersion::stops_signing) || snapshot.is_delegated() {
            return Restores::NotNeeded;
        }
        if !play.moves.iter().any(|step| matches!(step, Move::Stop { .. })) {
            return Restores::NotNeeded;
        }
        let owner = match snapshot.is_deployed() {
            true => snapshot.owner(),
            // It is deployed with the owner on record, right before this.
            false => Some(self.owner),
        };
        let hook = snapshot.root_validation().map_or(NO_HOOK, |root| root.hook);
        let known = !snapshot.is_deployed() || snapshot.root_validation().is_some();
        match (snapshot.ecdsa_root(), owner) {
            (Some(validator), Some(owner)) if known && hook == NO_HOOK => {
                let nonce = play.after.install_nonce_of_validator(validator);
                play.make(Move::RestoreSigning { validator, owner, nonce });
                Restores::Done
            }
            _ => Restores::CannotTell,
        }
    }

    fn warnings(
        &self,
        play: &Play,
        wanted: &BTreeSet<ApprovalId>,
        alive: &BTreeSet<ApprovalId>,
        restores: Option<Restores>,
        names: &Names<'_>,
    ) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut say = |ids: Vec<ApprovalId>, words: &dyn Fn(&str) -> String| {
            if !ids.is_empty() {
                let labels = labels(names, ids.iter().copied());
                let who =
                    if labels.is_empty() { "an approval that is not on record".to_owned() } else { labels.join(", ") };
                warnings.push(words(&who));
            }
        };
        say(alive.iter().copied().collect(), &|who| format!("{who} cannot be ended by this, and may still come alive"));
        let comes_alive = |claim: &&Claim| {
            let Some(request) = &claim.request else { return false };
            let outlook = |snapshot: &Snapshot| snapshot.outlook(request, claim.approver);
            !claim.held
                && matches!(outlook(&self.snapshot), Outlook::Later(Later::Nonce | Later::IdTaken))
                && outlook(&play.after) == Outlook::Now
        };
        let ids = |keep: &dyn Fn(&&Claim) -> bool| -> Vec<ApprovalId> {
            self.claims.iter().filter(keep).map(|claim| claim.id).collect()
        };
        say(ids(&|claim| comes_alive(claim)), &|who| format!("{who} can be enabled from then on"));
        let touched = |claim: &&Claim| {
            let of_key = |step: &Move| match step {
                Move::Uninstall { id, .. } | Move::Consume { id, .. } => claim.key == Some(*id),
                _ => false,
            };
            wanted.contains(&claim.id) && play.moves.iter().any(of_key)
        };
        say(ids(&|claim| touched(claim)), &|who| {
            format!("the same scope cannot be granted to {who} again under the same id: a new approval needs another")
        });
        let stopped = |claim: &&Claim| claim.key.is_some_and(|key| claim.held && play.after.key(key).is_installed());
        if play.moves.iter().any(|step| matches!(step, Move::Stop { .. })) {
            say(ids(&|claim| stopped(claim)), &|who| {
                format!("{who} stays installed and is stopped: its id cannot be granted again")
            });
        }
        let on_other_chains =
            |claim: &&Claim| wanted.contains(&claim.id) && claim.request.as_ref().is_some_and(|r| r.chain_id.is_none());
        say(ids(&|claim| on_other_chains(claim)), &|who| {
            format!("{who} was signed for every chain, and stays alive on the others")
        });
        let unknown = |claim: &&Claim| {
            let key = claim.key.map(|key| self.snapshot.key(key)).unwrap_or_default();
            touched(claim) && (key.has_hook() || key.policies.iter().any(|(_, policy)| !is_known_policy(*policy)))
        };
        say(ids(&|claim| unknown(claim)), &|who| {
            format!(
                "{who} has a policy or hook that is not known: two that burn gas when they are uninstalled cannot be uninstalled at all, \
                 and then only the final stop ends the key"
            )
        });
        if restores == Some(Restores::CannotTell) {
            warnings.push(
                "the owner's own signatures for the account (ERC-1271) are refused from then on, and what mends that is not known for \
                 this root"
                    .to_owned(),
            );
        }
        warnings
    }

    /// A move in words: one step for each of its calls.
    fn steps(&self, step: &Move, plan: &RevocationPlan, names: &Names<'_>, calls: usize) -> Vec<Step> {
        let of_key = |id: PermissionId| {
            let ids = self.claims.iter().filter(|claim| claim.key == Some(id)).map(|claim| claim.id);
            match labels(names, ids.filter(|id| !plan.over.contains(id))).as_slice() {
                [] => format!("key {id}"),
                labels => labels.join(", "),
            }
        };
        let one = |call: &str, effect: String| vec![Step { call: call.to_owned(), effect }];
        match step {
            Move::Uninstall { id, .. } => one(
                "Kernel.uninstallValidation",
                format!("uninstalls {}: it can neither act nor sign; other keys keep working", of_key(*id)),
            ),
            Move::Consume { id, nonce } => {
                let others = match plan.also_ends.is_empty() || *nonce == self.snapshot.current_nonce {
                    true => "other keys keep working",
                    false => {
                        "the account's nonce rises, and every other approval that waits ends; enabled keys keep working"
                    }
                };
                vec![
                    Step {
                        call: "Kernel.installValidations(powerless key)".to_owned(),
                        effect: format!("uses up the id of {} at nonce {nonce}; {others}", of_key(*id)),
                    },
                    Step {
                        call: "Kernel.uninstallValidation(powerless key)".to_owned(),
                        effect: "takes the powerless key away: no approval of the id can be enabled at this nonce"
                            .to_owned(),
                    },
                ]
            }
            Move::Raise { to, .. } => {
                let mut steps = vec![
                    Step {
                        call: "Kernel.installValidations, Kernel.uninstallValidation(powerless key)".to_owned(),
                        effect: "raises the account's nonce by one".to_owned(),
                    };
                    calls
                ];
                if let Some(first) = steps.first_mut() {
                    first.effect = format!(
                        "raises the account's nonce to {to}: every approval that was signed for an earlier one is over; enabled keys \
                         keep working"
                    );
                }
                steps
            }
            Move::Stop { nonce } => one(
                &format!("Kernel.invalidateNonce({nonce})"),
                "stops every key, enabled or waiting, also those that are not on record; you, the owner, can still act"
                    .to_owned(),
            ),
            Move::RemoveValidator { validator } => one(
                "Kernel.uninstallValidation(validator)",
                format!("takes validator {validator} away, which could act and sign for the account"),
            ),
            Move::CloseFallback { selector, target } => one(
                "Kernel.uninstallModule(fallback)",
                format!("closes function {selector}, which others may call and which runs {target}"),
            ),
            Move::RemoveExecutor { executor } => one(
                "Kernel.uninstallModule(executor)",
                format!("takes executor {executor} away, which may move everything at any time"),
            ),
            Move::RestoreSigning { validator, .. } => vec![
                Step {
                    call: "ECDSAValidator.onUninstall".to_owned(),
                    effect: format!("makes validator {validator} ready to be installed anew, for the same owner"),
                },
                Step {
                    call: "Kernel.installValidations(owner)".to_owned(),
                    effect: "keeps the owner's own signatures for the account valid, which the stop would end"
                        .to_owned(),
                },
            ],
        }
    }

    fn expected(&self, play: &Play) -> Expected {
        let keys = self.snapshot.keys.iter().map(|(id, key)| (*id, (key.nonce, key.is_installed())));
        let mut expected = Expected {
            nonces: (self.snapshot.current_nonce, self.snapshot.valid_from),
            keys: keys.collect(),
            valid_from: play.after.valid_from,
            current: play.after.current_nonce,
            ..Expected::default()
        };
        for step in &play.moves {
            match step {
                Move::Uninstall { id, .. } => {
                    expected.uninstalled.insert(*id);
                }
                Move::Consume { id, nonce } => {
                    expected.uninstalled.insert(*id);
                    expected.consumed.insert(*id, *nonce);
                }
                Move::Raise { .. } | Move::Stop { .. } => {}
                Move::RemoveValidator { validator } => {
                    expected.validators.insert(*validator);
                }
                Move::CloseFallback { selector, .. } => {
                    expected.closed.insert(*selector);
                }
                Move::RemoveExecutor { executor } => {
                    expected.removed.insert(*executor);
                }
                Move::RestoreSigning { validator, nonce, .. } => expected.signs = Some((*validator, *nonce)),
            }
        }
        expected
    }
}

/// Whether the owner's own signatures are kept valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Restores {
    NotNeeded,
    Done,
    CannotTell,
}

/// What a claim can do, now or later, without the owner doing anything more but undoing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Power {
    None,
    /// It acts or signs.
    Enabled,
    /// It can be enabled, now or later.
    Waits,
}

impl Claim {
    fn power(&self, snapshot: &Snapshot) -> Power {
        let installed = match (&self.request, self.key) {
            (Some(request), Some(_)) => snapshot.holds(request),
            (None, Some(key)) => snapshot.key(key).is_installed(),
            _ => false,
        };
        match (installed, self.key, &self.request) {
            (true, Some(key), _) if snapshot.has_power(key) => Power::Enabled,
            (true, ..) | (false, _, None) => Power::None,
            (false, _, Some(request)) if snapshot.outlook(request, self.approver).may_come() => Power::Waits,
            (false, ..) => Power::None,
        }
    }
}

impl Snapshot {
    fn install_nonce_of_validator(&self, validator: Address) -> u32 {
        // Before deployment the root is installed at the nonce that the account begins with.
        let held = self.validation(ValidationId::of_validator(validator)).map_or(1, |held| held.nonce);
        self.current_nonce.saturating_add(u32::from(held == self.current_nonce))
    }
}

impl Expected {
    /// What no key's own proof shows.
    pub fn unmet(&self, snapshot: &Snapshot) -> Option<Unmet> {
        let unmet = |what: String| Some(Unmet::NotInvalid(what));
        if snapshot.valid_from < self.valid_from {
            return unmet(format!(
                "everything with a nonce below {} is invalid, not below {}",
                snapshot.valid_from, self.valid_from
            ));
        }
        if snapshot.current_nonce < self.current {
            return unmet(format!("the account's nonce is {}, not {}", snapshot.current_nonce, self.current));
        }
        for id in &self.uninstalled {
            if snapshot.key(*id).is_installed() {
                return unmet(format!("the account still holds key {id}"));
            }
        }
        for (id, nonce) in &self.consumed {
            if snapshot.key(*id).nonce < *nonce {
                return unmet(format!("the id of key {id} is not used up at nonce {nonce}"));
            }
        }
        if let Some(function) = self.closed.iter().find(|function| snapshot.fallbacks.contains_key(*function)) {
            return unmet(format!("function {function} is still open to others"));
        }
        if let Some(executor) = self.removed.iter().find(|executor| snapshot.executors.contains_key(*executor)) {
            return unmet(format!("executor {executor} is still there"));
        }
        let held =
            |validator: &Address| snapshot.validation(ValidationId::of_validator(*validator)).unwrap_or_default();
        if let Some(validator) = self.validators.iter().find(|validator| !held(validator).hook.is_zero()) {
            return unmet(format!("validator {validator} is still there"));
        }
        match self.signs {
            Some((validator, nonce)) if held(&validator).nonce < nonce => {
                unmet("the owner's own signatures for the account are refused".to_owned())
            }
            _ => None,
        }
    }

    /// Whether the account's nonces, or what it holds for a key, moved since the plan was made.
    pub fn raced(&self, snapshot: &Snapshot) -> bool {
        self.nonces != (snapshot.current_nonce, snapshot.valid_from)
            || self.keys.iter().any(|(id, held)| {
                let now = snapshot.keys.get(id).map(|key| (key.nonce, key.is_installed()));
                now.is_some_and(|now| now != *held)
            })
    }
}

fn claim(owner: Address, request: &ApprovalRequest, is_signed: bool, snapshot: &Snapshot) -> Claim {
    let signer = request.config().ok().map(|config| config.signer);
    let module = signer.as_ref().map_or(Address::ZERO, |signer| signer.address());
    Claim {
        id: request.id(),
        key: request.permission_id(),
        request: Some(request.clone()),
        approver: owner,
        is_signed,
        held: snapshot.holds(request),
        holder: signer.and_then(|signer| signer.key()).unwrap_or(module),
        module,
    }
}

/// Of a key that only the chain shows: the hash of what the chain holds.
fn held_id(account: Address, id: PermissionId, state: &KeyState) -> ApprovalId {
    let session_key = state.session_key.unwrap_or_default();
    let policies = state.policies.iter().flat_map(|(flag, policy)| [&flag.0[..], policy.as_slice()].concat());
    let mut held = [account.as_slice(), id.0.as_slice(), &state.nonce.to_be_bytes(), state.hook.as_slice()].concat();
    held.extend([&state.flag.0[..], state.signer.as_slice(), session_key.as_slice()].concat());
    held.extend(policies);
    ApprovalId(keccak256(held))
}

/// What a plan's calls are made with, by the account itself.
pub fn batch(calls: Vec<Call>, exec: ExecType) -> Bytes {
    use crate::protocol::{AccountCall, kernel_v3::account::Execution};
    Execution { call: AccountCall::ExecuteBatch(calls), exec, hooked: false }.encode()
}

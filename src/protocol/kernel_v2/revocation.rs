//! Taking power back: from what is known of an account and what its owner wants to the calls that do it, and what each ends
//! (docs/kernel-v2.md#revoking).
//!
//! What the validator holds for a key is deleted by `disable(key)`. An approval that was signed and never used is ended by
//! using its turn up: a *burn*, `enable` of a key nobody has. Neither does the other's work: `disable` of a pending key
//! succeeds and does nothing. Turns go in order, so a burn of turn 7 needs turns 5 and 6 to be over; an approval that shall
//! live and stands before is enabled by the owner in the same batch.
//!
//! **Nothing here can be turned into a rewind.** A burn names one turn and reverts when somebody else has used it; "revoke
//! all" is `disable` with no data, for which the chain itself looks up the newest turn. No nonce is ever swept to.

pub mod book;

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::{Address, B256, Bytes, Selector, U256};
use serde::Serialize;

use super::{
    account::{disable_all, disable_key, disable_mode, enable_key, set_execution},
    approval::EnableData,
    generation::Generation,
};
use crate::protocol::{
    ApprovalId, Call,
    revocation::{Refusal, RevokeTarget},
};

/// The turns of an account on one validator: `nonces(account)`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Nonces {
    /// The newest turn that was used; the next approval must have this plus one.
    pub last: u128,
    /// Every key with this turn or an earlier one is dead.
    pub invalid: u128,
}

/// What an owner's signature on an approval is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signed {
    /// Never signed here. Not a promise that it was signed nowhere.
    No,
    /// By the present owner, for the present implementation.
    Counts,
    /// By an earlier owner or for another implementation: it counts again if that is undone.
    Stale,
}

/// An approval, or a key that the validator holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    pub id: ApprovalId,
    pub generation: Generation,
    pub enable: EnableData,
    /// The account function that the approval opens.
    pub selector: Selector,
    /// `sessionData` holds exactly this for the key.
    pub held: bool,
    pub signed: Signed,
}

/// What is known of an account, at one block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scene {
    pub account: Address,
    /// Block time, unix seconds.
    pub now: u64,
    pub nonces: BTreeMap<Generation, Nonces>,
    /// Which validator the account sends each function's session operations to.
    pub routes: BTreeMap<Selector, Address>,
    /// Each id once.
    pub claims: Vec<Claim>,
}

impl Scene {
    pub fn claim(&self, id: ApprovalId) -> Option<&Claim> {
        self.claims.iter().find(|claim| claim.id == id)
    }

    pub fn nonces(&self, generation: Generation) -> Nonces {
        self.nonces.get(&generation).copied().unwrap_or_default()
    }

    fn expired(&self, claim: &Claim) -> bool {
        claim.enable.valid_until != 0 && claim.enable.valid_until < self.now
    }

    /// The validator would take it for its key's scope now: it is enabled, and neither invalidated nor expired.
    pub fn lives(&self, claim: &Claim) -> bool {
        claim.held && claim.enable.nonce > self.nonces(claim.generation).invalid && !self.expired(claim)
    }

    /// Its holder can enable it, now or when its turn comes. After a rewind that is true of approvals that were used; of a
    /// draft it is taken to be true, because its signature may exist elsewhere.
    pub fn may_come(&self, claim: &Claim) -> bool {
        claim.enable.nonce > self.nonces(claim.generation).last && !self.expired(claim)
    }

    /// Whether the claim can do anything, now or later, without the owner doing anything more.
    pub fn has_power(&self, claim: &Claim) -> bool {
        self.lives(claim) || self.may_come(claim)
    }
}

/// One call of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// Deletes what the validator holds for a key.
    Disable { generation: Generation, key: Address },
    /// Uses a turn up.
    Burn { generation: Generation, nonce: u128 },
    /// Enables an approval that shall live and stands before a turn that is burnt.
    Keep { claim: ApprovalId },
    /// Invalidates every turn up to the newest one, whichever that is when it runs.
    Sweep { generation: Generation },
    /// Ends the panic: whatever was not ended otherwise comes back.
    Lift,
}

/// Calls in their order, and what they come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub moves: Vec<Move>,
    /// Wanted, and ended by this plan.
    pub ends: BTreeSet<ApprovalId>,
    /// Not wanted, and ended all the same.
    pub also_ends: BTreeSet<ApprovalId>,
    /// Wanted, and without power already: nothing is done for them.
    pub over: BTreeSet<ApprovalId>,
}

/// Most turns used up by one plan: more would not fit into a block.
pub const MAX_TURNS: u128 = 64;

/// The smallest plan that does what is wanted.
pub fn plan(scene: &Scene, target: &RevokeTarget) -> Result<Plan, Refusal> {
    let every = || scene.claims.iter().map(|claim| claim.id).collect::<BTreeSet<_>>();
    match target {
        RevokeTarget::These(claims) => these(scene, claims),
        RevokeTarget::All => all(scene),
        RevokeTarget::UnpauseKeeping(kept) => {
            let mut plan = if kept.is_empty() { all(scene)? } else { these(scene, &(&every() - kept))? };
            plan.moves.push(Move::Lift);
            Ok(plan)
        }
    }
}

fn these(scene: &Scene, wanted: &BTreeSet<ApprovalId>) -> Result<Plan, Refusal> {
    let mut plan = Plan::default();
    let mut ahead: BTreeMap<Generation, BTreeSet<ApprovalId>> = BTreeMap::new();
    let mut deleted = BTreeSet::new();
    for claim in scene.claims.iter().filter(|claim| wanted.contains(&claim.id)) {
        if !scene.has_power(claim) {
            plan.over.insert(claim.id);
            continue;
        }
        plan.ends.insert(claim.id);
        if scene.lives(claim) && deleted.insert((claim.generation, claim.enable.session_key)) {
            plan.moves.push(Move::Disable { generation: claim.generation, key: claim.enable.session_key });
        }
        if scene.may_come(claim) {
            ahead.entry(claim.generation).or_default().insert(claim.id);
        }
    }
    for (generation, burnt) in ahead {
        use_turns_up(scene, generation, &burnt, wanted, &mut plan)?;
    }
    plan.also_ends = plan.also_ends.difference(wanted).copied().collect();
    Ok(plan)
}

/// Walks the turns from the next one to the last that is to be burnt.
fn use_turns_up(
    scene: &Scene,
    generation: Generation,
    burnt: &BTreeSet<ApprovalId>,
    wanted: &BTreeSet<ApprovalId>,
    plan: &mut Plan,
) -> Result<(), Refusal> {
    let last = scene.nonces(generation).last;
    let nonces = scene.claims.iter().filter(|claim| burnt.contains(&claim.id)).map(|claim| claim.enable.nonce);
    let highest = nonces.max().unwrap_or(last);
    for nonce in turns(last, highest)? {
        let of_turn = |claim: &&Claim| claim.generation == generation && claim.enable.nonce == nonce;
        let on_turn: Vec<&Claim> = scene.claims.iter().filter(of_turn).collect();
        let bystanders: Vec<&Claim> = on_turn.iter().copied().filter(|claim| !wanted.contains(&claim.id)).collect();
        let waiting: Vec<ApprovalId> = bystanders
            .iter()
            .filter(|c| !c.held && c.signed == Signed::Counts && scene.may_come(c))
            .map(|c| c.id)
            .collect();
        if !on_turn.iter().any(|claim| burnt.contains(&claim.id)) {
            match waiting.as_slice() {
                [] => {}
                [one] => {
                    can_be_kept(scene, *one, &plan.moves)?;
                    plan.moves.push(Move::Keep { claim: *one });
                    continue;
                }
                several => return Err(Refusal::Contested { nonce, claims: several.to_vec() }),
            }
        }
        plan.moves.push(Move::Burn { generation, nonce });
        // A draft may have been signed elsewhere; a stale approval could have come back.
        plan.also_ends.extend(bystanders.iter().filter(|c| !c.held && !scene.expired(c)).map(|c| c.id));
    }
    Ok(())
}

/// Enabling it on its holder's behalf must not cost another key its life, nor its own key a scope that it has by then.
fn can_be_kept(scene: &Scene, id: ApprovalId, kept: &[Move]) -> Result<(), Refusal> {
    let refused = Err(Refusal::CannotKeep { claim: id });
    let Some(claim) = scene.claim(id) else { return refused };
    let opened_elsewhere = |earlier: &Move| match earlier {
        Move::Keep { claim: other } => scene
            .claim(*other)
            .is_some_and(|other| other.selector == claim.selector && other.generation != claim.generation),
        _ => false,
    };
    let goes_elsewhere = scene.routes.get(&claim.selector).is_some_and(|to| *to != claim.generation.address())
        || kept.iter().any(opened_elsewhere);
    let replaces = scene.claims.iter().any(|other| {
        other.generation == claim.generation
            && other.enable.session_key == claim.enable.session_key
            && !other.enable.allows_the_same(&claim.enable)
            && (scene.lives(other) || kept.contains(&Move::Keep { claim: other.id }))
    });
    if goes_elsewhere || replaces { refused } else { Ok(()) }
}

/// Every turn that an approval on record waits for is used up, then the chain invalidates all there are. Raced, the burn
/// reverts and the batch with it: it is never a rewind.
fn all(scene: &Scene) -> Result<Plan, Refusal> {
    let mut plan = Plan::default();
    for claim in &scene.claims {
        let set = if scene.has_power(claim) { &mut plan.ends } else { &mut plan.over };
        set.insert(claim.id);
    }
    for (generation, nonces) in &scene.nonces {
        let here = |claim: &&Claim| claim.generation == *generation;
        let highest = scene.claims.iter().filter(here).filter(|c| scene.may_come(c)).map(|c| c.enable.nonce).max();
        let highest = highest.unwrap_or(nonces.last);
        for nonce in turns(nonces.last, highest)? {
            plan.moves.push(Move::Burn { generation: *generation, nonce });
        }
        // The chain refuses to sweep twice to the same turn; then nothing is alive up to it.
        if highest.max(nonces.last) > nonces.invalid {
            plan.moves.push(Move::Sweep { generation: *generation });
        }
    }
    Ok(plan)
}

/// The turns after `last` up to `highest`.
fn turns(last: u128, highest: u128) -> Result<Vec<u128>, Refusal> {
    if highest <= last {
        return Ok(Vec::new());
    }
    // An approval with the very last turn can never be enabled: the validator counts one further first.
    let next = last.checked_add(1).ok_or(Refusal::NoNoncesLeft)?;
    if highest.saturating_sub(last) > MAX_TURNS {
        return Err(Refusal::TooFar { nonce: highest, last });
    }
    Ok((next..=highest).collect())
}

impl Move {
    /// As the account makes it.
    pub fn call(&self, scene: &Scene) -> Option<Call> {
        let to_validator = |generation: Generation, data| Call { to: generation.address(), value: U256::ZERO, data };
        let to_itself = |data| Call { to: scene.account, value: U256::ZERO, data };
        Some(match *self {
            Self::Disable { generation, key } => to_validator(generation, disable_key(key)),
            Self::Burn { generation, nonce } => to_validator(generation, burn(nonce)),
            Self::Sweep { generation } => to_validator(generation, disable_all()),
            Self::Lift => to_itself(disable_mode(LIFTED)),
            Self::Keep { claim } => {
                let claim = scene.claim(claim)?;
                let data = claim.enable.encode();
                match scene.routes.contains_key(&claim.selector) {
                    true => to_validator(claim.generation, enable_key(&data)),
                    false => to_itself(set_execution(claim.selector, claim.generation.address(), &data)),
                }
            }
        })
    }

    /// The contract and function that is called, for showing.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Disable { .. } => "SessionKeyValidator.disable",
            Self::Burn { .. } => "SessionKeyValidator.enable(placeholder key)",
            Self::Sweep { .. } => "SessionKeyValidator.disable(everything through the last nonce)",
            Self::Keep { .. } => "SessionKeyValidator.enable",
            Self::Lift => "Kernel.disableMode(0)",
        }
    }
}

/// The mode that refuses every session key, whatever it was signed for.
pub const PANIC: u32 = u32::MAX;
const LIFTED: u32 = 0;

/// The bits of the disabled mode that stop session keys: enabled ones, and approvals that would be enabled.
pub const SESSION_MODES: u32 = 0b11;

/// `disableMode(0xffffffff)` on the account itself: no session key can act or be enabled until it is lifted. The owner can.
pub fn panic(account: Address) -> Call {
    Call { to: account, value: U256::ZERO, data: disable_mode(PANIC) }
}

/// `enable` of a key nobody has, with a scope that allows nothing and ended in 1970: uses the turn up.
pub fn burn(nonce: u128) -> Bytes {
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

#[cfg(test)]
mod tests;

//! What is known of the approvals of an account in one state, and the plan of a revocation in words.

use std::collections::BTreeSet;

use alloy::primitives::{Address, Bytes};

use super::{Claim, Move, Plan, SESSION_MODES, Scene, Signed, plan};
use crate::{
    policy::scope::Scope,
    protocol::{
        ApprovalId, Step,
        kernel_v2::{
            account::selector, approval::ApprovalRequest, generation::Generation, probe::Subject, snapshot::Snapshot,
        },
        revocation::{Holding, Names, Refusal, RevocationPlan, RevokeTarget, Unmet, labels},
    },
};

/// Every approval on record, and whatever else the validators hold for a key that is known.
#[derive(Debug, Clone)]
pub struct ApprovalBook {
    scene: Scene,
    /// What no approval on record explains.
    unexplained: Vec<ApprovalId>,
}

/// What must hold once a plan is mined, and what the plan relies on until then.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// The newest nonces when it was planned, by validator.
    nonces: Vec<(Generation, u128)>,
    /// Validators that are invalidated, and the nonce through which every key must be dead afterwards.
    invalid: Vec<(Generation, u128)>,
    unpaused: bool,
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
            let claim = claim(owner, request, signature, snapshot);
            match claims.iter_mut().find(|known| known.id == claim.id) {
                // Signed on one record is signed.
                Some(known) if known.signed == Signed::No => *known = claim,
                Some(_) => {}
                None => claims.push(claim),
            }
        }
        let mut unexplained = Vec::new();
        for ((generation, _), enable) in &snapshot.sessions {
            if claims.iter().any(|c| c.generation == *generation && c.enable == *enable) {
                continue;
            }
            let id = enable.held_id(*generation);
            unexplained.push(id);
            claims.push(Claim {
                id,
                generation: *generation,
                enable: *enable,
                selector: selector::EXECUTE,
                held: true,
                signed: Signed::No,
            });
        }
        let routes = snapshot.routes.iter().filter(|(_, route)| !route.validator.is_zero());
        let scene = Scene {
            account,
            now: snapshot.timestamp,
            nonces: snapshot.nonces.clone(),
            routes: routes.map(|(function, route)| (*function, route.validator)).collect(),
            claims,
        };
        Self { scene, unexplained }
    }

    pub fn holdings(&self) -> impl Iterator<Item = Holding> {
        self.scene.claims.iter().map(|claim| self.holding(claim))
    }

    /// What the validators hold for a known key, and no approval on record explains.
    pub fn unexplained(&self) -> impl Iterator<Item = Holding> {
        self.unexplained.iter().filter_map(|id| self.scene.claim(*id)).map(|claim| self.holding(claim))
    }

    /// What of an unexplained holding is tried before and after.
    pub fn subject(&self, id: ApprovalId, scope: Option<&Scope>) -> Option<Subject> {
        self.scene.claim(id).map(|claim| Subject::held(claim.generation, claim.enable, scope))
    }

    fn holding(&self, claim: &Claim) -> Holding {
        let nonce = claim.enable.nonce;
        let acts = match (self.scene.lives(claim), self.scene.may_come(claim), claim.signed) {
            (true, ..) => Some(format!("an approval of its holder is enabled (nonce {nonce})")),
            (false, true, Signed::No) => Some(format!(
                "a draft of its holder's (nonce {nonce}) may have been signed elsewhere, and could then be enabled"
            )),
            (false, true, _) => Some(format!("an approval of its holder can still be enabled (nonce {nonce})")),
            (false, false, _) => None,
        };
        Holding {
            id: claim.id,
            holder: claim.enable.session_key,
            module: claim.generation.address(),
            acts,
            ran_out: self.scene.expired(claim),
        }
    }

    /// The smallest plan that does what is asked for, in calls and in words.
    pub fn plan(&self, target: &RevokeTarget, names: &Names<'_>) -> Result<(RevocationPlan, Expected), Refusal> {
        let plan = plan(&self.scene, target)?;
        let expected = Expected {
            nonces: self.scene.nonces.iter().map(|(generation, nonces)| (*generation, nonces.last)).collect(),
            invalid: invalidated(&plan, &self.scene),
            unpaused: matches!(target, RevokeTarget::UnpauseKeeping(_)),
        };
        let calls = plan.moves.iter().filter_map(|m| m.call(&self.scene)).collect();
        let steps = plan.moves.iter().map(|m| self.step(m, &plan, names)).collect();
        let Plan { ends, also_ends, over, .. } = plan;
        Ok((RevocationPlan { calls, steps, ends, also_ends, over, warnings: Vec::new() }, expected))
    }

    fn on_nonce(&self, generation: Generation, nonce: u128) -> impl Iterator<Item = &Claim> {
        self.scene.claims.iter().filter(move |c| c.generation == generation && c.enable.nonce == nonce)
    }

    /// A call of the plan in words.
    fn step(&self, step: &Move, plan: &Plan, names: &Names<'_>) -> Step {
        let effect = match step {
            Move::Disable { generation, key } => {
                let of_key = |c: &&Claim| c.generation == *generation && c.enable.session_key == *key && c.held;
                let who = labels(names, self.scene.claims.iter().filter(of_key).map(|c| c.id)).join(", ");
                match who == key.to_string() {
                    true => format!("deletes {key} from the validator; other keys keep working"),
                    false => format!("deletes {who} ({key}) from the validator; other keys keep working"),
                }
            }
            Move::Burn { generation, nonce } => {
                let on_nonce = |set: &BTreeSet<ApprovalId>| -> Vec<String> {
                    labels(names, self.on_nonce(*generation, *nonce).map(|c| c.id).filter(|id| set.contains(id)))
                };
                match (on_nonce(&plan.ends).as_slice(), on_nonce(&plan.also_ends).as_slice()) {
                    ([], []) => {
                        format!("consumes nonce {nonce}, which no approval on record has, to get to a later one")
                    }
                    ([], others) => {
                        format!("consumes nonce {nonce} of {} to get to a later one", others.join(", "))
                    }
                    (ours, _) => {
                        let others = if plan.moves.iter().any(|m| matches!(m, Move::Sweep { .. })) {
                            ""
                        } else {
                            "; other keys keep working"
                        };
                        let ours = ours.join(", ");
                        format!("consumes nonce {nonce}, so the unused approval of {ours} can never be enabled{others}")
                    }
                }
            }
            Move::Keep { claim } => {
                let nonce = self.scene.claim(*claim).map_or(0, |c| c.enable.nonce);
                format!(
                    "enables {} (nonce {nonce}) first, so that it keeps working: a later nonce is consumed",
                    labels(names, [*claim]).join(", ")
                )
            }
            Move::Sweep { generation } => {
                let held =
                    |id: &ApprovalId| self.scene.claim(*id).is_some_and(|c| c.generation == *generation && c.held);
                match labels(names, plan.ends.iter().copied().filter(held)).as_slice() {
                    [] => "revokes every key that was ever enabled, also those that are not on record".to_owned(),
                    labels => {
                        format!(
                            "revokes {} and every other key that was ever enabled, also those not on record",
                            labels.join(", ")
                        )
                    }
                }
            }
            Move::Lift => "unpauses the account: keys that were not revoked work again".to_owned(),
        };
        Step { call: step.name().into(), effect }
    }
}

impl Expected {
    /// What no key's own proof shows: that everything through a nonce is dead, and that the pause is off.
    pub fn unmet(&self, snapshot: &Snapshot) -> Option<Unmet> {
        for (generation, nonce) in &self.invalid {
            let invalid = snapshot.nonces(*generation).invalid;
            if invalid < *nonce {
                return Some(Unmet::NotInvalid(format!(
                    "on validator {generation} only the nonces through {invalid} are invalid, not those through {nonce}"
                )));
            }
        }
        (self.unpaused && snapshot.disabled_mode & SESSION_MODES != 0).then_some(Unmet::StillPaused)
    }

    /// Whether the account's nonces moved since the plan was made.
    pub fn raced(&self, snapshot: &Snapshot) -> bool {
        self.nonces.iter().any(|(generation, last)| snapshot.nonces(*generation).last != *last)
    }
}

fn claim(owner: Address, request: &ApprovalRequest, signature: Option<&Bytes>, snapshot: &Snapshot) -> Claim {
    let signed = match signature {
        None => Signed::No,
        Some(signature)
            if request.is_signed_by(owner, signature)
                && snapshot.kernel.is_none_or(|kernel| kernel == request.kernel) =>
        {
            Signed::Counts
        }
        Some(_) => Signed::Stale,
    };
    Claim {
        id: request.id(),
        generation: request.validator,
        enable: request.enable,
        selector: request.selector,
        held: snapshot.holds(request.validator, &request.enable),
        signed,
    }
}

/// Each validator that the plan invalidates, with the last nonce that it consumes there, or the newest that was used.
fn invalidated(plan: &Plan, scene: &Scene) -> Vec<(Generation, u128)> {
    let burnt = |wanted: Generation| {
        plan.moves.iter().filter_map(move |m| match m {
            Move::Burn { generation, nonce } if *generation == wanted => Some(*nonce),
            _ => None,
        })
    };
    let sweeps = plan.moves.iter().filter_map(|m| match m {
        Move::Sweep { generation } => Some(*generation),
        _ => None,
    });
    sweeps.map(|g| (g, burnt(g).max().unwrap_or_default().max(scene.nonces(g).last))).collect()
}

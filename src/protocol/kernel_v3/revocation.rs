//! Taking power back: from what is known of an account and what its owner wants to the calls that do it
//! (docs/kernel-v3.md#revoking).
//!
//! What the account holds for a key is taken away by `uninstallValidation`. An approval that was signed and never used is ended by
//! using its id up: a powerless permission is installed under it and uninstalled again. Neither does the other's work. Approvals of
//! a later nonce end only with the nonce: it is raised past them, which ends every approval that waits, and no key that is enabled.
//! The final stop invalidates everything below a nonce; on Kernel 3.0-3.2 what it stops signs on, and is uninstalled with it.
//!
//! Each move is played on the snapshot, and what a plan ends is read off the snapshot that comes out.

pub mod book;

use std::collections::BTreeSet;

use alloy::{
    primitives::{Address, Bytes, Selector, U256, address},
    sol_types::{SolCall, SolValue},
};

use super::{
    account::{
        ValidationConfig, installValidationsCall, invalidateNonceCall, onUninstallCall, uninstall_permission,
        uninstallModuleCall, uninstallValidationCall,
    },
    contracts::SUDO_POLICY,
    nonce::{PermissionId, ValidationId},
    permission_config::{PermissionConfig, PermissionFlag, Signer},
    snapshot::{KeyState, NO_HOOK, PolicyState, Snapshot, is_known_policy},
};
use crate::protocol::{Call, revocation::Refusal};

/// How far one `invalidateNonce` may go.
const STRIDE: u32 = 10;

/// Most nonces that one plan raises the account's by: more would not fit into a block.
pub const MAX_RAISE: u32 = 64;

/// Nobody's key: what a powerless permission is installed with.
const NOBODY: Address = address!("000000000000000000000000000000000000dEaD");

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// Takes away what the account holds for a key.
    Uninstall {
        id: PermissionId,
        policies: usize,
        has_hook: bool,
    },
    /// Uses an id up at a nonce: every approval of it through that nonce is over.
    Consume {
        id: PermissionId,
        nonce: u32,
    },
    /// Raises the account's nonce one by one through `to`, with an id that nobody has: every approval below is over, and every key
    /// that is enabled stays.
    Raise {
        with: PermissionId,
        from: u32,
        to: u32,
    },
    /// Invalidates every key and every approval with a lower nonce.
    Stop {
        nonce: u32,
    },
    /// Takes a validator away that is not the root.
    RemoveValidator {
        validator: Address,
    },
    /// Takes a function back that is routed to a module.
    CloseFallback {
        selector: Selector,
        target: Address,
    },
    RemoveExecutor {
        executor: Address,
    },
    /// Installs the root's validator anew, for the same owner: on 3.3 the stop also ends what the owner signs for the account.
    RestoreSigning {
        validator: Address,
        owner: Address,
        nonce: u32,
    },
}

impl Move {
    /// As the account makes it.
    pub fn calls(&self, account: Address) -> Vec<Call> {
        let to_itself = |data: Bytes| Call { to: account, value: U256::ZERO, data };
        match self {
            Self::Uninstall { id, policies, has_hook } => {
                // An empty word for a hook reverts, and leaves the key alive.
                let hook_data = if *has_hook { Bytes::from_static(&[0]) } else { Bytes::new() };
                vec![to_itself(uninstall_permission(id.validation_id(), *policies, hook_data))]
            }
            Self::Consume { id, nonce } => consume(*id, *nonce).map(to_itself).to_vec(),
            Self::Raise { with, from, to } => {
                (*from..=*to).flat_map(|nonce| consume(*with, nonce)).map(to_itself).collect()
            }
            Self::Stop { nonce } => vec![to_itself(invalidateNonceCall { nonce: *nonce }.abi_encode().into())],
            Self::RemoveValidator { validator } => {
                let v_id = ValidationId::of_validator(*validator).0;
                let (deinit, hook) = (Bytes::new(), Bytes::new());
                let call = uninstallValidationCall { vId: v_id, deinitData: deinit, hookDeinitData: hook };
                vec![to_itself(call.abi_encode().into())]
            }
            Self::CloseFallback { selector, target } => {
                let data = Bytes::copy_from_slice(selector.as_slice());
                vec![to_itself(uninstall_module(FALLBACK, *target, data))]
            }
            Self::RemoveExecutor { executor } => vec![to_itself(uninstall_module(EXECUTOR, *executor, Bytes::new()))],
            Self::RestoreSigning { validator, owner, nonce } => {
                let forget = onUninstallCall { data: Bytes::new() }.abi_encode().into();
                let install = installValidationsCall {
                    vIds: vec![ValidationId::of_validator(*validator).0],
                    configs: vec![ValidationConfig { nonce: *nonce, hook: Address::ZERO }],
                    validationData: vec![Bytes::copy_from_slice(owner.as_slice())],
                    hookData: vec![Bytes::new()],
                };
                vec![Call { to: *validator, value: U256::ZERO, data: forget }, to_itself(install.abi_encode().into())]
            }
        }
    }
}

/// The module types of ERC-7579.
const EXECUTOR: u64 = 2;
const FALLBACK: u64 = 3;

fn uninstall_module(kind: u64, module: Address, data: Bytes) -> Bytes {
    uninstallModuleCall { moduleType: U256::from(kind), module, deInitData: data }.abi_encode().into()
}

/// A permission that refuses operations and signatures, of a key that nobody has and without any function.
fn powerless() -> Bytes {
    PermissionConfig { flag: PermissionFlag([0, 3]), signer: Signer::Ecdsa(NOBODY), policies: Vec::new() }.enable_data()
}

/// Installs a powerless permission under the id, and uninstalls it. Reverts where another install came first.
pub fn consume(id: PermissionId, nonce: u32) -> [Bytes; 2] {
    let install = installValidationsCall {
        vIds: vec![id.validation_id().0],
        configs: vec![ValidationConfig { nonce, hook: Address::ZERO }],
        validationData: vec![powerless()],
        hookData: vec![Bytes::new()],
    };
    let items = vec![Bytes::new()];
    let uninstall = uninstallValidationCall {
        vId: id.validation_id().0,
        deinitData: items.abi_encode().into(),
        hookDeinitData: Bytes::new(),
    };
    [install.abi_encode().into(), uninstall.abi_encode().into()]
}

/// A nonce for the final stop: drawn, so that no approval can be signed for it in advance, and none that a known approval has.
///
/// What was signed for exactly this nonce comes alive with the stop: where every nonce in reach is taken, another stop has to follow.
/// `None`: the account takes no nonce that would stop anything, and then nothing below `validNonceFrom` is alive either.
pub fn stop_nonce(snapshot: &Snapshot, taken: &BTreeSet<u32>, draw: u64) -> Result<Option<u32>, Refusal> {
    let current = snapshot.current_nonce;
    let last = current.checked_add(STRIDE).ok_or(Refusal::NoNoncesLeft)?;
    let first = current.saturating_add(2).max(snapshot.valid_from.saturating_add(1));
    let free: Vec<u32> = (first..=last).filter(|nonce| !taken.contains(nonce)).collect();
    let Some(count) = u64::try_from(free.len()).ok().filter(|count| *count > 0) else {
        return Ok((first <= last).then_some(last));
    };
    Ok(usize::try_from(draw % count).ok().and_then(|at| free.get(at)).copied())
}

impl Snapshot {
    /// What is left once a move is made.
    fn play(&mut self, step: &Move) {
        match step {
            Move::Uninstall { id, .. } => {
                if let Some(key) = self.keys.get_mut(id) {
                    uninstall(key);
                }
            }
            Move::Consume { id, nonce } => {
                self.current_nonce = self.current_nonce.max(*nonce);
                let key = self.keys.entry(*id).or_default();
                uninstall(key);
                key.nonce = *nonce;
            }
            Move::Raise { to, .. } => self.current_nonce = self.current_nonce.max(*to),
            Move::Stop { nonce } => {
                self.current_nonce = self.current_nonce.max(*nonce);
                self.valid_from = *nonce;
            }
            Move::RemoveValidator { validator } => {
                if let Some(held) = self.validations.get_mut(&ValidationId::of_validator(*validator)) {
                    held.hook = Address::ZERO;
                }
            }
            Move::CloseFallback { selector, .. } => {
                self.fallbacks.remove(selector);
            }
            Move::RemoveExecutor { executor } => {
                self.executors.remove(executor);
            }
            Move::RestoreSigning { validator, nonce, .. } => {
                if let Some(held) = self.validations.get_mut(&ValidationId::of_validator(*validator)) {
                    (held.nonce, held.hook) = (*nonce, NO_HOOK);
                }
            }
        }
    }
}

fn uninstall(key: &mut KeyState) {
    for (_, policy) in key.policies.drain(..) {
        // Whatever another contract says afterwards, nothing good follows from it.
        if is_known_policy(policy) && policy != SUDO_POLICY {
            let state = key.states.entry(policy).or_default();
            *state = PolicyState { status: Some(USED_UP), left: None };
        }
    }
    key.hook = Address::ZERO;
    key.signer = Address::ZERO;
    key.session_key = None;
    key.flag = PermissionFlag::default();
}

const USED_UP: u8 = 2;

/// Calls in their order, and the snapshot that comes out.
#[derive(Debug, Clone)]
struct Play {
    after: Snapshot,
    moves: Vec<Move>,
}

impl Play {
    fn new(snapshot: &Snapshot) -> Self {
        Self { after: snapshot.clone(), moves: Vec::new() }
    }

    fn make(&mut self, step: Move) {
        self.after.play(&step);
        self.moves.push(step);
    }

    fn uninstall(&mut self, id: PermissionId) {
        let key = self.after.key(id);
        if key.is_installed() {
            self.make(Move::Uninstall { id, policies: key.policies.len(), has_hook: key.has_hook() });
        }
    }

    /// Uses the id up at the nonce that the account takes for it now.
    fn consume(&mut self, id: PermissionId) {
        self.make(Move::Consume { id, nonce: self.after.install_nonce(id) });
    }
}

#[cfg(test)]
mod tests;

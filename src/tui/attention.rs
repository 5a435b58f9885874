//! Which keys need a look first, and why in a few words. From what is on record about a key; no chain is needed.

use alloy::primitives::Address;

use crate::{
    kernel::{
        generation::Generation,
        permission::{ANY_PAYMASTER, ANY_TARGET, Operation},
    },
    wallet::{key::KeyView, state::State},
};

/// How urgent it is, and the words: `rebalancer` "never ends and can spend your ETH as gas".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attention {
    pub urgent: bool,
    pub words: String,
}

/// What an owner should know about a key that can act, or could be made to.
pub fn attention(key: &KeyView) -> Option<Attention> {
    if !key.state.may_act() {
        return None;
    }
    if key.state == State::Damaged {
        return Some(Attention { urgent: true, words: "has a damaged record: treat it as live".to_owned() });
    }
    let mut urgent = false;
    let mut words = Vec::new();
    let g1 = key.validator == Generation::G1;
    if key.discovered {
        words.push("was found on chain, not granted here");
    }
    if key.partial_root.is_some() {
        urgent = true;
        words.push("may do more than is known");
    } else if key.permissions.is_empty() {
        urgent = true;
        words.push("may do everything");
    } else if !g1 && key.permissions.iter().any(|p| p.target == ANY_TARGET) {
        urgent = true;
        words.push("may call any contract");
    }
    if !g1 && key.permissions.iter().any(|p| p.operation == Operation::DelegateCall) {
        urgent = true;
        words.push("may run foreign code as your account");
    }
    let pays = pays_gas(key);
    if key.valid_until == 0 {
        urgent |= pays;
        words.push("never ends");
    }
    if pays {
        words.push("can spend your ETH as gas");
    }
    if key.state == State::Expiring {
        words.push("ends in less than a day");
    }
    (!words.is_empty()).then(|| Attention { urgent, words: join(&words) })
}

/// Whether the account can be made to pay for this key's gas.
pub fn pays_gas(key: &KeyView) -> bool {
    key.paymaster == Address::ZERO || key.paymaster == ANY_PAYMASTER
}

fn join(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [head @ .., last] => format!("{} and {last}", head.join(", ")),
    }
}

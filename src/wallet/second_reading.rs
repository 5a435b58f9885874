//! What the validators hold of an account, and whether it is paused, read a second way: from storage, which another part of a node
//! answers than views. It is asked where something hangs on the first reading: before a revocation is given up, and before a
//! proof is believed.

use alloy::primitives::{Address, B256};

use super::{
    chain::At,
    error::{Class, Error},
    network::Services,
    state::Picture,
};
use crate::protocol::kernel_v2::{
    generation::Generation,
    revocation::Nonces,
    storage::{KERNEL_SLOT, SESSION_WORDS, nonces_slot, read_disabled_mode, read_nonces, read_session, session_slots},
};

impl Services {
    /// The picture with nonces and session keys as the validators' storage has them at its block; `None` where the node does
    /// not tell. A validator whose code was not the known one, and that holds nonces of the account all the same, is in it.
    pub(super) async fn by_storage(&self, account: Address, keys: &[Address], picture: &Picture) -> Option<Picture> {
        let mut slots: Vec<(Address, B256)> = vec![(account, KERNEL_SLOT)];
        for validator in Generation::ALL.map(Generation::address) {
            slots.push((validator, nonces_slot(account)));
            slots.extend(keys.iter().flat_map(|key| session_slots(*key, account)).map(|slot| (validator, slot)));
        }
        let words = self.node.storage(&slots, At::Block(picture.block)).await.ok()?;
        let (of_account, words) = words.split_first()?;
        let mut other = picture.clone();
        other.disabled_mode = read_disabled_mode(*of_account);
        // Only code of its own can have put something there.
        other.deployed |= !of_account.is_zero();
        for (generation, words) in Generation::ALL.into_iter().zip(words.chunks(1 + keys.len() * SESSION_WORDS)) {
            let (nonces, sessions) = words.split_first()?;
            let nonces = read_nonces(*nonces);
            if nonces == Nonces::default() && !picture.has_validator(generation) {
                continue;
            }
            other.nonces.insert(generation, nonces);
            for (key, words) in keys.iter().zip(sessions.chunks_exact(SESSION_WORDS)) {
                match read_session(*key, words.try_into().ok()?) {
                    Some(enable) => other.sessions.insert((generation, *key), enable),
                    None => other.sessions.remove(&(generation, *key)),
                };
            }
        }
        Some(other)
    }

    /// What is wrong when the two readings are not alike.
    pub(super) fn contradicted_by_storage(&self, told: &Picture, stored: &Picture) -> Option<Error> {
        let about = if told.nonces != stored.nonces {
            let words = |picture: &Picture, generation: &Generation| {
                picture.nonces.get(generation).map_or_else(
                    || "none".to_owned(),
                    |n| format!("last nonce {}, invalid through {}", n.last, n.invalid),
                )
            };
            let (generation, _) = stored.nonces.iter().find(|(g, n)| told.nonces.get(g) != Some(n))?;
            format!(
                "the account's nonces on validator {generation}: asked, {}; stored, {}",
                words(told, generation),
                words(stored, generation)
            )
        } else if told.sessions != stored.sessions {
            "the session keys that the validator holds".to_owned()
        } else if told.disabled_mode != stored.disabled_mode {
            "whether the account is paused".to_owned()
        } else {
            return None;
        };
        let message = format!("not proven: {} contradicts itself about {about}", self.origin());
        Some(
            Error::new(Class::Chain, "chain.contradiction", message)
                .hint("treat the keys as still active, and ask another node (`network add` with another --rpc)"),
        )
    }
}

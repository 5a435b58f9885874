//! Following the chains while home or a key's page is seen: what is shown is as of now, or says since when it is not.
//!
//! Each network in use is asked for its newest block now and then, without a word on the screen; on a new block what is
//! looked at is read again. Where nothing has changed, nothing is drawn.

use std::collections::BTreeMap;

use alloy::primitives::Address;

/// Seconds between two questions to a network.
pub const EVERY: u64 = 10;

/// What is known of a network's chain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Head {
    block: u64,
    /// Local unix seconds.
    answered_at: u64,
    asking: bool,
    silent: bool,
}

#[derive(Debug, Default)]
pub struct Follow {
    /// Local unix seconds; 0 before there is anything to follow.
    due: u64,
    heads: BTreeMap<String, Head>,
    /// The head that was known when the account was read last.
    read: BTreeMap<(String, Address), u64>,
}

impl Follow {
    /// The records are there: from now on there is something to follow.
    pub fn begin(&mut self, now: u64) {
        if self.due == 0 {
            self.due = now + EVERY;
        }
    }

    /// Seconds until the networks are asked again.
    pub fn due_in(&self, now: u64) -> Option<u64> {
        // Never at once: the clock may not have moved yet.
        (self.due != 0).then(|| self.due.saturating_sub(now).max(1))
    }

    /// The networks to ask now, each with the head that is known. One that has not answered yet is not asked twice.
    pub fn ask(&mut self, networks: impl Iterator<Item = String>, now: u64) -> Vec<(String, u64)> {
        if self.due == 0 || now < self.due {
            return Vec::new();
        }
        self.due = now + EVERY;
        let mut asked = Vec::new();
        for network in networks {
            let head = self.heads.entry(network.clone()).or_default();
            if !head.asking {
                head.asking = true;
                asked.push((network, head.block));
            }
        }
        asked
    }

    /// The network's answer. Says whether it was silent before.
    pub fn answered(&mut self, network: &str, block: u64, now: u64) -> bool {
        let head = self.heads.entry(network.to_owned()).or_default();
        let before = std::mem::replace(head, Head { block, answered_at: now, asking: false, silent: false });
        before.silent
    }

    /// The network has not answered.
    pub fn silent(&mut self, network: &str) {
        let head = self.heads.entry(network.to_owned()).or_default();
        (head.asking, head.silent) = (false, true);
    }

    /// Whether the account is to be read again, because the chain has moved on since. It counts as read from now on.
    pub fn is_behind(&mut self, network: &str, account: Address) -> bool {
        let Some(head) = self.heads.get(network).filter(|h| h.answered_at != 0 && !h.silent) else { return false };
        self.read.insert((network.to_owned(), account), head.block) != Some(head.block)
    }

    /// When it was last certain that what was read of the account still holds, local unix seconds.
    pub fn holds_at(&self, network: &str, account: Address) -> Option<u64> {
        let head = self.heads.get(network).filter(|h| !h.silent)?;
        let read = self.read.get(&(network.to_owned(), account))?;
        (*read == head.block).then_some(head.answered_at)
    }
}

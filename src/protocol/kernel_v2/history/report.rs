//! What a history leaves open, in words: what is not explained may be an unknown key.

use std::collections::BTreeSet;

use alloy::primitives::Address;
use serde::{Serialize, Serializer};

use super::ledger::{Gap, Ledger, OnChain, Open};
use crate::protocol::kernel_v2::{approval::ApprovalRequest, generation::Generation};

/// Turns that nothing explains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnexplainedTurns {
    pub validator: Generation,
    #[serde(serialize_with = "as_text")]
    pub first: u128,
    #[serde(serialize_with = "as_text")]
    pub last: u128,
    /// Whether a key of these turns could act: not once they were invalidated.
    pub may_live: bool,
}

/// Something that the owner should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScanFinding {
    pub code: &'static str,
    pub message: String,
}

/// What a history says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub unexplained: Vec<UnexplainedTurns>,
    pub findings: Vec<ScanFinding>,
    /// False: unknown keys may exist.
    pub complete: bool,
}

fn as_text<S: Serializer>(value: &u128, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(value)
}

impl OnChain {
    fn invalid(&self, generation: Generation) -> u128 {
        self.nonces.get(&generation).map_or(0, |(_, invalid)| *invalid)
    }
}

impl Ledger {
    /// `silent`: whether an owner may have made calls that leave no trace.
    pub fn told(&self, open: &Open, chain: &OnChain, silent: bool) -> Told {
        let mut told = Told { unexplained: unexplained(open, chain), findings: Vec::new(), complete: true };
        for turns in &told.unexplained {
            told.complete &= !turns.may_live;
        }
        told.findings.extend(told.unexplained.iter().map(turns_finding));
        for generation in &open.set_back {
            told.complete = false;
            let message = format!(
                "the nonces of validator {generation} were set back by a call that was not found: unknown keys with later nonces may exist"
            );
            told.findings.push(ScanFinding { code: "turns.set_back", message });
        }
        for generation in open.numbered.iter().filter(|g| silent && !open.set_back.contains(g)) {
            told.complete = false;
            let message = format!(
                "nonces of validator {generation} were once invalidated through a given number. If the owner had enabled keys before by \
                 transactions of its own, which leave no trace, that set the nonces back, and unknown keys with later nonces may exist"
            );
            told.findings.push(ScanFinding { code: "turns.numbered", message });
        }
        for generation in &open.invalidated {
            told.complete = false;
            let message = format!(
                "the nonces of validator {generation} through {} were invalidated by a call that was not found, such as the owner's own \
                 transaction; if it set them back too, unknown keys with later nonces may exist",
                chain.invalid(*generation)
            );
            told.findings.push(ScanFinding { code: "turns.invalidated", message });
        }
        if self.unread_count > 0 {
            told.complete = false;
            let first = self.unread.first().map(|u| u.at.transaction).unwrap_or_default();
            let message = format!(
                "{} operations or calls of the account could not be read out of their transactions (the first: {first}): unknown keys \
                 may exist",
                self.unread_count
            );
            told.findings.push(ScanFinding { code: "operations.unread", message });
        }
        told.findings.extend(self.gone(open, chain));
        told
    }

    /// Who used the nonce of an approval on record, which therefore can never be enabled, unless the nonces are set back.
    pub fn took_nonce_of(&self, request: &ApprovalRequest, chain: &OnChain) -> Option<Address> {
        let (generation, enable) = (request.validator, request.enable);
        let last = chain.nonces.get(&generation).map_or(0, |(last, _)| *last);
        let mut on_nonce = self.enabled.iter().filter(|e| e.generation == generation && e.enable.nonce == enable.nonce);
        if enable.nonce > last || on_nonce.clone().any(|e| e.enable == enable) {
            return None;
        }
        on_nonce.next().filter(|e| !e.is_burn()).map(|other| other.enable.session_key)
    }

    /// Keys that the history has alive and the chain has not.
    fn gone(&self, open: &Open, chain: &OnChain) -> Vec<ScanFinding> {
        let gone = open.gone.iter().filter_map(|at| self.enabled.get(*at));
        let mut seen = BTreeSet::new();
        gone.filter(|e| e.enable.nonce > chain.invalid(e.generation))
            .filter(|e| seen.insert((e.generation, e.enable.session_key)))
            .map(|e| ScanFinding {
                code: "key.gone",
                message: format!(
                    "{} (nonce {}) was enabled, the chain does not hold it, and no call that took it away was found: the owner did, by a \
                     transaction of its own",
                    e.enable.session_key, e.enable.nonce
                ),
            })
            .collect()
    }
}

fn unexplained(open: &Open, chain: &OnChain) -> Vec<UnexplainedTurns> {
    let turns = |gap: &Gap| UnexplainedTurns {
        validator: gap.generation,
        first: gap.first,
        last: gap.last,
        may_live: gap.last > chain.invalid(gap.generation),
    };
    open.gaps.iter().map(turns).collect()
}

fn turns_finding(turns: &UnexplainedTurns) -> ScanFinding {
    let UnexplainedTurns { validator, first, last, may_live } = turns;
    let which = if first == last { format!("nonce {first}") } else { format!("nonces {first} to {last}") };
    let rest = match may_live {
        true => {
            "unknown keys may exist. The owner's own transactions leave no trace unless they open a function: if you enabled or \
             burnt a key that way, name it; else revoke everything up to there"
        }
        false => "every key with these nonces was invalidated since, so none of them can act",
    };
    ScanFinding {
        code: if *may_live { "turns.unexplained" } else { "turns.over" },
        message: format!("nothing that was read used {which} of validator {validator}: {rest}"),
    }
}

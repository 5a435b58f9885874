//! The proof of a revocation or a pause.

use crate::wallet::usecase::proof::{Paused, Proof};

pub fn text(proof: &Proof) -> String {
    let unless = match proof.can_return {
        true => "cannot be used again unless the owner sets nonces back",
        false => "can never be used again",
    };
    let hash = proof.ground.block_hash.map_or_else(String::new, |hash| format!(" ({hash})"));
    let mut lines = vec![
        format!("Proven at block {}{hash}: the approval of key {} {unless}", proof.block, proof.key_id),
        format!("  {}", proof.ground.words(proof.block)),
    ];
    if proof.attempts.is_empty() {
        lines.push(format!("  replayed now, it is refused with \"{}\"", proof.replay));
        lines.push(format!("  before, at block {}: {}", proof.before_block, proof.before));
    }
    for tried in &proof.attempts {
        lines.push(format!("  tried to {}, which {}", tried.attempt, tried.would));
        lines.push(format!("    before, at block {}: {}", proof.before_block, tried.before));
        lines.push(format!("    after, at block {}: {}", proof.block, tried.after));
    }
    lines.join("\n")
}

pub fn paused(paused: &Paused) -> String {
    format!(
        "Proven at block {}: the account answers mode {:#010x}; no session key can act until you unpause\n  {}",
        paused.block,
        paused.disabled_mode,
        paused.ground.words(paused.block)
    )
}

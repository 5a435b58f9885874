//! A UserOperation: what it can cost before it is sent, and what became of it.

use serde_json::Value;

use crate::{
    cli::output::{to_json, to_pretty_json},
    wallet::{
        error::Result,
        submit::operation::{OperationOutcome, Prepared},
    },
};

pub fn text(outcome: &OperationOutcome) -> String {
    let hash = outcome.user_op_hash;
    match (outcome.success, outcome.transaction_hash) {
        (Some(true), Some(transaction)) => format!(
            "Done: operation {hash}\n  in transaction {transaction}, block {}, gas paid {}",
            outcome.block.unwrap_or_default(),
            outcome.coin.amount(outcome.gas_cost.unwrap_or_default())
        ),
        (Some(false), Some(transaction)) => format!(
            "Mined but FAILED: operation {hash}\n  in transaction {transaction}: {}",
            outcome.revert_reason.as_deref().unwrap_or("no reason given")
        ),
        _ => {
            let note = outcome.note.as_ref().map(|note| format!("\n  {note}")).unwrap_or_default();
            format!("Sent, not in a block yet: {hash}{note}\n  follow it with: keyleash status {hash}")
        }
    }
}

pub fn json(outcome: &OperationOutcome) -> Result<Value> {
    to_json(outcome)
}

pub fn price(prepared: &Prepared) -> String {
    let who = prepared.paymaster.map_or_else(|| "the account".to_owned(), |p| format!("paymaster {p}"));
    format!(
        "It can cost at most {} (ceiling {}), paid by {who}; fees from {}.",
        prepared.coin.amount(prepared.max_cost),
        prepared.coin.amount(prepared.ceiling),
        prepared.fee_source
    )
}

/// The operation as it will be sent, before it is signed; for `--verbose`.
pub fn before_signing(prepared: &Prepared) -> Result<String> {
    let operation = to_pretty_json(&prepared.user_op)?;
    Ok(format!("UserOperation {} with a dummy signature:\n{operation}", prepared.user_op_hash))
}

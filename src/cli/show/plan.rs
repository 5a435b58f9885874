//! What an owner is about to do: the steps, the route and the price, or the calls for somebody else to send.

use super::operation;
use crate::{
    protocol::Step,
    wallet::submit::{
        operation::OperationOutcome,
        printed::PrintedCall,
        routes::{Price, Route, SkippedRoute},
    },
};

pub fn steps(steps: &[Step]) -> Vec<String> {
    steps.iter().map(|s| format!("  · {} – {}", s.effect, s.call)).collect()
}

pub fn skipped(skipped: &SkippedRoute) -> String {
    format!("  (route skipped, {}: {})", skipped.route.words(), skipped.reason)
}

pub fn route_and_price(price: &Price, further: usize) -> Vec<String> {
    let mut lines = vec![
        format!("Route: {}.", price.route.words()),
        format!(
            "It can cost at most {} (ceiling {}), paid by {}; fees from {}.",
            price.coin.amount(price.max_cost),
            price.coin.amount(price.ceiling),
            price.payer,
            price.fee_source
        ),
    ];
    lines.extend(
        price.replaces.map(|hash| format!("It replaces your pending transaction {hash} (same nonce, higher fee).")),
    );
    if further > 0 {
        lines.push(format!(
            "This Kernel version cannot batch calls: {further} more operation(s) follow, each costing at most 2x this amount."
        ));
    }
    lines
}

pub fn printed(calls: &[PrintedCall]) -> Vec<String> {
    let mut lines = vec!["Send these calls yourself, in this order:".to_owned()];
    for call in calls {
        let from = call.from.map_or_else(|| "anybody".to_owned(), |a| a.to_string());
        lines.push(format!(
            "  from {from}\n    to {}, value {}\n    data {}\n    ({})",
            call.to, call.value, call.data, call.what
        ));
    }
    lines
}

/// An operation of the owner's, and by which route it went.
pub fn sent(outcome: &OperationOutcome, route: Route) -> String {
    let operation = operation::text(outcome);
    match outcome.gas_cost {
        Some(_) => format!("{operation}\n  sent {}", route.words_with_payer()),
        None => operation,
    }
}

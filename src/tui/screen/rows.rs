//! Rows that several screens show: what failed, what changed, what it costs, the operation, the words the chain compares.

use alloy::primitives::{B256, U256};

use crate::{
    policy::scope::{Operation, Permission},
    protocol::Step,
    tui::widget::sheet::Row,
    wallet::{
        coin::Coin,
        error::Error,
        submit::{
            operation::OperationOutcome,
            printed::PrintedCall,
            routes::{Payer, Price, SkippedRoute},
        },
    },
};

/// What failed, and the way out.
pub fn failure_rows(what: &str, error: &Error) -> Vec<Row> {
    let mut rows = vec![Row::Head(what.to_owned()), Row::Bad(error.message.clone())];
    if !error.hint.is_empty() {
        rows.push(Row::Advice(error.hint.clone()));
    }
    rows.push(Row::Blank);
    rows.push(Row::Dim(format!("({})", error.code)));
    rows
}

/// A plan that was confirmed did not come about: why, and how the new one differs in what it sends and may cost (wei).
pub fn changed_rows(why: &Error, coin: Coin, before: (&[Step], U256), now: (&[Step], U256)) -> Vec<Row> {
    let mut rows = vec![
        Row::Bad("The plan you confirmed could not be executed; review the new one".into()),
        Row::Note(why.message.clone()),
    ];
    let mut changed = Vec::new();
    for step in now.0.iter().filter(|s| !before.0.contains(s)) {
        changed.push(Row::Caution(format!("new: {}", step.effect)));
    }
    for step in before.0.iter().filter(|s| !now.0.contains(s)) {
        changed.push(Row::Caution(format!("no longer: {}", step.effect)));
    }
    if now.1 != before.1 {
        let amount = |wei| coin.amount(wei);
        changed.push(Row::Caution(format!("costs at most {} now (was {})", amount(now.1), amount(before.1))));
    }
    if changed.is_empty() {
        changed.push(Row::Item("the new plan does the same, and costs the same".into()));
    }
    rows.extend(changed);
    rows.push(Row::Blank);
    rows
}

/// The most an operation can cost, who pays it, and what is signed.
pub fn cost_rows(price: &Price) -> Vec<Row> {
    let payer = match price.payer {
        Payer::Account => String::new(),
        Payer::Paymaster(sponsor) => format!("paid by the paymaster {sponsor}; "),
        Payer::Owner(owner) => format!("paid by the owner's address {owner}; "),
    };
    let mut rows = vec![
        Row::Head("What it costs".into()),
        Row::Item(format!("at most {}", price.coin.amount(price.max_cost))),
        Row::Item(format!("sent {}", price.route.words())),
        Row::Note(format!("{payer}fees from {}; cost ceiling {}", price.fee_source, price.coin.amount(price.ceiling))),
        Row::Text("hash to be signed".into()),
        Row::Note(price.signing_hash.to_string()),
    ];
    rows.extend(
        price
            .replaces
            .map(|hash| Row::Caution(format!("replaces your pending transaction {hash} (same nonce, higher fee)"))),
    );
    rows
}

/// Routes that were tried first.
pub fn skipped_rows(skipped: &[SkippedRoute]) -> impl Iterator<Item = Row> {
    skipped.iter().map(|one| Row::Caution(format!("not {}: {}", one.route.words(), one.reason)))
}

/// The calls for the owner's wallet to send, in full. `elsewhere`: the owner's key is not here.
pub fn printed_rows(calls: &[PrintedCall], elsewhere: bool) -> Vec<Row> {
    let mut rows = vec![Row::Head("Calls for the owner's wallet to send".into())];
    if elsewhere {
        rows.push(Row::Dim("The owner's key is not here, so nothing was signed or sent.".into()));
    }
    for (i, call) in calls.iter().enumerate() {
        rows.push(Row::Item(format!("{}. {}", i + 1, call.what)));
        if let Some(from) = call.from {
            rows.push(Row::Fact("from", from.to_string()));
        }
        rows.push(Row::Fact("to", call.to.to_string()));
        rows.push(Row::Fact("value", format!("{} wei", call.value)));
        rows.push(Row::Text("data".into()));
        rows.push(Row::Note(call.data.to_string()));
    }
    rows.push(Row::Blank);
    rows
}

/// The operation as the chain has it.
pub fn operation_rows(operation: &OperationOutcome) -> Vec<Row> {
    let mut rows: Vec<Row> = operation.note.iter().map(|note| Row::Caution(note.clone())).collect();
    if let Some(cost) = operation.gas_cost {
        rows.push(Row::Fact("gas paid", operation.coin.amount(cost)));
    }
    if let Some(block) = operation.block {
        rows.push(Row::Fact("block", block.to_string()));
    }
    rows.push(Row::Text("operation (UserOperation hash)".into()));
    rows.push(Row::Note(operation.user_op_hash.to_string()));
    if let Some(transaction) = operation.transaction_hash {
        rows.push(Row::Text("transaction".into()));
        rows.push(Row::Note(transaction.to_string()));
    }
    rows
}

/// The permissions as the chain holds them: words of 32 bytes.
pub fn raw_rows(permissions: &[Permission], partial_root: Option<B256>) -> Vec<Row> {
    let mut rows = vec![Row::Head("As compared on chain".into())];
    if let Some(root) = partial_root {
        rows.push(Row::Caution("only permissions used on chain are known, and the Merkle root of all of them".into()));
        rows.push(Row::Note(root.to_string()));
    } else if permissions.is_empty() {
        rows.push(Row::Bad("no permission list: the Merkle root is zero".into()));
    }
    for permission in permissions {
        rows.push(Row::Text(format!("permission {}", permission.index + 1)));
        rows.push(Row::Fact("contract", permission.target.to_string()));
        rows.push(Row::Fact("function", permission.sig.to_string()));
        rows.push(Row::Fact("max value", format!("{} wei", permission.value_limit)));
        if permission.operation == Operation::DelegateCall {
            rows.push(Row::Fact("operation", "delegatecall (1)".into()));
        }
        let limit = permission.execution_rule;
        if !limit.is_none() {
            rows.push(Row::Fact(
                "limit",
                format!("after {}, every {} s, {} runs", limit.valid_after, limit.interval, limit.runs),
            ));
        }
        for rule in &permission.rules {
            rows.push(Row::Fact("word", format!("at byte {} {} {}", rule.offset, rule.condition.name(), rule.param)));
        }
    }
    rows
}

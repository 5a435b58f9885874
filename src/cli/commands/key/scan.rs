//! Progress goes to standard error, the keys found and what is open to standard output.

use clap::Args;
use serde_json::{Value, json};

use crate::{
    cli::{
        context::{Context, Done, done},
        output::{table, to_json},
        show,
    },
    policy::sentence,
    wallet::{
        error::Result,
        usecase::scan::{FoundKey, Moment, Scan, ScanOptions, ScanProgress},
    },
};

/// Recover the keys that only the chain knows
///
/// Reads the account's operations and those transactions of its owner that leave a trace. Keys that are not on record join it as
/// unknown-…, until they are named. A scan that was cut off goes on where it was, and a later one reads only what is new. It says
/// plainly when something is left unexplained.
#[derive(Debug, Args)]
pub struct KeyScanArgs {
    account: String,
    /// Begin at this block, not where the account was deployed or the last scan ended
    #[arg(long, value_name = "N")]
    from_block: Option<u64>,
}

impl KeyScanArgs {
    pub async fn run(self, context: &mut Context) -> Result<Done> {
        let Self { account, from_block } = self;
        let wallet = context.open()?;
        let output = &context.output;
        let tell = |progress: &ScanProgress| {
            if !output.is_json() {
                output.say(&progress_line(progress));
            }
        };
        let scan = wallet.scan(&account, ScanOptions { from_block }, &tell).await?;
        done(json(&scan)?, text(&scan))
    }
}

fn progress_line(progress: &ScanProgress) -> String {
    let ScanProgress { from_block, through_block, to_block, operations, keys } = progress;
    let (done, all) = (through_block.saturating_sub(*from_block), to_block.saturating_sub(*from_block).max(1));
    let percent = done.saturating_mul(100) / all;
    format!("block {through_block} of {to_block} ({percent} %): {operations} operations, {keys} keys")
}

fn json(scan: &Scan) -> Result<Value> {
    let mut data = to_json(scan)?;
    data["address"] = json!(scan.address.to_string());
    data["keys"] = scan.keys.iter().map(key).collect();
    Ok(data)
}

/// What the history has, with the fields of `key show` where the key is on record.
fn key(found: &FoundKey) -> Value {
    let mut data = json!(found);
    let on_record = found.key.as_ref().map(show::key::json);
    if let (Some(data), Some(Value::Object(on_record))) = (data.as_object_mut(), on_record) {
        data.extend(on_record);
    }
    if let Some(session_key) = data.get_mut("session_key") {
        *session_key = json!(found.session_key.to_string());
    }
    data
}

fn text(scan: &Scan) -> String {
    let mut lines = vec![format!(
        "{} on {}: blocks {} to {}, {} operations",
        scan.account, scan.network, scan.from_block, scan.through_block, scan.operations
    )];
    if scan.keys.is_empty() {
        lines.push("No session key was found.".into());
    } else {
        let rows: Vec<Vec<String>> = scan.keys.iter().map(row).collect();
        lines.push(table(&["label", "address", "state", "nonce", "uses", "last use", ""], &rows));
    }
    for finding in &scan.findings {
        lines.push(format!("note: {}", finding.message));
    }
    lines.push(match scan.complete {
        true => format!(
            "Every approval nonce up to block {} is explained: these are all the session keys that were ever enabled, and no function is \
             routed to anything else.",
            scan.through_block
        ),
        false => "This may be incomplete: there may be unknown keys, or others who can act for the account.".into(),
    });
    if scan.keys.iter().any(|k| !k.known && k.key.is_some()) {
        lines.push("Name a new one with `keyleash key name KEY LABEL`; revoke it with `keyleash revoke`.".into());
    }
    lines.join("\n")
}

fn row(found: &FoundKey) -> Vec<String> {
    let dash = || "–".to_owned();
    let turns: Vec<String> = found.turns.iter().map(|t| t.nonce.to_string()).collect();
    vec![
        found.key.as_ref().map_or_else(dash, |k| k.label.clone()),
        found.session_key.to_string(),
        found.key.as_ref().map_or_else(|| "gone".to_owned(), |k| k.state.to_string()),
        if turns.is_empty() { dash() } else { turns.join(", ") },
        found.uses.to_string(),
        found.last_use.as_ref().map_or_else(dash, when),
        if found.known { String::new() } else { "new".into() },
    ]
}

fn when(moment: &Moment) -> String {
    moment.time.map_or_else(|| format!("block {}", moment.block), sentence::time)
}

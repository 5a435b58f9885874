use std::path::{Path, PathBuf};

use alloy::primitives::Bytes;
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    abi::Function,
    cli::{
        args::{address, amount},
        context::{Context, Done, done},
        input,
        offline_signing::{self, UnsignedArgs},
        outcome::finished,
        output::to_json,
        show,
    },
    protocol::Call,
    wallet::{
        coin::Coin,
        error::{Error, Result},
        home::read_bounded,
        usecase::send::{Actor, SendIntent, SendPlan},
    },
};

/// Act as a session key within its scope, or as the owner
#[derive(Debug, Args)]
pub struct SendArgs {
    /// The key: id, label or address
    #[arg(required_unless_present = "as_owner", conflicts_with = "as_owner")]
    key: Option<String>,
    /// Act as the owner of this account instead
    #[arg(long, value_name = "ACCOUNT")]
    as_owner: Option<String>,
    /// The contract to call
    #[arg(long, value_name = "ADDRESS", required_unless_present = "batch")]
    to: Option<String>,
    /// The function, for example "mint(address)"
    #[arg(long, value_name = "SIG", conflicts_with = "data")]
    call: Option<String>,
    /// Its arguments, in order
    #[arg(long = "arg", value_name = "V", requires = "call", allow_hyphen_values = true)]
    args: Vec<String>,
    /// Call data as hex
    #[arg(long, value_name = "HEX")]
    data: Option<String>,
    /// Wei, or "1.5eth"
    #[arg(long, value_name = "AMOUNT", default_value = "0")]
    value: String,
    /// Several calls: a JSON list of {to, call, args, data, value}
    #[arg(long, value_name = "FILE", conflicts_with_all = ["to", "call", "data"])]
    batch: Option<PathBuf>,
    /// Most the operation may cost, for example 0.01eth
    #[arg(long, value_name = "AMOUNT")]
    max_cost: Option<String>,
    /// Judge, price and show; send nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    unsigned: UnsignedArgs,
    /// Do not wait until it is in a block
    #[arg(long)]
    no_wait: bool,
}

impl SendArgs {
    pub async fn run(self, context: &mut Context) -> Result<Done> {
        let wallet = context.open()?;
        let actor = match (self.key.clone(), self.as_owner.clone()) {
            (_, Some(account)) => Actor::Owner(account),
            (Some(key), None) => Actor::Key(key),
            (None, None) => return Err(Error::usage("usage", "name a key, or --as-owner ACCOUNT")),
        };
        let coin = match &actor {
            Actor::Owner(account) => wallet.coin_of_account(account),
            Actor::Key(key) => wallet.coin_of_key(key),
        };
        let (calls, batch) = match &self.batch {
            Some(file) => (batch_calls(coin, file)?, true),
            None => (vec![self.single_call(coin)?], false),
        };
        let max_cost = amount(coin, "--max-cost", self.max_cost.as_deref())?;
        let plan = wallet.plan_send(SendIntent { actor, calls, batch, max_cost }).await?;
        let mut preview = to_json(plan.preview())?;
        preview["risks"] = show::finding::json(&plan.findings);
        // In text they are lines of the plan.
        if context.output.is_json() {
            plan.findings.iter().for_each(|f| context.output.warn(&format!("risk.{}", f.id), &f.message));
        }
        context.known = preview.clone();
        let text = plan_text(&plan, self.call.as_deref());
        for note in &plan.notes {
            context.output.warn("send.note", note);
        }
        if self.dry_run {
            return done(preview, text);
        }
        context.output.review(&text);
        if let Some(out) = self.unsigned.file() {
            return offline_signing::write(&wallet.unsigned_send(&plan)?, out);
        }
        context.output.detail(|| show::operation::before_signing(&plan.prepared))?;
        context.confirm("Send it?")?;
        let (max_cost, cap) = (plan.prepared.max_cost.to_string(), plan.prepared.ceiling.to_string());
        let outcome = wallet.execute_send(plan, !self.no_wait, &()).await?;
        let mut data = show::operation::json(&outcome)?;
        data["max_cost"] = json!(max_cost);
        data["cap"] = json!(cap);
        finished(&outcome, data, show::operation::text(&outcome), context)
    }

    fn single_call(&self, coin: Coin) -> Result<Call> {
        let to = self.to.as_deref().ok_or_else(|| Error::usage("usage", "--to ADDRESS is missing"))?;
        Ok(Call {
            to: address("--to", to)?,
            value: amount(coin, "--value", Some(&self.value))?.unwrap_or_default(),
            data: call_data("--call", self.call.as_deref(), &self.args, self.data.as_deref())?,
        })
    }
}

fn call_data(field: &str, signature: Option<&str>, args: &[String], data: Option<&str>) -> Result<Bytes> {
    match (signature, data) {
        (Some(signature), _) => {
            let function =
                Function::parse(signature).map_err(|e| Error::usage("argument.call", format!("{field}: {e}")))?;
            function.encode_call(args).map_err(|e| Error::usage("argument.arg", format!("{field}: {e}")))
        }
        (None, Some(data)) => data
            .parse()
            .map_err(|_| Error::usage("argument.data", "--data: expected hex with an even number of digits")),
        (None, None) => Ok(Bytes::new()),
    }
}

/// A batch file: a JSON list of calls.
fn batch_calls(coin: Coin, file: &Path) -> Result<Vec<Call>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Entry {
        to: String,
        call: Option<String>,
        #[serde(default)]
        args: Vec<Value>,
        data: Option<String>,
        value: Option<Value>,
    }
    const MAX_CALLS: usize = 256;
    let text = read_bounded(file, input::MAX_INPUT)?;
    let entries: Vec<Entry> = serde_json::from_str(&text).map_err(|e| {
        Error::usage(
            "send.batch",
            format!("{}: expected a JSON list of {{to, call, args, data, value}}: {e}", file.display()),
        )
    })?;
    if entries.len() > MAX_CALLS {
        return Err(Error::usage("send.batch", format!("{}: more than {MAX_CALLS} calls", file.display())));
    }
    let plain = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    entries
        .iter()
        .enumerate()
        .map(|(i, entry)| {
            let field = format!("{}[{i}]", file.display());
            let args: Vec<String> = entry.args.iter().map(plain).collect();
            Ok(Call {
                to: address(&format!("{field}.to"), &entry.to)?,
                value: amount(coin, &format!("{field}.value"), entry.value.as_ref().map(plain).as_deref())?
                    .unwrap_or_default(),
                data: call_data(&format!("{field}.call"), entry.call.as_deref(), &args, entry.data.as_deref())?,
            })
        })
        .collect()
}

/// `function`: the one that the person named, besides the key's own.
fn plan_text(plan: &SendPlan, function: Option<&str>) -> String {
    let functions: Vec<Function> = function.and_then(|f| Function::parse(f).ok()).into_iter().collect();
    let mut lines = vec![format!("From {} on {}:", plan.account, plan.network)];
    lines.extend(plan.calls_in_words(&functions).iter().map(|call| format!("  · {call}")));
    if plan.deploys {
        lines.push("  · deploys the account first".into());
    }
    if plan.enables {
        lines.push("  · enables the key in the same operation".into());
    }
    lines.extend(plan.prepared.replaces.map(|earlier| {
        format!(
            "  · reuses the nonce of {earlier}, the same operation without a result yet: only one of the two can be mined"
        )
    }));
    lines.extend(show::finding::lines(&plan.findings));
    lines.push(show::operation::price(&plan.prepared));
    lines.join("\n")
}

use std::path::PathBuf;

use clap::Args;

use crate::{
    cli::{
        args::amount,
        context::{Context, Done},
        input,
        outcome::followed,
    },
    wallet::{
        Wallet,
        coin::Coin,
        error::{Error, Result},
        home::read_bounded,
        usecase::offline_signing::UnsignedOperation,
    },
};

/// Send an operation of the owner's that was signed elsewhere
#[derive(Debug, Args)]
pub struct CompleteArgs {
    /// The file that --unsigned wrote
    file: PathBuf,
    /// The owner's signature, 65 bytes as hex
    #[arg(long, value_name = "FILE")]
    signature_file: PathBuf,
    /// Most the operation may cost
    #[arg(long, value_name = "AMOUNT")]
    max_cost: Option<String>,
}

impl CompleteArgs {
    pub async fn run(self, context: &mut Context) -> Result<Done> {
        let Self { file, signature_file, max_cost } = self;
        let wallet = context.open()?;
        let operation: UnsignedOperation =
            serde_json::from_str(&read_bounded(&file, input::MAX_INPUT)?).map_err(|e| {
                Error::usage("operation.file", format!("{} is not a file that --unsigned wrote: {e}", file.display()))
            })?;
        let signature = input::signature(&signature_file)?;
        let max_cost = amount(Coin::of(operation.chain_id), "--max-cost", max_cost.as_deref())?;
        context.output.review(&plan_text(&operation));
        context.confirm("Send this operation?")?;
        let completed = wallet.complete_operation(operation, &signature, max_cost).await?;
        followed(completed, context)
    }
}

fn plan_text(operation: &UnsignedOperation) -> String {
    let mut lines = vec![format!("From {} on {}:", operation.user_op.sender, operation.network)];
    let coin = Coin::of(operation.chain_id);
    lines.extend(Wallet::unsigned_calls(operation, coin).iter().map(|call| format!("  · {call}")));
    lines.push(format!("It can cost at most {}.", coin.amount(operation.user_op.max_cost())));
    lines.join("\n")
}

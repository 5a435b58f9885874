use clap::{Args, Subcommand};

use crate::{
    cli::{
        args::address,
        context::{Context, Done, done},
        input,
        output::table,
        show,
    },
    wallet::{
        Wallet,
        error::{Error, Result},
        usecase::inspect::texts,
    },
};

/// Session keys you hold for other people's accounts
#[derive(Debug, Subcommand)]
pub enum AgentCommand {
    /// Make a key and print its address for the owner
    New { label: String },
    /// Import an approval and verify it
    Import(AgentImportArgs),
    /// List keys made here
    Ls,
}

#[derive(Debug, Args)]
pub struct AgentImportArgs {
    /// The file, `-` = standard input
    file: String,
    #[arg(long)]
    label: Option<String>,
    /// The session key's address, if it is neither in the file nor made here
    #[arg(long, value_name = "ADDRESS")]
    agent: Option<String>,
}

impl AgentCommand {
    pub async fn run(self, context: &mut Context) -> Result<Done> {
        let wallet = context.open()?;
        match self {
            Self::New { label } => {
                let view = wallet.new_agent(&label)?;
                let text = format!("{}\nGive this address to the owner; the private key stays here.", view.address);
                done(&view, text)
            }
            Self::Import(args) => import(&wallet, args, context).await,
            Self::Ls => {
                let agents = wallet.agents()?;
                let rows: Vec<Vec<String>> =
                    agents.iter().map(|a| vec![a.label.clone(), a.address.to_string()]).collect();
                done(&agents, table(&["label", "address"], &rows))
            }
        }
    }
}

async fn import(wallet: &Wallet, args: AgentImportArgs, context: &mut Context) -> Result<Done> {
    let text = input::text(&args.file)?;
    let agent = args.agent.as_deref().map(|a| address("--agent", a)).transpose()?;
    let network = context.global.network.as_deref();
    let mut imported = None;
    for one in texts(&text) {
        let (view, warnings) = wallet.import_approval(one, args.label.as_deref(), agent, network).await?;
        for warning in &warnings {
            context.output.warn("approval", warning);
        }
        imported = Some(view);
    }
    let view = imported.ok_or_else(|| Error::usage("approval.unreadable", "there is no approval in the input"))?;
    done(show::key::json(&view), show::key::text(&view))
}

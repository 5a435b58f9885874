use clap::{Args, Subcommand, ValueEnum, builder::PossibleValue};
use serde_json::json;

use crate::{
    cli::{
        context::{Context, Done, done},
        output::table,
    },
    wallet::{
        Wallet,
        error::{Class, Error, Result},
        records::model::{Network, PaymasterKind},
        usecase::network::{NetworkView, Probe, zerodev},
    },
};

/// Networks: add, list, check
#[derive(Debug, Subcommand)]
pub enum NetworkCommand {
    /// Add a network
    Add(NetworkAddArgs),
    /// List networks
    Ls,
    /// Show one
    Show { name: String },
    /// Forget one
    Rm { name: String },
    /// Probe chain id, EntryPoint, contracts, bundler and paymaster
    Check { name: String },
}

#[derive(Debug, Args)]
pub struct NetworkAddArgs {
    name: String,
    #[arg(long, value_name = "N")]
    chain_id: u64,
    /// The node's URL
    #[arg(long, value_name = "URL", required_unless_present = "zerodev")]
    rpc: Option<String>,
    /// A second node of the chain, best another provider's: what the first says is compared with it
    #[arg(long, value_name = "URL")]
    second_rpc: Option<String>,
    /// The ERC-4337 bundler's URL
    #[arg(long, value_name = "URL")]
    bundler: Option<String>,
    /// The paymaster service's URL
    #[arg(long, value_name = "URL")]
    paymaster: Option<String>,
    /// How the paymaster service is asked
    #[arg(long, value_name = "KIND")]
    paymaster_kind: Option<PaymasterKind>,
    /// JSON the paymaster service wants with every request
    #[arg(long, value_name = "JSON")]
    paymaster_context: Option<String>,
    /// A ZeroDev project: fills in node, bundler and paymaster
    #[arg(long, value_name = "PROJECT_ID", conflicts_with_all = ["rpc", "bundler", "paymaster"])]
    zerodev: Option<String>,
}

impl ValueEnum for PaymasterKind {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Erc7677, Self::Pimlico, Self::Zerodev]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

impl NetworkCommand {
    pub async fn run(self, context: &mut Context) -> Result<Done> {
        let wallet = context.open()?;
        match self {
            Self::Add(args) => add(&wallet, args, context).await,
            Self::Ls => {
                let networks = wallet.networks();
                done(&networks, list(&networks))
            }
            Self::Show { name } => {
                let view = wallet.network(&name)?;
                done(&view, list(std::slice::from_ref(&view)))
            }
            Self::Rm { name } => {
                wallet.remove_network(&name)?;
                done(json!({ "removed": name }), format!("Network {name} removed."))
            }
            Self::Check { name } => check(&wallet, &name, context).await,
        }
    }
}

async fn add(wallet: &Wallet, args: NetworkAddArgs, context: &mut Context) -> Result<Done> {
    let NetworkAddArgs { name, chain_id, second_rpc, bundler, paymaster, paymaster_kind, paymaster_context, .. } = args;
    let network = match (args.zerodev, args.rpc) {
        (Some(project), _) => Network { second_rpc, ..zerodev(&project, chain_id)? },
        (None, Some(rpc)) => {
            Network { chain_id, rpc, second_rpc, bundler, paymaster, paymaster_kind, paymaster_context }
        }
        (None, None) => return Err(Error::usage("network.rpc", "--rpc URL is missing")),
    };
    let view = wallet.add_network(&name, &network)?;
    if let Some(why) = wallet.learn_chain(&name).await {
        context.output.warn("network.unknown_chain", &why);
    }
    done(&view, format!("Network {name} added. Check it with: keyleash network check {name}"))
}

async fn check(wallet: &Wallet, name: &str, context: &mut Context) -> Result<Done> {
    let probes = wallet.check_network(name).await?;
    let ok = probes.iter().all(|p| p.ok);
    let data = json!({ "network": name, "ok": ok, "probes": probes });
    if ok {
        return done(data, answers(&probes));
    }
    let failed: Vec<&str> = probes.iter().filter(|p| !p.ok).map(|p| p.what.as_str()).collect();
    let error = Error::new(Class::Chain, "network.check", format!("{name} failed these checks: {}", failed.join(", ")));
    context.failed_report(data, &answers(&probes), error)
}

fn list(networks: &[NetworkView]) -> String {
    if networks.is_empty() {
        return "No network yet. Add one: keyleash network add NAME --chain-id N --rpc URL --bundler URL".into();
    }
    let dash = || "–".to_owned();
    let rows: Vec<Vec<String>> = networks
        .iter()
        .map(|n| {
            vec![
                n.name.clone(),
                n.chain_id.to_string(),
                match &n.second_rpc {
                    Some(second) => format!("{} + {second}", n.rpc),
                    None => n.rpc.clone(),
                },
                n.bundler.clone().unwrap_or_else(dash),
                n.paymaster.clone().unwrap_or_else(dash),
            ]
        })
        .collect();
    table(&["name", "chain", "node", "bundler", "paymaster"], &rows)
}

fn answers(probes: &[Probe]) -> String {
    let rows: Vec<Vec<String>> = probes
        .iter()
        .map(|p| vec![if p.ok { "ok" } else { "NO" }.to_owned(), p.what.clone(), p.detail.clone()])
        .collect();
    table(&["", "what", "answer"], &rows)
}

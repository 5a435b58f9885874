use clap::Args;
use serde_json::json;

use crate::{
    cli::{
        context::{Context, Done, done},
        show,
    },
    wallet::{Backend, Wallet, error::Result, sandbox_profile::DEMO},
};

/// Create a profile (non-interactive)
#[derive(Debug, Args)]
pub struct InitArgs {
    /// A chain inside this program, with play keys and an account to look at: no network, no funds
    #[arg(long, conflicts_with = "vault")]
    sandbox: bool,
}

impl InitArgs {
    pub async fn run(self, context: &mut Context) -> Result<Done> {
        if self.sandbox { sandbox(context).await } else { profile(context) }
    }
}

fn profile(context: &Context) -> Result<Done> {
    let home = context.global.user_profile()?;
    let backend = context.global.vault.map_or(Backend::Keyring, Backend::from);
    Wallet::init(&home, backend)?;
    let secrets = match backend {
        Backend::Keyring => "Secrets will be kept in the keyring of this system.",
        Backend::File => "Secrets will be kept in encrypted files there; the passphrase is chosen with the first key.",
    };
    let text = format!(
        "Profile created in {}.\n{secrets}\nNext: keyleash network add NAME --chain-id N --rpc URL --bundler URL",
        home.config_folder().display()
    );
    done(json!({ "home": home.config_folder(), "vault": backend }), text)
}

async fn sandbox(context: &mut Context) -> Result<Done> {
    let home = context.global.sandbox_profile()?;
    let wallet = Wallet::init_sandbox(&home)?;
    context.warn_of_sandbox();
    wallet.seed_sandbox().await?;
    let keys = wallet.keys(None).await?;
    let text = format!(
        "Sandbox profile created in {}.\nAn NFT is at {}, a token at {}, a mock lending pool at {}; the sponsor is {}.\n\n{}\n\nNext: keyleash key ls",
        home.config_folder().display(),
        DEMO.nft,
        DEMO.token,
        DEMO.lending,
        DEMO.sponsor,
        show::key::list(&keys)
    );
    done(json!({ "home": home.config_folder(), "sandbox": true, "contracts": DEMO }), text)
}

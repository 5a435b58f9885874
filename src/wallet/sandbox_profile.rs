//! A home on the sandbox: a chain inside this program, with play keys and an account to look at.
//!
//! Such a home is closed: it knows no live network, because its keys are sealed with a passphrase that everybody knows and the
//! sandbox's addresses equal live ones. Resetting the chain and moving its time are offered only here.

use std::{collections::BTreeMap, path::Path};

use alloy::{
    primitives::{Address, Bytes, U256},
    sol,
    sol_types::SolCall,
};

use super::{
    Backend, PassphraseSource, Wallet,
    error::{Class, Error, Result},
    home::{self, Config, Home},
    policy::Policy,
    records::model::{Network, PaymasterKind},
    rpc::in_process::{InProcess, KeepError},
    usecase::{
        account::OwnerSource,
        grant::{Accepted, GrantIntent, Holder},
        revoke::RevokeIntent,
        send::{Actor, SendIntent},
    },
};
use crate::{
    protocol::Call,
    sandbox::{
        CHAIN_ID,
        contracts::{DEMO_LENDING, DEMO_NFT, DEMO_TOKEN, SPONSOR},
    },
};

/// The name of the network, and of the file that keeps it.
pub const NAME: &str = "sandbox";
/// What stands in the config where a live network has a URL.
pub(super) const ADDRESS: &str = "sandbox:";

sol! {
    function mint(address to);
    function transfer(address to, uint256 value);
    function repay(address owner, uint256 amount);
}

/// Where the sandbox's demo contracts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct DemoContracts {
    /// An NFT that anybody may mint.
    pub nft: Address,
    /// An ERC-20 that anybody may mint.
    pub token: Address,
    /// A lending toy: positions that come close to liquidation.
    pub lending: Address,
    /// The paymaster that pays for every operation that asks it.
    pub sponsor: Address,
}

pub const DEMO: DemoContracts =
    DemoContracts { nft: DEMO_NFT, token: DEMO_TOKEN, lending: DEMO_LENDING, sponsor: SPONSOR };

/// What only a sandbox can do.
pub struct Controls<'a>(&'a InProcess);

impl Controls<'_> {
    /// Moves the sandbox's time ahead by so many seconds, at once.
    pub fn advance(&self, seconds: u64) -> Result<u64> {
        self.0
            .with(|service| {
                service.advance(seconds);
                service.chain().time()
            })
            .map_err(kept)
    }

    /// Gives an address `wei` on top of what it has.
    pub fn fund(&self, address: Address, wei: U256) -> Result<()> {
        self.0.with(|service| service.fund(address, wei)).map_err(kept)
    }

    /// A fresh chain; records and keys stay, and what they describe is gone.
    pub fn reset(&self) -> Result<()> {
        self.0.reset().map_err(kept)
    }
}

fn kept(error: KeepError) -> Error {
    Error::new(Class::Chain, "sandbox.failed", error.to_string())
}

/// The chain of a sandbox home.
pub(super) fn open_chain(data: &Path) -> InProcess {
    InProcess::kept_in(data.join("sandbox.json"))
}

/// Whether a data folder is a sandbox's, whatever its config says: it keeps a sandbox's chain, or a vault of play keys.
pub(super) fn is_play_data(data: &Path) -> bool {
    data.join("sandbox.json").exists() || super::vault::is_of_play_keys(data)
}

/// The one network of a sandbox home. `sponsored`: with the paymaster service.
fn network() -> Network {
    Network {
        chain_id: CHAIN_ID,
        rpc: ADDRESS.into(),
        second_rpc: None,
        bundler: Some(ADDRESS.into()),
        paymaster: Some(ADDRESS.into()),
        paymaster_kind: Some(PaymasterKind::Erc7677),
        paymaster_context: None,
    }
}

impl Wallet {
    /// Begins a sandbox home: no question, no passphrase, no network. It is there for other processes once
    /// [`seed_sandbox`](Self::seed_sandbox) is through, and what is left of one that was killed before is cleared away.
    pub fn init_sandbox(home: &Home) -> Result<Self> {
        if home.is_initialized() {
            return Err(home::exists(home));
        }
        let making = home.begin_sandbox()?;
        let config =
            Config { vault: Backend::File, sandbox: true, network: BTreeMap::from([(NAME.to_owned(), network())]) };
        let wallet = Self::open_with(home.clone(), config, PassphraseSource::StandardInput)?;
        Ok(Self { making: Some(making), ..wallet })
    }

    /// The sandbox is whole: from here on there is a home.
    fn finish_sandbox(&self) -> Result<()> {
        if self.making.is_none() {
            return Ok(());
        }
        let mut config = toml_edit::Table::new();
        config.insert("vault", toml_edit::value("file"));
        config.insert("sandbox", toml_edit::value(true));
        let mut networks = toml_edit::Table::new();
        networks.set_implicit(true);
        networks.insert(NAME, toml_edit::Item::Table(super::usecase::network::to_table(&network())));
        config.insert("network", toml_edit::Item::Table(networks));
        self.home.finish_sandbox(config)
    }

    /// Whether everything here is play.
    pub fn is_sandbox(&self) -> bool {
        self.sandbox.is_some()
    }

    /// What only a sandbox can do; an error on a home for live networks.
    pub fn controls(&self) -> Result<Controls<'_>> {
        self.sandbox.as_ref().map(Controls).ok_or_else(|| {
            Error::usage("sandbox.only", "this profile is for live networks; time and reset need a sandbox")
                .hint("make one with `keyleash --home DIR init --sandbox`")
        })
    }

    /// A demo account and keys in different states, so that every screen and command has something to show. With them the
    /// sandbox home is whole.
    pub async fn seed_sandbox(&self) -> Result<()> {
        let controls = self.controls()?;
        let treasury = self.new_account("treasury", NAME, OwnerSource::New, None, U256::ZERO).await?;
        controls.fund(treasury.address, U256::from(1_500_000_000_000_000_000_u128))?;
        let game = self.new_account("game", NAME, OwnerSource::New, None, U256::ZERO).await?;
        controls.fund(game.address, U256::from(250_000_000_000_000_000_u128))?;

        let mint = mint_policy("mint-bot", treasury.address, "7d", &SPONSOR.to_string());
        self.give("treasury", &mint).await?;
        self.act("mint-bot", DEMO_NFT, mintCall { to: treasury.address }.abi_encode()).await?;
        self.give("treasury", &token_policy("rebalancer")).await?;
        self.act("rebalancer", DEMO_TOKEN, transferCall { to: game.address, value: U256::ZERO }.abi_encode()).await?;
        self.give("treasury", &mint_policy("old-agent", treasury.address, "2d", &SPONSOR.to_string())).await?;
        let plan = self.plan_revoke(RevokeIntent::keys("treasury", &["old-agent".to_owned()])).await?;
        self.execute_revoke(plan, &()).await?;
        self.give("treasury", &watcher_policy(treasury.address)).await?;
        self.give("treasury", &mint_policy("event-bot", treasury.address, "12h", &SPONSOR.to_string())).await?;
        self.give("game", &mint_policy("session", game.address, "1h", &SPONSOR.to_string())).await?;
        self.finish_sandbox()
    }

    async fn give(&self, account: &str, policy: &str) -> Result<()> {
        let policy = Policy::parse(policy, &|name| Err(Error::usage("policy.file", format!("{name} is not there"))))?;
        let intent = GrantIntent { account: account.to_owned(), policy, holder: Holder::NewKey, label: None };
        let plan = self.plan_grant(intent).await?;
        self.execute_grant(plan, &Accepted::new()).await.map(|_| ())
    }

    async fn act(&self, key: &str, to: Address, data: Vec<u8>) -> Result<()> {
        let call = Call { to, value: U256::ZERO, data: Bytes::from(data) };
        let intent = SendIntent { actor: Actor::Key(key.to_owned()), calls: vec![call], batch: false, max_cost: None };
        let plan = self.plan_send(intent).await?;
        self.execute_send(plan, true, &()).await.map(|_| ())
    }
}

/// An app session: mint one kind of NFT, to one receiver, gas paid by one sponsor.
pub fn mint_policy(label: &str, to: Address, until: &str, paymaster: &str) -> String {
    format!(
        "label = \"{label}\"\nvalid_until = \"{until}\"\npaymaster = \"{paymaster}\"\n\n\
         [[permission]]\ntarget = \"{DEMO_NFT}\"\nfunction = \"mint(address to)\"\n\n\
         [[permission.when]]\narg = \"to\"\nop = \"eq\"\nvalue = \"{to}\"\n"
    )
}

/// A key that deserves a second look: it never ends, anybody may pay, and the receiver is free.
fn token_policy(label: &str) -> String {
    format!(
        "label = \"{label}\"\nvalid_until = \"never\"\npaymaster = \"unrestricted\"\n\n\
         [[permission]]\ntarget = \"{DEMO_TOKEN}\"\nabi = \"erc20\"\nfunction = \"transfer\"\n\n\
         [[permission.when]]\narg = \"amount\"\nop = \"lte\"\nvalue = \"1000000000000000000\"\n"
    )
}

/// An automation watcher: repay a loan when it comes close to liquidation, at most once an hour.
fn watcher_policy(account: Address) -> String {
    format!(
        "label = \"watcher\"\nvalid_until = \"30d\"\npaymaster = \"{SPONSOR}\"\n\n\
         [[permission]]\ntarget = \"{DEMO_LENDING}\"\nfunction = \"repay(address owner, uint256 amount)\"\n\
         limit = {{ start = \"now\", every = \"1h\", runs = 24 }}\n\n\
         [[permission.when]]\narg = \"owner\"\nop = \"eq\"\nvalue = \"{account}\"\n\n\
         [[permission.when]]\narg = \"amount\"\nop = \"lte\"\nvalue = \"500\"\n\n\
         [[permission]]\ntarget = \"{DEMO_LENDING}\"\nfunction = \"closeIfAtRisk()\"\n"
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const EXAMPLE_KEYS: usize = 6;

    fn empty() -> (tempfile::TempDir, Home) {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(&folder.path().join("home"));
        (folder, home)
    }

    async fn keys_of(home: &Home) -> usize {
        let wallet = Wallet::open(home.clone(), PassphraseSource::StandardInput).unwrap();
        wallet.keys(None).await.unwrap().len()
    }

    #[tokio::test]
    async fn a_sandbox_whose_making_was_cut_off_is_no_home_and_the_next_try_begins_anew() {
        let (_folder, home) = empty();
        let cut_off = Wallet::init_sandbox(&home).unwrap();
        cut_off.new_account("treasury", NAME, OwnerSource::New, None, U256::ZERO).await.unwrap();
        cut_off.give("treasury", &token_policy("rebalancer")).await.unwrap();
        drop(cut_off);
        assert!(!home.is_initialized());

        let wallet = Wallet::init_sandbox(&home).unwrap();
        assert_eq!(wallet.keys(None).await.unwrap().len(), 0);
        wallet.seed_sandbox().await.unwrap();
        drop(wallet);
        assert!(home.is_initialized() && !home.data().join("sandbox.making").exists());
        assert_eq!(keys_of(&home).await, EXAMPLE_KEYS);
    }

    #[tokio::test]
    async fn a_sandbox_that_another_process_is_making_is_left_alone() {
        let (_folder, home) = empty();
        let first = Wallet::init_sandbox(&home).unwrap();
        for refused in [Wallet::init_sandbox(&home).map(|_| ()), Wallet::init(&home, Backend::File)] {
            assert_eq!(refused.unwrap_err().code, "home.busy");
        }
        first.seed_sandbox().await.unwrap();
        assert_eq!(Wallet::init_sandbox(&home).map(|_| ()).unwrap_err().code, "home.exists");
        assert_eq!(keys_of(&home).await, EXAMPLE_KEYS);
    }

    #[test]
    fn no_live_home_begins_with_what_is_left_of_a_sandbox() {
        let (_folder, home) = empty();
        let left = Wallet::init_sandbox(&home).unwrap();
        left.new_agent("bot").unwrap();
        drop(left);
        Wallet::init(&home, Backend::File).unwrap();
        let live = Wallet::open(home, PassphraseSource::StandardInput).unwrap();
        assert!(!live.is_sandbox() && live.secrets().unwrap().is_empty());
    }

    #[test]
    fn no_sandbox_begins_on_top_of_a_live_vault_that_lost_its_config() {
        let (_folder, home) = empty();
        Wallet::init(&home, Backend::File).unwrap();
        drop(Wallet::open(home.clone(), PassphraseSource::StandardInput).unwrap());
        fs::remove_file(home.config_file()).unwrap();
        assert_eq!(Wallet::init_sandbox(&home).map(|_| ()).unwrap_err().code, "home.exists");
        assert!(home.records_file().exists());
    }
}

//! The shared core: what an owner or an agent can do. Front ends call this and nothing below it.
//!
//! Every use-case walks the same way: **plan** (records and chain facts in, exact calls and their price out), **preview** (the plan
//! as data, for a person to read), **execute** (the very plan that was shown, or *stale* when what it relied on has changed),
//! **proof** (facts read back).

pub mod coin;
pub mod demo;
pub mod error;
mod files;
pub mod home;
pub mod policy;
pub mod records;
mod rpc;
pub mod sandbox_profile;
pub mod state;
pub mod submit;
#[cfg(test)]
mod tests;
pub mod usecase;
mod vault;

use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock},
    time::{SystemTime, UNIX_EPOCH},
};

use error::{Class, Error, Result};
use home::{Config, Home};
use records::store::Store;
use rpc::in_process::InProcess;
pub use vault::{AskPassphrase, Backend, PassphraseSource, Question, SecretId, VaultError, hygiene::shield_process};
use vault::{Status, Vault};

/// One opened home: its config, its records and its vault. The one handle that front ends hold.
pub struct Wallet {
    home: Home,
    config: RwLock<Config>,
    store: Store,
    vault: Vault,
    /// How networks are reached, made once.
    clients: rpc::services::Clients,
    /// The chain inside this program, on a sandbox home.
    sandbox: Option<InProcess>,
    /// Of a sandbox home that is being made: keeps other processes from making it too.
    making: Option<std::fs::File>,
    /// Opened for one command, which needs no secret any more once its operation is signed.
    for_one_command: bool,
}

impl Wallet {
    /// Sets a home up. Refused when there is one already, and when the backend chosen for secrets is not there.
    pub fn init(home: &Home, backend: Backend) -> Result<()> {
        if home.is_initialized() {
            return Err(home::exists(home));
        }
        if backend == Backend::Keyring {
            keyring_is_there(home)?;
        }
        home.clear_half_made_sandbox()?;
        home.create_folders()?;
        home.edit_config(|document| {
            if document.contains_key("vault") {
                return Err(home::exists(home));
            }
            document.insert("vault", toml_edit::value(backend.to_string()));
            Ok(())
        })
    }

    /// Opens a home that was set up. Nothing is unlocked and no network is asked.
    pub fn open(home: Home, passphrase: PassphraseSource) -> Result<Self> {
        if !home.is_initialized() {
            return Err(Error::failed(
                "home.none",
                format!("there is no keyleash profile in {}", home.config_folder().display()),
            )
            .hint("set one up with `keyleash init`"));
        }
        home.create_folders()?;
        let found = home.check()?;
        let config = home.load_config()?;
        let wallet = Self::open_with(home, config, passphrase)?;
        let notices = wallet.notices();
        for message in found {
            notices.add("home.open_to_others", message);
        }
        wallet.home.remove_leftovers();
        wallet.vault.clear_leftovers();
        Ok(wallet)
    }

    /// What is to be said besides the result of a command. Shared: it fills while commands run.
    pub fn notices(&self) -> records::notices::Notices {
        self.store.notices()
    }

    fn open_with(home: Home, config: Config, passphrase: PassphraseSource) -> Result<Self> {
        let records = home.records_file();
        match files::open(&records) {
            // It is there, and cannot be written to: whether it can be read is seen next.
            Err(_) if records.is_file() => {}
            made => drop(made.map_err(|e| home::io_error("open", &records, &e))?),
        }
        if !config.sandbox && sandbox_profile::is_play_data(home.data()) {
            return Err(Error::failed(
                "sandbox.closed",
                format!("{} holds a sandbox and its play keys, and the config does not say so", home.data().display()),
            )
            .hint("its keys protect nothing: put `sandbox = true` back, and make a profile for live networks elsewhere: keyleash --home DIR init"));
        }
        let (store, vault, sandbox) = match config.sandbox {
            true => (
                Store::open_play(&records)?,
                Vault::of_play_keys(home.data()),
                Some(sandbox_profile::open_chain(home.data())),
            ),
            false => (Store::open(&records)?, Vault::open(home.data(), config.vault, passphrase), None),
        };
        store.set_networks(chain_ids(&config));
        let making = None;
        let clients = rpc::services::Clients::default();
        Ok(Self { home, config: RwLock::new(config), store, vault, clients, sandbox, making, for_one_command: false })
    }

    /// The vault's passphrase is forgotten as soon as an operation is signed, not when the wallet is dropped: following the
    /// operation may take minutes.
    #[must_use]
    pub fn for_one_command(mut self) -> Self {
        self.for_one_command = true;
        self
    }

    pub fn home(&self) -> &Home {
        &self.home
    }

    /// How many operations were sent and have no result on record yet.
    pub fn in_flight(&self) -> Result<usize> {
        let waiting = |o: &records::model::Operation| {
            matches!(o.progress, records::model::OperationState::Signed | records::model::OperationState::Sent)
        };
        Ok(self.operations(1000)?.iter().filter(|o| waiting(o)).count())
    }

    fn config<T>(&self, read: impl FnOnce(&Config) -> T) -> T {
        read(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn edit_config(&self, change: impl FnOnce(&mut toml_edit::DocumentMut) -> Result<()>) -> Result<()> {
        self.home.edit_config(change)?;
        let config = self.home.load_config()?;
        self.store.set_networks(chain_ids(&config));
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }
}

/// Which chain each network name stands for.
fn chain_ids(config: &Config) -> BTreeMap<String, u64> {
    config.network.iter().map(|(name, network)| (name.clone(), network.chain_id)).collect()
}

/// A keyring that is locked will do: it asks to be opened when it is needed.
fn keyring_is_there(home: &Home) -> Result<()> {
    let why = match Vault::open(home.data(), Backend::Keyring, PassphraseSource::StandardInput).status(Backend::Keyring)
    {
        Status::Available | Status::Locked => return Ok(()),
        Status::Absent { why } => why,
        Status::Frozen => "it does not answer".to_owned(),
    };
    Err(Error::new(Class::Vault, "vault.absent", format!("the keyring of this system cannot be used: {why}"))
        .hint("nothing was set up; `keyleash init --vault file` keeps secrets in encrypted files instead"))
}

/// The local clock, unix seconds. For records; what is allowed when is decided by the chain's time.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// A short random id for records.
fn short_id() -> Result<String> {
    let mut bytes = [0u8; 4];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::failed("random.none", format!("the operating system gave no random bytes: {e}")))?;
    Ok(alloy::hex::encode(bytes))
}

impl From<VaultError> for Error {
    fn from(error: VaultError) -> Self {
        Error::new(Class::Vault, format!("vault.{}", error.code()), error.to_string())
    }
}

impl From<crate::secret::SecretError> for Error {
    fn from(error: crate::secret::SecretError) -> Self {
        Error::usage("secret.invalid", error.to_string())
    }
}

impl From<rpc::ChainError> for Error {
    fn from(error: rpc::ChainError) -> Self {
        match error {
            // A limit of the person's, not a fault of the chain's: it has an exit code of its own.
            rpc::ChainError::TooDear(dear) => Error::new(Class::Limit, dear.code(), dear.to_string()).hint(dear.hint()),
            error => Error::new(Class::Chain, format!("chain.{}", error.code()), error.to_string()),
        }
    }
}

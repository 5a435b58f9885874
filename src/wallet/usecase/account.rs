//! Accounts on record: new ones (an address before there is code), existing ones, their owners.

use crate::{
    protocol::family::{
        Validator,
        account::{Seed, Version},
        snapshot::{Snapshot, SnapshotRequest},
    },
    secret::Secret,
    text::clean,
    wallet::{
        PassphraseSource, SecretId, Wallet,
        error::{Class, Error, Result},
        now,
        records::{
            label::{self, check_name},
            model::Account,
        },
        rpc::services::Services,
        submit::signer::Keyholder,
        vault::{self, import::TextSource},
    },
};
use std::collections::BTreeMap;

use alloy::primitives::{Address, U256};
use serde::Serialize;

/// Who owns an account, and where the owner's key comes from.
pub enum OwnerSource {
    /// Make a fresh key.
    New,
    /// 64 hex digits in a file, `-` = standard input.
    KeyFile(String),
    /// An Ethereum keystore V3 file and where its own passphrase comes from.
    Keystore(std::path::PathBuf, PassphraseSource),
    /// A BIP-39 phrase in a file, and the derivation path.
    MnemonicFile(String, Option<String>),
    /// Only the address: watch-only, the owner signs elsewhere.
    Address(Address),
}

/// An account as it is shown. What needs a chain is missing when there was none to ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccountView {
    pub name: String,
    pub network: String,
    pub chain_id: u64,
    pub address: Address,
    pub owner: Address,
    pub watch_only: bool,
    pub kernel_version: Option<Version>,
    pub deployed: Option<bool>,
    #[serde(serialize_with = "decimal_option")]
    pub balance: Option<U256>,
    #[serde(serialize_with = "decimal_option")]
    pub deposit: Option<U256>,
    /// In decimal.
    pub last_nonce: Option<String>,
    pub invalid_nonce: Option<String>,
    pub validator: Option<Validator>,
    pub paused: Option<bool>,
    /// Why the chain could not be asked, where it could not.
    pub unknown_because: Option<String>,
    /// The code of that failure, as in `chain.timeout`.
    pub unknown_code: Option<String>,
}

fn decimal_option<S: serde::Serializer>(value: &Option<U256>, s: S) -> std::result::Result<S::Ok, S::Error> {
    match value {
        Some(value) => s.collect_str(value),
        None => s.serialize_none(),
    }
}

/// Said when a vault gets a passphrase that can be guessed.
const SHORT_PASSPHRASE: &str = "the passphrase chosen for this vault has fewer than 12 characters: whoever gets a copy of its files \
    can try all short ones. Choose another with a vault made anew (`keyleash init` in another folder), or keep secrets in the keyring";

impl Wallet {
    /// Records an account that may not exist yet, at its counterfactual address. Nothing is sent. `version`: of the implementation,
    /// as in `0.2.4`.
    pub async fn new_account(
        &self,
        name: &str,
        network: &str,
        owner: OwnerSource,
        version: Option<&str>,
        index: U256,
    ) -> Result<AccountView> {
        check_name("the account's name", name)?;
        let kernel = match version {
            Some(version) => Version::named(version)
                .ok_or_else(|| Error::usage("account.kernel", "--kernel: expected 0.2.2, 0.2.3 or 0.2.4"))?,
            None => Version::DEFAULT,
        };
        if !kernel.is_safe_for_session_keys() {
            return Err(Error::usage("account.kernel", format!("--kernel {kernel}: no session key is safe on it"))
                .hint("use 0.2.2, 0.2.3 or 0.2.4"));
        }
        self.store.require_writable()?;
        let chain_id = self.network_config(network)?.chain_id;
        self.name_is_free(name)?;
        let owner = self.owner(owner)?;
        let seed = Seed { owner: owner.address(), index };
        let address = kernel.address_of(seed);
        self.address_is_free(network, address)?;
        let account = Account {
            network: network.to_owned(),
            chain_id,
            address,
            name: name.to_owned(),
            owner: owner.address(),
            owner_secret: self.keep_or_find(&owner, network, address, &format!("owner of {name}"))?,
            seed: Some(seed),
            kernel,
            created_at: now(),
        };
        self.store.write(|w| w.put_account(&account))?;
        Ok(self.show_account(&account).await)
    }

    /// Records an account that exists. Its owner and version are read from the chain.
    pub async fn add_account(
        &self,
        name: &str,
        network: &str,
        address: Address,
        owner: Option<OwnerSource>,
    ) -> Result<AccountView> {
        check_name("the account's name", name)?;
        self.store.require_writable()?;
        self.name_is_free(name)?;
        self.address_is_free(network, address)?;
        let services = self.services(network).await?;
        let picture = services.snapshot(&SnapshotRequest::of(address, &[], None)).await?;
        if !picture.deployed() {
            return Err(Error::failed(
                "account.not_deployed",
                format!("there is no contract at {address} on {network}"),
            )
            .hint("an account that does not exist yet is made with `keyleash account new`"));
        }
        let (Some(kernel), Some(on_chain)) = (picture.version(), picture.owner()) else {
            return Err(Error::failed(
                "account.not_kernel",
                format!(
                    "the contract at {address} on {network} is not a Kernel 0.2.1-0.2.4 account with an ECDSA owner"
                ),
            )
            .hint("keyleash manages Kernel v2 accounts only"));
        };
        let owner = self.owner(owner.unwrap_or(OwnerSource::Address(on_chain)))?;
        if owner.address() != on_chain {
            return Err(Error::failed(
                "account.owner",
                format!("the key given is that of {}, and the account's owner on chain is {on_chain}", owner.address()),
            )
            .hint("give the owner's key, or none to watch the account"));
        }
        let account = Account {
            network: network.to_owned(),
            chain_id: services.network.chain_id,
            address,
            name: name.to_owned(),
            owner: on_chain,
            owner_secret: self.keep_or_find(&owner, network, address, &format!("owner of {name}"))?,
            seed: kernel.seed_of(address, on_chain),
            kernel,
            created_at: now(),
        };
        self.store.write(|w| w.put_account(&account))?;
        Ok(self.show_account(&account).await)
    }

    pub async fn accounts(&self) -> Result<Vec<AccountView>> {
        let accounts = self.store.read(|r| r.accounts())?;
        // Each network is connected to once: one that does not answer would cost its time limit for every account.
        let mut networks: BTreeMap<&str, Result<Services>> = BTreeMap::new();
        let mut views = Vec::with_capacity(accounts.len());
        for account in &accounts {
            if !networks.contains_key(account.network.as_str()) {
                networks.insert(&account.network, self.services_of(&account.network, account.chain_id).await);
            }
            if let Some(services) = networks.get(account.network.as_str()) {
                views.push(view_account(account, services.as_ref()).await);
            }
        }
        Ok(views)
    }

    /// What is on record, without asking any chain: for a first look.
    pub fn recorded_accounts(&self) -> Result<Vec<AccountView>> {
        Ok(self.store.read(|r| r.accounts())?.iter().map(recorded).collect())
    }

    pub async fn account(&self, name: &str) -> Result<AccountView> {
        Ok(self.show_account(&self.find_account(name)?).await)
    }

    /// Takes an account off the lists. Its approvals, and its owner's key in the vault, stay.
    pub fn remove_account(&self, name: &str) -> Result<()> {
        let account = self.find_account(name)?;
        self.store.write(|w| w.hide_account(&account.network, account.address))
    }

    /// By name or address. Under whichever name it is asked for, it has the key of its owner that any of them has.
    pub(in crate::wallet) fn find_account(&self, wanted: &str) -> Result<Account> {
        let accounts = self.store.read(|r| r.accounts())?;
        let address: Option<Address> = wanted.parse().ok();
        let mut found: Vec<&Account> = accounts.iter().filter(|a| a.name == wanted).collect();
        if found.is_empty() {
            found = accounts.iter().filter(|a| Some(a.address) == address).collect();
        }
        let one = |a: &Account, b: &Account| self.store.read(|r| r.is_one_account(&a.network, &b.network, a.address));
        match found.as_slice() {
            [account, others @ ..] if others.iter().map(|o| one(account, o)).all(|same| matches!(same, Ok(true))) => {
                let mut account = (*account).clone();
                if account.owner_secret.is_none() {
                    let names = self.store.read(|r| r.names_of(&account.network, account.address))?;
                    account.owner_secret =
                        names.into_iter().filter(|a| a.owner == account.owner).find_map(|a| a.owner_secret);
                }
                Ok(account)
            }
            [_, ..] => Err(Error::usage("account.ambiguous", format!("{wanted} is an account on several networks"))
                .hint("use the account's name")),
            [] => {
                let names: Vec<&str> = accounts.iter().map(|a| a.name.as_str()).collect();
                let known = if names.is_empty() { "none yet".to_owned() } else { names.join(", ") };
                Err(Error::usage("account.unknown", format!("there is no account {}", crate::text::clean(wanted, 50)))
                    .hint(format!("known: {known}")))
            }
        }
    }

    async fn show_account(&self, account: &Account) -> AccountView {
        let services = self.services_of(&account.network, account.chain_id).await;
        view_account(account, services.as_ref()).await
    }

    fn name_is_free(&self, name: &str) -> Result<()> {
        label::check("the account's name", name)?;
        let accounts = self.store.read(|r| r.accounts())?;
        let others = accounts.iter().map(|a| (a.name.as_str(), format!("account {}", a.address).into()));
        label::look_alike(name, others).map_or(Ok(()), Err)?;
        match self.store.read(|r| r.account_by_name(name))? {
            None => Ok(()),
            Some(_) => Err(Error::failed("account.exists", format!("there is an account {name} already"))
                .hint("choose another name")),
        }
    }

    fn address_is_free(&self, network: &str, address: Address) -> Result<()> {
        let taken = self.store.read(|r| r.account_under(network, address))?;
        match taken {
            None | Some((_, true)) => Ok(()),
            Some((account, false)) => Err(Error::failed(
                "account.exists",
                format!("{address} on {network} is on record already, as {}", account.name),
            )
            .hint("for another account of the same owner give another --index")),
        }
    }

    fn owner(&self, source: OwnerSource) -> Result<Owner> {
        Ok(match source {
            OwnerSource::New => Owner::Key(Secret::random()?),
            OwnerSource::KeyFile(file) => Owner::Key(vault::import::hex_key(&TextSource::from_argument(&file))?),
            OwnerSource::Keystore(file, passphrase) => Owner::Key(vault::import::keystore_key(&file, &passphrase)?),
            OwnerSource::MnemonicFile(file, path) => {
                Owner::Key(vault::import::mnemonic_key(&TextSource::from_argument(&file), path.as_deref())?)
            }
            OwnerSource::Address(address) if address.is_zero() => {
                return Err(Error::usage("account.owner", "--owner-address: the zero address cannot own an account"));
            }
            OwnerSource::Address(address) => Owner::Watched(address),
        })
    }

    /// Stores an owner's key; the record is written after it, so a crash leaves a spare secret, never a record without one.
    fn keep(&self, owner: &Owner, label: &str) -> Result<Option<SecretId>> {
        match owner {
            Owner::Key(secret) => self.keep_secret(secret, label).map(Some),
            Owner::Watched(_) => Ok(None),
        }
    }

    /// The same; for an owner without a key, the one that is still in the vault from when the account was on the list.
    fn keep_or_find(&self, owner: &Owner, network: &str, account: Address, label: &str) -> Result<Option<SecretId>> {
        let before = self.store.read(|r| r.account(network, account))?.filter(|a| a.owner == owner.address());
        match (owner, before.and_then(|a| a.owner_secret)) {
            (Owner::Watched(_), Some(secret)) => Ok(Some(secret)),
            _ => self.keep(owner, label),
        }
    }

    pub(in crate::wallet) fn keep_secret(&self, secret: &Secret, label: &str) -> Result<SecretId> {
        self.store.require_writable()?;
        let id = SecretId::random()?;
        self.vault.put(&id, secret, label)?;
        if self.vault.passphrase_is_short() {
            self.store.notices().add("vault.passphrase_short", SHORT_PASSPHRASE);
        }
        Ok(id)
    }

    /// Who signs for the owner now.
    pub(in crate::wallet) fn owner_signer(&self, account: &Account) -> Result<Box<dyn Keyholder>> {
        let id = account.owner_secret.ok_or_else(|| {
            Error::new(
                Class::Vault,
                "vault.watch_only",
                format!("{} is watch-only: the key of its owner {} is not here", account.name, account.owner),
            )
            .hint("sign elsewhere with `grant --unsigned`, or add the account again with its owner's key")
        })?;
        let secret = self.vault.get(&id)?;
        if secret.address() != account.owner {
            return Err(Error::new(
                Class::Vault,
                "vault.address",
                format!(
                    "the vault's key for {} is that of {}, not of the owner {}",
                    account.name,
                    secret.address(),
                    account.owner
                ),
            ));
        }
        Ok(Box::new(secret))
    }
}

/// The account with what the chain says about it, or why that is not known.
async fn view_account(account: &Account, services: std::result::Result<&Services, &Error>) -> AccountView {
    let picture = match services {
        Ok(services) => services.snapshot(&account.wanted(&[])).await,
        Err(error) => Err(error.clone()),
    };
    seen(account, picture.as_ref())
}

/// The account in a picture of it.
pub(in crate::wallet) fn seen(account: &Account, picture: std::result::Result<&Snapshot, &Error>) -> AccountView {
    let mut view = recorded(account);
    match picture {
        Ok(picture) => {
            let nonces = picture.nonces();
            view.kernel_version = picture.version();
            view.owner = picture.owner().unwrap_or(account.owner);
            view.deployed = Some(picture.deployed());
            view.balance = Some(picture.balance());
            view.deposit = Some(picture.deposit());
            view.last_nonce = Some(nonces.last);
            view.invalid_nonce = Some(nonces.invalid);
            view.validator = nonces.validator;
            view.paused = Some(picture.pauses_keys());
        }
        Err(error) => {
            view.unknown_because = Some(error.message.clone());
            view.unknown_code = Some(error.code.clone());
        }
    }
    view
}

/// The account as it is on record, before any chain was asked.
fn recorded(account: &Account) -> AccountView {
    AccountView {
        name: clean(&account.name, label::MAX_LABEL),
        network: account.network.clone(),
        chain_id: account.chain_id,
        address: account.address,
        owner: account.owner,
        watch_only: account.owner_secret.is_none(),
        kernel_version: Some(account.kernel),
        deployed: None,
        balance: None,
        deposit: None,
        last_nonce: None,
        invalid_nonce: None,
        validator: None,
        paused: None,
        unknown_because: None,
        unknown_code: None,
    }
}

enum Owner {
    Key(Secret),
    Watched(Address),
}

impl Owner {
    fn address(&self) -> Address {
        match self {
            Self::Key(secret) => secret.address(),
            Self::Watched(address) => *address,
        }
    }
}

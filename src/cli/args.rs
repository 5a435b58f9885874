//! What every command takes, and the kinds of argument that several take. Names are a contract with scripts: add freely, do not
//! rename.

use std::path::PathBuf;

use alloy::primitives::{Address, U256};
use clap::{Args, Parser, ValueEnum};

use super::commands::Command;
use crate::{
    protocol::Format,
    wallet::{
        Backend,
        coin::Coin,
        error::{Error, Result},
        home::Home,
    },
};

/// View, grant and revoke session keys of ZeroDev Kernel smart accounts.
#[derive(Debug, Parser)]
#[command(name = "keyleash", version, about, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Keep everything under this folder (also: KEYLEASH_HOME)
    #[arg(long, global = true, value_name = "DIR", env = "KEYLEASH_HOME", hide_env = true)]
    pub home: Option<PathBuf>,
    /// Which network, where there are several
    #[arg(long, global = true, value_name = "NAME")]
    pub network: Option<String>,
    /// Print exactly one JSON object on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Do not ask before writing; needed where there is no terminal
    #[arg(long, global = true)]
    pub yes: bool,
    /// Where secrets are kept (at `init`; remembered)
    #[arg(long, global = true, value_name = "BACKEND")]
    pub vault: Option<VaultKind>,
    /// Read the vault's passphrase from this file's first line (`-` = standard input)
    #[arg(long, global = true, value_name = "FILE")]
    pub passphrase_file: Option<String>,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
    /// Say more about what is going on
    #[arg(long, short, global = true)]
    pub verbose: bool,
}

impl Global {
    /// The profile that commands work on: the user's own, or the sandbox where that is the only one.
    pub fn profile(&self) -> Result<Home> {
        if let Some(folder) = &self.home {
            return Ok(Home::at(folder));
        }
        let (real, sandbox) = (Home::of_user()?, Home::sandbox_of_user()?);
        Ok(if !real.is_initialized() && sandbox.is_initialized() { sandbox } else { real })
    }

    pub fn user_profile(&self) -> Result<Home> {
        self.home.as_deref().map_or_else(Home::of_user, |folder| Ok(Home::at(folder)))
    }

    pub fn sandbox_profile(&self) -> Result<Home> {
        self.home.as_deref().map_or_else(Home::sandbox_of_user, |folder| Ok(Home::at(folder)))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VaultKind {
    /// The keyring of the operating system (the default)
    Keyring,
    /// Encrypted files (Ethereum keystore V3)
    File,
}

impl From<VaultKind> for Backend {
    fn from(kind: VaultKind) -> Self {
        match kind {
            VaultKind::Keyring => Self::Keyring,
            VaultKind::File => Self::File,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormatChoice {
    /// @zerodev/sdk 4.x
    V4,
    /// @zerodev/session-key 5.x
    V5,
}

impl From<FormatChoice> for Format {
    fn from(choice: FormatChoice) -> Self {
        match choice {
            FormatChoice::V4 => Self::V4,
            FormatChoice::V5 => Self::V5,
        }
    }
}

/// Reads an address and says which argument was wrong.
pub fn address(argument: &str, text: &str) -> Result<Address> {
    crate::abi::parse_address(text).map_err(|e| Error::usage("argument.address", format!("{argument}: {e}")))
}

/// Reads an amount of the chain's coin and says which argument was wrong.
pub fn amount(coin: Coin, argument: &str, text: Option<&str>) -> Result<Option<U256>> {
    text.map(|t| coin.parse(t).map_err(|e| Error::usage("argument.amount", format!("{argument}: {e}")))).transpose()
}

//! Where an owner's key comes from.

use std::path::PathBuf;

use clap::Args;

use crate::{
    cli::args::{Global, address},
    wallet::{
        PassphraseSource,
        error::{Error, Result},
        usecase::account::OwnerSource,
    },
};

#[derive(Debug, Args)]
#[group(required = false, multiple = true)]
pub struct OwnerArgs {
    /// Make a fresh owner key
    #[arg(long)]
    owner_new: bool,
    /// The owner's private key as hex in a file (`-` = standard input)
    #[arg(long, value_name = "FILE")]
    owner_key_file: Option<String>,
    /// An Ethereum keystore V3 file
    #[arg(long, value_name = "FILE")]
    owner_keystore: Option<PathBuf>,
    /// The first line of this file opens the keystore; asked for otherwise
    #[arg(long, value_name = "FILE", requires = "owner_keystore")]
    owner_keystore_passphrase_file: Option<String>,
    /// A BIP-39 phrase in a file (`-` = standard input)
    #[arg(long, value_name = "FILE")]
    owner_mnemonic_file: Option<String>,
    /// Derivation path for the phrase
    #[arg(long, value_name = "PATH", requires = "owner_mnemonic_file")]
    path: Option<String>,
    /// Only the owner's address: watch-only, the owner signs elsewhere
    #[arg(long, value_name = "ADDRESS")]
    owner_address: Option<String>,
}

impl OwnerArgs {
    /// `None` when no argument says anything about the owner; more than one is a usage error.
    pub fn source(self, global: &Global) -> Result<Option<OwnerSource>> {
        let stdin_twice = [self.owner_key_file.as_deref(), self.owner_mnemonic_file.as_deref()].contains(&Some("-"))
            && global.passphrase_file.as_deref() == Some("-");
        if stdin_twice {
            return Err(Error::usage("usage", "standard input cannot carry both the key and the passphrase")
                .hint("put one of them into a file"));
        }
        let mut said = Vec::new();
        if self.owner_new {
            said.push(OwnerSource::New);
        }
        if let Some(file) = self.owner_key_file {
            said.push(OwnerSource::KeyFile(file));
        }
        if let Some(file) = self.owner_keystore {
            let passphrase = PassphraseSource::from_argument(self.owner_keystore_passphrase_file.as_deref());
            said.push(OwnerSource::Keystore(file, passphrase));
        }
        if let Some(file) = self.owner_mnemonic_file {
            said.push(OwnerSource::MnemonicFile(file, self.path));
        }
        if let Some(text) = self.owner_address {
            said.push(OwnerSource::Address(address("--owner-address", &text)?));
        }
        match said.len() {
            0 | 1 => Ok(said.pop()),
            _ => Err(Error::usage("account.owner", "several owner arguments were given")
                .hint("pass exactly one --owner-… argument")),
        }
    }
}

//! Where an owner's key comes from, out of the arguments that say it.

use super::args::{Global, OwnerArgs, address};
use crate::wallet::{
    PassphraseSource,
    error::{Error, Result},
    usecase::account::OwnerSource,
};

/// `None` when no argument says anything about the owner; more than one is a usage error.
pub fn source(args: &OwnerArgs, global: &Global) -> Result<Option<OwnerSource>> {
    let stdin_twice = [args.owner_key_file.as_deref(), args.owner_mnemonic_file.as_deref()].contains(&Some("-"))
        && global.passphrase_file.as_deref() == Some("-");
    if stdin_twice {
        return Err(Error::usage("usage", "standard input cannot carry both the key and the passphrase")
            .hint("put one of them into a file"));
    }
    let mut said = Vec::new();
    if args.owner_new {
        said.push(OwnerSource::New);
    }
    if let Some(file) = &args.owner_key_file {
        said.push(OwnerSource::KeyFile(file.clone()));
    }
    if let Some(file) = &args.owner_keystore {
        let passphrase = PassphraseSource::from_argument(args.owner_keystore_passphrase_file.as_deref());
        said.push(OwnerSource::Keystore(file.clone(), passphrase));
    }
    if let Some(file) = &args.owner_mnemonic_file {
        said.push(OwnerSource::MnemonicFile(file.clone(), args.path.clone()));
    }
    if let Some(text) = &args.owner_address {
        said.push(OwnerSource::Address(address("--owner-address", text)?));
    }
    match said.len() {
        0 | 1 => Ok(said.pop()),
        _ => Err(Error::usage("account.owner", "the owner is named in more than one way")
            .hint("give exactly one --owner-… argument")),
    }
}

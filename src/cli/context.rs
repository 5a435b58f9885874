//! What a command runs with, and what it ends with.

use serde::Serialize;
use serde_json::Value;

use super::{
    args::Global,
    output::{Output, print, to_json},
};
use crate::wallet::{
    PassphraseSource, Wallet,
    error::{Error, Result},
};

/// The warning whenever a sandbox is used or made.
const SANDBOX: &str = "SANDBOX: an in-process chain with throwaway keys; nothing here is real";

pub struct Context {
    pub global: Global,
    pub output: Output,
    /// What is known so far: `data` of the envelope if the command fails.
    pub known: Value,
}

/// A finished command.
pub struct Done {
    pub data: Value,
    pub text: String,
}

pub fn done(data: impl Serialize, text: impl Into<String>) -> Result<Done> {
    Ok(Done { data: to_json(data)?, text: text.into() })
}

impl Context {
    pub fn new(global: Global) -> Self {
        let output = Output::new(global.json).verbose(global.verbose);
        Self { global, output, known: Value::Null }
    }

    /// The wallet of the profile; its remarks are shown from here on.
    pub fn open(&mut self) -> Result<Wallet> {
        let passphrase = PassphraseSource::from_argument(self.global.passphrase_file.as_deref());
        let json = self.global.json;
        let wallet = Wallet::open(self.global.profile()?, passphrase)?;
        self.output.listen(wallet.notices());
        if wallet.is_sandbox() {
            self.warn_of_sandbox();
        }
        Ok(wallet.for_one_command().on_waiting_for_keyring(move || Output::new(json).say("waiting for your keyring …")))
    }

    pub fn warn_of_sandbox(&mut self) {
        self.output.warn("sandbox", SANDBOX);
    }

    /// Asks before something is done; `--yes` has answered already.
    pub fn confirm(&mut self, question: &str) -> Result<()> {
        self.output.confirm(question, self.global.yes)
    }

    /// A failure, with `data` for scripts.
    pub fn failed<T>(&mut self, data: Value, error: Error) -> Result<T> {
        self.known = data;
        Err(error)
    }

    /// A failure whose report is printed like a result: a check that did not pass.
    pub fn failed_report<T>(&mut self, data: Value, text: &str, error: Error) -> Result<T> {
        self.known = data;
        if !self.output.is_json() {
            print(text)?;
        }
        Err(error)
    }
}

//! Where secrets are, and moving, removing and checking them. Never what they are.

use alloy::primitives::Address;
use serde::Serialize;

use crate::wallet::{
    Wallet,
    error::{Class, Error, Result},
    vault::{Backend, Entry, SecretId, Status, Step},
};

/// A secret as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretView {
    pub id: SecretId,
    pub address: Address,
    pub label: String,
    pub backend: Backend,
    /// False after an operation that was cut off: `check` puts that right.
    pub settled: bool,
    /// What needs it, for example `owner of treasury`.
    pub used_by: Vec<String>,
}

/// Whether a backend would answer now, found out without a dialog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackendView {
    pub backend: Backend,
    /// New secrets go here.
    pub chosen: bool,
    /// `available`, `locked`, `absent` or `frozen`.
    pub state: &'static str,
    /// Why, when it cannot be used.
    pub reason: Option<String>,
    /// How many secrets are in it.
    pub secrets: usize,
}

impl BackendView {
    /// Whether it would answer, perhaps after a question for its passphrase.
    pub fn can_answer(&self) -> bool {
        !matches!(self.state, "absent" | "frozen")
    }
}

/// What `check` found about one secret, and did about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretFinding {
    pub id: SecretId,
    /// Somebody has to do something.
    pub problem: bool,
    pub message: String,
}

impl Wallet {
    /// `tell` is called when the keyring takes longer than a moment, to show "waiting for your keyring".
    #[must_use]
    pub fn on_waiting_for_keyring(mut self, tell: impl Fn() + Send + Sync + 'static) -> Self {
        self.vault.on_waiting(tell);
        self
    }

    /// Every secret, without unlocking any.
    pub fn secrets(&self) -> Result<Vec<SecretView>> {
        let users = self.secret_users()?;
        Ok(self.vault.list()?.into_iter().map(|entry| view(entry, &users)).collect())
    }

    /// Takes three seconds at the most.
    pub fn vault_status(&self) -> Result<Vec<BackendView>> {
        let entries = self.vault.list()?;
        Ok([Backend::Keyring, Backend::File]
            .map(|backend| {
                let (state, reason) = match self.vault.status(backend) {
                    Status::Available => ("available", None),
                    Status::Locked => ("locked", None),
                    Status::Absent { why } => ("absent", Some(why)),
                    Status::Frozen => ("frozen", Some("it does not answer".into())),
                };
                let secrets = entries.iter().filter(|entry| entry.backend == backend).count();
                BackendView { backend, chosen: self.vault.backend() == backend, state, reason, secrets }
            })
            .into())
    }

    /// A secret by its id, its address, or its label if only one has it.
    pub fn find_secret(&self, wanted: &str) -> Result<SecretView> {
        let mut found: Vec<_> = self.secrets()?.into_iter().filter(|secret| secret.is_named(wanted)).collect();
        match (found.pop(), found.len()) {
            (Some(secret), 0) => Ok(secret),
            (None, _) => Err(Error::new(Class::Vault, "vault.missing", format!("there is no secret {wanted}"))
                .hint("`keyleash vault ls` shows their ids, addresses and labels")),
            (Some(_), _) => Err(Error::usage("vault.ambiguous", format!("several secrets are called {wanted}"))
                .hint("name one by its id; `keyleash vault ls` shows them")),
        }
    }

    /// Moves a secret to a backend: written, read back and compared there before it is deleted where it was.
    pub fn move_secret(&self, id: &SecretId, to: Backend) -> Result<()> {
        Ok(self.vault.move_to(id, to)?)
    }

    /// Destroys a secret for good. One that a record needs is destroyed only `even_if_used`.
    pub fn remove_secret(&self, id: &SecretId, even_if_used: bool) -> Result<()> {
        let used_by: Vec<_> = self.secret_users()?.into_iter().filter(|user| user.id == *id).map(|u| u.role).collect();
        if !used_by.is_empty() && !even_if_used {
            let message =
                format!("the secret {id} is needed: it is the {}; it was not removed", used_by.join(", the "));
            return Err(Error::new(Class::Vault, "vault.in_use", message).hint(
                "without it nobody can sign for that here, and it cannot be brought back; confirm to remove it",
            ));
        }
        if !even_if_used {
            // Whether a record needs the secret cannot be told of one that is not understood.
            self.store.read(|r| r.require_every_family_known())?;
        }
        Ok(self.vault.remove(id)?)
    }

    /// Looks at every secret and puts right what was cut off. Reads what is in the keyring, so that may ask to be unlocked.
    pub fn check_secrets(&self) -> Result<Vec<SecretFinding>> {
        let known: Vec<_> = self.secret_users()?.into_iter().map(|user| (user.id, user.address)).collect();
        let findings = self.vault.check(&known)?;
        Ok(findings
            .into_iter()
            .map(|f| SecretFinding { id: f.id, problem: f.verdict.is_problem(), message: f.verdict.to_string() })
            .collect())
    }

    fn secret_users(&self) -> Result<Vec<SecretUser>> {
        self.store.read(|records| {
            let owners = records.all_accounts()?.into_iter().filter_map(|account| {
                let role = format!("owner of {}", account.name);
                Some(SecretUser { id: account.owner_secret?, address: account.owner, role })
            });
            let keys = records.keys()?.into_iter().filter_map(|key| {
                Some(SecretUser {
                    id: key.secret?,
                    address: key.session_key,
                    role: format!("session key {}", key.label),
                })
            });
            let agents = records.agents()?.into_iter().map(|agent| SecretUser {
                id: agent.secret,
                address: agent.address,
                role: format!("agent {}", agent.label),
            });
            Ok(owners.chain(keys).chain(agents).collect())
        })
    }
}

impl SecretView {
    fn is_named(&self, wanted: &str) -> bool {
        self.label == wanted
            || wanted.parse().is_ok_and(|id: SecretId| id == self.id)
            || wanted.parse().is_ok_and(|address: Address| address == self.address)
    }
}

/// A record that names a secret.
struct SecretUser {
    id: SecretId,
    address: Address,
    role: String,
}

fn view(entry: Entry, users: &[SecretUser]) -> SecretView {
    let used_by = users.iter().filter(|user| user.id == entry.id).map(|user| user.role.clone()).collect();
    SecretView {
        id: entry.id,
        address: entry.address,
        label: entry.label,
        backend: entry.backend,
        settled: entry.step == Step::Stored,
        used_by,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        secret::Secret,
        wallet::{PassphraseSource, home::Home, vault::Vault},
    };

    #[test]
    fn a_secret_that_a_record_needs_is_named_found_and_not_removed_by_accident() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path());
        Wallet::init(&home, Backend::File).unwrap();
        let mut wallet = Wallet::open(home, PassphraseSource::StandardInput).unwrap();
        wallet.vault = Vault::for_tests(wallet.home.data());
        let agent = wallet.new_agent("mint-bot").unwrap();
        let spare = SecretId::random().unwrap();
        wallet.vault.put(&spare, &Secret::random().unwrap(), "spare").unwrap();

        let secrets = wallet.secrets().unwrap();
        let of_agent = secrets.iter().find(|secret| secret.address == agent.address).unwrap();
        assert_eq!(of_agent.used_by, ["agent mint-bot"]);
        assert_eq!(wallet.find_secret(&agent.address.to_string()).unwrap(), *of_agent);
        assert_eq!(wallet.find_secret(&of_agent.id.to_string()).unwrap(), *of_agent);
        assert_eq!(wallet.find_secret("nonesuch").unwrap_err().code, "vault.missing");
        assert_eq!(wallet.remove_secret(&of_agent.id, false).unwrap_err().code, "vault.in_use");
        wallet.remove_secret(&wallet.find_secret("spare").unwrap().id, false).unwrap();

        assert!(wallet.check_secrets().unwrap().iter().all(|finding| !finding.problem));
        wallet.remove_secret(&of_agent.id, true).unwrap();
        let missing = wallet.check_secrets().unwrap();
        assert!(missing[0].problem && missing[0].id == of_agent.id, "{missing:?}");
    }

    #[test]
    fn what_a_record_that_is_not_understood_may_need_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path());
        Wallet::init(&home, Backend::File).unwrap();
        let mut wallet = Wallet::open(home, PassphraseSource::StandardInput).unwrap();
        wallet.vault = Vault::for_tests(wallet.home.data());
        let id = SecretId::random().unwrap();
        wallet.vault.put(&id, &Secret::random().unwrap(), "of whom?").unwrap();
        rusqlite::Connection::open(wallet.home.records_file())
            .unwrap()
            .execute_batch(
                r#"INSERT INTO account (network, address, name, record) VALUES ('n', x'01', 'new', '{"family":"kernel-v9"}')"#,
            )
            .unwrap();
        assert_eq!(wallet.remove_secret(&id, false).unwrap_err().code, "records.family");
        wallet.remove_secret(&id, true).unwrap();
    }
}

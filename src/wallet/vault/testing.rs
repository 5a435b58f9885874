//! What tests may do to a vault that the product may not.

use zeroize::Zeroizing;

use super::{
    AskPassphrase, Backend, Index, PassphraseSource, Path, Question, SealedFiles, Secret, SecretId, Status, Step,
    Vault, VaultError,
};

/// Whoever asks, the passphrase is `test`.
struct AlwaysTest;

impl AskPassphrase for AlwaysTest {
    fn ask(&self, _: Question) -> Result<Zeroizing<String>, VaultError> {
        Ok(Zeroizing::new("test".to_owned()))
    }
}

impl Vault {
    /// New secrets go into sealed files, at hardly any cost, under the passphrase `test`.
    pub fn for_tests(data: &Path) -> Self {
        Self::cheap(data, Backend::File, PassphraseSource::Prompt(Box::new(AlwaysTest)))
    }

    /// The same with another backend for new secrets.
    pub fn for_tests_in(data: &Path, backend: Backend) -> Self {
        Self::cheap(data, backend, PassphraseSource::Prompt(Box::new(AlwaysTest)))
    }

    /// A vault whose scrypt costs nothing.
    pub fn cheap(data: &Path, backend: Backend, source: PassphraseSource) -> Self {
        let mut vault = Self::open(data, backend, PassphraseSource::StandardInput);
        vault.sealed = SealedFiles::cheap(source);
        vault
    }

    /// Writes into the index how far an operation came before it was cut off.
    pub fn pretend(&self, id: &SecretId, step: Step) {
        let lock = self.folder.lock().unwrap();
        let mut index = Index::load(&self.folder).unwrap();
        let backend = index.find(id).unwrap().backend;
        index.set(id, backend, step);
        index.save(&self.folder, &lock).unwrap();
    }

    /// Whether the index knows the id.
    pub fn contains(&self, id: &SecretId) -> bool {
        Index::load(&self.folder).unwrap().find(id).is_some()
    }

    /// What is really there, whatever the index says: in a sealed file, in the keyring.
    pub fn copies(&self, id: &SecretId) -> (Option<Secret>, Option<Secret>) {
        let in_keyring = match self.status(Backend::Keyring) {
            Status::Available => self.keyring.read(id).unwrap(),
            _ => None,
        };
        (self.sealed.read(&self.folder, id).ok(), in_keyring)
    }

    /// Writes a second copy into the other backend behind the back of the index.
    pub fn duplicate(&self, id: &SecretId) {
        let entry = self.entry(id).unwrap();
        let secret = self.get(id).unwrap();
        let other = entry.backend.other();
        self.make_ready(other).unwrap();
        let lock = self.folder.lock().unwrap();
        self.write(other, &lock, &entry, &secret).unwrap();
    }
}

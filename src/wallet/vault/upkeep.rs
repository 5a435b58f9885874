//! Moving secrets between backends, and putting right what a killed process or a meddling hand left behind.
//!
//! A move writes down each step before it is taken: copy, read back and compare, decide, delete. Whenever it is cut off,
//! the index names a backend that has the whole secret, and there may be a second copy in the other one.

use std::fmt;

use alloy::primitives::Address;

use super::{Backend, Entry, Index, SecretId, Status, Step, Vault, VaultError, blocking, private_files::FolderLock};

/// What `check` found about one secret, and did about it.
#[derive(Debug)]
pub struct Finding {
    pub id: SecretId,
    pub verdict: Verdict,
}

#[derive(Debug)]
pub enum Verdict {
    /// Where it should be, with the right address.
    Sound { backend: Backend },
    /// A cut-off `put` had stored it after all.
    Completed { backend: Backend },
    /// A cut-off `put` had stored nothing, so nobody was told that it had; forgotten.
    NeverStored,
    /// It was in both; the copy that is not needed was deleted.
    CopyDeleted { kept: Backend },
    /// A cut-off removal had not happened yet.
    NotRemoved { backend: Backend },
    /// A cut-off removal had happened.
    Removed,
    /// It was there, but the index did not say so.
    Found { backend: Backend },
    /// In neither backend.
    Missing,
    /// It is there, but is not the secret that is recorded; left alone.
    WrongAddress { backend: Backend, recorded: Address, found: Address },
    /// Could not be looked at; left as it was.
    Unclear { why: VaultError },
}

impl Verdict {
    /// Whether a person has to do something.
    pub fn is_problem(&self) -> bool {
        matches!(self, Self::Missing | Self::WrongAddress { .. } | Self::Unclear { .. })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sound { backend } => write!(f, "in the {backend} vault, as recorded"),
            Self::Completed { backend } => {
                write!(f, "storing it was cut off, but it is in the {backend} vault: completed")
            }
            Self::NeverStored => f.write_str("storing it was cut off before it was written: forgotten"),
            Self::CopyDeleted { kept } => {
                write!(f, "it was in both vaults: kept in the {kept} vault, deleted from the {} vault", kept.other())
            }
            Self::NotRemoved { backend } => {
                write!(
                    f,
                    "its removal was cut off, and it is still in the {backend} vault: kept; remove it again if you want"
                )
            }
            Self::Removed => f.write_str("its removal was cut off after it was deleted: completed"),
            Self::Found { backend } => {
                write!(f, "it was in the {backend} vault without being recorded there: recorded")
            }
            Self::Missing => f.write_str("it is in neither vault: put it back from a backup"),
            Self::WrongAddress { backend, recorded, found } => write!(
                f,
                "the {backend} vault has the key of {found} in its place, {recorded} is recorded: put it back from a backup"
            ),
            Self::Unclear { why } => write!(f, "it could not be looked at, and was left as it is: {why}"),
        }
    }
}

impl Vault {
    /// Moves a secret to the other backend: written, read back and compared there before it is deleted here.
    pub fn move_to(&self, id: &SecretId, to: Backend) -> Result<(), VaultError> {
        blocking(|| {
            if self.entry(id)?.backend == to {
                return Ok(());
            }
            // One of the two is the keyring. Whether it answers is known in seconds; a passphrase takes a person, and scrypt.
            self.keyring.require()?;
            self.make_ready(to)?;
            // Read before the folder is locked: the backend may have to ask a person.
            let secret = self.get(id)?;
            let lock = self.folder.lock()?;
            let mut index = Index::load(&self.folder)?;
            let entry = self.settled(&index, id)?;
            let from = entry.backend;
            if from == to {
                return Ok(());
            }
            index.set(id, from, Step::Copying);
            index.save(&self.folder, &lock)?;
            if let Err(error) = self.write(to, &lock, &entry, &secret) {
                if self.take_back(&error, to, &lock, id) {
                    index.set(id, from, Step::Stored);
                    index.save(&self.folder, &lock)?;
                }
                return Err(error);
            }
            index.set(id, to, Step::Clearing);
            index.save(&self.folder, &lock)?;
            self.delete(from, &lock, id)?;
            index.set(id, to, Step::Stored);
            index.save(&self.folder, &lock)
        })
    }

    /// Looks at every secret, finishes or undoes what was cut off, and rebuilds the index if it is damaged or lost.
    /// `known` are the secrets that records name: one that the index has lost is looked for in the keyring, which cannot
    /// be listed. Never deletes a secret's only copy.
    pub fn check(&self, known: &[(SecretId, Address)]) -> Result<Vec<Finding>, VaultError> {
        blocking(|| {
            if let Err(frozen @ VaultError::KeyringFrozen { .. }) = self.keyring.require() {
                // Said once: otherwise each secret would wait for it again.
                return Err(frozen);
            }
            let lock = self.folder.lock()?;
            let mut index = Index::load_or_set_aside(&self.folder, &lock)?;
            let unrecorded = self.unrecorded(&index, known)?;
            let mut findings = Vec::new();
            for mut entry in index.entries().to_vec() {
                let verdict = self.settle(&lock, &mut entry);
                match verdict {
                    Verdict::NeverStored | Verdict::Removed => index.forget(&entry.id),
                    _ => index.set(&entry.id, entry.backend, entry.step),
                }
                findings.push(Finding { id: entry.id, verdict });
            }
            for (id, address) in unrecorded {
                let verdict = self.look_for(&id, address);
                if let (Verdict::Found { backend }, Some(address)) = (&verdict, address) {
                    index.add(Entry { id, address, label: "found".into(), backend: *backend, step: Step::Stored });
                }
                findings.push(Finding { id, verdict });
            }
            index.save(&self.folder, &lock)?;
            Ok(findings)
        })
    }

    /// Sealed files and known secrets that the index does not name, with the address they should have.
    fn unrecorded(
        &self,
        index: &Index,
        known: &[(SecretId, Address)],
    ) -> Result<Vec<(SecretId, Option<Address>)>, VaultError> {
        let mut unrecorded: Vec<_> = known.iter().map(|(id, address)| (*id, Some(*address))).collect();
        for id in self.sealed.ids(&self.folder)? {
            if !known.iter().any(|(known, _)| *known == id) {
                // A file that cannot be read has no address; `look_for` says why.
                unrecorded.push((id, self.sealed.claimed_address(&self.folder, &id).ok().flatten()));
            }
        }
        unrecorded.retain(|(id, _)| index.find(id).is_none());
        // Several records may name one secret.
        unrecorded.sort_unstable_by_key(|(id, _)| *id);
        unrecorded.dedup_by_key(|(id, _)| *id);
        Ok(unrecorded)
    }

    /// Where a secret is that the index does not name.
    fn look_for(&self, id: &SecretId, address: Option<Address>) -> Verdict {
        for backend in [Backend::File, Backend::Keyring] {
            match (self.address_in(backend, id), address) {
                (Ok(None), _) => {}
                (Ok(Some(found)), Some(recorded)) if found != recorded => {
                    return Verdict::WrongAddress { backend, recorded, found };
                }
                (Ok(Some(_)), _) => return Verdict::Found { backend },
                (Err(why), _) => return Verdict::Unclear { why },
            }
        }
        Verdict::Missing
    }

    /// Brings an entry to rest, in place, as far as that can be done safely.
    fn settle(&self, lock: &FolderLock, entry: &mut Entry) -> Verdict {
        let here = match self.address_in(entry.backend, &entry.id) {
            Ok(Some(found)) if found != entry.address => {
                return Verdict::WrongAddress { backend: entry.backend, recorded: entry.address, found };
            }
            Ok(here) => here.is_some(),
            Err(why) => return Verdict::Unclear { why },
        };
        let backend = entry.backend;
        let verdict = match (entry.step, here) {
            (Step::Writing, true) => Verdict::Completed { backend },
            (Step::Writing, false) => return Verdict::NeverStored,
            (Step::Removing, true) => Verdict::NotRemoved { backend },
            (Step::Removing, false) => return Verdict::Removed,
            (Step::Stored, true) => self.unneeded_copy(lock, entry),
            (Step::Copying | Step::Clearing, true) => self.cut_off_copy(lock, entry),
            (Step::Stored | Step::Copying | Step::Clearing, false) => self.only_copy(entry),
        };
        if !verdict.is_problem() {
            entry.step = Step::Stored;
        }
        verdict
    }

    /// A move was cut off: the backend of the entry has the whole secret, the other one may have a copy.
    fn cut_off_copy(&self, lock: &FolderLock, entry: &Entry) -> Verdict {
        match self.delete(entry.backend.other(), lock, &entry.id) {
            Ok(()) => Verdict::CopyDeleted { kept: entry.backend },
            Err(why) => Verdict::Unclear { why },
        }
    }

    /// Nothing was cut off, but there may be a copy in the other backend, put there by a restored backup for example. It
    /// is deleted only after the one we keep was really opened.
    fn unneeded_copy(&self, lock: &FolderLock, entry: &Entry) -> Verdict {
        let sound = Verdict::Sound { backend: entry.backend };
        let other = entry.backend.other();
        if other == Backend::Keyring && self.status(other) != Status::Available {
            return sound;
        }
        match self.address_in(other, &entry.id) {
            Ok(Some(address)) if address == entry.address => {}
            Ok(_) | Err(_) => return sound,
        }
        match self.get(&entry.id) {
            Ok(_) => self.cut_off_copy(lock, entry),
            Err(why) => Verdict::Unclear { why },
        }
    }

    /// It is not where the index says: is it in the other backend?
    fn only_copy(&self, entry: &mut Entry) -> Verdict {
        let other = entry.backend.other();
        match self.address_in(other, &entry.id) {
            Ok(None) => Verdict::Missing,
            Ok(Some(address)) if address == entry.address => {
                entry.backend = other;
                Verdict::Found { backend: other }
            }
            Ok(Some(found)) => Verdict::WrongAddress { backend: other, recorded: entry.address, found },
            Err(VaultError::KeyringAbsent { .. }) => Verdict::Missing,
            Err(why) => Verdict::Unclear { why },
        }
    }

    /// The address of what a backend has under an id. A sealed file only claims it, so no passphrase is needed; a keyring
    /// entry is read.
    fn address_in(&self, backend: Backend, id: &SecretId) -> Result<Option<Address>, VaultError> {
        match backend {
            Backend::File => self.sealed.claimed_address(&self.folder, id),
            Backend::Keyring => Ok(self.keyring.read(id)?.map(|secret| secret.address())),
        }
    }
}

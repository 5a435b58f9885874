//! What the vault knows about its secrets without opening any: id, address, label, and which backend holds each.
//!
//! Keyrings cannot be listed reliably, and a list must never unlock anything. Every change is written down here before a
//! backend is touched and again after, so that a killed process leaves a secret that `check` can find.

use alloy::primitives::Address;
use serde::{Deserialize, Serialize};

use super::{
    Backend, SecretId, VaultError,
    private_files::{FolderLock, PrivateFolder},
};

const FILE: &str = "index.json";
const SCHEMA: u32 = 1;
/// About 200 bytes a secret.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// One secret, as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub id: SecretId,
    pub address: Address,
    pub label: String,
    /// Where it is. Except while `Writing`, a whole copy is there.
    pub backend: Backend,
    /// Not `Stored` only while an operation runs, or after one that was cut off.
    pub step: Step,
}

/// How far an operation on a secret has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    Stored,
    /// About to be written for the first time.
    Writing,
    /// A second copy is being written to the other backend.
    Copying,
    /// The move is decided; the copy in the other backend is to be deleted.
    Clearing,
    /// About to be deleted.
    Removing,
}

#[derive(Deserialize)]
struct Versioned {
    schema: u32,
}

#[derive(Serialize, Deserialize)]
pub struct Index {
    schema: u32,
    secrets: Vec<Entry>,
}

impl Index {
    pub fn load(folder: &PrivateFolder) -> Result<Self, VaultError> {
        let Some(json) = folder.read(FILE, MAX_BYTES)? else { return Ok(Self::empty()) };
        let path = folder.join(FILE);
        // Looked at first: what a newer keyleash wrote need not parse, and is not damaged.
        if let Ok(Versioned { schema }) = serde_json::from_slice(&json)
            && schema > SCHEMA
        {
            return Err(VaultError::Newer { file: path, schema });
        }
        let advice = "it holds no secret, and `keyleash vault check` rebuilds it";
        serde_json::from_slice(&json).map_err(|e| VaultError::damaged(&path, format!("{e}; {advice}")))
    }

    /// For repairs: a damaged index is kept under another name, and an empty one stands in for it.
    pub fn load_or_set_aside(folder: &PrivateFolder, lock: &FolderLock) -> Result<Self, VaultError> {
        match Self::load(folder) {
            Err(VaultError::Damaged { .. }) => {
                folder.rename(lock, FILE, "index.damaged")?;
                Ok(Self::empty())
            }
            other => other,
        }
    }

    fn empty() -> Self {
        Self { schema: SCHEMA, secrets: Vec::new() }
    }

    pub fn save(&self, folder: &PrivateFolder, lock: &FolderLock) -> Result<(), VaultError> {
        let json =
            serde_json::to_vec_pretty(self).map_err(|e| VaultError::damaged(&folder.join(FILE), e.to_string()))?;
        folder.replace(lock, FILE, &json)
    }

    pub fn entries(&self) -> &[Entry] {
        &self.secrets
    }

    pub fn into_entries(self) -> Vec<Entry> {
        self.secrets
    }

    pub fn find(&self, id: &SecretId) -> Option<&Entry> {
        self.secrets.iter().find(|entry| entry.id == *id)
    }

    /// Notes where a secret is and how far an operation on it has come.
    pub fn set(&mut self, id: &SecretId, backend: Backend, step: Step) {
        if let Some(entry) = self.secrets.iter_mut().find(|entry| entry.id == *id) {
            entry.backend = backend;
            entry.step = step;
        }
    }

    pub fn add(&mut self, entry: Entry) {
        self.secrets.push(entry);
    }

    pub fn forget(&mut self, id: &SecretId) {
        self.secrets.retain(|entry| entry.id != *id);
    }
}

//! What keyleash remembers about accounts, keys, networks and operations. Never a secret: only the id of one.

use std::collections::BTreeSet;

use crate::{
    erc4337::v06::UserOperation,
    policy::scope::Scope,
    protocol::family::{
        Family, Validator,
        account::{Seed, Version},
        approval::{ApprovalRequest, Recorded},
        snapshot::SnapshotRequest,
        status::OnRecord,
    },
    wallet::vault::SecretId,
};
use alloy::primitives::{Address, B256, Bytes, Selector, U256};
use serde::{Deserialize, Serialize};

/// How a paymaster service is asked (docs/kernel-v2.md#bundlers-and-paymasters).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PaymasterKind {
    /// ERC-7677: `pm_getPaymasterStubData`, `pm_getPaymasterData`.
    Erc7677,
    /// `pm_sponsorUserOperation`.
    Pimlico,
    /// `zd_sponsorUserOperation`.
    Zerodev,
}

impl PaymasterKind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Erc7677 => "erc7677",
            Self::Pimlico => "pimlico",
            Self::Zerodev => "zerodev",
        }
    }
}

/// A chain and the services that keyleash reaches it through. Addresses may carry API keys: shown redacted only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    pub chain_id: u64,
    pub rpc: String,
    /// Another node of the chain, which is asked whether it says the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_rpc: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundler: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paymaster: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paymaster_kind: Option<PaymasterKind>,
    /// JSON that the paymaster service wants with every request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paymaster_context: Option<String>,
}

/// An account is (network, address).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub network: String,
    pub chain_id: u64,
    pub address: Address,
    pub name: String,
    pub owner: Address,
    /// Missing for a watch-only account.
    pub owner_secret: Option<SecretId>,
    /// How to deploy it; missing when it was added by address.
    pub seed: Option<Seed>,
    /// What it is deployed with if it is not deployed yet.
    pub kernel: Version,
    pub created_at: u64,
}

impl Account {
    /// Which family of session keys its keys are of.
    pub const fn family(&self) -> Family {
        self.kernel.family()
    }

    /// What is to be known of it, with what the validators hold for these session keys.
    pub fn wanted(&self, session_keys: &[Address]) -> SnapshotRequest {
        SnapshotRequest::of(self.address, session_keys, Some(self.kernel))
    }

    /// What is on record of it, to be compared with a snapshot.
    pub fn on_record<'a>(&'a self, approvals: &'a [&'a ApprovalRequest], scanned: bool) -> OnRecord<'a> {
        let Self { name, owner, seed, kernel, .. } = self;
        OnRecord { name, owner: *owner, seed: *seed, version: *kernel, approvals, scanned }
    }

    /// `factory ‖ createAccount(…)`, when we know how the account is made.
    pub fn init_code(&self) -> Option<Bytes> {
        self.seed.map(|seed| self.kernel.init_code(seed))
    }
}

/// Where a key on record comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Granted here by the account's owner.
    Granted,
    /// Taken in by an agent from somebody else's owner.
    Imported,
    /// Found on the chain by a scan: who granted it, and to whom, only the owner knows.
    Discovered,
}

/// What is known of a scope when only a part of its permissions was ever shown on chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartialScope {
    /// The whole tree's, as the chain holds it; the permissions on record do not rebuild it.
    pub merkle_root: B256,
    /// The siblings that prove each permission on record, in their order.
    pub proofs: Vec<Vec<B256>>,
}

/// A session key and its scope for one account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Short and random; for commands.
    pub id: String,
    pub label: String,
    pub network: String,
    pub chain_id: u64,
    pub account: Address,
    /// Who signed, at the time.
    pub owner: Address,
    pub session_key: Address,
    /// The key's private half, when it is in our vault.
    pub secret: Option<SecretId>,
    #[serde(rename = "generation")]
    pub validator: Validator,
    pub scope: Scope,
    /// Set where the scope's permissions are only those that were shown: an empty list does not mean "everything" then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial: Option<PartialScope>,
    /// Full function signature of each permission where it is known, in their order; for showing arguments by name.
    pub functions: Vec<Option<String>>,
    pub origin: Origin,
    /// How the account is deployed, where that is known.
    pub init_code: Option<Bytes>,
    /// Whether the account had code when the key was recorded.
    pub was_deployed: bool,
    pub created_at: u64,
    /// When the owner took it back with proof, unix seconds.
    pub revoked_at: Option<u64>,
}

impl Key {
    pub const fn family(&self) -> Family {
        self.validator.family()
    }

    /// What of it must be what its owner signed.
    pub fn recorded(&self) -> Recorded<'_> {
        Recorded {
            account: self.account,
            chain_id: self.chain_id,
            validator: self.validator,
            session_key: self.session_key,
            scope: &self.scope,
            partial: self.partial.as_ref().map(|partial| (partial.merkle_root, partial.proofs.as_slice())),
        }
    }
}

/// An owner's signature (or the wait for one) that opens one account function to a key. Kept for ever: it is what a leaked
/// key would replay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalRecord {
    pub key_id: String,
    pub request: ApprovalRequest,
    /// Missing while the owner signs elsewhere.
    pub signature: Option<Bytes>,
    pub created_at: u64,
}

impl ApprovalRecord {
    pub fn selector(&self) -> Selector {
        self.request.selector()
    }

    /// In decimal.
    pub fn nonce(&self) -> String {
        self.request.nonce()
    }

    pub fn digest(&self) -> B256 {
        self.request.digest()
    }
}

/// A key made here for use with somebody's account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    pub label: String,
    pub address: Address,
    pub secret: SecretId,
    pub created_at: u64,
}

/// What an operation on record was for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    Send {
        key_id: Option<String>,
    },
    Enable {
        key_ids: Vec<String>,
    },
    Revoke {
        key_ids: Vec<String>,
        /// What the claim afterwards is about. Records made before this was written down say nothing of it.
        #[serde(default)]
        extent: Extent,
    },
    /// Stops every key of the account.
    Panic,
    /// Gives the account back to its owner.
    Reclaim,
}

/// How much of what can act for an account a revocation was to end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// The keys that it names, and whatever else their holders have.
    #[default]
    Named,
    /// Every key but these (ids), which the owner chose to keep.
    AllBut(BTreeSet<String>),
}

/// What left this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Carrier {
    /// Through a bundler.
    UserOp(UserOperation),
    /// A transaction of the owner's own address.
    Transaction(SignedTransaction),
}

/// How far an operation on record got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum OperationState {
    /// Signed and written down, perhaps sent: we were cut off, or the bundler did not say.
    Signed,
    /// The bundler took it.
    Sent,
    Included {
        success: bool,
        transaction_hash: B256,
        block: u64,
        gas_used: U256,
        gas_cost: U256,
        revert_reason: Option<String>,
    },
    /// The bundler refused it. It is signed all the same, and whoever has it can have it mined until its nonce is used.
    Refused {
        message: String,
        /// Its nonce is used by something else: it can never be mined any more.
        #[serde(default)]
        ended: bool,
    },
}

/// A UserOperation or a transaction that left, or may have left, this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// What it is followed by: the UserOperation's hash, or the transaction's where the owner sent one.
    pub user_op_hash: B256,
    pub network: String,
    pub account: Address,
    pub purpose: Purpose,
    #[serde(flatten)]
    pub carrier: Carrier,
    pub progress: OperationState,
    pub created_at: u64,
}

/// A transaction that left, or may have left, this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedTransaction {
    pub hash: B256,
    pub from: Address,
    pub nonce: u64,
    pub to: Address,
    pub data: Bytes,
    /// Wei per gas unit.
    pub max_fee_per_gas: U256,
    pub max_priority_fee_per_gas: U256,
    /// EIP-2718 envelope.
    pub raw: Bytes,
    /// The UserOperation that it brings to the EntryPoint, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carries: Option<B256>,
}

//! What the parts of the front end say to each other, as plain data: what happened, what is to be done about it, what a job has
//! to say, what a form asks for and what a plan shows. It knows none of those who say it.

use std::{path::PathBuf, sync::Arc};

use alloy::primitives::{Address, B256, U256};

use super::input::{Input, Moment};
use crate::{
    abi::Interface,
    policy::risk::{Checked, Finding},
    protocol::{Call, Format, Step},
    wallet::{
        Backend, Question,
        error::Error,
        policy::Policy,
        records::model::{Operation, PaymasterKind},
        submit::{
            operation::OperationOutcome,
            printed::PrintedCall,
            routes::{Price, SkippedRoute},
        },
        usecase::{
            account::AccountView,
            agent::AgentView,
            enable::{EnableIntent, Enabled},
            grant::{Accepted, Granted, Holder},
            inspect::Inspection,
            inventory::Difference,
            key::KeyView,
            network::{NetworkView, Probe},
            revoke::{RevokeIntent, Revoked},
            scan::{Scan, ScanProgress},
            secrets::BackendView,
            send::{Judging, SendIntent},
            status::Completed,
        },
    },
};

/// A job of the wallet, and the plan it made, which has the same number.
pub type JobId = u32;

/// What happened.
pub enum Msg {
    Input(Input, Moment),
    /// A frame with the present state has been drawn.
    Drawn(Moment),
    /// The local clock, unix seconds.
    Clock(u64),
    Job(JobId, Report),
    /// The vault asks for a passphrase. The text itself never comes here: only how long it is.
    Asked(Question),
    Typed(usize),
    Answered,
    /// So many characters were pasted and are held by the loop: they may be a secret.
    Held(usize),
    /// The operating system's keyring has not answered yet.
    KeyringWaits,
}

/// What `update` wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Reads the records; no chain is asked.
    Load {
        job: JobId,
    },
    /// Reads an account and its keys from its chain.
    Refresh {
        job: JobId,
        account: String,
    },
    /// Reads these keys from their chains.
    ReadKeys {
        job: JobId,
        keys: Vec<String>,
    },
    /// Asks a network whether its chain has moved on.
    Head {
        job: JobId,
        network: String,
        known: u64,
    },
    InitSandbox {
        job: JobId,
    },
    PlanGrant {
        job: JobId,
        request: GrantRequest,
    },
    /// Reads a JSON ABI from a file.
    ReadAbi {
        job: JobId,
        file: String,
    },
    /// The serialized approvals of a key, without its private key.
    ReadApproval {
        job: JobId,
        key: String,
        format: Format,
    },
    /// Writes a key's approvals to a file that only its owner can read.
    Export {
        job: JobId,
        key: String,
        format: Format,
        with_secret: bool,
        file: String,
    },
    /// Reads what a verdict on a key's calls needs.
    ReadJudging {
        job: JobId,
        key: String,
    },
    PlanSend {
        job: JobId,
        intent: SendIntent,
    },
    /// Signs and sends the call that was shown.
    SendCall {
        job: JobId,
        plan: JobId,
    },
    /// The session keys held here for other people's accounts.
    ReadAgents {
        job: JobId,
    },
    NewAgent {
        job: JobId,
        label: String,
    },
    /// Reads an approval from elsewhere; nothing is written.
    InspectApproval {
        job: JobId,
        source: ApprovalSource,
    },
    /// Verifies an approval from elsewhere and keeps it.
    ImportApproval {
        job: JobId,
        source: ApprovalSource,
        label: Option<String>,
    },
    /// What was pasted is not wanted any more.
    DropHeld,
    /// Signs the plan that was shown.
    SignGrant {
        job: JobId,
        plan: JobId,
        accepted: Accepted,
    },
    PlanRevoke {
        job: JobId,
        intent: RevokeIntent,
    },
    /// Signs and sends the plan that was shown.
    SendRevoke {
        job: JobId,
        plan: JobId,
    },
    PlanEnable {
        job: JobId,
        intent: EnableIntent,
    },
    /// Signs and sends the plan that was shown.
    SendEnable {
        job: JobId,
        plan: JobId,
    },
    /// Reads the latest operations from the records.
    Operations {
        job: JobId,
    },
    /// Asks the chain what became of an operation.
    Follow {
        job: JobId,
        operation: B256,
    },
    /// Recovers the keys of an account from its history, and records those that are new.
    Scan {
        job: JobId,
        account: String,
    },
    Networks {
        job: JobId,
    },
    CheckNetwork {
        job: JobId,
        name: String,
    },
    AddNetwork {
        job: JobId,
        request: NetworkRequest,
    },
    RemoveNetwork {
        job: JobId,
        name: String,
    },
    AddAccount {
        job: JobId,
        request: AccountRequest,
    },
    RemoveAccount {
        job: JobId,
        name: String,
    },
    /// Sets up a home for live networks.
    InitHome {
        job: JobId,
        vault: Backend,
    },
    /// Finds out where secrets are kept, and whether that would answer.
    VaultStatus {
        job: JobId,
    },
    /// Asks the terminal to put a text on the clipboard.
    Copy {
        text: String,
    },
    /// Writes a text to a file that only its owner can read.
    Save {
        job: JobId,
        name: String,
        text: String,
    },
    /// The plan is not wanted any more.
    Forget {
        plan: JobId,
    },
    /// Stops waiting for a job that sends nothing.
    Cancel {
        job: JobId,
    },
    Suspend,
    Quit,
}

/// What a job has to say.
pub enum Report {
    Phase(&'static str),
    SandboxReady,
    Records {
        accounts: Vec<AccountView>,
        keys: Vec<KeyView>,
        in_flight: usize,
        sandbox: bool,
    },
    Account(Box<AccountView>, Vec<KeyView>, Vec<Difference>),
    /// The newest block of a network, or why it did not say.
    Head {
        network: String,
        block: Result<u64, Error>,
    },
    Keys(Vec<KeyView>),
    GrantPlanned(Box<GrantPreview>),
    Granted(Box<Granted>),
    /// A JSON ABI that was read.
    Abi(Box<Interface>),
    /// The serialized approvals of a key, without its private key.
    ApprovalText(Vec<String>),
    /// An approval was written to a file.
    Exported {
        file: String,
        with_secret: bool,
    },
    /// What a verdict on a call needs; the screen that asked takes it.
    Judging(Option<Arc<Judging>>),
    SendPlanned(Box<SendView>),
    Sent(Box<OperationOutcome>),
    Agents {
        agents: Vec<AgentView>,
        networks: Vec<String>,
    },
    AgentMade(Box<AgentView>),
    Inspected(Vec<Inspection>),
    ApprovalImported {
        keys: Vec<KeyView>,
        warnings: Vec<String>,
    },
    RevokePlanned(Box<RevokePreview>),
    Revoked(Box<Revoked>),
    EnablePlanned(Box<EnablePreview>),
    Enabled(Box<Enabled>),
    /// Newest first.
    Operations(Vec<Operation>),
    Followed(Box<Completed>),
    Networks(Vec<NetworkView>),
    Checked(Vec<Probe>),
    /// Under this name.
    NetworkAdded(String),
    NetworkRemoved(String),
    AccountAdded(Box<AccountView>),
    AccountRemoved(String),
    HomeReady,
    Vault(Vec<BackendView>),
    Scanning(ScanProgress),
    Scanned(Box<Scan>),
    /// The file that was written.
    Saved(PathBuf),
    Failed(Error),
    /// It was stopped before its end. What it had done by then stays done.
    Stopped,
}

impl Report {
    /// Whether the job goes on after this.
    pub const fn is_progress(&self) -> bool {
        matches!(self, Self::Phase(_) | Self::Scanning(_))
    }
}

/// The grant form, filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRequest {
    pub account: String,
    pub policy: PolicySource,
    pub holder: Holder,
    pub label: Option<String>,
}

/// The form for an account, filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRequest {
    pub name: String,
    pub network: String,
    /// An account that exists; missing for a new one.
    pub address: Option<Address>,
    pub owner: OwnerFrom,
    /// Tells the accounts of one owner apart.
    pub index: U256,
}

/// Where an owner's key comes from. Files by name only: what is in them never comes here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnerFrom {
    Fresh,
    KeyFile(String),
    Keystore(String),
    PhraseFile(String),
    /// Watch-only: the owner the chain names, or this one.
    Nobody(Option<Address>),
}

/// The form for a network, filled in. Its addresses may carry the keys of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkRequest {
    pub name: String,
    pub chain_id: u64,
    pub reached: Reached,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reached {
    /// A ZeroDev project id stands for node, bundler and paymaster.
    Zerodev(String),
    Urls {
        rpc: String,
        bundler: Option<String>,
        paymaster: Option<(String, PaymasterKind)>,
    },
}

/// What is on the way from a plan to enabled keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnablePreview {
    pub account: String,
    pub network: String,
    pub address: Address,
    pub steps: Vec<Step>,
    /// Missing when the calls are only printed.
    pub price: Option<Price>,
    pub skipped: Vec<SkippedRoute>,
    pub notes: Vec<String>,
    /// What is to be sent from elsewhere when nothing is sent from here.
    pub calls: Vec<PrintedCall>,
}

impl EnablePreview {
    /// What it does, and the most it can cost in wei.
    pub fn gist(&self) -> (&[Step], U256) {
        (&self.steps, self.price.as_ref().map_or(U256::ZERO, |p| p.max_cost))
    }
}

/// What the owner asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicySource {
    /// A policy file, to be read.
    File(String),
    Made(Box<Policy>),
}

/// Where an approval from elsewhere is, and which network is asked about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalSource {
    /// Missing: what was pasted last and is held here.
    pub file: Option<String>,
    /// Missing: no chain is asked.
    pub network: Option<String>,
}

/// A call as it is reviewed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendView {
    pub account: Address,
    pub network: String,
    pub chain_id: u64,
    pub calls: Vec<Call>,
    pub enables: bool,
    pub deploys: bool,
    /// Wei.
    pub max_cost: U256,
    pub ceiling: U256,
    /// An operation that does the same, whose nonce it takes.
    pub replaces: Option<B256>,
    pub paymaster: Option<Address>,
    pub fee_source: &'static str,
    pub user_op_hash: B256,
    /// What could go wrong with these calls.
    pub findings: Vec<Finding>,
}

/// A grant as it is reviewed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantPreview {
    pub account: String,
    pub network: String,
    pub chain_id: u64,
    pub address: Address,
    pub owner: Address,
    pub label: String,
    pub session_key: Address,
    pub made_here: bool,
    pub sentences: Vec<String>,
    pub warnings: Vec<String>,
    pub findings: Vec<Finding>,
    pub checked: Checked,
    /// Account function, nonce and EIP-712 digest of each signature.
    pub digests: Vec<(&'static str, String, B256)>,
}

/// A revocation as it is reviewed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokePreview {
    pub account: String,
    pub network: String,
    pub address: Address,
    pub steps: Vec<Step>,
    pub also_revokes: Vec<String>,
    /// What stays possible, and what needed nothing.
    pub warnings: Vec<String>,
    /// Ways to send that were tried first.
    pub skipped: Vec<SkippedRoute>,
    /// Missing when nothing is sent from here.
    pub price: Option<Price>,
    /// What the owner's wallet is to send then.
    pub calls: Vec<PrintedCall>,
    /// Kernel 0.2.1: so many operations more, one after the other.
    pub further: usize,
}

impl RevokePreview {
    /// What it does, and the most it can cost in wei.
    pub fn gist(&self) -> (&[Step], U256) {
        (&self.steps, self.price.as_ref().map_or(U256::ZERO, |p| p.max_cost))
    }
}

/// One line that says what just happened, or why something did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub text: String,
    pub bad: bool,
}

impl Notice {
    pub fn say(text: impl Into<String>) -> Self {
        Self { text: text.into(), bad: false }
    }

    pub fn trouble(text: impl Into<String>) -> Self {
        Self { text: text.into(), bad: true }
    }

    pub fn failure(error: &Error) -> Self {
        let hint = if error.hint.is_empty() { String::new() } else { format!(" → {}", error.hint) };
        Self::trouble(format!("{}{hint}", error.message))
    }
}

/// The passphrase question that is open. Its text is in the loop's own field, never here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    pub question: Question,
    pub typed: usize,
}

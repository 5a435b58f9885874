//! Acting: as a session key, within its scope; or as the owner.
//!
//! As a key, the judge is asked first. What the chain would refuse never leaves this machine.

use alloy::primitives::{Address, B256, Bytes, U256, aliases::U192};
use serde::Serialize;

use super::{grant::parse_functions, key::KeyFile};
use crate::{
    abi::Function,
    policy::{risk::Finding, scope::ANY_PAYMASTER},
    protocol::{
        AccountCall, Call,
        family::{
            envelope::{Accepted, Credentials, Envelope, Judgement, Refused},
            snapshot::{Snapshot, SnapshotRequest},
        },
    },
    wallet::{
        Wallet,
        coin::Coin,
        error::{Class, Error, Kind, Result},
        records::model::{Account, Key, Purpose},
        rpc::services::Services,
        submit::{
            operation::{OperationOutcome, OperationRequest, Pay, Prepared, random_nonce_key},
            progress::Progress,
            signer::{Keyholder, sign_operation},
        },
    },
};

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A key on record, by id, label or address.
    Key(String),
    /// The owner of an account on record.
    Owner(String),
}

/// What shall be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendIntent {
    pub actor: Actor,
    pub calls: Vec<Call>,
    /// Several calls, or one that must go through `executeBatch`.
    pub batch: bool,
    /// Most wei the operation may cost.
    pub max_cost: Option<U256>,
}

/// An operation that is ready to be signed, and what it will do.
pub struct SendPlan {
    pub account: Address,
    pub network: String,
    pub account_call: AccountCall,
    pub prepared: Prepared,
    /// As a key: what the judge says.
    pub accepted: Option<Accepted>,
    /// Enabling happens in the same operation.
    pub enables: bool,
    pub deploys: bool,
    /// What whoever acts should know besides, such as a second node that gave no answer.
    pub notes: Vec<String>,
    /// What could go wrong with these calls (R29).
    pub findings: Vec<Finding>,
    signer: Signer,
    services: Services,
}

#[allow(clippy::large_enum_variant, reason = "one for each plan, never in a list")]
enum Signer {
    Owner(Box<Account>),
    Session { key: Box<Key>, envelope: Envelope },
}

/// What the judge needs to answer for a key, read once: for a verdict while a call is still being written. No secret is in it.
pub struct Judging {
    file: KeyFile,
    picture: Snapshot,
    pay: Pay,
}

/// What the judge says of a call that the key may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// It goes through `executeBatch`, because that is what the key's approval opens.
    pub batch: bool,
    /// The approval is enabled in the same operation.
    pub enables: bool,
    pub deploys: bool,
}

impl Judging {
    /// Whether the chain would run this call, as of when the facts were read; else which rule says no.
    pub fn verdict(&self, call: Call) -> Result<Verdict> {
        let deploys = !self.picture.deployed();
        let verdict = |batch, judged: Judgement| Verdict { batch, enables: judged.envelope.enables(), deploys };
        match self.judged(&AccountCall::Execute(call.clone())) {
            Ok(judged) => Ok(verdict(false, judged)),
            Err(refused) => match self.judged(&AccountCall::ExecuteBatch(vec![call])) {
                Ok(judged) => Ok(verdict(true, judged)),
                Err(_) => Err(refused),
            },
        }
    }
}

/// What an operation goes through, in this order, as it is told while it runs.
pub const PHASES: [&str; 3] = ["signing", "sending", "waiting for a block"];

/// A plan as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SendPreview {
    pub user_op_hash: alloy::primitives::B256,
    pub account: Address,
    pub network: String,
    pub deploys: bool,
    pub enables: bool,
    /// Most wei it can cost, decimal.
    pub max_cost: String,
    /// Most wei that it was allowed to cost, decimal.
    pub cap: String,
    /// What both are counted in.
    pub coin: Coin,
    /// An operation that does the same and has no result yet: only one of the two can be mined.
    pub replaces: Option<B256>,
    pub paymaster: Option<Address>,
    pub fee_source: &'static str,
    pub call_data: Bytes,
    /// Each call as a sentence.
    pub calls: Vec<String>,
    /// What whoever acts should know besides.
    pub notes: Vec<String>,
    /// As the plan has them; each front end writes them in its own way.
    #[serde(skip)]
    pub risks: Vec<Finding>,
}

impl SendPlan {
    /// The account, when its owner acts.
    pub(in crate::wallet) fn owner_account(&self) -> Option<&Account> {
        match &self.signer {
            Signer::Owner(account) => Some(account),
            Signer::Session { .. } => None,
        }
    }

    /// The coin of its chain.
    pub fn coin(&self) -> Coin {
        self.prepared.coin
    }

    pub fn chain_id(&self) -> u64 {
        self.services.network.chain_id
    }

    pub fn preview(&self) -> SendPreview {
        SendPreview {
            user_op_hash: self.prepared.user_op_hash,
            account: self.account,
            network: self.network.clone(),
            deploys: self.deploys,
            enables: self.enables,
            max_cost: self.prepared.max_cost.to_string(),
            cap: self.prepared.ceiling.to_string(),
            coin: self.prepared.coin,
            replaces: self.prepared.replaces,
            paymaster: self.prepared.paymaster,
            fee_source: self.prepared.fee_source,
            call_data: self.prepared.user_op.call_data.clone(),
            calls: self.calls_in_words(&[]),
            notes: self.notes.clone(),
            risks: self.findings.clone(),
        }
    }

    /// Each call as a sentence, read by the functions of the key's scope and by those that the caller knows besides.
    pub fn calls_in_words(&self, functions: &[Function]) -> Vec<String> {
        let (family, of_key) = match &self.signer {
            Signer::Session { key, .. } => (key.family(), parse_functions(&key.functions)),
            Signer::Owner(account) => (account.family(), Vec::new()),
        };
        let functions: Vec<Function> = of_key.into_iter().flatten().chain(functions.iter().cloned()).collect();
        self.account_call.in_words(family, &functions, self.prepared.coin.symbol())
    }
}

impl Wallet {
    /// Judges, prices and sponsors the operation. Nothing is signed or sent.
    pub async fn plan_send(&self, intent: SendIntent) -> Result<SendPlan> {
        let account_call = account_call(&intent)?;
        match &intent.actor {
            Actor::Owner(name) => self.plan_as_owner(name, account_call, intent.max_cost).await,
            Actor::Key(wanted) => self.plan_as_key(wanted, account_call, intent.max_cost).await,
        }
    }

    /// Signs and sends the plan, and says which of [`PHASES`] it is in.
    pub async fn execute_send(&self, plan: SendPlan, wait: bool, progress: &dyn Progress) -> Result<OperationOutcome> {
        progress.phase("signing");
        let hash = plan.prepared.user_op_hash;
        let (signature, key_id) = match &plan.signer {
            Signer::Owner(account) => (
                account.family().owner_envelope()(&sign_operation(self.owner_signer(account)?.as_ref(), hash).await?),
                None,
            ),
            Signer::Session { key, envelope } => {
                let signed = sign_operation(self.session_signer(key)?.as_ref(), hash).await?;
                (envelope.assemble(&signed), Some(key.id.clone()))
            }
        };
        let purpose = Purpose::Send { key_id };
        self.execute_operation(&plan.services, plan.prepared, purpose, signature, wait, progress).await
    }

    /// The facts about a key, for verdicts while a call is being written.
    pub async fn judging(&self, wanted: &str) -> Result<Judging> {
        let file = self.find_key(wanted)?;
        if file.key.secret.is_none() {
            return Err(Error::new(
                Class::Vault,
                "vault.no_session_key",
                format!("the private half of {} ({}) is not here", file.key.label, file.key.session_key),
            )
            .hint("its holder can act with it; the owner can with `send --as-owner`"));
        }
        let services = self.services_of(&file.key.network, file.key.chain_id).await?;
        let mut picture = self.picture_for(&file.key).await?;
        for approval in &file.approvals {
            services.add_counters(&mut picture, &file.key, &approval.request).await?;
        }
        let pay = who_pays(&file.key, &services)?;
        Ok(Judging { file, picture, pay })
    }

    async fn plan_as_owner(&self, name: &str, account_call: AccountCall, max_cost: Option<U256>) -> Result<SendPlan> {
        let account = self.find_account(name)?;
        let services = self.services_of(&account.network, account.chain_id).await?;
        let picture = services.snapshot(&account.wanted(&[])).await?;
        if matches!(account_call, AccountCall::ExecuteBatch(_))
            && picture.version().is_some_and(|version| !version.has_batch())
        {
            return Err(Error::failed("account.no_batch", "Kernel 0.2.1 accepts a batch and does nothing")
                .hint("send the calls one by one, or upgrade the account"));
        }
        if let Some(owner) = picture.owner().filter(|owner| picture.deployed() && *owner != account.owner) {
            return Err(Error::failed(
                "account.owner_changed",
                format!("the owner of {} is {owner} on chain, and {} on record", account.name, account.owner),
            ));
        }
        let second = services.nodes_agree(&account.wanted(&[]), &picture).await?;
        let call_data = account.family().encode(&account_call);
        let mut wanted = self.owner_wanted(&account, &picture, &services, call_data, max_cost)?;
        wanted.instead_of = self.earlier_of_the_same(&services, wanted.sender, &wanted.call_data).await?;
        let prepared = prepare(&services, &wanted, &account_call, &picture).await?;
        Ok(SendPlan {
            account: account.address,
            network: services.name.clone(),
            findings: services.calls_to_nothing(&account_call, account.address, picture.deployed()).await?,
            account_call,
            prepared,
            accepted: None,
            enables: false,
            deploys: !picture.deployed(),
            notes: second.into_iter().collect(),
            signer: Signer::Owner(Box::new(account)),
            services,
        })
    }

    /// An operation of the owner, on a nonce key of its own.
    pub(in crate::wallet) fn owner_wanted(
        &self,
        account: &Account,
        picture: &Snapshot,
        services: &Services,
        call_data: Bytes,
        max_cost: Option<U256>,
    ) -> Result<OperationRequest<'static>> {
        Ok(OperationRequest {
            sender: account.address,
            init_code: init_code(picture, account.init_code())?,
            call_data,
            nonce_key: random_nonce_key()?,
            instead_of: None,
            pay: if services.paymaster.is_some() { Pay::Sponsor { expected: None } } else { Pay::Account },
            max_cost,
            urgent: false,
            assemble: account.family().owner_envelope(),
        })
    }

    async fn plan_as_key(&self, wanted: &str, account_call: AccountCall, max_cost: Option<U256>) -> Result<SendPlan> {
        let judging = self.judging(wanted).await?;
        let Judgement { envelope, accepted } = judging.judged(&account_call)?;
        let Judging { file, picture, pay } = judging;
        let services = self.services_of(&file.key.network, file.key.chain_id).await?;
        let keys = [file.key.session_key];
        let second =
            services.nodes_agree(&SnapshotRequest::of(file.key.account, &keys, picture.version()), &picture).await?;
        let call_data = file.key.family().encode(&account_call);
        let wanted = OperationRequest {
            sender: file.key.account,
            init_code: init_code(&picture, file.key.init_code.clone().or(self.recorded_init_code(&file.key)?))?,
            instead_of: self.earlier_of_the_same(&services, file.key.account, &call_data).await?,
            call_data,
            nonce_key: U192::ZERO,
            pay,
            max_cost,
            urgent: false,
            assemble: &|s| envelope.assemble(s),
        };
        let prepared = prepare(&services, &wanted, &account_call, &picture).await?;
        Ok(SendPlan {
            account: file.key.account,
            network: services.name.clone(),
            findings: services.calls_to_nothing(&account_call, file.key.account, picture.deployed()).await?,
            account_call,
            deploys: !picture.deployed(),
            enables: envelope.enables(),
            notes: second.into_iter().collect(),
            accepted: Some(accepted),
            signer: Signer::Session { key: Box::new(file.key), envelope },
            prepared,
            services,
        })
    }

    fn recorded_init_code(&self, key: &Key) -> Result<Option<Bytes>> {
        Ok(self.store.read(|r| r.account(&key.network, key.account))?.and_then(|a| a.init_code()))
    }

    fn session_signer(&self, key: &Key) -> Result<Box<dyn Keyholder>> {
        let id = key.secret.ok_or_else(|| {
            Error::new(Class::Vault, "vault.no_session_key", format!("the private half of {} is not here", key.label))
        })?;
        let secret = self.vault.get(&id)?;
        if secret.address() != key.session_key {
            return Err(Error::new(Class::Vault, "vault.address", "the vault's key is not this session key's"));
        }
        Ok(Box::new(secret))
    }
}

impl Judging {
    fn judged(&self, call: &AccountCall) -> Result<Judgement> {
        let Self { file: KeyFile { key, approvals }, picture, pay } = self;
        let functions = parse_functions(&key.functions);
        let has =
            Credentials { session_key: key.session_key, owner: key.owner, scope: &key.scope, functions: &functions };
        let approvals = approvals.iter().map(|approval| (&approval.request, approval.signature.as_ref()));
        has.judge(approvals, picture, &expected_paymaster_data(key, *pay), call).map_err(|refused| denial(key, refused))
    }
}

async fn prepare(
    services: &Services,
    wanted: &OperationRequest<'_>,
    account_call: &AccountCall,
    picture: &Snapshot,
) -> Result<Prepared> {
    let coin = services.coin();
    can_send(account_call, picture, coin, None)?;
    match services.prepare(wanted).await {
        Err(failed) => Err(can_send(account_call, picture, coin, Some(failed.clone())).err().unwrap_or(failed)),
        prepared => prepared,
    }
}

/// Stops a call that sends more than the account has. A batch may earn first what it spends then, so it is only asked why it
/// fails when it does.
fn can_send(account_call: &AccountCall, picture: &Snapshot, coin: Coin, failed: Option<Error>) -> Result<()> {
    let calls = account_call.calls();
    let sent = calls.iter().fold(U256::ZERO, |sum, call| sum.saturating_add(call.value));
    let missing = sent.saturating_sub(picture.balance());
    let single = calls.len() == 1;
    let explained = failed.as_ref().is_none_or(|error| error.kind != Kind::CallReverts);
    if missing.is_zero() || (!single && explained) {
        return failed.map_or(Ok(()), Err);
    }
    let [sent, has, missing] = [sent, picture.balance(), missing].map(|wei| coin.amount(wei));
    Err(Error::failed("funds.insufficient", format!("the operation sends {sent}, and the account has {has}"))
        .hint(format!("{missing} are missing; nothing was sent")))
}

fn account_call(intent: &SendIntent) -> Result<AccountCall> {
    match (intent.calls.as_slice(), intent.batch) {
        ([one], false) => Ok(AccountCall::Execute(one.clone())),
        ([], _) => Err(Error::usage("send.nothing", "there is no call to make")),
        (calls, true) => Ok(AccountCall::ExecuteBatch(calls.to_vec())),
        (_, false) => Err(Error::usage("send.batch", "several calls need --batch")),
    }
}

fn init_code(picture: &Snapshot, known: Option<Bytes>) -> Result<Bytes> {
    if picture.deployed() {
        return Ok(Bytes::new());
    }
    known.ok_or_else(|| {
        Error::failed("account.not_deployed", "the account is not deployed, and how to deploy it is not on record")
            .hint("the approval must come with the account's initCode, or the account be made with `account new`")
    })
}

/// The scope decides who must pay; without a rule, the network's sponsor if there is one.
fn who_pays(key: &Key, services: &Services) -> Result<Pay> {
    let sponsor = services.paymaster.is_some();
    match key.scope.paymaster {
        Address::ZERO => Ok(if sponsor { Pay::Sponsor { expected: None } } else { Pay::Account }),
        ANY_PAYMASTER if sponsor => Ok(Pay::Sponsor { expected: None }),
        exactly if sponsor => Ok(Pay::Sponsor { expected: Some(exactly) }),
        required => {
            let who = if required == ANY_PAYMASTER { "some paymaster".to_owned() } else { required.to_string() };
            Err(Error::new(
                Class::Denied,
                "denied.paymaster",
                format!(
                    "{} may act only when gas is paid by {who}, and network {} has no paymaster",
                    key.label, services.name
                ),
            )
            .hint("add the network with --paymaster URL"))
        }
    }
}

/// What `paymasterAndData` will begin with, for the judge: the real data follows when the service is asked.
fn expected_paymaster_data(key: &Key, pay: Pay) -> Bytes {
    match (pay, key.scope.paymaster) {
        (Pay::Account, _) => Bytes::new(),
        (Pay::Sponsor { expected: Some(address) }, _) => Bytes::copy_from_slice(address.as_slice()),
        (Pay::Sponsor { expected: None }, _) => Bytes::from_static(&[0xff; 20]),
    }
}

fn denial(key: &Key, refused: Refused) -> Error {
    let stale = |message: String| Error::new(Class::Denied, "denied.stale", message);
    match refused {
        Refused::NotSigned => {
            Error::new(Class::Denied, "denied.not_enabled", format!("{} has no signed approval", key.label))
        }
        Refused::Damaged => Error::failed("records.damaged", "the approval on record does not verify; it is not used"),
        Refused::Owner { now, signed } => {
            stale(format!("the account's owner is {now} now; the approval was signed by {signed}"))
                .hint("ask the present owner for a new approval")
        }
        Refused::Implementation { now, signed } => {
            stale(format!("the approval was signed for Kernel {signed}, and the account runs {now}"))
                .hint("ask the owner for a new approval")
        }
        Refused::UnknownImplementation => {
            Error::failed("account.kernel", "the account's Kernel version is not known, so the approval cannot be used")
        }
        Refused::NoProof => Error::failed("key.proof", "the permission to show is not in the key's scope"),
        Refused::Denied { code: reason, message } => {
            Error::new(Class::Denied, reason, format!("{}: {message}", key.label))
                .hint("nothing was sent; `keyleash key show` says what the key may do")
        }
    }
}

//! The routes by which an owner's calls reach the account: a bundler with a sponsor, a bundler paid by the account, the owner's own
//! transaction, or `handleOps` called by the owner's address. Each takes over where the one before cannot.

use alloy::primitives::{Address, B256, Bytes, U256};
use serde::Serialize;

use super::{
    operation::{OperationOutcome, OperationRequest, Pay, Prepared, random_nonce_key},
    progress::Progress,
    refused,
    signer::{Keyholder, sign_operation},
    transaction::{PreparedTransaction, TransactionRequest, Waiting},
};
use crate::{
    erc4337::v06::{ENTRY_POINT, UserOperation, handle_ops},
    protocol::{AccountCall, DUMMY_SIGNATURE},
    wallet::{
        Wallet,
        coin::Coin,
        error::{Class, Error, Kind, Result},
        records::model::{Account, Purpose, SignedTransaction},
        rpc::{At, CallRequest, first_nonce, services::Services},
    },
};

/// Which route an owner wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RoutePreference {
    /// The first that works: sponsor, bundler, the owner's own transaction.
    #[default]
    Auto,
    Bundler,
    /// A transaction of the owner's address; `handleOps` while the account is not deployed.
    Owner,
    HandleOps,
    /// Nothing is sent from here: the calls are printed.
    Print,
}

/// How something is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Route {
    Sponsor,
    Bundler,
    Owner,
    HandleOps,
}

impl Route {
    /// The same where the words alone do not say who paid for the gas.
    pub const fn words_with_payer(self) -> &'static str {
        match self {
            Self::Sponsor | Self::Bundler => self.words(),
            Self::Owner => "as a transaction of the owner's own address, which paid for it",
            Self::HandleOps => "by the owner's address, which brought the operation to the EntryPoint and paid for it",
        }
    }

    pub const fn words(self) -> &'static str {
        match self {
            Self::Sponsor => "through the bundler, paid by the sponsor",
            Self::Bundler => "through the bundler, paid by the account",
            Self::Owner => "as a transaction of the owner's own address",
            Self::HandleOps => "owner EOA calls EntryPoint.handleOps directly",
        }
    }
}

/// A route that was tried first, and why it was left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SkippedRoute {
    #[serde(rename = "way")]
    pub route: Route,
    pub reason: String,
}

/// An owner's call that is ready to be signed, for one route.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "one for each plan, never in a list")]
pub enum Submission {
    Bundler(Prepared),
    Owner(PreparedTransaction),
    /// The transaction's data is complete once the operation is signed.
    HandleOps {
        operation: Prepared,
        transaction: PreparedTransaction,
    },
}

/// What a submission costs, who pays, and what is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Price {
    #[serde(rename = "way")]
    pub route: Route,
    /// Wei.
    pub max_cost: U256,
    /// Wei: most that anything was allowed to cost here.
    pub ceiling: U256,
    /// What both are counted in.
    pub coin: Coin,
    /// Who pays for the gas: a paymaster, the account, or the owner's address.
    pub payer: Payer,
    pub fee_source: &'static str,
    /// The hash that is signed: the UserOperation's, or the transaction's.
    pub signing_hash: B256,
    /// A transaction of the owner that is stuck, and whose place it takes.
    pub replaces: Option<B256>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Payer {
    Paymaster(Address),
    Account,
    Owner(Address),
}

impl std::fmt::Display for Payer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Paymaster(paymaster) => write!(f, "the paymaster {paymaster}"),
            Self::Account => f.write_str("the account"),
            Self::Owner(owner) => write!(f, "the owner's address {owner}"),
        }
    }
}

/// What is to be called, on which account.
pub(in crate::wallet) struct OwnerCall<'a> {
    pub account: &'a Account,
    pub deployed: bool,
    pub account_call: &'a AccountCall,
    pub max_cost: Option<U256>,
    pub urgency: Urgency,
}

/// What may stop a call, and what it offers so as not to be overtaken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::wallet) enum Urgency {
    /// It gives power: any doubt about prices or money stops it.
    Usual,
    /// It takes power away: one answer of a node about prices or money does not stop it, and it offers more than the usual fee.
    TakesAway,
    /// The same, and no other transaction of the owner may be mined before it.
    AheadOfAll,
}

impl Urgency {
    fn takes_away(self) -> bool {
        self != Self::Usual
    }
}

/// Gas units for validating an owner's operation that nobody estimates: 71 thousand are needed, 210 with the deployment
/// (docs/kernel-v2.md#signatures).
const VERIFICATION: u64 = 150_000;
const VERIFICATION_WITH_DEPLOYMENT: u64 = 500_000;
/// Gas units for the inner calls of an account that is not there yet, for each: consuming a nonce uses some 60 thousand.
const INNER_CALL: u64 = 120_000;
/// Gas units that `handleOps` needs around the operation.
const AROUND: u64 = 120_000;

impl Submission {
    /// Signed elsewhere and sent from here goes only what a bundler takes.
    pub fn for_bundler(&self) -> Option<&Prepared> {
        match self {
            Self::Bundler(prepared) => Some(prepared),
            Self::Owner(_) | Self::HandleOps { .. } => None,
        }
    }

    pub fn price(&self) -> Price {
        let by_owner = |transaction: &PreparedTransaction, route, signing_hash| Price {
            route,
            max_cost: transaction.max_cost(),
            ceiling: transaction.ceiling,
            coin: transaction.coin,
            payer: Payer::Owner(transaction.from),
            fee_source: "eth_feeHistory",
            signing_hash,
            replaces: transaction.replaces,
        };
        match self {
            Self::Bundler(prepared) => Price {
                route: if prepared.paymaster.is_some() { Route::Sponsor } else { Route::Bundler },
                max_cost: prepared.max_cost,
                ceiling: prepared.ceiling,
                coin: prepared.coin,
                payer: prepared.paymaster.map_or(Payer::Account, Payer::Paymaster),
                fee_source: prepared.fee_source,
                signing_hash: prepared.user_op_hash,
                replaces: None,
            },
            Self::Owner(transaction) => by_owner(transaction, Route::Owner, transaction.signing_hash()),
            Self::HandleOps { operation, transaction } => {
                by_owner(transaction, Route::HandleOps, operation.user_op_hash)
            }
        }
    }
}

impl Wallet {
    /// By the first route that works, and those that did not. None where the calls are only to be printed.
    pub(in crate::wallet) async fn submission_of(
        &self,
        services: &Services,
        call: &OwnerCall<'_>,
        preference: RoutePreference,
    ) -> Result<(Option<Submission>, Vec<SkippedRoute>)> {
        if preference == RoutePreference::Print {
            return Ok((None, Vec::new()));
        }
        let (submission, skipped) = self.by_first_route(services, call, preference).await?;
        Ok((Some(submission), skipped))
    }

    pub(in crate::wallet) async fn by_first_route(
        &self,
        services: &Services,
        call: &OwnerCall<'_>,
        preference: RoutePreference,
    ) -> Result<(Submission, Vec<SkippedRoute>)> {
        let routes = self.routes(services, call, preference)?;
        let mut skipped: Vec<SkippedRoute> = Vec::new();
        let mut first_error: Option<(Route, Error)> = None;
        for route in routes {
            match self.by_route(services, call, route).await {
                Ok(submission) => return Ok((submission, skipped)),
                // The node itself says that no route makes the call go through. A bundler's word does not count for the others.
                Err(error) if error.kind == Kind::CallReverts && matches!(route, Route::Owner | Route::HandleOps) => {
                    return Err(error);
                }
                Err(error) => {
                    skipped.push(SkippedRoute { route, reason: error.message.clone() });
                    // A limit is what the person can raise: it is told before any other trouble.
                    match &first_error {
                        Some((_, first)) if error.class != Class::Limit || first.class == Class::Limit => {}
                        _ => first_error = Some((route, error)),
                    }
                }
            }
        }
        let Some((told, error)) = first_error else {
            return Err(Error::failed("revoke.no_way", "there is no route to send it by"));
        };
        let others: Vec<String> =
            skipped.iter().filter(|p| p.route != told).map(|p| format!("{}: {}", p.route.words(), p.reason)).collect();
        Err(match others.is_empty() {
            true => error,
            false => {
                Error { message: format!("{}. Other routes tried: {}", error.message, others.join("; ")), ..error }
            }
        })
    }

    fn routes(&self, services: &Services, call: &OwnerCall<'_>, preference: RoutePreference) -> Result<Vec<Route>> {
        let mut bundler = Vec::new();
        if services.bundler.is_some() {
            bundler.extend(services.paymaster.is_some().then_some(Route::Sponsor));
            bundler.push(Route::Bundler);
        }
        let by_owner = if call.deployed { Route::Owner } else { Route::HandleOps };
        let routes = match preference {
            RoutePreference::Bundler => bundler,
            RoutePreference::Owner => vec![by_owner],
            RoutePreference::HandleOps => vec![Route::HandleOps],
            RoutePreference::Print => Vec::new(),
            RoutePreference::Auto => {
                bundler.extend(call.account.owner_secret.is_some().then_some(by_owner));
                bundler
            }
        };
        if routes.is_empty() && preference != RoutePreference::Print {
            let add = "add the network again with --bundler URL";
            let (also, otherwise) = match call.account.owner_secret {
                Some(_) => ("", "use --via owner"),
                None => (", and the owner's key is not here", "use --print and send the calls from the owner's wallet"),
            };
            let message = format!("network {} has no bundler{also}", services.name);
            return Err(Error::usage("network.no_bundler", message).hint(format!("{add}, or {otherwise}")));
        }
        Ok(routes)
    }

    async fn by_route(&self, services: &Services, call: &OwnerCall<'_>, route: Route) -> Result<Submission> {
        match route {
            Route::Sponsor | Route::Bundler => {
                let pay = if route == Route::Sponsor { Pay::Sponsor { expected: None } } else { Pay::Account };
                let wanted = OperationRequest {
                    sender: call.account.address,
                    init_code: init_code(call)?,
                    call_data: call.account.family().encode(call.account_call),
                    nonce_key: random_nonce_key()?,
                    instead_of: None,
                    pay,
                    max_cost: call.max_cost,
                    urgent: call.urgency.takes_away(),
                    assemble: call.account.family().owner_envelope(),
                };
                Ok(Submission::Bundler(services.prepare(&wanted).await?))
            }
            Route::Owner => {
                let (to, data) = (call.account.address, call.account.family().encode(call.account_call));
                let waiting = self.waiting(services, call, |sent| sent.to == to && sent.data == data).await?;
                Ok(Submission::Owner(services.prepare_transaction(wanted(call, to, data, None), waiting).await?))
            }
            Route::HandleOps => {
                let operation = services.operation_for_nothing(call).await?;
                let gas = u64::try_from(operation.user_op.max_gas()).unwrap_or(u64::MAX).saturating_add(AROUND);
                let waiting = self.waiting(services, call, |sent| sent.carries.is_some()).await?;
                let wanted = wanted(call, ENTRY_POINT, Bytes::new(), Some(gas));
                let transaction = services.prepare_transaction(wanted, waiting).await?;
                Ok(Submission::HandleOps { operation, transaction })
            }
        }
    }

    /// A transaction of the owner that we sent and that has no result yet. One for the same account that does the same is
    /// replaced; so is any other by a pause, which must not wait for it.
    async fn waiting(
        &self,
        services: &Services,
        call: &OwnerCall<'_>,
        does_the_same: impl Fn(&SignedTransaction) -> bool,
    ) -> Result<Option<Waiting>> {
        let owner = call.account.owner;
        let Some((account, sent, took_away)) = self.waiting_transaction(&services.name, call.account.address, owner)?
        else {
            return Ok(None);
        };
        if services.node.nonce(owner, At::Latest).await? > sent.nonce {
            return Ok(None);
        }
        // What gives power never takes the place of what takes it away.
        let may_replace = call.urgency.takes_away() || !took_away;
        let same = may_replace && account == call.account.address && does_the_same(&sent);
        Ok(Some(if same || call.urgency == Urgency::AheadOfAll {
            Waiting::Replaced(sent)
        } else {
            Waiting::Before(sent)
        }))
    }

    /// Signs, sends, and follows it.
    pub(in crate::wallet) async fn submit(
        &self,
        services: &Services,
        account: &Account,
        submission: Submission,
        purpose: Purpose,
        progress: &dyn Progress,
    ) -> Result<OperationOutcome> {
        progress.phase("signing");
        // The owner's key is dropped as soon as it has signed: following an operation may take minutes.
        let signed = sign(self.owner_signer(account)?.as_ref(), account, submission).await?;
        match signed {
            Signed::Operation(prepared, signature) => {
                self.execute_operation(services, prepared, purpose, signature, true, progress).await
            }
            Signed::Transaction(signed) => {
                self.execute_transaction(services, account.address, signed, purpose, progress).await
            }
        }
    }
}

/// A submission with the owner's signature.
#[allow(clippy::large_enum_variant, reason = "made and taken apart at once")]
enum Signed {
    Operation(Prepared, Bytes),
    Transaction(SignedTransaction),
}

async fn sign(owner: &dyn Keyholder, account: &Account, submission: Submission) -> Result<Signed> {
    match submission {
        Submission::Bundler(prepared) => {
            let signature = account.family().owner_envelope()(&sign_operation(owner, prepared.user_op_hash).await?);
            Ok(Signed::Operation(prepared, signature))
        }
        Submission::Owner(transaction) => Ok(Signed::Transaction(transaction.sign(owner).await?)),
        Submission::HandleOps { operation, transaction } => {
            let signature = account.family().owner_envelope()(&sign_operation(owner, operation.user_op_hash).await?);
            let user_op = UserOperation { signature, ..operation.user_op };
            let transaction = PreparedTransaction { data: handle_ops(&user_op, account.owner), ..transaction };
            let mut signed = transaction.sign(owner).await?;
            signed.carries = Some(operation.user_op_hash);
            Ok(Signed::Transaction(signed))
        }
    }
}

/// The transaction of the owner's address that makes this call, or brings its operation.
fn wanted(call: &OwnerCall<'_>, to: Address, data: Bytes, gas: Option<u64>) -> TransactionRequest {
    let (from, max_cost, urgent) = (call.account.owner, call.max_cost, call.urgency.takes_away());
    TransactionRequest { from, to, data, gas, max_cost, urgent }
}

fn init_code(call: &OwnerCall<'_>) -> Result<Bytes> {
    if call.deployed {
        return Ok(Bytes::new());
    }
    call.account.init_code().ok_or_else(|| {
        Error::failed("account.not_deployed", "the account is not deployed, and how to deploy it is not on record")
            .hint("add it with `account new`, with the owner and index it was made with")
    })
}

impl Services {
    /// An operation that costs the account nothing: who brings it to the EntryPoint pays for the transaction.
    async fn operation_for_nothing(&self, call: &OwnerCall<'_>) -> Result<Prepared> {
        let account = call.account.address;
        let call_data = call.account.family().encode(call.account_call);
        let call_gas = if call.deployed {
            let request = CallRequest { from: Some(ENTRY_POINT), ..CallRequest::new(account, call_data.clone()) };
            let gas = self.node.estimate_gas(&request).await.map_err(refused)?;
            gas.saturating_add(gas / 3)
        } else {
            INNER_CALL.saturating_mul(call.account_call.calls().len() as u64 + 1)
        };
        let verification = if call.deployed { VERIFICATION } else { VERIFICATION_WITH_DEPLOYMENT };
        let user_op = UserOperation {
            sender: account,
            // The first of a key that nobody has used: no node is needed to know it.
            nonce: first_nonce(random_nonce_key()?),
            init_code: init_code(call)?,
            call_data,
            call_gas_limit: U256::from(call_gas),
            verification_gas_limit: U256::from(verification),
            signature: call.account.family().owner_envelope()(&DUMMY_SIGNATURE),
            ..UserOperation::default()
        };
        Ok(Prepared {
            user_op_hash: user_op.hash(ENTRY_POINT, self.network.chain_id),
            max_cost: user_op.max_cost(),
            ceiling: U256::ZERO,
            coin: self.coin(),
            paymaster: None,
            fee_source: "nobody",
            replaces: None,
            user_op,
        })
    }
}

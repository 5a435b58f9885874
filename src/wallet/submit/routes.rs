//! The ways an owner's calls reach the account: a bundler with a sponsor, a bundler paid by the account, the owner's own
//! transaction, or `handleOps` called by the owner's address. Each takes over where the one before cannot.

use alloy::primitives::{Address, B256, Bytes, U256};
use serde::Serialize;

use super::{
    operation::{OperationOutcome, Pay, Prepared, Wanted, random_nonce_key},
    progress::Progress,
    refused,
    signer::{Keyholder, sign_operation},
    transaction::{PreparedTransaction, Waiting},
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

/// Which way an owner wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Via {
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

/// One way to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    Sponsor,
    Bundler,
    Owner,
    HandleOps,
}

impl Way {
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

/// A way that was tried first, and why it was left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PassedOver {
    pub way: Way,
    pub reason: String,
}

/// An owner's call that is ready to be signed, on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "one for each plan, never in a list")]
pub enum Carriage {
    Bundler(Prepared),
    Owner(PreparedTransaction),
    /// The transaction's data is complete once the operation is signed.
    HandleOps {
        operation: Prepared,
        transaction: PreparedTransaction,
    },
}

/// What a carriage costs, who pays, and what is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Price {
    pub way: Way,
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

/// What is to be carried to which account.
pub(in crate::wallet) struct Load<'a> {
    pub account: &'a Account,
    pub deployed: bool,
    pub call: &'a AccountCall,
    pub max_cost: Option<U256>,
    /// Nothing of the owner's may stand before it: a panic.
    pub urgent: bool,
}

/// Gas units for validating an owner's operation that nobody estimates: 71 thousand are needed, 210 with the deployment
/// (docs/kernel-v2.md#signatures).
const VERIFICATION: u64 = 150_000;
const VERIFICATION_WITH_DEPLOYMENT: u64 = 500_000;
/// Gas units for the inner calls of an account that is not there yet, for each; a burn uses some 60 thousand.
const INNER_CALL: u64 = 120_000;
/// Gas units that `handleOps` needs around the operation.
const AROUND: u64 = 120_000;

impl Carriage {
    pub fn price(&self) -> Price {
        let by_owner = |transaction: &PreparedTransaction, way, signing_hash| Price {
            way,
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
                way: if prepared.paymaster.is_some() { Way::Sponsor } else { Way::Bundler },
                max_cost: prepared.max_cost,
                ceiling: prepared.ceiling,
                coin: prepared.coin,
                payer: prepared.paymaster.map_or(Payer::Account, Payer::Paymaster),
                fee_source: prepared.fee_source,
                signing_hash: prepared.user_op_hash,
                replaces: None,
            },
            Self::Owner(transaction) => by_owner(transaction, Way::Owner, transaction.signing_hash()),
            Self::HandleOps { operation, transaction } => by_owner(transaction, Way::HandleOps, operation.user_op_hash),
        }
    }
}

impl Wallet {
    /// The first way that works for a load, and those that did not.
    pub(in crate::wallet) async fn carry(
        &self,
        services: &Services,
        load: &Load<'_>,
        via: Via,
    ) -> Result<(Carriage, Vec<PassedOver>)> {
        let ways = self.ways(services, load, via)?;
        let mut passed_over: Vec<PassedOver> = Vec::new();
        let mut first_error: Option<(Way, Error)> = None;
        for way in ways {
            match self.carry_by(services, load, way).await {
                Ok(carriage) => return Ok((carriage, passed_over)),
                // The node itself says that no way makes the call go through. A bundler's word does not count for the others.
                Err(error) if error.kind == Kind::CallReverts && matches!(way, Way::Owner | Way::HandleOps) => {
                    return Err(error);
                }
                Err(error) => {
                    passed_over.push(PassedOver { way, reason: error.message.clone() });
                    // A limit is what the person can lift: it is told before any other trouble.
                    match &first_error {
                        Some((_, first)) if error.class != Class::Limit || first.class == Class::Limit => {}
                        _ => first_error = Some((way, error)),
                    }
                }
            }
        }
        let Some((told, error)) = first_error else {
            return Err(Error::failed("revoke.no_way", "there is no way to send it"));
        };
        let others: Vec<String> =
            passed_over.iter().filter(|p| p.way != told).map(|p| format!("{}: {}", p.way.words(), p.reason)).collect();
        Err(match others.is_empty() {
            true => error,
            false => {
                Error { message: format!("{}. Other routes tried: {}", error.message, others.join("; ")), ..error }
            }
        })
    }

    fn ways(&self, services: &Services, load: &Load<'_>, via: Via) -> Result<Vec<Way>> {
        let mut bundler = Vec::new();
        if services.bundler.is_some() {
            bundler.extend(services.paymaster.is_some().then_some(Way::Sponsor));
            bundler.push(Way::Bundler);
        }
        let by_owner = if load.deployed { Way::Owner } else { Way::HandleOps };
        let ways = match via {
            Via::Bundler => bundler,
            Via::Owner => vec![by_owner],
            Via::HandleOps => vec![Way::HandleOps],
            Via::Print => Vec::new(),
            Via::Auto => {
                bundler.extend(load.account.owner_secret.is_some().then_some(by_owner));
                bundler
            }
        };
        if ways.is_empty() && via != Via::Print {
            let message = format!("network {} has no bundler, and the owner's key is not here", services.name);
            return Err(Error::usage("network.no_bundler", message).hint(
                "add the network again with --bundler URL, or use --print and send the calls from the owner's wallet",
            ));
        }
        Ok(ways)
    }

    async fn carry_by(&self, services: &Services, load: &Load<'_>, way: Way) -> Result<Carriage> {
        let owner = load.account.owner;
        match way {
            Way::Sponsor | Way::Bundler => {
                let pay = if way == Way::Sponsor { Pay::Sponsor { expected: None } } else { Pay::Account };
                let wanted = Wanted {
                    sender: load.account.address,
                    init_code: init_code(load)?,
                    call_data: load.account.family().encode(load.call),
                    nonce_key: random_nonce_key()?,
                    instead_of: None,
                    pay,
                    max_cost: load.max_cost,
                    urgent: true,
                    assemble: load.account.family().owner_envelope(),
                };
                Ok(Carriage::Bundler(services.prepare(&wanted).await?))
            }
            Way::Owner => {
                let (to, data) = (load.account.address, load.account.family().encode(load.call));
                let waiting = self.waiting(services, load, |sent| sent.to == to && sent.data == data).await?;
                let prepared =
                    services.prepare_transaction(owner, to, data, None, load.max_cost, waiting.as_ref()).await?;
                Ok(Carriage::Owner(prepared))
            }
            Way::HandleOps => {
                let operation = services.operation_for_nothing(load).await?;
                let gas = u64::try_from(operation.user_op.max_gas()).unwrap_or(u64::MAX).saturating_add(AROUND);
                let waiting = self.waiting(services, load, |sent| sent.carries.is_some()).await?;
                let transaction = services
                    .prepare_transaction(owner, ENTRY_POINT, Bytes::new(), Some(gas), load.max_cost, waiting.as_ref())
                    .await?;
                Ok(Carriage::HandleOps { operation, transaction })
            }
        }
    }

    /// A transaction of the owner that we sent and that has no result yet. One for the same account that does the same is
    /// replaced; so is any other by a panic, which must not stand behind it.
    async fn waiting(
        &self,
        services: &Services,
        load: &Load<'_>,
        does_the_same: impl Fn(&SignedTransaction) -> bool,
    ) -> Result<Option<Waiting>> {
        let owner = load.account.owner;
        let Some((account, sent)) = self.waiting_transaction(&services.name, load.account.address, owner)? else {
            return Ok(None);
        };
        if services.node.nonce(owner, At::Latest).await? > sent.nonce {
            return Ok(None);
        }
        let same = account == load.account.address && does_the_same(&sent);
        Ok(Some(if same || load.urgent { Waiting::Replaced(sent) } else { Waiting::Before(sent) }))
    }

    /// Signs, sends, and follows a carriage.
    pub(in crate::wallet) async fn send_carriage(
        &self,
        services: &Services,
        account: &Account,
        carriage: Carriage,
        purpose: Purpose,
        progress: &dyn Progress,
    ) -> Result<OperationOutcome> {
        progress.phase("signing");
        // The owner's key is dropped as soon as it has signed: following an operation may take minutes.
        let signed = sign(self.owner_signer(account)?.as_ref(), account, carriage).await?;
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

/// A carriage with the owner's signature.
#[allow(clippy::large_enum_variant, reason = "made and taken apart at once")]
enum Signed {
    Operation(Prepared, Bytes),
    Transaction(SignedTransaction),
}

async fn sign(owner: &dyn Keyholder, account: &Account, carriage: Carriage) -> Result<Signed> {
    match carriage {
        Carriage::Bundler(prepared) => {
            let signature = account.family().owner_envelope()(&sign_operation(owner, prepared.user_op_hash).await?);
            Ok(Signed::Operation(prepared, signature))
        }
        Carriage::Owner(transaction) => Ok(Signed::Transaction(transaction.sign(owner).await?)),
        Carriage::HandleOps { operation, transaction } => {
            let signature = account.family().owner_envelope()(&sign_operation(owner, operation.user_op_hash).await?);
            let user_op = UserOperation { signature, ..operation.user_op };
            let transaction = PreparedTransaction { data: handle_ops(&user_op, account.owner), ..transaction };
            let mut signed = transaction.sign(owner).await?;
            signed.carries = Some(operation.user_op_hash);
            Ok(Signed::Transaction(signed))
        }
    }
}

fn init_code(load: &Load<'_>) -> Result<Bytes> {
    if load.deployed {
        return Ok(Bytes::new());
    }
    load.account.init_code().ok_or_else(|| {
        Error::failed("account.not_deployed", "the account is not deployed, and how to deploy it is not on record")
            .hint("add it with `account new`, with the owner and index it was made with")
    })
}

impl Services {
    /// An operation that costs the account nothing: who brings it to the EntryPoint pays for the transaction.
    async fn operation_for_nothing(&self, load: &Load<'_>) -> Result<Prepared> {
        let account = load.account.address;
        let call_data = load.account.family().encode(load.call);
        let call_gas = if load.deployed {
            let request = CallRequest { from: Some(ENTRY_POINT), ..CallRequest::new(account, call_data.clone()) };
            let gas = self.node.estimate_gas(&request).await.map_err(refused)?;
            gas.saturating_add(gas / 3)
        } else {
            INNER_CALL.saturating_mul(load.call.calls().len() as u64 + 1)
        };
        let verification = if load.deployed { VERIFICATION } else { VERIFICATION_WITH_DEPLOYMENT };
        let user_op = UserOperation {
            sender: account,
            // The first of a key that nobody has used: no node is needed to know it.
            nonce: first_nonce(random_nonce_key()?),
            init_code: init_code(load)?,
            call_data,
            call_gas_limit: U256::from(call_gas),
            verification_gas_limit: U256::from(verification),
            signature: load.account.family().owner_envelope()(&DUMMY_SIGNATURE),
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

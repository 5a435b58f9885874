//! The JSON-RPC that a wallet speaks with a live node, bundler and paymaster, answered by the chain in the process.
//!
//! One endpoint for all three, as some live services have it. Nothing is signed, kept or timed here on its own account:
//! whoever holds a [`Service`] tells it what the clock says before it asks, and keeps what [`Service::to_json`] says.

use alloy::primitives::{Address, B256, Bytes, U256};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    CHAIN_ID, bundler,
    contracts::genesis,
    evm::{Chain, ChainError, Request, Transaction},
    node, paymaster,
};

/// Seconds between blocks when nothing happens: how far the newest block may lie behind the time.
const BLOCK_TIME: u64 = 12;

/// JSON-RPC: the method does not exist.
pub(super) const METHOD_NOT_FOUND: i64 = -32601;
/// JSON-RPC: the parameters are not what the method takes.
pub(super) const INVALID_PARAMS: i64 = -32602;
/// What nodes use for everything without a code of its own.
pub(super) const SERVER_ERROR: i64 = -32000;
/// What nodes use for a call that reverts.
const REVERTED: i64 = 3;

/// A JSON-RPC error, as it goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpcFault {
    pub code: i64,
    pub message: String,
    pub data: Option<Value>,
}

impl RpcFault {
    pub(super) fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(INVALID_PARAMS, message)
    }

    /// A call that reverted: the text where there is one, and the data in any case.
    pub(super) fn reverted(output: &Bytes) -> Self {
        use alloy::sol_types::{Revert, SolError};
        let message = match Revert::abi_decode(output) {
            Ok(revert) => format!("execution reverted: {}", revert.reason),
            Err(_) => "execution reverted".into(),
        };
        Self { code: REVERTED, message, data: Some(json!(output)) }
    }
}

impl From<ChainError> for RpcFault {
    fn from(error: ChainError) -> Self {
        let message = match error {
            ChainError::Refused(reason) => reason,
            other => other.to_string(),
        };
        Self::new(SERVER_ERROR, message)
    }
}

pub type RpcResult = Result<Value, RpcFault>;

/// The positional parameters of a call.
pub(super) struct Params<'a>(pub &'a Value);

impl Params<'_> {
    /// The parameter at this position; one that is left out reads as `null`.
    pub fn read<T: DeserializeOwned>(&self, position: usize, name: &str) -> Result<T, RpcFault> {
        let value = self.0.get(position).cloned().unwrap_or_default();
        serde_json::from_value(value).map_err(|error| RpcFault::invalid(format!("invalid {name}: {error}")))
    }

    pub fn address(&self, position: usize) -> Result<Address, RpcFault> {
        self.read(position, "address")
    }

    pub fn hash(&self, position: usize) -> Result<B256, RpcFault> {
        self.read(position, "hash")
    }
}

/// Node, bundler and paymaster of the sandbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Service {
    /// Goes up with everything that changes.
    revision: u64,
    /// Seconds by which the sandbox's time is ahead of the clock.
    ahead: u64,
    chain: Chain,
}

impl Service {
    /// A fresh sandbox at `time` (Unix seconds).
    pub fn new(time: u64) -> Result<Self, ChainError> {
        Ok(Self::on(genesis(time, paymaster::signer_address())?))
    }

    /// On any chain, for example one with recorded contracts on it.
    pub fn on(chain: Chain) -> Self {
        Self { revision: 0, ahead: 0, chain }
    }

    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// A number that tells whether this is still the sandbox that was kept.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Counts from `revision` on, so that a sandbox is not taken for the one it replaced.
    pub fn at_revision(self, revision: u64) -> Self {
        Self { revision, ..self }
    }

    /// The whole sandbox, for the data folder.
    pub fn to_json(&self) -> Result<String, ChainError> {
        serde_json::to_string(self).map_err(|error| ChainError::Failed(error.to_string()))
    }

    /// Reads a sandbox back. A chain of another id is none.
    pub fn from_json(json: &str) -> Result<Self, ChainError> {
        let kept: Self = serde_json::from_str(json).map_err(|error| ChainError::MalformedState(error.to_string()))?;
        if kept.chain.chain_id() != CHAIN_ID {
            return Err(ChainError::MalformedState(format!("it is of chain {}", kept.chain.chain_id())));
        }
        Ok(Self { chain: kept.chain.checked()?, ..kept })
    }

    // What only a sandbox can do

    /// Tells what the clock says (Unix seconds). The sandbox's time does not go back, and blocks follow it at their pace.
    pub fn tick(&mut self, clock: u64) {
        let time = clock.saturating_add(self.ahead).max(self.chain.time());
        self.chain.set_time(time);
        let newest = self.chain.latest().map_or(0, |block| block.timestamp);
        if time >= newest.saturating_add(BLOCK_TIME) {
            self.chain.mine();
            self.revision = self.revision.wrapping_add(1);
        }
    }

    /// Moves the sandbox's time ahead of the clock by so many seconds more, at once.
    pub fn advance(&mut self, seconds: u64) {
        self.ahead = self.ahead.saturating_add(seconds);
        self.chain.set_time(self.chain.time().saturating_add(seconds));
        self.chain.mine();
        self.revision = self.revision.wrapping_add(1);
    }

    /// Gives an address `wei` on top of what it has.
    pub fn fund(&mut self, address: Address, wei: U256) {
        let balance = self.chain.balance(address).saturating_add(wei);
        self.chain.set_balance(address, balance);
        self.revision = self.revision.wrapping_add(1);
    }

    /// Sends a transaction in anyone's name: how the demo's world moves (a price, a mint).
    pub fn act(&mut self, request: &Request) -> Result<&Transaction, ChainError> {
        self.revision = self.revision.wrapping_add(1);
        self.chain.execute(request)
    }

    // JSON-RPC

    /// Answers one call. `params` is the JSON array of positional parameters.
    pub fn answer(&mut self, method: &str, params: &Value) -> RpcResult {
        let params = Params(params);
        let newest = node::newest(&self.chain);
        let answer = Self::dispatch(&mut self.chain, method, &params);
        self.revision = self.revision.wrapping_add(node::newest(&self.chain) - newest);
        answer
    }

    fn dispatch(chain: &mut Chain, method: &str, params: &Params<'_>) -> RpcResult {
        match method {
            "eth_chainId" => Ok(node::quantity(chain.chain_id())),
            "net_version" => Ok(chain.chain_id().to_string().into()),
            "web3_clientVersion" => Ok(concat!("keyleash-sandbox/", env!("CARGO_PKG_VERSION")).into()),
            "eth_blockNumber" => Ok(node::quantity(node::newest(chain))),
            "eth_getBlockByNumber" => node::block_by_number(chain, params),
            "eth_getBlockByHash" => node::block_by_hash(chain, params),
            "eth_getBalance" => node::balance(chain, params),
            "eth_getCode" => node::code(chain, params),
            "eth_getStorageAt" => node::storage(chain, params),
            "eth_getTransactionCount" => node::transaction_count(chain, params),
            "eth_call" => node::call(chain, params),
            "eth_estimateGas" => node::estimate_gas(chain, params),
            "eth_gasPrice" => Ok(node::quantity(node::GAS_PRICE)),
            "eth_maxPriorityFeePerGas" => Ok(node::quantity(node::PRIORITY_FEE)),
            "eth_feeHistory" => node::fee_history(chain, params),
            "eth_sendRawTransaction" => node::send_raw_transaction(chain, params),
            "eth_getTransactionByHash" => node::transaction(chain, params),
            "eth_getTransactionReceipt" => node::receipt(chain, params),
            "eth_getLogs" => node::logs(chain, params),

            "eth_supportedEntryPoints" => Ok(json!([bundler::ENTRY_POINT])),
            "eth_estimateUserOperationGas" => bundler::estimate(chain, params),
            "eth_sendUserOperation" => bundler::send(chain, params),
            "eth_getUserOperationByHash" => bundler::by_hash(chain, params),
            "eth_getUserOperationReceipt" => bundler::receipt(chain, params),
            "pimlico_getUserOperationGasPrice" => Ok(bundler::gas_price()),

            "pm_getPaymasterStubData" => paymaster::stub(chain, params),
            "pm_getPaymasterData" => paymaster::sponsor(chain, params),
            _ => Err(RpcFault::new(METHOD_NOT_FOUND, format!("the sandbox does not know the method {method}"))),
        }
    }
}

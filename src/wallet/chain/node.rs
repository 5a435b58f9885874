//! A node: typed reads of the chain, and the contract reads a wallet for Kernel accounts needs.
//!
//! Everything about one account is read at one block, in two round trips: [`Node::account_picture`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
    vec,
};

use alloy::{
    primitives::{Address, B256, Bytes, FixedBytes, Selector, U256, aliases::U192, keccak256},
    sol,
    sol_types::SolCall,
};
use serde_json::{Value, json};

use super::{
    answer::Answer,
    transport::{Call, ChainError, Endpoint},
};
use crate::kernel::{
    account::{IMPLEMENTATION_SLOT, selector},
    faults::Fault,
    generation::{ECDSA_VALIDATOR, ENTRY_POINT},
};

sol! {
    function getNonce(address sender, uint192 key) returns (uint256);
    function balanceOf(address account) returns (uint256);

    function getExecution(bytes4 sel) returns (uint48 validAfter, uint48 validUntil, address executor, address validator);
    function getDisabledMode() returns (bytes4);
    function getDefaultValidator() returns (address);
    function ecdsaValidatorStorage(address account) returns (address);

    function nonces(address account) returns (uint128 lastNonce, uint128 invalidNonce);
    function sessionData(address sessionKey, address account)
        returns (bytes32 merkleRoot, uint48 validAfter, uint48 validUntil, address paymaster, uint256 nonce);
    function executionStatus(bytes32 counter, address account) returns (uint48 validAfter, uint48 runs);
}

/// Most logs taken from one answer.
const LOGS: usize = 50_000;
/// Blocks in the first log query; halved whenever an endpoint finds a range too long.
const LOG_SPAN: u64 = 10_000;

/// Which state a read is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    Latest,
    Pending,
    Block(u64),
}

impl At {
    fn tag(self) -> Value {
        match self {
            Self::Latest => "latest".into(),
            Self::Pending => "pending".into(),
            Self::Block(number) => format!("0x{number:x}").into(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    pub number: u64,
    pub hash: B256,
    /// Unix seconds: the time that decides.
    pub timestamp: u64,
    /// Wei per gas unit; none on chains without EIP-1559.
    pub base_fee: Option<u128>,
}

/// A call that changes nothing, as `eth_call` and `eth_estimateGas` take it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallRequest {
    pub from: Option<Address>,
    pub to: Address,
    /// Wei.
    pub value: U256,
    pub data: Bytes,
}

impl CallRequest {
    pub fn new(to: Address, data: impl Into<Bytes>) -> Self {
        Self { to, data: data.into(), ..Self::default() }
    }

    #[allow(clippy::indexing_slicing, reason = "an object that is made here")]
    fn json(&self) -> Value {
        let mut fields = json!({ "to": self.to, "data": self.data });
        if let Some(from) = self.from {
            fields["from"] = json!(from);
        }
        if !self.value.is_zero() {
            fields["value"] = json!(self.value);
        }
        fields
    }

    fn eth_call(&self, purpose: &'static str, at: At) -> Call {
        Call::read("eth_call", json!([self.json(), at.tag()])).named(purpose)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    pub address: Address,
    pub topics: Vec<B256>,
    pub data: Bytes,
    pub block_number: u64,
    pub transaction_hash: B256,
    pub log_index: u64,
}

impl Log {
    pub fn read(answer: &Answer<'_>) -> Result<Self, ChainError> {
        Ok(Self {
            address: answer.field("address")?.address()?,
            topics: answer.field("topics")?.list(4)?.iter().map(Answer::hash).collect::<Result<_, _>>()?,
            data: answer.field("data")?.bytes()?,
            block_number: answer.field("blockNumber")?.u64()?,
            transaction_hash: answer.field("transactionHash")?.hash()?,
            log_index: answer.field("logIndex")?.u64()?,
        })
    }

    pub fn read_list(answer: &Answer<'_>) -> Result<Vec<Self>, ChainError> {
        answer.list(LOGS)?.iter().map(Self::read).collect()
    }
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    pub transaction_hash: B256,
    pub block_number: u64,
    pub block_hash: B256,
    pub success: bool,
    /// Gas units.
    pub gas_used: U256,
    /// Wei per gas unit; zero where a node does not say.
    pub gas_price: U256,
    pub logs: Vec<Log>,
}

impl Receipt {
    fn read(answer: &Answer<'_>) -> Result<Self, ChainError> {
        Ok(Self {
            transaction_hash: answer.field("transactionHash")?.hash()?,
            block_number: answer.field("blockNumber")?.u64()?,
            block_hash: answer.field("blockHash")?.hash()?,
            success: answer.field("status")?.truth()?,
            gas_used: answer.field("gasUsed")?.number()?,
            gas_price: answer.optional("effectiveGasPrice").map_or(Ok(U256::ZERO), |price| price.number())?,
            logs: Log::read_list(&answer.field("logs")?)?,
        })
    }
}

/// A transaction as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    pub hash: B256,
    pub from: Address,
    /// None when it creates a contract.
    pub to: Option<Address>,
    /// Wei.
    pub value: U256,
    pub input: Bytes,
    /// None while it waits.
    pub block_number: Option<u64>,
}

impl Transaction {
    fn read(answer: &Answer<'_>) -> Result<Self, ChainError> {
        Ok(Self {
            hash: answer.field("hash")?.hash()?,
            from: answer.field("from")?.address()?,
            to: answer.optional("to").map(|to| to.address()).transpose()?,
            value: answer.field("value")?.number()?,
            input: answer.optional("input").map_or_else(|| answer.field("data"), Ok)?.bytes()?,
            block_number: answer.optional("blockNumber").map(|number| number.u64()).transpose()?,
        })
    }
}

/// Prices of recent blocks, oldest first; wei per gas unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeeHistory {
    /// One more than the blocks asked for: the last is the next block's.
    pub base_fees: Vec<u128>,
    /// A row for each block, a column for each percentile asked for; empty rows for empty blocks.
    pub rewards: Vec<Vec<u128>>,
}

/// Which logs are wanted. At each place one of these topics; none named: anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuery {
    pub address: Option<Address>,
    pub topics: Vec<Vec<B256>>,
}

impl LogQuery {
    #[allow(clippy::indexing_slicing, reason = "an object that is made here")]
    fn json(&self, from: u64, to: u64) -> Value {
        let topic = |wanted: &Vec<B256>| match wanted.as_slice() {
            [] => Value::Null,
            [one] => json!(one),
            several => json!(several),
        };
        let topics: Vec<Value> = self.topics.iter().map(topic).collect();
        let mut query = json!({ "fromBlock": At::Block(from).tag(), "toBlock": At::Block(to).tag(), "topics": topics });
        if let Some(address) = self.address {
            query["address"] = json!(address);
        }
        query
    }

    fn wants(&self, log: &Log, from: u64, to: u64) -> bool {
        let topics_fit = self
            .topics
            .iter()
            .enumerate()
            .all(|(i, wanted)| wanted.is_empty() || log.topics.get(i).is_some_and(|topic| wanted.contains(topic)));
        topics_fit
            && (from..=to).contains(&log.block_number)
            && self.address.is_none_or(|address| address == log.address)
    }
}

/// The logs of a stretch of blocks, and where the stretch ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogChunk {
    pub logs: Vec<Log>,
    /// The last block covered: the next chunk begins after it.
    pub through: u64,
}

/// A selector's slot in the account (`getExecution`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Execution {
    /// Unix seconds.
    pub valid_after: u64,
    /// Unix seconds; 0 never ends.
    pub valid_until: u64,
    pub executor: Address,
    /// Zero when nothing is routed.
    pub validator: Address,
}

/// What a SessionKeyValidator stores for a key of an account (`sessionData`). All zero when the key is not enabled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionData {
    pub merkle_root: B256,
    /// Unix seconds.
    pub valid_after: u64,
    /// Unix seconds; 0 never ends.
    pub valid_until: u64,
    pub paymaster: Address,
    pub nonce: U256,
}

/// A SessionKeyValidator's counters for an account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Nonces {
    pub last: u128,
    pub invalid: u128,
}

/// Where a permission's run counter stands (`executionStatus`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunStatus {
    /// Unix seconds: the next slot of an interval.
    pub valid_after: u64,
    pub runs: u64,
}

/// What one validator knows about an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatorPicture {
    pub address: Address,
    /// keccak256 of its code; `None` when there is none on this chain.
    pub code_hash: Option<B256>,
    pub nonces: Nonces,
    /// One for each key asked about, in order.
    pub sessions: Vec<(Address, SessionData)>,
}

/// An account at one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountPicture {
    pub block: Block,
    pub account: Address,
    /// Wei held by the account.
    pub balance: U256,
    /// Wei held for it by the EntryPoint.
    pub deposit: U256,
    /// EntryPoint nonce of nonce key 0.
    pub entry_point_nonce: U256,
    /// Set by the ECDSAValidator; zero before deployment.
    pub owner: Address,
    pub validators: Vec<ValidatorPicture>,
    /// `None` before deployment.
    pub deployed: Option<Deployed>,
}

/// What only exists once the account has code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployed {
    pub code_hash: B256,
    /// ERC-1967 implementation; zero when the slot is empty.
    pub implementation: Address,
    pub default_validator: Address,
    /// Bitmask of the refused signature modes.
    pub disabled_mode: FixedBytes<4>,
    /// The slots of execute, executeBatch and executeDelegateCall.
    pub executions: [(Selector, Execution); 3],
}

/// A node's endpoint. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Node {
    endpoint: Endpoint,
    /// Blocks a log query may span here, as far as is known.
    log_span: Arc<AtomicU64>,
}

impl Node {
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, log_span: Arc::new(AtomicU64::new(LOG_SPAN)) }
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn answer<'a>(&'a self, purpose: &'static str, value: &'a Value) -> Answer<'a> {
        Answer::new(self.endpoint.origin(), purpose, value)
    }

    async fn one<T>(
        &self,
        call: Call,
        read: impl FnOnce(&Answer<'_>) -> Result<T, ChainError>,
    ) -> Result<T, ChainError> {
        let purpose = call.purpose;
        let value = self.endpoint.call(call).await?;
        read(&self.answer(purpose, &value))
    }

    pub async fn chain_id(&self) -> Result<u64, ChainError> {
        self.one(chain_id_call(), |answer| answer.u64()).await
    }

    /// Stops at a node of another chain.
    pub async fn check_chain(&self, ours: u64) -> Result<(), ChainError> {
        same_chain(self.endpoint.origin(), ours, self.chain_id().await?)
    }

    pub async fn latest_block(&self) -> Result<Block, ChainError> {
        self.one(latest_block_call(), read_block).await
    }

    pub async fn block(&self, number: u64) -> Result<Block, ChainError> {
        let call =
            Call::read("eth_getBlockByNumber", json!([At::Block(number).tag(), false])).named("an earlier block");
        self.one(call, read_block).await
    }

    pub async fn code(&self, address: Address, at: At) -> Result<Bytes, ChainError> {
        self.one(Call::read("eth_getCode", json!([address, at.tag()])), |answer| answer.bytes()).await
    }

    /// Wei.
    pub async fn balance(&self, address: Address, at: At) -> Result<U256, ChainError> {
        self.one(Call::read("eth_getBalance", json!([address, at.tag()])), |answer| answer.number()).await
    }

    /// The next nonce of an externally owned account.
    pub async fn nonce(&self, address: Address, at: At) -> Result<u64, ChainError> {
        self.one(Call::read("eth_getTransactionCount", json!([address, at.tag()])), |answer| answer.u64()).await
    }

    pub async fn call(&self, purpose: &'static str, request: &CallRequest, at: At) -> Result<Bytes, ChainError> {
        self.one(request.eth_call(purpose, at), |answer| answer.bytes()).await
    }

    /// Which modes the account refuses, as a bit mask.
    pub async fn disabled_mode(&self, account: Address, at: At) -> Result<u32, ChainError> {
        let mode = self.read("Kernel.getDisabledMode", account, &getDisabledModeCall {}, at).await?;
        Ok(u32::from_be_bytes(mode.0))
    }

    /// Several calls in one round trip; each has an outcome of its own, a revert included.
    pub async fn call_each(
        &self,
        purpose: &'static str,
        requests: &[CallRequest],
        at: At,
    ) -> Vec<Result<Bytes, ChainError>> {
        let calls: Vec<_> = requests.iter().map(|request| request.eth_call(purpose, at)).collect();
        let answers = self.endpoint.calls(&calls).await;
        answers.into_iter().map(|answer| self.answer(purpose, &answer?).bytes()).collect()
    }

    /// The code at some addresses and the answers to some calls, in one round trip where the endpoint takes batches.
    pub async fn codes_and_calls(
        &self,
        addresses: &[Address],
        requests: &[CallRequest],
        at: At,
    ) -> (Vec<Result<Bytes, ChainError>>, Vec<Result<Bytes, ChainError>>) {
        const PURPOSE: &str = "the contracts of a scope";
        let codes = addresses.iter().map(|a| Call::read("eth_getCode", json!([a, at.tag()])).named(PURPOSE));
        let calls: Vec<_> = codes.chain(requests.iter().map(|request| request.eth_call(PURPOSE, at))).collect();
        let answers = self.endpoint.calls(&calls).await;
        let mut codes: Vec<_> = answers.into_iter().map(|answer| self.answer(PURPOSE, &answer?).bytes()).collect();
        let calls = codes.split_off(addresses.len().min(codes.len()));
        (codes, calls)
    }

    /// Gas units a transaction would use in the newest block's state: some nodes would count what waits as done.
    pub async fn estimate_gas(&self, request: &CallRequest) -> Result<u64, ChainError> {
        let call = Call::read("eth_estimateGas", json!([request.json(), At::Latest.tag()]));
        self.one(call, |answer| answer.u64()).await
    }

    pub async fn receipt(&self, hash: B256) -> Result<Option<Receipt>, ChainError> {
        let call = Call::read("eth_getTransactionReceipt", json!([hash]));
        let receipt = self.one(call, |answer| maybe(answer, Receipt::read)).await?;
        self.same_hash("the transaction of a receipt", hash, receipt.as_ref().map(|r| r.transaction_hash))?;
        Ok(receipt)
    }

    pub async fn transaction(&self, hash: B256) -> Result<Option<Transaction>, ChainError> {
        let call = Call::read("eth_getTransactionByHash", json!([hash]));
        let transaction = self.one(call, |answer| maybe(answer, Transaction::read)).await?;
        self.same_hash("the transaction asked for", hash, transaction.as_ref().map(|t| t.hash))?;
        Ok(transaction)
    }

    /// Several transactions, in order.
    pub async fn transactions(&self, hashes: &[B256]) -> Result<Vec<Option<Transaction>>, ChainError> {
        let calls: Vec<_> = hashes.iter().map(|hash| Call::read("eth_getTransactionByHash", json!([hash]))).collect();
        let found = self.all(&calls, |answer| maybe(answer, Transaction::read)).await?;
        for (ours, theirs) in hashes.iter().zip(&found) {
            self.same_hash("the transaction asked for", *ours, theirs.as_ref().map(|t| t.hash))?;
        }
        Ok(found)
    }

    /// All transactions of a block.
    pub async fn transactions_in(&self, block: u64) -> Result<Vec<Transaction>, ChainError> {
        /// Far above what any chain puts into one block.
        const MOST: usize = 100_000;
        let call = Call::read("eth_getBlockByNumber", json!([At::Block(block).tag(), true]));
        let read =
            |answer: &Answer<'_>| answer.field("transactions")?.list(MOST)?.iter().map(Transaction::read).collect();
        self.one(call, read).await
    }

    /// Several blocks by number, in order; `None` for one that the node does not have.
    pub async fn blocks(&self, numbers: &[u64]) -> Result<Vec<Option<Block>>, ChainError> {
        let call = |number: &u64| Call::read("eth_getBlockByNumber", json!([At::Block(*number).tag(), false]));
        let calls: Vec<_> = numbers.iter().map(call).collect();
        let blocks = self.all(&calls, |answer| maybe(answer, read_block)).await?;
        for (ours, block) in numbers.iter().zip(&blocks) {
            if let Some(theirs) = block.map(|b| b.number).filter(|theirs| theirs != ours) {
                return Err(ChainError::mismatch(self.endpoint.origin(), "the block asked for", ours, theirs));
            }
        }
        Ok(blocks)
    }

    fn same_hash(&self, what: &'static str, ours: B256, theirs: Option<B256>) -> Result<(), ChainError> {
        match theirs {
            Some(theirs) if theirs != ours => Err(ChainError::mismatch(self.endpoint.origin(), what, ours, theirs)),
            _ => Ok(()),
        }
    }

    /// Sends a signed transaction once and answers its hash. A transaction that is already there counts as sent; one
    /// that may have got lost is looked for.
    pub async fn send_raw(&self, signed: &Bytes) -> Result<B256, ChainError> {
        let hash = keccak256(signed);
        let sent = self.one(Call::once("eth_sendRawTransaction", json!([signed])), |answer| answer.hash()).await;
        match sent {
            Ok(theirs) => {
                self.same_hash("the hash of the transaction sent", hash, Some(theirs))?;
                Ok(hash)
            }
            Err(error) => {
                let waiting = matches!(error.fault(), Some(Fault::AlreadyWaiting(_)));
                if (waiting || error.leaves_doubt()) && matches!(self.transaction(hash).await, Ok(Some(_))) {
                    return Ok(hash);
                }
                Err(error)
            }
        }
    }

    /// Prices of the last `blocks` blocks, with the priority fees at these percentiles.
    pub async fn fee_history(&self, blocks: u16, percentiles: &[u8]) -> Result<FeeHistory, ChainError> {
        let call = Call::read("eth_feeHistory", json!([format!("0x{blocks:x}"), "latest", percentiles]));
        self.one(call, |answer| {
            let prices = |list: Vec<Answer<'_>>| list.iter().map(Answer::u128).collect::<Result<Vec<_>, _>>();
            let base_fees = prices(answer.field("baseFeePerGas")?.list(1025)?)?;
            let rewards = match answer.optional("reward") {
                Some(rows) => rows.list(1025)?.iter().map(|row| prices(row.list(100)?)).collect::<Result<_, _>>()?,
                None => Vec::new(),
            };
            Ok(FeeHistory { base_fees, rewards })
        })
        .await
    }

    /// The node's own price for a transaction, wei per gas unit: for chains without a fee history.
    pub async fn gas_price(&self) -> Result<u128, ChainError> {
        self.one(Call::read("eth_gasPrice", json!([])), |answer| answer.u128()).await
    }

    /// The logs from block `from` on that fit any of the queries, in their order on chain, as far towards `to` as the node
    /// answers at once. Ask again from `through + 1`.
    pub async fn logs(&self, queries: &[LogQuery], from: u64, to: u64) -> Result<LogChunk, ChainError> {
        if from > to {
            return Ok(LogChunk { logs: Vec::new(), through: to });
        }
        loop {
            let span = self.log_span.load(Ordering::Relaxed).max(1);
            let through = to.min(from.saturating_add(span - 1));
            match self.logs_at_once(queries, from, through).await {
                Ok(logs) => return Ok(LogChunk { logs, through }),
                // Endpoints limit blocks, logs or bytes, each in its own words: halve until one fits.
                Err(error) if through > from && may_be_too_long(&error) => {
                    self.log_span.store((through - from).div_ceil(2), Ordering::Relaxed);
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn logs_at_once(&self, queries: &[LogQuery], from: u64, through: u64) -> Result<Vec<Log>, ChainError> {
        let calls: Vec<_> = queries.iter().map(|q| Call::read("eth_getLogs", json!([q.json(from, through)]))).collect();
        let mut logs = Vec::new();
        for (query, found) in queries.iter().zip(self.all(&calls, Log::read_list).await?) {
            if found.iter().any(|log| !query.wants(log, from, through)) {
                let what = "which logs were asked for";
                return Err(ChainError::mismatch(self.endpoint.origin(), what, "only those", "others too"));
            }
            logs.extend(found);
        }
        logs.sort_by_key(|log| (log.block_number, log.log_index));
        logs.dedup();
        Ok(logs)
    }

    /// The EntryPoint's next nonce for a nonce key (192 bits) of an account, the key included.
    pub async fn entry_point_nonce(&self, account: Address, key: U192, at: At) -> Result<U256, ChainError> {
        self.read("EntryPoint.getNonce", ENTRY_POINT, &getNonceCall { sender: account, key }, at).await
    }

    /// Wei the EntryPoint holds for an account or paymaster.
    pub async fn deposit(&self, account: Address, at: At) -> Result<U256, ChainError> {
        self.read("EntryPoint.balanceOf", ENTRY_POINT, &balanceOfCall { account }, at).await
    }

    pub async fn nonces(&self, validator: Address, account: Address, at: At) -> Result<Nonces, ChainError> {
        let call = noncesCall { account };
        self.read("SessionKeyValidator.nonces", validator, &call, at).await.map(Nonces::from)
    }

    /// Where several run counters stand; a counter is `keccak256(uint256 sessionNonce ‖ uint32 index)`.
    pub async fn run_statuses(
        &self,
        validator: Address,
        account: Address,
        counters: &[B256],
        at: At,
    ) -> Result<Vec<RunStatus>, ChainError> {
        const PURPOSE: &str = "SessionKeyValidator.executionStatus";
        let requests: Vec<_> = counters
            .iter()
            .map(|counter| CallRequest::new(validator, executionStatusCall { counter: *counter, account }.abi_encode()))
            .collect();
        let answers = self.call_each(PURPOSE, &requests, at).await;
        answers
            .into_iter()
            .map(|answer| self.returned::<executionStatusCall>(PURPOSE, &answer?).map(RunStatus::from))
            .collect()
    }

    /// A contract read whose answer must be there.
    async fn read<C: SolCall>(
        &self,
        purpose: &'static str,
        to: Address,
        call: &C,
        at: At,
    ) -> Result<C::Return, ChainError> {
        let bytes = self.call(purpose, &CallRequest::new(to, call.abi_encode()), at).await?;
        self.returned::<C>(purpose, &bytes)
    }

    fn returned<C: SolCall>(&self, purpose: &'static str, bytes: &Bytes) -> Result<C::Return, ChainError> {
        C::abi_decode_returns_validate(bytes).map_err(|_| {
            ChainError::malformed(self.endpoint.origin(), purpose, "the returned data", "what the contract's ABI says")
        })
    }

    /// Reads of one kind that must all succeed.
    async fn all<T>(
        &self,
        calls: &[Call],
        read: impl Fn(&Answer<'_>) -> Result<T, ChainError>,
    ) -> Result<Vec<T>, ChainError> {
        let answers = self.endpoint.calls(calls).await;
        answers.into_iter().zip(calls).map(|(answer, call)| read(&self.answer(call.purpose, &answer?))).collect()
    }

    /// Everything about an account at the latest block: itself, and what each of `validators` knows about it and about
    /// each of `keys`. Two round trips where the endpoint takes batches.
    pub async fn account_picture(
        &self,
        account: Address,
        validators: &[Address],
        keys: &[Address],
    ) -> Result<AccountPicture, ChainError> {
        let block = self.latest_block().await?;
        self.account_picture_at(account, validators, keys, block).await
    }

    /// The same at a block that is known already. One round trip.
    pub async fn account_picture_at(
        &self,
        account: Address,
        validators: &[Address],
        keys: &[Address],
        block: Block,
    ) -> Result<AccountPicture, ChainError> {
        let calls = picture_calls(account, validators, keys, At::Block(block.number));
        let answers = self.at_known_block(&calls).await;
        let mut replies = Replies { node: self, pairs: answers.into_iter().zip(calls) };

        let code = replies.bytes()?;
        let balance = replies.number()?;
        let deposit = replies.required::<balanceOfCall>()?;
        let entry_point_nonce = replies.required::<getNonceCall>()?;
        let owner = replies.if_there::<ecdsaValidatorStorageCall>()?.unwrap_or_default();
        let implementation = Address::from_word(B256::from(replies.number()?));
        let deployed = if code.is_empty() {
            replies.skip(5);
            None
        } else {
            Some(Deployed {
                code_hash: keccak256(&code),
                implementation,
                default_validator: replies.required::<getDefaultValidatorCall>()?,
                disabled_mode: replies.required::<getDisabledModeCall>()?,
                executions: [
                    (SELECTORS[0], replies.required::<getExecutionCall>()?.into()),
                    (SELECTORS[1], replies.required::<getExecutionCall>()?.into()),
                    (SELECTORS[2], replies.required::<getExecutionCall>()?.into()),
                ],
            })
        };
        let validators = validators.iter().map(|v| replies.validator(*v, keys)).collect::<Result<_, _>>()?;
        Ok(AccountPicture { block, account, balance, deposit, entry_point_nonce, owner, validators, deployed })
    }

    /// Reads at a block that the node has just named. Behind a load balancer the next machine may not have it yet.
    async fn at_known_block(&self, calls: &[Call]) -> Vec<Result<Value, ChainError>> {
        const PAUSES: [u64; 3] = [200, 500, 1000];
        for pause in PAUSES {
            let answers = self.endpoint.calls(calls).await;
            if !answers.iter().any(is_block_missing) {
                return answers;
            }
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        self.endpoint.calls(calls).await
    }
}

/// The account functions whose slots are read.
const SELECTORS: [Selector; 3] = [selector::EXECUTE, selector::EXECUTE_BATCH, selector::EXECUTE_DELEGATE_CALL];

/// The reads of an account picture; [`Node::account_picture`] takes the answers in this order.
fn picture_calls(account: Address, validators: &[Address], keys: &[Address], at: At) -> Vec<Call> {
    let view = |purpose, to, data: Vec<u8>| CallRequest::new(to, data).eth_call(purpose, at);
    let tag = at.tag();
    let mut calls = vec![
        Call::read("eth_getCode", json!([account, tag])),
        Call::read("eth_getBalance", json!([account, tag])),
        view("EntryPoint.balanceOf", ENTRY_POINT, balanceOfCall { account }.abi_encode()),
        view("EntryPoint.getNonce", ENTRY_POINT, getNonceCall { sender: account, key: U192::ZERO }.abi_encode()),
        view(
            "ECDSAValidator.ecdsaValidatorStorage",
            ECDSA_VALIDATOR,
            ecdsaValidatorStorageCall { account }.abi_encode(),
        ),
        Call::read("eth_getStorageAt", json!([account, IMPLEMENTATION_SLOT, tag])),
        view("Kernel.getDefaultValidator", account, getDefaultValidatorCall {}.abi_encode()),
        view("Kernel.getDisabledMode", account, getDisabledModeCall {}.abi_encode()),
    ];
    calls.extend(SELECTORS.map(|sel| view("Kernel.getExecution", account, getExecutionCall { sel }.abi_encode())));
    for validator in validators {
        calls.push(Call::read("eth_getCode", json!([validator, tag])));
        calls.push(view("SessionKeyValidator.nonces", *validator, noncesCall { account }.abi_encode()));
        calls.extend(keys.iter().map(|key| {
            let data = sessionDataCall { sessionKey: *key, account }.abi_encode();
            view("SessionKeyValidator.sessionData", *validator, data)
        }));
    }
    calls
}

/// The answers of an account picture, taken one after the other.
struct Replies<'a> {
    node: &'a Node,
    pairs: std::iter::Zip<vec::IntoIter<Result<Value, ChainError>>, vec::IntoIter<Call>>,
}

impl Replies<'_> {
    fn next(&mut self) -> Result<(&'static str, Value), ChainError> {
        match self.pairs.next() {
            Some((answer, call)) => Ok((call.purpose, answer?)),
            None => Err(ChainError::malformed(self.node.endpoint.origin(), "an account", "the answer", "complete")),
        }
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.pairs.next();
        }
    }

    fn bytes(&mut self) -> Result<Bytes, ChainError> {
        let (purpose, value) = self.next()?;
        self.node.answer(purpose, &value).bytes()
    }

    fn number(&mut self) -> Result<U256, ChainError> {
        let (purpose, value) = self.next()?;
        self.node.answer(purpose, &value).number()
    }

    fn required<C: SolCall>(&mut self) -> Result<C::Return, ChainError> {
        let (purpose, value) = self.next()?;
        let bytes = self.node.answer(purpose, &value).bytes()?;
        self.node.returned::<C>(purpose, &bytes)
    }

    /// A read of a contract that need not exist on this chain.
    fn if_there<C: SolCall>(&mut self) -> Result<Option<C::Return>, ChainError> {
        let (purpose, value) = self.next()?;
        let bytes = self.node.answer(purpose, &value).bytes()?;
        if bytes.is_empty() { Ok(None) } else { self.node.returned::<C>(purpose, &bytes).map(Some) }
    }

    fn validator(&mut self, address: Address, keys: &[Address]) -> Result<ValidatorPicture, ChainError> {
        let code = self.bytes()?;
        let code_hash = (!code.is_empty()).then(|| keccak256(&code));
        let nonces = self.if_there::<noncesCall>()?.map(Nonces::from).unwrap_or_default();
        let sessions = keys
            .iter()
            .map(|key| {
                let data = self.if_there::<sessionDataCall>()?.map(SessionData::from).unwrap_or_default();
                Ok((*key, data))
            })
            .collect::<Result<_, ChainError>>()?;
        Ok(ValidatorPicture { address, code_hash, nonces, sessions })
    }
}

impl From<getExecutionReturn> for Execution {
    fn from(slot: getExecutionReturn) -> Self {
        Self {
            valid_after: slot.validAfter.to(),
            valid_until: slot.validUntil.to(),
            executor: slot.executor,
            validator: slot.validator,
        }
    }
}

impl From<sessionDataReturn> for SessionData {
    fn from(data: sessionDataReturn) -> Self {
        Self {
            merkle_root: data.merkleRoot,
            valid_after: data.validAfter.to(),
            valid_until: data.validUntil.to(),
            paymaster: data.paymaster,
            nonce: data.nonce,
        }
    }
}

impl From<noncesReturn> for Nonces {
    fn from(nonces: noncesReturn) -> Self {
        Self { last: nonces.lastNonce, invalid: nonces.invalidNonce }
    }
}

impl From<executionStatusReturn> for RunStatus {
    fn from(status: executionStatusReturn) -> Self {
        Self { valid_after: status.validAfter.to(), runs: status.runs.to() }
    }
}

pub fn chain_id_call() -> Call {
    Call::read("eth_chainId", json!([]))
}

pub fn same_chain(endpoint: &str, ours: u64, theirs: u64) -> Result<(), ChainError> {
    if ours == theirs { Ok(()) } else { Err(ChainError::WrongChain { endpoint: endpoint.into(), ours, theirs }) }
}

fn latest_block_call() -> Call {
    Call::read("eth_getBlockByNumber", json!(["latest", false])).named("the latest block")
}

fn read_block(answer: &Answer<'_>) -> Result<Block, ChainError> {
    Ok(Block {
        number: answer.field("number")?.u64()?,
        hash: answer.field("hash")?.hash()?,
        timestamp: answer.field("timestamp")?.u64()?,
        base_fee: answer.optional("baseFeePerGas").map(|fee| fee.u128()).transpose()?,
    })
}

/// `null` for what is not there (yet).
pub fn maybe<T>(
    answer: &Answer<'_>,
    read: impl FnOnce(&Answer<'_>) -> Result<T, ChainError>,
) -> Result<Option<T>, ChainError> {
    if answer.value().is_null() { Ok(None) } else { read(answer).map(Some) }
}

fn is_block_missing(answer: &Result<Value, ChainError>) -> bool {
    let Err(ChainError::Rpc(error)) = answer else { return false };
    let text = error.message.to_ascii_lowercase();
    ["header not found", "unknown block", "block not found", "header for hash not found", "could not find block"]
        .iter()
        .any(|words| text.contains(words))
}

/// Whether a log query may have failed for its length alone.
fn may_be_too_long(error: &ChainError) -> bool {
    match error {
        ChainError::TooLarge { .. } | ChainError::Timeout { .. } => true,
        ChainError::HttpStatus { status, .. } => matches!(status, 400 | 413 | 500 | 503 | 504),
        ChainError::Rpc(error) => {
            let text = error.message.to_ascii_lowercase();
            ["range", "limit", "too many", "too large", "more than", "exceed", "timeout", "timed out", "response size"]
                .iter()
                .any(|words| text.contains(words))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use alloy::{primitives::hex, sol_types::SolValue};

    use super::*;
    use crate::{
        kernel::generation::Generation,
        wallet::chain::stub_server::{Canned, canned, unknown_method},
    };

    const ACCOUNT: Address = Address::repeat_byte(0x11);
    const KEY: Address = Address::repeat_byte(0x22);
    const OWNER: Address = Address::repeat_byte(0x33);
    const G2: Address = Generation::G2.address();

    fn node(answer: impl FnMut(&str, &Value) -> Canned + Send + 'static) -> Node {
        Node::new(canned(answer))
    }

    fn saying(value: Value) -> Node {
        node(move |_, _| Ok(value.clone()))
    }

    fn abi(value: &impl SolValue) -> Value {
        json!(Bytes::from(value.abi_encode()))
    }

    /// What a chain answers about an account with one enabled key.
    fn chain(deployed: bool) -> impl FnMut(&str, &Value) -> Canned + Send {
        move |method, params| {
            let block = json!({ "number": "0x10", "hash": B256::ZERO, "timestamp": "0x65", "baseFeePerGas": "0x7" });
            Ok(match method {
                "eth_chainId" => json!("0x7a69"),
                "eth_getBlockByNumber" => block,
                "eth_getCode" if params[0] == json!(ACCOUNT) && !deployed => json!("0x"),
                "eth_getCode" if params[0] == json!(Generation::G3.address()) => json!("0x"),
                "eth_getCode" => json!("0x60"),
                "eth_getBalance" => json!("0x5"),
                "eth_getStorageAt" if deployed => json!(Address::repeat_byte(0x44).into_word()),
                "eth_getStorageAt" => json!(B256::ZERO),
                "eth_call" => contract(&params[0], &params[1], deployed),
                _ => return unknown_method(),
            })
        }
    }

    fn contract(call: &Value, tag: &Value, deployed: bool) -> Value {
        assert_eq!(tag, "0x10", "everything is read at the block that was named");
        let to: Address = serde_json::from_value(call["to"].clone()).unwrap();
        let data: Bytes = serde_json::from_value(call["data"].clone()).unwrap();
        if to == Generation::G3.address() || (to == ACCOUNT && !deployed) {
            return json!("0x");
        }
        let selector: [u8; 4] = data[..4].try_into().unwrap();
        match selector {
            balanceOfCall::SELECTOR => abi(&U256::from(6)),
            getNonceCall::SELECTOR => abi(&U256::from(9)),
            ecdsaValidatorStorageCall::SELECTOR => abi(&if deployed { OWNER } else { Address::ZERO }),
            getDefaultValidatorCall::SELECTOR => abi(&ECDSA_VALIDATOR),
            getDisabledModeCall::SELECTOR => abi(&FixedBytes::<4>::from([0xff; 4])),
            getExecutionCall::SELECTOR if data[4..8] == selector::EXECUTE[..] => {
                abi(&(U256::from(1), U256::from(2), Address::ZERO, G2))
            }
            getExecutionCall::SELECTOR => abi(&(U256::ZERO, U256::ZERO, Address::ZERO, Address::ZERO)),
            noncesCall::SELECTOR => abi(&(U256::from(4), U256::from(3))),
            sessionDataCall::SELECTOR => {
                abi(&(B256::repeat_byte(5), U256::from(10), U256::from(20), Address::repeat_byte(6), U256::from(4)))
            }
            other => panic!("unexpected call {}", hex::encode(other)),
        }
    }

    #[tokio::test]
    async fn a_picture_holds_everything_about_an_account_at_one_block() {
        let validators = [G2, Generation::G3.address()];
        let picture = node(chain(true)).account_picture(ACCOUNT, &validators, &[KEY]).await.unwrap();
        assert_eq!((picture.block.number, picture.block.timestamp), (16, 0x65));
        assert_eq!((picture.balance, picture.deposit, picture.owner), (U256::from(5), U256::from(6), OWNER));
        assert_eq!(picture.entry_point_nonce, U256::from(9));
        let deployed = picture.deployed.unwrap();
        assert_eq!(deployed.implementation, Address::repeat_byte(0x44));
        assert_eq!(deployed.default_validator, ECDSA_VALIDATOR);
        assert_eq!(deployed.disabled_mode, [0xff; 4]);
        let slot = Execution { valid_after: 1, valid_until: 2, executor: Address::ZERO, validator: G2 };
        assert!(deployed.executions.contains(&(selector::EXECUTE, slot)));
        assert!(deployed.executions.contains(&(selector::EXECUTE_BATCH, Execution::default())));
        let [g2, g3] = <[_; 2]>::try_from(picture.validators).unwrap();
        assert_eq!(g2.nonces, Nonces { last: 4, invalid: 3 });
        let session = SessionData {
            merkle_root: B256::repeat_byte(5),
            valid_after: 10,
            valid_until: 20,
            paymaster: Address::repeat_byte(6),
            nonce: U256::from(4),
        };
        assert_eq!(g2.sessions, [(KEY, session)]);
        assert_eq!(g2.code_hash, Some(keccak256([0x60])));
        let absent = (g3.code_hash, g3.nonces, g3.sessions);
        assert_eq!(absent, (None, Nonces::default(), vec![(KEY, SessionData::default())]));
    }

    #[tokio::test]
    async fn an_account_without_code_has_validators_all_the_same() {
        let picture = node(chain(false)).account_picture(ACCOUNT, &[G2], &[KEY]).await.unwrap();
        assert_eq!(picture.deployed, None);
        assert_eq!(picture.owner, Address::ZERO);
        assert_eq!(picture.validators[0].nonces, Nonces { last: 4, invalid: 3 });
    }

    #[tokio::test]
    async fn a_block_that_the_next_machine_lacks_is_waited_for() {
        let mut lacking = 1;
        let mut chain = chain(true);
        let node = node(move |method, params| {
            if method == "eth_getBalance" && lacking > 0 {
                lacking -= 1;
                return Err((-32000, "header not found".into()));
            }
            chain(method, params)
        });
        assert!(node.account_picture(ACCOUNT, &[G2], &[]).await.is_ok());
    }

    #[tokio::test]
    async fn a_contract_that_is_no_kernel_is_malformed_and_named() {
        let mut chain = chain(true);
        let node = node(move |method, params| match method {
            "eth_call" if params[0]["to"] == json!(ACCOUNT) => Ok(json!("0x")),
            _ => chain(method, params),
        });
        let error = node.account_picture(ACCOUNT, &[G2], &[]).await.unwrap_err();
        assert!(error.to_string().contains("Kernel.getDefaultValidator"), "{error}");
    }

    #[tokio::test]
    async fn words_with_dirty_bits_are_malformed() {
        for (last, invalid) in [(U256::MAX, U256::ZERO), (U256::ZERO, U256::from(u128::MAX) + U256::ONE)] {
            let error = saying(abi(&(last, invalid))).nonces(G2, ACCOUNT, At::Latest).await.unwrap_err();
            assert!(matches!(error, ChainError::Malformed { .. }), "{error}");
        }
    }

    #[tokio::test]
    async fn nothing_an_answer_holds_upsets_the_readers() {
        let odd = [
            json!(null),
            json!(true),
            json!(-1),
            json!(1.5),
            json!("0xzz"),
            json!("0x1"),
            json!([]),
            json!([[[]]]),
            json!({ "number": {}, "hash": "0x" }),
            json!("9".repeat(500)),
            json!({ "baseFeePerGas": ["0x1", null], "reward": 7 }),
            json!({ "transactionHash": B256::ZERO, "logs": [{ "topics": "x" }] }),
        ];
        for value in odd {
            let node = saying(value);
            let _ = node.latest_block().await;
            let _ = node.receipt(B256::ZERO).await;
            let _ = node.transaction(B256::ZERO).await;
            let _ = node.fee_history(1, &[50]).await;
            let _ = node.run_statuses(G2, ACCOUNT, &[B256::ZERO], At::Latest).await;
            assert!(node.account_picture(ACCOUNT, &[G2], &[KEY]).await.is_err());
            assert!(
                node.logs(&[LogQuery::default()], 1, 2).await.is_err()
                    || node.endpoint.call(chain_id_call()).await == Ok(json!([]))
            );
        }
    }

    #[tokio::test]
    async fn a_node_of_another_chain_is_stopped_at() {
        let error = saying(json!("0x1")).check_chain(31337).await.unwrap_err();
        assert!(matches!(error, ChainError::WrongChain { ours: 31337, theirs: 1, .. }), "{error}");
        saying(json!("31337")).check_chain(31337).await.unwrap();
    }

    #[tokio::test]
    async fn another_transaction_than_asked_for_is_refused() {
        let other = json!({ "hash": B256::ZERO, "from": OWNER, "to": null, "value": "0x0", "input": "0x" });
        let error = saying(other).transaction(B256::repeat_byte(1)).await.unwrap_err();
        assert!(matches!(error, ChainError::Mismatch { .. }), "{error}");
        assert_eq!(saying(json!(null)).transaction(B256::ZERO).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_transaction_that_is_there_already_counts_as_sent() {
        let signed = Bytes::from_static(&[1, 2, 3]);
        let hash = keccak256(&signed);
        let node = node(move |method, _| match method {
            "eth_sendRawTransaction" => Err((-32000, "already known".into())),
            _ => Ok(json!({ "hash": hash, "from": OWNER, "to": ACCOUNT, "value": "0x0", "input": "0x" })),
        });
        assert_eq!(node.send_raw(&signed).await.unwrap(), hash);
        let error = saying(json!(B256::ZERO)).send_raw(&signed).await.unwrap_err();
        assert!(matches!(error, ChainError::Mismatch { .. }), "{error}");
    }

    fn log_at(block: u64, topic: B256) -> Value {
        json!({
            "address": ACCOUNT, "topics": [topic], "data": "0x", "blockNumber": format!("0x{block:x}"),
            "transactionHash": B256::ZERO, "logIndex": "0x0",
        })
    }

    #[tokio::test]
    async fn a_log_range_that_is_too_long_is_halved_until_it_fits() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        let node = node(move |_, params| {
            let bound = |name: &str| u64::from_str_radix(&params[0][name].as_str().unwrap()[2..], 16).unwrap();
            let (from, to) = (bound("fromBlock"), bound("toBlock"));
            noted.lock().unwrap().push(to - from + 1);
            if to - from >= 3000 {
                return Err((-32005, "block range is too wide".into()));
            }
            Ok(json!([log_at(from, B256::ZERO)]))
        });
        let chunk = node.logs(&[LogQuery::default()], 100, 50_000).await.unwrap();
        assert_eq!((chunk.logs.len(), chunk.through), (1, 100 + 2500 - 1));
        // What was learnt is kept.
        node.logs(&[LogQuery::default()], chunk.through + 1, 50_000).await.unwrap();
        assert_eq!(*asked.lock().unwrap(), [10_000, 5000, 2500, 2500]);
    }

    #[tokio::test]
    async fn logs_that_were_not_asked_for_are_refused() {
        let query = [LogQuery { address: Some(ACCOUNT), topics: vec![vec![B256::repeat_byte(1)]] }];
        let fitting = saying(json!([log_at(5, B256::repeat_byte(1))]));
        assert_eq!(fitting.logs(&query, 1, 9).await.unwrap().logs.len(), 1);
        for log in [log_at(5, B256::ZERO), log_at(10, B256::repeat_byte(1))] {
            let error = saying(json!([log])).logs(&query, 1, 9).await.unwrap_err();
            assert!(matches!(error, ChainError::Mismatch { .. }), "{error}");
        }
    }
}

//! A node: typed reads of the chain, and the contract reads a wallet for Kernel accounts needs.
//!
//! Everything about one account is read at one block, in two round trips: [`Node::ask_for`].

mod entry_point;
mod logs;
mod prices;
mod refusals;
mod transactions;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use alloy::{
    primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256},
    sol_types::SolCall,
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

pub use self::{
    entry_point::{Purse, first_nonce},
    prices::{FeeHistory, Prices},
    refusals::none_if_not_there,
    transactions::Receipt,
};
use self::{
    logs::Span,
    refusals::{is_block_missing, refuses_a_parameter},
};
use super::{
    aggregate,
    answer::Answer,
    transport::{Answers, Call, ChainError, Endpoint},
};
use crate::{
    erc4337::faults::Fault,
    protocol::query::{self, Query, Read, Unread},
};

/// Seconds by which the newest block may be older than the newest before.
const BEHIND: u64 = 15 * 60;
/// How long the block that came with the chain id may stand for the newest one.
const STILL_NEWEST: Duration = Duration::from_secs(1);

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

/// How far a node takes its chain for settled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Heads {
    pub safe: Option<u64>,
    pub finalized: Option<u64>,
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

/// A node's endpoint. Cheap to clone; clones share what was learned.
#[derive(Debug, Clone)]
pub struct Node {
    endpoint: Endpoint,
    /// How many blocks a log query may span here, as far as is known.
    span: Arc<Mutex<Span>>,
    /// Asked once.
    chain: Arc<OnceCell<u64>>,
    /// The newest block, as it came with the chain id; gone as soon as anything else is asked.
    first_block: Arc<Mutex<Option<(Block, Instant)>>>,
    /// The newest block that was told so far.
    newest: Arc<Mutex<Option<Block>>>,
}

impl Node {
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            span: Arc::default(),
            chain: Arc::default(),
            first_block: Arc::default(),
            newest: Arc::default(),
        }
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
        self.take_first_block();
        let purpose = call.purpose;
        let value = self.endpoint.call(call).await?;
        read(&self.answer(purpose, &value))
    }

    /// The newest block that came with the chain id, while it can still stand for the newest.
    fn take_first_block(&self) -> Option<Block> {
        let mut first = self.first_block.lock().unwrap_or_else(PoisonError::into_inner);
        first.take().filter(|(_, when)| when.elapsed() < STILL_NEWEST).map(|(block, _)| block)
    }

    /// Asked once; the newest block comes along where that costs nothing.
    pub async fn chain_id(&self) -> Result<u64, ChainError> {
        let ask = || async {
            let calls = [chain_id_call(), latest_block_call()];
            let Some(answers) = self.endpoint.together(&calls).await else {
                return self.one(chain_id_call(), |answer| answer.u64()).await;
            };
            let mut answers = answers.into_iter();
            let mut next = || answers.next().unwrap_or(Ok(Value::Null));
            let chain_id = self.answer("eth_chainId", &next()?).u64()?;
            // Whether there is a block is asked where one is needed.
            if let Ok(value) = next()
                && let Ok(block) = read_block(&self.answer("the latest block", &value))
            {
                let mut first = self.first_block.lock().unwrap_or_else(PoisonError::into_inner);
                *first = Some((block, Instant::now()));
            }
            Ok(chain_id)
        };
        self.chain.get_or_try_init(ask).await.copied()
    }

    /// Stops at a node of another chain.
    pub async fn check_chain(&self, ours: u64) -> Result<(), ChainError> {
        same_chain(self.endpoint.origin(), ours, self.chain_id().await?)
    }

    pub async fn latest_block(&self) -> Result<Block, ChainError> {
        let block = self.told_latest_block().await?;
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.is_none_or(|newest| newest.timestamp <= block.timestamp) {
            *newest = Some(block);
        }
        Ok(block)
    }

    async fn told_latest_block(&self) -> Result<Block, ChainError> {
        if let Some(block) = self.take_first_block() {
            return Ok(block);
        }
        match self.one(latest_block_call(), read_block).await {
            // A node that knows blocks by number only.
            Err(error @ (ChainError::Rpc(_) | ChainError::Malformed { .. })) if !error.is_passing() => {
                let Ok(number) = self.one(Call::read("eth_blockNumber", json!([])), |answer| answer.u64()).await else {
                    return Err(error);
                };
                self.block(number).await
            }
            other => other,
        }
    }

    /// Whether the newest block is no older than the one that was the newest before: time does not run backwards, whichever
    /// machine answers. What is behind by less than [`BEHIND`] is another machine, or a block that was replaced.
    pub fn goes_on(&self, block: &Block) -> Result<(), ChainError> {
        let newest = *self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        match newest.filter(|newest| newest.timestamp > block.timestamp.saturating_add(BEHIND)) {
            None => Ok(()),
            Some(newest) => {
                let what = "the time of the newest block, in unix seconds";
                Err(ChainError::mismatch(self.endpoint.origin(), what, newest.timestamp, block.timestamp))
            }
        }
    }

    /// A block by its number, which must be the number asked for.
    pub async fn block(&self, number: u64) -> Result<Block, ChainError> {
        let call =
            Call::read("eth_getBlockByNumber", json!([At::Block(number).tag(), false])).named("an earlier block");
        let block = self.one(call, read_block).await?;
        self.same_block(number, block.number)?;
        Ok(block)
    }

    fn same_block(&self, ours: u64, theirs: u64) -> Result<(), ChainError> {
        if ours == theirs {
            return Ok(());
        }
        Err(ChainError::mismatch(self.endpoint.origin(), "the block asked for", ours, theirs))
    }

    /// The newest blocks that the node calls safe and finalized. Nothing where it knows no such tag, or does not answer.
    pub async fn heads(&self) -> Heads {
        let call = |tag: &str| Call::read("eth_getBlockByNumber", json!([tag, false])).named("a final block");
        let answers = self.ask(&[call("safe"), call("finalized")]).await;
        let mut heads = answers.into_iter().map(|answer| {
            let value = answer.ok()?;
            read_block(&self.answer("a final block", &value)).ok().map(|block| block.number)
        });
        Heads { safe: heads.next().flatten(), finalized: heads.next().flatten() }
    }

    pub async fn code(&self, address: Address, at: At) -> Result<Bytes, ChainError> {
        self.one(Call::read("eth_getCode", json!([address, at.tag()])), |answer| answer.code()).await
    }

    /// Wei.
    pub async fn balance(&self, address: Address, at: At) -> Result<U256, ChainError> {
        self.one(Call::read("eth_getBalance", json!([address, at.tag()])), |answer| answer.number()).await
    }

    /// The next nonce of an externally owned account.
    pub async fn nonce(&self, address: Address, at: At) -> Result<u64, ChainError> {
        let asked = |at: At| Call::read("eth_getTransactionCount", json!([address, at.tag()]));
        match self.one(asked(at), |answer| answer.u64()).await {
            // Not every node knows what is pending.
            Err(error) if at == At::Pending && refuses_a_parameter(&error) => {
                self.one(asked(At::Latest), |answer| answer.u64()).await
            }
            other => other,
        }
    }

    pub async fn call(&self, purpose: &'static str, request: &CallRequest, at: At) -> Result<Bytes, ChainError> {
        self.one(request.eth_call(purpose, at), |answer| answer.bytes()).await
    }

    /// Whether the sender of a call could pay for it at this price, in wei per gas unit: a node takes the most it can cost from
    /// the sender's balance before the call runs.
    pub async fn could_pay(&self, request: &CallRequest, gas: u64, price: U256) -> bool {
        let mut fields = request.json();
        if let Some(fields) = fields.as_object_mut() {
            fields.insert("gas".into(), json!(U256::from(gas)));
            fields.insert("gasPrice".into(), json!(price));
        }
        let call = Call::read("eth_call", json!([fields, At::Latest.tag()])).named("a call with its price");
        match self.one(call, |answer| answer.bytes()).await {
            Ok(_) => true,
            Err(error) => matches!(error.fault(), Some(Fault::CallReverts(_))),
        }
    }

    /// Several calls in one round trip; each has an outcome of its own, a revert included.
    pub async fn call_each(
        &self,
        purpose: &'static str,
        requests: &[CallRequest],
        at: At,
    ) -> Vec<Result<Bytes, ChainError>> {
        let calls: Vec<_> = requests.iter().map(|request| request.eth_call(purpose, at)).collect();
        let answers = self.ask(&calls).await;
        answers.into_iter().map(|answer| self.answer(purpose, &answer?).bytes()).collect()
    }

    /// Several reads in as few requests as the endpoint makes of them.
    async fn ask(&self, calls: &[Call]) -> Answers {
        self.take_first_block();
        match self.endpoint.together(calls).await {
            Some(answers) => answers,
            None => self.ask_one_by_one(calls).await,
        }
    }

    /// Where no batches are taken: what can be is read in one call, the rest each alone.
    async fn ask_one_by_one(&self, calls: &[Call]) -> Answers {
        let (carried, alone): (Vec<usize>, Vec<usize>) =
            (0..calls.len()).partition(|i| calls.get(*i).is_some_and(aggregate::can_carry));
        if carried.len() < 2 {
            return self.endpoint.calls(calls).await;
        }
        let mut answers: Vec<Option<Result<Value, ChainError>>> = vec![None; calls.len()];
        let mut place = |slot: usize, answer| {
            if let Some(place) = answers.get_mut(slot) {
                *place = Some(answer);
            }
        };
        let mut left = alone;
        for slots in carried.chunks(aggregate::MOST) {
            let part: Vec<&Call> = slots.iter().filter_map(|i| calls.get(*i)).collect();
            let told = match aggregate::carrying(&part) {
                Some(call) => self.endpoint.call(call).await.ok(),
                None => None,
            };
            match told.and_then(|value| aggregate::carried(self.endpoint.origin(), &part, &value)) {
                Some(each) => slots.iter().zip(each).for_each(|(slot, answer)| place(*slot, answer)),
                // A node that does not run it.
                None => left.extend(slots),
            }
        }
        let alone: Vec<Call> = left.iter().filter_map(|i| calls.get(*i)).cloned().collect();
        left.iter().zip(self.endpoint.calls(&alone).await).for_each(|(slot, answer)| place(*slot, answer));
        let silent =
            || ChainError::malformed(self.endpoint.origin(), "several reads", "the answer", "one for each read");
        answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(silent()))).collect()
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
        // Not in one call where batches are refused: that tells the hash of a code, and what it is must be seen.
        let answers = self.endpoint.calls(&calls).await;
        let mut codes: Vec<_> = answers.into_iter().map(|answer| self.answer(PURPOSE, &answer?).bytes()).collect();
        let calls = codes.split_off(addresses.len().min(codes.len()));
        (codes, calls)
    }

    /// Gas units a transaction would use in the newest block's state: some nodes would count what waits as done.
    pub async fn estimate_gas(&self, request: &CallRequest) -> Result<u64, ChainError> {
        let asked = |params| Call::read("eth_estimateGas", params);
        match self.one(asked(json!([request.json(), At::Latest.tag()])), |answer| answer.u64()).await {
            // Older nodes take the call alone, and estimate on a block of their own choice.
            Err(error) if refuses_a_parameter(&error) => {
                self.one(asked(json!([request.json()])), |answer| answer.u64()).await
            }
            other => other,
        }
    }

    /// Several blocks by number, in order; `None` for one that the node does not have.
    pub async fn blocks(&self, numbers: &[u64]) -> Result<Vec<Option<Block>>, ChainError> {
        let call = |number: &u64| Call::read("eth_getBlockByNumber", json!([At::Block(*number).tag(), false]));
        let calls: Vec<_> = numbers.iter().map(call).collect();
        let blocks = self.each(&calls, |answer| maybe(answer, read_block)).await;
        let blocks = blocks.into_iter().map(none_if_not_there).collect::<Result<Vec<_>, _>>()?;
        for (ours, block) in numbers.iter().zip(&blocks) {
            block.map_or(Ok(()), |block| self.same_block(*ours, block.number))?;
        }
        Ok(blocks)
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
        self.each(calls, read).await.into_iter().collect()
    }

    async fn each<T>(
        &self,
        calls: &[Call],
        read: impl Fn(&Answer<'_>) -> Result<T, ChainError>,
    ) -> Vec<Result<T, ChainError>> {
        self.take_first_block();
        let answers = self.endpoint.calls(calls).await;
        answers.into_iter().zip(calls).map(|(answer, call)| read(&self.answer(call.purpose, &answer?))).collect()
    }

    /// What a family asks of the chain, at one block, and makes of the answers: in as few requests as the endpoint allows.
    pub async fn ask_for<T>(
        &self,
        queries: &[Query],
        at: At,
        read: impl FnOnce(query::Answers<'_, ChainError>) -> Result<T, Unread<ChainError>>,
    ) -> Result<T, ChainError> {
        let tag = at.tag();
        let call = |query: &Query| match &query.read {
            Read::Code(of) => Call::read("eth_getCode", json!([of, tag])).named(query.what),
            Read::Balance(of) => Call::read("eth_getBalance", json!([of, tag])).named(query.what),
            Read::Storage(of, slot) => Call::read("eth_getStorageAt", json!([of, slot, tag])).named(query.what),
            Read::Call(to, data) => CallRequest::new(*to, data.clone()).eth_call(query.what, at),
        };
        let calls: Vec<Call> = queries.iter().map(call).collect();
        let answers = self.at_known_block(&calls).await;
        let answers = answers.into_iter().zip(queries).map(|(answer, query)| self.answer_to(query, &answer?)).collect();
        read(query::Answers::new(queries, answers)).map_err(|error| match error {
            Unread::Unanswered(error) => error,
            Unread::Malformed { what, expected } => {
                ChainError::malformed(self.endpoint.origin(), what, "the returned data", expected)
            }
        })
    }

    fn answer_to(&self, query: &Query, value: &Value) -> Result<query::Answer, ChainError> {
        let answer = self.answer(query.what, value);
        Ok(match query.read {
            Read::Code(_) => query::Answer::CodeHash(match aggregate::told_hash(value) {
                Some(hash) => Some(hash).filter(|hash| !hash.is_zero() && *hash != KECCAK256_EMPTY),
                None => Some(answer.code()?).filter(|code| !code.is_empty()).map(|code| keccak256(&code)),
            }),
            Read::Balance(_) | Read::Storage(..) => query::Answer::Number(answer.number()?),
            Read::Call(..) => query::Answer::Returned(answer.bytes()?),
        })
    }

    /// Reads at a block that the node has just named. Behind a load balancer the next machine may not have it yet.
    async fn at_known_block(&self, calls: &[Call]) -> Vec<Result<Value, ChainError>> {
        const PAUSES: [u64; 3] = [200, 500, 1000];
        for pause in PAUSES {
            let answers = self.ask(calls).await;
            if !answers.iter().any(is_block_missing) {
                return answers;
            }
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        self.ask(calls).await
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use alloy::{
        primitives::{FixedBytes, hex},
        sol,
        sol_types::SolValue,
    };

    use super::{entry_point::balanceOfCall, *};
    use crate::{
        protocol::kernel_v2::{
            account::selector,
            approval::EnableData,
            generation::{ECDSA_VALIDATOR, Generation},
            judge::Window,
            revocation::Nonces,
            snapshot::{Route, Snapshot, SnapshotRequest},
        },
        protocol::query::{LogQuery, Moment},
        wallet::rpc::stub_server::{Canned, canned, canned_alone, unknown_method},
    };

    sol! {
        function getExecution(bytes4 sel);
        function getDisabledMode();
        function getDefaultValidator();
        function ecdsaValidatorStorage(address account);
        function nonces(address account);
        function sessionData(address sessionKey, address account);
    }

    pub(super) const ACCOUNT: Address = Address::repeat_byte(0x11);
    const KEY: Address = Address::repeat_byte(0x22);
    pub(super) const OWNER: Address = Address::repeat_byte(0x33);
    const G2: Address = Generation::G2.address();

    pub(super) fn node(answer: impl FnMut(&str, &Value) -> Canned + Send + 'static) -> Node {
        Node::new(canned(answer))
    }

    /// The account at the newest block, with what is held for the key. Here other code than the deployed validators' counts.
    async fn snapshot(node: &Node) -> Result<Snapshot, ChainError> {
        let request = SnapshotRequest::of(ACCOUNT, &[KEY], None).on_own_chain(true);
        let block = node.latest_block().await?;
        let moment = Moment { block: block.number, timestamp: block.timestamp };
        node.ask_for(&request.queries(), At::Block(block.number), |answers| request.read(moment, answers)).await
    }

    pub(super) fn saying(value: Value) -> Node {
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
    async fn a_snapshot_holds_everything_about_an_account_at_one_block() {
        let snapshot = snapshot(&node(chain(true))).await.unwrap();
        assert_eq!((snapshot.block, snapshot.timestamp, snapshot.deployed), (16, 0x65, true));
        assert_eq!((snapshot.balance, snapshot.deposit, snapshot.owner), (U256::from(5), U256::from(6), Some(OWNER)));
        assert_eq!(snapshot.implementation, Some(Address::repeat_byte(0x44)));
        assert_eq!((snapshot.kernel, snapshot.known_proxy), (None, false), "code that is no Kernel's");
        assert_eq!(snapshot.default_validator, Some(ECDSA_VALIDATOR));
        assert_eq!(snapshot.disabled_mode, u32::MAX);
        let window = Window { after: 1, until: 2 };
        let route = Route { validator: G2, executor: Address::ZERO, window };
        assert_eq!(snapshot.route(selector::EXECUTE), Some(route));
        assert_eq!(snapshot.route(selector::EXECUTE_BATCH), None);
        assert_eq!(snapshot.nonces(Generation::G2), Nonces { last: 4, invalid: 3 });
        let held = EnableData {
            session_key: KEY,
            merkle_root: B256::repeat_byte(5),
            valid_after: 10,
            valid_until: 20,
            paymaster: Address::repeat_byte(6),
            nonce: 4,
        };
        assert!(snapshot.holds(Generation::G2, &held));
        assert!(!snapshot.has_validator(Generation::G3), "it is not on this chain");
    }

    #[tokio::test]
    async fn an_account_without_code_has_validators_all_the_same() {
        let snapshot = snapshot(&node(chain(false))).await.unwrap();
        assert_eq!((snapshot.deployed, snapshot.owner, snapshot.implementation), (false, None, None));
        assert_eq!(snapshot.nonces(Generation::G2), Nonces { last: 4, invalid: 3 });
    }

    #[tokio::test]
    async fn only_code_that_is_known_counts_as_a_validator() {
        let node = node(chain(true));
        let request = SnapshotRequest::of(ACCOUNT, &[KEY], None);
        let moment = Moment { block: 16, timestamp: 0x65 };
        let queries = request.queries();
        let read = node.ask_for(&queries, At::Block(16), |answers| request.read(moment, answers));
        assert!(read.await.unwrap().nonces.is_empty());
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
        assert!(snapshot(&node).await.is_ok());
    }

    #[tokio::test]
    async fn a_contract_that_is_no_kernel_is_malformed_and_named() {
        let mut chain = chain(true);
        let node = node(move |method, params| match method {
            "eth_call" if params[0]["to"] == json!(ACCOUNT) => Ok(json!("0x")),
            _ => chain(method, params),
        });
        let error = snapshot(&node).await.unwrap_err();
        assert!(error.to_string().contains("Kernel.getDefaultValidator"), "{error}");
    }

    #[tokio::test]
    async fn words_with_dirty_bits_are_malformed() {
        for (last, invalid) in [(U256::MAX, U256::ZERO), (U256::ZERO, U256::from(u128::MAX) + U256::ONE)] {
            let mut chain = chain(true);
            let node = node(move |method, params| match params[0]["data"].as_str() {
                Some(data) if data.starts_with(&hex::encode_prefixed(noncesCall::SELECTOR)) => {
                    Ok(abi(&(last, invalid)))
                }
                _ => chain(method, params),
            });
            let error = snapshot(&node).await.unwrap_err();
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
            let _ = node.prices(1, &[50]).await;
            assert!(snapshot(&node).await.is_err());
            // An empty list and null are no logs.
            let none =
                matches!(node.endpoint.call(chain_id_call()).await, Ok(value) if value == json!([]) || value.is_null());
            assert_eq!(node.logs(&[LogQuery::default()], 1, 2).await.is_ok(), none);
        }
    }

    #[tokio::test]
    async fn a_node_of_another_chain_is_stopped_at() {
        let error = saying(json!("0x1")).check_chain(31337).await.unwrap_err();
        assert!(matches!(error, ChainError::WrongChain { ours: 31337, theirs: 1, .. }), "{error}");
        saying(json!("31337")).check_chain(31337).await.unwrap();
    }

    #[tokio::test]
    async fn k23_a_block_is_the_one_that_was_asked_for() {
        let block = json!({ "number": "0x10", "hash": B256::ZERO, "timestamp": "0x65", "transactions": [] });
        assert_eq!(saying(block.clone()).block(16).await.unwrap().number, 16);
        let other = saying(block.clone()).block(17).await.unwrap_err();
        assert!(matches!(other, ChainError::Mismatch { what: "the block asked for", .. }), "{other}");
        assert!(saying(block.clone()).transactions_in(16).await.is_ok());
        let other = saying(block).transactions_in(17).await.unwrap_err();
        assert!(matches!(other, ChainError::Mismatch { .. }), "{other}");
    }

    /// What was asked, as methods and parameters.
    pub(super) type Asked = Arc<Mutex<Vec<(String, Value)>>>;

    pub(super) fn noting(mut answer: impl FnMut(&str, &Value) -> Canned + Send + 'static) -> (Asked, Node) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        let node = node(move |method, params| {
            noted.lock().unwrap().push((method.to_owned(), params.clone()));
            answer(method, params)
        });
        (asked, node)
    }

    pub(super) fn methods(asked: &Mutex<Vec<(String, Value)>>) -> Vec<String> {
        std::mem::take(&mut *asked.lock().unwrap()).into_iter().map(|(method, _)| method).collect()
    }

    #[tokio::test]
    async fn the_chain_is_asked_for_once_and_the_newest_block_comes_along() {
        let (asked, node) = noting(chain(true));
        node.check_chain(31337).await.unwrap();
        node.clone().check_chain(31337).await.unwrap();
        assert_eq!(node.latest_block().await.unwrap().number, 16);
        assert_eq!(methods(&asked), ["eth_chainId", "eth_getBlockByNumber"]);
        // It stands for the newest block once, and not after anything else was asked.
        node.latest_block().await.unwrap();
        assert_eq!(methods(&asked), ["eth_getBlockByNumber"]);
        let (asked, node) = noting(chain(true));
        node.check_chain(31337).await.unwrap();
        node.balance(ACCOUNT, At::Latest).await.unwrap();
        node.latest_block().await.unwrap();
        assert_eq!(methods(&asked).last().unwrap(), "eth_getBlockByNumber");
        // Another chain goes on being refused, and a failure is not remembered.
        assert!(matches!(node.check_chain(1).await, Err(ChainError::WrongChain { .. })));
    }

    #[tokio::test]
    async fn case_18_an_estimate_without_its_block_is_taken_where_the_block_is_refused() {
        for words in ["too many arguments, want at most 1", "invalid number of params"] {
            let (asked, node) = noting(move |_, params| match params.as_array().unwrap().len() {
                1 => Ok(json!("0x5208")),
                _ => Err((-32602, words.into())),
            });
            assert_eq!(node.estimate_gas(&CallRequest::default()).await.unwrap(), 21_000);
            assert_eq!(methods(&asked).len(), 2);
        }
        // A call that reverts is not asked again.
        let (asked, node) = noting(|_, _| Err((3, "execution reverted: bad argument".into())));
        assert!(node.estimate_gas(&CallRequest::default()).await.is_err());
        assert_eq!(methods(&asked).len(), 1);
    }

    #[tokio::test]
    async fn what_a_node_does_not_know_of_a_method_is_left_out() {
        let without_pending = node(|_, params| match params[1].as_str() {
            Some("latest") => Ok(json!("0x7")),
            _ => Err((-32000, "pending is not supported".into())),
        });
        assert_eq!(without_pending.nonce(OWNER, At::Pending).await.unwrap(), 7);
        let counting_in_numbers = node(|method, params| match (method, params[0].is_number()) {
            ("eth_getBlockByNumber", _) => Ok(json!({ "number": "0x10", "hash": B256::ZERO, "timestamp": "0x65" })),
            ("eth_feeHistory", true) => Ok(json!({ "baseFeePerGas": ["0x1", "0x2"] })),
            ("eth_feeHistory", false) => Err((-32602, "invalid argument 0: cannot unmarshal string into int".into())),
            _ => unknown_method(),
        });
        assert_eq!(counting_in_numbers.prices(1, &[50]).await.unwrap().history.unwrap().base_fees, [1, 2]);
        let by_number_only = node(|method, params| match method {
            "eth_blockNumber" => Ok(json!("0x10")),
            _ if params[0] == json!("0x10") => Ok(json!({ "number": "0x10", "hash": B256::ZERO, "timestamp": "0x65" })),
            _ => Err((-32602, "invalid block number".into())),
        });
        assert_eq!(by_number_only.latest_block().await.unwrap().number, 16);
        assert!(saying(json!("0x0")).code(ACCOUNT, At::Latest).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn without_batches_an_account_is_read_in_one_call_and_one_for_its_slot() {
        let word = |n: u64| U256::from(n).to_be_bytes::<32>().to_vec();
        let item = |data: Vec<u8>| [word(1), word(data.len() as u64), data].concat();
        let slot = || [word(0), word(0), word(0), B256::left_padding_from(G2.as_slice()).to_vec()].concat();
        let owner = B256::left_padding_from(OWNER.as_slice()).to_vec();
        let default_validator = B256::left_padding_from(ECDSA_VALIDATOR.as_slice()).to_vec();
        let of_account = [keccak256([0x60]).to_vec(), word(5), word(6), owner, default_validator, word(0)];
        let of_validator = [keccak256([0x61]).to_vec(), [word(4), word(3)].concat(), word(0).repeat(5)];
        let slots = vec![slot(); selector::KNOWN.len()];
        let validators = of_validator.into_iter().cycle().take(3 * Generation::ALL.len());
        let reads = of_account.into_iter().chain(slots).chain(validators);
        let answer = Bytes::from(reads.map(item).collect::<Vec<_>>().concat());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        let node = Node::new(canned_alone(move |method, params| {
            noted.lock().unwrap().push(method.to_owned());
            Ok(match method {
                "eth_getBlockByNumber" => json!({ "number": "0x10", "hash": B256::ZERO, "timestamp": "0x65" }),
                "eth_getStorageAt" => json!(Address::repeat_byte(0x44).into_word()),
                "eth_call" if params[0].get("to").is_none() => json!(answer),
                _ => return unknown_method(),
            })
        }));
        let snapshot = snapshot(&node).await.unwrap();
        assert_eq!(*asked.lock().unwrap(), ["eth_getBlockByNumber", "eth_call", "eth_getStorageAt"]);
        assert_eq!((snapshot.balance, snapshot.deposit, snapshot.owner), (U256::from(5), U256::from(6), Some(OWNER)));
        assert_eq!(snapshot.nonces(Generation::G2), Nonces { last: 4, invalid: 3 });
    }

    #[tokio::test]
    async fn a_node_that_runs_no_such_call_is_asked_for_each_read_alone() {
        let mut chain = chain(true);
        let node = Node::new(canned_alone(move |method, params| match params[0].get("to") {
            None if method == "eth_call" => Err((-32602, "missing `to`".into())),
            _ => chain(method, params),
        }));
        let snapshot = snapshot(&node).await.unwrap();
        assert_eq!((snapshot.balance, snapshot.owner), (U256::from(5), Some(OWNER)));
        assert_eq!(snapshot.nonces(Generation::G2), Nonces { last: 4, invalid: 3 });
    }
}

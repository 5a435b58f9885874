//! The chain itself: accounts, blocks of one transaction each, receipts and logs, and a time that is set from outside.
//!
//! Nothing here reads a clock, a file or the network. A clone is a snapshot; [`Chain::to_json`] is what a data folder keeps.

use std::collections::BTreeMap;

use alloy::{
    primitives::{Address, B256, Bytes, Log, TxKind, U256, keccak256},
    sol_types::SolValue,
};
use revm::{
    Context, DatabaseCommit, ExecuteEvm, MainBuilder, MainContext,
    context::{
        BlockEnv, CfgEnv, TxEnv,
        result::{EVMError, ExecutionResult, Output},
    },
    database::WrapDatabaseRef,
    primitives::hardfork::SpecId,
    state::{Bytecode, EvmState},
};
use serde::{Deserialize, Serialize};

use super::state::{State, View};

/// Gas units of one block, and what a call may use when it does not say.
pub const BLOCK_GAS_LIMIT: u64 = 60_000_000;

/// Wei per gas unit that every signed transaction pays at least. It never moves.
pub const BASE_FEE: u64 = 1_000_000_000;

/// The rules of the EVM: what live networks run, without the per-transaction gas cap of later forks.
const SPEC: SpecId = SpecId::PRAGUE;

/// Layout of [`Chain::to_json`].
const FORMAT: u32 = 1;

#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    #[error("the sandbox chain does not accept the transaction: {0}")]
    Refused(String),
    #[error("the sandbox chain could not run the transaction: {0}")]
    Failed(String),
    #[error("{what} could not be put on the chain: {why}")]
    NotDeployed { what: String, why: String },
    #[error("the list of contracts is not of the form expected (deployments.json): {0}")]
    MalformedDeployments(String),
    #[error("the saved sandbox chain cannot be read: {0}. Reset the sandbox to start a new one")]
    MalformedState(String),
}

/// A call or a transaction from any address; nobody has to sign it and it pays no fee.
#[derive(Debug, Clone, Default)]
pub struct Request {
    pub from: Address,
    /// `None` creates a contract.
    pub to: Option<Address>,
    /// Wei.
    pub value: U256,
    pub data: Bytes,
    /// Gas units; `None` = [`BLOCK_GAS_LIMIT`].
    pub gas_limit: Option<u64>,
}

impl Request {
    /// A call to a contract, without value.
    pub fn to(to: Address, data: impl Into<Bytes>) -> Self {
        Self { to: Some(to), data: data.into(), ..Self::default() }
    }

    pub fn from(self, from: Address) -> Self {
        Self { from, ..self }
    }

    /// Wei.
    pub fn value(self, value: U256) -> Self {
        Self { value, ..self }
    }
}

/// A transaction that its sender signed: it needs the right nonce and pays for its gas.
#[derive(Debug, Clone)]
pub struct SignedTransaction {
    pub hash: B256,
    pub request: Request,
    pub nonce: u64,
    /// Wei per gas unit.
    pub max_fee_per_gas: u128,
    /// Wei per gas unit.
    pub max_priority_fee_per_gas: u128,
}

/// What a call answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub success: bool,
    /// Returned data, or revert data; empty after an exceptional halt such as running out of gas.
    pub output: Bytes,
    pub logs: Vec<Log>,
    /// Gas units.
    pub gas_used: u64,
    pub created: Option<Address>,
}

/// A transaction in its block, and its receipt.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Transaction {
    pub hash: B256,
    pub block_number: u64,
    pub from: Address,
    pub to: Option<Address>,
    pub nonce: u64,
    /// Wei.
    pub value: U256,
    pub data: Bytes,
    /// Gas units.
    pub gas_limit: u64,
    /// Gas units.
    pub gas_used: u64,
    /// Wei per gas unit.
    pub gas_price: u128,
    pub success: bool,
    /// What it answered, or why it reverted.
    pub output: Bytes,
    pub created: Option<Address>,
    pub logs: Vec<Log>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Block {
    pub number: u64,
    pub hash: B256,
    pub parent_hash: B256,
    /// Unix seconds.
    pub timestamp: u64,
    /// Gas units.
    pub gas_used: u64,
    pub transactions: Vec<B256>,
}

impl Block {
    fn after(parent: Option<&Self>, timestamp: u64, transactions: Vec<B256>, gas_used: u64) -> Self {
        let number = parent.map_or(0, |block| block.number + 1);
        let parent_hash = parent.map_or(B256::ZERO, |block| block.hash);
        let hash = keccak256((parent_hash, number, timestamp, transactions.clone()).abi_encode());
        Self { number, hash, parent_hash, timestamp, gas_used, transactions }
    }
}

/// The chain. A clone of it is a snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Chain {
    format: u32,
    chain_id: u64,
    /// Unix seconds of the next block.
    time: u64,
    state: State,
    blocks: Vec<Block>,
    transactions: BTreeMap<B256, Transaction>,
}

/// How a transaction is held to the rules.
#[derive(Clone, Copy)]
struct Terms {
    /// `None`: any nonce will do.
    nonce: Option<u64>,
    max_fee_per_gas: u128,
    max_priority_fee_per_gas: u128,
}

impl Terms {
    const FREE: Self = Self { nonce: None, max_fee_per_gas: 0, max_priority_fee_per_gas: 0 };
}

impl Chain {
    /// A chain with an empty block 0 at `time` (Unix seconds).
    pub fn new(chain_id: u64, time: u64) -> Self {
        let genesis = Block::after(None, time, Vec::new(), 0);
        Self {
            format: FORMAT,
            chain_id,
            time,
            state: State::default(),
            blocks: vec![genesis],
            transactions: BTreeMap::new(),
        }
    }

    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    // Time and blocks

    /// Unix seconds of the next block, and what a call sees as `block.timestamp`.
    pub fn time(&self) -> u64 {
        self.time
    }

    /// Moves the time of the next block (Unix seconds). Never back before the last block.
    pub fn set_time(&mut self, time: u64) {
        let last = self.latest().map_or(0, |block| block.timestamp);
        self.time = time.max(last);
    }

    /// The newest block; a chain has at least one.
    pub fn latest(&self) -> Option<&Block> {
        self.blocks.last()
    }

    pub fn block(&self, number: u64) -> Option<&Block> {
        self.blocks.get(usize::try_from(number).ok()?)
    }

    pub fn block_by_hash(&self, hash: B256) -> Option<&Block> {
        self.blocks.iter().rev().find(|block| block.hash == hash)
    }

    /// Adds an empty block at the present time.
    pub fn mine(&mut self) {
        self.add_block(Vec::new(), 0);
    }

    fn add_block(&mut self, transactions: Vec<B256>, gas_used: u64) {
        self.blocks.push(Block::after(self.blocks.last(), self.time, transactions, gas_used));
    }

    pub fn transaction(&self, hash: B256) -> Option<&Transaction> {
        self.transactions.get(&hash)
    }

    /// The transactions of the blocks `from..=to`, in order.
    pub fn transactions(&self, from: u64, to: u64) -> impl Iterator<Item = &Transaction> {
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let blocks = self.blocks.iter().skip(from).take_while(move |block| block.number <= to);
        blocks.flat_map(|block| &block.transactions).filter_map(|hash| self.transactions.get(hash))
    }

    // Accounts

    /// Wei.
    pub fn balance(&self, address: Address) -> U256 {
        self.state.account(address).map(|account| account.balance).unwrap_or_default()
    }

    pub fn nonce(&self, address: Address) -> u64 {
        self.state.account(address).map(|account| account.nonce).unwrap_or_default()
    }

    pub fn code(&self, address: Address) -> Bytes {
        self.state.account(address).map(|account| account.code.original_bytes()).unwrap_or_default()
    }

    pub fn storage(&self, address: Address, slot: U256) -> U256 {
        let account = self.state.account(address);
        account.and_then(|account| account.storage.get(&slot)).copied().unwrap_or_default()
    }

    /// Every slot of the account that is not zero, in order.
    pub fn storage_slots(&self, address: Address) -> impl Iterator<Item = (U256, U256)> {
        let account = self.state.account(address);
        account.into_iter().flat_map(|account| &account.storage).map(|(slot, value)| (*slot, *value))
    }

    /// Wei.
    pub fn set_balance(&mut self, address: Address, wei: U256) {
        self.state.account_mut(address).balance = wei;
    }

    pub fn set_code(&mut self, address: Address, code: Bytes) -> Result<(), ChainError> {
        let code = Bytecode::new_raw_checked(code)
            .map_err(|error| ChainError::NotDeployed { what: format!("code for {address}"), why: error.to_string() })?;
        self.state.account_mut(address).set_code(code);
        Ok(())
    }

    pub fn set_storage(&mut self, address: Address, slot: U256, value: U256) {
        self.state.account_mut(address).set_storage(slot, value);
    }

    // Running code

    /// What a call would answer in the next block. Nothing is kept.
    pub fn call(&self, request: &Request) -> Result<Outcome, ChainError> {
        self.run(request, Terms::FREE).map(|(outcome, _)| outcome)
    }

    /// Sends a transaction in the name of any address, in a block of its own.
    pub fn execute(&mut self, request: &Request) -> Result<&Transaction, ChainError> {
        let number = self.blocks.len();
        let hash = keccak256((request.from, self.nonce(request.from), U256::from(number)).abi_encode());
        self.include(hash, request, Terms::FREE)
    }

    /// Includes a signed transaction in a block of its own. The signature has been checked by whoever recovered the sender.
    pub fn send(&mut self, signed: &SignedTransaction) -> Result<&Transaction, ChainError> {
        let terms = Terms {
            nonce: Some(signed.nonce),
            max_fee_per_gas: signed.max_fee_per_gas,
            max_priority_fee_per_gas: signed.max_priority_fee_per_gas,
        };
        self.include(signed.hash, &signed.request, terms)
    }

    fn include(&mut self, hash: B256, request: &Request, terms: Terms) -> Result<&Transaction, ChainError> {
        if self.transactions.contains_key(&hash) {
            return Err(ChainError::Refused("already known".into()));
        }
        let nonce = self.nonce(request.from);
        let (outcome, changes) = self.run(request, terms)?;
        self.state.commit(changes);
        self.add_block(vec![hash], outcome.gas_used);
        let price = terms.max_fee_per_gas.min(u128::from(BASE_FEE).saturating_add(terms.max_priority_fee_per_gas));
        let transaction = Transaction {
            hash,
            block_number: self.latest().map_or(0, |block| block.number),
            from: request.from,
            to: request.to,
            nonce,
            value: request.value,
            data: request.data.clone(),
            gas_limit: request.gas_limit.unwrap_or(BLOCK_GAS_LIMIT),
            gas_used: outcome.gas_used,
            gas_price: price,
            success: outcome.success,
            output: outcome.output,
            created: outcome.created,
            logs: outcome.logs,
        };
        Ok(self.transactions.entry(hash).or_insert(transaction))
    }

    fn run(&self, request: &Request, terms: Terms) -> Result<(Outcome, EvmState), ChainError> {
        let free = terms.nonce.is_none();
        let mut cfg = CfgEnv::new_with_spec(SPEC).with_chain_id(self.chain_id);
        cfg.disable_nonce_check = free;
        cfg.disable_base_fee = free;
        cfg.disable_eip3607 = free;
        let block = BlockEnv {
            number: U256::from(self.blocks.len()),
            timestamp: U256::from(self.time),
            gas_limit: BLOCK_GAS_LIMIT,
            basefee: BASE_FEE,
            ..BlockEnv::default()
        };
        let tx = TxEnv {
            // a typed transaction, so that the priority fee is read
            tx_type: 2,
            caller: request.from,
            gas_limit: request.gas_limit.unwrap_or(BLOCK_GAS_LIMIT),
            gas_price: terms.max_fee_per_gas,
            gas_priority_fee: Some(terms.max_priority_fee_per_gas),
            kind: request.to.map_or(TxKind::Create, TxKind::Call),
            value: request.value,
            data: request.data.clone(),
            nonce: terms.nonce.unwrap_or_default(),
            chain_id: Some(self.chain_id),
            ..TxEnv::default()
        };
        let block_hash = |number| self.block(number).map(|block| block.hash).unwrap_or_default();
        let view = View { state: &self.state, block_hash: &block_hash };
        let mut evm = Context::mainnet().with_db(WrapDatabaseRef(view)).with_cfg(cfg).with_block(block).build_mainnet();
        match evm.transact(tx) {
            Ok(ran) => Ok((Outcome::from(ran.result), ran.state)),
            Err(EVMError::Transaction(reason)) => Err(ChainError::Refused(reason.to_string())),
            Err(error) => Err(ChainError::Failed(error.to_string())),
        }
    }

    // Other contracts, and the file

    /// Puts recorded contracts on the chain: a JSON list of deployments `{name, address, deployer, salt, initCode}` and calls
    /// `{kind: "call", name, from, to, value, data}`, in order. The deployer is the deterministic one, which has to be there.
    pub fn load_deployments(&mut self, json: &str) -> Result<(), ChainError> {
        let items: Vec<Recorded> =
            serde_json::from_str(json).map_err(|error| ChainError::MalformedDeployments(error.to_string()))?;
        for item in items {
            let (name, request, lands_on) = item.into_request();
            let missing = |why: String| ChainError::NotDeployed { what: name.clone(), why };
            let funds = self.balance(request.from).saturating_add(request.value);
            self.set_balance(request.from, funds);
            let done = self.execute(&request)?;
            if !done.success {
                return Err(missing(format!("it reverted with {}", done.output)));
            }
            if let Some(address) = lands_on
                && self.code(address).is_empty()
            {
                return Err(missing(format!("no code landed on {address}")));
            }
        }
        Ok(())
    }

    /// The whole chain as JSON, for the data folder.
    pub fn to_json(&self) -> Result<String, ChainError> {
        serde_json::to_string(self).map_err(|error| ChainError::Failed(error.to_string()))
    }

    /// Reads [`Self::to_json`] back.
    pub fn from_json(json: &str) -> Result<Self, ChainError> {
        let chain: Self = serde_json::from_str(json).map_err(|error| ChainError::MalformedState(error.to_string()))?;
        chain.checked()
    }

    /// A chain that was read from outside: block hashes are recomputed rather than believed, and code hashes computed.
    pub(super) fn checked(mut self) -> Result<Self, ChainError> {
        let malformed = |why: &str| ChainError::MalformedState(why.into());
        if self.format != FORMAT {
            return Err(malformed("it was written by another version of keyleash"));
        }
        if self.blocks.is_empty() {
            return Err(malformed("it has no blocks"));
        }
        let mut parent = None;
        for block in &self.blocks {
            let again = Block::after(parent, block.timestamp, block.transactions.clone(), block.gas_used);
            if again.hash != block.hash || again.number != block.number {
                return Err(malformed("its blocks do not follow one another"));
            }
            if !block.transactions.iter().all(|hash| self.transactions.contains_key(hash)) {
                return Err(malformed("a block names a transaction that is not there"));
            }
            parent = Some(block);
        }
        self.state.rehash();
        self.set_time(self.time);
        Ok(self)
    }
}

impl From<ExecutionResult> for Outcome {
    fn from(result: ExecutionResult) -> Self {
        match result {
            ExecutionResult::Success { output, logs, gas, .. } => {
                let created = match &output {
                    Output::Create(_, address) => *address,
                    Output::Call(_) => None,
                };
                Self { success: true, output: output.into_data(), logs, gas_used: gas.tx_gas_used(), created }
            }
            ExecutionResult::Revert { output, gas, .. } => {
                Self { success: false, output, logs: Vec::new(), gas_used: gas.tx_gas_used(), created: None }
            }
            ExecutionResult::Halt { gas, .. } => Self {
                success: false,
                output: Bytes::new(),
                logs: Vec::new(),
                gas_used: gas.tx_gas_used(),
                created: None,
            },
        }
    }
}

/// One item of a list of recorded contracts.
#[derive(Deserialize)]
#[serde(untagged)]
enum Recorded {
    Call {
        name: String,
        from: Address,
        to: Address,
        value: U256,
        data: Bytes,
    },
    #[serde(rename_all = "camelCase")]
    Deployment {
        name: String,
        address: Address,
        deployer: Address,
        salt: B256,
        init_code: Bytes,
    },
}

impl Recorded {
    /// The name, the transaction, and where code has to be afterwards.
    fn into_request(self) -> (String, Request, Option<Address>) {
        match self {
            Self::Call { name, from, to, value, data } => (name, Request::to(to, data).from(from).value(value), None),
            Self::Deployment { name, address, deployer, salt, init_code } => {
                let data = [salt.as_slice(), &init_code].concat();
                (name, Request::to(deployer, data), Some(address))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{address, bytes};

    use super::*;

    const SOMEONE: Address = address!("00000000000000000000000000000000000000aa");
    const CONTRACT: Address = address!("00000000000000000000000000000000000000cc");

    /// Stores the time and the block's number; answers the hash of the block before.
    fn witness() -> Chain {
        let mut chain = Chain::new(7, 1000);
        let code = bytes!("4260005543600155600143034060005260206000f3");
        chain.set_code(CONTRACT, code).unwrap();
        chain
    }

    #[test]
    fn a_transaction_sees_its_block_and_is_kept_in_it() {
        let mut chain = witness();
        chain.set_time(1234);
        let parent = chain.latest().unwrap().hash;
        let request = Request::to(CONTRACT, Bytes::new()).from(SOMEONE);
        let done = chain.execute(&request).unwrap().clone();
        assert!(done.success && done.block_number == 1);
        assert_eq!(done.output, Bytes::copy_from_slice(parent.as_slice()));
        assert_eq!(chain.storage(CONTRACT, U256::ZERO), U256::from(1234));
        assert_eq!(chain.storage(CONTRACT, U256::ONE), U256::ONE);
        let block = chain.latest().unwrap();
        assert_eq!((block.timestamp, block.parent_hash, &block.transactions), (1234, parent, &vec![done.hash]));
        assert_eq!(chain.block_by_hash(block.hash).unwrap().number, 1);
        assert_eq!(chain.transaction(done.hash).unwrap().from, SOMEONE);
    }

    #[test]
    fn a_call_keeps_nothing() {
        let chain = witness();
        assert!(chain.call(&Request::to(CONTRACT, Bytes::new())).unwrap().success);
        assert_eq!(chain.storage(CONTRACT, U256::ONE), U256::ZERO);
        assert_eq!(chain.latest().unwrap().number, 0);
    }

    #[test]
    fn time_does_not_go_back_before_the_last_block() {
        let mut chain = witness();
        chain.set_time(2000);
        chain.set_time(1500);
        assert_eq!(chain.time(), 1500);
        chain.mine();
        chain.set_time(900);
        assert_eq!(chain.time(), 1500);
    }

    #[test]
    fn a_snapshot_is_not_touched_by_what_follows() {
        let mut chain = witness();
        let before = chain.clone();
        chain.execute(&Request::to(CONTRACT, Bytes::new())).unwrap();
        assert_eq!(before.storage(CONTRACT, U256::ONE), U256::ZERO);
        assert_eq!(before.latest().unwrap().number, 0);
    }

    #[test]
    fn a_signed_transaction_needs_its_nonce_and_its_money() {
        let mut chain = witness();
        let signed = |nonce, hash: u8| SignedTransaction {
            hash: B256::repeat_byte(hash),
            request: Request { gas_limit: Some(100_000), ..Request::to(CONTRACT, Bytes::new()).from(SOMEONE) },
            nonce,
            max_fee_per_gas: u128::from(BASE_FEE) * 2,
            max_priority_fee_per_gas: 5,
        };
        assert!(matches!(chain.send(&signed(0, 1)), Err(ChainError::Refused(_))));
        chain.set_balance(SOMEONE, U256::from(1_000_000_000_000_000_000u64));
        assert!(matches!(chain.send(&signed(1, 1)), Err(ChainError::Refused(_))));
        let cheap = SignedTransaction { max_fee_per_gas: 1, max_priority_fee_per_gas: 1, ..signed(0, 1) };
        assert!(matches!(chain.send(&cheap), Err(ChainError::Refused(_))));
        let done = chain.send(&signed(0, 1)).unwrap().clone();
        assert_eq!(done.gas_price, u128::from(BASE_FEE) + 5);
        let spent = U256::from(1_000_000_000_000_000_000u64) - chain.balance(SOMEONE);
        assert_eq!(spent, U256::from(u128::from(done.gas_used) * done.gas_price));
        assert!(matches!(chain.send(&signed(1, 1)), Err(ChainError::Refused(_))), "the same hash again");
        assert_eq!(chain.nonce(SOMEONE), 1);
    }

    #[test]
    fn the_chain_reads_back_what_it_wrote() {
        let mut chain = witness();
        chain.set_balance(SOMEONE, U256::MAX);
        chain.execute(&Request::to(CONTRACT, Bytes::new()).from(SOMEONE)).unwrap();
        chain.set_time(5555);
        let json = chain.to_json().unwrap();
        let mut again = Chain::from_json(&json).unwrap();
        assert_eq!(again.to_json().unwrap(), json);
        let request = Request::to(CONTRACT, Bytes::new());
        assert_eq!(again.call(&request).unwrap(), chain.call(&request).unwrap());
        again.execute(&request).unwrap();
        assert_eq!(again.latest().unwrap().number, 2);
        assert_eq!(again.transactions(1, 1).count(), 1);
    }

    #[test]
    fn a_file_that_was_tampered_with_is_refused() {
        let mut chain = witness();
        chain.execute(&Request::to(CONTRACT, Bytes::new())).unwrap();
        let json = chain.to_json().unwrap();
        let hash = chain.block(0).unwrap().hash.to_string();
        for (from, to) in [
            ("\"format\":1", "\"format\":2"),
            ("\"timestamp\":1000", "\"timestamp\":1001"),
            (hash.as_str(), "0x00"),
            ("0x4260", "0xef01"),
            ("{", "["),
        ] {
            assert!(json.contains(from), "{from}");
            let broken = json.replacen(from, to, 1);
            assert!(matches!(Chain::from_json(&broken), Err(ChainError::MalformedState(_))), "{from}");
        }
    }

    #[test]
    fn deployments_that_do_not_land_are_an_error() {
        let mut chain = Chain::new(7, 1000);
        assert!(matches!(chain.load_deployments("{}"), Err(ChainError::MalformedDeployments(_))));
        let zero = B256::ZERO;
        let lost = format!(
            r#"[{{"name":"x","address":"{SOMEONE}","deployer":"{CONTRACT}","salt":"{zero}","initCode":"0x00"}}]"#
        );
        assert!(matches!(chain.load_deployments(&lost), Err(ChainError::NotDeployed { .. })));
    }
}

//! A bundler (ERC-4337 JSON-RPC): estimate, send, find again, follow.
//!
//! A bundler is asked, never believed: the operation's hash is ours, and a receipt counts only with the EntryPoint's
//! own event in it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    sol_types::SolEvent,
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{
    answer::Answer,
    node::{chain_id_call, maybe, none_if_not_there, same_chain},
    transport::{Call, ChainError, Endpoint},
};
use crate::{
    erc4337::{
        faults::{self, Fault, Revert},
        v06::{UserOperation, UserOperationEvent, UserOperationRevertReason},
    },
    protocol::query::Log,
};

/// Gas units, as a bundler or paymaster proposes them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GasEstimate {
    pub pre_verification_gas: U256,
    pub verification_gas_limit: U256,
    pub call_gas_limit: U256,
}

impl GasEstimate {
    /// Reads the three fields; older bundlers say `verificationGas`.
    pub fn read(answer: &Answer<'_>) -> Result<Self, ChainError> {
        let verification = answer.optional("verificationGasLimit").or_else(|| answer.optional("verificationGas"));
        Ok(Self {
            pre_verification_gas: answer.field("preVerificationGas")?.number()?,
            verification_gas_limit: verification.map_or_else(|| answer.field("verificationGasLimit"), Ok)?.number()?,
            call_gas_limit: answer.field("callGasLimit")?.number()?,
        })
    }
}

/// An operation the bundler knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownOperation {
    pub operation: UserOperation,
    pub entry_point: Address,
    /// Both `None` while it waits.
    pub block_number: Option<u64>,
    pub transaction_hash: Option<B256>,
}

/// What the EntryPoint's event says about an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub sender: Address,
    pub nonce: U256,
    /// Zero when the account paid.
    pub paymaster: Address,
    /// Whether the inner call went through. Validation has, and its effects stay, either way.
    pub success: bool,
    /// Wei.
    pub gas_cost: U256,
    /// Gas units.
    pub gas_used: U256,
    /// Why the inner call reverted, when it did.
    pub revert: Option<Revert>,
}

/// An operation that is in a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Included {
    pub user_op_hash: B256,
    pub transaction_hash: B256,
    pub block_number: u64,
    pub block_hash: B256,
    pub outcome: Outcome,
    /// All logs of the transaction, other operations' included.
    pub logs: Vec<Log>,
}

/// What following an operation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// Not in a block when the time was up. It may still get there.
    Pending,
    Included(Box<Included>),
}

const ENTRY_POINTS: &str = "eth_supportedEntryPoints";

/// How often a waiting operation is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Rhythm {
    pub first: Duration,
    /// The pause grows by half each time, up to this.
    pub longest: Duration,
}

impl Default for Rhythm {
    fn default() -> Self {
        Self { first: Duration::from_millis(300), longest: Duration::from_secs(4) }
    }
}

/// A bundler's endpoint, for one EntryPoint on one chain. Cheap to clone; clones share what was checked.
#[derive(Debug, Clone)]
pub struct Bundler {
    endpoint: Endpoint,
    entry_point: Address,
    chain_id: u64,
    checked: Arc<OnceCell<()>>,
}

impl Bundler {
    pub fn new(endpoint: Endpoint, entry_point: Address, chain_id: u64) -> Self {
        Self { endpoint, entry_point, chain_id, checked: Arc::default() }
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn answer<'a>(&'a self, purpose: &'static str, value: &'a Value) -> Answer<'a> {
        Answer::new(self.endpoint.origin(), purpose, value)
    }

    /// Stops at a bundler of another chain or without our EntryPoint. Asked once in a process.
    pub async fn check(&self) -> Result<(), ChainError> {
        self.checked.get_or_try_init(|| self.check_anew()).await.copied()
    }

    async fn check_anew(&self) -> Result<(), ChainError> {
        let calls = [chain_id_call(), Call::read(ENTRY_POINTS, json!([]))];
        let Some(answers) = self.endpoint.together(&calls).await else {
            // Each question is a request here. A bundler without our EntryPoint refuses the estimate, and is asked why then.
            let theirs = self.endpoint.call(chain_id_call()).await?;
            return same_chain(self.endpoint.origin(), self.chain_id, self.answer("eth_chainId", &theirs).u64()?);
        };
        let mut answers = answers.into_iter();
        let mut next = || answers.next().unwrap_or(Ok(Value::Null));
        let theirs = self.answer("eth_chainId", &next()?).u64()?;
        same_chain(self.endpoint.origin(), self.chain_id, theirs)?;
        self.serves_ours(&next()?)
    }

    fn serves_ours(&self, supported: &Value) -> Result<(), ChainError> {
        for entry_point in self.answer(ENTRY_POINTS, supported).list(100)? {
            if entry_point.address()? == self.entry_point {
                return Ok(());
            }
        }
        Err(ChainError::EntryPointUnsupported {
            endpoint: self.endpoint.origin().into(),
            entry_point: self.entry_point,
        })
    }

    /// Asks what gas an operation needs. It should carry a full-length dummy signature and the real paymaster's address.
    pub async fn estimate(&self, operation: &UserOperation) -> Result<GasEstimate, ChainError> {
        const METHOD: &str = "eth_estimateUserOperationGas";
        match self.endpoint.call(Call::read(METHOD, json!([operation, self.entry_point]))).await {
            Ok(value) => GasEstimate::read(&self.answer(METHOD, &value)),
            Err(error) if matches!(error.fault(), Some(Fault::Other { .. } | Fault::NoSuchMethod)) => {
                // It may be the EntryPoint that it does not know; only where that is certain, it is said instead.
                match self.endpoint.call(Call::read(ENTRY_POINTS, json!([]))).await.map(|list| self.serves_ours(&list))
                {
                    Ok(Err(unsupported @ ChainError::EntryPointUnsupported { .. })) => Err(unsupported),
                    _ => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Sends a signed operation once and answers its hash, which must be the one we compute. If the answer is lost or
    /// says that it waits there already, the operation is looked for; an error after that leaves it open whether it was
    /// taken ([`ChainError::leaves_doubt`]).
    pub async fn send(&self, operation: &UserOperation) -> Result<B256, ChainError> {
        const METHOD: &str = "eth_sendUserOperation";
        let ours = operation.hash(self.entry_point, self.chain_id);
        let call = Call::once(METHOD, json!([operation, self.entry_point]));
        let answer = match self.endpoint.call(call).await {
            Ok(value) => self.answer(METHOD, &value).hash(),
            Err(error) => Err(error),
        };
        match answer {
            Ok(theirs) if theirs == ours => Ok(ours),
            Ok(theirs) => Err(ChainError::mismatch(self.endpoint.origin(), "the operation's hash", ours, theirs)),
            Err(error) => {
                let waiting = matches!(error.fault(), Some(Fault::AlreadyWaiting(_)));
                if (waiting || error.leaves_doubt()) && matches!(self.by_hash(ours).await, Ok(Some(_))) {
                    return Ok(ours);
                }
                Err(error)
            }
        }
    }

    /// The operation with this hash, if the bundler knows it; its own hash is recomputed.
    pub async fn by_hash(&self, hash: B256) -> Result<Option<KnownOperation>, ChainError> {
        const METHOD: &str = "eth_getUserOperationByHash";
        let Some(value) = self.unless_not_there(Call::read(METHOD, json!([hash]))).await? else { return Ok(None) };
        let Some(known) = maybe(&self.answer(METHOD, &value), read_known)? else { return Ok(None) };
        let theirs = known.operation.hash(known.entry_point, self.chain_id);
        if theirs != hash {
            return Err(ChainError::mismatch(self.endpoint.origin(), "the operation asked for", hash, theirs));
        }
        Ok(Some(known))
    }

    /// The operation's receipt once it is in a block. The facts are taken from the EntryPoint's event; a receipt
    /// without it, or that says otherwise, is refused.
    pub async fn receipt(&self, hash: B256) -> Result<Option<Included>, ChainError> {
        const METHOD: &str = "eth_getUserOperationReceipt";
        let Some(value) = self.unless_not_there(Call::read(METHOD, json!([hash]))).await? else { return Ok(None) };
        let answer = self.answer(METHOD, &value);
        maybe(&answer, |answer| self.read_receipt(hash, answer))
    }

    async fn unless_not_there(&self, call: Call) -> Result<Option<Value>, ChainError> {
        none_if_not_there(self.endpoint.call(call).await.map(Some))
    }

    fn read_receipt(&self, hash: B256, answer: &Answer<'_>) -> Result<Included, ChainError> {
        let disagrees =
            |what, ours: String, theirs: String| Err(ChainError::mismatch(self.endpoint.origin(), what, ours, theirs));
        let theirs = answer.field("userOpHash")?.hash()?;
        if theirs != hash {
            return disagrees("the operation of a receipt", hash.to_string(), theirs.to_string());
        }
        let receipt = answer.field("receipt")?;
        let mut logs = match receipt.optional("logs") {
            Some(logs) => Log::read_list(&logs)?,
            None => Vec::new(),
        };
        if logs.is_empty() {
            logs = answer.optional("logs").map_or_else(|| Ok(Vec::new()), |logs| Log::read_list(&logs))?;
        }
        let transaction_hash = receipt.field("transactionHash")?.hash()?;
        let Some(mut outcome) = outcome_in(&logs, self.entry_point, hash) else {
            let theirs = format!("transaction {transaction_hash} without that event");
            return disagrees("the receipt's logs", "the EntryPoint's UserOperationEvent".into(), theirs);
        };
        let success = answer.field("success")?.truth()?;
        if success != outcome.success {
            return disagrees("the operation's success", outcome.success.to_string(), success.to_string());
        }
        if !outcome.success && outcome.revert.is_none() {
            outcome.revert = answer.optional("reason").and_then(|reason| told_revert(reason.value()));
        }
        Ok(Included {
            user_op_hash: hash,
            transaction_hash,
            block_number: receipt.field("blockNumber")?.u64()?,
            block_hash: receipt.field("blockHash")?.hash()?,
            outcome,
            logs,
        })
    }

    /// Asks for the receipt until it is there or the time is up. Passing trouble of the endpoint is waited out, and so is an
    /// error in words that are not known: several bundlers have one for "not in a block yet". Safe to drop at any moment and to
    /// begin again.
    pub async fn follow(&self, hash: B256, patience: Duration, rhythm: Rhythm) -> Result<Followed, ChainError> {
        let started = Instant::now();
        let mut pause = rhythm.first;
        loop {
            match self.receipt(hash).await {
                Ok(Some(included)) => return Ok(Followed::Included(Box::new(included))),
                Ok(None) => {}
                Err(error) if error.is_passing() || is_unknown(&error) => {
                    if started.elapsed() + pause >= patience {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
            let left = patience.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Ok(Followed::Pending);
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = pause.mul_f32(1.5).min(rhythm.longest);
        }
    }
}

/// An error of which the words say nothing known - "the method does not exist" is known.
fn is_unknown(error: &ChainError) -> bool {
    match error {
        ChainError::Rpc(error) => !error.message.to_ascii_lowercase().contains("method"),
        _ => false,
    }
}

/// What the EntryPoint's event says about an operation, in the logs of its transaction - a bundler's or a node's.
pub fn outcome_in(logs: &[Log], entry_point: Address, user_op_hash: B256) -> Option<Outcome> {
    let of_operation = |signature: B256| {
        logs.iter().find(move |log| {
            log.address == entry_point
                && log.topics.first() == Some(&signature)
                && log.topics.get(1) == Some(&user_op_hash)
        })
    };
    let log = of_operation(UserOperationEvent::SIGNATURE_HASH)?;
    let event = UserOperationEvent::decode_raw_log(log.topics.iter().copied(), &log.data).ok()?;
    let revert = of_operation(UserOperationRevertReason::SIGNATURE_HASH).and_then(|log| {
        let event = UserOperationRevertReason::decode_raw_log(log.topics.iter().copied(), &log.data).ok()?;
        Some(Revert::decode(&event.revertReason))
    });
    Some(Outcome {
        sender: event.sender,
        nonce: event.nonce,
        paymaster: event.paymaster,
        success: event.success,
        gas_cost: event.actualGasCost,
        gas_used: event.actualGasUsed,
        revert,
    })
}

/// The `reason` of a receipt: revert data as hex with some bundlers, words with others.
fn told_revert(reason: &Value) -> Option<Revert> {
    if let Some(data) = faults::revert_data(reason) {
        return Some(Revert::decode(&data));
    }
    reason.as_str().filter(|text| !text.is_empty()).map(|text| Revert::Text(faults::printable(text, 200)))
}

fn read_known(answer: &Answer<'_>) -> Result<KnownOperation, ChainError> {
    let operation = answer.field("userOperation")?;
    let number = |name| operation.field(name)?.number();
    let bytes = |name| -> Result<Bytes, ChainError> { operation.field(name)?.bytes() };
    Ok(KnownOperation {
        entry_point: answer.field("entryPoint")?.address()?,
        block_number: answer.optional("blockNumber").map(|n| n.u64()).transpose()?,
        transaction_hash: answer.optional("transactionHash").map(|h| h.hash()).transpose()?,
        operation: UserOperation {
            sender: operation.field("sender")?.address()?,
            nonce: number("nonce")?,
            init_code: bytes("initCode")?,
            call_data: bytes("callData")?,
            call_gas_limit: number("callGasLimit")?,
            verification_gas_limit: number("verificationGasLimit")?,
            pre_verification_gas: number("preVerificationGas")?,
            max_fee_per_gas: number("maxFeePerGas")?,
            max_priority_fee_per_gas: number("maxPriorityFeePerGas")?,
            paymaster_and_data: bytes("paymasterAndData")?,
            signature: bytes("signature")?,
        },
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use alloy::{primitives::hex, sol_types::SolValue};
    use serde::Deserialize;

    use super::*;
    use crate::{
        erc4337::v06::ENTRY_POINT,
        wallet::rpc::{
            http::{Http, Patience},
            stub_server::{Canned, Reply, StubServer, canned, canned_alone, result, unknown_method},
        },
    };

    const CHAIN: u64 = 31337;

    #[derive(Deserialize)]
    struct Recorded {
        label: String,
        method: String,
        outcome: String,
        request: Value,
        response: Value,
    }

    fn recorded(method: &str) -> Vec<Recorded> {
        let all: Vec<Recorded> = serde_json::from_str(include_str!("../../../tests/rpc/catalog.json")).unwrap();
        all.into_iter().filter(|pair| pair.method == method && pair.outcome == "ok").collect()
    }

    fn bundler(answer: impl FnMut(&str, &Value) -> Canned + Send + 'static) -> Bundler {
        Bundler::new(canned(answer), ENTRY_POINT, CHAIN)
    }

    fn saying(value: Value) -> Bundler {
        bundler(move |_, _| Ok(value.clone()))
    }

    /// Recorded requests carry hex in any case and numbers as the clients wrote them.
    fn sent_operation(request: &Value) -> UserOperation {
        let value = json!({ "userOperation": request["params"][0], "entryPoint": ENTRY_POINT });
        read_known(&Answer::new("test", "a recorded request", &value)).unwrap().operation
    }

    fn operation() -> UserOperation {
        UserOperation {
            sender: Address::repeat_byte(0x11),
            nonce: U256::from(7),
            call_gas_limit: U256::from(100_000),
            signature: Bytes::from_static(&[1, 2, 3]),
            ..UserOperation::default()
        }
    }

    fn hash() -> B256 {
        operation().hash(ENTRY_POINT, CHAIN)
    }

    /// A receipt as a careful bundler gives it.
    fn receipt_of(hash: B256, success: bool) -> Value {
        let data = (U256::from(7), success, U256::from(900), U256::from(90)).abi_encode();
        let log = json!({
            "address": ENTRY_POINT, "data": Bytes::from(data), "blockNumber": "0x10", "logIndex": 3,
            "transactionHash": B256::repeat_byte(9),
            "topics": [UserOperationEvent::SIGNATURE_HASH, hash, Address::repeat_byte(0x11).into_word(), B256::ZERO],
        });
        json!({
            "userOpHash": hash, "success": success, "sender": Address::repeat_byte(0x11), "logs": [],
            "receipt": {
                "transactionHash": B256::repeat_byte(9), "blockNumber": "16", "blockHash": B256::repeat_byte(8),
                "logs": [log], "somethingNew": { "x": 1 },
            },
        })
    }

    #[tokio::test]
    async fn every_recorded_send_has_the_hash_that_we_compute() {
        let pairs = recorded("eth_sendUserOperation");
        assert_eq!(pairs.len(), 151);
        for pair in pairs {
            let operation = sent_operation(&pair.request);
            let sent = saying(pair.response["result"].clone()).send(&operation).await;
            assert!(sent.is_ok(), "{}: {}", pair.label, sent.unwrap_err());
        }
    }

    #[tokio::test]
    async fn every_recorded_estimate_is_read() {
        let pairs = recorded("eth_estimateUserOperationGas");
        assert_eq!(pairs.len(), 113);
        for pair in pairs {
            let gas = saying(pair.response["result"].clone()).estimate(&operation()).await.unwrap();
            let told = &pair.response["result"];
            assert_eq!(json!(gas.call_gas_limit), told["callGasLimit"]);
            assert_eq!(json!(gas.verification_gas_limit), told["verificationGasLimit"]);
            assert_eq!(json!(gas.pre_verification_gas), told["preVerificationGas"]);
        }
    }

    #[tokio::test]
    async fn every_recorded_receipt_is_read_and_a_failed_one_says_why() {
        let pairs = recorded("eth_getUserOperationReceipt");
        assert_eq!(pairs.len(), 161);
        let (mut included, mut failed) = (0, 0);
        for pair in pairs {
            let told = &pair.response["result"];
            let hash: B256 = serde_json::from_value(pair.request["params"][0].clone()).unwrap();
            let receipt = saying(told.clone()).receipt(hash).await.unwrap();
            let Some(receipt) = receipt else {
                assert!(told.is_null());
                continue;
            };
            included += 1;
            assert_eq!(json!(receipt.outcome.gas_cost), told["actualGasCost"], "{}", pair.label);
            assert_eq!(json!(receipt.outcome.gas_used), told["actualGasUsed"]);
            assert_eq!(json!(receipt.outcome.success), told["success"]);
            if let Some(paymaster) = told["paymaster"].as_str() {
                assert_eq!(receipt.outcome.paymaster, paymaster.parse::<Address>().unwrap());
            }
            if !receipt.outcome.success {
                failed += 1;
                let because_of_text = matches!(receipt.outcome.revert, Some(Revert::Text(_)));
                let because_of_code = matches!(receipt.outcome.revert, Some(Revert::Kernel(_)));
                assert!(because_of_text || because_of_code, "{}: {:?}", pair.label, receipt.outcome.revert);
            }
        }
        assert_eq!((included, failed), (161, 4));
    }

    #[tokio::test]
    async fn a_request_has_the_eleven_fields_in_hex_and_nothing_else() {
        let seen = Arc::new(Mutex::new(Value::Null));
        let noted = Arc::clone(&seen);
        let bundler = bundler(move |_, params| {
            *noted.lock().unwrap() = params.clone();
            Ok(json!(hash()))
        });
        bundler.send(&operation()).await.unwrap();
        let params = seen.lock().unwrap().clone();
        assert_eq!(params[1], json!(ENTRY_POINT));
        let fields = params[0].as_object().unwrap();
        let mut names: Vec<_> = fields.keys().map(String::as_str).collect();
        names.sort_unstable();
        let mut expected = UserOperation::FIELDS;
        expected.sort_unstable();
        assert_eq!(names, expected);
        assert!(fields.values().all(|value| value.as_str().is_some_and(|text| text.starts_with("0x"))));
    }

    #[tokio::test]
    async fn a_bundler_of_another_chain_or_entry_point_stops_everything() {
        let answering = |chain: &'static str, entry_point: Address| {
            bundler(move |method, _| match method {
                "eth_chainId" => Ok(json!(chain)),
                _ => Ok(json!(["0x0000000071727De22E5E9d8BAf0edAc6f37da032", entry_point])),
            })
        };
        answering("0x7a69", ENTRY_POINT).check().await.unwrap();
        let wrong = answering("0x1", ENTRY_POINT).check().await.unwrap_err();
        assert!(matches!(wrong, ChainError::WrongChain { ours: CHAIN, theirs: 1, .. }), "{wrong}");
        let unsupported = answering("31337", Address::ZERO).check().await.unwrap_err();
        assert!(matches!(unsupported, ChainError::EntryPointUnsupported { .. }), "{unsupported}");
    }

    #[tokio::test]
    async fn another_hash_than_ours_is_refused() {
        let error = saying(json!(B256::repeat_byte(1))).send(&operation()).await.unwrap_err();
        assert!(matches!(error, ChainError::Mismatch { .. }), "{error}");
        assert!(error.to_string().contains(&hash().to_string()), "{error}");
    }

    #[tokio::test]
    async fn an_operation_whose_answer_got_lost_is_looked_for_before_it_counts_as_failed() {
        for known in [true, false] {
            let server = StubServer::start(move |_, call| match call["method"].as_str() {
                Some("eth_sendUserOperation") => Reply::Http(504, "gateway".into()),
                _ if known => Reply::Json(result(
                    call,
                    json!({ "userOperation": operation(), "entryPoint": ENTRY_POINT, "transactionHash": null }),
                )),
                _ => Reply::Json(result(call, Value::Null)),
            });
            let endpoint = Endpoint::new(Http::with_patience(&server.url, Patience::default()).unwrap());
            let sent = Bundler::new(endpoint, ENTRY_POINT, CHAIN).send(&operation()).await;
            assert_eq!(sent.is_ok(), known);
            assert!(sent.map_or_else(|error| error.leaves_doubt(), |sent| sent == hash()));
            let sends = server.seen().iter().filter(|call| call["method"] == "eth_sendUserOperation").count();
            assert_eq!(sends, 1);
        }
    }

    #[tokio::test]
    async fn an_operation_that_waits_there_already_counts_as_sent() {
        let bundler = bundler(|method, _| match method {
            "eth_sendUserOperation" => Err((-32602, "Already known".into())),
            _ => Ok(json!({ "userOperation": operation(), "entryPoint": ENTRY_POINT })),
        });
        assert_eq!(bundler.send(&operation()).await.unwrap(), hash());
    }

    #[tokio::test]
    async fn an_operation_found_by_hash_is_hashed_again() {
        let mut other = operation();
        other.nonce = U256::from(8);
        let found = json!({ "userOperation": other, "entryPoint": ENTRY_POINT, "blockNumber": null });
        let error = saying(found).by_hash(hash()).await.unwrap_err();
        assert!(matches!(error, ChainError::Mismatch { .. }), "{error}");
        assert_eq!(saying(Value::Null).by_hash(hash()).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_receipt_counts_only_with_the_entry_points_event() {
        let included = saying(receipt_of(hash(), true)).receipt(hash()).await.unwrap().unwrap();
        assert_eq!((included.block_number, included.outcome.gas_cost), (16, U256::from(900)));

        let refused = |change: fn(&mut Value)| async move {
            let mut receipt = receipt_of(hash(), false);
            change(&mut receipt);
            saying(receipt).receipt(hash()).await.unwrap_err()
        };
        for error in [
            refused(|r| r["receipt"]["logs"] = json!([])).await,
            refused(|r| r["receipt"]["logs"][0]["address"] = json!(Address::ZERO)).await,
            refused(|r| r["receipt"]["logs"][0]["topics"][1] = json!(B256::ZERO)).await,
            refused(|r| r["receipt"]["logs"][0]["data"] = json!("0x")).await,
            refused(|r| r["success"] = json!(true)).await,
            refused(|r| r["userOpHash"] = json!(B256::ZERO)).await,
        ] {
            assert!(matches!(error, ChainError::Mismatch { .. }), "{error}");
        }
        let error = refused(|r| r["receipt"]["logs"][0]["topics"] = json!([1, 2, 3, 4, 5])).await;
        assert!(matches!(error, ChainError::Malformed { .. }), "{error}");
    }

    /// Every place in a JSON value, as pointers.
    fn places(value: &Value, at: &str, found: &mut Vec<String>) {
        found.push(at.to_owned());
        match value {
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(i, item)| places(item, &format!("{at}/{i}"), found));
            }
            Value::Object(fields) => {
                fields.iter().for_each(|(name, item)| places(item, &format!("{at}/{name}"), found))
            }
            _ => {}
        }
    }

    #[tokio::test]
    async fn no_single_lie_turns_a_failed_operation_into_a_success() {
        let failed = recorded("eth_getUserOperationReceipt")
            .into_iter()
            .find(|pair| pair.response["result"]["success"] == json!(false))
            .unwrap();
        let hash: B256 = serde_json::from_value(failed.request["params"][0].clone()).unwrap();
        let receipt = &failed.response["result"];
        let mut all = Vec::new();
        places(receipt, "", &mut all);
        assert!(all.len() > 50);
        let odd = [
            json!(null),
            json!(true),
            json!(1),
            json!(-1),
            json!("0x"),
            json!("0x1"),
            json!([]),
            json!({}),
            json!("é"),
        ];
        for place in all {
            for value in &odd {
                let mut changed = receipt.clone();
                *changed.pointer_mut(&place).unwrap() = value.clone();
                if let Ok(Some(read)) = saying(changed).receipt(hash).await {
                    assert!(!read.outcome.success, "{place} = {value}");
                }
            }
        }
    }

    #[tokio::test]
    async fn without_the_revert_event_the_receipts_reason_is_told() {
        let mut receipt = receipt_of(hash(), false);
        receipt["reason"] = json!(Bytes::from(hex!("7046c88d")));
        let included = saying(receipt).receipt(hash()).await.unwrap().unwrap();
        assert!(matches!(included.outcome.revert, Some(Revert::Kernel(_))));
    }

    fn quick() -> Rhythm {
        Rhythm { first: Duration::from_millis(1), longest: Duration::from_millis(2) }
    }

    #[tokio::test]
    async fn following_waits_out_trouble_and_ends_with_the_receipt() {
        let mut asked = 0;
        let bundler = bundler(move |_, _| {
            asked += 1;
            match asked {
                1 | 3 => Ok(Value::Null),
                2 => Err((429, "slow down".into())),
                _ => Ok(receipt_of(hash(), true)),
            }
        });
        let followed = bundler.follow(hash(), Duration::from_secs(5), quick()).await.unwrap();
        assert!(matches!(followed, Followed::Included(included) if included.outcome.success));
    }

    #[tokio::test]
    async fn case_19_an_operation_is_followed_whatever_the_words_for_not_yet_are() {
        for (code, words) in [
            (-32602, "User operation receipt not found"),
            (-32601, "Missing/invalid userOpHash"),
            (-32000, "noch nicht da"),
        ] {
            let mut asked = 0;
            let bundler = bundler(move |_, _| {
                asked += 1;
                if asked < 4 { Err((code, words.into())) } else { Ok(receipt_of(hash(), true)) }
            });
            let followed = bundler.follow(hash(), Duration::from_secs(5), quick()).await;
            assert!(matches!(followed, Ok(Followed::Included(_))), "{words}: {followed:?}");
        }
        let never = bundler(|_, _| Err((-32602, "User operation receipt not found".into())));
        let pending = never.follow(hash(), Duration::from_millis(10), quick()).await;
        assert_eq!(pending.unwrap(), Followed::Pending);
    }

    #[tokio::test]
    async fn a_bundler_is_checked_once() {
        let asked = Arc::new(Mutex::new(0));
        let noted = Arc::clone(&asked);
        let bundler = bundler(move |method, _| {
            *noted.lock().unwrap() += 1;
            Ok(if method == "eth_chainId" { json!("0x7a69") } else { json!([ENTRY_POINT]) })
        });
        bundler.check().await.unwrap();
        bundler.clone().check().await.unwrap();
        assert_eq!(*asked.lock().unwrap(), 2);
    }

    #[tokio::test]
    async fn without_batches_the_entry_point_is_asked_about_when_an_estimate_is_refused() {
        let answer = |method: &str, _: &Value| match method {
            "eth_chainId" => Ok(json!("0x7a69")),
            "eth_supportedEntryPoints" => Ok(json!([Address::ZERO])),
            _ => Err((-32602, "entryPoint is not supported".into())),
        };
        let bundler = Bundler::new(canned_alone(answer), ENTRY_POINT, CHAIN);
        bundler.check().await.unwrap();
        let error = bundler.estimate(&operation()).await.unwrap_err();
        assert!(matches!(error, ChainError::EntryPointUnsupported { .. }), "{error}");
    }

    #[tokio::test]
    async fn following_ends_when_its_time_is_up_or_the_bundler_lies() {
        let pending = saying(Value::Null).follow(hash(), Duration::from_millis(10), quick()).await;
        assert_eq!(pending.unwrap(), Followed::Pending);
        let lie = saying(receipt_of(B256::ZERO, true)).follow(hash(), Duration::from_secs(5), quick()).await;
        assert!(matches!(lie, Err(ChainError::Mismatch { .. })));
        let unknown = bundler(|_, _| unknown_method()).follow(hash(), Duration::from_secs(5), quick()).await;
        assert!(matches!(unknown, Err(ChainError::Rpc(_))));
    }
}

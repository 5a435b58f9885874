//! The lies: each forges one kind of answer of a node or bundler, and leaves every other answer true.

use alloy::{
    primitives::{Address, B256, Bytes, FixedBytes, U256, hex},
    sol,
    sol_types::{Revert, SolCall, SolError, SolValue},
};
use keyleash::{
    erc4337::v06::ENTRY_POINT,
    protocol::kernel_v2::{
        account::IMPLEMENTATION_SLOT,
        approval::EnableData,
        generation::{ECDSA_VALIDATOR, Generation},
    },
};
use serde_json::{Value, json};

use crate::support::{
    chain::{ETHER, balanceOfCall, getNonceCall, noncesCall, sessionDataCall},
    liar::{Answer, is_call_of, returns},
    rpc::RpcError,
};

sol! {
    function getExecution(bytes4 sel);
    function getDisabledMode();
    function getDefaultValidator();
    function ecdsaValidatorStorage(address account);
}

/// Nobody's address.
const STRANGER: Address = Address::repeat_byte(0xee);
/// 6,000 gwei: what the attack of K8 offered.
const ABSURD_FEE: u128 = 6_000_000_000_000;

/// What a forger knows about the account that it lies about.
pub struct Known {
    pub account: Address,
    /// Approval of the key that was never used.
    pub pending: EnableData,
    /// A block before any key was enabled.
    pub early_block: Value,
}

/// A question to the node or the bundler, with its true answer.
pub struct Ask<'a> {
    pub method: &'a str,
    pub params: &'a Value,
    pub truth: &'a Answer,
    pub known: &'a Known,
}

pub struct Lie {
    pub name: &'static str,
    /// What a lie of this kind is called in the lists.
    pub row: &'static str,
    /// Another answer of the same node contradicts it: it has to be caught even when it is always told.
    pub contradicted: bool,
    /// The false answer; `None` where the question is another one. The memory lasts for one run of the binary.
    pub forge: fn(&Ask<'_>, &mut Option<Value>) -> Option<Answer>,
}

impl Ask<'_> {
    fn is_view<C: SolCall>(&self, to: Address) -> bool {
        is_call_of(self.method, self.params, C::SELECTOR) && self.params[0]["to"].as_str() == Some(&lower(to))
            || is_call_of(self.method, self.params, C::SELECTOR) && self.goes_to(to)
    }

    fn goes_to(&self, to: Address) -> bool {
        self.params[0]["to"].as_str().and_then(|text| text.parse::<Address>().ok()) == Some(to)
    }

    fn is_about(&self, method: &str, address: Address) -> bool {
        self.method == method && self.params[0].as_str().and_then(|text| text.parse::<Address>().ok()) == Some(address)
    }

    /// The second argument word on, as bytes; the selector is left out.
    fn arguments(&self) -> Bytes {
        let data = self.params[0]["input"].as_str().or_else(|| self.params[0]["data"].as_str()).unwrap_or_default();
        let bytes: Bytes = data.parse().unwrap_or_default();
        bytes.slice(bytes.len().min(4)..)
    }

    /// The true answer with a field changed.
    fn with(&self, field: &str, value: Value) -> Option<Answer> {
        let mut answer = self.truth.as_ref().ok()?.clone();
        answer.as_object_mut()?.insert(field.to_owned(), value);
        Some(Ok(answer))
    }

    /// A number of the true answer's field, moved.
    fn moved(&self, field: &str, by: i64) -> Option<Answer> {
        let text = self.truth.as_ref().ok()?.get(field)?.as_str()?;
        let number = u64::from_str_radix(text.trim_start_matches("0x"), 16).ok()?;
        self.with(field, json!(format!("0x{:x}", number.checked_add_signed(by)?)))
    }

    fn true_bytes(&self) -> Bytes {
        self.truth.as_ref().ok().and_then(|v| v.as_str()?.parse().ok()).unwrap_or_default()
    }
}

fn lower(address: Address) -> String {
    hex::encode_prefixed(address)
}

fn nonces(ask: &Ask<'_>, last: u128, invalid: u128) -> Option<Answer> {
    ask.is_view::<noncesCall>(Generation::G2.address()).then(|| returns((last, invalid).abi_encode()))
}

/// What `sessionData` returns for a key that holds this; all zero for none.
fn session(held: Option<&EnableData>) -> Answer {
    let root = held.map_or(B256::ZERO, |h| h.merkle_root);
    let (after, until) = held.map_or((0, 0), |h| (h.valid_after, h.valid_until));
    let (paymaster, nonce) = held.map_or((Address::ZERO, 0), |h| (h.paymaster, h.nonce));
    returns((root, U256::from(after), U256::from(until), paymaster, U256::from(nonce)).abi_encode())
}

fn asks_for_session(ask: &Ask<'_>) -> bool {
    ask.is_view::<sessionDataCall>(Generation::G2.address())
}

/// The true session data with one of its five words changed; `None` for a key that is not enabled.
fn session_with(ask: &Ask<'_>, word: usize, value: B256) -> Option<Answer> {
    let mut bytes = asks_for_session(ask).then(|| ask.true_bytes().to_vec())?;
    if bytes.iter().all(|b| *b == 0) {
        return None;
    }
    bytes.get_mut(word * 32..(word + 1) * 32)?.copy_from_slice(value.as_slice());
    Some(returns(bytes))
}

fn view_of_account<C: SolCall>(ask: &Ask<'_>, value: impl SolValue) -> Option<Answer> {
    ask.is_view::<C>(ask.known.account).then(|| returns(value.abi_encode()))
}

fn asks_for_a_block(ask: &Ask<'_>) -> bool {
    ask.method == "eth_getBlockByNumber"
}

fn asks_for_the_latest_block(ask: &Ask<'_>) -> bool {
    asks_for_a_block(ask) && ask.params[0] == "latest"
}

/// An attempt of the kind that proofs replay: an operation's validation, as the EntryPoint or the account asks for it.
fn is_replay(ask: &Ask<'_>) -> bool {
    ask.method == "eth_call" && ask.params[0]["from"].is_string()
}

fn receipt(ask: &Ask<'_>) -> bool {
    ask.method == "eth_getTransactionReceipt" && ask.truth.as_ref().is_ok_and(Value::is_object)
}

fn op_receipt(ask: &Ask<'_>) -> bool {
    ask.method == "eth_getUserOperationReceipt" && ask.truth.as_ref().is_ok_and(Value::is_object)
}

/// A field of the transaction's receipt inside the bundler's.
fn inner_receipt(ask: &Ask<'_>, field: &str, value: Value) -> Option<Answer> {
    let mut answer = op_receipt(ask).then(|| ask.truth.as_ref().ok().cloned())??;
    *answer.get_mut("receipt")?.get_mut(field)? = value;
    Some(Ok(answer))
}

fn fee_history(ask: &Ask<'_>, base: Option<u128>, reward: Option<u128>) -> Option<Answer> {
    let mut answer = (ask.method == "eth_feeHistory").then(|| ask.truth.as_ref().ok().cloned())??;
    if let Some(base) = base {
        for fee in answer.get_mut("baseFeePerGas")?.as_array_mut()? {
            *fee = json!(U256::from(base));
        }
    }
    if let Some(reward) = reward {
        for row in answer.get_mut("reward")?.as_array_mut()? {
            for fee in row.as_array_mut()? {
                *fee = json!(U256::from(reward));
            }
        }
    }
    Some(Ok(answer))
}

fn entry_point_nonce(ask: &Ask<'_>, lie: impl FnOnce(U256) -> U256) -> Option<Answer> {
    ask.is_view::<getNonceCall>(ENTRY_POINT)
        .then(|| returns(lie(U256::abi_decode(&ask.true_bytes()).unwrap_or_default()).abi_encode()))
}

fn code(ask: &Ask<'_>, of: Address, code: &str) -> Option<Answer> {
    ask.is_about("eth_getCode", of).then(|| Ok(json!(code)))
}

const fn lie(
    name: &'static str,
    row: &'static str,
    contradicted: bool,
    forge: fn(&Ask<'_>, &mut Option<Value>) -> Option<Answer>,
) -> Lie {
    Lie { name, row, contradicted, forge }
}

/// What a node or bundler contradicts itself in, and what only another node could contradict.
const CONTRADICTED: bool = true;
const CONSISTENT: bool = false;

pub const LIES: &[Lie] = &[
    // What the validator holds. Replays of the approvals tell the truth.
    lie("nonces 50, 50", "K4", CONTRADICTED, |ask, _| nonces(ask, 50, 50)),
    lie("nonces 0, 0", "K4", CONTRADICTED, |ask, _| nonces(ask, 0, 0)),
    lie("nonces used up", "K4", CONTRADICTED, |ask, _| nonces(ask, u128::MAX, u128::MAX)),
    lie("last nonce 1 more", "K4", CONTRADICTED, |ask, _| nonces(ask, 2, 0)),
    lie("no session data", "K4", CONTRADICTED, |ask, _| asks_for_session(ask).then(|| session(None))),
    lie("another scope held", "K4", CONTRADICTED, |ask, _| session_with(ask, 0, B256::repeat_byte(7))),
    lie("held, expired", "K4", CONTRADICTED, |ask, _| session_with(ask, 2, U256::ONE.into())),
    lie("a pending key held", "K4", CONTRADICTED, |ask, _| {
        let pending = &ask.known.pending;
        let wanted = asks_for_session(ask) && ask.arguments().get(12..32) == Some(pending.session_key.as_slice());
        wanted.then(|| session(Some(pending)))
    }),
    // What there is.
    lie("account without code", "P6.4", CONTRADICTED, |ask, _| code(ask, ask.known.account, "0x")),
    lie("validator without code", "P6.4", CONTRADICTED, |ask, _| code(ask, Generation::G2.address(), "0x")),
    lie("validator with other code", "P6.4", CONSISTENT, |ask, _| code(ask, Generation::G2.address(), "0x6000")),
    lie("another implementation", "P6.4", CONTRADICTED, |ask, _| {
        let asked = ask.is_about("eth_getStorageAt", ask.known.account)
            && ask.params[1].as_str().and_then(|slot| slot.parse().ok()) == Some(B256::from(IMPLEMENTATION_SLOT));
        asked.then(|| Ok(json!(STRANGER.into_word())))
    }),
    // Who decides over it.
    lie("no route", "K2", CONTRADICTED, |ask, _| {
        view_of_account::<getExecutionCall>(ask, (U256::ZERO, U256::ZERO, Address::ZERO, Address::ZERO))
    }),
    lie("a foreign route", "K2", CONTRADICTED, |ask, _| {
        view_of_account::<getExecutionCall>(ask, (U256::ZERO, U256::ZERO, Address::ZERO, STRANGER))
    }),
    lie("a foreign default validator", "K1", CONSISTENT, |ask, _| {
        view_of_account::<getDefaultValidatorCall>(ask, STRANGER)
    }),
    lie("the usual default validator", "K1", CONSISTENT, |ask, _| {
        view_of_account::<getDefaultValidatorCall>(ask, ECDSA_VALIDATOR)
    }),
    lie("another owner", "K1", CONTRADICTED, |ask, _| {
        ask.is_view::<ecdsaValidatorStorageCall>(ECDSA_VALIDATOR).then(|| returns(STRANGER.abi_encode()))
    }),
    lie("paused", "K4", CONTRADICTED, |ask, _| {
        view_of_account::<getDisabledModeCall>(ask, FixedBytes::<4>::repeat_byte(0xff))
    }),
    lie("not paused", "K4", CONTRADICTED, |ask, _| view_of_account::<getDisabledModeCall>(ask, FixedBytes::<4>::ZERO)),
    // Money.
    lie("tips of 6000 gwei", "K8", CONTRADICTED, |ask, _| fee_history(ask, Some(1), Some(ABSURD_FEE))),
    lie("base fees of 6000 gwei", "K8", CONTRADICTED, |ask, _| fee_history(ask, Some(ABSURD_FEE), None)),
    lie("gas price of 6000 gwei", "K8", CONTRADICTED, |ask, _| {
        matches!(ask.method, "eth_gasPrice" | "eth_maxPriorityFeePerGas").then(|| Ok(json!(U256::from(ABSURD_FEE))))
    }),
    lie("block base fee of 6000 gwei", "K8", CONTRADICTED, |ask, _| {
        asks_for_a_block(ask).then(|| ask.with("baseFeePerGas", json!(U256::from(ABSURD_FEE))))?
    }),
    lie("bundler's fees of 6000 gwei", "K8", CONTRADICTED, |ask, _| {
        let price = json!({ "maxFeePerGas": U256::from(ABSURD_FEE), "maxPriorityFeePerGas": U256::from(ABSURD_FEE) });
        let tiers = json!({ "slow": price, "standard": price, "fast": price });
        (ask.method == "pimlico_getUserOperationGasPrice").then_some(Ok(tiers))
    }),
    lie("estimated gas of 21000", "P6.5", CONTRADICTED, |ask, _| {
        (ask.method == "eth_estimateGas").then(|| Ok(json!("0x5208")))
    }),
    lie("estimated gas of 29 million", "P6.5", CONSISTENT, |ask, _| {
        (ask.method == "eth_estimateGas").then(|| Ok(json!("0x1ba8140")))
    }),
    lie("a million ether", "P6.5", CONSISTENT, |ask, _| {
        (ask.method == "eth_getBalance").then(|| Ok(json!(U256::from(ETHER) * U256::from(1_000_000))))
    }),
    lie("no ether", "P6.5", CONTRADICTED, |ask, _| (ask.method == "eth_getBalance").then(|| Ok(json!("0x0")))),
    lie("a large deposit", "P6.5", CONSISTENT, |ask, _| {
        ask.is_view::<balanceOfCall>(ENTRY_POINT).then(|| returns((U256::from(ETHER) * U256::from(9)).abi_encode()))
    }),
    // Nonces of operations and transactions.
    lie("a nonce of another key", "K10", CONTRADICTED, |ask, _| {
        entry_point_nonce(ask, |nonce| nonce ^ (U256::ONE << 200))
    }),
    lie("a nonce 9 further", "K10", CONTRADICTED, |ask, _| entry_point_nonce(ask, |nonce| nonce + U256::from(9))),
    lie("the largest nonce", "K10", CONTRADICTED, |ask, _| entry_point_nonce(ask, |_| U256::MAX)),
    lie("the owner's nonce 5 further", "K10", CONTRADICTED, |ask, _| {
        let asked = ask.method == "eth_getTransactionCount";
        let truth = ask.truth.as_ref().ok()?.as_str()?.parse::<U256>().ok()?;
        asked.then(|| Ok(json!(truth + U256::from(5))))
    }),
    // Blocks.
    lie("blocks that stand still", "K5", CONTRADICTED, |ask, memory| {
        let truth = asks_for_the_latest_block(ask).then(|| ask.truth.as_ref().ok())??;
        let first = memory.get_or_insert_with(|| truth.clone());
        (first["number"] != truth["number"]).then(|| Ok(first.clone()))
    }),
    lie("an earlier block as the latest", "P6.4", CONSISTENT, |ask, _| {
        asks_for_the_latest_block(ask).then(|| Ok(ask.known.early_block.clone()))
    }),
    lie("a block of another number", "K23", CONTRADICTED, |ask, _| {
        (asks_for_a_block(ask) && ask.params[0] != "latest").then(|| ask.moved("number", 1))?
    }),
    lie("the latest block 1000 ahead", "P6.4", CONTRADICTED, |ask, _| {
        asks_for_the_latest_block(ask).then(|| ask.moved("number", 1000))?
    }),
    lie("blocks of yesterday", "P6.6", CONTRADICTED, |ask, _| {
        asks_for_a_block(ask).then(|| ask.moved("timestamp", -86_400))?
    }),
    // What became of what was sent.
    lie("receipt: failed", "K5", CONTRADICTED, |ask, _| receipt(ask).then(|| ask.with("status", json!("0x0")))?),
    lie("receipt: another transaction's", "K5", CONTRADICTED, |ask, _| {
        receipt(ask).then(|| ask.with("transactionHash", json!(B256::repeat_byte(0xab))))?
    }),
    lie("receipt: a later block", "K5", CONTRADICTED, |ask, _| receipt(ask).then(|| ask.moved("blockNumber", 1000))?),
    lie("receipt: block 1", "K5", CONTRADICTED, |ask, _| {
        receipt(ask).then(|| ask.with("blockNumber", json!("0x1")))?
    }),
    lie("receipt: without logs", "K5", CONTRADICTED, |ask, _| receipt(ask).then(|| ask.with("logs", json!([])))?),
    lie("operation's receipt: failed", "K11", CONTRADICTED, |ask, _| {
        op_receipt(ask).then(|| ask.with("success", json!(false)))?
    }),
    lie("operation's receipt: another transaction", "K11", CONTRADICTED, |ask, _| {
        inner_receipt(ask, "transactionHash", json!(B256::repeat_byte(0xab)))
    }),
    lie("operation's receipt: a later block", "K5", CONTRADICTED, |ask, _| {
        inner_receipt(ask, "blockNumber", json!("0xffffff"))
    }),
    lie("operation's receipt: another cost", "K11", CONTRADICTED, |ask, _| {
        op_receipt(ask).then(|| ask.with("actualGasCost", json!("0x1")))?
    }),
    lie("logs: none", "K2", CONTRADICTED, |ask, _| {
        let some = ask.truth.as_ref().ok()?.as_array().is_some_and(|logs| !logs.is_empty());
        (ask.method == "eth_getLogs" && some).then(|| Ok(json!([])))
    }),
    lie("a transaction with other input", "K2", CONTRADICTED, |ask, _| {
        (ask.method == "eth_getTransactionByHash").then(|| ask.with("input", json!("0x1fad948c")))?
    }),
    // The attempts that prove.
    lie("attempts: not enabled", "K4", CONTRADICTED, |ask, _| {
        let reason = "SessionKeyValidator: session key not enabled";
        let data = hex::encode_prefixed(Revert::from(reason).abi_encode());
        let revert = RpcError { code: 3, message: format!("execution reverted: {reason}"), data: json!(data) };
        is_replay(ask).then_some(Err(revert))
    }),
    lie("attempts: passed", "K4", CONTRADICTED, |ask, _| is_replay(ask).then(|| returns(U256::ZERO.abi_encode()))),
    lie("attempts: nothing", "K4", CONTRADICTED, |ask, _| is_replay(ask).then(|| Ok(json!("0x")))),
];

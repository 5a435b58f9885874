//! The bundler's half of the JSON-RPC: validates as a live one does, with its codes and texts (docs/kernel-v2.md#what-an-answer-means), and includes
//! what it accepts at once, alone in a bundle.

use alloy::{
    primitives::{Address, B256, Bytes, U256, address},
    sol,
    sol_types::{Revert, SolCall, SolError, SolEvent, SolValue},
};
use serde_json::{Value, json};

use super::{
    evm::{BASE_FEE, BLOCK_GAS_LIMIT, Chain, Outcome, Request, Transaction},
    node::{self, PRIORITY_FEE, log_jsons, quantity, receipt_json},
    rpc::{Params, RpcFault, RpcResult},
};
pub(super) use crate::erc4337::v06::ENTRY_POINT;
use crate::erc4337::{
    faults::code,
    v06::{
        SolUserOperation, UserOperation, UserOperationEvent, UserOperationRevertReason, handleOpsCall,
        simulateValidationCall, validateUserOpCall,
    },
};

sol! {
    struct ReturnInfo {
        uint256 preOpGas; uint256 prefund; bool sigFailed; uint48 validAfter; uint48 validUntil; bytes paymasterContext;
    }
    struct StakeInfo { uint256 stake; uint256 unstakeDelaySec; }

    error FailedOp(uint256 opIndex, string reason);
    error ValidationResult(ReturnInfo returnInfo, StakeInfo sender, StakeInfo factory, StakeInfo paymaster);
}

/// Who sends the bundles and keeps the fees: the low 20 bytes of keccak256("keyleash sandbox: Bundler").
pub(super) const BUNDLER: Address = address!("84325d6312535a3ed3238069dfd8d63484c76eb2");

/// Seconds that must be left of an operation's window.
const LEAST_TIME: u64 = 5;

/// Gas units that one operation may ask for: it has to fit into a block.
const MOST_GAS: u64 = BLOCK_GAS_LIMIT - 5_000_000;

/// Gas units for each limit while estimating.
const AMPLE_GAS: u64 = 10_000_000;

/// Gas units that an operation costs the bundler beside its call data: a transaction, and what the EntryPoint does before
/// it measures and after; and for each word of it, which the EntryPoint copies several times.
const OVERHEAD: u64 = 21_000 + 24_000;
const WORD_OVERHEAD: u64 = 120;

// Reading

/// The operation and the EntryPoint of a call. Exactly the eleven fields of v0.6, as live bundlers have it.
pub(super) fn operation(params: &Params<'_>) -> Result<UserOperation, RpcFault> {
    let fields = params.0.get(0).and_then(Value::as_object);
    if let Some(unknown) =
        fields.and_then(|fields| fields.keys().find(|key| !UserOperation::FIELDS.contains(&key.as_str())))
    {
        return Err(RpcFault::invalid(format!("the UserOperation has a field that v0.6 does not know: {unknown}")));
    }
    let entry_point: Address = params.read(1, "EntryPoint")?;
    if entry_point != ENTRY_POINT {
        return Err(RpcFault::invalid(format!("EntryPoint {entry_point} is not supported, only {ENTRY_POINT}")));
    }
    params.read(0, "UserOperation")
}

// Validating

/// What the EntryPoint refused, in the words and with the code of a live bundler.
fn refusal(reason: &str) -> RpcFault {
    let code = match reason.get(..4) {
        Some("AA31") => code::PAYMASTER_DEPOSIT,
        Some(code) if code.starts_with("AA3") => code::REJECTED_BY_PAYMASTER,
        _ => code::REJECTED_BY_ENTRY_POINT,
    };
    RpcFault::new(code, format!("UserOperation reverted during simulation with reason: {reason}"))
}

/// Why the EntryPoint reverted: `FailedOp`, a plain text, or nothing that can be read.
fn entry_point_refusal(output: &Bytes) -> RpcFault {
    if let Ok(failed) = FailedOp::abi_decode(output) {
        return refusal(&failed.reason);
    }
    match Revert::abi_decode(output) {
        Ok(revert) => refusal(&revert.reason),
        Err(_) => refusal(&output.to_string()),
    }
}

/// The EntryPoint's own simulation.
fn simulate(chain: &Chain, op: &UserOperation) -> Result<ReturnInfo, RpcFault> {
    let call = simulateValidationCall { userOp: op.into() }.abi_encode();
    let outcome = chain.call(&Request::to(ENTRY_POINT, call))?;
    match ValidationResult::abi_decode(&outcome.output) {
        Ok(result) => Ok(result.returnInfo),
        Err(_) => Err(entry_point_refusal(&outcome.output)),
    }
}

fn check_limits(op: &UserOperation) -> Result<(), RpcFault> {
    let least = U256::from(BASE_FEE);
    if op.max_fee_per_gas < least {
        let text = format!("maxFeePerGas must be at least {least} (current maxFeePerGas: {})", op.max_fee_per_gas);
        return Err(RpcFault::invalid(text));
    }
    if op.max_fee_per_gas < op.max_priority_fee_per_gas {
        return Err(RpcFault::invalid("maxPriorityFeePerGas must not be above maxFeePerGas"));
    }
    if op.max_gas() > U256::from(MOST_GAS) {
        return Err(RpcFault::invalid(format!("the gas limits together must not be above {MOST_GAS}")));
    }
    Ok(())
}

fn check_validation(chain: &Chain, validation: &ReturnInfo) -> Result<(), RpcFault> {
    if validation.sigFailed {
        return Err(RpcFault::new(code::SIGNATURE, "Invalid UserOperation signature or paymaster signature"));
    }
    let now = chain.time();
    if validation.validAfter.to::<u64>() > now {
        return Err(RpcFault::new(code::OUT_OF_TIME, "User operation is not valid yet"));
    }
    if validation.validUntil.to::<u64>() < now.saturating_add(LEAST_TIME) {
        return Err(RpcFault::new(code::OUT_OF_TIME, "expires too soon"));
    }
    Ok(())
}

// Sending

pub(super) fn send(chain: &mut Chain, params: &Params<'_>) -> RpcResult {
    let op = operation(params)?;
    check_limits(&op)?;
    check_validation(chain, &simulate(chain, &op)?)?;
    let bundle = handleOpsCall { ops: vec![(&op).into()], beneficiary: BUNDLER }.abi_encode();
    let request = Request::to(ENTRY_POINT, bundle).from(BUNDLER);
    // An operation that would sink the bundle is refused; nothing is mined of it.
    let dry = chain.call(&request)?;
    if !dry.success {
        return Err(entry_point_refusal(&dry.output));
    }
    chain.execute(&request)?;
    Ok(json!(op.hash(ENTRY_POINT, chain.chain_id())))
}

pub(super) fn gas_price() -> Value {
    let tier = json!({
        "maxFeePerGas": quantity(BASE_FEE + PRIORITY_FEE),
        "maxPriorityFeePerGas": quantity(PRIORITY_FEE),
    });
    json!({ "slow": tier, "standard": tier, "fast": tier })
}

// Estimating

/// Validates with ample gas and borrowed money, then makes the call on what validation left behind. Signature and time
/// are not held against the operation; a call that reverts is.
pub(super) fn estimate(chain: &Chain, params: &Params<'_>) -> RpcResult {
    let op = operation(params)?;
    // Who pays for itself has to send money to the EntryPoint, which costs gas: the price may not be too low for that.
    let selfpaid = op.paymaster_and_data.is_empty();
    let fee = if selfpaid { op.max_fee_per_gas.clamp(U256::from(BASE_FEE), U256::from(u64::MAX)) } else { U256::ONE };
    let ample = UserOperation {
        call_gas_limit: U256::from(AMPLE_GAS),
        verification_gas_limit: U256::from(AMPLE_GAS),
        pre_verification_gas: U256::ZERO,
        max_fee_per_gas: fee,
        max_priority_fee_per_gas: fee,
        ..op.clone()
    };
    let mut scratch = chain.clone();
    scratch.set_balance(op.sender, scratch.balance(op.sender).saturating_add(ample.max_cost()));
    let verification = simulate(&scratch, &ample)?.preOpGas;

    let call = run_call(&mut scratch, &ample)?;
    if !call.success {
        let message = format!("UserOperation reverted during simulation with reason: {}", call.output);
        return Err(RpcFault::new(code::EXECUTION_REVERTED, message));
    }
    // What is refunded at the end, at most a fifth, has to be there first.
    let call_gas = U256::from(call.gas_used.saturating_add(call.gas_used / 4));
    let verification = verification + verification / U256::from(10);
    Ok(json!({
        "preVerificationGas": quantity(pre_verification_gas(&op)),
        "verificationGas": verification,
        "verificationGasLimit": verification,
        "callGasLimit": call_gas,
    }))
}

/// The account's call as the EntryPoint makes it, after deployment and validation have left their traces in `scratch`.
fn run_call(scratch: &mut Chain, op: &UserOperation) -> Result<Outcome, RpcFault> {
    if let Some((factory, call)) = op.init_code.split_at_checked(20) {
        scratch.execute(&Request::to(Address::from_slice(factory), Bytes::copy_from_slice(call)))?;
    }
    let hash = op.hash(ENTRY_POINT, scratch.chain_id());
    let validate = validateUserOpCall { userOp: op.into(), userOpHash: hash, missingFunds: U256::ZERO }.abi_encode();
    scratch.execute(&Request::to(op.sender, validate).from(ENTRY_POINT))?;
    if op.call_data.is_empty() {
        return Ok(Outcome { success: true, output: Bytes::new(), logs: Vec::new(), gas_used: 0, created: None });
    }
    Ok(scratch.call(&Request::to(op.sender, op.call_data.clone()).from(ENTRY_POINT))?)
}

/// Gas units for what the EntryPoint cannot measure: the call data of the bundle (EIP-2028 prices) and the overhead.
fn pre_verification_gas(op: &UserOperation) -> u64 {
    let data = SolUserOperation::from(op).abi_encode();
    let bytes: u64 = data.iter().map(|byte| if *byte == 0 { 4 } else { 16 }).sum();
    let words = u64::try_from(data.len().div_ceil(32)).unwrap_or(u64::MAX);
    // gas fields that are not filled in yet will be: five words of which some bytes are not zero
    OVERHEAD.saturating_add(bytes).saturating_add(words.saturating_mul(WORD_OVERHEAD)).saturating_add(5 * 6 * 12)
}

// Finding again

/// The bundle that an operation was included in.
fn included(chain: &Chain, hash: B256) -> Option<&Transaction> {
    let newest = node::newest(chain);
    chain.transactions(0, newest).find(|transaction| {
        transaction.logs.iter().any(|log| {
            log.address == ENTRY_POINT
                && log.data.topics().first() == Some(&UserOperationEvent::SIGNATURE_HASH)
                && log.data.topics().get(1) == Some(&hash)
        })
    })
}

pub(super) fn by_hash(chain: &Chain, params: &Params<'_>) -> RpcResult {
    let hash = params.hash(0)?;
    let Some(transaction) = included(chain, hash) else { return Ok(Value::Null) };
    let Ok(bundle) = handleOpsCall::abi_decode(&transaction.data) else { return Ok(Value::Null) };
    let mut ops = bundle.ops.into_iter().map(UserOperation::from);
    let Some(op) = ops.find(|op| op.hash(ENTRY_POINT, chain.chain_id()) == hash) else { return Ok(Value::Null) };
    Ok(json!({
        "userOperation": op,
        "entryPoint": ENTRY_POINT,
        "transactionHash": transaction.hash,
        "blockHash": chain.block(transaction.block_number).map(|block| block.hash),
        "blockNumber": quantity(transaction.block_number),
    }))
}

#[allow(clippy::indexing_slicing, reason = "an object that is made here")]
pub(super) fn receipt(chain: &Chain, params: &Params<'_>) -> RpcResult {
    let hash = params.hash(0)?;
    let Some(transaction) = included(chain, hash) else { return Ok(Value::Null) };
    let ours = |log: &&alloy::primitives::Log| log.address == ENTRY_POINT && log.data.topics().get(1) == Some(&hash);
    let Some(event) = transaction.logs.iter().filter(ours).find_map(|log| UserOperationEvent::decode_log(log).ok())
    else {
        return Ok(Value::Null);
    };
    let reason = transaction.logs.iter().filter(ours).find_map(|log| UserOperationRevertReason::decode_log(log).ok());
    let mut receipt = json!({
        "userOpHash": hash,
        "entryPoint": ENTRY_POINT,
        "sender": event.sender,
        "nonce": event.nonce,
        "actualGasUsed": event.actualGasUsed,
        "actualGasCost": event.actualGasCost,
        "success": event.success,
        "logs": log_jsons(chain, transaction),
        "receipt": receipt_json(chain, transaction),
    });
    if !event.paymaster.is_zero() {
        receipt["paymaster"] = json!(event.paymaster);
    }
    if let Some(reason) = reason {
        receipt["reason"] = json!(reason.revertReason);
    }
    Ok(receipt)
}

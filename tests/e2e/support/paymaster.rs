//! A paymaster service: signs for the VerifyingPaymaster on the local chain, and answers in three dialects
//! (docs/kernel-v2.md#bundlers-and-paymasters).

use std::sync::{Arc, Mutex};

use alloy::{
    primitives::{Address, Bytes, U256, aliases::U48, eip191_hash_message},
    signers::SignerSync,
    sol_types::{SolCall, SolValue},
};
use keyleash::{
    erc4337::v06::{ENTRY_POINT, UserOperation},
    protocol::DUMMY_SIGNATURE,
};
use serde_json::{Map, Value, json};

use super::{
    bundler::Bundler,
    chain::{Chain, PAYMASTER_SIGNER, WireUserOperation, development_signer, getHashCall, parse},
    rpc::{self, RpcError},
};

pub struct PaymasterService {
    /// Paymaster RPC, `http://127.0.0.1:PORT`.
    pub url: String,
    heard: Arc<Mutex<Vec<(String, Value)>>>,
}

impl PaymasterService {
    /// A service that signs for the chain's paymaster.
    pub fn start(chain: &Chain, bundler: &Bundler) -> Self {
        Self::start_for(chain.paymaster, chain, bundler)
    }

    /// A service that signs for `paymaster`.
    pub fn start_for(paymaster: Address, chain: &Chain, bundler: &Bundler) -> Self {
        let sponsor = Sponsor { paymaster, node: chain.url.clone(), bundler: bundler.url.clone() };
        let heard = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&heard);
        let url = rpc::serve(move |method, params| {
            notes.lock().expect("the notes").push((method.to_owned(), params.clone()));
            sponsor.answer(method, params)
        });
        Self { url, heard }
    }

    /// The parameters of every call of `method` that named this account as sender.
    pub fn heard(&self, method: &str, sender: Address) -> Vec<Value> {
        let heard = self.heard.lock().expect("the notes");
        let by_sender = |params: &Value| {
            [&params[0]["sender"], &params[0]["userOp"]["sender"]]
                .into_iter()
                .any(|s| s.as_str().and_then(|s| s.parse::<Address>().ok()) == Some(sender))
        };
        heard.iter().filter(|(m, params)| m == method && by_sender(params)).map(|(_, params)| params.clone()).collect()
    }
}

struct Sponsor {
    paymaster: Address,
    node: String,
    bundler: String,
}

impl Sponsor {
    fn answer(&self, method: &str, params: &Value) -> Result<Value, RpcError> {
        match method {
            "pm_getPaymasterStubData" => Ok(
                json!({ "paymasterAndData": self.with_signature(&DUMMY_SIGNATURE), "sponsor": { "name": "keyleash tests" } }),
            ),
            "pm_getPaymasterData" => Ok(json!({ "paymasterAndData": self.sponsored(&read(&params[0])?)? })),
            "pm_sponsorUserOperation" => self.with_gas(read(&params[0])?),
            "zd_sponsorUserOperation" => self.with_gas(read(&params[0]["userOp"])?),
            _ => Err(RpcError::new(-32601, format!("method {method} is not there"))),
        }
    }

    /// Estimates, then signs; answers the paymaster data and the gas it is for.
    fn with_gas(&self, mut op: UserOperation) -> Result<Value, RpcError> {
        op.paymaster_and_data = self.with_signature(&DUMMY_SIGNATURE);
        let gas = rpc::call(&self.bundler, "eth_estimateUserOperationGas", json!([op, ENTRY_POINT]))?;
        let units = |name: &str| parse::<U256>(gas[name].clone());
        op.call_gas_limit = units("callGasLimit");
        op.verification_gas_limit = units("verificationGasLimit");
        op.pre_verification_gas = units("preVerificationGas");
        Ok(json!({
            "paymasterAndData": self.sponsored(&op)?,
            "callGasLimit": op.call_gas_limit,
            "verificationGasLimit": op.verification_gas_limit,
            "preVerificationGas": op.pre_verification_gas,
            "maxFeePerGas": op.max_fee_per_gas,
            "maxPriorityFeePerGas": op.max_priority_fee_per_gas,
        }))
    }

    /// The paymaster data that pays for exactly this operation.
    fn sponsored(&self, op: &UserOperation) -> Result<Bytes, RpcError> {
        // The contract hashes the operation as it lies in calldata, offsets included: its paymaster data must have the final length.
        let paymaster_and_data = self.with_signature(&DUMMY_SIGNATURE);
        let user_op = WireUserOperation::from(&UserOperation { paymaster_and_data, ..op.clone() });
        let call = getHashCall { userOp: user_op, validUntil: until(), validAfter: U48::ZERO };
        let data = Bytes::from(call.abi_encode());
        let answer: Bytes =
            parse(rpc::call(&self.node, "eth_call", json!([{ "to": self.paymaster, "data": data }, "latest"]))?);
        let hash = getHashCall::abi_decode_returns(&answer).map_err(|e| RpcError::new(-32603, e))?;
        let signature = development_signer(PAYMASTER_SIGNER)
            .sign_hash_sync(&eip191_hash_message(hash))
            .map_err(|e| RpcError::new(-32603, e))?;
        Ok(self.with_signature(&signature.as_bytes()))
    }

    fn with_signature(&self, signature: &[u8; 65]) -> Bytes {
        [self.paymaster.as_slice(), &(until(), U48::ZERO).abi_encode(), signature].concat().into()
    }
}

/// The sponsorship has no end that a test could meet.
fn until() -> U48 {
    U48::from(4_000_000_000u64)
}

/// A UserOperation as clients send it for sponsoring: what they do not know yet may be missing.
fn read(op: &Value) -> Result<UserOperation, RpcError> {
    let mut fields = Map::new();
    for name in ["initCode", "paymasterAndData", "signature"] {
        fields.insert(name.to_owned(), json!("0x"));
    }
    for name in ["callGasLimit", "verificationGasLimit", "preVerificationGas", "maxFeePerGas", "maxPriorityFeePerGas"] {
        fields.insert(name.to_owned(), json!("0x0"));
    }
    fields.extend(op.as_object().into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())));
    serde_json::from_value(Value::Object(fields)).map_err(|e| RpcError::new(-32602, format!("userOp: {e}")))
}

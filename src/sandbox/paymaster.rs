//! The paymaster's half of the JSON-RPC (ERC-7677): the sponsor pays for every operation of its chain that it is asked about.

use alloy::{
    primitives::{Address, B256, Bytes, U64, U256, eip191_hash_message, keccak256},
    signers::{SignerSync, local::PrivateKeySigner},
    sol_types::SolValue,
};
use serde_json::{Value, json};

use super::{
    bundler,
    contracts::SPONSOR,
    evm::Chain,
    rpc::{Params, RpcFault, RpcResult, SERVER_ERROR},
};
use crate::{erc4337::v06::UserOperation, protocol::DUMMY_SIGNATURE};

/// Seconds that a sponsorship holds.
const VALIDITY: u64 = 600;

/// What the sponsor's key is made of. Not a secret: it can spend nothing but worthless gas on the sandbox.
const SEED: &str = "keyleash sandbox: sponsor signer";

fn signer() -> Option<PrivateKeySigner> {
    PrivateKeySigner::from_bytes(&keccak256(SEED)).ok()
}

/// Whose signature the sponsor wants.
pub(super) fn signer_address() -> Address {
    signer().map(|signer| signer.address()).unwrap_or_default()
}

/// The operation of a call that is for this chain.
fn asked(chain: &Chain, params: &Params<'_>) -> Result<UserOperation, RpcFault> {
    let theirs: U64 = params.read(2, "chain id")?;
    if theirs.to::<u64>() != chain.chain_id() {
        return Err(RpcFault::invalid(format!("this paymaster is for chain {}, not {theirs}", chain.chain_id())));
    }
    bundler::operation(&Params(&without_nulls(params.0)))
}

/// Paymasters take an operation whose later fields are still missing or null; bundlers do not.
fn without_nulls(params: &Value) -> Value {
    let mut params = params.clone();
    if let Some(Value::Object(fields)) = params.get_mut(0) {
        fields.retain(|_, value| !value.is_null());
        for (name, empty) in [
            ("callGasLimit", "0x0"),
            ("verificationGasLimit", "0x0"),
            ("preVerificationGas", "0x0"),
            ("maxFeePerGas", "0x0"),
            ("maxPriorityFeePerGas", "0x0"),
            ("paymasterAndData", "0x"),
            ("signature", "0x"),
        ] {
            fields.entry(name).or_insert_with(|| empty.into());
        }
    }
    params
}

/// Data of the right length for estimation.
pub(super) fn stub(chain: &Chain, params: &Params<'_>) -> RpcResult {
    asked(chain, params)?;
    let data = paymaster_and_data(valid_until(chain), &DUMMY_SIGNATURE);
    Ok(json!({ "paymasterAndData": data, "sponsor": { "name": "keyleash sandbox" }, "isFinal": false }))
}

/// Data that the sponsor accepts, for ten minutes.
pub(super) fn sponsor(chain: &Chain, params: &Params<'_>) -> RpcResult {
    let op = asked(chain, params)?;
    let valid_until = valid_until(chain);
    let hash = eip191_hash_message(sponsored_hash(&op, chain.chain_id(), valid_until));
    let signature = signer().and_then(|signer| signer.sign_hash_sync(&hash).ok());
    let signature = signature.ok_or_else(|| RpcFault::new(SERVER_ERROR, "the sponsor could not sign"))?;
    Ok(json!({ "paymasterAndData": paymaster_and_data(valid_until, &signature.as_bytes()) }))
}

fn valid_until(chain: &Chain) -> u64 {
    chain.time().saturating_add(VALIDITY)
}

/// `sponsor20 ‖ validUntil6 ‖ validAfter6 ‖ signature65`; valid at once.
fn paymaster_and_data(valid_until: u64, signature: &[u8; 65]) -> Bytes {
    let [_, _, until @ ..] = valid_until.to_be_bytes();
    [SPONSOR.as_slice(), &until, &[0; 6], signature].concat().into()
}

/// `Sponsor.getHash` (assets/sandbox/Sponsor.sol).
fn sponsored_hash(op: &UserOperation, chain_id: u64, valid_until: u64) -> B256 {
    let gas = (
        op.call_gas_limit,
        op.verification_gas_limit,
        op.pre_verification_gas,
        op.max_fee_per_gas,
        op.max_priority_fee_per_gas,
    );
    let signed = (
        op.sender,
        op.nonce,
        keccak256(&op.init_code),
        keccak256(&op.call_data),
        keccak256(gas.abi_encode()),
        U256::from(chain_id),
        SPONSOR,
        U256::from(valid_until),
        U256::ZERO,
    );
    keccak256(signed.abi_encode())
}

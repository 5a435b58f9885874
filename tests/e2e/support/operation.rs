//! UserOperations built by the tests themselves from `keyleash::protocol::kernel_v2`, right and wrong ones: what the binary refuses to send
//! must still meet the bundler's own answer.

use alloy::{
    primitives::{Address, B256, Bytes, U256, aliases::U192, eip191_hash_message},
    signers::{SignerSync, local::PrivateKeySigner},
    sol_types::SolCall,
};
use keyleash::{
    erc4337::v06::{ENTRY_POINT, UserOperation},
    protocol::{
        AccountCall, Call,
        kernel_v2::signature::{self, Mode, Shown},
    },
};

use super::{
    World,
    account::{Grant, TestAccount},
    chain::{CHAIN_ID, getNonceCall},
};

/// `execute` of one call without value.
pub fn execute(to: Address, call: &impl SolCall) -> AccountCall {
    AccountCall::Execute(inner(to, call))
}

/// One inner call without value.
pub fn inner(to: Address, call: &impl SolCall) -> Call {
    Call { to, value: U256::ZERO, data: call.abi_encode().into() }
}

/// An unsigned operation of the account: initCode when it is not deployed, the next nonce, today's fees, and gas for anything here.
pub fn unsigned(world: &World, account: &TestAccount, call: &AccountCall) -> UserOperation {
    let (max_fee_per_gas, max_priority_fee_per_gas) = world.bundler.fees();
    let nonce = getNonceCall { sender: account.address, key: U192::ZERO };
    UserOperation {
        sender: account.address,
        nonce: world.chain.view(ENTRY_POINT, &nonce),
        init_code: if account.is_deployed(world) { Bytes::new() } else { account.init_code() },
        call_data: call.encode(),
        call_gas_limit: U256::from(500_000),
        verification_gas_limit: U256::from(700_000),
        pre_verification_gas: U256::from(150_000),
        max_fee_per_gas,
        max_priority_fee_per_gas,
        paymaster_and_data: Bytes::new(),
        signature: Bytes::new(),
    }
}

/// Mode 0.
pub fn sign_as_owner(op: &mut UserOperation, account: &TestAccount) {
    op.signature = signature::sudo(&personal_signature(op, &account.owner()));
}

/// Mode 1 or 2, with the permissions in `shown`.
pub fn sign_as_session(op: &mut UserOperation, grant: &Grant, mode: Mode, shown: Shown<'_>) {
    let validator = grant.approval.request.validator;
    let proof = signature::proof_data(&grant.permissions, shown, validator).expect("a permission of the grant");
    let session = signature::session(grant.key.address(), &personal_signature(op, &grant.key), &proof);
    op.signature = match mode {
        Mode::Enable => signature::enable_and_use(&grant.approval, &session),
        _ => signature::use_enabled(&session),
    };
}

/// EIP-191 over the userOpHash.
fn personal_signature(op: &UserOperation, signer: &PrivateKeySigner) -> [u8; 65] {
    let hash: B256 = op.hash(ENTRY_POINT, CHAIN_ID);
    signer.sign_hash_sync(&eip191_hash_message(hash)).expect("a signature").as_bytes()
}

//! The UserOperation of EntryPoint v0.6 and its hash (ERC-4337).

use alloy::{
    primitives::{Address, B256, Bytes, U256, address, keccak256},
    sol,
    sol_types::{SolCall, SolValue},
};
use serde::{Deserialize, Serialize};

/// A v0.6 UserOperation. Serializes to exactly the eleven hex fields that bundlers accept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserOperation {
    pub sender: Address,
    /// 192-bit key ‖ 64-bit sequence.
    pub nonce: U256,
    /// Factory address ‖ call; empty once the account has code.
    pub init_code: Bytes,
    pub call_data: Bytes,
    /// Gas units.
    pub call_gas_limit: U256,
    /// Gas units.
    pub verification_gas_limit: U256,
    /// Gas units.
    pub pre_verification_gas: U256,
    /// Wei per gas unit.
    pub max_fee_per_gas: U256,
    /// Wei per gas unit.
    pub max_priority_fee_per_gas: U256,
    /// Paymaster address ‖ its data; empty when the account pays.
    pub paymaster_and_data: Bytes,
    pub signature: Bytes,
}

impl UserOperation {
    /// The fields by the names they have on the wire.
    pub const FIELDS: [&str; 11] = [
        "sender",
        "nonce",
        "initCode",
        "callData",
        "callGasLimit",
        "verificationGasLimit",
        "preVerificationGas",
        "maxFeePerGas",
        "maxPriorityFeePerGas",
        "paymasterAndData",
        "signature",
    ];
}

/// The EntryPoint of ERC-4337 v0.6, at one address on every chain.
pub const ENTRY_POINT: Address = address!("5FF137D4b0FDCD49DcA30c7CF57E578a026d2789");

sol! {
    #[derive(Debug, Default)]
    struct SolUserOperation {
        address sender; uint256 nonce; bytes initCode; bytes callData;
        uint256 callGasLimit; uint256 verificationGasLimit; uint256 preVerificationGas;
        uint256 maxFeePerGas; uint256 maxPriorityFeePerGas; bytes paymasterAndData; bytes signature;
    }
    function handleOps(SolUserOperation[] ops, address beneficiary);
    function simulateValidation(SolUserOperation userOp);
    function validateUserOp(SolUserOperation userOp, bytes32 userOpHash, uint256 missingFunds) returns (uint256);

    event UserOperationEvent(bytes32 indexed userOpHash, address indexed sender, address indexed paymaster,
        uint256 nonce, bool success, uint256 actualGasCost, uint256 actualGasUsed);
    event UserOperationRevertReason(bytes32 indexed userOpHash, address indexed sender, uint256 nonce, bytes revertReason);
    event AccountDeployed(bytes32 indexed userOpHash, address indexed sender, address factory, address paymaster);

    struct PackedForHash {
        address sender; uint256 nonce; bytes32 initCodeHash; bytes32 callDataHash;
        uint256 callGasLimit; uint256 verificationGasLimit; uint256 preVerificationGas;
        uint256 maxFeePerGas; uint256 maxPriorityFeePerGas; bytes32 paymasterAndDataHash;
    }
}

impl UserOperation {
    /// The hash that is signed and that identifies the operation; the signature is not part of it.
    pub fn hash(&self, entry_point: Address, chain_id: u64) -> B256 {
        let packed = PackedForHash {
            sender: self.sender,
            nonce: self.nonce,
            initCodeHash: keccak256(&self.init_code),
            callDataHash: keccak256(&self.call_data),
            callGasLimit: self.call_gas_limit,
            verificationGasLimit: self.verification_gas_limit,
            preVerificationGas: self.pre_verification_gas,
            maxFeePerGas: self.max_fee_per_gas,
            maxPriorityFeePerGas: self.max_priority_fee_per_gas,
            paymasterAndDataHash: keccak256(&self.paymaster_and_data),
        };
        let inner = keccak256(packed.abi_encode());
        keccak256((inner, entry_point, U256::from(chain_id)).abi_encode())
    }

    /// The paymaster named in `paymasterAndData`, if any.
    pub fn paymaster(&self) -> Option<Address> {
        self.paymaster_and_data.get(..20).map(Address::from_slice)
    }

    /// Gas units the EntryPoint charges for at most: verification counts three times when a paymaster is used
    /// (EntryPoint v0.6 `_getRequiredPrefund`).
    pub fn max_gas(&self) -> U256 {
        let factor = if self.paymaster_and_data.is_empty() { U256::ONE } else { U256::from(3) };
        self.call_gas_limit
            .saturating_add(self.verification_gas_limit.saturating_mul(factor))
            .saturating_add(self.pre_verification_gas)
    }

    /// The most wei the operation can cost whoever pays for its gas.
    pub fn max_cost(&self) -> U256 {
        self.max_gas().saturating_mul(self.max_fee_per_gas)
    }
}

/// `validateUserOp(userOp, hash, 0)`, as the EntryPoint calls the account: what it answers is the account's own verdict.
pub fn validate_user_op(user_op: &UserOperation, hash: B256) -> Bytes {
    validateUserOpCall { userOp: user_op.into(), userOpHash: hash, missingFunds: U256::ZERO }.abi_encode().into()
}

/// `EntryPoint.handleOps([userOp], beneficiary)`: what a bundler does, and anybody may.
pub fn handle_ops(user_op: &UserOperation, beneficiary: Address) -> Bytes {
    handleOpsCall { ops: vec![user_op.into()], beneficiary }.abi_encode().into()
}

impl From<SolUserOperation> for UserOperation {
    fn from(op: SolUserOperation) -> Self {
        Self {
            sender: op.sender,
            nonce: op.nonce,
            init_code: op.initCode,
            call_data: op.callData,
            call_gas_limit: op.callGasLimit,
            verification_gas_limit: op.verificationGasLimit,
            pre_verification_gas: op.preVerificationGas,
            max_fee_per_gas: op.maxFeePerGas,
            max_priority_fee_per_gas: op.maxPriorityFeePerGas,
            paymaster_and_data: op.paymasterAndData,
            signature: op.signature,
        }
    }
}

impl From<&UserOperation> for SolUserOperation {
    fn from(user_op: &UserOperation) -> Self {
        let u = user_op.clone();
        Self {
            sender: u.sender,
            nonce: u.nonce,
            initCode: u.init_code,
            callData: u.call_data,
            callGasLimit: u.call_gas_limit,
            verificationGasLimit: u.verification_gas_limit,
            preVerificationGas: u.pre_verification_gas,
            maxFeePerGas: u.max_fee_per_gas,
            maxPriorityFeePerGas: u.max_priority_fee_per_gas,
            paymasterAndData: u.paymaster_and_data,
            signature: u.signature,
        }
    }
}

//! The UserOperation of EntryPoint v0.7, its packed and wire forms, and its hash (ERC-4337).

use alloy::{
    eips::eip7702::{Authorization, SignedAuthorization},
    primitives::{Address, B256, Bytes, U8, U64, U128, U256, address, keccak256},
    sol,
    sol_types::{SolCall, SolValue},
};
use serde::{Deserialize, Serialize, Serializer};

/// These three are the same in both versions.
pub use super::v06::{AccountDeployed, UserOperationEvent, UserOperationRevertReason};

/// The EntryPoint of ERC-4337 v0.7, at one address on every chain.
pub const ENTRY_POINT: Address = address!("0000000071727De22E5E9d8BAf0edAc6f37da032");

/// Most bytes of each field of bytes that are read from the wire: no node takes a transaction of that size.
pub const MAX_BYTES: usize = 1 << 20;

/// Bytes of `paymasterAndData` before the paymaster's own data: its address and two gas limits.
const PAYMASTER_HEAD: usize = 52;

sol! {
    #[derive(Debug, Default, PartialEq, Eq)]
    struct PackedUserOperation {
        address sender; uint256 nonce; bytes initCode; bytes callData; bytes32 accountGasLimits;
        uint256 preVerificationGas; bytes32 gasFees; bytes paymasterAndData; bytes signature;
    }
    function handleOps(PackedUserOperation[] ops, address beneficiary);
    function validateUserOp(PackedUserOperation userOp, bytes32 userOpHash, uint256 missingAccountFunds) returns (uint256);
    function getNonce(address sender, uint192 key) returns (uint256);
    function getSenderAddress(bytes initCode);

    error FailedOp(uint256 opIndex, string reason);
    /// The reason is the EntryPoint's (`AA23 reverted`), the data what the account itself answered.
    error FailedOpWithRevert(uint256 opIndex, string reason, bytes inner);
    error PostOpReverted(bytes returnData);

    event PostOpRevertReason(bytes32 indexed userOpHash, address indexed sender, uint256 nonce, bytes revertReason);
    event UserOperationPrefundTooLow(bytes32 indexed userOpHash, address indexed sender, uint256 nonce);
    event BeforeExecution();

    struct PackedForHash {
        address sender; uint256 nonce; bytes32 initCodeHash; bytes32 callDataHash; bytes32 accountGasLimits;
        uint256 preVerificationGas; bytes32 gasFees; bytes32 paymasterAndDataHash;
    }
}

/// How an account that has no code yet is created by its first operation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deployment {
    pub factory: Address,
    pub factory_data: Bytes,
}

/// Who pays instead of the account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paymaster {
    pub address: Address,
    /// Gas units.
    pub verification_gas_limit: u128,
    /// Gas units.
    pub post_op_gas_limit: u128,
    pub data: Bytes,
}

/// A v0.7 UserOperation. Serializes to the members that bundlers accept, and reads them, sizes bounded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Wire", try_from = "Wire")]
pub struct UserOperation {
    pub sender: Address,
    /// 192-bit key ‖ 64-bit sequence.
    pub nonce: U256,
    /// `None` once the account has code.
    pub deployment: Option<Deployment>,
    pub call_data: Bytes,
    /// Gas units.
    pub call_gas_limit: u128,
    /// Gas units.
    pub verification_gas_limit: u128,
    /// Gas units.
    pub pre_verification_gas: U256,
    /// Wei per gas unit.
    pub max_fee_per_gas: u128,
    /// Wei per gas unit.
    pub max_priority_fee_per_gas: u128,
    /// `None` when the account pays.
    pub paymaster: Option<Paymaster>,
    pub signature: Bytes,
    /// The EIP-7702 authorization that travels beside the operation and delegates the sender first. Not part of the hash.
    pub eip7702_auth: Option<SignedAuthorization>,
}

/// Why a packed operation, or its wire form, is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("initCode has {0} bytes, fewer than the 20 of a factory")]
    InitCode(usize),
    #[error("paymasterAndData has {0} bytes, fewer than the {PAYMASTER_HEAD} of a paymaster and its gas limits (AA93)")]
    PaymasterAndData(usize),
    #[error("{0} without {1}")]
    Without(&'static str, &'static str),
    #[error("the parity of the authorization's signature is {0}, and not 0 or 1")]
    Parity(u8),
    #[error("{field} has {length} bytes, more than {MAX_BYTES}")]
    TooLong { field: &'static str, length: usize },
}

impl UserOperation {
    pub fn init_code(&self) -> Bytes {
        self.deployment.as_ref().map_or_else(Bytes::new, Deployment::init_code)
    }

    pub fn paymaster_and_data(&self) -> Bytes {
        self.paymaster.as_ref().map_or_else(Bytes::new, Paymaster::packed)
    }

    /// The form that the EntryPoint takes.
    pub fn packed(&self) -> PackedUserOperation {
        PackedUserOperation {
            sender: self.sender,
            nonce: self.nonce,
            initCode: self.init_code(),
            callData: self.call_data.clone(),
            accountGasLimits: two_halves(self.verification_gas_limit, self.call_gas_limit),
            preVerificationGas: self.pre_verification_gas,
            gasFees: two_halves(self.max_priority_fee_per_gas, self.max_fee_per_gas),
            paymasterAndData: self.paymaster_and_data(),
            signature: self.signature.clone(),
        }
    }

    /// The hash that is signed and that identifies the operation; the signature is not part of it. With chain id 0, what a
    /// chain-free operation signs (docs/kernel-v3.md#chain-free-signatures).
    pub fn hash(&self, entry_point: Address, chain_id: u64) -> B256 {
        packed_hash(&self.packed(), entry_point, chain_id)
    }

    /// Gas units the EntryPoint charges for at most (v0.7 `_getRequiredPrefund`).
    pub fn max_gas(&self) -> U256 {
        let paymaster = self.paymaster.as_ref();
        let limits = [
            self.call_gas_limit,
            self.verification_gas_limit,
            paymaster.map_or(0, |p| p.verification_gas_limit),
            paymaster.map_or(0, |p| p.post_op_gas_limit),
        ];
        limits.into_iter().fold(self.pre_verification_gas, |sum, limit| sum.saturating_add(U256::from(limit)))
    }

    /// The most wei the operation can cost whoever pays for its gas.
    pub fn max_cost(&self) -> U256 {
        self.max_gas().saturating_mul(U256::from(self.max_fee_per_gas))
    }
}

/// [`UserOperation::hash`] of the form that the EntryPoint takes, which also holds what is no operation.
pub fn packed_hash(op: &PackedUserOperation, entry_point: Address, chain_id: u64) -> B256 {
    let packed = PackedForHash {
        sender: op.sender,
        nonce: op.nonce,
        initCodeHash: keccak256(&op.initCode),
        callDataHash: keccak256(&op.callData),
        accountGasLimits: op.accountGasLimits,
        preVerificationGas: op.preVerificationGas,
        gasFees: op.gasFees,
        paymasterAndDataHash: keccak256(&op.paymasterAndData),
    };
    let inner = keccak256(packed.abi_encode());
    keccak256((inner, entry_point, U256::from(chain_id)).abi_encode())
}

impl Deployment {
    /// `factory20 ‖ call`.
    pub fn init_code(&self) -> Bytes {
        [self.factory.as_slice(), &self.factory_data].concat().into()
    }

    pub fn from_init_code(init_code: &[u8]) -> Result<Option<Self>, Malformed> {
        if init_code.is_empty() {
            return Ok(None);
        }
        let (factory, call) = init_code.split_at_checked(20).ok_or(Malformed::InitCode(init_code.len()))?;
        Ok(Some(Self { factory: Address::from_slice(factory), factory_data: Bytes::copy_from_slice(call) }))
    }
}

impl Paymaster {
    /// `paymaster20 ‖ verificationGasLimit16 ‖ postOpGasLimit16 ‖ data`.
    pub fn packed(&self) -> Bytes {
        [
            self.address.as_slice(),
            &self.verification_gas_limit.to_be_bytes(),
            &self.post_op_gas_limit.to_be_bytes(),
            &self.data,
        ]
        .concat()
        .into()
    }

    pub fn from_packed(packed: &[u8]) -> Result<Option<Self>, Malformed> {
        if packed.is_empty() {
            return Ok(None);
        }
        let (head, data) = packed.split_at_checked(PAYMASTER_HEAD).ok_or(Malformed::PaymasterAndData(packed.len()))?;
        let (address, limits) = head.split_at(20);
        let (verification_gas_limit, post_op_gas_limit) = halves(B256::from_slice(limits));
        Ok(Some(Self {
            address: Address::from_slice(address),
            verification_gas_limit,
            post_op_gas_limit,
            data: Bytes::copy_from_slice(data),
        }))
    }
}

impl TryFrom<PackedUserOperation> for UserOperation {
    type Error = Malformed;

    fn try_from(packed: PackedUserOperation) -> Result<Self, Malformed> {
        let (verification_gas_limit, call_gas_limit) = halves(packed.accountGasLimits);
        let (max_priority_fee_per_gas, max_fee_per_gas) = halves(packed.gasFees);
        Ok(Self {
            sender: packed.sender,
            nonce: packed.nonce,
            deployment: Deployment::from_init_code(&packed.initCode)?,
            call_data: packed.callData,
            call_gas_limit,
            verification_gas_limit,
            pre_verification_gas: packed.preVerificationGas,
            max_fee_per_gas,
            max_priority_fee_per_gas,
            paymaster: Paymaster::from_packed(&packed.paymasterAndData)?,
            signature: packed.signature,
            eip7702_auth: None,
        })
    }
}

fn two_halves(high: u128, low: u128) -> B256 {
    let high: U256 = U256::from(high) << 128;
    (high | U256::from(low)).into()
}

/// The two 16-byte numbers of a word.
pub fn halves(word: B256) -> (u128, u128) {
    let word = U256::from_be_bytes(word.0);
    let high: U256 = word >> 128;
    (high.saturating_to(), (word & U256::from(u128::MAX)).saturating_to())
}

/// `validateUserOp(userOp, hash, 0)`, as the EntryPoint calls the account: what it answers is the account's own verdict.
pub fn validate_user_op(user_op: &UserOperation, hash: B256) -> Bytes {
    validateUserOpCall { userOp: user_op.packed(), userOpHash: hash, missingAccountFunds: U256::ZERO }
        .abi_encode()
        .into()
}

/// `EntryPoint.handleOps([userOp], beneficiary)`: what a bundler does, and anybody may.
pub fn handle_ops(user_op: &UserOperation, beneficiary: Address) -> Bytes {
    handleOpsCall { ops: vec![user_op.packed()], beneficiary }.abi_encode().into()
}

/// The members of JSON-RPC: what belongs together is there together, or not at all.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    sender: Address,
    nonce: U256,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    factory: Option<Address>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    factory_data: Option<Bytes>,
    call_data: Bytes,
    call_gas_limit: U128,
    verification_gas_limit: U128,
    pre_verification_gas: U256,
    max_fee_per_gas: U128,
    max_priority_fee_per_gas: U128,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paymaster: Option<Address>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paymaster_verification_gas_limit: Option<U128>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paymaster_post_op_gas_limit: Option<U128>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paymaster_data: Option<Bytes>,
    signature: Bytes,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    eip7702_auth: Option<WireAuthorization>,
}

/// As the SDKs write it, and bundlers check it: whole words, and a parity of two digits.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireAuthorization {
    #[serde(alias = "contractAddress")]
    address: Address,
    chain_id: U256,
    nonce: U64,
    #[serde(serialize_with = "as_word")]
    r: U256,
    #[serde(serialize_with = "as_word")]
    s: U256,
    #[serde(serialize_with = "as_byte")]
    y_parity: U8,
}

fn as_word<S: Serializer>(number: &U256, s: S) -> Result<S::Ok, S::Error> {
    B256::from(*number).serialize(s)
}

fn as_byte<S: Serializer>(number: &U8, s: S) -> Result<S::Ok, S::Error> {
    Bytes::copy_from_slice(&number.to_be_bytes::<1>()).serialize(s)
}

impl From<SignedAuthorization> for WireAuthorization {
    fn from(signed: SignedAuthorization) -> Self {
        Self {
            address: signed.address,
            chain_id: signed.chain_id,
            nonce: U64::from(signed.nonce),
            r: signed.r(),
            s: signed.s(),
            y_parity: U8::from(signed.y_parity()),
        }
    }
}

impl TryFrom<WireAuthorization> for SignedAuthorization {
    type Error = Malformed;

    fn try_from(wire: WireAuthorization) -> Result<Self, Malformed> {
        let parity: u8 = wire.y_parity.to();
        if parity > 1 {
            return Err(Malformed::Parity(parity));
        }
        let WireAuthorization { address, chain_id, r, s, .. } = wire;
        Ok(Self::new_unchecked(Authorization { chain_id, address, nonce: wire.nonce.to() }, parity, r, s))
    }
}

impl From<UserOperation> for Wire {
    fn from(op: UserOperation) -> Self {
        let (factory, factory_data) = op.deployment.map(|d| (d.factory, d.factory_data)).unzip();
        let paymaster = op.paymaster.as_ref();
        Self {
            sender: op.sender,
            nonce: op.nonce,
            factory,
            factory_data,
            call_data: op.call_data,
            call_gas_limit: U128::from(op.call_gas_limit),
            verification_gas_limit: U128::from(op.verification_gas_limit),
            pre_verification_gas: op.pre_verification_gas,
            max_fee_per_gas: U128::from(op.max_fee_per_gas),
            max_priority_fee_per_gas: U128::from(op.max_priority_fee_per_gas),
            paymaster: paymaster.map(|p| p.address),
            paymaster_verification_gas_limit: paymaster.map(|p| U128::from(p.verification_gas_limit)),
            paymaster_post_op_gas_limit: paymaster.map(|p| U128::from(p.post_op_gas_limit)),
            paymaster_data: op.paymaster.map(|p| p.data),
            signature: op.signature,
            eip7702_auth: op.eip7702_auth.map(Into::into),
        }
    }
}

impl TryFrom<Wire> for UserOperation {
    type Error = Malformed;

    fn try_from(wire: Wire) -> Result<Self, Malformed> {
        let is_there = |bytes: &Option<Bytes>| bytes.as_ref().is_some_and(|bytes| !bytes.is_empty());
        let is_set = |limit: Option<U128>| limit.is_some_and(|limit| !limit.is_zero());
        for (field, bytes) in [
            ("callData", Some(&wire.call_data)),
            ("factoryData", wire.factory_data.as_ref()),
            ("paymasterData", wire.paymaster_data.as_ref()),
            ("signature", Some(&wire.signature)),
        ] {
            if let Some(bytes) = bytes.filter(|bytes| bytes.len() > MAX_BYTES) {
                return Err(Malformed::TooLong { field, length: bytes.len() });
            }
        }
        // Some wallets write empty members where there is nobody; anything else in them would be lost.
        if wire.factory.is_none() && is_there(&wire.factory_data) {
            return Err(Malformed::Without("factoryData", "factory"));
        }
        if wire.paymaster.is_none() {
            for (field, there) in [
                ("paymasterData", is_there(&wire.paymaster_data)),
                ("paymasterVerificationGasLimit", is_set(wire.paymaster_verification_gas_limit)),
                ("paymasterPostOpGasLimit", is_set(wire.paymaster_post_op_gas_limit)),
            ] {
                if there {
                    return Err(Malformed::Without(field, "paymaster"));
                }
            }
        }
        let limit = |limit: Option<U128>| limit.map_or(0, |limit| limit.to());
        Ok(Self {
            sender: wire.sender,
            nonce: wire.nonce,
            deployment: wire
                .factory
                .map(|factory| Deployment { factory, factory_data: wire.factory_data.unwrap_or_default() }),
            call_data: wire.call_data,
            call_gas_limit: wire.call_gas_limit.to(),
            verification_gas_limit: wire.verification_gas_limit.to(),
            pre_verification_gas: wire.pre_verification_gas,
            max_fee_per_gas: wire.max_fee_per_gas.to(),
            max_priority_fee_per_gas: wire.max_priority_fee_per_gas.to(),
            paymaster: wire.paymaster.map(|address| Paymaster {
                address,
                verification_gas_limit: limit(wire.paymaster_verification_gas_limit),
                post_op_gas_limit: limit(wire.paymaster_post_op_gas_limit),
                data: wire.paymaster_data.unwrap_or_default(),
            }),
            signature: wire.signature,
            eip7702_auth: wire.eip7702_auth.map(TryInto::try_into).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn wire() -> Value {
        json!({
            "sender": "0x00000000000000000000000000000000000000aa", "nonce": "0x1",
            "factory": "0x00000000000000000000000000000000000000bb", "factoryData": "0x01",
            "callData": "0x", "callGasLimit": "0x2", "verificationGasLimit": "0x3", "preVerificationGas": "0x4",
            "maxFeePerGas": "0x5", "maxPriorityFeePerGas": "0x6",
            "paymaster": "0x00000000000000000000000000000000000000cc", "paymasterVerificationGasLimit": "0x7",
            "paymasterPostOpGasLimit": "0x8", "paymasterData": "0x09", "signature": "0x0a",
            "eip7702Auth": {
                "chainId": "0x7a69", "address": "0x00000000000000000000000000000000000000dd", "nonce": "0x2",
                "yParity": "0x01", "r": B256::with_last_byte(3), "s": B256::repeat_byte(4),
            },
        })
    }

    #[test]
    fn an_operation_reads_back_what_it_writes() {
        let op: UserOperation = serde_json::from_value(wire()).unwrap();
        assert_eq!(serde_json::to_value(&op).unwrap(), wire());
        assert_eq!(UserOperation::try_from(op.packed()).unwrap(), UserOperation { eip7702_auth: None, ..op.clone() });
        assert_eq!(op.max_gas(), U256::from(2 + 3 + 4 + 7 + 8));
        assert_eq!(op.max_cost(), U256::from(5 * 24));
    }

    #[test]
    fn what_belongs_together_is_not_read_apart() {
        for (without, lost) in [("factory", "factoryData"), ("paymaster", "paymasterData")] {
            let mut wire = wire();
            wire.as_object_mut().unwrap().remove(without);
            let error = serde_json::from_value::<UserOperation>(wire).unwrap_err().to_string();
            assert!(error.contains(&format!("{lost} without {without}")), "{error}");
        }
    }

    #[test]
    fn a_field_that_does_not_fit_is_refused() {
        let mut odd = wire();
        odd["eip7702Auth"]["yParity"] = "0x2".into();
        assert!(serde_json::from_value::<UserOperation>(odd).is_err());
        let mut short = wire();
        short["eip7702Auth"]["r"] = "0x3".into();
        assert_eq!(serde_json::to_value(serde_json::from_value::<UserOperation>(short).unwrap()).unwrap(), wire());
        for (field, value) in [
            ("callGasLimit", format!("0x1{}", "0".repeat(32))),
            ("paymasterPostOpGasLimit", format!("0x1{}", "0".repeat(32))),
            ("preVerificationGas", format!("0x1{}", "0".repeat(64))),
            ("callData", format!("0x{}", "00".repeat(MAX_BYTES + 1))),
            ("sender", "0x00".to_owned()),
        ] {
            let mut wire = wire();
            wire[field] = value.into();
            assert!(serde_json::from_value::<UserOperation>(wire).is_err(), "{field}");
        }
    }

    #[test]
    fn a_packed_operation_with_half_a_paymaster_or_factory_is_none() {
        for length in 1..PAYMASTER_HEAD {
            assert_eq!(Paymaster::from_packed(&vec![0; length]), Err(Malformed::PaymasterAndData(length)));
        }
        assert_eq!(Deployment::from_init_code(&[1; 19]), Err(Malformed::InitCode(19)));
        assert_eq!((Deployment::from_init_code(&[]), Paymaster::from_packed(&[])), (Ok(None), Ok(None)));
    }

    #[test]
    fn selectors_are_the_deployed_ones() {
        assert_eq!(handleOpsCall::SELECTOR, [0x76, 0x5e, 0x82, 0x7f]);
        assert_eq!(validateUserOpCall::SELECTOR, [0x19, 0x82, 0x2f, 0x7c]);
    }
}

//! A Kernel account: where it will live, how it is deployed, and the calls it understands (docs/kernel-v2.md#account).

use alloy::{
    primitives::{Address, B256, Bytes, Selector, U256, b256, keccak256},
    sol,
    sol_types::{SolCall, SolValue},
};

use super::generation::{ECDSA_VALIDATOR, Generation, KERNEL_FACTORY, KernelVersion};
use crate::protocol::{AccountCall, Call};

/// ERC-1967 implementation slot.
pub const IMPLEMENTATION_SLOT: B256 = b256!("360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc");

/// keccak256 of the proxy creation code, the same for every account whatever its implementation.
const PROXY_INIT_CODE_HASH: B256 = b256!("ee9d8350bd899dd261db689aafd87eb8a30f085adbaff48152399438ff4eed73");

/// keccak256 of the code that every account made by the factory has (what the creation code returns).
pub const PROXY_CODE_HASH: B256 = b256!("7254edb0ba49650a2ecb4fbf9223710f6223925b0aa26ad310e486ccf5c4473a");

sol! {
    struct BatchCall { address to; uint256 value; bytes data; }

    function initialize(address defaultValidator, bytes data);
    function createAccount(address implementation, bytes data, uint256 index) returns (address);

    function execute(address to, uint256 value, bytes data, uint8 operation);
    function executeBatch(BatchCall[] calls);
    function executeDelegateCall(address to, bytes data);
    function setExecution(bytes4 selector, address executor, address validator, uint48 validUntil, uint48 validAfter, bytes enableData);
    function setDefaultValidator(address defaultValidator, bytes data);
    function upgradeTo(address implementation);
    function disableMode(bytes4 mode);

    function enable(bytes enableData);
    function disable(bytes data);
}

/// Selectors of the account functions a session key can be opened for.
pub mod selector {
    use alloy::{primitives::Selector, sol_types::SolCall};

    pub const EXECUTE: Selector = Selector::new(super::executeCall::SELECTOR);
    pub const EXECUTE_BATCH: Selector = Selector::new(super::executeBatchCall::SELECTOR);
    pub const EXECUTE_DELEGATE_CALL: Selector = Selector::new(super::executeDelegateCallCall::SELECTOR);

    /// The account's own functions that change or move something: whoever a validator lets call one of them has power over the
    /// account, whatever the function. Where each is routed is read from the account at every look.
    pub const KNOWN: [Selector; 7] = [
        EXECUTE,
        EXECUTE_BATCH,
        EXECUTE_DELEGATE_CALL,
        Selector::new(super::setExecutionCall::SELECTOR),
        Selector::new(super::setDefaultValidatorCall::SELECTOR),
        Selector::new(super::upgradeToCall::SELECTOR),
        Selector::new(super::disableModeCall::SELECTOR),
    ];

    /// The account function's name, where it is one of its own.
    pub fn described(selector: Selector) -> String {
        let known = match selector.0 {
            super::setExecutionCall::SELECTOR => Some("setExecution"),
            super::setDefaultValidatorCall::SELECTOR => Some("setDefaultValidator"),
            super::upgradeToCall::SELECTOR => Some("upgradeTo"),
            super::disableModeCall::SELECTOR => Some("disableMode"),
            _ => name(selector),
        };
        known.map_or_else(|| format!("function {selector}"), str::to_owned)
    }

    /// The account function's name, for the three a scoped key may use.
    pub fn name(selector: Selector) -> Option<&'static str> {
        match selector {
            EXECUTE => Some("execute"),
            EXECUTE_BATCH => Some("executeBatch"),
            EXECUTE_DELEGATE_CALL => Some("executeDelegateCall"),
            _ => None,
        }
    }

    /// The selector of the account function with this name.
    pub fn parse(name: &str) -> Option<Selector> {
        match name {
            "execute" => Some(EXECUTE),
            "executeBatch" => Some(EXECUTE_BATCH),
            "executeDelegateCall" => Some(EXECUTE_DELEGATE_CALL),
            _ => None,
        }
    }
}

/// What is needed to create an account: its owner and a number that tells the owner's accounts apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountSeed {
    pub owner: Address,
    pub index: U256,
}

impl AccountSeed {
    /// `initialize(ECDSAValidator, owner)`, the call the factory makes on the new proxy.
    pub fn initialize_call(&self) -> Bytes {
        initializeCall { defaultValidator: ECDSA_VALIDATOR, data: Bytes::copy_from_slice(self.owner.as_slice()) }
            .abi_encode()
            .into()
    }

    /// CREATE2 salt: the low 96 bits of `keccak256(initData ‖ index)`.
    pub fn salt(&self) -> B256 {
        let hash = keccak256([self.initialize_call().as_ref(), &self.index.to_be_bytes::<32>()].concat());
        B256::from(U256::from_be_bytes(hash.0) & ((U256::ONE << 96) - U256::ONE))
    }

    /// The address the account has or will have, on every chain and with every implementation.
    pub fn address(&self) -> Address {
        KERNEL_FACTORY.create2(self.salt(), PROXY_INIT_CODE_HASH)
    }

    /// `factory ‖ createAccount(implementation, initData, index)`, for the first UserOperation of the account.
    pub fn init_code(&self, kernel: KernelVersion) -> Bytes {
        let call = createAccountCall {
            implementation: kernel.implementation(),
            data: self.initialize_call(),
            index: self.index,
        };
        [KERNEL_FACTORY.as_slice(), &call.abi_encode()].concat().into()
    }

    /// Reads an initCode of the known factory back: the seed and the implementation it deploys.
    pub fn from_init_code(init_code: &[u8]) -> Option<(Self, Address)> {
        let (factory, call) = init_code.split_at_checked(20)?;
        if factory != KERNEL_FACTORY.as_slice() {
            return None;
        }
        let create = createAccountCall::abi_decode(call).ok()?;
        let init = initializeCall::abi_decode(&create.data).ok()?;
        if init.defaultValidator != ECDSA_VALIDATOR || init.data.len() != 20 {
            return None;
        }
        let seed = Self { owner: Address::from_slice(&init.data), index: create.index };
        Some((seed, create.implementation))
    }
}

impl AccountCall {
    /// The account function's selector; `None` when there are fewer than four bytes.
    pub fn selector(&self) -> Option<Selector> {
        match self {
            Self::Execute(_) => Some(selector::EXECUTE),
            Self::ExecuteBatch(_) => Some(selector::EXECUTE_BATCH),
            Self::ExecuteDelegateCall { .. } => Some(selector::EXECUTE_DELEGATE_CALL),
            Self::Other(data) => data.get(..4).map(Selector::from_slice),
        }
    }

    pub fn encode(&self) -> Bytes {
        match self {
            Self::Execute(call) => {
                executeCall { to: call.to, value: call.value, data: call.data.clone(), operation: 0 }.abi_encode()
            }
            Self::ExecuteBatch(calls) => executeBatchCall {
                calls: calls.iter().map(|c| BatchCall { to: c.to, value: c.value, data: c.data.clone() }).collect(),
            }
            .abi_encode(),
            Self::ExecuteDelegateCall { to, data } => {
                executeDelegateCallCall { to: *to, data: data.clone() }.abi_encode()
            }
            Self::Other(data) => return data.clone(),
        }
        .into()
    }

    /// Reads account calldata. What is not a well-formed call of the three known functions stays [`Self::Other`].
    pub fn decode(data: &[u8]) -> Self {
        Self::decode_known(data).unwrap_or_else(|| Self::Other(Bytes::copy_from_slice(data)))
    }

    fn decode_known(data: &[u8]) -> Option<Self> {
        let arguments = Arguments(Bytes::copy_from_slice(data.get(4..)?));
        match data.get(..4).map(Selector::from_slice)? {
            selector::EXECUTE => {
                let (to, value, data) = (arguments.address(0)?, arguments.word(32)?, arguments.bytes(0, 64)?);
                arguments.word(96)?; // the operation, which validation does not read
                Some(Self::Execute(Call { to, value, data }))
            }
            selector::EXECUTE_BATCH => arguments.batch().map(Self::ExecuteBatch),
            selector::EXECUTE_DELEGATE_CALL => {
                Some(Self::ExecuteDelegateCall { to: arguments.address(0)?, data: arguments.bytes(0, 32)? })
            }
            _ => None,
        }
    }
}

/// Whether a call of the account is one that its session keys are enabled and revoked with, or that gives it back to its owner.
pub fn rules_keys(account: Address, call: &Call) -> bool {
    call.value.is_zero() && (rules_validator(call) || call.to == account && rules_account(call))
}

/// What a session key validator is told about its keys.
fn rules_validator(call: &Call) -> bool {
    Generation::from_address(call.to).is_some()
        && (disableCall::abi_decode(&call.data).is_ok() || enableCall::abi_decode(&call.data).is_ok())
}

/// What an account is told about session keys: to pause them, to route a function to their validators, and to go back to its
/// owner's validator.
fn rules_account(call: &Call) -> bool {
    let known = |validator: Address| {
        validator.is_zero() || validator == ECDSA_VALIDATOR || Generation::from_address(validator).is_some()
    };
    disableModeCall::abi_decode(&call.data).is_ok()
        || setExecutionCall::abi_decode(&call.data).is_ok_and(|route| known(route.validator))
        || setDefaultValidatorCall::abi_decode(&call.data).is_ok_and(|set| set.defaultValidator == ECDSA_VALIDATOR)
}

/// ABI-encoded arguments, read as the contracts read them: anything that lies within the data goes, whether or not an
/// encoder would have put it there (no padding at the end, shared or overlapping parts). A stricter reader would not see
/// calls that the chain makes, and one that copies would let a small batch unfold into gigabytes.
pub(super) struct Arguments(pub(super) Bytes);

impl Arguments {
    pub(super) fn word(&self, at: usize) -> Option<U256> {
        self.0.get(at..at.checked_add(32)?).map(U256::from_be_slice)
    }

    /// The low 20 bytes of a word, whatever is above them.
    pub(super) fn address(&self, at: usize) -> Option<Address> {
        self.word(at).map(|word| Address::from_word(word.into()))
    }

    /// The `bytes4` at the start of a word.
    pub(super) fn selector(&self, at: usize) -> Option<Selector> {
        self.word(at)?;
        self.0.get(at..at.checked_add(4)?).map(Selector::from_slice)
    }

    pub(super) fn offset(&self, at: usize) -> Option<usize> {
        self.word(at)?.try_into().ok()
    }

    /// `bytes` whose offset, counted from `base`, is at `at`. Shares the buffer.
    pub(super) fn bytes(&self, base: usize, at: usize) -> Option<Bytes> {
        let length_at = base.checked_add(self.offset(at)?)?;
        let start = length_at.checked_add(32)?;
        let end = start.checked_add(self.offset(length_at)?)?;
        self.0.get(start..end).map(|part| self.0.slice_ref(part))
    }

    /// The one argument of `executeBatch`.
    fn batch(&self) -> Option<Vec<Call>> {
        let length_at = self.offset(0)?;
        let base = length_at.checked_add(32)?;
        let heads = self.0.get(base..)?.len() / 32;
        let length = self.offset(length_at).filter(|length| *length <= heads)?;
        let call = |i: usize| {
            let start = base.checked_add(self.offset(base.checked_add(32 * i)?)?)?;
            // Unlike the other two, the batch reader of the validator reverts on dirty bytes above an address.
            let clean = self.0.get(start..start.checked_add(12)?)?.iter().all(|byte| *byte == 0);
            Some(Call {
                to: self.address(start).filter(|_| clean)?,
                value: self.word(start.checked_add(32)?)?,
                data: self.bytes(start, start.checked_add(64)?)?,
            })
        };
        (0..length).map(call).collect()
    }
}

/// `disable(20 bytes)` on the validator: deletes one enabled key. On a key that was never enabled it succeeds and does nothing.
pub fn disable_key(session_key: Address) -> Bytes {
    disableCall { data: Bytes::copy_from_slice(session_key.as_slice()) }.abi_encode().into()
}

/// `disable` with no data: invalidates every turn up to the newest one, as the chain knows it. Reverts when none was used
/// since the last time.
pub fn disable_all() -> Bytes {
    disableCall { data: Bytes::new() }.abi_encode().into()
}

/// `disableMode(bytes4)` on the account: which validation modes are refused, as a bit mask.
pub fn disable_mode(mask: u32) -> Bytes {
    disableModeCall { mode: mask.to_be_bytes().into() }.abi_encode().into()
}

/// `enable(bytes)` on the validator, with encoded enable data.
pub fn enable_key(enable_data: &[u8]) -> Bytes {
    enableCall { enableData: Bytes::copy_from_slice(enable_data) }.abi_encode().into()
}

/// `setExecution` on the account: routes `selector` to `validator` and enables a key in the same call, with no plugin window.
pub fn set_execution(selector: Selector, validator: Address, enable_data: &[u8]) -> Bytes {
    setExecutionCall {
        selector,
        executor: Address::ZERO,
        validator,
        validUntil: alloy::primitives::aliases::U48::ZERO,
        validAfter: alloy::primitives::aliases::U48::ZERO,
        enableData: Bytes::copy_from_slice(enable_data),
    }
    .abi_encode()
    .into()
}

/// `setExecution` on the account: routes `selector` to the ECDSAValidator, with the present owner and no executor. Nobody but
/// the owner can use the function through it. A route cannot be removed: the account calls `enable` on whatever it routes to.
pub fn close_route(selector: Selector, owner: Address) -> Bytes {
    set_execution(selector, ECDSA_VALIDATOR, owner.as_slice())
}

/// `setDefaultValidator(ECDSAValidator, owner)` on the account.
pub fn restore_default_validator(owner: Address) -> Bytes {
    let data = Bytes::copy_from_slice(owner.as_slice());
    setDefaultValidatorCall { defaultValidator: ECDSA_VALIDATOR, data }.abi_encode().into()
}

/// Storage key of a permission's run counter: `keccak256(uint256 sessionNonce ‖ uint32 index)` per account (docs/kernel-v2.md#run-limits).
pub fn execution_status_key(session_nonce: u128, permission_index: u32) -> B256 {
    keccak256((U256::from(session_nonce), permission_index).abi_encode_packed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::{address, bytes};

    #[test]
    fn an_account_call_reads_back_what_it_encodes() {
        let call = Call {
            to: address!("00000000000000000000000000000000000000aa"),
            value: U256::from(5),
            data: bytes!("a9059cbb01"),
        };
        for account_call in [
            AccountCall::Execute(call.clone()),
            AccountCall::ExecuteBatch(vec![call.clone(), Call::default()]),
            AccountCall::ExecuteBatch(vec![]),
            AccountCall::ExecuteDelegateCall { to: call.to, data: call.data.clone() },
            AccountCall::Other(bytes!("d5416221")),
            AccountCall::Other(Bytes::new()),
        ] {
            assert_eq!(AccountCall::decode(&account_call.encode()), account_call);
        }
    }

    /// `executeBatch` with `heads` heads that all point at one call with `length` bytes of data.
    fn batch_of_one_call_repeated(heads: usize, length: usize) -> Vec<u8> {
        let word = |n: usize| U256::from(n).to_be_bytes::<32>();
        let mut data = [&selector::EXECUTE_BATCH[..], &word(32), &word(heads)].concat();
        for _ in 0..heads {
            data.extend(word(32 * heads));
        }
        for head in [0xaa, 5, 96, length] {
            data.extend(word(head));
        }
        data.resize(data.len() + length, 0x11);
        data
    }

    #[test]
    fn calls_that_share_their_data_are_read_without_copying_it() {
        let AccountCall::ExecuteBatch(calls) = AccountCall::decode(&batch_of_one_call_repeated(3, 50)) else {
            panic!()
        };
        assert_eq!(calls.len(), 3);
        for call in &calls {
            assert_eq!((call.value, call.data.len()), (U256::from(5), 50));
            assert_eq!(call.data.as_ptr(), calls[0].data.as_ptr());
        }
    }

    #[test]
    fn calldata_that_points_outside_itself_is_no_known_call() {
        let data = batch_of_one_call_repeated(2, 50);
        assert_eq!(
            AccountCall::decode(&data[..data.len() - 1]),
            AccountCall::Other(data[..data.len() - 1].to_vec().into())
        );
        for at in (4..4 + 7 * 32).step_by(32).filter(|at| ![4 + 32 * 4, 4 + 32 * 5].contains(at)) {
            let mut huge = data.clone();
            huge[at..at + 32].fill(0xff);
            assert!(matches!(AccountCall::decode(&huge), AccountCall::Other(_)), "word at {at}");
        }
    }

    #[test]
    fn selectors_are_the_deployed_ones() {
        assert_eq!(selector::EXECUTE, Selector::new([0x51, 0x94, 0x54, 0x47]));
        assert_eq!(selector::EXECUTE_BATCH, Selector::new([0x34, 0xfc, 0xd5, 0xbe]));
        assert_eq!(selector::EXECUTE_DELEGATE_CALL, Selector::new([0xb6, 0x8d, 0xf1, 0x6d]));
        assert_eq!(setExecutionCall::SELECTOR, [0x29, 0xf8, 0xb1, 0x74]);
        assert_eq!(disableModeCall::SELECTOR, [0xd5, 0x41, 0x62, 0x21]);
        assert_eq!(enableCall::SELECTOR, [0x0c, 0x95, 0x95, 0x56]);
        assert_eq!(disableCall::SELECTOR, [0x8f, 0xc9, 0x25, 0xaa]);
        assert_eq!(createAccountCall::SELECTOR, [0x29, 0x66, 0x01, 0xcd]);
        assert_eq!(initializeCall::SELECTOR, [0xd1, 0xf5, 0x78, 0x94]);
    }

    #[test]
    fn init_code_of_another_factory_is_not_read() {
        let seed = AccountSeed { owner: Address::repeat_byte(1), index: U256::from(3) };
        let mut code = seed.init_code(KernelVersion::V0_2_4).to_vec();
        assert_eq!(AccountSeed::from_init_code(&code), Some((seed, KernelVersion::V0_2_4.implementation())));
        code[0] ^= 1;
        assert_eq!(AccountSeed::from_init_code(&code), None);
        assert_eq!(AccountSeed::from_init_code(&code[..10]), None);
    }
}

//! A Kernel account: where it will live, how it is deployed, and the calls it understands (docs/kernel-v3.md#account).

use alloy::{
    dyn_abi::Eip712Domain,
    primitives::{Address, B256, Bytes, FixedBytes, Selector, U256, keccak256},
    sol,
    sol_types::{SolCall, eip712_domain},
};

use super::{
    canonical::Cursor,
    contracts::{ECDSA_VALIDATOR, ECDSA_VALIDATOR_3_0, KernelVersion, META_FACTORY, MULTI_CHAIN_ECDSA_VALIDATOR},
    nonce::ValidationId,
};
use crate::{
    erc4337::v07::Deployment,
    protocol::{AccountCall, Call},
};

/// In front of the delegate in an EOA's code (EIP-7702).
const DELEGATION_PREFIX: [u8; 3] = [0xef, 0x01, 0x00];

sol! {
    struct SolCallOfBatch { address to; uint256 value; bytes data; }
    struct ValidationConfig { uint32 nonce; address hook; }
    /// Answered as one struct: with an offset in front.
    struct StoredPermission { bytes2 permissionFlag; address signer; bytes22[] policyData; }

    // Deployment.
    function deployWithFactory(address factory, bytes createData, bytes32 salt);
    function createAccount(bytes data, bytes32 salt);

    // What moves or changes something.
    function execute(bytes32 mode, bytes executionCalldata);
    function installValidations(bytes21[] vIds, ValidationConfig[] configs, bytes[] validationData, bytes[] hookData);
    function uninstallValidation(bytes21 vId, bytes deinitData, bytes hookDeinitData);
    function invalidateNonce(uint32 nonce);
    function grantAccess(bytes21 vId, bytes4 selector, bool allow);
    function changeRootValidator(bytes21 vId, address hook, bytes validatorData, bytes hookData);
    function upgradeTo(address implementation);
    function installModule(uint256 moduleType, address module, bytes initData);
    function uninstallModule(uint256 moduleType, address module, bytes deInitData);

    // What the account tells.
    function currentNonce() returns (uint32);
    function validNonceFrom() returns (uint32);
    function rootValidator() returns (bytes21);
    function validationConfig(bytes21 vId) returns (uint32 nonce, address hook);
    /// One struct: an offset stands in front of it.
    function permissionConfig(bytes4 pId) returns (StoredPermission config);
    function isAllowedSelector(bytes21 vId, bytes4 selector) returns (bool);
    function executorConfig(address executor) returns (address hook);
    function selectorConfig(bytes4 selector) returns (address hook, address target, bytes1 callType);
    function isModuleInstalled(uint256 moduleType, address module, bytes additionalContext) returns (bool);
    function isValidSignature(bytes32 hash, bytes signature) returns (bytes4);
    function accountId() returns (string);
    function eip712Domain() returns (bytes1 fields, string name, string version, uint256 chainId, address verifyingContract, bytes32 salt, uint256[] extensions);

    // What policies and signers tell, of an id (the permission's, 28 zero bytes behind it) and an account.
    function status(bytes32 id, address account) returns (uint8);
    function signer(bytes32 id, address account) returns (address);
    function timestampPolicyConfig(bytes32 id, address account) returns (uint48 validAfter, uint48 validUntil);
    function rateLimitConfigs(bytes32 id, address account) returns (uint48 interval, uint48 countLeft, uint48 nextStart);
    function gasPolicyConfig(bytes32 id, address account) returns (uint128 left, bool enforcePaymaster, address allowedPaymaster);
    function encodedPermissions(bytes32 id, bytes32 permissionHash, address account) returns (bytes);

    // Of the ECDSA validators.
    function ecdsaValidatorStorage(address account) returns (address owner);
    function onInstall(bytes data);
    function onUninstall(bytes data);

    /// Emitted at every enable and grant; nothing of it is indexed.
    event SelectorSet(bytes4 selector, bytes21 vId, bool allowed);
    /// Kernel 3.1 and later; of executors, fallbacks, policies and signers, without the permission they belong to.
    event ModuleInstalled(uint256 moduleTypeId, address module);
    event ModuleUninstalled(uint256 moduleTypeId, address module);
    event ModuleUninstallResult(address module, bool result);
    event RootValidatorUpdated(bytes21 rootValidator);
    event Upgraded(address indexed implementation);
    event TryExecuteUnsuccessful(uint256 batchExecutionindex, bytes result);
}

/// `initialize` of Kernel 3.0, which takes no further calls.
mod first {
    alloy::sol! {
        function initialize(bytes21 rootValidator, address hook, bytes validatorData, bytes hookData);
    }
}

mod later {
    alloy::sol! {
        function initialize(bytes21 rootValidator, address hook, bytes validatorData, bytes hookData, bytes[] initConfig);
    }
}

/// Selectors of account functions.
pub mod selector {
    use alloy::{hex, primitives::Selector, sol_types::SolCall};

    /// The one function that scoped keys are approved for.
    pub const EXECUTE: Selector = Selector::new(super::executeCall::SELECTOR);
    /// `executeUserOp`: put in front of the calldata of a key or root with a hook.
    pub const EXECUTE_USER_OP: Selector = Selector::new(hex!("8dd7712f"));
    /// "Without data" in a call policy: a plain transfer, or data that begins with four zero bytes.
    pub const NONE: Selector = Selector::ZERO;

    /// The account's own functions that change or move something: whoever may call one of them has power over the account.
    pub fn name(selector: Selector) -> Option<&'static str> {
        Some(match selector.0 {
            super::executeCall::SELECTOR => "execute",
            super::installValidationsCall::SELECTOR => "installValidations",
            super::uninstallValidationCall::SELECTOR => "uninstallValidation",
            super::invalidateNonceCall::SELECTOR => "invalidateNonce",
            super::grantAccessCall::SELECTOR => "grantAccess",
            super::changeRootValidatorCall::SELECTOR => "changeRootValidator",
            super::upgradeToCall::SELECTOR => "upgradeTo",
            super::installModuleCall::SELECTOR => "installModule",
            super::uninstallModuleCall::SELECTOR => "uninstallModule",
            _ if selector == EXECUTE_USER_OP => "executeUserOp",
            _ => return None,
        })
    }
}

/// What is needed to create an account. All of it is part of the address, the Kernel version too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountSeed {
    pub version: KernelVersion,
    pub root: ValidationId,
    /// Of the root; the zero address: none.
    pub hook: Address,
    pub validator_data: Bytes,
    pub hook_data: Bytes,
    init_config: Vec<Bytes>,
    /// Tells the accounts of one root apart.
    pub index: U256,
}

/// Through which factory an account is deployed. Both lead to the same address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FactoryRoute {
    /// The meta factory, which names the version's factory.
    Meta,
    /// The version's factory itself, whose call does not name the version.
    Direct,
}

/// A call that creates an account, read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Creation {
    /// What it may create: several where the call does not name its factory. Their addresses differ.
    pub seeds: Vec<AccountSeed>,
    pub route: FactoryRoute,
}

impl AccountSeed {
    /// An account whose root is one secp256k1 key, as the SDKs make it.
    pub fn of_owner(version: KernelVersion, owner: Address, index: U256) -> Self {
        let data = Bytes::copy_from_slice(owner.as_slice());
        Self::of_root(version, ValidationId::of_validator(version.ecdsa_validator()), data, index)
    }

    /// An account with another root, without a hook.
    pub fn of_root(version: KernelVersion, root: ValidationId, validator_data: Bytes, index: U256) -> Self {
        let (hook, hook_data, init_config) = (Address::ZERO, Bytes::new(), Vec::new());
        Self { version, root, hook, validator_data, hook_data, init_config, index }
    }

    /// With calls that the new account makes to itself. `None` on Kernel 3.0, which takes none.
    pub fn with_init_config(self, calls: Vec<Bytes>) -> Option<Self> {
        let fits = calls.is_empty() || self.version.has_init_config();
        fits.then_some(Self { init_config: calls, ..self })
    }

    pub fn init_config(&self) -> &[Bytes] {
        &self.init_config
    }

    /// `initialize`, the call the factory makes on the new proxy.
    pub fn initialize_call(&self) -> Bytes {
        let Self { root, hook, validator_data, hook_data, .. } = self.clone();
        if self.version.has_init_config() {
            later::initializeCall {
                rootValidator: root.0,
                hook,
                validatorData: validator_data,
                hookData: hook_data,
                initConfig: self.init_config.clone(),
            }
            .abi_encode()
        } else {
            first::initializeCall { rootValidator: root.0, hook, validatorData: validator_data, hookData: hook_data }
                .abi_encode()
        }
        .into()
    }

    /// `keccak256(initData ‖ index32)`.
    pub fn salt(&self) -> B256 {
        keccak256([self.initialize_call().as_ref(), &self.index.to_be_bytes::<32>()].concat())
    }

    /// The address the account has or will have, on every chain.
    pub fn address(&self) -> Address {
        self.version.factory().create2(self.salt(), self.version.init_code_hash())
    }

    /// The call that creates it, for its first UserOperation.
    pub fn deployment(&self, route: FactoryRoute) -> Deployment {
        let (data, salt) = (self.initialize_call(), B256::from(self.index));
        match route {
            FactoryRoute::Meta => {
                let factory = self.version.factory();
                let call = deployWithFactoryCall { factory, createData: data, salt };
                Deployment { factory: META_FACTORY, factory_data: call.abi_encode().into() }
            }
            FactoryRoute::Direct => Deployment {
                factory: self.version.factory(),
                factory_data: createAccountCall { data, salt }.abi_encode().into(),
            },
        }
    }

    /// The one key that decides, where the root is a validator for one key: also one that is not supported.
    pub fn owner(&self) -> Option<Address> {
        const OF_ONE_OWNER: [Address; 3] = [ECDSA_VALIDATOR, ECDSA_VALIDATOR_3_0, MULTI_CHAIN_ECDSA_VALIDATOR];
        self.root.validator().filter(|validator| OF_ONE_OWNER.contains(validator))?;
        Address::try_from(self.validator_data.as_ref()).ok()
    }

    fn read_initialize(version: KernelVersion, data: &[u8], index: U256) -> Option<Self> {
        let (selector, arguments) = data.split_at_checked(4)?;
        let expected = match version.has_init_config() {
            true => later::initializeCall::SELECTOR,
            false => first::initializeCall::SELECTOR,
        };
        if selector != expected {
            return None;
        }
        let seed = Cursor::whole(arguments, |cursor| {
            let root = ValidationId(FixedBytes(cursor.fixed()?));
            let hook = cursor.address()?;
            for _ in 0..if version.has_init_config() { 3 } else { 2 } {
                cursor.word()?; // an offset: compared with all else below
            }
            let validator_data = Bytes::copy_from_slice(cursor.bytes()?);
            let hook_data = Bytes::copy_from_slice(cursor.bytes()?);
            let init_config = match version.has_init_config() {
                true => cursor.list_of_dynamic(|c| c.bytes().map(Bytes::copy_from_slice))?,
                false => Vec::new(),
            };
            Some(Self { version, root, hook, validator_data, hook_data, init_config, index })
        })?;
        // Any other form of the same call would be another address.
        (seed.initialize_call()[..] == *data).then_some(seed)
    }
}

impl Creation {
    /// Reads `factoryData`, or an older `initCode` with the factory in front. `None` where it is of no known factory, or not in
    /// the form that an encoder writes.
    pub fn read(code: &[u8]) -> Option<Self> {
        let factory_of = |code: &[u8]| code.get(..20).map(Address::from_slice);
        match factory_of(code) {
            Some(META_FACTORY) => Self::read_call(code.get(20..)?, None).filter(|c| c.route == FactoryRoute::Meta),
            Some(factory) => match KernelVersion::from_factory(factory) {
                Some(version) => {
                    Self::read_call(code.get(20..)?, Some(version)).filter(|c| c.route == FactoryRoute::Direct)
                }
                None => Self::read_call(code, None),
            },
            None => None,
        }
    }

    fn read_call(call: &[u8], version: Option<KernelVersion>) -> Option<Self> {
        let (selector, arguments) = call.split_at_checked(4)?;
        let selector: [u8; 4] = selector.try_into().ok()?;
        let (route, factory, data, salt) = match selector {
            deployWithFactoryCall::SELECTOR => Cursor::whole(arguments, |cursor| {
                let factory = cursor.address()?;
                cursor.offset(96)?;
                let salt = cursor.word()?;
                Some((FactoryRoute::Meta, Some(factory), cursor.bytes()?, salt))
            })?,
            createAccountCall::SELECTOR => Cursor::whole(arguments, |cursor| {
                cursor.offset(64)?;
                let salt = cursor.word()?;
                Some((FactoryRoute::Direct, version.map(KernelVersion::factory), cursor.bytes()?, salt))
            })?,
            _ => return None,
        };
        let fits = |version: &KernelVersion| factory.is_none_or(|factory| factory == version.factory());
        let seeds: Vec<AccountSeed> = KernelVersion::ALL
            .into_iter()
            .filter(fits)
            .filter_map(|version| AccountSeed::read_initialize(version, data, salt.into()))
            .collect();
        (!seeds.is_empty()).then_some(Self { seeds, route })
    }

    /// What creates this very account.
    pub fn seed_of(&self, account: Address) -> Option<&AccountSeed> {
        self.seeds.iter().find(|seed| seed.address() == account)
    }
}

/// The code of an EOA that has delegated itself (EIP-7702).
pub fn delegation_code(delegate: Address) -> Bytes {
    [&DELEGATION_PREFIX, delegate.as_slice()].concat().into()
}

/// Whom an EOA has delegated itself to, by its code.
pub fn delegate_of(code: &[u8]) -> Option<Address> {
    Address::try_from(code.strip_prefix(&DELEGATION_PREFIX)?).ok()
}

/// How `execute` calls: the first byte of its mode, and of an entry in a call policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallType {
    Call,
    Batch,
    DelegateCall,
    Unknown(u8),
}

impl CallType {
    pub const fn code(self) -> u8 {
        match self {
            Self::Call => 0,
            Self::Batch => 1,
            Self::DelegateCall => 0xff,
            Self::Unknown(code) => code,
        }
    }

    pub const fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Call,
            1 => Self::Batch,
            0xff => Self::DelegateCall,
            code => Self::Unknown(code),
        }
    }
}

/// What happens when an inner call fails: the second byte of the mode.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ExecType {
    /// The whole operation reverts.
    #[default]
    Revert,
    /// The others go on, and the operation is a success whatever fails.
    Try,
}

impl ExecType {
    const fn code(self) -> u8 {
        match self {
            Self::Revert => 0,
            Self::Try => 1,
        }
    }
}

/// The calldata of an operation of the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// [`AccountCall::Other`]: another function of the account, or `execute` in a form that no encoder writes.
    pub call: AccountCall,
    pub exec: ExecType,
    /// Whether `executeUserOp` stands in front, for a validation with a hook.
    pub hooked: bool,
}

impl Execution {
    /// Reverts when a call fails; no hook.
    pub fn plain(call: AccountCall) -> Self {
        Self { call, exec: ExecType::Revert, hooked: false }
    }

    pub fn encode(&self) -> Bytes {
        let (kind, data) = match &self.call {
            AccountCall::Execute(call) => {
                (CallType::Call, [call.to.as_slice(), &call.value.to_be_bytes::<32>(), &call.data].concat())
            }
            AccountCall::ExecuteBatch(calls) => (CallType::Batch, encode_batch(calls)),
            AccountCall::ExecuteDelegateCall { to, data } => (CallType::DelegateCall, [to.as_slice(), data].concat()),
            AccountCall::Other(data) => return data.clone(),
        };
        let mut mode = B256::ZERO;
        for (byte, code) in mode.iter_mut().zip([kind.code(), self.exec.code()]) {
            *byte = code;
        }
        let call = executeCall { mode, executionCalldata: data.into() }.abi_encode();
        if self.hooked { [selector::EXECUTE_USER_OP.as_slice(), &call].concat().into() } else { call.into() }
    }

    /// Reads calldata. Whatever is not exactly what [`Self::encode`] writes is [`AccountCall::Other`], verbatim.
    pub fn decode(data: &[u8]) -> Self {
        let (hooked, call) = match data.strip_prefix(selector::EXECUTE_USER_OP.as_slice()) {
            Some(call) => (true, call),
            None => (false, data),
        };
        match decode_execute(call) {
            Some((call, exec)) => Self { call, exec, hooked },
            None => Self::plain(AccountCall::Other(Bytes::copy_from_slice(data))),
        }
    }
}

fn encode_batch(calls: &[Call]) -> Vec<u8> {
    use alloy::sol_types::SolValue;
    let calls: Vec<SolCallOfBatch> =
        calls.iter().map(|c| SolCallOfBatch { to: c.to, value: c.value, data: c.data.clone() }).collect();
    calls.abi_encode()
}

fn decode_execute(data: &[u8]) -> Option<(AccountCall, ExecType)> {
    let arguments = data.strip_prefix(&executeCall::SELECTOR)?;
    let (mode, execution) = Cursor::whole(arguments, |cursor| {
        let mode: [u8; 2] = cursor.fixed()?;
        cursor.offset(64)?;
        Some((mode, cursor.bytes()?))
    })?;
    let [kind, exec] = mode;
    let exec = match exec {
        0 => ExecType::Revert,
        1 => ExecType::Try,
        _ => return None,
    };
    let to_and_rest = || execution.split_at_checked(20).map(|(to, rest)| (Address::from_slice(to), rest));
    let call = match CallType::from_code(kind) {
        CallType::Call => {
            let (to, rest) = to_and_rest()?;
            let (value, data) = rest.split_at_checked(32)?;
            let data = Bytes::copy_from_slice(data);
            AccountCall::Execute(Call { to, value: U256::from_be_slice(value), data })
        }
        CallType::Batch => AccountCall::ExecuteBatch(Cursor::whole(execution, |cursor| {
            cursor.offset(32)?;
            cursor.list_of_dynamic(|cursor| {
                let (to, value) = (cursor.address()?, cursor.uint()?);
                cursor.offset(96)?;
                Some(Call { to, value, data: Bytes::copy_from_slice(cursor.bytes()?) })
            })
        })?),
        CallType::DelegateCall => {
            let (to, data) = to_and_rest()?;
            AccountCall::ExecuteDelegateCall { to, data: Bytes::copy_from_slice(data) }
        }
        CallType::Unknown(_) => return None,
    };
    Some((call, exec))
}

/// One validation that a call of `installValidations` installs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    pub id: ValidationId,
    pub nonce: u32,
    pub hook: Address,
    /// Of a permission, its enable data.
    pub data: Bytes,
    pub hook_data: Bytes,
}

/// What a call of `installValidations` installs. `None`: it is another call, or not in the form that an encoder writes.
pub fn installations(call_data: &[u8]) -> Option<Vec<Installation>> {
    let arguments = call_data.strip_prefix(&installValidationsCall::SELECTOR)?;
    let (ids, configs, data, hook_data) = Cursor::whole(arguments, |cursor| {
        let mut offsets = [0; 4];
        for offset in &mut offsets {
            *offset = cursor.number::<usize>()?;
        }
        let [ids_at, configs_at, data_at, hook_data_at] = offsets;
        let ids_ok = cursor.is_at(ids_at);
        let ids = cursor.list(|c| c.fixed::<21>().map(|id| ValidationId(FixedBytes(id))))?;
        let configs_ok = cursor.is_at(configs_at);
        let configs = cursor.list(|c| Some((c.number::<u32>()?, c.address()?)))?;
        let data_ok = cursor.is_at(data_at);
        let data = cursor.list_of_dynamic(Cursor::bytes)?;
        let hook_data_ok = cursor.is_at(hook_data_at);
        let hook_data = cursor.list_of_dynamic(Cursor::bytes)?;
        (ids_ok && configs_ok && data_ok && hook_data_ok).then_some((ids, configs, data, hook_data))
    })?;
    if [configs.len(), data.len(), hook_data.len()].iter().any(|length| *length != ids.len()) {
        return None;
    }
    let rest = configs.into_iter().zip(data).zip(hook_data);
    let installed = ids.into_iter().zip(rest).map(|(id, (((nonce, hook), data), hook_data))| Installation {
        id,
        nonce,
        hook,
        data: Bytes::copy_from_slice(data),
        hook_data: Bytes::copy_from_slice(hook_data),
    });
    Some(installed.collect())
}

/// `installValidations` of one validation. It grants no account function: what it installs cannot act, but a permission signs for
/// the account.
pub fn install_validation(one: &Installation) -> Bytes {
    installValidationsCall {
        vIds: vec![one.id.0],
        configs: vec![ValidationConfig { nonce: one.nonce, hook: one.hook }],
        validationData: vec![one.data.clone()],
        hookData: vec![one.hook_data.clone()],
    }
    .abi_encode()
    .into()
}

/// `invalidateNonce(nonce)`: ends every validation but the root that was installed or approved for a lower one. Of the present
/// `currentNonce` it succeeds and ends nothing.
pub fn invalidate_nonce(nonce: u32) -> Bytes {
    invalidateNonceCall { nonce }.abi_encode().into()
}

/// `grantAccess`: whether a validation may call an account function. Kernel 3.3; older ones by delegatecall to it.
pub fn grant_access(id: ValidationId, selector: Selector, allow: bool) -> Bytes {
    grantAccessCall { vId: id.0, selector, allow }.abi_encode().into()
}

/// `upgradeTo` this version.
pub fn upgrade_to(version: KernelVersion) -> Bytes {
    upgradeToCall { implementation: version.implementation() }.abi_encode().into()
}

/// `uninstallModule` of a fallback: the account function is routed to nobody any more.
pub fn uninstall_fallback(selector: Selector, target: Address) -> Bytes {
    const FALLBACK: U256 = U256::from_limbs([3, 0, 0, 0]);
    let data = Bytes::copy_from_slice(selector.as_slice());
    uninstallModuleCall { moduleType: FALLBACK, module: target, deInitData: data }.abi_encode().into()
}

/// `uninstallValidation` of a permission with so many policies: the account counts the items (one more, for the signer), and
/// reads nothing in them. A hook of its own wants at least one byte of `hook_data`.
pub fn uninstall_permission(id: ValidationId, policies: usize, hook_data: Bytes) -> Bytes {
    use alloy::sol_types::SolValue;
    let items = vec![Bytes::new(); policies.saturating_add(1)];
    uninstallValidationCall { vId: id.0, deinitData: items.abi_encode().into(), hookDeinitData: hook_data }
        .abi_encode()
        .into()
}

/// The EIP-712 domain that the account checks signatures in: `{name: "Kernel", version, chainId, verifyingContract: account}`, with
/// chain id 0 for what is signed for every chain.
pub fn domain(account: Address, kernel: KernelVersion, chain_id: Option<u64>) -> Eip712Domain {
    eip712_domain! {
        name: "Kernel",
        version: kernel.domain_version(),
        chain_id: chain_id.unwrap_or_default(),
        verifying_contract: account,
    }
}

/// The selector of calldata; `None` when there are fewer than four bytes.
pub fn selector_of(call_data: &[u8]) -> Option<Selector> {
    call_data.get(..4).map(Selector::from_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::{
        hex,
        primitives::{address, bytes},
        sol_types::SolEvent,
    };

    #[test]
    fn selectors_and_topics_are_the_deployed_ones() {
        for (ours, theirs) in [
            (first::initializeCall::SELECTOR, hex!("12af322c")),
            (later::initializeCall::SELECTOR, hex!("3c3b752b")),
            (deployWithFactoryCall::SELECTOR, hex!("c5265d5d")),
            (createAccountCall::SELECTOR, hex!("ea6d13ac")),
            (executeCall::SELECTOR, hex!("e9ae5c53")),
            (installValidationsCall::SELECTOR, hex!("9198bdf5")),
            (uninstallValidationCall::SELECTOR, hex!("e6f3d50a")),
            (invalidateNonceCall::SELECTOR, hex!("1f1b92e3")),
            (grantAccessCall::SELECTOR, hex!("b9b82941")),
            (changeRootValidatorCall::SELECTOR, hex!("52141cd9")),
            (upgradeToCall::SELECTOR, hex!("3659cfe6")),
            (installModuleCall::SELECTOR, hex!("9517e29f")),
            (uninstallModuleCall::SELECTOR, hex!("a71763a8")),
            (executorConfigCall::SELECTOR, hex!("721e67f4")),
            (selectorConfigCall::SELECTOR, hex!("57b3a5f4")),
            (currentNonceCall::SELECTOR, hex!("adb610a3")),
            (validNonceFromCall::SELECTOR, hex!("90ef8862")),
            (rootValidatorCall::SELECTOR, hex!("f1f7f0f9")),
            (validationConfigCall::SELECTOR, hex!("b8afe17d")),
            (permissionConfigCall::SELECTOR, hex!("c3e58978")),
            (isAllowedSelectorCall::SELECTOR, hex!("6e6fa0c6")),
            (eip712DomainCall::SELECTOR, hex!("84b0196e")),
            (accountIdCall::SELECTOR, hex!("9cfd7cff")),
            (timestampPolicyConfigCall::SELECTOR, hex!("79574db1")),
            (rateLimitConfigsCall::SELECTOR, hex!("8712147a")),
            (statusCall::SELECTOR, hex!("d8ed2b3c")),
            (signerCall::SELECTOR, hex!("8a3646e3")),
            (encodedPermissionsCall::SELECTOR, hex!("ffbb39f8")),
            (isValidSignatureCall::SELECTOR, hex!("1626ba7e")),
        ] {
            assert_eq!(ours, theirs, "{}", hex::encode(theirs));
        }
        let whole = hex!("9d17cd6d095ac90a655405ab29f30a7ee7e88ef3974c1bf7544bf591043bb71a");
        assert_eq!(SelectorSet::SIGNATURE_HASH, whole);
        let whole = hex!("6789ec0c85d6458d897a36a70129b101f8b4d84c6e218046c3107373dbcbae88");
        assert_eq!(RootValidatorUpdated::SIGNATURE_HASH, whole);
        assert_eq!(ModuleInstalled::SIGNATURE_HASH[..4], hex!("d21d0b28"));
        assert_eq!(Upgraded::SIGNATURE_HASH[..4], hex!("bc7cd75a"));
    }

    #[test]
    fn calldata_reads_back_what_it_encodes() {
        let call = Call { to: Address::repeat_byte(1), value: U256::from(5), data: bytes!("a9059cbb01") };
        for account_call in [
            AccountCall::Execute(call.clone()),
            AccountCall::ExecuteBatch(vec![call.clone(), Call::default()]),
            AccountCall::ExecuteBatch(vec![]),
            AccountCall::ExecuteDelegateCall { to: call.to, data: call.data.clone() },
        ] {
            for (exec, hooked) in [(ExecType::Revert, false), (ExecType::Try, true)] {
                let execution = Execution { call: account_call.clone(), exec, hooked };
                assert_eq!(Execution::decode(&execution.encode()), execution);
            }
        }
        let bare = Execution::plain(AccountCall::Other(bytes!("1f1b92e3")));
        assert_eq!(Execution::decode(&bare.encode()), bare);
    }

    #[test]
    fn calldata_in_any_other_form_is_kept_verbatim() {
        let call = Call { to: Address::repeat_byte(1), value: U256::from(5), data: bytes!("a9059cbb01") };
        let batch = Execution::plain(AccountCall::ExecuteBatch(vec![call.clone(), call]));
        let data = batch.encode();
        for at in 0..data.len() {
            let mut other = data.to_vec();
            other[at] ^= 0x10;
            assert_eq!(Execution::decode(&other).encode()[..], other, "byte {at}");
        }
        let longer = [&data[..], &[0; 32]].concat();
        assert_eq!(Execution::decode(&longer).call, AccountCall::Other(longer.into()));
    }

    #[test]
    fn a_creation_is_read_with_the_factory_in_front_and_without() {
        let owner = address!("70997970C51812dc3A010C7d01b50e0d17dc79C8");
        for version in KernelVersion::ALL {
            let seed = AccountSeed::of_owner(version, owner, U256::from(3));
            for route in [FactoryRoute::Meta, FactoryRoute::Direct] {
                let deployment = seed.deployment(route);
                let bare = Creation::read(&deployment.factory_data).unwrap();
                assert_eq!((bare.seed_of(seed.address()), bare.route), (Some(&seed), route));
                // Only the call without its factory leaves the version open, and only where `initialize` is the same.
                let open = route == FactoryRoute::Direct && version.has_init_config();
                assert_eq!(bare.seeds.len(), if open { 3 } else { 1 });
                let whole = Creation::read(&deployment.init_code()).unwrap();
                assert_eq!(whole, Creation { seeds: vec![seed.clone()], route });
            }
            assert_eq!(seed.owner(), Some(owner));
        }
    }

    #[test]
    fn what_is_installed_reads_back_and_in_any_other_form_is_not_read() {
        let one = Installation {
            id: ValidationId::of_validator(Address::repeat_byte(1)),
            nonce: 7,
            hook: Address::repeat_byte(2),
            data: vec![3; 33].into(),
            hook_data: bytes!("04"),
        };
        let call = install_validation(&one);
        assert_eq!(installations(&call), Some(vec![one]));
        for at in 0..call.len() {
            let mut other = call.to_vec();
            other[at] ^= 0x20;
            // Another byte of what is installed is another installation; any other byte makes it none.
            if let Some([other_one]) = installations(&other).as_deref() {
                assert_eq!(install_validation(other_one)[..], other, "byte {at}");
            }
        }
        assert_eq!(installations(&call[..call.len() - 32]), None);
        assert_eq!(installations(&invalidate_nonce(3)), None);
    }

    #[test]
    fn a_creation_of_another_factory_or_in_another_form_is_not_read() {
        let seed = AccountSeed::of_owner(KernelVersion::V3_1, Address::repeat_byte(1), U256::ZERO);
        let code = seed.deployment(FactoryRoute::Meta).init_code();
        for at in [0, 20, 24 + 12, 24 + 63] {
            let mut other = code.to_vec();
            other[at] ^= 1;
            assert_eq!(Creation::read(&other), None, "byte {at}");
        }
        assert_eq!(Creation::read(&[&code[..], &[0; 32]].concat()), None);
        assert_eq!(Creation::read(&[]), None);
        let first = AccountSeed::of_owner(KernelVersion::V3_0, Address::repeat_byte(1), U256::ZERO);
        assert_eq!(first.with_init_config(vec![bytes!("01")]), None);
    }
}

//! One consistent picture of an account at one block: what is asked of the chain for it, and what the answers mean
//! (docs/kernel-v3.md#state).
//!
//! Some of what has to be asked only the answers tell: the root, and the policies of a key that no approval on record explains. So
//! a request that a snapshot adds to ([`SnapshotRequest::with_all_of`]) is asked once more.

use std::collections::{BTreeMap, BTreeSet};

use alloy::{
    primitives::{Address, B256, Selector, U256, b256, keccak256},
    sol,
};

use super::{
    account::{
        currentNonceCall, delegation_code, ecdsaValidatorStorageCall, executorConfigCall, gasPolicyConfigCall,
        isAllowedSelectorCall, permissionConfigCall, rateLimitConfigsCall, rootValidatorCall, selector,
        selectorConfigCall, signerCall, statusCall, timestampPolicyConfigCall, validNonceFromCall,
        validationConfigCall,
    },
    approval::ApprovalRequest,
    contracts::{
        ECDSA_SIGNER, ECDSA_VALIDATOR, ECDSA_VALIDATOR_3_0, GAS_POLICY, KernelVersion, RATE_LIMIT_POLICY,
        SIGNATURE_CALLER_POLICY, SUDO_POLICY, TIMESTAMP_POLICY,
    },
    nonce::{PermissionId, ValidationId},
    permission_config::{PermissionConfig, PermissionFlag},
    policy::{PolicyFlag, call::CallPolicyVersion},
};
use crate::{
    erc4337::v07::ENTRY_POINT,
    protocol::query::{Answers, Moment, Query, Unread},
};

sol! {
    function balanceOf(address account) returns (uint256);
    /// Of a module: whether it is of this type; 4 is a hook.
    function isModuleType(uint256 moduleTypeId) returns (bool);
}

/// Where a proxy keeps the address of its implementation (ERC-1967).
pub const IMPLEMENTATION_SLOT: B256 = b256!("360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc");

/// The code of every account that the factories make: a proxy that reads its implementation from the slot above.
pub const PROXY_CODE: [u8; 61] = alloy::hex!(
    "363d3d373d3d363d7f360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc545af43d6000803e6038573d6000fd5b3d6000f3"
);

/// As a hook: none. The zero address: not installed.
pub const NO_HOOK: Address = Address::with_last_byte(1);

/// A module's type, as `isModuleType` is asked.
const HOOK: u64 = 4;

/// The nonce that a factory account has from its creation on.
const FIRST_NONCE: u32 = 1;

/// What is asked about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedKey {
    pub id: PermissionId,
    /// Of its approvals, and what the chain named before.
    pub policies: BTreeSet<Address>,
    /// The functions that it may have been allowed, beside `execute` and `executeUserOp`.
    pub selectors: BTreeSet<Selector>,
    /// Whether these are all that it was ever allowed. Where they are not, a key that none of them is open to may still act.
    pub all_selectors: bool,
    /// Modules that an approval of it installs, which may become executors.
    pub modules: BTreeSet<Address>,
}

impl AskedKey {
    /// Of which nothing but the id is known.
    pub fn named(id: PermissionId) -> Self {
        let (policies, selectors, modules) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        Self { id, policies, selectors, all_selectors: false, modules }
    }

    /// What an approval tells; `None` where it is for no permission, or for one that it does not name plainly.
    pub fn of(request: &ApprovalRequest) -> Option<Self> {
        let policies =
            request.config().map_or_else(|_| BTreeSet::new(), |c| c.policies.iter().map(|p| p.address()).collect());
        let data = request.selector();
        // The account takes more forms than are read here, with the module always at the same place.
        let module = request.selector_data.get(4..24).map(Address::from_slice);
        let modules = module.filter(|module| !data.is_plain() && !module.is_zero()).into_iter().collect();
        let id = request.permission_id()?;
        Some(Self { policies, selectors: data.selector().into_iter().collect(), modules, ..Self::named(id) })
    }

    fn add(&mut self, other: Self) {
        self.policies.extend(other.policies);
        self.selectors.extend(other.selectors);
        self.modules.extend(other.modules);
        self.all_selectors |= other.all_selectors;
    }

    fn functions(&self) -> BTreeSet<Selector> {
        let always = [selector::EXECUTE, selector::EXECUTE_USER_OP];
        self.selectors.iter().copied().chain(always).collect()
    }
}

/// What an account that has no code yet would run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    pub version: KernelVersion,
    /// An EOA that is to delegate itself (EIP-7702); otherwise a factory makes it.
    pub delegated: bool,
}

/// What is to be known of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRequest {
    account: Address,
    keys: BTreeMap<PermissionId, AskedKey>,
    planned: Option<Planned>,
    /// Roots and validators beside the known ones.
    validations: BTreeSet<ValidationId>,
    executors: BTreeSet<Address>,
    fallbacks: BTreeSet<Selector>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub account: Address,
    pub block: u64,
    /// Block time, unix seconds.
    pub timestamp: u64,
    pub code: AccountCode,
    /// What the account runs, or would be deployed with. `None`: not one that is known, and nothing further was asked of it.
    pub kernel: Option<KernelVersion>,
    /// The address of what it runs, as far as it is known.
    pub implementation: Option<Address>,
    /// Wei.
    pub balance: U256,
    /// Wei at the EntryPoint.
    pub deposit: U256,
    /// The nonce that approvals carry now; before deployment, what it will be.
    pub current_nonce: u32,
    /// Whatever was installed with a lower nonce is refused.
    pub valid_from: u32,
    /// Who decides over what the owner signs.
    pub root: Option<ValidationId>,
    /// Whom each ECDSA validator takes for the owner.
    pub owners: BTreeMap<Address, Address>,
    /// Of validators, the root among them where it was asked about.
    pub validations: BTreeMap<ValidationId, Validation>,
    pub keys: BTreeMap<PermissionId, KeyState>,
    /// Modules that may move everything at any time, with their hooks.
    pub executors: BTreeMap<Address, Address>,
    /// Functions that are routed to a module.
    pub fallbacks: BTreeMap<Selector, Fallback>,
}

/// The code at the account's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountCode {
    /// None: `delegated` where it is to be that of an EOA.
    None { delegated: bool },
    /// The proxy that the factories make.
    Proxy,
    /// An EOA that has delegated itself to a known Kernel.
    Delegated(KernelVersion),
    /// Anything else, by its hash: also an EOA that has delegated itself to something that is not known.
    Other(B256),
}

/// What the account holds for a validator or a permission.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Validation {
    /// The account's nonce when it was installed.
    pub nonce: u32,
    /// The zero address: not installed. [`NO_HOOK`]: none.
    pub hook: Address,
    /// Whether the validator says of itself that it is a hook too; then its owner may send plain transactions.
    pub is_hook: bool,
}

/// What account, signer and policies hold for a permission.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyState {
    /// The account's nonce when it was installed last; stays when it is uninstalled.
    pub nonce: u32,
    /// The zero address: not installed. [`NO_HOOK`]: none.
    pub hook: Address,
    pub flag: PermissionFlag,
    /// The zero address: none, so that nothing is ever signed.
    pub signer: Address,
    pub policies: Vec<(PolicyFlag, Address)>,
    /// The functions that were asked about.
    pub allowed: BTreeMap<Selector, bool>,
    /// Whether no other function was ever allowed.
    pub all_selectors: bool,
    /// Whom the ECDSA signer knows under the id.
    pub session_key: Option<Address>,
    /// Of the policies that were asked about.
    pub states: BTreeMap<Address, PolicyState>,
}

/// What a policy holds for an id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PolicyState {
    /// 0 never installed, 1 live, 2 used up; `None` where it does not say.
    pub status: Option<u8>,
    pub left: Option<Left>,
}

/// What a policy has left for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Unix seconds, inclusive; `until` 0 = never ends.
    Window { after: u64, until: u64 },
    /// Operations, and the unix seconds of the next turn.
    Turns { interval: u64, left: u64, next: u64 },
    /// Wei.
    Gas { left: u128, enforces_paymaster: bool, paymaster: Address },
}

/// Where the account sends calls of a function that it does not have itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fallback {
    pub hook: Address,
    pub target: Address,
    /// As `execute` has it: 0xff is a delegatecall.
    pub call_type: u8,
}

impl SnapshotRequest {
    pub fn of(account: Address, keys: impl IntoIterator<Item = AskedKey>, planned: Option<Planned>) -> Self {
        let (validations, executors, fallbacks) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let request = Self { account, keys: BTreeMap::new(), planned, validations, executors, fallbacks };
        request.with_keys(keys)
    }

    #[must_use]
    pub fn with_keys(mut self, keys: impl IntoIterator<Item = AskedKey>) -> Self {
        for key in keys {
            // What a key was allowed may be routed to a module, for everybody.
            self.fallbacks.extend(key.selectors.iter().filter(|s| selector::name(**s).is_none()));
            self.executors.extend(&key.modules);
            match self.keys.get_mut(&key.id) {
                Some(known) => known.add(key),
                None => {
                    self.keys.insert(key.id, key);
                }
            }
        }
        self
    }

    /// With validators beside the known ones that the account's history shows.
    #[must_use]
    pub fn with_validators(mut self, validators: impl IntoIterator<Item = Address>) -> Self {
        self.validations.extend(validators.into_iter().map(ValidationId::of_validator));
        self
    }

    /// With modules that the account's history shows: executors, and functions that are routed to one.
    #[must_use]
    pub fn with_modules(
        mut self,
        executors: impl IntoIterator<Item = Address>,
        fallbacks: impl IntoIterator<Item = Selector>,
    ) -> Self {
        self.executors.extend(executors);
        self.fallbacks.extend(fallbacks);
        self
    }

    /// The same with everything that a snapshot has something of: what one node holds, another is asked for as well. Where that is
    /// more than was asked for, the answers named it, and it has to be asked once more.
    #[must_use]
    pub fn with_all_of(&self, snapshot: &Snapshot) -> Self {
        let key = |(id, state): (&PermissionId, &KeyState)| AskedKey {
            policies: state.policies.iter().map(|(_, policy)| *policy).chain(state.states.keys().copied()).collect(),
            selectors: state
                .allowed
                .keys()
                .copied()
                .filter(|s| !AskedKey::named(*id).functions().contains(s))
                .collect(),
            ..AskedKey::named(*id)
        };
        let mut all = self.clone().with_keys(snapshot.keys.iter().map(key));
        let known = known_validations();
        all.validations.extend(snapshot.validations.keys().chain(&snapshot.root).filter(|id| !known.contains(id)));
        all.executors.extend(snapshot.executors.keys());
        all.fallbacks.extend(snapshot.fallbacks.keys());
        all
    }

    /// Whether the answers named nothing that was not asked about.
    pub fn is_answered_by(&self, snapshot: &Snapshot) -> bool {
        snapshot.kernel.is_none() || self.with_all_of(snapshot) == *self
    }

    fn validations(&self) -> BTreeSet<ValidationId> {
        known_validations().into_iter().chain(self.validations.iter().copied()).collect()
    }

    pub fn queries(&self) -> Vec<Query> {
        let account = self.account;
        let owner = |validator| {
            Query::call("ECDSAValidator.ecdsaValidatorStorage", validator, &ecdsaValidatorStorageCall { account })
        };
        let mut queries = vec![
            Query::code("the account's code", account),
            Query::balance("the account's balance", account),
            Query::call("EntryPoint.balanceOf", ENTRY_POINT, &balanceOfCall { account }),
            owner(ECDSA_VALIDATOR),
            owner(ECDSA_VALIDATOR_3_0),
            Query::storage("the account's implementation", account, IMPLEMENTATION_SLOT),
        ];
        queries.extend(self.queries_of_account());
        for key in self.keys.values() {
            let id = key.id.word();
            queries.push(Query::call("ECDSASigner.signer", ECDSA_SIGNER, &signerCall { id, account }));
            for policy in &key.policies {
                queries.extend(policy_queries(*policy, id, account));
            }
        }
        queries
    }

    /// What only an account of a known version answers.
    fn queries_of_account(&self) -> Vec<Query> {
        let account = self.account;
        let mut queries = vec![
            Query::call("Kernel.currentNonce", account, &currentNonceCall {}),
            Query::call("Kernel.validNonceFrom", account, &validNonceFromCall {}),
            Query::call("Kernel.rootValidator", account, &rootValidatorCall {}),
        ];
        for id in self.validations() {
            queries.push(Query::call("Kernel.validationConfig", account, &validationConfigCall { vId: id.0 }));
            let is_hook = isModuleTypeCall { moduleTypeId: U256::from(HOOK) };
            queries.push(Query::call("a validator's isModuleType", id.validator().unwrap_or_default(), &is_hook));
        }
        for executor in &self.executors {
            let call = executorConfigCall { executor: *executor };
            queries.push(Query::call("Kernel.executorConfig", account, &call));
        }
        for function in &self.fallbacks {
            let call = selectorConfigCall { selector: function.0.into() };
            queries.push(Query::call("Kernel.selectorConfig", account, &call));
        }
        for key in self.keys.values() {
            let v_id = key.id.validation_id().0;
            queries.push(Query::call("Kernel.validationConfig", account, &validationConfigCall { vId: v_id }));
            queries.push(Query::call("Kernel.permissionConfig", account, &permissionConfigCall { pId: key.id.0 }));
            queries.extend(key.functions().into_iter().map(|function| {
                let call = isAllowedSelectorCall { vId: v_id, selector: function.0.into() };
                Query::call("Kernel.isAllowedSelector", account, &call)
            }));
        }
        queries
    }

    /// What the answers to [`Self::queries`] say. Another version, an unknown root or a contract that is not there is in the
    /// snapshot, and no error.
    pub fn read<E>(&self, at: Moment, mut answers: Answers<'_, E>) -> Result<Snapshot, Unread<E>> {
        let code = self.code(answers.code_hash()?);
        let balance = answers.number()?;
        let deposit = answers.required::<balanceOfCall>()?;
        let mut owners = BTreeMap::new();
        for validator in [ECDSA_VALIDATOR, ECDSA_VALIDATOR_3_0] {
            let owner = answers.if_there::<ecdsaValidatorStorageCall>()?.unwrap_or_default();
            if !owner.is_zero() {
                owners.insert(validator, owner);
            }
        }
        let in_slot = Address::from_word(B256::from(answers.number()?));
        let implementation = match code {
            AccountCode::None { .. } => None,
            AccountCode::Delegated(version) => Some(version.implementation()),
            AccountCode::Proxy | AccountCode::Other(_) => Some(in_slot),
        };
        let kernel = match code {
            AccountCode::None { .. } => self.planned.map(|planned| planned.version),
            AccountCode::Delegated(version) => Some(version),
            AccountCode::Proxy => KernelVersion::from_implementation(in_slot),
            // Only the proxy is known to run what stands in the slot.
            AccountCode::Other(_) => None,
        };
        let mut snapshot = Snapshot {
            account: self.account,
            block: at.block,
            timestamp: at.timestamp,
            code,
            kernel,
            implementation,
            balance,
            deposit,
            current_nonce: if code == (AccountCode::None { delegated: true }) { 0 } else { FIRST_NONCE },
            valid_from: 0,
            root: None,
            owners,
            validations: BTreeMap::new(),
            keys: BTreeMap::new(),
            executors: BTreeMap::new(),
            fallbacks: BTreeMap::new(),
        };
        let states = self.keys.values().map(|key| {
            let state = KeyState { all_selectors: key.all_selectors, ..KeyState::default() };
            (key.id, state)
        });
        snapshot.keys.extend(states);
        if snapshot.is_deployed() && kernel.is_some() {
            self.read_account(&mut snapshot, &mut answers)?;
        } else {
            answers.skip(self.queries_of_account().len());
        }
        for key in self.keys.values() {
            let Some(state) = snapshot.keys.get_mut(&key.id) else { continue };
            let session_key = answers.if_there::<signerCall>()?.filter(|key| !key.is_zero());
            state.session_key = session_key;
            for policy in &key.policies {
                state.states.insert(*policy, read_policy(*policy, &mut answers)?);
            }
        }
        Ok(snapshot)
    }

    fn code(&self, hash: Option<B256>) -> AccountCode {
        let Some(hash) = hash else {
            return AccountCode::None { delegated: self.planned.is_some_and(|planned| planned.delegated) };
        };
        let delegated = |version: &KernelVersion| keccak256(delegation_code(version.implementation())) == hash;
        if let Some(version) = KernelVersion::ALL.into_iter().find(delegated) {
            return AccountCode::Delegated(version);
        }
        if keccak256(PROXY_CODE) == hash { AccountCode::Proxy } else { AccountCode::Other(hash) }
    }

    fn read_account<E>(&self, snapshot: &mut Snapshot, answers: &mut Answers<'_, E>) -> Result<(), Unread<E>> {
        snapshot.current_nonce = answers.required::<currentNonceCall>()?;
        snapshot.valid_from = answers.required::<validNonceFromCall>()?;
        snapshot.root = Some(ValidationId(answers.required::<rootValidatorCall>()?));
        for id in self.validations() {
            let held = answers.required::<validationConfigCall>()?;
            let is_hook = answers.if_it_answers::<isModuleTypeCall>()?.unwrap_or_default();
            snapshot.validations.insert(id, Validation { nonce: held.nonce, hook: held.hook, is_hook });
        }
        for executor in &self.executors {
            let hook = answers.required::<executorConfigCall>()?;
            if !hook.is_zero() {
                snapshot.executors.insert(*executor, hook);
            }
        }
        for function in &self.fallbacks {
            let held = answers.required::<selectorConfigCall>()?;
            if !held.hook.is_zero() || !held.target.is_zero() {
                let [call_type] = held.callType.0;
                let fallback = Fallback { hook: held.hook, target: held.target, call_type };
                snapshot.fallbacks.insert(*function, fallback);
            }
        }
        for key in self.keys.values() {
            let held = answers.required::<validationConfigCall>()?;
            let config = answers.required::<permissionConfigCall>()?;
            let mut allowed = BTreeMap::new();
            for function in key.functions() {
                allowed.insert(function, answers.required::<isAllowedSelectorCall>()?);
            }
            let policy = |data: &alloy::primitives::FixedBytes<22>| {
                let (flag, address) = data.split_at(2);
                (PolicyFlag(flag.try_into().unwrap_or_default()), Address::from_slice(address))
            };
            let state = KeyState {
                nonce: held.nonce,
                hook: held.hook,
                flag: PermissionFlag(config.permissionFlag.0),
                signer: config.signer,
                policies: config.policyData.iter().map(policy).collect(),
                allowed,
                all_selectors: key.all_selectors,
                ..KeyState::default()
            };
            snapshot.keys.insert(key.id, state);
        }
        Ok(())
    }
}

fn known_validations() -> [ValidationId; 2] {
    [ECDSA_VALIDATOR, ECDSA_VALIDATOR_3_0].map(ValidationId::of_validator)
}

/// Whether a policy remembers ids at all, as far as it is known.
fn has_status(policy: Address) -> bool {
    policy != SUDO_POLICY
}

/// Whether what the policy says of itself is to be relied on: a contract of another address may say anything.
pub fn is_known_policy(policy: Address) -> bool {
    matches!(policy, GAS_POLICY | RATE_LIMIT_POLICY | SIGNATURE_CALLER_POLICY | SUDO_POLICY | TIMESTAMP_POLICY)
        || CallPolicyVersion::from_address(policy).is_some()
}

fn policy_queries(policy: Address, id: B256, account: Address) -> Vec<Query> {
    let mut queries = Vec::new();
    if has_status(policy) {
        queries.push(Query::call("a policy's status", policy, &statusCall { id, account }));
    }
    match policy {
        TIMESTAMP_POLICY => {
            let call = timestampPolicyConfigCall { id, account };
            queries.push(Query::call("TimestampPolicy.timestampPolicyConfig", policy, &call));
        }
        RATE_LIMIT_POLICY => {
            let call = rateLimitConfigsCall { id, account };
            queries.push(Query::call("RateLimitPolicy.rateLimitConfigs", policy, &call));
        }
        GAS_POLICY => {
            let call = gasPolicyConfigCall { id, account };
            queries.push(Query::call("GasPolicy.gasPolicyConfig", policy, &call));
        }
        _ => {}
    }
    queries
}

fn read_policy<E>(policy: Address, answers: &mut Answers<'_, E>) -> Result<PolicyState, Unread<E>> {
    let mut state = PolicyState::default();
    if has_status(policy) {
        state.status = match is_known_policy(policy) {
            true => answers.if_there::<statusCall>()?,
            false => answers.if_it_answers::<statusCall>()?,
        };
    }
    state.left = match policy {
        TIMESTAMP_POLICY => answers
            .if_there::<timestampPolicyConfigCall>()?
            .map(|held| Left::Window { after: held.validAfter.to(), until: held.validUntil.to() }),
        RATE_LIMIT_POLICY => answers.if_there::<rateLimitConfigsCall>()?.map(|held| Left::Turns {
            interval: held.interval.to(),
            left: held.countLeft.to(),
            next: held.nextStart.to(),
        }),
        GAS_POLICY => answers.if_there::<gasPolicyConfigCall>()?.map(|held| Left::Gas {
            left: held.left,
            enforces_paymaster: held.enforcePaymaster,
            paymaster: held.allowedPaymaster,
        }),
        _ => None,
    };
    Ok(state)
}

impl Snapshot {
    pub const fn is_deployed(&self) -> bool {
        !matches!(self.code, AccountCode::None { .. })
    }

    /// Whether the account is an EOA that has delegated itself, or is to.
    pub const fn is_delegated(&self) -> bool {
        matches!(self.code, AccountCode::Delegated(_) | AccountCode::None { delegated: true })
    }

    /// Wei that a holder of a key could spend as gas.
    pub fn spendable(&self) -> U256 {
        self.balance.saturating_add(self.deposit)
    }

    /// What is held for a permission: nothing, where it was not asked about.
    pub fn key(&self, id: PermissionId) -> KeyState {
        self.keys.get(&id).cloned().unwrap_or_default()
    }

    pub fn validation(&self, id: ValidationId) -> Option<Validation> {
        self.validations.get(&id).copied()
    }

    /// The root's own hook, nonce and kind; `None` where the account is not deployed or the root was not asked about.
    pub fn root_validation(&self) -> Option<Validation> {
        self.root.and_then(|root| self.validation(root))
    }

    /// The validator that one secp256k1 key decides by, where the root is such a one.
    pub fn ecdsa_root(&self) -> Option<Address> {
        let of_root = || self.root?.validator().filter(|v| [ECDSA_VALIDATOR, ECDSA_VALIDATOR_3_0].contains(v));
        match self.is_deployed() {
            true => of_root(),
            false if self.is_delegated() => None,
            false => self.kernel.map(KernelVersion::ecdsa_validator),
        }
    }

    /// The one key that decides over the account; `None` before a factory makes it, and where the root is none that is known.
    pub fn owner(&self) -> Option<Address> {
        let by_itself = self.is_delegated()
            && (!self.is_deployed() || self.root == Some(ValidationId::EIP7702_ROOT))
            && self.kernel.is_some_and(KernelVersion::is_safe_to_delegate);
        if by_itself {
            return Some(self.account);
        }
        self.ecdsa_root().filter(|_| self.is_deployed()).and_then(|validator| self.owners.get(&validator).copied())
    }

    /// Whether the owner can make the account's calls in a plain transaction: always from an EOA's own address; otherwise where the
    /// root validator is a hook of the interface that the version knows.
    pub fn owner_may_transact(&self) -> bool {
        if self.is_delegated() {
            return self.owner().is_some();
        }
        let fits = match self.kernel {
            Some(KernelVersion::V3_0) => ECDSA_VALIDATOR_3_0,
            Some(_) => ECDSA_VALIDATOR,
            None => return false,
        };
        self.ecdsa_root() == Some(fits) && self.root_validation().is_some_and(|root| root.is_hook)
    }

    /// The nonce that an approval of this id must carry now, on the version that the account runs.
    pub fn approval_nonce(&self, id: PermissionId) -> u32 {
        match self.kernel {
            Some(KernelVersion::V3_3) => self.install_nonce(id),
            _ => self.current_nonce,
        }
    }

    /// The nonce that the account's own `installValidations` must carry for this id, on every version: where the id was installed at
    /// the current one, the account first takes the next.
    pub fn install_nonce(&self, id: PermissionId) -> u32 {
        let again = self.key(id).nonce == self.current_nonce;
        self.current_nonce.saturating_add(u32::from(again))
    }

    /// Whether the chain holds this approval's permission, as it was signed. Of a call policy only the contract is compared: two
    /// approvals of one id and nonce that differ in nothing else are told apart by nobody.
    pub fn holds(&self, request: &ApprovalRequest) -> bool {
        let Some(state) = request.permission_id().and_then(|id| self.keys.get(&id)) else { return false };
        let hook = if request.hook.is_zero() { NO_HOOK } else { request.hook };
        state.is_installed()
            && state.nonce == request.nonce
            && state.hook == hook
            && request.config().is_ok_and(|config| state.is_of(&config))
    }

    /// Where two readings of the same block are not alike, in words.
    pub fn contradicts(&self, other: &Self) -> Option<String> {
        self.differences(other).into_iter().next()
    }

    /// What two pictures of an account at one block say differently, in words. Amounts are left out: nothing is claimed from them.
    ///
    /// There is no second reading from storage on this family: where a Kernel v3 keeps what is not documented, and a wrong slot
    /// would make an honest node look like a liar. The second answer is that of a second node.
    pub fn differences(&self, theirs: &Self) -> Vec<String> {
        /// Seconds. The block has one time; a node that shifts it makes keys look expired.
        const CLOCKS: u64 = 60;
        // Every field is named, so that a new one is thought about here.
        let Self {
            account: _,
            block: _,
            timestamp,
            code,
            kernel,
            implementation,
            balance: _,
            deposit: _,
            current_nonce,
            valid_from,
            root,
            owners,
            validations,
            keys,
            executors,
            fallbacks,
        } = theirs;
        let mut about = Vec::new();
        let mut differ = |differ: bool, what: &str| about.extend(differ.then(|| what.to_owned()));
        differ(self.timestamp.abs_diff(*timestamp) > CLOCKS, "the time of the block");
        differ(self.code != *code, "the account's own code");
        differ(self.implementation != *implementation || self.kernel != *kernel, "the account's implementation");
        if (self.current_nonce, self.valid_from) != (*current_nonce, *valid_from) {
            let pair = |current, from| format!("{current}, valid from {from}");
            let (ours, other) = (pair(self.current_nonce, self.valid_from), pair(*current_nonce, *valid_from));
            differ(true, &format!("the account's nonces ({ours} and {other})"));
        }
        differ(self.root != *root, "the root validator");
        differ(self.owners != *owners, "the owner");
        for id in united(&self.validations, validations) {
            differ(self.validations.get(&id) != validations.get(&id), &format!("what the account holds for {id}"));
        }
        for id in united(&self.keys, keys) {
            let of = |keys: &BTreeMap<PermissionId, KeyState>| keys.get(&id).cloned().unwrap_or_default().for_claims();
            differ(of(&self.keys) != of(keys), &format!("what the account holds for key {id}"));
        }
        for executor in united(&self.executors, executors) {
            differ(self.executors.get(&executor) != executors.get(&executor), &format!("executor {executor}"));
        }
        for function in united(&self.fallbacks, fallbacks) {
            let same = self.fallbacks.get(&function) == fallbacks.get(&function);
            differ(!same, &format!("the route of {function}"));
        }
        about
    }
}

fn united<K: Ord + Copy, V>(one: &BTreeMap<K, V>, other: &BTreeMap<K, V>) -> BTreeSet<K> {
    one.keys().chain(other.keys()).copied().collect()
}

impl KeyState {
    /// Whether the account still knows who signs for it. A hook alone is what a wrongly uninstalled id leaves behind.
    pub fn is_installed(&self) -> bool {
        !self.hook.is_zero() && !self.signer.is_zero()
    }

    /// Whether it has a hook of its own, which wants to be told when it is uninstalled.
    pub fn has_hook(&self) -> bool {
        !self.hook.is_zero() && self.hook != NO_HOOK
    }

    /// What is left by one of its policies, where operations are checked against it.
    pub fn left(&self, policy: Address) -> Option<Left> {
        let asked = self.policies.iter().any(|(flag, address)| *address == policy && !flag.skips_operations());
        self.states.get(&policy).filter(|_| asked).and_then(|state| state.left)
    }

    fn is_of(&self, config: &PermissionConfig) -> bool {
        let policies = config.policies.iter().map(|policy| (policy.flag(), policy.address()));
        self.flag == config.flag
            && self.signer == config.signer.address()
            && self.policies.iter().copied().eq(policies)
            && config.signer.key().is_none_or(|key| self.session_key == Some(key))
            && config.policies.iter().all(|policy| self.bounds_as(policy))
    }

    /// Of what a policy tells and no use changes.
    fn bounds_as(&self, policy: &super::policy::Policy) -> bool {
        use super::policy::Policy;
        let left = self.states.get(&policy.address()).and_then(|state| state.left);
        match (policy, left) {
            (Policy::Timestamp { window, .. }, Some(Left::Window { after, until })) => {
                (window.valid_after, window.valid_until) == (after, until)
            }
            (Policy::RateLimit { limit, .. }, Some(Left::Turns { interval, .. })) => limit.interval == interval,
            (Policy::Gas { gas, .. }, Some(Left::Gas { enforces_paymaster, paymaster, .. })) => {
                (gas.enforce_paymaster, gas.allowed_paymaster) == (enforces_paymaster, paymaster)
            }
            _ => true,
        }
    }

    /// Without what every use changes, and what was merely asked.
    fn for_claims(self) -> Self {
        let allowed = self.allowed.into_iter().filter(|(_, allowed)| *allowed).collect();
        let fixed = |(policy, state): (Address, PolicyState)| (policy, PolicyState { left: None, ..state });
        let states = self.states.into_iter().filter(|(_, state)| state.status.unwrap_or_default() != 0).map(fixed);
        Self { allowed, states: states.collect(), all_selectors: false, ..self }
    }
}

#[cfg(test)]
impl Snapshot {
    /// A deployed account of this version without any key, at nonce 1.
    pub fn example(kernel: KernelVersion) -> Self {
        let root = ValidationId::of_validator(kernel.ecdsa_validator());
        let validation = Validation { nonce: 1, hook: NO_HOOK, is_hook: true };
        Self {
            account: Address::repeat_byte(0xaa),
            block: 7,
            timestamp: 1_700_000_000,
            code: AccountCode::Proxy,
            kernel: Some(kernel),
            implementation: Some(kernel.implementation()),
            balance: U256::ZERO,
            deposit: U256::ZERO,
            current_nonce: 1,
            valid_from: 0,
            root: Some(root),
            owners: BTreeMap::from([(kernel.ecdsa_validator(), Address::repeat_byte(1))]),
            validations: BTreeMap::from([(root, validation)]),
            keys: BTreeMap::new(),
            executors: BTreeMap::new(),
            fallbacks: BTreeMap::new(),
        }
    }

    /// The same with this approval's key enabled.
    pub(super) fn holding(mut self, request: &ApprovalRequest) -> Self {
        let config = request.config().unwrap();
        let left = |policy: &super::policy::Policy| match policy {
            super::policy::Policy::Timestamp { window, .. } => {
                Some(Left::Window { after: window.valid_after, until: window.valid_until })
            }
            super::policy::Policy::RateLimit { limit, .. } => {
                Some(Left::Turns { interval: limit.interval, left: limit.count, next: limit.start_at })
            }
            _ => None,
        };
        let states = config.policies.iter().map(|p| (p.address(), PolicyState { status: Some(1), left: left(p) }));
        let key = KeyState {
            nonce: request.nonce,
            hook: NO_HOOK,
            flag: config.flag,
            signer: config.signer.address(),
            policies: config.policies.iter().map(|p| (p.flag(), p.address())).collect(),
            allowed: BTreeMap::from([(selector::EXECUTE, true)]),
            all_selectors: true,
            session_key: config.signer.key(),
            states: states.collect(),
        };
        self.keys.insert(request.permission_id().unwrap(), key);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::query::{Answer, Read};
    use alloy::{primitives::Bytes, sol_types::SolValue};

    const ACCOUNT: Address = Address::repeat_byte(0xaa);

    fn key(byte: u8) -> AskedKey {
        AskedKey { policies: [TIMESTAMP_POLICY].into(), ..AskedKey::named(PermissionId([byte; 4].into())) }
    }

    /// Nothing anywhere, but for what is given.
    fn read(request: &SnapshotRequest, code: Option<B256>, told: impl Fn(&Query) -> Option<Bytes>) -> Snapshot {
        let queries = request.queries();
        let answer = |query: &Query| -> Result<Answer, String> {
            Ok(match &query.read {
                Read::Code(_) => Answer::CodeHash(code),
                Read::Balance(_) => Answer::Number(U256::from(3)),
                Read::Storage(..) => Answer::Number(KernelVersion::V3_1.implementation().into_word().into()),
                Read::Call(to, _) if *to == ENTRY_POINT => Answer::Returned(U256::from(4).abi_encode().into()),
                Read::Call(..) => Answer::Returned(told(query).unwrap_or_default()),
            })
        };
        let answers = queries.iter().map(answer).collect();
        request.read(Moment { block: 1, timestamp: 2 }, Answers::new(&queries, answers)).unwrap()
    }

    #[test]
    fn an_account_that_is_not_there_yet_is_read_as_what_it_will_be() {
        for (delegated, nonce, owner) in [(false, 1, None), (true, 0, Some(ACCOUNT))] {
            let planned = Planned { version: KernelVersion::V3_3, delegated };
            let request = SnapshotRequest::of(ACCOUNT, [key(1)], Some(planned));
            let snapshot = read(&request, None, |_| None);
            assert!(!snapshot.is_deployed() && request.is_answered_by(&snapshot));
            assert_eq!((snapshot.current_nonce, snapshot.owner()), (nonce, owner));
            assert_eq!(snapshot.spendable(), U256::from(7));
            assert_eq!(snapshot.approval_nonce(key(1).id), 1, "approvals carry one, whichever it will be");
        }
    }

    #[test]
    fn what_the_answers_name_is_asked_about_once_more() {
        let root = ValidationId::of_validator(Address::repeat_byte(9));
        let policy = Address::repeat_byte(8);
        let told = |query: &Query| match query.what {
            "Kernel.currentNonce" | "Kernel.validNonceFrom" => Some(U256::from(1).abi_encode().into()),
            "Kernel.rootValidator" => Some(root.0.abi_encode().into()),
            "Kernel.isAllowedSelector" => Some(true.abi_encode().into()),
            "Kernel.validationConfig" => Some((1u32, NO_HOOK).abi_encode_params().into()),
            "Kernel.permissionConfig" => {
                let policies =
                    vec![alloy::primitives::FixedBytes::<22>::from_slice(&[&[0, 0], policy.as_slice()].concat())];
                let flag = alloy::primitives::FixedBytes::<2>::ZERO;
                Some((flag, ECDSA_SIGNER, policies).abi_encode().into())
            }
            _ => None,
        };
        let request = SnapshotRequest::of(ACCOUNT, [AskedKey::named(key(1).id)], None);
        let code = Some(keccak256(PROXY_CODE));
        let snapshot = read(&request, code, told);
        assert_eq!((snapshot.code, snapshot.kernel), (AccountCode::Proxy, Some(KernelVersion::V3_1)));
        assert!(!request.is_answered_by(&snapshot));
        let more = request.with_all_of(&snapshot);
        let snapshot = read(&more, code, told);
        assert!(more.is_answered_by(&snapshot));
        assert_eq!(snapshot.root_validation().map(|root| root.hook), Some(NO_HOOK));
        // A policy that nobody knows does not answer, and that is no error.
        assert_eq!(snapshot.key(key(1).id).states.get(&policy), Some(&PolicyState::default()));
        assert_eq!((snapshot.owner(), snapshot.owner_may_transact()), (None, false));
    }

    #[test]
    fn code_is_a_proxy_a_known_delegation_or_something_else() {
        let request = SnapshotRequest::of(ACCOUNT, [], None);
        for version in KernelVersion::ALL {
            let hash = keccak256(delegation_code(version.implementation()));
            assert_eq!(request.code(Some(hash)), AccountCode::Delegated(version));
        }
        let other = keccak256(delegation_code(Address::repeat_byte(1)));
        assert_eq!(request.code(Some(other)), AccountCode::Other(other));
        let unknown = read(&request, Some(other), |_| None);
        assert_eq!(unknown.kernel, None, "only the proxy runs what stands in the slot");
    }

    #[test]
    fn each_thing_that_a_claim_rests_on_is_compared_and_named() {
        type Change = fn(&mut Snapshot);
        let changes: [(&str, Change); 10] = [
            ("the time of the block", |p| p.timestamp += 5_000),
            ("the account's own code", |p| p.code = AccountCode::None { delegated: false }),
            ("the account's implementation", |p| p.implementation = None),
            ("the account's nonces (1, valid from 0 and 9, valid from 0)", |p| p.current_nonce = 9),
            ("the root validator", |p| p.root = None),
            ("the owner", |p| p.owners.clear()),
            ("what the account holds for 0x01845adb2c711129d4f3966735ed98a9f09fc4ce57", |p| p.validations.clear()),
            ("what the account holds for key 0x01010101", |p| {
                p.keys.insert(key(1).id, KeyState { hook: NO_HOOK, ..KeyState::default() });
            }),
            ("executor 0x0202020202020202020202020202020202020202", |p| {
                p.executors.insert(Address::repeat_byte(2), NO_HOOK);
            }),
            ("the route of 0x01020304", |p| {
                let fallback = Fallback { hook: NO_HOOK, target: ACCOUNT, call_type: 0 };
                p.fallbacks.insert([1, 2, 3, 4].into(), fallback);
            }),
        ];
        let ours = Snapshot::example(KernelVersion::V3_1);
        let richer = Snapshot { balance: U256::from(7), block: 9, timestamp: ours.timestamp + 10, ..ours.clone() };
        assert!(ours.differences(&richer).is_empty());
        for (what, change) in changes {
            let mut theirs = ours.clone();
            change(&mut theirs);
            assert_eq!(ours.differences(&theirs), [what]);
            assert!(theirs.contradicts(&ours).is_some(), "{what}: the other way round");
        }
    }

    #[test]
    fn a_plain_transaction_is_the_owners_where_the_root_is_a_hook_that_the_version_knows() {
        for version in KernelVersion::ALL {
            let snapshot = Snapshot::example(version);
            assert!(snapshot.owner_may_transact());
            let mut upgraded = snapshot.clone();
            upgraded.kernel =
                Some(if version == KernelVersion::V3_0 { KernelVersion::V3_3 } else { KernelVersion::V3_0 });
            assert!(!upgraded.owner_may_transact());
            let mut no_hook = snapshot;
            no_hook.validations.clear();
            assert!(!no_hook.owner_may_transact());
        }
    }
}

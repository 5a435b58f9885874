//! One consistent picture of an account at one block: what is asked of the chain for it, and what the answers mean.

use std::collections::{BTreeMap, BTreeSet};

use alloy::{
    primitives::{Address, B256, Bytes, Selector, U256},
    sol,
};

use super::{
    account::{IMPLEMENTATION_SLOT, PROXY_CODE_HASH, execution_status_key, selector},
    approval::EnableData,
    generation::{ECDSA_VALIDATOR, Generation, KernelVersion},
    judge::{self, ExecutionStatus, Routing, Window},
    revocation::{Nonces, SESSION_MODES},
    storage::{KERNEL_SLOT, SESSION_WORDS, nonces_slot, read_disabled_mode, read_nonces, read_session, session_slots},
};
use crate::{
    erc4337::v06::ENTRY_POINT,
    policy::scope::Scope,
    protocol::query::{Answers, Moment, Query, Unread},
};

sol! {
    function balanceOf(address account) returns (uint256);

    function getExecution(bytes4 sel) returns (uint48 validAfter, uint48 validUntil, address executor, address validator);
    function getDisabledMode() returns (bytes4);
    function getDefaultValidator() returns (address);
    function ecdsaValidatorStorage(address account) returns (address);

    function nonces(address account) returns (uint128 lastNonce, uint128 invalidNonce);
    function sessionData(address sessionKey, address account)
        returns (bytes32 merkleRoot, uint48 validAfter, uint48 validUntil, address paymaster, uint256 nonce);
    function executionStatus(bytes32 counter, address account) returns (uint48 validAfter, uint48 runs);
}

/// What is to be known of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotRequest {
    account: Address,
    /// Sorted, each once: see [`Self::of`].
    session_keys: Vec<Address>,
    /// Functions beside the known ones that the account's history opened.
    opened: BTreeSet<Selector>,
    /// What it would be deployed with.
    planned: Option<KernelVersion>,
    /// On the sandbox the validators are ours: they behave like the deployed ones without being the same code.
    own_chain: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub block: u64,
    /// Block time, unix seconds.
    pub timestamp: u64,
    pub deployed: bool,
    pub implementation: Option<Address>,
    /// What the account runs, or would be deployed with.
    pub kernel: Option<KernelVersion>,
    pub owner: Option<Address>,
    /// Who decides over what the owner signs; the ECDSAValidator for an owner with a plain key. `None` before deployment.
    pub default_validator: Option<Address>,
    /// Whether the account's own code is the proxy that the known factory makes.
    pub known_proxy: bool,
    /// Wei.
    pub balance: U256,
    /// Wei at the EntryPoint.
    pub deposit: U256,
    pub disabled_mode: u32,
    pub routes: BTreeMap<Selector, Route>,
    /// Of the validators whose code is there and is the known one.
    pub nonces: BTreeMap<Generation, Nonces>,
    pub sessions: BTreeMap<(Generation, Address), EnableData>,
    pub statuses: BTreeMap<(Generation, u128, u32), ExecutionStatus>,
}

/// Where an account sends operations of one function.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Route {
    pub validator: Address,
    /// Code that runs in the account's name when the function is called; zero for the account's own functions.
    pub executor: Address,
    pub window: Window,
}

impl SnapshotRequest {
    pub fn of(account: Address, session_keys: &[Address], planned: Option<KernelVersion>) -> Self {
        let session_keys = session_keys.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        Self { account, session_keys, planned, ..Self::default() }
    }

    #[must_use]
    pub fn on_own_chain(self, own_chain: bool) -> Self {
        Self { own_chain, ..self }
    }

    #[must_use]
    pub fn with_routes(self, opened: &BTreeSet<Selector>) -> Self {
        Self { opened: opened.clone(), ..self }
    }

    /// The same with everything that a snapshot has something of: what one node holds, another is asked for as well.
    #[must_use]
    pub fn with_all_of(&self, snapshot: &Snapshot) -> Self {
        let of_snapshot = snapshot.sessions.keys().map(|(_, key)| *key);
        let session_keys: Vec<Address> = self.session_keys.iter().copied().chain(of_snapshot).collect();
        let opened = self.opened.iter().chain(snapshot.routes.keys()).copied().collect();
        Self { opened, own_chain: self.own_chain, ..Self::of(self.account, &session_keys, self.planned) }
    }

    fn selectors(&self) -> Vec<Selector> {
        let others = self.opened.iter().copied().filter(|s| !selector::KNOWN.contains(s));
        selector::KNOWN.into_iter().chain(others).collect()
    }

    pub fn queries(&self) -> Vec<Query> {
        let account = self.account;
        let view_of_owner = ecdsaValidatorStorageCall { account };
        let mut queries = vec![
            Query::code("the account's code", account),
            Query::balance("the account's balance", account),
            Query::call("EntryPoint.balanceOf", ENTRY_POINT, &balanceOfCall { account }),
            Query::call("ECDSAValidator.ecdsaValidatorStorage", ECDSA_VALIDATOR, &view_of_owner),
            Query::storage("the account's implementation", account, IMPLEMENTATION_SLOT),
            Query::call("Kernel.getDefaultValidator", account, &getDefaultValidatorCall {}),
            Query::call("Kernel.getDisabledMode", account, &getDisabledModeCall {}),
        ];
        let route =
            |sel: Selector| Query::call("Kernel.getExecution", account, &getExecutionCall { sel: sel.0.into() });
        queries.extend(self.selectors().into_iter().map(route));
        for validator in Generation::ALL.map(Generation::address) {
            queries.push(Query::code("a validator's code", validator));
            queries.push(Query::call("SessionKeyValidator.nonces", validator, &noncesCall { account }));
            queries.extend(self.session_keys.iter().map(|key| {
                let call = sessionDataCall { sessionKey: *key, account };
                Query::call("SessionKeyValidator.sessionData", validator, &call)
            }));
        }
        queries
    }

    /// What the answers to [`Self::queries`] say.
    pub fn read<E>(&self, at: Moment, mut answers: Answers<'_, E>) -> Result<Snapshot, Unread<E>> {
        let code_hash = answers.code_hash()?;
        let mut snapshot = Snapshot {
            block: at.block,
            timestamp: at.timestamp,
            deployed: code_hash.is_some(),
            implementation: None,
            kernel: self.planned,
            owner: None,
            default_validator: None,
            known_proxy: code_hash.is_none_or(|hash| hash == PROXY_CODE_HASH),
            balance: answers.number()?,
            deposit: answers.required::<balanceOfCall>()?,
            disabled_mode: 0,
            routes: BTreeMap::new(),
            nonces: BTreeMap::new(),
            sessions: BTreeMap::new(),
            statuses: BTreeMap::new(),
        };
        let owner = answers.if_there::<ecdsaValidatorStorageCall>()?.unwrap_or_default();
        snapshot.owner = Some(owner).filter(|owner| !owner.is_zero());
        let implementation = Address::from_word(B256::from(answers.number()?));
        let selectors = self.selectors();
        if snapshot.deployed {
            snapshot.implementation = Some(implementation);
            snapshot.kernel = KernelVersion::from_implementation(implementation);
            snapshot.default_validator = Some(answers.required::<getDefaultValidatorCall>()?);
            snapshot.disabled_mode = u32::from_be_bytes(answers.required::<getDisabledModeCall>()?.0);
            for selector in selectors {
                let slot = answers.required::<getExecutionCall>()?;
                let window = Window { after: slot.validAfter.to(), until: slot.validUntil.to() };
                let route = Route { validator: slot.validator, executor: slot.executor, window };
                snapshot.routes.insert(selector, route);
            }
        } else {
            answers.skip(2 + selectors.len());
        }
        for generation in Generation::ALL {
            self.read_validator(generation, &mut snapshot, &mut answers)?;
        }
        Ok(snapshot)
    }

    fn read_validator<E>(
        &self,
        generation: Generation,
        snapshot: &mut Snapshot,
        answers: &mut Answers<'_, E>,
    ) -> Result<(), Unread<E>> {
        let code_hash = answers.code_hash()?;
        let nonces = answers.if_there::<noncesCall>()?;
        let mut sessions = Vec::with_capacity(self.session_keys.len());
        for key in &self.session_keys {
            sessions.push((*key, answers.if_there::<sessionDataCall>()?));
        }
        // Only code that is known to be this generation counts as it.
        if code_hash != Some(generation.code_hash()) && !(self.own_chain && code_hash.is_some()) {
            return Ok(());
        }
        let nonces = nonces.map_or_else(Nonces::default, |n| Nonces { last: n.lastNonce, invalid: n.invalidNonce });
        snapshot.nonces.insert(generation, nonces);
        for (session_key, held) in sessions {
            let Some((held, nonce)) = held.and_then(|h| Some((u128::try_from(h.nonce).ok()?, h))).map(|(n, h)| (h, n))
            else {
                continue;
            };
            if nonce == 0 && held.merkleRoot.is_zero() {
                continue;
            }
            let enable = EnableData {
                session_key,
                merkle_root: held.merkleRoot,
                valid_after: held.validAfter.to(),
                valid_until: held.validUntil.to(),
                paymaster: held.paymaster,
                nonce,
            };
            snapshot.sessions.insert((generation, session_key), enable);
        }
        Ok(())
    }

    /// A second way to read nonces, session keys and the pause: from storage, which another part of a node answers than views.
    pub fn storage_queries(&self) -> Vec<Query> {
        let mut queries = vec![Query::storage("the account's storage", self.account, KERNEL_SLOT)];
        for validator in Generation::ALL.map(Generation::address) {
            queries.push(Query::storage("the account's nonces in storage", validator, nonces_slot(self.account)));
            let slots = self.session_keys.iter().flat_map(|key| session_slots(*key, self.account));
            queries.extend(slots.map(|slot| Query::storage("a session key in storage", validator, slot)));
        }
        queries
    }

    /// The snapshot with what the answers to [`Self::storage_queries`] say. A validator whose code was not the known one, and that
    /// holds nonces of the account all the same, is in it.
    pub fn read_storage<E>(&self, told: &Snapshot, mut answers: Answers<'_, E>) -> Result<Snapshot, Unread<E>> {
        let mut word = || answers.number().map(B256::from);
        let mut stored = told.clone();
        let of_account = word()?;
        stored.disabled_mode = read_disabled_mode(of_account);
        // Only code of its own can have put something there.
        stored.deployed |= !of_account.is_zero();
        for generation in Generation::ALL {
            let nonces = read_nonces(word()?);
            let mut sessions = Vec::with_capacity(self.session_keys.len());
            for key in &self.session_keys {
                let mut words = [B256::ZERO; SESSION_WORDS];
                for place in &mut words {
                    *place = word()?;
                }
                sessions.push((*key, read_session(*key, words)));
            }
            if nonces == Nonces::default() && !told.has_validator(generation) {
                continue;
            }
            stored.nonces.insert(generation, nonces);
            for (key, held) in sessions {
                match held {
                    Some(enable) => stored.sessions.insert((generation, key), enable),
                    None => stored.sessions.remove(&(generation, key)),
                };
            }
        }
        Ok(stored)
    }
}

impl Snapshot {
    pub fn nonces(&self, generation: Generation) -> Nonces {
        self.nonces.get(&generation).copied().unwrap_or_default()
    }

    /// Which validator the account sends this function's session operations to; `None` = to none.
    pub fn route(&self, selector: Selector) -> Option<Route> {
        self.routes.get(&selector).copied().filter(|r| !r.validator.is_zero())
    }

    /// The validator generation this account function is routed to.
    pub fn generation(&self, selector: Selector) -> Option<Generation> {
        self.route(selector).and_then(|route| Generation::from_address(route.validator))
    }

    /// Whether the validator's code is there and is the known one.
    pub fn has_validator(&self, generation: Generation) -> bool {
        self.nonces.contains_key(&generation)
    }

    /// Whether the chain holds exactly this approval for its key.
    pub fn holds(&self, generation: Generation, enable: &EnableData) -> bool {
        self.sessions.get(&(generation, enable.session_key)) == Some(enable)
    }

    /// How often a permission was used, where the chain counts it and was asked.
    pub fn uses(&self, generation: Generation, nonce: u128, index: u32) -> Option<u64> {
        self.statuses.get(&(generation, nonce, index)).map(|status| status.runs)
    }

    /// Whether the account refuses session keys, or some of what they can do, until it is unpaused.
    pub const fn pauses_keys(&self) -> bool {
        self.disabled_mode & SESSION_MODES != 0
    }

    /// Wei that a holder of a key could spend as gas.
    pub fn spendable(&self) -> U256 {
        self.balance.saturating_add(self.deposit)
    }

    /// Where two readings of the same block are not alike, in words.
    pub fn contradicts(&self, other: &Self) -> Option<String> {
        let words = |snapshot: &Self, generation: &Generation| {
            snapshot
                .nonces
                .get(generation)
                .map_or_else(|| "none".to_owned(), |n| format!("last nonce {}, invalid through {}", n.last, n.invalid))
        };
        if let Some((generation, _)) = other.nonces.iter().find(|(g, n)| self.nonces.get(g) != Some(n)) {
            let (told, stored) = (words(self, generation), words(other, generation));
            return Some(format!("the account's nonces on validator {generation}: asked, {told}; stored, {stored}"));
        }
        if self.sessions != other.sessions {
            return Some("the session keys that the validator holds".to_owned());
        }
        if self.deployed != other.deployed {
            return Some("whether the account is deployed".to_owned());
        }
        (self.disabled_mode != other.disabled_mode).then(|| "whether the account is paused".to_owned())
    }

    /// What two pictures of an account at one block say differently, in words. Amounts are left out: nothing is claimed from them.
    pub fn differences(&self, theirs: &Self) -> Vec<String> {
        /// Seconds. The block has one time; a node that shifts it makes keys look expired.
        const CLOCKS: u64 = 60;
        // Every field is named, so that a new one is thought about here.
        let Self {
            block: _,
            timestamp,
            deployed,
            implementation,
            kernel,
            owner,
            default_validator,
            known_proxy,
            balance: _,
            deposit: _,
            disabled_mode,
            routes,
            nonces,
            sessions,
            statuses: _,
        } = theirs;
        let mut about = Vec::new();
        let mut differ = |differ: bool, what: &str| about.extend(differ.then(|| what.to_owned()));
        differ(self.timestamp.abs_diff(*timestamp) > CLOCKS, "the time of the block");
        differ(self.deployed != *deployed, "whether the account is deployed");
        differ(self.implementation != *implementation || self.kernel != *kernel, "the account's implementation");
        differ(self.owner != *owner, "the owner");
        differ(self.default_validator != *default_validator, "the default validator");
        differ(self.known_proxy != *known_proxy, "the account's own code");
        differ(self.disabled_mode != *disabled_mode, "the disabled mode");
        let functions: BTreeSet<_> = self.routes.keys().chain(routes.keys()).copied().collect();
        for function in functions {
            let name = selector::described(function);
            differ(self.routes.get(&function) != routes.get(&function), &format!("the route of {name}"));
        }
        let generations: BTreeSet<_> = self.nonces.keys().chain(nonces.keys()).copied().collect();
        for generation in generations {
            match (self.nonces.get(&generation), nonces.get(&generation)) {
                (Some(one), Some(other)) if one != other => {
                    let pair = |n: &Nonces| format!("{}, {}", n.last, n.invalid);
                    differ(true, &format!("the nonces on {generation} ({} and {})", pair(one), pair(other)));
                }
                (Some(_), Some(_)) => {}
                // Nonces are read of known code only.
                _ => differ(true, &format!("the code of validator {generation}")),
            }
        }
        let held: BTreeSet<_> = self.sessions.keys().chain(sessions.keys()).copied().collect();
        for (generation, key) in held {
            let place = (generation, key);
            differ(self.sessions.get(&place) != sessions.get(&place), &format!("what {generation} holds for {key}"));
        }
        about
    }

    /// The facts the judge asks for, for one approval and one account function.
    pub fn facts(
        &self,
        generation: Generation,
        enable: &EnableData,
        path: judge::Path,
        approval_window: Window,
        selector: Selector,
        paymaster_and_data: Bytes,
    ) -> judge::Facts {
        let nonces = self.nonces(generation);
        let route = self.route(selector);
        judge::Facts {
            timestamp: self.timestamp,
            last_nonce: nonces.last,
            invalid_nonce: nonces.invalid,
            enabled: self.holds(generation, enable),
            routing: match route {
                None => Routing::Nowhere,
                Some(route) if route.validator == generation.address() => Routing::Here,
                Some(_) => Routing::Elsewhere,
            },
            plugin_window: match path {
                judge::Path::Use => route.unwrap_or_default().window,
                judge::Path::Enable => approval_window,
            },
            execution_status: self
                .statuses
                .iter()
                .filter(|((g, nonce, _), _)| *g == generation && *nonce == enable.nonce)
                .map(|((_, _, index), status)| (*index, *status))
                .collect(),
            disabled_mode: self.disabled_mode,
            paymaster_and_data,
        }
    }
}

/// A validator's counters for an account.
pub fn nonces_queries(generation: Generation, account: Address) -> Vec<Query> {
    vec![Query::call("SessionKeyValidator.nonces", generation.address(), &noncesCall { account })]
}

/// What the answer to [`nonces_queries`] says; nothing was counted where the validator was not there yet.
pub fn read_nonces_of<E>(mut answers: Answers<'_, E>) -> Result<Nonces, Unread<E>> {
    let told = answers.if_there::<noncesCall>()?;
    Ok(told.map_or_else(Nonces::default, |n| Nonces { last: n.lastNonce, invalid: n.invalidNonce }))
}

/// What a pause alone rests on: which modes the account refuses.
pub fn mode_queries(account: Address) -> Vec<Query> {
    vec![Query::call("Kernel.getDisabledMode", account, &getDisabledModeCall {})]
}

/// What the answer to [`mode_queries`] says, as a bit mask.
pub fn read_mode<E>(mut answers: Answers<'_, E>) -> Result<u32, Unread<E>> {
    Ok(u32::from_be_bytes(answers.required::<getDisabledModeCall>()?.0))
}

/// The run counters of one approval's permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counters {
    account: Address,
    generation: Generation,
    nonce: u128,
    /// Of the permissions that count.
    indices: Vec<u32>,
}

impl Counters {
    pub fn of(account: Address, generation: Generation, scope: &Scope, nonce: u128) -> Self {
        let limited = scope.permissions.iter().filter(|p| !p.execution_rule.is_none());
        Self { account, generation, nonce, indices: limited.map(|p| p.index).collect() }
    }

    pub fn queries(&self) -> Vec<Query> {
        let counter = |index: &u32| executionStatusCall {
            counter: execution_status_key(self.nonce, *index),
            account: self.account,
        };
        let query =
            |index| Query::call("SessionKeyValidator.executionStatus", self.generation.address(), &counter(index));
        self.indices.iter().map(query).collect()
    }

    /// Adds what the answers to [`Self::queries`] say.
    pub fn read_into<E>(&self, snapshot: &mut Snapshot, mut answers: Answers<'_, E>) -> Result<(), Unread<E>> {
        for index in &self.indices {
            let status = answers.required::<executionStatusCall>()?;
            let status = ExecutionStatus { valid_after: status.validAfter.to(), runs: status.runs.to() };
            snapshot.statuses.insert((self.generation, self.nonce, *index), status);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Address = Address::repeat_byte(2);
    const G2: Generation = Generation::G2;

    fn picture() -> Snapshot {
        let enable = EnableData {
            session_key: KEY,
            merkle_root: B256::repeat_byte(1),
            valid_after: 0,
            valid_until: 0,
            paymaster: Address::ZERO,
            nonce: 1,
        };
        Snapshot {
            block: 7,
            timestamp: 1_000,
            deployed: true,
            implementation: Some(KernelVersion::V0_2_4.implementation()),
            kernel: Some(KernelVersion::V0_2_4),
            owner: Some(Address::repeat_byte(1)),
            default_validator: None,
            known_proxy: true,
            balance: U256::ZERO,
            deposit: U256::ZERO,
            disabled_mode: 0,
            routes: BTreeMap::from([(
                selector::EXECUTE,
                Route { validator: G2.address(), executor: Address::ZERO, window: Window::default() },
            )]),
            nonces: BTreeMap::from([(G2, Nonces { last: 1, invalid: 0 })]),
            sessions: BTreeMap::from([((G2, KEY), enable)]),
            statuses: BTreeMap::new(),
        }
    }

    #[test]
    fn second_node_that_says_the_same_differs_in_nothing_whatever_the_balance() {
        let other = Snapshot { balance: U256::from(7), timestamp: 1_010, ..picture() };
        assert!(picture().differences(&other).is_empty());
    }

    #[test]
    fn each_thing_that_a_claim_rests_on_is_compared_and_named() {
        type Change = fn(&mut Snapshot);
        let changes: [(&str, Change); 9] = [
            ("the time of the block", |p| p.timestamp = 5_000),
            ("whether the account is deployed", |p| p.deployed = false),
            ("the account's implementation", |p| p.implementation = None),
            ("the owner", |p| p.owner = None),
            ("the disabled mode", |p| p.disabled_mode = 3),
            ("the route of execute", |p| p.routes.clear()),
            ("the nonces on G2 (1, 0 and 50, 50)", |p| {
                p.nonces = BTreeMap::from([(G2, Nonces { last: 50, invalid: 50 })])
            }),
            ("the code of validator G2", |p| p.nonces.clear()),
            ("what G2 holds for 0x0202020202020202020202020202020202020202", |p| p.sessions.clear()),
        ];
        for (what, change) in changes {
            let mut theirs = picture();
            change(&mut theirs);
            assert_eq!(picture().differences(&theirs), [what]);
            assert!(!theirs.differences(&picture()).is_empty(), "{what}: the other way round");
        }
    }
}

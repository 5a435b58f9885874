//! What state, planner and proof of the second family promise, on the deployed bytecode of Kernel 3.0-3.3: whatever happened before,
//! what was to end is refused with everything its holder has, and what was to live still works.
//!
//! Every case is the same on every run. A fixed number in CI, many more with `KEYLEASH_LONG=1`; `KEYLEASH_PROPERTY_SEED` searches
//! elsewhere.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests fail loudly and read as specifications"
)]

mod support;

use std::{cell::RefCell, collections::BTreeSet};

use alloy::{
    primitives::{Address, B256, Bytes, Selector, U256, address, hex, keccak256},
    sol,
    sol_types::{SolCall, SolValue},
};
use keyleash::{
    erc4337::faults::{Fault, KernelV3Error},
    protocol::{
        AccountCall, ApprovalId, Call,
        kernel_v3::{
            account::{
                AccountSeed, CallType, ExecType, Execution, FactoryRoute, grantAccessCall, installModuleCall,
                invalidateNonceCall, onInstallCall, onUninstallCall, uninstall_permission, uninstallValidationCall,
                upgradeToCall,
            },
            approval::{Approval, ApprovalRequest, SelectorData},
            contracts::{ECDSA_VALIDATOR, KernelVersion},
            liveness::Outlook,
            nonce::{OperationNonce, PermissionId},
            permission_config::{PermissionConfig, PermissionFlag, Signer},
            policy::{
                Policy, PolicyFlag,
                call::{CallPolicy, CallPolicyVersion, Entry},
                rate_limit::RateLimit,
                timestamp::Timestamp,
            },
            power::{foreign_power, way_back},
            probe::{Answered, Shown, Subject, result},
            revocation::{
                book::{ApprovalBook, Choice, batch},
                consume,
            },
            signature::SignedBy,
            snapshot::{AskedKey, Planned, Snapshot, SnapshotRequest},
            status::{KnownApproval, status},
        },
        power::Control,
        probe::{Probe, ProbeResult},
        query::{Answer, Answers, Moment, Query, Read},
        revocation::{RevocationPlan, RevokeTarget},
        status::State,
    },
};
use support::deployed_v3::{Account, Bundle, DeployedV3, Key, NOW, Signing, approve, call_to, self_calls};

sol! {
    function executeFromExecutor(bytes32 mode, bytes executionCalldata) returns (bytes[] returnData);
}

const OWNER: u64 = 1;
const NEXT_OWNER: u64 = 2;
const CALLER: Address = address!("ca11e4ca11e4ca11e4ca11e4ca11e4ca11e4ca11");
const TARGET: Address = address!("7a43e77a43e77a43e77a43e77a43e77a43e77a43");
/// Answers 1 to every call: a module of every type.
const YES: [u8; 10] = hex!("600160005260206000f3");
const DAY: u64 = 86_400;

/// Where the account comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Made {
    Factory(KernelVersion),
    Delegated,
}

const EVERYWHERE: [Made; 5] = [
    Made::Factory(KernelVersion::V3_0),
    Made::Factory(KernelVersion::V3_1),
    Made::Factory(KernelVersion::V3_2),
    Made::Factory(KernelVersion::V3_3),
    Made::Delegated,
];

/// One account, its owner, and every approval that was ever signed, with its holder.
#[derive(Clone)]
struct House {
    chain: DeployedV3,
    account: Account,
    owner: Key,
    /// Whether the owner sends transactions of its own, where its root lets it.
    by_transaction: bool,
    signed: Vec<(Key, Approval)>,
}

impl House {
    fn new(made: Made, by_transaction: bool) -> Option<Self> {
        let mut chain = DeployedV3::load()?;
        let owner = Key::number(OWNER);
        let account = match made {
            Made::Factory(version) => chain.deploy(version, &owner),
            Made::Delegated => chain.delegate(KernelVersion::V3_3, &owner),
        };
        Some(Self { chain, account, owner, by_transaction, signed: Vec::new() })
    }

    fn request(&self, index: usize) -> &ApprovalRequest {
        &self.signed[index].1.request
    }

    fn id(&self, index: usize) -> ApprovalId {
        self.request(index).id()
    }

    fn pid(&self, index: usize) -> PermissionId {
        self.request(index).permission_id().unwrap()
    }

    fn sign(&mut self, key: &Key, request: ApprovalRequest) -> usize {
        if let Some(known) = self.signed.iter().position(|(_, a)| a.request == request) {
            return known;
        }
        self.signed.push((key.clone(), approve(request, &self.owner)));
        self.signed.len() - 1
    }

    fn approve(&mut self, key: u64, policies: Vec<Policy>) -> usize {
        let key = Key::number(key);
        let request = self.chain.approval_request(&self.account, &scope(&key, policies));
        self.sign(&key, request)
    }

    /// Approved, and enabled by its holder.
    fn enabled(&mut self, key: u64, policies: Vec<Policy>) -> usize {
        let index = self.approve(key, policies);
        assert!(self.enables(index), "a fresh approval is enabled");
        index
    }

    /// The account makes this call, by its owner.
    fn owner_does(&mut self, call: &Execution) -> bool {
        if self.by_transaction && self.snapshot().owner_may_transact() {
            return self.chain.transact(self.owner.address(), self.account.address, U256::ZERO, call.encode()).success;
        }
        let owner = self.owner.clone();
        let op = self.chain.owner_op(&owner, &self.account, call);
        self.chain.handle_ops(&[op]).all_succeeded()
    }

    fn owner_calls(&mut self, data: impl Into<Bytes>) -> bool {
        let call = self_calls(&self.account, [data.into()]);
        self.owner_does(&Execution::plain(call))
    }

    fn enables(&mut self, index: usize) -> bool {
        let (key, approval) = self.signed[index].clone();
        let op = self.chain.enable_op(&key, &self.account, &approval, &nothing());
        matches!(self.chain.handle_ops(&[op]), Bundle::Mined(_))
    }

    fn uses(&mut self, index: usize) -> bool {
        let key = self.signed[index].0.clone();
        let op = self.chain.use_op(&key, &self.account, self.pid(index), &nothing());
        matches!(self.chain.handle_ops(&[op]), Bundle::Mined(_))
    }

    fn signs(&self, index: usize) -> bool {
        let key = &self.signed[index].0;
        let hash = keccak256("a permit");
        let signature = self.chain.sign_for(key, SignedBy::Permission(self.pid(index)), &self.account, hash);
        self.chain.is_valid_signature(CALLER, self.account.address, hash, &signature) == Signing::Valid
    }

    /// Whether what the account holds under the id is this approval's, by the chain's own getters.
    fn is_of(&self, index: usize) -> bool {
        let request = self.request(index);
        let (nonce, _) = self.chain.validation_config(self.account.address, request.validation_id);
        let stored = self.chain.permission_config(self.account.address, self.pid(index));
        let config = request.config().unwrap();
        let policies = config.policies.iter().map(|p| p.address());
        nonce == request.nonce && stored.policies.iter().map(|p| Address::from_slice(&p[2..])).eq(policies)
    }

    /// What the holder of one approval can do now, each attempt in a world of its own.
    fn attempts(&self, index: usize) -> [bool; 3] {
        let mine = self.is_of(index);
        [self.clone().enables(index), mine && self.clone().uses(index), mine && self.signs(index)]
    }

    /// Everything all holders can ever do without the owner: each tries everything in turn until nothing new works.
    fn everything_that_works(&self) -> BTreeSet<usize> {
        let mut works: BTreeSet<usize> =
            (0..self.signed.len()).filter(|index| self.attempts(*index).contains(&true)).collect();
        let mut world = self.clone();
        loop {
            let before = works.len();
            for index in 0..world.signed.len() {
                if world.enables(index) || world.is_of(index) && (world.uses(index) || world.signs(index)) {
                    works.insert(index);
                }
            }
            if works.len() == before {
                return works;
            }
        }
    }

    fn request_for_snapshot(&self) -> SnapshotRequest {
        let keys = self.signed.iter().filter_map(|(_, approval)| AskedKey::of(&approval.request));
        // The history of this account is known from its beginning.
        let keys = keys.map(|key| AskedKey { all_selectors: true, ..key });
        let planned = Planned { version: self.account.version, delegated: self.account.delegated };
        SnapshotRequest::of(self.account.address, keys, Some(planned))
    }

    fn snapshot(&self) -> Snapshot {
        let mut request = self.request_for_snapshot();
        loop {
            let snapshot = self.read(&request);
            if request.is_answered_by(&snapshot) {
                return snapshot;
            }
            request = request.with_all_of(&snapshot);
        }
    }

    fn read(&self, request: &SnapshotRequest) -> Snapshot {
        let queries = request.queries();
        let answers = queries.iter().map(|query| self.answer(query)).collect();
        let moment = Moment { block: 1, timestamp: self.chain.time() };
        request.read(moment, Answers::new(&queries, answers)).unwrap_or_else(|error| panic!("{error}"))
    }

    fn answer(&self, query: &Query) -> Result<Answer, String> {
        Ok(match &query.read {
            Read::Code(of) => {
                let code = self.chain.chain.code(*of);
                Answer::CodeHash((!code.is_empty()).then(|| keccak256(&code)))
            }
            Read::Balance(of) => Answer::Number(self.chain.chain.balance(*of)),
            Read::Storage(of, slot) => Answer::Number(self.chain.storage(*of, (*slot).into())),
            Read::Call(to, data) => {
                let answer = self.chain.call(Address::ZERO, *to, data.clone());
                if !answer.success {
                    return Err(format!("{} reverted with {}", query.what, answer.output));
                }
                Answer::Returned(answer.output)
            }
        })
    }

    fn book(&self, snapshot: &Snapshot) -> ApprovalBook {
        let approvals = self.signed.iter().map(|(_, a)| (&a.request, Some(&a.signature)));
        ApprovalBook::new(self.account.address, Key::number(OWNER).address(), approvals, snapshot)
    }

    fn state(&self, index: usize, snapshot: &Snapshot) -> State {
        status(&self.known(index), Some(snapshot)).state
    }

    fn known(&self, index: usize) -> KnownApproval<'_> {
        let (request, owner) = (self.request(index), Key::number(OWNER).address());
        KnownApproval { owner, request, is_signed: true, is_discovered: false, was_revoked: false }
    }

    fn probes(&self, index: usize) -> (Subject, Vec<Probe>) {
        let approval = &self.signed[index].1;
        let subject = Subject::of(&approval.request, Some(&approval.signature)).unwrap();
        let probes = subject.probes(self.account.address, self.chain.chain_id(), "ETH");
        (subject, probes)
    }

    fn probe(&self, probe: &Probe) -> ProbeResult {
        let answer = self.chain.call(probe.from, probe.to, probe.data.clone());
        let fault = Fault::from_revert(&answer.output);
        let answered =
            if answer.success { Answered::Returned(&answer.output) } else { Answered::Refused(Some(&fault)) };
        result(probe, answered, self.chain.time())
    }

    fn plan(&self, target: &RevokeTarget, choice: Choice) -> (RevocationPlan, Snapshot) {
        let snapshot = self.snapshot();
        let (plan, expected) = self.book(&snapshot).plan(target, &[], choice).unwrap();
        assert!(!expected.raced(&snapshot));
        (plan, snapshot)
    }

    /// Plans, carries out, and reads back.
    fn revoke(&mut self, target: &RevokeTarget, choice: Choice) -> RevocationPlan {
        let snapshot = self.snapshot();
        let (plan, expected) = self.book(&snapshot).plan(target, &[], choice).unwrap();
        assert_eq!(plan.calls.len(), plan.steps.len());
        if plan.calls.is_empty() {
            return plan;
        }
        let call = Execution { exec: choice.exec, ..Execution::plain(AccountCall::ExecuteBatch(plan.calls.clone())) };
        assert_eq!(call.encode(), batch(plan.calls.clone(), choice.exec));
        assert!(self.owner_does(&call), "{:?}: {target:?} {plan:#?}", self.account);
        let after = self.snapshot();
        assert_eq!(expected.unmet(&after), None, "{plan:#?}");
        assert!(expected.raced(&after), "the plan itself moves what it relied on");
        plan
    }

    fn these(&self, indices: impl IntoIterator<Item = usize>) -> RevokeTarget {
        RevokeTarget::These(indices.into_iter().map(|index| self.id(index)).collect())
    }

    fn rotate_owner(&mut self, to: u64) -> bool {
        let to = Key::number(to);
        let validator = self.account.root().validator().unwrap_or(ECDSA_VALIDATOR);
        let forget = onUninstallCall { data: Bytes::new() }.abi_encode();
        let install = onInstallCall { data: Bytes::copy_from_slice(to.address().as_slice()) }.abi_encode();
        let calls = vec![call_to(validator, forget), call_to(validator, install)];
        let done = self.owner_does(&Execution::plain(AccountCall::ExecuteBatch(calls)));
        if done {
            self.owner = to;
        }
        done
    }

    fn upgrade(&mut self, to: KernelVersion) -> bool {
        let call = upgradeToCall { implementation: to.implementation() }.abi_encode();
        let done = self.owner_calls(call);
        if done {
            self.account.version = to;
        }
        done
    }
}

fn nothing() -> Execution {
    Execution::plain(AccountCall::ExecuteBatch(Vec::new()))
}

fn scope(key: &Key, policies: Vec<Policy>) -> PermissionConfig {
    PermissionConfig { flag: PermissionFlag::default(), signer: Signer::Ecdsa(key.address()), policies }
}

fn calls() -> Policy {
    let entry = Entry {
        call_type: CallType::Call,
        target: TARGET,
        selector: Selector::from([1, 2, 3, 4]),
        value_limit: U256::ZERO,
        rules: vec![],
    };
    let call = CallPolicy::new(CallPolicyVersion::V0_0_4, vec![entry]).unwrap();
    Policy::Call { flag: PolicyFlag::default(), call }
}

fn until(valid_until: u64) -> Policy {
    Policy::Timestamp { flag: PolicyFlag::default(), window: Timestamp { valid_after: 0, valid_until } }
}

fn times(count: u64) -> Policy {
    let limit = RateLimit { interval: 0, count, start_at: 0 };
    Policy::RateLimit { flag: PolicyFlag::default(), limit }
}

fn drawn(draw: u64) -> Choice {
    Choice { draw, exec: ExecType::Revert }
}

fn houses() -> impl Iterator<Item = (Made, House)> {
    let all = EVERYWHERE.into_iter().flat_map(|made| [(made, false), (made, true)]);
    all.filter_map(|(made, by_transaction)| Some((made, House::new(made, by_transaction)?)))
}

const fn signs_on(made: Made) -> bool {
    !matches!(made, Made::Factory(KernelVersion::V3_3) | Made::Delegated)
}

// A5.1, row by row.

#[test]
fn uninstalling_ends_an_enabled_key_and_does_nothing_to_one_that_waits() {
    for (made, mut house) in houses() {
        let active = house.enabled(10, vec![calls(), until(0)]);
        let waits = house.approve(11, vec![calls()]);
        assert_eq!(house.state(active, &house.snapshot()), State::Active);
        assert_eq!(house.state(waits, &house.snapshot()), State::Pending);
        assert_eq!(house.attempts(active), [false, true, true], "{made:?}");
        // The SDK's form on the one that waits reverts, with one item it succeeds, and both times it stays usable.
        let sdk = uninstall_permission(house.request(waits).validation_id, 1, Bytes::new());
        assert!(!house.clone().owner_calls(sdk));
        let one = uninstall_permission(house.request(waits).validation_id, 0, Bytes::new());
        assert!(house.owner_calls(one));
        assert_eq!(house.state(waits, &house.snapshot()), State::Pending);
        assert!(house.attempts(waits)[0], "{made:?}");
        let v_id = house.request(active).validation_id;
        for wrong in [Bytes::new(), Vec::<Bytes>::new().abi_encode().into(), vec![Bytes::new(); 4].abi_encode().into()]
        {
            let call = uninstallValidationCall { vId: v_id.0, deinitData: wrong, hookDeinitData: Bytes::new() };
            assert!(!house.owner_calls(call.abi_encode()));
        }
        assert_eq!(house.attempts(active), [false, true, true], "{made:?}: with the wrong number of items");
        assert!(house.owner_calls(uninstall_permission(v_id, 2, Bytes::new())));
        assert_eq!(house.attempts(active), [false; 3], "{made:?}");
        assert_eq!(house.state(active, &house.snapshot()), State::Revoked);
        assert_eq!(house.state(waits, &house.snapshot()), State::Pending);
    }
}

#[test]
fn a_padded_id_takes_the_key_away_and_leaves_a_hook_that_is_none() {
    for (made, mut house) in houses() {
        let active = house.enabled(10, vec![]);
        let mut padded = house.request(active).validation_id;
        padded.0.0[20] = 1;
        assert!(house.owner_calls(uninstall_permission(padded, 0, Bytes::new())));
        let held = house.snapshot().key(house.pid(active));
        assert!(!held.hook.is_zero() && held.signer.is_zero(), "{made:?}");
        assert_eq!(house.attempts(active), [false; 3], "{made:?}");
        assert!(matches!(house.state(active, &house.snapshot()), State::Revoked));
    }
}

#[test]
fn invalidating_the_current_nonce_ends_nothing_and_a_higher_one_everything_but_signatures_before_3_3() {
    for (made, mut house) in houses() {
        let active = house.enabled(10, vec![calls()]);
        let waits = house.approve(11, vec![calls()]);
        let current = house.chain.current_nonce(house.account.address);
        assert!(house.owner_calls(invalidateNonceCall { nonce: current }.abi_encode()));
        assert_eq!((house.attempts(active)[1], house.attempts(waits)[0]), (true, true), "{made:?}");
        for refused in [current, current + 11] {
            assert!(!house.owner_calls(invalidateNonceCall { nonce: refused }.abi_encode()), "{made:?}");
        }
        assert!(house.owner_calls(invalidateNonceCall { nonce: current + 1 }.abi_encode()));
        assert_eq!(house.attempts(active), [false, false, signs_on(made)], "{made:?}");
        assert_eq!(house.attempts(waits), [false; 3], "{made:?}");
        let snapshot = house.snapshot();
        let told = status(&house.known(active), Some(&snapshot));
        // It still signs: it is not revoked, and its reason says so.
        assert_eq!(told.state, if signs_on(made) { State::Active } else { State::Revoked }, "{made:?}");
        assert_eq!(told.reason.contains("still signs"), signs_on(made), "{made:?}: {}", told.reason);
        assert_eq!(house.state(waits, &snapshot), State::Revoked, "{made:?}");
    }
}

#[test]
fn an_approval_of_a_later_nonce_comes_alive_with_it() {
    for (made, mut house) in houses() {
        let key = Key::number(10);
        let mut request = house.chain.approval_request(&house.account, &scope(&key, vec![calls()]));
        request.nonce += 3;
        let later = house.sign(&key, request);
        assert_eq!(house.state(later, &house.snapshot()), State::Queued, "{made:?}");
        assert_eq!(house.attempts(later), [false; 3]);
        let nonce = house.request(later).nonce;
        assert!(house.clone().owner_calls(invalidateNonceCall { nonce }.abi_encode()));
        let mut world = house.clone();
        assert!(world.owner_calls(invalidateNonceCall { nonce }.abi_encode()));
        assert_eq!(world.state(later, &world.snapshot()), State::Pending, "{made:?}");
        assert!(world.attempts(later)[0]);
        // The stop is never drawn onto it, whatever is drawn.
        for draw in 0..9 {
            let mut world = house.clone();
            let plan = world.revoke(&RevokeTarget::All, drawn(draw));
            assert!(plan.ends.contains(&world.id(later)), "{made:?}: {plan:?}");
            assert_eq!(world.attempts(later), [false; 3]);
        }
        // Alone it ends with the nonce, and the key that is enabled stays.
        let active = house.enabled(11, vec![calls()]);
        let waits = house.approve(12, vec![calls()]);
        let plan = house.revoke(&house.these([later]), drawn(5));
        assert_eq!((plan.ends, plan.also_ends), ([house.id(later)].into(), [house.id(waits)].into()), "{made:?}");
        assert!(house.attempts(active)[1]);
        let (_, from) = (0, house.chain.valid_nonce_from(house.account.address));
        assert_eq!(from, 0, "nothing was stopped");
    }
}

#[test]
fn upgrades_make_what_waits_stale_and_undone_it_can_be_enabled_again() {
    for (made, mut house) in houses() {
        let to = match made {
            Made::Factory(KernelVersion::V3_1) => KernelVersion::V3_3,
            Made::Factory(KernelVersion::V3_2) => KernelVersion::V3_1,
            Made::Factory(KernelVersion::V3_3) => KernelVersion::V3_2,
            _ => continue,
        };
        let (active, waits) = (house.enabled(10, vec![calls()]), house.approve(11, vec![calls()]));
        let back = house.account.version;
        assert!(house.upgrade(to));
        assert_eq!(house.attempts(active)[1..], [true, true]);
        assert_eq!((house.state(waits, &house.snapshot()), house.attempts(waits)), (State::Stale, [false; 3]));
        // Ended while it is stale, it stays over when the upgrade is undone.
        let mut ended = house.clone();
        ended.revoke(&ended.these([waits]), drawn(1));
        for world in [&mut house, &mut ended] {
            assert!(world.upgrade(back));
        }
        assert!(house.attempts(waits)[0] && !ended.attempts(waits)[0], "{made:?}");
    }
}

#[test]
fn another_owner_leaves_keys_and_makes_what_waits_stale() {
    for (made, mut house) in houses().filter(|(made, _)| *made != Made::Delegated) {
        let (active, waits) = (house.enabled(10, vec![calls()]), house.approve(11, vec![calls()]));
        assert!(house.rotate_owner(NEXT_OWNER));
        assert_eq!(house.attempts(active)[1..], [true, true]);
        assert_eq!(
            (house.state(waits, &house.snapshot()), house.attempts(waits)),
            (State::Stale, [false; 3]),
            "{made:?}"
        );
        let mut ended = house.clone();
        ended.revoke(&ended.these([waits, active]), drawn(1));
        for world in [&mut house, &mut ended] {
            assert!(world.rotate_owner(OWNER));
        }
        assert!(house.attempts(waits)[0] && !ended.attempts(waits)[0], "{made:?}");
        assert_eq!(ended.attempts(active), [false; 3]);
    }
}

#[test]
fn the_selector_switch_of_3_3_pauses_a_key_that_still_signs() {
    for (made, mut house) in houses().filter(|(made, _)| !signs_on(*made)) {
        let active = house.enabled(10, vec![calls()]);
        let v_id = house.request(active).validation_id.0;
        let switch = |allow| grantAccessCall { vId: v_id, selector: hex!("e9ae5c53").into(), allow }.abi_encode();
        assert!(house.owner_calls(switch(false)));
        let told = status(&house.known(active), Some(&house.snapshot()));
        assert_eq!((told.state, told.reason.contains("still signs")), (State::Paused, true), "{made:?}");
        assert_eq!(house.attempts(active)[1..], [false, true]);
        assert!(house.owner_calls(switch(true)));
        assert_eq!(house.state(active, &house.snapshot()), State::Active);
    }
}

// A5.3.

#[test]
fn one_that_waits_is_ended_alone() {
    for (made, mut house) in houses() {
        let (wanted, other) = (house.approve(10, vec![calls(), until(0)]), house.approve(11, vec![]));
        let active = house.enabled(12, vec![calls()]);
        let plan = house.revoke(&house.these([wanted]), Choice::default());
        assert_eq!((plan.calls.len(), plan.ends.len(), plan.also_ends.len()), (2, 1, 0), "{made:?}");
        assert_eq!(house.attempts(wanted), [false; 3]);
        assert!(house.attempts(other)[0] && house.attempts(active)[1], "{made:?}");
        assert_eq!(house.state(wanted, &house.snapshot()), State::Revoked);
        // Once more is nothing.
        let (again, _) = house.plan(&house.these([wanted]), Choice::default());
        assert_eq!((again.calls.len(), again.over.len()), (0, 1));
    }
}

#[test]
fn a_race_reverts_the_whole_plan_and_a_batch_that_tries_ends_either() {
    for (made, mut house) in houses() {
        let wanted = house.approve(10, vec![calls()]);
        let (plan, _) = house.plan(&house.these([wanted]), Choice::default());
        let trying = Choice { draw: 0, exec: ExecType::Try };
        let (either, _) = house.plan(&house.these([wanted]), trying);
        assert_eq!(either.calls.len(), 3);
        assert!(house.enables(wanted), "{made:?}: its holder was first");
        assert!(!house.clone().owner_does(&Execution::plain(AccountCall::ExecuteBatch(plan.calls))));
        assert!(house.owner_does(&Execution {
            exec: ExecType::Try,
            ..Execution::plain(AccountCall::ExecuteBatch(either.calls))
        }));
        assert_eq!(house.attempts(wanted), [false; 3], "{made:?}");
    }
}

#[test]
fn an_id_that_is_uninstalled_after_the_nonce_moved_is_used_up_with_it() {
    for (made, mut house) in houses() {
        let active = house.enabled(10, vec![]);
        let current = house.chain.current_nonce(house.account.address);
        // Raised without ending the key: by the bump of another tool.
        let dummy = PermissionId([9, 9, 9, 9].into());
        let bump: Vec<Bytes> = [current, current + 1].into_iter().flat_map(|nonce| consume(dummy, nonce)).collect();
        assert!(house.owner_does(&Execution::plain(self_calls(&house.account, bump))), "{made:?}");
        // The same id once more, for the nonce that is current now: it waits behind the key that is enabled.
        let key = house.signed[active].0.clone();
        let request = house.chain.approval_request(&house.account, &scope(&key, vec![]));
        let twin = house.sign(&key, request);
        assert_eq!(house.state(twin, &house.snapshot()), State::Queued);
        let mut by_hand = house.clone();
        assert!(by_hand.owner_calls(uninstall_permission(house.request(active).validation_id, 0, Bytes::new())));
        assert!(by_hand.attempts(twin)[0], "{made:?}: uninstalling alone lets it in");
        let plan = house.revoke(&house.these([active]), Choice::default());
        assert_eq!(plan.also_ends, [house.id(twin)].into(), "{made:?}");
        assert_eq!(house.attempts(twin), [false; 3]);
    }
}

#[test]
fn the_final_stop_ends_everything_and_the_owner_signs_on() {
    for (made, mut house) in houses() {
        let (active, other) = (house.enabled(10, vec![calls(), until(0)]), house.enabled(11, vec![]));
        let waits = house.approve(12, vec![calls()]);
        let gas = house.revoke(&RevokeTarget::All, drawn(3));
        for index in [active, other, waits] {
            assert_eq!(house.attempts(index), [false; 3], "{made:?}: {gas:?}");
            assert_eq!(house.state(index, &house.snapshot()), State::Revoked, "{made:?}");
        }
        assert!(house.everything_that_works().is_empty());
        let hash = keccak256("what the owner signs");
        let by = match house.account.root().validator() {
            Some(validator) => SignedBy::Validator(validator),
            None => SignedBy::Root,
        };
        let signature = house.chain.sign_for(&house.owner, by, &house.account, hash);
        let answer = house.chain.is_valid_signature(CALLER, house.account.address, hash, &signature);
        assert_eq!(answer, Signing::Valid, "{made:?}");
        assert!(house.owner_does(&nothing()));
        // And a new key can be granted.
        assert!(house.attempts(house.signed.len() - 1) == [false; 3]);
        let again = house.approve(13, vec![calls()]);
        assert!(house.enables(again) && house.uses(again), "{made:?}");
    }
}

#[test]
fn a_fresh_delegation_is_stopped_too() {
    let Some(mut house) = House::new(Made::Delegated, true) else { return };
    let waits = house.approve(10, vec![calls()]);
    assert_eq!((house.snapshot().current_nonce, house.request(waits).nonce), (0, 1));
    // One is what approvals carry here: it stops nothing.
    let mut one = house.clone();
    assert!(one.owner_calls(invalidateNonceCall { nonce: 1 }.abi_encode()));
    assert!(one.attempts(waits)[0]);
    for draw in 0..9 {
        let mut world = house.clone();
        world.revoke(&RevokeTarget::All, drawn(draw));
        assert_eq!(world.attempts(waits), [false; 3]);
    }
    house.revoke(&house.these([waits]), Choice::default());
    assert_eq!(house.attempts(waits), [false; 3]);
}

#[test]
fn a_key_with_a_hook_is_uninstalled_with_a_byte_for_it() {
    for (made, mut house) in houses() {
        const HOOK: Address = address!("4004004004004004004004004004004004004004");
        house.chain.set_code(HOOK, &YES);
        let key = Key::number(10);
        let mut request = house.chain.approval_request(&house.account, &scope(&key, vec![]));
        (request.hook, request.hook_data) = (HOOK, Bytes::from_static(&[1]));
        request.selector_data = SelectorData::plain();
        let index = house.sign(&key, request);
        let call = Execution { hooked: true, ..nothing() };
        let (key, approval) = house.signed[index].clone();
        let op = house.chain.enable_op(&key, &house.account, &approval, &call);
        assert!(matches!(house.chain.handle_ops(&[op]), Bundle::Mined(_)), "{made:?}");
        assert!(house.snapshot().key(house.pid(index)).has_hook());
        let v_id = house.request(index).validation_id;
        assert!(!house.owner_calls(uninstall_permission(v_id, 0, Bytes::new())), "{made:?}: as the SDK does it");
        house.revoke(&house.these([index]), Choice::default());
        assert_eq!(house.attempts(index), [false; 3], "{made:?}");
    }
}

// What else can act.

#[test]
fn a_fallback_and_an_executor_survive_a_key_and_are_closed_with_the_stop() {
    for (made, mut house) in houses() {
        const MODULE: Address = address!("e8ec0000000000000000000000000000000000e8");
        const FALLBACK: Address = address!("fa11bac000000000000000000000000000000fa1");
        house.chain.set_code(MODULE, &YES);
        house.chain.set_code(FALLBACK, &YES);
        let open = Selector::from([0xab, 0xcd, 0xef, 0x01]);
        let mut smuggled = Vec::new();
        for (key, selector, target, hook, call_type) in [
            (10, Selector::from([0x0a, 0x0b, 0x0c, 0x0d]), MODULE, Address::ZERO, CallType::Call),
            (11, open, FALLBACK, Address::with_last_byte(1), CallType::DelegateCall),
        ] {
            let key = Key::number(key);
            let mut request = house.chain.approval_request(&house.account, &scope(&key, vec![]));
            // From 3.2 on an executor's hook is looked for in a third value, which no encoder writes.
            let kind = Bytes::copy_from_slice(&[call_type.code()]);
            let values = (kind, Bytes::from_static(&[0, 0]), Bytes::from_static(&[0; 20])).abi_encode_params();
            request.selector_data = [selector.as_slice(), target.as_slice(), hook.as_slice(), &values].concat().into();
            let index = house.sign(&key, request);
            let call = Execution::plain(AccountCall::Other([selector.as_slice(), &[0; 32]].concat().into()));
            let (key, approval) = house.signed[index].clone();
            let op = house.chain.enable_op(&key, &house.account, &approval, &call);
            let bundle = house.chain.handle_ops(&[op]);
            assert!(matches!(bundle, Bundle::Mined(_)), "{made:?}: {selector} {bundle:?}");
            smuggled.push(index);
        }
        let moves = executeFromExecutorCall {
            mode: B256::ZERO,
            executionCalldata: [TARGET.as_slice(), &U256::from(1).to_be_bytes::<32>()].concat().into(),
        };
        let steals = |house: &House| house.chain.call(MODULE, house.account.address, moves.abi_encode()).success;
        let strangers = |house: &House| house.chain.call(CALLER, house.account.address, open.to_vec()).success;
        assert!(strangers(&house), "{made:?}");
        assert!(steals(&house), "{made:?}");
        // Neither ends with the key.
        house.revoke(&house.these(smuggled.clone()), Choice::default());
        let snapshot = house.snapshot();
        assert!(strangers(&house) && steals(&house), "{made:?}");
        let (control, remaining) = foreign_power(house.account.address, house.owner.address(), &snapshot);
        assert_eq!(control, Control::Shared);
        let told: Vec<&str> = remaining.iter().map(|r| r.what.as_str()).collect();
        assert!(told.contains(&"executor") && told.contains(&"route of 0xabcdef01"), "{made:?}: {told:?}");
        let mut back = house.clone();
        let calls: Vec<Call> = way_back(house.account.address, house.owner.address(), &snapshot)
            .into_iter()
            .map(|(call, _)| call)
            .collect();
        assert!(back.owner_does(&Execution::plain(AccountCall::ExecuteBatch(calls))), "{made:?}");
        house.revoke(&RevokeTarget::All, drawn(0));
        for house in [&house, &back] {
            assert!(!strangers(house), "{made:?}");
            assert!(!steals(house), "{made:?}");
            let (control, left) = foreign_power(house.account.address, house.owner.address(), &house.snapshot());
            assert_eq!((control, left), (Control::Ours, vec![]), "{made:?}");
        }
    }
}

#[test]
fn an_executor_that_was_installed_by_the_owner_goes_too() {
    for (made, mut house) in houses() {
        const MODULE: Address = address!("e8ec0000000000000000000000000000000000e8");
        house.chain.set_code(MODULE, &YES);
        let values = (Bytes::new(), Bytes::new()).abi_encode_params();
        let data = [Address::ZERO.as_slice(), &values].concat();
        let call = installModuleCall { moduleType: U256::from(2), module: MODULE, initData: data.into() };
        assert!(house.owner_calls(call.abi_encode()), "{made:?}");
        let request = house.request_for_snapshot().with_modules([MODULE], []);
        let snapshot = house.read(&request);
        assert_eq!(snapshot.executors.keys().copied().collect::<Vec<_>>(), [MODULE], "{made:?}");
        let (plan, _) = house.book(&snapshot).plan(&RevokeTarget::All, &[], drawn(0)).unwrap();
        assert!(house.owner_does(&Execution::plain(AccountCall::ExecuteBatch(plan.calls))));
        assert!(house.read(&request).executors.is_empty(), "{made:?}");
    }
}

// Undeployed accounts.

#[test]
fn a_plan_goes_with_the_deployment_and_attempts_go_through_the_entry_point() {
    for version in KernelVersion::ALL {
        let Some(chain) = DeployedV3::load() else { return };
        let owner = Key::number(OWNER);
        let seed = AccountSeed::of_owner(version, owner.address(), U256::ZERO);
        let account = Account { address: seed.address(), version, delegated: false };
        let mut house = House { chain, account, owner, by_transaction: false, signed: Vec::new() };
        house.chain.fund(account.address, support::deployed_v3::FUNDS);
        let mut indices = Vec::new();
        for key in [10, 11] {
            let key = Key::number(key);
            let config = scope(&key, vec![calls()]);
            let request = ApprovalRequest {
                chain_id: Some(house.chain.chain_id()),
                account: account.address,
                kernel: version,
                validation_id: config.validation_id(),
                nonce: 1,
                hook: Address::ZERO,
                enable_data: config.enable_data(),
                hook_data: Bytes::new(),
                selector_data: SelectorData::plain(),
            };
            indices.push(house.sign(&key, request));
        }
        let deployment = seed.deployment(FactoryRoute::Meta);
        for (target, kept) in [(house.these([indices[0]]), true), (RevokeTarget::All, false)] {
            let mut house = house.clone();
            assert_eq!(house.state(indices[0], &house.snapshot()), State::Pending);
            let approval = &house.signed[indices[0]].1;
            let subject = Subject::of(&approval.request, Some(&approval.signature)).unwrap();
            let subject = subject.before_deployment(Some(deployment.clone()));
            let probes = subject.probes(account.address, house.chain.chain_id(), "ETH");
            let before: Vec<ProbeResult> = probes.iter().map(|probe| house.probe(probe)).collect();
            assert_eq!(before[0], ProbeResult::Passes, "{version}");
            let (plan, _) = house.plan(&target, drawn(2));
            let call = Execution::plain(AccountCall::ExecuteBatch(plan.calls.clone()));
            let nonce = OperationNonce::of_root(account.root().identifier());
            let mut op = house.chain.user_op(&account, nonce, &call);
            op.deployment = Some(deployment.clone());
            op.signature = house.owner.sign_message(house.chain.hash(&op)).into();
            house.chain.handle_ops(&[op]).assert_succeeded();
            assert_eq!(house.attempts(indices[0]), [false; 3], "{version}: {plan:?}");
            assert_eq!(house.attempts(indices[1])[0], kept, "{version}: {plan:?}");
        }
    }
}

// Proof.

#[test]
fn what_is_tried_passes_before_and_is_refused_by_name_or_by_state_after() {
    for (made, mut house) in houses() {
        let active = house.enabled(10, vec![calls(), until(NOW + DAY), times(9)]);
        let waits = house.approve(11, vec![calls()]);
        for (target, exec) in
            [(Some(active), ExecType::Revert), (Some(waits), ExecType::Revert), (None, ExecType::Revert)]
        {
            let mut world = house.clone();
            let wanted = target.map_or_else(|| vec![active, waits], |index| vec![index]);
            let before: Vec<Vec<ProbeResult>> = wanted
                .iter()
                .map(|index| world.probes(*index).1.iter().map(|probe| world.probe(probe)).collect())
                .collect();
            let asked = target.map_or(RevokeTarget::All, |index| world.these([index]));
            world.revoke(&asked, Choice { draw: 1, exec });
            let snapshot = world.snapshot();
            for (index, before) in wanted.iter().zip(before) {
                let (subject, probes) = world.probes(*index);
                assert_eq!(subject.still_stands(&snapshot), None);
                let shown: Vec<(&str, Shown)> = probes
                    .iter()
                    .zip(&before)
                    .map(|(probe, before)| (probe.name, subject.shows(before, &world.probe(probe), &snapshot)))
                    .collect();
                let v3_3 = !signs_on(made);
                // What an enabled key's holder has is a use and a signature, and of one that waits its approval.
                let stopped = target.is_none() && v3_3;
                let expected = match (*index == active, stopped) {
                    (true, true) => [
                        Shown::NotBefore,
                        Shown::Named(KernelV3Error::InvalidNonce),
                        Shown::Named(KernelV3Error::InvalidNonce),
                    ],
                    (true, false) => [Shown::NotBefore, Shown::State, Shown::Named(KernelV3Error::InvalidValidator)],
                    (false, _) => {
                        let by_nonce = target.is_none() || v3_3;
                        let error =
                            if by_nonce { KernelV3Error::EnableNotApproved } else { KernelV3Error::InvalidNonce };
                        [Shown::Named(error), Shown::NotBefore, Shown::NotBefore]
                    }
                };
                assert_eq!(
                    shown.iter().map(|(_, shown)| *shown).collect::<Vec<_>>(),
                    expected,
                    "{made:?} {target:?} {shown:?}"
                );
            }
        }
    }
}

#[test]
fn a_use_outside_its_window_proves_nothing() {
    for (made, mut house) in houses() {
        let active = house.enabled(10, vec![calls(), until(NOW + DAY)]);
        house.chain.set_time(NOW + 2 * DAY);
        let (_, probes) = house.probes(active);
        let told: Vec<ProbeResult> = probes.iter().map(|probe| house.probe(probe)).collect();
        assert_eq!(told[1..], [ProbeResult::Scope(Fault::Expired), ProbeResult::Passes], "{made:?}");
        let known = status(&house.known(active), Some(&house.snapshot()));
        assert_eq!((known.state, known.reason.contains("still signs")), (State::Expired, true));
        // It still signs, so that there is something to end.
        let plan = house.revoke(&house.these([active]), Choice::default());
        assert_eq!((plan.ends.len(), house.attempts(active)), (1, [false; 3]));
    }
}

#[test]
fn a_key_that_only_the_chain_tells_of_is_found_ended_and_tried() {
    for (made, mut house) in houses() {
        let unknown = house.enabled(10, vec![calls(), until(0)]);
        let snapshot = house.snapshot();
        let book = ApprovalBook::new(house.account.address, house.owner.address(), [], &snapshot);
        let holdings: Vec<_> = book.unexplained().collect();
        assert_eq!(holdings.len(), 1, "{made:?}");
        assert_eq!(holdings[0].holder, house.signed[unknown].0.address());
        let subject = book.subject(holdings[0].id).unwrap();
        let probes = subject.probes(house.account.address, house.chain.chain_id(), "ETH");
        let before: Vec<ProbeResult> = probes.iter().map(|probe| house.probe(probe)).collect();
        assert_eq!(before, [ProbeResult::Passes, ProbeResult::Passes], "{made:?}");
        let (plan, _) = book.plan(&RevokeTarget::These([holdings[0].id].into()), &[], Choice::default()).unwrap();
        assert!(house.owner_does(&Execution::plain(AccountCall::ExecuteBatch(plan.calls))));
        let after = house.snapshot();
        for (probe, before) in probes.iter().zip(&before) {
            let shown = subject.shows(before, &house.probe(probe), &after);
            assert!(matches!(shown, Shown::State | Shown::Named(_)), "{made:?}: {shown:?}");
        }
        assert_eq!(house.attempts(unknown), [false; 3]);
    }
}

// Anything may have happened before.

/// A seeded sequence of numbers: the same on every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }

    fn index(&mut self, limit: usize) -> usize {
        self.below(limit as u64) as usize
    }

    fn chance(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }
}

fn something_happens(house: &mut House, numbers: &mut Numbers) -> String {
    let known = house.signed.len();
    let current = house.chain.current_nonce(house.account.address);
    match numbers.below(if known == 0 { 1 } else { 20 }) {
        0..=5 => {
            let key = Key::number(10 + numbers.below(4));
            let policies = match numbers.below(5) {
                0 => vec![],
                1 => vec![calls()],
                2 => vec![calls(), until(NOW + DAY)],
                3 => vec![times(2)],
                _ => vec![until(0), calls()],
            };
            let mut request = house.chain.approval_request(&house.account, &scope(&key, policies));
            match numbers.below(6) {
                0 => request.nonce = request.nonce.saturating_sub(1),
                1 => request.nonce += 1,
                2 => request.nonce += 2,
                _ => {}
            }
            if numbers.chance(8) && known > 0 {
                // An id that another approval has.
                request.validation_id = house.request(numbers.index(known)).validation_id;
            }
            if numbers.chance(5) {
                request.selector_data = Bytes::from_static(&hex!("e9ae5c53"));
            }
            let index =
                if house.owner.address() == Key::number(OWNER).address() { house.sign(&key, request) } else { 0 };
            format!("grant {index}")
        }
        6..=10 => {
            let index = numbers.index(known);
            format!("enable {index}: {}", house.enables(index))
        }
        11 => {
            let index = numbers.index(known);
            format!("use {index}: {}", house.uses(index))
        }
        12..=13 => {
            let index = numbers.index(known);
            let policies = house.request(index).config().unwrap().policies.len();
            let call = uninstall_permission(house.request(index).validation_id, policies, Bytes::new());
            format!("uninstall {index}: {}", house.owner_calls(call))
        }
        14 => {
            let nonce = current + numbers.below(3) as u32;
            format!("invalidate {nonce}: {}", house.owner_calls(invalidateNonceCall { nonce }.abi_encode()))
        }
        15 => {
            let id = house.pid(numbers.index(known));
            let nonce = current + numbers.below(2) as u32;
            let call = self_calls(&house.account, consume(id, nonce));
            format!("consume {id} at {nonce}: {}", house.owner_does(&Execution::plain(call)))
        }
        16 if !house.account.delegated => {
            let to = KernelVersion::ALL[numbers.index(4)];
            // To 3.0 its own validator would be wanted, which is none of this account's.
            let allowed = to != KernelVersion::V3_0 && house.account.version != KernelVersion::V3_0;
            format!("upgrade to {to}: {}", allowed && house.upgrade(to))
        }
        17 if !house.account.delegated => {
            let to = 1 + numbers.below(2);
            format!("owner {to}: {}", house.rotate_owner(to))
        }
        18 => {
            let later = house.chain.time() + numbers.below(DAY);
            house.chain.set_time(later);
            format!("time {later}")
        }
        _ if house.account.version == KernelVersion::V3_3 => {
            let v_id = house.request(numbers.index(known)).validation_id.0;
            let allow = numbers.chance(2);
            let call = grantAccessCall { vId: v_id, selector: hex!("e9ae5c53").into(), allow };
            format!("access {allow}: {}", house.owner_calls(call.abi_encode()))
        }
        _ => "nothing".to_owned(),
    }
}

/// State, outlook and status against what holders can really do.
fn assert_told_right(house: &House, snapshot: &Snapshot, attempts: &[[bool; 3]], story: &dyn Fn() -> String) {
    let owner = Key::number(OWNER).address();
    for (index, [enables, uses, signs]) in attempts.iter().copied().enumerate() {
        let request = house.request(index);
        let told = status(&house.known(index), Some(snapshot));
        let held = snapshot.holds(request);
        let words = || format!("approval {index} is {told:?} and {:?}: {}", attempts[index], story());
        let outlook = snapshot.outlook(request, owner);
        assert_eq!(enables, !held && outlook == Outlook::Now, "enabling: {outlook:?} {}", words());
        let works = matches!(told.state, State::Active | State::Expiring);
        let acts = held && snapshot.can_act(house.pid(index)) && works;
        assert_eq!(uses, acts, "using {}", words());
        assert_eq!(signs, held && snapshot.can_sign(house.pid(index)), "signing {}", words());
        if told.state == State::Revoked || told.state == State::Dead {
            assert!(!enables && !uses && !signs, "{}", words());
        }
        if told.state == State::Pending {
            assert!(enables, "{}", words());
        }
    }
}

fn one_history(made: Made, by_transaction: bool, seed: u64, proven: &RefCell<[usize; 3]>) {
    let Some(mut house) = House::new(made, by_transaction) else { return };
    let mut numbers = Numbers(keccak256(seed.to_be_bytes())[..8].iter().fold(1, |n, b| n << 8 | u64::from(*b)) | 1);
    let mut happened = Vec::new();
    for _ in 0..4 + numbers.below(14) {
        happened.push(something_happens(&mut house, &mut numbers));
    }
    if house.signed.is_empty() {
        return;
    }
    let before = house.clone();
    let attempts_of = |house: &House| (0..house.signed.len()).map(|i| house.attempts(i)).collect::<Vec<_>>();
    let attempts = attempts_of(&before);
    let snapshot = before.snapshot();
    let head = format!("{made:?}, by transaction {by_transaction}, seed {seed}: {}", happened.join("; "));
    assert_told_right(&before, &snapshot, &attempts, &|| head.clone());

    let picked: Vec<usize> = (0..house.signed.len()).filter(|_| numbers.chance(3)).collect();
    let target = if numbers.chance(3) { RevokeTarget::All } else { house.these(picked) };
    let exec =
        if matches!(target, RevokeTarget::These(_)) && numbers.chance(4) { ExecType::Try } else { ExecType::Revert };
    let draw = numbers.below(1 << 30);
    let story = |plan: &RevocationPlan| format!("{head}\n{target:?} {exec:?} draw {draw}\n{plan:#?}");
    let probed: Vec<Vec<ProbeResult>> = (0..house.signed.len())
        .map(|index| house.probes(index).1.iter().map(|probe| house.probe(probe)).collect())
        .collect();
    let plan = house.revoke(&target, Choice { draw, exec });
    let after = house.snapshot();
    let attempts_after = attempts_of(&house);
    assert_told_right(&house, &after, &attempts_after, &|| story(&plan));
    let works = house.everything_that_works();
    let undone = {
        // What the owner undoes without meaning a key: back to each version and owner.
        let mut undone = house.clone();
        undone.by_transaction = false;
        if undone.owner.address() != Key::number(OWNER).address() {
            assert!(undone.rotate_owner(OWNER), "{}", story(&plan));
        }
        undone
    };
    for (index, _) in house.signed.iter().enumerate() {
        let id = house.id(index);
        if plan.ends.contains(&id) || plan.also_ends.contains(&id) {
            assert!(!works.contains(&index), "approval {index} works: {}", story(&plan));
            let mut back = undone.clone();
            let version = house.request(index).kernel;
            if !back.account.delegated && back.account.version != version {
                assert!(back.upgrade(version), "{}", story(&plan));
            }
            assert!(!back.attempts(index)[0], "approval {index} comes back: {}", story(&plan));
            let (subject, probes) = house.probes(index);
            assert_eq!(subject.still_stands(&after), None, "approval {index}: {}", story(&plan));
            let shown = probes.iter().zip(&probed[index]).map(|(probe, before)| {
                let now = house.probe(probe);
                (
                    subject.is_tested_by(probe, &snapshot),
                    before.clone(),
                    now.clone(),
                    subject.shows(before, &now, &after),
                )
            });
            for (tested, was, now, shown) in shown {
                if !tested || shown == Shown::NotBefore {
                    continue;
                }
                assert_ne!(shown, Shown::Not, "approval {index}: {was:?} then {now:?}: {}", story(&plan));
                proven.borrow_mut()[if shown == Shown::State { 1 } else { 0 }] += 1;
            }
        } else if !plan.over.contains(&id) {
            // Nothing that was left alone was lost.
            for (way, (before, after)) in attempts[index].iter().zip(&attempts_after[index]).enumerate() {
                assert!(*after || !*before, "approval {index} lost way {way}: {}", story(&plan));
            }
        } else {
            assert_eq!(attempts[index], [false; 3], "approval {index} was said to be over: {}", story(&plan));
        }
        if let RevokeTarget::All = target {
            assert!(attempts_after[index] == [false; 3], "approval {index} survived everything: {}", story(&plan));
        }
    }
    proven.borrow_mut()[2] += 1;
}

#[test]
fn whatever_happened_before_what_was_to_end_is_over_and_nothing_else_is() {
    let read = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let long = std::env::var_os("KEYLEASH_LONG").is_some_and(|value| value == "1");
    let cases = read("KEYLEASH_PROPERTY_CASES").unwrap_or(if long { 1_200 } else { 8 });
    let first = read("KEYLEASH_PROPERTY_SEED").unwrap_or(7) << 32;
    let proven = RefCell::new([0; 3]);
    for made in EVERYWHERE {
        for by_transaction in [false, true] {
            for case in 0..cases {
                one_history(made, by_transaction, first + case, &proven);
            }
        }
    }
    let [named, by_state, histories] = proven.into_inner();
    println!("{histories} histories; {named} attempts refused by name, {by_state} by state");
    assert!(DeployedV3::load().is_none() || named > 0 && by_state > 0);
}

#[test]
fn an_account_of_something_else_is_told_and_not_planned_for() {
    let Some(mut house) = House::new(Made::Factory(KernelVersion::V3_1), false) else { return };
    let waits = house.approve(10, vec![calls()]);
    let stranger: Address = address!("1111111111111111111111111111111111111111");
    house.chain.set_code(stranger, &YES);
    let call = upgradeToCall { implementation: stranger }.abi_encode();
    assert!(house.owner_calls(call));
    let snapshot = house.snapshot();
    assert_eq!((snapshot.kernel, snapshot.implementation), (None, Some(stranger)));
    assert_eq!(house.state(waits, &snapshot), State::Unknown);
    assert!(house.book(&snapshot).plan(&RevokeTarget::All, &[], Choice::default()).is_err());
    let (control, told) = foreign_power(house.account.address, house.owner.address(), &snapshot);
    assert_eq!((control, told[0].what.as_str()), (Control::Shared, "implementation"));
}

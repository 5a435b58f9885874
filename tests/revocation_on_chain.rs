//! What the planner promises, on the deployed bytecode and on our own contracts: whatever happened before and whoever races,
//! what was to end is refused with everything its holder has, and what was to live still works.
//!
//! Every case is the same on every run: the generators start from fixed seeds. To search further:
//! `KEYLEASH_PROPERTY_SEED` (0 to 255) and `KEYLEASH_PROPERTY_CASES`.
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

use std::collections::BTreeSet;

use alloy::primitives::{Address, Bytes, U256};
use keyleash::protocol::{ApprovalId, revocation::RevokeTarget};
use keyleash::{
    policy::scope::Scope,
    protocol::{
        AccountCall, Call,
        kernel_v2::{
            account::{AccountSeed, selector},
            approval::Approval,
            generation::{ECDSA_VALIDATOR, Generation, KernelVersion},
            revocation::{self, Claim, Move, Nonces, Plan, Scene, Signed},
        },
    },
};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use support::deployed::{
    Bundle, Deployed, Key, NOW, SessionKeyValidator, approval_request, approve, call_to, sign_as_owner,
    sign_as_session_key,
};

const EXECUTE: alloy::primitives::Selector = selector::EXECUTE;

/// One account, its owner (anvil 0), three holders (anvil 1 to 3), and every approval that was ever signed.
#[derive(Clone)]
struct House {
    chain: Deployed,
    account: Address,
    kernel: KernelVersion,
    generation: Generation,
    signed: Vec<(Key, Approval)>,
    /// Whether the owner sends transactions of its own, instead of operations.
    by_transaction: bool,
}

impl House {
    fn new(mut chain: Deployed, kernel: KernelVersion, generation: Generation, by_transaction: bool) -> Self {
        let seed = AccountSeed { owner: Key::anvil(0).address(), index: U256::ZERO };
        let account = chain.deploy_account(seed, kernel);
        Self { chain, account, kernel, generation, signed: Vec::new(), by_transaction }
    }

    fn nonces(&mut self) -> Nonces {
        let (last, invalid) = self.chain.nonces(self.generation, self.account);
        Nonces { last, invalid }
    }

    /// The owner signs an approval; nothing is sent. Everything is allowed, so that only being alive decides.
    fn grant(&mut self, holder: usize, nonce: u128, valid_until: u64) {
        let scope = Scope { valid_after: 0, valid_until, paymaster: Address::ZERO, permissions: Vec::new() };
        let key = Key::anvil(holder);
        let request =
            approval_request(self.account, self.kernel, self.generation, EXECUTE, key.address(), &scope, nonce);
        if self.signed.iter().any(|(_, a)| a.request == request) {
            return;
        }
        self.signed.push((key, approve(request, &Key::anvil(0))));
    }

    /// The account does this, by its owner.
    fn owner_does(&mut self, call: &AccountCall) -> bool {
        if self.by_transaction {
            return self.chain.transact(Key::anvil(0).address(), self.account, U256::ZERO, call.encode()).success;
        }
        self.chain.sudo(&Key::anvil(0), self.account, call).all_succeeded()
    }

    fn owner_calls(&mut self, to: Address, data: Bytes) -> bool {
        self.owner_does(&AccountCall::Execute(call_to(to, data)))
    }

    /// A holder bundles its own operation: with its approval (mode 2), or as an enabled key (mode 1).
    fn holder_tries(&mut self, approval: usize, with_approval: bool) -> bool {
        let (key, signed) = self.signed[approval].clone();
        let call = AccountCall::Execute(call_to(Address::repeat_byte(0x77), Bytes::from_static(&[0; 4])));
        let mut op = self.chain.user_op(self.account, &call);
        sign_as_session_key(&mut op, &key, with_approval.then_some(&signed), &[]);
        matches!(self.chain.handle_ops(&[op]), Bundle::Mined(_))
    }

    fn holds(&mut self, approval: usize) -> bool {
        let enable = self.signed[approval].1.request.enable;
        self.chain.session_data(self.generation, enable.session_key, self.account) == enable
    }

    /// As the wallet sees it.
    fn scene(&mut self) -> Scene {
        let nonces = self.nonces();
        let mut claims = Vec::new();
        for i in 0..self.signed.len() {
            claims.push(Claim {
                id: id(i),
                generation: self.generation,
                enable: self.signed[i].1.request.enable,
                selector: EXECUTE,
                held: self.holds(i),
                signed: Signed::Counts,
            });
        }
        let route = self.chain.execution(self.account, EXECUTE).validator;
        Scene {
            account: self.account,
            now: self.chain.timestamp,
            nonces: [(self.generation, nonces)].into(),
            routes: (!route.is_zero()).then_some((EXECUTE, route)).into_iter().collect(),
            claims,
        }
    }

    /// One batch; on 0.2.1, which has none, one call after the other until one fails.
    fn carry_out(&mut self, plan: &Plan, scene: &Scene) -> bool {
        let calls: Vec<Call> = plan.moves.iter().map(|m| m.call(scene).unwrap()).collect();
        if calls.is_empty() {
            return true;
        }
        if self.kernel.has_batch() {
            return self.owner_does(&AccountCall::ExecuteBatch(calls));
        }
        calls.into_iter().all(|call| self.owner_does(&AccountCall::Execute(call)))
    }

    /// Everything all holders can ever do without the owner: each tries each approval in every way until nothing new works.
    fn what_holders_can_do(&self) -> BTreeSet<usize> {
        let mut world = self.clone();
        let mut works = BTreeSet::new();
        loop {
            let before = works.len();
            for i in 0..world.signed.len() {
                if world.holder_tries(i, true) {
                    works.insert(i);
                }
                if world.holds(i) && world.holder_tries(i, false) {
                    works.insert(i);
                }
            }
            if works.len() == before {
                return works;
            }
        }
    }

    /// Whether this approval works, now or once the owner has let the turns before it pass.
    fn can_still_live(&self, approval: usize) -> bool {
        let mut world = self.clone();
        let enable = world.signed[approval].1.request.enable;
        if world.holds(approval) {
            return world.holder_tries(approval, false);
        }
        let same_power = |world: &mut House| {
            (0..world.signed.len()).any(|i| {
                world.signed[i].1.request.enable.allows_the_same(&enable)
                    && world.holds(i)
                    && world.holder_tries(i, false)
            })
        };
        let last = world.nonces().last;
        if enable.nonce <= last {
            return same_power(&mut world);
        }
        for turn in last + 1..enable.nonce {
            assert!(world.owner_calls(world.generation.address(), revocation::burn(turn)), "turn {turn}");
        }
        world.holder_tries(approval, true)
    }
}

#[derive(Debug, Clone, Copy)]
enum Happens {
    Grant {
        holder: usize,
        ahead: u128,
        until: bool,
    },
    Enable(usize),
    OwnerEnables(usize),
    Disable(usize),
    /// By another tool, to a number from yesterday or tomorrow.
    SweepTo(u128),
    SweepAll,
}

fn history() -> impl Strategy<Value = Vec<Happens>> {
    let happens = prop_oneof![
        6 => (1usize..4, 0u128..3, any::<bool>()).prop_map(|(holder, ahead, until)| Happens::Grant { holder, ahead, until }),
        6 => any::<usize>().prop_map(Happens::Enable),
        2 => any::<usize>().prop_map(Happens::OwnerEnables),
        1 => (1usize..4).prop_map(Happens::Disable),
        1 => (1u128..7).prop_map(Happens::SweepTo),
        1 => Just(Happens::SweepAll),
    ];
    vec(happens, 1..14)
}

fn play(house: &mut House, history: &[Happens]) {
    let validator = house.generation.address();
    for event in history {
        match *event {
            Happens::Grant { holder, ahead, until } => {
                let nonce = house.nonces().last + 1 + ahead;
                house.grant(holder, nonce, if until { NOW + 1_000_000 } else { 0 });
            }
            Happens::Enable(which) if !house.signed.is_empty() => {
                house.holder_tries(which % house.signed.len(), true);
            }
            Happens::OwnerEnables(which) if !house.signed.is_empty() => {
                let enable = house.signed[which % house.signed.len()].1.request.enable;
                house.owner_calls(validator, keyleash::protocol::kernel_v2::account::enable_key(&enable.encode()));
            }
            Happens::Enable(_) | Happens::OwnerEnables(_) => {}
            Happens::Disable(holder) => {
                let key = Key::anvil(holder).address();
                assert!(house.owner_calls(validator, keyleash::protocol::kernel_v2::account::disable_key(key)));
            }
            Happens::SweepTo(nonce) => {
                let call = SessionKeyValidator::invalidateNonceCall { nonce };
                house.owner_calls(validator, alloy::sol_types::SolCall::abi_encode(&call).into());
            }
            Happens::SweepAll => {
                house.owner_calls(validator, keyleash::protocol::kernel_v2::account::disable_all());
            }
        }
    }
}

/// Approvals are named by the place in which they were signed.
fn id(place: usize) -> ApprovalId {
    ApprovalId(U256::from(place).into())
}

fn assert_kept(house: &House, before: &House, scene: &Scene, plan: &Plan, wish: &str) {
    let works: BTreeSet<ApprovalId> = house.what_holders_can_do().into_iter().map(id).collect();
    for ended in &plan.ends {
        assert!(!works.contains(ended), "{wish}: approval {ended:?} works after {plan:?} from {scene:?}");
    }
    for (i, claim) in scene.claims.iter().enumerate() {
        if plan.ends.contains(&claim.id) || plan.also_ends.contains(&claim.id) || !scene.has_power(claim) {
            continue;
        }
        if before.can_still_live(i) {
            assert!(house.can_still_live(i), "{wish}: approval {i} died of {plan:?} from {scene:?}");
        }
    }
}

/// A number for each run, and how many: both can be set to search further.
fn runner(cases: u32) -> TestRunner {
    let read = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u32>().ok());
    let seed = read("KEYLEASH_PROPERTY_SEED").unwrap_or(7) as u8;
    let cases = read("KEYLEASH_PROPERTY_CASES").unwrap_or(cases);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]))
}

type World = (&'static str, Deployed, Vec<(KernelVersion, Generation)>);

fn worlds() -> Vec<World> {
    use KernelVersion::{V0_2_1, V0_2_2, V0_2_3, V0_2_4};
    let mut worlds = vec![("ours", Deployed::ours(), vec![(V0_2_2, Generation::G2), (V0_2_4, Generation::G2)])];
    if let Some(deployed) = Deployed::load() {
        let all = [V0_2_1, V0_2_2, V0_2_3, V0_2_4].into_iter().flat_map(|k| [(k, Generation::G1), (k, Generation::G2)]);
        worlds.push(("deployed", deployed, all.collect()));
    }
    worlds
}

/// Runs a property on every kernel and validator, as operations and as transactions of the owner.
fn everywhere(cases: u32, property: impl Fn(&mut House, &[Happens], &[bool], bool)) {
    for (name, chain, places) in worlds() {
        for (kernel, generation) in places {
            for by_transaction in [false, true] {
                let input = (history(), vec(any::<bool>(), 16), any::<bool>());
                let run = |(history, picks, everything): (Vec<Happens>, Vec<bool>, bool)| {
                    let mut house = House::new(chain.clone(), kernel, generation, by_transaction);
                    play(&mut house, &history);
                    property(&mut house, &history, &picks, everything);
                    Ok(())
                };
                if let Err(failure) = runner(cases).run(&input, run) {
                    panic!("{name}, Kernel {kernel}, {generation}, by transaction: {by_transaction}: {failure}");
                }
            }
        }
    }
}

fn wish_of(house: &House, picks: &[bool], everything: bool) -> RevokeTarget {
    let picked = (0..house.signed.len()).filter(|i| picks[i % picks.len()]).map(id).collect();
    if everything { RevokeTarget::All } else { RevokeTarget::These(picked) }
}

#[test]
fn what_was_to_end_is_refused_and_what_was_to_live_works() {
    everywhere(12, |house, _, picks, everything| {
        let scene = house.scene();
        let wish = wish_of(house, picks, everything);
        let Ok(plan) = revocation::plan(&scene, &wish) else { return };
        let before = house.clone();
        assert!(house.carry_out(&plan, &scene), "{plan:?} reverts from {scene:?}");
        assert_kept(house, &before, &scene, &plan, "planned");
        let again = revocation::plan(&house.scene(), &wish).unwrap();
        assert!(again.moves.is_empty(), "twice in a row: {again:?}");
    });
}

#[test]
fn a_raced_plan_reverts_as_a_whole_or_does_what_it_promised() {
    everywhere(8, |house, _, picks, everything| {
        let scene = house.scene();
        let Ok(plan) = revocation::plan(&scene, &wish_of(house, picks, everything)) else { return };
        for i in 0..house.signed.len().min(2) {
            house.holder_tries((i + picks.len()) % house.signed.len(), true);
        }
        let raced = house.nonces();
        let done = house.carry_out(&plan, &scene);
        let after = house.nonces();
        assert!(after.last >= raced.last && after.invalid >= raced.invalid, "a rewind: {raced:?} to {after:?}");
        if !done {
            assert!(!house.kernel.has_batch() || after == raced, "half a batch: {raced:?} to {after:?}");
            return;
        }
        let works: BTreeSet<ApprovalId> = house.what_holders_can_do().into_iter().map(id).collect();
        for ended in &plan.ends {
            assert!(!works.contains(ended), "approval {ended:?} works after {plan:?} from {scene:?}");
        }
    });
}

#[test]
fn a_panic_stops_everything_and_lifting_it_ends_what_is_not_kept() {
    everywhere(6, |house, _, picks, _| {
        let before = house.clone();
        assert!(house.owner_does(&AccountCall::Execute(revocation::panic(house.account))));
        assert!(house.what_holders_can_do().is_empty(), "a key acts while the panic is on");
        let scene = house.scene();
        let kept = (0..house.signed.len()).filter(|i| picks[i % picks.len()]).map(id).collect();
        let Ok(plan) = revocation::plan(&scene, &RevokeTarget::UnpauseKeeping(kept)) else { return };
        assert_eq!(plan.moves.last(), Some(&Move::Lift));
        assert!(house.carry_out(&plan, &scene), "{plan:?} reverts from {scene:?}");
        assert_kept(house, &before, &scene, &plan, "lifted");
    });
}

// ---- the histories that an owner meets -------------------------------------------------------------------------------------

fn house_with(signed: &[(usize, u128)], enabled: &[usize]) -> House {
    let mut house =
        House::new(Deployed::load().unwrap_or_else(Deployed::ours), KernelVersion::V0_2_4, Generation::G2, false);
    for (holder, nonce) in signed {
        house.grant(*holder, *nonce, 0);
    }
    for approval in enabled {
        assert!(house.holder_tries(*approval, true));
    }
    house
}

#[track_caller]
fn revoked(house: &mut House, wish: &RevokeTarget) -> Plan {
    let scene = house.scene();
    let plan = revocation::plan(&scene, wish).unwrap();
    let before = house.clone();
    assert!(house.carry_out(&plan, &scene), "{plan:?}");
    assert_kept(house, &before, &scene, &plan, "scripted");
    plan
}

#[test]
fn the_obvious_revocation_does_not_keep_its_promise() {
    // Why all this is needed: `disable` of a pending key succeeds, and the holder enables it afterwards.
    let mut house = house_with(&[(1, 1)], &[]);
    let key = Key::anvil(1).address();
    assert!(house.owner_calls(house.generation.address(), keyleash::protocol::kernel_v2::account::disable_key(key)));
    assert_eq!(house.what_holders_can_do(), [0].into());
}

#[test]
fn approvals_of_one_turn_end_together() {
    let mut house = house_with(&[(1, 1), (2, 1)], &[]);
    let plan = revoked(&mut house, &RevokeTarget::These([id(0)].into()));
    assert_eq!(plan.also_ends, [id(1)].into());
    assert!(house.what_holders_can_do().is_empty());
}

#[test]
fn consecutive_pending_approvals_end_in_any_choice() {
    for wanted in [vec![0], vec![1], vec![2], vec![0, 2], vec![1, 2], vec![0, 1, 2]] {
        let mut house = house_with(&[(1, 1), (2, 2), (3, 3)], &[]);
        revoked(&mut house, &RevokeTarget::These(wanted.into_iter().map(id).collect()));
    }
}

#[test]
fn active_and_pending_end_together_also_after_a_rewind_by_another_tool() {
    let mut house = house_with(&[(1, 1), (2, 2), (3, 3)], &[0, 1]);
    let rewind = SessionKeyValidator::invalidateNonceCall { nonce: 1 };
    assert!(house.owner_calls(house.generation.address(), alloy::sol_types::SolCall::abi_encode(&rewind).into()));
    assert_eq!(house.nonces().last, 1, "the validator counts backwards");
    revoked(&mut house, &RevokeTarget::All);
    assert!(house.what_holders_can_do().is_empty());
}

#[test]
fn an_approval_of_an_earlier_owner_ends_for_good() {
    let mut house = house_with(&[(1, 1)], &[]);
    let give_to = |house: &mut House, from: usize, to: usize| {
        let data = Bytes::copy_from_slice(Key::anvil(to).address().as_slice());
        let call =
            AccountCall::Execute(call_to(ECDSA_VALIDATOR, keyleash::protocol::kernel_v2::account::enable_key(&data)));
        let mut op = house.chain.user_op(house.account, &call);
        sign_as_owner(&mut op, &Key::anvil(from));
        assert!(house.chain.handle_ops(&[op]).all_succeeded());
    };
    // The owner moves to another key and back: what was signed before counts again.
    let mut moved = house.clone();
    give_to(&mut moved, 0, 3);
    assert!(moved.what_holders_can_do().is_empty());
    give_to(&mut moved, 3, 0);
    assert_eq!(moved.what_holders_can_do(), [0].into());
    revoked(&mut house, &RevokeTarget::All);
    give_to(&mut house, 0, 3);
    give_to(&mut house, 3, 0);
    assert!(house.what_holders_can_do().is_empty());
}

#[test]
fn an_account_that_is_not_there_yet_is_deployed_and_its_approvals_burnt_in_one_operation() {
    let Some(chain) = Deployed::load() else { return };
    for kernel in [KernelVersion::V0_2_2, KernelVersion::V0_2_3, KernelVersion::V0_2_4] {
        let seed = AccountSeed { owner: Key::anvil(0).address(), index: U256::from(9) };
        let mut chain = chain.clone();
        chain.fund(seed.address(), U256::from(10).pow(U256::from(18)));
        let mut house = House {
            chain,
            account: seed.address(),
            kernel,
            generation: Generation::G2,
            signed: Vec::new(),
            by_transaction: false,
        };
        house.grant(1, 1, 0);
        house.grant(2, 2, 0);
        let claim = |i: usize| Claim {
            id: id(i),
            generation: Generation::G2,
            enable: house.signed[i].1.request.enable,
            selector: EXECUTE,
            held: false,
            signed: Signed::Counts,
        };
        let scene = Scene {
            account: house.account,
            now: NOW,
            nonces: [(Generation::G2, Nonces::default())].into(),
            claims: vec![claim(0), claim(1)],
            ..Scene::default()
        };
        let plan = revocation::plan(&scene, &RevokeTarget::All).unwrap();
        let calls = plan.moves.iter().map(|m| m.call(&scene).unwrap()).collect();
        let mut op = house.chain.user_op(house.account, &AccountCall::ExecuteBatch(calls));
        op.init_code = seed.init_code(kernel);
        sign_as_owner(&mut op, &Key::anvil(0));
        assert!(house.chain.handle_ops(&[op]).all_succeeded(), "{kernel}");
        assert!(house.what_holders_can_do().is_empty(), "{kernel}");
    }
}

//! What a plan promises: by example, and against a model of the validator with any history and any race.

use alloy::primitives::{address, bytes};
use proptest::{collection::vec, prelude::*};

use super::*;
use crate::protocol::kernel_v2::account::selector::{EXECUTE, EXECUTE_BATCH};

const ACCOUNT: Address = address!("00000000000000000000000000000000000000aa");
const NOW: u64 = 1_700_000_000;
const G2: Generation = Generation::G2;

fn enable(key: u8, nonce: u128) -> EnableData {
    EnableData {
        session_key: Address::repeat_byte(key),
        merkle_root: B256::repeat_byte(key),
        valid_after: 0,
        valid_until: 0,
        paymaster: Address::ZERO,
        nonce,
    }
}

fn pending(key: u8, nonce: u128) -> Claim {
    let (id, enable) = (id(0), enable(key, nonce));
    Claim { id, generation: G2, enable, selector: EXECUTE, held: false, signed: Signed::Counts }
}

/// Approvals of a scene are named by their places in it.
fn id(place: usize) -> ApprovalId {
    ApprovalId(U256::from(place).into())
}

fn ids(places: impl IntoIterator<Item = usize>) -> BTreeSet<ApprovalId> {
    places.into_iter().map(id).collect()
}

fn held(key: u8, nonce: u128) -> Claim {
    Claim { held: true, ..pending(key, nonce) }
}

fn scene(last: u128, invalid: u128, claims: Vec<Claim>) -> Scene {
    Scene {
        account: ACCOUNT,
        now: NOW,
        nonces: [(G2, Nonces { last, invalid })].into(),
        routes: [(EXECUTE, G2.address())].into(),
        claims: claims.into_iter().enumerate().map(|(place, claim)| Claim { id: id(place), ..claim }).collect(),
    }
}

fn these_of(scene: &Scene, claims: &[usize]) -> Plan {
    plan(scene, &RevokeTarget::These(ids(claims.iter().copied()))).unwrap()
}

fn disable(key: u8) -> Move {
    Move::Disable { generation: G2, key: Address::repeat_byte(key) }
}

fn burn_of(nonce: u128) -> Move {
    Move::Burn { generation: G2, nonce }
}

const SWEEP: Move = Move::Sweep { generation: G2 };

#[test]
fn a_key_the_validator_holds_is_disabled_and_one_that_was_never_used_is_burnt() {
    let scene = scene(3, 0, vec![held(1, 3), pending(2, 4)]);
    assert_eq!(these_of(&scene, &[0]).moves, [disable(1)]);
    assert_eq!(these_of(&scene, &[1]).moves, [burn_of(4)]);
    assert_eq!(these_of(&scene, &[0, 1]).moves, [disable(1), burn_of(4)]);
}

#[test]
fn an_approval_that_shall_live_is_enabled_before_a_later_turn_is_burnt() {
    let scene = scene(3, 0, vec![pending(1, 4), pending(2, 5), pending(3, 6)]);
    let plan = these_of(&scene, &[1]);
    assert_eq!(plan.moves, [Move::Keep { claim: id(0) }, burn_of(5)]);
    assert_eq!((plan.ends, plan.also_ends), (ids([1]), BTreeSet::new()));
}

#[test]
fn an_approval_with_the_same_turn_ends_as_well() {
    let plan = these_of(&scene(3, 0, vec![pending(1, 4), pending(2, 4)]), &[0]);
    assert_eq!((plan.moves, plan.also_ends), (vec![burn_of(4)], ids([1])));
}

#[test]
fn it_is_not_decided_here_which_of_two_approvals_with_one_turn_shall_live() {
    let scene = scene(3, 0, vec![pending(1, 4), pending(2, 4), pending(3, 5)]);
    let refused = plan(&scene, &RevokeTarget::These(ids([2])));
    assert_eq!(refused, Err(Refusal::Contested { nonce: 4, claims: vec![id(0), id(1)] }));
    assert_eq!(these_of(&scene, &[0, 2]).also_ends, ids([1]));
}

#[test]
fn turns_that_nobody_holds_are_burnt_and_a_draft_before_ends_with_them() {
    let draft = Claim { signed: Signed::No, ..pending(1, 5) };
    let plan = these_of(&scene(3, 0, vec![draft, pending(2, 6)]), &[1]);
    assert_eq!((plan.moves, plan.also_ends), (vec![burn_of(4), burn_of(5), burn_of(6)], ids([0])));
}

#[test]
fn an_approval_is_not_enabled_where_that_would_silence_or_replace_another_key() {
    let mut elsewhere = scene(3, 0, vec![pending(1, 4), pending(2, 5)]);
    elsewhere.routes = [(EXECUTE, Generation::G3.address())].into();
    assert_eq!(plan(&elsewhere, &RevokeTarget::These(ids([1]))), Err(Refusal::CannotKeep { claim: id(0) }));
    let other_scope = Claim { enable: EnableData { merkle_root: B256::ZERO, ..enable(1, 2) }, ..held(1, 2) };
    let replaced = scene(3, 0, vec![other_scope, pending(1, 4), pending(2, 5)]);
    assert_eq!(plan(&replaced, &RevokeTarget::These(ids([2]))), Err(Refusal::CannotKeep { claim: id(1) }));
}

#[test]
fn two_approvals_of_one_scope_are_kept_one_after_the_other() {
    // As a grant for `execute` and `executeBatch` makes them.
    let scene = scene(3, 0, vec![held(1, 3), pending(1, 4), pending(1, 5), pending(2, 6)]);
    assert_eq!(these_of(&scene, &[3]).moves, [Move::Keep { claim: id(1) }, Move::Keep { claim: id(2) }, burn_of(6)]);
}

#[test]
fn the_function_of_a_kept_approval_is_opened_with_it() {
    let mut scene = scene(0, 0, vec![pending(1, 1), pending(2, 2)]);
    scene.claims[0].selector = EXECUTE_BATCH;
    let plan = these_of(&scene, &[1]);
    let call = plan.moves[0].call(&scene).unwrap();
    assert_eq!((call.to, &call.data[..4]), (ACCOUNT, &[0x29, 0xf8, 0xb1, 0x74][..]));
}

#[test]
fn what_has_no_power_is_left_alone_and_said() {
    let expired = Claim { enable: EnableData { valid_until: NOW - 1, ..enable(3, 3) }, ..held(3, 3) };
    let scene = scene(3, 2, vec![pending(1, 1), held(2, 2), expired]);
    let plan = these_of(&scene, &[0, 1, 2]);
    assert_eq!((plan.moves, plan.over), (vec![], ids([0, 1, 2])));
}

#[test]
fn a_key_that_ends_this_second_is_still_alive() {
    let last_second = Claim { enable: EnableData { valid_until: NOW, ..enable(3, 3) }, ..held(3, 3) };
    assert_eq!(these_of(&scene(3, 0, vec![last_second]), &[0]).moves, [disable(3)]);
}

#[test]
fn after_a_rewind_a_key_is_deleted_and_its_turn_is_used_up_again() {
    // Another tool swept to 2: keys 4 and 5 live on, and key 3, disabled earlier, can be enabled again.
    let scene = scene(2, 2, vec![held(2, 2), pending(3, 3), held(4, 4), held(5, 5)]);
    assert_eq!(these_of(&scene, &[2]).moves, [disable(4), Move::Keep { claim: id(1) }, burn_of(4)]);
    let plan = plan(&scene, &RevokeTarget::All).unwrap();
    assert_eq!(plan.moves, [burn_of(3), burn_of(4), burn_of(5), SWEEP]);
    assert_eq!((plan.ends, plan.over), (ids([1, 2, 3]), ids([0])));
}

#[test]
fn everything_ends_by_using_up_what_is_signed_and_one_sweep() {
    let plan_of = |last, invalid, claims| plan(&scene(last, invalid, claims), &RevokeTarget::All).unwrap().moves;
    assert_eq!(plan_of(3, 0, vec![held(1, 3), pending(2, 4), pending(3, 5)]), [burn_of(4), burn_of(5), SWEEP]);
    assert_eq!(plan_of(3, 0, vec![]), [SWEEP], "keys that are not on record end too");
    assert_eq!(plan_of(3, 3, vec![held(1, 3)]), [], "the chain refuses to sweep twice to one turn");
    assert_eq!(plan_of(0, 0, vec![]), []);
    assert_eq!(plan_of(3, 3, vec![pending(2, 4)]), [burn_of(4), SWEEP]);
}

#[test]
fn lifting_a_panic_ends_what_would_come_back_but_for_what_shall_live() {
    let scene = scene(3, 0, vec![held(1, 3), pending(2, 4)]);
    let lift = |kept: &[usize]| plan(&scene, &RevokeTarget::UnpauseKeeping(ids(kept.iter().copied()))).unwrap().moves;
    assert_eq!(lift(&[]), [burn_of(4), SWEEP, Move::Lift]);
    assert_eq!(lift(&[0]), [burn_of(4), Move::Lift]);
    assert_eq!(lift(&[1]), [disable(1), Move::Lift]);
    assert_eq!(lift(&[0, 1]), [Move::Lift]);
}

#[test]
fn a_turn_out_of_reach_is_refused() {
    let far = scene(3, 0, vec![pending(1, 4 + MAX_TURNS)]);
    assert_eq!(plan(&far, &RevokeTarget::All), Err(Refusal::TooFar { nonce: 4 + MAX_TURNS, last: 3 }));
}

#[test]
fn where_no_turn_is_left_what_is_enabled_can_still_be_swept() {
    // As another tool's sweep to 2^128-1 leaves it.
    let plan_of =
        |invalid| plan(&scene(u128::MAX, invalid, vec![held(1, u128::MAX)]), &RevokeTarget::All).unwrap().moves;
    assert_eq!((plan_of(0), plan_of(u128::MAX)), (vec![SWEEP], vec![]));
}

#[test]
fn the_calls_are_those_of_the_contracts() {
    let scene = scene(0, 0, vec![]);
    let data = |m: Move| m.call(&scene).unwrap().data;
    assert!(data(SWEEP).starts_with(&bytes!("8fc925aa")));
    assert_eq!(data(SWEEP).len(), 4 + 64, "no data at all");
    assert_eq!(data(Move::Lift)[..8], bytes!("d541622100000000"));
    assert_eq!(panic(ACCOUNT).data[..8], bytes!("d5416221ffffffff"));
}

// ---- whatever happened before, and whoever races ---------------------------------------------------------------------------

/// The validator's rules for one account, as the deployed G1 and G2 have them (docs/kernel-v2.md#revoking).
#[derive(Debug, Clone, Default)]
struct Chain {
    last: u128,
    invalid: u128,
    sessions: BTreeMap<Address, EnableData>,
}

impl Chain {
    fn enable(&mut self, data: EnableData) -> bool {
        let fits = data.nonce == self.last + 1;
        if fits {
            self.last += 1;
            self.sessions.insert(data.session_key, data);
        }
        fits
    }

    /// `disable` with 16 bytes, as other tools send it: with a number from yesterday it rewinds.
    fn sweep_to(&mut self, nonce: u128) -> bool {
        let fits = nonce > self.invalid;
        if fits {
            (self.last, self.invalid) = (nonce, nonce);
        }
        fits
    }

    fn run(&mut self, step: Move, scene: &Scene) -> bool {
        match step {
            Move::Disable { key, .. } => {
                self.sessions.remove(&key);
                true
            }
            Move::Burn { nonce, .. } => self.enable(enable(0xde, nonce)),
            Move::Keep { claim } => self.enable(scene.claim(claim).unwrap().enable),
            Move::Sweep { .. } => self.sweep_to(self.last),
            Move::Lift => true,
        }
    }

    /// All or nothing, as a batch.
    fn run_all(&mut self, moves: &[Move], scene: &Scene) -> bool {
        let mut after = self.clone();
        let done = moves.iter().all(|m| after.run(*m, scene));
        if done {
            *self = after;
        }
        done
    }

    fn holds(&self, data: &EnableData) -> bool {
        self.sessions.get(&data.session_key) == Some(data)
    }

    /// Whether the approval gives its holder anything, now or after others have used their turns.
    fn has_power(&self, data: &EnableData) -> bool {
        self.holds(data) && data.nonce > self.invalid || data.nonce > self.last
    }

    /// The same, or another approval gives its holder just that.
    fn gives(&self, data: &EnableData) -> bool {
        let same = |held: &EnableData| held.allows_the_same(data) && held.nonce > self.invalid;
        self.has_power(data) || self.sessions.get(&data.session_key).is_some_and(same)
    }
}

#[derive(Debug, Clone, Copy)]
enum Happens {
    Grant { key: u8, turn: u8, scope: bool },
    Enable(usize),
    Disable(u8),
    ForeignSweep(u8),
    SweepAll,
}

fn history() -> impl Strategy<Value = Vec<Happens>> {
    let happens = prop_oneof![
        4 => (1u8..6, 0u8..4, any::<bool>()).prop_map(|(key, turn, scope)| Happens::Grant { key, turn, scope }),
        5 => any::<usize>().prop_map(Happens::Enable),
        1 => (1u8..6).prop_map(Happens::Disable),
        1 => (0u8..9).prop_map(Happens::ForeignSweep),
        1 => Just(Happens::SweepAll),
    ];
    vec(happens, 0..25)
}

fn play(history: &[Happens]) -> (Chain, Vec<EnableData>) {
    let (mut chain, mut signed) = (Chain::default(), Vec::<EnableData>::new());
    for event in history {
        match *event {
            Happens::Grant { key, turn, scope } => {
                let nonce = chain.last + 1 + u128::from(turn);
                let merkle_root = B256::repeat_byte(key + if scope { 100 } else { 0 });
                if !signed.iter().any(|s| s.session_key == Address::repeat_byte(key) && s.nonce == nonce) {
                    signed.push(EnableData { merkle_root, ..enable(key, nonce) });
                }
            }
            Happens::Enable(which) if !signed.is_empty() => {
                chain.enable(signed[which % signed.len()]);
            }
            Happens::Enable(_) => {}
            Happens::Disable(key) => {
                chain.sessions.remove(&Address::repeat_byte(key));
            }
            Happens::ForeignSweep(to) => {
                chain.sweep_to(to.into());
            }
            Happens::SweepAll => {
                chain.sweep_to(chain.last);
            }
        }
    }
    (chain, signed)
}

fn seen(chain: &Chain, signed: &[EnableData]) -> Scene {
    let claim = |data: &EnableData| Claim { held: chain.holds(data), enable: *data, ..pending(0, 0) };
    scene(chain.last, chain.invalid, signed.iter().map(claim).collect())
}

proptest! {
    #[test]
    fn what_was_to_end_has_no_power_and_what_was_to_live_keeps_it(
        history in history(), picks in vec(any::<bool>(), 40), everything in any::<bool>(),
    ) {
        let (mut chain, signed) = play(&history);
        let before = chain.clone();
        let scene = seen(&chain, &signed);
        let wanted: BTreeSet<usize> = (0..signed.len()).filter(|i| picks[i % 40]).collect();
        let wish = if everything { RevokeTarget::All } else { RevokeTarget::These(ids(wanted.iter().copied())) };
        let Ok(plan) = plan(&scene, &wish) else { return Ok(()) };
        prop_assert!(chain.run_all(&plan.moves, &scene), "{:?} reverts", plan.moves);
        prop_assert!(chain.last >= before.last && chain.invalid >= before.invalid, "a rewind");
        for (i, data) in signed.iter().enumerate() {
            let wanted = everything || wanted.contains(&i);
            if wanted {
                prop_assert!(!chain.has_power(data), "turn {} of {:?} lives", data.nonce, plan);
                prop_assert_eq!(plan.ends.contains(&id(i)), before.has_power(data));
                prop_assert_eq!(plan.over.contains(&id(i)), !before.has_power(data));
            } else if !plan.also_ends.contains(&id(i)) {
                prop_assert!(!before.has_power(data) || chain.gives(data), "turn {} of {:?} died", data.nonce, plan);
                prop_assert!(before.has_power(data) || !chain.has_power(data), "turn {} of {:?} rose", data.nonce, plan);
            }
        }
        let again = super::plan(&seen(&chain, &signed), &wish).unwrap();
        prop_assert!(again.moves.is_empty(), "twice in a row: {again:?}");
    }

    /// Between plan and block, holders enable what they have: then the batch reverts, or it still does what it promised.
    #[test]
    fn a_raced_plan_never_rewinds_and_never_lies(
        history in history(), picks in vec(any::<bool>(), 40), everything in any::<bool>(), race in vec(any::<usize>(), 1..4),
    ) {
        let (mut chain, signed) = play(&history);
        if signed.is_empty() {
            return Ok(());
        }
        let scene = seen(&chain, &signed);
        let wanted: BTreeSet<usize> = (0..signed.len()).filter(|i| everything || picks[i % 40]).collect();
        let wish = if everything { RevokeTarget::All } else { RevokeTarget::These(ids(wanted.iter().copied())) };
        let Ok(plan) = plan(&scene, &wish) else { return Ok(()) };
        for holder in race {
            chain.enable(signed[holder % signed.len()]);
        }
        let raced = chain.clone();
        if plan.moves.is_empty() || !chain.run_all(&plan.moves, &scene) {
            return Ok(());
        }
        prop_assert!(chain.last >= raced.last && chain.invalid >= raced.invalid, "a rewind");
        for i in &wanted {
            prop_assert!(!chain.has_power(&signed[*i]), "turn {} of {:?} lives", signed[*i].nonce, plan);
        }
    }
}

//! Plans over records and a hand-made picture of the account: which calls, in which order, and what is refused.

use crate::{
    policy::{
        risk::{Effect, Finding, Severity},
        scope::Scope,
    },
    protocol::{
        Call,
        family::{account::Seed, grant::ApprovalPlan, snapshot::Snapshot},
        kernel_v2::{
            account::{AccountSeed, disable_key, enable_key, selector, set_execution},
            approval::{ApprovalRequest, EnableData},
            generation::{ECDSA_VALIDATOR, Generation, KernelVersion},
            grant,
            judge::Window,
            revocation::Nonces,
            snapshot::{self as kernel_v2, Route},
        },
    },
    secret::Secret,
};
use std::collections::BTreeMap;

use alloy::primitives::{Address, Bytes, FixedBytes, Selector, U256, address};
use tempfile::TempDir;

use super::{
    Backend, PassphraseSource, Wallet,
    error::Result,
    home::Home,
    records::model::{Account, ApprovalRecord, Key, Origin},
    usecase::{
        grant::{Accepted, check_findings},
        key::KeyFile,
        revoke::RevokeAction,
    },
};

const NOW: u64 = 1_800_000_000;
/// anvil's well-known account 0.
const OWNER_KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const KEY: Address = address!("70997970C51812dc3A010C7d01b50e0d17dc79C8");
const OTHER_KEY: Address = address!("3C44CdDdB6a900fa2b585dd299e03d12FA4293BC");
const G2: Address = Generation::G2.address();

/// A home with one account, last turn 4, `execute` routed to G2.
struct House {
    wallet: Wallet,
    account: Account,
    picture: Snapshot,
    owner: Secret,
    _folder: TempDir,
}

fn house() -> House {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::at(folder.path());
    Wallet::init(&home, Backend::File).unwrap();
    let wallet = Wallet::open(home, PassphraseSource::StandardInput).unwrap();
    let owner = Secret::from_hex(OWNER_KEY).unwrap();
    let seed = Seed { owner: owner.address(), index: U256::ZERO };
    let account = Account {
        network: "local".into(),
        chain_id: 31_337,
        address: AccountSeed::from(seed).address(),
        name: "treasury".into(),
        owner: owner.address(),
        owner_secret: None,
        seed: Some(seed),
        kernel: KernelVersion::V0_2_4.into(),
        created_at: 0,
    };
    wallet.store.write(|w| w.put_account(&account)).unwrap();
    let picture = kernel_v2::Snapshot {
        block: 100,
        timestamp: NOW,
        deployed: true,
        implementation: Some(KernelVersion::V0_2_4.implementation()),
        kernel: Some(KernelVersion::V0_2_4),
        owner: Some(owner.address()),
        default_validator: Some(ECDSA_VALIDATOR),
        known_proxy: true,
        balance: U256::ZERO,
        deposit: U256::ZERO,
        disabled_mode: 0,
        routes: BTreeMap::from([(
            selector::EXECUTE,
            Route { validator: G2, executor: Address::ZERO, window: Window::default() },
        )]),
        nonces: BTreeMap::from([(Generation::G2, Nonces { last: 4, invalid: 0 })]),
        sessions: BTreeMap::new(),
        statuses: BTreeMap::new(),
    };
    House { wallet, account, picture: picture.into(), owner, _folder: folder }
}

impl House {
    fn key_on(&self, label: &str, session_key: Address, generation: Generation) -> Key {
        Key {
            id: format!("id-{label}"),
            label: label.into(),
            network: self.account.network.clone(),
            chain_id: self.account.chain_id,
            account: self.account.address,
            owner: self.account.owner,
            session_key,
            secret: None,
            validator: generation.into(),
            scope: Scope { valid_after: 0, valid_until: 0, paymaster: Address::ZERO, permissions: Vec::new() },
            partial: None,
            functions: Vec::new(),
            origin: Origin::Granted,
            init_code: None,
            was_deployed: true,
            created_at: 0,
            revoked_at: None,
        }
    }

    fn approval(&self, key: &Key, nonce: u128, selector: Selector) -> ApprovalRecord {
        let request = ApprovalRequest {
            chain_id: key.chain_id,
            account: key.account,
            kernel: KernelVersion::V0_2_4,
            validator: key.validator.generation(),
            selector,
            executor: Address::ZERO,
            plugin_window: FixedBytes::ZERO,
            enable: EnableData::new(key.session_key, &key.scope, nonce, key.validator.generation()),
        };
        let signature = Bytes::copy_from_slice(&self.owner.sign_hash(request.digest()).unwrap());
        ApprovalRecord { key_id: key.id.clone(), request: request.into(), signature: Some(signature), created_at: 0 }
    }

    fn record(&self, key: &Key, approvals: &[ApprovalRecord]) -> KeyFile {
        self.wallet
            .store
            .write(|w| {
                w.put_key(key)?;
                approvals.iter().try_for_each(|a| w.put_approval(a))
            })
            .unwrap();
        self.wallet.find_key(&key.id).unwrap()
    }

    /// A key on record with these turns, all for `execute`.
    fn granted(&self, label: &str, session_key: Address, turns: &[u128]) -> KeyFile {
        let key = self.key_on(label, session_key, Generation::G2);
        let approvals: Vec<_> = turns.iter().map(|n| self.approval(&key, *n, selector::EXECUTE)).collect();
        self.record(&key, &approvals)
    }

    fn hold(&mut self, file: &KeyFile, turn: u128) {
        let held = file.approvals.iter().map(|a| a.request.kernel_v2()).find(|a| a.enable.nonce == turn).unwrap();
        self.picture
            .kernel_v2_mut()
            .sessions
            .insert((file.key.validator.generation(), file.key.session_key), held.enable);
    }

    fn revoke(&self, files: Vec<KeyFile>) -> Result<Vec<Call>> {
        let action = RevokeAction::Keys(files.into_iter().map(|f| f.key.id).collect());
        self.wallet.drafted(&self.account, &action, &self.picture).map(|drafted| {
            assert_eq!(drafted.calls.len(), drafted.steps.len(), "every call is explained");
            drafted.calls
        })
    }

    fn enable(&self, files: &[KeyFile]) -> Result<(Vec<Call>, Vec<String>)> {
        self.wallet.enable_calls(&self.account, files, &self.picture).map(|(calls, steps)| {
            assert_eq!(calls.len(), steps.len(), "every call is explained");
            (calls, steps.into_iter().map(|s| s.effect).collect())
        })
    }
}

fn to_g2(data: Bytes) -> Call {
    Call { to: G2, value: U256::ZERO, data }
}

/// `enable` of a key nobody has, with a scope that ended in 1970 (docs/kernel-v2.md#revoking).
fn burn(nonce: u128) -> Call {
    let dead = EnableData {
        session_key: Address::repeat_byte(0xde),
        merkle_root: FixedBytes::repeat_byte(0xde),
        valid_after: 0,
        valid_until: 1,
        paymaster: Address::ZERO,
        nonce,
    };
    to_g2(enable_key(&dead.encode()))
}

// --- taking power back -----------------------------------------------------------------------------------------------------

#[test]
fn a_pending_key_is_ended_by_burning_its_turn() {
    let house = house();
    let pending = house.granted("mint-bot", KEY, &[5]);
    assert_eq!(house.revoke(vec![pending]).unwrap(), [burn(5)]);
}

#[test]
fn an_active_key_is_ended_by_disabling_it() {
    let mut house = house();
    let active = house.granted("mint-bot", KEY, &[3]);
    house.hold(&active, 3);
    assert_eq!(house.revoke(vec![active]).unwrap(), [to_g2(disable_key(KEY))]);
}

#[test]
fn a_key_with_one_turn_used_and_one_waiting_loses_both() {
    let mut house = house();
    let key = house.granted("mint-bot", KEY, &[4, 5]);
    house.hold(&key, 4);
    assert_eq!(house.revoke(vec![key]).unwrap(), [to_g2(disable_key(KEY)), burn(5)]);
}

#[test]
fn a_key_whose_two_turns_were_used_is_disabled_once() {
    let mut house = house();
    let key = house.granted("mint-bot", KEY, &[3, 4]);
    house.hold(&key, 4);
    assert_eq!(house.revoke(vec![key]).unwrap(), [to_g2(disable_key(KEY))]);
}

#[test]
fn turns_are_burnt_in_their_order_however_the_keys_are_named() {
    let house = house();
    let first = house.granted("first", KEY, &[5]);
    let second = house.granted("second", OTHER_KEY, &[6, 7]);
    assert_eq!(house.revoke(vec![second, first]).unwrap(), [burn(5), burn(6), burn(7)]);
}

#[test]
fn a_key_that_shall_live_is_enabled_before_a_later_turn_is_burnt() {
    let house = house();
    let first = house.granted("first", KEY, &[5]);
    let second = house.granted("second", OTHER_KEY, &[6]);
    assert_eq!(house.revoke(vec![second]).unwrap(), [enable_call(&first, 5), burn(6)]);
}

#[test]
fn of_two_keys_with_one_earlier_turn_the_owner_has_to_name_the_one_that_ends() {
    let house = house();
    house.granted("one", KEY, &[5]);
    house.granted("two", OTHER_KEY, &[5]);
    let third = house.granted("third", OTHER_KEY, &[6]);
    let error = house.revoke(vec![third]).unwrap_err();
    assert_eq!(error.code, "revoke.order");
    assert!(error.message.contains("one, two all have nonce 5"), "{error}");
    assert!(error.hint.contains("key enable"), "{}", error.hint);
}

#[test]
fn turns_that_nobody_holds_are_burnt_on_the_way() {
    let house = house();
    let key = house.granted("mint-bot", KEY, &[7]);
    assert_eq!(house.revoke(vec![key]).unwrap(), [burn(5), burn(6), burn(7)]);
}

#[test]
fn two_keys_with_the_same_turn_need_one_burn() {
    let house = house();
    let one = house.granted("one", KEY, &[5]);
    let two = house.granted("two", OTHER_KEY, &[5]);
    assert_eq!(house.revoke(vec![one, two]).unwrap(), [burn(5)]);
}

#[test]
fn a_draft_is_ended_too_because_it_may_be_signed_elsewhere() {
    let house = house();
    let key = house.key_on("draft", KEY, Generation::G2);
    let draft = ApprovalRecord { signature: None, ..house.approval(&key, 5, selector::EXECUTE) };
    let file = house.record(&key, &[draft]);
    assert_eq!(house.revoke(vec![file]).unwrap(), [burn(5)]);
}

#[test]
fn an_expired_key_needs_nothing_and_that_is_said() {
    let mut house = house();
    let mut key = house.key_on("old", KEY, Generation::G2);
    key.scope.valid_until = NOW - 1;
    let approval = house.approval(&key, 3, selector::EXECUTE);
    let file = house.record(&key, &[approval]);
    house.hold(&file, 3);
    let error = house.revoke(vec![file]).unwrap_err();
    assert!(error.code == "revoke.nothing" && error.message.contains("old is expired already"), "{error}");
}

#[test]
fn a_key_that_can_do_nothing_any_more_is_no_call_but_an_error_that_says_why() {
    let mut house = house();
    let dead = house.granted("dead", KEY, &[3]);
    let invalidated = house.granted("invalidated", OTHER_KEY, &[4]);
    house.hold(&invalidated, 4);
    house.picture.kernel_v2_mut().nonces.insert(Generation::G2, Nonces { last: 4, invalid: 4 });
    for (file, state) in [(dead, "dead is dead already"), (invalidated, "invalidated is revoked already")] {
        let error = house.revoke(vec![file]).unwrap_err();
        assert!(error.code == "revoke.nothing" && error.message.contains(state), "{error}");
    }
}

#[test]
fn keys_of_two_validators_are_each_ended_on_their_own() {
    let mut house = house();
    let on_g2 = house.granted("two", KEY, &[5]);
    let key = house.key_on("three", OTHER_KEY, Generation::G3);
    let approval = house.approval(&key, 1, selector::EXECUTE);
    let on_g3 = house.record(&key, &[approval]);
    house.picture.kernel_v2_mut().nonces.insert(Generation::G3, Nonces::default());
    let calls = house.revoke(vec![on_g2, on_g3]).unwrap();
    assert_eq!(calls, [burn(5), Call { to: Generation::G3.address(), ..burn(1) }]);
}

// --- enabling by the owner -------------------------------------------------------------------------------------------------

fn enable_call(file: &KeyFile, turn: u128) -> Call {
    let approval = file.approvals.iter().map(|a| a.request.kernel_v2()).find(|a| a.enable.nonce == turn).unwrap();
    Call { to: file.key.validator.address(), value: U256::ZERO, data: enable_key(&approval.enable.encode()) }
}

fn open_call(house: &House, file: &KeyFile, turn: u128) -> Call {
    let approval = file.approvals.iter().map(|a| a.request.kernel_v2()).find(|a| a.enable.nonce == turn).unwrap();
    let data = set_execution(approval.selector, file.key.validator.address(), &approval.enable.encode());
    Call { to: house.account.address, value: U256::ZERO, data }
}

#[test]
fn a_key_of_a_function_that_is_open_already_is_enabled_at_the_validator() {
    let house = house();
    let key = house.granted("mint-bot", KEY, &[5]);
    let (calls, effects) = house.enable(&[key]).unwrap();
    assert_eq!(calls, [enable_call(&house.wallet.find_key("mint-bot").unwrap(), 5)]);
    assert_eq!(effects, ["enables mint-bot (nonce 5)"]);
}

#[test]
fn only_the_first_key_of_a_function_that_is_not_open_yet_opens_it() {
    let mut house = house();
    house.picture.kernel_v2_mut().routes.clear();
    let first = house.granted("first", KEY, &[5]);
    let second = house.granted("second", OTHER_KEY, &[6]);
    let expected = [open_call(&house, &first, 5), enable_call(&second, 6)];
    let (calls, effects) = house.enable(&[second, first]).unwrap();
    assert_eq!(calls, expected);
    assert_eq!(effects, ["opens execute for session keys and enables first (nonce 5)", "enables second (nonce 6)"]);
}

#[test]
fn each_account_function_is_opened_once() {
    let mut house = house();
    house.picture.kernel_v2_mut().routes.clear();
    let key = house.key_on("mint-bot", KEY, Generation::G2);
    let approvals = [house.approval(&key, 5, selector::EXECUTE), house.approval(&key, 6, selector::EXECUTE_BATCH)];
    let file = house.record(&key, &approvals);
    let expected = [open_call(&house, &file, 5), open_call(&house, &file, 6)];
    assert_eq!(house.enable(&[file]).unwrap().0, expected);
}

#[test]
fn a_function_that_goes_to_another_validator_is_sent_here_and_the_plan_says_whom_that_silences() {
    let mut house = house();
    let other = Generation::G3.address();
    house
        .picture
        .kernel_v2_mut()
        .routes
        .insert(selector::EXECUTE, Route { validator: other, executor: Address::ZERO, window: Window::default() });
    let file = house.granted("mint-bot", KEY, &[5]);
    let expected = [open_call(&house, &file, 5)];
    let (calls, effects) = house.enable(&[file]).unwrap();
    assert_eq!(calls, expected);
    assert!(effects[0].contains("silences") && effects[0].contains(&other.to_string()), "{effects:?}");
}

#[test]
fn a_turn_is_skipped_by_nobody() {
    let house = house();
    house.granted("first", KEY, &[5]);
    let second = house.granted("second", OTHER_KEY, &[6]);
    let error = house.enable(&[second]).unwrap_err();
    assert_eq!(error.code, "enable.order");
    assert!(error.message.contains("second has nonce 6") && error.message.contains("nonce 5 (first)"), "{error}");
    let gap = house.granted("third", OTHER_KEY, &[9]);
    assert!(house.enable(&[gap]).unwrap_err().message.contains("nonce 5"));
}

#[test]
fn what_is_enabled_already_is_left_out() {
    let mut house = house();
    let key = house.granted("mint-bot", KEY, &[4, 5]);
    house.hold(&key, 4);
    let expected = [enable_call(&key, 5)];
    assert_eq!(house.enable(&[key]).unwrap().0, expected);
    let only = house.granted("other", OTHER_KEY, &[3]);
    house.hold(&only, 3);
    assert_eq!(house.enable(&[only]).unwrap_err().code, "enable.nothing");
}

#[test]
fn what_the_chain_would_refuse_is_not_sent() {
    let mut house = house();
    let dead = house.granted("dead", KEY, &[3]);
    let error = house.enable(&[dead]).unwrap_err();
    assert!(error.code == "enable.state" && error.message.starts_with("dead is dead: "), "{error}");

    let key = house.key_on("forged", KEY, Generation::G2);
    let mut approval = house.approval(&key, 5, selector::EXECUTE);
    approval.signature = Some(Bytes::copy_from_slice(&house.owner.sign_hash(FixedBytes::ZERO).unwrap()));
    let forged = house.record(&key, &[approval]);
    assert_eq!(house.enable(&[forged]).unwrap_err().code, "enable.signature");

    let key = house.key_on("draft", OTHER_KEY, Generation::G2);
    let draft = ApprovalRecord { signature: None, ..house.approval(&key, 5, selector::EXECUTE) };
    let draft = house.record(&key, &[draft]);
    assert!(house.enable(&[draft]).unwrap_err().message.starts_with("draft is draft: "));

    house.picture.kernel_v2_mut().disabled_mode = u32::MAX;
    let paused = house.granted("paused", address!("90F79bf6EB2c4f870365E785982E1f101E93b906"), &[5]);
    assert!(house.enable(&[paused]).unwrap_err().message.starts_with("paused is paused: "));
}

#[test]
fn keys_that_cannot_be_enabled_together_are_not_dropped_silently() {
    let mut house = house();
    let one = house.granted("one", KEY, &[5]);
    let same_turn = house.granted("two", OTHER_KEY, &[5]);
    let error = house.enable(&[one, same_turn]).unwrap_err();
    assert!(error.code == "enable.together" && error.message.contains("same nonce 5"), "{error}");

    house.picture.kernel_v2_mut().nonces.insert(Generation::G3, Nonces { last: 4, invalid: 0 });
    let key = house.key_on("three", OTHER_KEY, Generation::G3);
    for turn in [5, 6] {
        house.picture.kernel_v2_mut().nonces.insert(Generation::G3, Nonces { last: turn - 1, invalid: 0 });
        let approval = house.approval(&key, turn, selector::EXECUTE);
        let on_g3 = house.record(
            &Key { id: format!("three-{turn}"), ..key.clone() },
            &[ApprovalRecord { key_id: format!("three-{turn}"), ..approval }],
        );
        let one = house.wallet.find_key("one").unwrap();
        let error = house.enable(&[one, on_g3]).unwrap_err();
        assert!(error.code == "enable.together" && error.message.contains("different validators"), "{error}");
    }
}

// --- what a grant does to keys that are there (R27, R33-R35), and what stops it --------------------------------------------

fn about(house: &House, session_key: Address, generation: Generation, selectors: &[Selector]) -> Vec<Finding> {
    let (place, account) = ((house.account.chain_id, house.account.address), &house.account);
    let on = (generation, account.kernel.kernel_v2());
    let plan = ApprovalPlan::KernelV2(grant::ApprovalPlan::new(place, session_key, on, selectors.to_vec()));
    house.wallet.about_other_keys(account, &plan, &house.picture).unwrap()
}

#[test]
fn the_first_key_of_an_account_disturbs_nobody() {
    let mut house = house();
    house.picture.kernel_v2_mut().routes.clear();
    assert_eq!(about(&house, KEY, Generation::G2, &[selector::EXECUTE]), []);
}

#[test]
fn r33_a_grant_that_would_reroute_names_the_keys_it_silences() {
    let house = house();
    assert_eq!(about(&house, KEY, Generation::G2, &[selector::EXECUTE]), []);
    let found = about(&house, KEY, Generation::G3, &[selector::EXECUTE]);
    let [finding] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((finding.id, finding.severity, &finding.effect), ("R33", Severity::High, &Effect::Warn));
    assert!(finding.message.contains("every key on it"), "{}", finding.message);

    house.granted("mint-bot", OTHER_KEY, &[3]);
    house.granted("watcher", KEY, &[4]);
    let found =
        about(&house, address!("90F79bf6EB2c4f870365E785982E1f101E93b906"), Generation::G3, &[selector::EXECUTE]);
    assert!(
        found[0].message.contains("mint-bot, watcher") && found[0].message.contains("execute"),
        "{}",
        found[0].message
    );
    // A function that goes nowhere yet silences nobody.
    assert_eq!(about(&house, KEY, Generation::G3, &[selector::EXECUTE_BATCH]), []);
}

#[test]
fn r34_a_second_approval_for_the_same_key_replaces_its_scope() {
    let house = house();
    house.granted("mint-bot", KEY, &[3]);
    let found = about(&house, KEY, Generation::G2, &[selector::EXECUTE]);
    let [finding] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((finding.id, finding.severity, &finding.effect), ("R34", Severity::Medium, &Effect::Warn));
    assert!(finding.message.contains("mint-bot"), "{}", finding.message);
    assert_eq!(about(&house, OTHER_KEY, Generation::G2, &[selector::EXECUTE]), []);
}

#[test]
fn r35_functions_that_are_open_beyond_the_grant_are_said() {
    let mut house = house();
    house
        .picture
        .kernel_v2_mut()
        .routes
        .insert(selector::EXECUTE_BATCH, Route { validator: G2, executor: Address::ZERO, window: Window::default() });
    let found = about(&house, KEY, Generation::G2, &[selector::EXECUTE]);
    let [finding] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((finding.id, finding.severity, &finding.effect), ("R35", Severity::Low, &Effect::Warn));
    assert!(finding.message.contains("executeBatch"), "{}", finding.message);
    assert_eq!(about(&house, KEY, Generation::G2, &[selector::EXECUTE, selector::EXECUTE_BATCH]), []);
    house.picture.kernel_v2_mut().routes.insert(
        selector::EXECUTE_BATCH,
        Route { validator: Address::ZERO, executor: Address::ZERO, window: Window::default() },
    );
    assert_eq!(about(&house, KEY, Generation::G2, &[selector::EXECUTE]), []);
}

#[test]
fn r27_other_accounts_of_the_same_key_come_from_the_records() {
    let house = house();
    house.granted("mint-bot", KEY, &[3]);
    assert!(house.wallet.also_on(KEY, &house.account).unwrap().is_empty());
    let elsewhere = Account { network: "base".into(), ..house.account.clone() };
    assert_eq!(house.wallet.also_on(KEY, &elsewhere).unwrap(), [format!("{} on local", house.account.address)]);
    assert!(house.wallet.also_on(OTHER_KEY, &elsewhere).unwrap().is_empty());
}

fn finding(effect: Effect) -> Finding {
    let (message, advice) = ("it can replace the owner".into(), "use an ordinary call".into());
    Finding { id: "R12", severity: Severity::Critical, permission: Some(1), message, advice, effect }
}

#[test]
fn a_warning_stops_nothing() {
    assert_eq!(check_findings(&[finding(Effect::Warn)], &Accepted::new()), Ok(()));
}

#[test]
fn a_blocking_finding_is_answered_only_with_its_own_phrase() {
    let blocked = [finding(Effect::Block("I mean it"))];
    let answer =
        |id: &str, phrase: &str| check_findings(&blocked, &Accepted::from([(id.to_owned(), phrase.to_owned())]));
    assert_eq!(answer("R12", "I mean it"), Ok(()));
    for (id, phrase) in [("R12", "i mean it"), ("R12", ""), ("R12", "yes"), ("R02", "I mean it"), ("*", "I mean it")] {
        let error = answer(id, phrase).unwrap_err();
        assert_eq!(error.code, "risk.R12");
        assert!(error.message.starts_with("R12: permission 2: "), "{error}");
        assert!(
            error.hint.contains("use an ordinary call") && error.hint.contains("--accept \"R12=I mean it\""),
            "{}",
            error.hint
        );
    }
}

#[test]
fn a_phrase_that_answers_for_several_permissions_says_for_which() {
    let at = |permission| Finding { permission: Some(permission), ..finding(Effect::Block("I mean it")) };
    let hint = |findings: &[Finding]| check_findings(findings, &Accepted::new()).unwrap_err().hint;
    assert!(hint(&[at(0), at(2), at(5)]).contains("if you mean it for permissions 1, 3 and 6 alike: --accept"));
    assert!(hint(&[at(0)]).contains("if you mean it: --accept"));
}

#[test]
fn a_refused_finding_has_no_phrase() {
    let refused = [finding(Effect::Refuse)];
    let accepted = Accepted::from([("R12".to_owned(), String::new())]);
    let error = check_findings(&refused, &accepted).unwrap_err();
    assert!(error.code == "risk.R12" && !error.hint.contains("--accept"), "{error:?}");
}

use alloy::primitives::{B256, address, keccak256};

use super::known::{Kind, Known};
use super::*;
use crate::policy::scope::{Condition, ExecutionRule, Permission, Rule};
use crate::protocol::kernel_v2::{
    account::selector,
    generation::{ECDSA_VALIDATOR, Generation, KERNEL_FACTORY, KernelVersion},
};

const NOW: u64 = 1_800_000_000;
const TOKEN: Address = address!("5FbDB2315678afecb367f032d93F642f64180aa3");
const ACCOUNT: Address = address!("B2358b064F5eA10543Cf8034C8576b2E6Bfd3Be3");
const OWNER: Address = address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
const KEY: Address = address!("70997970C51812dc3A010C7d01b50e0d17dc79C8");
const SPONSOR: Address = address!("3C44CdDdB6a900fa2b585dd299e03d12FA4293BC");

static NOTHING_ASKED: Contracts = Contracts::new();

/// A key of a day that may mint to one address three times, gas paid by one paymaster: nothing to say about it.
fn harmless() -> Scope {
    Scope { valid_after: 0, valid_until: NOW + DAY, paymaster: SPONSOR, permissions: vec![mint()] }
}

fn mint() -> Permission {
    Permission { rules: vec![eq_rule(0)], ..call("mint(address)") }
}

fn selector_of(signature: &str) -> Selector {
    Selector::from_slice(&keccak256(signature)[..4])
}

fn call(signature: &str) -> Permission {
    Permission {
        index: 0,
        target: TOKEN,
        sig: selector_of(signature),
        value_limit: U256::ZERO,
        rules: Vec::new(),
        execution_rule: ExecutionRule { runs: 3, ..ExecutionRule::default() },
        operation: Operation::Call,
    }
}

fn context() -> Context<'static> {
    Context {
        validator: Generation::G2.into(),
        kernel: Some(KernelVersion::V0_2_4.into()),
        account: ACCOUNT,
        owner: Some(OWNER),
        session_key: Some(KEY),
        selectors: &[selector::EXECUTE],
        functions: &[],
        partial: false,
        clock: None,
        contracts: &NOTHING_ASKED,
        now: NOW,
        balance: Some(U256::from(2_000_000_000_000_000_000_u64)),
        deposit: Some(U256::from(500_000_000_000_000_000_u64)),
        key_has_code: Some(false),
        also_on: &[],
        coin: "ETH",
        permuted_execution_rule: false,
    }
}

fn ids(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(|f| f.id).collect()
}

fn about(scope: &Scope) -> Vec<Finding> {
    assess(scope, &context())
}

fn about_permission(permission: Permission) -> Vec<Finding> {
    about(&Scope { permissions: vec![permission], ..harmless() })
}

/// The only finding there is.
fn only(findings: Vec<Finding>) -> Finding {
    match <[Finding; 1]>::try_from(findings) {
        Ok([finding]) => finding,
        Err(all) => panic!("expected one finding, found {all:#?}"),
    }
}

fn eq_rule(offset: u64) -> Rule {
    Rule { offset: U256::from(offset), condition: Condition::Eq, param: KEY.into_word() }
}

#[test]
fn a_narrow_key_of_a_day_with_its_own_paymaster_gives_no_finding() {
    assert_eq!(about(&harmless()), []);
}

#[test]
fn what_is_not_known_is_not_guessed() {
    let unknown = Context { kernel: None, owner: None, balance: None, deposit: None, key_has_code: None, ..context() };
    assert_eq!(assess(&harmless(), &unknown), []);
}

#[test]
fn r01_a_key_for_everything_is_signed_only_for_a_day_and_only_with_the_phrase() {
    let everything = |valid_until| about(&Scope { permissions: vec![], valid_until, ..harmless() });
    let finding = only(everything(NOW + DAY));
    assert_eq!((finding.id, finding.severity, finding.permission), ("R01", Severity::Critical, None));
    assert_eq!(finding.effect, Effect::Block("this key can do everything"));
    for too_long in [NOW + DAY + 1, NOW + 40 * DAY, 0] {
        let findings = everything(too_long);
        assert_eq!((findings[0].id, &findings[0].effect), ("R01", &Effect::Refuse), "until {too_long}");
    }
}

#[test]
fn r02_a_target_that_rules_the_account_is_blocked_by_name() {
    let mut targets = vec![
        (ACCOUNT, "the account itself"),
        (ENTRY_POINT, "the EntryPoint"),
        (ECDSA_VALIDATOR, "owner"),
        (KERNEL_FACTORY, "factory"),
    ];
    targets.extend(Generation::ALL.map(|g| (g.address(), "session key validator")));
    targets.extend(KernelVersion::ALL.map(|v| (v.implementation(), "implementation of Kernel")));
    for (target, what) in targets {
        let finding = only(about_permission(Permission { target, ..mint() }));
        assert_eq!(
            (finding.id, finding.severity, finding.permission),
            ("R02", Severity::Critical, Some(0)),
            "{target}"
        );
        assert!(finding.message.contains(what), "{}", finding.message);
        assert_eq!(finding.effect, Effect::Block("this key can take over the account"));
    }
}

fn of<'a>(findings: &'a [Finding], id: &str) -> Option<&'a Finding> {
    findings.iter().find(|f| f.id == id)
}

#[test]
fn r03_a_privileged_function_on_any_contract_is_blocked_and_on_a_named_one_is_said() {
    let privileged: Vec<&Known> = known::functions().filter(|k| k.privileged_on_any).collect();
    assert!(privileged.len() > 20);
    for known in privileged {
        let signature = known.function.signature();
        let found = about_permission(Permission { target: ANY_TARGET, ..call(signature) });
        let finding = of(&found, "R03").unwrap();
        assert_eq!((finding.severity, finding.permission), (Severity::Critical, Some(0)), "{signature}");
        assert_eq!(finding.effect, Effect::Block("any contract includes my own account"));
        let named = about_permission(call(signature));
        assert!(!named.is_empty() && named.iter().all(|f| f.effect == Effect::Warn), "{signature}: {named:?}");
        if known.kind == Kind::Privileged {
            assert_eq!(of(&named, "R03").map(|f| f.severity), Some(Severity::High), "{signature}");
        }
    }
}

#[test]
fn r03_knows_privileged_functions_by_their_names_too() {
    let permission = |signature| Permission { target: ANY_TARGET, ..call(signature) };
    for (signature, blocks) in [
        ("executeWithToken(address,uint256)", true),
        ("delegateToWhomever(bytes)", true),
        ("multicallPayable(bytes[])", true),
        ("upgradeToLatest()", true),
        ("setOwnerOf(uint256)", true),
        ("play(uint256)", false),
    ] {
        let functions = [Function::parse(signature).ok()];
        let scope = Scope { permissions: vec![permission(signature)], ..harmless() };
        let found = assess(&scope, &Context { functions: &functions, ..context() });
        let finding = of(&found, "R03").unwrap();
        assert_eq!(matches!(finding.effect, Effect::Block(_)), blocks, "{signature}: {finding:?}");
    }
}

#[test]
fn r04_an_asset_function_on_any_contract_is_blocked_until_the_recipient_is_pinned() {
    let is_asset = |k: &&Known| matches!(k.kind, Kind::Transfer | Kind::Allowance | Kind::Operator) && !k.to.is_empty();
    let assets: Vec<&Known> = known::functions().filter(is_asset).collect();
    assert!(assets.len() > 20);
    for known in assets {
        let signature = known.function.signature();
        let has = |permission| of(&about_permission(permission), "R04").cloned();
        let wild = Permission { target: ANY_TARGET, ..call(signature) };
        let finding = has(wild.clone()).unwrap();
        assert_eq!(finding.severity, Severity::High, "{signature}");
        assert_eq!(finding.effect, Effect::Block("every token this account holds"));

        let places: Vec<u64> = known.to.iter().map(|place| place.offset).collect();
        let pinned = Permission { rules: places.iter().map(|at| eq_rule(*at)).collect(), ..wild.clone() };
        assert_eq!(has(pinned), None, "{signature} with the recipient pinned");
        let elsewhere = Permission { rules: vec![eq_rule(places[0] + 32)], ..wild.clone() };
        assert!(has(elsewhere).is_some(), "{signature} with another word pinned");
        let bounded = Rule { condition: Condition::Lte, ..eq_rule(places[0]) };
        let bounded = Permission { rules: vec![bounded], ..wild };
        assert!(has(bounded).is_some(), "{signature} with the recipient only bounded");
        assert_eq!(has(call(signature)), None, "{signature} on one contract");
    }
}

/// Nothing that moves assets passes without a word while one of its arguments is free.
#[test]
fn a1_an_asset_function_on_a_named_contract_is_never_without_a_finding_while_an_argument_is_free() {
    for known in known::functions().filter(|k| !matches!(k.kind, Kind::View)) {
        let signature = known.function.signature();
        let permission = Permission { rules: Vec::new(), ..call(signature) };
        let scope = Scope { permissions: vec![permission], ..harmless() };
        let found = assess(&scope, &context());
        assert!(!found.is_empty(), "{signature}");
        assert!(!checked(&scope, &context()).arguments_hold || known.kind == Kind::Privileged, "{signature}");
    }
}

#[test]
fn a1_a_narrow_key_lists_what_was_checked_and_a_free_recipient_takes_the_green_away() {
    let holds = |scope: &Scope| {
        let checked = checked(scope, &context());
        let held: Vec<String> = checked.checks.into_iter().filter(|c| c.holds == Some(true)).map(|c| c.words).collect();
        (checked.arguments_hold, held)
    };
    let (green, held) = holds(&harmless());
    assert!(green);
    for words in ["recipients pinned", "amounts limited", "gas pinned to one paymaster", "runs limited", "it ends"] {
        assert!(held.iter().any(|h| h == words), "{words}: {held:?}");
    }
    let free = Permission { rules: Vec::new(), ..mint() };
    let (green, held) = holds(&Scope { permissions: vec![mint(), free], ..harmless() });
    assert!(!green && !held.iter().any(|h| h.contains("recipients")), "{held:?}");
}

#[test]
fn a2_what_is_not_known_of_a_found_key_counts_as_the_worst_case() {
    for permissions in [vec![], vec![mint()]] {
        let scope = Scope { permissions, ..harmless() };
        let partial = Context { partial: true, ..context() };
        let found = assess(&scope, &partial);
        let finding = of(&found, "R01").unwrap();
        assert_eq!((finding.severity, &finding.effect), (Severity::Critical, &Effect::Warn));
        assert!(finding.message.contains("worst case"), "{}", finding.message);
        assert!(!checked(&scope, &partial).arguments_hold);
    }
}

#[test]
fn a2_assessing_five_hundred_keys_needs_no_chain_and_says_the_same_each_time() {
    let scope = Scope {
        paymaster: Address::ZERO,
        valid_until: 0,
        permissions: vec![call("transfer(address,uint256)")],
        ..harmless()
    };
    let first = about(&scope);
    assert!((0..500).all(|_| about(&scope) == first));
    assert_eq!(ids(&first), ["R05", "R13", "R09"]);
}

#[test]
fn r05_without_a_paymaster_the_accounts_coins_are_at_risk_and_counted_with_the_deposit() {
    let scope = Scope { paymaster: Address::ZERO, ..harmless() };
    let finding = only(about(&scope));
    assert_eq!((finding.id, finding.severity, &finding.effect), ("R05", Severity::Critical, &Effect::Warn));
    assert!(finding.message.contains("now 2.5 ETH"), "{}", finding.message);
    assert!(finding.advice.contains("paymaster"));
    let offline = only(assess(&scope, &Context { balance: None, deposit: None, ..context() }));
    assert!(offline.message.contains("not known without a chain"), "{}", offline.message);
}

#[test]
fn r06_any_sponsor_is_no_protection_and_says_why() {
    let finding = only(about(&Scope { paymaster: ANY_PAYMASTER, ..harmless() }));
    assert_eq!((finding.id, finding.severity, &finding.effect), ("R06", Severity::Critical, &Effect::Warn));
    assert!(finding.message.contains("20 zero bytes") && finding.message.contains("2.5 ETH"), "{}", finding.message);
}

#[test]
fn r12_a_delegatecall_needs_its_phrase() {
    let finding = only(about_permission(Permission { operation: Operation::DelegateCall, ..mint() }));
    assert_eq!((finding.id, finding.severity, finding.permission), ("R12", Severity::Critical, Some(0)));
    assert_eq!(finding.effect, Effect::Block("delegatecall can replace the owner"));
}

#[test]
fn r13_a_key_that_lasts_longer_than_thirty_days_is_a_warning() {
    let until = |valid_until| about(&Scope { valid_until, ..harmless() });
    assert_eq!(until(NOW + 30 * DAY), []);
    let finding = only(until(NOW + 30 * DAY + 1));
    assert_eq!((finding.id, finding.severity, &finding.effect), ("R13", Severity::High, &Effect::Warn));
    assert!(finding.message.contains("30 d"), "{}", finding.message);
    assert!(only(until(0)).message.contains("never expires"));
}

#[test]
fn r15_a_condition_on_the_offset_of_dynamic_data_is_a_warning() {
    let function = Function::parse("store(bytes data, uint256 n)").unwrap();
    let permission = |offset| Permission {
        rules: vec![Rule { offset: U256::from(offset), condition: Condition::Lte, param: B256::with_last_byte(9) }],
        ..call("store(bytes,uint256)")
    };
    let found = |offset| {
        let scope = Scope { permissions: vec![permission(offset)], ..harmless() };
        assess(&scope, &Context { functions: &[Some(function.clone())], ..context() })
    };
    let finding = only(found(0));
    assert_eq!((finding.id, finding.permission, &finding.effect), ("R15", Some(0), &Effect::Warn));
    assert_eq!(found(32), []);
}

#[test]
fn r27_a_key_that_is_the_owners_or_nobodys_or_a_contracts_is_refused() {
    let refused = |context: Context<'_>| {
        let finding = only(assess(&harmless(), &context));
        assert_eq!((finding.id, finding.effect), ("R27", Effect::Refuse));
        finding.message
    };
    assert!(refused(Context { session_key: Some(OWNER), ..context() }).contains("owner's own key"));
    assert!(refused(Context { session_key: Some(Address::ZERO), ..context() }).contains("zero address"));
    assert!(refused(Context { key_has_code: Some(true), ..context() }).contains("has code"));
}

#[test]
fn r27_a_key_that_acts_for_other_accounts_too_is_a_warning_that_names_them() {
    let others = ["0x12…9f3A on base".to_owned(), "0x34…11Ab on base".to_owned()];
    let finding = only(assess(&harmless(), &Context { also_on: &others, ..context() }));
    assert_eq!((finding.id, finding.effect), ("R27", Effect::Warn));
    assert!(others.iter().all(|o| finding.message.contains(o)), "{}", finding.message);
}

#[test]
fn r30_kernel_0_2_1_is_refused_whatever_the_scope() {
    let finding = only(assess(&harmless(), &Context { kernel: Some(KernelVersion::V0_2_1.into()), ..context() }));
    assert_eq!((finding.id, finding.severity, &finding.effect), ("R30", Severity::Critical, &Effect::Refuse));
    assert!(finding.advice.contains("0.2.4"));
}

#[test]
fn r30_delegate_calls_are_refused_where_validator_or_kernel_cannot_do_them() {
    let delegate = [selector::EXECUTE_DELEGATE_CALL];
    let on = |generation: Generation, kernel: KernelVersion| {
        let context =
            Context { validator: generation.into(), kernel: Some(kernel.into()), selectors: &delegate, ..context() };
        assess(&harmless(), &context).into_iter().map(|f| (f.id, f.effect)).collect::<Vec<_>>()
    };
    assert_eq!(on(Generation::G1, KernelVersion::V0_2_4), [("R30", Effect::Refuse)]);
    assert_eq!(on(Generation::G2, KernelVersion::V0_2_2), [("R30", Effect::Refuse)]);
    assert_eq!(on(Generation::G2, KernelVersion::V0_2_3), []);
    assert_eq!(on(Generation::G3, KernelVersion::V0_2_4), []);
}

#[test]
fn r30_what_the_leaf_of_the_first_generation_cannot_say_is_refused() {
    let refusals = |permission: Permission, generation: Generation| {
        let scope = Scope { permissions: vec![permission], ..harmless() };
        let found = assess(&scope, &Context { validator: generation.into(), ..context() });
        found.iter().filter(|f| f.id == "R30").map(|f| (f.permission, f.effect.clone())).collect::<Vec<_>>()
    };
    let any = Permission { target: ANY_TARGET, ..mint() };
    assert_eq!(refusals(any.clone(), Generation::G1), [(Some(0), Effect::Refuse)]);
    assert_eq!(refusals(any, Generation::G2), []);
    let delegate = Permission { operation: Operation::DelegateCall, ..mint() };
    assert_eq!(refusals(delegate.clone(), Generation::G1), [(Some(0), Effect::Refuse)]);
    assert_eq!(refusals(delegate, Generation::G2), []);
}

#[test]
fn r32_run_limits_of_an_sdks_approval_are_said_to_be_those_of_the_chain() {
    let finding = only(assess(&harmless(), &Context { permuted_execution_rule: true, ..context() }));
    assert_eq!((finding.id, finding.severity, &finding.effect), ("R32", Severity::High, &Effect::Warn));
}

#[test]
fn the_worst_comes_first_and_findings_name_their_permission() {
    let delegate = Permission { operation: Operation::DelegateCall, ..mint() };
    let to_account = Permission { target: ACCOUNT, ..mint() };
    let scope = Scope {
        valid_until: 0,
        paymaster: Address::ZERO,
        permissions: vec![mint(), delegate, to_account],
        ..harmless()
    };
    let found: Vec<_> = about(&scope).iter().map(|f| (f.id, f.permission)).collect();
    assert_eq!(found, [("R05", None), ("R12", Some(1)), ("R02", Some(2)), ("R13", None)]);
}

#[test]
fn every_phrase_is_short_enough_to_be_typed_and_says_what_is_at_stake() {
    let wild = |signature| Permission { target: ANY_TARGET, ..call(signature) };
    let scopes = [
        Scope { permissions: vec![], ..harmless() },
        Scope {
            permissions: vec![
                Permission { target: ACCOUNT, ..mint() },
                wild("multicall(bytes[])"),
                wild("transfer(address,uint256)"),
                Permission { operation: Operation::DelegateCall, ..mint() },
            ],
            ..harmless()
        },
    ];
    let mut phrases: Vec<(&str, &str)> = scopes
        .iter()
        .flat_map(about)
        .filter_map(|f| match f.effect {
            Effect::Block(phrase) => Some((f.id, phrase)),
            _ => None,
        })
        .collect();
    phrases.sort_unstable();
    assert_eq!(phrases.iter().map(|p| p.0).collect::<Vec<_>>(), ["R01", "R02", "R03", "R04", "R12"]);
    for (id, phrase) in phrases {
        assert!(
            (10..=40).contains(&phrase.len()) && phrase.is_ascii() && !phrase.contains(['"', '=']),
            "{id}: {phrase}"
        );
    }
}

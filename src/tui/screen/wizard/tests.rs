//! The answers as a policy: what a person fills in is what the chain will hold, and what is unsound is refused in words.

use alloy::primitives::{Address, U256, address};

use super::{
    answers::{Answer, Answers, Ask, Ending, Gas, Giver, Page, Source, Wrong},
    templates::Start,
};
use crate::{
    policy::scope::{ANY_PAYMASTER, ANY_TARGET, Condition},
    protocol::family::{Validator, account::AccountFunction},
    tui::keymap::Command,
    wallet::{
        coin::Coin,
        policy::{End, Start as From},
        sandbox_profile::DEMO,
        usecase::grant::Holder,
    },
};

const ME: Address = address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
const CONTRACT: &str = "0x5FbDB2315678afecb367f032d93F642f64180aa3";
const NOW: u64 = 1_795_356_120;

fn answers(start: Start, sandbox: bool) -> Answers {
    let givers = vec![Giver { name: "treasury".into(), address: ME, coin: Coin::of(11_155_111) }];
    let mut answers = Answers::new(givers, 0, sandbox);
    start.fill(&mut answers);
    answers
}

/// A form on a live network, for one function.
fn form_for(signature: &str) -> Answers {
    let mut answers = answers(Start::Blank, false);
    answers.who.choose(Ask::Holder, &Answer::NewKey);
    answers.window.choose(Ask::Gas, &Answer::Gas(Gas::Anyone));
    answers.settle(Page::Window, NOW);
    let permission = &mut answers.permissions[0];
    permission.function.fill(Ask::Target, CONTRACT);
    permission.function.fill(Ask::Signature, signature);
    permission.settle_function();
    permission.build_arguments();
    answers
}

fn limit(answers: &mut Answers, word: usize, nth: usize, op: Condition, value: &str) {
    answers.permissions[0].limit_argument(word, nth, op, value);
}

fn refused(answers: &Answers) -> Wrong {
    answers.policy(NOW).expect_err("it is refused")
}

#[test]
fn the_app_session_mints_to_its_own_account_for_a_day_with_the_sponsors_gas() {
    let answers = answers(Start::Session, true);
    let policy = answers.policy(NOW).unwrap();
    assert_eq!((policy.valid_until, policy.paymaster), (End::After(24 * 3_600), DEMO.sponsor));
    assert_eq!(policy.functions, [AccountFunction::Execute]);
    let [mint] = policy.permissions.as_slice() else { panic!("one permission") };
    assert_eq!(mint.function.as_ref().unwrap().signature(), "mint(address)");
    assert_eq!((mint.target, mint.value_limit), (DEMO.nft, U256::ZERO));
    assert_eq!(mint.when[0].value, ME.to_string(), "me is the account");
    assert_eq!(answers.holder(), Ok(Holder::NewKey));
    policy.resolve(NOW, Validator::DEFAULT).unwrap();
}

#[test]
fn the_watcher_repays_within_limits_and_closes_only_what_is_at_risk() {
    let policy = answers(Start::Watcher, true).policy(NOW).unwrap();
    let [repay, close] = policy.permissions.as_slice() else { panic!("two permissions") };
    assert_eq!((repay.limit.runs, repay.limit.every), (Some(24), Some(3_600)));
    assert_eq!((repay.when[1].op, repay.when[1].value.as_str()), (Condition::Lte, "500"));
    assert_eq!(close.function.as_ref().unwrap().signature(), "closeIfAtRisk()");
    policy.resolve(NOW, Validator::DEFAULT).unwrap();
}

#[test]
fn on_a_live_network_a_template_leaves_the_contract_and_the_amount_to_the_person() {
    let mut answers = answers(Start::Watcher, false);
    answers.who.choose(Ask::Holder, &Answer::NewKey);
    let wrong = refused(&answers);
    assert_eq!((wrong.page, wrong.ask), (Page::Function(0), Ask::Target));
    answers.permissions[0].function.fill(Ask::Target, CONTRACT);
    let wrong = refused(&answers);
    assert_eq!((wrong.page, wrong.ask), (Page::Arguments(0), Ask::Arg(1, 0)));
    assert!(wrong.why.contains("compared with"), "{}", wrong.why);
}

#[test]
fn a_range_is_two_conditions_on_one_argument() {
    let mut answers = form_for("repay(address owner, uint256 amount)");
    limit(&mut answers, 1, 0, Condition::Gte, "10");
    limit(&mut answers, 1, 1, Condition::Lte, "500");
    let policy = answers.policy(NOW).unwrap();
    let resolved = policy.resolve(NOW, Validator::DEFAULT).unwrap();
    let rules: Vec<_> = resolved.scope.permissions[0].rules.iter().map(|r| (r.offset, r.condition)).collect();
    let second = U256::from(32);
    assert_eq!(rules, [(second, Condition::Gte), (second, Condition::Lte)]);
}

#[test]
fn conditions_that_nothing_can_meet_are_refused_at_their_line() {
    let mut answers = form_for("repay(address owner, uint256 amount)");
    limit(&mut answers, 1, 0, Condition::Gte, "500");
    limit(&mut answers, 1, 1, Condition::Lte, "10");
    let wrong = refused(&answers);
    assert_eq!((wrong.page, wrong.ask), (Page::Arguments(0), Ask::Arg(1, 0)));
    assert!(wrong.why.contains("at least 500 and at most 10"), "{}", wrong.why);
}

#[test]
fn what_the_chain_would_not_compare_as_it_is_meant_is_refused_with_the_reason() {
    let mut signed = form_for("move(int256 tick)");
    limit(&mut signed, 0, 0, Condition::Lte, "5");
    assert!(refused(&signed).why.contains("unsigned"), "{:?}", refused(&signed));
    let mut dynamic = form_for("say(string words)");
    limit(&mut dynamic, 0, 0, Condition::Eq, "hello");
    assert!(refused(&dynamic).why.contains("no fixed place in the call"), "{:?}", refused(&dynamic));
    let mut typed = form_for("pay(address to)");
    limit(&mut typed, 0, 0, Condition::Eq, "0x1234");
    assert!(refused(&typed).why.contains("40 hex digits"), "{:?}", refused(&typed));
}

#[test]
fn an_overload_is_chosen_by_its_full_signature() {
    let mut answers = form_for("ignored()");
    let permission = &mut answers.permissions[0];
    permission.function.choose(Ask::Source, &Answer::From(Source::Standard("erc721")));
    permission.settle_function();
    let list = permission.function.choice_of(Ask::Function).unwrap();
    let is_overload = |a: &&Answer| matches!(a, Answer::Function(f) if f.name() == "safeTransferFrom");
    let overloads: Vec<Answer> = list.values().filter(is_overload).cloned().collect();
    assert_eq!(overloads.len(), 2);
    let signatures: Vec<String> = overloads
        .into_iter()
        .map(|overload| {
            permission.function.choose(Ask::Function, &overload);
            permission.chosen_function().unwrap().signature().to_owned()
        })
        .collect();
    assert_ne!(signatures[0], signatures[1]);
}

#[test]
fn going_back_to_the_same_function_keeps_what_was_typed_about_its_arguments() {
    let mut answers = form_for("repay(address owner, uint256 amount)");
    limit(&mut answers, 1, 0, Condition::Lte, "500");
    answers.permissions[0].build_arguments();
    assert_eq!(answers.permissions[0].arguments.text(Ask::Arg(1, 0)), "500");
    answers.permissions[0].function.fill(Ask::Signature, "repay(address owner)");
    answers.permissions[0].build_arguments();
    assert_eq!(answers.permissions[0].arguments.get(Ask::Arg(1, 0)), None);
}

#[test]
fn a_raw_word_says_what_the_abi_cannot() {
    let mut answers = form_for("say(string words)");
    let form = &mut answers.permissions[0].arguments;
    form.choose(Ask::Raw(0), &Answer::If(Some(Condition::Eq)));
    form.focus_on(Ask::Raw(0));
    answers.permissions[0].settle_arguments();
    let form = &mut answers.permissions[0].arguments;
    form.command(Command::Next);
    form.field().unwrap().paste("0");
    form.command(Command::Next);
    form.field().unwrap().paste("32");
    let policy = answers.policy(NOW).unwrap();
    assert_eq!(
        (policy.permissions[0].words[0].offset, policy.permissions[0].words[0].value.as_str()),
        (U256::ZERO, "32")
    );
    // A word that no call can hold is refused.
    answers.permissions[0].arguments.fill(Ask::Raw(0), "99999999999");
    assert!(refused(&answers).why.contains("past what any call can hold"), "{:?}", refused(&answers));
}

#[test]
fn never_and_who_may_spend_your_eth_as_gas_must_be_chosen() {
    let mut answers = form_for("play()");
    assert_eq!(answers.policy(NOW).unwrap().valid_until, End::After(24 * 3_600));
    assert_eq!(answers.policy(NOW).unwrap().paymaster, Address::ZERO, "chosen above");
    answers.window.choose(Ask::Ends, &Answer::Ends(Ending::Never));
    answers.window.choose(Ask::Gas, &Answer::Gas(Gas::AnySponsor));
    let policy = answers.policy(NOW).unwrap();
    assert_eq!((policy.valid_until, policy.paymaster), (End::Never, ANY_PAYMASTER));
    // The first answer is one sponsor, and then which one.
    answers.window.choose(Ask::Gas, &Answer::Gas(Gas::Exactly));
    answers.settle(Page::Window, NOW);
    assert_eq!(refused(&answers).ask, Ask::Sponsor);
}

#[test]
fn times_are_read_as_people_write_them_and_shown_both_ways() {
    let mut answers = form_for("play()");
    answers.window.choose(Ask::Ends, &Answer::Ends(Ending::At));
    answers.settle(Page::Window, NOW);
    for (text, expected) in
        [("2026-12-24 18:00", 1_798_135_200), ("2026-12-24", 1_798_070_400), ("2026-12-24T18:00:00Z", 1_798_135_200)]
    {
        answers.window.fill(Ask::Until, text);
        assert_eq!(answers.policy(NOW).unwrap().valid_until, End::At(expected), "{text}");
    }
    answers.settle(Page::Window, NOW);
    assert_eq!(answers.window.get(Ask::Until).unwrap().hint, "2026-12-24 18:00 UTC: in 32 d");
    answers.window.fill(Ask::Until, "2020-01-01");
    assert!(refused(&answers).why.contains("in the past"));
    answers.window.fill(Ask::Until, "tomorrow");
    assert!(refused(&answers).why.contains("2026-12-24 18:00"));
}

#[test]
fn a_start_and_several_calls_at_once_are_asked_for_in_so_many_words() {
    let mut answers = form_for("play()");
    answers.window.choose(Ask::Starts, &Answer::AtDate);
    answers.window.fill(Ask::From, "2026-12-01 08:00");
    answers.window.choose(Ask::Calls, &Answer::SeveralCalls);
    let policy = answers.policy(NOW).unwrap();
    assert_eq!(policy.valid_after, From::At(1_796_112_000));
    assert_eq!(policy.functions, [AccountFunction::Execute, AccountFunction::ExecuteBatch]);
}

#[test]
fn any_contract_must_be_said_and_the_zero_address_is_no_contract() {
    let mut answers = form_for("play()");
    answers.permissions[0].function.fill(Ask::Target, "any");
    assert_eq!(answers.policy(NOW).unwrap().permissions[0].target, ANY_TARGET);
    answers.permissions[0].function.fill(Ask::Target, &Address::ZERO.to_string());
    assert!(refused(&answers).why.contains("any contract"));
}

#[test]
fn limits_are_amounts_counts_and_pauses() {
    let mut answers = form_for("play()");
    answers.permissions[0].limits.fill(Ask::Value, "0.1 eth");
    answers.permissions[0].limits.fill(Ask::Runs, "3");
    let policy = answers.policy(NOW).unwrap();
    assert_eq!(policy.permissions[0].value_limit, U256::from(100_000_000_000_000_000_u64));
    assert_eq!(policy.permissions[0].limit.runs, Some(3));
    for (ask, text) in [(Ask::Runs, "0"), (Ask::Runs, "often"), (Ask::Every, "soon"), (Ask::Value, "0.1")] {
        let mut answers = answers.clone();
        answers.permissions[0].limits.fill(ask, text);
        assert_eq!((refused(&answers).page, refused(&answers).ask), (Page::Limits(0), ask), "{text}");
    }
}

#[test]
fn other_words_ask_for_the_same() {
    let mut live = form_for("repay(address owner, uint256 amount)");
    limit(&mut live, 1, 0, Condition::Lte, "500");
    for mut answers in [answers(Start::Session, true), answers(Start::Watcher, true), live] {
        let (policy, holder) = (answers.policy(NOW).unwrap(), answers.holder());
        for page in answers.pages() {
            answers.form_mut(page).unwrap().reword();
            answers.settle(page, NOW);
        }
        assert_eq!((answers.policy(NOW).unwrap(), answers.holder()), (policy, holder));
    }
}

//! Giving, using and handing over keys: every step as it is drawn, and what keys do there.

use alloy::primitives::{Address, B256, U256};
use crossterm::event::KeyCode;
use ratatui::style::Color;

use super::{Bench, fixtures};
use crate::{
    abi::Interface,
    protocol::Format,
    tui::{
        input::{Input, Key},
        message::{Effect, Msg, PolicySource, Report},
    },
    wallet::{
        coin::Coin,
        error::{Error, Kind},
        policy::End,
        sandbox_profile::DEMO,
        submit::operation::OperationOutcome,
        usecase::{agent::AgentView, grant::Holder, send::Actor},
    },
};

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (60, 16)];

/// The same steps at each size, and each picture under the size's name.
fn picture(name: &str, mut steps: impl FnMut(u16, u16) -> Bench) {
    for (width, height) in SIZES {
        let bench = steps(width, height);
        insta::assert_snapshot!(format!("{name}@{width}x{height}"), bench.text());
    }
}

/// The menu at the start, on a sandbox.
fn menu(width: u16, height: u16) -> Bench {
    let mut bench = Bench::at_home(width, height, true);
    bench.model.data.sandbox = true;
    bench.keys("n");
    bench
}

fn watcher(width: u16, height: u16, pages: usize) -> Bench {
    let mut bench = menu(width, height);
    bench.keys("↓↵");
    for _ in 0..pages {
        bench.keys("⇟");
    }
    bench
}

/// A blank form on a live network, with a function chosen.
fn live(width: u16, height: u16, signature: &str) -> Bench {
    let mut bench = Bench::at_home(width, height, true);
    bench.keys("n↓↓↵⇥→⇟");
    bench.paste("0x5FbDB2315678afecb367f032d93F642f64180aa3");
    bench.keys("⇥⇥");
    bench.paste(signature);
    bench
}

fn planned(bench: &Bench) -> crate::tui::message::GrantRequest {
    match bench.asked_for.last() {
        Some(Effect::PlanGrant { request, .. }) => request.clone(),
        other => panic!("no plan was asked for: {other:?}\n{}", bench.text()),
    }
}

#[test]
fn wizard_steps() {
    picture("wizard_menu", menu);
    picture("wizard_who", |w, h| watcher(w, h, 0));
    picture("wizard_function", |w, h| watcher(w, h, 1));
    picture("wizard_arguments", |w, h| watcher(w, h, 2));
    picture("wizard_limits", |w, h| watcher(w, h, 3));
    picture("wizard_window", |w, h| watcher(w, h, 7));
    picture("wizard_planning", |w, h| watcher(w, h, 8));
    picture("wizard_function_live", |w, h| live(w, h, "transfer(address to, uint256 amount)"));
    picture("wizard_function_list", |w, h| {
        let mut bench = live(w, h, "");
        bench.keys("⎋⇟⇥→→⇥↓↓");
        bench
    });
    picture("wizard_range_refused", |w, h| {
        let mut bench = live(w, h, "transfer(address to, uint256 amount)");
        bench.keys("⇟⇥→→→⇥500⇥→→→→⇥20⇥");
        bench
    });
}

#[test]
fn wizard_review_and_result() {
    let reviewing = |w, h| {
        let mut bench = watcher(w, h, 8);
        let job = bench.job(|e| matches!(e, Effect::PlanGrant { .. }));
        bench.report(job, Report::GrantPlanned(Box::new(fixtures::grant_preview(fixtures::findings()))));
        bench
    };
    picture("wizard_review", reviewing);
    let delivering = |w, h| {
        let mut bench = reviewing(w, h);
        bench.keys("⇟⇟⇟⇟⇥");
        bench.paste("any contract");
        bench.keys("↵y");
        let job = bench.job(|e| matches!(e, Effect::SignGrant { .. }));
        let mut granted = fixtures::granted();
        granted.key.has_secret = true;
        bench.report(job, Report::Granted(Box::new(granted)));
        bench
    };
    picture("wizard_deliver", delivering);
    picture("wizard_delivered", |w, h| {
        let mut bench = delivering(w, h);
        bench.keys("↵");
        let job = bench.job(|e| matches!(e, Effect::Export { .. }));
        bench.report(job, Report::Exported { file: "/home/ana/watcher.approval".into(), with_secret: true });
        bench
    });
}

#[test]
fn the_wizard_without_colour_has_none_and_marks_what_is_chosen() {
    let mut bench = Bench::at_home(80, 24, false);
    bench.model.data.sandbox = true;
    bench.keys("n↓↵⇟⇟");
    assert!(bench.buffer().content.iter().all(|c| c.fg == Color::Reset && c.bg == Color::Reset));
    insta::assert_snapshot!("wizard_arguments_mono", format!("{:?}", bench.buffer()));
    bench.keys("⇟⇟⇟⇟⇟⇟");
    let job = bench.job(|e| matches!(e, Effect::PlanGrant { .. }));
    bench.report(job, Report::GrantPlanned(Box::new(fixtures::grant_preview(fixtures::findings()))));
    assert!(bench.buffer().content.iter().all(|c| c.fg == Color::Reset && c.bg == Color::Reset));
    insta::assert_snapshot!("wizard_review_mono", format!("{:?}", bench.buffer()));
}

#[test]
fn the_wizard_asks_for_what_was_filled_in() {
    let mut bench = watcher(80, 24, 8);
    let request = planned(&bench);
    assert_eq!((request.account.as_str(), request.label.as_deref()), ("treasury", Some("loan-watcher")));
    assert_eq!(request.holder, Holder::NewKey);
    let PolicySource::Made(policy) = request.policy else { panic!("a policy was made") };
    assert_eq!((policy.permissions.len(), policy.paymaster), (2, DEMO.sponsor));
    assert_eq!(policy.valid_until, End::After(30 * 86_400));
    // A failure leads back to the form, with what was typed.
    let job = bench.job(|e| matches!(e, Effect::PlanGrant { .. }));
    bench.report(job, Report::Failed(Error::failed("chain.timeout", "the node did not answer")));
    assert!(bench.text().contains("the node did not answer") && bench.text().contains("30d"), "{}", bench.text());
}

#[test]
fn going_back_keeps_everything_that_was_typed() {
    let mut bench = live(80, 24, "transfer(address to, uint256 amount)");
    bench.keys("⇟⇥→→→⇥500⇟");
    for _ in 0..4 {
        bench.keys("⎋");
    }
    assert!(bench.text().contains("What is it for?"), "{}", bench.text());
    bench.keys("↵⇟⇟");
    assert!(bench.text().contains("500"), "{}", bench.text());
}

#[test]
fn a_second_permission_is_added_and_taken_away() {
    let mut bench = live(80, 24, "play()");
    bench.keys("⇟⇟");
    bench.keys("⇥⇥⇥⇥↵");
    assert!(bench.text().contains("permission 2 of 2"), "{}", bench.text());
    bench.paste("0x5FbDB2315678afecb367f032d93F642f64180aa3");
    bench.keys("⇥⇥");
    bench.paste("stop()");
    bench.keys("⇟⇟");
    assert!(bench.text().contains("may call play()") && bench.text().contains("may call stop()"), "{}", bench.text());
    bench.keys("⇥⇥⇥⇥⇥↵");
    assert!(!bench.text().contains("stop()") && bench.text().contains("play()"), "{}", bench.text());
}

#[test]
fn what_is_missing_is_said_at_its_line_and_nothing_is_asked_for() {
    let mut bench = Bench::at_home(80, 24, true);
    bench.keys("n↓↓↵⇟");
    assert!(bench.text().contains("! enter the address of the app's or bot's key"), "{}", bench.text());
    bench.paste("0x70997970C51812dc3A010C7d01b50e0d17dc79C8");
    bench.keys("⇟⇟");
    assert!(bench.text().contains("! which contract may it call?"), "{}", bench.text());
    assert!(!bench.asked_for.iter().any(|e| matches!(e, Effect::PlanGrant { .. })));
}

#[test]
fn an_abi_file_is_read_once_and_its_functions_are_offered() {
    let mut bench = live(80, 24, "");
    bench.keys("⎋⇟⇥→→→→→⇥");
    bench.paste("~/Token.json");
    bench.keys("⇥");
    let job = bench.job(|e| matches!(e, Effect::ReadAbi { file, .. } if file == "~/Token.json"));
    bench.report(job, Report::Abi(Box::new(Interface::known("erc20").unwrap())));
    assert!(bench.text().contains("approve(address spender, uint256 amount)"), "{}", bench.text());
    bench.asked_for.clear();
    bench.keys("⇥⇟");
    assert!(bench.text().contains("Step 3 of 6"), "{}", bench.text());
    assert!(bench.asked_for.is_empty());
}

#[test]
fn an_abi_file_that_cannot_be_read_is_said_at_its_line() {
    let mut bench = live(80, 24, "");
    bench.keys("⎋⇟⇥→→→→→⇥");
    bench.paste("gone.json");
    bench.keys("⇥");
    let job = bench.job(|e| matches!(e, Effect::ReadAbi { .. }));
    bench.report(job, Report::Failed(Error::failed("file.io", "could not read gone.json")));
    assert!(bench.text().contains("! could not read gone.json"), "{}", bench.text());
}

#[test]
fn a_plan_that_went_stale_is_shown_again_with_what_changed() {
    let mut bench = watcher(80, 60, 8);
    let job = bench.job(|e| matches!(e, Effect::PlanGrant { .. }));
    bench.report(job, Report::GrantPlanned(Box::new(fixtures::grant_preview(Vec::new()))));
    bench.keys("y");
    let job = bench.job(|e| matches!(e, Effect::SignGrant { .. }));
    bench.report(
        job,
        Report::Failed(Error::failed("any.code", "the account's turn has changed on chain").of(Kind::Stale)),
    );
    let again = bench.job(|e| matches!(e, Effect::PlanGrant { .. }));
    assert_ne!(again, job);
    bench.report(again, Report::GrantPlanned(Box::new(fixtures::grant_preview(Vec::new()))));
    assert!(bench.text().contains("this is a new plan: the account's turn has changed"), "{}", bench.text());
    // And wants a fresh look.
    bench.send(Msg::Input(Input::Key(Key::char('y')), bench.at));
    assert_eq!(bench.asked_for.iter().filter(|e| matches!(e, Effect::SignGrant { .. })).count(), 1);
}

/// The send form of a key that is held here.
fn sending(width: u16, height: u16) -> Bench {
    let mut bench = Bench::at_home(width, height, true);
    let job = bench.model.jobs.start("reading", false);
    bench.report(job, Report::Keys(vec![fixtures::key_of_mine()]));
    bench.keys("/mint-bot↵s");
    let job = bench.job(|e| matches!(e, Effect::ReadJudging { .. }));
    bench.report(job, Report::Judging(None));
    bench
}

fn outcome(success: Option<bool>, reason: Option<&str>) -> OperationOutcome {
    OperationOutcome {
        user_op_hash: B256::repeat_byte(0x77),
        phase: "included",
        transaction_hash: Some(B256::repeat_byte(0x99)),
        block: Some(6_123_456),
        success,
        gas_used: Some(U256::from(123_456)),
        gas_cost: Some(U256::from(900_000_000_000_000_u64)),
        coin: Coin::of(11_155_111),
        revert_reason: reason.map(str::to_owned),
        note: None,
    }
}

fn reviewing_send(width: u16, height: u16) -> Bench {
    let mut bench = sending(width, height);
    bench.keys("⇥");
    bench.paste("me");
    bench.keys("⇟");
    let job = bench.job(|e| matches!(e, Effect::PlanSend { .. }));
    bench.report(job, Report::SendPlanned(Box::new(fixtures::send_view())));
    bench
}

#[test]
fn send_as_a_key() {
    picture("send_form", sending);
    picture("send_review", reviewing_send);
    picture("send_sending", |w, h| {
        let mut bench = reviewing_send(w, h);
        bench.keys("⇟⇟⇟y");
        let job = bench.job(|e| matches!(e, Effect::SendCall { .. }));
        bench.report(job, Report::Phase("sending"));
        bench
    });
    for (name, outcome) in [
        ("send_done", outcome(Some(true), None)),
        ("send_reverted", outcome(Some(false), Some("DemoNft: no recipient"))),
    ] {
        picture(name, |w, h| {
            let mut bench = reviewing_send(w, h);
            bench.keys("⇟⇟⇟y");
            let job = bench.job(|e| matches!(e, Effect::SendCall { .. }));
            bench.report(job, Report::Sent(Box::new(outcome.clone())));
            bench
        });
    }
}

#[test]
fn what_is_sent_is_what_the_form_says() {
    let mut bench = sending(80, 24);
    bench.keys("⇥");
    bench.paste("me");
    bench.keys("⇟");
    let Some(Effect::PlanSend { intent, .. }) = bench.asked_for.last().cloned() else { panic!("{}", bench.text()) };
    assert_eq!(intent.actor, Actor::Key("k1".into()));
    assert_eq!(intent.calls, fixtures::send_view().calls);
}

#[test]
fn the_owner_names_the_function_and_gets_a_line_for_each_argument() {
    let mut bench = Bench::at_home(80, 24, true);
    bench.keys("s");
    bench.paste("0x5FbDB2315678afecb367f032d93F642f64180aa3");
    bench.keys("⇥");
    bench.paste("pay(address to, uint256[2] parts)");
    insta::assert_snapshot!("send_as_owner@80x24", bench.text());
    bench.keys("⇥");
    bench.paste("me");
    bench.keys("⇥");
    bench.paste("[1, 2");
    bench.keys("⇟");
    assert!(bench.text().contains("! argument `parts`"), "{}", bench.text());
    bench.keys("]⇟");
    let Some(Effect::PlanSend { intent, .. }) = bench.asked_for.last() else { panic!("{}", bench.text()) };
    assert_eq!(intent.actor, Actor::Owner("treasury".into()));
    assert_eq!(intent.calls[0].data.len(), 4 + 3 * 32);
}

#[test]
fn a_key_that_is_held_elsewhere_is_not_used_here() {
    let mut bench = Bench::at_home(80, 24, true);
    bench.keys("/mint-bot↵s");
    assert!(bench.text().contains("held by someone else"), "{}", bench.text());
}

fn agents(width: u16, height: u16) -> Bench {
    let mut bench = Bench::at_home(width, height, true);
    bench.keys("a");
    let job = bench.job(|e| matches!(e, Effect::ReadAgents { .. }));
    let made = |label: &str, byte| AgentView { label: label.into(), address: Address::repeat_byte(byte) };
    let agents = vec![made("watcher", 0x41), made("mint-bot", 0x42)];
    bench.report(job, Report::Agents { agents, networks: vec!["sepolia".into(), "base".into()] });
    bench
}

#[test]
fn the_agents_side() {
    picture("agents", agents);
    picture("agents_new", |w, h| {
        let mut bench = agents(w, h);
        bench.keys("n");
        bench
    });
    let mut bench = agents(80, 24);
    bench.keys("↓y");
    let copied = Effect::Copy { text: Address::repeat_byte(0x42).to_string() };
    assert_eq!(bench.asked_for.last(), Some(&copied));
    bench.keys("nnew bot↵↵");
    let job = bench.job(|e| matches!(e, Effect::NewAgent { label, .. } if label == "new bot"));
    let made = AgentView { label: "new bot".into(), address: Address::repeat_byte(0x43) };
    bench.report(job, Report::AgentMade(Box::new(made)));
    assert!(bench.text().contains(&Address::repeat_byte(0x43).to_string()), "{}", bench.text());
}

fn looking(width: u16, height: u16, owner: Option<Address>) -> Bench {
    let mut bench = Bench::at_home(width, height, true);
    bench.keys("i");
    bench.send(Msg::Held(1_965));
    bench.draw();
    bench.keys("⇟");
    let job = bench.job(|e| matches!(e, Effect::InspectApproval { .. }));
    bench.report(job, Report::Inspected(vec![fixtures::inspection(owner)]));
    bench
}

#[test]
fn an_approval_from_elsewhere() {
    let owner = Some(Address::repeat_byte(0x70));
    picture("approval_form", |w, h| {
        let mut bench = Bench::at_home(w, h, true);
        bench.keys("i");
        bench.send(Msg::Held(1_965));
        bench.draw();
        bench
    });
    picture("approval", |w, h| looking(w, h, owner));
    picture("approval_refuted", |w, h| looking(w, h, None));
    picture("approval_taken", |w, h| {
        let mut bench = looking(w, h, owner);
        bench.keys("t");
        let job = bench.job(|e| matches!(e, Effect::ImportApproval { .. }));
        bench.report(
            job,
            Report::ApprovalImported { keys: vec![fixtures::key_of_mine()], warnings: vec!["assumed: turn 5".into()] },
        );
        bench
    });
}

#[test]
fn what_is_not_verified_is_not_taken_in() {
    let mut bench = looking(80, 24, None);
    bench.keys("t");
    assert!(!bench.asked_for.iter().any(|e| matches!(e, Effect::ImportApproval { .. })));
    assert!(bench.text().contains("not verified"), "{}", bench.text());
}

#[test]
fn a_pasted_approval_never_comes_into_the_model() {
    let mut bench = Bench::at_home(80, 24, true);
    bench.keys("i");
    assert!(crate::tui::app::holds_paste(&bench.model));
    bench.paste("c2VjcmV0");
    assert!(!bench.text().contains("c2VjcmV0"), "{}", bench.text());
    bench.keys("x");
    assert!(!bench.text().contains("  x"), "typing there is nothing either");
    bench.keys("⇥");
    assert!(!crate::tui::app::holds_paste(&bench.model));
    bench.keys("⎋");
    assert!(bench.asked_for.contains(&Effect::DropHeld), "what was pasted is given up with the screen");
}

#[test]
fn an_approval_is_handed_over_again_from_the_key() {
    let mut bench = Bench::at_home(80, 24, true);
    bench.keys("/mint-bot↵↵d");
    insta::assert_snapshot!("deliver@80x24", bench.text());
    bench.press(Key::plain(KeyCode::Down));
    bench.keys("↵");
    let job = bench.job(|e| matches!(e, Effect::ReadApproval { format: Format::V4, .. }));
    bench.report(job, Report::ApprovalText(vec!["e30=".into()]));
    assert_eq!(bench.asked_for.last(), Some(&Effect::Copy { text: "e30=".into() }));
}

#[test]
fn a_key_shows_its_approval_as_text_and_how_often_it_was_used() {
    let mut bench = Bench::at_home(80, 60, true);
    bench.keys("/mint-bot↵↵");
    let job = bench.job(|e| matches!(e, Effect::ReadKeys { .. }));
    let mut key = fixtures::keys().remove(0);
    key.permissions[0].execution_rule.runs = 24;
    key.uses = vec![Some(3)];
    bench.report(job, Report::Keys(vec![key]));
    assert!(bench.text().contains("used 3 of 24 times"), "{}", bench.text());
    bench.keys("a");
    let job = bench.job(|e| matches!(e, Effect::ReadApproval { .. }));
    bench.report(job, Report::ApprovalText(vec!["eyJzaWciOiIweCJ9".into()]));
    assert!(bench.text().contains("eyJzaWciOiIweCJ9"), "{}", bench.text());
    bench.keys("a");
    assert!(!bench.text().contains("eyJzaWciOiIweCJ9"));
}

#[test]
fn a10_the_wizards_sentences_are_those_of_the_accounts_own_validator() {
    use crate::protocol::kernel_v2::generation::Generation;
    let at_limits = |generation| {
        let mut bench = Bench::at_home(80, 40, true);
        bench.refreshed("treasury", |account| account.validator = Some(generation));
        bench.keys("n↓↓↵⇥→⇟any⇥⇥");
        bench.paste("ping()");
        for _ in 0..4 {
            if bench.text().contains("So far, the key") || bench.text().contains("zero address") {
                break;
            }
            bench.keys("⇟");
        }
        bench.text()
    };
    let g2 = at_limits(Generation::G2.into());
    assert!(g2.contains("any contract"), "{g2}");
    let g1 = at_limits(Generation::G1.into());
    assert!(!g1.contains("may call ping() on any contract"), "{g1}");
    assert!(
        g1.contains("zero address") || g1.contains("G1"),
        "the refusal comes with the answer, not at the review: {g1}"
    );
}

//! What keys do, told as rules.

use crossterm::event::KeyCode;

use super::{Bench, NOW, made_up};
use crate::{
    tui::{
        app::{self, Msg, Report},
        effects::{Effect, PolicySource},
        input::{Input, Key},
        screen::review::QUIET,
    },
    wallet::{Question, grant::Holder, state::State},
};

fn sends(bench: &Bench) -> bool {
    bench.asked_for.iter().any(|e| matches!(e, Effect::SendRevoke { .. } | Effect::SignGrant { .. }))
}

fn reviewing(height: u16) -> Bench {
    let mut bench = Bench::at_home(80, height, true);
    bench.keys("→x");
    let job = bench.job(|e| matches!(e, Effect::PlanRevoke { .. }));
    bench.report(job, Report::RevokePlanned(Box::new(made_up::revoke_preview())));
    bench
}

#[test]
fn a_fresh_press_after_the_end_was_read_confirms() {
    let mut bench = reviewing(24);
    bench.keys("⇟⇟y");
    assert!(sends(&bench));
}

#[test]
fn what_was_typed_ahead_confirms_nothing() {
    let mut bench = Bench::at_home(80, 40, true);
    bench.keys("→x");
    let job = bench.job(|e| matches!(e, Effect::PlanRevoke { .. }));
    bench.send(Msg::Job(job, Report::RevokePlanned(Box::new(made_up::revoke_preview()))));
    // In the queue before the review was drawn, however long ago.
    bench.wait(60_000);
    bench.send(Msg::Input(Input::Key(Key::char('y')), bench.at));
    assert!(!sends(&bench));
    bench.draw();
    // Read before the drawing, handled after it.
    bench.send(Msg::Input(Input::Key(Key::char('y')), crate::tui::input::Moment(bench.at.0 - 1)));
    assert!(!sends(&bench));
}

#[test]
fn a_held_key_never_confirms() {
    let mut bench = reviewing(40);
    for _ in 0..200 {
        bench.wait(30);
        bench.send(Msg::Input(Input::Key(Key::char('y')), bench.at));
        bench.draw();
    }
    assert!(!sends(&bench));
    bench.wait(QUIET);
    bench.send(Msg::Input(Input::Key(Key::char('y')), bench.at));
    assert!(sends(&bench), "once it was let go, a fresh press does");
}

#[test]
fn what_is_clipped_must_be_read_to_its_end() {
    let mut bench = reviewing(12);
    bench.keys("y");
    assert!(!sends(&bench));
    assert!(bench.text().contains("scroll to the end"), "{}", bench.text());
    bench.keys("G");
    bench.keys("y");
    assert!(sends(&bench));
}

#[test]
fn what_help_covers_has_not_been_read() {
    let mut bench = Bench::at_home(80, 40, true);
    bench.keys("→x?");
    let job = bench.job(|e| matches!(e, Effect::PlanRevoke { .. }));
    bench.report(job, Report::RevokePlanned(Box::new(made_up::revoke_preview())));
    bench.keys("y");
    bench.send(Msg::Input(Input::Key(Key::char('?')), bench.at));
    bench.wait(QUIET);
    bench.send(Msg::Input(Input::Key(Key::char('y')), bench.at));
    assert!(!sends(&bench));
}

#[test]
fn a_finding_that_blocks_wants_its_phrase_word_for_word() {
    let mut bench = Bench::at_home(80, 50, true);
    bench.keys("n↓↓↓↵");
    bench.paste("p.toml");
    bench.keys("⇥→⇥↵↵");
    let job = bench.job(|e| matches!(e, Effect::PlanGrant { .. }));
    bench.report(job, Report::GrantPlanned(Box::new(made_up::grant_preview(made_up::findings()))));
    bench.keys("y⇥any contrac↵y");
    assert!(!sends(&bench));
    bench.keys("⇥t↵y");
    let Some(Effect::SignGrant { accepted, plan, .. }) = bench.asked_for.last() else { panic!("nothing is signed") };
    assert_eq!(accepted.get("R12").map(String::as_str), Some("any contract"));
    assert_eq!(*plan, job, "what is signed is the plan that was shown");
}

#[test]
fn a_finding_that_refuses_is_never_signed() {
    let mut bench = Bench::at_home(80, 50, true);
    bench.keys("n↓↓↓↵");
    bench.paste("p.toml");
    bench.keys("⇥→⇥↵↵");
    let job = bench.job(|e| matches!(e, Effect::PlanGrant { .. }));
    let mut findings = made_up::findings();
    findings[0].effect = crate::kernel::risk::Effect::Refuse;
    bench.report(job, Report::GrantPlanned(Box::new(made_up::grant_preview(findings))));
    bench.keys("⇥any contract↵y");
    assert!(!sends(&bench));
}

#[test]
fn the_form_keeps_what_was_typed_when_the_plan_fails() {
    let mut bench = Bench::at_home(80, 24, true);
    bench.keys("n↓↓↓↵");
    bench.paste("policy.toml");
    bench.keys("⇥⇥");
    bench.paste(" 0x70997970C51812dc3A010C7d01b50e0d17dc79C8\n");
    bench.keys("⇥bot⇥↵");
    let Some(Effect::PlanGrant { job, request }) = bench.asked_for.last().cloned() else { panic!("no plan") };
    assert_eq!((request.account.as_str(), request.policy), ("treasury", PolicySource::File("policy.toml".into())));
    assert!(matches!(request.holder, Holder::Agent(_)));
    assert_eq!(request.label.as_deref(), Some("bot"));
    bench.report(job, Report::Failed(crate::wallet::error::Error::failed("file.io", "could not read policy.toml")));
    assert!(bench.text().contains("could not read policy.toml"), "{}", bench.text());
    assert!(bench.text().contains("0x70997970C51812dc3A010C7d01b50e0d17dc79C8"), "{}", bench.text());
}

#[test]
fn an_address_with_a_wrong_letter_is_refused() {
    let mut bench = Bench::at_home(80, 24, true);
    bench.keys("n↓↓↓↵");
    bench.paste("policy.toml");
    bench.keys("⇥⇥");
    bench.paste("0x70997970c51812dc3A010C7d01b50e0d17dc79C8");
    bench.keys("⇥⇥↵");
    assert!(!bench.asked_for.iter().any(|e| matches!(e, Effect::PlanGrant { .. })));
    assert!(bench.text().contains("checksum"), "{}", bench.text());
}

#[test]
fn printable_keys_are_text_in_a_field() {
    let mut bench = Bench::at_home(80, 24, true);
    bench.keys("n↓↓↓↵q?rx/");
    assert!(bench.text().contains("q?rx/"), "{}", bench.text());
    assert!(!bench.asked_for.contains(&Effect::Quit));
    bench.press(Key::ctrl('c'));
    assert!(bench.asked_for.contains(&Effect::Quit));
}

#[test]
fn the_filter_narrows_and_esc_shows_all() {
    let mut bench = Bench::at_home(80, 24, true);
    bench.keys("/watch");
    assert!(bench.text().contains("watcher") && !bench.text().contains("mint-bot"), "{}", bench.text());
    bench.keys("↵⎋");
    assert!(bench.text().contains("mint-bot"));
}

#[test]
fn the_passphrase_question_takes_no_keys_from_the_model() {
    let mut bench = reviewing(40);
    bench.send(Msg::Asked(Question::Unlock));
    bench.keys("yq⎋");
    assert!(!sends(&bench) && !bench.asked_for.contains(&Effect::Quit));
    bench.send(Msg::Answered);
    bench.draw();
    assert!(!bench.text().contains("Passphrase"));
}

#[test]
fn a_plan_that_nobody_waits_for_is_forgotten() {
    let mut bench = Bench::at_home(80, 24, true);
    bench.keys("→x");
    let job = bench.job(|e| matches!(e, Effect::PlanRevoke { .. }));
    bench.keys("⎋");
    assert!(bench.asked_for.contains(&Effect::Cancel { job }));
    bench.report(job, Report::RevokePlanned(Box::new(made_up::revoke_preview())));
    assert!(bench.asked_for.contains(&Effect::Forget { plan: job }));
}

#[test]
fn quitting_with_an_operation_on_its_way_says_so_first() {
    let mut bench = reviewing(40);
    bench.keys("y⎋q");
    assert!(!bench.asked_for.contains(&Effect::Quit));
    assert!(bench.text().contains("on its way"), "{}", bench.text());
    bench.keys("q");
    assert!(bench.asked_for.contains(&Effect::Quit));
}

#[test]
fn below_the_smallest_size_one_line_still_obeys_q() {
    let mut bench = Bench::at_home(39, 9, true);
    assert_eq!(bench.text().trim(), "keyleash needs 40x10; q quits");
    bench.keys("q");
    assert!(bench.asked_for.contains(&Effect::Quit));
}

#[test]
fn foreign_text_cannot_move_the_cursor_or_turn_its_direction() {
    let mut bench = Bench::at_home(80, 24, true);
    let mut hostile = made_up::keys().remove(0);
    hostile.label = "evil\u{1b}[2J\u{202e}drowssap\r\n".into();
    hostile.sentences = vec!["may\u{202e} call\u{7}".into(); 3];
    bench.model.jobs.start("reading", false);
    let job = bench.model.jobs.list.last().unwrap().id;
    bench.report(job, Report::Keys(vec![hostile]));
    bench.keys("→");
    assert!(!bench.text().chars().any(|c| c != '\n' && crate::kernel::text::is_unsafe(c)));
    bench.keys("↵");
    assert!(!bench.text().chars().any(|c| c != '\n' && crate::kernel::text::is_unsafe(c)));
}

#[test]
fn nothing_is_due_when_nothing_counts_down() {
    let mut bench = Bench::at_home(80, 24, true);
    assert_eq!(app::next_change(&bench.model), Some(31), "mint-bot has 3 h and 30 s left");
    for key in &mut bench.model.data.keys {
        key.state = State::Revoked;
    }
    assert_eq!(app::next_change(&bench.model), None);
}

#[test]
fn a_key_whose_time_has_come_is_read_again_once() {
    let mut bench = Bench::at_home(80, 24, true);
    bench.send(Msg::Clock(NOW + 3 * 3_600 + 31));
    assert!(bench.asked_for.iter().any(|e| matches!(e, Effect::ReadKeys { keys, .. } if keys == &["k1"])));
    bench.asked_for.clear();
    bench.send(Msg::Clock(NOW + 3 * 3_600 + 60));
    assert!(bench.asked_for.is_empty());
}

#[test]
fn keys_move_the_choice_and_pages_keep_it_in_sight() {
    let mut bench = Bench::at_home(80, 10, true);
    bench.keys("→");
    for _ in 0..20 {
        bench.press(Key::plain(KeyCode::Down));
        assert!(bench.text().contains("▸"), "{}", bench.text());
    }
    assert!(bench.text().lines().any(|l| l.contains("▸ late")), "{}", bench.text());
}

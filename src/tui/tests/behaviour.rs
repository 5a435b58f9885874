//! What keys do, told as rules.

use crossterm::event::KeyCode;

use super::{Bench, NOW, fixtures};
use crate::{
    tui::{
        app,
        input::{Input, Key},
        message::{AccountRequest, Effect, EnablePreview, Msg, OwnerFrom, PolicySource, Reached, Report},
        screen::review::QUIET,
    },
    wallet::{
        Question,
        error::{Class, Error, Kind},
        state::State,
        submit::routes::RoutePreference,
        usecase::{grant::Holder, revoke::RevokeAction},
    },
};

fn sends(bench: &Bench) -> bool {
    let sends =
        |e: &Effect| matches!(e, Effect::SendRevoke { .. } | Effect::SignGrant { .. } | Effect::SendEnable { .. });
    bench.asked_for.iter().any(sends)
}

fn reviewing(height: u16) -> Bench {
    let mut bench = Bench::at_home(80, height, true);
    bench.choose("mint-bot");
    bench.keys("x");
    let job = bench.job(|e| matches!(e, Effect::PlanRevoke { .. }));
    bench.report(job, Report::RevokePlanned(Box::new(fixtures::revoke_preview())));
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
    bench.choose("mint-bot");
    bench.keys("x");
    let job = bench.job(|e| matches!(e, Effect::PlanRevoke { .. }));
    bench.send(Msg::Job(job, Report::RevokePlanned(Box::new(fixtures::revoke_preview()))));
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
    bench.choose("mint-bot");
    bench.keys("x?");
    let job = bench.job(|e| matches!(e, Effect::PlanRevoke { .. }));
    bench.report(job, Report::RevokePlanned(Box::new(fixtures::revoke_preview())));
    bench.keys("y");
    bench.send(Msg::Input(Input::Key(Key::char('?')), bench.at));
    bench.wait(QUIET);
    bench.send(Msg::Input(Input::Key(Key::char('y')), bench.at));
    assert!(!sends(&bench));
}

#[test]
fn what_help_has_covered_must_be_seen_again() {
    for cover in ["?", ":"] {
        let mut bench = reviewing(40);
        bench.keys(cover);
        // Closed, and confirmed before anything else was drawn.
        for key in [Key::plain(KeyCode::Esc), Key::char('y')] {
            bench.wait(QUIET);
            bench.send(Msg::Input(Input::Key(key), bench.at));
        }
        assert!(!sends(&bench), "{cover}");
        bench.draw();
        bench.keys("y");
        assert!(sends(&bench), "{cover}");
    }
}

#[test]
fn a_finding_that_blocks_wants_its_phrase_word_for_word() {
    let mut bench = Bench::at_home(80, 50, true);
    bench.keys("n↓↓↓↵");
    bench.paste("p.toml");
    bench.keys("⇥→⇥↵↵");
    let job = bench.job(|e| matches!(e, Effect::PlanGrant { .. }));
    bench.report(job, Report::GrantPlanned(Box::new(fixtures::grant_preview(fixtures::findings()))));
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
    let mut findings = fixtures::findings();
    findings[0].effect = crate::policy::risk::Effect::Refuse;
    bench.report(job, Report::GrantPlanned(Box::new(fixtures::grant_preview(findings))));
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
    bench.report(job, Report::Failed(Error::failed("file.io", "could not read policy.toml")));
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
fn quitting_with_an_operation_on_its_way_says_so_first() {
    let mut bench = reviewing(40);
    bench.keys("y⎋q");
    assert!(!bench.asked_for.contains(&Effect::Quit));
    assert!(bench.text().contains("in flight"), "{}", bench.text());
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
    let mut hostile = fixtures::keys().remove(0);
    hostile.label = "evil\u{1b}[2J\u{202e}drowssap\r\n".into();
    hostile.sentences = vec!["may\u{202e} call\u{7}".into(); 3];
    bench.model.jobs.start("reading", false);
    let job = bench.model.jobs.list.last().unwrap().id;
    bench.report(job, Report::Keys(vec![hostile]));
    bench.keys("→↓↓↓");
    assert!(!bench.text().chars().any(|c| c != '\n' && crate::text::is_unsafe(c)));
    bench.keys("↵");
    assert!(!bench.text().chars().any(|c| c != '\n' && crate::text::is_unsafe(c)));
}

#[test]
fn nothing_is_due_when_nothing_counts_down() {
    let mut bench = Bench::at_home(80, 24, true);
    assert_eq!(app::next_change(&bench.model), Some(10), "home follows the chains");
    // Nothing else does.
    bench.keys("t");
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
    assert!(bench.text().lines().any(|l| l.contains("▸ old-agent")), "{}", bench.text());
}

#[test]
fn what_is_marked_is_revoked_together_and_what_is_over_is_left_out() {
    let mut bench = Bench::at_home(80, 24, true);
    bench.keys("→g");
    bench.keys("      ");
    assert!(bench.text().contains("6 marked"), "{}", bench.text());
    bench.keys("x");
    let Some(Effect::PlanRevoke { intent, .. }) = bench.asked_for.last() else { panic!("no plan") };
    let RevokeAction::Keys(keys) = &intent.action else { panic!("{intent:?}") };
    assert_eq!((intent.account.as_str(), keys.len()), ("treasury", 5), "old-agent is revoked already");
}

#[test]
fn a_key_that_is_marked_twice_is_not_marked_and_esc_unmarks_all() {
    let mut bench = Bench::at_home(80, 24, true);
    bench.keys("→g g ");
    assert!(!bench.text().contains("marked"), "{}", bench.text());
    bench.keys("  ");
    assert!(bench.text().contains("2 marked"), "{}", bench.text());
    bench.keys("⎋");
    assert!(!bench.text().contains("marked"), "{}", bench.text());
    assert!(bench.model.is_at_root());
}

#[test]
fn the_chosen_key_stays_chosen_when_the_list_changes_its_order() {
    let mut bench = Bench::at_home(80, 24, true);
    bench.choose("watcher");
    bench.keys("oo");
    assert!(bench.text().contains("▸ watcher"), "{}", bench.text());
    let mut key = fixtures::keys().remove(2);
    key.state = State::Revoked;
    let job = bench.model.jobs.start("reading", false);
    bench.report(job, Report::Keys(vec![key]));
    assert!(bench.text().contains("▸ watcher"), "{}", bench.text());
}

#[test]
fn panic_is_two_keys_from_home() {
    let mut bench = Bench::at_home(80, 24, true);
    bench.keys("!");
    let Some(Effect::PlanRevoke { job, intent }) = bench.asked_for.last().cloned() else { panic!("no plan") };
    assert_eq!((intent.account.as_str(), &intent.action), ("treasury", &RevokeAction::Panic));
    bench.report(job, Report::RevokePlanned(Box::new(fixtures::panic_preview())));
    assert!(bench.text().contains("y to pause them all"), "all of it is in sight: {}", bench.text());
    bench.keys("y");
    assert!(sends(&bench));
}

#[test]
fn on_the_narrowest_screen_the_question_is_whole_and_so_is_what_has_to_be_done_first() {
    let words = |bench: &Bench| bench.text().split_whitespace().collect::<Vec<_>>().join(" ");
    let mut bench = Bench::at_home(40, 10, true);
    bench.keys("!");
    let job = bench.job(|e| matches!(e, Effect::PlanRevoke { .. }));
    bench.report(job, Report::RevokePlanned(Box::new(fixtures::panic_preview())));
    assert!(words(&bench).contains("more below: scroll to the end to continue"), "{}", bench.text());
    bench.keys("G");
    assert!(words(&bench).contains("y to pause them all, Esc to go back"), "{}", bench.text());
    bench.keys("y");
    assert!(sends(&bench));
}

#[test]
fn where_panic_is_on_the_same_key_lifts_it() {
    let mut bench = Bench::at_home(80, 24, true);
    bench.refreshed("treasury", |account| account.paused = Some(true));
    bench.choose("mint-bot");
    bench.keys(" ");
    assert!(bench.text().contains("! unpauses and keeps them"), "{}", bench.text());
    bench.keys("!");
    let Some(Effect::PlanRevoke { intent, .. }) = bench.asked_for.last() else { panic!("no plan") };
    assert_eq!(intent.action, RevokeAction::LiftPanic { keep: vec!["k1".into()] });
}

#[test]
fn a_plan_that_went_stale_is_shown_again_with_what_changed() {
    let mut bench = reviewing(60);
    bench.keys("y");
    let job = bench.job(|e| matches!(e, Effect::SendRevoke { .. }));
    // The code is for scripts; it decides nothing here.
    let stale = Error::failed("any.code", "the nonce has moved on").of(Kind::Stale);
    bench.report(job, Report::Failed(stale));
    let job = bench.job(|e| matches!(e, Effect::PlanRevoke { .. }));
    bench.report(job, Report::RevokePlanned(Box::new(fixtures::dearer_revoke_preview())));
    let text = bench.text();
    for words in ["could not be executed", "the nonce has moved on", "costs at most", "y to revoke"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    bench.asked_for.clear();
    bench.keys("y");
    let Some(Effect::SendRevoke { plan, .. }) = bench.asked_for.last() else { panic!("not sent") };
    assert_eq!(*plan, job, "what is sent is the new plan");
}

#[test]
fn the_palette_does_what_its_key_does_and_says_why_it_cannot() {
    let mut bench = Bench::at_home(80, 24, true);
    bench.keys(":activity↵");
    assert!(matches!(bench.asked_for.last(), Some(Effect::Operations { .. })), "{}", bench.text());
    bench.keys("⎋");
    bench.choose("old-agent");
    bench.keys(":");
    bench.paste("revoke");
    assert!(bench.text().contains("is revoked already"), "{}", bench.text());
    bench.keys("↵");
    assert!(!bench.asked_for.iter().any(|e| matches!(e, Effect::PlanRevoke { .. })));
}

#[test]
fn a_paste_into_a_form_never_submits() {
    let mut bench = Bench::at_home(80, 24, true);
    bench.keys("mn");
    let job = bench.job(|e| matches!(e, Effect::Networks { .. }));
    bench.report(job, Report::Networks(fixtures::networks()));
    bench.keys("→⇥old⇥⇥");
    bench.paste("0x70997970C51812dc\n3A010C7d01b50e0d\r\n17dc79C8\n");
    assert!(!bench.asked_for.iter().any(|e| matches!(e, Effect::AddAccount { .. })));
    bench.keys("⇥⇥↵");
    let Some(Effect::AddAccount { request, .. }) = bench.asked_for.last() else { panic!("{}", bench.text()) };
    let AccountRequest { name, network, address, owner, .. } = request;
    assert_eq!((name.as_str(), network.as_str()), ("old", "arbitrum"));
    assert_eq!(address.map(|a| a.to_string()).as_deref(), Some("0x70997970C51812dc3A010C7d01b50e0d17dc79C8"));
    assert_eq!(*owner, OwnerFrom::Nobody(None), "an account that exists is watched, unless a key is given");
}

#[test]
fn a_network_is_asked_for_by_its_parts_or_by_a_project() {
    let mut bench = Bench::at_home(80, 24, true);
    bench.keys("wn");
    bench.keys("base⇥8453⇥→⇥my-project⇥↵");
    let Some(Effect::AddNetwork { request, .. }) = bench.asked_for.last().cloned() else { panic!("{}", bench.text()) };
    assert_eq!((request.name.as_str(), request.chain_id), ("base", 8453));
    assert_eq!(request.reached, Reached::Zerodev("my-project".into()));
    let job = bench.job(|e| matches!(e, Effect::AddNetwork { .. }));
    bench.report(job, Report::NetworkAdded("base".into()));
    assert!(bench.asked_for.iter().any(|e| matches!(e, Effect::CheckNetwork { .. })), "it is tried at once");
}

#[test]
fn page_down_goes_on_from_any_line_of_a_form_and_says_what_is_missing() {
    let mut bench = Bench::at_home(80, 24, true);
    bench.keys("wn⇟");
    assert!(bench.text().contains("enter a name"), "{}", bench.text());
    bench.keys("base⇥8453⇥→⇥my-project⇟");
    assert!(bench.asked_for.iter().any(|e| matches!(e, Effect::AddNetwork { .. })), "{}", bench.text());
}

#[test]
fn what_is_copied_is_offered_as_a_file_too() {
    let mut bench = Bench::at_home(80, 24, true);
    bench.choose("mint-bot");
    bench.keys("y");
    let address = fixtures::keys().remove(0).session_key.to_string();
    assert_eq!(bench.asked_for.last(), Some(&Effect::Copy { text: address.clone() }));
    assert!(bench.text().contains("Y writes it to a file"), "{}", bench.text());
    bench.keys("Y");
    let Some(Effect::Save { job, text, .. }) = bench.asked_for.last().cloned() else { panic!("no file") };
    assert_eq!(text, address);
    bench.report(job, Report::Saved("/tmp/address-1.txt".into()));
    assert!(bench.text().contains("/tmp/address-1.txt"));
}

#[test]
fn waiting_for_what_sends_nothing_can_be_stopped_and_for_what_sends_it_cannot() {
    let mut bench = reviewing(40);
    bench.keys("y⎋t");
    let sending = bench.job(|e| matches!(e, Effect::SendRevoke { .. }));
    bench.keys("d");
    assert!(bench.text().contains("cannot be cancelled"), "{}", bench.text());
    assert!(!bench.asked_for.contains(&Effect::Cancel { job: sending }));
    let waiting = bench.model.jobs.start("checking arbitrum", false);
    bench.draw();
    bench.keys("↓d");
    assert!(bench.asked_for.contains(&Effect::Cancel { job: waiting }));
}

#[test]
fn ten_thousand_keys_are_listed_filtered_and_gone_through() {
    let mut bench = Bench::at_home(80, 24, true);
    let mut key = fixtures::keys().remove(0);
    let many: Vec<_> = (0..10_000)
        .map(|i| {
            (key.key_id, key.label) = (format!("many-{i}"), format!("key-{i:05}"));
            key.clone()
        })
        .collect();
    let job = bench.model.jobs.start("reading", false);
    bench.report(job, Report::Keys(many));
    bench.keys("→oo");
    bench.press(Key::plain(KeyCode::End));
    assert!(bench.text().contains("▸ watcher"), "by name, it is the last: {}", bench.text());
    bench.keys("/key-07777");
    assert!(bench.text().contains("▸ key-07777") && bench.text().contains("── 1 "), "{}", bench.text());
}

#[test]
fn a_live_home_is_set_up_by_choosing_where_keys_are_kept() {
    let mut bench = Bench::new(80, 24, true, false);
    bench.keys("↓↵↓↵");
    let Some(Effect::InitHome { job, vault }) = bench.asked_for.last().cloned() else { panic!("nothing is set up") };
    assert_eq!(vault, crate::wallet::Backend::File);
    bench.report(job, Report::HomeReady);
    assert!(bench.asked_for.iter().any(|e| matches!(e, Effect::Load { .. })));
}

#[test]
fn a_revocation_that_was_raced_is_planned_anew_with_the_reason() {
    let mut bench = reviewing(60);
    bench.keys("y");
    let job = bench.job(|e| matches!(e, Effect::SendRevoke { .. }));
    let raced = Error::failed("any.code", "somebody used a turn meanwhile: nothing changed").of(Kind::Raced);
    let mut revoked = fixtures::revoked();
    (revoked.proofs, revoked.not_proven) = (Vec::new(), Some(raced));
    bench.report(job, Report::Revoked(Box::new(revoked)));
    let job = bench.job(|e| matches!(e, Effect::PlanRevoke { .. }));
    bench.report(job, Report::RevokePlanned(Box::new(fixtures::revoke_preview())));
    assert!(bench.text().contains("somebody used a turn"), "{}", bench.text());
    assert!(bench.text().contains("y to revoke"), "{}", bench.text());
}

#[test]
fn where_the_bundler_fails_the_owners_own_transaction_is_planned_and_shown() {
    let mut bench = reviewing(60);
    bench.keys("y");
    let job = bench.job(|e| matches!(e, Effect::SendRevoke { .. }));
    let down = Error::new(Class::Chain, "chain.io", "the bundler is down");
    bench.report(job, Report::Failed(down));
    let Some(Effect::PlanRevoke { job, intent }) = bench.asked_for.last().cloned() else { panic!("no plan") };
    assert_eq!(intent.route, RoutePreference::Owner);
    bench.report(job, Report::RevokePlanned(Box::new(fixtures::revoke_preview())));
    assert!(bench.text().contains("the bundler is down") && bench.text().contains("y to revoke"), "{}", bench.text());
}

#[test]
fn an_owner_elsewhere_gets_the_calls_and_nothing_is_signed() {
    let mut bench = Bench::at_home(80, 40, true);
    bench.refreshed("treasury", |account| account.watch_only = true);
    bench.choose("mint-bot");
    bench.keys("x");
    let Some(Effect::PlanRevoke { job, intent }) = bench.asked_for.last().cloned() else { panic!("no plan") };
    assert_eq!(intent.route, RoutePreference::Print);
    bench.report(job, Report::RevokePlanned(Box::new(fixtures::printed_preview())));
    assert!(bench.text().contains("to be sent by the owner's address"), "{}", bench.text());
    bench.keys("yY");
    assert!(!sends(&bench));
    let Some(Effect::Save { text, .. }) = bench.asked_for.last() else { panic!("no file") };
    assert!(text.contains(&format!("0x{}", "ab".repeat(100))), "the calldata is whole: {text}");
}

#[test]
fn an_owner_elsewhere_gets_the_calls_that_enable_and_nothing_is_signed() {
    let mut bench = Bench::at_home(80, 40, true);
    bench.refreshed("treasury", |account| account.watch_only = true);
    bench.choose("watcher");
    bench.keys("e");
    let Some(Effect::PlanEnable { job, intent }) = bench.asked_for.last().cloned() else { panic!("no plan") };
    assert_eq!(intent.route, RoutePreference::Print);
    let calls = fixtures::printed_preview().calls;
    bench.report(
        job,
        Report::EnablePlanned(Box::new(EnablePreview { price: None, calls, ..fixtures::enable_preview() })),
    );
    assert!(bench.text().contains("to be sent by the owner's address"), "{}", bench.text());
    bench.keys("yY");
    assert!(!sends(&bench));
    let Some(Effect::Save { text, .. }) = bench.asked_for.last() else { panic!("no file") };
    assert!(text.contains(&format!("0x{}", "ab".repeat(100))), "the calldata is whole: {text}");
}

#[test]
fn the_calls_that_enable_can_be_had_in_place_of_sending_them() {
    let mut bench = Bench::at_home(80, 24, true);
    bench.choose("watcher");
    bench.keys("e");
    let job = bench.job(|e| matches!(e, Effect::PlanEnable { .. }));
    bench.report(job, Report::EnablePlanned(Box::new(fixtures::enable_preview())));
    bench.keys("p");
    assert!(bench.asked_for.contains(&Effect::Forget { plan: job }), "{:?}", bench.asked_for);
    let Some(Effect::PlanEnable { intent, .. }) = bench.asked_for.last() else { panic!("no plan") };
    assert_eq!(intent.route, RoutePreference::Print);
}

#[test]
fn a_queued_key_is_enabled_with_what_must_come_first() {
    let mut bench = Bench::at_home(80, 24, true);
    let mut queued = fixtures::keys().remove(0);
    (queued.state, queued.nonce) = (State::Queued, "6".into());
    let job = bench.model.jobs.start("reading", false);
    bench.report(job, Report::Keys(vec![queued]));
    bench.choose("mint-bot");
    bench.keys("e");
    let Some(Effect::PlanEnable { intent, .. }) = bench.asked_for.last() else { panic!("no plan") };
    assert_eq!(intent.keys, ["k3", "k1"], "watcher has turn 5");
    assert_eq!(intent.route, RoutePreference::Auto);
}

/// Leaves the revoke screen while it is under way; what it comes to is told by the notice.
fn left_while_sending(revoked: crate::wallet::usecase::revoke::Revoked) -> Bench {
    let mut bench = reviewing(40);
    bench.keys("y⎋⎋");
    let job = bench.job(|e| matches!(e, Effect::SendRevoke { .. }));
    bench.report(job, Report::Revoked(Box::new(revoked)));
    bench
}

#[test]
fn a3_a_notice_claims_what_the_screen_would_have_claimed_and_no_more() {
    use crate::wallet::usecase::revoke::Remaining;
    let proven = fixtures::revoked();
    let panic = crate::wallet::usecase::revoke::Revoked {
        proofs: Vec::new(),
        proof: None,
        ends_keys: false,
        paused: Some(fixtures::paused()),
        ..fixtures::revoked()
    };
    // Two of three are proven.
    let two_of_three = crate::wallet::usecase::revoke::Revoked {
        proofs: vec![proven.proofs[0].clone(); 2],
        not_proven: Some(Error::failed("revoke.not_proven", "watcher can still act")),
        ..fixtures::revoked()
    };
    let unproven = crate::wallet::usecase::revoke::Revoked { proofs: Vec::new(), proof: None, ..fixtures::revoked() };
    let remaining = crate::wallet::usecase::revoke::Revoked {
        remaining: vec![Remaining {
            what: "default validator".into(),
            address: fixtures::TREASURY,
            why: "it is not the owner's".into(),
        }],
        ..fixtures::revoked()
    };
    let lifted = crate::wallet::usecase::revoke::Revoked {
        proofs: Vec::new(),
        proof: None,
        ends_keys: false,
        ..fixtures::revoked()
    };
    let still = format!("something else can still act: default validator {}", fixtures::TREASURY);
    for (revoked, words, good) in [
        (proven, "revoked, and that is proven", true),
        (panic, "paused, and that is proven", true),
        (lifted, "nothing to prove", true),
        (two_of_three, "not proven: treat it as still active", false),
        (unproven, "not proven: treat it as still active", false),
        (remaining, &still, false),
    ] {
        assert!(revoked.in_words().contains(words), "{}", revoked.in_words());
        let bench = left_while_sending(revoked);
        let notice = bench.model.notice.as_ref().unwrap();
        assert!(notice.text.contains(words) && notice.bad != good, "{notice:?}");
        let shown = bench.text().split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(shown.contains(words), "{words} is shown in full: {}", bench.text());
    }
}

#[test]
fn a3_the_screen_says_remaining_and_not_proven_as_the_notice_does() {
    use crate::wallet::usecase::revoke::{Remaining, Revoked};
    let shown = |revoked: Revoked| {
        let mut bench = reviewing(60);
        bench.keys("y");
        let job = bench.job(|e| matches!(e, Effect::SendRevoke { .. }));
        bench.report(job, Report::Revoked(Box::new(revoked)));
        bench.text()
    };
    let why = Remaining { what: "route of execute".into(), address: fixtures::TREASURY, why: "not understood".into() };
    let text = shown(Revoked { remaining: vec![why], ..fixtures::revoked() });
    assert!(text.contains("something else can still act") && text.contains("route of execute"), "{text}");
    let text = shown(Revoked { proofs: Vec::new(), proof: None, ..fixtures::revoked() });
    assert!(text.contains("NOT PROVEN: treat as still active"), "{text}");
}

#[test]
fn a3_what_is_followed_later_gets_the_same_verdict() {
    use crate::wallet::usecase::{revoke::Verdict, status::Completed};
    let followed = fixtures::followed();
    assert_eq!(followed.verdict(), Some(Verdict::Proven));
    let unproven = Completed { proofs: Vec::new(), ..fixtures::followed() };
    assert_eq!(unproven.verdict(), Some(Verdict::NotProven), "no proof, and keys were to end");
    let swept = Completed { proofs: Vec::new(), ends_keys: false, ..fixtures::followed() };
    assert_eq!(swept.verdict(), Some(Verdict::Done));
    let other = Completed { revokes: false, ..fixtures::followed() };
    assert_eq!(other.verdict(), None, "a call takes nothing back");
}

#[test]
fn a5_what_a_job_came_to_is_told_whoever_has_left() {
    use crate::wallet::usecase::agent::AgentView;
    let mut bench = Bench::at_home(80, 24, true);
    bench.keys("a");
    let job = bench.job(|e| matches!(e, Effect::ReadAgents { .. }));
    bench.report(job, Report::Agents { agents: Vec::new(), networks: Vec::new() });
    bench.keys("nbot↵↵⎋⎋");
    let job = bench.job(|e| matches!(e, Effect::NewAgent { .. }));
    assert!(!bench.asked_for.contains(&Effect::Cancel { job }), "what changes records goes on");
    bench.report(job, Report::AgentMade(Box::new(AgentView { label: "bot".into(), address: fixtures::TREASURY })));
    assert!(bench.text().contains("bot created; its address is"), "{}", bench.text());
    // A scan goes on, and is looked at again instead of being begun anew.
    let mut bench = Bench::at_home(80, 24, true);
    bench.keys("u⎋");
    let job = bench.job(|e| matches!(e, Effect::Scan { .. }));
    bench.keys("u");
    assert_eq!(bench.job(|e| matches!(e, Effect::Scan { .. })), job);
    bench.keys("⎋");
    bench.report(job, Report::Scanned(Box::new(fixtures::scan())));
    assert!(bench.text().contains("keys found"), "{}", bench.text());
    assert!(bench.asked_for.iter().any(|e| matches!(e, Effect::Load { .. })), "what was found is read");
}

#[test]
fn a5_what_is_stopped_on_purpose_is_read_again_when_it_has_ended() {
    let mut bench = Bench::at_home(80, 24, true);
    bench.keys("u⎋");
    let job = bench.job(|e| matches!(e, Effect::Scan { .. }));
    bench.keys("td");
    assert!(bench.asked_for.contains(&Effect::Cancel { job }));
    assert!(bench.model.jobs.get(job).is_some(), "it may still be writing");
    bench.report(job, Report::Stopped);
    assert!(bench.model.jobs.get(job).is_none());
    assert!(bench.asked_for.iter().any(|e| matches!(e, Effect::Load { .. })));
}

fn head(bench: &mut Bench, block: Result<u64, Error>) {
    let job = bench.job(|e| matches!(e, Effect::Head { .. }));
    bench.report(job, Report::Head { network: "sepolia".into(), block });
}

#[test]
fn a6_home_follows_the_chain_without_a_word_and_reads_again_on_a_new_block_only() {
    let mut bench = Bench::at_home(80, 24, true);
    let before = bench.text();
    let asks = |bench: &Bench| bench.asked_for.iter().filter(|e| matches!(e, Effect::Head { .. })).count();
    let reads = |bench: &Bench| bench.asked_for.iter().filter(|e| matches!(e, Effect::Refresh { .. })).count();
    bench.send(Msg::Clock(NOW + 9));
    assert_eq!(asks(&bench), 0);
    bench.send(Msg::Clock(NOW + 10));
    bench.send(Msg::Clock(NOW + 20));
    assert_eq!(asks(&bench), 1, "one that has not answered is not asked twice");
    head(&mut bench, Ok(7));
    assert_eq!(reads(&bench), 1, "the first answer tells from when on what is shown holds");
    let job = bench.job(|e| matches!(e, Effect::Refresh { .. }));
    bench.report(job, Report::Account(Box::new(fixtures::accounts().remove(0)), Vec::new(), Vec::new()));
    bench.send(Msg::Clock(NOW + 30));
    head(&mut bench, Ok(7));
    assert_eq!((asks(&bench), reads(&bench)), (2, 1), "no new block, nothing is read");
    assert_eq!(bench.text(), before, "and nothing looks otherwise");
    bench.send(Msg::Clock(NOW + 40));
    head(&mut bench, Ok(8));
    assert_eq!(reads(&bench), 2);
    // Another screen wants no polling.
    bench.keys("t");
    bench.send(Msg::Clock(NOW + 60));
    assert_eq!(asks(&bench), 3);
}

#[test]
fn a6_what_is_old_is_marked_with_since_when_and_why() {
    let mut bench = Bench::at_home(80, 24, true);
    bench.send(Msg::Clock(NOW + 10));
    let down = Error::new(Class::Chain, "chain.io", "https://sepolia.example: connection refused");
    head(&mut bench, Err(down));
    let text = bench.text();
    assert!(text.contains("sepolia does not answer since 14:02 UTC"), "{text}");
    assert!(text.contains("connection refused"), "{text}");
    assert!(text.contains("active"), "what is known stays: {text}");
    bench.send(Msg::Clock(NOW + 190));
    bench.draw();
    assert!(bench.text().contains("as of 14:02 UTC, 3 min ago"), "{}", bench.text());
    head(&mut bench, Ok(9));
    let job = bench.job(|e| matches!(e, Effect::Refresh { account, .. } if account == "treasury"));
    bench.report(job, Report::Account(Box::new(fixtures::accounts().remove(0)), Vec::new(), Vec::new()));
    assert!(!bench.text().contains("does not answer") && !bench.text().contains("ago"), "{}", bench.text());
}

#[test]
fn a7_a_key_that_cannot_be_read_now_keeps_what_was_known_of_it_and_says_why() {
    let mut bench = Bench::at_home(80, 30, true);
    bench.choose("mint-bot");
    bench.keys("↵");
    let job = bench.job(|e| matches!(e, Effect::ReadKeys { .. }));
    let mut unread = fixtures::keys().remove(0);
    (unread.state, unread.as_of) = (State::Unknown, None);
    unread.unread = Some(Error::failed("chain.io", "the node hung up"));
    bench.report(job, Report::Keys(vec![unread]));
    assert!(bench.text().contains("mint-bot is active"), "{}", bench.text());
    assert!(bench.text().contains("the node hung up"), "{}", bench.text());
}

#[test]
fn a8_a_draft_can_be_revoked_because_it_may_have_been_signed_elsewhere() {
    let mut bench = Bench::at_home(80, 40, true);
    let mut draft = fixtures::keys().remove(0);
    draft.state = State::Draft;
    let job = bench.model.jobs.start("reading", false);
    bench.report(job, Report::Keys(vec![draft]));
    bench.choose("mint-bot");
    bench.keys("↵");
    let shown = bench.text().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(shown.contains(crate::wallet::state::DRAFT), "{}", bench.text());
    bench.keys("x");
    assert!(bench.asked_for.iter().any(|e| matches!(e, Effect::PlanRevoke { .. })), "{}", bench.text());
}

fn taken_over(width: u16, height: u16, colour: bool) -> Bench {
    let mut bench = Bench::at_home(width, height, colour);
    let game = fixtures::accounts().remove(1);
    let job = bench.model.jobs.start("reading", false);
    bench.report(job, Report::Account(Box::new(game), Vec::new(), fixtures::account_findings()));
    bench
}

#[test]
fn r36_somebody_else_who_decides_comes_first_in_red_and_is_readable_in_full() {
    let message = fixtures::account_findings().remove(1).message;
    let words = |bench: &Bench| bench.text().split_whitespace().collect::<Vec<_>>().join(" ");
    for colour in [true, false] {
        let mut bench = taken_over(80, 24, colour);
        bench.keys("g");
        assert!(bench.text().contains("▸ game"), "it is first on the list: {}", bench.text());
        assert!(words(&bench).contains(&message), "home: {}", bench.text());
        let first = words(&bench).find(&message).unwrap();
        assert!(first < words(&bench).find("nonce 3 was used").unwrap(), "before what matters less");
        let red = bench.buffer().content.iter().filter(|c| c.fg == ratatui::style::Color::Red).count();
        assert_eq!(red > message.len() / 2, colour);
        insta::assert_snapshot!(format!("home_taken_over_{colour}"), bench.text());
        bench.keys("m");
        assert!(words(&bench).contains(&message), "accounts: {}", bench.text());
        bench.keys("⎋");
        bench.choose("arena");
        bench.keys("x");
        let job = bench.job(|e| matches!(e, Effect::PlanRevoke { .. }));
        let preview = crate::tui::message::RevokePreview { account: "game".into(), ..fixtures::revoke_preview() };
        bench.report(job, Report::RevokePlanned(Box::new(preview)));
        assert!(words(&bench).contains(&message), "the review: {}", bench.text());
    }
}

#[test]
fn what_is_taken_off_a_list_is_told_on_the_screen_or_by_the_notice_and_a_refusal_with_its_reason() {
    let removing = || {
        let mut bench = Bench::at_home(80, 24, true);
        bench.keys("m↓dy");
        let job = bench.job(|e| matches!(e, Effect::RemoveAccount { name, .. } if name == "game"));
        (bench, job)
    };
    let (mut bench, job) = removing();
    assert!(bench.text().contains("Removing game"), "{}", bench.text());
    bench.report(job, Report::AccountRemoved("game".into()));
    assert!(bench.text().contains("its approvals stay on record") && bench.model.notice.is_none(), "{}", bench.text());
    bench.keys("↵");
    assert!(bench.text().contains("▸ "), "back on the list: {}", bench.text());
    let (mut bench, job) = removing();
    bench.keys("⎋⎋");
    bench.report(job, Report::AccountRemoved("game".into()));
    assert!(bench.model.notice.as_ref().is_some_and(|n| n.text.starts_with("game removed from the list")));
    let (mut bench, job) = removing();
    bench.report(job, Report::Failed(Error::failed("records.busy", "another program writes the records")));
    assert!(bench.text().contains("another program writes the records"), "{}", bench.text());
}

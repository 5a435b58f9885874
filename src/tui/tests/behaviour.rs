//! What keys do, told as rules.

use crossterm::event::KeyCode;

use super::{Bench, NOW, made_up};
use crate::{
    tui::{
        app::{self, Msg, Report},
        effects::{AccountRequest, Effect, OwnerFrom, PolicySource, Reached},
        input::{Input, Key},
        screen::review::QUIET,
    },
    wallet::{Question, carry::Via, grant::Holder, revoke::Wish, state::State},
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
    bench.choose("mint-bot");
    bench.keys("x");
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
    bench.choose("mint-bot");
    bench.keys("x?");
    let job = bench.job(|e| matches!(e, Effect::PlanRevoke { .. }));
    bench.report(job, Report::RevokePlanned(Box::new(made_up::revoke_preview())));
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
    bench.choose("mint-bot");
    bench.keys("x");
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
    bench.keys("→↓↓↓");
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
    let Wish::Keys(keys) = &intent.wish else { panic!("{intent:?}") };
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
    let mut key = made_up::keys().remove(2);
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
    assert_eq!((intent.account.as_str(), &intent.wish), ("treasury", &Wish::Panic));
    bench.report(job, Report::RevokePlanned(Box::new(made_up::panic_preview())));
    assert!(bench.text().contains("y to switch them all off"), "all of it is in sight: {}", bench.text());
    bench.keys("y");
    assert!(sends(&bench));
}

#[test]
fn where_panic_is_on_the_same_key_lifts_it() {
    let mut bench = Bench::at_home(80, 24, true);
    bench.refreshed("treasury", |account| account.paused = Some(true));
    bench.choose("mint-bot");
    bench.keys(" ");
    assert!(bench.text().contains("! lifts the panic and keeps them"), "{}", bench.text());
    bench.keys("!");
    let Some(Effect::PlanRevoke { intent, .. }) = bench.asked_for.last() else { panic!("no plan") };
    assert_eq!(intent.wish, Wish::LiftPanic { keep: vec!["k1".into()] });
}

#[test]
fn a_plan_that_went_stale_is_shown_again_with_what_changed() {
    let mut bench = reviewing(60);
    bench.keys("y");
    let job = bench.job(|e| matches!(e, Effect::SendRevoke { .. }));
    bench.report(job, Report::Failed(crate::wallet::error::Error::failed("plan.stale", "the nonce has moved on")));
    let job = bench.job(|e| matches!(e, Effect::PlanRevoke { .. }));
    bench.report(job, Report::RevokePlanned(Box::new(made_up::dearer_revoke_preview())));
    let text = bench.text();
    for words in ["did not come about", "the nonce has moved on", "costs at most", "y to revoke"] {
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
    bench.report(job, Report::Networks(made_up::networks()));
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
    assert!(bench.text().contains("give it a name"), "{}", bench.text());
    bench.keys("base⇥8453⇥→⇥my-project⇟");
    assert!(bench.asked_for.iter().any(|e| matches!(e, Effect::AddNetwork { .. })), "{}", bench.text());
}

#[test]
fn what_is_copied_is_offered_as_a_file_too() {
    let mut bench = Bench::at_home(80, 24, true);
    bench.choose("mint-bot");
    bench.keys("y");
    let address = made_up::keys().remove(0).session_key.to_string();
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
    assert!(bench.text().contains("cannot be called back"), "{}", bench.text());
    assert!(!bench.asked_for.contains(&Effect::Cancel { job: sending }));
    let waiting = bench.model.jobs.start("checking arbitrum", false);
    bench.draw();
    bench.keys("↓d");
    assert!(bench.asked_for.contains(&Effect::Cancel { job: waiting }));
}

#[test]
fn ten_thousand_keys_are_listed_filtered_and_gone_through() {
    let mut bench = Bench::at_home(80, 24, true);
    let mut key = made_up::keys().remove(0);
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
    let raced = crate::wallet::error::Error::failed("revoke.raced", "somebody used a turn meanwhile: nothing changed");
    let mut revoked = made_up::revoked();
    (revoked.proofs, revoked.not_proven) = (Vec::new(), Some(raced));
    bench.report(job, Report::Revoked(Box::new(revoked)));
    let job = bench.job(|e| matches!(e, Effect::PlanRevoke { .. }));
    bench.report(job, Report::RevokePlanned(Box::new(made_up::revoke_preview())));
    assert!(bench.text().contains("somebody used a turn"), "{}", bench.text());
    assert!(bench.text().contains("y to revoke"), "{}", bench.text());
}

#[test]
fn where_the_bundler_fails_the_owners_own_transaction_is_planned_and_shown() {
    let mut bench = reviewing(60);
    bench.keys("y");
    let job = bench.job(|e| matches!(e, Effect::SendRevoke { .. }));
    let down = crate::wallet::error::Error::new(crate::wallet::error::Class::Chain, "chain.io", "the bundler is down");
    bench.report(job, Report::Failed(down));
    let Some(Effect::PlanRevoke { job, intent }) = bench.asked_for.last().cloned() else { panic!("no plan") };
    assert_eq!(intent.via, Via::Owner);
    bench.report(job, Report::RevokePlanned(Box::new(made_up::revoke_preview())));
    assert!(bench.text().contains("the bundler is down") && bench.text().contains("y to revoke"), "{}", bench.text());
}

#[test]
fn an_owner_elsewhere_gets_the_calls_and_nothing_is_signed() {
    let mut bench = Bench::at_home(80, 40, true);
    bench.refreshed("treasury", |account| account.watch_only = true);
    bench.choose("mint-bot");
    bench.keys("x");
    let Some(Effect::PlanRevoke { job, intent }) = bench.asked_for.last().cloned() else { panic!("no plan") };
    assert_eq!(intent.via, Via::Print);
    bench.report(job, Report::RevokePlanned(Box::new(made_up::printed_preview())));
    assert!(bench.text().contains("to be sent by the owner's address"), "{}", bench.text());
    bench.keys("yY");
    assert!(!sends(&bench));
    let Some(Effect::Save { text, .. }) = bench.asked_for.last() else { panic!("no file") };
    assert!(text.contains(&format!("0x{}", "ab".repeat(100))), "the calldata is whole: {text}");
}

#[test]
fn a_queued_key_is_enabled_with_what_must_come_first() {
    let mut bench = Bench::at_home(80, 24, true);
    let mut queued = made_up::keys().remove(0);
    (queued.state, queued.nonce) = (State::Queued, "6".into());
    let job = bench.model.jobs.start("reading", false);
    bench.report(job, Report::Keys(vec![queued]));
    bench.choose("mint-bot");
    bench.keys("e");
    let Some(Effect::PlanEnable { keys, .. }) = bench.asked_for.last() else { panic!("no plan") };
    assert_eq!(keys, &["k3", "k1"], "watcher has turn 5");
}

//! What no sequence of keys can do, at any size.

use crossterm::event::KeyCode;
use proptest::prelude::*;

use super::{Bench, fixtures};
use crate::{
    abi::Interface,
    tui::{
        input::{Input, Key},
        keymap,
        message::{Effect, Msg, Report},
        screen::review::QUIET,
    },
    wallet::usecase::{agent::AgentView, key::KeyView},
};

#[derive(Debug, Clone)]
enum Act {
    Key(Key, u64),
    Paste(String),
    Resize(u16, u16),
    /// The latest job ends well.
    Answer,
    /// The latest job fails.
    Fail,
    Clock(u64),
    Draw,
}

fn act() -> impl Strategy<Value = Act> {
    let bound: Vec<Key> = keymap::TABLE.iter().flat_map(|b| b.keys.to_vec()).collect();
    // Leaving is not interesting here: the sequence would be over.
    let bound: Vec<Key> =
        bound.into_iter().filter(|k| !matches!(k.code, KeyCode::Char('q' | 'z' | 'c')) || !k.ctrl).collect();
    let gap = prop_oneof![Just(0u64), Just(30), Just(QUIET), 0u64..2_000];
    prop_oneof![
        12 => (prop::sample::select(bound), gap.clone()).prop_map(|(k, g)| Act::Key(k, g)),
        2 => (any::<char>(), gap).prop_map(|(c, g)| Act::Key(Key::char(c), g)),
        1 => prop_oneof![Just("any contract".to_owned()), Just("p.toml".to_owned()), ".{0,40}"].prop_map(Act::Paste),
        1 => (1u16..=200, 1u16..=60).prop_map(|(w, h)| Act::Resize(w, h)),
        4 => Just(Act::Answer),
        1 => Just(Act::Fail),
        1 => (0u64..100_000).prop_map(Act::Clock),
        4 => Just(Act::Draw),
    ]
}

/// Ends the latest job that has not ended.
fn answer(bench: &mut Bench, fail: bool) {
    let Some(job) = bench.model.jobs.list.last().map(|j| j.id) else { return };
    let effect = bench.asked_for.iter().rev().find(|e| super::job_of(e) == Some(job)).cloned();
    let report = match effect {
        Some(_) if fail => Report::Failed(crate::wallet::error::Error::failed("x", "it failed").hint("try again")),
        Some(Effect::Load { .. }) => {
            Report::Records { accounts: fixtures::accounts(), keys: fixtures::keys(), in_flight: 1, sandbox: true }
        }
        Some(Effect::Refresh { account, .. }) => {
            let view = fixtures::accounts().into_iter().find(|a| a.name == account).unwrap();
            let keys = fixtures::keys().into_iter().filter(|k| k.account == view.address).collect();
            Report::Account(Box::new(view), keys, Vec::new())
        }
        Some(Effect::Head { network, known, .. }) => Report::Head { network, block: Ok(known + 1) },
        Some(Effect::InitSandbox { .. }) => Report::SandboxReady,
        Some(Effect::PlanGrant { .. }) => Report::GrantPlanned(Box::new(fixtures::grant_preview(fixtures::findings()))),
        Some(Effect::SignGrant { .. }) => Report::Granted(Box::new(fixtures::granted())),
        Some(Effect::PlanRevoke { .. }) => Report::RevokePlanned(Box::new(fixtures::revoke_preview())),
        Some(Effect::SendRevoke { .. }) => Report::Revoked(Box::new(fixtures::revoked())),
        Some(Effect::PlanEnable { .. }) => Report::EnablePlanned(Box::new(fixtures::enable_preview())),
        Some(Effect::SendEnable { .. }) => Report::Enabled(Box::new(fixtures::enabled())),
        Some(Effect::Operations { .. }) => Report::Operations(fixtures::operations()),
        Some(Effect::Scan { .. }) => Report::Scanned(Box::new(fixtures::scan())),
        Some(Effect::Follow { .. }) => Report::Followed(Box::new(fixtures::followed())),
        Some(Effect::Networks { .. }) => Report::Networks(fixtures::networks()),
        Some(Effect::RemoveNetwork { name, .. }) => Report::NetworkRemoved(name),
        Some(Effect::CheckNetwork { .. }) => Report::Checked(fixtures::probes()),
        Some(Effect::AddNetwork { request, .. }) => Report::NetworkAdded(request.name),
        Some(Effect::AddAccount { .. }) => Report::AccountAdded(Box::new(fixtures::accounts().remove(1))),
        Some(Effect::RemoveAccount { name, .. }) => Report::AccountRemoved(name),
        Some(Effect::InitHome { .. }) => Report::HomeReady,
        Some(Effect::VaultStatus { .. }) => Report::Vault(fixtures::vault()),
        Some(Effect::Save { .. }) => Report::Saved("/home/ana/copies/address-1.txt".into()),
        Some(Effect::ReadAbi { .. }) => Report::Abi(Box::new(Interface::known("erc20").unwrap())),
        Some(Effect::ReadApproval { .. }) => Report::ApprovalText(vec!["e30=".into()]),
        Some(Effect::Export { file, with_secret, .. }) => Report::Exported { file, with_secret },
        Some(Effect::ReadJudging { .. }) => Report::Judging(None),
        Some(Effect::PlanSend { .. }) => Report::SendPlanned(Box::new(fixtures::send_view())),
        Some(Effect::SendCall { .. }) => Report::Sent(Box::new(fixtures::revoked().operation)),
        Some(Effect::ReadAgents { .. }) => {
            let agent = AgentView { label: "bot".into(), address: fixtures::TREASURY };
            Report::Agents { agents: vec![agent], networks: vec!["sepolia".into()] }
        }
        Some(Effect::NewAgent { label, .. }) => {
            Report::AgentMade(Box::new(AgentView { label, address: fixtures::TREASURY }))
        }
        Some(Effect::InspectApproval { .. }) => Report::Inspected(vec![fixtures::inspection(Some(fixtures::TREASURY))]),
        Some(Effect::ImportApproval { .. }) => {
            Report::ApprovalImported { keys: fixtures::keys(), warnings: Vec::new() }
        }
        _ => Report::Keys(fixtures::keys()),
    };
    bench.send(Msg::Job(job, report));
}

/// What the screen said when it was last drawn, and since when the confirming key was left alone.
#[derive(Default)]
struct Watch {
    offered: bool,
    last_y: Option<u64>,
}

impl Watch {
    fn act(&mut self, bench: &mut Bench, act: Act) -> Result<(), TestCaseError> {
        let before = bench.asked_for.len();
        let mut fresh = false;
        match act {
            Act::Key(key, gap) => {
                bench.wait(gap);
                if key == Key::char('y') {
                    fresh = self.last_y.is_none_or(|last| bench.at.0 - last >= QUIET);
                    self.last_y = Some(bench.at.0);
                }
                bench.send(Msg::Input(Input::Key(key), bench.at));
            }
            Act::Paste(text) => bench.send(Msg::Input(Input::Paste(text), bench.at)),
            Act::Resize(width, height) => {
                bench.terminal.backend_mut().resize(width, height);
                bench.send(Msg::Input(Input::Resize(width, height), bench.at));
            }
            Act::Answer => answer(bench, false),
            Act::Fail => answer(bench, true),
            Act::Clock(by) => bench.send(Msg::Clock(bench.model.now.saturating_add(by))),
            Act::Draw => {
                bench.draw();
                let text = bench.text().split_whitespace().collect::<Vec<_>>().join(" ");
                self.offered = text.contains(" y to ") && text.contains(", Esc to go back");
            }
        }
        let acts = |e: &Effect| {
            matches!(
                e,
                Effect::SendRevoke { .. }
                    | Effect::SignGrant { .. }
                    | Effect::SendCall { .. }
                    | Effect::SendEnable { .. }
                    | Effect::RemoveAccount { .. }
                    | Effect::RemoveNetwork { .. }
            )
        };
        if bench.asked_for.get(before..).unwrap_or_default().iter().any(acts) {
            prop_assert!(self.offered, "the screen did not offer it");
            prop_assert!(fresh, "the confirming key was not let go before");
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, ..ProptestConfig::default() })]

    #[test]
    fn no_keys_break_it_or_act_without_review_and_esc_leads_home(
        width in 1u16..=200, height in 1u16..=60, has_home: bool,
        acts in prop::collection::vec(act(), 1..120),
    ) {
        let mut bench = Bench::new(width, height, true, has_home);
        let mut watch = Watch::default();
        for act in acts {
            watch.act(&mut bench, act)?;
        }
        bench.draw();
        bench.terminal.backend_mut().resize(80, 24);
        bench.send(Msg::Input(Input::Resize(80, 24), bench.at));
        let quits = |bench: &Bench| bench.asked_for.iter().filter(|e| **e == Effect::Quit).count();
        let before = quits(&bench);
        // A wizard with many permissions has many pages to go back through.
        for _ in 0..400 {
            if bench.model.is_at_root() {
                break;
            }
            bench.press(Key::plain(KeyCode::Esc));
        }
        prop_assert!(bench.model.is_at_root());
        prop_assert_eq!(quits(&bench), before, "Esc never quits");
    }

    #[test]
    fn no_keys_break_the_wizard_or_sign_without_its_review(
        width in 1u16..=200, height in 1u16..=60, start in 0usize..3,
        acts in prop::collection::vec(act(), 1..160),
    ) {
        let mut bench = Bench::at_home(width, height, true);
        bench.model.data.sandbox = height % 2 == 0;
        bench.keys("n");
        for _ in 0..start {
            bench.keys("↓");
        }
        bench.keys("↵");
        let mut watch = Watch::default();
        for act in acts {
            watch.act(&mut bench, act)?;
        }
    }

    #[test]
    fn no_keys_send_a_call_without_its_review(
        width in 40u16..=200, height in 10u16..=60, owner: bool,
        acts in prop::collection::vec(act(), 1..80),
    ) {
        let mut bench = Bench::at_home(width, height, true);
        let job = bench.model.jobs.start("reading", false);
        let held = fixtures::keys().into_iter().map(|k| KeyView { has_secret: true, ..k }).collect();
        bench.report(job, Report::Keys(held));
        bench.keys(if owner { "s" } else { "→s" });
        answer(&mut bench, false);
        bench.paste("0x5FbDB2315678afecb367f032d93F642f64180aa3");
        bench.keys("⇟");
        answer(&mut bench, false);
        let mut watch = Watch::default();
        for act in acts {
            watch.act(&mut bench, act)?;
        }
    }

    #[test]
    fn a_revoke_that_is_under_review_is_sent_by_the_review_only(
        width in 40u16..=200, height in 10u16..=60,
        acts in prop::collection::vec(act(), 1..40),
    ) {
        let mut bench = Bench::at_home(width, height, true);
        bench.choose("mint-bot");
    bench.keys("x");
        answer(&mut bench, false);
        let mut watch = Watch::default();
        for act in acts {
            watch.act(&mut bench, act)?;
        }
    }
}

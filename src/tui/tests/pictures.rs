//! Every screen as it is drawn. The pictures are looked at, not only kept: aligned, nothing cut that matters.

use ratatui::style::Color;

use super::{Bench, fixtures};
use crate::{
    tui::message::{Effect, Msg, Report},
    wallet::{
        Question,
        error::{Error, Kind},
    },
};

const SIZES: [(u16, u16); 2] = [(80, 24), (60, 16)];
/// What matters most is drawn on a large screen too.
const MORE_SIZES: [(u16, u16); 3] = [(80, 24), (60, 16), (120, 40)];

/// The same steps at each size, and each picture under the size's name.
fn picture(name: &str, steps: impl FnMut(u16, u16) -> Bench) {
    pictures(name, &SIZES, steps);
}

fn pictures(name: &str, sizes: &[(u16, u16)], mut steps: impl FnMut(u16, u16) -> Bench) {
    for (width, height) in sizes.iter().copied() {
        let bench = steps(width, height);
        insta::assert_snapshot!(format!("{name}@{width}x{height}"), bench.text());
    }
}

fn revoking(width: u16, height: u16) -> Bench {
    let mut bench = Bench::at_home(width, height, true);
    bench.choose("mint-bot");
    bench.keys("x");
    bench
}

fn reviewing_revoke(width: u16, height: u16) -> Bench {
    let mut bench = revoking(width, height);
    let job = bench.job(|e| matches!(e, Effect::PlanRevoke { .. }));
    bench.report(job, Report::RevokePlanned(Box::new(fixtures::revoke_preview())));
    bench
}

fn granting(width: u16, height: u16) -> Bench {
    let mut bench = Bench::at_home(width, height, true);
    bench.keys("n↓↓↓↵");
    bench.paste("~/policies/mint-bot.toml");
    bench
}

fn reviewing_grant(width: u16, height: u16) -> Bench {
    let mut bench = granting(width, height);
    bench.keys("⇥→⇥↵");
    bench.keys("↵");
    let job = bench.job(|e| matches!(e, Effect::PlanGrant { .. }));
    bench.report(job, Report::GrantPlanned(Box::new(fixtures::grant_preview(fixtures::findings()))));
    bench
}

#[test]
fn first_run() {
    picture("first_run", |w, h| Bench::new(w, h, true, false));
    picture("first_run_failed", |w, h| {
        let mut bench = Bench::new(w, h, true, false);
        bench.keys("↵");
        let job = bench.job(|e| matches!(e, Effect::InitSandbox { .. }));
        let error = Error::failed("sandbox.none", "the sandbox could not be made: the disk is full").hint("make room");
        bench.report(job, Report::Failed(error));
        bench
    });
    picture("first_run_live", |w, h| {
        let mut bench = Bench::new(w, h, true, false);
        bench.keys("↓↵↓");
        bench
    });
}

#[test]
fn home() {
    pictures("home", &MORE_SIZES, |w, h| Bench::at_home(w, h, true));
    picture("home_keys", |w, h| {
        let mut bench = Bench::at_home(w, h, true);
        bench.keys("→↓");
        bench
    });
    picture("home_filtered", |w, h| {
        let mut bench = Bench::at_home(w, h, true);
        bench.keys("/mint");
        bench
    });
    picture("home_marked", |w, h| {
        let mut bench = Bench::at_home(w, h, true);
        bench.keys("→↓  o");
        bench
    });
    picture("home_empty", |w, h| {
        let mut bench = Bench::new(w, h, true, true);
        let load = bench.job(|e| matches!(e, Effect::Load { .. }));
        bench.report(load, Report::Records { accounts: Vec::new(), keys: Vec::new(), in_flight: 0, sandbox: false });
        bench
    });
    picture("home_paused", |w, h| {
        let mut bench = Bench::at_home(w, h, true);
        bench.refreshed("treasury", |account| account.paused = Some(true));
        bench
    });
    picture("home_without_a_chain", |w, h| {
        let mut bench = Bench::at_home(w, h, true);
        bench.refreshed("treasury", |account| {
            account.unknown_because = Some("the node does not answer: connection refused".into());
        });
        bench
    });
    picture("home_reading", |w, h| Bench::new(w, h, true, true));
}

#[test]
fn help() {
    picture("help", |w, h| {
        let mut bench = Bench::at_home(w, h, true);
        bench.keys("?");
        bench
    });
}

#[test]
fn palette() {
    picture("palette", |w, h| {
        let mut bench = Bench::at_home(w, h, true);
        bench.keys(":");
        bench
    });
    picture("palette_narrowed", |w, h| {
        let mut bench = Bench::at_home(w, h, true);
        bench.choose("old-agent");
        bench.keys(":revo");
        bench
    });
}

#[test]
fn accounts() {
    picture("accounts", |w, h| {
        let mut bench = Bench::at_home(w, h, true);
        bench.keys("m");
        bench
    });
    picture("accounts_remove", |w, h| {
        let mut bench = Bench::at_home(w, h, true);
        bench.keys("m↓d");
        bench
    });
    let form = |w, h| {
        let mut bench = Bench::at_home(w, h, true);
        bench.keys("mn");
        let job = bench.job(|e| matches!(e, Effect::Networks { .. }));
        bench.report(job, Report::Networks(fixtures::networks()));
        bench
    };
    picture("accounts_new", form);
    picture("accounts_existing", |w, h| {
        let mut bench = form(w, h);
        bench.keys("→⇥old-one⇥⇥");
        bench.paste("0x1234");
        bench.keys("⇥→⇥~/owner.key");
        bench
    });
    picture("accounts_failed", |w, h| {
        let mut bench = form(w, h);
        bench.keys("⇥game⇥⇥⇥⇥↵");
        let job = bench.job(|e| matches!(e, Effect::AddAccount { .. }));
        let error = Error::failed("account.exists", "there is an account game already").hint("choose another name");
        bench.report(job, Report::Failed(error));
        bench
    });
}

#[test]
fn networks() {
    let list = |w, h| {
        let mut bench = Bench::at_home(w, h, true);
        bench.keys("w");
        let job = bench.job(|e| matches!(e, Effect::Networks { .. }));
        bench.report(job, Report::Networks(fixtures::networks()));
        bench
    };
    picture("networks", list);
    picture("networks_checked", |w, h| {
        let mut bench = list(w, h);
        bench.keys("↓c");
        let job = bench.job(|e| matches!(e, Effect::CheckNetwork { .. }));
        bench.report(job, Report::Checked(fixtures::probes()));
        bench
    });
    picture("networks_forget", |w, h| {
        let mut bench = list(w, h);
        bench.keys("d");
        bench
    });
    picture("networks_form", |w, h| {
        let mut bench = list(w, h);
        bench.keys("nbase⇥84x3⇥");
        bench
    });
}

#[test]
fn activity() {
    let list = |w, h| {
        let mut bench = Bench::at_home(w, h, true);
        bench.keys("t");
        let job = bench.job(|e| matches!(e, Effect::Operations { .. }));
        bench.report(job, Report::Operations(fixtures::operations()));
        bench
    };
    picture("activity", list);
    picture("activity_with_a_job", |w, h| {
        let mut bench = reviewing_revoke(w, h);
        bench.keys("⇟⇟⇟y");
        let job = bench.job(|e| matches!(e, Effect::SendRevoke { .. }));
        bench.report(job, Report::Phase("waiting for a block"));
        bench.keys("⎋t");
        let job = bench.job(|e| matches!(e, Effect::Operations { .. }));
        bench.report(job, Report::Operations(fixtures::operations()));
        bench
    });
    picture("activity_failed_operation", |w, h| {
        let mut bench = list(w, h);
        bench.keys("↓↵");
        bench
    });
    picture("activity_asked_again", |w, h| {
        let mut bench = list(w, h);
        bench.keys("↵");
        let job = bench.job(|e| matches!(e, Effect::Follow { .. }));
        bench.report(job, Report::Followed(Box::new(fixtures::followed())));
        bench
    });
}

#[test]
fn scan() {
    let reading = |w, h| {
        let mut bench = Bench::at_home(w, h, true);
        bench.keys("u");
        let job = bench.job(|e| matches!(e, Effect::Scan { .. }));
        bench.report(job, Report::Scanning(fixtures::SCANNING));
        bench
    };
    picture("scan_reading", reading);
    picture("scan_done", |w, h| {
        let mut bench = reading(w, h);
        let job = bench.job(|e| matches!(e, Effect::Scan { .. }));
        bench.report(job, Report::Scanned(Box::new(fixtures::scan())));
        bench
    });
}

#[test]
fn settings() {
    picture("settings", |w, h| {
        let mut bench = Bench::at_home(w, h, true);
        bench.keys(",");
        let job = bench.job(|e| matches!(e, Effect::VaultStatus { .. }));
        bench.report(job, Report::Vault(fixtures::vault()));
        let job = bench.job(|e| matches!(e, Effect::Networks { .. }));
        bench.report(job, Report::Networks(fixtures::networks()));
        bench
    });
}

#[test]
fn enable() {
    let review = |w, h| {
        let mut bench = Bench::at_home(w, h, true);
        bench.choose("watcher");
        bench.keys("e");
        let job = bench.job(|e| matches!(e, Effect::PlanEnable { .. }));
        bench.report(job, Report::EnablePlanned(Box::new(fixtures::enable_preview())));
        bench
    };
    picture("enable_review", review);
    picture("enable_done", |w, h| {
        let mut bench = review(w, h);
        bench.keys("⇟⇟⇟y");
        let job = bench.job(|e| matches!(e, Effect::SendEnable { .. }));
        bench.report(job, Report::Enabled(Box::new(fixtures::enabled())));
        bench
    });
}

#[test]
fn inspect() {
    picture("inspect", |w, h| {
        let mut bench = Bench::at_home(w, h, true);
        bench.choose("mint-bot");
        bench.keys("↵");
        let job = bench.job(|e| matches!(e, Effect::ReadKeys { .. }));
        bench.report(job, Report::Keys(vec![fixtures::keys().remove(0)]));
        bench
    });
    picture("inspect_raw", |w, h| {
        let mut bench = Bench::at_home(w, h, true);
        bench.choose("rebalancer");
        bench.keys("↵c⇟⇟⇟");
        let job = bench.job(|e| matches!(e, Effect::ReadKeys { .. }));
        bench.report(job, Report::Keys(vec![fixtures::keys().remove(1)]));
        bench
    });
}

#[test]
fn grant() {
    picture("grant_form", granting);
    picture("grant_form_wrong", |w, h| {
        let mut bench = granting(w, h);
        bench.keys("⇥⇥");
        bench.paste("0x1234");
        bench.keys("⇥");
        bench
    });
    picture("grant_review", reviewing_grant);
    picture("grant_review_end", |w, h| {
        let mut bench = reviewing_grant(w, h);
        bench.keys("⇟⇟⇟⇟⇥");
        bench.paste("any contract");
        bench
    });
    picture("grant_done", |w, h| {
        let mut bench = reviewing_grant(w, h);
        bench.keys("⇟⇟⇟⇟⇥");
        bench.paste("any contract");
        bench.keys("↵y");
        let job = bench.job(|e| matches!(e, Effect::SignGrant { .. }));
        bench.report(job, Report::Granted(Box::new(fixtures::granted())));
        bench
    });
}

#[test]
fn revoke() {
    picture("revoke_planning", revoking);
    pictures("revoke_review", &MORE_SIZES, reviewing_revoke);
    picture("revoke_several", |w, h| {
        let mut bench = Bench::at_home(w, h, true);
        bench.choose("watcher");
        bench.keys("  x");
        bench
    });
    let panicking = |w, h| {
        let mut bench = Bench::at_home(w, h, true);
        bench.keys("!");
        let job = bench.job(|e| matches!(e, Effect::PlanRevoke { .. }));
        bench.report(job, Report::RevokePlanned(Box::new(fixtures::panic_preview())));
        bench
    };
    picture("panic_review", panicking);
    picture("panic_done", |w, h| {
        let mut bench = panicking(w, h);
        bench.keys("⇟⇟⇟y");
        let job = bench.job(|e| matches!(e, Effect::SendRevoke { .. }));
        bench.report(job, Report::Revoked(Box::new(fixtures::panicked())));
        bench
    });
    picture("revoke_printed", |w, h| {
        let mut bench = reviewing_revoke(w, h);
        bench.keys("p");
        let job = bench.job(|e| matches!(e, Effect::PlanRevoke { .. }));
        bench.report(job, Report::RevokePlanned(Box::new(fixtures::printed_preview())));
        bench
    });
    picture("revoke_stale", |w, h| {
        let mut bench = reviewing_revoke(w, h);
        bench.keys("⇟⇟⇟y");
        let job = bench.job(|e| matches!(e, Effect::SendRevoke { .. }));
        let stale = Error::failed("plan.stale", "mint-bot was enabled since the plan was made").of(Kind::Stale);
        bench.report(job, Report::Failed(stale));
        let job = bench.job(|e| matches!(e, Effect::PlanRevoke { .. }));
        bench.report(job, Report::RevokePlanned(Box::new(fixtures::dearer_revoke_preview())));
        bench
    });
    picture("revoke_sending", |w, h| {
        let mut bench = reviewing_revoke(w, h);
        bench.keys("⇟⇟⇟y");
        let job = bench.job(|e| matches!(e, Effect::SendRevoke { .. }));
        bench.report(job, Report::Phase("waiting for a block"));
        bench
    });
    picture("revoke_done", |w, h| {
        let mut bench = reviewing_revoke(w, h);
        bench.keys("⇟⇟⇟y");
        let job = bench.job(|e| matches!(e, Effect::SendRevoke { .. }));
        bench.report(job, Report::Revoked(Box::new(fixtures::revoked())));
        bench
    });
    picture("revoke_failed", |w, h| {
        let mut bench = revoking(w, h);
        let job = bench.job(|e| matches!(e, Effect::PlanRevoke { .. }));
        let error = Error::failed("funds.insufficient", "the account must be able to pay 12 wei, and has 0 wei")
            .hint("send ETH to the account, or use a network with a paymaster");
        bench.report(job, Report::Failed(error));
        bench
    });
}

#[test]
fn passphrase() {
    picture("passphrase", |w, h| {
        let mut bench = reviewing_revoke(w, h);
        bench.send(Msg::Asked(Question::Unlock));
        bench.send(Msg::Typed(7));
        bench.draw();
        bench
    });
}

#[test]
fn without_colour_nothing_has_one() {
    for build in [
        || Bench::at_home(80, 24, false),
        || {
            let mut bench = Bench::at_home(80, 24, false);
            bench.keys(":");
            bench
        },
        || {
            let mut bench = Bench::at_home(80, 24, false);
            bench.choose("mint-bot");
            bench.keys("x");
            bench
        },
    ] {
        let bench = build();
        assert!(bench.buffer().content.iter().all(|c| c.fg == Color::Reset && c.bg == Color::Reset));
    }
    let mut mono = Bench::at_home(80, 24, false);
    mono.choose("mint-bot");
    mono.keys("x");
    let job = mono.job(|e| matches!(e, Effect::PlanRevoke { .. }));
    mono.report(job, Report::RevokePlanned(Box::new(fixtures::revoke_preview())));
    insta::assert_snapshot!("revoke_review_mono", format!("{:?}", mono.buffer()));
    let mut mono = Bench::at_home(80, 24, false);
    mono.keys("→");
    insta::assert_snapshot!("home_keys_mono", format!("{:?}", mono.buffer()));
}

//! Every screen as it is drawn. The pictures are looked at, not only kept: aligned, nothing cut that matters.

use ratatui::style::Color;

use super::{Bench, made_up};
use crate::{
    tui::{
        app::{Msg, Report},
        effects::Effect,
    },
    wallet::{Question, error::Error},
};

const SIZES: [(u16, u16); 2] = [(80, 24), (60, 16)];

/// The same steps at each size, and each picture under the size's name.
fn picture(name: &str, mut steps: impl FnMut(u16, u16) -> Bench) {
    for (width, height) in SIZES {
        let bench = steps(width, height);
        insta::assert_snapshot!(format!("{name}@{width}x{height}"), bench.text());
    }
}

fn revoking(width: u16, height: u16) -> Bench {
    let mut bench = Bench::at_home(width, height, true);
    bench.keys("→x");
    bench
}

fn reviewing_revoke(width: u16, height: u16) -> Bench {
    let mut bench = revoking(width, height);
    let job = bench.job(|e| matches!(e, Effect::PlanRevoke { .. }));
    bench.report(job, Report::RevokePlanned(Box::new(made_up::revoke_preview())));
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
    bench.report(job, Report::GrantPlanned(Box::new(made_up::grant_preview(made_up::findings()))));
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
        bench.keys("↓↵");
        bench
    });
}

#[test]
fn home() {
    picture("home", |w, h| Bench::at_home(w, h, true));
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
fn inspect() {
    picture("inspect", |w, h| {
        let mut bench = Bench::at_home(w, h, true);
        bench.keys("→↵");
        let job = bench.job(|e| matches!(e, Effect::ReadKeys { .. }));
        bench.report(job, Report::Keys(vec![made_up::keys().remove(0)]));
        bench
    });
    picture("inspect_raw", |w, h| {
        let mut bench = Bench::at_home(w, h, true);
        bench.keys("→↓↵c⇟⇟⇟");
        let job = bench.job(|e| matches!(e, Effect::ReadKeys { .. }));
        bench.report(job, Report::Keys(vec![made_up::keys().remove(1)]));
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
        bench.report(job, Report::Granted(Box::new(made_up::granted())));
        bench
    });
}

#[test]
fn revoke() {
    picture("revoke_planning", revoking);
    picture("revoke_review", reviewing_revoke);
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
        bench.report(job, Report::Revoked(Box::new(made_up::revoked())));
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
            bench.keys("→x");
            bench
        },
    ] {
        let bench = build();
        assert!(bench.buffer().content.iter().all(|c| c.fg == Color::Reset && c.bg == Color::Reset));
    }
    let mut mono = Bench::at_home(80, 24, false);
    mono.keys("→");
    insta::assert_snapshot!("home_keys_mono", format!("{:?}", mono.buffer()));
}

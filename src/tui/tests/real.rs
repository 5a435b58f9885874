//! The real runner and a real wallet behind a screen made for tests: nothing here is reported by hand. What is cancelled or left
//! is cancelled and left as in the program itself.

use std::{
    io::Read,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crossterm::event::KeyCode;
use ratatui::{Terminal, backend::TestBackend};
use tokio::{
    runtime::Runtime,
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
};

use super::{super::Program, NOW};
use crate::{
    tui::{
        Options,
        input::{Input, Key, Moment},
        runner::Event,
        theme::Theme,
    },
    wallet::{Backend, PassphraseSource, Wallet, home::Home, records::model::Network, usecase::account::OwnerSource},
};

/// How long anything may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program with its jobs; the host's part is played by the test.
struct Real {
    program: Program,
    terminal: Terminal<TestBackend>,
    events: UnboundedReceiver<Event>,
    at: Moment,
    draws: usize,
    runtime: Runtime,
    folder: tempfile::TempDir,
}

impl Real {
    /// The program on the home that `make` sets up in an empty folder.
    fn start(make: impl FnOnce(&Runtime, &Home)) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(&folder.path().join("home"));
        make(&runtime, &home);
        let passphrase = folder.path().join("passphrase");
        std::fs::write(&passphrase, "correct horse").unwrap();
        let options = Options {
            home: home.clone(),
            sandbox_home: home,
            passphrase_file: Some(passphrase.display().to_string()),
            colour: None,
        };
        let (tell, events) = unbounded_channel();
        let program = Program::new(options, Theme { colour: true }, (80, 24), NOW, tell);
        let terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        let mut real = Self { program, terminal, events, at: Moment(0), draws: 0, runtime, folder };
        real.settle();
        real
    }

    fn sandbox() -> Self {
        Self::start(|runtime, home| {
            let wallet = Wallet::init_sandbox(home).unwrap();
            runtime.block_on(wallet.seed_sandbox()).unwrap();
        })
    }

    /// Does what is to be done and draws, as the loop does; nothing that jobs have said meanwhile is taken in.
    fn settle(&mut self) {
        let _entered = self.runtime.enter();
        loop {
            if self.program.act().is_none() && self.program.changed == crate::tui::Changed::No {
                return;
            }
            let before = self.program.shown.clone();
            self.program.draw(&mut self.terminal, self.at).unwrap();
            self.draws += usize::from(before != self.program.shown);
        }
    }

    /// Takes in one thing that jobs have said, if there is any.
    fn hear(&mut self) -> bool {
        let Ok(event) = self.events.try_recv() else { return false };
        let _entered = self.runtime.enter();
        self.program.event(event);
        true
    }

    fn keys(&mut self, keys: &str) {
        for c in keys.chars() {
            self.at.0 += crate::tui::screen::review::QUIET + 1;
            let key = match c {
                '↵' => Key::plain(KeyCode::Enter),
                '⎋' => Key::plain(KeyCode::Esc),
                '⇥' => Key::plain(KeyCode::Tab),
                '→' => Key::plain(KeyCode::Right),
                '⇟' => Key::plain(KeyCode::PageDown),
                c => Key::char(c),
            };
            {
                let _entered = self.runtime.enter();
                self.program.input(Input::Key(key), self.at);
            }
            self.settle();
        }
    }

    fn clock(&mut self, now: u64) {
        {
            let _entered = self.runtime.enter();
            self.program.clock(now);
        }
        self.settle();
    }

    fn text(&self) -> String {
        let buffer = self.terminal.backend().buffer();
        let rows = buffer.content.chunks(usize::from(buffer.area.width));
        rows.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned() + "\n")
            .collect()
    }

    fn until(&mut self, what: &str, is_it: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !is_it(self) {
            assert!(start.elapsed() < PATIENCE, "never {what}:\n{}", self.text());
            if !self.hear() {
                std::thread::sleep(Duration::from_millis(5));
            }
            self.settle();
        }
    }

    fn wait_for(&mut self, text: &str) {
        self.until(text, |real| real.text().contains(text));
    }

    /// Until no job is under way any more.
    fn wait_for_rest(&mut self) {
        self.until("at rest", |real| real.program.model.jobs.list.is_empty());
    }
}

/// A node that takes every question and never answers, until it is told to close the line.
struct Mute {
    url: String,
    closed: Arc<AtomicBool>,
}

impl Mute {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let closed = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&closed);
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                if told.load(Ordering::SeqCst) {
                    continue;
                }
                let told = Arc::clone(&told);
                open.push(std::thread::spawn(move || {
                    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
                    let mut buffer = [0; 1024];
                    while !told.load(Ordering::SeqCst) {
                        let _ = stream.read(&mut buffer);
                    }
                }));
            }
        });
        Self { url, closed }
    }

    fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }
}

/// A live home with one network, which is this node.
fn live(mute: &Mute, home: &Home) {
    Wallet::init(home, Backend::File).unwrap();
    let wallet = Wallet::open(home.clone(), PassphraseSource::StandardInput).unwrap();
    let network = Network {
        second_rpc: None,
        chain_id: 31_337,
        rpc: mute.url.clone(),
        bundler: None,
        paymaster: None,
        paymaster_kind: None,
        paymaster_context: None,
    };
    wallet.add_network("local", &network).unwrap();
}

fn watched(runtime: &Runtime, home: &Home) {
    let wallet = Wallet::open(home.clone(), PassphraseSource::StandardInput).unwrap();
    let owner = OwnerSource::Address(super::fixtures::TREASURY);
    // The record is written before the chain is asked, which takes its time.
    let made = wallet.new_account("vault", "local", owner, None, alloy::primitives::U256::ZERO);
    let _ = runtime.block_on(async { tokio::time::timeout(Duration::from_millis(300), made).await });
}

#[test]
fn a4_a_plan_that_is_left_while_it_is_made_leaves_nothing_on_the_status_line() {
    let mute = Mute::start();
    let mut real = Real::start(|runtime, home| {
        live(&mute, home);
        watched(runtime, home);
    });
    real.wait_for("▸ vault");
    real.keys("!");
    real.wait_for("Planning the calls");
    assert!(real.program.model.jobs.named("planning for all session keys of vault").is_some());
    real.keys("⎋");
    assert!(!real.text().contains("planning for"), "{}", real.text());
    // What the stopped job says as its last word changes nothing.
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(500) {
        real.hear();
        real.settle();
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(!real.text().contains("planning for"), "{}", real.text());
    mute.close();
    real.wait_for_rest();
    assert!(!real.text().contains("stopped"), "{}", real.text());
}

#[test]
fn a4_a_plan_that_was_ready_when_it_was_left_is_forgotten_and_what_needs_a_look_is_said() {
    let mut real = Real::sandbox();
    real.wait_for("▸ treasury    5 !!");
    real.wait_for_rest();
    let before = real.text();
    assert!(before.contains("need attention") || before.contains("needs attention"), "{before}");
    real.keys("!");
    // It may be ready by now or not: nobody has taken it in.
    std::thread::sleep(Duration::from_millis(200));
    real.keys("⎋");
    real.wait_for_rest();
    while real.hear() {
        real.settle();
    }
    assert!(real.text().contains("attention"), "{}", real.text());
    assert!(!real.text().contains("planning"), "{}", real.text());
}

#[test]
fn a5_an_account_whose_form_is_left_while_it_is_added_is_on_the_list() {
    let mute = Mute::start();
    let mut real = Real::start(|_, home| live(&mute, home));
    real.wait_for("No account yet");
    real.keys("m");
    real.keys("n");
    real.wait_for("Add an account");
    real.keys("⇥late⇥⇥→→→→");
    assert!(real.text().contains("none (watch-only)"), "{}", real.text());
    real.keys("⇥0x70997970C51812dc3A010C7d01b50e0d17dc79C8⇥⇥↵");
    real.wait_for("Adding the account");
    real.keys("⎋⎋");
    mute.close();
    real.wait_for("account late added");
    real.wait_for("▸ late");
}

#[test]
fn a3_a_pause_and_a_revocation_whose_screens_were_left_are_told_as_what_they_came_to() {
    let mut real = Real::sandbox();
    real.wait_for("▸ treasury    5 !!");
    real.wait_for_rest();
    real.keys("!");
    real.wait_for("y to pause them all");
    real.keys("y⎋");
    real.wait_for("paused, and that is proven");
}

#[test]
fn a6_what_changes_nothing_draws_nothing_and_what_another_process_does_is_seen() {
    let mut real = Real::sandbox();
    real.wait_for("▸ treasury    5 !!");
    real.wait_for_rest();
    real.keys("→/mint-bot↵");
    real.wait_for("▸ mint-bot    active");
    let (draws, asked) = (real.draws, real.program.model.now);
    for step in 1..=5 {
        real.clock(asked + 10 * step);
        real.wait_for_rest();
    }
    let unchanged = real.draws;
    // Countdowns of several keys may read differently within a minute, each at its own second; nothing else does. What drew
    // without a reason would draw at each of the five steps.
    assert!(unchanged - draws < 5, "{} frames were drawn for nothing", unchanged - draws);
    let home = Home::at(&real.folder.path().join("home"));
    let other = Wallet::open(home, PassphraseSource::StandardInput).unwrap();
    let intent = crate::wallet::usecase::revoke::RevokeIntent::keys("treasury", &["mint-bot".to_owned()]);
    let ended = real.runtime.block_on(async {
        let plan = other.plan_revoke(intent).await?;
        other.execute_revoke(plan, &()).await
    });
    assert!(ended.is_ok_and(|revoked| revoked.verdict() == crate::wallet::usecase::revoke::Verdict::Proven));
    real.clock(asked + 70);
    real.wait_for("▸ mint-bot    revoked");
}

#[test]
fn a7_the_cause_is_on_home_in_full_when_the_node_is_down() {
    let mute = Mute::start();
    mute.close();
    let mut real = Real::start(|runtime, home| {
        live(&mute, home);
        watched(runtime, home);
    });
    real.wait_for("▸ vault");
    real.wait_for("local does not answer since 14:02 UTC");
    real.wait_for_rest();
    let cause = real.program.model.data.accounts[0].view.as_ref().unwrap().unknown_because.clone().unwrap();
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words(&real.text()).contains(&words(&cause)), "{cause}\n{}", real.text());
}

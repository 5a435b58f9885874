//! The terminal UI as a person meets it: what is drawn for data made by hand, what keys do, and what no keys can do.

mod behaviour;
pub mod fixtures;
mod giving;
mod layers;
mod pictures;
mod properties;
mod real;

use crossterm::event::KeyCode;
use ratatui::{Terminal, backend::TestBackend, buffer::Buffer};

use super::{
    app::{self, Model},
    input::{Input, Key, Moment},
    message::{Effect, JobId, Msg, Report},
    screen::review::QUIET,
    theme::Theme,
};

/// Local time in all of these: 2026-11-22T14:02:00Z.
const NOW: u64 = 1_795_356_120;

/// A model, its screen, and everything it has asked for.
struct Bench {
    model: Model,
    terminal: Terminal<TestBackend>,
    at: Moment,
    asked_for: Vec<Effect>,
}

impl Bench {
    fn new(width: u16, height: u16, colour: bool, has_home: bool) -> Self {
        let theme = Theme { colour };
        let (model, asked_for) = Model::new(theme, (width, height), NOW, "/home/ana/.config/keyleash".into(), has_home);
        let terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let mut bench = Self { model, terminal, at: Moment(0), asked_for };
        bench.draw();
        bench
    }

    /// A home with the made-up records, read from the chain.
    fn at_home(width: u16, height: u16, colour: bool) -> Self {
        let mut bench = Self::new(width, height, colour, true);
        let (accounts, keys) = (fixtures::accounts(), fixtures::keys());
        let load = bench.job(|e| matches!(e, Effect::Load { .. }));
        bench.report(
            load,
            Report::Records { accounts: accounts.clone(), keys: keys.clone(), in_flight: 0, sandbox: false },
        );
        for account in accounts {
            let job = bench.job(|e| matches!(e, Effect::Refresh { account: name, .. } if *name == account.name));
            let own = keys.iter().filter(|k| k.account == account.address).cloned().collect();
            bench.report(job, Report::Account(Box::new(account), own, Vec::new()));
        }
        bench.asked_for.clear();
        bench
    }

    /// The chain says something else of an account.
    fn refreshed(&mut self, name: &str, change: impl FnOnce(&mut crate::wallet::usecase::account::AccountView)) {
        let mut account = fixtures::accounts().into_iter().find(|a| a.name == name).unwrap();
        change(&mut account);
        let job = self.model.jobs.start("reading", false);
        self.report(job, Report::Account(Box::new(account), Vec::new(), Vec::new()));
    }

    fn send(&mut self, msg: Msg) {
        self.asked_for.extend(app::update(&mut self.model, msg));
    }

    /// Draws, and lets the model know.
    fn draw(&mut self) {
        self.terminal.draw(|frame| app::view(&self.model, frame)).unwrap();
        self.send(Msg::Drawn(self.at));
    }

    fn wait(&mut self, milliseconds: u64) {
        self.at.0 += milliseconds;
    }

    /// A press that nobody can take for a held key.
    fn press(&mut self, key: Key) {
        self.wait(QUIET + 1);
        self.send(Msg::Input(Input::Key(key), self.at));
        self.draw();
    }

    fn keys(&mut self, keys: &str) {
        for c in keys.chars() {
            self.press(match c {
                '↵' => Key::plain(KeyCode::Enter),
                '⎋' => Key::plain(KeyCode::Esc),
                '⇥' => Key::plain(KeyCode::Tab),
                '→' => Key::plain(KeyCode::Right),
                '↓' => Key::plain(KeyCode::Down),
                '⇟' => Key::plain(KeyCode::PageDown),
                c => Key::char(c),
            });
        }
    }

    /// Goes to the key of this name.
    fn choose(&mut self, label: &str) {
        self.keys("→g");
        while !self.text().contains(&format!("▸ {label}")) {
            let before = self.text();
            self.keys("↓");
            assert_ne!(before, self.text(), "there is no {label}");
        }
    }

    fn paste(&mut self, text: &str) {
        self.send(Msg::Input(Input::Paste(text.to_owned()), self.at));
        self.draw();
    }

    fn report(&mut self, job: JobId, report: Report) {
        self.send(Msg::Job(job, report));
        self.draw();
    }

    /// The job of the latest effect of a kind.
    fn job(&self, is_it: impl Fn(&Effect) -> bool) -> JobId {
        let effect = self.asked_for.iter().rev().find(|e| is_it(e)).expect("the effect was asked for");
        job_of(effect).expect("it is a job")
    }

    fn buffer(&self) -> &Buffer {
        self.terminal.backend().buffer()
    }

    fn text(&self) -> String {
        let buffer = self.buffer();
        let rows = buffer.content.chunks(usize::from(buffer.area.width.max(1)));
        rows.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned() + "\n")
            .collect()
    }
}

fn job_of(effect: &Effect) -> Option<JobId> {
    Some(match effect {
        Effect::Load { job }
        | Effect::Refresh { job, .. }
        | Effect::ReadKeys { job, .. }
        | Effect::Head { job, .. }
        | Effect::InitSandbox { job }
        | Effect::PlanGrant { job, .. }
        | Effect::SignGrant { job, .. }
        | Effect::ReadAbi { job, .. }
        | Effect::ReadApproval { job, .. }
        | Effect::Export { job, .. }
        | Effect::ReadJudging { job, .. }
        | Effect::PlanSend { job, .. }
        | Effect::SendCall { job, .. }
        | Effect::ReadAgents { job }
        | Effect::NewAgent { job, .. }
        | Effect::InspectApproval { job, .. }
        | Effect::ImportApproval { job, .. }
        | Effect::PlanRevoke { job, .. }
        | Effect::SendRevoke { job, .. }
        | Effect::PlanEnable { job, .. }
        | Effect::SendEnable { job, .. }
        | Effect::Operations { job }
        | Effect::Follow { job, .. }
        | Effect::Networks { job }
        | Effect::Scan { job, .. }
        | Effect::CheckNetwork { job, .. }
        | Effect::AddNetwork { job, .. }
        | Effect::RemoveNetwork { job, .. }
        | Effect::AddAccount { job, .. }
        | Effect::RemoveAccount { job, .. }
        | Effect::InitHome { job, .. }
        | Effect::VaultStatus { job }
        | Effect::Save { job, .. } => *job,
        Effect::Forget { .. }
        | Effect::Cancel { .. }
        | Effect::Copy { .. }
        | Effect::DropHeld
        | Effect::Suspend
        | Effect::Quit => {
            return None;
        }
    })
}

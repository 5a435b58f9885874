//! The terminal front end: view, grant and revoke session keys.
//!
//! ```text
//!  input ─┐                          ┌─ view → terminal
//!  jobs ──┼→ Msg → update(Model) ────┤
//!  clock ─┘                          └─ Effect → runner (the only file here that touches the wallet)
//! ```
//! There are no ticks: a frame is drawn when something has changed, or when a countdown that is shown reads differently. While
//! home is seen the chains are followed, and what changes nothing on the screen writes nothing.
//! Passphrases never enter the model: while the vault asks for one, keys go to a field that this loop owns.

mod app;
mod attention;
mod data;
mod follow;
mod form;
mod format;
mod frame;
mod input;
mod jobs;
mod key_words;
mod keymap;
mod keys;
mod message;
mod runner;
mod screen;
mod signals;
/// For the test of its guard, which is a program of its own.
#[doc(hidden)]
pub mod terminal;
mod theme;
mod widget;

#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use ratatui::{
    Terminal,
    backend::{Backend, TestBackend},
    buffer::Buffer,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use zeroize::Zeroizing;

use self::{
    app::Model,
    form::secret::{Edit, SecretField},
    input::{Input, Key, Moment},
    message::{Effect, Msg},
    runner::{Event, Reply, Runner},
    signals::{Asked, Signals},
    terminal::Guard,
    theme::Theme,
};
use crate::wallet::{
    PassphraseSource, Question,
    error::{Error, Result},
    home::Home,
};

/// What the command line has said about this session.
pub struct Options {
    pub home: Home,
    /// Where a sandbox is made, when there is no home and the person wants one.
    pub sandbox_home: Home,
    /// The vault's passphrase comes from this file instead of a person.
    pub passphrase_file: Option<String>,
    /// Colour or none; missing = as the environment says.
    pub colour: Option<bool>,
}

/// Runs until the person leaves; answers the exit code.
pub fn run(options: Options) -> Result<u8> {
    if options.passphrase_file.as_deref() == Some("-") {
        return Err(Error::usage(
            "passphrase.stdin",
            "--passphrase-file -: standard input is the keyboard here, and cannot also carry the passphrase",
        )
        .hint("name a file, or none to be asked"));
    }
    let cannot = |what: &str, e: std::io::Error| Error::failed("terminal.io", format!("cannot {what}: {e}"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| cannot("start", e))?;
    format::show_times_in(jiff::tz::TimeZone::system());
    let mut guard = Guard::enter().map_err(|e| cannot("use this terminal", e))?;
    let ended = runtime.block_on(session(&mut guard, options)).map_err(|e| cannot("draw on this terminal", e));
    drop(guard);
    // What is on its way goes on without us and is on record.
    runtime.shutdown_background();
    ended
}

/// The passphrase question that is open: the field that takes the text, and who gets it.
struct Prompt {
    field: SecretField,
    reply: Reply,
}

/// The program without its terminal: what the loop does with it, and tests with the real jobs.
struct Program {
    model: Model,
    runner: Runner,
    todo: VecDeque<Effect>,
    questions: VecDeque<(Question, Reply)>,
    prompt: Option<Prompt>,
    changed: Changed,
    /// What was drawn last.
    shown: Option<Buffer>,
}

/// Whether what is drawn still holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Changed {
    No,
    /// Something was heard that may change nothing: it is laid out first, and drawn only if it differs.
    Perhaps,
    Yes,
}

/// What only the host can do.
enum Ask {
    Quit,
    Suspend,
    Copy(String),
}

impl Program {
    fn new(options: Options, theme: Theme, size: (u16, u16), now: u64, tell: UnboundedSender<Event>) -> Self {
        let has_home = options.home.is_initialized();
        let folder = options.home.config_folder().display().to_string();
        let passphrase = options.passphrase_file.map(|file| PassphraseSource::from_argument(Some(&file)));
        let runner = Runner::new(options.home, options.sandbox_home, passphrase, tell);
        let (model, effects) = Model::new(theme, size, now, folder, has_home);
        Self {
            model,
            runner,
            todo: effects.into(),
            questions: VecDeque::new(),
            prompt: None,
            changed: Changed::Yes,
            shown: None,
        }
    }

    fn update(&mut self, msg: Msg, changed: Changed) {
        self.todo.extend(app::update(&mut self.model, msg));
        self.changed = self.changed.max(changed);
    }

    /// Does what is to be done, up to what only the host can do.
    fn act(&mut self) -> Option<Ask> {
        while let Some(effect) = self.todo.pop_front() {
            match effect {
                Effect::Quit => return Some(Ask::Quit),
                Effect::Suspend => return Some(Ask::Suspend),
                Effect::Copy { text } => return Some(Ask::Copy(text)),
                effect => self.runner.run(effect),
            }
        }
        if self.prompt.is_none()
            && let Some((question, reply)) = self.questions.pop_front()
        {
            self.prompt = Some(Prompt { field: SecretField::default(), reply });
            self.update(Msg::Asked(question), Changed::Yes);
        }
        None
    }

    /// Draws what has changed; writes nothing where nothing looks otherwise.
    fn draw<B: Backend>(&mut self, terminal: &mut Terminal<B>, at: Moment) -> std::result::Result<(), B::Error> {
        let perhaps = self.changed == Changed::Perhaps;
        self.changed = Changed::No;
        if perhaps && self.shown.as_ref().is_some_and(|shown| self.looks_like(shown)) {
            return Ok(());
        }
        let drawn = terminal.draw(|frame| app::view(&self.model, frame))?;
        self.shown = Some(drawn.buffer.clone());
        self.todo.extend(app::update(&mut self.model, Msg::Drawn(at)));
        Ok(())
    }

    fn looks_like(&self, shown: &Buffer) -> bool {
        // This back end cannot fail.
        let Ok(mut scratch) = Terminal::new(TestBackend::new(shown.area.width, shown.area.height));
        let Ok(drawn) = scratch.draw(|frame| app::view(&self.model, frame));
        drawn.buffer == shown
    }

    fn input(&mut self, input: Input, at: Moment) {
        match &mut self.prompt {
            Some(open) if goes_to_prompt(&input) => match open.field.input(input) {
                Edit::Typed(count) => self.update(Msg::Typed(count), Changed::Yes),
                Edit::Entered => {
                    let text = open.field.hand_over();
                    if let Some(open) = self.prompt.take() {
                        open.reply.answer(text);
                    }
                    self.update(Msg::Answered, Changed::Yes);
                }
                Edit::Cancelled => {
                    // Whoever asked is told by the dropped reply.
                    self.prompt = None;
                    self.update(Msg::Answered, Changed::Yes);
                }
                Edit::Ignored => {}
            },
            _ => match input {
                // It may carry a private key: only how long it is goes on.
                Input::Paste(text) if app::holds_paste(&self.model) => {
                    let text = Zeroizing::new(text);
                    let characters = text.chars().count();
                    self.runner.hold(text);
                    self.update(Msg::Held(characters), Changed::Yes);
                }
                input => self.update(Msg::Input(input, at), Changed::Yes),
            },
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Job(job, report) => {
                self.runner.heard(job, &report);
                self.update(Msg::Job(job, report), Changed::Perhaps);
            }
            Event::Ask(question, reply) => self.questions.push_back((question, reply)),
            Event::KeyringWaits => self.update(Msg::KeyringWaits, Changed::Yes),
        }
    }

    fn clock(&mut self, clock: u64) {
        if clock != self.model.now {
            self.update(Msg::Clock(clock), Changed::Perhaps);
        }
    }
}

async fn session(guard: &mut Guard, options: Options) -> std::io::Result<u8> {
    let mut signals = Signals::listen()?;
    let started = Instant::now();
    let moment = move || Moment(u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX));
    let (tell, mut events) = unbounded_channel();
    let size = guard.terminal.size()?;
    let theme = Theme::from_environment(options.colour);
    let mut program = Program::new(options, theme, (size.width, size.height), now(), tell);
    // The first frame comes before anything is read.
    program.draw(&mut guard.terminal, moment())?;
    let mut inputs = listen(started);
    loop {
        match program.act() {
            Some(Ask::Quit) => return Ok(0),
            Some(Ask::Suspend) => {
                terminal::leave();
                signals.stop().await;
                guard.enter_again()?;
                program.changed = Changed::Yes;
                continue;
            }
            Some(Ask::Copy(text)) => {
                guard.copy(&text)?;
                continue;
            }
            None => {}
        }
        if program.changed != Changed::No && inputs.is_empty() && events.is_empty() {
            program.draw(&mut guard.terminal, moment())?;
            continue;
        }
        let due = app::next_change(&program.model).map(Duration::from_secs);
        tokio::select! {
            input = inputs.recv() => match input {
                // The terminal is gone.
                None => return Ok(129),
                Some((input, at)) => program.input(input, at),
            },
            Some(event) = events.recv() => program.event(event),
            asked = signals.next() => match asked {
                Asked::End(code) => return Ok(code),
                Asked::Continue => {
                    guard.enter_again()?;
                    program.changed = Changed::Yes;
                }
            },
            () = sleep(due) => {}
        }
        program.clock(now());
    }
}

/// Ctrl-C always leaves, and a new size is always drawn; all else is the secret's.
fn goes_to_prompt(input: &Input) -> bool {
    !matches!(input, Input::Resize(..)) && *input != Input::Key(Key::ctrl('c')) && *input != Input::Key(Key::ctrl('z'))
}

async fn sleep(due: Option<Duration>) {
    match due {
        Some(due) => tokio::time::sleep(due).await,
        None => std::future::pending().await,
    }
}

/// The local clock, unix seconds.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// Reads the terminal on a thread of its own, which ends with the process.
fn listen(started: Instant) -> UnboundedReceiver<(Input, Moment)> {
    let (tell, inputs) = unbounded_channel();
    let read = move || {
        while let Ok(event) = crossterm::event::read() {
            let at = Moment(u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX));
            if let Some(input) = input::from_event(event)
                && tell.send((input, at)).is_err()
            {
                break;
            }
        }
    };
    // A thread that cannot be started closes the channel, which ends the session.
    let _ = std::thread::Builder::new().name("input".into()).spawn(read);
    inputs
}

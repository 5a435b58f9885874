//! The terminal front end: see every key, give one, take one back.
//!
//! ```text
//!  input ─┐                          ┌─ view → terminal
//!  jobs ──┼→ Msg → update(Model) ────┤
//!  clock ─┘                          └─ Effect → effects (the only file here that touches the wallet)
//! ```
//! There are no ticks: a frame is drawn when something has changed, or when a countdown that is shown reads differently.
//! Passphrases never enter the model: while the vault asks for one, keys go to a field that this loop owns.

mod app;
mod attention;
mod data;
mod effects;
mod form;
mod follow;
mod format;
mod input;
mod keymap;
mod screen;
mod signals;
mod terminal;
mod theme;
mod widget;

#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use zeroize::Zeroizing;

use self::{
    app::{Model, Msg},
    effects::{Effect, Event, Reply, Runner},
    form::secret::{Edit, SecretField},
    input::{Input, Key, Moment},
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

async fn session(guard: &mut Guard, options: Options) -> std::io::Result<u8> {
    let mut signals = Signals::listen()?;
    let started = Instant::now();
    let moment = move || Moment(u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX));
    let (tell, mut events) = unbounded_channel();
    let has_home = options.home.is_initialized();
    let folder = options.home.config_folder().display().to_string();
    let passphrase = options.passphrase_file.map(|file| PassphraseSource::from_argument(Some(&file)));
    let mut runner = Runner::new(options.home, options.sandbox_home, passphrase, tell);
    let size = guard.terminal.size()?;
    let theme = Theme::from_environment(options.colour);
    let (mut model, effects) = Model::new(theme, (size.width, size.height), now(), folder, has_home);
    let mut todo: VecDeque<Effect> = effects.into();
    let mut questions: VecDeque<(Question, Reply)> = VecDeque::new();
    let mut prompt: Option<Prompt> = None;
    // The first frame comes before anything is read.
    guard.terminal.draw(|frame| app::view(&model, frame))?;
    let mut inputs = listen(started);
    let mut changed = false;
    loop {
        while let Some(effect) = todo.pop_front() {
            match effect {
                Effect::Quit => return Ok(0),
                Effect::Suspend => {
                    terminal::leave();
                    signals.stop().await;
                    guard.enter_again()?;
                    changed = true;
                }
                Effect::Copy { text } => guard.copy(&text)?,
                effect => runner.run(effect),
            }
        }
        if prompt.is_none()
            && let Some((question, reply)) = questions.pop_front()
        {
            prompt = Some(Prompt { field: SecretField::default(), reply });
            todo.extend(app::update(&mut model, Msg::Asked(question)));
            changed = true;
        }
        if changed && inputs.is_empty() && events.is_empty() {
            guard.terminal.draw(|frame| app::view(&model, frame))?;
            todo.extend(app::update(&mut model, Msg::Drawn(moment())));
            changed = false;
            continue;
        }
        let due = app::next_change(&model).map(Duration::from_secs);
        let msg = tokio::select! {
            input = inputs.recv() => match input {
                // The terminal is gone.
                None => return Ok(129),
                Some((input, at)) => match &mut prompt {
                    Some(open) if goes_to_prompt(&input) => match open.field.input(input) {
                        Edit::Typed(count) => Some(Msg::Typed(count)),
                        Edit::Entered => {
                            let text = open.field.hand_over();
                            if let Some(open) = prompt.take() {
                                open.reply.answer(text);
                            }
                            Some(Msg::Answered)
                        }
                        Edit::Cancelled => {
                            // Whoever asked is told by the dropped reply.
                            prompt = None;
                            Some(Msg::Answered)
                        }
                        Edit::Ignored => None,
                    },
                    _ => Some(match input {
                        // It may carry a private key: only how long it is goes on.
                        Input::Paste(text) if app::holds_paste(&model) => {
                            let text = Zeroizing::new(text);
                            let characters = text.chars().count();
                            runner.hold(text);
                            Msg::Held(characters)
                        }
                        input => Msg::Input(input, at),
                    }),
                },
            },
            Some(event) = events.recv() => match event {
                Event::Job(job, report) => {
                    runner.heard(job, &report);
                    Some(Msg::Job(job, report))
                }
                Event::Ask(question, reply) => {
                    questions.push_back((question, reply));
                    None
                }
                Event::KeyringWaits => Some(Msg::KeyringWaits),
            },
            asked = signals.next() => match asked {
                Asked::End(code) => return Ok(code),
                Asked::Continue => {
                    guard.enter_again()?;
                    changed = true;
                    None
                }
            },
            () = sleep(due) => None,
        };
        let clock = now();
        if clock != model.now {
            todo.extend(app::update(&mut model, Msg::Clock(clock)));
            changed = changed || due.is_some();
        }
        if let Some(msg) = msg {
            todo.extend(app::update(&mut model, msg));
            changed = true;
        }
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

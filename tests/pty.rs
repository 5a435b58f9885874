//! The whole program in a pseudo-terminal: real keys in, real bytes out, and the terminal left as it was.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests fail loudly and read as specifications"
)]
#![cfg(all(target_os = "linux", feature = "tui"))]

use std::{
    io::{Read, Write},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, SlavePty, native_pty_system};

/// How long anything may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

struct Session {
    child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    keyboard: Box<dyn Write + Send>,
    bytes: Arc<Mutex<Vec<u8>>>,
    before: rustix::termios::Termios,
    /// Kept open so that the modes can be read after the program has ended.
    _slave: Box<dyn SlavePty + Send>,
    _home: tempfile::TempDir,
}

impl Session {
    /// Starts keyleash on an empty home.
    fn start(environment: &[(&str, &str)]) -> Self {
        Self::start_as(&[], environment)
    }

    /// The same, as a command of `shell`, which gets the program's path as its last argument.
    fn start_as(shell: &[&str], environment: &[(&str, &str)]) -> Self {
        let pty = native_pty_system().openpty(PtySize { rows: 24, cols: 80, pixel_width: 0, pixel_height: 0 }).unwrap();
        let home = tempfile::tempdir().unwrap();
        let program = env!("CARGO_BIN_EXE_keyleash");
        let mut words = shell.iter().chain([&program]);
        let mut command = CommandBuilder::new(words.next().unwrap());
        command.args(words);
        command.env_remove("NO_COLOR");
        command.env("TERM", "xterm-256color");
        command.env("KEYLEASH_HOME", home.path().join("home"));
        for (name, value) in environment {
            command.env(name, value);
        }
        let before = modes(&*pty.master);
        let child = pty.slave.spawn_command(command).unwrap();
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let mut reader = pty.master.try_clone_reader().unwrap();
        let keyboard = pty.master.take_writer().unwrap();
        let seen = Arc::clone(&bytes);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                seen.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Self { child, master: pty.master, keyboard, bytes, before, _slave: pty.slave, _home: home }
    }

    fn raw(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }

    fn screen(&self) -> String {
        let mut parser = vt100::Parser::new(24, 80, 0);
        parser.process(&self.raw());
        parser.screen().contents()
    }

    fn wait_for(&self, what: &str) {
        let start = Instant::now();
        while !self.screen().contains(what) {
            assert!(start.elapsed() < PATIENCE, "never saw {what:?} in:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn wait_for_raw(&self, what: &str) {
        let start = Instant::now();
        while !contains(&self.raw(), what.as_bytes()) {
            assert!(start.elapsed() < PATIENCE, "never saw {what:?} in:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.process_id().unwrap()).unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// Waits for the end; answers the exit code, after checking that the terminal is as it was.
    fn end(mut self) -> u32 {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < PATIENCE, "it does not end:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(10));
        };
        let left = [&b"\x1b[?2004l"[..], b"\x1b[?1049l", b"\x1b[?25h"];
        while !left.iter().all(|code| contains(&self.raw(), code)) && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(10));
        }
        let raw = self.raw();
        for (enter, leave) in
            [(&b"\x1b[?2004h"[..], &b"\x1b[?2004l"[..]), (b"\x1b[?1049h", b"\x1b[?1049l"), (b"\x1b[?25l", b"\x1b[?25h")]
        {
            assert!(last(&raw, enter).unwrap() < last(&raw, leave).unwrap(), "{} stays on", enter.escape_ascii());
        }
        let after = modes(&*self.master);
        assert_eq!(after.local_modes, self.before.local_modes, "echo and line editing are back");
        assert_eq!(after.input_modes, self.before.input_modes);
        assert_eq!(after.output_modes, self.before.output_modes);
        status.exit_code()
    }
}

fn modes(master: &dyn MasterPty) -> rustix::termios::Termios {
    let fd = master.as_raw_fd().unwrap();
    let path = format!("/proc/self/fd/{fd}");
    rustix::termios::tcgetattr(std::fs::File::open(path).unwrap()).unwrap()
}

fn last(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).rposition(|w| w == needle)
}

/// Where `needle` is for the last time before the last `end`.
fn last_before(haystack: &[u8], needle: &[u8], end: &[u8]) -> Option<usize> {
    last(haystack.get(..last(haystack, end)?)?, needle)
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    last(haystack, needle).is_some()
}

#[test]
fn an_empty_home_offers_the_sandbox_and_q_leaves_the_terminal_as_it_was() {
    let mut session = Session::start(&[]);
    session.wait_for("Try it in the sandbox");
    assert!(contains(&session.raw(), b"\x1b[?1049h"));
    session.keys("?");
    session.wait_for("keep the filter");
    session.keys("\x1b");
    session.wait_for("Try it in the sandbox");
    session.keys("q");
    assert_eq!(session.end(), 0);
}

#[test]
fn from_an_empty_home_to_a_revoked_key() {
    let mut session = Session::start(&[]);
    session.wait_for("Try it in the sandbox");
    session.keys("\r");
    session.wait_for("SANDBOX");
    session.wait_for("treasury    5 !!");
    session.keys("jl");
    session.wait_for("▸ mint-bot    active");
    session.keys("\r");
    session.wait_for("mint-bot is active");
    session.wait_for("you, at any time: x revokes it");
    session.keys("x");
    session.wait_for("y to revoke");
    // A press that comes too soon is not taken.
    session.keys("y");
    session.wait_for("too soon");
    std::thread::sleep(Duration::from_millis(1_000));
    session.keys("y");
    session.wait_for("mint-bot is revoked, and that is proven");
    session.keys("\x1b");
    session.wait_for("Taken back");
    session.keys("\x1b");
    session.wait_for("▸ mint-bot    revoked");
    session.keys("q");
    assert_eq!(session.end(), 0);
}

#[test]
fn sigterm_sighup_and_ctrl_c_leave_the_terminal_as_it_was() {
    let session = Session::start(&[]);
    session.wait_for("Try it in the sandbox");
    session.signal(rustix::process::Signal::TERM);
    assert_eq!(session.end(), 143);
    let session = Session::start(&[]);
    session.wait_for("Try it in the sandbox");
    session.signal(rustix::process::Signal::HUP);
    assert_eq!(session.end(), 129);
    let mut session = Session::start(&[]);
    session.wait_for("Try it in the sandbox");
    session.keys("\x03");
    assert_eq!(session.end(), 0);
}

#[test]
fn ctrl_z_gives_the_terminal_back_and_fg_takes_it_again() {
    let mut session = Session::start_as(&["sh", "-mc", "\"$0\"; echo between; fg; echo after"], &[]);
    session.wait_for("Try it in the sandbox");
    session.keys("\x1a");
    session.wait_for_raw("between");
    session.wait_for("Try it in the sandbox");
    session.keys("q");
    session.wait_for_raw("after");
    let raw = session.raw();
    let (leaves, between) = (last_before(&raw, b"\x1b[?1049l", b"between"), last(&raw, b"between"));
    assert!(leaves.unwrap() < between.unwrap(), "it left before it stopped");
    assert!(last(&raw, b"\x1b[?1049h") > between, "and came back");
    assert_eq!(session.end(), 0);
}

#[test]
fn a_resize_storm_ends_in_a_whole_screen() {
    let mut session = Session::start(&[]);
    session.wait_for("Try it in the sandbox");
    for i in 0..60u16 {
        let size = PtySize { rows: 1 + i % 40, cols: 1 + (i * 7) % 120, pixel_width: 0, pixel_height: 0 };
        session.master.resize(size).unwrap();
    }
    session.master.resize(PtySize { rows: 24, cols: 80, pixel_width: 0, pixel_height: 0 }).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    session.bytes.lock().unwrap().clear();
    // Something else on the whole screen, and back.
    session.keys("?");
    session.wait_for("Home");
    session.keys("?");
    session.wait_for("Try it in the sandbox");
    session.keys("q");
    let start = Instant::now();
    while session.child.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn no_color_writes_no_colour_and_keeps_the_selection() {
    let mut session = Session::start(&[("NO_COLOR", "1")]);
    session.wait_for("Try it in the sandbox");
    let mut parser = vt100::Parser::new(24, 80, 0);
    parser.process(&session.raw());
    let cells = (0..24).flat_map(|row| (0..80).map(move |column| (row, column)));
    let cells: Vec<_> = cells.filter_map(|(row, column)| parser.screen().cell(row, column)).collect();
    assert!(cells.iter().all(|c| c.fgcolor() == vt100::Color::Default && c.bgcolor() == vt100::Color::Default));
    assert!(cells.iter().any(|c| c.inverse()), "the chosen line is still marked");
    session.keys("q");
    assert_eq!(session.end(), 0);
}

#[test]
fn nothing_is_written_while_nothing_happens() {
    let mut session = Session::start(&[]);
    session.wait_for("Try it in the sandbox");
    std::thread::sleep(Duration::from_millis(300));
    let before = session.raw().len();
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(session.raw().len(), before);
    session.keys("q");
    assert_eq!(session.end(), 0);
}

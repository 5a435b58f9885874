//! A whole program in a pseudo-terminal: real keys in, real bytes out, and the terminal left as it was.

// Each test binary uses its own part of this.
#![allow(dead_code)]

use std::{
    io::{Read, Write},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, SlavePty, native_pty_system};

/// How long anything may take on a machine that is busy.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A program on a terminal of its own.
pub struct Session {
    pub child: Box<dyn Child + Send + Sync>,
    pub master: Box<dyn MasterPty + Send>,
    keyboard: Box<dyn Write + Send>,
    pub bytes: Arc<Mutex<Vec<u8>>>,
    before: rustix::termios::Termios,
    /// Kept open so that the modes can be read after the program has ended.
    _slave: Box<dyn SlavePty + Send>,
    home: tempfile::TempDir,
}

impl Session {
    /// Starts keyleash on an empty home.
    pub fn start(environment: &[(&str, &str)]) -> Self {
        Self::start_as(&[], environment)
    }

    /// The same, as a command of `shell`, which gets the program's path as its last argument.
    pub fn start_as(shell: &[&str], environment: &[(&str, &str)]) -> Self {
        let words: Vec<&str> = shell.iter().copied().chain([env!("CARGO_BIN_EXE_keyleash")]).collect();
        Self::run(&words, environment, tempfile::tempdir().unwrap())
    }

    /// Starts any program in a terminal of 80x24. `KEYLEASH_HOME` is the folder `home` in the one given.
    pub fn run(words: &[&str], environment: &[(&str, &str)], home: tempfile::TempDir) -> Self {
        let pty = native_pty_system().openpty(PtySize { rows: 24, cols: 80, pixel_width: 0, pixel_height: 0 }).unwrap();
        let mut command = CommandBuilder::new(words[0]);
        command.args(&words[1..]);
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
        Self { child, master: pty.master, keyboard, bytes, before, _slave: pty.slave, home }
    }

    pub fn raw(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }

    pub fn screen(&self) -> String {
        let mut parser = vt100::Parser::new(24, 80, 0);
        parser.process(&self.raw());
        parser.screen().contents()
    }

    pub fn wait_for(&self, what: &str) {
        let start = Instant::now();
        while !self.screen().contains(what) {
            assert!(start.elapsed() < PATIENCE, "never saw {what:?} in:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn wait_for_raw(&self, what: &str) {
        let start = Instant::now();
        while !contains(&self.raw(), what.as_bytes()) {
            assert!(start.elapsed() < PATIENCE, "never saw {what:?} in:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The folder that `KEYLEASH_HOME` names.
    pub fn home(&self) -> std::path::PathBuf {
        self.home.path().join("home")
    }

    pub fn keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.process_id().unwrap()).unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// Waits for the end; answers the exit code, after checking that the terminal is as it was.
    pub fn end(mut self) -> u32 {
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

pub fn last(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).rposition(|w| w == needle)
}

/// Where `needle` is for the last time before the last `end`.
pub fn last_before(haystack: &[u8], needle: &[u8], end: &[u8]) -> Option<usize> {
    last(haystack.get(..last(haystack, end)?)?, needle)
}

pub fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    last(haystack, needle).is_some()
}

//! A home with a D-Bus and a gnome-keyring of its own.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    ANVIL_0, anvil, skipped,
    worker::{what_it_says, worker},
};

/// The promise: whatever is wrong with a keyring, we know what to say within this time.
const PROMISE: Duration = Duration::from_secs(10);

/// A home with its own bus, and perhaps a keyring.
pub struct Desktop {
    home: tempfile::TempDir,
    bus: Child,
    address: String,
    keyring: Option<Child>,
}

impl Desktop {
    /// `None`, with the reason printed, where the programs are not installed.
    pub fn new() -> Option<Self> {
        for program in ["dbus-daemon", "gnome-keyring-daemon"] {
            if Command::new(program).arg("--version").output().is_err() {
                skipped(&format!("the OS keyring (no {program}; Debian: apt-get install dbus gnome-keyring)"));
                return None;
            }
        }
        let home = tempfile::tempdir().unwrap();
        // No service folders, so that nothing is started behind our back.
        let config = home.path().join("bus.conf");
        fs::write(
            &config,
            format!(
                "<busconfig><type>session</type><listen>unix:path={}</listen><auth>EXTERNAL</auth><policy context='default'>\
                 <allow send_destination='*' eavesdrop='true'/><allow eavesdrop='true'/><allow own='*'/></policy></busconfig>",
                home.path().join("bus").display()
            ),
        )
        .unwrap();
        let mut bus = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", config.display()))
            .args(["--nofork", "--print-address=1"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(bus.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Some(Self { home, bus, address: address.trim().to_owned(), keyring: None })
    }

    /// One whose keyring is open.
    pub fn unlocked() -> Option<Self> {
        let mut desktop = Self::new()?;
        desktop.start_keyring(Some("right"));
        Some(desktop)
    }

    /// Starts gnome-keyring, and unlocks (or makes) the login keyring with a password.
    pub fn start_keyring(&mut self, password: Option<&str>) {
        let mut command = Command::new("gnome-keyring-daemon");
        command.args(["--foreground", "--components=secrets"]);
        if password.is_some() {
            command.arg("--unlock");
        }
        self.dress(&mut command);
        let mut keyring = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut input = keyring.stdin.take().unwrap();
        input.write_all(password.unwrap_or_default().as_bytes()).unwrap();
        drop(input);
        self.keyring = Some(keyring);
        // It is there once the bus knows its name.
        let begun = Instant::now();
        while self.run("status").contains("no program") {
            assert!(begun.elapsed() < PROMISE, "gnome-keyring did not start");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn stop_keyring(&mut self) {
        if let Some(mut keyring) = self.keyring.take() {
            keyring.kill().unwrap();
            keyring.wait().unwrap();
        }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(self.keyring.as_ref().unwrap());
        kill_process(pid, signal).unwrap();
    }

    /// The environment of a person who is logged in here.
    pub fn dress(&self, command: &mut Command) {
        for (name, folder) in
            [("HOME", ""), ("XDG_DATA_HOME", "data"), ("XDG_CONFIG_HOME", "config"), ("XDG_RUNTIME_DIR", "run")]
        {
            let path = self.home.path().join(folder);
            fs::create_dir_all(&path).unwrap();
            command.env(name, path);
        }
        command.env("DBUS_SESSION_BUS_ADDRESS", &self.address).env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
    }

    pub fn path(&self) -> &Path {
        self.home.path()
    }

    /// Runs a worker's job here, and holds it to the promise.
    pub fn run(&self, job: &str) -> String {
        let mut command = worker(self.home.path(), job);
        self.dress(&mut command);
        let begun = Instant::now();
        let said = what_it_says(&command.output().unwrap());
        assert!(begun.elapsed() < PROMISE, "{job} took {:?}: {said}", begun.elapsed());
        said
    }

    /// Neither the key as raw bytes, as hex nor as base64 is in any file of this home.
    pub fn assert_no_clear_text(&self) {
        use base64::Engine;
        let secret = anvil();
        let raw = secret.expose().to_vec();
        let needles = [
            raw.clone(),
            ANVIL_0.as_bytes().to_vec(),
            ANVIL_0.to_uppercase().into_bytes(),
            base64::engine::general_purpose::STANDARD_NO_PAD.encode(&raw).into_bytes(),
        ];
        let (mut folders, mut files) = (vec![self.home.path().to_owned()], 0);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().map(|e| e.unwrap()) {
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_file() {
                    files += 1;
                    let content = fs::read(entry.path()).unwrap();
                    for needle in &needles {
                        let found = content.windows(needle.len()).any(|window| window == needle);
                        assert!(!found, "a key in clear in {}", entry.path().display());
                    }
                }
            }
        }
        assert!(files > 2, "there was something to search");
    }
}

impl Drop for Desktop {
    fn drop(&mut self) {
        self.stop_keyring();
        let _ = self.bus.kill();
        let _ = self.bus.wait();
    }
}

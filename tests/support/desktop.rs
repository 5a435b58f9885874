//! A home with a D-Bus session and a gnome-keyring of its own: a real Secret Service, in every mood it has.

use std::{
    ffi::OsString,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// The promise: whatever is wrong with a keyring, we know what to say within this time.
pub const PROMISE: Duration = Duration::from_secs(10);

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
                // Past the test harness's capture; `tests/run` collects these lines.
                let _ = writeln!(
                    std::io::stderr(),
                    "\nskipped: the OS keyring (no {program}; Debian: apt-get install dbus gnome-keyring)"
                );
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
        let begun = Instant::now();
        while !self.serves_secrets() {
            assert!(begun.elapsed() < PROMISE, "gnome-keyring did not start");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Whether the bus knows a Secret Service by its name.
    fn serves_secrets(&self) -> bool {
        let mut question = Command::new("dbus-send");
        self.dress(&mut question);
        let answer = question
            .args(["--session", "--print-reply", "--dest=org.freedesktop.DBus", "/org/freedesktop/DBus"])
            .args(["org.freedesktop.DBus.NameHasOwner", "string:org.freedesktop.secrets"])
            .output()
            .unwrap();
        String::from_utf8_lossy(&answer.stdout).contains("boolean true")
    }

    pub fn stop_keyring(&mut self) {
        if let Some(mut keyring) = self.keyring.take() {
            keyring.kill().unwrap();
            keyring.wait().unwrap();
        }
    }

    /// Starts the keyring again, unlocked, if it has died by itself; whether it had.
    pub fn revive_keyring(&mut self) -> bool {
        let died = self.keyring.as_mut().is_some_and(|keyring| keyring.try_wait().unwrap().is_some());
        if died {
            self.start_keyring(Some("right"));
        }
        died
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(self.keyring.as_ref().unwrap());
        kill_process(pid, signal).unwrap();
    }

    /// The environment of a person who is logged in here.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        let mut environment: Vec<(&'static str, OsString)> =
            [("HOME", ""), ("XDG_DATA_HOME", "data"), ("XDG_CONFIG_HOME", "config"), ("XDG_RUNTIME_DIR", "run")]
                .map(|(name, folder)| {
                    let path = self.home.path().join(folder);
                    fs::create_dir_all(&path).unwrap();
                    (name, path.into())
                })
                .into();
        environment.push(("DBUS_SESSION_BUS_ADDRESS", self.address.clone().into()));
        environment
    }

    pub fn dress(&self, command: &mut Command) {
        command.envs(self.environment()).env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
    }

    pub fn path(&self) -> &Path {
        self.home.path()
    }

    /// The bus and the keyring that run, by name and process id.
    pub fn processes(&self) -> Vec<(&'static str, u32)> {
        let keyring = self.keyring.as_ref().map(|keyring| ("gnome-keyring-daemon", keyring.id()));
        [("dbus-daemon", self.bus.id())].into_iter().chain(keyring).collect()
    }
}

impl Drop for Desktop {
    fn drop(&mut self) {
        self.stop_keyring();
        let _ = self.bus.kill();
        let _ = self.bus.wait();
    }
}

/// Every file below a folder.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let (mut folders, mut files) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|e| e.unwrap()) {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files
}

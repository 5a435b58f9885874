//! Child processes that never outlive this test binary, whether it ends well, panics, exits or is killed.

use std::{
    fs::File,
    net::TcpListener,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
};

/// Waits for the end of its standard input, which is when the test binary is gone or has dropped its end, and kills the
/// process group it leads.
const KEEPER: &str = r#""$@" </dev/null & read -r _; kill -9 0"#;

/// A running program. Ends on drop, and with this process.
pub struct Supervised {
    keeper: Child,
}

impl Supervised {
    /// Starts `program`; what it prints goes to `log`.
    pub fn start(program: &Path, args: &[&str], log: &Path) -> Self {
        let out = File::create(log).expect("a log file below target/tmp");
        let keeper = Command::new("sh")
            .args(["-c", KEEPER, "sh"])
            .arg(program)
            .args(args)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(out.try_clone().expect("a second handle of the log"))
            .stderr(out)
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {}: {e}", program.display()));
        Self { keeper }
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// A port of the loopback interface that nobody listened on a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port on 127.0.0.1").port()
}

/// The end of a log, for the message of a failed test.
pub fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

//! The built binary, as a script would use it: `--home DIR --json --yes --passphrase-file F`, one envelope on stdout.

use std::{
    fs,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{World, chain::CHAIN_ID};

/// An installation of its own: a home folder with a sealed-file vault.
pub struct Keyleash {
    home: TempDir,
}

/// What one run answered.
#[derive(Debug)]
pub struct Outcome {
    pub command: String,
    pub exit: i32,
    /// The `--json` envelope.
    pub envelope: Value,
    pub stderr: String,
}

impl Keyleash {
    /// A home without anything in it.
    pub fn bare() -> Self {
        let home = tempfile::Builder::new().prefix("keyleash-e2e-").tempdir().expect("a temporary folder");
        let this = Self { home };
        this.file("passphrase", "correct horse battery staple\n");
        this
    }

    /// Initialised, and with the local chain as network `local`; gas is paid by the accounts.
    pub fn new(world: &World) -> Self {
        Self::with_network(world, &world.bundler.url, None)
    }

    /// The same, with gas paid by a paymaster service of this dialect (`erc7677`, `pimlico` or `zerodev`).
    pub fn sponsored(world: &World, kind: &str) -> Self {
        Self::with_network(world, &world.bundler.url, Some((&world.paymaster.url, kind)))
    }

    /// The same, with a bundler of the test's own.
    pub fn with_network(world: &World, bundler: &str, paymaster: Option<(&str, &str)>) -> Self {
        let this = Self::bare();
        this.ok(&["init", "--vault", "file"]);
        let chain_id = CHAIN_ID.to_string();
        let mut add =
            vec!["network", "add", "local", "--chain-id", &chain_id, "--rpc", &world.chain.url, "--bundler", bundler];
        if let Some((url, kind)) = paymaster {
            add.extend(["--paymaster", url, "--paymaster-kind", kind]);
        }
        this.ok(&add);
        this
    }

    /// Writes a file beside the home and answers its path.
    pub fn file(&self, name: &str, content: &str) -> String {
        let path = self.path(name);
        let mut file = fs::File::create(&path).expect("a file in the temporary folder");
        file.write_all(content.as_bytes()).expect("the content is written");
        path.to_str().expect("a UTF-8 path").to_owned()
    }

    /// A path beside the home.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// The command, ready to run; for tests that kill it half-way.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyleash"));
        command
            .arg("--home")
            .arg(self.path("home"))
            .arg("--passphrase-file")
            .arg(self.path("passphrase"))
            .args(["--json", "--yes"])
            .args(args)
            .env_remove("KEYLEASH_HOME")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs to the end. Whatever happens there is exactly one JSON object on stdout, in the shape of cli.md.
    pub fn run(&self, args: &[&str]) -> Outcome {
        let output = self.command(args).output().expect("keyleash starts");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let command = args.join(" ");
        let envelope: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
            panic!(
                "keyleash {command}: not one JSON object ({e}): {}\n{stderr}",
                String::from_utf8_lossy(&output.stdout)
            )
        });
        let outcome = Outcome { command, exit: output.status.code().unwrap_or(-1), envelope, stderr };
        outcome.check_envelope();
        outcome
    }

    /// Runs what has to work; answers `data`.
    pub fn ok(&self, args: &[&str]) -> Value {
        self.run(args).exits(0).envelope["data"].take()
    }

    /// Runs what has to fail with this exit code and `errors[0].code`; answers the message.
    pub fn refused(&self, args: &[&str], exit: i32, code: &str) -> String {
        let outcome = self.run(args).exits(exit);
        assert_eq!(outcome.error_code(), code, "{outcome:#?}");
        outcome.message().to_owned()
    }
}

impl Outcome {
    fn check_envelope(&self) {
        let e = &self.envelope;
        assert_eq!(e["schema_version"], 1, "{self:#?}");
        assert_eq!(e["success"], Value::Bool(self.exit == 0), "success says the same as the exit code: {self:#?}");
        assert!(e["errors"].is_array() && e["warnings"].is_array() && e.get("data").is_some(), "{self:#?}");
        assert_eq!(e["errors"].as_array().is_some_and(Vec::is_empty), self.exit == 0, "{self:#?}");
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.exit, code, "{self:#?}");
        self
    }

    pub fn data(&self) -> &Value {
        &self.envelope["data"]
    }

    pub fn error_code(&self) -> &str {
        self.envelope["errors"][0]["code"].as_str().unwrap_or_default()
    }

    pub fn message(&self) -> &str {
        self.envelope["errors"][0]["message"].as_str().unwrap_or_default()
    }
}

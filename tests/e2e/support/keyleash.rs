//! The built binary, as a script would use it: `--home DIR --json --yes --passphrase-file F`, one envelope on stdout.

use std::{
    ffi::OsString,
    fmt::Display,
    fs,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::Mutex,
};

use alloy::{primitives::Address, signers::local::PrivateKeySigner};
use keyleash::protocol::{
    Call,
    kernel_v2::blob::{self, Search},
};
use serde_json::Value;
use tempfile::TempDir;

use super::{
    World,
    account::{Grant, TestAccount},
    chain::{CHAIN_ID, parse},
    desktop::Desktop,
};

/// The name every test gives its account.
pub const ACCOUNT: &str = "treasury";

/// What opens the sealed files of these tests.
pub const PASSPHRASE: &str = "correct horse battery staple";

/// The name of the local chain.
const NETWORK: &str = "local";

/// An installation of its own: a home folder, with a sealed-file vault unless said otherwise.
pub struct Keyleash {
    home: TempDir,
    has_network: bool,
    environment: Vec<(&'static str, OsString)>,
    /// Everything that [`run`](Self::run) and [`tell`](Self::tell) printed.
    printed: Mutex<Vec<u8>>,
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
    /// Initialised, and with the local chain as network; gas is paid by the accounts.
    pub fn new(world: &World) -> Self {
        Self::with_network(world, &world.bundler.url, None)
    }

    /// The same, with gas paid by a paymaster service of this dialect (`erc7677`, `pimlico` or `zerodev`).
    pub fn sponsored(world: &World, kind: &str) -> Self {
        Self::with_network(world, &world.bundler.url, Some((&world.paymaster.url, kind)))
    }

    /// The same, with a bundler and a paymaster of the test's own.
    pub fn with_network(world: &World, bundler: &str, paymaster: Option<(&str, &str)>) -> Self {
        let mut this = Self::bare();
        this.ok(&["init", "--vault", "file"]);
        this.add_network(&world.chain.url, bundler, paymaster, &[]);
        this
    }

    /// The same with another node in front of the chain, such as a [`Liar`](super::liar::Liar), and more words for `network add`.
    pub fn through_node(world: &World, node: &str, more: &[&str]) -> Self {
        let mut this = Self::bare();
        this.ok(&["init", "--vault", "file"]);
        this.add_network(node, &world.bundler.url, None, more);
        this
    }

    /// The same without a bundler: only the owner's own transactions reach the chain.
    pub fn without_bundler(world: &World) -> Self {
        let mut this = Self::bare();
        this.ok(&["init", "--vault", "file"]);
        let chain_id = CHAIN_ID.to_string();
        this.ok(&["network", "add", NETWORK, "--chain-id", &chain_id, "--rpc", &world.chain.url]);
        this.has_network = true;
        this
    }

    /// With secrets in the keyring of this session.
    pub fn with_keyring(world: &World, desktop: &Desktop) -> Self {
        Self::with_keyring_through(world, desktop, &world.bundler.url)
    }

    /// The same, with a bundler of the test's own.
    pub fn with_keyring_through(world: &World, desktop: &Desktop, bundler: &str) -> Self {
        let mut this = Self::bare_on(desktop);
        this.ok(&["init", "--vault", "keyring"]);
        this.add_network(&world.chain.url, bundler, None, &[]);
        this
    }

    fn add_network(&mut self, node: &str, bundler: &str, paymaster: Option<(&str, &str)>, more: &[&str]) {
        let chain_id = CHAIN_ID.to_string();
        let mut add = vec!["network", "add", NETWORK, "--chain-id", &chain_id, "--rpc", node, "--bundler", bundler];
        add.extend(more);
        if let Some((url, kind)) = paymaster {
            add.extend(["--paymaster", url, "--paymaster-kind", kind]);
        }
        self.ok(&add);
        self.has_network = true;
    }

    /// A home without anything in it, not even initialised.
    pub fn bare() -> Self {
        let home = tempfile::Builder::new().prefix("keyleash-e2e-").tempdir().expect("a temporary folder");
        let this = Self { home, has_network: false, environment: Vec::new(), printed: Mutex::default() };
        this.file("passphrase", &format!("{PASSPHRASE}\n"));
        this
    }

    /// The same, in somebody's session.
    pub fn bare_on(desktop: &Desktop) -> Self {
        Self { environment: desktop.environment(), ..Self::bare() }
    }

    /// Another value for a variable of the environment.
    pub fn set_environment(&mut self, name: &'static str, value: impl Into<OsString>) {
        self.environment.retain(|(other, _)| *other != name);
        self.environment.push((name, value.into()));
    }

    /// Takes the account over under the name [`ACCOUNT`], with its owner's key: as new when it is not deployed, else from the chain.
    pub fn adopt(&self, world: &World, account: &TestAccount) -> Value {
        let key = self.file("owner.key", account.owner_key());
        let data = if account.is_deployed(world) {
            self.ok(&["account", "add", ACCOUNT, "--address", &account.address.to_string(), "--owner-key-file", &key])
        } else {
            let index = account.seed.index.to_string();
            let kernel = account.kernel.as_str();
            self.ok(&["account", "new", ACCOUNT, "--owner-key-file", &key, "--kernel", kernel, "--index", &index])
        };
        assert_eq!(parse::<Address>(data["address"].clone()), account.address, "{data}");
        data
    }

    /// Grants a new key what `policy` says. The data of the answer.
    pub fn grant(&self, policy: &str) -> Value {
        let policy = self.file("policy.toml", policy);
        self.ok(&["grant", ACCOUNT, "--policy", &policy, "--new-key"])
    }

    /// The same for an agent's key; the approval goes to a file, whose path is answered as well.
    pub fn grant_agent(&self, policy: &str, agent: &str) -> (Value, String) {
        let policy = self.file("policy.toml", policy);
        let out = self.new_path("approval");
        (self.ok(&["grant", ACCOUNT, "--policy", &policy, "--agent", agent, "--out", &out]), out)
    }

    /// Everything about a key that this home granted, private key included, as an SDK would get it.
    pub fn exported(&self, key: &str, format: &str) -> String {
        let out = self.new_path("export");
        self.ok(&["key", "export", key, "--out", &out, "--format", format, "--with-secret"]);
        fs::read_to_string(out).expect("the exported file")
    }

    /// The same, made ready for operations that the test builds itself.
    pub fn holder(&self, account: &TestAccount, key: &str) -> Grant {
        let blob = blob::read(&self.exported(key, "v4")).unwrap_or_else(|e| panic!("our own export: {e}"));
        let search = Search { owner: Some(account.owner().address()), ..Search::on_chains(vec![CHAIN_ID]) };
        let recovered = blob.recover(&search).unwrap_or_else(|e| panic!("our own export: {e}"));
        let secret = blob.secret.expect("the private key in the export");
        let key = PrivateKeySigner::from_slice(secret.expose()).expect("a private key");
        Grant { approval: recovered.approval, permissions: blob.scope.permissions, key }
    }

    /// Writes a file beside the home and answers its path.
    pub fn file(&self, name: &str, content: &str) -> String {
        let path = self.path(name);
        fs::write(&path, content).expect("a file in the temporary folder");
        path.to_str().expect("a UTF-8 path").to_owned()
    }

    /// A path beside the home.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// A path beside the home where nothing is yet.
    pub fn new_path(&self, name: &str) -> String {
        let path = (0..).map(|n| self.path(&format!("{name}-{n}"))).find(|p| !p.exists()).expect("a free name");
        path.to_str().expect("a UTF-8 path").to_owned()
    }

    /// The command, ready to run; for tests that kill it half-way.
    pub fn command<S: AsRef<str>>(&self, args: &[S]) -> Command {
        self.command_with(&["--json", "--yes"], args)
    }

    fn command_with<S: AsRef<str>>(&self, manner: &[&str], args: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyleash"));
        command.arg("--home").arg(self.path("home")).arg("--passphrase-file").arg(self.path("passphrase"));
        if self.has_network {
            command.args(["--network", NETWORK]);
        }
        command
            .args(manner)
            .args(args.iter().map(AsRef::as_ref))
            .env_remove("KEYLEASH_HOME")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs to the end. Whatever happens, there is exactly one JSON object on stdout, in the shape that scripts rely on.
    #[track_caller]
    pub fn run<S: AsRef<str>>(&self, args: &[S]) -> Outcome {
        let output = self.command(args).output().expect("keyleash starts");
        self.note(&output);
        Outcome::read(args, &output)
    }

    /// Runs without `--json`, as a person would; answers the exit code and everything it printed.
    pub fn tell<S: AsRef<str>>(&self, args: &[S]) -> (i32, String) {
        let output = self.command_with(&["--yes", "--verbose"], args).output().expect("keyleash starts");
        self.note(&output);
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
    }

    fn note(&self, output: &Output) {
        let mut printed = self.printed.lock().expect("what was printed");
        printed.extend_from_slice(&output.stdout);
        printed.extend_from_slice(&output.stderr);
    }

    /// Everything that was printed so far.
    pub fn printed(&self) -> Vec<u8> {
        self.printed.lock().expect("what was printed").clone()
    }

    /// Runs what has to work; answers `data`.
    #[track_caller]
    pub fn ok<S: AsRef<str>>(&self, args: &[S]) -> Value {
        self.run(args).exits(0).envelope["data"].take()
    }

    /// Runs what has to fail with this exit code and `errors[0].code`; answers the message.
    #[track_caller]
    pub fn refused<S: AsRef<str>>(&self, args: &[S], exit: i32, code: &str) -> String {
        let outcome = self.run(args).exits(exit);
        assert_eq!(outcome.error_code(), code, "{outcome:#?}");
        outcome.message().to_owned()
    }
}

impl Outcome {
    #[track_caller]
    pub fn read<S: AsRef<str>>(args: &[S], output: &Output) -> Self {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let command = args.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" ");
        let envelope: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
            let stdout = String::from_utf8_lossy(&output.stdout);
            panic!("keyleash {command}: not one JSON object ({e}): {stdout}\n{stderr}")
        });
        let outcome = Self { command, exit: output.status.code().unwrap_or(-1), envelope, stderr };
        outcome.check_envelope();
        outcome
    }

    #[track_caller]
    fn check_envelope(&self) {
        let e = &self.envelope;
        assert_eq!(e["schema_version"], 1, "{self:#?}");
        assert_eq!(e["success"], Value::Bool(self.exit == 0), "success says the same as the exit code: {self:#?}");
        assert!(e["errors"].is_array() && e["warnings"].is_array() && e.get("data").is_some(), "{self:#?}");
        assert_eq!(e["errors"].as_array().is_some_and(Vec::is_empty), self.exit == 0, "{self:#?}");
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.exit, code, "keyleash {}: {self:#?}", self.command);
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

    pub fn hint(&self) -> &str {
        self.envelope["errors"][0]["hint"].as_str().unwrap_or_default()
    }
}

/// A text field of an answer.
#[track_caller]
pub fn text<'a>(data: &'a Value, field: &str) -> &'a str {
    data[field].as_str().unwrap_or_else(|| panic!("no text in `{field}` of {data}"))
}

/// The arguments of `send` for one call without value.
pub fn send(key: &str, to: Address, function: &str, arguments: &[&dyn Display]) -> Vec<String> {
    let mut words = ["send", key, "--to", &to.to_string(), "--call", function].map(String::from).to_vec();
    words.extend(arguments.iter().flat_map(|a| ["--arg".to_owned(), a.to_string()]));
    words
}

/// The same for calldata as it is, with value.
pub fn send_data(key: &str, call: &Call) -> Vec<String> {
    let (to, data, value) = (call.to.to_string(), call.data.to_string(), format!("{} wei", call.value));
    ["send", key, "--to", &to, "--data", &data, "--value", &value].map(String::from).to_vec()
}

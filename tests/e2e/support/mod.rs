//! The real parts that the end-to-end tests run against: a node with the deployed contracts, a bundler, a paymaster, the
//! published JS SDKs, and the built `keyleash` binary. One set of them serves the whole test binary; each test has its own account.

pub mod account;
pub mod bundler;
pub mod chain;
#[allow(dead_code, reason = "the vault's own tests use the rest")]
#[path = "../../support/desktop.rs"]
pub mod desktop;
pub mod keyleash;
pub mod leaks;
pub mod liar;
pub mod operation;
pub mod paymaster;
pub mod policy;
pub mod process;
pub mod proxy;
pub mod rpc;
pub mod sdk;

use std::{
    env,
    io::Write,
    path::{Path, PathBuf},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use self::{bundler::Bundler, chain::Chain, paymaster::PaymasterService};

/// Everything that runs.
pub struct World {
    pub chain: Chain,
    pub bundler: Bundler,
    pub paymaster: PaymasterService,
}

impl World {
    pub fn start() -> Self {
        let chain = Chain::start();
        let bundler = Bundler::start(&chain);
        let paymaster = PaymasterService::start(&chain, &bundler);
        Self { chain, bundler, paymaster }
    }
}

/// The shared world, started on first use; `None`, with a loud line, when something it needs is missing here.
///
/// It lives in a static and is never dropped: what it started ends by itself with this process (see [`process`]).
pub fn world() -> Option<&'static World> {
    static WORLD: OnceLock<Option<World>> = OnceLock::new();
    WORLD
        .get_or_init(|| match missing() {
            Some(why) => {
                skipped("tests/e2e", &why);
                None
            }
            None => Some(World::start()),
        })
        .as_ref()
}

/// What the machine lacks, in words; a half-installed machine is a failure elsewhere, not a reason to skip.
fn missing() -> Option<String> {
    let needed = [
        (chain::anvil(), "no anvil: run tests/e2e/setup"),
        (bundler::alto(), "no bundler: run tests/e2e/setup"),
        (chain::deployments(), "../shared/chain/deployments.json is not beside this project"),
    ];
    needed.into_iter().find(|(path, _)| !path.exists()).map(|(_, why)| why.to_owned())
}

/// Says on standard error, past the test harness's capture, that something was not tested. `tests/run` collects these lines.
pub fn skipped(what: &str, why: &str) {
    // On a line of its own whatever was printed before. A closed stderr is no reason to fail a test.
    let _ = writeln!(std::io::stderr(), "\nskipped: {what} ({why})");
}

/// A file below tests/e2e.
pub fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e").join(path)
}

/// Where logs of what runs go: below the target folder.
pub fn log_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("e2e-{name}-{}.log", std::process::id()))
}

/// Asks until there is an answer; `None` after `seconds`.
pub fn wait_for<T>(seconds: u64, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() > end {
            return None;
        }
        thread::sleep(Duration::from_millis(25));
    }
}

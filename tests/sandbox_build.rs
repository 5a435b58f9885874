//! What is committed in `assets/sandbox/contracts.json` is what its sources compile to.
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

use std::{fs, path::PathBuf, process::Command};

use alloy::primitives::hex;
use sha2::{Digest, Sha256};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("assets/sandbox")
}

/// Without a compiler: the sources are the ones that were compiled.
#[test]
fn no_source_was_changed_without_compiling_it() {
    let mut sources: Vec<PathBuf> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sol"))
        .collect();
    sources.sort();
    let mut hash = Sha256::new();
    for path in sources {
        hash.update(path.file_name().unwrap().as_encoded_bytes());
        hash.update([0]);
        hash.update(fs::read(&path).unwrap());
        hash.update([0]);
    }
    let built: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(folder().join("contracts.json")).unwrap()).unwrap();
    assert_eq!(
        built["sources"],
        hex::encode(hash.finalize()),
        "run tests/e2e/setup, then `npm run build` in assets/sandbox"
    );
}

/// Needs node and the pinned compiler, which `tests/e2e/setup` installs; says so when it has to skip.
#[test]
fn the_committed_contracts_are_what_the_sources_compile_to() {
    let folder = folder();
    if !folder.join("node_modules/solc").exists() {
        say("skipped: the rebuild of the sandbox's contracts (no Solidity compiler; tests/e2e/setup installs it)");
        return;
    }
    let built = match Command::new("node").args(["build.mjs", "--check"]).current_dir(&folder).output() {
        Ok(built) => built,
        Err(error) => {
            say(&format!("skipped: node does not run here: {error}"));
            return;
        }
    };
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}

/// A line that stays in sight: cargo hides what print macros write in a test that passes.
fn say(line: &str) {
    use std::io::Write as _;
    let _ = std::io::stderr().lock().write_all(format!("\n{line}\n").as_bytes());
}

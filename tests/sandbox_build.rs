//! What is committed in `assets/sandbox/contracts.json` is what its sources compile to.

use std::{path::Path, process::Command};

/// Needs node and the pinned compiler (`npm ci` in `assets/sandbox`); says so when it has to skip.
#[test]
fn the_committed_contracts_are_what_the_sources_compile_to() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/sandbox");
    if !folder.join("node_modules/solc").exists() {
        println!("skipped: the Solidity compiler is not installed (run `npm ci` in assets/sandbox)");
        return;
    }
    let built = match Command::new("node").args(["build.mjs", "--check"]).current_dir(&folder).output() {
        Ok(built) => built,
        Err(error) => {
            println!("skipped: node does not run here: {error}");
            return;
        }
    };
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}

//! The vault against the real world: a real gnome-keyring in all its moods, kill -9 at every step, `cast wallet`, and a scan
//! of the process's own memory. Each test that needs a program which is not installed says `skipped: …` and passes.

mod crash;
mod desktop;
mod interop;
mod memory;
mod secret_service;
#[allow(dead_code, reason = "the end-to-end tests use the rest")]
#[path = "../../../../../tests/support/desktop.rs"]
mod session;
mod standard_input;
mod worker;

use std::io::Write;

use crate::{
    secret::Secret,
    wallet::vault::{self, SecretId},
};
use alloy::primitives::{Address, address};

/// The first well-known key of anvil, in all tests the secret that must not get out.
const ANVIL_0: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const ANVIL_0_ADDRESS: Address = address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
const ID: &str = "07070707070707070707070707070707";
const OTHER_ID: &str = "00112233445566778899aabbccddeeff";

fn anvil() -> Secret {
    Secret::from_hex(ANVIL_0).unwrap()
}

fn id() -> SecretId {
    ID.parse().unwrap()
}

/// On standard error, past the test harness's capture; `tests/run` collects these lines.
fn skipped(what: &str) {
    let _ = writeln!(std::io::stderr(), "\nskipped: {what}");
}

//! End to end, on real parts: anvil with the deployed contracts, the alto bundler, VerifyingPaymaster and the published JS SDKs.
//! `tests/e2e/setup` installs them; without them every test here says `skipped: …` and passes.
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
#![cfg(unix)]

mod support;

mod harness;
mod scenarios_brake;
mod scenarios_denied;
mod scenarios_identity;
mod scenarios_killed;
mod scenarios_leaks;
mod scenarios_lies;
mod scenarios_life;
mod scenarios_money;
mod scenarios_power;
mod scenarios_proof;
mod scenarios_records;
mod scenarios_revoke;
mod scenarios_scan;
mod scenarios_sdk;
mod scenarios_secrets;
mod scenarios_trouble;
mod scenarios_turns;
mod scenarios_watch_only;
mod scenarios_wire;

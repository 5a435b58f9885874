//! End to end, on real parts: anvil with the deployed contracts, the alto bundler, VerifyingPaymaster and the published JS SDKs.
//! `tests/e2e/setup` installs them; without them every test here says `skipped: …` and passes.
#![cfg(unix)]

#[expect(dead_code, reason = "the scenarios of the command line use the rest")]
mod support;

mod harness;

//! The sandbox's contracts against the deployed ones: the same transactions on both, and nothing but gas may differ.
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

mod corpus;
mod player;
mod random;
mod scripted;
mod world;

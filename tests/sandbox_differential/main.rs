//! The sandbox's contracts against the deployed ones: the same transactions on both, and nothing but gas may differ.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails loudly"
)]

mod corpus;
mod player;
mod random;
mod scripted;
mod world;

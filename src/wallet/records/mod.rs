//! What is remembered: the types of the records, the database that keeps them, and the checks that they are still what was written.

pub mod label;
mod migrations;
pub mod model;
pub mod notices;
pub(super) mod store;
pub(super) mod verify;

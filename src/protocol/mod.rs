//! The families of session keys, pure: no I/O, no clock, no randomness, no async.

pub mod kernel_v2;
pub mod query;
pub mod status;

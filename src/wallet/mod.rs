//! The shared core: what an owner or an agent can do. Both front ends call this and nothing below it.

// Everything here is for the use-cases, which land file by file.
#[allow(dead_code)]
pub(crate) mod chain;

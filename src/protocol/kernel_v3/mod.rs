//! The protocol of ZeroDev Kernel v3 permissions on EntryPoint v0.7, pure: no I/O, no clock, no randomness, no async.
//!
//! Every encoding here is what the deployed bytecode reads. Bytes are read in exactly the form that an encoder writes: the
//! contracts take more than that, and what they take in another form is kept verbatim and counts as not understood.

pub mod account;
pub mod approval;
pub mod blob;
mod canonical;
pub mod contracts;
pub mod findings;
pub mod judge;
pub mod liveness;
pub mod multi_chain;
pub mod nonce;
pub mod permission_config;
pub mod policy;
pub mod power;
pub mod probe;
pub mod revocation;
pub mod sentence;
pub mod signature;
pub mod snapshot;
pub mod status;
mod witness;

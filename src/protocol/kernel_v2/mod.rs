//! The protocol of ZeroDev Kernel v2 session keys on EntryPoint v0.6, pure: no I/O, no clock, no randomness, no async.
//!
//! Every encoding here is what the deployed bytecode reads. Where a published SDK encodes something else
//! (the word order of `executionRule`, the EIP-712 domain version, padding of `bytesN`), the chain decides.

pub mod account;
pub mod approval;
pub mod blob;
pub mod discrepancy;
pub mod enable;
pub mod envelope;
pub mod generation;
pub mod grant;
pub mod history;
pub mod judge;
pub mod merkle;
pub mod permission;
pub mod power;
pub mod probe;
pub mod revocation;
pub mod signature;
pub mod snapshot;
pub mod status;
pub mod storage;
pub mod witness;

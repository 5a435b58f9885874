//! ERC-4337, as every family of session keys speaks it: the UserOperation of an EntryPoint version, its hash and wire form, and
//! what EntryPoint and bundlers answer.

pub mod faults;
pub mod v06;
pub mod v07;

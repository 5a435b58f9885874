//! How a thing reads that several commands show: `text` for people, `json` for scripts (recorded by tests/json_contract: addresses
//! EIP-55, wei and 256-bit numbers as decimal strings, bytes as hex).

pub mod finding;
pub mod key;
pub mod operation;
pub mod plan;
pub mod proof;
pub mod scope;

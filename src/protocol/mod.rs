//! The families of session keys, pure: no I/O, no clock, no randomness, no async.

use std::fmt;

use alloy::{
    hex,
    primitives::{Address, B256, Bytes, U256},
};
use serde::Serialize;

use crate::{abi::Function, policy::sentence};
use family::Family;

pub mod family;
pub mod kernel_v2;
pub mod kernel_v3;
pub mod power;
pub mod probe;
pub mod query;
pub mod revocation;
pub mod serialized;
pub mod signature;
pub mod status;

/// Which approval: the digest that its owner signs. Of one that only the chain shows, the hash of what the chain holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApprovalId(pub B256);

/// A call that an account makes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Call {
    pub to: Address,
    /// Wei.
    pub value: U256,
    pub data: Bytes,
}

/// One step of a plan, in words: the contract function that is called, and what that does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    pub call: String,
    pub effect: String,
}

/// A 65-byte signature for gas estimation. Well-formed, so that recovery yields some address and the real cost shows.
pub const DUMMY_SIGNATURE: [u8; 65] = hex!(
    "fffffffffffffffffffffffffffffff0000000000000000000000000000000007aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1c"
);

/// What an account is called to do, by its owner or by a session key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountCall {
    Execute(Call),
    ExecuteBatch(Vec<Call>),
    ExecuteDelegateCall {
        to: Address,
        data: Bytes,
    },
    /// Any other function of the account, verbatim.
    Other(Bytes),
}

impl AccountCall {
    /// The inner calls, in order.
    pub fn calls(&self) -> Vec<Call> {
        match self {
            Self::Execute(call) => vec![call.clone()],
            Self::ExecuteBatch(calls) => calls.clone(),
            Self::ExecuteDelegateCall { to, data } => vec![Call { to: *to, value: U256::ZERO, data: data.clone() }],
            Self::Other(_) => Vec::new(),
        }
    }

    /// Each inner call in words.
    pub fn in_words(&self, family: Family, functions: &[Function], coin: &str) -> Vec<String> {
        let calls = self.calls();
        if calls.is_empty() {
            return vec![format!("account call {}", family.encode(self))];
        }
        calls.iter().map(|call| sentence::call(call, functions, coin)).collect()
    }
}

/// Which SDK's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// `@zerodev/sdk` 4.x.
    V4,
    /// `@zerodev/session-key` 5.x.
    V5,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "v4",
            Self::V5 => "v5",
        })
    }
}

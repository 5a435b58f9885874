//! A toy: an account with one owner in its first word of storage, and a mapping from keys to the digest of what its owner approved.
//! There are no turns, and one call ends a key.

use alloy::{
    primitives::{Address, B256, Bytes, Selector, U256, address, keccak256},
    sol,
    sol_types::{SolCall, SolValue},
};

use super::{
    AccountCall, Call, Step,
    family::account::{AccountFunction, Seed},
};
use crate::policy::scope::Permission;

mod approval;
mod revocation;
mod snapshot;

pub use approval::{ApprovalPlan, ApprovalRequest, Envelope, about_run_limits, judge, plan_enable, status};
pub use revocation::{ApprovalBook, Before, Entry, Expected, Subject, differences, foreign_power};
pub use snapshot::{Snapshot, SnapshotRequest, pause_queries, read_pause};

sol! {
    function execute(address to, uint256 value, bytes data);
    // Not there on chain: a call of them reverts.
    function executeBatch(bytes calls);
    function executeDelegateCall(address to, bytes data);
    function allow(address key, bytes32 digest);
    function disallow(address key);
    function stop(bool stopped);
    function make(address owner, uint256 index);
}

pub const FACTORY: Address = address!("70f0000000000000000000000000000000000001");
const IMPLEMENTATION: Address = address!("70f0000000000000000000000000000000000002");
pub const OPENED: [Selector; 1] = [Selector::new(executeCall::SELECTOR)];

/// The one there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version;

impl Version {
    pub const fn as_str(self) -> &'static str {
        "toy"
    }

    pub const fn implementation(self) -> Address {
        IMPLEMENTATION
    }

    pub const fn has_batch(self) -> bool {
        false
    }

    pub const fn has_delegate_call(self) -> bool {
        false
    }

    pub const fn is_safe_for_session_keys(self) -> bool {
        true
    }
}

/// The account holds its keys itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Keeper;

impl Keeper {
    pub fn named(name: &str) -> Option<Self> {
        (name == "toy").then_some(Self)
    }

    pub const fn address(self) -> Address {
        IMPLEMENTATION
    }

    pub const fn has_any_target(self) -> bool {
        false
    }

    pub const fn knows_operation(self) -> bool {
        false
    }

    pub const fn allows_empty_calls(self) -> bool {
        true
    }
}

impl std::fmt::Display for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("toy")
    }
}

pub fn encode(call: &AccountCall) -> Bytes {
    match call {
        AccountCall::Execute(Call { to, value, data }) => {
            executeCall { to: *to, value: *value, data: data.clone() }.abi_encode().into()
        }
        AccountCall::ExecuteBatch(calls) => {
            let calls: Vec<_> = calls.iter().map(|c| (c.to, c.value, c.data.clone())).collect();
            executeBatchCall { calls: calls.abi_encode().into() }.abi_encode().into()
        }
        AccountCall::ExecuteDelegateCall { to, data } => {
            executeDelegateCallCall { to: *to, data: data.clone() }.abi_encode().into()
        }
        AccountCall::Other(data) => data.clone(),
    }
}

pub fn decode(call_data: &[u8]) -> AccountCall {
    match executeCall::abi_decode_validate(call_data) {
        Ok(executeCall { to, value, data }) => AccountCall::Execute(Call { to, value, data }),
        Err(_) => AccountCall::Other(Bytes::copy_from_slice(call_data)),
    }
}

pub fn owner_envelope(signature: &[u8; 65]) -> Bytes {
    Bytes::copy_from_slice(signature)
}

pub const fn selector_of(function: AccountFunction) -> Selector {
    Selector::new(match function {
        AccountFunction::Execute => executeCall::SELECTOR,
        AccountFunction::ExecuteBatch => executeBatchCall::SELECTOR,
        AccountFunction::ExecuteDelegateCall => executeDelegateCallCall::SELECTOR,
    })
}

pub fn address_of(seed: Seed) -> Address {
    FACTORY.create2(keccak256((seed.owner, seed.index).abi_encode()), keccak256(IMPLEMENTATION))
}

pub fn init_code(seed: Seed) -> Bytes {
    [FACTORY.as_slice(), &makeCall { owner: seed.owner, index: seed.index }.abi_encode()].concat().into()
}

/// Of a list of permissions.
pub fn fingerprint(permissions: &[Permission]) -> B256 {
    keccak256(format!("{permissions:?}"))
}

/// Of the account's own functions, called by itself.
fn own(account: Address, call: &impl SolCall, words: String, effect: String) -> (Call, Step) {
    (Call { to: account, value: U256::ZERO, data: call.abi_encode().into() }, Step { call: words, effect })
}

pub fn pause(account: Address) -> (Call, Step) {
    own(account, &stopCall { stopped: true }, "stop(true)".into(), "stops every session key".into())
}

pub fn rules_keys(account: Address, call: &Call) -> bool {
    let ours = [allowCall::SELECTOR, disallowCall::SELECTOR, stopCall::SELECTOR];
    call.to == account && ours.iter().any(|selector| call.data.starts_with(selector))
}

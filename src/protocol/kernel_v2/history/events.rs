//! Which logs tell of an account, and what a transaction and its logs add to its history.

use std::collections::BTreeMap;

use alloy::{
    primitives::{Address, B256, Bytes, Selector},
    sol,
    sol_types::SolEvent,
};

use super::{
    ledger::{Changed, Ledger, Mined, Point},
    operations,
};
use crate::{
    erc4337::v06::{AccountDeployed, ENTRY_POINT, UserOperation, UserOperationEvent},
    protocol::{
        kernel_v2::generation::ECDSA_VALIDATOR,
        query::{Log, LogQuery},
    },
};

sol! {
    event ExecutionChanged(bytes4 indexed selector, address indexed executor, address indexed validator);
    event Upgraded(address indexed implementation);
    event DefaultValidatorChanged(address indexed oldValidator, address indexed newValidator);
    event OwnerChanged(address indexed kernel, address indexed oldOwner, address indexed newOwner);
}

/// The logs of an account's operations, of what it routes and of who owns it.
pub fn log_queries(account: Address) -> [LogQuery; 3] {
    let topic = account.into_word();
    [
        LogQuery {
            address: Some(ENTRY_POINT),
            topics: vec![
                vec![UserOperationEvent::SIGNATURE_HASH, AccountDeployed::SIGNATURE_HASH],
                vec![],
                vec![topic],
            ],
        },
        LogQuery {
            address: Some(account),
            topics: vec![vec![
                ExecutionChanged::SIGNATURE_HASH,
                Upgraded::SIGNATURE_HASH,
                DefaultValidatorChanged::SIGNATURE_HASH,
            ]],
        },
        LogQuery { address: Some(ECDSA_VALIDATOR), topics: vec![vec![OwnerChanged::SIGNATURE_HASH], vec![topic]] },
    ]
}

impl Ledger {
    /// One transaction in which the account was at work. `logs`: what was logged about it, in order.
    pub fn transaction(&mut self, at: Point, logs: &[Log], input: &Bytes, to: Option<Address>, chain_id: u64) {
        let ops: Vec<(B256, UserOperation)> =
            operations(input, to, self.account).into_iter().map(|op| (op.hash(ENTRY_POINT, chain_id), op)).collect();
        let mut mined = Vec::new();
        let mut routes: BTreeMap<Selector, (Address, Address)> = BTreeMap::new();
        let mut changes = Vec::new();
        for log in logs {
            match read_event(log) {
                Some(Event::Operation { user_op_hash, success }) => {
                    let candidates = ops.iter().filter(|(hash, _)| *hash == user_op_hash).map(|(_, op)| op.clone());
                    mined.push(Mined { user_op_hash, success, candidates: candidates.collect() });
                }
                Some(Event::Routed { selector, validator, executor }) => {
                    routes.insert(selector, (validator, executor));
                }
                // The first owner and the first implementation are there before the first operation is validated.
                Some(Event::Changed(change @ (Changed::Owner(_) | Changed::Deployed))) if mined.is_empty() => {
                    self.changed(change, at);
                }
                Some(Event::Changed(change)) => changes.push(change),
                None => self.cannot_read(at, None),
            }
        }
        self.operations(&mined, to == Some(ENTRY_POINT), at);
        if to == Some(self.account) {
            self.direct_call(input, at);
        }
        for change in changes {
            self.changed(change, at);
        }
        let unread = routes.iter().any(|(selector, (validator, _))| !self.is_routed(*selector, *validator));
        if unread {
            self.cannot_read(at, None);
        }
        for (selector, (validator, executor)) in routes {
            self.routed(selector, validator, executor, at);
        }
    }
}

enum Event {
    Operation { user_op_hash: B256, success: bool },
    Routed { selector: Selector, validator: Address, executor: Address },
    Changed(Changed),
}

/// One of the events that were asked for; `None` when it is malformed.
fn read_event(log: &Log) -> Option<Event> {
    let topic = |at: usize| log.topics.get(at).copied();
    let address = |at: usize| topic(at).map(Address::from_word);
    Some(match topic(0)? {
        UserOperationEvent::SIGNATURE_HASH => {
            let success = log.data.get(32..64)?.last().copied()? == 1;
            Event::Operation { user_op_hash: topic(1)?, success }
        }
        ExecutionChanged::SIGNATURE_HASH => {
            let selector = Selector::from_slice(topic(1)?.get(..4)?);
            Event::Routed { selector, executor: address(2)?, validator: address(3)? }
        }
        AccountDeployed::SIGNATURE_HASH => Event::Changed(Changed::Deployed),
        Upgraded::SIGNATURE_HASH => Event::Changed(Changed::Upgraded(address(1)?)),
        DefaultValidatorChanged::SIGNATURE_HASH => Event::Changed(Changed::DefaultValidator(address(2)?)),
        OwnerChanged::SIGNATURE_HASH => Event::Changed(Changed::Owner(address(3)?)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use alloy::{hex, primitives::keccak256};

    use super::*;

    #[test]
    fn the_events_are_those_that_the_contracts_log() {
        let first = |hash: B256| hex::encode(&hash[..4]);
        assert_eq!(first(ExecutionChanged::SIGNATURE_HASH), "ed03d257");
        assert_eq!(first(Upgraded::SIGNATURE_HASH), "bc7cd75a");
        assert_eq!(first(OwnerChanged::SIGNATURE_HASH), "381c0d11");
        assert_eq!(first(DefaultValidatorChanged::SIGNATURE_HASH), "a35f5cdc");
        assert_eq!(first(AccountDeployed::SIGNATURE_HASH), "d51a9c61");
        let event = keccak256("UserOperationEvent(bytes32,address,address,uint256,bool,uint256,uint256)");
        assert_eq!(UserOperationEvent::SIGNATURE_HASH, event);
    }
}

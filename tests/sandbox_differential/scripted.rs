//! The facts of protocol.md as scenarios: each says what has to happen, and happens on both chains.

use alloy::primitives::{Address, U256};
use keyleash::kernel::{account::AccountCall, user_op::UserOperation};

use crate::{player::*, world::*};

#[test]
fn the_first_operation_deploys_the_account() {
    let Some(mut worlds) = Worlds::new() else { return };
    for (seed, kernel) in accounts() {
        let account = seed.address();
        worlds.set_balance(account, ETHER);
        let mut op = worlds.op(account, 0, AccountCall::Execute(call(0, account, Address::ZERO)).encode());
        op.init_code = seed.init_code(kernel);
        let signer = (0..2).map(owner).find(|key| key.address() == seed.owner).unwrap();
        sign_as_owner(&mut op, &signer);
        let seen = worlds.handle(&[op]);
        assert_eq!(seen.successes(), [true]);
    }
}

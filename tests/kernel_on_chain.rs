//! Our encodings, held against the deployed bytecode.

mod support;

use alloy::primitives::{Address, B256, FixedBytes, U256, aliases::U48, keccak256};
use keyleash::kernel::{
    account::{AccountSeed, selector},
    approval::EnableData,
    generation::{DETERMINISTIC_DEPLOYER, ECDSA_VALIDATOR, Generation, KernelVersion},
};
use support::deployed::{Deployed, Kernel, Key};

/// The validators whose bytecode is on the chain of the harness.
const GENERATIONS: [Generation; 2] = [Generation::G1, Generation::G2];

fn owner() -> Key {
    Key::anvil(0)
}

fn seed(index: u64) -> AccountSeed {
    AccountSeed { owner: owner().address(), index: U256::from(index) }
}

#[test]
fn the_contracts_are_the_deployed_ones() {
    let Some(mut chain) = Deployed::load() else { return };
    for generation in GENERATIONS {
        assert_eq!(keccak256(chain.code(generation.address())), generation.code_hash(), "{generation}");
    }
    for kernel in KernelVersion::ALL {
        assert!(!chain.code(kernel.implementation()).is_empty(), "Kernel {kernel}");
    }
    assert_eq!(chain.code(DETERMINISTIC_DEPLOYER).len(), 69);
}

#[test]
fn an_account_lands_on_its_counterfactual_address_with_every_implementation() {
    let Some(chain) = Deployed::load() else { return };
    for kernel in KernelVersion::ALL {
        for index in [0, 1, u64::MAX] {
            let mut chain = chain.clone();
            let account = chain.deploy_account(seed(index), kernel);
            assert_eq!(account, seed(index).address());
            assert_eq!(chain.owner(account), owner().address());
        }
    }
}

#[test]
fn state_written_into_storage_is_what_the_getters_read() {
    let Some(mut chain) = Deployed::load() else { return };
    let account = Address::repeat_byte(0xac);
    let data = EnableData {
        session_key: Address::repeat_byte(0x5e),
        merkle_root: B256::repeat_byte(0x22),
        valid_after: 0x0102_0304_0506,
        valid_until: 0x1112_1314_1516,
        paymaster: Address::repeat_byte(0x33),
        nonce: 1 << 100,
    };
    for generation in GENERATIONS {
        chain.set_nonces(generation, account, 7 << 64, 5);
        assert_eq!(chain.nonces(generation, account), (7 << 64, 5));
        chain.set_session_data(generation, account, &data);
        assert_eq!(chain.session_data(generation, data.session_key, account), data);
        chain.set_execution_status(generation, account, (9, 3), (0x0a0b_0c0d_0e0f, 77));
        assert_eq!(chain.execution_status(generation, account, 9, 3), (0x0a0b_0c0d_0e0f, 77));
    }
    for kernel in KernelVersion::ALL {
        let mut chain = chain.clone();
        let account = chain.deploy_account(seed(0), kernel);
        let route = Kernel::Execution {
            validAfter: U48::from(0x0102_0304_0506_u64),
            validUntil: U48::from(0x1112_1314_1516_u64),
            executor: Address::repeat_byte(0xee),
            validator: Generation::G2.address(),
        };
        chain.set_execution(account, selector::EXECUTE, &route);
        assert_eq!(chain.execution(account, selector::EXECUTE), route);
        chain.set_disabled_mode(account, 0x8000_0002);
        assert_eq!(chain.disabled_mode(account), FixedBytes([0x80, 0, 0, 2]));
        assert_eq!(chain.view(account, Kernel::getDefaultValidatorCall {}), ECDSA_VALIDATOR);
    }
}

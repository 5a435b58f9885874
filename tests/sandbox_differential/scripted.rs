use alloy::primitives::U256;
use keyleash::kernel::{account::AccountSeed, generation::KernelVersion};
use crate::world::*;

#[test]
fn smoke() {
    let Some(mut worlds) = Worlds::new() else { return };
    let seed = AccountSeed { owner: Key::anvil(0).address(), index: U256::ZERO };
    for (i, kernel) in [KernelVersion::V0_2_2, KernelVersion::V0_2_4].into_iter().enumerate() {
        let seed = AccountSeed { index: U256::from(i), ..seed };
        let account = worlds.deploy(seed, kernel);
        worlds.compare_getters(account, &[]);
        worlds.compare_state(&[account]);
        println!("{:?}", worlds.ours.storage_slots(kernel.implementation()).collect::<Vec<_>>());
        println!("{:?}", worlds.theirs.storage_slots(kernel.implementation()).collect::<Vec<_>>());
    }
}

//! The contracts of the sandbox, compiled from `assets/sandbox/*.sol`, and the chain that starts with them.

use std::{collections::BTreeMap, sync::LazyLock};

use alloy::{
    primitives::{Address, Bytes, U256, address},
    sol,
    sol_types::SolCall,
};
use serde::Deserialize;

use super::{
    CHAIN_ID,
    evm::{Chain, ChainError, Request},
};
use crate::{
    erc4337::v06::ENTRY_POINT,
    protocol::kernel_v2::generation::{KERNEL_FACTORY, KernelVersion},
};

/// The sandbox's paymaster.
pub const SPONSOR: Address = address!("Ff233fe6F968de02FA548f571a91a92098690436");
/// An NFT with `mint(address)`.
pub const DEMO_NFT: Address = address!("4379a78287415741517070c0Df99c92BeE095915");
/// An ERC-20 that anyone may mint.
pub const DEMO_TOKEN: Address = address!("3481accE86Abc50d8358e3Ad38b9148B0c7Dd237");
/// A lending market on paper.
pub const DEMO_LENDING: Address = address!("f6Ed63f9a98f2bD1052fF7Ba4F8521c46CaA359E");

/// What the sponsor can spend on gas: a million ether, in wei.
const SPONSOR_DEPOSIT: U256 = U256::from_limbs([0x1bce_cced_a100_0000, 0xd3c2, 0, 0]);
/// The factory's stake, in wei, and for how long it is locked, in seconds: as on live chains.
const FACTORY_STAKE: U256 = U256::from_limbs([100_000_000_000_000_000, 0, 0, 0]);
const FACTORY_UNSTAKE_DELAY: u32 = 86_400;

sol! {
    function setImplementation(address implementation, bool allowed);
    function addStake(uint32 unstakeDelaySec) payable;
    function depositTo(address account) payable;
    function owner() returns (address);
}

/// One compiled contract and where it lives.
#[derive(Debug, Deserialize)]
pub struct Contract {
    pub name: String,
    pub address: Address,
    /// Runtime code.
    pub runtime: Bytes,
    /// What its storage holds at genesis.
    storage: BTreeMap<U256, U256>,
    /// `function name(types) returns (types)`, `event …`, `error …`.
    pub abi: Vec<String>,
}

#[derive(Deserialize)]
struct Built {
    contracts: Vec<Contract>,
}

/// All contracts of the sandbox, in the order of `assets/sandbox/contracts.json`.
pub fn contracts() -> Result<&'static [Contract], ChainError> {
    static BUILT: LazyLock<Result<Built, serde_json::Error>> =
        LazyLock::new(|| serde_json::from_str(include_str!("../../assets/sandbox/contracts.json")));
    match &*BUILT {
        Ok(built) => Ok(&built.contracts),
        Err(error) => Err(ChainError::MalformedDeployments(error.to_string())),
    }
}

/// A fresh sandbox chain at `time` (Unix seconds) whose sponsor listens to `sponsor_signer`.
pub fn genesis(time: u64, sponsor_signer: Address) -> Result<Chain, ChainError> {
    let mut chain = Chain::new(CHAIN_ID, time);
    for contract in contracts()? {
        chain.set_code(contract.address, contract.runtime.clone())?;
        for (slot, value) in &contract.storage {
            chain.set_storage(contract.address, *slot, *value);
        }
    }
    chain.set_storage(SPONSOR, U256::ZERO, sponsor_signer.into_word().into());
    open_factory(&mut chain)?;

    let deposit = depositToCall { account: SPONSOR }.abi_encode();
    run(&mut chain, "the sponsor's deposit", Request::to(ENTRY_POINT, deposit).value(SPONSOR_DEPOSIT))?;
    Ok(chain)
}

/// What the factory's owner did on live chains: allow the implementations, and stake.
fn open_factory(chain: &mut Chain) -> Result<(), ChainError> {
    let answer = chain.call(&Request::to(KERNEL_FACTORY, ownerCall {}.abi_encode()))?;
    let owner = ownerCall::abi_decode_returns(&answer.output).unwrap_or_default();
    for version in [KernelVersion::V0_2_2, KernelVersion::V0_2_4] {
        let allow = setImplementationCall { implementation: version.implementation(), allowed: true };
        run(chain, "an account implementation", Request::to(KERNEL_FACTORY, allow.abi_encode()).from(owner))?;
    }
    let stake = addStakeCall { unstakeDelaySec: FACTORY_UNSTAKE_DELAY }.abi_encode();
    run(chain, "the factory's stake", Request::to(KERNEL_FACTORY, stake).from(owner).value(FACTORY_STAKE))
}

/// Sends a transaction of genesis, with money out of nothing.
fn run(chain: &mut Chain, what: &str, request: Request) -> Result<(), ChainError> {
    chain.set_balance(request.from, request.value);
    let done = chain.execute(&request)?;
    if done.success {
        return Ok(());
    }
    Err(ChainError::NotDeployed { what: what.into(), why: format!("it reverted with {}", done.output) })
}

#[cfg(test)]
mod tests {
    use alloy::primitives::keccak256;

    use super::*;
    use crate::protocol::kernel_v2::generation::{ECDSA_VALIDATOR, Generation};

    #[test]
    fn the_contracts_live_where_the_live_ones_do() {
        let chain = genesis(1000, Address::ZERO).unwrap();
        let ours = [ENTRY_POINT, KERNEL_FACTORY, ECDSA_VALIDATOR, Generation::G2.address()];
        let implementations = [KernelVersion::V0_2_2, KernelVersion::V0_2_4].map(KernelVersion::implementation);
        for address in ours.into_iter().chain(implementations).chain([SPONSOR, DEMO_NFT, DEMO_TOKEN, DEMO_LENDING]) {
            assert!(!chain.code(address).is_empty(), "{address}");
        }
        assert_eq!(contracts().unwrap().len(), 12);
    }

    #[test]
    fn addresses_of_our_own_are_nobody_elses() {
        for (name, address) in
            [("Sponsor", SPONSOR), ("DemoNft", DEMO_NFT), ("DemoToken", DEMO_TOKEN), ("DemoLending", DEMO_LENDING)]
        {
            assert_eq!(address, Address::from_slice(&keccak256(format!("keyleash sandbox: {name}"))[12..]));
        }
    }
}

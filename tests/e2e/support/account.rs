//! Kernel accounts and session keys of the tests: each test has its own, so that they can run side by side.

use std::sync::atomic::{AtomicU64, Ordering};

use alloy::{
    primitives::{Address, Bytes, FixedBytes, Selector, U256, keccak256},
    signers::{SignerSync, local::PrivateKeySigner},
};
use keyleash::{
    policy::scope::{Permission, Scope},
    protocol::kernel_v2::{
        account::{AccountSeed, selector},
        approval::{Approval, ApprovalRequest, EnableData},
        generation::{Generation, KERNEL_FACTORY, KernelVersion},
    },
};

use super::{
    World,
    chain::{CHAIN_ID, DEPLOYER, ETHER, OWNERS, development_key, development_signer, noncesCall},
};

/// A number that no other account or key of this process has.
fn next() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// An account whose owner is one of anvil's development keys.
pub struct TestAccount {
    /// Position of the owner among the development keys.
    owner: usize,
    pub seed: AccountSeed,
    pub kernel: KernelVersion,
    pub address: Address,
}

impl TestAccount {
    /// An account that is not deployed yet and holds ten ether.
    pub fn counterfactual(world: &World, kernel: KernelVersion) -> Self {
        let number = next();
        let owner = OWNERS.start + usize::try_from(number).unwrap_or_default() % OWNERS.len();
        let seed = AccountSeed { owner: development_signer(owner).address(), index: U256::from(number) };
        let account = Self { owner, seed, kernel, address: seed.address() };
        world.chain.fund(account.address, 10 * ETHER);
        account
    }

    /// The same, deployed by a stranger through the factory.
    pub fn deployed(world: &World, kernel: KernelVersion) -> Self {
        let account = Self::counterfactual(world, kernel);
        let init_code = account.init_code();
        let (_, call) = init_code.split_at(20);
        let from = development_signer(DEPLOYER).address();
        world.chain.send_as(from, KERNEL_FACTORY, U256::ZERO, Bytes::copy_from_slice(call));
        assert!(account.is_deployed(world), "the factory deployed to another address than ours");
        account
    }

    /// Another handle on the account.
    pub fn same_as(other: &Self) -> Self {
        Self { owner: other.owner, seed: other.seed, kernel: other.kernel, address: other.address }
    }

    pub fn is_deployed(&self, world: &World) -> bool {
        !world.chain.code(self.address).is_empty()
    }

    pub fn init_code(&self) -> Bytes {
        self.seed.init_code(self.kernel)
    }

    pub fn owner(&self) -> PrivateKeySigner {
        development_signer(self.owner)
    }

    /// 64 hex digits.
    pub fn owner_key(&self) -> &'static str {
        development_key(self.owner)
    }

    /// `lastNonce` of the account on this validator.
    pub fn last_nonce(&self, world: &World, validator: Generation) -> u128 {
        world.chain.view(validator.address(), &noncesCall { account: self.address }).lastNonce
    }

    /// Signs an approval for `execute` on G2 with the next nonce.
    pub fn grant(&self, world: &World, scope: Scope) -> Grant {
        self.grant_with(world, scope, |_| {})
    }

    /// The same, with a change to what is signed.
    pub fn grant_with(&self, world: &World, scope: Scope, change: impl FnOnce(&mut ApprovalRequest)) -> Grant {
        let key = session_key();
        let validator = Generation::G2;
        let nonce = self.last_nonce(world, validator) + 1;
        let mut request = ApprovalRequest {
            chain_id: CHAIN_ID,
            account: self.address,
            kernel: self.kernel,
            validator,
            selector: selector::EXECUTE,
            executor: Address::ZERO,
            plugin_window: FixedBytes::ZERO,
            enable: EnableData::new(key.address(), &scope, nonce, validator),
        };
        change(&mut request);
        let signature = self.owner().sign_hash_sync(&request.digest()).expect("a signature").as_bytes();
        Grant { approval: Approval { request, signature: signature.into() }, permissions: scope.permissions, key }
    }
}

/// A signed approval with all that its holder needs to use it.
pub struct Grant {
    pub approval: Approval,
    pub permissions: Vec<Permission>,
    pub key: PrivateKeySigner,
}

/// A key that nothing else uses. Derived, so that runs repeat.
pub fn session_key() -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&keccak256(format!("session key {}", next()))).expect("a key")
}

/// A scope without window or paymaster.
pub fn scope(permissions: Vec<Permission>) -> Scope {
    Scope { valid_after: 0, valid_until: 0, paymaster: Address::ZERO, permissions }
}

/// A permission at position 0 for one function of one contract: no value, no conditions, no limits.
pub fn permission(target: Address, sig: [u8; 4]) -> Permission {
    Permission {
        index: 0,
        target,
        sig: Selector::new(sig),
        value_limit: U256::ZERO,
        rules: Vec::new(),
        execution_rule: Default::default(),
        operation: Default::default(),
    }
}

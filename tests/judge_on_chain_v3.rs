//! The judge of Kernel v3 against the deployed bytecode of the four kernels.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests fail loudly and read as specifications"
)]

mod support;

use alloy::primitives::{Address, B256, U256, bytes};
use keyleash::protocol::{
    AccountCall, Call,
    kernel_v3::{
        account::{self, Execution, uninstall_permission},
        contracts::KernelVersion,
        permission_config::{PermissionConfig, PermissionFlag, Signer},
        policy::{Policy, PolicyFlag, rate_limit::RateLimit, timestamp::Timestamp},
        signature::SignedBy,
    },
};
use support::deployed_v3::{Account, DeployedV3, Key, NOW, Signing, call_to, self_calls};

/// A chain, and on it an account of each kind: of the four versions, and an EOA delegated to 3.3.
fn accounts() -> Option<(DeployedV3, Key, Vec<Account>)> {
    let mut chain = DeployedV3::load()?;
    let owner = Key::number(0);
    let mut accounts: Vec<Account> = KernelVersion::ALL.into_iter().map(|v| chain.deploy(v, &owner)).collect();
    accounts.push(chain.delegate(KernelVersion::V3_3, &owner));
    Some((chain, owner, accounts))
}

#[test]
fn the_harness_grants_uses_signs_and_revokes_on_every_kernel() {
    let Some((mut chain, owner, accounts)) = accounts() else { return };
    let target = Address::repeat_byte(0x71);
    chain.install_recorder(target);
    let session = Key::number(1);
    let flag = PolicyFlag::default();
    let config = PermissionConfig {
        flag: PermissionFlag::default(),
        signer: Signer::Ecdsa(session.address()),
        policies: vec![
            Policy::Timestamp { flag, window: Timestamp { valid_after: NOW - 5, valid_until: NOW + 100 } },
            Policy::RateLimit { flag, limit: RateLimit { interval: 1, count: 3, start_at: 0 } },
        ],
    };
    let (id, hash) = (config.permission_id(), B256::repeat_byte(7));
    for account in accounts {
        let at = account.address;
        chain.grant(&owner, &session, &account, &config);
        assert_eq!(chain.session_key(id, at), session.address());
        assert_eq!((chain.window(id, at), chain.rate(id, at)), ((NOW - 5, NOW + 100), (1, 2, 1)));
        let call = Call { to: target, value: U256::from(7), data: bytes!("0102") };
        let execution = Execution::plain(AccountCall::Execute(call.clone()));
        let mined = chain.handle_ops(&[chain.use_op(&session, &account, id, &execution)]).assert_succeeded();
        assert_eq!(mined[0].recorded, [call]);
        let signature = chain.sign_for(&session, SignedBy::Permission(id), &account, hash);
        assert_eq!(chain.is_valid_signature(target, at, hash, &signature), Signing::Valid, "{account:?}");
        let root = chain.sign_for(&owner, SignedBy::Root, &account, hash);
        assert_eq!(chain.is_valid_signature(target, at, hash, &root), Signing::Valid, "{account:?}");
        let foreign = chain.sign_for(&session, SignedBy::Root, &account, hash);
        assert_eq!(chain.is_valid_signature(target, at, hash, &foreign), Signing::Invalid);
        let uninstall = uninstall_permission(id.validation_id(), 2, Default::default());
        assert!(chain.sudo(&owner, &account, &self_calls(&account, [uninstall])).all_succeeded());
        assert_eq!(chain.validation_config(at, id.validation_id()).1, Address::ZERO);
        let refused = chain.handle_ops(&[chain.use_op(&session, &account, id, &execution)]);
        assert_eq!(refused.aa_code(), Some("AA23"));
        let stop = account::invalidateNonceCall { nonce: chain.current_nonce(at) + 1 };
        let stop = AccountCall::Execute(call_to(at, alloy::sol_types::SolCall::abi_encode(&stop)));
        chain.owner_transaction(&owner, &account, &stop).unwrap();
        assert_eq!(chain.valid_nonce_from(at), chain.current_nonce(at));
    }
}

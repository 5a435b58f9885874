//! The facts of docs/kernel-v2.md as scenarios. Each says what has to happen, and has to happen on both chains.

use alloy::{
    primitives::{Address, B256, Bytes, FixedBytes, U256, Uint, bytes, keccak256},
    sol_types::{SolCall, SolValue},
};
use keyleash::{
    erc4337::v06::{ENTRY_POINT, UserOperation},
    policy::scope::{ANY_PAYMASTER, Permission},
    protocol::{
        AccountCall, Call,
        kernel_v2::{
            account::{self, AccountSeed, selector},
            approval::Approval,
            generation::{ECDSA_VALIDATOR, KERNEL_FACTORY, KernelVersion},
        },
    },
    sandbox::{
        CHAIN_ID,
        contracts::{DEMO_NFT, SPONSOR},
        evm::Request,
    },
};

use crate::{player::*, world::*};

/// One account of owner 0 on both chains, and the session keys that are tried on it.
struct Scene {
    worlds: Worlds,
    account: Address,
    kernel: KernelVersion,
}

impl Scene {
    /// A deployed account; `None` when there is nothing to compare with.
    fn deployed(kernel: KernelVersion) -> Option<Self> {
        let mut worlds = Worlds::new()?;
        let account = worlds.deploy(Self::seed(), kernel);
        Some(Self { worlds, account, kernel })
    }

    fn seed() -> AccountSeed {
        AccountSeed { owner: owner(0).address(), index: U256::from(77) }
    }

    fn grant(&self, key: usize, scope: usize, nonce: u128) -> Grant {
        Grant::new(self.account, self.kernel, &session_key(key), permissions(scope, self.account), nonce)
    }

    /// An approval of `execute` by the first owner.
    fn approve(&self, key: usize, scope: usize, nonce: u128) -> Approval {
        self.grant(key, scope, nonce).sign(&owner(0))
    }

    fn key_op(
        &self,
        key: usize,
        shown: &[Permission],
        form: AccountForm,
        calls: &[Call],
        approval: Option<&Approval>,
    ) -> UserOperation {
        let (account_call, proof) = shaped(form, calls, shown);
        let mut op = self.worlds.op(self.account, 1, account_call.encode());
        sign_as_key(&mut op, &session_key(key), approval, &proof);
        op
    }

    /// The key's operation alone in a bundle: the scope's first fitting permission for one call.
    fn act(&mut self, key: usize, scope: usize, number: usize, approval: Option<&Approval>) -> Seen {
        let call = call(number, self.account, session_key(key).address());
        let op = self.key_op(key, &permissions(scope, self.account), AccountForm::Execute, &[call], approval);
        self.worlds.handle(&[op])
    }

    fn batch(&mut self, key: usize, scope: usize, calls: &[Call], approval: Option<&Approval>) -> Seen {
        let op = self.key_op(key, &permissions(scope, self.account), AccountForm::Batch, calls, approval);
        self.worlds.handle(&[op])
    }

    fn sudo(&mut self, data: impl Into<Bytes>) -> Seen {
        let mut op = self.worlds.op(self.account, 2, data.into());
        sign_as_owner(&mut op, &owner(0));
        self.worlds.handle(&[op])
    }

    /// A call of the validator by a sudo operation.
    fn tell_validator(&mut self, data: impl Into<Bytes>) -> Seen {
        self.sudo(execute(SKV, data.into()))
    }

    fn disable(&mut self, data: &[u8]) -> Seen {
        self.tell_validator(account::disableCall { data: Bytes::copy_from_slice(data) }.abi_encode())
    }
}

#[track_caller]
fn succeeds(seen: &Seen) {
    assert_eq!(seen.successes(), [true], "{:?}", seen.answer);
}

#[track_caller]
fn is_refused(seen: &Seen, words: &str) {
    assert!(!seen.mined() && seen.reason().contains(words), "{:?} instead of {words}", seen.answer);
}

const KERNELS: [KernelVersion; 2] = [KernelVersion::V0_2_2, KernelVersion::V0_2_4];
const NOT_ENABLED: &str = "AA23 reverted: SessionKeyValidator: session key not enabled";
const WRONG_NONCE: &str = "AA23 reverted: SessionKeyValidator: invalid nonce";
const NO_TEXT: &str = "AA23 reverted (or OOG)";

/// Runs a scenario with both Kernel versions.
fn on_both_kernels(scenario: impl Fn(Scene)) {
    for kernel in KERNELS {
        if let Some(scene) = Scene::deployed(kernel) {
            scenario(scene);
        }
    }
}

#[test]
fn one_operation_deploys_enables_and_uses() {
    for kernel in KERNELS {
        let Some(worlds) = Worlds::new() else { return };
        let seed = Scene::seed();
        let mut scene = Scene { worlds, account: seed.address(), kernel };
        scene.worlds.set_balance(scene.account, ETHER);
        let approval = scene.approve(0, 1, 1);
        let mint = call(0, scene.account, Address::ZERO);
        let (account_call, proof) = shaped(AccountForm::Execute, &[mint], &permissions(1, scene.account));
        let mut op = scene.worlds.op(scene.account, 0, account_call.encode());
        op.init_code = seed.init_code(kernel);
        sign_as_key(&mut op, &session_key(0), Some(&approval), &proof);
        succeeds(&scene.worlds.handle(std::slice::from_ref(&op)));
        assert_eq!(scene.worlds.nonces(scene.account), (1, 0));
        is_refused(&scene.worlds.handle(&[op]), "AA10 sender already constructed");
    }
}

#[test]
fn an_account_that_a_stranger_deployed_otherwise_has_its_address_but_not_its_approvals() {
    let Some(mut worlds) = Worlds::new() else { return };
    let seed = Scene::seed();
    let create = seed.init_code(KernelVersion::V0_2_2).slice(20..);
    assert!(worlds.transact(&Request::to(KERNEL_FACTORY, create.clone()).from(FRIEND)).mined());
    // once more: the factory answers with the address
    assert!(worlds.transact(&Request::to(KERNEL_FACTORY, create)).mined());
    let mut scene = Scene { worlds, account: seed.address(), kernel: KernelVersion::V0_2_4 };
    let approval = scene.approve(0, 1, 1);
    is_refused(&scene.act(0, 1, 0, Some(&approval)), "AA24 signature error");
}

#[test]
fn an_implementation_that_is_not_allowed_is_not_deployed() {
    let Some(mut worlds) = Worlds::new() else { return };
    let call = account::createAccountCall { implementation: FRIEND, data: Bytes::new(), index: U256::ZERO };
    let seen = worlds.transact(&Request::to(KERNEL_FACTORY, call.abi_encode()));
    assert_eq!(seen.reason(), "KernelFactory: implementation not allowed");
}

#[test]
fn a_used_approval_cannot_be_used_again_and_the_key_goes_on_without_it() {
    on_both_kernels(|mut scene| {
        let approval = scene.approve(0, 1, 1);
        succeeds(&scene.act(0, 1, 0, Some(&approval)));
        is_refused(&scene.act(0, 1, 0, Some(&approval)), WRONG_NONCE);
        succeeds(&scene.act(0, 1, 0, None));
        is_refused(&scene.act(0, 1, 1, None), "SessionKeyValidator: permission verification failed");
        is_refused(&scene.act(0, 1, 5, None), "SessionKeyValidator: target mismatch");
        is_refused(&scene.act(0, 1, 13, None), "SessionKeyValidator: value limit exceeded");
        is_refused(&scene.act(1, 1, 0, None), NOT_ENABLED);
    });
}

#[test]
fn a_session_signature_may_be_turned_over_but_an_owners_may_not() {
    /// The other signature of the same message by the same key: (r, n - s), v flipped.
    fn turned_over(op: &UserOperation, at: usize) -> Bytes {
        let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
        let order = U256::from_str_radix(order, 16).unwrap();
        let mut bytes = op.signature.to_vec();
        let s = U256::from_be_slice(&bytes[at + 32..at + 64]);
        bytes[at + 32..at + 64].copy_from_slice(&(order - s).to_be_bytes::<32>());
        bytes[at + 64] ^= 27 ^ 28;
        bytes.into()
    }
    on_both_kernels(|mut scene| {
        let approval = scene.approve(0, 1, 1);
        succeeds(&scene.act(0, 1, 0, Some(&approval)));
        let mint = call(0, scene.account, Address::ZERO);
        let mut op = scene.key_op(0, &permissions(1, scene.account), AccountForm::Execute, &[mint], None);
        op.signature = turned_over(&op, 24);
        succeeds(&scene.worlds.handle(&[op]));
        let mut op = scene.worlds.op(scene.account, 2, Bytes::new());
        sign_as_owner(&mut op, &owner(0));
        op.signature = turned_over(&op, 4);
        is_refused(&scene.worlds.handle(&[op]), NO_TEXT);
    });
}

#[test]
fn a_malformed_approval_is_refused_in_words_only_by_0_2_4() {
    on_both_kernels(|mut scene| {
        let mut approval = scene.approve(0, 1, 1);
        approval.signature = approval.signature.slice(..64);
        let seen = scene.act(0, 1, 0, Some(&approval));
        match scene.kernel {
            KernelVersion::V0_2_4 => {
                is_refused(&seen, "AA23 reverted: Kernel::_validateSignature: failed to validate signature")
            }
            _ => is_refused(&seen, NO_TEXT),
        }
    });
}

#[test]
fn a_failed_enabling_operation_still_enables() {
    on_both_kernels(|mut scene| {
        let approval = scene.approve(0, 10, 1);
        assert_eq!(scene.act(0, 10, 9, Some(&approval)).successes(), [false]);
        assert_eq!(scene.worlds.nonces(scene.account), (1, 0));
        assert_eq!(scene.act(0, 10, 9, None).successes(), [false]);
    });
}

#[test]
fn disabling_a_pending_key_does_nothing() {
    on_both_kernels(|mut scene| {
        succeeds(&scene.disable(session_key(0).address().as_slice()));
        let approval = scene.approve(0, 1, 1);
        succeeds(&scene.act(0, 1, 0, Some(&approval)));
        succeeds(&scene.disable(session_key(0).address().as_slice()));
        is_refused(&scene.act(0, 1, 0, None), NOT_ENABLED);
        is_refused(&scene.act(0, 1, 0, Some(&approval)), WRONG_NONCE);
    });
}

#[test]
fn a_sweep_below_the_last_nonce_rewinds() {
    on_both_kernels(|mut scene| {
        let approvals: Vec<_> = (0..3).map(|i| scene.approve(i, 1, i as u128 + 1)).collect();
        for (key, approval) in approvals.iter().enumerate() {
            succeeds(&scene.act(key, 1, 0, Some(approval)));
        }
        succeeds(&scene.disable(session_key(1).address().as_slice()));
        succeeds(&scene.disable(&1u128.to_be_bytes()));
        assert_eq!(scene.worlds.nonces(scene.account), (1, 1));
        is_refused(&scene.act(0, 1, 0, None), NOT_ENABLED);
        // the key that was taken back by name is there again
        succeeds(&scene.act(1, 1, 0, Some(&approvals[1])));
        assert_eq!(scene.disable(&1u128.to_be_bytes()).successes(), [false]);
    });
}

#[test]
fn revoke_all_ends_active_keys_not_pending_ones_and_reverts_when_there_is_nothing() {
    on_both_kernels(|mut scene| {
        assert_eq!(scene.disable(&[]).successes(), [false]);
        let first = scene.approve(0, 1, 1);
        succeeds(&scene.act(0, 1, 0, Some(&first)));
        succeeds(&scene.disable(&[9; 33]));
        is_refused(&scene.act(0, 1, 0, None), NOT_ENABLED);
        assert_eq!(scene.disable(&[]).successes(), [false]);
        let second = scene.approve(1, 1, 2);
        succeeds(&scene.act(1, 1, 0, Some(&second)));
    });
}

#[test]
fn the_highest_nonce_bricks_the_feature() {
    on_both_kernels(|mut scene| {
        succeeds(&scene.disable(&u128::MAX.to_be_bytes()));
        let approval = scene.approve(0, 1, 1);
        is_refused(&scene.act(0, 1, 0, Some(&approval)), NO_TEXT);
        assert_eq!(scene.disable(&[]).successes(), [false]);
    });
}

#[test]
fn a_burnt_nonce_is_gone_and_the_others_live_on() {
    on_both_kernels(|mut scene| {
        let pending = scene.approve(1, 1, 2);
        let first = scene.approve(0, 1, 1);
        is_refused(&scene.act(1, 1, 0, Some(&pending)), WRONG_NONCE); // its turn has not come
        succeeds(&scene.act(0, 1, 0, Some(&first)));
        succeeds(&scene.tell_validator(burn(2)));
        is_refused(&scene.act(1, 1, 0, Some(&pending)), WRONG_NONCE);
        succeeds(&scene.act(0, 1, 0, None));
    });
}

#[test]
fn a_sweep_is_all_or_nothing() {
    on_both_kernels(|mut scene| {
        let everything = account::disableCall { data: Bytes::new() }.abi_encode().into();
        let sweep = batch([burn(1), burn(2), everything].into_iter().map(|data| (SKV, data)));
        let racing = scene.approve(0, 1, 1);
        let mut raced = scene.worlds.clone();
        succeeds(&scene.sudo(sweep.clone()));
        assert_eq!(scene.worlds.nonces(scene.account), (2, 2));
        is_refused(&scene.act(0, 1, 0, Some(&racing)), WRONG_NONCE);
        // the agent was faster: the sweep reverts as a whole
        std::mem::swap(&mut scene.worlds, &mut raced);
        succeeds(&scene.act(0, 1, 0, Some(&racing)));
        assert_eq!(scene.sudo(sweep).successes(), [false]);
        assert_eq!(scene.worlds.nonces(scene.account), (1, 0));
    });
}

#[test]
fn panic_stops_every_session_key_until_it_is_lifted() {
    on_both_kernels(|mut scene| {
        let (first, second) = (scene.approve(0, 1, 1), scene.approve(1, 1, 2));
        succeeds(&scene.act(0, 1, 0, Some(&first)));
        succeeds(&scene.sudo(disable_mode(0xffff_ffff)));
        is_refused(&scene.act(0, 1, 0, None), NO_TEXT);
        is_refused(&scene.act(1, 1, 0, Some(&second)), NO_TEXT);
        // only mode 1: pending keys still enable
        succeeds(&scene.sudo(disable_mode(1)));
        is_refused(&scene.act(0, 1, 0, None), NO_TEXT);
        succeeds(&scene.act(1, 1, 0, Some(&second)));
        succeeds(&scene.sudo(disable_mode(4)));
        succeeds(&scene.act(0, 1, 0, None));
    });
}

#[test]
fn a_new_owner_ends_pending_approvals_but_not_enabled_keys() {
    on_both_kernels(|mut scene| {
        let (first, second) = (scene.approve(0, 1, 1), scene.approve(1, 1, 2));
        succeeds(&scene.act(0, 1, 0, Some(&first)));
        succeeds(&scene.sudo(execute(ECDSA_VALIDATOR, account::enable_key(owner(1).address().as_slice()))));
        is_refused(&scene.act(1, 1, 0, Some(&second)), "AA24 signature error");
        succeeds(&scene.act(0, 1, 0, None));
        is_refused(&scene.sudo(Bytes::new()), "AA24 signature error");
        // back again, by the new owner's own transaction
        let back = execute(ECDSA_VALIDATOR, account::enable_key(owner(0).address().as_slice()));
        let request = Request::to(scene.account, back).from(owner(1).address());
        assert!(scene.worlds.transact(&request).mined());
        succeeds(&scene.act(1, 1, 0, Some(&second)));
    });
}

#[test]
fn some_paymaster_is_satisfied_by_twenty_zero_bytes() {
    on_both_kernels(|mut scene| {
        let mut grant = scene.grant(0, 1, 1);
        grant.scope.paymaster = ANY_PAYMASTER;
        let approval = grant.sign(&owner(0));
        is_refused(&scene.act(0, 1, 0, Some(&approval)), "SessionKeyValidator: paymaster not set");
        let mint = call(0, scene.account, Address::ZERO);
        let (account_call, proof) = shaped(AccountForm::Execute, &[mint], &permissions(1, scene.account));
        let mut op = scene.worlds.op(scene.account, 1, account_call.encode());
        op.paymaster_and_data = Bytes::from_static(&[0; 20]);
        sign_as_key(&mut op, &session_key(0), Some(&approval), &proof);
        succeeds(&scene.worlds.handle(&[op]));
    });
}

#[test]
fn an_exact_paymaster_is_enforced_and_pays() {
    on_both_kernels(|mut scene| {
        let mut grant = scene.grant(0, 1, 1);
        grant.scope.paymaster = SPONSOR;
        let approval = grant.sign(&owner(0));
        is_refused(&scene.act(0, 1, 0, Some(&approval)), NO_TEXT);
        let mint = call(0, scene.account, Address::ZERO);
        let (account_call, proof) = shaped(AccountForm::Execute, &[mint], &permissions(1, scene.account));
        let unpaid = scene.worlds.op(scene.account, 1, account_call.encode());
        let send = |scene: &mut Scene, paymaster_and_data: Bytes| {
            let mut op = UserOperation {
                max_fee_per_gas: U256::ONE,
                max_priority_fee_per_gas: U256::ONE,
                paymaster_and_data,
                ..unpaid.clone()
            };
            sign_as_key(&mut op, &session_key(0), Some(&approval), &proof);
            scene.worlds.handle(&[op])
        };
        let with_fee =
            UserOperation { max_fee_per_gas: U256::ONE, max_priority_fee_per_gas: U256::ONE, ..unpaid.clone() };
        scene.worlds.set_balance(scene.account, U256::ZERO);
        is_refused(&send(&mut scene, FRIEND.as_slice().to_vec().into()), "SessionKeyValidator: paymaster mismatch");
        let late = sponsored(&with_fee, NOW - 1, 0, &sponsor_key());
        is_refused(&send(&mut scene, late), "AA32 paymaster expired or not due");
        let forged = sponsored(&with_fee, 0, 0, &owner(0));
        is_refused(&send(&mut scene, forged), "AA34 signature error");
        let good = sponsored(&with_fee, 0, 0, &sponsor_key());
        succeeds(&send(&mut scene, good));
        assert_eq!(scene.worlds.ours.balance(scene.account), U256::ZERO);
    });
}

#[test]
fn an_account_without_money_does_not_get_in() {
    on_both_kernels(|mut scene| {
        scene.worlds.set_balance(scene.account, U256::from(1000));
        let mut op =
            scene.worlds.op(scene.account, 0, execute(DEMO_NFT, Demo::mintCall { to: FRIEND }.abi_encode().into()));
        (op.max_fee_per_gas, op.max_priority_fee_per_gas) = (U256::ONE, U256::ONE);
        sign_as_owner(&mut op, &owner(0));
        is_refused(&scene.worlds.handle(std::slice::from_ref(&op)), "AA21 didn't pay prefund");
        // a deposit counts as well; what is not spent stays there
        scene.worlds.set_balance(BUNDLER, ETHER);
        let deposit = EntryPoint::depositToCall { account: scene.account }.abi_encode();
        let money = U256::from(10_000_000);
        scene.worlds.transact(&Request::to(ENTRY_POINT, deposit).from(BUNDLER).value(money));
        succeeds(&scene.worlds.handle(&[op]));
    });
}

#[test]
fn runs_are_used_up_by_calls_that_revert_too() {
    on_both_kernels(|mut scene| {
        let reverting = permissions(10, scene.account)[0].clone();
        let limited = Permission {
            execution_rule: keyleash::policy::scope::ExecutionRule { valid_after: 0, interval: 0, runs: 2 },
            ..reverting
        };
        let list = vec![limited];
        let approval = Grant::new(scene.account, scene.kernel, &session_key(0), list.clone(), 1).sign(&owner(0));
        let call = call(9, scene.account, Address::ZERO);
        for (turn, outcome) in [Some(&approval), None].into_iter().zip([false, false]) {
            let op = scene.key_op(0, &list, AccountForm::Execute, std::slice::from_ref(&call), turn);
            assert_eq!(scene.worlds.handle(&[op]).successes(), [outcome]);
        }
        let op = scene.key_op(0, &list, AccountForm::Execute, &[call], None);
        is_refused(&scene.worlds.handle(&[op]), "SessionKeyValidator: runs exceeded");
    });
}

#[test]
fn missed_slots_of_an_interval_can_be_used_in_a_burst() {
    on_both_kernels(|mut scene| {
        let approval = scene.approve(0, 3, 1);
        // scope 3, first permission: from NOW, every hour, three times
        let mint_anyone = 1;
        succeeds(&scene.act(0, 3, mint_anyone, Some(&approval)));
        is_refused(&scene.act(0, 3, mint_anyone, None), "AA22 expired or not due");
        scene.worlds.set_time(NOW + 7200);
        succeeds(&scene.act(0, 3, mint_anyone, None));
        succeeds(&scene.act(0, 3, mint_anyone, None));
        is_refused(&scene.act(0, 3, mint_anyone, None), "SessionKeyValidator: runs exceeded");
    });
}

#[test]
fn windows_are_inclusive_at_both_ends() {
    on_both_kernels(|mut scene| {
        let mut grant = scene.grant(0, 1, 1);
        (grant.scope.valid_after, grant.scope.valid_until) = (NOW + 100, NOW + 200);
        let approval = grant.sign(&owner(0));
        for (time, works) in [(NOW + 99, false), (NOW + 100, true), (NOW + 200, true), (NOW + 201, false)] {
            let mut at = scene.worlds.clone();
            at.set_time(time);
            std::mem::swap(&mut at, &mut scene.worlds);
            let seen = scene.act(0, 1, 0, Some(&approval));
            std::mem::swap(&mut at, &mut scene.worlds);
            if works { succeeds(&seen) } else { is_refused(&seen, "AA22 expired or not due") }
        }
    });
}

#[test]
fn batches_need_their_own_approval_and_one_permission_a_call() {
    on_both_kernels(|mut scene| {
        let first = scene.approve(0, 2, 1);
        let mints = [call(1, scene.account, Address::ZERO), call(2, scene.account, Address::ZERO)];
        succeeds(&scene.act(0, 2, 1, Some(&first)));
        is_refused(&scene.batch(0, 2, &mints, None), NO_TEXT); // executeBatch is not routed
        let mut grant = scene.grant(1, 2, 2);
        grant.selector = selector::EXECUTE_BATCH;
        let second = grant.sign(&owner(0));
        succeeds(&scene.batch(1, 2, &mints, Some(&second)));
        // opened for one, opened for all; the runs of one batch count one by one
        succeeds(&scene.batch(0, 2, &mints, None));
        is_refused(&scene.batch(0, 2, &mints, None), "SessionKeyValidator: runs exceeded");
        succeeds(&scene.batch(0, 2, &[], None));
        // fewer permissions than calls
        let list = permissions(2, scene.account);
        let (_, proof) = shaped(AccountForm::Batch, &mints[..1], &list);
        let mut op = scene.worlds.op(scene.account, 0, batch_of(vec![mints[1].clone(), mints[1].clone()]));
        sign_as_key(&mut op, &session_key(1), None, &proof);
        is_refused(&scene.worlds.handle(&[op]), "AA23");
    });
}

#[test]
fn delegate_calls_exist_from_0_2_3_on() {
    on_both_kernels(|mut scene| {
        let mut grant = scene.grant(0, 6, 1);
        grant.selector = selector::EXECUTE_DELEGATE_CALL;
        let approval = grant.sign(&owner(0));
        let list = permissions(6, scene.account);
        let mint = call(0, scene.account, Address::ZERO);
        let op = scene.key_op(0, &list, AccountForm::Delegate, &[mint], Some(&approval));
        // mined with success in any case; on 0.2.2 it does nothing
        succeeds(&scene.worlds.handle(&[op]));
        let written = scene.worlds.ours.storage(scene.account, U256::ZERO);
        assert_eq!(written, U256::from(scene.kernel.has_delegate_call()));
    });
}

#[test]
fn a_key_that_may_call_the_validator_can_end_itself() {
    on_both_kernels(|mut scene| {
        let approval = scene.approve(0, 6, 1);
        succeeds(&scene.act(0, 6, 8, Some(&approval)));
        is_refused(&scene.act(0, 6, 8, None), NOT_ENABLED);
    });
}

#[test]
fn a_key_without_permissions_may_do_everything() {
    on_both_kernels(|mut scene| {
        let approval = scene.approve(0, 0, 1);
        succeeds(&scene.act(0, 0, 11, Some(&approval)));
        assert_eq!(scene.worlds.owner(scene.account), session_key(0).address());
    });
}

#[test]
fn who_may_call_the_account_directly() {
    on_both_kernels(|mut scene| {
        let account = scene.account;
        let mint = execute(DEMO_NFT, Demo::mintCall { to: account }.abi_encode().into());
        let answer = |scene: &mut Scene, from: Address, data: &Bytes| {
            scene.worlds.transact(&Request::to(account, data.clone()).from(from)).answer
        };
        let refused = |selector: [u8; 4]| Answer::Reverted(Bytes::copy_from_slice(&selector));
        assert_eq!(answer(&mut scene, owner(0).address(), &mint), Answer::Done(U256::ONE.abi_encode().into()));
        assert_eq!(answer(&mut scene, FRIEND, &mint), refused([0x70, 0x46, 0xc8, 0x8d]));
        let two = batch([(DEMO_NFT, Demo::mintCall { to: account }.abi_encode().into())].into_iter());
        assert!(matches!(answer(&mut scene, owner(0).address(), &two), Answer::Done(_)));
        assert_eq!(answer(&mut scene, account, &two), refused([0x70, 0x46, 0xc8, 0x8d]));
        assert_eq!(answer(&mut scene, owner(0).address(), &disable_mode(1)), refused([0x70, 0x46, 0xc8, 0x8d]));
        let deprecated = account::executeCall { to: FRIEND, value: U256::ZERO, data: Bytes::new(), operation: 1 };
        let deprecated = deprecated.abi_encode().into();
        assert_eq!(answer(&mut scene, owner(0).address(), &deprecated), refused([0x67, 0xce, 0x77, 0x59]));
        // once the function is routed to it, the session key validator reverts instead of saying no
        let approval = scene.approve(0, 1, 1);
        succeeds(&scene.act(0, 1, 0, Some(&approval)));
        assert_eq!(answer(&mut scene, FRIEND, &mint), refused([0xd6, 0x23, 0x47, 0x25]));
    });
}

#[test]
fn the_owner_enables_a_key_on_chain() {
    on_both_kernels(|mut scene| {
        let data = scene.grant(0, 1, 1).enable_data().encode();
        let route = account::set_execution(selector::EXECUTE, SKV, &data);
        // from the owner's own address only through the account itself
        let direct = Request::to(scene.account, route.clone()).from(owner(0).address());
        assert!(!scene.worlds.transact(&direct).mined());
        let wrapped = Request::to(scene.account, execute(scene.account, route)).from(owner(0).address());
        assert!(scene.worlds.transact(&wrapped).mined());
        succeeds(&scene.act(0, 1, 0, None));
        succeeds(&scene.tell_validator(account::enable_key(&scene.grant(1, 1, 2).enable_data().encode())));
        succeeds(&scene.act(1, 1, 0, None));
    });
}

#[test]
fn a_bundle_validates_all_before_it_executes_any() {
    on_both_kernels(|mut scene| {
        let approval = scene.approve(0, 1, 1);
        succeeds(&scene.act(0, 1, 0, Some(&approval)));
        let mut revoke =
            scene.worlds.op(scene.account, 2, execute(SKV, account::disable_key(session_key(0).address())));
        sign_as_owner(&mut revoke, &owner(0));
        let mint = call(0, scene.account, Address::ZERO);
        let agent = scene.key_op(0, &permissions(1, scene.account), AccountForm::Execute, &[mint], None);
        let seen = scene.worlds.handle(&[revoke, agent]);
        assert_eq!(seen.successes(), [true, true]);
        is_refused(&scene.act(0, 1, 0, None), NOT_ENABLED);
        // mode 2, then mode 1, for one account in one bundle
        let next = scene.approve(1, 1, 2);
        let list = permissions(1, scene.account);
        let mint = call(0, scene.account, Address::ZERO);
        let enabling = scene.key_op(1, &list, AccountForm::Execute, std::slice::from_ref(&mint), Some(&next));
        let (account_call, proof) = shaped(AccountForm::Execute, &[mint], &list);
        let mut using = scene.worlds.op(scene.account, 0, account_call.encode());
        sign_as_key(&mut using, &session_key(1), None, &proof);
        assert_eq!(scene.worlds.handle(&[enabling, using]).successes(), [true, true]);
    });
}

#[test]
fn an_agent_bundles_its_own_operation_and_keeps_the_fee() {
    on_both_kernels(|mut scene| {
        let approval = scene.approve(0, 1, 1);
        let mint = call(0, scene.account, Address::ZERO);
        let (account_call, proof) = shaped(AccountForm::Execute, &[mint], &permissions(1, scene.account));
        let mut op = scene.worlds.op(scene.account, 0, account_call.encode());
        op.pre_verification_gas = U256::from(900_000_000u64);
        (op.max_fee_per_gas, op.max_priority_fee_per_gas) = (U256::from(1_000_000_000), U256::from(1_000_000_000));
        sign_as_key(&mut op, &session_key(0), Some(&approval), &proof);
        let agent = session_key(0).address();
        let bundle = EntryPoint::handleOpsCall { ops: vec![packed(&op)], beneficiary: agent }.abi_encode();
        succeeds(&scene.worlds.transact(&Request::to(ENTRY_POINT, bundle).from(agent)));
        let taken = scene.worlds.ours.balance(agent);
        assert!(taken > ETHER * U256::from(9) / U256::from(10), "{taken}");
    });
}

#[test]
fn erc_1271_covers_the_bare_hash_before_0_2_3_and_the_domain_after() {
    on_both_kernels(|scene| {
        let hash = keccak256("order");
        let separator = keccak256(
            (
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Kernel"),
                keccak256(scene.kernel.as_str()),
                U256::from(CHAIN_ID),
                scene.account,
            )
                .abi_encode(),
        );
        let inside = keccak256([&[0x19, 1], separator.as_slice(), hash.as_slice()].concat());
        let signed = if scene.kernel == KernelVersion::V0_2_2 { hash } else { inside };
        let ask = |scene: &Scene, signature: Vec<u8>| {
            let question = Kernel::isValidSignatureCall { hash, signature: signature.into() };
            scene.worlds.call(&Request::to(scene.account, question.abi_encode()))
        };
        let word = |value: [u8; 4]| Answer::Done(FixedBytes::<32>::right_padding_from(&value).to_vec().into());
        for signature in [owner(0).sign_raw(signed), owner(0).sign_message(signed)] {
            assert_eq!(ask(&scene, signature.to_vec()), word([0x16, 0x26, 0xba, 0x7e]));
        }
        assert_eq!(ask(&scene, owner(1).sign_raw(signed).to_vec()), word([0xff; 4]));
        let other = if signed == hash { inside } else { hash };
        assert_eq!(ask(&scene, owner(0).sign_raw(other).to_vec()), word([0xff; 4]));
        assert!(!matches!(ask(&scene, vec![1; 64]), Answer::Done(_)));
        // a signature without the domain, for plugins
        let plain = Kernel::validateSignatureCall { hash, signature: owner(0).sign_raw(hash).to_vec().into() };
        assert_eq!(
            scene.worlds.call(&Request::to(scene.account, plain.abi_encode())),
            Answer::Done(U256::ZERO.abi_encode().into())
        );
    });
}

#[test]
fn settings_of_the_account_leave_the_same_events() {
    on_both_kernels(|mut scene| {
        let other = KERNELS.into_iter().find(|kernel| *kernel != scene.kernel).unwrap();
        let new_owner = Bytes::copy_from_slice(owner(0).address().as_slice());
        succeeds(
            &scene.sudo(Kernel::setDefaultValidatorCall { validator: ECDSA_VALIDATOR, data: new_owner }.abi_encode()),
        );
        let upgrade = scene.sudo(Kernel::upgradeToCall { implementation: other.implementation() }.abi_encode());
        succeeds(&upgrade);
        assert!(upgrade.events.iter().any(|(_, topics, _)| topics[0] == keccak256("Upgraded(address)")));
        scene.kernel = other;
        let approval = scene.approve(0, 1, 1);
        succeeds(&scene.act(0, 1, 0, Some(&approval)));
        assert_eq!(
            scene
                .sudo(account::initializeCall { defaultValidator: FRIEND, data: Bytes::new() }.abi_encode())
                .successes(),
            [false]
        );
        let received = scene.worlds.transact(&Request::to(scene.account, Bytes::new()).value(U256::ZERO));
        assert_eq!(received.events.len(), 1);
        let hook = Kernel::onERC721ReceivedCall { operator: FRIEND, from: FRIEND, id: U256::ONE, data: Bytes::new() };
        assert!(matches!(scene.worlds.call(&Request::to(scene.account, hook.abi_encode())), Answer::Done(_)));
        scene.worlds.compare_getters(scene.account, &[session_key(0).address()], &[selector::EXECUTE]);
    });
}

#[test]
fn nobody_initializes_an_implementation_or_validates_for_it() {
    let Some(mut worlds) = Worlds::new() else { return };
    for kernel in KERNELS {
        let data = Bytes::copy_from_slice(FRIEND.as_slice());
        let take = account::initializeCall { defaultValidator: ECDSA_VALIDATOR, data }.abi_encode();
        let refused = worlds.transact(&Request::to(kernel.implementation(), take)).answer;
        assert_eq!(refused, Answer::Reverted(bytes!("0dc149f0")));
        let ask =
            Kernel::validateUserOpCall { op: PackedOp::default(), userOpHash: B256::ZERO, missingFunds: U256::ZERO };
        let refused = worlds.call(&Request::to(kernel.implementation(), ask.abi_encode()));
        assert_eq!(refused, Answer::Reverted(bytes!("d663742a")));
    }
    for ask in [
        Kernel::validCallerCall { caller: FRIEND, data: Bytes::new() }.abi_encode(),
        Kernel::validateSignatureCall { hash: B256::ZERO, signature: Bytes::new() }.abi_encode(),
    ] {
        assert_eq!(worlds.call(&Request::to(SKV, ask)), Answer::Reverted(bytes!("d6234725")));
    }
}

#[test]
fn the_entry_point_keeps_deposits_stakes_and_nonces() {
    let Some(mut worlds) = Worlds::new() else { return };
    let someone = Key::anvil(4).address();
    worlds.set_balance(someone, ETHER);
    let call = |data: Vec<u8>| Request::to(ENTRY_POINT, data).from(someone);
    let tries = [
        call(EntryPoint::unlockStakeCall {}.abi_encode()),
        call(EntryPoint::withdrawStakeCall { to: someone }.abi_encode()),
        call(EntryPoint::addStakeCall { delay: 0 }.abi_encode()),
        call(EntryPoint::addStakeCall { delay: 10 }.abi_encode()),
        call(EntryPoint::addStakeCall { delay: 10 }.abi_encode()).value(U256::from(1000)),
        call(EntryPoint::addStakeCall { delay: 9 }.abi_encode()),
        call(EntryPoint::withdrawStakeCall { to: someone }.abi_encode()),
        call(EntryPoint::unlockStakeCall {}.abi_encode()),
        call(EntryPoint::unlockStakeCall {}.abi_encode()),
        call(EntryPoint::withdrawStakeCall { to: FRIEND }.abi_encode()),
        call(EntryPoint::withdrawToCall { to: FRIEND, amount: U256::ONE }.abi_encode()),
        call(vec![]).value(U256::from(500)),
        call(EntryPoint::withdrawToCall { to: FRIEND, amount: U256::from(501) }.abi_encode()),
        call(EntryPoint::withdrawToCall { to: FRIEND, amount: U256::from(200) }.abi_encode()),
        call(EntryPoint::withdrawToCall { to: SKV, amount: U256::from(200) }.abi_encode()),
        call(EntryPoint::incrementNonceCall { key: Uint::from(7) }.abi_encode()),
        call(EntryPoint::getNonceCall { sender: someone, key: Uint::from(7) }.abi_encode()),
        call(EntryPoint::getDepositInfoCall { account: someone }.abi_encode()),
        call(EntryPoint::balanceOfCall { account: someone }.abi_encode()),
        call(EntryPoint::getDepositInfoCall { account: KERNEL_FACTORY }.abi_encode()),
    ];
    for request in &tries {
        worlds.transact(request);
        worlds.call(request);
    }
    worlds.set_time(NOW + 11);
    assert!(worlds.transact(&call(EntryPoint::withdrawStakeCall { to: FRIEND }.abi_encode())).mined());
}

#[test]
fn the_entry_point_simulates() {
    on_both_kernels(|scene| {
        let seed = AccountSeed { index: U256::from(5), ..Scene::seed() };
        let ask = |data: Vec<u8>| scene.worlds.call(&Request::to(ENTRY_POINT, data));
        let init_code = seed.init_code(scene.kernel);
        let expected = Bytes::from([&bytes!("6ca7b806")[..], &seed.address().abi_encode()].concat());
        let sender = ask(EntryPoint::getSenderAddressCall { initCode: init_code.clone() }.abi_encode());
        assert_eq!(sender, Answer::Reverted(expected));

        let mut op = scene.worlds.op(seed.address(), 0, Bytes::new());
        let simulate = |op: &UserOperation| ask(EntryPoint::simulateValidationCall { op: packed(op) }.abi_encode());
        assert_eq!(simulate(&op), Answer::FailedOp(0, "AA20 account not deployed".into()));
        op.paymaster_and_data = FRIEND.as_slice().to_vec().into();
        op.init_code = init_code;
        assert_eq!(simulate(&op), Answer::FailedOp(0, "AA30 paymaster not deployed".into()));
        op.paymaster_and_data = Bytes::new();
        sign_as_owner(&mut op, &owner(0));
        let Answer::Validated(result) = simulate(&op) else { panic!("{:?}", simulate(&op)) };
        assert!(!result.returnInfo.sigFailed && result.factory.stake > U256::ZERO);
        sign_as_owner(&mut op, &owner(1));
        assert!(matches!(simulate(&op), Answer::Validated(r) if r.returnInfo.sigFailed));
        let hash = ask(EntryPoint::getUserOpHashCall { op: packed(&op) }.abi_encode());
        assert_eq!(hash, Answer::Done(op.hash(ENTRY_POINT, CHAIN_ID).to_vec().into()));

        // a whole operation, and one call after it
        let mut op =
            scene.worlds.op(scene.account, 0, execute(DEMO_NFT, Demo::mintCall { to: FRIEND }.abi_encode().into()));
        sign_as_owner(&mut op, &owner(0));
        let question = EntryPoint::simulateHandleOpCall {
            op: packed(&op),
            target: DEMO_NFT,
            targetCallData: EntryPoint::balanceOfCall { account: FRIEND }.abi_encode().into(),
        };
        let Answer::Executed(result) = ask(question.abi_encode()) else { panic!("not executed") };
        assert!(result.targetSuccess && U256::abi_decode(&result.targetResult).unwrap() == U256::ONE);
    });
}

#[test]
fn no_operations_and_no_beneficiary() {
    let Some(mut worlds) = Worlds::new() else { return };
    for (ops, beneficiary) in [(vec![], BUNDLER), (vec![], Address::ZERO)] {
        worlds.transact(&Request::to(ENTRY_POINT, EntryPoint::handleOpsCall { ops, beneficiary }.abi_encode()));
    }
    let mut op = UserOperation { sender: FRIEND, ..UserOperation::default() };
    op.call_data = AccountCall::ExecuteBatch(vec![]).encode();
    worlds.handle(&[op]); // nobody lives there
}

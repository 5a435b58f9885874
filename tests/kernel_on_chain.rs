//! Our encodings, held against the deployed bytecode.
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

use alloy::{
    primitives::{Address, B256, Bytes, FixedBytes, Selector, U256, aliases::U48, bytes, keccak256},
    sol_types::SolCall,
};
use keyleash::{
    erc4337::v06::{ENTRY_POINT, UserOperation},
    policy::scope::{Condition, ExecutionRule, Operation, Permission, Rule, Scope},
    protocol::{
        AccountCall, Call, DUMMY_SIGNATURE,
        kernel_v2::{
            account::{self, AccountSeed, selector},
            approval::{Approval, ApprovalRequest, EnableData},
            generation::{DETERMINISTIC_DEPLOYER, ECDSA_VALIDATOR, Generation, KernelVersion},
            signature::{self, Shown, proof_data},
            storage::{KERNEL_SLOT, nonces_slot, read_disabled_mode, read_nonces, read_session, session_slots},
        },
    },
};
use support::deployed::{
    Bundle, CHAIN_ID, Deployed, FUNDS, Kernel, Key, approval_request, approve, revert_text, sign_as_owner,
    sign_as_session_key,
};

/// The validators whose bytecode is on the chain of the harness.
const GENERATIONS: [Generation; 2] = [Generation::G1, Generation::G2];

/// The implementations that are safe for session keys.
const KERNELS: [KernelVersion; 3] = [KernelVersion::V0_2_2, KernelVersion::V0_2_3, KernelVersion::V0_2_4];

const TARGET: Address = Address::repeat_byte(0x71);

fn owner() -> Key {
    Key::anvil(0)
}

fn seed(index: u64) -> AccountSeed {
    AccountSeed { owner: owner().address(), index: U256::from(index) }
}

/// One account on one kernel and validator.
struct Setup {
    chain: Deployed,
    kernel: KernelVersion,
    generation: Generation,
    account: Address,
    scope: Scope,
}

/// Runs `check` with a deployed account on every kernel and validator.
fn on_every_kernel_and_validator(check: impl Fn(Setup)) {
    before_deployment(|mut setup| {
        setup.chain.deploy_account(seed(0), setup.kernel);
        check(setup);
    });
}

/// The same with an account that has money and no code.
fn before_deployment(check: impl Fn(Setup)) {
    let Some(chain) = Deployed::load() else { return };
    for kernel in KERNELS {
        for generation in GENERATIONS {
            println!("Kernel {kernel}, validator {generation}");
            let (mut chain, account) = (chain.clone(), seed(0).address());
            chain.fund(account, FUNDS);
            check(Setup { chain, kernel, generation, account, scope: scope() });
        }
    }
}

fn permission(index: u32, sig: [u8; 4]) -> Permission {
    Permission {
        index,
        target: TARGET,
        sig: Selector::new(sig),
        value_limit: U256::from(1000),
        rules: Vec::new(),
        execution_rule: ExecutionRule::default(),
        operation: Operation::Call,
    }
}

/// Three permissions: a plain one, one with rules and a run limit, and one for delegatecall.
fn scope() -> Scope {
    let rules = vec![
        Rule { offset: U256::ZERO, condition: Condition::Eq, param: B256::repeat_byte(7) },
        Rule { offset: U256::from(32), condition: Condition::Lte, param: B256::with_last_byte(9) },
    ];
    let limited = ExecutionRule { valid_after: 5, interval: 0, runs: 2 };
    Scope {
        valid_after: 5,
        valid_until: 3_000_000_000,
        paymaster: Address::ZERO,
        permissions: vec![
            permission(0, [1, 1, 1, 1]),
            Permission { rules, execution_rule: limited, ..permission(1, [2, 2, 2, 2]) },
            Permission { operation: Operation::DelegateCall, ..permission(2, [3, 3, 3, 3]) },
        ],
    }
}

/// The call that permission 0 allows.
fn plain_call() -> Call {
    Call { to: TARGET, value: U256::from(1000), data: bytes!("01010101") }
}

/// The call that permission 1 allows.
fn ruled_call() -> Call {
    let words = [B256::repeat_byte(7), B256::with_last_byte(9)].concat();
    Call { to: TARGET, value: U256::ZERO, data: [&[2, 2, 2, 2][..], &words].concat().into() }
}

fn execute() -> AccountCall {
    AccountCall::Execute(plain_call())
}

impl Setup {
    fn request(&self, key: &Key, selector: Selector, nonce: u128) -> ApprovalRequest {
        let (account, kernel, generation) = (self.account, self.kernel, self.generation);
        approval_request(account, kernel, generation, selector, key.address(), &self.scope, nonce)
    }

    fn approval(&self, key: &Key, selector: Selector, nonce: u128) -> Approval {
        approve(self.request(key, selector, nonce), &owner())
    }

    fn proof(&self, shown: Shown<'_>) -> Bytes {
        proof_data(&self.scope.permissions, shown, self.generation).unwrap()
    }

    /// Sends `call` as the session key; with an approval it enables the key on the way.
    fn send(&mut self, key: &Key, approval: Option<&Approval>, call: &AccountCall, shown: Shown<'_>) -> Bundle {
        let mut op = self.chain.user_op(self.account, call);
        sign_as_session_key(&mut op, key, approval, &self.proof(shown));
        self.chain.handle_ops(&[op])
    }

    fn enable(&mut self, key: &Key, selector: Selector, nonce: u128) {
        let approval = self.approval(key, selector, nonce);
        let (call, shown) = match selector {
            selector::EXECUTE_BATCH => (AccountCall::ExecuteBatch(Vec::new()), Shown::Batch(&[])),
            _ => (execute(), Shown::One(0)),
        };
        let bundle = self.send(key, Some(&approval), &call, shown);
        assert!(bundle.all_succeeded(), "{bundle:?}");
    }

    fn sudo(&mut self, to: Address, data: Bytes) -> Bundle {
        let call = AccountCall::Execute(Call { to, value: U256::ZERO, data });
        self.chain.sudo(&owner(), self.account, &call)
    }
}

#[track_caller]
fn assert_refused(bundle: Bundle, reason: &str) {
    let given = bundle.reason().unwrap_or_else(|| panic!("expected {reason}, but it was mined: {bundle:?}"));
    assert_eq!(given, reason);
}

const NOT_ENABLED: &str = "AA23 reverted: SessionKeyValidator: session key not enabled";
const INVALID_NONCE: &str = "AA23 reverted: SessionKeyValidator: invalid nonce";
const NO_TEXT: &str = "AA23 reverted (or OOG)";
const SIGNATURE_ERROR: &str = "AA24 signature error";

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

#[test]
fn the_first_operation_deploys_enables_and_executes() {
    before_deployment(|mut setup| {
        let agent = Key::anvil(1);
        let approval = setup.approval(&agent, selector::EXECUTE, 1);
        let mut op = setup.chain.user_op(setup.account, &execute());
        op.init_code = seed(0).init_code(setup.kernel);
        sign_as_session_key(&mut op, &agent, Some(&approval), &setup.proof(Shown::One(0)));
        let bundle = setup.chain.handle_ops(&[op]);
        assert!(bundle.all_succeeded(), "{bundle:?}");
        assert_eq!(setup.chain.balance(TARGET), U256::from(1000));
        assert_eq!(setup.chain.owner(setup.account), owner().address());
        let on_chain = setup.chain.session_data(setup.generation, agent.address(), setup.account);
        assert_eq!(on_chain, approval.request.enable);
        assert_eq!(setup.chain.nonces(setup.generation, setup.account), (1, 0));
        let route = setup.chain.execution(setup.account, selector::EXECUTE);
        assert_eq!(route.validator, setup.generation.address());
    });
}

#[test]
fn an_enabled_key_is_used_without_its_approval() {
    on_every_kernel_and_validator(|mut setup| {
        let agent = Key::anvil(1);
        let bundle = setup.send(&agent, None, &execute(), Shown::One(0));
        assert_refused(bundle, NO_TEXT);
        setup.enable(&agent, selector::EXECUTE, 1);
        for (call, permission) in [(plain_call(), 0), (ruled_call(), 1)] {
            let bundle = setup.send(&agent, None, &AccountCall::Execute(call), Shown::One(permission));
            assert!(bundle.all_succeeded(), "{bundle:?}");
        }
        assert_eq!(setup.chain.balance(TARGET), U256::from(2000));
        let dear = AccountCall::Execute(Call { value: U256::from(1001), ..plain_call() });
        let bundle = setup.send(&agent, None, &dear, Shown::One(0));
        assert_refused(bundle, "AA23 reverted: SessionKeyValidator: value limit exceeded");
    });
}

#[test]
fn the_run_counter_is_kept_under_the_approvals_nonce_and_the_permissions_index() {
    on_every_kernel_and_validator(|mut setup| {
        let agent = Key::anvil(1);
        setup.enable(&agent, selector::EXECUTE, 1);
        let call = AccountCall::Execute(ruled_call());
        for runs in 1..=2 {
            assert!(setup.send(&agent, None, &call, Shown::One(1)).all_succeeded());
            assert_eq!(setup.chain.execution_status(setup.generation, setup.account, 1, 1).1, runs);
        }
        let bundle = setup.send(&agent, None, &call, Shown::One(1));
        assert_refused(bundle, "AA23 reverted: SessionKeyValidator: runs exceeded");
    });
}

#[test]
fn an_approval_cannot_be_used_twice_nor_before_its_turn() {
    on_every_kernel_and_validator(|mut setup| {
        let agent = Key::anvil(1);
        let [first, second] = [1, 2].map(|nonce| setup.approval(&agent, selector::EXECUTE, nonce));
        let bundle = setup.send(&agent, Some(&second), &execute(), Shown::One(0));
        assert_refused(bundle, INVALID_NONCE);
        assert!(setup.send(&agent, Some(&first), &execute(), Shown::One(0)).all_succeeded());
        let bundle = setup.send(&agent, Some(&first), &execute(), Shown::One(0));
        assert_refused(bundle, INVALID_NONCE);
        assert!(setup.send(&agent, Some(&second), &execute(), Shown::One(0)).all_succeeded());
    });
}

#[test]
fn a_batch_needs_an_approval_of_its_own_which_opens_it_for_every_key() {
    on_every_kernel_and_validator(|mut setup| {
        let (first, second) = (Key::anvil(1), Key::anvil(2));
        setup.enable(&first, selector::EXECUTE, 1);
        let batch = AccountCall::ExecuteBatch(vec![plain_call(), ruled_call(), plain_call()]);
        let shown = Shown::Batch(&[0, 1, 0]);
        let bundle = setup.send(&first, None, &batch, shown);
        assert_refused(bundle, NO_TEXT);
        setup.enable(&second, selector::EXECUTE_BATCH, 2);
        let before = setup.chain.balance(TARGET);
        let bundle = setup.send(&first, None, &batch, shown);
        assert!(bundle.all_succeeded(), "{bundle:?}");
        assert_eq!(setup.chain.balance(TARGET), before + U256::from(2000));
    });
}

#[test]
fn a_delegatecall_runs_with_a_delegatecall_permission_where_kernel_and_validator_know_it() {
    on_every_kernel_and_validator(|mut setup| {
        let agent = Key::anvil(1);
        setup.chain.set_code(TARGET, &[0x60, 0x2a, 0x60, 0x07, 0x55]); // storage[7] = 42
        let data = bytes!("03030303");
        let call = AccountCall::ExecuteDelegateCall { to: TARGET, data };
        let approval = setup.approval(&agent, selector::EXECUTE_DELEGATE_CALL, 1);
        let bundle = setup.send(&agent, Some(&approval), &call, Shown::One(2));
        if setup.generation.knows_operation() {
            assert!(bundle.all_succeeded(), "{bundle:?}");
        } else {
            assert_refused(bundle, SIGNATURE_ERROR);
        }
        let delegated = setup.chain.storage(setup.account, B256::with_last_byte(7)) == B256::with_last_byte(42);
        assert_eq!(delegated, setup.generation.knows_operation() && setup.kernel.has_delegate_call());
    });
}

#[test]
fn a_key_without_permissions_shows_no_proof_and_may_call_anything() {
    on_every_kernel_and_validator(|mut setup| {
        setup.scope.permissions.clear();
        let agent = Key::anvil(1);
        let approval = setup.approval(&agent, selector::EXECUTE, 1);
        let call = Call { to: Address::repeat_byte(0x99), value: U256::from(5), data: Bytes::new() };
        let bundle = setup.send(&agent, Some(&approval), &AccountCall::Execute(call), Shown::Nothing);
        assert!(bundle.all_succeeded(), "{bundle:?}");
        assert_eq!(setup.chain.balance(Address::repeat_byte(0x99)), U256::from(5));
    });
}

#[test]
fn the_owner_can_enable_a_key_on_chain() {
    on_every_kernel_and_validator(|mut setup| {
        let (first, second) = (Key::anvil(1), Key::anvil(2));
        let enable = |setup: &Setup, key, nonce| setup.request(key, selector::EXECUTE, nonce).enable.encode();
        let validator = setup.generation.address();
        let set = account::set_execution(selector::EXECUTE, validator, &enable(&setup, &first, 1));
        let bundle = setup.chain.sudo(&owner(), setup.account, &AccountCall::Other(set));
        assert!(bundle.all_succeeded(), "{bundle:?}");
        let data = account::enable_key(&enable(&setup, &second, 2));
        assert!(setup.sudo(validator, data).all_succeeded());
        for key in [first, second] {
            assert!(setup.send(&key, None, &execute(), Shown::One(0)).all_succeeded());
        }
    });
}

#[test]
fn a_disabled_key_is_refused_and_the_others_live_on() {
    on_every_kernel_and_validator(|mut setup| {
        let (first, second) = (Key::anvil(1), Key::anvil(2));
        setup.enable(&first, selector::EXECUTE, 1);
        setup.enable(&second, selector::EXECUTE, 2);
        assert!(setup.sudo(setup.generation.address(), account::disable_key(first.address())).all_succeeded());
        let bundle = setup.send(&first, None, &execute(), Shown::One(0));
        assert_refused(bundle, NOT_ENABLED);
        assert!(setup.send(&second, None, &execute(), Shown::One(0)).all_succeeded());
    });
}

#[test]
fn disabling_a_pending_key_succeeds_and_takes_nothing_away() {
    on_every_kernel_and_validator(|mut setup| {
        let agent = Key::anvil(1);
        assert!(setup.sudo(setup.generation.address(), account::disable_key(agent.address())).all_succeeded());
        setup.enable(&agent, selector::EXECUTE, 1);
        assert!(setup.send(&agent, None, &execute(), Shown::One(0)).all_succeeded());
    });
}

/// Enable data that uses up turn `nonce` for a key nobody has, which could do nothing and has expired.
fn burn(nonce: u128) -> Bytes {
    let enable = EnableData {
        session_key: Address::repeat_byte(0xde),
        merkle_root: B256::repeat_byte(1),
        valid_after: 0,
        valid_until: 1,
        paymaster: Address::ZERO,
        nonce,
    };
    account::enable_key(&enable.encode())
}

#[test]
fn a_burnt_turn_ends_its_pending_approval_and_the_other_keys_live_on() {
    on_every_kernel_and_validator(|mut setup| {
        let (active, pending, next) = (Key::anvil(1), Key::anvil(2), Key::anvil(3));
        setup.enable(&active, selector::EXECUTE, 1);
        let approval = setup.approval(&pending, selector::EXECUTE, 2);
        assert!(setup.sudo(setup.generation.address(), burn(2)).all_succeeded());
        let bundle = setup.send(&pending, Some(&approval), &execute(), Shown::One(0));
        assert_refused(bundle, INVALID_NONCE);
        assert!(setup.send(&active, None, &execute(), Shown::One(0)).all_succeeded());
        setup.enable(&next, selector::EXECUTE, 3);
    });
}

#[test]
fn a_burn_out_of_turn_is_mined_without_success_and_changes_nothing() {
    on_every_kernel_and_validator(|mut setup| {
        for nonce in [0, 2] {
            let bundle = setup.sudo(setup.generation.address(), burn(nonce));
            let Bundle::Mined(mined) = &bundle else { panic!("{bundle:?}") };
            assert!(!mined[0].success);
            let text = mined[0].revert_reason.as_ref().and_then(|data| revert_text(data));
            assert_eq!(text.as_deref(), Some("SessionKeyValidator: invalid nonce"));
        }
        assert_eq!(setup.chain.nonces(setup.generation, setup.account), (0, 0));
    });
}

#[test]
fn the_deploying_operation_of_the_owner_can_burn_a_turn() {
    before_deployment(|mut setup| {
        let pending = Key::anvil(1);
        let approval = setup.approval(&pending, selector::EXECUTE, 1);
        let call = AccountCall::Execute(Call { to: setup.generation.address(), value: U256::ZERO, data: burn(1) });
        let mut op = setup.chain.user_op(setup.account, &call);
        op.init_code = seed(0).init_code(setup.kernel);
        sign_as_owner(&mut op, &owner());
        assert!(setup.chain.handle_ops(&[op]).all_succeeded());
        let bundle = setup.send(&pending, Some(&approval), &execute(), Shown::One(0));
        assert_refused(bundle, INVALID_NONCE);
    });
}

#[test]
fn an_approval_for_another_kernel_chain_account_or_function_is_no_signature() {
    on_every_kernel_and_validator(|mut setup| {
        let agent = Key::anvil(1);
        let right = setup.request(&agent, selector::EXECUTE, 1);
        let others = KernelVersion::ALL.into_iter().filter(|k| *k != setup.kernel);
        let mut wrong: Vec<ApprovalRequest> =
            others.map(|kernel| ApprovalRequest { kernel, ..right.clone() }).collect();
        wrong.push(ApprovalRequest { chain_id: CHAIN_ID + 1, ..right.clone() });
        wrong.push(ApprovalRequest { account: TARGET, ..right.clone() });
        wrong.push(ApprovalRequest { selector: selector::EXECUTE_BATCH, ..right.clone() });
        for request in wrong {
            let bundle = setup.send(&agent, Some(&approve(request, &owner())), &execute(), Shown::One(0));
            assert_refused(bundle, SIGNATURE_ERROR);
        }
        let bundle = setup.send(&agent, Some(&approve(right, &Key::anvil(3))), &execute(), Shown::One(0));
        assert_refused(bundle, SIGNATURE_ERROR);
    });
}

/// The same signature in other clothes.
fn forms(signature: [u8; 65]) -> Vec<Vec<u8>> {
    let order = U256::from_be_bytes(alloy::primitives::hex!(
        "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"
    ));
    let mut high_s = signature;
    high_s[32..64].copy_from_slice(&(order - U256::from_be_slice(&signature[32..64])).to_be_bytes::<32>());
    high_s[64] = 55 - signature[64];
    let with_v = |v: u8| [&signature[..64], &[v]].concat();
    let compact = signature[..64].to_vec();
    let longer = [&signature[..], &[0]].concat();
    vec![signature.to_vec(), high_s.to_vec(), with_v(signature[64] - 27), with_v(29), compact, longer, Vec::new()]
}

#[test]
fn an_approval_is_signed_by_the_owner_exactly_when_the_account_thinks_so() {
    on_every_kernel_and_validator(|mut setup| {
        let agent = Key::anvil(1);
        let request = setup.request(&agent, selector::EXECUTE, 1);
        let digest = request.digest();
        let signers = [owner(), Key::anvil(3)];
        let signatures =
            signers.iter().flat_map(|key| [key.sign_raw(digest), key.sign_message(digest)]).flat_map(forms);
        let mut accepted = 0;
        for signature in signatures {
            let signature = Bytes::from(signature);
            let signed = request.is_signed_by(owner().address(), &signature);
            let approval = Approval { request: request.clone(), signature };
            let mut op = setup.chain.user_op(setup.account, &execute());
            sign_as_session_key(&mut op, &agent, Some(&approval), &setup.proof(Shown::One(0)));
            assert_eq!(setup.chain.try_ops(&[op]).all_succeeded(), signed, "{}", approval.signature);
            accepted += u32::from(signed);
        }
        assert_eq!(accepted, 2, "as it is and as an EIP-191 message");
    });
}

#[test]
fn the_window_in_an_approval_is_read_as_after_then_until() {
    on_every_kernel_and_validator(|mut setup| {
        let agent = Key::anvil(1);
        let mut request = setup.request(&agent, selector::EXECUTE, 1);
        request.plugin_window = FixedBytes([0, 0, 0, 0, 0, 7, 0, 0, 0xb2, 0xd0, 0x5e, 0]);
        let bundle = setup.send(&agent, Some(&approve(request, &owner())), &execute(), Shown::One(0));
        assert!(bundle.all_succeeded(), "{bundle:?}");
        let route = setup.chain.execution(setup.account, selector::EXECUTE);
        assert_eq!((route.validAfter, route.validUntil), (U48::from(7), U48::from(3_000_000_000_u64)));
    });
}

#[test]
fn the_hash_of_an_operation_is_the_entry_points() {
    before_deployment(|mut setup| {
        let op = setup.chain.user_op(setup.account, &execute());
        let everything = UserOperation {
            nonce: U256::MAX,
            init_code: seed(0).init_code(setup.kernel),
            max_fee_per_gas: U256::from(u128::MAX),
            paymaster_and_data: bytes!("00112233445566778899aabbccddeeff0011223344"),
            signature: bytes!("01"),
            ..op.clone()
        };
        for op in [op, everything] {
            assert_eq!(op.hash(ENTRY_POINT, CHAIN_ID), setup.chain.entry_point_hash(&op));
        }
    });
}

#[test]
fn dummy_signatures_fail_as_signatures_and_nothing_else() {
    on_every_kernel_and_validator(|mut setup| {
        let agent = Key::anvil(1);
        let op = setup.chain.user_op(setup.account, &execute());
        let session = signature::session(agent.address(), &DUMMY_SIGNATURE, &setup.proof(Shown::One(0)));
        let request = setup.request(&agent, selector::EXECUTE, 1);
        let dummy = Approval { request, signature: Bytes::copy_from_slice(&DUMMY_SIGNATURE) };
        for signature in [signature::sudo(&DUMMY_SIGNATURE), signature::enable_and_use(&dummy, &session)] {
            let bundle = setup.chain.try_ops(&[UserOperation { signature, ..op.clone() }]);
            assert_refused(bundle, SIGNATURE_ERROR);
        }
        setup.enable(&agent, selector::EXECUTE, 1);
        let mut op = setup.chain.user_op(setup.account, &execute());
        op.signature = signature::use_enabled(&session);
        let bundle = setup.chain.try_ops(&[op]);
        assert_refused(bundle, SIGNATURE_ERROR);
    });
}

#[test]
fn the_panic_mode_refuses_every_key_until_it_is_lifted() {
    on_every_kernel_and_validator(|mut setup| {
        let (active, pending) = (Key::anvil(1), Key::anvil(2));
        setup.enable(&active, selector::EXECUTE, 1);
        let approval = setup.approval(&pending, selector::EXECUTE, 2);
        let mode = |mode: u32| AccountCall::Other(account::disableModeCall { mode: mode.into() }.abi_encode().into());
        assert!(setup.chain.sudo(&owner(), setup.account, &mode(u32::MAX)).all_succeeded());
        for (key, approval) in [(&active, None), (&pending, Some(&approval))] {
            let bundle = setup.send(key, approval, &execute(), Shown::One(0));
            assert_refused(bundle, NO_TEXT);
        }
        assert!(setup.chain.sudo(&owner(), setup.account, &mode(0)).all_succeeded());
        for (key, approval) in [(&active, None), (&pending, Some(&approval))] {
            assert!(setup.send(key, approval, &execute(), Shown::One(0)).all_succeeded());
        }
    });
}

#[test]
fn a_refused_operation_is_named_by_its_place_in_the_bundle() {
    on_every_kernel_and_validator(|mut setup| {
        let agent = Key::anvil(1);
        let mut good = setup.chain.user_op(setup.account, &execute());
        sign_as_owner(&mut good, &owner());
        let mut bad = setup.chain.user_op(setup.account, &execute());
        bad.nonce = U256::from(1) << 64;
        sign_as_owner(&mut bad, &agent);
        let bundle = setup.chain.handle_ops(&[good, bad]);
        assert_eq!(bundle, Bundle::FailedOp { index: 1, reason: SIGNATURE_ERROR.to_owned() });
    });
}

#[test]
fn what_views_tell_is_read_from_storage_as_well() {
    on_every_kernel_and_validator(|mut setup| {
        let (account, validator) = (setup.account, setup.generation.address());
        let key = Key::anvil(1).address();
        let held = |chain: &mut Deployed| {
            let words = session_slots(key, account).map(|slot| chain.storage(validator, slot));
            read_session(key, words)
        };
        assert_eq!(held(&mut setup.chain), None);
        let enable = EnableData {
            session_key: key,
            merkle_root: B256::repeat_byte(0xc1),
            valid_after: 0x0102_0304_0506,
            valid_until: 0xf1f2_f3f4_f5f6,
            paymaster: Address::repeat_byte(0xa9),
            nonce: 1,
        };
        let told = |chain: &mut Deployed, data: Bytes| chain.transact(account, validator, U256::ZERO, data).unwrap();
        told(&mut setup.chain, account::enable_key(&enable.encode()));
        assert_eq!(setup.chain.session_data(setup.generation, key, account), enable);
        assert_eq!(held(&mut setup.chain), Some(enable));
        let nonces = |chain: &mut Deployed| {
            let stored = read_nonces(chain.storage(validator, nonces_slot(account)));
            assert_eq!((stored.last, stored.invalid), chain.nonces(setup.generation, account));
            (stored.last, stored.invalid)
        };
        assert_eq!(nonces(&mut setup.chain), (1, 0));
        told(&mut setup.chain, account::disable_all());
        assert_eq!(nonces(&mut setup.chain), (1, 1));
        assert_eq!(read_disabled_mode(setup.chain.storage(account, KERNEL_SLOT)), 0);
        setup.chain.account_call(account, account::disable_mode(0xffff_fffe)).unwrap();
        assert_eq!(read_disabled_mode(setup.chain.storage(account, KERNEL_SLOT)), 0xffff_fffe);
    });
}

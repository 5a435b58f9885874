//! Random scenarios, from fixed seeds: what anyone may send, in any order, with and without mistakes in it.

use std::cell::RefCell;

use alloy::{
    primitives::{Address, Bytes, FixedBytes, U256, Uint},
    sol_types::SolCall,
};
use keyleash::{
    erc4337::v06::{ENTRY_POINT, UserOperation},
    policy::scope::{Permission, Scope},
    protocol::{
        AccountCall,
        kernel_v2::{
            account::{AccountSeed, IMPLEMENTATION_SLOT, selector},
            approval::Approval,
            generation::{Generation, KERNEL_FACTORY, KernelVersion},
            merkle::Tree,
        },
    },
    sandbox::{CHAIN_ID, contracts::SPONSOR, evm::Request},
};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use crate::{
    player::*,
    world::{BUNDLER, ETHER, EntryPoint, Key, NOW, SKV, Seen, Worlds, sponsor_key, sponsored},
};

/// One thing that happens. Numbers are choices; what they mean is in [`Play`].
#[derive(Debug, Clone)]
enum Step {
    /// The owner sends an operation.
    Sudo {
        account: usize,
        wish: usize,
        n: u64,
        how: How,
    },
    /// An agent sends an operation with a session key.
    Agent {
        account: usize,
        agent: Agent,
        how: How,
    },
    /// Several operations in one bundle.
    Bundle(Vec<Step>),
    /// A transaction straight to the account: by the owner, a stranger, an agent, or the account itself.
    Direct {
        account: usize,
        caller: usize,
        wish: usize,
        n: u64,
    },
    /// A transaction straight to the session key validator, in the account's name or a stranger's.
    Validator {
        account: usize,
        caller: usize,
        wish: usize,
        n: u64,
    },
    /// Someone deploys the account.
    Deploy {
        account: usize,
        kernel: usize,
    },
    Money {
        account: usize,
        what: usize,
    },
    Wait(u64),
}

#[derive(Debug, Clone)]
struct Agent {
    key: usize,
    scope: usize,
    /// Unix seconds from [`NOW`]; 0 = no limit.
    window: (u64, u64),
    paymaster: usize,
    form: usize,
    calls: Vec<usize>,
    /// Whether the calls are any calls, not ones that the scope is meant for.
    sloppy: bool,
    /// Mode 1; a new approval; or one that was made before.
    approval: Approving,
}

#[derive(Debug, Clone)]
enum Approving {
    Enabled,
    New { nonce: usize, selector: usize, plugin_window: usize },
    Old(usize),
}

/// The rest of an operation.
#[derive(Debug, Clone)]
struct How {
    lane: u8,
    /// Wei per gas unit.
    fee: u64,
    paymaster: usize,
    flaw: usize,
}

fn how() -> impl Strategy<Value = How> {
    let fee = prop_oneof![6 => Just(0u64), 1 => Just(1)];
    let paymaster = prop_oneof![12 => Just(0usize), 3 => Just(1), 2 => 2..8usize];
    let flaw = prop_oneof![9 => Just(0usize), 2 => 1..20usize];
    (0..3u8, fee, paymaster, flaw).prop_map(|(lane, fee, paymaster, flaw)| How { lane, fee, paymaster, flaw })
}

fn agent() -> impl Strategy<Value = Agent> {
    let approving = prop_oneof![
        4 => Just(Approving::Enabled),
        4 => (prop_oneof![4 => Just(0usize), 1 => 0..5usize], 0..8usize, prop_oneof![4 => Just(0usize), 1 => 0..4usize])
            .prop_map(|(nonce, selector, plugin_window)| Approving::New { nonce, selector, plugin_window }),
        2 => (0..20usize).prop_map(Approving::Old),
    ];
    let window = prop_oneof![
        5 => Just((0u64, 0u64)),
        1 => (0..8000u64, 0..8000u64),
    ];
    let paymaster = prop_oneof![4 => Just(0usize), 1 => 1..PAYMASTERS.len()];
    let form = prop_oneof![4 => Just(0usize), 2 => Just(1), 1 => Just(2)];
    let calls = prop::collection::vec(0..CALLS, 1..4);
    let sloppy = prop_oneof![3 => Just(false), 1 => Just(true)];
    (0..3usize, 0..SCOPES, window, paymaster, form, calls, sloppy, approving).prop_map(
        |(key, scope, window, paymaster, form, calls, sloppy, approval)| Agent {
            key,
            scope,
            window,
            paymaster,
            form,
            calls,
            sloppy,
            approval,
        },
    )
}

fn operation() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..4usize, 0..WISHES, 0..64u64, how()).prop_map(|(account, wish, n, how)| Step::Sudo { account, wish, n, how }),
        5 => (0..4usize, agent(), how()).prop_map(|(account, agent, how)| Step::Agent { account, agent, how }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => operation(),
        2 => prop::collection::vec(operation(), 2..4).prop_map(Step::Bundle),
        3 => (0..4usize, 0..5usize, 0..WISHES, 0..64u64)
            .prop_map(|(account, caller, wish, n)| Step::Direct { account, caller, wish, n }),
        2 => (0..4usize, 0..3usize, 0..12usize, 0..64u64)
            .prop_map(|(account, caller, wish, n)| Step::Validator { account, caller, wish, n }),
        1 => (0..4usize, 0..3usize).prop_map(|(account, kernel)| Step::Deploy { account, kernel }),
        1 => (0..4usize, 0..8usize).prop_map(|(account, what)| Step::Money { account, what }),
        1 => (0..4000u64).prop_map(Step::Wait),
    ]
}

/// A scenario while it runs.
struct Play {
    worlds: Worlds,
    approvals: Vec<(Approval, usize)>,
}

impl Play {
    fn new(worlds: Worlds) -> Self {
        let mut play = Self { worlds, approvals: Vec::new() };
        for (number, (seed, kernel)) in accounts().into_iter().enumerate() {
            if number < 2 {
                play.worlds.deploy(seed, kernel);
            } else {
                play.worlds.set_balance(seed.address(), ETHER);
            }
        }
        play
    }

    fn seed(number: usize) -> (AccountSeed, KernelVersion) {
        accounts()[number % 4]
    }

    fn is_deployed(&self, account: Address) -> bool {
        !self.worlds.ours.code(account).is_empty()
    }

    /// The Kernel that answers for the account now.
    fn kernel(&self, number: usize) -> KernelVersion {
        let (seed, planned) = Self::seed(number);
        let slot = IMPLEMENTATION_SLOT.into();
        let implementation = Address::from_word(self.worlds.ours.storage(seed.address(), slot).into());
        KernelVersion::from_implementation(implementation).unwrap_or(planned)
    }

    /// Who owns the account now, if it is one of the players.
    fn owner_key(&self, number: usize) -> Key {
        let (seed, _) = Self::seed(number);
        let now = self.worlds.owner(seed.address());
        (0..6).map(Key::anvil).find(|key| key.address() == now).unwrap_or_else(|| owner(number / 2))
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Bundle(steps) => {
                let ops: Vec<_> = steps.iter().filter_map(|step| self.operation(step)).collect();
                self.worlds.handle(&ops);
            }
            Step::Direct { account, caller, wish: number, n } => {
                let (seed, _) = Self::seed(*account);
                let data = wish(*number, *n, &self.worlds, seed.address(), self.kernel(*account));
                let from = match caller {
                    0 | 1 => self.owner_key(*account).address(),
                    2 => FRIEND,
                    3 => session_key(*n as usize).address(),
                    _ => seed.address(),
                };
                if from == seed.address() && !self.is_deployed(from) {
                    return; // an address without code sends nothing
                }
                self.worlds.transact(&Request::to(seed.address(), data).from(from));
                self.worlds.compare_state(&[seed.address()]);
            }
            Step::Validator { account, caller, wish: number, n } => {
                let (seed, _) = Self::seed(*account);
                let from = if *caller == 2 { FRIEND } else { seed.address() };
                let call = wish(*number, *n, &self.worlds, seed.address(), self.kernel(*account));
                let AccountCall::Execute(inner) = AccountCall::decode(&call) else { return };
                if from == seed.address() && !self.is_deployed(from) {
                    return;
                }
                self.worlds.transact(&Request::to(SKV, inner.data).from(from));
                self.worlds.compare_state(&[seed.address()]);
            }
            Step::Deploy { account, kernel } => {
                let (seed, planned) = Self::seed(*account);
                let kernel = [planned, KernelVersion::V0_2_2, KernelVersion::V0_2_4][*kernel];
                let call = seed.init_code(kernel).slice(20..);
                self.worlds.transact(&Request::to(KERNEL_FACTORY, call));
                self.worlds.compare_state(&[seed.address()]);
            }
            Step::Money { account, what } => self.money(Self::seed(*account).0.address(), *what),
            Step::Wait(seconds) => self.worlds.set_time(self.worlds.ours.time() + seconds),
            operation => {
                if let Some(op) = self.operation(operation) {
                    self.worlds.handle(&[op]);
                }
            }
        }
    }

    fn money(&mut self, account: Address, what: usize) {
        if matches!(what, 5 | 6) && !self.is_deployed(account) {
            return;
        }
        let deposit = EntryPoint::depositToCall { account }.abi_encode();
        match what {
            0 => self.worlds.set_balance(account, U256::ZERO),
            1 => self.worlds.set_balance(account, ETHER),
            2 => self.worlds.set_balance(account, U256::from(1_000_000)),
            3 | 4 => {
                self.worlds.set_balance(BUNDLER, ETHER);
                self.worlds.transact(&Request::to(ENTRY_POINT, deposit).from(BUNDLER).value(U256::from(1u64 << 40)));
            }
            5 => {
                let all = EntryPoint::withdrawToCall { to: FRIEND, amount: U256::from(1u64 << 39) }.abi_encode();
                self.worlds.transact(&Request::to(ENTRY_POINT, all).from(account));
            }
            6 => {
                let bump = EntryPoint::incrementNonceCall { key: Uint::from(1) }.abi_encode();
                self.worlds.transact(&Request::to(ENTRY_POINT, bump).from(account));
            }
            _ => {
                self.worlds.set_balance(BUNDLER, ETHER);
                self.worlds.transact(&Request::to(account, Bytes::new()).from(BUNDLER).value(U256::from(77)));
            }
        }
        self.worlds.compare_state(&[account]);
    }

    fn operation(&mut self, step: &Step) -> Option<UserOperation> {
        match step {
            Step::Sudo { account, wish: number, n, how } => {
                let (seed, _) = Self::seed(*account);
                let data = wish(*number, *n, &self.worlds, seed.address(), self.kernel(*account));
                let mut op = self.draft(*account, data, how);
                self.sign_sudo(&mut op, *account, how.flaw);
                Some(op)
            }
            Step::Agent { account, agent, how } => Some(self.agent_op(*account, agent, how)),
            _ => None,
        }
    }

    /// The operation without a signature, gas paid for as `how` says.
    fn draft(&self, account: usize, data: Bytes, how: &How) -> UserOperation {
        let (seed, planned) = Self::seed(account);
        let mut op = self.worlds.op(seed.address(), how.lane, data);
        op.max_fee_per_gas = U256::from(how.fee);
        op.max_priority_fee_per_gas = op.max_fee_per_gas;
        let wants_code = self.is_deployed(seed.address()) == (how.flaw == 1);
        if wants_code {
            op.init_code = match how.flaw {
                2 => seed.init_code(KernelVersion::V0_2_1).slice(..40),
                3 => AccountSeed { index: U256::from(9), ..seed }.init_code(planned),
                4 => [FRIEND.as_slice(), &seed.init_code(planned)[20..]].concat().into(),
                _ => seed.init_code(planned),
            };
        }
        match how.flaw {
            5 => op.nonce += U256::ONE,
            6 => op.call_gas_limit = U256::from(1u64) << 121,
            7 => op.verification_gas_limit = U256::from(3_000),
            _ => {}
        }
        op.paymaster_and_data = match how.paymaster {
            0 => Bytes::new(),
            1 => sponsored(&op, 0, 0, &sponsor_key()),
            2 => sponsored(&op, NOW + 3000, 0, &sponsor_key()),
            3 => sponsored(&op, 0, NOW + 1500, &sponsor_key()),
            4 => sponsored(&op, 0, 0, &Key::anvil(0)),
            5 => Bytes::from_static(&[0; 20]),
            6 => Bytes::from_static(&[1; 7]),
            _ => SPONSOR.as_slice().to_vec().into(),
        };
        op
    }

    fn sign_sudo(&self, op: &mut UserOperation, account: usize, flaw: usize) {
        let signer = if flaw == 8 { Key::anvil(4) } else { self.owner_key(account) };
        sign_as_owner(op, &signer);
        let mut bytes = op.signature.to_vec();
        match flaw {
            9 => bytes.truncate(68),
            10 => bytes.push(0),
            11 => bytes[68] = 0,
            12 => bytes.truncate(3),
            13 => bytes[3] = 3 + (account as u8), // a mode that does not exist
            14 => bytes.truncate(30),
            15 => bytes[36..68].copy_from_slice(&[0xff; 32]), // s above the order
            16 => {
                bytes = [&[0; 4][..], &signer.sign_raw(op.hash(ENTRY_POINT, CHAIN_ID))].concat();
            }
            _ => {}
        }
        op.signature = bytes.into();
    }

    fn agent_op(&mut self, account: usize, agent: &Agent, how: &How) -> UserOperation {
        let (seed, _) = Self::seed(account);
        let address = seed.address();
        let mut key = session_key(agent.key);
        let mut form = [AccountForm::Execute, AccountForm::Batch, AccountForm::Delegate][agent.form];
        if matches!(agent.approval, Approving::Enabled)
            && !agent.sloppy
            && let Some((live, routed)) = self.live(account, agent.key)
        {
            key = live;
            if !routed.contains(&form) {
                form = routed.first().copied().unwrap_or(form);
            }
        }

        let first_use = Approving::New { nonce: 0, selector: 0, plugin_window: 0 };
        let nothing_live = matches!(agent.approval, Approving::Enabled) && self.live(account, agent.key).is_none();
        let approving = if nothing_live && !agent.sloppy { &first_use } else { &agent.approval };
        let (approval, scope) = match approving {
            Approving::Old(number) if !self.approvals.is_empty() => {
                let (approval, scope) = self.approvals[number % self.approvals.len()].clone();
                (Some(approval), scope)
            }
            Approving::New { nonce, selector, plugin_window } => {
                let approval = self.approve(account, agent, form, (*nonce, *selector, *plugin_window), how);
                self.approvals.push((approval.clone(), agent.scope));
                (Some(approval), agent.scope)
            }
            Approving::Enabled if !agent.sloppy => (None, self.scope_of(address, &key).unwrap_or(agent.scope)),
            _ => (None, agent.scope),
        };

        let permissions: Vec<Permission> = permissions(scope, address);
        let meant = |start: usize| {
            let candidates = (start..start + CALLS).map(|number| call(number, address, key.address()));
            candidates.into_iter().find(|call| {
                let shown = permissions.get(fitting(&permissions, call));
                shown.is_none_or(|p| {
                    (p.target.is_zero() || p.target == call.to)
                        && call.data.starts_with(p.sig.as_slice())
                        && call.value <= p.value_limit
                })
            })
        };
        let any = |start: usize| call(start, address, key.address());
        let calls: Vec<_> = agent
            .calls
            .iter()
            .map(|start| if agent.sloppy { any(*start) } else { meant(*start).unwrap_or_else(|| any(*start)) })
            .collect();
        let (account_call, proof) = shaped(form, &calls, &permissions);
        let data = match how.flaw {
            17 => disable_mode(1),
            18 => Bytes::from_static(&[0x51, 0x94]),
            _ => account_call.encode(),
        };
        let mut op = self.draft(account, data, how);
        let signer = if how.flaw == 8 { Key::anvil(5) } else { key.clone() };
        sign_as_key(&mut op, &signer, approval.as_ref(), &proof);
        if how.flaw == 8 {
            // another signer under the right key's name
            let at = op.signature.windows(20).rposition(|w| w == signer.address().as_slice()).unwrap();
            let mut bytes = op.signature.to_vec();
            bytes[at..at + 20].copy_from_slice(key.address().as_slice());
            op.signature = bytes.into();
        }
        op.signature = self.flawed(&op.signature, how.flaw);
        op
    }

    /// A key of the account that is live, and the account functions that are routed to its validator.
    fn live(&self, account: usize, start: usize) -> Option<(Key, Vec<AccountForm>)> {
        let address = Self::seed(account).0.address();
        if !self.is_deployed(address) {
            return None;
        }
        let (_, invalid) = self.worlds.nonces(address);
        let mut keys = (start..start + 3).map(session_key);
        let key = keys.find(|key| self.worlds.session(key.address(), address).1 > U256::from(invalid))?;
        let forms = [AccountForm::Execute, AccountForm::Batch, AccountForm::Delegate];
        Some((key, forms.into_iter().filter(|form| self.worlds.routed(address, form.selector())).collect()))
    }

    /// Which of the scopes the key was enabled with.
    fn scope_of(&self, account: Address, key: &Key) -> Option<usize> {
        let (root, _) = self.worlds.session(key.address(), account);
        (0..SCOPES).find(|scope| Tree::new(&permissions(*scope, account), Generation::G2).root() == root)
    }

    fn flawed(&self, signature: &[u8], flaw: usize) -> Bytes {
        let mut bytes = signature.to_vec();
        let last = bytes.len() - 1;
        match flaw {
            9 => bytes.truncate(last),
            10 => bytes.push(0xff),
            11 => bytes[last] ^= 1,
            12 => bytes.truncate(90),
            13 => bytes[3] = 3,
            14 => bytes.truncate(24 + 65),
            15 => bytes[last / 2] ^= 0x10,
            16 => bytes.truncate(24 + 40),
            19 => bytes[3] ^= 3, // the other mode
            _ => {}
        }
        bytes.into()
    }

    fn approve(
        &mut self,
        account: usize,
        agent: &Agent,
        form: AccountForm,
        (nonce, opened, plugin_window): (usize, usize, usize),
        how: &How,
    ) -> Approval {
        let (seed, _) = Self::seed(account);
        let address = seed.address();
        let (last, _) = self.worlds.nonces(address);
        let window = |seconds: u64| if seconds == 0 { 0 } else { NOW + seconds };
        let plugin: [u64; 2] = [[0, 0], [NOW + 500, 0], [0, NOW + 3000], [NOW + 1, NOW + 9000]][plugin_window];
        let mut plugin_bytes = [0; 12];
        plugin_bytes[..6].copy_from_slice(&plugin[0].to_be_bytes()[2..]);
        plugin_bytes[6..].copy_from_slice(&plugin[1].to_be_bytes()[2..]);
        let grant = Grant {
            account: address,
            kernel: if opened == 7 { KernelVersion::V0_2_1 } else { self.kernel(account) },
            selector: if opened == 6 { selector::EXECUTE_BATCH } else { form.selector() },
            key: session_key(agent.key).address(),
            scope: Scope {
                valid_after: window(agent.window.0),
                valid_until: window(agent.window.1),
                paymaster: PAYMASTERS[agent.paymaster],
                permissions: permissions(agent.scope, address),
            },
            nonce: [last + 1, last, last + 2, 0, u128::MAX][nonce],
            plugin_window: FixedBytes::from(plugin_bytes),
        };
        let mut approval = grant.sign(&self.owner_key(account));
        if how.flaw == 19 {
            approval.signature = approval.signature.slice(..64);
        }
        approval
    }
}

/// 200 scenarios of 8 to 40 steps each.
#[test]
fn random_scenarios_show_the_same_on_both() {
    let Some(worlds) = Worlds::new() else { return };
    let cases: u32 = std::env::var("SANDBOX_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(200);
    let seed: u8 = std::env::var("SANDBOX_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(7);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 2000, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let tally = RefCell::new(Tally::default());
    let scenarios = prop::collection::vec(step(), 8..40);
    TestRunner::new_with_rng(config, rng)
        .run(&scenarios, |steps| {
            let mut play = Play::new(worlds.clone());
            for step in &steps {
                play.run(step);
            }
            for (seed, _) in accounts() {
                let opened = [selector::EXECUTE, selector::EXECUTE_BATCH, selector::EXECUTE_DELEGATE_CALL];
                let keys = [0, 1, 2].map(|number| session_key(number).address());
                play.worlds.compare_getters(seed.address(), &keys, &opened);
            }
            tally.borrow_mut().count(&play, steps.len());
            Ok(())
        })
        .unwrap();
    let tally = tally.into_inner();
    println!("{tally:#?}");
    if cases >= 200 {
        tally.assert_far_reaching();
    }
}

/// What the scenarios reached, so that they cannot all be trivial.
#[derive(Debug, Default)]
struct Tally {
    steps: usize,
    bundles_mined: usize,
    reasons: std::collections::BTreeMap<String, usize>,
}

impl Tally {
    fn assert_far_reaching(&self) {
        assert!(self.steps > 3000 && self.bundles_mined > 500, "{self:#?}");
        let reasons = [
            "success=true",
            "success=false",
            "AA10 sender already constructed",
            "AA13 initCode failed or OOG",
            "AA14 initCode must return sender",
            "AA21 didn't pay prefund",
            "AA22 expired or not due",
            "AA23 reverted (or OOG)",
            "AA23 reverted: SessionKeyValidator: invalid execution rule",
            "AA23 reverted: SessionKeyValidator: invalid nonce",
            "AA23 reverted: SessionKeyValidator: operation mismatch",
            "AA23 reverted: SessionKeyValidator: paymaster mismatch",
            "AA23 reverted: SessionKeyValidator: paymaster not set",
            "AA23 reverted: SessionKeyValidator: permission verification failed",
            "AA23 reverted: SessionKeyValidator: runs exceeded",
            "AA23 reverted: SessionKeyValidator: session key not enabled",
            "AA23 reverted: SessionKeyValidator: target mismatch",
            "AA23 reverted: SessionKeyValidator: value limit exceeded",
            "AA24 signature error",
            "AA25 invalid account nonce",
            "AA32 paymaster expired or not due",
            "AA33 reverted: Sponsor: malformed paymasterAndData",
            "AA34 signature error",
            "AA93 invalid paymasterAndData",
            "AA94 gas values overflow",
        ];
        for reason in reasons {
            assert!(self.reasons.contains_key(reason), "nothing came to `{reason}`: {self:#?}");
        }
    }

    fn count(&mut self, play: &Play, steps: usize) {
        self.steps += steps;
        let newest = play.worlds.ours.latest().unwrap().number;
        for transaction in play.worlds.ours.transactions(0, newest) {
            if !transaction.data.starts_with(&EntryPoint::handleOpsCall::SELECTOR) {
                continue;
            }
            let seen = Seen::of(transaction);
            if seen.mined() {
                self.bundles_mined += 1;
                for success in seen.successes() {
                    *self.reasons.entry(format!("success={success}")).or_default() += 1;
                }
            } else {
                let reason = match seen.reason() {
                    "" => "no text".to_owned(),
                    text => text.to_owned(),
                };
                *self.reasons.entry(reason).or_default() += 1;
            }
        }
    }
}

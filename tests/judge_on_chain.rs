//! The judge against the deployed bytecode, on random scopes, states and calls that crowd around the edges.
//!
//! Every case is the same on every run: the generators start from fixed seeds. A failure shrinks to its smallest form.
//! To search further: `KEYLEASH_PROPERTY_SEED` (0 to 255) and `KEYLEASH_PROPERTY_CASES`.
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

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    sync::OnceLock,
};

use alloy::primitives::{Address, B256, Bytes, FixedBytes, Selector, U256, aliases::U48};
use keyleash::{
    erc4337::v06::UserOperation,
    policy::scope::{ANY_PAYMASTER, Condition, ExecutionRule, MAX_UINT48, Operation, Permission, Rule, Scope},
    protocol::{
        AccountCall, Call,
        kernel_v2::{
            account::{AccountSeed, selector},
            approval::EnableData,
            generation::{Generation, KernelVersion},
            judge::{self, ExecutionStatus, Facts, Path, Routing, Window},
            signature::{Shown, proof_data},
        },
    },
};
use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};
use support::deployed::{
    Bundle, Deployed, Kernel, Key, NOW, Validation, approval_request, approve, sign_as_session_key,
};

const KERNELS: [KernelVersion; 3] = [KernelVersion::V0_2_2, KernelVersion::V0_2_3, KernelVersion::V0_2_4];

/// Paymasters that exist on the test chain and sponsor everything.
const PAYMASTERS: [Address; 2] = [Address::repeat_byte(0xa1), Address::repeat_byte(0xa2)];

const TARGETS: [Address; 3] = [Address::ZERO, Address::repeat_byte(0x71), Address::repeat_byte(0x72)];

const SELECTORS: [Selector; 3] =
    [Selector::new([0xa9, 0x05, 0x9c, 0xbb]), Selector::new([0; 4]), Selector::new([0xa9, 0x05, 0x9c, 0])];

// What is generated: recipes, which a scope and then a call, a state and an operation are cooked from. Numbers that
// point into a list are taken modulo its length, so every recipe can be cooked and shrinks freely.

/// Everything that decides about one operation.
#[derive(Debug, Clone)]
struct Case {
    kernel: KernelVersion,
    generation: Generation,
    scope: Scope,
    path: Path,
    approval_nonce: u128,
    /// The account function the approval opens (mode 2).
    approved: Selector,
    facts: Facts,
    call: AccountCall,
    /// The account calldata, where it is not `call` as we encode it.
    raw: Option<Bytes>,
    shown: Vec<usize>,
}

#[derive(Debug, Clone)]
struct CallRecipe {
    /// The permission this call is made to fit.
    like: usize,
    /// Another target than the permission's.
    to: Option<usize>,
    value: Amount,
    selector: Option<Selector>,
    /// Words behind the selector before the rules are met.
    words: Vec<u8>,
    /// How the words under rules miss the parameter.
    nudges: Vec<Nudge>,
    cut: Cut,
}

#[derive(Debug, Clone, Copy)]
enum Amount {
    Zero,
    Limit,
    OverLimit,
    One,
}

#[derive(Debug, Clone, Copy)]
enum Nudge {
    /// The word meets the rule, as close to the edge as can be.
    Meet,
    /// One too many or too few.
    Miss,
    /// Whatever was there.
    Leave,
}

#[derive(Debug, Clone, Copy)]
enum Cut {
    Nothing,
    /// So many bytes off the end.
    Short(usize),
    /// So many bytes more.
    Long(usize),
    /// Down to so many bytes.
    To(usize),
}

#[derive(Debug, Clone)]
enum FunctionRecipe {
    Execute,
    Batch,
    Delegate,
    /// Any other account calldata.
    Other(Vec<u8>),
}

#[derive(Debug, Clone)]
struct StateRecipe {
    last_nonce: Option<u128>,
    invalid_nonce: u128,
    enabled: bool,
    routing: Routing,
    plugin_window: Window,
    status: Vec<Option<(u64, u64)>>,
    disabled_mode: u32,
    paymaster_and_data: Vec<u8>,
}

fn rarely<T: Clone + std::fmt::Debug + 'static>(
    usual: impl Strategy<Value = T> + 'static,
    rare: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<T> {
    prop_oneof![32 => usual, 1 => rare].boxed()
}

fn time() -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => select(vec![1, NOW - 10, NOW - 1, NOW]),
        1 => select(vec![NOW + 1, NOW + 10, MAX_UINT48 - 1, MAX_UINT48]),
    ]
}

fn window() -> impl Strategy<Value = Window> {
    let after = prop_oneof![6 => Just(0), 1 => time()];
    let until = prop_oneof![6 => Just(0), 1 => time().prop_map(|t| t.max(NOW - 1)), 1 => Just(NOW + 10)];
    (after, until).prop_map(|(after, until)| Window { after, until })
}

fn offset() -> impl Strategy<Value = U256> {
    let far = [
        U256::MAX,
        U256::MAX - U256::from(3),
        U256::MAX - U256::from(4),
        U256::MAX - U256::from(35),
        U256::MAX - U256::from(36),
        U256::ONE << 255,
        U256::ONE << 64,
        (U256::ONE << 64) - U256::from(4),
        (U256::ONE << 64) - U256::from(36),
        U256::ONE << 32,
    ];
    prop_oneof![
        16 => (0u64..4).prop_map(|i| U256::from(32 * i)),
        4 => (0u64..100).prop_map(U256::from),
        1 => select(far.to_vec()),
    ]
}

fn param() -> impl Strategy<Value = B256> {
    prop_oneof![
        4 => select(vec![U256::ZERO, U256::ONE, U256::from(1000), U256::MAX, U256::MAX - U256::ONE, U256::ONE << 255]),
        1 => any::<[u8; 32]>().prop_map(U256::from_be_bytes),
    ]
    .prop_map(B256::from)
}

fn rule() -> impl Strategy<Value = Rule> {
    (offset(), select(Condition::ALL.to_vec()), param()).prop_map(|(offset, condition, param)| Rule {
        offset,
        condition,
        param,
    })
}

fn execution_rule() -> impl Strategy<Value = ExecutionRule> {
    let limits = (
        prop_oneof![1 => Just(0), 2 => time()],
        prop_oneof![2 => Just(0), 3 => select(vec![1, 5, 10, MAX_UINT48 - NOW, MAX_UINT48])],
        select(vec![0, 1, 2, 3, MAX_UINT48]),
    )
        .prop_map(|(valid_after, interval, runs)| ExecutionRule { valid_after, interval, runs });
    prop_oneof![2 => Just(ExecutionRule::default()), 1 => limits]
}

fn permission() -> impl Strategy<Value = (Option<u32>, Permission)> {
    (
        prop_oneof![20 => Just(None), 1 => (0u32..2).prop_map(Some), 1 => Just(Some(u32::MAX))],
        select(TARGETS.to_vec()),
        select(SELECTORS.to_vec()),
        select(vec![U256::ZERO, U256::ONE, U256::from(1000), U256::MAX]),
        vec(rule(), 0..4),
        execution_rule(),
        select(vec![Operation::Call, Operation::DelegateCall]),
    )
        .prop_map(|(index, target, sig, value_limit, rules, execution_rule, operation)| {
            (index, Permission { index: 0, target, sig, value_limit, rules, execution_rule, operation })
        })
}

fn scope() -> impl Strategy<Value = Scope> {
    let permissions = prop_oneof![1 => vec(permission(), 0..1), 12 => vec(permission(), 1..5)].prop_map(|list| {
        let numbered = |(position, (index, permission)): (usize, (Option<u32>, Permission))| Permission {
            index: index.unwrap_or(position as u32),
            ..permission
        };
        list.into_iter().enumerate().map(numbered).collect::<Vec<_>>()
    });
    let paymaster = prop_oneof![16 => Just(Address::ZERO), 1 => Just(ANY_PAYMASTER), 2 => Just(PAYMASTERS[0])];
    (window(), paymaster, permissions).prop_map(|(window, paymaster, permissions)| Scope {
        valid_after: window.after,
        valid_until: window.until,
        paymaster,
        permissions,
    })
}

fn call_recipe() -> impl Strategy<Value = CallRecipe> {
    (
        any::<usize>(),
        prop_oneof![24 => Just(None), 1 => (0..TARGETS.len()).prop_map(Some)],
        prop_oneof![
            16 => Just(Amount::Zero), 6 => Just(Amount::Limit), 1 => Just(Amount::One), 1 => Just(Amount::OverLimit)
        ],
        prop_oneof![32 => Just(None), 1 => select(SELECTORS.to_vec()).prop_map(Some)],
        vec(any::<u8>(), 0..4),
        vec(
            prop_oneof![
                24 => Just(Nudge::Meet), 1 => Just(Nudge::Miss), 1 => Just(Nudge::Leave)
            ],
            4,
        ),
        prop_oneof![
            40 => Just(Cut::Nothing), 1 => (1..34usize).prop_map(Cut::Short),
            1 => (1..34usize).prop_map(Cut::Long), 1 => (0..8usize).prop_map(Cut::To)
        ],
    )
        .prop_map(|(like, to, value, selector, words, nudges, cut)| CallRecipe {
            like,
            to,
            value,
            selector,
            words,
            nudges,
            cut,
        })
}

fn function() -> impl Strategy<Value = FunctionRecipe> {
    let heads = vec![[0xd5, 0x41, 0x62, 0x21], [0x29, 0xf8, 0xb1, 0x74], [0x12, 0x34, 0xab, 0xcd], [0; 4]];
    let other = (select(heads), vec(any::<u8>(), 0..40)).prop_map(|(head, tail)| [&head[..], &tail].concat());
    prop_oneof![
        9 => Just(FunctionRecipe::Execute),
        9 => Just(FunctionRecipe::Batch),
        3 => Just(FunctionRecipe::Delegate),
        1 => prop_oneof![other, vec(any::<u8>(), 0..4)].prop_map(FunctionRecipe::Other),
    ]
}

fn paymaster_and_data() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => Just(PAYMASTERS[0].to_vec()),
        1 => Just(PAYMASTERS[1].to_vec()),
        1 => Just([PAYMASTERS[0].as_slice(), &[1, 2, 3]].concat()),
        1 => Just(vec![0; 20]),
        1 => Just(vec![0; 25]),
        1 => (1..20usize).prop_map(|n| vec![0xa1; n]),
    ]
}

fn state() -> impl Strategy<Value = StateRecipe> {
    (
        rarely(Just(None), select(vec![0, 1, 2, 3, u128::MAX - 1, u128::MAX]).prop_map(Some)),
        rarely(Just(0), select(vec![1, 2, 3, u128::MAX])),
        rarely(Just(true), Just(false)),
        rarely(Just(Routing::Here), select(vec![Routing::Nowhere, Routing::Elsewhere])),
        rarely(Just(Window::default()), window()),
        vec(proptest::option::weighted(0.4, (prop_oneof![Just(0), time()], select(vec![0, 1, 2, 3]))), 5),
        rarely(Just(0), select(vec![u32::MAX, 1, 2, 3, 4, 0x100, 0x0100_0000, 0x8000_0000])),
        prop_oneof![4 => Just(Vec::new()), 1 => paymaster_and_data()],
    )
        .prop_map(
            |(
                last_nonce,
                invalid_nonce,
                enabled,
                routing,
                plugin_window,
                status,
                disabled_mode,
                paymaster_and_data,
            )| {
                StateRecipe {
                    last_nonce,
                    invalid_nonce,
                    enabled,
                    routing,
                    plugin_window,
                    status,
                    disabled_mode,
                    paymaster_and_data,
                }
            },
        )
}

/// How the permissions to show are chosen: mostly the ones the calls were made to fit.
#[derive(Debug, Clone)]
struct ShownRecipe {
    other: Vec<Option<usize>>,
    /// One fewer or one more than there are calls.
    length: i8,
}

fn shown() -> impl Strategy<Value = ShownRecipe> {
    let other = prop_oneof![6 => Just(None), 1 => any::<usize>().prop_map(Some)];
    (vec(other, 5), rarely(Just(0), select(vec![-1, 1]))).prop_map(|(other, length)| ShownRecipe { other, length })
}

/// Anything that decides about an operation.
fn case() -> impl Strategy<Value = Case> {
    let calls = prop_oneof![8 => vec(call_recipe(), 1..4), 1 => vec(call_recipe(), 0..1)];
    let path = prop_oneof![3 => Just(Path::Use), 1 => Just(Path::Enable)];
    let approval_nonce = rarely(1u128..3, select(vec![0, 3, u128::MAX]));
    let approved = rarely(Just(None), select(vec![selector::EXECUTE, selector::EXECUTE_BATCH]).prop_map(Some));
    (contracts(), scope(), path, approval_nonce, approved, state(), function(), calls, shown()).prop_map(
        |(contracts, scope, path, approval_nonce, approved, state, function, calls, shown)| {
            Case::cook(contracts, scope, (path, approval_nonce, approved), state, &function, &calls, &shown)
        },
    )
}

/// Batches that use up the runs and slots of few permissions, some of them sharing a counter.
fn batch_on_few_counters() -> impl Strategy<Value = Case> {
    let limits = (
        select(vec![1, NOW - 20, NOW - 10, NOW]),
        select(vec![0, 5, 10, 10, 11, 20, MAX_UINT48 - NOW]),
        select(vec![0, 1, 2, 2, 3, 4]),
    )
        .prop_map(|(valid_after, interval, runs)| ExecutionRule { valid_after, interval, runs });
    let permission = (rarely(Just(None), Just(Some(0))), select(TARGETS.to_vec()), limits, 0..4u8);
    let permissions = vec(permission, 1..5).prop_map(|list| {
        let limited =
            |(position, (index, target, limits, unlimited)): (usize, (Option<u32>, Address, _, u8))| Permission {
                index: index.unwrap_or(position as u32),
                target,
                sig: SELECTORS[0],
                value_limit: U256::ZERO,
                rules: Vec::new(),
                execution_rule: if unlimited == 0 { ExecutionRule::default() } else { limits },
                operation: Operation::Call,
            };
        list.into_iter().enumerate().map(limited).collect::<Vec<_>>()
    });
    let status = proptest::option::weighted(0.5, (select(vec![0, 1, NOW - 20, NOW - 10, NOW]), 0..3u64));
    let calls = vec((any::<usize>(), proptest::option::weighted(0.2, 0..TARGETS.len())), 2..6);
    (contracts(), permissions, vec(status, 5), calls, shown()).prop_map(
        |(contracts, permissions, status, calls, shown)| {
            let scope = Scope { valid_after: 0, valid_until: 0, paymaster: Address::ZERO, permissions };
            let state = StateRecipe { status, ..StateRecipe::clean() };
            let recipe = |(like, to)| CallRecipe {
                like,
                to,
                value: Amount::Zero,
                selector: None,
                words: Vec::new(),
                nudges: Vec::new(),
                cut: Cut::Nothing,
            };
            let calls: Vec<CallRecipe> = calls.into_iter().map(recipe).collect();
            Case::cook(contracts, scope, (Path::Use, 1, None), state, &FunctionRecipe::Batch, &calls, &shown)
        },
    )
}

/// One change to encoded calldata that no encoder would make.
#[derive(Debug, Clone)]
enum Damage {
    Short(usize),
    Long(usize),
    /// Another number in the word at this position.
    Word(usize, u64),
    /// More in the word at this position.
    Shift(usize, u64),
    /// A byte in the word that should be zero.
    Dirt(usize, usize),
}

/// Calls a key may make, if only the calldata were as it should be.
fn damaged_calldata() -> impl Strategy<Value = Case> {
    let amount = || prop_oneof![select(vec![0u64, 1, 31, 32, 33, 64, 96, 128]), 0..300u64];
    let damage = prop_oneof![
        (0..70usize).prop_map(Damage::Short),
        (0..70usize).prop_map(Damage::Long),
        (0..12usize, amount()).prop_map(|(word, value)| Damage::Word(word, value)),
        (0..12usize, amount()).prop_map(|(word, more)| Damage::Shift(word, more)),
        (0..12usize, select(vec![0usize, 11, 23])).prop_map(|(word, byte)| Damage::Dirt(word, byte)),
    ];
    let function =
        prop_oneof![Just(FunctionRecipe::Execute), Just(FunctionRecipe::Batch), Just(FunctionRecipe::Delegate)];
    (contracts(), scope(), function, vec(call_recipe(), 1..3), vec(damage, 1..3)).prop_map(
        |(contracts, mut scope, function, calls, damages)| {
            (scope.valid_after, scope.valid_until, scope.paymaster) = (0, 0, Address::ZERO);
            for permission in &mut scope.permissions {
                permission.execution_rule = ExecutionRule::default();
            }
            let shown = ShownRecipe { other: Vec::new(), length: 0 };
            let case =
                Case::cook(contracts, scope, (Path::Use, 1, None), StateRecipe::clean(), &function, &calls, &shown);
            let mut raw = case.call.encode().to_vec();
            for damage in damages {
                damage.apply(&mut raw);
            }
            Case { call: AccountCall::decode(&raw), raw: Some(raw.into()), ..case }
        },
    )
}

impl Damage {
    fn apply(&self, raw: &mut Vec<u8>) {
        let at = |word: &usize| 4 + 32 * word;
        match self {
            Self::Short(n) => raw.truncate(raw.len().saturating_sub(*n).max(4)),
            Self::Long(n) => raw.resize(raw.len() + n, 0xcc),
            Self::Word(word, _) | Self::Shift(word, _) | Self::Dirt(word, _) if raw.len() < at(word) + 32 => {}
            Self::Word(word, value) => raw[at(word)..][..32].copy_from_slice(&U256::from(*value).to_be_bytes::<32>()),
            Self::Shift(word, more) => {
                let shifted = U256::from_be_slice(&raw[at(word)..][..32]).wrapping_add(U256::from(*more));
                raw[at(word)..][..32].copy_from_slice(&shifted.to_be_bytes::<32>());
            }
            Self::Dirt(word, byte) => raw[at(word) + byte] ^= 0x81,
        }
    }
}

fn contracts() -> impl Strategy<Value = (KernelVersion, Generation)> {
    (select(KERNELS.to_vec()), select(vec![Generation::G1, Generation::G2, Generation::G2]))
}

impl Case {
    fn cook(
        (kernel, generation): (KernelVersion, Generation),
        scope: Scope,
        (path, approval_nonce, approved): (Path, u128, Option<Selector>),
        state: StateRecipe,
        function: &FunctionRecipe,
        calls: &[CallRecipe],
        shown: &ShownRecipe,
    ) -> Self {
        let cook = |recipe: &CallRecipe| recipe.cook(&scope.permissions, function);
        let fits: Vec<usize> = calls.iter().map(|c| c.like % scope.permissions.len().max(1)).collect();
        let one = calls.first().map(cook).unwrap_or_default();
        let (call, inner) = match function {
            FunctionRecipe::Execute => (AccountCall::Execute(one), 1),
            FunctionRecipe::Delegate => (AccountCall::ExecuteDelegateCall { to: one.to, data: one.data }, 1),
            FunctionRecipe::Batch => (AccountCall::ExecuteBatch(calls.iter().map(cook).collect()), calls.len()),
            FunctionRecipe::Other(data) => (AccountCall::Other(data.clone().into()), 0),
        };
        let shown = shown.cook(&scope.permissions, &fits, inner, matches!(function, FunctionRecipe::Batch));
        let approved = approved.or(call.selector()).unwrap_or(selector::EXECUTE);
        let facts = state.cook(&scope.permissions, path, approval_nonce);
        Self { kernel, generation, scope, path, approval_nonce, approved, facts, call, raw: None, shown }
    }
}

impl CallRecipe {
    fn cook(&self, permissions: &[Permission], function: &FunctionRecipe) -> Call {
        let blank = Permission {
            index: 0,
            target: TARGETS[1],
            sig: SELECTORS[0],
            value_limit: U256::ZERO,
            rules: Vec::new(),
            execution_rule: ExecutionRule::default(),
            operation: Operation::Call,
        };
        let like = permissions.get(self.like % permissions.len().max(1)).unwrap_or(&blank);
        let value = match self.value {
            Amount::Zero => U256::ZERO,
            Amount::One => U256::ONE,
            Amount::Limit => like.value_limit,
            Amount::OverLimit => like.value_limit.saturating_add(U256::ONE),
        };
        let mut data = self.selector.unwrap_or(like.sig).to_vec();
        for word in &self.words {
            data.extend(B256::with_last_byte(*word));
        }
        for (rule, nudge) in like.rules.iter().zip(&self.nudges) {
            let Some(at) = usize::try_from(rule.offset).ok().filter(|o| *o < 1000).map(|o| o + 4) else { continue };
            data.resize(data.len().max(at + 32), 0);
            let param = U256::from_be_bytes(rule.param.0);
            let near = [param, param.wrapping_add(U256::ONE), param.wrapping_sub(U256::ONE)];
            let meets = |word: &U256| rule.condition.holds(*word, param);
            let word = match nudge {
                Nudge::Meet => near.into_iter().find(meets),
                Nudge::Miss => near.into_iter().find(|word| !meets(word)),
                Nudge::Leave => None,
            };
            let Some(word) = word else { continue };
            data[at..at + 32].copy_from_slice(&word.to_be_bytes::<32>());
        }
        match self.cut {
            Cut::Nothing => {}
            Cut::Short(n) => data.truncate(data.len().saturating_sub(n)),
            Cut::Long(n) => data.resize(data.len() + n, 0xee),
            Cut::To(n) => data.truncate(n),
        }
        let to = self.to.map_or(like.target, |i| TARGETS[i]);
        let value = if matches!(function, FunctionRecipe::Delegate) { U256::ZERO } else { value };
        Call { to, value, data: data.into() }
    }
}

impl StateRecipe {
    /// The key is enabled, nothing was used, and nothing is in the way.
    fn clean() -> Self {
        Self {
            last_nonce: None,
            invalid_nonce: 0,
            enabled: true,
            routing: Routing::Here,
            plugin_window: Window::default(),
            status: Vec::new(),
            disabled_mode: 0,
            paymaster_and_data: Vec::new(),
        }
    }

    fn cook(&self, permissions: &[Permission], path: Path, approval_nonce: u128) -> Facts {
        let usual_last = match path {
            Path::Use => approval_nonce,
            Path::Enable => approval_nonce.wrapping_sub(1),
        };
        let status = |(permission, status): (&Permission, &Option<(u64, u64)>)| {
            status.map(|(valid_after, runs)| (permission.index, ExecutionStatus { valid_after, runs }))
        };
        Facts {
            timestamp: NOW,
            last_nonce: self.last_nonce.unwrap_or(usual_last),
            invalid_nonce: self.invalid_nonce,
            enabled: self.enabled,
            routing: self.routing,
            plugin_window: self.plugin_window,
            execution_status: permissions.iter().zip(&self.status).filter_map(status).collect::<BTreeMap<_, _>>(),
            disabled_mode: self.disabled_mode,
            paymaster_and_data: self.paymaster_and_data.clone().into(),
        }
    }
}

impl ShownRecipe {
    fn cook(&self, permissions: &[Permission], fits: &[usize], inner_calls: usize, batch: bool) -> Vec<usize> {
        if permissions.is_empty() {
            return Vec::new();
        }
        // Behind one call without proof data the contract reads past the signature: its words, not ours.
        let least = usize::from(!batch);
        let length = inner_calls.saturating_add_signed(self.length.into()).max(least);
        let pick = |i: usize| self.other.get(i).copied().flatten().or(fits.get(i).copied()).unwrap_or(0);
        (0..length).map(|i| pick(i) % permissions.len()).collect()
    }
}

// The same case on the chain.

/// What the chain answers, in the judge's terms: the window, or the `AA` code and the validator's text.
type Verdict = Result<Window, (String, Option<String>)>;

impl Case {
    fn key(&self) -> judge::Key<'_> {
        judge::Key {
            generation: self.generation,
            scope: &self.scope,
            approval_nonce: self.approval_nonce,
            selector: self.approved,
        }
    }

    fn judged(&self) -> Verdict {
        judge::judge(&self.key(), self.path, &self.facts, &self.call, &self.shown).map(|a| a.window).map_err(|d| {
            let answer = d.reason.on_chain();
            (answer.code.to_owned(), answer.text.map(str::to_owned))
        })
    }

    fn seed(kernel: KernelVersion) -> AccountSeed {
        AccountSeed { owner: Key::anvil(0).address(), index: U256::from(kernel as u8) }
    }

    /// A chain on which [`Self::facts`] hold.
    fn world(&self) -> Option<Deployed> {
        static WORLD: OnceLock<Option<Deployed>> = OnceLock::new();
        let world = WORLD.get_or_init(|| {
            let mut chain = Deployed::load()?;
            for kernel in KERNELS {
                chain.deploy_account(Self::seed(kernel), kernel);
            }
            for paymaster in PAYMASTERS {
                chain.install_paymaster(paymaster);
            }
            Some(chain)
        });
        let mut chain = world.clone()?;
        let (facts, account) = (&self.facts, Self::seed(self.kernel).address());
        chain.timestamp = facts.timestamp;
        chain.set_nonces(self.generation, account, facts.last_nonce, facts.invalid_nonce);
        if facts.enabled {
            let data = EnableData::new(Key::anvil(1).address(), &self.scope, self.approval_nonce, self.generation);
            chain.set_session_data(self.generation, account, &data);
        }
        for (index, status) in &facts.execution_status {
            let counter = (self.approval_nonce, *index);
            chain.set_execution_status(self.generation, account, counter, (status.valid_after, status.runs));
        }
        let validator = match (facts.routing, self.generation) {
            (Routing::Nowhere, _) => Address::ZERO,
            (Routing::Here, generation) => generation.address(),
            (Routing::Elsewhere, Generation::G1) => Generation::G2.address(),
            (Routing::Elsewhere, _) => Generation::G1.address(),
        };
        let route = Kernel::Execution {
            validAfter: U48::from(facts.plugin_window.after),
            validUntil: U48::from(facts.plugin_window.until),
            executor: Address::ZERO,
            validator,
        };
        chain.set_execution(account, self.call.selector().unwrap_or_default(), &route);
        chain.set_disabled_mode(account, facts.disabled_mode);
        Some(chain)
    }

    fn operation(&self, chain: &mut Deployed) -> UserOperation {
        let (owner, agent) = (Key::anvil(0), Key::anvil(1));
        let account = Self::seed(self.kernel).address();
        let mut op = chain.user_op(account, &self.call);
        op.call_data = self.raw.clone().unwrap_or(op.call_data);
        op.paymaster_and_data = self.facts.paymaster_and_data.clone();
        let shown = match &self.call {
            AccountCall::ExecuteBatch(_) if !self.scope.permissions.is_empty() => Shown::Batch(&self.shown),
            _ => self.shown.first().map_or(Shown::Nothing, |i| Shown::One(*i)),
        };
        let proof = proof_data(&self.scope.permissions, shown, self.generation).unwrap();
        let approval = (self.path == Path::Enable).then(|| {
            let mut request = approval_request(
                account,
                self.kernel,
                self.generation,
                self.approved,
                agent.address(),
                &self.scope,
                self.approval_nonce,
            );
            let uint48 = |t: u64| U48::from(t).to_be_bytes::<6>();
            let Window { after, until } = self.facts.plugin_window;
            request.plugin_window = FixedBytes::from_slice(&[uint48(after), uint48(until)].concat());
            approve(request, &owner)
        });
        sign_as_session_key(&mut op, &agent, approval.as_ref(), &proof);
        op
    }

    /// What the account and the EntryPoint answer; `None` without the deployed bytecode.
    fn answered(&self) -> Option<Verdict> {
        let mut chain = self.world()?;
        let op = self.operation(&mut chain);
        let bundle = chain.try_ops(std::slice::from_ref(&op));
        if let Bundle::Mined(mined) = &bundle {
            assert_eq!(mined.len(), 1);
            let Validation::Answered { sig_failed: false, valid_after, valid_until } = chain.validate_user_op(&op)
            else {
                panic!("the EntryPoint took an operation that the account refused");
            };
            let until = if valid_until == 0 { MAX_UINT48 } else { valid_until };
            return Some(Ok(Window { after: valid_after, until }));
        }
        let reason = bundle.reason().expect("handleOps gives a reason");
        let text = reason.strip_prefix("AA23 reverted: SessionKeyValidator: ").map(str::to_owned);
        assert!(text.is_some() || !reason.starts_with("AA23 reverted: "), "another text: {reason}");
        Some(Err((bundle.aa_code().expect("a code"), text)))
    }
}

/// Runs `check` on `cases` cases from `strategy`, started with `seed`.
fn for_all(
    strategy: impl Strategy<Value = Case>,
    seed: u8,
    cases: u32,
    check: impl Fn(&Case) -> Result<(), TestCaseError>,
) {
    let asked = |name| std::env::var(name).ok().map(|text: String| text.parse::<u32>().unwrap());
    let seed = asked("KEYLEASH_PROPERTY_SEED").map_or(seed, |n| n as u8);
    let cases = asked("KEYLEASH_PROPERTY_CASES").unwrap_or(cases);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 2000, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    if let Err(error) = TestRunner::new_with_rng(config, rng).run(&strategy, |case| check(&case)) {
        panic!("{error}");
    }
}

/// Compares judge and chain on every case; `expected` answers must all have come up, so that the test has teeth.
fn judge_answers_as_the_chain_does(strategy: impl Strategy<Value = Case>, seed: u8, cases: u32, expected: &[&str]) {
    if Deployed::load().is_none() {
        return;
    }
    let seen = RefCell::new(BTreeMap::<String, u32>::new());
    for_all(strategy, seed, cases, |case| {
        let answered = case.answered().unwrap();
        let name = match &answered {
            Ok(_) => "accepted".to_owned(),
            Err((code, None)) => code.clone(),
            Err((code, Some(text))) => format!("{code} {text}"),
        };
        *seen.borrow_mut().entry(name).or_default() += 1;
        prop_assert_eq!(case.judged(), answered, "judge | chain");
        Ok(())
    });
    let seen = seen.into_inner();
    println!("{seen:?}");
    for name in expected {
        assert!(seen.contains_key(*name), "no case was answered `{name}`: {seen:?}");
    }
}

#[test]
fn the_judge_answers_as_the_chain_does() {
    let expected = [
        "accepted",
        "AA22",
        "AA23",
        "AA23 invalid execution rule",
        "AA23 invalid nonce",
        "AA23 operation mismatch",
        "AA23 paymaster mismatch",
        "AA23 paymaster not set",
        "AA23 permission verification failed",
        "AA23 runs exceeded",
        "AA23 session key not enabled",
        "AA23 target mismatch",
        "AA23 value limit exceeded",
        "AA24",
        "AA93",
    ];
    judge_answers_as_the_chain_does(case(), 1, 3000, &expected);
}

#[test]
fn the_judge_counts_runs_and_slots_within_a_batch_as_the_chain_does() {
    let expected = ["accepted", "AA22", "AA23", "AA23 runs exceeded", "AA23 target mismatch"];
    judge_answers_as_the_chain_does(batch_on_few_counters(), 2, 1500, &expected);
}

/// Every way to show one permission a call.
fn choices(case: &Case) -> Vec<Vec<usize>> {
    if case.scope.permissions.is_empty() {
        return vec![Vec::new()];
    }
    let mut choices = vec![Vec::new()];
    for _ in case.call.calls() {
        let longer = |c: Vec<usize>| (0..case.scope.permissions.len()).map(move |p| [&c[..], &[p]].concat());
        choices = choices.into_iter().flat_map(longer).collect();
    }
    choices
}

fn find_finds_what_there_is(case: &Case, accepted: impl Fn(&[usize]) -> bool) -> Result<(), TestCaseError> {
    match judge::find(&case.key(), case.path, &case.facts, &case.call) {
        Ok(found) => prop_assert!(accepted(&found.shown), "{:?} was found but is not accepted", found.shown),
        Err(denied) => {
            let missed = choices(case).into_iter().find(|c| accepted(c));
            prop_assert!(missed.is_none(), "{missed:?} is accepted, and was not found: {denied:?}");
        }
    }
    Ok(())
}

#[test]
fn a_choice_of_permissions_is_found_whenever_the_judge_accepts_one() {
    let accepts = |case: &Case| {
        let case = case.clone();
        move |shown: &[usize]| judge::judge(&case.key(), case.path, &case.facts, &case.call, shown).is_ok()
    };
    for_all(case(), 3, 3000, |case| find_finds_what_there_is(case, accepts(case)));
    for_all(batch_on_few_counters(), 4, 1000, |case| find_finds_what_there_is(case, accepts(case)));
}

#[test]
fn a_choice_of_permissions_is_found_whenever_the_chain_accepts_one() {
    if Deployed::load().is_none() {
        return;
    }
    let check = |case: &Case| {
        if choices(case).len() > 16 {
            return Ok(()); // too many to ask the chain about; the judge itself is asked above
        }
        find_finds_what_there_is(case, |shown| {
            Case { shown: shown.to_vec(), ..case.clone() }.answered().unwrap().is_ok()
        })
    };
    for_all(case(), 5, 300, check);
    for_all(batch_on_few_counters(), 6, 200, check);
}

/// A recorder in place of every target, so that what an operation really called can be compared with what we read.
fn calls_made(case: &Case) -> Option<Vec<Call>> {
    let mut chain = case.world().unwrap();
    for target in TARGETS {
        chain.install_recorder(target);
    }
    let op = case.operation(&mut chain);
    // An account whose fallback is reached logs the whole calldata in the same form.
    let inner = |call: &Call| call.data != op.call_data;
    match chain.handle_ops(std::slice::from_ref(&op)) {
        Bundle::Mined(mined) if mined[0].success => {
            Some(mined[0].recorded.iter().filter(|c| inner(c)).cloned().collect())
        }
        _ => None,
    }
}

#[test]
fn calldata_that_no_encoder_would_write_is_read_as_the_account_reads_it() {
    if Deployed::load().is_none() {
        return;
    }
    let (made, unreadable) = (Cell::new(0), Cell::new(0));
    for_all(damaged_calldata(), 7, 1000, |case| {
        if let AccountCall::Other(_) = case.call {
            // The validator does not look whether the data of one call ends within the calldata, but the account does.
            // Kernel 0.2.2 does not know executeDelegateCall and does nothing.
            let calls = calls_made(case).unwrap_or_default();
            prop_assert!(calls.is_empty(), "what we cannot read made calls: {calls:?}");
            unreadable.set(unreadable.get() + 1);
            return Ok(());
        }
        prop_assert_eq!(case.judged(), case.answered().unwrap(), "judge | chain");
        if let Some(calls) = calls_made(case).filter(|_| case.call.selector() != Some(selector::EXECUTE_DELEGATE_CALL))
        {
            let read = case.call.calls().into_iter().filter(|call| TARGETS.contains(&call.to)).collect::<Vec<_>>();
            prop_assert_eq!(read, calls, "read | made");
            made.set(made.get() + 1);
        }
        Ok(())
    });
    assert!(made.get() > 50 && unreadable.get() > 50, "{made:?} {unreadable:?}");
}

//! What owners, agents and strangers do in the scenarios: scopes, calls, and signed operations built from them.

use alloy::{
    primitives::{Address, B256, Bytes, FixedBytes, Selector, U256, address, aliases::U48, bytes},
    sol_types::SolCall,
};
use keyleash::{
    erc4337::v06::{ENTRY_POINT, UserOperation},
    policy::scope::{ANY_PAYMASTER, Condition, ExecutionRule, Operation, Permission, Rule, Scope},
    protocol::{
        AccountCall, Call,
        kernel_v2::{
            account::{self, AccountSeed, selector},
            approval::{Approval, ApprovalRequest, EnableData},
            generation::{ECDSA_VALIDATOR, Generation, KernelVersion},
            signature::{self, Shown},
        },
    },
    sandbox::{
        CHAIN_ID,
        contracts::{DEMO_LENDING, DEMO_NFT, DEMO_TOKEN, SPONSOR},
    },
};

use crate::world::{Demo, ETHER, Kernel, Key, NOW, SKV, Worlds};

pub const FRIEND: Address = address!("000000000000000000000000000000000000f00d");

/// Session keys are anvil's 2 to 4, owners 0 and 1.
pub fn session_key(number: usize) -> Key {
    Key::anvil(2 + number % 3)
}

pub fn owner(number: usize) -> Key {
    Key::anvil(number % 2)
}

/// The accounts of the scenarios: who owns them, and with which Kernel they are deployed.
pub fn accounts() -> [(AccountSeed, KernelVersion); 4] {
    let seed = |number: usize, index: u8| AccountSeed { owner: owner(number).address(), index: U256::from(index) };
    [
        (seed(0, 0), KernelVersion::V0_2_2),
        (seed(0, 1), KernelVersion::V0_2_4),
        (seed(1, 0), KernelVersion::V0_2_4),
        (seed(1, 1), KernelVersion::V0_2_2),
    ]
}

pub fn word(value: u64) -> B256 {
    B256::from(U256::from(value))
}

fn permission(target: Address, sig: Selector) -> Permission {
    Permission {
        index: 0,
        target,
        sig,
        value_limit: U256::ZERO,
        rules: Vec::new(),
        execution_rule: ExecutionRule::default(),
        operation: Operation::Call,
    }
}

fn rule(offset: u64, condition: Condition, param: B256) -> Rule {
    Rule { offset: U256::from(offset), condition, param }
}

pub const MINT: Selector = Selector::new(Demo::mintCall::SELECTOR);
pub const NO_SIG: Selector = Selector::ZERO;

/// How many different scopes there are.
pub const SCOPES: usize = 12;

/// The permission lists that keys are granted, `index` set to the position.
pub fn permissions(number: usize, account: Address) -> Vec<Permission> {
    let mint = permission(DEMO_NFT, MINT);
    let own_mint = Permission { rules: vec![rule(0, Condition::Eq, account.into_word())], ..mint.clone() };
    let timed = |valid_after, interval, runs| Permission {
        execution_rule: ExecutionRule { valid_after, interval, runs },
        ..mint.clone()
    };
    let ether = |limit| Permission { value_limit: U256::from(limit), ..permission(Address::ZERO, NO_SIG) };
    let repay = permission(DEMO_LENDING, Selector::new(Demo::repayCall::SELECTOR));
    let transfer = permission(DEMO_TOKEN, Selector::new(Demo::transferCall::SELECTOR));
    let mut list = match number % SCOPES {
        0 => vec![],
        1 => vec![own_mint],
        2 => vec![timed(0, 0, 2), ether(1000)],
        3 => vec![timed(NOW, 3600, 3), own_mint, timed(NOW + 5000, 0, 0)],
        4 => vec![ether(1000), Permission { target: Address::ZERO, ..mint }],
        5 => vec![
            Permission {
                rules: vec![
                    rule(32, Condition::Lte, word(100)),
                    rule(0, Condition::Ne, account.into_word()),
                    rule(32, Condition::Gt, word(10)),
                ],
                ..transfer.clone()
            },
            Permission {
                rules: vec![rule(32, Condition::Gte, word(5)), rule(32, Condition::Lt, word(50))],
                value_limit: U256::MAX,
                ..repay
            },
            Permission { operation: Operation::DelegateCall, ..transfer.clone() },
            own_mint,
            ether(10),
        ],
        6 => vec![
            Permission { operation: Operation::DelegateCall, ..mint.clone() },
            permission(SKV, Selector::new(account::disableCall::SELECTOR)),
            permission(ECDSA_VALIDATOR, Selector::new(account::enableCall::SELECTOR)),
        ],
        // broken on purpose: no schedule to start from, a rule past the data, offsets that overflow
        7 => vec![
            timed(0, 60, 0),
            Permission { rules: vec![rule(64, Condition::Eq, word(0))], ..mint.clone() },
            Permission {
                rules: vec![Rule { offset: U256::MAX, condition: Condition::Eq, param: word(0) }],
                ..mint.clone()
            },
            Permission {
                rules: vec![Rule { offset: U256::MAX - U256::from(10), condition: Condition::Eq, param: word(0) }],
                ..mint
            },
        ],
        8 => vec![permission(account, Selector::new(account::setExecutionCall::SELECTOR)), own_mint],
        9 => vec![timed(NOW, (1 << 48) - 1, 0), timed((1 << 48) - 1, 1, 1)],
        10 => vec![permission(DEMO_NFT, Selector::new(Demo::transferFromCall::SELECTOR)), timed(NOW - 10_000, 600, 5)],
        _ => (0..9).map(|i| Permission { value_limit: U256::from(i), ..mint.clone() }).collect(),
    };
    for (i, permission) in list.iter_mut().enumerate() {
        permission.index = if number % SCOPES == 8 { 0 } else { i as u32 };
    }
    list
}

/// How many different inner calls there are.
pub const CALLS: usize = 14;

/// The calls that keys and owners try.
pub fn call(number: usize, account: Address, key: Address) -> Call {
    let to = |to: Address, data: Vec<u8>| Call { to, value: U256::ZERO, data: data.into() };
    let ether = |wei: u64, data: Bytes| Call { to: FRIEND, value: U256::from(wei), data };
    match number % CALLS {
        0 => to(DEMO_NFT, Demo::mintCall { to: account }.abi_encode()),
        1 => to(DEMO_NFT, Demo::mintCall { to: FRIEND }.abi_encode()),
        2 => ether(1000, bytes!("00000000")),
        3 => ether(1001, bytes!("00000000")),
        4 => ether(5, Bytes::new()),
        5 => to(DEMO_TOKEN, Demo::transferCall { to: FRIEND, value: U256::from(50) }.abi_encode()),
        6 => to(DEMO_TOKEN, Demo::transferCall { to: account, value: U256::from(101) }.abi_encode()),
        7 => to(DEMO_LENDING, Demo::repayCall { owner: account, amount: U256::from(20) }.abi_encode()),
        8 => to(SKV, account::disable_key(key).to_vec()),
        9 => to(
            DEMO_NFT,
            Demo::transferFromCall { from: FRIEND, to: account, id: U256::ONE }.abi_encode(), // reverts
        ),
        10 => Call { to: FRIEND, value: U256::from(5) * ETHER, data: bytes!("00000000") }, // more than there is
        11 => to(ECDSA_VALIDATOR, account::enable_key(key.as_slice()).to_vec()),
        12 => to(DEMO_NFT, vec![0x6a, 0x62]),
        _ => Call { value: U256::from(7), ..to(DEMO_NFT, Demo::mintCall { to: account }.abi_encode()) },
    }
}

/// The first permission that names the call's target and function, else the first of all.
pub fn fitting(permissions: &[Permission], call: &Call) -> usize {
    let fits = |p: &Permission| {
        (p.target.is_zero() || p.target == call.to) && call.data.get(..4).is_some_and(|sig| sig == p.sig.as_slice())
    };
    permissions.iter().position(fits).unwrap_or(0)
}

/// What an owner approves off chain.
#[derive(Clone, Debug)]
pub struct Grant {
    pub account: Address,
    pub kernel: KernelVersion,
    pub selector: Selector,
    pub key: Address,
    pub scope: Scope,
    pub nonce: u128,
    pub plugin_window: FixedBytes<12>,
}

impl Grant {
    /// A grant of `execute` without a window or a paymaster.
    pub fn new(account: Address, kernel: KernelVersion, key: &Key, permissions: Vec<Permission>, nonce: u128) -> Self {
        Self {
            account,
            kernel,
            selector: selector::EXECUTE,
            key: key.address(),
            scope: Scope { valid_after: 0, valid_until: 0, paymaster: Address::ZERO, permissions },
            nonce,
            plugin_window: FixedBytes::ZERO,
        }
    }

    pub fn enable_data(&self) -> EnableData {
        EnableData::new(self.key, &self.scope, self.nonce, Generation::G2)
    }

    pub fn sign(&self, owner: &Key) -> Approval {
        let request = ApprovalRequest {
            chain_id: CHAIN_ID,
            account: self.account,
            kernel: self.kernel,
            validator: Generation::G2,
            selector: self.selector,
            executor: Address::ZERO,
            plugin_window: self.plugin_window,
            enable: self.enable_data(),
        };
        let signature = owner.sign_raw(request.digest()).into();
        Approval { request, signature }
    }
}

/// The account call and the permissions to show for these inner calls.
pub fn shaped(form: AccountForm, calls: &[Call], permissions: &[Permission]) -> (AccountCall, Bytes) {
    let first = calls.first().cloned().unwrap_or_default();
    let (account_call, shown): (_, Vec<usize>) = match form {
        AccountForm::Execute => (AccountCall::Execute(first.clone()), vec![fitting(permissions, &first)]),
        AccountForm::Delegate => (
            AccountCall::ExecuteDelegateCall { to: first.to, data: first.data.clone() },
            vec![fitting(permissions, &first)],
        ),
        AccountForm::Batch => {
            (AccountCall::ExecuteBatch(calls.to_vec()), calls.iter().map(|c| fitting(permissions, c)).collect())
        }
    };
    let shown = match (permissions.is_empty(), form) {
        (true, _) => Shown::Nothing,
        (_, AccountForm::Batch) => Shown::Batch(&shown),
        _ => Shown::One(shown[0]),
    };
    (account_call, signature::proof_data(permissions, shown, Generation::G2).unwrap())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountForm {
    Execute,
    Batch,
    Delegate,
}

impl AccountForm {
    pub fn selector(self) -> Selector {
        match self {
            Self::Execute => selector::EXECUTE,
            Self::Batch => selector::EXECUTE_BATCH,
            Self::Delegate => selector::EXECUTE_DELEGATE_CALL,
        }
    }
}

/// Mode 1 without an approval, mode 2 with one.
pub fn sign_as_key(op: &mut UserOperation, key: &Key, approval: Option<&Approval>, proof: &[u8]) {
    let session = signature::session(key.address(), &key.sign_message(op.hash(ENTRY_POINT, CHAIN_ID)), proof);
    op.signature = match approval {
        Some(approval) => signature::enable_and_use(approval, &session),
        None => signature::use_enabled(&session),
    };
}

pub fn sign_as_owner(op: &mut UserOperation, owner: &Key) {
    op.signature = signature::sudo(&owner.sign_message(op.hash(ENTRY_POINT, CHAIN_ID)));
}

/// How many things an owner tries.
pub const WISHES: usize = 24;

/// What an owner does with the account, `n` being a variant of it.
pub fn wish(number: usize, n: u64, worlds: &Worlds, account: Address, kernel: KernelVersion) -> Bytes {
    let (last, invalid) = worlds.nonces(account);
    let key = session_key(n as usize).address();
    let validator = |data: Bytes| execute(SKV, data);
    let nonce = match n % 8 {
        0 => last,
        1 => last + 1,
        2 => last.saturating_sub(1),
        3 => invalid,
        4 => invalid + 1,
        5 => last + 5,
        6 => 1,
        _ => last.saturating_sub(2),
    };
    let disable = |data: &[u8]| account::disableCall { data: Bytes::copy_from_slice(data) }.abi_encode().into();
    let grant = Grant::new(account, kernel, &session_key(n as usize), permissions(n as usize / 3, account), nonce);
    match number % WISHES {
        0 | 1 => validator(account::disable_key(key)),
        2 => validator(disable(&nonce.to_be_bytes())),
        3 => validator(disable(&[])),
        4 => validator(disable(&[0; 32][..(n as usize % 33)])),
        5 | 6 => validator(burn(last + 1 + u128::from(n % 5 == 4))),
        7 => {
            let burns = (last + 1..=last + 1 + u128::from(n % 3)).map(burn);
            batch(burns.chain([disable(&[])]).map(|data| (SKV, data)))
        }
        8 => validator(Kernel::invalidateNonceCall { nonce }.abi_encode().into()),
        9 => disable_mode([0xffff_ffff, 1, 2, 3, 4, 0, 0, 0, 0, 0][n as usize % 10]),
        10 => disable_mode(0),
        11 => execute(account, disable_mode([0xffff_ffff, 0, 0, 0][n as usize % 4])),
        12 => execute(ECDSA_VALIDATOR, account::enable_key(owner(n as usize).address().as_slice())),
        13 => {
            let data = Bytes::copy_from_slice(owner(n as usize).address().as_slice());
            Kernel::setDefaultValidatorCall { validator: ECDSA_VALIDATOR, data }.abi_encode().into()
        }
        14 => account::setExecutionCall {
            selector: [selector::EXECUTE, selector::EXECUTE_BATCH, selector::EXECUTE_DELEGATE_CALL][n as usize % 3],
            executor: Address::ZERO,
            validator: SKV,
            validUntil: U48::from([0, NOW + 4000, NOW - 1][n as usize / 3 % 3]),
            validAfter: U48::from([0, NOW + 2000][n as usize / 9 % 2]),
            enableData: Bytes::copy_from_slice(&grant.enable_data().encode()),
        }
        .abi_encode()
        .into(),
        15 => validator(account::enable_key(&grant.enable_data().encode())),
        16 => {
            let other = [KernelVersion::V0_2_2, KernelVersion::V0_2_4][n as usize % 2];
            Kernel::upgradeToCall { implementation: other.implementation() }.abi_encode().into()
        }
        17 => AccountCall::Execute(call(n as usize, account, key)).encode(),
        18 => batch_of((0..n % 4).map(|i| call((n / 4 + i) as usize, account, key)).collect()),
        19 => account::executeCall {
            to: DEMO_NFT,
            value: U256::ZERO,
            data: Demo::mintCall { to: account }.abi_encode().into(),
            operation: 1 + (n % 2) as u8,
        }
        .abi_encode()
        .into(),
        20 => AccountCall::ExecuteDelegateCall {
            to: [DEMO_NFT, SKV, account][n as usize % 3],
            data: Demo::mintCall { to: account }.abi_encode().into(),
        }
        .encode(),
        21 => [bytes!(""), bytes!("01"), bytes!("deadbeef"), bytes!("deadbeef00"), bytes!("51945447")][n as usize % 5]
            .clone(),
        22 => account::initializeCall { defaultValidator: ECDSA_VALIDATOR, data: Bytes::new() }.abi_encode().into(),
        _ => execute(
            [DEMO_TOKEN, DEMO_LENDING][n as usize % 2],
            match n % 2 {
                0 => Demo::mintCall { to: account }.abi_encode().into(),
                _ => Demo::openCall { collateral: U256::from(1000), debt: U256::from(100) }.abi_encode().into(),
            },
        ),
    }
}

/// `execute(to, 0, data, 0)`.
pub fn execute(to: Address, data: Bytes) -> Bytes {
    AccountCall::Execute(Call { to, value: U256::ZERO, data }).encode()
}

pub fn batch(calls: impl Iterator<Item = (Address, Bytes)>) -> Bytes {
    batch_of(calls.map(|(to, data)| Call { to, value: U256::ZERO, data }).collect())
}

pub fn batch_of(calls: Vec<Call>) -> Bytes {
    AccountCall::ExecuteBatch(calls).encode()
}

pub fn disable_mode(mode: u32) -> Bytes {
    account::disableModeCall { mode: FixedBytes::from(mode) }.abi_encode().into()
}

/// Enables a key that nobody has, so that the nonce is gone (docs/kernel-v2.md#revoking).
pub fn burn(nonce: u128) -> Bytes {
    let data = EnableData {
        session_key: address!("000000000000000000000000000000000000dEaD"),
        merkle_root: B256::repeat_byte(1),
        valid_after: 0,
        valid_until: 1,
        paymaster: Address::ZERO,
        nonce,
    };
    account::enable_key(&data.encode())
}

/// Values for a scope's `paymaster`.
pub const PAYMASTERS: [Address; 4] = [Address::ZERO, ANY_PAYMASTER, SPONSOR, FRIEND];

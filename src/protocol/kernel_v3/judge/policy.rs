//! What each policy answers: when it is installed, about an operation, and about a signature.

use alloy::primitives::{Address, U256};

use super::{
    super::{
        nonce::PermissionId,
        policy::{
            InstallFault, Policy, PolicyFlag,
            call::{CallFault, CallPolicy, CallPolicyVersion},
            gas::GasPolicy,
            rate_limit::RateLimit,
            signature_caller::SignatureCallers,
            timestamp::Timestamp,
        },
    },
    answer::Reason,
    call_policy,
    calldata::PolicyCall,
    facts::{PolicyFacts, Status, Stored},
    operation::{Left, Window},
};
use crate::{
    erc4337::v07::{PackedUserOperation, halves},
    policy::scope::MAX_UINT48,
};

/// A policy as it is installed: its flag, and what its contract holds.
pub(super) struct Installed {
    pub flag: PolicyFlag,
    pub address: Address,
    pub limit: Limit,
    /// `None`: not told.
    pub status: Option<Status>,
}

/// What a contract holds for a key.
pub(super) enum Limit {
    /// `None`: entries that are not known here.
    Call(Option<CallPolicy>),
    Gas(GasPolicy),
    RateLimit(RateLimit),
    /// `None`: a list that is not known here.
    Callers(Option<SignatureCallers>),
    Sudo,
    Timestamp(Timestamp),
    /// A contract that nobody here knows, or one whose getter was not asked.
    Unknown,
}

impl Installed {
    /// What stands on chain: counters from there, and what has no getter from the scope that is known.
    pub fn read(flag: PolicyFlag, address: Address, scope: Option<&Policy>, facts: Option<&PolicyFacts>) -> Self {
        let known = scope.filter(|policy| policy.address() == address);
        let limit = match facts.map(|facts| facts.stored) {
            Some(Stored::Gas(gas)) => Limit::Gas(gas),
            Some(Stored::RateLimit(limit)) => Limit::RateLimit(limit),
            Some(Stored::Timestamp(window)) => Limit::Timestamp(window),
            Some(Stored::Nothing) | None => known.map_or_else(|| Limit::unread(address), Limit::of),
        };
        Self { flag, address, limit, status: facts.map(|facts| facts.status) }
    }

    /// What an install with this element leaves.
    pub fn fresh(policy: &Policy) -> Self {
        let (flag, address) = (policy.flag(), policy.address());
        Self { flag, address, limit: Limit::of(policy), status: Some(Status::Live) }
    }
}

impl Limit {
    fn unread(address: Address) -> Self {
        use super::super::contracts::{SIGNATURE_CALLER_POLICY, SUDO_POLICY};
        match address {
            SUDO_POLICY => Self::Sudo,
            SIGNATURE_CALLER_POLICY => Self::Callers(None),
            _ if CallPolicyVersion::from_address(address).is_some() => Self::Call(None),
            _ => Self::Unknown,
        }
    }

    /// As the contract reads the data it is installed with, which is more than an encoder writes.
    fn of(policy: &Policy) -> Self {
        match policy {
            Policy::Call { call, .. } => Self::Call(Some(call.clone())),
            Policy::Gas { gas, .. } => Self::Gas(*gas),
            Policy::RateLimit { limit, .. } => Self::RateLimit(*limit),
            Policy::SignatureCaller { callers, .. } => Self::Callers(Some(callers.clone())),
            Policy::Sudo { .. } => Self::Sudo,
            Policy::Timestamp { window, .. } => Self::Timestamp(*window),
            Policy::Unknown { address, data, .. } => Self::loose(*address, data),
        }
    }

    fn loose(address: Address, data: &[u8]) -> Self {
        use super::super::contracts::{GAS_POLICY, RATE_LIMIT_POLICY, TIMESTAMP_POLICY};
        let read = || {
            Some(match address {
                GAS_POLICY => Self::Gas(GasPolicy::decode(data.get(..96)?)?),
                RATE_LIMIT_POLICY => Self::RateLimit(RateLimit::decode(data.get(..18)?)?),
                TIMESTAMP_POLICY => Self::Timestamp(Timestamp::decode(data.get(..64)?)?),
                _ => {
                    let version = CallPolicyVersion::from_address(address)?;
                    CallPolicy::is_empty_list(data).then(|| Self::Call(CallPolicy::new(version, Vec::new()).ok()))?
                }
            })
        };
        read().unwrap_or_else(|| Self::unread(address))
    }
}

/// Whether the contract keeps a status of ids that it has seen.
pub(super) fn has_status(address: Address) -> bool {
    use super::super::contracts::SUDO_POLICY;
    address != SUDO_POLICY
}

/// Why the contract refuses to be installed with its data: the first fault that it comes upon.
pub(super) fn install(policy: &Policy) -> Result<(), Reason> {
    let slices = policy.address() == CallPolicyVersion::V0_0_5.address();
    match policy.install_faults().into_iter().next() {
        None => Ok(()),
        Some(fault) => Err(match fault {
            InstallFault::Unreadable => Reason::InstallDataUnreadable,
            InstallFault::Call(CallFault::Duplicate { first, second }) => Reason::DuplicateEntries { first, second },
            InstallFault::Call(CallFault::Condition { entry, rule, code, .. }) => {
                Reason::UnknownCondition { entry, rule, code }
            }
            InstallFault::Call(CallFault::Params { entry, rule, params }) => {
                Reason::RuleParams { entry, rule, params, slices }
            }
            InstallFault::Call(CallFault::SliceParams { entry, rule, params }) => {
                Reason::SliceParams { entry, rule, params }
            }
        }),
    }
}

/// A policy's yes: the window it sets, and what it has left after the operation.
#[derive(Default)]
pub(super) struct Yes {
    pub window: Window,
    pub left: Option<Left>,
    /// Not understood, so that it counts as a yes.
    pub unknown: bool,
}

/// What it answers about an operation; `segment` is what the signature shows it.
pub(super) fn check_operation(
    policy: &Installed,
    position: usize,
    id: PermissionId,
    op: &PackedUserOperation,
    segment: &[u8],
) -> Result<Yes, Reason> {
    let is_call = CallPolicyVersion::from_address(policy.address).is_some();
    if let Some(status) = policy.status
        && status != Status::Live
        && has_status(policy.address)
        && !is_call
        && !matches!(policy.limit, Limit::Unknown)
    {
        return Err(Reason::PolicyNotLive { status });
    }
    let unknown = Yes { unknown: true, ..Yes::default() };
    match &policy.limit {
        Limit::Call(Some(entries)) => {
            call_policy::check(entries, &PolicyCall::new(id.word(), op, segment)).map(|()| Yes::default())
        }
        Limit::Gas(gas) => check_gas(gas, position, op),
        Limit::RateLimit(limit) => check_rate(limit, position),
        Limit::Timestamp(window) => {
            let window = Window { after: window.valid_after, until: super::operation::end(window.valid_until) };
            Ok(Yes { window, ..Yes::default() })
        }
        Limit::Callers(_) | Limit::Sudo => Ok(Yes::default()),
        Limit::Call(None) | Limit::Unknown => Ok(unknown),
    }
}

fn check_gas(gas: &GasPolicy, position: usize, op: &PackedUserOperation) -> Result<Yes, Reason> {
    if let Some(expected) = gas.required_paymaster() {
        let Some(actual) = op.paymasterAndData.get(..20).map(Address::from_slice) else {
            return Err(Reason::PaymasterMissing { expected });
        };
        if actual != expected {
            return Err(Reason::Paymaster { expected, actual });
        }
    }
    let (verification, call) = halves(op.accountGasLimits);
    let (_, max_fee) = halves(op.gasFees);
    let units = op.preVerificationGas.wrapping_add(U256::from(verification)).wrapping_add(U256::from(call));
    let cost: U256 = units.wrapping_mul(U256::from(max_fee));
    let needed: u128 = (cost & U256::from(u128::MAX)).saturating_to();
    match gas.allowed.checked_sub(needed) {
        Some(left) => Ok(Yes { left: Some(Left::Gas { policy: position, wei: left }), ..Yes::default() }),
        None => Err(Reason::GasBudget { left: gas.allowed, needed }),
    }
}

fn check_rate(limit: &RateLimit, position: usize) -> Result<Yes, Reason> {
    let Some(count) = limit.count.checked_sub(1) else { return Err(Reason::RateUsedUp) };
    let next = limit.start_at.checked_add(limit.interval).filter(|next| *next <= MAX_UINT48);
    let next_start = next.ok_or(Reason::ScheduleOverflow { start: limit.start_at, interval: limit.interval })?;
    let window = Window { after: limit.start_at, ..Window::default() };
    Ok(Yes { window, left: Some(Left::Rate { policy: position, count, next_start }), ..Yes::default() })
}

/// What it answers when `caller` asks for a signature: `true` where that is not understood.
pub(super) fn check_signature(policy: &Installed, caller: Address) -> Result<bool, Reason> {
    if matches!(policy.limit, Limit::Unknown) {
        return Ok(true);
    }
    if let Some(status) = policy.status
        && status != Status::Live
        && has_status(policy.address)
    {
        return Err(Reason::PolicyNotLive { status });
    }
    match &policy.limit {
        Limit::Callers(Some(callers)) if !callers.allowed.contains(&caller) => Err(Reason::Caller { actual: caller }),
        Limit::Callers(None) => Ok(true),
        _ => Ok(false),
    }
}

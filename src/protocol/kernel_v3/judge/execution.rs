//! What an accepted operation would do: whether it counts as a success, and which of its calls stay.
//!
//! Success does not mean that a call did anything: in try mode, and with a delegatecall of Kernel 3.0, failures are swallowed.

use alloy::primitives::{Address, Bytes, Selector, U256};

use super::{
    super::{
        account::{CallType, selector},
        contracts::KernelVersion,
    },
    answer::{ExecutionReverted, Revert},
    facts::NO_HOOK,
};

/// One call that the account makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InnerCall {
    pub to: Address,
    /// Wei; none with a delegatecall.
    pub value: U256,
    pub data: Bytes,
    pub delegate: bool,
}

/// How a call ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallOutcome {
    Succeeds,
    Reverts(Bytes),
    /// Not known here.
    Unknown,
}

/// Why the account's call reverts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failed {
    /// With what this inner call reverted with.
    Call { position: usize, data: Bytes },
    /// By the account itself.
    Account(Revert),
}

impl Failed {
    /// `revertReason` of the operation.
    pub fn data(&self) -> Bytes {
        match self {
            Self::Call { data, .. } => data.clone(),
            Self::Account(revert) => revert.data(),
        }
    }
}

/// What an operation does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Executed {
    /// `success` is true. The calls at `swallowed` failed all the same.
    Success { ran: Vec<InnerCall>, swallowed: Vec<usize> },
    /// `success` is false: nothing stays, and fees and counters are spent.
    Reverted(Failed),
    /// Another function of the account, or a call whose end is not known: anything.
    Unknown,
}

/// Runs the account's calldata. `hook` is that of the validation (1: none), `outcome` tells how each inner call ends, in their order.
pub fn execution(
    kernel: KernelVersion,
    hook: Address,
    call_data: &[u8],
    outcome: impl FnMut(&InnerCall) -> CallOutcome,
) -> Executed {
    let account = |revert| Executed::Reverted(Failed::Account(revert));
    if let Some(hooked) = call_data.strip_prefix(selector::EXECUTE_USER_OP.as_slice()) {
        return match hook {
            NO_HOOK => match run(kernel, hooked, outcome) {
                // Whatever reverts inside is not passed on.
                Executed::Reverted(_) => account(Revert::named::<ExecutionReverted>()),
                other => other,
            },
            // Asked all the same, where nobody is.
            Address::ZERO => account(Revert::Empty),
            _ => Executed::Unknown,
        };
    }
    run(kernel, call_data, outcome)
}

fn run(kernel: KernelVersion, call_data: &[u8], mut outcome: impl FnMut(&InnerCall) -> CallOutcome) -> Executed {
    let account = |revert| Executed::Reverted(Failed::Account(revert));
    match call_data.get(..4).map(Selector::from_slice) {
        Some(selector::EXECUTE) => {}
        // `receive`, the fallback, and every other function.
        _ => return Executed::Unknown,
    }
    let Some((kind, exec, calls)) = read(call_data) else { return account(Revert::Empty) };
    let unsupported = || account(Revert::Text("Unsupported"));
    let tries = match exec {
        0 => false,
        1 => true,
        // Kernel 3.0 does not look at it.
        _ if kernel == KernelVersion::V3_0 && kind == CallType::DelegateCall => true,
        _ => return unsupported(),
    };
    if matches!(kind, CallType::Unknown(_)) {
        return unsupported();
    }
    let Some(calls) = calls else { return account(Revert::Empty) };
    let mut swallowed = Vec::new();
    for (position, call) in calls.iter().enumerate() {
        let data = match outcome(call) {
            CallOutcome::Succeeds => continue,
            CallOutcome::Unknown => return Executed::Unknown,
            CallOutcome::Reverts(data) => data,
        };
        match (call.delegate, tries) {
            (true, _) if kernel == KernelVersion::V3_0 => swallowed.push(position),
            (_, true) => swallowed.push(position),
            (true, false) => return account(Revert::Text("Delegatecall failed")),
            (false, false) => return Executed::Reverted(Failed::Call { position, data }),
        }
    }
    Executed::Success { ran: calls, swallowed }
}

/// `execute` as the account decodes it: pointers anywhere within the calldata. The calls are `None` where only they cannot be read.
fn read(call_data: &[u8]) -> Option<(CallType, u8, Option<Vec<InnerCall>>)> {
    let arguments = call_data.get(4..)?;
    let word = |at: usize| arguments.get(at..at.checked_add(32)?).map(U256::from_be_slice);
    let [kind, exec] = *arguments.first_chunk::<2>()?;
    let pointer = usize::try_from(word(32)?).ok()?;
    let length = usize::try_from(word(pointer)?).ok()?;
    let start = pointer.checked_add(32)?;
    let execution = arguments.get(start..start.checked_add(length)?)?;
    let kind = CallType::from_code(kind);
    let calls = match kind {
        CallType::Call => execution.split_at_checked(52).map(|(head, data)| {
            let (to, value) = head.split_at(20);
            let value = U256::from_be_slice(value);
            vec![InnerCall { to: Address::from_slice(to), value, data: Bytes::copy_from_slice(data), delegate: false }]
        }),
        CallType::DelegateCall => execution.split_at_checked(20).map(|(to, data)| {
            let (to, data) = (Address::from_slice(to), Bytes::copy_from_slice(data));
            vec![InnerCall { to, value: U256::ZERO, data, delegate: true }]
        }),
        CallType::Batch => batch(arguments, start),
        CallType::Unknown(_) => Some(Vec::new()),
    };
    Some((kind, exec, calls))
}

/// Most bytes that the calls of a batch may have together: elements may share bytes, and no gas pays for more.
const MOST_BYTES: usize = 1 << 24;

/// The elements may lie anywhere within the calldata.
fn batch(arguments: &[u8], start: usize) -> Option<Vec<InnerCall>> {
    let word = |at: usize| arguments.get(at..at.checked_add(32)?).map(U256::from_be_slice);
    let number = |at: usize| usize::try_from(word(at)?).ok();
    let list = start.checked_add(number(start)?)?;
    let (length, base) = (number(list)?, list.checked_add(32)?);
    let mut calls = Vec::new();
    let mut bytes = 0usize;
    for position in 0..length {
        let at = base.checked_add(number(base.checked_add(position.checked_mul(32)?)?)?)?;
        let data_at = at.checked_add(number(at.checked_add(64)?)?)?;
        let (from, length) = (data_at.checked_add(32)?, number(data_at)?);
        bytes = bytes.checked_add(length.checked_add(32)?).filter(|bytes| *bytes <= MOST_BYTES)?;
        let data = Bytes::copy_from_slice(arguments.get(from..from.checked_add(length)?)?);
        let to = word(at)?;
        let to = Address::from_word(to.into());
        let value = word(at.checked_add(32)?)?;
        calls.push(InnerCall { to, value, data, delegate: false });
    }
    Some(calls)
}

//! What the input of a mined transaction says about an account's session keys (docs/kernel-v2.md#finding-keys-on-chain).
//!
//! The validator emits no events and stores only roots, so what was ever enabled stands nowhere but in calldata: in the
//! signatures of the account's UserOperations, and in the calls that the account makes. Whoever wrote that calldata may be an
//! agent with something to hide: everything is bounded, and an operation counts only under the hash that the EntryPoint logged.

pub mod events;
pub mod found;
pub mod ledger;
pub mod report;

use alloy::{
    hex,
    primitives::{Address, B256, Bytes, FixedBytes, Selector, Signature, U256, eip191_hash_message},
};
use serde::{Deserialize, Serialize};

use super::{
    account::{Arguments, selector},
    approval::{ENABLE_DATA_LEN, EnableData},
    generation::Generation,
};
use crate::{
    erc4337::v06::{ENTRY_POINT, UserOperation},
    policy::scope::{Condition, ExecutionRule, MAX_UINT48, Operation, Permission, Rule},
    protocol::{AccountCall, Call, signature::recover},
};

/// Most bytes of transaction input that are read. Chains take far less in one transaction.
pub const MAX_INPUT: usize = 4 << 20;
/// Most operations and groups of operations read in one call of the EntryPoint.
const MAX_OPERATIONS: usize = 2_000;
/// Most places in foreign calldata that are tried as a call of the EntryPoint.
const MAX_PLACES: usize = 256;
/// Operations may share bytes of the calldata: how often all of it may be read again in their names.
const MAX_SHARING: usize = 16;
/// How deep calls of the account to itself are followed.
const MAX_DEPTH: usize = 4;
/// Most acts read in one operation or transaction.
const MAX_ACTS: usize = 2_000;
/// Most conditions read in the permissions of one operation.
const MAX_RULES: usize = 10_000;
/// Most siblings in a proof: a tree of 2^64 leaves.
const MAX_PROOF: usize = 64;

const HANDLE_OPS: Selector = Selector::new(hex!("1fad948c"));
const HANDLE_AGGREGATED_OPS: Selector = Selector::new(hex!("4b1d7cf5"));
const SET_EXECUTION: Selector = Selector::new(hex!("29f8b174"));
const SET_DEFAULT_VALIDATOR: Selector = Selector::new(hex!("55b14f50"));
const DISABLE_MODE: Selector = Selector::new(hex!("d5416221"));
const ENABLE: Selector = Selector::new(hex!("0c959556"));
const DISABLE: Selector = Selector::new(hex!("8fc925aa"));
const INVALIDATE_NONCE: Selector = Selector::new(hex!("dbba225d"));

// ---- UserOperations in calldata ---------------------------------------------------------------------------------------------

/// The account's operations in a transaction's input, in order: of the EntryPoint's own calldata, or of calls to it that are
/// embedded anywhere in calldata for another contract. Nothing here proves that they ran: compare their hashes.
pub fn operations(input: &Bytes, to: Option<Address>, account: Address) -> Vec<UserOperation> {
    let mut reading = Reading { account, found: Vec::new(), left: input.len().saturating_mul(MAX_SHARING) };
    if input.len() > MAX_INPUT {
        return Vec::new();
    }
    if to == Some(ENTRY_POINT) {
        reading.bundle(input);
        return reading.found;
    }
    let is_call = |window: &[u8]| [HANDLE_OPS, HANDLE_AGGREGATED_OPS].iter().any(|s| s.as_slice() == window);
    let places = input.windows(4).enumerate().filter(|(_, window)| is_call(window)).map(|(at, _)| at);
    for at in places.take(MAX_PLACES) {
        reading.bundle(&input.slice(at..));
    }
    reading.found
}

struct Reading {
    account: Address,
    found: Vec<UserOperation>,
    /// Bytes that operations may still refer to.
    left: usize,
}

impl Reading {
    fn bundle(&mut self, calldata: &Bytes) -> Option<()> {
        let selector = calldata.get(..4).map(Selector::from_slice)?;
        let arguments = Arguments(calldata.slice(4..));
        match selector {
            HANDLE_OPS => self.list(&arguments, 0),
            HANDLE_AGGREGATED_OPS => {
                for group in elements(&arguments, 0, 0)? {
                    self.list(&arguments, group);
                }
                Some(())
            }
            _ => None,
        }
    }

    /// A list of operations whose offset stands first in the tuple at `base`.
    fn list(&mut self, arguments: &Arguments, base: usize) -> Option<()> {
        for start in elements(arguments, base, base)? {
            if arguments.address(start) == Some(self.account)
                && let Some(op) = operation(arguments, start)
            {
                let size = op.init_code.len() + op.call_data.len() + op.paymaster_and_data.len() + op.signature.len();
                self.left = self.left.checked_sub(size)?;
                self.found.push(op);
            }
        }
        Some(())
    }
}

/// Where the elements of a list of dynamic tuples begin; the list's offset, counted from `base`, is at `at`.
fn elements(arguments: &Arguments, base: usize, at: usize) -> Option<Vec<usize>> {
    let length_at = base.checked_add(arguments.offset(at)?)?;
    let first = length_at.checked_add(32)?;
    let heads = arguments.0.get(first..)?.len() / 32;
    let count = arguments.offset(length_at)?.min(heads).min(MAX_OPERATIONS);
    Some((0..count).filter_map(|i| first.checked_add(arguments.offset(first + 32 * i)?)).collect())
}

fn operation(arguments: &Arguments, start: usize) -> Option<UserOperation> {
    let place = |field: usize| start.checked_add(32 * field);
    let word = |field| arguments.word(place(field)?);
    let bytes = |field| arguments.bytes(start, place(field)?);
    Some(UserOperation {
        sender: arguments.address(start)?,
        nonce: word(1)?,
        init_code: bytes(2)?,
        call_data: bytes(3)?,
        call_gas_limit: word(4)?,
        verification_gas_limit: word(5)?,
        pre_verification_gas: word(6)?,
        max_fee_per_gas: word(7)?,
        max_priority_fee_per_gas: word(8)?,
        paymaster_and_data: bytes(9)?,
        signature: bytes(10)?,
    })
}

// ---- who signed ---------------------------------------------------------------------------------------------------------------

/// Under whose power an operation ran: what its signature carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authority {
    /// Mode 0: the account's default validator; for an ECDSA owner, 65 bytes.
    Owner(Bytes),
    /// Mode 1: a key that was enabled before.
    Use(SessionUse),
    /// Mode 2: an approval is enabled, and a key - this or another - signs.
    Enable(Carried, SessionUse),
}

/// The validator and executor that an operation in mode 2 routes its function to, whatever else it carries. The account logs
/// nothing of it.
pub fn opened(signature: &[u8]) -> Option<(Address, Address)> {
    (signature.get(..4)? == [0, 0, 0, 2])
        .then(|| Some((Address::from_slice(signature.get(16..36)?), Address::from_slice(signature.get(36..56)?))))?
}

/// What the session key validator itself reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionUse {
    pub session_key: Address,
    /// 65 bytes, EIP-191 over the operation's hash.
    pub signature: Bytes,
    /// The permissions shown, with their proofs.
    pub proof: Bytes,
}

/// An approval as an operation carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    pub generation: Generation,
    pub executor: Address,
    /// The 12 bytes before the validator's address.
    pub plugin_window: FixedBytes<12>,
    pub enable: EnableData,
    /// The owner's. Missing where bytes follow the enable data: the validator ignores them, but the signature covers them.
    pub signature: Option<Bytes>,
}

/// Reads an operation's signature. `None` for a mode or a plugin that has nothing to do with session keys.
pub fn authority(signature: &Bytes) -> Option<Authority> {
    let part = |from: usize, length: usize| {
        let to = from.checked_add(length)?;
        signature.get(from..to).map(|_| signature.slice(from..to))
    };
    match signature.get(..4)? {
        [0, 0, 0, 0] => Some(Authority::Owner(signature.slice(4..))),
        [0, 0, 0, 1] => Some(Authority::Use(session_use(&signature.slice(4..))?)),
        [0, 0, 0, 2] => {
            let length = |at: usize| usize::try_from(U256::from_be_slice(&part(at, 32)?)).ok();
            let generation = Generation::from_address(Address::from_slice(&part(16, 20)?))?;
            let enable_length = length(56)?;
            let whole = part(88, enable_length)?;
            let signature_at = enable_length.checked_add(88 + 32)?;
            let signature_length = length(signature_at - 32)?;
            let owner_signature = part(signature_at, signature_length)?;
            let rest = signature_at.checked_add(signature_length)?;
            let carried = Carried {
                generation,
                executor: Address::from_slice(&part(36, 20)?),
                plugin_window: FixedBytes::from_slice(&part(4, 12)?),
                enable: EnableData::decode(whole.get(..ENABLE_DATA_LEN)?)?,
                signature: (whole.len() == ENABLE_DATA_LEN).then_some(owner_signature),
            };
            Some(Authority::Enable(carried, session_use(&part(rest, signature.len().checked_sub(rest)?)?)?))
        }
        _ => None,
    }
}

fn session_use(data: &Bytes) -> Option<SessionUse> {
    let session_key = Address::from_slice(data.get(..20)?);
    data.get(20..85)?;
    Some(SessionUse { session_key, signature: data.slice(20..85), proof: data.slice(85..) })
}

impl SessionUse {
    /// Whether the key signed the operation with this hash, as the validator checks it: unlike the account, it takes a
    /// high s (finding of the tests on deployed bytecode).
    pub fn is_signed(&self, user_op_hash: B256) -> bool {
        let recovered = || {
            let raw: &[u8; 65] = self.signature.as_ref().try_into().ok()?;
            let signature = Signature::from_raw_array(raw).ok().filter(|_| matches!(raw[64], 27 | 28))?;
            signature.recover_address_from_prehash(&eip191_hash_message(user_op_hash)).ok()
        };
        recovered() == Some(self.session_key)
    }
}

/// Who signed an operation in mode 0, as far as a signature of an externally owned account tells: EIP-191 and raw.
pub fn owner_candidates(signature: &[u8], user_op_hash: B256) -> [Option<Address>; 2] {
    [recover(eip191_hash_message(user_op_hash), signature), recover(user_op_hash, signature)]
}

// ---- permissions shown ------------------------------------------------------------------------------------------------------

/// A permission that a key showed, with the siblings that prove it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    pub permission: Permission,
    pub proof: Vec<B256>,
}

/// The permissions behind a session signature, as this generation lays them out. Whether they belong to a key is for
/// `merkle::verify` and the key's root to say.
pub fn shown(call_data: &[u8], proof: &Bytes, generation: Generation) -> Vec<Shown> {
    let arguments = Arguments(proof.clone());
    let mut rules_left = MAX_RULES;
    match call_data.get(..4).map(Selector::from_slice) {
        Some(selector::EXECUTE | selector::EXECUTE_DELEGATE_CALL) => {
            let mut one = || {
                let permission = permission(&arguments, arguments.offset(0)?, generation, &mut rules_left)?;
                Some(Shown { permission, proof: hashes(&arguments, arguments.offset(32)?)? })
            };
            one().into_iter().collect()
        }
        Some(selector::EXECUTE_BATCH) => {
            let (Some(permissions), Some(proofs)) = (elements(&arguments, 0, 0), elements(&arguments, 0, 32)) else {
                return Vec::new();
            };
            let each = permissions.into_iter().zip(proofs).map_while(|(at, proof_at)| {
                let permission = permission(&arguments, at, generation, &mut rules_left)?;
                Some(Shown { permission, proof: hashes(&arguments, proof_at)? })
            });
            each.collect()
        }
        _ => Vec::new(),
    }
}

fn permission(
    arguments: &Arguments,
    start: usize,
    generation: Generation,
    rules_left: &mut usize,
) -> Option<Permission> {
    let place = |field: usize| start.checked_add(32 * field);
    let word = |field| arguments.word(place(field)?);
    let uint48 = |field| u64::try_from(word(field)?).ok().filter(|n| *n <= MAX_UINT48);
    let rules_at = start.checked_add(arguments.offset(place(4)?)?)?;
    let count = arguments.offset(rules_at)?;
    *rules_left = rules_left.checked_sub(count)?;
    let rule = |i: usize| {
        let at = rules_at.checked_add(32 + 96 * i)?;
        Some(Rule {
            offset: arguments.word(at)?,
            condition: Condition::from_code(arguments.word(at.checked_add(32)?)?.try_into().ok()?)?,
            param: arguments.word(at.checked_add(64)?)?.into(),
        })
    };
    Some(Permission {
        index: word(0)?.try_into().ok()?,
        target: arguments.address(place(1)?)?,
        sig: arguments.selector(place(2)?)?,
        value_limit: word(3)?,
        rules: (0..count).map(rule).collect::<Option<_>>()?,
        execution_rule: ExecutionRule { valid_after: uint48(5)?, interval: uint48(6)?, runs: uint48(7)? },
        operation: match generation.knows_operation() {
            true => Operation::from_code(word(8)?.try_into().ok()?)?,
            false => Operation::default(),
        },
    })
}

fn hashes(arguments: &Arguments, at: usize) -> Option<Vec<B256>> {
    let count = arguments.offset(at).filter(|count| *count <= MAX_PROOF)?;
    (0..count).map(|i| arguments.word(at.checked_add(32 + 32 * i)?).map(B256::from)).collect()
}

// ---- what the account does --------------------------------------------------------------------------------------------------

/// Something an account does to its session keys by a call it makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// `enable` on a validator; through `setExecution`, together with the selector that is routed.
    Enable { generation: Generation, enable: EnableData, selector: Option<Selector> },
    /// `setExecution`: an account function is routed to a validator, and to an executor where that is not zero.
    Route { selector: Selector, validator: Address, executor: Address },
    /// Foreign code ran on the account's own storage: it may have changed anything there, and left no trace.
    ForeignCode,
    /// `disable(20 bytes)`.
    Disable { generation: Generation, session_key: Address },
    /// `disable(16 bytes)`, `invalidateNonce(n)`.
    Invalidate { generation: Generation, through: u128 },
    /// `disable` of any other length: every key enabled so far.
    InvalidateAll { generation: Generation },
    /// `disableMode`: bit 0 stops enabled keys, bit 1 approvals.
    DisableMode { mode: u32 },
}

/// What calldata of the account does to its session keys, in order, if it runs to its end. `has_batch`: Kernel 0.2.1 accepts
/// `executeBatch` and does nothing.
pub fn acts(account: Address, call_data: &[u8], has_batch: bool) -> Vec<Act> {
    let mut walk = Walk {
        account,
        acts: Vec::new(),
        left: call_data.len().saturating_mul(MAX_SHARING),
        execute_delegates: !has_batch,
    };
    walk.of_account(call_data, has_batch, MAX_DEPTH);
    walk.acts
}

struct Walk {
    account: Address,
    acts: Vec<Act>,
    /// Bytes of calls to itself that may still be read: calls can share them.
    left: usize,
    /// Kernel 0.2.1: `execute` with operation 1 is a delegatecall. Later versions refuse it.
    execute_delegates: bool,
}

impl Walk {
    fn of_account(&mut self, call_data: &[u8], has_batch: bool, depth: usize) {
        let made = match AccountCall::decode(call_data) {
            AccountCall::Execute(_) if self.execute_delegates && operation_byte(call_data) != Some(0) => {
                return self.acts.push(Act::ForeignCode);
            }
            AccountCall::Execute(call) => vec![call],
            AccountCall::ExecuteBatch(calls) if has_batch => calls,
            AccountCall::ExecuteBatch(_) => Vec::new(),
            // What it does shows only in what the chain holds afterwards.
            AccountCall::ExecuteDelegateCall { .. } => return self.acts.push(Act::ForeignCode),
            AccountCall::Other(data) => return self.of_settings(&data).unwrap_or_default(),
        };
        for Call { to, data, .. } in made {
            if self.acts.len() >= MAX_ACTS {
                return;
            }
            if let Some(generation) = Generation::from_address(to) {
                self.acts.extend(of_validator(generation, &data));
            } else if to == self.account && depth > 0 {
                let Some(left) = self.left.checked_sub(data.len()) else { return };
                self.left = left;
                // The account refuses a batch of its own making.
                self.of_account(&data, false, depth - 1);
            }
        }
    }

    /// A function of the account other than the three that make calls.
    fn of_settings(&mut self, data: &Bytes) -> Option<()> {
        let arguments = Arguments(data.get(4..).map(|_| data.slice(4..))?);
        let enabled = |validator: Address, at: usize, selector: Option<Selector>| {
            let generation = Generation::from_address(validator)?;
            let enable = enable_data(&arguments.bytes(0, at)?)?;
            Some(Act::Enable { generation, enable, selector })
        };
        match data.get(..4).map(Selector::from_slice)? {
            SET_EXECUTION => {
                let (selector, validator) = (arguments.selector(0)?, arguments.address(64)?);
                self.acts.push(Act::Route { selector, validator, executor: arguments.address(32)? });
                self.acts.extend(enabled(validator, 160, Some(selector)));
            }
            SET_DEFAULT_VALIDATOR => self.acts.extend(enabled(arguments.address(0)?, 32, None)),
            DISABLE_MODE => {
                let mode = u32::from_be_bytes(arguments.selector(0)?.0);
                self.acts.push(Act::DisableMode { mode });
            }
            _ => {}
        }
        Some(())
    }
}

/// The fourth argument of `execute`.
fn operation_byte(call_data: &[u8]) -> Option<u8> {
    call_data.get(4 + 127).copied()
}

fn of_validator(generation: Generation, data: &Bytes) -> Option<Act> {
    let arguments = Arguments(data.get(4..).map(|_| data.slice(4..))?);
    match data.get(..4).map(Selector::from_slice)? {
        ENABLE => Some(Act::Enable { generation, enable: enable_data(&arguments.bytes(0, 0)?)?, selector: None }),
        DISABLE => {
            let what = arguments.bytes(0, 0)?;
            Some(match what.len() {
                20 => Act::Disable { generation, session_key: Address::from_slice(&what) },
                16 => Act::Invalidate { generation, through: u128::from_be_bytes(what.as_ref().try_into().ok()?) },
                _ => Act::InvalidateAll { generation },
            })
        }
        INVALIDATE_NONCE => Some(Act::Invalidate { generation, through: arguments.word(0)?.try_into().ok()? }),
        _ => None,
    }
}

/// The validator reads the first 116 bytes and ignores what follows.
fn enable_data(data: &[u8]) -> Option<EnableData> {
    EnableData::decode(data.get(..ENABLE_DATA_LEN)?)
}

#[cfg(test)]
mod tests;

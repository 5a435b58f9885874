//! Where accounts and session key validators keep what their views tell: a second way to read it, which another part of a node
//! answers.
//!
//! All generations have one layout, whose first two slots are `mapping(address account => Nonces) nonces` and
//! `mapping(address sessionKey => mapping(address account => SessionData)) sessionData` (deployed bytecode: `tests/kernel_on_chain`).

use alloy::{
    primitives::{Address, B256, U256, b256, keccak256},
    sol_types::SolValue,
};

use super::{approval::EnableData, revocation::Nonces};

const NONCES: u64 = 0;
const SESSION_DATA: u64 = 1;
/// Words of one `SessionData`.
pub const SESSION_WORDS: usize = 3;

/// The slot of an account that begins with the modes it refuses.
pub const KERNEL_SLOT: B256 = b256!("439ffe7df606b78489639bc0b827913bd09e1246fa6802968a5b3694c53e0dd9");

/// The modes that an account refuses, as a bit mask: the lowest four bytes of the word.
pub fn read_disabled_mode(word: B256) -> u32 {
    (U256::from_be_bytes(word.0) & U256::from(u32::MAX)).saturating_to()
}

/// The slot of an account's nonces.
pub fn nonces_slot(account: Address) -> B256 {
    of_mapping(account, U256::from(NONCES).into())
}

/// The slots of what is held for a session key of an account.
pub fn session_slots(session_key: Address, account: Address) -> [B256; SESSION_WORDS] {
    let first: U256 = of_mapping(account, of_mapping(session_key, U256::from(SESSION_DATA).into())).into();
    [0, 1, 2].map(|n| first.wrapping_add(U256::from(n)).into())
}

fn of_mapping(key: Address, slot: B256) -> B256 {
    keccak256((key, slot).abi_encode())
}

/// `lastNonce` is the lower half of the word, `invalidNonce` the upper one.
pub fn read_nonces(word: B256) -> Nonces {
    let (invalid, last) = word.split_at(16);
    let number = |bytes: &[u8]| U256::from_be_slice(bytes).saturating_to();
    Nonces { last: number(last), invalid: number(invalid) }
}

/// `None` where nothing is held, or its nonce is none that the validator counts to.
pub fn read_session(session_key: Address, [merkle_root, window, nonce]: [B256; SESSION_WORDS]) -> Option<EnableData> {
    let window: U256 = window.into();
    let seconds = |at: usize| (window >> at & U256::from(u64::MAX >> 16)).saturating_to();
    let nonce = u128::try_from(U256::from_be_bytes(nonce.0)).ok()?;
    (nonce != 0 || !merkle_root.is_zero()).then(|| EnableData {
        session_key,
        merkle_root,
        valid_after: seconds(0),
        valid_until: seconds(48),
        paymaster: Address::from_word((window >> 96usize).into()),
        nonce,
    })
}

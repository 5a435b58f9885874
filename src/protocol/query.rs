//! What a family asks of a chain, and the answers: all of one list are about the state after one block.

use std::fmt;

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    sol_types::SolCall,
};

/// A block, as far as a snapshot is about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub block: u64,
    /// Unix seconds: the time that decides.
    pub timestamp: u64,
}

/// One read, with what it is called in errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    pub what: &'static str,
    pub read: Read,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// The hash of the code there.
    Code(Address),
    /// Wei.
    Balance(Address),
    Storage(Address, B256),
    Call(Address, Bytes),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// keccak256 of the code; `None` where there is none.
    CodeHash(Option<B256>),
    /// A balance, or a word of storage.
    Number(U256),
    /// What a call returns; empty where there is no contract.
    Returned(Bytes),
}

/// An answer that is not there, or is not what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread<E> {
    /// The node's own error.
    Unanswered(E),
    /// What was read, and what it should be.
    Malformed { what: &'static str, expected: &'static str },
}

impl<E: fmt::Display> fmt::Display for Unread<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered(error) => error.fmt(f),
            Self::Malformed { what, expected } => write!(f, "{what}: expected {expected}"),
        }
    }
}

impl Query {
    pub const fn code(what: &'static str, of: Address) -> Self {
        Self { what, read: Read::Code(of) }
    }

    pub const fn balance(what: &'static str, of: Address) -> Self {
        Self { what, read: Read::Balance(of) }
    }

    pub const fn storage(what: &'static str, of: Address, slot: B256) -> Self {
        Self { what, read: Read::Storage(of, slot) }
    }

    pub fn call(what: &'static str, to: Address, call: &impl SolCall) -> Self {
        Self { what, read: Read::Call(to, call.abi_encode().into()) }
    }
}

/// Answers, taken one after the other in the order of their queries.
pub struct Answers<'a, E> {
    queries: std::slice::Iter<'a, Query>,
    answers: std::vec::IntoIter<Result<Answer, E>>,
}

impl<'a, E> Answers<'a, E> {
    pub fn new(queries: &'a [Query], answers: Vec<Result<Answer, E>>) -> Self {
        Self { queries: queries.iter(), answers: answers.into_iter() }
    }

    fn next(&mut self) -> Result<(&'static str, Answer), Unread<E>> {
        match (self.queries.next(), self.answers.next()) {
            (Some(query), Some(answer)) => Ok((query.what, answer.map_err(Unread::Unanswered)?)),
            _ => Err(malformed("several reads", "one answer for each")),
        }
    }

    pub fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.queries.next();
            self.answers.next();
        }
    }

    pub fn code_hash(&mut self) -> Result<Option<B256>, Unread<E>> {
        match self.next()? {
            (_, Answer::CodeHash(hash)) => Ok(hash),
            (what, _) => Err(malformed(what, "code")),
        }
    }

    pub fn number(&mut self) -> Result<U256, Unread<E>> {
        match self.next()? {
            (_, Answer::Number(number)) => Ok(number),
            (what, _) => Err(malformed(what, "a number")),
        }
    }

    fn returned(&mut self) -> Result<(&'static str, Bytes), Unread<E>> {
        match self.next()? {
            (what, Answer::Returned(bytes)) => Ok((what, bytes)),
            (what, _) => Err(malformed(what, "what a call returns")),
        }
    }

    pub fn required<C: SolCall>(&mut self) -> Result<C::Return, Unread<E>> {
        let (what, bytes) = self.returned()?;
        decoded::<C, E>(what, &bytes)
    }

    /// A read of a contract that nobody here knows: whatever it says instead of an answer, it does not answer. The node's own
    /// failure looks the same, so that nothing good may follow from `None`.
    pub fn if_it_answers<C: SolCall>(&mut self) -> Result<Option<C::Return>, Unread<E>> {
        match self.returned() {
            Ok((_, bytes)) => Ok(C::abi_decode_returns_validate(&bytes).ok()),
            Err(Unread::Unanswered(_)) => Ok(None),
            Err(malformed) => Err(malformed),
        }
    }

    /// A read of a contract that need not exist on this chain.
    pub fn if_there<C: SolCall>(&mut self) -> Result<Option<C::Return>, Unread<E>> {
        let (what, bytes) = self.returned()?;
        if bytes.is_empty() { Ok(None) } else { decoded::<C, E>(what, &bytes).map(Some) }
    }
}

const fn malformed<E>(what: &'static str, expected: &'static str) -> Unread<E> {
    Unread::Malformed { what, expected }
}

/// Dirty bits in a word are malformed, not cut off.
fn decoded<C: SolCall, E>(what: &'static str, bytes: &[u8]) -> Result<C::Return, Unread<E>> {
    C::abi_decode_returns_validate(bytes).map_err(|_| malformed(what, "what the contract's ABI says"))
}

/// What a contract told in a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    pub address: Address,
    pub topics: Vec<B256>,
    pub data: Bytes,
    pub block_number: u64,
    pub transaction_hash: B256,
    pub log_index: u64,
}

/// Which logs are wanted. At each place one of these topics; none named: anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuery {
    pub address: Option<Address>,
    pub topics: Vec<Vec<B256>>,
}

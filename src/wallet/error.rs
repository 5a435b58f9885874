//! What front ends are told when something cannot be done: what failed, on what, and what to do next.

/// What kind of failure it is; decides the exit code (docs/errors.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Could not be done with what there is.
    Failed,
    /// What was asked for is not well-formed.
    Usage,
    /// The key's scope does not allow it; nothing was sent.
    Denied,
    /// Node, bundler or paymaster.
    Chain,
    /// Where secrets are kept.
    Vault,
    /// Mined, but the inner call failed.
    Reverted,
    /// Done as asked, or nothing that could be done, but something else can still act for the account.
    Remaining,
    /// Refused by a limit of the user's: `--max-cost`, or the cap of the chain.
    Limit,
}

impl Class {
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Denied => 3,
            Self::Chain => 4,
            Self::Vault => 5,
            Self::Reverted => 6,
            Self::Remaining => 7,
            Self::Limit => 8,
        }
    }
}

/// Failures that code acts on, besides showing them. The code is for scripts, and decides nothing in here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    Other,
    /// What was planned is not what the chain is like any more; nothing was granted or sent.
    Stale,
    /// Somebody was quicker: the plan reverted as a whole.
    Raced,
    /// The call itself fails, whichever way it is sent.
    CallReverts,
    NothingToRevoke,
    /// A node contradicts itself, or another.
    Contradiction,
    /// An approval without a signature.
    NotSigned,
    /// The records cannot be written now.
    Unwritable,
}

/// A failure as it is shown: a stable code for scripts, a sentence for people, and the way out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    pub class: Class,
    pub kind: Kind,
    /// For example `denied.target` or `network.unknown`.
    pub code: String,
    pub message: String,
    /// What to do next; empty when the message says it.
    pub hint: String,
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn new(class: Class, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { class, kind: Kind::Other, code: code.into(), message: message.into(), hint: String::new() }
    }

    pub fn usage(code: &str, message: impl Into<String>) -> Self {
        Self::new(Class::Usage, code, message)
    }

    pub fn failed(code: &str, message: impl Into<String>) -> Self {
        Self::new(Class::Failed, code, message)
    }

    #[must_use]
    pub fn of(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
}

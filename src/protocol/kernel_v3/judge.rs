//! Would the chain accept this operation, or this signature of the account, and if not, who says no?
//!
//! [`operation`] answers as `EntryPoint.handleOps` would, [`signing`] as `isValidSignature`, [`execution`] what an operation that was
//! accepted would do: in the order in which the deployed contracts check (docs/kernel-v3.md#order-of-checks), so the reason is
//! theirs too. What only the chain knows comes in as [`Facts`]; who made the signatures as a [`Signature`], so that no private key is
//! needed and an operation is judged before it is signed.
//!
//! What nobody here understands - a policy, a signer, a hook - counts as saying yes and is named in [`Unknown`]: a refusal is only
//! ever one that the chain is known to make. Where the chain takes what no honest tool writes, that is an [`Objection`] beside its yes.

mod answer;
mod call_policy;
mod calldata;
mod enabling;
mod execution;
mod facts;
#[cfg(test)]
mod fuzz;
mod operation;
mod policy;
mod signing;

pub use answer::{At, ChainError, Denied, Reason, Revert};
pub use execution::{CallOutcome, Executed, Failed, InnerCall, execution};
pub use facts::{Authority, Facts, Named, PolicyFacts, Signature, Signatures, Status, Stored, Validator};
pub use operation::{Enabled, Left, Objection, Unknown, Validated, Verdict, Window, operation};
pub use signing::{Signing, SigningVerdict, signing};

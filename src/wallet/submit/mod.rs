//! From calls to a receipt: priced, sponsored, signed, sent, and followed until it is in a block.
//!
//! ```text
//!   routes ── through a bundler ───────────────────── operation ───┐
//!       ├──── the owner's own transaction, handleOps ── transaction ─┴─ signer ── send ── follow
//!       └──── printed: the calls, for somebody else to send
//! ```
//! `earlier` finds what was sent before and can still be mined.

mod earlier;
pub mod follow;
pub mod operation;
pub mod printed;
pub mod progress;
pub mod routes;
mod send;
pub(super) mod signer;
pub mod transaction;

use super::{
    error::{Class, Error, Kind},
    rpc::ChainError,
};
use crate::erc4337::faults::Fault;

/// A bundler's refusal in our terms: by the key's scope, by the called contract, or by the service.
fn refused(error: ChainError) -> Error {
    let Some(fault) = error.fault() else { return error.into() };
    match (&fault, fault.denial()) {
        (_, Some(code)) => {
            Error::new(Class::Denied, code, format!("the bundler refused: {fault}")).hint(fault.advice())
        }
        (Fault::CallReverts(revert), None) => {
            Error::failed("call.reverts", format!("the call itself would fail: {revert}"))
                .of(Kind::CallReverts)
                .hint("nothing was sent")
        }
        (_, None) => error.into(),
    }
}

//! What an owner, an agent or a watcher can do: one file each. What changes something on a chain is the same walk from plan to
//! proof; beside them, what several of them ask (assessments, proofs, a second node).

pub mod account;
pub mod agent;
pub(super) mod assessment;
pub mod control;
pub mod enable;
pub mod grant;
pub mod inspect;
pub mod inventory;
pub mod key;
pub mod network;
pub mod offline_signing;
pub mod proof;
pub mod revoke;
pub mod scan;
pub mod second_node;
pub mod secrets;
pub mod send;
pub mod status;

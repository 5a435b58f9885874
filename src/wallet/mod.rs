//! The shared core: what an owner or an agent can do. Front ends call this and nothing below it.

#[allow(dead_code, reason = "use-cases of the wallet are added around it")]
pub(crate) mod vault;

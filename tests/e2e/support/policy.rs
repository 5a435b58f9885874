//! Policy files as an owner would write them (docs/policy.md), with the addresses of the local chain filled in.

use alloy::primitives::Address;

/// A policy for a week, gas paid by whoever, with these lines beneath.
pub fn policy(label: &str, permissions: &str) -> String {
    policy_with(label, WEEK, permissions)
}

/// Valid from now for a week, gas paid by whoever.
pub const WEEK: &str = r#"
valid_after = "now"
valid_until = "7d"
paymaster = "unrestricted"
"#;

/// The same, with other lines for window, paymaster, selector or validator.
pub fn policy_with(label: &str, head: &str, permissions: &str) -> String {
    format!("label = \"{label}\"\n{head}\n{permissions}\n")
}

/// One permission without conditions.
pub fn may_call(target: Address, function: &str) -> String {
    format!("[[permission]]\ntarget = \"{target}\"\nfunction = \"{function}\"\n")
}

/// A condition on the permission above it.
pub fn when(argument: &str, operator: &str, value: impl std::fmt::Display) -> String {
    format!("[[permission.when]]\narg = \"{argument}\"\nop = \"{operator}\"\nvalue = \"{value}\"\n")
}

/// The first example of ZeroDev's documentation: mint to one address.
pub fn may_mint(nft: Address, to: Address) -> String {
    may_call(nft, "mint(address to)") + &when("to", "eq", to)
}

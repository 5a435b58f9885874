//! Warnings that what is shown may not be the chain's present state: it could not be read, or its nodes disagree.

use std::collections::BTreeSet;

use alloy::primitives::Address;

use super::output::Output;
use crate::wallet::{
    Wallet,
    error::Result,
    usecase::{account::AccountView, key::KeyView},
};

/// A chain that could not be read does not fail a list; that it was not read, and why, is a warning with a code.
pub fn warn_of_unread_keys(keys: &[KeyView], output: &mut Output) {
    let unread =
        keys.iter().filter_map(|k| k.unread.as_ref().map(|e| (k.network.as_str(), e.code.as_str(), &e.message)));
    warn_of_unread(unread, output);
}

pub fn warn_of_unread_accounts(accounts: &[AccountView], output: &mut Output) {
    let unread = accounts.iter().filter_map(|a| {
        Some((a.network.as_str(), a.unknown_code.as_deref().unwrap_or("chain"), a.unknown_because.as_ref()?))
    });
    warn_of_unread(unread, output);
}

/// Each cause once for each network.
fn warn_of_unread<'a>(unread: impl Iterator<Item = (&'a str, &'a str, &'a String)>, output: &mut Output) {
    for (network, code, why) in unread.collect::<BTreeSet<_>>() {
        output.warn(code, &format!("{network} could not be read, so its current state is unknown: {why}"));
    }
}

/// Where a network has a second node: what is shown of these accounts is shown only when both say the same.
pub async fn compare_nodes(
    wallet: &Wallet,
    accounts: impl IntoIterator<Item = (String, Address)>,
    output: &mut Output,
) -> Result<()> {
    for remark in wallet.nodes_agree_about(accounts.into_iter().collect()).await? {
        output.warn("chain.second_node", &remark);
    }
    Ok(())
}

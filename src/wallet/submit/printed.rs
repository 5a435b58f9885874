//! An owner's calls for somebody else to send: nothing is signed here.

use alloy::primitives::{Address, Bytes};
use serde::Serialize;

use crate::{
    protocol::AccountCall,
    wallet::{
        error::{Error, Result},
        records::model::Account,
    },
};

/// A call for somebody else to send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PrintedCall {
    /// Missing when anybody may.
    pub from: Option<Address>,
    pub to: Address,
    pub value: String,
    pub data: Bytes,
    pub what: &'static str,
}

/// The transactions that make these calls, in this order.
pub(in crate::wallet) fn printed(account: &Account, deployed: bool, calls: &[AccountCall]) -> Result<Vec<PrintedCall>> {
    let deployment = if deployed { None } else { Some(deployment(account)?) };
    let of_owner = calls.iter().map(|call| PrintedCall {
        from: Some(account.owner),
        to: account.address,
        value: "0".into(),
        data: account.family().encode(call),
        what: "to be sent by the owner's address",
    });
    Ok(deployment.into_iter().chain(of_owner).collect())
}

/// `initCode` is the factory's address and what it is called with.
fn deployment(account: &Account) -> Result<PrintedCall> {
    let init_code = account.init_code();
    let Some((factory, data)) = init_code.as_ref().and_then(|code| code.split_first_chunk::<20>()) else {
        return Err(Error::failed(
            "account.not_deployed",
            "the account is not deployed, and how to deploy it is not on record",
        ));
    };
    Ok(PrintedCall {
        from: None,
        to: Address::from(*factory),
        value: "0".into(),
        data: Bytes::copy_from_slice(data),
        what: "deploys the account: without it the next call would go nowhere",
    })
}

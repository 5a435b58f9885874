//! Owner's operations that are signed elsewhere: a file with what to sign goes out, a signature comes back.
//!
//! The file is not trusted when it comes back: hash, account, owner and price are worked out anew before anything is sent.

use alloy::primitives::{Address, B256, Bytes, U256, eip191_hash_message};
use serde::{Deserialize, Serialize};

use super::{enable::EnablePlan, revoke::RevokePlan, send::SendPlan, status::Completed};
use crate::{
    erc4337::v06::{ENTRY_POINT, UserOperation},
    protocol::{
        AccountCall, Call,
        family::Family,
        signature::{normalized, recover},
    },
    wallet::{
        Wallet,
        coin::Coin,
        error::{Error, Result},
        now,
        records::model::Purpose,
        submit::{operation::Prepared, routes::Submission},
    },
};

/// Version of the file.
const FORM: u32 = 1;

/// What an owner must sign elsewhere. `message` is signed as 32 raw bytes with EIP-191 (`personal_sign`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnsignedOperation {
    pub keyleash_operation: u32,
    pub how: String,
    pub message: B256,
    pub network: String,
    pub chain_id: u64,
    pub owner: Address,
    pub purpose: Purpose,
    pub user_op: UserOperation,
}

impl Wallet {
    /// The operation of a send plan for the owner to sign elsewhere. A session key's operation is signed by its holder.
    pub fn unsigned_send(&self, plan: &SendPlan) -> Result<UnsignedOperation> {
        let account = plan.owner_account().ok_or_else(|| {
            Error::usage("send.unsigned", "--unsigned is for the owner's operations").hint("say --as-owner ACCOUNT")
        })?;
        Ok(unsigned(&account.network, account.chain_id, account.owner, Purpose::Send { key_id: None }, &plan.prepared))
    }

    /// Only what a bundler takes can be signed elsewhere and sent from here.
    pub fn unsigned_enable(&self, plan: &EnablePlan) -> Result<UnsignedOperation> {
        let account = &plan.account;
        let Some(prepared) = plan.submission().and_then(Submission::for_bundler) else {
            return Err(Error::usage("enable.unsigned", "--unsigned needs a bundler")
                .hint("use --print and send the calls from the owner's wallet"));
        };
        Ok(unsigned(&account.network, account.chain_id, account.owner, plan.purpose(), prepared))
    }

    pub fn unsigned_revoke(&self, plan: &RevokePlan) -> Result<UnsignedOperation> {
        let account = &plan.account;
        let whole = plan.submission().filter(|_| plan.further == 0);
        let Some(prepared) = whole.and_then(Submission::for_bundler) else {
            return Err(Error::usage(
                "revoke.unsigned",
                "--unsigned needs a bundler, and a plan that is one operation",
            )
            .hint("use --print and send the calls from the owner's wallet"));
        };
        Ok(unsigned(&account.network, account.chain_id, account.owner, plan.purpose(), prepared))
    }

    /// What a file would do, for a person to read before it is sent.
    pub fn unsigned_calls(file: &UnsignedOperation, coin: Coin) -> Vec<String> {
        let family = Family::of(&file.user_op);
        family.decode(&file.user_op.call_data).in_words(family, &[], coin.symbol())
    }

    /// Takes the owner's signature, sends the operation, follows it, and proves it when it takes keys back.
    pub async fn complete_operation(
        &self,
        file: UnsignedOperation,
        owner_signature: &[u8],
        max_cost: Option<U256>,
    ) -> Result<Completed> {
        if file.keyleash_operation != FORM {
            return Err(Error::usage("operation.form", "the file is of another version of keyleash"));
        }
        let account = self
            .store
            .read(|r| r.account(&file.network, file.user_op.sender))?
            .ok_or_else(|| Error::usage("operation.account", "the account of this operation is not on record here"))?;
        let hash = file.user_op.hash(ENTRY_POINT, account.chain_id);
        if hash != file.message || file.chain_id != account.chain_id {
            return Err(Error::usage(
                "operation.changed",
                format!(
                    "the file was changed: it asks for a signature over {}, and its operation has the hash {hash}",
                    file.message
                ),
            ));
        }
        let signature = &normalized(owner_signature)
            .map_err(|e| Error::usage("operation.signature", format!("this is not an owner's signature: {e}")))?;
        let signers = [eip191_hash_message(hash), hash].map(|message| recover(message, signature));
        if !signers.contains(&Some(account.owner)) {
            let found = signers.into_iter().flatten().next();
            let found = found.map_or_else(|| "nobody".to_owned(), |a| a.to_string());
            return Err(Error::usage(
                "operation.signature",
                format!("the signature is not the owner's: expected one by {}, this is by {found}", account.owner),
            )
            .hint("sign `message` as 32 bytes with personal_sign (EIP-191), with the owner's key"));
        }
        let calls = account.family().decode(&file.user_op.call_data);
        if !fits(&file.purpose, &calls, account.family(), account.address) {
            return Err(Error::usage(
                "operation.purpose",
                format!("the file says that it {}, and its operation makes other calls", said(&file.purpose)),
            )
            .hint("nothing was sent; have the operation made anew with --unsigned"));
        }
        let services = self.services_of(&account.network, account.chain_id).await?;
        let picture = services.snapshot(&account.wanted(&[])).await?;
        super::grant::same_account(&account, &picture)?;
        let prepared = services.recheck(file.user_op, max_cost).await?;
        let purpose = file.purpose.clone();
        let watched = match &purpose {
            Purpose::Revoke { key_ids, .. } => {
                let mut keys = self.known_keys(&account)?;
                keys.extend(key_ids.iter().filter_map(|id| id.parse::<Address>().ok()));
                let picture = services.snapshot(&account.wanted(&keys)).await?;
                Some(self.watch(&account, &services, key_ids, &picture).await?)
            }
            _ => None,
        };
        let made_at = now();
        let operation = self
            .execute_operation(&services, prepared, purpose, account.family().owner_envelope()(signature), true, &())
            .await?;
        self.with_proofs(&services, account.address, &file.purpose, made_at, operation, watched).await
    }
}

const fn said(purpose: &Purpose) -> &'static str {
    match purpose {
        Purpose::Send { .. } => "makes calls as the owner",
        Purpose::Enable { .. } => "enables session keys",
        Purpose::Revoke { .. } => "revokes session keys",
        Purpose::Panic => "pauses every session key",
        Purpose::Reclaim => "gives the account back to its owner",
    }
}

/// Whether the calls of an operation are such as the purpose in its file would make. The purpose decides what is claimed
/// afterwards, and a file can be edited.
fn fits(purpose: &Purpose, call: &AccountCall, family: Family, account: Address) -> bool {
    let calls = match call {
        AccountCall::Execute(call) => std::slice::from_ref(call),
        AccountCall::ExecuteBatch(calls) => calls.as_slice(),
        _ => return matches!(purpose, Purpose::Send { key_id: None }),
    };
    match purpose {
        Purpose::Send { key_id } => key_id.is_none(),
        Purpose::Panic => calls == [family.pause(account).0],
        Purpose::Enable { .. } | Purpose::Revoke { .. } | Purpose::Reclaim => {
            !calls.is_empty() && calls.iter().all(|call: &Call| family.rules_keys(account, call))
        }
    }
}

fn unsigned(network: &str, chain_id: u64, owner: Address, purpose: Purpose, prepared: &Prepared) -> UnsignedOperation {
    UnsignedOperation {
        keyleash_operation: FORM,
        how: "sign `message` as 32 bytes with personal_sign (EIP-191), with the owner's key".into(),
        message: prepared.user_op_hash,
        network: network.to_owned(),
        chain_id,
        owner,
        purpose,
        user_op: UserOperation { signature: Bytes::new(), ..prepared.user_op.clone() },
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{U256, address};

    use super::*;
    use crate::{
        protocol::kernel_v2::{
            account::{disable_all, disable_key, disable_mode, enable_key, selector, set_execution},
            generation::Generation,
            revocation,
        },
        wallet::records::model::Extent,
    };

    const ACCOUNT: Address = address!("B2358b064F5eA10543Cf8034C8576b2E6Bfd3Be3");
    const STRANGER: Address = address!("70997970C51812dc3A010C7d01b50e0d17dc79C8");
    const G2: Address = Generation::G2.address();

    fn call(to: Address, data: Bytes) -> Call {
        Call { to, value: U256::ZERO, data }
    }

    fn revoke() -> Purpose {
        Purpose::Revoke { key_ids: vec!["a".into()], extent: Extent::Named }
    }

    #[test]
    fn k22_a_purpose_stands_for_the_calls_that_it_makes() {
        let disable = call(G2, disable_key(STRANGER));
        let batch = AccountCall::ExecuteBatch(vec![
            disable.clone(),
            call(G2, enable_key(&[1; 116])),
            call(G2, disable_all()),
            call(ACCOUNT, disable_mode(0)),
            call(ACCOUNT, set_execution(selector::EXECUTE, G2, &[1; 116])),
        ]);
        assert!(fits(&revoke(), &batch, Family::KernelV2, ACCOUNT));
        assert!(fits(&revoke(), &AccountCall::Execute(disable), Family::KernelV2, ACCOUNT));
        assert!(fits(&Purpose::Panic, &AccountCall::Execute(revocation::panic(ACCOUNT)), Family::KernelV2, ACCOUNT));
        assert!(fits(&Purpose::Send { key_id: None }, &AccountCall::Other(Bytes::new()), Family::KernelV2, ACCOUNT));
    }

    #[test]
    fn k22_a_file_that_says_revoke_and_does_something_else_is_refused() {
        let transfer = call(STRANGER, Bytes::from_static(&[0xa9, 0x05, 0x9c, 0xbb]));
        let paid = Call { value: U256::from(1), ..call(G2, disable_key(STRANGER)) };
        let routed = call(ACCOUNT, set_execution(selector::EXECUTE, STRANGER, &[1; 116]));
        for other in [transfer, paid, routed, call(ACCOUNT, Bytes::new()), call(STRANGER, disable_all())] {
            let batch = AccountCall::ExecuteBatch(vec![call(G2, disable_key(STRANGER)), other]);
            assert!(!fits(&revoke(), &batch, Family::KernelV2, ACCOUNT), "{batch:?}");
            assert!(!fits(&Purpose::Panic, &batch, Family::KernelV2, ACCOUNT));
        }
        assert!(!fits(&revoke(), &AccountCall::ExecuteBatch(Vec::new()), Family::KernelV2, ACCOUNT));
        assert!(!fits(&revoke(), &AccountCall::Other(Bytes::new()), Family::KernelV2, ACCOUNT));
        let delegate = AccountCall::ExecuteDelegateCall { to: STRANGER, data: Bytes::new() };
        assert!(!fits(&revoke(), &delegate, Family::KernelV2, ACCOUNT));
        assert!(!fits(
            &Purpose::Panic,
            &AccountCall::Execute(call(ACCOUNT, disable_mode(0))),
            Family::KernelV2,
            ACCOUNT
        ));
        assert!(!fits(&Purpose::Send { key_id: Some("a".into()) }, &batch_of_one(), Family::KernelV2, ACCOUNT));
    }

    fn batch_of_one() -> AccountCall {
        AccountCall::Execute(call(G2, disable_all()))
    }
}

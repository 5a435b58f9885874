//! Owner's operations that are signed elsewhere: a file with what to sign goes out, a signature comes back.
//!
//! The file is not trusted when it comes back: hash, account, owner and price are worked out anew before anything is sent.

use alloy::primitives::{Address, B256, Bytes, U256, eip191_hash_message};
use serde::{Deserialize, Serialize};

use super::{
    Wallet,
    carry::Carriage,
    enable::EnablePlan,
    error::{Error, Result},
    model::Purpose,
    operation::{OperationOutcome, Prepared},
    proof::{Paused, Proof},
    revoke::{Outcome, Remaining, RevokePlan, Verdict},
    send::SendPlan,
};
use crate::kernel::{
    account::AccountCall, approval::recover, generation::ENTRY_POINT, signature, user_op::UserOperation,
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

/// A completed operation, with the proofs when it was a revocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Completed {
    #[serde(flatten)]
    pub operation: OperationOutcome,
    pub proof: Option<Proof>,
    pub proofs: Vec<Proof>,
    /// After a panic: that it is on.
    pub paused: Option<Paused>,
    #[serde(skip)]
    pub not_proven: Option<Error>,
    /// Whether it was a revocation or a pause at all.
    #[serde(skip)]
    pub revokes: bool,
    /// Whether it was to end keys that are known here.
    #[serde(skip)]
    pub ends_keys: bool,
    /// What can still act for the account, as after a revocation that is followed at once.
    pub remaining: Vec<Remaining>,
}

impl Completed {
    fn outcome(&self) -> Outcome<'_> {
        Outcome {
            operation: &self.operation,
            ends_keys: self.ends_keys,
            proofs: &self.proofs,
            paused: self.paused.is_some(),
            not_proven: self.not_proven.is_some(),
            remaining: &self.remaining,
        }
    }

    /// What a revocation came to, by the rule that holds for one that is followed at once; missing for other operations.
    pub fn verdict(&self) -> Option<Verdict> {
        self.revokes.then(|| self.outcome().verdict())
    }

    /// The verdict in one line.
    pub fn in_words(&self) -> String {
        self.outcome().in_words()
    }
}

impl Wallet {
    /// The operation of a send plan for the owner to sign elsewhere. A session key's operation is signed by its holder.
    pub fn unsigned_send(&self, plan: &SendPlan) -> Result<UnsignedOperation> {
        let account = plan.owner_account().ok_or_else(|| {
            Error::usage("send.unsigned", "--unsigned is for the owner's operations").hint("say --as-owner ACCOUNT")
        })?;
        Ok(unsigned(&account.network, account.chain_id, account.owner, Purpose::Send { key_id: None }, &plan.prepared))
    }

    pub fn unsigned_enable(&self, plan: &EnablePlan) -> UnsignedOperation {
        let account = &plan.account;
        unsigned(&account.network, account.chain_id, account.owner, plan.purpose(), &plan.prepared)
    }

    /// Only what a bundler takes can be signed elsewhere and sent from here.
    pub fn unsigned_revoke(&self, plan: &RevokePlan) -> Result<UnsignedOperation> {
        let account = &plan.account;
        let Some(Carriage::Bundler(prepared)) = plan.carriage().filter(|_| plan.further == 0) else {
            return Err(Error::usage(
                "revoke.unsigned",
                "--unsigned needs a bundler, and a plan that is one operation",
            )
            .hint("use --print and send the calls from the owner's wallet"));
        };
        Ok(unsigned(&account.network, account.chain_id, account.owner, plan.purpose(), prepared))
    }

    /// What a file would do, for a person to read before it is sent.
    pub fn unsigned_account_call(file: &UnsignedOperation) -> AccountCall {
        AccountCall::decode(&file.user_op.call_data)
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
        let signature: &[u8; 65] = owner_signature.try_into().map_err(|_| {
            Error::usage("operation.signature", format!("expected 65 bytes, found {}", owner_signature.len()))
        })?;
        let signers = [eip191_hash_message(hash), hash].map(|message| recover(message, signature));
        if !signers.contains(&Some(account.owner)) {
            let found = signers.into_iter().flatten().next();
            let found = found.map_or_else(|| "nobody (v must be 27 or 28)".to_owned(), |a| a.to_string());
            return Err(Error::usage(
                "operation.signature",
                format!("the signature is not the owner's: expected one by {}, this is by {found}", account.owner),
            )
            .hint("sign `message` as 32 bytes with personal_sign (EIP-191), with the owner's key"));
        }
        let services = self.services_of(&account.network, account.chain_id).await?;
        let picture = services.picture(account.address, &[], Some(account.kernel)).await?;
        super::grant::same_account(&account, &picture)?;
        let prepared = services.recheck(file.user_op, max_cost).await?;
        let purpose = file.purpose.clone();
        let watched = match &purpose {
            Purpose::Revoke { key_ids } => {
                let mut keys = self.known_keys(&account)?;
                keys.extend(key_ids.iter().filter_map(|id| id.parse::<Address>().ok()));
                let picture = services.picture(account.address, &keys, Some(account.kernel)).await?;
                Some(self.watch(&account, &services, key_ids, &picture).await?)
            }
            _ => None,
        };
        let operation = self.execute_operation(&services, prepared, purpose, signature::sudo(signature), true).await?;
        self.with_proofs(&services, account.address, &file.purpose, operation, watched).await
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

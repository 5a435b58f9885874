//! What was sent before and has no result yet.
//!
//! What is signed can be mined until its nonce is used, whatever a bundler said of it. So the same call again looks for what
//! became of the one before, and takes its nonce while that is free: of the two only one can be mined.

use alloy::primitives::{Address, B256, Bytes};

use super::follow::Fate;
use crate::{
    erc4337::v06::UserOperation,
    wallet::{
        Wallet,
        error::{Error, Result},
        records::model::{Carrier, Operation, OperationState, Purpose, SignedTransaction},
        rpc::services::Services,
    },
};

/// An operation that was signed before, and may still be mined.
#[derive(Debug, Clone)]
pub(in crate::wallet) struct Earlier {
    pub hash: B256,
    pub user_op: UserOperation,
}

impl Wallet {
    /// An operation on record that does the same and can still be mined, for its nonce to be taken. One that was mined after all
    /// is written down and told, once: whoever tries again because of an error must not pay twice.
    pub(in crate::wallet) async fn earlier_of_the_same(
        &self,
        services: &Services,
        sender: Address,
        call_data: &Bytes,
    ) -> Result<Option<Earlier>> {
        for mut record in self.operations(1000)? {
            let Carrier::UserOp(user_op) = &record.carrier else { continue };
            let same = record.network == services.name && user_op.sender == sender && user_op.call_data == *call_data;
            let open = !matches!(
                record.progress,
                OperationState::Included { .. } | OperationState::Refused { ended: true, .. }
            );
            if !same || !open {
                continue;
            }
            let user_op = user_op.clone();
            let hash = record.user_op_hash;
            let (progress, told) = match self.fate(services, &record, &user_op).await? {
                Fate::Open => return Ok(Some(Earlier { hash, user_op })),
                Fate::Ended => {
                    (OperationState::Refused { message: "something else used its nonce".into(), ended: true }, None)
                }
                Fate::Mined(progress) => {
                    let place = match &progress {
                        OperationState::Included { transaction_hash, block, success: true, .. } => {
                            format!("was mined in transaction {transaction_hash}, block {block}")
                        }
                        OperationState::Included { transaction_hash, .. } => {
                            format!("was mined in transaction {transaction_hash}, and its call failed")
                        }
                        _ => "has a result".to_owned(),
                    };
                    (
                        progress,
                        Some(("send.mined_before", format!("the same call was signed before, and {place}: {hash}"))),
                    )
                }
                Fate::Unknown => {
                    let message = "its nonce is used, and the operation was not found in recent blocks".to_owned();
                    let told = format!("the same call was signed before as {hash}; {message}: it may have been done");
                    (OperationState::Refused { message, ended: true }, Some(("send.maybe_done", told)))
                }
            };
            record.progress = progress;
            self.store.write(|w| w.put_operation(&record))?;
            if let Some((code, message)) = told {
                return Err(Error::failed(code, message)
                    .hint("nothing was sent now; send it again if it is to be done once more"));
            }
        }
        Ok(None)
    }

    /// The newest transaction of this owner on record that has no result yet, the account that it is for, and whether it takes
    /// power away.
    pub(in crate::wallet) fn waiting_transaction(
        &self,
        network: &str,
        account: Address,
        owner: Address,
    ) -> Result<Option<(Address, SignedTransaction, bool)>> {
        let waits = |o: Operation| match (o.carrier, o.progress) {
            (Carrier::Transaction(sent), OperationState::Signed | OperationState::Sent) => {
                let takes_away = matches!(o.purpose, Purpose::Revoke { .. } | Purpose::Panic | Purpose::Reclaim);
                (sent.from == owner).then_some((o.account, sent, takes_away))
            }
            _ => None,
        };
        Ok(self.store.read(|r| r.operations_beside(network, account, 100))?.into_iter().find_map(waits))
    }
}

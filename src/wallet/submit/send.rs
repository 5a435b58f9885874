//! What is signed leaves: it is on record before, so that after a crash its hash is known and `status` finds it again.

use std::time::Duration;

use alloy::primitives::{Address, B256, Bytes};

use super::{
    follow::{STILL_ALIVE, outcome},
    operation::{OperationOutcome, Prepared},
    progress::Progress,
    refused,
};
use crate::{
    erc4337::v06::UserOperation,
    wallet::{
        Wallet,
        error::{Error, Result},
        now,
        records::model::{Carrier, Operation, OperationState, Purpose, SignedTransaction},
        rpc::{ChainError, services::Services},
    },
};

/// How long a sent operation is followed before the wait is left to `status`.
const PATIENCE: Duration = Duration::from_secs(90);

impl Wallet {
    /// Writes down, sends, and follows a signed operation until it is in a block (or not, with `wait` false).
    pub(in crate::wallet) async fn execute_operation(
        &self,
        services: &Services,
        prepared: Prepared,
        purpose: Purpose,
        signature: Bytes,
        wait: bool,
        progress: &dyn Progress,
    ) -> Result<OperationOutcome> {
        if self.for_one_command {
            self.vault.lock();
        }
        progress.phase("sending");
        let bundler = services.bundler_or_say()?;
        let user_op = UserOperation { signature, ..prepared.user_op };
        let record = Operation {
            user_op_hash: prepared.user_op_hash,
            network: services.name.clone(),
            account: user_op.sender,
            purpose,
            carrier: Carrier::UserOp(user_op.clone()),
            progress: OperationState::Signed,
            created_at: now(),
        };
        self.write_before_sending(&record)?;
        let sent = bundler.send(&user_op).await;
        self.after_sending(services, record, sent, wait, progress).await
    }

    /// The same for a transaction of the owner's own.
    pub(in crate::wallet) async fn execute_transaction(
        &self,
        services: &Services,
        account: Address,
        signed: SignedTransaction,
        purpose: Purpose,
        progress: &dyn Progress,
    ) -> Result<OperationOutcome> {
        if self.for_one_command {
            self.vault.lock();
        }
        progress.phase("sending");
        let raw = signed.raw.clone();
        let record = Operation {
            user_op_hash: signed.hash,
            network: services.name.clone(),
            account,
            purpose,
            carrier: Carrier::Transaction(signed),
            progress: OperationState::Signed,
            created_at: now(),
        };
        self.write_before_sending(&record)?;
        let sent = services.node.send_raw(&raw).await;
        self.after_sending(services, record, sent, true, progress).await
    }

    /// What is signed is on record before it leaves. Only taking power away goes on without.
    fn write_before_sending(&self, record: &Operation) -> Result<()> {
        match record.purpose {
            Purpose::Revoke { .. } | Purpose::Panic | Purpose::Reclaim => self.store.note(|w| w.put_operation(record)),
            Purpose::Send { .. } | Purpose::Enable { .. } => self.store.write(|w| w.put_operation(record)),
        }
    }

    async fn after_sending(
        &self,
        services: &Services,
        mut record: Operation,
        sent: std::result::Result<B256, ChainError>,
        wait: bool,
        progress: &dyn Progress,
    ) -> Result<OperationOutcome> {
        match sent {
            Ok(_) => record.progress = OperationState::Sent,
            Err(error) if error.leaves_doubt() => {
                let error = Error::from(error);
                let hash = record.user_op_hash;
                return Err(Error {
                    hint: format!("it may have been taken: look with `keyleash status {hash}`"),
                    ..error
                });
            }
            Err(error) => {
                record.progress = OperationState::Refused { message: error.to_string(), ended: false };
                self.store.note(|w| w.put_operation(&record))?;
                let hash = record.user_op_hash;
                let error = refused(error);
                return Err(Error {
                    message: format!("{}. All the same {STILL_ALIVE}", error.message.trim_end_matches('.')),
                    hint: format!(
                        "look with `keyleash status {hash}`; the same call again takes the same nonce, so that only one of them \
                         can be mined"
                    ),
                    ..error
                });
            }
        }
        self.store.note(|w| w.put_operation(&record))?;
        if !wait {
            return Ok(outcome(&record, services.coin()));
        }
        progress.phase("waiting for a block");
        let hash = record.user_op_hash;
        // It is sent: whoever waits for it must be able to find it again.
        self.follow(services, record, PATIENCE).await.map_err(|error| match error.hint.is_empty() {
            true => error.hint(format!("it was sent: look with `keyleash status {hash}`")),
            false => error,
        })
    }
}

//! Snapshots of an account, read from the network's node: see [`SnapshotRequest`] for what is asked.

use alloy::primitives::Address;

use super::{At, node::Block, services::Services};
use crate::{
    protocol::{
        family::{
            Family,
            approval::ApprovalRequest,
            snapshot::{Counters, Pause, Snapshot, SnapshotRequest},
        },
        query::Moment,
    },
    sandbox::CHAIN_ID,
    wallet::{
        error::{Class, Error, Kind, Result},
        records::model::Key,
    },
};

impl Services {
    /// At the newest block.
    pub async fn snapshot(&self, wanted: &SnapshotRequest) -> Result<Snapshot> {
        let block = self.node.latest_block().await?;
        self.node.goes_on(&block)?;
        self.snapshot_of(wanted, block, At::Block(block.number)).await
    }

    /// For what takes power away: a node that cannot read at the block that it named is asked for whatever it has.
    pub async fn snapshot_for_the_brake(&self, wanted: &SnapshotRequest) -> Result<Snapshot> {
        let block = self.node.latest_block().await?;
        match self.snapshot_of(wanted, block, At::Block(block.number)).await {
            Err(error) => self.snapshot_of(wanted, block, At::Latest).await.map_err(|_| error),
            read => read,
        }
    }

    /// At the newest block, or at `block` where this node has not got so far: behind a load balancer the next machine may lag.
    pub async fn snapshot_from(&self, wanted: &SnapshotRequest, block: u64) -> Result<Snapshot> {
        let snapshot = self.snapshot(wanted).await?;
        if snapshot.block() >= block {
            return Ok(snapshot);
        }
        self.snapshot_at(wanted, block).await
    }

    /// At an earlier block, where the node still has its state.
    pub async fn snapshot_at(&self, wanted: &SnapshotRequest, block: u64) -> Result<Snapshot> {
        let block = self.node.block(block).await?;
        self.snapshot_of(wanted, block, At::Block(block.number)).await
    }

    async fn snapshot_of(&self, wanted: &SnapshotRequest, block: Block, at: At) -> Result<Snapshot> {
        let wanted = wanted.clone().on_own_chain(self.network.chain_id == CHAIN_ID);
        let moment = Moment { block: block.number, timestamp: block.timestamp };
        Ok(self.node.ask_for(&wanted.queries(), at, |answers| wanted.read(moment, answers)).await?)
    }

    /// Whether the account refuses session keys, and nothing else of it.
    pub async fn pause(&self, family: Family, account: Address, at: At) -> Result<Pause> {
        Ok(self.node.ask_for(&family.pause_queries(account), at, |answers| family.read_pause(answers)).await?)
    }

    /// Adds the run counters of a key's permissions to a snapshot of its account.
    pub async fn add_counters(&self, snapshot: &mut Snapshot, key: &Key, approval: &ApprovalRequest) -> Result<()> {
        let counters = Counters::of(key.account, approval, &key.scope);
        let queries = counters.queries();
        if queries.is_empty() {
            return Ok(());
        }
        let at = At::Block(snapshot.block());
        Ok(self.node.ask_for(&queries, at, |answers| counters.read_into(snapshot, answers)).await?)
    }

    /// The snapshot as storage has it, which another part of a node answers than views; `None` where the node does not tell. It is
    /// asked where something hangs on the first reading: before a revocation is given up, before a claim, a grant, or a proof.
    pub async fn stored(&self, wanted: &SnapshotRequest, told: &Snapshot, at: At) -> Option<Snapshot> {
        self.node.ask_for(&wanted.storage_queries(), at, |answers| wanted.read_storage(told, answers)).await.ok()
    }

    /// Whether the node says the same of a snapshot when it is asked another way.
    pub async fn contradiction_in(&self, wanted: &SnapshotRequest, told: &Snapshot) -> Option<Error> {
        let stored = self.stored(wanted, told, At::Block(told.block())).await?;
        self.contradicted_by(told, &stored)
    }

    /// What is wrong when two readings are not alike.
    pub fn contradicted_by(&self, told: &Snapshot, stored: &Snapshot) -> Option<Error> {
        let about = told.contradicts(stored)?;
        let message = format!("{} contradicts itself about {about}", self.origin());
        Some(
            Error::new(Class::Chain, "chain.contradiction", message)
                .of(Kind::Contradiction)
                .hint("treat the keys as still active, and ask another node (`network add` with another --rpc)"),
        )
    }
}

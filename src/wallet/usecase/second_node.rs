//! A second node of the same chain, asked whether it says the same.
//!
//! A proof is only as good as the node that told it, and one node can lag, be wrong, or lie. Both are asked at one block that
//! both have. Where they differ, nobody here can say which is right: claims, grants and payments stop. A revocation never
//! does: it takes power away, which does no harm when it was not needed, and says that it is not proven.

use crate::{
    protocol::{
        family::{
            Family,
            snapshot::{Pause, Snapshot, SnapshotRequest},
        },
        probe::{Probe, ProbeResult},
    },
    wallet::{
        Wallet,
        error::{Error, Result},
        rpc::{At, services::Services},
    },
};
use std::{collections::BTreeSet, time::Duration};

use alloy::primitives::Address;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout};

/// How long the second node may take in all. It is asked for its opinion, and is not needed.
const PATIENCE: Duration = Duration::from_secs(3);
/// Until a node that lags is asked again for its newest block.
const PAUSE: Duration = Duration::from_millis(200);

/// What the second node said, as a proof records it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondNode {
    /// Without what may be an API key.
    pub node: String,
    pub agrees: bool,
    /// Why there is no answer, where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_answer: Option<String>,
}

impl std::fmt::Display for SecondNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.no_answer {
            None if self.agrees => write!(f, "{} says the same", self.node),
            None => write!(f, "{} says otherwise", self.node),
            Some(why) => write!(f, "{} was asked and gave no answer: {why}", self.node),
        }
    }
}

/// What came of asking.
pub(in crate::wallet) enum SecondView {
    /// The network has no second node.
    None,
    /// It says the same, or gave no answer in time.
    Said(SecondNode),
    Differs(Box<Disagreement>),
}

/// Two nodes that say different things about one account at one block.
pub(in crate::wallet) struct Disagreement {
    nodes: [String; 2],
    block: u64,
    about: Vec<String>,
    /// What the second says.
    pub theirs: Snapshot,
}

impl Disagreement {
    /// `http://a and http://b disagree about the owner (block 7)`
    pub fn words(&self) -> String {
        const SHOWN: usize = 4;
        let [first, second] = &self.nodes;
        let more = self.about.len().saturating_sub(SHOWN);
        let and_more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let about = self.about.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
        format!("{first} and {second} disagree about {about}{and_more} (block {})", self.block)
    }

    /// Why a claim is not made: `not proven`, `nothing was signed`.
    pub fn error(&self, then: &str) -> Error {
        Error::failed("chain.disagreement", format!("{then}: {}", self.words()))
            .hint("one of the two lags, is wrong or lies: ask a third one, and correct the network's rpc or second_rpc")
    }
}

/// The same attempts for the second node, with what the first answered.
pub(in crate::wallet) struct Replays<'a> {
    pub probes: &'a [Vec<Probe>],
    pub results: &'a [Vec<ProbeResult>],
}

impl Services {
    /// Asks the second node about an account that the first one told of in `picture`, at the newest block that both have, which
    /// must not be before `least`.
    pub(in crate::wallet) async fn second_view(
        &self,
        wanted: &SnapshotRequest,
        picture: &Snapshot,
        least: u64,
        replays: Option<Replays<'_>>,
    ) -> SecondView {
        let Some(there) = self.on_second_node() else { return SecondView::None };
        let node = there.origin();
        let wanted = wanted.with_all_of(picture);
        let asked = self.compared(&there, &wanted, least, picture, replays);
        let no_answer = match timeout(PATIENCE, asked).await {
            Ok(Ok(None)) => None,
            Ok(Ok(Some(disagreement))) => return SecondView::Differs(Box::new(disagreement)),
            Ok(Err(error)) => Some(error.message),
            Err(_) => Some(format!("none within {} s", PATIENCE.as_secs())),
        };
        SecondView::Said(SecondNode { node, agrees: no_answer.is_none(), no_answer })
    }

    /// Before something is signed that gives power or money away. Answers a remark where the second node was silent.
    pub(in crate::wallet) async fn nodes_agree(
        &self,
        wanted: &SnapshotRequest,
        picture: &Snapshot,
    ) -> Result<Option<String>> {
        match self.second_view(wanted, picture, 0, None).await {
            SecondView::None => Ok(None),
            SecondView::Differs(disagreement) => Err(disagreement.error("nothing was signed")),
            SecondView::Said(second) => {
                Ok((!second.agrees).then(|| format!("what {} says was not compared: {second}", self.origin())))
            }
        }
    }

    /// Whether the second node answers the same disabled mode: all that a pause rests on.
    pub(in crate::wallet) async fn second_pause(
        &self,
        (family, account): (Family, Address),
        pause: Pause,
        block: u64,
    ) -> Result<Option<SecondNode>> {
        let Some(there) = self.on_second_node() else { return Ok(None) };
        let node = there.origin();
        let asked = async {
            there.reached(block).await?;
            there.pause(family, account, At::Block(block)).await
        };
        let no_answer = match timeout(PATIENCE, asked).await {
            Ok(Ok(theirs)) if theirs == pause => None,
            Ok(Ok(theirs)) => {
                let about = format!("the disabled mode ({pause} and {theirs}, block {block})");
                let message = format!("not proven: {} and {node} disagree about {about}", self.origin());
                return Err(Error::failed("chain.disagreement", message)
                    .hint("one of the two lags, is wrong or lies: treat every key as active, and ask a third"));
            }
            Ok(Err(error)) => Some(error.message),
            Err(_) => Some(format!("none within {} s", PATIENCE.as_secs())),
        };
        Ok(Some(SecondNode { node, agrees: no_answer.is_none(), no_answer }))
    }

    /// Who is believed here: the node, without what may be an API key.
    pub(in crate::wallet) fn origin(&self) -> String {
        self.node.endpoint().origin().to_owned()
    }

    fn on_second_node(&self) -> Option<Self> {
        let node = self.second.clone()?;
        let (name, network) = (self.name.clone(), self.network.clone());
        Some(Self { name, network, node, second: None, bundler: None, paymaster: None })
    }

    /// Waits until the node has a block, and answers its newest one.
    async fn reached(&self, block: u64) -> Result<u64> {
        let end = Instant::now() + PATIENCE.saturating_sub(PAUSE * 2);
        loop {
            let newest = self.node.latest_block().await?.number;
            if newest >= block {
                return Ok(newest);
            }
            if Instant::now() > end {
                return Err(Error::failed(
                    "chain.lags",
                    format!("it is at block {newest}, and has no block {block} yet"),
                ));
            }
            sleep(PAUSE).await;
        }
    }

    async fn compared(
        &self,
        there: &Self,
        wanted: &SnapshotRequest,
        least: u64,
        picture: &Snapshot,
        replays: Option<Replays<'_>>,
    ) -> Result<Option<Disagreement>> {
        there.node.check_chain(self.network.chain_id).await?;
        let block = there.reached(least).await?.min(picture.block());
        let theirs = there.snapshot_at(wanted, block).await?;
        let same_block = block == picture.block();
        let mut about = match same_block {
            true => picture.differences(&theirs),
            false => self.snapshot_at(wanted, block).await?.differences(&theirs),
        };
        if let Some(Replays { probes, results }) = replays {
            let theirs = there.try_all(probes, At::Block(block)).await;
            let again = if same_block { None } else { Some(self.try_all(probes, At::Block(block)).await) };
            about.extend(differing_replays(probes, again.as_deref().unwrap_or(results), &theirs));
        }
        let nodes = [self.origin(), there.origin()];
        Ok((!about.is_empty()).then_some(Disagreement { nodes, block, about, theirs }))
    }
}

impl Wallet {
    /// For what is shown: both nodes of each network are asked about these accounts. Answers remarks where the second was silent.
    /// A first node that cannot be asked is said elsewhere.
    pub async fn nodes_agree_about(&self, accounts: BTreeSet<(String, Address)>) -> Result<Vec<String>> {
        let mut remarks = Vec::new();
        for (network, address) in accounts {
            if self.network_config(&network)?.second_rpc.is_none() {
                continue;
            }
            let Ok(services) = self.services(&network).await else { continue };
            let (keys, account) =
                self.store.read(|r| Ok((r.keys_of(&network, address, true)?, r.account(&network, address)?)))?;
            let keys: Vec<Address> = keys.iter().map(|key| key.session_key).collect();
            let wanted = SnapshotRequest::of(address, &keys, account.map(|account| account.kernel));
            let Ok(picture) = services.snapshot(&wanted).await else { continue };
            match services.second_view(&wanted, &picture, 0, None).await {
                SecondView::None => {}
                SecondView::Said(second) => remarks.extend((!second.agrees).then(|| second.to_string())),
                SecondView::Differs(disagreement) => {
                    return Err(disagreement.error("what is shown is the first node's word and no more"));
                }
            }
        }
        remarks.dedup();
        Ok(remarks)
    }
}

/// Attempts that one node lets through and the other refuses. An attempt that a node gives no reason for says nothing.
fn differing_replays(probes: &[Vec<Probe>], ours: &[Vec<ProbeResult>], theirs: &[Vec<ProbeResult>]) -> Vec<String> {
    let all = probes.iter().flatten().zip(ours.iter().flatten().zip(theirs.iter().flatten()));
    let silent = |result: &ProbeResult| *result == ProbeResult::Silent;
    let differing =
        all.filter(|(_, (one, other))| !silent(one) && !silent(other) && one.is_alive() != other.is_alive());
    differing.map(|(probe, _)| format!("a replayed attempt (to {})", probe.name)).collect()
}

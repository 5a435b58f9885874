//! A second node of the same chain, asked whether it says the same.
//!
//! A proof is only as good as the node that told it, and one node can lag, be wrong, or lie. Both are asked at one block that
//! both have. Where they differ, nobody here can say which is right: claims, grants and payments stop. A revocation never
//! does: it takes power away, which does no harm when it was not needed, and says that it is not proven.

use crate::protocol::kernel_v2::snapshot::{Snapshot, SnapshotRequest};
use std::{collections::BTreeSet, time::Duration};

use alloy::primitives::Address;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout};

use super::proof::{Answer, Attempt};
use crate::protocol::kernel_v2::account::selector;
use crate::wallet::rpc::services::Services;
use crate::wallet::{
    Wallet,
    error::{Error, Result},
    rpc::At,
};

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
    pub attempts: &'a [Vec<Attempt>],
    pub answers: &'a [Vec<Answer>],
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
    pub(in crate::wallet) async fn second_mode(
        &self,
        account: Address,
        mode: u32,
        block: u64,
    ) -> Result<Option<SecondNode>> {
        let Some(there) = self.on_second_node() else { return Ok(None) };
        let node = there.origin();
        let asked = async {
            there.reached(block).await?;
            there.disabled_mode(account, At::Block(block)).await
        };
        let no_answer = match timeout(PATIENCE, asked).await {
            Ok(Ok(theirs)) if theirs == mode => None,
            Ok(Ok(theirs)) => {
                let about = format!("the disabled mode ({mode:#010x} and {theirs:#010x}, block {block})");
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
        let block = there.reached(least).await?.min(picture.block);
        let theirs = there.snapshot_at(wanted, block).await?;
        let same_block = block == picture.block;
        let mut about = match same_block {
            true => differences(picture, &theirs),
            false => differences(&self.snapshot_at(wanted, block).await?, &theirs),
        };
        if let Some(Replays { attempts, answers }) = replays {
            let their_answers = there.answers(attempts, At::Block(block)).await;
            let again = if same_block { None } else { Some(self.answers(attempts, At::Block(block)).await) };
            about.extend(differing_replays(attempts, again.as_deref().unwrap_or(answers), &their_answers));
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
            let keys = self.store.read(|r| r.keys_of(&network, address, true))?;
            let keys: Vec<Address> = keys.iter().map(|key| key.session_key).collect();
            let wanted = SnapshotRequest::of(address, &keys, None);
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

/// What two pictures of an account at one block say differently, in words. Amounts are left out: nothing is claimed from them.
fn differences(ours: &Snapshot, theirs: &Snapshot) -> Vec<String> {
    /// Seconds. The block has one time; a node that shifts it makes keys look expired.
    const CLOCKS: u64 = 60;
    // Every field is named, so that a new one is thought about here.
    let Snapshot {
        block: _,
        timestamp,
        deployed,
        implementation,
        kernel,
        owner,
        default_validator,
        known_proxy,
        balance: _,
        deposit: _,
        disabled_mode,
        routes,
        nonces,
        sessions,
        statuses: _,
    } = theirs;
    let mut about = Vec::new();
    let mut differ = |differ: bool, what: &str| about.extend(differ.then(|| what.to_owned()));
    differ(ours.timestamp.abs_diff(*timestamp) > CLOCKS, "the time of the block");
    differ(ours.deployed != *deployed, "whether the account is deployed");
    differ(ours.implementation != *implementation || ours.kernel != *kernel, "the account's implementation");
    differ(ours.owner != *owner, "the owner");
    differ(ours.default_validator != *default_validator, "the default validator");
    differ(ours.known_proxy != *known_proxy, "the account's own code");
    differ(ours.disabled_mode != *disabled_mode, "the disabled mode");
    let functions: BTreeSet<_> = ours.routes.keys().chain(routes.keys()).copied().collect();
    for function in functions {
        let name = selector::described(function);
        differ(ours.routes.get(&function) != routes.get(&function), &format!("the route of {name}"));
    }
    let generations: BTreeSet<_> = ours.nonces.keys().chain(nonces.keys()).copied().collect();
    for generation in generations {
        match (ours.nonces.get(&generation), nonces.get(&generation)) {
            (Some(one), Some(other)) if one != other => {
                let pair = |n: &crate::protocol::kernel_v2::revocation::Nonces| format!("{}, {}", n.last, n.invalid);
                differ(true, &format!("the nonces on {generation} ({} and {})", pair(one), pair(other)));
            }
            (Some(_), Some(_)) => {}
            // Nonces are read of known code only.
            _ => differ(true, &format!("the code of validator {generation}")),
        }
    }
    let held: BTreeSet<_> = ours.sessions.keys().chain(sessions.keys()).copied().collect();
    for (generation, key) in held {
        let place = (generation, key);
        differ(ours.sessions.get(&place) != sessions.get(&place), &format!("what {generation} holds for {key}"));
    }
    about
}

/// Attempts that one node lets through and the other refuses. An attempt that a node gives no reason for says nothing.
fn differing_replays(attempts: &[Vec<Attempt>], ours: &[Vec<Answer>], theirs: &[Vec<Answer>]) -> Vec<String> {
    let all = attempts.iter().flatten().zip(ours.iter().flatten().zip(theirs.iter().flatten()));
    let differing = all.filter(|(_, (one, other))| {
        **one != Answer::Silent && **other != Answer::Silent && one.is_alive() != other.is_alive()
    });
    differing.map(|(attempt, _)| format!("a replayed attempt (to {})", attempt.name)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use alloy::primitives::{B256, U256};

    use super::*;
    use crate::protocol::kernel_v2::{
        approval::EnableData,
        generation::{Generation, KernelVersion},
        judge::Window,
        revocation::Nonces,
        snapshot::Route,
    };

    const KEY: Address = Address::repeat_byte(2);
    const G2: Generation = Generation::G2;

    fn picture() -> Snapshot {
        let enable = EnableData {
            session_key: KEY,
            merkle_root: B256::repeat_byte(1),
            valid_after: 0,
            valid_until: 0,
            paymaster: Address::ZERO,
            nonce: 1,
        };
        Snapshot {
            block: 7,
            timestamp: 1_000,
            deployed: true,
            implementation: Some(KernelVersion::V0_2_4.implementation()),
            kernel: Some(KernelVersion::V0_2_4),
            owner: Some(Address::repeat_byte(1)),
            default_validator: None,
            known_proxy: true,
            balance: U256::ZERO,
            deposit: U256::ZERO,
            disabled_mode: 0,
            routes: BTreeMap::from([(
                selector::EXECUTE,
                Route { validator: G2.address(), executor: Address::ZERO, window: Window::default() },
            )]),
            nonces: BTreeMap::from([(G2, Nonces { last: 1, invalid: 0 })]),
            sessions: BTreeMap::from([((G2, KEY), enable)]),
            statuses: BTreeMap::new(),
        }
    }

    #[test]
    fn second_node_that_says_the_same_differs_in_nothing_whatever_the_balance() {
        let other = Snapshot { balance: U256::from(7), timestamp: 1_010, ..picture() };
        assert!(differences(&picture(), &other).is_empty());
    }

    #[test]
    fn each_thing_that_a_claim_rests_on_is_compared_and_named() {
        type Change = fn(&mut Snapshot);
        let changes: [(&str, Change); 9] = [
            ("the time of the block", |p| p.timestamp = 5_000),
            ("whether the account is deployed", |p| p.deployed = false),
            ("the account's implementation", |p| p.implementation = None),
            ("the owner", |p| p.owner = None),
            ("the disabled mode", |p| p.disabled_mode = 3),
            ("the route of execute", |p| p.routes.clear()),
            ("the nonces on G2 (1, 0 and 50, 50)", |p| {
                p.nonces = BTreeMap::from([(G2, Nonces { last: 50, invalid: 50 })])
            }),
            ("the code of validator G2", |p| p.nonces.clear()),
            ("what G2 holds for 0x0202020202020202020202020202020202020202", |p| p.sessions.clear()),
        ];
        for (what, change) in changes {
            let mut theirs = picture();
            change(&mut theirs);
            assert_eq!(differences(&picture(), &theirs), [what]);
            assert!(!differences(&theirs, &picture()).is_empty(), "{what}: the other way round");
        }
    }
}

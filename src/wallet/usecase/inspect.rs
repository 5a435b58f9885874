//! Reading a serialized approval: what it allows, who signed it, and - with a chain to ask - whether it still can.
//! Also the agent's intake, which keeps one after verifying it.

use crate::{
    abi::{Function, known_functions},
    policy::{
        risk::{Checked, Finding},
        scope::Permission,
    },
    protocol::{
        family::Validator,
        kernel_v2::{
            account::selector,
            approval::Approval,
            blob::{self, Blob, BlobError, PermissionApproval, RecoverError, Search},
            generation::{Generation, KernelVersion},
            snapshot::{Snapshot, SnapshotRequest},
            status::Queue,
        },
    },
    wallet::{
        Wallet,
        coin::{Coin, known_chains},
        error::{Error, Kind, Result},
        now,
        policy::check_label,
        records::model::{ApprovalRecord, Key, Network, Origin},
        rpc::{Endpoint, Http, Node, services::Services},
        short_id,
        state::{self, State},
    },
};
use std::collections::BTreeSet;

use alloy::primitives::{Address, B256};
use serde::Serialize;

use super::{
    assessment::{Asked, Subject},
    grant::sentences,
    key::KeyView,
};

/// What is known besides the text.
#[derive(Debug, Clone, Default)]
pub struct InspectOptions {
    /// Address of the session key, when the text does not carry its private half.
    pub session_key: Option<Address>,
    /// The account's owner, when neither the text nor a chain tells.
    pub owner: Option<Address>,
    /// A node to ask.
    pub rpc: Option<String>,
    /// A network of this home to ask.
    pub network: Option<String>,
}

/// What was found in a serialized approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    pub format: String,
    /// `kernel-v2`, or `kernel-v3`: those are recognised, and not managed yet.
    pub family: &'static str,
    /// Whether the owner's signature over this scope was checked, and fits. `None`: it could not be checked.
    pub verified: Option<bool>,
    /// What a text of Kernel v3 says.
    #[serde(skip)]
    pub kernel_v3: Option<PermissionApproval>,
    pub account: Address,
    pub session_key: Option<Address>,
    /// Owner and session key are known, and the signature is not that owner's over this scope.
    pub refuted: bool,
    pub has_secret: bool,
    pub owner: Option<Address>,
    pub chain_id: Option<u64>,
    pub kernel_version: Option<KernelVersion>,
    pub validator: Option<Validator>,
    pub nonce: Option<String>,
    pub selector: String,
    pub valid_after: u64,
    pub valid_until: u64,
    pub paymaster: Address,
    pub merkle_root: Option<B256>,
    pub digest: Option<B256>,
    pub state: State,
    pub state_reason: String,
    pub permissions: Vec<Permission>,
    pub sentences: Vec<String>,
    pub assumptions: Vec<String>,
    pub risks: Vec<Finding>,
    /// What was looked at, whether or not it held.
    pub checked: Checked,
    pub warnings: Vec<String>,
}

impl Inspection {
    /// Why nobody should rely on it, where the owner's signature was not found to fit.
    pub fn unverified(&self) -> Option<Error> {
        let (message, hint) = match (self.verified, self.family) {
            (Some(true), _) => return None,
            (_, KERNEL_V3) => (
                self.state_reason.clone(),
                "it is whole, as far as was looked; ZeroDev's SDK for Kernel v3 (@zerodev/permissions) uses it",
            ),
            (Some(false), _) => {
                (self.state_reason.clone(), "do not rely on it: no owner's signature over this scope was found")
            }
            (None, _) => (self.state_reason.clone(), "do not rely on it before the signature was checked"),
        };
        Some(Error::failed("approval.unverified", message).hint(hint))
    }
}

const KERNEL_V2: &str = "kernel-v2";
const KERNEL_V3: &str = "kernel-v3";

/// Reads an approval without a home. With a node it is asked what became of the approval.
pub async fn inspect(text: &str, options: &InspectOptions) -> Result<Inspection> {
    let services = match &options.rpc {
        Some(url) => Some(node_only(url).await?),
        None => None,
    };
    let known = Known {
        session_keys: options.session_key.into_iter().collect(),
        key_given: options.session_key.is_some(),
        owner: options.owner,
        chains: Vec::new(),
    };
    match document(text)? {
        Document::KernelV2(blob) => examine(&blob, &known, services.as_ref()).await,
        Document::KernelV3(approval) => Ok(of_kernel_v3(*approval)),
    }
}

/// What may be tried besides what the text says.
struct Known {
    session_keys: Vec<Address>,
    /// Somebody said that it is for this key; otherwise they are only the keys that are at hand.
    key_given: bool,
    owner: Option<Address>,
    /// Chain ids to try first.
    chains: Vec<u64>,
}

impl Wallet {
    /// The same with what this home knows: its agents' keys and its networks.
    pub async fn inspect(&self, text: &str, options: &InspectOptions) -> Result<Inspection> {
        let blob = match document(text)? {
            Document::KernelV2(blob) => blob,
            Document::KernelV3(approval) => return Ok(of_kernel_v3(*approval)),
        };
        let (recorded, keys) = self.store.read(|r| Ok((r.accounts()?, r.keys()?)))?;
        let recorded: Vec<_> = recorded.into_iter().filter(|a| a.address == blob.account).collect();
        let of_key = keys.iter().filter(|k| k.account == blob.account);
        let places: BTreeSet<(&str, u64)> = (recorded.iter().map(|a| (a.network.as_str(), a.chain_id)))
            .chain(of_key.clone().map(|k| (k.network.as_str(), k.chain_id)))
            .collect();
        let known = Known {
            session_keys: self.candidate_keys(options.session_key)?,
            key_given: options.session_key.is_some(),
            owner: options.owner.or(recorded.first().map(|a| a.owner)).or(of_key.clone().next().map(|k| k.owner)),
            chains: each_once(
                (places.iter().map(|(_, chain_id)| *chain_id))
                    .chain(self.config(|c| c.network.values().map(|n| n.chain_id).collect::<Vec<_>>())),
            ),
        };
        let services = match (&options.rpc, &options.network) {
            (Some(url), _) => Some(node_only(url).await?),
            (None, Some(name)) => Some(self.services(name).await?),
            (None, None) => {
                // The node of an account on record knows of it already; one that has never heard of it is not asked.
                let mut places = places.iter();
                let Some((network, chain_id)) = places.next().filter(|_| places.next().is_none()) else {
                    return examine(&blob, &known, None).await;
                };
                let asked = match self.services_of(network, *chain_id).await {
                    Ok(services) => examine(&blob, &known, Some(&services)).await,
                    Err(error) => Err(error),
                };
                return match asked {
                    Err(error) if error.class == crate::wallet::error::Class::Chain => {
                        let mut found = examine(&blob, &known, None).await?;
                        found.warnings.push(format!("network {network} could not be asked: {}", error.message));
                        Ok(found)
                    }
                    asked => asked,
                };
            }
        };
        examine(&blob, &known, services.as_ref()).await
    }

    /// Takes an approval in: verified, recorded, its private half moved to the vault.
    pub async fn import_approval(
        &self,
        text: &str,
        label: Option<&str>,
        session_key: Option<Address>,
        network: Option<&str>,
    ) -> Result<(KeyView, Vec<String>)> {
        let blob = read(text)?;
        self.store.require_writable()?;
        let network = self.default_network(network)?;
        let services = self.services(&network).await?;
        let session_keys = self.candidate_keys(session_key)?;
        let known = Known { session_keys, key_given: session_key.is_some(), owner: None, chains: Vec::new() };
        let found = recover(&blob, &known, Some(&services)).await?;
        let request = &found.approval.request;
        let known = self
            .store
            .read(|r| Ok(r.approval_by_digest(request.digest())?.map(|a| r.key(&a.key_id)).transpose()?.flatten()))?;
        if let Some(key) = known {
            return self.taken_in_before(key, &blob).await;
        }
        let label = match label {
            Some(label) => {
                let label = check_label("--label", label)?;
                self.label_is_distinct(&label, None)?;
                label
            }
            None => match self.store.read(|r| r.agent_by_address(request.enable.session_key))? {
                Some(agent) => agent.label,
                None => format!("for-{}", blob.account.to_string().get(2..8).unwrap_or("account").to_lowercase()),
            },
        };
        let mut warnings: Vec<String> = blob.warnings.iter().map(ToString::to_string).collect();
        let secret = match &blob.secret {
            Some(secret) => {
                warnings.push(
                    "the text carries the session key itself: whoever reads it can act. The key is in your vault now; destroy the source".into(),
                );
                Some(self.keep_secret(secret, &format!("session key {label}"))?)
            }
            None => self.store.read(|r| r.agent_by_address(request.enable.session_key))?.map(|agent| agent.secret),
        };
        let same = |k: &Key| {
            k.origin == Origin::Imported
                && (k.account == blob.account && k.session_key == request.enable.session_key)
                && (k.validator == request.validator.into() && k.scope == blob.scope && k.owner == found.owner)
        };
        if let Some(key) = self.store.read(|r| Ok(r.keys_of(&network, blob.account, false)?.into_iter().find(same)))? {
            // The same key with the same scope, for another account function.
            let approval = ApprovalRecord {
                key_id: key.id.clone(),
                request: request.clone(),
                signature: Some(found.approval.signature.clone()),
                created_at: now(),
            };
            self.store.write(|w| w.put_approval(&approval))?;
            let picture = self.picture_for(&key).await?;
            return Ok((self.key_view(&key, Some(&picture))?, found.assumptions));
        }
        let key = Key {
            id: short_id()?,
            label,
            network,
            chain_id: request.chain_id,
            account: blob.account,
            owner: found.owner,
            session_key: request.enable.session_key,
            secret,
            validator: request.validator.into(),
            partial: None,
            functions: functions(&blob).iter().map(|f| f.as_ref().map(ToString::to_string)).collect(),
            scope: blob.scope.clone(),
            origin: Origin::Imported,
            init_code: blob.init_code.clone(),
            was_deployed: found.picture.as_ref().is_some_and(|p| p.deployed),
            created_at: now(),
            revoked_at: None,
        };
        let approval = ApprovalRecord {
            key_id: key.id.clone(),
            request: request.clone(),
            signature: Some(found.approval.signature.clone()),
            created_at: now(),
        };
        self.store.write(|w| {
            w.put_key(&key)?;
            w.put_approval(&approval)
        })?;
        warnings.extend(found.assumptions);
        let picture = self.picture_for(&key).await?;
        Ok((self.key_view(&key, Some(&picture))?, warnings))
    }

    /// An approval that is on record: back on the lists if it was removed, with its key's private half if that came along.
    async fn taken_in_before(&self, mut key: Key, blob: &Blob) -> Result<(KeyView, Vec<String>)> {
        if let (None, Some(secret)) = (key.secret, &blob.secret) {
            key.secret = Some(self.keep_secret(secret, &format!("session key {}", key.label))?);
        }
        self.store.write(|w| w.show_key(&key))?;
        let picture = self.picture_for(&key).await?;
        let note = format!("this approval was on record already, as {} ({})", key.label, key.id);
        Ok((self.key_view(&key, Some(&picture))?, vec![note]))
    }

    fn candidate_keys(&self, given: Option<Address>) -> Result<Vec<Address>> {
        if let Some(address) = given {
            return Ok(vec![address]);
        }
        self.store.read(|r| {
            let mut keys: Vec<Address> = r.agents()?.into_iter().map(|a| a.address).collect();
            keys.extend(r.keys()?.into_iter().map(|k| k.session_key));
            keys.sort_unstable();
            keys.dedup();
            Ok(keys)
        })
    }
}

/// The approvals in a text: one, or one a line as `key export` writes a key with several.
pub fn texts(text: &str) -> Vec<&str> {
    const MAX_APPROVALS: usize = 8;
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let several = (2..=MAX_APPROVALS).contains(&lines.len()) && lines.iter().all(|l| blob::read(l).is_ok());
    if several { lines } else { vec![text] }
}

fn each_once(chain_ids: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut seen = BTreeSet::new();
    chain_ids.filter(|id| seen.insert(*id)).collect()
}

/// An approval of one of the families that are known.
enum Document {
    KernelV2(Box<Blob>),
    KernelV3(Box<PermissionApproval>),
}

fn document(text: &str) -> Result<Document> {
    match blob::read(text) {
        Ok(blob) => Ok(Document::KernelV2(Box::new(blob))),
        Err(BlobError::KernelV3(approval)) => Ok(Document::KernelV3(approval)),
        Err(error @ BlobError::Foreign { .. }) => Err(Error::usage("approval.foreign", error.to_string())),
        Err(error) => Err(Error::usage("approval.unreadable", error.to_string())),
    }
}

/// An approval that keyleash can use.
fn read(text: &str) -> Result<Box<Blob>> {
    match document(text)? {
        Document::KernelV2(blob) => Ok(blob),
        Document::KernelV3(approval) => Err(Error::usage("approval.family", approval.to_string())
            .hint("nothing was imported; `keyleash inspect FILE` shows what it allows")),
    }
}

/// What a text of Kernel v3 says. Nothing of it was verified.
fn of_kernel_v3(approval: PermissionApproval) -> Inspection {
    let mut warnings = approval.warnings.clone();
    if approval.has_secret {
        warnings.push("the text carries the session key itself: whoever reads it can act".into());
    }
    Inspection {
        format: "permissions".into(),
        family: KERNEL_V3,
        verified: None,
        account: approval.account,
        session_key: approval.session_key,
        refuted: false,
        has_secret: approval.has_secret,
        owner: approval.owner,
        chain_id: None,
        kernel_version: None,
        validator: None,
        nonce: None,
        selector: match approval.selector.0 {
            [0xe9, 0xae, 0x5c, 0x53] => "execute".to_owned(),
            _ => approval.selector.to_string(),
        },
        valid_after: approval.valid_after.unwrap_or_default(),
        valid_until: approval.valid_until.unwrap_or_default(),
        paymaster: Address::ZERO,
        merkle_root: None,
        digest: None,
        state: State::Unknown,
        state_reason: approval.to_string(),
        permissions: Vec::new(),
        sentences: approval.sentences.clone(),
        assumptions: vec!["what it says was read from the text; chain, nonce and signature were not checked".into()],
        risks: Vec::new(),
        checked: Checked::default(),
        warnings,
        kernel_v3: Some(approval),
    }
}

async fn node_only(url: &str) -> Result<Services> {
    let node = Node::new(Endpoint::new(Http::new(url).map_err(|e| Error::usage("network.url", e.to_string()))?));
    let chain_id = node.chain_id().await?;
    let network = Network {
        chain_id,
        rpc: url.to_owned(),
        second_rpc: None,
        bundler: None,
        paymaster: None,
        paymaster_kind: None,
        paymaster_context: None,
    };
    Ok(Services { name: "the node given".into(), network, node, second: None, bundler: None, paymaster: None })
}

struct Found {
    approval: Approval,
    owner: Address,
    assumptions: Vec<String>,
    picture: Option<Snapshot>,
}

/// How many chains to try and how far to count where nothing tells chain and nonce: a search with the wrong key must end within
/// a second or two. The chains of this home are always tried.
fn worth_trying(own_chains: usize, chains: usize, session_keys: usize) -> (usize, u128) {
    /// Candidates in all; each costs two signature recoveries.
    const TRIES: usize = 4_000;
    const FEWEST_NONCES: usize = 4;
    let each_chain = Generation::ALL.len() * KernelVersion::ALL.len() * session_keys.max(1);
    let affordable = TRIES / (each_chain * FEWEST_NONCES);
    let chains = chains.min(affordable.max(own_chains).max(1));
    (chains, (TRIES / (each_chain * chains.max(1))).clamp(FEWEST_NONCES, 64) as u128)
}

/// Finds out what the text leaves out, trying likely answers until the owner's signature verifies.
async fn recover(blob: &Blob, known: &Known, services: Option<&Services>) -> Result<Found> {
    let session_keys: Vec<Option<Address>> = match &blob.secret {
        Some(_) => vec![None],
        None => known.session_keys.iter().copied().map(Some).collect(),
    };
    if session_keys.is_empty() {
        return Err(Error::usage("approval.session_key", "the approval does not say for which session key it is")
            .hint("give the key's address with --agent ADDRESS"));
    }
    let mut search = Search::on_chains(match services {
        Some(services) => vec![services.network.chain_id],
        None => known.chains.iter().copied().chain(known_chains().iter().map(|c| c.id)).collect(),
    });
    search.owner = known.owner;
    if services.is_none() {
        let (chains, nonces) = worth_trying(known.chains.len(), search.chain_ids.len(), session_keys.len());
        search.chain_ids.truncate(chains);
        search.nonces = 1..=nonces;
    }
    let mut picture = None;
    if let Some(services) = services {
        let planned = blob.seed().and_then(|(_, implementation)| KernelVersion::from_implementation(implementation));
        let keys: Vec<Address> =
            session_keys.iter().flatten().copied().chain(blob.secret.as_ref().map(|s| s.address())).collect();
        let seen = services.snapshot(&SnapshotRequest::of(blob.account, &keys, planned)).await?;
        search.owner = seen.owner.or(known.owner);
        search.kernels = seen.kernel.into_iter().collect();
        let last = Generation::ALL.iter().map(|g| seen.nonces(*g).last).max().unwrap_or(0);
        search.nonces = 1..=last.saturating_add(64).min(1024);
        picture = Some(seen);
    }
    let mut first_error = None;
    for attempt in 0..2 {
        for session_key in &session_keys {
            search.session_key = *session_key;
            match blob.recover(&search) {
                Ok(found) => {
                    return Ok(Found {
                        approval: found.approval,
                        owner: found.owner,
                        assumptions: found.assumptions,
                        picture,
                    });
                }
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        // The account may have been upgraded since: try the versions it does not run.
        if attempt == 0 && !search.kernels.is_empty() {
            search.kernels = Vec::new();
        } else {
            break;
        }
    }
    let (code, kind) = match first_error {
        Some(RecoverError::OwnerUnknown { .. }) => ("approval.owner_unknown", Kind::Other),
        Some(RecoverError::SessionKeyUnknown) => ("approval.session_key", Kind::Other),
        Some(RecoverError::OtherValidator { .. }) => ("approval.validator", Kind::Other),
        Some(RecoverError::NotSigned { .. }) => ("approval.not_signed", Kind::NotSigned),
        _ => ("approval.unverified", Kind::Other),
    };
    let message = first_error.map_or_else(|| "nothing was tried".to_owned(), |e| e.to_string());
    Err(Error::failed(code, message)
        .of(kind)
        .hint("give the session key's address with --agent, and a node of the right chain with --rpc"))
}

async fn examine(blob: &Blob, known: &Known, services: Option<&Services>) -> Result<Inspection> {
    let functions = functions(blob);
    let found = recover(blob, known, services).await;
    let mut out = Inspection {
        format: blob.format.to_string(),
        family: KERNEL_V2,
        verified: None,
        kernel_v3: None,
        account: blob.account,
        session_key: blob.secret.as_ref().map(|s| s.address()),
        refuted: false,
        has_secret: blob.secret.is_some(),
        owner: None,
        chain_id: None,
        kernel_version: None,
        validator: None,
        nonce: None,
        selector: selector::name(blob.selector).map_or_else(|| blob.selector.to_string(), str::to_owned),
        valid_after: blob.scope.valid_after,
        valid_until: blob.scope.valid_until,
        paymaster: blob.scope.paymaster,
        merkle_root: None,
        digest: None,
        state: State::Unknown,
        state_reason: "no chain was asked".into(),
        permissions: blob.scope.permissions.clone(),
        sentences: sentences(&blob.scope, &functions, Validator::DEFAULT, Coin::unlisted()),
        assumptions: Vec::new(),
        risks: Vec::new(),
        checked: Checked::default(),
        warnings: blob.warnings.iter().map(ToString::to_string).collect(),
    };
    if blob.secret.is_some() {
        out.warnings.push("the text carries the session key itself: whoever reads it can act".into());
    }
    let found = match found {
        Ok(found) => found,
        Err(error) if error.class == crate::wallet::error::Class::Chain => return Err(error),
        Err(error) => {
            // On the chain that it is for, with its owner and the key it is for, no signature of the owner: that is an answer.
            out.refuted =
                error.kind == Kind::NotSigned && services.is_some() && (blob.secret.is_some() || known.key_given);
            out.verified = out.refuted.then_some(false);
            out.state_reason = format!("the owner's signature could not be verified: {error}; {}", error.hint);
            out.warnings.push(out.state_reason.clone());
            // Nobody vouches for it, and what it would allow is said all the same.
            let subject = Subject {
                scope: &blob.scope,
                partial: false,
                validator: Validator::DEFAULT,
                kernel: None,
                account: blob.account,
                owner: None,
                session_key: out.session_key,
                selectors: &[blob.selector],
                functions: &functions,
                also_on: &[],
                coin: Coin::unlisted(),
                of_an_sdk: true,
            };
            out.risks = subject.assess(None, &Asked::default());
            out.checked = subject.checked(None, &Asked::default());
            return Ok(out);
        }
    };
    out.verified = Some(true);
    let request = &found.approval.request;
    out.session_key = Some(request.enable.session_key);
    out.owner = Some(found.owner);
    out.chain_id = Some(request.chain_id);
    out.kernel_version = Some(request.kernel);
    out.validator = Some(request.validator.into());
    out.nonce = Some(request.enable.nonce.to_string());
    out.merkle_root = Some(request.enable.merkle_root);
    out.digest = Some(request.digest());
    out.sentences = sentences(&blob.scope, &functions, request.validator.into(), Coin::of(request.chain_id));
    out.assumptions = found.assumptions.clone();
    let asked = match services {
        Some(services) => services.ask_about(&blob.scope, blob.account, Some(request.enable.session_key)).await?,
        None => Asked::default(),
    };
    if let Some(picture) = &found.picture {
        let standing = standing(blob, &found, picture);
        out.state = standing.state;
        out.state_reason = standing.reason;
    }
    let subject = Subject {
        scope: &blob.scope,
        partial: false,
        validator: request.validator.into(),
        kernel: Some(request.kernel),
        account: blob.account,
        owner: Some(found.owner),
        session_key: Some(request.enable.session_key),
        selectors: &[request.selector],
        functions: &functions,
        also_on: &[],
        coin: Coin::of(request.chain_id),
        of_an_sdk: true,
    };
    out.risks = subject.assess(found.picture.as_ref(), &asked);
    out.checked = subject.checked(found.picture.as_ref(), &asked);
    Ok(out)
}

/// The state of an approval that is not on record: as for one that is.
fn standing(blob: &Blob, found: &Found, picture: &Snapshot) -> state::KeyStatus {
    let request = &found.approval.request;
    let key = Key {
        id: String::new(),
        label: String::new(),
        network: String::new(),
        chain_id: request.chain_id,
        account: blob.account,
        owner: found.owner,
        session_key: request.enable.session_key,
        secret: None,
        validator: request.validator.into(),
        scope: blob.scope.clone(),
        partial: None,
        functions: Vec::new(),
        origin: Origin::Imported,
        init_code: None,
        was_deployed: picture.deployed,
        created_at: 0,
        revoked_at: None,
    };
    let approval = ApprovalRecord {
        key_id: String::new(),
        request: request.clone(),
        signature: Some(found.approval.signature.clone()),
        created_at: 0,
    };
    state::of_approval(&key, &approval, Some(picture), &Queue::default())
}

/// Functions of the permissions, where a known interface has one with that selector.
fn functions(blob: &Blob) -> Vec<Option<Function>> {
    blob.scope.permissions.iter().map(|p| known_functions(p.sig).into_iter().next().map(|(_, f)| f)).collect()
}

#[cfg(test)]
mod tests {
    use super::worth_trying;

    #[test]
    fn a_search_without_a_chain_to_ask_is_bounded_whatever_the_home_holds() {
        let settings = 12;
        for keys in [1, 2, 20, 80] {
            let (chains, nonces) = worth_trying(0, 22, keys);
            assert!(chains * keys * settings * usize::try_from(nonces).unwrap() <= 4_000, "{keys} keys");
        }
        assert_eq!(worth_trying(1, 1, 1), (1, 64), "one chain: as far as ever");
        assert_eq!(worth_trying(0, 22, 1), (22, 15), "no home: every known chain");
        assert_eq!(worth_trying(2, 24, 500), (2, 4), "the home's own chains in any case");
    }
}

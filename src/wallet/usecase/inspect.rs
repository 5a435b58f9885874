//! Reading a serialized approval: what it allows, who signed it, and - with a chain to ask - whether it still can.
//! Also the agent's intake, which keeps one after verifying it.

use crate::{
    abi::{Function, known_functions},
    policy::{
        risk::{Checked, Finding},
        scope::Permission,
    },
    protocol::family::{
        Validator,
        account::Version,
        blob::{self, Blob, BlobError, Document, Recognised, RecognisedBlob, RecoverError, Recovered},
        snapshot::{Snapshot, SnapshotRequest},
        status::Queue,
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
    pub recognised: Option<Recognised>,
    pub account: Address,
    pub session_key: Option<Address>,
    /// Owner and session key are known, and the signature is not that owner's over this scope.
    pub refuted: bool,
    pub has_secret: bool,
    pub owner: Option<Address>,
    pub chain_id: Option<u64>,
    pub kernel_version: Option<Version>,
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
        let (message, hint) = match self.verified {
            Some(true) => return None,
            Some(false) => {
                (self.state_reason.clone(), "do not rely on it: no owner's signature over this scope was found")
            }
            None => (self.state_reason.clone(), "do not rely on it before the signature was checked"),
        };
        Some(Error::failed("approval.unverified", message).hint(hint))
    }
}

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
        Document::Managed(blob) => examine(&blob, &known, services.as_ref()).await,
        Document::Recognised(blob) => Ok(of_recognised(&blob, &known, services.as_ref())),
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
        let document = document(text)?;
        let account = match &document {
            Document::Managed(blob) => blob.account(),
            Document::Recognised(blob) => blob.account(),
        };
        let (recorded, keys) = self.store.read(|r| Ok((r.accounts()?, r.keys()?)))?;
        let recorded: Vec<_> = recorded.into_iter().filter(|a| a.address == account).collect();
        let of_key = keys.iter().filter(|k| k.account == account);
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
        let blob = match document {
            Document::Managed(blob) => blob,
            Document::Recognised(blob) => {
                let services = match (&options.rpc, &options.network) {
                    (Some(url), _) => Some(node_only(url).await?),
                    (None, Some(name)) => Some(self.services(name).await?),
                    (None, None) => None,
                };
                return Ok(of_recognised(&blob, &known, services.as_ref()));
            }
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
        let (found, picture) = recover(&blob, &known, Some(&services)).await?;
        let request = &found.request;
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
            None => match self.store.read(|r| r.agent_by_address(request.session_key()))? {
                Some(agent) => agent.label,
                None => format!("for-{}", blob.account().to_string().get(2..8).unwrap_or("account").to_lowercase()),
            },
        };
        let mut warnings = blob.warnings();
        let secret = match blob.secret() {
            Some(secret) => {
                warnings.push(
                    "the text carries the session key itself: whoever reads it can act. The key is in your vault now; destroy the source".into(),
                );
                Some(self.keep_secret(secret, &format!("session key {label}"))?)
            }
            None => self.store.read(|r| r.agent_by_address(request.session_key()))?.map(|agent| agent.secret),
        };
        let same = |k: &Key| {
            k.origin == Origin::Imported
                && (k.account == blob.account() && k.session_key == request.session_key())
                && (k.validator == request.validator() && k.scope == *blob.scope() && k.owner == found.owner)
        };
        if let Some(key) =
            self.store.read(|r| Ok(r.keys_of(&network, blob.account(), false)?.into_iter().find(same)))?
        {
            // The same key with the same scope, for another account function.
            let approval = ApprovalRecord {
                key_id: key.id.clone(),
                request: request.clone(),
                signature: Some(found.signature.clone()),
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
            chain_id: request.chain_id(),
            account: blob.account(),
            owner: found.owner,
            session_key: request.session_key(),
            secret,
            validator: request.validator(),
            partial: None,
            functions: functions(&blob).iter().map(|f| f.as_ref().map(ToString::to_string)).collect(),
            scope: blob.scope().clone(),
            origin: Origin::Imported,
            init_code: blob.init_code().cloned(),
            was_deployed: picture.is_some_and(|p| p.deployed()),
            created_at: now(),
            revoked_at: None,
        };
        let approval = ApprovalRecord {
            key_id: key.id.clone(),
            request: request.clone(),
            signature: Some(found.signature.clone()),
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
        if let (None, Some(secret)) = (key.secret, blob.secret()) {
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

fn document(text: &str) -> Result<Document> {
    blob::read(text).map_err(|error| match error {
        BlobError::Foreign { .. } => Error::usage("approval.foreign", error.to_string()),
        _ => Error::usage("approval.unreadable", error.to_string()),
    })
}

/// An approval that keyleash can use.
fn read(text: &str) -> Result<Blob> {
    match document(text)? {
        Document::Managed(blob) => Ok(blob),
        Document::Recognised(blob) => Err(Error::usage(
            "approval.family",
            format!("this is an approval of the Kernel v3 account {}, which is not managed yet", blob.account()),
        )
        .hint("nothing was imported; `keyleash inspect FILE` shows what it allows and who signed it")),
    }
}

/// What a text says of an account that is not managed here, and who signed it.
fn of_recognised(text: &RecognisedBlob, known: &Known, services: Option<&Services>) -> Inspection {
    let asked = services.map(|services| vec![services.network.chain_id]);
    let others: Vec<u64> = if asked.is_some() { Vec::new() } else { known_chains().iter().map(|c| c.id).collect() };
    let hints = blob::Known {
        session_keys: &known.session_keys,
        owner: known.owner,
        chain_ids: asked.as_ref().unwrap_or(&known.chains),
        other_chain_ids: &others,
        snapshot: None,
    };
    let found = text.described(&hints, now());
    let mut warnings = found.warnings.clone();
    if found.has_secret {
        warnings.push("the text carries the session key itself: whoever reads it can act".into());
    }
    Inspection {
        format: "permissions".into(),
        family: found.family,
        verified: found.verified,
        account: found.account,
        session_key: found.session_key,
        refuted: found.verified == Some(false),
        has_secret: found.has_secret,
        owner: found.owner,
        chain_id: found.signed.and_then(|signed| signed.chain_id),
        kernel_version: None,
        validator: None,
        nonce: found.signed.map(|signed| signed.nonce.to_string()),
        selector: found.opens.clone(),
        valid_after: found.valid_after.unwrap_or_default(),
        valid_until: found.valid_until.unwrap_or_default(),
        paymaster: Address::ZERO,
        merkle_root: None,
        digest: found.signed.map(|signed| signed.digest),
        state: State::Unknown,
        state_reason: found.why.clone(),
        permissions: Vec::new(),
        sentences: found.sentences.clone(),
        assumptions: found.assumptions.clone(),
        risks: found.findings.clone(),
        checked: Checked::default(),
        warnings,
        recognised: Some(found),
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

/// Finds out what the text leaves out, and what the chain says of its account, where one is asked.
async fn recover(blob: &Blob, known: &Known, services: Option<&Services>) -> Result<(Recovered, Option<Snapshot>)> {
    if blob.secret().is_none() && known.session_keys.is_empty() {
        return Err(Error::usage("approval.session_key", "the approval does not say for which session key it is")
            .hint("give the key's address with --agent ADDRESS"));
    }
    let picture = match services {
        Some(services) => {
            let keys: Vec<Address> =
                known.session_keys.iter().copied().chain(blob.secret().map(|secret| secret.address())).collect();
            Some(services.snapshot(&SnapshotRequest::of(blob.account(), &keys, blob.version())).await?)
        }
        None => None,
    };
    let asked = services.map(|services| vec![services.network.chain_id]);
    let others: Vec<u64> = if asked.is_some() { Vec::new() } else { known_chains().iter().map(|c| c.id).collect() };
    let hints = blob::Known {
        session_keys: &known.session_keys,
        owner: known.owner,
        chain_ids: asked.as_ref().unwrap_or(&known.chains),
        other_chain_ids: &others,
        snapshot: picture.as_ref(),
    };
    let refused = match blob.find(&hints) {
        Ok(found) => return Ok((found, picture)),
        Err(refused) => refused,
    };
    let (code, kind) = match refused {
        RecoverError::OwnerUnknown { .. } => ("approval.owner_unknown", Kind::Other),
        RecoverError::SessionKeyUnknown => ("approval.session_key", Kind::Other),
        RecoverError::OtherValidator { .. } => ("approval.validator", Kind::Other),
        RecoverError::NotSigned { .. } => ("approval.not_signed", Kind::NotSigned),
        _ => ("approval.unverified", Kind::Other),
    };
    Err(Error::failed(code, refused.to_string())
        .of(kind)
        .hint("give the session key's address with --agent, and a node of the right chain with --rpc"))
}

async fn examine(blob: &Blob, known: &Known, services: Option<&Services>) -> Result<Inspection> {
    let functions = functions(blob);
    let found = recover(blob, known, services).await;
    let mut out = Inspection {
        format: blob.format().to_string(),
        family: blob.family().name(),
        verified: None,
        recognised: None,
        account: blob.account(),
        session_key: blob.secret().map(|s| s.address()),
        refuted: false,
        has_secret: blob.secret().is_some(),
        owner: None,
        chain_id: None,
        kernel_version: None,
        validator: None,
        nonce: None,
        selector: match blob.family().function_of(blob.selector()) {
            Some(function) => function.name().to_owned(),
            None => blob.selector().to_string(),
        },
        valid_after: blob.scope().valid_after,
        valid_until: blob.scope().valid_until,
        paymaster: blob.scope().paymaster,
        merkle_root: None,
        digest: None,
        state: State::Unknown,
        state_reason: "no chain was asked".into(),
        permissions: blob.scope().permissions.clone(),
        sentences: sentences(blob.scope(), &functions, Validator::DEFAULT, Coin::unlisted()),
        assumptions: Vec::new(),
        risks: Vec::new(),
        checked: Checked::default(),
        warnings: blob.warnings(),
    };
    if blob.secret().is_some() {
        out.warnings.push("the text carries the session key itself: whoever reads it can act".into());
    }
    let (found, picture) = match found {
        Ok(found) => found,
        Err(error) if error.class == crate::wallet::error::Class::Chain => return Err(error),
        Err(error) => {
            // On the chain that it is for, with its owner and the key it is for, no signature of the owner: that is an answer.
            out.refuted =
                error.kind == Kind::NotSigned && services.is_some() && (blob.secret().is_some() || known.key_given);
            out.verified = out.refuted.then_some(false);
            out.state_reason = format!("the owner's signature could not be verified: {error}; {}", error.hint);
            out.warnings.push(out.state_reason.clone());
            // Nobody vouches for it, and what it would allow is said all the same.
            let subject = Subject {
                scope: blob.scope(),
                partial: false,
                validator: Validator::DEFAULT,
                kernel: None,
                account: blob.account(),
                owner: None,
                session_key: out.session_key,
                selectors: &[blob.selector()],
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
    let request = &found.request;
    out.session_key = Some(request.session_key());
    out.owner = Some(found.owner);
    out.chain_id = Some(request.chain_id());
    out.kernel_version = Some(request.version());
    out.validator = Some(request.validator());
    out.nonce = Some(request.nonce());
    out.merkle_root = Some(request.fingerprint());
    out.digest = Some(request.digest());
    out.sentences = sentences(blob.scope(), &functions, request.validator(), Coin::of(request.chain_id()));
    out.assumptions = found.assumptions.clone();
    let asked = match services {
        Some(services) => services.ask_about(blob.scope(), blob.account(), Some(request.session_key())).await?,
        None => Asked::default(),
    };
    if let Some(picture) = &picture {
        let standing = standing(blob, &found, picture);
        out.state = standing.state;
        out.state_reason = standing.reason;
    }
    let subject = Subject {
        scope: blob.scope(),
        partial: false,
        validator: request.validator(),
        kernel: Some(request.version()),
        account: blob.account(),
        owner: Some(found.owner),
        session_key: Some(request.session_key()),
        selectors: &[request.selector()],
        functions: &functions,
        also_on: &[],
        coin: Coin::of(request.chain_id()),
        of_an_sdk: true,
    };
    out.risks = subject.assess(picture.as_ref(), &asked);
    out.checked = subject.checked(picture.as_ref(), &asked);
    Ok(out)
}

/// The state of an approval that is not on record: as for one that is.
fn standing(blob: &Blob, found: &Recovered, picture: &Snapshot) -> state::KeyStatus {
    let request = &found.request;
    let key = Key {
        id: String::new(),
        label: String::new(),
        network: String::new(),
        chain_id: request.chain_id(),
        account: blob.account(),
        owner: found.owner,
        session_key: request.session_key(),
        secret: None,
        validator: request.validator(),
        scope: blob.scope().clone(),
        partial: None,
        functions: Vec::new(),
        origin: Origin::Imported,
        init_code: None,
        was_deployed: picture.deployed(),
        created_at: 0,
        revoked_at: None,
    };
    let approval = ApprovalRecord {
        key_id: String::new(),
        request: request.clone(),
        signature: Some(found.signature.clone()),
        created_at: 0,
    };
    state::of_approval(&key, &approval, Some(picture), &Queue::default())
}

/// Functions of the permissions, where a known interface has one with that selector.
fn functions(blob: &Blob) -> Vec<Option<Function>> {
    blob.scope().permissions.iter().map(|p| known_functions(p.sig).into_iter().next().map(|(_, f)| f)).collect()
}

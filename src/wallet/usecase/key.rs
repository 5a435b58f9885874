//! Keys on record: listed, shown, found, exported.

use crate::{
    abi::Function,
    policy::{
        risk::Finding,
        scope::{Permission, Scope},
        sentence,
    },
    protocol::{
        Format,
        family::{
            Validator,
            account::Version,
            approval::ApprovalRequest,
            blob,
            snapshot::{Snapshot, SnapshotRequest},
            status::Queue,
        },
    },
    text::clean,
    wallet::{
        Wallet,
        coin::Coin,
        error::{Error, Result},
        home,
        policy::check_label,
        records::{
            label::{self, MAX_LABEL},
            model::{ApprovalRecord, Key, Origin, PartialScope},
            verify,
        },
        state::{self, Alarm, KeyStatus, State},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    path::Path,
};

use alloy::primitives::{Address, B256};
use serde::Serialize;

use super::{
    assessment::{self, Asked, Shared},
    grant::{ApprovalView, approval_view, parse_functions, sentences},
};

/// A key as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyView {
    pub key_id: String,
    pub label: String,
    pub session_key: Address,
    pub account: Address,
    pub network: String,
    pub state: State,
    pub state_reason: String,
    /// Of the approval that the state is about.
    pub nonce: String,
    pub valid_after: u64,
    pub valid_until: u64,
    pub paymaster: Address,
    pub validator: Validator,
    pub has_secret: bool,
    pub imported: bool,
    /// Found on the chain by a scan.
    pub discovered: bool,
    /// The fingerprint of the whole scope, set where `permissions` are only those that were shown on chain. None shown does
    /// not mean "everything" then.
    pub partial_root: Option<B256>,
    pub permissions: Vec<Permission>,
    /// Full signature of each permission's function where it is known, in their order.
    pub functions: Vec<Option<String>>,
    pub sentences: Vec<String>,
    /// How often each permission was used, where the chain counts it and was asked.
    pub uses: Vec<Option<u64>>,
    pub approvals: Vec<ApprovalView>,
    /// What must be looked at now.
    pub alarms: Vec<Alarm>,
    /// What could go wrong, worst first; empty once it is revoked, dead or expired.
    pub risks: Vec<Finding>,
    /// Chain time the state is as of, unix seconds.
    pub as_of: Option<u64>,
    /// Why its chain could not be asked, where it could not.
    #[serde(skip)]
    pub unread: Option<Error>,
}

impl KeyView {
    /// Its chain was asked and did not answer: then the state is not known, and this is why.
    pub(in crate::wallet) fn not_read(&mut self, why: &Error) {
        if self.state == State::Unknown {
            self.state_reason = format!("its chain could not be asked: {}", why.message);
        }
        self.unread = Some(why.clone());
    }
}

/// What was seen of each account; `None` where its chain could not be asked.
pub(in crate::wallet) type Pictures = BTreeMap<(String, Address), Option<Snapshot>>;

/// A key with everything on record about it.
pub(in crate::wallet) struct KeyFile {
    pub key: Key,
    pub approvals: Vec<ApprovalRecord>,
}

impl Wallet {
    /// All keys, or those of one account, with their state as of now. A chain that cannot be asked leaves it unknown.
    pub async fn keys(&self, account: Option<&str>) -> Result<Vec<KeyView>> {
        let account = account.map(|a| self.find_account(a)).transpose()?;
        let keys = self.store.read(|r| match &account {
            Some(a) => r.keys_of(&a.network, a.address, false),
            None => r.keys(),
        })?;
        let mut pictures = Pictures::new();
        let mut unread: BTreeMap<(String, Address), Error> = BTreeMap::new();
        for key in &keys {
            if let Entry::Vacant(missing) = pictures.entry((key.network.clone(), key.account)) {
                let place = missing.key().clone();
                missing.insert(self.picture_for(key).await.map_err(|error| unread.insert(place, error)).ok());
            }
        }
        let mut views = self.key_views(&keys, &pictures)?;
        for view in &mut views {
            if let Some(why) = unread.get(&(view.network.clone(), view.account)) {
                view.not_read(why);
            }
        }
        Ok(views)
    }

    /// What is on record, without asking any chain: no state is known then. For a first look.
    pub fn recorded_keys(&self) -> Result<Vec<KeyView>> {
        self.key_views(&self.store.read(|r| r.keys())?, &Pictures::new())
    }

    /// Keys of one account in a picture of it; `None` where its chain could not be asked.
    pub(in crate::wallet) fn views_in(
        &self,
        keys: &[Key],
        network: &str,
        account: Address,
        picture: Option<&Snapshot>,
    ) -> Result<Vec<KeyView>> {
        // Its keys may have been recorded under other names of the same chain.
        let names: BTreeSet<&str> = keys.iter().map(|k| k.network.as_str()).chain([network]).collect();
        let seen = names.into_iter().map(|name| ((name.to_owned(), account), picture.cloned()));
        self.key_views(keys, &seen.collect())
    }

    /// Each account's queue is read once, however many keys it has.
    pub(in crate::wallet) fn key_views(&self, keys: &[Key], pictures: &Pictures) -> Result<Vec<KeyView>> {
        let mut queues: BTreeMap<(&str, Address), Queue> = BTreeMap::new();
        for key in keys {
            if let Entry::Vacant(missing) = queues.entry((key.network.as_str(), key.account)) {
                missing.insert(self.queue(&key.network, key.account)?);
            }
        }
        let none = Queue::default();
        let shared = self.shared_keys()?;
        let asked = Asked::default();
        keys.iter()
            .map(|key| {
                let picture = pictures.get(&(key.network.clone(), key.account)).and_then(Option::as_ref);
                let queue = queues.get(&(key.network.as_str(), key.account)).unwrap_or(&none);
                self.key_view_among(key, picture, queue, &shared, &asked)
            })
            .collect()
    }

    pub async fn key(&self, wanted: &str) -> Result<KeyView> {
        let file = self.find_key(wanted)?;
        let mut asked = Asked::default();
        let picture = match self.picture_for(&file.key).await {
            Ok(mut picture) => {
                if let Ok(services) = self.services_of(&file.key.network, file.key.chain_id).await {
                    for approval in &file.approvals {
                        services.add_counters(&mut picture, &file.key, &approval.request).await?;
                    }
                    asked = services.ask_about(&file.key.scope, file.key.account, Some(file.key.session_key)).await?;
                }
                Ok(picture)
            }
            Err(error) => Err(error),
        };
        let mut view = self.key_view_asked(&file.key, picture.as_ref().ok(), &asked)?;
        if let Err(error) = &picture {
            view.not_read(error);
        }
        Ok(view)
    }

    /// The account of a key with all keys of it that are on record, at one block.
    pub(in crate::wallet) async fn picture_for(&self, key: &Key) -> Result<Snapshot> {
        let services = self.services_of(&key.network, key.chain_id).await?;
        let known = self.store.read(|r| r.keys_of(&key.network, key.account, true))?;
        let addresses: Vec<Address> = known.iter().map(|k| k.session_key).chain([key.session_key]).collect();
        let planned = self
            .store
            .read(|r| r.account(&key.network, key.account))?
            .map(|a| a.kernel)
            .or_else(|| planned_version(key));
        services.snapshot(&SnapshotRequest::of(key.account, &addresses, planned)).await
    }

    pub(in crate::wallet) fn key_view(&self, key: &Key, picture: Option<&Snapshot>) -> Result<KeyView> {
        self.key_view_asked(key, picture, &Asked::default())
    }

    fn key_view_asked(&self, key: &Key, picture: Option<&Snapshot>, asked: &Asked) -> Result<KeyView> {
        let queue = self.queue(&key.network, key.account)?;
        self.key_view_among(key, picture, &queue, &self.shared_keys()?, asked)
    }

    /// `queue`: of the key's account.
    fn key_view_among(
        &self,
        key: &Key,
        picture: Option<&Snapshot>,
        queue: &Queue,
        shared: &Shared,
        asked: &Asked,
    ) -> Result<KeyView> {
        let approvals = self.store.read(|r| r.approvals(&key.id))?;
        let checked = |a| match verify::damage(key, a) {
            Some(why) => state::damaged(&why),
            None => state::of_approval(key, a, picture, queue),
        };
        let each: Vec<(KeyStatus, &ApprovalRecord)> = approvals.iter().map(|a| (checked(a), a)).collect();
        let damaged = each.iter().find(|(s, _)| s.state == State::Damaged);
        let standing =
            damaged.map_or_else(|| state::of_key(key, &approvals, picture, queue), |(damaged, _)| damaged.clone());
        let known = verify::functions(key);
        let functions = parse_functions(&known);
        // What does not verify is not shown as if it were the scope: only which scope the approval names.
        let unproven = damaged.map(|(_, a)| a.request.fingerprint());
        let (valid_after, valid_until, paymaster) = match damaged.map(|(_, a)| verify::signed(key, a)) {
            None => (key.scope.valid_after, key.scope.valid_until, key.scope.paymaster),
            Some(Some(terms)) => (terms.valid_after, terms.valid_until, terms.paymaster),
            // The worst that it may be: without end, and on the account's own coins.
            Some(None) => (0, 0, Address::ZERO),
        };
        let about = each.iter().find(|(s, _)| s.state == standing.state).or(each.first());
        let also_on = shared.also_on(key.session_key, key.account, &key.network);
        // What a damaged record says it may do is not what its owner signed: all that is known is the root.
        let withheld = unproven.map(|merkle_root| Key {
            partial: Some(PartialScope { merkle_root, proofs: Vec::new() }),
            scope: Scope { valid_after, valid_until, paymaster, permissions: Vec::new() },
            ..key.clone()
        });
        let assessed = withheld.as_ref().unwrap_or(key);
        let risks = assessment::of_key(assessed, &approvals, standing.state, &functions, &also_on, picture, asked);
        Ok(KeyView {
            key_id: key.id.clone(),
            label: clean(&key.label, MAX_LABEL),
            session_key: key.session_key,
            account: key.account,
            network: key.network.clone(),
            state: standing.state,
            state_reason: standing.reason,
            nonce: about.map_or_else(|| "0".to_owned(), |(_, a)| a.nonce()),
            valid_after,
            valid_until,
            paymaster,
            validator: key.validator,
            has_secret: key.secret.is_some(),
            imported: key.origin == Origin::Imported,
            discovered: key.origin == Origin::Discovered,
            partial_root: unproven.or(key.partial.as_ref().map(|p| p.merkle_root)),
            permissions: if unproven.is_some() { Vec::new() } else { key.scope.permissions.clone() },
            functions: if unproven.is_some() { Vec::new() } else { known },
            sentences: match damaged {
                Some((damaged, _)) => vec![damaged.reason.clone()],
                None => key_sentences(key, &functions),
            },
            uses: match damaged {
                Some(_) => Vec::new(),
                None => uses(key, about.map(|(_, a)| &a.request), picture),
            },
            approvals: each.iter().map(|(s, a)| approval_view(a, s)).collect(),
            alarms: state::alarm(key, &approvals, picture, queue).into_iter().collect(),
            risks,
            as_of: picture.map(|p| p.timestamp()),
            unread: None,
        })
    }

    /// Who has which approval nonce of an account, from the approvals on record.
    pub(in crate::wallet) fn queue(&self, network: &str, account: Address) -> Result<Queue> {
        self.store.read(|r| {
            let mut queue = Queue::default();
            for key in r.keys_of(network, account, false)? {
                for approval in r.approvals(&key.id)? {
                    queue.add(&approval.request, clean(&key.label, MAX_LABEL));
                }
            }
            Ok(queue)
        })
    }

    /// By id, label or address. Several with one label or address are an error that names their ids.
    pub(in crate::wallet) fn find_key(&self, wanted: &str) -> Result<KeyFile> {
        self.find_key_among(self.store.read(|r| r.keys())?, wanted)
    }

    fn find_key_among(&self, keys: Vec<Key>, wanted: &str) -> Result<KeyFile> {
        let address: Option<Address> = wanted.parse().ok();
        let mut found: Vec<&Key> = keys.iter().filter(|k| k.id == wanted).collect();
        if found.is_empty() {
            // As it is on record, or as it is shown.
            let labelled = |k: &Key| k.label == wanted || clean(&k.label, MAX_LABEL) == wanted;
            found = keys.iter().filter(|k| labelled(k) || Some(k.session_key) == address).collect();
        }
        match found.as_slice() {
            [key] => {
                let approvals = self.store.read(|r| r.approvals(&key.id))?;
                Ok(KeyFile { key: (*key).clone(), approvals })
            }
            [] => Err(Error::usage("key.unknown", format!("there is no key {}", crate::text::clean(wanted, 50)))
                .hint("`keyleash key ls` shows those that are on record")),
            several => {
                let ids: Vec<&str> = several.iter().map(|k| k.id.as_str()).collect();
                Err(Error::usage("key.ambiguous", format!("{wanted} is the name of {} keys", several.len()))
                    .hint(format!("name one by its id: {}", ids.join(", "))))
            }
        }
    }

    /// Refuses a label that looks like that of another key and is not the same. What is on record already keeps its label.
    pub(in crate::wallet) fn label_is_distinct(&self, label: &str, of: Option<&str>) -> Result<()> {
        let keys = self.store.read(|r| r.keys())?;
        let others = keys.iter().filter(|k| Some(k.id.as_str()) != of);
        let named = others.map(|k| (k.label.as_str(), format!("key {} on {}", k.id, k.network).into()));
        label::look_alike(label, named).map_or(Ok(()), Err)
    }

    /// Gives a key a label of the owner's choice.
    pub fn name_key(&self, wanted: &str, label: &str) -> Result<KeyView> {
        let label = check_label("LABEL", label)?;
        let id = self.find_key(wanted)?.key.id;
        self.label_is_distinct(&label, Some(&id))?;
        let key = self.store.write(|w| {
            let named = w.read().key(&id)?.map(|key| Key { label, ..key });
            named.as_ref().map_or(Ok(()), |key| w.put_key(key))?;
            Ok(named)
        })?;
        let key = key.ok_or_else(|| Error::usage("key.unknown", "the key was removed meanwhile"))?;
        self.key_view(&key, None)
    }

    /// Takes a draft, or a key taken in from elsewhere, off the lists. A signed approval of ours stays: it can still be used.
    pub fn remove_key(&self, wanted: &str) -> Result<()> {
        let file = self.find_key(wanted)?;
        if file.key.origin == Origin::Imported
            && self.store.read(|r| r.account(&file.key.network, file.key.account))?.is_some()
        {
            return Err(Error::failed(
                "key.own_account",
                format!("{} is a key of an account of yours", file.key.label),
            )
            .hint("removing the record would not revoke it; use `keyleash revoke`"));
        }
        if file.key.origin == Origin::Discovered {
            return Err(Error::failed("key.on_chain", format!("{} is a key that the chain knows", file.key.label))
                .hint("removing the record would not revoke it; use `keyleash revoke`"));
        }
        let draft = file.approvals.iter().all(|a| a.signature.is_none());
        if file.key.origin == Origin::Granted && !draft {
            return Err(Error::failed(
                "key.signed",
                format!("{} was signed: removing the record would not revoke it", file.key.label),
            )
            .hint("use `keyleash revoke`; the record stays as evidence"));
        }
        self.store.write(|w| w.hide_key(&file.key.id))
    }

    /// The approval as the SDKs exchange it: one text for each account function it opens.
    async fn serialize(
        &self,
        file: &KeyFile,
        format: Format,
        with_secret: bool,
    ) -> Result<Vec<zeroize::Zeroizing<String>>> {
        let secret = match (with_secret, file.key.secret) {
            (false, _) => None,
            (true, Some(id)) => Some(self.vault.get(&id)?),
            (true, None) => {
                return Err(Error::failed(
                    "key.no_secret",
                    format!("the private half of {} is not here", file.key.label),
                )
                .hint("its holder has it; export without --with-secret"));
            }
        };
        // SDK v4 leaves initCode out once there is code; SDK v5 always wants it, and looks for itself.
        let deployed = match format {
            Format::V5 => false,
            Format::V4 => self.picture_for(&file.key).await.map_or(file.key.was_deployed, |picture| picture.deployed()),
        };
        // Any initCode of the owner will do for v5 once the account has code; it takes the address as it is given.
        let stand_in = file
            .approvals
            .first()
            .filter(|_| format == Format::V5)
            .map(|approval| blob::stand_in(&approval.request, file.key.owner));
        let init_code = file.key.init_code.as_ref().filter(|_| !deployed).or(stand_in.as_ref());
        file.approvals
            .iter()
            .map(|record| {
                let signature = record.signature.clone().ok_or_else(|| {
                    Error::failed("key.draft", format!("{} is not signed yet", file.key.label))
                        .hint("complete it with `keyleash grant --complete`")
                })?;
                // The record may have been changed on disk: what goes out must verify now.
                if !record.request.is_signed_by(file.key.owner, &signature) {
                    return Err(Error::failed(
                        "records.damaged",
                        "the approval on record does not verify; nothing was written",
                    ));
                }
                let approval = (&record.request, &signature);
                blob::write(approval, &file.key.scope, init_code, format, secret.as_ref())
                    .map_err(|e| Error::failed("key.export", e.to_string()))
            })
            .collect()
    }

    /// The serialized approvals without any secret, for showing.
    pub async fn approval_texts(&self, wanted: &str, format: Format) -> Result<Vec<String>> {
        let texts = self.serialize(&self.find_key(wanted)?, format, false).await?;
        Ok(texts.iter().map(|t| t.to_string()).collect())
    }

    /// Writes the approvals to a file (one a line) that only its owner can read.
    pub async fn export_key(&self, wanted: &str, format: Format, with_secret: bool, out: &Path) -> Result<()> {
        let texts = self.serialize(&self.find_key(wanted)?, format, with_secret).await?;
        let mut content = zeroize::Zeroizing::new(String::with_capacity(texts.iter().map(|t| t.len() + 1).sum()));
        for text in &texts {
            content.push_str(text);
            content.push('\n');
        }
        if out.exists() {
            return Err(Error::usage("file.exists", format!("{} exists already; it was left alone", out.display()))
                .hint("name another file"));
        }
        home::create(out, content.as_bytes())
    }
}

/// The scope in plain words; where only a part of it is known, that is said and nothing is concluded from it.
pub(in crate::wallet) fn key_sentences(key: &Key, functions: &[Option<Function>]) -> Vec<String> {
    let Some(partial) = &key.partial else {
        return sentences(&key.scope, functions, key.validator, Coin::of(key.chain_id));
    };
    let unknown = match key.scope.permissions.len() {
        0 => "what it may call is not known: it never showed a permission on chain".to_owned(),
        n => format!("it may be allowed more than these {n}: only what it showed on chain is known"),
    };
    let unknown = format!("{unknown} (fingerprint of the whole scope {})", partial.merkle_root);
    if key.scope.permissions.is_empty() {
        let window = sentence::window(key.scope.valid_after, key.scope.valid_until);
        return vec![unknown, window, sentence::paymaster(key.scope.paymaster)];
    }
    let mut sentences = sentences(&key.scope, functions, key.validator, Coin::of(key.chain_id));
    sentences.insert(key.scope.permissions.len().min(sentences.len()), unknown);
    sentences
}

/// The run counters of an approval. The chain counts only where runs are limited.
fn uses(key: &Key, approval: Option<&ApprovalRequest>, picture: Option<&Snapshot>) -> Vec<Option<u64>> {
    let counted = |p: &Permission| {
        let uses = picture?.uses(approval?, p.index)?;
        (p.execution_rule.runs > 0).then_some(uses)
    };
    key.scope.permissions.iter().map(counted).collect()
}

fn planned_version(key: &Key) -> Option<Version> {
    Version::of_init_code(key.init_code.as_ref()?)
}

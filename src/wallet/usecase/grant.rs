//! Giving power: from a policy to an approval that the owner signs. Sends nothing and costs nothing.

use crate::protocol::kernel_v2::snapshot::Snapshot;
use std::collections::BTreeMap;

use alloy::primitives::{Address, B256, Bytes, FixedBytes, Selector};
use serde::Serialize;

use super::{assessment::Subject, control::Power, key::KeyView};
use crate::wallet::{
    Wallet,
    coin::Coin,
    error::{Error, Kind, Result},
    now,
    policy::{Policy, Resolved, ValidatorChoice, check_label},
    records::model::{Account, ApprovalRecord, Key, Origin},
    short_id, state,
    submit::signer::{Keyholder, sign_typed_data},
};
use crate::{
    abi::Function,
    policy::{
        risk::{self, Checked, Effect, Finding},
        sentence::{self, Setting},
    },
    protocol::kernel_v2::{
        account::selector,
        approval::{ApprovalRequest, EnableData},
        generation::{Generation, KernelVersion},
        permission::Scope,
        signature::normalized,
    },
    secret::Secret,
};

/// Who will hold the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// Somebody else's key; only its address is known here.
    Agent(Address),
    /// A key made here, to be handed over.
    NewKey,
}

/// What an owner asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantIntent {
    pub account: String,
    pub policy: Policy,
    pub holder: Holder,
    pub label: Option<String>,
}

/// What will be signed, with everything that was found about it.
pub struct GrantPlan {
    pub account: Account,
    pub label: String,
    pub holder: Holder,
    pub session_key: Address,
    /// A new key's private half, until it is in the vault.
    fresh: Option<Secret>,
    pub generation: Generation,
    pub kernel: KernelVersion,
    pub resolved: Resolved,
    /// One approval for each, with consecutive nonces.
    pub selectors: Vec<Selector>,
    /// The nonce of the first; where it was taken meanwhile, the next one is signed.
    pub first_nonce: u128,
    pub findings: Vec<Finding>,
    /// What was looked at, whether or not it held.
    pub checked: Checked,
    /// Those of the findings that other keys on record give rise to.
    about_others: Vec<Finding>,
    pub sentences: Vec<String>,
    pub picture: Snapshot,
}

impl GrantPlan {
    /// What the owner will sign, in order.
    pub fn requests(&self) -> Vec<ApprovalRequest> {
        (self.first_nonce..=u128::MAX)
            .zip(&self.selectors)
            .map(|(nonce, selector)| ApprovalRequest {
                chain_id: self.account.chain_id,
                account: self.account.address,
                kernel: self.kernel,
                validator: self.generation,
                selector: *selector,
                executor: Address::ZERO,
                plugin_window: FixedBytes::ZERO,
                enable: EnableData::new(self.session_key, &self.resolved.scope, nonce, self.generation),
            })
            .collect()
    }
}

/// A plan that is being carried out.
struct Granting {
    plan: GrantPlan,
    key: Key,
    /// The key was made for this grant.
    fresh: bool,
}

impl Granting {
    /// What is written down, before anybody signed it.
    fn drafts(&self) -> Vec<ApprovalRecord> {
        let draft =
            |request| ApprovalRecord { key_id: self.key.id.clone(), request, signature: None, created_at: now() };
        self.plan.requests().into_iter().map(draft).collect()
    }
}

/// Phrases that the owner has typed for blocking findings, by id.
pub type Accepted = BTreeMap<String, String>;

/// One signed approval, as it is reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApprovalView {
    pub selector: &'static str,
    pub nonce: String,
    pub enable_data: Bytes,
    pub enable_signature: Option<Bytes>,
    pub digest: B256,
    pub state: state::State,
    pub state_reason: String,
}

/// What came of a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    pub key: KeyView,
    pub merkle_root: B256,
    pub validator: Address,
    pub approvals: Vec<ApprovalView>,
    pub findings: Vec<Finding>,
    pub checked: Checked,
    pub warnings: Vec<String>,
}

impl Wallet {
    /// Reads the account's facts and works out what would be signed. Nothing is written.
    pub async fn plan_grant(&self, intent: GrantIntent) -> Result<GrantPlan> {
        self.store.require_writable()?;
        let account = self.find_account(&intent.account)?;
        let label = match intent.label.or_else(|| intent.policy.label.clone()) {
            Some(label) => check_label("label", &label)?,
            None => default_label(&intent.holder),
        };
        self.label_is_distinct(&label, None)?;
        let fresh = matches!(intent.holder, Holder::NewKey).then(Secret::random).transpose()?;
        let session_key = match (&intent.holder, &fresh) {
            (Holder::Agent(address), _) => *address,
            (Holder::NewKey, Some(secret)) => secret.address(),
            (Holder::NewKey, None) => Address::ZERO,
        };
        let services = self.services_of(&account.network, account.chain_id).await?;
        let mut known = self.known_keys(&account)?;
        known.push(session_key);
        let history = self.reach(&account)?;
        let picture = services.snapshot(&account.wanted(&known).with_routes(&history.opened)).await?;
        let power = Power::of(&account, &picture, history);
        if let Some(contradiction) = services.contradiction_in(&account.wanted(&known), &picture).await {
            return Err(contradiction.hint("nothing was signed; ask another node (`network add` with another --rpc)"));
        }
        let second = services.nodes_agree(&account.wanted(&known), &picture).await?;
        let kernel = same_account(&account, &picture)?;
        let generation = choose_validator(intent.policy.validator, &picture)?;
        let mut resolved = intent.policy.resolve(picture.timestamp, generation)?;
        resolved.warnings.extend(self.taken_label(&label)?);
        resolved.warnings.extend(second);
        let selectors = needed_selectors(&intent.policy.selectors, generation, &picture);
        let functions = functions(&resolved);
        let also_on = self.also_on(session_key, &account)?;
        let asked = services.ask_about(&resolved.scope, account.address, Some(session_key)).await?;
        let subject = Subject {
            scope: &resolved.scope,
            partial: false,
            generation,
            kernel: Some(kernel),
            account: account.address,
            owner: Some(account.owner),
            session_key: Some(session_key),
            selectors: &selectors,
            functions: &functions,
            also_on: &also_on,
            coin: Coin::of(account.chain_id),
            of_an_sdk: false,
        };
        let mut findings = subject.assess(Some(&picture), &asked);
        let checked = subject.checked(Some(&picture), &asked);
        if selectors.len() > 1 && resolved.scope.permissions.iter().any(|p| !p.execution_rule.is_none()) {
            findings.push(Finding {
                id: "R14",
                severity: risk::Severity::High,
                permission: None,
                message:
                    "run limits and intervals are counted anew for each approval, and these account functions need one \
                          each: the key could use every limit once per function"
                        .into(),
                advice: "ask for one account function (executeBatch covers single calls too)".into(),
                effect: Effect::Refuse,
            });
        }
        findings.extend(power.finding());
        let about_others = self.about_other_keys(&account, &picture, session_key, generation, &selectors)?;
        findings.extend(about_others.iter().cloned());
        let sentences = sentences(&resolved.scope, &functions, generation, Coin::of(account.chain_id));
        let first_nonce = self.store.read(|r| {
            Ok(next_nonce(&r.approvals_of(&account.network, account.address)?, generation, kernel, &account, &picture))
        })?;
        nonces_left(first_nonce, selectors.len())?;
        Ok(GrantPlan {
            account,
            label,
            holder: intent.holder,
            session_key,
            fresh,
            generation,
            kernel,
            resolved,
            selectors,
            first_nonce,
            findings,
            checked,
            about_others,
            sentences,
            picture,
        })
    }

    /// Signs the plan and writes it down, in one step that other processes see whole or not at all.
    pub async fn execute_grant(&self, plan: GrantPlan, accepted: &Accepted) -> Result<Granted> {
        check_findings(&plan.findings, accepted)?;
        self.still_true(&plan).await?;
        let owner = self.owner_signer(&plan.account)?;
        let mut grant = self.begin_grant(plan)?;
        let written = self.sign_and_write(&mut grant, owner.as_ref()).await;
        drop(owner);
        self.end_grant(grant, written)
    }

    async fn sign_and_write(&self, grant: &mut Granting, owner: &dyn Keyholder) -> Result<Vec<ApprovalRecord>> {
        loop {
            let mut approvals = grant.drafts();
            for approval in &mut approvals {
                // A device may be asked here, which takes as long as it takes: nobody else is kept from writing meanwhile.
                let signature = sign_typed_data(owner, approval.request.typed_data()).await?;
                if !approval.request.is_signed_by(owner.signs_as(), &signature) {
                    return Err(Error::failed(
                        "grant.signature",
                        "the signature made does not verify; nothing was kept",
                    ));
                }
                approval.signature = Some(Bytes::copy_from_slice(&signature));
            }
            if self.write_grant(grant, &approvals)? {
                return Ok(approvals);
            }
        }
    }

    /// What the plan relied on, read again: a person may have looked at it for long.
    async fn still_true(&self, plan: &GrantPlan) -> Result<()> {
        let services = self.services_of(&plan.account.network, plan.account.chain_id).await?;
        let before = &plan.picture;
        let opened = before.routes.keys().copied().collect();
        let now = services.snapshot(&plan.account.wanted(&[]).with_routes(&opened)).await?;
        let changed = [
            ("the owner", now.owner != before.owner),
            ("the default validator", now.default_validator != before.default_validator),
            ("the implementation", now.implementation != before.implementation),
            ("the Kernel version", now.kernel != before.kernel),
            ("the account's nonce", now.nonces(plan.generation) != before.nonces(plan.generation)),
            ("where session keys are routed", now.routes != before.routes),
        ];
        match changed.iter().find(|(_, changed)| *changed) {
            None => Ok(()),
            Some((what, _)) => Err(Error::failed(
                "grant.stale",
                format!("{what} has changed on chain since the plan was made; nothing was signed"),
            )
            .of(Kind::Stale)
            .hint("run the command again")),
        }
    }

    /// Writes the plan down as a draft that waits for a signature from elsewhere.
    pub fn draft_grant(&self, plan: GrantPlan, accepted: &Accepted) -> Result<Granted> {
        check_findings(&plan.findings, accepted)?;
        let mut grant = self.begin_grant(plan)?;
        let written = loop {
            let drafts = grant.drafts();
            match self.write_grant(&mut grant, &drafts) {
                Ok(true) => break Ok(drafts),
                Ok(false) => {}
                Err(error) => break Err(error),
            }
        };
        self.end_grant(grant, written)
    }

    /// Takes the owner's signature over a draft, made elsewhere.
    pub async fn complete_grant(&self, digest: B256, signature: &[u8]) -> Result<(KeyView, ApprovalView)> {
        let (key, approval) = self.store.write(|w| {
            let Some(mut approval) = w.read().approval_by_digest(digest)? else {
                return Err(Error::usage("grant.unknown_draft", format!("there is no draft with the digest {digest}"))
                    .hint("give the file that `grant --unsigned --out` wrote on this machine"));
            };
            let Some(key) = w.read().key(&approval.key_id)? else {
                return Err(Error::failed("records.damaged", "an approval has no key on record"));
            };
            if w.read().is_key_hidden(&key.id)? {
                return Err(Error::failed(
                    "grant.removed",
                    format!("the draft {} was removed, and another approval may have its nonce now", key.label),
                )
                .hint("grant anew"));
            }
            let signature = normalized(signature)
                .map_err(|e| Error::usage("grant.signature", format!("this is not an owner's signature: {e}")))?;
            if !approval.request.is_signed_by(key.owner, &signature) {
                let who = approval.request.recover_owner(&signature);
                let found = who.map_or("nobody".to_owned(), |a| a.to_string());
                return Err(Error::usage(
                    "grant.signature",
                    format!("the signature is not the owner's: expected one by {}, this is by {found}", key.owner),
                )
                .hint("sign the EIP-712 message of the file with the owner's key"));
            }
            approval.signature = Some(Bytes::copy_from_slice(&signature));
            w.put_approval(&approval)?;
            Ok((key, approval))
        })?;
        // The signature is kept already: a chain that cannot be asked only leaves the state unknown.
        let picture = self.picture_for(&key).await.ok();
        let view = self.key_view(&key, picture.as_ref())?;
        let turns = self.turns(&key.network, key.account, key.generation)?;
        let turns = turns.iter().map(|(n, l)| (*n, l.as_str())).collect();
        let standing = state::of_approval(&key, &approval, picture.as_ref(), &turns);
        Ok((view, approval_view(&approval, &standing)))
    }

    /// The key as it will be on record, its private half in the vault where it was made here.
    fn begin_grant(&self, mut plan: GrantPlan) -> Result<Granting> {
        let fresh = plan.fresh.is_some();
        let secret = match plan.fresh.take() {
            Some(fresh) => {
                Some(self.keep_secret(&fresh, &format!("session key {} of {}", plan.label, plan.account.name))?)
            }
            None => self.store.read(|r| r.agent_by_address(plan.session_key))?.map(|agent| agent.secret),
        };
        let key = Key {
            id: short_id()?,
            label: plan.label.clone(),
            network: plan.account.network.clone(),
            chain_id: plan.account.chain_id,
            account: plan.account.address,
            owner: plan.account.owner,
            session_key: plan.session_key,
            secret,
            generation: plan.generation,
            scope: plan.resolved.scope.clone(),
            partial: None,
            functions: plan.resolved.functions.clone(),
            origin: Origin::Granted,
            init_code: plan.account.init_code(),
            was_deployed: plan.picture.deployed,
            created_at: now(),
            revoked_at: None,
        };
        Ok(Granting { plan, key, fresh })
    }

    /// Writes all of it down, in one step that other processes see whole or not at all. `false`: the nonce that the approvals are
    /// for was taken meanwhile. The next one is as good, as long as nothing else that was shown is different now.
    fn write_grant(&self, grant: &mut Granting, approvals: &[ApprovalRecord]) -> Result<bool> {
        let Granting { plan, key, .. } = grant;
        self.store.write(|w| {
            let taken = w.read().approvals_of(&key.network, key.account)?;
            let next = next_nonce(&taken, plan.generation, plan.kernel, &plan.account, &plan.picture);
            if next != plan.first_nonce {
                let others = w.read().keys_of(&key.network, key.account, false)?;
                let now = about_keys(&others, &plan.picture, plan.session_key, plan.generation, &plan.selectors);
                if now != plan.about_others {
                    return Err(Error::failed(
                        "grant.stale",
                        format!(
                            "approval nonce {} was taken meanwhile, and what there is to say about the account's other keys has \
                             changed with it. Nothing was granted",
                            plan.first_nonce
                        ),
                    )
                    .of(Kind::Stale)
                    .hint("run the command again"));
                }
                plan.first_nonce = next;
                return Ok(false);
            }
            w.put_key(key)?;
            approvals.iter().try_for_each(|approval| w.put_approval(approval))?;
            Ok(true)
        })
    }

    fn end_grant(&self, grant: Granting, written: Result<Vec<ApprovalRecord>>) -> Result<Granted> {
        let Granting { plan, key, fresh } = grant;
        if let (Err(_), true, Some(id)) = (&written, fresh, &key.secret) {
            // A key that was made for this grant is of no use without it; what cannot be removed is only spare.
            let _ = self.vault.remove(id);
        }
        let approvals = written?;
        let turns = self.turns(&key.network, key.account, key.generation)?;
        let turns = turns.iter().map(|(n, l)| (*n, l.as_str())).collect();
        let views = approvals
            .iter()
            .map(|a| approval_view(a, &state::of_approval(&key, a, Some(&plan.picture), &turns)))
            .collect();
        let first = approvals.first().map(|a| a.request.enable.merkle_root).unwrap_or_default();
        Ok(Granted {
            key: self.key_view(&key, Some(&plan.picture))?,
            merkle_root: first,
            validator: plan.generation.address(),
            approvals: views,
            findings: plan.findings,
            checked: plan.checked,
            warnings: plan.resolved.warnings,
        })
    }

    /// A label says which key is meant only while one key has it.
    fn taken_label(&self, label: &str) -> Result<Option<String>> {
        let keys = self.store.read(|r| r.keys())?;
        let same: Vec<&str> = keys.iter().filter(|k| k.label == label).map(|k| k.id.as_str()).collect();
        Ok((!same.is_empty()).then(|| {
            format!(
                "another key is called {label} already ({}): the name alone will not say which one is meant, so give this one a \
                 label of its own (--label), or name both by their ids",
                same.join(", ")
            )
        }))
    }

    /// Labels of the other accounts that the session key may act for, from our records.
    pub(in crate::wallet) fn also_on(&self, session_key: Address, account: &Account) -> Result<Vec<String>> {
        self.store.read(|r| {
            let mut others = Vec::new();
            for key in r.keys()?.iter().filter(|k| k.session_key == session_key) {
                let here = key.account == account.address
                    && r.is_one_account(&key.network, &account.network, account.address)?;
                let place = format!("{} on {}", key.account, key.network);
                if !here && !others.contains(&place) {
                    others.push(place);
                }
            }
            Ok(others)
        })
    }

    /// R33, R34, R35: what the grant does to keys that are there already.
    pub(in crate::wallet) fn about_other_keys(
        &self,
        account: &Account,
        picture: &Snapshot,
        session_key: Address,
        generation: Generation,
        selectors: &[Selector],
    ) -> Result<Vec<Finding>> {
        let keys = self.store.read(|r| r.keys_of(&account.network, account.address, false))?;
        Ok(about_keys(&keys, picture, session_key, generation, selectors))
    }

    pub(in crate::wallet) fn known_keys(&self, account: &Account) -> Result<Vec<Address>> {
        let keys = self.store.read(|r| r.keys_of(&account.network, account.address, true))?;
        Ok(keys.into_iter().map(|k| k.session_key).collect())
    }
}

/// R33, R34, R35, from the account's keys on record.
fn about_keys(
    keys: &[Key],
    picture: &Snapshot,
    session_key: Address,
    generation: Generation,
    selectors: &[Selector],
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let warn = |id, severity, message: String, advice: &str| Finding {
        id,
        severity,
        permission: None,
        message,
        advice: advice.to_owned(),
        effect: Effect::Warn,
    };
    for name in selectors {
        let Some(other) = picture.route(*name).filter(|r| r.validator != generation.address()) else { continue };
        let silenced: Vec<&str> =
            keys.iter().filter(|k| k.generation.address() == other.validator).map(|k| k.label.as_str()).collect();
        let who = if silenced.is_empty() { "every key on it".to_owned() } else { silenced.join(", ") };
        findings.push(warn(
            "R33",
            risk::Severity::High,
            format!(
                "{} goes to validator {} now; the first use of this key sends it to {generation} and silences {who}",
                selector::name(*name).unwrap_or("a function"),
                other.validator
            ),
            "grant on the validator the account uses already (validator = \"auto\")",
        ));
    }
    if let Some(same) = keys.iter().find(|k| k.session_key == session_key && k.generation == generation) {
        findings.push(warn(
            "R34",
            risk::Severity::Medium,
            format!(
                "the key has an approval already ({}); once this one is enabled it replaces that scope",
                same.label
            ),
            "take the old one back, or use a fresh key",
        ));
    }
    let surplus: Vec<&str> = picture
        .routes
        .iter()
        .filter(|(s, r)| r.validator == generation.address() && !selectors.contains(s))
        .filter_map(|(s, _)| selector::name(*s))
        .filter(|name| *name != "execute")
        .collect();
    if !surplus.is_empty() {
        findings.push(warn(
            "R35",
            risk::Severity::Low,
            format!(
                "the account has opened {} for session keys: this key may use it too, within its permissions",
                surplus.join(", ")
            ),
            "nothing to do if the permissions are right",
        ));
    }
    findings
}

pub(in crate::wallet) fn approval_view(approval: &ApprovalRecord, standing: &state::KeyStatus) -> ApprovalView {
    ApprovalView {
        selector: selector::name(approval.selector()).unwrap_or("another function"),
        nonce: approval.nonce().to_string(),
        enable_data: Bytes::copy_from_slice(&approval.request.enable.encode()),
        enable_signature: approval.signature.clone(),
        digest: approval.digest(),
        state: standing.state,
        state_reason: standing.reason.clone(),
    }
}

fn default_label(holder: &Holder) -> String {
    match holder {
        Holder::Agent(address) => format!("agent-{}", address.to_string().get(2..8).unwrap_or("key").to_lowercase()),
        Holder::NewKey => "key".to_owned(),
    }
}

/// Stops when the account on chain is not the one on record (R26, R28); answers the version the approval must name.
pub(in crate::wallet) fn same_account(account: &Account, picture: &Snapshot) -> Result<KernelVersion> {
    if picture.deployed {
        if let Some(owner) = picture.owner.filter(|o| *o != account.owner) {
            return Err(Error::failed(
                "account.owner_changed",
                format!("the owner of {} is {owner} on chain, and {} on record", account.name, account.owner),
            )
            .hint("nothing was signed; add the account again with the present owner's key"));
        }
        if picture.owner.is_none() {
            return Err(Error::failed(
                "account.not_ecdsa",
                format!("{} has no ECDSA owner on chain: its default validator is another one", account.name),
            ));
        }
    }
    picture.kernel.ok_or_else(|| {
        let implementation = picture.implementation.unwrap_or_default();
        Error::failed(
            "account.kernel",
            format!("{} runs {implementation}, which is no Kernel version that is known here", account.name),
        )
        .hint("nothing was signed: the chain would refuse a signature for another version")
    })
}

fn choose_validator(choice: ValidatorChoice, picture: &Snapshot) -> Result<Generation> {
    let generation = match choice {
        ValidatorChoice::Exactly(generation) => generation,
        ValidatorChoice::Auto => picture.generation(selector::EXECUTE).unwrap_or(Generation::G2),
    };
    if !picture.has_validator(generation) {
        return Err(Error::failed(
            "network.validator",
            format!(
                "session key validator {generation} ({}) is not on this chain, or has other code",
                generation.address()
            ),
        )
        .hint("see `keyleash network check`"));
    }
    Ok(generation)
}

/// The first function always needs an approval (it enables the key); others only while the account does not route them.
fn needed_selectors(wanted: &[Selector], generation: Generation, picture: &Snapshot) -> Vec<Selector> {
    let routed = |s: &Selector| picture.route(*s).is_some_and(|r| r.validator == generation.address());
    let missing: Vec<Selector> = wanted.iter().copied().filter(|s| !routed(s)).collect();
    if missing.is_empty() { wanted.iter().copied().take(1).collect() } else { missing }
}

/// The scope in plain words.
pub(in crate::wallet) fn sentences(
    scope: &Scope,
    functions: &[Option<Function>],
    generation: Generation,
    coin: Coin,
) -> Vec<String> {
    let mut functions = functions.iter();
    sentence::scope(scope, Setting { generation, symbol: coin.symbol() }, |_| functions.next().cloned().flatten())
}

pub(in crate::wallet) fn functions(resolved: &Resolved) -> Vec<Option<Function>> {
    parse_functions(&resolved.functions)
}

pub(in crate::wallet) fn parse_functions(signatures: &[Option<String>]) -> Vec<Option<Function>> {
    signatures.iter().map(|s| s.as_deref().and_then(|s| Function::parse(s).ok())).collect()
}

/// Approval nonces end at 2^128-1. What a node says of them may be a lie, and what is signed for such a one can never be enabled.
fn nonces_left(first: u128, wanted: usize) -> Result<()> {
    first.checked_add(wanted as u128).map(|_| ()).ok_or_else(|| {
        Error::failed(
            "grant.no_nonces",
            format!("nonce: the account's approval nonces are used up (the next would be {first}): no approval can be enabled"),
        )
        .hint("ask another node; if it is true, this validator cannot take an approval of the account any more")
    })
}

/// The next turn: after the account's last nonce, and after every approval on record that could still take one.
fn next_nonce(
    taken: &[ApprovalRecord],
    generation: Generation,
    kernel: KernelVersion,
    account: &Account,
    picture: &Snapshot,
) -> u128 {
    let nonces = picture.nonces(generation);
    let reserved = taken
        .iter()
        .filter(|a| a.request.validator == generation && a.request.kernel == kernel)
        .filter(|a| a.request.chain_id == account.chain_id)
        .filter(|a| a.signature.as_ref().is_none_or(|s| a.request.is_signed_by(account.owner, s)))
        .map(ApprovalRecord::nonce)
        .max();
    nonces.last.max(nonces.invalid).max(reserved.unwrap_or(0)).saturating_add(1)
}

/// One phrase answers every finding with the same id and phrase: which permissions those are, where there are several.
fn answered_together(findings: &[Finding], one: &Finding) -> String {
    let same = findings.iter().filter(|f| f.id == one.id && f.effect == one.effect);
    let places: Vec<String> = same.filter_map(|f| f.permission).map(|p| (p + 1).to_string()).collect();
    match places.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!(" for permissions {} and {last} alike", rest.join(", ")),
        _ => String::new(),
    }
}

/// Refuses what must not be signed, and what the owner has not accepted word for word.
pub fn check_findings(findings: &[Finding], accepted: &Accepted) -> Result<()> {
    for finding in findings {
        let at = finding.permission.map_or(String::new(), |p| format!("permission {}: ", p + 1));
        match finding.effect {
            Effect::Warn => {}
            Effect::Refuse => {
                return Err(Error::failed(
                    &format!("risk.{}", finding.id),
                    format!("{}: {at}{}", finding.id, finding.message),
                )
                .hint(finding.advice.clone()));
            }
            Effect::Block(phrase) => {
                if accepted.get(finding.id).map(String::as_str) == Some(phrase) {
                    continue;
                }
                return Err(Error::failed(
                    &format!("risk.{}", finding.id),
                    format!("{}: {at}{}", finding.id, finding.message),
                )
                .hint(format!(
                    "{}; or, if you mean it{}: --accept \"{}={phrase}\"",
                    finding.advice,
                    answered_together(findings, finding),
                    finding.id
                )));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonces_that_are_used_up_are_refused_and_not_signed() {
        let last = u128::MAX.saturating_add(1);
        assert_eq!(nonces_left(last, 1).unwrap_err().code, "grant.no_nonces");
        assert_eq!(nonces_left(u128::MAX - 1, 2).unwrap_err().code, "grant.no_nonces");
        nonces_left(u128::MAX - 2, 2).unwrap();
    }
}

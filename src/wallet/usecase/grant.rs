//! Giving power: from a policy to an approval that the owner signs. Sends nothing and costs nothing.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use alloy::primitives::{Address, B256, Bytes};
use serde::Serialize;

use super::{assessment::Subject, control::Power, key::KeyView};
use crate::{
    abi::Function,
    policy::{
        risk::{Checked, Effect, Finding},
        scope::Scope,
        sentence::{self, Setting},
    },
    protocol::{
        family::{
            Validator,
            account::Version,
            approval::ApprovalRequest,
            grant::{ApprovalPlan, NoNonces, OtherKey, Taken, choose_validator},
            snapshot::Snapshot,
        },
        power::NotTheSame,
        signature::normalized,
    },
    secret::Secret,
    wallet::{
        Wallet,
        coin::Coin,
        error::{Error, Kind, Result},
        now,
        policy::{Policy, Resolved, ValidatorChoice, check_label},
        records::model::{Account, ApprovalRecord, Key, Origin},
        short_id, state,
        submit::signer::{Keyholder, sign_typed_data},
    },
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
    pub resolved: Resolved,
    approvals: ApprovalPlan,
    pub findings: Vec<Finding>,
    /// What was looked at, whether or not it held.
    pub checked: Checked,
    /// Those of the findings that other keys on record give rise to.
    about_others: Vec<Finding>,
    pub sentences: Vec<String>,
    pub picture: Snapshot,
}

impl GrantPlan {
    fn requests(&self) -> Vec<ApprovalRequest> {
        self.approvals.requests(&self.resolved.scope)
    }

    /// What the owner will sign, in order.
    pub fn to_sign(&self) -> Vec<ToSign> {
        let requests = self.requests().into_iter();
        let one = |request: ApprovalRequest| ToSign {
            opens: request.opens(),
            nonce: request.nonce(),
            digest: request.digest(),
            typed_data: request.typed_data(),
        };
        requests.map(one).collect()
    }
}

/// One approval before it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToSign {
    /// The account function that it opens.
    pub opens: &'static str,
    pub nonce: String,
    pub digest: B256,
    /// EIP-712, as `eth_signTypedData_v4` takes it.
    pub typed_data: serde_json::Value,
}

/// A plan that is being carried out.
struct Granting {
    plan: GrantPlan,
    key: Key,
    /// The private half of a key that was made for this grant, until it is in the vault.
    fresh: Option<Secret>,
}

/// How often a nonce that was taken while the owner signed is answered with the next one.
const ROUNDS: usize = 32;
/// After an owner took this long to sign, the chain is read once more.
const LONG: Duration = Duration::from_secs(5);

impl Granting {
    /// Answers whether the nonces are others than before. The next ones are as good, as long as nothing else that was shown is
    /// different with them.
    fn take_nonces(&mut self, taken: &[ApprovalRecord], others: &[Key]) -> Result<bool> {
        let Self { plan, key, .. } = self;
        let shown = plan.approvals.first_nonce();
        let moved = plan.approvals.take_nonces(key.owner, taken.iter().map(taken_by), &plan.picture);
        let moved = moved.map_err(no_nonces)?;
        if moved && plan.approvals.about_other_keys(others.iter().map(other), &plan.picture) != plan.about_others {
            return Err(Error::failed(
                "grant.stale",
                format!(
                    "approval nonce {shown} was taken meanwhile, and what there is to say about the account's other keys has \
                     changed with it. Nothing was granted"
                ),
            )
            .of(Kind::Stale)
            .hint("run the command again"));
        }
        Ok(moved)
    }

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
        let validator = validator(intent.policy.validator, &picture)?;
        let mut resolved = intent.policy.resolve(picture.timestamp(), validator)?;
        resolved.warnings.extend(self.taken_label(&label)?);
        resolved.warnings.extend(second);
        let place = (account.chain_id, account.address);
        let wanted = &intent.policy.functions;
        let mut approvals = ApprovalPlan::new(place, session_key, (validator, kernel), wanted, &picture);
        let functions = functions(&resolved);
        let also_on = self.also_on(session_key, &account)?;
        let asked = services.ask_about(&resolved.scope, account.address, Some(session_key)).await?;
        let subject = Subject {
            scope: &resolved.scope,
            partial: false,
            validator,
            kernel: Some(kernel),
            account: account.address,
            owner: Some(account.owner),
            session_key: Some(session_key),
            selectors: approvals.selectors(),
            functions: &functions,
            also_on: &also_on,
            coin: Coin::of(account.chain_id),
            of_an_sdk: false,
        };
        let mut findings = subject.assess(Some(&picture), &asked);
        let checked = subject.checked(Some(&picture), &asked);
        findings.extend(approvals.about_run_limits(&resolved.scope));
        findings.extend(power.finding());
        let about_others = self.about_other_keys(&account, &approvals, &picture)?;
        findings.extend(about_others.iter().cloned());
        let sentences = sentences(&resolved.scope, &functions, validator, Coin::of(account.chain_id));
        let taken = self.store.read(|r| r.approvals_of(&account.network, account.address))?;
        approvals.take_nonces(account.owner, taken.iter().map(taken_by), &picture).map_err(no_nonces)?;
        Ok(GrantPlan {
            account,
            label,
            holder: intent.holder,
            session_key,
            fresh,
            resolved,
            approvals,
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
        let owner = self.owner_signer(&plan.account)?;
        let mut grant = self.begin_grant(plan)?;
        let approvals = self.sign_and_write(&mut grant, owner.as_ref()).await?;
        drop(owner);
        self.granted(grant, &approvals)
    }

    async fn sign_and_write(&self, grant: &mut Granting, owner: &dyn Keyholder) -> Result<Vec<ApprovalRecord>> {
        for _ in 0..ROUNDS {
            // Whatever can refuse refuses before the owner is asked.
            self.still_true(&grant.plan).await?;
            self.store.require_writable()?;
            self.nonces_are_free(grant)?;
            let asked = Instant::now();
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
            if asked.elapsed() > LONG {
                self.still_true(&grant.plan).await?;
            }
            if self.write_grant(grant, &approvals)? {
                return Ok(approvals);
            }
        }
        Err(overtaken())
    }

    /// What the plan relied on, read again: a person may have looked at it for long.
    async fn still_true(&self, plan: &GrantPlan) -> Result<()> {
        let services = self.services_of(&plan.account.network, plan.account.chain_id).await?;
        let before = &plan.picture;
        let opened = before.functions();
        let now = services.snapshot(&plan.account.wanted(&[]).with_routes(&opened)).await?;
        match plan.approvals.changed(before, &now) {
            None => Ok(()),
            Some(what) => Err(Error::failed(
                "grant.stale",
                format!("{what} has changed on chain since the plan was made; nothing was granted"),
            )
            .of(Kind::Stale)
            .hint("run the command again")),
        }
    }

    /// Writes the plan down as a draft that waits for a signature from elsewhere.
    pub fn draft_grant(&self, plan: GrantPlan, accepted: &Accepted) -> Result<Granted> {
        check_findings(&plan.findings, accepted)?;
        let mut grant = self.begin_grant(plan)?;
        for _ in 0..ROUNDS {
            let drafts = grant.drafts();
            if self.write_grant(&mut grant, &drafts)? {
                return self.granted(grant, &drafts);
            }
        }
        Err(overtaken())
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
        let queue = self.queue(&key.network, key.account)?;
        let standing = state::of_approval(&key, &approval, picture.as_ref(), &queue);
        Ok((view, approval_view(&approval, &standing)))
    }

    /// The key as it will be on record; where it was made here, its private half is kept when it is written.
    fn begin_grant(&self, mut plan: GrantPlan) -> Result<Granting> {
        let fresh = plan.fresh.take();
        let secret = match &fresh {
            Some(_) => None,
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
            validator: plan.approvals.validator(),
            scope: plan.resolved.scope.clone(),
            partial: None,
            functions: plan.resolved.functions.clone(),
            origin: Origin::Granted,
            init_code: plan.account.init_code(),
            was_deployed: plan.picture.deployed(),
            created_at: now(),
            revoked_at: None,
        };
        Ok(Granting { plan, key, fresh })
    }

    /// Takes the next nonces by the records as they are now; with others than the owner was shown, nothing else that was shown may
    /// be different.
    fn nonces_are_free(&self, grant: &mut Granting) -> Result<()> {
        let taken = self.store.read(|r| {
            let (network, account) = (&grant.key.network, grant.key.account);
            Ok((r.approvals_of(network, account)?, r.keys_of(network, account, false)?))
        })?;
        grant.take_nonces(&taken.0, &taken.1).map(drop)
    }

    /// Writes all of it down, in one step that other processes see whole or not at all. `false`: the nonce that the approvals are
    /// for was taken meanwhile.
    fn write_grant(&self, grant: &mut Granting, approvals: &[ApprovalRecord]) -> Result<bool> {
        let kept = match &grant.fresh {
            Some(fresh) => Some(
                self.keep_secret(fresh, &format!("session key {} of {}", grant.plan.label, grant.plan.account.name))?,
            ),
            None => None,
        };
        grant.key.secret = kept.or(grant.key.secret);
        let written = self.store.write(|w| {
            let taken = w.read().approvals_of(&grant.key.network, grant.key.account)?;
            let others = w.read().keys_of(&grant.key.network, grant.key.account, false)?;
            if grant.take_nonces(&taken, &others)? {
                return Ok(false);
            }
            w.put_key(&grant.key)?;
            approvals.iter().try_for_each(|approval| w.put_approval(approval))?;
            Ok(true)
        });
        if let (Ok(false) | Err(_), Some(id)) = (&written, &kept) {
            // A key that was made for this grant is of no use without it; what cannot be removed is only spare.
            let _ = self.vault.remove(id);
        }
        written
    }

    fn granted(&self, grant: Granting, approvals: &[ApprovalRecord]) -> Result<Granted> {
        let Granting { plan, key, .. } = grant;
        let queue = self.queue(&key.network, key.account)?;
        let views = approvals
            .iter()
            .map(|a| approval_view(a, &state::of_approval(&key, a, Some(&plan.picture), &queue)))
            .collect();
        let first = approvals.first().map(|a| a.request.fingerprint()).unwrap_or_default();
        Ok(Granted {
            key: self.key_view(&key, Some(&plan.picture))?,
            merkle_root: first,
            validator: plan.approvals.validator().address(),
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
        approvals: &ApprovalPlan,
        picture: &Snapshot,
    ) -> Result<Vec<Finding>> {
        let keys = self.store.read(|r| r.keys_of(&account.network, account.address, false))?;
        Ok(approvals.about_other_keys(keys.iter().map(other), picture))
    }

    pub(in crate::wallet) fn known_keys(&self, account: &Account) -> Result<Vec<Address>> {
        let keys = self.store.read(|r| r.keys_of(&account.network, account.address, true))?;
        Ok(keys.into_iter().map(|k| k.session_key).collect())
    }
}

fn overtaken() -> Error {
    Error::failed("grant.stale", "other grants took the approval nonce each time. Nothing was granted")
        .of(Kind::Stale)
        .hint("run the command again")
}

fn other(key: &Key) -> OtherKey<'_> {
    OtherKey { label: &key.label, session_key: key.session_key, validator: key.validator }
}

fn taken_by(approval: &ApprovalRecord) -> Taken<'_> {
    (&approval.request, approval.signature.as_ref())
}

fn no_nonces(used_up: NoNonces) -> Error {
    Error::failed("grant.no_nonces", used_up.to_string())
        .hint("ask another node; if it is true, this validator cannot take an approval of the account any more")
}

pub(in crate::wallet) fn approval_view(approval: &ApprovalRecord, standing: &state::KeyStatus) -> ApprovalView {
    ApprovalView {
        selector: approval.request.opens(),
        nonce: approval.nonce(),
        enable_data: approval.request.enable_data(),
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
pub(in crate::wallet) fn same_account(account: &Account, picture: &Snapshot) -> Result<Version> {
    picture.version_for(account.owner).map_err(|other| match other {
        NotTheSame::Owner(owner) => Error::failed(
            "account.owner_changed",
            format!("the owner of {} is {owner} on chain, and {} on record", account.name, account.owner),
        )
        .hint("nothing was signed; add the account again with the present owner's key"),
        NotTheSame::NoOwner => Error::failed(
            "account.not_ecdsa",
            format!("{} has no ECDSA owner on chain: its default validator is another one", account.name),
        ),
        NotTheSame::Implementation(implementation) => Error::failed(
            "account.kernel",
            format!("{} runs {implementation}, which is no Kernel version that is known here", account.name),
        )
        .hint("nothing was signed: the chain would refuse a signature for another version"),
    })
}

fn validator(choice: ValidatorChoice, picture: &Snapshot) -> Result<Validator> {
    let exactly = match choice {
        ValidatorChoice::Exactly(validator) => Some(validator),
        ValidatorChoice::Auto => None,
    };
    choose_validator(exactly, picture).map_err(|validator| {
        Error::failed(
            "network.validator",
            format!(
                "session key validator {validator} ({}) is not on this chain, or has other code",
                validator.address()
            ),
        )
        .hint("see `keyleash network check`")
    })
}

/// The scope in plain words.
pub(in crate::wallet) fn sentences(
    scope: &Scope,
    functions: &[Option<Function>],
    validator: Validator,
    coin: Coin,
) -> Vec<String> {
    let mut functions = functions.iter();
    sentence::scope(scope, Setting { validator, symbol: coin.symbol() }, |_| functions.next().cloned().flatten())
}

pub(in crate::wallet) fn functions(resolved: &Resolved) -> Vec<Option<Function>> {
    parse_functions(&resolved.functions)
}

pub(in crate::wallet) fn parse_functions(signatures: &[Option<String>]) -> Vec<Option<Function>> {
    signatures.iter().map(|s| s.as_deref().and_then(|s| Function::parse(s).ok())).collect()
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

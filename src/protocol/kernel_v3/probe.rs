//! Everything that the holder of a key can try, and what the account's state says of it (docs/kernel-v3.md#proof).
//!
//! The private half of a key is usually elsewhere: an attempt carries a well-formed signature of nobody's. What the account makes of
//! everything else shows all the same, because a wrong signature is what it says last.

use alloy::{
    primitives::{Address, B256, Bytes, U256, keccak256},
    sol_types::SolCall,
};

use super::{
    account::{Execution, isValidSignatureCall, selector},
    approval::{Approval, ApprovalRequest, SelectorData},
    contracts::ECDSA_SIGNER,
    liveness::{Later, Never, Outlook},
    nonce::{Mode, OperationNonce, PermissionId},
    permission_config::{PermissionConfig, Signer},
    policy::{Policy, PolicyFlag},
    signature::{CHAIN_FREE_PREFIX, Envelope, MessageSignature, SignedBy, UseSignature},
    snapshot::{KeyState, NO_HOOK, Snapshot},
    witness::witness,
};
use crate::{
    erc4337::{
        faults::{Fault, KernelV3Error},
        v07::{
            Deployment, ENTRY_POINT, UserOperation, handle_ops, handleOpsCall, validate_user_op, validateUserOpCall,
        },
    },
    protocol::{
        DUMMY_SIGNATURE,
        family::Family,
        probe::{Probe, ProbeResult, Waited},
    },
};

/// Gas units for an attempt through the EntryPoint: it is never sent.
const ATTEMPT_GAS: u128 = 10_000_000;

/// Who asks for a signature where any caller is as good as another.
const STRANGER: Address = Address::repeat_byte(0x71);

/// What a valid signature of an account is answered with (ERC-1271).
const MAGIC: [u8; 4] = alloy::hex!("1626ba7e");
/// What an account answers where only the signature itself is wrong.
const NOT_SIGNED: [u8; 4] = [0xff; 4];

/// What is tried: an approval on record, or what the account holds and nobody here has the approval of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    pub key: PermissionId,
    /// What it is installed as, or would be; `None` where nobody here can tell what it allows.
    config: Option<PermissionConfig>,
    request: Option<ApprovalRequest>,
    /// The owner's, where it is known.
    signature: Option<Bytes>,
    /// The account function that the key calls.
    function: alloy::primitives::Selector,
    has_hook: bool,
    /// How the account is made, while it is not.
    deployment: Option<Deployment>,
    /// What the chain held for it, where no approval is known.
    held: Option<KeyState>,
}

/// What the state said of a subject before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before {
    pub block: u64,
    /// Whether exactly this approval was enabled.
    pub held: bool,
    pub acts: bool,
    pub signs: bool,
    current_nonce: u32,
    outlook: Option<Outlook>,
}

/// What the chain says of a key, as a proof keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The account's nonce when it was installed last.
    pub nonce: u32,
    /// The zero address: not installed.
    pub hook: Address,
    pub signer: Address,
    pub current_nonce: u32,
    pub valid_from: u32,
}

/// What an attempt was answered.
#[derive(Debug, Clone, Copy)]
pub enum Answered<'a> {
    Returned(&'a [u8]),
    /// `None`: the node gave no reason that is understood, or did not answer.
    Refused(Option<&'a Fault>),
}

/// Why a refusal is a proof, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// The account names what ended it.
    Named(KernelV3Error),
    /// The account gives no reason, and its state at the same block holds nothing for the key.
    State,
    /// It did not get as far as the signature before either, so that a refusal now says nothing.
    NotBefore,
    /// It is answered as if the key were alive, or without a reason and with the key still there.
    Not,
}

impl Subject {
    /// `None` for an approval that is not for a permission, or names it with something behind.
    pub fn of(request: &ApprovalRequest, signature: Option<&Bytes>) -> Option<Self> {
        Some(Self {
            key: request.permission_id()?,
            config: request.config().ok(),
            function: request.selector().selector().unwrap_or(selector::EXECUTE),
            has_hook: !request.hook.is_zero() && request.hook != NO_HOOK,
            request: Some(request.clone()),
            signature: signature.cloned(),
            deployment: None,
            held: None,
        })
    }

    /// What the account holds under an id, or is said to hold nothing for.
    pub fn held(key: PermissionId, snapshot: &Snapshot) -> Self {
        let held = snapshot.key(key);
        let allowed = held.allowed.iter().find(|(_, allowed)| **allowed).map(|(function, _)| *function);
        Self {
            key,
            config: config_of(&held),
            request: None,
            signature: None,
            function: allowed
                .filter(|_| !held.allowed.get(&selector::EXECUTE).is_some_and(|a| *a))
                .unwrap_or(selector::EXECUTE),
            has_hook: held.has_hook(),
            deployment: None,
            held: Some(held),
        }
    }

    /// With what creates the account: while it is not there, attempts go through the EntryPoint.
    #[must_use]
    pub fn before_deployment(self, deployment: Option<Deployment>) -> Self {
        Self { deployment, ..self }
    }

    /// Of a key whose signer is one secp256k1 key.
    pub fn session_key(&self) -> Option<Address> {
        let of_config = self.config.as_ref().and_then(|config| config.signer.key());
        of_config.or_else(|| self.held.as_ref().and_then(|held| held.session_key))
    }

    /// Enabling it with the approval, using it, and signing with it. Where no use that its scope allows can be made up, there is no
    /// attempt at one: see [`Self::has_witness`].
    pub fn probes(&self, account: Address, chain_id: u64, coin: &str) -> Vec<Probe> {
        let mut probes = Vec::new();
        let made = self.config.as_ref().and_then(|config| witness(config, self.function, self.has_hook));
        let use_signature = UseSignature::plain(&DUMMY_SIGNATURE).encode();
        let chain_free = self.request.as_ref().is_some_and(|request| request.chain_id.is_none());
        if let Some(made) = made {
            let call = Execution::decode(&made.call_data).call;
            let would = match made.calls {
                true => call.in_words(Family::KernelV2, &[], coin).join("; "),
                false => "makes no call at all, which every call policy allows".to_owned(),
            };
            let probe = |name, would, mode, signature: Bytes| {
                let prefix = if chain_free { CHAIN_FREE_PREFIX.as_slice() } else { &[] };
                let user_op = UserOperation {
                    sender: account,
                    nonce: OperationNonce::of_permission(mode, self.key).encode(),
                    deployment: self.deployment.clone(),
                    call_data: made.call_data.clone(),
                    call_gas_limit: ATTEMPT_GAS,
                    verification_gas_limit: ATTEMPT_GAS,
                    paymaster: made.paymaster.clone(),
                    signature: [prefix, &signature].concat().into(),
                    ..UserOperation::default()
                };
                let hash = user_op.hash(ENTRY_POINT, if chain_free { 0 } else { chain_id });
                let (from, to, data) = match self.deployment {
                    // The EntryPoint has to create it first, and then asks as it would.
                    Some(_) => (STRANGER, ENTRY_POINT, handle_ops(&user_op, STRANGER)),
                    None => (ENTRY_POINT, account, validate_user_op(&user_op, hash)),
                };
                Probe { name, would, uses: mode == Mode::Use, from, to, data }
            };
            if let Some(envelope) = self.envelope(use_signature.clone()) {
                let would = format!("enables the key and {would}");
                probes.push(probe("enable it with its first call", would, Mode::Enable, envelope.encode()));
            }
            probes.push(probe("use it as an enabled key", would, Mode::Use, use_signature.clone()));
        }
        if self.deployment.is_none() {
            let by = SignedBy::Permission(self.key);
            let signature = MessageSignature { by, chain_free, signature: use_signature }.encode();
            let hash = keccak256("keyleash: whether this key signs for the account");
            probes.push(Probe {
                name: "sign for the account",
                would: "signs a message in the account's name (ERC-1271)".to_owned(),
                uses: true,
                from: self.caller(),
                to: account,
                data: isValidSignatureCall { hash, signature }.abi_encode().into(),
            });
        }
        probes
    }

    /// Whether an operation that its scope allows could be made up. Where not, nothing is tried but what signs.
    pub fn has_witness(&self) -> bool {
        self.config.as_ref().is_some_and(|config| witness(config, self.function, self.has_hook).is_some())
    }

    fn envelope(&self, use_signature: Bytes) -> Option<Envelope> {
        let (request, owner_signature) = (self.request.as_ref()?, self.signature.clone()?);
        let Approval { request, signature } = Approval { request: request.clone(), signature: owner_signature };
        Some(Envelope {
            hook: request.hook,
            enable_data: request.enable_data,
            hook_data: request.hook_data,
            selector_data: request.selector_data,
            owner_signature: signature,
            use_signature,
        })
    }

    /// Somebody whom its signature callers allow, where they allow anybody.
    fn caller(&self) -> Address {
        let policies = self.config.iter().flat_map(|config| &config.policies);
        let allowed = policies.filter_map(|policy| match policy {
            Policy::SignatureCaller { flag, callers } if !flag.skips_signatures() => callers.allowed.first().copied(),
            _ => None,
        });
        allowed.into_iter().next().unwrap_or(STRANGER)
    }

    pub fn before(&self, snapshot: &Snapshot) -> Before {
        Before {
            block: snapshot.block,
            held: self.is_held(snapshot),
            acts: snapshot.can_act(self.key),
            signs: snapshot.can_sign(self.key),
            current_nonce: snapshot.current_nonce,
            outlook: self.outlook(snapshot),
        }
    }

    fn is_held(&self, snapshot: &Snapshot) -> bool {
        match &self.request {
            Some(request) => snapshot.holds(request),
            None => snapshot.key(self.key).is_installed(),
        }
    }

    fn outlook(&self, snapshot: &Snapshot) -> Option<Outlook> {
        let request = self.request.as_ref().filter(|request| !snapshot.holds(request))?;
        // Whoever signed it: the account's word decides, not the record's.
        Some(snapshot.outlook(request, snapshot.owner().unwrap_or_default()))
    }

    /// Whether a probe that passes tells that this approval is alive. Where another approval of the same id is enabled, a use is no
    /// test of this one.
    pub fn is_tested_by(&self, probe: &Probe, snapshot: &Snapshot) -> bool {
        !probe.uses || self.is_held(snapshot) || !snapshot.key(self.key).is_installed()
    }

    /// The snapshot with the worse of two answers: the probe passed although the state says that the approval is over.
    pub fn treat_as_live(&self, probe_uses: bool, snapshot: &mut Snapshot) {
        let request_nonce = self.request.as_ref().map(|request| request.nonce);
        let nonce = request_nonce.or_else(|| self.held.as_ref().map(|held| held.nonce)).unwrap_or_default();
        snapshot.valid_from = snapshot.valid_from.min(nonce);
        let key = snapshot.keys.entry(self.key).or_default();
        if probe_uses {
            (key.nonce, key.all_selectors) = (nonce, false);
            key.hook = if key.hook.is_zero() { NO_HOOK } else { key.hook };
            if let Some(config) = &self.config {
                key.flag = config.flag;
                key.signer = config.signer.address();
                key.policies = config.policies.iter().map(|policy| (policy.flag(), policy.address())).collect();
                key.session_key = config.signer.key();
            } else if key.signer.is_zero() {
                key.signer = ECDSA_SIGNER;
            }
        } else {
            snapshot.current_nonce = snapshot.current_nonce.min(nonce);
            let key = snapshot.keys.entry(self.key).or_default();
            key.nonce = key.nonce.min(nonce.saturating_sub(1));
            key.states.clear();
        }
    }

    /// What of it the state still has; `None` where it is over.
    pub fn still_stands(&self, snapshot: &Snapshot) -> Option<String> {
        if self.is_held(snapshot) {
            if snapshot.can_act(self.key) {
                return Some("the account still lets the key act".into());
            }
            return snapshot.can_sign(self.key).then(|| "the key still signs for the account".into());
        }
        let nonce = self.request.as_ref()?.nonce;
        match self.outlook(snapshot)? {
            Outlook::Never(_) => None,
            Outlook::Now => Some(format!("its approval (nonce {nonce}) can still be enabled")),
            Outlook::Later(Later::Nonce) => {
                Some(format!("its approval can be enabled once the account is at nonce {nonce}"))
            }
            Outlook::Later(Later::IdTaken) => {
                Some("its approval can be enabled once the key that has its id now is uninstalled".into())
            }
            Outlook::Stale(_) => Some("its approval counts again if the account is put back as it was".into()),
        }
    }

    /// Whether it could be enabled again if the owner did something more: nothing that a nonce ended comes back, and of what every
    /// chain takes, only what is over everywhere is over.
    pub fn may_return(&self, snapshot: &Snapshot) -> bool {
        let every_chain = self.request.as_ref().is_some_and(|request| request.chain_id.is_none());
        every_chain || matches!(self.outlook(snapshot), Some(Outlook::Stale(_)))
    }

    /// It could not be enabled before either, but its nonce would have come. Now that is over.
    pub fn waited(&self, before: &Before) -> Option<Waited> {
        let nonce = self.request.as_ref()?.nonce;
        (!before.held && before.outlook == Some(Outlook::Later(Later::Nonce))).then(|| Waited {
            attempt: format!("enable it once the account is at nonce {nonce}"),
            before: format!("signed for nonce {nonce} (the account was at {})", before.current_nonce),
            after: "EnableNotApproved: the account has gone past what it was signed for".to_owned(),
        })
    }

    pub fn evidence(&self, snapshot: &Snapshot) -> Evidence {
        let key = snapshot.key(self.key);
        Evidence {
            nonce: key.nonce,
            hook: key.hook,
            signer: key.signer,
            current_nonce: snapshot.current_nonce,
            valid_from: snapshot.valid_from,
        }
    }

    /// Whether what an attempt is answered now, with the state at the same block, shows that it is over.
    pub fn shows(&self, before: &ProbeResult, after: &ProbeResult, snapshot: &Snapshot) -> Shown {
        if *before != ProbeResult::Passes {
            return Shown::NotBefore;
        }
        let key = snapshot.key(self.key);
        match after {
            ProbeResult::Dead(Fault::ValidationError(error)) => Shown::Named(*error),
            ProbeResult::Silent if key.hook.is_zero() && key.signer.is_zero() => Shown::State,
            _ => Shown::Not,
        }
    }
}

/// What the chain tells of a key's scope: enough for an attempt where nothing binds its calls.
fn config_of(held: &KeyState) -> Option<PermissionConfig> {
    let signer = match held.session_key {
        Some(key) if held.signer == ECDSA_SIGNER => Signer::Ecdsa(key),
        _ => return None,
    };
    let policy = |(flag, address): &(PolicyFlag, Address)| {
        // What a policy was installed with is not told: a call policy is tried with a batch that makes no call.
        let policy = Policy::new(*flag, *address, &known_data(*address, held)?);
        (!matches!(policy, Policy::Unknown { .. })).then_some(policy)
    };
    let policies = held.policies.iter().map(policy).collect::<Option<Vec<_>>>()?;
    Some(PermissionConfig { flag: held.flag, signer, policies })
}

fn known_data(policy: Address, held: &KeyState) -> Option<Bytes> {
    use super::policy::{call::CallPolicy, call::CallPolicyVersion, gas::GasPolicy, rate_limit::RateLimit};
    use super::policy::{signature_caller::SignatureCallers, timestamp::Timestamp};
    use super::snapshot::Left;
    let left = held.states.get(&policy).and_then(|state| state.left);
    if let Some(version) = CallPolicyVersion::from_address(policy) {
        return CallPolicy::new(version, Vec::new()).ok().map(|policy| policy.encode());
    }
    Some(match (policy, left) {
        (super::contracts::SUDO_POLICY, _) => Bytes::new(),
        (super::contracts::SIGNATURE_CALLER_POLICY, _) => SignatureCallers::default().encode(),
        (_, Some(Left::Window { after, until })) => Timestamp { valid_after: after, valid_until: until }.encode(),
        (_, Some(Left::Turns { interval, left, next })) => RateLimit { interval, count: left, start_at: next }.encode(),
        (_, Some(Left::Gas { left, enforces_paymaster, paymaster })) => {
            GasPolicy { allowed: left, enforce_paymaster: enforces_paymaster, allowed_paymaster: paymaster }.encode()
        }
        _ => return None,
    })
}

/// What the answer to an attempt means at a block of this time.
pub fn result(probe: &Probe, answered: Answered<'_>, now: u64) -> ProbeResult {
    let asks = |selector: [u8; 4]| probe.data.starts_with(&selector);
    match answered {
        Answered::Returned(word) if asks(validateUserOpCall::SELECTOR) => validation(word, now),
        Answered::Returned(word) if asks(isValidSignatureCall::SELECTOR) => {
            let answer = word.get(..4);
            let is_answer = answer == Some(&MAGIC[..]) || answer == Some(&NOT_SIGNED[..]);
            if is_answer { ProbeResult::Passes } else { ProbeResult::Silent }
        }
        // A bundle of it would be mined: the signature counts too.
        Answered::Returned(_) if asks(handleOpsCall::SELECTOR) => ProbeResult::Passes,
        Answered::Returned(_) | Answered::Refused(None) => ProbeResult::Silent,
        Answered::Refused(Some(fault)) => match fault {
            Fault::SignatureRefused if asks(handleOpsCall::SELECTOR) => ProbeResult::Passes,
            Fault::OutsideWindow if asks(handleOpsCall::SELECTOR) => ProbeResult::Scope(fault.clone()),
            fault => ProbeResult::refused(Some(fault.clone())),
        },
    }
}

/// `validAfter6 ‖ validUntil6 ‖ authorizer20` as the account answers it: only whether the signature holds may be wrong.
fn validation(word: &[u8], now: u64) -> ProbeResult {
    let Ok(word) = B256::try_from(word) else { return ProbeResult::Silent };
    let number = |range: std::ops::Range<usize>| {
        word.get(range).unwrap_or_default().iter().fold(0u64, |n, byte| n << 8 | u64::from(*byte))
    };
    let (after, until) = (number(0..6), number(6..12));
    let authorizer = U256::from_be_slice(word.get(12..).unwrap_or_default());
    if authorizer > U256::ONE {
        return ProbeResult::Silent;
    }
    match (now < after, until != 0 && now > until) {
        (true, _) => ProbeResult::Scope(Fault::NotYetValid),
        (_, true) => ProbeResult::Scope(Fault::Expired),
        _ => ProbeResult::Passes,
    }
}

impl Before {
    /// Whether a window kept it from being enabled before.
    pub const fn had_ended(&self) -> bool {
        matches!(self.outlook, Some(Outlook::Never(Never::Expired(_))))
    }
}

/// What an approval opens beside a key's own calls: not a key's doing, and not ended with it.
pub fn installs_module(request: &ApprovalRequest) -> Option<Address> {
    match request.selector() {
        SelectorData::Installs(module) => Some(module.target),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(selector: [u8; 4]) -> Probe {
        let (from, to, data) = (Address::ZERO, Address::ZERO, Bytes::copy_from_slice(&selector));
        Probe { name: "", would: String::new(), uses: true, from, to, data }
    }

    fn word(after: u64, until: u64, authorizer: u64) -> Vec<u8> {
        let [_, _, after @ ..] = after.to_be_bytes();
        let [_, _, until @ ..] = until.to_be_bytes();
        [&after[..], &until, &[0; 12], &authorizer.to_be_bytes()].concat()
    }

    #[test]
    fn only_the_signature_may_be_wrong() {
        let validated = probe(validateUserOpCall::SELECTOR);
        for (word, expected) in [
            (word(0, 0, 0), ProbeResult::Passes),
            (word(5, 9, 1), ProbeResult::Passes),
            (word(6, 9, 1), ProbeResult::Scope(Fault::NotYetValid)),
            (word(0, 4, 1), ProbeResult::Scope(Fault::Expired)),
            (word(0, 0, 2), ProbeResult::Silent),
            (vec![0; 31], ProbeResult::Silent),
            // Nothing answers for an account that is not there.
            (vec![], ProbeResult::Silent),
        ] {
            assert_eq!(result(&validated, Answered::Returned(&word), 5), expected, "{word:?}");
        }
        let signed = probe(isValidSignatureCall::SELECTOR);
        for (answer, expected) in
            [(MAGIC, ProbeResult::Passes), (NOT_SIGNED, ProbeResult::Passes), ([0; 4], ProbeResult::Silent)]
        {
            assert_eq!(result(&signed, Answered::Returned(&[&answer[..], &[0; 28]].concat()), 5), expected);
        }
    }

    #[test]
    fn only_a_named_refusal_that_is_about_the_key_is_dead() {
        let validated = probe(validateUserOpCall::SELECTOR);
        let refused = |fault: Fault| result(&validated, Answered::Refused(Some(&fault)), 0);
        let dead = Fault::from_revert(&alloy::hex!("756688fe"));
        assert_eq!(refused(dead), ProbeResult::Dead(Fault::ValidationError(KernelV3Error::InvalidNonce)));
        for fault in [Fault::from_revert(&[]), Fault::NoPrefund, Fault::NonceUsed, Fault::SignatureRefused] {
            assert_eq!(refused(fault.clone()), ProbeResult::Silent, "{fault:?}");
        }
        let scope = Fault::from_revert(&alloy::hex!("1c49f4d1"));
        assert!(matches!(refused(scope), ProbeResult::Scope(_)));
        assert_eq!(result(&validated, Answered::Refused(None), 0), ProbeResult::Silent);
        let bundle = probe(handleOpsCall::SELECTOR);
        assert_eq!(result(&bundle, Answered::Refused(Some(&Fault::SignatureRefused)), 0), ProbeResult::Passes);
        assert_eq!(result(&bundle, Answered::Refused(Some(&Fault::NoPrefund)), 0), ProbeResult::Silent);
    }

    #[test]
    fn a_refusal_without_a_reason_shows_nothing_while_the_key_is_there() {
        let mut snapshot = Snapshot::example(super::super::contracts::KernelVersion::V3_1);
        let id = PermissionId([1, 2, 3, 4].into());
        let held = KeyState { hook: NO_HOOK, signer: ECDSA_SIGNER, ..KeyState::default() };
        snapshot.keys.insert(id, held);
        let subject = Subject::held(id, &snapshot);
        let (passes, silent) = (ProbeResult::Passes, ProbeResult::Silent);
        assert_eq!(subject.shows(&passes, &silent, &snapshot), Shown::Not);
        assert_eq!(subject.shows(&silent, &silent, &snapshot), Shown::NotBefore);
        snapshot.keys.clear();
        assert_eq!(subject.shows(&passes, &silent, &snapshot), Shown::State);
        assert_eq!(subject.shows(&silent, &silent, &snapshot), Shown::NotBefore);
        assert_eq!(subject.shows(&passes, &passes, &snapshot), Shown::Not);
    }

    #[test]
    fn a_probe_that_passes_against_the_state_makes_it_the_worse_of_the_two() {
        let mut snapshot = Snapshot::example(super::super::contracts::KernelVersion::V3_1);
        (snapshot.current_nonce, snapshot.valid_from) = (9, 9);
        let id = PermissionId([1, 2, 3, 4].into());
        let subject = Subject::held(id, &snapshot);
        assert_eq!(subject.still_stands(&snapshot), None);
        subject.treat_as_live(true, &mut snapshot);
        assert!(subject.still_stands(&snapshot).is_some(), "{:?}", snapshot.key(id));
    }
}

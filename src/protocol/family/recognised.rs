//! An approval of a family that is understood and not managed yet: what it allows, who signed it, what could go wrong with it.

use alloy::primitives::{Address, B256, Selector, U256};

use super::blob::Known;
use crate::{
    policy::risk::Finding,
    protocol::{
        kernel_v3::{
            account::{CallType, selector},
            approval::{SelectorData, SignedAs},
            blob::{self, Blob, RecoverError, Recovered, Search},
            findings::{Subject, findings},
            permission_config::PermissionConfig,
            policy::Policy,
            sentence::{opens, sentences},
        },
        serialized::{Node, TextError},
    },
    secret::Secret,
};

/// Candidates in all; each costs two signature recoveries. A search with the wrong key must end within a second or two.
const TRIES: usize = 6_000;
/// Keys at hand that are tried.
const MOST_KEYS: usize = 8;
/// How far is counted where the chain is not known either. Accounts seldom invalidate nonces.
const FEW_NONCES: u32 = 4;

/// What the coin is called of a chain that is not known.
const COIN: &str = "coin";

/// A serialized permission account of Kernel v3.
pub struct RecognisedBlob(Box<Blob>);

/// What such a text says, and whether its owner signed that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recognised {
    /// The name of its family.
    pub family: &'static str,
    pub account: Address,
    /// Recomputed where its owner's signature was found; else as the text says.
    pub permission_id: Option<String>,
    pub version: Option<String>,
    /// Whose signature it is, or whom the text names.
    pub owner: Option<Address>,
    pub session_key: Option<Address>,
    pub has_secret: bool,
    /// The account function that it opens.
    pub opens: String,
    /// It was installed when the account was made: there is no approval.
    pub pre_installed: bool,
    /// The kind of each policy, in the order they are asked.
    pub policies: Vec<String>,
    /// What it may call, in all call policies.
    pub calls: Vec<RecognisedCall>,
    /// Unix seconds; of its operations. `None` without an end.
    pub valid_until: Option<u64>,
    pub valid_after: Option<u64>,
    pub sentences: Vec<String>,
    pub findings: Vec<Finding>,
    /// What a reader should be careful about.
    pub warnings: Vec<String>,
    /// Never `Some(false)`: a nonce beyond the search, a hook, another signer or another owner would look the same. [`Self::why`] says
    /// what was tried.
    pub verified: Option<bool>,
    pub why: String,
    /// Of what was signed.
    pub signed: Option<Signed>,
    /// How what the text leaves out was found.
    pub assumptions: Vec<String>,
}

/// What an owner signed, beside the scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signed {
    /// `None`: every chain.
    pub chain_id: Option<u64>,
    pub nonce: u32,
    pub digest: B256,
}

/// One entry of a call policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecognisedCall {
    /// The zero address: any contract.
    pub target: Address,
    pub selector: Selector,
    /// Wei a call.
    pub value_limit: U256,
    pub delegatecall: bool,
    pub rules: usize,
}

impl RecognisedBlob {
    pub(super) fn read(root: &Node<'_, '_>) -> Result<Self, TextError> {
        blob::read_root(root).map(|blob| Self(Box::new(blob)))
    }

    pub const fn account(&self) -> Address {
        self.0.account
    }

    /// The session key, when it travels with its approval.
    pub const fn secret(&self) -> Option<&Secret> {
        self.0.secret.as_ref()
    }

    /// What it says, as far as `known` helps to verify it. `now`: unix seconds.
    pub fn described(&self, known: &Known<'_>, now: u64) -> Recognised {
        let blob = &*self.0;
        let found = self.find(known);
        let key = blob.secret.as_ref().map(|secret| secret.address());
        let first = found.as_ref().ok().and_then(|all| all.first());
        let config = first.map_or_else(|| blob.config(key.unwrap_or_default()), |found| found.config.clone());
        let selector_data = self.selector_data(first);
        let mut said = sentences(&config, COIN);
        said.extend(opens(&selector_data));
        let subject = Subject {
            account: blob.account,
            config: &config,
            request: first.map(|found| &found.approval.request),
            selector_data: &selector_data,
            now,
        };
        let mut recognised = Recognised {
            family: "kernel-v3",
            account: blob.account,
            permission_id: blob.written_id.map(|id| id.to_string()),
            version: blob.deploys().map(|version| version.to_string()),
            owner: blob.owner().or(blob.init_code.is_empty().then_some(blob.account)),
            session_key: key,
            has_secret: blob.secret.is_some(),
            opens: opened(blob.selector),
            pre_installed: blob.pre_installed,
            policies: config.policies.iter().map(kind).collect(),
            calls: calls(&config),
            valid_until: window(&config).1,
            valid_after: window(&config).0,
            sentences: said,
            findings: findings(&subject),
            warnings: blob.warnings.iter().map(ToString::to_string).collect(),
            verified: None,
            why: String::new(),
            signed: None,
            assumptions: Vec::new(),
        };
        match found {
            Ok(all) => recognised.take(&all),
            Err(refused) => {
                recognised.why = format!("the owner's signature could not be verified: {refused}");
            }
        }
        recognised
    }

    fn find(&self, known: &Known<'_>) -> Result<Vec<Recovered>, RecoverError> {
        let chain_ids = known.chain_ids.iter().chain(known.other_chain_ids).copied().collect();
        let keys = known.session_keys.get(..MOST_KEYS).unwrap_or(known.session_keys);
        let mut search = Search { owner: known.owner, most: TRIES / keys.len().max(1), ..Search::on_chains(chain_ids) };
        if !known.other_chain_ids.is_empty() {
            search.nonces = 1..=FEW_NONCES;
        }
        if self.0.secret.is_some() {
            return self.0.recover(&search);
        }
        let mut refused = RecoverError::SessionKeyUnknown;
        for key in keys {
            search.session_key = Some(*key);
            match self.0.recover(&search) {
                Ok(found) => return Ok(found),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    fn selector_data(&self, found: Option<&Recovered>) -> SelectorData {
        match found {
            Some(found) => found.approval.request.selector(),
            None if self.0.module.is_zero() && self.0.selector == selector::EXECUTE => SelectorData::Plain,
            None if self.0.module.is_zero() => SelectorData::Opens(self.0.selector),
            None => SelectorData::Unreadable([self.0.selector.as_slice(), self.0.module.as_slice()].concat().into()),
        }
    }
}

impl Recognised {
    /// Takes over what was found. Where several settings fit, all are told.
    fn take(&mut self, all: &[Recovered]) {
        let Some(first) = all.first() else { return };
        let request = &first.approval.request;
        self.verified = Some(true);
        self.owner = Some(first.owner);
        self.session_key = first.config.signer.key();
        self.version = Some(request.kernel.to_string());
        self.permission_id = request.permission_id().map(|id| id.to_string());
        self.signed = Some(Signed { chain_id: request.chain_id, nonce: request.nonce, digest: request.digest() });
        "the owner's signature over this scope was found; whether it can still be enabled was not asked of a chain: Kernel v3 is not \
         managed yet"
            .clone_into(&mut self.why);
        let found: Vec<String> = all.iter().map(setting).collect();
        self.assumptions.push(format!("found by trying: {}", found.join("; or ")));
        if let Some(other) = first.other_id {
            self.warnings.push(format!(
                "the text names permission {other}, and another one was signed: the SDK's reader cannot use it"
            ));
        }
        if first.signed_as == SignedAs::MultiChain {
            self.warnings.push(
                "it was signed for several chains at once, which only a multi-chain validator takes as the account's root".to_owned(),
            );
        }
        if first.chosen_id {
            self.warnings
                .push("its permission id is not the one that scope and key give: the owner chose it".to_owned());
        }
    }
}

fn setting(found: &Recovered) -> String {
    let request = &found.approval.request;
    let chain = request.chain_id.map_or_else(|| "every chain".to_owned(), |id| format!("chain {id}"));
    let form = match found.signed_as {
        SignedAs::TypedData => "",
        SignedAs::Message => ", signed as a message",
        SignedAs::MultiChain => ", signed for several chains at once",
    };
    format!("{chain}, Kernel {}, nonce {}{form}", request.kernel, request.nonce)
}

fn opened(of: Selector) -> String {
    if of == selector::EXECUTE { "execute".to_owned() } else { of.to_string() }
}

fn kind(policy: &Policy) -> String {
    match policy {
        Policy::Call { .. } => "call".to_owned(),
        Policy::Gas { .. } => "gas".to_owned(),
        Policy::RateLimit { .. } => "rate-limit".to_owned(),
        Policy::SignatureCaller { .. } => "signature-caller".to_owned(),
        Policy::Sudo { .. } => "sudo".to_owned(),
        Policy::Timestamp { .. } => "timestamp".to_owned(),
        Policy::Unknown { address, .. } => match policy.unsupported_name() {
            Some(name) => name.to_owned(),
            None => address.to_string(),
        },
    }
}

fn calls(config: &PermissionConfig) -> Vec<RecognisedCall> {
    let entries = config.policies.iter().filter_map(|policy| match policy {
        Policy::Call { call, .. } => Some(call.entries()),
        _ => None,
    });
    let one = |entry: &crate::protocol::kernel_v3::policy::call::Entry| RecognisedCall {
        target: entry.target,
        selector: entry.selector,
        value_limit: entry.value_limit,
        delegatecall: entry.call_type == CallType::DelegateCall,
        rules: entry.rules.len(),
    };
    entries.flatten().map(one).collect()
}

/// The window of its operations: the latest start and the first end that any policy names.
fn window(config: &PermissionConfig) -> (Option<u64>, Option<u64>) {
    let windows = config.policies.iter().filter_map(|policy| match policy {
        Policy::Timestamp { flag, window } if !flag.skips_operations() => Some(*window),
        _ => None,
    });
    let (mut after, mut until) = (None, None);
    for window in windows {
        after = after.max(Some(window.valid_after).filter(|time| *time != 0));
        let end = Some(window.valid_until).filter(|time| *time != 0);
        until = match (until, end) {
            (Some(one), Some(other)) => Some(std::cmp::min::<u64>(one, other)),
            (one, other) => one.or(other),
        };
    }
    (after, until)
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde_json::{Value, json};

    use super::*;
    use crate::protocol::family::blob::{Document, read};

    const NOBODY: Known<'static> = Known {
        session_keys: &[],
        owner: None,
        chain_ids: &[31_337, 1, 10, 137, 8_453, 42_161, 11_155_111],
        other_chain_ids: &[],
        snapshot: None,
    };

    fn recognised(text: &str) -> RecognisedBlob {
        match read(text) {
            Ok(Document::Recognised(blob)) => blob,
            Ok(Document::Managed(_)) => panic!("managed"),
            Err(error) => panic!("{error}"),
        }
    }

    fn described(text: &str) -> Recognised {
        recognised(text).described(&NOBODY, 1_800_000_000)
    }

    fn cases() -> Vec<Value> {
        let file: Value =
            serde_json::from_str(include_str!("../../../tests/vectors/kernel_v3_serialization.json")).unwrap();
        file["cases"].as_array().unwrap().clone()
    }

    #[test]
    fn a11_every_permission_account_of_kernel_v3_is_named_with_what_it_allows_and_who_signed_it() {
        let mut verified = 0;
        for case in cases() {
            let id = case["id"].as_str().unwrap();
            let text = case["json"].as_str().unwrap();
            // Its nonce is 17, and the search ends at 16.
            if id == "eip7702-53" {
                continue;
            }
            let found = described(text);
            assert_eq!(recognised(&STANDARD.encode(text)).account(), found.account, "{id}: in base64");
            assert_eq!(json!(found.account.to_string()), case["account"], "{id}");
            if case["permissionId"].is_string() {
                assert_eq!(json!(found.permission_id), case["permissionId"], "{id}");
            }
            assert_eq!(json!(found.has_secret), case["privateKeyIncluded"], "{id}");
            // What stands at another address than the known one is no policy that is known, whatever the text calls it.
            if !found.findings.iter().any(|finding| finding.id == "V11") {
                assert_eq!(json!(found.policies), case["policies"], "{id}");
            }
            assert_eq!(json!(found.calls.len()), case["callPermissions"], "{id}");
            if found.has_secret && !found.pre_installed {
                assert_eq!((found.verified, found.signed.is_some()), (Some(true), true), "{id}: {found:?}");
                assert_eq!(json!(found.version), case["kernelVersion"], "{id}");
                let owner = json!(found.owner.map(|owner| owner.to_string()));
                assert!(owner == case["owner"] || case["owner"].is_null(), "{id}: {owner}");
                verified += 1;
            } else {
                assert_eq!(found.verified, None, "{id}: for whom it is is not in the text");
            }
        }
        assert!(verified > 5, "{verified}");
    }

    #[test]
    fn a11_a_key_of_kernel_v3_that_nothing_limits_is_said_to_be_the_owners_equal() {
        let case = cases().into_iter().find(|c| c["policies"] == json!(["sudo"])).unwrap();
        let found = described(case["json"].as_str().unwrap());
        assert_eq!(found.findings.first().map(|f| f.id), Some("V01"), "{found:?}");
        assert!(found.sentences.iter().any(|s| s.contains("everything")), "{found:?}");
        assert!(!format!("{found:?}").contains("59c6995e998f97a5"), "no private key in it");
    }

    #[test]
    fn a_scope_that_was_changed_is_not_the_one_that_was_signed() {
        let case = cases().into_iter().find(|c| c["id"] == "plain-4").unwrap();
        let mut text: Value = serde_json::from_str(case["json"].as_str().unwrap()).unwrap();
        let on_one = Known { chain_ids: &[31_337], ..NOBODY };
        let described = |text: &Value| recognised(&text.to_string()).described(&on_one, 0);
        assert_eq!(described(&text).verified, Some(true));
        text["permissionParams"]["policies"] = json!([]);
        let found = described(&text);
        assert_eq!((found.verified, found.signed), (None, None), "{}", found.why);
        assert!(found.why.contains("no owner of account"), "{}", found.why);
    }

    #[test]
    fn a11_what_a_document_of_kernel_v3_lacks_is_named() {
        let account = "0xB62d42e87adDc4Cf2fAf7841EFE94A4b0ce1202B";
        let error = |json: &Value| read(&json.to_string()).err().map(|error| error.to_string()).unwrap_or_default();
        let bare = json!({ "permissionParams": {}, "accountParams": { "accountAddress": account } });
        assert!(error(&bare).contains("enableSignature"), "{}", error(&bare));
        let odd = json!({
            "permissionParams": { "policies": [{ "policyParams": { "type": "moon\u{202e}" } }] },
            "accountParams": { "accountAddress": account, "initCode": "0x3c3b752b01" },
            "enableSignature": format!("0x{}", "11".repeat(65)),
        });
        assert!(error(&odd).contains("policies[0]"), "{}", error(&odd));
        assert!(error(&json!({ "permissionParams": 7 })).contains("permissionParams"));
    }
}

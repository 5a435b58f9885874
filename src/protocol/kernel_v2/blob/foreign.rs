//! Documents that are no approval of Kernel v2: named for what they are. A serialized permission account of Kernel v3 is read
//! far enough to say what it allows and for whom (what `serializePermissionAccount` of SDK 5 writes); keyleash does not manage those yet.

use std::fmt;

use alloy::{
    hex,
    primitives::{Address, Bytes, FixedBytes, Selector, U256, address},
};

use super::{MAX_INIT_CODE, MAX_PERMISSIONS, MAX_RULES, MAX_SIGNATURE};
use crate::{
    abi::known_functions,
    policy::sentence::{coins, duration, time},
    protocol::serialized::{Node, TextError, read_secret},
    text::clean,
};

/// Most policies of one permission that the account takes.
const MAX_POLICIES: usize = 253;
/// `execute(bytes32,bytes)`, the account function that the SDK opens.
const EXECUTE: Selector = Selector::new(hex!("e9ae5c53"));

/// Kernel v3's factories: which one deploys the account says its version.
const FACTORIES: [(&str, Address); 5] = [
    ("0.3.0", address!("6723b44Abeec4E71eBE3232BD5B455805baDD22f")),
    ("0.3.1", address!("aac5D4240AF87249B3f71BC8E4A2cae074A3E419")),
    ("0.3.2", address!("7a1dBAB750f12a90EB1B60D2Ae3aD17D4D81EfFe")),
    ("0.3.3", address!("2577507b78c2008Ff367261CB6285d44ba5eF2E9")),
    ("0.3.3-beta", address!("E30c76Dc9eCF1c19F6Fec070674E1b4eFfE069FA")),
];
/// `initialize(bytes21 root, address hook, bytes validatorData, bytes hookData[, bytes[]])` of 0.3.0, and of later ones.
const FIRST_INITIALIZE: [u8; 4] = hex!("12af322c");
const INITIALIZE: [[u8; 4]; 2] = [FIRST_INITIALIZE, hex!("3c3b752b")];
/// Validators whose data is the address of one owner: ECDSA of 0.3.0, of later ones, and the multi-chain one.
const OF_ONE_OWNER: [Address; 3] = [
    address!("8104e3Ad430EA6d354d013A6789fDFc71E671c43"),
    address!("845ADb2C711129d4f3966735eD98a9F09fC4cE57"),
    address!("5C97aA67Ba578E3c54ec5942A7563Ea9130E4f5F"),
];

/// A serialized permission account of Kernel v3, as far as it is read. Nothing in it was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermissionApproval {
    pub account: Address,
    /// As the text says; it is the hash of scope and signer, and was not recomputed.
    pub permission_id: Option<FixedBytes<4>>,
    /// From the factory in the initCode, or as the text says.
    pub version: Option<String>,
    /// The owner that the initCode names, or the account itself with EIP-7702.
    pub owner: Option<Address>,
    /// Only where its private key travels along.
    pub session_key: Option<Address>,
    pub has_secret: bool,
    /// The account function that the approval opens.
    pub selector: Selector,
    /// `0.3.x` has no nonce in the text; only whether it is enabled already.
    pub pre_installed: bool,
    pub signature_length: usize,
    /// The type of each policy, as the text calls it.
    pub policies: Vec<String>,
    /// What it may call, in all call policies.
    pub permissions: Vec<PermissionEntry>,
    /// The latest time that any policy names as the end; `None` without an end.
    pub valid_until: Option<u64>,
    pub valid_after: Option<u64>,
    pub sentences: Vec<String>,
    /// What a reader should be careful about.
    pub warnings: Vec<String>,
}

/// One entry of a call policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermissionEntry {
    /// The zero address: any contract.
    pub target: Address,
    pub selector: Selector,
    pub value_limit: U256,
    pub delegatecall: bool,
    pub rules: usize,
}

impl fmt::Display for PermissionApproval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version.as_deref().map_or_else(String::new, |v| format!(" ({v})"));
        let id = self.permission_id.map_or_else(String::new, |id| format!(", permission {id}"));
        write!(
            f,
            "this is an approval of a Kernel v3 account{version}: account {}{id}. It is recognised, and not managed yet: its \
             signature was not checked, and it cannot be imported or used here",
            self.account
        )
    }
}

/// What a document is that is no approval at all; `None` where it may be one.
pub(super) fn named(root: &Node<'_, '_>) -> Option<&'static str> {
    let has = |key: &str| root.get(key).is_some();
    if has("crypto") || has("Crypto") {
        return Some(
            "it is an Ethereum keystore, a sealed private key; give it to `account new --owner-keystore FILE`",
        );
    }
    if has("keyleash_operation") {
        return Some("it is an operation that waits for the owner's signature; `keyleash complete FILE` takes it");
    }
    if has("primaryType") && has("domain") {
        return Some("it is an EIP-712 message to be signed; `grant --complete FILE` takes it with the signature");
    }
    if has("callData") && has("sender") {
        return Some("it is a UserOperation; `keyleash status HASH` follows one that was sent from here");
    }
    if has("jsonrpc") {
        return Some("it is an answer or a question of a node (JSON-RPC)");
    }
    let is_list_of_objects =
        root.items(usize::MAX, "").is_ok_and(|items| items.first().is_some_and(|item| item.check_object().is_ok()));
    if has("abi") || is_list_of_objects {
        return Some("it is a list, such as an ABI; a policy takes that in `abi = \"FILE\"`");
    }
    if has("permission") && has("valid_until") {
        return Some("it is a policy; give it to `grant --policy FILE`");
    }
    None
}

/// Reads what `serializePermissionAccount` wrote, today's form and older ones.
pub(super) fn read(root: &Node<'_, '_>) -> Result<PermissionApproval, TextError> {
    let params = root.object("permissionParams")?;
    let account_params = root.object("accountParams")?;
    let account = account_params.require("accountAddress", "the account's address: 0x and 40 hex digits")?.address()?;
    let init_code = match account_params.get("initCode") {
        Some(code) => code.bytes(MAX_INIT_CODE, "initCode: 0x and hex digits")?,
        None => Bytes::new(),
    };
    let secret = read_secret(root, "privateKey")?;
    let action = root.get("action").or_else(|| root.get("executorData"));
    let selector = match action.as_ref().and_then(|action| action.get("selector")) {
        Some(selector) => selector.selector()?,
        None => EXECUTE,
    };
    let delegated = root.get("eip7702Auth").is_some();
    let mut out = PermissionApproval {
        account,
        permission_id: params.get("permissionId").map(|id| id.selector()).transpose()?,
        version: version(&init_code)
            .map(str::to_owned)
            .or_else(|| root.get("kernelVersion").and_then(|v| v.text().map(|text| clean(text, 16)))),
        owner: if delegated { Some(account) } else { owner(&init_code) },
        session_key: secret.as_ref().map(crate::secret::Secret::address),
        has_secret: secret.is_some(),
        selector,
        pre_installed: root.get("isPreInstalled").is_some_and(|flag| flag.is_true()),
        signature_length: match root.get("enableSignature") {
            Some(signature) => signature.bytes(MAX_SIGNATURE, "the owner's signature: 0x and hex digits")?.len(),
            None => 0,
        },
        policies: Vec::new(),
        permissions: Vec::new(),
        valid_until: None,
        valid_after: None,
        sentences: Vec::new(),
        warnings: Vec::new(),
    };
    let policies = match params.get("policies") {
        Some(list) => list.items(MAX_POLICIES, "a list of at most 253 policies")?,
        None => Vec::new(),
    };
    for policy in &policies {
        let policy = policy.get("policyParams").map_or_else(|| policy.object("policyParams"), Ok)?;
        read_policy(&policy, &mut out)?;
    }
    if !out.policies.iter().any(|kind| kind != "sudo" && kind != "signature-caller") {
        let what = if out.policies.is_empty() { "it has no policy" } else { "no policy limits its calls" };
        out.warnings.push(format!("{what}: such a key can do everything that the owner can, also become the owner"));
    }
    out.sentences.push(match out.valid_until {
        Some(until) => format!("until {}", time(until)),
        None => "it never ends: no timestamp policy names an end".to_owned(),
    });
    Ok(out)
}

fn read_policy(policy: &Node<'_, '_>, out: &mut PermissionApproval) -> Result<(), TextError> {
    let kind = policy.get("type").and_then(|kind| kind.text().map(|text| clean(text, 32)));
    let kind = kind.unwrap_or_else(|| "unnamed".to_owned());
    let number = |key: &str| policy.get(key).map_or(Ok(0), |field| field.uint48());
    match kind.as_str() {
        "sudo" => out.sentences.push("everything is allowed (sudo policy)".to_owned()),
        "call" => read_call_policy(policy, out)?,
        "timestamp" => {
            let (after, until) = (number("validAfter")?, number("validUntil")?);
            if after != 0 {
                out.valid_after = Some(after);
                out.sentences.push(format!("from {}", time(after)));
            }
            if until != 0 {
                out.valid_until = Some(until);
            }
        }
        "rate-limit" => {
            let every = duration(number("interval")?);
            out.sentences.push(format!("at most {} operations, one every {every}", number("count")?));
        }
        "gas" => {
            let allowed = policy.get("allowed").map_or(Ok(U256::ZERO), |field| field.uint256())?;
            let paymaster = match policy.get("allowedPaymaster") {
                Some(address) => address.address()?,
                None => Address::ZERO,
            };
            let payer = match policy.get("enforcePaymaster").is_some_and(|flag| flag.is_true()) && !paymaster.is_zero()
            {
                true => format!("paid by paymaster {paymaster}"),
                false => "whoever pays".to_owned(),
            };
            out.sentences.push(format!("gas of at most {} in all, {payer}", coins(allowed)));
        }
        "signature-caller" => {
            let callers = match policy.get("allowedCallers") {
                Some(list) => list.items(MAX_PERMISSIONS, "a list of addresses")?.len(),
                None => 0,
            };
            out.sentences.push(match callers {
                0 => "signs no messages for the account (ERC-1271)".to_owned(),
                n => format!("signs messages for the account (ERC-1271) that one of {n} addresses asks for"),
            });
        }
        other => out.sentences.push(format!("and what the policy \"{other}\" allows, which is not known here")),
    }
    if policy.get("policyFlag").is_some_and(|flag| flag.text().is_some_and(|text| text != "0x0000")) {
        out.warnings.push(format!("the {kind} policy carries a flag: it is not checked for some of what the key does"));
    }
    out.policies.push(kind);
    Ok(())
}

fn read_call_policy(policy: &Node<'_, '_>, out: &mut PermissionApproval) -> Result<(), TextError> {
    let entries = match policy.get("permissions") {
        Some(list) => list.items(MAX_PERMISSIONS, "a list of at most 10000 permissions")?,
        None => Vec::new(),
    };
    if entries.is_empty() {
        out.sentences.push("no call at all: its call policy is empty".to_owned());
    }
    for entry in &entries {
        let rules = match entry.get("rules") {
            Some(list) => list.items(MAX_RULES, "a list of at most 256 rules")?.len(),
            None => 0,
        };
        let permission = PermissionEntry {
            target: entry.get("target").map_or(Ok(Address::ZERO), |target| target.address())?,
            selector: entry.get("selector").map_or(Ok(Selector::ZERO), |selector| selector.selector())?,
            value_limit: entry.get("valueLimit").map_or(Ok(U256::ZERO), |limit| limit.uint256())?,
            delegatecall: entry.get("callType").is_some_and(|kind| kind.text() == Some("0xff")),
            rules,
        };
        out.sentences.push(permission.to_string());
        out.permissions.push(permission);
    }
    Ok(())
}

impl fmt::Display for PermissionEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.delegatecall { "run the code of (delegatecall)" } else { "call" };
        write!(f, "may {verb} ")?;
        match (self.selector.is_zero(), known_functions(self.selector).into_iter().next()) {
            (true, _) => write!(f, "without data (a plain transfer)")?,
            (false, Some((_, function))) => write!(f, "{function}")?,
            (false, None) => write!(f, "function {}", self.selector)?,
        }
        match self.target.is_zero() {
            true => write!(f, " on any contract")?,
            false => write!(f, " on {}", self.target)?,
        }
        match self.rules {
            0 => write!(f, " with any arguments")?,
            1 => write!(f, " with 1 rule for its arguments")?,
            n => write!(f, " with {n} rules for its arguments")?,
        }
        match self.value_limit.is_zero() {
            true => write!(f, "; no coin with the call"),
            false => write!(f, "; at most {} coin with each call", coins(self.value_limit)),
        }
    }
}

/// The version whose factory stands in the initCode. Not a proof: it is what the writer meant.
fn version(init_code: &[u8]) -> Option<&'static str> {
    let there = |address: &Address| init_code.windows(20).any(|part| part == address.as_slice());
    let of_factory = FACTORIES.iter().find(|(_, factory)| there(factory)).map(|(version, _)| *version);
    // A text that leaves the factory out: only the first version called `initialize` by this selector.
    let of_call = || init_code.windows(4).any(|part| part == FIRST_INITIALIZE).then_some("0.3.0");
    of_factory.or_else(of_call)
}

/// The owner in the call of `initialize`, where one key decides over the account.
fn owner(init_code: &[u8]) -> Option<Address> {
    let at = init_code.windows(4).position(|part| INITIALIZE.iter().any(|selector| part == selector))?;
    let arguments = init_code.get(at + 4..)?;
    // `01` (a validator) and its address, left-aligned.
    let (kind, validator) = (arguments.first()?, Address::try_from(arguments.get(1..21)?).ok()?);
    if *kind != 1 || !OF_ONE_OWNER.contains(&validator) {
        return None;
    }
    let offset = usize::try_from(U256::from_be_slice(arguments.get(64..96)?)).ok()?;
    let data = arguments.get(offset..)?;
    let length = usize::try_from(U256::from_be_slice(data.get(..32)?)).ok()?;
    let owner = data.get(32..32_usize.checked_add(length)?)?;
    Address::try_from(owner).ok()
}

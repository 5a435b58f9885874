//! Serialized approvals of the ZeroDev SDK 5 (`serializePermissionAccount`): what an owner hands to whoever holds the session key
//! (docs/kernel-v3.md#serialized-approvals).
//!
//! Nothing in such a text is believed: the scope is encoded anew, the id recomputed, and what the text leaves out (chain, version,
//! nonce, flag) is found by trying what the owner signed. With the private key in it, the text is a bearer secret.

mod policies;
mod recover;
mod write;

use alloy::{
    eips::eip7702::{Authorization, SignedAuthorization},
    primitives::{Address, Bytes, Selector},
};

pub use recover::{RecoverError, Recovered, Search};
pub use write::{WriteError, write};

use super::{
    account::{AccountSeed, Creation, selector},
    contracts::KernelVersion,
    nonce::PermissionId,
    permission_config::{MAX_POLICIES, PermissionConfig, PermissionFlag, Signer},
    policy::Policy,
    signature,
};
use crate::{
    protocol::serialized::{self, Node, TextError, read_secret},
    secret::Secret,
};

/// Bytes of initCode: it may hold a whole scope, and has to fit a transaction.
const MAX_INIT_CODE: usize = 128 << 10;
/// Bytes of an owner's signature; that for several chains has some hundreds.
const MAX_SIGNATURE: usize = 16 << 10;

/// A serialized approval. It names neither chain, version, nonce, flag nor hook: see [`Blob::recover`].
pub struct Blob {
    pub account: Address,
    /// The id in the text; older writers left it out.
    pub written_id: Option<PermissionId>,
    /// As the SDK encodes what is written.
    pub policies: Vec<Policy>,
    /// The account function the approval opens, and the module it is routed to; plain is `execute` and nobody.
    pub selector: Selector,
    pub module: Address,
    /// A hook for that function: written only, what was signed may have another.
    pub module_hook: Option<Address>,
    /// The factory's call, or factory and call; empty with EIP-7702.
    pub init_code: Bytes,
    /// What that creates; `None` where it is of no known factory.
    pub creation: Option<Creation>,
    /// The owner's; `None` where the key was installed when the account was created.
    pub signature: Option<Bytes>,
    /// The session key, when it travels with its approval.
    pub secret: Option<Secret>,
    /// Delegates the account when anybody sends it: an approval of its own.
    pub eip7702_auth: Option<SignedAuthorization>,
    pub pre_installed: bool,
    pub warnings: Vec<Warning>,
}

/// What a reader should know about an approval that was read all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    #[error("validityData names a time, and nothing of it was signed: the approval does not end by it")]
    ValidityNotSigned,
    #[error("{path}: {value} counts seconds on chain, and is later than the year 5000; it looks like milliseconds")]
    Milliseconds { path: String, value: u64 },
    #[error("the initCode is not of a known factory, so who owns the account cannot be read from it")]
    ForeignInitCode,
    #[error("the initCode creates {created}, and the approval is for account {account}: it cannot deploy it")]
    OtherAccount { account: Address, created: Address },
    #[error(
        "the authorization (EIP-7702) makes {delegate}{named} the account's code on {chain}: anybody can send it while the account's nonce \
         is {nonce}{danger}",
        named = named(*delegate), danger = danger(*delegate)
    )]
    Authorization { delegate: Address, chain: String, nonce: u64 },
    #[error("the authorization (EIP-7702) is not signed by account {account}")]
    ForeignAuthorization { account: Address },
}

fn delegate_version(delegate: Address) -> Option<KernelVersion> {
    KernelVersion::ALL.into_iter().find(|version| version.implementation() == delegate)
}

fn named(delegate: Address) -> String {
    delegate_version(delegate).map_or_else(String::new, |version| format!(" (Kernel {version})"))
}

/// Kernel before 3.3 lets any stranger make a delegated account its own; what other code does is not known.
fn danger(delegate: Address) -> &'static str {
    match delegate_version(delegate) {
        Some(version) if version.is_safe_to_delegate() => "",
        Some(_) => ", and whoever comes first can own a delegated account of this version",
        None => ", and what that code lets others do is not known here",
    }
}

/// Reads a serialized approval. Any order of members, unknown members ignored, defaults as in the SDK. The caller wipes `text`.
pub fn read(text: &str) -> Result<Blob, TextError> {
    serialized::read(text, read_root)
}

/// The same of JSON that was read already: whatever has `permissionParams`.
pub fn read_root(root: &Node<'_, '_>) -> Result<Blob, TextError> {
    let mut warnings = Vec::new();
    let params = root.object("permissionParams")?;
    let account_params = root.object("accountParams")?;
    let account = account_params.require("accountAddress", "the account's address: 0x and 40 hex digits")?.address()?;
    let init_code = match account_params.get("initCode") {
        Some(field) => field.bytes(MAX_INIT_CODE, "initCode: 0x and hex digits, only 0x with EIP-7702")?,
        None => Bytes::new(),
    };
    let creation = read_creation(&init_code, account, &mut warnings);
    let action = match root.get("executorData") {
        Some(early) if root.get("action").is_none() => Some(early),
        _ => root.get("action"),
    };
    let (selector, module, module_hook) = match &action {
        Some(action) => read_action(action)?,
        None => (selector::EXECUTE, Address::ZERO, None),
    };
    if let Some(validity) = root.get("validityData") {
        let is_set = |key: &str| Ok::<_, TextError>(validity.get(key).map_or(Ok(0), |field| field.uint48())? != 0);
        if is_set("validAfter")? || is_set("validUntil")? {
            warnings.push(Warning::ValidityNotSigned);
        }
    }
    let items = match params.get("policies") {
        Some(list) => list.items(MAX_POLICIES, "a list of at most 253 policies")?,
        None => Vec::new(),
    };
    let policies = items
        .iter()
        .map(|item| policies::read(&item.object("policyParams")?, &mut warnings))
        .collect::<Result<Vec<_>, _>>()?;
    let pre_installed = root.get("isPreInstalled").is_some_and(|flag| flag.is_true());
    Ok(Blob {
        account,
        written_id: params.get("permissionId").map(|id| id.selector()).transpose()?.map(PermissionId),
        policies,
        selector,
        module,
        module_hook,
        init_code,
        creation,
        signature: read_signature(root, pre_installed)?,
        secret: read_secret(root, "privateKey")?,
        eip7702_auth: match root.get("eip7702Auth") {
            Some(node) => Some(read_authorization(&node, account, &mut warnings)?),
            None => None,
        },
        pre_installed,
        warnings,
    })
}

impl Blob {
    /// The scope of this session key, as the SDK reads it: without a flag, and with the usual signer. What was signed may have
    /// another flag.
    pub fn config(&self, session_key: Address) -> PermissionConfig {
        PermissionConfig {
            flag: PermissionFlag::default(),
            signer: Signer::Ecdsa(session_key),
            policies: self.policies.clone(),
        }
    }

    /// What creates this very account, if the initCode does.
    pub fn seed(&self) -> Option<&AccountSeed> {
        self.creation.as_ref().and_then(|creation| creation.seed_of(self.account))
    }

    /// The owner that the initCode names.
    pub fn owner(&self) -> Option<Address> {
        self.seed().and_then(AccountSeed::owner)
    }

    /// The version that the initCode deploys. The account may run another one by now.
    pub fn deploys(&self) -> Option<KernelVersion> {
        self.seed().map(|seed| seed.version)
    }
}

fn read_creation(init_code: &Bytes, account: Address, warnings: &mut Vec<Warning>) -> Option<Creation> {
    if init_code.is_empty() {
        return None;
    }
    let creation = Creation::read(init_code);
    match &creation {
        None => warnings.push(Warning::ForeignInitCode),
        Some(creation) => {
            let other = creation.seeds.first().filter(|_| creation.seed_of(account).is_none());
            warnings.extend(other.map(|seed| Warning::OtherAccount { account, created: seed.address() }));
        }
    }
    creation
}

fn read_action(action: &Node<'_, '_>) -> Result<(Selector, Address, Option<Address>), TextError> {
    let selector = action.require("selector", "a function selector: 0x and 8 hex digits")?.selector()?;
    let module = action.get("address").map_or(Ok(Address::ZERO), |field| field.address())?;
    let hook = match action.get("hook") {
        Some(hook) => hook.get("address").map(|field| field.address()).transpose()?,
        None => None,
    };
    Ok((selector, module, hook))
}

fn read_signature(root: &Node<'_, '_>, pre_installed: bool) -> Result<Option<Bytes>, TextError> {
    const EXPECTED: &str = "the owner's signature: 0x and at least 128 hex digits";
    let field = match root.get("enableSignature") {
        None if pre_installed => return Ok(None),
        _ => root.require("enableSignature", EXPECTED)?,
    };
    let signature = field.bytes(MAX_SIGNATURE, EXPECTED)?;
    match signature.len() {
        0..64 => Err(field.wrong(EXPECTED, "the text is cut off: copy the whole approval")),
        _ => Ok(Some(signature)),
    }
}

fn read_authorization(
    node: &Node<'_, '_>,
    account: Address,
    warnings: &mut Vec<Warning>,
) -> Result<SignedAuthorization, TextError> {
    const PARITY: &str = "the parity of the signature: 0 or 1";
    let number = |key| node.require(key, "a whole number from 0 to 2^256 - 1")?.uint256();
    let nonce = node.require("nonce", "the account's nonce: a whole number from 0 to 2^48 - 1")?.uint48()?;
    let address = node.require("address", "the delegate's address: 0x and 40 hex digits")?.address()?;
    let authorization = Authorization { chain_id: number("chainId")?, address, nonce };
    let parity = node.require("yParity", PARITY)?;
    let parity = parity.choice(|code| u8::try_from(code).ok().filter(|code| *code <= 1), |_| None, PARITY)?;
    let hash = authorization.signature_hash();
    let chain = match authorization.chain_id.is_zero() {
        true => "every chain".to_owned(),
        false => format!("chain {}", authorization.chain_id),
    };
    let signed = SignedAuthorization::new_unchecked(authorization, parity, number("r")?, number("s")?);
    let bytes = [&signed.r().to_be_bytes::<32>()[..], &signed.s().to_be_bytes::<32>(), &[27 + parity]].concat();
    warnings.push(match signature::recover(hash, &bytes) == Some(account) {
        true => Warning::Authorization { delegate: address, chain, nonce },
        false => Warning::ForeignAuthorization { account },
    });
    Ok(signed)
}

#[cfg(test)]
mod tests;

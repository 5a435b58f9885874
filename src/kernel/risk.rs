//! What can go wrong with a scope, as data: which rule of risks.md, how bad, what it means here, and the way out.
//!
//! Pure: what only a chain or our records know (balances, code, other accounts) is passed in as [`Context`]; what is not
//! known is not guessed.

use alloy::primitives::{Address, Selector, U256, keccak256};
use serde::Serialize;

use super::{
    abi::Function,
    account::selector,
    condition::{ReadBack, read_back},
    generation::{ECDSA_VALIDATOR, ENTRY_POINT, Generation, KERNEL_FACTORY, KernelVersion},
    permission::{ANY_PAYMASTER, ANY_TARGET, Condition, Operation, Permission, Scope},
    sentence,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Low,
    Medium,
    High,
    Critical,
}

/// What a finding does to a grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "kind", content = "phrase")]
pub enum Effect {
    /// Shown.
    Warn,
    /// Not signed unless the owner types this phrase.
    Block(&'static str),
    /// Not signed.
    Refuse,
}

/// One thing that can go wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Id in risks.md.
    pub id: &'static str,
    pub severity: Severity,
    /// Position of the permission it is about, from 0.
    pub permission: Option<usize>,
    pub message: String,
    /// The way out.
    pub advice: String,
    pub effect: Effect,
}

/// Where a scope is to hold.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    pub generation: Generation,
    pub kernel: Option<KernelVersion>,
    pub account: Address,
    pub owner: Option<Address>,
    pub session_key: Address,
    /// Account functions the approval opens.
    pub selectors: &'a [Selector],
    /// Of each permission, where known.
    pub functions: &'a [Option<Function>],
    /// Unix seconds.
    pub now: u64,
    /// Wei on the account and wei deposited for it at the EntryPoint, where a chain was asked.
    pub balance: Option<U256>,
    pub deposit: Option<U256>,
    /// Whether the session key's address has code; a contract cannot sign for a session key.
    pub key_has_code: Option<bool>,
    /// Other accounts on record (as the owner knows them) that the same key may act for.
    pub also_on: &'a [String],
    /// What the native coin is called.
    pub coin: &'a str,
    /// The scope was read from an SDK's blob, whose executionRule names do not mean what the chain reads.
    pub permuted_execution_rule: bool,
}

const DAY: u64 = 24 * 60 * 60;

/// Functions that give whoever may call them on any contract power over accounts, proxies or tokens wholesale.
const PRIVILEGED: [&str; 18] = [
    "enable(bytes)",
    "disable(bytes)",
    "invalidateNonce(uint128)",
    "setDefaultValidator(address,bytes)",
    "setExecution(bytes4,address,address,uint48,uint48,bytes)",
    "upgradeTo(address)",
    "upgradeToAndCall(address,bytes)",
    "disableMode(bytes4)",
    "execute(address,uint256,bytes,uint8)",
    "execute(address,uint256,bytes)",
    "executeBatch((address,uint256,bytes)[])",
    "executeDelegateCall(address,bytes)",
    "transferOwnership(address)",
    "multicall(bytes[])",
    "multicall(uint256,bytes[])",
    "delegate(address)",
    "delegateBySig(address,uint256,uint256,uint8,bytes32,bytes32)",
    "withdrawTo(address,uint256)",
];

/// Functions that move or give away assets, and which argument words say to whom.
const ASSET: [(&str, &[u64]); 10] = [
    ("transfer(address,uint256)", &[0]),
    ("transferFrom(address,address,uint256)", &[32]),
    ("approve(address,uint256)", &[0]),
    ("increaseAllowance(address,uint256)", &[0]),
    ("setApprovalForAll(address,bool)", &[0]),
    ("safeTransferFrom(address,address,uint256)", &[32]),
    ("safeTransferFrom(address,address,uint256,bytes)", &[32]),
    ("safeTransferFrom(address,address,uint256,uint256,bytes)", &[32]),
    ("safeBatchTransferFrom(address,address,uint256[],uint256[],bytes)", &[32]),
    ("permit(address,address,uint256,uint256,uint8,bytes32,bytes32)", &[32]),
];

fn selector_of(signature: &str) -> Selector {
    let [a, b, c, d, ..] = keccak256(signature).0;
    Selector::new([a, b, c, d])
}

/// All findings of the rules that are known so far, worst first, then in the order of the permissions.
pub fn assess(scope: &Scope, context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    whole_key(scope, context, &mut findings);
    gas(scope, context, &mut findings);
    for (i, permission) in scope.permissions.iter().enumerate() {
        let function = context.functions.get(i).and_then(Option::as_ref);
        one_permission(i, permission, function, context, &mut findings);
    }
    findings.sort_by_key(|f| (std::cmp::Reverse(f.severity), f.permission, f.id));
    findings
}

fn whole_key(scope: &Scope, context: &Context<'_>, findings: &mut Vec<Finding>) {
    let mut add = |id, severity, message: String, advice: &str, effect| {
        findings.push(Finding { id, severity, permission: None, message, advice: advice.into(), effect });
    };
    if scope.permissions.is_empty() {
        let long = scope.valid_until == 0 || scope.valid_until.saturating_sub(context.now) > DAY;
        add(
            "R01",
            Severity::Critical,
            "this key may do everything the owner may: move all assets, change the owner".into(),
            if long {
                "list permissions; a key without any may last at most 24 hours"
            } else {
                "list permissions instead"
            },
            if long { Effect::Refuse } else { Effect::Block("this key can do everything") },
        );
    }
    if scope.valid_until == 0 {
        add(
            "R13",
            Severity::High,
            "the key never expires".into(),
            "give it an end, for example valid_until = \"7d\"",
            Effect::Warn,
        );
    } else if scope.valid_until.saturating_sub(context.now) > 30 * DAY {
        let left = sentence::rough_duration(scope.valid_until.saturating_sub(context.now));
        add(
            "R13",
            Severity::High,
            format!("the key lasts for {left}, more than 30 days"),
            "give it an earlier end",
            Effect::Warn,
        );
    }
    if context.owner == Some(context.session_key) {
        add(
            "R27",
            Severity::Medium,
            "the session key is the owner's own key".into(),
            "use a fresh key",
            Effect::Refuse,
        );
    }
    if context.session_key.is_zero() {
        add(
            "R27",
            Severity::Medium,
            "the session key is the zero address, which nobody can sign for".into(),
            "use a fresh key",
            Effect::Refuse,
        );
    }
    if context.key_has_code == Some(true) {
        add(
            "R27",
            Severity::Medium,
            "the session key's address has code: a contract cannot sign as a session key".into(),
            "use the address of a plain key",
            Effect::Refuse,
        );
    }
    if !context.also_on.is_empty() {
        add(
            "R27",
            Severity::Medium,
            format!("the same key may act for {} too: losing it loses both", context.also_on.join(", ")),
            "use one key for one account",
            Effect::Warn,
        );
    }
    let opens_delegate = context.selectors.contains(&selector::EXECUTE_DELEGATE_CALL);
    if opens_delegate && !context.generation.knows_operation() {
        add(
            "R30",
            Severity::Medium,
            format!("validator {} does not know executeDelegateCall: every use would be refused", context.generation),
            "leave executeDelegateCall out, or grant on G2",
            Effect::Refuse,
        );
    }
    match context.kernel {
        Some(kernel) if !kernel.is_safe_for_session_keys() => add(
            "R30",
            Severity::Critical,
            format!("on Kernel {kernel} any session key can delegatecall, and so take the account over"),
            "upgrade the account to Kernel 0.2.4 first",
            Effect::Refuse,
        ),
        Some(kernel) if opens_delegate && !kernel.has_delegate_call() => add(
            "R30",
            Severity::Medium,
            format!("on Kernel {kernel} executeDelegateCall is mined with success and does nothing"),
            "leave executeDelegateCall out, or upgrade the account to Kernel 0.2.3 or later",
            Effect::Refuse,
        ),
        _ => {}
    }
    if context.permuted_execution_rule {
        add(
            "R32",
            Severity::High,
            "the SDK that wrote this approval puts the run limits in another order than the contract reads: what is shown \
             here is what the chain enforces, not what the SDK's user typed"
                .into(),
            "check start, interval and runs of each permission; grant anew if they are not what was meant",
            Effect::Warn,
        );
    }
}

fn gas(scope: &Scope, context: &Context<'_>, findings: &mut Vec<Finding>) {
    if scope.paymaster != Address::ZERO && scope.paymaster != ANY_PAYMASTER {
        return;
    }
    let at_risk = match (context.balance, context.deposit) {
        (Some(balance), deposit) => {
            format!("now {}", sentence::amount(balance.saturating_add(deposit.unwrap_or_default()), context.coin))
        }
        _ => "how much is not known without a chain".into(),
    };
    let advice = "name one trusted paymaster, or keep little on the account";
    let (id, message) = if scope.paymaster == ANY_PAYMASTER {
        (
            "R06",
            format!(
                "\"any sponsor\" protects nothing: no deployed validator enforces it (20 zero bytes pass), so the holder can \
                 spend all {} of the account as gas, whatever the value limit says ({at_risk})",
                context.coin
            ),
        )
    } else {
        (
            "R05",
            format!(
                "whoever holds this key can spend all {} of the account as gas, whatever the value limit says ({at_risk})",
                context.coin
            ),
        )
    };
    findings.push(Finding {
        id,
        severity: Severity::Critical,
        permission: None,
        message,
        advice: advice.into(),
        effect: Effect::Warn,
    });
}

fn one_permission(
    position: usize,
    permission: &Permission,
    function: Option<&Function>,
    context: &Context<'_>,
    findings: &mut Vec<Finding>,
) {
    let mut add = |id, severity, message: String, advice: &str, effect| {
        findings.push(Finding { id, severity, permission: Some(position), message, advice: advice.into(), effect });
    };
    let any_target = permission.target == ANY_TARGET && context.generation.has_any_target();
    if let Some(what) = privileged_target(permission.target, context).filter(|_| !any_target) {
        add(
            "R02",
            Severity::Critical,
            format!("the target is {what}: a key that may call it can take the account over"),
            "leave this contract out",
            Effect::Block("this key can take over the account"),
        );
    }
    if any_target {
        let name = function.map_or_else(String::new, |f| f.name().to_lowercase());
        let by_name = ["execute", "delegate", "multicall", "upgradeto"].iter().any(|p| name.starts_with(p));
        if by_name || PRIVILEGED.iter().any(|s| selector_of(s) == permission.sig) {
            add(
                "R03",
                Severity::Critical,
                "this function on any contract includes the account, its validators and everything it administers"
                    .into(),
                "name the contract",
                Effect::Block("any contract includes my own account"),
            );
        }
        let pinned = |offset: u64| {
            permission.rules.iter().any(|r| r.condition == Condition::Eq && r.offset == U256::from(offset))
        };
        if let Some((signature, words)) = ASSET.iter().find(|(s, _)| selector_of(s) == permission.sig)
            && !words.iter().all(|w| pinned(*w))
        {
            add(
                "R04",
                Severity::High,
                format!("{signature} on any contract reaches every token the account holds, and the recipient is free"),
                "name the token, or pin the recipient or spender with eq",
                Effect::Block("every token this account holds"),
            );
        }
    }
    if permission.target == ANY_TARGET && !context.generation.has_any_target() {
        add(
            "R30",
            Severity::Medium,
            "on validator G1 target 0x0 is the zero address itself, not \"any contract\"".into(),
            "name the contract, or grant on G2",
            Effect::Refuse,
        );
    }
    if permission.operation == Operation::DelegateCall && !context.generation.knows_operation() {
        add(
            "R30",
            Severity::Medium,
            format!(
                "validator {} does not know delegatecall: the chain would hold this permission as one for ordinary calls",
                context.generation
            ),
            "use an ordinary call, or grant on G2",
            Effect::Refuse,
        );
    }
    if permission.operation == Operation::DelegateCall {
        add(
            "R12",
            Severity::Critical,
            "a delegatecall runs the target's code as the account itself: it can replace the owner".into(),
            "use an ordinary call",
            Effect::Block("delegatecall can replace the owner"),
        );
    }
    for rule in read_back(function, &permission.rules) {
        if let Some(problem) = unsound(&rule) {
            add(
                "R15",
                Severity::Medium,
                format!("a condition does not mean what it seems to say: {problem}"),
                "state it anew by argument name, or use a word condition that you have checked",
                Effect::Warn,
            );
        }
    }
}

fn unsound(rule: &ReadBack) -> Option<String> {
    match rule {
        ReadBack::Word { reason, .. } if reason.is_unsound() => Some(reason.to_string()),
        _ => None,
    }
}

fn privileged_target(target: Address, context: &Context<'_>) -> Option<String> {
    Some(match target {
        t if t == context.account => "the account itself".into(),
        ENTRY_POINT => "the EntryPoint".into(),
        ECDSA_VALIDATOR => "the validator that holds the account's owner".into(),
        KERNEL_FACTORY => "the account factory".into(),
        t => match (Generation::from_address(t), KernelVersion::from_implementation(t)) {
            (Some(generation), _) => format!("the session key validator {generation}"),
            (_, Some(version)) => format!("the implementation of Kernel {version}"),
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests;

//! What could go wrong with an approval, told from what was signed alone (docs/risks.md#approvals-of-kernel-v3).

use std::collections::BTreeMap;

use alloy::primitives::Address;

use super::{
    account::{CallType, selector},
    approval::{ApprovalRequest, SelectorData},
    contracts::{
        ECDSA_SIGNER, ECDSA_VALIDATOR, ECDSA_VALIDATOR_3_0, GAS_POLICY, KernelVersion, META_FACTORY,
        MULTI_CHAIN_ECDSA_VALIDATOR, RATE_LIMIT_POLICY, SIGNATURE_CALLER_POLICY, SUDO_POLICY, TIMESTAMP_POLICY,
        unsupported_name,
    },
    permission_config::{PermissionConfig, Signer},
    policy::{
        Policy,
        call::{ANY_TARGET, CallPolicyVersion, Entry},
    },
    sentence::{limits_calls, opens},
};
use crate::{
    erc4337::v07::ENTRY_POINT,
    policy::{
        risk::{Effect, Finding, Severity},
        sentence::time,
    },
};

/// What was signed, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub account: Address,
    pub config: &'a PermissionConfig,
    /// Missing where nobody's signature was found to fit.
    pub request: Option<&'a ApprovalRequest>,
    /// What the approval opens and installs.
    pub selector_data: &'a SelectorData,
    /// Unix seconds.
    pub now: u64,
}

/// All findings, worst first, then by permission.
pub fn findings(subject: &Subject<'_>) -> Vec<Finding> {
    let Subject { config, .. } = subject;
    let mut found = Vec::new();
    unlimited(config, &mut found);
    privileged(subject, &mut found);
    can_sign(config, &mut found);
    switched_off(config, &mut found);
    payers(config, &mut found);
    rates(config, subject.now, &mut found);
    windows(config, &mut found);
    faults(config, &mut found);
    not_known(config, &mut found);
    about_request(subject, &mut found);
    found.sort_by(|a, b| b.severity.cmp(&a.severity).then(a.permission.cmp(&b.permission)));
    found
}

fn finding(id: &'static str, severity: Severity, message: impl Into<String>, advice: &str) -> Finding {
    let (message, advice) = (message.into(), advice.to_owned());
    Finding { id, severity, permission: None, message, advice, effect: Effect::Warn }
}

/// Every entry of every call policy that is asked, with its place among them all.
fn entries(config: &PermissionConfig) -> impl Iterator<Item = (usize, CallPolicyVersion, &Entry)> {
    let of_calls = config.policies.iter().filter_map(|policy| match policy {
        Policy::Call { call, .. } => Some(call),
        _ => None,
    });
    let all = of_calls.flat_map(|call| call.entries().iter().map(move |entry| (call.version(), entry)));
    all.enumerate().map(|(at, (version, entry))| (at, version, entry))
}

fn unlimited(config: &PermissionConfig, found: &mut Vec<Finding>) {
    if !config.flag.refuses_operations() && !config.policies.iter().any(limits_calls) {
        found.push(finding(
            "V01",
            Severity::Critical,
            "no policy limits its calls: the key can do everything that the owner can, also become the owner",
            "ask for an approval with a call policy",
        ));
    }
}

/// V02, V05: entries that reach what every account of this kind is made of, or run foreign code as the account.
fn privileged(subject: &Subject<'_>, found: &mut Vec<Finding>) {
    for (at, version, entry) in entries(subject.config) {
        if let Some(what) = part_of_the_account(subject, version, entry) {
            found.push(Finding {
                permission: Some(at),
                ..finding(
                    "V02",
                    Severity::Critical,
                    format!("it reaches {what}: it can change who decides over the account, or what limits its keys"),
                    "ask for an approval without that call",
                )
            });
        }
        if entry.call_type == CallType::DelegateCall {
            let misread =
                if version.reads_delegate_calls() { "" } else { "; call policy 0.0.1 and 0.0.2 misread it besides" };
            found.push(Finding {
                permission: Some(at),
                ..finding(
                    "V05",
                    Severity::Critical,
                    format!(
                        "a delegatecall runs the target's code as the account itself: it can replace the owner{misread}"
                    ),
                    "ask for an ordinary call",
                )
            });
        }
    }
}

fn part_of_the_account(subject: &Subject<'_>, version: CallPolicyVersion, entry: &Entry) -> Option<String> {
    let target = entry.target;
    if target == ANY_TARGET && version.has_any_target() {
        let own = selector::name(entry.selector).map(|name| format!("{name} of any account and module"));
        let of_module = || is_of_a_module(entry).then(|| "every validator, signer and policy contract".to_owned());
        return own.or_else(of_module).or_else(|| is_of_the_entry_point(entry).then(|| "the EntryPoint".to_owned()));
    }
    let named = [
        (subject.account, "the account itself"),
        (ENTRY_POINT, "the EntryPoint"),
        (META_FACTORY, "the account factory"),
        (ECDSA_VALIDATOR, "the validator that holds the account's owner"),
        (ECDSA_VALIDATOR_3_0, "the validator that holds the account's owner"),
        (MULTI_CHAIN_ECDSA_VALIDATOR, "the validator that holds the owner of some accounts"),
        (ECDSA_SIGNER, "the contract that holds its session keys"),
        (GAS_POLICY, "the gas policy"),
        (SUDO_POLICY, "the sudo policy"),
        (TIMESTAMP_POLICY, "the timestamp policy"),
        (RATE_LIMIT_POLICY, "the rate limit policy"),
        (SIGNATURE_CALLER_POLICY, "the signature caller policy"),
    ];
    let of_table = named.into_iter().find(|(address, _)| *address == target).map(|(_, what)| what.to_owned());
    let call_policy = || CallPolicyVersion::from_address(target).map(|v| format!("call policy {v}"));
    let kernel = || {
        let of = |v: &KernelVersion| v.implementation() == target || v.factory() == target;
        KernelVersion::ALL.iter().find(|v| of(v)).map(|v| format!("Kernel {v}"))
    };
    let known = || unsupported_name(target).map(str::to_owned);
    // Its own policies and signer, known or not: whoever may call them may switch them off.
    let own = || {
        let of_config = subject.config.policies.iter().map(Policy::address).chain([subject.config.signer.address()]);
        of_config.into_iter().any(|own| own == target).then(|| "one of its own policies, or its signer".to_owned())
    };
    of_table.or_else(call_policy).or_else(kernel).or_else(known).or_else(own)
}

/// `onInstall(bytes)` and `onUninstall(bytes)`, which every module takes from whoever calls it, for the caller.
fn is_of_a_module(entry: &Entry) -> bool {
    const ON_INSTALL: [u8; 4] = [0x6d, 0x61, 0xfe, 0x70];
    const ON_UNINSTALL: [u8; 4] = [0x8a, 0x91, 0xb0, 0xe3];
    [ON_INSTALL, ON_UNINSTALL].contains(&entry.selector.0)
}

/// What takes the account's deposit or stake out: `withdrawTo`, `withdrawStake`, `unlockStake`.
fn is_of_the_entry_point(entry: &Entry) -> bool {
    [[0x20, 0x5c, 0x28, 0x78], [0xc2, 0x3a, 0x5c, 0xea], [0xbb, 0x9f, 0xe6, 0xbf]].contains(&entry.selector.0)
}

fn can_sign(config: &PermissionConfig, found: &mut Vec<Finding>) {
    let callers = config.policies.iter().find_map(|policy| match policy {
        Policy::SignatureCaller { flag, callers } if !flag.skips_signatures() => Some(callers.allowed.len()),
        _ => None,
    });
    match callers {
        _ if config.flag.refuses_signatures() => {}
        Some(0) => {}
        Some(_) => found.push(finding(
            "V22",
            Severity::Medium,
            "the key signs messages for the account (ERC-1271) that named contracts ask for: a permit of a token moves it without an operation",
            "ask for an approval that signs nothing, unless the named contracts are meant",
        )),
        None => found.push(finding(
            "V03",
            Severity::High,
            "the key signs any message for the account (ERC-1271): token permits and Permit2 orders need no operation, and no call, gas, \
             rate or time policy binds them; on Kernel 3.0-3.2 it signs even after the account's nonces are invalidated",
            "ask for an approval with a signature caller policy of nobody, or with permission flag 0x0002",
        )),
    }
}

fn switched_off(config: &PermissionConfig, found: &mut Vec<Finding>) {
    for policy in &config.policies {
        let flag = policy.flag();
        if flag.skips_operations() || flag.skips_signatures() {
            let what = match (flag.skips_operations(), flag.skips_signatures()) {
                (true, true) => "operations and signatures",
                (true, false) => "operations",
                _ => "signatures",
            };
            found.push(finding(
                "V04",
                Severity::High,
                format!(
                    "the flag of the policy {} switches it off for {what}: what it says limits nothing there",
                    policy.address()
                ),
                "ask for an approval whose policies carry no flag",
            ));
        }
    }
}

/// V06, V07.
fn payers(config: &PermissionConfig, found: &mut Vec<Finding>) {
    let asked = config.policies.iter().filter(|policy| !policy.flag().skips_operations());
    let gas: Vec<_> = asked
        .filter_map(|policy| match policy {
            Policy::Gas { gas, .. } => Some(gas),
            _ => None,
        })
        .collect();
    if config.flag.refuses_operations() {
        return;
    }
    if !gas.iter().any(|gas| gas.allowed < u128::MAX || gas.required_paymaster().is_some()) {
        found.push(finding(
            "V06",
            Severity::High,
            "nothing limits what it spends on gas: operations that do nothing can use up the account's coins",
            "ask for an approval with a gas budget, or with a paymaster that is enforced",
        ));
    }
    for gas in gas {
        let nothing = match (gas.allowed, gas.enforce_paymaster, gas.allowed_paymaster.is_zero()) {
            (0, ..) => "its gas budget is 0: no operation that costs anything passes, and one that offers no fee does",
            (_, true, true) => "its gas policy enforces a paymaster and names none, which enforces nothing",
            (_, false, false) => "its gas policy names a paymaster and does not enforce it",
            _ => continue,
        };
        found.push(finding("V07", Severity::Medium, nothing, "ask for an approval with the gas policy that was meant"));
    }
}

fn rates(config: &PermissionConfig, now: u64, found: &mut Vec<Finding>) {
    for policy in &config.policies {
        let Policy::RateLimit { limit, .. } = policy else { continue };
        if limit.count <= 1 || limit.interval == 0 || limit.start_at >= now {
            continue;
        }
        let slots = ((now - limit.start_at) / limit.interval).saturating_add(1).min(limit.count);
        if slots > 1 {
            found.push(finding(
                "V08",
                Severity::Medium,
                format!("its rate limit started in the past: up to {slots} operations can be made at once"),
                "ask for an approval whose rate limit starts when it is made",
            ));
        }
    }
}

fn windows(config: &PermissionConfig, found: &mut Vec<Finding>) {
    let ends = config.policies.iter().filter_map(|policy| match policy {
        Policy::Timestamp { flag, window } if !flag.skips_operations() && window.valid_until != 0 => {
            Some(window.valid_until)
        }
        _ => None,
    });
    match ends.min() {
        None => found.push(finding(
            "V09",
            Severity::High,
            "it never expires: no timestamp policy names an end",
            "ask for an approval that ends",
        )),
        Some(until) if !config.flag.refuses_signatures() && signs_anything(config) => found.push(finding(
            "V09",
            Severity::High,
            format!(
                "its operations end at {}, and its signatures do not: a timestamp policy is not asked about them",
                time(until)
            ),
            "ask for an approval that signs nothing",
        )),
        Some(_) => {}
    }
}

fn signs_anything(config: &PermissionConfig) -> bool {
    !config.policies.iter().any(|policy| {
        matches!(policy, Policy::SignatureCaller { flag, callers } if !flag.skips_signatures() && callers.allowed.is_empty())
    })
}

fn faults(config: &PermissionConfig, found: &mut Vec<Finding>) {
    for fault in config.install_faults() {
        found.push(finding(
            "V10",
            Severity::Medium,
            format!("it can never be enabled: {fault}"),
            "ask for an approval without that",
        ));
    }
}

/// V11, V12.
fn not_known(config: &PermissionConfig, found: &mut Vec<Finding>) {
    let mut by_address: BTreeMap<Address, Option<&'static str>> = BTreeMap::new();
    for policy in &config.policies {
        match policy {
            Policy::Unknown { address, .. } => {
                by_address.insert(*address, policy.unsupported_name());
            }
            Policy::Call { call, .. } if call.version() < CallPolicyVersion::V0_0_3 => found.push(finding(
                "V12",
                Severity::High,
                format!(
                    "call policy {} has known faults: delegatecalls are misread, and 0.0.1 knows no transfers",
                    call.version()
                ),
                "ask for an approval with call policy 0.0.4",
            )),
            _ => {}
        }
    }
    if let Signer::Unknown { address, .. } = &config.signer {
        by_address.insert(*address, config.signer.unsupported_name());
    }
    for (address, name) in by_address {
        let name = name.map_or_else(String::new, |name| format!(" ({name})"));
        found.push(finding(
            "V11",
            Severity::High,
            format!("{address}{name} is not understood here: what it allows is not known, and it may be impossible to uninstall"),
            "do not rely on it as a limit",
        ));
    }
}

/// V15, V16, V19: what the approval does beside its scope.
fn about_request(subject: &Subject<'_>, found: &mut Vec<Finding>) {
    if let Some(what) = opens(subject.selector_data) {
        found.push(finding("V15", Severity::Critical, what, "do not use it: ask for an approval for execute alone"));
    }
    let Some(request) = subject.request else { return };
    if !request.hook.is_zero() {
        let never = if subject.config.policies.iter().any(|p| matches!(p, Policy::Call { .. })) {
            "; with a call policy no operation of it ever passes"
        } else {
            ""
        };
        found.push(finding(
            "V16",
            Severity::Medium,
            format!(
                "the hook {} is called around each of its operations, and the SDK's reader loses it{never}",
                request.hook
            ),
            "ask for an approval without a hook",
        ));
    }
    if request.chain_id.is_none() {
        found.push(finding(
            "V19",
            Severity::Critical,
            "it was signed for every chain at once (chain id 0): on Kernel 3.2 and 3.3 it can be used wherever the account exists, and \
             revoking it on one chain ends it there alone",
            "ask for an approval for one chain",
        ));
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Bytes, Selector, U256, keccak256};

    use super::*;
    use crate::protocol::kernel_v3::{
        approval::Module,
        nonce::PermissionId,
        permission_config::PermissionFlag,
        policy::{
            PolicyFlag, call::CallPolicy, gas::GasPolicy, rate_limit::RateLimit, signature_caller::SignatureCallers,
            timestamp::Timestamp,
        },
    };

    const NOW: u64 = 1_800_000_000;
    const ACCOUNT: Address = Address::repeat_byte(0xac);
    const TOKEN: Address = Address::repeat_byte(0x70);
    const PLAIN: PolicyFlag = PolicyFlag([0, 0]);

    fn selector_of(signature: &str) -> Selector {
        Selector::from_slice(&keccak256(signature)[..4])
    }

    fn entry(target: Address, signature: &str) -> Entry {
        let selector = selector_of(signature);
        Entry { call_type: CallType::Call, target, selector, value_limit: U256::ZERO, rules: Vec::new() }
    }

    fn call(version: CallPolicyVersion, entries: Vec<Entry>) -> Policy {
        Policy::Call { flag: PLAIN, call: CallPolicy::new(version, entries).unwrap() }
    }

    fn calls(entries: Vec<Entry>) -> Policy {
        call(CallPolicyVersion::V0_0_4, entries)
    }

    fn gas(allowed: u128, enforce_paymaster: bool, allowed_paymaster: Address) -> Policy {
        Policy::Gas { flag: PLAIN, gas: GasPolicy { allowed, enforce_paymaster, allowed_paymaster } }
    }

    fn until(valid_until: u64) -> Policy {
        Policy::Timestamp { flag: PLAIN, window: Timestamp { valid_after: 0, valid_until } }
    }

    fn callers(allowed: Vec<Address>) -> Policy {
        Policy::SignatureCaller { flag: PLAIN, callers: SignatureCallers { allowed } }
    }

    /// One call, a budget, an end, and no signatures: nothing to be said.
    fn harmless() -> PermissionConfig {
        PermissionConfig {
            flag: PermissionFlag([0, 0]),
            signer: Signer::Ecdsa(Address::repeat_byte(0x5e)),
            policies: vec![
                calls(vec![entry(TOKEN, "mint(address)")]),
                gas(1_000_000, false, Address::ZERO),
                until(NOW + 3_600),
                callers(Vec::new()),
            ],
        }
    }

    fn with(change: impl FnOnce(&mut PermissionConfig)) -> PermissionConfig {
        let mut config = harmless();
        change(&mut config);
        config
    }

    fn ids_of(
        config: &PermissionConfig,
        request: Option<&ApprovalRequest>,
        selector_data: &SelectorData,
    ) -> Vec<&'static str> {
        let subject = Subject { account: ACCOUNT, config, request, selector_data, now: NOW };
        let mut ids: Vec<_> = findings(&subject).iter().map(|finding| finding.id).collect();
        ids.dedup();
        ids
    }

    fn ids(config: &PermissionConfig) -> Vec<&'static str> {
        ids_of(config, None, &SelectorData::Plain)
    }

    #[test]
    fn nothing_is_said_of_a_key_of_one_call_with_a_budget_an_end_and_no_signatures() {
        assert_eq!(ids(&harmless()), [""; 0]);
    }

    #[test]
    fn each_rule_is_told_by_what_it_is_about_and_by_nothing_else() {
        let calling = |entries: Vec<Entry>| with(|c| c.policies[0] = calls(entries));
        let delegate = Entry { call_type: CallType::DelegateCall, ..entry(TOKEN, "mint(address)") };
        let off = PolicyFlag([0, 1]);
        let cases: Vec<(&str, PermissionConfig)> = vec![
            ("V01", with(|c| drop(c.policies.remove(0)))),
            ("V01", with(|c| c.policies[0] = Policy::Sudo { flag: PLAIN })),
            ("V02", calling(vec![entry(ACCOUNT, "mint(address)")])),
            ("V02", calling(vec![entry(ENTRY_POINT, "mint(address)")])),
            ("V02", calling(vec![entry(MULTI_CHAIN_ECDSA_VALIDATOR, "mint(address)")])),
            ("V02", calling(vec![entry(CallPolicyVersion::V0_0_4.address(), "mint(address)")])),
            ("V02", calling(vec![entry(KernelVersion::V3_1.implementation(), "mint(address)")])),
            ("V02", calling(vec![entry(ANY_TARGET, "invalidateNonce(uint32)")])),
            ("V02", calling(vec![entry(ANY_TARGET, "onInstall(bytes)")])),
            ("V02", calling(vec![entry(ANY_TARGET, "onUninstall(bytes)")])),
            ("V02", calling(vec![entry(ANY_TARGET, "withdrawTo(address,uint256)")])),
            ("V02", calling(vec![entry(ANY_TARGET, "withdrawStake(address)")])),
            ("V02", calling(vec![entry(ANY_TARGET, "unlockStake()")])),
            ("V05", calling(vec![delegate])),
            ("V03", with(|c| drop(c.policies.pop()))),
            ("V22", with(|c| c.policies[3] = callers(vec![TOKEN]))),
            ("V06", with(|c| drop(c.policies.remove(1)))),
            ("V06", with(|c| c.policies[1] = gas(u128::MAX, false, Address::ZERO))),
            ("V07", with(|c| c.policies[1] = gas(0, false, Address::ZERO))),
            ("V07", with(|c| c.policies[1] = gas(5, true, Address::ZERO))),
            ("V07", with(|c| c.policies[1] = gas(5, false, TOKEN))),
            (
                "V08",
                with(|c| {
                    let limit = RateLimit { interval: 60, count: 3, start_at: 0 };
                    c.policies.push(Policy::RateLimit { flag: PLAIN, limit });
                }),
            ),
            ("V09", with(|c| drop(c.policies.remove(2)))),
            ("V10", calling(vec![entry(TOKEN, "mint(address)"), entry(TOKEN, "mint(address)")])),
            ("V11", with(|c| c.policies.push(Policy::Unknown { flag: PLAIN, address: TOKEN, data: Bytes::new() }))),
            ("V12", with(|c| c.policies[0] = call(CallPolicyVersion::V0_0_2, vec![entry(TOKEN, "mint(address)")]))),
        ];
        for (id, config) in cases {
            // A policy that is not known stands at the token here, which the key may call.
            let also: &[&str] = if id == "V11" { &["V02"] } else { &[] };
            // Without an off switch for signatures, they outlive the window.
            let also = if id == "V03" || id == "V22" { &["V09"] } else { also };
            let told: Vec<_> = ids(&config).into_iter().filter(|told| !also.contains(told)).collect();
            assert_eq!(told, [id], "{config:?}");
        }
        let switched_off = with(|c| {
            if let Policy::Timestamp { flag, .. } = &mut c.policies[2] {
                *flag = off;
            }
        });
        assert_eq!(ids(&switched_off), ["V04", "V09"]);
    }

    #[test]
    fn a_paymaster_that_is_enforced_limits_what_gas_costs() {
        assert_eq!(ids(&with(|c| c.policies[1] = gas(u128::MAX, true, TOKEN))), [""; 0]);
    }

    #[test]
    fn a_flag_that_refuses_signatures_is_as_good_as_a_policy_of_nobody() {
        let config = with(|c| {
            c.policies.pop();
            c.flag = PermissionFlag([0, 2]);
        });
        assert_eq!(ids(&config), [""; 0]);
    }

    #[test]
    fn what_an_approval_does_beside_its_scope_is_told() {
        let request = |chain_id, hook| ApprovalRequest {
            chain_id,
            account: ACCOUNT,
            kernel: KernelVersion::V3_3,
            validation_id: PermissionId([1, 2, 3, 4].into()).validation_id(),
            nonce: 1,
            hook,
            enable_data: Bytes::new(),
            hook_data: Bytes::new(),
            selector_data: SelectorData::plain(),
        };
        let config = harmless();
        let told = |request: &ApprovalRequest| ids_of(&config, Some(request), &SelectorData::Plain);
        assert_eq!(told(&request(Some(1), Address::ZERO)), [""; 0]);
        assert_eq!(told(&request(None, Address::ZERO)), ["V19"]);
        assert_eq!(told(&request(Some(1), TOKEN)), ["V16"]);
        let module = Module {
            selector: selector_of("mint(address)"),
            target: TOKEN,
            hook: Address::ZERO,
            call_type: CallType::DelegateCall,
            init_data: Bytes::new(),
            hook_data: Bytes::new(),
        };
        for beside in [SelectorData::Opens(selector_of("upgradeTo(address)")), SelectorData::Installs(module)] {
            assert_eq!(ids_of(&config, None, &beside), ["V15"], "{beside:?}");
        }
    }
}

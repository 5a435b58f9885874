//! Where the chain and what is on record disagree. It is told and nothing is overwritten: which of the two is right is for the
//! owner to say.

use std::collections::BTreeSet;

use alloy::primitives::Address;

use super::{
    account::AccountSeed,
    approval::ApprovalRequest,
    generation::{Generation, KernelVersion},
    revocation::SESSION_MODES,
    snapshot::Snapshot,
};
use crate::protocol::status::{Difference, PAUSED};

/// Most turns that are compared one by one.
const MAX_TURNS: u128 = 10_000;

/// What is on record of an account.
pub struct OnRecord<'a> {
    pub name: &'a str,
    pub owner: Address,
    pub seed: Option<AccountSeed>,
    pub kernel: KernelVersion,
    pub approvals: &'a [&'a ApprovalRequest],
    /// Whether its history was read: then what used a nonce was looked for.
    pub scanned: bool,
}

/// What the chain says that our records do not, or the other way round.
pub fn differences(on_record: &OnRecord<'_>, picture: &Snapshot) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut say = |code, message: String| found.push(Difference { id: None, code, message });
    if let Some(owner) = picture.owner.filter(|owner| picture.deployed && *owner != on_record.owner) {
        say(
            "owner_changed",
            format!(
                "the owner is {owner} on chain and {} on record: approvals of the latter do not count now",
                on_record.owner
            ),
        );
    }
    if let Some(seed) = on_record.seed.filter(|seed| !picture.deployed && seed.owner != on_record.owner) {
        say(
            "account_damaged",
            format!(
                "the record of the account is damaged: it names the owner {}, and the account will be deployed with {}",
                on_record.owner, seed.owner
            ),
        );
    }
    match picture.kernel {
        Some(kernel) if kernel != on_record.kernel => say(
            "kernel_changed",
            format!(
                "it runs Kernel {kernel}, and {} is on record: approvals for the latter do not count now",
                on_record.kernel
            ),
        ),
        None => say(
            "kernel_unknown",
            format!(
                "it runs {}, which is no Kernel version that is known here",
                picture.implementation.unwrap_or_default()
            ),
        ),
        Some(_) => {}
    }
    match picture.disabled_mode & SESSION_MODES {
        0 => {}
        SESSION_MODES => say(PAUSED, "the account is paused: no session key can act until it is unpaused".into()),
        0b01 => say(
            "half_paused",
            "enabled keys are stopped, but approvals that were never used can still be enabled".into(),
        ),
        _ => say("half_paused", "approvals cannot be enabled, but enabled keys can still act".into()),
    }
    for ((generation, key), held) in &picture.sessions {
        let nonces = picture.nonces(*generation);
        if held.nonce <= nonces.invalid {
            continue;
        }
        if !on_record.approvals.iter().any(|a| a.validator == *generation && a.enable == *held) {
            say(
                "foreign_scope",
                format!("the chain holds a scope for {key} (nonce {}) that is not on record", held.nonce),
            );
        }
        if held.nonce > nonces.last {
            say(
                "rewound",
                format!(
                    "another tool set the nonces back to {}: nonce {} and others can be used again; \
                     revoking all ends that",
                    nonces.last, held.nonce
                ),
            );
        }
    }
    if !on_record.scanned {
        for generation in Generation::ALL {
            let turns = unexplained_nonces(generation, on_record.approvals, picture);
            if !turns.is_empty() {
                say(
                    "unknown_turns",
                    format!(
                        "{} used by something that is not on record; `keyleash key scan {}` looks for it",
                        in_words(&turns),
                        on_record.name
                    ),
                );
            }
        }
    }
    found
}

/// Turns that were used, were not invalidated, and belong to no approval on record.
fn unexplained_nonces(generation: Generation, approvals: &[&ApprovalRequest], picture: &Snapshot) -> Vec<u128> {
    let nonces = picture.nonces(generation);
    let ours: BTreeSet<u128> = approvals.iter().filter(|a| a.validator == generation).map(|a| a.enable.nonce).collect();
    let first = nonces.invalid.saturating_add(1).max(nonces.last.saturating_sub(MAX_TURNS));
    (first..=nonces.last).filter(|turn| !ours.contains(turn)).collect()
}

/// What used nonces that no approval on record has, in words; `None` where nothing did.
pub fn unexplained(approvals: &[&ApprovalRequest], picture: &Snapshot) -> Option<String> {
    const SHOWN: usize = 8;
    let nonces = Generation::ALL.into_iter().flat_map(|g| unexplained_nonces(g, approvals, picture));
    let nonces: Vec<String> = nonces.take(SHOWN).map(|nonce| nonce.to_string()).collect();
    (!nonces.is_empty()).then(|| nonces.join(", "))
}

fn in_words(turns: &[u128]) -> String {
    const SHOWN: usize = 5;
    let listed: Vec<String> = turns.iter().take(SHOWN).map(u128::to_string).collect();
    match turns.len() {
        1 => format!("nonce {} was", listed.join(", ")),
        n if n <= SHOWN => format!("nonces {} were", listed.join(", ")),
        n => format!("nonces {} and {} more were", listed.join(", "), n - SHOWN),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use alloy::primitives::{Address, B256, FixedBytes, U256};

    use super::*;
    use crate::protocol::kernel_v2::{
        account::selector, approval::EnableData, generation::ECDSA_VALIDATOR, revocation::Nonces,
    };

    const OWNER: Address = Address::repeat_byte(1);
    const KEY: Address = Address::repeat_byte(2);

    fn enable(nonce: u128) -> EnableData {
        EnableData {
            session_key: KEY,
            merkle_root: B256::ZERO,
            valid_after: 0,
            valid_until: 0,
            paymaster: Address::ZERO,
            nonce,
        }
    }

    fn approval(nonce: u128) -> ApprovalRequest {
        ApprovalRequest {
            chain_id: 31_337,
            account: Address::repeat_byte(3),
            kernel: KernelVersion::V0_2_4,
            validator: Generation::G2,
            selector: selector::EXECUTE,
            executor: Address::ZERO,
            plugin_window: FixedBytes::ZERO,
            enable: enable(nonce),
        }
    }

    fn picture(last: u128, invalid: u128) -> Snapshot {
        Snapshot {
            block: 1,
            timestamp: 1,
            deployed: true,
            implementation: None,
            kernel: Some(KernelVersion::V0_2_4),
            owner: Some(OWNER),
            default_validator: Some(ECDSA_VALIDATOR),
            known_proxy: true,
            balance: U256::ZERO,
            deposit: U256::ZERO,
            disabled_mode: 0,
            routes: BTreeMap::new(),
            nonces: BTreeMap::from([(Generation::G2, Nonces { last, invalid })]),
            sessions: BTreeMap::new(),
            statuses: BTreeMap::new(),
        }
    }

    fn told(approvals: &[ApprovalRequest], scanned: bool, picture: &Snapshot) -> Vec<Difference> {
        let approvals: Vec<&ApprovalRequest> = approvals.iter().collect();
        let on_record = OnRecord {
            name: "treasury",
            owner: OWNER,
            seed: None,
            kernel: KernelVersion::V0_2_4,
            approvals: &approvals,
            scanned,
        };
        differences(&on_record, picture)
    }

    fn codes(approvals: &[ApprovalRequest], picture: &Snapshot) -> Vec<&'static str> {
        told(approvals, false, picture).into_iter().map(|d| d.code).collect()
    }

    #[test]
    fn nothing_is_said_where_chain_and_records_agree() {
        let mut picture = picture(2, 0);
        picture.sessions.insert((Generation::G2, KEY), enable(2));
        assert!(codes(&[approval(1), approval(2)], &picture).is_empty());
    }

    #[test]
    fn another_owner_and_another_kernel_are_told() {
        let mut picture = picture(0, 0);
        picture.owner = Some(KEY);
        picture.kernel = Some(KernelVersion::V0_2_2);
        assert_eq!(codes(&[], &picture), ["owner_changed", "kernel_changed"]);
        picture.kernel = None;
        assert_eq!(codes(&[], &picture), ["owner_changed", "kernel_unknown"]);
    }

    #[test]
    fn turns_that_nobody_on_record_used_are_told_until_they_are_scanned_or_invalidated() {
        assert_eq!(codes(&[approval(2)], &picture(3, 0)), ["unknown_turns"]);
        assert!(codes(&[approval(2)], &picture(3, 3)).is_empty());
        assert!(told(&[approval(2)], true, &picture(3, 0)).is_empty());
        let far = told(&[], false, &picture(u128::MAX, 0));
        assert!(far[0].message.contains("more were used"), "{far:?}");
    }

    #[test]
    fn a_scope_that_is_not_on_record_and_a_rewind_are_told() {
        let mut picture = picture(1, 1);
        picture.sessions.insert((Generation::G2, KEY), enable(4));
        assert_eq!(codes(&[], &picture), ["foreign_scope", "rewound"]);
        assert_eq!(codes(&[approval(4)], &picture), ["rewound"]);
        picture.nonces.insert(Generation::G2, Nonces { last: 4, invalid: 4 });
        assert!(codes(&[], &picture).is_empty(), "what is invalidated is of no interest");
    }

    #[test]
    fn a_panic_and_half_of_one_are_told_apart() {
        let mut picture = picture(0, 0);
        for (mode, code) in [(u32::MAX, "paused"), (1, "half_paused"), (2, "half_paused"), (3, "paused")] {
            picture.disabled_mode = mode;
            assert_eq!(codes(&[], &picture), [code]);
        }
        picture.disabled_mode = 4;
        assert!(codes(&[], &picture).is_empty());
    }
}

//! Which keys need attention first, and why in a few words: the severe findings about a key (policy::risk).

use alloy::primitives::Address;

use crate::{
    policy::{
        risk::{Severity, words_of},
        scope::ANY_PAYMASTER,
    },
    wallet::{state::State, usecase::key::KeyView},
};

/// Risks that are named in a line; the rest is counted.
const NAMED: usize = 2;

/// How urgent it is, and the words: `rebalancer` "can spend the account's coins as gas (R05) and never ends (R13)".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attention {
    pub urgent: bool,
    pub words: String,
}

/// What an owner should know about a key that can act, or could be made to.
pub fn attention(key: &KeyView) -> Option<Attention> {
    if !key.alarms.is_empty() {
        return Some(Attention { urgent: true, words: "was revoked and can come back: revoke it again".to_owned() });
    }
    if !key.state.may_act() {
        return None;
    }
    if key.state == State::Damaged {
        return Some(Attention { urgent: true, words: "has a damaged record: treat it as active".to_owned() });
    }
    let mut words = Vec::new();
    if key.discovered {
        words.push("was found on chain, not granted here".to_owned());
    }
    let mut ids: Vec<&str> = Vec::new();
    for finding in key.risks.iter().filter(|f| f.severity >= Severity::High) {
        if !ids.contains(&finding.id) {
            ids.push(finding.id);
        }
    }
    words.extend(ids.iter().take(NAMED).map(|id| named(key, id)));
    if ids.len() > NAMED {
        let more = ids.len() - NAMED;
        words.push(format!("has {more} more {}", if more == 1 { "risk" } else { "risks" }));
    }
    if key.state == State::Expiring {
        words.push("expires in less than a day".to_owned());
    }
    let urgent = key.risks.iter().any(|f| f.severity == Severity::Critical);
    (!words.is_empty()).then(|| Attention { urgent, words: join(&words) })
}

fn named(key: &KeyView, id: &str) -> String {
    let words = match (id, key.valid_until, key.partial_root) {
        ("R13", 0, _) => "never ends",
        ("R01", _, Some(_)) => "may do more than is known",
        _ => words_of(id).unwrap_or("has a risk"),
    };
    format!("{words} ({id})")
}

/// Whether the account can be made to pay for this key's gas.
pub fn pays_gas(key: &KeyView) -> bool {
    key.paymaster == Address::ZERO || key.paymaster == ANY_PAYMASTER
}

fn join(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [only] => only.clone(),
        [head @ .., last] => format!("{} and {last}", head.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{policy::risk::Finding, tui::tests::fixtures, wallet::state::Alarm};

    #[test]
    fn k6_a_revoked_key_that_can_come_back_is_urgent_whatever_else_it_may_do() {
        let mut key = crate::tui::tests::fixtures::keys().remove(0);
        let alarm = Alarm { id: "R37", code: "revoked_can_return", message: "R37".into() };
        key.alarms = vec![alarm];
        let look = attention(&key).unwrap();
        assert!(look.urgent && look.words.contains("was revoked and can come back"), "{look:?}");
    }

    #[test]
    fn a2_a_key_needs_a_look_for_what_its_assessment_found_and_says_the_rules() {
        let keys = fixtures::keys();
        let look = |label: &str| attention(keys.iter().find(|k| k.label == label).unwrap());
        let rebalancer = look("rebalancer").unwrap();
        assert!(rebalancer.urgent);
        assert_eq!(rebalancer.words, "can spend the account's coins as gas (R05) and never ends (R13)");
        let anything = look("anything").unwrap();
        assert!(anything.urgent && anything.words.starts_with("may do everything (R01)"), "{}", anything.words);
        let mut more = keys.iter().find(|k| k.label == "rebalancer").unwrap().clone();
        let grave = more.risks.iter().find(|f| f.severity >= Severity::High).unwrap().clone();
        for (id, words) in [("R02", "has 1 more risk"), ("R03", "has 2 more risks")] {
            more.risks.push(Finding { id, ..grave.clone() });
            assert!(attention(&more).unwrap().words.ends_with(words), "{:?}", attention(&more));
        }
        assert_eq!(look("mint-bot"), None, "what is not grave is said when the key is opened");
        assert_eq!(look("old-agent"), None, "it is revoked");
    }
}

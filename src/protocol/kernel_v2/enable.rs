//! The owner enables what is signed, in the order of the approval nonces.

use alloy::primitives::{Address, Bytes, U256};

use super::{
    account::{enable_key, selector, set_execution},
    approval::ApprovalRequest,
    snapshot::Snapshot,
    status::Queue,
};
use crate::protocol::{Call, Step};

/// An approval that can be enabled, now or once its nonce comes up.
#[derive(Debug, Clone, Copy)]
pub struct Waiting<'a> {
    pub label: &'a str,
    pub request: &'a ApprovalRequest,
    pub signature: Option<&'a Bytes>,
}

/// Why these approvals cannot be enabled together, or now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnableRefusal {
    #[error("{0} and {1} have the same nonce {2}")]
    SameNonce(String, String, u128),
    #[error("{0} and {1} are on different validators")]
    Validators(String, String),
    #[error("{who} has nonce {nonce}, and nonce {next} ({first}) has to be used first")]
    Order { who: String, nonce: u128, next: u128, first: String },
    #[error("{who} has nonce {nonce}, and no approval on record has nonce {next}, which has to be used first")]
    Gap { who: String, nonce: u128, next: u128 },
    #[error("the approval of {0} does not verify")]
    Signature(String),
}

/// The calls that enable these approvals, and what each does.
pub fn plan_enable(
    account: Address,
    owner: Address,
    waiting: &[Waiting<'_>],
    queue: &Queue,
    snapshot: &Snapshot,
) -> Result<(Vec<Call>, Vec<Step>), EnableRefusal> {
    let mut waiting = waiting.to_vec();
    waiting.sort_by_key(|one| one.request.enable.nonce);
    for pair in waiting.windows(2) {
        let [one, two] = pair else { continue };
        if one.request.validator != two.request.validator {
            return Err(EnableRefusal::Validators(one.label.to_owned(), two.label.to_owned()));
        }
        if one.request.enable.nonce == two.request.enable.nonce {
            let nonce = one.request.enable.nonce;
            return Err(EnableRefusal::SameNonce(one.label.to_owned(), two.label.to_owned(), nonce));
        }
    }
    let Some(generation) = waiting.first().map(|first| first.request.validator) else {
        return Ok((Vec::new(), Vec::new()));
    };
    let mut next = snapshot.nonces(generation).last.saturating_add(1);
    let of_validator = snapshot.routes.iter().filter(|(_, route)| route.validator == generation.address());
    let mut routed: Vec<_> = of_validator.map(|(selector, _)| *selector).collect();
    let (mut calls, mut steps) = (Vec::new(), Vec::new());
    for Waiting { label, request, signature } in waiting {
        let nonce = request.enable.nonce;
        let who = || label.to_owned();
        if nonce != next {
            return Err(match queue.label(generation, next) {
                Some(first) => EnableRefusal::Order { who: who(), nonce, next, first: first.to_owned() },
                None => EnableRefusal::Gap { who: who(), nonce, next },
            });
        }
        if !signature.is_some_and(|signature| request.is_signed_by(owner, signature)) {
            return Err(EnableRefusal::Signature(who()));
        }
        let data = request.enable.encode();
        let replaces = match snapshot.sessions.contains_key(&(generation, request.enable.session_key)) {
            true => ", which replaces the scope the key has now",
            false => "",
        };
        let name = selector::name(request.selector).unwrap_or("a function");
        if routed.contains(&request.selector) {
            calls.push(Call { to: generation.address(), value: U256::ZERO, data: enable_key(&data) });
            steps.push(Step {
                call: "SessionKeyValidator.enable".into(),
                effect: format!("enables {label} (nonce {nonce}){replaces}"),
            });
        } else {
            let data = set_execution(request.selector, generation.address(), &data);
            calls.push(Call { to: account, value: U256::ZERO, data });
            routed.push(request.selector);
            let opens = match snapshot.route(request.selector) {
                Some(other) => format!(
                    "sends {name} to validator {generation}, which silences the session keys on {},",
                    other.validator
                ),
                None => format!("opens {name} for session keys"),
            };
            let effect = format!("{opens} and enables {label} (nonce {nonce}){replaces}");
            steps.push(Step { call: "setExecution".into(), effect });
        }
        next = next.saturating_add(1);
    }
    Ok((calls, steps))
}

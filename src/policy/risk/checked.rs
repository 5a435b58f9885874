//! What was looked at, in words: the other half of a review. An empty list of findings says only that these things held.

use serde::Serialize;

use super::{Context, Reading, known::Kind, readings};
use crate::policy::scope::{ANY_PAYMASTER, Scope};

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// `None`: it could not be checked.
    pub holds: Option<bool>,
    pub words: String,
}

/// Everything that was checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    pub checks: Vec<Check>,
    /// Every function is known and no argument of an asset call is free. Nothing may be shown as all right otherwise.
    pub arguments_hold: bool,
}

/// What was checked of a scope. The reasons for what does not hold are in the findings.
pub fn checked(scope: &Scope, context: &Context<'_>) -> Checked {
    let readings = readings(scope, context);
    let mut checks = Vec::new();
    let mut say = |holds, words: &str| checks.push(Check { holds, words: words.to_owned() });
    let everything = context.partial || scope.permissions.is_empty();
    match (context.partial, scope.permissions.is_empty()) {
        (true, _) => say(None, "what it may call is not known as a whole"),
        (false, true) => say(Some(false), "nothing is limited: the key may do everything"),
        (false, false) => {
            let named = readings.iter().all(|r| !r.any_target);
            say(Some(named), if named { "contracts named" } else { "not every contract is named" });
        }
    }
    let mut arguments_hold = !everything;
    if !everything {
        arguments_hold = arguments(&readings, context, &mut say);
    }
    let pinned = !scope.paymaster.is_zero() && scope.paymaster != ANY_PAYMASTER;
    say(Some(pinned), if pinned { "gas pinned to one paymaster" } else { "gas not pinned: the account may pay it" });
    let ends = scope.valid_until != 0;
    say(Some(ends), if ends { "it ends" } else { "it never ends" });
    if !everything {
        let counted = readings.iter().all(|r| r.permission.execution_rule.runs > 0 || r.is(Kind::View));
        say(Some(counted), if counted { "runs limited" } else { "runs not limited" });
        code(&readings, context, &mut say);
    }
    Checked { checks, arguments_hold }
}

/// Answers whether every argument that decides over assets is limited.
fn arguments(readings: &[Reading<'_>], context: &Context<'_>, say: &mut impl FnMut(Option<bool>, &str)) -> bool {
    let assets: Vec<_> =
        readings.iter().filter(|r| r.is_asset_call()).map(|r| r.free_arguments(context.account)).collect();
    let carried = readings.iter().any(|r| r.free_arguments(context.account).carried.is_some());
    let mut holds = !carried;
    if assets.is_empty() {
        say(None, "no function that is known to move assets");
    } else {
        let recipients = assets.iter().all(|free| free.recipients.is_empty());
        say(Some(recipients), if recipients { "recipients pinned" } else { "recipients not pinned" });
        let from = assets.iter().all(|free| !free.from);
        if !from {
            say(Some(false), "whose assets are moved is not pinned");
        }
        let amounts = assets.iter().all(|free| !free.amount);
        say(Some(amounts), if amounts { "amounts limited" } else { "amounts not limited" });
        holds &= recipients && from && amounts;
    }
    if carried {
        say(Some(false), "calls inside arguments are not limited");
    }
    let unknown = readings.iter().filter(|r| r.function.is_none() && !r.permission.sig.is_zero()).count();
    if unknown > 0 {
        say(None, &format!("{unknown} function(s) known only by four bytes: their arguments were not judged"));
    }
    let named_only = readings.iter().filter(|r| r.known.is_none() && r.function.is_some()).count();
    if named_only > 0 {
        say(None, &format!("{named_only} function(s) judged by name and argument names only"));
    }
    holds && unknown == 0
}

fn code(readings: &[Reading<'_>], context: &Context<'_>, say: &mut impl FnMut(Option<bool>, &str)) {
    let mut named = readings.iter().filter(|r| !r.any_target && !r.permission.sig.is_zero()).peekable();
    if named.peek().is_none() {
        return;
    }
    let code = |r: &Reading<'_>| context.contracts.get(&r.permission.target).and_then(|c| c.has_code);
    let answers: Vec<Option<bool>> = named.map(code).collect();
    if answers.contains(&Some(false)) {
        say(Some(false), "not every contract has code");
    } else if answers.contains(&None) {
        say(None, "whether the contracts have code was not asked");
    } else {
        say(Some(true), "contracts have code");
    }
}

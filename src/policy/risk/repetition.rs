//! R14: how often a permission may be used, in numbers.

use alloy::primitives::U256;

use super::{Context, Effect, Finding, Severity, arguments::Reading, known::Kind};
use crate::policy::{
    scope::{Permission, Scope},
    sentence,
};

/// Permissions that are named one by one; of more, how many there are is said.
const NAMED: usize = 6;

/// Calls that the schedule lets through by `end` (unix seconds); `None` when nothing limits them.
///
/// The schedule starts at `valid_after` and goes on by `interval`; missed slots stay usable (docs/kernel-v2.md#run-limits).
fn slots(permission: &Permission, end: Option<u64>) -> Option<u64> {
    let rule = permission.execution_rule;
    let by_schedule = match (rule.interval, end) {
        (0, _) => None,
        (_, Some(end)) if end < rule.valid_after => Some(0),
        (interval, Some(end)) => Some((end - rule.valid_after) / interval + 1),
        (_, None) => None,
    };
    match (by_schedule, rule.runs) {
        (slots, 0) => slots,
        (None, runs) => Some(runs),
        (Some(slots), runs) => Some(slots.min(runs)),
    }
}

pub(super) fn assess(scope: &Scope, readings: &[Reading<'_>], context: &Context<'_>, findings: &mut Vec<Finding>) {
    let end = (scope.valid_until != 0).then_some(scope.valid_until);
    // From when the key can act at all: a schedule that began before makes its slots usable then.
    let now = context.now.max(scope.valid_after);
    let mut endless = Vec::new();
    for reading in readings.iter().filter(|r| !r.is(Kind::View)) {
        let permission = reading.permission;
        let rule = permission.execution_rule;
        if rule.runs == 0 && rule.interval == 0 {
            endless.push(reading);
        } else if rule.interval > 0 && rule.valid_after > 0 {
            findings.push(schedule(reading, now, end));
        }
    }
    let Some(first) = endless.first() else { return };
    let until = end.map_or("without an end".to_owned(), |end| format!("until {}", sentence::time(end)));
    let most = endless.iter().map(|r| r.permission.value_limit).max().unwrap_or_default();
    let (severity, coins) = if most > U256::ZERO {
        let each = sentence::amount(most, context.coin);
        (Severity::High, format!(", each call with up to {each}: the limit is per call, not in all"))
    } else {
        (Severity::Medium, String::new())
    };
    let (permission, which) = match endless.as_slice() {
        [only] => (Some(only.position), "it".to_owned()),
        several if several.len() <= NAMED => {
            let names: Vec<String> = several.iter().map(|r| (r.position + 1).to_string()).collect();
            (None, format!("permissions {}", names.join(", ")))
        }
        several => (None, format!("{} permissions (the first is permission {})", several.len(), first.position + 1)),
    };
    findings.push(Finding {
        id: "R14",
        severity,
        permission,
        message: format!("{which} may be used any number of times {until}{coins}"),
        advice: "limit the runs, as in limit = { runs = 10 }".into(),
        effect: Effect::Warn,
    });
}

/// A limit by interval, which adds up while it is not used.
fn schedule(reading: &Reading<'_>, now: u64, end: Option<u64>) -> Finding {
    let permission = reading.permission;
    let rule = permission.execution_rule;
    let at_once = slots(permission, Some(now)).unwrap_or(0);
    let in_all = slots(permission, end);
    let all = match (in_all, end) {
        (Some(n), Some(end)) => format!("{n} in all until {}", sentence::time(end)),
        (Some(n), None) => format!("{n} in all"),
        (None, _) => "without an end".to_owned(),
    };
    let burst = if at_once > 1 {
        format!(
            "{at_once} calls are possible at once, since the schedule began at {}",
            sentence::time(rule.valid_after)
        )
    } else {
        "calls that are not made in time add up and may be made in one burst later".to_owned()
    };
    Finding {
        id: "R14",
        severity: if at_once > 1 || in_all.is_none() { Severity::Medium } else { Severity::Low },
        permission: Some(reading.position),
        message: format!("once every {}: {burst}; {all}", sentence::rough_duration(rule.interval)),
        advice: "start the schedule now and limit the runs".into(),
        effect: Effect::Warn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::scope::{ExecutionRule, Operation};
    use alloy::primitives::{Address, Selector};

    #[test]
    fn r14_counts_the_calls_that_a_schedule_lets_through() {
        let permission = |valid_after, interval, runs| Permission {
            index: 0,
            target: Address::repeat_byte(1),
            sig: Selector::ZERO,
            value_limit: U256::ZERO,
            rules: Vec::new(),
            execution_rule: ExecutionRule { valid_after, interval, runs },
            operation: Operation::Call,
        };
        assert_eq!(slots(&permission(0, 0, 0), Some(500)), None, "nothing limits it");
        assert_eq!(slots(&permission(0, 0, 3), Some(500)), Some(3));
        assert_eq!(slots(&permission(100, 50, 0), Some(99)), Some(0), "not begun");
        assert_eq!(slots(&permission(100, 50, 0), Some(100)), Some(1));
        assert_eq!(slots(&permission(100, 50, 0), Some(249)), Some(3));
        assert_eq!(slots(&permission(100, 50, 2), Some(249)), Some(2));
        assert_eq!(slots(&permission(100, 50, 0), None), None);
        assert_eq!(slots(&permission(100, 50, 7), None), Some(7));
    }
}

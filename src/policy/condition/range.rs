//! Which words meet several conditions at once: an interval and what is cut out of it.

use std::collections::BTreeSet;

use alloy::primitives::{B256, U256};

use crate::policy::scope::Condition;

/// The unsigned words that meet a set of conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WordRange {
    /// Inclusive ends; `None` when no word is left.
    ends: Option<(U256, U256)>,
    /// Words inside the ends that are excluded one by one.
    excluded: BTreeSet<U256>,
}

impl WordRange {
    /// The words from 0 to `largest` that meet all conditions.
    pub fn of(largest: U256, conditions: impl IntoIterator<Item = (Condition, B256)>) -> Self {
        let mut range = Self { ends: Some((U256::ZERO, largest)), excluded: BTreeSet::new() };
        for (condition, param) in conditions {
            range.cut(condition, U256::from_be_bytes(param.0));
        }
        range.tighten();
        range
    }

    /// Inclusive ends of what is left; `None` when nothing is.
    pub fn ends(&self) -> Option<(U256, U256)> {
        self.ends
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_none()
    }

    /// Whether every word that is left meets this condition as well. True when no word is left.
    pub fn implies(&self, condition: Condition, param: B256) -> bool {
        let param = U256::from_be_bytes(param.0);
        let Some((low, high)) = self.ends else { return true };
        match condition {
            Condition::Ne => param < low || param > high || self.excluded.contains(&param),
            // What holds at both ends of an interval holds between them.
            _ => condition.holds(low, param) && condition.holds(high, param),
        }
    }

    fn cut(&mut self, condition: Condition, param: U256) {
        let Some((low, high)) = self.ends else { return };
        let (low, high) = match condition {
            Condition::Eq => (Some(low.max(param)), Some(high.min(param))),
            Condition::Gt => (param.checked_add(U256::ONE).map(|p| low.max(p)), Some(high)),
            Condition::Gte => (Some(low.max(param)), Some(high)),
            Condition::Lt => (Some(low), param.checked_sub(U256::ONE).map(|p| high.min(p))),
            Condition::Lte => (Some(low), Some(high.min(param))),
            Condition::Ne => {
                self.excluded.insert(param);
                (Some(low), Some(high))
            }
        };
        self.ends = low.zip(high).filter(|(low, high)| low <= high);
    }

    /// Moves the ends off excluded words, so that both ends are words that are left.
    fn tighten(&mut self) {
        while let Some((low, high)) = self.ends {
            if self.excluded.contains(&low) {
                self.ends = low.checked_add(U256::ONE).map(|low| (low, high));
            } else if self.excluded.contains(&high) {
                self.ends = high.checked_sub(U256::ONE).map(|high| (low, high));
            } else {
                return;
            }
            self.ends = self.ends.filter(|(low, high)| low <= high);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Condition::{Eq, Gt, Gte, Lt, Lte, Ne};

    fn range(conditions: &[(Condition, u64)]) -> WordRange {
        WordRange::of(U256::from(255), conditions.iter().map(|(c, p)| (*c, B256::from(U256::from(*p)))))
    }

    /// Every set of two conditions over a small world, against trying every word of it.
    #[test]
    fn emptiness_and_implication_are_what_trying_every_word_says() {
        let world = 5u64;
        for first in Condition::ALL {
            for second in Condition::ALL {
                for (a, b) in (0..=world).flat_map(|a| (0..=world).map(move |b| (a, b))) {
                    let conditions = [(first, a), (second, b)].map(|(c, p)| (c, B256::from(U256::from(p))));
                    let range = WordRange::of(U256::from(world), conditions);
                    let holds = |c: Condition, word: u64, p: u64| c.holds(U256::from(word), U256::from(p));
                    let left: Vec<u64> = (0..=world).filter(|w| holds(first, *w, a) && holds(second, *w, b)).collect();
                    assert_eq!(range.is_empty(), left.is_empty(), "{first:?} {a}, {second:?} {b}");
                    for third in Condition::ALL {
                        for c in 0..=world {
                            let implied = range.implies(third, B256::from(U256::from(c)));
                            assert_eq!(
                                implied,
                                left.iter().all(|w| holds(third, *w, c)),
                                "{first:?} {a}, {second:?} {b} => {third:?} {c}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_range_closed_by_exclusions_is_empty() {
        assert!(range(&[(Gte, 3), (Lte, 5), (Ne, 4), (Ne, 3), (Ne, 5)]).is_empty());
        assert_eq!(range(&[(Gt, 3), (Lt, 9), (Ne, 4)]).ends(), Some((U256::from(5), U256::from(8))));
        assert!(range(&[(Eq, 256)]).is_empty());
    }
}

//! Which words meet several conditions at once: an interval and what is cut out of it.

use std::collections::BTreeSet;

use alloy::primitives::{B256, U256};

use crate::kernel::permission::Condition;

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

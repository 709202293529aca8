//! What was checked, what was seen, and what was found: a rule that was never applied proves nothing.

use super::rules::Rule;
use std::collections::BTreeMap;

/// A rule that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub rule: Rule,
    /// Whose.
    pub who: String,
    pub what: String,
}

pub type Verdict<T = ()> = Result<T, Box<Violation>>;

/// How often each rule was applied, and how often each class of event was seen.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pub applied: BTreeMap<Rule, u64>,
    pub seen: BTreeMap<&'static str, u64>,
}

impl Ledger {
    /// Applies a rule.
    pub fn check(&mut self, rule: Rule, who: &str, holds: bool, what: impl FnOnce() -> String) -> Verdict {
        *self.applied.entry(rule).or_default() += 1;
        if holds {
            return Ok(());
        }
        Err(Box::new(Violation {
            rule,
            who: who.to_owned(),
            what: what(),
        }))
    }

    /// Something of that class happened.
    pub fn see(&mut self, class: &'static str) {
        *self.seen.entry(class).or_default() += 1;
    }

    pub fn add(&mut self, other: &Self) {
        for (rule, count) in &other.applied {
            *self.applied.entry(*rule).or_default() += count;
        }
        for (class, count) in &other.seen {
            *self.seen.entry(class).or_default() += count;
        }
    }
}

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
#[derive(Clone, Debug)]
pub struct Ledger {
    applied: [u64; Rule::ALL.len()],
    pub seen: BTreeMap<&'static str, u64>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            applied: [0; Rule::ALL.len()],
            seen: BTreeMap::new(),
        }
    }
}

impl Ledger {
    /// How often the rule was applied.
    pub fn applied(&self, rule: Rule) -> u64 {
        self.applied[rule as usize]
    }

    /// Applies a rule.
    pub fn check(&mut self, rule: Rule, who: &str, holds: bool, what: impl FnOnce() -> String) -> Verdict {
        self.applied[rule as usize] += 1;
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
        for (count, more) in self.applied.iter_mut().zip(other.applied) {
            *count += more;
        }
        for (class, count) in &other.seen {
            *self.seen.entry(class).or_default() += count;
        }
    }
}

//! Budgets of the whole host: how many retries, and how many interventions.

use crate::domain::{host::RetryBudget, spec::Budget, time::Mono};
use std::collections::VecDeque;

/// A token bucket: each regular pulse puts `ratio` of a token in, and time adds some. It never holds more than
/// ten seconds of what time adds plus ten, so that a long calm does not save up for a storm.
/// (The scheme is that of Finagle's retry budget.)
#[derive(Debug)]
pub struct Retries {
    settings: RetryBudget,
    tokens: f64,
    filled_at: Mono,
}

impl Retries {
    /// A full bucket.
    #[must_use]
    pub fn new(settings: RetryBudget, now: Mono) -> Self {
        let mut bucket = Self {
            settings,
            tokens: 0.0,
            filled_at: now,
        };
        bucket.tokens = bucket.most();
        bucket
    }

    fn most(&self) -> f64 {
        self.settings.min_per_second.mul_add(10.0, 10.0)
    }

    /// Time passed, and that many regular pulses were sent.
    pub fn fill(&mut self, now: Mono, regular: usize) {
        let seconds = now.since(self.filled_at).as_secs_f64();
        self.filled_at = now;
        #[allow(clippy::cast_precision_loss)] // A run sends far fewer than 2^52 pulses.
        let gain = seconds.mul_add(self.settings.min_per_second, regular as f64 * self.settings.ratio);
        #[allow(clippy::cast_precision_loss)]
        let most = self.most().max(regular as f64 * self.settings.ratio);
        self.tokens = (self.tokens + gain).min(most);
    }

    /// One retry, if there is a token for it.
    pub fn take(&mut self) -> bool {
        let granted = self.tokens >= 1.0;
        if granted {
            self.tokens -= 1.0;
        }
        granted
    }
}

/// At most so many interventions of all monitors within any window.
#[derive(Debug)]
pub struct Interventions {
    budget: Budget,
    recent: VecDeque<Mono>,
}

impl Interventions {
    /// Nothing is spent yet.
    #[must_use]
    pub fn new(budget: Budget) -> Self {
        Self {
            budget,
            recent: VecDeque::new(),
        }
    }

    /// How many more may start now.
    pub fn left(&mut self, now: Mono) -> usize {
        while self
            .recent
            .front()
            .is_some_and(|at| now.since(*at) >= self.budget.per)
        {
            self.recent.pop_front();
        }
        (self.budget.attempts as usize).saturating_sub(self.recent.len())
    }

    /// One started.
    pub fn spend(&mut self, now: Mono) {
        self.recent.push_back(now);
    }

    /// The one that started then turned out not to have run at all.
    pub fn refund(&mut self, at: Mono) {
        // Not simply the last: others that started since did run, and count for as long as they must.
        if let Some(index) = self.recent.iter().rposition(|spent| *spent == at) {
            self.recent.remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn retries_follow_the_regular_load() {
        let mut bucket = Retries::new(
            RetryBudget {
                ratio: 0.5,
                min_per_second: 1.0,
            },
            Mono(0),
        );
        assert_eq!(std::iter::from_fn(|| bucket.take().then_some(())).count(), 20);
        bucket.fill(Mono(0), 8);
        assert_eq!(std::iter::from_fn(|| bucket.take().then_some(())).count(), 4);
        bucket.fill(Mono(0).after(Duration::from_secs(3)), 0);
        assert_eq!(std::iter::from_fn(|| bucket.take().then_some(())).count(), 3);
        bucket.fill(Mono(0).after(Duration::from_secs(3600)), 0);
        assert_eq!(
            std::iter::from_fn(|| bucket.take().then_some(())).count(),
            20,
            "no more than ten seconds are saved up"
        );
    }

    #[test]
    fn interventions_slide() {
        let second = Duration::from_secs(1);
        let mut budget = Interventions::new(Budget {
            attempts: 2,
            per: second * 10,
        });
        budget.spend(Mono(0));
        budget.spend(Mono(0).after(second * 5));
        assert_eq!(budget.left(Mono(0).after(second * 9)), 0);
        assert_eq!(budget.left(Mono(0).after(second * 10)), 1);
    }
}

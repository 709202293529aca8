//! Whether the host does what it is there for: the one judgement by which it tells those who watch it that all is well.
//!
//! Architecture invariant: it goes by what the scheduler's own thread has published, never by the fact that some other
//! thread still runs.

use crate::{
    clock::Clock,
    domain::{histogram::Histogram, spec::Kind},
    scheduler::stats::Stats,
};
use std::{fmt, time::Duration};

/// Figures are refreshed ten times a second; older ones show that the scheduler stands still.
pub(super) const STALE: Duration = Duration::from_secs(5);
/// 99 of 100 checks must have begun within that time of when they were due.
const LATE: Duration = Duration::from_secs(5);
/// Fewer checks than that between two looks say nothing about the 99th of a hundred.
const SAMPLES_MIN: u64 = 20;

/// Why it can't be said that all is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The scheduler has not run for so long.
    Still(Duration),
    /// It runs, and checks begin so much too late.
    Late(Duration),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Still(span) => write!(f, "the scheduler has not run for {span:.1?}"),
            Self::Late(span) => write!(f, "1 check of 100 begins more than {span:.1?} after it is due"),
        }
    }
}

/// Looks at the scheduler now and then.
pub(super) struct Punctual {
    stats: Stats,
    clock: Clock,
    /// Lateness of checks as it was at the last look.
    before: Histogram,
}

impl Punctual {
    pub fn new(stats: Stats, clock: Clock) -> Self {
        Self {
            stats,
            clock,
            before: Histogram::default(),
        }
    }

    /// The figures it goes by.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Whether the scheduler's thread runs.
    ///
    /// # Errors
    /// It does not.
    pub fn runs(&self) -> Result<(), Trouble> {
        let age = self.clock.mono().since(self.stats.at());
        if age > STALE {
            return Err(Trouble::Still(age));
        }
        Ok(())
    }

    /// Whether it runs, and checks have begun on time since the last look.
    ///
    /// # Errors
    /// One of both is not so.
    pub fn look(&mut self) -> Result<(), Trouble> {
        self.runs()?;
        let now = self.stats.snapshot();
        let lateness = &now.times.get(Kind::Pulse).lateness;
        let lately = lateness.since(&self.before);
        self.before.clone_from(lateness);
        let late = lately.quantile(0.99);
        if lately.count() >= SAMPLES_MIN && late > LATE {
            return Err(Trouble::Late(late));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::{Mono, Wall};

    #[test]
    fn a_scheduler_that_stands_still_is_no_good_news() {
        let (clock, hand) = Clock::manual(Mono(0), Wall(0));
        let mut punctual = Punctual::new(Stats::default(), clock);
        hand.advance(STALE);
        assert_eq!(punctual.look(), Ok(()));
        hand.advance(Duration::from_millis(1));
        assert_eq!(
            punctual.look(),
            Err(Trouble::Still(STALE + Duration::from_millis(1)))
        );
    }
}

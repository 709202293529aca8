//! Figures of single monitors that the operator has chosen, for whoever looks from another thread.
//!
//! Architecture invariant: of a monitor that is not chosen nothing is kept, and no reader keeps the scheduler waiting.

use super::{outcome::Status, selector::Selector, time::Wall};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Monitors that have series of their own, at most.
pub const MONITORS_MAX: usize = 1000;
/// Labels of monitors that become labels of series, at most.
pub const LABELS_MAX: usize = 16;

/// `[metrics]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricsSettings {
    /// Which monitors have series of their own; none: no monitor.
    pub monitors: Option<Selector>,
    /// Labels that these series have, too.
    pub labels: Vec<Arc<str>>,
}

/// The name that a label of monitors has as a label of series: Prometheus knows fewer characters, and has names that mean
/// something already.
#[must_use]
pub fn exposed(label: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let fitting: String = label.chars().map(fit).collect();
    format!("label_{fitting}")
}

/// How a check ended, as far as a series of one monitor tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It came to a verdict.
    Verdict(Status),
    /// It did not, which says nothing of the target.
    Fault,
}

impl Ending {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Verdict(Status::Healthy),
        Self::Verdict(Status::Degraded),
        Self::Verdict(Status::Unhealthy),
        Self::Fault,
    ];

    /// The ending's name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Verdict(status) => status.name(),
            Self::Fault => "fault",
        }
    }

    fn number(self) -> usize {
        match self {
            Self::Verdict(Status::Healthy) => 0,
            Self::Verdict(Status::Degraded) => 1,
            Self::Verdict(Status::Unhealthy) => 2,
            Self::Fault => 3,
        }
    }
}

/// What was counted of one monitor since it was chosen. Only the scheduler writes.
#[derive(Debug, Default)]
pub struct Counts {
    at_ms: AtomicU64,
    took_us: AtomicU64,
    endings: [AtomicU64; Ending::ALL.len()],
}

/// The same at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// When the last check ended, and how long it took; none: there was none yet.
    pub last: Option<(Wall, Duration)>,
    /// Checks by how they ended, in the order of [`Ending::ALL`].
    pub endings: [u64; Ending::ALL.len()],
}

impl Counts {
    /// One more check has ended.
    pub fn add(&self, ending: Ending, at: Wall, took: Duration) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.took_us.store(took_us, Ordering::Relaxed);
        self.at_ms.store(at.0, Ordering::Relaxed);
        if let Some(count) = self.endings.get(ending.number()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The figures as they are now.
    #[must_use]
    pub fn read(&self) -> Counted {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let mut counted = Counted::default();
        for (copy, count) in counted.endings.iter_mut().zip(&self.endings) {
            *copy = of(count);
        }
        let took = Duration::from_micros(of(&self.took_us));
        counted.last = Some((Wall(of(&self.at_ms)), took)).filter(|(at, _)| at.0 > 0);
        counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_read() {
        let counts = Counts::default();
        assert_eq!(counts.read(), Counted::default());
        for (number, ending) in Ending::ALL.into_iter().enumerate() {
            assert_eq!(ending.number(), number);
            for _ in 0..=number {
                counts.add(ending, Wall(7_000), Duration::from_millis(3));
            }
        }
        let read = counts.read();
        assert_eq!(read.endings, [1, 2, 3, 4]);
        assert_eq!(read.last, Some((Wall(7_000), Duration::from_millis(3))));
    }

    #[test]
    fn a_label_has_a_name_that_means_nothing_else() {
        assert_eq!(exposed("site"), "label_site");
        assert_eq!(exposed("a-b.c/ü1"), "label_a_b_c__1");
    }
}

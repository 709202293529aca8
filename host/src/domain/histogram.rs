//! A histogram of durations with a relative error of at most 1/32, of fixed size and without allocation when it
//! records: 32 linear steps in each power of two of nanoseconds (the bucketing of HdrHistogram).

use super::time::nanos;
use std::time::Duration;

const STEPS_BITS: u32 = 5;
const STEPS: u64 = 1 << STEPS_BITS;
/// Powers of two up to 2^40 ns (18 minutes); longer ones are counted there.
pub(super) const BUCKETS: usize = (40 - STEPS_BITS as usize + 1) * STEPS as usize;

/// Counts of durations.
#[derive(Debug)]
pub struct Histogram {
    counts: Box<[u64]>,
    count: u64,
    sum_ns: u128,
    max_ns: u64,
}

impl Clone for Histogram {
    fn clone(&self) -> Self {
        Self {
            counts: self.counts.clone(),
            ..*self
        }
    }

    /// Into the memory that is there.
    fn clone_from(&mut self, source: &Self) {
        self.counts.clone_from(&source.counts);
        (self.count, self.sum_ns, self.max_ns) = (source.count, source.sum_ns, source.max_ns);
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS].into(),
            count: 0,
            sum_ns: 0,
            max_ns: 0,
        }
    }
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&mut self, span: Duration) {
        let ns = nanos(span);
        if let Some(count) = self.counts.get_mut(index(ns)) {
            *count += 1;
        }
        self.count += 1;
        self.sum_ns += u128::from(ns);
        self.max_ns = self.max_ns.max(ns);
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The exact sum.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(u64::try_from(self.sum_ns).unwrap_or(u64::MAX))
    }

    /// How many did not exceed each of these durations, which ascend. One that is up to 1/32 shorter than the bound may count
    /// as longer.
    pub fn up_to<'h>(
        &'h self,
        bounds: impl IntoIterator<Item = Duration> + 'h,
    ) -> impl Iterator<Item = u64> + 'h {
        let mut counts = (0_u64..).zip(self.counts.iter()).peekable();
        let mut seen = 0;
        bounds.into_iter().map(move |bound| {
            let bound = nanos(bound);
            while let Some((_, count)) = counts.next_if(|(index, _)| upper(*index) <= bound) {
                seen += count;
            }
            seen
        })
    }

    /// The exact mean; zero if nothing was counted.
    #[must_use]
    pub fn mean(&self) -> Duration {
        let mean = self.sum_ns / u128::from(self.count.max(1));
        Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX))
    }

    /// The exact maximum.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max_ns)
    }

    /// The duration that the given share (0 to 1) of all does not exceed, up to 1/32 too long.
    #[must_use]
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )]
    pub fn quantile(&self, share: f64) -> Duration {
        let rank = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(upper(index as u64).min(self.max_ns));
            }
        }
        self.max()
    }

    /// What was counted since it was as `earlier`, a copy of it. Whatever `earlier` has more of counts as nothing, as after a
    /// reset. The maximum is that of all.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let pairs = self.counts.iter().zip(&earlier.counts);
        let counts: Box<[u64]> = pairs.map(|(now, then)| now.saturating_sub(*then)).collect();
        Self {
            count: counts.iter().sum(),
            counts,
            sum_ns: self.sum_ns.saturating_sub(earlier.sum_ns),
            max_ns: self.max_ns,
        }
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.counts.fill(0);
        self.count = 0;
        self.sum_ns = 0;
        self.max_ns = 0;
    }
}

/// The bucket of a value.
pub(super) fn index(ns: u64) -> usize {
    if ns < STEPS {
        return ns as usize;
    }
    let power = ns.ilog2();
    let step = (ns >> (power - STEPS_BITS)) - STEPS;
    let index = u64::from(power - STEPS_BITS + 1) * STEPS + step;
    (index as usize).min(BUCKETS - 1)
}

/// The greatest value of a bucket.
pub(super) fn upper(index: u64) -> u64 {
    if index < STEPS {
        return index;
    }
    let shift = index / STEPS - 1;
    ((index % STEPS + STEPS + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_since_is_what_there_is_more() {
        let mut histogram = Histogram::default();
        (0..50).for_each(|_| histogram.record(Duration::from_millis(1)));
        let earlier = histogram.clone();
        (0..50).for_each(|_| histogram.record(Duration::from_secs(1)));
        let since = histogram.since(&earlier);
        assert_eq!(since.count(), 50);
        assert!(since.quantile(0.01) >= Duration::from_secs(1));
        assert!(histogram.quantile(0.01) < Duration::from_millis(2));
        assert_eq!(earlier.since(&histogram).count(), 0, "as after a reset");
    }

    #[test]
    fn every_value_lies_in_its_bucket() {
        for power in 0..40 {
            for ns in [1u64 << power, (1 << power) + (1 << power) / 3, (2 << power) - 1] {
                let upper = upper(index(ns) as u64);
                assert!(ns <= upper && upper - ns <= ns / 32, "{ns}: {upper}");
            }
        }
        assert_eq!(index(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_and_mean() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.99), Duration::ZERO);
        for ms in 1..=1000 {
            histogram.record(Duration::from_millis(ms));
        }
        assert_eq!(histogram.mean(), Duration::from_micros(500_500));
        let p99 = histogram.quantile(0.99).as_millis();
        assert!((990..=1000).contains(&p99), "{p99}");
        assert_eq!(histogram.max(), Duration::from_secs(1));
        assert_eq!(histogram.sum(), Duration::from_micros(500_500_000));
        let bounds = [1, 100, 500, 2000].map(Duration::from_millis);
        let counts: Vec<u64> = histogram.up_to(bounds).collect();
        assert!(
            counts[0] <= 1 && (96..=100).contains(&counts[1]) && (484..=500).contains(&counts[2]),
            "{counts:?}"
        );
        assert_eq!(counts[3], 1000);
    }
}

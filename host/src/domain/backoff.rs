//! Exponential backoff, the one formula for everything that is tried again.

use std::time::Duration;

/// `base · 2^(tries - 1)`, at most `cap`; `tries` counts from 1.
#[must_use]
pub fn backoff(base: Duration, tries: u32, cap: Duration) -> Duration {
    let doublings = tries.saturating_sub(1).min(31);
    base.saturating_mul(1 << doublings).min(cap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_cap() {
        let second = Duration::from_secs(1);
        let spans: Vec<u64> = (1..=8)
            .map(|tries| backoff(second, tries, second * 60).as_secs())
            .collect();
        assert_eq!(spans, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff(second, u32::MAX, Duration::MAX).as_secs(), 1 << 31);
    }
}

//! Points in time. Reading them is the business of [`crate::clock`].

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Monotonic time: nanoseconds since the clock's own zero (long before the start of the process for the system clock).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

impl Mono {
    /// A point that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// This point plus `span`, saturating at [`Mono::NEVER`].
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }

    /// The time from `earlier` to this point; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Wall-clock time: milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Wall(pub u64);

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic.
    pub mono: Mono,
    /// Wall clock.
    pub wall: Wall,
}

impl Now {
    /// A point of monotonic time by the wall clock, to be kept over a restart. None: it never comes.
    #[must_use]
    pub fn to_wall(self, at: Mono) -> Option<Wall> {
        let (ahead, behind) = (millis(at.since(self.mono)), millis(self.mono.since(at)));
        (at != Mono::NEVER).then(|| Wall(self.wall.0.saturating_add(ahead).saturating_sub(behind)))
    }

    /// The same point by the monotonic clock of this process, as far as that reaches back.
    #[must_use]
    pub fn to_mono(self, at: Wall) -> Mono {
        let ahead = Duration::from_millis(at.0.saturating_sub(self.wall.0));
        let behind = Duration::from_millis(self.wall.0.saturating_sub(at.0));
        Mono(self.mono.after(ahead).0.saturating_sub(nanos(behind)))
    }
}

/// A duration in nanoseconds, saturating (584 years).
#[must_use]
pub fn nanos(span: Duration) -> u64 {
    // Twice for each job: 64 bits do it.
    span.as_secs()
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::from(span.subsec_nanos()))
}

/// A duration in milliseconds, saturating.
#[must_use]
pub fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_the_same_after_a_restart() {
        let before = Now {
            mono: Mono(5_000_000_000),
            wall: Wall(1_000_000),
        };
        let after = Now {
            mono: Mono(900_000_000_000),
            wall: Wall(1_060_000),
        };
        for at in [Mono(2_000_000_000), Mono(5_000_000_000), Mono(65_000_000_000)] {
            let kept = before.to_wall(at).unwrap();
            assert_eq!(after.to_wall(after.to_mono(kept)), Some(kept));
        }
        assert_eq!(before.to_wall(Mono(65_000_000_000)), Some(Wall(1_060_000)));
        assert_eq!(after.to_mono(Wall(1_060_000)), after.mono);
        assert_eq!(before.to_wall(Mono::NEVER), None);
        assert_eq!(
            after.to_mono(Wall(0)),
            Mono(0),
            "no further back than the clock goes"
        );
    }
}

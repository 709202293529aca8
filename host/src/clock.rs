//! Time as a resource: the only module that reads the system's clocks.
//!
//! Architecture invariant: everybody else is given a [`Clock`], so that tests and the simulator set the time.

use crate::domain::time::{Mono, Now, Wall};
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// As far as monotonic time reaches back before the start of the process: what was put down by an earlier one and
/// lies in between has its place on this clock too.
pub const BEFORE: Duration = Duration::from_secs(400 * 24 * 3600);

/// Tells the time. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<Hand>),
}

/// Sets a manual clock.
#[derive(Debug)]
pub struct Hand {
    mono: AtomicU64,
    wall: AtomicU64,
}

impl Clock {
    /// The system's clocks. Monotonic time counts from [`BEFORE`] at the first use in this process.
    #[must_use]
    pub fn system() -> Self {
        let _ = zero();
        Self(Source::System)
    }

    /// A clock that stands still until its hand moves it.
    #[must_use]
    pub fn manual(mono: Mono, wall: Wall) -> (Self, Arc<Hand>) {
        let hand = Arc::new(Hand {
            mono: AtomicU64::new(mono.0),
            wall: AtomicU64::new(wall.0),
        });
        (Self(Source::Manual(Arc::clone(&hand))), hand)
    }

    /// Both clocks at this moment.
    #[must_use]
    pub fn now(&self) -> Now {
        Now {
            mono: self.mono(),
            wall: self.wall(),
        }
    }

    /// Monotonic time. Does not go on while the machine is suspended.
    #[must_use]
    pub fn mono(&self) -> Mono {
        match &self.0 {
            Source::System => Mono(crate::domain::time::nanos(zero().elapsed() + BEFORE)),
            Source::Manual(hand) => Mono(hand.mono.load(Ordering::Acquire)),
        }
    }

    /// `CLOCK_MONOTONIC` as every process of this machine reads it, for those outside that compare it with their own. By a
    /// manual clock, its monotonic time.
    #[must_use]
    pub fn machine(&self) -> Duration {
        match &self.0 {
            Source::System => {
                let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
                Duration::try_from(now).unwrap_or_default()
            }
            Source::Manual(_) => Duration::from_nanos(self.mono().0),
        }
    }

    /// CPU time that the calling thread has used. By a manual clock, whoever asks has computed all the time.
    #[must_use]
    pub fn thread_cpu(&self) -> Duration {
        match &self.0 {
            Source::System => {
                let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
                Duration::try_from(spent).unwrap_or_default()
            }
            Source::Manual(_) => Duration::from_nanos(self.mono().0),
        }
    }

    /// Wall-clock time. May jump.
    #[must_use]
    #[allow(clippy::disallowed_methods)] // The one place.
    pub fn wall(&self) -> Wall {
        match &self.0 {
            Source::System => Wall(crate::domain::time::millis(
                SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or(Duration::ZERO),
            )),
            Source::Manual(hand) => Wall(hand.wall.load(Ordering::Acquire)),
        }
    }
}

impl Hand {
    /// Moves both clocks on.
    pub fn advance(&self, span: Duration) {
        self.mono
            .fetch_add(crate::domain::time::nanos(span), Ordering::AcqRel);
        self.wall
            .fetch_add(crate::domain::time::millis(span), Ordering::AcqRel);
    }

    /// Sets the monotonic clock. The caller sees to it that it never goes back.
    pub fn set_mono(&self, mono: Mono) {
        self.mono.store(mono.0, Ordering::Release);
    }

    /// Sets the wall clock, as an operator or NTP does.
    pub fn set_wall(&self, wall: Wall) {
        self.wall.store(wall.0, Ordering::Release);
    }
}

#[allow(clippy::disallowed_methods)] // The one place.
fn zero() -> Instant {
    static ZERO: OnceLock<Instant> = OnceLock::new();
    *ZERO.get_or_init(Instant::now)
}

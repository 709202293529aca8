//! Real time. These commands run on a person's machine and have no simulated time, but they too read the
//! clock in one place only.

use std::time::{Duration, Instant, SystemTime};

/// Measures from its start.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[allow(clippy::disallowed_methods)] // The one place of this program.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// The time of day, in milliseconds since the Unix epoch.
#[allow(clippy::disallowed_methods)] // As above.
pub fn now_ms() -> u128 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap_or_default().as_millis()
}

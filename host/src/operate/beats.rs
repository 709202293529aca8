//! How often the host has told an outside watcher that it is well.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// A handle on the counts.
#[derive(Clone, Debug, Default)]
pub struct Beats(Arc<[AtomicU64; 3]>);

/// What became of a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// It was taken.
    Sent,
    /// It was not taken.
    Failed,
    /// It was not sent, because the host is not well.
    Withheld,
}

impl Beat {
    const ALL: [Self; 3] = [Self::Sent, Self::Failed, Self::Withheld];

    /// Its name in figures.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Withheld => "withheld",
        }
    }
}

impl Beats {
    /// One more.
    pub fn count(&self, beat: Beat) {
        if let Some(count) = self.0.get(beat as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many there were of each.
    pub fn figures(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Beat::ALL
            .iter()
            .zip(self.0.iter())
            .map(|(beat, count)| (beat.name(), count.load(Ordering::Relaxed)))
    }
}

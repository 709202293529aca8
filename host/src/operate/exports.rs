//! How many spans were told to whoever collects them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// A handle on the counts.
#[derive(Clone, Debug, Default)]
pub struct Exports(Arc<[AtomicU64; 3]>);

/// What became of spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Export {
    /// The collector took them.
    Sent,
    /// It did not.
    Failed,
    /// There were more than it takes, and no room to wait.
    Dropped,
}

impl Export {
    const ALL: [Self; 3] = [Self::Sent, Self::Failed, Self::Dropped];

    /// Its name in figures.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

impl Exports {
    /// So many more.
    pub fn count(&self, export: Export, spans: usize) {
        if let Some(count) = self.0.get(export as usize) {
            count.fetch_add(spans as u64, Ordering::Relaxed);
        }
    }

    /// How many there were of each.
    pub fn figures(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Export::ALL
            .iter()
            .zip(self.0.iter())
            .map(|(export, count)| (export.name(), count.load(Ordering::Relaxed)))
    }
}

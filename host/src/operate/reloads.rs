//! What became of reloads, for whoever asks.

use crate::domain::time::Wall;
use std::sync::{Arc, Mutex, PoisonError};

/// A handle on what became of them.
#[derive(Clone, Debug, Default)]
pub struct Reloads(Arc<Mutex<Record>>);

/// What became of all reloads so far.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Those that took effect, the start not among them.
    pub succeeded: u64,
    /// Those that changed nothing, because something was wrong.
    pub failed: u64,
    /// When what runs was read.
    pub effective_since: Wall,
    /// The last one.
    pub last: Option<Last>,
}

/// The last reload.
#[derive(Clone, Debug)]
pub struct Last {
    /// When.
    pub at: Wall,
    /// What changed, or what was wrong.
    pub told: Result<String, String>,
}

impl Reloads {
    /// The host starts with what it read then.
    #[must_use]
    pub fn since(start: Wall) -> Self {
        let reloads = Self::default();
        reloads.lock().effective_since = start;
        reloads
    }

    /// One ended.
    pub fn note(&self, at: Wall, told: Result<String, String>) {
        let mut record = self.lock();
        match &told {
            Ok(_) => {
                record.succeeded += 1;
                record.effective_since = at;
            }
            Err(_) => record.failed += 1,
        }
        record.last = Some(Last { at, told });
    }

    /// What became of them so far.
    #[must_use]
    pub fn record(&self) -> Record {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Who keeps what happened in an execution that may open an incident, so that it can be looked at and repeated later.
//!
//! The scheduler marks such a job. Architecture invariant: a job that is not marked costs one look at its mark.

use crate::{
    capability::{course::Course, log::Line},
    domain::{job::Job, outcome::Outcome, plugin::Facts},
};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// An execution that is being noted: along what, and the right to do so. Architecture invariant: the guest sees the
/// clocks that it would see otherwise; what decides about an incident is not another execution because it is noted.
pub struct Noting {
    /// What its lent calls take.
    pub course: Arc<Course>,
    /// One of a bounded number.
    pub permit: OwnedSemaphorePermit,
}

/// What happened.
pub struct Happened {
    /// The job.
    pub job: Job,
    /// Its plugin.
    pub facts: Facts,
    /// Its calls.
    pub noting: Noting,
    /// How it ended.
    pub outcome: Outcome,
    /// What it logged.
    pub log: Vec<Line>,
    /// What it used.
    pub fuel: u64,
}

/// Keeps it. Neither of both waits for anything: they are called on workers' threads.
pub trait Keeper: Send + Sync {
    /// Whether there is room for one more, and along what it goes.
    fn begin(&self) -> Option<Noting>;

    /// It ended with a failure of its target.
    fn keep(&self, happened: Happened);
}

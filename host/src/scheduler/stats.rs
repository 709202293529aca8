//! What the scheduler counts and measures, for whoever looks from another thread.

use crate::domain::{health::State, histogram::Histogram, host::PerKind, job::JobResult, time::Mono};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Times of one kind of job.
#[derive(Clone, Debug, Default)]
pub struct Times {
    /// From due to started: how late.
    pub lateness: Histogram,
    /// From started to finished.
    pub execution: Histogram,
    /// From finished to applied.
    pub apply: Histogram,
    /// From due to applied.
    pub total: Histogram,
}

impl Times {
    pub(super) fn record(&mut self, result: &JobResult, applied: Mono) {
        self.lateness.record(result.started.since(result.due));
        self.execution.record(result.finished.since(result.started));
        self.apply.record(applied.since(result.finished));
        self.total.record(applied.since(result.due));
    }

    fn reset(&mut self) {
        self.lateness.reset();
        self.execution.reset();
        self.apply.reset();
        self.total.reset();
    }
}

/// Counts of one kind of job since the start.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Jobs that the channel took.
    pub sent: u64,
    /// Results that were applied, by outcome class.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// Jobs that were given up as lost.
    pub lost: u64,
    /// Results that came for an attempt that was no longer the lane's.
    pub stale: u64,
    /// Runs in which the channel was full.
    pub full: u64,
    /// Lanes that are due and wait for room.
    pub needed: usize,
    /// Jobs in a channel or running.
    pub pending: usize,
}

/// Everything at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// When it was taken.
    pub at: Mono,
    /// Per kind.
    pub kinds: PerKind<Counts>,
    /// Per kind.
    pub times: PerKind<Times>,
    /// Monitors, by their state.
    pub states: BTreeMap<&'static str, u64>,
    /// Pulses that came later than the next slot of their grid: the slots that were skipped.
    pub skipped_slots: u64,
    /// Pulse reports, by status.
    pub healthy: u64,
    /// Pulse reports that were not healthy.
    pub not_healthy: u64,
    /// Codes that wait in outboxes.
    pub outbox: usize,
    /// Codes that will never be delivered.
    pub undeliverable: u64,
    /// Events that nobody took in time.
    pub dropped_events: u64,
    /// News of the host that were too many for one run and are in the log only.
    pub dropped_news: u64,
    /// Retries that the host-wide budget put off to the next slot.
    pub retries_put_off: u64,
    /// Times that the whole host stood still for a second or longer.
    pub stalls: u64,
    /// How long all of them took.
    pub stalled: Duration,
    /// Runs of the schedule.
    pub runs: u64,
}

impl Snapshot {
    pub(super) fn state(&mut self, from: Option<State>, to: State) {
        if let Some(from) = from
            && let Some(count) = self.states.get_mut(from.name())
        {
            *count = count.saturating_sub(1);
        }
        *self.states.entry(to.name()).or_default() += 1;
    }
}

/// A handle to the latest figures. The scheduler refreshes them ten times a second and never waits for a
/// reader.
#[derive(Clone, Debug, Default)]
pub struct Stats(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    latest: Mutex<Snapshot>,
    reset: AtomicBool,
}

impl Stats {
    /// A copy of the latest figures.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.0
            .latest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Asks for the times measured so far to be forgotten, to measure from now on.
    pub fn reset_times(&self) {
        self.0.reset.store(true, Ordering::Release);
    }

    /// Publishes the figures, unless somebody reads at this very moment.
    pub(super) fn publish(&self, tally: &mut Snapshot) {
        if self.0.reset.swap(false, Ordering::AcqRel) {
            tally.times.pulse.reset();
            tally.times.intervention.reset();
            tally.times.code.reset();
        }
        if let Ok(mut latest) = self.0.latest.try_lock() {
            latest.clone_from(tally);
        }
    }
}

//! What the scheduler counts and measures, for whoever looks from another thread.

use crate::domain::{
    health::State,
    histogram::Histogram,
    host::PerKind,
    job::JobResult,
    outcome::{CLASSES, Outcome, class_name},
    spec::Kind,
    time::Mono,
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Times of one kind of job.
#[derive(Debug, Default)]
pub struct Times {
    /// From due to started: how late.
    pub lateness: Histogram,
    /// From sent to started: the wait in the channel, which is part of the lateness.
    pub queue: Histogram,
    /// From started to finished.
    pub execution: Histogram,
    /// From finished to applied.
    pub apply: Histogram,
    /// From due to applied.
    pub total: Histogram,
}

impl Clone for Times {
    fn clone(&self) -> Self {
        let mut copy = Self::default();
        copy.clone_from(self);
        copy
    }

    /// Into the memory that is there: ten times a second, five histograms for each kind of job.
    fn clone_from(&mut self, source: &Self) {
        let Self {
            lateness,
            queue,
            execution,
            apply,
            total,
        } = source;
        for (copy, original) in self
            .all_mut()
            .into_iter()
            .zip([lateness, queue, execution, apply, total])
        {
            copy.clone_from(original);
        }
    }
}

impl Times {
    pub(super) fn record(&mut self, result: &JobResult, applied: Mono) {
        self.lateness.record(result.started.since(result.due));
        self.queue.record(result.started.since(result.sent));
        self.execution.record(result.finished.since(result.started));
        self.apply.record(applied.since(result.finished));
        self.total.record(applied.since(result.due));
    }

    fn reset(&mut self) {
        for histogram in self.all_mut() {
            histogram.reset();
        }
    }

    fn all_mut(&mut self) -> [&mut Histogram; 5] {
        [
            &mut self.lateness,
            &mut self.queue,
            &mut self.execution,
            &mut self.apply,
            &mut self.total,
        ]
    }
}

/// Results by the class of their outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes([u64; CLASSES]);

impl Outcomes {
    pub(super) fn add(&mut self, outcome: &Outcome) {
        if let Some(count) = self.0.get_mut(outcome.class_number()) {
            *count += 1;
        }
    }

    /// Of all classes.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Of that class.
    #[must_use]
    pub fn of(&self, class: &str) -> u64 {
        self.iter()
            .find(|(name, _)| *name == class)
            .map_or(0, |(_, count)| count)
    }

    /// Every class with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        (0..).map(class_name).zip(self.0)
    }
}

/// Counts of one kind of job since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Jobs that the channel took.
    pub sent: u64,
    /// Results that were applied, by outcome class.
    pub outcomes: Outcomes,
    /// Jobs that were given up as lost.
    pub lost: u64,
    /// Results that came for an attempt that was no longer the lane's.
    pub stale: u64,
    /// Runs in which the channel, or what may be out, left no room for what is needed.
    pub full: u64,
    /// Lanes that are due and wait for room.
    pub needed: usize,
    /// Jobs in a channel or running.
    pub pending: usize,
    /// How many may be at present, and why it is not more: see [`super::window`].
    pub limit: usize,
    /// How many of them may wait in the channel.
    pub depth: usize,
    /// How many travel together when there is enough to do.
    pub batch: usize,
    /// What one costs in CPU time, as a moving average: what depth and batch follow.
    pub cost: Duration,
    /// Batches that were sent.
    pub batches: u64,
    /// Times that the limit was lowered because started jobs had waited too long, and raised again.
    pub lowered: u64,
    /// See `lowered`.
    pub raised: u64,
}

/// Everything at one moment.
#[derive(Debug, Default)]
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
    /// Facts and samples that are not on record, because there was no room for them.
    pub unrecorded: u64,
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
    /// Plugins of tenants that are quarantined at present.
    pub quarantined: usize,
    /// Times that one was quarantined, and was not any more.
    pub quarantines: u64,
    /// See `quarantines`.
    pub readmissions: u64,
    /// Pulses that were not run because their plugin is quarantined.
    pub held_pulses: u64,
    /// Times that a code was put off because its plugin is quarantined.
    pub held_codes: u64,
    /// Codes that were not sent because their monitor is silenced.
    pub silenced_codes: u64,
    /// Times that an intervention was held back: by a budget, a quarantine, or because most monitors fail at once.
    pub held_interventions: u64,
    /// Tenants whose interventions pause at present because most of their monitors fail; the host as a whole is one
    /// more.
    pub paused: usize,
}

impl Clone for Snapshot {
    fn clone(&self) -> Self {
        let mut copy = Self::default();
        copy.clone_from(self);
        copy
    }

    /// Into the memory that is there.
    fn clone_from(&mut self, source: &Self) {
        let Self {
            at,
            kinds,
            times,
            states,
            skipped_slots,
            healthy,
            not_healthy,
            outbox,
            undeliverable,
            dropped_events,
            unrecorded,
            dropped_news,
            retries_put_off,
            stalls,
            stalled,
            runs,
            quarantined,
            quarantines,
            readmissions,
            held_pulses,
            held_codes,
            silenced_codes,
            held_interventions,
            paused,
        } = source;
        for kind in Kind::ALL {
            self.times.get_mut(kind).clone_from(times.get(kind));
        }
        if self.states != *states {
            self.states.clone_from(states);
        }
        (self.at, self.kinds) = (*at, *kinds);
        (self.skipped_slots, self.healthy, self.not_healthy) = (*skipped_slots, *healthy, *not_healthy);
        (self.outbox, self.undeliverable) = (*outbox, *undeliverable);
        (self.dropped_events, self.dropped_news) = (*dropped_events, *dropped_news);
        self.unrecorded = *unrecorded;
        (self.retries_put_off, self.runs) = (*retries_put_off, *runs);
        (self.stalls, self.stalled) = (*stalls, *stalled);
        (self.quarantined, self.paused) = (*quarantined, *paused);
        (self.quarantines, self.readmissions) = (*quarantines, *readmissions);
        (self.held_pulses, self.held_codes) = (*held_pulses, *held_codes);
        self.silenced_codes = *silenced_codes;
        self.held_interventions = *held_interventions;
    }
}

impl Snapshot {
    pub(super) fn states_begin(&mut self, state: State, count: u64) {
        *self.states.entry(state.name()).or_default() += count;
    }

    pub(super) fn state_ends(&mut self, state: State) {
        if let Some(count) = self.states.get_mut(state.name()) {
            *count = count.saturating_sub(1);
        }
    }

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

    /// How many monitors are in each state.
    #[must_use]
    pub fn states(&self) -> BTreeMap<&'static str, u64> {
        let latest = self.0.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.states.clone()
    }

    /// When the latest figures were taken.
    #[must_use]
    pub fn at(&self) -> Mono {
        self.0.latest.lock().unwrap_or_else(PoisonError::into_inner).at
    }

    /// Asks for the times measured so far to be forgotten, to measure from now on.
    pub fn reset_times(&self) {
        self.0.reset.store(true, Ordering::Release);
    }

    /// As a scheduler leaves them that has run at that time, and never does again.
    #[cfg(test)]
    pub(crate) fn testing_at(at: Mono) -> Self {
        let stats = Self::default();
        stats.0.latest.lock().unwrap().at = at;
        stats
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

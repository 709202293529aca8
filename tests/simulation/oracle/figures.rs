//! Counters: whatever is published must add up to what was seen.

use super::{
    ledger::{Ledger, Verdict},
    model::{Doings, Model},
    rules::Rule,
    tick::Tick,
};
use pulse_host::{
    domain::{host::PerKind, spec::Kind},
    scheduler::{components::Phase, stats::Snapshot},
};
use std::{collections::BTreeMap, time::Duration};

/// Runs from one comparison to the next. What does not add up never will again.
const COMPARED_EVERY: u64 = 16;

/// Counts of one kind, from the outside.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    pub sent: u64,
    pub applied: u64,
    pub lost: u64,
    pub stale: u64,
    pub superseded: u64,
    /// Given up by a reload.
    given_up: u64,
    /// Jobs in the channel.
    pub waiting: usize,
    /// Runs in a row in which nothing was sent although there was room.
    pub idle: u32,
}

impl Count {
    /// Jobs in the channel or running.
    pub fn out(&self) -> usize {
        let ended = self.applied + self.lost + self.superseded + self.given_up;
        usize::try_from(self.sent.saturating_sub(ended)).unwrap()
    }
}

/// Counts of everything.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub kinds: PerKind<Count>,
    healthy: u64,
    not_healthy: u64,
    undeliverable: u64,
    stalls: u64,
    stalled: Duration,
    runs: u64,
}

impl Figures {
    pub fn run(&mut self, tick: &Tick<'_>) {
        self.runs += 1;
        if !tick.stalled.is_zero() {
            self.stalls += 1;
            self.stalled += tick.stalled;
        }
    }

    /// A result came for a monitor that is gone.
    pub fn stale(&mut self, kind: Kind) {
        self.kinds.get_mut(kind).stale += 1;
    }

    /// A reload gave up what was out.
    pub fn give_up(&mut self, kind: Kind) {
        self.kinds.get_mut(kind).given_up += 1;
    }

    /// A reload left a code undelivered.
    pub fn undeliverable(&mut self) {
        self.undeliverable += 1;
    }

    /// Whether they are to be compared after this run.
    pub fn turn(&self) -> bool {
        self.runs.is_multiple_of(COMPARED_EVERY)
    }

    pub fn add(&mut self, doings: &Doings) {
        for turn in &doings.sent {
            let count = self.kinds.get_mut(turn.kind);
            count.sent += 1;
            count.waiting += 1;
        }
        for kind in &doings.applied {
            self.kinds.get_mut(*kind).applied += 1;
        }
        for kind in &doings.lost {
            self.kinds.get_mut(*kind).lost += 1;
        }
        for kind in &doings.stale {
            self.kinds.get_mut(*kind).stale += 1;
        }
        self.kinds.code.superseded += doings.superseded;
        self.healthy += doings.healthy;
        self.not_healthy += doings.not_healthy;
        self.undeliverable += doings.undeliverable;
    }

    /// Holds a fresh snapshot against them.
    pub fn compare(
        &self,
        ledger: &mut Ledger,
        snapshot: &Snapshot,
        models: &[Model],
        states: &BTreeMap<&'static str, u64>,
    ) -> Verdict {
        let mut same = |what: &dyn std::fmt::Display, theirs: u64, ours: u64| {
            ledger.check(Rule::FiguresAddUp, "host", theirs == ours, || {
                format!("{what}: it says {theirs}, seen: {ours}")
            })
        };
        for kind in Kind::ALL {
            let (theirs, ours) = (snapshot.kinds.get(kind), self.kinds.get(kind));
            let lanes = |phase: Phase| {
                models
                    .iter()
                    .flat_map(Model::lanes)
                    .filter(|track| track.kind == kind && track.phase == phase)
                    .count() as u64
            };
            let outcomes = theirs.outcomes.total();
            same(&format_args!("{kind}, sent"), theirs.sent, ours.sent)?;
            same(&format_args!("{kind}, outcomes"), outcomes, ours.applied)?;
            same(&format_args!("{kind}, lost"), theirs.lost, ours.lost)?;
            same(&format_args!("{kind}, stale"), theirs.stale, ours.stale)?;
            same(
                &format_args!("{kind}, pending"),
                theirs.pending as u64,
                lanes(Phase::Pending),
            )?;
            same(
                &format_args!("{kind}, all that was sent"),
                theirs.sent,
                outcomes + theirs.lost + theirs.pending as u64 + ours.superseded + ours.given_up,
            )?;
            // Outdated tickets are counted until somebody looks at them.
            let needed = lanes(Phase::Needed);
            same(
                &format_args!("{kind}, needed"),
                (theirs.needed as u64).max(needed),
                theirs.needed as u64,
            )?;
        }
        let boxes: usize = models
            .iter()
            .flat_map(|model| &model.boxes)
            .map(|sink| sink.len())
            .sum();
        same(&"outbox", snapshot.outbox as u64, boxes as u64)?;
        same(&"healthy", snapshot.healthy, self.healthy)?;
        same(&"not healthy", snapshot.not_healthy, self.not_healthy)?;
        same(&"undeliverable", snapshot.undeliverable, self.undeliverable)?;
        same(&"stalls", snapshot.stalls, self.stalls)?;
        same(
            &"stalled, ms",
            snapshot.stalled.as_millis() as u64,
            self.stalled.as_millis() as u64,
        )?;
        same(&"dropped events", snapshot.dropped_events, 0)?;
        same(&"runs", snapshot.runs, self.runs)?;
        for (state, count) in states {
            same(&state, snapshot.states.get(state).copied().unwrap_or(0), *count)?;
        }
        let all: u64 = snapshot.states.values().sum();
        same(&"monitors in any state", all, states.values().sum())
    }
}

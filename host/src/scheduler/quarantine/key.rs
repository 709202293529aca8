//! One breaker: what a tenant's executions say of a component, and how it stands because of them.

use crate::domain::{
    job::JobResult,
    outcome::{Outcome, PluginFault},
    time::Mono,
};
use bevy_ecs::entity::Entity;
use std::{collections::VecDeque, sync::Arc};

/// Parts of the window; it moves on by one of them at a time.
pub(super) const PARTS: usize = 8;
/// Bytes of the last fault's line that are kept as a reason.
const REASON_MAX: usize = 256;

/// What an execution says about its plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Testimony {
    /// It works.
    Well,
    /// It is in trouble, and that is its own fault.
    Sick,
    /// Nothing.
    Nothing,
}

/// What an outcome says about the plugin.
///
/// Whatever it answered, it works. Of a target that keeps it waiting it can't be blamed. A setting or a grant that is
/// wrong is a matter of one monitor and is told there; it says as little as the host's own trouble. And a deadline is
/// the plugin's fault only if it was computing for most of the time: one that is late because its neighbours compute
/// must not pay for them.
#[must_use]
pub fn testimony(result: &JobResult) -> Testimony {
    match &result.outcome {
        Outcome::Answer(_) | Outcome::DeadlineWaiting => Testimony::Well,
        Outcome::PluginFault(PluginFault::Internal(_))
        | Outcome::OutOfFuel { .. }
        | Outcome::OutOfCpu { .. }
        | Outcome::OutOfMemory { .. }
        | Outcome::StackOverflow
        | Outcome::Trap(_) => Testimony::Sick,
        Outcome::Deadline => {
            let own = result.usage.wall.saturating_sub(result.usage.host);
            if !own.is_zero() && result.usage.cpu >= own / 2 {
                Testimony::Sick
            } else {
                Testimony::Nothing
            }
        }
        Outcome::PluginFault(PluginFault::InvalidSettings(_) | PluginFault::Unsupported(_))
        | Outcome::Expired
        | Outcome::Denied(_)
        | Outcome::NoCapacity(_)
        | Outcome::HostError(_) => Testimony::Nothing,
    }
}

/// Executions of one part of the window.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count {
    pub well: u32,
    pub sick: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Closed,
    Open {
        until: Mono,
    },
    /// Probes are let through.
    Trying(Round),
}

/// Probes that were let through together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Round {
    /// They are known by being sent since then.
    pub since: Mono,
    pub sent: u32,
    pub heard: u32,
    pub sick: u32,
    /// When the last of them must have come back.
    pub until: Mono,
}

impl Round {
    pub fn begins(now: Mono) -> Self {
        Self {
            since: now,
            sent: 0,
            heard: 0,
            sick: 0,
            until: Mono::NEVER,
        }
    }
}

/// A tenant and a digest.
#[derive(Debug)]
pub(super) struct Key {
    pub tenant: Arc<str>,
    pub digest: Arc<str>,
    pub plugin: Arc<str>,
    /// Since then executions are its own; what was sent before may be those of what it took the place of.
    pub since: Mono,
    /// Closed, and not known to be sick at large: nothing is to be done for a job that ends well but to count it.
    pub calm: bool,
    pub state: State,
    /// The window, its sum, and the number of its newest part.
    pub parts: [Count; PARTS],
    pub sum: Count,
    pub part: u64,
    /// Faults in a row.
    pub streak: u32,
    /// Whether anything ever ended well, or was the plugin's fault.
    pub known: bool,
    /// Since it opened nothing has gone well.
    pub opened: bool,
    /// Openings, as far as they follow each other closely.
    pub level: u32,
    pub closed_at: Mono,
    /// Whether the host's sinks heard that it is open.
    pub told: bool,
    /// Why it is open, for people.
    pub reason: Arc<str>,
    /// Monitors whose pulses were not run.
    pub held: VecDeque<Entity>,
    /// Probes that a dispatch has planned and not yet sent.
    pub planned: u32,
    pub plan: u64,
}

impl Key {
    /// Forgets what is older than the window.
    pub fn turn(&mut self, part: u64) {
        let behind = part.saturating_sub(self.part);
        if behind >= PARTS as u64 {
            (self.parts, self.sum) = ([Count::default(); PARTS], Count::default());
        } else {
            for old in self.part + 1..=part {
                if let Some(count) = self.parts.get_mut(old as usize % PARTS) {
                    let count = std::mem::take(count);
                    self.sum.well = self.sum.well.saturating_sub(count.well);
                    self.sum.sick = self.sum.sick.saturating_sub(count.sick);
                }
            }
        }
        self.part = self.part.max(part);
    }

    pub fn count(&mut self, testimony: Testimony) {
        let one = match testimony {
            Testimony::Well => {
                self.streak = 0;
                Count { well: 1, sick: 0 }
            }
            Testimony::Sick => {
                self.streak = self.streak.saturating_add(1);
                Count { well: 0, sick: 1 }
            }
            Testimony::Nothing => return,
        };
        self.known = true;
        self.sum.well = self.sum.well.saturating_add(one.well);
        self.sum.sick = self.sum.sick.saturating_add(one.sick);
        if let Some(count) = self.parts.get_mut(self.part as usize % PARTS) {
            count.well = count.well.saturating_add(one.well);
            count.sick = count.sick.saturating_add(one.sick);
        }
    }
}

/// The outcome in one line of bounded length.
pub(super) fn reason(outcome: &Outcome) -> Arc<str> {
    let line = outcome.to_string();
    line.get(..line.floor_char_boundary(REASON_MAX))
        .unwrap_or_default()
        .into()
}

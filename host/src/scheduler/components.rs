//! What a monitor is made of in the ECS world.
//!
//! Architecture invariant: a lane is in exactly one [`Phase`]; only the methods of [`Lane`] change it.

use crate::domain::{
    health::{Health, State},
    outbox::Outbox,
    spec::MonitorSpec,
    time::Mono,
};
use bevy_ecs::{component::Component, query::QueryData};

/// The configuration of a monitor.
#[derive(Component, Debug)]
pub struct Monitor(pub MonitorSpec);

/// The state machine of a monitor.
#[derive(Component, Debug)]
pub struct Vital {
    /// The machine itself.
    pub health: Health,
    /// The state that was published last.
    pub shown: State,
    /// When the machine wants to be woken.
    pub wake_at: Mono,
    /// The entry of the wheel that will see to it, never later than that; all others are outdated.
    pub entry_at: Mono,
}

impl Default for Vital {
    fn default() -> Self {
        Self {
            health: Health::default(),
            shown: State::Unknown,
            wake_at: Mono::NEVER,
            entry_at: Mono::NEVER,
        }
    }
}

/// Where a lane stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// In the wheel until its time, or nothing to do ([`Mono::NEVER`]).
    Waiting,
    /// Due, and to be sent as soon as there is room; the time is when it fell due.
    Needed,
    /// In a channel or running; the time is the recovery deadline.
    Pending,
}

/// One lane: a monitor's pulse, its intervention, or one of its sinks.
#[derive(Clone, Copy, Debug)]
pub struct Lane {
    phase: Phase,
    attempt: u32,
    at: Mono,
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            phase: Phase::Waiting,
            attempt: 0,
            at: Mono::NEVER,
        }
    }
}

impl Lane {
    /// Where it stands.
    #[must_use]
    pub fn phase(self) -> Phase {
        self.phase
    }

    /// The attempt that was sent last, or a later one that makes it stale.
    #[must_use]
    pub fn attempt(self) -> u32 {
        self.attempt
    }

    /// The time that belongs to the phase.
    #[must_use]
    pub fn at(self) -> Mono {
        self.at
    }

    /// Whether it stands so since, or until, that very time; anything else in wheel or queue is outdated.
    #[must_use]
    pub fn is(self, phase: Phase, at: Mono) -> bool {
        self.phase == phase && self.at == at
    }

    /// Waits until then. Not for a pending lane: what is pending ends by a result or by recovery.
    pub fn wait(&mut self, until: Mono) {
        debug_assert!(self.phase != Phase::Pending);
        self.phase = Phase::Waiting;
        self.at = until;
    }

    /// Falls due.
    pub fn need(&mut self, since: Mono) {
        debug_assert!(self.phase != Phase::Pending);
        self.phase = Phase::Needed;
        self.at = since;
    }

    /// The channel took the job of that attempt.
    pub fn pend(&mut self, attempt: u32, deadline: Mono) {
        self.phase = Phase::Pending;
        self.attempt = attempt;
        self.at = deadline;
    }

    /// The pending attempt came back.
    pub fn settle(&mut self) {
        self.phase = Phase::Waiting;
        self.at = Mono::NEVER;
    }

    /// The pending attempt is given up: its result will be stale.
    pub fn abandon(&mut self) {
        self.attempt = self.attempt.wrapping_add(1);
        self.settle();
    }
}

/// The pulse of a monitor.
#[derive(Component, Debug, Default)]
pub struct PulseLane {
    /// Where it stands.
    pub lane: Lane,
    /// Its last slot on the grid of the interval.
    pub slot: Mono,
    /// What it fell due for.
    pub due: Mono,
}

/// The intervention of a monitor.
#[derive(Component, Debug, Default)]
pub struct RepairLane {
    /// Where it stands.
    pub lane: Lane,
    /// The number within the incident of the attempt that was sent last.
    pub number: u32,
    /// When that was, in the host's budget.
    pub spent_at: Mono,
    /// The attempt that was given up as lost, as the lane and as the incident count it, while none has run since.
    pub lost: Option<(u32, u32)>,
}

/// The sinks of a monitor; the index is the sink's number.
#[derive(Component, Debug, Default)]
pub struct Sinks(pub Box<[SinkLane]>);

/// One sink of a monitor.
#[derive(Debug, Default)]
pub struct SinkLane {
    /// Where it stands.
    pub lane: Lane,
    /// What waits for it.
    pub outbox: Outbox,
}

/// Everything of a monitor at once.
#[derive(QueryData)]
#[query_data(mutable)]
pub struct Whole {
    /// Its configuration.
    pub monitor: &'static Monitor,
    /// Its state machine.
    pub vital: &'static mut Vital,
    /// Its pulse.
    pub pulse: &'static mut PulseLane,
    /// Its intervention.
    pub repair: &'static mut RepairLane,
    /// Its sinks.
    pub sinks: &'static mut Sinks,
}

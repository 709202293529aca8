//! What a monitor is made of in the ECS world.
//!
//! There may be a million of them, and nearly all are well: what a healthy monitor needs lies side by side in one
//! small component, and whatever else there is to know about trouble is made when trouble comes ([`Case`]) and dropped
//! when it is over.
//!
//! Architecture invariant: a lane is in exactly one [`Phase`]; only the methods of [`Lane`] change it.

use super::{correlated::Standing, resources::LaneRef};
use crate::domain::{
    health::{Health, State},
    outbox::Outbox,
    spec::MonitorSpec,
    time::Mono,
};
use bevy_ecs::component::Component;

/// One monitor.
#[derive(Component, Debug)]
pub struct Monitor {
    /// Its configuration.
    pub spec: MonitorSpec,
    /// The last slot of the pulse on the grid of the interval.
    pub slot: Mono,
    /// The pulse.
    pub pulse: Lane,
    /// The state machine.
    pub health: Health,
    /// Everything that only a monitor in trouble needs.
    pub case: Option<Box<Case>>,
}

impl Monitor {
    /// A monitor that waits for its first pulse.
    #[must_use]
    pub fn new(spec: MonitorSpec, slot: Mono, flow: u16) -> Self {
        Self {
            spec,
            slot,
            pulse: Lane::new(flow),
            health: Health::default(),
            case: None,
        }
    }

    /// One of its lanes. None: it is not in use, and so waits for nothing.
    #[must_use]
    pub fn lane(&self, lane: LaneRef) -> Option<&Lane> {
        match lane {
            LaneRef::Pulse => Some(&self.pulse),
            LaneRef::Intervention => self.case.as_deref().map(|case| &case.repair.lane),
            LaneRef::Sink(index) => {
                let sink = self.case.as_deref()?.sinks.get(usize::from(index));
                sink.map(|sink| &sink.lane)
            }
        }
    }

    /// The same, to be changed.
    pub fn lane_mut(&mut self, lane: LaneRef) -> Option<&mut Lane> {
        match lane {
            LaneRef::Pulse => Some(&mut self.pulse),
            LaneRef::Intervention => self.case.as_deref_mut().map(|case| &mut case.repair.lane),
            LaneRef::Sink(index) => {
                let sink = self.case.as_deref_mut()?.sinks.get_mut(usize::from(index));
                sink.map(|sink| &mut sink.lane)
            }
        }
    }

    /// A sink, if it is in use.
    pub fn sink_mut(&mut self, index: u16) -> Option<&mut SinkLane> {
        self.case.as_deref_mut()?.sinks.get_mut(usize::from(index))
    }

    /// Drops the case, if nothing in it can ever matter again.
    pub fn close_case(&mut self) {
        if let Some(case) = &self.case
            && !self.health.has_episode()
            && case.is_at_rest()
        {
            self.case = None;
        }
    }
}

/// What a monitor in trouble needs beside.
#[derive(Debug)]
pub struct Case {
    /// The intervention.
    pub repair: RepairLane,
    /// The sinks; the index is the sink's number.
    pub sinks: Box<[SinkLane]>,
    /// A parent is down: what was not sent yet stays here until a pulse says whether it is still true.
    pub held: bool,
    /// When the failure began that is counted among those of many monitors at once; [`Mono::NEVER`]: none is.
    pub onset: Mono,
    /// When the state machine wants to be woken.
    pub wake_at: Mono,
    /// The entry of the wheel that will see to it, never later than that; all others are outdated.
    pub entry_at: Mono,
    /// The record that its codes wait for.
    pub seq: u64,
}

impl Case {
    fn is_at_rest(&self) -> bool {
        let rests = |lane: &Lane| lane.is(Phase::Waiting, Mono::NEVER);
        self.wake_at == Mono::NEVER
            && rests(&self.repair.lane)
            && self
                .sinks
                .iter()
                .all(|sink| sink.outbox.is_empty() && rests(&sink.lane))
    }
}

/// Where a lane stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// In the wheel until its time, or nothing to do ([`Mono::NEVER`]).
    Waiting,
    /// Due, and to be sent as soon as there is room; the time is when it fell due.
    Needed,
    /// In a channel or running, under the number of its flight.
    Pending,
}

/// One lane: a monitor's pulse, its intervention, or one of its sinks.
#[derive(Clone, Copy, Debug)]
pub struct Lane {
    /// The time that belongs to the phase, or the number of the flight.
    at: u64,
    attempt: u32,
    flow: u16,
    phase: Phase,
    /// Of a pulse: what else is to be known of its monitor whenever one ended.
    flags: u8,
}

/// Other monitors depend on this one.
const WATCHED: u8 = 1;
/// Its plugin is quarantined, and it waits to be checked as soon as that is over.
const HELD: u8 = 2;
/// How it is counted among those that may fail together.
const STANDING: u8 = 0b1100;
/// What of its monitor outlasts a restart has changed since that was put down last.
const UNSAVED: u8 = 0b1_0000;
/// The same, and somebody waits until it is put down.
const URGENT: u8 = 0b10_0000;

impl Lane {
    /// A lane with nothing to do, whose jobs wait in that queue of their kind.
    #[must_use]
    pub fn new(flow: u16) -> Self {
        Self {
            phase: Phase::Waiting,
            attempt: 0,
            flow,
            flags: 0,
            at: Mono::NEVER.0,
        }
    }

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

    /// The queue in which its jobs wait.
    #[must_use]
    pub fn flow(self) -> u16 {
        self.flow
    }

    /// Whether other monitors depend on the one whose pulse this is.
    #[must_use]
    pub fn is_watched(self) -> bool {
        self.has(WATCHED)
    }

    /// Says whether other monitors depend on the one whose pulse this is.
    pub fn set_watched(&mut self, watched: bool) {
        self.set(WATCHED, watched);
    }

    /// Whether its plugin is quarantined, and it is in the list of those that are checked when that is over.
    #[must_use]
    pub fn is_held(self) -> bool {
        self.has(HELD)
    }

    /// It was put into that list, or is to be checked now.
    pub fn set_held(&mut self, held: bool) {
        self.set(HELD, held);
    }

    /// How its monitor is counted among those that may fail together.
    #[inline]
    #[must_use]
    pub fn standing(self) -> Standing {
        match self.flags & STANDING {
            0b0100 => Standing::Alive,
            0b1000 => Standing::Failing,
            STANDING => Standing::WasAlive,
            _ => Standing::Nothing,
        }
    }

    /// It is counted so from now on.
    pub fn set_standing(&mut self, standing: Standing) {
        let bits = match standing {
            Standing::Nothing => 0,
            Standing::Alive => 0b0100,
            Standing::Failing => 0b1000,
            Standing::WasAlive => STANDING,
        };
        self.flags = self.flags & !STANDING | bits;
    }

    /// Whether its monitor is to be put on record.
    #[must_use]
    pub fn is_unsaved(self) -> bool {
        self.has(UNSAVED)
    }

    /// Whether somebody waits for that.
    #[must_use]
    pub fn is_urgent(self) -> bool {
        self.has(URGENT)
    }

    /// Its monitor is to be put on record, or is there as it is.
    pub fn set_unsaved(&mut self, unsaved: bool, urgent: bool) {
        self.set(UNSAVED, unsaved);
        self.set(URGENT, urgent);
    }

    fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn set(&mut self, flag: u8, on: bool) {
        self.flags = self.flags & !flag | if on { flag } else { 0 };
    }

    /// Its jobs wait in another queue from now on.
    pub fn set_flow(&mut self, flow: u16) {
        self.flow = flow;
    }

    /// Until when it waits, or since when it is needed; not for a pending lane.
    #[must_use]
    pub fn at(self) -> Mono {
        debug_assert!(self.phase != Phase::Pending);
        Mono(self.at)
    }

    /// The number of its flight, if it is pending.
    #[must_use]
    pub fn flight(self) -> Option<u32> {
        let number = u32::try_from(self.at).ok()?;
        (self.phase == Phase::Pending).then_some(number)
    }

    /// Whether it stands so since, or until, that very time.
    #[must_use]
    pub fn is(self, phase: Phase, at: Mono) -> bool {
        self.phase == phase && self.at == at.0
    }

    /// Whether its waiting is over.
    #[must_use]
    pub fn is_due(self, now: Mono) -> bool {
        self.phase == Phase::Waiting && self.at <= now.0
    }

    /// Waits until then. Not for a pending lane: what is pending ends by a result or by recovery.
    pub fn wait(&mut self, until: Mono) {
        debug_assert!(self.phase != Phase::Pending);
        self.phase = Phase::Waiting;
        self.at = until.0;
    }

    /// Falls due.
    pub fn need(&mut self, since: Mono) {
        debug_assert!(self.phase != Phase::Pending);
        self.phase = Phase::Needed;
        self.at = since.0;
    }

    /// The channel took the job of that attempt.
    pub fn pend(&mut self, attempt: u32, flight: u32) {
        self.phase = Phase::Pending;
        self.attempt = attempt;
        self.at = u64::from(flight);
        self.set(HELD, false);
    }

    /// The pending attempt came back.
    pub fn settle(&mut self) {
        self.phase = Phase::Waiting;
        self.at = Mono::NEVER.0;
    }

    /// The pending attempt is given up: its result will be stale.
    pub fn abandon(&mut self) {
        self.attempt = self.attempt.wrapping_add(1);
        self.settle();
    }
}

/// The intervention of a monitor.
#[derive(Debug)]
pub struct RepairLane {
    /// Where it stands.
    pub lane: Lane,
    /// The number within the incident of the attempt that was sent last.
    pub number: u32,
    /// When that was, in the host's budget.
    pub spent_at: Mono,
    /// The record of the intent to do it; 0: there is none.
    pub intent: u64,
    /// The attempt that was given up as lost, as the lane and as the incident count it, while none has run since.
    pub lost: Option<(u32, u32)>,
}

/// One sink of a monitor.
#[derive(Debug)]
pub struct SinkLane {
    /// Where it stands.
    pub lane: Lane,
    /// What waits for it.
    pub outbox: Outbox,
}

/// The state of a monitor that nothing is known about.
pub const FIRST_STATE: State = State::Unknown;

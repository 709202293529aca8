//! What a monitor looks like from outside, for whoever inspects the world and changes nothing.
//!
//! Architecture invariant: nothing here writes, and what it shows is what the systems go by, not a copy that could
//! differ from it.

use super::{
    Scheduler,
    components::{Lane, Monitor, Phase},
    flights::Flights,
    resources::{LaneRef, Out},
};
use crate::domain::{
    health::State,
    job::{Alert, MonitorId},
    spec::MonitorSpec,
    time::Mono,
};
use bevy_ecs::entity::Entity;
use std::sync::Arc;

/// One monitor as it stands between two runs.
pub struct MonitorView<'w> {
    monitor: &'w Monitor,
    out: &'w Flights,
}

/// One of its lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneView {
    /// Where it stands.
    pub phase: Phase,
    /// Until when it waits, since when it is needed, or when what is pending must have come back.
    pub at: Mono,
    /// The attempt that was sent last, or a later one that makes it stale. None: there was no need for the lane yet,
    /// or none any more.
    pub attempt: Option<u32>,
}

impl Scheduler {
    /// Every monitor of the world, the host's own entry included, in no particular order.
    pub fn monitors(&self) -> impl Iterator<Item = MonitorId> + '_ {
        let monitor = self.world.component_id::<Monitor>();
        self.world
            .archetypes()
            .iter()
            .filter(move |archetype| monitor.is_some_and(|id| archetype.contains(id)))
            .flat_map(|archetype| archetype.entities())
            .map(|entity| MonitorId(entity.id().to_bits()))
    }

    /// One monitor; none if there is none of that id.
    #[must_use]
    pub fn view(&self, id: MonitorId) -> Option<MonitorView<'_>> {
        Some(MonitorView {
            monitor: self.world.get(Entity::try_from_bits(id.0)?)?,
            out: &self.world.get_resource::<Out>()?.0,
        })
    }
}

impl<'w> MonitorView<'w> {
    /// Its configuration.
    #[must_use]
    pub fn spec(&self) -> &'w MonitorSpec {
        &self.monitor.spec
    }

    /// Its state in one word.
    #[must_use]
    pub fn state(&self) -> State {
        self.monitor.health.state()
    }

    /// Where its pulse stands.
    #[must_use]
    pub fn pulse(&self) -> LaneView {
        self.lane(LaneRef::Pulse)
    }

    /// Where its intervention stands.
    #[must_use]
    pub fn intervention(&self) -> LaneView {
        self.lane(LaneRef::Intervention)
    }

    /// Where one of its sinks stands.
    #[must_use]
    pub fn sink(&self, index: u16) -> LaneView {
        self.lane(LaneRef::Sink(index))
    }

    /// The codes that wait for one of its sinks, the next first, and how often each was handed to a worker.
    pub fn codes(&self, sink: u16) -> impl Iterator<Item = (&'w Arc<Alert>, u32)> + 'w {
        self.monitor
            .case
            .as_deref()
            .and_then(|case| case.sinks.get(usize::from(sink)))
            .into_iter()
            .flat_map(|sink| sink.outbox.codes())
    }

    fn lane(&self, lane: LaneRef) -> LaneView {
        self.monitor.lane(lane).map_or(
            LaneView {
                phase: Phase::Waiting,
                at: Mono::NEVER,
                attempt: None,
            },
            |lane| LaneView {
                phase: lane.phase(),
                at: self.at(*lane),
                // Numbers begin with 1.
                attempt: Some(lane.attempt()).filter(|attempt| *attempt > 0),
            },
        )
    }

    fn at(&self, lane: Lane) -> Mono {
        match lane.flight() {
            // A pending lane always has a flight, and shows if not.
            Some(number) => self.out.get(number).map_or(Mono::NEVER, |flight| flight.deadline),
            None => lane.at(),
        }
    }
}

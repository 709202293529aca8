//! What a monitor looks like from outside, for whoever inspects the world and changes nothing.
//!
//! Architecture invariant: nothing here writes, and what it shows is what the systems go by, not a copy that could
//! differ from it.

use super::{
    Scheduler,
    components::{Lane, Monitor, PulseLane, RepairLane, Sinks, Vital},
};
use crate::domain::{
    health::State,
    job::{Alert, MonitorId},
    spec::MonitorSpec,
};
use bevy_ecs::entity::Entity;
use std::sync::Arc;

/// One monitor as it stands between two runs.
pub struct MonitorView<'w> {
    monitor: &'w Monitor,
    vital: &'w Vital,
    pulse: &'w PulseLane,
    repair: &'w RepairLane,
    sinks: &'w Sinks,
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
        let entity = self.world.get_entity(Entity::try_from_bits(id.0)?).ok()?;
        Some(MonitorView {
            monitor: entity.get()?,
            vital: entity.get()?,
            pulse: entity.get()?,
            repair: entity.get()?,
            sinks: entity.get()?,
        })
    }
}

impl<'w> MonitorView<'w> {
    /// Its configuration.
    #[must_use]
    pub fn spec(&self) -> &'w MonitorSpec {
        &self.monitor.0
    }

    /// Its state in one word.
    #[must_use]
    pub fn state(&self) -> State {
        self.vital.health.state()
    }

    /// Where its pulse stands.
    #[must_use]
    pub fn pulse(&self) -> Lane {
        self.pulse.lane
    }

    /// Where its intervention stands.
    #[must_use]
    pub fn intervention(&self) -> Lane {
        self.repair.lane
    }

    /// Where each of its sinks stands, in their order.
    pub fn sinks(&self) -> impl ExactSizeIterator<Item = Lane> + 'w {
        self.sinks.0.iter().map(|sink| sink.lane)
    }

    /// The codes that wait for one of its sinks, the next first, and how often each was handed to a worker.
    pub fn codes(&self, sink: usize) -> impl Iterator<Item = (&'w Arc<Alert>, u32)> + 'w {
        self.sinks
            .0
            .get(sink)
            .into_iter()
            .flat_map(|sink| sink.outbox.codes())
    }
}

//! Monitors of which figures are kept one by one, because the operator wants to see them so.
//!
//! Architecture invariant: where none is chosen, a check costs one look at an empty table.

use crate::domain::{
    health::Now,
    job::{JobResult, MonitorId},
    outcome::Status,
    series::{Counts, Ending},
    time::{Wall, millis},
};
use bevy_ecs::{entity::Entity, resource::Resource};
use std::{collections::HashMap, sync::Arc, time::Duration};

/// All of them.
#[derive(Resource, Default)]
pub struct Chosen(HashMap<Entity, Arc<Counts>>);

impl Chosen {
    /// From now on these.
    pub fn replace(&mut self, monitors: Vec<(MonitorId, Arc<Counts>)>) {
        let entity = |(id, counts): (MonitorId, _)| Some((Entity::try_from_bits(id.0)?, counts));
        self.0 = monitors.into_iter().filter_map(entity).collect();
    }

    /// A check of that monitor has ended; without a result it was lost, and without a verdict it says nothing of its target.
    pub fn note(&self, entity: Entity, result: Option<&JobResult>, verdict: Option<Status>, now: Now) {
        if self.0.is_empty() {
            return;
        }
        let Some(counts) = self.0.get(&entity) else {
            return;
        };
        let (ago, took) = result.map_or((Duration::ZERO, Duration::ZERO), |result| {
            (now.mono.since(result.finished), result.usage.wall)
        });
        let at = Wall(now.wall.0.saturating_sub(millis(ago)));
        counts.add(verdict.map_or(Ending::Fault, Ending::Verdict), at, took);
    }
}

//! Who depends on whom, and what that means while a parent fails.
//!
//! A monitor that begins to fail says nothing before its parents have been looked at: each whose last answer is older
//! than the failure is checked at once, and until they have answered the child waits. A parent that fails, whether it
//! counts as down yet or not, makes its children unreachable: they emit nothing and are not repaired, and what they had
//! not yet sent is held. When all their parents are well again, those that failed meanwhile are checked again, spread
//! out, and what is still true then is said.
//!
//! Architecture invariant: a child waits for its parents only as long as their pulses run; a run looks at a bounded
//! number of children, and the rest follow in the next.

use super::{
    components::{Monitor, Phase},
    follow::{follow, hold_codes, wait_for_pulse},
    resources::{Desk, Scratch},
};
use crate::domain::{board::Mark, health::Health, spec::MonitorSpec, time::Mono};
use bevy_ecs::{change_detection::DetectChangesMut as _, entity::Entity, resource::Resource, system::Query};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

/// Children that one run looks at.
const CHILDREN_PER_RUN: usize = 4096;
/// The checks after a parent's recovery are spread over that time, or over the child's retry interval if it is longer.
const SPREAD_MIN: Duration = Duration::from_secs(1);

/// Who depends on whom.
#[derive(Resource, Default)]
pub struct Family {
    parents: HashMap<Entity, Parent>,
    /// Monitors by their place in the list of all; empty if nobody depends on anybody.
    places: Vec<Entity>,
    /// Parents of which something is new, and how many of their children have heard of it.
    news: VecDeque<(Entity, usize)>,
    /// Parents to be checked at once.
    asked: Vec<Entity>,
    /// Children whose parents are others than before.
    moved: Vec<Entity>,
}

#[derive(Default)]
struct Parent {
    children: Vec<Entity>,
    /// Children that wait for its next answer.
    waiting: HashSet<Entity>,
    blocks: bool,
    /// It is not looked at: nobody waits for it, and nothing is known that would keep its children silent.
    paused: bool,
    /// When the pulse began that answered last.
    looked_at: Mono,
    /// It must answer with a pulse that begins no earlier: the last failure of those that wait.
    asked_at: Mono,
}

impl Family {
    /// Takes down who depends on whom. `monitors` are all, in the order of the list that `parents` points into.
    pub fn found<'m>(monitors: impl Iterator<Item = (Entity, &'m MonitorSpec)> + Clone) -> Self {
        let mut family = Self::default();
        if monitors.clone().all(|(_, spec)| spec.parents.is_empty()) {
            return family;
        }
        family.places = monitors.clone().map(|(entity, _)| entity).collect();
        for (entity, spec) in monitors {
            for parent in spec
                .parents
                .iter()
                .filter_map(|place| family.places.get(*place as usize))
            {
                family.parents.entry(*parent).or_default().children.push(entity);
            }
        }
        family
    }

    /// Takes over what was known before another configuration came: when parents were looked at, and who waits for
    /// them.
    pub fn inherit(&mut self, before: Self) {
        for (entity, known) in before.parents {
            let Some(parent) = self.parents.get_mut(&entity) else {
                continue;
            };
            parent.looked_at = known.looked_at;
            parent.asked_at = known.asked_at;
            // Who does not depend on it any more has moved, and hears of it.
            let children: HashSet<Entity> = match known.waiting.is_empty() {
                true => HashSet::new(),
                false => parent.children.iter().copied().collect(),
            };
            parent.waiting = known.waiting.intersection(&children).copied().collect();
            if !parent.waiting.is_empty() {
                self.asked.push(entity);
            }
        }
    }

    /// Takes over how a parent is, and tells its children if that matters to them.
    pub fn learn(&mut self, entity: Entity, health: &Health) {
        if let Some(parent) = self.parents.get_mut(&entity) {
            parent.paused = health.marks().has(Mark::Paused);
            parent.blocks = health.blocks() && !parent.paused;
            if parent.blocks {
                self.news.push_back((entity, 0));
            }
        }
    }

    /// A parent is not looked at any more, or is again.
    pub fn paused(&mut self, entity: Entity, paused: bool) {
        let Some(parent) = self.parents.get_mut(&entity) else {
            return;
        };
        parent.paused = paused;
        let blocked = std::mem::take(&mut parent.blocks);
        if blocked || !parent.waiting.is_empty() {
            self.news.push_back((entity, 0));
        }
    }

    /// A child has others for parents than before, or none.
    pub fn moved(&mut self, child: Entity) {
        self.moved.push(child);
    }

    /// All monitors that others depend on.
    pub fn parents(&self) -> impl Iterator<Item = Entity> {
        self.parents.keys().copied()
    }

    /// How many monitors depend on that one.
    #[must_use]
    pub fn children(&self, parent: Entity) -> usize {
        self.parents
            .get(&parent)
            .map_or(0, |parent| parent.children.len())
    }

    /// A parent's pulse ended: what its children must know of.
    pub fn looked(&mut self, entity: Entity, started: Mono, health: &Health) {
        let Some(parent) = self.parents.get_mut(&entity) else {
            return;
        };
        parent.looked_at = started;
        let blocks = health.blocks();
        let changed = std::mem::replace(&mut parent.blocks, blocks) != blocks;
        if changed || (!parent.waiting.is_empty() && started >= parent.asked_at) {
            self.news.push_back((entity, 0));
        } else if !parent.waiting.is_empty() {
            // What it saw before they failed says nothing.
            self.asked.push(entity);
        }
    }

    /// A monitor has begun to fail, with a pulse that began at `started`. True if it must wait for a parent's answer.
    /// Whether one blocks the way is known already; see [`Family::blocked`].
    pub fn ask(&mut self, child: Entity, spec: &MonitorSpec, started: Mono) -> bool {
        let mut waits = false;
        for place in spec.parents.iter() {
            let Some(entity) = self.places.get(*place as usize) else {
                continue;
            };
            if let Some(parent) = self.parents.get_mut(entity)
                && parent.looked_at < started
                && !parent.paused
            {
                parent.waiting.insert(child);
                parent.asked_at = parent.asked_at.max(started);
                self.asked.push(*entity);
                waits = true;
            }
        }
        waits
    }

    /// Whether any of its parents blocks the way to a monitor.
    #[must_use]
    pub fn blocked(&self, spec: &MonitorSpec) -> bool {
        spec.parents
            .iter()
            .filter_map(|place| self.parents.get(self.places.get(*place as usize)?))
            .any(|parent| parent.blocks)
    }

    /// Whether a monitor still waits for another parent's answer.
    fn waits(&self, child: Entity, spec: &MonitorSpec) -> bool {
        spec.parents
            .iter()
            .filter_map(|place| self.parents.get(self.places.get(*place as usize)?))
            .any(|parent| parent.waiting.contains(&child))
    }
}

/// Tells children what is new about their parents, and checks the parents that were asked for.
pub fn advance(mut desk: Desk<'_>, mut scratch: Scratch<'_>, mut monitors: Query<'_, '_, &mut Monitor>) {
    if desk.family.parents.is_empty() && desk.family.moved.is_empty() {
        return;
    }
    for child in std::mem::take(&mut desk.family.moved) {
        tell(&mut desk, &mut scratch, &mut monitors, child);
    }
    let now = desk.now().mono;
    let asked = std::mem::take(&mut desk.family.asked);
    for entity in asked {
        if let Ok(mut monitor) = monitors.get_mut(entity) {
            let monitor = monitor.bypass_change_detection();
            if monitor.pulse.phase() == Phase::Waiting && monitor.pulse.at() > now {
                wait_for_pulse(&mut desk, entity, &mut monitor.pulse, now);
            }
        }
    }
    let mut left = CHILDREN_PER_RUN;
    while left > 0
        && let Some((entity, told)) = desk.family.news.pop_front()
    {
        let Some(parent) = desk.family.parents.get_mut(&entity) else {
            continue;
        };
        // Who waits hears first. Whoever began to wait since waits for the next answer.
        let waiting = if told == 0 {
            std::mem::take(&mut parent.waiting)
        } else {
            HashSet::new()
        };
        let batch: Vec<Entity> = parent.children.iter().skip(told).take(left).copied().collect();
        let end = told + batch.len();
        let more = end < parent.children.len();
        left -= batch.len();
        for child in waiting.into_iter().chain(batch) {
            tell(&mut desk, &mut scratch, &mut monitors, child);
        }
        if more {
            desk.family.news.push_front((entity, end));
        }
    }
}

/// A child hears that something is new about its parents.
fn tell(
    desk: &mut Desk<'_>,
    scratch: &mut Scratch<'_>,
    monitors: &mut Query<'_, '_, &mut Monitor>,
    child: Entity,
) {
    let Ok(mut monitor) = monitors.get_mut(child) else {
        return;
    };
    let monitor = monitor.bypass_change_detection();
    let blocked = desk.family.blocked(&monitor.spec);
    let now = desk.now();
    if monitor.health.is_awaiting() && !blocked {
        if desk.family.waits(child, &monitor.spec) {
            return;
        }
        let max_hold = desk.settings.0.max_hold;
        monitor.health.set_awaiting(false);
        monitor.health.on_time(&monitor.spec, now, max_hold, scratch);
    }
    monitor.health.set_unreachable(blocked, scratch);
    if blocked {
        hold_codes(monitor);
    }
    if std::mem::take(&mut scratch.recheck) && monitor.pulse.phase() == Phase::Waiting {
        // A hash of who it is spreads those that were found down together.
        let spread = monitor.spec.policy.retry_interval.max(SPREAD_MIN);
        let hash = (child.to_bits().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as u32;
        let later = now.mono.after(spread * hash / 1024);
        wait_for_pulse(desk, child, &mut monitor.pulse, later);
    }
    follow(desk, child, monitor, scratch, "");
}

//! Another configuration takes the place of the present one: what stayed the same goes on as if nothing had happened.
//!
//! A monitor is the same one as before if its identity is (its `key`, else its name). One that says something else than
//! before keeps its state, its incident and what it has not delivered yet. What it has running goes on as long as it
//! asks the same of the same plugin, though that may be another build now: the answer counts. Otherwise it is given up,
//! and its attempt is raised. A sink is the same one as before if its name is.
//!
//! Architecture invariant: no code disappears without a word. What can't be delivered any more, because its monitor or
//! its sink is gone, is recorded as undeliverable.

use super::{
    Scheduler,
    components::{Case, Monitor, Phase, SinkLane},
    correlated::Standing,
    depend::Family,
    follow::{first_slot, follow, lane_of, need_sink, next_pulse, stand, undeliverable, wait_for_pulse},
    quarantine::Quarantine,
    resources::{Desk, HostDesk, Time},
};
use crate::domain::{
    health::{Effects, InterventionEnd, Pace},
    spec::{Class, Kind, MonitorSpec, Sink},
    time::Mono,
};
use bevy_ecs::{
    change_detection::DetectChangesMut as _,
    entity::Entity,
    system::{Query, SystemState},
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// What a reload did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Monitors that were not there before.
    pub added: usize,
    /// Monitors that say something else than before.
    pub changed: usize,
    /// Monitors that say the same.
    pub kept: usize,
    /// Monitors that are gone.
    pub removed: usize,
}

impl Reloaded {
    /// Monitors that are not as they were.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.added + self.changed + self.removed
    }
}

impl Scheduler {
    /// Puts these monitors and this entry for the host in the place of the present ones, between two runs.
    pub fn reload(&mut self, monitors: Vec<MonitorSpec>, host_entry: Option<MonitorSpec>) -> Reloaded {
        let world = &mut self.world;
        {
            let mut time = world.resource_mut::<Time>();
            (time.now.mono, time.now.wall) = (time.clock.mono(), time.clock.wall());
        }
        let now = world.resource::<Time>().now.mono;
        let host = world.resource::<HostDesk>().entity;
        let mut known: HashMap<(Arc<str>, u64), Entity> = world
            .query::<(Entity, &Monitor)>()
            .iter(world)
            .filter(|(entity, _)| Some(*entity) != host)
            .map(|(entity, monitor)| (name(&monitor.spec), entity))
            .collect();
        let mut result = Reloaded::default();
        let mut places: Vec<Option<Entity>> = Vec::with_capacity(monitors.len());
        let mut fresh = Vec::new();
        let mut orphans = Vec::new();
        let mut state: SystemState<(Desk<'_>, Query<'_, '_, &mut Monitor>)> = SystemState::new(world);
        let Ok((mut desk, mut query)) = state.get_mut(world) else {
            // Every resource of the desk is there from the start.
            return result;
        };
        for spec in monitors {
            let entity = known.remove(&name(&spec));
            places.push(entity);
            let Some(mut monitor) = entity.and_then(|entity| query.get_mut(entity).ok()) else {
                result.added += 1;
                fresh.push(spec);
                continue;
            };
            let monitor = monitor.bypass_change_detection();
            if monitor.health.depends_on_parents() {
                orphans.extend(entity);
            }
            if monitor.spec.says_the_same(&spec) {
                result.kept += 1;
                monitor.spec = spec;
            } else if let Some(entity) = entity {
                result.changed += 1;
                change(&mut desk, entity, monitor, spec);
            }
        }
        let mut gone: Vec<Entity> = known.into_values().collect();
        result.removed = gone.len();
        for entity in &gone {
            if let Ok(mut monitor) = query.get_mut(*entity) {
                leave(&mut desk, *entity, monitor.bypass_change_detection());
            }
        }
        let stays = match (host, host_entry) {
            (Some(entity), Some(spec)) => {
                if let Ok(mut monitor) = query.get_mut(entity) {
                    desk.host.spec = Some(spec.clone());
                    let monitor = monitor.bypass_change_detection();
                    change_sinks(&mut desk, entity, monitor, spec);
                    desk.ledger.0.mark(entity, &mut monitor.pulse, false);
                }
                None
            }
            (Some(entity), None) => {
                desk.host.entity = None;
                if let Ok(mut monitor) = query.get_mut(entity) {
                    leave(&mut desk, entity, monitor.bypass_change_detection());
                }
                gone.push(entity);
                None
            }
            (None, entry) => entry,
        };
        if let Some(spec) = stays {
            self.add_host_entry(spec, now);
        }
        for entity in gone {
            self.world.despawn(entity);
        }
        let mut added = self.add(fresh, now).into_iter();
        let places: Vec<Entity> = places
            .into_iter()
            .filter_map(|known| known.or_else(|| added.next()))
            .collect();
        let before = std::mem::take(&mut *self.world.resource_mut::<Family>());
        self.found_family(&places);
        self.learn_family(before, &orphans);
        self.forget_plugins();
        result
    }

    /// A plugin that nobody uses any more is in nobody's way: quarantines end with the component that they are about.
    fn forget_plugins(&mut self) {
        let world = &mut self.world;
        let mut classes: HashSet<*const Class> = HashSet::new();
        let mut used = HashSet::new();
        for monitor in world.query::<&Monitor>().iter(world) {
            let class = monitor.spec.class();
            if !classes.insert(Arc::as_ptr(class)) {
                continue;
            }
            let pulse = class.pulse.as_ref().map(|check| &check.profile);
            let repair = class.intervention.as_ref().map(|repair| &repair.lane.profile);
            let codes = class.sinks.iter().map(|sink| &sink.lane.profile);
            for profile in pulse.into_iter().chain(repair).chain(codes) {
                used.insert((Arc::clone(&class.tenant.name), Arc::clone(&profile.digest)));
            }
        }
        world.resource_mut::<Quarantine>().retain(&used);
    }

    /// What is known about parents stays known, and children that lost theirs hear of it.
    fn learn_family(&mut self, before: Family, orphans: &[Entity]) {
        let parents: Vec<Entity> = self.world.resource::<Family>().parents().collect();
        self.world
            .resource_scope(|world, mut family: bevy_ecs::change_detection::Mut<'_, Family>| {
                family.inherit(before);
                for parent in parents {
                    if let Some(monitor) = world.get::<Monitor>(parent) {
                        family.learn(parent, &monitor.health);
                    }
                }
                for orphan in orphans {
                    family.moved(*orphan);
                }
            });
    }
}

/// What tells a monitor from all others.
fn name(spec: &MonitorSpec) -> (Arc<str>, u64) {
    (Arc::clone(&spec.tenant.name), spec.identity())
}

/// A monitor says something else than before.
fn change(desk: &mut Desk<'_>, entity: Entity, monitor: &mut Monitor, spec: MonitorSpec) {
    let mut effects = Effects::default();
    let now = desk.now();
    if monitor.spec.intervention != spec.intervention
        && let Some(case) = &mut monitor.case
    {
        let lane = &mut case.repair.lane;
        let goes_on = match (&monitor.spec.intervention, &spec.intervention) {
            (Some(old), Some(new)) => old.asks_the_same(new),
            _ => false,
        };
        if goes_on {
            // Whatever it comes to is its answer.
        } else if lane.phase() == Phase::Pending {
            case.repair.lost = Some((lane.attempt(), case.repair.number));
            desk.land(*lane, None);
            lane.abandon();
            let end = InterventionEnd::Unknown("given up: its configuration changed".to_owned());
            monitor
                .health
                .on_intervention(&monitor.spec, end, now.mono, now, &mut effects);
        } else {
            lane.settle();
        }
        if let Some(repair) = &spec.intervention {
            let profile = &repair.lane.profile;
            lane.set_flow(desk.flow(Kind::Intervention, &spec.tenant, &profile.plugin, profile));
        }
    }
    // Its quotas may be others now.
    desk.tenants.0.number(&spec.tenant, now.mono);
    let interval = monitor.spec.policy.interval;
    let other_check = !monitor.spec.checks_the_same(&spec);
    let goes_on = monitor.spec.asks_the_same(&spec);
    // It weighs something else now, or counts for another plugin: it is counted anew, as what it was.
    let recount = other_check || spec.policy.interval != interval;
    let stood = monitor.pulse.standing();
    let onset = monitor.case.as_ref().map_or(Mono::NEVER, |case| case.onset);
    if recount {
        let Monitor {
            spec, pulse, case, ..
        } = &mut *monitor;
        stand(desk, spec, pulse, case, Standing::Nothing);
    }
    change_sinks(desk, entity, monitor, spec);
    if other_check {
        if !goes_on && monitor.pulse.phase() == Phase::Pending {
            desk.land(monitor.pulse, None);
            monitor.pulse.abandon();
        }
        monitor.pulse.set_held(false);
        if let Some(check) = &monitor.spec.pulse {
            let (tenant, profile) = (&monitor.spec.tenant, &check.profile);
            let flow = desk.flow(Kind::Pulse, tenant, &profile.plugin, profile);
            monitor.pulse.set_flow(flow);
        }
    }
    if recount {
        let Monitor {
            spec, pulse, case, ..
        } = &mut *monitor;
        if onset != Mono::NEVER {
            desk.case(spec, case).onset = onset;
        }
        stand(desk, spec, pulse, case, stood);
    }
    // What is due already comes as it would have; everything else keeps to the grid, which may be another one now.
    if monitor.spec.policy.interval != interval {
        monitor.slot = first_slot(&monitor.spec, now.mono);
    }
    if monitor.pulse.phase() == Phase::Waiting {
        let pace = monitor.health.pace(&monitor.spec.policy);
        let at = if monitor.slot > now.mono {
            monitor.slot
        } else {
            next_pulse(desk, monitor, Pace::Regular)
        };
        let soon = match pace {
            Pace::Regular => at,
            Pace::Retry(pause) => at.min(now.mono.after(pause)),
        };
        wait_for_pulse(desk, entity, &mut monitor.pulse, soon);
    }
    follow(desk, entity, monitor, &mut effects, "the configuration changed");
}

/// The monitor's new configuration, and its sinks with what waits for them.
fn change_sinks(desk: &mut Desk<'_>, entity: Entity, monitor: &mut Monitor, spec: MonitorSpec) {
    let old = std::mem::replace(&mut monitor.spec, spec);
    let spec = &monitor.spec;
    let Some(mut case) = monitor.case.take() else {
        return;
    };
    if old.sinks != spec.sinks {
        let mut before: Vec<(&Sink, Option<SinkLane>)> = old
            .sinks
            .iter()
            .map(AsRef::as_ref)
            .zip(std::mem::take(&mut case.sinks).into_iter().map(Some))
            .collect();
        let mut after: Vec<SinkLane> = Vec::with_capacity(spec.sinks.len());
        for (index, sink) in (0u16..).zip(spec.sinks.iter()) {
            let place = before.iter().position(|(old, _)| old.name == sink.name);
            let mut lane = lane_of(desk, spec, sink);
            let old = place.and_then(|place| before.get_mut(place));
            if let Some((was, Some(mut old))) = old.map(|(was, lane)| (*was, lane.take())) {
                if place == Some(usize::from(index)) && was.lane.asks_the_same(&sink.lane) {
                    // What is on its way there is still meant for it.
                    old.lane.set_flow(lane.lane.flow());
                    after.push(old);
                    continue;
                }
                desk.land(old.lane, None);
                lane.outbox = old.outbox;
                // Numbers of sinks have changed: an answer that still comes must not be taken for another's.
                lane.outbox.forget_attempts();
                if !lane.outbox.is_empty() && !case.held {
                    need_sink(
                        &mut desk.needed.0.code,
                        entity,
                        index,
                        &mut lane,
                        desk.time.now.mono,
                    );
                }
            }
            after.push(lane);
        }
        for (was, gone) in before {
            let Some(gone) = gone else {
                continue;
            };
            desk.land(gone.lane, None);
            give_up(
                desk,
                entity,
                &old,
                &was.name,
                gone,
                "the notifier was taken from the monitor",
            );
        }
        case.sinks = after.into();
    }
    monitor.case = Some(case);
}

/// A monitor is gone: nothing of it is out any more, and what it had to say is recorded.
fn leave(desk: &mut Desk<'_>, entity: Entity, monitor: &mut Monitor) {
    desk.land(monitor.pulse, None);
    let Monitor {
        spec, pulse, case, ..
    } = &mut *monitor;
    stand(desk, spec, pulse, case, Standing::Nothing);
    // The host's own entry is in no state.
    if monitor.spec.pulse.is_some() {
        desk.tally.0.state_ends(monitor.health.told());
        desk.ledger.0.gone(&monitor.spec, desk.time.now.wall);
    }
    let Some(case) = monitor.case.take() else {
        return;
    };
    let Case { repair, sinks, .. } = *case;
    desk.land(repair.lane, None);
    let spec = monitor.spec.clone();
    for (sink, lane) in spec.sinks.iter().zip(sinks) {
        desk.land(lane.lane, None);
        give_up(desk, entity, &spec, &sink.name, lane, "the monitor was removed");
    }
}

fn give_up(
    desk: &mut Desk<'_>,
    entity: Entity,
    spec: &MonitorSpec,
    sink: &Arc<str>,
    mut lane: SinkLane,
    why: &str,
) {
    let codes = lane.outbox.empty();
    desk.tally.0.outbox = desk.tally.0.outbox.saturating_sub(codes.len());
    for alert in codes {
        undeliverable(desk, entity, spec, sink, alert, why.to_owned());
    }
}

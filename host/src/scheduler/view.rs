//! What a monitor looks like from outside, for whoever inspects the world and changes nothing.
//!
//! Architecture invariant: nothing here writes but that somebody looks, and what it shows is what the systems go by, not
//! a copy that could differ from it.

use super::{
    Scheduler,
    components::{Lane, Monitor, Phase},
    depend::Family,
    flights::Flights,
    quarantine::{Quarantine, Seen},
    resources::{LaneRef, Needed, Out, Time},
    runs::{Run, Runs},
};
use crate::domain::{
    board::Marks,
    health::{Counters, State},
    host::PerKind,
    job::{Alert, Incident, MonitorId},
    spec::{Kind, MonitorSpec},
    time::{Mono, Wall, millis},
};
use bevy_ecs::{change_detection::DetectChangesMut as _, entity::Entity};
use std::{sync::Arc, time::Duration};

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

/// A monitor in detail, for whoever looks from another thread: a copy, with times of the wall clock.
#[derive(Clone, Debug)]
pub struct Detail {
    /// Its configuration.
    pub spec: MonitorSpec,
    /// Its state at this moment.
    pub state: State,
    /// What an operator has said of it.
    pub marks: Marks,
    /// What was counted.
    pub counters: Counters,
    /// The episode that is open.
    pub incident: Option<Incident>,
    /// Its lanes.
    pub lanes: Vec<LaneDetail>,
    /// Monitors that depend on it.
    pub children: usize,
    /// Its last checks, the latest last, as far as they were kept: see [`Run`].
    pub runs: Vec<Run>,
}

/// One of its lanes.
#[derive(Clone, Debug)]
pub struct LaneDetail {
    /// Of what.
    pub kind: Kind,
    /// Of codes: the notifier.
    pub sink: Option<Arc<str>>,
    /// Where it stands.
    pub phase: Phase,
    /// Until when it waits, since when it is needed, or when what is pending must have come back; none: for ever.
    pub at: Option<Wall>,
    /// Codes that wait: their number, and what the first of them says.
    pub codes: usize,
    /// See `codes`.
    pub next_code: Option<Arc<Alert>>,
}

/// A plugin as one tenant uses it.
#[derive(Clone, Debug)]
pub struct PluginUse {
    /// What its breaker knows.
    pub seen: Seen,
    /// CPU time of one execution of each kind, as a moving average; none: it has no queue of its own of that kind.
    pub costs: PerKind<Option<Duration>>,
    /// When it is tried again, if it is not run.
    pub tried_at: Option<Wall>,
}

/// Plugins as they are used.
#[derive(Clone, Debug, Default)]
pub struct PluginUses {
    /// Each plugin of each tenant that has one in use.
    pub users: Vec<PluginUse>,
    /// The time over which executions are counted; none: they are not, as nothing is ever quarantined.
    pub window: Option<Duration>,
}

impl Scheduler {
    /// How plugins fare.
    pub fn plugins(&mut self) -> PluginUses {
        let now = self.look_at_clock();
        let wall = self.world.resource::<Time>().now.wall;
        let (quarantine, queues) = (
            self.world.resource::<Quarantine>(),
            &self.world.resource::<Needed>().0,
        );
        let users = quarantine.seen().into_iter().map(|seen| PluginUse {
            costs: PerKind::from_fn(|kind: Kind| {
                let flow = (*seen.flows.get(kind))?;
                Some(Duration::from_nanos(queues.get(kind).cost_ns(flow)))
            }),
            tried_at: seen
                .shut
                .as_ref()
                .and_then(|shut| shut.until)
                .map(|until| Wall(wall.0.saturating_add(millis(until.since(now))))),
            seen,
        });
        PluginUses {
            users: users.collect(),
            window: quarantine.window(),
        }
    }

    /// One monitor in detail; none if there is none of that id, or it is the host's own entry. What its next executions
    /// come to is kept for a while.
    pub fn detail(&mut self, id: MonitorId) -> Option<Detail> {
        let now = self.look_at_clock();
        let entity = Entity::try_from_bits(id.0)?;
        self.world.get::<Monitor>(entity)?.spec.pulse.as_ref()?;
        let looked = self.world.resource_mut::<Runs>().look(entity, now);
        self.world
            .get_mut::<Monitor>(entity)?
            .bypass_change_detection()
            .pulse
            .set_looked_at(looked);
        let wall = self.world.resource::<Time>().now.wall;
        let view = self.view(id)?;
        let (spec, health) = (view.spec(), &view.monitor.health);
        let at = |lane: LaneView| match lane.at {
            Mono::NEVER => None,
            at if at >= now => Some(Wall(wall.0.saturating_add(millis(at.since(now))))),
            past => Some(Wall(wall.0.saturating_sub(millis(now.since(past))))),
        };
        let lane = |kind, lane: LaneView| LaneDetail {
            kind,
            sink: None,
            phase: lane.phase,
            at: at(lane),
            codes: 0,
            next_code: None,
        };
        let mut lanes = vec![lane(Kind::Pulse, view.pulse())];
        if spec.intervention.is_some() {
            lanes.push(lane(Kind::Intervention, view.intervention()));
        }
        for (index, sink) in (0u16..).zip(spec.sinks.iter()) {
            lanes.push(LaneDetail {
                sink: Some(Arc::clone(&sink.name)),
                codes: view.codes(index).count(),
                next_code: view.codes(index).next().map(|(alert, _)| Arc::clone(alert)),
                ..lane(Kind::Code, view.sink(index))
            });
        }
        Some(Detail {
            spec: spec.clone(),
            state: health.state(),
            marks: health.marks(),
            counters: health.counters(),
            incident: health.incident(spec),
            lanes,
            children: self.world.resource::<Family>().children(entity),
            runs: self.world.resource::<Runs>().of(entity).cloned().collect(),
        })
    }

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

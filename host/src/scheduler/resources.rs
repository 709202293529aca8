//! What the systems share.

use super::{
    budget::{Interventions, Retries},
    stats::{Snapshot, Stats},
    wheel::Wheel,
};
use crate::{
    clock::Clock,
    domain::{
        event::{Event, Fact},
        health::{Effects, Episodes, Now},
        host::{HostSettings, PerKind},
        job::{JobResult, MonitorId},
        outcome::Outcome,
        spec::{Kind, MonitorSpec},
        time::Mono,
    },
    queue::{Outlet, ResultReceiver},
};
use bevy_ecs::change_detection::{Res, ResMut};
use bevy_ecs::{entity::Entity, resource::Resource, system::SystemParam};
use std::{collections::VecDeque, time::Duration};

/// What an entry of the wheel is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Whose.
    pub entity: Entity,
    /// What.
    pub tag: Tag,
}

/// What falls due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// A lane waits until then.
    Due(LaneRef),
    /// A lane is pending and must have come back by then.
    Overdue(LaneRef),
    /// The state machine wants to be woken.
    Health,
}

/// One of a monitor's lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneRef {
    /// The pulse.
    Pulse,
    /// The intervention.
    Intervention,
    /// A sink, by its number.
    Sink(u16),
}

/// The clock, read once a run by [`super::run`].
#[derive(Resource)]
pub struct Time {
    /// Where the time comes from.
    pub clock: Clock,
    /// The time of this run.
    pub now: Now,
    /// How long the whole host stood still before this run; zero as a rule. Whatever had a deadline in that time
    /// had no chance to keep it.
    pub stalled: Duration,
}

/// The host's settings.
#[derive(Resource)]
pub struct Settings(pub HostSettings);

/// The wheel.
#[derive(Resource)]
pub struct Alarm(pub Wheel<Ticket>);

/// What came out of the wheel in this run.
#[derive(Resource, Default)]
pub struct Due {
    /// Lanes whose waiting is over.
    pub lanes: PerKind<Vec<(Entity, u16, Mono)>>,
    /// Pending lanes that must have come back.
    pub overdue: Vec<(Entity, LaneRef, Mono)>,
    /// State machines to be woken.
    pub health: Vec<(Entity, Mono)>,
}

/// The results' end of the channel.
#[derive(Resource)]
pub struct Inbox(pub ResultReceiver);

/// What ended in this run, per kind, for the state machine.
#[derive(Resource, Default)]
pub struct Endings(pub PerKind<Vec<Ending>>);

/// One execution that ended, or was given up.
pub struct Ending {
    /// Whose.
    pub entity: Entity,
    /// Which sink; 0 for pulses and interventions.
    pub sink: u16,
    /// None: it never came back.
    pub result: Option<JobResult>,
}

/// Lanes that are due and wait for room in their channel, the most overdue first.
#[derive(Resource, Default)]
pub struct Needed(pub PerKind<VecDeque<(Entity, u16, Mono)>>);

/// The channels.
#[derive(Resource)]
pub struct Outlets(pub PerKind<Outlet>);

/// The host's budgets.
#[derive(Resource)]
pub struct Budgets {
    /// Retries of pulses.
    pub retries: Retries,
    /// Interventions.
    pub interventions: Interventions,
}

/// Facts that were learned in this run.
#[derive(Resource, Default)]
pub struct Journal(pub Vec<Event>);

/// Where facts go.
#[derive(Resource)]
pub struct Publisher {
    /// Whoever listens.
    pub events: async_channel::Sender<Event>,
    /// Where figures go.
    pub stats: Stats,
    /// When they went there last.
    pub published_at: Mono,
}

/// Figures of this thread.
#[derive(Resource, Default)]
pub struct Tally(pub Snapshot);

/// Source of episode numbers.
#[derive(Resource)]
pub struct EpisodeSource(pub Episodes);

/// The entity whose sinks hear that the prober is in trouble, and what they shall hear.
#[derive(Resource, Default)]
pub struct HostDesk {
    /// None if nobody is to be told.
    pub entity: Option<Entity>,
    /// What happened in this run: (title, body).
    pub news: Vec<(String, String)>,
}

/// Whether the host is stopping: no pulse and no intervention starts any more.
#[derive(Resource, Default)]
pub struct Draining(pub bool);

/// What every system of the state machine needs.
#[derive(SystemParam)]
pub struct Desk<'w> {
    /// The time of this run.
    pub time: Res<'w, Time>,
    /// The host's settings.
    pub settings: Res<'w, Settings>,
    /// The wheel.
    pub alarm: ResMut<'w, Alarm>,
    /// Lanes that are due.
    pub needed: ResMut<'w, Needed>,
    /// The host's budgets.
    pub budgets: ResMut<'w, Budgets>,
    /// Facts.
    pub journal: ResMut<'w, Journal>,
    /// Figures.
    pub tally: ResMut<'w, Tally>,
    /// Episode numbers.
    pub episodes: ResMut<'w, EpisodeSource>,
    /// Trouble of the prober.
    pub host: ResMut<'w, HostDesk>,
}

impl Desk<'_> {
    /// The time of this run.
    #[must_use]
    pub fn now(&self) -> Now {
        self.time.now
    }

    /// Puts a fact on record.
    pub fn note(&mut self, entity: Entity, spec: &MonitorSpec, fact: Fact) {
        self.journal.0.push(Event {
            at: self.time.now.wall,
            monitor: MonitorId(entity.to_bits()),
            spec: spec.clone(),
            fact,
        });
    }

    /// Counts an outcome that was applied.
    pub fn count(&mut self, kind: Kind, result: &JobResult) {
        let applied = self.time.clock.mono();
        let tally = &mut self.tally.0;
        tally.times.get_mut(kind).record(result, applied);
        *tally
            .kinds
            .get_mut(kind)
            .outcomes
            .entry(result.outcome.class())
            .or_default() += 1;
    }
}

/// Scratch space for the state machine's effects.
pub type Scratch<'s> = bevy_ecs::system::Local<'s, Effects>;

/// One line about an outcome that is no answer.
#[must_use]
pub fn describe(outcome: Option<&Outcome>) -> String {
    outcome.map_or_else(
        || "lost: the execution never came back".to_owned(),
        ToString::to_string,
    )
}

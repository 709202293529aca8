//! What the systems share.

use super::{
    budget::{Interventions, Retries},
    chosen::Chosen,
    components::{Case, Lane, RepairLane},
    correlated::Correlated,
    depend::Family,
    fair::{Fair, User},
    flights::Flights,
    follow::lane_of,
    ledger::Ledger,
    quarantine::Quarantine,
    ration::Rations,
    runs::Runs,
    stats::{Snapshot, Stats},
    wheel::Wheel,
    window::Window,
};
use crate::{
    clock::Clock,
    domain::{
        board::{Board, Mark, Marks, Seat},
        event::{Event, Fact},
        health::{Effects, Episodes, Now, State},
        host::{HostSettings, PerKind},
        host_news,
        job::{JobKey, JobResult, MonitorId},
        outcome::Outcome,
        spec::{Kind, MonitorSpec, Profile},
        tenant::Tenant,
        time::Mono,
    },
    queue::{Outlet, ResultReceiver, Results},
};
use bevy_ecs::change_detection::{Res, ResMut};
use bevy_ecs::{entity::Entity, resource::Resource, system::SystemParam};
use std::{sync::Arc, time::Duration};

/// An entry of the wheel: the pulse of the monitor in its key waits until then.
pub const TAG_PULSE: u16 = 0;
/// The state machine of the monitor in its key wants to be woken.
pub const TAG_HEALTH: u16 = 1;
/// The flight whose number is its key must have come back by then.
pub const TAG_FLIGHT: u16 = 2;
/// A sink of the monitor in its key waits until then: the first one; the others follow.
pub const TAG_SINK: u16 = 3;

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

impl LaneRef {
    /// Whose job it would be.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Self::Pulse => Kind::Pulse,
            Self::Intervention => Kind::Intervention,
            Self::Sink(_) => Kind::Code,
        }
    }

    /// The lane that a job's key names.
    #[must_use]
    pub fn of(key: &JobKey) -> Self {
        match key.kind {
            Kind::Pulse => Self::Pulse,
            Kind::Intervention => Self::Intervention,
            Kind::Code => Self::Sink(key.sink),
        }
    }
}

/// The wheel.
#[derive(Resource)]
pub struct Alarm(pub Wheel);

/// The jobs that are out.
#[derive(Resource, Default)]
pub struct Out(pub Flights);

/// How many may be out, per kind.
#[derive(Resource)]
pub struct Windows(pub PerKind<Window>);

/// Attempt numbers of interventions and codes: one sequence for the whole host, so that a lane that was dropped and
/// made anew never meets an answer that was meant for its predecessor.
#[derive(Resource, Default)]
pub struct Attempts(u32);

impl Attempts {
    /// The next number.
    pub fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(1);
        self.0
    }
}

/// What came out of the wheel in this run.
#[derive(Resource, Default)]
pub struct Due {
    /// Monitors whose pulse may be due.
    pub pulses: Vec<Entity>,
    /// Sinks whose pause may be over.
    pub sinks: Vec<(Entity, u16)>,
    /// Flights that are overdue.
    pub flights: Vec<u32>,
    /// State machines that may want to be woken.
    pub health: Vec<Entity>,
}

/// The results' end of the channel.
#[derive(Resource)]
pub struct Inbox(pub ResultReceiver);

/// What ended in this run, per kind, for the state machine.
#[derive(Resource, Default)]
pub struct Endings(pub PerKind<Ended>);

/// What ended of one kind.
#[derive(Default)]
pub struct Ended {
    /// What came back, in the buffers in which it came.
    pub results: Vec<Results>,
    /// What was given up.
    pub lost: Vec<(Entity, u16)>,
}

/// Lanes that are due and wait for room in their channel.
#[derive(Resource, Default)]
pub struct Needed(pub PerKind<Fair>);

/// What each tenant has and may have.
#[derive(Resource, Default)]
pub struct Tenants(pub Rations);

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

/// What is put on record.
#[derive(Resource, Default)]
pub struct LedgerDesk(pub Ledger);

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

/// How monitors stand, for other threads.
#[derive(Resource)]
pub struct Shown(pub Arc<Board>);

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
    /// Whose facts those of the host itself are.
    pub spec: Option<MonitorSpec>,
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
    /// What each tenant has and may have.
    pub tenants: ResMut<'w, Tenants>,
    /// Jobs that are out.
    pub out: ResMut<'w, Out>,
    /// How many may be.
    pub windows: ResMut<'w, Windows>,
    /// Attempt numbers.
    pub attempts: ResMut<'w, Attempts>,
    /// The host's budgets.
    pub budgets: ResMut<'w, Budgets>,
    /// Facts.
    pub journal: ResMut<'w, Journal>,
    /// Figures.
    pub tally: ResMut<'w, Tally>,
    /// Episode numbers.
    pub episodes: ResMut<'w, EpisodeSource>,
    /// Who depends on whom.
    pub family: ResMut<'w, Family>,
    /// Trouble of the prober.
    pub host: ResMut<'w, HostDesk>,
    /// Plugins that are not run.
    pub quarantine: ResMut<'w, Quarantine>,
    /// Failures of many monitors at once.
    pub correlated: ResMut<'w, Correlated>,
    /// How monitors stand, for other threads.
    pub shown: Res<'w, Shown>,
    /// What executions came to, where somebody looks.
    pub runs: ResMut<'w, Runs>,
    /// Of whom figures are kept one by one.
    pub chosen: Res<'w, Chosen>,
    /// What is put on record.
    pub ledger: ResMut<'w, LedgerDesk>,
}

impl Desk<'_> {
    /// The time of this run.
    #[must_use]
    pub fn now(&self) -> Now {
        self.time.now
    }

    /// Other threads see from now on that it stands like this.
    pub fn show(&self, entity: Entity, state: State, marks: Marks) {
        self.shown.0.write(seat(entity), state, marks, self.time.now.wall);
    }

    /// Whether its codes are not to be sent.
    #[must_use]
    pub fn is_silenced(&self, entity: Entity) -> bool {
        let standing = self.shown.0.read(seat(entity));
        standing.is_some_and(|standing| standing.marks.has(Mark::Silenced))
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

    /// Puts a fact about the host itself on record. Loud: the host's own sinks hear of it.
    pub fn note_host(&mut self, fact: Fact, loud: bool) {
        if loud {
            self.host.news.extend(host_news::of(&fact));
        }
        let Some(spec) = self.host.spec.clone() else {
            return;
        };
        let monitor = self.host.entity.unwrap_or(Entity::PLACEHOLDER);
        self.journal.0.push(Event {
            at: self.time.now.wall,
            monitor: MonitorId(monitor.to_bits()),
            spec,
            fact,
        });
    }

    /// Counts an outcome that is applied at that time.
    pub fn count(&mut self, kind: Kind, result: &JobResult, applied: Mono) {
        let tally = &mut self.tally.0;
        tally.times.get_mut(kind).record(result, applied);
        tally.kinds.get_mut(kind).outcomes.add(&result.outcome);
        if result.outcome != Outcome::Expired {
            let waited = result.started.since(result.sent);
            self.windows.0.get_mut(kind).record(waited, result.usage.cpu);
        }
    }

    /// A pending lane's job is out no more; the result, if it came back.
    pub fn land(&mut self, lane: Lane, result: Option<&JobResult>) {
        if let Some(number) = lane.flight()
            && let Some(flight) = self.out.0.land(number)
        {
            let kind = flight.lane.kind();
            let (queues, tenants) = (self.needed.0.get_mut(kind), &mut self.tenants.0);
            queues.back(tenants, flight.flow);
            if let Some(result) = result {
                let now = self.time.now.mono;
                queues.charge(tenants, flight.flow, result, now);
                // Before anything else looks at it: a receipt that comes late may yet take this answer's place.
                self.quarantine.hear(kind, flight.flow, result, now);
            }
            let counts = self.tally.0.kinds.get_mut(kind);
            counts.pending = counts.pending.saturating_sub(1);
        }
    }

    /// The queue of a tenant's lane of that kind. `name`: its plugin, or for codes its notifier.
    pub fn flow(&mut self, kind: Kind, tenant: &Arc<Tenant>, name: &Arc<str>, profile: &Profile) -> u16 {
        let user = user(kind, tenant, name, profile);
        let now = self.time.now.mono;
        let queues = self.needed.0.get_mut(kind);
        let flow = queues.flow(&mut self.tenants.0, user, now);
        if queues.is_crowded(flow) {
            self.quarantine.unbind(kind, flow);
        } else {
            self.quarantine.bind(kind, flow, &tenant.name, profile, now);
        }
        if kind == Kind::Pulse {
            self.correlated.bind(flow, &tenant.name);
        }
        flow
    }

    /// The monitor's case, made now if there is none.
    pub fn case<'m>(&mut self, spec: &MonitorSpec, case: &'m mut Option<Box<Case>>) -> &'m mut Case {
        case.get_or_insert_with(|| {
            let repair = spec.intervention.as_ref().map_or(0, |repair| {
                let profile = &repair.lane.profile;
                self.flow(Kind::Intervention, &spec.tenant, &profile.plugin, profile)
            });
            Box::new(Case {
                sinks: spec.sinks.iter().map(|sink| lane_of(self, spec, sink)).collect(),
                repair: RepairLane {
                    lane: Lane::new(repair),
                    number: 0,
                    spent_at: Mono(0),
                    intent: 0,
                    lost: None,
                },
                held: false,
                onset: Mono::NEVER,
                wake_at: Mono::NEVER,
                entry_at: Mono::NEVER,
                seq: 0,
            })
        })
    }
}

/// Where other threads see how it stands.
#[must_use]
pub fn seat(entity: Entity) -> Seat {
    Seat {
        monitor: MonitorId(entity.to_bits()),
        slot: entity.index_u32(),
        tag: entity.generation().to_bits(),
    }
}

/// Who has a queue of that kind.
#[must_use]
pub fn user<'a>(kind: Kind, tenant: &'a Arc<Tenant>, name: &'a Arc<str>, profile: &Profile) -> User<'a> {
    User {
        tenant,
        name,
        memory_bytes: profile.limits.memory_bytes,
        code: kind == Kind::Code,
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

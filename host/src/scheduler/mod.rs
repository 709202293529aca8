//! The scheduler: monitors as entities of a bevy_ecs world, and the systems that decide what is due.
//!
//! It owns its thread. It runs the whole schedule at least every tick, and earlier when results arrive or something
//! falls due, but never more often than every millisecond. Each run goes through the [`Step`]s in their order.
//!
//! Architecture invariant: nothing here names a runtime or the sandbox, and nothing blocks: results are taken as
//! far as they are there, batches are sent as far as there is room.

mod budget;
mod chosen;
mod code;
pub mod components;
pub mod control;
pub mod correlated;
mod depend;
mod dispatch;
mod fair;
mod flights;
mod follow;
mod ingest;
mod intervention;
pub mod ledger;
mod publish;
mod pulse;
pub mod quarantine;
mod ration;
mod recover;
pub mod reload;
mod resources;
mod runs;
pub mod stats;
mod timers;
pub mod view;
pub mod wheel;
pub mod window;

#[cfg(test)]
mod tests;

use crate::{
    clock::Clock,
    domain::{
        board::{Board, Marks, Seat},
        event::Event,
        health::{Episodes, Now},
        host::{HostSettings, PerKind},
        spec::{Class, Kind, MonitorSpec, Policy},
        tenant::Tenant,
        time::Mono,
    },
    ledger::Writer,
    queue::{Bell, Outlet, ResultReceiver},
};
use bevy_ecs::{
    change_detection::Mut,
    entity::Entity,
    schedule::{
        IntoScheduleConfigs, LogLevel, Schedule, ScheduleBuildSettings, SingleThreadedExecutor, SystemSet,
    },
    system::SystemState,
    world::World,
};
use components::{FIRST_STATE, Monitor};
pub use control::Control;
use control::Request;
use resources::{
    Alarm, Attempts, Budgets, Desk, Draining, Due, Endings, EpisodeSource, HostDesk, Inbox, Journal,
    LedgerDesk, Needed, Out, Outlets, Publisher, Settings, Shown, TAG_PULSE, Tally, Tenants, Time, Windows,
    seat,
};
pub use runs::Run;
use stats::{Snapshot, Stats};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::Duration,
};

/// The fixed order of a run.
#[derive(SystemSet, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Drain results, drop stale ones.
    Ingest,
    /// Deadlines that passed.
    Recover,
    /// The state machine: what each monitor needs next.
    Advance,
    /// The wheel: what is due.
    Schedule,
    /// Per kind: build batches, try to send.
    Dispatch,
    /// Facts and figures for whoever listens.
    Publish,
}

/// Runs are never closer together than that.
const RUN_GAP: Duration = Duration::from_millis(1);
/// A run that comes that much too late shows that the process was stopped, or the machine too busy to let it run.
const STALL_MIN: Duration = Duration::from_secs(1);

/// Everything that a scheduler needs.
pub struct Parts {
    /// The monitors.
    pub monitors: Vec<MonitorSpec>,
    /// The entry whose sinks hear that the prober is in trouble.
    pub host_entry: Option<MonitorSpec>,
    /// The host's settings.
    pub settings: HostSettings,
    /// Channels to the workers.
    pub outlets: PerKind<Outlet>,
    /// Channel from the workers.
    pub results: ResultReceiver,
    /// Where facts go. Bounded; what nobody takes in time is dropped and counted.
    pub events: async_channel::Sender<Event>,
    /// Where goes what is put on record; none: nothing is, and a restart forgets everything.
    pub ledger: Option<Writer>,
    /// Worker threads; 0 counts as 1.
    pub workers: usize,
    /// The time.
    pub clock: Clock,
}

/// The world and its schedule, without a thread: [`Scheduler::run`] is one run.
pub struct Scheduler {
    world: World,
    schedule: Schedule,
    stats: Stats,
    ran_at: Mono,
    /// Of all monitors, in the order of the list in which they came last.
    seats: Vec<Seat>,
}

impl Scheduler {
    /// Builds the world. The first pulses are spread over their intervals.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let now = Now {
            mono: parts.clock.mono(),
            wall: parts.clock.wall(),
        };
        let stats = Stats::default();
        let mut world = World::new();
        world.insert_resource(Budgets {
            retries: budget::Retries::new(parts.settings.retry_budget, now.mono),
            interventions: budget::Interventions::new(parts.settings.interventions),
        });
        world.insert_resource(Windows(PerKind::from_fn(|kind| {
            window::Window::new(*parts.settings.queues.get(kind), parts.workers, now.mono)
        })));
        world.insert_resource(Out::default());
        world.insert_resource(Attempts::default());
        world.insert_resource(quarantine::Quarantine::new(parts.settings.quarantine));
        world.insert_resource(correlated::Correlated::new(parts.settings.correlated));
        let quantiles = parts.settings.quantiles.clone();
        world.insert_resource(Settings(parts.settings));
        world.insert_resource(Time {
            clock: parts.clock,
            now,
            stalled: Duration::ZERO,
        });
        world.insert_resource(Alarm(wheel::Wheel::new(now.mono)));
        world.insert_resource(Due::default());
        world.insert_resource(Endings::default());
        world.insert_resource(Needed::default());
        world.insert_resource(Tenants::default());
        world.insert_resource(Inbox(parts.results));
        world.insert_resource(Outlets(parts.outlets));
        world.insert_resource(Journal::default());
        world.insert_resource(LedgerDesk(ledger::Ledger::new(parts.ledger, quantiles)));
        world.insert_resource(EpisodeSource(Episodes::starting_at(now.wall)));
        world.insert_resource(depend::Family::default());
        world.insert_resource(HostDesk {
            spec: Some(parts.host_entry.clone().unwrap_or_else(nobody)),
            ..HostDesk::default()
        });
        world.insert_resource(Draining::default());
        world.insert_resource(Shown(Arc::default()));
        world.insert_resource(runs::Runs::default());
        world.insert_resource(chosen::Chosen::default());
        world.insert_resource(Tally(Snapshot::default()));
        world.insert_resource(Publisher {
            events: parts.events,
            stats: stats.clone(),
            published_at: now.mono,
        });
        let mut scheduler = Self {
            world,
            schedule: schedule(),
            stats,
            ran_at: now.mono,
            seats: Vec::new(),
        };
        let places = scheduler.add(parts.monitors, now.mono);
        scheduler.found_family(&places);
        scheduler.seats = places.into_iter().map(seat).collect();
        if let Some(spec) = parts.host_entry {
            scheduler.add_host_entry(spec, now.mono);
        }
        scheduler
    }

    fn add_host_entry(&mut self, spec: MonitorSpec, now: Mono) {
        let entity = self.world.spawn(Monitor::new(spec.clone(), now, 0)).id();
        let mut host = self.world.resource_mut::<HostDesk>();
        (host.entity, host.spec) = (Some(entity), Some(spec));
    }

    /// Adds monitors. They lie in memory in the order in which they fall due, so that what is due together is read
    /// together: random access to a million of them would cost more than everything else that is done for a job.
    /// Returns them in the order of the list.
    fn add(&mut self, monitors: Vec<MonitorSpec>, now: Mono) -> Vec<Entity> {
        let mut order: Vec<(Duration, Mono, u32)> = (0u32..)
            .zip(&monitors)
            .map(|(place, spec)| (spec.policy.interval, follow::first_slot(spec, now), place))
            .collect();
        order.sort_unstable();
        let world = &mut self.world;
        let mut ready = Vec::with_capacity(monitors.len());
        let mut state: SystemState<Desk<'_>> = SystemState::new(world);
        for (_, slot, place) in &order {
            let (Some(spec), Ok(mut desk)) = (monitors.get(*place as usize), state.get_mut(world)) else {
                continue;
            };
            let flow = spec.pulse.as_ref().map_or(0, |check| {
                let profile = &check.profile;
                desk.flow(Kind::Pulse, &spec.tenant, &profile.plugin, profile)
            });
            let mut monitor = Monitor::new(spec.clone(), *slot, flow);
            monitor.pulse.wait(*slot);
            ready.push(monitor);
        }
        let entities: Vec<Entity> = world.spawn_batch(ready).collect();
        let mut places = vec![Entity::PLACEHOLDER; monitors.len()];
        let alarm = &mut world.resource_mut::<Alarm>().0;
        for (entity, (_, slot, place)) in entities.iter().zip(&order) {
            alarm.insert(*slot, entity.to_bits(), TAG_PULSE);
            if let Some(at) = places.get_mut(*place as usize) {
                *at = *entity;
            }
        }
        let ledger = &mut world.resource_mut::<LedgerDesk>().0;
        if ledger.is_on() {
            let named = places.iter().copied().zip(&monitors);
            ledger.places(named.filter(|(entity, _)| *entity != Entity::PLACEHOLDER));
        }
        let (wall, count) = (world.resource::<Time>().now.wall, entities.len() as u64);
        let board = &world.resource::<Shown>().0;
        for entity in &entities {
            board.write(seat(*entity), FIRST_STATE, Marks::default(), wall);
        }
        world.resource_mut::<Tally>().0.states_begin(FIRST_STATE, count);
        places
    }

    /// How monitors stand, for other threads.
    #[must_use]
    pub fn board(&self) -> Arc<Board> {
        Arc::clone(&self.world.resource::<Shown>().0)
    }

    /// Where each monitor stands on the board, in the order of the list in which they came last. Told once.
    #[must_use]
    pub fn take_seats(&mut self) -> Vec<Seat> {
        std::mem::take(&mut self.seats)
    }

    /// Takes down who depends on whom. `places`: all monitors, in the order of the list.
    fn found_family(&mut self, places: &[Entity]) {
        let world = &mut self.world;
        let specs = places
            .iter()
            .filter_map(|entity| Some((*entity, &world.get::<Monitor>(*entity)?.spec)));
        let family = depend::Family::found(specs);
        let parents: Vec<Entity> = family.parents().collect();
        world.insert_resource(family);
        for parent in parents {
            if let Some(mut monitor) = world.get_mut::<Monitor>(parent) {
                monitor.pulse.set_watched(true);
            }
        }
    }

    /// One run at the clock's present time. Returns when the next one is due, if nothing happens before.
    pub fn run(&mut self) -> Mono {
        let tick = self.world.resource::<Settings>().0.tick;
        let mut time = self.world.resource_mut::<Time>();
        let now = Now {
            mono: time.clock.mono(),
            wall: time.clock.wall(),
        };
        let late = now.mono.since(self.ran_at).saturating_sub(tick);
        let stalled = if late >= STALL_MIN { late } else { Duration::ZERO };
        (time.now, time.stalled) = (now, stalled);
        if !stalled.is_zero() {
            let tally = &mut self.world.resource_mut::<Tally>().0;
            tally.stalls += 1;
            tally.stalled += stalled;
        }
        self.schedule.run(&mut self.world);
        // A run that takes long itself is no less a time in which nothing was looked at.
        self.ran_at = now.mono;
        let tick = now.mono.after(tick);
        self.world.resource::<Alarm>().0.next_at().min(tick)
    }

    /// The figures.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats.clone()
    }

    /// From now on no pulse and no intervention starts; results are still taken, and codes are still sent.
    pub fn drain(&mut self) {
        self.world.resource_mut::<Draining>().0 = true;
    }

    /// Jobs that are in a channel or running, per kind, and codes that wait for a channel.
    #[must_use]
    pub fn unfinished(&self) -> Unfinished {
        let tally = &self.world.resource::<Tally>().0;
        let host = self.world.resource::<HostDesk>();
        let news = if host.entity.is_some() { host.news.len() } else { 0 };
        let ledger = &self.world.resource::<LedgerDesk>().0;
        Unfinished {
            pending: PerKind::from_fn(|kind| tally.kinds.get(kind).pending),
            codes: tally.outbox,
            codes_needed: self.world.resource::<Needed>().0.get(Kind::Code).len() + news + ledger.awaited(),
            unsaved: ledger.marked(),
        }
    }

    fn close(&mut self) {
        let world = &mut self.world;
        world.resource_scope(|world, mut tally: Mut<'_, Tally>| {
            world.resource::<Publisher>().stats.publish(&mut tally.0);
        });
        for kind in Kind::ALL {
            world.resource::<Outlets>().0.get(kind).close();
        }
        world.resource_mut::<LedgerDesk>().0.close();
    }

    /// Lanes of a monitor, for tests: pulse, intervention, sinks.
    #[cfg(test)]
    fn lanes(&self, entity: Entity) -> Vec<components::Lane> {
        use resources::LaneRef;
        let monitor = self.world.get::<Monitor>(entity).unwrap();
        let sinks = (0..monitor.spec.sinks.len()).map(|index| LaneRef::Sink(index.try_into().unwrap()));
        [LaneRef::Pulse, LaneRef::Intervention]
            .into_iter()
            .chain(sinks)
            .map(|lane| monitor.lane(lane).copied().unwrap_or(components::Lane::new(0)))
            .collect()
    }
}

/// What is not finished yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// Jobs in a channel or running.
    pub pending: PerKind<usize>,
    /// Codes that no sink took yet.
    pub codes: usize,
    /// Those of them that could be sent at once, if the channel had room or they were on record, and news of the host
    /// that the next run makes into codes.
    pub codes_needed: usize,
    /// Monitors that are still to be put on record.
    pub unsaved: usize,
}

impl Unfinished {
    /// Jobs in a channel or running, of all kinds.
    #[must_use]
    pub fn jobs(&self) -> usize {
        Kind::ALL.iter().map(|kind| self.pending.get(*kind)).sum()
    }
}

/// Whose facts those of the host are, if nobody hears of them.
fn nobody() -> MonitorSpec {
    let policy = Policy {
        interval: Duration::from_secs(60),
        retry_interval: Duration::from_secs(60),
        failure_threshold: 1,
        success_threshold: 1,
        page_after: Duration::from_secs(60),
        repeat: None,
        fault_threshold: 1,
    };
    let class = Class {
        tenant: Arc::new(Tenant::unlimited()),
        labels: Arc::new([]),
        policy,
        pulse: None,
        intervention: None,
        sinks: Arc::new([]),
        parents: Arc::new([]),
    };
    MonitorSpec::new(Arc::new(class), None, "pulse-host", None)
}

fn schedule() -> Schedule {
    let mut schedule = Schedule::default();
    // One thread: the systems share almost everything, and the hand-over to a pool costs more than a run.
    schedule.set_executor(SingleThreadedExecutor::new());
    schedule.set_build_settings(ScheduleBuildSettings {
        ambiguity_detection: LogLevel::Error,
        ..ScheduleBuildSettings::default()
    });
    schedule.configure_sets(
        (
            Step::Ingest,
            Step::Recover,
            Step::Advance,
            Step::Schedule,
            Step::Dispatch,
            Step::Publish,
        )
            .chain(),
    );
    schedule.add_systems((
        (
            ledger::hear,
            quarantine::turn,
            correlated::turn,
            ingest::drain_results,
        )
            .chain()
            .in_set(Step::Ingest),
        (recover::turn_wheel, recover::recover)
            .chain()
            .in_set(Step::Recover),
        (
            pulse::advance,
            intervention::advance,
            timers::advance,
            depend::advance,
            code::advance,
            quarantine::advance,
            correlated::tell,
            code::tell_host_news,
        )
            .chain()
            .in_set(Step::Advance),
        (pulse::schedule, code::schedule).chain().in_set(Step::Schedule),
        // Codes first: people wait for them.
        (
            code::dispatch_codes,
            intervention::dispatch_interventions,
            pulse::dispatch_pulses,
        )
            .chain()
            .in_set(Step::Dispatch),
        (publish::publish, ledger::save).chain().in_set(Step::Publish),
    ));
    schedule
}

/// A scheduler on its own thread.
pub struct Running {
    thread: JoinHandle<Unfinished>,
    control: Control,
    bell: Arc<Bell>,
    stop_at: Arc<AtomicU64>,
    clock: Clock,
    stats: Stats,
}

impl Running {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the operating system gives no thread.
    pub fn start(mut scheduler: Scheduler, bell: Arc<Bell>) -> std::io::Result<Self> {
        let clock = scheduler.world.resource::<Time>().clock.clone();
        let stats = scheduler.stats();
        let stop_at = Arc::new(AtomicU64::new(Mono::NEVER.0));
        let (ringing, deadline) = (Arc::clone(&bell), Arc::clone(&stop_at));
        let (requests, asked) = mpsc::sync_channel(control::REQUESTS_MAX);
        let thread = std::thread::Builder::new()
            .name("scheduler".to_owned())
            .spawn(move || {
                ringing.attend();
                let left = serve(&mut scheduler, &ringing, &deadline, &asked);
                scheduler.close();
                left
            })?;
        Ok(Self {
            thread,
            control: Control::new(requests, Arc::clone(&bell)),
            bell,
            stop_at,
            clock,
            stats,
        })
    }

    /// The figures.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats.clone()
    }

    /// A hand on it.
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Stops scheduling, lets what runs end within the grace period, and returns what was not finished then.
    /// Blocks for that long at most. None: the thread had died.
    #[must_use]
    pub fn stop(self, grace: Duration) -> Option<Unfinished> {
        self.stop_at
            .store(self.clock.mono().after(grace).0, Ordering::Release);
        self.bell.ring();
        self.thread.join().ok()
    }
}

/// Runs until it is told to stop and nothing is left to be done, or the time is up.
fn serve(
    scheduler: &mut Scheduler,
    bell: &Bell,
    stop_at: &AtomicU64,
    asked: &mpsc::Receiver<Request>,
) -> Unfinished {
    let clock = scheduler.world.resource::<Time>().clock.clone();
    loop {
        let started = clock.mono();
        let stop = Mono(stop_at.load(Ordering::Acquire));
        if stop != Mono::NEVER {
            scheduler.drain();
        }
        let more_asked = scheduler.attend(asked);
        let next = scheduler.run();
        if stop != Mono::NEVER {
            let left = scheduler.unfinished();
            let done = left.jobs() == 0 && left.codes_needed == 0 && left.unsaved == 0;
            if done || clock.mono() >= stop {
                return left;
            }
        }
        // What arrives within the gap is taken together.
        let gap = RUN_GAP.saturating_sub(clock.mono().since(started));
        if !gap.is_zero() {
            std::thread::sleep(gap);
        }
        let now = clock.mono();
        if !bell.answer() && !more_asked && next > now {
            std::thread::park_timeout(next.since(now));
            bell.answer();
        }
    }
}

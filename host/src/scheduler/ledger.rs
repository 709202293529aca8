//! What is put on record, and what waits for that: monitors in trouble, codes before they are sent, interventions before
//! they are done.
//!
//! A monitor whose lasting state changed is marked, and put down at the end of the run, whole, as far as there is room.
//! One that changes again before that is put down once. So a store that is slow delays records and loses none, and
//! nothing grows: there is one mark for each monitor.
//!
//! Architecture invariant: no code is sent before the box that holds it is on disk, and no intervention is started
//! before the intent is. What was sent without being on record would be sent again after a crash, as something else. If
//! nothing can be put on record, codes are sent all the same, and nothing is repaired.

use super::{
    Scheduler,
    components::{Case, Lane, Monitor, Phase},
    depend::Family,
    fair::Ticket,
    follow::{follow, hold_codes, need_sink, undeliverable, wait_for_pulse},
    resources::{Desk, EpisodeSource, HostDesk, Time},
};
use crate::{
    domain::{
        event::{Event, Fact},
        health::{Effects, Health},
        job::JobResult,
        outbox::Outbox,
        saved::{MonitorKey, Recalled, Saved},
        selector::Selector,
        spec::MonitorSpec,
        time::{Mono, Wall},
    },
    ledger::{Place, Record, Sample, State, Verdict, Writer},
};
use bevy_ecs::{
    change_detection::DetectChangesMut as _,
    entity::Entity,
    system::{Query, SystemState},
};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

/// Monitors for which nobody waits that a run puts down at most. (100 runs a second put down 6,400: an outage of
/// everything writes no more than that.)
const UNHURRIED_PER_RUN: usize = 64;
/// The first checks after a restart of what was in trouble are spread over that time, or the retry interval if it is
/// longer.
const SPREAD_MIN: Duration = Duration::from_secs(1);

/// What the scheduler knows of the record.
#[derive(Default)]
pub struct Ledger {
    /// None: nothing is put on record, and nothing waits for it.
    way: Option<Writer>,
    /// The number of the last record.
    seq: u64,
    acknowledged: u64,
    failing: bool,
    /// Marked, and somebody waits for it.
    urgent: VecDeque<Entity>,
    /// Marked.
    unhurried: VecDeque<Entity>,
    /// Who waits for which number to be acknowledged; in order.
    waiting: VecDeque<(u64, Entity)>,
    samples: Vec<Sample>,
    quantiles: Option<Selector>,
    /// Facts and samples for which there was no room.
    pub dropped: u64,
}

/// Whether an intervention may be started.
pub enum Intent {
    /// It is on record that it will be.
    Recorded,
    /// That is being put on record.
    Awaited,
    /// Nothing can be put on record.
    Impossible,
}

impl Ledger {
    /// Puts on record what goes that way; none: nothing.
    #[must_use]
    pub fn new(way: Option<Writer>, quantiles: Option<Selector>) -> Self {
        Self {
            way,
            quantiles,
            ..Self::default()
        }
    }

    /// Whether anything is put on record.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.way.is_some()
    }

    /// How many wait for an acknowledgement.
    #[must_use]
    pub fn awaited(&self) -> usize {
        self.waiting.len()
    }

    /// Whether that monitor falls due again when something is acknowledged.
    #[cfg(test)]
    pub fn awaits(&self, entity: Entity) -> bool {
        self.waiting.iter().any(|(_, other)| *other == entity) || self.urgent.contains(&entity)
    }

    /// Monitors that are still to be put down.
    #[must_use]
    pub fn marked(&self) -> usize {
        self.urgent.len() + self.unhurried.len()
    }

    /// A monitor's lasting state changed. `pulse`: its lane, which holds the mark.
    pub fn mark(&mut self, entity: Entity, pulse: &mut Lane, urgent: bool) {
        if self.way.is_none() {
            return;
        }
        if urgent && !pulse.is_urgent() {
            pulse.set_unsaved(true, true);
            self.urgent.push_back(entity);
        } else if !pulse.is_unsaved() {
            pulse.set_unsaved(true, false);
            self.unhurried.push_back(entity);
        }
    }

    /// Whether what a monitor has to say is on record, or need not be. If not, it waits, and falls due again then.
    pub fn may_speak(&mut self, entity: Entity, pulse: Lane, seq: u64) -> bool {
        if self.way.is_none() || self.failing {
            return true;
        }
        if pulse.is_urgent() {
            // It falls due when it has been put down.
            return false;
        }
        if seq <= self.acknowledged {
            return true;
        }
        self.await_record(seq, entity);
        false
    }

    fn await_record(&mut self, seq: u64, entity: Entity) {
        // Numbers only grow, but who asks again does so for an old one.
        let place = self.waiting.partition_point(|(other, _)| *other <= seq);
        self.waiting.insert(place, (seq, entity));
    }

    /// Whether the intervention that a monitor wants may be started. If that is not on record yet, it is put there, and
    /// the monitor is asked again when it is.
    pub fn intend(
        &mut self,
        entity: Entity,
        monitor: (&MonitorSpec, &Health, &mut Case, &mut Lane),
        now: crate::domain::time::Now,
    ) -> Intent {
        let (spec, health, case, pulse) = monitor;
        if self.way.is_none() {
            return Intent::Recorded;
        }
        if self.failing {
            return Intent::Impossible;
        }
        if case.repair.intent != 0 {
            return if case.repair.intent <= self.acknowledged {
                Intent::Recorded
            } else {
                Intent::Awaited
            };
        }
        case.repair.intent = self.seq + 1;
        if !self.put_down(
            entity,
            MonitorKey::of(spec),
            (spec, health, Some(&mut *case), pulse),
            true,
            now,
        ) {
            // No room: it is asked again in the next run.
            case.repair.intent = 0;
            self.waiting.push_front((self.acknowledged, entity));
        }
        Intent::Awaited
    }

    /// Puts a monitor down. False: there is no room.
    fn put_down(
        &mut self,
        entity: Entity,
        key: MonitorKey,
        monitor: (&MonitorSpec, &Health, Option<&mut Case>, &mut Lane),
        urgent: bool,
        now: crate::domain::time::Now,
    ) -> bool {
        let (spec, health, mut case, pulse) = monitor;
        let Some(way) = &self.way else {
            return true;
        };
        let mut memory = health.memory(now);
        if let Some(case) = &mut case {
            if case.repair.intent != 0 && health.wants_intervention() {
                memory = memory.with_intent(now.wall);
            } else {
                case.repair.intent = 0;
            }
        }
        let speaks = memory.episode().is_some();
        let sinks = case
            .iter()
            .flat_map(|case| spec.sinks.iter().zip(&case.sinks))
            .map(|(sink, lane)| lane.outbox.memory(&sink.name, now))
            // Who was told of what matters as long as the episode is open.
            .filter(|sink| !sink.is_empty() || (speaks && !sink.is_blank()))
            .collect();
        let saved = Saved {
            health: memory,
            sinks,
        };
        let record = Record::State(Box::new(State {
            seq: self.seq + 1,
            at: now.wall,
            key,
            spec: spec.clone(),
            saved: (!saved.is_blank()).then(|| Box::new(saved)),
            urgent,
        }));
        if way.try_send(record).is_err() {
            return false;
        }
        self.seq += 1;
        pulse.set_unsaved(false, false);
        if let Some(case) = case {
            // A later record of the same intent changes nothing about the first: what waits for that goes on.
            if urgent {
                case.seq = self.seq;
                self.await_record(self.seq, entity);
            }
        }
        true
    }

    /// A check ended.
    #[inline]
    pub fn sample(&mut self, entity: Entity, result: Option<&JobResult>, verdict: Verdict) {
        if self.way.is_some() {
            let took = result.map_or(Duration::ZERO, |result| result.finished.since(result.started));
            self.samples.push(Sample {
                place: entity.index_u32(),
                took_us: u32::try_from(took.as_micros()).unwrap_or(u32::MAX),
                verdict,
            });
        }
    }

    /// A fact, as far as it is one that is kept.
    pub fn fact(&mut self, event: &Event, host: bool) {
        let Some(way) = &self.way else {
            return;
        };
        if !is_kept(&event.fact) {
            return;
        }
        let key = if host {
            MonitorKey::HOST
        } else {
            MonitorKey::of(&event.spec)
        };
        let event = Box::new(event.clone());
        if way.try_send(Record::Fact { key, event }).is_err() {
            self.dropped += 1;
        }
    }

    /// A monitor is gone.
    pub fn gone(&mut self, spec: &MonitorSpec, at: Wall) {
        if let Some(way) = &self.way {
            let key = MonitorKey::of(spec);
            if way.try_send(Record::Gone { key, at }).is_err() {
                // The next start finds it without a monitor, and says so.
                self.dropped += 1;
            }
        }
    }

    /// Monitors have places now.
    pub fn places<'m>(&mut self, monitors: impl Iterator<Item = (Entity, &'m MonitorSpec)>) {
        if let Some(way) = &self.way {
            let wants = |spec| self.quantiles.as_ref().is_some_and(|of| of.matches(spec));
            let places = monitors
                .map(|(entity, spec)| Place {
                    place: entity.index_u32(),
                    key: MonitorKey::of(spec),
                    quantiles: wants(spec),
                })
                .collect();
            if way.try_send(Record::Places(places)).is_err() {
                self.dropped += 1;
            }
        }
    }

    /// Nothing more will come.
    pub fn close(&mut self) {
        self.way = None;
    }
}

/// Facts that belong to a story. What every check of a failing target says again is in its figures.
fn is_kept(fact: &Fact) -> bool {
    match fact {
        Fact::State { .. } | Fact::Fault { .. } | Fact::Withheld { .. } | Fact::Late { .. } => false,
        Fact::Opened { .. }
        | Fact::Incident { .. }
        | Fact::Closed { .. }
        | Fact::Intervening { .. }
        | Fact::Intervention { .. }
        | Fact::Held { .. }
        | Fact::Exhausted(_)
        | Fact::Purple { .. }
        | Fact::Delivered { .. }
        | Fact::Retrying { .. }
        | Fact::Undeliverable { .. }
        | Fact::Marked { .. }
        | Fact::Lost { .. }
        | Fact::Quarantined { .. }
        | Fact::Readmitted { .. }
        | Fact::RepairsPaused { .. }
        | Fact::RepairsResume { .. }
        | Fact::Unrecorded { .. }
        | Fact::RecordedAgain { .. } => true,
    }
}

/// Hears how far the record has got: what waited for that goes on.
pub fn hear(mut desk: Desk<'_>, mut monitors: Query<'_, '_, &mut Monitor>) {
    let Some(way) = &desk.ledger.0.way else {
        return;
    };
    let (acknowledged, trouble, lost) = (way.acknowledged(), way.trouble(), way.lost());
    let ledger = &mut desk.ledger.0;
    ledger.acknowledged = acknowledged;
    if trouble.is_some() != ledger.failing {
        ledger.failing = trouble.is_some();
        let dropped = ledger.dropped + lost;
        desk.note_host(
            trouble.map_or(Fact::RecordedAgain { dropped }, |message| Fact::Unrecorded {
                message,
            }),
            true,
        );
    }
    // What arrives while this goes on waits for the next run: it may be the same again.
    for _ in 0..desk.ledger.0.waiting.len() {
        let ledger = &mut desk.ledger.0;
        let Some((_, entity)) = ledger
            .waiting
            .pop_front_if(|(seq, _)| *seq <= ledger.acknowledged || ledger.failing)
        else {
            break;
        };
        if let Ok(mut monitor) = monitors.get_mut(entity) {
            go_on(&mut desk, entity, monitor.bypass_change_detection());
        }
    }
}

/// What a monitor has to say and to do, as far as it is not on its way.
fn go_on(desk: &mut Desk<'_>, entity: Entity, monitor: &mut Monitor) {
    let now = desk.now().mono;
    let wants = monitor.health.wants_intervention();
    let Some(case) = &mut monitor.case else {
        return;
    };
    if !case.held {
        for (index, sink) in (0u16..).zip(&mut case.sinks) {
            if !sink.outbox.is_empty() && sink.lane.is(Phase::Waiting, Mono::NEVER) {
                need_sink(&mut desk.needed.0.code, entity, index, sink, now);
            }
        }
    }
    if wants && case.repair.lane.phase() == Phase::Waiting {
        need_repair(desk, entity, case, now);
    }
}

/// A repair that is wanted falls due.
pub fn need_repair(desk: &mut Desk<'_>, entity: Entity, case: &mut Case, since: Mono) {
    case.repair.lane.need(since);
    let ticket = Ticket {
        entity,
        since,
        sink: 0,
    };
    desk.needed.0.intervention.push(case.repair.lane.flow(), ticket);
}

/// Puts down what was marked, as far as there is room, and hands over what was sampled.
pub fn save(mut desk: Desk<'_>, mut monitors: Query<'_, '_, &mut Monitor>) {
    if !desk.ledger.0.is_on() {
        return;
    }
    let now = desk.now();
    while let Some(entity) = desk.ledger.0.urgent.pop_front() {
        if !save_one(&mut desk, &mut monitors, entity, true, now) {
            desk.ledger.0.urgent.push_front(entity);
            break;
        }
    }
    for _ in 0..UNHURRIED_PER_RUN {
        let Some(entity) = desk.ledger.0.unhurried.pop_front() else {
            break;
        };
        if !save_one(&mut desk, &mut monitors, entity, false, now) {
            desk.ledger.0.unhurried.push_front(entity);
            break;
        }
    }
    let ledger = &mut desk.ledger.0;
    if !ledger.samples.is_empty()
        && let Some(way) = &ledger.way
    {
        let count = ledger.samples.len();
        let samples = std::mem::replace(&mut ledger.samples, Vec::with_capacity(count));
        if way
            .try_send(Record::Samples {
                at: now.wall,
                samples,
            })
            .is_err()
        {
            ledger.dropped += count as u64;
        }
    }
    let ledger = &desk.ledger.0;
    desk.tally.0.unrecorded = ledger.dropped + ledger.way.as_ref().map_or(0, Writer::lost);
}

fn save_one(
    desk: &mut Desk<'_>,
    monitors: &mut Query<'_, '_, &mut Monitor>,
    entity: Entity,
    urgent: bool,
    now: crate::domain::time::Now,
) -> bool {
    let Ok(mut monitor) = monitors.get_mut(entity) else {
        return true;
    };
    let Monitor {
        spec,
        health,
        case,
        pulse,
        ..
    } = monitor.bypass_change_detection();
    if !pulse.is_unsaved() {
        // It was put down meanwhile.
        return true;
    }
    let key = if desk.host.entity == Some(entity) {
        MonitorKey::HOST
    } else {
        MonitorKey::of(spec)
    };
    let urgent = urgent || pulse.is_urgent();
    desk.ledger.0.put_down(
        entity,
        key,
        (spec, health, case.as_deref_mut(), pulse),
        urgent,
        now,
    )
}

/// What became of what an earlier process had put down.
#[derive(Debug, Default)]
pub struct Recollection {
    /// Monitors that go on where they were.
    pub recalled: usize,
    /// Codes that are sent now.
    pub codes: usize,
    /// What belongs to no monitor any more.
    pub orphans: Vec<(MonitorKey, Recalled)>,
}

impl Scheduler {
    /// Goes on where an earlier process ended. To be called before the first run.
    pub fn recall(&mut self, mut known: HashMap<MonitorKey, Recalled>) -> Recollection {
        let mut result = Recollection::default();
        if known.is_empty() {
            return result;
        }
        let world = &mut self.world;
        let host = world.resource::<HostDesk>().entity;
        let now = world.resource::<Time>().now;
        let found: Vec<(Entity, MonitorKey)> = world
            .query::<(Entity, &Monitor)>()
            .iter(world)
            .map(|(entity, monitor)| match host == Some(entity) {
                true => (entity, MonitorKey::HOST),
                false => (entity, MonitorKey::of(&monitor.spec)),
            })
            .filter(|(_, key)| known.contains_key(key))
            .collect();
        let last = known
            .values()
            .filter_map(|known| known.saved.health.episode())
            .max();
        world
            .resource_mut::<EpisodeSource>()
            .0
            .go_on_after(last.unwrap_or(0));
        let mut state: SystemState<(Desk<'_>, Query<'_, '_, &mut Monitor>)> = SystemState::new(world);
        let Ok((mut desk, mut monitors)) = state.get_mut(world) else {
            return result;
        };
        let mut spent: Vec<Wall> = Vec::new();
        for (entity, key) in &found {
            if let Some(recalled) = known.remove(key)
                && let Ok(mut monitor) = monitors.get_mut(*entity)
            {
                result.recalled += 1;
                spent.extend(recalled.saved.health.spent());
                result.codes += recall_one(
                    &mut desk,
                    *entity,
                    monitor.bypass_change_detection(),
                    recalled.saved,
                );
            }
        }
        // What was done counts for the budget of the host, in the order in which it was done.
        spent.sort_unstable();
        for at in spent {
            let at = now.to_mono(at);
            desk.budgets.interventions.spend(at);
        }
        // Parents first: a child that failed says nothing before they have been looked at.
        for (entity, _) in &found {
            if let Ok(monitor) = monitors.get(*entity) {
                desk.family.learn(*entity, &monitor.health);
            }
        }
        for (entity, _) in found {
            if let Ok(mut monitor) = monitors.get_mut(entity) {
                ask_parents(
                    &mut desk.family,
                    entity,
                    monitor.bypass_change_detection(),
                    now.mono,
                );
            }
        }
        result.orphans = known.into_iter().collect();
        result
    }
}

/// Returns how many codes it has to send.
fn recall_one(desk: &mut Desk<'_>, entity: Entity, monitor: &mut Monitor, saved: Saved) -> usize {
    let now = desk.now();
    let mut effects = Effects::default();
    let Monitor {
        spec, health, case, ..
    } = &mut *monitor;
    *health = Health::recalled(saved.health, spec, now, &mut effects);
    let mut codes = 0;
    for memory in saved.sinks {
        let place = spec.sinks.iter().position(|sink| sink.name == memory.sink);
        let case = desk.case(spec, case);
        let Some((index, lane)) =
            place.and_then(|place| Some((u16::try_from(place).ok()?, case.sinks.get_mut(place)?)))
        else {
            let sink = Arc::clone(&memory.sink);
            for alert in memory.into_codes() {
                let why =
                    "the notifier was taken from the monitor while pulse-host was not running".to_owned();
                undeliverable(desk, entity, spec, &sink, alert, why);
            }
            continue;
        };
        lane.outbox = Outbox::recalled(memory, now);
        codes += lane.outbox.len();
        if !lane.outbox.is_empty() {
            need_sink(&mut desk.needed.0.code, entity, index, lane, now.mono);
        }
    }
    desk.tally.0.outbox += codes;
    let look = std::mem::take(&mut effects.recheck);
    follow(
        desk,
        entity,
        monitor,
        &mut effects,
        "as it was before the restart",
    );
    if monitor.spec.pulse.is_some() {
        desk.show(entity, monitor.health.told(), monitor.health.marks());
    }
    if look && monitor.pulse.phase() == Phase::Waiting {
        // A hash of who it is spreads those that were in trouble together.
        let spread = monitor.spec.policy.retry_interval.max(SPREAD_MIN);
        let hash = (entity.to_bits().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as u32;
        let soon = now.mono.after(spread * hash / 1024).min(monitor.pulse.at());
        wait_for_pulse(desk, entity, &mut monitor.pulse, soon);
    }
    codes
}

fn ask_parents(family: &mut Family, entity: Entity, monitor: &mut Monitor, now: Mono) {
    if monitor.spec.parents.is_empty() || !monitor.health.blocks() {
        return;
    }
    if monitor.health.depends_on_parents() || family.blocked(&monitor.spec) {
        family.moved(entity);
        hold_codes(monitor);
    } else if family.ask(entity, &monitor.spec, now) {
        monitor.health.set_awaiting(true);
    }
}

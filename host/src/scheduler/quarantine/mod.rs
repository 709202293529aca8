//! Plugins that are sick themselves: a circuit breaker for each plugin of each tenant.
//!
//! A *key* is a tenant and a component's digest. Where the plugin's own trouble ([`testimony`]) is too large a share of
//! what a key ran within the window, its breaker opens: nothing of it runs, until after a pause a few jobs are let
//! through as probes. One that ends well closes it; if all fail, the next pause is twice as long.
//!
//! A digest that is quarantined in several tenants, and well in none, is sick *at large*. That widens the quarantine: a
//! key that never ran it begins with probes, and [`PROBES`] faults in a row, without success between, open any key.
//!
//! Architecture invariant: only faults of a tenant's own executions open its key. The faults of others lower how many
//! of its own it takes, and never replace them, so that nobody can switch another one off. What a job that ends well
//! costs is two reads and a count.

mod key;
mod seen;
mod systems;

use crate::domain::{
    backoff::backoff,
    event::Fact,
    host::{PerKind, QuarantineSettings},
    job::JobResult,
    spec::{Kind, Profile},
    time::{Mono, nanos},
};
use bevy_ecs::{entity::Entity, resource::Resource};
use key::{Count, Key, PARTS, Round, State, reason};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

pub use key::{Testimony, testimony};
pub use seen::{Seen, Shut};
pub use systems::{advance, turn};

/// Jobs that are let through to see whether a plugin is well again.
pub const PROBES: u32 = 3;
/// A job that finds the places of all probes taken asks again after that time.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// What was held is checked again at least that much apart, on average.
const RELEASE_GAP: Duration = Duration::from_millis(1);
/// A tenant's name and a component's digest.
pub type Name = (Arc<str>, Arc<str>);

/// No key.
const NONE: u32 = u32::MAX;

/// What may become of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// It may be sent.
    Pass,
    /// It may not be sent before that time, which may change.
    Shut {
        /// When it may ask again.
        until: Mono,
        /// Whether the plugin is being tried, and all that is wanting is room for one more probe.
        trying: bool,
        /// Whether the tenant's own faults are the reason.
        own: bool,
    },
}

/// Something that people should hear of.
#[derive(Clone, Debug, PartialEq)]
pub struct News {
    /// For the journal.
    pub fact: Fact,
    /// Whether the host's own sinks hear of it too; the rest is part of what they heard already.
    pub loud: bool,
}

/// What is known of a digest over all tenants.
#[derive(Debug, Default)]
struct Strain {
    keys: Vec<u32>,
    at_large: bool,
}

/// All breakers.
#[derive(Resource, Debug, Default)]
pub struct Quarantine {
    settings: Option<QuarantineSettings>,
    keys: Vec<Option<Key>>,
    free: Vec<u32>,
    numbers: HashMap<Name, u32>,
    strains: HashMap<Arc<str>, Strain>,
    /// The key of each queue of each kind.
    of_flow: PerKind<Vec<u32>>,
    /// Keys that are not closed.
    shut: Vec<u32>,
    /// The number of the present part of the window.
    part: u64,
    part_ns: u64,
    /// When one of the shut keys must be looked at.
    next_at: Mono,
    plan: u64,
    /// Monitors that are to be checked now, as probes.
    probes: Vec<Entity>,
    /// Monitors that are to be checked soon, and the time over which they are spread.
    released: VecDeque<Entity>,
    spread: Duration,
    news: Vec<News>,
}

impl Quarantine {
    /// Nothing is known yet. None: nothing is ever quarantined.
    #[must_use]
    pub fn new(settings: Option<QuarantineSettings>) -> Self {
        let window = settings.map_or(Duration::ZERO, |settings| settings.window);
        Self {
            settings,
            part_ns: (nanos(window) / PARTS as u64).max(1),
            next_at: Mono::NEVER,
            ..Self::default()
        }
    }

    /// Jobs of that queue are executions of that plugin from now on.
    pub fn bind(&mut self, kind: Kind, flow: u16, tenant: &Arc<str>, profile: &Profile, now: Mono) {
        if self.settings.is_none() {
            return;
        }
        let flows = self.of_flow.get_mut(kind);
        if flows.len() <= usize::from(flow) {
            flows.resize(usize::from(flow) + 1, NONE);
        }
        let bound = flows.get(usize::from(flow)).copied().unwrap_or(NONE);
        let known = self.keys.get(bound as usize).and_then(Option::as_ref);
        if known.is_some_and(|key| key.digest == profile.digest && key.tenant == *tenant) {
            return;
        }
        let number = self.key(tenant, profile, now);
        if let Some(slot) = self.of_flow.get_mut(kind).get_mut(usize::from(flow)) {
            *slot = number;
        }
    }

    /// Several users share that queue: it says nothing about any one of them.
    pub fn unbind(&mut self, kind: Kind, flow: u16) {
        if let Some(bound) = self.of_flow.get_mut(kind).get_mut(usize::from(flow)) {
            *bound = NONE;
        }
    }

    fn key(&mut self, tenant: &Arc<str>, profile: &Profile, now: Mono) -> u32 {
        let name = (Arc::clone(tenant), Arc::clone(&profile.digest));
        if let Some(number) = self.numbers.get(&name) {
            return *number;
        }
        let key = Key {
            tenant: Arc::clone(tenant),
            digest: Arc::clone(&profile.digest),
            plugin: Arc::clone(&profile.plugin),
            since: now,
            calm: true,
            state: State::Closed,
            parts: [Count::default(); PARTS],
            sum: Count::default(),
            part: self.part,
            streak: 0,
            known: false,
            opened: false,
            level: 0,
            closed_at: Mono(0),
            told: false,
            reason: "".into(),
            held: VecDeque::new(),
            planned: 0,
            plan: 0,
        };
        let number = self.free.pop().unwrap_or_else(|| {
            self.keys.push(None);
            // Each has a queue, of which there are at most 65,535 of a kind.
            u32::try_from(self.keys.len() - 1).unwrap_or(NONE)
        });
        if let Some(slot) = self.keys.get_mut(number as usize) {
            *slot = Some(key);
        }
        self.numbers.insert(name, number);
        let strain = self.strains.entry(Arc::clone(&profile.digest)).or_default();
        strain.keys.push(number);
        if strain.at_large {
            self.doubt(number, now);
        }
        number
    }

    fn number(&self, kind: Kind, flow: u16) -> Option<u32> {
        self.of_flow
            .get(kind)
            .get(usize::from(flow))
            .copied()
            .filter(|number| *number != NONE)
    }

    fn at(&mut self, number: u32) -> Option<&mut Key> {
        self.keys.get_mut(number as usize)?.as_mut()
    }

    /// An execution of a job of that queue ended.
    #[inline]
    pub fn hear(&mut self, kind: Kind, flow: u16, result: &JobResult, now: Mono) {
        let (number, part) = (self.number(kind, flow), self.part);
        let Some(number) = number else {
            return;
        };
        let Some(key) = self.at(number) else {
            return;
        };
        if result.sent < key.since {
            return;
        }
        let testimony = testimony(result);
        if testimony == Testimony::Well && key.calm && key.part == part {
            key.sum.well = key.sum.well.saturating_add(1);
            if let Some(count) = key.parts.get_mut(part as usize % PARTS) {
                count.well = count.well.saturating_add(1);
            }
            (key.streak, key.known) = (0, true);
            return;
        }
        self.weigh(number, testimony, result, now);
    }

    /// Everything but the usual.
    #[cold]
    fn weigh(&mut self, number: u32, testimony: Testimony, result: &JobResult, now: Mono) {
        let (Some(settings), part) = (self.settings, self.part) else {
            return;
        };
        let Some(key) = self.at(number) else {
            return;
        };
        key.turn(part);
        key.count(testimony);
        match (key.state, testimony) {
            (State::Closed, Testimony::Sick) => {
                let Count { well, sick } = key.sum;
                let share = settings.ratio * f64::from(sick.saturating_add(well));
                let often = sick >= settings.faults_min && f64::from(sick) >= share;
                let doubted = !key.calm && well == 0 && key.streak >= PROBES;
                if often || doubted {
                    key.reason = reason(&result.outcome);
                    self.open(number, now);
                }
            }
            // It works after all.
            (State::Closed, Testimony::Well) if !key.calm => self.recant(number, now),
            (State::Trying(round), _) if result.sent >= round.since => {
                if testimony == Testimony::Sick {
                    key.reason = reason(&result.outcome);
                }
                self.probed(number, testimony, now);
            }
            (State::Trying(_), Testimony::Well) if !key.opened => self.close(number, now),
            // What was sent before it opened says nothing new.
            _ => {}
        }
    }

    /// A probe came back.
    fn probed(&mut self, number: u32, testimony: Testimony, now: Mono) {
        if testimony == Testimony::Well {
            self.close(number, now);
        } else if let Some(key) = self.at(number)
            && let State::Trying(round) = &mut key.state
        {
            round.heard += 1;
            round.sick += u32::from(testimony == Testimony::Sick);
            // The last of them decides, unless one went well before.
            if round.heard >= round.sent {
                self.judge(number, now);
            }
        }
    }

    /// The probes of a round are back, or overdue, and none went well.
    fn judge(&mut self, number: u32, now: Mono) {
        let Some(key) = self.at(number) else {
            return;
        };
        let State::Trying(round) = key.state else {
            return;
        };
        // Where only others are in trouble, it takes as many faults of its own as there are probes.
        if round.sick > 0 && (key.opened || key.streak >= PROBES) {
            self.open(number, now);
        } else {
            self.try_again(number, now);
        }
    }

    /// A round of probes begins.
    fn try_again(&mut self, number: u32, now: Mono) {
        if let Some(key) = self.at(number) {
            // What an earlier round sent is still a probe.
            let since = match key.state {
                State::Trying(round) => round.since,
                State::Open { .. } | State::Closed => now,
            };
            key.state = State::Trying(Round::begins(since));
            let count = key.held.len().min(PROBES as usize);
            let first: Vec<Entity> = key.held.drain(..count).collect();
            self.probes.extend(first);
        }
    }

    /// It opens, or stays open for longer.
    fn open(&mut self, number: u32, now: Mono) {
        let (Some(settings), part) = (self.settings, self.part) else {
            return;
        };
        let Some(key) = self.at(number) else {
            return;
        };
        let fresh = !std::mem::replace(&mut key.opened, true);
        if fresh && now.since(key.closed_at) > settings.pause_longest {
            key.level = 0;
        }
        key.level = key.level.saturating_add(1);
        let pause = backoff(settings.pause_first, key.level, settings.pause_longest);
        let pause = pause.mul_f64(jitter(number, key.level));
        let until = now.after(pause);
        key.calm = false;
        key.state = State::Open { until };
        let digest = Arc::clone(&key.digest);
        if !self.shut.contains(&number) {
            self.shut.push(number);
        }
        self.next_at = self.next_at.min(until);
        let already = self.strains.get(&digest).is_some_and(|strain| strain.at_large);
        let widens = !already && self.is_at_large(&digest, part, settings.tenants);
        if widens && let Some(strain) = self.strains.get_mut(&digest) {
            strain.at_large = true;
            for other in strain.keys.clone() {
                self.doubt(other, now);
            }
        }
        let Some(key) = self.at(number) else {
            return;
        };
        // Who hears that it is sick at large need not hear of each tenant.
        let loud = fresh && !already && !widens;
        key.told |= loud;
        let news = |tenant, loud| News {
            fact: Fact::Quarantined {
                plugin: Arc::clone(&key.plugin),
                digest: Arc::clone(&digest),
                tenant,
                faults: key.sum.sick,
                of: key.sum.sick.saturating_add(key.sum.well),
                message: Arc::clone(&key.reason),
                pause,
            },
            loud,
        };
        let own = fresh.then(|| news(Some(Arc::clone(&key.tenant)), loud));
        let wide = widens.then(|| news(None, true));
        self.news.extend(own.into_iter().chain(wide));
    }

    /// Whether enough tenants are in trouble with it, and none is well.
    fn is_at_large(&mut self, digest: &Arc<str>, part: u64, tenants: u32) -> bool {
        let numbers = self
            .strains
            .get(digest)
            .map(|strain| strain.keys.clone())
            .unwrap_or_default();
        let mut shut = 0;
        for number in numbers {
            let Some(key) = self.at(number) else {
                continue;
            };
            key.turn(part);
            let open = key.state != State::Closed && key.streak > 0;
            if !open && key.sum.well > 0 {
                return false;
            }
            shut += u32::from(open);
        }
        shut >= tenants
    }

    /// The digest is sick at large: one success is not taken for granted any more.
    fn doubt(&mut self, number: u32, now: Mono) {
        let Some(key) = self.at(number) else {
            return;
        };
        key.calm = false;
        if key.state == State::Closed && !key.known {
            key.state = State::Trying(Round::begins(now));
            self.shut.push(number);
        }
    }

    /// It went well.
    fn close(&mut self, number: u32, now: Mono) {
        self.shut.retain(|shut| *shut != number);
        let Some(key) = self.at(number) else {
            return;
        };
        (key.state, key.calm, key.closed_at) = (State::Closed, true, now);
        (key.parts, key.sum) = ([Count::default(); PARTS], Count::default());
        let held = std::mem::take(&mut key.held);
        let news = std::mem::take(&mut key.opened).then(|| News {
            fact: Fact::Readmitted {
                plugin: Arc::clone(&key.plugin),
                digest: Arc::clone(&key.digest),
                tenant: Some(Arc::clone(&key.tenant)),
                held: held.len(),
            },
            loud: std::mem::take(&mut key.told),
        });
        self.news.extend(news);
        self.release(held);
        self.recant(number, now);
    }

    fn release(&mut self, held: VecDeque<Entity>) {
        let pace = u32::try_from(held.len()).unwrap_or(u32::MAX);
        self.spread = (RELEASE_GAP * pace).max(self.spread);
        self.released.extend(held);
    }

    /// Somebody is well with it: it is not sick at large. Who still is has his next probe soon.
    fn recant(&mut self, number: u32, now: Mono) {
        let Some(digest) = self.at(number).map(|key| Arc::clone(&key.digest)) else {
            return;
        };
        let Some(strain) = self.strains.get_mut(&digest) else {
            return;
        };
        if !std::mem::take(&mut strain.at_large) {
            return;
        }
        let (mut count, mut next_at) = (0, self.next_at);
        let mut cleared = Vec::new();
        for other in strain.keys.clone() {
            let Some(key) = self.at(other) else {
                continue;
            };
            count += key.held.len();
            match &mut key.state {
                State::Closed => key.calm = true,
                State::Open { until } => {
                    *until = (*until).min(now.after(ASK_AGAIN));
                    next_at = next_at.min(*until);
                }
                // It has shown nothing of its own.
                State::Trying(_) if !key.opened => cleared.push(other),
                State::Trying(_) => {}
            }
        }
        self.next_at = next_at;
        if let Some(key) = self.at(number) {
            let news = News {
                fact: Fact::Readmitted {
                    plugin: Arc::clone(&key.plugin),
                    digest,
                    tenant: None,
                    held: count,
                },
                loud: true,
            };
            self.news.push(news);
        }
        for other in cleared {
            self.close(other, now);
        }
    }

    /// Whether a job of that queue may be sent.
    pub fn gate(&mut self, kind: Kind, flow: u16, now: Mono) -> Gate {
        if self.shut.is_empty() {
            return Gate::Pass;
        }
        let plan = self.plan;
        let Some(number) = self.number(kind, flow) else {
            return Gate::Pass;
        };
        let Some(key) = self.at(number) else {
            return Gate::Pass;
        };
        let own = key.opened;
        match &key.state {
            State::Closed => Gate::Pass,
            State::Open { until } => Gate::Shut {
                until: *until,
                trying: false,
                own,
            },
            State::Trying(round) => {
                if key.plan != plan {
                    (key.plan, key.planned) = (plan, 0);
                }
                if round.sent + key.planned < PROBES {
                    key.planned += 1;
                    return Gate::Pass;
                }
                Gate::Shut {
                    until: now.after(ASK_AGAIN),
                    trying: true,
                    own,
                }
            }
        }
    }

    /// A dispatch begins: what the last one had planned and not sent is forgotten.
    pub fn plan(&mut self) {
        self.plan += 1;
    }

    /// A job of that queue was sent; it must have come back by `deadline`.
    pub fn sent(&mut self, kind: Kind, flow: u16, deadline: Mono) {
        if self.shut.is_empty() {
            return;
        }
        let Some(number) = self.number(kind, flow) else {
            return;
        };
        let mut look_at = Mono::NEVER;
        if let Some(key) = self.at(number)
            && let State::Trying(round) = &mut key.state
        {
            round.sent += 1;
            key.planned = key.planned.saturating_sub(1);
            // Whatever is lost is given up at its deadline; the run after that is soon enough.
            let last = deadline.after(ASK_AGAIN);
            round.until = match round.until {
                Mono::NEVER => last,
                until => until.max(last),
            };
            look_at = round.until;
        }
        self.next_at = self.next_at.min(look_at);
    }

    /// Why jobs of that queue are not run, for people.
    #[must_use]
    pub fn reason(&self, kind: Kind, flow: u16) -> String {
        let key = self
            .number(kind, flow)
            .and_then(|number| self.keys.get(number as usize)?.as_ref());
        match key {
            Some(key) if key.reason.is_empty() => format!("the plugin {} is quarantined", key.plugin),
            Some(key) => format!("the plugin {} is quarantined: {}", key.plugin, key.reason),
            None => "quarantined".to_owned(),
        }
    }

    /// A pulse of that queue was not run.
    pub fn hold(&mut self, kind: Kind, flow: u16, entity: Entity) {
        if let Some(number) = self.number(kind, flow)
            && let Some(key) = self.at(number)
        {
            key.held.push_back(entity);
        }
    }

    /// The whole host stood still for that long: probes that are out get that time back, as everything that is out does.
    fn stood_still(&mut self, stalled: Duration) {
        if stalled.is_zero() {
            return;
        }
        for number in self.shut.clone() {
            if let Some(key) = self.at(number)
                && let State::Trying(round) = &mut key.state
                && round.until != Mono::NEVER
            {
                round.until = round.until.after(stalled);
            }
        }
    }

    /// The time goes on.
    fn turn(&mut self, now: Mono) {
        self.part = now.0 / self.part_ns;
        if now < self.next_at {
            return;
        }
        self.next_at = Mono::NEVER;
        for number in self.shut.clone() {
            match self.at(number).map(|key| key.state) {
                Some(State::Open { until }) if until <= now => self.try_again(number, now),
                Some(State::Trying(round)) if round.until <= now => self.judge(number, now),
                _ => {}
            }
            let until = match self.at(number).map(|key| key.state) {
                Some(State::Open { until }) => until,
                Some(State::Trying(round)) => round.until,
                _ => Mono::NEVER,
            };
            self.next_at = self.next_at.min(until);
        }
    }

    /// Forgets every plugin that no tenant uses any more. What was held because of it is checked again.
    pub fn retain(&mut self, used: &HashSet<Name>) {
        let gone: Vec<(Name, u32)> = self
            .numbers
            .iter()
            .filter(|(name, _)| !used.contains(*name))
            .map(|(name, number)| (name.clone(), *number))
            .collect();
        for (name, number) in gone {
            self.numbers.remove(&name);
            self.shut.retain(|shut| *shut != number);
            let Some(key) = self.keys.get_mut(number as usize).and_then(Option::take) else {
                continue;
            };
            self.free.push(number);
            for kind in Kind::ALL {
                for bound in self.of_flow.get_mut(kind) {
                    if *bound == number {
                        *bound = NONE;
                    }
                }
            }
            let count = key.held.len();
            self.release(key.held);
            let last = match self.strains.get_mut(&key.digest) {
                Some(strain) => {
                    strain.keys.retain(|other| *other != number);
                    strain.keys.is_empty()
                }
                None => false,
            };
            let strain = last.then(|| self.strains.remove(&key.digest)).flatten();
            let at_large = strain.is_some_and(|strain| strain.at_large);
            if at_large || key.told {
                self.news.push(News {
                    fact: Fact::Readmitted {
                        plugin: key.plugin,
                        digest: key.digest,
                        tenant: (!at_large).then_some(key.tenant),
                        held: count,
                    },
                    loud: true,
                });
            }
        }
    }

    /// Plugins of tenants that are quarantined at present.
    #[must_use]
    pub fn count(&self) -> usize {
        let open = |number: &&u32| {
            let key = self.keys.get(**number as usize).and_then(Option::as_ref);
            key.is_some_and(|key| key.opened)
        };
        self.shut.iter().filter(open).count()
    }
}

/// From three quarters to 1: many that opened together are not tried together.
fn jitter(number: u32, level: u32) -> f64 {
    let seed = u64::from(number) << 32 | u64::from(level);
    let hash = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54;
    1.0 - hash as f64 / 4096.0
}

#[cfg(test)]
mod tests;

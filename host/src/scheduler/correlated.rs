//! Most targets fail at once: the likely cause is this host, or what it reaches them by, and repairs would do harm.
//!
//! Each monitor *stands* alive, failing or neither, and counts are kept of how many stand how, by tenant and by queue
//! of checks. A monitor that turns from alive to failing is a *fresh* failure for the length of the window. Where fresh
//! failures are most of those that were alive, enough of them, and seen by more than one plugin if the tenant has more
//! than one, interventions of that tenant pause: what is wanted is held, as the state machine has it. They go on when
//! most of what failed is back, or after the longest pause.
//!
//! The whole host is held to be the cause when that is so of all monitors together and of most tenants. Then a tenant
//! too small to tell on its own pauses too, if most of its own monitors fail.
//!
//! Architecture invariant: a tenant's interventions pause only if most of its own monitors fail, whatever happens to
//! those of others. A result that changes nothing costs nothing here; one that does, a few additions.

use super::resources::Desk;
use crate::domain::{
    event::Fact,
    health::Health,
    host::CorrelatedSettings,
    time::{Mono, nanos},
};
use bevy_ecs::resource::Resource;
use std::{collections::HashMap, sync::Arc, time::Duration};

/// Parts of the window; it moves on by one of them at a time.
const PARTS: usize = 8;
/// What a monitor weighs that is checked at least once in a window. One that is checked less often counts only as far
/// as it would have been.
const WHOLE: u64 = 1024;

/// How a monitor is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// Nothing is known of it, or it never was alive.
    #[default]
    Nothing,
    /// Its last answer was no failure.
    Alive,
    /// Its last answer was a failure, and no parent is to blame.
    Failing,
    /// Nothing is known of it at present; it was alive.
    WasAlive,
}

impl Standing {
    /// How a monitor stands that stood so before.
    #[inline]
    #[must_use]
    pub fn of(health: &Health, before: Self) -> Self {
        let unsettled = || match before {
            Self::Alive | Self::WasAlive => Self::WasAlive,
            Self::Nothing | Self::Failing => Self::Nothing,
        };
        match health.alive() {
            _ if health.depends_on_parents() => unsettled(),
            Some(true) => Self::Alive,
            Some(false) => Self::Failing,
            // A fault leaves what was known of a failure.
            None if before == Self::Failing => Self::Failing,
            None => unsettled(),
        }
    }
}

/// Monitors that stand alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    /// By weight.
    alive: u64,
    failing: u64,
    /// Those of the failing that were alive at the window's begin.
    fresh: u64,
}

impl Count {
    /// Whether so large a share of those that were alive has failed.
    fn mostly(self, failed: u64, ratio: f64) -> bool {
        let failed = failed as f64 * WHOLE as f64;
        failed > 0.0 && failed >= ratio * (failed + self.alive as f64)
    }
}

/// The checks of one plugin of one tenant.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    tenant: usize,
    count: Count,
    /// Fresh failures, by the part of the window in which they began.
    parts: [u64; PARTS],
}

/// A tenant, or all of them.
#[derive(Clone, Debug, Default)]
struct Pool {
    name: Option<Arc<str>>,
    count: Count,
    /// Groups with anything in them, and those of them with fresh failures.
    groups: usize,
    hit_groups: usize,
    /// Most of it failed freshly: counted among the tenants that were hit.
    hit: bool,
    /// Has monitors that are alive, or were.
    seen: bool,
    pause: Option<Pause>,
}

#[derive(Clone, Copy, Debug)]
struct Pause {
    since: Mono,
    /// What failed before it all began.
    before: u64,
}

/// All counts.
#[derive(Resource, Debug, Default)]
pub struct Correlated {
    settings: Option<CorrelatedSettings>,
    groups: Vec<Option<Group>>,
    tenants: Vec<Pool>,
    numbers: HashMap<Arc<str>, usize>,
    all: Pool,
    /// Tenants with monitors that are or were alive, and those of them that were hit.
    seen: usize,
    hit: usize,
    part: u64,
    part_ns: u64,
    window_ns: u64,
    news: Vec<Fact>,
}

impl Correlated {
    /// Nothing is known yet. None: nothing is ever paused.
    #[must_use]
    pub fn new(settings: Option<CorrelatedSettings>) -> Self {
        let window = settings.map_or(Duration::ZERO, |settings| settings.window);
        Self {
            settings,
            part_ns: (nanos(window) / PARTS as u64).max(1),
            window_ns: nanos(window),
            ..Self::default()
        }
    }

    /// The pulses of that queue are of that tenant.
    pub fn bind(&mut self, flow: u16, tenant: &Arc<str>) {
        let place = usize::from(flow);
        if self.settings.is_none() || matches!(self.groups.get(place), Some(Some(_))) {
            return;
        }
        let fresh = self.tenants.len();
        let tenant = *self.numbers.entry(Arc::clone(tenant)).or_insert_with_key(|name| {
            self.tenants.push(Pool {
                name: Some(Arc::clone(name)),
                ..Pool::default()
            });
            fresh
        });
        if self.groups.len() <= place {
            self.groups.resize(place + 1, None);
        }
        if let Some(group) = self.groups.get_mut(place) {
            *group = Some(Group {
                tenant,
                ..Group::default()
            });
        }
    }

    /// What a monitor counts as long as it is alive.
    fn weight(&self, interval: Duration) -> u64 {
        let interval = nanos(interval);
        if interval <= self.window_ns {
            return WHOLE;
        }
        (u128::from(WHOLE) * u128::from(self.window_ns) / u128::from(interval.max(1))).max(1) as u64
    }

    /// Whether a failure that began then is fresh still, and counted as such.
    #[must_use]
    pub fn is_fresh(&self, onset: Mono) -> bool {
        onset != Mono::NEVER && onset.0 / self.part_ns + PARTS as u64 > self.part
    }

    /// A monitor whose pulses are of that queue stands differently than before. `onset`: when its failure began, if it
    /// was alive before that; [`Mono::NEVER`] if it does not fail. One that fails already, and is counted anew, has
    /// kept its own.
    pub fn moves(
        &mut self,
        flow: u16,
        interval: Duration,
        (from, to): (Standing, Standing),
        onset: &mut Mono,
        now: Mono,
    ) {
        let Some(settings) = self.settings else {
            return;
        };
        // A reload comes between two runs.
        self.turn(now);
        let weight = self.weight(interval);
        let Some(Some(mut group)) = self.groups.get(usize::from(flow)).copied() else {
            return;
        };
        let before = group.count;
        match from {
            Standing::Alive => group.count.alive = group.count.alive.saturating_sub(weight),
            Standing::Failing => {
                group.count.failing = group.count.failing.saturating_sub(1);
                let began = std::mem::replace(onset, Mono::NEVER);
                if self.is_fresh(began)
                    && let Some(count) = group.parts.get_mut((began.0 / self.part_ns) as usize % PARTS)
                {
                    *count = count.saturating_sub(1);
                    group.count.fresh = group.count.fresh.saturating_sub(1);
                }
            }
            Standing::Nothing | Standing::WasAlive => {}
        }
        match to {
            Standing::Alive => group.count.alive += weight,
            Standing::Failing => {
                group.count.failing += 1;
                if matches!(from, Standing::Alive | Standing::WasAlive) && *onset == Mono::NEVER {
                    *onset = now;
                }
                if self.is_fresh(*onset)
                    && let Some(count) = group.parts.get_mut((onset.0 / self.part_ns) as usize % PARTS)
                {
                    *count += 1;
                    group.count.fresh += 1;
                }
            }
            Standing::Nothing | Standing::WasAlive => {}
        }
        let (after, tenant) = (group.count, group.tenant);
        if let Some(place) = self.groups.get_mut(usize::from(flow)) {
            *place = Some(group);
        }
        self.apply(tenant, before, after);
        self.judge(tenant, settings, now);
    }

    /// A group's counts have changed.
    fn apply(&mut self, tenant: usize, before: Count, after: Count) {
        for pool in self.tenants.get_mut(tenant).into_iter().chain([&mut self.all]) {
            let differ = |sum: u64, one: u64, two: u64| (sum + two).saturating_sub(one);
            pool.count.alive = differ(pool.count.alive, before.alive, after.alive);
            pool.count.failing = differ(pool.count.failing, before.failing, after.failing);
            pool.count.fresh = differ(pool.count.fresh, before.fresh, after.fresh);
            let some = |count: Count| usize::from(count.alive + count.fresh > 0);
            let hit = |count: Count| usize::from(count.fresh > 0);
            pool.groups = (pool.groups + some(after)).saturating_sub(some(before));
            pool.hit_groups = (pool.hit_groups + hit(after)).saturating_sub(hit(before));
        }
    }

    /// What follows for a tenant, and for the host.
    fn judge(&mut self, tenant: usize, settings: CorrelatedSettings, now: Mono) {
        let Some(pool) = self.tenants.get_mut(tenant) else {
            return;
        };
        let hit = pool.count.mostly(pool.count.fresh, settings.ratio);
        let seen = pool.count.alive + pool.count.fresh > 0;
        self.hit = (self.hit + usize::from(hit)).saturating_sub(usize::from(pool.hit));
        self.seen = (self.seen + usize::from(seen)).saturating_sub(usize::from(pool.seen));
        (pool.hit, pool.seen) = (hit, seen);
        self.news.extend(pool.decide(settings, hit, now));
        let most = self.all.count.mostly(self.all.count.fresh, settings.ratio)
            // One alone pauses by itself.
            && self.hit > 1
            && self.hit as f64 >= settings.ratio * self.seen as f64;
        self.news.extend(self.all.decide(settings, most, now));
    }

    /// The time goes on.
    fn turn(&mut self, now: Mono) {
        let Some(settings) = self.settings else {
            return;
        };
        let part = now.0 / self.part_ns;
        let behind = part.saturating_sub(self.part);
        if behind == 0 {
            return;
        }
        let last = self.part;
        self.part = part;
        for place in 0..self.groups.len() {
            let Some(Some(group)) = self.groups.get_mut(place) else {
                continue;
            };
            let before = group.count;
            if before.fresh > 0 {
                for old in last + 1..=last + behind.min(PARTS as u64) {
                    if let Some(count) = group.parts.get_mut(old as usize % PARTS) {
                        let count = std::mem::take(count);
                        group.count.fresh = group.count.fresh.saturating_sub(count);
                    }
                }
            }
            let (tenant, after) = (group.tenant, group.count);
            if before != after {
                self.apply(tenant, before, after);
                self.judge(tenant, settings, now);
            }
        }
        // A pause that lasts too long ends without anybody's doing.
        for place in 0..self.tenants.len() {
            if self.tenants.get(place).is_some_and(|pool| pool.pause.is_some()) {
                self.judge(place, settings, now);
            }
        }
    }

    /// Whether interventions of the tenant pause whose pulses are of that queue.
    #[must_use]
    pub fn pauses(&self, flow: u16) -> bool {
        let Some(settings) = self.settings else {
            return false;
        };
        let group = self.groups.get(usize::from(flow)).and_then(Option::as_ref);
        let Some(pool) = group.and_then(|group| self.tenants.get(group.tenant)) else {
            return false;
        };
        pool.pause.is_some()
            || (self.all.pause.is_some() && pool.count.mostly(pool.count.failing, settings.ratio))
    }

    /// Tenants whose interventions pause at present because of themselves, and one more for the host.
    #[must_use]
    pub fn paused(&self) -> usize {
        let pools = self.tenants.iter().chain([&self.all]);
        pools.filter(|pool| pool.pause.is_some()).count()
    }
}

impl Pool {
    /// Whether a pause begins or ends. `most`: most of what was alive has failed.
    fn decide(&mut self, settings: CorrelatedSettings, most: bool, now: Mono) -> Option<Fact> {
        let Count { failing, fresh, .. } = self.count;
        let Some(pause) = self.pause else {
            let enough = fresh >= u64::from(settings.monitors_min);
            let widely = self.hit_groups >= self.groups.min(2);
            if !(most && enough && widely) {
                return None;
            }
            self.pause = Some(Pause {
                since: now,
                before: failing.saturating_sub(fresh),
            });
            return Some(Fact::RepairsPaused {
                tenant: self.name.clone(),
                failed: fresh,
                of: fresh + self.count.alive / WHOLE,
            });
        };
        let lasted = now.since(pause.since);
        let left = failing.saturating_sub(pause.before);
        let too_long = lasted >= settings.longest;
        if self.count.mostly(left, settings.ratio / 2.0) && !too_long {
            return None;
        }
        self.pause = None;
        Some(Fact::RepairsResume {
            tenant: self.name.clone(),
            failing: left,
            lasted,
            too_long,
        })
    }
}

/// The time goes on for all counts.
pub fn turn(mut desk: Desk<'_>) {
    let now = desk.now().mono;
    desk.correlated.turn(now);
}

/// Tells what is new.
pub fn tell(mut desk: Desk<'_>) {
    if desk.correlated.news.is_empty() {
        return;
    }
    for fact in std::mem::take(&mut desk.correlated.news) {
        desk.note_host(fact, true);
    }
}

#[cfg(test)]
mod tests;

//! Failures of most monitors at once: interventions pause for cause, as long as it lasts, and for whom it concerns.

use super::{
    ledger::{Ledger, Verdict},
    model::{Doings, Model},
    rules::Rule,
    tick::Tick,
};
use pulse_host::domain::{
    event::Fact, health::Hold, host::CorrelatedSettings, job::MonitorId, spec::Kind, time::Mono,
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

/// What is known of a monitor.
#[derive(Clone, Copy, Debug, Default)]
struct Stand {
    alive: bool,
    /// Nothing is known at present; it was alive before.
    was_alive: bool,
    failing: bool,
    /// When its failure began, if it was alive before.
    onset: Option<Mono>,
    /// When it changed last.
    changed: Mono,
}

/// Counts of a tenant, from both sides.
#[derive(Clone, Debug, Default)]
struct Sum {
    /// By weight: what surely is alive, and what may have been in this run.
    alive_low: f64,
    alive_high: f64,
    /// Those that failed within the window, surely and perhaps.
    fresh_low: usize,
    fresh_high: usize,
    failing_low: usize,
    failing_high: usize,
    /// Plugins with anything that is or was alive, and those that see fresh failures.
    plugins: HashSet<Arc<str>>,
    hit: HashSet<Arc<str>>,
    /// One began to fail in this run.
    onset: bool,
}

#[derive(Clone, Copy, Debug)]
struct Pause {
    since: Mono,
    /// What failed before it, at most and at least.
    before: (usize, usize),
    /// Another configuration came since: what failed before may be gone.
    blurred: bool,
}

/// All tenants.
pub struct Together {
    settings: Option<CorrelatedSettings>,
    stands: HashMap<MonitorId, Stand>,
    pauses: HashMap<Option<Arc<str>>, Pause>,
    began: Vec<Option<Arc<str>>>,
    ended: Vec<(Option<Arc<str>>, Pause, bool)>,
    /// Until then, what a reload changed may be counted as fresh or not.
    blurred_until: Mono,
    reloaded: bool,
}

impl Together {
    pub fn new(settings: Option<CorrelatedSettings>) -> Self {
        Self {
            settings,
            stands: HashMap::new(),
            pauses: HashMap::new(),
            began: Vec::new(),
            ended: Vec::new(),
            blurred_until: Mono(0),
            reloaded: false,
        }
    }

    /// What became known of the host in this run. Returns how much of it its sinks hear.
    pub fn facts(&mut self, ledger: &mut Ledger, tick: &Tick<'_>, facts: &[&Fact]) -> Verdict<usize> {
        let mut loud = 0;
        for fact in facts {
            let (tenant, fits) = match fact {
                Fact::RepairsPaused { tenant, .. } => {
                    ledger.see(if tenant.is_some() {
                        "repairs pause"
                    } else {
                        "repairs of all pause"
                    });
                    self.began.push(tenant.clone());
                    let pause = Pause {
                        since: tick.now,
                        before: (0, 0),
                        blurred: false,
                    };
                    (tenant, self.pauses.insert(tenant.clone(), pause).is_none())
                }
                Fact::RepairsResume { tenant, too_long, .. } => {
                    ledger.see(if *too_long {
                        "repairs resume: too long"
                    } else {
                        "repairs resume"
                    });
                    let pause = self.pauses.remove(tenant);
                    let known = pause.is_some();
                    self.ended
                        .extend(pause.map(|pause| (tenant.clone(), pause, *too_long)));
                    (tenant, known)
                }
                _ => continue,
            };
            loud += 1;
            ledger.check(
                Rule::PauseToldOnce,
                tenant.as_deref().unwrap_or("host"),
                fits,
                || format!("it was so before: {fact:?}"),
            )?;
        }
        Ok(loud)
    }

    /// Another configuration: monitors that are gone are not counted any more.
    pub fn reloaded(&mut self, models: &[Model]) {
        let known: HashSet<MonitorId> = models.iter().map(|model| model.id).collect();
        self.stands.retain(|id, _| known.contains(id));
        for pause in self.pauses.values_mut() {
            pause.blurred = true;
        }
        self.reloaded = true;
    }

    /// What the run did.
    pub fn run(&mut self, ledger: &mut Ledger, tick: &Tick<'_>, all: &Doings, models: &[Model]) -> Verdict {
        let Some(settings) = self.settings else {
            return Ok(());
        };
        let quiet = all.heard.is_empty()
            && all.lost.is_empty()
            && all.withheld.is_empty()
            && all.sent.iter().all(|turn| turn.kind != Kind::Intervention)
            && all.held.is_empty();
        if quiet && self.began.is_empty() && self.ended.is_empty() && self.pauses.is_empty() {
            return Ok(());
        }
        let now = tick.now;
        if std::mem::take(&mut self.reloaded) {
            self.blurred_until = now.after(settings.window);
        }
        let clear = now >= self.blurred_until;
        for model in models.iter().filter(|model| !model.is_host()) {
            self.stands.entry(model.id).or_default().follow(model, now);
        }
        let mut sums: HashMap<&Arc<str>, Sum> = HashMap::new();
        for model in models.iter().filter(|model| !model.is_host()) {
            let stand = self.stands[&model.id];
            sums.entry(&model.pulse.key.0)
                .or_default()
                .add(stand, model, settings, now);
        }
        let (began, ended) = (std::mem::take(&mut self.began), std::mem::take(&mut self.ended));
        for tenant in &began {
            let fits = match tenant {
                Some(tenant) => sums.get(tenant).is_some_and(|sum| {
                    sum.may_be_most(settings, sum.fresh_high)
                        && sum.fresh_high >= settings.monitors_min as usize
                        && (sum.hit.len() >= 2 || sum.plugins.len() < 2)
                }),
                None => {
                    let hit = sums
                        .values()
                        .filter(|sum| sum.may_be_most(settings, sum.fresh_high))
                        .count();
                    let all: usize = sums.values().map(|sum| sum.fresh_high).sum();
                    hit >= 2 && all >= settings.monitors_min as usize
                }
            };
            ledger.check(
                Rule::PauseForCause,
                tenant.as_deref().unwrap_or("host"),
                fits || !clear,
                || format!("interventions pause: {sums:?}"),
            )?;
            if let (Some(pause), Some(tenant)) = (self.pauses.get_mut(tenant), tenant)
                && let Some(sum) = sums.get(tenant)
            {
                pause.before = (
                    sum.failing_low.saturating_sub(sum.fresh_high),
                    sum.failing_high.saturating_sub(sum.fresh_low),
                );
            }
        }
        for (tenant, pause, too_long) in &ended {
            let who = tenant.as_deref().unwrap_or("host");
            if *too_long {
                let lasted = now.since(pause.since);
                ledger.check(Rule::PauseEnds, who, lasted >= settings.longest, || {
                    format!("they are said to have paused for too long, and it was {lasted:?}")
                })?;
            } else if let Some(sum) = tenant.as_ref().and_then(|tenant| sums.get(tenant))
                && !began.contains(tenant)
                && !pause.blurred
            {
                let left = sum.failing_low.saturating_sub(pause.before.1);
                let most = left > 0 && left as f64 >= settings.ratio / 2.0 * (left as f64 + sum.alive_high);
                ledger.check(Rule::PauseEnds, who, !most, || {
                    format!("interventions go on, and most still fail: {sum:?}, before: {pause:?}")
                })?;
            }
        }
        for (tenant, sum) in &sums {
            let key = Some(Arc::clone(tenant));
            let due = sum.onset
                && sum.fresh_low >= settings.monitors_min as usize
                && sum.fresh_low as f64 >= settings.ratio * (sum.fresh_low as f64 + sum.alive_high)
                && (sum.hit.len() >= 2 || sum.plugins.len() < 2);
            let paused = self.pauses.contains_key(&key);
            let over = ended.iter().any(|(tenant, _, _)| *tenant == key);
            ledger.check(
                Rule::PauseWhenDue,
                tenant,
                !due || paused || over || !clear,
                || format!("most fail at once, and interventions go on: {sum:?}"),
            )?;
            if let Some(pause) = self.pauses.get(&key) {
                let last = pause
                    .since
                    .after(settings.longest + settings.window / 8 + Duration::from_secs(1));
                ledger.check(
                    Rule::PauseEnds,
                    tenant,
                    now < last || !tick.stalled.is_zero(),
                    || {
                        format!(
                            "interventions pause since {:?}, longer than they may",
                            pause.since
                        )
                    },
                )?;
            }
        }
        self.holds(ledger, all, &sums, settings)
    }

    /// Who pauses sends no intervention, and nobody else is held back for that.
    fn holds(
        &self,
        ledger: &mut Ledger,
        all: &Doings,
        sums: &HashMap<&Arc<str>, Sum>,
        settings: CorrelatedSettings,
    ) -> Verdict {
        let host = self.pauses.contains_key(&None);
        for turn in all.sent.iter().filter(|turn| turn.kind == Kind::Intervention) {
            let own = self.pauses.contains_key(&Some(Arc::clone(&turn.key.0)));
            ledger.check(Rule::PauseHolds, &turn.who, !own, || {
                "it was sent while most monitors of its tenant fail at once".to_owned()
            })?;
        }
        for (_, key) in all.held.iter().filter(|(why, _)| *why == Hold::Correlated) {
            let own = self.pauses.contains_key(&Some(Arc::clone(&key.0)));
            let with_all = host
                && sums
                    .get(&key.0)
                    .is_some_and(|sum| sum.may_be_most(settings, sum.failing_high));
            ledger.check(Rule::PauseHolds, &key.0, own || with_all, || {
                "an intervention is held because most monitors fail, and they don't".to_owned()
            })?;
            ledger.see("held: most fail at once");
        }
        Ok(())
    }
}

impl Stand {
    fn follow(&mut self, model: &Model, now: Mono) {
        let before = *self;
        match model.health.alive() {
            Some(true) => (self.alive, self.was_alive, self.failing, self.onset) = (true, false, false, None),
            Some(false) => {
                if !self.failing {
                    let lived = self.alive || self.was_alive;
                    self.onset = lived.then_some(now);
                }
                (self.alive, self.was_alive, self.failing) = (false, false, true);
            }
            // A fault leaves what was known of a failure.
            None if self.failing => {}
            None => {
                self.was_alive |= self.alive;
                self.alive = false;
            }
        }
        if (before.alive, before.failing) != (self.alive, self.failing) {
            self.changed = now;
        }
    }
}

impl Sum {
    fn add(&mut self, stand: Stand, model: &Model, settings: CorrelatedSettings, now: Mono) {
        let weight = (settings.window.as_secs_f64() / model.policy.interval.as_secs_f64()).min(1.0);
        let changed = stand.changed == now;
        if stand.alive {
            self.alive_high += weight;
            self.alive_low += if changed { 0.0 } else { weight * 0.99 };
        }
        let fresh = |span: Duration| stand.onset.is_some_and(|onset| now.since(onset) < span);
        let (may, must) = (
            fresh(settings.window) || (changed && stand.alive),
            stand.failing && fresh(settings.window - settings.window / 8),
        );
        self.fresh_high += usize::from(may);
        self.fresh_low += usize::from(must);
        self.failing_high += usize::from(stand.failing || changed);
        self.failing_low += usize::from(stand.failing && !changed);
        if stand.alive || may {
            self.plugins.insert(Arc::clone(&model.pulse.user));
        }
        if must || (may && !stand.alive) {
            self.hit.insert(Arc::clone(&model.pulse.user));
        }
        self.onset |= stand.onset == Some(now);
    }

    /// Whether so many may be most of those that were alive.
    fn may_be_most(&self, settings: CorrelatedSettings, failed: usize) -> bool {
        failed > 0 && failed as f64 >= settings.ratio * (failed as f64 + self.alive_low)
    }
}

//! Quarantine: only for faults of the tenant's own, in time, told once; few probes, and what they say decides.

use super::{
    lanes::Track,
    ledger::{Ledger, Verdict},
    model::{Doings, Model},
    rules::Rule,
    tick::Tick,
};
use pulse_host::{
    domain::{
        event::Fact,
        health::Hold,
        host::QuarantineSettings,
        job::JobResult,
        outcome::{Outcome, PluginFault},
        time::Mono,
    },
    scheduler::components::Phase,
};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

/// A tenant, and the digest of a component that it uses.
pub type Key = (Arc<str>, Arc<str>);

/// Jobs that are let through at the same time to see whether a component is well again.
const PROBES: usize = 3;
/// Where others are in trouble, so many faults in a row are enough.
const SIGNS: usize = 3;

/// What an execution says of its component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Well,
    Sick,
    Nothing,
}

/// A result that was its lane's own.
#[derive(Clone, Debug)]
pub struct Heard {
    key: Key,
    says: Says,
    sent: Mono,
}

impl Heard {
    pub fn of(track: &Track, result: &JobResult) -> Self {
        let says = match (&result.outcome, result.outcome.class()) {
            (_, "answer" | "deadline-waiting") => Says::Well,
            (_, "out-of-fuel" | "out-of-cpu" | "out-of-memory" | "stack-overflow" | "trap")
            | (Outcome::PluginFault(PluginFault::Internal(_)), _) => Says::Sick,
            // It computed for at least half of the time that was its own.
            (Outcome::Deadline, _)
                if result.usage.wall > result.usage.host
                    && result.usage.cpu * 2 + Duration::from_nanos(1)
                        >= result.usage.wall - result.usage.host =>
            {
                Says::Sick
            }
            _ => Says::Nothing,
        };
        Self {
            key: track.key.clone(),
            says,
            sent: result.sent,
        }
    }
}

/// What is known of a key.
#[derive(Debug, Default)]
struct Ward {
    log: VecDeque<(Mono, bool)>,
    /// Faults in a row before this run, at most.
    streak: usize,
    /// Results before that are forgotten.
    since: Mono,
    open: Option<Open>,
    /// Lanes whose probe is out.
    out: HashSet<Arc<str>>,
    opened: bool,
    closed: bool,
    /// It closed, and the process had stood still since it opened: who was called for a probe in that very time waits
    /// for his next slot.
    blurred: bool,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    at: Mono,
    loud: bool,
    /// Somebody was well with it since: it may be tried before its pause is over.
    hurried: bool,
    /// A probe was sent since.
    tried: bool,
    /// The process stood still since: what is out may be counted as lost too early.
    blurred: bool,
}

/// All keys.
pub struct Wards {
    settings: Option<QuarantineSettings>,
    wards: HashMap<Key, Ward>,
    at_large: HashSet<Arc<str>>,
    /// No longer used since the last reload: their end may still be told.
    leaving: HashSet<Key>,
    changed: bool,
}

impl Wards {
    pub fn new(settings: Option<QuarantineSettings>) -> Self {
        Self {
            settings,
            wards: HashMap::new(),
            at_large: HashSet::new(),
            leaving: HashSet::new(),
            changed: false,
        }
    }

    /// What became known of the host in this run. Returns how much of it its sinks hear.
    pub fn facts(&mut self, ledger: &mut Ledger, tick: &Tick<'_>, facts: &[&Fact]) -> Verdict<usize> {
        let mut loud = 0;
        let once = |ledger: &mut Ledger, who: &str, fits: bool, fact: &Fact| {
            ledger.check(Rule::QuarantineToldOnce, who, fits, || {
                format!("it was so before: {fact:?}")
            })
        };
        for (place, fact) in facts.iter().enumerate() {
            match fact {
                Fact::Quarantined {
                    tenant: Some(tenant),
                    digest,
                    ..
                } => {
                    let widens = facts[place + 1..].first().is_some_and(|next| {
                        matches!(next, Fact::Quarantined { tenant: None, digest: of, .. } if of == digest)
                    });
                    let ward = self
                        .wards
                        .entry((Arc::clone(tenant), Arc::clone(digest)))
                        .or_default();
                    once(ledger, tenant, ward.open.is_none(), fact)?;
                    ledger.see("quarantined");
                    let tells = !self.at_large.contains(digest) && !widens;
                    ward.open = Some(Open {
                        at: tick.now,
                        loud: tells,
                        hurried: false,
                        tried: false,
                        blurred: false,
                    });
                    ward.opened = true;
                    loud += usize::from(tells);
                }
                Fact::Quarantined {
                    tenant: None, digest, ..
                } => {
                    once(ledger, digest, self.at_large.insert(Arc::clone(digest)), fact)?;
                    ledger.see("quarantined at large");
                    let open = self
                        .wards
                        .iter()
                        .filter(|(key, ward)| key.1 == *digest && ward.open.is_some());
                    let tenants = self
                        .settings
                        .map_or(usize::MAX, |settings| settings.tenants as usize);
                    ledger.check(Rule::QuarantineForCause, digest, open.count() >= tenants, || {
                        "it is not in quarantine in so many tenants".to_owned()
                    })?;
                    loud += 1;
                }
                Fact::Readmitted {
                    tenant: Some(tenant),
                    digest,
                    ..
                } => {
                    let key = (Arc::clone(tenant), Arc::clone(digest));
                    if self.leaving.remove(&key) {
                        loud += 1;
                        continue;
                    }
                    let ward = self.wards.entry(key).or_default();
                    let open = ward.open.take();
                    once(ledger, tenant, open.is_some(), fact)?;
                    ledger.see("out of quarantine");
                    loud += usize::from(open.is_some_and(|open| open.loud));
                    ward.closed = true;
                    ward.blurred = open.is_some_and(|open| open.blurred);
                    ward.since = tick.now;
                    ward.out.clear();
                }
                Fact::Readmitted {
                    tenant: None, digest, ..
                } => {
                    let known = self.at_large.remove(digest);
                    let leaves = self.leaving.iter().any(|key| key.1 == *digest);
                    once(ledger, digest, known || leaves, fact)?;
                    for (_, ward) in self.wards.iter_mut().filter(|(key, _)| key.1 == *digest) {
                        if let Some(open) = &mut ward.open {
                            open.hurried = true;
                        }
                    }
                    loud += 1;
                }
                _ => continue,
            }
            self.changed = true;
        }
        self.leaving.clear();
        Ok(loud)
    }

    /// Whether anything is different since this was asked last.
    pub fn changes(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    fn is_open(&self, key: &Key) -> bool {
        self.wards.get(key).is_some_and(|ward| ward.open.is_some())
    }

    /// Whether it is in quarantine, or suspected because others are.
    pub fn may_be_shut(&self, key: &Key) -> bool {
        self.is_open(key) || self.at_large.contains(&key.1)
    }

    /// Another configuration.
    pub fn reloaded(&mut self, models: &[Model]) {
        let used: HashSet<&Key> = models
            .iter()
            .flat_map(Model::lanes)
            .map(|track| &track.key)
            .collect();
        for ward in self.wards.values_mut() {
            ward.out.clear();
        }
        let gone: Vec<Key> = self
            .wards
            .keys()
            .filter(|key| !used.contains(key))
            .cloned()
            .collect();
        for key in gone {
            self.wards.remove(&key);
            if !used.iter().any(|other| other.1 == key.1) {
                self.at_large.remove(&key.1);
            }
            self.leaving.insert(key);
        }
        self.changed = true;
    }

    /// What the run did.
    pub fn run(&mut self, ledger: &mut Ledger, tick: &Tick<'_>, all: &Doings, models: &[Model]) -> Verdict {
        let Some(settings) = self.settings else {
            return Ok(());
        };
        for (key, fault) in &all.withheld {
            let fits = if *fault {
                self.is_open(key)
            } else {
                self.at_large.contains(&key.1) && !self.is_open(key)
            };
            ledger.check(Rule::WithheldInQuarantine, &key.0, fits, || {
                format!(
                    "a check of {} was not run (as a fault: {fault}), and it is not in quarantine",
                    key.1
                )
            })?;
        }
        for key in &all.given_up {
            ledger.check(
                Rule::WithheldInQuarantine,
                &key.0,
                self.is_open(key) || self.at_large.contains(&key.1),
                || format!("red because {} is in quarantine, and it is not", key.1),
            )?;
        }
        for (_, key) in all.held.iter().filter(|(why, _)| *why == Hold::Quarantine) {
            let fits = self.may_be_shut(key);
            ledger.check(Rule::WithheldInQuarantine, &key.0, fits, || {
                format!("held because {} is in quarantine, and it is not", key.1)
            })?;
        }
        let closed: HashSet<Key> = self
            .wards
            .iter()
            .filter(|(_, ward)| ward.closed && !ward.blurred)
            .map(|(key, _)| key.clone())
            .collect();
        let mut touched: HashMap<Key, Vec<&Heard>> = HashMap::new();
        for heard in &all.heard {
            touched.entry(heard.key.clone()).or_default().push(heard);
        }
        for (key, ward) in &self.wards {
            if ward.opened || ward.closed {
                touched.entry(key.clone()).or_default();
            }
        }
        for (key, heard) in touched {
            let at_large = self.at_large.contains(&key.1);
            let ward = self.wards.entry(key.clone()).or_default();
            ward.hear(ledger, tick, settings, &key, &heard, at_large)?;
        }
        for ward in self.wards.values_mut().filter(|ward| !ward.out.is_empty()) {
            for who in &all.ended {
                ward.out.remove(who);
            }
            if !tick.stalled.is_zero() {
                ward.out.clear();
            }
        }
        for turn in &all.sent {
            if let Some(ward) = self.wards.get_mut(&turn.key) {
                ward.send(ledger, tick, settings, &turn.key, &turn.who)?;
            }
        }
        if !tick.stalled.is_zero() {
            for open in self.wards.values_mut().filter_map(|ward| ward.open.as_mut()) {
                open.blurred = true;
            }
        }
        // After a stall everything that fell due in it is spread anyway.
        if closed.is_empty() || tick.draining || !tick.stalled.is_zero() {
            return Ok(());
        }
        for model in models
            .iter()
            .filter(|model| closed.contains(&model.pulse.key) && model.pulse.withheld)
        {
            let spread = Duration::from_secs(1)
                .max(model.policy.retry_interval)
                .max(Duration::from_millis(models.len() as u64));
            let last = tick.now.after(spread);
            let fits = model.pulse.phase != Phase::Waiting || model.pulse.at <= last;
            ledger.check(Rule::CheckedAfterQuarantine, &model.name, fits, || {
                format!(
                    "it was not checked, and is not before {:?}, later than {last:?}",
                    model.pulse.at
                )
            })?;
        }
        Ok(())
    }
}

impl Ward {
    /// Results of this run, in no order that anybody outside could tell.
    fn hear(
        &mut self,
        ledger: &mut Ledger,
        tick: &Tick<'_>,
        settings: QuarantineSettings,
        key: &Key,
        heard: &[&Heard],
        at_large: bool,
    ) -> Verdict {
        let now = tick.now;
        let (opened, closed) = (std::mem::take(&mut self.opened), std::mem::take(&mut self.closed));
        let count = |says: Says| heard.iter().filter(|heard| heard.says == says).count();
        let (well, sick) = (count(Says::Well), count(Says::Sick));
        while self
            .log
            .front()
            .is_some_and(|(at, _)| now.since(*at) > settings.window * 2)
        {
            self.log.pop_front();
        }
        self.log
            .extend(std::iter::repeat_n((now, true), well).chain(std::iter::repeat_n((now, false), sick)));
        let since = self.since;
        // Of the run in which it closed, nobody outside knows what came after that: counted only where it may be.
        let within = |ok: bool, span: Duration, may: bool| {
            let fits = |(at, was): &&(Mono, bool)| {
                *was == ok && now.since(*at) < span && (*at > since || may && *at == since)
            };
            self.log.iter().filter(fits).count()
        };
        // It forgets by parts of an eighth.
        let (short, long) = (settings.window - settings.window / 8, settings.window);
        let enough = |sick: usize, well: usize| {
            sick >= settings.faults_min as usize && sick as f64 >= settings.ratio * (sick + well) as f64
        };
        if opened {
            let before = within(true, short, false).saturating_sub(well);
            let by_rate = enough(within(false, long, true), before);
            let by_signs = at_large && self.streak + sick >= SIGNS;
            ledger.check(Rule::QuarantineForCause, &key.0, sick > 0 && by_rate || by_signs, || {
                format!(
                    "{} went into quarantine after {} faults and {before} good ends, {sick} of the faults now, {} in a row before",
                    key.1,
                    within(false, long, true),
                    self.streak
                )
            })?;
        } else if self.open.is_none() && !closed && !at_large && sick > 0 {
            let due = enough(within(false, short, false), within(true, long, true));
            ledger.check(Rule::QuarantineWhenDue, &key.0, !due, || {
                format!(
                    "{} of {} is not in quarantine after {} faults and {} good ends",
                    key.1,
                    key.0,
                    within(false, short, false),
                    within(true, long, true)
                )
            })?;
        }
        if closed {
            let probed = heard.iter().any(|heard| heard.says == Says::Well);
            ledger.check(Rule::ProbeDecides, &key.0, probed, || {
                format!("{} is out of quarantine, and no probe went well", key.1)
            })?;
        } else if let Some(open) = self.open.filter(|open| !opened && !open.blurred) {
            let probed = heard
                .iter()
                .any(|heard| heard.says == Says::Well && heard.sent > open.at);
            ledger.check(Rule::ProbeDecides, &key.0, !probed, || {
                format!("a probe of {} went well, and it is still in quarantine", key.1)
            })?;
        }
        // The faults may all have come after what went well.
        self.streak = if well > 0 { sick } else { self.streak + sick };
        Ok(())
    }

    /// A job of it was sent in this run.
    fn send(
        &mut self,
        ledger: &mut Ledger,
        tick: &Tick<'_>,
        settings: QuarantineSettings,
        key: &Key,
        who: &Arc<str>,
    ) -> Verdict {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let first = !std::mem::replace(&mut open.tried, true);
        if first && !open.hurried {
            let soonest = open.at.after(settings.pause_first.mul_f64(0.74));
            ledger.check(Rule::PauseBeforeProbes, &key.0, tick.now >= soonest, || {
                format!(
                    "{} is in quarantine since {:?}, and {who} was sent before {soonest:?}",
                    key.1, open.at
                )
            })?;
        }
        ledger.see("probe sent");
        self.out.insert(Arc::clone(who));
        ledger.check(Rule::ProbesAreFew, &key.0, self.out.len() <= PROBES, || {
            format!("{} is in quarantine, and these are out: {:?}", key.1, self.out)
        })
    }
}

//! The oracle: what the contract promises, held against what is seen after every run.
//!
//! It is written from the contract and shares no logic with the scheduler, the state machine or the outbox: it
//! counts failures, tokens and attempts anew, from the results that went in and the facts, jobs and lanes that
//! came out. Where the contract leaves room, it accepts every reading.

// A rule holds many observations against each other; bundles of them would only hide which.
#![allow(clippy::too_many_arguments)]

mod codes;
mod figures;
mod health;
mod lanes;
pub mod ledger;
mod model;
mod pulses;
mod reload;
mod repair;
pub mod rules;
mod sick;
pub mod tick;
mod together;

use crate::scenario::Scenario;
use figures::Figures;
use ledger::{Ledger, Verdict};
use model::{Model, Turn};
use pulse_host::{
    domain::{
        color::Color,
        event::{Event, Fact},
        health::{Hold, State},
        host::HostSettings,
        job::{Alert, Job, JobResult, MonitorId, Payload},
        spec::Kind,
        time::{Mono, Wall},
    },
    scheduler::{
        Scheduler,
        stats::{Snapshot, Stats},
    },
};
use repair::Window;
use rules::Rule;
use sick::Wards;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use tick::Tick;
use together::Together;

/// News that the host's own sinks are told within one run.
const NEWS_MAX: usize = 16;

/// Runs in which nothing but outdated tickets may be found.
const IDLE_RUNS_MAX: u32 = 30;

/// Everything that is known of a world.
pub struct Oracle {
    pub ledger: Ledger,
    settings: HostSettings,
    models: Vec<Model>,
    index: HashMap<MonitorId, usize>,
    retries: pulses::Retries,
    interventions: Window,
    figures: Figures,
    stats: Stats,
    /// What was learned too late for the host's own sinks to be told in the same run: at least, and at most.
    news: (usize, usize),
    keys: HashSet<String>,
    /// Monitors that a reload removed, and codes of theirs that are still to be recorded as undeliverable.
    gone: HashSet<MonitorId>,
    owed: Vec<(MonitorId, Arc<Alert>)>,
    /// When the last reload was, if no run came since.
    reloaded_at: Option<Wall>,
    wards: Wards,
    together: Together,
}

impl Oracle {
    /// Looks at a world that has not run yet.
    pub fn new(scheduler: &Scheduler, scenario: &Scenario, now: Mono) -> Verdict<Self> {
        let mut ledger = Ledger::default();
        let mut ids: Vec<MonitorId> = scheduler.monitors().collect();
        ids.sort_unstable();
        let mut models = Vec::new();
        for id in ids {
            if let Some(view) = scheduler.view(id) {
                models.push(Model::new(&mut ledger, id, &view, view.spec(), now)?);
            }
        }
        let expected = scenario.monitors.len() + usize::from(scenario.host_entry.is_some());
        ledger.check(Rule::ChecksGoOn, "host", models.len() == expected, || {
            format!("{} monitors of {expected}", models.len())
        })?;
        spread(&mut ledger, &models, now)?;
        Ok(Self {
            ledger,
            retries: pulses::Retries::new(scenario.settings.retry_budget, now),
            interventions: Window::new(scenario.settings.interventions),
            settings: scenario.settings.clone(),
            wards: Wards::new(scenario.settings.quarantine),
            together: Together::new(scenario.settings.correlated),
            index: models
                .iter()
                .enumerate()
                .map(|(at, model)| (model.id, at))
                .collect(),
            models,
            figures: Figures::default(),
            stats: scheduler.stats(),
            news: (0, 0),
            keys: HashSet::new(),
            gone: HashSet::new(),
            owed: Vec::new(),
            reloaded_at: None,
        })
    }

    /// One run.
    pub fn run(&mut self, tick: &Tick<'_>, scheduler: &Scheduler) -> Verdict {
        let mut results: HashMap<usize, Vec<(usize, &JobResult)>> = HashMap::new();
        for (batch, result) in tick.results {
            match self.index.get(&result.key.monitor) {
                Some(at) => results.entry(*at).or_default().push((*batch, result)),
                None => {
                    self.ledger.see("result for a monitor that is gone");
                    self.figures.stale(result.key.kind);
                }
            }
        }
        let mut facts: HashMap<usize, Vec<&Fact>> = HashMap::new();
        let mut of_host: Vec<&Fact> = Vec::new();
        for event in tick.events {
            let fits = event.at == tick.wall || Some(event.at) == self.reloaded_at;
            self.ledger.check(Rule::FiguresAddUp, "host", fits, || {
                format!("{event:?} is not of {:?}", tick.wall)
            })?;
            if is_of_host(&event.fact) {
                of_host.push(&event.fact);
                continue;
            }
            match self.index.get(&event.monitor) {
                Some(at) => facts.entry(*at).or_default().push(&event.fact),
                None => self.left(event)?,
            }
        }
        self.ledger.check(
            Rule::UndeliverableWithReason,
            "host",
            self.owed.is_empty(),
            || format!("of monitors that were removed, nobody recorded {:?}", self.owed),
        )?;
        self.reloaded_at = None;
        let ends = tick
            .results
            .iter()
            .filter(|(_, result)| result.key.kind == Kind::Pulse)
            .count();
        self.retries.open(tick.now, ends);
        self.figures.run(tick);
        let mut all = model::Doings::default();
        let mut states: BTreeMap<&'static str, u64> = BTreeMap::new();
        let had = self.news;
        let wards = &mut self.wards;
        let loud = wards.facts(&mut self.ledger, tick, &of_host)?
            + self.together.facts(&mut self.ledger, tick, &of_host)?;
        all.news.early += loud;
        if wards.changes() {
            for track in self.models.iter_mut().flat_map(Model::lanes_mut) {
                track.shut = wards.may_be_shut(&track.key);
            }
        }
        // The host's own entry comes last: what is told there happened elsewhere in this very run.
        for host in [false, true] {
            for at in 0..self.models.len() {
                let model = &mut self.models[at];
                if model.is_host() != host {
                    continue;
                }
                let view = scheduler.view(model.id);
                self.ledger
                    .check(Rule::ChecksGoOn, &model.name, view.is_some(), || {
                        "it is gone".to_owned()
                    })?;
                let Some(view) = view else { continue };
                let doings = model.run(
                    tick,
                    &mut self.ledger,
                    &view,
                    results.get(&at).map_or(&[], Vec::as_slice),
                    facts.get(&at).map_or(&[], Vec::as_slice),
                    &mut self.retries,
                    (
                        (had.0 + all.news.early).min(NEWS_MAX),
                        (had.1 + all.news.early + all.news.either).min(NEWS_MAX),
                    ),
                )?;
                if !host {
                    *states.entry(view.state().name()).or_default() += 1;
                }
                if let Some(at) = doings.refund {
                    self.interventions.refund(at);
                }
                self.figures.add(&doings);
                all.news.add(doings.news);
                all.held.extend(doings.held);
                all.given_up.extend(doings.given_up);
                all.heard.extend(doings.heard);
                all.ended.extend(doings.ended);
                all.withheld.extend(doings.withheld);
                all.sent.extend(doings.sent);
                all.needed.extend(doings.needed);
            }
        }
        self.news = (all.news.late, all.news.late + all.news.either);
        self.retries.close(&mut self.ledger, ends)?;
        self.host(tick, &all)?;
        self.wards.run(&mut self.ledger, tick, &all, &self.models)?;
        self.together.run(&mut self.ledger, tick, &all, &self.models)?;
        // A copy of all histograms costs more than the run itself.
        if !self.figures.turn() {
            return Ok(());
        }
        let snapshot: Snapshot = self.stats.snapshot();
        if snapshot.at == tick.now {
            self.figures
                .compare(&mut self.ledger, &snapshot, &self.models, &states)?;
        }
        Ok(())
    }

    /// The last words of a monitor that was removed.
    fn left(&mut self, event: &Event) -> Verdict {
        let known = match &event.fact {
            Fact::Undeliverable { alert, .. } => self
                .owed
                .iter()
                .position(|(id, owed)| *id == event.monitor && Arc::ptr_eq(owed, alert)),
            _ => None,
        };
        self.ledger.check(
            Rule::UndeliverableWithReason,
            event.spec.name(),
            known.is_some() && self.gone.contains(&event.monitor),
            || format!("it was removed, and it says {:?}", event.fact),
        )?;
        if let Some(at) = known {
            self.owed.swap_remove(at);
        }
        Ok(())
    }

    /// Rules of the host as a whole.
    fn host(&mut self, tick: &Tick<'_>, all: &model::Doings) -> Verdict {
        for turn in all.sent.iter().filter(|turn| turn.kind == Kind::Intervention) {
            let fits = self.interventions.start(tick.now);
            self.ledger.check(Rule::HostBudget, "host", fits, || {
                format!("one {} more than all monitors together may have", turn.kind)
            })?;
        }
        let spent = self.interventions.spent(tick.now);
        let held = all.held.iter().any(|(why, _)| *why == Hold::Budget);
        self.ledger
            .check(Rule::HeldOnlyWhenSpent, "host", spent || !held, || {
                "held, and the host's budget is not used up".to_owned()
            })?;
        for kind in Kind::ALL {
            let settings = self.settings.queues.get(kind);
            let count = self.figures.kinds.get_mut(kind);
            self.ledger.check(
                Rule::ChannelBound,
                kind.name(),
                count.waiting <= settings.capacity,
                || format!("{} jobs wait, and {} may", count.waiting, settings.capacity),
            )?;
            let kept = |turn: &&Turn| turn.kind == kind && (kind == Kind::Pulse || turn.since < tick.now);
            for turn in all.needed.iter().filter(kept) {
                let overtaken = all
                    .sent
                    .iter()
                    .find(|sent| sent.kind == kind && sent.user == turn.user && sent.since > turn.since);
                self.ledger
                    .check(Rule::OrderOfNeed, kind.name(), overtaken.is_none(), || {
                        format!("{overtaken:?} was sent before {turn:?}")
                    })?;
            }
            let needed = all.needed.iter().filter(kept).count();
            let (out, waiting) = (count.out(), count.waiting);
            self.ledger.check(
                Rule::ChannelBound,
                kind.name(),
                out <= settings.in_flight.max(1),
                || format!("{out} are out, and {} may be", settings.in_flight),
            )?;
            if needed > 0 && (!tick.draining || kind == Kind::Code) {
                self.ledger.see(seen_full(kind));
                // How much room there is follows the workers; where nothing is out, there is some. Outdated tickets
                // may use it up, each once.
                count.idle = if out + waiting > 0 { 0 } else { count.idle + 1 };
                let most = if kind == Kind::Pulse && self.gone.is_empty() {
                    0
                } else {
                    IDLE_RUNS_MAX
                };
                self.ledger
                    .check(Rule::SentIfRoom, kind.name(), count.idle <= most, || {
                        format!(
                            "{needed} are needed, nothing is out, the channel is empty, and nothing was sent"
                        )
                    })?;
            } else {
                count.idle = 0;
            }
        }
        Ok(())
    }

    /// A worker took a batch.
    pub fn taken(&mut self, kind: Kind, batch: &[Job]) -> Verdict {
        let settings = self.settings.queues.get(kind);
        self.figures.kinds.get_mut(kind).waiting -= batch.len();
        self.ledger.check(
            Rule::ChannelBound,
            kind.name(),
            !batch.is_empty() && batch.len() <= settings.batch_max,
            || format!("a batch of {}", batch.len()),
        )?;
        for job in batch {
            self.job(job)?;
        }
        Ok(())
    }

    fn job(&mut self, job: &Job) -> Verdict {
        let Some(model) = self.index.get(&job.key.monitor).map(|at| &self.models[*at]) else {
            return self.ledger.check(
                Rule::OneAttempt,
                "host",
                self.gone.contains(&job.key.monitor),
                || format!("{:?} was never there", job.key),
            );
        };
        let sink = model.boxes.get(usize::from(job.key.sink));
        let track = match job.key.kind {
            Kind::Pulse => &model.pulse,
            Kind::Intervention => &model.repair,
            Kind::Code => &sink.unwrap().track,
        };
        let ledger = &mut self.ledger;
        ledger.check(
            Rule::OneAttempt,
            &track.who,
            job.spec.name() == &*model.name && track.attempt.wrapping_sub(job.key.attempt) <= u32::MAX / 2,
            || format!("{:?} was never sent", job.key),
        )?;
        if !track.awaits(job.key.attempt) {
            ledger.see("job taken after it was given up");
            return Ok(());
        }
        let expires = track.sent_at.after(self.settings.queue_wait);
        ledger.check(Rule::DeadlinesNest, &track.who, job.expires == expires, || {
            format!("it expires at {:?} in place of {expires:?}", job.expires)
        })?;
        ledger.check(
            Rule::DeadlinesNest,
            &track.who,
            job.expires.after(track.timeout) <= track.deadline && job.due <= track.sent_at,
            || format!("{job:?} and {track:?}"),
        )?;
        match &job.payload {
            Payload::Pulse => {
                // One that is asked for out of turn fell due when it was asked for.
                let asked = model
                    .health
                    .episode
                    .as_deref()
                    .is_some_and(|episode| episode.repair.may_be_verifying())
                    && job.due == track.sent_at;
                ledger.check(
                    Rule::NotTooSoon,
                    &track.who,
                    asked || job.due == track.due,
                    || format!("it fell due at {:?}, and the job says {:?}", track.due, job.due),
                )
            }
            Payload::Intervention(order) => {
                ledger.check(
                    Rule::NeverBlindly,
                    &track.who,
                    self.keys.insert(order.idempotency_key.clone()),
                    || format!("{} was used before", order.idempotency_key),
                )?;
                let episode = model.health.episode.as_deref();
                let fits = episode.is_some_and(|episode| {
                    episode.incident.is_some()
                        && episode.id.as_ref().is_none_or(|id| *id == order.incident.id)
                });
                ledger.check(Rule::RepairOnlyInIncident, &track.who, fits, || {
                    format!("for {:?}, open is {episode:?}", order.incident)
                })
            }
            Payload::Code(alert) => {
                let sent = sink.and_then(|sink| sink.sent.as_ref());
                let fits = sent.is_some_and(|(attempt, sent)| {
                    *attempt == job.key.attempt && sent.cause_id == alert.cause_id && Arc::ptr_eq(sent, alert)
                });
                ledger.check(Rule::SentAgainAlike, &track.who, fits, || {
                    format!("{} in place of {sent:?}", alert.cause_id)
                })
            }
        }
    }

    /// The world was calm for long enough: nothing may be left of what went wrong.
    pub fn healed(&mut self, scheduler: &Scheduler) -> Verdict {
        for model in &self.models {
            let who = &model.name;
            if let Some(view) = scheduler.view(model.id)
                && !model.is_host()
            {
                self.ledger
                    .check(Rule::HealsAtLast, who, view.state() == State::Up, || {
                        format!("all is well for long, and it is {}", view.state().name())
                    })?;
            }
            for sink in &model.boxes {
                self.ledger.check(Rule::HealsAtLast, who, sink.len() == 0, || {
                    format!("{} codes wait in {}", sink.len(), sink.track.who)
                })?;
            }
        }
        Ok(())
    }

    /// It had time to drain.
    pub fn drained(&mut self, scheduler: &Scheduler) -> Verdict {
        let left = scheduler.unfinished();
        self.ledger.check(
            Rule::Drains,
            "host",
            left.jobs() == 0 && left.codes_needed == 0,
            || format!("{left:?}"),
        )?;
        let snapshot = self.stats.snapshot();
        for kind in Kind::ALL {
            let counts = snapshot.kinds.get(kind);
            if counts.lowered > 0 {
                self.ledger.see("limit of what is out lowered");
            }
            if counts.raised > 0 {
                self.ledger.see("limit of what is out raised again");
            }
        }
        Ok(())
    }
}

/// First checks of many monitors with one interval leave no part of it empty and none crowded.
fn spread(ledger: &mut Ledger, models: &[Model], now: Mono) -> Verdict {
    let phases: Vec<f64> = models.iter().filter_map(|model| model.spread(now)).collect();
    if phases.len() < 50 {
        return Ok(());
    }
    for quarter in 0..4 {
        let low = f64::from(quarter) / 4.0;
        let count = phases
            .iter()
            .filter(|phase| (low..low + 0.25).contains(*phase))
            .count();
        let (least, most) = (phases.len() / 12, phases.len() / 2);
        ledger.check(
            Rule::FirstChecksSpread,
            "host",
            (least..=most).contains(&count),
            || {
                format!(
                    "{count} of {} first checks come in quarter {quarter}",
                    phases.len()
                )
            },
        )?;
    }
    Ok(())
}

/// Whether it is a fact of the host, and not of any monitor.
fn is_of_host(fact: &Fact) -> bool {
    matches!(
        fact,
        Fact::Quarantined { .. }
            | Fact::Readmitted { .. }
            | Fact::RepairsPaused { .. }
            | Fact::RepairsResume { .. }
    )
}

fn seen_full(kind: Kind) -> &'static str {
    match kind {
        Kind::Pulse => "channel full: pulse",
        Kind::Intervention => "channel full: intervention",
        Kind::Code => "channel full: code",
    }
}

fn seen_color(color: Color, cause: &str) -> &'static str {
    match (color, cause) {
        (Color::Yellow, "failing") => "yellow: failing",
        (Color::Yellow, _) => "yellow: degraded",
        (Color::Red, "down") => "red: down",
        (Color::Red, "page-after") => "red: page-after",
        (Color::Red, _) => "red: reminder",
        (Color::Cyan, _) => "cyan",
        (Color::Green, _) => "green",
        (Color::Gray, _) => "gray",
        (Color::Purple, _) => "purple emitted",
    }
}

macro_rules! outcomes {
    ($($class:literal),*) => {
        fn seen_outcome(kind: Kind, class: &'static str) -> &'static str {
            match (kind, class) {
                $(
                    (Kind::Pulse, $class) => concat!("pulse: ", $class),
                    (Kind::Intervention, $class) => concat!("intervention: ", $class),
                    (Kind::Code, $class) => concat!("code: ", $class),
                )*
                (_, other) => other,
            }
        }
    };
}

outcomes!(
    "answer",
    "plugin-fault",
    "out-of-fuel",
    "out-of-cpu",
    "out-of-memory",
    "stack-overflow",
    "trap",
    "deadline-waiting",
    "deadline",
    "expired",
    "denied",
    "no-capacity",
    "host-error"
);

//! One monitor as the oracle knows it, and the order in which a run's observations are held against it.

use super::{
    codes::{Emissions, Gone, Outbox},
    health::{Health, Said, Step},
    lanes::{End, Track},
    ledger::{Ledger, Verdict},
    pulses::{Grid, Pace, Retries},
    repair::{Meaning, Proof, Sight, Window},
    rules::Rule,
    sick::{Heard, Key},
    tick::Tick,
};
use pulse_host::{
    domain::{
        event::Fact,
        health::{Exhausted, Hold, State},
        job::{Alert, JobResult, MonitorId},
        spec::{InterventionSpec, Kind, MonitorSpec, Policy, Profile},
        time::Mono,
    },
    scheduler::{
        components::Phase,
        view::{LaneView, MonitorView},
    },
};
use std::{sync::Arc, time::Duration};

/// A lane that was sent, or stayed needed.
#[derive(Clone, Debug)]
pub struct Turn {
    pub kind: Kind,
    pub user: Arc<str>,
    pub key: Key,
    pub who: Arc<str>,
    /// In which run it was first seen needed.
    pub since: Mono,
}

/// What one run did to one monitor, for the rules of the whole host.
#[derive(Debug, Default)]
pub struct Doings {
    /// Lanes whose job the channel took.
    pub sent: Vec<Turn>,
    /// Lanes that stayed needed.
    pub needed: Vec<Turn>,
    /// Results that were the lane's own.
    pub applied: Vec<Kind>,
    pub lost: Vec<Kind>,
    /// Results that were not.
    pub stale: Vec<Kind>,
    /// Deliveries that a late receipt made needless.
    pub superseded: u64,
    pub healthy: u64,
    pub not_healthy: u64,
    /// An intervention that was sent then turned out not to have been run.
    pub refund: Option<Mono>,
    /// Why interventions were held back.
    pub held: Vec<(Hold, Key)>,
    /// No repair is left, because its component is in quarantine.
    pub given_up: Vec<Key>,
    /// Results that were a lane's own, for what they say of the component.
    pub heard: Vec<Heard>,
    /// Lanes whose job is out no more, for whatever reason.
    pub ended: Vec<Arc<str>>,
    /// Pulses that were not run because of a quarantine, and whether as faults.
    pub withheld: Vec<(Key, bool)>,
    /// What the host's own sinks should hear: in this run, in the next, in either.
    pub news: Gone,
    pub undeliverable: u64,
}

/// One monitor.
pub struct Model {
    pub id: MonitorId,
    pub name: Arc<str>,
    pub policy: Policy,
    intervention: Option<Arc<InterventionSpec>>,
    grid: Option<Grid>,
    pub pulse: Track,
    pub repair: Track,
    pub boxes: Vec<Outbox>,
    pub health: Health,
    /// Interventions within the monitor's own time window.
    window: Option<Window>,
    seen: Vec<Arc<Alert>>,
    /// The state that it showed after the last run.
    shown: State,
}

impl Model {
    pub fn new<'s>(
        ledger: &mut Ledger,
        id: MonitorId,
        view: &MonitorView<'_>,
        spec: &'s MonitorSpec,
        now: Mono,
    ) -> Verdict<Self> {
        let name: Arc<str> = spec.name().into();
        let grid = match &spec.pulse {
            None => None,
            Some(_) => Some(Grid::new(ledger, &name, now, &spec.policy, view.pulse())?),
        };
        let tenant = &spec.tenant.name;
        let plugin = |profile: Option<&'s Arc<Profile>>| -> (Key, &'s str) {
            let digest = profile.map_or_else(|| "".into(), |profile| Arc::clone(&profile.digest));
            let name = profile.map_or("", |profile| &*profile.plugin);
            ((Arc::clone(tenant), digest), name)
        };
        Ok(Self {
            id,
            policy: spec.policy.clone(),
            intervention: spec.intervention.clone(),
            grid,
            pulse: Track::new(
                Kind::Pulse,
                plugin(spec.pulse.as_ref().map(|check| &check.profile)),
                &format!("{name}, pulse"),
                spec.pulse.as_ref().map_or(Duration::ZERO, |check| check.timeout),
                view.pulse(),
            ),
            repair: Track::new(
                Kind::Intervention,
                plugin(spec.intervention.as_ref().map(|spec| &spec.lane.profile)),
                &format!("{name}, intervention"),
                spec.intervention
                    .as_ref()
                    .map_or(Duration::ZERO, |spec| spec.lane.timeout),
                view.intervention(),
            ),
            boxes: spec
                .sinks
                .iter()
                .zip(0..)
                .map(|(sink, index)| Outbox::new(sink, tenant, &name, view.sink(index)))
                .collect(),
            health: Health::default(),
            window: spec.intervention.as_ref().map(|spec| Window::new(spec.budget)),
            seen: Vec::new(),
            shown: view.state(),
            name,
        })
    }

    /// Whether its configuration is as it was.
    pub fn says(&self, spec: &MonitorSpec) -> bool {
        // Nothing else ever changes here.
        spec.pulse.as_ref().map(|check| check.timeout) == Some(self.pulse.timeout)
    }

    /// Whether it shows what it showed after the last run; without its pulse, if that is another one now.
    pub fn is_as(&self, view: &MonitorView<'_>, pulse: bool) -> bool {
        view.state() == self.shown
            && (!pulse || self.pulse.is_as(view.pulse()))
            && self.repair.is_as(view.intervention())
            && self.boxes.iter().zip(0..).all(|(sink, index)| {
                let codes = view.codes(index).map(|(alert, _)| alert);
                sink.track.is_as(view.sink(index))
                    && sink.len() == view.codes(index).count()
                    && sink.codes().zip(codes).all(|(one, two)| Arc::ptr_eq(one, two))
            })
    }

    /// A reload gave it another check.
    pub fn change(&mut self, spec: &MonitorSpec, lane: LaneView) {
        let timeout = spec.pulse.as_ref().map_or(Duration::ZERO, |check| check.timeout);
        self.pulse.change(timeout, lane);
    }

    /// Whether this is the host's own entry.
    pub fn is_host(&self) -> bool {
        self.grid.is_none()
    }

    /// Where in its interval the first check is.
    pub fn spread(&self, start: Mono) -> Option<f64> {
        self.grid.as_ref().map(|grid| grid.phase(start))
    }

    /// All of its lanes.
    pub fn lanes_mut(&mut self) -> impl Iterator<Item = &mut Track> {
        [&mut self.pulse, &mut self.repair]
            .into_iter()
            .chain(self.boxes.iter_mut().map(|sink| &mut sink.track))
    }

    /// All of its lanes.
    pub fn lanes(&self) -> impl Iterator<Item = &Track> {
        [&self.pulse, &self.repair]
            .into_iter()
            .chain(self.boxes.iter().map(|sink| &sink.track))
    }

    /// One run. `news`: how many news the host's own entry must be told, and how many it may.
    pub fn run(
        &mut self,
        tick: &Tick<'_>,
        ledger: &mut Ledger,
        view: &MonitorView<'_>,
        results: &[(usize, &JobResult)],
        facts: &[&Fact],
        retries: &mut Retries,
        news: (usize, usize),
    ) -> Verdict<Doings> {
        let mut doings = Doings::default();
        if results.is_empty() && facts.is_empty() && self.rests(tick, view) && news == (0, 0) {
            self.needs(&mut doings);
            return Ok(doings);
        }
        let name = Arc::clone(&self.name);
        let running = self.repair.phase == Phase::Pending;
        let of = |kind: Kind| {
            let all = results.iter().map(|(_, result)| *result);
            all.filter(move |result| result.key.kind == kind)
        };
        let lost = |kind: Kind| {
            facts
                .iter()
                .filter(|fact| matches!(fact, Fact::Lost { kind: of } if *of == kind))
                .count()
        };
        let pulse = own(
            &mut self.pulse,
            tick,
            ledger,
            view.pulse(),
            of(Kind::Pulse),
            lost(Kind::Pulse),
            &mut doings,
        )?;
        let mut proved = false;
        for result in of(Kind::Intervention) {
            if !self.repair.awaits(result.key.attempt) {
                proved |= self.late(tick, ledger, result, running);
            }
        }
        let repair = own(
            &mut self.repair,
            tick,
            ledger,
            view.intervention(),
            of(Kind::Intervention),
            lost(Kind::Intervention),
            &mut doings,
        )?;
        let asks = !matches!(repair, End::None);
        let step = self.pulsed(
            tick,
            ledger,
            &mut doings,
            view,
            pulse,
            (running, asks),
            facts,
            retries,
        )?;
        let ended = self.repaired(tick, ledger, &mut doings, repair, facts)?;
        self.wishes(tick, ledger, &mut doings, view, &step, (ended, proved), facts)?;
        self.tell(tick, ledger, &mut doings, view, results, &step, facts, news)?;
        if !self.is_host() {
            self.health
                .state(ledger, &name, view.state(), self.repair.phase == Phase::Pending)?;
        }
        let late = facts
            .iter()
            .filter(|fact| matches!(fact, Fact::Late { .. }))
            .count();
        ledger.check(
            Rule::StaleChangesNothing,
            &name,
            late == doings.stale.len(),
            || format!("{} results were stale, and it says {late}", doings.stale.len()),
        )?;
        self.needs(&mut doings);
        self.shown = view.state();
        Ok(doings)
    }

    /// Whether nothing happened to it in this run, and nothing was due: as most monitors in most runs.
    fn rests(&self, tick: &Tick<'_>, view: &MonitorView<'_>) -> bool {
        tick.stalled.is_zero()
            && self.health.episode.is_none()
            && self.shown == view.state()
            && self.pulse.rests(tick.now, view.pulse())
            && self.repair.rests(tick.now, view.intervention())
            && self.boxes.iter().zip(0..).all(|(sink, index)| {
                let lane = view.sink(index);
                sink.len() == 0 && sink.track.rests(tick.now, lane) && view.codes(index).next().is_none()
            })
    }

    fn needs(&self, doings: &mut Doings) {
        for track in self.lanes() {
            if track.phase == Phase::Needed {
                doings.needed.push(track.turn());
            }
        }
    }

    fn late(&mut self, tick: &Tick<'_>, ledger: &mut Ledger, result: &JobResult, running: bool) -> bool {
        let (Some(spec), Some(episode)) = (&self.intervention, self.health.episode.as_deref_mut()) else {
            return false;
        };
        let proof = episode.repair.late(tick, ledger, spec, result, running);
        self.health.forget_successes(proof);
        matches!(proof, Proof::Known | Proof::New)
    }

    /// What the run made of the pulse.
    fn pulsed(
        &mut self,
        tick: &Tick<'_>,
        ledger: &mut Ledger,
        doings: &mut Doings,
        view: &MonitorView<'_>,
        end: End<'_>,
        (running, asks): (bool, bool),
        facts: &[&Fact],
        retries: &mut Retries,
    ) -> Verdict<Step> {
        let Some(grid) = &self.grid else {
            return Ok(Step::default());
        };
        let lane = view.pulse();
        let result = match end {
            End::Result(result) => Some(result),
            _ => None,
        };
        let mut ended = !matches!(end, End::None);
        let withheld = facts.iter().find_map(|fact| match fact {
            Fact::Withheld { fault } => Some(*fault),
            _ => None,
        });
        if let Some(fault) = withheld {
            ledger.see(if fault {
                "pulse withheld"
            } else {
                "pulse withheld, not as a fault"
            });
            let idle = !ended && self.pulse.phase != Phase::Pending;
            ledger.check(Rule::WithheldInQuarantine, &self.pulse.who, idle, || {
                "a pulse that was out, or has just come back, was not run".to_owned()
            })?;
            doings.withheld.push((self.pulse.key.clone(), fault));
            self.pulse.withheld = true;
            ended = fault;
        }
        let mut step = if ended {
            match Said::of(result) {
                Said::Healthy => doings.healthy += 1,
                Said::Degraded | Said::Failing => doings.not_healthy += 1,
                Said::Fault => {}
            }
            self.health.pulse(
                tick,
                ledger,
                &self.name,
                &self.policy,
                result,
                (running, self.shown == State::Verifying),
                facts,
            )?
        } else {
            self.health.no_pulse(ledger, &self.name, facts)?;
            Step::default()
        };
        if withheld.is_some() {
            step.pace = Some(Pace::Held);
        }
        // Whoever judges an intervention may ask for a pulse out of turn.
        let looks = asks
            || self
                .health
                .episode
                .as_deref()
                .is_some_and(|episode| episode.repair.may_be_verifying());
        match step.pace {
            Some(pace) => grid.ended(tick, ledger, &self.name, lane, pace, looks, retries)?,
            None if self.pulse.phase != Phase::Pending => {
                grid.idle(tick, ledger, &self.pulse, lane, looks)?
            }
            None => {}
        }
        if self
            .pulse
            .follow(tick, ledger, lane, ended || withheld.is_some())?
        {
            doings.sent.push(self.pulse.turn());
        }
        Ok(step)
    }

    /// What the run made of an intervention that ended.
    fn repaired(
        &mut self,
        tick: &Tick<'_>,
        ledger: &mut Ledger,
        doings: &mut Doings,
        end: End<'_>,
        facts: &[&Fact],
    ) -> Verdict<Option<Meaning>> {
        if matches!(end, End::None) {
            return Ok(None);
        }
        let (Some(spec), Some(episode)) = (&self.intervention, self.health.episode.as_deref_mut()) else {
            ledger.check(Rule::RepairOnlyInIncident, &self.name, false, || {
                "an intervention ended outside any episode".to_owned()
            })?;
            return Ok(None);
        };
        let meaning =
            episode
                .repair
                .ended(tick, ledger, &self.name, spec, end, self.repair.attempt, facts)?;
        match meaning {
            Meaning::NotRun => {
                doings.refund = Some(self.repair.sent_at);
                if let Some(window) = &mut self.window {
                    window.refund(self.repair.sent_at);
                }
            }
            Meaning::Done | Meaning::Unknown => self.health.forget_successes(Proof::New),
            Meaning::Retryable | Meaning::Permanent => {}
        }
        Ok(Some(meaning))
    }

    /// What the run made of the wish to repair.
    fn wishes(
        &mut self,
        tick: &Tick<'_>,
        ledger: &mut Ledger,
        doings: &mut Doings,
        view: &MonitorView<'_>,
        step: &Step,
        (ended, proved): (Option<Meaning>, bool),
        facts: &[&Fact],
    ) -> Verdict {
        let (was, lane) = (self.repair.phase, view.intervention());
        let sent = self.repair.follow(tick, ledger, lane, ended.is_some())?;
        let spent = match &mut self.window {
            Some(window) => {
                let fits = !sent || window.start(tick.now);
                ledger.check(Rule::MonitorBudget, &self.name, fits, || {
                    "one intervention more than its time window allows".to_owned()
                })?;
                window.count(tick.now)
            }
            None => 0,
        };
        let sight = Sight {
            facts,
            spec: self.intervention.as_deref(),
            state: view.state(),
            failures: self.health.failures,
            faults: self.health.faults,
            failed: step.failed,
            needed: lane.phase == Phase::Needed,
            was_needed: was == Phase::Needed,
            pending: lane.phase == Phase::Pending,
            proved,
            ended,
            spent,
        };
        for fact in facts {
            match fact {
                Fact::Held { why } => doings.held.push((*why, self.repair.key.clone())),
                Fact::Exhausted(Exhausted::Quarantined) => doings.given_up.push(self.repair.key.clone()),
                _ => {}
            }
        }
        match self
            .health
            .episode
            .as_deref_mut()
            .filter(|episode| episode.incident.is_some())
        {
            Some(episode) => {
                if sent {
                    doings.sent.push(self.repair.turn());
                    episode.repair.started(tick, ledger, &self.name, &sight)?;
                }
                episode.repair.wish(tick, ledger, &self.name, &sight)
            }
            None => {
                // A wish that is not true any more is dropped when its turn comes.
                let stays = was == Phase::Needed && lane.phase == Phase::Needed;
                let quiet = (stays || lane.phase == Phase::Waiting)
                    && !facts.iter().any(|fact| {
                        matches!(
                            fact,
                            Fact::Exhausted(_) | Fact::Held { .. } | Fact::Intervening { .. }
                        )
                    });
                ledger.check(Rule::RepairOnlyInIncident, &self.name, quiet, || {
                    format!("no incident is open, and its intervention is {lane:?}: {facts:?}")
                })
            }
        }
    }

    /// What the run put into boxes, and what left them.
    fn tell(
        &mut self,
        tick: &Tick<'_>,
        ledger: &mut Ledger,
        doings: &mut Doings,
        view: &MonitorView<'_>,
        results: &[(usize, &JobResult)],
        step: &Step,
        facts: &[&Fact],
        news: (usize, usize),
    ) -> Verdict {
        let is_host = self.is_host();
        let wanted = self.health.codes(tick, &self.policy, step, facts);
        let episode = step.closed.as_deref().or(self.health.episode.as_deref());
        let mut id = episode.and_then(|episode| episode.id.clone());
        let lost = facts
            .iter()
            .filter(|fact| matches!(fact, Fact::Lost { kind: Kind::Code }))
            .count();
        let lost_before = doings.lost.len();
        let mut there = vec![false; wanted.len()];
        for (sink, index) in self.boxes.iter_mut().zip(0u16..) {
            let lane = view.sink(index);
            let mut stale = 0;
            let own: Vec<(usize, &JobResult)> = results
                .iter()
                .copied()
                .filter(|(_, result)| result.key.kind == Kind::Code && result.key.sink == index)
                .collect();
            let (mut end, receipt) = sink.results(ledger, &own, &mut stale);
            doings.stale.extend((0..stale).map(|_| Kind::Code));
            if matches!(end, End::None) && sink.track.phase == Phase::Pending {
                let given_up =
                    lost > 0 && !(lane.phase == Phase::Pending && lane.attempt == Some(sink.track.attempt));
                if sink.track.overdue(tick, ledger, lane, given_up)? {
                    end = End::Lost;
                }
            }
            if !matches!(end, End::None) {
                doings.ended.push(Arc::clone(&sink.track.who));
            }
            match end {
                End::Result(result) => {
                    doings.applied.push(Kind::Code);
                    doings.heard.push(Heard::of(&sink.track, result));
                    ledger.see(super::seen_outcome(Kind::Code, result.outcome.class()));
                }
                End::Lost => doings.lost.push(Kind::Code),
                End::Superseded => doings.superseded += 1,
                End::None => {}
            }
            self.seen.clear();
            self.seen
                .extend(view.codes(index).map(|(alert, _)| Arc::clone(alert)));
            let name = Arc::clone(&sink.sink.name);
            let facts: Vec<&Fact> = facts
                .iter()
                .copied()
                .filter(|fact| match fact {
                    Fact::Delivered { sink, .. } | Fact::Undeliverable { sink, .. } => *sink == name,
                    _ => false,
                })
                .collect();
            let emissions = Emissions {
                wanted: &wanted,
                episode: id.as_deref(),
                news: is_host.then_some(news),
            };
            let sent = sink.run(tick, ledger, lane, &self.seen, (end, receipt), &emissions, &facts)?;
            if sent {
                doings.sent.push(sink.track.turn());
            }
            for alert in &self.seen {
                let Some(at) = wanted.iter().position(|wanted| {
                    wanted.color == alert.color && wanted.cause == super::codes::cause(alert)
                }) else {
                    continue;
                };
                if alert.happened_at == tick.wall {
                    there[at] = true;
                    id = id.or_else(|| alert.incident.as_ref().map(|incident| incident.id.clone()));
                }
            }
        }
        ledger.check(
            Rule::LostInTime,
            &self.name,
            doings.lost.len() - lost_before == lost,
            || {
                format!(
                    "{lost} codes were given up, seen: {}",
                    doings.lost.len() - lost_before
                )
            },
        )?;
        for fact in facts {
            match fact {
                Fact::Undeliverable { .. } => doings.undeliverable += 1,
                // Of a component in quarantine the host's sinks have heard already.
                Fact::Purple { .. } if facts.iter().any(|fact| matches!(fact, Fact::Withheld { .. })) => {}
                Fact::Purple { .. } => doings.news.early += 1,
                _ => {}
            }
        }
        for sink in self.boxes.iter().filter(|_| !is_host) {
            doings.news.add(sink.gone);
        }
        for (wanted, there) in wanted.iter().zip(there) {
            if there || !wanted.may {
                ledger.see(super::seen_color(wanted.color, &wanted.cause));
                self.health.emitted(tick.now, wanted);
            } else {
                self.health.unseen(wanted);
            }
        }
        if let Some(episode) = self.health.episode.as_deref_mut() {
            episode.id = episode.id.take().or(id);
        }
        Ok(())
    }
}

/// How a pulse or an intervention ended that was pending; counts what was stale.
fn own<'a>(
    track: &mut Track,
    tick: &Tick<'_>,
    ledger: &mut Ledger,
    lane: LaneView,
    results: impl Iterator<Item = &'a JobResult>,
    lost: usize,
    doings: &mut Doings,
) -> Verdict<End<'a>> {
    let mut end = End::None;
    for result in results {
        if matches!(end, End::None) && track.awaits(result.key.attempt) {
            end = End::Result(result);
            doings.applied.push(track.kind);
            doings.heard.push(Heard::of(track, result));
            doings.ended.push(Arc::clone(&track.who));
            ledger.see(super::seen_outcome(track.kind, result.outcome.class()));
        } else {
            doings.stale.push(track.kind);
        }
    }
    let pending = track.phase == Phase::Pending && matches!(end, End::None);
    ledger.check(Rule::NotLostEarly, &track.who, pending || lost == 0, || {
        "given up, and nothing was pending".to_owned()
    })?;
    if pending && track.overdue(tick, ledger, lane, lost > 0)? {
        doings.lost.push(track.kind);
        doings.ended.push(Arc::clone(&track.who));
        end = End::Lost;
    }
    Ok(end)
}

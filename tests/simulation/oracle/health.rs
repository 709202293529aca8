//! What pulses mean: failures, faults, episodes and incidents, counted anew from what was answered.

use super::{
    ledger::{Ledger, Verdict},
    pulses::Pace,
    repair::{Proof, Repair},
    rules::Rule,
    tick::Tick,
};
use pulse_host::domain::{
    color::Color,
    event::Fact,
    health::State,
    job::JobResult,
    outcome::{Answer, Outcome, Status},
    spec::Policy,
    time::Mono,
};

/// What an execution of a pulse says about the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    Healthy,
    Degraded,
    Failing,
    /// Nothing: it is the prober that is in trouble.
    Fault,
}

impl Said {
    /// None: it never came back.
    pub fn of(result: Option<&JobResult>) -> Self {
        match result.map(|result| &result.outcome) {
            Some(Outcome::Answer(Answer::Pulse(report))) => match report.status {
                Status::Healthy => Self::Healthy,
                Status::Degraded => Self::Degraded,
                Status::Unhealthy => Self::Failing,
            },
            Some(Outcome::DeadlineWaiting) => Self::Failing,
            _ => Self::Fault,
        }
    }
}

/// A code that should be, or may be, in the boxes of those who want it after this run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub color: Color,
    pub cause: String,
    /// Whether it may be missing.
    pub may: bool,
}

/// A monitor's health as far as its pulses tell it.
#[derive(Debug, Default)]
pub struct Health {
    seen: bool,
    pub failures: u32,
    pub faults: u32,
    degraded: bool,
    purple: bool,
    /// Healthy pulses in a row that surely count, and those that may.
    sure: u32,
    maybe: u32,
    pub episode: Option<Box<Episode>>,
    pub episodes: u64,
}

/// From the first bad report to the return to health.
#[derive(Debug, Default)]
pub struct Episode {
    /// As its codes call it.
    pub id: Option<String>,
    /// Since when it is an incident.
    pub incident: Option<Mono>,
    pub emitted: Vec<(Color, String)>,
    onsets: u32,
    last_red: Option<Mono>,
    reminders: u32,
    /// Reminders that may have been emitted after that, and that no box took.
    unseen: u32,
    pub repair: Repair,
}

impl Episode {
    pub fn has(&self, color: Color) -> bool {
        self.emitted.iter().any(|(emitted, _)| *emitted == color)
    }

    pub fn has_cause(&self, color: Color, cause: &str) -> bool {
        self.emitted
            .iter()
            .any(|(c, before)| *c == color && before == cause)
    }
}

/// What a run's pulse led to.
#[derive(Debug, Default)]
pub struct Step {
    /// The episode that ended in this run.
    pub closed: Option<Box<Episode>>,
    pub pace: Option<Pace>,
    pub failed: bool,
}

impl Health {
    /// A pulse ended in this run. `running`: an intervention was out when it did. `judging`: before that, pulses were
    /// judging one.
    pub fn pulse(
        &mut self,
        tick: &Tick<'_>,
        ledger: &mut Ledger,
        who: &str,
        policy: &Policy,
        result: Option<&JobResult>,
        (running, judging): (bool, bool),
        facts: &[&Fact],
    ) -> Verdict<Step> {
        let said = Said::of(result);
        let started = result.map_or(tick.now, |result| result.started);
        let mut step = Step::default();
        let had_episode = self.episode.is_some();
        match said {
            Said::Fault => {
                self.faults += 1;
                ledger.check(
                    Rule::FaultIsNoFailure,
                    who,
                    !facts.iter().any(|fact| {
                        matches!(
                            fact,
                            Fact::Opened { .. } | Fact::Incident { .. } | Fact::Closed { .. }
                        )
                    }),
                    || "a fault of the prober opened or closed something".to_owned(),
                )?;
            }
            _ => {
                (self.seen, self.faults, self.purple) = (true, 0, false);
                self.degraded = said == Said::Degraded;
            }
        }
        match said {
            Said::Fault => {}
            Said::Healthy => {
                self.failures = 0;
                let after = self
                    .episode
                    .as_deref()
                    .is_none_or(|episode| episode.repair.began_after_its_end(started));
                (self.sure, self.maybe) = match (running, after) {
                    (true, _) => (0, 0),
                    (false, true) => (self.sure + 1, self.maybe + 1),
                    (false, false) if judging => (0, 0),
                    (false, false) => (0, self.maybe + 1),
                };
            }
            Said::Degraded => (self.failures, self.sure, self.maybe) = (0, 0, 0),
            Said::Failing => {
                (self.sure, self.maybe) = (0, 0);
                self.failures += 1;
                step.failed = true;
            }
        }
        let bad = matches!(said, Said::Degraded | Said::Failing);
        self.opens(ledger, who, bad && !had_episode, facts)?;
        self.becomes_incident(tick, ledger, who, policy, said == Said::Failing, facts)?;
        if let Some(episode) = self.episode.as_deref_mut()
            && said != Said::Fault
        {
            episode.repair.looked(tick, policy, said, started);
        }
        self.turns_purple(ledger, who, policy, said, facts)?;
        step.closed = self.closes(ledger, who, policy, said, facts)?;
        let incident = self
            .episode
            .as_deref()
            .is_some_and(|episode| episode.incident.is_some());
        step.pace = Some(if self.faults > 0 {
            Pace::Faulty
        } else if self.failures > 0 || incident {
            Pace::Failing
        } else {
            Pace::Regular
        });
        Ok(step)
    }

    /// No pulse ended: none of this may happen.
    pub fn no_pulse(&self, ledger: &mut Ledger, who: &str, facts: &[&Fact]) -> Verdict {
        for fact in facts {
            let rule = match fact {
                Fact::Opened { .. } => Rule::EpisodeOpens,
                Fact::Incident { .. } => Rule::IncidentAtThreshold,
                Fact::Closed { .. } => Rule::ClosesOnHealth,
                Fact::Purple { .. } => Rule::PurpleOncePerOnset,
                _ => continue,
            };
            ledger.check(rule, who, false, || format!("{fact:?} without a pulse"))?;
        }
        Ok(())
    }

    fn opens(&mut self, ledger: &mut Ledger, who: &str, should: bool, facts: &[&Fact]) -> Verdict {
        let opened: Vec<&str> = facts
            .iter()
            .filter_map(|fact| match fact {
                Fact::Opened { incident } => Some(incident.id.as_str()),
                _ => None,
            })
            .collect();
        ledger.check(
            Rule::EpisodeOpens,
            who,
            opened.len() == usize::from(should),
            || format!("opened {opened:?}, and the first bad report came: {should}"),
        )?;
        if should {
            self.episodes += 1;
            self.episode = Some(Box::new(Episode {
                id: opened.first().map(|id| (*id).to_owned()),
                ..Episode::default()
            }));
        }
        Ok(())
    }

    fn becomes_incident(
        &mut self,
        tick: &Tick<'_>,
        ledger: &mut Ledger,
        who: &str,
        policy: &Policy,
        failed: bool,
        facts: &[&Fact],
    ) -> Verdict {
        let told: Vec<u32> = facts
            .iter()
            .filter_map(|fact| match fact {
                Fact::Incident { failures, .. } => Some(*failures),
                _ => None,
            })
            .collect();
        let failures = self.failures;
        let Some(episode) = self.episode.as_deref_mut() else {
            return ledger.check(Rule::IncidentAtThreshold, who, told.is_empty(), || {
                "an incident without an episode".to_owned()
            });
        };
        let should = failed && episode.incident.is_none() && failures >= policy.failure_threshold;
        let expected: &[u32] = if should { &[policy.failure_threshold] } else { &[] };
        ledger.check(Rule::IncidentAtThreshold, who, told == expected, || {
            format!(
                "{failures} failures in a row, threshold {}, incident: {told:?}",
                policy.failure_threshold
            )
        })?;
        if should {
            ledger.see("incident");
            episode.incident = Some(tick.now);
        }
        Ok(())
    }

    fn turns_purple(
        &mut self,
        ledger: &mut Ledger,
        who: &str,
        policy: &Policy,
        said: Said,
        facts: &[&Fact],
    ) -> Verdict {
        let told = facts
            .iter()
            .filter(|fact| matches!(fact, Fact::Purple { .. }))
            .count();
        let should = said == Said::Fault && self.faults >= policy.fault_threshold && !self.purple;
        ledger.check(Rule::PurpleOncePerOnset, who, told == usize::from(should), || {
            format!(
                "{} faults in a row, threshold {}, purple before: {}; told {told} times",
                self.faults, policy.fault_threshold, self.purple
            )
        })?;
        if should {
            ledger.see("purple");
            self.purple = true;
            if self.episode.is_none() {
                self.episodes += 1;
            }
            self.episode.get_or_insert_default().onsets += 1;
        }
        Ok(())
    }

    fn closes(
        &mut self,
        ledger: &mut Ledger,
        who: &str,
        policy: &Policy,
        said: Said,
        facts: &[&Fact],
    ) -> Verdict<Option<Box<Episode>>> {
        let told = facts.iter().any(|fact| matches!(fact, Fact::Closed { .. }));
        let enough = |successes: u32| match self.episode.as_deref() {
            None => false,
            Some(episode) if episode.incident.is_none() => said == Said::Healthy,
            Some(_) => said == Said::Healthy && successes >= policy.success_threshold,
        };
        let (must, may) = (enough(self.sure), enough(self.maybe));
        ledger.check(Rule::ClosesOnHealth, who, told || !must, || {
            format!("{} healthy pulses in a row, and it is not closed", self.sure)
        })?;
        ledger.check(Rule::ClosesOnHealth, who, may || !told, || {
            format!(
                "closed after {:?} and {} healthy pulses in a row",
                said, self.maybe
            )
        })?;
        if told {
            ledger.see("closed");
            return Ok(self.episode.take());
        }
        Ok(None)
    }

    /// An intervention ended whose effect pulses must judge: healthy ones before it say nothing.
    pub fn forget_successes(&mut self, proof: Proof) {
        match proof {
            Proof::Nothing | Proof::Known => {}
            Proof::Perhaps => self.sure = 0,
            Proof::New => (self.sure, self.maybe) = (0, 0),
        }
    }

    /// Whether the target lived when it answered last; none while nobody knows.
    pub fn alive(&self) -> Option<bool> {
        (self.seen && self.faults == 0).then_some(self.failures == 0)
    }

    /// The state in one word, as the contract has it.
    pub fn state(&self, ledger: &mut Ledger, who: &str, state: State, running: bool) -> Verdict {
        let incident = self
            .episode
            .as_deref()
            .filter(|episode| episode.incident.is_some());
        let fits = match incident {
            _ if self.faults > 0 || !self.seen => state == State::Unknown,
            Some(_) if running => state == State::Down,
            Some(_) => matches!(state, State::Down | State::Verifying | State::Held),
            None if self.failures > 0 || self.degraded => state == State::Degraded,
            None => state == State::Up,
        };
        ledger.check(Rule::StateWord, who, fits, || {
            format!(
                "it shows {} after {} failures and {} faults in a row, degraded: {}, incident: {}, repair running: {running}",
                state.name(),
                self.failures,
                self.faults,
                self.degraded,
                incident.is_some(),
            )
        })
    }

    /// Codes that the state calls for after this run.
    pub fn codes(&mut self, tick: &Tick<'_>, policy: &Policy, step: &Step, facts: &[&Fact]) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        let mut want = |color, cause: String, may| wanted.push(Wanted { color, cause, may });
        if let Some(closed) = &step.closed {
            want(Color::Green, "healthy".to_owned(), closed.emitted.is_empty());
        }
        let (failing, degraded, faulty) = (self.failures > 0, self.degraded, self.faults > 0);
        let Some(episode) = self.episode.as_deref_mut() else {
            return wanted;
        };
        for fact in facts {
            if matches!(fact, Fact::Purple { .. }) {
                want(Color::Purple, format!("fault-{}", episode.onsets), false);
            }
        }
        let mut red = false;
        if let Some(since) = episode.incident {
            if episode.repair.exhausted.is_some() && !episode.has_cause(Color::Red, "down") {
                want(Color::Red, "down".to_owned(), false);
                red = true;
            }
            if !episode.has(Color::Red) && tick.now >= since.after(policy.page_after) {
                let late = tick.now >= super::tick::ceil_ms(since.after(policy.page_after));
                // Both may happen in one run.
                want(Color::Red, "page-after".to_owned(), !late || red);
                red = true;
            }
            if let (Some(every), Some(last)) = (policy.repeat, episode.last_red)
                && tick.now >= last.after(every)
            {
                let late = tick.now >= super::tick::ceil_ms(last.after(every));
                for number in 1..=episode.unseen + 1 {
                    let cause = format!("reminder-{}", episode.reminders + number);
                    want(Color::Red, cause, !late || red || episode.unseen > 0);
                }
            }
        }
        for number in std::mem::take(&mut episode.repair.cyans) {
            let cause = format!("intervention-{number}");
            if !episode.has_cause(Color::Cyan, &cause) {
                want(Color::Cyan, cause, false);
            }
        }
        if !faulty && failing && !episode.has(Color::Red) && !episode.has_cause(Color::Yellow, "failing") {
            want(Color::Yellow, "failing".to_owned(), red || !step.failed);
        }
        if !faulty && degraded && !episode.has_cause(Color::Yellow, "degraded") {
            want(Color::Yellow, "degraded".to_owned(), red || step.pace.is_none());
        }
        wanted
    }

    /// It may have been emitted, and is in no box.
    pub fn unseen(&mut self, wanted: &Wanted) {
        if let Some(episode) = self.episode.as_deref_mut() {
            let next = format!("reminder-{}", episode.reminders + episode.unseen + 1);
            episode.unseen += u32::from(wanted.cause == next);
        }
    }

    /// It was emitted.
    pub fn emitted(&mut self, now: Mono, wanted: &Wanted) {
        let Some(episode) = self.episode.as_deref_mut() else {
            return;
        };
        if let Some(number) = wanted.cause.strip_prefix("reminder-") {
            (episode.reminders, episode.unseen) = (number.parse().unwrap(), 0);
            episode.last_red = Some(now);
            return;
        }
        if wanted.color == Color::Red {
            episode.last_red = Some(now);
        }
        episode.emitted.push((wanted.color, wanted.cause.clone()));
    }
}

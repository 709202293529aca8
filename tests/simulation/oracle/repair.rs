//! Interventions: within every budget, after a cooldown, never blindly, and never instead of a red that is due.

use super::{
    health::Said,
    lanes::End,
    ledger::{Ledger, Verdict},
    rules::Rule,
    tick::{Tick, ceil_ms},
};
use pulse_host::domain::{
    event::Fact,
    health::{Exhausted, InterventionEnd, State},
    job::JobResult,
    outcome::{ActionFailure, Answer, Outcome},
    spec::{Budget, InterventionSpec, Policy},
    time::Mono,
};
use std::{collections::VecDeque, time::Duration};

/// An intervention that could not be run is asked for again after a second, at the earliest.
const NOT_RUN_PAUSE: Duration = Duration::from_secs(1);
/// After retryable failures the cooldown doubles, at most so often.
const BACKOFF_COOLDOWNS: u32 = 16;

/// What the end of an intervention means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// It was done.
    Done,
    /// It was not, and may be tried again.
    Retryable,
    /// It is useless.
    Permanent,
    /// Nobody knows.
    Unknown,
    /// It was not run.
    NotRun,
}

impl Meaning {
    /// None: it never came back.
    pub fn of(result: Option<&JobResult>) -> Self {
        match result.map(|result| &result.outcome) {
            Some(Outcome::Answer(Answer::Intervention(Ok(_)))) => Self::Done,
            Some(Outcome::Answer(Answer::Intervention(Err(ActionFailure::Retryable(_))))) => Self::Retryable,
            Some(
                Outcome::Answer(Answer::Intervention(Err(ActionFailure::Permanent(_)))) | Outcome::Denied(_),
            ) => Self::Permanent,
            Some(Outcome::Expired | Outcome::NoCapacity(_)) => Self::NotRun,
            _ => Self::Unknown,
        }
    }

    fn told(self, end: &InterventionEnd) -> bool {
        matches!(
            (self, end),
            (Self::Done, InterventionEnd::Done { .. })
                | (Self::Retryable, InterventionEnd::Retryable(_))
                | (Self::Permanent, InterventionEnd::Permanent(_))
                | (Self::Unknown, InterventionEnd::Unknown(_))
                | (Self::NotRun, InterventionEnd::NotRun(_))
        )
    }

    /// Whether pulses must judge it.
    fn judged(self) -> bool {
        matches!(self, Self::Done | Self::Unknown)
    }
}

/// The last intervention that ended.
#[derive(Clone, Copy, Debug)]
struct Ended {
    meaning: Meaning,
    /// When it ended, at the earliest.
    at: Mono,
    /// And at the latest.
    sure_at: Mono,
    /// When the oracle was told.
    heard: Mono,
    /// Failing pulses in a row that began after it.
    failures: u32,
    /// They were enough once: it did not help.
    failed: bool,
    /// When the first pulse was answered that began after it.
    looked: Option<Mono>,
    /// It was proved so late that nobody outside can say whether its judgement began anew.
    blurred: bool,
}

/// Where an incident's repair stands.
#[derive(Debug, Default)]
pub struct Repair {
    /// Interventions of this incident that were started and counted.
    pub attempts: u32,
    /// Retryable failures in a row.
    retries: u32,
    last: Option<Ended>,
    /// Not before that, whatever the next is for.
    not_before: Mono,
    pub exhausted: Option<Exhausted>,
    /// When the host's budget began to hold it back.
    held_since: Option<Mono>,
    /// It showed so after the last run.
    shown_held: bool,
    /// When the prober was last well.
    clear_at: Mono,
    /// And whether pulses were judging an intervention then.
    judging: bool,
    /// Held, and no pulse has failed since.
    stale: bool,
    /// The attempt that was given up: the lane's number of it, and the incident's.
    lost: Option<(u32, u32)>,
    /// Interventions that were done in this run.
    pub cyans: Vec<u32>,
}

impl Repair {
    /// Whether a pulse that started then says anything about what was done last.
    pub fn began_after_its_end(&self, started: Mono) -> bool {
        self.last
            .is_none_or(|last| !last.meaning.judged() || started >= last.sure_at)
    }

    /// A pulse was answered.
    pub fn looked(&mut self, tick: &Tick<'_>, policy: &Policy, said: Said, started: Mono) {
        if said == Said::Failing {
            self.stale = false;
        }
        let Some(last) = &mut self.last else {
            return;
        };
        if started < last.at {
            return;
        }
        last.looked.get_or_insert(tick.now);
        last.failures = if said == Said::Failing {
            last.failures + 1
        } else {
            0
        };
        last.failed |= last.failures >= policy.failure_threshold;
    }

    /// The pending intervention ended. Returns whether it was run.
    pub fn ended(
        &mut self,
        tick: &Tick<'_>,
        ledger: &mut Ledger,
        who: &str,
        spec: &InterventionSpec,
        end: End<'_>,
        attempt: u32,
        facts: &[&Fact],
    ) -> Verdict<Meaning> {
        let result = match end {
            End::Result(result) => Some(result),
            _ => None,
        };
        let meaning = Meaning::of(result);
        let told: Vec<_> = facts
            .iter()
            .filter_map(|fact| match fact {
                Fact::Intervention { number, end, .. } => Some((*number, end)),
                _ => None,
            })
            .collect();
        ledger.check(
            Rule::EndIsHeard,
            who,
            matches!(told.as_slice(), [(number, end)] if *number == self.attempts && meaning.told(end)),
            || {
                format!(
                    "intervention {} ended as {meaning:?}, told: {told:?}",
                    self.attempts
                )
            },
        )?;
        let at = result.map_or(tick.now, |result| result.finished);
        if result.is_none() {
            self.lost = Some((attempt, self.attempts));
        } else if meaning != Meaning::NotRun {
            self.lost = None;
        }
        match meaning {
            Meaning::Done | Meaning::Unknown => {
                self.retries = 0;
                self.judge(meaning, at, tick.now, spec);
                if meaning == Meaning::Done {
                    self.cyans.push(self.attempts);
                }
            }
            Meaning::Retryable => {
                self.retries += 1;
                let doubled = 1u32 << (self.retries - 1).min(31);
                self.last = None;
                self.not_before = at.after(spec.cooldown * doubled.min(BACKOFF_COOLDOWNS));
            }
            Meaning::Permanent => self.last = None,
            Meaning::NotRun => {
                ledger.see("intervention not run");
                self.attempts = self.attempts.saturating_sub(1);
                self.last = None;
                self.not_before = tick.now.after(NOT_RUN_PAUSE);
            }
        }
        Ok(meaning)
    }

    fn judge(&mut self, meaning: Meaning, at: Mono, heard: Mono, spec: &InterventionSpec) {
        self.last = Some(Ended {
            meaning,
            at,
            sure_at: at,
            heard,
            failures: 0,
            failed: false,
            looked: None,
            blurred: false,
        });
        self.not_before = at.after(spec.cooldown);
        self.held_since = None;
        (self.stale, self.judging) = (false, true);
    }

    /// A result came for an attempt that was given up.
    pub fn late(
        &mut self,
        tick: &Tick<'_>,
        ledger: &mut Ledger,
        spec: &InterventionSpec,
        result: &JobResult,
        running: bool,
    ) -> Proof {
        if Meaning::of(Some(result)) != Meaning::Done {
            return Proof::Nothing;
        }
        let Some((_, number)) = self.lost.take_if(|(attempt, _)| *attempt == result.key.attempt) else {
            return Proof::Nothing;
        };
        if running || self.exhausted.is_some() || number != self.attempts {
            return Proof::Nothing;
        }
        ledger.see("intervention proved late");
        self.cyans.push(number);
        let judging = self.must_be_verifying(tick.now, spec);
        match &mut self.last {
            Some(last) if result.finished <= last.at && judging => Proof::Known,
            Some(last) if result.finished <= last.at && !last.failed => {
                last.at = result.finished;
                last.blurred = true;
                self.not_before = self.not_before.min(result.finished.after(spec.cooldown));
                Proof::Perhaps
            }
            _ => {
                // What pulses saw before it ended says nothing about it.
                self.judge(Meaning::Done, result.finished, tick.now, spec);
                Proof::New
            }
        }
    }

    /// Whether pulses must still judge what was done: nothing else may have been decided.
    pub fn must_be_verifying(&self, now: Mono, spec: &InterventionSpec) -> bool {
        self.exhausted.is_none()
            && self.last.is_some_and(|last| {
                last.meaning.judged() && !last.failed && now < last.at.after(spec.verify_window)
            })
    }

    /// Whether anything was done that pulses may be judging.
    pub fn may_be_verifying(&self) -> bool {
        self.last.is_some_and(|last| last.meaning.judged())
    }

    /// What became of the wish to repair in this run.
    pub fn wish(&mut self, tick: &Tick<'_>, ledger: &mut Ledger, who: &str, sight: &Sight<'_>) -> Verdict {
        let now = tick.now;
        let (needed, pending) = (sight.needed, sight.pending);
        for fact in sight.facts {
            match fact {
                Fact::Exhausted(why) => self.exhausts(tick, ledger, who, *why, sight)?,
                Fact::Held { .. } => {
                    ledger.see("held");
                    self.held_since = Some(now);
                }
                _ => {}
            }
        }
        if sight.state == State::Held {
            ledger.check(Rule::HeldOnlyWhenSpent, who, self.held_since.is_some(), || {
                "it shows held, and the host's budget never held it back".to_owned()
            })?;
            let since = self.held_since.unwrap_or(now);
            ledger.check(
                Rule::ExhaustedWithReason,
                who,
                // Held again after that time, it is woken in the next run.
                !self.shown_held || now < ceil_ms(since.after(tick.max_hold)),
                || format!("held since {since:?}, longer than the maximum"),
            )?;
            self.stale = true;
        }
        self.shown_held = sight.state == State::Held;
        let Some(spec) = sight.spec else {
            return ledger.check(
                Rule::RepairWhenDue,
                who,
                !sight.failed || self.exhausted == Some(Exhausted::NotConfigured),
                || "no intervention is configured, and it is not red".to_owned(),
            );
        };
        if sight.state == State::Verifying {
            ledger.check(Rule::StateWord, who, self.may_be_verifying(), || {
                "it shows verifying, and nothing was done".to_owned()
            })?;
            if let Some(Ended {
                at,
                heard,
                looked: Some(looked),
                blurred: false,
                ..
            }) = self.last
            {
                let window = spec.verify_window;
                let last = at.after(window * 2).max(looked.max(heard).after(window));
                ledger.check(Rule::RepairWhenDue, who, now < ceil_ms(last), || {
                    format!("verified since {at:?}, and its window is over since {last:?}")
                })?;
            }
        }
        if sight.faults == 0 {
            (self.clear_at, self.judging) = (now, sight.state == State::Verifying);
        } else if let Some(last) = self.last.filter(|last| self.judging && !last.blurred) {
            let window = spec.verify_window;
            let bound = last
                .at
                .after(window * 2)
                .max(self.clear_at.max(last.heard).after(window));
            ledger.check(
                Rule::ExhaustedWithReason,
                who,
                self.exhausted.is_some() || pending || now < ceil_ms(bound),
                || {
                    format!(
                        "faults keep it from being verified since {:?}, and it is not red",
                        last.at
                    )
                },
            )?;
        }
        if sight.faults == 0 && !pending && self.must_be_verifying(now, spec) {
            if sight.proved {
                ledger.check(
                    Rule::LateEffectCounts,
                    who,
                    sight.state == State::Verifying,
                    || {
                        format!(
                            "a late result proved that it was done, and it is {}",
                            sight.state.name()
                        )
                    },
                )?;
            }
            ledger.check(Rule::NeverBlindly, who, sight.state == State::Verifying, || {
                format!(
                    "pulses must judge what was done, and it is {}",
                    sight.state.name()
                )
            })?;
        }
        let failed_for_good = match sight.ended {
            Some(Meaning::Permanent) => true,
            Some(Meaning::Retryable) => self.attempts >= spec.max_attempts,
            _ => {
                sight.failed
                    && self.attempts >= spec.max_attempts
                    && self
                        .last
                        .is_some_and(|last| last.meaning.judged() && last.failed && !last.blurred)
            }
        };
        ledger.check(
            Rule::ExhaustedWithReason,
            who,
            self.exhausted.is_some() || !failed_for_good || pending,
            || format!("nothing is left to be tried, and it is not said: {self:?}"),
        )?;
        if self.exhausted.is_some() {
            let quiet = (!needed || sight.was_needed) && !pending;
            return ledger.check(Rule::RepairOnlyInIncident, who, quiet, || {
                format!("no repair is left ({:?}), and one is under way", self.exhausted)
            });
        }
        let judged = self
            .last
            .is_none_or(|last| !last.meaning.judged() || (last.failed && !last.blurred));
        if sight.failed && sight.ended.is_none() && judged && now >= self.not_before {
            let acts = needed || pending || sight.state == State::Held;
            ledger.check(Rule::RepairWhenDue, who, acts, || {
                format!(
                    "it fails, {} of {} attempts were made, and nothing is done",
                    self.attempts, spec.max_attempts
                )
            })?;
        }
        Ok(())
    }

    fn exhausts(
        &mut self,
        tick: &Tick<'_>,
        ledger: &mut Ledger,
        who: &str,
        why: Exhausted,
        sight: &Sight<'_>,
    ) -> Verdict {
        let now = tick.now;
        let fits = match why {
            Exhausted::NotConfigured => sight.spec.is_none(),
            Exhausted::Attempts => sight.spec.is_some_and(|spec| self.attempts >= spec.max_attempts),
            Exhausted::Budget => sight
                .spec
                .is_some_and(|spec| sight.spent >= spec.budget.attempts as usize),
            Exhausted::Permanent => sight.ended == Some(Meaning::Permanent),
            Exhausted::Held => self
                .held_since
                .is_some_and(|since| now >= since.after(tick.max_hold)),
            Exhausted::Quarantined => sight.spec.is_some(),
            // Nothing is put on record in these worlds.
            Exhausted::Unrecorded => false,
            Exhausted::Unverified => {
                sight.faults > 0
                    && self.last.is_some_and(|last| {
                        sight
                            .spec
                            .is_some_and(|spec| now >= last.at.after(spec.verify_window))
                    })
            }
        };
        ledger.check(
            Rule::ExhaustedWithReason,
            who,
            fits && self.exhausted.is_none(),
            || format!("no repair is left because of {why:?}, before: {self:?}"),
        )?;
        ledger.see(match why {
            Exhausted::NotConfigured => "red: not configured",
            Exhausted::Attempts => "red: attempts",
            Exhausted::Budget => "red: budget",
            Exhausted::Permanent => "red: permanent",
            Exhausted::Held => "red: held",
            Exhausted::Unverified => "red: unverified",
            Exhausted::Quarantined => "red: quarantined",
            Exhausted::Unrecorded => "red: unrecorded",
        });
        self.exhausted = Some(why);
        Ok(())
    }

    /// An intervention was handed to the channel.
    pub fn started(&mut self, tick: &Tick<'_>, ledger: &mut Ledger, who: &str, sight: &Sight<'_>) -> Verdict {
        let now = tick.now;
        let Some(spec) = sight.spec else {
            return ledger.check(Rule::RepairOnlyInIncident, who, false, || {
                "an intervention that is not configured".to_owned()
            });
        };
        let told: Vec<u32> = sight
            .facts
            .iter()
            .filter_map(|fact| match fact {
                Fact::Intervening { number, .. } => Some(*number),
                _ => None,
            })
            .collect();
        self.attempts += 1;
        ledger.check(
            Rule::AttemptsBound,
            who,
            self.attempts <= spec.max_attempts,
            || format!("attempt {} of at most {}", self.attempts, spec.max_attempts),
        )?;
        ledger.check(Rule::AttemptsBound, who, told == [self.attempts], || {
            format!("attempt {} was announced as {told:?}", self.attempts)
        })?;
        ledger.check(
            Rule::RepairOnlyInIncident,
            who,
            sight.failures > 0 && (sight.faults == 0 || sight.was_needed),
            || {
                format!(
                    "{} failures and {} faults in a row, and an intervention starts",
                    sight.failures, sight.faults
                )
            },
        )?;
        ledger.check(Rule::Cooldown, who, now >= self.not_before, || {
            format!("it starts at {now:?}, before {:?}", self.not_before)
        })?;
        ledger.check(Rule::FreshPulseAfterHold, who, !self.stale, || {
            "it was held, and no pulse has failed since".to_owned()
        })?;
        if let Some(last) = self.last.filter(|last| last.meaning.judged()) {
            let over = now >= last.at.after(spec.verify_window);
            ledger.check(
                Rule::NeverBlindly,
                who,
                last.looked.is_some() && (over || last.failed),
                || format!("the next intervention starts, and of the last is known: {last:?}"),
            )?;
            ledger.see("intervention after a failed one");
        }
        self.held_since = None;
        Ok(())
    }
}

/// What a late result changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    Nothing,
    /// It was done, and pulses are judging it already.
    Known,
    /// Pulses may judge it anew, or go on.
    Perhaps,
    /// Pulses judge it from now on.
    New,
}

/// What is seen of a monitor besides its repair.
pub struct Sight<'a> {
    pub facts: &'a [&'a Fact],
    pub spec: Option<&'a InterventionSpec>,
    pub state: State,
    pub failures: u32,
    pub faults: u32,
    /// A pulse failed in this run.
    pub failed: bool,
    /// The lane of the intervention is needed, or pending.
    pub needed: bool,
    /// It was needed before.
    pub was_needed: bool,
    pub pending: bool,
    /// A late result proved in this run that an intervention was done.
    pub proved: bool,
    /// An intervention ended so in this run.
    pub ended: Option<Meaning>,
    /// Interventions within the monitor's time window.
    pub spent: usize,
}

/// Interventions within a sliding window.
#[derive(Clone, Debug)]
pub struct Window {
    budget: Budget,
    starts: VecDeque<Mono>,
}

impl Window {
    pub fn new(budget: Budget) -> Self {
        Self {
            budget,
            starts: VecDeque::new(),
        }
    }

    pub fn count(&mut self, now: Mono) -> usize {
        while self
            .starts
            .front()
            .is_some_and(|at| now.since(*at) >= self.budget.per)
        {
            self.starts.pop_front();
        }
        self.starts.len()
    }

    pub fn spent(&mut self, now: Mono) -> bool {
        self.count(now) >= self.budget.attempts as usize
    }

    /// One starts. False if it is one too many.
    pub fn start(&mut self, now: Mono) -> bool {
        self.starts.push_back(now);
        self.count(now) <= self.budget.attempts as usize
    }

    /// The one that started then was not run.
    pub fn refund(&mut self, at: Mono) {
        if let Some(index) = self.starts.iter().position(|start| *start == at) {
            self.starts.remove(index);
        }
    }
}

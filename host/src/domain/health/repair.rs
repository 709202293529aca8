//! How an incident is repaired: when an intervention is wanted, what its end means, and when no repair is left.
//!
//! Architecture invariant: an intervention is never repeated blindly. One that was cut or lost spent its
//! attempt, and a pulse decides what is true before the next.

use super::{Effects, Episode, Exhausted, Health, Now, Repair};
use crate::domain::{
    backoff::backoff,
    color::Color,
    event::Fact,
    spec::{InterventionSpec, MonitorSpec},
    time::Mono,
};
use std::time::Duration;

/// Longest backoff after retryable failures, in cooldowns.
const BACKOFF_COOLDOWNS_MAX: u32 = 16;

/// An intervention that could not be run at all is asked for again after that time.
const NOT_RUN_PAUSE: Duration = Duration::from_secs(1);

/// How an intervention ended, as far as the state machine cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InterventionEnd {
    /// Carried out. Whether it helped, the next pulses say.
    Done {
        /// One line for people.
        summary: String,
    },
    /// Nothing happened; trying again may work.
    Retryable(String),
    /// Nothing happened, and trying again is useless: permanent failure or denied capability.
    Permanent(String),
    /// It may or may not have happened: unknown effect, cut, trapped, lost.
    Unknown(String),
    /// It was not started: no capacity, or it waited too long in the queue.
    NotRun(String),
}

/// Why an intervention is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// The host's budget is used up.
    Budget,
    /// Most monitors fail at once.
    Correlated,
    /// Its plugin was quarantined and is being tried.
    Quarantine,
}

impl std::fmt::Display for Hold {
    /// One clause for people.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Budget => "the host's budget is used up",
            Self::Correlated => "most monitors fail at once",
            Self::Quarantine => "its plugin was quarantined and is being tried",
        })
    }
}

/// What the monitor's own budgets say to an intervention that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Go ahead.
    Granted,
    /// Not wanted any more.
    NotWanted,
    /// The budget per time window is spent.
    Spent,
}

impl Health {
    /// Whether the monitor's own budgets allow an intervention now. Changes nothing.
    #[must_use]
    pub fn may_intervene(&self, spec: &InterventionSpec, now: Mono) -> Permission {
        if !self.wants_intervention() {
            return Permission::NotWanted;
        }
        let recent = self
            .spent
            .iter()
            .flat_map(|spent| spent.iter())
            .filter(|at| now.since(**at) < spec.budget.per)
            .count();
        if recent >= spec.budget.attempts as usize {
            return Permission::Spent;
        }
        Permission::Granted
    }

    /// An intervention was handed to a worker: its attempt is spent from now on.
    pub fn intervention_started(&mut self, spec: &InterventionSpec, now: Mono) {
        let spent = self.spent.get_or_insert_default();
        while spent.front().is_some_and(|at| now.since(*at) >= spec.budget.per) {
            spent.pop_front();
        }
        spent.push_back(now);
        if let Some(episode) = self.episode.as_deref_mut() {
            episode.attempts = episode.attempts.saturating_add(1);
            episode.repair = Repair::Running;
        }
    }

    /// The budget per time window is spent: red.
    pub fn budget_spent(&mut self, spec: &MonitorSpec, now: Now, effects: &mut Effects) {
        if let Some(episode) = self.episode.as_deref_mut() {
            episode.exhaust(Exhausted::Budget, effects);
        }
        self.show(spec, now, effects);
    }

    /// The plugin is quarantined: nothing can be repaired with it, red.
    pub fn repair_quarantined(&mut self, spec: &MonitorSpec, now: Now, effects: &mut Effects) {
        if let Some(episode) = self.episode.as_deref_mut() {
            episode.exhaust(Exhausted::Quarantined, effects);
        }
        self.show(spec, now, effects);
    }

    /// What would be done can't be put on record: nothing is done, red.
    pub fn repair_unrecorded(&mut self, spec: &MonitorSpec, now: Now, effects: &mut Effects) {
        if let Some(episode) = self.episode.as_deref_mut() {
            episode.exhaust(Exhausted::Unrecorded, effects);
        }
        self.show(spec, now, effects);
    }

    /// It may not be done now: a fresh pulse before the next try, red after the maximum hold.
    pub fn hold(&mut self, why: Hold, now: Mono, effects: &mut Effects) {
        if let Some(episode) = self.episode.as_deref_mut()
            && let Repair::Wanted { held_since } = episode.repair
        {
            if held_since.is_none() {
                effects.facts.push(Fact::Held { why });
            }
            episode.repair = Repair::Held {
                since: held_since.unwrap_or(now),
            };
        }
    }

    /// An intervention ended.
    pub fn on_intervention(
        &mut self,
        spec: &MonitorSpec,
        end: InterventionEnd,
        finished: Mono,
        now: Now,
        effects: &mut Effects,
    ) {
        let Some(settings) = spec.intervention.as_deref() else {
            return;
        };
        let suppressed = self.suppressed();
        let Some(episode) = self.episode.as_deref_mut() else {
            return;
        };
        if episode.repair != Repair::Running {
            return;
        }
        let number = episode.attempts;
        effects.facts.push(Fact::Intervention {
            number,
            of: settings.max_attempts,
            end: end.clone(),
        });
        match end {
            InterventionEnd::Done { .. } | InterventionEnd::Unknown(_) => {
                episode.retries = 0;
                if let InterventionEnd::Done { summary } = end
                    && !suppressed
                {
                    episode.cyan(spec, number, &summary, effects);
                }
                episode.verify(settings, finished);
                self.successes = 0;
            }
            InterventionEnd::Retryable(_) => {
                episode.retries = episode.retries.saturating_add(1);
                let pause = backoff(
                    settings.cooldown,
                    episode.retries,
                    settings.cooldown.saturating_mul(BACKOFF_COOLDOWNS_MAX),
                );
                episode.next_attempt(settings, finished.after(pause), true, effects);
            }
            InterventionEnd::Permanent(_) => episode.exhaust(Exhausted::Permanent, effects),
            InterventionEnd::NotRun(_) => {
                episode.attempts = episode.attempts.saturating_sub(1);
                if let Some(spent) = &mut self.spent {
                    spent.pop_back();
                }
                episode.repair = Repair::Ready {
                    not_before: now.mono.after(NOT_RUN_PAUSE),
                    held_since: None,
                    confirmed: true,
                };
            }
        }
        self.show(spec, now, effects);
    }

    /// An intervention that was given up as lost, the `number`th of its incident, turns out to have been done.
    /// It must not be done again before pulses have looked.
    pub fn late_done(
        &mut self,
        spec: &MonitorSpec,
        number: u32,
        summary: &str,
        finished: Mono,
        effects: &mut Effects,
    ) {
        let (Some(settings), suppressed) = (spec.intervention.as_deref(), self.suppressed()) else {
            return;
        };
        let Some(episode) = self.episode.as_deref_mut() else {
            return;
        };
        if episode.attempts != number {
            return;
        }
        match episode.repair {
            Repair::Verifying { since, .. } if finished <= since => {}
            // What pulses saw before it ended, even if it had been given up by then, says nothing about it.
            Repair::Ready { .. } | Repair::Wanted { .. } | Repair::Held { .. } | Repair::Verifying { .. } => {
                episode.verify(settings, finished);
                self.successes = 0;
            }
            Repair::None | Repair::Running | Repair::Exhausted(_) => return,
        }
        if !suppressed {
            episode.cyan(spec, number, summary, effects);
        }
    }

    /// A pulse failed; `started` is when it began.
    pub(super) fn failed_while_repairing(
        &mut self,
        spec: &MonitorSpec,
        started: Mono,
        now: Now,
        effects: &mut Effects,
    ) {
        let suppressed = self.suppressed();
        let Some(episode) = self.episode.as_deref_mut() else {
            return;
        };
        match (&mut episode.repair, spec.intervention.as_deref()) {
            (Repair::Ready { .. } | Repair::Wanted { .. } | Repair::Held { .. }, None) => {
                episode.exhaust(Exhausted::NotConfigured, effects);
            }
            (Repair::Held { since }, Some(_)) if !suppressed => {
                let since = *since;
                episode.repair = Repair::Wanted {
                    held_since: Some(since),
                };
            }
            (
                Repair::Ready {
                    not_before,
                    held_since,
                    ..
                },
                Some(settings),
            ) if !suppressed && now.mono >= *not_before => {
                let held_since = *held_since;
                episode.want(settings, held_since, effects);
            }
            // Too early to act, but now it is known that the target still fails.
            (Repair::Ready { confirmed, .. }, Some(_)) => *confirmed = true,
            (
                Repair::Verifying {
                    since,
                    failures,
                    looked,
                    ..
                },
                Some(settings),
            ) if started >= *since => {
                *looked = true;
                *failures = failures.saturating_add(1);
                if *failures >= spec.policy.failure_threshold {
                    let not_before = since.after(settings.cooldown);
                    episode.next_attempt(settings, not_before, true, effects);
                    if let Repair::Ready { not_before, .. } = episode.repair
                        && now.mono >= not_before
                        && !suppressed
                    {
                        episode.want(settings, None, effects);
                    }
                }
            }
            _ => {}
        }
    }

    /// A pulse found the target alive; `started` is when it began.
    pub(super) fn alive_while_verifying(&mut self, started: Mono) {
        if let Some(Episode {
            repair:
                Repair::Verifying {
                    since,
                    failures,
                    looked,
                    ..
                },
            ..
        }) = self.episode.as_deref_mut()
            && started >= *since
        {
            *looked = true;
            *failures = 0;
        }
    }

    /// A wish that was not yet carried out is withdrawn: the target answered, or acting is forbidden now. Only
    /// a fresh failing pulse brings it back.
    pub(super) fn withdraw_wish(&mut self) {
        if let Some(episode) = self.episode.as_deref_mut() {
            let (not_before, held_since) = match episode.repair {
                Repair::Wanted { held_since } => (Mono(0), held_since),
                Repair::Held { since } => (Mono(0), Some(since)),
                Repair::Ready {
                    not_before,
                    held_since,
                    ..
                } => (not_before, held_since),
                _ => return,
            };
            episode.repair = Repair::Ready {
                not_before,
                held_since,
                confirmed: false,
            };
        }
    }

    /// A fault while pulses verify an intervention says nothing about it: the window stays open for one more
    /// pulse, at most for twice its length.
    pub(super) fn extend_verification(&mut self, spec: &MonitorSpec, now: Mono) {
        if let (Some(episode), Some(settings)) = (self.episode.as_deref_mut(), spec.intervention.as_deref())
            && let Repair::Verifying { since, until, .. } = &mut episode.repair
        {
            let bound = since.after(settings.verify_window.saturating_mul(2));
            let timeout = spec.pulse.as_ref().map_or(Duration::ZERO, |lane| lane.timeout);
            // A window that began anew may reach beyond the bound already.
            *until = now.after(spec.policy.interval + timeout).min(bound).max(*until);
        }
    }

    /// The time passed.
    pub(super) fn advance_repair(
        &mut self,
        spec: &MonitorSpec,
        now: Now,
        max_hold: Duration,
        effects: &mut Effects,
    ) {
        let (suppressed, failing, faulty) = (self.suppressed(), self.failures > 0, self.faults > 0);
        let (Some(episode), Some(settings)) = (self.episode.as_deref_mut(), spec.intervention.as_deref())
        else {
            return;
        };
        if let Repair::Verifying {
            since,
            until,
            failures,
            looked,
        } = episode.repair
            && now.mono >= until
        {
            if faulty {
                episode.exhaust(Exhausted::Unverified, effects);
            } else if !looked {
                // Not the repair was slow, but the host: it stood still, or had no room for a check. The window
                // begins anew.
                episode.repair = Repair::Verifying {
                    since,
                    until: now.mono.after(settings.verify_window),
                    failures,
                    looked,
                };
                effects.recheck = true;
            } else {
                episode.next_attempt(settings, since.after(settings.cooldown), failures > 0, effects);
                effects.recheck |= failures == 0;
            }
        }
        let held_too_long =
            |since: Option<Mono>| since.is_some_and(|since| now.mono >= since.after(max_hold)) && !suppressed;
        match episode.repair {
            Repair::Held { since } if held_too_long(Some(since)) => episode.exhaust(Exhausted::Held, effects),
            Repair::Wanted { held_since } if held_too_long(held_since) => {
                episode.exhaust(Exhausted::Held, effects);
            }
            Repair::Ready { held_since, .. } if failing && held_too_long(held_since) => {
                episode.exhaust(Exhausted::Held, effects);
            }
            // The last pulse failed, and nothing but the cooldown was waited for.
            Repair::Ready {
                not_before,
                held_since,
                confirmed: true,
            } if failing && !faulty && !suppressed && now.mono >= not_before => {
                episode.want(settings, held_since, effects);
            }
            _ => {}
        }
    }
}

impl Episode {
    fn verify(&mut self, settings: &InterventionSpec, finished: Mono) {
        self.repair = Repair::Verifying {
            since: finished,
            until: finished.after(settings.verify_window),
            failures: 0,
            looked: false,
        };
    }

    fn cyan(&mut self, spec: &MonitorSpec, number: u32, summary: &str, effects: &mut Effects) {
        self.emit(
            spec,
            Color::Cyan,
            &format!("intervention-{number}"),
            || format!("intervention: {summary}"),
            effects,
        );
    }

    fn want(&mut self, settings: &InterventionSpec, held_since: Option<Mono>, effects: &mut Effects) {
        if self.attempts >= settings.max_attempts {
            self.exhaust(Exhausted::Attempts, effects);
        } else {
            self.repair = Repair::Wanted { held_since };
        }
    }

    /// An attempt failed.
    fn next_attempt(
        &mut self,
        settings: &InterventionSpec,
        not_before: Mono,
        confirmed: bool,
        effects: &mut Effects,
    ) {
        if self.attempts >= settings.max_attempts {
            self.exhaust(Exhausted::Attempts, effects);
        } else {
            self.repair = Repair::Ready {
                not_before,
                held_since: None,
                confirmed,
            };
        }
    }

    fn exhaust(&mut self, why: Exhausted, effects: &mut Effects) {
        self.repair = Repair::Exhausted(why);
        effects.facts.push(Fact::Exhausted(why));
    }
}

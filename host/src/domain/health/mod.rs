//! The state machine of a monitor: pure functions from what happened to what must be done.
//!
//! A monitor's [`Health`] takes reports, faults, ends of interventions and the time, and writes what follows
//! into [`Effects`]: codes to send and facts to publish. What it wants besides is asked of it: how soon the next
//! pulse should come ([`Health::pace`]), whether it wants an intervention ([`Health::wants_intervention`]), and
//! when it must be woken ([`Health::wake_at`]).
//!
//! Architecture invariant: no I/O, no clock, no ECS. A fault of the prober never counts as a failure of the
//! target. A color is emitted once per episode and cause.

pub mod memory;
mod pulse;
mod repair;
mod words;

#[cfg(test)]
mod tests;

use super::{
    backoff::backoff,
    board::{Mark, Marks},
    color::{Color, ColorSet},
    event::Fact,
    job::Incident,
    spec::{MonitorSpec, Policy},
    time::{Mono, Wall},
};
use serde::{Deserialize, Serialize};
use std::{collections::VecDeque, sync::Arc, time::Duration};

pub use super::time::Now;
pub use repair::{Hold, InterventionEnd, Permission};

/// Hands out episode numbers that are unique for ever within this host: it starts at the wall clock's
/// microseconds, and no host opens a million episodes a second.
#[derive(Debug)]
pub struct Episodes(u64);

impl Episodes {
    /// Starts from the time of the process's start.
    #[must_use]
    pub fn starting_at(wall: Wall) -> Self {
        Self(wall.0.saturating_mul(1000))
    }

    /// Numbers up to that one were used by an earlier process, whose wall clock may have been ahead of this one's.
    pub fn go_on_after(&mut self, last: u64) {
        self.0 = self.0.max(last);
    }

    /// The next number.
    pub fn allocate(&mut self) -> u64 {
        self.0 = self.0.saturating_add(1);
        self.0
    }
}

/// What a step wants done. Reused from step to step.
#[derive(Debug, Default)]
pub struct Effects {
    /// To be sent, in this order.
    pub codes: Vec<Emission>,
    /// To be published.
    pub facts: Vec<Fact>,
    /// Whether a pulse should run at once, to learn what is true now.
    pub recheck: bool,
}

impl Effects {
    /// Whether nothing is to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.codes.is_empty() && self.facts.is_empty() && !self.recheck
    }
}

/// A color to be sent to every sink that wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emission {
    /// The color.
    pub color: Color,
    /// Why; unique together with episode and color.
    pub cause: String,
    /// Repeats an earlier red.
    pub reminder: bool,
    /// One line for people.
    pub title: String,
    /// More lines for people.
    pub body: String,
    /// The episode's number; none for maintenance outside any episode.
    pub episode: Option<u64>,
    /// The episode as plugins see it.
    pub incident: Option<Incident>,
}

/// What a monitor knows about itself. There may be a million of them: 32 bytes, and two boxes in times of trouble.
#[derive(Debug)]
pub struct Health {
    /// Whether any pulse was answered yet, by health or by failure.
    seen: bool,
    /// Failures in a row; a fault leaves them.
    failures: u32,
    /// Healthy reports in a row; a fault leaves them.
    successes: u16,
    /// Faults in a row: more than 0 is the overlay `unknown`.
    faults: u16,
    /// Purple was emitted for the present onset.
    purple: bool,
    /// The last report was `degraded`.
    degraded: bool,
    /// What an operator has said of it.
    marks: Marks,
    /// A parent is down: no codes, no intervention.
    unreachable: bool,
    /// It began to fail, and its parents are being looked at: nothing is said before they have answered.
    awaiting: bool,
    /// Maintenance ended or a parent came back, and no pulse has said since how the target is.
    unsure: bool,
    /// Times of the interventions within the budget's window, oldest first. Bounded by the budget's attempts.
    #[allow(clippy::box_collection)] // Nearly all monitors have none.
    spent: Option<Box<VecDeque<Mono>>>,
    /// From the first bad report to the end of it.
    episode: Option<Box<Episode>>,
    /// The state that was told last.
    told: State,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            seen: false,
            failures: 0,
            successes: 0,
            faults: 0,
            purple: false,
            degraded: false,
            marks: Marks::default(),
            unreachable: false,
            awaiting: false,
            unsure: false,
            spent: None,
            episode: None,
            told: State::Unknown,
        }
    }
}

/// From a monitor's first bad report to its return to health.
#[derive(Debug)]
struct Episode {
    number: u64,
    opened_at: Wall,
    summary: String,
    reason: String,
    /// When the threshold was reached.
    incident: Option<Mono>,
    /// (color, cause) pairs that were emitted, but for reminders and purple, which are numbered. At most a few per
    /// intervention, which the attempts bound.
    emitted: Vec<(Color, String)>,
    /// Colors that were emitted, for `green`.
    colors: ColorSet,
    /// Onsets of purple.
    onsets: u32,
    /// Interventions that were started and not refunded.
    attempts: u32,
    /// Retryable failures in a row.
    retries: u32,
    /// The last red, and how many reminders followed.
    red: Option<(Mono, u32)>,
    repair: Repair,
}

/// Where an incident's repair stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repair {
    /// No incident yet.
    None,
    /// The next unhealthy pulse, but not before `not_before`, makes it wanted; so does the time alone, if a
    /// pulse has seen the target fail since anything was last done to it (`confirmed`).
    Ready {
        not_before: Mono,
        held_since: Option<Mono>,
        confirmed: bool,
    },
    /// To be started as soon as the budgets allow.
    Wanted { held_since: Option<Mono> },
    /// The host's budget is used up: a fresh pulse before anything else.
    Held { since: Mono },
    /// In a channel or running.
    Running,
    /// Carried out, or perhaps: pulses that started after `since` decide. `failures` are those in a row;
    /// `looked`: at least one of those pulses was answered.
    Verifying {
        since: Mono,
        until: Mono,
        failures: u32,
        looked: bool,
    },
    /// No repair is left.
    Exhausted(Exhausted),
}

/// Why no repair is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exhausted {
    /// None is configured.
    NotConfigured,
    /// All attempts of this incident failed.
    Attempts,
    /// The budget per time window is spent.
    Budget,
    /// The plugin says that it is useless, or has no grant.
    Permanent,
    /// Held back for too long.
    Held,
    /// Its plugin is quarantined.
    Quarantined,
    /// The prober was in trouble for the whole time of the verification.
    Unverified,
    /// What is done could not be put on record, and what is not on record is not done.
    Unrecorded,
}

impl std::fmt::Display for Exhausted {
    /// One clause for people.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotConfigured => "no intervention is configured",
            Self::Attempts => "all interventions of this incident failed",
            Self::Budget => "the intervention budget of this time window is spent",
            Self::Permanent => "the intervention can't help",
            Self::Held => "the repair was held back for too long",
            Self::Quarantined => "the intervention's plugin is quarantined",
            Self::Unverified => "the intervention could not be verified, because the prober was in trouble",
            Self::Unrecorded => {
                "pulse-host can't write to its data directory, and does nothing that it can't record"
            }
        })
    }
}

/// What a monitor has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Failures in a row.
    pub failures: u32,
    /// Healthy reports in a row.
    pub successes: u32,
    /// Faults in a row.
    pub faults: u32,
    /// Interventions of the open incident.
    pub attempts: u32,
    /// Whether the episode, if there is one, is an incident.
    pub is_incident: bool,
}

/// How soon the next pulse should come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// In the monitor's interval.
    Regular,
    /// In its retry interval, as far as the host's retry budget goes.
    Retry(Duration),
}

/// A monitor's state in one word, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// No result yet, or the prober is in trouble.
    Unknown,
    /// Healthy.
    Up,
    /// Failing below the threshold, or reported degraded.
    Degraded,
    /// An incident is open.
    Down,
    /// An intervention was done; pulses decide.
    Verifying,
    /// An intervention is held back.
    Held,
    /// A parent is down.
    Unreachable,
}

impl State {
    /// All of them; the place of each is its number.
    pub const ALL: [Self; 7] = [
        Self::Unknown,
        Self::Up,
        Self::Degraded,
        Self::Down,
        Self::Verifying,
        Self::Held,
        Self::Unreachable,
    ];

    /// The state of that name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// The state's name in logs and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Down => "down",
            Self::Verifying => "verifying",
            Self::Held => "held",
            Self::Unreachable => "unreachable",
        }
    }
}

impl Health {
    /// The state in one word.
    #[must_use]
    pub fn state(&self) -> State {
        if self.faults > 0 || !self.seen {
            return State::Unknown;
        }
        if self.unreachable && self.failures > 0 {
            return State::Unreachable;
        }
        match self.episode.as_deref() {
            Some(Episode {
                repair: Repair::Verifying { .. },
                ..
            }) => State::Verifying,
            Some(Episode {
                repair: Repair::Held { .. },
                ..
            }) => State::Held,
            Some(Episode {
                incident: Some(_), ..
            }) => State::Down,
            _ if self.failures > 0 || self.degraded => State::Degraded,
            _ => State::Up,
        }
    }

    /// The state that was told last, and the present one, if they differ; it counts as told from now on. Nothing is
    /// told while parents are being looked at: it may be their state that matters.
    pub fn news(&mut self) -> Option<(State, State)> {
        if self.awaiting {
            return None;
        }
        let state = self.state();
        let told = std::mem::replace(&mut self.told, state);
        (told != state).then_some((told, state))
    }

    /// The state that was told last.
    #[must_use]
    pub fn told(&self) -> State {
        self.told
    }

    /// Whether the target lived when it answered last; none while nobody knows.
    #[must_use]
    pub fn alive(&self) -> Option<bool> {
        (self.seen && self.faults == 0).then_some(self.failures == 0)
    }

    /// Whether its parents keep it silent.
    #[must_use]
    pub fn depends_on_parents(&self) -> bool {
        self.unreachable || self.awaiting
    }

    /// Whether anything is going on that began with a bad report.
    #[must_use]
    pub fn has_episode(&self) -> bool {
        self.episode.is_some()
    }

    /// How soon the next pulse should come.
    #[must_use]
    pub fn pace(&self, policy: &Policy) -> Pace {
        if self.faults > 0 {
            // A fault is tried again with backoff, never slower than the interval.
            return Pace::Retry(backoff(
                policy.retry_interval,
                u32::from(self.faults),
                policy.interval,
            ));
        }
        let incident = self
            .episode
            .as_deref()
            .is_some_and(|episode| episode.incident.is_some());
        if self.failures > 0 || incident {
            Pace::Retry(policy.retry_interval)
        } else {
            Pace::Regular
        }
    }

    /// Whether an intervention should start now.
    #[must_use]
    pub fn wants_intervention(&self) -> bool {
        !self.suppressed()
            && matches!(
                self.episode.as_deref(),
                Some(Episode {
                    repair: Repair::Wanted { .. },
                    ..
                })
            )
    }

    /// Whether one more failure in a row opens an incident, and there have been some. (With a threshold of 1 that would
    /// be every check.)
    #[must_use]
    pub fn may_open(&self, policy: &Policy) -> bool {
        self.failures > 0
            && self.failures.saturating_add(1) == policy.failure_threshold
            && !self.suppressed()
            && self
                .episode
                .as_deref()
                .is_none_or(|episode| episode.incident.is_none())
    }

    /// Interventions of the open incident so far; the running one included.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.episode.as_deref().map_or(0, |episode| episode.attempts)
    }

    /// The open episode as plugins see it.
    #[must_use]
    pub fn incident(&self, spec: &MonitorSpec) -> Option<Incident> {
        self.episode.as_deref().map(|episode| episode.incident(spec))
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let episode = self.episode.as_deref();
        Counters {
            failures: self.failures,
            successes: u32::from(self.successes),
            faults: u32::from(self.faults),
            attempts: self.attempts(),
            is_incident: episode.is_some_and(|episode| episode.incident.is_some()),
        }
    }

    /// When [`Health::on_time`] must be called next; [`Mono::NEVER`] when only a result can change anything.
    #[must_use]
    pub fn wake_at(&self, spec: &MonitorSpec, max_hold: Duration) -> Mono {
        let Some(episode) = self.episode.as_deref() else {
            return Mono::NEVER;
        };
        let repair = match episode.repair {
            Repair::Ready {
                not_before,
                held_since,
                confirmed,
            } if self.failures > 0 => {
                let held = held_since.map_or(Mono::NEVER, |since| since.after(max_hold));
                // While nobody knows how the target is, the end of a cooldown starts nothing.
                if confirmed && self.faults == 0 {
                    not_before.min(held)
                } else {
                    held
                }
            }
            Repair::Wanted {
                held_since: Some(since),
            }
            | Repair::Held { since } => since.after(max_hold),
            Repair::Verifying { until, .. } => until,
            _ => Mono::NEVER,
        };
        if self.suppressed() || self.unsure {
            // Nothing is emitted and nothing started; the pulse after leaving looks at everything again.
            return match episode.repair {
                Repair::Verifying { until, .. } => until,
                _ => Mono::NEVER,
            };
        }
        // Somebody takes care of it already.
        let taken = self.marks.has(Mark::Acknowledged);
        let page = match episode.incident {
            Some(since) if !taken && !episode.has_emitted(Color::Red) => since.after(spec.policy.page_after),
            _ => Mono::NEVER,
        };
        let repeat = match (spec.policy.repeat, episode.red, episode.incident) {
            (Some(span), Some((last, _)), Some(_)) if !taken => last.after(span),
            _ => Mono::NEVER,
        };
        repair.min(page).min(repeat)
    }

    /// The time passed: whatever waited for it happens now.
    pub fn on_time(&mut self, spec: &MonitorSpec, now: Now, max_hold: Duration, effects: &mut Effects) {
        self.advance_repair(spec, now, max_hold, effects);
        self.show(spec, now, effects);
    }

    /// Maintenance begins or ends. Codes are held while it lasts; leaving asks for a fresh pulse and emits only
    /// what is then true.
    pub fn set_maintenance(&mut self, spec: &MonitorSpec, window: &str, on: bool, effects: &mut Effects) {
        if self.marks.has(Mark::Maintenance) == on {
            return;
        }
        self.marks.set(Mark::Maintenance, on);
        let (edge, title) = if on {
            ("enter", "entered")
        } else {
            ("leave", "left")
        };
        effects.codes.push(Emission {
            color: Color::Gray,
            cause: format!("{window}-{edge}"),
            reminder: false,
            title: format!("{} {title} maintenance", spec.name()),
            body: String::new(),
            episode: self.episode.as_deref().map(|episode| episode.number),
            incident: self.incident(spec),
        });
        self.withdraw_wish();
        self.unsure |= !on;
        effects.recheck |= !on;
    }

    /// What an operator has said of it.
    #[must_use]
    pub fn marks(&self) -> Marks {
        self.marks
    }

    /// An operator says something of it, or takes it back; `why` names the edge of a window, where it is one, unlike any other. False: that changes
    /// nothing, since it was so before or there is no trouble that could be acknowledged.
    pub fn set_mark(
        &mut self,
        spec: &MonitorSpec,
        mark: Mark,
        on: bool,
        why: &str,
        effects: &mut Effects,
    ) -> bool {
        if self.marks.has(mark) == on || mark == Mark::Acknowledged && on && self.episode.is_none() {
            return false;
        }
        match mark {
            Mark::Maintenance => self.set_maintenance(spec, why, on, effects),
            Mark::Paused => {
                self.marks.set(mark, on);
                self.withdraw_wish();
                // What was true before is not known to be true still.
                self.unsure |= !on;
                effects.recheck |= !on;
            }
            Mark::Acknowledged | Mark::Silenced => self.marks.set(mark, on),
        }
        true
    }

    /// A parent went down or came back. While one is down nothing is emitted and nothing repaired; when all are back,
    /// a monitor that failed meanwhile is looked at before anything is said.
    pub fn set_unreachable(&mut self, on: bool, effects: &mut Effects) {
        if self.unreachable == on {
            return;
        }
        self.unreachable = on;
        self.awaiting = false;
        self.withdraw_wish();
        if !on && self.blocks() {
            self.unsure = true;
            effects.recheck = true;
        }
    }

    /// A monitor that has just begun to fail waits for what its parents say, and hears that they are well.
    pub fn set_awaiting(&mut self, on: bool) {
        self.awaiting = on;
    }

    /// Whether it waits for what its parents say.
    #[must_use]
    pub fn is_awaiting(&self) -> bool {
        self.awaiting
    }

    /// Whether those that depend on it can't be reached, as far as anybody knows: it fails, even if it does not count
    /// as down yet, or has not yet proved that it is up again.
    #[must_use]
    pub fn blocks(&self) -> bool {
        let incident = self.episode.as_deref().and_then(|episode| episode.incident);
        self.failures > 0 || incident.is_some()
    }

    /// Whether codes are held and interventions forbidden.
    #[must_use]
    pub fn suppressed(&self) -> bool {
        self.marks.has(Mark::Maintenance) || self.marks.has(Mark::Paused) || self.unreachable || self.awaiting
    }

    /// Emits what is true and was not yet emitted in this episode. Called after every change.
    fn show(&mut self, spec: &MonitorSpec, now: Now, effects: &mut Effects) {
        if self.suppressed() || self.unsure {
            return;
        }
        let (failing, degraded, faults) = (self.failures > 0, self.degraded, self.faults);
        let taken = self.marks.has(Mark::Acknowledged);
        let Some(episode) = self.episode.as_deref_mut() else {
            return;
        };
        let mut red = false;
        if let Some(since) = episode.incident {
            if let Repair::Exhausted(why) = episode.repair {
                red |= episode.emit(spec, Color::Red, "down", || why.to_string(), effects);
            } else if !taken
                && now.mono >= since.after(spec.policy.page_after)
                && !episode.has_emitted(Color::Red)
            {
                red |= episode.emit(
                    spec,
                    Color::Red,
                    "page-after",
                    || words::page_after(&spec.policy),
                    effects,
                );
            }
        }
        if red {
            // A second cause does not count from the start: a reminder's number is part of its delivery id.
            let count = episode.red.map_or(0, |(_, count)| count);
            episode.red = Some((now.mono, count));
        } else if let (Some(span), Some((last, count))) = (spec.policy.repeat, episode.red)
            && episode.incident.is_some()
            && !taken
            && now.mono >= last.after(span)
        {
            let count = count.saturating_add(1);
            episode.red = Some((now.mono, count));
            effects.codes.push(Emission {
                cause: format!("reminder-{count}"),
                reminder: true,
                ..episode.emission(spec, Color::Red, "", &words::reminder(count))
            });
        }
        // Whoever hears red needs no yellow for the same report.
        if !red && faults == 0 {
            if failing && !episode.has_emitted(Color::Red) {
                episode.emit(
                    spec,
                    Color::Yellow,
                    "failing",
                    || words::failing(&spec.policy),
                    effects,
                );
            } else if degraded {
                episode.emit(spec, Color::Yellow, "degraded", String::new, effects);
            }
        }
    }
}

impl Episode {
    fn incident(&self, spec: &MonitorSpec) -> Incident {
        let id = format!("{:x}", self.number);
        Incident {
            key: format!("{}/{}/{id}", spec.tenant, spec.name()),
            id,
            opened_at: self.opened_at,
            summary: self.summary.clone(),
            reason: self.reason.clone(),
        }
    }

    fn has_emitted(&self, color: Color) -> bool {
        self.colors.contains(color)
    }

    /// Emits unless this very cause was emitted before. True if it was emitted now.
    fn emit(
        &mut self,
        spec: &MonitorSpec,
        color: Color,
        cause: &str,
        why: impl FnOnce() -> String,
        effects: &mut Effects,
    ) -> bool {
        if self
            .emitted
            .iter()
            .any(|(c, before)| *c == color && before == cause)
        {
            return false;
        }
        self.emitted.push((color, cause.to_owned()));
        self.colors.insert(color);
        let emission = self.emission(spec, color, cause, &why());
        effects.codes.push(emission);
        true
    }

    fn emission(&self, spec: &MonitorSpec, color: Color, cause: &str, why: &str) -> Emission {
        Emission {
            color,
            cause: cause.to_owned(),
            reminder: false,
            title: words::title(spec.name(), color, cause),
            body: words::body(&self.summary, &self.reason, why),
            episode: Some(self.number),
            incident: Some(self.incident(spec)),
        }
    }
}

impl Emission {
    /// The alert as sinks get it: `cause_id` is `episode/color/cause`.
    #[must_use]
    pub fn into_alert(self, spec: &MonitorSpec, happened_at: Wall) -> Arc<super::job::Alert> {
        let episode = match &self.incident {
            Some(incident) => incident.id.clone(),
            None => format!("{}/{}", spec.tenant, spec.name()),
        };
        Arc::new(super::job::Alert {
            incident_key: match &self.incident {
                Some(incident) => incident.key.clone(),
                None => episode.clone(),
            },
            cause_id: format!("{episode}/{}/{}", self.color, self.cause),
            color: self.color,
            title: self.title,
            body: self.body,
            happened_at,
            reminder: self.reminder,
            incident: self.incident,
        })
    }
}

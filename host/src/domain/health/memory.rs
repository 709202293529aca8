//! What of a monitor's [`Health`] outlasts a restart, and how it is put to use again.
//!
//! Times are kept by the wall clock: the monotonic clock of one process means nothing to the next.
//!
//! Architecture invariant: an intervention that may have been under way when the host ended is never done again before
//! pulses have looked, and nothing is said about a monitor that was in trouble before one has.

use super::{Episode, Exhausted, Health, Now, Repair, State};
use crate::domain::{
    color::{Color, ColorSet},
    event::Fact,
    health::{Effects, InterventionEnd},
    spec::MonitorSpec,
    time::Wall,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What is kept of one monitor's health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Memory {
    seen: bool,
    failures: u32,
    successes: u16,
    faults: u16,
    purple: bool,
    degraded: bool,
    maintenance: bool,
    unreachable: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    spent: Vec<Wall>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    episode: Option<Kept>,
}

/// An episode, for its row among all others.
#[derive(Clone, Copy, Debug)]
pub struct Opened<'a> {
    /// Its number.
    pub number: u64,
    /// The first bad report.
    pub opened_at: Wall,
    /// The threshold was reached.
    pub incident_at: Option<Wall>,
    /// The last bad report's line.
    pub summary: &'a str,
    /// The last bad report's reason.
    pub reason: &'a str,
}

/// What is kept of an episode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Kept {
    number: u64,
    opened_at: Wall,
    summary: String,
    reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    incident: Option<Wall>,
    emitted: Vec<(Color, String)>,
    colors: Vec<Color>,
    onsets: u32,
    attempts: u32,
    retries: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    red: Option<(Wall, u32)>,
    repair: KeptRepair,
}

/// Where a repair stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum KeptRepair {
    None,
    Ready {
        not_before: Wall,
        held_since: Option<Wall>,
    },
    /// It is about to start, or has, or has ended without anybody having put that down.
    Running,
    Verifying {
        since: Wall,
        until: Wall,
        failures: u32,
        looked: bool,
    },
    Exhausted(Exhausted),
}

impl Memory {
    /// Whether there is nothing to be remembered: a monitor that starts anew is no different.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.episode.is_none() && self.spent.is_empty() && self.faults == 0 && !self.maintenance
    }

    /// As if the intervention that is wanted had been started now: what is put down before it is.
    #[must_use]
    pub fn with_intent(mut self, now: Wall) -> Self {
        if let Some(episode) = &mut self.episode {
            episode.attempts = episode.attempts.saturating_add(1);
            episode.repair = KeptRepair::Running;
            self.spent.push(now);
        }
        self
    }

    /// The number of the episode that is open, if one is.
    #[must_use]
    pub fn episode(&self) -> Option<u64> {
        self.episode.as_ref().map(|episode| episode.number)
    }

    /// The episode that is open, if one is.
    #[must_use]
    pub fn opened(&self) -> Option<Opened<'_>> {
        self.episode.as_ref().map(|episode| Opened {
            number: episode.number,
            opened_at: episode.opened_at,
            incident_at: episode.incident,
            summary: &episode.summary,
            reason: &episode.reason,
        })
    }

    /// When interventions of this monitor were started within its budget's window: they count for the host's budget too.
    #[must_use]
    pub fn spent(&self) -> &[Wall] {
        &self.spent
    }
}

impl Health {
    /// What is to be kept.
    #[must_use]
    pub fn memory(&self, now: Now) -> Memory {
        Memory {
            seen: self.seen,
            failures: self.failures,
            successes: self.successes,
            faults: self.faults,
            purple: self.purple,
            degraded: self.degraded,
            maintenance: self.maintenance,
            unreachable: self.unreachable,
            spent: self
                .spent
                .iter()
                .flat_map(|spent| spent.iter())
                .filter_map(|at| now.to_wall(*at))
                .collect(),
            episode: self.episode.as_deref().map(|episode| Kept::of(episode, now)),
        }
    }

    /// A monitor as it was when it was put down. What was under way then, nobody knows: `effects` says so, and asks for
    /// a pulse if anything must be looked at before it can be believed.
    #[must_use]
    pub fn recalled(memory: Memory, spec: &MonitorSpec, now: Now, effects: &mut Effects) -> Self {
        let mut health = Self {
            seen: memory.seen,
            failures: memory.failures,
            successes: memory.successes,
            faults: memory.faults,
            purple: memory.purple,
            degraded: memory.degraded,
            maintenance: memory.maintenance,
            unreachable: memory.unreachable,
            awaiting: false,
            unsure: memory.episode.is_some(),
            spent: None,
            episode: None,
            told: State::Unknown,
        };
        let window = spec
            .intervention
            .as_deref()
            .map_or(Duration::ZERO, |repair| repair.budget.per);
        for at in memory.spent.iter().map(|at| now.to_mono(*at)) {
            if now.mono.since(at) < window {
                health.spent.get_or_insert_default().push_back(at);
            }
        }
        effects.recheck |= memory.episode.is_some() || memory.faults > 0;
        health.episode = memory
            .episode
            .map(|kept| Box::new(kept.recalled(spec, now, effects)));
        health
    }
}

impl Kept {
    fn of(episode: &Episode, now: Now) -> Self {
        Self {
            number: episode.number,
            opened_at: episode.opened_at,
            summary: episode.summary.clone(),
            reason: episode.reason.clone(),
            incident: episode.incident.and_then(|at| now.to_wall(at)),
            emitted: episode.emitted.clone(),
            colors: Color::ALL
                .into_iter()
                .filter(|color| episode.colors.contains(*color))
                .collect(),
            onsets: episode.onsets,
            attempts: episode.attempts,
            retries: episode.retries,
            red: episode
                .red
                .and_then(|(at, count)| Some((now.to_wall(at)?, count))),
            repair: KeptRepair::of(episode.repair, now),
        }
    }

    fn recalled(self, spec: &MonitorSpec, now: Now, effects: &mut Effects) -> Episode {
        let incident = self.incident.map(|at| now.to_mono(at));
        Episode {
            number: self.number,
            opened_at: self.opened_at,
            summary: self.summary,
            reason: self.reason,
            incident,
            emitted: self.emitted,
            colors: self.colors.into_iter().collect::<ColorSet>(),
            onsets: self.onsets,
            attempts: self.attempts,
            retries: self.retries,
            red: self.red.map(|(at, count)| (now.to_mono(at), count)),
            repair: self.repair.recalled(self.attempts, spec, now, effects),
        }
    }
}

impl KeptRepair {
    fn of(repair: Repair, now: Now) -> Self {
        match repair {
            Repair::None => Self::None,
            // A wish is no more than that: a fresh failing pulse must bring it back.
            Repair::Ready {
                not_before,
                held_since,
                ..
            } => Self::Ready {
                not_before: now.to_wall(not_before).unwrap_or(now.wall),
                held_since: held_since.and_then(|at| now.to_wall(at)),
            },
            Repair::Wanted { held_since } => Self::Ready {
                not_before: now.wall,
                held_since: held_since.and_then(|at| now.to_wall(at)),
            },
            Repair::Held { since } => Self::Ready {
                not_before: now.wall,
                held_since: now.to_wall(since),
            },
            Repair::Running => Self::Running,
            Repair::Verifying {
                since,
                until,
                failures,
                looked,
            } => Self::Verifying {
                since: now.to_wall(since).unwrap_or(now.wall),
                until: now.to_wall(until).unwrap_or(now.wall),
                failures,
                looked,
            },
            Repair::Exhausted(why) => Self::Exhausted(why),
        }
    }

    fn recalled(self, number: u32, spec: &MonitorSpec, now: Now, effects: &mut Effects) -> Repair {
        match self {
            Self::None => Repair::None,
            Self::Exhausted(why) => Repair::Exhausted(why),
            Self::Ready {
                not_before,
                held_since,
            } => Repair::Ready {
                not_before: now.to_mono(not_before),
                held_since: held_since.map(|at| now.to_mono(at)),
                confirmed: false,
            },
            Self::Running => {
                let Some(settings) = spec.intervention.as_deref() else {
                    return Repair::Exhausted(Exhausted::NotConfigured);
                };
                let why = "pulse-host ended before it was known how it ended".to_owned();
                effects.facts.push(Fact::Intervention {
                    number,
                    of: settings.max_attempts,
                    end: InterventionEnd::Unknown(why),
                });
                Repair::Verifying {
                    since: now.mono,
                    until: now.mono.after(settings.verify_window),
                    failures: 0,
                    looked: false,
                }
            }
            Self::Verifying {
                since,
                until,
                failures,
                looked,
            } => {
                let window = spec
                    .intervention
                    .as_deref()
                    .map_or(Duration::ZERO, |settings| settings.verify_window);
                let until = now.to_mono(until);
                Repair::Verifying {
                    since: now.to_mono(since),
                    // While the host was away nobody could look.
                    until: if until > now.mono {
                        until
                    } else {
                        now.mono.after(window)
                    },
                    failures,
                    looked: looked && until > now.mono,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        health::Episodes,
        outcome::{Report, Status},
        time::Mono,
    };

    fn later(now: Now, seconds: u64) -> Now {
        Now {
            mono: now.mono.after(Duration::from_secs(seconds)),
            wall: Wall(now.wall.0 + seconds * 1000),
        }
    }

    fn report(status: Status) -> Report {
        Report {
            status,
            summary: "s".to_owned(),
            reason: None,
            measurements: Vec::new(),
        }
    }

    const START: Now = Now {
        mono: Mono(1_000_000_000_000),
        wall: Wall(1_700_000_000_000),
    };
    /// Another process: its monotonic clock has nothing to do with the first one's.
    const AGAIN: Now = Now {
        mono: Mono(500_000_000_000),
        wall: Wall(1_700_000_030_000),
    };

    fn down(spec: &MonitorSpec, effects: &mut Effects) -> Health {
        let mut health = Health::default();
        let mut episodes = Episodes::starting_at(START.wall);
        for second in 0..3 {
            let now = later(START, second);
            health.on_report(
                spec,
                &report(Status::Unhealthy),
                now.mono,
                now,
                &mut episodes,
                effects,
            );
        }
        health
    }

    #[test]
    fn what_is_kept_is_what_comes_back() {
        let spec = super::super::tests::spec(3, 3, Some(2));
        let mut effects = Effects::default();
        let health = down(&spec, &mut effects);
        let kept = health.memory(later(START, 3));
        let text = serde_json::to_string(&kept).unwrap();
        let read: Memory = serde_json::from_str(&text).unwrap();
        assert_eq!(read, kept);
        let mut effects = Effects::default();
        let back = Health::recalled(read, &spec, AGAIN, &mut effects);
        assert!(effects.recheck && effects.codes.is_empty());
        assert_eq!(back.state(), health.state());
        assert_eq!(back.incident(&spec), health.incident(&spec));
        let again = back.memory(AGAIN);
        // A wish is kept as what may be wished again.
        assert_eq!(
            again.episode.as_ref().unwrap().incident,
            kept.episode.unwrap().incident
        );
    }

    #[test]
    fn nothing_is_said_before_a_pulse_has_looked() {
        let spec = super::super::tests::spec(3, 1, Some(2));
        let mut effects = Effects::default();
        let kept = down(&spec, &mut effects).memory(later(START, 3));
        let mut effects = Effects::default();
        // An hour later: page-after and every reminder would be due.
        let now = later(AGAIN, 3600);
        let mut back = Health::recalled(kept, &spec, now, &mut effects);
        back.on_time(&spec, now, Duration::from_secs(60), &mut effects);
        assert!(effects.codes.is_empty(), "{:?}", effects.codes);
        assert!(!back.wants_intervention());
        let mut episodes = Episodes::starting_at(now.wall);
        back.on_report(
            &spec,
            &report(Status::Healthy),
            now.mono,
            now,
            &mut episodes,
            &mut effects,
        );
        let colors: Vec<Color> = effects.codes.iter().map(|code| code.color).collect();
        assert_eq!(
            colors,
            [Color::Green],
            "whoever heard of it hears that it is over"
        );
    }

    #[test]
    fn what_was_about_to_be_done_is_looked_at_and_not_done_again() {
        let spec = super::super::tests::spec(3, 3, Some(2));
        let mut effects = Effects::default();
        let health = down(&spec, &mut effects);
        assert!(health.wants_intervention());
        let kept = health.memory(later(START, 3)).with_intent(later(START, 3).wall);
        let mut effects = Effects::default();
        let back = Health::recalled(kept, &spec, AGAIN, &mut effects);
        assert_eq!(back.state(), State::Verifying);
        assert_eq!(back.attempts(), 1);
        assert!(!back.wants_intervention());
        let told = effects.facts.iter().any(|fact| {
            matches!(
                fact,
                Fact::Intervention {
                    number: 1,
                    end: InterventionEnd::Unknown(_),
                    ..
                }
            )
        });
        assert!(told && effects.recheck);
        let budget = spec.intervention.as_ref().unwrap();
        assert_eq!(
            back.spent.as_ref().map(|spent| spent.len()),
            Some(1),
            "{budget:?}"
        );
    }
}

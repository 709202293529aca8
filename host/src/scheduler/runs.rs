//! What executions came to, for whoever looks at a monitor: the last one of those in trouble, and some more of those that
//! somebody looks at right now.
//!
//! Architecture invariant: of a monitor that is well, and that nobody looks at, nothing is kept and nothing is done.

use crate::domain::{
    health::Now,
    job::JobResult,
    outcome::{Answer, Outcome, Report, Usage},
    time::{Mono, Wall, millis},
};
use bevy_ecs::{entity::Entity, resource::Resource};
use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

/// Executions of one monitor that are kept while somebody looks.
const RUNS_MAX: usize = 20;
/// Monitors that are looked at, and monitors in trouble, of which anything is kept. Of more nothing is.
const MONITORS_MAX: usize = 65_536;
/// Who asked once is taken to look that long.
const LOOK: Duration = Duration::from_secs(600);

/// One execution of a check that ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// When it ended.
    pub at: Wall,
    /// How: the class, and the message where it is no answer.
    pub class: &'static str,
    /// One line.
    pub summary: String,
    /// What the plugin reported; none where it did not come to that.
    pub report: Option<Report>,
    /// What it used.
    pub usage: Usage,
    /// How long after it was due it began.
    pub lateness: Duration,
}

#[derive(Default)]
struct Kept {
    /// The last at the end.
    runs: VecDeque<Run>,
    /// Until when somebody is taken to look.
    until: Mono,
}

/// Of all monitors.
#[derive(Resource, Default)]
pub struct Runs(HashMap<Entity, Kept>);

impl Runs {
    /// Somebody looks. False: too many are looked at already.
    pub fn look(&mut self, entity: Entity, now: Mono) -> bool {
        if self.0.len() >= MONITORS_MAX && !self.0.contains_key(&entity) {
            self.0.retain(|_, kept| kept.until > now || !kept.runs.is_empty());
            if self.0.len() >= MONITORS_MAX {
                return false;
            }
        }
        self.0.entry(entity).or_default().until = now.after(LOOK);
        true
    }

    /// The last executions, the latest last.
    pub fn of(&self, entity: Entity) -> impl Iterator<Item = &Run> {
        self.0.get(&entity).into_iter().flat_map(|kept| &kept.runs)
    }

    /// The monitor is gone.
    pub fn forget(&mut self, entity: Entity) {
        self.0.remove(&entity);
    }

    /// One more ended; without a result it was lost. `trouble`: it is kept, even if nobody looks. Whether somebody does.
    pub fn note(&mut self, entity: Entity, result: Option<&JobResult>, trouble: bool, now: Now) -> bool {
        let full = self.0.len() >= MONITORS_MAX;
        let kept = match self.0.get_mut(&entity) {
            Some(kept) => kept,
            None if trouble && !full => self.0.entry(entity).or_default(),
            None => return false,
        };
        let looked = kept.until > now.mono;
        if !looked && !trouble {
            self.0.remove(&entity);
            return false;
        }
        let most = if looked { RUNS_MAX } else { 1 };
        while kept.runs.len() >= most {
            kept.runs.pop_front();
        }
        kept.runs.push_back(Run::of(result, now));
        looked
    }
}

impl Run {
    fn of(result: Option<&JobResult>, now: Now) -> Self {
        let Some(result) = result else {
            return Self {
                at: now.wall,
                class: "lost",
                summary: "the execution never came back".to_owned(),
                report: None,
                usage: Usage::default(),
                lateness: Duration::ZERO,
            };
        };
        let ago = now.mono.since(result.finished);
        Self {
            at: Wall(now.wall.0.saturating_sub(millis(ago))),
            class: result.outcome.class(),
            summary: result.outcome.to_string(),
            report: match &result.outcome {
                Outcome::Answer(Answer::Pulse(report)) => Some(report.clone()),
                _ => None,
            },
            usage: result.usage,
            lateness: result.started.since(result.due),
        }
    }
}

//! Jobs: what travels from the scheduler to a worker, and what comes back.

use super::{
    color::Color,
    outcome::{Outcome, Usage},
    spec::{Assignment, Kind, MonitorSpec},
    time::{Mono, Wall},
};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, sync::Arc};

/// A monitor as the scheduler knows it; opaque to everybody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MonitorId(pub u64);

/// Identifies one attempt of one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JobKey {
    /// Whose job it is.
    pub monitor: MonitorId,
    /// Which kind of lane.
    pub kind: Kind,
    /// Which of the monitor's sinks; 0 for pulses and interventions.
    pub sink: u16,
    /// Raised by every dispatch, reload, pause and recovery: a result of an older attempt is stale.
    pub attempt: u32,
}

/// One execution to be done.
#[derive(Clone, Debug)]
pub struct Job {
    /// Which attempt of which lane.
    pub key: JobKey,
    /// When the job fell due.
    pub due: Mono,
    /// The same in wall-clock time, for the plugin.
    pub due_wall: Wall,
    /// A job that has not started by then comes back as [`Outcome::Expired`], unrun.
    pub expires: Mono,
    /// When the scheduler sent it.
    pub sent: Mono,
    /// The monitor.
    pub spec: MonitorSpec,
    /// What the kind needs beside the monitor.
    pub payload: Payload,
    /// If it fails, somebody will want to know what it did.
    pub trace: bool,
}

impl Job {
    /// A check by itself, which no scheduler waits for: due now, and it never expires.
    #[must_use]
    pub fn alone(spec: MonitorSpec, now: Mono, now_wall: Wall) -> Self {
        Self {
            key: JobKey {
                monitor: MonitorId(0),
                kind: Kind::Pulse,
                sink: 0,
                attempt: 1,
            },
            due: now,
            due_wall: now_wall,
            expires: Mono::NEVER,
            sent: now,
            spec,
            payload: Payload::Pulse,
            trace: false,
        }
    }

    /// What this job runs. None if the monitor has no such lane, which no job of the scheduler's ever shows.
    #[must_use]
    pub fn assignment(&self) -> Option<Assignment<'_>> {
        self.spec.assignment(self.key.kind, self.key.sink)
    }

    /// The settings as the plugin gets them: with the values of secrets in the place of their names.
    #[must_use]
    pub fn settings(&self) -> Cow<'_, str> {
        let settings = self.assignment().map_or("{}", |lane| lane.settings);
        self.spec.tenant.secrets.fill_json(settings)
    }
}

/// What the kinds of job need beside the monitor.
#[derive(Clone, Debug)]
pub enum Payload {
    /// A check needs nothing.
    Pulse,
    /// A repair.
    Intervention(Box<Order>),
    /// An alert.
    Code(Arc<Alert>),
}

/// What a repair is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The incident.
    pub incident: Incident,
    /// The same for every delivery of this very attempt.
    pub idempotency_key: String,
}

/// An incident, or the episode that may become one, as plugins see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// Unique for ever within this host.
    pub id: String,
    /// `tenant/monitor/episode`.
    pub key: String,
    /// The first bad report.
    pub opened_at: Wall,
    /// The last bad report's summary.
    pub summary: String,
    /// The last bad report's reason; empty when it gave none.
    pub reason: String,
}

/// One alert, before it is addressed to a sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// What happened.
    pub color: Color,
    /// One line for people.
    pub title: String,
    /// More lines for people.
    pub body: String,
    /// When it happened.
    pub happened_at: Wall,
    /// Whether it repeats an earlier alert.
    pub reminder: bool,
    /// The episode it belongs to.
    pub incident: Option<Incident>,
    /// What receivers group by.
    pub incident_key: String,
    /// `episode/color/cause`; the delivery id is this and the sink's name.
    pub cause_id: String,
}

impl Alert {
    /// `episode/color/cause/sink`: the same for every repeat of this alert to that sink.
    #[must_use]
    pub fn delivery_id(&self, sink: &str) -> String {
        format!("{}/{sink}", self.cause_id)
    }
}

/// What comes back from a worker: exactly one for each job that was not lost.
#[derive(Clone, Debug)]
pub struct JobResult {
    /// Which attempt of which lane.
    pub key: JobKey,
    /// How it ended.
    pub outcome: Outcome,
    /// What it used.
    pub usage: Usage,
    /// When the job fell due.
    pub due: Mono,
    /// When the scheduler sent it.
    pub sent: Mono,
    /// When a worker took it in hand.
    pub started: Mono,
    /// When it ended.
    pub finished: Mono,
}

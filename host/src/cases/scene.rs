//! What one execution is given: a monitor, an attempt, and what its kind needs beside that.
//!
//! The defaults are those of the SDK's test harness, so that a case says only what matters to it.

use crate::domain::{
    color::{Color, ColorSet},
    grant::Grants,
    job::{Alert, Incident, Job, JobKey, MonitorId, Order, Payload},
    limits::Limits,
    plugin::Facts,
    secret::Secrets,
    spec::{Budget, Check, Class, InterventionSpec, Kind, Lane, MonitorSpec, Policy, Profile, Sink},
    tenant::{Quotas, Tenant},
    time::{Mono, Wall},
};
use std::{sync::Arc, time::Duration};

/// When an attempt falls due: 2026-11-24T06:40:00Z.
const SCHEDULED_AT: Wall = Wall(1_795_502_400_000);
/// An incident was opened a minute before.
const OPENED_BEFORE_MS: u64 = 60_000;
const EPISODE: &str = "01jdf0";

/// What one execution is given.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Which export is called.
    pub kind: Kind,
    /// A JSON object.
    pub settings: String,
    /// The monitor's name.
    pub monitor: String,
    /// The tenant's.
    pub tenant: String,
    /// Sorted by name.
    pub labels: Vec<(String, String)>,
    /// Which attempt it is.
    pub attempt: u32,
    /// What the execution may take.
    pub timeout: Duration,
    /// When it fell due.
    pub scheduled_at: Wall,
    /// The incident, or the episode that may become one.
    pub incident: Option<Incident>,
    /// Of an intervention.
    pub idempotency_key: String,
    /// Of a code.
    pub code: Code,
    /// Caps of the execution.
    pub limits: Limits,
    /// What it may reach.
    pub grants: Grants,
    /// What nothing that is written of it may show.
    pub secrets: Arc<Secrets>,
    /// Jobs that one instance may do, where several are run.
    pub reuse: u32,
}

/// What an alert says.
#[derive(Clone, Debug)]
pub struct Code {
    /// What happened.
    pub color: Color,
    /// One line.
    pub title: String,
    /// More lines.
    pub body: String,
    /// When it happened.
    pub happened_at: Wall,
    /// Whether it repeats an earlier alert.
    pub reminder: bool,
    /// What receivers group by.
    pub incident_key: String,
    /// The same for every repeat.
    pub delivery_id: String,
}

impl Scene {
    /// The first attempt of the monitor `shop`, with 5 s to go.
    #[must_use]
    pub fn new(kind: Kind, settings: String) -> Self {
        let incident = incident();
        Self {
            kind,
            settings,
            monitor: "shop".to_owned(),
            tenant: "default".to_owned(),
            labels: vec![("team".to_owned(), "core".to_owned())],
            attempt: 1,
            timeout: Duration::from_secs(5),
            scheduled_at: SCHEDULED_AT,
            idempotency_key: format!("{EPISODE}/1"),
            code: Code {
                color: Color::Red,
                title: "shop is red".to_owned(),
                body: "HTTP 503, expected 2xx\nfor 1 minute".to_owned(),
                happened_at: SCHEDULED_AT,
                reminder: false,
                incident_key: incident.key.clone(),
                delivery_id: format!("{EPISODE}/red/1/alerts"),
            },
            incident: Some(incident),
            limits: Limits::default(),
            grants: Grants::default(),
            secrets: Arc::default(),
            reuse: 0,
        }
    }

    /// What that job was given; none if it has no lane.
    #[must_use]
    pub fn of(job: &Job) -> Option<Self> {
        let lane = job.assignment()?;
        let tenant = &job.spec.tenant;
        let mut scene = Self {
            monitor: job.spec.name().to_owned(),
            tenant: tenant.name.to_string(),
            labels: job
                .spec
                .labels
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
            attempt: job.key.attempt,
            timeout: lane.timeout,
            scheduled_at: job.due_wall,
            limits: lane.profile.limits,
            grants: (*lane.profile.grants).clone(),
            secrets: Arc::clone(&tenant.secrets),
            ..Self::new(job.key.kind, job.settings().into_owned())
        };
        match &job.payload {
            Payload::Pulse => {}
            Payload::Intervention(order) => {
                scene.incident = Some(order.incident.clone());
                scene.idempotency_key.clone_from(&order.idempotency_key);
            }
            Payload::Code(alert) => {
                let sink = job.spec.sinks.get(usize::from(job.key.sink));
                scene.incident.clone_from(&alert.incident);
                scene.code = Code {
                    color: alert.color,
                    title: alert.title.clone(),
                    body: alert.body.clone(),
                    happened_at: alert.happened_at,
                    reminder: alert.reminder,
                    incident_key: alert.incident_key.clone(),
                    delivery_id: alert.delivery_id(sink.map_or("", |sink| &*sink.name)),
                };
            }
        }
        Some(scene)
    }

    /// The job that it makes of that plugin, due now.
    #[must_use]
    pub fn job(&self, facts: &Facts, now: Mono) -> Job {
        let profile = Arc::new(Profile {
            plugin: Arc::clone(&facts.name),
            digest: Arc::clone(&facts.digest),
            limits: self.limits,
            grants: Arc::new(self.grants.clone()),
            reuse: self.reuse,
        });
        let lane = || Lane {
            profile: Arc::clone(&profile),
            settings: self.settings.as_str().into(),
            timeout: self.timeout,
        };
        let (cause, sink) = self
            .code
            .delivery_id
            .rsplit_once('/')
            .unwrap_or((&self.code.delivery_id, ""));
        let class = Class {
            tenant: Arc::new(Tenant {
                secrets: Arc::clone(&self.secrets),
                ..Tenant::new(&self.tenant, Quotas::default())
            }),
            labels: self
                .labels
                .iter()
                .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
                .collect(),
            policy: policy(),
            pulse: (self.kind == Kind::Pulse).then(|| Check {
                profile: Arc::clone(&profile),
                timeout: self.timeout,
                settings: self.settings.as_str().into(),
            }),
            intervention: (self.kind == Kind::Intervention).then(|| Arc::new(repair(lane()))),
            sinks: match self.kind {
                Kind::Code => Arc::new([Arc::new(Sink {
                    name: sink.into(),
                    lane: lane(),
                    colors: ColorSet::default(),
                    max_age: Duration::MAX,
                })]),
                _ => Arc::new([]),
            },
            parents: Arc::new([]),
        };
        let payload = match self.kind {
            Kind::Pulse => Payload::Pulse,
            Kind::Intervention => Payload::Intervention(Box::new(Order {
                incident: self.incident.clone().unwrap_or_else(incident),
                idempotency_key: self.idempotency_key.clone(),
            })),
            Kind::Code => Payload::Code(Arc::new(Alert {
                color: self.code.color,
                title: self.code.title.clone(),
                body: self.code.body.clone(),
                happened_at: self.code.happened_at,
                reminder: self.code.reminder,
                incident: self.incident.clone(),
                incident_key: self.code.incident_key.clone(),
                cause_id: cause.to_owned(),
            })),
        };
        Job {
            key: JobKey {
                monitor: MonitorId(0),
                kind: self.kind,
                sink: 0,
                attempt: self.attempt,
            },
            due: now,
            due_wall: self.scheduled_at,
            expires: Mono::NEVER,
            sent: now,
            spec: MonitorSpec::new(Arc::new(class), None, &self.monitor, None),
            payload,
            trace: false,
        }
    }
}

/// An incident of `shop`, opened a minute before it falls due again.
#[must_use]
pub fn incident() -> Incident {
    Incident {
        id: EPISODE.to_owned(),
        key: format!("default/shop/{EPISODE}"),
        opened_at: Wall(SCHEDULED_AT.0 - OPENED_BEFORE_MS),
        summary: "HTTP 503, expected 2xx".to_owned(),
        reason: "unexpected-status".to_owned(),
    }
}

/// Nobody schedules it.
fn policy() -> Policy {
    Policy {
        interval: Duration::from_secs(30),
        retry_interval: Duration::from_secs(10),
        failure_threshold: 1,
        success_threshold: 1,
        page_after: Duration::from_secs(300),
        repeat: None,
        fault_threshold: 1,
    }
}

fn repair(lane: Lane) -> InterventionSpec {
    InterventionSpec {
        lane,
        max_attempts: 1,
        cooldown: Duration::ZERO,
        verify_window: Duration::ZERO,
        budget: Budget {
            attempts: 1,
            per: Duration::from_secs(1),
        },
    }
}

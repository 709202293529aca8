//! What an operator configured, ready to run: immutable, validated, shared by `Arc`.

use super::{
    color::{Color, ColorSet},
    grant::Grants,
    limits::Limits,
};
use std::{sync::Arc, time::Duration};

/// The three kinds of job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Is the target alive?
    Pulse,
    /// Can we repair it?
    Intervention,
    /// Who must be told?
    Code,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Pulse, Self::Intervention, Self::Code];

    /// The kind's name as it stands in configuration, manifests, logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pulse => "pulse",
            Self::Intervention => "intervention",
            Self::Code => "code",
        }
    }

    /// The kind of that name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// Who a job acts for.
#[derive(Debug, PartialEq, Eq)]
pub struct Subject {
    /// The monitor's name, unique within its tenant.
    pub monitor: Arc<str>,
    /// The tenant; `default` where none is configured.
    pub tenant: Arc<str>,
    /// Sorted by name, without duplicates; shared by monitors with the same labels.
    pub labels: Arc<[(Arc<str>, Arc<str>)]>,
}

/// Which plugin runs a lane's jobs, and within which bounds. Monitors with the same bounds share one.
#[derive(Debug, PartialEq, Eq)]
pub struct Profile {
    /// The plugin's name, as in `[plugins.NAME]` and in its manifest.
    pub plugin: Arc<str>,
    /// Caps of one execution, within the operator's maxima.
    pub limits: Limits,
    /// What the plugin may reach.
    pub grants: Arc<Grants>,
    /// At most that many jobs per instance; 0 and 1 both mean a fresh instance for each job.
    pub reuse: u32,
}

/// One lane: a plugin with settings and a timeout.
#[derive(Debug, PartialEq, Eq)]
pub struct Lane {
    /// Plugin and bounds.
    pub profile: Arc<Profile>,
    /// A JSON object that satisfies the plugin's schema.
    pub settings: Arc<str>,
    /// Wall time of one job, from its start.
    pub timeout: Duration,
}

/// At most `attempts` within any window of length `per`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// At least 1.
    pub attempts: u32,
    /// Length of the sliding window.
    pub per: Duration,
}

/// How a monitor is repaired.
#[derive(Debug, PartialEq, Eq)]
pub struct InterventionSpec {
    /// Plugin, settings, timeout.
    pub lane: Lane,
    /// Attempts per incident; at least 1.
    pub max_attempts: u32,
    /// Least time between the end of one attempt and the start of the next; retries back off from here.
    pub cooldown: Duration,
    /// How long pulses may take to prove that an intervention helped.
    pub verify_window: Duration,
    /// Attempts per time window, over all incidents of the monitor.
    pub budget: Budget,
}

/// Where codes go: a notifier, as one monitor uses it. Monitors share it.
#[derive(Debug, PartialEq, Eq)]
pub struct Sink {
    /// The notifier's name, as in `[notifiers.NAME]`.
    pub name: Arc<str>,
    /// Plugin, settings, timeout.
    pub lane: Lane,
    /// Which colors it wants.
    pub colors: ColorSet,
    /// A code that could not be delivered for that long is recorded as undeliverable.
    pub max_age: Duration,
}

impl Sink {
    /// Whether the sink wants this color.
    #[must_use]
    pub fn wants(&self, color: Color) -> bool {
        self.colors.contains(color)
    }
}

/// How a monitor behaves over time. Monitors with the same values share one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    /// Time between two pulses of a healthy monitor.
    pub interval: Duration,
    /// Replaces `interval` while the monitor fails, as far as the host's retry budget goes.
    pub retry_interval: Duration,
    /// Failures in a row that make an incident; at least 1.
    pub failure_threshold: u32,
    /// Healthy pulses in a row that close an incident; at least 1.
    pub success_threshold: u32,
    /// From the incident's start: red is sent although repairs go on.
    pub page_after: Duration,
    /// Reminders while red; none: no reminders.
    pub repeat: Option<Duration>,
    /// Faults in a row that emit purple; at least 1.
    pub fault_threshold: u32,
}

/// One monitor, ready to be scheduled.
#[derive(Debug, PartialEq, Eq)]
pub struct MonitorSpec {
    /// Name, tenant, labels.
    pub subject: Subject,
    /// Behaviour over time.
    pub policy: Arc<Policy>,
    /// The check. None only for the host's own entry, whose sinks hear that the prober is in trouble.
    pub pulse: Option<Lane>,
    /// The repair.
    pub intervention: Option<Arc<InterventionSpec>>,
    /// Who is told; the index is the sink's number in [`super::job::JobKey`].
    pub sinks: Arc<[Arc<Sink>]>,
}

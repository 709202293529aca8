//! How the host itself is tuned: `[host]`, validated.

use super::{
    access::HttpSettings,
    limits::Limits,
    selector::Selector,
    spec::{Budget, Kind},
};
use std::{num::NonZeroUsize, path::PathBuf, sync::Arc, time::Duration};

/// One value for each kind of job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerKind<T> {
    /// Of pulses.
    pub pulse: T,
    /// Of interventions.
    pub intervention: T,
    /// Of codes.
    pub code: T,
}

impl<T> PerKind<T> {
    /// Makes one value for each kind.
    pub fn from_fn(mut make: impl FnMut(Kind) -> T) -> Self {
        Self {
            pulse: make(Kind::Pulse),
            intervention: make(Kind::Intervention),
            code: make(Kind::Code),
        }
    }

    /// The value of that kind.
    pub fn get(&self, kind: Kind) -> &T {
        match kind {
            Kind::Pulse => &self.pulse,
            Kind::Intervention => &self.intervention,
            Kind::Code => &self.code,
        }
    }

    /// The value of that kind.
    pub fn get_mut(&mut self, kind: Kind) -> &mut T {
        match kind {
            Kind::Pulse => &mut self.pulse,
            Kind::Intervention => &mut self.intervention,
            Kind::Code => &mut self.code,
        }
    }
}

/// `queues.KIND`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// Jobs that may wait in the channel; about 50 ms of drain.
    pub capacity: usize,
    /// Least number of jobs in a batch, as long as that many are due.
    pub batch_min: usize,
    /// Greatest number of jobs in a batch.
    pub batch_max: usize,
    /// Jobs of this kind that may run at the same time, over all workers.
    pub in_flight: usize,
}

/// `retry-budget`: how far checks in `retry-interval` may go beyond those in `interval`, host-wide.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryBudget {
    /// Retries per regular pulse, 0 to 1.
    pub ratio: f64,
    /// Retries per second that are always allowed.
    pub min_per_second: f64,
}

/// `quarantine`: when a plugin that is sick itself is no longer run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuarantineSettings {
    /// Executions of the last so much time are looked at.
    pub window: Duration,
    /// That share of them must have been faults of the plugin, above 0 and at most 1.
    pub ratio: f64,
    /// And at least so many; at least 1.
    pub faults_min: u32,
    /// After that time it is tried again; each time that it is still sick doubles the pause.
    pub pause_first: Duration,
    /// At most.
    pub pause_longest: Duration,
    /// Where it is quarantined in so many tenants, and well in none, it is sick wherever it shows the first signs;
    /// at least 2.
    pub tenants: u32,
}

/// `correlated-failure`: when so much fails at once that this host is the likely cause.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CorrelatedSettings {
    /// Monitors that turned from health to failure in the last so much time are looked at.
    pub window: Duration,
    /// That share of those which were healthy before must have failed, at least half and at most 1.
    pub ratio: f64,
    /// And at least so many; at least 2.
    pub monitors_min: u32,
    /// Interventions are paused for that long at most.
    pub longest: Duration,
}

/// `compiler`: what compiling one component may take, and how much of what was compiled is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompilerSettings {
    /// Address space of the process that compiles.
    pub memory_bytes: u64,
    /// Its CPU time, in whole seconds.
    pub cpu: Duration,
    /// How long it may take in all.
    pub timeout: Duration,
    /// Its threads.
    pub threads: u32,
    /// Greatest size of a component.
    pub component_bytes: u64,
    /// Of all compiled components together, and so of each.
    pub cache_bytes: u64,
    /// What was not used for that long is removed.
    pub cache_age: Duration,
}

impl Default for CompilerSettings {
    fn default() -> Self {
        Self {
            memory_bytes: 4 << 30,
            cpu: Duration::from_secs(300),
            timeout: Duration::from_secs(600),
            threads: 2,
            component_bytes: 64 << 20,
            cache_bytes: 2 << 30,
            cache_age: Duration::from_secs(30 * 86_400),
        }
    }
}

/// What all plugins share, and there is little of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scarcities {
    /// `command-slots`: declared commands that may run at the same time; at least 1.
    pub command_slots: usize,
    /// `echo-rate`: echo requests in a second; at least 1.
    pub echo_rate: u64,
}

impl Default for Scarcities {
    fn default() -> Self {
        Self {
            command_slots: 16,
            echo_rate: 5_000,
        }
    }
}

/// `lock`: what a plugin that is in the lock may become without anybody's accepting it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LockPolicy {
    /// Nothing else than it is.
    #[default]
    Exact,
    /// Whatever stays within what it had asked for and been granted.
    WithinGrants,
}

impl LockPolicy {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Exact, Self::WithinGrants];

    /// Its name as it stands in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::WithinGrants => "within-grants",
        }
    }
}

/// What is put on record, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// Off: nothing is, and a restart forgets every incident, every alert that was not delivered, and every budget.
    pub enabled: bool,
    /// Episodes and events are kept that long after their end.
    pub incidents: Duration,
    /// Checks summed up by five minutes; zero: they are not.
    pub history_fine: Duration,
    /// By the hour.
    pub history_hour: Duration,
    /// By the day.
    pub history_day: Duration,
}

impl Default for StoreSettings {
    fn default() -> Self {
        let days = |count: u64| Duration::from_secs(count * 86_400);
        Self {
            enabled: true,
            incidents: days(400),
            history_fine: days(2),
            history_hour: days(31),
            history_day: days(400),
        }
    }
}

/// `[host]`, validated.
#[derive(Clone, Debug, PartialEq)]
pub struct HostSettings {
    /// The scheduler runs at least that often. 1 ms to 1 s.
    pub tick: Duration,
    /// Where compiled components and the store are kept.
    pub data_dir: PathBuf,
    /// What is put on record.
    pub store: StoreSettings,
    /// Of which monitors quantiles are kept beside the sums of their checks; none: of nobody.
    pub quantiles: Option<Selector>,
    /// What compiling may take.
    pub compiler: CompilerSettings,
    /// How strictly `plugins.lock` is kept.
    pub lock: LockPolicy,
    /// What all plugins share, and there is little of.
    pub scarce: Scarcities,
    /// Worker threads; none: one for each core.
    pub workers: Option<NonZeroUsize>,
    /// Greatest caps that a plugin or monitor may be given.
    pub maxima: Limits,
    /// Greatest timeout that a lane may be given.
    pub max_timeout: Duration,
    /// Per kind.
    pub queues: PerKind<QueueSettings>,
    /// Jobs of each kind that may run at the same time, where the operator has said so. Otherwise the machine decides.
    pub wished: PerKind<Option<usize>>,
    /// How long a job may wait in its channel before it comes back as expired.
    pub queue_wait: Duration,
    /// After that time beyond `queue_wait` and the timeout, a job that has not come back counts as lost.
    pub grace: Duration,
    /// How long running jobs may go on when the host stops.
    pub drain: Duration,
    /// Host-wide retry budget.
    pub retry_budget: RetryBudget,
    /// Interventions of all monitors together.
    pub interventions: Budget,
    /// How long an intervention may be held back before the monitor turns red.
    pub max_hold: Duration,
    /// None: plugins are never quarantined.
    pub quarantine: Option<QuarantineSettings>,
    /// None: interventions are not paused, however much fails at once.
    pub correlated: Option<CorrelatedSettings>,
    /// API and metrics.
    pub http: HttpSettings,
    /// Whom the host tells that it is well; none: nobody.
    pub heartbeat: Option<Heartbeat>,
    /// Who collects spans; none: nobody.
    pub otlp: Option<Otlp>,
}

/// A collector of traces.
#[derive(Clone, PartialEq)]
pub struct Otlp {
    /// Where it takes spans.
    pub url: Arc<str>,
    /// What every request says, by name. Values may be secrets, so that nothing shows them.
    pub headers: Vec<(Arc<str>, Arc<str>)>,
    /// Share of the checks that found their target healthy, 0 to 1. All others are told always.
    pub sample: f64,
}

impl std::fmt::Debug for Otlp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Otlp")
            .field("sample", &self.sample)
            .finish_non_exhaustive()
    }
}

/// An outside dead man's switch.
#[derive(Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// What is asked with GET. Whoever knows it can send heartbeats, so that nothing shows it.
    pub url: Arc<str>,
    /// How often.
    pub every: Duration,
}

impl std::fmt::Debug for Heartbeat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Heartbeat")
            .field("every", &self.every)
            .finish_non_exhaustive()
    }
}

impl HostSettings {
    /// The defaults; only the data directory depends on the environment.
    #[must_use]
    pub fn new(data_dir: PathBuf) -> Self {
        Self {
            tick: Duration::from_millis(10),
            data_dir,
            store: StoreSettings::default(),
            quantiles: None,
            compiler: CompilerSettings::default(),
            lock: LockPolicy::default(),
            scarce: Scarcities::default(),
            workers: None,
            maxima: Limits {
                fuel: 1_000_000_000,
                cpu: Duration::from_secs(2),
                memory_bytes: 64 << 20,
            },
            max_timeout: Duration::from_secs(120),
            queues: PerKind::from_fn(|kind| QueueSettings {
                capacity: 512,
                batch_min: 1,
                batch_max: 64,
                in_flight: if kind == Kind::Pulse { 1024 } else { 128 },
            }),
            wished: PerKind::default(),
            queue_wait: Duration::from_secs(1),
            grace: Duration::from_secs(1),
            drain: Duration::from_secs(10),
            retry_budget: RetryBudget {
                ratio: 0.2,
                min_per_second: 10.0,
            },
            interventions: Budget {
                attempts: 60,
                per: Duration::from_secs(600),
            },
            max_hold: Duration::from_secs(300),
            quarantine: Some(QuarantineSettings::default()),
            correlated: Some(CorrelatedSettings::default()),
            http: HttpSettings::default(),
            heartbeat: None,
            otlp: None,
        }
    }
}

impl Default for QuarantineSettings {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(60),
            ratio: 0.5,
            faults_min: 10,
            pause_first: Duration::from_secs(30),
            pause_longest: Duration::from_secs(600),
            tenants: 2,
        }
    }
}

impl Default for CorrelatedSettings {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(60),
            ratio: 0.7,
            monitors_min: 10,
            longest: Duration::from_secs(1800),
        }
    }
}

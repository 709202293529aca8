//! What the scheduler publishes: facts about monitors, for the log, and later for storage and the API.

use super::{
    board::Mark,
    health::{Exhausted, Hold, InterventionEnd, State},
    job::{Alert, Incident, MonitorId},
    spec::{Kind, MonitorSpec},
    time::Wall,
};
use std::{sync::Arc, time::Duration};

/// One fact about one monitor.
#[derive(Clone, Debug)]
pub struct Event {
    /// When the scheduler learned it.
    pub at: Wall,
    /// Whose.
    pub monitor: MonitorId,
    /// Its configuration, name included.
    pub spec: MonitorSpec,
    /// What.
    pub fact: Fact,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// The state changed.
    State {
        /// From.
        from: State,
        /// To.
        to: State,
        /// The report's or fault's one line.
        summary: String,
    },
    /// A pulse could not say how the target is.
    Fault {
        /// The outcome's class.
        class: &'static str,
        /// One line.
        message: String,
    },
    /// A pulse was not run, because its plugin is quarantined.
    Withheld {
        /// Whether the tenant's own executions are the reason: then nobody knows how the target is. If not, nothing is
        /// known to be wrong, and only room for probes is wanting.
        fault: bool,
    },
    /// The first bad report.
    Opened {
        /// The episode.
        incident: Incident,
    },
    /// The threshold was reached.
    Incident {
        /// The episode.
        incident: Incident,
        /// Failures in a row.
        failures: u32,
    },
    /// The episode is over.
    Closed {
        /// Its id.
        id: String,
        /// How long it lasted by the wall clock.
        lasted_ms: u64,
    },
    /// An intervention was handed to a worker.
    Intervening {
        /// Its number within the incident.
        number: u32,
        /// At most that many.
        of: u32,
        /// The plugin.
        plugin: Arc<str>,
    },
    /// An intervention ended.
    Intervention {
        /// Its number within the incident.
        number: u32,
        /// At most that many.
        of: u32,
        /// How.
        end: InterventionEnd,
    },
    /// The repair is held back.
    Held {
        /// Why.
        why: Hold,
    },
    /// No repair is left.
    Exhausted(Exhausted),
    /// The prober has been in trouble for a while.
    Purple {
        /// Faults in a row.
        faults: u32,
        /// The last one's line.
        message: String,
    },
    /// A code was taken.
    Delivered {
        /// The notifier.
        sink: Arc<str>,
        /// The code.
        alert: Arc<Alert>,
        /// What the receiver said.
        summary: String,
    },
    /// A code was not taken and will be sent again.
    Retrying {
        /// The notifier.
        sink: Arc<str>,
        /// The code.
        alert: Arc<Alert>,
        /// Why.
        message: String,
        /// In how many milliseconds.
        in_ms: u64,
    },
    /// A code will never be delivered.
    Undeliverable {
        /// The notifier.
        sink: Arc<str>,
        /// The code.
        alert: Arc<Alert>,
        /// Why.
        message: String,
    },
    /// An operator said something of it, or took it back.
    Marked {
        /// What it is from now on, or is no more.
        mark: Mark,
        /// See `mark`.
        on: bool,
        /// Who said so, and why; empty: nobody told.
        why: Arc<str>,
    },
    /// An execution never came back.
    Lost {
        /// Its kind.
        kind: Kind,
    },
    /// Of the host: a plugin is in too much trouble to be run.
    Quarantined {
        /// Its name.
        plugin: Arc<str>,
        /// Its component's digest.
        digest: Arc<str>,
        /// Whose executions are meant; none: those of all tenants.
        tenant: Option<Arc<str>>,
        /// Faults within the window.
        faults: u32,
        /// Of so many executions.
        of: u32,
        /// The last fault's line.
        message: Arc<str>,
        /// After that time it is tried again.
        pause: Duration,
    },
    /// Of the host: the plugin is run again.
    Readmitted {
        /// Its name.
        plugin: Arc<str>,
        /// Its component's digest.
        digest: Arc<str>,
        /// Whose executions were meant; none: those of all tenants.
        tenant: Option<Arc<str>>,
        /// Monitors that are checked again now.
        held: usize,
    },
    /// Of the host: most monitors fail at once, and interventions pause.
    RepairsPaused {
        /// Whose monitors; none: those of most tenants.
        tenant: Option<Arc<str>>,
        /// Monitors that failed just now.
        failed: u64,
        /// Of so many that were alive.
        of: u64,
    },
    /// Of the host: interventions go on.
    RepairsResume {
        /// Whose; none: those of all tenants.
        tenant: Option<Arc<str>>,
        /// Monitors that still fail.
        failing: u64,
        /// How long they paused.
        lasted: Duration,
        /// They go on for no other reason than that.
        too_long: bool,
    },
    /// Of the host: nothing can be put on record.
    Unrecorded {
        /// Why.
        message: Arc<str>,
    },
    /// Of the host: everything is put on record again.
    RecordedAgain {
        /// Facts and figures that are not, since the start.
        dropped: u64,
    },
    /// A result came after its job was given up as lost.
    Late {
        /// Its kind.
        kind: Kind,
        /// Its outcome's class.
        class: &'static str,
    },
}

//! Checks.

use crate::{Attempt, Fault, JsonSchema, Measurement, Subject, net};
use serde::de::DeserializeOwned;
use std::rc::Rc;

pub use crate::bindings::pulse::exports::pulse::plugin::pulse::{Report, Status};

/// Is the target alive?
///
/// ```
/// use pulse_plugin_sdk::{Fault, Pulse, PulseJob, Report, tcp};
///
/// struct Listens;
///
/// impl Pulse for Listens {
///     type Settings = u16; // the port
///
///     fn run(job: PulseJob<u16>) -> Result<Report, Fault> {
///         match tcp::Request::to("shop.example", *job.settings).timeout(job.attempt.budget()).run() {
///             Ok(answer) => Ok(Report::healthy(format!("{} listens", answer.peer))),
///             Err(error) => Report::from_error(&error),
///         }
///     }
/// }
/// ```
pub trait Pulse {
    /// The settings of this plugin's jobs.
    type Settings: DeserializeOwned + JsonSchema + 'static;

    /// Checks the target once.
    ///
    /// # Errors
    /// Only where the plugin itself is in trouble: a fault never counts as a failure of the target.
    fn run(job: PulseJob<Self::Settings>) -> Result<Report, Fault>;
}

/// One check.
///
/// ```
/// let job = pulse_plugin_sdk::testing::pulse_job("https://shop.example/");
/// assert_eq!((job.subject.monitor.as_str(), job.attempt.number), ("shop", 1));
/// ```
#[derive(Clone, Debug)]
pub struct PulseJob<S> {
    /// For whom.
    pub subject: Subject,
    /// Which attempt, and how long it may take.
    pub attempt: Attempt,
    /// The settings, read once for as long as the instance lives.
    pub settings: Rc<S>,
}

impl Report {
    /// All is well.
    ///
    /// ```
    /// assert_eq!(pulse_plugin_sdk::Report::healthy("it answers").reason, None);
    /// ```
    pub fn healthy(summary: impl Into<String>) -> Self {
        Self {
            status: Status::Healthy,
            summary: summary.into(),
            reason: None,
            measurements: Vec::new(),
        }
    }

    /// Alive, but not as it should be. The reason is a word in kebab case.
    ///
    /// ```
    /// let report = pulse_plugin_sdk::Report::degraded("slow", "it takes 3 s to answer");
    /// assert_eq!(report.reason.as_deref(), Some("slow"));
    /// ```
    pub fn degraded(reason: impl Into<String>, summary: impl Into<String>) -> Self {
        Self {
            status: Status::Degraded,
            reason: Some(reason.into()),
            ..Self::healthy(summary)
        }
    }

    /// Down, or answering wrongly. The reason is a word in kebab case.
    ///
    /// ```
    /// use pulse_plugin_sdk::{Report, Status};
    ///
    /// assert_eq!(Report::unhealthy("queue-stuck", "nothing moved for 5 min").status, Status::Unhealthy);
    /// ```
    pub fn unhealthy(reason: impl Into<String>, summary: impl Into<String>) -> Self {
        Self {
            status: Status::Unhealthy,
            reason: Some(reason.into()),
            ..Self::healthy(summary)
        }
    }

    /// The verdict about a target that could not be talked to.
    ///
    /// ```
    /// use pulse_plugin_sdk::{Report, net::{ErrorCode, Phase}, testing::net_error};
    ///
    /// let refused = net_error(ErrorCode::ConnectionRefused, Phase::Connect, "nothing listens there");
    /// assert_eq!(Report::from_error(&refused).unwrap().reason.as_deref(), Some("connection-refused"));
    /// assert!(Report::from_error(&net_error(ErrorCode::Denied, Phase::Prepare, "no grant")).is_err());
    /// ```
    ///
    /// # Errors
    /// Where the error is none of the target's: the settings make no request, or the host refuses or is in
    /// trouble.
    pub fn from_error(error: &net::Error) -> Result<Self, Fault> {
        match error.code {
            net::ErrorCode::InvalidRequest => Err(Fault::InvalidSettings(error.message.clone())),
            net::ErrorCode::Denied => Err(Fault::Unsupported(error.message.clone())),
            net::ErrorCode::Host => Err(Fault::Internal(error.message.clone())),
            code => Ok(Self::unhealthy(code.reason(), error.message.clone())),
        }
    }

    /// Adds a number.
    ///
    /// ```
    /// use pulse_plugin_sdk::{Measurement, Report};
    ///
    /// let report = Report::healthy("up").measured(Measurement::count("queued_jobs", 3));
    /// assert_eq!(report.measurements[0].name, "queued_jobs");
    /// ```
    #[must_use]
    pub fn measured(mut self, measurement: Measurement) -> Self {
        self.measurements.push(measurement);
        self
    }

    /// Adds numbers.
    ///
    /// ```
    /// use pulse_plugin_sdk::{Measurement, Report};
    ///
    /// let sizes = [("input", 10), ("output", 20)];
    /// let report = Report::healthy("up").with(sizes.map(|(name, size)| Measurement::bytes(name, size)));
    /// assert_eq!(report.measurements.len(), 2);
    /// ```
    #[must_use]
    pub fn with(mut self, measurements: impl IntoIterator<Item = Measurement>) -> Self {
        self.measurements.extend(measurements);
        self
    }
}

//! Checks.

use crate::{Attempt, Fault, JsonSchema, Measurement, Subject, net};
use serde::de::DeserializeOwned;

pub use crate::bindings::pulse::exports::pulse::plugin::pulse::{Report, Status};

/// Is the target alive?
pub trait Pulse {
    /// The settings of this plugin's jobs.
    type Settings: DeserializeOwned + JsonSchema;

    /// Checks the target once.
    ///
    /// # Errors
    /// Only where the plugin itself is in trouble: a fault never counts as a failure of the target.
    fn run(job: PulseJob<Self::Settings>) -> Result<Report, Fault>;
}

/// One check.
#[derive(Clone, Debug)]
pub struct PulseJob<S> {
    /// For whom.
    pub subject: Subject,
    /// Which attempt, and how long it may take.
    pub attempt: Attempt,
    /// The settings.
    pub settings: S,
}

impl Report {
    /// All is well.
    pub fn healthy(summary: impl Into<String>) -> Self {
        Self {
            status: Status::Healthy,
            summary: summary.into(),
            reason: None,
            measurements: Vec::new(),
        }
    }

    /// Alive, but not as it should be. The reason is a word in kebab case.
    pub fn degraded(reason: impl Into<String>, summary: impl Into<String>) -> Self {
        Self {
            status: Status::Degraded,
            reason: Some(reason.into()),
            ..Self::healthy(summary)
        }
    }

    /// Down, or answering wrongly. The reason is a word in kebab case.
    pub fn unhealthy(reason: impl Into<String>, summary: impl Into<String>) -> Self {
        Self {
            status: Status::Unhealthy,
            reason: Some(reason.into()),
            ..Self::healthy(summary)
        }
    }

    /// The verdict about a target that could not be talked to.
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
    #[must_use]
    pub fn measured(mut self, measurement: Measurement) -> Self {
        self.measurements.push(measurement);
        self
    }

    /// Adds numbers.
    #[must_use]
    pub fn with(mut self, measurements: impl IntoIterator<Item = Measurement>) -> Self {
        self.measurements.extend(measurements);
        self
    }
}

//! Repairs.

use crate::{Attempt, Incident, JsonSchema, Subject};
use serde::de::DeserializeOwned;
use std::rc::Rc;

pub use crate::bindings::intervention::exports::pulse::plugin::intervention::{ActionFailure, ActionReport};

/// Can we repair it?
///
/// ```
/// use pulse_plugin_sdk::{ActionFailure, ActionReport, Intervention, InterventionJob, http::Request};
///
/// struct Restart;
///
/// impl Intervention for Restart {
///     type Settings = String; // where to ask for it
///
///     fn run(job: InterventionJob<String>) -> Result<ActionReport, ActionFailure> {
///         let request = Request::post(&*job.settings)
///             .header("idempotency-key", &job.idempotency_key)
///             .timeout(job.attempt.budget());
///         match request.call() {
///             Ok(answer) => Ok(ActionReport::done(answer.words())),
///             Err(failure) => Err(ActionFailure::from_failure(&failure, &request)),
///         }
///     }
/// }
/// ```
pub trait Intervention {
    /// The settings of this plugin's jobs.
    type Settings: DeserializeOwned + JsonSchema + 'static;

    /// Repairs the target once. Whether it helped is none of its business: the next pulses say.
    ///
    /// # Errors
    /// A repair that was not, or may not have been, carried out. Say `EffectUnknown` in doubt: the host then
    /// looks before it acts again.
    fn run(job: InterventionJob<Self::Settings>) -> Result<ActionReport, ActionFailure>;
}

/// One repair.
///
/// ```
/// let job = pulse_plugin_sdk::testing::intervention_job("shop");
/// assert_eq!((*job.settings, job.incident.reason.as_str()), ("shop", "unexpected-status"));
/// ```
#[derive(Clone, Debug)]
pub struct InterventionJob<S> {
    /// For whom.
    pub subject: Subject,
    /// Which attempt, and how long it may take.
    pub attempt: Attempt,
    /// The settings, read once for as long as the instance lives.
    pub settings: Rc<S>,
    /// The incident to be repaired.
    pub incident: Incident,
    /// The same for every delivery of this very attempt, so that a receiver can drop a repeat.
    pub idempotency_key: String,
}

impl ActionReport {
    /// It was done.
    ///
    /// ```
    /// assert_eq!(pulse_plugin_sdk::ActionReport::done("restarted").summary, "restarted");
    /// ```
    pub fn done(summary: impl Into<String>) -> Self {
        Self {
            summary: summary.into(),
            measurements: Vec::new(),
        }
    }
}

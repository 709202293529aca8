//! Repairs.

use crate::{Attempt, Incident, JsonSchema, Subject};
use serde::de::DeserializeOwned;

pub use crate::bindings::intervention::exports::pulse::plugin::intervention::{ActionFailure, ActionReport};

/// Can we repair it?
pub trait Intervention {
    /// The settings of this plugin's jobs.
    type Settings: DeserializeOwned + JsonSchema;

    /// Repairs the target once. Whether it helped is none of its business: the next pulses say.
    ///
    /// # Errors
    /// A repair that was not, or may not have been, carried out. Say `EffectUnknown` in doubt: the host then
    /// looks before it acts again.
    fn run(job: InterventionJob<Self::Settings>) -> Result<ActionReport, ActionFailure>;
}

/// One repair.
#[derive(Clone, Debug)]
pub struct InterventionJob<S> {
    /// For whom.
    pub subject: Subject,
    /// Which attempt, and how long it may take.
    pub attempt: Attempt,
    /// The settings.
    pub settings: S,
    /// The incident to be repaired.
    pub incident: Incident,
    /// The same for every delivery of this very attempt, so that a receiver can drop a repeat.
    pub idempotency_key: String,
}

impl ActionReport {
    /// It was done.
    pub fn done(summary: impl Into<String>) -> Self {
        Self {
            summary: summary.into(),
            measurements: Vec::new(),
        }
    }
}

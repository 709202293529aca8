//! Write pulse-host plugins in Rust: a trait per kind of job, typed settings, and what the host lends.
//!
//! A plugin is a type that implements [`Pulse`], [`Intervention`] or [`Code`], and one call of
//! [`export_plugin!`]. Its settings are a struct: `Deserialize` reads them, `JsonSchema` lets the host check
//! every monitor's settings when the configuration is loaded.
//!
//! ```
//! use pulse_plugin_sdk::{Fault, JsonSchema, Pulse, PulseJob, Report, http};
//! use serde::Deserialize;
//!
//! /// What an operator may set.
//! #[derive(Deserialize, JsonSchema)]
//! #[serde(rename_all = "kebab-case", deny_unknown_fields)]
//! # #[schemars(crate = "pulse_plugin_sdk::schemars")]
//! pub struct Settings {
//!     /// What to fetch.
//!     url: String,
//! }
//!
//! pub struct Fetch;
//!
//! impl Pulse for Fetch {
//!     type Settings = Settings;
//!
//!     fn run(job: PulseJob<Settings>) -> Result<Report, Fault> {
//!         match http::Request::get(&job.settings.url).timeout(job.attempt.budget()).send() {
//!             Ok(response) if response.status < 400 => Ok(Report::healthy("it answers")),
//!             Ok(response) => Ok(Report::unhealthy("unexpected-status", format!("HTTP {}", response.status))),
//!             Err(error) => Report::from_error(&error),
//!         }
//!     }
//! }
//!
//! pulse_plugin_sdk::export_plugin! {
//!     name: "fetch",
//!     summary: "Fetches a URL",
//!     pulse: Fetch,
//! }
//! # fn main() {}
//! ```
//!
//! Build it with `cargo build --release --target wasm32-wasip2` as a `cdylib`. The component imports only the
//! lent interfaces that it calls; the host shows them to the operator, who grants them.
//!
//! On any other target the lent calls end in [`testing`], so that a plugin's logic has unit tests.
//!
//! Invariant: a plugin's panic reaches the operator as a log line with its place before the component traps.

#![deny(missing_docs)]

#[doc(hidden)]
pub mod bindings;
mod code;
pub mod command;
pub mod dns;
pub mod docker;
mod export;
pub mod files;
pub mod http;
pub mod icmp;
mod intervention;
pub mod log;
mod measurement;
pub mod net;
#[cfg(doctest)]
mod pages;
mod panic;
mod pulse;
pub mod settings;
pub mod tcp;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
pub mod text;
pub mod time;
pub mod tls;
mod worries;

pub use bindings::lent::pulse::plugin::model::{Attempt, Fault, Incident, Label, Measurement, Subject};
pub use code::{Code, CodeJob, Color, DeliveryFailure, Receipt, Retry};
pub use intervention::{ActionFailure, ActionReport, Intervention, InterventionJob};
pub use measurement::Unit;
pub use pulse::{Pulse, PulseJob, Report, Status};
pub use schemars::{self, JsonSchema};
pub use serde;
pub use serde_json;
pub use worries::Worries;

#[doc(hidden)]
pub use export::private;

use std::time::Duration;

impl Attempt {
    /// How long the job may wait for its target: what the job has, less what it takes to answer. Who waits
    /// longer is cut by the host, and its own words about the failure are lost.
    ///
    /// ```
    /// use pulse_plugin_sdk::testing;
    ///
    /// assert_eq!(testing::attempt().deadline_ms, 5_000);
    /// assert_eq!(testing::attempt().budget().as_millis(), 4_900);
    /// ```
    #[must_use]
    pub fn budget(&self) -> Duration {
        let deadline = u64::from(self.deadline_ms);
        // A twentieth, and at most a tenth of a second: enough for reading and judging an answer.
        Duration::from_millis(deadline - (deadline / 20).min(100))
    }
}

impl Subject {
    /// The value of a label.
    ///
    /// ```
    /// let subject = pulse_plugin_sdk::testing::subject();
    /// assert_eq!(subject.label("team"), Some("core"));
    /// assert_eq!(subject.label("floor"), None);
    /// ```
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels
            .iter()
            .find(|label| label.name == name)
            .map(|label| label.value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_leaves_time_to_answer() {
        let budget = |deadline_ms| {
            Attempt {
                number: 1,
                deadline_ms,
                scheduled_at: 0,
            }
            .budget()
            .as_millis()
        };
        assert_eq!(budget(0), 0);
        assert_eq!(budget(1_000), 950);
        assert_eq!(budget(60_000), 59_900);
    }
}

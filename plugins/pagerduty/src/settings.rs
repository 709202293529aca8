//! What an operator may set.

use pulse_plugin_sdk::Color;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// Integration key of a service or an event orchestration ("Events API V2").
    #[schemars(length(min = 1), extend("writeOnly" = true))]
    pub routing_key: String,
    /// Where events go. Customers of the European region set `https://events.eu.pagerduty.com/v2/enqueue`.
    #[serde(default = "enqueue")]
    #[schemars(regex(pattern = r"^https?://."))]
    pub url: String,
    /// Severity by color; what is not set stays as it is by default.
    #[serde(default)]
    severities: Severities,
    /// Acknowledge the alert when a repair was done and is being verified (cyan). Nobody is then called by PagerDuty
    /// while it is verified, nor when the repair turns out to be in vain, until PagerDuty's own time to acknowledge has
    /// passed. By default a repair is entered in the alert's log only.
    #[serde(default)]
    pub acknowledge_repairs: bool,
    /// What is affected. Default: the monitor's name.
    #[schemars(length(min = 1))]
    pub source: Option<String>,
    /// PagerDuty's `component`: the part of the source that is responsible.
    pub component: Option<String>,
    /// PagerDuty's `group`: a logical grouping, such as `prod-web`.
    pub group: Option<String>,
    /// PagerDuty's `class`: the type of event. Default: the machine-readable reason of the last bad report.
    pub class: Option<String>,
    /// A page about the monitor, such as your dashboard: the alert links to it.
    #[schemars(regex(pattern = r"^https?://."))]
    pub client_url: Option<String>,
}

fn enqueue() -> String {
    "https://events.pagerduty.com/v2/enqueue".into()
}

/// PagerDuty's severities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Calls people, with high urgency where urgency follows severity.
    Critical,
    /// The same urgency, one step below.
    Error,
    /// Low urgency.
    Warning,
    /// Low urgency.
    Info,
}

/// Severity by color.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Severities {
    /// First failure, or degraded. Default: `warning`.
    yellow: Option<Severity>,
    /// Down. Default: `critical`.
    red: Option<Severity>,
    /// The prober itself is in trouble. Default: `error`.
    purple: Option<Severity>,
}

impl Settings {
    /// The severity of a color.
    pub fn severity(&self, color: Color) -> Severity {
        let own = &self.severities;
        match color {
            Color::Yellow => own.yellow.unwrap_or(Severity::Warning),
            Color::Red => own.red.unwrap_or(Severity::Critical),
            Color::Purple => own.purple.unwrap_or(Severity::Error),
            Color::Cyan | Color::Green | Color::Gray => Severity::Info,
        }
    }
}

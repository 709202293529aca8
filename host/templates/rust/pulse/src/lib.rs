//! Checks a URL: whether it answers, and with the status that is expected.

use pulse_plugin_sdk::{Fault, Measurement, Pulse, PulseJob, Report, export_plugin, http};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{
    hash::{BuildHasher as _, RandomState},
    time::SystemTime,
};

/// What an operator may set. These comments end up in the schema.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// What to fetch.
    #[schemars(length(min = 1))]
    url: String,
    /// The status of a healthy answer.
    #[serde(default = "ok")]
    #[schemars(range(min = 100, max = 599))]
    expect_status: u16,
}

fn ok() -> u16 {
    200
}

/// The plugin.
pub struct Check;

impl Pulse for Check {
    type Settings = Settings;

    fn run(job: PulseJob<Settings>) -> Result<Report, Fault> {
        let request = http::Request::get(&job.settings.url)
            // By these the request is found in the log of whoever answers.
            .header(
                "x-check-id",
                format!("{:016x}", RandomState::new().hash_one(0)),
            )
            .header("x-check-at", now_ms().to_string())
            .timeout(job.attempt.budget());
        let response = match request.send() {
            Ok(response) => response,
            Err(error) => return Report::from_error(&error),
        };
        let took = response.timings.total();
        let report = if response.status == job.settings.expect_status {
            Report::healthy(format!(
                "HTTP {} in {} ms",
                response.status,
                took.as_millis()
            ))
        } else {
            let expected = job.settings.expect_status;
            let summary = format!("HTTP {}, expected {expected}", response.status);
            Report::unhealthy("unexpected-status", summary)
        };
        Ok(report.measured(Measurement::seconds("response_duration", took)))
    }
}

fn now_ms() -> u128 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap_or_default().as_millis()
}

export_plugin! {
    name: "__NAME__",
    summary: "Checks a URL",
    pulse: Check,
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulse_plugin_sdk::{
        Status,
        testing::{self, Host},
    };
    use serde_json::{Value, json};

    fn check(settings: &Value, status: u16) -> Report {
        let host = Host::new().http(move |_| Ok(testing::response(status, "")));
        host.run(|| testing::pulse::<Exports>(settings)).0.unwrap()
    }

    #[test]
    fn only_the_expected_status_is_healthy() {
        let url = "https://example.com/";
        assert_eq!(check(&json!({ "url": url }), 200).status, Status::Healthy);
        let wrong = check(&json!({ "url": url }), 500);
        assert_eq!(wrong.reason.as_deref(), Some("unexpected-status"));
        let settings = json!({ "url": url, "expect-status": 204 });
        assert_eq!(check(&settings, 204).status, Status::Healthy);
    }
}

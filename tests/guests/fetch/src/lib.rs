use pulse_plugin_sdk::{
    Fault, Measurement, Pulse, PulseJob, Report, Worries, export_plugin, http, settings::Span, text,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// What an operator may set. These comments end up in the schema.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// What to fetch.
    url: String,
    /// Degraded if it takes longer.
    #[serde(default)]
    max_latency: Option<Span>,
}

pub struct Fetch;

impl Pulse for Fetch {
    type Settings = Settings;

    fn run(job: PulseJob<Settings>) -> Result<Report, Fault> {
        check(&job).or_else(|failure| Report::from_failure(&failure))
    }
}

fn check(job: &PulseJob<Settings>) -> Result<Report, http::Failure> {
    let answer = http::Request::get(&job.settings.url)
        .timeout(job.attempt.budget())
        .call()?;
    let took = answer.timings.total();
    let summary = format!("HTTP {} in {}", answer.status, text::milliseconds(took));
    Ok(Worries::new()
        .slow(took, job.settings.max_latency)
        .report(summary)
        .measured(Measurement::seconds("duration", took)))
}

export_plugin! {
    name: "fetch",
    summary: "Fetches a URL",
    pulse: Fetch,
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulse_plugin_sdk::testing::{self, Host};
    use serde_json::json;
    use std::time::Duration;

    #[test]
    fn a_server_error_is_unhealthy() {
        let host = Host::new().http(|_| Ok(testing::response(500, "no memory")));
        let (report, _) = host.run(|| testing::pulse::<Exports>(&json!({"url": "https://shop.example/"})));
        let report = report.unwrap();
        assert_eq!(report.reason.as_deref(), Some("unexpected-status"));
        assert_eq!(report.summary, "HTTP 500: no memory");
    }

    #[test]
    fn silence_is_a_timeout() {
        let host = Host::new().http(|_| {
            testing::pass(Duration::from_secs(60));
            Ok(testing::response(200, ""))
        });
        let (report, _) = host.run(|| testing::pulse::<Exports>(&json!({"url": "https://shop.example/"})));
        assert_eq!(report.unwrap().reason.as_deref(), Some("timeout"));
    }
}

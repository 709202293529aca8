//! Calls a hook that repairs.

use pulse_plugin_sdk::{ActionFailure, ActionReport, Intervention, InterventionJob, export_plugin, http};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use std::{
    hash::{BuildHasher as _, RandomState},
    time::SystemTime,
};

/// What an operator may set. These comments end up in the schema.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// The hook.
    #[schemars(length(min = 1))]
    url: String,
}

/// The plugin.
pub struct Hook;

impl Intervention for Hook {
    type Settings = Settings;

    fn run(job: InterventionJob<Settings>) -> Result<ActionReport, ActionFailure> {
        let body = json!({
            "monitor": job.subject.monitor,
            "tenant": job.subject.tenant,
            "incident": job.incident.key,
            "reason": job.incident.reason,
            "summary": job.incident.summary,
        });
        let request = http::Request::post(&job.settings.url)
            .header("content-type", "application/json")
            // The same when this attempt is delivered again, so that the hook does it once.
            .header("idempotency-key", &job.idempotency_key)
            .header(
                "x-check-id",
                format!("{:016x}", RandomState::new().hash_one(0)),
            )
            .header("x-check-at", now_ms().to_string())
            .body(body.to_string())
            .timeout(job.attempt.budget());
        match request.call() {
            Ok(response) => Ok(ActionReport::done(format!("HTTP {}", response.status))),
            // Refused before anything was done, refused for good, or nobody knows what was done.
            Err(failure) => Err(ActionFailure::from_failure(&failure, &request)),
        }
    }
}

fn now_ms() -> u128 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap_or_default().as_millis()
}

export_plugin! {
    name: "__NAME__",
    summary: "Calls a hook that repairs",
    intervention: Hook,
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulse_plugin_sdk::testing::{self, Host};

    fn call(status: u16) -> Result<ActionReport, ActionFailure> {
        let host = Host::new().http(move |_| Ok(testing::response(status, "")));
        host.run(|| testing::intervention::<Exports>(&json!({ "url": "https://example.com/" })))
            .0
    }

    #[test]
    fn in_doubt_the_effect_is_unknown() {
        assert!(call(204).is_ok());
        assert!(matches!(call(503), Err(ActionFailure::Retryable(_))));
        assert!(matches!(call(500), Err(ActionFailure::EffectUnknown(_))));
        assert!(matches!(call(303), Err(ActionFailure::EffectUnknown(_))));
        assert!(matches!(call(501), Err(ActionFailure::Permanent(_))));
        assert!(matches!(call(404), Err(ActionFailure::Permanent(_))));
    }
}

//! Sends an alert as JSON.

use pulse_plugin_sdk::{Code, CodeJob, DeliveryFailure, Receipt, export_plugin, http, time};
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
    /// Where to send it.
    #[schemars(length(min = 1))]
    url: String,
}

/// The plugin.
pub struct Alert;

impl Code for Alert {
    type Settings = Settings;

    fn notify(job: CodeJob<Settings>) -> Result<Receipt, DeliveryFailure> {
        let body = json!({
            "color": job.color.name(),
            "title": job.title,
            "body": job.body,
            "monitor": job.subject.monitor,
            "tenant": job.subject.tenant,
            "incident": job.incident_key,
            "reminder": job.reminder,
            "happened-at": time::rfc3339(job.happened_at),
        });
        let response = http::Request::post(&job.settings.url)
            .header("content-type", "application/json")
            // The same when this alert is sent again, so that the receiver can drop the repeat.
            .header("idempotency-key", &job.delivery_id)
            .header(
                "x-check-id",
                format!("{:016x}", RandomState::new().hash_one(0)),
            )
            .header("x-check-at", now_ms().to_string())
            .body(body.to_string())
            .timeout(job.attempt.budget())
            // What failed is sent again, after the time that the receiver wishes for, unless it refused for good.
            .call()?;
        Ok(Receipt {
            id: response.header("x-request-id").map(str::to_owned),
            summary: format!("HTTP {}", response.status),
        })
    }
}

fn now_ms() -> u128 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap_or_default().as_millis()
}

export_plugin! {
    name: "__NAME__",
    summary: "Sends an alert as JSON",
    code: Alert,
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulse_plugin_sdk::{
        Color,
        testing::{self, Host},
    };

    fn send(status: u16) -> Result<Receipt, DeliveryFailure> {
        let host = Host::new().http(move |_| Ok(testing::response(status, "")));
        host.run(|| testing::code::<Exports>(Color::Red, &json!({ "url": "https://example.com/" })))
            .0
    }

    #[test]
    fn what_may_work_later_is_sent_again() {
        assert!(send(202).is_ok());
        assert!(matches!(send(503), Err(DeliveryFailure::Retryable(_))));
        assert!(matches!(send(400), Err(DeliveryFailure::Permanent(_))));
    }
}

//! Opens, updates and resolves alerts in PagerDuty, through its Events API v2.

mod event;
mod settings;

use event::{Action, Event};
use pulse_plugin_sdk::{
    Code, CodeJob, DeliveryFailure, Receipt, export_plugin,
    http::{Request, Response},
    text,
};
use settings::Settings;

/// As much of an answer as its documented form can have, and more.
const MAX_ANSWER_BYTES: u32 = 16 * 1024;

/// The plugin.
pub struct PagerDuty;

impl Code for PagerDuty {
    type Settings = Settings;

    fn notify(job: CodeJob<Settings>) -> Result<Receipt, DeliveryFailure> {
        let event = Event::of(&job).ok_or_else(|| {
            DeliveryFailure::permanent(
                "PagerDuty has no event for maintenance: leave gray out of the notifier's `colors`",
            )
        })?;
        let body =
            serde_json::to_vec(&event).map_err(|error| DeliveryFailure::permanent(error.to_string()))?;
        let answer = Request::post(&job.settings.url)
            .header("content-type", "application/json")
            .header("user-agent", "pulse-host")
            .body(body)
            .timeout(job.attempt.budget())
            .max_body(MAX_ANSWER_BYTES)
            .send()
            .map_err(|error| DeliveryFailure::from_error(&error))?;
        answered(&answer, &event, job.attempt.scheduled_at)
    }
}

/// A repeat carries the same `dedup_key` and the same action, which PagerDuty enters into the same alert: in doubt it
/// is sent again.
fn answered(answer: &Response, event: &Event<'_>, now_ms: u64) -> Result<Receipt, DeliveryFailure> {
    let words = words(answer);
    match answer.status {
        202 => Ok(Receipt {
            id: Some(event.dedup_key.clone()),
            summary: match event.event_action {
                Action::Trigger => "triggered".into(),
                Action::Acknowledge => "acknowledged".into(),
                Action::Resolve => "resolved".into(),
            },
        }),
        // Something on the way answers in PagerDuty's place.
        200..=299 => Err(DeliveryFailure::retryable(
            format!("{words}; PagerDuty accepts an event with 202"),
            None,
        )),
        408 | 425 | 429 | 500..=599 => Err(DeliveryFailure::retryable(words, answer.retry_after(now_ms))),
        _ => Err(DeliveryFailure::permanent(words)),
    }
}

/// `HTTP 400: Event object is invalid: 'routing_key' is missing or blank`, from the documented JSON of an error.
fn words(answer: &Response) -> String {
    #[derive(serde::Deserialize)]
    struct Said {
        message: String,
        #[serde(default)]
        errors: Vec<String>,
    }
    match serde_json::from_slice::<Said>(&answer.body) {
        Ok(said) => {
            let mut line = format!("HTTP {}: {}", answer.status, text::excerpt(&said.message, 200));
            for error in said.errors.iter().take(5) {
                line.push_str(": ");
                line.push_str(&text::excerpt(error, 200));
            }
            line
        }
        Err(_) => answer.words(),
    }
}

export_plugin! {
    name: "pagerduty",
    summary: "Opens, updates and resolves alerts in PagerDuty",
    code: PagerDuty,
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulse_plugin_sdk::{
        Color,
        http::Header,
        net::{ErrorCode, Phase},
        testing::{self, Host},
    };
    use serde_json::{Value, json};

    fn notify(color: Color, host: Host) -> Result<Receipt, DeliveryFailure> {
        let settings = json!({"routing-key": "0123456789abcdef0123456789abcdef"});
        host.run(|| testing::code::<Exports>(color, &settings)).0
    }

    fn answer(status: u16, body: &str) -> Result<Receipt, DeliveryFailure> {
        let mut response = testing::response(status, body);
        response.headers.push(Header {
            name: "Retry-After".into(),
            value: "30".into(),
        });
        notify(Color::Red, Host::new().http(move |_| Ok(response.clone())))
    }

    #[test]
    fn manifest_and_readme_agree() {
        let (manifest, readme) = (include_str!("../plugin.toml"), include_str!("../README.md"));
        testing::check_manifest::<Exports>(manifest, readme).unwrap();
    }

    #[test]
    fn an_event_is_posted_to_the_documented_place() {
        let host = Host::new().http(|request| {
            assert_eq!(request.method, "POST");
            assert_eq!(request.url, "https://events.pagerduty.com/v2/enqueue");
            assert_eq!(request.max_redirects, 0, "the routing key goes nowhere else");
            let event: Value = serde_json::from_slice(request.body.as_deref().unwrap()).unwrap();
            assert_eq!(event["event_action"], "resolve");
            Ok(testing::response(
                202,
                r#"{"status":"success","message":"Event processed","dedup_key":"x"}"#,
            ))
        });
        let receipt = notify(Color::Green, host).unwrap();
        assert_eq!(
            (receipt.id.as_deref(), receipt.summary.as_str()),
            (Some("default/shop/01jdf0"), "resolved")
        );
    }

    #[test]
    fn what_an_answer_means() {
        assert!(answer(202, "").is_ok());
        for status in [408, 425, 429, 500, 502, 503, 504] {
            assert!(
                matches!(answer(status, ""), Err(DeliveryFailure::Retryable(retry)) if retry.after_ms == Some(30_000)),
                "{status}"
            );
        }
        assert!(matches!(
            answer(200, "sign in"),
            Err(DeliveryFailure::Retryable(_))
        ));
        for status in [301, 400, 401, 403, 404, 413] {
            assert!(
                matches!(answer(status, ""), Err(DeliveryFailure::Permanent(_))),
                "{status}"
            );
        }
        let said = r#"{"status":"invalid event","message":"Event object is invalid","errors":["'routing_key' is missing"]}"#;
        assert_eq!(
            answer(400, said),
            Err(DeliveryFailure::permanent(
                "HTTP 400: Event object is invalid: 'routing_key' is missing"
            ))
        );
    }

    #[test]
    fn a_failed_exchange_is_tried_again() {
        let host =
            Host::new().http(|_| Err(testing::net_error(ErrorCode::Timeout, Phase::Processing, "late")));
        assert_eq!(
            notify(Color::Red, host),
            Err(DeliveryFailure::retryable("late", None))
        );
    }
}

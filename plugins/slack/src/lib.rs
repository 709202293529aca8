//! Posts alerts into a Slack channel, through an incoming webhook.

mod message;
mod settings;

use pulse_plugin_sdk::{
    Code, CodeJob, DeliveryFailure, Receipt, export_plugin,
    http::{Request, Response},
};
use settings::Settings;

/// Slack answers with a word.
const MAX_ANSWER_BYTES: u32 = 4 * 1024;

/// The plugin.
pub struct Slack;

impl Code for Slack {
    type Settings = Settings;

    fn notify(job: CodeJob<Settings>) -> Result<Receipt, DeliveryFailure> {
        let answer = Request::post(&job.settings.url)
            .header("content-type", "application/json; charset=utf-8")
            .header("user-agent", "pulse-host")
            .body(message::of(&job).to_string())
            .timeout(job.attempt.budget())
            .max_body(MAX_ANSWER_BYTES)
            .send()
            .map_err(|error| DeliveryFailure::from_error(&error))?;
        answered(&answer, job.attempt.scheduled_at)
    }
}

fn answered(answer: &Response, now_ms: u64) -> Result<Receipt, DeliveryFailure> {
    let words = answer.words();
    match answer.status {
        200 if answer.text().trim() == "ok" => Ok(Receipt::taken("posted")),
        // Something on the way answers in Slack's place. If Slack did post it, a repeat would be a second message.
        200..=299 => Err(DeliveryFailure::permanent(format!(
            "{words}; Slack accepts a message with 200 and `ok`"
        ))),
        408 | 425 | 429 | 500..=599 => Err(DeliveryFailure::retryable(words, answer.retry_after(now_ms))),
        _ => Err(DeliveryFailure::permanent(words)),
    }
}

export_plugin! {
    name: "slack",
    summary: "Posts alerts into a Slack channel",
    code: Slack,
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

    const URL: &str = "https://hooks.slack.com/services/T0/B0/secret";

    fn notify(host: Host) -> Result<Receipt, DeliveryFailure> {
        host.run(|| testing::code::<Exports>(Color::Red, &json!({"url": URL})))
            .0
    }

    fn answer(status: u16, body: &str) -> Result<Receipt, DeliveryFailure> {
        let mut response = testing::response(status, body);
        response.headers.push(Header {
            name: "Retry-After".into(),
            value: "30".into(),
        });
        notify(Host::new().http(move |_| Ok(response.clone())))
    }

    #[test]
    fn manifest_and_readme_agree() {
        let (manifest, readme) = (include_str!("../plugin.toml"), include_str!("../README.md"));
        testing::check_manifest::<Exports>(manifest, readme).unwrap();
    }

    #[test]
    fn a_message_is_posted_to_the_webhook() {
        let host = Host::new().http(|request| {
            assert_eq!((request.method.as_str(), request.url.as_str()), ("POST", URL));
            assert_eq!(request.max_redirects, 0, "the URL is a secret");
            let message: Value = serde_json::from_slice(request.body.as_deref().unwrap()).unwrap();
            assert!(message["text"].is_string() && message["blocks"].is_array());
            Ok(testing::response(200, "ok"))
        });
        assert_eq!(notify(host), Ok(Receipt::taken("posted")));
    }

    #[test]
    fn what_an_answer_means() {
        assert!(answer(200, "ok").is_ok());
        for (status, body) in [
            (200, "<html>sign in</html>"),
            (204, ""),
            (302, ""),
            (400, "invalid_payload"),
            (403, "action_prohibited"),
            (404, "no_service"),
            (410, "channel_is_archived"),
        ] {
            assert!(
                matches!(answer(status, body), Err(DeliveryFailure::Permanent(words)) if words.contains(body)),
                "{status}"
            );
        }
        for status in [408, 425, 429, 500, 503] {
            assert!(
                matches!(answer(status, ""), Err(DeliveryFailure::Retryable(retry)) if retry.after_ms == Some(30_000)),
                "{status}"
            );
        }
    }

    #[test]
    fn a_failed_exchange_is_tried_again() {
        let host =
            Host::new().http(|_| Err(testing::net_error(ErrorCode::Timeout, Phase::Processing, "late")));
        assert_eq!(notify(host), Err(DeliveryFailure::retryable("late", None)));
    }
}

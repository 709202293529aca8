//! The webhook as a code: one alert in the shape of Alertmanager's webhook receiver, or of one's own template.

use crate::{payload::Payload, settings::Settings};
use pulse_plugin_sdk::{Code, CodeJob, DeliveryFailure, Receipt, http::Response, text, time};

/// The plugin's code.
pub struct Alert;

impl Code for Alert {
    type Settings = Settings;

    fn notify(job: CodeJob<Settings>) -> Result<Receipt, DeliveryFailure> {
        let payload = serde_json::to_string(&Payload::of(&job))
            .map_err(|error| DeliveryFailure::permanent(error.to_string()))?;
        let id = text::header_value(&job.delivery_id);
        let request = job
            .settings
            .request(job.attempt.budget(), &|name| value(&job, name), Some(payload))
            .map_err(DeliveryFailure::Permanent)?
            .default_header("idempotency-key", id.clone())
            .default_header("x-pulse-delivery-id", id);
        match request.send() {
            Ok(response) => answered(&response, job.attempt.scheduled_at),
            Err(error) => Err(DeliveryFailure::from_error(&error)),
        }
    }
}

fn value(job: &CodeJob<Settings>, name: &str) -> Option<String> {
    let incident = |field: fn(&pulse_plugin_sdk::Incident) -> String| {
        job.incident.as_ref().map(field).unwrap_or_default()
    };
    Some(match name {
        "color" => job.color.name().to_owned(),
        "title" => job.title.clone(),
        "body" => job.body.clone(),
        "happened-at" => time::rfc3339(job.happened_at),
        "reminder" => job.reminder.to_string(),
        "delivery-id" => job.delivery_id.clone(),
        "incident.id" => incident(|incident| incident.id.clone()),
        "incident.key" => job.incident_key.clone(),
        "incident.summary" => incident(|incident| incident.summary.clone()),
        "incident.reason" => incident(|incident| incident.reason.clone()),
        "incident.opened-at" => incident(|incident| time::rfc3339(incident.opened_at)),
        _ => return crate::common_value(&job.subject, &job.attempt, name),
    })
}

/// A repeat carries the same delivery id, so in doubt it is sent again.
fn answered(response: &Response, now_ms: u64) -> Result<Receipt, DeliveryFailure> {
    let words = response.words();
    match response.status {
        200..=299 => Ok(Receipt {
            id: response.header("x-request-id").map(|id| text::excerpt(id, 200)),
            summary: words,
        }),
        408 | 425 | 429 | 500..=599 => Err(DeliveryFailure::retryable(words, response.retry_after(now_ms))),
        _ => Err(DeliveryFailure::permanent(words)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Exports;
    use pulse_plugin_sdk::{
        Color,
        http::Header,
        net::{ErrorCode, Phase},
        testing::{self, Host},
    };
    use serde_json::{Value, json};

    fn notify(settings: &Value, host: Host) -> Result<Receipt, DeliveryFailure> {
        host.run(|| testing::code::<Exports>(Color::Red, settings)).0
    }

    fn answer(status: u16, headers: &[(&str, &str)]) -> Result<Receipt, DeliveryFailure> {
        let mut response = testing::response(status, "why");
        for (name, value) in headers {
            response.headers.push(Header {
                name: (*name).into(),
                value: (*value).into(),
            });
        }
        let host = Host::new().http(move |_| Ok(response.clone()));
        notify(&json!({"url": "http://a"}), host)
    }

    fn after(headers: &[(&str, &str)]) -> Option<u32> {
        match answer(429, headers) {
            Err(DeliveryFailure::Retryable(retry)) => retry.after_ms,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_alert_carries_its_delivery_id_and_alertmanager_s_payload() {
        let host = Host::new().http(|request| {
            let header = |name: &str| {
                let found = request.headers.iter().find(|header| header.name == name);
                found.unwrap().value.clone()
            };
            assert_eq!(request.method, "POST");
            assert_eq!(header("content-type"), "application/json");
            assert_eq!(header("idempotency-key"), "01jdf0/red/1/alerts");
            assert_eq!(header("x-pulse-delivery-id"), "01jdf0/red/1/alerts");
            let payload: Value = serde_json::from_slice(request.body.as_deref().unwrap()).unwrap();
            assert_eq!(
                (&payload["version"], &payload["status"]),
                (&json!("4"), &json!("firing"))
            );
            Ok(testing::response(200, ""))
        });
        assert_eq!(
            notify(&json!({"url": "http://a"}), host).unwrap().summary,
            "HTTP 200"
        );
    }

    #[test]
    fn every_placeholder_of_an_alert() {
        let host = Host::new().http(|request| {
            let body: Value = serde_json::from_slice(request.body.as_deref().unwrap()).unwrap();
            assert_eq!(
                body["text"],
                "red shop is red HTTP 503, expected 2xx\nfor 1 minute 2026-11-24T06:40:00.000Z false \
                 01jdf0/red/1/alerts 01jdf0 default/shop/01jdf0 HTTP 503, expected 2xx unexpected-status \
                 2026-11-24T06:39:00.000Z shop default core 1"
            );
            Ok(testing::response(200, ""))
        });
        let text = "{{color}} {{title}} {{body}} {{happened-at}} {{reminder}} {{delivery-id}} {{incident.id}} \
                    {{incident.key}} {{incident.summary}} {{incident.reason}} {{incident.opened-at}} {{monitor}} \
                    {{tenant}} {{labels.team}} {{attempt}}";
        let settings = json!({"url": "http://a", "body": json!({"text": text}).to_string()});
        notify(&settings, host).unwrap();
    }

    #[test]
    fn what_an_answer_means() {
        assert_eq!(
            answer(200, &[("X-Request-Id", "r1")]).unwrap().id.as_deref(),
            Some("r1")
        );
        assert_eq!(answer(204, &[]).unwrap().id, None);
        for status in [408, 425, 429, 500, 502, 503, 504] {
            assert!(
                matches!(answer(status, &[]), Err(DeliveryFailure::Retryable(_))),
                "{status}"
            );
        }
        for status in [301, 400, 401, 403, 404, 410, 413, 422] {
            assert_eq!(
                answer(status, &[]),
                Err(DeliveryFailure::permanent(format!("HTTP {status}: why")))
            );
        }
    }

    #[test]
    fn the_receiver_s_wish_is_handed_on() {
        assert_eq!(after(&[]), None);
        assert_eq!(after(&[("retry-after", "120")]), Some(120_000));
        assert_eq!(
            after(&[("retry-after", "99999999999999999999999")]),
            Some(u32::MAX)
        );
        assert!(matches!(
            answer(503, &[("retry-after", "1")]),
            Err(DeliveryFailure::Retryable(retry)) if retry.after_ms == Some(1_000)
        ));
    }

    #[test]
    fn a_failed_exchange_is_tried_again_unless_it_can_never_work() {
        let fail = |code, phase| {
            let host = Host::new().http(move |_| Err(testing::net_error(code, phase, "why")));
            notify(&json!({"url": "http://a"}), host).unwrap_err()
        };
        for (code, phase) in [
            (ErrorCode::ConnectionRefused, Phase::Connect),
            (ErrorCode::Timeout, Phase::Processing),
            (ErrorCode::CertificateExpired, Phase::Tls),
        ] {
            assert_eq!(fail(code, phase), DeliveryFailure::retryable("why", None));
        }
        for code in [ErrorCode::Denied, ErrorCode::InvalidRequest] {
            assert_eq!(fail(code, Phase::Prepare), DeliveryFailure::permanent("why"));
        }
    }
}

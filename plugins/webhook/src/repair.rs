//! The webhook as an intervention: one request that makes something happen.
//!
//! Invariant: in doubt the effect is unknown. Only what surely never reached the receiver's own code, or what it
//! surely refused, is called undone.

use crate::settings::Settings;
use pulse_plugin_sdk::{ActionFailure, ActionReport, Intervention, InterventionJob, Measurement, time};

/// The plugin's intervention.
pub struct Repair;

impl Intervention for Repair {
    type Settings = Settings;

    fn run(job: InterventionJob<Settings>) -> Result<ActionReport, ActionFailure> {
        let request = job
            .settings
            .request(job.attempt.budget(), &|name| value(&job, name), None)
            .map_err(ActionFailure::Permanent)?
            .default_header(
                "idempotency-key",
                pulse_plugin_sdk::text::header_value(&job.idempotency_key),
            );
        match request.call() {
            Ok(response) => {
                let mut report = ActionReport::done(response.words());
                let took = response.timings.total();
                report.measurements.push(Measurement::seconds("duration", took));
                Ok(report)
            }
            Err(failure) => Err(ActionFailure::from_failure(&failure, &request)),
        }
    }
}

fn value(job: &InterventionJob<Settings>, name: &str) -> Option<String> {
    let incident = &job.incident;
    Some(match name {
        "idempotency-key" => job.idempotency_key.clone(),
        "incident.id" => incident.id.clone(),
        "incident.key" => incident.key.clone(),
        "incident.summary" => incident.summary.clone(),
        "incident.reason" => incident.reason.clone(),
        "incident.opened-at" => time::rfc3339(incident.opened_at),
        _ => return crate::common_value(&job.subject, &job.attempt, name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Exports;
    use pulse_plugin_sdk::{
        net::{ErrorCode, Phase},
        testing::{self, Host},
    };
    use serde_json::{Value, json};

    fn run(settings: &Value, host: Host) -> Result<ActionReport, ActionFailure> {
        host.run(|| testing::intervention::<Exports>(settings)).0
    }

    fn answer(status: u16) -> Result<ActionReport, ActionFailure> {
        let host = Host::new().http(move |_| Ok(testing::response(status, "why\nmore")));
        run(&json!({"url": "http://a/restart"}), host)
    }

    #[test]
    fn every_placeholder_of_an_intervention() {
        let host = Host::new().http(|request| {
            assert_eq!(request.method, "PUT");
            assert_eq!(request.url, "http://a/default/shop");
            assert_eq!(
                String::from_utf8(request.body.clone().unwrap()).unwrap(),
                "core  1 01jdf0/1 01jdf0 default/shop/01jdf0 HTTP 503, expected 2xx unexpected-status \
                 2026-11-24T06:39:00.000Z"
            );
            let key = request
                .headers
                .iter()
                .find(|header| header.name == "idempotency-key");
            assert_eq!(key.unwrap().value, "01jdf0/1");
            Ok(testing::response(202, ""))
        });
        let settings = json!({
            "url": "http://a/{{tenant}}/{{monitor}}",
            "method": "PUT",
            "body": "{{labels.team}} {{labels.none}} {{attempt}} {{idempotency-key}} {{incident.id}} \
                     {{incident.key}} {{incident.summary}} {{incident.reason}} {{incident.opened-at}}",
        });
        let report = run(&settings, host).unwrap();
        assert_eq!(report.summary, "HTTP 202");
        assert_eq!(report.measurements[0].name, "duration");
    }

    #[test]
    fn an_own_idempotency_key_stays() {
        let host = Host::new().http(|request| {
            let keys: Vec<_> = request
                .headers
                .iter()
                .filter(|header| header.name.eq_ignore_ascii_case("idempotency-key"))
                .map(|header| header.value.as_str())
                .collect();
            assert_eq!(keys, ["mine"]);
            Ok(testing::response(200, ""))
        });
        run(
            &json!({"url": "http://a", "headers": {"Idempotency-Key": "mine"}}),
            host,
        )
        .unwrap();
    }

    #[test]
    fn what_an_answer_means() {
        let words = |status: u16| format!("HTTP {status}: why");
        for status in [200, 201, 204, 299] {
            assert_eq!(answer(status).unwrap().summary, words(status));
        }
        for status in [408, 425, 429, 503] {
            assert_eq!(answer(status), Err(ActionFailure::Retryable(words(status))));
        }
        for status in [301, 307, 308, 400, 401, 403, 404, 409, 410, 422, 501, 505] {
            assert_eq!(answer(status), Err(ActionFailure::Permanent(words(status))));
        }
        for status in [302, 303, 500, 502, 504, 507, 599] {
            assert_eq!(answer(status), Err(ActionFailure::EffectUnknown(words(status))));
        }
    }

    #[test]
    fn what_a_failed_exchange_means() {
        let fail = |code, phase| {
            let host = Host::new().http(move |_| Err(testing::net_error(code, phase, "why")));
            run(&json!({"url": "http://a"}), host).unwrap_err()
        };
        let why = || "why".to_owned();
        for (code, phase) in [
            (ErrorCode::ConnectionRefused, Phase::Connect),
            (ErrorCode::Timeout, Phase::Connect),
            (ErrorCode::NameNotFound, Phase::Resolve),
            (ErrorCode::ConnectionReset, Phase::Tls),
            (ErrorCode::Host, Phase::Prepare),
        ] {
            assert_eq!(fail(code, phase), ActionFailure::Retryable(why()), "{code:?}");
        }
        for code in [ErrorCode::Denied, ErrorCode::InvalidRequest] {
            assert_eq!(fail(code, Phase::Prepare), ActionFailure::Permanent(why()));
        }
        for code in [
            ErrorCode::CertificateExpired,
            ErrorCode::CertificateNameMismatch,
            ErrorCode::CertificateUntrusted,
        ] {
            assert_eq!(fail(code, Phase::Tls), ActionFailure::Permanent(why()));
        }
        for (code, phase) in [
            (ErrorCode::Timeout, Phase::Processing),
            (ErrorCode::ConnectionReset, Phase::Processing),
            (ErrorCode::Protocol, Phase::Transfer),
        ] {
            assert_eq!(fail(code, phase), ActionFailure::EffectUnknown(why()), "{code:?}");
        }
    }

    #[test]
    fn behind_a_redirect_nobody_knows_what_was_done() {
        let fail = |code| {
            let host = Host::new().http(move |_| Err(testing::net_error(code, Phase::Connect, "why")));
            run(&json!({"url": "http://a", "follow-redirects": 1}), host).unwrap_err()
        };
        let why = || "why".to_owned();
        for code in [
            ErrorCode::ConnectionRefused,
            ErrorCode::Denied,
            ErrorCode::TooManyRedirects,
        ] {
            assert_eq!(fail(code), ActionFailure::EffectUnknown(why()), "{code:?}");
        }
        assert_eq!(fail(ErrorCode::InvalidRequest), ActionFailure::Permanent(why()));
    }

    #[test]
    fn wrong_settings_send_nothing() {
        let host = Host::new().http(|_| panic!("sent"));
        let failure = run(&json!({"url": "http://a/{{color}}"}), host).unwrap_err();
        assert_eq!(
            failure,
            ActionFailure::Permanent("/url: there is no {{color}} here".into())
        );
    }
}

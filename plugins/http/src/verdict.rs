//! From an answer to a report.

use crate::{body::Checks, settings::Settings};
use pulse_plugin_sdk::{Attempt, Measurement, Report, Worries, http::Response, text};
use std::time::Duration;

/// Judges an answer. Down goes before degraded, and what is asked for first is said first: the status, the body,
/// the certificate, the latency.
pub fn report(settings: &Settings, checks: &Checks, attempt: &Attempt, response: &Response) -> Report {
    let left = response
        .tls
        .as_ref()
        .and_then(|tls| tls.seconds_left(attempt.scheduled_at));
    let mut report = verdict(settings, checks, response, left);
    if settings.insecure && response.tls.is_some() {
        report.summary.push_str(" · certificate NOT verified (insecure)");
    }
    report.with(measurements(response, left))
}

fn verdict(settings: &Settings, checks: &Checks, response: &Response, left: Option<i64>) -> Report {
    let status = response.status;
    if !settings
        .expect_status
        .iter()
        .any(|pattern| pattern.allows(status))
    {
        let expected: Vec<String> = settings.expect_status.iter().map(ToString::to_string).collect();
        let to = match response.header("location") {
            Some(place) if status / 100 == 3 => format!(" to {}", text::excerpt(place, 200)),
            _ => String::new(),
        };
        let summary = format!("HTTP {status}{to}, expected {}", expected.join(" or "));
        return Report::unhealthy("unexpected-status", summary);
    }
    if let Some(mismatch) = checks.mismatch(&response.text(), response.body_truncated) {
        return Report::unhealthy("body-mismatch", format!("HTTP {status}, but {mismatch}"));
    }

    let took = response.timings.total();
    let summary = format!("HTTP {status} in {}", text::milliseconds(took));
    Worries::new()
        .certificate(left, settings.certificate_days())
        .slow(took, settings.max_latency)
        .report(summary)
}

#[allow(clippy::cast_precision_loss, reason = "no certificate lives for 2^53 seconds")]
fn measurements(response: &Response, left: Option<i64>) -> impl Iterator<Item = Measurement> {
    let timings = &response.timings;
    // A phase that did not take place took no time that could be measured.
    let phase = |name, us| (us > 0).then(|| Measurement::seconds(name, Duration::from_micros(us)));
    [
        Some(Measurement::seconds("duration", timings.total())),
        phase("resolve_duration", timings.resolve_us),
        phase("connect_duration", timings.connect_us),
        phase("tls_duration", timings.tls_us),
        phase("processing_duration", timings.processing_us),
        phase("transfer_duration", timings.transfer_us),
        Some(Measurement::new("status_code", f64::from(response.status), "")),
        Some(Measurement::new("body_size", response.body.len() as f64, "By")),
        Some(Measurement::new("redirects", f64::from(response.redirects), "")),
    ]
    .into_iter()
    .flatten()
    .chain(left.map(|left| Measurement::new("certificate_expiry", left as f64, "s")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulse_plugin_sdk::{Status, http, settings::parse, testing};
    use serde_json::{Value, json};

    /// [`testing::attempt`] falls due at that second.
    const NOW: i64 = 1_795_502_400;
    const DAY_S: i64 = 86_400;

    fn judge(settings: Value, response: &Response) -> Report {
        let mut whole = json!({"url": "https://shop.example/"});
        whole
            .as_object_mut()
            .unwrap()
            .extend(settings.as_object().unwrap().clone());
        let settings: Settings = parse(&whole.to_string()).unwrap();
        report(
            &settings,
            &settings.checks().unwrap(),
            &testing::attempt(),
            response,
        )
    }

    fn over_tls(seconds_left: i64) -> Response {
        Response {
            tls: Some(testing::tls_facts(NOW + seconds_left)),
            ..testing::response(200, "ok")
        }
    }

    fn is(report: &Report, status: Status, reason: Option<&str>, summary: &str) {
        assert_eq!((report.status, report.reason.as_deref()), (status, reason));
        assert_eq!(report.summary, summary);
    }

    #[test]
    fn a_good_answer() {
        let report = judge(json!({}), &testing::response(204, ""));
        is(&report, Status::Healthy, None, "HTTP 204 in 25 ms");
    }

    #[test]
    fn a_wrong_status() {
        let report = judge(
            json!({"expect-status": ["2xx", 301]}),
            &testing::response(503, ""),
        );
        is(
            &report,
            Status::Unhealthy,
            Some("unexpected-status"),
            "HTTP 503, expected 2xx or 301",
        );
        assert!(
            report
                .measurements
                .iter()
                .any(|number| number.name == "status_code")
        );
    }

    #[test]
    fn a_redirect_that_was_not_followed_says_where_to() {
        let mut response = testing::response(302, "");
        response.headers.push(http::Header {
            name: "Location".into(),
            value: "/log\nin".into(),
        });
        let report = judge(json!({"follow-redirects": 0}), &response);
        is(
            &report,
            Status::Unhealthy,
            Some("unexpected-status"),
            "HTTP 302 to /log in, expected 2xx",
        );
    }

    #[test]
    fn a_wrong_body() {
        let report = judge(
            json!({"body-contains": "welcome"}),
            &testing::response(200, "sorry"),
        );
        is(
            &report,
            Status::Unhealthy,
            Some("body-mismatch"),
            "HTTP 200, but body lacks \"welcome\"",
        );
    }

    #[test]
    fn a_slow_answer() {
        let report = judge(json!({"max-latency": "24ms"}), &testing::response(200, ""));
        is(
            &report,
            Status::Degraded,
            Some("slow"),
            "HTTP 200 in 25 ms, slower than 24ms",
        );
        let report = judge(json!({"max-latency": "25ms"}), &testing::response(200, ""));
        assert_eq!(report.status, Status::Healthy);
    }

    #[test]
    fn a_certificate_that_ends_soon() {
        let report = judge(json!({}), &over_tls(3 * DAY_S));
        is(
            &report,
            Status::Degraded,
            Some("certificate-expiring"),
            "HTTP 200 in 25 ms, certificate ends in 3 days",
        );
        assert_eq!(judge(json!({}), &over_tls(14 * DAY_S)).status, Status::Healthy);
        assert_eq!(
            judge(json!({"certificate-days": 0}), &over_tls(60)).status,
            Status::Healthy
        );
        assert_eq!(
            judge(json!({"certificate-days": 30}), &over_tls(29 * DAY_S)).status,
            Status::Degraded
        );
        let measured = judge(json!({}), &over_tls(100)).measurements;
        let expiry = measured
            .iter()
            .find(|number| number.name == "certificate_expiry")
            .unwrap();
        assert_eq!((expiry.value, expiry.unit.as_str()), (100.0, "s"));
    }

    #[test]
    fn all_worries_are_said_and_the_first_is_the_reason() {
        let report = judge(json!({"max-latency": 1}), &over_tls(7_200));
        is(
            &report,
            Status::Degraded,
            Some("certificate-expiring"),
            "HTTP 200 in 25 ms, certificate ends in 2 h, slower than 1ms",
        );
    }

    #[test]
    fn insecure_is_said_every_time() {
        let report = judge(json!({"insecure": true}), &over_tls(-5));
        is(
            &report,
            Status::Healthy,
            None,
            "HTTP 200 in 25 ms · certificate NOT verified (insecure)",
        );
        let report = judge(json!({"insecure": true, "certificate-days": 1}), &over_tls(-5));
        assert_eq!(report.reason.as_deref(), Some("certificate-expiring"));
        assert!(report.summary.contains("certificate has ended"));
    }

    #[test]
    fn measurements_are_complete_and_finite() {
        fn names(report: &Report) -> Vec<&str> {
            report
                .measurements
                .iter()
                .map(|number| number.name.as_str())
                .collect()
        }
        let plain = judge(json!({}), &testing::response(200, ""));
        for phase in ["resolve_duration", "tls_duration"] {
            assert!(!names(&plain).contains(&phase), "{phase} did not take place");
        }
        let mut whole = over_tls(1);
        (whole.timings.resolve_us, whole.timings.tls_us) = (1, 1);
        let report = judge(json!({}), &whole);
        assert_eq!(
            names(&report),
            [
                "duration",
                "resolve_duration",
                "connect_duration",
                "tls_duration",
                "processing_duration",
                "transfer_duration",
                "status_code",
                "body_size",
                "redirects",
                "certificate_expiry"
            ]
        );
        let readme = include_str!("../README.md");
        for number in &report.measurements {
            assert!(number.value.is_finite());
            assert!(
                readme.contains(&format!("| `{}` |", number.name)),
                "{} in the README",
                number.name
            );
        }
    }
}

//! Checks that a TCP port accepts connections and, if wanted, says the right thing.
//!
//! Invariant: only what the target did is held against it. Settings that make no dialogue and trouble of the host
//! are faults.

mod settings;

use pulse_plugin_sdk::{
    Attempt, Fault, Measurement, Pulse, PulseJob, Report, Worries, export_plugin, tcp, text,
};
use settings::Settings;
use std::time::Duration;

/// The plugin.
pub struct Tcp;

impl Pulse for Tcp {
    type Settings = Settings;

    fn run(job: PulseJob<Settings>) -> Result<Report, Fault> {
        let dialogue = job.settings.dialogue()?.timeout(job.attempt.budget());
        match dialogue.run() {
            Ok(response) => Ok(report(&job.settings, &job.attempt, &response)),
            Err(error) => Report::from_error(&error),
        }
    }
}

fn report(settings: &Settings, attempt: &Attempt, response: &tcp::Response) -> Report {
    let facts = response.tls.as_ref();
    let left = facts.and_then(|tls| tls.seconds_left(attempt.scheduled_at));
    let mut report = match mismatch(settings, response) {
        Some(mismatch) => Report::unhealthy("unexpected-answer", mismatch),
        None => {
            let took = response.timings.total();
            let did = if response.received.is_empty() {
                "connected"
            } else {
                "answered"
            };
            Worries::new()
                .certificate(left, settings.certificate_days())
                .slow(took, settings.max_latency)
                .report(format!("{did} in {}", text::milliseconds(took)))
        }
    };
    if settings.insecure {
        report.summary.push_str(" · certificate NOT verified (insecure)");
    }
    report.with(measurements(response, left))
}

/// What did not come as expected, in words.
fn mismatch(settings: &Settings, response: &tcp::Response) -> Option<String> {
    let received = String::from_utf8_lossy(&response.received);
    let line = received.lines().next().unwrap_or_default();
    // A line that came whole is judged even where the text after it never came: it says more.
    let whole_line = received.contains('\n');
    match &settings.expect_line {
        Some(expected) if whole_line && !line.starts_with(expected) => Some(format!(
            "the first line is {:?}, expected {:?}",
            text::excerpt(line, 100),
            text::excerpt(expected, 100),
        )),
        _ => response.unmet.map(|_| {
            let expected = match (&settings.expect_line, &settings.expect) {
                (Some(_), _) if !whole_line => "a line".into(),
                (_, Some(text)) => format!("{:?}", text::excerpt(text, 100)),
                _ => "what was expected".into(),
            };
            format!(
                "{expected} did not come: the connection ended, or more came than is read, after {} bytes",
                response.received.len()
            )
        }),
    }
}

#[allow(clippy::cast_precision_loss, reason = "no certificate lives for 2^53 seconds")]
fn measurements(response: &tcp::Response, left: Option<i64>) -> impl Iterator<Item = Measurement> {
    let timings = &response.timings;
    // A phase that did not take place took no time that could be measured.
    let phase = |name, us| (us > 0).then(|| Measurement::seconds(name, Duration::from_micros(us)));
    [
        Some(Measurement::seconds("duration", timings.total())),
        phase("resolve_duration", timings.resolve_us),
        phase("connect_duration", timings.connect_us),
        phase("tls_duration", timings.tls_us),
        phase("dialogue_duration", timings.processing_us),
        Some(Measurement::new(
            "received_size",
            response.received.len() as f64,
            "By",
        )),
    ]
    .into_iter()
    .flatten()
    .chain(left.map(|left| Measurement::new("certificate_expiry", left as f64, "s")))
}

export_plugin! {
    name: "tcp",
    summary: "Checks that a TCP port accepts connections and, if wanted, says the right thing",
    pulse: Tcp,
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulse_plugin_sdk::{
        Status,
        net::{ErrorCode, Phase, Timings},
        testing::{self, Host},
    };
    use serde_json::{Value, json};

    fn response(received: &str) -> tcp::Response {
        tcp::Response {
            peer: "192.0.2.7:25".into(),
            received: received.as_bytes().to_vec(),
            unmet: None,
            timings: Timings {
                resolve_us: 0,
                connect_us: 2_000,
                tls_us: 0,
                processing_us: 1_200,
                transfer_us: 0,
            },
            tls: None,
        }
    }

    fn check(settings: &Value, answer: tcp::Response) -> Report {
        let host = Host::new().tcp(move |request| {
            assert_eq!(request.timeout_ms, Some(4_900));
            Ok(answer.clone())
        });
        host.run(|| testing::pulse::<Exports>(settings)).0.unwrap()
    }

    #[test]
    fn manifest_and_readme_agree() {
        let (manifest, readme) = (include_str!("../plugin.toml"), include_str!("../README.md"));
        testing::check_manifest::<Exports>(manifest, readme).unwrap();
    }

    #[test]
    fn an_open_port_is_healthy() {
        let report = check(&json!({"address": "a:1"}), response(""));
        assert_eq!(
            (report.status, report.summary.as_str()),
            (Status::Healthy, "connected in 3.2 ms")
        );
        let names: Vec<&str> = report
            .measurements
            .iter()
            .map(|number| number.name.as_str())
            .collect();
        assert_eq!(
            names,
            [
                "duration",
                "connect_duration",
                "dialogue_duration",
                "received_size"
            ],
            "no name was looked up and no TLS spoken"
        );
        let readme = include_str!("../README.md");
        for number in &report.measurements {
            assert!(
                readme.contains(&format!("| `{}` |", number.name)),
                "{} in the README",
                number.name
            );
        }
    }

    #[test]
    fn the_first_line_must_begin_as_expected() {
        let settings = json!({"address": "a:1", "expect-line": "220"});
        let report = check(&settings, response("220 mail ESMTP\r\n"));
        assert_eq!(
            (report.status, report.summary.as_str()),
            (Status::Healthy, "answered in 3.2 ms")
        );
        let report = check(&settings, response("554 go\u{1b} away\r\n"));
        assert_eq!(report.reason.as_deref(), Some("unexpected-answer"));
        assert_eq!(
            report.summary,
            "the first line is \"554 go  away\", expected \"220\""
        );
    }

    #[test]
    fn what_never_came_is_unhealthy() {
        let cut = |received| tcp::Response {
            unmet: Some(0),
            ..response(received)
        };
        let report = check(&json!({"address": "a:1", "expect": "PONG"}), cut("-ERR"));
        assert_eq!(report.status, Status::Unhealthy);
        assert!(
            report.summary.starts_with("\"PONG\" did not come"),
            "{}",
            report.summary
        );
        assert!(report.summary.ends_with("after 4 bytes"), "{}", report.summary);
        let report = check(&json!({"address": "a:1", "expect-line": "220"}), cut("22"));
        assert!(
            report.summary.starts_with("a line did not come"),
            "{}",
            report.summary
        );
        let both = json!({"address": "a:1", "expect-line": "220", "expect": "OK"});
        let report = check(&both, cut("421 busy\n"));
        assert!(
            report.summary.starts_with("the first line is \"421 busy\""),
            "{}",
            report.summary
        );
    }

    #[test]
    fn worries_degrade() {
        let report = check(&json!({"address": "a:1", "max-latency": 3}), response(""));
        assert_eq!(
            (report.status, report.reason.as_deref()),
            (Status::Degraded, Some("slow"))
        );
        let mut over_tls = response("");
        over_tls.tls = Some(testing::tls_facts(1_795_502_400 + 86_400 * 3));
        let report = check(&json!({"address": "a:1", "tls": true}), over_tls.clone());
        assert_eq!(report.reason.as_deref(), Some("certificate-expiring"));
        let report = check(
            &json!({"address": "a:1", "tls": true, "insecure": true}),
            over_tls,
        );
        assert_eq!(report.status, Status::Healthy);
        assert!(report.summary.ends_with("certificate NOT verified (insecure)"));
    }

    #[test]
    fn every_failure_of_the_target_has_its_reason_in_the_readme_and_the_host_s_trouble_is_none() {
        let failing = |code| {
            let host = Host::new().tcp(move |_| Err(testing::net_error(code, Phase::Connect, "in words")));
            host.run(|| testing::pulse::<Exports>(&json!({"address": "a:1"})))
                .0
        };
        let readme = include_str!("../README.md");
        for code in [
            ErrorCode::NameNotFound,
            ErrorCode::ResolveFailed,
            ErrorCode::ConnectionRefused,
            ErrorCode::ConnectionReset,
            ErrorCode::Unreachable,
            ErrorCode::Timeout,
            ErrorCode::CertificateExpired,
            ErrorCode::CertificateNameMismatch,
            ErrorCode::CertificateUntrusted,
            ErrorCode::TlsFailed,
            ErrorCode::Protocol,
        ] {
            let report = failing(code).unwrap();
            assert_eq!(
                (report.status, report.summary.as_str()),
                (Status::Unhealthy, "in words")
            );
            let reason = report.reason.unwrap();
            assert!(
                readme.contains(&format!("| `{reason}` | unhealthy |")),
                "{reason}"
            );
        }
        assert_eq!(failing(ErrorCode::Host), Err(Fault::Internal("in words".into())));
    }

    #[test]
    fn a_bad_address_is_a_fault_with_its_place() {
        let result = testing::pulse::<Exports>(&json!({"address": "db"}));
        assert!(
            matches!(result, Err(Fault::InvalidSettings(text)) if text.starts_with("/address: \"db\" is no address"))
        );
    }
}

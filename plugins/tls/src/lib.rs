//! Checks the certificate and the handshake of a TLS server.
//!
//! Invariant: what is wrong with a chain is said with the chain's own facts, since the host shakes hands with anybody
//! and judges beside it.

mod settings;

use pulse_plugin_sdk::{
    Attempt, Fault, Measurement, Pulse, PulseJob, Report, Worries, export_plugin, text, time, tls,
};
use settings::{Settings, Version};
use std::time::Duration;

const DAY_S: i64 = 86_400;

/// The plugin.
pub struct Tls;

impl Pulse for Tls {
    type Settings = Settings;

    fn run(job: PulseJob<Settings>) -> Result<Report, Fault> {
        let handshake = job.settings.handshake().timeout(job.attempt.budget());
        match handshake.handshake() {
            Ok(response) => Ok(report(&job.settings, &job.attempt, &response)),
            Err(error) => Report::from_error(&error),
        }
    }
}

fn report(settings: &Settings, attempt: &Attempt, response: &tls::Response) -> Report {
    let left = response.tls.seconds_left(attempt.scheduled_at);
    let mut report = wrong(settings, response, left).unwrap_or_else(|| {
        let took = Duration::from_micros(response.timings.tls_us);
        Worries::new()
            .certificate(left, settings.warning_days)
            .slow(took, settings.max_handshake)
            .report(format!("{}{}", response.tls.version, ends(response, left)))
    });
    if !settings.verify {
        report.summary.push_str(" · chain NOT verified");
    }
    report.with(measurements(response, left))
}

/// ` · ends 2027-01-15 (52 days)`: the end of the peer's own certificate.
fn ends(response: &tls::Response, left: Option<i64>) -> String {
    let (Some(leaf), Some(left)) = (response.tls.certificates.first(), left) else {
        return String::new();
    };
    let ms = u64::try_from(leaf.not_after).unwrap_or(0).saturating_mul(1_000);
    let date = time::rfc3339(ms);
    format!(
        " · {} ends {} ({} days)",
        text::excerpt(&leaf.subject, 200),
        text::head(&date, 10),
        left.div_euclid(DAY_S)
    )
}

/// The first thing that makes the target unhealthy.
fn wrong(settings: &Settings, response: &tls::Response, left: Option<i64>) -> Option<Report> {
    let facts = &response.tls;
    let ends = ends(response, left);
    if let Some(refusal) = &response.refusal {
        return Some(Report::unhealthy(
            refusal.code.reason(),
            format!("{}{ends}", text::excerpt(&refusal.message, 500)),
        ));
    }
    let Some((leaf, left)) = facts.certificates.first().zip(left) else {
        return Some(Report::unhealthy(
            "tls-no-certificate",
            "the server showed no certificate",
        ));
    };
    if let Some(wanted) = settings.digest().filter(|wanted| *wanted != leaf.sha256) {
        return Some(Report::unhealthy(
            "certificate-changed",
            format!(
                "the certificate's SHA-256 is {}, expected {wanted}{ends}",
                leaf.sha256
            ),
        ));
    }
    // Zero days is not "within zero days": an ended certificate is the chain's own trouble then.
    if settings.days > 0 && left < i64::from(settings.days) * DAY_S {
        let words = if left < 0 {
            "the certificate has ended"
        } else {
            "the certificate is about to end"
        };
        return Some(Report::unhealthy(
            "certificate-expiring",
            format!("{words}{ends}"),
        ));
    }
    if !settings.alpn.is_empty() && facts.alpn.is_none() {
        let offered = text::excerpt(&settings.alpn.join(", "), 200);
        return Some(Report::unhealthy(
            "no-application-protocol",
            format!("the server chose none of the protocols {offered}"),
        ));
    }
    if settings.version == Some(Version::V13) && facts.version != "TLSv1.3" {
        let version = text::excerpt(&facts.version, 50);
        return Some(Report::unhealthy(
            "old-version",
            format!("the server speaks {version}, expected TLSv1.3"),
        ));
    }
    None
}

#[allow(clippy::cast_precision_loss, reason = "no certificate lives for 2^53 seconds")]
fn measurements(response: &tls::Response, left: Option<i64>) -> impl Iterator<Item = Measurement> {
    let timings = &response.timings;
    // A phase that did not take place took no time that could be measured.
    let phase = |name, us| (us > 0).then(|| Measurement::seconds(name, Duration::from_micros(us)));
    [
        Some(Measurement::seconds("duration", timings.total())),
        phase("resolve_duration", timings.resolve_us),
        phase("connect_duration", timings.connect_us),
        phase("starttls_duration", timings.processing_us),
        phase("tls_duration", timings.tls_us),
        Some(Measurement::new(
            "chain_certificates",
            response.tls.certificates.len() as f64,
            "",
        )),
        left.map(|left| Measurement::new("certificate_expiry", left as f64, "s")),
        left.map(|left| Measurement::new("certificate_days", left as f64 / DAY_S as f64, "d")),
    ]
    .into_iter()
    .flatten()
}

export_plugin! {
    name: "tls",
    summary: "Checks the certificate and the handshake of a TLS server",
    pulse: Tls,
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulse_plugin_sdk::{
        Status,
        net::{ErrorCode, Phase},
        tcp::{Expectation, Step},
        testing::{self, Host},
    };
    use serde_json::{Value, json};

    const NOW_S: i64 = 1_795_502_400;

    fn settings(more: &Value) -> Value {
        let mut settings = json!({"address": "shop.example:443"});
        let more = more.as_object().unwrap().clone();
        settings.as_object_mut().unwrap().extend(more);
        settings
    }

    fn check(more: &Value, answer: tls::Response) -> Report {
        let host = Host::new().tls(move |request| {
            assert_eq!((request.host.as_str(), request.port), ("shop.example", 443));
            assert_eq!(request.timeout_ms, Some(4_900));
            Ok(answer.clone())
        });
        host.run(|| testing::pulse::<Exports>(&settings(more))).0.unwrap()
    }

    fn in_days(days: i64) -> tls::Response {
        testing::handshake(NOW_S + days * DAY_S)
    }

    fn reason(report: &Report) -> (Status, &str) {
        (report.status, report.reason.as_deref().unwrap_or_default())
    }

    #[test]
    fn manifest_and_readme_agree() {
        let (manifest, readme) = (include_str!("../plugin.toml"), include_str!("../README.md"));
        testing::check_manifest::<Exports>(manifest, readme).unwrap();
    }

    #[test]
    fn a_good_certificate_is_healthy_and_measured() {
        let report = check(&json!({}), in_days(52));
        assert_eq!(report.status, Status::Healthy);
        assert_eq!(
            report.summary,
            "TLSv1.3 · CN=shop.example ends 2027-01-15 (52 days)"
        );
        let measured: Vec<_> = report
            .measurements
            .iter()
            .map(|number| (number.name.as_str(), number.value, number.unit.as_str()))
            .collect();
        assert_eq!(
            measured,
            [
                ("duration", 0.004, "s"),
                ("connect_duration", 0.001, "s"),
                ("tls_duration", 0.003, "s"),
                ("chain_certificates", 1.0, ""),
                ("certificate_expiry", 52.0 * 86_400.0, "s"),
                ("certificate_days", 52.0, "d"),
            ]
        );
        let readme = include_str!("../README.md");
        for (name, ..) in measured {
            assert!(readme.contains(&format!("| `{name}` |")), "{name} in the README");
        }
    }

    #[test]
    fn the_end_of_a_certificate() {
        for (days, more, expected) in [
            (13, json!({}), (Status::Degraded, "certificate-expiring")),
            (2, json!({}), (Status::Unhealthy, "certificate-expiring")),
            (
                -1,
                json!({"verify": false}),
                (Status::Unhealthy, "certificate-expiring"),
            ),
            (
                29,
                json!({"days": 30}),
                (Status::Unhealthy, "certificate-expiring"),
            ),
            (13, json!({"warning-days": 0}), (Status::Healthy, "")),
            (1, json!({"days": 0}), (Status::Degraded, "certificate-expiring")),
        ] {
            let report = check(&more, in_days(days));
            assert_eq!(reason(&report), expected, "{days} {more}: {}", report.summary);
        }
    }

    #[test]
    fn what_is_wrong_with_a_chain_is_said_with_its_facts() {
        for (code, expected) in [
            (ErrorCode::CertificateExpired, "tls-expired"),
            (ErrorCode::CertificateNameMismatch, "tls-name-mismatch"),
            (ErrorCode::CertificateUntrusted, "tls-untrusted"),
        ] {
            let mut answer = in_days(52);
            answer.refusal = Some(testing::net_error(code, Phase::Tls, "in words"));
            let report = check(&json!({}), answer);
            assert_eq!(reason(&report), (Status::Unhealthy, expected));
            assert_eq!(
                report.summary,
                "in words · CN=shop.example ends 2027-01-15 (52 days)"
            );
            assert!(
                report
                    .measurements
                    .iter()
                    .any(|number| number.name == "certificate_days")
            );
        }
    }

    #[test]
    fn without_judging_every_report_says_so() {
        let host = Host::new().tls(|request| {
            assert!(request.tls.insecure);
            Ok(testing::handshake(NOW_S + 52 * DAY_S))
        });
        let settings = settings(&json!({"verify": false}));
        let report = host.run(|| testing::pulse::<Exports>(&settings)).0.unwrap();
        assert!(
            report.summary.ends_with(" · chain NOT verified"),
            "{}",
            report.summary
        );
    }

    #[test]
    fn what_is_expected_beside_a_good_chain() {
        let mut pinned = in_days(52);
        pinned.tls.certificates[0].sha256 = "ab".repeat(32);
        let colons = vec!["AB"; 32].join(":");
        assert_eq!(
            check(&json!({"sha256": colons}), pinned.clone()).status,
            Status::Healthy
        );
        let other = json!({"sha256": "cd".repeat(32)});
        assert_eq!(reason(&check(&other, pinned)).1, "certificate-changed");

        let mut plain = in_days(52);
        plain.tls.alpn = None;
        plain.tls.version = "TLSv1.2".into();
        assert_eq!(
            reason(&check(&json!({"alpn": ["h2"]}), plain.clone())).1,
            "no-application-protocol"
        );
        assert_eq!(
            reason(&check(&json!({"version": "1.3"}), plain.clone())).1,
            "old-version"
        );
        assert_eq!(
            check(&json!({"version": "1.2"}), plain.clone()).status,
            Status::Healthy
        );
        assert_eq!(
            reason(&check(&json!({"max-handshake": "2ms"}), plain.clone())),
            (Status::Degraded, "slow")
        );
        plain.tls.certificates.clear();
        assert_eq!(reason(&check(&json!({}), plain)).1, "tls-no-certificate");
    }

    #[test]
    fn mail_servers_are_asked_in_the_clear_first() {
        for (protocol, command) in [
            ("smtp", "STARTTLS\r\n"),
            ("imap", "a1 STARTTLS\r\n"),
            ("pop3", "STLS\r\n"),
        ] {
            let host = Host::new().tls(move |request| {
                assert!(request.before.contains(&Step::Send(command.into())));
                assert_eq!(request.before.last(), Some(&Step::Expect(Expectation::Line)));
                Ok(testing::handshake(NOW_S + 52 * DAY_S))
            });
            let settings = settings(&json!({"starttls": protocol}));
            let report = host.run(|| testing::pulse::<Exports>(&settings)).0.unwrap();
            assert_eq!(report.status, Status::Healthy);
        }
    }

    #[test]
    fn a_refused_connection_is_unhealthy_and_the_host_s_trouble_is_not() {
        let failing = |code| {
            let host = Host::new().tls(move |_| Err(testing::net_error(code, Phase::Connect, "in words")));
            host.run(|| testing::pulse::<Exports>(&settings(&json!({})))).0
        };
        let report = failing(ErrorCode::ConnectionRefused).unwrap();
        assert_eq!(report.reason.as_deref(), Some("connection-refused"));
        assert_eq!(failing(ErrorCode::Host), Err(Fault::Internal("in words".into())));
    }
}

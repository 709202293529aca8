//! What a check found, in the names and units of Prometheus' blackbox exporter.
//!
//! What that exporter has a name for stands under that name; all other measurements are series of one family. Nothing is
//! there twice, and nothing is there that was not measured.

use super::exposition::Text;
use crate::domain::{
    outcome::{Measurement, Outcome, Status},
    time::Wall,
};
use std::{collections::BTreeSet, time::Duration};

/// A family of gauges, and what goes into it.
struct Family {
    name: &'static str,
    help: &'static str,
    samples: Vec<(Vec<(&'static str, String)>, f64)>,
}

/// What is known by a name of the exporter's.
struct Known<'m> {
    measurements: &'m [Measurement],
    used: BTreeSet<&'m str>,
    families: Vec<Family>,
}

impl<'m> Known<'m> {
    fn find(&self, name: &str, unit: &str) -> Option<&'m Measurement> {
        let mut all = self.measurements.iter();
        all.find(|one| one.name == name && one.unit == unit)
    }

    fn has(&self, name: &str) -> bool {
        self.measurements.iter().any(|one| one.name == name)
    }

    /// A family of one series, with what becomes of the value.
    fn single(
        &mut self,
        (name, help): (&'static str, &'static str),
        (measured, unit): (&str, &str),
        becomes: impl Fn(f64) -> f64,
    ) {
        if let Some(found) = self.find(measured, unit) {
            self.used.insert(&found.name);
            self.families.push(Family {
                name,
                help,
                samples: vec![(Vec::new(), becomes(found.value))],
            });
        }
    }

    /// A family with a series for each phase that took place.
    fn phases(
        &mut self,
        (name, help): (&'static str, &'static str),
        phases: &[(&'static str, &'static str)],
    ) {
        let mut samples = Vec::new();
        for (phase, measured) in phases {
            if let Some(found) = self.find(measured, "s") {
                self.used.insert(&found.name);
                samples.push((vec![("phase", (*phase).to_owned())], found.value));
            }
        }
        if !samples.is_empty() {
            self.families.push(Family { name, help, samples });
        }
    }
}

const SAME: fn(f64) -> f64 = |value| value;

/// Writes all of it. `began` is the time that the plugin was told.
pub fn write(outcome: &Outcome, took: Duration, began: Wall, text: &mut Text) {
    let verdict = outcome.verdict();
    let good = matches!(verdict, Some(Status::Healthy | Status::Degraded));
    single(
        text,
        "probe_success",
        "Whether the probe was a success.",
        flag(good),
    );
    single(
        text,
        "probe_duration_seconds",
        "How long the probe took, in seconds.",
        took.as_secs_f64(),
    );
    single(
        text,
        "probe_degraded",
        "Whether the target is alive, but not as it should be.",
        flag(verdict == Some(Status::Degraded)),
    );
    let report = outcome.report();
    let reason = report.and_then(|report| report.reason.as_deref());
    let reason = reason.or((!good).then_some("timeout").filter(|_| report.is_none()));
    if let Some(reason) = reason {
        text.gauge("probe_reason_info", "Why it is not healthy; always 1.");
        text.sample(&[("reason", reason)], 1.0);
    }
    let measurements = report.map_or(&[][..], |report| &report.measurements);
    let mut known = Known {
        measurements,
        used: BTreeSet::new(),
        families: Vec::new(),
    };
    known.single(
        (
            "probe_dns_lookup_time_seconds",
            "How long looking the name up took, in seconds.",
        ),
        ("resolve_duration", "s"),
        SAME,
    );
    if known.has("status_code") {
        of_http(&mut known);
    }
    if known.has("loss") {
        of_icmp(&mut known);
    }
    if known.has("query_duration") {
        known.phases(
            (
                "probe_dns_duration_seconds",
                "How long each phase took, in seconds.",
            ),
            &[("request", "query_duration")],
        );
        known.single(
            ("probe_dns_answer_rrs", "Records in the answer."),
            ("records", ""),
            SAME,
        );
    }
    known.single(
        (
            "probe_ssl_earliest_cert_expiry",
            "When the certificate ends, in seconds since 1970.",
        ),
        ("certificate_expiry", "s"),
        // It was counted from whole seconds.
        |left| (began.0 / 1000) as f64 + left,
    );
    let Known { used, families, .. } = known;
    for family in families {
        text.gauge(family.name, family.help);
        for (labels, value) in family.samples {
            let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (*name, &**value)).collect();
            text.sample(&labels, value);
        }
    }
    others(measurements, &used, text);
}

fn of_http(known: &mut Known<'_>) {
    known.phases(
        (
            "probe_http_duration_seconds",
            "How long each phase took, in seconds.",
        ),
        &[
            ("resolve", "resolve_duration"),
            ("connect", "connect_duration"),
            ("tls", "tls_duration"),
            ("processing", "processing_duration"),
            ("transfer", "transfer_duration"),
        ],
    );
    known.single(
        ("probe_http_status_code", "Status of the answer."),
        ("status_code", ""),
        SAME,
    );
    known.single(
        ("probe_http_redirects", "Redirects that were followed."),
        ("redirects", ""),
        SAME,
    );
    known.single(
        (
            "probe_http_uncompressed_body_length",
            "Bytes of the body that were read.",
        ),
        ("body_size", "By"),
        SAME,
    );
    let tls = known.has("tls_duration") || known.has("certificate_expiry");
    known.families.push(Family {
        name: "probe_http_ssl",
        help: "Whether the answer came over TLS.",
        samples: vec![(Vec::new(), flag(tls))],
    });
}

fn of_icmp(known: &mut Known<'_>) {
    known.phases(
        (
            "probe_icmp_duration_seconds",
            "How long each phase took, in seconds.",
        ),
        &[("resolve", "resolve_duration"), ("rtt", "rtt_mean")],
    );
    known.single(
        (
            "probe_icmp_reply_hop_limit",
            "Least time to live that was left of an answer.",
        ),
        ("ttl", ""),
        SAME,
    );
}

/// What has no other name. A name with a unit is there once, as Prometheus wants it.
fn others(measurements: &[Measurement], used: &BTreeSet<&str>, text: &mut Text) {
    let mut seen = BTreeSet::new();
    for one in measurements {
        if used.contains(&*one.name) || !seen.insert((&one.name, &one.unit)) {
            continue;
        }
        if seen.len() == 1 {
            text.gauge("probe_measurement", "What else the plugin measured.");
        }
        text.sample(&[("name", &one.name), ("unit", &one.unit)], one.value);
    }
}

fn single(text: &mut Text, name: &'static str, help: &str, value: f64) {
    text.gauge(name, help);
    text.sample(&[], value);
}

fn flag(on: bool) -> f64 {
    f64::from(u8::from(on))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::outcome::{Answer, Report};

    fn answered(status: Status, reason: Option<&str>, measured: &[(&str, f64, &str)]) -> String {
        let report = Report {
            status,
            summary: "so".to_owned(),
            reason: reason.map(str::to_owned),
            measurements: measured
                .iter()
                .map(|(name, value, unit)| Measurement {
                    name: (*name).to_owned(),
                    value: *value,
                    unit: (*unit).to_owned(),
                })
                .collect(),
        };
        shown(&Outcome::Answer(Answer::Pulse(report)))
    }

    /// Without what is said of each family. No family is there twice.
    fn shown(outcome: &Outcome) -> String {
        let mut text = Text::default();
        write(outcome, Duration::from_millis(250), Wall(1_000_900), &mut text);
        let text = text.finish();
        let families: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        let once: BTreeSet<&&str> = families.iter().collect();
        assert_eq!(families.len(), once.len(), "{text}");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| format!("{line}\n")).collect()
    }

    #[test]
    fn a_web_page_has_the_names_and_units_of_the_exporter() {
        let text = answered(
            Status::Healthy,
            None,
            &[
                ("duration", 0.2, "s"),
                ("resolve_duration", 0.01, "s"),
                ("connect_duration", 0.02, "s"),
                ("tls_duration", 0.03, "s"),
                ("processing_duration", 0.04, "s"),
                ("transfer_duration", 0.05, "s"),
                ("status_code", 204.0, ""),
                ("body_size", 5.0, "By"),
                ("redirects", 1.0, ""),
                ("certificate_expiry", 100.0, "s"),
                ("queue", 3.0, "{request}"),
                ("queue", 4.0, "{request}"),
            ],
        );
        assert_eq!(
            text,
            "probe_success 1\nprobe_duration_seconds 0.25\nprobe_degraded 0\nprobe_dns_lookup_time_seconds 0.01\n\
             probe_http_duration_seconds{phase=\"resolve\"} 0.01\nprobe_http_duration_seconds{phase=\"connect\"} 0.02\n\
             probe_http_duration_seconds{phase=\"tls\"} 0.03\nprobe_http_duration_seconds{phase=\"processing\"} 0.04\n\
             probe_http_duration_seconds{phase=\"transfer\"} 0.05\nprobe_http_status_code 204\nprobe_http_redirects 1\n\
             probe_http_uncompressed_body_length 5\nprobe_http_ssl 1\nprobe_ssl_earliest_cert_expiry 1100\n\
             probe_measurement{name=\"duration\",unit=\"s\"} 0.2\nprobe_measurement{name=\"queue\",unit=\"{request}\"} 3\n"
        );
    }

    #[test]
    fn echo_requests_questions_and_connections() {
        let text = answered(
            Status::Degraded,
            Some("packet-loss"),
            &[
                ("loss", 0.5, "1"),
                ("duration", 0.2, "s"),
                ("resolve_duration", 0.0, "s"),
                ("rtt_mean", 0.2, "s"),
                ("rtt_max", 0.3, "s"),
                ("ttl", 60.0, ""),
            ],
        );
        assert_eq!(
            text,
            "probe_success 1\nprobe_duration_seconds 0.25\nprobe_degraded 1\nprobe_reason_info{reason=\"packet-loss\"} 1\n\
             probe_dns_lookup_time_seconds 0\nprobe_icmp_duration_seconds{phase=\"resolve\"} 0\n\
             probe_icmp_duration_seconds{phase=\"rtt\"} 0.2\nprobe_icmp_reply_hop_limit 60\n\
             probe_measurement{name=\"loss\",unit=\"1\"} 0.5\nprobe_measurement{name=\"duration\",unit=\"s\"} 0.2\n\
             probe_measurement{name=\"rtt_max\",unit=\"s\"} 0.3\n"
        );
        let text = answered(
            Status::Healthy,
            None,
            &[
                ("query_duration", 0.1, "s"),
                ("records", 2.0, ""),
                ("least_ttl", 300.0, "s"),
            ],
        );
        assert!(text.ends_with(
            "probe_dns_duration_seconds{phase=\"request\"} 0.1\nprobe_dns_answer_rrs 2\n\
             probe_measurement{name=\"least_ttl\",unit=\"s\"} 300\n"
        ));
        let text = answered(Status::Healthy, None, &[("connect_duration", 0.1, "s")]);
        assert!(text.ends_with("probe_measurement{name=\"connect_duration\",unit=\"s\"} 0.1\n"));
    }

    #[test]
    fn what_did_not_answer_in_time_is_down() {
        assert_eq!(
            shown(&Outcome::DeadlineWaiting),
            "probe_success 0\nprobe_duration_seconds 0.25\nprobe_degraded 0\nprobe_reason_info{reason=\"timeout\"} 1\n"
        );
        let down = answered(Status::Unhealthy, Some("a\"b"), &[]);
        assert!(
            down.starts_with("probe_success 0\n") && down.contains("{reason=\"a\\\"b\"} 1\n"),
            "{down}"
        );
    }
}

//! The payload of Alertmanager's webhook receiver, version 4, with one alert in it.
//! <https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>

use crate::settings::Settings;
use pulse_plugin_sdk::{CodeJob, Color, time};
use serde::Serialize;
use std::collections::BTreeMap;

type Words = BTreeMap<String, String>;

/// In the order of Alertmanager's own documentation.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Payload<'a> {
    version: &'static str,
    group_key: &'a str,
    truncated_alerts: u32,
    status: &'static str,
    receiver: &'a str,
    group_labels: Words,
    common_labels: Words,
    common_annotations: Words,
    #[serde(rename = "externalURL")]
    external_url: &'a str,
    alerts: [Alert<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Alert<'a> {
    status: &'static str,
    labels: Words,
    annotations: Words,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
    fingerprint: String,
}

/// What Alertmanager sends as the end of an alert that goes on: Go's zero time.
const NEVER: &str = "0001-01-01T00:00:00Z";

impl<'a> Payload<'a> {
    /// The payload of an alert.
    pub fn of(job: &'a CodeJob<Settings>) -> Self {
        let resolved = job.color == Color::Green;
        let status = if resolved { "resolved" } else { "firing" };
        let identity = identity(job);
        let fingerprint = fingerprint(&identity);
        let group_labels = identity
            .iter()
            .filter(|(name, _)| matches!(name.as_str(), "alertname" | "tenant"))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let mut labels = identity;
        labels.insert("color".into(), job.color.name().into());
        labels.insert("severity".into(), severity(job.color).into());
        let annotations = annotations(job);
        let started = job
            .incident
            .as_ref()
            .map_or(job.happened_at, |incident| incident.opened_at);
        Self {
            version: "4",
            group_key: &job.incident_key,
            truncated_alerts: 0,
            status,
            receiver: &job.settings.receiver,
            group_labels,
            common_labels: labels.clone(),
            common_annotations: annotations.clone(),
            external_url: &job.settings.external_url,
            alerts: [Alert {
                status,
                labels,
                annotations,
                starts_at: time::rfc3339(started),
                ends_at: if resolved {
                    time::rfc3339(job.happened_at)
                } else {
                    NEVER.into()
                },
                generator_url: &job.settings.external_url,
                fingerprint,
            }],
        }
    }
}

/// The labels that stay the same from the first alert of a monitor to its last. A receiver knows an alert again
/// by them, so color and severity, which change on the way, are not among them.
fn identity(job: &CodeJob<Settings>) -> Words {
    let subject = &job.subject;
    let mut labels = Words::new();
    for label in &subject.labels {
        // As Prometheus does with a target's label whose name it needs itself.
        let own = ["alertname", "color", "monitor", "severity", "tenant"].contains(&label.name.as_str());
        let prefix = if own { "exported_" } else { "" };
        labels.insert(format!("{prefix}{}", label.name), label.value.clone());
    }
    labels.insert("alertname".into(), subject.monitor.clone());
    labels.insert("monitor".into(), subject.monitor.clone());
    labels.insert("tenant".into(), subject.tenant.clone());
    labels
}

fn annotations(job: &CodeJob<Settings>) -> Words {
    let mut words = Words::new();
    words.insert("summary".into(), job.title.clone());
    words.insert("description".into(), job.body.clone());
    if let Some(incident) = job
        .incident
        .as_ref()
        .filter(|incident| !incident.reason.is_empty())
    {
        words.insert("reason".into(), incident.reason.clone());
    }
    if job.reminder {
        words.insert("reminder".into(), "true".into());
    }
    words
}

fn severity(color: Color) -> &'static str {
    match color {
        Color::Red => "critical",
        Color::Yellow | Color::Purple => "warning",
        Color::Cyan | Color::Green | Color::Gray => "info",
    }
}

/// The fingerprint of a label set as `prometheus/common` computes it (`model/signature.go`): FNV-1a over the
/// names and values in order, each ended by a byte that UTF-8 never has.
fn fingerprint(labels: &Words) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for (name, value) in labels {
        for part in [name, value] {
            for byte in part.bytes().chain([0xff]) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
    }
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulse_plugin_sdk::{Label, settings::parse, testing};
    use serde_json::{Value, json};

    fn job(color: Color) -> CodeJob<Settings> {
        let settings = r#"{"url": "http://a", "receiver": "ops", "external-url": "https://pulse.example"}"#;
        testing::code_job(color, parse(settings).unwrap())
    }

    fn payload(job: &CodeJob<Settings>) -> Value {
        serde_json::to_value(Payload::of(job)).unwrap()
    }

    #[test]
    fn every_documented_field_of_a_firing_alert() {
        let labels = json!({
            "alertname": "shop", "monitor": "shop", "tenant": "default", "team": "core",
            "color": "red", "severity": "critical",
        });
        let annotations = json!({
            "summary": "shop is red",
            "description": "HTTP 503, expected 2xx\nfor 1 minute",
            "reason": "unexpected-status",
        });
        let red = payload(&job(Color::Red));
        assert_eq!(
            red,
            json!({
                "version": "4",
                "groupKey": "default/shop/01jdf0",
                "truncatedAlerts": 0,
                "status": "firing",
                "receiver": "ops",
                "groupLabels": {"alertname": "shop", "tenant": "default"},
                "commonLabels": labels,
                "commonAnnotations": annotations,
                "externalURL": "https://pulse.example",
                "alerts": [{
                    "status": "firing",
                    "labels": labels,
                    "annotations": annotations,
                    "startsAt": "2026-11-24T06:39:00.000Z",
                    "endsAt": "0001-01-01T00:00:00Z",
                    "generatorURL": "https://pulse.example",
                    "fingerprint": red["alerts"][0]["fingerprint"],
                }],
            })
        );
    }

    #[test]
    fn only_green_resolves() {
        for color in Color::ALL {
            let payload = payload(&job(color));
            let (status, end) = if color == Color::Green {
                ("resolved", "2026-11-24T06:40:00.000Z")
            } else {
                ("firing", NEVER)
            };
            assert_eq!(payload["status"], status, "{color:?}");
            assert_eq!(payload["alerts"][0]["status"], status);
            assert_eq!(payload["alerts"][0]["endsAt"], end);
        }
    }

    #[test]
    fn a_receiver_knows_the_alert_again() {
        let fingerprint = |job: &CodeJob<Settings>| {
            payload(job)["alerts"][0]["fingerprint"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        let red = fingerprint(&job(Color::Red));
        assert_eq!(red.len(), 16);
        assert!(
            red.bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        );
        assert_eq!(red, fingerprint(&job(Color::Green)));
        let mut other = job(Color::Red);
        other.subject.monitor = "shop2".into();
        assert_ne!(red, fingerprint(&other));
    }

    #[test]
    fn fingerprints_are_fnv_1a() {
        // The published offset basis, and one round by hand for the empty name and value.
        assert_eq!(fingerprint(&Words::new()), "cbf29ce484222325");
        let mut labels = Words::new();
        labels.insert("a".into(), "b".into());
        let by_hand = [b'a', 0xff, b'b', 0xff]
            .iter()
            .fold(14_695_981_039_346_656_037_u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(1_099_511_628_211)
            });
        assert_eq!(fingerprint(&labels), format!("{by_hand:016x}"));
    }

    #[test]
    fn labels_never_hide_what_the_payload_says_itself() {
        let mut job = job(Color::Yellow);
        job.subject.labels.push(Label {
            name: "color".into(),
            value: "blue".into(),
        });
        let labels = &payload(&job)["alerts"][0]["labels"];
        assert_eq!(
            (&labels["color"], &labels["exported_color"]),
            (&json!("yellow"), &json!("blue"))
        );
        assert_eq!(labels["severity"], "warning");
    }

    #[test]
    fn a_reminder_says_so_and_maintenance_has_no_incident() {
        let mut job = job(Color::Gray);
        job.reminder = true;
        job.incident = None;
        let alert = &payload(&job)["alerts"][0];
        assert_eq!(alert["annotations"]["reminder"], "true");
        assert_eq!(alert["annotations"].get("reason"), None);
        assert_eq!(alert["startsAt"], "2026-11-24T06:40:00.000Z");
    }
}

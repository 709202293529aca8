//! An event of PagerDuty's Events API v2.
//! <https://developer.pagerduty.com/docs/events-api-v2-overview>
//!
//! Invariant: all events of one episode carry one `dedup_key`, so that PagerDuty makes one alert of them and resolves
//! that very alert.

use crate::settings::{Settings, Severity};
use pulse_plugin_sdk::{CodeJob, Color, text, time};
use serde::Serialize;
use std::collections::BTreeMap;

/// The API's own bounds, in characters; bytes are never fewer. An ellipsis takes three.
const SUMMARY_MAX: usize = 1_024 - 3;
const DEDUP_KEY_MAX: usize = 255;
/// Ours, well below the 512 KB of one event.
const BODY_MAX: usize = 16 << 10;
const FIELD_MAX: usize = 1 << 10;

/// What PagerDuty is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Trigger,
    Acknowledge,
    Resolve,
}

/// In the order of PagerDuty's own documentation.
#[derive(Serialize)]
pub struct Event<'a> {
    payload: Payload<'a>,
    routing_key: &'a str,
    pub event_action: Action,
    pub dedup_key: String,
    client: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_url: Option<&'a str>,
}

#[derive(Serialize)]
struct Payload<'a> {
    summary: String,
    source: &'a str,
    severity: Severity,
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    component: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<&'a str>,
    custom_details: BTreeMap<String, String>,
}

impl<'a> Event<'a> {
    /// The event of an alert. None where PagerDuty has none for it: maintenance would open an alert, or one that was
    /// resolved by hand again, and call people about it.
    pub fn of(job: &'a CodeJob<Settings>) -> Option<Self> {
        let settings = &job.settings;
        let event_action = match job.color {
            Color::Yellow | Color::Red | Color::Purple => Action::Trigger,
            Color::Cyan if settings.acknowledge_repairs => Action::Acknowledge,
            Color::Cyan => Action::Trigger,
            Color::Gray => return None,
            Color::Green => Action::Resolve,
        };
        let reason = job.incident.as_ref().map(|incident| incident.reason.as_str());
        Some(Self {
            payload: Payload {
                summary: summary(job),
                source: settings.source.as_deref().unwrap_or(&job.subject.monitor),
                severity: settings.severity(job.color),
                timestamp: time::rfc3339(job.happened_at),
                component: settings.component.as_deref(),
                group: settings.group.as_deref(),
                class: settings
                    .class
                    .as_deref()
                    .or(reason)
                    .filter(|class| !class.is_empty()),
                custom_details: details(job),
            },
            routing_key: &settings.routing_key,
            event_action,
            dedup_key: dedup_key(&job.incident_key),
            client: "pulse-host",
            client_url: settings.client_url.as_deref(),
        })
    }
}

/// `shop is down: HTTP 503, expected 2xx`: what is read on a telephone.
fn summary(job: &CodeJob<Settings>) -> String {
    match text::first_line(&job.body) {
        "" => text::excerpt(&job.title, SUMMARY_MAX),
        line => text::excerpt(&format!("{}: {line}", job.title), SUMMARY_MAX),
    }
}

/// `tenant/monitor/episode`. One that is longer than PagerDuty takes keeps its beginning, and a digest of the whole
/// stands for the rest: it stays the same for the same episode, and another's is another.
fn dedup_key(incident_key: &str) -> String {
    if incident_key.len() <= DEDUP_KEY_MAX {
        return incident_key.to_owned();
    }
    // FNV-1a: it only has to tell a host's own episodes apart.
    let digest = incident_key
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let suffix = format!("#{digest:016x}");
    format!(
        "{}{suffix}",
        text::head(incident_key, DEDUP_KEY_MAX - suffix.len())
    )
}

fn details(job: &CodeJob<Settings>) -> BTreeMap<String, String> {
    let mut details = BTreeMap::new();
    let mut put = |name: String, value: &str, max| {
        if !value.is_empty() {
            details.insert(name, text::head(value, max).to_owned());
        }
    };
    for label in &job.subject.labels {
        put(
            format!("label {}", text::head(&label.name, FIELD_MAX)),
            &label.value,
            FIELD_MAX,
        );
    }
    put("monitor".into(), &job.subject.monitor, FIELD_MAX);
    put("tenant".into(), &job.subject.tenant, FIELD_MAX);
    put("color".into(), job.color.name(), FIELD_MAX);
    put("body".into(), &job.body, BODY_MAX);
    put("delivery_id".into(), &job.delivery_id, FIELD_MAX);
    if job.reminder {
        put("reminder".into(), "true", FIELD_MAX);
    }
    if let Some(incident) = &job.incident {
        put("reason".into(), &incident.reason, FIELD_MAX);
        put("opened_at".into(), &time::rfc3339(incident.opened_at), FIELD_MAX);
    }
    details
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulse_plugin_sdk::{settings::parse, testing};
    use serde_json::{Value, json};

    fn job(color: Color, more: &Value) -> CodeJob<Settings> {
        let mut settings = json!({"routing-key": "0123456789abcdef0123456789abcdef"});
        let more = more.as_object().unwrap().clone();
        settings.as_object_mut().unwrap().extend(more);
        testing::code_job(color, parse(&settings.to_string()).unwrap())
    }

    fn event(job: &CodeJob<Settings>) -> Value {
        serde_json::to_value(Event::of(job).unwrap()).unwrap()
    }

    #[test]
    fn every_field_of_a_trigger() {
        let settings = json!({"client-url": "https://pulse.example", "group": "prod", "component": "web"});
        assert_eq!(
            event(&job(Color::Red, &settings)),
            json!({
                "routing_key": "0123456789abcdef0123456789abcdef",
                "event_action": "trigger",
                "dedup_key": "default/shop/01jdf0",
                "client": "pulse-host",
                "client_url": "https://pulse.example",
                "payload": {
                    "summary": "shop is red: HTTP 503, expected 2xx",
                    "source": "shop",
                    "severity": "critical",
                    "timestamp": "2026-11-24T06:40:00.000Z",
                    "component": "web",
                    "group": "prod",
                    "class": "unexpected-status",
                    "custom_details": {
                        "monitor": "shop", "tenant": "default", "color": "red", "label team": "core",
                        "body": "HTTP 503, expected 2xx\nfor 1 minute", "reason": "unexpected-status",
                        "opened_at": "2026-11-24T06:39:00.000Z", "delivery_id": "01jdf0/red/1/alerts",
                    },
                },
            })
        );
    }

    #[test]
    fn what_each_color_does() {
        let all = |settings: &Value| {
            Color::ALL.map(|color| {
                let job = job(color, settings);
                let event = serde_json::to_value(Event::of(&job)?).unwrap();
                let word = |value: &Value| value.as_str().unwrap().to_owned();
                Some((word(&event["event_action"]), word(&event["payload"]["severity"])))
            })
        };
        let same = |action: &str, severity: &str| Some((action.to_owned(), severity.to_owned()));
        assert_eq!(
            all(&json!({})),
            [
                same("trigger", "warning"),
                same("trigger", "critical"),
                same("trigger", "info"),
                same("resolve", "info"),
                None,
                same("trigger", "error"),
            ],
            "yellow, red, cyan, green, gray, purple"
        );
        let own =
            all(&json!({"acknowledge-repairs": true, "severities": {"yellow": "info", "red": "error"}}));
        assert_eq!(own[0], same("trigger", "info"));
        assert_eq!(own[1], same("trigger", "error"));
        assert_eq!(own[2], same("acknowledge", "info"));
    }

    #[test]
    fn maintenance_calls_nobody_within_an_episode_or_outside() {
        let mut job = job(Color::Gray, &json!({}));
        assert!(job.incident.is_some() && Event::of(&job).is_none());
        job.incident = None;
        assert!(Event::of(&job).is_none());
    }

    #[test]
    fn the_api_s_bounds_are_kept() {
        let mut job = job(Color::Red, &json!({}));
        job.title = "ä".repeat(2_000);
        job.body = "x".repeat(100_000);
        job.incident_key = format!("default/{}/1", "m".repeat(300));
        let first = event(&job);
        assert!(first["payload"]["summary"].as_str().unwrap().chars().count() <= 1_024);
        let key = first["dedup_key"].as_str().unwrap().to_owned();
        assert_eq!(key.len(), 255);
        assert!(first.to_string().len() < 64 << 10);
        assert_eq!(event(&job)["dedup_key"], key.as_str());
        job.incident_key = format!("default/{}/2", "m".repeat(300));
        assert_ne!(event(&job)["dedup_key"], key.as_str());
    }
}

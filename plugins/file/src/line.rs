//! One alert as one JSON object. The names are fixed: scripts read them.

use crate::Settings;
use pulse_plugin_sdk::{CodeJob, text, time};
use serde::Serialize;
use std::{borrow::Cow, collections::BTreeMap};

/// In this order in the line.
#[derive(Clone, Serialize)]
pub struct Line<'a> {
    /// When it happened: RFC 3339, UTC, milliseconds.
    time: String,
    monitor: &'a str,
    tenant: &'a str,
    labels: BTreeMap<&'a str, &'a str>,
    color: &'a str,
    title: &'a str,
    body: Cow<'a, str>,
    incident: Option<Incident<'a>>,
    incident_key: &'a str,
    delivery_id: &'a str,
    reminder: bool,
}

#[derive(Clone, Serialize)]
struct Incident<'a> {
    id: &'a str,
    key: &'a str,
    opened_at: String,
    summary: &'a str,
    reason: &'a str,
}

impl<'a> Line<'a> {
    /// The line of an alert.
    pub fn of(job: &'a CodeJob<Settings>) -> Self {
        let labels = &job.subject.labels;
        Self {
            time: time::rfc3339(job.happened_at),
            monitor: &job.subject.monitor,
            tenant: &job.subject.tenant,
            labels: labels
                .iter()
                .map(|label| (label.name.as_str(), label.value.as_str()))
                .collect(),
            color: job.color.name(),
            title: &job.title,
            body: Cow::Borrowed(&job.body),
            incident: job.incident.as_ref().map(|incident| Incident {
                id: &incident.id,
                key: &incident.key,
                opened_at: time::rfc3339(incident.opened_at),
                summary: &incident.summary,
                reason: &incident.reason,
            }),
            incident_key: &job.incident_key,
            delivery_id: &job.delivery_id,
            reminder: job.reminder,
        }
    }

    /// The line as JSON of at most `max` bytes; the body is cut where it would be longer.
    ///
    /// # Errors
    /// It is too long even without its body.
    pub fn to_json(&self, max: usize) -> Result<String, String> {
        let json = encode(self)?;
        if json.len() <= max {
            return Ok(json);
        }
        let mut cut = self.clone();
        cut.body = Cow::Borrowed("");
        let room = max.checked_sub(encode(&cut)?.len());
        let Some(room) = room else {
            return Err(format!(
                "the alert is longer than {max} bytes even without its body"
            ));
        };
        // No character takes more than six bytes of JSON for each of its own: a control character as \u0001.
        if let Some(bytes) = (room / 6).checked_sub('…'.len_utf8()) {
            cut.body = Cow::Owned(format!("{}…", text::head(&self.body, bytes)));
        }
        encode(&cut)
    }
}

fn encode(line: &Line<'_>) -> Result<String, String> {
    serde_json::to_string(line).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulse_plugin_sdk::{Color, testing};
    use serde_json::{Value, json};

    fn job() -> CodeJob<Settings> {
        let path = "alerts.ndjson".into();
        testing::code_job(Color::Red, Settings { path })
    }

    fn parsed(json: &str) -> Value {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn all_that_scripts_rely_on() {
        let json = Line::of(&job()).to_json(65_536).unwrap();
        assert_eq!(
            parsed(&json),
            json!({
                "time": "2026-11-24T06:40:00.000Z",
                "monitor": "shop",
                "tenant": "default",
                "labels": {"team": "core"},
                "color": "red",
                "title": "shop is red",
                "body": "HTTP 503, expected 2xx\nfor 1 minute",
                "incident": {
                    "id": "01jdf0",
                    "key": "default/shop/01jdf0",
                    "opened_at": "2026-11-24T06:39:00.000Z",
                    "summary": "HTTP 503, expected 2xx",
                    "reason": "unexpected-status",
                },
                "incident_key": "default/shop/01jdf0",
                "delivery_id": "01jdf0/red/1/alerts",
                "reminder": false,
            })
        );
        assert!(
            json.starts_with(r#"{"time":"2026"#),
            "the time comes first: {json}"
        );
        assert!(!json.contains('\n'));
    }

    #[test]
    fn without_an_incident_it_is_null() {
        let mut job = job();
        job.incident = None;
        let line = parsed(&Line::of(&job).to_json(65_536).unwrap());
        assert_eq!(line["incident"], Value::Null);
        assert_eq!(line["incident_key"], "default/shop/01jdf0");
    }

    #[test]
    fn a_long_body_is_cut_and_nothing_else() {
        let mut job = job();
        job.body = "\u{1}ü".repeat(100_000);
        let json = Line::of(&job).to_json(65_536).unwrap();
        assert!(json.len() <= 65_536, "{}", json.len());
        let line = parsed(&json);
        assert!(line["body"].as_str().unwrap().ends_with('…'));
        assert_eq!(line["delivery_id"], "01jdf0/red/1/alerts");

        let just = Line::of(&job).to_json(700).unwrap();
        assert!(just.len() <= 700, "{}", just.len());
    }

    #[test]
    fn what_does_not_fit_at_all_is_an_error() {
        let mut job = job();
        job.title = "x".repeat(70_000);
        assert!(
            Line::of(&job)
                .to_json(65_536)
                .unwrap_err()
                .contains("without its body")
        );
    }
}

//! Writes each alert as one line to the host's log.
//!
//! Invariant: the line is enough to act on. Color, title and the first line of the body come first, the keys that
//! tie it to its incident last.

use pulse_plugin_sdk::{
    Code, CodeJob, Color, DeliveryFailure, Receipt, export_plugin,
    log::{self, Level},
    text,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// There is nothing to set: which colors are logged is the notifier's `colors`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {}

/// The plugin.
pub struct Log;

impl Code for Log {
    type Settings = Settings;

    fn notify(job: CodeJob<Settings>) -> Result<Receipt, DeliveryFailure> {
        log::write(level(job.color), &line(&job));
        Ok(Receipt::taken("logged"))
    }
}

fn level(color: Color) -> Level {
    match color {
        Color::Red => Level::Error,
        Color::Yellow | Color::Purple => Level::Warn,
        Color::Cyan | Color::Green | Color::Gray => Level::Info,
    }
}

/// `RED shop is down · HTTP 503, expected 2xx · team=core · incident default/shop/01jdf0 · delivery …`. Parts
/// that are empty are left out. Each is cut, so that a long body never pushes the keys over the end of the line.
fn line(job: &CodeJob<Settings>) -> String {
    let color = job.color.name().to_uppercase();
    let reminder = if job.reminder { " (reminder)" } else { "" };
    let mut line = format!("{color}{reminder} {}", text::excerpt(&job.title, 512));
    let mut add = |part: &str| {
        if !part.is_empty() {
            line.push_str(" · ");
            line.push_str(part);
        }
    };
    add(&text::excerpt(text::first_line(&job.body), 1_024));
    let labels: Vec<String> = job
        .subject
        .labels
        .iter()
        .map(|label| format!("{}={}", label.name, label.value))
        .collect();
    add(&text::excerpt(&labels.join(" "), 512));
    if job.incident.is_some() {
        add(&format!("incident {}", text::excerpt(&job.incident_key, 512)));
    }
    add(&format!("delivery {}", text::excerpt(&job.delivery_id, 512)));
    line
}

export_plugin! {
    name: "log",
    summary: "Writes each alert as one line to the host's log",
    code: Log,
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulse_plugin_sdk::{DeliveryFailure, testing};
    use serde_json::json;

    #[test]
    fn manifest_and_readme_agree() {
        let (manifest, readme) = (include_str!("../plugin.toml"), include_str!("../README.md"));
        testing::check_manifest::<Exports>(manifest, readme).unwrap();
    }

    #[test]
    fn an_alert_is_one_line_at_its_level() {
        for (color, level) in [
            (Color::Red, Level::Error),
            (Color::Yellow, Level::Warn),
            (Color::Purple, Level::Warn),
            (Color::Cyan, Level::Info),
            (Color::Green, Level::Info),
            (Color::Gray, Level::Info),
        ] {
            let (result, lines) = testing::Host::new().run(|| testing::code::<Exports>(color, &json!({})));
            assert_eq!(result.unwrap().summary, "logged");
            let [(written, line)] = lines.as_slice() else {
                panic!("{lines:?}");
            };
            assert_eq!(*written, level);
            let name = color.name();
            assert_eq!(
                *line,
                format!(
                    "{} shop is {name} · HTTP 503, expected 2xx · team=core · incident default/shop/01jdf0 \
                     · delivery 01jdf0/{name}/1/alerts",
                    name.to_uppercase(),
                )
            );
        }
    }

    #[test]
    fn a_reminder_is_marked_and_nothing_empty_is_shown() {
        let mut job = testing::code_job(Color::Gray, Settings {});
        job.reminder = true;
        job.body.clear();
        job.subject.labels.clear();
        job.incident = None;
        assert_eq!(
            line(&job),
            "GRAY (reminder) shop is gray · delivery 01jdf0/gray/1/alerts"
        );
    }

    #[test]
    fn long_and_hostile_text_stays_one_short_line() {
        let mut job = testing::code_job(Color::Red, Settings {});
        job.title = "x\n".repeat(10_000);
        job.body = "\u{1b}[31m".repeat(10_000);
        let line = line(&job);
        assert!(line.len() < 4_096, "{}", line.len());
        assert!(!line.contains(char::is_control));
        assert!(line.ends_with("delivery 01jdf0/red/1/alerts"));
    }

    #[test]
    fn there_is_nothing_to_set() {
        let failure = testing::code::<Exports>(Color::Red, &json!({"level": "warn"})).unwrap_err();
        assert!(
            matches!(failure, DeliveryFailure::Permanent(text) if text.contains("/level: unknown field"))
        );
    }
}

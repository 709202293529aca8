//! The message: a line of text with what it stands for where blocks can't be shown, and a colored attachment.
//! <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>
//!
//! Invariant: what the alert says mentions nobody, and in the blocks it is shown as it stands. Only in the text for
//! notifications, which knows no `verbatim`, a bare URL still becomes a link to that very URL.

use crate::settings::Settings;
use pulse_plugin_sdk::{CodeJob, Color, text};
use serde_json::{Value, json};

/// The API's own bounds are 3,000 characters of a section and 40,000 of a text. Escaping makes five of one.
const SECTION_MAX: usize = 2_900;
const TITLE_MAX: usize = 400;
const CONTEXT_MAX: usize = 500;

/// The message of an alert.
pub fn of(job: &CodeJob<Settings>) -> Value {
    let settings = &job.settings;
    let word = job.color.name().to_uppercase();
    let reminder = if job.reminder { " (reminder)" } else { "" };
    let title = escaped(&text::excerpt(&job.title, TITLE_MAX));
    let mention = settings
        .mention
        .as_deref()
        .filter(|_| settings.mention_colors.iter().any(|color| color.is(job.color)))
        .map(|mention| format!("{mention} "))
        .unwrap_or_default();
    let line = format!("{mention}{} {word}{reminder}: {title}", emoji(job.color));
    let mut attached = Vec::new();
    if !job.body.trim().is_empty() {
        attached.push(section(&body(&job.body)));
    }
    attached.push(json!({
        "type": "context",
        "elements": [mrkdwn(&context(job))],
    }));
    let mut message = json!({
        "text": line,
        "blocks": [section(&format!("{mention}{} *{word}*{reminder}: *{title}*", emoji(job.color)))],
        "attachments": [{ "color": color(job.color), "blocks": attached }],
        // What a URL in an alert leads to is nobody's to preview.
        "unfurl_links": false,
        "unfurl_media": false,
    });
    let mut put = |key: &str, value: &Option<String>| {
        if let (Some(value), Some(message)) = (value, message.as_object_mut()) {
            message.insert(key.to_owned(), json!(value));
        }
    };
    put("channel", &settings.channel);
    put("username", &settings.username);
    message
}

fn section(words: &str) -> Value {
    json!({ "type": "section", "text": mrkdwn(words) })
}

/// Without `verbatim` Slack makes links of URLs and of names of channels, and mentions of some names.
fn mrkdwn(words: &str) -> Value {
    json!({ "type": "mrkdwn", "text": words, "verbatim": true })
}

/// The body, line by line as it is. It is cut where escaping has made it too long.
fn body(text: &str) -> String {
    let mut shown = String::new();
    for char in text.trim().chars() {
        let before = shown.len();
        match char {
            '&' => shown.push_str("&amp;"),
            '<' => shown.push_str("&lt;"),
            '>' => shown.push_str("&gt;"),
            '\n' => shown.push('\n'),
            char if char.is_control() => shown.push(' '),
            char => shown.push(char),
        }
        if shown.len() > SECTION_MAX {
            shown.truncate(before);
            shown.push('…');
            break;
        }
    }
    shown
}

/// Labels, and what ties the alert to its incident.
fn context(job: &CodeJob<Settings>) -> String {
    let mut parts = vec![format!(
        "{}/{}",
        text::excerpt(&job.subject.tenant, 64),
        text::excerpt(&job.subject.monitor, 256)
    )];
    let labels = job.subject.labels.iter();
    parts.extend(labels.map(|label| format!("{}={}", label.name, label.value)));
    if let Some(incident) = &job.incident {
        parts.push(format!("incident {}", incident.id));
    }
    escaped(&text::excerpt(&parts.join(" · "), CONTEXT_MAX))
}

/// Slack's three control characters.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn color(color: Color) -> &'static str {
    match color {
        Color::Yellow => "#e8b10e",
        Color::Red => "#d3232f",
        Color::Cyan => "#1aa6b7",
        Color::Green => "#2eb67d",
        Color::Gray => "#8a8f98",
        Color::Purple => "#7b3fa0",
    }
}

fn emoji(color: Color) -> &'static str {
    match color {
        Color::Yellow => ":large_yellow_circle:",
        Color::Red => ":red_circle:",
        Color::Cyan => ":large_blue_circle:",
        Color::Green => ":large_green_circle:",
        Color::Gray => ":white_circle:",
        Color::Purple => ":large_purple_circle:",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulse_plugin_sdk::{Label, settings::parse, testing};

    fn job(color: Color, more: &str) -> CodeJob<Settings> {
        let settings = format!(r#"{{"url": "http://a/services/x"{more}}}"#);
        testing::code_job(color, parse(&settings).unwrap())
    }

    #[test]
    fn a_whole_message() {
        assert_eq!(
            of(&job(Color::Red, "")),
            json!({
                "text": ":red_circle: RED: shop is red",
                "blocks": [{
                    "type": "section",
                    "text": {"type": "mrkdwn", "text": ":red_circle: *RED*: *shop is red*", "verbatim": true},
                }],
                "attachments": [{
                    "color": "#d3232f",
                    "blocks": [
                        {"type": "section", "text": {
                            "type": "mrkdwn",
                            "text": "HTTP 503, expected 2xx\nfor 1 minute",
                            "verbatim": true,
                        }},
                        {"type": "context", "elements": [
                            {
                                "type": "mrkdwn",
                                "text": "default/shop · team=core · incident 01jdf0",
                                "verbatim": true,
                            },
                        ]},
                    ],
                }],
                "unfurl_links": false,
                "unfurl_media": false,
            })
        );
    }

    #[test]
    fn every_color_has_its_own_look_and_a_text() {
        let mut looks = std::collections::BTreeSet::new();
        for color in Color::ALL {
            let message = of(&job(color, ""));
            assert!(
                message["text"]
                    .as_str()
                    .unwrap()
                    .contains(&color.name().to_uppercase())
            );
            looks.insert(message["attachments"][0]["color"].to_string());
        }
        assert_eq!(looks.len(), Color::ALL.len());
    }

    #[test]
    fn nothing_in_an_alert_mentions_anybody() {
        let mut job = job(Color::Yellow, "");
        job.title = "<!channel> & co".into();
        job.body = "see <https://evil.example|here>".into();
        job.subject.labels.push(Label {
            name: "who".into(),
            value: "<@U1>".into(),
        });
        let message = of(&job).to_string();
        assert!(!message.contains('<') && !message.contains("|here>"), "{message}");
        assert!(message.contains("&lt;!channel&gt; &amp; co"), "{message}");
    }

    #[test]
    fn who_is_mentioned_when() {
        let more = r##", "mention": "<!subteam^S1>", "channel": "#ops""##;
        let text = |color| of(&job(color, more))["text"].as_str().unwrap().to_owned();
        assert!(text(Color::Red).starts_with("<!subteam^S1> "));
        for color in [Color::Yellow, Color::Green, Color::Purple] {
            assert!(!text(color).contains('<'), "{color:?}");
        }
        assert_eq!(of(&job(Color::Red, more))["channel"], "#ops");
    }

    #[test]
    fn the_api_s_bounds_are_kept() {
        let mut job = job(Color::Red, "");
        job.title = "&".repeat(3_000);
        job.body = "&".repeat(100_000);
        for label in 0..64 {
            job.subject.labels.push(Label {
                name: format!("l{label}"),
                value: "<".repeat(1_000),
            });
        }
        let message = of(&job);
        let length = |value: &Value| value.as_str().unwrap().chars().count();
        assert!(length(&message["blocks"][0]["text"]["text"]) <= 3_000);
        assert!(length(&message["attachments"][0]["blocks"][0]["text"]["text"]) <= 3_000);
        assert!(length(&message["attachments"][0]["blocks"][1]["elements"][0]["text"]) <= 3_000);
        job.body = String::new();
        assert_eq!(of(&job)["attachments"][0]["blocks"].as_array().unwrap().len(), 1);
    }
}

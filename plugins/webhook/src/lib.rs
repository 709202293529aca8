//! Calls a webhook: to repair (one templated request) or to alert (Alertmanager's webhook payload, version 4).
//!
//! Both kinds share one settings type. A schema of two alternatives could only say that neither fits.

mod alert;
mod payload;
mod repair;
mod settings;
mod template;

use alert::Alert;
use pulse_plugin_sdk::{Attempt, Subject, export_plugin, http::Response, text};
use repair::Repair;

/// `HTTP 500: first line of the answer`.
fn answer_words(response: &Response) -> String {
    let place = response
        .header("location")
        .filter(|_| response.status / 100 == 3)
        .map(|place| format!(" to {}", text::excerpt(place, 200)))
        .unwrap_or_default();
    let body = response.text();
    match text::first_line(&body) {
        "" => format!("HTTP {}{place}", response.status),
        line => format!("HTTP {}{place}: {}", response.status, text::excerpt(line, 200)),
    }
}

/// The placeholders that both kinds know. A label that a monitor lacks is empty: one template serves many.
fn common_value(subject: &Subject, attempt: &Attempt, name: &str) -> Option<String> {
    Some(match name {
        "monitor" => subject.monitor.clone(),
        "tenant" => subject.tenant.clone(),
        "attempt" => attempt.number.to_string(),
        _ => subject
            .label(name.strip_prefix("labels.")?)
            .unwrap_or_default()
            .to_owned(),
    })
}

export_plugin! {
    name: "webhook",
    summary: "Calls a webhook, to repair or to alert",
    intervention: Repair,
    code: Alert,
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulse_plugin_sdk::{http::Header, testing};

    #[test]
    fn manifest_and_readme_agree() {
        let (manifest, readme) = (include_str!("../plugin.toml"), include_str!("../README.md"));
        testing::check_manifest::<Exports>(manifest, readme).unwrap();
    }

    #[test]
    fn an_answer_in_words() {
        assert_eq!(answer_words(&testing::response(204, " \n")), "HTTP 204");
        assert_eq!(
            answer_words(&testing::response(500, "\n n\u{7}o \nx")),
            "HTTP 500: n o"
        );
        let mut moved = testing::response(302, "");
        moved.headers.push(Header {
            name: "location".into(),
            value: "/new".into(),
        });
        assert_eq!(answer_words(&moved), "HTTP 302 to /new");
    }
}

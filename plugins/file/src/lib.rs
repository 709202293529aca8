//! Appends each alert as one line of JSON (NDJSON) to a file in a granted directory.
//!
//! Invariant: every alert is written whole or not at all, and a line is never longer than the host takes. A body
//! too long for that is cut, and nothing else.

mod line;

use line::Line;
use pulse_plugin_sdk::{Code, CodeJob, DeliveryFailure, Receipt, export_plugin, files};
use schemars::JsonSchema;
use serde::Deserialize;

/// What an operator may set.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// The file, within the granted directory. It is created if there is none.
    #[schemars(length(min = 1))]
    path: String,
}

/// The plugin.
pub struct File;

impl Code for File {
    type Settings = Settings;

    fn notify(job: CodeJob<Settings>) -> Result<Receipt, DeliveryFailure> {
        let path = &job.settings.path;
        let line = Line::of(&job)
            .to_json(files::MAX_LINE_BYTES)
            .map_err(DeliveryFailure::permanent)?;
        match files::append_line(path, &line) {
            Ok(()) => Ok(Receipt::taken(format!("appended to {path}"))),
            Err(files::Error::Io(message)) => Err(DeliveryFailure::retryable(message, None)),
            Err(
                files::Error::Denied(message)
                | files::Error::InvalidPath(message)
                | files::Error::InvalidLine(message),
            ) => Err(DeliveryFailure::permanent(message)),
        }
    }
}

export_plugin! {
    name: "file",
    summary: "Appends each alert as one line of JSON to a file",
    code: File,
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulse_plugin_sdk::{Color, testing};
    use serde_json::{Value, json};
    use std::{cell::RefCell, rc::Rc};

    fn notify(answer: Result<(), files::Error>) -> (Result<Receipt, DeliveryFailure>, Vec<(String, String)>) {
        let lines = Rc::new(RefCell::new(Vec::new()));
        let taken = Rc::clone(&lines);
        let host = testing::Host::new().files(move |line| {
            taken.borrow_mut().push(line);
            answer.clone()
        });
        let settings = json!({"path": "alerts.ndjson"});
        let (result, _) = host.run(|| testing::code::<Exports>(Color::Red, &settings));
        (result, lines.take())
    }

    #[test]
    fn manifest_and_readme_agree() {
        let (manifest, readme) = (include_str!("../plugin.toml"), include_str!("../README.md"));
        testing::check_manifest::<Exports>(manifest, readme).unwrap();
    }

    #[test]
    fn an_alert_is_one_line_of_json_in_the_file_that_was_set() {
        let (result, lines) = notify(Ok(()));
        assert_eq!(result.unwrap().summary, "appended to alerts.ndjson");
        let [(path, line)] = lines.as_slice() else {
            panic!("{lines:?}");
        };
        assert_eq!(path, "alerts.ndjson");
        let alert: Value = serde_json::from_str(line).unwrap();
        assert_eq!(alert["monitor"], "shop");
    }

    #[test]
    fn only_trouble_of_the_disk_is_worth_another_try() {
        let (result, _) = notify(Err(files::Error::Io("disk full".into())));
        assert!(matches!(result, Err(DeliveryFailure::Retryable(_))));
        for error in [
            files::Error::Denied,
            files::Error::InvalidPath,
            files::Error::InvalidLine,
        ] {
            let (result, _) = notify(Err(error("no".into())));
            assert_eq!(result.unwrap_err(), DeliveryFailure::Permanent("no".into()));
        }
    }

    #[test]
    fn a_path_is_needed() {
        let failure = testing::code::<Exports>(Color::Red, &json!({})).unwrap_err();
        assert!(matches!(failure, DeliveryFailure::Permanent(text) if text.contains("missing field `path`")));
    }
}

//! Runs a check made for Nagios and its kin, as a command that the operator declared, and understands what it says.
//!
//! The form is that of the Monitoring Plugins Development Guidelines: a code from 0 to 3, and on standard output a line of
//! text, behind `|` performance data, then perhaps more of both.
//!
//! Invariant: only the codes 0, 1 and 2 say something about the target. UNKNOWN, any other code and a signal are trouble
//! of the check, unless the operator says otherwise.

mod perfdata;

use pulse_plugin_sdk::{
    Fault, Measurement, Pulse, PulseJob, Report,
    command::{Request, Response},
    export_plugin, text,
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Bytes of the check's own words in a summary.
const WORDS_BYTES_MAX: usize = 600;

/// What an operator may set.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// The name under which `[commands.NAME]` declares the check.
    #[schemars(length(min = 1))]
    command: String,
    /// A value for each placeholder of the declaration.
    #[serde(default)]
    arguments: BTreeMap<String, String>,
    /// What UNKNOWN, the code 3, means: trouble of the check itself (`fault`), `degraded` or `unhealthy`.
    #[serde(default)]
    unknown: Unknown,
    /// Whether warning and critical thresholds in performance data are measurements as well, where they are plain numbers.
    #[serde(default)]
    thresholds: bool,
}

/// What UNKNOWN means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Unknown {
    #[default]
    Fault,
    Degraded,
    Unhealthy,
}

/// The plugin.
pub struct Nagios;

impl Pulse for Nagios {
    type Settings = Settings;

    fn run(job: PulseJob<Settings>) -> Result<Report, Fault> {
        let settings = &job.settings;
        let mut request = Request::of(&settings.command).timeout(job.attempt.budget());
        for (name, value) in &settings.arguments {
            request = request.argument(name, value);
        }
        match request.run() {
            Ok(response) => report(settings, &response),
            Err(error) => error.report(),
        }
    }
}

fn report(settings: &Settings, response: &Response) -> Result<Report, Fault> {
    let (said, perfdata) = perfdata::split(&response.stdout);
    let words = words(said, response);
    let report = match response.code() {
        Some(0) => Report::healthy(words),
        Some(1) => Report::degraded("warning", words),
        Some(2) => Report::unhealthy("critical", words),
        Some(3) if settings.unknown == Unknown::Degraded => Report::degraded("unknown", words),
        Some(3) if settings.unknown == Unknown::Unhealthy => Report::unhealthy("unknown", words),
        // A wrong argument, a library that is missing: nothing that a healthy target would mend. It is no sickness of
        // this plugin either, for which others would have to pay.
        Some(3) => return Err(Fault::Unsupported(format!("UNKNOWN: {words}"))),
        _ => return Err(Fault::Unsupported(format!("{}: {words}", response.ended()))),
    };
    let numbers = perfdata::numbers(&perfdata, response.stdout_truncated);
    Ok(report
        .with(
            numbers
                .iter()
                .flat_map(|number| number.measurements(settings.thresholds)),
        )
        .measured(Measurement::seconds("check_duration", response.duration())))
}

/// The check's own first line, or what there is in its place.
fn words(said: &str, response: &Response) -> String {
    for line in [said, text::first_line(&response.stderr)] {
        if !line.trim().is_empty() {
            return text::excerpt(line.trim(), WORDS_BYTES_MAX);
        }
    }
    format!("it said nothing and {}", response.ended())
}

export_plugin! {
    name: "nagios",
    summary: "Runs a check made for Nagios",
    pulse: Nagios,
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulse_plugin_sdk::{
        Status,
        command::{Ending, Error},
        testing::{self, Host},
    };
    use serde_json::{Value, json};

    fn check(settings: &Value, answer: Result<Response, Error>) -> Result<Report, Fault> {
        let host = Host::new().command(move |_| answer.clone());
        host.run(|| testing::pulse::<Exports>(settings)).0
    }

    fn disk() -> Value {
        json!({"command": "disk"})
    }

    #[test]
    fn manifest_and_readme_agree() {
        let (manifest, readme) = (include_str!("../plugin.toml"), include_str!("../README.md"));
        testing::check_manifest::<Exports>(manifest, readme).unwrap();
    }

    #[test]
    fn codes_are_verdicts() {
        let report = |code| check(&disk(), Ok(testing::command_response(code, "DISK free | a=1")));
        for (code, status, reason) in [
            (0, Status::Healthy, None),
            (1, Status::Degraded, Some("warning")),
            (2, Status::Unhealthy, Some("critical")),
        ] {
            let report = report(code).unwrap();
            assert_eq!((report.status, report.reason.as_deref()), (status, reason));
            assert_eq!(report.summary, "DISK free");
        }
        assert_eq!(report(3), Err(Fault::Unsupported("UNKNOWN: DISK free".into())));
        for (code, words) in [
            (4, "exited with 4: DISK free"),
            (127, "exited with 127: DISK free"),
        ] {
            assert_eq!(report(code), Err(Fault::Unsupported(words.into())));
        }
        let killed = Response {
            ending: Ending::Killed(11),
            ..testing::command_response(0, "")
        };
        assert_eq!(
            check(&disk(), Ok(killed)),
            Err(Fault::Unsupported(
                "was killed by signal 11: it said nothing and was killed by signal 11".into()
            ))
        );
    }

    #[test]
    fn what_unknown_means_can_be_chosen() {
        for (word, status) in [("degraded", Status::Degraded), ("unhealthy", Status::Unhealthy)] {
            let settings = json!({"command": "disk", "unknown": word});
            let report = check(&settings, Ok(testing::command_response(3, "no idea"))).unwrap();
            assert_eq!(
                (report.status, report.reason.as_deref()),
                (status, Some("unknown"))
            );
        }
    }

    #[test]
    fn numbers_are_measured_with_their_units() {
        let stdout = "DISK OK | /=2643MB;5948;5958;0;5968 'inodes used'=81%;90;95\nlong text\nmore | 'load'=0.5;~:10;@1:2\n";
        let settings = json!({"command": "disk", "thresholds": true});
        let report = check(&settings, Ok(testing::command_response(0, stdout))).unwrap();
        let measured: Vec<_> = report
            .measurements
            .iter()
            .map(|number| (number.name.as_str(), number.value, number.unit.as_str()))
            .collect();
        let mib = 1024.0 * 1024.0;
        assert_eq!(
            measured,
            [
                ("root", 2643.0 * mib, "By"),
                ("root_warning", 5948.0 * mib, "By"),
                ("root_critical", 5958.0 * mib, "By"),
                ("inodes_used", 81.0, "%"),
                ("inodes_used_warning", 90.0, "%"),
                ("inodes_used_critical", 95.0, "%"),
                ("load", 0.5, ""),
                ("check_duration", 0.03, "s"),
            ]
        );
    }

    #[test]
    fn what_went_wrong_before_there_was_a_verdict() {
        for (error, result) in [
            (
                Error::InvalidArgument("why".into()),
                Err(Fault::InvalidSettings("why".into())),
            ),
            (Error::Denied("why".into()), Err(Fault::Unsupported("why".into()))),
            (
                Error::Unavailable("why".into()),
                Err(Fault::Internal("why".into())),
            ),
            (Error::Stopped("why".into()), Err(Fault::Internal("why".into()))),
            (
                Error::TimedOut("why".into()),
                Ok(Report::unhealthy("timeout", "why")),
            ),
        ] {
            assert_eq!(check(&disk(), Err(error)), result);
        }
    }

    #[test]
    fn who_says_nothing_is_quoted_from_standard_error() {
        let response = Response {
            stderr: "Traceback\n".into(),
            ..testing::command_response(2, "\n")
        };
        assert_eq!(check(&disk(), Ok(response)).unwrap().summary, "Traceback");
    }
}

//! Repairs by running a command that the operator declared.
//!
//! Invariant: only a code that the operator says so of means that nothing has happened. Whatever else goes wrong after the
//! start leaves the effect unknown, so that checks look before anything is done again.

use pulse_plugin_sdk::{
    ActionFailure, ActionReport, Intervention, InterventionJob, Measurement,
    command::{Request, Response},
    export_plugin, text,
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Bytes of the command's own words in a summary.
const WORDS_BYTES_MAX: usize = 300;

/// What an operator may set.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// The name under which `[commands.NAME]` declares it.
    #[schemars(length(min = 1))]
    command: String,
    /// A value for each placeholder of the declaration.
    #[serde(default)]
    arguments: BTreeMap<String, String>,
    /// Codes with which the command says that it did what it was to do.
    #[serde(default = "zero")]
    success: Vec<i32>,
    /// Codes that mean: nothing happened, and trying again may work.
    #[serde(default)]
    retryable: Vec<i32>,
    /// Codes that mean: nothing happened, and trying again is useless.
    #[serde(default)]
    permanent: Vec<i32>,
}

fn zero() -> Vec<i32> {
    vec![0]
}

/// The plugin.
pub struct Command;

impl Intervention for Command {
    type Settings = Settings;

    fn run(job: InterventionJob<Settings>) -> Result<ActionReport, ActionFailure> {
        let settings = &job.settings;
        let twice = settings
            .success
            .iter()
            .chain(&settings.retryable)
            .chain(&settings.permanent);
        let mut codes: Vec<&i32> = twice.collect();
        codes.sort_unstable();
        if let Some([code, _]) = codes
            .windows(2)
            .find(|pair| matches!(pair, [one, other] if one == other))
        {
            let text =
                format!("the code {code} stands in `success`, `retryable` and `permanent` more than once");
            return Err(ActionFailure::Permanent(text));
        }
        let mut request = Request::of(&settings.command).timeout(job.attempt.budget());
        for (name, value) in &settings.arguments {
            request = request.argument(name, value);
        }
        let response = request.run()?;
        let words = words(&settings.command, &response);
        match response.code() {
            Some(code) if settings.success.contains(&code) => Ok(ActionReport {
                measurements: vec![Measurement::seconds("duration", response.duration())],
                ..ActionReport::done(words)
            }),
            Some(code) if settings.retryable.contains(&code) => Err(ActionFailure::Retryable(words)),
            Some(code) if settings.permanent.contains(&code) => Err(ActionFailure::Permanent(words)),
            _ => Err(ActionFailure::EffectUnknown(words)),
        }
    }
}

/// How it ended, and its own first words: those of standard error where there are any and it failed.
fn words(name: &str, response: &Response) -> String {
    let (first, second) = if response.is_success() {
        (&response.stdout, &response.stderr)
    } else {
        (&response.stderr, &response.stdout)
    };
    let said = [first, second]
        .into_iter()
        .map(|said| text::first_line(said))
        .find(|line| !line.is_empty());
    let ended = format!("{} {}", text::excerpt(name, 64), response.ended());
    match said {
        Some(said) => format!("{ended}: {}", text::excerpt(said, WORDS_BYTES_MAX)),
        None => ended,
    }
}

export_plugin! {
    name: "command",
    summary: "Runs a command that the operator declared",
    intervention: Command,
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulse_plugin_sdk::{
        command::{Ending, Error},
        testing,
    };
    use serde_json::{Value, json};

    fn run(settings: &Value, answer: Result<Response, Error>) -> Result<ActionReport, ActionFailure> {
        let host = testing::Host::new().command(move |_| answer.clone());
        host.run(|| testing::intervention::<Exports>(settings)).0
    }

    #[test]
    fn manifest_and_readme_agree() {
        let (manifest, readme) = (include_str!("../plugin.toml"), include_str!("../README.md"));
        testing::check_manifest::<Exports>(manifest, readme).unwrap();
    }

    #[test]
    fn it_runs_what_the_settings_name_with_what_they_say() {
        let host = testing::Host::new().command(|request| {
            assert_eq!(request.name, "restart");
            let arguments: Vec<_> = request
                .arguments
                .iter()
                .map(|argument| (argument.name.as_str(), argument.value.as_str()))
                .collect();
            assert_eq!(arguments, [("host", "web-1"), ("service", "nginx")]);
            assert_eq!(request.timeout_ms, Some(4_900));
            Ok(testing::command_response(0, "\nrestarted\nall of it\n"))
        });
        let settings = json!({"command": "restart", "arguments": {"service": "nginx", "host": "web-1"}});
        let report = host
            .run(|| testing::intervention::<Exports>(&settings))
            .0
            .unwrap();
        assert_eq!(report.summary, "restart exited with 0: restarted");
        let measured: Vec<_> = report
            .measurements
            .iter()
            .map(|number| (number.name.as_str(), number.value))
            .collect();
        assert_eq!(measured, [("duration", 0.03)]);
    }

    #[test]
    fn what_a_code_means_is_said_and_otherwise_nobody_knows() {
        let settings = json!({"command": "a", "success": [0, 3], "retryable": [75], "permanent": [64]});
        let answer = |code| run(&settings, Ok(testing::command_response(code, "words")));
        assert!(answer(0).is_ok() && answer(3).is_ok());
        let said = |code| format!("a exited with {code}: words");
        assert_eq!(answer(75), Err(ActionFailure::Retryable(said(75))));
        assert_eq!(answer(64), Err(ActionFailure::Permanent(said(64))));
        assert_eq!(answer(1), Err(ActionFailure::EffectUnknown(said(1))));
        let killed = Response {
            ending: Ending::Killed(9),
            stderr: "warning\n".into(),
            ..testing::command_response(0, "out")
        };
        assert_eq!(
            run(&settings, Ok(killed)),
            Err(ActionFailure::EffectUnknown(
                "a was killed by signal 9: warning".into()
            ))
        );
    }

    #[test]
    fn what_was_not_run_has_had_no_effect_and_what_was_cut_may_have() {
        let settings = json!({"command": "a"});
        for (error, failure) in [
            (
                Error::Denied("why".into()),
                ActionFailure::Permanent("why".into()),
            ),
            (
                Error::InvalidArgument("why".into()),
                ActionFailure::Permanent("why".into()),
            ),
            (
                Error::Unavailable("why".into()),
                ActionFailure::Permanent("why".into()),
            ),
            (
                Error::TimedOut("why".into()),
                ActionFailure::EffectUnknown("why".into()),
            ),
            (
                Error::Stopped("why".into()),
                ActionFailure::EffectUnknown("why".into()),
            ),
        ] {
            assert_eq!(run(&settings, Err(error)), Err(failure));
        }
    }

    #[test]
    fn a_code_means_one_thing() {
        let settings = json!({"command": "a", "permanent": [0]});
        let result = run(&settings, Ok(testing::command_response(0, "")));
        assert!(matches!(result, Err(ActionFailure::Permanent(why)) if why.contains("code 0")));
    }
}

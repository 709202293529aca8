//! Restarts, starts or stops a container through the host's Docker interface.
//!
//! Invariant: a container never gets less time to stop than the operator wrote down. Where the job has not that
//! much time, nothing is done.

use pulse_plugin_sdk::{
    ActionFailure, ActionReport, Intervention, InterventionJob,
    docker::{self, Error},
    export_plugin,
    settings::Span,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What an operator may set.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// Name of the container.
    #[schemars(length(min = 1))]
    container: String,
    /// What to do.
    #[serde(default)]
    action: Action,
    /// How long the container gets to stop before it is killed, in whole seconds (a fraction is rounded up).
    /// Must fit into the intervention's timeout. Default: 10s, or half of the timeout where that is less.
    stop_timeout: Option<Span>,
}

/// What to do with the container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Stop it, then start it.
    #[default]
    Restart,
    /// Start it if it does not run.
    Start,
    /// Stop it if it runs.
    Stop,
}

/// The plugin.
pub struct Docker;

impl Intervention for Docker {
    type Settings = Settings;

    fn run(job: InterventionJob<Settings>) -> Result<ActionReport, ActionFailure> {
        let name = job.settings.container.as_str();
        let (result, done) = match job.settings.action {
            Action::Start => (docker::start(name), "started"),
            action => {
                let patience = patience(job.settings.stop_timeout, job.attempt.budget())?;
                match action {
                    Action::Stop => (docker::stop(name, patience), "stopped"),
                    _ => (docker::restart(name, patience), "restarted"),
                }
            }
        };
        result
            .map(|()| ActionReport::done(format!("{done} container {name}")))
            .map_err(failure)
    }
}

/// Whole seconds that the container gets to stop.
fn patience(wanted: Option<Span>, budget: Duration) -> Result<u32, ActionFailure> {
    let Some(wanted) = wanted else {
        return Ok(u32::try_from((budget / 2).as_secs()).unwrap_or(u32::MAX).min(10));
    };
    let wanted = wanted.get();
    let seconds = wanted.as_secs() + u64::from(wanted.subsec_nanos() > 0);
    match u32::try_from(seconds) {
        Ok(seconds) if Duration::from_secs(seconds.into()) < budget => Ok(seconds),
        _ => Err(ActionFailure::Permanent(format!(
            "stop-timeout is {seconds}s, but the intervention has only {:.1}s: raise its timeout",
            budget.as_secs_f64(),
        ))),
    }
}

fn failure(error: Error) -> ActionFailure {
    match error {
        Error::Denied(message) | Error::NotFound(message) | Error::Rejected(message) => {
            ActionFailure::Permanent(message)
        }
        Error::Unavailable(message) => ActionFailure::Retryable(message),
        Error::EffectUnknown(message) => ActionFailure::EffectUnknown(message),
    }
}

export_plugin! {
    name: "docker",
    summary: "Restarts, starts or stops a container",
    intervention: Docker,
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulse_plugin_sdk::{docker::Call, testing};
    use serde_json::{Value, json};
    use std::{cell::RefCell, rc::Rc};

    fn run(settings: &Value, answer: Result<(), Error>) -> (Result<ActionReport, ActionFailure>, Vec<Call>) {
        let calls = Rc::new(RefCell::new(Vec::new()));
        let made = Rc::clone(&calls);
        let host = testing::Host::new().docker(move |call| {
            made.borrow_mut().push(call);
            answer.clone()
        });
        let (result, _) = host.run(|| testing::intervention::<Exports>(settings));
        (result, calls.take())
    }

    #[test]
    fn manifest_and_readme_agree() {
        let (manifest, readme) = (include_str!("../plugin.toml"), include_str!("../README.md"));
        testing::check_manifest::<Exports>(manifest, readme).unwrap();
    }

    #[test]
    fn each_action_is_one_call() {
        let name = "web-1".to_owned();
        for (settings, call, summary) in [
            (
                json!({"container": "web-1"}),
                Call::Restart {
                    name: name.clone(),
                    stop_timeout_s: 2,
                },
                "restarted container web-1",
            ),
            (
                json!({"container": "web-1", "action": "restart", "stop-timeout": "1500ms"}),
                Call::Restart {
                    name: name.clone(),
                    stop_timeout_s: 2,
                },
                "restarted container web-1",
            ),
            (
                json!({"container": "web-1", "action": "start", "stop-timeout": "1h"}),
                Call::Start { name: name.clone() },
                "started container web-1",
            ),
            (
                json!({"container": "web-1", "action": "stop", "stop-timeout": "0s"}),
                Call::Stop {
                    name,
                    stop_timeout_s: 0,
                },
                "stopped container web-1",
            ),
        ] {
            let (result, calls) = run(&settings, Ok(()));
            assert_eq!(result.unwrap().summary, summary);
            assert_eq!(calls, [call]);
        }
    }

    #[test]
    fn nothing_is_done_without_the_time_for_it() {
        let (result, calls) = run(&json!({"container": "db", "stop-timeout": "1m"}), Ok(()));
        let Err(ActionFailure::Permanent(text)) = result else {
            panic!("{result:?}");
        };
        assert!(
            text.contains("stop-timeout is 60s, but the intervention has only 4.9s"),
            "{text}"
        );
        assert_eq!(calls, []);
    }

    #[test]
    fn the_default_patience_fits_the_timeout() {
        let patience = |ms| patience(None, Duration::from_millis(ms)).unwrap();
        assert_eq!((patience(0), patience(4_900), patience(60_000)), (0, 2, 10));
    }

    #[test]
    fn what_is_known_of_the_effect_is_said() {
        let said = |error: fn(String) -> Error| {
            run(&json!({"container": "a"}), Err(error("why".into())))
                .0
                .unwrap_err()
        };
        let why = || "why".to_owned();
        assert_eq!(said(Error::Denied), ActionFailure::Permanent(why()));
        assert_eq!(said(Error::NotFound), ActionFailure::Permanent(why()));
        assert_eq!(said(Error::Rejected), ActionFailure::Permanent(why()));
        assert_eq!(said(Error::Unavailable), ActionFailure::Retryable(why()));
        assert_eq!(said(Error::EffectUnknown), ActionFailure::EffectUnknown(why()));
    }

    #[test]
    fn wrong_settings_do_nothing() {
        let (result, calls) = run(&json!({"container": "a", "action": "remove"}), Ok(()));
        assert!(matches!(result, Err(ActionFailure::Permanent(text)) if text.contains("/action")));
        assert_eq!(calls, []);
    }
}

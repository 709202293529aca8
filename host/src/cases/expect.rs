//! What came of an execution, as a case writes it.

use super::{
    diff::{self, Diff},
    format::{Expect, Failure, Fault, Measurement},
    words::{Span, Word},
};
use crate::{
    capability::log::Line,
    domain::outcome::{
        self, ActionFailure, Answer, CLASSES, DeliveryFailure, Outcome, PluginFault, class_name,
    },
};

/// Everything that came of it.
pub fn came(outcome: &Outcome, log: &[Line]) -> Expect {
    let mut came = Expect {
        outcome: Some(outcome.class().to_owned()),
        log: Some(log.iter().map(Line::to_string).collect()),
        ..Expect::default()
    };
    match outcome {
        Outcome::Answer(Answer::Pulse(report)) => {
            came.status = Some(Word(report.status));
            came.summary = Some(report.summary.clone());
            came.reason.clone_from(&report.reason);
            came.measurements = Some(measured(&report.measurements));
        }
        Outcome::Answer(Answer::Intervention(Ok(done))) => {
            came.summary = Some(done.summary.clone());
            came.measurements = Some(measured(&done.measurements));
        }
        Outcome::Answer(Answer::Intervention(Err(failure))) => {
            came.failure = Some(match failure {
                ActionFailure::Retryable(message) => Failure::Retryable(message.clone()),
                ActionFailure::Permanent(message) => Failure::Permanent(message.clone()),
                ActionFailure::EffectUnknown(message) => Failure::EffectUnknown(message.clone()),
            });
        }
        Outcome::Answer(Answer::Code(Ok(receipt))) => {
            came.summary = Some(receipt.summary.clone());
            came.receipt.clone_from(&receipt.id);
        }
        Outcome::Answer(Answer::Code(Err(DeliveryFailure::Retryable { message, after }))) => {
            came.failure = Some(Failure::Retryable(message.clone()));
            came.after = after.map(Span);
        }
        Outcome::Answer(Answer::Code(Err(DeliveryFailure::Permanent(message)))) => {
            came.failure = Some(Failure::Permanent(message.clone()));
        }
        Outcome::PluginFault(fault) => {
            came.fault = Some(match fault {
                PluginFault::InvalidSettings(message) => Fault::InvalidSettings(message.clone()),
                PluginFault::Unsupported(message) => Fault::Unsupported(message.clone()),
                PluginFault::Internal(message) => Fault::Internal(message.clone()),
            });
        }
        other => came.message = Some(other.to_string()),
    }
    came
}

fn measured(measurements: &[outcome::Measurement]) -> Vec<Measurement> {
    measurements
        .iter()
        .map(|one| Measurement {
            name: one.name.clone(),
            value: Some(one.value),
            unit: Some(one.unit.clone()),
        })
        .collect()
}

/// What is wrong with an expectation, whatever comes.
pub fn wrong(expect: &Expect) -> Option<String> {
    if *expect == Expect::default() {
        return Some(
            "the case expects nothing, and so it could not fail: write for example status = \"healthy\""
                .to_owned(),
        );
    }
    let known = (0..CLASSES).map(class_name);
    if let Some(class) = &expect.outcome
        && !known.clone().any(|name| name == class)
    {
        let names: Vec<&str> = known.collect();
        let class: String = class.escape_debug().take(64).collect();
        return Some(format!(
            "there is no outcome `{class}`; it is one of {}",
            names.join(", ")
        ));
    }
    None
}

/// Where what came differs from what was expected; none: nowhere.
pub fn compare(wanted: &Expect, came: Expect) -> Option<Diff> {
    let wanted = with_outcome(wanted.clone());
    let came = as_far_as(&wanted, came);
    if wanted == came {
        return None;
    }
    Some(diff::lines(&written(&wanted), &written(&came)))
}

/// The same where nothing else may have come.
pub fn compare_all(wanted: &Expect, came: &Expect) -> Option<Diff> {
    (wanted != came).then(|| diff::lines(&written(wanted), &written(came)))
}

/// Who expects an answer or a fault expects its class.
fn with_outcome(mut expect: Expect) -> Expect {
    if expect.outcome.is_none() {
        let class = match (&expect.fault, &expect.message) {
            (Some(_), _) => Some("plugin-fault"),
            (None, Some(_)) => None,
            (None, None) => Some("answer"),
        };
        expect.outcome = class.map(str::to_owned);
    }
    expect
}

/// What came, cut down to what is expected; and whatever was not expected but says why it is not.
fn as_far_as(wanted: &Expect, came: Expect) -> Expect {
    let same = wanted.outcome.is_none() || wanted.outcome == came.outcome;
    let keep = |wanted: bool| wanted || !same;
    Expect {
        outcome: came.outcome.filter(|_| wanted.outcome.is_some()),
        status: came.status.filter(|_| keep(wanted.status.is_some())),
        // Beside another status the summary says why.
        summary: came.summary.filter(|_| {
            keep(wanted.summary.is_some()) || wanted.status.is_some() && wanted.status != came.status
        }),
        reason: came.reason.filter(|_| {
            keep(wanted.reason.is_some()) || wanted.status.is_some() && wanted.status != came.status
        }),
        fault: came.fault.filter(|_| keep(wanted.fault.is_some())),
        failure: came.failure,
        after: came.after.filter(|_| wanted.after.is_some()),
        receipt: came.receipt.filter(|_| wanted.receipt.is_some()),
        message: came.message.filter(|_| keep(wanted.message.is_some())),
        log: came.log.filter(|_| wanted.log.is_some()),
        measurements: wanted
            .measurements
            .as_ref()
            .map(|wanted| narrowed(wanted, came.measurements.unwrap_or_default())),
    }
}

/// A measurement whose value or unit does not matter shows none.
fn narrowed(wanted: &[Measurement], came: Vec<Measurement>) -> Vec<Measurement> {
    came.into_iter()
        .map(|mut one| {
            if let Some(wanted) = wanted.iter().find(|wanted| wanted.name == one.name) {
                one.value = one.value.filter(|_| wanted.value.is_some());
                one.unit = one.unit.filter(|_| wanted.unit.is_some());
            }
            one
        })
        .collect()
}

fn written(expect: &Expect) -> String {
    toml::to_string(expect).unwrap_or_else(|error| format!("# can't be written: {error}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::outcome::{Report, Status};

    fn report(status: Status, value: f64) -> Expect {
        came(
            &Outcome::Answer(Answer::Pulse(Report {
                status,
                summary: "so it is".into(),
                reason: None,
                measurements: vec![outcome::Measurement {
                    name: "duration".into(),
                    value,
                    unit: "s".into(),
                }],
            })),
            &[],
        )
    }

    fn wanted(text: &str) -> Expect {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn only_what_is_named_must_be_so() {
        let healthy = || report(Status::Healthy, 0.5);
        for text in [
            "status = \"healthy\"",
            "summary = \"so it is\"\nlog = []",
            "measurements = [{ name = \"duration\" }]",
            "measurements = [{ name = \"duration\", value = 0.5, unit = \"s\" }]",
        ] {
            assert_eq!(compare(&wanted(text), healthy()), None, "{text}");
        }
        for text in [
            "status = \"unhealthy\"",
            "reason = \"timeout\"",
            "measurements = []",
            "measurements = [{ name = \"duration\", value = 0.6 }]",
            "outcome = \"trap\"",
            "fault = { internal = \"x\" }",
            "log = [\"info: x\"]",
        ] {
            assert!(compare(&wanted(text), healthy()).is_some(), "{text}");
        }
        // What was not asked for, but explains it, is shown.
        let diff = compare(&wanted("status = \"unhealthy\""), healthy()).unwrap();
        assert!(
            diff.contains(&diff::Line::Got("summary = \"so it is\"".into())),
            "{diff:?}"
        );
        let trap = came(&Outcome::Trap("oh".into()), &[]);
        let diff = compare(&wanted("status = \"healthy\""), trap).unwrap();
        assert!(
            diff.contains(&diff::Line::Got("message = \"trapped: oh\"".into())),
            "{diff:?}"
        );
    }
}

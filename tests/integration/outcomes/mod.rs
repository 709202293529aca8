//! What executions come to: every class of outcome, provoked by a real guest, and what else must hold of them.

mod bounds;
mod classes;
mod deadlines;
mod fairness;
mod isolation;
mod leaks;
mod no_pool;
mod reuse;

use pulse_host::domain::{
    job::JobResult,
    outcome::{Answer, Outcome, Report},
};

/// The report of a pulse that answered.
fn report(result: &JobResult) -> &Report {
    match &result.outcome {
        Outcome::Answer(Answer::Pulse(report)) => report,
        other => panic!("no report: {other:?}"),
    }
}

/// A number that the guest measured.
fn measured(result: &JobResult, name: &str) -> f64 {
    let report = report(result);
    let found = report
        .measurements
        .iter()
        .find(|measurement| measurement.name == name);
    found.unwrap_or_else(|| panic!("no {name}: {report:?}")).value
}

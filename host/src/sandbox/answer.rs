//! Bounds and cleans what a guest answers, before anybody else sees it.
//!
//! Architecture invariant: no string that a guest made reaches a log, a page or a receiver unbounded or with
//! control characters in it.

use crate::{
    capability::log::escaped,
    domain::outcome::{
        ActionFailure, Answer, DeliveryFailure, Done, Measurement, PluginFault, Receipt, Report,
    },
};

/// Longest summary, message or receipt.
pub const TEXT_BYTES_MAX: usize = 1_024;
const REASON_BYTES_MAX: usize = 64;
const MEASUREMENTS_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 64;
const UNIT_BYTES_MAX: usize = 16;

/// Bounds an answer.
#[must_use]
pub fn bound(mut answer: Answer) -> Answer {
    match &mut answer {
        Answer::Pulse(Report {
            summary,
            reason,
            measurements,
            ..
        }) => {
            line(summary);
            if let Some(text) = reason {
                clean(text, REASON_BYTES_MAX);
            }
            if reason.as_ref().is_some_and(String::is_empty) {
                *reason = None;
            }
            bound_measurements(measurements);
        }
        Answer::Intervention(Ok(Done {
            summary,
            measurements,
        })) => {
            line(summary);
            bound_measurements(measurements);
        }
        Answer::Intervention(Err(
            ActionFailure::Retryable(message)
            | ActionFailure::Permanent(message)
            | ActionFailure::EffectUnknown(message),
        ))
        | Answer::Code(Err(
            DeliveryFailure::Retryable { message, .. } | DeliveryFailure::Permanent(message),
        )) => line(message),
        Answer::Code(Ok(Receipt { id, summary })) => {
            line(summary);
            if let Some(id) = id {
                line(id);
            }
        }
    }
    answer
}

/// Bounds a fault.
#[must_use]
pub fn bound_fault(mut fault: PluginFault) -> PluginFault {
    match &mut fault {
        PluginFault::InvalidSettings(message)
        | PluginFault::Unsupported(message)
        | PluginFault::Internal(message) => line(message),
    }
    fault
}

/// One line of bounded length.
pub fn line(text: &mut String) {
    clean(text, TEXT_BYTES_MAX);
}

fn bound_measurements(measurements: &mut Vec<Measurement>) {
    measurements.truncate(MEASUREMENTS_MAX);
    measurements.retain_mut(|measurement| {
        clean(&mut measurement.name, NAME_BYTES_MAX);
        clean(&mut measurement.unit, UNIT_BYTES_MAX);
        measurement.value.is_finite() && !measurement.name.is_empty()
    });
}

/// One line, without control characters, of bounded length.
fn clean(text: &mut String, bytes_max: usize) {
    // Most texts are short and plain, and stay what they are.
    let plain = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    if text.len() > bytes_max || !text.bytes().all(plain) {
        *text = escaped(text, bytes_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::outcome::Status;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_report_is_bounded_and_clean(
            summary in ".{0,3000}",
            reason in proptest::option::of("\\PC{0,200}|.{0,5}"),
            numbers in proptest::collection::vec(("\\PC{0,100}", proptest::num::f64::ANY, ".{0,40}"), 0..100),
        ) {
            let answer = bound(Answer::Pulse(Report {
                status: Status::Healthy,
                summary,
                reason,
                measurements: numbers
                    .into_iter()
                    .map(|(name, value, unit)| Measurement { name, value, unit })
                    .collect(),
            }));
            let Answer::Pulse(report) = answer else { panic!("another kind") };
            prop_assert!(report.summary.len() <= TEXT_BYTES_MAX);
            prop_assert!(!report.summary.chars().any(char::is_control));
            prop_assert!(report.measurements.len() <= MEASUREMENTS_MAX);
            for measurement in &report.measurements {
                prop_assert!(measurement.value.is_finite());
                prop_assert!(measurement.name.len() <= NAME_BYTES_MAX);
                prop_assert!(!measurement.unit.chars().any(char::is_control));
            }
        }
    }
}

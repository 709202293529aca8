//! A guest of all three kinds that misbehaves as its settings say: `{"do": "spin"}`. See [`settings::Deed`] for
//! what it can do.
//!
//! Every answer carries the measurement `calls`, a counter in the instance's own memory (a receipt has it in its
//! summary): 1 says that the instance was fresh.

mod deeds;
mod settings;

use deeds::{Done, perform};
use pulse_plugin_sdk::{
    ActionFailure, ActionReport, Code, CodeJob, DeliveryFailure, Fault, Intervention, InterventionJob,
    Measurement, Pulse, PulseJob, Receipt, Report, export_plugin,
};
use settings::{Deed, Settings, Then};
use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// The guest.
pub struct Chaos;

static CALLS: AtomicU32 = AtomicU32::new(0);

fn called() -> u32 {
    CALLS.fetch_add(1, Ordering::Relaxed) + 1
}

fn calls(count: u32) -> Measurement {
    Measurement::new("calls", f64::from(count), "")
}

impl Pulse for Chaos {
    type Settings = Settings;

    fn run(job: PulseJob<Settings>) -> Result<Report, Fault> {
        let calls = calls(called());
        let report = match job.settings.deed {
            Deed::Degraded => Report::degraded("chaos", "degraded as told"),
            Deed::Unhealthy => Report::unhealthy("chaos", "unhealthy as told"),
            Deed::FaultInvalidSettings => return Err(Fault::InvalidSettings("as told".into())),
            Deed::FaultUnsupported => return Err(Fault::Unsupported("as told".into())),
            Deed::FaultInternal => return Err(Fault::Internal("as told".into())),
            _ => match perform(&job.settings) {
                Ok(done) => answer(job.settings.then, done),
                Err(error) if job.settings.ignore_errors => {
                    let words = format!("hides: {}", error.message);
                    answer(
                        job.settings.then,
                        Done {
                            words,
                            ..Done::default()
                        },
                    )
                }
                Err(error) => Report::from_error(&error)?,
            },
        };
        Ok(report.measured(calls))
    }
}

fn answer(then: Then, done: Done) -> Report {
    let mut report = match then {
        Then::Healthy => Report::healthy(done.words),
        // A deed that is followed by a trap has no answer.
        Then::Unhealthy | Then::Trap => Report::unhealthy("chaos", done.words),
    };
    report.reason = done.reason.or(report.reason);
    report.with(done.measurements)
}

impl Intervention for Chaos {
    type Settings = Settings;

    fn run(job: InterventionJob<Settings>) -> Result<ActionReport, ActionFailure> {
        let calls = calls(called());
        match job.settings.deed {
            Deed::Retryable => return Err(ActionFailure::Retryable("as told".into())),
            Deed::Permanent => return Err(ActionFailure::Permanent("as told".into())),
            Deed::EffectUnknown => return Err(ActionFailure::EffectUnknown("as told".into())),
            _ => {}
        }
        let mut report = match perform(&job.settings) {
            Ok(done) if job.settings.then == Then::Healthy => ActionReport {
                summary: done.words,
                measurements: done.measurements,
            },
            Ok(done) => return Err(ActionFailure::Permanent(done.words)),
            Err(error) if job.settings.ignore_errors => {
                ActionReport::done(format!("hides: {}", error.message))
            }
            Err(error) => return Err(ActionFailure::EffectUnknown(error.message)),
        };
        report.measurements.push(calls);
        Ok(report)
    }
}

impl Code for Chaos {
    type Settings = Settings;

    fn notify(job: CodeJob<Settings>) -> Result<Receipt, DeliveryFailure> {
        let calls = called();
        match job.settings.deed {
            Deed::Retryable => {
                let after = job.settings.ms.map(Duration::from_millis);
                return Err(DeliveryFailure::retryable("as told", after));
            }
            Deed::Permanent => return Err(DeliveryFailure::permanent("as told")),
            Deed::Receipt => {
                return Ok(Receipt {
                    id: Some("receipt-1".into()),
                    summary: format!("as told, calls {calls}"),
                });
            }
            _ => {}
        }
        match perform(&job.settings) {
            Ok(done) if job.settings.then == Then::Healthy => {
                Ok(Receipt::taken(format!("{}, calls {calls}", done.words)))
            }
            Ok(done) => Err(DeliveryFailure::permanent(done.words)),
            Err(error) if job.settings.ignore_errors => {
                Ok(Receipt::taken(format!("hides: {}", error.message)))
            }
            Err(error) => Err(DeliveryFailure::retryable(error.message, None)),
        }
    }
}

export_plugin! {
    name: "chaos",
    summary: "Misbehaves as its settings say",
    pulse: Chaos,
    intervention: Chaos,
    code: Chaos,
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulse_plugin_sdk::{
        Color, Status,
        serde_json::json,
        testing::{self, Host},
    };

    #[test]
    fn it_answers_as_told() {
        let pulse = |deed: &str| testing::pulse::<Exports>(&json!({"do": deed}));
        assert_eq!(pulse("healthy").unwrap().status, Status::Healthy);
        assert_eq!(pulse("degraded").unwrap().status, Status::Degraded);
        assert_eq!(pulse("unhealthy").unwrap().reason.as_deref(), Some("chaos"));
        assert!(matches!(pulse("fault-internal"), Err(Fault::Internal(_))));
        let repair = |deed: &str| testing::intervention::<Exports>(&json!({"do": deed}));
        assert!(repair("done").is_ok());
        assert!(matches!(
            repair("effect-unknown"),
            Err(ActionFailure::EffectUnknown(_))
        ));
        let tell = |deed: &str| testing::code::<Exports>(Color::Red, &json!({"do": deed, "ms": 7}));
        assert_eq!(tell("receipt").unwrap().id.as_deref(), Some("receipt-1"));
        assert_eq!(
            tell("retryable"),
            Err(DeliveryFailure::retryable(
                "as told",
                Some(Duration::from_millis(7))
            ))
        );
    }

    #[test]
    fn it_hides_a_denial_only_when_told() {
        let settings =
            |ignore| json!({"do": "http", "url": "http://a", "ignore-errors": ignore, "then": "unhealthy"});
        let run = |ignore| Host::new().run(|| testing::pulse::<Exports>(&settings(ignore))).0;
        assert!(matches!(run(false), Err(Fault::Unsupported(_))));
        let report = run(true).unwrap();
        assert_eq!(report.status, Status::Unhealthy);
        assert!(report.summary.starts_with("hides: "));
    }

    #[test]
    fn calls_are_counted() {
        let calls = || {
            let report = testing::pulse::<Exports>(&json!({"do": "healthy"})).unwrap();
            report.measurements.last().unwrap().value
        };
        // Other tests count on the same counter.
        assert!(calls() < calls());
    }
}

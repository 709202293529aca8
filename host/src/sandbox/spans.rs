//! Spans: one for each execution, for whoever collects them. Each says whose job it was, when it was due, how long it waited
//! and took, and how it ended; those of an incident have its id in common.
//!
//! Architecture invariant: where nobody wants them, an execution costs one look at a flag more.

use crate::domain::{
    job::{Job, JobResult, Payload},
    outcome::{Answer, Outcome},
    spec::Kind,
};
use std::time::Duration;
use tracing::{Level, Span, field};

/// Takes note of every execution that has ended. Waits for nothing: it is called on workers' threads.
pub trait Collector: Send + Sync {
    /// One has ended.
    fn take(&self, job: Job, result: &JobResult);
}

/// What filters know them by: `RUST_LOG=info,execution=debug`.
pub const TARGET: &str = "execution";

/// Whether anybody wants them.
pub fn wanted() -> bool {
    tracing::span_enabled!(target: TARGET, Level::DEBUG)
}

/// The span of a job that begins.
pub fn begin(job: &Job) -> Span {
    let incident = match &job.payload {
        Payload::Pulse => None,
        Payload::Intervention(order) => Some(&*order.incident.id),
        Payload::Code(alert) => alert.incident.as_ref().map(|incident| &*incident.id),
    };
    let sink = (job.key.kind == Kind::Code)
        .then(|| job.spec.sinks.get(usize::from(job.key.sink)))
        .flatten()
        .map(|sink| &*sink.name);
    tracing::debug_span!(
        target: TARGET,
        "execution",
        tenant = &*job.spec.tenant.name,
        monitor = job.spec.name(),
        kind = job.key.kind.name(),
        attempt = job.key.attempt,
        plugin = job.assignment().map(|lane| &*lane.profile.plugin),
        sink,
        incident,
        due_ms = job.due_wall.0,
        late_us = field::Empty,
        queue_us = field::Empty,
        took_us = field::Empty,
        outcome = field::Empty,
        status = field::Empty,
    )
}

/// It has ended.
pub fn end(span: &Span, result: &JobResult) {
    let us = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    span.record("late_us", us(result.started.since(result.due)));
    span.record("queue_us", us(result.started.since(result.sent)));
    span.record("took_us", us(result.finished.since(result.started)));
    span.record("outcome", result.outcome.class());
    if let Outcome::Answer(answer) = &result.outcome {
        let status = match answer {
            Answer::Pulse(report) => report.status.name(),
            Answer::Intervention(Ok(_)) => "done",
            Answer::Code(Ok(_)) => "delivered",
            Answer::Intervention(Err(_)) | Answer::Code(Err(_)) => "failed",
        };
        span.record("status", status);
    }
    // A log has no line of a span in which nothing happens.
    tracing::debug!(target: TARGET, parent: span, "ended");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        outcome::{Report, Status, Usage},
        spec::Draft,
        time::{Mono, Wall},
    };
    use std::{
        io::Write,
        sync::{Arc, Mutex, PoisonError},
    };
    use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What a log with that filter holds of one execution.
    fn logged(filter: &str) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = fmt::layer().with_ansi(false).with_writer(move || writer.clone());
        let log = tracing_subscriber::registry()
            .with(EnvFilter::new(filter))
            .with(layer);
        tracing::subscriber::with_default(log, || {
            if !wanted() {
                return;
            }
            let ms = |ms| Mono(1).after(Duration::from_millis(ms));
            let mut job = Job::alone(Draft::check("shop").ready(), ms(0), Wall(7_000));
            job.key.attempt = 3;
            let span = begin(&job);
            let report = Report {
                status: Status::Degraded,
                summary: String::new(),
                reason: None,
                measurements: Vec::new(),
            };
            let result = JobResult {
                key: job.key,
                outcome: Outcome::Answer(Answer::Pulse(report)),
                usage: Usage::default(),
                due: ms(0),
                sent: ms(2),
                started: ms(5),
                finished: ms(25),
            };
            end(&span, &result);
        });
        let bytes = lines.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_span_tells_of_its_execution_and_only_who_wants_it_has_any() {
        for filter in ["info", "pulse_host=debug,info", "off"] {
            assert_eq!(logged(filter), "", "{filter}");
        }
        let line = logged("info,execution=debug");
        for field in [
            "tenant=\"default\"",
            "monitor=\"shop\"",
            "kind=\"pulse\"",
            "attempt=3",
            "plugin=\"http\"",
            "due_ms=7000",
            "late_us=5000",
            "queue_us=3000",
            "took_us=20000",
            "outcome=\"answer\"",
            "status=\"degraded\"",
        ] {
            assert!(line.contains(field), "{field} is not in {line}");
        }
        assert!(!line.contains("incident") && line.lines().count() == 1, "{line}");
    }
}

//! What executions and incidents look like as spans (OpenTelemetry, data model of traces).

use crate::domain::{
    job::{Job, JobResult, Payload},
    outcome::{ActionFailure, Answer, DeliveryFailure, Outcome, Status as Health},
    spec::{Kind, MonitorSpec},
    time::{Mono, Wall},
};
use opentelemetry::{
    InstrumentationScope, KeyValue, SpanId, TraceFlags, TraceId,
    trace::{Event, SpanContext, SpanKind, Status, TraceState},
};
use opentelemetry_sdk::trace::{IdGenerator as _, RandomIdGenerator, SpanData, SpanEvents, SpanLinks};
use sha2::{Digest as _, Sha256};
use std::time::{Duration, UNIX_EPOCH};

/// The trace of an incident, and its own span in it. Both follow from its id, so that every process that tells of it, before
/// and after a restart, tells of the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Incident {
    trace: TraceId,
    span: SpanId,
}

impl Incident {
    /// Whether a span is a part of it.
    #[cfg(test)]
    pub(super) fn holds(&self, span: &SpanData) -> bool {
        span.span_context.trace_id() == self.trace
    }

    /// That with this id.
    pub(super) fn named(id: &str) -> Self {
        let digest: [u8; 32] = Sha256::digest(id).into();
        let (mut trace, mut span) = ([0; 16], [0; 8]);
        for (to, from) in trace.iter_mut().chain(&mut span).zip(digest) {
            *to = from;
        }
        Self {
            trace: TraceId::from_bytes(trace),
            span: SpanId::from_bytes(span),
        }
    }
}

/// Makes spans.
pub(super) struct Spans {
    ids: RandomIdGenerator,
    scope: InstrumentationScope,
}

impl Default for Spans {
    fn default() -> Self {
        Self {
            ids: RandomIdGenerator::default(),
            scope: InstrumentationScope::builder("pulse-host").build(),
        }
    }
}

impl Spans {
    /// An execution, from when it was due until it ended. `open` is the incident of its monitor, if there is one.
    pub(super) fn execution(&self, job: &Job, result: &JobResult, open: Option<Incident>) -> SpanData {
        let at = |moment: Mono| Duration::from_millis(job.due_wall.0) + moment.since(result.due);
        let id = match &job.payload {
            Payload::Pulse => None,
            Payload::Intervention(order) => Some(&order.incident.id),
            Payload::Code(alert) => alert.incident.as_ref().map(|incident| &incident.id),
        };
        let (status, trouble) = verdict(&result.outcome);
        // A check of a healthy target is no part of what is told of an incident.
        let incident = match (id, job.key.kind) {
            (Some(id), _) => Some(Incident::named(id)),
            (None, Kind::Pulse) if trouble.is_some() => open,
            (None, _) => None,
        };
        let plugin = job.assignment().map(|lane| lane.profile.plugin.to_string());
        let kind = job.key.kind.name();
        let name = match &plugin {
            Some(plugin) => format!("{kind} {plugin}"),
            None => kind.to_owned(),
        };
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let mut attributes = of_monitor(&job.spec);
        attributes.extend([
            KeyValue::new("pulse_host.kind", kind),
            KeyValue::new("pulse_host.outcome", result.outcome.class()),
            KeyValue::new("pulse_host.attempt", i64::from(job.key.attempt)),
            KeyValue::new("pulse_host.fuel", whole(result.usage.fuel)),
            KeyValue::new(
                "pulse_host.peak_memory_bytes",
                whole(result.usage.peak_memory_bytes),
            ),
        ]);
        attributes.extend(status.map(|status| KeyValue::new("pulse_host.status", status)));
        attributes.extend(plugin.map(|plugin| KeyValue::new("pulse_host.plugin", plugin)));
        attributes.extend(id.map(|id| KeyValue::new("pulse_host.incident", id.clone())));
        if let Payload::Code(alert) = &job.payload {
            attributes.push(KeyValue::new("pulse_host.color", alert.color.name()));
            let sink = job.spec.sinks.get(usize::from(job.key.sink));
            attributes.extend(sink.map(|sink| KeyValue::new("pulse_host.sink", sink.name.to_string())));
        }
        let events = [("sent", result.sent), ("started", result.started)]
            .map(|(name, moment)| Event::new(name, UNIX_EPOCH + at(moment), Vec::new(), 0));
        let mut noted = SpanEvents::default();
        noted.events.extend(events);
        SpanData {
            events: noted,
            status: trouble.map_or(Status::Unset, Status::error),
            ..self.span(
                name,
                Incident {
                    trace: incident.map_or_else(|| self.ids.new_trace_id(), |incident| incident.trace),
                    span: self.ids.new_span_id(),
                },
                incident,
                (at(result.due), at(result.finished)),
                attributes,
            )
        }
    }

    /// An incident that is over, from the first bad report on.
    pub(super) fn incident(&self, spec: &MonitorSpec, id: &str, began: Wall, ended: Wall) -> SpanData {
        let mut attributes = of_monitor(spec);
        attributes.push(KeyValue::new("pulse_host.incident", id.to_owned()));
        let at = |wall: Wall| Duration::from_millis(wall.0);
        let name = "incident".to_owned();
        self.span(
            name,
            Incident::named(id),
            None,
            (at(began), at(ended)),
            attributes,
        )
    }

    fn span(
        &self,
        name: String,
        own: Incident,
        parent: Option<Incident>,
        (start, end): (Duration, Duration),
        attributes: Vec<KeyValue>,
    ) -> SpanData {
        SpanData {
            span_context: SpanContext::new(
                own.trace,
                own.span,
                TraceFlags::SAMPLED,
                false,
                TraceState::default(),
            ),
            parent_span_id: parent.map_or(SpanId::INVALID, |parent| parent.span),
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: name.into(),
            start_time: UNIX_EPOCH + start,
            end_time: UNIX_EPOCH + end,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: self.scope.clone(),
        }
    }
}

fn of_monitor(spec: &MonitorSpec) -> Vec<KeyValue> {
    vec![
        KeyValue::new("pulse_host.tenant", spec.tenant.name.to_string()),
        KeyValue::new("pulse_host.monitor", spec.name().to_string()),
    ]
}

/// What the plugin said, and what is wrong.
fn verdict(outcome: &Outcome) -> (Option<&'static str>, Option<String>) {
    let answer = match outcome {
        Outcome::Answer(answer) => answer,
        fault => return (None, Some(fault.to_string())),
    };
    match answer {
        Answer::Pulse(report) => {
            let trouble = (report.status == Health::Unhealthy).then(|| report.summary.clone());
            (Some(report.status.name()), trouble)
        }
        Answer::Intervention(Ok(_)) => (Some("done"), None),
        Answer::Code(Ok(_)) => (Some("delivered"), None),
        Answer::Intervention(Err(
            ActionFailure::Retryable(why) | ActionFailure::Permanent(why) | ActionFailure::EffectUnknown(why),
        )) => (Some("failed"), Some(why.clone())),
        Answer::Code(Err(
            DeliveryFailure::Retryable { message, .. } | DeliveryFailure::Permanent(message),
        )) => (Some("failed"), Some(message.clone())),
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;
    use crate::domain::{
        outcome::{Report, Usage},
        spec::Draft,
    };

    pub(in super::super) fn checked(outcome: Outcome) -> (Job, JobResult) {
        let ms = |ms| Mono(1).after(Duration::from_millis(ms));
        let job = Job::alone(Draft::check("shop").ready(), ms(0), Wall(7_000));
        let result = JobResult {
            key: job.key,
            outcome,
            usage: Usage::default(),
            due: ms(0),
            sent: ms(2),
            started: ms(5),
            finished: ms(25),
        };
        (job, result)
    }

    pub(in super::super) fn said(status: Health) -> Outcome {
        Outcome::Answer(Answer::Pulse(Report {
            status,
            summary: "answered 500".to_owned(),
            reason: None,
            measurements: Vec::new(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        testing::{checked, said},
        *,
    };

    #[test]
    fn an_execution_goes_from_due_to_its_end() {
        let (job, result) = checked(said(Health::Unhealthy));
        let span = Spans::default().execution(&job, &result, None);
        assert_eq!(span.name, "pulse http");
        let at = |ms| UNIX_EPOCH + Duration::from_millis(ms);
        assert_eq!((span.start_time, span.end_time), (at(7_000), at(7_025)));
        let events: Vec<_> = span
            .events
            .iter()
            .map(|event| (&*event.name, event.timestamp))
            .collect();
        assert_eq!(events, [("sent", at(7_002)), ("started", at(7_005))]);
        assert_eq!(span.status, Status::error("answered 500"));
        assert_eq!(span.parent_span_id, SpanId::INVALID);
        for (key, value) in [
            ("pulse_host.tenant", "default"),
            ("pulse_host.monitor", "shop"),
            ("pulse_host.plugin", "http"),
            ("pulse_host.status", "unhealthy"),
        ] {
            let expected = KeyValue::new(key, value);
            assert!(
                span.attributes.contains(&expected),
                "{key}: {:?}",
                span.attributes
            );
        }
    }

    #[test]
    fn failed_checks_belong_to_the_incident_and_well_ones_to_none() {
        let (spans, incident) = (Spans::default(), Incident::named("0198-a"));
        for (outcome, belongs) in [
            (said(Health::Unhealthy), true),
            (Outcome::StackOverflow, true),
            (said(Health::Healthy), false),
        ] {
            let (job, result) = checked(outcome);
            let span = spans.execution(&job, &result, Some(incident));
            let is_in = span.span_context.trace_id() == incident.trace;
            assert_eq!((is_in, span.parent_span_id == incident.span), (belongs, belongs));
        }
        let (job, _) = checked(Outcome::StackOverflow);
        let whole = spans.incident(&job.spec, "0198-a", Wall(1), Wall(5));
        assert_eq!(whole.span_context.trace_id(), incident.trace);
        assert_eq!(whole.span_context.span_id(), incident.span);
        assert_ne!(Incident::named("0198-b"), incident);
    }
}

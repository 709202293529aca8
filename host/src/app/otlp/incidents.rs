//! Which incident an execution belongs to.

use super::span::{Incident, Spans};
use crate::domain::{
    job::{Job, JobResult, MonitorId},
    spec::{Kind, MonitorSpec},
    time::Wall,
};
use opentelemetry_sdk::trace::SpanData;
use std::collections::HashMap;

/// Incidents that failed checks are joined to. Those of monitors that are gone are never closed, so that beyond this any of
/// them is forgotten; its checks are traces of their own then.
const OPEN_MAX: usize = 100_000;

/// What there is to be told.
pub(super) enum Seen {
    Execution(Box<(Job, JobResult)>),
    Opened {
        monitor: MonitorId,
        incident: Incident,
    },
    Closed {
        monitor: MonitorId,
        spec: MonitorSpec,
        id: String,
        began: Wall,
        ended: Wall,
    },
}

/// Those that are open, and what may yet belong to one.
#[derive(Default)]
pub(super) struct Incidents {
    spans: Spans,
    open: HashMap<MonitorId, Incident>,
    /// Failed checks of monitors without an incident. Such a check ends before anybody knows that it opens one.
    early: Vec<(Job, JobResult)>,
}

impl Incidents {
    /// Whether something waits for the next batch.
    pub(super) fn has_early(&self) -> bool {
        !self.early.is_empty()
    }

    /// What becomes spans. A check that may open an incident waits for that until the end of the next batch.
    pub(super) fn spans_of(&mut self, batch: Vec<Seen>) -> Vec<SpanData> {
        let mut waited = std::mem::take(&mut self.early);
        let mut told = Vec::new();
        for seen in batch {
            match seen {
                Seen::Opened { monitor, incident } => {
                    let is_its = |(job, _): &mut (Job, JobResult)| job.key.monitor == monitor;
                    let begun = waited
                        .extract_if(.., is_its)
                        .chain(self.early.extract_if(.., is_its));
                    told.extend(
                        begun.map(|(job, result)| self.spans.execution(&job, &result, Some(incident))),
                    );
                    self.remember(monitor, incident);
                }
                Seen::Execution(execution) => {
                    let (job, result) = *execution;
                    let open = self.open.get(&job.key.monitor).copied();
                    if open.is_none() && job.key.kind == Kind::Pulse && result.outcome.is_down() {
                        self.early.push((job, result));
                    } else {
                        told.push(self.spans.execution(&job, &result, open));
                    }
                }
                Seen::Closed {
                    monitor,
                    spec,
                    id,
                    began,
                    ended,
                } => {
                    self.open.remove(&monitor);
                    told.push(self.spans.incident(&spec, &id, began, ended));
                }
            }
        }
        // No incident came of these.
        told.extend(
            waited
                .iter()
                .map(|(job, result)| self.spans.execution(job, result, None)),
        );
        told
    }

    fn remember(&mut self, monitor: MonitorId, incident: Incident) {
        if self.open.len() >= OPEN_MAX
            && let Some(any) = self.open.keys().next().copied()
        {
            self.open.remove(&any);
        }
        self.open.insert(monitor, incident);
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::span::testing::{checked, said},
        *,
    };
    use crate::domain::outcome::{Outcome, Status};

    fn check(outcome: Outcome) -> Seen {
        Seen::Execution(Box::new(checked(outcome)))
    }

    fn failed() -> Seen {
        check(said(Status::Unhealthy))
    }

    fn monitor() -> MonitorId {
        checked(said(Status::Healthy)).0.key.monitor
    }

    fn opened(id: &str) -> Seen {
        Seen::Opened {
            monitor: monitor(),
            incident: Incident::named(id),
        }
    }

    fn closed(id: &str) -> Seen {
        Seen::Closed {
            monitor: monitor(),
            spec: checked(said(Status::Healthy)).0.spec,
            id: id.to_owned(),
            began: Wall(1),
            ended: Wall(2),
        }
    }

    /// Which of these incidents each span belongs to.
    fn owners(spans: &[SpanData]) -> Vec<Option<&'static str>> {
        let all = ["one", "two"];
        spans
            .iter()
            .map(|span| all.into_iter().find(|id| Incident::named(id).holds(span)))
            .collect()
    }

    #[test]
    fn the_check_that_opens_an_incident_belongs_to_it_whichever_batch_it_came_with() {
        let mut incidents = Incidents::default();
        assert_eq!(owners(&incidents.spans_of(vec![failed()])), []);
        assert!(incidents.has_early());
        let spans = incidents.spans_of(vec![opened("one"), failed(), closed("one")]);
        assert_eq!(owners(&spans), [Some("one"); 3]);
        assert!(!incidents.has_early());
    }

    #[test]
    fn one_incident_after_the_other_in_one_batch_are_told_apart() {
        let mut incidents = Incidents::default();
        let healthy = check(said(Status::Healthy));
        let batch = vec![
            failed(),
            opened("one"),
            failed(),
            closed("one"),
            healthy,
            failed(),
            opened("two"),
        ];
        let (one, two) = (Some("one"), Some("two"));
        assert_eq!(owners(&incidents.spans_of(batch)), [one, one, one, None, two]);
    }

    #[test]
    fn a_failure_that_opens_nothing_is_told_a_batch_later_by_itself() {
        let mut incidents = Incidents::default();
        let fault = check(Outcome::StackOverflow);
        assert_eq!(owners(&incidents.spans_of(vec![failed(), fault])), [None]);
        assert_eq!(owners(&incidents.spans_of(Vec::new())), [None]);
        assert!(!incidents.has_early());
    }
}

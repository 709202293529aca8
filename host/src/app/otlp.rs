//! `[host.otlp]`: executions and incidents as spans, for a collector of traces. All of an incident are one trace: the checks
//! that failed, the interventions and the codes, each from when it was due until it ended.
//!
//! Architecture invariant: nobody waits for the collector. What finds no room in the channel is dropped and counted.

mod incidents;
mod span;

use crate::{
    domain::{
        event::{Event, Fact},
        host::Otlp,
        job::{Job, JobResult},
        outcome::{Answer, Outcome, Status},
        spec::Kind,
        time::Wall,
    },
    http::client,
    operate::exports::{Export, Exports},
    sandbox::Collector,
};
use anyhow::{Context as _, Result};
use bytes::Bytes;
use incidents::{Incidents, Seen};
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{RetryPolicy, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanExporter as _},
};
use span::Incident;
use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::task::JoinHandle;

/// Spans that may wait for the collector.
const WAITING_MAX: usize = 4096;
/// Spans of one request.
const BATCH_MAX: usize = 512;
/// The first span of a request waits no longer for others.
const LINGER: Duration = Duration::from_secs(2);
/// One request may take that long; with repeats and their pauses it may be some times that.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is left when the host stops may take that long.
const FAREWELL: Duration = Duration::from_secs(5);

/// What is told, and the task that tells it.
pub(super) struct Tracing {
    collected: Arc<Collected>,
    task: JoinHandle<()>,
}

impl Tracing {
    /// Begins, in the runtime that this is called in.
    pub(super) fn start(settings: &Otlp, exports: Exports) -> Result<Self> {
        let trouble = Arc::new(Mutex::new(String::new()));
        let client = Client(Arc::clone(&trouble));
        let headers = settings
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()));
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(&*settings.url)
            .with_headers(headers.collect())
            .with_timeout(PATIENCE)
            .with_retry_policy(RetryPolicy::recommended().with_max_retries(2))
            .build()
            .context("[host.otlp] can't be used")?;
        let resource = Resource::builder()
            .with_service_name("pulse-host")
            .with_attribute(opentelemetry::KeyValue::new(
                "service.version",
                env!("CARGO_PKG_VERSION"),
            ));
        exporter.set_resource(&resource.build());
        let (sender, seen) = async_channel::bounded(WAITING_MAX);
        let outlet = Outlet {
            seen,
            exporter,
            exports: exports.clone(),
            trouble,
            incidents: Incidents::default(),
            last: None,
        };
        Ok(Self {
            collected: Arc::new(Collected {
                sender,
                exports,
                sample: settings.sample,
            }),
            task: tokio::spawn(outlet.run()),
        })
    }

    /// Who is to hear of executions and events.
    pub(super) fn collector(&self) -> Arc<Collected> {
        Arc::clone(&self.collected)
    }

    /// Tells what is left, within a bounded time.
    pub(super) async fn stop(self) {
        self.collected.sender.close();
        let abort = self.task.abort_handle();
        if tokio::time::timeout(FAREWELL, self.task).await.is_err() {
            abort.abort();
        }
    }
}

/// Where workers and the journal leave it.
pub(super) struct Collected {
    sender: async_channel::Sender<Seen>,
    exports: Exports,
    sample: f64,
}

impl Collected {
    /// Something happened.
    pub(super) fn hear(&self, event: &Event) {
        let monitor = event.monitor;
        match &event.fact {
            Fact::Opened { incident } => self.leave(Seen::Opened {
                monitor,
                incident: Incident::named(&incident.id),
            }),
            Fact::Closed { id, lasted_ms } => self.leave(Seen::Closed {
                monitor,
                spec: event.spec.clone(),
                id: id.clone(),
                began: Wall(event.at.0.saturating_sub(*lasted_ms)),
                ended: event.at,
            }),
            _ => {}
        }
    }

    fn leave(&self, seen: Seen) {
        let spans = usize::from(!matches!(seen, Seen::Opened { .. }));
        if self.sender.try_send(seen).is_err() {
            self.exports.count(Export::Dropped, spans);
        }
    }
}

impl Collector for Collected {
    fn take(&self, job: Job, result: &JobResult) {
        if is_told(&job, result, self.sample) {
            self.leave(Seen::Execution(Box::new((job, result.clone()))));
        }
    }
}

/// Checks that found their target healthy are told by share, everything else always.
fn is_told(job: &Job, result: &JobResult, sample: f64) -> bool {
    let is_dull = job.key.kind == Kind::Pulse
        && matches!(&result.outcome, Outcome::Answer(Answer::Pulse(report)) if report.status == Status::Healthy);
    // The upper half of a product of two odd constants, so that neither monitors nor attempts are left out for ever.
    let mixed = (job.key.monitor.0 ^ u64::from(job.key.attempt).rotate_left(32))
        .wrapping_add(0x9E37_79B9_7F4A_7C15)
        .wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0x94D0_49BB_1331_11EB);
    let part = (mixed >> 32) as f64 / f64::from(u32::MAX);
    !is_dull || (sample > 0.0 && part <= sample)
}

/// The task.
struct Outlet {
    seen: async_channel::Receiver<Seen>,
    exporter: SpanExporter,
    exports: Exports,
    trouble: Arc<Mutex<String>>,
    incidents: Incidents,
    last: Option<Export>,
}

impl Outlet {
    async fn run(mut self) {
        let mut goes_on = true;
        while goes_on || self.incidents.has_early() {
            let mut batch = Vec::new();
            if !self.incidents.has_early() {
                // The first may take as long as it likes.
                let Ok(first) = self.seen.recv().await else {
                    return;
                };
                batch.push(first);
            }
            let patience = tokio::time::sleep(LINGER);
            tokio::pin!(patience);
            while batch.len() < BATCH_MAX {
                tokio::select! {
                    next = self.seen.recv() => match next {
                        Ok(seen) => batch.push(seen),
                        Err(_) => {
                            goes_on = false;
                            break;
                        }
                    },
                    () = &mut patience => break,
                }
            }
            let spans = self.incidents.spans_of(batch);
            if !spans.is_empty() {
                self.tell(spans).await;
            }
        }
    }

    async fn tell(&mut self, spans: Vec<SpanData>) {
        let count = spans.len();
        let export = match self.exporter.export(spans).await {
            Ok(()) => Export::Sent,
            Err(_) => Export::Failed,
        };
        self.exports.count(export, count);
        // Once for each turn, however long it lasts.
        if self.last.replace(export) == Some(export) {
            return;
        }
        if export == Export::Sent {
            tracing::info!("spans are taken by the collector of [host.otlp]");
            return;
        }
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        tracing::warn!("spans are not taken by the collector of [host.otlp] and are lost: {trouble}");
    }
}

/// Speaks for the exporter, and remembers what went wrong last.
#[derive(Debug)]
struct Client(Arc<Mutex<String>>);

impl HttpClient for Client {
    fn send_bytes<'life, 'future>(
        &'life self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'future>>
    where
        'life: 'future,
        Self: 'future,
    {
        Box::pin(async move {
            let answer = match tokio::time::timeout(PATIENCE, client::forward(request)).await {
                Ok(answer) => answer,
                Err(_) => Err(anyhow::anyhow!("it did not answer in time")),
            };
            let trouble = match &answer {
                Ok(answer) => format!("it answered {}", answer.status()),
                Err(error) => format!("{error:#}"),
            };
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
            answer.map_err(Into::into)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{
        span::testing::{checked, said},
        *,
    };

    fn ended(attempt: u32, status: Status) -> (Job, JobResult) {
        let (mut job, result) = checked(said(status));
        job.key.attempt = attempt;
        (job, result)
    }

    #[test]
    fn what_is_not_well_is_told_always_and_the_rest_by_share() {
        let told = |status, sample| {
            (0..10_000)
                .filter(|attempt| {
                    let (job, result) = ended(*attempt, status);
                    is_told(&job, &result, sample)
                })
                .count()
        };
        assert_eq!(told(Status::Healthy, 0.0), 0);
        assert_eq!(told(Status::Healthy, 1.0), 10_000);
        assert!((80..120).contains(&told(Status::Healthy, 0.01)));
        for status in [Status::Degraded, Status::Unhealthy] {
            assert_eq!(told(status, 0.0), 10_000, "{status:?}");
        }
    }

    #[test]
    fn whoever_is_too_slow_loses_spans_and_holds_nobody_up() {
        let (sender, seen) = async_channel::bounded(3);
        let exports = Exports::default();
        let collected = Collected {
            sender,
            exports: exports.clone(),
            sample: 0.0,
        };
        for attempt in 0..5 {
            let (job, result) = ended(attempt, Status::Unhealthy);
            collected.take(job, &result);
        }
        assert_eq!(seen.len(), 3);
        let figures: Vec<_> = exports.figures().collect();
        assert_eq!(figures, [("sent", 0), ("failed", 0), ("dropped", 2)]);
    }
}

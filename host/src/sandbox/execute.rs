//! Runs one job: an instance, one call, one outcome.
//!
//! Architecture invariant: every execution ends in exactly one outcome. Nothing that a guest does reaches beyond
//! it: its store is dropped, unless the call came to a good end, which a `fault.internal` is not, and the plugin may
//! be used again.

use super::{
    Sandbox, answer, classify,
    plugin::{Library, Plugin},
    pool::{Key, Live, Pool},
    store,
};
use crate::{
    capability::{
        self, Lease, Lender, Waiting,
        log::{Line, LogBook},
    },
    domain::{
        job::{Job, JobResult},
        limits::Limits,
        outcome::{Outcome, PluginFault, Usage},
        spec::{Kind, MonitorSpec, Profile},
        time::Mono,
    },
};
use std::{
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use wasmtime::{PoolConcurrencyLimitError, Store, component::Instance};

/// Executes jobs on one thread's runtime.
pub struct Executor {
    sandbox: Arc<Sandbox>,
    library: Arc<Library>,
    lender: Arc<Lender>,
    pool: Pool,
}

impl Executor {
    /// For the runtime that this is called in.
    #[must_use]
    pub fn new(sandbox: Arc<Sandbox>, library: Arc<Library>) -> Self {
        let lender = Arc::new(Lender::new(Arc::clone(&sandbox.shared)));
        Self {
            sandbox,
            library,
            lender,
            pool: Pool::default(),
        }
    }

    /// Runs a job to its end.
    pub async fn execute(&self, job: Job) -> JobResult {
        self.execute_with(job, LogBook::new).await.0
    }

    /// Runs a job to its end, and returns what the plugin logged beside the result.
    pub async fn execute_keeping_log(&self, job: Job) -> (JobResult, Vec<Line>) {
        self.execute_with(job, LogBook::keeping).await
    }

    async fn execute_with(&self, job: Job, book: fn(&Lease) -> LogBook) -> (JobResult, Vec<Line>) {
        let started = self.sandbox.clock.mono();
        let mut lines = Vec::new();
        let (outcome, usage) = if started > job.expires {
            (Outcome::Expired, Usage::default())
        } else {
            self.run(&job, book, &mut lines, started).await
        };
        let result = JobResult {
            key: job.key,
            outcome,
            usage,
            due: job.due,
            sent: job.sent,
            started,
            finished: self.sandbox.clock.mono(),
        };
        (result, lines)
    }

    async fn run(
        &self,
        job: &Job,
        book: fn(&Lease) -> LogBook,
        lines: &mut Vec<Line>,
        started: Mono,
    ) -> (Outcome, Usage) {
        let Some(lane) = job.assignment() else {
            return failed("the job has no lane; this is a defect of pulse-host");
        };
        let Some(plugin) = self.library.get(&lane.profile.plugin) else {
            return failed(&format!("the plugin `{}` is not loaded", lane.profile.plugin));
        };
        let waiting = Arc::new(Waiting::default());
        let ends = started.after(lane.timeout);
        let lease = Arc::new(Lease {
            spec: job.spec.clone(),
            kind: job.key.kind,
            sink: job.key.sink,
            profile: Arc::clone(lane.profile),
            ends,
            waiting: Arc::clone(&waiting),
        });
        let limits = lane.profile.limits;
        let key = (lane.profile.reuse > 1).then(|| Key::new(&job.spec.tenant, &plugin.digest, lane.profile));
        let mut kept = key.as_ref().and_then(|key| self.pool.take(key));
        let (ended, mut store, jobs) = loop {
            let (lease, log) = (Arc::clone(&lease), book(&lease));
            let (mut store, instance, jobs) = match kept.take() {
                Some(mut live) => {
                    store::renew(&mut live.store, limits, lease, log);
                    (live.store, Some(live.instance), live.jobs)
                }
                None => {
                    let store = store::new(
                        &self.sandbox.engine,
                        limits,
                        Arc::clone(&self.lender),
                        lease,
                        log,
                        self.sandbox.clock.clone(),
                    );
                    (store, None, 0)
                }
            };
            let ended = self.call(&mut store, plugin, instance, job, &waiting, ends).await;
            // An instance that waits is no reason to refuse a job. Each round takes one of them away.
            if !(lacks_slot(&ended, &store, limits) && self.pool.give_way()) {
                break (ended, store, jobs);
            }
        };
        let usage = usage(&store, limits, self.sandbox.clock.mono().since(started));
        lines.extend(store.data().end_log());
        let (outcome, instance) = match (ended, store.data_mut().take_taint()) {
            (Ended::Panicked(message), _) => {
                tracing::error!(
                    "a host function panicked ({message}); this is a defect of pulse-host, the job ends as a host error"
                );
                (
                    Outcome::HostError(format!("a host function panicked: {message}")),
                    None,
                )
            }
            (_, Some(taint)) => (classify::tainted(taint), None),
            (Ended::Answered(answered, instance), None) => {
                let instance = sound(&answered, &store).then_some(instance);
                let outcome = match answered {
                    Ok(answer) => Outcome::Answer(answer::bound(answer)),
                    Err(fault) => Outcome::PluginFault(answer::bound_fault(fault)),
                };
                (outcome, instance)
            }
            (Ended::Failed(error), None) => (
                classify::error(&error, store.data().memory.refused(), limits),
                None,
            ),
            (Ended::TimedOut(outcome), None) => (outcome, None),
        };
        if let (Some(key), Some(instance)) = (key, instance)
            && jobs + 1 < lane.profile.reuse
        {
            let live = Live {
                store,
                instance,
                jobs: jobs + 1,
            };
            self.pool.put(key, live);
        }
        (outcome, usage)
    }

    async fn call(
        &self,
        store: &mut Store<store::State>,
        plugin: &Plugin,
        instance: Option<Instance>,
        job: &Job,
        waiting: &Waiting,
        ends: Mono,
    ) -> Ended {
        let meter = Arc::clone(&store.data().meter);
        let clock = &self.sandbox.clock;
        let call = pin!(async {
            let instance = match instance {
                Some(instance) => instance,
                None => plugin.pre.instantiate_async(&mut *store).await?,
            };
            let answered = plugin.exports.run(store, &instance, job).await?;
            Ok((answered, instance))
        });
        let mut call = Metered {
            inner: call,
            meter: &meter,
        };
        let left = ends.since(clock.mono());
        match tokio::time::timeout(left, &mut call).await {
            Ok(Ok(Ok((answered, instance)))) => Ended::Answered(answered, instance),
            Ok(Ok(Err(error))) => Ended::Failed(error),
            Ok(Err(message)) => Ended::Panicked(message),
            Err(_) => {
                let late = clock.mono().since(ends) > capability::LATE;
                // Read before the call is dropped: dropping it ends the wait.
                Ended::TimedOut(if waiting.on_target() && !late {
                    Outcome::DeadlineWaiting
                } else {
                    Outcome::Deadline
                })
            }
        }
    }
}

/// Asks a plugin for its description: a fresh instance without any grant.
pub async fn describe(
    sandbox: &Arc<Sandbox>,
    plugin: &super::plugin::Loading<'_>,
    limits: Limits,
    timeout: Duration,
) -> Result<super::abi::Description, Outcome> {
    let lender = Arc::new(Lender::new(Arc::clone(&sandbox.shared)));
    let started = sandbox.clock.mono();
    let ends = started.after(timeout);
    let lease = Arc::new(nothing(plugin.path, ends));
    let log = LogBook::new(&lease);
    let mut store = store::new(&sandbox.engine, limits, lender, lease, log, sandbox.clock.clone());
    let meter = Arc::clone(&store.data().meter);
    let result = {
        let call = pin!(async {
            let instance = plugin.pre.instantiate_async(&mut store).await?;
            plugin.exports.describe(&mut store, &instance).await
        });
        let metered = Metered {
            inner: call,
            meter: &meter,
        };
        tokio::time::timeout(timeout, metered).await
    };
    store.data().end_log();
    match (result, store.data_mut().take_taint()) {
        (Ok(Err(message)), _) => Err(Outcome::HostError(format!("a host function panicked: {message}"))),
        (_, Some(taint)) => Err(classify::tainted(taint)),
        (Ok(Ok(Ok(description))), None) => Ok(description),
        (Ok(Ok(Err(error))), None) => Err(classify::error(&error, store.data().memory.refused(), limits)),
        (Err(_), None) => Err(Outcome::Deadline),
    }
}

/// A lease without any grant.
fn nothing(path: &std::path::Path, ends: Mono) -> Lease {
    let profile = Arc::new(Profile {
        plugin: path.display().to_string().into(),
        limits: Limits::default(),
        grants: Arc::default(),
        reuse: 0,
    });
    Lease {
        spec: MonitorSpec::alone("describe", Arc::clone(&profile), "{}", Duration::ZERO),
        kind: Kind::Pulse,
        sink: 0,
        profile,
        ends,
        waiting: Arc::default(),
    }
}

enum Ended {
    Answered(super::abi::Answered, Instance),
    Failed(wasmtime::Error),
    TimedOut(Outcome),
    Panicked(String),
}

/// Whether an instance that answered may go on. One that calls itself defective is believed, and so is one that has
/// used its memory up: the next job would pay for it. The other faults are about the job, not the instance.
fn sound(answered: &super::abi::Answered, store: &Store<store::State>) -> bool {
    !matches!(answered, Err(PluginFault::Internal(_))) && store.data().memory.refused().is_none()
}

/// Whether there was no slot, and nothing of the guest has run: only then can it be tried again.
fn lacks_slot(ended: &Ended, store: &Store<store::State>, limits: Limits) -> bool {
    matches!(ended, Ended::Failed(error) if error.is::<PoolConcurrencyLimitError>())
        && store.get_fuel().is_ok_and(|fuel| fuel == limits.fuel)
}

fn failed(message: &str) -> (Outcome, Usage) {
    (Outcome::HostError(message.to_owned()), Usage::default())
}

fn usage(store: &Store<store::State>, limits: Limits, wall: Duration) -> Usage {
    let state = store.data();
    Usage {
        fuel: limits.fuel.saturating_sub(store.get_fuel().unwrap_or(0)),
        wall,
        cpu: state.meter.spent(),
        host: state.host_time(),
        peak_memory_bytes: state.memory.peak(),
    }
}

/// Times every poll, and turns a panic into an error.
struct Metered<'a, F> {
    inner: Pin<&'a mut F>,
    meter: &'a store::Meter,
}

impl<F: Future> Future for Metered<'_, F> {
    type Output = Result<F::Output, String>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.meter.begin();
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| this.inner.as_mut().poll(context)));
        this.meter.end();
        match polled {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(panic_message(&*panic))),
        }
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let message = panic
        .downcast_ref::<&str>()
        .map(|message| (*message).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    let mut message = message.unwrap_or_else(|| "no message".to_owned());
    answer::line(&mut message);
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Clock, domain::time::Wall};

    /// What a call may do in one poll.
    async fn polled(what: impl AsyncFnOnce()) -> (Result<(), String>, Duration) {
        let (clock, hand) = Clock::manual(Mono(1), Wall(0));
        let meter = store::Meter::new(clock, Duration::MAX);
        let call = pin!(async {
            hand.advance(Duration::from_millis(3));
            what().await;
            hand.advance(Duration::from_millis(4));
        });
        let ended = Metered {
            inner: call,
            meter: &meter,
        }
        .await;
        (ended, meter.spent())
    }

    #[tokio::test]
    async fn a_panic_of_a_host_function_is_an_error_of_this_call_alone() {
        let ms = Duration::from_millis;
        assert_eq!(polled(async || {}).await, (Ok(()), ms(7)));
        assert_eq!(polled(tokio::task::yield_now).await, (Ok(()), ms(7)));
        assert_eq!(
            polled(async || panic!("static")).await,
            (Err("static".into()), ms(3))
        );
        let (error, spent) = polled(async || panic!("line\n{}", "x".repeat(5_000))).await;
        let error = error.unwrap_err();
        assert!(
            error.starts_with("line\\nxxx") && error.len() <= answer::TEXT_BYTES_MAX,
            "{error}"
        );
        assert_eq!(spent, ms(3));
        assert_eq!(
            polled(async || std::panic::panic_any(7)).await.0,
            Err("no message".into())
        );
    }
}

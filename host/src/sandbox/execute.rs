//! Runs one job: an instance, one call, one outcome.
//!
//! Architecture invariant: every execution ends in exactly one outcome. Nothing that a guest does reaches beyond
//! it: its store is dropped, unless the call came to a good end, which a `fault.internal` is not, and the plugin may
//! be used again.

use super::{
    Sandbox,
    abi::Answered,
    answer, classify,
    keeper::{Happened, Keeper, Noting},
    plugin::{Library, Ready},
    pool::{Key, Live, Pool},
    shelf::{Reader, Shelf},
    spans::{self, Collector},
    store,
    turns::Turns,
};
use crate::{
    capability::{
        self, Lease, Lender,
        course::Course,
        log::{Line, LogBook},
    },
    clock::Clock,
    domain::{
        deadman,
        job::{Job, JobResult},
        limits::Limits,
        outcome::{Answer, Outcome, PluginFault, Usage},
        plugin::Facts,
        saved::MonitorKey,
        spec::{MonitorSpec, Profile},
        time::{Mono, Wall},
    },
};
use std::{
    future::poll_fn,
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};
use tokio::task::coop;
use tracing::Instrument as _;
use wasmtime::{PoolConcurrencyLimitError, Store, component::Instance};

/// What an execution that is played gets by the host's clock beyond its time by its own.
const PLAYED_SPARE: Duration = Duration::from_secs(60);

/// Executes jobs on one thread's runtime, in the engine of one seat.
pub struct Executor {
    seat: usize,
    sandbox: Arc<Sandbox>,
    library: Reader,
    lender: Arc<Lender>,
    pool: Pool,
    turns: Option<Arc<Turns>>,
}

impl Executor {
    /// For the runtime that this is called in, at the first seat.
    #[must_use]
    pub fn new(sandbox: Arc<Sandbox>, library: Arc<Library>) -> Self {
        Self::at(0, sandbox, Shelf::new(library))
    }

    /// For the runtime that this is called in, at that seat. Two executors at one seat are no mistake, but they slow
    /// each other down.
    #[must_use]
    pub fn at(seat: usize, sandbox: Arc<Sandbox>, shelf: Arc<Shelf>) -> Self {
        let lender = Arc::new(Lender::new(Arc::clone(&sandbox.shared)));
        Self {
            seat,
            sandbox,
            library: Reader::new(shelf),
            lender,
            pool: Pool::default(),
            turns: None,
        }
    }

    /// Guests that compute wait for their turns, which somebody must give. Without, they take turns with everything
    /// else that the runtime does.
    #[must_use]
    pub fn taking_turns(self, turns: Arc<Turns>) -> Self {
        Self {
            turns: Some(turns),
            ..self
        }
    }

    /// Runs a job to its end.
    pub async fn execute(&self, job: Job) -> JobResult {
        if let Some(collector) = self.sandbox.collector.get() {
            // Behind a pointer, so that all others stay as small as they are.
            return Box::pin(self.execute_collected(job, &**collector)).await;
        }
        self.execute_as_wanted(job).await
    }

    async fn execute_collected(&self, job: Job, collector: &dyn Collector) -> JobResult {
        let ended = job.clone();
        let result = self.execute_as_wanted(job).await;
        collector.take(ended, &result);
        result
    }

    async fn execute_as_wanted(&self, job: Job) -> JobResult {
        if spans::wanted() {
            // Behind a pointer, so that all others stay as small as they are.
            return Box::pin(self.execute_in_span(job)).await;
        }
        self.execute_as_marked(job).await
    }

    async fn execute_in_span(&self, job: Job) -> JobResult {
        let span = spans::begin(&job);
        let result = self.execute_as_marked(job).instrument(span.clone()).await;
        spans::end(&span, &result);
        result
    }

    async fn execute_as_marked(&self, job: Job) -> JobResult {
        if job.trace
            && let Some(keeper) = self.sandbox.keeper.get()
            && let Some((facts, noting)) = self.notable(&job, &**keeper)
        {
            // Behind a pointer, so that all others stay as small as they are.
            return Box::pin(self.execute_noting(job, facts, noting, &**keeper)).await;
        }
        self.execute_with(job, LogBook::default(), None).await.0
    }

    /// Whether what that job does can be kept and played.
    fn notable(&self, job: &Job, keeper: &dyn Keeper) -> Option<(Facts, Noting)> {
        let profile = job.assignment()?.profile;
        let plugin = self.library.get(&profile.plugin, &profile.digest)?;
        if !plugin.facts.needs.iter().all(|need| need.is_repeatable()) {
            return None;
        }
        Some((plugin.facts.clone(), keeper.begin()?))
    }

    async fn execute_noting(&self, job: Job, facts: Facts, noting: Noting, keeper: &dyn Keeper) -> JobResult {
        let course = Arc::clone(&noting.course);
        let (result, log) = self
            .execute_with(job.clone(), LogBook::keeping(), Some(course))
            .await;
        if result.outcome.is_down() {
            keeper.keep(Happened {
                job,
                facts,
                noting,
                outcome: result.outcome.clone(),
                log,
                fuel: result.usage.fuel,
            });
        }
        result
    }

    /// Runs a job to its end, and returns what the plugin logged beside the result.
    pub async fn execute_keeping_log(&self, job: Job) -> (JobResult, Vec<Line>) {
        self.execute_with(job, LogBook::keeping(), None).await
    }

    /// The same, with lent calls that take another course. An instance that had jobs before, and may have kept
    /// something of them, is not used for that, unless the course says so.
    pub async fn execute_along(&self, job: Job, course: Arc<Course>) -> (JobResult, Vec<Line>) {
        self.execute_with(job, LogBook::keeping(), Some(course)).await
    }

    async fn execute_with(
        &self,
        job: Job,
        log: LogBook,
        course: Option<Arc<Course>>,
    ) -> (JobResult, Vec<Line>) {
        let started = self.sandbox.clock.mono();
        let (key, due, sent) = (job.key, job.due, job.sent);
        let mut lines = Vec::new();
        let done = if started > job.expires {
            Done::unrun(Outcome::Expired, started)
        } else {
            self.run(job, log, course, &mut lines, started).await
        };
        let result = JobResult {
            key,
            outcome: done.outcome,
            usage: done.usage,
            due,
            sent,
            started,
            finished: done.at,
        };
        (result, lines)
    }

    async fn run(
        &self,
        job: Job,
        log: LogBook,
        course: Option<Arc<Course>>,
        lines: &mut Vec<Line>,
        started: Mono,
    ) -> Done {
        let Some(lane) = job.assignment() else {
            return Done::failed("the job has no lane; this is a defect of pulse-host", started);
        };
        if deadman::is_watched(lane.profile) {
            return self.look_for_heartbeat(&job.spec, started);
        }
        let Some(plugin) = self.library.get(&lane.profile.plugin, &lane.profile.digest) else {
            let message = format!("the plugin `{}` is not loaded", lane.profile.plugin);
            return Done::failed(&message, started);
        };
        let limits = lane.profile.limits;
        let ends = started.after(lane.timeout);
        let reuse = match &course {
            None => lane.profile.reuse,
            Some(course) => {
                if let Some(time) = course.time() {
                    time.begin(started, ends);
                }
                if course.may_be_kept() {
                    lane.profile.reuse
                } else {
                    0
                }
            }
        };
        let mut kept = if reuse > 1 {
            self.pool
                .take(&job.spec.tenant.name, &plugin.digest, lane.profile)
        } else {
            None
        };
        let lease = Arc::new(Lease::new(job, ends, log).along(course));
        let mut begun = started;
        let (ended, mut store, life) = loop {
            let (mut store, instance, life) = match kept.take() {
                Some(Live {
                    key,
                    mut store,
                    instance,
                    jobs,
                }) => {
                    store::renew(&mut store, limits, Arc::clone(&lease));
                    (store, Some(instance), Some((key, jobs)))
                }
                None => {
                    let store = store::new(
                        &self.sandbox.seat(self.seat).engine,
                        limits,
                        Arc::clone(&self.lender),
                        Arc::clone(&lease),
                        self.turns.clone(),
                        self.sandbox.clock.clone(),
                    );
                    (store, None, None)
                }
            };
            let ended = self
                .call(&mut store, plugin.ready(self.seat), instance, &lease, begun)
                .await;
            // An instance that waits is no reason to refuse a job. Each round takes one of them away.
            if !(lacks_slot(&ended.end, &store, limits) && self.pool.give_way()) {
                break (ended, store, life);
            }
            begun = ended.at;
        };
        let usage = usage(&store, limits, ended.at.since(started));
        store.data().end_log();
        lines.extend(lease.take_lines());
        let (mut outcome, instance) = match (ended.end, store.data_mut().take_taint()) {
            (End::Panicked(message), _) => {
                let message = lease.tenant().secrets.redact(&message);
                tracing::error!(
                    "a host function panicked ({message}); this is a defect of pulse-host, the job ends as a host error"
                );
                (
                    Outcome::HostError(format!("a host function panicked: {message}")),
                    None,
                )
            }
            (_, Some(taint)) => (classify::tainted(taint), None),
            (End::Returned((answered, instance)), None) => {
                let instance = sound(&answered, &store).then_some(instance);
                let outcome = match answered {
                    Ok(answer) => Outcome::Answer(answer::bound(answer)),
                    Err(fault) => Outcome::PluginFault(answer::bound_fault(fault)),
                };
                (
                    classify::explained(outcome, store.data().memory.refused()),
                    instance,
                )
            }
            (End::Failed(error), None) => (
                classify::error(&error, store.data().memory.refused(), limits),
                None,
            ),
            (End::TimedOut, None) => {
                // A deadline that was seen late says nothing about the target.
                let late = !lease.has_own_end() && ended.at.since(ends) > capability::LATE;
                let outcome = if ended.waited && !late {
                    Outcome::DeadlineWaiting
                } else {
                    Outcome::Deadline
                };
                (outcome, None)
            }
        };
        lease.tenant().secrets.redact_outcome(&mut outcome);
        if let Some(instance) = instance
            && reuse > 1
        {
            self.keep(store, instance, life, &lease, &plugin.digest);
        }
        Done {
            outcome,
            usage,
            at: ended.at,
        }
    }

    /// The one check that no plugin does: there is no target that could be reached, and nothing of anybody's runs.
    fn look_for_heartbeat(&self, spec: &MonitorSpec, now: Mono) -> Done {
        match deadman::Watch::of(spec) {
            Some(watch) => {
                let report = self.sandbox.switches.check(MonitorKey::of(spec), &watch, now);
                Done::unrun(Outcome::Answer(Answer::Pulse(report)), now)
            }
            None => Done::failed("its settings can't be read; this is a defect of pulse-host", now),
        }
    }

    /// Keeps an instance for the next job, if it may do one more.
    fn keep(
        &self,
        store: Store<store::State>,
        instance: Instance,
        life: Option<(Key, u32)>,
        lease: &Lease,
        digest: &crate::plugins::Digest,
    ) {
        let Some(lane) = lease.job.assignment() else {
            return;
        };
        let jobs = life.as_ref().map_or(0, |(_, jobs)| *jobs) + 1;
        if jobs >= lane.profile.reuse {
            return;
        }
        let key = match life {
            Some((key, _)) => key,
            None => Key::new(&lease.tenant().name, digest, lane.profile),
        };
        self.pool.put(Live {
            key,
            store,
            instance,
            jobs,
        });
    }

    async fn call(
        &self,
        store: &mut Store<store::State>,
        plugin: &Ready,
        instance: Option<Instance>,
        lease: &Lease,
        begun: Mono,
    ) -> Ended<(Answered, Instance)> {
        let outside = Arc::clone(&store.data().outside);
        let call = pin!(async {
            let instance = match instance {
                Some(instance) => instance,
                None => plugin.pre.instantiate_async(&mut *store).await?,
            };
            let answered = plugin.exports.run(store, &instance, &lease.job).await?;
            Ok((answered, instance))
        });
        // Read before the call is dropped: dropping it ends the wait.
        let watch = Watch {
            clock: &self.sandbox.clock,
            ends: lease.ends,
            lease: Some(lease),
        };
        bounded(call, &outside, watch, begun).await
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
    let lease = Arc::new(nothing(plugin.path, started, ends));
    let mut store = store::new(
        &sandbox.first.engine,
        limits,
        lender,
        lease,
        None,
        sandbox.clock.clone(),
    );
    let outside = Arc::clone(&store.data().outside);
    let ended = {
        let call = pin!(async {
            let ready = plugin.ready;
            let instance = ready.pre.instantiate_async(&mut store).await?;
            ready.exports.describe(&mut store, &instance).await
        });
        let watch = Watch {
            clock: &sandbox.clock,
            ends,
            lease: None,
        };
        bounded(call, &outside, watch, started).await
    };
    store.data().end_log();
    match (ended.end, store.data_mut().take_taint()) {
        (End::Panicked(message), _) => {
            Err(Outcome::HostError(format!("a host function panicked: {message}")))
        }
        (_, Some(taint)) => Err(classify::tainted(taint)),
        (End::Returned(description), None) => Ok(description),
        (End::Failed(error), None) => Err(classify::error(&error, store.data().memory.refused(), limits)),
        (End::TimedOut, None) => Err(Outcome::Deadline),
    }
}

/// A lease without any grant.
fn nothing(path: &std::path::Path, now: Mono, ends: Mono) -> Lease {
    let profile = Arc::new(Profile {
        plugin: path.display().to_string().into(),
        digest: "".into(),
        limits: Limits::default(),
        grants: Arc::default(),
        reuse: 0,
    });
    let job = Job::alone(
        MonitorSpec::alone("describe", profile, "{}", Duration::ZERO),
        now,
        Wall(0),
    );
    Lease::new(job, ends, LogBook::default())
}

/// What became of a job.
struct Done {
    outcome: Outcome,
    usage: Usage,
    at: Mono,
}

impl Done {
    fn unrun(outcome: Outcome, at: Mono) -> Self {
        Self {
            outcome,
            usage: Usage::default(),
            at,
        }
    }

    fn failed(message: &str, at: Mono) -> Self {
        Self::unrun(Outcome::HostError(message.to_owned()), at)
    }
}

/// How a call ended, and when.
struct Ended<T> {
    end: End<T>,
    at: Mono,
    /// Whether it waited for its target when its time was up.
    waited: bool,
}

enum End<T> {
    Returned(T),
    Failed(wasmtime::Error),
    TimedOut,
    Panicked(String),
}

/// By what it is seen that a call's time is up.
#[derive(Clone, Copy)]
struct Watch<'a> {
    clock: &'a Clock,
    ends: Mono,
    lease: Option<&'a Lease>,
}

impl Watch<'_> {
    /// Whether the guest waits for its target.
    fn waits(self) -> bool {
        self.lease
            .is_some_and(|lease| lease.waiting.on_target(self.clock.mono()))
    }

    /// When it is cut by the host's clock. Where time does not go on by itself the guest's own clock cuts it, and this
    /// is only for the host's sake: a machine that is busy must not decide what comes of it.
    fn ends_for_sure(self) -> Mono {
        if self.lease.is_some_and(Lease::has_own_end) {
            self.ends.after(PLAYED_SPARE)
        } else {
            self.ends
        }
    }

    /// Whether its time is up by a clock of its own.
    fn is_over(self) -> bool {
        self.lease
            .and_then(Lease::guest_time)
            .is_some_and(|time| time.is_over())
    }
}

/// Runs a call until its time is up: times every poll, and turns a panic into an end. A call that never waits needs no
/// timer.
async fn bounded<T>(
    mut call: Pin<&mut impl Future<Output = wasmtime::Result<T>>>,
    outside: &store::Outside,
    watch: Watch<'_>,
    begun: Mono,
) -> Ended<T> {
    let (clock, ends) = (watch.clock, watch.ends_for_sure());
    let mut begun = Some(begun);
    let mut timer = pin!(None);
    poll_fn(move |context| {
        outside.meter.begin(begun.take().unwrap_or_else(|| clock.mono()));
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| {
            loop {
                // While something is done for the guest, the guest itself has nothing to do.
                if outside.errands.poll(context).is_pending() {
                    return Poll::Pending;
                }
                let polled = call.as_mut().poll(context);
                if polled.is_ready() || !outside.errands.asked() {
                    return polled;
                }
            }
        }));
        let mut at = clock.mono();
        outside.meter.end(at);
        let end = match polled {
            Ok(Poll::Ready(Ok(returned))) => End::Returned(returned),
            Ok(Poll::Ready(Err(error))) => End::Failed(error),
            Err(panic) => End::Panicked(panic_message(&*panic)),
            Ok(Poll::Pending) => {
                if timer.is_none() {
                    timer.set(Some(tokio::time::sleep(ends.since(at))));
                }
                // A guest that always finds something to do must not use up the timer's share of looks.
                let up = timer
                    .as_mut()
                    .as_pin_mut()
                    .is_some_and(|timer| pin!(coop::unconstrained(timer)).poll(context).is_ready());
                if !up && !watch.is_over() {
                    return Poll::Pending;
                }
                at = clock.mono();
                End::TimedOut
            }
        };
        let waited = matches!(end, End::TimedOut) && watch.waits();
        Poll::Ready(Ended { end, at, waited })
    })
    .await
}

/// Whether an instance that answered may go on. One that calls itself defective is believed, and so is one that has
/// used its memory up or holds on to sockets: the next job would pay for it. The other faults are about the job, not the instance.
fn sound(answered: &Answered, store: &Store<store::State>) -> bool {
    !matches!(answered, Err(PluginFault::Internal(_)))
        && store.data().memory.refused().is_none()
        && !store.data().holds_network()
}

/// Whether there was no slot, and nothing of the guest has run: only then can it be tried again.
fn lacks_slot<T>(end: &End<T>, store: &Store<store::State>, limits: Limits) -> bool {
    matches!(end, End::Failed(error) if error.is::<PoolConcurrencyLimitError>())
        && store.get_fuel().is_ok_and(|fuel| fuel == limits.fuel)
}

fn usage(store: &Store<store::State>, limits: Limits, wall: Duration) -> Usage {
    let state = store.data();
    Usage {
        fuel: limits.fuel.saturating_sub(store.get_fuel().unwrap_or(0)),
        wall,
        cpu: state.outside.meter.spent(),
        host: state.host_time(),
        peak_memory_bytes: state.memory.peak(),
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
    use crate::capability::course::{Ask, GuestTime, Notes, Origin, Repeat, Script, Scripted, Stage};

    /// What a call may do in one poll.
    async fn polled(what: impl AsyncFnOnce()) -> (Result<(), String>, Duration) {
        let (clock, hand) = Clock::manual(Mono(1), Wall(0));
        let outside = store::Outside::new(clock.clone(), Duration::MAX);
        let call = pin!(async {
            hand.advance(Duration::from_millis(3));
            what().await;
            hand.advance(Duration::from_millis(4));
            Ok(())
        });
        let watch = Watch {
            clock: &clock,
            ends: Mono::NEVER,
            lease: None,
        };
        let ended = bounded(call, &outside, watch, Mono(1)).await;
        let ended = match ended.end {
            End::Returned(()) => Ok(()),
            End::Panicked(message) => Err(message),
            End::Failed(_) | End::TimedOut => panic!("neither returned nor panicked"),
        };
        (ended, outside.meter.spent())
    }

    /// What is played ends by its own time; that the machine has other things to do meanwhile is none of its business.
    #[tokio::test]
    async fn a_played_execution_is_not_cut_by_the_hosts_clock() {
        struct Silent;
        impl Script for Silent {
            fn next(&mut self, _: &Ask) -> Scripted {
                unreachable!("nothing is asked for")
            }
        }
        let (clock, hand) = Clock::manual(Mono(1), Wall(0));
        let origin = Origin {
            wall: Wall(0),
            seed: [0; 16],
        };
        let course = |really_sleeps| {
            let time = Arc::new(GuestTime::new(origin, really_sleeps));
            Arc::new(if really_sleeps {
                Course::Noted(Notes::new(Clock::system(), 1, Repeat::Time(time)))
            } else {
                Course::Played(Stage::new(time, Box::new(Silent)))
            })
        };
        for (really_sleeps, cut) in [(true, true), (false, false)] {
            let outside = store::Outside::new(clock.clone(), Duration::MAX);
            let lease =
                nothing(std::path::Path::new("a"), Mono(1), clock.mono()).along(Some(course(really_sleeps)));
            let call = pin!(async {
                // Its time is up when it is looked at next, and the timer of one that is cut by that has gone off when
                // this one does.
                hand.advance(Duration::from_secs(1));
                tokio::time::sleep(Duration::from_millis(5)).await;
                if cut {
                    std::future::pending::<()>().await;
                }
                Ok(())
            });
            let watch = Watch {
                clock: &clock,
                ends: lease.ends,
                lease: Some(&lease),
            };
            let ended = bounded(call, &outside, watch, clock.mono()).await;
            assert_eq!(matches!(ended.end, End::TimedOut), cut);
        }
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

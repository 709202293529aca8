//! The scheduler alone: what one job costs its thread, what an idle tick costs, and what a monitor takes in memory.
//!
//! `cargo xtask bench sched [--monitors N] [--seconds N] [--json FILE]`. The clock is set by hand and the workers are
//! a loop that answers every job between two runs, so that what is timed is only the scheduler's own run: due,
//! dispatch, ingest, state machine, back into the wheel. Each part runs in a process of its own, three times; the
//! medians are shown.
//!
//! 1. `cycle`: all monitors at 30 s, a run every 10 ms; nanoseconds of the run per job (the median of all runs), and
//!    allocations per job in the steady state;
//! 2. `mixed`: the same with four different intervals, so that monitors fall due in no order of memory;
//! 3. `apply`: how much of that is applying results (ingest, state machine, back into the wheel), and what it would cost
//!    to hand half of a run's results to a second thread and wait for it;
//! 4. `idle`: all monitors at a day; one run with nothing due;
//! 5. `memory`: what one monitor takes, all in, as the allocator was asked for it.

#[path = "support/count.rs"]
mod count;
#[path = "support/process.rs"]
#[allow(dead_code)] // Other benchmarks need all of it.
mod process;

use anyhow::{Context as _, Result, bail};
use pulse_host::{
    clock::{Clock, Hand},
    domain::{
        host::{HostSettings, PerKind},
        job::{Job, JobResult},
        limits::Limits,
        outcome::{Answer, Outcome, Report, Status, Usage},
        spec::{Check, Class, MonitorSpec, Policy, Profile},
        tenant::Tenant,
        time::{Mono, Wall},
    },
    queue::{self, Inlet, ResultSender},
    scheduler::{Parts, Scheduler},
};
use serde_json::{Value, json};
use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

const ROUNDS: usize = 3;
const PARTS: [&str; 5] = ["cycle", "mixed", "apply", "idle", "memory"];
const TICK: Duration = Duration::from_millis(10);

fn main() -> Result<()> {
    let (mut monitors, mut seconds, mut json, mut part) = (1_000_000, 60, None, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .with_context(|| format!("{argument} takes a value"))
        };
        match argument.as_str() {
            // What cargo adds.
            "--bench" => {}
            "--monitors" => monitors = value()?.parse()?,
            "--seconds" => seconds = value()?.parse()?,
            "--json" => json = Some(value()?),
            name if PARTS.contains(&name) => part = Some(argument),
            other => bail!("what is {other}? There are --monitors, --seconds, --json, and {PARTS:?}"),
        }
    }
    let result = match part.as_deref() {
        Some("cycle") => cycle(monitors, seconds, &[30])?,
        Some("mixed") => cycle(monitors, seconds, &[20, 30, 45, 60])?,
        Some("apply") => apply(monitors, seconds)?,
        Some("idle") => idle(monitors)?,
        Some(_) => memory(monitors)?,
        None => all(monitors, seconds)?,
    };
    let text = serde_json::to_string_pretty(&result)?;
    println!("{text}");
    if let Some(path) = json {
        std::fs::write(&path, text).with_context(|| format!("{path} can't be written"))?;
    }
    Ok(())
}

/// Every part several times, each in a process of its own, so that none sees the memory of another.
fn all(monitors: usize, seconds: u64) -> Result<Value> {
    let mut result = serde_json::Map::new();
    result.insert("monitors".to_owned(), monitors.into());
    for part in PARTS {
        let mut rounds = Vec::new();
        for round in 1..=ROUNDS {
            eprintln!("{part} {round} of {ROUNDS} …");
            let output = std::process::Command::new(std::env::current_exe()?)
                .arg(part)
                .args([
                    "--monitors",
                    &monitors.to_string(),
                    "--seconds",
                    &seconds.to_string(),
                ])
                .output()?;
            if !output.status.success() {
                bail!("{part} failed: {}", String::from_utf8_lossy(&output.stderr));
            }
            rounds.push(serde_json::from_slice::<serde_json::Map<String, Value>>(
                &output.stdout,
            )?);
        }
        result.insert(part.to_owned(), medians(&rounds).into());
    }
    Ok(result.into())
}

fn medians(rounds: &[serde_json::Map<String, Value>]) -> serde_json::Map<String, Value> {
    let keys = rounds.first().into_iter().flat_map(serde_json::Map::keys);
    keys.map(|key| {
        let mut values: Vec<f64> = rounds
            .iter()
            .filter_map(|round| round.get(key)?.as_f64())
            .collect();
        (key.clone(), json!(median(&mut values)))
    })
    .collect()
}

/// A scheduler whose workers are this very thread.
struct Rig {
    scheduler: Scheduler,
    inlets: PerKind<Inlet>,
    results: ResultSender,
    hand: Arc<Hand>,
    real: Clock,
    jobs: Vec<Job>,
}

impl Rig {
    fn new(monitors: Vec<MonitorSpec>) -> Self {
        let settings = HostSettings::new("unused".into());
        let (clock, hand) = Clock::manual(Mono(1_000_000), Wall(1_700_000_000_000));
        let (outlets, inlets) = queue::channels(&settings.queues);
        let (results, receiver, _) = queue::results(100_000);
        let (events, _) = async_channel::bounded(1);
        let scheduler = Scheduler::new(Parts {
            monitors,
            host_entry: None,
            settings,
            outlets,
            results: receiver,
            events,
            ledger: None,
            workers: 2,
            clock,
        });
        Self {
            scheduler,
            inlets,
            results,
            hand,
            real: Clock::system(),
            jobs: Vec::new(),
        }
    }

    /// One tick; returns how long the scheduler took, and how many jobs it gave out. All of them are answered.
    fn tick(&mut self) -> (Duration, usize) {
        self.hand.advance(TICK);
        let started = self.real.mono();
        self.scheduler.run();
        let took = self.real.mono().since(started);
        while let Some(mut batch) = self.inlets.pulse.try_recv() {
            self.jobs.append(&mut batch);
            self.inlets.pulse.recycle(batch);
        }
        let count = self.jobs.len();
        for half in self.jobs.chunks(32) {
            let mut results = self.results.buffer();
            results.extend(half.iter().map(answer));
            send_now(&self.results, results);
        }
        self.jobs.clear();
        (took, count)
    }
}

fn answer(job: &Job) -> JobResult {
    JobResult {
        key: job.key,
        outcome: Outcome::Answer(Answer::Pulse(Report {
            status: Status::Healthy,
            summary: String::new(),
            reason: None,
            measurements: Vec::new(),
        })),
        usage: Usage::default(),
        due: job.due,
        sent: job.sent,
        started: job.sent,
        finished: job.sent,
    }
}

/// The channel has room for all of them.
fn send_now(sender: &ResultSender, results: Vec<JobResult>) {
    let sent = pin!(sender.send(results));
    let polled = sent.poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled == Poll::Ready(()), "the results' channel is full");
}

/// Typical HTTP monitors: a name, a URL, three labels of which one has a thousand values.
fn monitors(count: usize, intervals: &[u64]) -> Vec<MonitorSpec> {
    let profile = Arc::new(Profile {
        plugin: "http".into(),
        digest: "".into(),
        limits: Limits::default(),
        grants: Arc::default(),
        reuse: 0,
    });
    let classes: Vec<Arc<Class>> = (0..1000)
        .zip(intervals.iter().cycle())
        .map(|(site, interval)| {
            Arc::new(Class {
                tenant: Arc::new(Tenant::unlimited()),
                labels: Arc::new([
                    ("env".into(), "prod".into()),
                    ("site".into(), format!("site-{site}").into()),
                    ("team".into(), "shop".into()),
                ]),
                policy: Policy {
                    interval: Duration::from_secs(*interval),
                    retry_interval: Duration::from_secs(10),
                    failure_threshold: 3,
                    success_threshold: 2,
                    page_after: Duration::from_secs(300),
                    repeat: None,
                    fault_threshold: 3,
                },
                pulse: Some(Check {
                    profile: Arc::clone(&profile),
                    timeout: Duration::from_secs(5),
                    settings: "{}".into(),
                }),
                intervention: None,
                sinks: Arc::new([]),
                parents: Arc::new([]),
            })
        })
        .collect();
    (0..count)
        .zip(classes.iter().cycle())
        .map(|(number, class)| {
            let name = format!("shop-{number:07}-eu");
            let settings = format!("{{\"url\":\"https://{number:07}.shop.example.com/health\"}}");
            MonitorSpec::new(Arc::clone(class), None, &name, Some(&settings))
        })
        .collect()
}

fn cycle(count: usize, seconds: u64, intervals: &[u64]) -> Result<Value> {
    let mut rig = Rig::new(monitors(count, intervals));
    let ticks = |seconds: u64| Duration::from_secs(seconds).as_millis() / TICK.as_millis();
    let longest = intervals.iter().max().copied().unwrap_or(30);
    for _ in 0..ticks(longest + 5) {
        rig.tick();
    }
    let (mut took, mut jobs, mut longest_run) = (Duration::ZERO, 0, Duration::ZERO);
    let mut per_job = Vec::with_capacity(100_000);
    let before = count::allocations();
    for _ in 0..ticks(seconds) {
        let (one, answered) = rig.tick();
        took += one;
        jobs += answered;
        if answered > 0 {
            per_job.push(one.as_nanos() as f64 / answered as f64);
        }
        longest_run = longest_run.max(one);
    }
    let allocations = count::allocations() - before;
    let snapshot = rig.scheduler.stats().snapshot();
    let sent = snapshot.kinds.pulse.sent;
    if snapshot.skipped_slots > 0 || snapshot.kinds.pulse.lost > 0 {
        bail!(
            "{} slots skipped, {} lost",
            snapshot.skipped_slots,
            snapshot.kinds.pulse.lost
        );
    }
    Ok(json!({
        "jobs": jobs,
        "sent_in_all": sent,
        "ns_per_job": median(&mut per_job),
        "ns_per_job_mean": took.as_nanos() as f64 / jobs as f64,
        "allocations_per_job": allocations as f64 / jobs as f64,
        "longest_run_us": longest_run.as_micros() as u64,
    }))
}

/// A run after each tick that has nothing to do but to apply what came back; and the hand-over of as many results.
fn apply(count: usize, seconds: u64) -> Result<Value> {
    let mut rig = Rig::new(monitors(count, &[30]));
    let mut per_result = Vec::new();
    let mut results = 0;
    for tick in 0..(35 + seconds.min(20)) * 100 {
        let (_, answered) = rig.tick();
        let started = rig.real.mono();
        rig.scheduler.run();
        let took = rig.real.mono().since(started);
        if tick > 3_500 && answered > 0 {
            per_result.push(took.as_nanos() as f64 / answered as f64);
            results = answered;
        }
    }
    let apply = median(&mut per_result).context("nothing was applied")?;
    // The second thread does nothing with what it gets: what is measured is the way there and back.
    let (there, inbox) = async_channel::bounded::<usize>(1);
    let (back, outbox) = async_channel::bounded::<usize>(1);
    let helper = std::thread::spawn(move || {
        while let Ok(count) = inbox.recv_blocking() {
            if back.send_blocking(count).is_err() {
                return;
            }
        }
    });
    let mut trips = Vec::new();
    for _ in 0..2_000 {
        // As far apart as runs are: both threads have gone to sleep.
        std::thread::sleep(Duration::from_millis(1));
        let started = rig.real.mono();
        there.send_blocking(results / 2)?;
        outbox.recv_blocking()?;
        trips.push(rig.real.mono().since(started).as_nanos() as f64);
    }
    drop(there);
    let _ = helper.join();
    let trip = median(&mut trips).context("no trips")?;
    Ok(json!({
        "apply_ns_per_result": apply,
        "results_per_run": results,
        "apply_us_per_run": apply * results as f64 / 1000.0,
        "hand_over_us_per_run": trip / 1000.0,
        "parallel_would_take": (trip / 1000.0).max(apply * results as f64 / 2000.0) / (apply * results as f64 / 1000.0),
    }))
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn idle(count: usize) -> Result<Value> {
    let mut rig = Rig::new(monitors(count, &[86_400 * 365]));
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..10_000 {
        let (took, jobs) = rig.tick();
        if jobs == 0 {
            times.push(took);
        }
    }
    times.sort_unstable();
    let at = |share: f64| {
        let time = times.get((times.len() as f64 * share) as usize);
        time.map(|time| time.as_nanos() as f64 / 1000.0)
    };
    Ok(json!({
        "ticks": times.len(),
        "us_median": at(0.5),
        "us_p99": at(0.99),
    }))
}

fn memory(count: usize) -> Result<Value> {
    let start = count::bytes();
    let monitors = monitors(count, &[30]);
    let specs = count::bytes() - start - monitors.capacity() * size_of::<MonitorSpec>();
    let mut rig = Rig::new(monitors);
    for _ in 0..3_500 {
        rig.tick();
    }
    let all = count::bytes() - start;
    let rss = process::rss_bytes()?;
    let per = |bytes: usize| bytes as f64 / count as f64;
    Ok(json!({
        "bytes_per_monitor": per(all),
        "of_which_spec": per(specs),
        "rss_bytes_per_monitor": rss as f64 / count as f64,
        "rss_mib": rss >> 20,
    }))
}

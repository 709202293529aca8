//! What running a job costs beside the bare wasmtime loop, on one thread and on two.
//!
//! `cargo xtask bench exec [--rounds N] [--json FILE]`. Each round runs every part once, each in a process of its own,
//! one after the other; medians and ratios of all rounds are told. The component is the no-op one throughout.
//! - `bare-N`: N threads that make a store with its WASI context, an instance, one call, and drop all that;
//! - `fresh-N`, `reuse-N`: N workers, fed with batches through the channels and giving their results back through the
//!   channel of results; the feeder is a thread of the same process and counts;
//! - `host-fresh`, `host-reuse`: the whole host with two workers and more due than it can do.

mod support;

use anyhow::{Context as _, Result, bail};
use pulse_host::{
    app::{Host, Plan},
    clock::Clock,
    domain::{
        host::HostSettings,
        job::{Job, JobKey, MonitorId, Payload},
        limits::Limits,
        outcome::Outcome,
        spec::{Check, Class, Kind, MonitorSpec, Policy, Profile},
        time::Mono,
    },
    plugins, queue,
    sandbox::{Compiler, Library, Sandbox, SandboxSettings, Workers, compile},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, num::NonZeroUsize, path::Path, sync::Arc, time::Duration};
use support::{
    Arguments,
    process::{self, Figures},
};

const PARTS: [&str; 8] = [
    "bare-1",
    "fresh-1",
    "reuse-1",
    "bare-2",
    "fresh-2",
    "reuse-2",
    "host-fresh",
    "host-reuse",
];
/// Jobs of the bare loop, on each thread.
const BARE_JOBS: u32 = 150_000;
/// Jobs of the workers, for each of them.
const FRESH_JOBS: u64 = 150_000;
const REUSE_JOBS: u64 = 500_000;
/// Jobs of one instance where it is used again.
const REUSE: u32 = 1_000;
/// Jobs that the feeder keeps under way, for each worker, and in one batch.
const WINDOW: usize = 256;
const BATCH: usize = 64;
/// Monitors of the whole host, each due ten times a second: more than any machine with two cores can do.
const MONITORS: u64 = 60_000;
const INTERVAL: Duration = Duration::from_millis(100);
const HOST_WARM_UP: Duration = Duration::from_secs(2);
const HOST_SPAN: Duration = Duration::from_secs(4);

fn main() -> Result<()> {
    let arguments = Arguments::parse()?;
    match arguments.subcommand.as_deref() {
        Some(compile::SUBCOMMAND) => {
            let [from, to] = arguments.rest.as_slice() else {
                bail!("{} takes two paths", compile::SUBCOMMAND);
            };
            return compile::child(Path::new(from), Path::new(to)).map_err(anyhow::Error::msg);
        }
        Some("bare-1") => return bare(&arguments, 1),
        Some("bare-2") => return bare(&arguments, 2),
        Some("fresh-1") => return workers(&arguments, 1, 0),
        Some("fresh-2") => return workers(&arguments, 2, 0),
        Some("reuse-1") => return workers(&arguments, 1, REUSE),
        Some("reuse-2") => return workers(&arguments, 2, REUSE),
        Some("host-fresh") => return host(&arguments, 0),
        Some("host-reuse") => return host(&arguments, REUSE),
        Some(other) => bail!("there is no part `{other}`; there are {}", PARTS.join(", ")),
        None => {}
    }
    let mut rounds = Vec::new();
    for round in 1..=arguments.rounds {
        eprintln!("round {round} of {}", arguments.rounds);
        let mut parts = BTreeMap::new();
        for part in PARTS {
            parts.insert(part, support::run_part(part, &arguments)?);
        }
        rounds.push(parts);
    }
    let result = summary(&rounds)?;
    print(&result)?;
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_string_pretty(&result)?)
            .with_context(|| format!("{path} can't be written"))?;
    }
    Ok(())
}

fn bare(arguments: &Arguments, threads: usize) -> Result<()> {
    let settings = sandbox_settings(&host_settings(threads)?)?;
    let floor = support::floor::measure(&settings, &support::guest("noop")?, BARE_JOBS, threads)?;
    arguments.report(&figures(floor.jobs, floor.elapsed, &floor.used))
}

fn workers(arguments: &Arguments, threads: usize, reuse: u32) -> Result<()> {
    let settings = host_settings(threads)?;
    let clock = Clock::system();
    let (sandbox, library) = load(&settings, &clock)?;
    let (outlets, inlets) = queue::channels(&settings.queues);
    let window = WINDOW * threads;
    let (sender, receiver, bell) = queue::results(window);
    bell.attend();
    let workers = Workers::start(sandbox, library, inlets, sender, &settings, clock.clone())?;
    let class = class(&profile(reuse), INTERVAL);
    let specs: Vec<MonitorSpec> = (0..1_000).map(|number| monitor(number, &class)).collect();
    let mut specs = specs.iter().cycle();
    let mut feed = |jobs: u64| -> Result<()> {
        let (mut sent, mut done) = (0_u64, 0_u64);
        while done < jobs {
            while sent < jobs && (sent - done) as usize + BATCH <= window {
                let now = clock.mono();
                let mut batch = outlets.pulse.buffer();
                batch.extend(
                    specs
                        .by_ref()
                        .take(BATCH)
                        .map(|spec| job(spec, now, clock.wall())),
                );
                if outlets.pulse.try_send(batch).is_err() {
                    break;
                }
                sent += BATCH as u64;
            }
            let before = done;
            while let Some(mut results) = receiver.try_recv() {
                for result in results.drain(..) {
                    if !matches!(result.outcome, Outcome::Answer(_)) {
                        bail!("{}", result.outcome);
                    }
                    done += 1;
                }
                receiver.recycle(results);
            }
            if done == before && !bell.answer() {
                std::thread::park_timeout(Duration::from_millis(100));
            }
        }
        Ok(())
    };
    let jobs = (if reuse > 1 { REUSE_JOBS } else { FRESH_JOBS }) * threads as u64;
    feed(jobs / 10)?;
    let (before, since) = (Figures::now()?, clock.mono());
    feed(jobs)?;
    let (elapsed, after) = (clock.mono().since(since), Figures::now()?);
    for kind in Kind::ALL {
        outlets.get(kind).close();
    }
    if workers.stop(Duration::from_secs(10)) > 0 {
        bail!("the workers did not end");
    }
    arguments.report(&figures(jobs, elapsed, &after.since(&before)))
}

fn host(arguments: &Arguments, reuse: u32) -> Result<()> {
    let settings = host_settings(2)?;
    let clock = Clock::system();
    let (sandbox, library) = load(&settings, &clock)?;
    let class = class(&profile(reuse), INTERVAL);
    let plan = Plan {
        settings,
        monitors: (0..MONITORS).map(|number| monitor(number, &class)).collect(),
        host_entry: None,
    };
    let host = Host::start(sandbox, library, plan, clock.clone())?;
    let stats = host.stats();
    let completed = || -> (Mono, u64, u64) {
        let snapshot = stats.snapshot();
        let outcomes = snapshot.kinds.pulse.outcomes;
        let answered = outcomes.get("answer").copied().unwrap_or(0);
        (snapshot.at, answered, outcomes.values().sum::<u64>() - answered)
    };
    std::thread::sleep(HOST_WARM_UP);
    let (before, (since, answered_before, failed_before)) = (Figures::now()?, completed());
    std::thread::sleep(HOST_SPAN);
    let (after, (until, answered, failed)) = (Figures::now()?, completed());
    host.stop()?;
    let jobs = answered - answered_before;
    let mut result = figures(jobs, until.since(since), &after.since(&before));
    if let Value::Object(fields) = &mut result {
        fields.insert("not_answered".to_owned(), json!(failed - failed_before));
    }
    arguments.report(&result)
}

fn figures(jobs: u64, elapsed: Duration, used: &Figures) -> Value {
    json!({
        "jobs": jobs,
        "jobs_per_second": jobs as f64 / elapsed.as_secs_f64(),
        "cpu_us_per_job": used.cpu.as_secs_f64() * 1e6 / jobs.max(1) as f64,
        "minor_faults_per_job": used.minor_faults as f64 / jobs.max(1) as f64,
    })
}

fn host_settings(workers: usize) -> Result<HostSettings> {
    let mut settings = HostSettings::new(process::scratch()?);
    settings.workers = NonZeroUsize::new(workers);
    Ok(settings)
}

fn sandbox_settings(host: &HostSettings) -> Result<SandboxSettings> {
    let program = std::env::current_exe().context("the path of this program is unknown")?;
    Ok(SandboxSettings::new(host, Compiler::Child(program)))
}

fn load(settings: &HostSettings, clock: &Clock) -> Result<(Arc<Sandbox>, Arc<Library>)> {
    let sandbox = Sandbox::new(sandbox_settings(settings)?, clock.clone())?;
    let found = plugins::read(&support::guest("noop")?).map_err(|problem| anyhow::anyhow!("{problem}"))?;
    let (library, problems) = Library::load(&sandbox, vec![found]);
    if let Some(problem) = problems.first() {
        bail!("{problem}");
    }
    Ok((sandbox, Arc::new(library)))
}

fn profile(reuse: u32) -> Arc<Profile> {
    Arc::new(Profile {
        plugin: "noop".into(),
        limits: Limits::default(),
        grants: Arc::default(),
        reuse,
    })
}

fn class(profile: &Arc<Profile>, interval: Duration) -> Arc<Class> {
    Arc::new(Class {
        tenant: "default".into(),
        labels: Arc::new([]),
        policy: Policy {
            interval,
            retry_interval: interval,
            failure_threshold: 3,
            success_threshold: 2,
            page_after: Duration::from_secs(300),
            repeat: None,
            fault_threshold: 3,
        },
        pulse: Some(Check {
            profile: Arc::clone(profile),
            timeout: Duration::from_secs(5),
            settings: "{}".into(),
        }),
        intervention: None,
        sinks: Arc::new([]),
        parents: Arc::new([]),
    })
}

fn monitor(number: u64, class: &Arc<Class>) -> MonitorSpec {
    MonitorSpec::new(Arc::clone(class), number, &format!("monitor-{number}"), None)
}

fn job(spec: &MonitorSpec, due: Mono, due_wall: pulse_host::domain::time::Wall) -> Job {
    Job {
        key: JobKey {
            monitor: MonitorId(1),
            kind: Kind::Pulse,
            sink: 0,
            attempt: 1,
        },
        due,
        due_wall,
        expires: Mono::NEVER,
        sent: due,
        spec: spec.clone(),
        payload: Payload::Pulse,
    }
}

type Round = BTreeMap<&'static str, Value>;

fn figure(parts: &Round, part: &str, key: &str) -> Result<f64> {
    parts
        .get(part)
        .and_then(|figures| figures.get(key))
        .and_then(Value::as_f64)
        .with_context(|| format!("{part}: {key}"))
}

/// Medians of all rounds. Ratios are taken within a round, where the machine was the same.
fn summary(rounds: &[Round]) -> Result<Value> {
    let median = |of: &dyn Fn(&Round) -> Result<f64>| -> Result<f64> {
        let values: Result<Vec<f64>> = rounds.iter().map(of).collect();
        support::median(values?).context("no rounds")
    };
    let mut parts = serde_json::Map::new();
    for part in PARTS {
        let mut medians = serde_json::Map::new();
        for key in ["jobs_per_second", "cpu_us_per_job", "minor_faults_per_job"] {
            medians.insert(key.to_owned(), json!(median(&|round| figure(round, part, key))?));
        }
        parts.insert(part.to_owned(), Value::Object(medians));
    }
    let cpu = |part: &'static str, floor: &'static str| {
        median(&move |round| {
            Ok(figure(round, part, "cpu_us_per_job")? / figure(round, floor, "cpu_us_per_job")?)
        })
    };
    let scaling = |two: &str, one: &str| {
        let (two, one) = (two.to_owned(), one.to_owned());
        move |round: &Round| -> Result<f64> {
            Ok(figure(round, &two, "jobs_per_second")? / figure(round, &one, "jobs_per_second")?)
        }
    };
    let (bare, fresh) = (scaling("bare-2", "bare-1"), scaling("fresh-2", "fresh-1"));
    Ok(json!({
        "rounds": rounds.len(),
        "parts": parts,
        "cpu_fresh_1_to_bare_1": cpu("fresh-1", "bare-1")?,
        "cpu_fresh_2_to_bare_2": cpu("fresh-2", "bare-2")?,
        "cpu_host_fresh_to_bare_2": cpu("host-fresh", "bare-2")?,
        "scaling_of_bare": median(&bare)?,
        "scaling_of_fresh": median(&fresh)?,
        "scaling_of_fresh_to_bare": median(&|round| Ok(fresh(round)? / bare(round)?))?,
    }))
}

fn print(result: &Value) -> Result<()> {
    println!(
        "{:12}{:>14}{:>18}{:>24}",
        "", "jobs/s", "CPU per job (us)", "minor faults per job"
    );
    for part in PARTS {
        let figure = |key: &str| {
            result
                .pointer(&format!("/parts/{part}/{key}"))
                .and_then(Value::as_f64)
                .with_context(|| format!("{part}: {key}"))
        };
        println!(
            "{part:12}{:>14.0}{:>18.2}{:>24.4}",
            figure("jobs_per_second")?,
            figure("cpu_us_per_job")?,
            figure("minor_faults_per_job")?
        );
    }
    println!();
    for (label, key) in [
        (
            "CPU per job, one fresh worker : bare loop",
            "cpu_fresh_1_to_bare_1",
        ),
        (
            "CPU per job, two fresh workers : bare loops",
            "cpu_fresh_2_to_bare_2",
        ),
        ("CPU per job, whole host : bare loops", "cpu_host_fresh_to_bare_2"),
        ("jobs/s of two bare loops : one", "scaling_of_bare"),
        ("jobs/s of two fresh workers : one", "scaling_of_fresh"),
        ("the latter : the former", "scaling_of_fresh_to_bare"),
    ] {
        let value = result.get(key).and_then(Value::as_f64).context(key)?;
        println!("{label:48}{value:>8.2}");
    }
    Ok(())
}

//! What running a job costs beside the bare wasmtime loop, on one thread and on two.
//!
//! `cargo xtask bench exec [--rounds N] [--json FILE]`. Each round runs every part once, each in a process of its own,
//! one after the other; medians and ratios of all rounds are told. The component is the no-op one throughout.
//! - `bare-N`: N threads that make a store with its WASI context, an instance, one call, and drop all that;
//! - `fresh-N`, `reuse-N`: N workers, fed with batches through the channels and giving their results back through the
//!   channel of results; the feeder is a thread of the same process and counts;
//! - `noted-1`: `fresh-1` with everything noted that a job does, as it is of the one job that may open an incident;
//! - `host-fresh`, `host-reuse`: the whole host with two workers and more due than it can do.

mod support;

use anyhow::{Context as _, Result, bail};
use pulse_host::{
    app::{Host, Plan, Traces},
    clock::Clock,
    domain::{
        grant::Grants,
        host::HostSettings,
        spec::{Class, MonitorSpec},
        time::Mono,
    },
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, num::NonZeroUsize, sync::Arc, time::Duration};
use support::{
    Arguments,
    feeder::{Feeder, Pace},
    process::{self, Figures},
    report::{self, Round, figure, figures},
    setup,
};

const PARTS: [&str; 9] = [
    "bare-1",
    "fresh-1",
    "noted-1",
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
/// Monitors whose turn it is in turn.
const SPECS: u64 = 1_000;
/// Monitors of the whole host, each due ten times a second: more than any machine with two cores can do.
const MONITORS: u64 = 60_000;
const INTERVAL: Duration = Duration::from_millis(100);
const HOST_WARM_UP: Duration = Duration::from_secs(2);
const HOST_SPAN: Duration = Duration::from_secs(4);

fn main() -> Result<()> {
    let Some(arguments) = Arguments::parse()? else {
        return Ok(());
    };
    match arguments.subcommand.as_deref() {
        Some("bare-1") => return bare(&arguments, 1),
        Some("bare-2") => return bare(&arguments, 2),
        Some("fresh-1") => return workers(&arguments, 1, 0, false),
        Some("noted-1") => return workers(&arguments, 1, 0, true),
        Some("fresh-2") => return workers(&arguments, 2, 0, false),
        Some("reuse-1") => return workers(&arguments, 1, REUSE, false),
        Some("reuse-2") => return workers(&arguments, 2, REUSE, false),
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
    arguments.write(&result)
}

fn bare(arguments: &Arguments, threads: usize) -> Result<()> {
    let settings = setup::sandbox_settings(&host_settings(threads)?)?;
    let floor = support::floor::measure(&settings, &support::guest("noop")?, BARE_JOBS, threads)?;
    arguments.report(&figures(floor.jobs, floor.elapsed, &floor.used))
}

fn workers(arguments: &Arguments, threads: usize, reuse: u32, noted: bool) -> Result<()> {
    let settings = host_settings(threads)?;
    let clock = Clock::system();
    let (sandbox, library) = setup::load(&settings, &clock, &[support::guest("noop")?])?;
    if noted {
        sandbox.kept_by(Traces::start(&settings.data_dir, clock.clone())?);
    }
    let class = class(reuse);
    let specs = (0..SPECS).map(|number| monitor(number, &class)).collect();
    let pace = Pace {
        window: WINDOW * threads,
        batch: BATCH,
        gap: Duration::ZERO,
    };
    let mut feeder = Feeder::start(sandbox, library, &settings, clock.clone(), specs, pace)?;
    if noted {
        feeder.note();
    }
    let jobs = (if reuse > 1 { REUSE_JOBS } else { FRESH_JOBS }) * threads as u64;
    feeder.feed(jobs / 10)?;
    let (before, since) = (Figures::now()?, clock.mono());
    feeder.feed(jobs)?;
    let (elapsed, after) = (clock.mono().since(since), Figures::now()?);
    feeder.stop()?;
    arguments.report(&figures(jobs, elapsed, &after.since(&before)))
}

fn host(arguments: &Arguments, reuse: u32) -> Result<()> {
    let settings = host_settings(2)?;
    let clock = Clock::system();
    let (sandbox, library) = setup::load(&settings, &clock, &[support::guest("noop")?])?;
    let class = class(reuse);
    let plan = Plan {
        settings,
        monitors: (0..MONITORS).map(|number| monitor(number, &class)).collect(),
        host_entry: None,
        store: None,
        orders: pulse_host::operate::orders::Orders::new(None, pulse_host::clock::Clock::system()),
    };
    let host = Host::start(sandbox, library, plan, clock.clone())?;
    let stats = host.stats();
    let completed = || -> (Mono, u64, u64) {
        let snapshot = stats.snapshot();
        let outcomes = snapshot.kinds.pulse.outcomes;
        let answered = outcomes.of("answer");
        (snapshot.at, answered, outcomes.total() - answered)
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

fn host_settings(workers: usize) -> Result<HostSettings> {
    let mut settings = HostSettings::new(process::scratch()?);
    settings.workers = NonZeroUsize::new(workers);
    Ok(settings)
}

fn class(reuse: u32) -> Arc<Class> {
    let profile = setup::profile("noop", Grants::default(), reuse);
    Arc::new(setup::class(&profile, "{}", Duration::from_secs(5), INTERVAL))
}

fn monitor(number: u64, class: &Arc<Class>) -> MonitorSpec {
    MonitorSpec::new(Arc::clone(class), None, &format!("monitor-{number}"), None)
}

fn summary(rounds: &[Round]) -> Result<Value> {
    let cpu = |part: &str, floor: &str| {
        report::median(rounds, |round| {
            Ok(figure(round, part, "cpu_us_per_job")? / figure(round, floor, "cpu_us_per_job")?)
        })
    };
    let scaling = |round: &Round, two: &str, one: &str| -> Result<f64> {
        Ok(figure(round, two, "jobs_per_second")? / figure(round, one, "jobs_per_second")?)
    };
    let bare = |round: &Round| scaling(round, "bare-2", "bare-1");
    let fresh = |round: &Round| scaling(round, "fresh-2", "fresh-1");
    Ok(json!({
        "rounds": rounds.len(),
        "parts": report::medians(rounds, &PARTS)?,
        "cpu_fresh_1_to_bare_1": cpu("fresh-1", "bare-1")?,
        "cpu_noted_1_to_fresh_1": cpu("noted-1", "fresh-1")?,
        "cpu_fresh_2_to_bare_2": cpu("fresh-2", "bare-2")?,
        "cpu_host_fresh_to_bare_2": cpu("host-fresh", "bare-2")?,
        "scaling_of_bare": report::median(rounds, bare)?,
        "scaling_of_fresh": report::median(rounds, fresh)?,
        "scaling_of_fresh_to_bare": report::median(rounds, |round| Ok(fresh(round)? / bare(round)?))?,
    }))
}

fn print(result: &Value) -> Result<()> {
    report::print(result.get("parts").context("no parts")?, &PARTS)?;
    for (label, key) in [
        (
            "CPU per job, one fresh worker : bare loop",
            "cpu_fresh_1_to_bare_1",
        ),
        ("CPU per job, noted : not noted", "cpu_noted_1_to_fresh_1"),
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

//! How many jobs should travel together: the adaptive size against fixed ones, on a load of cheap checks and on a mixed
//! one.
//!
//! `cargo xtask bench batching [--seconds N] [--rounds N] [--json FILE]`. The whole host in a process of its own for
//! each load and size, one after the other, several rounds; the component is the chaos guest of the tests, at
//! one-second intervals. `cheap`: checks that answer at once. `mixed`: those, some that sleep for 20 ms, and some that
//! compute for 4 ms. What is told: how late checks started (mean and p99, of all of them) and what one cost in CPU time.

mod support;

use anyhow::{Context as _, Result, bail};
use pulse_host::{
    app::{Host, Plan},
    clock::Clock,
    domain::{grant::Grants, host::HostSettings, spec::MonitorSpec},
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use support::{
    Arguments,
    process::{self, Figures},
    report::{self, Round},
    setup,
};

const PARTS: [&str; 12] = [
    "cheap-adaptive",
    "cheap-1",
    "cheap-4",
    "cheap-16",
    "cheap-64",
    "cheap-256",
    "mixed-adaptive",
    "mixed-1",
    "mixed-4",
    "mixed-16",
    "mixed-64",
    "mixed-256",
];
/// (monitors, settings), each once a second.
const CHEAP: &[(usize, &str)] = &[(10_000, r#"{"do":"healthy"}"#)];
const MIXED: &[(usize, &str)] = &[
    (6_000, r#"{"do":"healthy"}"#),
    (1_000, r#"{"do":"sleep","ms":20}"#),
    (150, r#"{"do":"spin-ms","ms":4}"#),
];
const WARM_UP: Duration = Duration::from_secs(4);

fn main() -> Result<()> {
    let Some(arguments) = Arguments::parse()? else {
        return Ok(());
    };
    if let Some(part) = arguments.subcommand.as_deref() {
        let (load, size) = match part.split_once('-') {
            Some(("cheap", size)) => (CHEAP, size),
            Some(("mixed", size)) => (MIXED, size),
            _ => bail!("there are {PARTS:?}"),
        };
        let size = if size == "adaptive" {
            None
        } else {
            Some(size.parse()?)
        };
        return arguments.report(&run(load, size, &arguments)?);
    }
    let mut rounds: Vec<Round> = Vec::new();
    for _ in 0..arguments.rounds {
        let mut round = Round::new();
        for part in PARTS {
            round.insert(part, support::run_part(part, &arguments)?);
        }
        rounds.push(round);
    }
    let medians = report::medians(&rounds, &PARTS)?;
    print(&medians)?;
    arguments.write(&medians)
}

fn print(medians: &Value) -> Result<()> {
    println!(
        "{:16}{:>12}{:>16}{:>16}{:>18}{:>18}",
        "", "jobs/s", "jobs per batch", "CPU us per job", "late, mean (ms)", "late, p99 (ms)"
    );
    for part in PARTS {
        let figure = |key: &str| {
            let value = medians.pointer(&format!("/{part}/{key}"));
            value
                .and_then(Value::as_f64)
                .with_context(|| format!("{part}: {key}"))
        };
        println!(
            "{part:16}{:>12.0}{:>16.1}{:>16.1}{:>18.2}{:>18.2}",
            figure("jobs_per_second")?,
            figure("jobs_per_batch")?,
            figure("cpu_us_per_job")?,
            figure("lateness_mean_ms")?,
            figure("lateness_p99_ms")?
        );
    }
    Ok(())
}

fn run(load: &[(usize, &str)], size: Option<usize>, arguments: &Arguments) -> Result<Value> {
    let mut settings = HostSettings::new(process::scratch()?);
    settings.queues.pulse.batch_max = size.unwrap_or(settings.queues.pulse.batch_max);
    settings.queues.pulse.batch_min = size.unwrap_or(settings.queues.pulse.batch_min);
    let clock = Clock::system();
    let (sandbox, library) = setup::load(&settings, &clock, &[support::guest("chaos")?])?;
    let plan = Plan {
        settings,
        monitors: monitors(load),
        host_entry: None,
        store: None,
        orders: pulse_host::operate::orders::Orders::new(None, pulse_host::clock::Clock::system()),
    };
    let host = Host::start(sandbox, library, plan, clock)?;
    let stats = host.stats();
    std::thread::sleep(WARM_UP);
    stats.reset_times();
    std::thread::sleep(Duration::from_millis(200));
    let (before, figures) = (stats.snapshot(), Figures::now()?);
    std::thread::sleep(Duration::from_secs(arguments.seconds.min(10)));
    let (after, used) = (stats.snapshot(), Figures::now()?.since(&figures));
    host.stop()?;
    let jobs = after.kinds.pulse.outcomes.total() - before.kinds.pulse.outcomes.total();
    let batches = after.kinds.pulse.batches - before.kinds.pulse.batches;
    let times = &after.times.pulse;
    let ms = |span: Duration| span.as_secs_f64() * 1000.0;
    Ok(json!({
        "jobs_per_second": jobs as f64 / after.at.since(before.at).as_secs_f64(),
        "cpu_us_per_job": used.cpu.as_secs_f64() * 1e6 / jobs.max(1) as f64,
        "lateness_mean_ms": ms(times.lateness.mean()),
        "lateness_p99_ms": ms(times.lateness.quantile(0.99)),
        "total_p99_ms": ms(times.total.quantile(0.99)),
        "jobs_per_batch": jobs as f64 / batches.max(1) as f64,
        "batch_size_of_the_window": after.kinds.pulse.batch,
        "answered": after.kinds.pulse.outcomes.of("answer") as f64
            / after.kinds.pulse.outcomes.total().max(1) as f64,
    }))
}

fn monitors(load: &[(usize, &str)]) -> Vec<MonitorSpec> {
    let profile = setup::profile("chaos", Grants::default(), 0);
    let of = |(count, settings): &(usize, &str)| {
        let (timeout, interval) = (Duration::from_secs(5), Duration::from_secs(1));
        let class = Arc::new(setup::class(&profile, settings, timeout, interval));
        let name = move |number| format!("{settings}-{number}");
        (0..*count)
            .map(|number| MonitorSpec::new(Arc::clone(&class), None, &name(number), None))
            .collect::<Vec<_>>()
    };
    load.iter().flat_map(of).collect()
}

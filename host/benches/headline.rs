//! The headline figures: ten thousand monitors at a one-second interval, and the floor beside it in the same run.
//!
//! `cargo xtask bench headline [--seconds N] [--monitors N] [--json FILE]`. Four parts, one after the other:
//! 1. floor: a bare wasmtime loop that makes a store, instantiates and calls the no-op component;
//! 2. pipeline: the whole host, in this process, with that component as every monitor's pulse;
//! 3. live: the program itself with the same monitors, its store, its API, and somebody who has the dashboard open;
//! 4. targets: the whole host with the `http` plugin against a server on loopback (another process) that answers
//!    after 50 ms; one monitor in a hundred has a target that never answers.

mod support;

use anyhow::{Context as _, Result, bail};
use pulse_host::{
    app::{Host, Plan},
    clock::Clock,
    domain::{
        grant::Grants,
        histogram::Histogram,
        host::HostSettings,
        spec::{MonitorSpec, Profile},
    },
    scheduler::stats::Snapshot,
};
use serde_json::{Value, json};
use std::{path::PathBuf, sync::Arc, time::Duration};
use support::{
    Arguments, live,
    process::{self, Figures},
    setup, target,
};

/// Time that caches, pools and the spread of first checks get before anything is measured.
const WARM_UP: Duration = Duration::from_secs(10);

fn main() -> Result<()> {
    let Some(arguments) = Arguments::parse()? else {
        return Ok(());
    };
    match arguments.subcommand.as_deref() {
        Some(target::SUBCOMMAND) => return target::serve(),
        Some("floor") => return floor(&arguments),
        Some("pipeline") => return pipeline(&arguments),
        Some("targets") => return targets(&arguments),
        Some("live") => return live(&arguments),
        Some(other) => bail!("there is no part `{other}`; there are floor, pipeline, live and targets"),
        None => {}
    }
    // Each part in a process of its own: no part sees the memory that another one has touched.
    let mut parts = serde_json::Map::new();
    for part in ["floor", "pipeline", "live", "targets"] {
        parts.insert(part.to_owned(), support::run_part(part, &arguments)?);
    }
    let result = Value::Object(parts);
    print(&result)?;
    arguments.write(&result)
}

fn floor(arguments: &Arguments) -> Result<()> {
    let sandbox_settings = setup::sandbox_settings(&HostSettings::new(process::scratch()?))?;
    let jobs = 200_000;
    let floor = support::floor::measure(&sandbox_settings, &support::guest("noop")?, jobs, 1)?;
    arguments.report(&json!({
        "jobs": jobs,
        "cpu_us_per_job": floor.used.cpu.as_secs_f64() * 1e6 / f64::from(jobs),
        "minor_faults_per_job": floor.used.minor_faults as f64 / f64::from(jobs),
    }))
}

fn pipeline(arguments: &Arguments) -> Result<()> {
    let settings = HostSettings::new(process::scratch()?);
    let profile = setup::profile("noop", Grants::default(), 0);
    let monitors = monitors(arguments.monitors, &profile, Duration::from_secs(5), |_| None);
    let result = watch(settings, support::guest("noop")?, monitors, arguments)?;
    arguments.report(&result)
}

fn live(arguments: &Arguments) -> Result<()> {
    let folder = live::configured("headline", arguments.monitors, 0, "1s")?;
    let figures = live::watched(&folder, WARM_UP, arguments.seconds)?;
    std::fs::remove_dir_all(&folder)?;
    arguments.report(&figures)
}

fn targets(arguments: &Arguments) -> Result<()> {
    let server = target::start()?;
    let profile = setup::profile("http", setup::own_url_on_loopback(), 0);
    let count = arguments.target_monitors();
    let monitors = monitors(count, &profile, Duration::from_secs(2), |number| {
        let path = if number % 100 == 0 { "hang" } else { "ok" };
        let url = format!("http://{}/{path}", server.address(number));
        Some(json!({ "url": url }).to_string())
    });
    let mut settings = HostSettings::new(process::scratch()?);
    // 10,000 checks a second of 65 ms each, and 100 a second that hang for 2 s, are 850 at any time; the default
    // of 1,024 leaves no room for a burst.
    settings.queues.pulse.in_flight = 2_048;
    let result = watch(settings, support::plugin("http")?, monitors, arguments)?;
    arguments.report(&result)
}

/// Monitors at one second, each with settings of its own if `settings` makes some.
fn monitors(
    count: usize,
    profile: &Arc<Profile>,
    timeout: Duration,
    settings: impl Fn(usize) -> Option<String>,
) -> Vec<MonitorSpec> {
    let class = Arc::new(setup::class(profile, "{}", timeout, Duration::from_secs(1)));
    (0..count)
        .map(|number| {
            let name = format!("monitor-{number}");
            MonitorSpec::new(Arc::clone(&class), None, &name, settings(number).as_deref())
        })
        .collect()
}

/// Runs the whole host with these monitors, and measures after a warm-up.
fn watch(
    host: HostSettings,
    plugin: PathBuf,
    monitors: Vec<MonitorSpec>,
    arguments: &Arguments,
) -> Result<Value> {
    let clock = Clock::system();
    let (sandbox, library) = setup::load(&host, &clock, &[plugin])?;
    let count = monitors.len();
    let plan = Plan {
        settings: host,
        monitors,
        host_entry: None,
        store: None,
        orders: pulse_host::operate::orders::Orders::new(None, pulse_host::clock::Clock::system()),
    };
    let host = Host::start(sandbox, library, plan, clock.clone())?;
    let stats = host.stats();
    std::thread::sleep(WARM_UP);
    stats.reset_times();
    std::thread::sleep(Duration::from_millis(200));
    let (before, figures_before, since) = (stats.snapshot(), Figures::now()?, clock.mono());
    let mut in_flight_max = 0;
    let mut rss_max = 0;
    let seconds = arguments.seconds;
    for _ in 0..seconds * 5 {
        std::thread::sleep(Duration::from_millis(200));
        in_flight_max = in_flight_max.max(stats.snapshot().kinds.pulse.pending);
        rss_max = rss_max.max(process::rss_bytes()?);
    }
    let (after, figures) = (stats.snapshot(), Figures::now()?);
    // The figures are a little older than the moment at which they were asked for.
    let span = after.at.since(before.at);
    let elapsed = clock.mono().since(since);
    let rss_of_files = process::rss_of_files_bytes()?;
    let summary = host.stop()?;
    let used = figures.since(&figures_before);
    let jobs = completed(&after) - completed(&before);
    let pulse = |snapshot: &Snapshot| snapshot.kinds.pulse;
    let answered = |snapshot: &Snapshot| pulse(snapshot).outcomes.of("answer");
    let times = &after.times.pulse;
    Ok(json!({
        "monitors": count,
        "seconds": span.as_secs_f64(),
        "jobs": jobs,
        "jobs_per_second": jobs as f64 / span.as_secs_f64(),
        "cpu_us_per_job": used.cpu.as_secs_f64() * 1e6 / jobs.max(1) as f64,
        "cores_used": used.cpu.as_secs_f64() / elapsed.as_secs_f64(),
        "minor_faults_per_job": used.minor_faults as f64 / jobs.max(1) as f64,
        "rss_mib_before": mib(figures_before.rss_bytes),
        "rss_mib_after": mib(figures.rss_bytes),
        "rss_mib_max": mib(rss_max),
        "rss_of_files_mib": mib(rss_of_files),
        "in_flight_max": in_flight_max,
        "not_answered": (completed(&after) - completed(&before)) - (answered(&after) - answered(&before)),
        "outcomes": after.kinds.pulse.outcomes.iter().map(|(class, count)| {
            let earlier = before.kinds.pulse.outcomes.of(class);
            ((*class).to_owned(), json!(count - earlier))
        }).collect::<serde_json::Map<_, _>>(),
        "lost": pulse(&after).lost - pulse(&before).lost,
        "stale": pulse(&after).stale - pulse(&before).stale,
        "skipped_slots": after.skipped_slots - before.skipped_slots,
        "queue_full": pulse(&after).full - pulse(&before).full,
        "left_at_stop": summary.left.jobs(),
        "lateness": quantiles(&times.lateness),
        "execution": quantiles(&times.execution),
        "apply": quantiles(&times.apply),
        "total": quantiles(&times.total),
    }))
}

fn completed(snapshot: &Snapshot) -> u64 {
    snapshot.kinds.pulse.outcomes.total()
}

fn quantiles(histogram: &Histogram) -> Value {
    let ms = |span: Duration| span.as_secs_f64() * 1e3;
    json!({
        "mean_ms": ms(histogram.mean()),
        "p50_ms": ms(histogram.quantile(0.5)),
        "p99_ms": ms(histogram.quantile(0.99)),
        "p999_ms": ms(histogram.quantile(0.999)),
        "max_ms": ms(histogram.max()),
    })
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn print(result: &Value) -> Result<()> {
    let figure = |path: &str| {
        result
            .pointer(path)
            .and_then(Value::as_f64)
            .context(path.to_owned())
    };
    println!("{:38}{:>12}{:>12}", "", "pipeline", "targets");
    for (label, key) in [
        ("monitors, each every second", "monitors"),
        ("jobs/s", "jobs_per_second"),
        ("without an answer", "not_answered"),
        ("lost", "lost"),
        ("skipped slots", "skipped_slots"),
        ("due to applied, mean (ms)", "total/mean_ms"),
        ("due to applied, p99 (ms)", "total/p99_ms"),
        ("lateness, mean (ms)", "lateness/mean_ms"),
        ("lateness, p99 (ms)", "lateness/p99_ms"),
        ("execution, mean (ms)", "execution/mean_ms"),
        ("execution, p99 (ms)", "execution/p99_ms"),
        ("apply, mean (ms)", "apply/mean_ms"),
        ("apply, p99 (ms)", "apply/p99_ms"),
        ("CPU time per job (us)", "cpu_us_per_job"),
        ("cores used", "cores_used"),
        ("minor faults per job", "minor_faults_per_job"),
        ("jobs in flight, most", "in_flight_max"),
        ("RSS after warm-up (MiB)", "rss_mib_before"),
        ("RSS at the end (MiB)", "rss_mib_after"),
        ("of it pages of files, shared (MiB)", "rss_of_files_mib"),
    ] {
        let pipeline = figure(&format!("/pipeline/{key}"))?;
        let targets = figure(&format!("/targets/{key}"))?;
        println!("{label:38}{pipeline:>12.2}{targets:>12.2}");
    }
    let floor = figure("/floor/cpu_us_per_job")?;
    println!(
        "\nfloor (bare wasmtime: store, instance, call): {floor:.1} us of CPU time per job; the pipeline takes \
         {:.2} times that",
        figure("/pipeline/cpu_us_per_job")? / floor
    );
    println!(
        "\n{:38}{:>12}{:>12}{:>12}",
        "with store, API and dashboard", "pipeline", "live", "ratio"
    );
    for (label, pipeline, live) in [
        ("jobs/s", "jobs_per_second", "jobs_per_second"),
        ("CPU time per job (us)", "cpu_us_per_job", "cpu_us_per_job"),
        ("lateness, mean (ms)", "lateness/mean_ms", "lateness/mean_ms"),
        ("lateness, p99 (ms)", "lateness/p99_ms", "lateness/p99_ms"),
        ("RSS (MiB)", "rss_mib_after", "rss_mib"),
    ] {
        let (without, with) = (
            figure(&format!("/pipeline/{pipeline}"))?,
            figure(&format!("/live/{live}"))?,
        );
        println!("{label:38}{without:>12.2}{with:>12.2}{:>12.2}", with / without);
    }
    println!(
        "of it the store (us per job): {:.2}",
        figure("/live/store_us_per_job")?
    );
    Ok(())
}

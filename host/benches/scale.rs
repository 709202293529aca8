//! From a thousand monitors to a million: what loading, holding and running them takes.
//!
//! `cargo xtask bench scale [--rows 1000,10000,100000,1000000] [--seconds N] [--json FILE]`. For each size a list of
//! targets is written, and processes of their own look at it:
//! 1. load: the list is read for the `http` plugin, whose schema every row is held against;
//! 2. tied: the same, where every monitor depends on the router of its site, by labels;
//! 3. idle: a host with monitors that are not due for a year;
//! 4. busy: a host with the no-op component as every monitor's pulse, each every 30 seconds;
//! 5. live: the program itself with the same monitors, its store, its API, and somebody who has the dashboard open.

mod support;

use anyhow::{Context as _, Result, bail};
use pulse_host::{
    app::{Host, Plan},
    clock::Clock,
    config::{Config, Draft},
    domain::{histogram::Histogram, host::HostSettings, plugin::Facts},
    sandbox::{Library, Sandbox},
    scheduler::stats::{Snapshot, Stats},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use support::{
    Arguments, live,
    process::{self, Figures},
    setup,
};

/// Time that caches, pools and the spread of first checks get before anything is measured.
const WARM_UP: Duration = Duration::from_secs(10);
/// Every monitor has been checked by then, so that all of them have a history.
const LIVE_WARM_UP: Duration = Duration::from_secs(40);
/// How long a host that has nothing to do is watched.
const IDLE: Duration = Duration::from_secs(10);
/// Values of the label that has many.
const SITES: usize = 1_000;

fn main() -> Result<()> {
    let Some(mut arguments) = Arguments::parse()? else {
        return Ok(());
    };
    match arguments.subcommand.as_deref() {
        Some("load") => return load(&arguments, ""),
        Some("tied") => return load(&arguments, TIED),
        Some("idle") => return idle(&arguments),
        Some("busy") => return busy(&arguments),
        Some("live") => return live(&arguments),
        Some(other) => bail!("there is no part `{other}`; there are load, tied, idle, busy and live"),
        None => {}
    }
    let mut sizes = Vec::new();
    for rows in arguments.rows_or(&[1_000, 10_000, 100_000, 1_000_000]) {
        write_targets(rows)?;
        arguments.monitors = rows;
        let mut size = serde_json::Map::from_iter([("rows".to_owned(), json!(rows))]);
        for part in ["load", "tied", "idle", "busy", "live"] {
            size.insert(part.to_owned(), support::run_part(part, &arguments)?);
        }
        std::fs::remove_file(targets(rows)?)?;
        sizes.push(Value::Object(size));
    }
    let result = json!({ "sizes": sizes, "predecessor": predecessor() });
    print(&result)?;
    arguments.write(&result)
}

/// What the Go/Ark system that this one replaces came to, by its own figures.
fn predecessor() -> Value {
    json!({ "jobs_per_second": 11.6, "latency_mean_ms": 77.0, "rss_mib": 145.0, "failed_percent": 75.0 })
}

fn targets(rows: usize) -> Result<PathBuf> {
    Ok(process::scratch()?.join(format!("targets-{rows}.ndjson")))
}

/// Typical targets: names of 16 bytes, URLs of 40, three labels, one of which has a thousand values.
fn write_targets(rows: usize) -> Result<()> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(targets(rows)?)?);
    for number in 0..rows {
        writeln!(
            file,
            r#"{{"id": "{number:08}", "host": "web-{number:08}.example.com", "site": "site-{:03}"}}"#,
            number % SITES
        )?;
    }
    Ok(file.flush()?)
}

/// What monitors depend on. The routers are in front of them.
const TIED: &str = r#"depends-on = [{ labels = { role = "router", site = "{{site}}" } }]"#;

/// A router for each site.
fn routers() -> String {
    let sites: Vec<String> = (0..SITES)
        .map(|site| format!("{{ site = \"site-{site:03}\" }}"))
        .collect();
    format!(
        r#"
[[monitor]]
name = "router-{{{{site}}}}"
targets = [{}]
labels = {{ role = "router", site = "{{{{site}}}}" }}
pulse = {{ plugin = "http", settings = {{ url = "https://{{{{site}}}}.example.com/" }} }}
"#,
        sites.join(", ")
    )
}

fn configuration(rows: usize, plugin: &str, interval: &str, more: &str) -> Result<String> {
    let targets = targets(rows)?;
    let data = process::scratch()?;
    let grants = match plugin {
        "http" => "[plugins.http]\ngrants = { http = [\"@settings.url\"], networks = [\"public\"] }",
        _ => "",
    };
    let routers = if more.is_empty() { String::new() } else { routers() };
    Ok(format!(
        r#"
[host]
data-dir = {data:?}
{grants}
{routers}
[[monitor]]
name = "monitor-{{{{id}}}}"
targets = {targets:?}
key = "id"
interval = "{interval}"
{more}
labels = {{ team = "shops", tier = "web", site = "{{{{site}}}}" }}
pulse = {{ plugin = "{plugin}", settings = {{ url = "https://{{{{host}}}}/healthz" }} }}
"#
    ))
}

/// A loaded plugin, and what the configuration must know of it.
struct Loaded {
    sandbox: Arc<Sandbox>,
    library: Arc<Library>,
    facts: BTreeMap<String, Facts>,
    clock: Clock,
}

fn plugins(paths: &[PathBuf]) -> Result<Loaded> {
    let host = HostSettings::new(process::scratch()?);
    let clock = Clock::system();
    let (sandbox, library) = setup::load(&host, &clock, paths)?;
    let facts = library
        .iter()
        .map(|plugin| (plugin.facts.name.to_string(), plugin.facts.clone()))
        .collect();
    Ok(Loaded {
        sandbox,
        library,
        facts,
        clock,
    })
}

/// Reads the configuration, and says how long it took.
fn read(loaded: &Loaded, text: &str, rows: usize) -> Result<(Config, Duration)> {
    let since = loaded.clock.mono();
    let draft = Draft::from_text("scale.toml", text, Path::new("/"));
    let config = draft.finish(&loaded.facts)?;
    let took = loaded.clock.mono().since(since);
    if config.monitors.len() != rows {
        bail!("{} monitors of {rows} rows", config.monitors.len());
    }
    Ok((config, took))
}

fn load(arguments: &Arguments, more: &str) -> Result<()> {
    let rows = arguments.monitors;
    // Without a host, whose slots for instances would be in the way of counting.
    let facts = {
        let loaded = plugins(&[support::plugin("http")?])?;
        loaded.facts
    };
    let text = configuration(rows, "http", "30s", more)?;
    let clock = Clock::system();
    let before = Figures::now()?;
    let since = clock.mono();
    let config = Draft::from_text("scale.toml", &text, Path::new("/")).finish(&facts)?;
    let took = clock.mono().since(since);
    let after = Figures::now()?;
    let made = config.monitors.len();
    arguments.report(&json!({
        "monitors": made,
        "seconds": took.as_secs_f64(),
        "rows_per_second": made as f64 / took.as_secs_f64(),
        "cpu_seconds": after.since(&before).cpu.as_secs_f64(),
        "bytes_per_monitor": after.rss_bytes.saturating_sub(before.rss_bytes) as f64 / made.max(1) as f64,
        "rss_mib": mib(after.rss_bytes),
    }))
}

/// A host that runs what the configuration says.
struct Running {
    host: Host,
    stats: Stats,
    before: Figures,
    load: Duration,
    start: Duration,
}

fn start(rows: usize, interval: &str) -> Result<(Running, Clock)> {
    let loaded = plugins(&[support::guest("noop")?])?;
    let text = configuration(rows, "noop", interval, "")?;
    let before = Figures::now()?;
    let (config, load) = read(&loaded, &text, rows)?;
    let since = loaded.clock.mono();
    let plan = Plan {
        settings: config.host,
        monitors: config.monitors,
        host_entry: config.host_entry,
        store: None,
        orders: pulse_host::operate::orders::Orders::new(None, pulse_host::clock::Clock::system()),
    };
    let host = Host::start(loaded.sandbox, loaded.library, plan, loaded.clock.clone())?;
    let running = Running {
        stats: host.stats(),
        host,
        before,
        load,
        start: loaded.clock.mono().since(since),
    };
    Ok((running, loaded.clock))
}

fn idle(arguments: &Arguments) -> Result<()> {
    let rows = arguments.monitors;
    let (running, clock) = start(rows, "365d")?;
    std::thread::sleep(Duration::from_secs(2));
    let (before, since) = (Figures::now()?, clock.mono());
    std::thread::sleep(IDLE);
    let (after, elapsed) = (Figures::now()?, clock.mono().since(since));
    let jobs = completed(&running.stats.snapshot());
    running.host.stop()?;
    let grown = after.rss_bytes.saturating_sub(running.before.rss_bytes);
    arguments.report(&json!({
        "load_seconds": running.load.as_secs_f64(),
        "start_seconds": running.start.as_secs_f64(),
        "cpu_percent": 100.0 * after.since(&before).cpu.as_secs_f64() / elapsed.as_secs_f64(),
        "jobs": jobs,
        "rss_mib": mib(after.rss_bytes),
        "rss_mib_before": mib(running.before.rss_bytes),
        "bytes_per_monitor": grown as f64 / rows.max(1) as f64,
    }))
}

fn busy(arguments: &Arguments) -> Result<()> {
    let rows = arguments.monitors;
    let (running, clock) = start(rows, "30s")?;
    let stats = &running.stats;
    std::thread::sleep(WARM_UP);
    stats.reset_times();
    std::thread::sleep(Duration::from_millis(200));
    let (before, figures_before, since) = (stats.snapshot(), Figures::now()?, clock.mono());
    let mut rss_max = 0;
    for _ in 0..arguments.seconds {
        std::thread::sleep(Duration::from_secs(1));
        rss_max = rss_max.max(process::rss_bytes()?);
    }
    let (after, figures) = (stats.snapshot(), Figures::now()?);
    let (span, elapsed) = (after.at.since(before.at), clock.mono().since(since));
    let summary = running.host.stop()?;
    let used = figures.since(&figures_before);
    let jobs = completed(&after) - completed(&before);
    let answered = |snapshot: &Snapshot| snapshot.kinds.pulse.outcomes.of("answer");
    let times = &after.times.pulse;
    arguments.report(&json!({
        "seconds": span.as_secs_f64(),
        "jobs": jobs,
        "jobs_per_second": jobs as f64 / span.as_secs_f64(),
        "wanted_per_second": rows as f64 / 30.0,
        "cpu_us_per_job": used.cpu.as_secs_f64() * 1e6 / jobs.max(1) as f64,
        "cores_used": used.cpu.as_secs_f64() / elapsed.as_secs_f64(),
        "lateness": quantiles(&times.lateness),
        "execution": quantiles(&times.execution),
        "total": quantiles(&times.total),
        "not_answered": jobs - (answered(&after) - answered(&before)),
        "lost": after.kinds.pulse.lost - before.kinds.pulse.lost,
        "skipped_slots": after.skipped_slots - before.skipped_slots,
        "left_at_stop": summary.left.jobs(),
        "rss_mib": mib(figures.rss_bytes),
        "rss_mib_max": mib(rss_max),
    }))
}

fn live(arguments: &Arguments) -> Result<()> {
    let rows = arguments.monitors;
    let folder = live::configured(&format!("scale-{rows}"), rows, 0, "30s")?;
    let figures = live::watched(&folder, LIVE_WARM_UP, arguments.seconds)?;
    std::fs::remove_dir_all(&folder)?;
    arguments.report(&figures)
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

/// Column heads, and where the figures are.
const COLUMNS: [(&str, &str); 20] = [
    ("load s", "/load/seconds"),
    ("load B/mon", "/load/bytes_per_monitor"),
    ("tied s", "/tied/seconds"),
    ("start s", "/idle/start_seconds"),
    ("RSS MiB", "/idle/rss_mib"),
    ("B/mon", "/idle/bytes_per_monitor"),
    ("idle CPU %", "/idle/cpu_percent"),
    ("jobs/s", "/busy/jobs_per_second"),
    ("us/job", "/busy/cpu_us_per_job"),
    ("p50 ms", "/busy/lateness/p50_ms"),
    ("p99 ms", "/busy/lateness/p99_ms"),
    ("p99.9 ms", "/busy/lateness/p999_ms"),
    ("lost", "/busy/lost"),
    ("failed", "/busy/not_answered"),
    ("RSS busy", "/busy/rss_mib"),
    ("live jobs/s", "/live/jobs_per_second"),
    ("us/job", "/live/cpu_us_per_job"),
    ("mean ms", "/live/lateness/mean_ms"),
    ("p99 ms", "/live/lateness/p99_ms"),
    ("RSS live", "/live/rss_mib"),
];

fn print(result: &Value) -> Result<()> {
    print!("{:>14}", "monitors");
    for (head, _) in COLUMNS {
        print!("{head:>12}");
    }
    println!();
    for size in result["sizes"].as_array().into_iter().flatten() {
        print!("{:>14}", size["rows"].to_string());
        for (_, path) in COLUMNS {
            let figure = size
                .pointer(path)
                .and_then(Value::as_f64)
                .with_context(|| format!("{path} was not measured"))?;
            print!("{figure:>12.2}");
        }
        println!();
    }
    let before = &result["predecessor"];
    println!(
        "{:>14}  {} jobs/s, {} ms mean latency, {} MiB, {} % of the jobs failed",
        "predecessor",
        before["jobs_per_second"],
        before["latency_mean_ms"],
        before["rss_mib"],
        before["failed_percent"]
    );
    println!(
        "p50, p99, p99.9: from due to started, at one check per monitor every 30 s. B/mon: growth of RSS by monitor. \
         live: the program with store, API and dashboard, told by /metrics."
    );
    Ok(())
}

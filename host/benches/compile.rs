//! Whether checks that run are later while a large component is compiled, as it is where a plugin is put into the folder
//! of a host that runs.
//!
//! `cargo xtask bench compile [FILE.wasm] [--rounds N] [--json FILE]`. The whole host in one process: 1,000 monitors with
//! the no-op component, each once a second. In each round a copy of the component that nobody has compiled yet is loaded
//! into the sandbox that runs (in a child process, as always, with its two threads), and lateness is told while that goes
//! on, and for as long as it took without anything beside it. Which of both comes first changes from round to round.
//! Without FILE it is the template of `plugin new` in Python, which `cargo xtask templates python` builds.

mod support;

use anyhow::{Context as _, Result, bail};
use pulse_host::{
    app::{Host, Plan},
    clock::Clock,
    domain::{
        grant::Grants,
        histogram::Histogram,
        host::HostSettings,
        spec::{Kind, MonitorSpec},
    },
    plugins,
    sandbox::{self, Sandbox},
    scheduler::stats::Stats,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use support::{
    Arguments, process,
    report::{self, Round, figure},
    setup,
};

const MONITORS: u64 = 1_000;
const INTERVAL: Duration = Duration::from_secs(1);
/// The spread of first checks, and caches.
const WARM_UP: Duration = Duration::from_secs(5);
/// What a round is measured for before it is known how long the component takes.
const FIRST_SPAN: Duration = Duration::from_secs(15);
const PARTS: [&str; 2] = ["quiet", "compiling"];
const TEMPLATE: &str = "target/templates/python-pulse/python-pulse.wasm";

fn main() -> Result<()> {
    let Some(arguments) = Arguments::parse()? else {
        return Ok(());
    };
    let component = component(&arguments)?;
    let bytes = std::fs::read(&component).with_context(|| component.display().to_string())?;
    let folder = process::scratch()?.join("compile");
    // What was compiled before would only be loaded.
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let settings = HostSettings::new(folder.join("data"));
    let clock = Clock::system();
    let (sandbox, library) = setup::load(&settings, &clock, &[support::guest("noop")?])?;
    let profile = setup::profile("noop", Grants::default(), 0);
    let class = Arc::new(setup::class(&profile, "{}", INTERVAL, INTERVAL));
    let plan = Plan {
        settings,
        monitors: (0..MONITORS)
            .map(|number| MonitorSpec::new(Arc::clone(&class), None, &format!("monitor-{number}"), None))
            .collect(),
        host_entry: None,
        store: None,
        orders: pulse_host::operate::orders::Orders::new(None, clock.clone()),
    };
    let host = Host::start(Arc::clone(&sandbox), library, plan, clock.clone())?;
    let stats = host.stats();
    std::thread::sleep(WARM_UP);
    let mut span = FIRST_SPAN;
    let mut rounds: Vec<Round> = Vec::new();
    for round in 1..=arguments.rounds {
        eprintln!("round {round} of {}", arguments.rounds);
        let copy = folder.join(format!("copy-{round}.wasm"));
        std::fs::write(&copy, padded(&bytes, round as u64))?;
        let mut parts = BTreeMap::new();
        let quiet_first = round % 2 == 1;
        if quiet_first {
            parts.insert("quiet", quiet(&stats, span)?);
        }
        stats.reset_times();
        let since = clock.mono();
        load(&sandbox, &copy)?;
        span = clock.mono().since(since);
        let seen = seen(&stats)?;
        parts.insert("compiling", told(&seen, span));
        if !quiet_first {
            parts.insert("quiet", quiet(&stats, span)?);
        }
        std::fs::remove_file(&copy)?;
        rounds.push(parts);
    }
    host.stop()?;
    let result = summary(&rounds, &component, bytes.len())?;
    arguments.write(&result)
}

/// The component that is compiled.
fn component(arguments: &Arguments) -> Result<PathBuf> {
    if let Some(path) = &arguments.subcommand {
        return Ok(path.into());
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(TEMPLATE);
    if !path.exists() {
        bail!(
            "{} is missing; build it with `cargo xtask templates python`, or name a component",
            path.display()
        );
    }
    Ok(path)
}

/// The same component with a custom section behind it that nothing reads: another digest, and so compiled anew.
fn padded(bytes: &[u8], number: u64) -> Vec<u8> {
    let mut padded = bytes.to_vec();
    // A custom section of 13 bytes: a name of four, and eight more.
    padded.extend([0, 13, 4]);
    padded.extend(b"copy");
    padded.extend(number.to_le_bytes());
    padded
}

/// As when the plugins of a host that runs are read anew.
fn load(sandbox: &Arc<Sandbox>, path: &Path) -> Result<()> {
    let found = plugins::read(path).map_err(|problem| anyhow::anyhow!("{problem}"))?;
    sandbox::load(sandbox, found).map_err(|messages| anyhow::anyhow!("{}", messages.join("; ")))?;
    Ok(())
}

fn quiet(stats: &Stats, span: Duration) -> Result<Value> {
    stats.reset_times();
    std::thread::sleep(span);
    Ok(told(&seen(stats)?, span))
}

/// How late checks were since the last reset. All of them must have been done.
fn seen(stats: &Stats) -> Result<Histogram> {
    let snapshot = stats.snapshot();
    let outcomes = snapshot.kinds.pulse.outcomes;
    if outcomes.total() != outcomes.of("answer") {
        bail!(
            "{} checks had no answer",
            outcomes.total() - outcomes.of("answer")
        );
    }
    Ok(snapshot.times.get(Kind::Pulse).lateness.clone())
}

fn told(lateness: &Histogram, span: Duration) -> Value {
    let ms = |span: Duration| span.as_secs_f64() * 1e3;
    json!({
        "seconds": span.as_secs_f64(),
        "checks": lateness.count(),
        "p50_ms": ms(lateness.quantile(0.5)),
        "p99_ms": ms(lateness.quantile(0.99)),
        "max_ms": ms(lateness.max()),
    })
}

fn summary(rounds: &[Round], component: &Path, bytes: usize) -> Result<Value> {
    let medians = report::medians(rounds, &PARTS)?;
    println!(
        "{:12}{:>10}{:>10}{:>12}{:>12}{:>12}",
        "", "seconds", "checks", "p50 (ms)", "p99 (ms)", "max (ms)"
    );
    for part in PARTS {
        let figure = |key: &str| {
            let figure = medians.pointer(&format!("/{part}/{key}")).and_then(Value::as_f64);
            figure.with_context(|| format!("{part}: {key}"))
        };
        println!(
            "{part:12}{:>10.1}{:>10.0}{:>12.3}{:>12.3}{:>12.3}",
            figure("seconds")?,
            figure("checks")?,
            figure("p50_ms")?,
            figure("p99_ms")?,
            figure("max_ms")?
        );
    }
    let mut result = json!({
        "rounds": rounds.len(),
        "component": component.file_name().and_then(|name| name.to_str()),
        "bytes": bytes,
        "parts": medians,
    });
    for key in ["p50_ms", "p99_ms", "max_ms"] {
        let ratio = report::median(rounds, |round| {
            Ok(figure(round, "compiling", key)? / figure(round, "quiet", key)?)
        })?;
        println!("{:48}{ratio:>8.2}", format!("{key}, compiling : quiet"));
        if let Value::Object(fields) = &mut result {
            fields.insert(format!("{key}_compiling_to_quiet"), json!(ratio));
        }
    }
    Ok(result)
}

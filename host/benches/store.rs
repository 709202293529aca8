//! What it costs to keep checks on record, and what a start costs with much on record.
//!
//! `cargo xtask bench store [--monitors N] [--rows 100000,1000000] [--json FILE]`:
//! 1. keep: the thread that writes, fed with what a scheduler hands it at 10,000 checks a second of 300,000 monitors. The
//!    clock is set by hand, so that hours pass in seconds; CPU time and bytes are what they would be, but for waking up.
//! 2. run: the program itself at that rate, and the CPU time of its thread that writes while no five minutes are over: to
//!    take checks, and to be woken for them.
//! 3. start: for each size, the program itself on a database with some hours of history and monitors in trouble, from its
//!    start until it says that it is ready.

mod support;

use anyhow::{Context as _, Result, bail};
use pulse_host::{
    clock::{Clock, Hand},
    domain::{
        host::StoreSettings,
        saved::MonitorKey,
        time::{Mono, Wall},
    },
    ledger::{self, Place, Record, Sample, Verdict, Writer},
    queue::Bell,
    store::{self, DATABASE, Store},
};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use support::{
    Arguments,
    live::{self, Api, Live},
    process,
};

/// Checks a second, which all monitors share.
const RATE: usize = 10_000;
const MONITORS: usize = 300_000;
/// How often a scheduler hands checks over, in a second: a thousand runs, of ten checks each.
const RUNS: usize = 1_000;
/// What checks are summed up by.
const SPAN: Duration = Duration::from_secs(300);
/// Five-minute sums are kept that long here, and not for two days, so that forgetting them is part of what is measured.
const KEPT: Duration = Duration::from_secs(1_800);
/// Spans before anything is measured: from then on as much is forgotten as comes.
const FILL: usize = 8;
/// Spans that are measured: an hour.
const MEASURED: usize = 12;
/// Spans on record before a start.
const HISTORY: usize = 12;
/// One monitor in so many is in trouble.
const TROUBLED: usize = 100;
/// In that time all of these have an episode that is on record.
const TROUBLE_WITHIN: Duration = Duration::from_secs(75);
const STARTS: usize = 3;

fn main() -> Result<()> {
    let Some(arguments) = Arguments::parse()? else {
        return Ok(());
    };
    match arguments.subcommand.as_deref() {
        Some("keep") => return keep(&arguments),
        Some(other) => bail!("there is no part `{other}`; there is keep"),
        None => {}
    }
    let kept = support::run_part("keep", &arguments)?;
    let run = run(&arguments)?;
    let mut starts = Vec::new();
    for rows in arguments.rows_or(&[100_000, 1_000_000]) {
        eprintln!("start with {rows} monitors …");
        starts.push(start(rows)?);
    }
    let result = json!({ "keep": kept, "run": run, "starts": starts });
    print(&result)?;
    arguments.write(&result)
}

/// A store whose time is set by hand, and the scheduler's end of what leads there.
struct Fed {
    writer: Writer,
    running: store::Running,
    hand: Arc<Hand>,
    clock: Clock,
    monitors: usize,
    next: usize,
}

impl Fed {
    fn open(folder: &Path, monitors: usize, settings: StoreSettings) -> Result<Self> {
        // A full hour, so that sums of all lengths begin together.
        let begin = Clock::system().wall();
        let begin = Wall(begin.0 - begin.0 % 3_600_000);
        let (clock, hand) = Clock::manual(Mono(0), begin);
        let (writer, keeper) = ledger::ledger(Arc::new(Bell::default()));
        let running = Store::open(folder, settings, clock.clone())?.start(keeper)?;
        let fed = Self {
            writer,
            running,
            hand,
            clock,
            monitors,
            next: 0,
        };
        let places = (0..u32::try_from(monitors)?).map(|place| Place {
            place,
            key: MonitorKey::named("default", &format!("on-record-{place}")),
            quantiles: false,
        });
        let places = places.collect();
        fed.send(Record::Places(places))?;
        Ok(fed)
    }

    /// Hands it over as soon as there is room, which a scheduler would not wait for.
    fn send(&self, record: Record) -> Result<()> {
        let mut record = record;
        for _ in 0..1_000_000 {
            match self.writer.try_send(record) {
                Ok(()) => return Ok(()),
                Err(back) => record = back,
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        bail!("the store takes nothing any more")
    }

    /// One span's checks, in runs, each at its time.
    fn live(&mut self, rate: usize) -> Result<()> {
        let each = (rate / RUNS).max(1);
        let runs = rate / each * usize::try_from(SPAN.as_secs())?;
        for run in 0..runs {
            let samples = (0..each).map(|_| {
                let place = self.next;
                self.next = (self.next + 1) % self.monitors;
                Sample {
                    place: place as u32,
                    took_us: 1_000 + (place % 50_000) as u32,
                    verdict: if place.is_multiple_of(TROUBLED) {
                        Verdict::Failed
                    } else {
                        Verdict::Alive
                    },
                }
            });
            let (samples, at) = (samples.collect(), self.clock.wall());
            self.send(Record::Samples { at, samples })?;
            if run + 1 < runs {
                self.hand.advance(SPAN / u32::try_from(runs)?);
            }
        }
        Ok(())
    }

    /// The next span begins: waits until the last one is written, and what is too old forgotten.
    fn turn(&mut self) -> Result<()> {
        let begin = self.clock.wall().0;
        let span = u64::try_from(SPAN.as_millis())?;
        self.hand.advance(Duration::from_millis(span - begin % span));
        let (at, mut before, mut same) = (self.clock.wall(), self.running.written(), 0);
        self.send(Record::Samples {
            at,
            samples: Vec::new(),
        })?;
        // A second without another transaction: the thread waits for more to do.
        while same < 10 {
            std::thread::sleep(Duration::from_millis(100));
            let now = self.running.written();
            same = if now.commits == before.commits {
                same + 1
            } else {
                0
            };
            if now.failures > 0 || now.lost > 0 {
                bail!("the store did not keep up: {now:?}");
            }
            before = now;
        }
        Ok(())
    }

    fn stop(self) -> store::Written {
        drop(self.writer);
        self.running.stop()
    }
}

fn scratch(name: &str) -> Result<PathBuf> {
    let folder = process::scratch()?.join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn monitors(arguments: &Arguments) -> usize {
    match arguments.monitors {
        Arguments::USUAL_MONITORS => MONITORS,
        said => said,
    }
}

/// The program with so many monitors every 30 seconds, between two ends of five minutes.
fn run(arguments: &Arguments) -> Result<Value> {
    eprintln!("run …");
    let folder = live::configured("store-run", monitors(arguments), 0, "30s")?;
    let mut live = Live::start(&folder, &live::plugins()?, Api::On)?;
    std::thread::sleep(Duration::from_secs(40));
    let clock = Clock::system();
    let span = u64::try_from(SPAN.as_millis())?;
    let needed = (arguments.seconds + 5) * 1_000;
    // What was summed up is written within seconds, and not while this is measured.
    while clock.wall().0 % span < 30_000 || clock.wall().0 % span + needed > span {
        std::thread::sleep(Duration::from_secs(1));
    }
    let mut client = live.client()?;
    let (before, cpu, since) = (client.lateness()?, live.cpu_of("store")?, clock.mono());
    std::thread::sleep(Duration::from_secs(arguments.seconds));
    live.check()?;
    let jobs = client.lateness()?.since(&before).count();
    let seconds = clock.mono().since(since).as_secs_f64();
    let used = live.cpu_of("store")?.saturating_sub(cpu);
    live.stop()?;
    std::fs::remove_dir_all(&folder)?;
    Ok(json!({
        "seconds": seconds,
        "jobs_per_second": jobs / seconds,
        "cpu_percent_of_a_core": 100.0 * used.as_secs_f64() / seconds,
    }))
}

fn keep(arguments: &Arguments) -> Result<()> {
    let monitors = monitors(arguments);
    let folder = scratch("store-keep")?;
    let settings = StoreSettings {
        history_fine: KEPT,
        ..StoreSettings::default()
    };
    let mut fed = Fed::open(&folder, monitors, settings)?;
    for _ in 0..FILL {
        fed.live(RATE)?;
        fed.turn()?;
    }
    let (before, bytes_before, since) = (fed.running.written(), written_bytes()?, fed.clock.mono());
    // The store's own figure is by the clock that is set by hand.
    let cpu = || process::cpu_of_threads(std::process::id(), "store");
    let cpu_before = cpu()?;
    let mut turns = Duration::ZERO;
    for _ in 0..MEASURED {
        fed.live(RATE)?;
        let lived = cpu()?;
        fed.turn()?;
        turns += cpu()?.saturating_sub(lived);
    }
    let used = cpu()?.saturating_sub(cpu_before).as_secs_f64();
    let (after, bytes_after) = (fed.running.written(), written_bytes()?);
    let seconds = fed.clock.mono().since(since).as_secs_f64();
    let checks = RATE as f64 * seconds;
    fed.stop();
    let size = std::fs::metadata(folder.join(DATABASE))?.len();
    let found = store::Inspected::open(&folder)?.check()?;
    if !found.is_well() {
        bail!("the database is not whole: {:?}", found.wrong);
    }
    std::fs::remove_dir_all(&folder)?;
    let per_row = size as f64 / found.history.max(1) as f64;
    let days = 86_400.0 / seconds;
    // What the defaults keep: two days by five minutes, 31 by the hour, 400 by the day.
    let usual = monitors as f64 * (2.0 * 288.0 + 31.0 * 24.0 + 400.0);
    arguments.report(&json!({
        "monitors": monitors,
        "checks_per_second": RATE,
        "seconds": seconds,
        "cpu_percent_of_a_core": 100.0 * used / seconds,
        "cpu_ns_per_check": used * 1e9 / checks,
        "cpu_seconds_at_the_end_of_a_span": turns.as_secs_f64() / MEASURED as f64,
        "rows_per_second": (after.rows - before.rows) as f64 / seconds,
        "written_gib_per_day": (bytes_after - bytes_before) as f64 * days / f64::from(1 << 30),
        "bytes_per_row": per_row,
        "new_gib_per_day": per_row * monitors as f64 * (288.0 + 24.0 + 1.0) / f64::from(1 << 30),
        "usual_gib": per_row * usual / f64::from(1 << 30),
    }))
}

/// What this process has had written to the disk.
fn written_bytes() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/io")?;
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    Ok(line.context("write_bytes in /proc/self/io")?.trim().parse()?)
}

fn start(rows: usize) -> Result<Value> {
    let folder = live::configured(
        &format!("store-start-{rows}"),
        rows - rows / TROUBLED,
        rows / TROUBLED,
        "30s",
    )?;
    let plugins = live::plugins()?;
    let empty = Live::start(&folder, &plugins, Api::On)?;
    let first = empty.ready;
    empty.stop()?;
    // Of monitors of other names; what is on record has its size, whoever it is of.
    let mut fed = Fed::open(&folder.join("data"), rows, StoreSettings::default())?;
    for _ in 0..HISTORY {
        fed.live(
            rows.div_ceil(usize::try_from(SPAN.as_secs())?)
                .next_multiple_of(RUNS),
        )?;
        fed.turn()?;
    }
    fed.stop();
    let mut troubled = Live::start(&folder, &plugins, Api::On)?;
    std::thread::sleep(TROUBLE_WITHIN);
    troubled.check()?;
    troubled.stop()?;
    let found = store::Inspected::open(&folder.join("data"))?.check()?;
    let mut ready = Vec::new();
    for _ in 0..STARTS {
        let live = Live::start(&folder, &plugins, Api::On)?;
        ready.extend(live.ready);
        live.stop()?;
    }
    ready.sort_unstable();
    let seconds = |span: Option<&Duration>| span.map(Duration::as_secs_f64);
    let size = std::fs::metadata(folder.join("data").join(DATABASE))?.len();
    std::fs::remove_dir_all(&folder)?;
    if found.open < (rows / TROUBLED / 2) as u64 {
        bail!(
            "only {} of {} episodes are on record",
            found.open,
            rows / TROUBLED
        );
    }
    Ok(json!({
        "monitors": rows,
        "history_rows": found.history,
        "in_trouble": found.monitors,
        "open_episodes": found.open,
        "database_mib": size as f64 / f64::from(1 << 20),
        "first_seconds": seconds(first.as_ref()),
        "ready_seconds": seconds(ready.get(STARTS / 2)),
        "ready_seconds_max": seconds(ready.last()),
    }))
}

fn print(result: &Value) -> Result<()> {
    let figure = |of: &Value, key: &str| {
        of[key]
            .as_f64()
            .with_context(|| format!("{key} was not measured"))
    };
    let (keep, run) = (&result["keep"], &result["run"]);
    println!(
        "{:48}{:>14.2}\n{:48}{:>14.2}\n",
        "running: checks a second",
        figure(run, "jobs_per_second")?,
        "running: CPU time of the store's thread (%)",
        figure(run, "cpu_percent_of_a_core")?
    );
    for (what, key) in [
        ("monitors", "monitors"),
        ("checks a second", "checks_per_second"),
        (
            "CPU time of the store's thread (% of a core)",
            "cpu_percent_of_a_core",
        ),
        ("CPU time per check (ns)", "cpu_ns_per_check"),
        (
            "CPU time when five minutes are over (s)",
            "cpu_seconds_at_the_end_of_a_span",
        ),
        ("rows written or deleted per second", "rows_per_second"),
        ("written to disk (GiB a day)", "written_gib_per_day"),
        ("new in the database (GiB a day)", "new_gib_per_day"),
        ("bytes per row", "bytes_per_row"),
        ("database with what is kept by default (GiB)", "usual_gib"),
    ] {
        println!("{what:48}{:>14.2}", figure(keep, key)?);
    }
    println!(
        "\n{:>10}{:>14}{:>12}{:>14}{:>12}{:>12}{:>12}",
        "monitors", "history rows", "in trouble", "database MiB", "first s", "ready s", "at most s"
    );
    for start in result["starts"].as_array().into_iter().flatten() {
        println!(
            "{:>10}{:>14}{:>12}{:>14.0}{:>12.2}{:>12.2}{:>12.2}",
            figure(start, "monitors")?,
            figure(start, "history_rows")?,
            figure(start, "in_trouble")?,
            figure(start, "database_mib")?,
            figure(start, "first_seconds")?,
            figure(start, "ready_seconds")?,
            figure(start, "ready_seconds_max")?,
        );
    }
    Ok(())
}

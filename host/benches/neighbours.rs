//! What strangers' plugins cost their neighbours: honest tenants alone, then beside hostile ones, in the same run.
//!
//! `cargo xtask bench neighbours [--seconds N] [--target-monitors N] [--json FILE]`. One host, three times in a row:
//! 1. `alone`: the honest monitors, 1,000 unless told otherwise, once a second each: four in five are the no-op
//!    component, one in five asks a server on loopback (another process) that answers after 50 ms;
//! 2. `beside`: the same, and five hostile tenants who run every case of `tests/guests/hostile.toml`, once a second each;
//! 3. `after`: the hostile ones are gone again; ten seconds later memory and descriptors are looked at.
//!
//! Who came to what, and how late, is seen between the workers and the scheduler: every result passes through here. Also
//! told, each in a part of its own: `budget`, how long a guest lives beyond its budget of CPU time and how soon its slot
//! is used again; `leaks`, two tenants who take turns in the same slots and look for what the other one left.

mod support;

use anyhow::{Result, bail};
use pulse_host::{
    clock::Clock,
    domain::{
        grant::{Grants, HostPattern, HttpGrant, Network, TcpGrant, UrlPattern},
        histogram::Histogram,
        host::HostSettings,
        job::{Job, JobKey, JobResult, MonitorId, Payload},
        limits::Limits,
        outcome::{Answer, Outcome, Status},
        spec::{Class, Kind, MonitorSpec, Profile},
        tenant::{Quotas, Tenant},
        time::Mono,
    },
    plugins::{self, Digest, Found},
    queue::{self, Bell},
    sandbox::{Executor, Library, Sandbox, Workers},
    scheduler::{Parts, Scheduler},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};
use support::{
    Arguments,
    hostile::{self, CHAOS, Case, Targets},
    process::{self, Figures},
    setup, target,
};

/// Time that caches, pools and the spread of first checks get before anything is measured.
const WARM_UP: Duration = Duration::from_secs(10);
const EVERY: Duration = Duration::from_secs(1);
const HOSTILE_TENANTS: usize = 5;
const HONEST_TENANTS: usize = 4;
/// Honest monitors, unless told otherwise.
const HONEST: usize = 1_000;
/// What the scheduler does between its runs, as in the host itself.
const RUN_GAP: Duration = Duration::from_millis(1);

fn main() -> Result<()> {
    let Some(mut arguments) = Arguments::parse()? else {
        return Ok(());
    };
    match arguments.subcommand.as_deref() {
        Some(target::SUBCOMMAND) => return target::serve(),
        Some("neighbours") => return neighbours(&arguments),
        Some("budget") => return budget(&arguments),
        Some("leaks") => return leaks(&arguments),
        Some(other) => bail!("there is no part `{other}`; there are neighbours, budget and leaks"),
        None => {}
    }
    arguments.monitors = arguments.target_monitors.unwrap_or(HONEST);
    let mut parts = serde_json::Map::new();
    for part in ["budget", "leaks", "neighbours"] {
        parts.insert(part.to_owned(), support::run_part(part, &arguments)?);
    }
    let result = Value::Object(parts);
    print(&result);
    arguments.write(&result)
}

/// The project's folder.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Guests that are written by hand, in their shell.
fn by_hand(name: &str) -> Result<Found> {
    let folder = root().join("tests/guests/wat");
    let core = std::fs::read_to_string(folder.join(format!("in-shell/{name}.wat")))?;
    let shell = std::fs::read_to_string(folder.join("shell.wat"))?;
    let bytes = wat::parse_str(shell.replacen("  ;; @guest\n", &core, 1))?;
    Ok(Found {
        path: format!("{name}.wasm").into(),
        manifest: None,
        digest: Digest::of(&bytes),
        bytes,
    })
}

/// The plugins of honest and hostile monitors.
fn load(host: &HostSettings, cases: &[Case], clock: &Clock) -> Result<(Arc<Sandbox>, Arc<Library>)> {
    let sandbox = Sandbox::new(setup::sandbox_settings(host)?, clock.clone())?;
    let mut found = Vec::new();
    for path in [
        support::guest("noop")?,
        support::guest(CHAOS)?,
        support::plugin("http")?,
    ] {
        found.push(plugins::read(&path).map_err(|problem| anyhow::anyhow!("{problem}"))?);
    }
    let mut names: Vec<&str> = cases.iter().map(|case| case.guest.as_str()).collect();
    names.retain(|name| *name != CHAOS);
    names.sort_unstable();
    names.dedup();
    for name in names {
        found.push(by_hand(name)?);
    }
    let (library, problems) = Library::load(&sandbox, found);
    if let Some(problem) = problems.first() {
        bail!("{problem}");
    }
    Ok((sandbox, Arc::new(library)))
}

/// Whose monitor it is, and what its checks must come to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Expected {
    Honest,
    Hostile { case: usize },
}

/// What came of somebody's checks.
#[derive(Default)]
struct Seen {
    lateness: Histogram,
    total: Histogram,
    results: u64,
    unhealthy: u64,
    /// Classes that were not what they should be, with the case.
    wrong: BTreeMap<(String, &'static str), u64>,
    hostile: u64,
    /// Of the hostile ones: not run, because they had to wait too long. Nothing was said about the guest.
    expired: u64,
    /// CPU time beyond the budget of those that were cut for it.
    beyond: Histogram,
}

struct Ledger {
    cases: Vec<Case>,
    who: HashMap<MonitorId, Expected>,
    seen: Seen,
}

impl Ledger {
    fn record(&mut self, result: &JobResult) {
        match self.who.get(&result.key.monitor) {
            Some(Expected::Honest) => {
                self.seen.results += 1;
                self.seen.lateness.record(result.started.since(result.due));
                self.seen.total.record(result.finished.since(result.due));
                let healthy = matches!(&result.outcome, Outcome::Answer(Answer::Pulse(report)) if report.status == Status::Healthy);
                if !healthy {
                    self.seen.unhealthy += 1;
                    let class = ("honest".to_owned(), result.outcome.class());
                    *self.seen.wrong.entry(class).or_default() += 1;
                }
            }
            Some(Expected::Hostile { case }) => {
                self.seen.hostile += 1;
                let Some(case) = self.cases.get(*case) else {
                    return;
                };
                let class = result.outcome.class();
                if let Outcome::OutOfCpu { limit } = result.outcome {
                    self.seen.beyond.record(result.usage.cpu.saturating_sub(limit));
                }
                if result.outcome == Outcome::Expired {
                    self.seen.expired += 1;
                } else if class != case.class {
                    *self.seen.wrong.entry((case.name.clone(), class)).or_default() += 1;
                }
            }
            None => {}
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Servers that hostile guests talk to.
fn targets() -> Result<(Targets, TcpListener)> {
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let address = silent.local_addr()?;
    std::thread::spawn(move || {
        // Holds the latest few hundred; who was dropped before has long timed out.
        let mut held = std::collections::VecDeque::new();
        for stream in silent.incoming().flatten() {
            held.push_back(stream);
            if held.len() > 256 {
                held.pop_front();
            }
        }
    });
    // The port is ours on another address, so that nobody listens on this one.
    let refusing = TcpListener::bind("127.0.0.2:0")?;
    let refused: SocketAddr = ([127, 0, 0, 1], refusing.local_addr()?.port()).into();
    Ok((
        Targets {
            silent: address,
            refused,
        },
        refusing,
    ))
}

fn any_on_loopback() -> Grants {
    let mut grants = Grants {
        http: vec![HttpGrant::Pattern(UrlPattern {
            scheme: "http".into(),
            host: HostPattern::Any,
            port: None,
        })],
        tcp: vec![TcpGrant::Pattern {
            host: HostPattern::Any,
            port: None,
        }],
        ..Grants::default()
    };
    grants.networks.insert(Network::Loopback);
    grants
}

fn tenant(name: &str) -> Arc<Tenant> {
    Arc::new(Tenant::new(name, Quotas::default()))
}

fn honest(count: usize, server: &target::Server) -> Vec<MonitorSpec> {
    let noop = setup::profile("noop", Grants::default(), 0);
    let http = setup::profile("http", setup::own_url_on_loopback(), 0);
    let mut monitors = Vec::new();
    for of in 0..HONEST_TENANTS {
        let tenant = tenant(&format!("honest-{of}"));
        let class = |profile: &Arc<Profile>| {
            Arc::new(Class {
                tenant: Arc::clone(&tenant),
                ..setup::class(profile, "{}", Duration::from_secs(5), EVERY)
            })
        };
        let (computes, asks) = (class(&noop), class(&http));
        for number in (of..count).step_by(HONEST_TENANTS) {
            let name = format!("monitor-{number}");
            monitors.push(if number % 5 == 0 {
                let url = json!({ "url": format!("http://{}/ok", server.address(number)) });
                MonitorSpec::new(Arc::clone(&asks), None, &name, Some(&url.to_string()))
            } else {
                MonitorSpec::new(Arc::clone(&computes), None, &name, None)
            });
        }
    }
    monitors
}

fn hostile(cases: &[Case], targets: &Targets) -> Vec<MonitorSpec> {
    let mut monitors = Vec::new();
    for of in 0..HOSTILE_TENANTS {
        let tenant = tenant(&format!("hostile-{of}"));
        for (number, case) in cases.iter().enumerate() {
            let grants = if case.reaches_loopback() {
                any_on_loopback()
            } else {
                Grants::default()
            };
            let profile = setup::profile_within(case.limits(), &case.guest, grants, 0);
            let timeout = case.timeout().unwrap_or(Duration::from_secs(20));
            let class = Class {
                tenant: Arc::clone(&tenant),
                ..setup::class(&profile, &case.settings(targets), timeout, EVERY)
            };
            monitors.push(MonitorSpec::new(
                Arc::new(class),
                None,
                &format!("case-{number}"),
                None,
            ));
        }
    }
    monitors
}

/// What the scheduler's thread is told to do.
enum Order {
    Reload(Vec<MonitorSpec>),
    Stop,
}

/// The whole host, with every result in view.
struct Host {
    orders: mpsc::Sender<Order>,
    bell: Arc<Bell>,
    ledger: Arc<Mutex<Ledger>>,
    stats: pulse_host::scheduler::stats::Stats,
    scheduler: std::thread::JoinHandle<()>,
    workers: Workers,
    watching: Arc<AtomicBool>,
}

impl Host {
    fn start(cases: Vec<Case>, monitors: Vec<MonitorSpec>, clock: &Clock) -> Result<Self> {
        let mut settings = HostSettings::new(process::scratch()?);
        // It would send the hostile ones away.
        settings.quarantine = None;
        settings.maxima = Limits {
            fuel: u64::MAX >> 1,
            cpu: Duration::from_secs(60),
            memory_bytes: 64 << 20,
        };
        let (sandbox, library) = load(&settings, &cases, clock)?;
        let (outlets, inlets) = queue::channels(&settings.queues);
        let most: usize = [Kind::Pulse, Kind::Intervention, Kind::Code]
            .iter()
            .map(|kind| settings.queues.get(*kind))
            .map(|queue| queue.in_flight + queue.capacity)
            .sum();
        let (sender, seen, _) = queue::results(most);
        let (pass_on, results, bell) = queue::results(most);
        let (events, _listener) = async_channel::bounded(1);
        let parts = Parts {
            monitors,
            host_entry: None,
            settings: settings.clone(),
            outlets,
            results,
            events,
            workers: pulse_host::sandbox::worker_count(&settings).get(),
            clock: clock.clone(),
        };
        let workers = Workers::start(sandbox, library, inlets, sender, &settings, clock.clone())?;
        let ledger = Arc::new(Mutex::new(Ledger {
            cases,
            who: HashMap::new(),
            seen: Seen::default(),
        }));
        let watching = Arc::new(AtomicBool::new(true));
        {
            let (ledger, watching) = (Arc::clone(&ledger), Arc::clone(&watching));
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build();
                while watching.load(Ordering::Relaxed) {
                    let Some(results) = seen.try_recv() else {
                        std::thread::sleep(Duration::from_micros(200));
                        continue;
                    };
                    {
                        let mut ledger = lock(&ledger);
                        results.iter().for_each(|result| ledger.record(result));
                    }
                    if let Ok(runtime) = &runtime {
                        runtime.block_on(pass_on.send(results));
                    }
                }
            });
        }
        let (orders, taken) = mpsc::channel();
        let mut scheduler = Scheduler::new(parts);
        let stats = scheduler.stats();
        let (ringing, clock, known) = (Arc::clone(&bell), clock.clone(), Arc::clone(&ledger));
        known_monitors(&scheduler, &known);
        let scheduler = std::thread::spawn(move || {
            ringing.attend();
            loop {
                let started = clock.mono();
                match taken.try_recv() {
                    Ok(Order::Reload(monitors)) => {
                        scheduler.reload(monitors, None);
                        known_monitors(&scheduler, &known);
                    }
                    Ok(Order::Stop) | Err(mpsc::TryRecvError::Disconnected) => return,
                    Err(mpsc::TryRecvError::Empty) => {}
                }
                let next = scheduler.run();
                std::thread::sleep(RUN_GAP.saturating_sub(clock.mono().since(started)));
                let now = clock.mono();
                if !ringing.answer() && next > now {
                    std::thread::park_timeout(next.since(now));
                    ringing.answer();
                }
            }
        });
        Ok(Self {
            orders,
            bell,
            ledger,
            stats,
            scheduler,
            workers,
            watching,
        })
    }

    fn reload(&self, monitors: Vec<MonitorSpec>) -> Result<()> {
        self.orders.send(Order::Reload(monitors))?;
        self.bell.ring();
        Ok(())
    }

    /// Watches for a while, after a warm-up.
    fn watch(&self, seconds: u64) -> Result<Value> {
        std::thread::sleep(WARM_UP);
        lock(&self.ledger).seen = Seen::default();
        let (before, figures) = (self.stats.snapshot(), Figures::now()?);
        std::thread::sleep(Duration::from_secs(seconds));
        let (after, used) = (self.stats.snapshot(), Figures::now()?.since(&figures));
        let seen = std::mem::take(&mut lock(&self.ledger).seen);
        let ms = |histogram: &Histogram, quantile: f64| histogram.quantile(quantile).as_secs_f64() * 1e3;
        let wrong: Vec<Value> = seen
            .wrong
            .iter()
            .map(|((case, class), count)| json!({"case": case, "class": class, "count": count}))
            .collect();
        Ok(json!({
            "honest": {
                "checks": seen.results,
                "not_healthy": seen.unhealthy,
                "lateness_p50_ms": ms(&seen.lateness, 0.5),
                "lateness_p99_ms": ms(&seen.lateness, 0.99),
                "lateness_p999_ms": ms(&seen.lateness, 0.999),
                "total_p99_ms": ms(&seen.total, 0.99),
            },
            "hostile": {
                "executions": seen.hostile,
                "expired": seen.expired,
                "beyond_cpu_budget_p99_ms": ms(&seen.beyond, 0.99),
            },
            "wrong": wrong,
            "lost": after.kinds.pulse.lost - before.kinds.pulse.lost,
            "skipped_slots": after.skipped_slots - before.skipped_slots,
            "cpu_cores": used.cpu.as_secs_f64() / seconds as f64,
            "rss_bytes": used.rss_bytes,
            "descriptors": descriptors()?,
        }))
    }

    fn stop(self) -> Result<()> {
        self.orders.send(Order::Stop)?;
        self.bell.ring();
        let _ = self.scheduler.join();
        let _ = self.workers.stop(Duration::from_secs(10));
        self.watching.store(false, Ordering::Relaxed);
        Ok(())
    }
}

/// Notes whose results are to come.
fn known_monitors(scheduler: &Scheduler, ledger: &Mutex<Ledger>) {
    let mut ledger = lock(ledger);
    ledger.who.clear();
    for id in scheduler.monitors() {
        let Some(view) = scheduler.view(id) else {
            continue;
        };
        let spec = view.spec();
        let case = spec
            .name()
            .strip_prefix("case-")
            .and_then(|number| number.parse().ok());
        let expected = case.map_or(Expected::Honest, |case| Expected::Hostile { case });
        ledger.who.insert(id, expected);
    }
}

fn descriptors() -> Result<usize> {
    Ok(std::fs::read_dir("/proc/self/fd")?.count())
}

fn neighbours(arguments: &Arguments) -> Result<()> {
    let count = arguments.monitors;
    let clock = Clock::system();
    let cases = hostile::table(root())?;
    let server = target::start()?;
    let (targets, _refusing) = targets()?;
    let good = honest(count, &server);
    let bad = hostile(&cases, &targets);
    let (hostile_monitors, kinds) = (bad.len(), cases.len());
    let host = Host::start(cases, good.clone(), &clock)?;
    let alone = host.watch(arguments.seconds)?;
    host.reload(good.iter().cloned().chain(bad).collect())?;
    let beside = host.watch(arguments.seconds)?;
    host.reload(good)?;
    std::thread::sleep(Duration::from_secs(10));
    let after = json!({"rss_bytes": process::rss_bytes()?, "descriptors": descriptors()?});
    host.stop()?;
    arguments.report(&json!({
        "honest_monitors": count,
        "hostile_monitors": hostile_monitors,
        "cases": kinds,
        "alone": alone,
        "beside": beside,
        "after": after,
    }))
}

/// A job of that profile that is due now.
fn job(clock: &Clock, spec: &MonitorSpec) -> Job {
    let now = clock.mono();
    Job {
        key: JobKey {
            monitor: MonitorId(0),
            kind: Kind::Pulse,
            sink: 0,
            attempt: 1,
        },
        due: now,
        due_wall: clock.wall(),
        expires: Mono::NEVER,
        sent: now,
        spec: spec.clone(),
        payload: Payload::Pulse,
    }
}

/// A pulse of that guest for that tenant.
fn monitor(
    tenant: &Arc<Tenant>,
    guest: &str,
    settings: &str,
    limits: Limits,
    reuse: u32,
    timeout: Duration,
) -> MonitorSpec {
    let profile = setup::profile_within(limits, guest, Grants::default(), reuse);
    let class = Class {
        tenant: Arc::clone(tenant),
        ..setup::class(&profile, settings, timeout, EVERY)
    };
    MonitorSpec::new(Arc::new(class), None, "monitor", None)
}

/// So many slots, and these guests.
fn in_slots(slots: u32, found: Vec<Found>, clock: &Clock) -> Result<(Arc<Sandbox>, Arc<Library>)> {
    let mut settings = setup::sandbox_settings(&HostSettings::new(process::scratch()?))?;
    settings.engines = std::num::NonZeroUsize::MIN;
    settings.slots = slots;
    let sandbox = Sandbox::new(settings, clock.clone())?;
    let (library, problems) = Library::load(&sandbox, found);
    match problems.first() {
        Some(problem) => bail!("{problem}"),
        None => Ok((sandbox, Arc::new(library))),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}

/// How long a guest goes on beyond its budget of CPU time, and how soon after a deadline its slot does another job.
fn budget(arguments: &Arguments) -> Result<()> {
    const RUNS: usize = 500;
    let clock = Clock::system();
    let chaos = plugins::read(&support::guest(CHAOS)?).map_err(|problem| anyhow::anyhow!("{problem}"))?;
    let (sandbox, library) = in_slots(1, vec![chaos], &clock)?;
    let tenant = tenant("hostile");
    let limits = Limits {
        fuel: u64::MAX >> 1,
        cpu: Duration::from_millis(30),
        memory_bytes: 32 << 20,
    };
    let long = Duration::from_secs(20);
    let spins = monitor(&tenant, CHAOS, r#"{"do":"spin"}"#, limits, 0, long);
    let sleeps = monitor(
        &tenant,
        CHAOS,
        r#"{"do":"sleep","ms":100000}"#,
        limits,
        0,
        Duration::from_millis(20),
    );
    let healthy = monitor(&tenant, CHAOS, r#"{"do":"healthy"}"#, limits, 0, long);
    let (mut beyond, mut usable) = (Histogram::default(), Histogram::default());
    runtime()?.block_on(async {
        let executor = Executor::new(sandbox, library);
        for _ in 0..RUNS {
            let result = executor.execute(job(&clock, &spins)).await;
            if !matches!(result.outcome, Outcome::OutOfCpu { .. }) {
                bail!("{:?}", result.outcome);
            }
            beyond.record(result.finished.since(result.started).saturating_sub(limits.cpu));
            let result = executor.execute(job(&clock, &sleeps)).await;
            if result.outcome != Outcome::Deadline {
                bail!("{:?}", result.outcome);
            }
            // The only slot there is.
            loop {
                let next = executor.execute(job(&clock, &healthy)).await;
                if matches!(next.outcome, Outcome::Answer(_)) {
                    usable.record(next.finished.since(result.finished));
                    break;
                }
            }
        }
        Ok(())
    })?;
    let ms = |histogram: &Histogram, quantile: f64| histogram.quantile(quantile).as_secs_f64() * 1e3;
    arguments.report(&json!({
        "runs": RUNS,
        "beyond_cpu_budget_p50_ms": ms(&beyond, 0.5),
        "beyond_cpu_budget_p99_ms": ms(&beyond, 0.99),
        "slot_used_again_p50_ms": ms(&usable, 0.5),
        "slot_used_again_p99_ms": ms(&usable, 0.99),
    }))
}

/// Two tenants take turns in two slots, first with fresh instances, then with ones that each uses twice. Each marks memory, table and a global, and looks for marks first.
fn leaks(arguments: &Arguments) -> Result<()> {
    const CYCLES: usize = 1_000_000;
    let clock = Clock::system();
    // The canary of the tests, over 256 KiB instead of 4 MiB: a million times.
    let folder = root().join("tests/guests/wat");
    let core = std::fs::read_to_string(folder.join("in-shell/canary.wat"))?;
    let small = core
        .replace("0x410000", "0x50000")
        .replace("0x400000", "0x40000")
        .replace("\"memory\") 65", "\"memory\") 5");
    let shell = std::fs::read_to_string(folder.join("shell.wat"))?;
    let bytes = wat::parse_str(shell.replacen("  ;; @guest\n", &small, 1))?;
    let found = Found {
        path: "canary.wasm".into(),
        manifest: None,
        digest: Digest::of(&bytes),
        bytes,
    };
    let (sandbox, library) = in_slots(2, vec![found], &clock)?;
    let mut seen = 0_u64;
    let mut cycles = 0_u64;
    runtime()?.block_on(async {
        let executor = Executor::new(sandbox, library);
        for reuse in [0, 2] {
            let tenants = ["acme", "globex"].map(|name| {
                monitor(
                    &tenant(name),
                    "canary",
                    "{}",
                    Limits::default(),
                    reuse,
                    Duration::from_secs(20),
                )
            });
            for cycle in 0..CYCLES / 2 {
                let Some(spec) = tenants.get(cycle % 2) else {
                    continue;
                };
                let result = executor.execute(job(&clock, spec)).await;
                let Outcome::Answer(Answer::Pulse(report)) = &result.outcome else {
                    bail!("{:?}", result.outcome);
                };
                // An instance that one tenant uses twice finds its own marks the second time; nobody finds another's.
                let own = reuse > 0 && cycle / 2 % 2 == 1;
                if (report.status == Status::Healthy) == own {
                    seen += 1;
                }
                cycles += 1;
            }
        }
        Ok(())
    })?;
    arguments.report(&json!({"cycles": cycles, "marks_of_others_seen": seen}))
}

fn print(result: &Value) {
    let text = |path: &str| match result.pointer(path) {
        Some(Value::Number(number)) => number.as_f64().map_or_else(
            || "-".to_owned(),
            |number| {
                if number.fract() == 0.0 {
                    format!("{number}")
                } else {
                    format!("{number:.2}")
                }
            },
        ),
        _ => "-".to_owned(),
    };
    println!("{:<44}{:>14}{:>14}", "", "alone", "beside");
    for (what, key) in [
        ("honest checks", "honest/checks"),
        ("of them not healthy", "honest/not_healthy"),
        ("lost", "lost"),
        ("lateness p50 (ms)", "honest/lateness_p50_ms"),
        ("lateness p99 (ms)", "honest/lateness_p99_ms"),
        ("lateness p99.9 (ms)", "honest/lateness_p999_ms"),
        ("due to finished p99 (ms)", "honest/total_p99_ms"),
        ("hostile executions", "hostile/executions"),
        ("of them not run in time", "hostile/expired"),
        ("beyond CPU budget p99 (ms)", "hostile/beyond_cpu_budget_p99_ms"),
        ("cores used", "cpu_cores"),
        ("RSS (bytes)", "rss_bytes"),
        ("descriptors", "descriptors"),
    ] {
        let of = |part: &str| text(&format!("/neighbours/{part}/{key}"));
        println!("{what:<44}{:>14}{:>14}", of("alone"), of("beside"));
    }
    println!();
    for (what, path) in [
        ("ten seconds after: RSS (bytes)", "/neighbours/after/rss_bytes"),
        ("ten seconds after: descriptors", "/neighbours/after/descriptors"),
        (
            "alone: beyond CPU budget p99 (ms)",
            "/budget/beyond_cpu_budget_p99_ms",
        ),
        (
            "slot used again after a deadline p99 (ms)",
            "/budget/slot_used_again_p99_ms",
        ),
        ("cycles of two tenants in two slots", "/leaks/cycles"),
        (
            "of them that saw the other's marks",
            "/leaks/marks_of_others_seen",
        ),
    ] {
        println!("{what:<58}{:>14}", text(path));
    }
    let wrong = result
        .pointer("/neighbours/beside/wrong")
        .and_then(Value::as_array);
    for each in wrong.into_iter().flatten() {
        println!("misclassified: {each}");
    }
}

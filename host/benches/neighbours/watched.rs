//! The whole host, with every result in view on its way from the workers to the scheduler.

use super::{
    crowd,
    support::{
        hostile::Case,
        process::{self, Figures},
    },
};
use anyhow::Result;
use pulse_host::{
    clock::Clock,
    domain::{
        histogram::Histogram,
        host::HostSettings,
        job::{JobResult, MonitorId},
        limits::Limits,
        outcome::{Answer, Outcome, Status},
        spec::{Kind, MonitorSpec},
    },
    queue::{self, Bell},
    sandbox::{Shelf, Workers},
    scheduler::{Parts, Scheduler},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};
/// Time that caches, pools and the spread of first checks get before anything is measured.
const WARM_UP: Duration = Duration::from_secs(10);
/// What the scheduler does between its runs, as in the host itself.
const RUN_GAP: Duration = Duration::from_millis(1);

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

/// What the scheduler's thread is told to do.
enum Order {
    Reload(Vec<MonitorSpec>),
    Stop,
}

/// The whole host, with every result in view.
pub struct Host {
    orders: mpsc::Sender<Order>,
    bell: Arc<Bell>,
    ledger: Arc<Mutex<Ledger>>,
    stats: pulse_host::scheduler::stats::Stats,
    scheduler: std::thread::JoinHandle<()>,
    workers: Workers,
    watching: Arc<AtomicBool>,
}

impl Host {
    pub fn start(cases: Vec<Case>, monitors: Vec<MonitorSpec>, clock: &Clock) -> Result<Self> {
        let mut settings = HostSettings::new(process::scratch()?);
        // It would send the hostile ones away.
        settings.quarantine = None;
        settings.maxima = Limits {
            fuel: u64::MAX >> 1,
            cpu: Duration::from_secs(60),
            memory_bytes: 64 << 20,
        };
        let (sandbox, library) = crowd::load(&settings, &cases, clock)?;
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
            ledger: None,
            workers: pulse_host::sandbox::worker_count(&settings).get(),
            clock: clock.clone(),
        };
        let workers = Workers::start(
            sandbox,
            Shelf::new(library),
            inlets,
            sender,
            &settings,
            clock.clone(),
        )?;
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

    pub fn reload(&self, monitors: Vec<MonitorSpec>) -> Result<()> {
        self.orders.send(Order::Reload(monitors))?;
        self.bell.ring();
        Ok(())
    }

    /// Watches for a while, after a warm-up.
    pub fn watch(&self, seconds: u64) -> Result<Value> {
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

    pub fn stop(self) -> Result<()> {
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

/// Open descriptors of this process.
pub fn descriptors() -> Result<usize> {
    Ok(std::fs::read_dir("/proc/self/fd")?.count())
}

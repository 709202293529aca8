//! The running host: workers, scheduler and what they say, from start to drain.

use super::{
    deadman, heartbeat,
    load::Prepared,
    lock,
    managed::Estate,
    otlp::Tracing,
    punctual::Punctual,
    reload::{Reloader, Seen, Suspect, deal},
    supervisor::Supervisor,
    tenants, traces, watch,
};
use crate::{
    clock::Clock,
    domain::{
        access::HttpSettings,
        board::{Board, Seat},
        event::Event,
        host::{HostSettings, PerKind},
        saved::{MonitorKey, Recalled},
        spec::{Kind, MonitorSpec},
        tenant::Roster,
    },
    http::{
        self, Listening, Server,
        tokens::{self, Door, DoorPlate, Tokens},
    },
    journal::{self, counted},
    ledger::{self, Keeper},
    operate::{
        beats::Beats,
        directory::{self, Directory},
        exports::Exports,
        managed::Book,
        orders::Orders,
        reloads::Reloads,
        series::Series,
        terms::Terms,
    },
    queue::{self, Bell, Inlet, ResultSender},
    sandbox::{self, Library, Prober, Sandbox, Shelf, Workers},
    scheduler::{Parts, Running, Scheduler, Unfinished, ledger::Recollection, stats::Stats},
    store::{self, Store, Written},
};
use anyhow::{Context as _, Result, anyhow};
use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{sync::mpsc, task::AbortHandle};

/// Events that may wait for the journal; beyond that they are dropped and counted.
const EVENTS_MAX: usize = 16 * 1024;
/// Monitors that were in trouble and are not configured any more, of which a line of the log tells.
const ORPHANS_SHOWN_MAX: usize = 20;

/// Where to listen, whatever the configuration says.
#[derive(Clone, Copy, Debug)]
pub enum Listen {
    /// There.
    At(SocketAddr),
    /// Nowhere.
    Nowhere,
}

/// Watches and heals until Ctrl-C or SIGTERM.
///
/// # Errors
/// When threads, signals or the runtime can't be had.
pub fn run(mut prepared: Prepared, listen: Option<Listen>) -> Result<()> {
    let Prepared {
        config,
        library,
        gate,
        clock,
        ..
    } = &prepared;
    if !config.warnings.is_empty() {
        tracing::warn!("{}", config.warnings.render(false));
    }
    tenants::announce(&config.tenants, clock.wall());
    let grants = config
        .profiles
        .iter()
        .map(|(name, profile)| (name.clone(), Arc::clone(&profile.grants)));
    lock::announce(gate, library, &config.host, &grants.collect());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime of the main thread could not be started")?;
    let data_dir = config.host.data_dir.clone();
    let store = match config.host.store.enabled {
        true => Some(Store::open(&data_dir, config.host.store, clock.clone())?),
        false => None,
    };
    let said = store.as_ref().map(Store::said).transpose()?;
    let kept = store.as_ref().map(Store::managed).transpose()?;
    let orders = Orders::new(said, clock.clone());
    orders.configure(config.windows());
    // Behind the store, which lets one process only into the data directory.
    let front = Front::open(&config.host, listen)?;
    let tenants = Roster::new(prepared.tenants());
    let supervisor = Supervisor::of_environment(&prepared.clock);
    // Signals are caught before the first check runs, and before it is said that they are, so that no early Ctrl-C kills
    // it half-way.
    let ended = runtime.block_on(async {
        let stop = stop_signal()?;
        let hangup = watch::hangup()?;
        let config = &prepared.config;
        tracing::info!(
            "pulse-host {}: {} from {}, {}; Ctrl-C stops it",
            env!("CARGO_PKG_VERSION"),
            counted(config.monitors.len() as u64, "monitor"),
            prepared.config_path.display(),
            counted(prepared.library.iter().count() as u64, "plugin")
        );
        tracing::info!("{}", prepared.ceilings);
        let plan = Plan {
            settings: config.host.clone(),
            monitors: std::mem::take(&mut prepared.config.monitors),
            host_entry: prepared.config.host_entry.clone(),
            store,
            orders: orders.clone(),
        };
        let (sandbox, library) = (Arc::clone(&prepared.sandbox), Arc::clone(&prepared.library));
        let clock = prepared.clock.clone();
        match traces::Traces::start(&data_dir, clock.clone()) {
            Ok(traces) => sandbox.kept_by(traces),
            Err(error) => tracing::warn!("no traces of incidents will be kept: {error}"),
        }
        let exports = Exports::default();
        let traced = prepared
            .config
            .host
            .otlp
            .clone()
            .map(|settings| Tracing::start(&settings, exports.clone()))
            .transpose()?;
        if let Some(traced) = &traced {
            sandbox.collected_by(traced.collector());
        }
        let switches = Arc::clone(sandbox.switches());
        let mut host = Host::start(sandbox, library, plan, clock.clone())?;
        let seen = Seen {
            directory: directory::Shelf::default(),
            orders: orders.clone(),
            tokens: front.as_ref().map_or_else(
                || Arc::new(Tokens::new(&[], "")),
                |front| Arc::clone(&front.tokens),
            ),
            reloads: Reloads::since(clock.wall()),
            terms: Terms::default(),
            series: Series::default(),
            supervisor: supervisor.clone(),
        };
        seen.terms.replace(deal(&prepared.config));
        let book = Book::default();
        let (changes, changed) = mpsc::channel(http::change::CHANGES_MAX);
        let changes = kept.is_some().then_some(changes);
        let estate = Estate::begin(&mut prepared, kept, book.clone());
        let places = std::mem::take(&mut prepared.config.places);
        let beats = Beats::default();
        let heartbeat = prepared.config.host.heartbeat.clone();
        let (wishes, wished) = mpsc::channel(http::WISHES_MAX);
        let feed = http::Feed::default();
        let served = match front {
            None => None,
            Some(front) => {
                let prober = Prober::start(Arc::clone(&prepared.sandbox), Arc::clone(&host.shelf))
                    .context("the thread that runs probes could not be started")?;
                let parts = http::Parts {
                    settings: front.settings,
                    tokens: Arc::clone(&seen.tokens),
                    clock: clock.clone(),
                    board: Arc::clone(&host.board),
                    directory: seen.directory.clone(),
                    orders: orders.clone(),
                    beats: beats.clone(),
                    exports: exports.clone(),
                    switches: Arc::clone(&switches),
                    control: host.scheduler.control(),
                    stats: host.stats(),
                    tenants: tenants.clone(),
                    plugins: Arc::clone(&host.shelf),
                    reloads: seen.reloads.clone(),
                    records: host.store.as_ref().map(store::Running::reader),
                    written: host.store.as_ref().map(store::Running::figures),
                    terms: seen.terms.clone(),
                    series: seen.series.clone(),
                    feed: feed.clone(),
                    prober: Some(prober),
                    wishes,
                    book,
                    changes,
                };
                Some((Server::start(front.listening, parts)?, front.plate))
            }
        };
        // Beside what runs already.
        let (shown, monitors, seats) = (
            seen.clone(),
            std::mem::take(&mut host.monitors),
            std::mem::take(&mut host.seats),
        );
        let (metrics, control) = (prepared.config.metrics.clone(), host.scheduler.control());
        let list = move || {
            let directory = Directory::new(&monitors, &seats).written(places);
            shown.choose(&directory, &metrics, &control);
            shown.directory.replace(directory);
        };
        tokio::task::spawn_blocking(list)
            .await
            .context("the directory of monitors could not be made")?;
        if let Some((server, _)) = &served {
            server.filled();
        }
        let kept = orders.keep(
            seen.directory.clone(),
            Arc::clone(&host.board),
            host.scheduler.control(),
        );
        let kept = tokio::spawn(kept);
        let heard = host
            .heard
            .take()
            .map(|heard| Arc::new(deadman::Recorder::new(heard, Arc::clone(&switches))));
        let recorder = heard.clone().map(|heard| tokio::spawn(heard.keep()));
        let (suspicion, suspects) = mpsc::channel(watch::SUSPECTS_MAX);
        let reloader = Reloader::new(
            &prepared,
            Arc::clone(&host.shelf),
            host.scheduler.control(),
            tenants.clone(),
            seen,
            estate,
        );
        let since = prepared.since;
        // What was read of the configuration is the scheduler's now.
        drop(prepared);
        let reloads = tokio::spawn(watch::serve(
            reloader,
            since,
            Arc::clone(&host.shelf),
            hangup,
            suspects,
            wished,
            changed,
        ));
        let company = Punctual::new(host.stats(), clock.clone());
        let company = tokio::spawn(supervisor.clone().accompany(company));
        let heart = heartbeat.map(|settings| {
            let company = Punctual::new(host.stats(), clock.clone());
            tokio::spawn(heartbeat::beat(settings, company, beats))
        });
        let figures = tokio::spawn(tenants::leave_figures(data_dir, tenants.clone(), clock));
        let collector = traced.as_ref().map(Tracing::collector);
        let hear = move |event: &Event| {
            feed.tell(event);
            if let Some(collector) = &collector {
                collector.hear(event);
            }
            // One that finds no room comes again with its next quarantine.
            let _ = Suspect::of(&event.fact).map(|suspect| suspicion.try_send(suspect));
        };
        let stop = async {
            let signal = stop.await;
            supervisor.stopping();
            signal
        };
        let ended = host
            .serve(
                tenants,
                hear,
                stop,
                reloads.abort_handle(),
                served.as_ref().map(|(server, _)| server),
            )
            .await;
        figures.abort();
        kept.abort();
        if let Some(heart) = heart {
            heart.abort();
        }
        company.abort();
        if let Some(traced) = traced {
            traced.stop().await;
        }
        if let Some((server, plate)) = served {
            server.stop();
            drop(plate);
        }
        if let Some(recorder) = recorder {
            recorder.abort();
        }
        if let Some(heard) = heard {
            heard.write();
        }
        ended
    });
    // Dropping it would wait for the drain, which a second signal has called off.
    runtime.shutdown_background();
    ended?.report();
    Ok(())
}

/// What the API needs before anything runs.
struct Front {
    settings: HttpSettings,
    listening: Listening,
    tokens: Arc<Tokens>,
    /// Tells the subcommands of this machine how to get in. None: it could not be written.
    plate: Option<DoorPlate>,
}

impl Front {
    /// Listens, if that is wanted.
    fn open(settings: &HostSettings, listen: Option<Listen>) -> Result<Option<Self>> {
        let mut http = settings.http.clone();
        match listen {
            Some(Listen::At(address)) => http.listen = Some(address),
            Some(Listen::Nowhere) => http.listen = None,
            None => {}
        }
        let Some(listening) = Listening::bind(&http)? else {
            return Ok(None);
        };
        let local = tokens::fresh().context("no token could be made")?;
        let address = listening.address;
        let door = Door::new(address, listening.is_tls(), &local);
        let plate = door
            .put_up(&settings.data_dir)
            .inspect_err(|error| {
                tracing::warn!(
                    "{}: how to reach this host can't be written there, so that its subcommands need --url and --token: {error}",
                    settings.data_dir.display()
                );
            })
            .ok();
        tracing::info!("API and metrics: {}", door.url);
        if !address.ip().is_loopback() && !listening.is_tls() {
            tracing::warn!(
                "{address} can be reached from other machines, without TLS: tokens are readable on their way; `cert` and `key` in [host.http] change that"
            );
        }
        Ok(Some(Self {
            tokens: Arc::new(Tokens::new(&http.tokens, &local)),
            settings: http,
            listening,
            plate,
        }))
    }
}

/// What is to be watched, and how.
pub struct Plan {
    /// The host's settings.
    pub settings: HostSettings,
    /// The monitors.
    pub monitors: Vec<MonitorSpec>,
    /// Whose sinks hear that the prober itself is in trouble.
    pub host_entry: Option<MonitorSpec>,
    /// What is remembered over a restart, and where; none: nothing is.
    pub store: Option<Store>,
    /// What operators say of monitors.
    pub orders: Orders,
}

/// A running host.
pub struct Host {
    scheduler: Running,
    shelf: Arc<Shelf>,
    workers: Workers,
    store: Option<store::Running>,
    events: async_channel::Receiver<Event>,
    clock: Clock,
    drain: Duration,
    board: Arc<Board>,
    /// Where heartbeats are put on record.
    heard: Option<store::Beats>,
    /// Those of the plan, in its order, for whoever lists them.
    monitors: Vec<MonitorSpec>,
    /// Theirs.
    seats: Vec<Seat>,
}

impl Host {
    /// Starts workers, scheduler and store.
    ///
    /// # Errors
    /// When the operating system gives no threads, or the store can't be read.
    pub fn start(sandbox: Arc<Sandbox>, library: Arc<Library>, plan: Plan, clock: Clock) -> Result<Self> {
        let settings = plan.settings;
        // Each is a handle.
        let monitors = plan.monitors.clone();
        let switches = Arc::clone(sandbox.switches());
        let wiring = Wiring::new(
            &settings,
            plan.monitors,
            plan.host_entry,
            plan.store.is_some(),
            clock.clone(),
        );
        let shelf = Shelf::new(library);
        let workers = Workers::start(
            sandbox,
            Arc::clone(&shelf),
            wiring.inlets,
            wiring.results,
            &settings,
            clock.clone(),
        )
        .context("the workers could not be started")?;
        let mut scheduler = Scheduler::new(wiring.parts);
        let (board, seats) = (scheduler.board(), scheduler.take_seats());
        let (store, heard) = match plan.store.zip(wiring.keeper) {
            Some((store, keeper)) => {
                let recalled = store.recall()?;
                let heard = deadman::begin(&switches, &store, &recalled, &monitors, &clock)?;
                let store = remember(store, recalled, keeper, &mut scheduler, &clock)?;
                (Some(store), Some(heard))
            }
            None => {
                switches.configure(&monitors, clock.now());
                (None, None)
            }
        };
        plan.orders.begin(&mut scheduler, &monitors, &seats);
        let scheduler =
            Running::start(scheduler, wiring.bell).context("the scheduler's thread could not be started")?;
        Ok(Self {
            scheduler,
            shelf,
            workers,
            store,
            events: wiring.events,
            clock,
            drain: settings.drain,
            board,
            heard,
            monitors,
            seats,
        })
    }

    /// The scheduler's figures.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.scheduler.stats()
    }

    /// Logs what happens until a signal comes, then drains.
    async fn serve(
        self,
        tenants: Roster,
        hear: impl FnMut(&Event) + Send + 'static,
        stop: impl Future<Output = &'static str>,
        reloads: AbortHandle,
        server: Option<&Server>,
    ) -> Result<Summary> {
        let journal = tokio::spawn(journal::keep(
            self.events.clone(),
            self.stats(),
            self.clock.clone(),
            tenants,
            hear,
        ));
        let signal = stop.await;
        // Whoever stops wants nothing new.
        reloads.abort();
        if let Some(server) = server {
            server.stopping();
        }
        tracing::info!(
            "{signal}: no more checks; what runs has {:?} to end (once more to stop at once)",
            self.drain
        );
        let again = stop_signal()?;
        let stopped = tokio::task::spawn_blocking(move || self.stop());
        let summary = tokio::select! {
            summary = stopped => summary.context("the drain failed")??,
            _ = again => return Err(anyhow!("stopped at once; what ran was cut")),
        };
        // The scheduler is gone, and with it the last sender of events.
        let _ = journal.await;
        Ok(summary)
    }

    /// Stops scheduling, lets what runs end, and says what was cut. Blocks for the drain time at most.
    ///
    /// # Errors
    /// When the scheduler's thread had died.
    pub fn stop(self) -> Result<Summary> {
        let stats = self.stats();
        let started = self.clock.mono();
        let left = self
            .scheduler
            .stop(self.drain)
            .ok_or_else(|| anyhow!("the scheduler's thread had died; this is a defect of pulse-host"))?;
        let rest = self.drain.saturating_sub(self.clock.mono().since(started));
        let cut = self.workers.stop(rest);
        let written = self.store.map(store::Running::stop);
        Ok(Summary {
            left,
            cut,
            stats,
            written,
        })
    }
}

/// The scheduler goes on where an earlier process ended, and the store begins to write.
fn remember(
    mut store: Store,
    recalled: HashMap<MonitorKey, Recalled>,
    keeper: Keeper,
    scheduler: &mut Scheduler,
    clock: &Clock,
) -> Result<store::Running> {
    let Recollection {
        recalled,
        codes,
        orphans,
    } = scheduler.recall(recalled);
    if recalled > 0 {
        tracing::info!(
            "remembered: {} in trouble, {} to be delivered",
            counted(recalled as u64, "monitor"),
            counted(codes as u64, "code")
        );
    }
    for (_, orphan) in orphans.iter().take(ORPHANS_SHOWN_MAX) {
        let codes: usize = orphan.saved.sinks.iter().map(|sink| sink.len()).sum();
        tracing::warn!(
            "{}/{} was in trouble and is not configured any more{}",
            orphan.tenant,
            orphan.name,
            match codes {
                0 => String::new(),
                codes => format!("; not delivered and given up: {}", counted(codes as u64, "code")),
            }
        );
    }
    if orphans.len() > ORPHANS_SHOWN_MAX {
        tracing::warn!("and {} more", orphans.len() - ORPHANS_SHOWN_MAX);
    }
    store.bury(&orphans, clock.wall())?;
    store
        .start(keeper)
        .context("the store's thread could not be started")
}

/// The channels and what hangs on them.
struct Wiring {
    parts: Parts,
    keeper: Option<Keeper>,
    inlets: PerKind<Inlet>,
    results: ResultSender,
    bell: Arc<Bell>,
    events: async_channel::Receiver<Event>,
}

impl Wiring {
    fn new(
        settings: &HostSettings,
        monitors: Vec<MonitorSpec>,
        host_entry: Option<MonitorSpec>,
        remembers: bool,
        clock: Clock,
    ) -> Self {
        let (outlets, inlets) = queue::channels(&settings.queues);
        let most: usize = Kind::ALL
            .iter()
            .map(|kind| settings.queues.get(*kind))
            .map(|queue| queue.in_flight + queue.capacity)
            .sum();
        let (results, receiver, bell) = queue::results(most);
        let (sender, events) = async_channel::bounded(EVENTS_MAX);
        let (writer, keeper) = match remembers {
            true => {
                let (writer, keeper) = ledger::ledger(Arc::clone(&bell));
                (Some(writer), Some(keeper))
            }
            false => (None, None),
        };
        Self {
            parts: Parts {
                monitors,
                host_entry,
                settings: settings.clone(),
                outlets,
                results: receiver,
                ledger: writer,
                events: sender,
                workers: sandbox::worker_count(settings).get(),
                clock,
            },
            keeper,
            inlets,
            results,
            bell,
            events,
        }
    }
}

/// How a host ended.
pub struct Summary {
    /// What the scheduler was still waiting for.
    pub left: Unfinished,
    /// Executions that were cut.
    pub cut: usize,
    stats: Stats,
    /// What was put on record, if anything is: what was not delivered is.
    written: Option<Written>,
}

impl Summary {
    fn report(&self) {
        let snapshot = self.stats.snapshot();
        let checks: u64 = snapshot.kinds.pulse.outcomes.total();
        let interventions: u64 = snapshot.kinds.intervention.outcomes.total();
        tracing::info!(
            "stopped after {} and {}",
            counted(checks, "check"),
            counted(interventions, "intervention")
        );
        if self.left.jobs() > 0 || self.cut > 0 {
            let pending = &self.left.pending;
            tracing::warn!(
                "cut while running: {}, {}, {}",
                counted(pending.pulse as u64, "check"),
                counted(pending.intervention as u64, "intervention"),
                counted(pending.code as u64, "code")
            );
        }
        if let Some(written) = self.written {
            tracing::info!(
                "put on record: {} in {}, the longest of {:.1?}; {:.1?} of CPU time",
                counted(written.rows, "row"),
                counted(written.commits, "transaction"),
                Duration::from_micros(written.slowest_us),
                Duration::from_nanos(written.cpu_ns)
            );
        }
        if self.left.codes > 0 {
            let what = if self.written.is_some() {
                "delivered after the next start"
            } else {
                "not delivered and lost"
            };
            tracing::warn!("{what}: {}", counted(self.left.codes as u64, "code"));
        }
    }
}

/// Resolves with the name of the signal that asks the host to stop.
fn stop_signal() -> Result<impl Future<Output = &'static str>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt()).context("no handler for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("no handler for SIGTERM")?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => "Ctrl-C",
            _ = terminate.recv() => "SIGTERM",
        }
    })
}

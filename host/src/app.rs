//! The only wiring: loads plugins and configuration, starts the workers and the scheduler, and stops them again.

mod lock;

pub use lock::{Survey, survey};

use crate::{
    capability::log,
    clock::Clock,
    config::{self, Config, Draft, Problems, Progress, Silent},
    domain::{
        event::Event,
        host::{HostSettings, LockPolicy, PerKind},
        job::{Job, JobKey, MonitorId, Payload},
        outcome::{Outcome, Usage},
        plugin::Facts,
        spec::{Kind, MonitorSpec},
        time::Mono,
    },
    journal::{self, counted},
    plugins::{
        self,
        lock::{Gate, LockError},
    },
    queue::{self, Bell, Inlet, ResultSender},
    sandbox::{
        self, Compiler, Executor, Library, Plugin, Sandbox, SandboxSettings, Workers,
        capacity::{self, Ceilings},
    },
    scheduler::{Parts, Running, Scheduler, Unfinished, stats::Stats},
};
use anyhow::{Context as _, Result, anyhow};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Events that may wait for the journal; beyond that they are dropped and counted.
const EVENTS_MAX: usize = 16 * 1024;

/// Where plugins and configuration are.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// Folders with plugins, or single plugins.
    pub plugins: &'a [PathBuf],
    /// The configuration; none: where one is looked for.
    pub config: Option<&'a Path>,
    /// The lock of plugins; none: beside the configuration.
    pub lock: Option<&'a Path>,
}

/// Plugins and configuration, loaded and valid; nothing runs yet.
pub struct Prepared {
    /// Where the configuration was.
    pub config_path: PathBuf,
    /// What it says.
    pub config: Config,
    /// The plugins.
    pub library: Arc<Library>,
    /// What may run at the same time.
    ceilings: Ceilings,
    gate: Gate,
    sandbox: Arc<Sandbox>,
    clock: Clock,
}

/// Why nothing can be started.
pub struct Wrong {
    why: Why,
    plugins: Vec<plugins::Problem>,
}

enum Why {
    /// There is no configuration; says where it was looked for.
    Nowhere(String),
    /// It says something that can't be.
    Problems(Problems),
    /// The lock of plugins can't be used.
    Lock(LockError),
}

impl Wrong {
    /// Every problem, for people: whole lines.
    #[must_use]
    pub fn text(&self, color: bool) -> String {
        let mut text = match &self.why {
            Why::Nowhere(message) => format!("pulse-host: {message}\n"),
            Why::Problems(problems) => format!("{}\n", problems.render(color)),
            Why::Lock(error) => format!("pulse-host: {error}\n"),
        };
        // An unknown plugin is often one that is there and can't be used.
        for plugin in &self.plugins {
            text.push_str(&format!("note: not usable: {plugin}\n"));
        }
        text
    }

    /// Every problem, for machines.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        match &self.why {
            Why::Nowhere(message) => serde_json::json!([{
                "file": null,
                "line": null,
                "column": null,
                "message": message,
                "help": null,
                "id": "no-configuration",
            }]),
            Why::Problems(problems) => serde_json::to_value(problems).unwrap_or_default(),
            Why::Lock(error) => {
                let (line, column) = match error {
                    LockError::Broken { fault, .. } => (Some(fault.line), Some(fault.column)),
                    _ => (None, None),
                };
                serde_json::json!([{
                    "file": error.path(),
                    "line": line,
                    "column": column,
                    "message": error.to_string(),
                    "help": null,
                    "id": "unusable-lock",
                }])
            }
        }
    }

    /// The first line of what is wrong.
    #[must_use]
    pub fn summary(&self) -> String {
        match &self.why {
            Why::Nowhere(message) => message.lines().next().unwrap_or_default().to_owned(),
            Why::Problems(problems) => {
                let count = counted(problems.len() as u64, "problem");
                format!("the configuration is wrong ({count}); check-config shows what")
            }
            Why::Lock(error) => error.to_string().lines().next().unwrap_or_default().to_owned(),
        }
    }
}

/// Finds and reads the configuration, loads the plugins, and holds the one against the others. `progress` hears how
/// the reading of targets gets on.
///
/// # Errors
/// When something that is no matter of configuration fails. What is wrong with the configuration is the inner
/// error.
pub fn prepare(places: Places<'_>, progress: &mut dyn Progress) -> Result<Result<Prepared, Wrong>> {
    let config_path = match config::default_paths(places.config) {
        Ok(path) => path,
        Err(message) => {
            return Ok(Err(Wrong {
                why: Why::Nowhere(message),
                plugins: Vec::new(),
            }));
        }
    };
    let draft = Draft::load(&config_path);
    let mut settings = draft.host();
    let gate = match lock::gate(places, Some(&config_path), settings.lock) {
        Ok(gate) => gate,
        Err(error) => {
            return Ok(Err(Wrong {
                why: Why::Lock(error),
                plugins: Vec::new(),
            }));
        }
    };
    let ceilings = capacity::fit(&mut settings);
    let clock = Clock::system();
    let sandbox = Sandbox::new(SandboxSettings::new(&settings, compiler()?), clock.clone())?;
    let (library, unusable) = load_plugins(&sandbox, places.plugins, &gate);
    Ok(match draft.finish_telling(&facts(&library), progress) {
        Ok(mut config) => {
            config.host.queues = settings.queues;
            for problem in &unusable {
                tracing::warn!("plugin not usable: {problem}");
            }
            Ok(Prepared {
                config_path,
                config,
                library: Arc::new(library),
                ceilings,
                gate,
                sandbox,
                clock,
            })
        }
        Err(problems) => Err(Wrong {
            why: Why::Problems(problems),
            plugins: unusable,
        }),
    })
}

/// Watches and heals until Ctrl-C or SIGTERM.
///
/// # Errors
/// When threads, signals or the runtime can't be had.
pub fn run(prepared: Prepared) -> Result<()> {
    let Prepared {
        config,
        config_path,
        library,
        ceilings,
        gate,
        sandbox,
        clock,
    } = prepared;
    if !config.warnings.is_empty() {
        tracing::warn!("{}", config.warnings.render(false));
    }
    tracing::info!(
        "pulse-host {}: {} from {}, {}; Ctrl-C stops it",
        env!("CARGO_PKG_VERSION"),
        counted(config.monitors.len() as u64, "monitor"),
        config_path.display(),
        counted(library.iter().count() as u64, "plugin")
    );
    tracing::info!("{ceilings}");
    let grants = config
        .profiles
        .iter()
        .map(|(name, profile)| (name.clone(), Arc::clone(&profile.grants)));
    lock::announce(&gate, &library, &config.host, &grants.collect());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime of the main thread could not be started")?;
    // Signals are caught before the first check runs, so that no early Ctrl-C kills it half-way.
    let ended = runtime.block_on(async {
        let stop = stop_signal()?;
        let plan = Plan {
            settings: config.host,
            monitors: config.monitors,
            host_entry: config.host_entry,
        };
        let host = Host::start(sandbox, library, plan, clock)?;
        host.serve(stop).await
    });
    // Dropping it would wait for the drain, which a second signal has called off.
    runtime.shutdown_background();
    ended?.report();
    Ok(())
}

/// Components are compiled by this very program, as a child.
fn compiler() -> Result<Compiler> {
    let program = std::env::current_exe().context("the path of this program is unknown")?;
    Ok(Compiler::Child(program))
}

/// What looks like a plugin below the given paths, each to be read when its turn comes.
fn candidates(
    paths: &[PathBuf],
) -> (
    impl Iterator<Item = Result<plugins::Found, plugins::Problem>>,
    Vec<plugins::Problem>,
) {
    let (candidates, problems) = plugins::candidates(paths);
    (candidates.into_iter().map(|candidate| candidate.read()), problems)
}

/// Finds and loads every plugin below the given paths that the gate lets in.
fn load_plugins(sandbox: &Arc<Sandbox>, paths: &[PathBuf], gate: &Gate) -> (Library, Vec<plugins::Problem>) {
    let (candidates, mut problems) = candidates(paths);
    let (loaded, more) = sandbox::load_all(sandbox, candidates);
    problems.extend(more);
    let (library, refused) = Library::admit(loaded, gate);
    problems.extend(refused);
    (library, problems)
}

/// What the configuration needs to know about the plugins.
fn facts(library: &Library) -> BTreeMap<String, Facts> {
    library
        .iter()
        .map(|plugin| (plugin.facts.name.to_string(), plugin.facts.clone()))
        .collect()
}

/// A sandbox for one execution at a time, with the host's settings if there are any.
fn small_sandbox_for(settings: Option<HostSettings>) -> Result<Arc<Sandbox>> {
    let settings = settings.unwrap_or_else(|| Draft::from_text("", "", Path::new(".")).host());
    let mut settings = SandboxSettings::new(&settings, compiler()?);
    settings.engines = std::num::NonZeroUsize::MIN;
    settings.slots = 16;
    Sandbox::new(settings, Clock::system())
}

fn small_sandbox() -> Result<Arc<Sandbox>> {
    small_sandbox_for(None)
}

/// Loads every plugin that the lock lets in, to look at them.
///
/// # Errors
/// When this machine can't run wasm, or the lock can't be used.
pub fn load_for_inspection(places: Places<'_>) -> Result<(Library, Vec<plugins::Problem>)> {
    let config = lock::configuration(places)?;
    let settings = config.as_ref().map(|(_, draft)| draft.host());
    let policy = settings
        .as_ref()
        .map(|settings| settings.lock)
        .unwrap_or_default();
    let gate = lock::gate(places, config.as_ref().map(|(path, _)| path.as_path()), policy)?;
    Ok(load_plugins(&small_sandbox_for(settings)?, places.plugins, &gate))
}

/// Loads one plugin, whatever a lock says: by its name in the given folders, or by its path.
///
/// # Errors
/// When there is no such plugin, or it can't be used; says why.
pub fn inspect(paths: &[PathBuf], plugin: &str) -> Result<Plugin> {
    let sandbox = small_sandbox()?;
    let path = Path::new(plugin);
    if plugin.contains('/') || path.extension().is_some_and(|ending| ending == "wasm") || path.exists() {
        let found = plugins::read(path).map_err(|problem| anyhow!("{problem}"))?;
        return sandbox::load(&sandbox, found)
            .map_err(|messages| anyhow!("{} is not usable: {}", path.display(), messages.join("; ")));
    }
    let (library, problems) = load_plugins(&sandbox, paths, &Gate::wide_open());
    let names: Vec<String> = library
        .iter()
        .map(|plugin| plugin.facts.name.to_string())
        .collect();
    library.into_plugin(plugin).ok_or_else(|| {
        let near = names
            .iter()
            .find(|name| strsim::damerau_levenshtein(name, plugin) <= 2);
        let mut message = match near {
            Some(near) => format!("there is no usable plugin `{plugin}`; did you mean `{near}`?"),
            None if names.is_empty() => format!("there is no usable plugin `{plugin}`, nor any other"),
            None => format!(
                "there is no usable plugin `{plugin}`; there is {}",
                names.join(", ")
            ),
        };
        for problem in problems {
            message.push_str(&format!("\nnot usable: {problem}"));
        }
        anyhow!(message)
    })
}

/// What one check came to.
pub struct Probed {
    /// The monitor's name.
    pub monitor: String,
    /// How it ended.
    pub outcome: Outcome,
    /// What it used.
    pub usage: Usage,
    /// What the plugin logged.
    pub log: Vec<log::Line>,
}

/// Why nothing was probed: what is wrong, in one line and in full.
pub struct Refused {
    /// One line.
    pub summary: String,
    /// Everything, in whole lines.
    pub text: String,
}

impl Refused {
    /// Wrong in a way that one line tells.
    #[must_use]
    pub fn line(message: String) -> Self {
        Self {
            text: format!("pulse-host: {message}\n"),
            summary: message.lines().next().unwrap_or_default().to_owned(),
        }
    }

    fn wrong(wrong: &Wrong, color: bool) -> Self {
        Self {
            summary: wrong.summary(),
            text: wrong.text(color),
        }
    }
}

/// Checks a configured monitor once. `color` is for what is wrong with the configuration.
///
/// # Errors
/// When something that is no matter of configuration fails. What is wrong with the configuration, or that it holds
/// no such monitor, is the inner error.
pub fn probe_monitor(places: Places<'_>, name: &str, color: bool) -> Result<Result<Probed, Refused>> {
    let prepared = match prepare(places, &mut Silent)? {
        Ok(prepared) => prepared,
        Err(wrong) => return Ok(Err(Refused::wrong(&wrong, color))),
    };
    let monitors = &prepared.config.monitors;
    let Some(spec) = monitors.iter().find(|spec| spec.name() == name) else {
        let nearest = monitors
            .iter()
            .map(MonitorSpec::name)
            .min_by_key(|other| strsim::damerau_levenshtein(other, name));
        let place = prepared.config_path.display();
        return Ok(Err(Refused::line(match nearest {
            Some(other) => format!("there is no monitor `{name}` in {place}; did you mean `{other}`?"),
            None => format!("there is no monitor at all in {place}"),
        })));
    };
    probe(&prepared.sandbox, &prepared.library, &prepared.clock, spec).map(Ok)
}

/// Checks once with a plugin and settings, without any configured monitor. The plugin's limits and grants are
/// those of the configuration, if there is one.
///
/// # Errors
/// When something that is no matter of plugin or settings fails. What is wrong with those is the inner error.
pub fn probe_plugin(
    places: Places<'_>,
    plugin: &str,
    settings: serde_json::Map<String, serde_json::Value>,
    color: bool,
) -> Result<Result<Probed, Refused>> {
    // Without a configuration there is nothing to be found, and nothing is needed.
    let (sandbox, library, config) = if config::default_paths(places.config).is_ok() {
        match prepare(places, &mut Silent)? {
            Ok(prepared) => (prepared.sandbox, prepared.library, Some(prepared.config)),
            Err(wrong) => return Ok(Err(Refused::wrong(&wrong, color))),
        }
    } else {
        let sandbox = small_sandbox()?;
        let gate = lock::gate(places, None, LockPolicy::default())?;
        let (library, problems) = load_plugins(&sandbox, places.plugins, &gate);
        for problem in problems {
            tracing::warn!("plugin not usable: {problem}");
        }
        (sandbox, Arc::new(library), None)
    };
    let spec = match config::ad_hoc(config.as_ref(), &facts(&library), plugin, settings) {
        Ok(spec) => spec,
        Err(message) => return Ok(Err(Refused::line(message))),
    };
    probe(&sandbox, &library, &Clock::system(), &spec).map(Ok)
}

fn probe(
    sandbox: &Arc<Sandbox>,
    library: &Arc<Library>,
    clock: &Clock,
    spec: &MonitorSpec,
) -> Result<Probed> {
    let now = clock.mono();
    let job = Job {
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
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (result, log) = runtime.block_on(async {
        let executor = Executor::new(Arc::clone(sandbox), Arc::clone(library));
        executor.execute_keeping_log(job).await
    });
    runtime.shutdown_background();
    Ok(Probed {
        monitor: spec.name().to_owned(),
        outcome: result.outcome,
        usage: result.usage,
        log,
    })
}

/// What is to be watched, and how.
pub struct Plan {
    /// The host's settings.
    pub settings: HostSettings,
    /// The monitors.
    pub monitors: Vec<MonitorSpec>,
    /// Whose sinks hear that the prober itself is in trouble.
    pub host_entry: Option<MonitorSpec>,
}

/// A running host.
pub struct Host {
    scheduler: Running,
    workers: Workers,
    events: async_channel::Receiver<Event>,
    clock: Clock,
    drain: Duration,
}

impl Host {
    /// Starts workers and scheduler.
    ///
    /// # Errors
    /// When the operating system gives no threads.
    pub fn start(sandbox: Arc<Sandbox>, library: Arc<Library>, plan: Plan, clock: Clock) -> Result<Self> {
        let settings = plan.settings;
        let wiring = Wiring::new(&settings, plan.monitors, plan.host_entry, clock.clone());
        let workers = Workers::start(
            sandbox,
            library,
            wiring.inlets,
            wiring.results,
            &settings,
            clock.clone(),
        )
        .context("the workers could not be started")?;
        let scheduler = Running::start(Scheduler::new(wiring.parts), wiring.bell)
            .context("the scheduler's thread could not be started")?;
        Ok(Self {
            scheduler,
            workers,
            events: wiring.events,
            clock,
            drain: settings.drain,
        })
    }

    /// The scheduler's figures.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.scheduler.stats()
    }

    /// Logs what happens until a signal comes, then drains.
    async fn serve(self, stop: impl Future<Output = &'static str>) -> Result<Summary> {
        let journal = tokio::spawn(journal::keep(
            self.events.clone(),
            self.stats(),
            self.clock.clone(),
        ));
        let signal = stop.await;
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
        Ok(Summary { left, cut, stats })
    }
}

/// The channels and what hangs on them.
struct Wiring {
    parts: Parts,
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
        Self {
            parts: Parts {
                monitors,
                host_entry,
                settings: settings.clone(),
                outlets,
                results: receiver,
                events: sender,
                workers: sandbox::worker_count(settings).get(),
                clock,
            },
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
        if self.left.codes > 0 {
            tracing::warn!(
                "not delivered and lost: {}",
                counted(self.left.codes as u64, "code")
            );
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

//! Runs plugins: a pooled engine for each worker, a fresh instance for each job, three caps and a deadline around each call, one
//! typed outcome out of it.
//!
//! Architecture invariant: the host survives every guest. Nothing here names the ECS.

mod abi;
mod answer;
pub mod capacity;
mod classify;
pub mod compile;
pub mod engine;
mod errand;
mod execute;
mod guest_time;
mod keeper;
mod plugin;
mod pool;
mod prober;
mod schema;
mod shelf;
mod spans;
mod stdio;
mod store;
mod turns;
mod wasi;
mod worker;

pub use compile::Compiler;
pub use execute::Executor;
pub use keeper::{Happened, Keeper, Noting};
pub use plugin::{Library, Plugin, load, load_all, load_of_tenant};
pub use prober::{PROBES_MAX, PROBES_OF_TENANT_MAX, Prober};
pub use schema::parse as settings_schema;
pub use shelf::Shelf;
pub use spans::Collector;
pub use worker::{Workers, count as worker_count};

use crate::{
    capability,
    clock::Clock,
    domain::{
        deadman::Switches,
        host::{CompilerSettings, HostSettings, Scarcities},
        spec::Kind,
    },
};
use anyhow::{Context as _, Result};
use std::{
    num::NonZeroUsize,
    path::PathBuf,
    sync::{Arc, OnceLock},
};
use wasmtime::{Engine, component::Linker};

/// How the sandbox is set up.
#[derive(Clone, Debug)]
pub struct SandboxSettings {
    /// Engines, one for each worker: nothing of an engine is shared by two threads then.
    pub engines: NonZeroUsize,
    /// Instances that can live in each engine at the same time.
    pub slots: u32,
    /// Greatest linear memory of any instance.
    pub max_memory_bytes: u64,
    /// Where compiled components are kept.
    pub data_dir: PathBuf,
    /// Who compiles.
    pub compiler: Compiler,
    /// What compiling may take.
    pub compiling: CompilerSettings,
    /// What all plugins share, and there is little of.
    pub scarce: Scarcities,
}

impl SandboxSettings {
    /// What follows from the host's settings. Each worker has slots for its share of the jobs that may run and a batch
    /// of each kind beyond that, for every instance that may wait to be used again, and some to describe plugins and for
    /// what is asked for without a schedule.
    #[must_use]
    pub fn new(settings: &HostSettings, compiler: Compiler) -> Self {
        let engines = worker::count(settings);
        let running: usize = Kind::ALL
            .iter()
            .map(|kind| {
                let queue = settings.queues.get(*kind);
                worker::share(queue.in_flight, engines) + queue.batch_max
            })
            .sum();
        let slots = running + pool::IDLE_MAX + 8 + prober::PROBES_MAX;
        Self {
            engines,
            slots: u32::try_from(slots).unwrap_or(u32::MAX),
            max_memory_bytes: settings.maxima.memory_bytes,
            data_dir: settings.data_dir.clone(),
            compiler,
            compiling: settings.compiler.clone(),
            scarce: settings.scarce,
        }
    }
}

/// A worker's own part of the sandbox.
struct Seat {
    engine: Engine,
    linker: Linker<store::State>,
}

/// The engines and what hangs on them. One per process.
pub struct Sandbox {
    first: Seat,
    others: Vec<Seat>,
    settings: SandboxSettings,
    shared: Arc<capability::Shared>,
    clock: Clock,
    keeper: OnceLock<Arc<dyn Keeper>>,
    collector: OnceLock<Arc<dyn Collector>>,
    switches: Arc<Switches>,
    known: plugin::Known,
    _ticker: engine::Ticker,
}

impl Sandbox {
    /// Starts the engines and their ticker.
    ///
    /// # Errors
    /// When this machine can't run wasm, or the operating system gives no thread.
    pub fn new(settings: SandboxSettings, clock: Clock) -> Result<Arc<Self>> {
        let mut seats = Vec::new();
        for engine in engine::running(&settings)? {
            let linker = abi::linker(&engine)?;
            seats.push(Seat { engine, linker });
        }
        let ticker = engine::Ticker::start(seats.iter().map(|seat| &seat.engine))
            .context("the epoch thread could not be started")?;
        let others = seats.split_off(1.min(seats.len()));
        // Who can be started again to compile can be started again to become a command.
        let launcher = match &settings.compiler {
            Compiler::Child(program) => capability::Launcher::Own(program.clone()),
            Compiler::InProcess => capability::Launcher::None,
        };
        let shared = capability::Shared::new(clock.clone(), launcher, settings.scarce)?;
        Ok(Arc::new(Self {
            first: seats.pop().context("there is no engine")?,
            others,
            settings,
            shared,
            clock,
            keeper: OnceLock::new(),
            collector: OnceLock::new(),
            switches: Arc::default(),
            known: plugin::Known::default(),
            _ticker: ticker,
        }))
    }

    /// From now on somebody keeps what marked jobs did. The first who says so does.
    pub fn kept_by(&self, keeper: Arc<dyn Keeper>) {
        let _ = self.keeper.set(keeper);
    }

    /// From now on somebody hears of every execution. The first who says so does.
    pub fn collected_by(&self, collector: Arc<dyn Collector>) {
        let _ = self.collector.set(collector);
    }

    /// The heartbeats of those monitors that no plugin checks.
    #[must_use]
    pub fn switches(&self) -> &Arc<Switches> {
        &self.switches
    }

    /// Greatest memory of any instance.
    #[must_use]
    pub fn memory_bytes_max(&self) -> u64 {
        self.settings.max_memory_bytes
    }

    /// The seats, at least one.
    fn seats(&self) -> impl Iterator<Item = &Seat> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The seat of that number; the first for all that have none.
    fn seat(&self, number: usize) -> &Seat {
        number
            .checked_sub(1)
            .and_then(|number| self.others.get(number))
            .unwrap_or(&self.first)
    }
}

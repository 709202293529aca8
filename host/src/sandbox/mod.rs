//! Runs plugins: one pooled engine, a fresh instance for each job, three caps and a deadline around each call, one
//! typed outcome out of it.
//!
//! Architecture invariant: the host survives every guest. Nothing here names the ECS.

mod abi;
mod answer;
mod classify;
pub mod compile;
pub mod engine;
mod execute;
mod plugin;
mod pool;
mod schema;
mod stdio;
mod store;
mod worker;

pub use compile::Compiler;
pub use execute::Executor;
pub use plugin::{Library, Plugin, load};
pub use worker::Workers;

use crate::{
    capability,
    clock::Clock,
    domain::{host::HostSettings, spec::Kind},
};
use anyhow::{Context as _, Result};
use std::{path::PathBuf, sync::Arc};
use wasmtime::{Engine, component::Linker};

/// How the sandbox is set up.
#[derive(Clone, Debug)]
pub struct SandboxSettings {
    /// Instances that can live at the same time.
    pub slots: u32,
    /// Greatest linear memory of any instance.
    pub max_memory_bytes: u64,
    /// Where compiled components are kept.
    pub data_dir: PathBuf,
    /// Who compiles.
    pub compiler: Compiler,
}

impl SandboxSettings {
    /// What follows from the host's settings: a slot for every job that may run, for every instance that may
    /// wait to be used again, and some to describe plugins.
    #[must_use]
    pub fn new(settings: &HostSettings, compiler: Compiler) -> Self {
        let running: usize = Kind::ALL
            .iter()
            .map(|kind| settings.queues.get(*kind).in_flight)
            .sum();
        let workers = settings
            .workers
            .or_else(|| std::thread::available_parallelism().ok())
            .map_or(1, std::num::NonZeroUsize::get);
        let slots = running + workers * pool::IDLE_MAX + 8;
        Self {
            slots: u32::try_from(slots).unwrap_or(u32::MAX),
            max_memory_bytes: settings.maxima.memory_bytes,
            data_dir: settings.data_dir.clone(),
            compiler,
        }
    }
}

/// The engine and what hangs on it. One per process.
pub struct Sandbox {
    engine: Engine,
    linker: Linker<store::State>,
    settings: SandboxSettings,
    shared: Arc<capability::Shared>,
    clock: Clock,
    _ticker: engine::Ticker,
}

impl Sandbox {
    /// Starts the engine and its ticker.
    ///
    /// # Errors
    /// When this machine can't run wasm, or the operating system gives no thread.
    pub fn new(settings: SandboxSettings, clock: Clock) -> Result<Arc<Self>> {
        let engine = engine::running(&settings)?;
        let linker = abi::linker(&engine)?;
        let ticker = engine::Ticker::start(&engine).context("the epoch thread could not be started")?;
        Ok(Arc::new(Self {
            engine,
            linker,
            settings,
            shared: capability::Shared::new(clock.clone())?,
            clock,
            _ticker: ticker,
        }))
    }
}

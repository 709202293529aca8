//! The engines, one for each worker: which wasm they accept, how instances are pooled, and the ticker that lets guests
//! be interrupted.
//!
//! Workers share no engine, because whatever is counted in it (modules in use, free slots) would go to and fro between
//! their caches with every job: two bare loops on one engine take twice the CPU time per job of two on their own.
//!
//! What compiles a component (a child process) and what runs it must agree on everything that shapes machine code:
//! both start from [`base`].

use super::{
    SandboxSettings,
    capacity::{self, MAPPINGS_PER_SLOT, MAPPINGS_RESERVED},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use wasmtime::{
    Config, Enabled, Engine, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig, WasmFeatures,
};

/// How often a guest that computes is interrupted: it yields to the others on its thread, and its CPU time is
/// checked.
pub const EPOCH: Duration = Duration::from_millis(2);

/// Of each linear memory that much stays resident from one instance to the next. What a guest has written is
/// found by a scan of the page tables where the kernel can (Linux 6.7), and only that is reset.
const MEMORY_KEEP_BYTES: usize = 2 << 20;
/// Of each stack that much is cleared by hand and stays resident; the rest is given back.
const STACK_KEEP_BYTES: usize = 16 << 10;
const TABLE_KEEP_BYTES: usize = 64 << 10;
/// Memories, tables and stacks that are given back to the system in one call: about four jobs' worth. Each call locks
/// the address space and may interrupt the other threads; what waits for it holds its slot.
const DECOMMIT_BATCH: usize = 12;

const WASM_STACK_BYTES: usize = 512 << 10;
/// The guest's stack, and room for the host functions that it calls.
const FIBER_STACK_BYTES: usize = 1 << 20;

/// Of one component; more are refused when it is loaded, and where there is no pool, when it is instantiated.
pub(super) const CORE_INSTANCES_PER_COMPONENT: u32 = 16;
pub(super) const MEMORIES_PER_COMPONENT: u32 = 4;
pub(super) const TABLES_PER_COMPONENT: u32 = 8;
const TABLE_ELEMENTS: usize = 20_000;

/// In all engines together: each reserves 4 GiB of the 128 TiB that a process can address.
const SLOTS_MAX: u64 = 28_672;
/// Tried even where the kernel's limit seems to forbid it.
const SLOTS_MIN: u32 = 16;

/// Features of wasm that the sandbox does without. Several memories in one module are not among them: wasmtime's own
/// adapters, which copy from one module of a component to another, have two, and interpreters are made of several
/// modules. No module of a guest may have them, see `compile::screen`.
pub(super) const ABSENT: &[WasmFeatures] = &[
    WasmFeatures::THREADS,
    WasmFeatures::RELAXED_SIMD,
    WasmFeatures::MEMORY64,
    WasmFeatures::EXCEPTIONS,
    WasmFeatures::FUNCTION_REFERENCES,
    WasmFeatures::GC,
    WasmFeatures::CUSTOM_PAGE_SIZES,
    WasmFeatures::TAIL_CALL,
];

/// What compiling and running have in common.
#[must_use]
pub fn base() -> Config {
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES)
        .async_stack_zeroing(true)
        // The exports are sync functions; WASI 0.3 would be another engine.
        .concurrency_support(false)
        .memory_init_cow(true)
        .native_unwind_info(true)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(16));
    for feature in ABSENT {
        config.wasm_features(*feature, false);
    }
    config
}

/// The engines that run components, each with a pool of slots. If the address space does not allow that, they fall
/// back to memory on demand and say so: slower, but not less safe.
///
/// # Errors
/// When this machine can't run wasm at all.
pub fn running(settings: &SandboxSettings) -> anyhow::Result<Vec<Engine>> {
    let count = settings.engines.get();
    let slots = slots(settings.slots, count);
    let mut config = base();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(slots, settings)));
    let error = match engines(&config, count) {
        Ok(engines) => return Ok(engines),
        Err(error) => error,
    };
    tracing::warn!(
        "no pool of {slots} instances for each of {count} workers could be reserved ({error}); instances are made on \
         demand, which costs several times the CPU time. Is the address space limited (ulimit -v)?"
    );
    Ok(engines(&base(), count)?)
}

fn engines(config: &Config, count: usize) -> wasmtime::Result<Vec<Engine>> {
    (0..count).map(|_| Engine::new(config)).collect()
}

fn pool(slots: u32, settings: &SandboxSettings) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        // Only counted, so that it costs nothing to let every component have what one may have.
        .total_core_instances(slots.saturating_mul(CORE_INSTANCES_PER_COMPONENT))
        .total_memories(slots)
        .total_tables(slots.saturating_mul(2))
        .total_stacks(slots)
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_memories_per_component(MEMORIES_PER_COMPONENT)
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .table_elements(TABLE_ELEMENTS)
        .max_memory_size(usize::try_from(settings.max_memory_bytes).unwrap_or(usize::MAX))
        .pagemap_scan(Enabled::Auto)
        .linear_memory_keep_resident(MEMORY_KEEP_BYTES)
        .table_keep_resident(TABLE_KEEP_BYTES)
        .async_stack_keep_resident(STACK_KEEP_BYTES)
        .decommit_batch_size(DECOMMIT_BATCH);
    pool
}

/// As many slots for each engine as were asked for, and as the kernel's limit on memory mappings and the address space
/// allow. How many jobs that leaves is the business of `capacity`, which says so; what it reserves there is for slots
/// beyond those of jobs, of which a worker needs fewer than it asks for.
fn slots(wanted: u32, engines: usize) -> u32 {
    let mapped = capacity::mappings_max().map_or(u64::MAX, |limit| {
        limit.saturating_sub(MAPPINGS_RESERVED / 4) / MAPPINGS_PER_SLOT
    });
    let fit = mapped.min(SLOTS_MAX) / engines as u64;
    wanted.min(u32::try_from(fit).unwrap_or(u32::MAX).max(SLOTS_MIN))
}

/// Advances the engines' epochs until it is dropped.
#[derive(Debug)]
pub struct Ticker {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Ticker {
    /// Starts the thread. It also ends when the engines are gone.
    ///
    /// # Errors
    /// If the operating system gives no thread.
    pub fn start<'a>(engines: impl IntoIterator<Item = &'a Engine>) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let engines: Vec<EngineWeak> = engines.into_iter().map(Engine::weak).collect();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("epoch".to_owned())
            .spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    std::thread::sleep(EPOCH);
                    let mut alive = false;
                    for engine in engines.iter().filter_map(EngineWeak::upgrade) {
                        engine.increment_epoch();
                        alive = true;
                    }
                    if !alive {
                        return;
                    }
                }
            })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

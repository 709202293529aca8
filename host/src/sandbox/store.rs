//! What one instance carries: its caps, its lease, its logs, and why it may be cut.

use super::{
    engine,
    errand::Errands,
    guest_time,
    stdio::{LineStream, Running},
    turns::Turns,
    wasi,
};
use crate::{
    capability::{Lease, Lender, Taint},
    clock::Clock,
    domain::{
        limits::Limits,
        time::{Mono, nanos},
    },
};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use wasmtime::{Engine, ResourceLimiter, Store, UpdateDeadline, component::ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

/// Bytes that one call between guest and host may carry, either way.
const HOST_CALL_BYTES_MAX: usize = 4 << 20;
const HANDLES_MAX: usize = 2_048;
const RESOURCES_MAX: usize = 256;
const RANDOM_BYTES_MAX: u64 = 64 << 10;

/// The data of a store.
pub struct State {
    /// Made when the guest first asks for something of WASI's: many never do.
    wasi: Option<Box<Wasi>>,
    /// Sum of all memories and tables.
    pub memory: Memory,
    /// What is looked at from outside while a call borrows the store.
    pub outside: Arc<Outside>,
    /// What the host lends, on this worker.
    pub lender: Arc<Lender>,
    /// The running job, and what it may use.
    pub lease: Arc<Lease>,
    /// Where guests of this worker that compute take turns.
    turns: Option<Arc<Turns>>,
    host: Duration,
    host_since: Option<Mono>,
    clock: Clock,
}

/// What belongs to an instance but is not in its store: a call borrows that from beginning to end.
pub struct Outside {
    /// CPU time.
    pub meter: Meter,
    /// What lent calls have asked for.
    pub errands: Errands,
}

impl Outside {
    /// Nothing spent and nothing asked for so far.
    #[must_use]
    pub fn new(clock: Clock, cpu: Duration) -> Self {
        Self {
            meter: Meter::new(clock, cpu),
            errands: Errands::default(),
        }
    }
}

/// What WASI needs of an instance.
struct Wasi {
    context: WasiCtx,
    table: ResourceTable,
    running: Running,
    streams: [LineStream; 2],
    /// Sockets and requests that are alive in the table, each of which holds one.
    alive: wasi::Alive,
}

impl Wasi {
    fn new(lease: &Arc<Lease>) -> Self {
        let running: Running = Arc::new(Mutex::new(Some(Arc::clone(lease))));
        let streams = [LineStream::stdout(&running), LineStream::stderr(&running)];
        let [stdout, stderr] = streams.clone();
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        let mut builder = WasiCtxBuilder::new();
        builder
            .stdout(stdout)
            .stderr(stderr)
            .max_random_size(RANDOM_BYTES_MAX)
            .allow_tcp(false)
            .allow_udp(false);
        if let Some(origin) = lease.origin() {
            guest_time::set_numbers(&mut builder, origin.seed);
        }
        if let Some(time) = lease.guest_time() {
            guest_time::set_clocks(&mut builder, time);
        }
        let context = builder.build();
        Self {
            context,
            table,
            running,
            streams,
            alive: wasi::Alive::default(),
        }
    }

    fn set_running(&self, lease: Option<&Arc<Lease>>) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = lease.cloned();
    }
}

/// The guest used more CPU time than it was allowed.
#[derive(Debug)]
pub struct CpuExceeded;

impl std::fmt::Display for CpuExceeded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CPU time used up")
    }
}

impl std::error::Error for CpuExceeded {}

/// Makes a store for one instance.
#[must_use]
pub fn new(
    engine: &Engine,
    limits: Limits,
    lender: Arc<Lender>,
    lease: Arc<Lease>,
    turns: Option<Arc<Turns>>,
    clock: Clock,
) -> Store<State> {
    let mut store = Store::new(
        engine,
        State {
            wasi: None,
            memory: Memory::new(limits.memory_bytes),
            outside: Arc::new(Outside::new(clock.clone(), limits.cpu)),
            lender,
            lease,
            turns,
            host: Duration::ZERO,
            host_since: None,
            clock,
        },
    );
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(HOST_CALL_BYTES_MAX);
    store.set_max_component_handles(HANDLES_MAX);
    store.epoch_deadline_callback(|context| {
        let slice = match context.data().outside.meter.tick() {
            Tick::Exceeded => return Err(wasmtime::Error::new(CpuExceeded)),
            Tick::GoOn => return Ok(UpdateDeadline::Continue(1)),
            Tick::Yield(slice) => slice,
        };
        // Wasmtime's own yield wakes itself, so that a runtime which always finds something to run looks at
        // sockets and timers only now and then: at 2 ms a slice, every 120 ms. Tokio's looks at them first.
        let state = context.data();
        Ok(match &state.turns {
            Some(turns) => {
                let turn = turns.next(&state.lease.tenant().name, slice);
                UpdateDeadline::YieldCustom(1, Box::pin(turn))
            }
            None => UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())),
        })
    });
    refill(&mut store, limits);
    store
}

/// Makes the store of a kept instance ready for another job. Its memory is what it was.
pub fn renew(store: &mut Store<State>, limits: Limits, lease: Arc<Lease>) {
    let state = store.data_mut();
    if let Some(wasi) = &state.wasi {
        wasi.set_running(Some(&lease));
    }
    state.lease = lease;
    state.host = Duration::ZERO;
    state.host_since = None;
    state.memory.renew(limits.memory_bytes);
    state.outside.meter.renew(limits.cpu);
    refill(store, limits);
}

fn refill(store: &mut Store<State>, limits: Limits) {
    // Fails only when the engine counts no fuel; ours does.
    let _ = store.set_fuel(limits.fuel);
    store.set_epoch_deadline(1);
}

impl State {
    /// The job has ended, and so has its log.
    pub fn end_log(&self) {
        if let Some(wasi) = &self.wasi {
            for stream in &wasi.streams {
                stream.finish();
            }
            wasi.set_running(None);
        }
    }

    /// A host call begins.
    pub fn enter(&mut self) {
        self.host_since = Some(self.clock.mono());
    }

    /// A host call ended.
    pub fn leave(&mut self) {
        self.host += self.running_call();
        self.host_since = None;
    }

    /// Time spent in host calls, the running one included.
    #[must_use]
    pub fn host_time(&self) -> Duration {
        self.host + self.running_call()
    }

    fn running_call(&self) -> Duration {
        self.host_since
            .map_or(Duration::ZERO, |since| self.clock.mono().since(since))
    }

    /// Says why the execution says nothing about its target. Memory that the operating system did not give is a
    /// reason, whatever the guest made of it.
    pub fn take_taint(&mut self) -> Option<Taint> {
        let failed = self.memory.failed.take();
        self.lease
            .tainted()
            .cloned()
            .or_else(|| failed.map(|error| Taint::Host(format!("no memory for the guest: {error}"))))
    }
}

impl State {
    /// The instance as `wasi:sockets` and `wasi:http` see it.
    pub fn network(&mut self) -> wasi::View<'_> {
        let own = self.wasi.get_or_insert_with(|| Box::new(Wasi::new(&self.lease)));
        wasi::View {
            table: &mut own.table,
            lease: &self.lease,
            lender: &self.lender,
            alive: &own.alive,
        }
    }

    /// Whether the guest has left sockets or requests behind.
    #[must_use]
    pub fn holds_network(&self) -> bool {
        self.wasi
            .as_ref()
            .is_some_and(|wasi| Arc::strong_count(&wasi.alive) > 1)
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let wasi = self.wasi.get_or_insert_with(|| Box::new(Wasi::new(&self.lease)));
        WasiCtxView {
            ctx: &mut wasi.context,
            table: &mut wasi.table,
        }
    }
}

/// Bounds the sum of all memories and tables of an instance.
#[derive(Debug)]
pub struct Memory {
    limit: u64,
    used: u64,
    peak: u64,
    refused: Option<u64>,
    failed: Option<String>,
}

impl Memory {
    fn new(limit: u64) -> Self {
        Self {
            limit,
            used: 0,
            peak: 0,
            refused: None,
            failed: None,
        }
    }

    fn renew(&mut self, limit: u64) {
        self.limit = limit;
        self.peak = self.used;
        self.refused = None;
        self.failed = None;
    }

    /// Greatest sum so far, in bytes.
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.peak
    }

    /// (limit, wanted sum) in bytes, if growth was refused.
    #[must_use]
    pub fn refused(&self) -> Option<(u64, u64)> {
        self.refused.map(|wanted| (self.limit, wanted))
    }

    /// A growth that was allowed came to nothing. It stays counted: wasmtime also calls this for growth that was never
    /// asked about, and who took that back could grow for ever.
    fn grow_failed(&mut self, error: &wasmtime::Error) {
        if error.is::<rustix::io::Errno>() && self.failed.is_none() {
            self.failed = Some(super::classify::one_line(error));
        }
    }

    fn grow(&mut self, current: usize, desired: usize, bytes_each: usize) -> bool {
        let grown = desired.saturating_sub(current).saturating_mul(bytes_each) as u64;
        let sum = self.used.saturating_add(grown);
        if sum > self.limit {
            self.refused = Some(sum);
            return false;
        }
        self.used = sum;
        self.peak = self.peak.max(sum);
        true
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // Growth beyond the memory's own maximum fails anyway; it is not the cap's doing.
        Ok(maximum.is_some_and(|maximum| desired > maximum) || self.grow(current, desired, 1))
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.grow_failed(&error);
        Ok(())
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.grow_failed(&error);
        Ok(())
    }

    fn instances(&self) -> usize {
        engine::CORE_INSTANCES_PER_COMPONENT as usize
    }

    fn memories(&self) -> usize {
        engine::MEMORIES_PER_COMPONENT as usize
    }

    fn tables(&self) -> usize {
        engine::TABLES_PER_COMPONENT as usize
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(maximum.is_some_and(|maximum| desired > maximum)
            || self.grow(current, desired, size_of::<usize>()))
    }
}

/// Measures the CPU time of one execution by timing each poll of its future: by the clock on the wall, which costs
/// next to nothing, as long as it does not compute for long; from its first whole slice on, by the CPU time of its
/// thread. So a machine that lets the whole process wait is not taken for a guest that computes.
#[derive(Debug)]
pub struct Meter {
    clock: Clock,
    limit_ns: AtomicU64,
    spent_ns: AtomicU64,
    /// When the running poll began; 0 between polls.
    since_ns: AtomicU64,
    /// Whether it has used a whole slice.
    computes: AtomicBool,
    /// The thread's CPU time when the running poll began, or when it was first looked at; 0 otherwise.
    cpu_since_ns: AtomicU64,
    /// Epochs that were seen in the running poll.
    epochs: AtomicU64,
}

/// What an epoch that a guest has come to means for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tick {
    /// Its CPU time is used up.
    Exceeded,
    /// The epochs that passed while it waited are none of its slice: it has just begun.
    GoOn,
    /// It has used up a slice: so much of its CPU time, whatever else the thread has done meanwhile.
    Yield(Duration),
}

/// A guest that computes comes to an epoch within one; what its first slice took beyond that and once more for long
/// copies, somebody else took.
const FIRST_SLICE_MAX: Duration = engine::EPOCH.saturating_mul(2);

impl Meter {
    /// Nothing spent so far.
    #[must_use]
    pub fn new(clock: Clock, limit: Duration) -> Self {
        Self {
            clock,
            limit_ns: AtomicU64::new(nanos(limit)),
            spent_ns: AtomicU64::new(0),
            since_ns: AtomicU64::new(0),
            computes: AtomicBool::new(false),
            cpu_since_ns: AtomicU64::new(0),
            epochs: AtomicU64::new(0),
        }
    }

    fn renew(&self, limit: Duration) {
        self.limit_ns.store(nanos(limit), Ordering::Relaxed);
        self.spent_ns.store(0, Ordering::Relaxed);
        self.computes.store(false, Ordering::Relaxed);
    }

    /// A poll begins.
    pub fn begin(&self, now: Mono) {
        self.since_ns.store(now.0, Ordering::Relaxed);
        self.epochs.store(0, Ordering::Relaxed);
        if self.computes.load(Ordering::Relaxed) {
            self.cpu_since_ns.store(self.thread_cpu(), Ordering::Relaxed);
        }
    }

    /// A poll ended.
    pub fn end(&self, now: Mono) {
        let wall = now.0.saturating_sub(self.since_ns.swap(0, Ordering::Relaxed));
        let poll = match self.cpu_since_ns.swap(0, Ordering::Relaxed) {
            0 => wall,
            since => self.thread_cpu().saturating_sub(since),
        };
        self.spent_ns.fetch_add(poll, Ordering::Relaxed);
    }

    /// CPU time so far.
    #[must_use]
    pub fn spent(&self) -> Duration {
        let running = match self.cpu_since_ns.load(Ordering::Relaxed) {
            0 => nanos(self.running()),
            since => self.thread_cpu().saturating_sub(since),
        };
        Duration::from_nanos(self.spent_ns.load(Ordering::Relaxed).saturating_add(running))
    }

    /// How long the running poll has taken.
    fn running(&self) -> Duration {
        match self.since_ns.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => self.clock.mono().since(Mono(since)),
        }
    }

    /// Never zero.
    fn thread_cpu(&self) -> u64 {
        nanos(self.clock.thread_cpu()).max(1)
    }

    /// The guest has come to an epoch. It goes on at most once in a poll, so that also by a clock that stands still it
    /// yields.
    fn tick(&self) -> Tick {
        let first = self.epochs.fetch_add(1, Ordering::Relaxed) == 0;
        let running = self.running();
        if first && running < engine::EPOCH / 2 {
            // One whose time is almost up gets to say so.
            return if self.exceeded() {
                Tick::Exceeded
            } else {
                Tick::GoOn
            };
        }
        let slice = if self.computes.swap(true, Ordering::Relaxed) {
            let since = self.cpu_since_ns.load(Ordering::Relaxed);
            Duration::from_nanos(self.thread_cpu().saturating_sub(since))
        } else {
            let first = running.min(FIRST_SLICE_MAX);
            self.spent_ns.fetch_add(nanos(first), Ordering::Relaxed);
            self.cpu_since_ns.store(self.thread_cpu(), Ordering::Relaxed);
            first
        };
        if self.exceeded() {
            Tick::Exceeded
        } else {
            Tick::Yield(slice)
        }
    }

    fn exceeded(&self) -> bool {
        nanos(self.spent()) > self.limit_ns.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Wall;
    use rustix::io::Errno;

    const PAGE: usize = 64 << 10;

    #[test]
    fn memory_is_the_sum_of_memories_and_tables() {
        let mut memory = Memory::new(4 * PAGE as u64);
        assert!(memory.memory_growing(0, PAGE, None).unwrap());
        assert!(memory.memory_growing(0, PAGE, None).unwrap());
        assert!(memory.table_growing(0, PAGE / 8, None).unwrap());
        assert_eq!((memory.peak(), memory.refused()), (3 * PAGE as u64, None));
        assert!(!memory.memory_growing(PAGE, 3 * PAGE, None).unwrap());
        assert_eq!(memory.refused(), Some((4 * PAGE as u64, 5 * PAGE as u64)));
        assert!(!memory.table_growing(PAGE / 8, usize::MAX, None).unwrap());
        // What was refused was not taken.
        assert!(memory.memory_growing(PAGE, 2 * PAGE, None).unwrap());
        assert_eq!(memory.peak(), 4 * PAGE as u64);
        // Beyond the guest's own maximum it fails by itself.
        memory.renew(4 * PAGE as u64);
        assert!(memory.memory_growing(PAGE, 9 * PAGE, Some(2 * PAGE)).unwrap());
        assert_eq!((memory.peak(), memory.refused()), (4 * PAGE as u64, None));
    }

    #[test]
    fn growth_that_fails_gives_nothing_back_and_is_the_hosts_when_the_system_says_so() {
        let mut memory = Memory::new(2 * PAGE as u64);
        memory.memory_growing(0, 2 * PAGE, None).unwrap();
        // As for growth beyond what an address can name, which nobody is asked about.
        for _ in 0..3 {
            memory
                .memory_grow_failed(wasmtime::Error::msg("too much"))
                .unwrap();
            assert!(!memory.memory_growing(2 * PAGE, 3 * PAGE, None).unwrap());
        }
        assert_eq!(memory.failed, None);
        memory
            .memory_grow_failed(wasmtime::Error::from(Errno::NOMEM).context("mprotect"))
            .unwrap();
        assert!(
            memory.failed.as_deref().unwrap().starts_with("mprotect"),
            "{memory:?}"
        );
        memory.renew(2 * PAGE as u64);
        assert_eq!(memory.failed, None);
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_meter_adds_polls_up() {
        let (clock, hand) = Clock::manual(Mono(1), Wall(0));
        let meter = Meter::new(clock.clone(), MS);
        for _ in 0..2 {
            meter.begin(clock.mono());
            hand.advance(MS / 2);
            assert_eq!(meter.tick(), Tick::GoOn);
            meter.end(clock.mono());
            // Between polls the guest waits.
            hand.advance(MS * 100);
        }
        assert_eq!(meter.spent(), MS);
        meter.begin(clock.mono());
        hand.advance(MS / 2);
        assert_eq!(meter.tick(), Tick::Exceeded, "the running poll counts");
        meter.end(clock.mono());
        meter.renew(MS);
        assert_eq!(meter.spent(), Duration::ZERO);
    }

    #[test]
    fn a_slice_is_an_epoch_at_least_and_another_half_at_most() {
        let (clock, hand) = Clock::manual(Mono(1), Wall(0));
        let meter = Meter::new(clock.clone(), MS * 1_000);
        meter.begin(clock.mono());
        assert_eq!(meter.tick(), Tick::GoOn);
        assert_eq!(
            meter.tick(),
            Tick::Yield(Duration::ZERO),
            "a second epoch, by a clock that stands still"
        );
        meter.end(clock.mono());
        meter.begin(clock.mono());
        hand.advance(engine::EPOCH);
        assert_eq!(meter.tick(), Tick::Yield(engine::EPOCH), "a whole slice");
        meter.end(clock.mono());
        assert_eq!(meter.spent(), engine::EPOCH);
    }

    #[test]
    fn a_host_that_has_to_wait_is_no_guest_that_computes() {
        let (clock, hand) = Clock::manual(Mono(1), Wall(0));
        let meter = Meter::new(clock.clone(), MS * 30);
        meter.begin(clock.mono());
        // The whole process stood still.
        hand.advance(MS * 500);
        assert_eq!(meter.tick(), Tick::Yield(FIRST_SLICE_MAX));
        assert_eq!(meter.spent(), FIRST_SLICE_MAX);
        meter.end(clock.mono());
        // From now on the thread's own time counts, which by this clock goes on.
        meter.begin(clock.mono());
        hand.advance(MS * 31);
        assert_eq!(meter.tick(), Tick::Exceeded);
    }
}

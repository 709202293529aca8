//! Tenants: whose monitors they are, what they may use, and what they have used.
//!
//! Architecture invariant: whatever is counted here is counted under the tenant whose job it was, and a reload that
//! changes the quotas keeps the account.

use super::secret::Secrets;
use std::{
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// The tenant of everything that stands in no tenant's configuration.
pub const DEFAULT: &str = "default";

/// Who owns monitors, notifiers and plugins. Nothing of one tenant is another's.
#[derive(Debug)]
pub struct Tenant {
    /// 1 to 64 lower-case letters, digits and inner hyphens.
    pub name: Arc<str>,
    /// What it may use.
    pub quotas: Quotas,
    /// What it has used; the same over reloads.
    pub account: Arc<Account>,
    /// What its settings may name, and what nothing that is written of its jobs may show.
    pub secrets: Arc<Secrets>,
}

impl Tenant {
    /// A tenant with a new account.
    #[must_use]
    pub fn new(name: &str, quotas: Quotas) -> Self {
        Self {
            name: name.into(),
            quotas,
            account: Arc::default(),
            secrets: Arc::default(),
        }
    }

    /// The tenant [`DEFAULT`], without quotas.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::new(DEFAULT, Quotas::default())
    }
}

/// Two are the same if they say the same; what they have used is another matter.
impl PartialEq for Tenant {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.quotas == other.quotas && self.secrets == other.secrets
    }
}

impl Eq for Tenant {}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// All tenants at present, the operator's own first: a handle, which sees what a reload changes.
#[derive(Clone, Debug, Default)]
pub struct Roster(Arc<RwLock<Arc<[Arc<Tenant>]>>>);

impl Roster {
    /// Of these.
    #[must_use]
    pub fn new(tenants: impl IntoIterator<Item = Arc<Tenant>>) -> Self {
        let roster = Self::default();
        roster.replace(tenants);
        roster
    }

    /// Those at present.
    #[must_use]
    pub fn all(&self) -> Arc<[Arc<Tenant>]> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on these.
    pub fn replace(&self, tenants: impl IntoIterator<Item = Arc<Tenant>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = tenants.into_iter().collect();
    }
}

/// What a tenant may use at most. None: as much as the host has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Quotas {
    /// Monitors in its configuration; more are a configuration error.
    pub monitors: Option<u64>,
    /// Jobs of all kinds that are out at the same time, queued or running; at least 1.
    pub in_flight: Option<usize>,
    /// CPU time of its guests in each second, over all cores; more waits.
    pub cpu_per_second: Option<Duration>,
    /// Bytes that the memory caps of its jobs that are out may come to; more waits.
    pub memory_bytes: Option<u64>,
    /// Sockets that its jobs hold open at the same time; more wait, until their job's end.
    pub connections: Option<usize>,
    /// Declared commands that its jobs run at the same time; more wait, until their job's end.
    pub commands: Option<usize>,
    /// Requests, dialogues, look-ups, datagrams, echo requests and commands in each second; more are refused.
    pub requests_per_second: Option<u64>,
    /// Bytes that its jobs send and receive in each second; more waits.
    pub bytes_per_second: Option<u64>,
    /// Codes that are sent out in each hour; more wait, until they are too old.
    pub codes_per_hour: Option<u64>,
}

/// What a tenant has used since the host started.
#[derive(Debug, Default)]
pub struct Account {
    jobs: AtomicU64,
    fuel: AtomicU64,
    cpu_ns: AtomicU64,
    memory_byte_ms: AtomicU64,
    requests: AtomicU64,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
    denials: AtomicU64,
    held: AtomicU64,
    connections: AtomicU64,
}

/// Figures of an [`Account`] at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Executions that have ended.
    pub jobs: u64,
    /// Wasmtime fuel.
    pub fuel: u64,
    /// CPU time of guests.
    pub cpu: Duration,
    /// Peak memory of each execution times how long it took, in byte-milliseconds.
    pub memory_byte_ms: u64,
    /// Requests, dialogues, look-ups and datagrams.
    pub requests: u64,
    /// Bytes sent to targets.
    pub bytes_sent: u64,
    /// Bytes received from targets.
    pub bytes_received: u64,
    /// Calls that were refused for want of a grant or for a quota.
    pub denials: u64,
    /// Times that a quota let its jobs wait.
    pub held: u64,
    /// Sockets that are open now.
    pub connections: u64,
}

impl Account {
    /// One execution ended.
    pub fn add_job(&self, fuel: u64, cpu: Duration, memory_bytes: u64, took: Duration) {
        let add = |count: &AtomicU64, more: u64| count.fetch_add(more, Ordering::Relaxed);
        add(&self.jobs, 1);
        add(&self.fuel, fuel);
        add(&self.cpu_ns, super::time::nanos(cpu));
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        add(&self.memory_byte_ms, memory_bytes.saturating_mul(ms));
    }

    /// A request, dialogue, look-up or datagram begins.
    pub fn add_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// That many bytes went out.
    pub fn add_sent(&self, bytes: u64) {
        self.bytes_sent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// That many bytes came in.
    pub fn add_received(&self, bytes: u64) {
        self.bytes_received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A call was refused.
    pub fn add_denial(&self) {
        self.denials.fetch_add(1, Ordering::Relaxed);
    }

    /// A quota lets its jobs wait.
    pub fn add_held(&self) {
        self.held.fetch_add(1, Ordering::Relaxed);
    }

    /// A socket is opened.
    pub fn connection_opens(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// A socket was closed.
    pub fn connection_closed(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// The figures as they are now.
    #[must_use]
    pub fn used(&self) -> Used {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Used {
            jobs: of(&self.jobs),
            fuel: of(&self.fuel),
            cpu: Duration::from_nanos(of(&self.cpu_ns)),
            memory_byte_ms: of(&self.memory_byte_ms),
            requests: of(&self.requests),
            bytes_sent: of(&self.bytes_sent),
            bytes_received: of(&self.bytes_received),
            denials: of(&self.denials),
            held: of(&self.held),
            connections: of(&self.connections),
        }
    }
}

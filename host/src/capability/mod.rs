//! What the host lends to plugins: one file per interface of `pulse:host`, in plain Rust types.
//!
//! The bindings of each ABI version (`sandbox/`) translate to and from these types. A call that a grant does not
//! cover, or that fails for the host's own reason, returns a [`Failure`] with a [`Taint`]: the execution is then a
//! fault of the prober whatever the plugin makes of the error.
//!
//! Architecture invariant: nothing here names the ECS or wasm. No call panics, whatever the guest asks for, and
//! each is bounded in time, bytes and descriptors.

pub mod address;
mod call;
mod dial;
pub mod docker;
mod egress;
mod error;
pub mod files;
pub mod http;
mod lender;
pub mod log;
pub mod net;
mod resolve;
pub mod target;
pub mod tcp;
#[cfg(test)]
mod testing;
mod tls;
mod tls_facts;
#[cfg(test)]
mod tls_tests;

pub use call::LATE;
pub use egress::{check_addresses, check_http};
pub use error::{ErrorCode, Failure, Phase};
pub use lender::{Lender, Shared, sockets_max};

use crate::domain::{job::Job, limits::Limits, outcome::Denial, spec::Profile, tenant::Tenant, time::Mono};
use log::{Level, Line, LogBook};
use std::{
    borrow::Cow,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// What a job without a plugin may use, which is nothing.
static NOTHING: LazyLock<Profile> = LazyLock::new(|| Profile {
    plugin: "none".into(),
    digest: "".into(),
    limits: Limits::default(),
    grants: Arc::default(),
    reuse: 0,
});

/// One execution, as the lent interfaces see it.
#[derive(Debug)]
pub struct Lease {
    /// The job: whose it is, and which plugin with which grants.
    pub job: Job,
    /// When the job is cut. No call goes on longer.
    pub ends: Mono,
    /// Whether the guest waits for its target at this moment.
    pub waiting: Waiting,
    log: Mutex<LogBook>,
    /// The settings with the values of secrets, once somebody has asked for them.
    filled: OnceLock<String>,
}

impl Lease {
    /// For a job that ends then. Its plugin writes into that log.
    #[must_use]
    pub fn new(job: Job, ends: Mono, log: LogBook) -> Self {
        Self {
            job,
            ends,
            waiting: Waiting::default(),
            log: Mutex::new(log),
            filled: OnceLock::new(),
        }
    }

    /// The monitor's name, for log lines.
    #[must_use]
    pub fn monitor(&self) -> &str {
        self.job.spec.name()
    }

    /// The tenant.
    #[must_use]
    pub fn tenant(&self) -> &Arc<Tenant> {
        &self.job.spec.tenant
    }

    /// The plugin and its grants.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        self.job
            .assignment()
            .map_or(&*NOTHING, |assignment| assignment.profile)
    }

    /// The job's settings, a JSON object: `@settings.…` grants look into it.
    #[must_use]
    pub fn settings(&self) -> &str {
        if let Some(filled) = self.filled.get() {
            return filled;
        }
        match self.job.settings() {
            Cow::Borrowed(settings) => settings,
            Cow::Owned(filled) => self.filled.get_or_init(|| filled),
        }
    }

    /// Writes one line, or counts it as refused when the execution has written enough.
    pub fn write_log(&self, level: Level, message: &str) {
        self.log().write(self, level, message);
    }

    /// The lines so far, if they are kept.
    #[must_use]
    pub fn take_lines(&self) -> Vec<Line> {
        self.log().take_lines()
    }

    fn log(&self) -> MutexGuard<'_, LogBook> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lease {
    /// Says once how much of the log is missing, however the execution ended.
    fn drop(&mut self) {
        let refused = self.log().refused();
        if refused > 0 {
            log::tell_refused(self, refused);
        }
    }
}

/// Says whether a call waits for its target right now: what a deadline that passes then means.
#[derive(Debug, Default)]
pub struct Waiting(AtomicBool);

impl Waiting {
    /// The call waits for its target until the guard is dropped. Looking a name up and waiting for a permit of
    /// the host's own is no waiting for the target.
    pub fn begin(&self) -> WaitGuard<'_> {
        self.0.store(true, Ordering::Relaxed);
        WaitGuard(self)
    }

    /// Whether a guard is alive.
    #[must_use]
    pub fn on_target(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// See [`Waiting::begin`]. The flag outlives a call that is dropped half-way only if the guard is forgotten, so
/// the sandbox reads it *before* it drops the call.
#[derive(Debug)]
pub struct WaitGuard<'a>(&'a Waiting);

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Relaxed);
    }
}

/// Why an execution says nothing about its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taint {
    /// No grant covers what was asked for.
    Denied(Denial),
    /// The host could not do it: descriptors, permits, its own resolver, late polling.
    Host(String),
}

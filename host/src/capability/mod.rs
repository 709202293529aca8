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
pub mod command;
pub mod course;
mod dial;
pub mod dns;
#[cfg(test)]
mod dns_tests;
pub mod docker;
mod egress;
mod error;
pub mod files;
pub mod handshake;
pub mod http;
pub mod icmp;
#[cfg(test)]
mod icmp_tests;
mod lender;
pub mod log;
pub mod net;
mod places;
mod resolve;
pub mod socket;
pub mod stream;
pub mod target;
pub mod tcp;
#[cfg(test)]
pub(crate) mod testing;
mod throttle;
mod tls;
mod tls_facts;
#[cfg(test)]
mod tls_tests;

pub use call::LATE;
pub use command::launch::{Launcher, SUBCOMMAND as LAUNCH, main as launch};
pub use egress::{check_addresses, check_http};
pub use error::{ErrorCode, Failure, Phase};
pub use lender::{Lender, Shared, sockets_max};

use crate::domain::{job::Job, limits::Limits, outcome::Denial, spec::Profile, tenant::Tenant, time::Mono};
use course::{Course, GuestTime, Origin};
use log::{Level, Line, LogBook};
use socket::Names;
use std::{
    borrow::Cow,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};
use throttle::Throttle;

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
    taint: OnceLock<Taint>,
    /// What its tenant may do in a second; known with the first call that uses the network.
    throttle: OnceLock<Arc<Throttle>>,
    /// Which names it had looked up, and what they resolved to.
    names: Mutex<Names>,
    /// Whether something was done for it outside of the sandbox.
    acted: AtomicBool,
    /// What becomes of lent calls; none: they are carried out.
    course: Option<Arc<Course>>,
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
            taint: OnceLock::new(),
            throttle: OnceLock::new(),
            names: Mutex::default(),
            acted: AtomicBool::new(false),
            course: None,
        }
    }

    /// The same, with lent calls that take another course.
    #[must_use]
    pub fn along(mut self, course: Option<Arc<Course>>) -> Self {
        self.course = course;
        self
    }

    /// The time that the guest sees, where it is not the system's.
    #[must_use]
    pub fn guest_time(&self) -> Option<&Arc<GuestTime>> {
        self.course.as_ref().and_then(|course| course.time())
    }

    /// Whether the guest's own time decides when the job is over: time that does not go on by itself.
    #[must_use]
    pub fn has_own_end(&self) -> bool {
        self.guest_time().is_some_and(|time| !time.really_sleeps())
    }

    /// Where the execution begins, if it can be repeated.
    #[must_use]
    pub fn origin(&self) -> Option<Origin> {
        self.course.as_ref().and_then(|course| course.origin())
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

    /// The execution says nothing about its target; the first reason stands. What was refused is counted.
    pub fn taint(&self, taint: Option<Taint>) {
        let Some(taint) = taint else {
            return;
        };
        if matches!(taint, Taint::Denied(_) | Taint::Quota(_)) {
            self.tenant().account.add_denial();
        }
        let _ = self.taint.set(taint);
    }

    /// From now on something may have happened outside of the sandbox.
    pub fn acts(&self) {
        self.acted.store(true, Ordering::Relaxed);
    }

    /// Whether something may have happened outside of the sandbox.
    #[must_use]
    pub fn has_acted(&self) -> bool {
        self.acted.load(Ordering::Relaxed)
    }

    /// Why the execution says nothing about its target, if so.
    #[must_use]
    pub fn tainted(&self) -> Option<&Taint> {
        self.taint.get()
    }

    fn throttle(&self, shared: &Shared) -> &Arc<Throttle> {
        self.throttle.get_or_init(|| shared.throttles.of(self.tenant()))
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
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
pub struct Waiting {
    /// A guest can wait for several at the same time.
    waits: AtomicU32,
    /// Until when connections wait for their tenant's quota in place of the target: a time, since who is held back may
    /// not be looked at again.
    held_until: OnceLock<Arc<AtomicU64>>,
}

impl Waiting {
    /// The call waits for its target until the guard is dropped. Looking a name up and waiting for a permit of
    /// the host's own is no waiting for the target.
    pub fn begin(&self) -> WaitGuard<'_> {
        self.waits.fetch_add(1, Ordering::Relaxed);
        WaitGuard(self)
    }

    /// Whether a guard is alive, and nothing that it stands for is held back by the host itself.
    #[must_use]
    pub fn on_target(&self, now: Mono) -> bool {
        self.waits.load(Ordering::Relaxed) > 0 && !self.held_back(now)
    }

    /// Whether a connection is held back because its tenant's bytes of this second are used up.
    #[must_use]
    pub fn held_back(&self, now: Mono) -> bool {
        self.held_until
            .get()
            .is_some_and(|until| until.load(Ordering::Relaxed) > now.0)
    }

    /// Where it is noted until when something is held back.
    fn holder(&self) -> Arc<AtomicU64> {
        Arc::clone(self.held_until.get_or_init(Arc::default))
    }
}

/// See [`Waiting::begin`]. The count outlives a call that is dropped half-way only if the guard is forgotten, so
/// the sandbox reads it *before* it drops the call.
#[derive(Debug)]
pub struct WaitGuard<'a>(&'a Waiting);

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        self.0.waits.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why an execution says nothing about its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taint {
    /// No grant covers what was asked for.
    Denied(Denial),
    /// The tenant has used up what it may use; says which quota.
    Quota(String),
    /// There was no room for it, and nothing has happened.
    Capacity(String),
    /// The host could not do it: descriptors, permits, its own resolver, late polling.
    Host(String),
}

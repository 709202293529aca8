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
pub use error::{ErrorCode, Failure, Phase};
pub use lender::{Lender, Shared};

use crate::domain::{
    outcome::Denial,
    spec::{Kind, MonitorSpec, Profile},
    time::Mono,
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// One execution, as the lent interfaces see it.
#[derive(Debug)]
pub struct Lease {
    /// Whose job it is.
    pub spec: MonitorSpec,
    /// Which of its lanes.
    pub kind: Kind,
    /// Which of its sinks.
    pub sink: u16,
    /// The plugin and its grants.
    pub profile: Arc<Profile>,
    /// When the job is cut. No call goes on longer.
    pub ends: Mono,
    /// Whether the guest waits for its target at this moment.
    pub waiting: Arc<Waiting>,
}

impl Lease {
    /// The monitor's name, for log lines.
    #[must_use]
    pub fn monitor(&self) -> &str {
        self.spec.name()
    }

    /// The tenant.
    #[must_use]
    pub fn tenant(&self) -> &Arc<str> {
        &self.spec.tenant
    }

    /// The job's settings, a JSON object: `@settings.…` grants look into it.
    #[must_use]
    pub fn settings(&self) -> &str {
        self.spec
            .assignment(self.kind, self.sink)
            .map_or("{}", |assignment| assignment.settings)
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

//! What of a monitor outlasts a restart.

use super::{health, outbox, spec::MonitorSpec};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What tells a monitor from all others of this host, over reloads and restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MonitorKey(pub u64);

impl MonitorKey {
    /// The host's own entry, whose sinks hear of the prober's trouble.
    pub const HOST: Self = Self(0);

    /// Of that monitor.
    #[must_use]
    pub fn of(spec: &MonitorSpec) -> Self {
        Self::made(&spec.tenant.name, spec.identity())
    }

    /// Of a monitor that nothing but its name tells from others of its tenant.
    #[must_use]
    pub fn named(tenant: &str, name: &str) -> Self {
        Self::made(tenant, super::spec::identity([name]))
    }

    fn made(tenant: &str, identity: u64) -> Self {
        let identity = identity.to_string();
        Self(super::spec::identity([tenant, identity.as_str()]))
    }
}

/// One monitor as it was when it was put down: nothing of it depends on the configuration of that time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The state machine.
    pub health: health::memory::Memory,
    /// What was not delivered yet, by sink.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sinks: Vec<outbox::Memory>,
}

impl Saved {
    /// Whether there is nothing to be remembered.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.health.is_blank() && self.sinks.is_empty()
    }
}

/// A saved monitor, and whose it was.
#[derive(Clone, Debug)]
pub struct Recalled {
    /// Its tenant's name.
    pub tenant: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// What was saved of it.
    pub saved: Saved,
}

#[cfg(test)]
mod tests {
    use crate::domain::spec::identity;

    #[test]
    fn keys_are_the_same_for_ever() {
        // They stand in databases: a toolchain that hashes otherwise would orphan everything there.
        assert_eq!(identity(["shop"]), 16_722_017_505_638_673_139);
    }
}

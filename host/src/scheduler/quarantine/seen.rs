//! What the breakers know, for whoever looks from another thread.

use super::{NONE, Quarantine, key::State};
use crate::domain::{host::PerKind, spec::Kind, time::Mono};
use std::{sync::Arc, time::Duration};

/// What is known of a plugin as one tenant uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Who uses it.
    pub tenant: Arc<str>,
    /// Its name.
    pub plugin: Arc<str>,
    /// Its component's digest.
    pub digest: Arc<str>,
    /// Executions within the window that show that it works.
    pub well: u32,
    /// Those that ended in trouble of its own.
    pub sick: u32,
    /// Why it is not run, and since it is tried again: when. None: it is run.
    pub shut: Option<Shut>,
    /// Its queue of each kind, if it has one that is its own.
    pub flows: PerKind<Option<u16>>,
}

/// Why nothing of it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shut {
    /// The last fault's line.
    pub reason: Arc<str>,
    /// When it is tried again; none: it is being tried.
    pub until: Option<Mono>,
    /// Monitors whose checks were not run.
    pub held: usize,
}

impl Quarantine {
    /// Everything that is known. Nothing where nothing is ever quarantined.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        let mut flows = vec![PerKind::<Option<u16>>::from_fn(|_| None); self.keys.len()];
        for kind in Kind::ALL {
            let bound = (0u16..).zip(self.of_flow.get(kind));
            for (flow, number) in bound.filter(|(_, number)| **number != NONE) {
                if let Some(flows) = flows.get_mut(*number as usize) {
                    *flows.get_mut(kind) = Some(flow);
                }
            }
        }
        self.keys
            .iter()
            .zip(flows)
            .filter_map(|(key, flows)| {
                let key = key.as_ref()?;
                Some(Seen {
                    tenant: Arc::clone(&key.tenant),
                    plugin: Arc::clone(&key.plugin),
                    digest: Arc::clone(&key.digest),
                    well: key.sum.well,
                    sick: key.sum.sick,
                    shut: key.opened.then(|| Shut {
                        reason: Arc::clone(&key.reason),
                        until: match key.state {
                            State::Open { until } => Some(until),
                            State::Trying(_) | State::Closed => None,
                        },
                        held: key.held.len(),
                    }),
                    flows,
                })
            })
            .collect()
    }

    /// The time over which executions are counted.
    #[must_use]
    pub fn window(&self) -> Option<Duration> {
        self.settings.map(|settings| settings.window)
    }
}

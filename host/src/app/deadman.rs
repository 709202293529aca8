//! Heartbeat monitors over a restart: what was heard of them is read at the start, and written while the host runs.

use crate::{
    clock::Clock,
    domain::{
        deadman::Switches,
        saved::{MonitorKey, Recalled},
        spec::MonitorSpec,
    },
    store::{Beats, Store},
};
use anyhow::{Context as _, Result, anyhow};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::MissedTickBehavior;

/// How often what was heard is put on record.
const EVERY: Duration = Duration::from_secs(1);

/// Heartbeats are waited for from now on, and what an earlier process heard is known.
pub(super) fn begin(
    switches: &Switches,
    store: &Store,
    recalled: &HashMap<MonitorKey, Recalled>,
    monitors: &[MonitorSpec],
    clock: &Clock,
) -> Result<Beats> {
    let beats = store.beats()?;
    let past = beats
        .all()
        .map_err(|error| anyhow!(error))
        .context("which heartbeats came can't be read")?;
    let now = clock.now();
    let in_trouble = |key| {
        let recalled: Option<&Recalled> = recalled.get(&key);
        recalled.is_some_and(|recalled| recalled.saved.health.episode().is_some())
    };
    switches.begin(monitors, now, &past, in_trouble);
    Ok(beats)
}

/// Puts on record what is heard.
pub(super) struct Recorder {
    beats: Beats,
    switches: Arc<Switches>,
    fails: AtomicBool,
}

impl Recorder {
    /// There.
    pub fn new(beats: Beats, switches: Arc<Switches>) -> Self {
        Self {
            beats,
            switches,
            fails: AtomicBool::new(false),
        }
    }

    /// Until the host stops.
    pub async fn keep(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let recorder = Arc::clone(&self);
            // It waits for a disk.
            let _ = tokio::task::spawn_blocking(move || recorder.write()).await;
        }
    }

    /// What is not on record yet. If that fails it is tried again with what comes next, and said once.
    pub fn write(&self) {
        let unwritten = self.switches.take_unwritten();
        if unwritten.kept.is_empty() && unwritten.gone.is_empty() {
            return;
        }
        let written = self.beats.put(&unwritten);
        let failed = self.fails.swap(written.is_err(), Ordering::AcqRel);
        if let Err(error) = written {
            self.switches.give_back(unwritten);
            if !failed {
                tracing::warn!(
                    "heartbeats can't be put on record: after a restart, the monitors that they are of wait for new ones: {error}"
                );
            }
        }
    }
}

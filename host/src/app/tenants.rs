//! What is told of tenants: which configuration of each is in force, and in a small file, what each has used.

use crate::{
    clock::Clock,
    config::{self, Standing, TenantState},
    domain::{
        tenant::{Roster, Tenant, Used},
        time::Wall,
    },
    journal::{self, counted},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// The file, in the data directory.
const FILE: &str = "tenants.json";
const VERSION: u32 = 1;
/// Ten thousand tenants with long names.
const BYTES_MAX: u64 = 16 << 20;

/// What all tenants had used at one time.
#[derive(Debug, Serialize, Deserialize)]
pub struct Figures {
    version: u32,
    /// Milliseconds since 1970.
    at: u64,
    /// Since that host started, by tenant.
    pub tenants: BTreeMap<String, Amounts>,
}

/// What a tenant has used since the host started. Names tell the unit.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Amounts {
    /// Executions that have ended.
    pub jobs: u64,
    /// Wasmtime fuel.
    pub fuel: u64,
    /// CPU time of guests.
    pub cpu_seconds: f64,
    /// Peak memory of each execution times how long it took.
    pub memory_byte_seconds: f64,
    /// Requests, dialogues, look-ups and datagrams.
    pub requests: u64,
    /// Bytes sent to targets.
    pub sent_bytes: u64,
    /// Bytes received from targets.
    pub received_bytes: u64,
    /// Calls that were refused for want of a grant or for a quota.
    pub denials: u64,
    /// Times that a quota let its jobs wait.
    pub held: u64,
    /// Sockets that were open at that time.
    pub connections: u64,
}

impl From<Used> for Amounts {
    fn from(used: Used) -> Self {
        #[allow(clippy::cast_precision_loss)] // For people; 53 bits of byte-milliseconds are enough.
        let memory_byte_seconds = used.memory_byte_ms as f64 / 1000.0;
        Self {
            jobs: used.jobs,
            fuel: used.fuel,
            cpu_seconds: used.cpu.as_secs_f64(),
            memory_byte_seconds,
            requests: used.requests,
            sent_bytes: used.bytes_sent,
            received_bytes: used.bytes_received,
            denials: used.denials,
            held: used.held,
            connections: used.connections,
        }
    }
}

impl Figures {
    fn of(tenants: &[Arc<Tenant>], at: Wall) -> Self {
        let amounts = |tenant: &Arc<Tenant>| (tenant.name.to_string(), tenant.account.used().into());
        Self {
            version: VERSION,
            at: at.0,
            tenants: tenants.iter().map(amounts).collect(),
        }
    }

    /// How old they are.
    #[must_use]
    pub fn age(&self, clock: &Clock) -> Duration {
        Duration::from_millis(clock.wall().0.saturating_sub(self.at))
    }
}

/// The figures that a host with that data directory has left. None: it has left none.
///
/// # Errors
/// When they can't be read.
pub fn figures(data_dir: &Path) -> std::io::Result<Option<Figures>> {
    let file = match std::fs::File::open(data_dir.join(FILE)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut text = String::new();
    file.take(BYTES_MAX).read_to_string(&mut text)?;
    let figures: Figures = serde_json::from_str(&text)?;
    Ok((figures.version == VERSION).then_some(figures))
}

/// Says which configurations are in force where it is not the present one, and everything that is wrong.
pub(super) fn announce(states: &[TenantState], now: Wall) {
    for state in states {
        let name = &state.tenant.name;
        if !state.warnings.is_empty() {
            tracing::warn!("tenant {name}: {}", state.warnings.render(false));
        }
        if let Some(why) = &state.unkept {
            tracing::warn!(
                "tenant {name}: no copy of its configuration could be kept for the case that a later one is wrong: {why}"
            );
        }
        match &state.standing {
            Standing::Present => {}
            Standing::LastGood { problems, kept } => tracing::error!(
                "tenant {name}: its configuration is wrong ({}); its last good one, {} old, goes on with {}:\n{}",
                counted(problems.len() as u64, "problem"),
                shown_age(Duration::from_millis(now.0.saturating_sub(kept.0))),
                counted(state.monitors as u64, "monitor"),
                problems.render(false)
            ),
            Standing::None { problems, why, stale } => {
                tracing::error!(
                    "tenant {name}: its configuration is wrong ({}), and it has no monitors: {why}:\n{}",
                    counted(problems.len() as u64, "problem"),
                    problems.render(false)
                );
                if let Some(stale) = stale {
                    tracing::error!(
                        "tenant {name}: in its last good configuration:\n{}",
                        stale.render(false)
                    );
                }
            }
        }
    }
}

/// One unit is enough to know how long ago something was.
#[must_use]
pub fn shown_age(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..60 => counted(seconds, "second"),
        60..3_600 => counted(seconds / 60, "minute"),
        3_600..172_800 => counted(seconds / 3_600, "hour"),
        _ => counted(seconds / 86_400, "day"),
    }
}

/// Leaves figures in the data directory, again and again. A disk that hangs holds up nothing but the figures.
pub(super) async fn leave_figures(data_dir: PathBuf, tenants: Roster, clock: Clock) {
    let mut ticks = tokio::time::interval(journal::SUMMARY_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        ticks.tick().await;
        let figures = Figures::of(&tenants.all(), clock.wall());
        let data_dir = data_dir.clone();
        let written = tokio::task::spawn_blocking(move || write(&data_dir, &figures)).await;
        match written {
            Ok(Ok(())) => failing = false,
            Ok(Err(error)) if !failing => {
                failing = true;
                tracing::warn!("figures of tenants can't be written: {error}");
            }
            Ok(Err(_)) => {}
            // The runtime is shutting down.
            Err(_) => return,
        }
    }
}

fn write(data_dir: &Path, figures: &Figures) -> std::io::Result<()> {
    config::replace(
        &data_dir.join(FILE),
        &serde_json::to_vec(figures)?,
        config::Durable::No,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{tenant::Quotas, time::Mono};

    #[test]
    fn figures_are_read_as_they_were_left() {
        let dir = tempfile::tempdir().unwrap();
        let (clock, hand) = Clock::manual(Mono(1), Wall(1_000_000));
        assert!(figures(dir.path()).unwrap().is_none());
        let tenant = Arc::new(Tenant::new("acme", Quotas::default()));
        let ms = Duration::from_millis;
        tenant.account.add_job(7, ms(500), 1 << 20, ms(2_000));
        tenant.account.add_sent(3);
        write(dir.path(), &Figures::of(&[tenant], clock.wall())).unwrap();
        hand.advance(ms(4_000));
        let read = figures(dir.path()).unwrap().unwrap();
        assert_eq!(read.age(&clock), ms(4_000));
        let acme = &read.tenants["acme"];
        assert_eq!((acme.jobs, acme.fuel, acme.sent_bytes), (1, 7, 3));
        assert_eq!(
            (acme.cpu_seconds, acme.memory_byte_seconds),
            (0.5, f64::from(2 << 20))
        );
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            1,
            "nothing is left beside it"
        );
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        assert!(figures(dir.path()).is_err());
    }

    #[test]
    fn ages_have_one_unit() {
        let shown = |seconds| shown_age(Duration::from_secs(seconds));
        assert_eq!(shown(1), "1 second");
        assert_eq!(shown(125), "2 minutes");
        assert_eq!(shown(7_300), "2 hours");
        assert_eq!(shown(200_000), "2 days");
    }
}

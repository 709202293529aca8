//! What is measured on one executor: how soon a guest is gone, and whether two tenants see anything of each other.

use super::{
    EVERY, crowd,
    support::{Arguments, guest, hostile::CHAOS, process, setup},
};
use anyhow::{Result, bail};
use pulse_host::{
    clock::Clock,
    domain::{
        grant::Grants,
        histogram::Histogram,
        host::HostSettings,
        job::Job,
        limits::Limits,
        outcome::{Answer, Outcome, Status},
        spec::{Class, MonitorSpec},
        tenant::Tenant,
    },
    plugins::{self, Found},
    sandbox::{Executor, Library, Sandbox},
};
use serde_json::json;
use std::{sync::Arc, time::Duration};

/// A check of that monitor that is due now.
fn job(clock: &Clock, spec: &MonitorSpec) -> Job {
    let now = clock.mono();
    Job::alone(spec.clone(), now, clock.wall())
}

/// A pulse of that guest for that tenant.
fn monitor(
    tenant: &Arc<Tenant>,
    guest: &str,
    settings: &str,
    limits: Limits,
    reuse: u32,
    timeout: Duration,
) -> MonitorSpec {
    let profile = setup::profile_within(limits, guest, Grants::default(), reuse);
    let class = Class {
        tenant: Arc::clone(tenant),
        ..setup::class(&profile, settings, timeout, EVERY)
    };
    MonitorSpec::new(Arc::new(class), None, "monitor", None)
}

/// So many slots, and these guests.
fn in_slots(slots: u32, found: Vec<Found>, clock: &Clock) -> Result<(Arc<Sandbox>, Arc<Library>)> {
    let mut settings = setup::sandbox_settings(&HostSettings::new(process::scratch()?))?;
    settings.engines = std::num::NonZeroUsize::MIN;
    settings.slots = slots;
    let sandbox = Sandbox::new(settings, clock.clone())?;
    let (library, problems) = Library::load(&sandbox, found);
    match problems.first() {
        Some(problem) => bail!("{problem}"),
        None => Ok((sandbox, Arc::new(library))),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}

/// How long a guest goes on beyond its budget of CPU time, and how soon after a deadline its slot does another job.
pub fn budget(arguments: &Arguments) -> Result<()> {
    const RUNS: usize = 500;
    let clock = Clock::system();
    let chaos = plugins::read(&guest(CHAOS)?).map_err(|problem| anyhow::anyhow!("{problem}"))?;
    let (sandbox, library) = in_slots(1, vec![chaos], &clock)?;
    let tenant = crowd::tenant("hostile");
    let limits = Limits {
        fuel: u64::MAX >> 1,
        cpu: Duration::from_millis(30),
        memory_bytes: 32 << 20,
    };
    let long = Duration::from_secs(20);
    let spins = monitor(&tenant, CHAOS, r#"{"do":"spin"}"#, limits, 0, long);
    let sleeps = monitor(
        &tenant,
        CHAOS,
        r#"{"do":"sleep","ms":100000}"#,
        limits,
        0,
        Duration::from_millis(20),
    );
    let healthy = monitor(&tenant, CHAOS, r#"{"do":"healthy"}"#, limits, 0, long);
    let (mut beyond, mut usable) = (Histogram::default(), Histogram::default());
    runtime()?.block_on(async {
        let executor = Executor::new(sandbox, library);
        for _ in 0..RUNS {
            let result = executor.execute(job(&clock, &spins)).await;
            if !matches!(result.outcome, Outcome::OutOfCpu { .. }) {
                bail!("{:?}", result.outcome);
            }
            beyond.record(result.finished.since(result.started).saturating_sub(limits.cpu));
            let result = executor.execute(job(&clock, &sleeps)).await;
            if result.outcome != Outcome::Deadline {
                bail!("{:?}", result.outcome);
            }
            // The only slot there is.
            loop {
                let next = executor.execute(job(&clock, &healthy)).await;
                if matches!(next.outcome, Outcome::Answer(_)) {
                    usable.record(next.finished.since(result.finished));
                    break;
                }
            }
        }
        Ok(())
    })?;
    let ms = |histogram: &Histogram, quantile: f64| histogram.quantile(quantile).as_secs_f64() * 1e3;
    arguments.report(&json!({
        "runs": RUNS,
        "beyond_cpu_budget_p50_ms": ms(&beyond, 0.5),
        "beyond_cpu_budget_p99_ms": ms(&beyond, 0.99),
        "slot_used_again_p50_ms": ms(&usable, 0.5),
        "slot_used_again_p99_ms": ms(&usable, 0.99),
    }))
}

/// Two tenants take turns in two slots, first with fresh instances, then with ones that each uses twice. Each marks
/// memory, table and a global, and looks for marks first.
pub fn leaks(arguments: &Arguments) -> Result<()> {
    const CYCLES: usize = 1_000_000;
    let clock = Clock::system();
    // The canary of the tests, over 256 KiB instead of 4 MiB: a million times.
    let found = crowd::by_hand("canary", |core| {
        core.replace("0x410000", "0x50000")
            .replace("0x400000", "0x40000")
            .replace("\"memory\") 65", "\"memory\") 5")
    })?;
    let (sandbox, library) = in_slots(2, vec![found], &clock)?;
    let mut seen = 0_u64;
    let mut cycles = 0_u64;
    runtime()?.block_on(async {
        let executor = Executor::new(sandbox, library);
        for reuse in [0, 2] {
            let tenants = ["acme", "globex"].map(|name| {
                monitor(
                    &crowd::tenant(name),
                    "canary",
                    "{}",
                    Limits::default(),
                    reuse,
                    Duration::from_secs(20),
                )
            });
            for cycle in 0..CYCLES / 2 {
                let Some(spec) = tenants.get(cycle % 2) else {
                    continue;
                };
                let result = executor.execute(job(&clock, spec)).await;
                let Outcome::Answer(Answer::Pulse(report)) = &result.outcome else {
                    bail!("{:?}", result.outcome);
                };
                // An instance that one tenant uses twice finds its own marks the second time; nobody finds another's.
                let own = reuse > 0 && cycle / 2 % 2 == 1;
                if (report.status == Status::Healthy) == own {
                    seen += 1;
                }
                cycles += 1;
            }
        }
        Ok(())
    })?;
    arguments.report(&json!({"cycles": cycles, "marks_of_others_seen": seen}))
}

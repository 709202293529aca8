//! What an execution needs that was cut for want of fuel, CPU time or memory: it is executed once more, with room.
//!
//! Only where that repeats nothing outside: of a case, whose calls a script answers.

use super::trial::{MEMORY_BYTES_MAX, Ran, Trial};
use crate::{
    cases::Case,
    config::{show_duration, show_size},
    domain::{limits::Limits, outcome::Outcome},
};
use anyhow::Result;
use std::{path::Path, time::Duration};

/// Times as much fuel, and how much CPU time and memory at least.
const FUEL_TIMES: u64 = 100;
const CPU: Duration = Duration::from_secs(20);
const MEMORY_BYTES: u64 = 256 << 20;

/// Whether it was cut because a limit was too small.
#[must_use]
pub fn is_short(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::OutOfFuel { .. } | Outcome::OutOfCpu { .. } | Outcome::OutOfMemory { .. }
    )
}

/// Limits with room.
#[must_use]
pub fn roomy(limits: Limits) -> Limits {
    Limits {
        fuel: limits.fuel.saturating_mul(FUEL_TIMES),
        cpu: limits.cpu.max(CPU),
        memory_bytes: limits.memory_bytes.clamp(MEMORY_BYTES, MEMORY_BYTES_MAX),
    }
}

/// What a case needs that was cut, for people.
///
/// # Errors
/// The plugin can't be loaded with more memory, or there is no runtime.
pub fn needed(path: &Path, case: &Case) -> Result<String> {
    let mut scene = case.scene.clone();
    scene.limits = roomy(scene.limits);
    let trial = Trial::load(path, scene.limits.memory_bytes)?;
    let ran = trial.run(&scene, Some(&case.play().course))?;
    Ok(words(&ran))
}

fn words(ran: &Ran) -> String {
    let Ran { outcome, usage, .. } = ran;
    let used = format!(
        "{} fuel, {} of CPU time and {} of memory",
        usage.fuel,
        show_duration(Duration::from_millis(
            u64::try_from(usage.cpu.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX)
        )),
        show_size(usage.peak_memory_bytes.div_ceil(1024) * 1024),
    );
    if is_short(outcome) {
        format!("even with {used} it was not done")
    } else {
        format!(
            "with room for it, it takes {used}; limits in [plugins.NAME], and [limits] of a case, must be above that"
        )
    }
}

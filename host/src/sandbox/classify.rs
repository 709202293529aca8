//! From wasmtime's errors to outcomes: exactly one for each trouble.

use super::store::{CpuExceeded, State};
use crate::{
    capability::Taint,
    domain::{limits::Limits, outcome::Outcome},
};
use wasmtime::{PoolConcurrencyLimitError, Trap};

/// What an error of the call, or of making the instance, means.
#[must_use]
pub fn error(error: &wasmtime::Error, state: &State, limits: Limits) -> Outcome {
    if let Some(taint) = &state.taint {
        return tainted(taint.clone());
    }
    if error.is::<CpuExceeded>() {
        return Outcome::OutOfCpu { limit: limits.cpu };
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return Outcome::NoCapacity("all instance slots are in use".to_owned());
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => return Outcome::OutOfFuel { limit: limits.fuel },
        Some(Trap::StackOverflow) => return Outcome::StackOverflow,
        Some(Trap::Interrupt) => return Outcome::OutOfCpu { limit: limits.cpu },
        _ => {}
    }
    // A guest whose allocator was refused traps in its own way; the refusal is the reason.
    if let Some((limit_bytes, wanted_bytes)) = state.memory.refused() {
        return Outcome::OutOfMemory {
            limit_bytes,
            wanted_bytes,
        };
    }
    Outcome::Trap(one_line(error))
}

/// What a taint means, whatever the guest made of it.
#[must_use]
pub fn tainted(taint: Taint) -> Outcome {
    match taint {
        Taint::Denied(denial) => Outcome::Denied(denial),
        Taint::Host(message) => Outcome::HostError(message),
    }
}

/// An error and its causes on one line, without the backtrace that wasmtime puts in front.
#[must_use]
pub fn one_line(error: &wasmtime::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if cause.starts_with("error while executing at wasm backtrace") {
            continue;
        }
        let line = cause.split_whitespace().collect::<Vec<_>>().join(" ");
        if line.is_empty() || text.contains(&line) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&line);
    }
    super::answer::line(&mut text);
    text
}

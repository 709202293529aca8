//! The three caps of an execution: fuel, CPU time and memory. The deadline is the job's own.

use std::time::Duration;

/// What one execution may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Wasmtime fuel, roughly one unit per wasm instruction.
    pub fuel: u64,
    /// CPU time of the guest, measured by timing each poll of its future.
    pub cpu: Duration,
    /// Bytes of all linear memories and tables together.
    pub memory_bytes: u64,
}

impl Default for Limits {
    /// 50 M fuel (about 4 ms of an endless loop), 200 ms of CPU time, 32 MiB.
    fn default() -> Self {
        Self {
            fuel: 50_000_000,
            cpu: Duration::from_millis(200),
            memory_bytes: 32 << 20,
        }
    }
}

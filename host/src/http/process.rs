//! What the operating system says of this process.

use super::{exposition::Text, metrics::seconds};
use crate::domain::time::Wall;
use rustix::process::Resource;

/// Writes it. What the system does not tell is left out.
pub fn write(text: &mut Text, started: Wall) {
    text.gauge(
        "process_start_time_seconds",
        "When the process started, in seconds since 1970.",
    );
    text.sample(&[], seconds(started));
    if let Some((cpu, resident, threads)) = stat() {
        text.counter("process_cpu_seconds_total", "CPU time, of user and system.");
        text.sample(&[], cpu);
        text.gauge("process_resident_memory_bytes", "Memory that is resident.");
        text.sample(&[], resident);
        text.gauge("process_threads", "Threads.");
        text.sample(&[], threads);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        text.gauge("process_open_fds", "Descriptors that are open.");
        // Reading the folder takes one.
        text.sample(&[], open.count().saturating_sub(1) as f64);
    }
    if let Some(most) = rustix::process::getrlimit(Resource::Nofile).current {
        text.gauge("process_max_fds", "Descriptors that may be open.");
        text.sample(&[], most as f64);
    }
}

/// CPU time in seconds, resident bytes, threads.
fn stat() -> Option<(f64, f64, f64)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name before it may hold anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<f64> = rest
        .split_whitespace()
        .skip(1)
        .map(|field| field.parse().unwrap_or_default())
        .collect();
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let page = rustix::param::page_size() as f64;
    let field = |number: usize| fields.get(number).copied();
    // Fields 14, 15, 20 and 24 of proc(5); the fourth is the first here.
    Some(((field(10)? + field(11)?) / ticks, field(20)? * page, field(16)?))
}

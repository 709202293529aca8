//! What the oracle is shown of one run.

use pulse_host::domain::{
    event::Event,
    job::JobResult,
    time::{Mono, Wall},
};
use std::time::Duration;

/// One run of the scheduler.
#[derive(Clone, Copy)]
pub struct Tick<'a> {
    pub now: Mono,
    pub wall: Wall,
    /// Since the run before.
    pub gap: Duration,
    /// How long the whole host stood still before it; zero as a rule.
    pub stalled: Duration,
    /// Results that lay in the channel when it began, in their order, each with the number of the batch in which it
    /// came.
    pub results: &'a [(usize, JobResult)],
    /// What it published.
    pub events: &'a [Event],
    pub draining: bool,
    pub queue_wait: Duration,
    pub grace: Duration,
    pub max_hold: Duration,
}

/// The scheduler keeps time in whole milliseconds: what falls due within one is due at its end.
pub fn ceil_ms(at: Mono) -> Mono {
    Mono(at.0.div_ceil(1_000_000) * 1_000_000)
}

//! How many jobs of a kind may be out, how many of them may wait in the channel, and how many travel together.
//!
//! **In all** (`limit`): additive increase, multiplicative decrease (D. Chiu and R. Jain, "Analysis of the increase and
//! decrease algorithms for congestion avoidance in computer networks", 1989), once every 100 ms. The signal is how
//! long jobs waited between being sent and being started, on average over that time. It says how busy the workers are
//! and nothing about the targets: those may take their time. Above [`WAIT_MAX`] the limit falls by an eighth; if the
//! limit held something back and the wait is below, it grows by a sixteenth of its ceiling.
//!
//! **In the channel** (`depth`): what the workers get done in [`DEPTH`], by the measured CPU time of a job. More would
//! only make jobs wait where nothing can be decided about them any more. Where several users share the channel it is
//! less, [`DEPTH_SHARED`], and each job counts with what those of its user cost: so nobody waits long behind another's
//! dear ones.
//!
//! **In a batch**: what one worker gets done in [`BATCH`], but no more than its share of what is due, unless that is
//! not worth waking a worker for ([`WORTH`]): small where jobs are dear, so that all workers have something to do; large
//! where they are cheap.
//!
//! Architecture invariant: pure arithmetic; the limit lies between 1 and the ceiling.

use crate::domain::{
    host::QueueSettings,
    time::{Mono, nanos},
};
use std::time::Duration;

/// Started jobs may have waited that long in the channel, on average.
pub const WAIT_MAX: Duration = Duration::from_millis(25);
/// The channel holds what the workers get done in that time.
pub const DEPTH: Duration = Duration::from_millis(50);
/// The same, where several users share it.
pub const DEPTH_SHARED: Duration = Duration::from_millis(4);
/// A batch holds what one worker gets done in that time.
pub const BATCH: Duration = Duration::from_micros(500);

/// Less than that is not worth another worker's waking up.
pub const WORTH: Duration = Duration::from_micros(100);

const PERIOD: Duration = Duration::from_millis(100);
/// What a job is taken to cost before any was measured.
const COST_FIRST_NS: u64 = 50_000;
/// The moving average follows a change within about that many jobs.
const COST_JOBS: u64 = 64;

/// One kind's.
#[derive(Clone, Debug)]
pub struct Window {
    settings: QueueSettings,
    workers: usize,
    limit: usize,
    cost_ns: u64,
    period_began: Mono,
    started: u64,
    waited_ns: u64,
    held_back: bool,
    sent: Sent,
}

/// What the latest jobs were expected to cost, so that the work in the channel is known: the channel is first-in
/// first-out.
#[derive(Clone, Debug)]
struct Sent {
    /// Sums of all costs before each of the latest jobs; as many as the channel may hold, and one more.
    sums: Vec<u64>,
    sum: u64,
    count: usize,
}

impl Sent {
    fn new(capacity: usize) -> Self {
        Self {
            sums: vec![0; (capacity + 1).next_power_of_two()],
            sum: 0,
            count: 0,
        }
    }

    fn add(&mut self, cost_ns: u64) {
        let mask = self.sums.len() - 1;
        if let Some(before) = self.sums.get_mut(self.count & mask) {
            *before = self.sum;
        }
        self.sum = self.sum.wrapping_add(cost_ns);
        self.count = self.count.wrapping_add(1);
    }

    fn last(&self, count: usize) -> u64 {
        let mask = self.sums.len() - 1;
        let first = self.count.wrapping_sub(count.min(mask));
        let before = self.sums.get(first & mask).copied().unwrap_or(self.sum);
        if count == 0 {
            0
        } else {
            self.sum.wrapping_sub(before)
        }
    }
}

/// What a period's end did to the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// Started jobs had waited too long.
    Lowered,
    /// It had held something back, and the workers had time.
    Raised,
}

impl Window {
    /// Starts at the ceiling, which is what memory, descriptors and slots allow.
    #[must_use]
    pub fn new(settings: QueueSettings, workers: usize, now: Mono) -> Self {
        Self {
            settings,
            workers: workers.max(1),
            limit: settings.in_flight.max(1),
            cost_ns: COST_FIRST_NS,
            period_began: now,
            started: 0,
            waited_ns: 0,
            held_back: false,
            sent: Sent::new(settings.capacity),
        }
    }

    /// Workers.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// A job that is expected to cost so much goes into the channel.
    pub fn send(&mut self, cost_ns: u64) {
        self.sent.add(cost_ns);
    }

    /// How much work more the channel of several users takes, where so many jobs wait in it.
    #[must_use]
    pub fn work_room(&self, waiting: usize) -> Duration {
        let most = nanos(DEPTH_SHARED).saturating_mul(self.workers as u64);
        Duration::from_nanos(most.saturating_sub(self.sent.last(waiting)))
    }

    /// How many may be out.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// How many of them may wait in the channel.
    #[must_use]
    pub fn depth(&self) -> usize {
        let jobs = nanos(DEPTH) / self.cost_ns.max(1) * self.workers as u64;
        let least = self.settings.batch_min.max(self.workers);
        usize::try_from(jobs)
            .unwrap_or(usize::MAX)
            .max(least)
            .min(self.settings.capacity)
    }

    /// How many travel together, when there is enough to do.
    #[must_use]
    pub fn batch(&self) -> usize {
        let jobs = usize::try_from(nanos(BATCH) / self.cost_ns.max(1)).unwrap_or(usize::MAX);
        jobs.clamp(self.settings.batch_min, self.settings.batch_max)
            .max(1)
    }

    /// How many of so many travel together: every worker gets its share.
    #[must_use]
    pub fn batch_of(&self, waiting: usize) -> usize {
        let worth = nanos(WORTH).div_ceil(self.cost_ns.max(1));
        let share = waiting
            .div_ceil(self.workers)
            .max(usize::try_from(worth).unwrap_or(usize::MAX))
            .min(self.batch())
            .max(1);
        // All about equal, and none smaller than the least.
        let most = (waiting / self.settings.batch_min.max(1)).max(1);
        let batches = waiting.div_ceil(share).clamp(1, most);
        waiting.div_ceil(batches).min(self.settings.batch_max).max(1)
    }

    /// What one job costs in CPU time, on average.
    #[must_use]
    pub fn cost(&self) -> Duration {
        Duration::from_nanos(self.cost_ns)
    }

    /// A job came back that had started. `waited` in the channel.
    pub fn record(&mut self, waited: Duration, cpu: Duration) {
        self.started += 1;
        self.waited_ns = self.waited_ns.saturating_add(nanos(waited));
        let cost = nanos(cpu);
        // A whole second for one job says all there is to say.
        let cost = cost.min(1_000_000_000);
        self.cost_ns = (self.cost_ns * (COST_JOBS - 1) + cost) / COST_JOBS;
    }

    /// The limit held something back.
    pub fn hold_back(&mut self) {
        self.held_back = true;
    }

    /// Looks at what was learned, if a period is over.
    pub fn adapt(&mut self, now: Mono) -> Change {
        if now.since(self.period_began) < PERIOD {
            return Change::None;
        }
        let waited = self.waited_ns.checked_div(self.started).unwrap_or(0);
        let ceiling = self.settings.in_flight.max(1);
        let before = self.limit;
        if waited > nanos(WAIT_MAX) {
            self.limit = (self.limit - self.limit / 8)
                .min(self.limit.saturating_sub(1))
                .max(1);
        } else if self.held_back {
            self.limit = (self.limit + (ceiling / 16).max(1)).min(ceiling);
        }
        (self.period_began, self.started, self.waited_ns, self.held_back) = (now, 0, 0, false);
        match self.limit.cmp(&before) {
            std::cmp::Ordering::Less => Change::Lowered,
            std::cmp::Ordering::Equal => Change::None,
            std::cmp::Ordering::Greater => Change::Raised,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(in_flight: usize) -> Window {
        let settings = QueueSettings {
            capacity: 512,
            batch_min: 1,
            batch_max: 64,
            in_flight,
        };
        Window::new(settings, 2, Mono(0))
    }

    fn after_jobs(window: &mut Window, count: usize, waited: Duration, cpu: Duration) {
        for _ in 0..count {
            window.record(waited, cpu);
        }
    }

    #[test]
    fn the_limit_falls_while_jobs_wait_and_comes_back_when_it_is_wanted() {
        let mut window = window(1000);
        let mut now = Mono(0);
        let mut period = |window: &mut Window, waited| {
            after_jobs(window, 10, waited, Duration::from_micros(50));
            now = now.after(PERIOD);
            window.adapt(now)
        };
        for _ in 0..100 {
            assert_ne!(period(&mut window, WAIT_MAX * 2), Change::Raised);
        }
        assert_eq!(window.limit(), 1, "one job is always out");
        assert_eq!(
            period(&mut window, Duration::ZERO),
            Change::None,
            "nobody wants more"
        );
        for _ in 0..17 {
            window.hold_back();
            period(&mut window, Duration::ZERO);
        }
        assert_eq!(window.limit(), 1000);
    }

    #[test]
    fn the_work_in_the_channel_is_that_of_the_latest_jobs() {
        let mut window = window(1000);
        let ms = |count| Duration::from_millis(count);
        assert_eq!(window.work_room(0), ms(8));
        for _ in 0..2_000 {
            window.send(1_000);
        }
        window.send(3_000_000);
        window.send(1_000_000);
        assert_eq!(window.work_room(0), ms(8), "all were taken");
        assert_eq!(window.work_room(1), ms(7));
        assert_eq!(window.work_room(2), ms(4));
        assert_eq!(window.work_room(102), ms(4) - Duration::from_micros(100));
        for _ in 0..10 {
            window.send(5_000_000);
        }
        assert_eq!(window.work_room(10), ms(0));
    }

    #[test]
    fn dear_jobs_make_short_queues_and_small_batches() {
        let mut window = window(1000);
        after_jobs(&mut window, 2000, Duration::ZERO, Duration::from_micros(8));
        assert_eq!((window.depth(), window.batch()), (512, 62));
        assert_eq!(
            (window.batch_of(10), window.batch_of(40)),
            (10, 20),
            "one worker is enough for ten"
        );
        after_jobs(&mut window, 2000, Duration::ZERO, Duration::from_millis(5));
        assert_eq!((window.batch(), window.batch_of(3)), (1, 1));
        assert!((20..=22).contains(&window.depth()), "{}", window.depth());
    }
}

//! The time that a guest sees whose execution is recorded or played: it stands still while the guest computes, and goes
//! on by what its lent calls and its sleeping take. Its random numbers come from a seed.
//!
//! Invariant: two executions of one component with the same seed, the same start and the same answers see the same
//! clocks and the same random numbers.

use crate::{
    clock::{Clock, Hand},
    domain::time::{Mono, Wall},
};
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// What random numbers come from.
pub type Seed = [u8; 16];

/// One that nobody can guess.
///
/// # Errors
/// When the operating system has none.
pub fn fresh_seed() -> std::io::Result<Seed> {
    use std::io::Read as _;
    let mut seed = Seed::default();
    std::fs::File::open("/dev/urandom")?.read_exact(&mut seed)?;
    Ok(seed)
}

/// Where an execution that can be repeated begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Its clock.
    pub wall: Wall,
    /// Its random numbers.
    pub seed: Seed,
}

/// The time of one execution.
pub struct GuestTime {
    clock: Clock,
    hand: Arc<Hand>,
    origin: Origin,
    /// Whether it sleeps as long as it says, or time goes on in its place.
    really_sleeps: bool,
    began: AtomicU64,
    ends: AtomicU64,
    over: AtomicBool,
    sleepers: Mutex<Sleepers>,
}

/// Who sleeps, and until when.
#[derive(Default)]
struct Sleepers {
    next: u64,
    until: BTreeMap<u64, Mono>,
}

impl GuestTime {
    /// From that moment on. `really_sleeps`: a guest that sleeps does so.
    #[must_use]
    pub fn new(origin: Origin, really_sleeps: bool) -> Self {
        let (clock, hand) = Clock::manual(Mono(0), origin.wall);
        Self {
            clock,
            hand,
            origin,
            really_sleeps,
            began: AtomicU64::new(0),
            ends: AtomicU64::new(u64::MAX),
            over: AtomicBool::new(false),
            sleepers: Mutex::default(),
        }
    }

    /// The execution begins then by the host's own clock, and is cut then.
    pub fn begin(&self, began: Mono, ends: Mono) {
        self.began.store(began.0, Ordering::Relaxed);
        self.ends.store(ends.0, Ordering::Relaxed);
        self.hand.set_mono(began);
    }

    /// By the host's clock, as far as the guest has come.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Where its time and its random numbers begin.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Whether a guest that sleeps does so: its time goes on with the host's.
    #[must_use]
    pub fn really_sleeps(&self) -> bool {
        self.really_sleeps
    }

    /// Time since the beginning.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.clock.mono().since(Mono(self.began.load(Ordering::Relaxed)))
    }

    /// Something took that long.
    pub fn advance(&self, span: Duration) {
        self.hand.advance(span);
    }

    /// Whether the job's time is up by this clock.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// The job's time is up: whoever polls it will see to that.
    pub async fn run_out(&self) {
        self.hand.set_mono(Mono(self.ends.load(Ordering::Relaxed)));
        self.over.store(true, Ordering::Relaxed);
        std::future::pending::<()>().await;
    }

    /// The guest sleeps until then, since the beginning.
    pub async fn sleep_until(&self, since_began: Duration) {
        let until = Mono(self.began.load(Ordering::Relaxed)).after(since_began);
        // A sleep of no length lets others have a look all the same.
        tokio::task::yield_now().await;
        if self.clock.mono() >= until {
            return;
        }
        if self.really_sleeps {
            tokio::time::sleep(until.since(self.clock.mono())).await;
            self.catch_up(until);
            return;
        }
        let sleeper = Sleeper::new(self, until);
        loop {
            // Whoever else sleeps at the same time says so before the first of them wakes.
            tokio::task::yield_now().await;
            if self.clock.mono() >= until {
                return;
            }
            if sleeper.is_first() {
                break;
            }
        }
        if until >= Mono(self.ends.load(Ordering::Relaxed)) {
            self.run_out().await;
        }
        self.catch_up(until);
    }

    fn catch_up(&self, until: Mono) {
        if until > self.clock.mono() {
            self.hand.set_mono(until);
        }
    }

    fn sleepers(&self) -> MutexGuard<'_, Sleepers> {
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that sleeps, until it wakes or nobody waits for it any more.
struct Sleeper<'a> {
    time: &'a GuestTime,
    number: u64,
}

impl<'a> Sleeper<'a> {
    fn new(time: &'a GuestTime, until: Mono) -> Self {
        let mut sleepers = time.sleepers();
        let number = sleepers.next;
        sleepers.next += 1;
        sleepers.until.insert(number, until);
        Self { time, number }
    }

    fn is_first(&self) -> bool {
        let sleepers = self.time.sleepers();
        let first = sleepers
            .until
            .iter()
            .min_by_key(|(number, until)| (**until, **number));
        first.is_some_and(|(number, _)| *number == self.number)
    }
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        self.time.sleepers().until.remove(&self.number);
    }
}

/// Random numbers from a seed: SHA-256 of seed, stream and a counter, block by block. As hard to guess as the seed.
pub struct Random {
    seed: Seed,
    stream: u8,
    counter: u64,
    block: [u8; 32],
    used: usize,
}

impl Random {
    /// The stream of that number.
    #[must_use]
    pub fn new(seed: Seed, stream: u8) -> Self {
        Self {
            seed,
            stream,
            counter: 0,
            block: [0; 32],
            used: 32,
        }
    }

    /// Fills the whole of it.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            if self.used == self.block.len() {
                let mut hasher = Sha256::new();
                hasher.update(self.seed);
                hasher.update([self.stream]);
                hasher.update(self.counter.to_le_bytes());
                self.block = hasher.finalize().into();
                self.counter += 1;
                self.used = 0;
            }
            *byte = self.block.get(self.used).copied().unwrap_or_default();
            self.used += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Origin = Origin {
        wall: Wall(5),
        seed: [0; 16],
    };
    const MS: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn who_wakes_first_moves_time_on() {
        let time = GuestTime::new(ORIGIN, false);
        time.begin(Mono(7), Mono(7).after(MS * 1_000));
        let woken = Mutex::new(Vec::new());
        let sleep = async |name: &'static str, span: Duration| {
            time.sleep_until(span).await;
            woken.lock().unwrap().push((name, time.elapsed()));
        };
        tokio::join!(
            sleep("late", MS * 30),
            sleep("early", MS * 10),
            sleep("now", Duration::ZERO)
        );
        assert_eq!(
            *woken.lock().unwrap(),
            [("now", Duration::ZERO), ("early", MS * 10), ("late", MS * 30)]
        );
        assert!(!time.is_over());
    }

    #[tokio::test]
    async fn a_sleep_beyond_the_end_is_the_end() {
        let time = GuestTime::new(ORIGIN, false);
        time.begin(Mono(7), Mono(7).after(MS * 20));
        tokio::select! {
            () = time.sleep_until(MS * 30) => panic!("it never wakes"),
            () = async { while !time.is_over() { tokio::task::yield_now().await } } => {}
        }
        assert_eq!(time.elapsed(), MS * 20);
    }

    #[test]
    fn random_numbers_are_those_of_their_seed_and_stream() {
        let numbers = |seed: Seed, stream| {
            let mut bytes = [0; 100];
            Random::new(seed, stream).fill(&mut bytes);
            bytes
        };
        assert_eq!(numbers([1; 16], 0), numbers([1; 16], 0));
        assert_ne!(numbers([1; 16], 0), numbers([1; 16], 1));
        assert_ne!(numbers([1; 16], 0), numbers([2; 16], 0));
        let mut parts = Random::new([1; 16], 0);
        let (mut first, mut second) = ([0; 33], [0; 67]);
        parts.fill(&mut first);
        parts.fill(&mut second);
        assert_eq!([&first[..], &second[..]].concat(), numbers([1; 16], 0));
    }
}

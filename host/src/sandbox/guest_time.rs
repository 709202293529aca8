//! `wasi:clocks` of an execution that has a time of its own, and `wasi:random` of one that can be repeated, from its
//! seed.
//!
//! All others have the system's, as wasmtime lends them; what it costs them is one look at an empty option when they
//! wait for a time.

use super::store::State;
use crate::capability::course::{GuestTime, Random, Seed};
use std::{convert::Infallible, sync::Arc, time::Duration};
use wasmtime::component::{HasData, Linker, Resource};
use wasmtime_wasi::{
    HostMonotonicClock, HostWallClock, WasiCtxBuilder,
    clocks::{WasiClocksCtxView, WasiClocksView as _},
    p2::{DynPollable, Pollable, bindings::clocks::monotonic_clock, subscribe},
};

/// Streams of one seed.
const SECURE: u8 = 0;
const INSECURE: u8 = 1;
const INSECURE_SEED: u8 = 2;

/// Puts this module's way of waiting in the place of wasmtime's.
pub fn lend(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let added = monotonic_clock::add_to_linker::<State, Clocks>(linker, |state| Waits {
        time: state.lease.guest_time().map(Arc::clone),
        own: state.clocks(),
    });
    linker.allow_shadowing(false);
    added
}

/// Has an instance's clocks show that time.
pub fn set_clocks(builder: &mut WasiCtxBuilder, time: &Arc<GuestTime>) {
    builder
        .wall_clock(Wall(Arc::clone(time)))
        .monotonic_clock(Monotonic(Arc::clone(time)));
}

/// Has an instance's random numbers come from that seed.
pub fn set_numbers(builder: &mut WasiCtxBuilder, seed: Seed) {
    let mut insecure = [0; 16];
    Random::new(seed, INSECURE_SEED).fill(&mut insecure);
    builder
        .secure_random(Numbers(Random::new(seed, SECURE)))
        .insecure_random(Numbers(Random::new(seed, INSECURE)))
        .insecure_random_seed(u128::from_le_bytes(insecure));
}

struct Clocks;

impl HasData for Clocks {
    type Data<'a> = Waits<'a>;
}

/// Time as one instance sees it.
struct Waits<'a> {
    own: WasiClocksCtxView<'a>,
    time: Option<Arc<GuestTime>>,
}

impl monotonic_clock::Host for Waits<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        monotonic_clock::Host::now(&mut self.own)
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        monotonic_clock::Host::resolution(&mut self.own)
    }

    fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        match &self.time {
            None => self.own.subscribe_instant(when),
            Some(time) => {
                let sleep = Sleep {
                    time: Arc::clone(time),
                    until: Duration::from_nanos(when).saturating_sub(UPTIME),
                };
                let sleep = self.own.table.push(sleep)?;
                subscribe(self.own.table, sleep)
            }
        }
    }

    fn subscribe_duration(&mut self, span: u64) -> wasmtime::Result<Resource<DynPollable>> {
        match &self.time {
            None => self.own.subscribe_duration(span),
            Some(time) => {
                let now = crate::domain::time::nanos(UPTIME + time.elapsed());
                self.subscribe_instant(now.saturating_add(span))
            }
        }
    }
}

struct Sleep {
    time: Arc<GuestTime>,
    until: Duration,
}

#[wasmtime_wasi::async_trait]
impl Pollable for Sleep {
    async fn ready(&mut self) {
        self.time.sleep_until(self.until).await;
    }
}

struct Wall(Arc<GuestTime>);

impl HostWallClock for Wall {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.0.origin().wall.0) + self.0.elapsed()
    }
}

/// What the monotonic clock shows at the beginning. Go's runtime gives up where it shows zero.
const UPTIME: Duration = Duration::from_secs(1);

struct Monotonic(Arc<GuestTime>);

impl HostMonotonicClock for Monotonic {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        crate::domain::time::nanos(UPTIME + self.0.elapsed())
    }
}

struct Numbers(Random);

impl rand_core::TryRng for Numbers {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, into: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(into);
        Ok(())
    }
}

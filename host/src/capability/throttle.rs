//! What a tenant may do in a second, and who that tenant is to the shared places.
//!
//! Architecture invariant: the state belongs to the tenant's name, so that a reload gives nobody a second helping; the
//! quotas are those of the job that asks, so that a reload counts at once.

use super::{LATE, Waiting, places::TenantId};
use crate::{
    clock::Clock,
    domain::{tenant::Tenant, time::Mono},
};
use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::Sleep;

/// Names that are remembered although nobody uses them at the moment.
const IDLE_MAX: usize = 1024;
/// What may be used at once after a pause: as much as in a second.
const BURST_NS: u64 = 1_000_000_000;
/// Longest sleep before the bucket is looked at again.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// One tenant's state.
#[derive(Debug)]
pub(super) struct Throttle {
    pub(super) id: TenantId,
    requests: Bucket,
    bytes: Bucket,
    echoes: Bucket,
}

impl Throttle {
    /// Takes one request. False: this second's are used up.
    pub(super) fn request(&self, now: Mono, per_second: Option<u64>) -> bool {
        per_second.is_none_or(|per_second| self.requests.take(now, 1, per_second))
    }

    /// Gives back a request that was taken at this moment.
    pub(super) fn give_back(&self, per_second: Option<u64>) {
        if let Some(per_second) = per_second {
            self.requests.give_back(1, per_second);
        }
    }
}

/// The state of every tenant that has used the network.
#[derive(Debug, Default)]
pub(super) struct Throttles {
    by_name: Mutex<HashMap<Arc<str>, Arc<Throttle>>>,
    ids: AtomicU64,
    /// Echo requests of all tenants together.
    echoes: Bucket,
    /// How many there are.
    pub(super) count: Arc<AtomicUsize>,
}

impl Throttles {
    /// That tenant's.
    pub(super) fn of(&self, tenant: &Tenant) -> Arc<Throttle> {
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(throttle) = by_name.get(&tenant.name) {
            return Arc::clone(throttle);
        }
        if by_name.len() >= IDLE_MAX {
            by_name.retain(|_, throttle| Arc::strong_count(throttle) > 1);
        }
        let throttle = Arc::new(Throttle {
            id: TenantId(self.ids.fetch_add(1, Ordering::Relaxed)),
            requests: Bucket::default(),
            bytes: Bucket::default(),
            echoes: Bucket::default(),
        });
        by_name.insert(Arc::clone(&tenant.name), Arc::clone(&throttle));
        self.count.store(by_name.len(), Ordering::Relaxed);
        throttle
    }
}

/// Whose echo requests of this second are used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scarce {
    /// The tenant's own, which are so many.
    Own(u64),
    /// Those of the host.
    All,
}

impl Throttles {
    /// Takes one echo request out of the host's so many in a second. One tenant has at most three quarters of them while
    /// there are others.
    pub(super) fn echo(&self, tenant: &Throttle, now: Mono, per_second: u64) -> Result<(), Scarce> {
        let own = match self.count.load(Ordering::Relaxed) {
            0 | 1 => per_second,
            _ => (per_second / 4 * 3).max(1),
        };
        if !tenant.echoes.take(now, 1, own) {
            return Err(if own < per_second {
                Scarce::Own(own)
            } else {
                Scarce::All
            });
        }
        if !self.echoes.take(now, 1, per_second) {
            tenant.echoes.give_back(1, own);
            return Err(Scarce::All);
        }
        Ok(())
    }
}

/// A token bucket, kept as the time at which it will be full again (GCRA, ITU-T I.371): one number, no lock.
#[derive(Debug, Default)]
struct Bucket {
    full_at_ns: AtomicU64,
}

impl Bucket {
    /// Takes `amount` if it is there.
    fn take(&self, now: Mono, amount: u64, per_second: u64) -> bool {
        let cost = cost_ns(amount, per_second);
        let took = |full_at: u64| {
            let full_at = full_at.max(now.0).saturating_add(cost);
            (full_at - now.0 <= BURST_NS).then_some(full_at)
        };
        self.full_at_ns
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, took)
            .is_ok()
    }

    /// Gives back what was taken and not used.
    fn give_back(&self, amount: u64, per_second: u64) {
        let cost = cost_ns(amount, per_second);
        let given = |full_at: u64| Some(full_at.saturating_sub(cost));
        let _ = self
            .full_at_ns
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, given);
    }

    /// Takes `amount` that was used already, and may so become indebted.
    fn charge(&self, now: Mono, amount: u64, per_second: u64) {
        let cost = cost_ns(amount, per_second);
        let charged = |full_at: u64| Some(full_at.max(now.0).saturating_add(cost));
        let _ = self
            .full_at_ns
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, charged);
    }

    /// How long until there is something in it.
    fn empty_for(&self, now: Mono) -> Duration {
        let full_at = self.full_at_ns.load(Ordering::Relaxed);
        Duration::from_nanos(full_at.saturating_sub(now.0).saturating_sub(BURST_NS))
    }
}

fn cost_ns(amount: u64, per_second: u64) -> u64 {
    let cost = u128::from(amount) * u128::from(BURST_NS) / u128::from(per_second.max(1));
    u64::try_from(cost).unwrap_or(u64::MAX)
}

/// Holds a connection back while its tenant's bytes of this second are used up. There is one only where there is a
/// quota.
#[derive(Debug)]
pub(super) struct Pace {
    throttle: Arc<Throttle>,
    per_second: u64,
    clock: Clock,
    held_until: Arc<AtomicU64>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    pub(super) fn new(throttle: &Arc<Throttle>, per_second: u64, clock: &Clock, waiting: &Waiting) -> Self {
        Self {
            throttle: Arc::clone(throttle),
            per_second,
            clock: clock.clone(),
            held_until: waiting.holder(),
            sleep: None,
        }
    }

    /// Ready when bytes may pass.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(sleep) = &mut self.sleep {
                ready!(sleep.as_mut().poll(cx));
            }
            let now = self.clock.mono();
            let wait = self.throttle.bytes.empty_for(now);
            if wait.is_zero() {
                if self.sleep.take().is_some() {
                    // The bucket is the tenant's, and so nothing else is held back either.
                    self.held_until.store(now.0, Ordering::Relaxed);
                }
                return Poll::Ready(());
            }
            // A timer may be so late, and who is woken by it has not been waiting for its target in the meantime.
            let until = now.after(wait).after(LATE);
            self.held_until.fetch_max(until.0, Ordering::Relaxed);
            self.sleep = Some(Box::pin(tokio::time::sleep(wait.min(SLEEP_MAX))));
        }
    }

    /// So many bytes have passed.
    pub(super) fn charge(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.throttle
            .bytes
            .charge(self.clock.mono(), bytes, self.per_second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::tenant::Quotas;
    use std::task::Waker;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn so_many_in_a_second_and_no_more_after_a_long_pause() {
        let bucket = Bucket::default();
        let mut now = Mono(5);
        for pause in [Duration::ZERO, SECOND, SECOND * 3600] {
            now = now.after(pause);
            let taken = (0..100).filter(|_| bucket.take(now, 1, 10)).count();
            assert_eq!(taken, 10, "after {pause:?}");
        }
        now = now.after(SECOND / 5);
        assert_eq!((0..100).filter(|_| bucket.take(now, 1, 10)).count(), 2);
        let bucket = Bucket::default();
        assert!(bucket.take(now, 1, 1) && !bucket.take(now, 1, 1));
        bucket.give_back(1, 1);
        assert!(bucket.take(now, 1, 1) && !bucket.take(now, 1, 1));
        assert!(!Bucket::default().take(now, 11, 10), "more than it ever holds");
    }

    #[test]
    fn what_was_used_already_is_paid_for() {
        let bucket = Bucket::default();
        let now = Mono(7);
        bucket.charge(now, 1000, 1000);
        assert_eq!(bucket.empty_for(now), Duration::ZERO);
        bucket.charge(now, 500, 1000);
        assert_eq!(bucket.empty_for(now), SECOND / 2);
        assert_eq!(bucket.empty_for(now.after(SECOND / 2)), Duration::ZERO);
        bucket.charge(now, u64::MAX, 1);
        bucket.charge(now, u64::MAX, 1);
        assert!(bucket.empty_for(now) > SECOND);
    }

    #[test]
    fn echo_requests_are_the_hosts_and_no_tenant_has_all_of_them() {
        let throttles = Throttles::default();
        let one = throttles.of(&Tenant::new("a", Quotas::default()));
        let take = |tenant: &Throttle, now| {
            let mut taken = 0;
            loop {
                match throttles.echo(tenant, now, 8) {
                    Ok(()) => taken += 1,
                    Err(scarce) => return (taken, scarce),
                }
            }
        };
        let mut now = Mono(5);
        assert_eq!(take(&one, now), (8, Scarce::All));
        let other = throttles.of(&Tenant::new("b", Quotas::default()));
        now = now.after(SECOND * 10);
        assert_eq!(take(&one, now), (6, Scarce::Own(6)));
        assert_eq!(take(&other, now), (2, Scarce::All));
        // What was not to be had costs nobody anything.
        now = now.after(SECOND);
        assert_eq!(take(&other, now), (6, Scarce::Own(6)));
        assert_eq!(take(&one, now), (2, Scarce::All));
    }

    #[test]
    fn a_tenant_is_its_name_and_there_are_as_many_as_there_are_names() {
        let throttles = Throttles::default();
        let one = throttles.of(&Tenant::new("a", Quotas::default()));
        let again = throttles.of(&Tenant::new(
            "a",
            Quotas {
                connections: Some(1),
                ..Quotas::default()
            },
        ));
        let other = throttles.of(&Tenant::new("b", Quotas::default()));
        assert!(Arc::ptr_eq(&one, &again) && one.id != other.id);
        assert_eq!(throttles.count.load(Ordering::Relaxed), 2);
        for index in 0..2 * IDLE_MAX {
            throttles.of(&Tenant::new(&format!("t{index}"), Quotas::default()));
        }
        assert!(throttles.count.load(Ordering::Relaxed) <= IDLE_MAX);
        assert!(Arc::ptr_eq(
            &one,
            &throttles.of(&Tenant::new("a", Quotas::default()))
        ));
    }

    #[tokio::test]
    async fn who_has_used_its_bytes_up_is_held_back_and_is_not_waiting_for_its_target() {
        let throttle = Throttles::default().of(&Tenant::unlimited());
        let (clock, hand) = Clock::manual(Mono(1), crate::domain::time::Wall(0));
        let waiting = Waiting::default();
        let _target = waiting.begin();
        let mut pace = Pace::new(&throttle, 1000, &clock, &waiting);
        assert!(
            pace.poll_ready(&mut Context::from_waker(Waker::noop()))
                .is_ready()
        );
        pace.charge(1010);
        assert!(waiting.on_target(clock.mono()));
        // The timer is short, but the clock stands still.
        assert!(
            pace.poll_ready(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
        assert!(!waiting.on_target(clock.mono()));
        hand.advance(SECOND);
        std::future::poll_fn(|cx| pace.poll_ready(cx)).await;
        assert!(waiting.on_target(clock.mono()));
        // Who turns to another connection looks at this one no more, and is held back no longer than it would be.
        pace.charge(1000);
        assert!(
            pace.poll_ready(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
        assert!(!waiting.on_target(clock.mono()));
        hand.advance(SECOND + LATE);
        assert!(waiting.on_target(clock.mono()));
    }
}

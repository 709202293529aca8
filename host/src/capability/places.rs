//! Places that all tenants share: sockets of the process, look-ups of a worker's resolver.
//!
//! Architecture invariant: no tenant holds more than its quota, nor more than three quarters of all places while there
//! are other tenants; whose places are all taken waits behind its own, and tenants that wait are served in turn.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::sync::oneshot;

/// Tells one tenant from another: never given to a second one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct TenantId(pub(super) u64);

/// The places of one kind.
pub(super) struct Places {
    max: usize,
    /// How many tenants use the network at all.
    tenants: Arc<AtomicUsize>,
    gate: Mutex<Gate>,
}

struct Gate {
    free: usize,
    /// Who holds places or waits for one; nobody else.
    lines: HashMap<TenantId, Line>,
    /// Who waits, the next first.
    turns: VecDeque<TenantId>,
    tickets: u64,
}

#[derive(Default)]
struct Line {
    held: usize,
    quota: Option<usize>,
    /// By ticket, which rise.
    waiting: VecDeque<(u64, oneshot::Sender<()>)>,
}

impl Places {
    pub(super) fn new(max: usize, tenants: Arc<AtomicUsize>) -> Arc<Self> {
        Arc::new(Self {
            max,
            tenants,
            gate: Mutex::new(Gate {
                free: max,
                lines: HashMap::new(),
                turns: VecDeque::new(),
                tickets: 0,
            }),
        })
    }

    pub(super) fn max(&self) -> usize {
        self.max
    }

    pub(super) fn free(&self) -> usize {
        self.lock().free
    }

    /// Takes a place, of which the tenant may hold as many as its quota says, or stands in the line for one.
    pub(super) fn try_take(self: &Arc<Self>, tenant: TenantId, quota: Option<usize>) -> Result<Place, Turn> {
        let mut gate = self.lock();
        let gate = &mut *gate;
        let line = gate.lines.entry(tenant).or_default();
        line.quota = quota;
        if gate.free > 0 && line.waiting.is_empty() && line.held < self.share(quota) {
            gate.free -= 1;
            line.held += 1;
            return Ok(Place {
                places: Arc::clone(self),
                tenant,
            });
        }
        let (tell, told) = oneshot::channel();
        gate.tickets += 1;
        if line.waiting.is_empty() {
            gate.turns.push_back(tenant);
        }
        line.waiting.push_back((gate.tickets, tell));
        Err(Turn {
            own: self.own_bound(quota).filter(|own| line.held >= own.places()),
            places: Arc::clone(self),
            tenant,
            ticket: gate.tickets,
            told,
            taken: false,
        })
    }

    /// What one tenant may hold at most.
    fn share(&self, quota: Option<usize>) -> usize {
        let share = self.own_bound(quota).map_or(self.max, Own::places);
        share.min(self.max)
    }

    /// What bounds one tenant before all places are taken. None: nothing does.
    fn own_bound(&self, quota: Option<usize>) -> Option<Own> {
        let share = match self.tenants.load(Ordering::Relaxed) {
            0 | 1 => None,
            _ => Some((self.max / 4 * 3).max(1)),
        };
        match (quota, share) {
            (Some(quota), share) if share.is_none_or(|share| quota <= share) => Some(Own::Quota(quota)),
            (_, share) => share.map(|share| Own::Share(share, self.max)),
        }
    }

    fn give_back(&self, tenant: TenantId) {
        let mut gate = self.lock();
        gate.free += 1;
        if let Some(line) = gate.lines.get_mut(&tenant) {
            line.held -= 1;
            if line.held == 0 && line.waiting.is_empty() {
                gate.lines.remove(&tenant);
            }
        }
        self.serve(&mut gate);
    }

    /// Gives free places to those who wait and may have one.
    fn serve(&self, gate: &mut Gate) {
        let mut passed_over = 0;
        while gate.free > 0
            && passed_over < gate.turns.len()
            && let Some(tenant) = gate.turns.pop_front()
        {
            let Some(line) = gate.lines.get_mut(&tenant) else {
                continue;
            };
            if line.held >= self.share(line.quota) {
                passed_over += 1;
                gate.turns.push_back(tenant);
                continue;
            }
            if let Some((_, tell)) = line.waiting.pop_front() {
                gate.free -= 1;
                line.held += 1;
                // Whoever waits leaves the line under this lock before it drops its end.
                let _ = tell.send(());
            }
            if !line.waiting.is_empty() {
                gate.turns.push_back(tenant);
            }
            passed_over = 0;
        }
    }

    /// Takes somebody out of the line. False: it has been given a place in the meantime.
    fn leave(&self, tenant: TenantId, ticket: u64) -> bool {
        let mut gate = self.lock();
        let gate = &mut *gate;
        let Some(line) = gate.lines.get_mut(&tenant) else {
            return false;
        };
        let Ok(index) = line.waiting.binary_search_by_key(&ticket, |(ticket, _)| *ticket) else {
            return false;
        };
        line.waiting.remove(index);
        if line.waiting.is_empty() {
            gate.turns.retain(|waiting| *waiting != tenant);
            if line.held == 0 {
                gate.lines.remove(&tenant);
            }
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place that is held until this is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    tenant: TenantId,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.give_back(self.tenant);
    }
}

/// A bound of one tenant alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Own {
    /// So many are its quota.
    Quota(usize),
    /// So many are three quarters of so many, the most while there are others.
    Share(usize, usize),
}

impl Own {
    fn places(self) -> usize {
        match self {
            Self::Quota(places) | Self::Share(places, _) => places,
        }
    }
}

/// Somebody in a line, who leaves it when this is dropped.
pub(super) struct Turn {
    /// What it had used up when it came, and nobody else.
    pub(super) own: Option<Own>,
    places: Arc<Places>,
    tenant: TenantId,
    ticket: u64,
    told: oneshot::Receiver<()>,
    taken: bool,
}

impl Turn {
    /// Waits for the place.
    pub(super) async fn wait(mut self) -> Place {
        // The sender is dropped only after it was used: it stands in the line until then.
        let _ = (&mut self.told).await;
        self.taken = true;
        Place {
            places: Arc::clone(&self.places),
            tenant: self.tenant,
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.taken && !self.places.leave(self.tenant, self.ticket) {
            self.places.give_back(self.tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{
        future::Future,
        pin::Pin,
        task::{Context, Poll, Waker},
    };

    const A: TenantId = TenantId(1);
    const B: TenantId = TenantId(2);

    type Wait = Pin<Box<dyn Future<Output = Place>>>;

    fn places(max: usize, tenants: usize) -> Arc<Places> {
        Places::new(max, Arc::new(AtomicUsize::new(tenants)))
    }

    fn ask(places: &Arc<Places>, tenant: TenantId, quota: Option<usize>) -> Wait {
        match places.try_take(tenant, quota) {
            Ok(place) => Box::pin(std::future::ready(place)),
            Err(turn) => Box::pin(turn.wait()),
        }
    }

    fn poll(wait: &mut Wait) -> Option<Place> {
        match wait.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(place) => Some(place),
            Poll::Pending => None,
        }
    }

    #[test]
    fn one_that_is_alone_may_have_all_and_with_others_three_quarters() {
        for (tenants, share) in [(1, 8), (2, 6)] {
            let places = places(8, tenants);
            let mut held = Vec::new();
            for _ in 0..share {
                held.push(poll(&mut ask(&places, A, None)).unwrap());
            }
            let mut more = ask(&places, A, None);
            assert!(poll(&mut more).is_none(), "{tenants}");
            if tenants > 1 {
                held.push(poll(&mut ask(&places, B, None)).unwrap());
            }
            held.remove(0);
            assert!(poll(&mut more).is_some(), "{tenants}");
        }
    }

    #[test]
    fn who_waits_is_told_what_it_has_used_up() {
        for (tenants, quota, held, own) in [
            (2, Some(2), 2, Some(Own::Quota(2))),
            (2, Some(6), 6, Some(Own::Quota(6))),
            (2, Some(7), 6, Some(Own::Share(6, 8))),
            (2, None, 6, Some(Own::Share(6, 8))),
            (1, Some(7), 7, Some(Own::Quota(7))),
            (1, Some(9), 8, None),
            (1, None, 8, None),
        ] {
            let places = places(8, tenants);
            let _held: Vec<_> = (0..held)
                .map(|_| poll(&mut ask(&places, A, quota)).unwrap())
                .collect();
            let told = places.try_take(A, quota).err().unwrap().own;
            assert_eq!(told, own, "{tenants} {quota:?}");
        }
        // Others have the rest.
        let places = places(8, 2);
        let _held: Vec<_> = [A, A, B, B, B, B, B, B]
            .map(|tenant| poll(&mut ask(&places, tenant, None)).unwrap())
            .into();
        assert_eq!(places.try_take(A, None).err().unwrap().own, None);
    }

    #[test]
    fn a_quota_holds_and_who_has_used_it_up_keeps_nobody_waiting() {
        let places = places(8, 2);
        let first = poll(&mut ask(&places, A, Some(1))).unwrap();
        let mut second = ask(&places, A, Some(1));
        assert!(poll(&mut second).is_none());
        let _other = poll(&mut ask(&places, B, None)).unwrap();
        assert_eq!(places.free(), 6);
        drop(first);
        assert!(poll(&mut second).is_some());
    }

    #[test]
    fn those_who_wait_are_served_in_turn() {
        let places = places(1, 2);
        let held = poll(&mut ask(&places, A, None)).unwrap();
        let mut waits: Vec<_> = [A, A, A, B].map(|tenant| ask(&places, tenant, None)).into();
        assert!(waits.iter_mut().all(|wait| poll(wait).is_none()));
        drop(held);
        let one = poll(&mut waits[0]).unwrap();
        assert!(poll(&mut waits[3]).is_none());
        drop(one);
        assert!(poll(&mut waits[1]).is_none(), "it is the other's turn");
        assert!(poll(&mut waits[3]).is_some());
    }

    #[test]
    fn who_stops_waiting_is_forgotten_even_after_it_was_given_a_place() {
        let places = places(1, 1);
        let held = poll(&mut ask(&places, A, None)).unwrap();
        let mut given = ask(&places, A, None);
        let mut gone = ask(&places, A, None);
        assert!(poll(&mut given).is_none() && poll(&mut gone).is_none());
        drop(gone);
        drop(held);
        assert_eq!(places.free(), 0, "it is given, though nobody has looked");
        drop(given);
        assert_eq!(places.free(), 1);
        assert!(places.lock().lines.is_empty() && places.lock().turns.is_empty());
    }

    proptest! {
        /// Whatever is asked, given back and given up in whatever order: never more than there are, never more than
        /// a share, nobody waits who could have a place, and nothing is left behind.
        #[test]
        fn places_are_never_lost(
            max in 1usize..6,
            deeds in prop::collection::vec((0u8..4, 0u64..3, 0usize..8), 0..80),
        ) {
            let places = places(max, 3);
            let quota = |tenant: u64| [None, Some(1), Some(3)][usize::try_from(tenant).unwrap()];
            let mut waits: Vec<(u64, Wait)> = Vec::new();
            let mut held: Vec<(u64, Place)> = Vec::new();
            for (deed, tenant, pick) in deeds {
                match deed {
                    0 | 1 => waits.push((tenant, ask(&places, TenantId(tenant), quota(tenant)))),
                    2 if !held.is_empty() => drop(held.remove(pick % held.len())),
                    3 if !waits.is_empty() => drop(waits.remove(pick % waits.len())),
                    _ => {}
                }
                waits = waits
                    .into_iter()
                    .filter_map(|(tenant, mut wait)| match poll(&mut wait) {
                        Some(place) => {
                            held.push((tenant, place));
                            None
                        }
                        None => Some((tenant, wait)),
                    })
                    .collect();
                prop_assert_eq!(places.free() + held.len(), max);
                for tenant in 0..3 {
                    let has = held.iter().filter(|(own, _)| *own == tenant).count();
                    prop_assert!(has <= places.share(quota(tenant)));
                    if waits.iter().any(|(own, _)| *own == tenant) {
                        prop_assert!(places.free() == 0 || has == places.share(quota(tenant)));
                    }
                }
            }
            drop((waits, held));
            prop_assert_eq!(places.free(), max);
            prop_assert!(places.lock().lines.is_empty() && places.lock().turns.is_empty());
        }
    }
}

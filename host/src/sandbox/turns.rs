//! Who of the guests that compute goes on next, on one worker.
//!
//! A guest that has used up its slice waits here, and one of them goes on each time the worker has looked at its sockets
//! and timers and gone through whoever they woke. So however many compute, a guest that waits for its target goes on
//! after one slice at the latest. Among tenants the worker's time is shared by start-time fair queuing (P. Goyal, H. Vin
//! and H. Cheng, "Start-time Fair Queueing", SIGCOMM 1996): each slice moves a tenant's next turn back by its length.
//!
//! Architecture invariant: whoever waits here is taken up again, or has given up; who has given up costs nobody a turn.

use crate::domain::time::nanos;
use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, HashMap},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::sync::Notify;

/// The guests of one worker that compute.
#[derive(Debug, Default)]
pub struct Turns {
    queue: Mutex<Queue>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: BinaryHeap<Reverse<Waiting>>,
    /// The tenants of those that wait.
    tenants: HashMap<Arc<str>, Tenant>,
    /// Where the one who goes on now stood.
    now: u64,
    count: u64,
}

#[derive(Debug, Default)]
struct Tenant {
    /// Where its next one will stand.
    next: u64,
    waiting: usize,
}

#[derive(Debug)]
struct Waiting {
    /// The place in the queue, in nanoseconds of somebody's computing.
    start: u64,
    /// First come, first served.
    number: u64,
    tenant: Arc<str>,
    seat: Weak<Mutex<Seat>>,
}

#[derive(Debug)]
enum Seat {
    Waits(Waker),
    GoesOn,
}

impl Turns {
    /// Waits for the next turn; a slice of that length was just used.
    pub fn next(self: &Arc<Self>, tenant: &Arc<str>, slice: Duration) -> Turn {
        Turn {
            turns: Arc::clone(self),
            tenant: Arc::clone(tenant),
            slice,
            seat: None,
        }
    }

    /// Gives turns for ever, one for each time that the worker has looked at everything else.
    pub async fn serve(&self) {
        loop {
            self.filled.notified().await;
            while self.give() {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Gives one turn. False: nobody waits.
    fn give(&self) -> bool {
        let mut queue = self.queue();
        while let Some(Reverse(waiting)) = queue.waiting.pop() {
            queue.leave(&waiting);
            let Some(seat) = waiting.seat.upgrade() else {
                continue;
            };
            queue.now = waiting.start;
            drop(queue);
            if let Seat::Waits(waker) = std::mem::replace(&mut *lock(&seat), Seat::GoesOn) {
                waker.wake();
            }
            return true;
        }
        false
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }
}

impl Queue {
    fn enter(&mut self, tenant: &Arc<str>, slice: Duration, seat: &Arc<Mutex<Seat>>) {
        let now = self.now;
        let of = self.tenants.entry(Arc::clone(tenant)).or_default();
        // The slice was used before: who has computed stands behind who has not.
        let start = of.next.max(now).saturating_add(nanos(slice));
        of.next = start;
        of.waiting += 1;
        self.count += 1;
        self.waiting.push(Reverse(Waiting {
            start,
            number: self.count,
            tenant: Arc::clone(tenant),
            seat: Arc::downgrade(seat),
        }));
    }

    fn leave(&mut self, waiting: &Waiting) {
        if let Some(of) = self.tenants.get_mut(&waiting.tenant) {
            of.waiting -= 1;
            if of.waiting == 0 && of.next <= waiting.start {
                self.tenants.remove(&waiting.tenant);
            }
        }
    }
}

impl Waiting {
    fn rank(&self) -> (u64, u64) {
        (self.start, self.number)
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

/// See [`Turns::next`].
#[derive(Debug)]
pub struct Turn {
    turns: Arc<Turns>,
    tenant: Arc<str>,
    slice: Duration,
    seat: Option<Arc<Mutex<Seat>>>,
}

impl Future for Turn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if let Some(seat) = &self.seat {
            return match &mut *lock(seat) {
                Seat::GoesOn => Poll::Ready(()),
                Seat::Waits(waker) => {
                    waker.clone_from(context.waker());
                    Poll::Pending
                }
            };
        }
        let seat = Arc::new(Mutex::new(Seat::Waits(context.waker().clone())));
        self.turns.queue().enter(&self.tenant, self.slice, &seat);
        self.seat = Some(seat);
        self.turns.filled.notify_one();
        Poll::Pending
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLICE: Duration = Duration::from_millis(5);

    /// Takes a place, and is polled once.
    fn wait(turns: &Arc<Turns>, tenant: &str) -> Pin<Box<Turn>> {
        let mut turn = Box::pin(turns.next(&Arc::from(tenant), SLICE));
        assert!(goes_on(&mut turn).is_none());
        turn
    }

    fn goes_on(turn: &mut Pin<Box<Turn>>) -> Option<()> {
        match turn.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(()) => Some(()),
            Poll::Pending => None,
        }
    }

    #[test]
    fn tenants_take_turns_however_many_of_each_compute() {
        let turns = Arc::default();
        let mut many: Vec<_> = (0..100).map(|_| wait(&turns, "a")).collect();
        let mut one = wait(&turns, "b");
        let mut others = 0;
        for _ in 0..20 {
            assert!(turns.give());
            if goes_on(&mut one).is_some() {
                one = wait(&turns, "b");
            } else {
                let place = many.iter_mut().position(|turn| goes_on(turn).is_some()).unwrap();
                many[place] = wait(&turns, "a");
                others += 1;
            }
        }
        assert_eq!(others, 10);
    }

    #[test]
    fn who_gave_up_costs_no_turn_and_nothing_is_left_of_him() {
        let turns = Arc::default();
        let gone: Vec<_> = (0..3).map(|_| wait(&turns, "a")).collect();
        let mut last = wait(&turns, "a");
        drop(gone);
        assert!(turns.give());
        assert!(goes_on(&mut last).is_some());
        assert!(!turns.give());
        let queue = turns.queue();
        assert_eq!((queue.tenants.len(), queue.waiting.len()), (0, 0));
    }

    #[tokio::test]
    async fn every_turn_comes() {
        let turns: Arc<Turns> = Arc::default();
        let served = {
            let turns = Arc::clone(&turns);
            tokio::spawn(async move { turns.serve().await })
        };
        let computing = Arc::new(Mutex::new(0));
        let guests: Vec<_> = (0..10)
            .map(|guest| {
                let (turns, computing) = (Arc::clone(&turns), Arc::clone(&computing));
                tokio::spawn(async move {
                    let tenant = Arc::from(format!("tenant-{}", guest % 3));
                    for _ in 0..20 {
                        turns.next(&tenant, SLICE).await;
                        *lock(&computing) += 1;
                    }
                })
            })
            .collect();
        for guest in guests {
            guest.await.unwrap();
        }
        assert_eq!(*lock(&computing), 200);
        served.abort();
    }
}

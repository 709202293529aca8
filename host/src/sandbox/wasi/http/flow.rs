//! An exchange that several resources share: whichever the guest waits for carries it on.

use super::super::Alive;
use crate::capability::{
    Lease,
    http::streaming::{Exchange, Progress},
};
use std::{
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
};

/// See the module. The exchange ends when the last holder is gone.
#[derive(Clone)]
pub struct Flow {
    exchange: Arc<Mutex<Exchange>>,
    lease: Arc<Lease>,
    _alive: Alive,
}

impl Flow {
    pub fn new(exchange: Exchange, lease: &Arc<Lease>, alive: &Alive) -> Self {
        Self {
            exchange: Arc::new(Mutex::new(exchange)),
            lease: Arc::clone(lease),
            _alive: Arc::clone(alive),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Exchange> {
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on as far as it can without waiting, and looks at what has come of it.
    pub fn look<T>(&self, look: impl FnOnce(&mut Progress) -> T) -> T {
        let mut exchange = self.lock();
        exchange.poll(&mut Context::from_waker(Waker::noop()));
        let mut progress = exchange.progress();
        look(&mut progress)
    }

    /// Waits until there is something to look at.
    pub async fn until(&self, mut there: impl FnMut(&mut Progress) -> bool) {
        let (mut waiting, mut watching) = (None, None);
        poll_fn(|cx| {
            let mut exchange = self.lock();
            if there(&mut exchange.progress()) {
                return Poll::Ready(());
            }
            loop {
                exchange.poll(cx);
                let mut progress = exchange.progress();
                let had = progress.frame.is_some();
                if there(&mut progress) {
                    return Poll::Ready(());
                }
                // Who throws frames away has made room for the next, which may be there.
                if !had || progress.frame.is_some() {
                    break;
                }
            }
            let on_target = exchange.is_on_target();
            if on_target != waiting.is_some() {
                waiting = on_target.then(|| self.lease.waiting.begin());
            }
            watching.get_or_insert_with(|| exchange.watched().begin());
            Poll::Pending
        })
        .await;
    }

    /// For who must not keep it going by being there.
    pub fn downgrade(&self) -> WeakFlow {
        WeakFlow {
            exchange: Arc::downgrade(&self.exchange),
            lease: Arc::clone(&self.lease),
            alive: Arc::clone(&self._alive),
        }
    }
}

/// See [`Flow::downgrade`].
pub struct WeakFlow {
    exchange: Weak<Mutex<Exchange>>,
    lease: Arc<Lease>,
    alive: Alive,
}

impl WeakFlow {
    pub fn upgrade(&self) -> Option<Flow> {
        Some(Flow {
            exchange: self.exchange.upgrade()?,
            lease: Arc::clone(&self.lease),
            _alive: Arc::clone(&self.alive),
        })
    }
}

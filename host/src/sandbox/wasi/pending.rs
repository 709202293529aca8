//! Work that goes on while the guest looks, and no longer.

use crate::capability::Lease;
use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A future whose outcome is looked at once.
pub struct Pending<T> {
    state: State<T>,
    lease: Arc<Lease>,
    on_target: Arc<AtomicBool>,
}

enum State<T> {
    Running(Work<T>),
    Done(T),
    Taken,
}

impl<T: Send + 'static> Pending<T> {
    /// The work says through the flag that nothing but the target is waited for any more.
    pub fn new<F>(lease: &Arc<Lease>, work: impl FnOnce(Arc<AtomicBool>) -> F) -> Self
    where
        F: Future<Output = T> + Send + 'static,
    {
        let on_target = Arc::new(AtomicBool::new(false));
        Self {
            state: State::Running(Box::pin(work(Arc::clone(&on_target)))),
            lease: Arc::clone(lease),
            on_target,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let State::Running(work) = &mut self.state {
            match work.as_mut().poll(cx) {
                Poll::Ready(done) => self.state = State::Done(done),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }

    /// Does what can be done without waiting. Some once: what came of the work.
    pub fn take(&mut self) -> Option<T> {
        if self.poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            return None;
        }
        match std::mem::replace(&mut self.state, State::Taken) {
            State::Done(done) => Some(done),
            State::Running(_) | State::Taken => None,
        }
    }

    /// Waits for the work, and for the target if the work does.
    pub async fn ready(&mut self) {
        let lease = Arc::clone(&self.lease);
        let mut waiting = None;
        poll_fn(|cx| {
            let polled = self.poll(cx);
            let on_target = polled.is_pending() && self.on_target.load(Ordering::Relaxed);
            if on_target != waiting.is_some() {
                waiting = on_target.then(|| lease.waiting.begin());
            }
            polled
        })
        .await;
    }
}

/// Waits for something that only the target can bring about.
pub async fn on_target(lease: &Lease, mut ready: impl FnMut(&mut Context<'_>) -> Poll<()>) {
    let mut waiting = None;
    poll_fn(|cx| {
        let polled = ready(cx);
        if polled.is_pending() && waiting.is_none() {
            waiting = Some(lease.waiting.begin());
        }
        polled
    })
    .await;
}

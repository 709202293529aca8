//! Lent calls are carried out beside the guest's stack: the guest asks and sleeps, whoever polls its execution does the
//! errand, and only then is the guest woken.
//!
//! An answer from the network takes several looks, each several library calls deep. On the guest's stack each look would
//! switch stacks twice, and the calls would leave that stack dirty some ten pages deep, to be cleared for the next guest.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;
type Asked = Box<dyn FnOnce() -> Running + Send>;

/// What one execution has asked for. A guest asks for one thing at a time.
#[derive(Default)]
pub struct Errands(Mutex<Errand>);

#[derive(Default)]
enum Errand {
    #[default]
    None,
    Asked(Asked),
    Running(Running),
}

impl Errands {
    /// Has work done and waits for what comes of it: called on the guest's stack. `work` makes the future beside it.
    /// Work that nobody waits for any more is dropped.
    pub async fn send<T, F>(&self, work: impl FnOnce() -> F + Send + 'static) -> T
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let answer: Arc<Mutex<Option<T>>> = Arc::default();
        let asked = {
            let answer = Arc::clone(&answer);
            move || -> Running {
                let work = work();
                Box::pin(async move {
                    let done = work.await;
                    *lock(&answer) = Some(done);
                })
            }
        };
        *lock(&self.0) = Errand::Asked(Box::new(asked));
        let _recall = Recall(self);
        // Whoever polls this execution polls the errand first, and this when it is done.
        poll_fn(|_| lock(&answer).take().map_or(Poll::Pending, Poll::Ready)).await
    }

    /// Whether something was asked for that nobody has begun.
    pub fn asked(&self) -> bool {
        matches!(*lock(&self.0), Errand::Asked(_))
    }

    /// Does what was asked for; ready when there is nothing left to do.
    pub fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        let errand = std::mem::take(&mut *lock(&self.0));
        let mut running = match errand {
            Errand::None => return Poll::Ready(()),
            Errand::Asked(asked) => asked(),
            Errand::Running(running) => running,
        };
        let polled = running.as_mut().poll(context);
        if polled.is_pending() {
            *lock(&self.0) = Errand::Running(running);
        }
        polled
    }
}

/// Ends an errand with the call that asked for it.
struct Recall<'a>(&'a Errands);

impl Drop for Recall<'_> {
    fn drop(&mut self) {
        let errand = std::mem::take(&mut *lock(&self.0.0));
        drop(errand);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        pin::pin,
        sync::atomic::{AtomicBool, Ordering},
    };
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn the_asker_sleeps_until_the_errand_is_done() {
        let errands = Errands::default();
        let (tell, told) = oneshot::channel();
        let mut asker = pin!(errands.send(|| async move { told.await.unwrap() }));
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(errands.poll(&mut context).is_ready(), "nothing was asked for");
        assert!(asker.as_mut().poll(&mut context).is_pending());
        assert!(errands.asked());
        assert!(errands.poll(&mut context).is_pending());
        assert!(!errands.asked(), "it was begun");
        assert!(asker.as_mut().poll(&mut context).is_pending());
        tell.send(7).unwrap();
        assert!(errands.poll(&mut context).is_ready());
        assert_eq!(asker.await, 7);
    }

    #[tokio::test]
    async fn who_stops_waiting_ends_the_errand() {
        struct Ends(Arc<AtomicBool>);
        impl Drop for Ends {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let (errands, ended) = (Errands::default(), Arc::new(AtomicBool::new(false)));
        let end = Ends(Arc::clone(&ended));
        let mut asker = Box::pin(errands.send(move || async move {
            let _end = end;
            std::future::pending::<()>().await;
        }));
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(asker.as_mut().poll(&mut context).is_pending());
        assert!(errands.poll(&mut context).is_pending());
        assert!(!ended.load(Ordering::SeqCst));
        drop(asker);
        assert!(ended.load(Ordering::SeqCst));
        assert!(errands.poll(&mut context).is_ready());
    }
}

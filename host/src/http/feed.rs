//! What happens, told to whoever listens.
//!
//! Architecture invariant: nobody who listens holds up who tells. Each has a queue of his own with a bound; what finds no
//! room in it is counted, and the count is his alone: of another tenant's events he does not even learn how many there are.

use super::reply::when;
use crate::{
    domain::event::{Event, Fact},
    store,
};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::mpsc;

/// Events that may wait for one listener.
const WAITING_MAX: usize = 1024;
/// Listeners at the same time.
pub const LISTENERS_MAX: usize = 64;
/// Of one tenant.
pub const LISTENERS_OF_TENANT_MAX: usize = 16;

/// Where events go in and come out: a handle.
#[derive(Clone, Debug, Default)]
pub struct Feed(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    ears: Mutex<Vec<Ear>>,
    /// How many there are: who tells looks here first.
    count: AtomicUsize,
    next: AtomicU64,
    closed: AtomicBool,
    dropped: AtomicU64,
}

#[derive(Debug)]
struct Ear {
    number: u64,
    /// Whose events only; none: everybody's.
    tenant: Option<Arc<str>>,
    queue: mpsc::Sender<Arc<str>>,
    missed: Arc<AtomicU64>,
}

/// Why somebody can't listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deaf {
    /// As many listen as may.
    Full,
    /// Nothing is told any more.
    Closed,
}

/// Somebody who listens, until it is dropped.
#[derive(Debug)]
pub struct Listener {
    feed: Feed,
    number: u64,
    queue: mpsc::Receiver<Arc<str>>,
    missed: Arc<AtomicU64>,
}

impl Feed {
    fn ears(&self) -> MutexGuard<'_, Vec<Ear>> {
        self.0.ears.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells what happened. Never waits.
    pub fn tell(&self, event: &Event) {
        if self.0.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let tenant = &event.spec.tenant.name;
        let mut text: Option<Arc<str>> = None;
        for ear in self.ears().iter() {
            if ear.tenant.as_ref().is_some_and(|own| own != tenant) {
                continue;
            }
            let text = match &text {
                Some(text) => text,
                None => match told(event) {
                    Some(told) => text.insert(told.to_string().into()),
                    None => return,
                },
            };
            // One that is gone is taken from the list by whoever was it.
            if let Err(mpsc::error::TrySendError::Full(_)) = ear.queue.try_send(Arc::clone(text)) {
                ear.missed.fetch_add(1, Ordering::Relaxed);
                self.0.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Somebody listens from now on: to that tenant's events, or to everybody's.
    ///
    /// # Errors
    /// When there is no room for him, or the host is stopping.
    pub fn listen(&self, tenant: Option<Arc<str>>) -> Result<Listener, Deaf> {
        let mut ears = self.ears();
        if self.0.closed.load(Ordering::Acquire) {
            return Err(Deaf::Closed);
        }
        let alike = ears.iter().filter(|ear| ear.tenant == tenant).count();
        if ears.len() >= LISTENERS_MAX || (tenant.is_some() && alike >= LISTENERS_OF_TENANT_MAX) {
            return Err(Deaf::Full);
        }
        let (queue, receiver) = mpsc::channel(WAITING_MAX);
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let missed = Arc::<AtomicU64>::default();
        ears.push(Ear {
            number,
            tenant,
            queue,
            missed: Arc::clone(&missed),
        });
        self.0.count.store(ears.len(), Ordering::Release);
        Ok(Listener {
            feed: self.clone(),
            number,
            queue: receiver,
            missed,
        })
    }

    /// Nothing is told any more: whoever listens hears what waits for him, and then the end.
    pub fn close(&self) {
        let mut ears = self.ears();
        self.0.closed.store(true, Ordering::Release);
        ears.clear();
        self.0.count.store(0, Ordering::Release);
    }

    /// How many listen, and how many events found no room since the start.
    #[must_use]
    pub fn figures(&self) -> (usize, u64) {
        (
            self.0.count.load(Ordering::Relaxed),
            self.0.dropped.load(Ordering::Relaxed),
        )
    }
}

impl Listener {
    /// The next event, as JSON in one line. None: nothing is told any more.
    pub async fn next(&mut self) -> Option<Arc<str>> {
        self.queue.recv().await
    }

    /// How many found no room since it was asked last.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed.swap(0, Ordering::Relaxed)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut ears = self.feed.ears();
        ears.retain(|ear| ear.number != self.number);
        self.feed.0.count.store(ears.len(), Ordering::Release);
    }
}

/// An event as it is told: as on record, and beside that changes of state and ends. None: there are too many of its kind.
fn told(event: &Event) -> Option<Value> {
    let (what, line, detail) = match &event.fact {
        Fact::State { from, to, summary } => {
            let detail = json!({ "from": from.name(), "to": to.name() });
            ("state", summary.clone(), Some(detail))
        }
        Fact::Closed { id, lasted_ms } => {
            let line = format!("over after {:?}", Duration::from_millis(*lasted_ms));
            ("closed", line, Some(json!({ "incident": id })))
        }
        fact => store::words(fact)?,
    };
    Some(json!({
        "at": when(event.at.0),
        "tenant": &*event.spec.tenant.name,
        "monitor": event.spec.name(),
        "what": what,
        "line": line,
        "detail": detail,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        health::State,
        job::MonitorId,
        spec::Draft,
        tenant::{Quotas, Tenant},
        time::Wall,
    };

    fn event(tenant: &str) -> Event {
        let mut draft = Draft::check("shop");
        draft.tenant = Arc::new(Tenant::new(tenant, Quotas::default()));
        Event {
            at: Wall(1_700_000_000_000),
            monitor: MonitorId(1),
            spec: draft.ready(),
            fact: Fact::State {
                from: State::Up,
                to: State::Down,
                summary: "no\nanswer".to_owned(),
            },
        }
    }

    #[tokio::test]
    async fn everybody_hears_his_own_and_misses_nothing_of_others() {
        let feed = Feed::default();
        let mut all = feed.listen(None).unwrap();
        let mut acme = feed.listen(Some("acme".into())).unwrap();
        feed.tell(&event("acme"));
        for _ in 0..WAITING_MAX + 5 {
            feed.tell(&event("other"));
        }
        let line = acme.next().await.unwrap();
        assert!(!line.contains('\n'), "{line}");
        let told: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(told["line"], "no\nanswer");
        assert_eq!(told["detail"]["to"], "down");
        assert_eq!(acme.missed(), 0, "those were not his");
        assert_eq!((all.missed(), all.missed()), (6, 0));
        assert_eq!(feed.figures(), (2, 6));
        feed.close();
        assert!(acme.next().await.is_none());
        for _ in 0..WAITING_MAX {
            assert!(all.next().await.is_some(), "what waited is still told");
        }
        assert!(all.next().await.is_none());
        assert_eq!(feed.listen(None).unwrap_err(), Deaf::Closed);
    }

    #[test]
    fn listeners_are_bounded_and_make_room_when_they_go() {
        let feed = Feed::default();
        let acme: Vec<_> = std::iter::from_fn(|| feed.listen(Some("acme".into())).ok()).collect();
        assert_eq!(acme.len(), LISTENERS_OF_TENANT_MAX);
        let rest: Vec<_> = std::iter::from_fn(|| feed.listen(None).ok()).collect();
        assert_eq!(rest.len(), LISTENERS_MAX - LISTENERS_OF_TENANT_MAX);
        assert_eq!(feed.listen(Some("other".into())).unwrap_err(), Deaf::Full);
        drop(acme);
        assert!(feed.listen(Some("other".into())).is_ok());
    }
}

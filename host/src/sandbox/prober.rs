//! Checks that nobody scheduled: each is run once, as it is asked for, on a thread that does nothing else.
//!
//! Architecture invariant: what is asked for holds back nothing that is scheduled. It has slots of its own, a thread of its
//! own that gives way to all workers, and a bound; what finds no room is refused and waits nowhere.

use super::{Executor, Sandbox, Shelf};
use crate::{
    capability::log::Line,
    domain::job::{Job, JobResult},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{mpsc, oneshot};

/// Checks that run at the same time.
pub const PROBES_MAX: usize = 16;
/// Of those, the ones of one tenant.
pub const PROBES_OF_TENANT_MAX: usize = 4;
/// How much the thread gives way to others.
const NICE: i32 = 10;

/// A check, and who waits for it.
struct Request {
    job: Job,
    answer: oneshot::Sender<(JobResult, Vec<Line>)>,
    place: Place,
}

/// Runs checks until it is dropped.
pub struct Prober {
    requests: mpsc::UnboundedSender<Request>,
    taken: Arc<Taken>,
}

/// How many run, in all and of each tenant that has any.
#[derive(Debug, Default)]
struct Taken(Mutex<(usize, HashMap<Arc<str>, usize>)>);

/// The right to run one.
#[derive(Debug)]
pub struct Place {
    taken: Arc<Taken>,
    tenant: Arc<str>,
}

impl Taken {
    fn take(self: &Arc<Self>, tenant: &Arc<str>, most: usize) -> Option<Place> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, tenants) = &mut *taken;
        let own = tenants.get(tenant).copied().unwrap_or_default();
        if *all >= PROBES_MAX || own >= most {
            return None;
        }
        *all += 1;
        tenants.insert(Arc::clone(tenant), own + 1);
        Some(Place {
            taken: Arc::clone(self),
            tenant: Arc::clone(tenant),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, tenants) = &mut *taken;
        *all = all.saturating_sub(1);
        if let Some(own) = tenants.get_mut(&self.tenant) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                tenants.remove(&self.tenant);
            }
        }
    }
}

impl Prober {
    /// Starts its thread.
    ///
    /// # Errors
    /// If the operating system gives none.
    pub fn start(sandbox: Arc<Sandbox>, shelf: Arc<Shelf>) -> std::io::Result<Self> {
        let (requests, asked) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::Builder::new()
            .name("prober".to_owned())
            .spawn(move || {
                // On Linux this is the thread's own. Where it can't be had, the bound is still there.
                let _ = rustix::process::nice(NICE);
                runtime.block_on(serve(sandbox, shelf, asked));
                // What still runs has nobody left who waits for it.
                runtime.shutdown_background();
            })?;
        Ok(Self {
            requests,
            taken: Arc::default(),
        })
    }

    /// Room for one more of that tenant, who may have `most` at the same time; none: there is none at present.
    #[must_use]
    pub fn place(&self, tenant: &Arc<str>, most: usize) -> Option<Place> {
        self.taken.take(tenant, most)
    }

    /// How many run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.taken.0.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    /// Runs a check, and returns what the plugin logged beside the result. Dropping this cuts the check. None: its thread
    /// is gone, or a defect of the host has ended it.
    pub async fn run(&self, place: Place, job: Job) -> Option<(JobResult, Vec<Line>)> {
        let (answer, answered) = oneshot::channel();
        let request = Request { job, answer, place };
        self.requests.send(request).ok()?;
        answered.await.ok()
    }
}

async fn serve(sandbox: Arc<Sandbox>, shelf: Arc<Shelf>, mut asked: mpsc::UnboundedReceiver<Request>) {
    // Which seat it is matters little: what two threads count in one engine costs them a few microseconds.
    let executor = Arc::new(Executor::at(0, sandbox, shelf));
    while let Some(request) = asked.recv().await {
        let executor = Arc::clone(&executor);
        tokio::spawn(async move {
            let Request {
                job,
                mut answer,
                place,
            } = request;
            let done = tokio::select! {
                done = executor.execute_keeping_log(job) => Some(done),
                () = answer.closed() => None,
            };
            // Before the answer, so that whoever has it can ask again.
            drop(place);
            if let Some(done) = done {
                let _ = answer.send(done);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_all_the_places_and_each_is_given_back() {
        let taken = Arc::new(Taken::default());
        let (acme, beta): (Arc<str>, Arc<str>) = ("acme".into(), "beta".into());
        let own: Vec<Place> = std::iter::from_fn(|| taken.take(&acme, PROBES_OF_TENANT_MAX)).collect();
        assert_eq!(own.len(), PROBES_OF_TENANT_MAX);
        let others: Vec<Place> = std::iter::from_fn(|| taken.take(&beta, usize::MAX)).collect();
        assert_eq!(others.len(), PROBES_MAX - PROBES_OF_TENANT_MAX);
        drop(others);
        assert!(taken.take(&acme, PROBES_OF_TENANT_MAX).is_none());
        assert!(taken.take(&beta, 1).is_some());
        drop(own);
        let left = taken.0.lock().unwrap();
        assert!(left.0 == 0 && left.1.is_empty(), "{left:?}");
    }
}

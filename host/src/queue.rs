//! The channels between the scheduler and the workers: per kind one bounded channel of batches towards the
//! workers, and one of results back.
//!
//! Architecture invariant: nothing here blocks the scheduler's thread. A full channel hands the batch back.

use crate::domain::{
    host::{PerKind, QueueSettings},
    job::{Job, JobResult},
};
use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::Thread,
};

/// Jobs that travel together. Once a worker has them, each is on its own.
pub type Batch = Vec<Job>;

/// The scheduler's end of one kind's channel.
#[derive(Debug)]
pub struct Outlet {
    batches: async_channel::Sender<Batch>,
    buffers: Arc<Buffers<Job>>,
    waiting: Arc<AtomicUsize>,
    settings: QueueSettings,
}

/// The workers' end of one kind's channel; each worker has a clone.
#[derive(Clone, Debug)]
pub struct Inlet {
    batches: async_channel::Receiver<Batch>,
    buffers: Arc<Buffers<Job>>,
    waiting: Arc<AtomicUsize>,
}

/// Makes one kind's channel.
#[must_use]
pub fn channel(settings: QueueSettings) -> (Outlet, Inlet) {
    // The bound that matters is the number of jobs; a batch holds at least one.
    let (sender, receiver) = async_channel::bounded(settings.capacity.max(1));
    let (waiting, buffers) = (Arc::new(AtomicUsize::new(0)), Arc::new(Buffers::default()));
    let outlet = Outlet {
        batches: sender,
        buffers: Arc::clone(&buffers),
        waiting: Arc::clone(&waiting),
        settings,
    };
    let inlet = Inlet {
        batches: receiver,
        buffers,
        waiting,
    };
    (outlet, inlet)
}

/// Makes the channels of all kinds.
#[must_use]
pub fn channels(settings: &PerKind<QueueSettings>) -> (PerKind<Outlet>, PerKind<Inlet>) {
    let (pulse, pulses) = channel(settings.pulse);
    let (intervention, interventions) = channel(settings.intervention);
    let (code, codes) = channel(settings.code);
    (
        PerKind {
            pulse,
            intervention,
            code,
        },
        PerKind {
            pulse: pulses,
            intervention: interventions,
            code: codes,
        },
    )
}

impl Outlet {
    /// An empty buffer, used before if there is one.
    #[must_use]
    pub fn buffer(&self) -> Batch {
        self.buffers.take()
    }

    /// Takes a buffer back that was not needed.
    pub fn recycle(&self, batch: Batch) {
        self.buffers.put(batch);
    }

    /// How many jobs the channel would take now.
    #[must_use]
    pub fn room(&self) -> usize {
        self.settings
            .capacity
            .saturating_sub(self.waiting.load(Ordering::Acquire))
    }

    /// The channel's settings.
    #[must_use]
    pub fn settings(&self) -> QueueSettings {
        self.settings
    }

    /// How many jobs wait in the channel.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// Sends a batch, or hands it back if there is no room for all of it or nobody listens any more.
    ///
    /// # Errors
    /// The batch itself, unchanged.
    pub fn try_send(&self, batch: Batch) -> Result<(), Batch> {
        let count = batch.len();
        if count > self.room() {
            return Err(batch);
        }
        // Counted before it is sent: a worker that is quicker than this thread must not count below zero.
        self.waiting.fetch_add(count, Ordering::AcqRel);
        self.batches.try_send(batch).map_err(|error| {
            self.waiting.fetch_sub(count, Ordering::AcqRel);
            error.into_inner()
        })
    }

    /// Closes the channel: workers get what is in it, then `None`.
    pub fn close(&self) {
        self.batches.close();
    }
}

impl Inlet {
    /// The next batch; none when the channel is closed and empty. Cancel safe.
    pub async fn recv(&self) -> Option<Batch> {
        self.batches.recv().await.ok().inspect(|batch| self.took(batch))
    }

    /// The next batch, if one is there.
    #[must_use]
    pub fn try_recv(&self) -> Option<Batch> {
        self.batches.try_recv().ok().inspect(|batch| self.took(batch))
    }

    /// Takes an emptied buffer back, to be used again.
    pub fn recycle(&self, batch: Batch) {
        self.buffers.put(batch);
    }

    fn took(&self, batch: &Batch) {
        self.waiting.fetch_sub(batch.len(), Ordering::AcqRel);
    }
}

/// Wakes the scheduler's thread; many rings before it looks are one.
#[derive(Debug, Default)]
pub struct Bell {
    thread: OnceLock<Thread>,
    rung: AtomicBool,
}

impl Bell {
    /// Says whom to wake: the calling thread. Only the first call counts.
    pub fn attend(&self) {
        let _ = self.thread.set(std::thread::current());
    }

    /// Wakes the attending thread, unless it was rung for since it last answered.
    pub fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// Whether it was rung since the last call.
    pub fn answer(&self) -> bool {
        self.rung.swap(false, Ordering::AcqRel)
    }
}

/// Results that travel together.
pub type Results = Vec<JobResult>;

/// The workers' end of the results.
#[derive(Clone, Debug)]
pub struct ResultSender {
    results: async_channel::Sender<Results>,
    buffers: Arc<Buffers<JobResult>>,
    bell: Arc<Bell>,
}

/// The scheduler's end of the results.
#[derive(Debug)]
pub struct ResultReceiver {
    results: async_channel::Receiver<Results>,
    buffers: Arc<Buffers<JobResult>>,
}

/// Makes the channel of results. `capacity` is at least the number of jobs that can run at once.
#[must_use]
pub fn results(capacity: usize) -> (ResultSender, ResultReceiver, Arc<Bell>) {
    let (sender, receiver) = async_channel::bounded(capacity.max(1));
    let bell = Arc::new(Bell::default());
    let buffers = Arc::new(Buffers::default());
    let sender = ResultSender {
        results: sender,
        buffers: Arc::clone(&buffers),
        bell: Arc::clone(&bell),
    };
    let receiver = ResultReceiver {
        results: receiver,
        buffers,
    };
    (sender, receiver, bell)
}

impl ResultSender {
    /// An empty buffer, used before if there is one.
    #[must_use]
    pub fn buffer(&self) -> Results {
        self.buffers.take()
    }

    /// Sends results and wakes the scheduler. Waits while the channel is full; a scheduler that is gone needs no
    /// results.
    pub async fn send(&self, results: Results) {
        if self.results.send(results).await.is_ok() {
            self.bell.ring();
        }
    }
}

impl ResultReceiver {
    /// The next results, if some are there.
    #[must_use]
    pub fn try_recv(&self) -> Option<Results> {
        self.results.try_recv().ok()
    }

    /// Takes an emptied buffer back, to be used again.
    pub fn recycle(&self, results: Results) {
        self.buffers.put(results);
    }
}

/// Empty buffers that wait to be used again, so that jobs and results travel without allocating.
#[derive(Debug)]
struct Buffers<T>(Mutex<Vec<Vec<T>>>);

/// Buffers that are kept; more than that were in use at once only in a burst.
const BUFFERS_MAX: usize = 256;
/// A buffer that grew beyond that many elements is not kept.
const BUFFER_MAX: usize = 4096;

impl<T> Default for Buffers<T> {
    fn default() -> Self {
        Self(Mutex::new(Vec::with_capacity(BUFFERS_MAX)))
    }
}

impl<T> Buffers<T> {
    fn take(&self) -> Vec<T> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.pop().unwrap_or_default()
    }

    fn put(&self, mut buffer: Vec<T>) {
        buffer.clear();
        if buffer.capacity() == 0 || buffer.capacity() > BUFFER_MAX {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < BUFFERS_MAX {
            kept.push(buffer);
        }
    }
}
